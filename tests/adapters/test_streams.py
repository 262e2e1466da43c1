"""Streams, as the providers' own clients decode them and as plain JSON: usage as last stated."""

import binascii
import dataclasses
import json
import struct
from collections.abc import Callable, Iterable, Iterator
from typing import Any

import anthropic
import httpx2
import mistralai.client
import openai
import pytest
from botocore.awsrequest import AWSResponse
from botocore.session import get_session
from google import genai
from google.genai.types import HttpOptions

from tallystick.adapters import Meter, Reading, UnknownUsage, read
from tallystick.counts import TokenCounts

Events = list[dict[str, Any]]


def http_client(body: bytes) -> httpx2.Client:
    """A client whose every request is answered with an event stream, without a network."""
    headers = {"content-type": "text/event-stream"}
    answer = httpx2.Response(200, headers=headers, content=body)
    return httpx2.Client(transport=httpx2.MockTransport(lambda _: answer))


def server_sent(events: Events, end: str = "") -> bytes:
    named = ({"event": event.get("type"), "data": json.dumps(event)} for event in events)
    lines = ("".join(f"{key}: {value}\n" for key, value in one.items() if value) for one in named)
    return ("\n".join(lines) + f"\n{end}").encode()


def openai_chat(events: Events) -> Iterable[object]:
    body = server_sent(events, "data: [DONE]\n\n")
    client = openai.OpenAI(api_key="none", http_client=http_client(body))
    return client.chat.completions.create(model="m", messages=[], stream=True)


def openai_responses(events: Events) -> Iterable[object]:
    client = openai.OpenAI(api_key="none", http_client=http_client(server_sent(events)))
    return client.responses.create(model="m", input="?", stream=True)


def anthropic_messages(events: Events) -> Iterable[object]:
    client = anthropic.Anthropic(api_key="none", http_client=http_client(server_sent(events)))
    messages = [{"role": "user", "content": "?"}]
    return client.messages.create(model="m", max_tokens=9, messages=messages, stream=True)


def anthropic_helper(events: Events) -> Iterable[object]:
    """Anthropic's helper, which adds events of its own between those of the stream."""
    client = anthropic.Anthropic(api_key="none", http_client=http_client(server_sent(events)))
    messages = [{"role": "user", "content": "?"}]
    with client.messages.stream(model="m", max_tokens=9, messages=messages) as stream:
        yield from stream


def gemini_content(events: Events) -> Iterable[object]:
    options = HttpOptions(httpx_client=http_client(server_sent(events)))
    client = genai.Client(api_key="none", http_options=options)
    return client.models.generate_content_stream(model="m", contents="?")


def mistral_chat(events: Events) -> Iterable[object]:
    body = server_sent(events, "data: [DONE]\n\n")
    client = mistralai.client.Mistral(api_key="none", client=http_client(body))
    return client.chat.stream(model="m", messages=[{"role": "user", "content": "?"}])


def mistral_conversation(events: Events) -> Iterable[object]:
    client = mistralai.client.Mistral(api_key="none", client=http_client(server_sent(events)))
    return client.beta.conversations.start_stream(inputs="?", model="m")


def bedrock_converse(events: Events) -> Iterable[object]:
    client = get_session().create_client(
        "bedrock-runtime",
        region_name="eu-central-1",
        aws_access_key_id="none",
        aws_secret_access_key="none",
    )

    class Raw:
        def stream(self, *_: object, **__: object) -> Iterator[bytes]:
            return (frame(kind, payload) for event in events for kind, payload in event.items())

        def close(self) -> None:
            pass

    def answer(request: Any, **_: object) -> AWSResponse:
        headers = {"content-type": "application/vnd.amazon.eventstream"}
        return AWSResponse(request.url, 200, headers, Raw())

    client.meta.events.register("before-send.bedrock-runtime.ConverseStream", answer)
    messages = [{"role": "user", "content": [{"text": "?"}]}]
    return client.converse_stream(modelId="m", messages=messages)["stream"]


