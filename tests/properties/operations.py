"""Every operation: how it is asked of the database, and what the model says must come of it."""

import json
from collections.abc import Sequence
from dataclasses import dataclass, field, replace
from datetime import timedelta
from decimal import Decimal
from typing import Any, NamedTuple, Protocol
from uuid import UUID

import psycopg

from tests.properties.model import (
    NAMED_SCOPES,
    NOTHING,
    ORGANIZATION,
    UNIT,
    UNKNOWN_MODEL,
    Budget,
    Call,
    DisagreementError,
    Hold,
    Model,
    Request,
    Scope,
    Usage,
    expect,
    identify,
    milliseconds,
)
from tests.support import races
from tests.support.races import Connection

DONE = "00000"
DEFAULT_WORKFLOW_CAP, DEFAULT_QUOTA = Decimal("1.00"), Decimal("25.00")


class Left(NamedTuple):
    """As much as there is, and `plus` more: what a budget has left, what a hold keeps, the use."""

    plus: Decimal = NOTHING


Amount = Decimal | Left
Place = int | None  # of a hold among all, the newest open one first; None for one that is unknown


def amount(value: Amount, there_is: Decimal, at_least: Decimal = NOTHING) -> Decimal:
    """Return an amount in dollars."""
    return max(there_is + value.plus, at_least) if isinstance(value, Left) else value


@dataclass(frozen=True)
class Answer:
    """What the database answered: an SQLSTATE, with its facts where it is an error."""

    code: str
    rows: list[Any] = field(default_factory=list)
    facts: dict[str, Any] = field(default_factory=dict)

    @property
    def row(self) -> Any:
        """Return the only row."""
        (row,) = self.rows
        return row


def refused(answer: Answer, code: str) -> bool:
    """Expect an error; say that nothing was changed."""
    expect("code", answer.code, code)
    return False


class Intent(Protocol):
    """What somebody is about to do."""

    def resolve(self, model: Model) -> "Operation":
        """Settle what it is about, once, before it is sent."""
        ...


class Operation(Intent, Protocol):
    """One call of a function."""

    @property
    def function(self) -> str: ...

    def arguments(self, organization: UUID) -> dict[str, Any]:
        """Return what is passed, by name without p_."""
        ...

    def happen(self, model: Model, answer: Answer) -> bool:
        """Let it happen in the model, if the answer is the right one; say if it changed anything.

        Raises:
            DisagreementError: If that cannot be the answer.
        """
        ...


def send(connection: Connection, operation: Operation, organization: UUID) -> Answer:
    """Ask the database, in a transaction or savepoint of its own."""
    try:
        with connection.transaction():
            rows = races.call_all(
                connection, operation.function, **operation.arguments(organization)
            )
    except psycopg.Error as error:
        return Answer(error.sqlstate or "no SQLSTATE", facts=_facts(error.diag.message_detail))
    return Answer(DONE, rows)


def _facts(detail: str | None) -> dict[str, Any]:
    """Return the DETAIL of an error of ours; PostgreSQL's own are no JSON."""
    facts: dict[str, Any] = json.loads(detail) if detail and detail.startswith("{") else {}
    return facts


def item(operation: Operation, organization: UUID) -> dict[str, Any]:
    """Return an operation as an item of a batch."""
    arguments = operation.arguments(organization)
    del arguments["organization_id"]
    return {name: _as_json(value) for name, value in arguments.items() if value is not None}


def _as_json(value: object) -> object:
    if isinstance(value, timedelta):
        return f"{value.total_seconds():f} seconds"
    return str(value) if isinstance(value, Decimal | UUID) else value


def real(scope: Scope, organization: UUID) -> dict[str, str]:
    """Return the arguments that name a scope."""
    kind, which = scope
    named = str(identify(organization, which)) if kind in NAMED_SCOPES else which
    return {"scope": kind, "scope_id": named}


