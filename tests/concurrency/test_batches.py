"""Batches beside each other and beside single calls: one lock order, one answer per request."""

import random
from collections.abc import Iterator
from decimal import Decimal
from typing import Any
from uuid import UUID

import pytest

from tests.support import races
from tests.support.races import Connection, Slot, Tenant
from tests.support.servers import Database, Server

ENDS = pytest.mark.parametrize("first_commits", [True, False], ids=["commit", "rollback"])
SLOTS = pytest.mark.parametrize("slots", [1, 16], ids=["unstriped", "striped"])


@pytest.fixture(scope="module", name="database")
def shared_database(server: Server, template: str) -> Iterator[Database]:
    """One database for all tests here: each has an organization of its own."""
    with server.clone(template) as database, races.warm(database):
        yield database


def open_capped(database: Database, limit: str = "10.00", slots: int = 1) -> Tenant:
    """Open a tenant with a cap on its workflow."""
    tenant = races.open_tenant(database)
    with races.session(database) as connection:
        races.stripe(connection, tenant, slots)
        races.set_workflow_cap(connection, tenant, limit)
    return tenant


def ask_all(connection: Connection, tenant: Tenant, requests: list[str]) -> dict[str, Any]:
    """Ask for a dime per request in one batch, and commit; returns the answers by request."""
    items = [races.ask_item(tenant, "0.10", request) for request in requests]
    answers = races.committed(races.authorize_batch)(connection, tenant, items)
    return dict(zip(requests, answers, strict=True))


def ask_some(connection: Connection, tenant: Tenant, costs: list[str]) -> list[Any]:
    """Ask for each of these in one batch, and commit; returns the answers."""
    items = [races.ask_item(tenant, cost) for cost in costs]
    return races.committed(races.authorize_batch)(connection, tenant, items)


def begin_to_ask_all(connection: Connection, tenant: Tenant, requests: list[str]) -> list[UUID]:
    """Ask for a dime per request in one batch, without committing; returns the holds."""
    items = [races.ask_item(tenant, "0.10", request) for request in requests]
    return [answer.hold_id for answer in races.authorize_batch(connection, tenant, items)]


@SLOTS
@ENDS
def test_two_batches_with_the_same_requests_in_opposite_order(
    database: Database, slots: int, first_commits: bool
) -> None:
    tenant = open_capped(database, slots=slots)
    requests = ["request 1", "request 2", "request 3"]
    with races.rivals(database) as (first, second):
        holds = first.do(begin_to_ask_all, tenant, requests)
        waiting = second.start(ask_all, tenant, requests[::-1])
        second.wait_until_blocked(waiting)
        first.end(first_commits)
        answers = waiting.result(races.PATIENCE)
    theirs = [answers[request].hold_id for request in requests]
    assert {answer.decision for answer in answers.values()} == {"granted"}
    assert (theirs == holds) is first_commits
    assert set(races.hold_states(database, tenant)) == set(theirs)
    assert races.workflow_slot(database, tenant).held == Decimal("0.30")


@SLOTS
@ENDS
def test_a_batch_waits_for_a_single_call_with_one_of_its_requests(
    database: Database, slots: int, first_commits: bool
) -> None:
    tenant = open_capped(database, slots=slots)
    requests = ["request 1", "request 2", "request 3"]
    with races.rivals(database) as (single, batch):
        hold = single.do(races.authorize, tenant, "0.10", "request 2").hold_id
        waiting = batch.start(ask_all, tenant, requests)
        batch.wait_until_blocked(waiting)
        single.end(first_commits)
        answers = waiting.result(races.PATIENCE)
    assert (answers["request 2"].hold_id == hold) is first_commits
    assert races.workflow_slot(database, tenant).held == Decimal("0.30")


@SLOTS
@ENDS
def test_a_single_call_waits_for_a_batch_with_its_request(
    database: Database, slots: int, first_commits: bool
) -> None:
    tenant = open_capped(database, slots=slots)
    requests = ["request 1", "request 2", "request 3"]
    with races.rivals(database) as (batch, single):
        holds = batch.do(begin_to_ask_all, tenant, requests)
        waiting = single.start(races.committed(races.authorize), tenant, "0.10", "request 2")
        single.wait_until_blocked(waiting)
        batch.end(first_commits)
        assert (waiting.result(races.PATIENCE).hold_id == holds[1]) is first_commits
    held = "0.30" if first_commits else "0.10"
    assert races.workflow_slot(database, tenant).held == Decimal(held)


