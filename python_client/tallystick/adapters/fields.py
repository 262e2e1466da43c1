"""What the adapters share: reading fields exactly, merging reports, making classes exclusive.

A field is read by key or by attribute, so decoded JSON and a provider package's own objects read
alike and no such package is imported.
"""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from tallystick.counts import TokenCounts

Table = Mapping[str, tuple[str, ...]]
"""A count's name here, and the paths under which the provider may state it."""

TOTALS = frozenset({"input", "output"})
"""The counts of which a usage object states at least one; every table has them."""


class UnknownUsage(ValueError):  # noqa: N818
    """Whose usage this is, or what it says, cannot be told; a guess could price tokens twice."""


class NoUsage(ValueError):  # noqa: N818
    """The response is of a known provider and reports no usage."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Reading:
    """What a response says was used.

    Attributes:
        counts: the tokens in exclusive classes.
        model: the model that served, as the provider names it; None where the response does not.
        service_tier: the tier that served; None where the response does not state it.
        is_fallback: `model` was asked only after another had refused, so its prices count.
        is_partial: a stream stated this at its beginning and not yet what it generated.
        others: what other models used within the same call, each at its own model's prices. Empty
            but for a few tools: Anthropic's advisor and refusal fallback, OpenAI's images.
    """

    counts: TokenCounts
    model: str | None = None
    service_tier: str | None = None
    is_fallback: bool = False
    is_partial: bool = False
    others: tuple[Reading, ...] = ()


@dataclass(frozen=True, slots=True, kw_only=True)
class Report:
    """What one response or stream event states, not yet exclusive.

    Attributes:
        counts: the provider's own counts, by the name its adapter gives them; absent if not stated.
        model: the model that served.
        service_tier: the tier that served.
        web_searches: searches of the web that are charged; None if not stated.
        file_searches: searches of stored files that are charged; None if not stated.
        is_partial: the counts are those of a stream that has only begun.
        kind: what a part is, in the provider's word.
        parts: what is reported apart from the counts above.
    """

    counts: Mapping[str, int] = field(default_factory=dict)
    model: str | None = None
    service_tier: str | None = None
    web_searches: int | None = None
    file_searches: int | None = None
    is_partial: bool = False
    kind: str | None = None
    parts: tuple[Report, ...] = ()

    def updated(self, later: Report) -> Report:
        """Return both as one: field by field, what is stated later wins, as streams count up."""
        return Report(
            counts={**self.counts, **later.counts},
            model=later.model or self.model,
            service_tier=later.service_tier or self.service_tier,
            web_searches=_later(self.web_searches, later.web_searches),
            file_searches=_later(self.file_searches, later.file_searches),
            is_partial=later.is_partial if later.counts else self.is_partial,
            parts=later.parts or self.parts,
        )


def _later(earlier: int | None, later: int | None) -> int | None:
    return earlier if later is None else later


def get(source: object, path: str) -> object:
    """Follow a path like ``usage.input_tokens`` by keys and attributes; None where it ends."""
    if isinstance(source, Mapping) and path in source:
        return source[path]  # also a key that has dots itself, as OpenTelemetry's have
    for name in path.split("."):
        source = source.get(name) if isinstance(source, Mapping) else getattr(source, name, None)
    return source


def first(source: object, *paths: str) -> object:
    """Return the first of several fields that holds something, or None."""
    return next((found for path in paths if (found := get(source, path))), None)


def text(source: object, *paths: str) -> str | None:
    """Read the first of several fields that holds a text; an enum's text is its value."""
    found = first(source, *paths)
    return str.__str__(found) if isinstance(found, str) else None


def items(source: object, *paths: str) -> Sequence[object]:
    """Read the first of several fields that holds a list; empty if none does."""
    found = first(source, *paths)
    return found if isinstance(found, list | tuple) else ()


