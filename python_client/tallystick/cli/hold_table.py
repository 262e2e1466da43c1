"""Holds as a table: how much, for what, until when."""

from __future__ import annotations

from typing import TYPE_CHECKING

from rich import box
from rich.console import Group
from rich.table import Table
from rich.text import Text

from tallystick.cli.budget_table import moment
from tallystick.figures import usd

if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence
    from datetime import datetime

    from rich.console import RenderableType

    from tallystick.models import Hold
    from tallystick.organizations import Payer

_ID_WIDTH = 36


def listing(payer: Payer, holds: Sequence[Hold], *, now: datetime, limit: int) -> RenderableType:
    """Return the holds of an organization, of which at most `limit` were asked for."""
    return Group(*_parts(payer, holds, now, limit))


def _parts(
    payer: Payer, holds: Sequence[Hold], now: datetime, limit: int
) -> Iterator[RenderableType]:
    yield Text(f"{payer.name} ({payer.id})", style="bold")
    yield _table(holds, now) if holds else Text("No holds.")
    if len(holds) == limit:
        yield Text(f"There may be more than {limit:,}; --limit shows them.", style="dim")


def _table(holds: Sequence[Hold], now: datetime) -> Table:
    grid = Table(box=box.SIMPLE_HEAD, padding=(0, 1, 0, 0))
    grid.add_column("hold", width=_ID_WIDTH, overflow="fold")
    grid.add_column("held", justify="right", overflow="fold")
    grid.add_column("for", overflow="fold")
    grid.add_column("until (UTC)", overflow="fold")
    for hold in holds:
        grid.add_row(
            str(hold.id),
            usd(hold.held_usd),
            Text("\n".join(_purpose(hold))),
            _end(hold, now),
        )
    return grid


def _purpose(hold: Hold) -> Iterator[str]:
    if hold.model:
        yield hold.model
    for kind in ("workflow", "run", "venture", "user", "api_key"):
        value = getattr(hold, f"{kind}_id")
        if value is not None:
            yield f"{kind} {value}"
    yield from (f"{key}={value}" for key, value in hold.tags.items())


def _end(hold: Hold, now: datetime) -> Text:
    if hold.closed_at is not None:
        text = Text(f"{hold.state} {moment(hold.closed_at)}", style="dim")
        return text.append(f"\n{hold.reason}") if hold.reason else text
    if hold.expires_at <= now:
        return Text(f"overdue since {moment(hold.expires_at)}", style="yellow")
    return Text(moment(hold.expires_at))
