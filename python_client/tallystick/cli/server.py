"""The commands about databases: up, down, status, migrate and uninstall."""

from pathlib import Path
from typing import Annotated, Final

import psycopg
import typer

from tallystick import migrations, removal
from tallystick.cli.program import program
from tallystick.local import DEFAULT_MAJOR, LocalServer
from tallystick.local.http_stack import DatabaseUrls, HttpStack, exposed_by

_PROJECT: Final = Path("supabase")  # of the folder where the command is run


def up(
    major: Annotated[
        int | None,
        typer.Option(help=f"Version of a new server: 16 or 18. [default: {DEFAULT_MAJOR}]"),
    ] = None,
    http: Annotated[
        bool,
        typer.Option(
            "--http",
            help="Also start users, data API and edge functions, as Supabase has them. "
            "Again, it starts them anew, with what has changed.",
        ),
    ] = False,
    functions: Annotated[
        Path | None,
        typer.Option(
            help="Folder of the edge functions; supabase/functions, where there is one.",
            exists=True,
            file_okay=False,
        ),
    ] = None,
) -> None:
    """Start the local Postgres and bring its schema up to date.

    Its data stay in the state folder (TALLYSTICK_STATE), also across reboots.
    """
    server = LocalServer(major=major)
    server.start()
    _report_applied(migrations.apply(server.url()))
    if http:
        _start_http(server, functions)
    typer.echo(f"Postgres {server.major} is running: {server.url()}")
    _report_http(server)


def _start_http(server: LocalServer, functions: Path | None) -> None:
    default = _PROJECT / "functions"
    database = DatabaseUrls(
        api=server.url(user="authenticator"),
        auth=server.url(user="supabase_auth_admin"),
        catalog=server.url(),
    )
    HttpStack(
        server.state,
        database,
        functions=functions or (default if default.is_dir() else None),
        exposed=exposed_by(_PROJECT / "config.toml"),
    ).start()


def _report_http(server: LocalServer) -> None:
    stack = HttpStack(server.state)
    if stack.is_running:
        typer.echo(f"API: {stack.url}")
        typer.echo(f"Publishable key: {stack.publishable_key}")
        typer.echo(f"Secret key: {stack.secret_key}")
    if stack.lost:
        typer.echo(
            f"Of the HTTP side these run no more: {', '.join(stack.lost)}. "
            f"Start it anew with: {program()} up --http"
        )


def down() -> None:
    """Stop the local Postgres, and what is served over HTTP; its data stay."""
    server = LocalServer()
    was_running = server.is_running
    try:
        was_running |= HttpStack(server.state).stop()
    finally:
        server.stop()
    typer.echo("Stopped." if was_running else "Nothing was running.")


def status() -> None:
    """Show where the local Postgres is, and its API; exit code 1 when it does not run."""
    server = LocalServer()
    typer.echo(f"State folder: {server.state}")
    if not server.is_running:
        _report_http(server)
        typer.echo(f"Postgres is not running. Start it with: {program()} up")
        raise typer.Exit(1)
    waiting = migrations.pending(server.url())
    typer.echo(f"Postgres {server.major} is running: {server.url()}")
    typer.echo(f"Log: {server.log_file}")
    _report_http(server)
    typer.echo(f"Migrations to apply: {', '.join(waiting)}" if waiting else "Schema is up to date.")


def migrate(
    database_url: Annotated[
        str,
        typer.Option(envvar="DATABASE_URL", help="The database, as its owner.", show_default=False),
    ],
    bootstrap: Annotated[
        bool,
        typer.Option(
            "--bootstrap",
            help="First create the roles and the schema auth that Supabase would provide. "
            "For plain Postgres, RDS and the like; not for Supabase.",
        ),
    ] = False,
) -> None:
    """Install Tallystick's schema into a database of yours, or bring it up to date.

    Each migration is a transaction of its own; what is already applied is left alone.
    """
    if bootstrap:
        migrations.bootstrap(database_url)
    else:
        _require_supabase_roles(database_url)
    _report_applied(migrations.apply(database_url, warn=_warn))


def uninstall(
    database_url: Annotated[
        str,
        typer.Option(envvar="DATABASE_URL", help="The database, as its owner.", show_default=False),
    ],
    yes: Annotated[bool, typer.Option("--yes", help="Do not ask.")] = False,
) -> None:
    """Remove Tallystick from a database of yours, all ledgers included, and nothing else.

    Refused while something of yours depends on it or is in one of its schemas. What --bootstrap
    made stays, and so does a role that another database of the server needs.
    """
    found = removal.uninstall(database_url, keep=True)
    if found.is_empty:
        typer.echo("Nothing of Tallystick is there.")
        return
    _report_removal(found)
    if not yes:
        typer.confirm("Remove all of this, and every row in it?", abort=True)
    removal.uninstall(database_url)
    typer.echo("Removed.")
    for role in found.kept_roles:
        typer.echo(f"Role {role} stays: another database of this server needs it.")


def _report_removal(found: removal.Removal) -> None:
    for kind, names in (
        ("Schemas", found.schemas),
        ("In other schemas", found.objects),
        ("Jobs", found.jobs),
        ("Roles", found.roles),
        ("Migrations", found.migrations),
    ):
        if names:
            typer.echo(f"{kind}: {', '.join(names)}")


def _report_applied(names: list[str]) -> None:
    for name in names:
        typer.echo(f"Applied {name}")
    if not names:
        typer.echo("Schema is up to date.")


def _warn(text: str) -> None:
    typer.echo(f"Warning: {text}", err=True)


def _require_supabase_roles(database_url: str) -> None:
    with psycopg.connect(database_url) as connection:
        found = connection.execute("select to_regprocedure('auth.uid()') is not null").fetchone()
    if found != (True,):
        typer.echo(
            "This database has no function auth.uid(), which Supabase provides. "
            "On plain Postgres add --bootstrap.",
            err=True,
        )
        raise typer.Exit(1)
