"""One HTTP side for all tests here; each makes people and organizations of its own in it."""

from collections.abc import Iterator

import psycopg
import pytest

from tallystick import migrations
from tallystick.local import DEFAULT_MAJOR
from tests.conftest import FIXTURES
from tests.support.http import FUNCTIONS, Http, http_stack
from tests.support.provider import KEY, Provider, running_provider
from tests.support.servers import Database, Server, claimed_major, throwaway_server


@pytest.fixture(scope="session")
def http_server(request: pytest.FixtureRequest) -> Iterator[Server]:
    """A server of the local stack, also where the run is about somebody else's."""
    if claimed_major() is not None:
        yield request.getfixturevalue("server")
        return
    with throwaway_server(DEFAULT_MAJOR) as server:
        yield server


@pytest.fixture(scope="session")
def http_database(http_server: Server) -> Iterator[Database]:
    """The database behind `http`: Tallystick and the shared fixtures."""
    with http_server.clone(http_server.bare_template) as database:
        migrations.apply(database.url())
        with database.connect() as connection:
            connection.execute(FIXTURES.read_bytes())
        yield database


@pytest.fixture(scope="module")
def http_server_database(http_server: Server) -> Iterator[Database]:
    """A database without Tallystick, for a module."""
    with http_server.clone(http_server.bare_template) as database:
        yield database


@pytest.fixture(scope="session")
def provider() -> Iterator[Provider]:
    """What answers behind the metered proxy."""
    with running_provider() as provider:
        yield provider


@pytest.fixture(scope="session")
def functions_env(provider: Provider) -> dict[str, str]:
    """What the edge functions find in their environment."""
    return {
        "PROVIDER_BASE_URL": provider.url,
        "PROVIDER_API_KEY": KEY,
        "PROVIDER_TIMEOUT_SECONDS": "3",
        "PROVIDER_IDLE_SECONDS": "3",
    }


@pytest.fixture(scope="session")
def http(http_database: Database, functions_env: dict[str, str]) -> Iterator[Http]:
    """The HTTP side: users, data API and the tree's own edge functions."""
    functions = FUNCTIONS if FUNCTIONS.is_dir() else None
    with http_stack(http_database, functions, functions_env) as running:
        yield running


@pytest.fixture
def owner(http_database: Database) -> Iterator[psycopg.Connection]:
    """The owner of the schema, on the same database; everything it does is committed at once."""
    with http_database.connect(autocommit=True) as connection:
        yield connection
