"""A report as a picture: a bar for each day, in colours for what it was spent on.

Importing this imports matplotlib. Money becomes a float here, where it becomes a length.
"""

from __future__ import annotations

import io
import warnings
from decimal import Decimal
from typing import TYPE_CHECKING

import matplotlib.style
from matplotlib.figure import Figure
from matplotlib.layout_engine import ConstrainedLayoutEngine
from matplotlib.ticker import Formatter, MaxNLocator

from tallystick.cli.report.bins import bins
from tallystick.cli.report.names import shortened
from tallystick.cli.report.spend import By
from tallystick.cli.report.table import TAGS_OVERLAP, period, share, title
from tallystick.figures import counted, usd
from tallystick.money import total

if TYPE_CHECKING:
    from collections.abc import Sequence

    from matplotlib.artist import Artist
    from matplotlib.axes import Axes

    from tallystick.cli.report.bands import Band
    from tallystick.cli.report.bins import Bins
    from tallystick.cli.report.spend import Report

_SIZE = (10.5, 5.6)  # inches
_COLOURS = (  # as many as there are bands, told apart also by those who see fewer colours
    "#4477aa",
    "#ee8866",
    "#44bb99",
    "#eedd88",
    "#aa3377",
    "#99ddff",
    "#bbcc33",
    "#ffaabb",
    "#555555",
)
_OTHERS, _TEXT, _LINES = "#bbbbbb", "#444444", "#e5e5e5"
_TITLE_WIDTH, _LEGEND_WIDTH = 60, 30  # characters
_FEW = 6  # bars: fewer are no wider than these
_STYLE = {
    "axes.axisbelow": True,
    "axes.edgecolor": "#999999",
    "axes.spines.right": False,
    "axes.spines.top": False,
    "font.family": "DejaVu Sans",  # comes with matplotlib
    "font.size": 10,
    "svg.fonttype": "none",  # text stays text: it can be searched and copied
    "svg.hashsalt": "tallystick",  # the same figures make the same file
    "text.parse_math": False,  # a dollar sign is a dollar sign
    "xtick.bottom": False,
    "ytick.left": False,
}


def draw(report: Report, bands: Sequence[Band], kind: str) -> bytes:
    """Draw a report as a file of a kind: svg, png or pdf."""
    with matplotlib.style.context(["default", _STYLE]), warnings.catch_warnings():
        # A name in a script the font lacks is drawn as boxes, in an SVG by the viewer's fonts.
        warnings.filterwarnings("ignore", message="Glyph .* missing from font")
        layout = ConstrainedLayoutEngine(w_pad=0.12, h_pad=0.12)
        figure = Figure(figsize=_SIZE, dpi=120, layout=layout)
        _fill(figure.add_subplot(), report, bands)
        file = io.BytesIO()
        figure.savefig(file, format=kind, metadata=_metadata(report, kind))
    return file.getvalue()


def _fill(axes: Axes, report: Report, bands: Sequence[Band]) -> None:
    bars = bins(report)
    legend = _stack(axes, report, bands, bars)
    if report.by == By.tag:
        marks = _mark(axes, bars.sums(report.days))
        legend.append((marks, "all usages, once"))
        axes.set_xlabel(TAGS_OVERLAP, color=_TEXT, labelpad=10)
    labels = bars.labels()
    axes.set_xticks(list(labels), list(labels.values()))
    _label_dollars(axes, bars.unit)
    _entitle(axes, report)
    if report.by != By.day:
        _explain(axes, report.by, legend)


def _stack(
    axes: Axes, report: Report, bands: Sequence[Band], bars: Bins
) -> list[tuple[Artist, str]]:
    """Draw the bands on top of each other, the dearest at the bottom; return what each is."""
    legend: list[tuple[Artist, str]] = []
    count = len(bars.starts)
    floor = [Decimal(0)] * count
    for number, band in enumerate(bands):
        heights = bars.sums(band.costs)
        drawn = axes.bar(
            range(count),
            [float(height) for height in heights],
            bottom=[float(height) for height in floor],
            width=1.0 if bars.crowded else 0.8,
            color=_OTHERS if band.others else _COLOURS[number],
        )
        part = share(total(heights), report.total.cost) or "nothing"
        legend.append((drawn[0], f"{shortened(band.label, _LEGEND_WIDTH)} ({part})"))
        floor = [total([low, height]) for low, height in zip(floor, heights, strict=True)]
    middle, half = (count - 1) / 2, max(count, _FEW) / 2
    axes.set_xlim(middle - half, middle + half)
    return legend


def _mark(axes: Axes, sums: Sequence[Decimal]) -> Artist:
    """Mark what all usages of a bar cost, where bands overlap and cannot show it."""
    return axes.hlines(
        [float(cost) for cost in sums],
        [number - 0.45 for number in range(len(sums))],
        [number + 0.45 for number in range(len(sums))],
        color="black",
        linewidth=1.5,
    )


def _label_dollars(axes: Axes, unit: str) -> None:
    axes.set_ylim(bottom=0, top=None if axes.dataLim.ymax > 0 else 1)
    axes.yaxis.set_major_locator(MaxNLocator(nbins=8, steps=[1, 2, 2.5, 5, 10]))
    axes.yaxis.set_major_formatter(_Dollars())
    axes.set_ylabel(f"US dollars per {unit}")
    axes.grid(axis="y", color=_LINES)


def _entitle(axes: Axes, report: Report) -> None:
    spent = report.total
    heading = shortened(title(report), _TITLE_WIDTH)
    summary = f"{period(report)}: {usd(spent.cost)}, {counted(spent.requests, 'request')}"
    axes.set_title(heading, loc="left", fontsize=14, weight="bold", pad=30)
    axes.annotate(summary, (0, 1), (0, 12), "axes fraction", "offset points", color=_TEXT)


def _explain(axes: Axes, by: By, legend: Sequence[tuple[Artist, str]]) -> None:
    """Say beside the bars what the colours are, in the order in which they are stacked."""
    artists, labels = zip(*legend, strict=True)
    axes.legend(
        artists,
        labels,
        loc="upper left",
        bbox_to_anchor=(1.01, 1.02),
        frameon=False,
        reverse=True,
        title=by.capitalize(),
        title_fontproperties={"weight": "bold"},
        alignment="left",
    )


class _Dollars(Formatter):
    """Labels an axis with money: as many decimals as its steps need, two where there are any."""

    def format_ticks(self, values: Sequence[float]) -> list[str]:
        """Return the labels of places on the axis."""
        places = max(map(_places, values), default=0)
        return [f"${value:,.{max(places, 2) if places else 0}f}" for value in values]


def _places(place: float) -> int:
    """Return how many decimals a place on the axis needs, its error in the last digits aside."""
    exponent = Decimal(f"{place:.6g}").normalize().as_tuple().exponent
    return max(0, -int(exponent))


def _metadata(report: Report, kind: str) -> dict[str, str | None]:
    """Return what the file says of itself: no time, so that the same figures make the same file."""
    about: dict[str, str | None] = {"Title": f"{title(report)}, {period(report)}"}
    if kind == "pdf":
        about["CreationDate"] = None
    elif kind == "svg":
        about["Date"] = None
    return about
