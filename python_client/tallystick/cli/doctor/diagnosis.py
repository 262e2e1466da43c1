"""What a check found."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal

Level = Literal["ok", "advice", "unseen", "problem"]
_UNSEEN = "this role may not look at it"


@dataclass(frozen=True, slots=True)
class Diagnosis:
    """One thing that was looked at.

    Attributes:
        level: ok; advice: it works and could be better; unseen: this role may not look at it;
            problem: it must be mended.
        subject: what was looked at, in one word.
        text: what was found.
        remedy: what to type, where something can be done.
    """

    level: Level
    subject: str
    text: str
    remedy: str | None = None


def ok(subject: str, text: str) -> Diagnosis:
    """Say that all is well."""
    return Diagnosis("ok", subject, text)


def advice(subject: str, text: str, remedy: str | None = None) -> Diagnosis:
    """Say what could be better."""
    return Diagnosis("advice", subject, text, remedy)


def unseen(subject: str, reason: str | None) -> Diagnosis:
    """Say that this role may not look at it."""
    return Diagnosis("unseen", subject, ": ".join(filter(None, (_UNSEEN, reason))))


def problem(subject: str, text: str, remedy: str | None = None) -> Diagnosis:
    """Say what must be mended."""
    return Diagnosis("problem", subject, text, remedy)