def frame(kind: str, payload: object) -> bytes:
    """One message of AWS's binary event stream: lengths, checksum, headers, payload, checksum."""
    texts = {":event-type": kind, ":message-type": "event", ":content-type": "application/json"}
    headers = b"".join(
        struct.pack("!B", len(name)) + name.encode() + b"\x07" + struct.pack("!H", len(value))
        + value.encode()
        for name, value in texts.items()
    )  # fmt: skip
    body = json.dumps(payload).encode()
    lengths = struct.pack("!II", 16 + len(headers) + len(body), len(headers))
    start = lengths + struct.pack("!I", binascii.crc32(lengths)) + headers + body
    return start + struct.pack("!I", binascii.crc32(start))


def chunk(
    delta: dict[str, Any] | None, usage: dict[str, Any] | None = None, **fields: object
) -> dict[str, Any]:
    choices = [] if delta is None else [{"index": 0, "delta": delta, "finish_reason": None}]
    return {
        "id": "c1",
        "object": "chat.completion.chunk",
        "created": 1780000000,
        "model": "gpt-5.6-sol",
        "choices": choices,
        "usage": usage,
        **fields,
    }


def tool_call(arguments: str) -> dict[str, Any]:
    return {"tool_calls": [{"index": 0, "function": {"arguments": arguments}}]}


OPENAI_CHAT = [
    chunk({"role": "assistant", "content": ""}, service_tier="default"),
    chunk({"content": "Y"}, service_tier="default"),
    chunk({"content": "es"}, service_tier="default"),
    chunk(tool_call('{"a": 1}'), service_tier="default"),
    chunk({}, service_tier="default"),
    chunk(
        None,
        {
            "prompt_tokens": 100,
            "completion_tokens": 20,
            "total_tokens": 120,
            "prompt_tokens_details": {"cached_tokens": 64},
            "completion_tokens_details": {"reasoning_tokens": 16},
        },
        service_tier="default",
    ),
]
OPENAI_CHAT_READING = Reading(
    counts=TokenCounts(input_tokens=36, cache_read_tokens=64, output_tokens=4, reasoning_tokens=16),
    model="gpt-5.6-sol",
    service_tier="default",
)


def response_event(kind: str, status: str, **fields: object) -> dict[str, Any]:
    response = {
        "id": "r1",
        "object": "response",
        "created_at": 1780000000,
        "status": status,
        "model": "gpt-5.6-sol",
        "output": [],
        "parallel_tool_calls": True,
        "tool_choice": "auto",
        "tools": [],
        "service_tier": "auto",
        "usage": None,
        **fields,
    }
    return {"type": kind, "sequence_number": 0, "response": response}


def response_delta(kind: str, text: str) -> dict[str, Any]:
    place = {"item_id": "i1", "output_index": 0, "content_index": 0, "logprobs": []}
    return {"type": kind, "sequence_number": 0, "delta": text, **place}


def response_stream(last: dict[str, Any]) -> Events:
    return [
        response_event("response.created", "in_progress"),
        response_event("response.in_progress", "in_progress"),
        response_delta("response.reasoning_text.delta", "Hm"),
        response_delta("response.output_text.delta", "Y"),
        response_delta("response.output_text.delta", "es"),
        {**response_delta("response.output_text.done", ""), "text": "Yes"},
        last,
    ]


RESPONSE_END = {
    "service_tier": "priority",
    "output": [
        {
            "id": "ws_1",
            "type": "web_search_call",
            "status": "completed",
            "action": {"type": "search", "query": "a"},
        }
    ],
    "usage": {
        "input_tokens": 100,
        "input_tokens_details": {"cached_tokens": 64, "cache_write_tokens": 10},
        "output_tokens": 20,
        "output_tokens_details": {"reasoning_tokens": 16},
        "total_tokens": 120,
    },
}
RESPONSE_READING = Reading(
    counts=TokenCounts(
        input_tokens=26,
        cache_read_tokens=64,
        cache_write_5m_tokens=10,
        output_tokens=4,
        reasoning_tokens=16,
        web_searches=1,
    ),
    model="gpt-5.6-sol",
    service_tier="priority",
)


def block(kind: str, **fields: object) -> dict[str, Any]:
    return {"type": f"content_block_{kind}", "index": 0, **fields}


