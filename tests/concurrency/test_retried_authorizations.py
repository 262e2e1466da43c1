"""A request id is one hold, whatever became of the first answer and of the hold."""

from collections.abc import Iterator
from decimal import Decimal
from typing import Any

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


def open_capped(database: Database, limit: str, slots: int = 1) -> Tenant:
    """Open a tenant with a cap on its workflow."""
    tenant = races.open_tenant(database)
    with races.session(database) as connection:
        races.stripe(connection, tenant, slots)
        races.set_workflow_cap(connection, tenant, limit)
    return tenant


def ask(database: Database, tenant: Tenant, cost: str, request: str | None = None) -> Any:
    """Ask on a connection of its own, which is then gone; returns the decision."""
    with races.session(database) as connection:
        return races.authorize(connection, tenant, cost, request)


def held(database: Database, tenant: Tenant) -> Decimal:
    return races.workflow_slot(database, tenant).held


# One request, one hold.


@SLOTS
def test_one_request_from_many_connections_is_one_hold(database: Database, slots: int) -> None:
    tenant = open_capped(database, "10.00", slots)

    def work(connection: Connection, _: int) -> list[Any]:
        return [
            races.committed(races.authorize)(connection, tenant, "0.10", f"request {number}")
            for number in range(3)
        ]

    answers = races.together(database, 32, work)

    for number in range(3):
        decisions = {(each[number].decision, each[number].hold_id) for each in answers}
        assert len(decisions) == 1
    assert held(database, tenant) == Decimal("0.30")
    assert len(races.hold_states(database, tenant)) == 3


@SLOTS
@ENDS
def test_a_retry_waits_for_the_first_call(
    database: Database, slots: int, first_commits: bool
) -> None:
    tenant = open_capped(database, "0.10", slots)
    with races.rivals(database) as (first, retry):
        granted = first.do(races.authorize, tenant, "0.10", "request 1")
        waiting = retry.start(races.committed(races.authorize), tenant, "0.100", "request 1")
        retry.wait_until_blocked(waiting)
        first.end(first_commits)
        decision = waiting.result(races.PATIENCE)
    assert decision.decision == "granted"
    assert (decision.hold_id == granted.hold_id) is first_commits
    assert races.hold_states(database, tenant) == {decision.hold_id: "open"}


@SLOTS
@ENDS
def test_other_content_waits_for_the_first_call(
    database: Database, slots: int, first_commits: bool
) -> None:
    tenant = open_capped(database, "10.00", slots)
    with races.rivals(database) as (first, other):
        first.do(races.authorize, tenant, "0.10", "request 1")
        waiting = other.start(races.code_of(races.authorize), tenant, "0.11", "request 1")
        other.wait_until_blocked(waiting)
        first.end(first_commits)
        assert waiting.result(races.PATIENCE) == ("TS409" if first_commits else "00000")
    assert held(database, tenant) == Decimal("0.10" if first_commits else "0.11")


def test_a_retry_of_an_open_hold_takes_no_part_in_the_queue(database: Database) -> None:
    tenant = open_capped(database, "10.00")
    granted = ask(database, tenant, "0.10", "request 1")
    with races.rivals(database) as (stranger, retry):
        stranger.do(races.authorize, tenant, "0.10")
        decision = retry.do(races.authorize, tenant, "0.10", "request 1")
    assert (decision.decision, decision.hold_id) == ("granted", granted.hold_id)


def test_the_same_request_id_of_two_organizations_is_two_holds(database: Database) -> None:
    tenants = [open_capped(database, "1.00") for _ in range(2)]
    with races.rivals(database) as askers:
        for asker, tenant in zip(askers, tenants, strict=True):
            asker.do(races.authorize, tenant, "1.00", "request 1")
        for asker in askers:
            asker.commit()
    assert [held(database, tenant) for tenant in tenants] == [Decimal("1.00")] * 2


# Denied, and asked again.


