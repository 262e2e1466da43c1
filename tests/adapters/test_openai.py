"""OpenAI's counts include one another; each token must end up in one class."""

from collections.abc import Callable
from typing import Any

import pytest
from genai_prices import extract_usage
from hypothesis import given
from hypothesis import strategies as st
from openai.types import Completion, CompletionUsage, CreateEmbeddingResponse, ImagesResponse
from openai.types.audio import Transcription
from openai.types.chat import ChatCompletion
from openai.types.realtime import RealtimeResponse, ResponseDoneEvent
from openai.types.responses import CompactedResponse, Response, ResponseUsage

from tallystick.adapters import NoUsage, Reading, UnknownUsage, read
from tallystick.counts import TokenCounts

CHAT_USAGE = {
    "prompt_tokens": 1000,
    "completion_tokens": 500,
    "total_tokens": 1500,
    "prompt_tokens_details": {
        "cached_tokens": 300,
        "cache_write_tokens": 100,
        "audio_tokens": 50,
        "image_tokens": 120,
        "text_tokens": 830,
    },
    "completion_tokens_details": {
        "reasoning_tokens": 200,
        "audio_tokens": 60,
        "accepted_prediction_tokens": 10,
        "rejected_prediction_tokens": 5,
        "text_tokens": 240,
    },
}
# 1000 - 300 - 100 - 50 - 120 and 500 - 200 - 60
CHAT_COUNTS = TokenCounts(
    input_tokens=430,
    cache_read_tokens=300,
    cache_write_5m_tokens=100,
    input_audio_tokens=50,
    input_image_tokens=120,
    output_tokens=240,
    reasoning_tokens=200,
    output_audio_tokens=60,
)
RESPONSE_USAGE = {
    "input_tokens": 2600,
    "output_tokens": 300,
    "total_tokens": 2900,
    "input_tokens_details": {
        "cached_tokens": 2000,
        "cache_write_tokens": 400,
        "cache_write_tokens_details": {"ttl_30m_tokens": 100, "ttl_12h_tokens": 300},
    },
    "output_tokens_details": {"reasoning_tokens": 120},
}
RESPONSE_COUNTS = TokenCounts(
    input_tokens=200,
    cache_read_tokens=2000,
    cache_write_5m_tokens=400,
    output_tokens=180,
    reasoning_tokens=120,
)
REALTIME = {
    "type": "response.done",
    "event_id": "event_1",
    "response": {
        "object": "realtime.response",
        "id": "resp_1",
        "status": "completed",
        "output": [],
        "usage": {
            "total_tokens": 253,
            "input_tokens": 132,
            "output_tokens": 121,
            "input_token_details": {
                "text_tokens": 70,
                "audio_tokens": 50,
                "image_tokens": 12,
                "cached_tokens": 64,
                "cached_tokens_details": {
                    "text_tokens": 30,
                    "audio_tokens": 24,
                    "image_tokens": 10,
                },
            },
            "output_token_details": {"text_tokens": 30, "audio_tokens": 91},
        },
    },
}


def chat(usage: dict[str, Any] | None = CHAT_USAGE, **fields: object) -> dict[str, Any]:
    return {
        "id": "chatcmpl-1",
        "object": "chat.completion",
        "created": 1780000000,
        "model": "gpt-5.6-sol-2026-07-01",
        "choices": [
            {
                "index": 0,
                "finish_reason": "stop",
                "message": {"role": "assistant", "content": "Yes."},
                "logprobs": None,
            }
        ],
        "usage": usage,
        **fields,
    }


def response(usage: dict[str, Any] | None = RESPONSE_USAGE, **fields: object) -> dict[str, Any]:
    return {
        "id": "resp_1",
        "object": "response",
        "created_at": 1780000000,
        "status": "completed",
        "model": "gpt-5.6-sol",
        "output": [],
        "parallel_tool_calls": True,
        "tool_choice": "auto",
        "tools": [],
        "usage": usage,
        **fields,
    }


def search(action: dict[str, Any]) -> dict[str, Any]:
    return {"id": "ws_1", "type": "web_search_call", "status": "completed", "action": action}


