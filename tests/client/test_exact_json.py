"""JSON keeps every digit of a Decimal."""

from decimal import Decimal

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from tallystick.transports import exact_json

DECIMALS = st.decimals(allow_nan=False, allow_infinity=False, places=12)
DOCUMENTS = st.recursive(
    st.none() | st.booleans() | st.integers() | st.text() | DECIMALS,
    lambda inner: st.lists(inner) | st.dictionaries(st.text(), inner),
)
# A busy machine is no reason to fail.
CALM = settings(deadline=None, suppress_health_check=[HealthCheck.too_slow])


@CALM
@given(DOCUMENTS)
def test_what_is_written_is_read_back(document: object) -> None:
    assert exact_json.loads(exact_json.dumps(document)) == document


@pytest.mark.parametrize("amount", ["NaN", "Infinity", "-Infinity"])
def test_numbers_that_json_does_not_have_are_refused(amount: str) -> None:
    with pytest.raises(ValueError, match="no NaN"):
        exact_json.dumps({"amount": Decimal(amount)})


def test_a_float_that_is_no_number_is_refused() -> None:
    with pytest.raises(ValueError, match="JSON compliant"):
        exact_json.dumps([float("nan")])


@pytest.mark.parametrize("document", [{1: "one"}, {"when": object()}])
def test_what_json_does_not_have_is_refused(document: object) -> None:
    with pytest.raises(TypeError):
        exact_json.dumps(document)
