"""Models are read exactly, from a driver's values and from JSON's text."""

import copy
import dataclasses
import pickle
from datetime import UTC, datetime, timedelta, timezone
from decimal import Decimal
from uuid import UUID

import pytest

from tallystick import (
    Agent,
    AuthorizedItem,
    Budget,
    BudgetStatus,
    CreditBalance,
    CreditGrant,
    CreditMovement,
    DayUsage,
    Decision,
    Event,
    Finding,
    Hold,
    ModelUsage,
    Organization,
    Reconciliation,
    RequestConflict,
    Run,
    SettledItem,
    Statement,
    StatementMovement,
    Step,
    TallystickError,
    Task,
    Usage,
    VentureAllocation,
    VentureProfile,
    VentureSpend,
    VentureUsage,
    WaitingBudget,
    Workflow,
)
from tallystick.models import from_row, to_decimal, to_statement

ID = UUID("00000000-0000-7000-8000-000000000001")
NOON = datetime(2026, 11, 21, 12, tzinfo=UTC)

BUDGET = {
    "id": ID,
    "organization_id": ID,
    "scope": "organization",
    "scope_id": "",
    "time_window": "month",
    "limit_usd": Decimal("25.000000000000"),
    "enforcement": "hard",
    "slot_count": 1,
    "frozen_at": None,
    "excess_usd": Decimal("0.000000000000"),
    "created_at": NOON,
    "updated_at": NOON,
}
BUDGET_AS_JSON = {
    **BUDGET,
    "id": str(ID),
    "organization_id": str(ID),
    "limit_usd": "25.000000000000",
    "excess_usd": "0.000000000000",
    "created_at": "2026-11-21T12:00:00+00:00",
    "updated_at": "2026-11-21T13:00:00+01:00",
}


def test_native_values_and_json_text_give_the_same_model() -> None:
    assert from_row(Budget, BUDGET) == from_row(Budget, BUDGET_AS_JSON)


def test_null_is_none_where_a_value_may_be_missing() -> None:
    assert from_row(Budget, {**BUDGET, "limit_usd": None}).limit_usd is None


def test_times_are_in_utc() -> None:
    berlin = NOON.astimezone(timezone(timedelta(hours=1)))
    budget = from_row(Budget, {**BUDGET, "created_at": berlin})
    assert budget.created_at == NOON
    assert budget.created_at.tzinfo is UTC


def test_a_column_from_a_newer_database_is_ignored() -> None:
    assert from_row(Budget, {**BUDGET, "colour": "red"}) == from_row(Budget, BUDGET)


def test_a_missing_column_is_an_error() -> None:
    with pytest.raises(KeyError, match="limit_usd"):
        from_row(Budget, {name: value for name, value in BUDGET.items() if name != "limit_usd"})


@pytest.mark.parametrize(
    ("column", "value"),
    [
        ("limit_usd", 25.0),
        ("limit_usd", True),
        ("id", 7),
        ("scope", 7),
        ("slot_count", "1"),
        ("slot_count", True),
        ("created_at", "2026-11-21T12:00:00"),
        ("created_at", 7),
        ("scope", None),
    ],
)
def test_a_value_of_the_wrong_type_is_refused(column: str, value: object) -> None:
    with pytest.raises(TypeError):
        from_row(Budget, {**BUDGET, column: value})


@pytest.mark.parametrize("value", [Decimal("0.1"), "0.1", "1E-1"])
def test_money_is_read_exactly(value: object) -> None:
    assert to_decimal(value) == Decimal("0.1")


WORKFLOW = {
    "id": ID,
    "organization_id": ID,
    "workflow_data": {"total_ai_cost": 0, "steps": [{"weight": Decimal("1.50")}]},
    "created_at": NOON,
    "updated_at": NOON,
}


def test_the_total_of_a_workflow_is_a_decimal() -> None:
    assert isinstance(from_row(Workflow, WORKFLOW).total_ai_cost, Decimal)


