"""Movements of credits as a table: what came in, what went out, the balance after it."""

from __future__ import annotations

from typing import TYPE_CHECKING

from rich import box
from rich.table import Table
from rich.text import Text

from tallystick.cli.budget_table import moment
from tallystick.cli.report.names import printable
from tallystick.figures import usd

if TYPE_CHECKING:
    from collections.abc import Iterable
    from datetime import tzinfo

    from tallystick.models import CreditMovement, StatementMovement

_TIME_WIDTH = 16


def grid(zone: tzinfo) -> Table:
    """Return a table for movements, as yet empty, that fits 80 columns; times are in a zone."""
    table = Table(box=box.SIMPLE_HEAD, padding=(0, 1, 0, 0))
    table.add_column(f"time ({zone})", width=_TIME_WIDTH, overflow="fold")
    table.add_column("movement", overflow="fold")
    for name in ("change", "balance"):
        table.add_column(name, justify="right", no_wrap=True)  # every digit, whatever else folds
    return table


def add(table: Table, movements: Iterable[StatementMovement], zone: tzinfo) -> None:
    """Add a row for each movement; below why it was made the run or draw it is about."""
    for each in movements:
        what = Text(reason(each))
        if about := each.run_id or each.draw_id:
            what.append(f"\n{about}", style="dim")
        table.add_row(
            moment(each.created_at.astimezone(zone)),
            what,
            usd(each.change_usd),
            usd(each.balance_after_usd),
        )


def reason(movement: CreditMovement | StatementMovement) -> str:
    """Say in words why credits moved."""
    return printable(movement.reason.replace("_", " "))
