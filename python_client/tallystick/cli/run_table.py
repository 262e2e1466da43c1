"""Runs as tables: what they were estimated at, what they used, how they were reconciled."""

from __future__ import annotations

from datetime import UTC
from typing import TYPE_CHECKING

from rich import box
from rich.console import Group
from rich.table import Table
from rich.text import Text

from tallystick.cli.budget_table import moment
from tallystick.cli.movement_table import add, grid
from tallystick.cli.report.names import printable
from tallystick.figures import usd
from tallystick.money import total

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping, Sequence
    from decimal import Decimal
    from uuid import UUID

    from rich.console import RenderableType

    from tallystick.cli.run_source import Calls, Settlement
    from tallystick.models import Reconciliation, Run
    from tallystick.organizations import Payer

_ID_WIDTH = 36
_STYLES = {"RECONCILED": "green", "NEEDS_REVIEW": "yellow", "CRITICAL": "red", "DISPUTED": "red"}


def listing(
    payer: Payer,
    runs: Sequence[Run],
    reconciliations: Mapping[UUID, Reconciliation],
    *,
    limit: int,
) -> RenderableType:
    """Return the runs of an organization, of which at most `limit` were asked for."""
    return Group(*_parts(payer, runs, reconciliations, limit))


def details(run: Run, calls: Sequence[Calls], settled: Settlement | None) -> RenderableType:
    """Return all of one run: its calls, and how it was reconciled if it has ended."""
    return Group(*_details(run, calls, settled))


def settlement(settled: Settlement) -> RenderableType:
    """Return what a run was estimated at, what it used, and what money moved for it."""
    return Group(*_settlement(settled))


def _parts(
    payer: Payer,
    runs: Sequence[Run],
    reconciliations: Mapping[UUID, Reconciliation],
    limit: int,
) -> Iterator[RenderableType]:
    yield Text(f"{payer.name} ({payer.id})", style="bold")
    yield _runs(runs, reconciliations) if runs else Text("No runs.")
    if len(runs) == limit:
        yield Text(f"There may be more than {limit:,}; --limit shows them.", style="dim")


def _runs(runs: Sequence[Run], reconciliations: Mapping[UUID, Reconciliation]) -> Table:
    table = Table(box=box.SIMPLE_HEAD, padding=(0, 1, 0, 0))
    table.add_column("run", width=_ID_WIDTH, overflow="fold")
    for heading in ("estimate", "cost"):
        table.add_column(f"{heading}\ntokens", justify="right", overflow="fold")
    table.add_column("reconciliation", overflow="fold")
    for run in runs:
        table.add_row(
            Text("\n").join(_identity(run)),
            f"{usd(run.cost_estimated)}\n{run.tokens_estimated:,}",
            f"{usd(run.cost_incurred)}\n{run.tokens_used:,}",
            _outcome(reconciliations.get(run.id)),
        )
    return table


def _identity(run: Run) -> Iterator[Text]:
    """Say what a run is about, how it stands, and the id by which commands know it."""
    if run.name is not None:
        yield Text(printable(run.name), style="bold")
    if run.model is not None:
        yield Text(f"only {printable(run.model)}")
    if run.completed_at is None:
        yield Text(f"{run.status} since {moment(run.created_at)} UTC", style="green")
    else:
        yield Text(f"{run.status} {moment(run.completed_at)} UTC")
    yield Text(str(run.id), style="dim")


def _outcome(reconciliation: Reconciliation | None) -> Text:
    if reconciliation is None:
        return Text("")
    return _band(reconciliation).append(f"\n{_percent(reconciliation.variance_pct)}", style="")


def _details(
    run: Run, calls: Sequence[Calls], settled: Settlement | None
) -> Iterator[RenderableType]:
    yield from _identity(run)
    if settled is None:
        estimate = f"{usd(run.cost_estimated)} and {run.tokens_estimated:,} tokens"
        used = f"{usd(run.cost_incurred)} and {run.tokens_used:,} tokens"
        yield Text(f"Estimated {estimate}, used {used} so far.")
    yield _calls(calls) if calls else Text("No calls.")
    if settled is not None:
        yield from _settlement(settled)


def _calls(calls: Sequence[Calls]) -> Table:
    table = Table(box=box.SIMPLE_HEAD, padding=(0, 1, 0, 0), show_footer=True)
    table.add_column("step", "total", overflow="fold")
    table.add_column("model", overflow="fold")
    for heading, footer in zip(
        ("calls", "errors", "tokens in", "tokens out", "cost"),
        _figures(calls),
        strict=True,
    ):
        table.add_column(heading, footer, justify="right", overflow="fold")
    for each in calls:
        table.add_row(_part(each), printable(each.model), *_figures([each]))
    return table


def _figures(calls: Sequence[Calls]) -> tuple[str, ...]:
    return (
        f"{sum(each.calls for each in calls):,}",
        f"{sum(each.errors for each in calls):,}",
        f"{sum(each.input_tokens for each in calls):,}",
        f"{sum(each.output_tokens for each in calls):,}",
        usd(total([each.cost for each in calls])),
    )


def _part(calls: Calls) -> Text:
    """Say which step it is, and below whose."""
    text = Text(printable(calls.step))
    for kind, name in (("task", calls.task), ("agent", calls.agent)):
        if name is not None:
            text.append(f"\n{kind} {printable(name)}", style="dim")
    return text


def _settlement(settled: Settlement) -> Iterator[RenderableType]:
    reconciliation = settled.reconciliation
    yield _comparison(reconciliation)
    action = (reconciliation.action or "none").replace("_", " ")
    percent = _percent(reconciliation.variance_pct)
    yield _band(reconciliation).append(f", variance {percent}. Action: {action}.", style="")
    if reconciliation.notes:
        yield Text(f"Notes: {printable(reconciliation.notes)}")
    yield from _money(settled)


def _money(settled: Settlement) -> Iterator[RenderableType]:
    if not settled.movements:
        yield Text("No money moved.")
    else:
        table = grid(UTC)
        add(table, settled.movements, UTC)
        yield table
        charged = -total([each.change_usd for each in settled.movements])
        yield Text(f"Charged, refunds taken off: {usd(charged)}.")
    if settled.owed_usd:
        yield Text(f"Owed beyond credits: {usd(settled.owed_usd)}.", style="red")


def _comparison(reconciliation: Reconciliation) -> Table:
    table = Table(box=box.SIMPLE_HEAD, padding=(0, 1, 0, 0))
    table.add_column("")
    for heading in ("estimated", "actual", "variance"):
        table.add_column(heading, justify="right", overflow="fold")
    for name in ("input", "output", "total"):
        estimated = getattr(reconciliation, f"estimated_{name}_tokens")
        actual = getattr(reconciliation, f"actual_{name}_tokens")
        table.add_row(f"{name} tokens", f"{estimated:,}", f"{actual:,}", f"{actual - estimated:+,}")
    difference = total([reconciliation.actual_cost_usd, -reconciliation.estimated_cost_usd])
    table.add_row(
        "cost",
        usd(reconciliation.estimated_cost_usd),
        usd(reconciliation.actual_cost_usd),
        f"{'+' if difference > 0 else ''}{usd(difference)}",
    )
    return table


def _band(reconciliation: Reconciliation) -> Text:
    status = reconciliation.status
    return Text(status, style=_STYLES.get(status, ""))


def _percent(percent: Decimal) -> str:
    return f"{percent.normalize():+,f} %" if percent else "0 %"
