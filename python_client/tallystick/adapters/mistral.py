"""Mistral: chat, embeddings, transcription, conversations, responses.

- ``prompt_tokens`` includes ``prompt_tokens_details.cached_tokens`` (``num_cached_tokens`` in some
  answers). It leaves out audio and what connectors brought in (``connector_tokens``), which
  ``total_tokens`` counts: a transcription of 12 seconds reports 3 prompt, 41 completion, 375 audio
  and 419 total tokens. So what of the total is not completion is input.
- ``completion_tokens`` includes what the model thought, which is not counted apart.
- ``prompt_audio_seconds`` are no tokens. Where they are stated and ``audio_tokens`` is not, what of
  the total nothing else explains is audio.
- ``usage.service_tier``, of responses ``service_tier``, is the tier that served. ``connectors``
  counts the web searches.

As decoded JSON, a chat answer looks like OpenAI's and reads the same, but for these additions: name
the provider if there is audio.
"""

from __future__ import annotations

from collections.abc import Mapping

from tallystick.adapters import openai
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

PACKAGE: str | None = "mistralai"

_USAGE = openai.USAGE | {
    "cached": (*openai.USAGE["cached"], "num_cached_tokens"),
    "audio_seconds": ("prompt_audio_seconds",),
    "connector": ("connector_tokens",),
}
_OWN_COUNTS = ("prompt_audio_seconds", "num_cached_tokens", "connector_tokens")
_SEARCH_CONNECTORS = ("web_search", "web_search_premium")
_GENERATED_EVENTS = frozenset({"message.output.delta", "function.call.delta"})


def recognizes(event: Mapping[str, object]) -> bool:
    """Tell whether this is decoded JSON that only this API sends."""
    data = _data(event)
    usage = get(data, "usage")
    return (
        (isinstance(usage, Mapping) and any(name in usage for name in _OWN_COUNTS))
        or text(data, "object") == "conversation.response"
        or (text(data, "type") or "").startswith("conversation.")
        or text(data, "type") in _GENERATED_EVENTS
        or (data is not event and text(data, "object") == "chat.completion.chunk")
    )


def report(event: object) -> Report:
    """Read what a response, a stream's event or a usage object states."""
    data = _data(event)
    usage = usage_of(data, _USAGE, "usage")
    entries = (text(entry, "model") for entry in items(data, "outputs"))
    searches = [count(usage, f"connectors.{name}") for name in _SEARCH_CONNECTORS]
    return Report(
        counts=counts(usage, _USAGE),
        model=text(data, "model") or next(filter(None, entries), None),
        service_tier=text(usage, "service_tier") or openai.served_tier(data),
        web_searches=sum(filter(None, searches)) or None,
    )


def reading(report: Report) -> Reading:
    """Make the counts exclusive."""
    stated = report.counts
    completion = stated.get("output", 0)
    known = stated.get("input", 0) + stated.get("connector", 0)
    sent = max(known, stated.get("total", 0) - completion)
    unexplained = sent - known if stated.get("audio_seconds") else 0
    return Reading(
        counts=TokenCounts(
            **inclusive_input(
                sent,
                cached=stated.get("cached", 0),
                written=stated.get("written", 0),
                audio=stated.get("audio", unexplained),
            ),
            **inclusive_output(completion, reasoning=stated.get("reasoning", 0)),
            web_searches=report.web_searches or 0,
        ),
        model=report.model,
        service_tier=report.service_tier,
    )


def is_piece(event: object) -> bool:
    """Tell whether a stream's event brings something the model generated."""
    data = _data(event)
    return text(data, "type") in _GENERATED_EVENTS or openai.is_piece(data)


def _data(event: object) -> object:
    """Unwrap a stream's event; the data of embeddings is a list and stays where it is."""
    data = get(event, "data")
    inner = event if data is None or isinstance(data, list) else data
    return first(inner, "response") or inner