@dataclass(frozen=True)
class Authorize:
    call: Call
    cost: Amount
    minimum: Decimal | None = None  # the least of it, where it may be granted in part
    expires_in: timedelta = timedelta(minutes=10)
    request: str | None = None

    function = "public.authorize_spend"

    def resolve(self, model: Model) -> "Authorize":
        left = model.left(self.call, model.time_of(self.call)).values()
        cost = amount(self.cost, min(left, default=Decimal(1)), UNIT)
        least = None if self.minimum is None else min(self.minimum, cost)
        return replace(self, cost=cost, minimum=least)

    def arguments(self, organization: UUID) -> dict[str, Any]:
        return {
            **called(self.call, organization),
            "estimated_cost": self.cost,
            "allow_partial": self.minimum is not None,
            "minimum": self.minimum,
            "expires_in": self.expires_in,
            "request_id": self.request,
        }

    def happen(self, model: Model, answer: Answer) -> bool:
        bound = bound_to(model, "authorize", self.request)
        if bound is not None and bound.content != self:
            return refused(answer, "TS409")
        if bound is not None and self._is_repeated(model, bound, answer):
            return False
        held = decide(model, self, answer)
        if held is None:
            return False
        self._grant(model, held, answer.row)
        return True

    def _is_repeated(self, model: Model, bound: Request, answer: Answer) -> bool:
        """Expect the present state of what was made before; False if that is to be made anew."""
        assert bound.subject is not None
        hold, usage = model.holds.get(bound.subject), model.settled.get(bound.subject)
        if hold is not None and hold.state == "open" and not model.is_overdue(hold):
            expect("decision", answer.row.decision, "granted")
            expect("hold", answer.row.hold_id, bound.subject)
            expect("held", Decimal(answer.row.held_usd), hold.held)
            expect("expiry", answer.row.expires_at, hold.expires_at)
            expect_soft_limits(model, self.call, answer.row)
        elif usage is not None:
            expect("decision", answer.row.decision, "settled")
            expect("usage", answer.row.usage_id, bound.subject)
            expect("cost", Decimal(answer.row.held_usd), usage.cost)
        else:
            return False
        return True

    def _grant(self, model: Model, held: Decimal, row: Any) -> None:
        at, expires_at = model.time_of(self.call), model.now + self.expires_in
        expect("expiry", row.expires_at, expires_at)
        if row.hold_id is None or row.hold_id in model.holds or row.hold_id in model.settled:
            raise DisagreementError(f"granted {row.hold_id}, which is no new hold")
        for budget in model.covering(self.call):
            model.roll(budget, at)
        bound = bound_to(model, "authorize", self.request)
        if bound is not None and bound.subject in model.holds:
            assert bound.subject is not None
            if model.is_overdue(model.holds[bound.subject]):
                model.reclaim(bound.subject)
        model.holds[row.hold_id] = Hold(self.call, held, milliseconds(at), expires_at)
        bind(model, "authorize", self.request, self, row.hold_id)
        expect_soft_limits(model, self.call, row)


@dataclass(frozen=True)
class Estimate:
    call: Call
    cost: Amount
    minimum: Decimal | None = None

    function = "public.estimate_spend"

    def resolve(self, model: Model) -> "Estimate":
        asked = Authorize(self.call, self.cost, self.minimum).resolve(model)
        return replace(self, cost=asked.cost, minimum=asked.minimum)

    def arguments(self, organization: UUID) -> dict[str, Any]:
        return {
            **called(self.call, organization),
            "estimated_cost": self.cost,
            "allow_partial": self.minimum is not None,
            "minimum": self.minimum,
        }

    def happen(self, model: Model, answer: Answer) -> bool:
        held = decide(model, self, answer)
        if held is not None:
            expect("hold", answer.row.hold_id, None)
            expect_soft_limits(model, self.call, answer.row, unbooked=held)
        return False


