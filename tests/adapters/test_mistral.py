"""Mistral's prompt includes the cache and leaves out audio and connectors, which its total has."""

from typing import Any

import pytest
from genai_prices import extract_usage
from hypothesis import given
from hypothesis import strategies as st
from mistralai.client.models import (
    ChatCompletionResponse,
    ConversationResponse,
    CreateResponseResponse,
    EmbeddingResponse,
    OCRResponse,
    ResponsesCompletedEvent,
    TranscriptionResponse,
    UsageInfo,
)

from tallystick.adapters import NoUsage, Reading, UnknownUsage, read
from tallystick.counts import TokenCounts

USAGE = {
    "prompt_tokens": 120,
    "completion_tokens": 30,
    "total_tokens": 150,
    "prompt_tokens_details": {"cached_tokens": 64},
    "num_cached_tokens": 64,
    "service_tier": "priority",
}
COUNTS = TokenCounts(input_tokens=56, cache_read_tokens=64, output_tokens=30)


def chat(usage: dict[str, Any]) -> dict[str, Any]:
    return {
        "id": "cmpl-1",
        "object": "chat.completion",
        "created": 1780000000,
        "model": "mistral-large-2512",
        "choices": [
            {
                "index": 0,
                "finish_reason": "stop",
                "message": {"role": "assistant", "content": "Oui."},
            }
        ],
        "usage": usage,
    }


def conversation(usage: dict[str, Any]) -> dict[str, Any]:
    return {
        "object": "conversation.response",
        "conversation_id": "conv_1",
        "outputs": [
            {
                "object": "entry",
                "type": "message.output",
                "id": "msg_1",
                "role": "assistant",
                "model": "mistral-medium-2505",
                "content": "Oui.",
            }
        ],
        "usage": usage,
    }


def both(kind: type[Any], body: dict[str, Any], provider: str | None = None) -> Reading:
    """What the package's object and the JSON it was decoded from read as, which is the same."""
    reading = read(body, provider)
    assert read(kind.model_validate(body)) == reading
    return reading


def test_a_chat_completion() -> None:
    reading = both(ChatCompletionResponse, chat(USAGE))
    assert reading == Reading(counts=COUNTS, model="mistral-large-2512", service_tier="priority")


def test_usage_by_itself() -> None:
    expected = Reading(counts=COUNTS, service_tier="priority")
    assert read(UsageInfo.model_validate(USAGE)) == expected
    assert read(USAGE, "mistral") == expected


def test_a_response() -> None:
    body = {
        "id": "r1",
        "object": "response",
        "created_at": 1780000000,
        "model": "mistral-large-2512",
        "output": [],
        "parallel_tool_calls": True,
        "tool_choice": "auto",
        "tools": [],
        "service_tier": "flex",
        "usage": {
            "input_tokens": 120,
            "input_tokens_details": {"cached_tokens": 64, "cache_write_tokens": 6},
            "output_tokens": 30,
            "output_tokens_details": {"reasoning_tokens": 10},
            "total_tokens": 150,
        },
    }
    reading = Reading(
        counts=TokenCounts(
            input_tokens=50,
            cache_read_tokens=64,
            cache_write_5m_tokens=6,
            output_tokens=20,
            reasoning_tokens=10,
        ),
        model="mistral-large-2512",
        service_tier="flex",
    )
    assert both(CreateResponseResponse, body) == reading
    event = {"type": "response.completed", "sequence_number": 9, "response": body}
    assert both(ResponsesCompletedEvent, event) == reading
    assert read(event, "mistral") == reading
    undecided = body | {"service_tier": "auto"}
    assert both(CreateResponseResponse, undecided).service_tier is None


