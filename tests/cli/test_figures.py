"""Figures on a terminal."""

from decimal import Decimal

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from tallystick.figures import bar, columns, usd

AMOUNTS = st.decimals(min_value=0, max_value=1000, places=12)
# A busy machine is no reason to fail.
CALM = settings(deadline=None, suppress_health_check=[HealthCheck.too_slow])


@pytest.mark.parametrize(
    ("amount", "shown"),
    [
        ("0", "$0.00"),
        ("2.5", "$2.50"),
        ("2.000000000000", "$2.00"),
        ("1234567.891", "$1,234,567.891"),
        ("0.000000000001", "$0.000000000001"),
        ("100", "$100.00"),
        ("1E+3", "$1,000.00"),
        ("-2.5", "-$2.50"),
        ("-0.000000000001", "-$0.000000000001"),
    ],
)
def test_money_is_shown_exactly(amount: str, shown: str) -> None:
    assert usd(Decimal(amount)) == shown


@CALM
@given(AMOUNTS)
def test_money_shown_is_the_money(amount: Decimal) -> None:
    assert Decimal(usd(amount).lstrip("$").replace(",", "")) == amount


def test_columns_are_in_proportion() -> None:
    values = [Decimal(0), Decimal(1), Decimal(2), Decimal(4)]
    assert columns(values, 2) == ["   █", " ▄██"]


@CALM
@given(st.lists(AMOUNTS, min_size=1, max_size=80))
def test_every_column_with_money_is_visible_and_none_without(values: list[Decimal]) -> None:
    lines = columns(values, 5)
    assert {len(line) for line in lines} == {len(values)}
    for index, value in enumerate(values):
        assert any(line[index] != " " for line in lines) == (value > 0)


@CALM
@given(AMOUNTS, AMOUNTS)
def test_a_bar_fits_and_grows_with_its_value(one: Decimal, other: Decimal) -> None:
    small, large = sorted((one, other))
    assert len(bar(large, large, 24)) == 24
    assert bar(small, large, 24).count("█") <= bar(large, large, 24).count("█")