def called(call: Call, organization: UUID) -> dict[str, Any]:
    """Return the arguments that say who calls what."""
    named = {
        f"{scope}_id": identify(organization, which)
        for scope in NAMED_SCOPES
        if (which := getattr(call, scope)) is not None
    }
    return {
        "organization_id": organization,
        "model": None if call.model == UNKNOWN_MODEL else call.model,
        "api_key_id": call.api_key,
        "tags": dict(tag.split("=") for tag in call.tags),
        **named,
    }


def bound_to(model: Model, operation: str, request: str | None) -> Request | None:
    return None if request is None else model.requests.get((operation, request))


def bind(
    model: Model, operation: str, request: str | None, content: object, subject: UUID | None
) -> None:
    """Bind a request id, if there is one; where it is bound anew, it is as old as before."""
    if request is not None:
        bound = model.requests.get((operation, request))
        at = model.now if bound is None else bound.bound_at
        model.requests[operation, request] = Request(content, subject, at)


def decide(model: Model, asked: Authorize | Estimate, answer: Answer) -> Decimal | None:
    """Expect the right decision; return how much is held, None for a denial.

    Granted iff nothing that covers the call is frozen and every cap has the money.
    """
    assert isinstance(asked.cost, Decimal)
    if asked.cost == 0:
        refused(answer, "22023")
        return None
    expect("code", answer.code, DONE)
    row, at = answer.row, model.time_of(asked.call)
    frozen = [budget.id for budget in model.covering(asked.call) if budget.frozen]
    if frozen:
        expect("decision", (row.decision, row.reason), ("denied", "frozen"))
        named = None if model.frozen else min(frozen)
        expect("frozen scope", row.budget_id, named)
        return None
    left = model.left(asked.call, at)
    least = min(left.values(), default=None)
    if least is not None and least < (asked.minimum or asked.cost):
        expect("decision", (row.decision, row.reason), ("denied", "budget_exceeded"))
        expect("remainder", Decimal(row.remaining_usd), least)
        expect("remainder of the budget named", left.get(row.budget_id), least)
        expect("reset", row.resets_at, model.window(model.budgets[row.budget_id], at)[1])
        return None
    expect("decision", row.decision, "granted")
    held = asked.cost if least is None else min(asked.cost, least)
    expect("held", Decimal(row.held_usd), held)
    return held


def expect_soft_limits(model: Model, call: Call, row: Any, unbooked: Decimal = NOTHING) -> None:
    """Expect a grant to name the soft limit it passed furthest, if any.

    What overdue holds keep may have been reclaimed by then, or not.
    """
    bounds: dict[UUID, tuple[Decimal, Decimal]] = {}
    for budget in model.covering(call):
        if budget.limit is not None and not budget.hard:
            at = max(model.now, budget.start or model.now)
            window = model.window(budget, at)
            free = budget.limit - model.use(budget.scope, window) - unbooked
            kept = model.settled_in(budget.scope, window) + model.held_in(budget.scope, window)
            bounds[budget.id] = budget.limit - kept - unbooked, free
    highest = min((high for _, high in bounds.values()), default=NOTHING)
    if row.reason is None:
        expect("soft limits passed", highest < 0, False)
        return
    expect("reason", row.reason, "over_soft_limit")
    expect("named is a soft limit", row.budget_id in bounds, True)
    low, high = bounds[row.budget_id]
    remaining = Decimal(row.remaining_usd)
    if not low <= remaining <= min(high, highest) or remaining >= 0:
        raise DisagreementError(f"soft limit passed by {remaining}, not from {low} to {high}")


