"""Caps are exact: what fits is granted to the last cent, and not a cent more."""

import random
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from decimal import Decimal
from threading import Event
from typing import Any
from uuid import UUID

import pytest

from tests.support import races
from tests.support.races import Connection, Slot, Tenant
from tests.support.servers import Database, Server

CALLERS = 1000
CONNECTIONS = 90  # what a server with 100 has to spare
HAMMERS = 32
NOON = "2026-11-15 12:00Z"  # far from the end of any window
USER = UUID("00000000-0000-0000-0000-000000000001")
SLOTS = pytest.mark.parametrize("slots", [1, 16], ids=["unstriped", "striped"])
SCOPES = [("organization", "month", ""), ("workflow", "total", ""), ("user", "day", str(USER))]


@pytest.fixture(scope="module", name="database")
def shared_database(server: Server, template: str) -> Iterator[Database]:
    """One database for all tests here: each has an organization of its own."""
    with server.clone(template) as database, races.warm(database):
        races.set_clock(database, NOON)
        yield database


def open_capped(database: Database, limit: str, slots: int) -> Tenant:
    """Open a tenant whose calls three budgets cap alike."""
    tenant = races.open_tenant(database)
    with races.session(database) as connection:
        races.stripe(connection, tenant, slots)
        for scope, window, scope_id in SCOPES:
            races.set_budget(connection, tenant, scope, window, limit, scope_id, slots)
    return tenant


def ask(connection: Connection, tenant: Tenant, cost: Decimal, **named: object) -> Any:
    """Ask as the capped user, in a transaction of its own."""
    return races.committed(races.authorize)(connection, tenant, str(cost), user_id=USER, **named)


def assert_refused_for_lack(decision: Any, cost: Decimal) -> None:
    """A refusal is true when at its snapshot the money was not there."""
    assert (decision.decision, decision.reason) == ("denied", "budget_exceeded")
    assert 0 <= Decimal(decision.remaining_usd) < cost


def assert_each_cap_is(database: Database, tenant: Tenant, expected: Slot) -> None:
    for scope, window, scope_id in SCOPES:
        assert races.slot_of(database, tenant, scope, window, scope_id) == expected


@contextmanager
def watched(database: Database, tenant: Tenant) -> Iterator[list[tuple[Decimal, Decimal]]]:
    """Note at commit after commit the most any cap has granted, and the least it has left."""
    seen: list[tuple[Decimal, Decimal]] = []
    over = Event()
    figures = (
        "select max(f.used), min(f.remaining) from ("
        "select sum(s.settled_usd + s.held_usd) as used, sum(s.available_usd) as remaining"
        " from metering.budgets as b join metering.budget_slots as s"
        " on s.organization_id = b.organization_id and s.budget_id = b.id"
        " where b.organization_id = %s and b.limit_usd is not null group by b.id) as f"
    )

    def watch() -> None:
        with races.session(database) as connection:
            connection.autocommit = True
            while not over.is_set():
                seen.extend(connection.execute(figures, (tenant.organization,)).fetchall())

    with ThreadPoolExecutor(1) as thread:
        watching = thread.submit(watch)
        try:
            yield seen
        finally:
            over.set()
            watching.result(races.PATIENCE)


@SLOTS
def test_1000_callers_of_three_stacked_caps(database: Database, slots: int, long: bool) -> None:
    tenant = open_capped(database, "5.00", slots)
    connections = CALLERS if long else CONNECTIONS
    cost = Decimal("0.10")

    def work(connection: Connection, index: int) -> list[Any]:
        return [ask(connection, tenant, cost) for _ in range(index, CALLERS, connections)]

    answers = races.together(database, connections, work, patience=200)

    decisions = [decision for each in answers for decision in each]
    assert len(decisions) == CALLERS
    refused = [decision for decision in decisions if decision.decision != "granted"]
    assert len(refused) == CALLERS - 50
    for decision in refused:
        assert_refused_for_lack(decision, cost)
    assert_each_cap_is(database, tenant, Slot(Decimal(0), Decimal(0), held=Decimal("5.00")))


def exhaust(
    connection: Connection, tenant: Tenant, sizes: list[Decimal], dice: random.Random
) -> Decimal:
    """Ask for random sizes until not even the smallest fits; return what was granted.

    A refused size is not asked for again: nothing comes back here, so it would be refused again.
    """
    granted = Decimal(0)
    while sizes:
        cost = dice.choice(sizes)
        decision = ask(connection, tenant, cost)
        if decision.decision == "granted":
            assert Decimal(decision.held_usd) == cost
            granted += cost
        else:
            assert_refused_for_lack(decision, cost)
            sizes = [size for size in sizes if size < cost]
    return granted


