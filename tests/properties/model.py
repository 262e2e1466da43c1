"""What must be true of one organization's money, in plain Python and exact decimals.

The model knows nothing of slots, locks or gathers: it has the calls that were made, settled or not,
and says what each budget has left. Whatever the database answers and stores must be what follows
from that.

People, workflows, runs and ventures go by name here; `identify` says which id stands for a name.
"""

from collections.abc import Iterable
from copy import copy
from dataclasses import dataclass, field, replace
from datetime import datetime, timedelta
from decimal import Decimal
from functools import lru_cache
from typing import Any
from uuid import UUID, uuid5

from tests.support.properties import window_of

NOTHING = Decimal(0)
UNIT = Decimal("1e-12")  # the smallest amount
UNKNOWN_MODEL = "unknown"

WORKFLOWS = ("workflow 1", "workflow 2")
VENTURE = "venture"
NAMES = (*WORKFLOWS, VENTURE, "run", "user 1", "user 2")
NAMED_SCOPES = frozenset({"workflow", "run", "venture", "user"})

Scope = tuple[str, str]  # what, and which one; ("organization", "") for the organization itself
Window = tuple[datetime | None, datetime | None]  # None for a total, which never begins or ends
ORGANIZATION: Scope = ("organization", "")


class DisagreementError(AssertionError):
    """The database answered or stored something else than the model says."""


def expect(what: str, actual: object, expected: object) -> None:
    """Raise DisagreementError unless both are equal."""
    if actual != expected:
        raise DisagreementError(f"{what}: {actual!r}, not {expected!r}")


def identify(organization: UUID, name: str) -> UUID:
    """Return the id that a name stands for in an organization."""
    return uuid5(organization, name)


def names_of(organization: UUID) -> dict[UUID, str]:
    """Return the name that each id of an organization stands for."""
    return {identify(organization, name): name for name in NAMES}


