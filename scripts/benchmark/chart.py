"""The chart: one small panel per case, ratios by number of clients, a line per flush mode.

Written as SVG by hand: a plotting library would be the largest thing the project installs.
"""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import TYPE_CHECKING, Final
from xml.etree.ElementTree import Element, ElementTree, SubElement, indent

from scripts.benchmark.cases import FLOOR
from scripts.benchmark.goals import GOALS
from scripts.benchmark.results import Results, Spread, rate

if TYPE_CHECKING:
    from collections.abc import Sequence
    from pathlib import Path

    from scripts.benchmark.cases import Case
    from scripts.benchmark.schedule import Plan

_SHAPES: Final = """
text { font: 11px system-ui, "Segoe UI", "Helvetica Neue", Arial, sans-serif; }
.title { font-size: 22px; font-weight: 600; }
.subtitle { font-size: 13px; }
.case { font-size: 12px; font-weight: 600; }
.middle, .value0, .value1 { text-anchor: middle; }
.end { text-anchor: end; }
.value0, .value1 { font-size: 10.5px; font-weight: 600; }
.floor { stroke-dasharray: 2 3; }
.goal { stroke-width: 2.5; stroke-linecap: round; }
.line0, .line1 { fill: none; stroke-width: 2; stroke-linejoin: round; }
.band0, .band1 { opacity: .16; }
"""
# Written out, as few programs but browsers know variables in a style.
_COLOURS: Final = """
.paper {{ fill: {paper}; }}
text {{ fill: {faint}; }}
.title, .case {{ fill: {ink}; }}
.grid {{ stroke: {grid}; }}
.floor {{ stroke: {faint}; }}
.goal {{ stroke: {goal}; }}
.line0 {{ stroke: {first}; }} .band0, .dot0, .value0 {{ fill: {first}; }}
.line1 {{ stroke: {second}; }} .band1, .dot1, .value1 {{ fill: {second}; }}
"""
_LIGHT: Final = {
    "paper": "#ffffff",
    "ink": "#1c2330",
    "faint": "#6b7484",
    "grid": "#e6e9ee",
    "goal": "#1a8f4c",
    "first": "#1f6feb",
    "second": "#d9622b",
}
_DARK: Final = {
    "paper": "#11151c",
    "ink": "#e8ecf2",
    "faint": "#98a2b3",
    "grid": "#262d38",
    "goal": "#54c98a",
    "first": "#6ea8fe",
    "second": "#f59b6a",
}
_COLUMNS: Final = 5
_PANEL: Final = (264, 214)  # width and height of a panel with its surroundings
_PLOT: Final = (38, 34, 206, 128)  # left, top, width and height of the plot in its panel
_MARGIN: Final = 24
_HEAD: Final = 96
_FOOT: Final = 20
_USUAL_TOP: Final = 1.1  # panels share this scale unless a case is faster than the floor
_ROOM_AT_SIDES: Final = 18  # between the plot's edge and its first and last point
_LABEL_DISTANCE: Final = 8


@dataclass(frozen=True, slots=True)
class _Panel:
    """Where things are in one panel."""

    left: float
    top: float
    clients: Sequence[int]
    scale_top: float

    def x(self, clients: int) -> float:
        """Return where a number of clients stands; the steps are equal."""
        left, _, width, _ = _PLOT
        position = self.clients.index(clients) + 0.5
        if len(self.clients) > 1:
            room = width - 2 * _ROOM_AT_SIDES
            offset = _ROOM_AT_SIDES + room * (position - 0.5) / (len(self.clients) - 1)
        else:
            offset = width / 2
        return round(self.left + left + offset, 1)

    def y(self, ratio: float) -> float:
        """Return where a ratio stands."""
        _, top, _, height = _PLOT
        return round(self.top + top + height * (1 - ratio / self.scale_top), 1)

    @property
    def edges(self) -> tuple[float, float]:
        """The left and the right edge of the plot."""
        left, _, width, _ = _PLOT
        return self.left + left, self.left + left + width


def write_chart(file: Path, plan: Plan, results: Results, subtitle: str) -> None:
    """Draw the ratios of every case but the floor, which is 1 everywhere."""
    cases = [case for case in plan.cases if case.name != FLOOR]
    columns = max(1, min(_COLUMNS, len(cases)))
    rows = math.ceil(len(cases) / columns)
    width = max(2 * _MARGIN + columns * _PANEL[0], 760)  # the head needs some width
    height = _HEAD + rows * _PANEL[1] + _FOOT
    svg = Element(
        "svg", xmlns="http://www.w3.org/2000/svg", viewBox=f"0 0 {width} {height}", role="img"
    )
    SubElement(svg, "title").text = "Tallystick's hot path, as ratios to the floor"
    SubElement(svg, "style").text = _style()
    SubElement(svg, "rect", {"class": "paper", "width": str(width), "height": str(height)})
    _draw_head(svg, plan, subtitle)
    for index, case in enumerate(cases):
        row, column = divmod(index, columns)
        panel = _Panel(
            left=_MARGIN + column * _PANEL[0],
            top=_HEAD + row * _PANEL[1],
            clients=plan.clients,
            scale_top=_scale_top(plan, results, case),
        )
        _draw_panel(svg, panel, plan, results, case)
    indent(svg)
    ElementTree(svg).write(file, encoding="utf-8", xml_declaration=True)


def _style() -> str:
    light, dark = _COLOURS.format(**_LIGHT), _COLOURS.format(**_DARK)
    return f"{_SHAPES}{light}@media (prefers-color-scheme: dark) {{{dark}}}"


