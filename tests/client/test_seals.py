"""Seals and checkpoints through the client."""

import asyncio
from collections.abc import Callable
from decimal import Decimal

import psycopg
import pytest

from tallystick import AsyncClient, Client, InvalidArgument, PermissionDenied
from tests.support.servers import Database


def test_what_was_committed_is_sealed_once(database: Database) -> None:
    with database.connect(role="service_role", autocommit=True) as connection:
        client = Client(connection)
        organization = client.create_organization("Acme")
        assert client.seal_ledgers() is None
        client.purchase_credits(organization.id, Decimal(5), "first")
        first = client.seal_ledgers(limit=10)
        assert first is not None
        assert (first.seal, first.epoch, first.is_catching_up, first.leaf_count) == (1, 1, False, 5)
        assert first.previous == "0" * 64
        client.purchase_credits(organization.id, Decimal(5), "second")
        second = client.seal_ledgers()
        assert second is not None
        assert second.previous == first.hash
        assert client.seals(limit=5) == [second, first]
        assert client.seals() == [second]
        assert client.verify_seals(published_hash=first.hash) == []
        assert client.verify_seals(organization_id=organization.id) == []
        assert client.make_checkpoint() == client.make_checkpoint(full=True) == []
        assert client.verify_integrity(full=True) == []

    with psycopg.connect(database.admin_url) as admin:
        admin.execute("set session_replication_role = replica")
        admin.execute("delete from billing.billing_ledger")
        findings = Client(admin).verify_seals()
        assert [(each.check_name, each.ledger, each.organization_id) for each in findings] == [
            ("sealed_row_is_there", "billing.billing_ledger", organization.id)
        ] * 2
        assert {each.seal for each in findings} == {1, 2}
        assert all(each.row_id and each.expected and each.actual == "nothing" for each in findings)


@pytest.mark.parametrize(
    "call",
    [
        lambda client: client.seal_ledgers(),
        lambda client: client.make_checkpoint(),
        lambda client: client.verify_seals(),
        lambda client: client.seals(),
    ],
)
def test_no_tenant_seals_or_verifies(database: Database, call: Callable[[Client], object]) -> None:
    with database.connect(role="authenticated") as connection, pytest.raises(PermissionDenied):
        call(Client(connection))


def test_what_is_no_hash_is_refused(database: Database) -> None:
    with database.connect(role="service_role") as connection, pytest.raises(InvalidArgument):
        Client(connection).verify_seals(published_hash="x")


def test_the_async_client_seals_likewise(database: Database) -> None:
    async def scenario() -> None:
        async with await psycopg.AsyncConnection.connect(
            database.url(), autocommit=True
        ) as connection:
            client = AsyncClient(connection)
            organization = await client.create_organization("Acme")
            await client.purchase_credits(organization.id, Decimal(5), "first")
            made = await client.seal_ledgers()
            assert made is not None
            assert await client.seal_ledgers() is None
            assert await client.seals() == [made]
            assert await client.verify_seals(published_hash=made.hash) == []
            assert await client.make_checkpoint() == []
            assert await client.verify_integrity(full=True) == []

    asyncio.run(scenario())
