"""What is remembered between starts: a small JSON file that only its owner can read."""

import json
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from tallystick.local.errors import LocalServerError


def recall(file: Path) -> Any:
    """Return what the file holds, or None where there is none.

    Raises:
        LocalServerError: It cannot be read.
    """
    try:
        return json.loads(file.read_text())
    except FileNotFoundError:
        return None
    except (OSError, ValueError) as error:
        raise LocalServerError(f"Cannot read {file}: {error}") from error


def remember(file: Path, memory: Mapping[str, Any]) -> None:
    """Replace what the file holds, at once and as a whole."""
    unfinished = file.with_suffix(".unfinished")
    unfinished.unlink(missing_ok=True)
    unfinished.touch(0o600)
    unfinished.write_text(json.dumps(memory))
    unfinished.replace(file)
