"""How every race ends, whatever else it is about."""

from collections.abc import Iterator
from uuid import UUID

import pytest

from tests.support import races
from tests.support.servers import Database


def organizations(database: Database) -> set[UUID]:
    with races.session(database) as connection:
        rows = connection.execute("select id from tenancy.organizations")
        return {organization for (organization,) in rows}


@pytest.fixture(autouse=True)
def books_agree_and_nobody_deadlocked(database: Database) -> Iterator[None]:
    """No finding in any organization of the test, and not one 40P01, raised or caught."""
    deadlocks, known = races.deadlocks(database), organizations(database)
    yield
    assert races.deadlocks(database) == deadlocks
    for organization in organizations(database) - known:
        assert races.findings(database, organization) == []
