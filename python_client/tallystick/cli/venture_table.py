"""Ventures as tables: what they used, real and simulated apart, and what profiles have left."""

from __future__ import annotations

from enum import StrEnum
from itertools import groupby
from typing import TYPE_CHECKING

from rich import box
from rich.console import Group
from rich.table import Table
from rich.text import Text

from tallystick.cli.budget_table import moment
from tallystick.cli.report.names import printable
from tallystick.figures import bar, usd
from tallystick.money import total

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping, Sequence
    from uuid import UUID

    from rich.console import RenderableType

    from tallystick.models import VentureProfile, VentureSpend
    from tallystick.organizations import Payer

_BAR_WIDTH = 9


class By(StrEnum):
    """What the use of a venture is told apart by."""

    stage = "stage"
    phase = "phase"
    agent = "agent"


def spend(
    payer: Payer, lines: Sequence[VentureSpend], names: Mapping[str, str], by: By
) -> RenderableType:
    """Return what each venture used, told apart by `by`."""
    return Group(*_spend(payer, lines, names, by))


def shares(
    payer: Payer, profiles: Sequence[VentureProfile], names: Mapping[str, str]
) -> RenderableType:
    """Return the shares of each venture and what is left of them; times are in UTC."""
    return Group(*_shares(payer, profiles, names))


def _spend(
    payer: Payer, lines: Sequence[VentureSpend], names: Mapping[str, str], by: By
) -> Iterator[RenderableType]:
    yield _title(payer)
    if not lines:
        yield Text("No use of ventures.")
    for venture_id, of_venture in groupby(lines, key=lambda each: each.venture_id):
        yield _name(venture_id, names)
        yield _uses(list(of_venture), by)


def _uses(lines: Sequence[VentureSpend], by: By) -> Table:
    table = Table(box=box.SIMPLE_HEAD, padding=(0, 1, 0, 0), show_footer=True)
    table.add_column(by, "total", overflow="fold")
    for heading, footer in zip(
        ("calls", "tokens", "cost", "simulated\ncalls", "simulated\ncost"),
        _figures(lines),
        strict=True,
    ):
        table.add_column(heading, footer, justify="right", overflow="fold")
    for part in sorted({_part(each, by) for each in lines}):
        table.add_row(
            printable(part[1]), *_figures([each for each in lines if _part(each, by) == part])
        )
    return table


def _part(line: VentureSpend, by: By) -> tuple[int, str]:
    """Say what a line is a part of: its place among the others, and its name."""
    if by == By.stage:
        return line.lifecycle_stage, str(line.lifecycle_stage)
    return 0, line.agent_type if by == By.agent else line.phase or "none stated"


def _figures(lines: Sequence[VentureSpend]) -> tuple[str, ...]:
    return (
        f"{sum(each.requests for each in lines):,}",
        f"{sum(each.tokens_total for each in lines):,}",
        usd(total([each.cost_usd for each in lines])),
        f"{sum(each.simulated_requests for each in lines):,}",
        usd(total([each.simulated_cost_usd for each in lines])),
    )


def _shares(
    payer: Payer, profiles: Sequence[VentureProfile], names: Mapping[str, str]
) -> Iterator[RenderableType]:
    yield _title(payer)
    if not profiles:
        yield Text("No shares: each call has what its venture has.")
    for venture_id, of_venture in groupby(profiles, key=lambda each: each.venture_id):
        yield _name(venture_id, names)
        yield _parts(of_venture)


def _parts(profiles: Iterator[VentureProfile]) -> Table:
    table = Table(box=box.SIMPLE_HEAD, padding=(0, 1, 0, 0))
    table.add_column("profile", overflow="fold")
    for heading in ("share", "limit", "settled", "held"):
        table.add_column(heading, justify="right", overflow="fold")
    table.add_column("remaining", overflow="fold")
    for each in profiles:
        table.add_row(_identity(each), f"{each.allocation_pct.normalize():f} %", *_money(each))
    return table


def _identity(profile: VentureProfile) -> Text:
    text = Text(profile.budget_profile, style="bold")
    if profile.time_window:
        soft = ", soft" if profile.enforcement == "soft" else ""
        text.append(f"\n{profile.time_window}{soft}", style="")
    if profile.resets_at:
        text.append(f"\nresets {moment(profile.resets_at)} UTC", style="dim")
    return text


def _money(profile: VentureProfile) -> Iterator[str | Text]:
    figures = (profile.limit_usd, profile.settled_usd, profile.held_usd)
    yield from ("" if figure is None else usd(figure) for figure in figures)
    if profile.limit_usd is None or profile.remaining_usd is None:
        yield Text("the venture has no budget", style="dim")
    else:
        drawn = bar(profile.remaining_usd, profile.limit_usd, _BAR_WIDTH)
        style = "green" if profile.remaining_usd > 0 else "red"
        yield Text(drawn, style=style).append(f"\n{usd(profile.remaining_usd)}", style="default")


def _title(payer: Payer) -> Text:
    return Text(f"{payer.name} ({payer.id})", style="bold")


def _name(venture_id: UUID, names: Mapping[str, str]) -> Text:
    key = str(venture_id)
    text = Text(f"{printable(names[key])} " if key in names else "", style="bold")
    return text.append(key, style="dim")
