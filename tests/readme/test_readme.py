"""What README.md says is executed: every command, every query with its output, every example."""

import inspect
import os
import re
import subprocess
import sys
import tomllib
from collections.abc import Iterator
from pathlib import Path
from unittest.mock import Mock

import psycopg
import pytest

from tallystick import errors
from tallystick.local import LocalServer
from tallystick.local.http_stack import HttpStack
from tests.support import supabase_cli
from tests.support.servers import Database, throwaway_folder

TREE = Path(__file__).parents[2]
README = (TREE / "README.md").read_text("utf-8")
USAGE = """timestamp,model,prompt_tokens,completion_tokens
2026-11-20T09:00:00Z,gpt-4o,1200,300
2026-11-20T09:00:01Z,gpt-4o-mini,500,100
"""


def blocks(*languages: str) -> list[str]:
    """Return the code blocks in one of the languages, in the README's order."""
    found = re.findall(r"^```(\w+)\n(.*?)^```$", README, flags=re.MULTILINE | re.DOTALL)
    return [text for language, text in found if language in languages]


def rows(heading: str) -> list[list[str]]:
    """Return the cells of the table under a heading, without its head."""
    section = re.split(rf"^#+ {re.escape(heading)}$", README, flags=re.MULTILINE)[1]
    table = re.search(r"^\|.*?(?=\n\n)", section, flags=re.MULTILINE | re.DOTALL)
    assert table is not None, heading
    lines = table.group().splitlines()[2:]
    return [[cell.strip() for cell in line.strip("|").split(" | ")] for line in lines]


def names_in(cell: str) -> list[str]:
    """Return what a table cell names in code font, without arguments."""
    return [name.partition("(")[0] for name in re.findall(r"`([^`]+)`", cell)]


def commands() -> list[str]:
    """Return every shell command of the README."""
    return [line for block in blocks("sh") for line in block.splitlines() if line]


@pytest.fixture(scope="module")
def state() -> Iterator[Path]:
    """A state folder for the local server the commands start, and stop in the end."""
    with throwaway_folder() as folder:
        yield folder
        HttpStack(folder).stop()
        LocalServer(folder).stop()


@pytest.fixture(scope="module")
def workplace(state: Path) -> Path:
    """The folder a reader would be in, with a usage file of their own."""
    (state / "usage.csv").write_text(USAGE, "utf-8")
    return state


@pytest.mark.parametrize("command", commands())
def test_command(command: str, workplace: Path, bare_database: Database) -> None:
    """Each command of the README succeeds, in the README's order."""
    if command == "supabase db push":
        # Needs npm, so scripts/check runs it: against a database that holds an application.
        steps = (TREE / "scripts" / "check").read_text("utf-8").splitlines()
        assert "step -m tests.support.supabase_cli" in steps
        assert '"db", "push"' in inspect.getsource(supabase_cli.check_push)
        return
    environment = {
        **os.environ,
        "TALLYSTICK_STATE": str(workplace),
        "TALLYSTICK_CACHE": str(TREE / ".cache"),
        "PATH": f"{Path(sys.executable).parent}{os.pathsep}{os.environ['PATH']}",
    }
    environment.pop("DATABASE_URL", None)
    if "$DATABASE_URL" in command:
        environment["DATABASE_URL"] = bare_database.url()
    if command == "./scripts/test":  # this test is part of its full run
        command += " --collect-only -q tests/readme"
    if command == "./scripts/spend-page":  # it serves until it is stopped: tests/http starts it
        command += f" --build {workplace / 'page'}"
    if command.startswith("pip install"):  # the project is installed already
        command += " --quiet --dry-run --no-deps --no-build-isolation"
    done = subprocess.run(
        ["bash", "-euc", command],
        cwd=TREE if command.startswith(("./", "pip ")) else workplace,
        env=environment,
        stdin=subprocess.DEVNULL,
        capture_output=True,
        text=True,
        check=False,
    )
    assert done.returncode == 0, done.stdout + done.stderr


