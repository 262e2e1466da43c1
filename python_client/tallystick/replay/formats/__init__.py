"""Reading usage files. One module per format; this one finds the right one and reports errors.

========== ==================================================== ===========================
format     what it is                                           names a model
========== ==================================================== ===========================
tallystick our own CSV, see `tallystick.replay.formats.own`     yes, or ``--model``
azure      the Azure LLM inference traces (CSV)                 no: ``--model``
openai     OpenAI's usage export (CSV) or usage API pages       when grouped by model
litellm    LiteLLM's spend logs (JSON lines or one JSON array)  yes, and the cost
========== ==================================================== ===========================
"""

from __future__ import annotations

import csv
from collections import Counter
from typing import TYPE_CHECKING

from tallystick.replay.formats import azure, litellm, openai, own
from tallystick.replay.formats.fields import Problem
from tallystick.replay.rows import UsageFile, UsageFileError

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator, Mapping
    from pathlib import Path

    from tallystick.replay.rows import UsageRow

    # Yields rows; counts what it skips, by reason; raises Problem.
    Reader = Callable[[str, Counter[str]], Iterator[UsageRow]]

READERS: Mapping[str, Reader] = {
    "tallystick": own.read,
    "azure": azure.read,
    "openai": openai.read,
    "litellm": litellm.read,
}


def read_usage(path: Path, usage_format: str = "auto") -> UsageFile:
    """Read and validate a whole usage file.

    Args:
        path: the file, UTF-8.
        usage_format: a key of `READERS`, or ``auto`` to recognise it by its first characters.

    Raises:
        UsageFileError: the file cannot be read, or a row is malformed; it names file and line.
    """
    try:
        text = path.read_text(encoding="utf-8-sig")
    except OSError as error:
        raise UsageFileError(path, error.strerror or str(error)) from error
    except UnicodeDecodeError as error:
        raise UsageFileError(path, "this is not UTF-8 text") from error
    name = recognise(text) if usage_format == "auto" else usage_format
    if name is None:
        raise UsageFileError(
            path, f"the format is not recognised; name it with --format: {', '.join(READERS)}"
        )
    skipped: Counter[str] = Counter()
    try:
        rows = sorted(READERS[name](text, skipped), key=lambda row: row.at)
    except Problem as problem:
        raise UsageFileError(path, problem.what, place=problem.place) from problem
    if not rows:
        raise UsageFileError(path, "it holds no usage")
    return UsageFile(path=path, format=name, rows=tuple(rows), skipped=skipped)


def recognise(text: str) -> str | None:
    """Return the format a text looks like, or None."""
    start = text.lstrip()
    if start.startswith(("{", "[")):
        return "openai" if openai.is_json(start) else "litellm"
    header = set(next(csv.reader(text.splitlines()), []))
    for name, columns in (
        ("azure", azure.COLUMNS),
        ("openai", openai.COLUMNS),
        ("tallystick", own.REQUIRED),
    ):
        if columns <= header:
            return name
    return None
