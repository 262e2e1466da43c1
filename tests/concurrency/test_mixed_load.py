"""Everything at once, for a minute: no deadlock, no unexpected code, and the books always agree."""

import random
from collections import Counter
from collections.abc import Callable, Iterator
from decimal import Decimal
from time import monotonic
from typing import Any
from uuid import UUID, uuid5

import psycopg
import pytest
from psycopg.types.json import Jsonb

from tests.support import races
from tests.support.races import Connection, Tenant
from tests.support.servers import Database, Server

ROUND = 20.0  # seconds; each begins with new organizations
CALLERS = 15
NAMES = UUID("00000000-0000-0000-0000-00000000000a")
USERS = [uuid5(NAMES, f"user {number}") for number in range(3)]
RUNS = [uuid5(NAMES, f"run {number}") for number in range(4)]
MODELS = ["small", "large"]
ALIASES = ["small-2026", "maker/large"]
TEAMS = ["red", "blue"]
EXPIRIES = [races.AT_ONCE, "20 milliseconds", "10 minutes", "1 hour"]


@pytest.fixture(scope="module", name="database")
def shared_database(server: Server, template: str) -> Iterator[Database]:
    """One database for all rounds."""
    with server.clone(template) as database, races.warm(database):
        with races.session(database) as connection:
            for model in MODELS:
                set_price(connection, model, 20_000)
            connection.execute("select pricing.set_model_name('maker', 'small-2026', 'small')")
            connection.commit()
        yield database


def set_price(connection: Connection, model: str, input_rate: int) -> None:
    """Set what a model of this load costs: cents a token rather than dollars a million."""
    rates = {"input_tokens": input_rate, "output_tokens": 2 * input_rate}
    races.call(connection, "pricing.set_price", provider="maker", model=model, rates=Jsonb(rates))


def cents(dice: random.Random, most: int) -> str:
    return str(Decimal(dice.randint(1, most)).scaleb(-2))


# Budgets that callers meet: scope, window, and which things of that scope there are.
SCOPES: list[tuple[str, str, list[str]]] = [
    ("organization", "month", [""]),
    ("organization", "total", [""]),
    ("workflow", "total", [""]),
    ("user", "day", [str(user) for user in USERS]),
    ("run", "total", [str(run) for run in RUNS]),
    ("model", "hour", MODELS),
    ("tag", "week", [f"team={team}" for team in TEAMS]),
]


def open_tenant(database: Database, slots: int) -> Tenant:
    """Open an organization with budgets of all scopes."""
    tenant = races.open_tenant(database)
    with races.session(database) as connection:
        races.stripe(connection, tenant, slots)
        for scope, window, names in SCOPES:
            for name in names:
                races.set_budget(connection, tenant, scope, window, "20.00", name, slots)
    return tenant


