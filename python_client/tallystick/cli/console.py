"""Where commands print."""

from __future__ import annotations

from typing import TYPE_CHECKING

from rich.console import Console

if TYPE_CHECKING:
    from rich.console import RenderableType

_PAGE = 160  # columns where there is no terminal, so that what other programs read is not folded


def console() -> Console:
    """Return the console: as wide as the terminal, or a wide page for a file or a pipe."""
    plain = Console(highlight=False)
    return plain if plain.is_terminal else Console(highlight=False, width=max(plain.width, _PAGE))


def show(what: RenderableType) -> None:
    """Print a text as it is, or a table."""
    console().print(what, markup=False)