@dataclass(frozen=True)
class Settle:
    hold: Place | UUID
    cost: Amount
    tokens: tuple[int, int] = (10, 5)
    request: str | None = None

    function = "public.settle_spend"

    def resolve(self, model: Model) -> "Settle":
        key = self.hold if isinstance(self.hold, UUID) else model.hold_at(self.hold)
        held = model.holds[key].held if key in model.holds else NOTHING
        return replace(self, hold=key, cost=amount(self.cost, held))

    def arguments(self, organization: UUID) -> dict[str, Any]:
        prompt, completion = self.tokens
        return {
            "organization_id": organization,
            "hold_id": self.hold,
            "usage": {"input_tokens": prompt, "output_tokens": completion},
            "cost": self.cost,
            "request_id": self.request,
        }

    def happen(self, model: Model, answer: Answer) -> bool:
        assert isinstance(self.hold, UUID)
        bound = bound_to(model, "settle", self.request)
        if bound is not None and bound.content != self:
            return refused(answer, "TS409")
        if self.hold in model.holds:
            model.settled[self.hold] = self._usage(model, model.holds.pop(self.hold), answer)
            bind(model, "settle", self.request, self, self.hold)
            expect_usage(answer, self.hold, model.settled[self.hold])
            return True
        usage = model.settled.get(self.hold)
        if usage is None:
            return refused(answer, "TS404")
        if (usage.cost, usage.tokens) != (self.cost, self.tokens):
            return refused(answer, "TS409")
        expect_usage(answer, self.hold, usage)
        return False

    def _usage(self, model: Model, hold: Hold, answer: Answer) -> Usage:
        """Return what a hold becomes: its money covers it only while it is open."""
        assert isinstance(self.cost, Decimal)
        expect("code", answer.code, DONE)
        taken = model.at_once and model.is_overdue(hold) and answer.row.settlement == "after_hold"
        on_hold = hold.state == "open" and not taken
        return Usage(
            hold.call,
            self.cost,
            self.tokens,
            hold.created_at,
            max(model.now, hold.created_at),
            "on_hold" if on_hold else "after_hold",
            max(self.cost - hold.held, NOTHING) if on_hold else self.cost,
        )


def expect_usage(answer: Answer, key: UUID, usage: Usage) -> None:
    """Expect a usage as the answer: a row of the ledger, or of a batch."""
    expect("code", answer.code, DONE)
    row = answer.row
    if hasattr(row, "item"):
        told = row.usage_id, Decimal(row.cost), row.settlement, Decimal(row.unheld_usd)
        expect("usage", told, (key, usage.cost, usage.settlement, usage.unheld))
        return
    expect(
        "usage",
        (row.id, row.cost, (row.prompt_tokens, row.completion_tokens)),
        (key, usage.cost, usage.tokens),
    )
    expect(
        "settlement",
        (row.created_at, row.settled_at, row.settlement, row.unheld_usd),
        (usage.created_at, usage.settled_at, usage.settlement, usage.unheld),
    )


@dataclass(frozen=True)
class Release:
    hold: Place | UUID
    reason: str | None = None

    function = "public.release_spend"

    def resolve(self, model: Model) -> "Release":
        key = self.hold if isinstance(self.hold, UUID) else model.hold_at(self.hold)
        return replace(self, hold=key)

    def arguments(self, organization: UUID) -> dict[str, Any]:
        return {
            "organization_id": organization,
            "hold_id": self.hold,
            "reason": self.reason,
        }

    def happen(self, model: Model, answer: Answer) -> bool:
        assert isinstance(self.hold, UUID)
        hold = model.holds.get(self.hold)
        if hold is None:
            return refused(answer, "TS410" if self.hold in model.settled else "TS404")
        expect("code", answer.code, DONE)
        if model.at_once and model.is_overdue(hold) and answer.row.state == "expired":
            model.reclaim(self.hold)
        elif hold.state == "open":
            model.holds[self.hold] = replace(
                hold, state="released", closed_at=model.now, reason=self.reason
            )
        expect_hold(answer, self.hold, model.holds[self.hold])
        return hold.state == "open"


def expect_hold(answer: Answer, key: UUID, hold: Hold) -> None:
    """Expect a hold as the answer."""
    expect("code", answer.code, DONE)
    row = answer.row
    expect(
        "hold",
        (row.id, row.state, row.held_usd, row.expires_at, row.closed_at, row.reason),
        (key, hold.state, hold.held, hold.expires_at, hold.closed_at, hold.reason),
    )


