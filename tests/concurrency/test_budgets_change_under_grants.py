"""Budgets are made, moved, re-striped and frozen while holds are taken and ended.

Whoever read its list of budgets before the change spends by the list after it: no grant passes the
new cap, and every counter agrees with ledger and holds.
"""

import random
from collections.abc import Callable, Iterator
from decimal import Decimal
from typing import Any
from uuid import UUID

import pytest

from tests.support import races
from tests.support.races import Connection, Slot, Tenant
from tests.support.servers import Database, Server

USER = UUID("00000000-0000-0000-0000-000000000001")
OTHER_USER = UUID("00000000-0000-0000-0000-000000000002")
ENDS = pytest.mark.parametrize("first_commits", [True, False], ids=["commit", "rollback"])


@pytest.fixture(scope="module", name="database")
def shared_database(server: Server, template: str) -> Iterator[Database]:
    """One database for all tests here: each has an organization of its own."""
    with server.clone(template) as database, races.warm(database):
        yield database


# Changes of budgets. Before each, workflow and user are capped at a dollar in total.


Change = Callable[[Connection, Tenant], None]


def budget_of(connection: Connection, tenant: Tenant, scope: str) -> UUID:
    """Return the id of the total budget of a scope."""
    budget: UUID = races.one(
        connection,
        "select id from metering.budgets"
        " where (organization_id, scope, time_window) = (%s, %s, 'total')",
        tenant.organization,
        scope,
    )
    return budget


def create(connection: Connection, tenant: Tenant) -> None:
    races.set_month_cap(connection, tenant, "0.45")


def lower(connection: Connection, tenant: Tenant) -> None:
    races.set_workflow_cap(connection, tenant, "0.45")


def move_here(connection: Connection, tenant: Tenant) -> None:
    """Let a budget that had nothing to do with the call cap its model."""
    budget = budget_of(connection, tenant, "api_key")
    races.change_budget(connection, tenant, budget, scope="model", scope_id="unknown")


def move_away(connection: Connection, tenant: Tenant) -> None:
    budget = budget_of(connection, tenant, "user")
    races.change_budget(connection, tenant, budget, scope_id=str(OTHER_USER))


def change_window(connection: Connection, tenant: Tenant) -> None:
    races.change_budget(connection, tenant, budget_of(connection, tenant, "user"), window="week")


def soften(connection: Connection, tenant: Tenant) -> None:
    races.set_budget(connection, tenant, "user", "total", "0.45", str(USER), enforcement="soft")


def remove(connection: Connection, tenant: Tenant) -> None:
    races.remove_budget(connection, tenant, "user", "total", str(USER))


def stripe_more(connection: Connection, tenant: Tenant) -> None:
    races.stripe(connection, tenant, 16)


def stripe_less(connection: Connection, tenant: Tenant) -> None:
    races.stripe(connection, tenant, 1)


def freeze(connection: Connection, tenant: Tenant) -> None:
    races.freeze_scope(connection, tenant, "organization")


def freeze_user(connection: Connection, tenant: Tenant) -> None:
    races.freeze_scope(connection, tenant, "user", str(USER))


# After these, 0.40 that are held leave too little for another dime.
TIGHTENING: list[Change] = [create, lower, move_here]
FREEZING: list[Change] = [freeze, freeze_user]
LOOSENING: list[Change] = [
    move_away, change_window, soften, remove, stripe_more, stripe_less
]  # fmt: skip
CHANGES = pytest.mark.parametrize("change", TIGHTENING + FREEZING + LOOSENING)


def open_tenant(database: Database, slots: int = 4) -> tuple[Tenant, UUID]:
    """Open a tenant with caps of a dollar, and a hold of 0.40 against them."""
    tenant = races.open_tenant(database)
    with races.session(database) as connection:
        races.stripe(connection, tenant, slots)
        races.set_workflow_cap(connection, tenant, "1.00")
        races.set_budget(connection, tenant, "user", "total", "1.00", str(USER), slots)
        races.set_budget(connection, tenant, "api_key", "total", "0.45", "unused")
        hold: UUID = ask(connection, tenant, "0.40").hold_id
    return tenant, hold


def ask(connection: Connection, tenant: Tenant, cost: str = "0.10") -> Any:
    """Ask for the user; the caller commits."""
    return races.authorize(connection, tenant, cost, user_id=USER)


def decide(connection: Connection, tenant: Tenant, hold: UUID) -> str:
    """Ask for a dime, and commit; returns the decision."""
    decision = races.committed(ask)(connection, tenant)
    return str(decision.reason if decision.decision == "denied" else decision.decision)


def extend(connection: Connection, tenant: Tenant, hold: UUID) -> str:
    """Ask for a dime more for the hold; returns the code."""
    return races.code_of(races.extend)(connection, hold, "0.10")


def settle(connection: Connection, tenant: Tenant, hold: UUID) -> str:
    return races.code_of(races.settle)(connection, hold, "0.30")


