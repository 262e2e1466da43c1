"""A client of any kind over any transport, and somebody who pays."""

import asyncio
from collections.abc import Callable, Iterator
from typing import Any
from uuid import UUID, uuid4

import psycopg
import pytest

import supabase
from tallystick import AsyncClient, Client, Organization
from tallystick.transports.supabase import SupabaseTransport
from tests.support.http import Http, http_stack
from tests.support.servers import Database, Server, claimed_major

# The HTTP side is one of the local stack, so it is not asked of somebody else's server.
OVER_HTTP = [] if claimed_major() is None else ["http"]


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


@pytest.fixture(scope="session")
def http(server: Server, template: str) -> Iterator[Http]:
    """An HTTP side whose database `database` makes anew for each test that goes over it."""
    with server.clone(template) as database, http_stack(database) as running:
        yield running


@pytest.fixture(scope="session")
def http_client(http: Http) -> Iterator[Client]:
    asking = supabase.create_client(http.url, http.secret_key)
    yield Client(SupabaseTransport(asking))
    asking.postgrest.aclose()


@pytest.fixture
def database(request: pytest.FixtureRequest, server: Server, template: str) -> Iterator[Database]:
    """A database for this test alone; over HTTP it is the one that the gateway serves."""
    if "http" not in request.node.name:
        with server.clone(template) as database:
            yield database
        return
    running: Http = request.getfixturevalue("http")
    running.database.renew(template)
    running.wait()
    yield running.database


@pytest.fixture
def connection(database: Database) -> Iterator[psycopg.Connection]:
    with database.connect(autocommit=True) as connection:
        yield connection


@pytest.fixture
def sync_client(connection: psycopg.Connection) -> Client:
    return Client(connection)


@pytest.fixture(params=["sync", "async", *OVER_HTTP])
def client(request: pytest.FixtureRequest, database: Database) -> Iterator[Client | Blocking]:
    """The same test runs against both clients, over Postgres' own protocol and over HTTP."""
    match request.param:
        case "sync":
            with database.connect(autocommit=True) as connection:
                yield Client(connection)
        case "async":
            loop = asyncio.new_event_loop()
            connection = loop.run_until_complete(
                psycopg.AsyncConnection.connect(database.url(), autocommit=True)
            )
            try:
                yield Blocking(AsyncClient(connection), loop)
            finally:
                loop.run_until_complete(connection.close())
                loop.close()
        case "http":
            yield request.getfixturevalue("http_client")


@pytest.fixture
def organization(sync_client: Client) -> Organization:
    return sync_client.create_organization("Acme", time_zone="Europe/Berlin")


@pytest.fixture
def workflow_id(sync_client: Client, organization: Organization) -> UUID:
    return sync_client.upsert_intent_workflow(uuid4(), organization.id, {"name": "review"}).id
