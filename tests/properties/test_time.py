"""Months, days and ids against Python's own calendar."""

import uuid
from collections.abc import Iterator
from datetime import UTC, date, datetime, timedelta
from decimal import Decimal
from zoneinfo import ZoneInfo

import pytest
from hypothesis import example, given
from hypothesis import strategies as st

from tests.support import races
from tests.support.properties import examples, instants, undone
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
EPOCH = datetime(1970, 1, 1, tzinfo=UTC)


def at(text: str) -> datetime:
    return datetime.fromisoformat(text).replace(tzinfo=UTC)


def month_of(instant: datetime, zone: str) -> date:
    return instant.astimezone(ZoneInfo(zone)).date().replace(day=1)


def start_of_month(instant: datetime, zone: str) -> datetime:
    """Return the first instant of the month, found by search and not by calendar rules."""
    month = month_of(instant, zone)
    midnight = datetime(month.year, month.month, 1, tzinfo=UTC)
    before, after = midnight - timedelta(hours=48), midnight + timedelta(hours=48)
    while after - before > timedelta(microseconds=1):
        middle = before + (after - before) // 2
        if month_of(middle, zone) < month:
            before = middle
        else:
            after = middle
    return after


def near_month_ends(first_year: int, last_year: int) -> st.SearchStrategy[datetime]:
    """Draw instants within 30 hours of the first of a month in UTC, year ends more often."""
    return st.builds(
        lambda year, month, offset: datetime(year, month, 1, tzinfo=UTC) + offset,
        st.integers(first_year, last_year),
        st.integers(1, 12) | st.just(1),
        st.timedeltas(timedelta(hours=-30), timedelta(hours=30)),
    )


times = near_month_ends(2015, 2037) | instants(2015, 2037)


@pytest.fixture
def owner(database: Database) -> Iterator[Connection]:
    with races.connect(database, races.OWNER) as connection:
        yield connection


@examples(120)
@given(cases=st.lists(st.tuples(times, zones), min_size=1, max_size=20))
# Havana's clocks go back over the midnight that begins November 2026: it happens twice.
@example([(at("2026-11-01 03:59:59.999999"), "America/Havana")])
@example([(at("2026-11-01 04:00"), "America/Havana")])
@example([(at("2026-11-01 04:59:59"), "America/Havana")])
@example([(at("2026-11-01 05:00"), "America/Havana"), (at("2026-12-01 05:00"), "America/Havana")])
# Half an hour back, on the first of April.
@example([(at("2029-03-31 13:00"), "Australia/Lord_Howe")])
@example([(at("2029-03-31 15:15"), "Australia/Lord_Howe")])
# Apia had no 30 December 2011.
@example([(at("2011-12-30 09:59:59"), "Pacific/Apia"), (at("2011-12-30 10:00"), "Pacific/Apia")])
@example([(at("2011-12-31 10:00"), "Pacific/Apia"), (at("2012-01-01 09:00"), "Pacific/Apia")])
@example([(at("2026-12-31 18:14:59.9"), "Asia/Kathmandu")])
@example([(at("2026-12-31 18:15"), "Asia/Kathmandu")])
def test_a_month_begins_with_its_first_instant(
    owner: Connection, cases: list[tuple[datetime, str]]
) -> None:
    instants_, zones_ = [case[0] for case in cases], [case[1] for case in cases]
    rows = owner.execute(
        "select private.window_start('month', instant, zone), private.local_day(instant, zone)"
        " from unnest(%s::timestamptz[], %s::text[]) with ordinality as c (instant, zone, place)"
        " order by place",
        (instants_, zones_),
    ).fetchall()
    owner.rollback()
    assert rows == [
        (start_of_month(instant, zone), instant.astimezone(ZoneInfo(zone)).date())
        for instant, zone in cases
    ]


@examples(40)
@given(instant=times, zone=zones, session=zones)
def test_the_session_time_zone_does_not_matter(
    owner: Connection, instant: datetime, zone: str, session: str
) -> None:
    with undone(owner):
        owner.execute("select set_config('timezone', %s, true)", (session,))
        start = races.one(owner, "select private.window_start('month', %s, %s)", instant, zone)
    assert start == start_of_month(instant, zone)


@examples(40)
@given(
    zone=zones,
    now=near_month_ends(2020, 2036),
    spends=st.lists(
        st.tuples(st.timedeltas(timedelta(days=-70), timedelta(0)), st.integers(1, 10**13)),
        max_size=6,
    ),
    capped=st.booleans(),
)
@example(
    "America/Havana",
    at("2026-11-01 04:30"),
    [(timedelta(hours=-1), 1), (timedelta(0), 2), (timedelta(minutes=-20), 4)],
    True,
)
@example("Pacific/Apia", at("2027-01-01 00:00"), [(timedelta(hours=-14), 1)], True)
def test_the_monthly_cost_is_that_of_the_month_in_the_organizations_zone(
    database: Database,
    owner: Connection,
    zone: str,
    now: datetime,
    spends: list[tuple[timedelta, int]],
    capped: bool,
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
        if capped:
            races.set_month_cap(owner, tenant, "1000")
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
        found = owner.execute("select * from audit.verify_integrity(%s)", (organization,))
        assert found.fetchall() == []


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