def test_either_name_of_what_was_cached() -> None:
    for cached in (
        {"prompt_tokens_details": {"cached_tokens": 64}},
        {"num_cached_tokens": 64},
        {"prompt_tokens_details": None, "num_cached_tokens": 64},
    ):
        usage = {"prompt_tokens": 120, "completion_tokens": 30, "total_tokens": 150, **cached}
        assert both(ChatCompletionResponse, chat(usage), "mistral").counts == COUNTS


def test_fields_that_were_not_sent_are_zero() -> None:
    usage = {"prompt_tokens": 9, "completion_tokens": 4, "total_tokens": 13}
    typed = ChatCompletionResponse.model_validate(chat(usage))
    assert not typed.usage.prompt_audio_seconds  # the package's mark, neither None nor a number
    assert read(typed) == Reading(
        counts=TokenCounts(input_tokens=9, output_tokens=4), model="mistral-large-2512"
    )


def test_half_a_usage() -> None:
    assert read({"prompt_tokens": 5}, "mistral").counts == TokenCounts(input_tokens=5)
    assert read({"completion_tokens": 5}, "mistral").counts == TokenCounts(output_tokens=5)


def test_embeddings() -> None:
    body = {
        "id": "e1",
        "object": "list",
        "model": "mistral-embed",
        "data": [{"object": "embedding", "index": 0, "embedding": [0.1]}],
        "usage": {
            "prompt_tokens": 15,
            "completion_tokens": 0,
            "total_tokens": 15,
            "prompt_audio_seconds": None,
        },
    }
    expected = Reading(counts=TokenCounts(input_tokens=15), model="mistral-embed")
    assert both(EmbeddingResponse, body) == expected


@pytest.mark.parametrize(
    ("usage", "expected"),
    [
        # 3 + 375 + 41 = 419, as a transcription of 12 seconds reported it
        (
            {
                "prompt_audio_seconds": 12,
                "prompt_tokens": 3,
                "completion_tokens": 41,
                "total_tokens": 419,
                "prompt_tokens_details": {"cached_tokens": 0, "audio_tokens": 375},
            },
            {"input_tokens": 3, "input_audio_tokens": 375, "output_tokens": 41},
        ),
        # as one of 5 seconds did, from the cache: of 380 sent, 368
        (
            {
                "prompt_audio_seconds": 5,
                "prompt_tokens": 5,
                "completion_tokens": 24,
                "total_tokens": 404,
                "prompt_tokens_details": {"cached_tokens": 368},
            },
            {
                "cache_read_tokens": 5,
                "cache_read_audio_tokens": 363,
                "input_audio_tokens": 12,
                "output_tokens": 24,
            },
        ),
        # nothing but a sum: 203 seconds
        (
            {
                "prompt_audio_seconds": 203,
                "prompt_tokens": 4,
                "completion_tokens": 635,
                "total_tokens": 3264,
            },
            {"input_tokens": 4, "input_audio_tokens": 2625, "output_tokens": 635},
        ),
    ],
)
def test_a_transcription(usage: dict[str, Any], expected: dict[str, int]) -> None:
    body = {
        "model": "voxtral-mini-latest",
        "text": "Oui.",
        "language": None,
        "segments": [],
        "usage": usage,
    }
    reading = both(TranscriptionResponse, body)
    assert reading == Reading(counts=TokenCounts(**expected), model="voxtral-mini-latest")


def test_what_connectors_brought_in_is_input() -> None:
    usage = {
        "prompt_tokens": 188,
        "completion_tokens": 55,
        "total_tokens": 7355,
        "connector_tokens": 7112,
        "connectors": {"web_search": 1, "web_search_premium": 2, "code_interpreter": 4},
    }
    assert both(ConversationResponse, conversation(usage)) == Reading(
        counts=TokenCounts(input_tokens=7300, output_tokens=55, web_searches=3),
        model="mistral-medium-2505",
    )


def test_a_conversation_without_connectors() -> None:
    usage = {
        "prompt_tokens": 91,
        "completion_tokens": 29,
        "total_tokens": 120,
        "connector_tokens": None,
        "connectors": None,
    }
    assert both(ConversationResponse, conversation(usage)).counts == TokenCounts(
        input_tokens=91, output_tokens=29
    )


