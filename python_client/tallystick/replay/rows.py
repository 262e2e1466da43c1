"""One line of a usage file, whatever its format, and the errors a file can have."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections import Counter
    from datetime import datetime
    from decimal import Decimal
    from pathlib import Path


class UsageFileError(Exception):
    """A usage file cannot be replayed; nothing of it was recorded.

    Attributes:
        path: the file.
        place: where in it, for example ``line 7``; empty when it is the file as a whole.
        problem: what is wrong, as a sentence without a full stop.
    """

    def __init__(self, path: Path, problem: str, place: str = "") -> None:
        """Keep where and what."""
        super().__init__(path, problem, place)  # all of them, so that it can be copied
        self.path = path
        self.place = place
        self.problem = problem

    def __str__(self) -> str:
        """Return file, place and problem on one line."""
        return f"{self.path}{f', {self.place}' if self.place else ''}: {self.problem}"


@dataclass(frozen=True, slots=True, kw_only=True)
class UsageRow:
    """One model call, as the file tells it.

    Attributes:
        place: where it stands in the file, for example ``line 7``.
        at: when it happened, in UTC.
        model: the model, or None where the format names none.
        prompt_tokens: tokens sent, cached ones included.
        completion_tokens: tokens received.
        cached_tokens: the part of `prompt_tokens` read from a cache.
        batch: whether it ran at the provider's batch price.
        service_tier: the provider's service tier, where it changes the price.
        workflow: the name or id of the workflow it belongs to, if the file has one.
        request_id: its own id, if the file has one.
        cost: what it cost in US dollars, if the file says so.
    """

    place: str
    at: datetime
    model: str | None
    prompt_tokens: int
    completion_tokens: int
    cached_tokens: int = 0
    batch: bool = False
    service_tier: str | None = None
    workflow: str | None = None
    request_id: str | None = None
    cost: Decimal | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class UsageFile:
    """A whole file, read and valid.

    Attributes:
        path: the file.
        format: the name of its format.
        rows: its rows in time order.
        skipped: rows that hold no usage, by reason.
    """

    path: Path
    format: str
    rows: tuple[UsageRow, ...]
    skipped: Counter[str] = field(repr=False)
