"""Budgets and holds, listed and changed, over the real database, sync and async."""

from datetime import UTC, datetime, timedelta
from decimal import Decimal
from uuid import UUID, uuid4

import psycopg
import pytest

from tallystick import (
    Budget,
    BudgetStatus,
    Client,
    Hold,
    InvalidArgument,
    Organization,
    PermissionDenied,
    UnknownId,
    WaitingBudget,
)
from tests.support.servers import Database
from tests.support.waiting import waiting_caller

CENT = Decimal("0.01")
LIMIT = Decimal("12.500000000001")


@pytest.mark.parametrize("window", ["total", "hour", "day", "week", "month"])
@pytest.mark.parametrize(
    ("scope", "scope_id"),
    [
        ("organization", None),
        ("run", "00000000-0000-7000-8000-000000000003"),
        ("user", "00000000-0000-7000-8000-000000000005"),
        ("api_key", "key-1"),
        ("model", "gpt-4o"),
        ("tag", "team=search"),
    ],
)
def test_a_cap_is_stored_over_any_scope_and_window(
    sync_client: Client, organization: Organization, scope: str, scope_id: str | None, window: str
) -> None:
    budget = sync_client.set_budget(
        organization.id, scope, scope_id, window, LIMIT, enforcement="soft", slots=3
    )
    assert type(budget) is Budget
    assert (budget.scope, budget.scope_id, budget.time_window) == (scope, scope_id or "", window)
    assert (budget.limit_usd, budget.enforcement, budget.slot_count) == (LIMIT, "soft", 3)
    assert (budget.frozen_at, budget.excess_usd) == (None, 0)


def test_no_limit_counts_and_never_refuses(client: Client, organization: Organization) -> None:
    budget = client.set_budget(organization.id, "api_key", "key-1", "day", None)
    assert budget.limit_usd is None
    assert client.authorize_spend(
        organization.id, estimated_cost=Decimal(1000), api_key_id="key-1"
    ).granted
    (status,) = client.budgets(organization.id, scope="api_key", scope_id="key-1")
    assert (status.budget_id, status.held_usd, status.remaining_usd) == (budget.id, 1000, None)


def test_a_limit_below_what_is_used_says_by_how_much(
    client: Client, organization: Organization
) -> None:
    client.authorize_spend(organization.id, estimated_cost=LIMIT)
    budget = client.set_budget(organization.id, "organization", None, "month", CENT)
    assert type(budget.excess_usd) is Decimal
    assert budget.excess_usd == LIMIT - CENT


def test_a_budget_is_changed(client: Client, organization: Organization) -> None:
    budget = client.set_budget(organization.id, "model", "gpt-4o", "day", LIMIT)
    striped = client.change_budget(organization.id, budget.id, slots=16)
    assert (striped.id, striped.slot_count, striped.limit_usd) == (budget.id, 16, LIMIT)
    moved = client.change_budget(
        organization.id, budget.id, scope="tag", scope_id="team=search", window="week"
    )
    assert (moved.scope, moved.scope_id, moved.time_window) == ("tag", "team=search", "week")
    assert (moved.id, moved.slot_count) == (budget.id, 16)
    own = client.change_budget(organization.id, organization.id, slots=4)
    assert (own.scope, own.time_window, own.slot_count) == ("organization", "total", 4)
    with pytest.raises(InvalidArgument):
        client.change_budget(organization.id, organization.id, window="day")
    with pytest.raises(UnknownId):
        client.change_budget(organization.id, uuid4(), slots=4)


def test_a_budget_is_removed_and_a_total_stays(
    client: Client, organization: Organization, workflow_id: UUID
) -> None:
    made = client.set_budget(organization.id, "user", str(uuid4()), "day", LIMIT)
    removed = client.remove_budget(organization.id, made.scope, made.scope_id, made.time_window)
    assert (removed.id, removed.limit_usd) == (made.id, None)
    with pytest.raises(UnknownId):
        client.remove_budget(organization.id, made.scope, made.scope_id, made.time_window)
    client.set_budget(organization.id, "workflow", str(workflow_id), "total", LIMIT)
    client.remove_budget(organization.id, "workflow", str(workflow_id), "total")
    found = client.budgets(organization.id)
    assert [(each.budget_id, each.limit_usd) for each in found] == [
        (organization.id, None),
        (workflow_id, None),
    ]


