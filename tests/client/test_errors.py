"""The four texts of a refusal become one class per code."""

import copy
import pickle
from collections.abc import Callable
from decimal import Decimal
from pathlib import Path
from typing import Any

import pytest

from tallystick import errors
from tallystick.replay.rows import UsageFileError


@pytest.mark.parametrize(("code", "error_class"), sorted(errors.ERRORS.items()))
def test_a_registered_code_has_its_class(code: str, error_class: type) -> None:
    error = errors.error_from(code, "no")
    assert type(error) is error_class
    assert error.code == code


def test_another_code_is_the_plain_error() -> None:
    error = errors.error_from("TS999", "no", "Key (id) exists.")
    assert type(error) is errors.TallystickError
    assert error.details == {"detail": "Key (id) exists."}


@pytest.mark.parametrize(
    ("code", "ours"),
    [
        *((code, True) for code in errors.ERRORS),
        ("TS999", True),
        *((code, False) for code in ("08006", "57P01", "53100", "22003", "23505", "25006", None)),
    ],
)
def test_a_refusal_is_what_the_registry_names(code: str | None, ours: bool) -> None:
    assert errors.is_refusal(code) is ours


@pytest.mark.parametrize(
    "again",
    [copy.copy, copy.deepcopy, lambda error: pickle.loads(pickle.dumps(error))],  # noqa: S301
)
def test_an_error_can_be_copied_and_pickled(again: Callable[[Any], Any]) -> None:
    error = errors.error_from("TS409", "no", '{"limit": 0.1}', "Look again.")
    made = again(error)
    assert (type(made), vars(made), str(made)) == (type(error), vars(error), str(error))
    file_error = UsageFileError(Path("usage.csv"), "no", place="line 2")
    made = again(file_error)
    assert (vars(made), str(made)) == (vars(file_error), str(file_error))


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
    assert str(errors.error_from("TS999", "no")) == "[TS999] no"
