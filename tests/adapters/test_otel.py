"""Spans by OpenTelemetry's conventions: the cached part is in the input."""

from collections.abc import Mapping
from types import MappingProxyType, SimpleNamespace

import pytest
from hypothesis import given
from hypothesis import strategies as st
from opentelemetry.semconv._incubating.attributes import gen_ai_attributes as names
from opentelemetry.semconv._incubating.attributes import openai_attributes

from tallystick.adapters import NoUsage, Reading, UnknownUsage, read
from tallystick.counts import TokenCounts

ATTRIBUTES: Mapping[str, object] = {
    names.GEN_AI_OPERATION_NAME: "chat",
    names.GEN_AI_PROVIDER_NAME: "anthropic",
    names.GEN_AI_REQUEST_MODEL: "claude-opus-latest",
    names.GEN_AI_RESPONSE_MODEL: "claude-opus-5",
    names.GEN_AI_RESPONSE_FINISH_REASONS: ("stop",),
    names.GEN_AI_USAGE_INPUT_TOKENS: 1000,
    names.GEN_AI_USAGE_CACHE_READ_INPUT_TOKENS: 700,
    names.GEN_AI_USAGE_CACHE_CREATION_INPUT_TOKENS: 200,
    names.GEN_AI_USAGE_OUTPUT_TOKENS: 90,
    names.GEN_AI_USAGE_REASONING_OUTPUT_TOKENS: 60,
}
COUNTS = TokenCounts(
    input_tokens=100,
    cache_read_tokens=700,
    cache_write_5m_tokens=200,
    output_tokens=30,
    reasoning_tokens=60,
)


def usage(**counts: int) -> dict[str, object]:
    return {f"gen_ai.usage.{name.replace('__', '.')}": count for name, count in counts.items()}


def test_attributes() -> None:
    assert read(ATTRIBUTES) == Reading(counts=COUNTS, model="claude-opus-5")
    assert read(dict(ATTRIBUTES), "otel") == Reading(counts=COUNTS, model="claude-opus-5")


def test_a_span() -> None:
    span = SimpleNamespace(name="chat claude-opus-5", attributes=MappingProxyType(ATTRIBUTES))
    assert read(span) == Reading(counts=COUNTS, model="claude-opus-5")
    assert read(span, "otel") == Reading(counts=COUNTS, model="claude-opus-5")


def test_the_model_that_was_asked_for_did_not_serve() -> None:
    asked = {names.GEN_AI_REQUEST_MODEL: "gpt-4o", names.GEN_AI_USAGE_INPUT_TOKENS: 1}
    assert read(asked).model is None


@pytest.mark.parametrize(
    "name",
    [
        openai_attributes.OPENAI_RESPONSE_SERVICE_TIER,
        names.GEN_AI_OPENAI_RESPONSE_SERVICE_TIER,
    ],
)
def test_the_tier_that_served(name: str) -> None:
    asked = {openai_attributes.OPENAI_REQUEST_SERVICE_TIER: "flex"}
    assert read({**ATTRIBUTES, **asked}).service_tier is None
    assert read({**ATTRIBUTES, **asked, name: "priority"}).service_tier == "priority"


def test_the_names_of_old() -> None:
    old = {names.GEN_AI_USAGE_PROMPT_TOKENS: 10, names.GEN_AI_USAGE_COMPLETION_TOKENS: 4}
    assert read(old).counts == TokenCounts(input_tokens=10, output_tokens=4)
    new = {names.GEN_AI_USAGE_INPUT_TOKENS: 11, names.GEN_AI_USAGE_OUTPUT_TOKENS: 5}
    assert read(old | new).counts == TokenCounts(input_tokens=11, output_tokens=5)


def test_more_cached_than_sent_was_left_out_of_what_was_sent() -> None:
    attributes = usage(
        input_tokens=10, cache_read__input_tokens=5000, cache_creation__input_tokens=300
    )
    assert read(attributes).counts == TokenCounts(
        input_tokens=10, cache_read_tokens=5000, cache_write_5m_tokens=300
    )


def test_all_of_it_cached() -> None:
    attributes = usage(input_tokens=5300, cache_read__input_tokens=5300)
    assert read(attributes).counts == TokenCounts(cache_read_tokens=5300)


def test_more_reasoning_than_output_is_all_the_output() -> None:
    attributes = usage(output_tokens=5, reasoning__output_tokens=9)
    assert read(attributes).counts == TokenCounts(reasoning_tokens=5)


def test_a_span_without_usage() -> None:
    with pytest.raises(NoUsage):
        read({names.GEN_AI_OPERATION_NAME: "execute_tool"})


def test_what_is_no_count_is_an_error() -> None:
    with pytest.raises(UnknownUsage, match=r"gen_ai\.usage\.input_tokens holds a str, not a count"):
        read({names.GEN_AI_USAGE_INPUT_TOKENS: "12"})


sizes = st.integers(0, 10**6)


@given(sizes, sizes, sizes, sizes, sizes)
def test_classes_sum_up_to_the_totals(
    fresh: int, cached: int, written: int, reasoning: int, said: int
) -> None:
    sent, received = fresh + cached + written, reasoning + said
    attributes = usage(
        input_tokens=sent,
        cache_read__input_tokens=cached,
        cache_creation__input_tokens=written,
        output_tokens=received,
        reasoning__output_tokens=reasoning,
    )
    counts = read(attributes).counts
    assert (counts.prompt_tokens, counts.completion_tokens) == (sent, received)
    assert counts == TokenCounts(
        input_tokens=fresh,
        cache_read_tokens=cached,
        cache_write_5m_tokens=written,
        output_tokens=said,
        reasoning_tokens=reasoning,
    )


@given(*[st.integers(-10, 1000)] * 5)
def test_whatever_is_stated_no_token_is_lost(
    sent: int, cached: int, written: int, received: int, reasoning: int
) -> None:
    attributes = usage(
        input_tokens=sent,
        cache_read__input_tokens=cached,
        cache_creation__input_tokens=written,
        output_tokens=received,
        reasoning__output_tokens=reasoning,
    )
    counts = read(attributes).counts  # a negative class would raise
    assert counts.prompt_tokens >= max(sent, 0)
    assert counts.cache_read_tokens == max(cached, 0)
    assert counts.cache_write_5m_tokens == max(written, 0)
    assert counts.completion_tokens == max(received, 0)