def test_a_workflow_can_be_copied_pickled_and_taken_apart() -> None:
    workflow = from_row(Workflow, WORKFLOW)
    assert copy.deepcopy(workflow) == workflow
    assert pickle.loads(pickle.dumps(workflow)) == workflow  # noqa: S301
    assert dataclasses.asdict(workflow) == WORKFLOW


NOTHING = dict.fromkeys(field.name for field in dataclasses.fields(Decision))
GRANT = {
    **NOTHING,
    "decision": "granted",
    "hold_id": str(ID),
    "held_usd": "0.020000000000",
    "expires_at": "2026-11-21T12:10:00+00:00",
}


def test_a_decision_holds_exact_money_that_arrived_as_text() -> None:
    decision = from_row(Decision, GRANT)
    assert decision.granted
    assert (decision.hold_id, decision.held_usd) == (ID, Decimal("0.02"))
    assert decision.expires_at == NOON + timedelta(minutes=10)
    assert decision.remaining_usd is None


@pytest.mark.parametrize("decision", ["denied", "needs_approval", "settled"])
def test_only_a_grant_is_granted(decision: str) -> None:
    assert not from_row(Decision, {**NOTHING, "decision": decision}).granted


def test_an_item_of_a_batch_has_its_decision() -> None:
    row = {**GRANT, "item": 3, "error_code": None, "error_detail": None}
    item = from_row(AuthorizedItem, row)
    assert (item.item, item.granted, item.error) == (3, True, None)
    assert item.decision == from_row(Decision, GRANT)


def test_a_refused_item_has_an_error_of_its_class() -> None:
    facts = {"request_id": "a"}
    row = {**NOTHING, "item": 3, "error_code": "TS409", "error_detail": facts}
    item = from_row(AuthorizedItem, row)
    assert (item.decision, item.granted) == (None, False)
    assert type(item.error) is RequestConflict
    assert item.error.details == facts
    assert "item 3" in str(item.error)


def test_a_refused_settlement_with_a_code_of_its_own_is_the_plain_error() -> None:
    settled = dict.fromkeys(field.name for field in dataclasses.fields(SettledItem))
    item = from_row(SettledItem, {**settled, "item": 0, "error_code": "22P02"})
    assert type(item.error) is TallystickError
    assert item.error.details == {}


HOLD = {
    **dict.fromkeys(field.name for field in dataclasses.fields(Hold)),
    "id": ID,
    "organization_id": ID,
    "state": "open",
    "held_usd": Decimal("0.020000000000"),
    "budget_ids": [ID, ID],
    "tags": {"team": "search"},
    "created_at": NOON,
    "expires_at": NOON,
}


def test_an_array_of_ids_is_a_tuple_from_either_form() -> None:
    hold = from_row(Hold, HOLD)
    assert hold.budget_ids == (ID, ID)
    assert from_row(Hold, {**HOLD, "budget_ids": [str(ID), str(ID)]}) == hold
    with pytest.raises(TypeError, match="expected an array"):
        from_row(Hold, {**HOLD, "budget_ids": str(ID)})


STATEMENT = {
    "org_id": str(ID),
    "organization": "Acme",
    "time_zone": "UTC",
    "month": "2026-11",
    "opening_balance_usd": "0",
    "closing_balance_usd": "49.999999999999",
    "movements": [
        {
            "id": str(ID),
            "created_at": "2026-11-21T12:00:00+00:00",
            "transaction_type": kind,
            "direction": direction,
            "amount_usd": amount,
            "reason": kind,
            "run_id": None,
            "draw_id": None,
            "balance_after_usd": after,
        }
        for kind, direction, amount, after in (
            ("credit_purchase", "credit", "50", "50"),
            ("charge", "debit", "0.000000000001", "49.999999999999"),
        )
    ],
    "usage_by_model": [
        {
            "model": "gpt-4o",
            "requests": 1,
            "prompt_tokens": 10,
            "completion_tokens": 5,
            "cost_usd": "0.000000000001",
        }
    ],
    "usage_by_day": [{"day": "2026-11-21", "cost_usd": "0.000000000001"}],
    "receivables_usd": "0",
}


