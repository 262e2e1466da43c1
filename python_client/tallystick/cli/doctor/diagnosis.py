"""What a check found."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal

Level = Literal["ok", "advice", "problem"]


@dataclass(frozen=True, slots=True)
class Diagnosis:
    """One thing that was looked at.

    Attributes:
        level: ok; advice: it works and could be better; problem: it must be mended.
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


def problem(subject: str, text: str, remedy: str | None = None) -> Diagnosis:
    """Say what must be mended."""
    return Diagnosis("problem", subject, text, remedy)
