"""What the hot path promises, and whether this measurement keeps it."""

from __future__ import annotations

import operator
from dataclasses import dataclass
from typing import TYPE_CHECKING, Final

from scripts.benchmark.cases import BATCH_SIZE, FLOOR
from scripts.benchmark.results import Results, p99, rate, wal

if TYPE_CHECKING:
    from collections.abc import Callable

    from scripts.benchmark.results import Spread
    from scripts.benchmark.schedule import Run

_MANY: Final = 32  # clients
NETWORK_VOLUME: Final = 1.0  # milliseconds a flush takes on one


@dataclass(frozen=True, slots=True)
class Goal:
    """A bound on one figure, most often on its ratio to another case in the same round.

    Attributes:
        text: What is promised.
        relation: Which side of the bound is the good one: "≥", "≤" or "<".
        bound: The bound.
        case: The case it is about.
        base: The case it is compared with; None for a bound on the figure itself.
        clients: With how many clients.
        flush_ms: By how many milliseconds a flush is prolonged.
        of: Which figure of a run.
    """

    text: str
    relation: str
    bound: float
    case: str
    base: str | None = FLOOR
    clients: int = _MANY
    flush_ms: float = 0
    of: Callable[[Run], float] = rate

    @property
    def wanted(self) -> str:
        """The bound in words, e.g. "≥ 0.33"."""
        return f"{self.relation} {self.bound:.2f}"

    def measured(self, results: Results) -> Spread | None:
        """Return the figure; None when it was not measured."""
        if self.base is None:
            return results.figure(self.of, self.case, self.clients, self.flush_ms)
        return results.ratio(self.of, self.case, self.clients, self.flush_ms, self.base)

    def is_met(self, results: Results) -> bool | None:
        """Return whether the median keeps the promise; None when it was not measured."""
        measured = self.measured(results)
        return None if measured is None else _RELATIONS[self.relation](measured.median, self.bound)


_RELATIONS: Final[dict[str, Callable[[float, float], bool]]] = {
    "≥": operator.ge,
    "≤": operator.le,
    "<": operator.lt,
}

GOALS: Final = [
    Goal("pair, one client", "≥", 0.33, "pair_uncontended", clients=1),
    Goal("pair on one organization", "≥", 0.24, "pair_hot_organization"),
    Goal(
        "the same with a flush of 1 ms",
        "≥",
        0.17,
        "pair_hot_organization",
        flush_ms=NETWORK_VOLUME,
    ),
    Goal(
        "one organization against a thousand",
        "≥",
        0.65,
        "pair_hot_organization",
        base="pair_uncontended",
    ),
    Goal("its p99 against the floor's", "≤", 5, "pair_hot_organization", of=p99),
    Goal(
        "one workflow against one organization",
        "≥",
        1 / 3,
        "pair_hot_workflow",
        base="pair_hot_organization",
    ),
    Goal("pair paid in advance against the pair", "≥", 0.80, "pair_draw", base="pair_uncontended"),
    Goal("pair in runs against the pair", "≥", 0.80, "pair_run", base="pair_uncontended"),
    Goal("refusals", "≥", 2, "refusals"),
    Goal("bytes of WAL per refusal", "<", 1, "refusals", base=None, of=wal),
    Goal(f"rows settled in batches of {BATCH_SIZE}", "≥", 8, "settle_batch"),
]
