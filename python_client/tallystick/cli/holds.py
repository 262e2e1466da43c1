"""The commands `tallystick holds ...`: money that is set aside for calls under way."""

from enum import StrEnum
from typing import Annotated
from uuid import UUID

import typer

from tallystick.cli.console import show
from tallystick.cli.hold_table import listing
from tallystick.cli.target import (
    AnyOrganization,
    DatabaseUrl,
    OrganizationName,
    chosen_organization,
    connected,
)
from tallystick.cli.times import present_time
from tallystick.client import Client
from tallystick.figures import counted, usd
from tallystick.organizations import find_organization

_ROUND = 1000  # holds closed in one transaction


class State(StrEnum):
    """The states of a hold, as `metering.holds` names them, and all of them."""

    open = "open"
    released = "released"
    expired = "expired"
    all = "all"


holds = typer.Typer(
    name="holds", help="Show and free money that is held for calls.", no_args_is_help=True
)


@holds.command("list")
def list_holds(
    state: Annotated[State, typer.Option(help="Only holds in this state.")] = State.open,
    limit: Annotated[int, typer.Option(min=1, help="At most so many.")] = 50,
    organization: OrganizationName = None,
    database_url: DatabaseUrl = None,
) -> None:
    """Show the holds of an organization; those that expire first come first."""
    with connected(database_url) as connection:
        payer = chosen_organization(connection, organization)
        found = Client(connection).holds(
            payer.id, state=None if state == State.all else state, limit=limit
        )
        now = present_time(connection)
    show(listing(payer, found, now=now, limit=limit))


@holds.command("release")
def release(
    hold: Annotated[UUID, typer.Argument(help="Its id, as the list shows it.", show_default=False)],
    reason: Annotated[
        str | None, typer.Option(help="Why; it is kept with the hold.", show_default=False)
    ] = None,
    database_url: DatabaseUrl = None,
) -> None:
    """Give the money of a hold back, because its call is not made."""
    with connected(database_url) as connection:
        closed = Client(connection).release_spend(hold, reason=reason)
    show(f"{closed.state.capitalize()}: {usd(closed.held_usd)} of hold {closed.id}.")


@holds.command("expire")
def expire(
    organization: AnyOrganization = None,
    database_url: DatabaseUrl = None,
) -> None:
    """Close all overdue holds. Housekeeping: a call that needs their money takes it anyway."""
    with connected(database_url) as connection:
        payer_id = find_organization(connection, organization).id if organization else None
        client = Client(connection)
        expired = 0
        while closed := client.expire_holds(organization_id=payer_id, limit=_ROUND):
            expired += closed
    show(f"{counted(expired, 'hold')} expired.")
