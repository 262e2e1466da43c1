"""The command `tallystick verify`."""

from typing import Annotated

import typer
from rich.console import Console, RenderableType
from rich.table import Table

from tallystick.cli.target import AnyOrganization, DatabaseUrl, connected
from tallystick.client import Client
from tallystick.figures import counted
from tallystick.models import Finding
from tallystick.organizations import find_organization
from tallystick.replay.books import count_books


def verify(
    organization: AnyOrganization = None,
    full: Annotated[
        bool, typer.Option("--full", help="Look at everything, not only since the last checkpoint.")
    ] = False,
    checkpoint: Annotated[
        bool,
        typer.Option("--checkpoint", help="Where nothing is wrong, let the next one begin here."),
    ] = False,
    database_url: DatabaseUrl = None,
) -> None:
    """Prove that every total equals the ledger; exit code 1 when one does not."""
    if checkpoint and organization is not None:
        raise typer.BadParameter("a checkpoint is of all organizations")
    console = Console()
    with connected(database_url) as connection:
        payer = None if organization is None else find_organization(connection, organization)
        payer_id = payer.id if payer else None
        organizations, rows = count_books(connection, payer_id)
        client = Client(connection)
        findings = (
            client.make_checkpoint(full=full)
            if checkpoint
            else client.verify_integrity(organization_id=payer_id, full=full)
        )
    console.print(verdict(findings, organizations=organizations, rows=rows))
    if findings:
        raise typer.Exit(1)
    if not full:
        console.print("[dim]What an earlier checkpoint covers counts as checked: --full.[/]")


def verdict(findings: list[Finding], *, organizations: int, rows: int) -> RenderableType:
    """Return the findings as a table, or one line that says how much was checked."""
    if not findings:
        return (
            f"[green]Nothing wrong:[/] {counted(rows, 'ledger row')} of "
            f"{counted(organizations, 'organization')} checked against every total."
        )
    table = Table(title=counted(len(findings), "finding"), title_style="bold red")
    for column in ("check", "organization", "subject", "expected", "actual"):
        table.add_column(column, overflow="fold")
    for finding in findings:
        table.add_row(
            finding.check_name,
            str(finding.organization_id or ""),
            finding.subject,
            finding.expected,
            finding.actual,
        )
    return table
