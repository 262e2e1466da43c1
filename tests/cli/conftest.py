"""The command line tool as a user types it, and somebody who pays."""

from collections.abc import Callable, Iterator

import psycopg
import pytest
from typer.testing import CliRunner, Result

from tallystick import Client, Organization
from tallystick.cli.main import app
from tests.support.servers import Database

Run = Callable[..., Result]


@pytest.fixture
def run(database: Database, monkeypatch: pytest.MonkeyPatch) -> Run:
    """Run a command on the test's database."""
    monkeypatch.setenv("DATABASE_URL", database.url())
    return lambda *arguments: CliRunner().invoke(app, [str(each) for each in arguments])


@pytest.fixture
def connection(database: Database) -> Iterator[psycopg.Connection]:
    with database.connect(autocommit=True) as connection:
        yield connection


@pytest.fixture
def client(connection: psycopg.Connection) -> Client:
    return Client(connection)


@pytest.fixture
def acme(client: Client) -> Organization:
    return client.create_organization("Acme")