def image_tool_usage(**fields: object) -> dict[str, Any]:
    return {
        "input_tokens": 700,
        "input_tokens_details": {"image_tokens": 600, "text_tokens": 100},
        "output_tokens": 1056,
        "total_tokens": 1756,
        **fields,
    }


def both(kind: type[Any], body: dict[str, Any]) -> Reading:
    """What the package's object and the JSON it was decoded from read as, which is the same."""
    reading = read(body)
    assert read(kind.model_validate(body)) == reading
    return reading


def cached(counts: TokenCounts) -> int:
    return (
        counts.cache_read_tokens + counts.cache_read_audio_tokens + counts.cache_read_image_tokens
    )


def test_a_chat_completion() -> None:
    reading = both(ChatCompletion, chat(service_tier="priority"))
    assert reading == Reading(
        counts=CHAT_COUNTS, model="gpt-5.6-sol-2026-07-01", service_tier="priority"
    )
    assert reading.counts.prompt_tokens == 1000
    assert reading.counts.completion_tokens == 500


def test_a_response() -> None:
    reading = both(Response, response(service_tier="flex"))
    assert reading == Reading(counts=RESPONSE_COUNTS, model="gpt-5.6-sol", service_tier="flex")


def test_usage_by_itself() -> None:
    assert read(CompletionUsage.model_validate(CHAT_USAGE)) == Reading(counts=CHAT_COUNTS)
    assert read(CHAT_USAGE, "openai") == Reading(counts=CHAT_COUNTS)
    assert read(ResponseUsage.model_validate(RESPONSE_USAGE)) == Reading(counts=RESPONSE_COUNTS)
    assert read(RESPONSE_USAGE, "openai") == Reading(counts=RESPONSE_COUNTS)


def test_an_object_built_without_validation() -> None:
    built = ChatCompletion.construct(**chat())
    assert read(built).counts == CHAT_COUNTS


def test_embeddings() -> None:
    body = {
        "object": "list",
        "model": "text-embedding-3-small",
        "data": [{"object": "embedding", "index": 0, "embedding": [0.1]}],
        "usage": {"prompt_tokens": 8, "total_tokens": 8},
    }
    reading = both(CreateEmbeddingResponse, body)
    assert reading == Reading(counts=TokenCounts(input_tokens=8), model="text-embedding-3-small")


def test_an_old_completion() -> None:
    body = {
        "id": "cmpl-1",
        "object": "text_completion",
        "created": 1,
        "model": "gpt-3.5-turbo-instruct",
        "choices": [{"index": 0, "finish_reason": "stop", "text": "Yes.", "logprobs": None}],
        "usage": {"prompt_tokens": 5, "completion_tokens": 7, "total_tokens": 12},
    }
    assert both(Completion, body).counts == TokenCounts(input_tokens=5, output_tokens=7)


def test_a_compaction() -> None:
    body = {
        "id": "cmp_1",
        "object": "response.compaction",
        "created_at": 1,
        "output": [],
        "usage": RESPONSE_USAGE,
    }
    assert both(CompactedResponse, body).counts == RESPONSE_COUNTS


def test_realtime_says_which_cached_tokens_are_audio_and_images() -> None:
    assert both(ResponseDoneEvent, REALTIME).counts == TokenCounts(
        input_tokens=40,  # 70 - 30
        cache_read_tokens=30,
        input_audio_tokens=26,  # 50 - 24
        cache_read_audio_tokens=24,
        input_image_tokens=2,  # 12 - 10
        cache_read_image_tokens=10,
        output_tokens=30,
        output_audio_tokens=91,
    )


def test_more_read_and_written_than_there_is_text_is_images_and_audio() -> None:
    usage = {
        "input_tokens": 100,
        "output_tokens": 0,
        "input_token_details": {
            "audio_tokens": 50,
            "image_tokens": 40,
            "cached_tokens": 55,
            "cached_tokens_details": {"image_tokens": 20, "audio_tokens": 15},
            "cache_write_tokens": 40,
        },
    }
    # Of 10 text, 40 images and 50 audio, 20 images and 15 audio are read, and 20 more of something:
    # 10 text, then 10 images. Of the 10 images and 35 audio left, 40 are written: 5 audio remain.
    assert read(usage, "openai").counts == TokenCounts(
        cache_read_tokens=10,
        cache_write_5m_tokens=40,
        input_audio_tokens=5,
        cache_read_audio_tokens=15,
        cache_read_image_tokens=30,
    )


