"""The commands as a user types them."""

import os
import shlex
import sys
from decimal import Decimal
from pathlib import Path
from typing import Any

import psycopg
import pytest
from psycopg.conninfo import conninfo_to_dict
from typer.testing import CliRunner, Result

from tallystick.cli import demo
from tallystick.cli.host import Host
from tallystick.cli.main import app
from tallystick.cli.replay import replay_with_progress
from tallystick.figures import usd
from tallystick.local import LocalServer, LocalServerError
from tallystick.replay.formats import own
from tallystick.replay.session import Replay
from tests.replay.conftest import WriteFile
from tests.support.servers import Database, Server, throwaway_folder

UNKNOWN = "00000000-0000-7000-8000-000000000001"
USAGE = """timestamp,model,prompt_tokens,completion_tokens,workflow
2026-11-02T09:00:00,gpt-4o,1000,300,chat
2026-11-02T09:01:00,gpt-4o,1000,300,chat
2026-11-02T09:02:00,gpt-4o-mini,1000,300,search
"""


def ledger_rows(database: Database) -> dict[str, int]:
    with database.connect() as connection:
        rows = connection.execute(
            "select o.name, count(*) from public.ai_usage_ledger as l"
            " join tenancy.organizations as o on o.id = l.organization_id group by o.id"
        ).fetchall()
    return dict(rows)


def tallystick(*arguments: object) -> Result:
    return CliRunner(env={"COLUMNS": "100"}).invoke(app, [str(each) for each in arguments])


def test_replay_reports_and_a_second_run_says_nothing_was_recorded_twice(
    database: Database, write: WriteFile
) -> None:
    path = write("usage.csv", USAGE)
    options = ("--database-url", database.url(), "--workflow-limit", "$0.0100", "--workers", 1)
    first = tallystick("replay", path, *options)
    assert first.exit_code == 0, first.output
    assert ledger_rows(database) == {"replay": 2, "replay (check, then record)": 2}
    assert "What holds changed" in first.output
    second = tallystick("replay", path, *options)
    assert second.exit_code == 0
    assert "2 rows already" in second.output
    assert ledger_rows(database) == {"replay": 2, "replay (check, then record)": 2}


def test_the_comparison_can_be_left_out(database: Database, write: WriteFile) -> None:
    url = ("--database-url", database.url())
    result = tallystick("replay", write("usage.csv", USAGE), *url, "--no-compare")
    assert result.exit_code == 0
    assert ledger_rows(database) == {"replay": 3}
    assert "check, then record" not in result.output


def test_a_call_takes_as_long_as_it_is_told(
    database: Database, write: WriteFile, monkeypatch: pytest.MonkeyPatch
) -> None:
    slept: list[float] = []
    monkeypatch.setattr("tallystick.replay.ways.time.sleep", slept.append)
    url = ("--database-url", database.url(), "--workflow-limit", "0.01")
    for options in ((), ("--organization", "Acme", "--call-ms", 1)):
        tallystick("replay", write("usage.csv", USAGE), *url, "--workers", 1, *options)
    # Two of three are granted, by holds and by checks.
    assert slept == [0.005] * 4 + [0.001] * 4


@pytest.mark.parametrize(
    ("options", "complaint"),
    [
        (("--format", "azure"), "line 1"),
        (("--organization", UNKNOWN), UNKNOWN),
        (("--monthly-limit", "1e20"), "[22023]"),
    ],
)
def test_what_stands_in_the_way_is_one_line(
    database: Database, write: WriteFile, options: tuple[str, ...], complaint: str
) -> None:
    url = database.url()
    result = tallystick("replay", write("usage.csv", USAGE), "--database-url", url, *options)
    assert result.exit_code == 1
    assert complaint in result.stderr
    assert len(result.stderr.splitlines()) == 1


def test_a_malformed_file_writes_nothing(database: Database, write: WriteFile) -> None:
    path = write("usage.csv", USAGE + "2026-11-02T09:03:00,gpt-4o,many,300,chat\n")
    result = tallystick("replay", path, "--database-url", database.url())
    assert result.exit_code == 1
    assert f"{path}, line 5: prompt_tokens" in result.stderr
    with database.connect() as connection:
        assert connection.execute("select from tenancy.organizations").rowcount == 0


def test_help_names_the_columns_of_our_own_format() -> None:
    text = " ".join(tallystick("replay", "--help").output.split())
    for column in own.REQUIRED | own.OPTIONAL:
        assert column in text


def test_an_amount_that_is_none_is_refused(write: WriteFile) -> None:
    result = tallystick("replay", write("usage.csv", USAGE), "--monthly-limit", "much")
    assert result.exit_code == 2
    assert "'much'" in result.stderr


def test_a_database_without_tallystick_is_named_as_such(
    bare_database: Database, write: WriteFile
) -> None:
    replay = ("replay", write("usage.csv", USAGE))
    for command in (replay, ("verify",), ("budgets", "list"), ("holds", "expire")):
        result = tallystick(*command, "--database-url", bare_database.url())
        assert result.exit_code == 1
        assert "tallystick migrate" in result.stderr


@pytest.mark.parametrize("command", ["replay", "verify"])
def test_without_a_database_the_local_server_must_run(
    write: WriteFile, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, command: str
) -> None:
    monkeypatch.delenv("DATABASE_URL", raising=False)
    monkeypatch.setenv("TALLYSTICK_STATE", str(tmp_path))
    arguments = [command, str(write("usage.csv", USAGE))] if command == "replay" else [command]
    result = tallystick(*arguments)
    assert isinstance(result.exception, LocalServerError)
    assert "tallystick up" in str(result.exception)


