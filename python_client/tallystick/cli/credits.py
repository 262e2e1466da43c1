"""The commands `tallystick credits ...`: what was paid, or given, in advance."""

from datetime import datetime
from enum import StrEnum
from typing import Annotated

import typer

from tallystick.cli.amounts import dollars, dollars_or_none
from tallystick.cli.console import show
from tallystick.cli.credit_source import read_credits, read_movements
from tallystick.cli.credit_table import history, listing
from tallystick.cli.movement_table import reason as reason_of
from tallystick.cli.report.spend import snapshot
from tallystick.cli.target import (
    DatabaseUrl,
    OrganizationName,
    chosen_organization,
    connected,
)
from tallystick.cli.times import utc
from tallystick.client import Client
from tallystick.figures import usd
from tallystick.models import CreditMovement
from tallystick.organizations import Payer


class Kind(StrEnum):
    """What credits that are given away are, as `billing.credit_grants` names it."""

    promo = "promo"
    trial = "trial"


Amount = Annotated[str, typer.Argument(metavar="USD", help="US dollars.", show_default=False)]
Key = Annotated[
    str,
    typer.Option(
        "--key",
        help="Names it, such as a payment's number: said again, it is not booked again.",
        show_default=False,
    ),
]
Expiry = Annotated[
    datetime | None,
    typer.Option("--expires", help="Until when, in UTC; else for ever.", show_default=False),
]
By = Annotated[
    str | None,
    typer.Option("--by", help="Who causes it; it is kept with the movement.", show_default=False),
]

credits_ = typer.Typer(
    name="credits", help="Show and book what is paid in advance.", no_args_is_help=True
)


@credits_.command("show")
def show_credits(
    everything: Annotated[
        bool, typer.Option("--all", help="Also grants that are used up.")
    ] = False,
    organization: OrganizationName = None,
    database_url: DatabaseUrl = None,
) -> None:
    """Show the credits of an organization, and the grants they come from."""
    with connected(database_url) as connection:
        payer = chosen_organization(connection, organization)
        with snapshot(connection):
            found = read_credits(connection, payer.id)
    show(listing(payer, found, everything=everything))


@credits_.command("history")
def show_history(
    limit: Annotated[int, typer.Option(min=1, help="At most so many.")] = 50,
    organization: OrganizationName = None,
    database_url: DatabaseUrl = None,
) -> None:
    """Show what moved, the newest first."""
    with connected(database_url) as connection:
        payer = chosen_organization(connection, organization)
        found = read_movements(connection, payer.id, limit)
    show(history(payer, found, limit=limit))


@credits_.command("buy")
def buy(
    amount: Amount,
    key: Key,
    expires: Expiry = None,
    by: By = None,
    organization: OrganizationName = None,
    database_url: DatabaseUrl = None,
) -> None:
    """Book credits that were paid. The first ones make the organization pay in advance.

    What it owes is collected from them, oldest first.
    """
    paid = dollars(amount)
    with connected(database_url) as connection:
        payer = chosen_organization(connection, organization)
        client = Client(connection)
        moved = client.purchase_credits(payer.id, paid, key, expires_at=utc(expires), created_by=by)
        show(_booked(client, payer, moved))


@credits_.command("grant")
def grant(
    amount: Amount,
    kind: Annotated[Kind, typer.Option(help="What they are.", show_default=False)],
    key: Key,
    expires: Expiry = None,
    priority: Annotated[
        int | None,
        typer.Option(
            help="Lower is used up first, 0 to 1000; else 10 for a trial and 20 for a promo. "
            "Purchases have 30.",
            show_default=False,
        ),
    ] = None,
    model: Annotated[
        str | None,
        typer.Option(help="They pay for runs of this model alone.", show_default=False),
    ] = None,
    by: By = None,
    organization: OrganizationName = None,
    database_url: DatabaseUrl = None,
) -> None:
    """Give credits away."""
    given = dollars(amount)
    with connected(database_url) as connection:
        payer = chosen_organization(connection, organization)
        client = Client(connection)
        moved = client.grant_credits(
            payer.id,
            kind,
            given,
            key,
            expires_at=utc(expires),
            priority=priority,
            model=model,
            created_by=by,
        )
        show(_booked(client, payer, moved))


@credits_.command("adjust")
def adjust(
    amount: Annotated[
        str,
        typer.Argument(
            metavar="USD",
            help='US dollars to add; below 0 (after "--") to take away.',
            show_default=False,
        ),
    ],
    reason: Annotated[str, typer.Option(help="Why; it is kept.", show_default=False)],
    key: Key,
    by: By = None,
    organization: OrganizationName = None,
    database_url: DatabaseUrl = None,
) -> None:
    """Correct credits by hand, in either direction."""
    change = dollars(amount)
    with connected(database_url) as connection:
        payer = chosen_organization(connection, organization)
        client = Client(connection)
        moved = client.adjust_credits(payer.id, change, reason, key, created_by=by)
        show(_booked(client, payer, moved))


@credits_.command("low-balance")
def set_low_balance(
    amount: Annotated[
        str,
        typer.Argument(metavar="USD", help='US dollars, or "none".', show_default=False),
    ],
    organization: OrganizationName = None,
    database_url: DatabaseUrl = None,
) -> None:
    """Say below which available amount an event billing.low_balance is sent."""
    threshold = dollars_or_none(amount)
    with connected(database_url) as connection:
        payer = chosen_organization(connection, organization)
        balance = Client(connection).set_low_balance(payer.id, threshold)
    if balance.low_balance_usd is None:
        show(f"{payer.name}: no warning.")
    else:
        below = f"a warning below {usd(balance.low_balance_usd)} available"
        show(f"{payer.name}: {below}, it has {usd(balance.available_usd)}.")


def _booked(client: Client, payer: Payer, moved: CreditMovement) -> str:
    """Say what was booked, and what there is now."""
    sign = "" if moved.direction == "credit" else "-"
    (balance,) = client.credit_balances(payer.id)
    return (
        f"{payer.name}: {reason_of(moved)}, {sign}{usd(moved.amount_usd)}. "
        f"Balance {usd(balance.balance_usd)}, available {usd(balance.available_usd)}."
    )
