"""The four texts of a refusal become one class per code."""

from decimal import Decimal

import pytest

from tallystick import errors


@pytest.mark.parametrize(("code", "error_class"), sorted(errors.ERRORS.items()))
def test_a_registered_code_has_its_class(code: str, error_class: type) -> None:
    error = errors.error_from(code, "no")
    assert type(error) is error_class
    assert error.code == code


def test_another_code_is_the_plain_error() -> None:
    error = errors.error_from("23505", "duplicate key", "Key (id) exists.")
    assert type(error) is errors.TallystickError
    assert error.details == {"detail": "Key (id) exists."}


def test_facts_are_parsed_without_floats() -> None:
    error = errors.error_from("TS404", "no", '{"limit": 0.1, "slots": 2}', "Look again.")
    assert error.details == {"limit": Decimal("0.1"), "slots": 2}
    assert error.hint == "Look again."


@pytest.mark.parametrize("detail", [None, ""])
def test_without_detail_there_are_no_facts(detail: str | None) -> None:
    assert errors.error_from("TS404", "no", detail).details == {}


def test_detail_that_is_json_but_no_object_is_kept_as_text() -> None:
    assert errors.error_from("TS404", "no", "[1]").details == {"detail": "[1]"}


def test_the_text_shows_code_facts_and_next_step() -> None:
    error = errors.error_from(
        "22023", "an argument is not acceptable", '{"argument": "p_x"}', "Fix"
    )
    assert str(error) == "[22023] an argument is not acceptable (argument: p_x). Fix"
    assert str(errors.error_from("23505", "duplicate key")) == "[23505] duplicate key"
