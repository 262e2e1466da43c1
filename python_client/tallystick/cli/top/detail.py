"""What is told of a single organization: its tightest budgets, and the dearest of today."""

from __future__ import annotations

from typing import TYPE_CHECKING
from uuid import UUID

from rich.console import Group
from rich.table import Table
from rich.text import Text

from tallystick.cli.report.names import printable, tail
from tallystick.cli.top.caps import use_bar
from tallystick.cli.top.table import add_figures, grid, heading
from tallystick.cli.top.words import short
from tallystick.figures import lasting

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

    from rich.console import RenderableType

    from tallystick.cli.report.spend import Spend
    from tallystick.cli.top.board import Cap, Detail, Place

_HEADINGS = 3  # lines: those of both tables, and one between them
_NARROW, _SHORT_BAR = 80, 8  # columns of the screen, and of bars on it


def detail(place: Place, told: Detail, rows: int, width: int) -> RenderableType:
    """Return at most so many lines, of which budgets have what the lists leave free, or half."""
    free = max(rows - _HEADINGS, 2)
    most_listed = max(len(told.models), len(told.workflows), 1)
    caps = told.caps[: max(free - most_listed, free // 2)]
    listed = free - max(len(caps), 1)
    return Group(
        _budgets(place, told, caps, _SHORT_BAR + max(width - _NARROW, 0) // 2),
        Text(),
        _side_by_side(
            _dearest("model today", told.models[:listed], told.names),
            _dearest("workflow today", told.workflows[:listed], told.names),
        ),
    )


def _budgets(place: Place, told: Detail, caps: Sequence[Cap], bar_width: int) -> RenderableType:
    if not caps:
        return Text("no budget has a limit", style="dim")
    table = grid(heading("tightest budgets", len(caps), told.number_of_caps))
    table.add_column("used", no_wrap=True)
    add_figures(table, "limit", "settled", "held", "left", "resets")
    for cap in caps:
        table.add_row(
            # Where everything is frozen, the facts say so.
            _subject(cap, told.names, frozen=cap.frozen and not place.frozen),
            use_bar(cap, bar_width),
            *map(short, (cap.limit_usd, cap.settled_usd, cap.held_usd, cap.remaining_usd)),
            lasting(cap.resets_at - place.now) if cap.resets_at else "never",
        )
    return table


def _subject(cap: Cap, names: Mapping[str, str], *, frozen: bool) -> Text:
    """Say what is capped, over which window first: what follows may be cut off."""
    text = Text(f"{cap.time_window} ")
    if frozen:
        text.append("frozen ", style="bold red")
    if cap.soft:
        text.append("soft ", style="dim")
    return text.append(f"{cap.scope} {_called(cap.scope_id, names)}".rstrip())


def _dearest(subject: str, lines: Sequence[Spend], names: Mapping[str, str]) -> RenderableType:
    table = grid(subject)
    add_figures(table, "spent", "requests")
    for line in lines:
        table.add_row(Text(_called(line.key or "", names)), short(line.cost), f"{line.requests:,}")
    if not lines:
        table.add_row(Text("none yet", style="dim"), "", "")
    return table


def _side_by_side(left: RenderableType, right: RenderableType) -> Table:
    table = Table.grid(padding=(0, 3, 0, 0), expand=True, pad_edge=False)
    table.add_column(ratio=1)
    table.add_column(ratio=1)
    table.add_row(left, right)
    return table


def _called(key: str, names: Mapping[str, str]) -> str:
    """Return the name of a workflow or user, else the end of its id; other keys as they are."""
    if key in names:
        return printable(names[key])
    try:
        return tail(str(UUID(key)))
    except ValueError:
        return printable(key)
