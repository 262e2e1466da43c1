"""The bars of a plot: one per day, or per month where days would be too many to be told apart."""

from __future__ import annotations

import math
from dataclasses import dataclass
from datetime import timedelta
from typing import TYPE_CHECKING

from tallystick.money import total

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping, Sequence
    from datetime import date
    from decimal import Decimal

    from tallystick.cli.report.spend import Report

_YEAR = 366  # days: a longer time has a bar per month
_QUARTER = 70  # days: a longer time is labelled by month
_MOST_LABELS = 10


@dataclass(frozen=True, slots=True)
class Bins:
    """The first days of the bars, and whether each stands for its month."""

    starts: Sequence[date]
    monthly: bool

    @property
    def unit(self) -> str:
        """What a bar stands for."""
        return "month" if self.monthly else "day"

    @property
    def crowded(self) -> bool:
        """Whether bars are too many to stand apart, or to be labelled as days."""
        return len(self.starts) > _QUARTER

    def sums(self, costs: Mapping[date, Decimal]) -> list[Decimal]:
        """Return the sum of each bar."""
        found: dict[date, list[Decimal]] = {start: [] for start in self.starts}
        for day, cost in costs.items():
            found[_month(day) if self.monthly else day].append(cost)
        return [total(each) for each in found.values()]

    def labels(self) -> dict[int, str]:
        """Return what is written below bars, by their number: below as many as have the room."""
        if self.crowded and not self.monthly:
            return self._months([number for number, day in enumerate(self.starts) if day.day == 1])
        step = math.ceil(len(self.starts) / _MOST_LABELS)
        shown = range(0, len(self.starts), step)
        if self.monthly:
            return self._months(shown)
        return {number: f"{self.starts[number].day} {self.starts[number]:%b}" for number in shown}

    def _months(self, shown: Sequence[int]) -> dict[int, str]:
        """Name months, and the year where it is a new one."""
        labels, year = {}, None
        for number in shown:
            start = self.starts[number]
            labels[number] = f"{start:%b}" if start.year == year else f"{start:%b}\n{start.year}"
            year = start.year
        return labels


def bins(report: Report) -> Bins:
    """Return the bars for a report."""
    days = list(_days(*_span(report)))
    monthly = len(days) > _YEAR
    return Bins(list(dict.fromkeys(map(_month, days))) if monthly else days, monthly)


def _span(report: Report) -> tuple[date, date]:
    """Return the days to show: the period; of a long one, what lies between days with spend."""
    if (report.last - report.first).days < _YEAR:
        return report.first, report.last
    return min(report.days), max(report.days)


def _days(first: date, last: date) -> Iterator[date]:
    for number in range((last - first).days + 1):
        yield first + timedelta(number)


def _month(day: date) -> date:
    return day.replace(day=1)
