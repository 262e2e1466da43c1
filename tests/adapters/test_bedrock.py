"""Bedrock's Converse counts are exclusive; botocore itself parses what the service would send."""

import io
import json
from typing import Any

import pytest
from botocore.awsrequest import AWSResponse
from botocore.session import get_session
from genai_prices import extract_usage
from hypothesis import given
from hypothesis import strategies as st

from tallystick.adapters import NoUsage, Reading, UnknownUsage, read
from tallystick.counts import TokenCounts

USAGE = {
    "inputTokens": 40,
    "outputTokens": 600,
    "totalTokens": 2640,
    "cacheReadInputTokens": 1200,
    "cacheWriteInputTokens": 800,
    "cacheDetails": [{"ttl": "1h", "inputTokens": 500}, {"ttl": "5m", "inputTokens": 300}],
}
COUNTS = TokenCounts(
    input_tokens=40,
    cache_read_tokens=1200,
    cache_write_5m_tokens=300,
    cache_write_1h_tokens=500,
    output_tokens=600,
)


def converse_body(usage: dict[str, Any] = USAGE, **fields: object) -> dict[str, Any]:
    return {
        "output": {"message": {"role": "assistant", "content": [{"text": "Yes."}]}},
        "stopReason": "end_turn",
        "usage": usage,
        "metrics": {"latencyMs": 551},
        **fields,
    }


def converse(body: dict[str, Any]) -> dict[str, Any]:
    """What a real client returns when the service answers with this body; nothing is sent."""
    client = get_session().create_client(
        "bedrock-runtime",
        region_name="eu-central-1",
        aws_access_key_id="none",
        aws_secret_access_key="none",
    )

    def answer(request: Any, **_: object) -> AWSResponse:
        raw = io.BytesIO(json.dumps(body).encode())
        raw.stream = lambda **_: iter([raw.getvalue()])  # type: ignore[attr-defined]
        return AWSResponse(request.url, 200, {"content-type": "application/json"}, raw)

    client.meta.events.register("before-send.bedrock-runtime.Converse", answer)
    return client.converse(modelId="m", messages=[{"role": "user", "content": [{"text": "?"}]}])


def both(body: dict[str, Any]) -> Reading:
    """What botocore's parsed response and the JSON body read as, which is the same."""
    reading = read(body)
    parsed = converse(body)
    assert "ResponseMetadata" in parsed
    assert read(parsed) == reading
    return reading


def test_a_response() -> None:
    reading = both(converse_body(serviceTier={"type": "flex"}))
    assert reading == Reading(counts=COUNTS, service_tier="flex")
    assert reading.counts.prompt_tokens == 40 + 1200 + 800


def test_usage_by_itself() -> None:
    assert read(USAGE, "bedrock") == Reading(counts=COUNTS)


def test_without_details_writes_are_for_five_minutes() -> None:
    usage = {name: count for name, count in USAGE.items() if name != "cacheDetails"}
    expected = TokenCounts(
        input_tokens=40, cache_read_tokens=1200, cache_write_5m_tokens=800, output_tokens=600
    )
    assert both(converse_body(usage)).counts == expected
    assert both(converse_body(usage | {"cacheDetails": []})).counts == expected


def test_without_a_cache() -> None:
    usage = {"inputTokens": 30, "outputTokens": 628, "totalTokens": 658}
    expected = TokenCounts(input_tokens=30, output_tokens=628)
    assert both(converse_body(usage)) == Reading(counts=expected)


def test_the_model_a_router_chose() -> None:
    arn = "arn:aws:bedrock:eu-central-1::foundation-model/anthropic.claude-haiku-5-5-v1:0"
    body = converse_body(trace={"promptRouter": {"invokedModelId": arn}})
    assert both(body).model == arn


def test_details_above_their_total_count() -> None:
    usage = USAGE | {"cacheWriteInputTokens": 1}
    assert both(converse_body(usage)).counts == COUNTS
    more = USAGE | {"cacheWriteInputTokens": 1000}
    counts = both(converse_body(more)).counts
    assert (counts.cache_write_5m_tokens, counts.cache_write_1h_tokens) == (500, 500)