@SLOTS
def test_many_batches_with_the_same_requests_in_any_order(database: Database, slots: int) -> None:
    tenant = open_capped(database, slots=slots)
    requests = [f"request {number}" for number in range(20)]

    def work(connection: Connection, index: int) -> dict[str, Any]:
        mine = random.Random(index).sample(requests, len(requests))
        if index % 3:
            return ask_all(connection, tenant, mine)
        ask = races.committed(races.authorize)
        return {request: ask(connection, tenant, "0.10", request) for request in mine}

    answers = races.together(database, 12, work)

    for request in requests:
        assert len({each[request].hold_id for each in answers}) == 1
    assert {each[request].decision for each in answers for request in requests} == {"granted"}
    assert len(races.hold_states(database, tenant)) == 20
    assert races.workflow_slot(database, tenant).held == Decimal("2.00")


@SLOTS
def test_batches_and_single_calls_share_a_cap_to_the_last_cent(
    database: Database, slots: int
) -> None:
    tenant = open_capped(database, "5.03", slots)

    def work(connection: Connection, index: int) -> Decimal:
        granted = Decimal(0)
        for cents in (7, 3, 1):
            cost = Decimal(cents).scaleb(-2)
            while True:
                if index % 2:
                    answers = [races.committed(races.authorize)(connection, tenant, str(cost))]
                else:
                    items = [races.ask_item(tenant, str(cost))] * 6
                    answers = races.committed(races.authorize_batch)(connection, tenant, items)
                granted += cost * sum(answer.decision == "granted" for answer in answers)
                if answers[-1].decision == "denied":
                    break
        return granted

    granted = races.together(database, 12, work)

    assert sum(granted) == Decimal("5.03")
    assert races.workflow_slot(database, tenant) == Slot(
        Decimal(0), Decimal(0), held=Decimal("5.03")
    )


def test_a_batch_and_a_change_of_its_budgets_do_not_deadlock(database: Database) -> None:
    tenant = open_capped(database, slots=16)
    with races.rivals(database, 3) as (spender, manager, batch):
        spender.do(races.authorize, tenant, "0.10")
        change = manager.start(races.code_of(races.set_workflow_cap), tenant, "0.25")
        manager.wait_until_blocked(change)
        waiting = batch.start(ask_all, tenant, ["request 1", "request 2"])
        batch.wait_until_blocked(waiting)
        spender.commit()
        assert change.result(races.PATIENCE) == "00000"
        answers = waiting.result(races.PATIENCE)
    # They were decided in their order, under the cap that was stored before.
    assert [answer.decision for answer in answers.values()] == ["granted", "denied"]
    assert races.workflow_slot(database, tenant).held == Decimal("0.20")


def test_a_batch_does_not_wait_with_all_slots_for_a_hold_that_is_being_settled(
    database: Database,
) -> None:
    """The hold was overdue when it was granted, and that while the batch waited for its slots."""
    tenant = open_capped(database, "1.00")
    last = 15
    with races.session(database) as connection:
        races.change_budget(connection, tenant, tenant.organization, slots=16)
    with races.rivals(database, 5) as (blocker, batch, settler, *others):
        asker = next(r for r in others if r.pid % 16 != last)
        blocker.do(races.lock_own_slot, tenant, last)
        hold = asker.do(races.authorize, tenant, "0.80", expires_in=races.AT_ONCE).hold_id
        waiting = batch.start(ask_some, tenant, ["0.10", "0.50"])
        batch.wait_until_blocked(waiting)
        asker.commit()
        batch.wait_until_blocked_by(blocker, waiting)
        settling = settler.start(races.code_of(races.settle), hold, "0.10")
        settler.wait_until_blocked(settling)
        blocker.rollback()
        assert settling.result(races.PATIENCE) == "00000"
        answers = waiting.result(races.PATIENCE)
    assert [answer.decision for answer in answers] == ["granted", "granted"]
    assert races.workflow_slot(database, tenant).held == Decimal("0.60")


# Batches of settlements.


def take_holds(database: Database, tenant: Tenant, number: int) -> list[UUID]:
    with races.session(database) as connection:
        items = [races.ask_item(tenant, "0.10")] * number
        return [answer.hold_id for answer in races.authorize_batch(connection, tenant, items)]


