"""Holds at REPEATABLE READ and SERIALIZABLE: the right answer or 40001, never a passed cap."""

from collections.abc import Callable, Iterator
from decimal import Decimal
from typing import Any
from uuid import UUID

import psycopg
import pytest
from psycopg import IsolationLevel

from tests.support import races
from tests.support.races import Connection, Rival, Slot, Tenant
from tests.support.servers import Database, Server

SERIALIZATION_FAILURE = "40001"
LEVELS = [
    IsolationLevel.READ_COMMITTED,
    IsolationLevel.REPEATABLE_READ,
    IsolationLevel.SERIALIZABLE,
]
HIGHER = pytest.mark.parametrize("isolation", LEVELS[1:], ids=lambda level: level.name)
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


def take_hold(database: Database, tenant: Tenant, cost: str = "0.40") -> UUID:
    with races.session(database) as connection:
        hold: UUID = races.authorize(connection, tenant, cost).hold_id
    return hold


def take_snapshot(rival: Rival) -> None:
    """Begin a transaction whose snapshot is older than what follows elsewhere."""
    rival.do(races.one, "select count(*) from metering.workflows")


def decide(connection: Connection, tenant: Tenant, cost: str, request: str | None = None) -> str:
    """Ask, and commit; returns the decision, or 40001."""
    try:
        decision = races.committed(races.authorize)(connection, tenant, cost, request)
    except psycopg.errors.SerializationFailure:
        connection.rollback()
        return SERIALIZATION_FAILURE
    return str(decision.decision)


# The last money.


@HIGHER
@SLOTS
def test_money_that_was_taken_since_the_snapshot_is_not_granted(
    database: Database, isolation: IsolationLevel, slots: int
) -> None:
    tenant = open_capped(database, slots=slots)
    with races.rivals(database, 1, isolation) as (late,):
        take_snapshot(late)
        take_hold(database, tenant, "0.70")
        assert late.do(decide, tenant, "0.70") == SERIALIZATION_FAILURE
        assert late.do(decide, tenant, "0.70") == "denied"
        assert late.do(decide, tenant, "0.30") == "granted"
    assert races.workflow_slot(database, tenant).used == Decimal("1.00")


@HIGHER
@SLOTS
def test_money_that_came_back_since_the_snapshot_is_granted_to_a_new_one(
    database: Database, isolation: IsolationLevel, slots: int
) -> None:
    tenant = open_capped(database, slots=slots)
    hold = take_hold(database, tenant, "1.00")
    with races.rivals(database, 1, isolation) as (late,):
        take_snapshot(late)
        with races.session(database) as connection:
            races.release(connection, hold)
        assert late.do(decide, tenant, "1.00") in {"denied", SERIALIZATION_FAILURE}
        assert late.do(decide, tenant, "1.00") == "granted"


@HIGHER
@SLOTS
@ENDS
def test_of_two_who_ask_for_the_last_money_one_gets_it(
    database: Database, isolation: IsolationLevel, slots: int, first_commits: bool
) -> None:
    tenant = open_capped(database, slots=slots)
    with races.rivals(database, 2, isolation) as (first, second):
        assert first.do(races.authorize, tenant, "0.70").decision == "granted"
        waiting = second.start(decide, tenant, "0.70")
        second.wait_until_blocked(waiting)
        first.end(first_commits)
        decision = waiting.result(races.PATIENCE)
        if first_commits:
            assert decision == SERIALIZATION_FAILURE
            assert second.do(decide, tenant, "0.70") == "denied"
        elif decision == SERIALIZATION_FAILURE:
            assert second.do(decide, tenant, "0.70") == "granted"
        else:
            assert decision == "granted"
    assert races.workflow_slot(database, tenant).used == Decimal("0.70")


@HIGHER
@SLOTS
def test_an_overdue_hold_that_was_settled_since_the_snapshot_is_not_reclaimed(
    database: Database, isolation: IsolationLevel, slots: int
) -> None:
    tenant = open_capped(database, slots=slots)
    lost = take_hold(database, tenant, "1.00")
    races.let_expire(database, lost)
    with races.rivals(database, 1, isolation) as (late,):
        take_snapshot(late)
        with races.session(database) as connection:
            races.settle(connection, lost, "0.90")
        assert late.do(decide, tenant, "0.20") == SERIALIZATION_FAILURE
        assert late.do(decide, tenant, "0.20") == "denied"
    assert races.workflow_slot(database, tenant) == Slot(Decimal("0.90"), Decimal("0.10"))


@HIGHER
@SLOTS
def test_a_request_that_was_granted_since_the_snapshot_is_one_hold(
    database: Database, isolation: IsolationLevel, slots: int
) -> None:
    tenant = open_capped(database, slots=slots)
    with races.rivals(database, 1, isolation) as (retry,):
        take_snapshot(retry)
        with races.session(database) as connection:
            races.authorize(connection, tenant, "0.40", "request 1")
        assert retry.do(decide, tenant, "0.40", "request 1") in {"granted", SERIALIZATION_FAILURE}
        assert retry.do(decide, tenant, "0.40", "request 1") == "granted"
    assert races.workflow_slot(database, tenant).held == Decimal("0.40")


@HIGHER
@SLOTS
@ENDS
def test_two_calls_of_one_request_are_one_hold(
    database: Database, isolation: IsolationLevel, slots: int, first_commits: bool
) -> None:
    tenant = open_capped(database, slots=slots)
    with races.rivals(database, 2, isolation) as (first, retry):
        first.do(races.authorize, tenant, "0.40", "request 1")
        waiting = retry.start(decide, tenant, "0.40", "request 1")
        retry.wait_until_blocked(waiting)
        first.end(first_commits)
        if waiting.result(races.PATIENCE) == SERIALIZATION_FAILURE:
            assert retry.do(decide, tenant, "0.40", "request 1") == "granted"
    assert races.workflow_slot(database, tenant).held == Decimal("0.40")