def count(source: object, *paths: str) -> int | None:
    """Read the first of several fields that states a count; None if none does.

    Raises:
        UnknownUsage: a field holds something else than a count.
    """
    for path in paths:
        value = get(source, path)
        if isinstance(value, int) and not isinstance(value, bool):
            return max(value, 0)
        # None, an empty object, and what some packages put where a field was not sent are false.
        if value or isinstance(value, bool | float):
            raise UnknownUsage(f"{path} holds a {type(value).__name__}, not a count")
    return None


def usage_of(source: object, table: Table, *paths: str) -> object:
    """Return the usage object at a path; the source itself if it is one; else None."""
    found = first(source, *paths)
    if found is not None:
        return found
    totals = (path for name in TOTALS & table.keys() for path in table[name])
    return source if count(source, *totals) is not None else None


def counts(source: object, table: Table) -> dict[str, int]:
    """Read the counts of a table that are stated."""
    if source is None:
        return {}  # most events of a stream
    found = {name: count(source, *paths) for name, paths in table.items()}
    return {name: value for name, value in found.items() if value is not None}


def either(camel: str) -> tuple[str, str]:
    """Return a field's name as JSON has it and as Python has it: ``aB`` and ``a_b``."""
    return camel, re.sub("[A-Z]", lambda letter: f"_{letter[0].lower()}", camel)


def cache_writes(stated: Mapping[str, int]) -> tuple[int, int]:
    """Split cache writes into usual and one-hour ones: ``written``, ``written_5m``, ``written_1h``.

    A stream may count the total further up than the split it began with. The rest is of the usual
    time, or of an hour where nothing else was written.
    """
    usual, hour = stated.get("written_5m", 0), stated.get("written_1h", 0)
    rest = max(stated.get("written", 0) - usual - hour, 0)
    return (usual, hour + rest) if hour and not usual else (usual + rest, hour)


def inclusive_input(
    total: int,
    *,
    cached: int = 0,
    written: int = 0,
    audio: int = 0,
    image: int = 0,
    cached_audio: int = 0,
    cached_image: int = 0,
) -> dict[str, int]:
    """Make input classes of a total that includes all the others; they sum up to the total.

    Where a report contradicts itself, each count is cut to what is left of the total, the dearer
    first: written before read, audio and images before text. What was read from the cache and is
    not said to be audio or an image is text, as far as there is text.
    """
    audio, image, plain = _spread(total, audio, image, total)
    written = min(written, total)
    cached = min(cached, total - written)
    read_audio, read_image, read_rest = _spread(
        cached, min(cached_audio, audio), min(cached_image, image), cached
    )
    more_plain, more_image, more_audio = _spread(
        read_rest, plain, image - read_image, audio - read_audio
    )
    read_audio, read_image = read_audio + more_audio, read_image + more_image
    write_plain, write_image, write_audio = _spread(
        written, plain - more_plain, image - read_image, audio - read_audio
    )
    return {
        "input_tokens": plain - more_plain - write_plain,
        "cache_read_tokens": more_plain,
        "cache_write_5m_tokens": written,
        "input_audio_tokens": audio - read_audio - write_audio,
        "cache_read_audio_tokens": read_audio,
        "input_image_tokens": image - read_image - write_image,
        "cache_read_image_tokens": read_image,
    }


def inclusive_output(
    total: int, *, reasoning: int = 0, audio: int = 0, image: int = 0
) -> dict[str, int]:
    """Make output classes of a total that includes all the others; they sum up to the total."""
    audio, image, reasoning, plain = _spread(total, audio, image, reasoning, total)
    return {
        "output_tokens": plain,
        "reasoning_tokens": reasoning,
        "output_audio_tokens": audio,
        "output_image_tokens": image,
    }


def _spread(amount: int, *sizes: int) -> list[int]:
    """Spread an amount over rooms of these sizes, in their order; what fits in none is left out."""
    shares = []
    for size in sizes:
        shares.append(min(size, amount))
        amount -= shares[-1]
    return shares
