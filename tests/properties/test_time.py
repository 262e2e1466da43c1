"""Months, days and ids against Python's own calendar."""

import uuid
from collections.abc import Iterator
from datetime import UTC, date, datetime, timedelta
from decimal import Decimal
from itertools import pairwise
from typing import Any

import pytest
from hypothesis import example, given
from hypothesis import strategies as st

from tests.support import races
from tests.support.properties import examples, instants, local_day, undone, window_of
from tests.support.races import Connection, Tenant
from tests.support.servers import Database

# Zones of every kind: fixed, half and three-quarter hours, clocks that change at midnight or by
# half an hour, both ends of the date line, one that skipped a day.
ZONES = [
    "UTC",
    "America/New_York",
    "Europe/London",
    "America/Havana",
    "Asia/Beirut",
    "America/Santiago",
    "America/Sao_Paulo",
    "Atlantic/Azores",
    "Australia/Lord_Howe",
    "Pacific/Chatham",
    "Asia/Kathmandu",
    "Asia/Kolkata",
    "Pacific/Apia",
    "Pacific/Kiritimati",
    "Pacific/Pago_Pago",
    "America/St_Johns",
    "Africa/Casablanca",
    "Asia/Tokyo",
]
zones = st.sampled_from(ZONES)
whole_hour_zones = st.sampled_from([zone for zone in ZONES if zone != "Australia/Lord_Howe"])
any_zone = zones | st.integers(0, 10_000)  # by name, or by its place among those of the server
EPOCH = datetime(1970, 1, 1, tzinfo=UTC)
MICROSECOND = timedelta(microseconds=1)


def at(text: str) -> datetime:
    return datetime.fromisoformat(text).replace(tzinfo=UTC)


def month_of(instant: datetime, zone: str) -> date:
    return local_day(instant, zone).replace(day=1)


def near_month_ends(first_year: int, last_year: int) -> st.SearchStrategy[datetime]:
    """Draw instants within 30 hours of the first of a month in UTC, year ends more often."""
    return st.builds(
        lambda year, month, offset: datetime(year, month, 1, tzinfo=UTC) + offset,
        st.integers(first_year, last_year),
        st.integers(1, 12) | st.just(1),
        st.timedeltas(timedelta(hours=-30), timedelta(hours=30)),
    )


times = near_month_ends(2015, 2037) | instants(2015, 2037)
# Clocks change at full and half hours.
near_hours = st.builds(
    lambda hours, offset: datetime(2015, 1, 1, tzinfo=UTC) + timedelta(hours=hours / 2) + offset,
    st.integers(0, 2 * 24 * 365 * 22),
    st.sampled_from([-MICROSECOND, timedelta(0), MICROSECOND]),
)


@pytest.fixture
def owner(database: Database) -> Iterator[Connection]:
    with races.connect(database, races.OWNER) as connection:
        yield connection


@pytest.fixture
def every_zone(owner: Connection) -> list[str]:
    """Every time zone the server knows."""
    rows = owner.execute("select name from pg_timezone_names order by name").fetchall()
    owner.rollback()
    return [row[0] for row in rows]


def zone_of(which: str | int, every_zone: list[str]) -> str:
    return which if isinstance(which, str) else every_zone[which % len(every_zone)]


Case = tuple[datetime, str]


def windows(connection: Connection, window: str, cases: list[Case]) -> list[Any]:
    """Return start and end of the window of each instant in its zone, as the database has them."""
    with undone(connection):
        return connection.execute(
            "select private.window_start(%s, instant, zone), private.window_end(%s, instant, zone)"
            " from unnest(%s::timestamptz[], %s::text[]) with ordinality"
            " as c (instant, zone, place)"
            " order by place",
            (window, window, [case[0] for case in cases], [case[1] for case in cases]),
        ).fetchall()