@dataclass(frozen=True)
class Extend:
    hold: Place | UUID
    cost: Amount = NOTHING
    expires_in: timedelta | None = None
    request: str | None = None

    function = "public.extend_hold"

    def resolve(self, model: Model) -> "Extend":
        key = self.hold if isinstance(self.hold, UUID) else model.hold_at(self.hold)
        hold = model.holds.get(key)
        left = [] if hold is None else model.left(hold.call, hold.created_at, key).values()
        return replace(self, hold=key, cost=amount(self.cost, min(left, default=Decimal(1))))

    def arguments(self, organization: UUID) -> dict[str, Any]:
        return {
            "organization_id": organization,
            "hold_id": self.hold,
            "expires_in": self.expires_in,
            "additional_cost": self.cost,
            "request_id": self.request,
        }

    def happen(self, model: Model, answer: Answer) -> bool:
        assert isinstance(self.hold, UUID)
        if self.expires_in is None and self.cost == 0:
            return refused(answer, "22023")
        bound = bound_to(model, "extend", self.request)
        if bound is not None and bound.content != self:
            return refused(answer, "TS409")
        hold = model.holds.get(self.hold)
        if hold is None:
            return refused(answer, "TS410" if self.hold in model.settled else "TS404")
        if bound is not None:
            expect_hold(answer, self.hold, hold)
            return False
        if model.at_once and model.is_overdue(hold) and answer.code == "TS410":
            model.reclaim(self.hold)
            return False
        if hold.state != "open":
            return refused(answer, "TS410")
        return self._extend(model, self.hold, hold, answer)

    def _extend(self, model: Model, key: UUID, hold: Hold, answer: Answer) -> bool:
        """Admit more money by the windows the hold counts to, also those that are over."""
        assert isinstance(self.cost, Decimal)
        if self.cost > 0 and any(budget.frozen for budget in model.covering(hold.call)):
            return refused(answer, "TS423")
        least = min(model.left(hold.call, hold.created_at, key).values(), default=self.cost)
        if self.cost > 0 and least < self.cost:
            expect("remainder", Decimal(answer.facts.get("remaining_usd", "NaN")), least)
            return refused(answer, "TS402")
        model.holds[key] = replace(
            hold,
            held=hold.held + self.cost,
            expires_at=(
                hold.expires_at if self.expires_in is None else model.now + self.expires_in
            ),
        )
        bind(model, "extend", self.request, self, key)
        expect_hold(answer, key, model.holds[key])
        return True


@dataclass(frozen=True)
class Expire:
    limit: int = 1000

    function = "metering.expire_holds"

    def resolve(self, model: Model) -> "Expire":  # noqa: ARG002 - it is settled
        return self

    def arguments(self, organization: UUID) -> dict[str, Any]:
        return {"organization_id": organization, "limit": self.limit}

    def happen(self, model: Model, answer: Answer) -> bool:
        """Which ones, if not all, is seen in the books."""
        expect("code", answer.code, DONE)
        overdue = [key for key, hold in model.holds.items() if model.is_overdue(hold)]
        expired = answer.row.expire_holds
        if model.at_once and expired < len(overdue):
            return True
        expect("how many", expired, min(self.limit, len(overdue)))
        if expired == len(overdue):
            for key in overdue:
                model.reclaim(key)
        return True


