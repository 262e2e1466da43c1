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

from tallystick.figures import bar, columns, counted, usd
from tallystick.money import total
from tallystick.replay.books import Sums

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator, Sequence
    from datetime import datetime
    from uuid import UUID

    from rich.console import RenderableType

    from tallystick.replay.run import Run
    from tallystick.replay.session import Replay, Side
    from tallystick.replay.ways import Outcome

_CHART_HEIGHT = 5
_CHART_WIDTH = 64
_BAR_WIDTH = 24
_NO_CAP = "no cap"


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
    run = replay.held.run
    parts: list[RenderableType] = [Rule("Replay report"), _headline(replay)]
    if run.recorded:
        parts += [_heading("Cost by model"), _by_model(run.recorded)]
        parts += [_heading("Cost over time, by the time in the file")]
        parts += [_over_time(run.outcomes)]
    if run.outcomes:
        parts += [_heading("Refused"), _refused(replay)]
    if replay.checked and (run.outcomes or replay.checked.run.outcomes):
        parts += [_heading("What holds changed"), _compared(replay, replay.checked)]
    parts += [_heading("Proof: the ledger equals every total"), _proof_table(replay)]
    return Group(*parts)


def proof(replay: Replay) -> list[Comparison]:
    """Compare the independently read figures; every line must be equal."""
    lines = list(_proof_of(replay.held))
    if replay.checked:
        lines.append(
            Comparison(
                "all of this for check, then record",
                usd(replay.checked.books.ledger.cost),
                all(line.equal for line in _proof_of(replay.checked)),
            )
        )
    return lines


def _proof_of(side: Side) -> Iterator[Comparison]:
    books = side.books
    recorded = [each.request for each in side.run.recorded]
    added_up = Sums(
        len(recorded),
        sum(request.prompt_tokens + request.completion_tokens for request in recorded),
        _cost(side.run.recorded),
    )
    yield Comparison(
        f"sum of the workflows' totals ({books.ledger.requests:,} ledger rows)",
        usd(books.workflows),
        books.workflows == books.ledger.cost,
    )
    yield Comparison(
        "sum of the daily rollups", usd(books.rollups.cost), books.rollups == books.ledger
    )
    yield Comparison(
        "this month, as the quota sees it", usd(books.month), books.month == books.ledger_month
    )
    yield Comparison(
        f"this replay, priced and added up apart ({added_up.requests:,} rows)",
        usd(added_up.cost),
        added_up == books.replayed,
    )
    yield Comparison(
        "audit.verify_integrity()",
        "no findings" if not books.findings else f"{len(books.findings)} findings",
        not books.findings,
        verdict="ok",
    )


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


def _headline(replay: Replay) -> RenderableType:
    side = replay.held
    recorded = side.run.recorded
    prompt = sum(each.request.prompt_tokens for each in recorded)
    completion = sum(each.request.completion_tokens for each in recorded)
    refused = len(side.run.outcomes) - len(recorded)
    grid = _grid("<", "<")
    grid.add_row("File", f"{replay.usage.path.name} ({replay.usage.format} format)")
    grid.add_row("Organization", f"{side.payer.name} ({side.payer.id})")
    grid.add_row("Requests", f"{len(recorded):,} recorded, {refused:,} refused")
    if side.already_recorded:
        grid.add_row("", Text(_nothing_twice(side.already_recorded), style="green"))
    for reason, number in sorted(_left_out(replay).items()):
        grid.add_row("", f"skipped {number:,}: {reason}")
    for index, line in enumerate(_on_prices(replay)):
        grid.add_row("" if index else "Prices", line)
    grid.add_row("Tokens", f"{prompt:,} in, {completion:,} out")
    grid.add_row("Cost", Text(usd(_cost(recorded)), style="bold"))
    if side.run.outcomes:
        grid.add_row("Throughput", _throughput(side.run))
    return grid


def _on_prices(replay: Replay) -> Iterator[str]:
    yield "those of today, in the database"
    if replay.prices_loaded:
        yield f"genai-prices {replay.prices_loaded} was loaded: the database had no price list"
    bases = Counter(each.quote.basis for each in replay.held.run.outcomes)
    if bases["row"]:
        yield f"{counted(bases['row'], 'request')} as their rows state"
    if bases["package"]:
        yield f"{counted(bases['package'], 'request')} by genai-prices: not in the database"


def _nothing_twice(already: int) -> str:
    return f"nothing recorded twice: {counted(already, 'row')} already in the ledger"


def _left_out(replay: Replay) -> Counter[str]:
    return replay.usage.skipped + Counter({"repeated request ids": replay.plan.repeated})


def _throughput(run: Run) -> str:
    return f"{_rate(run)} requests per second, {run.workers} at a time ({run.seconds:.1f} s)"


def _rate(run: Run) -> str:
    return f"{len(run.outcomes) / run.seconds:,.0f}"


def _by_model(recorded: Sequence[Outcome]) -> RenderableType:
    costs: defaultdict[str, list[Decimal]] = defaultdict(list)
    for each in recorded:
        costs[each.request.model].append(each.cost)
    sums = sorted(((total(parts), model) for model, parts in costs.items()), reverse=True)
    everything = total([cost for cost, _ in sums])
    grid = _grid("<", "<", ">", ">", ">")
    for cost, model in sums:
        share = 100 * cost / everything if everything else Decimal(0)
        grid.add_row(
            model,
            Text(bar(cost, sums[0][0], _BAR_WIDTH), style="cyan"),
            _short(cost),
            f"{share:.1f} %",
            counted(len(costs[model]), "request"),
        )
    return grid


