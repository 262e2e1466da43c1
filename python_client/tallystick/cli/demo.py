"""The command `tallystick demo`: the whole story on a database of its own."""

import shutil
from decimal import Decimal
from pathlib import Path

import psycopg
import typer
from rich.console import Console
from rich.markup import escape

from tallystick import migrations
from tallystick.cli.replay import prepare, replay_with_progress
from tallystick.cli.target import clear_errors
from tallystick.cli.verify import verify
from tallystick.local import LocalServer
from tallystick.replay.report import agrees, report
from tallystick.replay.sample import sample_csv
from tallystick.replay.session import Replay, Settings

DATABASE = "tallystick_demo"
WORKFLOW_LIMIT = Decimal("2.00")
MONTHLY_LIMIT = Decimal("10.00")
_WORKERS = 2


def demo() -> None:
    """Show everything on a sample: install, replay under caps, replay again, verify.

    Uses the local Postgres (started when needed) and a database of its own, made anew each time.
    """
    console = Console(highlight=False)
    server = LocalServer()
    with clear_errors():
        _install(console, server)
        first, second = _replay_twice(console, server)
        _step(console, 4, "Prove the books")
        verify(organization=None, database_url=server.url(DATABASE))
    _explain(console, server, first)
    if not (agrees(first) and agrees(second)):
        raise typer.Exit(1)


def _install(console: Console, server: LocalServer) -> None:
    _step(console, 1, "A Postgres of your own, with Tallystick in it")
    with console.status("Starting Postgres ..."):
        server.start()
    console.print(f"Postgres {server.major} runs on 127.0.0.1:{server.port}, only for you.")
    with console.status("Installing the schema ..."):
        _fresh_database(server)
        migrations.bootstrap(server.url(DATABASE))
        applied = migrations.apply(server.url(DATABASE))
    console.print(f"Database {DATABASE}: made anew, {len(applied)} migrations applied.")


def _fresh_database(server: LocalServer) -> None:
    with psycopg.connect(server.url(), autocommit=True) as connection:
        connection.execute(f"drop database if exists {DATABASE} with (force)")
        connection.execute(f"create database {DATABASE}")


def _replay_twice(console: Console, server: LocalServer) -> tuple[Replay, Replay]:
    sample = _write_sample(server)
    settings = Settings(
        database_url=server.url(DATABASE),
        organization="Demo company",
        workflow_limit=WORKFLOW_LIMIT,
        monthly_limit=MONTHLY_LIMIT,
        workers=_WORKERS,
    )
    _step(console, 2, "Run a day of model calls through the caps")
    console.print(
        "The calls are a sample that Tallystick generated, not real usage; the prices are real "
        f"list prices. Caps: ${WORKFLOW_LIMIT} per workflow, ${MONTHLY_LIMIT} for the month. "
        "Each call asks first (may this be spent?), then is recorded, in one transaction.\n"
    )
    usage, requests = prepare(console, sample, "tallystick", None, 1)
    first = replay_with_progress(console, usage, requests, settings)
    console.print(report(first))
    _step(console, 3, "Send the same day again")
    second = replay_with_progress(console, usage, requests, settings)
    recorded = sum(each.answer == "recorded" for each in second.run.outcomes)
    console.print(
        f"{recorded} recorded, {len(second.run.outcomes) - recorded} refused again. "
        f"[green]Nothing recorded twice: {second.already_recorded:,} rows already in the ledger.[/]"
    )
    return first, second


def _write_sample(server: LocalServer) -> Path:
    sample = server.state / "demo" / "generated_sample.csv"
    sample.parent.mkdir(exist_ok=True)
    sample.write_text(sample_csv(), encoding="utf-8")
    return sample


def _explain(console: Console, server: LocalServer, first: Replay) -> None:
    url = server.url(DATABASE)
    psql = "psql" if shutil.which("psql") else server.engine.program("psql")
    refused = sum(each.answer != "recorded" for each in first.run.outcomes)
    _step(console, 5, "What you saw")
    console.print(
        f"A research agent got into a loop. Its cap of ${WORKFLOW_LIMIT} held: {refused} calls "
        "were refused before they cost anything, and the other workflows went on. Every cent "
        "that was spent is a row in an append-only ledger, and every total equals that ledger.\n"
    )
    console.print("Look further:")
    for line in (
        f'{psql} "{url}"',
        "  select * from public.ai_cost_by_model;",
        "  select id, workflow_data from public.intent_workflows;",
        "  delete from public.ai_usage_ledger;  -- try it: refused",
        f"tallystick replay YOUR_USAGE.csv --database-url '{url}'",
        "tallystick replay --help",
        "tallystick down  # stops this Postgres; its data stay",
    ):
        console.print(f"  [cyan]{escape(line)}[/]", soft_wrap=True)
    console.print(f"The sample: {first.usage.path}", soft_wrap=True)


def _step(console: Console, number: int, title: str) -> None:
    console.print(f"\n[bold]{number}. {title}[/]")
