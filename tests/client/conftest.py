"""A client of either kind, and somebody who pays."""

import asyncio
from collections.abc import Callable, Iterator
from typing import Any
from uuid import UUID, uuid4

import psycopg
import pytest

from tallystick import AsyncClient, Client, Organization
from tests.support.servers import Database


class Blocking:
    """An AsyncClient whose methods can be called like those of a Client."""

    def __init__(self, client: AsyncClient, loop: asyncio.AbstractEventLoop) -> None:
        self._client = client
        self._loop = loop

    def read_only(self) -> "Blocking":
        return Blocking(self._client.read_only(), self._loop)

    def __getattr__(self, name: str) -> Callable[..., Any]:
        method = getattr(self._client, name)
        return lambda *args, **options: self._loop.run_until_complete(method(*args, **options))


@pytest.fixture
def connection(database: Database) -> Iterator[psycopg.Connection]:
    with database.connect(autocommit=True) as connection:
        yield connection


@pytest.fixture
def sync_client(connection: psycopg.Connection) -> Client:
    return Client(connection)


@pytest.fixture(params=["sync", "async"])
def client(request: pytest.FixtureRequest, database: Database) -> Iterator[Client | Blocking]:
    """The same test runs against both clients."""
    if request.param == "sync":
        with database.connect(autocommit=True) as connection:
            yield Client(connection)
        return
    loop = asyncio.new_event_loop()
    connection = loop.run_until_complete(
        psycopg.AsyncConnection.connect(database.url(), autocommit=True)
    )
    try:
        yield Blocking(AsyncClient(connection), loop)
    finally:
        loop.run_until_complete(connection.close())
        loop.close()


@pytest.fixture
def organization(sync_client: Client) -> Organization:
    return sync_client.create_organization("Acme", time_zone="Europe/Berlin")


@pytest.fixture
def workflow_id(sync_client: Client, organization: Organization) -> UUID:
    return sync_client.upsert_intent_workflow(uuid4(), organization.id, {"name": "review"}).id