@pytest.mark.parametrize(("scope", "scope_id"), [(None, None), ("api_key", "key-1")])
def test_a_scope_is_frozen_and_thawed(
    client: Client, organization: Organization, scope: str | None, scope_id: str | None
) -> None:
    def ask() -> tuple[str, str | None]:
        decision = client.authorize_spend(organization.id, estimated_cost=CENT, api_key_id="key-1")
        return decision.decision, decision.reason

    frozen = client.freeze(organization.id, scope=scope, scope_id=scope_id)
    assert type(frozen) is Budget
    assert type(frozen.frozen_at) is datetime
    assert (frozen.scope, frozen.scope_id) == (scope or "organization", scope_id or "")
    assert ask() == ("denied", "frozen")
    (status,) = client.budgets(organization.id, scope=frozen.scope, scope_id=frozen.scope_id)
    assert status.frozen_at == frozen.frozen_at
    assert client.unfreeze(organization.id, scope=scope, scope_id=scope_id).frozen_at is None
    assert ask() == ("granted", None)


def test_what_is_left_of_every_budget_is_listed(
    client: Client, organization: Organization, workflow_id: UUID
) -> None:
    client.set_budget(organization.id, "organization", None, "month", LIMIT, slots=2)
    held = client.authorize_spend(
        organization.id, estimated_cost=Decimal(2), workflow_id=workflow_id
    )
    spent = client.authorize_spend(organization.id, estimated_cost=Decimal(3))
    assert spent.hold_id is not None
    client.settle_spend(spent.hold_id, cost=Decimal(1))
    month, own, workflow = client.budgets(organization.id)
    assert {type(each) for each in (own, month, workflow)} == {BudgetStatus}
    assert (own.budget_id, own.limit_usd, own.remaining_usd) == (organization.id, None, None)
    assert (own.settled_usd, own.held_usd, own.resets_at) == (1, 2, None)
    assert (month.limit_usd, month.remaining_usd, month.slot_count) == (LIMIT, LIMIT - 3, 2)
    assert (month.enforcement, month.frozen_at) == ("hard", None)
    assert type(month.remaining_usd) is Decimal
    assert month.resets_at is not None
    assert month.resets_at > datetime.now(UTC)
    assert (workflow.budget_id, workflow.scope_id) == (workflow_id, str(workflow_id))
    assert (workflow.settled_usd, workflow.held_usd) == (0, 2)
    assert client.budgets(organization.id, scope="workflow") == [workflow]
    assert client.budgets(uuid4()) == []
    assert held.granted


def test_holds_are_listed_by_when_they_end(client: Client, organization: Organization) -> None:
    asked = [
        client.authorize_spend(
            organization.id, estimated_cost=CENT, expires_in=timedelta(minutes=minutes)
        ).hold_id
        for minutes in (30, 10, 20)
    ]
    late, soon, later = asked
    assert late is not None
    found = client.holds(organization.id)
    assert {type(each) for each in found} == {Hold}
    assert [each.id for each in found] == [soon, later, late]
    assert [each.id for each in client.holds(organization.id, limit=2)] == [soon, later]
    client.release_spend(late)
    assert [each.id for each in client.holds(organization.id, state="open")] == [soon, later]
    assert [each.id for each in client.holds(organization.id, state="released")] == [late]
    assert client.holds(uuid4()) == []


def test_overdue_holds_are_closed(
    client: Client, organization: Organization, connection: psycopg.Connection
) -> None:
    for _ in range(3):
        client.authorize_spend(
            organization.id, estimated_cost=CENT, expires_in=timedelta(milliseconds=1)
        )
    client.authorize_spend(organization.id, estimated_cost=CENT)
    connection.execute("select pg_sleep(0.01)")
    assert client.expire_holds(organization_id=uuid4()) == 0
    assert client.expire_holds(organization_id=organization.id, limit=2) == 2
    assert client.expire_holds() == 1
    assert [each.state for each in client.holds(organization.id)].count("expired") == 3
    assert client.verify_integrity() == []


def test_a_budget_that_is_waited_for_is_seen(
    client: Client, organization: Organization, database: Database
) -> None:
    assert client.waiting_budgets() == []
    with waiting_caller(database, organization.id):
        (seen,) = client.waiting_budgets()
    assert seen == WaitingBudget(
        organization_id=organization.id,
        budget_id=organization.id,
        scope="organization",
        scope_id="",
        time_window="total",
        slot_count=1,
        waiting=1,
    )
    assert client.waiting_budgets() == []


def test_a_member_neither_lists_nor_changes_what_is_not_theirs(
    database: Database, organization: Organization
) -> None:
    with database.connect(role="authenticated", autocommit=True) as member:
        stranger = Client(member)
        assert stranger.budgets(organization.id) == []
        assert stranger.holds(organization.id) == []
        for refused in (
            lambda: stranger.set_budget(organization.id, "organization", None, "month", None),
            lambda: stranger.freeze(organization.id),
            stranger.waiting_budgets,
            stranger.expire_holds,
        ):
            with pytest.raises((PermissionDenied, UnknownId)):
                refused()
