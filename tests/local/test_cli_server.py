"""The commands up, down, status and migrate, as a user runs them."""

import sys
from collections.abc import Callable, Iterator
from dataclasses import dataclass

import pytest

from tallystick import migrations
from tallystick.cli.main import main
from tallystick.local import LocalServer
from tests.support.servers import Database, Server, throwaway_folder


@dataclass(frozen=True)
class Result:
    """What a command left behind."""

    status: int | str | None
    stdout: str
    stderr: str


Run = Callable[..., Result]


@pytest.fixture
def tallystick(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> Iterator[Run]:
    """The command line tool, with a state folder of its own."""

    def run(*arguments: str) -> Result:
        monkeypatch.setattr(sys, "argv", ["tallystick", *arguments])
        with pytest.raises(SystemExit) as exit_:
            main()
        return Result(exit_.value.code or 0, *capsys.readouterr())

    with throwaway_folder() as folder:
        monkeypatch.setenv("TALLYSTICK_STATE", str(folder / "state"))
        monkeypatch.delenv("DATABASE_URL", raising=False)
        yield run
        LocalServer(folder / "state").stop()


def test_up_status_and_down(tallystick: Run) -> None:
    status = tallystick("status")
    assert (status.status, "tallystick up" in status.stdout) == (1, True)

    up = tallystick("up")
    assert up.status == 0, up.stderr
    assert all(f"Applied {migration}" in up.stdout for migration in migrations.available())
    url = up.stdout.split()[-1]
    assert migrations.pending(url) == []

    again = tallystick("up")
    assert (again.status, "up to date" in again.stdout, url in again.stdout) == (0, True, True)

    status = tallystick("status")
    assert (status.status, url in status.stdout) == (0, True)

    assert tallystick("down").stdout == "Stopped.\n"
    assert tallystick("down").stdout == "Nothing was running.\n"
    assert url in tallystick("up").stdout


def test_another_major_in_the_same_folder_is_an_error_message(tallystick: Run) -> None:
    assert "Postgres 16" in tallystick("up", "--major", "16").stdout
    refused = tallystick("up", "--major", "18")
    assert refused.status == 1
    assert refused.stderr.startswith("Error: ")
    assert "holds a Postgres 16 server" in refused.stderr


def test_migrate_brings_a_database_up_to_date(tallystick: Run, bare_database: Database) -> None:
    first = tallystick("migrate", "--database-url", bare_database.url())
    assert first.status == 0, first.stderr
    assert first.stdout.count("Applied ") == len(migrations.available())
    second = tallystick("migrate", "--database-url", bare_database.url())
    assert (second.status, second.stdout) == (0, "Schema is up to date.\n")


def test_migrate_says_when_the_bootstrap_is_missing(tallystick: Run, server: Server) -> None:
    with server.clone("template0") as plain:
        refused = tallystick("migrate", "--database-url", plain.url())
        assert (refused.status, "add --bootstrap" in refused.stderr) == (1, True)
        with plain.connect() as connection:
            rooms = connection.execute("select to_regnamespace('private')").fetchone()
        assert rooms == (None,)

        done = tallystick("migrate", "--bootstrap", "--database-url", plain.url())
        assert done.status == 0, done.stderr
        assert migrations.pending(plain.url()) == []


def test_a_database_that_cannot_be_reached_is_an_error_message(tallystick: Run) -> None:
    failed = tallystick("migrate", "--database-url", "postgresql://127.0.0.1:1/nowhere")
    assert failed.status == 1
    assert failed.stderr.startswith("Error: ")
    assert "Traceback" not in failed.stderr