def test_connector_tokens_without_a_total() -> None:
    usage = {"prompt_tokens": 10, "completion_tokens": 8, "connector_tokens": 4}
    assert read(usage, "mistral").counts == TokenCounts(input_tokens=14, output_tokens=8)


@pytest.mark.parametrize(
    ("usage", "expected"),
    [
        ({"prompt_tokens": 10, "num_cached_tokens": 15}, {"cache_read_tokens": 10}),
        (
            {
                "prompt_tokens": 10,
                "prompt_audio_seconds": 1,
                "prompt_tokens_details": {"audio_tokens": 25},
            },
            {"input_audio_tokens": 10},
        ),
        (
            {"prompt_tokens": 10, "completion_tokens": 7, "total_tokens": 3},
            {"input_tokens": 10, "output_tokens": 7},
        ),
        ({"prompt_tokens": -1, "completion_tokens": 2}, {"output_tokens": 2}),
    ],
)
def test_a_report_that_contradicts_itself_keeps_its_totals(
    usage: dict[str, Any], expected: dict[str, int]
) -> None:
    assert both(ChatCompletionResponse, chat(usage), "mistral").counts == TokenCounts(**expected)


def test_pages_are_no_tokens() -> None:
    body = {"model": "mistral-ocr-latest", "pages": [], "usage_info": {"pages_processed": 3}}
    with pytest.raises(NoUsage):
        read(OCRResponse.model_validate(body))


def test_what_is_no_count_is_an_error() -> None:
    with pytest.raises(UnknownUsage, match="prompt_tokens holds a str, not a count"):
        read(chat({"prompt_tokens": "12", "num_cached_tokens": 0}))


def test_genai_prices_extracts_the_same() -> None:
    extracted = extract_usage(chat(USAGE), provider_id="mistral").usage
    assert extracted.input_tokens == COUNTS.prompt_tokens
    assert extracted.output_tokens == COUNTS.completion_tokens
    assert extracted.cache_read_tokens == COUNTS.cache_read_tokens


sizes = st.integers(0, 10**6)


@given(sizes, sizes, sizes, st.data())
def test_classes_sum_up_to_the_totals(
    prompt: int, audio: int, completion: int, data: st.DataObject
) -> None:
    cached = data.draw(st.integers(0, prompt + audio))
    usage = {
        "prompt_tokens": prompt,
        "completion_tokens": completion,
        "total_tokens": prompt + audio + completion,
        "prompt_audio_seconds": audio // 12,
        "prompt_tokens_details": {"cached_tokens": cached, "audio_tokens": audio},
    }
    counts = read(UsageInfo.model_validate(usage)).counts
    assert counts.prompt_tokens == prompt + audio
    assert counts.completion_tokens == completion
    assert counts.cache_read_tokens + counts.cache_read_audio_tokens == cached
    assert counts.input_audio_tokens + counts.cache_read_audio_tokens == audio


anything = st.integers(-10, 1000)
STATED = (
    *("prompt_tokens", "completion_tokens", "total_tokens", "num_cached_tokens"),
    *("prompt_audio_seconds", "connector_tokens"),
)


@given(st.fixed_dictionaries(dict.fromkeys(STATED, anything)), anything)
def test_whatever_is_stated_no_token_is_lost(stated: dict[str, int], audio: int) -> None:
    usage = stated | {"prompt_tokens_details": {"audio_tokens": audio}}
    counts = read(usage, "mistral").counts  # a negative class would raise
    prompt, completion, total = (max(stated[name], 0) for name in STATED[:3])
    sent = max(prompt + max(stated["connector_tokens"], 0), total - completion)
    assert counts.prompt_tokens == sent
    assert counts.completion_tokens == completion
