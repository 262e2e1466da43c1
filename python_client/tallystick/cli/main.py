"""Entry point of the command line tool."""

import sys

import psycopg
import typer

from tallystick.cli.demo import demo
from tallystick.cli.replay import replay
from tallystick.cli.server import down, migrate, status, up
from tallystick.cli.verify import verify
from tallystick.local import LocalServerError

app = typer.Typer(
    name="tallystick",
    help="The spend ledger for AI products on Postgres or Supabase.",
    no_args_is_help=True,
    add_completion=False,
    pretty_exceptions_show_locals=False,  # locals may hold a database password
)
for command in (up, down, status, migrate, replay, demo, verify):
    app.command()(command)


def main() -> None:
    """Run the tool; a server or database that cannot be used is a message, not a traceback."""
    try:
        app(prog_name="tallystick")
    except (LocalServerError, psycopg.OperationalError) as error:
        typer.echo(f"Error: {error}", err=True)
        sys.exit(1)


if __name__ == "__main__":
    main()