CITATION = {
    "type": "char_location",
    "cited_text": "Yes",
    "document_index": 0,
    "document_title": None,
    "file_id": None,
    "start_char_index": 0,
    "end_char_index": 3,
}
ANTHROPIC = [
    {
        "type": "message_start",
        "message": {
            "id": "msg_1",
            "type": "message",
            "role": "assistant",
            "model": "claude-opus-5",
            "content": [],
            "stop_reason": None,
            "stop_sequence": None,
            "usage": {
                "input_tokens": 2000,
                "cache_read_input_tokens": 0,
                "cache_creation_input_tokens": 500,
                "cache_creation": {
                    "ephemeral_5m_input_tokens": 200,
                    "ephemeral_1h_input_tokens": 300,
                },
                "output_tokens": 1,
                "service_tier": "standard",
            },
        },
    },
    block("start", content_block={"type": "thinking", "thinking": "", "signature": ""}),
    {"type": "ping"},
    block("delta", delta={"type": "thinking_delta", "thinking": "Hm"}),
    block("delta", delta={"type": "signature_delta", "signature": "x"}),
    block("stop"),
    {**block("start", content_block={"type": "text", "text": ""}), "index": 1},
    {**block("delta", delta={"type": "text_delta", "text": "Yes"}), "index": 1},
    {
        **block("delta", delta={"type": "citations_delta", "citation": CITATION}),
        "index": 1,
    },
    {**block("stop"), "index": 1},
    {
        "type": "message_delta",
        "delta": {"stop_reason": "tool_use", "stop_sequence": None},
        "usage": {"output_tokens": 40},
    },
    {
        "type": "message_delta",
        "delta": {"stop_reason": "end_turn", "stop_sequence": None},
        # What a server tool brought in: more was sent, and part of the first input came from cache.
        "usage": {
            "input_tokens": 1500,
            "cache_read_input_tokens": 900,
            "cache_creation_input_tokens": 650,
            "output_tokens": 90,
            "output_tokens_details": {"thinking_tokens": 60},
            "server_tool_use": {"web_search_requests": 2, "web_fetch_requests": 0},
        },
    },
    {"type": "message_stop"},
]
ANTHROPIC_READING = Reading(
    counts=TokenCounts(
        input_tokens=1500,
        cache_read_tokens=900,
        cache_write_5m_tokens=350,
        cache_write_1h_tokens=300,
        output_tokens=30,
        reasoning_tokens=60,
        web_searches=2,
    ),
    model="claude-opus-5",
    service_tier="standard",
)


def content(text: str, usage: dict[str, Any]) -> dict[str, Any]:
    return {
        "candidates": [{"content": {"role": "model", "parts": [{"text": text}]}, "index": 0}],
        "usageMetadata": {"trafficType": "ON_DEMAND", **usage},
        "modelVersion": "gemini-3.5-flash",
    }


GEMINI = [
    content("Y", {}),  # Vertex AI states no counts until the end, or these:
    content("e", {"promptTokenCount": 1000, "totalTokenCount": 1000}),
    content("s", {"promptTokenCount": 1000, "candidatesTokenCount": 2, "totalTokenCount": 1002}),
    content(
        "",
        {
            "promptTokenCount": 1000,
            "cachedContentTokenCount": 900,
            "cacheTokensDetails": [{"modality": "TEXT", "tokenCount": 900}],
            "candidatesTokenCount": 3,
            "thoughtsTokenCount": 50,
            "totalTokenCount": 1053,
        },
    ),
]
GEMINI_READING = Reading(
    counts=TokenCounts(
        input_tokens=100, cache_read_tokens=900, output_tokens=3, reasoning_tokens=50
    ),
    model="gemini-3.5-flash",
    service_tier="standard",
)

