"""Overdue holds free themselves: whoever needs the money gets it, and nobody is refused falsely."""

from collections.abc import Callable, Iterator
from decimal import Decimal
from typing import Any
from uuid import UUID

import pytest

from tests.support import races
from tests.support.races import Connection, Rival, Slot, Tenant
from tests.support.servers import Database, Server

ENDS = pytest.mark.parametrize("first_commits", [True, False], ids=["commit", "rollback"])
SLOTS = pytest.mark.parametrize("slots", [1, 16], ids=["unstriped", "striped"])
EMPTY = Decimal(0)


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


def lose_hold(database: Database, tenant: Tenant, cost: str = "1.00") -> UUID:
    """Take a hold and forget it until it is overdue."""
    with races.session(database) as connection:
        hold: UUID = races.authorize(connection, tenant, cost).hold_id
    races.let_expire(database, hold)
    return hold


def lose_many(database: Database, tenant: Tenant, number: int, cost: str = "0.01") -> list[UUID]:
    """Take many holds and forget them until they are overdue."""
    items = [races.ask_item(tenant, cost)] * number
    with races.session(database) as connection:
        holds = [
            answer.hold_id
            for start in range(0, number, 250)
            for answer in races.committed(races.authorize_batch)(
                connection, tenant, items[start : start + 250]
            )
        ]
    races.let_expire(database, *holds)
    return holds


ask = races.committed(races.authorize)


def ask_in_batch(connection: Connection, tenant: Tenant, cost: str) -> Any:
    """Ask for the same by a batch of one."""
    item = races.ask_item(tenant, cost)
    (answer,) = races.committed(races.authorize_batch)(connection, tenant, [item])
    return answer


WAYS = pytest.mark.parametrize(
    ("ask", "slots"),
    [(ask, 1), (ask, 16), (ask_in_batch, 16)],
    ids=["unstriped", "striped", "batch"],
)
Ask = Callable[[Connection, Tenant, str], Any]


# A refused attempt, then the money of overdue holds: against the fast path of others.


@WAYS
@pytest.mark.parametrize(
    ("taken", "commits", "decision"),
    [
        ("0.30", True, "denied"),
        ("0.20", True, "granted"),
        ("0.30", False, "granted"),
    ],
)
def test_refused_then_reclaiming_while_another_takes_what_was_free(
    database: Database, ask: Ask, slots: int, taken: str, commits: bool, decision: str
) -> None:
    """0.60 is overdue, 0.40 is free; one takes some of that while the other needs 0.80."""
    tenant = open_capped(database)
    lose_hold(database, tenant, "0.60")
    with races.session(database) as connection:
        races.change_budget(connection, tenant, tenant.organization, slots=slots)
    with races.rivals(database) as (taker, caller):
        taker.do(races.authorize, tenant, taken)
        waiting = caller.start(ask, tenant, "0.80")
        caller.wait_until_blocked(waiting)
        taker.end(commits)
        answer = waiting.result(races.PATIENCE)
    assert answer.decision == decision
    if decision == "denied":
        assert Decimal(answer.remaining_usd) == Decimal("0.70")


@SLOTS
@ENDS
def test_the_fast_path_waits_for_a_caller_that_reclaims(
    database: Database, slots: int, first_commits: bool
) -> None:
    tenant = open_capped(database)
    lost = lose_hold(database, tenant, "0.60")
    with races.session(database) as connection:
        races.change_budget(connection, tenant, tenant.organization, slots=slots)
    with races.rivals(database) as (caller, other):
        assert caller.do(races.authorize, tenant, "0.80").decision == "granted"
        waiting = other.start(ask, tenant, "0.30")
        other.wait_until_blocked(waiting)
        caller.end(first_commits)
        decision = waiting.result(races.PATIENCE)
    assert decision.decision == ("denied" if first_commits else "granted")
    assert races.hold_states(database, tenant)[lost] == ("expired" if first_commits else "open")


