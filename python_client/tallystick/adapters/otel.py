"""OpenTelemetry: the attributes of a span by the conventions for generative AI.

- ``gen_ai.usage.input_tokens`` includes ``gen_ai.usage.cache_read.input_tokens`` and
  ``gen_ai.usage.cache_creation.input_tokens``: of both "the value SHOULD be included in
  `gen_ai.usage.input_tokens`".
- ``gen_ai.usage.output_tokens`` includes ``gen_ai.usage.reasoning.output_tokens`` likewise.
- An instrumentation that passes on a provider's exclusive count breaks that rule. Where more was
  cached than was sent in all, it plainly does, and the cached tokens are added instead.
- ``gen_ai.response.model`` is the model that served; the one of the request is only what was asked
  for. A tier that served is known of OpenAI's spans alone.

The conventions know no modality and no lifetime of what is written to a cache.
"""

from __future__ import annotations

from collections.abc import Mapping

from tallystick.adapters.fields import (
    Reading,
    Report,
    counts,
    get,
    inclusive_input,
    inclusive_output,
    text,
)
from tallystick.counts import TokenCounts

PACKAGE: str | None = None  # a span may be of any tracing library

_USAGE = {
    "input": ("gen_ai.usage.input_tokens", "gen_ai.usage.prompt_tokens"),
    "cached": ("gen_ai.usage.cache_read.input_tokens",),
    "written": ("gen_ai.usage.cache_creation.input_tokens",),
    "output": ("gen_ai.usage.output_tokens", "gen_ai.usage.completion_tokens"),
    "reasoning": ("gen_ai.usage.reasoning.output_tokens",),
}
_MODEL = "gen_ai.response.model"
_TIERS = ("openai.response.service_tier", "gen_ai.openai.response.service_tier")


def recognizes(event: Mapping[str, object]) -> bool:
    """Tell whether these are the attributes of a span of generative AI."""
    return any(isinstance(name, str) and name.startswith("gen_ai.") for name in event)


def report(event: object) -> Report:
    """Read what the attributes, or the attributes of a span, state."""
    attributes = event if isinstance(event, Mapping) else get(event, "attributes")
    return Report(
        counts=counts(attributes, _USAGE),
        model=text(attributes, _MODEL),
        service_tier=text(attributes, *_TIERS),
    )


def reading(report: Report) -> Reading:
    """Make the counts exclusive."""
    stated = report.counts
    sent, cached, written = (stated.get(name, 0) for name in ("input", "cached", "written"))
    if cached + written > sent:
        sent += cached + written
    return Reading(
        counts=TokenCounts(
            **inclusive_input(sent, cached=cached, written=written),
            **inclusive_output(stated.get("output", 0), reasoning=stated.get("reasoning", 0)),
        ),
        model=report.model,
        service_tier=report.service_tier,
    )


def is_piece(event: object) -> bool:  # noqa: ARG001 - every adapter answers it
    """Tell that a span is no piece of a stream."""
    return False