def settle_all(
    connection: Connection, tenant: Tenant, holds: list[UUID], cost: str
) -> list[str | None]:
    """Settle holds in one batch, and commit; returns the error of each item."""
    items = [races.settle_item(hold, cost, f"settle {hold}") for hold in holds]
    answers = races.committed(races.settle_batch)(connection, tenant, items)
    return [answer.error_code for answer in answers]


def begin_to_settle_all(
    connection: Connection, tenant: Tenant, holds: list[UUID], cost: str
) -> None:
    items = [races.settle_item(hold, cost, f"settle {hold}") for hold in holds]
    races.settle_batch(connection, tenant, items)


@SLOTS
@ENDS
@pytest.mark.parametrize("cost", ["0.10", "0.15"], ids=["within", "above"])
def test_two_batches_settle_the_same_holds_in_opposite_order(
    database: Database, slots: int, cost: str, first_commits: bool
) -> None:
    tenant = open_capped(database, slots=slots)
    holds = take_holds(database, tenant, 3)
    with races.rivals(database) as (first, second):
        first.do(begin_to_settle_all, tenant, holds, cost)
        waiting = second.start(settle_all, tenant, holds[::-1], cost)
        second.wait_until_blocked(waiting)
        first.end(first_commits)
        assert waiting.result(races.PATIENCE) == [None] * 3
    races.assert_books(database, tenant, str(3 * Decimal(cost)), 3)


def test_a_batch_of_overdue_holds_settles_them_as_open(database: Database) -> None:
    """The first costs more than there is, so money is gathered: not that of its own batch."""
    tenant = open_capped(database, "0.30")
    holds = take_holds(database, tenant, 3)
    races.let_expire(database, *holds)
    with races.session(database) as connection:
        costs = ["0.20", "0.10", "0.10"]
        items = [races.settle_item(*each) for each in zip(holds, costs, strict=True)]
        answers = races.settle_batch(connection, tenant, items)
    assert [answer.settlement for answer in answers] == ["on_hold"] * 3
    assert [Decimal(answer.unheld_usd) for answer in answers] == [Decimal("0.10"), 0, 0]
    assert races.workflow_slot(database, tenant) == Slot(
        Decimal("0.40"), Decimal(0), Decimal("0.10")
    )


def test_a_batch_settles_a_hold_that_was_committed_while_it_waited_for_its_slots(
    database: Database,
) -> None:
    """It could not lock that hold with the others; meanwhile a single settlement has."""
    tenant = open_capped(database, "1.00")
    known = take_holds(database, tenant, 1)
    last = 15
    with races.session(database) as connection:
        races.change_budget(connection, tenant, tenant.organization, slots=16)
    with races.rivals(database, 5) as (blocker, batch, single, *others):
        asker = next(r for r in others if r.pid % 16 != last)
        blocker.do(races.lock_own_slot, tenant, last)
        hold = asker.do(races.authorize, tenant, "0.10").hold_id
        waiting = batch.start(settle_all, tenant, [*known, hold], "0.05")
        batch.wait_until_blocked(waiting)
        asker.commit()
        batch.wait_until_blocked_by(blocker, waiting)
        settling = single.start(races.code_of(races.settle), hold, "0.05")
        single.wait_until_blocked(settling)
        blocker.rollback()
        assert settling.result(races.PATIENCE) == "00000"
        assert waiting.result(races.PATIENCE) == [None, None]
    races.assert_books(database, tenant, "0.10", 2)


@SLOTS
def test_batches_settle_beside_a_sweeper_and_new_calls(database: Database, slots: int) -> None:
    """What is settled and what expires becomes free for others at once."""
    tenant = open_capped(database, "4.00", slots)
    holds = take_holds(database, tenant, 40)
    races.let_expire(database, *holds)

    def work(connection: Connection, index: int) -> None:
        if index == 0:
            for _ in range(10):
                races.committed(races.expire)(connection, tenant, 4)
        elif index < 4:
            for start in range(0, 40, 8):
                errors = settle_all(connection, tenant, holds[start : start + 8][::-1], "0.02")
                assert errors == [None] * 8
        else:
            for _ in range(10):
                decision = races.committed(races.authorize)(connection, tenant, "0.05")
                if decision.decision == "granted":
                    races.committed(races.release)(connection, decision.hold_id)

    races.together(database, 8, work)

    slot = races.workflow_slot(database, tenant)
    assert (slot.settled, slot.held) == (Decimal("0.80"), Decimal(0))
