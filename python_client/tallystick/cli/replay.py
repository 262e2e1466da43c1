"""The command `tallystick replay`."""

from decimal import Decimal
from enum import StrEnum
from pathlib import Path
from typing import Annotated

import typer
from rich.console import Console
from rich.progress import (
    BarColumn,
    MofNCompleteColumn,
    Progress,
    SpinnerColumn,
    TextColumn,
    TimeRemainingColumn,
)

from tallystick.cli.amounts import dollars
from tallystick.cli.target import DatabaseUrl, clear_errors, database
from tallystick.replay.formats import read_usage
from tallystick.replay.plan import Plan, plan
from tallystick.replay.report import agrees, report
from tallystick.replay.rows import UsageFile
from tallystick.replay.session import Replay, Settings, replay_plan
from tallystick.replay.ways import Answer


class Format(StrEnum):
    """The names of the formats, as `tallystick.replay.formats` knows them."""

    auto = "auto"
    tallystick = "tallystick"
    azure = "azure"
    openai = "openai"
    litellm = "litellm"


def replay(
    file: Annotated[Path, typer.Argument(help="The usage file.", show_default=False)],
    usage_format: Annotated[
        Format, typer.Option("--format", help="What the file is; auto looks at it.")
    ] = Format.auto,
    model: Annotated[
        str | None, typer.Option(help="The model of rows that name none.", show_default=False)
    ] = None,
    rows_per_workflow: Annotated[
        int, typer.Option(min=1, help="Group rows that name no workflow by this many.")
    ] = 50,
    organization: Annotated[
        str,
        typer.Option(
            "--organization", "--org", help="Who pays: name or id. A new name is created."
        ),
    ] = "replay",
    workflow_limit: Annotated[
        Decimal | None,
        typer.Option(
            parser=dollars,
            metavar="USD",
            help="Cap per workflow; it is stored. Without it, what is stored counts, else none.",
            show_default=False,
        ),
    ] = None,
    monthly_limit: Annotated[
        Decimal | None,
        typer.Option(
            parser=dollars,
            metavar="USD",
            help="Cap of the organization's month; it is stored. Without it, what is stored "
            "counts, else none.",
            show_default=False,
        ),
    ] = None,
    workers: Annotated[
        int, typer.Option(min=1, max=64, help="How many requests at the same time.")
    ] = 4,
    call_ms: Annotated[
        int,
        typer.Option(
            min=0, max=60_000, metavar="MS", help="How long each call takes, milliseconds."
        ),
    ] = 5,
    compare: Annotated[
        bool,
        typer.Option(
            help="Also run it by check, then record, as gateways do, to show what holds change: "
            'in an organization of its own, named "... (check, then record)".'
        ),
    ] = True,
    database_url: DatabaseUrl = None,
) -> None:
    """Run recorded LLM usage through the caps and report what that changed.

    Reads our own CSV, Azure LLM inference traces, OpenAI usage exports and
    LiteLLM spend logs.

    Every row is a call made now: what its tokens cost is held, and settled
    --call-ms later, at today's price, whatever was paid then. Prices are those
    in the database; where genai-prices was never loaded, it is now. A second
    run records nothing twice.

    Columns of our own CSV: timestamp, prompt_tokens, completion_tokens; if you
    have them also model, workflow, request_id, cost.
    """
    console = Console()
    with clear_errors():
        usage, requests = prepare(console, file, usage_format, model, rows_per_workflow)
        settings = Settings(
            database_url=database(database_url),
            organization=organization,
            workflow_limit=workflow_limit,
            monthly_limit=monthly_limit,
            workers=workers,
            call_ms=call_ms,
            compare=compare,
        )
        result = replay_with_progress(console, usage, requests, settings)
    console.print(report(result))
    if not agrees(result):
        raise typer.Exit(1)


def prepare(
    console: Console, file: Path, usage_format: str, model: str | None, rows_per_workflow: int
) -> tuple[UsageFile, Plan]:
    """Read and validate a file; nothing is sent anywhere yet.

    Raises:
        UsageFileError: the file, or a row of it, cannot be replayed.
    """
    with console.status(f"Reading {file.name} ..."):
        usage = read_usage(file, usage_format)
        return usage, plan(usage, model=model, rows_per_workflow=rows_per_workflow)


def replay_with_progress(
    console: Console, usage: UsageFile, requests: Plan, settings: Settings
) -> Replay:
    """Replay under a progress bar that also counts refusals.

    Raises:
        OrganizationNotFound: the organization's name is ambiguous, or its id unknown.
        OrganizationFrozen: it is frozen.
        UsageFileError: a row was recorded before with other tokens, or cannot be priced.
        TallystickError: the database refused something other than the spend.
    """
    progress = Progress(
        SpinnerColumn(),
        TextColumn("{task.description}"),
        BarColumn(),
        MofNCompleteColumn(),
        TextColumn("{task.fields[refused]} refused"),
        TimeRemainingColumn(),
        console=console,
        transient=True,
        disable=not console.is_terminal,
    )
    with progress:
        task = progress.add_task("Pricing, opening workflows", total=None, refused=0)
        refused = 0

        def start(title: str, number: int) -> None:
            nonlocal refused
            refused = 0
            progress.reset(task, description=title, total=number, refused=0)

        def count(answer: Answer) -> None:
            nonlocal refused
            refused += answer != "recorded"
            progress.update(task, advance=1, refused=refused)

        return replay_plan(usage, requests, settings, on_start=start, on_outcome=count)