def settle_above(connection: Connection, tenant: Tenant, hold: UUID) -> str:
    return races.code_of(races.settle)(connection, hold, "2.00")


def settle_in_batch(connection: Connection, tenant: Tenant, hold: UUID) -> str:
    items = [races.settle_item(hold, "0.30")]
    return races.code_of(races.settle_batch)(connection, tenant, items)


def release(connection: Connection, tenant: Tenant, hold: UUID) -> str:
    return races.code_of(races.release)(connection, hold)


# Granted by a list that was read before the change.


@ENDS
@CHANGES
def test_a_grant_that_waited_for_a_change_is_decided_by_it(
    database: Database, change: Change, first_commits: bool
) -> None:
    tenant, hold = open_tenant(database)
    with races.rivals(database) as (manager, spender):
        manager.do(change, tenant)
        waiting = spender.start(decide, tenant, hold)
        spender.wait_until_blocked(waiting)
        manager.end(first_commits)
        decision = waiting.result(races.PATIENCE)
    if not first_commits or change in LOOSENING:
        assert decision == "granted"
    else:
        assert decision == ("frozen" if change in FREEZING else "budget_exceeded")


@CHANGES
def test_an_extension_that_waited_for_a_change_is_decided_by_it(
    database: Database, change: Change
) -> None:
    tenant, hold = open_tenant(database)
    with races.rivals(database) as (manager, spender):
        manager.do(change, tenant)
        waiting = spender.start(extend, tenant, hold)
        spender.wait_until_blocked(waiting)
        manager.commit()
        code = waiting.result(races.PATIENCE)
    if change in LOOSENING:
        assert code == "00000"
    else:
        assert code == ("TS423" if change in FREEZING else "TS402")


@ENDS
@pytest.mark.parametrize("change", [create, move_here, move_away, stripe_less])
def test_a_change_that_waited_for_a_grant_counts_it(
    database: Database, change: Change, first_commits: bool
) -> None:
    tenant, _ = open_tenant(database)
    with races.rivals(database) as (spender, manager):
        assert spender.do(ask, tenant).decision == "granted"
        waiting = manager.start(races.code_of(change), tenant)
        manager.wait_until_blocked(waiting)
        spender.end(first_commits)
        assert waiting.result(races.PATIENCE) == "00000"
        # What is left under the new cap of 0.45 is decided by what was held before it.
        decision = spender.do(races.committed(ask), tenant, "0.05").decision
    is_tight = change in TIGHTENING and first_commits
    assert decision == ("denied" if is_tight else "granted")


def test_a_freeze_waits_for_a_grant_and_refuses_the_next(database: Database) -> None:
    tenant, hold = open_tenant(database)
    with races.rivals(database) as (spender, manager):
        assert spender.do(ask, tenant).decision == "granted"
        waiting = manager.start(races.code_of(freeze_user), tenant)
        manager.wait_until_blocked(waiting)
        spender.commit()
        assert waiting.result(races.PATIENCE) == "00000"
        assert spender.do(decide, tenant, hold) == "frozen"
        # What is held may be settled, also in a frozen scope.
        assert spender.do(settle, tenant, hold) == "00000"


# Settled and released through slots of a list that was read before the change.


@CHANGES
@pytest.mark.parametrize("end", [settle, settle_above, settle_in_batch, release])
def test_an_end_that_waited_for_a_change_is_counted_by_it(
    database: Database, end: Callable[[Connection, Tenant, UUID], str], change: Change
) -> None:
    tenant, hold = open_tenant(database)
    with races.rivals(database) as (manager, spender):
        manager.do(change, tenant)
        waiting = spender.start(end, tenant, hold)
        spender.wait_until_blocked(waiting)
        manager.commit()
        assert waiting.result(races.PATIENCE) == "00000"
    slot = races.workflow_slot(database, tenant)
    settled = "2.00" if end is settle_above else "0" if end is release else "0.30"
    assert (slot.settled, slot.held) == (Decimal(settled), Decimal(0))


@pytest.mark.parametrize("end", [settle, settle_above, settle_in_batch, release])
def test_an_end_that_waited_for_a_change_nobody_kept(
    database: Database, end: Callable[[Connection, Tenant, UUID], str]
) -> None:
    tenant, hold = open_tenant(database)
    with races.rivals(database) as (manager, spender):
        manager.do(create, tenant)
        manager.do(stripe_less, tenant)
        waiting = spender.start(end, tenant, hold)
        spender.wait_until_blocked(waiting)
        manager.rollback()
        assert waiting.result(races.PATIENCE) == "00000"
    assert races.month_slot(database, tenant) is None