@examples(100)
@given(
    window=st.sampled_from(["hour", "day", "week", "month"]),
    cases=st.lists(st.tuples(times, whole_hour_zones), min_size=1, max_size=20),
)
# Havana's clocks go back over the midnight that begins November 2026: it happens twice.
@example("month", [(at("2026-11-01 03:59:59.999999"), "America/Havana")])
@example("month", [(at("2026-11-01 04:00"), "America/Havana")])
@example("day", [(at("2026-11-01 04:59:59"), "America/Havana")])
@example("hour", [(at("2026-11-01 04:59:59"), "America/Havana")])
@example("hour", [(at("2026-11-01 05:00"), "America/Havana")])
@example("week", [(at("2026-11-01 05:00"), "America/Havana")])
@example("month", [(at("2026-12-01 05:00"), "America/Havana")])
# Santiago's clocks jump from midnight to one o'clock: the day begins at one.
@example("day", [(at("2026-09-06 03:59:59"), "America/Santiago")])
@example("day", [(at("2026-09-06 04:00"), "America/Santiago")])
@example("hour", [(at("2026-09-06 04:00"), "America/Santiago")])
# Apia had no 30 December 2011.
@example("day", [(at("2011-12-30 09:59:59"), "Pacific/Apia")])
@example("day", [(at("2011-12-30 10:00"), "Pacific/Apia")])
@example("week", [(at("2011-12-30 10:00"), "Pacific/Apia")])
@example("month", [(at("2011-12-31 10:00"), "Pacific/Apia")])
@example("month", [(at("2012-01-01 09:00"), "Pacific/Apia")])
@example("month", [(at("2026-12-31 18:14:59.9"), "Asia/Kathmandu")])
@example("month", [(at("2026-12-31 18:15"), "Asia/Kathmandu")])
def test_windows_are_those_of_the_calendar(
    owner: Connection, window: str, cases: list[Case]
) -> None:
    assert windows(owner, window, cases) == [
        window_of(window, instant, zone) for instant, zone in cases
    ]


@examples(40)
@given(cases=st.lists(st.tuples(times, zones), min_size=1, max_size=20))
# Half an hour back, on the first of April.
@example([(at("2029-03-31 13:00"), "Australia/Lord_Howe")])
@example([(at("2029-03-31 15:15"), "Australia/Lord_Howe")])
def test_days_and_months_are_those_of_the_calendar_in_every_zone(
    owner: Connection, cases: list[Case]
) -> None:
    for window in ("day", "week", "month"):
        assert windows(owner, window, cases) == [
            window_of(window, instant, zone) for instant, zone in cases
        ]
    with undone(owner):
        days = owner.execute(
            "select private.local_day(instant, zone)"
            " from unnest(%s::timestamptz[], %s::text[]) with ordinality"
            " as c (instant, zone, place)"
            " order by place",
            ([case[0] for case in cases], [case[1] for case in cases]),
        ).fetchall()
    assert days == [(local_day(instant, zone),) for instant, zone in cases]


@examples(100)
@given(
    window=st.sampled_from(["hour", "day", "week", "month"]),
    cases=st.lists(st.tuples(times | near_hours, st.integers(0, 10_000)), min_size=1, max_size=20),
    share=st.floats(0, 1, exclude_max=True),
)
@example("hour", [(at("2026-04-04 14:45"), 0)], 0.99)
@example("hour", [(at("2026-04-04 15:00"), 0)], 0.0)
@example("hour", [(at("2026-10-03 15:29:59"), 0)], 0.5)
def test_windows_follow_one_another_without_gap_or_overlap(
    owner: Connection,
    every_zone: list[str],
    window: str,
    cases: list[tuple[datetime, str | int]],
    share: float,
) -> None:
    placed = [(instant, zone_of(which, every_zone)) for instant, which in cases]
    found = windows(owner, window, placed)
    for (instant, zone), (start, end) in zip(placed, found, strict=True):
        assert start <= instant < end, zone
    # Wherever in a window one looks, it is the same window.
    for looked in (
        [start for start, _ in found],
        [end - MICROSECOND for _, end in found],
        [min(start + (end - start) * share, end - MICROSECOND) for start, end in found],
    ):
        where = [(instant, zone) for instant, (_, zone) in zip(looked, placed, strict=True)]
        assert windows(owner, window, where) == found
    # The next one begins with its end.
    ends = [(end, zone) for (_, end), (_, zone) in zip(found, placed, strict=True)]
    following = windows(owner, window, ends)
    assert [start for start, _ in following] == [end for end, _ in ends]
    assert all(start < end for start, end in following)


@examples(60)
@given(
    window=st.sampled_from(["hour", "day", "week", "month"]),
    moments=st.lists(times | near_hours, min_size=2, max_size=20),
    which=any_zone,
)
def test_windows_move_forward_with_time(
    owner: Connection,
    every_zone: list[str],
    window: str,
    moments: list[datetime],
    which: str | int,
) -> None:
    zone = zone_of(which, every_zone)
    found = windows(owner, window, [(moment, zone) for moment in sorted(moments)])
    assert found == sorted(found)
    for (start, end), (later_start, later_end) in pairwise(found):
        assert (start, end) == (later_start, later_end) or end <= later_start


def test_a_total_never_begins_or_ends(owner: Connection) -> None:
    assert races.one(
        owner,
        "select (private.window_start('total', now(), 'UTC'),"
        " private.window_end('total', now(), 'UTC'))"
        " = (timestamptz '-infinity', timestamptz 'infinity')",
    )


