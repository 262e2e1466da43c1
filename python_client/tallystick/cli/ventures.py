"""The commands `tallystick ventures ...`: what ventures use, and the shares of their profiles."""

from enum import StrEnum
from typing import Annotated
from uuid import UUID

import typer

from tallystick.cli.amounts import number_or_none
from tallystick.cli.console import show
from tallystick.cli.report.names import read_names
from tallystick.cli.report.spend import snapshot
from tallystick.cli.target import (
    DatabaseUrl,
    OrganizationName,
    chosen_organization,
    connected,
)
from tallystick.cli.venture_table import By, shares, spend
from tallystick.client import Client


class Profile(StrEnum):
    """What a venture may spend under, as `metering.venture_profiles` names it."""

    exploratory = "exploratory"
    standard = "standard"
    deep_due_diligence = "deep_due_diligence"
    custom = "custom"


VentureId = Annotated[
    UUID | None, typer.Option("--venture", help="Only this one: its id.", show_default=False)
]

ventures = typer.Typer(
    name="ventures",
    help="Show what ventures use, and share out what they may.",
    no_args_is_help=True,
)


@ventures.command("spend")
def show_spend(
    by: Annotated[By, typer.Option(help="What to tell it apart by.")] = By.stage,
    venture: VentureId = None,
    organization: OrganizationName = None,
    database_url: DatabaseUrl = None,
) -> None:
    """Show what ventures used, and beside it what was only simulated."""
    with connected(database_url) as connection:
        payer = chosen_organization(connection, organization)
        with snapshot(connection):
            found = Client(connection).venture_spend(payer.id, venture_id=venture)
            names = read_names(
                connection, "venture", payer.id, {str(each.venture_id) for each in found}
            )
    show(spend(payer, found, names, by))


@ventures.command("shares")
def show_shares(
    venture: VentureId = None,
    organization: OrganizationName = None,
    database_url: DatabaseUrl = None,
) -> None:
    """Show the shares of ventures' profiles, and what is left of each now."""
    with connected(database_url) as connection:
        payer = chosen_organization(connection, organization)
        with snapshot(connection):
            found = Client(connection).venture_profiles(payer.id, venture_id=venture)
            names = read_names(
                connection, "venture", payer.id, {str(each.venture_id) for each in found}
            )
    show(shares(payer, found, names))


@ventures.command("allocate")
def allocate(
    venture: Annotated[UUID, typer.Argument(metavar="VENTURE", help="Its id.", show_default=False)],
    profile: Annotated[Profile, typer.Argument(help="Who gets it.", show_default=False)],
    percent: Annotated[
        str,
        typer.Argument(
            metavar="PERCENT",
            help='Of each budget of the venture, or "none": then only the venture caps it.',
            show_default=False,
        ),
    ],
    organization: OrganizationName = None,
    database_url: DatabaseUrl = None,
) -> None:
    """Give a profile its share of a venture's budgets, and show all shares of the venture."""
    part = number_or_none(percent)
    with connected(database_url) as connection:
        payer = chosen_organization(connection, organization)
        client = Client(connection)
        client.allocate_venture_budget(payer.id, venture, profile, part)
        found = client.venture_profiles(payer.id, venture_id=venture)
        names = read_names(connection, "venture", payer.id, {str(venture)})
    show(shares(payer, found, names))
