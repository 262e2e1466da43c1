"""The commands `tallystick runs ...` and `tallystick reconcile`: work that credits pay."""

from enum import StrEnum
from typing import Annotated
from uuid import UUID

import typer

from tallystick.cli.console import show
from tallystick.cli.report.spend import snapshot
from tallystick.cli.run_source import (
    read_calls,
    read_reconciliations,
    read_run,
    read_settlement,
)
from tallystick.cli.run_table import details, listing, settlement
from tallystick.cli.target import (
    DatabaseUrl,
    OrganizationName,
    chosen_organization,
    connected,
)
from tallystick.client import Client


class Status(StrEnum):
    """How a run stands, as `billing.runs` names it."""

    running = "running"
    completed = "completed"
    cancelled = "cancelled"
    failed = "failed"


RunId = Annotated[
    UUID, typer.Argument(metavar="RUN", help="Its id, as the list shows it.", show_default=False)
]

runs = typer.Typer(name="runs", help="Show runs, which credits pay.", no_args_is_help=True)


@runs.command("list")
def list_runs(
    status: Annotated[
        Status | None, typer.Option(help="Only runs that stand so.", show_default=False)
    ] = None,
    limit: Annotated[int, typer.Option(min=1, help="At most so many.")] = 20,
    organization: OrganizationName = None,
    database_url: DatabaseUrl = None,
) -> None:
    """Show the runs of an organization, the newest first."""
    with connected(database_url) as connection:
        payer = chosen_organization(connection, organization)
        with snapshot(connection):
            found = Client(connection).runs(payer.id, status=status, limit=limit)
            reconciled = read_reconciliations(connection, payer.id, found)
    show(listing(payer, found, reconciled, limit=limit))


@runs.command("show")
def show_run(run: RunId, database_url: DatabaseUrl = None) -> None:
    """Show one run: its calls by step and model, and how it was reconciled."""
    with connected(database_url) as connection, snapshot(connection):
        found = read_run(connection, run)
        calls = read_calls(connection, found)
        reconciled = read_reconciliations(connection, found.org_id, [found]).get(found.id)
        settled = read_settlement(connection, reconciled) if reconciled else None
    show(details(found, calls, settled))


def reconcile(run: RunId, database_url: DatabaseUrl = None) -> None:
    """End a run: charge what it used, refund the rest of its estimate, and show that.

    Refused while a call of it is under way. What was reconciled before is shown again.
    """
    with connected(database_url) as connection:
        found = read_run(connection, run)
        reconciled = Client(connection).complete_run(found.id, org_id=found.org_id)
        show(settlement(read_settlement(connection, reconciled)))