@examples(40)
@given(
    instant=times,
    window=st.sampled_from(["hour", "day", "week", "month"]),
    zone=whole_hour_zones,
    session=zones,
)
def test_the_session_time_zone_does_not_matter(
    owner: Connection, instant: datetime, window: str, zone: str, session: str
) -> None:
    with undone(owner):
        owner.execute("select set_config('timezone', %s, true)", (session,))
        found = windows(owner, window, [(instant, zone)])
    assert found == [window_of(window, instant, zone)]


@examples(40)
@given(
    zone=zones,
    now=near_month_ends(2020, 2036),
    spends=st.lists(
        st.tuples(st.timedeltas(timedelta(days=-70), timedelta(0)), st.integers(1, 10**13)),
        max_size=6,
    ),
    capped=st.sets(st.sampled_from(["hour", "day", "week", "month"])),
)
@example(
    "America/Havana",
    at("2026-11-01 04:30"),
    [(timedelta(hours=-1), 1), (timedelta(0), 2), (timedelta(minutes=-20), 4)],
    {"month"},
)
@example("Pacific/Apia", at("2027-01-01 00:00"), [(timedelta(hours=-14), 1)], {"month"})
@example("UTC", at("2026-11-20 12:00"), [(timedelta(days=-17), 1)], {"day"})
# The first of November 2026 is a Sunday, of a week that began in October.
@example("UTC", at("2026-11-01 12:00"), [(timedelta(days=-1), 1)], {"week"})
def test_the_monthly_cost_is_that_of_the_month_in_the_organizations_zone(
    database: Database,
    owner: Connection,
    zone: str,
    now: datetime,
    spends: list[tuple[timedelta, int]],
    capped: set[str],
) -> None:
    if races.one(owner, "select to_regclass('clock.hand') is null"):
        owner.rollback()
        races.set_clock(database, "2020-01-01")
    move = "update clock.hand set instant = %s"
    expected = Decimal(0)
    with undone(owner):
        owner.execute(move, (at("2019-01-01"),))
        organization = races.one(
            owner, "select id from tenancy.create_organization('Acme', %s)", zone
        )
        tenant = Tenant(organization, races.open_workflow(owner, organization))
        for window in sorted(capped):
            owner.execute(
                "select metering.set_budget(%s, 'organization', null, %s, 1000)",
                (organization, window),
            )
        for ago, units in sorted(spends):
            cost = Decimal(units).scaleb(-12)
            owner.execute(move, (now + ago,))
            races.record(owner, tenant, str(cost))
            if month_of(now + ago, zone) == month_of(now, zone):
                expected += cost
        owner.execute(move, (now,))
        assert races.one(owner, "select private.present_month(%s)", organization) == month_of(
            now, zone
        )
        assert (
            races.one(owner, "select public.get_organization_monthly_ai_cost(%s)", organization)
            == expected
        )
        assert races.quota(owner, tenant, str(expected)) is False
        assert races.quota(owner, tenant, str(expected + Decimal("1e-12"))) is True
        assert races.verify(owner, organization) == []


def milliseconds(instant: datetime) -> int:
    return (instant - EPOCH) // timedelta(milliseconds=1)


@examples(60)
@given(moments=st.lists(instants(1970, 2199), min_size=1, max_size=10))
@example([EPOCH, EPOCH + timedelta(microseconds=999), EPOCH + timedelta(milliseconds=1)])
@example([at("2199-12-31 23:59:59.999999")])
def test_ids_are_version_7_and_carry_their_time(owner: Connection, moments: list[datetime]) -> None:
    rows = owner.execute(
        "select m.id, private.uuid_v7_time(m.id), private.uuid_v7_floor(m.instant)"
        " from (select instant, place, private.uuid_v7(instant) as id"
        "       from unnest(%s::timestamptz[]) with ordinality as u (instant, place)) as m"
        " order by m.place",
        (moments,),
    ).fetchall()
    owner.rollback()
    for moment, (made, time, floor) in zip(moments, rows, strict=True):
        assert isinstance(made, uuid.UUID)
        assert (made.version, made.variant) == (7, uuid.RFC_4122)
        assert made.int >> 80 == milliseconds(moment)
        assert time == EPOCH + timedelta(milliseconds=milliseconds(moment))
        assert floor.int == milliseconds(moment) << 80
        assert floor < made
    ids = [row[0] for row in rows]
    assert len(set(ids)) == len(ids)
    for first, second in zip(sorted(ids), sorted(ids)[1:], strict=False):
        assert first.int >> 80 <= second.int >> 80


def test_ids_of_one_moment_differ(owner: Connection) -> None:
    distinct = races.one(
        owner,
        "select count(distinct private.uuid_v7(timestamptz '2026-11-21'))"
        " from generate_series(1, 2000)",
    )
    assert distinct == 2000
