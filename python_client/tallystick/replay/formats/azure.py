"""The Azure LLM inference traces: ``TIMESTAMP,ContextTokens,GeneratedTokens``.

Published by Microsoft in the Azure Public Dataset (2023 and 2024, code and conversation). They
name no model and no price, so a replay needs ``--model``.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from tallystick.replay.formats.fields import count, csv_records, moment
from tallystick.replay.rows import UsageRow

if TYPE_CHECKING:
    from collections import Counter
    from collections.abc import Iterator

COLUMNS = frozenset({"TIMESTAMP", "ContextTokens", "GeneratedTokens"})


def read(text: str, _skipped: Counter[str]) -> Iterator[UsageRow]:
    """Yield the rows of an Azure trace."""
    for place, record in csv_records(text, sorted(COLUMNS)):
        yield UsageRow(
            place=place,
            at=moment(record, "TIMESTAMP", place),
            model=None,
            prompt_tokens=count(record, "ContextTokens", place),
            completion_tokens=count(record, "GeneratedTokens", place),
        )
