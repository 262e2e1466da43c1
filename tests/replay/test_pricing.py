"""The package's prices are exact and rounded once, half to even, at 12 decimals."""

from dataclasses import replace
from datetime import UTC, datetime
from decimal import Decimal
from typing import Any

import pytest

from tallystick import money
from tallystick.replay.plan import Request
from tallystick.replay.pricing import UnknownModel, package_price

CALL = Request(
    place="line 2",
    at=datetime(2026, 11, 2, 9, tzinfo=UTC),
    request_id="req-1",
    workflow="chat",
    model="gpt-4o",
    prompt_tokens=1000,
    completion_tokens=300,
    cached_tokens=0,
    service_tier=None,
    stated_cost=None,
)
MILLION = Decimal(1_000_000)


def cost(at: datetime | None = None, **changes: Any) -> Decimal:
    return package_price(replace(CALL, **changes), at).cost


def test_tokens_times_price() -> None:
    # gpt-4o: $2.50 in, $10 out per million tokens
    assert type(cost()) is Decimal
    assert cost() == (1000 * Decimal("2.5") + 300 * Decimal(10)) / MILLION


def test_cached_tokens_have_their_own_price() -> None:
    # gpt-4o: $1.25 per million cached tokens
    expected = (200 * Decimal("2.5") + 800 * Decimal("1.25") + 300 * Decimal(10)) / MILLION
    assert cost(cached_tokens=800) == expected


def test_a_batch_costs_half() -> None:
    assert cost(service_tier="batch") == cost() / 2


@pytest.mark.parametrize(("tier", "parts"), [("flex", 2), ("Flex", 2), ("default", 1)])
def test_a_service_tier_changes_the_price(tier: str, parts: int) -> None:
    assert cost(model="gpt-5", service_tier=tier) == cost(model="gpt-5") / parts


def test_the_price_is_that_of_now_or_of_a_time() -> None:
    # It became cheaper on 30 July 2026: before it was $2.50 in, $15 out, since it is $2 and $12.
    before = (1000 * Decimal("2.5") + 300 * Decimal(15)) / MILLION
    since = (1000 * Decimal(2) + 300 * Decimal(12)) / MILLION
    assert cost(datetime(2026, 7, 29, tzinfo=UTC), model="gpt-5.6-terra") == before
    assert cost(model="gpt-5.6-terra") == since


def test_a_name_may_carry_its_provider() -> None:
    assert package_price(replace(CALL, model="openai/gpt-4o")) == package_price(CALL)


def test_an_unknown_model_is_refused_with_near_matches() -> None:
    with pytest.raises(UnknownModel, match="did you mean gpt-4o-mini, ") as error:
        cost(model="openai/gpt4o-min")
    assert error.value.near[0] == "gpt-4o-mini"


def test_a_name_like_no_other_is_refused_without_a_guess() -> None:
    with pytest.raises(UnknownModel, match=r"'zzzzzzzz'$"):
        cost(model="zzzzzzzz")


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
