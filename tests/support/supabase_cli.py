"""Checks the migrations with the real Supabase CLI: `python -m tests.support.supabase_cli`.

Four things only it can tell: that `supabase db push` installs the schema beside an application's
own tables and finds nothing to do the next time, what plpgsql_check finds in the functions (`db
lint`), what Supabase's advisors say, and that after `tallystick uninstall` it installs all anew.
It needs npm, Debian's Postgres 15 and its plpgsql_check, hence no part of the tests.
"""

import json
import os
import shutil
import subprocess
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import psycopg

from tallystick import migrations, removal
from tallystick.local import Engine, LocalServer, LocalServerError, find_engine
from tests.support import packages
from tests.support.servers import Database, Server, throwaway_folder

TREE = Path(__file__).parents[2]
CACHE = TREE / ".cache"
CLI_VERSION = "3.1.0"
MAJOR = 15
CHECKER = f"postgresql-{MAJOR}-plpgsql-check"
APPLICATION = Path(__file__).with_name("application.sql")
# Every index is unused in a database that nobody has queried yet.
EXPECTED_ADVICE = {"unused_index"}


class CheckFailedError(Exception):
    """The migrations are not right, or something the check needs is missing."""


def main() -> int:
    """Run every check; return the exit status."""
    failures: list[Exception] = []
    try:
        program = install_cli()
        with linted_server() as server, server.clone("postgres") as database:
            database.run_file(APPLICATION)
            before = everything(database)
            check_push(program, database)
            for check in (check_lint, check_advisors):
                try:
                    check(program, database)
                except CheckFailedError as failure:
                    failures.append(failure)
            check_removal(program, database, before)
    except (CheckFailedError, LocalServerError) as failure:
        failures.append(failure)
    for failure in failures:
        print(f"supabase: {failure}", file=sys.stderr)  # noqa: T201
    return 1 if failures else 0


def install_cli() -> Path:
    """Install the CLI with npm into the tree's cache, once; return the program."""
    folder = CACHE / f"supabase-{CLI_VERSION}"
    program = folder / "node_modules" / ".bin" / "supabase"
    if not program.exists():
        command = ["npm", "install", "--no-save", "--ignore-scripts", "--no-audit", "--no-fund"]
        command += ["--cache", str(CACHE / "npm"), "--prefix", str(folder)]
        run([*command, f"supabase@{CLI_VERSION}"], "apt-get install npm, or Node's own installer")
    return program


@contextmanager
def linted_server() -> Iterator[Server]:
    """Lend a Postgres 15 with plpgsql_check in it, removed afterwards."""
    with throwaway_folder() as folder:
        engine = engine_with_checker(folder / "engine")
        local = LocalServer(folder / "state", engine=engine, durable=False)
        try:
            local.start()
            admin_url = local.url(user="supabase_admin")
            with psycopg.connect(admin_url) as connection:
                connection.execute("create extension plpgsql_check schema extensions")
            yield Server(local.url(), admin_url, "postgres")
        finally:
            local.stop()


def engine_with_checker(folder: Path) -> Engine:
    """Copy Debian's Postgres and unpack its plpgsql_check over the copy; nothing is installed.

    The programs find their libraries and extensions relative to themselves.
    """
    installed = find_engine(MAJOR).bin.parent
    for part in (installed, Path(f"/usr/share/postgresql/{MAJOR}")):
        shutil.copytree(part, folder / part.relative_to("/"))
    if not packages.unpack(CHECKER, CACHE / "plpgsql-check", folder):
        raise CheckFailedError(f"Debian's package {CHECKER} cannot be downloaded with apt-get")
    folder.chmod(0o755)
    return Engine(MAJOR, folder / installed.relative_to("/") / "bin")


def check_push(program: Path, database: Database) -> None:
    """Install with `db push`, then see that both tools agree that everything is applied."""
    supabase(program, database, "db", "push", "--yes")
    if left := migrations.pending(database.url()):
        raise CheckFailedError(f"db push did not apply {left}")
    with database.connect() as connection:
        kept = connection.execute("select count(*) from public.accounts").fetchone()
    if kept != (1,):
        raise CheckFailedError("db push lost a row of the application's own table")
    if "up to date" not in supabase(program, database, "db", "push", "--yes"):
        raise CheckFailedError("db push had something to do a second time")
    report(f"db push applied {len(migrations.available())} migrations beside an application")


def check_lint(program: Path, database: Database) -> None:
    """Fail on anything plpgsql_check has to say about a function."""
    supabase(program, database, "db", "lint", "--level", "warning", "--fail-on", "warning")
    report("db lint found nothing")


def check_advisors(program: Path, database: Database) -> None:
    """Fail on any advice but the expected."""
    arguments = ("db", "advisors", "--type", "all", "--level", "info", "--output-format", "json")
    advice: dict[str, Any] = json.loads(supabase(program, database, *arguments))
    found = [(item["name"], item["detail"]) for item in advice["results"]]
    if not found:
        # The application's fresh indexes are unused, so silence means that nothing was looked at.
        raise CheckFailedError("db advisors looked at nothing")
    unexpected = [f"{name}: {detail}" for name, detail in found if name not in EXPECTED_ADVICE]
    if unexpected:
        raise CheckFailedError("db advisors found\n" + "\n".join(unexpected))
    report(f"db advisors found nothing but {', '.join(sorted(EXPECTED_ADVICE))}")


def check_removal(program: Path, database: Database, before: str) -> None:
    """Take it out again, see that nothing is left, and push it once more."""
    removal.uninstall(database.url())
    if everything(database) != before:
        raise CheckFailedError("uninstall left something behind")
    supabase(program, database, "db", "push", "--yes")
    if left := migrations.pending(database.url()):
        raise CheckFailedError(f"after uninstall db push did not apply {left}")
    report("uninstall left nothing behind, and db push installed it again")


def everything(database: Database) -> str:
    """Return schema, rows and roles of the application's database."""
    with database.connect() as connection:
        roles = connection.execute("select rolname::text from pg_roles order by 1").fetchall()
    return f"{database.dump()}{database.rows()}{roles}"


def supabase(program: Path, database: Database, *arguments: str) -> str:
    """Run the CLI against a database and return what it prints; its telemetry is off."""
    home = CACHE / "supabase-home"
    home.mkdir(parents=True, exist_ok=True)
    remote = f"--remote={database.url()}?sslmode=disable"
    command = [str(program), *arguments, remote, "--workdir", str(TREE), "--agent", "no"]
    environment = {"HOME": str(home), "DO_NOT_TRACK": "1", "SUPABASE_TELEMETRY_DISABLED": "1"}
    return run(command, "npm, see above", environment=environment)


def run(
    command: list[str],
    remedy: str,
    cwd: Path = TREE,
    environment: dict[str, str] | None = None,
) -> str:
    """Run a program and return its output; a missing or failing one fails the check."""
    try:
        done = subprocess.run(
            command,
            cwd=cwd,
            env={**os.environ, **(environment or {})},
            capture_output=True,
            text=True,
            check=False,
            stdin=subprocess.DEVNULL,
        )
    except FileNotFoundError as error:
        raise CheckFailedError(f"{command[0]} is needed and missing: {remedy}") from error
    if done.returncode != 0:
        shown = " ".join([Path(command[0]).name, *command[1:3]])
        raise CheckFailedError(f"{shown} failed:\n{done.stdout}{done.stderr}")
    return done.stdout


def report(line: str) -> None:
    """Print one result."""
    print(f"supabase: {line}")  # noqa: T201


if __name__ == "__main__":
    sys.exit(main())
