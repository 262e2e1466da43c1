"""Prices as tables: what a model costs by service tier and context, and what a list changed."""

from __future__ import annotations

from collections import Counter
from datetime import UTC
from decimal import Decimal
from typing import TYPE_CHECKING

from rich import box
from rich.console import Group
from rich.table import Table
from rich.text import Text

from tallystick.figures import counted
from tallystick.models import ALWAYS

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping, Sequence
    from datetime import datetime

    from rich.console import RenderableType

    from tallystick.models import CurrentPrice, Price, PriceChange
    from tallystick.pricing.genai import Skipped

_USUAL = ("input_tokens", "cache_read_tokens", "cache_write_5m_tokens", "output_tokens")
_HEADINGS = {
    "input_tokens": "input",
    "cache_read_tokens": "cache read",
    "cache_write_5m_tokens": "cache write",
    "output_tokens": "output",
}
_PARTS = {  # a class, and what it costs as much as where it has no rate of its own
    "cache_write_1h_tokens": "cache_write_5m_tokens",
    "input_audio_tokens": "input_tokens",
    "cache_read_audio_tokens": "cache_read_tokens",
    "input_image_tokens": "input_tokens",
    "cache_read_image_tokens": "cache_read_tokens",
    "reasoning_tokens": "output_tokens",
    "output_audio_tokens": "output_tokens",
    "output_image_tokens": "output_tokens",
}
_UNITS = ("requests", "web_searches", "file_searches")
_THOUSAND = Decimal("0.001")  # rates are per million; these are told per thousand


def listing(prices: Sequence[CurrentPrice | Price]) -> RenderableType:
    """Return the rates of prices, US dollars per million tokens."""
    grid = Table(box=box.SIMPLE_HEAD, padding=(0, 1, 0, 0))
    grid.add_column("price", overflow="fold")
    for name in _USUAL:
        grid.add_column(_HEADINGS[name], justify="right")
    grid.add_column("also", overflow="fold")
    for price in prices:
        for index, tier in enumerate(price.rates or ()):
            grid.add_row(
                Text("\n").join(_identity(price) if index == 0 else ()),
                *(str(tier[name]) for name in _USUAL),
                Text("\n").join(Text(line, style="dim") for line in _rest(tier)),
            )
    return Group(grid, Text("US dollars per million tokens.", style="dim"))


def changes(
    found: Sequence[PriceChange], skipped: Sequence[Skipped], *, most: int | None
) -> RenderableType:
    """Return what a list changed, or would change, in numbers and the first changes one by one."""
    parts: list[RenderableType] = [Text(_summary(found), style="bold")]
    if shown := list(found[:most]):
        parts.append(_change_table(shown))
    if len(shown) < len(found):
        parts.append(
            Text(f"{len(found) - len(shown):,} more; --all shows everything.", style="dim")
        )
    if skipped:
        reasons = Counter(_kind(each.reason) for each in skipped).most_common()
        told = ", ".join(f"{number:,} {kind}" for kind, number in reasons)
        parts.append(
            Text(f"Left out of the list, to be priced by hand: {told}.", style="dim"),
        )
    return Group(*parts)


def since(moment: datetime) -> str:
    """Show from when on a price holds."""
    if moment == ALWAYS:
        return "always"
    at = moment.astimezone(UTC)
    return f"{at:%Y-%m-%d}" if (at.hour, at.minute) == (0, 0) else f"{at:%Y-%m-%d %H:%M}"


def _identity(price: CurrentPrice | Price) -> Iterator[Text]:
    yield Text(f"{price.provider} {price.model}", style="bold")
    yield Text(price.service_tier)
    yield Text(f"since {since(price.effective_from)}, {price.source}", style="dim")
    if getattr(price, "is_stale", False):
        yield Text("stale: grants nothing until it is checked", style="red")


def _rest(tier: Mapping[str, object]) -> Iterator[str]:
    if tier["above_input_tokens"]:
        yield f"prompts above {tier['above_input_tokens']:,} tokens"
    for name, whole in _PARTS.items():
        if tier[name] != tier[whole]:
            yield f"{_spoken(name)} {tier[name]}"
    for name in _UNITS:
        if tier[name] != "0":
            dollars = (Decimal(str(tier[name])) * _THOUSAND).normalize()
            yield f"{_spoken(name)} {dollars:f} a thousand"


def _kind(reason: str) -> str:
    if reason.startswith("it is priced by "):
        return "priced by what is not counted, such as hours of audio or pages"
    return {
        "it has no price": "without any price",
        "its price changes with the time of day": "priced by the time of day",
    }.get(reason, reason)


def _spoken(name: str) -> str:
    return name.removesuffix("_tokens").replace("_", " ")


def _summary(found: Sequence[PriceChange]) -> str:
    if not found:
        return "Nothing has changed."
    by_kind = Counter(change.change for change in found)
    words = {"added": "added", "changed": "changed", "ended": "ended", "kept": "kept by hand"}
    told = (f"{by_kind[kind]:,} {word}" for kind, word in words.items() if by_kind[kind])
    return f"{counted(len(found), 'price')}: {', '.join(told)}."


def _change_table(found: Sequence[PriceChange]) -> RenderableType:
    grid = Table(box=box.SIMPLE_HEAD, padding=(0, 1, 0, 0))
    for heading in ("", "model", "from"):
        grid.add_column(heading, overflow="fold")
    for heading in ("input", "output"):
        grid.add_column(heading, justify="right", overflow="fold")
    for change in found:
        tier = "" if change.service_tier == "standard" else f" ({change.service_tier})"
        grid.add_row(
            change.change,
            f"{change.provider} {change.model}{tier}",
            since(change.effective_from),
            *(_move(change, name) for name in ("input_tokens", "output_tokens")),
        )
    return grid


def _move(change: PriceChange, name: str) -> str:
    old, new = (
        None if rates is None else str(rates[0][name])
        for rates in (change.old_rates, change.new_rates)
    )
    if old is None or new is None or old == new:
        return new or f"{old} -> none"
    return f"{old} -> {new}"
