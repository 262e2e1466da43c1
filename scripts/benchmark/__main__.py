"""The command line of the benchmark; `scripts/bench` runs it."""

import signal
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Annotated

import psycopg
import typer
from rich.console import Console
from rich.progress import BarColumn, MofNCompleteColumn, Progress, TextColumn, TimeRemainingColumn

from scripts.benchmark import chart, report, schedule
from scripts.benchmark.cases import all_cases, select
from scripts.benchmark.errors import BenchmarkError
from scripts.benchmark.goals import GOALS, NETWORK_VOLUME
from scripts.benchmark.results import Results
from scripts.benchmark.schedule import Plan, Run
from scripts.benchmark.server import BenchmarkServer, durable_server
from tallystick.local import DEFAULT_MAJOR, LocalServerError

_MOST_CLIENTS = 190  # of the server's 200 connections
_BROKEN_SHOWN = 10
_LONGEST_FLUSH = 100  # milliseconds, Postgres' bound of commit_delay


def bench(
    clients: Annotated[
        str, typer.Option(metavar="N,N", help="Numbers of connections that are busy at once.")
    ] = "1,8,32,64",
    seconds: Annotated[
        int, typer.Option(min=1, help="How long a run is counted, once it is warm.")
    ] = 4,
    rounds: Annotated[int, typer.Option(min=1, help="How often everything is measured.")] = 3,
    cases: Annotated[
        str, typer.Option(metavar="NAME,NAME", help="What to measure: names or patterns.")
    ] = "*",
    slots: Annotated[
        str,
        typer.Option(
            metavar="N,N",
            help="Slots of the hot organization. The first number also stripes the other hot "
            "cases and is held against the goals.",
        ),
    ] = "16,64",
    slow_disk: Annotated[
        bool, typer.Option(help="Measure everything again with a prolonged WAL flush.")
    ] = True,
    flush_ms: Annotated[
        float,
        typer.Option(min=0.001, max=_LONGEST_FLUSH, help="Milliseconds a flush is prolonged by."),
    ] = NETWORK_VOLUME,
    major: Annotated[int, typer.Option(help="Version of Postgres.")] = DEFAULT_MAJOR,
    output: Annotated[Path, typer.Option(help="Folder of bench.json and bench.svg.")] = Path(
        ".cache/bench"
    ),
    check: Annotated[
        bool, typer.Option("--check", help="Exit with 1 if a goal is missed or a run failed.")
    ] = False,
) -> None:
    """Measure what a spend costs, as ratios to the floor: one ledger row and one counter.

    A unit is one pair of authorize and settle, one refusal, or one row of a batch. Each ratio is
    taken inside one round, against the floor under as many clients; the median over rounds counts.
    """
    console = Console()
    slot_counts = _numbers("--slots", slots, 256)
    plan = Plan(
        cases=select(all_cases(slot_counts, seconds), cases.split(",")),
        flushes=[0, flush_ms] if slow_disk else [0],
        clients=_numbers("--clients", clients, _MOST_CLIENTS),
        rounds=rounds,
        seconds=seconds,
    )
    with durable_server(major) as server:
        settings = server.settings()
        results = Results(_measure(console, server, plan))
    output.mkdir(parents=True, exist_ok=True)
    report.write_json(output / "bench.json", plan, results, settings, slot_counts)
    chart.write_chart(output / "bench.svg", plan, results, _subtitle(plan, settings))
    _show(console, plan, results, output)
    if check and not _all_is_well(results):
        raise typer.Exit(1)


def _numbers(option: str, text: str, most: int) -> list[int]:
    """Read numbers separated by commas, each once."""
    parts = [part.strip() for part in text.split(",")]
    if not all(part.isdecimal() and 1 <= int(part) <= most for part in parts):
        raise typer.BadParameter(
            f"{text!r} is not a list of numbers from 1 to {most}, like 1,8", param_hint=option
        )
    return list(dict.fromkeys(int(part) for part in parts))


def _measure(console: Console, server: BenchmarkServer, plan: Plan) -> Iterator[Run]:
    """Make all runs under a progress bar, or with a line for each where there is no terminal."""
    progress = Progress(
        BarColumn(),
        MofNCompleteColumn(),
        TimeRemainingColumn(),
        TextColumn("{task.description}"),
        console=console,
        transient=True,
        disable=not console.is_terminal,
    )
    with progress:
        task = progress.add_task("", total=plan.size)

        def announce(what: str) -> None:
            progress.update(task, description=what)
            if progress.disable:
                typer.echo(what, err=True)

        schedule.prepare(server, plan, announce)
        for run in schedule.measure(server, plan, announce):
            progress.advance(task)
            yield run


def _subtitle(plan: Plan, settings: dict[str, str]) -> str:
    return (
        f"PostgreSQL {settings['server_version']}, durable. Units per second, relative to the "
        f"floor's in the same round: median and range of {plan.rounds} x {plan.seconds} s."
    )


def _show(console: Console, plan: Plan, results: Results, output: Path) -> None:
    if not console.is_terminal:
        console.width = report.WIDTH
    for flush_ms in plan.flushes:
        console.print(report.ratios_table(plan, results, flush_ms))
    console.print(report.goals_table(results))
    for run in results.broken[:_BROKEN_SHOWN]:
        console.print(f"[red]Wrong:[/] {report.explain(run)}", soft_wrap=True)
    if len(results.broken) > _BROKEN_SHOWN:
        console.print(f"[red]Wrong:[/] {len(results.broken) - _BROKEN_SHOWN} more runs")
    console.print(f"Everything: {output}/bench.json, as a chart: {output}/bench.svg")


def _all_is_well(results: Results) -> bool:
    missed = [goal for goal in GOALS if goal.is_met(results) is False]
    return not missed and not results.broken


def _stop(*_: object) -> None:
    sys.exit(128 + signal.SIGTERM)


def main() -> None:
    """Run the benchmark; what keeps it from running is a message, not a traceback."""
    signal.signal(signal.SIGTERM, _stop)  # so that the server is stopped and removed
    app = typer.Typer(add_completion=False, pretty_exceptions_show_locals=False)
    app.command()(bench)
    try:
        app(prog_name="scripts/bench")
    except (BenchmarkError, LocalServerError, psycopg.Error) as error:
        typer.echo(f"Error: {error}", err=True)
        sys.exit(1)


if __name__ == "__main__":
    main()