def test_a_denied_request_is_granted_once_the_limit_is_raised(database: Database) -> None:
    tenant = open_capped(database, "1.00")
    ask(database, tenant, "1.00")
    assert ask(database, tenant, "0.50", "request 1").decision == "denied"
    with races.rivals(database) as (manager, caller):
        manager.do(races.set_workflow_cap, tenant, "1.50")
        # What is not committed grants nothing, and a denial waits for nobody.
        before = caller.do(races.committed(races.authorize), tenant, "0.50", "request 1")
        manager.commit()
        after = caller.do(races.committed(races.authorize), tenant, "0.50", "request 1")
        again = caller.do(races.committed(races.authorize), tenant, "0.50", "request 1")
    assert (before.decision, after.decision) == ("denied", "granted")
    assert (again.decision, again.hold_id) == ("granted", after.hold_id)
    assert races.workflow_slot(database, tenant) == Slot(
        Decimal(0), Decimal(0), held=Decimal("1.50")
    )


@ENDS
def test_a_request_that_waited_for_the_raise_is_decided_by_it(
    database: Database, first_commits: bool
) -> None:
    tenant = open_capped(database, "1.00")
    lost = ask(database, tenant, "0.60")
    races.let_expire(database, lost.hold_id)
    with races.rivals(database, 3) as (taker, manager, caller):
        # By its snapshot the caller could have all; the taker's dime is not yet committed.
        taker.do(races.authorize, tenant, "0.10")
        change = manager.start(races.set_workflow_cap, tenant, "1.10")
        manager.wait_until_blocked(change)
        waiting = caller.start(races.committed(races.authorize), tenant, "1.00", "request 1")
        caller.wait_until_blocked(waiting)
        taker.commit()
        change.result(races.PATIENCE)
        manager.end(first_commits)
        decision = waiting.result(races.PATIENCE)
    assert decision.decision == ("granted" if first_commits else "denied")
    # A denial undoes all it did: the overdue hold is there as before.
    assert races.hold_states(database, tenant)[lost.hold_id] == (
        "expired" if first_commits else "open"
    )
    assert held(database, tenant) == Decimal("1.10" if first_commits else "0.70")


def test_denied_requests_are_repeated_while_the_limit_rises(database: Database) -> None:
    """Sixteen callers repeat each request until it is granted; a manager adds a dime at a time."""
    tenant = open_capped(database, "0", slots=4)

    def work(connection: Connection, index: int) -> list[Any]:
        if index == 0:
            for dimes in range(1, 33):
                races.set_workflow_cap(connection, tenant, f"{dimes / 10:.2f}")
                connection.commit()
            return []
        decisions = []
        for number in range(2):
            request = f"request {index} {number}"
            while True:
                decision = races.committed(races.authorize)(connection, tenant, "0.10", request)
                if decision.decision == "granted":
                    break
            decisions.append(decision)
        return decisions

    answers = races.together(database, 17, work)

    granted = {decision.hold_id for each in answers for decision in each}
    assert races.hold_states(database, tenant) == dict.fromkeys(granted, "open")
    assert len(granted) == 32
    assert races.workflow_slot(database, tenant) == Slot(
        Decimal(0), Decimal(0), held=Decimal("3.20")
    )


# The answer was lost, the hold expired.


def lose_an_answer(database: Database, tenant: Tenant) -> Any:
    """Let a request for a dollar be granted, its answer be lost, and its hold become overdue."""
    decision = ask(database, tenant, "1.00", "request 1")
    assert decision.decision == "granted"
    races.let_expire(database, decision.hold_id)
    return decision.hold_id


def test_a_retry_after_another_took_the_money_is_denied(database: Database) -> None:
    tenant = open_capped(database, "1.00")
    lost = lose_an_answer(database, tenant)
    taken = ask(database, tenant, "1.00", "request 2")
    assert taken.decision == "granted"
    assert ask(database, tenant, "1.00", "request 1").decision == "denied"
    with races.session(database) as connection:
        races.release(connection, taken.hold_id)
    retry = ask(database, tenant, "1.00", "request 1")
    assert retry.decision == "granted"
    with races.session(database) as connection:
        # The first call was made all the same: it is recorded, and flagged as above the cap.
        usage = races.settle(connection, lost, "0.25")
    assert (usage.settlement, usage.unheld_usd) == ("after_hold", Decimal("0.25"))
    assert races.workflow_slot(database, tenant) == Slot(
        Decimal("0.25"), Decimal(0), Decimal("0.25"), Decimal("1.00")
    )
    assert races.hold_states(database, tenant) == {
        lost: "after_hold",
        taken.hold_id: "released",
        retry.hold_id: "open",
    }