def _draw_head(svg: Element, plan: Plan, subtitle: str) -> None:
    _text(svg, _MARGIN, 36, "What the hot path costs, as ratios to the floor", "title")
    _text(svg, _MARGIN, 56, subtitle, "subtitle")
    x = _MARGIN
    for number, flush_ms in enumerate(plan.flushes):
        label = f"every flush {flush_ms:g} ms longer" if flush_ms else "the disk as it is"
        _line(svg, f"line{number}", x, 74, x + 22, 74)
        _dot(svg, number, x + 11, 74)
        _text(svg, x + 28, 78, label)
        x += 60 + 6 * len(label)
    _line(svg, "goal", x, 74, x + 16, 74)
    _text(svg, x + 22, 78, "goal")
    _line(svg, "floor", x + 66, 74, x + 88, 74)
    _text(svg, x + 94, 78, "the floor: one ledger row and one counter, nothing checked")


def _draw_panel(svg: Element, panel: _Panel, plan: Plan, results: Results, case: Case) -> None:
    group = SubElement(svg, "g")
    _text(group, panel.left + _PLOT[0] - 24, panel.top + 18, case.title, "case")
    _draw_axes(group, panel)
    drawn = {
        number: spreads
        for number, flush_ms in enumerate(plan.flushes)
        if (spreads := _spreads(results, case, plan.clients, flush_ms))
    }
    for number, spreads in drawn.items():
        _draw_line(group, panel, number, spreads)
    _draw_goals(group, panel, plan, case)
    for number, spreads in drawn.items():
        others = [other for key, other in drawn.items() if key != number]
        _draw_values(group, panel, number, spreads, others)


def _draw_axes(group: Element, panel: _Panel) -> None:
    left, right = panel.edges
    step = _step(panel.scale_top)
    for tick in range(int(panel.scale_top / step) + 1):
        y = panel.y(tick * step)
        _line(group, "grid", left, y, right, y)
        _text(group, left - 6, y + 3.5, f"{tick * step:g}", "end")
    _line(group, "floor", left, panel.y(1), right, panel.y(1))
    bottom = panel.y(0) + 20
    for clients in panel.clients:
        _text(group, panel.x(clients), bottom, str(clients), "middle")
    _text(group, (left + right) / 2, bottom + 14, "clients", "middle")


def _draw_line(group: Element, panel: _Panel, number: int, spreads: dict[int, Spread]) -> None:
    above = [(panel.x(clients), panel.y(spread.high)) for clients, spread in spreads.items()]
    below = [(panel.x(clients), panel.y(spread.low)) for clients, spread in spreads.items()]
    middle = [(panel.x(clients), panel.y(spread.median)) for clients, spread in spreads.items()]
    band = [*above, *reversed(below)]
    SubElement(group, "polygon", {"class": f"band{number}", "points": _points(band)})
    SubElement(group, "polyline", {"class": f"line{number}", "points": _points(middle)})
    for x, y in middle:
        _dot(group, number, x, y)


def _draw_goals(group: Element, panel: _Panel, plan: Plan, case: Case) -> None:
    for goal in GOALS:
        is_a_ratio_here = goal.case == case.name and goal.base == FLOOR and goal.of is rate
        if is_a_ratio_here and goal.clients in plan.clients and goal.flush_ms in plan.flushes:
            x, y = panel.x(goal.clients), panel.y(goal.bound)
            _line(group, "goal", x - 8, y, x + 8, y)


def _draw_values(
    group: Element,
    panel: _Panel,
    number: int,
    spreads: dict[int, Spread],
    others: Sequence[dict[int, Spread]],
) -> None:
    """Write each figure on the side of its point where no other line is."""
    for clients, spread in spreads.items():
        rivals = [other[clients].median for other in others if clients in other]
        is_on_top = all(
            spread.median > rival or (spread.median == rival and number == 0) for rival in rivals
        )
        y = panel.y(spread.median)
        y += -_LABEL_DISTANCE if is_on_top else _LABEL_DISTANCE + 8
        text = f"{spread.median:.2f}" if panel.scale_top == _USUAL_TOP else f"{spread.median:.1f}"
        _text(group, panel.x(clients), y, text, f"value{number}")


def _spreads(
    results: Results, case: Case, clients: Sequence[int], flush_ms: float
) -> dict[int, Spread]:
    found = {number: results.ratio(rate, case.name, number, flush_ms) for number in clients}
    return {number: spread for number, spread in found.items() if spread is not None}


def _scale_top(plan: Plan, results: Results, case: Case) -> float:
    """Return the highest ratio its panel shows: the usual one, or with room above the highest."""
    highest = max(
        spread.high
        for flush_ms in plan.flushes
        for spread in _spreads(results, case, plan.clients, flush_ms).values()
    )
    return _USUAL_TOP if highest <= _USUAL_TOP else highest * 1.15


def _step(scale_top: float) -> float:
    """Return a round distance between grid lines that makes about five of them."""
    rough = scale_top / 4
    magnitude = 10.0 ** math.floor(math.log10(rough))
    return min((1, 2, 2.5, 5, 10), key=lambda digit: abs(digit * magnitude - rough)) * magnitude


def _points(points: Sequence[tuple[float, float]]) -> str:
    return " ".join(f"{x},{y}" for x, y in points)


def _line(parent: Element, style: str, x1: float, y1: float, x2: float, y2: float) -> None:
    ends = {"x1": x1, "y1": y1, "x2": x2, "y2": y2}
    SubElement(parent, "line", {"class": style, **{name: f"{end:g}" for name, end in ends.items()}})


def _dot(parent: Element, number: int, x: float, y: float) -> None:
    SubElement(parent, "circle", {"class": f"dot{number}", "cx": f"{x}", "cy": f"{y}", "r": "3"})


def _text(parent: Element, x: float, y: float, text: str, style: str = "") -> None:
    SubElement(parent, "text", {"class": style, "x": f"{x:g}", "y": f"{y:g}"}).text = text
