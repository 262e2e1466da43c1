"""What a statement comes to: the proof that it adds up, and what its parts are called."""

from __future__ import annotations

from calendar import monthrange
from datetime import UTC, date
from typing import TYPE_CHECKING
from zoneinfo import ZoneInfo, ZoneInfoNotFoundError

from tallystick.cli.report.spend import By, Report, Spend, added
from tallystick.figures import usd
from tallystick.money import total

if TYPE_CHECKING:
    from datetime import tzinfo
    from decimal import Decimal

    from tallystick.cli.report.spend import Calendar
    from tallystick.models import Statement

USAGE_IS_NOT_CHARGES = (
    "Usage is charged when its run ends or, outside runs, when its day is over: "
    "usage and charges of a month need not be the same."
)


class DoesNotAddUp(Exception):  # noqa: N818 - named after what happened
    """A statement contradicts itself; the message says where."""


def assert_adds_up(statement: Statement) -> None:
    """Prove that opening balance and movements are the closing balance, and usage is one figure.

    Raises:
        DoesNotAddUp: they are not.
    """
    balance = statement.opening_balance_usd
    for movement in statement.movements:
        balance = total([balance, movement.change_usd])
        _assert_equal(
            f"the balance after movement {movement.id}", balance, movement.balance_after_usd
        )
    _assert_equal("the closing balance", balance, statement.closing_balance_usd)
    _assert_equal(
        "the usage of all days",
        total([each.cost_usd for each in statement.usage_by_model]),
        total([each.cost_usd for each in statement.usage_by_day]),
    )


def usage(statement: Statement, calendar: Calendar) -> Report:
    """Return the usage of a statement as a report by model, of the whole month."""
    first = first_day(statement)
    lines = [
        Spend(
            key=each.model,
            requests=each.requests,
            prompt_tokens=each.prompt_tokens,
            completion_tokens=each.completion_tokens,
            cost=each.cost_usd,
        )
        for each in statement.usage_by_model
    ]
    return Report(
        organization_id=statement.org_id,
        calendar=calendar,
        by=By.model,
        first=first,
        last=first.replace(day=monthrange(first.year, first.month)[1]),
        total=added(lines),
        lines=lines,
        days={each.day: each.cost_usd for each in statement.usage_by_day},
    )


def first_day(statement: Statement) -> date:
    """Return the first day of the month of a statement."""
    return date.fromisoformat(f"{statement.month}-01")


def heading(statement: Statement, today: date) -> str:
    """Say of which month a statement is, and whether that is over."""
    so_far = " so far" if first_day(statement) == today.replace(day=1) else ""
    return f"{first_day(statement):%B %Y}{so_far}"


def zone(statement: Statement) -> tzinfo:
    """Return the time zone to show times in: UTC where only the database knows the other."""
    try:
        return ZoneInfo(statement.time_zone)
    except (ZoneInfoNotFoundError, ValueError):
        return UTC


def _assert_equal(what: str, expected: Decimal, found: Decimal) -> None:
    if expected != found:
        raise DoesNotAddUp(
            f"the statement does not add up: {what} is {usd(found)}, not {usd(expected)}"
        )
