"""One replay from plan to proof, against one database."""

from __future__ import annotations

from dataclasses import dataclass
from decimal import Decimal
from typing import TYPE_CHECKING

import psycopg

from tallystick.client import Client
from tallystick.money import total
from tallystick.organizations import find_or_create_organization
from tallystick.replay import books
from tallystick.replay.plan import derived_workflow_id, workflow_id
from tallystick.replay.quotes import load_missing_prices, quote
from tallystick.replay.rows import UsageFileError
from tallystick.replay.run import Run, run
from tallystick.replay.ways import CheckThenRecord, HoldThenSettle

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping, Sequence
    from uuid import UUID

    from tallystick.organizations import AnyConnection, Payer
    from tallystick.replay.books import Books, Caps, Spent
    from tallystick.replay.plan import Plan
    from tallystick.replay.quotes import Quote
    from tallystick.replay.rows import UsageFile
    from tallystick.replay.ways import Answer, Way

_COMPARED = " (check, then record)"
_LONGEST_NAME = 255


class OrganizationFrozen(Exception):  # noqa: N818 - named after what happened
    """The organization is frozen: every check would refuse."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Settings:
    """How a plan is replayed.

    Attributes:
        database_url: the database.
        organization: name or UUID of who pays; an unknown name is created.
        workflow_limit: cap per workflow, US dollars, stored; None leaves what is stored.
        monthly_limit: cap of the organization's month, US dollars, stored; None likewise.
        workers: how many requests at the same time.
        call_ms: how long each call takes between its two transactions, milliseconds.
        compare: whether to run the plan by check, then record as well.
    """

    database_url: str
    organization: str
    workflow_limit: Decimal | None
    monthly_limit: Decimal | None
    workers: int
    call_ms: int
    compare: bool


@dataclass(frozen=True, slots=True)
class Passed:
    """By how much a run passed its caps.

    Attributes:
        workflows: US dollars above the cap, by workflow; those that passed none are left out.
        month: US dollars above the cap of the month.
    """

    workflows: Mapping[UUID, Decimal]
    month: Decimal

    @property
    def total(self) -> Decimal:
        """What was spent above the caps of workflows, US dollars."""
        return total(list(self.workflows.values()))


@dataclass(frozen=True, slots=True, kw_only=True)
class Side:
    """What one way of spending did, and the books after it.

    Attributes:
        payer: the organization.
        already_recorded: how many of the requests its ledger had before.
        run: what became of the others.
        passed: by how much that passed the caps.
        books: the proof.
    """

    payer: Payer
    already_recorded: int
    run: Run
    passed: Passed
    books: Books


@dataclass(frozen=True, slots=True, kw_only=True)
class Replay:
    """What a replay did.

    Attributes:
        usage: the file.
        plan: what it asked for.
        settings: where and how it was replayed.
        prices_loaded: the version of the price list it loaded first; None where there was one.
        workflows: the workflows of the plan, by name.
        caps: the caps it ran under.
        held: what holding, then settling did.
        checked: what checking, then recording did under the same caps; None if not compared.
    """

    usage: UsageFile
    plan: Plan
    settings: Settings
    prices_loaded: str | None
    workflows: Mapping[str, UUID]
    caps: Caps
    held: Side
    checked: Side | None


@dataclass(frozen=True, slots=True, kw_only=True)
class _Stage:
    """A way of spending, ready to start.

    Attributes:
        title: what it does, for whoever watches.
        way: how it spends.
        payer: the organization.
        caps: the caps in force for it.
        workflows: the ids of the plan's workflows, by name.
        waiting: the requests its ledger does not have.
    """

    title: str
    way: Way
    payer: Payer
    caps: Caps
    workflows: Mapping[str, UUID]
    waiting: Sequence[Quote]


def replay_plan(
    usage: UsageFile,
    plan: Plan,
    settings: Settings,
    *,
    on_start: Callable[[str, int], None],
    on_outcome: Callable[[Answer], None],
) -> Replay:
    """Spend what is not recorded yet, under the caps, and read the books.

    With `Settings.compare` the plan is also spent by check, then record, in an organization of its
    own with the same caps, which starts with nothing spent. Nothing is sent before all is ready.

    Args:
        usage: the file.
        plan: its requests.
        settings: where and how.
        on_start: called before each way of spending, with what it does and how many requests.
        on_outcome: called with the answer to each.

    Raises:
        OrganizationNotFound: the organization's name is ambiguous, or its id unknown.
        OrganizationFrozen: it is frozen.
        UsageFileError: a row is in the ledger already with other tokens, or cannot be priced.
        TallystickError: the database refused something other than the spend.
        psycopg.OperationalError: the database cannot be reached.
    """
    with psycopg.connect(
        settings.database_url, autocommit=True, prepare_threshold=None
    ) as connection:
        loaded = load_missing_prices(connection)
        with connection.transaction():  # a file that cannot be replayed leaves nothing behind
            payer = _open(connection, settings.organization)
            quotes = quote(connection, payer.id, usage, plan.requests)
            holding = _prepare_holding(connection, payer, usage, quotes, settings)
            checking = (
                _prepare_checking(connection, holding, usage, quotes, settings)
                if settings.compare
                else None
            )
        sides = [
            _play(connection, stage, plan, settings, on_start, on_outcome)
            for stage in (holding, checking)
            if stage
        ]
        return Replay(
            usage=usage,
            plan=plan,
            settings=settings,
            prices_loaded=loaded,
            workflows=holding.workflows,
            caps=holding.caps,
            held=sides[0],
            checked=sides[1] if checking else None,
        )


def _open(connection: AnyConnection, name_or_id: str) -> Payer:
    payer = find_or_create_organization(connection, name_or_id)
    if payer.frozen:
        raise OrganizationFrozen(f"the organization {payer.name!r} is frozen")
    return payer


def _prepare_holding(
    connection: AnyConnection,
    payer: Payer,
    usage: UsageFile,
    quotes: Sequence[Quote],
    settings: Settings,
) -> _Stage:
    """Open the workflows that are missing and store the caps that were asked for."""
    waiting = _not_recorded(connection, payer, usage, quotes)
    workflows = _open_workflows(connection, payer, waiting, workflow_id)
    client = Client(connection)
    if settings.workflow_limit is not None:
        for each in workflows.values():
            client.set_budget(payer.id, "workflow", str(each), "total", settings.workflow_limit)
    if settings.monthly_limit is not None:
        client.set_budget(payer.id, "organization", None, "month", settings.monthly_limit)
    caps = books.read_caps(connection, payer.id)
    return _Stage(
        title="Hold, then settle",
        way=HoldThenSettle(payer.id, caps, settings.call_ms / 1000),
        payer=payer,
        caps=caps,
        workflows=workflows,
        waiting=waiting,
    )


def _prepare_checking(
    connection: AnyConnection,
    holding: _Stage,
    usage: UsageFile,
    quotes: Sequence[Quote],
    settings: Settings,
) -> _Stage:
    """Open the organization to compare with, and give it the same caps."""
    payer = _open(connection, holding.payer.name[: _LONGEST_NAME - len(_COMPARED)] + _COMPARED)
    waiting = _not_recorded(connection, payer, usage, quotes)
    workflows = _open_workflows(connection, payer, waiting, derived_workflow_id)
    client = Client(connection)
    for name, each in workflows.items():
        limit = holding.caps.of_workflow(workflow_id(holding.payer.id, name))
        client.set_budget(payer.id, "workflow", str(each), "total", limit)
    client.set_budget(payer.id, "organization", None, "month", holding.caps.month)
    return _Stage(
        title="Check, then record",
        way=CheckThenRecord(payer.id, settings.call_ms / 1000),
        payer=payer,
        caps=books.read_caps(connection, payer.id),
        workflows=workflows,
        waiting=waiting,
    )


def _not_recorded(
    connection: AnyConnection, payer: Payer, usage: UsageFile, quotes: Sequence[Quote]
) -> list[Quote]:
    """Return the requests the ledger does not have; one it has with other tokens is an error.

    Tokens are compared, not the cost: another price list must not make a new request of a row.
    """
    known = books.already_recorded(
        connection, payer.id, [each.request.request_id for each in quotes]
    )
    waiting = []
    for each in quotes:
        request = each.request
        recorded = known.get(request.request_id)
        if recorded is None:
            waiting.append(each)
        elif recorded.prompt_tokens is not None and (
            (recorded.prompt_tokens, recorded.completion_tokens)
            != (request.prompt_tokens, request.completion_tokens)
        ):
            grown = "; the bucket has changed since" if usage.format == "openai" else ""
            raise UsageFileError(
                usage.path,
                f"recorded before with other tokens: {recorded.prompt_tokens} in, "
                f"{recorded.completion_tokens} out, now {request.prompt_tokens} in, "
                f"{request.completion_tokens} out{grown}",
                request.place,
            )
    return waiting


def _open_workflows(
    connection: AnyConnection,
    payer: Payer,
    waiting: Sequence[Quote],
    identify: Callable[[UUID, str], UUID],
) -> dict[str, UUID]:
    """Return the workflows of requests by name, those that are missing opened."""
    names = dict.fromkeys(each.request.workflow for each in waiting)
    workflows = {name: identify(payer.id, name) for name in names}
    existing = books.existing_workflows(connection, payer.id, list(workflows.values()))
    client = Client(connection)
    for name, identifier in workflows.items():
        if identifier not in existing:
            client.upsert_intent_workflow(identifier, payer.id, {"name": name})
    return workflows


def _play(
    connection: AnyConnection,
    stage: _Stage,
    plan: Plan,
    settings: Settings,
    on_start: Callable[[str, int], None],
    on_outcome: Callable[[Answer], None],
) -> Side:
    on_start(stage.title, len(stage.waiting))
    concerned = list(stage.workflows.values())
    before = books.read_spent(connection, stage.payer.id, concerned)
    done = run(
        settings.database_url,
        stage.way,
        stage.waiting,
        workers=settings.workers,
        on_outcome=on_outcome,
    )
    after = books.read_spent(connection, stage.payer.id, concerned)
    recorded = [outcome.request.request_id for outcome in done.recorded]
    return Side(
        payer=stage.payer,
        already_recorded=len(plan.requests) - len(stage.waiting),
        run=done,
        passed=_passed(stage.caps, before, after),
        books=books.read_books(connection, stage.payer.id, stage.way.operation, recorded),
    )


def _passed(caps: Caps, before: Spent, after: Spent) -> Passed:
    workflows = {
        each: _above(caps.of_workflow(each), before.workflows.get(each, Decimal(0)), spent)
        for each, spent in after.workflows.items()
    }
    return Passed(
        {each: amount for each, amount in workflows.items() if amount},
        _above(caps.month, before.month, after.month),
    )


def _above(cap: Decimal | None, before: Decimal, after: Decimal) -> Decimal:
    """Return how much of what was spent in between is above the cap."""
    return Decimal(0) if cap is None else max(after - max(cap, before), Decimal(0))
