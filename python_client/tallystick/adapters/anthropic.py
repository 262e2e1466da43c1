"""Anthropic: messages, their streams and their batches, on any platform that serves them.

- ``input_tokens`` excludes what was read from and written to the cache: "Total input tokens in a
  request is the summation of `input_tokens`, `cache_creation_input_tokens`, and
  `cache_read_input_tokens`."
- ``cache_creation_input_tokens`` is what ``cache_creation`` splits by lifetime; without the split
  it was written for five minutes, the default.
- ``output_tokens`` includes ``output_tokens_details.thinking_tokens`` and "remains the inclusive,
  authoritative total used for billing".
- ``service_tier`` is the tier that served; ``speed: fast`` is one, as it has prices of its own.
- A stream counts up: ``message_start`` states the input and the first of the output, each
  ``message_delta`` the totals so far, without what it has nothing new about.

``iterations`` (beta) lists the model's turns within one call. The counts above are those of the
model that served, so three kinds of turns are not in them: a ``compaction`` of the context, which
the same model did and which is added here; an ``advisor_message``, which is billed as the advisor
model; and, after a refusal, the ``message`` of a model that was asked first, which is billed as
that model unless it generated nothing. The last two are the reading's `others`.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from tallystick.adapters.fields import (
    Reading,
    Report,
    cache_writes,
    count,
    counts,
    first,
    get,
    inclusive_output,
    items,
    text,
    usage_of,
)
from tallystick.counts import TokenCounts

if TYPE_CHECKING:
    from collections.abc import Mapping

PACKAGE: str | None = "anthropic"

_USAGE = {
    "input": ("input_tokens",),
    "cached": ("cache_read_input_tokens",),
    "written": ("cache_creation_input_tokens",),
    "written_5m": ("cache_creation.ephemeral_5m_input_tokens",),
    "written_1h": ("cache_creation.ephemeral_1h_input_tokens",),
    "output": ("output_tokens",),
    "thinking": ("output_tokens_details.thinking_tokens",),
}
_EVENTS = frozenset(
    {
        *("message_start", "message_delta", "message_stop"),
        *("content_block_start", "content_block_delta", "content_block_stop"),
    }
)
_NOT_GENERATED = frozenset({"signature_delta", "citations_delta"})


def recognizes(event: Mapping[str, object]) -> bool:
    """Tell whether this is decoded JSON of this API."""
    kind = text(event, "type")
    return (
        kind in _EVENTS
        or (kind == "message" and get(event, "usage.input_tokens") is not None)
        or get(event, "result.message.usage") is not None  # a line of a batch's results
    )


def report(event: object) -> Report:
    """Read what a message, a stream's event, a batch's result or a usage object states."""
    message = first(event, "message", "result.message") or event
    usage = usage_of(message, _USAGE, "usage")
    return Report(
        counts=counts(usage, _USAGE),
        model=text(message, "model"),
        service_tier=_tier(usage),
        web_searches=count(usage, "server_tool_use.web_search_requests"),
        is_partial=text(event, "type") == "message_start",
        parts=tuple(
            Report(counts=counts(turn, _USAGE), model=text(turn, "model"), kind=text(turn, "type"))
            for turn in items(usage, "iterations")
        ),
    )


def reading(report: Report) -> Reading:
    """Make the counts exclusive."""
    fallbacks = [turn.model for turn in report.parts if turn.kind == "fallback_message"]
    served = (fallbacks and fallbacks[0]) or report.model
    own = _exclusive(report)
    for turn in report.parts:
        if turn.kind == "compaction":
            own += _exclusive(turn)
    return Reading(
        counts=own,
        model=served,
        service_tier=report.service_tier,
        is_fallback=bool(fallbacks),
        is_partial=report.is_partial,
        others=tuple(
            Reading(counts=_exclusive(turn), model=turn.model)
            for turn in report.parts
            if _is_billed_apart(turn, served)
        ),
    )


def is_piece(event: object) -> bool:
    """Tell whether a stream's event brings something the model generated."""
    is_delta = text(event, "type") == "content_block_delta"
    return is_delta and text(event, "delta.type") not in _NOT_GENERATED


def _exclusive(report: Report) -> TokenCounts:
    stated = report.counts
    five_minutes, hour = cache_writes(stated)
    return TokenCounts(
        input_tokens=stated.get("input", 0),
        cache_read_tokens=stated.get("cached", 0),
        cache_write_5m_tokens=five_minutes,
        cache_write_1h_tokens=hour,
        **inclusive_output(stated.get("output", 0), reasoning=stated.get("thinking", 0)),
        web_searches=report.web_searches or 0,
    )


def _is_billed_apart(turn: Report, served: str | None) -> bool:
    if turn.kind == "advisor_message":
        return True
    asked_first = turn.kind == "message" and turn.model is not None and turn.model != served
    return asked_first and turn.counts.get("output", 0) > 0


def _tier(usage: object) -> str | None:
    tier = text(usage, "service_tier")
    return "fast" if text(usage, "speed") == "fast" and tier in (None, "standard") else tier