def test_a_statement_is_read_with_its_parts() -> None:
    statement = to_statement(STATEMENT)
    least = Decimal("0.000000000001")
    assert [each.change_usd for each in statement.movements] == [Decimal(50), -least]
    assert statement.movements[0].created_at == NOON
    assert statement.usage_by_model[0].cost_usd == least
    assert statement.usage_by_day == (DayUsage(day=NOON.date(), cost_usd=least),)
    assert statement.closing_balance_usd == Decimal(50) - least


@pytest.mark.parametrize(
    ("part", "value"),
    [
        ("movements", {}),
        ("movements", ["50"]),
        ("usage_by_day", [{"day": 21, "cost_usd": "1"}]),
        ("usage_by_day", [{"day": "2026-11-21", "cost_usd": 1.0}]),
        ("closing_balance_usd", 50.0),
    ],
)
def test_a_statement_of_other_types_is_refused(part: str, value: object) -> None:
    with pytest.raises(TypeError):
        to_statement({**STATEMENT, part: value})


def test_what_is_available_is_not_reserved() -> None:
    balance = from_row(
        CreditBalance,
        {
            "org_id": ID,
            "id": ID,
            "balance_usd": Decimal("999999999999999999999999.000000000001"),
            "reserved_usd": Decimal("0.000000000001"),
            "low_balance_usd": None,
            "is_low": False,
            "movement_count": 1,
            "created_at": NOON,
            "updated_at": NOON,
        },
    )
    assert balance.available_usd == Decimal(999999999999999999999999)


EVENT = {
    **dict.fromkeys(field.name for field in dataclasses.fields(Event)),
    "organization_id": ID,
    "id": ID,
    "logical_id": ID,
    "revision": 0,
    "op": "assert",
    "domain": "payments",
    "event_type": "charged",
    "owner_user_id": ID,
    "occurred_at": NOON,
    "payload": {"amount_usd": "12.50", "parts": [1]},
    "created_at": NOON,
}


def test_an_event_is_read_from_either_form() -> None:
    event = from_row(Event, EVENT)
    assert (event.supersedes_id, event.entity_id, event.payload) == (None, None, EVENT["payload"])
    text = "2026-11-21T12:00:00+00:00"
    as_json = {"id": str(ID), "owner_user_id": str(ID), "occurred_at": text, "created_at": text}
    assert from_row(Event, {**EVENT, **as_json}) == event
    with pytest.raises(TypeError, match="expected a JSON object"):
        from_row(Event, {**EVENT, "payload": "{}"})


@pytest.mark.parametrize(
    ("op", "counts"), [("assert", True), ("amend", True), ("void", False), ("restate", True)]
)
def test_an_event_counts_unless_it_is_voided(op: str, counts: bool) -> None:
    assert from_row(Event, {**EVENT, "op": op}).counts is counts


MODELS = [
    Organization,
    Workflow,
    Budget,
    BudgetStatus,
    WaitingBudget,
    Decision,
    Hold,
    Usage,
    AuthorizedItem,
    SettledItem,
    Finding,
    CreditMovement,
    CreditBalance,
    CreditGrant,
    Run,
    Agent,
    Task,
    Step,
    Reconciliation,
    Statement,
    StatementMovement,
    ModelUsage,
    DayUsage,
    Event,
    VentureUsage,
    VentureAllocation,
    VentureProfile,
    VentureSpend,
]


@pytest.mark.parametrize("model", MODELS)
def test_models_are_frozen_slotted_and_keyword_only(model: type) -> None:
    assert model.__dataclass_params__.frozen
    assert "__dict__" not in dir(model)
    assert all(field.kw_only for field in dataclasses.fields(model))
