"""The commands `tallystick audit ...`: seal the ledgers, and prove that nothing was altered."""

from typing import Annotated, Any

import typer
from psycopg import Connection
from rich.console import Console, RenderableType
from rich.table import Table

from tallystick.cli.target import AnyOrganization, DatabaseUrl, NotFound, connected
from tallystick.client import Client
from tallystick.figures import counted
from tallystick.models import Seal, SealFinding
from tallystick.organizations import find_organization

audit = typer.Typer(
    name="audit",
    help="Seal the ledgers, and prove that nothing was altered.",
    no_args_is_help=True,
)


@audit.command()
def seal(database_url: DatabaseUrl = None) -> None:
    """Seal everything that was committed since the last seal."""
    rows, newest = 0, None
    with connected(database_url) as connection:
        client = Client(connection)
        while made := client.seal_ledgers():
            rows, newest = rows + made.leaf_count, made
        under_way = transactions_under_way(connection)
    console = Console()
    if newest is None and under_way:
        console.print(
            "Nothing to seal yet: what was committed since waits for "
            f"{counted(under_way, 'transaction')} under way."
        )
    elif newest is None:
        console.print("Nothing to seal: everything committed is sealed.")
    else:
        console.print(f"[green]Sealed[/] {counted(rows, 'row')}. Seal {newest.seal}: {newest.hash}")


@audit.command()
def root(database_url: DatabaseUrl = None) -> None:
    """Print the hash of the newest seal, to be kept where nobody here can change it."""
    with connected(database_url) as connection:
        newest = newest_seal(Client(connection))
        servers = servers_that_sealed(connection)
    console = Console()
    console.print(newest.hash, soft_wrap=True)
    console.print(f"[dim]seal {newest.seal} of {newest.sealed_at:%Y-%m-%d %H:%M:%S %Z}[/]")
    console.print(f"[dim]{servers}[/]")


@audit.command()
def verify(
    organization: AnyOrganization = None,
    published: Annotated[
        str | None,
        typer.Option("--hash", help="Hash of a seal that was kept elsewhere.", show_default=False),
    ] = None,
    database_url: DatabaseUrl = None,
) -> None:
    """Prove that nothing sealed was altered; exit code 1 when something was."""
    console = Console()
    with connected(database_url) as connection:
        payer = None if organization is None else find_organization(connection, organization)
        client = Client(connection)
        newest = newest_seal(client)
        findings = client.verify_seals(
            organization_id=payer.id if payer else None, published_hash=published
        )
        servers = servers_that_sealed(connection, since=published)
    if findings:
        console.print(altered(findings))
        raise typer.Exit(1)
    console.print(
        f"[green]Nothing was altered:[/] every row fits its seal, and {newest.seal:,} "
        f"{'seal is' if newest.seal == 1 else 'seals are'} a chain."
    )
    console.print(f"[dim]{servers}[/]")
    if published is None:
        console.print(
            "[dim]Whoever may rewrite the seals too is exposed only by a hash kept elsewhere: "
            "--hash.[/]"
        )


def transactions_under_way(connection: Connection[Any]) -> int:
    """Return how many transactions write meanwhile: what came after them is not sealed yet."""
    ((number,),) = connection.execute(
        "select count(*) from pg_snapshot_xip(pg_current_snapshot())"
    ).fetchall()
    return int(number)


def servers_that_sealed(connection: Connection[Any], since: str | None = None) -> str:
    """Say how many servers sealed, since when, and how many of them since a published hash.

    The first seals of a server take in whatever they find, so one that nobody knows of may have
    been made up.
    """
    epochs = connection.execute(
        "select s.epoch, min(s.sealed_at),"
        " s.epoch > (select p.epoch from audit.seals as p where p.hash = %s)"
        " from audit.seals as s group by s.epoch order by s.epoch",
        (since,),
    ).fetchall()
    text = "Servers that sealed: " + "; ".join(
        f"{epoch} since {began:%Y-%m-%d %H:%M:%S %Z}{' - after that hash' if is_new else ''}"
        for epoch, began, is_new in epochs
    )
    if any(is_new for *_, is_new in epochs):
        text += ". Another server vouches for what it found: was the database restored then?"
    return text


def newest_seal(client: Client) -> Seal:
    """Return the newest seal.

    Raises:
        NotFound: nothing is sealed yet.
    """
    seals = client.seals()
    if not seals:
        raise NotFound("nothing is sealed yet: tallystick audit seal")
    return seals[0]


def altered(findings: list[SealFinding]) -> RenderableType:
    """Return the findings as a table."""
    table = Table(title=counted(len(findings), "finding"), title_style="bold red")
    for column in ("check", "ledger", "organization", "row", "seal", "sealed", "found"):
        table.add_column(column, overflow="fold")
    for finding in findings:
        table.add_row(
            finding.check_name,
            finding.ledger or "",
            str(finding.organization_id or ""),
            finding.row_id or "",
            "" if finding.seal is None else str(finding.seal),
            finding.expected or "",
            finding.actual or "",
        )
    return table
