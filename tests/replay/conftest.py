"""Files to replay, and a way to replay them."""

from collections.abc import Callable, Iterator
from decimal import Decimal
from functools import partial
from pathlib import Path

import pytest
from rich.console import Console

from tallystick import Client
from tallystick.pricing.genai import price_list
from tallystick.replay.formats import read_usage
from tallystick.replay.plan import plan
from tallystick.replay.report import report
from tallystick.replay.session import Replay, Settings, replay_plan
from tests.support.servers import Database, Server

WriteFile = Callable[[str, str], Path]
ReplayFile = Callable[..., Replay]


@pytest.fixture(scope="session")
def priced_template(server: Server, template: str) -> Iterator[str]:
    """The name of a database with Tallystick and the price list of genai-prices."""
    with server.clone(template) as database:
        listed = price_list()
        with Client(database.url()) as client:
            client.load_prices(listed.source, listed.version, listed.content, None)
        yield database.name


@pytest.fixture
def database(server: Server, priced_template: str) -> Iterator[Database]:
    """A database with Tallystick and prices in it, for this test alone."""
    with server.clone(priced_template) as database:
        yield database


@pytest.fixture
def unpriced_database(server: Server, template: str) -> Iterator[Database]:
    """A database with Tallystick in which nobody has loaded prices."""
    with server.clone(template) as database:
        yield database


@pytest.fixture
def write(tmp_path: Path) -> WriteFile:
    """Write a file and return its path."""

    def write(name: str, text: str) -> Path:
        path = tmp_path / name
        path.write_text(text, encoding="utf-8")
        return path

    return write


@pytest.fixture
def replay_file(database: Database, replay_into: ReplayFile) -> ReplayFile:
    """Replay a file into the test's database."""
    return partial(replay_into, database.url())


@pytest.fixture
def replay_into() -> ReplayFile:
    """Replay a file into a database of this URL."""

    def replay(
        url: str,
        path: Path,
        *,
        model: str | None = "gpt-4o",
        rows_per_workflow: int = 50,
        organization: str = "Acme",
        workflow_limit: str | None = "1000",
        monthly_limit: str | None = "1000",
        workers: int = 1,
        call_ms: int = 0,
        compare: bool = False,
    ) -> Replay:
        usage = read_usage(path)
        settings = Settings(
            database_url=url,
            organization=organization,
            workflow_limit=None if workflow_limit is None else Decimal(workflow_limit),
            monthly_limit=None if monthly_limit is None else Decimal(monthly_limit),
            workers=workers,
            call_ms=call_ms,
            compare=compare,
        )
        return replay_plan(
            usage,
            plan(usage, model=model, rows_per_workflow=rows_per_workflow),
            settings,
            on_start=lambda _title, _number: None,
            on_outcome=lambda _answer: None,
        )

    return replay


def shown(replay: Replay, columns: int = 80) -> str:
    """Return the report as a terminal of so many columns shows it."""
    console = Console(width=columns, color_system=None)
    with console.capture() as capture:
        console.print(report(replay))
    return capture.get()


def before_insert(database: Database, table: str, do: str) -> None:
    """Let statements of plpgsql run before each row that is inserted into a table."""
    with database.connect() as connection:
        connection.execute(
            "create function tests.meddle() returns trigger language plpgsql as"
            f" $$ begin {do}; return new; end $$"
        )
        connection.execute(
            f"create trigger meddle before insert on {table}"
            " for each row execute function tests.meddle()"
        )
