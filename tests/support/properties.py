"""What the property tests share: their size, and the values they draw."""

from collections.abc import Iterator
from contextlib import contextmanager
from datetime import UTC, datetime
from decimal import Decimal
from typing import Any

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