@SLOTS
@ENDS
def test_a_retry_waits_for_another_who_takes_its_money(
    database: Database, slots: int, first_commits: bool
) -> None:
    tenant = open_capped(database, "1.00", slots)
    lost = lose_an_answer(database, tenant)
    with races.rivals(database) as (taker, retry):
        taken = taker.do(races.authorize, tenant, "1.00", "request 2")
        waiting = retry.start(races.committed(races.authorize), tenant, "1.00", "request 1")
        retry.wait_until_blocked(waiting)
        taker.end(first_commits)
        decision = waiting.result(races.PATIENCE)
    assert decision.decision == ("denied" if first_commits else "granted")
    winner = taken.hold_id if first_commits else decision.hold_id
    assert races.hold_states(database, tenant) == {lost: "expired", winner: "open"}


@SLOTS
@ENDS
def test_another_waits_for_a_retry_that_takes_its_money_back(
    database: Database, slots: int, first_commits: bool
) -> None:
    tenant = open_capped(database, "1.00", slots)
    lost = lose_an_answer(database, tenant)
    with races.rivals(database) as (retry, other):
        again = retry.do(races.authorize, tenant, "1.00", "request 1")
        waiting = other.start(races.committed(races.authorize), tenant, "1.00", "request 2")
        other.wait_until_blocked(waiting)
        retry.end(first_commits)
        decision = waiting.result(races.PATIENCE)
    assert again.decision == "granted"
    assert again.hold_id != lost
    assert decision.decision == ("denied" if first_commits else "granted")
    winner = again.hold_id if first_commits else decision.hold_id
    assert races.hold_states(database, tenant) == {lost: "expired", winner: "open"}


@SLOTS
@ENDS
def test_two_retries_of_an_overdue_hold_are_one_new_hold(
    database: Database, slots: int, first_commits: bool
) -> None:
    tenant = open_capped(database, "10.00", slots)
    lost = lose_an_answer(database, tenant)
    with races.rivals(database) as (first, second):
        one = first.do(races.authorize, tenant, "1.00", "request 1")
        waiting = second.start(races.committed(races.authorize), tenant, "1.00", "request 1")
        second.wait_until_blocked(waiting)
        first.end(first_commits)
        other = waiting.result(races.PATIENCE)
    assert (one.decision, other.decision) == ("granted", "granted")
    assert (one.hold_id == other.hold_id) is first_commits
    assert races.hold_states(database, tenant) == {lost: "expired", other.hold_id: "open"}


@SLOTS
def test_many_retries_of_an_overdue_hold_beside_others_who_want_its_money(
    database: Database, slots: int
) -> None:
    tenant = open_capped(database, "1.00", slots)
    lost = lose_an_answer(database, tenant)

    def work(connection: Connection, index: int) -> Any:
        request = f"request {index}" if index % 2 else "request 1"
        return races.committed(races.authorize)(connection, tenant, "1.00", request)

    decisions = races.together(database, 16, work)

    (winner,) = {decision.hold_id for decision in decisions if decision.decision == "granted"}
    assert races.hold_states(database, tenant) == {lost: "expired", winner: "open"}
    assert held(database, tenant) == Decimal("1.00")


# The hold is settled, released or extended while its request is retried.


@SLOTS
@ENDS
def test_a_retry_waits_for_the_settlement_of_its_overdue_hold(
    database: Database, slots: int, first_commits: bool
) -> None:
    tenant = open_capped(database, "10.00", slots)
    lost = lose_an_answer(database, tenant)
    with races.rivals(database) as (settler, retry):
        settler.do(races.settle, lost, "0.40")
        waiting = retry.start(races.committed(races.authorize), tenant, "1.00", "request 1")
        retry.wait_until_blocked(waiting)
        settler.end(first_commits)
        decision = waiting.result(races.PATIENCE)
    if first_commits:
        assert (decision.decision, decision.usage_id) == ("settled", lost)
        assert Decimal(decision.held_usd) == Decimal("0.40")
        assert races.hold_states(database, tenant) == {lost: "on_hold"}
    else:
        assert decision.decision == "granted"
        assert races.hold_states(database, tenant) == {lost: "expired", decision.hold_id: "open"}


