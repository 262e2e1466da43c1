"""Exclusive counts: what they accept, their sums, and what the database is sent."""

import dataclasses
import pickle

import pytest

from tallystick.counts import TokenCounts

NAMES = [field.name for field in dataclasses.fields(TokenCounts)]
# 1, 2, 4, ...: every sum tells which classes are in it.
ALL = TokenCounts(**{name: 2**index for index, name in enumerate(NAMES)})


def test_sums_are_of_the_tokens_of_each_side() -> None:
    assert NAMES.index("output_tokens") == 8
    assert NAMES[12:] == ["requests", "web_searches", "file_searches"]
    assert ALL.prompt_tokens == 2**8 - 1
    assert ALL.completion_tokens == 2**12 - 2**8


def test_usage_has_every_class_but_zeros() -> None:
    assert ALL.as_usage() == {name: 2**index for index, name in enumerate(NAMES)}
    assert TokenCounts(output_tokens=7).as_usage() == {"output_tokens": 7}
    assert TokenCounts().as_usage() == {}


def test_addition_is_class_by_class() -> None:
    assert TokenCounts(**{name: 2 ** (index + 1) for index, name in enumerate(NAMES)}) == ALL + ALL


@pytest.mark.parametrize("name", NAMES)
def test_a_count_is_an_int_from_0(name: str) -> None:
    with pytest.raises(ValueError, match=f"{name} must be at least 0, not -1"):
        TokenCounts(**{name: -1})
    for count in (True, 1.0, "1", None):
        with pytest.raises(TypeError, match=f"{name} must be an int"):
            TokenCounts(**{name: count})


def test_counts_are_values() -> None:
    assert pickle.loads(pickle.dumps(ALL)) == ALL  # noqa: S301 - its own dump
    assert len({ALL, dataclasses.replace(ALL)}) == 1
    with pytest.raises(dataclasses.FrozenInstanceError):
        ALL.input_tokens = 1  # type: ignore[misc]