# Whatever is called, whatever was committed elsewhere since its snapshot.


def ask(connection: Connection, tenant: Tenant, hold: UUID) -> None:
    races.authorize(connection, tenant, "0.30")


def ask_in_batch(connection: Connection, tenant: Tenant, hold: UUID) -> None:
    races.authorize_batch(connection, tenant, [races.ask_item(tenant, "0.15")] * 2)


def settle(connection: Connection, tenant: Tenant, hold: UUID) -> None:
    races.settle(connection, hold, "0.25")


def settle_above(connection: Connection, tenant: Tenant, hold: UUID) -> None:
    races.settle(connection, hold, "1.25")


def settle_in_batch(connection: Connection, tenant: Tenant, hold: UUID) -> None:
    (answer,) = races.settle_batch(connection, tenant, [races.settle_item(hold, "0.25")])
    assert answer.error_code is None


def release(connection: Connection, tenant: Tenant, hold: UUID) -> None:
    races.release(connection, hold)


def extend(connection: Connection, tenant: Tenant, hold: UUID) -> None:
    races.extend(connection, hold, "0.10", "1 hour")


def expire(connection: Connection, tenant: Tenant, hold: UUID) -> None:
    races.expire(connection, tenant)


Work = Callable[[Connection, Tenant, UUID], None]
WORKS: list[Work] = [
    ask, ask_in_batch, settle, settle_above, settle_in_batch, release, extend, expire
]  # fmt: skip


def another_asks(connection: Connection, tenant: Tenant, hold: UUID) -> None:
    races.authorize(connection, tenant, "0.15")


def the_hold_is_settled(connection: Connection, tenant: Tenant, hold: UUID) -> None:
    races.settle(connection, hold, "0.25")


def the_hold_is_released(connection: Connection, tenant: Tenant, hold: UUID) -> None:
    races.release(connection, hold)


def a_cap_is_made(connection: Connection, tenant: Tenant, hold: UUID) -> None:
    races.set_month_cap(connection, tenant, "0.45")


def slots_are_changed(connection: Connection, tenant: Tenant, hold: UUID) -> None:
    races.stripe(connection, tenant, 2)


def the_organization_is_frozen(connection: Connection, tenant: Tenant, hold: UUID) -> None:
    races.freeze_scope(connection, tenant, "organization")


EVENTS: list[Work] = [
    another_asks, the_hold_is_settled, the_hold_is_released, a_cap_is_made, slots_are_changed,
    the_organization_is_frozen,
]  # fmt: skip
# What a call may be told by a snapshot that knows of the event: closed, too little, frozen, and
# settled with other content.
KNOWING = {"00000", "TS402", "TS409", "TS410", "TS423"}


@HIGHER
@pytest.mark.parametrize("event", EVENTS)
@pytest.mark.parametrize("work", WORKS)
def test_a_call_older_than_an_event_is_counted_or_told_to_retry(
    database: Database, isolation: IsolationLevel, work: Work, event: Work
) -> None:
    tenant = open_capped(database, slots=4)
    hold = take_hold(database, tenant)
    if work is expire:
        races.let_expire(database, hold)
    with races.rivals(database, 1, isolation) as (late,):
        take_snapshot(late)
        with races.session(database) as connection:
            event(connection, tenant, hold)
        code = late.do(races.code_of(work), tenant, hold)
        assert code in {"00000", SERIALIZATION_FAILURE}
        if code == SERIALIZATION_FAILURE:
            assert late.do(races.code_of(work), tenant, hold) in KNOWING


# Under load, each at its level.


def again_and_again(
    connection: Connection, work: Callable[..., Any], *args: object, **named: object
) -> Any:
    """Commit `work`, running it anew whenever it is told to."""
    while True:
        try:
            return races.committed(work)(connection, *args, **named)
        except psycopg.errors.SerializationFailure:
            connection.rollback()


def fill(connection: Connection, tenant: Tenant, index: int) -> Decimal:
    """Ask for dimes until there is none; settle some, forget none. Returns what was granted."""
    granted = NOTHING
    while True:
        decision = again_and_again(connection, races.authorize, tenant, "0.10")
        if decision.decision == "denied":
            return granted
        if index % 2:
            again_and_again(connection, races.settle, decision.hold_id, "0.10")
        granted += Decimal("0.10")


@SLOTS
@pytest.mark.parametrize("isolation", LEVELS, ids=lambda level: level.name)
def test_a_cap_is_filled_exactly_at_each_level(
    database: Database, isolation: IsolationLevel, slots: int
) -> None:
    tenant = open_capped(database, "3.00", slots)

    def work(connection: Connection, index: int) -> Decimal:
        return fill(connection, tenant, index)

    granted = races.together(database, 8, work, isolation)

    assert sum(granted) == Decimal("3.00")
    assert races.workflow_slot(database, tenant).used == Decimal("3.00")


@SLOTS
def test_a_cap_is_filled_exactly_by_callers_of_all_levels(database: Database, slots: int) -> None:
    tenant = open_capped(database, "3.00", slots)

    def work(connection: Connection, index: int) -> Decimal:
        connection.isolation_level = LEVELS[index % 3]
        return fill(connection, tenant, index)

    granted = races.together(database, 9, work)

    assert sum(granted) == Decimal("3.00")
    assert races.workflow_slot(database, tenant).used == Decimal("3.00")