@SLOTS
@ENDS
def test_a_retry_waits_for_the_settlement_that_leaves_nothing(
    database: Database, slots: int, first_commits: bool
) -> None:
    """What its own call has spent is no reason to deny it."""
    tenant = open_capped(database, "1.00", slots)
    lost = lose_an_answer(database, tenant)
    with races.rivals(database) as (settler, retry):
        settler.do(races.settle, lost, "1.50")
        waiting = retry.start(races.committed(races.authorize), tenant, "1.00", "request 1")
        retry.wait_until_blocked(waiting)
        settler.end(first_commits)
        decision = waiting.result(races.PATIENCE)
    if first_commits:
        assert (decision.decision, decision.usage_id) == ("settled", lost)
    else:
        assert decision.decision == "granted"


@SLOTS
@ENDS
def test_a_retry_waits_for_the_release_of_its_overdue_hold(
    database: Database, slots: int, first_commits: bool
) -> None:
    tenant = open_capped(database, "1.00", slots)
    lost = lose_an_answer(database, tenant)
    with races.rivals(database) as (releaser, retry):
        releaser.do(races.release, lost)
        waiting = retry.start(races.committed(races.authorize), tenant, "1.00", "request 1")
        retry.wait_until_blocked(waiting)
        releaser.end(first_commits)
        decision = waiting.result(races.PATIENCE)
    assert decision.decision == "granted"
    state = "released" if first_commits else "expired"
    assert races.hold_states(database, tenant) == {lost: state, decision.hold_id: "open"}


@SLOTS
@ENDS
def test_a_retry_waits_for_the_extension_of_its_overdue_hold(
    database: Database, slots: int, first_commits: bool
) -> None:
    tenant = open_capped(database, "10.00", slots)
    lost = lose_an_answer(database, tenant)
    with races.rivals(database) as (extender, retry):
        extender.do(races.extend, lost, "1.00", "1 hour")
        waiting = retry.start(races.committed(races.authorize), tenant, "1.00", "request 1")
        retry.wait_until_blocked(waiting)
        extender.end(first_commits)
        decision = waiting.result(races.PATIENCE)
    assert decision.decision == "granted"
    if first_commits:
        assert (decision.hold_id, Decimal(decision.held_usd)) == (lost, Decimal("2.00"))
    else:
        assert races.hold_states(database, tenant) == {lost: "expired", decision.hold_id: "open"}


def test_a_retry_of_a_hold_that_is_being_settled_is_answered_as_of_now(
    database: Database,
) -> None:
    """It is not overdue, so nobody needs to wait: granted before the commit, settled after it."""
    tenant = open_capped(database, "1.00")
    granted = ask(database, tenant, "1.00", "request 1")
    with races.rivals(database) as (settler, retry):
        settler.do(races.settle, granted.hold_id, "0.40")
        before = retry.do(races.committed(races.authorize), tenant, "1.00", "request 1")
        settler.commit()
        after = retry.do(races.committed(races.authorize), tenant, "1.00", "request 1")
    assert (before.decision, before.hold_id) == ("granted", granted.hold_id)
    assert (after.decision, after.usage_id) == ("settled", granted.hold_id)


# Extensions and settlements have request ids too.


@ENDS
def test_a_retried_extension_extends_once(database: Database, first_commits: bool) -> None:
    tenant = open_capped(database, "10.00", slots=16)
    hold = ask(database, tenant, "1.00").hold_id
    with races.rivals(database) as (first, retry):
        first.do(races.extend, hold, "0.50", request="request 1")
        waiting = retry.start(races.committed(races.extend), hold, "0.50", request="request 1")
        retry.wait_until_blocked(waiting)
        first.end(first_commits)
        assert waiting.result(races.PATIENCE).held_usd == Decimal("1.50")
    assert held(database, tenant) == Decimal("1.50")


@ENDS
def test_one_request_id_settles_one_hold(database: Database, first_commits: bool) -> None:
    tenant = open_capped(database, "10.00", slots=16)
    holds = [ask(database, tenant, "1.00").hold_id for _ in range(2)]
    with races.rivals(database) as (first, other):
        first.do(races.settle, holds[0], "0.50", "request 1")
        waiting = other.start(races.code_of(races.settle), holds[1], "0.50", "request 1")
        other.wait_until_blocked(waiting)
        first.end(first_commits)
        assert waiting.result(races.PATIENCE) == ("TS409" if first_commits else "00000")
    settled = holds[0] if first_commits else holds[1]
    assert races.hold_states(database, tenant) == {
        hold: "on_hold" if hold == settled else "open" for hold in holds
    }
