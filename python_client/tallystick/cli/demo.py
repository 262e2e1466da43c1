"""The command `tallystick demo`: the whole story on a database of its own."""

from contextlib import ExitStack
from decimal import Decimal
from pathlib import Path
from typing import Annotated

import typer
from rich.console import Console
from rich.markup import escape

from tallystick import migrations
from tallystick.cli.billed_runs import ORGANIZATION, bill_runs
from tallystick.cli.host import Host, chosen_host
from tallystick.cli.replay import prepare, replay_with_progress
from tallystick.cli.target import clear_errors
from tallystick.cli.verify import verify
from tallystick.figures import usd
from tallystick.local import default_state
from tallystick.replay.report import agrees, report
from tallystick.replay.sample import sample_csv
from tallystick.replay.session import Replay, Settings

DATABASE = "tallystick_demo"
WORKFLOW_LIMIT = Decimal("2.00")
MONTHLY_LIMIT = Decimal("10.00")
_WORKERS = 8
_CALL_MS = 10


def demo(
    database_url: Annotated[
        str | None,
        typer.Option(
            envvar="DATABASE_URL",
            help="A server on which to create the database, as a role that may; without it, the "
            "local server, started when needed, or a container when TALLYSTICK_STACK=docker.",
            show_default=False,
        ),
    ] = None,
) -> None:
    """Show everything on a sample: install, replay under caps, replay again, bill runs, verify.

    It uses a database of its own, tallystick_demo, and makes it anew each time.
    """
    console = Console(highlight=False)
    with clear_errors(), ExitStack() as stack:
        _step(console, 1, "A Postgres of your own, with Tallystick in it")
        with console.status("Starting Postgres ..."):
            host = stack.enter_context(chosen_host(database_url))
        _install(console, host)
        first, second = _replay_twice(console, host)
        _step(console, 4, "Pay in advance, run by run")
        console.print(
            f"{ORGANIZATION} buys credits. Each run reserves what it is expected to cost, and ends "
            "with what it did cost: too much comes back as a refund, too little is charged.\n"
        )
        bill_runs(console, host.database(DATABASE), first.usage)
        _step(console, 5, "Prove the books")
        verify(organization=None, database_url=host.database(DATABASE))
        _explain(console, host, first)
    if not (agrees(first) and agrees(second)):
        raise typer.Exit(1)


def _install(console: Console, host: Host) -> None:
    only_you = ", only for you" if host.local else ""
    console.print(f"{host.describe()}{only_you}.", markup=False)
    with console.status("Installing the schema ..."):
        host.recreate(DATABASE)
        migrations.bootstrap(host.database(DATABASE))
        applied = migrations.apply(host.database(DATABASE))
    console.print(f"Database {DATABASE}: made anew, {len(applied)} migrations applied.")


def _replay_twice(console: Console, host: Host) -> tuple[Replay, Replay]:
    sample = _write_sample()
    settings = Settings(
        database_url=host.database(DATABASE),
        organization="Demo company",
        workflow_limit=WORKFLOW_LIMIT,
        monthly_limit=MONTHLY_LIMIT,
        workers=_WORKERS,
        call_ms=_CALL_MS,
        compare=True,
    )
    _step(console, 2, "Run a day of model calls through the caps")
    console.print(
        "The calls are a sample that Tallystick generated, not real usage; the prices are real "
        f"list prices. Caps: ${WORKFLOW_LIMIT} per workflow, ${MONTHLY_LIMIT} for the month. "
        f"{_WORKERS} at a time: what a call may cost is held before it, and settled after it. Then "
        "the same calls once more, the way gateways do it: check before, record after.\n"
    )
    usage, requests = prepare(console, sample, "tallystick", None, 1)
    first = replay_with_progress(console, usage, requests, settings)
    console.print(report(first))
    _step(console, 3, "Send the same day again")
    second = replay_with_progress(console, usage, requests, settings)
    again = second.held
    recorded = len(again.run.recorded)
    console.print(
        f"{recorded} recorded, {len(again.run.outcomes) - recorded} refused again. "
        f"[green]Nothing recorded twice: {again.already_recorded:,} rows already in the ledger.[/]"
    )
    return first, second


def _write_sample() -> Path:
    sample = default_state() / "demo" / "generated_sample.csv"
    sample.parent.mkdir(parents=True, exist_ok=True)
    sample.write_text(sample_csv(), encoding="utf-8")
    return sample


def _explain(console: Console, host: Host, first: Replay) -> None:
    refused = first.held.run.count("over workflow cap")
    _step(console, 6, "What you saw")
    console.print(
        f"A research agent got into a loop. Its cap of ${WORKFLOW_LIMIT} held to the last digit, "
        f"with {_WORKERS} calls under way at once: {refused} were refused before they cost "
        "anything, and the other workflows went on. Every cent that was spent is a row in an "
        "append-only ledger, and every total equals that ledger."
    )
    if first.checked and first.checked.passed.total:
        console.print(
            "The same calls, checked before and recorded after, spent "
            f"[red]{usd(first.checked.passed.total)}[/] above that cap: whoever asks while others "
            "are still calling is told yes as well.\n"
        )
    if host.stays:
        console.print("Look further:")
        for line in host.invitations(DATABASE):
            console.print(f"  [cyan]{escape(line)}[/]", soft_wrap=True)
    else:
        console.print("The container is removed now.")
    console.print(f"The sample: {first.usage.path}", soft_wrap=True, markup=False)


def _step(console: Console, number: int, title: str) -> None:
    console.print(f"\n[bold]{number}. {title}[/]")
