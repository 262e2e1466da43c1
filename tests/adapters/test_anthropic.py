"""Anthropic's input excludes the cache, its output includes thinking; some turns are apart."""

from typing import Any

import pytest
from anthropic.types import Message, MessageDeltaUsage, Usage
from anthropic.types.beta import BetaMessage
from anthropic.types.messages import MessageBatchIndividualResponse
from genai_prices import extract_usage
from hypothesis import given
from hypothesis import strategies as st

from tallystick.adapters import NoUsage, Reading, UnknownUsage, read
from tallystick.counts import TokenCounts

USAGE = {
    "input_tokens": 50,
    "cache_read_input_tokens": 3000,
    "cache_creation_input_tokens": 700,
    "cache_creation": {"ephemeral_5m_input_tokens": 200, "ephemeral_1h_input_tokens": 500},
    "output_tokens": 900,
    "output_tokens_details": {"thinking_tokens": 640},
    "server_tool_use": {"web_search_requests": 3, "web_fetch_requests": 1},
    "service_tier": "standard",
    "inference_geo": "us",
}
COUNTS = TokenCounts(
    input_tokens=50,
    cache_read_tokens=3000,
    cache_write_5m_tokens=200,
    cache_write_1h_tokens=500,
    output_tokens=260,
    reasoning_tokens=640,
    web_searches=3,
)


def message(usage: dict[str, Any], **fields: object) -> dict[str, Any]:
    return {
        "id": "msg_1",
        "type": "message",
        "role": "assistant",
        "model": "claude-opus-5",
        "content": [{"type": "text", "text": "Yes.", "citations": None}],
        "stop_reason": "end_turn",
        "stop_sequence": None,
        "usage": usage,
        **fields,
    }


def plain(input_tokens: int, output_tokens: int, **fields: object) -> dict[str, Any]:
    return {"input_tokens": input_tokens, "output_tokens": output_tokens, **fields}


def turn(
    kind: str, input_tokens: int, output_tokens: int, read: int = 0, written: int = 0, **fields: str
) -> dict[str, Any]:
    return {
        "type": kind,
        "input_tokens": input_tokens,
        "output_tokens": output_tokens,
        "cache_read_input_tokens": read,
        "cache_creation_input_tokens": written,
        "cache_creation": None,
        **fields,
    }


def both(kind: type[Any], body: dict[str, Any]) -> Reading:
    """What the package's object and the JSON it was decoded from read as, which is the same."""
    reading = read(body)
    assert read(kind.model_validate(body)) == reading
    return reading


def test_a_message() -> None:
    reading = both(Message, message(USAGE))
    assert reading == Reading(counts=COUNTS, model="claude-opus-5", service_tier="standard")
    assert reading.counts.prompt_tokens == 50 + 3000 + 700
    assert reading.counts.completion_tokens == 900


def test_usage_by_itself() -> None:
    expected = Reading(counts=COUNTS, service_tier="standard")
    assert read(Usage.model_validate(USAGE)) == expected
    assert read(USAGE, "anthropic") == expected
    delta = MessageDeltaUsage.model_validate({"output_tokens": 15})
    assert read(delta).counts == TokenCounts(output_tokens=15)


def test_without_a_split_writes_are_for_five_minutes() -> None:
    usage = plain(1, 2, cache_creation_input_tokens=700, cache_creation=None)
    expected = TokenCounts(input_tokens=1, cache_write_5m_tokens=700, output_tokens=2)
    assert both(Message, message(usage)).counts == expected


@pytest.mark.parametrize(
    ("total", "split", "expected"),
    [
        (None, (200, 500), (200, 500)),
        (0, (200, 500), (200, 500)),  # never less than the split
        (900, (200, 500), (400, 500)),  # what a stream wrote since it stated the split
        (900, (0, 500), (0, 900)),  # by one that writes for an hour only
        (900, (0, 0), (900, 0)),
    ],
)
def test_a_total_of_writes_and_its_split(
    total: int | None, split: tuple[int, int], expected: tuple[int, int]
) -> None:
    five, hour = split
    usage = plain(
        1,
        2,
        cache_creation_input_tokens=total,
        cache_creation={"ephemeral_5m_input_tokens": five, "ephemeral_1h_input_tokens": hour},
    )
    counts = both(Message, message(usage)).counts
    assert (counts.cache_write_5m_tokens, counts.cache_write_1h_tokens) == expected


