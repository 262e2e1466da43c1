"""The command `tallystick doctor`."""

from collections import Counter
from collections.abc import Callable, Iterator
from typing import Annotated

import psycopg
import typer
from rich.console import Console
from rich.table import Table
from rich.text import Text

from tallystick.cli.console import console
from tallystick.cli.doctor import checks
from tallystick.cli.doctor.diagnosis import Diagnosis, unseen
from tallystick.cli.doctor.slots import judge_slots, watch
from tallystick.cli.target import DatabaseUrl, connected
from tallystick.client import Client
from tallystick.errors import PermissionDenied
from tallystick.figures import counted

Connection = psycopg.Connection[tuple[object, ...]]
Check = Callable[[Connection], Iterator[Diagnosis]]

_STYLES = {"ok": "green", "advice": "yellow", "unseen": "yellow", "problem": "bold red"}
_LEVEL_WIDTH, _SUBJECT_WIDTH, _GAP = 7, 12, 2
_INDENT = " " * (_LEVEL_WIDTH + _SUBJECT_WIDTH + 2 * _GAP)


def doctor(
    seconds: Annotated[
        float, typer.Option(min=0, help="How long to watch for callers that wait for each other.")
    ] = 3,
    database_url: DatabaseUrl = None,
) -> None:
    """Look at a database's health and say what would help; exit code 1 when there is a problem.

    It changes nothing. It adds up the whole ledger, so on a large one it takes a while.
    """
    page = console()
    levels: Counter[str] = Counter()
    with connected(database_url) as connection:
        for diagnosis in examine(connection, seconds, page):
            _print(page, diagnosis)
            levels[diagnosis.level] += 1
    page.print(_summary(levels))
    if levels["problem"]:
        raise typer.Exit(1)


def examine(connection: Connection, seconds: float, page: Console) -> Iterator[Diagnosis]:
    """Run every check; without a schema of the right version, only the first two."""

    def slots(connection: Connection) -> Iterator[Diagnosis]:
        with page.status(f"Watching for callers that wait, for {seconds:g} s ..."):
            looks = watch(Client(connection), seconds)
        return judge_slots(looks)

    first = [*_run(checks.server, connection), *_run(checks.schema, connection)]
    yield from first
    if any(each.level == "problem" for each in first):
        return
    for check in (
        checks.partitions,
        checks.scheduler,
        checks.holds,
        checks.prices,
        checks.transactions,
        checks.settings,
        checks.books,
        slots,
    ):
        yield from _run(check, connection)


def _run(check: Check, connection: Connection) -> Iterator[Diagnosis]:
    try:
        yield from check(connection)
    except psycopg.errors.InsufficientPrivilege as refused:
        yield unseen(check.__name__, refused.diag.message_primary)
    except PermissionDenied:
        yield unseen(check.__name__, None)


def _print(page: Console, diagnosis: Diagnosis) -> None:
    line = Table.grid(padding=(0, _GAP))
    line.add_column(width=_LEVEL_WIDTH)
    line.add_column(width=_SUBJECT_WIDTH)
    line.add_column(overflow="fold")
    level = Text(diagnosis.level, style=_STYLES[diagnosis.level])
    line.add_row(level, diagnosis.subject, Text(diagnosis.text))
    page.print(line)
    if diagnosis.remedy:
        # Never folded, so that it can be copied.
        page.print(Text(f"{_INDENT}{diagnosis.remedy}", style="cyan"), soft_wrap=True)


def _summary(levels: Counter[str]) -> Text:
    if levels["problem"]:
        return Text(f"\n{counted(levels['problem'], 'problem')} to mend.", style=_STYLES["problem"])
    if levels["unseen"]:
        missing = counted(levels["unseen"], "check")
        return Text(
            f"\nNo problem in what this role may look at; {missing} could not be made.",
            style=_STYLES["unseen"],
        )
    return Text("\nNo problem.", style=_STYLES["ok"])
