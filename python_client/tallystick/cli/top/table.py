"""The kind of table a screen is made of."""

from __future__ import annotations

from rich.table import Table


def grid(subject: str) -> Table:
    """Return a table whose first column has the room that others leave."""
    table = Table(box=None, expand=True, padding=(0, 1, 0, 0), pad_edge=False, header_style="dim")
    table.add_column(subject, ratio=1, no_wrap=True, overflow="ellipsis")
    return table


def add_figures(table: Table, *headings: str) -> None:
    """Add columns for figures."""
    for each in headings:
        table.add_column(each, justify="right", no_wrap=True)


def heading(subject: str, shown: int, there: int) -> str:
    """Return the heading of a list, which may be too long to be shown whole."""
    return f"{subject}, {shown:,} of {there:,}" if shown < there else subject