def test_a_response_of_realtime_by_itself() -> None:
    body = REALTIME["response"]
    assert both(RealtimeResponse, body) == read(REALTIME)


def test_a_transcription_by_tokens() -> None:
    body = {
        "text": "Yes.",
        "usage": {
            "type": "tokens",
            "input_tokens": 14,
            "input_token_details": {"text_tokens": 4, "audio_tokens": 10},
            "output_tokens": 45,
            "total_tokens": 59,
        },
    }
    assert read(Transcription.model_validate(body)).counts == TokenCounts(
        input_tokens=4, input_audio_tokens=10, output_tokens=45
    )


def test_a_transcription_by_duration_has_no_tokens() -> None:
    body = {"text": "Yes.", "usage": {"type": "duration", "seconds": 9.0}}
    with pytest.raises(NoUsage):
        read(Transcription.model_validate(body))


def test_an_image() -> None:
    usage = image_tool_usage(output_tokens_details={"image_tokens": 1000, "text_tokens": 56})
    body = {"created": 1, "data": [{"b64_json": ""}], "usage": usage}
    assert read(ImagesResponse.model_validate(body)).counts == TokenCounts(
        input_tokens=100, input_image_tokens=600, output_tokens=56, output_image_tokens=1000
    )


def test_searches_are_calls_that_searched() -> None:
    output = [
        search({"type": "search", "query": "a", "queries": ["a", "b"]}),
        search({"type": "open_page", "url": "https://example.org"}),
        search({"type": "find_in_page", "url": "https://example.org", "pattern": "x"}),
        search({"type": "search", "query": "c"}),
    ]
    assert both(Response, response(output=output)).counts.web_searches == 2
    bare = {"id": "ws_1", "type": "web_search_call", "status": "completed"}
    assert read(response(output=[bare])).counts.web_searches == 1


def test_searches_of_files_are_calls() -> None:
    call = {"id": "fs_1", "type": "file_search_call", "status": "completed", "queries": ["a", "b"]}
    output = [call, {**call, "id": "fs_2"}, search({"type": "search", "query": "a"})]
    reading = both(Response, response(output=output))
    assert (reading.counts.file_searches, reading.counts.web_searches) == (2, 1)


def test_searches_that_are_charged_win_over_calls() -> None:
    output = [search({"type": "search", "query": "a"}), search({"type": "search", "query": "b"})]
    no_images = image_tool_usage(
        input_tokens=0,
        output_tokens=0,
        total_tokens=0,
        input_tokens_details={"image_tokens": 0, "text_tokens": 0},
    )
    for charged in (0, 1):
        tool_usage = {"web_search": {"num_requests": charged}, "image_gen": no_images}
        reading = both(Response, response(output=output, tool_usage=tool_usage))
        assert reading.counts.web_searches == charged
        assert reading.others == ()


def test_images_drawn_on_the_way_are_another_models() -> None:
    tools = [{"type": "image_generation", "model": "gpt-image-2"}]
    tool_usage = {"web_search": {"num_requests": 0}, "image_gen": image_tool_usage()}
    reading = both(Response, response(tools=tools, tool_usage=tool_usage))
    assert reading.counts == RESPONSE_COUNTS
    drawn = TokenCounts(input_tokens=100, input_image_tokens=600, output_image_tokens=1056)
    assert reading.others == (Reading(counts=drawn, model="gpt-image-2"),)


def test_images_drawn_from_the_cache() -> None:
    usage = image_tool_usage(
        cached_tokens=500,
        cached_tokens_details={"cached_image_tokens": 450, "cached_text_tokens": 50},
        output_tokens_details={"image_tokens": 1000, "text_tokens": 56},
    )
    tool_usage = {"web_search": {"num_requests": 0}, "image_gen": usage}
    (drawn,) = both(Response, response(tool_usage=tool_usage)).others
    assert drawn == Reading(
        counts=TokenCounts(
            input_tokens=50,
            cache_read_tokens=50,
            input_image_tokens=150,
            cache_read_image_tokens=450,
            output_tokens=56,
            output_image_tokens=1000,
        )
    )


