"""Gemini's prompt includes the cache; thoughts and tool results come on top of its other counts."""

from typing import Any

import pytest
from genai_prices import extract_usage
from google.genai.types import (
    EmbedContentResponse,
    GenerateContentResponse,
    GenerateContentResponseUsageMetadata,
    LiveServerMessage,
    UsageMetadata,
)
from hypothesis import given
from hypothesis import strategies as st

from tallystick.adapters import NoUsage, Reading, UnknownUsage, read
from tallystick.counts import TokenCounts


def modalities(**counts: int) -> list[dict[str, Any]]:
    return [{"modality": name, "tokenCount": count} for name, count in counts.items()]


USAGE = {
    "promptTokenCount": 5000,
    "promptTokensDetails": modalities(TEXT=3000, AUDIO=800, IMAGE=516, VIDEO=384, DOCUMENT=300),
    "cachedContentTokenCount": 1500,
    "cacheTokensDetails": modalities(TEXT=1000, AUDIO=300, IMAGE=200),
    "candidatesTokenCount": 700,
    "candidatesTokensDetails": modalities(TEXT=300, IMAGE=290, AUDIO=110),
    "thoughtsTokenCount": 450,
    "toolUsePromptTokenCount": 90,
    "toolUsePromptTokensDetails": modalities(TEXT=70, IMAGE=20),
    "totalTokenCount": 6240,
}
COUNTS = TokenCounts(
    input_tokens=2754,  # 3000 - 1000 text, 384 video, 300 documents, 70 of tools
    cache_read_tokens=1000,
    input_audio_tokens=500,  # 800 - 300
    cache_read_audio_tokens=300,
    input_image_tokens=336,  # 516 - 200 + 20 of tools
    cache_read_image_tokens=200,
    output_tokens=300,
    reasoning_tokens=450,
    output_audio_tokens=110,
    output_image_tokens=290,
)


def generated(usage: dict[str, Any] | None = USAGE, **fields: object) -> dict[str, Any]:
    return {
        "candidates": [
            {
                "content": {"role": "model", "parts": [{"text": "Yes."}]},
                "finishReason": "STOP",
                "index": 0,
            }
        ],
        "usageMetadata": usage,
        "modelVersion": "gemini-3.5-flash",
        "responseId": "r1",
        **fields,
    }


def both(body: dict[str, Any]) -> Reading:
    """What the JSON, the package's object and that object's dump read as, which is the same."""
    reading = read(body)
    typed = GenerateContentResponse.model_validate(body)
    assert read(typed) == reading
    assert read(typed.model_dump()) == reading
    assert read(typed.model_dump(mode="json", exclude_none=True)) == reading
    return reading


def test_a_response() -> None:
    reading = both(generated())
    assert reading == Reading(counts=COUNTS, model="gemini-3.5-flash")
    assert reading.counts.prompt_tokens == 5000 + 90
    assert reading.counts.completion_tokens == 700 + 450


def test_usage_by_itself() -> None:
    usage = GenerateContentResponseUsageMetadata.model_validate(USAGE)
    assert read(usage) == Reading(counts=COUNTS)
    assert read(USAGE, "gemini") == Reading(counts=COUNTS)
    assert read(usage.model_dump(), "gemini") == Reading(counts=COUNTS)


def test_without_details_all_is_text() -> None:
    usage = {"promptTokenCount": 10, "cachedContentTokenCount": 4, "totalTokenCount": 10}
    assert both(generated(usage)).counts == TokenCounts(input_tokens=6, cache_read_tokens=4)


def test_details_of_some_counts_alone() -> None:
    usage = {
        "promptTokenCount": 20,
        "promptTokensDetails": [*modalities(AUDIO=5, IMAGE=6), {"modality": "AUDIO"}, {}],
        "cachedContentTokenCount": 4,
    }
    assert both(generated(usage)).counts == TokenCounts(
        input_tokens=5, cache_read_tokens=4, input_audio_tokens=5, input_image_tokens=6
    )


def test_half_a_usage() -> None:
    assert read({"promptTokenCount": 5}, "gemini").counts == TokenCounts(input_tokens=5)
    assert read({"candidatesTokenCount": 5}, "gemini").counts == TokenCounts(output_tokens=5)
    assert read({"responseTokenCount": 5}, "gemini").counts == TokenCounts(output_tokens=5)


