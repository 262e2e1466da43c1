"""JSON without floats: decimals keep every digit in both directions.

The standard library reads fractions as `Decimal` when asked but cannot write them.
"""

from __future__ import annotations

import json
from collections.abc import Mapping
from decimal import Decimal

__all__ = ["dumps", "loads"]


def loads(text: str | bytes) -> object:
    """Parse JSON; numbers with a fraction or exponent become `Decimal`."""
    return json.loads(text, parse_float=Decimal)


def dumps(value: object) -> str:
    """Write JSON; a `Decimal` becomes a number with the same digits.

    Raises:
        TypeError: a value, or a key, that JSON does not have.
        ValueError: NaN or Infinity.
    """
    if isinstance(value, Mapping):
        return "{" + ", ".join(f"{_key(key)}: {dumps(item)}" for key, item in value.items()) + "}"
    if isinstance(value, list | tuple):
        return "[" + ", ".join(dumps(item) for item in value) + "]"
    if isinstance(value, Decimal):
        return _number(value)
    return json.dumps(value, allow_nan=False)


def _key(key: object) -> str:
    if not isinstance(key, str):
        raise TypeError(f"JSON keys are text, not {type(key).__name__}")
    return json.dumps(key)


def _number(value: Decimal) -> str:
    if not value.is_finite():
        raise ValueError("JSON has no NaN and no Infinity")
    return format(value, "f")