@pytest.mark.parametrize(
    ("stated", "served"),
    [("auto", None), (None, None), ("default", "default"), ("ultrafast", "ultrafast")],
)
def test_auto_is_no_tier_that_served(stated: str | None, served: str | None) -> None:
    assert both(Response, response(service_tier=stated)).service_tier == served


def test_reasoning_that_only_the_total_counts() -> None:
    # xAI's own example: 32 + 9 + 94 = 135
    usage = {
        "prompt_tokens": 32,
        "completion_tokens": 9,
        "total_tokens": 135,
        "prompt_tokens_details": {"text_tokens": 32, "cached_tokens": 8},
        "completion_tokens_details": {"reasoning_tokens": 94},
    }
    assert both(ChatCompletion, chat(usage)).counts == TokenCounts(
        input_tokens=24, cache_read_tokens=8, output_tokens=9, reasoning_tokens=94
    )


def test_without_details_all_is_text() -> None:
    usage = {"prompt_tokens": 3, "completion_tokens": 4, "total_tokens": 7}
    empty = usage | {"prompt_tokens_details": None, "completion_tokens_details": {}}
    expected = TokenCounts(input_tokens=3, output_tokens=4)
    assert both(ChatCompletion, chat(usage)).counts == expected
    assert both(ChatCompletion, chat(empty)).counts == expected
    assert read(chat({"prompt_tokens": 3})).counts == TokenCounts(input_tokens=3)
    assert read(chat(usage | {"colour": "red", "tokens": {"a": 1}})).counts == expected


def test_half_a_usage() -> None:
    assert read({"prompt_tokens": 5}, "openai").counts == TokenCounts(input_tokens=5)
    assert read({"completion_tokens": 5}, "openai").counts == TokenCounts(output_tokens=5)
    assert read({"output_tokens": 5}, "openai").counts == TokenCounts(output_tokens=5)


def test_stated_zeros_are_usage() -> None:
    usage = {"prompt_tokens": 0, "completion_tokens": 0, "total_tokens": 0}
    assert both(ChatCompletion, chat(usage)).counts == TokenCounts()


def details(prompt: int, completion: int = 0, **stated: int) -> dict[str, Any]:
    of_output = {"reasoning_tokens", "output_audio_tokens"}
    return {
        "prompt_tokens": prompt,
        "completion_tokens": completion,
        "total_tokens": prompt + completion,
        "prompt_tokens_details": {
            name: count for name, count in stated.items() if name not in of_output
        },
        "completion_tokens_details": {
            name.removeprefix("output_"): count
            for name, count in stated.items()
            if name in of_output
        },
    }


@pytest.mark.parametrize(
    ("usage", "expected"),
    [
        # more cached than sent
        (details(100, cached_tokens=150), {"cache_read_tokens": 100}),
        # more read and written than sent: the dearer stays whole
        (
            details(100, cached_tokens=80, cache_write_tokens=50),
            {"cache_read_tokens": 50, "cache_write_5m_tokens": 50},
        ),
        # more audio and images than sent
        (
            details(100, audio_tokens=70, image_tokens=60),
            {"input_audio_tokens": 70, "input_image_tokens": 30},
        ),
        # more cached than there is text: the rest can only be images, then audio
        (
            details(100, cached_tokens=75, image_tokens=40, audio_tokens=30),
            {
                "cache_read_tokens": 30,
                "cache_read_image_tokens": 40,
                "cache_read_audio_tokens": 5,
                "input_audio_tokens": 25,
            },
        ),
        # more written than there is text
        (
            details(100, cache_write_tokens=75, image_tokens=40, audio_tokens=30),
            {"cache_write_5m_tokens": 75, "input_audio_tokens": 25},
        ),
        # more reasoning than received
        (details(0, 50, reasoning_tokens=70), {"reasoning_tokens": 50}),
        (
            details(0, 50, reasoning_tokens=40, output_audio_tokens=20),
            {"reasoning_tokens": 30, "output_audio_tokens": 20},
        ),
        # below zero
        (details(10, -5, cached_tokens=-3), {"input_tokens": 10}),
    ],
)
def test_a_report_that_contradicts_itself_keeps_its_totals(
    usage: dict[str, Any], expected: dict[str, int]
) -> None:
    assert both(ChatCompletion, chat(usage)).counts == TokenCounts(**expected)


