"""What a person and a program read afterwards: tables, and one JSON file with everything."""

from __future__ import annotations

import json
import os
import platform
from dataclasses import asdict
from typing import TYPE_CHECKING, Any

import psutil
from rich import box
from rich.table import Table

from scripts.benchmark.cases import FLOOR
from scripts.benchmark.goals import GOALS
from scripts.benchmark.results import Results, Spread, p50, p99, rate
from scripts.benchmark.server import file_system

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence
    from pathlib import Path

    from scripts.benchmark.cases import Case
    from scripts.benchmark.goals import Goal
    from scripts.benchmark.schedule import Plan, Run

WIDTH = 105  # columns for the tables where the console does not say how many it has


def flush_title(flush_ms: float) -> str:
    """Name a flush mode."""
    return f"Every flush {flush_ms:g} ms longer" if flush_ms else "The disk as it is"


def counted(clients: int) -> str:
    """Say how many clients, e.g. "1 client"."""
    return f"{clients} client{'s' if clients > 1 else ''}"


def ratios_table(plan: Plan, results: Results, flush_ms: float) -> Table:
    """Show every case of one flush mode, by number of clients."""
    table = Table(
        title=f"{flush_title(flush_ms)}: units per second, as a ratio to the floor's",
        title_justify="left",
        box=box.SIMPLE_HEAD,
        pad_edge=False,
    )
    table.add_column("case")
    for heading in ("ratio", "min-max", "units/s", "p50 ms", "p99 ms", "p99 ratio"):
        table.add_column(heading, justify="right", no_wrap=True)
    for clients in plan.clients:
        table.add_row(f"[bold]{counted(clients)}[/]")
        for case in plan.cases:
            table.add_row(f"  {case.title}", *_cells(results, case, clients, flush_ms))
        table.add_section()
    return table


def goals_table(results: Results) -> Table:
    """Hold the figures against what is promised."""
    table = Table(title="Goals", title_justify="left", box=box.SIMPLE_HEAD, pad_edge=False)
    table.add_column("goal")
    for heading in ("clients", "wanted", "measured", "min-max", ""):
        table.add_column(heading, justify="right", no_wrap=True)
    for goal in GOALS:
        table.add_row(goal.text, str(goal.clients), goal.wanted, *_verdict(goal, results))
    return table


def write_json(
    file: Path, plan: Plan, results: Results, settings: Mapping[str, str], slots: Sequence[int]
) -> None:
    """Write every run and what was made of them."""
    content = {
        "machine": _machine(),
        "server": dict(settings),
        "plan": {
            "rounds": plan.rounds,
            "seconds": plan.seconds,
            "clients": list(plan.clients),
            "flush_ms": list(plan.flushes),
            "slots": list(slots),
        },
        "cases": [asdict(case) for case in plan.cases],
        "goals": [_goal(goal, results) for goal in GOALS],
        "summary": [
            _summary(results, case.name, clients, flush_ms)
            for flush_ms in plan.flushes
            for clients in plan.clients
            for case in plan.cases
        ],
        "runs": [asdict(run) for run in results.runs],
    }
    file.write_text(json.dumps(content, indent=1, ensure_ascii=False) + "\n", encoding="utf-8")


def explain(run: Run) -> str:
    """Say what went wrong in a run, in one line."""
    reasons = run.outcome.error.splitlines()[:1]
    if run.outcome.failed:
        reasons.append(f"{run.outcome.failed} repetitions failed")
    if run.findings:
        reasons.append(f"the books disagree ({', '.join(run.findings)})")
    where = f"{run.case}, {counted(run.clients)}, round {run.round}"
    return f"{where}: {'; '.join(reasons)}"


def _cells(results: Results, case: Case, clients: int, flush_ms: float) -> list[str]:
    where = (case.name, clients, flush_ms)
    ratio, slowdown = results.ratio(rate, *where), results.ratio(p99, *where)
    figures = [results.figure(of, *where) for of in (rate, p50, p99)]
    if ratio is None or slowdown is None:
        return []
    per_second, half, most = (figure.median if figure else 0.0 for figure in figures)
    return [
        f"{ratio.median:.2f}",
        "" if case.name == FLOOR else _range(ratio),
        f"{per_second:,.0f}",
        f"{half:.2f}",
        f"{most:.2f}",
        f"{slowdown.median:.1f}",
    ]


def _range(spread: Spread) -> str:
    return f"{spread.low:.2f}-{spread.high:.2f}"


def _verdict(goal: Goal, results: Results) -> list[str]:
    measured = goal.measured(results)
    if measured is None:
        return ["not measured", "", ""]
    verdict = "[green]PASS[/]" if goal.is_met(results) else "[red]MISS[/]"
    return [f"{measured.median:.2f}", _range(measured), verdict]


def _goal(goal: Goal, results: Results) -> dict[str, Any]:
    measured = goal.measured(results)
    return {
        "text": goal.text,
        "clients": goal.clients,
        "flush_ms": goal.flush_ms,
        "wanted": goal.wanted,
        "measured": asdict(measured) if measured else None,
        "met": goal.is_met(results),
    }


def _summary(results: Results, case: str, clients: int, flush_ms: float) -> dict[str, Any]:
    where = (case, clients, flush_ms)
    spreads = {
        "ratio": results.ratio(rate, *where),
        "units_per_second": results.figure(rate, *where),
        "p50_ms": results.figure(p50, *where),
        "p99_ms": results.figure(p99, *where),
        "p99_ratio": results.ratio(p99, *where),
    }
    return {
        "case": case,
        "clients": clients,
        "flush_ms": flush_ms,
        **{name: asdict(spread) if spread else None for name, spread in spreads.items()},
    }


def _machine() -> dict[str, Any]:
    return {
        "processors": os.cpu_count(),
        "memory_gib": round(psutil.virtual_memory().total / 2**30),
        "architecture": platform.machine(),
        "system": platform.system(),
        "file_system": file_system(),
    }
