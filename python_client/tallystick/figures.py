"""How figures are shown on a terminal: money, times, and small charts of block characters."""

from __future__ import annotations

from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Sequence
    from datetime import timedelta
    from decimal import Decimal

_EIGHTHS_UP = " ▁▂▃▄▅▆▇█"
_EIGHTHS_RIGHT = " ▏▎▍▌▋▊▉█"
_EIGHTHS = 8
_UNITS = ((86_400, "d"), (3_600, "h"), (60, "min"))


def usd(amount: Decimal) -> str:
    """Show money exactly: every digit that is there, two decimals at least."""
    sign, text = "-" if amount < 0 else "", format(abs(amount).normalize(), ",f")
    decimals = len(text.partition(".")[2])
    return f"{sign}${text}" if decimals > 1 else f"{sign}${abs(amount):,.2f}"


def counted(number: int, noun: str) -> str:
    """Show a number of things: "1 slot", "2 slots"."""
    return f"{number:,} {noun}" if number == 1 else f"{number:,} {noun}s"


def lasting(time: timedelta) -> str:
    """Show a time in its largest unit of which it has two."""
    seconds = max(int(time.total_seconds()), 0)
    size, unit = next((each for each in _UNITS if seconds >= 2 * each[0]), (1, "s"))
    return f"{seconds // size:,} {unit}"


def columns(values: Sequence[Decimal], height: int) -> list[str]:
    """Draw one column per value, the largest `height` lines high; lines from top to bottom.

    Anything above zero shows at least an eighth.
    """
    levels = [_level(value, max(values), height) for value in values]
    return [
        "".join(_EIGHTHS_UP[_clamp(level - row * _EIGHTHS)] for level in levels)
        for row in reversed(range(height))
    ]


def bar(value: Decimal, largest: Decimal, width: int) -> str:
    """Draw a bar of at most `width` characters, in proportion to the largest value."""
    level = _level(value, largest, width)
    return "".join(_EIGHTHS_RIGHT[_clamp(level - cell * _EIGHTHS)] for cell in range(width))


def _level(value: Decimal, largest: Decimal, cells: int) -> int:
    if value <= 0:
        return 0
    return max(1, int(value * cells * _EIGHTHS / largest))


def _clamp(level: int) -> int:
    return min(max(level, 0), _EIGHTHS)
