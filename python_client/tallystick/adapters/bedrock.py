"""Amazon Bedrock: Converse and ConverseStream.

- ``inputTokens`` excludes ``cacheReadInputTokens`` and ``cacheWriteInputTokens``; ``cacheDetails``
  splits the latter by lifetime, five minutes being the default. ``totalTokens`` is not used, as
  nothing says whether it counts what was cached.
- ``outputTokens`` includes what the model thought, which Converse does not count apart.
- ``serviceTier.type`` is the tier that served. Which model served, Converse says only where a
  prompt router chose it, in the trace.
- A stream states its usage once, in the ``metadata`` event at its end.

The bodies of InvokeModel are those of the model's vendor: decode them and name the vendor, for
example ``read(json.loads(response["body"].read()), "anthropic")``, also event by event.
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
    items,
    text,
    usage_of,
)
from tallystick.counts import TokenCounts

if TYPE_CHECKING:
    from collections.abc import Mapping

PACKAGE: str | None = None  # botocore answers with plain dicts

_USAGE = {
    "input": ("inputTokens",),
    "cached": ("cacheReadInputTokens",),
    "written": ("cacheWriteInputTokens",),
    "output": ("outputTokens",),
}
_EVENTS = (
    *("messageStart", "contentBlockStart", "contentBlockDelta", "contentBlockStop", "messageStop"),
)
_GENERATED = ("text", "toolUse", "reasoningContent.text")


def recognizes(event: Mapping[str, object]) -> bool:
    """Tell whether this is a response or a stream's event of Converse."""
    return (
        any(name in event for name in _EVENTS)
        or get(event, "metadata.usage.inputTokens") is not None
        or ("stopReason" in event and get(event, "usage.inputTokens") is not None)
    )


def report(event: object) -> Report:
    """Read what a response, a stream's event or a usage object states."""
    body = get(event, "metadata") or event
    usage = usage_of(body, _USAGE, "usage")
    by_lifetime = {
        f"written_{text(entry, 'ttl')}": count(entry, "inputTokens") or 0
        for entry in items(usage, "cacheDetails")
    }
    return Report(
        counts=counts(usage, _USAGE) | by_lifetime,
        model=text(body, "trace.promptRouter.invokedModelId"),
        service_tier=text(body, "serviceTier.type"),
    )


def reading(report: Report) -> Reading:
    """Name the classes; these counts are exclusive already."""
    stated = report.counts
    five_minutes, hour = cache_writes(stated)
    return Reading(
        counts=TokenCounts(
            input_tokens=stated.get("input", 0),
            cache_read_tokens=stated.get("cached", 0),
            cache_write_5m_tokens=five_minutes,
            cache_write_1h_tokens=hour,
            output_tokens=stated.get("output", 0),
        ),
        model=report.model,
        service_tier=report.service_tier,
    )


def is_piece(event: object) -> bool:
    """Tell whether a stream's event brings something the model generated."""
    return first(get(event, "contentBlockDelta.delta"), *_GENERATED) is not None