def test_a_message_of_an_old_model() -> None:
    usage = plain(10, 20, cache_read_input_tokens=None, server_tool_use=None, service_tier=None)
    assert both(Message, message(usage)) == Reading(
        counts=TokenCounts(input_tokens=10, output_tokens=20), model="claude-opus-5"
    )


def test_half_a_usage() -> None:
    assert read({"input_tokens": 5}, "anthropic").counts == TokenCounts(input_tokens=5)
    assert read({"output_tokens": 5}, "anthropic").counts == TokenCounts(output_tokens=5)


def test_more_thinking_than_output_is_all_the_output() -> None:
    usage = plain(0, 50, output_tokens_details={"thinking_tokens": 60})
    assert both(Message, message(usage)).counts == TokenCounts(reasoning_tokens=50)


def test_below_zero_is_zero() -> None:
    usage = plain(-1, 5, cache_read_input_tokens=-7)
    assert both(Message, message(usage)).counts == TokenCounts(output_tokens=5)


@pytest.mark.parametrize(
    ("tier", "speed", "served"),
    [
        ("standard", "standard", "standard"),
        ("standard", "fast", "fast"),
        (None, "fast", "fast"),
        ("priority", None, "priority"),
        ("batch", "fast", "batch"),
        (None, None, None),
    ],
)
def test_the_tier_that_served(tier: str | None, speed: str | None, served: str | None) -> None:
    usage = plain(1, 2, service_tier=tier, speed=speed)
    assert both(Message, message(usage)).service_tier == served


def test_a_result_of_a_batch() -> None:
    usage = plain(1, 2, service_tier="batch")
    line = {"custom_id": "a", "result": {"type": "succeeded", "message": message(usage)}}
    assert both(MessageBatchIndividualResponse, line) == Reading(
        counts=TokenCounts(input_tokens=1, output_tokens=2),
        model="claude-opus-5",
        service_tier="batch",
    )


def test_an_expired_request_of_a_batch_has_no_usage() -> None:
    line = {"custom_id": "a", "result": {"type": "expired"}}
    with pytest.raises(NoUsage):
        read(MessageBatchIndividualResponse.model_validate(line))


def test_a_compaction_is_added() -> None:
    iterations = [
        turn("compaction", 180000, 3500, read=5, written=7),
        turn("message", 23000, 1000),
    ]
    usage = plain(23000, 1000, iterations=iterations)
    reading = both(BetaMessage, message(usage))
    assert reading.counts == TokenCounts(
        input_tokens=203000, cache_read_tokens=5, cache_write_5m_tokens=7, output_tokens=4500
    )
    assert reading.others == ()


def test_an_advisor_is_another_model() -> None:
    iterations = [
        turn("message", 412, 89),
        turn("advisor_message", 823, 1612, read=10, model="claude-opus-5"),
        turn("message", 1348, 442, read=412),
        turn("advisor_message", 2000, 900, model="claude-opus-5"),
    ]
    usage = plain(1760, 531, cache_read_input_tokens=412, iterations=iterations)
    reading = both(BetaMessage, message(usage, model="claude-haiku-5-5"))
    assert reading == Reading(
        counts=TokenCounts(input_tokens=1760, cache_read_tokens=412, output_tokens=531),
        model="claude-haiku-5-5",
        others=(
            Reading(
                counts=TokenCounts(input_tokens=823, cache_read_tokens=10, output_tokens=1612),
                model="claude-opus-5",
            ),
            Reading(
                counts=TokenCounts(input_tokens=2000, output_tokens=900), model="claude-opus-5"
            ),
        ),
    )


