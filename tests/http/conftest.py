"""One HTTP side for all tests here; each makes people and organizations of its own in it."""

from collections.abc import Iterator
from contextlib import ExitStack

import psycopg
import pytest

from tallystick import migrations
from tallystick.local import DEFAULT_MAJOR
from tests.conftest import FIXTURES
from tests.support.http import FUNCTIONS, Http, http_stack
from tests.support.servers import Database, Server, claimed_major, throwaway_server


@pytest.fixture(scope="session")
def http_database(request: pytest.FixtureRequest) -> Iterator[Database]:
    """A database of the local stack, also where the run is about somebody else's server."""
    with ExitStack() as stack:
        if claimed_major() is not None:
            server: Server = request.getfixturevalue("server")
            yield stack.enter_context(server.clone(request.getfixturevalue("template")))
            return
        server = stack.enter_context(throwaway_server(DEFAULT_MAJOR))
        database = stack.enter_context(server.clone(server.bare_template))
        migrations.apply(database.url())
        with database.connect() as connection:
            connection.execute(FIXTURES.read_bytes())
        yield database


@pytest.fixture(scope="session")
def functions_env() -> dict[str, str]:
    """What the edge functions find in their environment."""
    return {}


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
