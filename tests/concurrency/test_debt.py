"""What passes a cap becomes debt: its slots close, returned money pays, only a gather reopens.

Spend is never refused: above its hold, late, or without one. So a cap can be passed; the sum of
what the slots have, less the debt, is what is left.
"""

from collections.abc import Callable, Iterator
from decimal import Decimal
from uuid import UUID

import pytest

from tests.support import races
from tests.support.races import Connection, Slot, Tenant
from tests.support.servers import Database, Server

ENDS = pytest.mark.parametrize("first_commits", [True, False], ids=["commit", "rollback"])
SLOTS = pytest.mark.parametrize("slots", [1, 16], ids=["unstriped", "striped"])
NOTHING = Decimal(0)


@pytest.fixture(scope="module", name="database")
def shared_database(server: Server, template: str) -> Iterator[Database]:
    """One database for all tests here: each has an organization of its own."""
    with server.clone(template) as database, races.warm(database):
        yield database


def open_capped(database: Database, limit: str = "1.00", slots: int = 1) -> Tenant:
    """Open a tenant with a cap on its workflow."""
    tenant = races.open_tenant(database)
    with races.session(database) as connection:
        races.stripe(connection, tenant, slots)
        races.set_workflow_cap(connection, tenant, limit)
    return tenant


def open_in_debt(database: Database, slots: int) -> tuple[Tenant, UUID]:
    """Open a tenant whose dollar became a hold of 0.60 and spend of 0.90."""
    tenant = open_capped(database, "1.00", slots)
    with races.session(database) as connection:
        kept: UUID = races.authorize(connection, tenant, "0.60").hold_id
        spent = races.authorize(connection, tenant, "0.40").hold_id
        usage = races.settle(connection, spent, "0.90")
    assert (usage.settlement, usage.unheld_usd) == ("on_hold", Decimal("0.50"))
    return tenant, kept


def closed_slots(database: Database, tenant: Tenant) -> int:
    with races.session(database) as connection:
        number: int = races.one(
            connection,
            "select count(debt_usd) from metering.budget_slots where budget_id = %s",
            tenant.workflow,
        )
    return number


ask = races.committed(races.authorize)


# A release pays, a gather reopens.


@SLOTS
def test_a_release_pays_the_debt_and_only_a_gather_reopens(database: Database, slots: int) -> None:
    tenant, kept = open_in_debt(database, slots)
    assert closed_slots(database, tenant) == slots
    with races.session(database) as connection:
        assert ask(connection, tenant, "0.01").decision == "denied"
        races.release(connection, kept)
        connection.commit()
        # A dime is left, and still every slot is closed: 0.60 came back to one of them.
        slot = races.workflow_slot(database, tenant)
        assert (slot.available, slot.debt) == (Decimal("0.60"), Decimal("0.50"))
        assert closed_slots(database, tenant) == slots
        assert ask(connection, tenant, "0.11").decision == "denied"
        assert closed_slots(database, tenant) == slots
        assert ask(connection, tenant, "0.04").decision == "granted"
    assert closed_slots(database, tenant) == 0
    assert races.workflow_slot(database, tenant) == Slot(
        Decimal("0.90"), Decimal("0.06"), held=Decimal("0.04")
    )


@SLOTS
@ENDS
def test_a_caller_in_debt_does_not_wait_for_the_release_that_pays(
    database: Database, slots: int, first_commits: bool
) -> None:
    tenant, kept = open_in_debt(database, slots)
    with races.rivals(database) as (payer, caller):
        payer.do(races.release, kept)
        assert caller.do(ask, tenant, "0.10").decision == "denied"
        payer.end(first_commits)
        decision = caller.do(ask, tenant, "0.10").decision
    assert decision == ("granted" if first_commits else "denied")


@SLOTS
@ENDS
def test_of_two_callers_after_a_release_one_gets_what_it_left(
    database: Database, slots: int, first_commits: bool
) -> None:
    tenant, kept = open_in_debt(database, slots)
    with races.rivals(database) as (first, second):
        first.do(races.committed(races.release), kept)
        assert first.do(races.authorize, tenant, "0.10").decision == "granted"
        waiting = second.start(ask, tenant, "0.10")
        second.wait_until_blocked(waiting)
        first.end(first_commits)
        decision = waiting.result(races.PATIENCE)
    assert decision.decision == ("denied" if first_commits else "granted")
    assert races.workflow_slot(database, tenant) == Slot(
        Decimal("0.90"), NOTHING, held=Decimal("0.10")
    )


