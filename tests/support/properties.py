"""What the property tests share: their size, the values they draw, and a calendar of their own."""

from collections.abc import Iterator
from contextlib import contextmanager
from datetime import UTC, date, datetime, timedelta
from decimal import Decimal
from functools import lru_cache
from typing import Any
from zoneinfo import ZoneInfo

import psycopg
from hypothesis import HealthCheck, Phase, settings
from hypothesis import strategies as st

from tests.support.races import Connection

MONEY_LIMIT = 10**12  # US dollars, exclusive
DECIMALS = 12


def examples(number: int) -> settings:
    """Return settings for `number` examples; the database of a test serves all of them."""
    return settings(
        max_examples=number,
        deadline=None,
        database=None,
        phases=[Phase.explicit, Phase.generate, Phase.shrink],
        suppress_health_check=[HealthCheck.function_scoped_fixture, HealthCheck.too_slow],
    )


def money(limit: int = MONEY_LIMIT) -> st.SearchStrategy[Decimal]:
    """Draw amounts from 0 to below `limit` dollars with up to 12 decimals."""
    unit = 10**DECIMALS
    return st.builds(
        lambda units, cut: Decimal(units - units % 10**cut).scaleb(-DECIMALS),
        st.integers(0, limit * unit - 1),
        st.integers(0, DECIMALS),
    )


def instants(first_year: int, last_year: int) -> st.SearchStrategy[datetime]:
    """Draw instants of the given years, in UTC, to the microsecond."""
    return st.datetimes(
        datetime(first_year, 1, 1),  # noqa: DTZ001 - strategies take naive bounds
        datetime(last_year, 12, 31, 23, 59, 59, 999999),  # noqa: DTZ001
        timezones=st.just(UTC),
    )


def local_day(instant: datetime, zone: str) -> date:
    """Return the calendar day of an instant in a time zone."""
    return instant.astimezone(ZoneInfo(zone)).date()


def window_of(window: str, instant: datetime, zone: str) -> tuple[datetime, datetime]:
    """Return the window that contains an instant: when it starts and when the next one does.

    Clocks of the zone must only ever change by full hours, for windows of an hour.
    """
    if window == "hour":
        shown = instant.astimezone(ZoneInfo(zone))
        start = instant - timedelta(
            minutes=shown.minute, seconds=shown.second, microseconds=shown.microsecond
        )
        return start, start + timedelta(hours=1)
    first, following = _days_of(window, local_day(instant, zone))
    return first_instant(first, zone), first_instant(following, zone)


def _days_of(window: str, day: date) -> tuple[date, date]:
    """Return the first day of the window that contains a day, and that of the next window."""
    if window == "day":
        return day, day + timedelta(days=1)
    if window == "week":
        monday = day - timedelta(days=day.weekday())
        return monday, monday + timedelta(days=7)
    first = day.replace(day=1)
    return first, (first + timedelta(days=31)).replace(day=1)


@lru_cache(maxsize=4096)
def first_instant(day: date, zone: str) -> datetime:
    """Return when a day begins, found by search and not by calendar rules."""
    midnight = datetime(day.year, day.month, day.day, tzinfo=UTC)
    before, after = midnight - timedelta(hours=48), midnight + timedelta(hours=48)
    while after - before > timedelta(microseconds=1):
        middle = before + (after - before) // 2
        if local_day(middle, zone) < day:
            before = middle
        else:
            after = middle
    return after


@contextmanager
def undone(connection: Connection) -> Iterator[None]:
    """Roll back whatever the block did, so that examples do not meet."""
    with connection.transaction(force_rollback=True):
        yield


def code(connection: Connection, query: str, *parameters: Any) -> str:
    """Return the SQLSTATE of a statement; 00000 is success."""
    try:
        with connection.transaction():
            connection.execute(query, parameters)
    except psycopg.Error as error:
        return error.sqlstate or "no SQLSTATE"
    return "00000"