def test_ctrl_c_says_how_to_go_on(
    database: Database, write: WriteFile, monkeypatch: pytest.MonkeyPatch
) -> None:
    def interrupted(*_arguments: object, **_options: object) -> None:
        raise KeyboardInterrupt

    monkeypatch.setattr("tallystick.replay.session.run", interrupted)
    path = write("usage.csv", USAGE)
    result = tallystick("replay", path, "--database-url", database.url())
    assert result.exit_code == 1
    assert result.stderr.startswith("Error: ")
    assert len(result.stderr.splitlines()) == 1


def test_verify_counts_what_it_checked_and_lists_what_is_wrong(
    database: Database, write: WriteFile
) -> None:
    url = ("--database-url", database.url())
    acme = ("--organization", "Acme", "--no-compare")
    tallystick("replay", write("usage.csv", USAGE), *url, *acme)
    good = tallystick("verify", *url)
    assert good.exit_code == 0
    assert "3 ledger rows of 1 organization" in good.output
    with database.connect() as connection:
        connection.execute("insert into tenancy.organizations (name) values ('Other')")
        connection.execute("update metering.usage_rollups set requests = requests + 1")
    bad = tallystick("verify", *url, "--organization", "Acme")
    assert bad.exit_code == 1
    assert "findings" in bad.output
    other = tallystick("verify", *url, "--organization", "Other")
    assert other.exit_code == 0
    unknown = tallystick("verify", *url, "--organization", "Nobody")
    assert unknown.exit_code == 1
    assert "'Nobody'" in unknown.stderr


@pytest.fixture
def replays(monkeypatch: pytest.MonkeyPatch) -> list[Replay]:
    """What the demo replayed, in order."""
    kept: list[Replay] = []

    def keep(*arguments: Any) -> Replay:
        kept.append(replay_with_progress(*arguments))
        return kept[-1]

    monkeypatch.setattr(demo, "replay_with_progress", keep)
    monkeypatch.delenv("DATABASE_URL", raising=False)
    monkeypatch.delenv("TALLYSTICK_STACK", raising=False)
    return kept


def assert_told(result: Result, first: Replay, second: Replay) -> None:
    assert result.exit_code == 0, result.output
    text = " ".join(result.output.split())
    assert "WRONG" not in text
    assert "research-agent" in text
    # Runs that were paid in advance: refunds and extra charges, and a statement of them.
    assert "token reconciliation overestimate" in text
    assert "token reconciliation underestimate" in text
    assert "closing balance" in text
    assert "The books balance" in text
    # Every call that is counted as held by the agent's cap was, and no other.
    run = first.held.run
    assert 0 < run.count("over workflow cap") < len(run.outcomes)
    assert f"{run.count('over workflow cap')} were refused" in text
    # The cap held; what check, then record lets through is said to the last digit.
    assert (first.held.passed.workflows, first.held.passed.month) == ({}, 0)
    assert first.checked
    assert first.checked.passed.total > 0
    assert f"spent {usd(first.checked.passed.total)} above that cap" in text
    for before, after in ((first.held, second.held), (first.checked, second.checked)):
        assert after
        assert after.already_recorded == len(before.run.recorded) > 0
        assert after.run.recorded == []


def test_demo_tells_the_whole_story_and_can_be_repeated(
    monkeypatch: pytest.MonkeyPatch, replays: list[Replay]
) -> None:
    with throwaway_folder() as folder:
        state = folder / "a state"
        monkeypatch.setenv("TALLYSTICK_STATE", str(state))
        server = LocalServer(state, durable=False)
        server.start()
        try:
            outputs = [tallystick("demo") for _ in range(2)]
        finally:
            server.stop()
        for result in outputs:
            assert_told(result, replays.pop(0), replays.pop(0))
            assert "tallystick down" in result.output
            assert server.password in result.output


@pytest.mark.parametrize("by_option", [True, False])
def test_demo_uses_the_server_it_is_given(
    server: Server,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    replays: list[Replay],
    by_option: bool,
) -> None:
    name = f"tallystick_test_demo_{os.getpid()}"
    monkeypatch.setattr(demo, "DATABASE", name)
    monkeypatch.setattr(demo, "MONTHLY_LIMIT", Decimal("5.00"))  # so that both caps refuse
    monkeypatch.setenv("TALLYSTICK_STATE", str(tmp_path))
    if not by_option:
        monkeypatch.setenv("DATABASE_URL", server.owner_url)
    try:
        result = tallystick("demo", *(["--database-url", server.owner_url] if by_option else []))
    finally:
        with psycopg.connect(server.admin_url, autocommit=True) as admin:
            admin.execute(f"drop database if exists {name} with (force)")
    assert_told(result, *replays)
    assert replays[0].held.run.count("over monthly cap") > 0
    # No local server was made.
    assert [path.name for path in tmp_path.iterdir()] == ["demo"]
    assert "tallystick down" not in result.output


def test_what_the_demo_suggests_survives_a_shell(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("PATH", "")
    monkeypatch.setattr(sys, "executable", "/a tree/bin/python")
    # Without the password: that of somebody's own server is not for the screen.
    psql, *_, replay, _ = Host("postgresql://me:secret@host:1/x?sslmode=require").invitations(
        "demo"
    )
    target = {"user": "me", "host": "host", "port": "1", "dbname": "demo", "sslmode": "require"}
    assert conninfo_to_dict(shlex.split(psql)[-1]) == target
    assert conninfo_to_dict(shlex.split(replay)[-1]) == target
    assert shlex.split(replay)[0] == "/a tree/bin/python"
    assert Path(shlex.split(psql)[0]).exists()
