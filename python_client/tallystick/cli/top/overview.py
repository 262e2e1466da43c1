"""What is told of several organizations: a line for each, the one that spends most first."""

from __future__ import annotations

from typing import TYPE_CHECKING

from rich.text import Text

from tallystick.cli.report.names import printable
from tallystick.cli.top.caps import use_bar, used
from tallystick.cli.top.table import add_figures, grid, heading
from tallystick.cli.top.words import short

if TYPE_CHECKING:
    from rich.console import RenderableType

    from tallystick.cli.top.board import Board, Place
    from tallystick.cli.top.pace import Pace

_BAR_WIDTH = 6


def overview(board: Board, pace: Pace, rows: int) -> RenderableType:
    """Return a heading and at most so many lines, itself included."""
    places = sorted(
        board.places,
        key=lambda place: (-board.today(place).usd, -board.month(place).usd, place.name),
    )
    shown = places[: max(rows - 1, 1)]
    table = grid(heading("organizations", len(shown), len(places)))
    add_figures(table, "today", "requests", "month", "a minute", "held")
    table.add_column("tightest, used", no_wrap=True)
    for place in shown:
        table.add_row(*_line(board, pace, place))
    return table


def _line(board: Board, pace: Pace, place: Place) -> tuple[RenderableType, ...]:
    today, rate = board.today(place), pace.rate(place.id)
    return (
        _name(place),
        short(today.usd),
        f"{today.number:,}",
        short(board.month(place).usd),
        short(rate.usd) if rate else Text("...", style="dim"),
        short(board.held(place).open.usd),
        _budget(board, place),
    )


def _name(place: Place) -> Text:
    text = Text()
    if place.frozen:
        text.append("frozen ", style="bold red")
    return text.append(printable(place.name))


def _budget(board: Board, place: Place) -> Text:
    cap = board.tightest.get(place.id)
    if cap is None:
        return Text("none", style="dim")
    return use_bar(cap, _BAR_WIDTH).append(f" {used(cap):>5} {cap.time_window}")