def test_embeddings() -> None:
    body = {
        "embeddings": [{"values": [0.1]}],
        "usageMetadata": {"promptTokenCount": 8, "totalTokenCount": 8},
    }
    expected = Reading(counts=TokenCounts(input_tokens=8))
    assert read(EmbedContentResponse.model_validate(body)) == expected
    assert read(body) == expected


def test_a_live_message_names_its_output_response() -> None:
    usage = {
        "promptTokenCount": 100,
        "promptTokensDetails": modalities(AUDIO=90, TEXT=10),
        "responseTokenCount": 60,
        "responseTokensDetails": modalities(AUDIO=55, TEXT=5),
        "totalTokenCount": 160,
    }
    counts = TokenCounts(
        input_tokens=10, input_audio_tokens=90, output_tokens=5, output_audio_tokens=55
    )
    assert read(LiveServerMessage.model_validate({"usageMetadata": usage})).counts == counts
    assert read({"usageMetadata": usage}).counts == counts


def test_thoughts_that_only_the_total_counts() -> None:
    usage = {"promptTokenCount": 20, "candidatesTokenCount": 100, "totalTokenCount": 500}
    assert both(generated(usage)).counts == TokenCounts(input_tokens=20, output_tokens=480)


@pytest.mark.parametrize(
    ("traffic", "tier"),
    [
        ("ON_DEMAND", "standard"),
        ("ON_DEMAND_FLEX", "flex"),
        ("ON_DEMAND_PRIORITY", "priority"),
        ("PROVISIONED_THROUGHPUT", "provisioned_throughput"),
        ("TRAFFIC_TYPE_UNSPECIFIED", None),
        (None, None),
    ],
)
def test_the_tier_that_served_on_vertex_ai(traffic: str | None, tier: str | None) -> None:
    assert both(generated({**USAGE, "trafficType": traffic})).service_tier == tier


@pytest.mark.parametrize(
    ("stated", "tier"), [("flex", "flex"), ("standard", "standard"), ("unspecified", None)]
)
def test_the_tier_that_served_on_the_gemini_api(stated: str, tier: str | None) -> None:
    usage = {"promptTokenCount": 1, "totalTokenCount": 1, "serviceTier": stated}
    typed = UsageMetadata.model_validate(usage)
    assert read(typed).service_tier == tier
    assert type(read(typed).service_tier) in (str, type(None))
    assert read({"usageMetadata": usage}).service_tier == tier


@pytest.mark.parametrize(
    ("model", "charged"),
    [
        ("gemini-3.5-flash", 2),
        ("gemini-2.5-pro", 1),
        ("gemini-1.5-flash", 1),
        ("publishers/google/models/gemini-2.5-pro", 1),
        (None, 2),
    ],
)
def test_searches(model: str | None, charged: int) -> None:
    candidate = {"groundingMetadata": {"webSearchQueries": ["a", "", "b", "a"]}}
    body = generated(candidates=[candidate], modelVersion=model)
    assert both(body).counts.web_searches == charged
    assert both(generated(modelVersion=model)).counts.web_searches == 0


@pytest.mark.parametrize(
    ("usage", "expected"),
    [
        # more cached than sent
        (
            {"promptTokenCount": 100, "cachedContentTokenCount": 150},
            {"cache_read_tokens": 100},
        ),
        # details above their counts
        (
            {
                "promptTokenCount": 100,
                "promptTokensDetails": modalities(AUDIO=80, IMAGE=80),
                "cachedContentTokenCount": 10,
                "cacheTokensDetails": modalities(AUDIO=30, TEXT=30),
                "candidatesTokenCount": 50,
                "candidatesTokensDetails": modalities(AUDIO=60),
                "thoughtsTokenCount": 5,
            },
            {
                "input_audio_tokens": 70,
                "cache_read_audio_tokens": 10,
                "input_image_tokens": 20,
                "output_audio_tokens": 55,
            },
        ),
        # below zero, and a total that is too small
        (
            {"promptTokenCount": 7, "candidatesTokenCount": -1, "totalTokenCount": 3},
            {"input_tokens": 7},
        ),
    ],
)
def test_a_report_that_contradicts_itself_keeps_its_totals(
    usage: dict[str, Any], expected: dict[str, int]
) -> None:
    assert both(generated(usage)).counts == TokenCounts(**expected)


def test_a_response_without_usage() -> None:
    for usage in (None, {"trafficType": "ON_DEMAND"}):
        with pytest.raises(NoUsage):
            read(GenerateContentResponse.model_validate(generated(usage)))
        with pytest.raises(NoUsage):
            read(generated(usage))


