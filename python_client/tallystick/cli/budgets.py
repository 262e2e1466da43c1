"""The commands `tallystick budgets ...`: what may be spent, and what is left of it."""

from enum import StrEnum
from typing import Annotated
from uuid import UUID

import typer

from tallystick.cli.amounts import dollars_or_none
from tallystick.cli.budget_table import listing, name, table
from tallystick.cli.console import show
from tallystick.cli.target import (
    DatabaseUrl,
    OrganizationName,
    chosen_budget,
    chosen_organization,
    connected,
)
from tallystick.client import Client
from tallystick.models import Budget, BudgetStatus


class Scope(StrEnum):
    """What a budget covers, as `metering.budgets` names it."""

    organization = "organization"
    workflow = "workflow"
    run = "run"
    venture = "venture"
    user = "user"
    api_key = "api_key"
    model = "model"
    tag = "tag"


class Window(StrEnum):
    """Over which time a budget counts."""

    total = "total"
    hour = "hour"
    day = "day"
    week = "week"
    month = "month"


BudgetId = Annotated[
    UUID, typer.Argument(metavar="BUDGET", help="Its id, as the list shows it.", show_default=False)
]
ScopeName = Annotated[Scope, typer.Option("--scope", help="What it covers.")]
ScopeId = Annotated[
    str | None,
    typer.Option(
        "--id",
        help="Which one: an id, a model, or a tag as key=value. Not for the organization itself.",
        show_default=False,
    ),
]
Slots = Annotated[
    int | None,
    typer.Option(
        help="Over how many rows its counter is spread, 1 to 256: more let more callers spend "
        "at the same instant.",
        show_default=False,
    ),
]

budgets = typer.Typer(
    name="budgets", help="Show and change what may be spent.", no_args_is_help=True
)


@budgets.command("list")
def list_budgets(
    scope: Annotated[
        Scope | None, typer.Option(help="Only budgets of this scope.", show_default=False)
    ] = None,
    everything: Annotated[
        bool, typer.Option("--all", help="Also budgets without a limit, which only count.")
    ] = False,
    organization: OrganizationName = None,
    database_url: DatabaseUrl = None,
) -> None:
    """Show the budgets of an organization, and what is left of each now."""
    with connected(database_url) as connection:
        payer = chosen_organization(connection, organization)
        found = Client(connection).budgets(payer.id, scope=scope)
    show(listing(payer, found, everything=everything))


@budgets.command("set")
def set_budget(
    limit: Annotated[
        str,
        typer.Argument(
            metavar="USD",
            help='US dollars, or "none": then it counts and never refuses.',
            show_default=False,
        ),
    ],
    window: Annotated[Window, typer.Option(help="Over which time.", show_default=False)],
    scope: ScopeName = Scope.organization,
    scope_id: ScopeId = None,
    soft: Annotated[
        bool, typer.Option("--soft", help="Grant all the same when it is passed, and say so.")
    ] = False,
    slots: Slots = None,
    organization: OrganizationName = None,
    database_url: DatabaseUrl = None,
) -> None:
    """Store a cap over a scope and a window, or change its limit."""
    amount = dollars_or_none(limit)
    with connected(database_url) as connection:
        payer = chosen_organization(connection, organization)
        client = Client(connection)
        budget = client.set_budget(
            payer.id,
            scope,
            scope_id,
            window,
            amount,
            enforcement="soft" if soft else "hard",
            slots=slots,
        )
        show(table(_status(client, budget)))


@budgets.command("change")
def change_budget(
    budget: BudgetId,
    scope: Annotated[
        Scope | None, typer.Option(help="What it covers from now on.", show_default=False)
    ] = None,
    scope_id: ScopeId = None,
    window: Annotated[
        Window | None, typer.Option(help="Over which time from now on.", show_default=False)
    ] = None,
    slots: Slots = None,
    organization: OrganizationName = None,
    database_url: DatabaseUrl = None,
) -> None:
    """Give a budget another scope, window or number of slots; what is left out stays."""
    with connected(database_url) as connection:
        chosen = chosen_budget(connection, budget, organization)
        client = Client(connection)
        changed = client.change_budget(
            chosen.organization_id,
            chosen.id,
            scope=scope,
            scope_id=scope_id,
            window=window,
            slots=slots,
        )
        show(table(_status(client, changed)))


@budgets.command("remove")
def remove_budget(
    budget: BudgetId,
    organization: OrganizationName = None,
    database_url: DatabaseUrl = None,
) -> None:
    """Take a cap away. The total of an organization or workflow stays, and goes on counting."""
    with connected(database_url) as connection:
        chosen = chosen_budget(connection, budget, organization)
        removed = Client(connection).remove_budget(
            chosen.organization_id, chosen.scope, chosen.scope_id, chosen.time_window
        )
    show(f"Removed the cap on {name(removed)}.")


@budgets.command("freeze")
def freeze(
    scope: ScopeName = Scope.organization,
    scope_id: ScopeId = None,
    organization: OrganizationName = None,
    database_url: DatabaseUrl = None,
) -> None:
    """Refuse all spend in a scope from now on; what was granted can still be settled."""
    with connected(database_url) as connection:
        payer = chosen_organization(connection, organization)
        client = Client(connection)
        budget = client.freeze(payer.id, scope=scope, scope_id=scope_id)
        show(table(_status(client, budget)))


@budgets.command("unfreeze")
def unfreeze(
    scope: ScopeName = Scope.organization,
    scope_id: ScopeId = None,
    organization: OrganizationName = None,
    database_url: DatabaseUrl = None,
) -> None:
    """Allow spend in a scope again."""
    with connected(database_url) as connection:
        payer = chosen_organization(connection, organization)
        client = Client(connection)
        budget = client.unfreeze(payer.id, scope=scope, scope_id=scope_id)
        show(table(_status(client, budget)))


def _status(client: Client, budget: Budget) -> list[BudgetStatus]:
    found = client.budgets(budget.organization_id, scope=budget.scope, scope_id=budget.scope_id)
    return [each for each in found if each.budget_id == budget.id]
