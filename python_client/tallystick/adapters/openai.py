"""OpenAI: chat completions, responses, embeddings, realtime; and who speaks the same API.

- ``prompt_tokens`` (``input_tokens``) includes ``cached_tokens`` and ``cache_write_tokens``, which
  are apart from each other: the prompt caching guide's example has 2,600 input tokens, of them
  2,000 read, 400 written, 200 neither. Audio and images are parts of it as well.
- ``completion_tokens`` (``output_tokens``) includes ``reasoning_tokens`` and rejected predictions,
  which "are still counted in the total completion tokens for purposes of billing", and audio.
- Some services that speak this API (xAI; Gemini's compatible endpoint) leave reasoning out of
  ``completion_tokens`` and count it in ``total_tokens`` only. So what of the total is not prompt is
  output; OpenAI's own total is the plain sum.
- Cache writes have one price whatever their lifetime, 1.25 times the input's, so all of them are
  `cache_write_5m_tokens`, the class of writes at the usual price.
- ``service_tier`` of a response is the tier that served, except for ``auto``, which is a wish.
- ``tool_usage.web_search`` counts the searches that are charged. Where it is missing, the calls
  in the output are counted; opening a page and looking something up in it is not charged. Searches
  of stored files are charged by call.
- ``tool_usage`` is "separate from base model `usage`": the images of its ``image_gen`` are made by
  another model.

A transcription that is billed by duration reports no tokens.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from tallystick.adapters.fields import (
    Reading,
    Report,
    count,
    counts,
    first,
    get,
    inclusive_input,
    inclusive_output,
    items,
    text,
    usage_of,
)
from tallystick.counts import TokenCounts

if TYPE_CHECKING:
    from collections.abc import Mapping

PACKAGE: str | None = "openai"


def _of_input(name: str) -> tuple[str, ...]:
    containers = ("prompt_tokens_details", "input_tokens_details", "input_token_details")
    return tuple(f"{container}.{name}" for container in containers)


def _of_output(name: str) -> tuple[str, ...]:
    containers = ("completion_tokens_details", "output_tokens_details", "output_token_details")
    return tuple(f"{container}.{name}" for container in containers)


USAGE = {
    "input": ("prompt_tokens", "input_tokens"),
    "output": ("completion_tokens", "output_tokens"),
    "total": ("total_tokens",),
    "cached": _of_input("cached_tokens"),
    "written": _of_input("cache_write_tokens"),
    "audio": _of_input("audio_tokens"),
    "image": _of_input("image_tokens"),
    "cached_audio": _of_input("cached_tokens_details.audio_tokens"),
    "cached_image": _of_input("cached_tokens_details.image_tokens"),
    "reasoning": _of_output("reasoning_tokens"),
    "output_audio": _of_output("audio_tokens"),
    "output_image": _of_output("image_tokens"),
}
_IMAGE_TOOL_USAGE = USAGE | {
    "cached": ("cached_tokens",),
    "cached_image": ("cached_tokens_details.cached_image_tokens",),
}
_OBJECTS = frozenset(
    {
        *("chat.completion", "chat.completion.chunk", "text_completion"),
        *("response", "response.compaction", "realtime.response"),
    }
)
_GENERATED = (
    *(f"delta.{name}" for name in ("content", "refusal", "tool_calls", "function_call", "audio")),
    *("delta.reasoning_content", "delta.reasoning", "text"),
)


def recognizes(event: Mapping[str, object]) -> bool:
    """Tell whether this is decoded JSON of this API."""
    return (
        text(event, "object") in _OBJECTS
        or (text(event, "type") or "").startswith("response.")
        or any(text(item, "object") == "embedding" for item in items(event, "data")[:1])
        or "prompt_filter_results" in event  # Azure's first chunk, whose object is empty
    )


def report(event: object) -> Report:
    """Read what a response, a stream's event or a usage object states."""
    response = first(event, "response", "chunk") or event
    return Report(
        counts=counts(usage_of(response, USAGE, "usage"), USAGE),
        model=text(response, "model"),
        service_tier=served_tier(response),
        web_searches=_web_searches(response),
        file_searches=len(_calls(response, "file_search_call")) or None,
        parts=_images(response),
    )


def reading(report: Report) -> Reading:
    """Make the counts exclusive."""
    return Reading(
        counts=_exclusive(report),
        model=report.model,
        service_tier=report.service_tier,
        others=tuple(Reading(counts=_exclusive(part), model=part.model) for part in report.parts),
    )


def is_piece(event: object) -> bool:
    """Tell whether a stream's event brings something the model generated."""
    kind = text(event, "type") or ""
    if kind.startswith(("response.", "transcript.")):
        return kind.endswith(".delta")
    chunk = get(event, "chunk") or event
    return any(first(choice, *_GENERATED) for choice in items(chunk, "choices"))


def served_tier(response: object) -> str | None:
    """Read the tier that served."""
    tier = text(response, "service_tier")
    return None if tier == "auto" else tier


def _exclusive(report: Report) -> TokenCounts:
    stated = report.counts
    prompt = stated.get("input", 0)
    received = max(stated.get("output", 0), stated.get("total", 0) - prompt)
    return TokenCounts(
        **inclusive_input(
            prompt,
            cached=stated.get("cached", 0),
            written=stated.get("written", 0),
            audio=stated.get("audio", 0),
            image=stated.get("image", 0),
            cached_audio=stated.get("cached_audio", 0),
            cached_image=stated.get("cached_image", 0),
        ),
        **inclusive_output(
            received,
            reasoning=stated.get("reasoning", 0),
            audio=stated.get("output_audio", 0),
            image=stated.get("output_image", 0),
        ),
        web_searches=report.web_searches or 0,
        file_searches=report.file_searches or 0,
    )


def _web_searches(response: object) -> int | None:
    charged = count(response, "tool_usage.web_search.num_requests")
    if charged is not None:
        return charged
    calls = _calls(response, "web_search_call")
    return sum(text(call, "action.type") in (None, "search") for call in calls) or None


def _calls(response: object, kind: str) -> list[object]:
    return [item for item in items(response, "output") if text(item, "type") == kind]


def _images(response: object) -> tuple[Report, ...]:
    stated = counts(get(response, "tool_usage.image_gen"), _IMAGE_TOOL_USAGE)
    if not any(stated.values()):
        return ()
    tools = (tool for tool in items(response, "tools") if text(tool, "type") == "image_generation")
    # All it generates is images, where no details say otherwise.
    whole = {"output_image": stated.get("output", 0)}
    return (Report(counts=whole | stated, model=text(next(tools, None), "model")),)
