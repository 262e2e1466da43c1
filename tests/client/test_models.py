"""Models are read exactly, from a driver's values and from JSON's text."""

import copy
import dataclasses
import pickle
from datetime import UTC, datetime, timedelta, timezone
from decimal import Decimal
from uuid import UUID

import pytest

from tallystick import Budget, Finding, Organization, Workflow
from tallystick.models import from_row, to_decimal

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
    "created_at": NOON,
    "updated_at": NOON,
}
BUDGET_AS_JSON = {
    **BUDGET,
    "id": str(ID),
    "organization_id": str(ID),
    "limit_usd": "25.000000000000",
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


@pytest.mark.parametrize("model", [Organization, Workflow, Budget, Finding])
def test_models_are_frozen_slotted_and_keyword_only(model: type) -> None:
    assert model.__dataclass_params__.frozen
    assert "__dict__" not in dir(model)
    assert all(field.kw_only for field in dataclasses.fields(model))
