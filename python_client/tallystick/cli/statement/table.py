"""A statement as tables for a terminal of 80 columns and more."""

from __future__ import annotations

from typing import TYPE_CHECKING

from rich.console import Group
from rich.text import Text

from tallystick.cli.movement_table import add, grid
from tallystick.cli.report.names import printable
from tallystick.cli.report.table import listing as usage_listing
from tallystick.cli.statement.sums import (
    USAGE_IS_NOT_CHARGES,
    heading,
    usage,
    zone,
)
from tallystick.figures import counted, usd
from tallystick.money import total

if TYPE_CHECKING:
    from collections.abc import Iterator

    from rich.console import RenderableType
    from rich.table import Table

    from tallystick.cli.report.spend import Calendar
    from tallystick.models import Statement


def listing(statement: Statement, calendar: Calendar, *, limit: int) -> RenderableType:
    """Return a statement; of movements and models at most `limit`, and the rest as one line."""
    return Group(*_parts(statement, calendar, limit))


def _parts(statement: Statement, calendar: Calendar, limit: int) -> Iterator[RenderableType]:
    yield Text(f"{printable(statement.organization)} ({statement.org_id})", style="bold")
    yield Text(f"Statement of {heading(statement, calendar.today)}, {statement.time_zone}")
    yield _movements(statement, limit)
    if statement.receivables_usd:
        yield Text(f"Owed beyond credits: {usd(statement.receivables_usd)}\n", style="red")
    spent = usage(statement, calendar)
    if spent.lines:
        yield usage_listing(spent, spent.lines[:limit], {})
        yield Text(USAGE_IS_NOT_CHARGES, style="dim")
    else:
        yield Text("No usage.")


def _movements(statement: Statement, limit: int) -> Table:
    times = zone(statement)
    table = grid(times)
    table.add_row("", "opening balance", "", usd(statement.opening_balance_usd), style="bold")
    earlier, shown = statement.movements[:-limit], statement.movements[-limit:]
    if earlier:
        told = Text(counted(len(earlier), "earlier movement"), style="dim")
        change = total([each.change_usd for each in earlier])
        table.add_row("", told, usd(change), usd(earlier[-1].balance_after_usd))
    add(table, shown, times)
    table.add_row("", "closing balance", "", usd(statement.closing_balance_usd), style="bold")
    return table