def test_what_is_no_count_is_an_error() -> None:
    with pytest.raises(UnknownUsage, match="promptTokenCount holds a str, not a count"):
        read(generated({"promptTokenCount": "12"}))


def test_genai_prices_extracts_the_same() -> None:
    # It counts documents as images; here they are text.
    usage = USAGE | {"promptTokensDetails": modalities(TEXT=3684, AUDIO=800, IMAGE=516)}
    extracted = extract_usage(generated(usage), provider_id="google").usage
    assert extracted.input_tokens == COUNTS.prompt_tokens
    assert extracted.output_tokens == COUNTS.completion_tokens
    assert extracted.cache_read_tokens == 1500
    assert extracted.cache_audio_read_tokens == COUNTS.cache_read_audio_tokens
    assert extracted.cache_image_read_tokens == COUNTS.cache_read_image_tokens
    assert extracted.input_audio_tokens == 500 + 300
    assert extracted.input_image_tokens == 336 + 200
    assert extracted.output_audio_tokens == COUNTS.output_audio_tokens
    assert extracted.output_image_tokens == COUNTS.output_image_tokens
    assert extracted.output_reasoning_tokens == COUNTS.reasoning_tokens


MODALITIES = ("TEXT", "AUDIO", "IMAGE", "VIDEO")
by_modality = st.fixed_dictionaries(dict.fromkeys(MODALITIES, st.integers(0, 10**6)))


@given(by_modality, by_modality, by_modality, st.integers(0, 10**6), st.data())
def test_classes_sum_up_to_the_totals(
    sent: dict[str, int],
    tools: dict[str, int],
    received: dict[str, int],
    thoughts: int,
    data: st.DataObject,
) -> None:
    cached = {name: data.draw(st.integers(0, count), name) for name, count in sent.items()}
    totals = [sum(part.values()) for part in (sent, tools, received)]
    usage = {
        "promptTokenCount": totals[0],
        "promptTokensDetails": modalities(**sent),
        "cachedContentTokenCount": sum(cached.values()),
        "cacheTokensDetails": modalities(**cached),
        "toolUsePromptTokenCount": totals[1],
        "toolUsePromptTokensDetails": modalities(**tools),
        "candidatesTokenCount": totals[2],
        "candidatesTokensDetails": modalities(**received),
        "thoughtsTokenCount": thoughts,
        "totalTokenCount": sum(totals) + thoughts,
    }
    counts = read(GenerateContentResponseUsageMetadata.model_validate(usage)).counts
    assert counts.prompt_tokens == totals[0] + totals[1]
    assert counts.completion_tokens == totals[2] + thoughts
    assert counts == TokenCounts(
        input_tokens=sum(part[name] for part in (sent, tools) for name in ("TEXT", "VIDEO"))
        - cached["TEXT"]
        - cached["VIDEO"],
        cache_read_tokens=cached["TEXT"] + cached["VIDEO"],
        input_audio_tokens=sent["AUDIO"] + tools["AUDIO"] - cached["AUDIO"],
        cache_read_audio_tokens=cached["AUDIO"],
        input_image_tokens=sent["IMAGE"] + tools["IMAGE"] - cached["IMAGE"],
        cache_read_image_tokens=cached["IMAGE"],
        output_tokens=received["TEXT"] + received["VIDEO"],
        reasoning_tokens=thoughts,
        output_audio_tokens=received["AUDIO"],
        output_image_tokens=received["IMAGE"],
    )


anything = st.integers(-10, 1000)
COUNTED = ("promptTokenCount", "cachedContentTokenCount", "candidatesTokenCount")
DETAILED = ("promptTokensDetails", "cacheTokensDetails", "candidatesTokensDetails")


@given(
    st.fixed_dictionaries(dict.fromkeys(COUNTED, anything)),
    st.fixed_dictionaries(
        dict.fromkeys(DETAILED, st.fixed_dictionaries(dict.fromkeys(MODALITIES, anything)))
    ),
)
def test_whatever_is_stated_the_totals_are_kept(
    counted: dict[str, int], detailed: dict[str, dict[str, int]]
) -> None:
    usage = {**counted, **{name: modalities(**counts) for name, counts in detailed.items()}}
    counts = read(usage, "gemini").counts  # a negative class would raise
    assert counts.prompt_tokens == max(counted["promptTokenCount"], 0)
    assert counts.completion_tokens == max(counted["candidatesTokenCount"], 0)
