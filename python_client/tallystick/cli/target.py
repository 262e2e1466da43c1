"""Which database a command works on, and how the console reports what stands in the way."""

from __future__ import annotations

from contextlib import contextmanager
from dataclasses import dataclass
from typing import TYPE_CHECKING, Annotated

import psycopg
import typer
from psycopg.rows import class_row

from tallystick.cli.program import program
from tallystick.cli.statement.sums import DoesNotAddUp
from tallystick.errors import TallystickError
from tallystick.local import LocalServer, LocalServerError
from tallystick.organizations import (
    OrganizationNotFound,
    Payer,
    find_organization,
    only_organization,
)
from tallystick.replay.rows import UsageFileError
from tallystick.replay.session import OrganizationFrozen

if TYPE_CHECKING:
    from collections.abc import Iterator
    from uuid import UUID

    from tallystick.organizations import AnyConnection

DatabaseUrl = Annotated[
    str | None,
    typer.Option(
        envvar="DATABASE_URL",
        help="The database; without it, the local server of `tallystick up`.",
        show_default=False,
    ),
]

# For commands that look at all organizations where none is named.
AnyOrganization = Annotated[
    str | None,
    typer.Option(
        "--organization", "--org", help="Name or id; all when omitted.", show_default=False
    ),
]
OrganizationName = Annotated[
    str | None,
    typer.Option(
        "--organization",
        "--org",
        help="Name or id; may be left out where there is only one.",
        show_default=False,
    ),
]


@dataclass(frozen=True, slots=True)
class BudgetKey:
    """By what the client knows a budget."""

    organization_id: UUID
    id: UUID
    scope: str
    scope_id: str
    time_window: str


class NotFound(Exception):  # noqa: N818 - named after what happened
    """What a command is to work on is not there; the message says why."""


_EXPECTED = (
    UsageFileError,
    OrganizationNotFound,
    OrganizationFrozen,
    NotFound,
    DoesNotAddUp,
    TallystickError,
)


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
def connected(url: str | None) -> Iterator[AnyConnection]:
    """Lend a connection to `database(url)`, each statement of it its own transaction.

    What a user can act on becomes one line, as by `clear_errors`.
    """
    with (
        clear_errors(),
        psycopg.connect(database(url), autocommit=True, prepare_threshold=None) as connection,
    ):
        yield connection


def chosen_organization(connection: AnyConnection, name_or_id: str | None) -> Payer:
    """Return the organization that is named, else the only one there is.

    Raises:
        OrganizationNotFound: which one is meant cannot be told.
    """
    if name_or_id is None:
        return only_organization(connection)
    return find_organization(connection, name_or_id)


def chosen_budget(
    connection: AnyConnection, budget_id: UUID, organization: str | None
) -> BudgetKey:
    """Return the budget of that id; an organization is only needed where several have it.

    Raises:
        OrganizationNotFound: the organization that is named cannot be told.
        NotFound: there is no such budget, or more than one.
    """
    payer_id = find_organization(connection, organization).id if organization else None
    with connection.cursor(row_factory=class_row(BudgetKey)) as cursor:
        found = cursor.execute(
            "select organization_id, id, scope, scope_id, time_window from metering.budgets"
            " where id = %s and (%s::uuid is null or organization_id = %s)",
            [budget_id, payer_id, payer_id],
        ).fetchall()
    if not found:
        raise NotFound(f"no budget has the id {budget_id}")
    if len(found) > 1:
        raise NotFound(f"{len(found)} organizations have a budget {budget_id}: add --organization")
    return found[0]


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
    except psycopg.errors.UndefinedFunction:
        _fail(f"this database has an older Tallystick: run `{program()} migrate`.")


def _fail(message: str) -> None:
    typer.echo(f"Error: {message}", err=True)
    raise typer.Exit(1)
