"""A report as a table for a terminal of 80 columns and more."""

from __future__ import annotations

from decimal import Decimal
from typing import TYPE_CHECKING

from rich import box
from rich.console import Group
from rich.table import Table
from rich.text import Text

from tallystick.cli.report.names import printable
from tallystick.cli.report.spend import By, added, label
from tallystick.figures import counted, usd

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping, Sequence

    from rich.console import RenderableType

    from tallystick.cli.report.spend import Report, Spend

_PERCENT = Decimal("0.1")
TAGS_OVERLAP = (
    "A usage with two tags is in both, one without tags in none: they do not add up to the total."
)


def listing(report: Report, lines: Sequence[Spend], names: Mapping[str, str]) -> RenderableType:
    """Return a report of which only some lines are listed, in their order; the rest is one."""
    return Group(*_parts(report, lines, names))


def title(report: Report) -> str:
    """Say whose spend it is."""
    return f"{printable(report.calendar.name)}: spend by {report.by}"


def period(report: Report) -> str:
    """Say of which days it is."""
    return f"{report.first} to {report.last}, {report.calendar.time_zone}"


def share(part: Decimal, whole: Decimal) -> str:
    """Show a part of the whole as a percentage, with one decimal."""
    if not whole:
        return ""
    percent = 100 * part / whole
    if 0 < percent < _PERCENT:
        return f"<{_PERCENT} %"
    return f"{percent:.1f} %"


def _parts(
    report: Report, lines: Sequence[Spend], names: Mapping[str, str]
) -> Iterator[RenderableType]:
    yield Text(title(report), style="bold")
    yield Text(period(report))
    yield _table(report, lines, names)
    if report.by == By.tag:
        yield Text(TAGS_OVERLAP, style="dim")


def _table(report: Report, lines: Sequence[Spend], names: Mapping[str, str]) -> Table:
    grid = Table(box=box.SIMPLE_HEAD, padding=(0, 1, 0, 0), show_footer=True)
    whole = report.total
    grid.add_column(report.by, "total", overflow="fold")
    for heading, footer in zip(
        ("cost", "share", "requests", "tokens in", "tokens out"),
        _figures(whole, whole),
        strict=True,
    ):
        grid.add_column(heading, footer, justify="right", no_wrap=True)
    for line in lines:
        grid.add_row(_subject(report, line, names), *_figures(line, whole))
    rest = report.lines[len(lines) :]
    if rest:
        grid.add_row(Text(counted(len(rest), "other"), style="dim"), *_figures(added(rest), whole))
    return grid


def _figures(line: Spend, whole: Spend) -> tuple[str, ...]:
    return (
        usd(line.cost),
        share(line.cost, whole.cost),
        f"{line.requests:,}",
        f"{line.prompt_tokens:,}",
        f"{line.completion_tokens:,}",
    )


def _subject(report: Report, line: Spend, names: Mapping[str, str]) -> Text:
    """Say what a line is of; a name is for people, the id below it for commands."""
    text = Text(label(report, line, names), style="dim" if line.key is None else "")
    return text.append(f"\n{line.key}", style="dim") if line.key in names else text
