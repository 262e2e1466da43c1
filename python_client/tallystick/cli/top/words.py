"""Figures for a screen that is read at a glance; exact ones are in the other commands."""

from __future__ import annotations

from decimal import Decimal

_LEAST, _MUCH = Decimal("0.0001"), 10_000


def short(amount: Decimal) -> str:
    """Show money in at most eight characters, as long as it is less than a million dollars."""
    size = abs(amount)
    if 0 < size < _LEAST:
        return f"<${_LEAST}"
    decimals = 4 if 0 < size < 1 else 2 if size < _MUCH else 0
    return f"{'-' if amount < 0 else ''}${size:,.{decimals}f}"
