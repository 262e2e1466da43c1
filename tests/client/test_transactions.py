"""Whose transaction a call is in."""

import asyncio
from collections.abc import Iterator
from decimal import Decimal
from uuid import UUID

import psycopg
import pytest
from psycopg.errors import ReadOnlySqlTransaction
from psycopg.pq import TransactionStatus
from psycopg.rows import dict_row
from psycopg_pool import AsyncConnectionPool, ConnectionPool

from tallystick import AsyncClient, Client, Organization, RequestConflict
from tallystick.calls import Call
from tallystick.transports import AsyncTransport, Transport
from tallystick.transports.psycopg import AsyncPsycopgTransport, PsycopgTransport
from tests.support.servers import Database

COST = Decimal("0.25")


@pytest.fixture
def notes(connection: psycopg.Connection) -> str:
    """A table of the application's own."""
    connection.execute("create table public.notes (note text)")
    return "public.notes"


@pytest.fixture
def pool(database: Database) -> Iterator[ConnectionPool]:
    with ConnectionPool(database.url(), min_size=1, max_size=2, open=True) as pool:
        yield pool


def count(connection: psycopg.Connection, table: str) -> int:
    row = connection.execute(f"select count(*) from {table}").fetchone()
    assert row is not None
    return int(row[0])


def spend(
    client: Client, organization: Organization, workflow_id: UUID, request_id: str = "a"
) -> None:
    client.record_usage_and_increment(
        workflow_id, organization.id, "gpt-4o", 10, 5, COST, request_id=request_id
    )


def test_a_record_and_my_own_insert_roll_back_together(
    database: Database,
    connection: psycopg.Connection,
    organization: Organization,
    workflow_id: UUID,
    notes: str,
) -> None:
    with database.connect() as mine:
        mine.execute(f"insert into {notes} values ('before')")
        spend(Client(mine), organization, workflow_id)
        mine.execute(f"insert into {notes} values ('after')")
        assert mine.info.transaction_status is TransactionStatus.INTRANS
        assert count(connection, "public.ai_usage_ledger") == 0
        mine.rollback()
    assert count(connection, notes) == 0
    assert count(connection, "public.ai_usage_ledger") == 0


def test_a_record_and_my_own_insert_commit_together(
    database: Database,
    connection: psycopg.Connection,
    organization: Organization,
    workflow_id: UUID,
    notes: str,
) -> None:
    with database.connect() as mine:
        mine.execute(f"insert into {notes} values ('before')")
        spend(Client(mine), organization, workflow_id)
        mine.commit()
    assert count(connection, notes) == 1
    assert count(connection, "public.ai_usage_ledger") == 1


def test_a_connection_keeps_its_own_ways_of_reading(
    database: Database, organization: Organization
) -> None:
    with database.connect(row_factory=dict_row) as mine:
        assert Client(mine).get_organization_monthly_ai_cost(organization.id) == 0
        assert mine.execute("select '0.5'::jsonb as half").fetchone() == {"half": 0.5}


def test_a_refusal_leaves_rolling_back_to_me(
    database: Database, organization: Organization, workflow_id: UUID
) -> None:
    with database.connect() as mine:
        client = Client(mine)
        spend(client, organization, workflow_id)
        with pytest.raises(RequestConflict):
            client.record_usage_and_increment(
                workflow_id, organization.id, "other", 10, 5, COST, request_id="a"
            )
        assert mine.info.transaction_status is TransactionStatus.INERROR


def test_an_async_connection_is_not_committed(
    database: Database,
    connection: psycopg.Connection,
    organization: Organization,
    workflow_id: UUID,
) -> None:
    async def scenario() -> None:
        async with await psycopg.AsyncConnection.connect(database.url()) as mine:
            await AsyncClient(mine).record_usage_and_increment(
                workflow_id, organization.id, "gpt-4o", 10, 5, COST
            )
            assert mine.info.transaction_status is TransactionStatus.INTRANS
            await mine.rollback()

    asyncio.run(scenario())
    assert count(connection, "public.ai_usage_ledger") == 0


def test_from_a_pool_each_call_is_its_own_transaction(
    pool: ConnectionPool,
    connection: psycopg.Connection,
    organization: Organization,
    workflow_id: UUID,
) -> None:
    client = Client(pool)
    spend(client, organization, workflow_id)
    assert count(connection, "public.ai_usage_ledger") == 1
    with pytest.raises(RequestConflict):
        client.record_usage_and_increment(
            workflow_id, organization.id, "other", 10, 5, COST, request_id="a"
        )
    assert client.get_organization_monthly_ai_cost(organization.id) == COST


def test_a_given_pool_is_not_closed(pool: ConnectionPool, organization: Organization) -> None:
    with Client(pool) as client:
        client.get_organization_monthly_ai_cost(organization.id)
    assert not pool.closed


