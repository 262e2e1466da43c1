"""What the database has of one organization, in the words of the model."""

from dataclasses import dataclass, replace
from datetime import datetime
from typing import Any
from uuid import UUID

from psycopg.rows import dict_row

from tests.properties.model import (
    NAMED_SCOPES,
    NOTHING,
    Budget,
    Call,
    DisagreementError,
    Figures,
    Hold,
    Model,
    Usage,
    expect,
    names_of,
)
from tests.support.races import Connection, verify

CALL = "workflow_id, run_id, venture_id, user_id, api_key_id, model, tags"
HOLDS = f"""
select id, state::text, held_usd, created_at, expires_at, closed_at, reason, {CALL}
from metering.holds where organization_id = %s order by id
"""
USAGES = f"""
select id, cost, prompt_tokens, completion_tokens, created_at, settled_at, settlement::text,
  unheld_usd, {CALL}
from public.ai_usage_ledger where organization_id = %s order by id
"""
BUDGETS = """
select b.id, b.scope, b.scope_id, b.time_window, b.limit_usd, b.enforcement = 'hard' as hard,
  b.slot_count, b.frozen_at is not null as frozen, b.excess_usd,
  nullif(min(s.window_start), '-infinity') as start, nullif(max(s.window_end), 'infinity') as end,
  sum(s.settled_usd) as settled, sum(s.held_usd) as held,
  sum(s.available_usd) - coalesce(sum(s.debt_usd), 0) as remaining
from metering.budgets as b
join metering.budget_slots as s on s.organization_id = b.organization_id and s.budget_id = b.id
where b.organization_id = %s
group by b.organization_id, b.id
"""
STATUS = """
select budget_id, settled_usd, held_usd, remaining_usd, resets_at, frozen_at is not null as frozen
from metering.budget_status where organization_id = %s
"""
REQUESTS = """
select operation::text, request_id, subject_id from metering.request_keys
where organization_id = %s
"""

HELD = ("on_hold", "after_hold")


@dataclass(frozen=True)
class Books:
    """All that is stored of an organization at one moment."""

    holds: dict[UUID, Hold]
    settled: dict[UUID, Usage]
    recorded: list[Usage]
    budgets: dict[UUID, Budget]
    figures: dict[UUID, Figures]
    status: dict[UUID, tuple[Figures, datetime | None, bool]]
    requests: dict[tuple[str, str], UUID]
    findings: list[Any]


def read(connection: Connection, organization: UUID) -> Books:
    """Read the books as the connection sees them, within its transaction if it is in one."""

    def rows(query: str) -> list[dict[str, Any]]:
        with connection.cursor(row_factory=dict_row) as cursor:
            return cursor.execute(query, (organization,)).fetchall()

    names = names_of(organization)
    with connection.transaction():
        usages, budgets = rows(USAGES), rows(BUDGETS)
        return Books(
            holds={row["id"]: _hold(row, names) for row in rows(HOLDS)},
            settled={r["id"]: _usage(r, names) for r in usages if r["settlement"] in HELD},
            recorded=[_usage(r, names) for r in usages if r["settlement"] not in HELD],
            budgets={row["id"]: _budget(row, names) for row in budgets},
            figures={
                row["id"]: Figures(row["settled"], row["held"], row["remaining"]) for row in budgets
            },
            status={row["budget_id"]: _status(row) for row in rows(STATUS)},
            requests={(r["operation"], r["request_id"]): r["subject_id"] for r in rows(REQUESTS)},
            findings=verify(connection, organization),
        )


def _call(row: dict[str, Any], names: dict[UUID, str]) -> Call:
    return Call(
        row["model"],
        workflow=names.get(row["workflow_id"]),
        run=names.get(row["run_id"]),
        venture=names.get(row["venture_id"]),
        user=names.get(row["user_id"]),
        api_key=row["api_key_id"],
        tags=tuple(sorted(f"{key}={value}" for key, value in row["tags"].items())),
    )


def _hold(row: dict[str, Any], names: dict[UUID, str]) -> Hold:
    return Hold(
        _call(row, names),
        row["held_usd"],
        row["created_at"],
        row["expires_at"],
        row["state"],
        row["closed_at"],
        row["reason"],
    )


