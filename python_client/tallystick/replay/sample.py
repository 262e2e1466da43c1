"""A usage file of our own making, for the demo and for tests. It is not anybody's real usage.

One working day of a small company: four workflows that behave, and a research agent that gets
into a loop after lunch, sends its growing context again and again, and runs into its cap.
"""

from __future__ import annotations

import csv
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from io import StringIO
from random import Random
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Iterator

SEED = 20261121
_OPENS = datetime(2026, 11, 2, 9, 0, tzinfo=UTC)
_DAY_SECONDS = 8 * 3600


@dataclass(frozen=True, slots=True)
class _Workload:
    workflow: str
    model: str
    calls: int
    prompt_tokens: int  # typical
    completion_tokens: int  # typical


_STEADY = (
    _Workload("support-chat", "gpt-4o-mini", 420, 1_800, 260),
    _Workload("code-review", "claude-sonnet-4-5", 110, 3_900, 420),
    _Workload("document-search", "gemini-2.5-flash", 260, 5_200, 180),
    _Workload("weekly-report", "gpt-4o", 40, 6_500, 700),
)
_RUNAWAY = _Workload("research-agent", "claude-sonnet-4-5", 24, 2_500, 350)
_LOOP_CALLS = 90
_LOOP_SECONDS = 20
_LOOP_STARTS = 4.75 * 3600
_LOOP_GROWTH = 420  # tokens the context grows with each turn

_Line = tuple[datetime, str, str, int, int]


def sample_csv(seed: int = SEED) -> str:
    """Return the sample in our own CSV format; the same seed gives the same bytes."""
    text = StringIO()
    writer = csv.writer(text, lineterminator="\n")
    writer.writerow(["timestamp", "workflow", "model", "prompt_tokens", "completion_tokens"])
    for at, *rest in sorted(_lines(Random(seed))):  # noqa: S311 - a sample, not a secret
        writer.writerow([at.isoformat(timespec="seconds"), *rest])
    return text.getvalue()


def _lines(chance: Random) -> Iterator[_Line]:
    for workload in (*_STEADY, _RUNAWAY):
        for _ in range(workload.calls):
            yield _call(chance, workload, chance.random() * _DAY_SECONDS, 0)
    for turn in range(_LOOP_CALLS):
        second = _LOOP_STARTS + turn * _LOOP_SECONDS
        yield _call(chance, _RUNAWAY, second, turn * _LOOP_GROWTH)


def _call(chance: Random, workload: _Workload, second: float, grown: int) -> _Line:
    return (
        _OPENS + timedelta(seconds=int(second)),
        workload.workflow,
        workload.model,
        int(workload.prompt_tokens * (0.5 + chance.random())) + grown,
        int(workload.completion_tokens * (0.5 + chance.random())),
    )