def test_a_connection_string_makes_a_pool_that_is_closed_again(
    database: Database, connection: psycopg.Connection, organization: Organization
) -> None:
    with Client(database.url()) as client:
        assert client.get_organization_monthly_ai_cost(organization.id) == 0
        assert client.read_only().get_organization_monthly_ai_cost(organization.id) == 0
    assert others(connection) == 0


def test_an_async_connection_string_makes_a_pool_that_is_closed_again(
    database: Database, connection: psycopg.Connection, organization: Organization
) -> None:
    async def scenario() -> None:
        async with AsyncClient(database.url()) as client:
            # The read-only client comes first, so it is the one that opens the pool.
            assert await client.read_only().get_organization_monthly_ai_cost(organization.id) == 0
            assert await client.get_organization_monthly_ai_cost(organization.id) == 0

    asyncio.run(scenario())
    assert others(connection) == 0


def others(connection: psycopg.Connection) -> int:
    """How many other sessions the database has, once those that are leaving have left."""
    for _ in range(100):
        row = connection.execute(
            "select count(*), pg_sleep(0.02) from pg_stat_activity"
            " where datname = current_database() and pid <> pg_backend_pid()"
        ).fetchone()
        assert row is not None
        if row[0] == 0:
            return 0
    return int(row[0])


def test_an_async_pool_serves_concurrent_calls(
    database: Database, organization: Organization, workflow_id: UUID
) -> None:
    async def scenario() -> Decimal:
        pool = AsyncConnectionPool(database.url(), min_size=2, max_size=4, open=False)
        async with pool:
            client = AsyncClient(pool)
            await asyncio.gather(
                *(
                    client.record_usage_and_increment(
                        workflow_id, organization.id, "gpt-4o", 10, 5, COST, request_id=str(number)
                    )
                    for number in range(20)
                )
            )
            return await client.get_organization_monthly_ai_cost(organization.id)

    assert asyncio.run(scenario()) == 20 * COST


@pytest.mark.parametrize("autocommit", [True, False])
def test_read_only_answers_and_refuses_to_write(
    database: Database, organization: Organization, workflow_id: UUID, autocommit: bool
) -> None:
    with database.connect(autocommit=autocommit) as mine:
        client = Client(mine).read_only()
        assert client.estimate_workflow_cost_limit(workflow_id, COST) is True
        with pytest.raises(ReadOnlySqlTransaction):
            spend(client, organization, workflow_id)
        spend(Client(mine), organization, workflow_id)  # the connection itself can still write


def test_read_only_spares_the_transaction_it_is_asked_in(
    database: Database, organization: Organization, workflow_id: UUID
) -> None:
    with database.connect() as mine:
        spend(Client(mine), organization, workflow_id)
        with pytest.raises(ReadOnlySqlTransaction):
            spend(Client(mine).read_only(), organization, workflow_id, request_id="b")
        assert mine.info.transaction_status is TransactionStatus.INTRANS
        assert Client(mine).get_organization_monthly_ai_cost(organization.id) == COST


def test_read_only_from_a_pool(pool: ConnectionPool, workflow_id: UUID) -> None:
    client = Client(pool).read_only()
    assert client.estimate_workflow_cost_limit(workflow_id, COST) is True
    with pytest.raises(ReadOnlySqlTransaction):
        client.check_workflow_cost_limit(workflow_id, COST)  # it locks


def test_async_read_only_on_a_connection(database: Database, workflow_id: UUID) -> None:
    async def scenario() -> None:
        async with await psycopg.AsyncConnection.connect(database.url()) as mine:
            client = AsyncClient(mine).read_only()
            assert await client.estimate_workflow_cost_limit(workflow_id, COST) is True
            with pytest.raises(ReadOnlySqlTransaction):
                await client.create_organization("Acme")

    asyncio.run(scenario())


def test_any_object_that_carries_calls_is_a_transport() -> None:
    class Remembering:
        """Stands in for a transport over HTTP."""

        def __init__(self) -> None:
            self.calls: list[Call[object]] = []

        def run(self, call: Call[bool]) -> bool:
            self.calls.append(call)
            return call.read([{call.function: True}])

        def read_only(self) -> "Remembering":
            return self

        def is_transient(self, _error: BaseException) -> bool:
            return False

        def close(self) -> None:
            self.calls.clear()

    transport = Remembering()
    client = Client(transport)
    assert client.check_organization_monthly_quota(UUID(int=1)) is True
    assert [call.function for call in transport.calls] == ["check_organization_monthly_quota"]
    client.close()
    assert transport.calls == []


def test_the_psycopg_transports_keep_the_protocols(database: Database) -> None:
    with database.connect() as connection:
        assert isinstance(PsycopgTransport(connection), Transport)

    async def scenario() -> bool:
        async with await psycopg.AsyncConnection.connect(database.url()) as connection:
            return isinstance(AsyncPsycopgTransport(connection), AsyncTransport)

    assert asyncio.run(scenario())