def milliseconds(instant: datetime) -> datetime:
    """Return an instant as ids keep it: cut to the millisecond."""
    return instant.replace(microsecond=instant.microsecond // 1000 * 1000)


@dataclass(frozen=True)
class Call:
    """Who calls what."""

    model: str = UNKNOWN_MODEL
    workflow: str | None = None
    run: str | None = None
    venture: str | None = None
    user: str | None = None
    api_key: str | None = None
    tags: tuple[str, ...] = ()  # each as key=value


@lru_cache(maxsize=4096)
def scopes_of(call: Call) -> frozenset[Scope]:
    """Return what of a call a budget can cover."""
    named = {
        "workflow": call.workflow,
        "run": call.run,
        "venture": call.venture,
        "user": call.user,
        "api_key": call.api_key,
        "model": call.model,
    }
    scopes = {(scope, name) for scope, name in named.items() if name is not None}
    return frozenset({ORGANIZATION, *scopes, *(("tag", tag) for tag in call.tags)})


@dataclass(frozen=True)
class Hold:
    """Money held, or held once."""

    call: Call
    held: Decimal
    created_at: datetime
    expires_at: datetime
    state: str = "open"
    closed_at: datetime | None = None
    reason: str | None = None


@dataclass(frozen=True)
class Usage:
    """One row of the ledger."""

    call: Call
    cost: Decimal
    tokens: tuple[int, int]
    created_at: datetime
    settled_at: datetime
    settlement: str
    unheld: Decimal

    def order(self) -> tuple[Any, ...]:
        """Return by what usages are sorted that have no name."""
        return (self.created_at, self.settled_at, self.cost, repr(self.call), self.tokens)


@dataclass(frozen=True)
class Budget:
    """A cap; `limit` is None where nothing is capped."""

    id: UUID
    scope: Scope
    window: str
    start: datetime | None
    end: datetime | None
    limit: Decimal | None = None
    hard: bool = True
    slots: int = 1
    frozen: bool = False
    excess: Decimal = NOTHING

    @property
    def key(self) -> tuple[Scope, str]:
        return self.scope, self.window

    @property
    def cap(self) -> Decimal | None:
        """Return up to how much it grants; None where it never refuses."""
        return self.limit if self.hard else None

    def is_over(self, instant: datetime) -> bool:
        return self.end is not None and instant >= self.end


@dataclass(frozen=True)
class Figures:
    """The counters of a budget: `remaining` is None where it never refuses."""

    settled: Decimal
    held: Decimal
    remaining: Decimal | None


@dataclass(frozen=True)
class Request:
    """What a request id is bound to; the model need not know the id of a usage without a hold."""

    content: Any
    subject: UUID | None
    bound_at: datetime


@dataclass
class Model:
    """One organization. `at_once`: what is told happened beside other calls, in an unknown order.

    Overdue holds may then have been reclaimed by one of them before another came to look.
    """

    organization: UUID
    zone: str
    now: datetime
    at_once: bool = False
    budgets: dict[UUID, Budget] = field(default_factory=dict)
    holds: dict[UUID, Hold] = field(default_factory=dict)
    settled: dict[UUID, Usage] = field(default_factory=dict)  # by the id of their hold
    recorded: list[Usage] = field(default_factory=list)  # without a hold
    requests: dict[tuple[str, str], Request] = field(default_factory=dict)
    sent: list[Any] = field(default_factory=list)  # every request with an id, to be sent again

    @classmethod
    def opened(cls, organization: UUID, zone: str, now: datetime) -> "Model":
        """Return an organization with its workflows, as they are born: counted, not capped."""
        model = cls(organization, zone, now)
        workflows = {identify(organization, name): ("workflow", name) for name in WORKFLOWS}
        for budget, scope in {organization: ORGANIZATION, **workflows}.items():
            model.budgets[budget] = Budget(budget, scope, "total", None, None)
        return model

    def copy(self) -> "Model":
        """Return a copy whose history goes on by itself; what was sent is remembered by both."""
        other = copy(self)
        other.budgets, other.holds = dict(self.budgets), dict(self.holds)
        other.settled, other.recorded = dict(self.settled), list(self.recorded)
        other.requests = dict(self.requests)
        return other

    # What is there

    @property
    def frozen(self) -> bool:
        """Return whether the organization itself is frozen."""
        return self.budgets[self.organization].frozen

    def usages(self) -> Iterable[Usage]:
        yield from self.settled.values()
        yield from self.recorded

    def is_overdue(self, hold: Hold) -> bool:
        """Return whether the money of a hold is free for whoever asks."""
        return hold.state == "open" and hold.expires_at <= self.now

    def is_born(self, budget: Budget) -> bool:
        """Return whether a budget exists from birth, and so stays."""
        return budget.window == "total" and (
            budget.id == self.organization
            or (
                budget.scope[0] == "workflow"
                and budget.id == identify(self.organization, budget.scope[1])
            )
        )

    def covering(self, call: Call) -> list[Budget]:
        """Return the budgets a call touches."""
        scopes = scopes_of(call)
        return [budget for budget in self.budgets.values() if budget.scope in scopes]

    def budget_of(self, scope: Scope, window: str) -> Budget | None:
        found = (b for b in self.budgets.values() if b.key == (scope, window))
        return next(found, None)

    def hold_at(self, place: int | None) -> UUID:
        """Return a hold by its place, open ones and newer ones first; None for an unknown one."""
        unknown = identify(self.organization, "no hold")
        if place is None:
            return unknown
        newest = list(reversed(self.holds))
        ranked = [i for i in newest if self.holds[i].state == "open"]
        ranked += [i for i in newest if self.holds[i].state != "open"]
        ranked += list(reversed(self.settled))
        return ranked[place % len(ranked)] if ranked else unknown

    def open_requests(self) -> list[tuple[UUID, Any]]:
        """Return the open holds that have a request id, each with what was asked."""
        return [
            (request.subject, request.content)
            for (operation, _), request in self.requests.items()
            if operation == "authorize"
            and request.subject in self.holds
            and self.holds[request.subject].state == "open"
        ]

    # Time

    def window_at(self, window: str, instant: datetime) -> Window:
        """Return the window that an instant falls into."""
        return (None, None) if window == "total" else window_of(window, instant, self.zone)

    def window(self, budget: Budget, instant: datetime) -> Window:
        """Return the window of a budget that an instant falls into."""
        return self.window_at(budget.window, instant)

    def time_of(self, call: Call) -> datetime:
        """Return the time a call counts to: windows only move forward."""
        starts = [b.start for b in self.covering(call) if b.start is not None]
        return max([self.now, *starts])

    def present_time(self) -> datetime:
        """Return the time new windows are opened at: now, or the latest that was seen."""
        seen = [hold.created_at for hold in self.holds.values()]
        return max([self.now, *seen, *(usage.created_at for usage in self.usages())])

    def roll(self, budget: Budget, instant: datetime) -> Budget:
        """Open the window of an instant where that of a budget is over."""
        if budget.is_over(instant):
            start, end = self.window(budget, instant)
            budget = replace(budget, start=start, end=end)
            self.budgets[budget.id] = budget
        return budget

    # Money

    def use(self, scope: Scope, window: Window, spare: UUID | None = None) -> Decimal:
        """Return what is settled and held; what overdue holds keep is free, but that of `spare`."""
        kept = [
            hold.held
            for key, hold in self.holds.items()
            if hold.state == "open"
            and (key == spare or not self.is_overdue(hold))
            and _counts(hold, scope, window)
        ]
        return sum(kept, self.settled_in(scope, window))

    def settled_in(self, scope: Scope, window: Window) -> Decimal:
        costs = (usage.cost for usage in self.usages() if _counts(usage, scope, window))
        return sum(costs, NOTHING)

    def held_in(self, scope: Scope, window: Window) -> Decimal:
        """Return what open holds keep, overdue or not."""
        return sum(
            (
                hold.held
                for hold in self.holds.values()
                if hold.state == "open" and _counts(hold, scope, window)
            ),
            NOTHING,
        )

    def figures(self, budget: Budget) -> Figures:
        """Return what the counters of a budget must be."""
        window = budget.start, budget.end
        settled = self.settled_in(budget.scope, window)
        held = self.held_in(budget.scope, window)
        return Figures(settled, held, None if budget.cap is None else budget.cap - settled - held)

    def left(self, call: Call, instant: datetime, spare: UUID | None = None) -> dict[UUID, Decimal]:
        """Return what each cap that covers a call has left in the window of an instant."""
        return {
            budget.id: budget.cap - self.use(budget.scope, self.window(budget, instant), spare)
            for budget in self.covering(call)
            if budget.cap is not None
        }

    # What happens to holds

    def reclaim(self, key: UUID) -> None:
        """Let an overdue hold be expired by whoever needed its money."""
        self.holds[key] = replace(self.holds[key], state="expired", closed_at=self.now)

    def sweep(self) -> None:
        """Forget what need not be kept."""
        for key, hold in list(self.holds.items()):
            if hold.closed_at is not None and hold.closed_at < self.now - timedelta(days=45):
                del self.holds[key]
        for name, request in list(self.requests.items()):
            if request.bound_at < self.now - timedelta(days=400):
                del self.requests[name]


def _counts(spend: Hold | Usage, scope: Scope, window: Window) -> bool:
    start, end = window
    return (
        scope in scopes_of(spend.call)
        and (start is None or spend.created_at >= start)
        and (end is None or spend.created_at < end)
    )
