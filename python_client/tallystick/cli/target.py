"""Which database a command works on, and how the console reports what stands in the way."""

from __future__ import annotations

from contextlib import contextmanager
from typing import TYPE_CHECKING, Annotated

import psycopg
import typer

from tallystick.cli.program import program
from tallystick.errors import TallystickError
from tallystick.local import LocalServer, LocalServerError
from tallystick.replay.books import OrganizationNotFound
from tallystick.replay.rows import UsageFileError
from tallystick.replay.session import OrganizationFrozen

if TYPE_CHECKING:
    from collections.abc import Iterator

DatabaseUrl = Annotated[
    str | None,
    typer.Option(
        envvar="DATABASE_URL",
        help="The database; without it, the local server of `tallystick up`.",
        show_default=False,
    ),
]

_EXPECTED = (UsageFileError, OrganizationNotFound, OrganizationFrozen, TallystickError)


def database(url: str | None) -> str:
    """Return the URL given, else that of the running local server.

    Raises:
        LocalServerError: none was given and the local server does not run.
    """
    if url is not None:
        return url
    server = LocalServer()
    if not server.is_running:
        raise LocalServerError(
            f"no database: start the local one with `{program()} up`, or name one with "
            "--database-url."
        )
    return server.url()


@contextmanager
def clear_errors() -> Iterator[None]:
    """Turn what a user can act on into one line on stderr and exit code 1."""
    try:
        yield
    except _EXPECTED as error:
        _fail(str(error))
    except KeyboardInterrupt:
        _fail("stopped. What was recorded stays; running it again goes on from there.")
    except (psycopg.errors.UndefinedTable, psycopg.errors.InvalidSchemaName):
        _fail(f"Tallystick is not installed in this database: run `{program()} migrate`.")


def _fail(message: str) -> None:
    typer.echo(f"Error: {message}", err=True)
    raise typer.Exit(1)