CENTS = [Decimal(cents).scaleb(-2) for cents in range(1, 101)]


@SLOTS
@pytest.mark.parametrize(
    ("limit", "sizes"),
    [
        ("700", [Decimal(1)]),
        ("1500", [Decimal(1), Decimal(2), Decimal(5)]),
        ("250.37", CENTS),
    ],
    ids=["units", "1 2 5", "cents"],
)
def test_hammered_to_exhaustion(
    database: Database, slots: int, limit: str, sizes: list[Decimal]
) -> None:
    tenant = open_capped(database, limit, slots)

    def work(connection: Connection, index: int) -> Decimal:
        return exhaust(connection, tenant, sizes, random.Random(index))

    with watched(database, tenant) as seen:
        granted = races.together(database, HAMMERS, work)

    # Each caller went on until the smallest size did not fit: what is left is less than that.
    assert sum(granted) == Decimal(limit)
    assert_each_cap_is(database, tenant, Slot(Decimal(0), Decimal(0), held=Decimal(limit)))
    assert len(set(seen)) > 2
    assert max(used for used, _ in seen) <= Decimal(limit)
    assert min(remaining for _, remaining in seen) >= 0


@SLOTS
def test_partial_grants_take_the_last_cent(database: Database, slots: int) -> None:
    tenant = open_capped(database, "100.03", slots)
    whole, least = Decimal("3.00"), Decimal("0.01")

    def work(connection: Connection, _: int) -> list[Decimal]:
        granted: list[Decimal] = []
        while True:
            decision = ask(connection, tenant, whole, allow_partial=True, minimum=least)
            if decision.decision != "granted":
                assert_refused_for_lack(decision, least)
                return granted
            granted.append(Decimal(decision.held_usd))

    parts = sorted(part for each in races.together(database, HAMMERS, work) for part in each)

    assert parts == [Decimal("1.03"), *[whole] * 33]
    assert_each_cap_is(database, tenant, Slot(Decimal(0), Decimal(0), held=Decimal("100.03")))


@SLOTS
def test_money_that_comes_back_is_granted_to_the_last(database: Database, slots: int) -> None:
    """Calls cost less than they hold, or nothing: whoever is refused last was refused rightly."""
    tenant = open_capped(database, "20.00", slots)
    held, cost = Decimal("0.10"), Decimal("0.07")

    def work(connection: Connection, index: int) -> int:
        dice = random.Random(index)
        settled = 0
        while (decision := ask(connection, tenant, held)).decision == "granted":
            if dice.random() < 0.3:
                races.committed(races.release)(connection, decision.hold_id)
            else:
                races.committed(races.settle)(connection, decision.hold_id, str(cost))
                settled += 1
        assert_refused_for_lack(decision, held)
        return settled

    with watched(database, tenant) as seen:
        settled = sum(races.together(database, HAMMERS, work))

    spent = settled * cost
    assert 0 <= Decimal("20.00") - spent < held
    assert_each_cap_is(database, tenant, Slot(spent, Decimal("20.00") - spent))
    assert len(set(seen)) > 2
    assert max(used for used, _ in seen) <= Decimal("20.00")


@SLOTS
def test_money_of_forgotten_holds_is_granted_to_the_last(database: Database, slots: int) -> None:
    """All of it is kept by overdue holds; callers free it, a sweeper helps and hinders."""
    tenant = open_capped(database, "20.00", slots)
    with races.session(database) as connection:
        item = races.ask_item(tenant, "0.05", user_id=str(USER), expires_in=races.AT_ONCE)
        answers = races.authorize_batch(connection, tenant, [item] * 400)
    races.let_expire(database, *(answer.hold_id for answer in answers))

    def work(connection: Connection, index: int) -> Decimal:
        if index == 0:
            for _ in range(40):
                races.committed(races.expire)(connection, tenant, 10)
            return Decimal(0)
        return exhaust(connection, tenant, [Decimal("0.10")], random.Random(index))

    with watched(database, tenant) as seen:
        granted = races.together(database, HAMMERS, work)

    assert sum(granted) == Decimal("20.00")
    assert_each_cap_is(database, tenant, Slot(Decimal(0), Decimal(0), held=Decimal("20.00")))
    assert max(used for used, _ in seen) <= Decimal("20.00")
