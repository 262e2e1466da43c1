"""calls.py is pure: what would be sent, without sending it."""

from decimal import Decimal
from uuid import UUID

import pytest

from tallystick import calls
from tests.client.examples import ARGUMENTS, ORGANIZATION, WORKFLOW, call

MONEY = [
    (name, argument)
    for name, arguments in ARGUMENTS.items()
    for argument, value in arguments.items()
    if isinstance(value, Decimal)
]
IDS = [
    (name, argument)
    for name, arguments in ARGUMENTS.items()
    for argument, value in arguments.items()
    if isinstance(value, UUID)
]


def test_there_is_an_example_of_every_call() -> None:
    assert set(ARGUMENTS) == set(calls.__all__)


@pytest.mark.parametrize("name", sorted(ARGUMENTS))
def test_a_call_names_its_function_and_every_argument(name: str) -> None:
    made = call(name)
    assert made.function == name
    assert list(made.arguments.values()) == list(ARGUMENTS[name].values())
    assert all(argument.startswith("p_") for argument in made.arguments)


def test_the_same_call_twice_is_equal() -> None:
    for name in ARGUMENTS:
        assert call(name) == call(name)


@pytest.mark.parametrize(("name", "argument"), MONEY)
@pytest.mark.parametrize("value", [0.02, 1, "0.02", True])
def test_money_that_is_not_a_decimal_is_a_type_error(
    name: str, argument: str, value: object
) -> None:
    with pytest.raises(TypeError, match="money must be a Decimal"):
        call(name, **{argument: value})


@pytest.mark.parametrize(("name", "argument"), IDS)
def test_an_id_that_is_not_a_uuid_is_a_type_error(name: str, argument: str) -> None:
    with pytest.raises(TypeError, match="must be a UUID"):
        call(name, **{argument: str(ORGANIZATION)})


@pytest.mark.parametrize("tokens", [True, 1.0, "1", Decimal(1)])
def test_tokens_that_are_not_an_int_are_a_type_error(tokens: object) -> None:
    with pytest.raises(TypeError, match="must be an int"):
        call("record_usage_and_increment", prompt_tokens=tokens)


def test_text_that_is_not_text_is_a_type_error() -> None:
    with pytest.raises(TypeError, match="expected text"):
        call("record_usage_and_increment", model=b"gpt-4o")


def test_a_document_that_is_not_a_mapping_is_a_type_error() -> None:
    with pytest.raises(TypeError, match="must be a mapping"):
        call("upsert_intent_workflow", workflow_data=["name"])


@pytest.mark.parametrize("amount", ["NaN", "-1", "1e30", "0.0000000000001"])
def test_the_value_of_money_is_left_to_the_database(amount: str) -> None:
    sent = call("check_workflow_cost_limit", additional_cost=Decimal(amount))
    assert str(sent.arguments["p_additional_cost"]) == str(Decimal(amount))


def test_an_optional_argument_left_out_is_not_sent() -> None:
    sent = calls.check_workflow_cost_limit(WORKFLOW, Decimal("0.02"))
    assert list(sent.arguments) == ["p_workflow_id", "p_additional_cost"]


def test_the_organization_itself_is_sent_as_empty_scope_id() -> None:
    sent = calls.remove_budget(ORGANIZATION, "organization", None, "month")
    assert sent.arguments["p_scope_id"] == ""


def test_a_scalar_is_read_from_the_only_column() -> None:
    made = call("check_workflow_cost_limit")
    assert made.read([{"check_workflow_cost_limit": True}]) is True


@pytest.mark.parametrize("rows", [[], [{"x": True}, {"x": True}]])
def test_a_scalar_needs_exactly_one_row(rows: list[dict[str, object]]) -> None:
    with pytest.raises(ValueError, match="expected one row"):
        call("check_workflow_cost_limit").read(rows)


def test_a_scalar_of_another_type_is_refused() -> None:
    with pytest.raises(TypeError, match="expected a boolean"):
        call("check_workflow_cost_limit").read([{"check_workflow_cost_limit": 1}])


def test_void_is_read_from_any_rows() -> None:
    assert call("record_usage_and_increment").read([{"record_usage_and_increment": ""}]) is None
