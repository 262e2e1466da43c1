"""Whose usage it is: told by class or by what only one API sends, or else asked for."""

import subprocess
import sys
from collections.abc import Mapping
from types import SimpleNamespace
from typing import Any

import anthropic.types
import google.genai.types
import mistralai.client.models
import openai.types
import pytest

from tallystick.adapters import Meter, NoUsage, UnknownUsage, read
from tallystick.counts import TokenCounts

TEN = TokenCounts(input_tokens=10, output_tokens=4)
PROVIDERS = ("anthropic", "bedrock", "gemini", "mistral", "openai", "otel")

OPENAI = {"prompt_tokens": 10, "completion_tokens": 4, "total_tokens": 14}
OPENAI_RESPONSES = {"input_tokens": 10, "output_tokens": 4, "total_tokens": 14}
ANTHROPIC = {"input_tokens": 10, "output_tokens": 4}
GEMINI = {"promptTokenCount": 10, "candidatesTokenCount": 4, "totalTokenCount": 14}
GEMINI_SNAKE = {"prompt_token_count": 10, "candidates_token_count": 4, "total_token_count": 14}
BEDROCK = {"inputTokens": 10, "outputTokens": 4, "totalTokens": 14}


@pytest.mark.parametrize(
    "usage",
    [
        openai.types.CompletionUsage.model_validate(OPENAI),
        anthropic.types.Usage.model_validate(ANTHROPIC),
        google.genai.types.GenerateContentResponseUsageMetadata.model_validate(GEMINI),
        mistralai.client.models.UsageInfo.model_validate(OPENAI),
    ],
    ids=lambda usage: type(usage).__module__,
)
def test_by_class(usage: object) -> None:
    assert read(usage).counts == TEN


def test_by_a_class_it_is_derived_from() -> None:
    class Own(openai.types.CompletionUsage):
        tenant: str = "acme"

    assert read(Own.model_validate(OPENAI)).counts == TEN


def test_the_name_of_a_package_is_whole() -> None:
    lookalike = type("Usage", (SimpleNamespace,), {"__module__": "openai_like.types"})
    with pytest.raises(UnknownUsage, match=r"openai_like\.types\.Usage"):
        read(lookalike(**OPENAI))


@pytest.mark.parametrize(
    "body",
    [
        {"object": "chat.completion", "usage": OPENAI},
        {"object": "chat.completion.chunk", "choices": [], "usage": OPENAI},
        {"object": "text_completion", "usage": OPENAI},
        {"object": "response", "usage": OPENAI_RESPONSES},
        {"type": "response.completed", "response": {"usage": OPENAI_RESPONSES}},
        {"type": "message", "role": "assistant", "usage": ANTHROPIC},
        {"type": "message_start", "message": {"type": "message", "usage": ANTHROPIC}},
        {"type": "message_delta", "usage": ANTHROPIC},
        {"custom_id": "a", "result": {"message": {"type": "message", "usage": ANTHROPIC}}},
        {"candidates": [], "usageMetadata": GEMINI},
        {"usageMetadata": GEMINI},
        {"candidates": None, "model_version": "gemini-3", "usage_metadata": GEMINI_SNAKE},
        {"usage_metadata": GEMINI_SNAKE},
        {"output": {"message": {}}, "stopReason": "end_turn", "usage": BEDROCK},
        {"metadata": {"usage": BEDROCK, "metrics": {"latencyMs": 1}}},
        {"object": "chat.completion", "usage": {**OPENAI, "prompt_audio_seconds": None}},
        {"object": "conversation.response", "usage": OPENAI},
        {"object": "chat.completion", "usage": {**OPENAI, "connector_tokens": None}},
        {"object": "chat.completion", "usage": {**OPENAI, "num_cached_tokens": 0}},
        {"data": {"object": "chat.completion.chunk", "usage": OPENAI}},
        {"gen_ai.usage.input_tokens": 10, "gen_ai.usage.output_tokens": 4},
    ],
    ids=str,
)
def test_by_what_only_one_api_sends(body: Mapping[str, Any]) -> None:
    assert read(body).counts == TEN