@SLOTS
def test_what_releases_leave_of_a_debt_is_granted_to_the_last_cent(
    database: Database, slots: int
) -> None:
    """Holds of nine dollars come back under load; five are owed, so four are granted."""
    tenant = open_capped(database, "10.00", slots)
    with races.session(database) as connection:
        items = [races.ask_item(tenant, "0.25")] * 36
        answers = races.authorize_batch(connection, tenant, items)
        races.record(connection, tenant, "6.00")
    holds = [answer.hold_id for answer in answers]
    assert races.workflow_slot(database, tenant).debt == Decimal("5.00")

    def work(connection: Connection, index: int) -> int:
        if index < 4:
            for hold in holds[index::4]:
                races.committed(races.release)(connection, hold)
            return 0
        return sum(ask(connection, tenant, "0.05").decision == "granted" for _ in range(12))

    granted = sum(races.together(database, 16, work))

    with races.session(database) as connection:
        while ask(connection, tenant, "0.05").decision == "granted":
            granted += 1
    assert granted == 80
    assert races.workflow_slot(database, tenant) == Slot(
        Decimal("6.00"), NOTHING, held=Decimal("4.00")
    )


# What else ends a debt.


@SLOTS
@ENDS
def test_a_caller_decides_by_the_limit_that_ends_the_debt(
    database: Database, slots: int, first_commits: bool
) -> None:
    tenant, _ = open_in_debt(database, slots)
    with races.rivals(database) as (manager, caller):
        manager.do(races.set_workflow_cap, tenant, "1.60")
        assert caller.do(ask, tenant, "0.10").decision == "denied"
        manager.end(first_commits)
        decision = caller.do(ask, tenant, "0.10").decision
    assert decision == ("granted" if first_commits else "denied")


@SLOTS
def test_a_debt_is_paid_by_holds_nobody_ended(database: Database, slots: int) -> None:
    tenant, kept = open_in_debt(database, slots)
    races.let_expire(database, kept)
    with races.rivals(database) as (first, second):
        assert first.do(races.authorize, tenant, "0.06").decision == "granted"
        waiting = second.start(ask, tenant, "0.06")
        second.wait_until_blocked(waiting)
        first.commit()
        assert waiting.result(races.PATIENCE).decision == "denied"
    assert races.hold_states(database, tenant)[kept] == "expired"


# Into debt, with slots nearly empty.


def settle_above(connection: Connection, tenant: Tenant, hold: UUID) -> None:
    races.settle(connection, hold, "0.30")


def record(connection: Connection, tenant: Tenant, hold: UUID) -> None:
    races.record(connection, tenant, "0.30")


Spend = Callable[[Connection, Tenant, UUID], None]
SPENDS: list[Spend] = [settle_above, record]


def nearly_empty(database: Database, slots: int) -> tuple[Tenant, list[UUID]]:
    """Open a tenant of whose dollar two holds of a dime and 0.16 in small slices are left."""
    tenant = open_capped(database, "1.00", slots)
    with races.session(database) as connection:
        holds = [races.authorize(connection, tenant, "0.10").hold_id for _ in range(2)]
        races.settle(connection, races.authorize(connection, tenant, "0.64").hold_id, "0.64")
    with races.session(database) as connection:
        races.stripe(connection, tenant, slots)
    return tenant, holds


@SLOTS
@ENDS
@pytest.mark.parametrize("first_spend", SPENDS)
@pytest.mark.parametrize("second_spend", SPENDS)
def test_two_spend_above_what_is_left(
    database: Database,
    slots: int,
    first_spend: Spend,
    second_spend: Spend,
    first_commits: bool,
) -> None:
    tenant, holds = nearly_empty(database, slots)
    with races.rivals(database) as (first, second):
        first.do(first_spend, tenant, holds[0])
        waiting = second.start(races.code_of(second_spend), tenant, holds[1])
        second.wait_until_blocked(waiting)
        first.end(first_commits)
        assert waiting.result(races.PATIENCE) == "00000"
    spends = [second_spend, first_spend] if first_commits else [second_spend]
    settled = Decimal("0.64") + Decimal("0.30") * len(spends)
    held = Decimal("0.10") * (2 - spends.count(settle_above))
    left = 1 - settled - held
    assert races.workflow_slot(database, tenant) == Slot(
        settled, max(left, NOTHING), -left if left < 0 else None, held
    )


@SLOTS
def test_settlements_above_their_holds_beside_callers_who_want_the_rest(
    database: Database, slots: int
) -> None:
    """Grants stop where spend that cannot be refused has passed the cap; no slot hides money."""
    tenant = open_capped(database, "10.00", slots)

    def work(connection: Connection, index: int) -> Decimal:
        spent = NOTHING
        while (decision := ask(connection, tenant, "0.10")).decision == "granted":
            cost = "0.27" if index % 3 == 0 else "0.08"
            races.committed(races.settle)(connection, decision.hold_id, cost)
            spent += Decimal(cost)
        assert Decimal(decision.remaining_usd) < Decimal("0.10")
        return spent

    spent = sum(races.together(database, 16, work), NOTHING)

    left = 10 - spent
    assert left < Decimal("0.10")
    slot = races.workflow_slot(database, tenant)
    assert (slot.settled, slot.held) == (spent, NOTHING)
    assert (slot.available or NOTHING) - (slot.debt or NOTHING) == left
