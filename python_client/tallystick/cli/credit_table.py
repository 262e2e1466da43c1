"""Credits as tables: what there is, where it comes from, what moved."""

from __future__ import annotations

from datetime import UTC
from typing import TYPE_CHECKING

from rich import box
from rich.console import Group
from rich.table import Table
from rich.text import Text

from tallystick.cli.budget_table import moment
from tallystick.cli.movement_table import add, grid
from tallystick.cli.program import program
from tallystick.figures import usd

if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence
    from datetime import datetime

    from rich.console import RenderableType

    from tallystick.cli.credit_source import Credits
    from tallystick.models import CreditBalance, CreditGrant, StatementMovement
    from tallystick.organizations import Payer

_ID_WIDTH = 36


def listing(payer: Payer, credits_of: Credits, *, everything: bool) -> RenderableType:
    """Return the credits of an organization; unless `everything`, of grants what has a rest."""
    return Group(*_parts(payer, credits_of, everything))


def history(payer: Payer, movements: Sequence[StatementMovement], *, limit: int) -> RenderableType:
    """Return the last movements of credits, of which at most `limit` were asked for."""
    return Group(*_history_parts(payer, movements, limit))


def _parts(payer: Payer, credits_of: Credits, everything: bool) -> Iterator[RenderableType]:
    yield Text(f"{payer.name} ({payer.id})", style="bold")
    balance = credits_of.balance
    if balance is None:
        yield Text(
            "No credits: it pays afterwards. With the first ones, see "
            f"`{program()} credits buy --help`, it pays in advance."
        )
        return
    yield _balance(balance)
    if credits_of.owed_usd:
        yield Text(f"Owed beyond credits: {usd(credits_of.owed_usd)}", style="red")
    shown = [each for each in credits_of.grants if everything or each.remaining_usd]
    if shown:
        yield _grants(shown, credits_of.now)
    hidden = len(credits_of.grants) - len(shown)
    if hidden:
        yield Text(f"Not shown: {hidden:,} used up; --all shows everything.", style="dim")


def _balance(balance: CreditBalance) -> RenderableType:
    figures = Table.grid(padding=(0, 2, 0, 0))
    figures.add_column()
    figures.add_column(justify="right")
    figures.add_row("balance", usd(balance.balance_usd))
    figures.add_row("reserved", usd(balance.reserved_usd))
    style = "yellow" if balance.is_low else "green"
    figures.add_row("available", Text(usd(balance.available_usd), style=style))
    if balance.low_balance_usd is not None:
        figures.add_row("low below", usd(balance.low_balance_usd))
    return figures


def _grants(grants: Sequence[CreditGrant], now: datetime) -> RenderableType:
    table = Table(box=box.SIMPLE_HEAD, padding=(0, 1, 0, 0))
    table.add_column("grant", width=_ID_WIDTH, overflow="fold")
    for heading in ("granted", "remaining", "reserved"):
        table.add_column(heading, justify="right", overflow="fold")
    for each in grants:
        table.add_row(
            Text("\n").join(_identity(each, now)),
            usd(each.amount_usd),
            usd(each.remaining_usd),
            usd(each.reserved_usd),
        )
    return Group(table, Text("They are used up in this order.", style="dim"))


def _identity(grant: CreditGrant, now: datetime) -> Iterator[Text]:
    """Say what kind of credits they are, what they pay for, how long, and their id."""
    yield Text(grant.kind, style="bold")
    if grant.model is not None:
        yield Text(f"for runs of {grant.model}")
    if grant.expires_at is not None:
        over = grant.expires_at <= now
        verb = "expired" if over else "expires"
        yield Text(f"{verb} {moment(grant.expires_at)} UTC", style="red" if over else "")
    yield Text(str(grant.id), style="dim")


def _history_parts(
    payer: Payer, movements: Sequence[StatementMovement], limit: int
) -> Iterator[RenderableType]:
    yield Text(f"{payer.name} ({payer.id})", style="bold")
    if not movements:
        yield Text("No movements.")
        return
    table = grid(UTC)
    add(table, movements, UTC)
    yield table
    if len(movements) == limit:
        yield Text(f"There may be more than {limit:,}; --limit shows them.", style="dim")