@pytest.mark.parametrize("place", [0, 1, 2, 3])
def test_sql_example_prints_what_is_shown(database: Database, tmp_path: Path, place: int) -> None:
    """Each SQL example gives the output printed below it, digit by digit."""
    example, shown = blocks("sql")[place], blocks("text")[place]
    script = tmp_path / "example.sql"
    script.write_text(example, "utf-8")
    assert database.run_file(script).strip() == shown.strip()


def test_python_example(database: Database) -> None:
    """The Python example settles one call, by what the answer says it used."""
    example = blocks("python")[0]  # the others are run by tests/http
    answer = {
        "object": "chat.completion",
        "usage": {"prompt_tokens": 1200, "completion_tokens": 300, "total_tokens": 1500},
    }
    openai_client = Mock(**{"chat.completions.create.return_value": answer})
    names = {"DATABASE_URL": database.url(), "openai_client": openai_client}
    exec(compile(example, "README.md", "exec"), names)  # noqa: S102
    with database.connect() as connection:
        recorded = connection.execute(
            "select model, cost::text, cost_basis::text from ai_usage_ledger"
        ).fetchall()
    assert recorded == [("gpt-4o", "0.006000000000", "priced")]


def test_membership_seam(database: Database, tmp_path: Path) -> None:
    """After the README's replacement, an application's own table decides who reads what."""
    script = tmp_path / "seam.sql"
    script.write_text(blocks("sql")[-1], "utf-8")
    database.run_file(script)
    with database.connect() as connection:
        connection.execute(
            """
            insert into tenancy.organizations (id, name) values
            ('a0000000-0000-4000-8000-000000000000', 'Mine'),
            ('b0000000-0000-4000-8000-000000000000', 'Theirs');
            insert into public.team_members values (
              'a0000000-0000-4000-8000-000000000000', 'd0000000-0000-4000-8000-000000000000', true
            );
            select tests.act_as('authenticated', 'd0000000-0000-4000-8000-000000000000');
            """
        )
        read = connection.execute("select name from tenancy.organizations").fetchall()
        assert read == [("Mine",)]
        connection.execute(
            "select metering.set_budget("
            "'a0000000-0000-4000-8000-000000000000', 'organization', null, 'month', 1)"
        )
        with pytest.raises(psycopg.errors.InsufficientPrivilege):
            connection.execute(
                "select metering.set_budget("
                "'b0000000-0000-4000-8000-000000000000', 'organization', null, 'month', 1)"
            )


def test_what_is_exposed_is_what_the_project_exposes() -> None:
    """The schemas shown are those of supabase/config.toml."""
    (shown,) = blocks("toml")
    config = (TREE / "supabase" / "config.toml").read_text("utf-8")
    assert tomllib.loads(shown)["api"]["schemas"] == tomllib.loads(config)["api"]["schemas"]


def test_error_table_is_the_registry(database: Database) -> None:
    """Codes, classes and meanings in the README are those of the database and the client."""
    documented = {
        code: names_in(python)[0] for codes, python, _ in rows("Errors") for code in names_in(codes)
    }
    with database.connect() as connection:
        registry = connection.execute("select code from tallystick_errors").fetchall()
    assert set(documented) == {code for (code,) in registry}
    for code, name in documented.items():
        assert errors.ERRORS[code] is getattr(errors, name)


def test_names_exist(database: Database) -> None:
    """Everything listed under Names is there."""
    listed = [name for cell, _ in rows("Names") for name in names_in(cell)]
    assert len(listed) > 10
    with database.connect(options="-c search_path=public") as connection:
        for name in listed:
            found = connection.execute(
                "select coalesce(to_regclass(%(name)s)::oid, to_regproc(%(name)s)::oid)",
                {"name": name},
            ).fetchone()
            assert found not in (None, (None,)), name


def test_links_lead_somewhere() -> None:
    """Every relative link points at something in the tree."""
    links = re.findall(r"\]\(([^)#]+)\)", README)
    assert links
    for link in links:
        assert (TREE / link).exists(), link
