"""calls.py is pure: what would be sent, without sending it."""

import dataclasses
from datetime import UTC, date, datetime, timedelta
from decimal import Decimal
from uuid import UUID

import pytest

from tallystick import Settlement, SpendRequest, calls
from tests.client.examples import (
    ARGUMENTS,
    CALLS,
    FUNCTIONS,
    HOLD,
    ORGANIZATION,
    READS,
    RUN,
    SENT,
    SENT_BUNDLE,
    SENT_RATES,
    USER,
    WORKFLOW,
    ask,
    call,
    read,
)


def arguments_of(kind: type) -> list[tuple[str, str]]:
    """Every call or read, and every argument of it, that takes a value of this kind."""
    return [
        (name, argument)
        for name, arguments in ARGUMENTS.items()
        for argument, value in arguments.items()
        if type(value) is kind
    ]


def test_there_is_an_example_of_every_call() -> None:
    assert set(ARGUMENTS) == set(calls.__all__)


@pytest.mark.parametrize("name", sorted(CALLS))
def test_a_call_names_its_function_and_every_argument(name: str) -> None:
    made = call(name)
    assert made.function == FUNCTIONS.get(name, name)
    given = dict(ARGUMENTS[name])
    if name in SENT:
        given["items"] = SENT[name]
    if "rates" in given:
        given["rates"] = SENT_RATES
    if "bundle" in given:
        given["bundle"] = SENT_BUNDLE
    assert list(made.arguments.values()) == list(given.values())
    assert all(argument.startswith("p_") for argument in made.arguments)


@pytest.mark.parametrize("name", READS)
def test_a_read_filters_by_every_argument(name: str) -> None:
    made = read(name)
    assert {**made.filters, **({"limit": made.limit} if made.limit else {})} == ARGUMENTS[name]


@pytest.mark.parametrize("name", READS)
def test_a_read_asks_for_the_columns_of_its_model_in_an_order(name: str) -> None:
    made = read(name)
    assert isinstance(made.read, calls.Many)
    assert made.columns == tuple(field.name for field in dataclasses.fields(made.read.model))
    assert made.order
    assert set(made.order) <= set(made.columns)


def test_a_filter_left_out_is_not_one() -> None:
    made = calls.holds(ORGANIZATION)
    assert made.filters == {"organization_id": ORGANIZATION}
    assert made.limit is None


def test_events_are_those_of_an_owner_or_a_tenant() -> None:
    assert calls.current_events(owner_user_id=USER).filters == {"owner_user_id": USER}
    assert calls.current_events(organization_id=USER).filters == {"organization_id": USER}
    with pytest.raises(TypeError, match="owner_user_id or an organization_id"):
        calls.current_events(domain="payments")


def test_the_same_request_twice_is_equal() -> None:
    for name in ARGUMENTS:
        assert ask(name) == ask(name)


@pytest.mark.parametrize(("name", "argument"), arguments_of(Decimal))
@pytest.mark.parametrize("value", [0.02, 1, "0.02", True])
def test_money_that_is_not_a_decimal_is_a_type_error(
    name: str, argument: str, value: object
) -> None:
    with pytest.raises(TypeError, match="money must be a Decimal"):
        ask(name, **{argument: value})


@pytest.mark.parametrize(("name", "argument"), arguments_of(UUID))
def test_an_id_that_is_not_a_uuid_is_a_type_error(name: str, argument: str) -> None:
    with pytest.raises(TypeError, match="must be a UUID"):
        ask(name, **{argument: str(ORGANIZATION)})


@pytest.mark.parametrize(("name", "argument"), arguments_of(int))
@pytest.mark.parametrize("count", [True, 1.0, "1", Decimal(1)])
def test_a_count_that_is_not_an_int_is_a_type_error(
    name: str, argument: str, count: object
) -> None:
    with pytest.raises(TypeError, match="must be an int"):
        ask(name, **{argument: count})


@pytest.mark.parametrize(("name", "argument"), arguments_of(str))
def test_text_that_is_not_text_is_a_type_error(name: str, argument: str) -> None:
    with pytest.raises(TypeError, match="expected text"):
        ask(name, **{argument: b"gpt-4o"})


@pytest.mark.parametrize(("name", "argument"), arguments_of(timedelta))
def test_a_duration_that_is_not_a_timedelta_is_a_type_error(name: str, argument: str) -> None:
    with pytest.raises(TypeError, match="must be a timedelta"):
        ask(name, **{argument: 300})


@pytest.mark.parametrize(("name", "argument"), arguments_of(date))
@pytest.mark.parametrize("value", ["2026-01-01", datetime(2026, 1, 1, tzinfo=UTC)])
def test_a_day_that_is_not_a_date_is_a_type_error(name: str, argument: str, value: object) -> None:
    with pytest.raises(TypeError, match="a day must be a date"):
        ask(name, **{argument: value})