@pytest.mark.parametrize("value", ["12", 1.5, 2.0, True, False, [1]])
def test_what_is_no_count_is_an_error(value: object) -> None:
    with pytest.raises(UnknownUsage, match="prompt_tokens holds a"):
        read(chat({"prompt_tokens": value, "completion_tokens": 1}))


@pytest.mark.parametrize("make", [chat, response])
def test_a_response_without_usage(make: Callable[..., dict[str, Any]]) -> None:
    with pytest.raises(NoUsage, match="include_usage"):
        read(make(None))


def test_searches_alone_are_no_usage() -> None:
    output = [search({"type": "search", "query": "a"})]
    with pytest.raises(NoUsage):
        read(response(None, output=output))


@pytest.mark.parametrize(
    ("flavor", "body"),
    [
        ("chat", chat()),
        ("responses", response()),
        (
            "embeddings",
            {
                "model": "text-embedding-3-small",
                "usage": {"prompt_tokens": 8, "total_tokens": 8},
            },
        ),
        ("realtime", {"model": "gpt-realtime", **REALTIME}),
    ],
)
def test_genai_prices_extracts_the_same(flavor: str, body: dict[str, Any]) -> None:
    extracted = extract_usage(body, provider_id="openai", api_flavor=flavor).usage
    counts = read(body, "openai").counts
    assert counts.prompt_tokens == extracted.input_tokens
    assert counts.completion_tokens == (extracted.output_tokens or 0)
    assert cached(counts) == (extracted.cache_read_tokens or 0)
    assert counts.cache_write_5m_tokens == (extracted.cache_write_tokens or 0)
    audio = counts.input_audio_tokens + counts.cache_read_audio_tokens
    assert audio == (extracted.input_audio_tokens or 0)
    assert counts.output_audio_tokens == (extracted.output_audio_tokens or 0)
    assert counts.reasoning_tokens == (extracted.output_reasoning_tokens or 0)


sizes = st.integers(0, 10**6)


@given(
    st.fixed_dictionaries(dict.fromkeys(("text", "audio", "image"), sizes)),
    st.fixed_dictionaries(dict.fromkeys(("plain", "reasoning", "spoken"), sizes)),
    st.data(),
)
def test_classes_sum_up_to_the_totals(
    sent: dict[str, int], received: dict[str, int], data: st.DataObject
) -> None:
    prompt, completion = sum(sent.values()), sum(received.values())
    from_cache = data.draw(st.integers(0, prompt))
    written = data.draw(st.integers(0, prompt - from_cache))
    usage = details(
        prompt,
        completion,
        cached_tokens=from_cache,
        cache_write_tokens=written,
        audio_tokens=sent["audio"],
        image_tokens=sent["image"],
        reasoning_tokens=received["reasoning"],
        output_audio_tokens=received["spoken"],
    )
    counts = read(CompletionUsage.model_validate(usage)).counts
    assert counts.prompt_tokens == prompt
    assert counts.completion_tokens == completion
    assert (cached(counts), counts.cache_write_5m_tokens) == (from_cache, written)
    assert counts.input_audio_tokens + counts.cache_read_audio_tokens <= sent["audio"]
    assert counts.input_image_tokens + counts.cache_read_image_tokens <= sent["image"]
    assert counts.output_tokens == received["plain"]
    assert counts.reasoning_tokens == received["reasoning"]
    assert counts.output_audio_tokens == received["spoken"]


anything = st.integers(-10, 1000)
DETAILS = (
    *("cached_tokens", "cache_write_tokens", "audio_tokens", "image_tokens"),
    *("reasoning_tokens", "output_audio_tokens"),
)


@given(anything, anything, anything, st.fixed_dictionaries(dict.fromkeys(DETAILS, anything)))
def test_whatever_is_stated_the_totals_are_kept(
    prompt: int, completion: int, cached_audio: int, stated: dict[str, int]
) -> None:
    usage = details(prompt, completion, **stated)
    usage["prompt_tokens_details"]["cached_tokens_details"] = {"audio_tokens": cached_audio}
    counts = read(usage, "openai").counts  # a negative class would raise
    assert counts.prompt_tokens == max(prompt, 0)
    assert counts.completion_tokens == max(completion, 0)