@dataclass(frozen=True)
class Record:
    workflow: str
    cost: Amount
    model: str = "small"
    tokens: tuple[int, int] = (10, 5)
    request: str | None = None

    function = "public.record_usage_and_increment"

    @property
    def call(self) -> Call:
        return Call(self.model, self.workflow)

    def resolve(self, model: Model) -> "Record":
        left = model.left(self.call, model.time_of(self.call)).values()
        return replace(self, cost=amount(self.cost, min(left, default=Decimal(1))))

    def arguments(self, organization: UUID) -> dict[str, Any]:
        prompt, completion = self.tokens
        return {
            "workflow_id": identify(organization, self.workflow),
            "organization_id": organization,
            "model": self.model,
            "prompt_tokens": prompt,
            "completion_tokens": completion,
            "cost": self.cost,
            "request_id": self.request,
        }

    def happen(self, model: Model, answer: Answer) -> bool:
        assert isinstance(self.cost, Decimal)
        bound = bound_to(model, "record", self.request)
        if bound is not None and bound.content != self:
            return refused(answer, "TS409")
        expect("code", answer.code, DONE)
        if bound is not None:
            return False
        at = model.time_of(self.call)
        if self.cost > 0:
            for budget in model.covering(self.call):
                model.roll(budget, at)
        created_at = milliseconds(at)
        model.recorded.append(
            Usage(
                self.call,
                self.cost,
                self.tokens,
                created_at,
                max(model.now, created_at),
                "without_hold",
                self.cost,
            )
        )
        bind(model, "record", self.request, self, None)
        return True


@dataclass(frozen=True)
class Check:
    """The documents' question, with its lock or without."""

    workflow: str
    cost: Amount
    cap: Decimal = DEFAULT_WORKFLOW_CAP
    locks: bool = True

    @property
    def function(self) -> str:
        kind = "check" if self.locks else "estimate"
        return f"public.{kind}_workflow_cost_limit"

    def resolve(self, model: Model) -> "Check":
        return replace(self, cost=amount(self.cost, self._room(model)))

    def arguments(self, organization: UUID) -> dict[str, Any]:
        return {
            "organization_id": organization,
            "workflow_id": identify(organization, self.workflow),
            "additional_cost": self.cost,
            "max_cost": self.cap,
        }

    def _budget(self, model: Model) -> Budget:
        return model.budgets[identify(model.organization, self.workflow)]

    def _room(self, model: Model) -> Decimal:
        budget = self._budget(model)
        cap = effective_cap(budget.limit, self.cap, DEFAULT_WORKFLOW_CAP)
        return cap - model.use(budget.scope, (None, None))

    def happen(self, model: Model, answer: Answer) -> bool:
        expect("code", answer.code, DONE)
        assert isinstance(self.cost, Decimal)
        frozen = model.frozen or self._budget(model).frozen
        fits = not frozen and self.cost <= self._room(model)
        expect("check", answer.row[0], fits)
        return False


@dataclass(frozen=True)
class Quota:
    limit: Amount = DEFAULT_QUOTA

    function = "public.check_organization_monthly_quota"

    def resolve(self, model: Model) -> "Quota":
        return replace(self, limit=amount(self.limit, self._use(model)))

    def arguments(self, organization: UUID) -> dict[str, Any]:
        return {"organization_id": organization, "monthly_limit": self.limit}

    def _use(self, model: Model) -> Decimal:
        """Return what is settled and held in the month of the organization's latest window."""
        starts = [b.start for b in model.budgets.values() if b.scope == ORGANIZATION and b.start]
        return model.use(ORGANIZATION, model.window_at("month", max([model.now, *starts])))

    def happen(self, model: Model, answer: Answer) -> bool:
        expect("code", answer.code, DONE)
        assert isinstance(self.limit, Decimal)
        stored = model.budget_of(ORGANIZATION, "month")
        cap = effective_cap(stored.limit if stored else None, self.limit, DEFAULT_QUOTA)
        expect("quota", answer.row[0], not model.frozen and self._use(model) < cap)
        return False


def effective_cap(stored: Decimal | None, stated: Decimal, default: Decimal) -> Decimal:
    """A stored cap wins over the default; a lower stated one lowers it."""
    if stored is None:
        return stated
    return stored if stated == default else min(stored, stated)