AMBIGUOUS = [
    # As different as these are counted, they look alike.
    OPENAI,
    ANTHROPIC,
    OPENAI_RESPONSES,
    BEDROCK,  # other libraries name theirs so as well, with the cache inside
    GEMINI,
    {"usage": OPENAI_RESPONSES},
    {"usage": BEDROCK},
    {"data": {"usage": OPENAI}},
    {"model": "gpt-5.6", "choices": [], "usage": OPENAI},
    {"type": "message", "content": []},  # also an item of OpenAI's output
    {"usage_metadata": {"input_tokens": 10, "output_tokens": 4}},  # LangChain's
    {"type": "ping"},
    {"stopReason": "end_turn"},
    {"candidates": []},
    {"modelVersion": "gemini-3"},
    {"object": "list", "data": []},
    {},
    {1: 2},
]


@pytest.mark.parametrize("body", AMBIGUOUS, ids=str)
def test_what_is_not_certain_is_asked_for(body: Mapping[Any, Any]) -> None:
    with pytest.raises(UnknownUsage) as raised:
        read(body)
    message = str(raised.value)
    assert "Seen: the keys" in message
    assert all(str(key) in message for key in body)
    assert all(f"provider={name!r}" in message for name in PROVIDERS)


@pytest.mark.parametrize("thing", [None, 7, "text", b"text", [OPENAI], object(), OPENAI.items()])
def test_what_is_no_response_at_all(thing: object) -> None:
    with pytest.raises(UnknownUsage, match="Seen: a builtins"):
        read(thing)


def test_the_message_shows_no_content() -> None:
    with pytest.raises(UnknownUsage) as raised:
        read({"prompt": "the secret", "usage": {"key": "the secret"}})
    assert "secret" not in str(raised.value)
    with pytest.raises(UnknownUsage) as raised:
        read({"usage": {"prompt_tokens": "the secret"}}, "openai")
    assert "secret" not in str(raised.value)


@pytest.mark.parametrize(
    ("usage", "provider"),
    [
        (OPENAI, "openai"),
        (OPENAI_RESPONSES, "openai"),
        (OPENAI, "mistral"),
        (ANTHROPIC, "anthropic"),
        (GEMINI, "gemini"),
        (GEMINI_SNAKE, "gemini"),
        (BEDROCK, "bedrock"),
        ({"gen_ai.usage.input_tokens": 10, "gen_ai.usage.output_tokens": 4}, "otel"),
    ],
)
def test_a_usage_object_by_its_provider(usage: dict[str, int], provider: str) -> None:
    assert read(usage, provider).counts == TEN
    assert read({"usage": usage, "usageMetadata": usage, **usage}, provider).counts == TEN


def test_an_object_with_attributes_of_something_else() -> None:
    for attributes in ({"http.method": "GET"}, None, 7):
        with pytest.raises(UnknownUsage, match=r"Seen: a types\.SimpleNamespace"):
            read(SimpleNamespace(attributes=attributes))


def test_plain_objects_of_a_named_provider() -> None:
    response = SimpleNamespace(model="m", usage=SimpleNamespace(**OPENAI))
    reading = read(response, "openai")
    assert (reading.counts, reading.model) == (TEN, "m")
    with pytest.raises(UnknownUsage, match=r"Seen: a types\.SimpleNamespace"):
        read(response)


def test_a_named_provider_is_not_second_guessed() -> None:
    # An OpenAI client that talks to a service which counts as Mistral does.
    usage = {**OPENAI, "total_tokens": 20, "prompt_audio_seconds": 1}
    response = openai.types.CompletionUsage.model_validate(usage)
    assert read(response, "mistral").counts == TokenCounts(
        input_tokens=10, input_audio_tokens=6, output_tokens=4
    )


def test_a_provider_that_does_not_exist() -> None:
    for name in ("open-ai", "", "OpenAI"):
        with pytest.raises(ValueError, match=f"there is no provider {name!r}, but anthropic,"):
            Meter(name)


@pytest.mark.parametrize("provider", PROVIDERS)
def test_a_known_provider_without_usage(provider: str) -> None:
    for body in ({}, {"usage": None}, {"usage": {}}, {"attributes": {}}, None):
        with pytest.raises(NoUsage, match="reports no usage"):
            read(body, provider)


def test_both_errors_are_value_errors() -> None:
    assert issubclass(UnknownUsage, ValueError)
    assert issubclass(NoUsage, ValueError)


def test_no_providers_package_is_imported() -> None:
    packages = "{'openai', 'anthropic', 'google', 'botocore', 'mistralai', 'opentelemetry'}"
    program = f"import sys, tallystick.adapters; print({packages} & sys.modules.keys())"
    answer = subprocess.run(
        [sys.executable, "-c", program], check=True, capture_output=True, text=True
    )
    assert answer.stdout.strip() == "set()"
