"""Files that commands write."""

from __future__ import annotations

from typing import TYPE_CHECKING

import typer

if TYPE_CHECKING:
    from pathlib import Path


def write(file: Path, content: bytes, what: str) -> None:
    """Write a file anew; what stands in the way is one line on stderr and exit code 1."""
    try:
        file.write_bytes(content)
    except OSError as error:
        typer.echo(f"Error: {what} cannot be written to {file}: {error.strerror}", err=True)
        raise typer.Exit(1) from error
