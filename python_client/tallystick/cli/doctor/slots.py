"""Watching for callers that wait for each other's counters: those budgets need more slots.

A caller waits for a counter for as long as another's commit takes, so one look says little. Looks
at many instants add up to how often, and how many.
"""

from __future__ import annotations

import time
from collections import defaultdict
from typing import TYPE_CHECKING

from tallystick.cli.doctor.diagnosis import Diagnosis, advice, ok
from tallystick.cli.program import program
from tallystick.figures import counted

if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence

    from tallystick.client import Client
    from tallystick.models import WaitingBudget

FEWEST, MOST = 16, 256  # slots to advise
_PAUSE = 0.05  # seconds between two looks
_OFTEN = 0.1  # of the looks


def watch(client: Client, seconds: float) -> list[list[WaitingBudget]]:
    """Look again and again for some seconds, once at least; return what each look saw."""
    looks = [client.waiting_budgets()]
    end = time.monotonic() + seconds
    while time.monotonic() < end:
        time.sleep(_PAUSE)
        looks.append(client.waiting_budgets())
    return looks


def judge_slots(looks: Sequence[Sequence[WaitingBudget]]) -> Iterator[Diagnosis]:
    """Advise more slots for every budget that callers were often seen to wait for."""
    queues: defaultdict[tuple[object, object], list[WaitingBudget]] = defaultdict(list)
    for look in looks:
        for seen in look:
            queues[seen.organization_id, seen.budget_id].append(seen)
    busy = [queue for queue in queues.values() if len(queue) >= _OFTEN * len(looks)]
    for queue in busy:
        yield _advise(queue, len(looks))
    if not busy:
        yield ok("slots", f"no budget is often waited for ({counted(len(looks), 'look')})")


def _advise(queue: Sequence[WaitingBudget], looks: int) -> Diagnosis:
    budget = queue[-1]
    most = max(seen.waiting for seen in queue)
    who = f"{budget.scope} {budget.scope_id or budget.organization_id}, {budget.time_window}"
    text = (
        f"callers wait for {who} in {100 * len(queue) // looks} % of {looks:,} looks, up to "
        f"{most:,} at once; it has {counted(budget.slot_count, 'slot')}"
    )
    slots = enough_slots(budget.slot_count, most)
    if slots == budget.slot_count:
        return advice("slots", f"{text}, the most there can be")
    return advice("slots", text, f"{program()} budgets change {budget.budget_id} --slots {slots}")


def enough_slots(present: int, waiting: int) -> int:
    """Return twice as many slots as callers at once, a power of two.

    Beside those that wait, every present slot keeps one caller busy.
    """
    wanted = 2 * (present + waiting)
    return min(max(1 << (wanted - 1).bit_length(), FEWEST), MOST)
