"""Entry point of the command line tool."""

import sys
from typing import NoReturn

import psycopg
import typer

from tallystick.cli.approvals import approvals
from tallystick.cli.audit import audit
from tallystick.cli.books import books
from tallystick.cli.budgets import budgets
from tallystick.cli.credits import credits_
from tallystick.cli.demo import demo
from tallystick.cli.doctor.command import doctor
from tallystick.cli.holds import holds
from tallystick.cli.journal import journal
from tallystick.cli.prices import prices
from tallystick.cli.replay import replay
from tallystick.cli.report.command import report
from tallystick.cli.runs import reconcile, runs
from tallystick.cli.server import down, migrate, status, uninstall, up
from tallystick.cli.statement.command import statement
from tallystick.cli.top.command import top
from tallystick.cli.ventures import ventures
from tallystick.cli.verify import verify
from tallystick.local import LocalServerError
from tallystick.migrations import MigrationMismatch
from tallystick.removal import StillNeeded

app = typer.Typer(
    name="tallystick",
    help="The spend ledger for AI products on Postgres or Supabase.",
    no_args_is_help=True,
    add_completion=False,
    pretty_exceptions_show_locals=False,  # locals may hold a database password
)
for command in (
    up,
    down,
    status,
    migrate,
    uninstall,
    replay,
    demo,
    report,
    statement,
    reconcile,
    top,
    verify,
    doctor,
):
    app.command()(command)
for group in (budgets, holds, prices, credits_, runs, journal, ventures, approvals, books, audit):
    app.add_typer(group)


def main() -> None:
    """Run the tool; a server or database that cannot be used is a message, not a traceback."""
    try:
        app(prog_name="tallystick")
    except (LocalServerError, MigrationMismatch, StillNeeded) as error:
        _fail(str(error))
    except psycopg.Error as error:
        _fail(_one_line(error))


def _fail(message: str) -> NoReturn:
    typer.echo(f"Error: {message}", err=True)
    sys.exit(1)


def _one_line(error: psycopg.Error) -> str:
    """Return what the server says first, without the statement it says it about."""
    told = [error.diag.message_primary or str(error), error.diag.message_hint]
    text = " ".join(" ".join(part.split()) for part in told if part)
    return f"[{error.sqlstate}] {text}" if error.sqlstate else text


if __name__ == "__main__":
    main()