@pytest.mark.parametrize(("name", "argument"), arguments_of(datetime))
@pytest.mark.parametrize("value", ["2026-01-01", datetime(2026, 1, 1), date(2026, 1, 1)])  # noqa: DTZ001
def test_a_time_without_its_zone_is_a_type_error(name: str, argument: str, value: object) -> None:
    with pytest.raises(TypeError, match="a datetime with its zone"):
        ask(name, **{argument: value})


@pytest.mark.parametrize(("name", "argument"), arguments_of(tuple))
def test_an_id_of_several_that_is_not_a_uuid_is_a_type_error(name: str, argument: str) -> None:
    with pytest.raises(TypeError, match="must be a UUID"):
        ask(name, **{argument: [HOLD, str(HOLD)]})


@pytest.mark.parametrize(("name", "argument"), arguments_of(bool))
def test_a_flag_that_is_not_a_bool_is_a_type_error(name: str, argument: str) -> None:
    with pytest.raises(TypeError, match="expected a bool"):
        ask(name, **{argument: 1})


@pytest.mark.parametrize(("name", "argument"), arguments_of(dict))
def test_a_document_that_is_not_a_mapping_is_a_type_error(name: str, argument: str) -> None:
    with pytest.raises(TypeError, match="must be a mapping"):
        ask(name, **{argument: ["name"]})


@pytest.mark.parametrize(
    ("name", "argument", "document"),
    [
        ("settle_spend", "usage", {"input_tokens": 1.0}),
        ("settle_spend", "usage", {"input_tokens": True}),
        ("settle_spend", "usage", {1: 1}),
        ("settle_spend", "usage", {"service_tier": 1}),
        ("price_usage", "usage", {"input_tokens": "1"}),
        ("authorize_spend", "tags", {"team": 1}),
        ("estimate_spend", "tags", {1: "search"}),
    ],
)
def test_a_document_of_other_types_is_a_type_error(
    name: str, argument: str, document: object
) -> None:
    with pytest.raises(TypeError, match=r"expected text|must be an int"):
        ask(name, **{argument: document})


@pytest.mark.parametrize("name", sorted(SENT))
@pytest.mark.parametrize("item", [{"estimated_cost": "0.02"}, HOLD, None])
def test_an_item_of_another_type_is_a_type_error(name: str, item: object) -> None:
    with pytest.raises(TypeError, match="an item must be a"):
        ask(name, items=[item])


@pytest.mark.parametrize(
    ("name", "item"),
    [
        ("authorize_spend_batch", SpendRequest(estimated_cost=0.02)),  # type: ignore[arg-type]
        ("settle_spend_batch", Settlement(hold_id=HOLD, cost=0.02)),  # type: ignore[arg-type]
    ],
)
def test_money_of_an_item_that_is_not_a_decimal_is_a_type_error(name: str, item: object) -> None:
    with pytest.raises(TypeError, match="money must be a Decimal"):
        ask(name, items=[item])


@pytest.mark.parametrize(
    ("duration", "text"),
    [
        (timedelta(days=1), "86400.000000 seconds"),
        (timedelta(seconds=0.5), "0.500000 seconds"),
        (timedelta(microseconds=-1), "-0.000001 seconds"),
        (timedelta.max, "86399999999999.999999 seconds"),
    ],
)
def test_a_duration_is_sent_in_exact_seconds(duration: timedelta, text: str) -> None:
    assert calls.as_text(duration) == text


@pytest.mark.parametrize("amount", ["NaN", "-1", "1e30", "0.0000000000001"])
def test_the_value_of_money_is_left_to_the_database(amount: str) -> None:
    sent = call("check_workflow_cost_limit", additional_cost=Decimal(amount))
    assert str(sent.arguments["p_additional_cost"]) == str(Decimal(amount))


def test_an_optional_argument_left_out_is_not_sent() -> None:
    sent = calls.check_workflow_cost_limit(WORKFLOW, Decimal("0.02"))
    assert list(sent.arguments) == ["p_workflow_id", "p_additional_cost"]


def test_no_limit_is_sent_as_null() -> None:
    sent = calls.set_budget(ORGANIZATION, "organization", None, "month", None)
    assert sent.arguments["p_limit"] is None
    assert "p_slots" not in sent.arguments


def test_what_a_call_of_a_run_does_not_say_is_sent_as_null() -> None:
    sent = calls.record_token_call(RUN, None, None, None, None, None, "gpt-4o", None)
    assert list(sent.arguments.values()) == [RUN, *[None] * 5, "gpt-4o", None]


def test_no_warning_is_sent_as_null() -> None:
    assert calls.set_low_balance(ORGANIZATION, None).arguments["p_low_balance_usd"] is None


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