@SLOTS
@ENDS
def test_two_callers_reclaim_the_same_hold(
    database: Database, slots: int, first_commits: bool
) -> None:
    tenant = open_capped(database, slots=slots)
    lose_hold(database, tenant)
    with races.rivals(database) as (first, second):
        first.do(races.authorize, tenant, "0.70")
        waiting = second.start(ask, tenant, "0.70")
        second.wait_until_blocked(waiting)
        first.end(first_commits)
        decision = waiting.result(races.PATIENCE)
    assert decision.decision == ("denied" if first_commits else "granted")
    assert races.workflow_slot(database, tenant) == Slot(
        EMPTY, Decimal("0.30"), held=Decimal("0.70")
    )


# A gather skips holds that somebody works on, and must not refuse for that.


def lock_hold(connection: Connection, hold: UUID) -> None:
    """Lock a hold as settling, extending, releasing and sweeping all do first."""
    connection.execute("set local role postgres")
    connection.execute("select from metering.holds where id = %s for update", (hold,))


@WAYS
def test_a_gather_that_skipped_a_locked_hold_waits_for_it(
    database: Database, ask: Ask, slots: int
) -> None:
    """Whoever has locked it has done nothing else yet, and gives up in the end."""
    tenant = open_capped(database, slots=slots)
    lost = lose_hold(database, tenant)
    with races.rivals(database) as (somebody, caller):
        somebody.do(lock_hold, lost)
        waiting = caller.start(ask, tenant, "1.00")
        caller.wait_until_blocked(waiting)
        somebody.rollback()
        assert waiting.result(races.PATIENCE).decision == "granted"
    assert races.hold_states(database, tenant)[lost] == "expired"


def sweep(rival: Rival, tenant: Tenant, hold: UUID) -> None:
    rival.do(races.expire, tenant)


def release(rival: Rival, tenant: Tenant, hold: UUID) -> None:
    rival.do(races.release, hold)


def settle_cheaply(rival: Rival, tenant: Tenant, hold: UUID) -> None:
    rival.do(races.settle, hold, "0.10")


def settle_in_full(rival: Rival, tenant: Tenant, hold: UUID) -> None:
    rival.do(races.settle, hold, "1.00")


def prolong(rival: Rival, tenant: Tenant, hold: UUID) -> None:
    rival.do(races.extend, hold, expires_in="1 hour")


@WAYS
@ENDS
@pytest.mark.parametrize(
    ("work", "leaves_enough"),
    [
        (sweep, True),
        (release, True),
        (settle_cheaply, True),
        (settle_in_full, False),
        (prolong, False),
    ],
)
def test_a_gather_decides_by_what_became_of_the_hold_it_skipped(
    database: Database,
    ask: Ask,
    slots: int,
    work: Callable[[Rival, Tenant, UUID], None],
    leaves_enough: bool,
    first_commits: bool,
) -> None:
    tenant = open_capped(database, slots=slots)
    lost = lose_hold(database, tenant)
    with races.rivals(database) as (rival, caller):
        work(rival, tenant, lost)
        waiting = caller.start(ask, tenant, "0.90")
        caller.wait_until_blocked(waiting)
        rival.end(first_commits)
        decision = waiting.result(races.PATIENCE).decision
    is_there = leaves_enough or not first_commits
    assert decision == ("granted" if is_there else "denied")


@SLOTS
@ENDS
def test_an_extension_waits_for_a_hold_it_skipped(
    database: Database, slots: int, first_commits: bool
) -> None:
    """It has a hold of its own locked, so it must take those it waits for in one order."""
    tenant = open_capped(database, "1.50", slots)
    with races.session(database) as connection:
        mine = races.authorize(connection, tenant, "0.50").hold_id
    lost = lose_hold(database, tenant)
    with races.rivals(database) as (somebody, extender):
        somebody.do(races.extend, lost, expires_in="1 hour")
        waiting = extender.start(races.code_of(races.extend), mine, "0.50")
        extender.wait_until_blocked(waiting)
        somebody.end(first_commits)
        assert waiting.result(races.PATIENCE) == ("TS402" if first_commits else "00000")
    held = "1.50" if first_commits else "1.00"
    assert races.workflow_slot(database, tenant).held == Decimal(held)