BEDROCK = [
    {"messageStart": {"role": "assistant"}},
    {
        "contentBlockDelta": {
            "contentBlockIndex": 0,
            "delta": {"reasoningContent": {"text": "Hm"}},
        }
    },
    {
        "contentBlockDelta": {
            "contentBlockIndex": 0,
            "delta": {"reasoningContent": {"signature": "x"}},
        }
    },
    {"contentBlockStop": {"contentBlockIndex": 0}},
    {"contentBlockDelta": {"contentBlockIndex": 1, "delta": {"text": "Yes"}}},
    {"contentBlockDelta": {"contentBlockIndex": 2, "delta": {"toolUse": {"input": '{"a"'}}}},
    {"contentBlockStop": {"contentBlockIndex": 1}},
    {"messageStop": {"stopReason": "end_turn"}},
    {
        "metadata": {
            "usage": {
                "inputTokens": 10,
                "outputTokens": 5,
                "totalTokens": 20,
                "cacheReadInputTokens": 2,
                "cacheWriteInputTokens": 3,
                "cacheDetails": [{"ttl": "1h", "inputTokens": 3}],
            },
            "metrics": {"latencyMs": 1},
            "serviceTier": {"type": "priority"},
        }
    },
]
BEDROCK_READING = Reading(
    counts=TokenCounts(
        input_tokens=10, cache_read_tokens=2, cache_write_1h_tokens=3, output_tokens=5
    ),
    service_tier="priority",
)

MISTRAL = [
    chunk({"role": "assistant", "content": ""}, model="mistral-large-2512"),
    chunk({"content": "Oui"}, model="mistral-large-2512"),
    chunk(
        {"content": ""},
        {
            "prompt_tokens": 20,
            "completion_tokens": 5,
            "total_tokens": 25,
            "prompt_tokens_details": {"cached_tokens": 16},
        },
        model="mistral-large-2512",
    ),
]
MISTRAL_READING = Reading(
    counts=TokenCounts(input_tokens=4, cache_read_tokens=16, output_tokens=5),
    model="mistral-large-2512",
)
MISTRAL_CONVERSATION = [
    {"type": "conversation.response.started", "conversation_id": "conv_1"},
    {
        "type": "message.output.delta",
        "id": "m1",
        "output_index": 0,
        "content_index": 0,
        "model": "mistral-medium-2505",
        "role": "assistant",
        "content": "Oui",
    },
    {
        "type": "function.call.delta",
        "id": "f1",
        "output_index": 1,
        "name": "f",
        "tool_call_id": "t1",
        "arguments": "{",
    },
    {
        "type": "conversation.response.done",
        "usage": {
            "prompt_tokens": 10,
            "completion_tokens": 8,
            "total_tokens": 22,
            "connector_tokens": 4,
            "connectors": {"web_search": 1},
        },
    },
]
MISTRAL_CONVERSATION_READING = Reading(
    counts=TokenCounts(input_tokens=14, output_tokens=8, web_searches=1),
    model="mistral-medium-2505",
)

STREAMS: dict[str, tuple[Callable[[Events], Iterable[object]], Events, Reading, int]] = {
    "openai chat": (openai_chat, OPENAI_CHAT, OPENAI_CHAT_READING, 3),
    "openai responses": (
        openai_responses,
        response_stream(response_event("response.completed", "completed", **RESPONSE_END)),
        RESPONSE_READING,
        3,
    ),
    "openai responses cut by a limit": (
        openai_responses,
        response_stream(response_event("response.incomplete", "incomplete", **RESPONSE_END)),
        RESPONSE_READING,
        3,
    ),
    "openai responses failed": (
        openai_responses,
        response_stream(response_event("response.failed", "failed", **RESPONSE_END)),
        RESPONSE_READING,
        3,
    ),
    "anthropic": (anthropic_messages, ANTHROPIC, ANTHROPIC_READING, 2),
    "anthropic's helper": (anthropic_helper, ANTHROPIC, ANTHROPIC_READING, 2),
    "gemini": (gemini_content, GEMINI, GEMINI_READING, 3),
    "bedrock": (bedrock_converse, BEDROCK, BEDROCK_READING, 3),
    "mistral": (mistral_chat, MISTRAL, MISTRAL_READING, 1),
    "mistral conversation": (
        mistral_conversation,
        MISTRAL_CONVERSATION,
        MISTRAL_CONVERSATION_READING,
        2,
    ),
}
STATE_USAGE_ON_THE_WAY = ("anthropic", "gemini")


def metered(events: Iterable[object], provider: str | None = None) -> Meter:
    meter = Meter(provider)
    for event in events:
        meter.see(event)
    return meter