@dataclass(frozen=True)
class SetBudget:
    scope: Scope
    window: str
    limit: Amount | None
    hard: bool = True
    slots: int | None = None

    function = "metering.set_budget"

    def resolve(self, model: Model) -> "SetBudget":
        if self.limit is None:
            return self
        present = model.window_at(self.window, model.present_time())
        return replace(self, limit=amount(self.limit, model.use(self.scope, present)))

    def arguments(self, organization: UUID) -> dict[str, Any]:
        return {
            "organization_id": organization,
            **real(self.scope, organization),
            "window": self.window,
            "limit": self.limit,
            "enforcement": "hard" if self.hard else "soft",
            "slots": self.slots,
        }

    def happen(self, model: Model, answer: Answer) -> bool:
        expect("code", answer.code, DONE)
        budget = model.budget_of(self.scope, self.window)
        if budget is None:
            budget = newborn(model, answer.row.id, self.scope, self.window)
        assert not isinstance(self.limit, Left)
        budget = replace(budget, limit=self.limit, hard=self.hard, slots=self.slots or budget.slots)
        store(model, budget)
        expect_budget(answer, model.budgets[budget.id])
        return True


def newborn(model: Model, key: UUID, scope: Scope, window: str) -> Budget:
    """Return a budget as it is made: in its present window, without a limit."""
    return Budget(key, scope, window, *model.window_at(window, model.present_time()))


def store(model: Model, budget: Budget) -> None:
    """Put a budget that was made or changed: in its present window, with what passes its limit."""
    model.budgets[budget.id] = budget
    budget = model.roll(budget, model.present_time())
    figures = model.figures(budget)
    use = figures.settled + figures.held
    excess = NOTHING if budget.limit is None else max(use - budget.limit, NOTHING)
    model.budgets[budget.id] = replace(budget, excess=excess)


def expect_budget(answer: Answer, budget: Budget) -> None:
    """Expect a budget as the answer."""
    expect("code", answer.code, DONE)
    row = answer.row
    expect(
        "budget",
        (row.id, row.scope, row.time_window, row.limit_usd, row.enforcement, row.slot_count),
        (
            budget.id,
            budget.scope[0],
            budget.window,
            budget.limit,
            "hard" if budget.hard else "soft",
            budget.slots,
        ),
    )
    expect("freeze", row.frozen_at is not None, budget.frozen)


@dataclass(frozen=True)
class ChangeBudget:
    budget: int | UUID  # its place among all
    scope: Scope | None = None
    window: str | None = None
    slots: int | None = None

    function = "metering.change_budget"

    def resolve(self, model: Model) -> "ChangeBudget":
        if isinstance(self.budget, UUID):
            return self
        return replace(self, budget=list(model.budgets)[self.budget % len(model.budgets)])

    def arguments(self, organization: UUID) -> dict[str, Any]:
        scope = {} if self.scope is None else real(self.scope, organization)
        return {
            "organization_id": organization,
            "budget_id": self.budget,
            **scope,
            "window": self.window,
            "slots": self.slots,
        }

    def happen(self, model: Model, answer: Answer) -> bool:
        assert isinstance(self.budget, UUID)
        old = model.budgets.get(self.budget)
        if old is None:
            return refused(answer, "TS404")
        key = self.scope or old.scope, self.window or old.window
        if key != old.key:
            if model.is_born(old) or old.frozen or model.budget_of(*key) is not None:
                return refused(answer, "22023")
            moved = newborn(model, old.id, *key)
            old = replace(moved, limit=old.limit, hard=old.hard, slots=old.slots)
        store(model, replace(old, slots=self.slots or old.slots))
        expect_budget(answer, model.budgets[old.id])
        return True