def test_an_attempt_before_a_fallback_is_another_models() -> None:
    iterations = [
        turn("message", 2, 578, 72769, 10421, model="claude-fable-5"),
        turn("fallback_message", 2, 13658, 79214, model="claude-opus-4-8"),
    ]
    usage = plain(2, 13658, cache_read_input_tokens=79214, iterations=iterations)
    attempt = Reading(
        counts=TokenCounts(
            input_tokens=2,
            cache_read_tokens=72769,
            cache_write_5m_tokens=10421,
            output_tokens=578,
        ),
        model="claude-fable-5",
    )
    for stated in ("claude-opus-4-8", "claude-fable-5"):  # the latter where a stream began with it
        reading = both(BetaMessage, message(usage, model=stated))
        assert reading == Reading(
            counts=TokenCounts(input_tokens=2, cache_read_tokens=79214, output_tokens=13658),
            model="claude-opus-4-8",
            is_fallback=True,
            others=(attempt,),
        )


def test_an_attempt_that_generated_nothing_is_free() -> None:
    iterations = [
        turn("message", 500, 0, model="claude-fable-5"),
        turn("message", 20, 30, model="claude-opus-4-8"),
        turn("fallback_message", 40, 50, model="claude-opus-4-8"),
    ]
    usage = plain(60, 80, iterations=iterations)
    reading = both(BetaMessage, message(usage, model="claude-opus-4-8"))
    assert reading.counts == TokenCounts(input_tokens=60, output_tokens=80)
    assert reading.others == ()


def test_what_is_no_count_is_an_error() -> None:
    with pytest.raises(UnknownUsage, match="input_tokens holds a str, not a count"):
        read(message({"input_tokens": "12", "output_tokens": 1}))


def test_genai_prices_extracts_the_same() -> None:
    extracted = extract_usage(message(USAGE), provider_id="anthropic").usage
    assert extracted.input_tokens == COUNTS.prompt_tokens
    assert extracted.output_tokens == COUNTS.completion_tokens
    assert extracted.cache_read_tokens == COUNTS.cache_read_tokens
    assert extracted.cache_write_5m_tokens == COUNTS.cache_write_5m_tokens
    assert extracted.cache_write_1h_tokens == COUNTS.cache_write_1h_tokens
    assert extracted.output_reasoning_tokens == COUNTS.reasoning_tokens
    assert extracted.web_searches == COUNTS.web_searches


sizes = st.integers(0, 10**6)


@given(sizes, sizes, sizes, sizes, sizes, sizes)
def test_classes_sum_up_to_the_totals(
    fresh: int, cached: int, five: int, hour: int, thinking: int, said: int
) -> None:
    usage = {
        "input_tokens": fresh,
        "cache_read_input_tokens": cached,
        "cache_creation_input_tokens": five + hour,
        "cache_creation": {"ephemeral_5m_input_tokens": five, "ephemeral_1h_input_tokens": hour},
        "output_tokens": thinking + said,
        "output_tokens_details": {"thinking_tokens": thinking},
    }
    counts = read(Usage.model_validate(usage)).counts
    assert counts == TokenCounts(
        input_tokens=fresh,
        cache_read_tokens=cached,
        cache_write_5m_tokens=five,
        cache_write_1h_tokens=hour,
        output_tokens=said,
        reasoning_tokens=thinking,
    )
    assert counts.prompt_tokens == fresh + cached + five + hour
    assert counts.completion_tokens == thinking + said


@given(*[st.integers(-10, 1000)] * 7)
def test_whatever_is_stated_no_token_is_lost(
    fresh: int, cached: int, total: int, five: int, hour: int, thinking: int, output: int
) -> None:
    usage = {
        "input_tokens": fresh,
        "cache_read_input_tokens": cached,
        "cache_creation_input_tokens": total,
        "cache_creation": {"ephemeral_5m_input_tokens": five, "ephemeral_1h_input_tokens": hour},
        "output_tokens": output,
        "output_tokens_details": {"thinking_tokens": thinking},
    }
    counts = read(usage, "anthropic").counts  # a negative class would raise
    written = max(total, max(five, 0) + max(hour, 0))
    assert counts.prompt_tokens == max(fresh, 0) + max(cached, 0) + written
    assert counts.completion_tokens == max(output, 0)