@pytest.mark.parametrize("stream", STREAMS)
def test_a_stream(stream: str) -> None:
    decode, events, reading, pieces = STREAMS[stream]
    decoded = list(decode(events))
    assert decoded
    meter = metered(decoded)
    assert (meter.reading, meter.pieces, meter.events) == (reading, pieces, len(decoded))
    as_json = metered(events)
    assert (as_json.reading, as_json.pieces, as_json.events) == (reading, pieces, len(events))


@pytest.mark.parametrize(
    "stream", [name for name in STREAMS if not name.startswith(STATE_USAGE_ON_THE_WAY)]
)
def test_a_stream_that_is_cut_off_before_its_usage(stream: str) -> None:
    decode, events, _, pieces = STREAMS[stream]
    decoded = list(decode(events))[:-1]
    for meter in (metered(decoded), metered(events[:-1])):
        assert meter.reading is None
        assert meter.pieces == pieces


def test_a_stream_of_anthropic_states_its_input_at_once() -> None:
    started = metered(list(anthropic_messages(ANTHROPIC))[:1]).reading
    assert started == Reading(
        counts=TokenCounts(
            input_tokens=2000,
            cache_write_5m_tokens=200,
            cache_write_1h_tokens=300,
            output_tokens=1,
        ),
        model="claude-opus-5",
        service_tier="standard",
        is_partial=True,
    )
    # The first delta states no input, which stays.
    until = ANTHROPIC[:-2]
    later = metered(until).reading
    assert later is not None
    assert later.counts == started.counts + TokenCounts(output_tokens=39)
    assert not later.is_partial


def test_what_is_stated_once_is_kept() -> None:
    turn = {"type": "advisor_message", "model": "claude-opus-5", "output_tokens": 7}
    usage = {"output_tokens": 90, "iterations": [turn]}
    middle = {"type": "message_delta", "delta": {}, "usage": usage}
    reading = metered([*ANTHROPIC[:-1], middle, ANTHROPIC[-1]]).reading
    advisor = Reading(counts=TokenCounts(output_tokens=7), model="claude-opus-5")
    assert reading == dataclasses.replace(ANTHROPIC_READING, others=(advisor,))

    grounding = {"groundingMetadata": {"webSearchQueries": ["a", "b"]}}
    searched = {"candidates": [grounding], "modelVersion": "gemini-3.5-flash"}
    reading = metered([*GEMINI[:-1], searched, GEMINI[-1]]).reading
    assert reading is not None
    assert reading.counts == GEMINI_READING.counts + TokenCounts(web_searches=2)


@pytest.mark.parametrize(
    "part",
    [
        {"text": "Yes"},
        {"text": "Hm", "thought": True},
        {"functionCall": {"name": "f", "args": {}}},
        {"executableCode": {"language": "PYTHON", "code": "1"}},
        {"inlineData": {"mimeType": "image/png", "data": "AA=="}},
    ],
    ids=str,
)
def test_pieces_of_gemini(part: dict[str, Any]) -> None:
    event = {
        "candidates": [{"content": {"role": "model", "parts": [{"text": ""}, part]}}],
        "modelVersion": "gemini-3.5-flash",
    }
    assert metered([event]).pieces == 1
    assert metered(gemini_content([event])).pieces == 1
    event["candidates"][0]["content"]["parts"].pop()
    assert metered([event]).pieces == 0


@pytest.mark.parametrize("stream", STREAMS)
def test_any_event_of_a_stream_tells_whose_it_is(stream: str) -> None:
    _, events, _, _ = STREAMS[stream]
    for event in events:
        if event.get("type") != "ping":  # which others send as well
            Meter().see(event)


def test_the_last_event_of_anthropics_helper_states_all() -> None:
    *_, last = anthropic_helper(ANTHROPIC)
    reading = read(last)
    assert reading.counts == ANTHROPIC_READING.counts
    assert reading.service_tier == "standard"


def test_raw_fields_are_merged_before_they_are_made_exclusive() -> None:
    # Class by class, the largest were 1000 uncached and 900 cached: 900 tokens too many.
    meter = Meter()
    classes = []
    for event in gemini_content(GEMINI):
        meter.see(event)
        classes.append(meter.reading.counts if meter.reading else TokenCounts())
    assert max(counts.input_tokens for counts in classes) == 1000
    assert classes[-1].prompt_tokens == 1000


