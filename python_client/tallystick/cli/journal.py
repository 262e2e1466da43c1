"""The commands `tallystick journal ...`: receipts of what happened, and how they were revised."""

from typing import Annotated
from uuid import UUID

import typer

from tallystick.cli.console import show
from tallystick.cli.journal_table import history, listing
from tallystick.cli.target import DatabaseUrl, NotFound, connected
from tallystick.client import Client

journal = typer.Typer(
    name="journal", help="Show receipts, and how they were revised.", no_args_is_help=True
)


@journal.command("list")
def list_events(
    owner: Annotated[
        UUID | None, typer.Option(help="Whose receipts: a user's id.", show_default=False)
    ] = None,
    tenant: Annotated[
        UUID | None,
        typer.Option(help="In which tenant: an organization's or a user's id.", show_default=False),
    ] = None,
    domain: Annotated[
        str | None, typer.Option(help="Only this ledger, such as payments.", show_default=False)
    ] = None,
    limit: Annotated[int, typer.Option(min=1, help="At most so many.")] = 50,
    database_url: DatabaseUrl = None,
) -> None:
    """Show the events of an owner or a tenant as they stand, the last that happened first."""
    if owner is None and tenant is None:
        raise typer.BadParameter("either --owner or --tenant is needed")
    with connected(database_url) as connection:
        found = Client(connection).current_events(
            owner_user_id=owner, organization_id=tenant, domain=domain, limit=limit
        )
    show(listing(found, owner_id=owner, tenant_id=tenant, limit=limit))


@journal.command("show")
def show_event(
    event: Annotated[
        UUID,
        typer.Argument(
            metavar="LOGICAL_ID", help="Its id, as the list shows it.", show_default=False
        ),
    ],
    tenant: Annotated[
        UUID, typer.Option(help="Its tenant, as the list shows it.", show_default=False)
    ],
    database_url: DatabaseUrl = None,
) -> None:
    """Show all revisions of an event, and what each of them changed."""
    with connected(database_url) as connection:
        revisions = Client(connection).event_revisions(tenant, event)
        if not revisions:
            raise NotFound(f"the tenant {tenant} has no event {event}")
    show(history(revisions))
