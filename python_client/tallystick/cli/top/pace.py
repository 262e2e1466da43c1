"""How fast money is being spent: what was added between one look at the rollups and the next."""

from __future__ import annotations

from collections import deque
from dataclasses import dataclass
from datetime import timedelta
from decimal import Decimal
from typing import TYPE_CHECKING

from tallystick.cli.top.board import NOTHING, Amount, together

if TYPE_CHECKING:
    from collections.abc import Mapping
    from uuid import UUID

    from tallystick.cli.top.board import Days

WINDOW = timedelta(minutes=5)
_MINUTE = timedelta(minutes=1)


@dataclass(frozen=True, slots=True)
class Rate:
    """What is spent in a minute, on average over some time.

    Attributes:
        requests: usages per minute.
        usd: US dollars per minute.
        over: the time that was looked at.
    """

    requests: Decimal
    usd: Decimal
    over: timedelta


@dataclass(frozen=True, slots=True)
class _Step:
    """What each organization spent from one look to the next."""

    begin: timedelta
    end: timedelta
    spent: Mapping[UUID, Amount]


class Pace:
    """Remembers the last minutes, a step per look."""

    def __init__(self) -> None:
        """Begin without any look."""
        self._steps: deque[_Step] = deque()
        self._last: tuple[timedelta, Days] | None = None

    def look(self, at: timedelta, days: Days) -> None:
        """Take a look; `at` is the time since any fixed moment."""
        if self._last is not None:
            begin, before = self._last
            self._steps.append(_Step(begin, at, _added(before, days)))
        self._last = (at, days)
        while self._steps and self._steps[0].begin < at - WINDOW:
            self._steps.popleft()

    def rate(self, organization_id: UUID | None = None) -> Rate | None:
        """Return the rate of an organization or of all; None before the second look."""
        if not self._steps:
            return None
        over = self._steps[-1].end - self._steps[0].begin
        spent = together(_of(step, organization_id) for step in self._steps)
        minutes = Decimal(over // timedelta(microseconds=1)) / (
            _MINUTE // timedelta(microseconds=1)
        )
        return Rate(spent.number / minutes, spent.usd / minutes, over)

    def steps(self) -> list[Decimal]:
        """Return the US dollars of each step, of all organizations together."""
        return [_of(step, None).usd for step in self._steps]


def _of(step: _Step, organization_id: UUID | None) -> Amount:
    if organization_id is None:
        return together(step.spent.values())
    return step.spent.get(organization_id, NOTHING)


def _added(before: Days, after: Days) -> dict[UUID, Amount]:
    """Return what was added to the days; a day that is not looked at any more adds nothing."""
    added = {}
    for owner, days in after.items():
        known = before.get(owner, {})
        grown = [(amount, known.get(day, NOTHING)) for day, amount in days.items()]
        spent = together(
            Amount(new.number - old.number, new.usd - old.usd) for new, old in grown if new != old
        )
        if spent != NOTHING:
            added[owner] = spent
    return added