def test_a_stream_without_include_usage() -> None:
    meter = metered(openai_chat(OPENAI_CHAT[:-1]))
    assert meter.reading is None
    assert (meter.events, meter.pieces) == (5, 3)


def test_openais_helper() -> None:
    body = server_sent(OPENAI_CHAT, "data: [DONE]\n\n")
    client = openai.OpenAI(api_key="none", http_client=http_client(body))
    with client.chat.completions.stream(model="m", messages=[]) as stream:
        meter = metered(stream)
    assert (meter.reading, meter.pieces) == (OPENAI_CHAT_READING, 3)


def test_azures_first_chunk_names_nothing() -> None:
    first = chunk(None, id="", object="", model="", prompt_filter_results=[{"prompt_index": 0}])
    events = [first, *OPENAI_CHAT]
    assert metered(events).reading == OPENAI_CHAT_READING
    assert metered(openai_chat(events)).reading == OPENAI_CHAT_READING


def test_a_response_that_failed_before_it_used_anything() -> None:
    events = response_stream(response_event("response.failed", "failed"))
    assert metered(events).reading is None
    assert metered(openai_responses(events)).reading is None


@pytest.mark.parametrize(
    ("delta", "pieces"),
    [
        ({"content": "Yes"}, 1),
        ({"refusal": "No"}, 1),
        (tool_call("{"), 1),
        ({"function_call": {"arguments": "{"}}, 1),
        ({"audio": {"data": "AA=="}}, 1),
        ({"reasoning_content": "Hm"}, 1),  # of services that speak this API
        ({"reasoning": "Hm"}, 1),
        ({"role": "assistant", "content": "", "refusal": None}, 0),
        ({}, 0),
    ],
    ids=str,
)
def test_pieces_of_openai(delta: dict[str, Any], pieces: int) -> None:
    assert metered([chunk(delta)]).pieces == pieces
    assert metered(openai_chat([chunk(delta)])).pieces == pieces


def test_pieces_of_other_apis_of_openai() -> None:
    old = {"object": "text_completion", "choices": [{"index": 0, "text": "Yes"}]}
    assert metered([old]).pieces == 1
    heard = {"type": "transcript.text.delta", "delta": "Yes"}
    done = {"type": "transcript.text.done", "text": "Yes"}
    assert metered([heard, done], "openai").pieces == 1


def test_mistrals_events_as_json() -> None:
    wrapped = [{"data": event} for event in MISTRAL]
    assert metered(wrapped).reading == MISTRAL_READING
    dumped = [event.model_dump(mode="json") for event in mistral_chat(MISTRAL)]
    assert metered(dumped).reading == MISTRAL_READING


def test_an_anthropic_stream_through_invoke_model() -> None:
    # Bedrock adds figures of its own to the last event.
    end = {"type": "message_stop", "amazon-bedrock-invocationMetrics": {"inputTokenCount": 1500}}
    assert metered([*ANTHROPIC[:-1], end], "anthropic").reading == ANTHROPIC_READING


def test_a_whole_response_is_seen_like_a_stream() -> None:
    body = {
        "object": "chat.completion",
        "model": "gpt-5.6-sol",
        "choices": [{"index": 0, "message": {"role": "assistant", "content": "Yes"}}],
        "usage": {"prompt_tokens": 3, "completion_tokens": 1, "total_tokens": 4},
    }
    meter = metered([body])
    assert meter.reading == read(body)
    assert (meter.events, meter.pieces) == (1, 0)


def test_once_the_provider_is_known_other_events_are_let_pass() -> None:
    meter = metered([*ANTHROPIC, {"type": "new_event"}, "[DONE]", None])
    assert meter.reading == ANTHROPIC_READING
    assert meter.events == len(ANTHROPIC) + 3


def test_an_event_that_tells_nothing_is_an_error_until_then() -> None:
    meter = Meter()
    with pytest.raises(UnknownUsage):
        meter.see({"type": "ping"})
    assert meter.events == 0
    named = metered([{"type": "ping"}], "anthropic")
    assert (named.reading, named.events) == (None, 1)


def test_nothing_seen_is_nothing_read() -> None:
    meter = Meter()
    assert (meter.reading, meter.events, meter.pieces) == (None, 0, 0)
