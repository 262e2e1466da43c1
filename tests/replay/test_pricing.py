"""Prices are exact and rounded once, half to even, at 12 decimals."""

from dataclasses import replace
from datetime import UTC, datetime
from decimal import Decimal

import pytest

from tallystick.replay import money
from tallystick.replay.pricing import UnknownModel, cost_of
from tallystick.replay.rows import UsageRow

ROW = UsageRow(
    place="line 2",
    at=datetime(2026, 11, 2, 9, tzinfo=UTC),
    model=None,
    prompt_tokens=1000,
    completion_tokens=300,
)
MILLION = Decimal(1_000_000)


def test_tokens_times_price() -> None:
    # gpt-4o: $2.50 in, $10 out per million tokens
    expected = (1000 * Decimal("2.5") + 300 * Decimal(10)) / MILLION
    cost = cost_of(ROW, "gpt-4o")
    assert type(cost) is Decimal
    assert cost == expected


def test_cached_tokens_have_their_own_price() -> None:
    # gpt-4o: $1.25 per million cached tokens
    expected = (200 * Decimal("2.5") + 800 * Decimal("1.25") + 300 * Decimal(10)) / MILLION
    assert cost_of(replace(ROW, cached_tokens=800), "gpt-4o") == expected


def test_a_batch_costs_half() -> None:
    assert cost_of(replace(ROW, batch=True), "gpt-4o") == cost_of(ROW, "gpt-4o") / 2


def test_a_service_tier_changes_the_price() -> None:
    flex = cost_of(replace(ROW, service_tier="flex"), "gpt-5")
    assert flex == cost_of(ROW, "gpt-5") / 2
    assert cost_of(replace(ROW, service_tier="default"), "gpt-5") == cost_of(ROW, "gpt-5")


def test_the_price_is_that_of_the_time_of_the_call() -> None:
    before = replace(ROW, at=datetime(2026, 7, 29, tzinfo=UTC))
    assert cost_of(before, "gpt-5.6-terra") > cost_of(ROW, "gpt-5.6-terra")


def test_a_name_may_carry_its_provider() -> None:
    assert cost_of(ROW, "openai/gpt-4o") == cost_of(ROW, "gpt-4o")


def test_a_stated_cost_wins_even_where_no_price_is_known() -> None:
    assert cost_of(replace(ROW, cost=Decimal("0.07")), "our-own-model") == Decimal("0.07")


def test_an_unknown_model_is_refused_with_near_matches() -> None:
    with pytest.raises(UnknownModel, match="did you mean gpt-4o-mini, ") as error:
        cost_of(ROW, "openai/gpt4o-min")
    assert error.value.near[0] == "gpt-4o-mini"


def test_a_name_like_no_other_is_refused_without_a_guess() -> None:
    with pytest.raises(UnknownModel, match=r"'zzzzzzzz'$"):
        cost_of(ROW, "zzzzzzzz")


@pytest.mark.parametrize(
    ("amount", "expected"),
    [
        ("0.0000000000005", "0"),
        ("0.0000000000015", "0.000000000002"),
        ("0.0000000000025", "0.000000000002"),
        ("0.00000000000250000001", "0.000000000003"),
        ("999999999999.9999999999994", "999999999999.999999999999"),
    ],
)
def test_rounding_is_half_even_at_12_decimals(amount: str, expected: str) -> None:
    assert money.rounded(Decimal(amount)) == Decimal(expected)


def test_a_total_keeps_every_digit() -> None:
    parts = [Decimal("999999999999.999999999999"), Decimal("0.000000000001")] * 1000
    assert money.total(parts) == Decimal(1_000_000_000_000_000)
