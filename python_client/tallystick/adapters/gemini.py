"""Gemini: the Gemini API and Vertex AI.

- ``promptTokenCount`` includes ``cachedContentTokenCount``: "When `cached_content` is set, this
  also includes the number of tokens in the cached content."
- ``candidatesTokenCount`` excludes ``thoughtsTokenCount``, and ``toolUsePromptTokenCount`` is
  further input: ``totalTokenCount`` "is the sum of `prompt_token_count`, `candidates_token_count`,
  `tool_use_prompt_token_count`, and `thoughts_token_count`". What of the total is in none of them
  is output, so that none of it is lost.
- The details split each count by modality. Audio and images have classes; video and documents are
  priced as text and stay `input_tokens`.
- ``serviceTier`` is the tier that served; Vertex AI's ``trafficType`` says the same in other words,
  which are turned into those a request uses: ``ON_DEMAND_FLEX`` is ``flex``, ``ON_DEMAND``
  is ``standard``.
- From Gemini 3 on each search of a grounded answer is charged, empty and repeated ones apart;
  before, an answer was charged once however many searches it took.
- Every chunk of a stream may state counts so far; the last statement of each is the final one.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from tallystick.adapters.fields import (
    Reading,
    Report,
    count,
    counts,
    either,
    first,
    inclusive_input,
    inclusive_output,
    items,
    text,
    usage_of,
)
from tallystick.counts import TokenCounts

if TYPE_CHECKING:
    from collections.abc import Mapping

PACKAGE: str | None = "google.genai"

_USAGE = {
    "input": either("promptTokenCount"),
    "cached": either("cachedContentTokenCount"),
    "tool": either("toolUsePromptTokenCount"),
    "output": (*either("candidatesTokenCount"), *either("responseTokenCount")),
    "thoughts": either("thoughtsTokenCount"),
    "total": either("totalTokenCount"),
}
_DETAILS = {
    "input": either("promptTokensDetails"),
    "cached": either("cacheTokensDetails"),
    "tool": either("toolUsePromptTokensDetails"),
    "output": (*either("candidatesTokensDetails"), *either("responseTokensDetails")),
}
_USAGE_METADATA = either("usageMetadata")
_MODEL = either("modelVersion")
_GENERATED = (
    "text",
    *either("functionCall"),
    *either("inlineData"),
    *either("executableCode"),
)
_TIERS = {"on_demand": "standard", "traffic_type_unspecified": None, "unspecified": None}


def recognizes(event: Mapping[str, object]) -> bool:
    """Tell whether this is decoded JSON of this API, or a dump of its package's objects."""
    return (
        "usageMetadata" in event
        # Other libraries name it so too, and count differently in it.
        or count(event, "usage_metadata.total_token_count") is not None
        or ("candidates" in event and any(name in event for name in _MODEL))
    )


def report(event: object) -> Report:
    """Read what a response, a stream's chunk or a usage object states."""
    usage = usage_of(event, _USAGE, *_USAGE_METADATA)
    return Report(
        counts=counts(usage, _USAGE) | _by_modality(usage),
        model=text(event, *_MODEL),
        service_tier=_tier(usage),
        web_searches=len(_searches(event)) or None,
    )


def reading(report: Report) -> Reading:
    """Make the counts exclusive."""
    stated = report.counts
    sent = stated.get("input", 0) + stated.get("tool", 0)
    thoughts = stated.get("thoughts", 0)
    received = max(stated.get("output", 0) + thoughts, stated.get("total", 0) - sent)
    return Reading(
        counts=TokenCounts(
            **inclusive_input(
                sent,
                cached=stated.get("cached", 0),
                audio=stated.get("input_audio", 0) + stated.get("tool_audio", 0),
                image=stated.get("input_image", 0) + stated.get("tool_image", 0),
                cached_audio=stated.get("cached_audio", 0),
                cached_image=stated.get("cached_image", 0),
            ),
            **inclusive_output(
                received,
                reasoning=thoughts,
                audio=stated.get("output_audio", 0),
                image=stated.get("output_image", 0),
            ),
            web_searches=_charged(report.web_searches or 0, report.model),
        ),
        model=report.model,
        service_tier=report.service_tier,
    )


def is_piece(event: object) -> bool:
    """Tell whether a stream's chunk brings something the model generated."""
    return any(
        first(part, *_GENERATED)
        for candidate in items(event, "candidates")
        for part in items(candidate, "content.parts")
    )


def _by_modality(usage: object) -> dict[str, int]:
    """Read the details, for example as ``input_audio``."""
    stated: dict[str, int] = {}
    for name, paths in _DETAILS.items():
        for entry in items(usage, *paths):
            key = f"{name}_{(text(entry, 'modality') or '').lower()}"
            stated[key] = stated.get(key, 0) + (count(entry, *either("tokenCount")) or 0)
    return stated


def _searches(event: object) -> set[object]:
    return {
        query
        for candidate in items(event, "candidates")
        for query in items(
            first(candidate, *either("groundingMetadata")), *either("webSearchQueries")
        )
        if query
    }


def _charged(searches: int, model: str | None) -> int:
    name = (model or "").rpartition("/")[2]
    return min(searches, 1) if name.startswith(("gemini-1", "gemini-2")) else searches


def _tier(usage: object) -> str | None:
    named = (text(usage, *either("serviceTier"), *either("trafficType")) or "").lower()
    return _TIERS.get(named, named.removeprefix("on_demand_")) or None
