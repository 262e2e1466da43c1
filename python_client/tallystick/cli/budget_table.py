"""Budgets as a table: limit, use, what is left, when that changes."""

from __future__ import annotations

from decimal import Decimal
from typing import TYPE_CHECKING

from rich import box
from rich.console import Group
from rich.table import Table
from rich.text import Text

from tallystick.figures import bar, counted, usd

if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence
    from datetime import datetime

    from rich.console import RenderableType

    from tallystick.models import Budget, BudgetStatus
    from tallystick.organizations import Payer

_BAR_WIDTH = 9
_LITTLE = Decimal("0.2")  # of the limit
_ID_WIDTH = 36


def listing(payer: Payer, budgets: Sequence[BudgetStatus], *, everything: bool) -> RenderableType:
    """Return the budgets of an organization; unless `everything`, those that may refuse."""
    shown = [each for each in budgets if everything or _may_refuse(each)]
    return Group(*_parts(payer, shown, hidden=len(budgets) - len(shown)))


def table(budgets: Sequence[BudgetStatus]) -> RenderableType:
    """Return budgets as a table that fits 80 columns; times are in UTC."""
    grid = Table(box=box.SIMPLE_HEAD, padding=(0, 1, 0, 0))
    grid.add_column("budget", width=_ID_WIDTH, overflow="fold")
    for heading in ("limit", "settled", "held"):
        grid.add_column(heading, justify="right", overflow="fold")
    grid.add_column("remaining", overflow="fold")
    for each in budgets:
        grid.add_row(
            Text("\n").join(_identity(each)),
            "none" if each.limit_usd is None else usd(each.limit_usd),
            usd(each.settled_usd),
            usd(each.held_usd),
            _remaining(each),
        )
    return grid


def name(budget: Budget | BudgetStatus) -> str:
    """Say in words which budget it is."""
    return f"{' '.join(filter(None, (budget.scope, budget.scope_id)))}, {budget.time_window}"


def moment(time: datetime) -> str:
    """Show a time to the minute."""
    return f"{time:%Y-%m-%d %H:%M}"


def _parts(
    payer: Payer, budgets: Sequence[BudgetStatus], *, hidden: int
) -> Iterator[RenderableType]:
    yield Text(f"{payer.name} ({payer.id})", style="bold")
    if payer.frozen:
        yield Text("The organization is frozen: all its spend is refused.", style="bold red")
    if budgets:
        yield table(budgets)
    if hidden:
        text = f"Not shown: {counted(hidden, 'budget')} without a limit; --all shows everything."
        yield Text(text, style="dim")


def _may_refuse(budget: BudgetStatus) -> bool:
    return budget.limit_usd is not None or budget.frozen_at is not None


def _identity(budget: BudgetStatus) -> Iterator[Text]:
    """Say which budget it is, in what state, and the id by which commands know it."""
    soft = ", soft" if budget.enforcement == "soft" else ""
    yield Text(f"{budget.scope}, {budget.time_window}{soft}", style="bold")
    if budget.scope_id not in ("", str(budget.budget_id)):
        yield Text(budget.scope_id)
    if budget.frozen_at:
        yield Text(f"frozen since {moment(budget.frozen_at)} UTC", style="bold red")
    if budget.resets_at:
        yield Text(f"resets {moment(budget.resets_at)} UTC")
    yield Text(counted(budget.slot_count, "slot"))
    yield Text(str(budget.budget_id), style="dim")


def _remaining(budget: BudgetStatus) -> Text:
    if budget.limit_usd is None or budget.remaining_usd is None:
        return Text("only counts", style="dim")
    if budget.remaining_usd <= 0:
        style = "red"
    else:
        style = "yellow" if budget.remaining_usd < _LITTLE * budget.limit_usd else "green"
    drawn = bar(budget.remaining_usd, budget.limit_usd, _BAR_WIDTH)
    return Text(drawn, style=style).append(f"\n{usd(budget.remaining_usd)}", style="default")
