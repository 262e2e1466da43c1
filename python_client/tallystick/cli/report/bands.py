"""What a plot of a report shows: the dearest keys day by day, and the others together."""

from __future__ import annotations

from collections import Counter
from dataclasses import dataclass
from decimal import Decimal, localcontext
from typing import TYPE_CHECKING, LiteralString

from psycopg.rows import class_row

from tallystick.cli.report.names import tail
from tallystick.cli.report.spend import PARTIAL, By, label, on_view, read_line_names
from tallystick.figures import counted
from tallystick.money import PRECISION, total

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence
    from datetime import date

    from tallystick.cli.report.spend import Report, Spend
    from tallystick.organizations import AnyConnection

_MOST = 9  # as many as are told apart by their colours


@dataclass(frozen=True, slots=True)
class Band:
    """What is drawn in one colour: the label, US dollars by day, and whether it is all the rest."""

    label: str
    costs: Mapping[date, Decimal]
    others: bool = False


@dataclass(frozen=True, slots=True)
class _Cost:
    day: date
    key: str | None
    cost: Decimal


# Of each day the keys that are asked for, and the others together.
_COSTS: LiteralString = """
select day, case when {key}::text = any(%(keys)s) then {key}::text end as key, sum(cost) as cost
from {view}
where organization_id = %(organization)s and day between %(first)s and %(last)s
group by 1, 2
"""


def read_bands(connection: AnyConnection, report: Report) -> list[Band]:
    """Read what a plot shows: each day's spend by the dearest keys, and that of all others."""
    if report.by == By.day:
        return [Band("", report.days)]
    drawn = list(report.lines)
    if len(drawn) > _MOST:
        drawn = drawn[: _MOST - 1]
    keys = [line.key for line in drawn if line.key is not None]
    costs = _costs(connection, report, keys)
    rest = costs.pop(None, {})
    if report.by in PARTIAL:
        without = _less(report.days, [*costs.values(), rest])
        if any(line.key is None for line in drawn):
            costs[None] = without
        else:
            rest = _plus(rest, without)
    labels = _labels(report, drawn, read_line_names(connection, report, drawn))
    bands = [Band(text, costs[line.key]) for text, line in zip(labels, drawn, strict=True)]
    if len(drawn) < len(report.lines):
        bands.append(Band(counted(len(report.lines) - len(drawn), "other"), rest, others=True))
    return bands


def _costs(
    connection: AnyConnection, report: Report, keys: Sequence[str]
) -> dict[str | None, dict[date, Decimal]]:
    """Return the cost by key and day; None stands for every other key."""
    costs: dict[str | None, dict[date, Decimal]] = {}
    with connection.cursor(row_factory=class_row(_Cost)) as cursor:
        cursor.execute(
            on_view(_COSTS, report.by),
            {
                "organization": report.organization_id,
                "first": report.first,
                "last": report.last,
                "keys": list(keys),
            },
        )
        for row in cursor:
            costs.setdefault(row.key, {})[row.day] = row.cost
    return costs


def _plus(one: Mapping[date, Decimal], other: Mapping[date, Decimal]) -> dict[date, Decimal]:
    days = one.keys() | other.keys()
    return {day: total([one.get(day, Decimal(0)), other.get(day, Decimal(0))]) for day in days}


def _less(
    whole: Mapping[date, Decimal], parts: Sequence[Mapping[date, Decimal]]
) -> dict[date, Decimal]:
    with localcontext(prec=PRECISION):
        return {
            day: cost - total([part.get(day, Decimal(0)) for part in parts])
            for day, cost in whole.items()
        }


def _labels(report: Report, lines: Sequence[Spend], names: Mapping[str, str]) -> list[str]:
    """Say what lines are of; where names are missing or the same, by the end of the id."""
    labels = [label(report, line, names) for line in lines]
    times = Counter(labels)
    for number, line in enumerate(lines):
        if report.by in PARTIAL and line.key is not None:
            if line.key not in names:
                labels[number] = tail(line.key)
            elif times[labels[number]] > 1:
                labels[number] += f" {tail(line.key)}"
    return labels
