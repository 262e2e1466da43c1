"""The report of a replay, for a terminal of 80 columns and more."""

from __future__ import annotations

from collections import Counter, defaultdict
from dataclasses import dataclass
from decimal import Decimal
from typing import TYPE_CHECKING

from rich.console import Group
from rich.padding import Padding
from rich.rule import Rule
from rich.table import Table
from rich.text import Text

from tallystick.figures import bar, columns, usd
from tallystick.replay.books import Sums
from tallystick.replay.money import total

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator, Sequence
    from datetime import datetime

    from rich.console import RenderableType

    from tallystick.replay.run import Answer, Outcome
    from tallystick.replay.session import Replay

_CHART_HEIGHT = 5
_CHART_WIDTH = 64
_BAR_WIDTH = 24
DEFAULT_WORKFLOW_CAP = Decimal("1.00")  # of check_workflow_cost_limit
DEFAULT_MONTHLY_CAP = Decimal("25.00")  # of check_organization_monthly_quota


@dataclass(frozen=True, slots=True)
class Comparison:
    """One line of the proof: a figure that must equal another.

    Attributes:
        what: how the figure was come by.
        figure: the figure, as text.
        equal: whether it is what it must be.
        verdict: the word for "equal".
    """

    what: str
    figure: str
    equal: bool
    verdict: str = "equal"


def report(replay: Replay) -> RenderableType:
    """Return the whole report."""
    recorded = [each for each in replay.run.outcomes if each.answer == "recorded"]
    parts: list[RenderableType] = [Rule("Replay report"), _headline(replay, recorded)]
    if recorded:
        parts += [_heading("Cost by model"), _by_model(recorded)]
        parts += [_heading("Cost over time, by the time in the file")]
        parts += [_over_time(replay.run.outcomes)]
    if replay.run.outcomes:
        parts += [_heading("Refused by the caps"), _refused(replay)]
    parts += [_heading("Proof: the ledger equals every total"), _proof_table(replay)]
    return Group(*parts)


def proof(replay: Replay) -> list[Comparison]:
    """Compare the independently read figures; every line must be equal."""
    books = replay.books
    recorded = [each.request for each in replay.run.outcomes if each.answer == "recorded"]
    counted = Sums(
        len(recorded),
        sum(request.prompt_tokens + request.completion_tokens for request in recorded),
        total([request.cost for request in recorded]),
    )
    return [
        Comparison(
            f"sum of the workflows' totals ({books.ledger.requests:,} ledger rows)",
            usd(books.workflows),
            books.workflows == books.ledger.cost,
        ),
        Comparison(
            "sum of the daily rollups", usd(books.rollups.cost), books.rollups == books.ledger
        ),
        Comparison(
            "this month, as the quota sees it",
            usd(books.month),
            books.month == books.ledger_month,
        ),
        Comparison(
            f"this replay, added up outside the database ({counted.requests:,} rows)",
            usd(counted.cost),
            counted == books.replayed,
        ),
        Comparison(
            "audit.verify_integrity()",
            "no findings" if not books.findings else f"{len(books.findings)} findings",
            not books.findings,
            verdict="ok",
        ),
    ]


def agrees(replay: Replay) -> bool:
    """Tell whether every line of the proof is equal."""
    return all(line.equal for line in proof(replay))


def _short(amount: Decimal) -> str:
    """Show money for reading, where the exact figure stands elsewhere."""
    return f"${amount:,.4f}" if amount else "$0"


def _heading(text: str) -> RenderableType:
    return Padding(Text(text, style="bold"), (1, 0, 0, 0))


def _grid(*justify: str) -> Table:
    grid = Table.grid(padding=(0, 2))
    for side in justify:
        grid.add_column(justify="right" if side == ">" else "left", overflow="fold")
    return grid


def _headline(replay: Replay, recorded: Sequence[Outcome]) -> RenderableType:
    prompt = sum(each.request.prompt_tokens for each in recorded)
    completion = sum(each.request.completion_tokens for each in recorded)
    refused = len(replay.run.outcomes) - len(recorded)
    grid = _grid("<", "<")
    grid.add_row("File", f"{replay.usage.path.name} ({replay.usage.format} format)")
    grid.add_row("Organization", f"{replay.payer.name} ({replay.payer.id})")
    grid.add_row("Requests", f"{len(recorded):,} recorded, {refused:,} refused")
    if replay.already_recorded:
        grid.add_row("", Text(_nothing_twice(replay.already_recorded), style="green"))
    for reason, number in sorted(_left_out(replay).items()):
        grid.add_row("", f"skipped {number:,}: {reason}")
    grid.add_row("Tokens", f"{prompt:,} in, {completion:,} out")
    grid.add_row("Cost", Text(usd(_cost(recorded)), style="bold"))
    if replay.run.outcomes:
        grid.add_row("Throughput", _throughput(replay))
    return grid


def _nothing_twice(already: int) -> str:
    return f"nothing recorded twice: {already:,} {_rows(already)} already in the ledger"


def _rows(number: int) -> str:
    return "row" if number == 1 else "rows"


def _left_out(replay: Replay) -> Counter[str]:
    return replay.usage.skipped + Counter({"repeated request ids": replay.plan.repeated})


