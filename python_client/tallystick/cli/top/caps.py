"""How a cap is drawn: the part of it that is used."""

from __future__ import annotations

from decimal import Decimal
from typing import TYPE_CHECKING

from rich.text import Text

from tallystick.figures import bar

if TYPE_CHECKING:
    from tallystick.cli.top.board import Cap

_LITTLE = Decimal("0.2")  # of the limit
_ALL = Decimal(1)


def use_bar(cap: Cap, width: int) -> Text:
    """Draw what is settled and, dimmed behind it, what is held."""
    drawn = bar(_part(cap, cap.settled_usd + cap.held_usd), _ALL, width)
    settled = len(bar(_part(cap, cap.settled_usd), _ALL, width).rstrip())
    text = Text().append(drawn, style=f"{_colour(cap)} on grey23")
    text.stylize("dim", settled)
    return text


def used(cap: Cap) -> str:
    """Say how much of it is used, in percent."""
    return f"{100 * _part(cap, cap.settled_usd + cap.held_usd):.0f} %"


def _part(cap: Cap, amount: Decimal) -> Decimal:
    """Return an amount in proportion to the limit; of a limit of nothing, all is used."""
    return min(amount / cap.limit_usd, _ALL) if cap.limit_usd else _ALL


def _colour(cap: Cap) -> str:
    if cap.remaining_usd <= 0:
        return "red"
    return "yellow" if cap.remaining_usd < _LITTLE * cap.limit_usd else "green"
