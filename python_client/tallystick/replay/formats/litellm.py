"""LiteLLM's spend logs (table ``LiteLLM_SpendLogs``), as JSON lines or one JSON array.

Used are ``request_id``, ``startTime``, ``model``, ``prompt_tokens``, ``completion_tokens``,
``spend`` and ``session_id`` (the workflow). ``spend`` is a binary float over there, so its decimal
text may carry noise in the 17th digit: it is rounded once, half to even, at 12 decimals. A failed
call without tokens and without spend is not usage and is skipped.
"""

from __future__ import annotations

import json
from decimal import Decimal
from typing import TYPE_CHECKING

from tallystick.money import rounded
from tallystick.replay.formats.fields import Problem, count, moment, money, optional_text
from tallystick.replay.rows import UsageRow

if TYPE_CHECKING:
    from collections import Counter
    from collections.abc import Iterator, Mapping

_FAILED = "failed calls without usage"


def read(text: str, skipped: Counter[str]) -> Iterator[UsageRow]:
    """Yield the rows of spend logs."""
    for place, record in _records(text):
        row = UsageRow(
            place=place,
            at=moment(record, "startTime", place),
            model=optional_text(record, "model", place),
            prompt_tokens=count(record, "prompt_tokens", place),
            completion_tokens=count(record, "completion_tokens", place),
            workflow=optional_text(record, "session_id", place),
            request_id=optional_text(record, "request_id", place),
            cost=_spend(record, place),
        )
        if record.get("status") == "failure" and _is_empty(row):
            skipped[_FAILED] += 1
        else:
            yield row


def _spend(record: Mapping[str, object], place: str) -> Decimal | None:
    if record.get("spend") is None:
        return None
    return rounded(money(record, "spend", place))


def _is_empty(row: UsageRow) -> bool:
    return not (row.cost or row.prompt_tokens or row.completion_tokens)


def _records(text: str) -> Iterator[tuple[str, Mapping[str, object]]]:
    for place, source in _documents(text):
        if not isinstance(source, dict):
            raise Problem("a spend log must be a JSON object", place)
        yield place, source


def _documents(text: str) -> Iterator[tuple[str, object]]:
    if text.lstrip().startswith("["):
        entries = _parsed(text, "")
        for index, entry in enumerate(entries if isinstance(entries, list) else []):
            yield f"entry {index + 1}", entry
        return
    for number, line in enumerate(text.splitlines(), start=1):
        if line.strip():
            yield f"line {number}", _parsed(line, f"line {number}")


def _parsed(text: str, place: str) -> object:
    try:
        return json.loads(text, parse_float=Decimal)
    except json.JSONDecodeError as error:
        where = place or f"line {error.lineno}"
        raise Problem(f"this is not JSON: {error.msg}", where) from error