class Caller:
    """One connection that does one thing after another to organizations that others use too.

    Attributes:
        codes: How often each thing ended with each code.
    """

    def __init__(
        self, connection: Connection, tenants: list[Tenant], holds: list[UUID], seed: str
    ) -> None:
        self.connection = connection
        self.codes: Counter[tuple[str, str]] = Counter()
        self._tenants = tenants
        self._holds = holds
        self._dice = random.Random(seed)

    def act(self) -> None:
        """Do one thing, and commit it."""
        names = list(THINGS)
        (name,) = self._dice.choices(names, [THINGS[each][1] for each in names])
        try:
            code = THINGS[name][0](self, self._dice.choice(self._tenants))
            self.connection.commit()
        except psycopg.Error as error:
            self.connection.rollback()
            code = error.sqlstate
        self.codes[name, code or "00000"] += 1

    # What follows returns the code of an item that was refused, if any.

    def ask(self, tenant: Tenant) -> None:
        request, arguments = self._question()
        decision = races.authorize(self.connection, tenant, request=request, **arguments)
        self._remember(decision)

    def ask_in_batch(self, tenant: Tenant) -> str | None:
        items = []
        for _ in range(self._dice.randint(1, 8)):
            request, arguments = self._question()
            arguments = {name: str(value) for name, value in arguments.items()}
            arguments["tags"] = {"team": self._dice.choice(TEAMS)}
            items.append(races.ask_item(tenant, request=request, **arguments))
        answers = races.authorize_batch(self.connection, tenant, items)
        for answer in answers:
            self._remember(answer)
        return self._worst(answers)

    def ask_and_think_better_of_it(self, tenant: Tenant) -> None:
        request, arguments = self._question()
        races.authorize(self.connection, tenant, request=request, **arguments)
        self.connection.rollback()

    def ask_by_tokens(self, tenant: Tenant) -> None:
        decision = races.call(
            self.connection,
            "public.authorize_spend",
            organization_id=tenant.organization,
            workflow_id=tenant.workflow,
            user_id=self._dice.choice(USERS),
            model=self._dice.choice(MODELS + ALIASES),
            input_tokens=self._dice.randint(1, 5),
            max_output_tokens=self._dice.randint(0, 5),
            tags=Jsonb({"team": self._dice.choice(TEAMS)}),
            expires_in=self._dice.choice(EXPIRIES),
            allow_partial=self._dice.random() < 0.3,
        )
        self._remember(decision)

    def settle_by_usage(self, _: Tenant) -> None:
        hold = self._some_hold()
        usage = {"input_tokens": hold.int % 5, "reasoning_tokens": hold.int % 7}
        races.call(self.connection, "public.settle_spend", hold_id=hold, usage=Jsonb(usage))

    def change_price(self, _: Tenant) -> None:
        set_price(self.connection, self._dice.choice(MODELS), self._dice.randint(10_000, 30_000))

    def settle(self, _: Tenant) -> None:
        hold = self._some_hold()
        request = f"settle {hold}" if hold.int % 2 else None
        races.settle(self.connection, hold, self._cost(hold), request)

    def settle_in_batch(self, tenant: Tenant) -> str | None:
        holds = {self._some_hold() for _ in range(self._dice.randint(1, 8))}
        items = [races.settle_item(hold, self._cost(hold)) for hold in holds]
        return self._worst(races.settle_batch(self.connection, tenant, items))

    def release(self, _: Tenant) -> None:
        races.release(self.connection, self._some_hold())

    def extend(self, _: Tenant) -> None:
        hold = self._some_hold()
        expires_in = self._dice.choice([None, "10 minutes"])
        request = f"extend {hold} {expires_in}" if self._dice.random() < 0.5 else None
        cost = str(Decimal(hold.int % 30 + 1).scaleb(-2))
        races.extend(self.connection, hold, cost, expires_in, request)

    def sweep(self, tenant: Tenant) -> None:
        races.expire(self.connection, tenant, self._dice.choice([1, 5, 1000]))

    def record(self, tenant: Tenant) -> None:
        number = self._dice.randint(0, 500)
        model = MODELS[number % 2]
        races.record(self.connection, tenant, "0.05", f"record {number}", model)

    def check_and_record(self, tenant: Tenant) -> None:
        if races.check(self.connection, tenant, "0.05", "1000"):
            races.record(self.connection, tenant, "0.05")

    def estimate(self, tenant: Tenant) -> None:
        races.call(
            self.connection,
            "public.estimate_spend",
            organization_id=tenant.organization,
            workflow_id=tenant.workflow,
            estimated_cost=Decimal("0.10"),
        )

    def open_workflow(self, tenant: Tenant) -> None:
        workflow = races.open_workflow(self.connection, tenant.organization)
        self.connection.commit()
        races.authorize(self.connection, Tenant(tenant.organization, workflow), "0.10")

    def set_budget(self, tenant: Tenant) -> None:
        """Leave some dollars, or cut below what is used."""
        scope, window, name = self._some_budget()
        slot = races.slot_in(self.connection, tenant, scope, window, name)
        used = slot.used if slot else Decimal(0)
        races.set_budget(
            self.connection,
            tenant,
            scope,
            window,
            str(max(used + self._dice.randint(-1, 8), Decimal(0))),
            name,
            self._dice.choice([None, None, 1, 2, 8]),
            self._dice.choice(["hard", "hard", "hard", "soft"]),
        )

    def change_budget(self, tenant: Tenant) -> None:
        budget = races.one(
            self.connection,
            "select id from metering.budgets where organization_id = %s order by random() limit 1",
            tenant.organization,
        )
        scope, window, name = self._some_budget()
        scope_id = str(tenant.workflow) if scope == "workflow" else name
        changes: list[dict[str, object]] = [
            {"slots": self._dice.randint(1, 16)},
            {"window": self._dice.choice(["hour", "day", "week", "month", "total"])},
            {"scope": scope, "scope_id": scope_id, "window": window},
        ]
        races.change_budget(self.connection, tenant, budget, **self._dice.choice(changes))

    def remove_budget(self, tenant: Tenant) -> None:
        races.remove_budget(self.connection, tenant, *self._some_budget())

    def freeze(self, tenant: Tenant) -> None:
        scope, _, name = self._some_budget()
        scope_id = str(tenant.workflow) if scope == "workflow" else name
        races.freeze_scope(self.connection, tenant, scope, scope_id)

    def unfreeze_all(self, tenant: Tenant) -> None:
        for scope, name in self.connection.execute(
            "select scope, scope_id from metering.budgets"
            " where organization_id = %s and frozen_at is not null",
            (tenant.organization,),
        ).fetchall():
            races.unfreeze_scope(self.connection, tenant, scope, name)
            self.connection.commit()

    def _question(self) -> tuple[str | None, dict[str, Any]]:
        """Draw a request. Those with an id ask for the same whenever they are drawn again."""
        number = self._dice.randint(0, 400)
        request = f"request {number}" if number < 200 else None
        dice = self._dice if request is None else random.Random(number)
        arguments: dict[str, Any] = {
            "cost": cents(dice, 60),
            "user_id": dice.choice(USERS),
            "run_id": dice.choice(RUNS),
            "model": dice.choice(MODELS),
            "expires_in": dice.choice(EXPIRIES),
        }
        if dice.random() < 0.2:
            arguments |= {"allow_partial": True, "minimum": Decimal("0.01")}
        return request, arguments

    def _remember(self, decision: Any) -> None:
        # A tenth is lost: nobody will end those.
        if decision.hold_id is not None and self._dice.random() < 0.9:
            self._holds.append(decision.hold_id)

    def _some_hold(self) -> UUID:
        """Draw one of the last holds of anybody, ended or not; an unknown one if there is none."""
        return self._dice.choice(self._holds[-200:] or [NAMES])

    def _cost(self, hold: UUID) -> str:
        """What a hold cost: mostly the same whoever says so."""
        if self._dice.random() < 0.05:
            return cents(self._dice, 100)
        return str(Decimal(hold.int % 70).scaleb(-2))

    def _some_budget(self) -> tuple[str, str, str]:
        scope, window, names = self._dice.choice(SCOPES)
        return scope, window, self._dice.choice(names)

    @staticmethod
    def _worst(answers: list[Any]) -> str | None:
        return max((answer.error_code for answer in answers if answer.error_code), default=None)


