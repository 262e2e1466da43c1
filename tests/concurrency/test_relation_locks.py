"""What a call locks beside its rows: few relations, or callers queue for the table of locks.

Up to Postgres 17 a backend notes its locks on 16 relations in a place of its own, and every further
one in a table that all backends share. A statement that looks at all months of the ledger locks
dozens, and a hundred callers of it wait for each other far longer than they work.
"""

from collections.abc import Callable, Iterator
from uuid import UUID, uuid4

import pytest

from tests.support import races
from tests.support.races import Connection, Tenant
from tests.support.servers import Database, Server

# Caches of a session are filled for the first calls, which look at more.
CALLS = 7
LOCKS = """
select relation::regclass::text, fastpath
from pg_locks
where locktype = 'relation' and pid = %s
"""


@pytest.fixture(scope="module", name="database")
def shared_database(server: Server, template: str) -> Iterator[Database]:
    """One database for all tests here: each has an organization of its own."""
    with server.clone(template) as database, races.warm(database):
        yield database


Call = Callable[[Connection, Tenant, UUID], object]


def authorize(connection: Connection, tenant: Tenant, hold: UUID) -> object:
    return races.authorize(connection, tenant, request=str(uuid4()), model="gpt-4o")


def authorize_elaborately(connection: Connection, tenant: Tenant, hold: UUID) -> object:
    return races.authorize(connection, tenant, request=str(uuid4()), tags='{"team": "a"}')


def be_denied(connection: Connection, tenant: Tenant, hold: UUID) -> object:
    return races.authorize(connection, tenant, "1000", request=str(uuid4()))


def settle(connection: Connection, tenant: Tenant, hold: UUID) -> object:
    return races.settle(connection, hold, request=str(uuid4()))


def release(connection: Connection, tenant: Tenant, hold: UUID) -> object:
    return races.release(connection, hold)


def extend(connection: Connection, tenant: Tenant, hold: UUID) -> object:
    return races.extend(connection, hold, "0.10", request=str(uuid4()))


def record(connection: Connection, tenant: Tenant, hold: UUID) -> object:
    races.record(connection, tenant, request=str(uuid4()))
    return None


@pytest.mark.parametrize(
    "call", [authorize, authorize_elaborately, be_denied, settle, release, extend, record]
)
def test_a_call_locks_few_relations(database: Database, call: Call) -> None:
    tenant = races.open_tenant(database)
    with races.session(database) as connection:
        races.set_workflow_cap(connection, tenant, "100.00")
        races.set_month_cap(connection, tenant, "100.00")
    with races.session(database) as connection, races.lent(database, races.OWNER) as observer:
        for _ in range(CALLS):
            hold = races.authorize(connection, tenant).hold_id
            connection.commit()
            call(connection, tenant, hold)
            locks = observer.execute(LOCKS, (connection.info.backend_pid,)).fetchall()
            connection.commit()
    assert locks
    assert {relation for relation, is_fast in locks if not is_fast} == set()
    assert len({relation for relation, _ in locks if "_ledger_20" in relation}) <= 1