def test_half_a_usage() -> None:
    assert read({"inputTokens": 5}, "bedrock").counts == TokenCounts(input_tokens=5)
    assert read({"outputTokens": 5}, "bedrock").counts == TokenCounts(output_tokens=5)
    usage = {"inputTokens": 5, "cacheDetails": [{"ttl": "1h"}, {}]}
    assert read(usage, "bedrock").counts == TokenCounts(input_tokens=5)


def test_below_zero_is_zero() -> None:
    usage = {"inputTokens": -1, "outputTokens": 5, "totalTokens": 5, "cacheReadInputTokens": -7}
    assert both(converse_body(usage)).counts == TokenCounts(output_tokens=5)


def test_a_body_of_invoke_model_is_its_vendors() -> None:
    body = {
        "type": "message",
        "model": "claude-opus-5",
        "usage": {"input_tokens": 1, "cache_read_input_tokens": 2, "output_tokens": 3},
    }
    expected = TokenCounts(input_tokens=1, cache_read_tokens=2, output_tokens=3)
    assert read(body).counts == expected
    assert read(body, "anthropic").counts == expected


def test_a_response_that_is_not_of_converse() -> None:
    invoked = {"body": io.BytesIO(b"{}"), "contentType": "application/json"}
    with pytest.raises(UnknownUsage, match="body, contentType"):
        read(invoked)
    with pytest.raises(NoUsage):
        read(invoked, "bedrock")


def test_what_is_no_count_is_an_error() -> None:
    with pytest.raises(UnknownUsage, match="inputTokens holds a str, not a count"):
        read(converse_body({"inputTokens": "12"}))


def test_genai_prices_extracts_the_same() -> None:
    body = {"model": "anthropic.claude-haiku-4-5-20251001-v1:0", **converse_body()}
    extracted = extract_usage(body, provider_id="aws").usage
    assert extracted.input_tokens == COUNTS.prompt_tokens
    assert extracted.output_tokens == COUNTS.completion_tokens
    assert extracted.cache_read_tokens == COUNTS.cache_read_tokens
    assert extracted.cache_write_5m_tokens == COUNTS.cache_write_5m_tokens
    assert extracted.cache_write_1h_tokens == COUNTS.cache_write_1h_tokens


sizes = st.integers(0, 10**6)


@given(sizes, sizes, sizes, sizes, sizes)
def test_classes_sum_up_to_the_totals(
    fresh: int, cached: int, five: int, hour: int, received: int
) -> None:
    usage = {
        "inputTokens": fresh,
        "outputTokens": received,
        "cacheReadInputTokens": cached,
        "cacheWriteInputTokens": five + hour,
        "cacheDetails": [{"ttl": "1h", "inputTokens": hour}, {"ttl": "5m", "inputTokens": five}],
    }
    counts = read(converse_body(usage)).counts
    assert counts.prompt_tokens == fresh + cached + five + hour
    assert counts.completion_tokens == received
    assert (counts.cache_write_5m_tokens, counts.cache_write_1h_tokens) == (five, hour)


@given(*[st.integers(-10, 1000)] * 6)
def test_whatever_is_stated_no_token_is_lost(
    fresh: int, cached: int, total: int, five: int, hour: int, received: int
) -> None:
    usage = {
        "inputTokens": fresh,
        "outputTokens": received,
        "cacheReadInputTokens": cached,
        "cacheWriteInputTokens": total,
        "cacheDetails": [{"ttl": "1h", "inputTokens": hour}, {"ttl": "5m", "inputTokens": five}],
    }
    counts = read(usage, "bedrock").counts  # a negative class would raise
    written = max(total, max(five, 0) + max(hour, 0))
    assert counts.prompt_tokens == max(fresh, 0) + max(cached, 0) + written
    assert counts.completion_tokens == max(received, 0)