def test_extensions_of_overdue_holds_that_need_each_other(database: Database) -> None:
    """Both holds are overdue, each caller extends one and would free the other."""
    tenant = open_capped(database, "1.00")
    holds = [lose_hold(database, tenant, "0.50") for _ in range(2)]

    def work(connection: Connection, index: int) -> str:
        return races.code_of(races.extend)(connection, holds[index % 2], "0.50", "1 hour")

    codes = races.together(database, 8, work)

    # One hold grew to the whole cap; the other was freed for it.
    assert codes.count("00000") == 1
    assert set(codes) <= {"00000", "TS402", "TS410"}
    assert sorted(races.hold_states(database, tenant).values()) == ["expired", "open"]
    assert races.workflow_slot(database, tenant).held == Decimal("1.00")


# Sweepers.


def test_two_sweepers_free_each_hold_once(database: Database) -> None:
    tenant = open_capped(database, "1.00", slots=16)
    lose_many(database, tenant, 100)
    with races.rivals(database) as (first, second):
        assert first.do(races.expire, tenant, 60) == 60
        assert second.do(races.committed(races.expire), tenant, 60) == 0
        first.commit()
        assert second.do(races.committed(races.expire), tenant, 60) == 40
    assert races.workflow_slot(database, tenant) == Slot(EMPTY, Decimal("1.00"))


def sweep_all(connection: Connection) -> None:
    """Sweep every organization, and commit."""
    races.committed(races.one)(connection, "select metering.expire_holds()")


@SLOTS
def test_a_sweeper_passes_over_an_organization_that_is_busy(database: Database, slots: int) -> None:
    """It does not wait behind a transaction left open, and keeps nobody else from spending."""
    busy, idle = [open_capped(database, slots=slots) for _ in range(2)]
    for tenant in (busy, idle):
        lose_hold(database, tenant)
    with races.rivals(database) as (blocker, sweeper):
        blocker.do(races.lock_own_slot, busy, 0)
        sweeper.do(sweep_all)
        assert list(races.hold_states(database, idle).values()) == ["expired"]
        assert list(races.hold_states(database, busy).values()) == ["open"]
        blocker.rollback()
        sweeper.do(sweep_all)
    assert races.workflow_slot(database, busy) == Slot(EMPTY, Decimal("1.00"))


def test_a_sweeper_of_all_organizations_beside_their_callers(database: Database) -> None:
    tenants = [open_capped(database, "1.00", slots) for slots in (1, 4, 16)]
    for tenant in tenants:
        lose_many(database, tenant, 100)

    def work(connection: Connection, index: int) -> int:
        if index < 2:
            for _ in range(4):
                sweep_all(connection)
            return 0
        tenant = tenants[index % len(tenants)]
        return sum(ask(connection, tenant, "0.05").decision == "granted" for _ in range(10))

    granted = races.together(database, 11, work)

    # 30 callers' nickels of 20 that fit, in each organization.
    assert sum(granted) == 60
    for tenant in tenants:
        assert races.workflow_slot(database, tenant).held == Decimal("1.00")


@SLOTS
def test_a_sweeper_of_thousands_beside_settlements(database: Database, slots: int) -> None:
    """Three in five holds are only swept; the others are settled one by one and in batches."""
    tenant = open_capped(database, "100.00", slots)
    holds = lose_many(database, tenant, 3000)
    single, batched = holds[::5], holds[1::5]

    def work(connection: Connection, index: int) -> None:
        if index < 2:
            for _ in range(30):
                races.committed(races.expire)(connection, tenant, 100)
        elif index == 2:
            for start in range(0, len(batched), 50):
                items = [races.settle_item(hold, "0.004") for hold in batched[start : start + 50]]
                answers = races.committed(races.settle_batch)(connection, tenant, items)
                assert {answer.error_code for answer in answers} == {None}
        else:
            for hold in single[index - 3 :: 5]:
                races.committed(races.settle)(connection, hold, "0.004")

    races.together(database, 8, work)

    # A sweeper leaves what others keep busy; so one more comes when all is quiet.
    with races.session(database) as connection:
        races.expire(connection, tenant, 3000)
    states = list(races.hold_states(database, tenant).values())
    assert len(states) == 3000
    assert states.count("expired") == 1800
    # The others were settled in time, or late where they had been swept.
    assert states.count("on_hold") + states.count("after_hold") == 1200
    assert races.workflow_slot(database, tenant) == Slot(Decimal("4.80"), Decimal("95.20"))