# What is done, how often, and which refusals are to be expected.
THINGS: dict[str, tuple[Callable[[Caller, Tenant], str | None], int, set[str]]] = {
    "ask": (Caller.ask, 30, {"TS409"}),
    "ask in batch": (Caller.ask_in_batch, 4, {"TS409"}),
    "ask and think better of it": (Caller.ask_and_think_better_of_it, 3, {"TS409"}),
    "ask by tokens": (Caller.ask_by_tokens, 15, set()),
    "settle by usage": (Caller.settle_by_usage, 10, {"TS404", "TS409"}),
    "change price": (Caller.change_price, 1, set()),
    "settle": (Caller.settle, 20, {"TS404", "TS409"}),
    "settle in batch": (Caller.settle_in_batch, 4, {"TS404", "TS409"}),
    "release": (Caller.release, 8, {"TS404", "TS410"}),
    "extend": (Caller.extend, 6, {"TS402", "TS404", "TS409", "TS410", "TS423"}),
    "sweep": (Caller.sweep, 4, set()),
    "record": (Caller.record, 5, {"TS409"}),
    "check and record": (Caller.check_and_record, 3, set()),
    "estimate": (Caller.estimate, 2, set()),
    "open workflow": (Caller.open_workflow, 1, set()),
    "set budget": (Caller.set_budget, 5, set()),
    "change budget": (Caller.change_budget, 2, {"22023", "TS404"}),
    "remove budget": (Caller.remove_budget, 1, {"22023", "TS404"}),
    "freeze": (Caller.freeze, 1, set()),
    "unfreeze all": (Caller.unfreeze_all, 3, {"TS404"}),
}


def audit_until(connection: Connection, tenants: list[Tenant], deadline: float) -> int:
    """Verify the books again and again while others spend; returns how often."""
    rounds = 0
    while monotonic() < deadline:
        for tenant in tenants:
            findings = races.call_all(
                connection, "audit.verify_integrity", organization_id=tenant.organization
            )
            connection.commit()
            assert findings == []
        rounds += 1
    return rounds


def run_round(database: Database, number: int) -> Counter[tuple[str, str]]:
    """Let callers act on three organizations for a while; returns what came of it."""
    tenants = [open_tenant(database, slots) for slots in (1, 4, 16)]
    holds: list[UUID] = []
    deadline = monotonic() + ROUND

    def work(connection: Connection, index: int) -> Counter[tuple[str, str]]:
        if index == 0:
            assert audit_until(connection, tenants, deadline) > 1
            return Counter()
        caller = Caller(connection, tenants, holds, f"{number} {index}")
        while monotonic() < deadline:
            caller.act()
        return caller.codes

    return sum(races.together(database, CALLERS + 1, work), Counter())


@pytest.mark.timeout(900)
def test_mixed_load(database: Database, long: bool, brief: bool) -> None:
    """A minute of it; ten with --long, a third with --brief."""
    codes: Counter[tuple[str, str]] = Counter()
    for number in range(30 if long else 1 if brief else 3):
        codes += run_round(database, number)

    unexpected = {
        (name, code): times
        for (name, code), times in codes.items()
        if code != "00000" and code not in THINGS[name][2]
    }
    assert unexpected == {}
    assert {name for name, code in codes if code == "00000"} == set(THINGS)
