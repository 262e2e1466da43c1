"""What every test can ask for: a server, and databases cloned from a template.

Tests in SQL (tests/database/**/test_*.sql) are run by pytest-pgtap, each in a clone of its own, as
`postgres`: the owner of the schema and, as on Supabase, no superuser.
"""

from collections.abc import Iterator
from pathlib import Path

import psutil
import psycopg
import pytest
from psycopg.abc import Query
from pytest_pgtap.pgtap import Runner

from tallystick import migrations
from tests.support import pgtap
from tests.support.servers import Database, Server, any_server, is_foreign

FIXTURES = Path(__file__).parent / "database" / "fixtures.sql"
MOST_WORKERS = 4  # each has a Postgres, and some tests have a hundred connections
LONG_CONNECTIONS = 1100  # 1,000 callers, and those who watch them


def pytest_addoption(parser: pytest.Parser) -> None:
    """Offer the long forms of tests that the default run has in short."""
    parser.addoption(
        "--long",
        action="store_true",
        help="1,000 real connections, ten minutes of mixed load",
    )
    parser.addoption(
        "--brief",
        action="store_true",
        help="20 seconds of mixed load instead of a minute, fewer histories: for one more Postgres",
    )


def pytest_xdist_auto_num_workers() -> int:
    """Share the tests out to the cores, each worker with a Postgres of its own (-n auto).

    A server that is given, or in Docker, is one for all: its tests run one after the other.
    """
    return 0 if is_foreign() else min(psutil.cpu_count() or 1, MOST_WORKERS)


@pytest.fixture(scope="session")
def long(pytestconfig: pytest.Config) -> bool:
    """Whether this run was asked for the long forms."""
    return bool(pytestconfig.getoption("--long"))


@pytest.fixture(scope="session")
def brief(pytestconfig: pytest.Config) -> bool:
    """Whether this run is one more of several."""
    return bool(pytestconfig.getoption("--brief"))


@pytest.fixture(scope="session")
def server(long: bool) -> Iterator[Server]:
    """The Postgres of this run; of this worker, where the run has several."""
    with any_server(LONG_CONNECTIONS if long else None) as server:
        yield server


@pytest.fixture(scope="session")
def template(request: pytest.FixtureRequest, server: Server) -> Iterator[str]:
    """The name of a database with Tallystick, pgTAP and the shared fixtures."""
    with server.clone(server.bare_template) as database:
        migrations.apply(database.url())
        try:
            pgtap.install(database.url())
        except pgtap.PgTapMissingError as missing:
            request.session.shouldfail = str(missing)  # nor could any other test run
            raise
        if FIXTURES.exists():
            with database.connect() as connection:
                connection.execute(FIXTURES.read_bytes())
        yield database.name


@pytest.fixture
def database(server: Server, template: str) -> Iterator[Database]:
    """A database with Tallystick in it, for this test alone."""
    with server.clone(template) as database:
        yield database


@pytest.fixture
def bare_database(server: Server) -> Iterator[Database]:
    """A database with what Supabase provides, and without Tallystick."""
    with server.clone(server.bare_template) as database:
        yield database


@pytest.fixture
def pgtap_connection(database: Database) -> Iterator[psycopg.Connection]:
    """The connection of one test file; pgTAP is on its search path."""
    with database.connect(options="-c search_path=public,extensions") as connection:
        yield connection


class TapRunner(Runner):
    """Lets a test file call functions in passing: what they return is no test result."""

    def run(self, query: Query) -> list[str]:
        """Run a whole file and return its TAP lines."""
        return [line for line in super().run(query) if isinstance(line, str)]


@pytest.fixture
def _pgtap_runner(pgtap_connection: psycopg.Connection) -> Runner:
    # The plugin's own lives for the whole session, on one database.
    return TapRunner(pgtap_connection)


def pytest_configure(config: pytest.Config) -> None:
    """Keep the plugin from printing DATABASE_URL, password included; our fixtures connect."""
    config.option.pgtap_uri = None


def pytest_sessionfinish(session: pytest.Session) -> None:
    """A skipped test proves nothing, so it fails the run."""
    reporter = session.config.pluginmanager.get_plugin("terminalreporter")
    if reporter is not None and reporter.stats.get("skipped") and session.exitstatus == 0:
        session.exitstatus = pytest.ExitCode.TESTS_FAILED


def pytest_terminal_summary(terminalreporter: pytest.TerminalReporter) -> None:
    """Say why a run without failures fails."""
    if terminalreporter.stats.get("skipped"):
        terminalreporter.write_line("Skipped tests fail the run.", red=True)
