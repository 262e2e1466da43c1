"""The command `tallystick top`."""

import sys
import time
from contextlib import closing, suppress
from datetime import timedelta
from typing import Annotated

import psycopg
import typer
from rich.console import Console, RenderableType
from rich.live import Live
from rich.text import Text

from tallystick.cli.console import console
from tallystick.cli.target import DatabaseUrl, clear_errors, database
from tallystick.cli.top.board import Board
from tallystick.cli.top.pace import Pace
from tallystick.cli.top.screen import Size, screen
from tallystick.cli.top.source import LOST, Source

_PAGE_HEIGHT = 40  # lines where there is no terminal


def top(
    interval: Annotated[
        float, typer.Option(min=0.1, metavar="SECONDS", help="How long a screen stays.")
    ] = 2,
    once: Annotated[
        bool, typer.Option("--once", help="Print one screen and end, as where output is a file.")
    ] = False,
    organization: Annotated[
        str | None,
        typer.Option(
            "--organization",
            "--org",
            help="Name or id; all when omitted, a line for each.",
            show_default=False,
        ),
    ] = None,
    database_url: DatabaseUrl = None,
) -> None:
    """Watch what is being spent, by the moment, and what is left of budgets. Ctrl-C ends it."""
    page = console()
    lives = sys.stdout.isatty() and not page.is_dumb_terminal and not once
    with (
        clear_errors(),
        closing(Source(database(database_url), organization)) as source,
        suppress(KeyboardInterrupt),
    ):
        if lives:
            _watch(source, page, interval)
        else:
            page.print(_one_screen(source, page))


def _one_screen(source: Source, page: Console) -> RenderableType:
    # One line less than there is, for the prompt that follows.
    height = page.size.height - 1 if page.is_terminal else _PAGE_HEIGHT
    board = source.read(height)
    return screen(board, Pace(), Size(page.width, height))


def _watch(source: Source, page: Console, interval: float) -> None:
    """Show one screen after another, until somebody ends it."""
    pace = Pace()
    every = Text(f"every {interval:g} s; Ctrl-C ends", style="dim", justify="right")
    board = _look(source, page, pace)
    with Live(console=page, screen=True, auto_refresh=False) as live:
        said = every
        while True:
            live.update(screen(board, pace, Size(*page.size), said), refresh=True)
            time.sleep(interval)
            try:
                board = _look(source, page, pace)
                said = every
            except LOST as error:
                said = _lost(error, interval)


def _look(source: Source, page: Console, pace: Pace) -> Board:
    board = source.read(page.size.height)
    pace.look(timedelta(seconds=time.monotonic()), board.days)
    return board


def _lost(error: psycopg.Error, interval: float) -> Text:
    told = " ".join(str(error).split())
    text = f"connection lost, trying again every {interval:g} s; below is the last answer ({told})"
    return Text(text, style="bold red", no_wrap=True, overflow="ellipsis")