@dataclass(frozen=True)
class RemoveBudget:
    budget: int | tuple[Scope, str]  # its place among all, or its scope and window

    function = "metering.remove_budget"

    def resolve(self, model: Model) -> "RemoveBudget":
        if not isinstance(self.budget, int):
            return self
        keys = [budget.key for budget in model.budgets.values()]
        return replace(self, budget=keys[self.budget % len(keys)])

    def arguments(self, organization: UUID) -> dict[str, Any]:
        assert not isinstance(self.budget, int)
        scope, window = self.budget
        return {"organization_id": organization, **real(scope, organization), "window": window}

    def happen(self, model: Model, answer: Answer) -> bool:
        assert not isinstance(self.budget, int)
        budget = model.budget_of(*self.budget)
        if budget is None:
            return refused(answer, "TS404")
        budget = replace(budget, limit=None, hard=True)
        if model.is_born(budget) or budget.frozen:
            store(model, budget)
        else:
            del model.budgets[budget.id]
        expect_budget(answer, budget)
        return True


@dataclass(frozen=True)
class Freeze:
    scope: Scope
    freezes: bool = True

    @property
    def function(self) -> str:
        return "metering.freeze" if self.freezes else "metering.unfreeze"

    def resolve(self, model: Model) -> "Freeze":  # noqa: ARG002 - it is settled
        return self

    def arguments(self, organization: UUID) -> dict[str, Any]:
        return {"organization_id": organization, **real(self.scope, organization)}

    def happen(self, model: Model, answer: Answer) -> bool:
        budget = model.budget_of(self.scope, "total")
        if budget is None and not self.freezes:
            return refused(answer, "TS404")
        expect("code", answer.code, DONE)
        if budget is None:
            budget = newborn(model, answer.row.id, self.scope, "total")
        model.budgets[budget.id] = replace(budget, frozen=self.freezes)
        expect_budget(answer, model.budgets[budget.id])
        return True


@dataclass(frozen=True)
class AuthorizeBatch:
    items: tuple[Authorize, ...]

    function = "public.authorize_spend_batch"

    def resolve(self, model: Model) -> "AuthorizeBatch":
        return replace(self, items=tuple(asked.resolve(model) for asked in self.items))

    def arguments(self, organization: UUID) -> dict[str, Any]:
        items = [item(asked, organization) for asked in self.items]
        return {"organization_id": organization, "items": items}

    def happen(self, model: Model, answer: Answer) -> bool:
        return happen_in_turn(model, self.items, answer)


@dataclass(frozen=True)
class SettleBatch:
    items: tuple[Settle, ...]

    function = "public.settle_spend_batch"

    def resolve(self, model: Model) -> "SettleBatch":
        return replace(self, items=tuple(settle.resolve(model) for settle in self.items))

    def arguments(self, organization: UUID) -> dict[str, Any]:
        items = [item(settle, organization) for settle in self.items]
        return {"organization_id": organization, "items": items}

    def happen(self, model: Model, answer: Answer) -> bool:
        return happen_in_turn(model, self.items, answer)


@dataclass(frozen=True)
class SettlePlainly:
    """The batch that is booked in one pass: several open holds, none above what it keeps."""

    number: int

    def resolve(self, model: Model) -> SettleBatch:
        newest = [key for key, hold in reversed(model.holds.items()) if hold.state == "open"]
        settled = [Settle(key, Left(-UNIT)).resolve(model) for key in newest[: self.number]]
        return SettleBatch(tuple(settled) or (Settle(None, UNIT).resolve(model),))


def happen_in_turn(model: Model, items: Sequence[Operation], answer: Answer) -> bool:
    """Let the items of a batch happen one after the other; a wrong one stops nothing."""
    expect("code", answer.code, DONE)
    expect("items", [row.item for row in answer.rows], list(range(len(items))))
    for operation, row in zip(items, answer.rows, strict=True):
        operation.happen(model, Answer(row.error_code or DONE, [row]))
    return True


@dataclass(frozen=True)
class Again:
    """A request that was sent before, word for word, or with other content."""

    place: int  # among all that were sent, the latest first
    changed: bool = False

    def resolve(self, model: Model) -> Operation:
        if not model.sent:
            return Expire()
        sent: Operation = model.sent[-1 - self.place % len(model.sent)]
        if self.changed:
            return replace(sent, cost=sent.cost + UNIT)  # type: ignore[type-var, attr-defined]
        return sent
