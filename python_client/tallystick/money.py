"""Exact money: US dollars with 12 decimals, rounded once."""

from __future__ import annotations

from decimal import ROUND_HALF_EVEN, Decimal, localcontext

_LAST_DIGIT = Decimal("1e-12")
PRECISION = 60  # significant digits while calculating; the ledger holds 24


def rounded(amount: Decimal) -> Decimal:
    """Round half to even at 12 decimals, as the database does for what it derives."""
    with localcontext(prec=PRECISION):
        return amount.quantize(_LAST_DIGIT, rounding=ROUND_HALF_EVEN)


def total(amounts: list[Decimal]) -> Decimal:
    """Add amounts without losing a digit."""
    with localcontext(prec=PRECISION):
        return sum(amounts, start=Decimal(0))
