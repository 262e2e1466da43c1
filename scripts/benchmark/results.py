"""Ratios: each run against the floor of its own round, then the median over rounds."""

from __future__ import annotations

import math
from dataclasses import dataclass
from statistics import median
from typing import TYPE_CHECKING

from scripts.benchmark.cases import FLOOR

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Sequence

    from scripts.benchmark.schedule import Run


@dataclass(frozen=True, slots=True)
class Spread:
    """A figure over all rounds."""

    median: float
    low: float
    high: float

    @classmethod
    def of(cls, figures: Sequence[float]) -> Spread:
        """Summarize one figure per round; there is at least one."""
        return cls(median(figures), min(figures), max(figures))


def rate(run: Run) -> float:
    """Units per second."""
    return run.units_per_second


def p50(run: Run) -> float:
    """Milliseconds that half of the repetitions stayed within."""
    return run.outcome.latency.p50


def p99(run: Run) -> float:
    """Milliseconds that 99 of 100 repetitions stayed within."""
    return run.outcome.latency.p99


def wal(run: Run) -> float:
    """Bytes of WAL per repetition; infinite when they were not counted."""
    return math.inf if run.outcome.wal_bytes is None else run.outcome.wal_bytes


class Results:
    """The runs of a plan, looked up by what they measured."""

    def __init__(self, runs: Iterable[Run]) -> None:
        """Take the runs in any order."""
        self.runs = list(runs)

    def figure(
        self, of: Callable[[Run], float], case: str, clients: int, flush_ms: float
    ) -> Spread | None:
        """Return a figure over the rounds; None when it was not measured."""
        runs = self._by_round(case, clients, flush_ms)
        return Spread.of([of(run) for run in runs.values()]) if runs else None

    def ratio(
        self,
        of: Callable[[Run], float],
        case: str,
        clients: int,
        flush_ms: float,
        base: str = FLOOR,
    ) -> Spread | None:
        """Return a figure divided by that of another case in the same round."""
        runs = self._by_round(case, clients, flush_ms)
        bases = self._by_round(base, clients, flush_ms)
        ratios = [of(runs[number]) / of(bases[number]) for number in runs if number in bases]
        return Spread.of(ratios) if ratios else None

    @property
    def broken(self) -> list[Run]:
        """The runs in which something went wrong; there should be none."""
        return [run for run in self.runs if run.outcome.error or run.outcome.failed or run.findings]

    def _by_round(self, case: str, clients: int, flush_ms: float) -> dict[int, Run]:
        return {
            run.round: run
            for run in self.runs
            if (run.case, run.clients, run.flush_ms) == (case, clients, flush_ms)
        }
