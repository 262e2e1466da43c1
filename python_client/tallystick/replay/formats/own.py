"""Our own CSV, for usage from anywhere else.

============================ ============= =====================================================
column                       needed        meaning
============================ ============= =====================================================
``timestamp``                yes           when: ISO 8601 (without a zone: UTC) or Unix seconds
``model``                    or --model    the model's name; prices are looked up by it
``prompt_tokens``            yes           tokens sent
``completion_tokens``        yes           tokens received
``workflow``                 no            name or UUID of the workflow that spends
``request_id``               no            the call's own id, 1 to 255 characters
``cost``                     no            US dollars, at most 12 decimals; empty: looked up
============================ ============= =====================================================

Any order; an unknown column is an error, because a misspelt ``cost`` would be ignored in silence.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from tallystick.replay.formats.fields import (
    MONEY_DECIMALS,
    Problem,
    count,
    csv_records,
    moment,
    money,
    optional_text,
)
from tallystick.replay.rows import UsageRow

if TYPE_CHECKING:
    from collections import Counter
    from collections.abc import Iterator, Mapping
    from decimal import Decimal

REQUIRED = frozenset({"timestamp", "prompt_tokens", "completion_tokens"})
OPTIONAL = frozenset({"model", "workflow", "request_id", "cost"})


def read(text: str, _skipped: Counter[str]) -> Iterator[UsageRow]:
    """Yield the rows of our own CSV."""
    for place, record in csv_records(text, sorted(REQUIRED)):
        unknown = record.keys() - REQUIRED - OPTIONAL
        if unknown:
            known = ", ".join(sorted(REQUIRED | OPTIONAL))
            raise Problem(f"unknown column {min(unknown)!r}; known are {known}", "line 1")
        yield UsageRow(
            place=place,
            at=moment(record, "timestamp", place),
            model=optional_text(record, "model", place),
            prompt_tokens=count(record, "prompt_tokens", place),
            completion_tokens=count(record, "completion_tokens", place),
            workflow=optional_text(record, "workflow", place),
            request_id=optional_text(record, "request_id", place),
            cost=_stated_cost(record, place) if record.get("cost") else None,
        )


def _stated_cost(record: Mapping[str, str], place: str) -> Decimal:
    cost = money(record, "cost", place).normalize()
    if -int(cost.as_tuple().exponent) > MONEY_DECIMALS:
        raise Problem(f"cost has more than {MONEY_DECIMALS} decimals: {record['cost']!r}", place)
    return cost