@ENDS
@pytest.mark.parametrize("change", [create, move_here, move_away, stripe_less])
def test_a_change_that_waited_for_a_settlement_counts_it(
    database: Database, change: Change, first_commits: bool
) -> None:
    tenant, hold = open_tenant(database)
    with races.rivals(database) as (spender, manager):
        spender.do(races.settle, hold, "0.30")
        waiting = manager.start(races.code_of(change), tenant)
        manager.wait_until_blocked(waiting)
        spender.end(first_commits)
        assert waiting.result(races.PATIENCE) == "00000"
        decision = spender.do(races.committed(ask), tenant, "0.10").decision
    # Of 0.45 a dime is left where the hold became 0.30, and not where it is still there.
    is_tight = change in TIGHTENING and not first_commits
    assert decision == ("denied" if is_tight else "granted")


@pytest.mark.parametrize("end", [settle_above, settle_in_batch, release])
@pytest.mark.parametrize(
    "change", [create, move_here, move_away, change_window, remove, stripe_less, freeze]
)
def test_a_hold_that_is_older_than_a_change_ends_by_it(
    database: Database, end: Callable[[Connection, Tenant, UUID], str], change: Change
) -> None:
    """Nobody waits for anybody; the hold names budgets and slots that are no longer so."""
    tenant, hold = open_tenant(database, slots=16)
    with races.session(database) as connection:
        change(connection, tenant)
        connection.commit()
        assert end(connection, tenant, hold) == "00000"


# Many.


def some_change(connection: Connection, tenant: Tenant, dice: random.Random) -> str:
    """Change something, and put it back now and then; returns the code."""

    def unfreeze(connection: Connection, tenant: Tenant) -> None:
        races.unfreeze_scope(connection, tenant, "organization")
        races.unfreeze_scope(connection, tenant, "user", str(USER))

    def cap(connection: Connection, tenant: Tenant) -> None:
        races.set_workflow_cap(connection, tenant, str(dice.randint(0, 300) / Decimal(100)))
        races.set_budget(connection, tenant, "user", "total", "2.00", str(USER))

    def move(connection: Connection, tenant: Tenant) -> None:
        budget = races.one(
            connection,
            "select id from metering.budgets where organization_id = %s and limit_usd is not null"
            " and scope <> 'workflow' order by random() limit 1",
            tenant.organization,
        )
        scope, scope_id = dice.choice(
            [("model", "unknown"), ("model", "other"), ("user", str(USER)), ("organization", "")]
        )
        window = dice.choice(["total", "hour", "month"])
        races.change_budget(
            connection, tenant, budget, scope=scope, scope_id=scope_id, window=window
        )

    changes = [create, lower, remove, stripe_more, stripe_less, freeze, freeze_user]
    change = dice.choice([*changes, unfreeze, unfreeze, cap, cap, move, move])
    return races.code_of(change)(connection, tenant)


def some_spend(connection: Connection, tenant: Tenant, dice: random.Random) -> str:
    """Take a hold and end it in some way."""
    decision = races.committed(ask)(connection, tenant, str(dice.randint(1, 30) / Decimal(100)))
    if decision.decision == "denied":
        return "00000"
    end = dice.choice([settle, settle_above, settle_in_batch, release, extend])
    return end(connection, tenant, decision.hold_id)


def test_everything_changes_under_load(database: Database) -> None:
    tenant, _ = open_tenant(database)

    def work(connection: Connection, index: int) -> list[str]:
        dice = random.Random(index)
        if index == 0:
            alarms = [races.findings(database, tenant) for _ in range(10)]
            assert alarms == [[]] * 10
            return []
        if index < 4:
            return [some_change(connection, tenant, dice) for _ in range(15)]
        return [some_spend(connection, tenant, dice) for _ in range(15)]

    codes = races.together(database, 16, work)

    # What was moved away is not there any more, and two cannot be moved to one place.
    changed, spent = set().union(*codes[1:4]), set().union(*codes[4:])
    assert changed <= {"00000", "22023", "TS404"}
    assert spent <= {"00000", "TS402", "TS423"}


@pytest.mark.parametrize("slots", [1, 16], ids=["unstriped", "striped"])
def test_no_grant_passes_a_cap_that_is_lowered_under_load(database: Database, slots: int) -> None:
    """Dimes are granted while the cap falls from ten dollars to one, in steps of a dime."""
    tenant = races.open_tenant(database)
    with races.session(database) as connection:
        races.stripe(connection, tenant, slots)
        races.set_workflow_cap(connection, tenant, "10.00")

    def work(connection: Connection, index: int) -> int:
        if index == 0:
            for cents in range(1000, 90, -10):
                races.set_workflow_cap(connection, tenant, str(Decimal(cents).scaleb(-2)))
                connection.commit()
            return 0
        granted = 0
        while races.committed(ask)(connection, tenant).decision == "granted":
            granted += 1
        return granted

    granted = Decimal(sum(races.together(database, 12, work))) / 10

    slot = races.workflow_slot(database, tenant)
    # Where the cap met what was granted, granting stopped for good.
    assert slot == Slot(Decimal(0), Decimal(0), granted - 1 or None, held=granted)
    assert Decimal("1.00") <= granted < Decimal("10.00")
