"""The frame of every screen: whose, when, how much, how fast; and what is told below that."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

from rich.console import Group
from rich.constrain import Constrain
from rich.table import Table
from rich.text import Text

from tallystick.cli.report.names import printable
from tallystick.cli.top.board import together
from tallystick.cli.top.detail import detail
from tallystick.cli.top.overview import overview
from tallystick.cli.top.words import short
from tallystick.figures import columns, counted, lasting, usd

if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence

    from rich.console import RenderableType

    from tallystick.cli.top.board import Amount, Board, Held
    from tallystick.cli.top.pace import Pace

_LABEL_WIDTH = 10
_GAP = 2
_AROUND = 3  # lines: the heading, what is said below it, and one before the body
_WIDEST = 140  # columns: what belongs together should not be further apart
_NARROWEST_CHART, _WIDEST_CHART = 6, 60


@dataclass(frozen=True, slots=True)
class Size:
    """Columns and lines of a screen."""

    width: int
    height: int


def screen(board: Board, pace: Pace, size: Size, said: Text | None = None) -> RenderableType:
    """Return a screen; `said` stands below its heading."""
    width = min(size.width, _WIDEST)
    facts = list(_facts(board, pace, width))
    rows = size.height - _AROUND - len(facts)
    body = (
        overview(board, pace, rows)
        if board.detail is None
        else detail(board.places[0], board.detail, rows, width)
    )
    parts = Group(_heading(board), said or Text(), _grid(facts), Text(), body)
    return Constrain(parts, width)


def _heading(board: Board) -> Table:
    grid = Table.grid(expand=True)
    grid.add_column(no_wrap=True, ratio=1)
    grid.add_column(no_wrap=True, justify="right")
    place = board.places[0]
    if board.detail is None:
        grid.add_row(
            Text(counted(len(board.places), "organization"), style="bold"),
            f"{place.now:%Y-%m-%d %H:%M:%S %Z}",
        )
    else:
        name = Text(printable(place.name), style="bold")
        grid.add_row(name, f"{place.local_time:%Y-%m-%d %H:%M:%S} {place.time_zone}")
    return grid


def _facts(board: Board, pace: Pace, width: int) -> Iterator[tuple[str, Text]]:
    if board.detail is not None and board.places[0].frozen:
        yield "frozen", Text("all spend is refused", style="bold red")
    if board.detail is not None and board.detail.frozen:
        text = f"{counted(board.detail.frozen, 'scope')}, where all spend is refused"
        yield "frozen", Text(text, style="red")
    yield "today", _spent(together(map(board.today, board.places)))
    yield "this month", _spent(together(map(board.month, board.places)))
    yield "now", _rate(pace, width)
    yield "held", _held([board.held(place) for place in board.places])


def _spent(amount: Amount) -> Text:
    text = Text(usd(amount.usd), style="bold")
    return text.append(f" in {counted(amount.number, 'request')}", style="not bold")


def _rate(pace: Pace, width: int) -> Text:
    rate = pace.rate()
    if rate is None:
        return Text("measuring", style="dim")
    text = Text(f"{short(rate.usd)}", style="bold")
    text.append(f" and {rate.requests:,.1f} requests per minute", style="not bold")
    text.append(f", over the last {lasting(rate.over)}", style="not bold dim")
    left = min(width - _LABEL_WIDTH - 2 * _GAP - len(text), _WIDEST_CHART)
    if left >= _NARROWEST_CHART:
        text.append(f"  {columns(pace.steps()[-left:], 1)[0]}", style="cyan")
    return text


def _held(holds: Sequence[Held]) -> Text:
    held = together(each.open for each in holds)
    overdue = together(each.overdue for each in holds)
    text = Text(usd(held.usd), style="bold")
    text.append(f" in {counted(held.number, 'open hold')}", style="not bold")
    if overdue.number:
        part = f", of which {usd(overdue.usd)} in {overdue.number:,} overdue"
        text.append(part, style="not bold yellow")
    return text


def _grid(facts: Sequence[tuple[str, Text]]) -> Table:
    grid = Table.grid(padding=(0, _GAP, 0, 0))
    grid.add_column(width=_LABEL_WIDTH)
    grid.add_column(no_wrap=True)
    for label, text in facts:
        grid.add_row(label, text)
    return grid
