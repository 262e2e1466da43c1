"""The commands as a user types them."""

from pathlib import Path

import pytest
from typer.testing import CliRunner, Result

from tallystick.cli.main import app
from tallystick.local import LocalServer, LocalServerError
from tallystick.replay.formats import own
from tests.replay.conftest import WriteFile
from tests.support.servers import Database, throwaway_folder

USAGE = """timestamp,model,prompt_tokens,completion_tokens,workflow
2026-11-02T09:00:00,gpt-4o,1000,300,chat
2026-11-02T09:01:00,gpt-4o,1000,300,chat
2026-11-02T09:02:00,gpt-4o-mini,1000,300,search
"""


def tallystick(*arguments: object) -> Result:
    return CliRunner(env={"COLUMNS": "100"}).invoke(app, [str(each) for each in arguments])


def test_replay_reports_and_a_second_run_says_nothing_was_recorded_twice(
    database: Database, write: WriteFile
) -> None:
    path = write("usage.csv", USAGE)
    options = ("--database-url", database.url(), "--workflow-limit", "$0.0100", "--workers", 2)
    first = tallystick("replay", path, *options)
    assert first.exit_code == 0, first.output
    assert "2 recorded, 1 refused" in first.output
    second = tallystick("replay", path, *options)
    assert second.exit_code == 0
    assert "nothing recorded twice: 2 rows already in the ledger" in second.output


@pytest.mark.parametrize(
    ("options", "complaint"),
    [
        (("--format", "azure"), "line 1: the column ContextTokens is missing"),
        (("--organization", "00000000-0000-7000-8000-000000000001"), "no organization has the id"),
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
    assert f"{path}, line 5: prompt_tokens must be a whole number" in result.stderr
    with database.connect() as connection:
        assert connection.execute("select from tenancy.organizations").rowcount == 0


def test_help_names_the_columns_of_our_own_format() -> None:
    text = " ".join(tallystick("replay", "--help").output.split())
    for column in own.REQUIRED | own.OPTIONAL:
        assert column in text


def test_an_amount_that_is_none_is_refused(write: WriteFile) -> None:
    result = tallystick("replay", write("usage.csv", USAGE), "--monthly-limit", "much")
    assert result.exit_code == 2
    assert "'much' is not an amount of US dollars" in result.stderr


def test_a_database_without_tallystick_is_named_as_such(
    bare_database: Database, write: WriteFile
) -> None:
    for command in (("replay", write("usage.csv", USAGE)), ("verify",)):
        result = tallystick(*command, "--database-url", bare_database.url())
        assert result.exit_code == 1
        assert "run `tallystick migrate`" in result.stderr


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
    assert "running it again goes on from there" in result.stderr


def test_verify_counts_what_it_checked_and_lists_what_is_wrong(
    database: Database, write: WriteFile
) -> None:
    url = ("--database-url", database.url())
    tallystick("replay", write("usage.csv", USAGE), *url, "--organization", "Acme")
    good = tallystick("verify", *url)
    assert good.exit_code == 0
    assert "Nothing wrong: 3 ledger rows of 1 organization checked" in good.output
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
    assert "0 organizations answer to 'Nobody'" in unknown.stderr


def test_demo_tells_the_whole_story_and_can_be_repeated(monkeypatch: pytest.MonkeyPatch) -> None:
    with throwaway_folder() as folder:
        monkeypatch.setenv("TALLYSTICK_STATE", str(folder))
        server = LocalServer(folder, durable=False)
        server.start()
        try:
            outputs = [tallystick("demo") for _ in range(2)]
        finally:
            server.stop()
    for result in outputs:
        assert result.exit_code == 0, result.output
        for words in (
            "1. A Postgres of your own",
            "a sample that Tallystick generated, not real usage",
            "research-agent",
            "Nothing recorded twice",
            "Nothing wrong",
            "Look further",
            "tallystick_demo",
        ):
            assert words in result.output
        assert "WRONG" not in result.output