def _usage(row: dict[str, Any], names: dict[UUID, str]) -> Usage:
    return Usage(
        _call(row, names),
        row["cost"],
        (row["prompt_tokens"], row["completion_tokens"]),
        row["created_at"],
        row["settled_at"],
        row["settlement"],
        row["unheld_usd"],
    )


def _budget(row: dict[str, Any], names: dict[UUID, str]) -> Budget:
    scope_id = row["scope_id"]
    return Budget(
        row["id"],
        (row["scope"], names[UUID(scope_id)] if row["scope"] in NAMED_SCOPES else scope_id),
        row["time_window"],
        row["start"],
        row["end"],
        row["limit_usd"],
        row["hard"],
        row["slot_count"],
        row["frozen"],
        row["excess_usd"],
    )


def _status(row: dict[str, Any]) -> tuple[Figures, datetime | None, bool]:
    figures = Figures(row["settled_usd"], row["held_usd"], row["remaining_usd"])
    return figures, row["resets_at"], row["frozen"]


def reconcile(model: Model, books: Books, may_move: bool = True) -> None:
    """Compare the books with the model, to the last digit.

    What the model cannot know it learns here: which overdue holds were reclaimed on the way, and
    which windows were opened. Not so where nothing may have moved.
    """
    if may_move:
        _learn_expired(model, books)
        _learn_windows(model, books)
    expect_same("holds", books.holds, model.holds)
    expect_same("settled holds", books.settled, model.settled)
    expect(
        "recorded usages",
        sorted(books.recorded, key=Usage.order),
        sorted(model.recorded, key=Usage.order),
    )
    expect_same("budgets", books.budgets, model.budgets)
    expect_same(
        "counters", books.figures, {key: model.figures(b) for key, b in model.budgets.items()}
    )
    expect_same("status", books.status, {key: _told(model, b) for key, b in model.budgets.items()})
    _compare_requests(model, books)
    expect("findings", books.findings, [])


def expect_same(what: str, actual: dict[Any, Any], expected: dict[Any, Any]) -> None:
    """Raise DisagreementError unless both are equal, and say where they are not."""
    differing = {
        key: (actual.get(key), expected.get(key))
        for key in actual.keys() | expected.keys()
        if actual.get(key) != expected.get(key)
    }
    if differing:
        raise DisagreementError(f"{what}, found and expected: {differing}")


def _learn_expired(model: Model, books: Books) -> None:
    for key, hold in list(model.holds.items()):
        found = books.holds.get(key)
        if found is not None and found.state == "expired" and model.is_overdue(hold):
            model.reclaim(key)


def _learn_windows(model: Model, books: Books) -> None:
    """Windows move forward by themselves, to that of a time there was."""
    starts = [budget.start for budget in model.budgets.values() if budget.start is not None]
    latest = max([model.present_time(), *starts])
    for key, budget in list(model.budgets.items()):
        found = books.budgets.get(key)
        if found is None or found.start is None or not budget.is_over(found.start):
            continue
        expect("window", (found.start, found.end), model.window(found, found.start))
        if found.start > latest:
            raise DisagreementError(f"window of {found} starts after {latest}")
        model.budgets[key] = replace(budget, start=found.start, end=found.end)
    if model.at_once:
        _learn_excess(model, books)


def _learn_excess(model: Model, books: Books) -> None:
    """By how much a cap is passed depends on whether overdue money was reclaimed before."""
    for key, budget in list(model.budgets.items()):
        found = books.budgets.get(key)
        if found is not None and found.excess <= budget.excess:
            model.budgets[key] = replace(budget, excess=found.excess)


def _told(model: Model, budget: Budget) -> tuple[Figures, datetime | None, bool]:
    """Return what budget_status must tell: a window that is over starts anew, whoever asks."""
    frozen = budget.frozen or model.frozen
    if budget.is_over(model.now):
        return Figures(NOTHING, NOTHING, budget.limit), model.window(budget, model.now)[1], frozen
    figures = model.figures(budget)
    remaining = None if budget.limit is None else budget.limit - figures.settled - figures.held
    return replace(figures, remaining=remaining), budget.end, frozen


def _compare_requests(model: Model, books: Books) -> None:
    expect("request ids", books.requests.keys(), model.requests.keys())
    known = {key: r.subject for key, r in model.requests.items() if r.subject is not None}
    expect_same("requests", {key: books.requests[key] for key in known}, known)
