"""Reading what was spent in a period: from the rollups, never from the ledger."""

from __future__ import annotations

from contextlib import contextmanager
from dataclasses import dataclass
from datetime import date
from decimal import Decimal, localcontext
from enum import StrEnum
from typing import TYPE_CHECKING, LiteralString

from psycopg import sql
from psycopg.rows import class_row

from tallystick.cli.report.names import printable, read_names
from tallystick.money import PRECISION, total

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping, Sequence
    from uuid import UUID

    from tallystick.organizations import AnyConnection


class By(StrEnum):
    """What spend is told apart by; each has its view, `metering.spend_by_...`."""

    day = "day"
    model = "model"
    workflow = "workflow"
    user = "user"
    tag = "tag"


_COLUMNS = {By.workflow: "workflow_id", By.user: "user_id"}  # the others are named as the view
PARTIAL = (By.workflow, By.user)
"""What a usage need not name."""


@dataclass(frozen=True, slots=True)
class Calendar:
    """An organization's name, its time zone, and the present day there."""

    name: str
    time_zone: str
    today: date


@dataclass(frozen=True, slots=True, kw_only=True)
class Spend:
    """Sums of some usages.

    Attributes:
        key: a day, model, workflow, user or tag; None for what names none, or for several.
        requests: how many usages.
        prompt_tokens: tokens sent.
        completion_tokens: tokens received.
        cost: US dollars.
    """

    key: str | None
    requests: int
    prompt_tokens: int
    completion_tokens: int
    cost: Decimal


@dataclass(frozen=True, slots=True, kw_only=True)
class Report:
    """What an organization spent in a period.

    Attributes:
        organization_id: who pays.
        calendar: its name and time zone.
        by: what the lines are told apart by.
        first: the first day.
        last: the last day, which counts too.
        total: all spend of the period.
        lines: by day in order, else the dearest first. Tags do not add up to the total.
        days: US dollars of each day that has any usage.
    """

    organization_id: UUID
    calendar: Calendar
    by: By
    first: date
    last: date
    total: Spend
    lines: Sequence[Spend]
    days: Mapping[date, Decimal]


_CALENDAR: LiteralString = """
select name, time_zone, (private.clock_now() at time zone time_zone)::date as today
from tenancy.organizations where id = %s
"""

_LINES: LiteralString = """
select
  {key}::text as key,
  sum(requests)::bigint as requests,
  sum(prompt_tokens)::bigint as prompt_tokens,
  sum(completion_tokens)::bigint as completion_tokens,
  sum(cost) as cost
from {view}
where organization_id = %(organization)s and day between %(first)s and %(last)s
group by 1
order by cost desc, requests desc, key
limit %(limit)s
"""


@contextmanager
def snapshot(connection: AnyConnection) -> Iterator[None]:
    """Let everything that is read in the block be of one moment."""
    with connection.transaction():
        connection.execute("set transaction isolation level repeatable read, read only")
        yield


def read_calendar(connection: AnyConnection, organization_id: UUID) -> Calendar:
    """Return the calendar of an organization, by the database's clock."""
    with connection.cursor(row_factory=class_row(Calendar)) as cursor:
        (calendar,) = cursor.execute(_CALENDAR, [organization_id]).fetchall()
        return calendar


def read_report(
    connection: AnyConnection,
    organization_id: UUID,
    calendar: Calendar,
    by: By,
    first: date,
    last: date,
) -> Report:
    """Read the spend from a first to a last day, both included."""
    days = read_lines(connection, organization_id, By.day, first, last)
    days.sort(key=lambda line: line.key or "")
    whole = added(days)
    lines = days if by == By.day else read_lines(connection, organization_id, by, first, last)
    if by in PARTIAL:
        lines += _without(whole, lines)
        lines.sort(key=lambda line: (-line.cost, -line.requests))
    return Report(
        organization_id=organization_id,
        calendar=calendar,
        by=by,
        first=first,
        last=last,
        total=whole,
        lines=lines,
        days={date.fromisoformat(day.key or ""): day.cost for day in days},
    )


def read_lines(
    connection: AnyConnection,
    organization_id: UUID,
    by: By,
    first: date,
    last: date,
    *,
    limit: int | None = None,
) -> list[Spend]:
    """Read what was spent on each key, the dearest first: all of them, or `limit`."""
    with connection.cursor(row_factory=class_row(Spend)) as cursor:
        cursor.execute(
            on_view(_LINES, by),
            {"organization": organization_id, "first": first, "last": last, "limit": limit},
        )
        return cursor.fetchall()


def read_line_names(
    connection: AnyConnection, report: Report, lines: Sequence[Spend]
) -> dict[str, str]:
    """Return the names of lines whose key is an id, by that id."""
    keys = [line.key for line in lines if line.key is not None]
    return read_names(connection, report.by, report.organization_id, keys)


def label(report: Report, line: Spend, names: Mapping[str, str]) -> str:
    """Say what a line is of: its name, else its key."""
    if line.key is None:
        return f"(no {report.by})"
    return printable(names.get(line.key, line.key))


def added(lines: Sequence[Spend]) -> Spend:
    """Return the sum of lines."""
    return Spend(
        key=None,
        requests=sum(line.requests for line in lines),
        prompt_tokens=sum(line.prompt_tokens for line in lines),
        completion_tokens=sum(line.completion_tokens for line in lines),
        cost=total([line.cost for line in lines]),
    )


def _without(whole: Spend, lines: Sequence[Spend]) -> list[Spend]:
    """Return what is in no line, where there is any."""
    named = added(lines)
    if named.requests == whole.requests:
        return []
    with localcontext(prec=PRECISION):
        return [
            Spend(
                key=None,
                requests=whole.requests - named.requests,
                prompt_tokens=whole.prompt_tokens - named.prompt_tokens,
                completion_tokens=whole.completion_tokens - named.completion_tokens,
                cost=whole.cost - named.cost,
            )
        ]


def on_view(query: LiteralString, by: By) -> sql.Composed:
    """Return a query with the view, and its column, that it is to read."""
    return sql.SQL(query).format(
        key=sql.Identifier(_COLUMNS.get(by, by.value)),
        view=sql.Identifier("metering", f"spend_by_{by}"),
    )
