"""The tokens of one model call in exclusive classes: every token is in exactly one.

A provider's own counts overlap, and each provider's in its own way; `tallystick.adapters` reads
them into these. The names are the keys that `settle_spend` takes as usage.
"""

from __future__ import annotations

from dataclasses import dataclass, fields


@dataclass(frozen=True, slots=True, kw_only=True)
class TokenCounts:
    """What one call used.

    Attributes:
        input_tokens: sent, not from a cache, and in no other class: text, and video and documents.
        cache_read_tokens: sent, read from the provider's cache, and neither audio nor images.
        cache_write_5m_tokens: sent and written to the cache, for the provider's usual time.
        cache_write_1h_tokens: sent and written to the cache for an hour.
        input_audio_tokens: audio sent, not from a cache.
        cache_read_audio_tokens: audio read from the cache.
        input_image_tokens: images sent, not from a cache.
        cache_read_image_tokens: images read from the cache.
        output_tokens: received, and in no other class.
        reasoning_tokens: what the model thought before it answered.
        output_audio_tokens: audio received.
        output_image_tokens: images received.
        requests: calls, not tokens; left at 0 the database counts one.
        web_searches: searches of the web that the provider charges for, not tokens.
        file_searches: searches of stored files that the provider charges for, not tokens.
    """

    input_tokens: int = 0
    cache_read_tokens: int = 0
    cache_write_5m_tokens: int = 0
    cache_write_1h_tokens: int = 0
    input_audio_tokens: int = 0
    cache_read_audio_tokens: int = 0
    input_image_tokens: int = 0
    cache_read_image_tokens: int = 0
    output_tokens: int = 0
    reasoning_tokens: int = 0
    output_audio_tokens: int = 0
    output_image_tokens: int = 0
    requests: int = 0
    web_searches: int = 0
    file_searches: int = 0

    def __post_init__(self) -> None:
        """Refuse what is no count.

        Raises:
            TypeError: a count is not an int.
            ValueError: a count is negative.
        """
        for name, count in _by_name(self).items():
            if isinstance(count, bool) or not isinstance(count, int):
                raise TypeError(f"{name} must be an int, not {type(count).__name__}")
            if count < 0:
                raise ValueError(f"{name} must be at least 0, not {count}")

    def __add__(self, other: TokenCounts) -> TokenCounts:
        """Return the sum, class by class."""
        added = _by_name(other)
        return TokenCounts(**{name: count + added[name] for name, count in _by_name(self).items()})

    @property
    def prompt_tokens(self) -> int:
        """All tokens sent."""
        return (
            self.input_tokens
            + self.cache_read_tokens
            + self.cache_write_5m_tokens
            + self.cache_write_1h_tokens
            + self.input_audio_tokens
            + self.cache_read_audio_tokens
            + self.input_image_tokens
            + self.cache_read_image_tokens
        )

    @property
    def completion_tokens(self) -> int:
        """All tokens received."""
        return (
            self.output_tokens
            + self.reasoning_tokens
            + self.output_audio_tokens
            + self.output_image_tokens
        )

    def as_usage(self) -> dict[str, int]:
        """Return what `settle_spend` takes as usage: the classes that are not 0."""
        return {name: count for name, count in _by_name(self).items() if count}


def _by_name(counts: TokenCounts) -> dict[str, int]:
    return {field.name: getattr(counts, field.name) for field in fields(counts)}