def _throughput(replay: Replay) -> str:
    run = replay.run
    rate = len(run.outcomes) / run.seconds
    return f"{rate:,.0f} requests per second, {run.workers} at a time ({run.seconds:.1f} s)"


def _by_model(recorded: Sequence[Outcome]) -> RenderableType:
    costs: defaultdict[str, list[Decimal]] = defaultdict(list)
    for each in recorded:
        costs[each.request.model].append(each.request.cost)
    sums = sorted(((total(parts), model) for model, parts in costs.items()), reverse=True)
    everything = total([cost for cost, _ in sums])
    grid = _grid("<", "<", ">", ">", ">")
    for cost, model in sums:
        share = 100 * cost / everything if everything else Decimal(0)
        number = len(costs[model])
        grid.add_row(
            model,
            Text(bar(cost, sums[0][0], _BAR_WIDTH), style="cyan"),
            _short(cost),
            f"{share:.1f} %",
            f"{number:,} {'request' if number == 1 else 'requests'}",
        )
    return grid


def _over_time(outcomes: Sequence[Outcome]) -> RenderableType:
    bins = _bins([each.request.at for each in outcomes])
    width = max(bins) + 1
    spent: list[list[Decimal]] = [[] for _ in range(width)]
    refused = [False] * width
    for each, position in zip(outcomes, bins, strict=True):
        if each.answer == "recorded":
            spent[position].append(each.request.cost)
        else:
            refused[position] = True
    sums = [total(costs) for costs in spent]
    grid = _grid(">", "<")
    for index, line in enumerate(columns(sums, _CHART_HEIGHT)):
        grid.add_row(_short(max(sums)) if index == 0 else "", Text(line, style="cyan"))
    if any(refused):
        marks = "".join("x" if each else " " for each in refused)
        grid.add_row("refused", Text(marks, style="red"))
    grid.add_row("", Text(_axis(outcomes, width), style="dim"))
    return grid


def _bins(times: Sequence[datetime]) -> list[int]:
    """Return the column of each time, equal spans from the first to the last."""
    first, span = min(times), max(times) - min(times)
    if not span:
        return [0] * len(times)
    return [min(int((at - first) / span * _CHART_WIDTH), _CHART_WIDTH - 1) for at in times]


def _axis(outcomes: Sequence[Outcome], width: int) -> str:
    first = min(each.request.at for each in outcomes).strftime("%Y-%m-%d %H:%M")
    last = max(each.request.at for each in outcomes).strftime("%Y-%m-%d %H:%M UTC")
    return f"{first}{last:>{max(width - len(first), len(last) + 1)}}" if width > 1 else first


def _refused(replay: Replay) -> RenderableType:
    grid = _grid("<", "<", ">", ">", "<")
    grid.add_row(*(Text(each, style="dim") for each in ("cap", "", "refused", "worth", "first")))
    _add_cap(grid, replay, "each workflow", _workflow_cap(replay), "over workflow cap")
    _add_cap(
        grid,
        replay,
        "organization, per month",
        _cap(replay.caps.month, DEFAULT_MONTHLY_CAP),
        "over monthly cap",
    )
    return Group(grid, *(Text(note, style="dim") for note in _notes_on_refusals(replay)))


def _notes_on_refusals(replay: Replay) -> Iterator[str]:
    refused = [each for each in replay.run.outcomes if each.answer == "over workflow cap"]
    if refused:
        hit = Counter(each.request.workflow for each in refused)
        ((name, number),) = hit.most_common(1)
        yield (
            f"{len(hit):,} {'workflow' if len(hit) == 1 else 'workflows'} reached the cap; "
            f"most refused: {name} ({number:,})"
        )
    month = replay.caps.month or DEFAULT_MONTHLY_CAP
    if replay.books.month > month:
        yield (
            "The quota admits while the month is below its limit, so the call that reached it "
            "passed it."
        )


def _add_cap(grid: Table, replay: Replay, scope: str, cap: str, answer: Answer) -> None:
    refused = [each.request for each in replay.run.outcomes if each.answer == answer]
    first = "never"
    if refused:
        first = f"{refused[0].at:%b %d %H:%M:%S}, {refused[0].place}"
    grid.add_row(
        scope,
        cap,
        f"{len(refused):,}",
        _short(total([request.cost for request in refused])),
        Text(first, style="red" if refused else "green"),
    )


def _workflow_cap(replay: Replay) -> str:
    caps = replay.caps.workflow
    if len(caps) > 1:
        return "stored, differing"
    return _cap(next(iter(caps), None), DEFAULT_WORKFLOW_CAP)


def _cap(stored: Decimal | None, default: Decimal) -> str:
    return f"{usd(default)} (default)" if stored is None else usd(stored)


def _proof_table(replay: Replay) -> RenderableType:
    grid = _grid("<", ">", "<")
    grid.add_row("sum over the ledger, row by row", usd(replay.books.ledger.cost), "")
    for line in proof(replay):
        mark = Text(line.verdict, style="green") if line.equal else Text("WRONG", style="bold red")
        grid.add_row(line.what, line.figure, mark)
    note = "Each figure is compared with the ledger rows it stands for."
    return Group(grid, Text(note, style="dim"))


def _cost(outcomes: Iterable[Outcome]) -> Decimal:
    return total([each.request.cost for each in outcomes])