def _over_time(outcomes: Sequence[Outcome]) -> RenderableType:
    bins = _bins([each.request.at for each in outcomes])
    width = max(bins) + 1
    spent: list[list[Decimal]] = [[] for _ in range(width)]
    refused = [False] * width
    for each, position in zip(outcomes, bins, strict=True):
        if each.answer == "recorded":
            spent[position].append(each.cost)
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
    grid.add_row(*(Text(each, style="dim") for each in ("by", "cap", "refused", "worth", "first")))
    for by, cap, refused in _refusals(replay):
        first = "never"
        if refused:
            first = f"{refused[0].request.at:%b %d %H:%M:%S}, {refused[0].request.place}"
        grid.add_row(
            by,
            cap,
            f"{len(refused):,}",
            _short(_cost(refused)),
            Text(first, style="red" if refused else "green"),
        )
    return Group(grid, *(Text(note, style="dim") for note in _notes_on_refusals(replay)))


def _refusals(replay: Replay) -> Iterator[tuple[str, str, list[Outcome]]]:
    """Yield what refuses, its limit, and what it refused; the two caps of a replay always."""
    by_answer: defaultdict[str, list[Outcome]] = defaultdict(list)
    by_budget: defaultdict[UUID | None, list[Outcome]] = defaultdict(list)
    for each in replay.held.run.outcomes:
        by_answer[each.answer].append(each)
        if each.answer == "over another cap":
            by_budget[each.budget_id].append(each)
    yield "each workflow", _workflow_cap(replay), by_answer["over workflow cap"]
    yield "organization, per month", _cap(replay.caps.month), by_answer["over monthly cap"]
    for budget_id, refused in by_budget.items():
        cap = replay.caps.by_id.get(budget_id) if budget_id else None
        if cap:
            name = " ".join(filter(None, (cap.scope, cap.scope_id)))
            yield f"{name}, {cap.time_window}", usd(cap.limit_usd), refused
        else:
            yield "a cap set meanwhile", "", refused
    for answer in ("frozen", "without a price"):
        if by_answer[answer]:
            yield answer, "", by_answer[answer]


def _notes_on_refusals(replay: Replay) -> Iterator[str]:
    refused = [each for each in replay.held.run.outcomes if each.answer == "over workflow cap"]
    if refused:
        hit = Counter(each.request.workflow for each in refused)
        ((name, number),) = hit.most_common(1)
        yield (
            f"{counted(len(hit), 'workflow')} reached the cap; most refused: {name} ({number:,})"
        )


def _workflow_cap(replay: Replay) -> str:
    caps = {replay.caps.of_workflow(each) for each in replay.workflows.values()}
    return "stored, differing" if len(caps) > 1 else _cap(next(iter(caps), None))


def _cap(stored: Decimal | None) -> str:
    return _NO_CAP if stored is None else usd(stored)


def _compared(replay: Replay, checked: Side) -> RenderableType:
    grid = _grid("<", ">", ">")
    grid.add_row("", *(Text(way, style="dim") for way in ("hold, settle", "check, then record")))
    held, other = _figures(replay, replay.held), _figures(replay, checked)
    for name in held:
        grid.add_row(name, held[name], other[name])
    return Group(grid, Text(" ".join(_how_it_was_compared(replay, checked)), style="dim"))


def _how_it_was_compared(replay: Replay, checked: Side) -> Iterator[str]:
    settings = replay.settings
    yield (
        f"Both were run for real, {settings.workers} at a time, each call taking "
        f"{settings.call_ms} ms, under the same caps. Check, then record spent in an organization "
        f"of its own, “{checked.payer.name}”. It knew the exact cost before each call, which a "
        "gateway does not."
    )
    if replay.caps.month is not None:
        yield "Of the month it asks, as gateways do, whether anything is left."


def _figures(replay: Replay, side: Side) -> dict[str, Text | str]:
    """Return what is compared of a way of spending, by name."""
    run, caps = side.run, replay.caps
    figures: dict[str, Text | str] = {
        "granted": f"{len(run.recorded):,}",
        "refused": f"{len(run.outcomes) - len(run.recorded):,}",
        "spent": _short(_cost(run.recorded)),
        "requests per second": _rate(run) if run.outcomes else "",
    }
    if any(caps.of_workflow(each) is not None for each in replay.workflows.values()):
        figures["spent above workflows' caps"] = _above(side.passed.total)
    if caps.month is not None:
        figures["spent above the month's cap"] = _above(side.passed.month)
    return figures


def _above(amount: Decimal) -> Text:
    return Text(_short(amount), style="red" if amount else "green")


def _proof_table(replay: Replay) -> RenderableType:
    grid = _grid("<", ">", "<")
    grid.add_row("sum over the ledger, row by row", usd(replay.held.books.ledger.cost), "")
    for line in proof(replay):
        mark = Text(line.verdict, style="green") if line.equal else Text("WRONG", style="bold red")
        grid.add_row(line.what, line.figure, mark)
    note = "Each figure is compared with the ledger rows it stands for."
    return Group(grid, Text(note, style="dim"))


def _cost(outcomes: Iterable[Outcome]) -> Decimal:
    return total([each.cost for each in outcomes])
