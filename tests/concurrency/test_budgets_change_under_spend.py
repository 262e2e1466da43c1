"""Caps are stored, changed and removed while spend is in flight; the figures stay complete."""

from collections.abc import Iterator
from decimal import Decimal

import pytest

from tests.support import races
from tests.support.races import Connection, Slot, Tenant
from tests.support.servers import Database, Server


@pytest.fixture(scope="module", name="database")
def shared_database(server: Server, template: str) -> Iterator[Database]:
    """One database for all tests here: each has an organization of its own."""
    with server.clone(template) as database, races.warm(database):
        yield database


def test_a_new_month_cap_counts_spend_it_waited_for(database: Database) -> None:
    tenant = races.open_tenant(database)
    with races.rivals(database) as (spender, manager):
        spender.do(races.record, tenant, "1.00")
        spender.commit()
        spender.do(races.record, tenant, "2.00")
        change = manager.start(races.set_month_cap, tenant, "5.00")
        manager.wait_until_blocked(change)
        spender.commit()
        change.result(races.PATIENCE)
        manager.commit()
    assert races.month_slot(database, tenant) == Slot(Decimal("3.00"), Decimal("2.00"))
    races.assert_books(database, tenant, "3.00", 2)


def test_a_new_month_cap_does_not_count_spend_that_was_rolled_back(database: Database) -> None:
    tenant = races.open_tenant(database)
    with races.rivals(database) as (spender, manager):
        spender.do(races.record, tenant, "2.00")
        change = manager.start(races.set_month_cap, tenant, "5.00")
        manager.wait_until_blocked(change)
        spender.rollback()
        change.result(races.PATIENCE)
        manager.commit()
    assert races.month_slot(database, tenant) == Slot(Decimal(0), Decimal("5.00"))
    races.assert_books(database, tenant, "0", 0)


def test_spend_that_waited_for_a_new_month_cap_is_counted_by_it(database: Database) -> None:
    tenant = races.open_tenant(database)
    with races.rivals(database) as (spender, manager):
        manager.do(races.set_month_cap, tenant, "5.00")
        spend = spender.start(races.record, tenant, "7.00")
        spender.wait_until_blocked(spend)
        manager.commit()
        spend.result(races.PATIENCE)
        spender.commit()
    assert races.month_slot(database, tenant) == Slot(Decimal("7.00"), Decimal(0), Decimal("2.00"))
    races.assert_books(database, tenant, "7.00", 1)


def test_spend_that_waited_for_a_cap_nobody_kept_is_recorded(database: Database) -> None:
    tenant = races.open_tenant(database)
    with races.rivals(database) as (spender, manager):
        manager.do(races.set_month_cap, tenant, "5.00")
        spend = spender.start(races.record, tenant, "7.00")
        spender.wait_until_blocked(spend)
        manager.rollback()
        spend.result(races.PATIENCE)
        spender.commit()
    assert races.month_slot(database, tenant) is None
    races.assert_books(database, tenant, "7.00", 1)


@pytest.mark.parametrize(
    ("limit", "expected"),
    [
        ("10.00", Slot(Decimal("3.00"), Decimal("7.00"))),
        ("3.00", Slot(Decimal("3.00"), Decimal(0))),
        ("0.50", Slot(Decimal("3.00"), Decimal(0), Decimal("2.50"))),
        ("0", Slot(Decimal("3.00"), Decimal(0), Decimal("3.00"))),
    ],
)
@pytest.mark.parametrize("scope", ["workflow", "organization"])
def test_a_changed_cap_counts_spend_it_waited_for(
    database: Database, scope: str, limit: str, expected: Slot
) -> None:
    tenant = races.open_tenant(database)
    set_cap = races.set_workflow_cap if scope == "workflow" else races.set_month_cap
    with races.session(database) as connection:
        set_cap(connection, tenant, "5.00")
    with races.rivals(database) as (spender, manager):
        spender.do(races.record, tenant, "3.00")
        change = manager.start(set_cap, tenant, limit)
        manager.wait_until_blocked(change)
        spender.commit()
        change.result(races.PATIENCE)
        manager.commit()
    window = "total" if scope == "workflow" else "month"
    assert races.slot_of(database, tenant, scope, window) == expected
    races.assert_books(database, tenant, "3.00", 1)


@pytest.mark.parametrize(
    ("scope", "uncapped"),
    # A workflow's own budget goes on counting without its cap; another is gone with it.
    [("workflow", Slot(Decimal("7.00"), None)), ("organization", None)],
)
def test_spend_that_waited_for_a_removed_cap_is_counted(
    database: Database, scope: str, uncapped: Slot | None
) -> None:
    tenant = races.open_tenant(database)
    set_cap = races.set_workflow_cap if scope == "workflow" else races.set_month_cap
    remove = races.remove_workflow_cap if scope == "workflow" else races.remove_month_cap
    window = "total" if scope == "workflow" else "month"
    with races.session(database) as connection:
        set_cap(connection, tenant, "5.00")
        races.record(connection, tenant, "6.00")
    with races.rivals(database) as (spender, manager):
        manager.do(remove, tenant)
        spend = spender.start(races.record, tenant, "1.00")
        spender.wait_until_blocked(spend)
        manager.commit()
        spend.result(races.PATIENCE)
        spender.commit()
        assert races.slot_of(database, tenant, scope, window) == uncapped
        # A cap stored again knows what was counted in between.
        manager.do(set_cap, tenant, "8.00")
        manager.commit()
    assert races.slot_of(database, tenant, scope, window) == Slot(Decimal("7.00"), Decimal("1.00"))
    races.assert_books(database, tenant, "7.00", 2)


def test_a_check_sees_the_cap_it_waited_for(database: Database) -> None:
    tenant = races.open_tenant(database)
    with races.rivals(database) as (asker, manager):
        manager.do(races.set_workflow_cap, tenant, "0.05")
        answer = asker.start(races.check, tenant, "0.10")
        asker.wait_until_blocked(answer)
        manager.commit()
        assert answer.result(races.PATIENCE) is False


def test_a_cap_is_not_lowered_between_a_check_and_its_record(database: Database) -> None:
    tenant = races.open_tenant(database)
    with races.rivals(database) as (careful, manager):
        assert careful.do(races.check, tenant, "0.90") is True
        change = manager.start(races.set_workflow_cap, tenant, "0.50")
        manager.wait_until_blocked(change)
        careful.do(races.record, tenant, "0.90")
        careful.commit()
        change.result(races.PATIENCE)
        manager.commit()
    assert races.slot_of(database, tenant, "workflow", "total") == Slot(
        Decimal("0.90"), Decimal(0), Decimal("0.40")
    )


def test_two_managers_store_the_first_month_cap_at_once(database: Database) -> None:
    tenant = races.open_tenant(database)
    with races.rivals(database) as (first, second):
        first.do(races.set_month_cap, tenant, "5.00")
        other = second.start(races.code_of(races.set_month_cap), tenant, "6.00")
        second.wait_until_blocked(other)
        first.commit()
        assert other.result(races.PATIENCE) == "00000"
    assert races.month_slot(database, tenant) == Slot(Decimal(0), Decimal("6.00"))


def test_caps_come_and_go_under_load(database: Database) -> None:
    tenant = races.open_tenant(database)

    def act(connection: Connection, index: int, step: int) -> str:
        if index == 0:
            return races.code_of(races.set_month_cap)(connection, tenant, f"{step}.00")
        if index == 1:
            return races.code_of(races.remove_month_cap)(connection, tenant)
        if index == 2:
            return races.code_of(races.set_workflow_cap)(connection, tenant, f"{step}.00")
        if index == 3:
            return races.code_of(races.remove_workflow_cap)(connection, tenant)
        return races.code_of(races.record)(connection, tenant, "0.10")

    def work(connection: Connection, index: int) -> set[str]:
        return {act(connection, index, step) for step in range(8)}

    codes = races.together(database, 12, work)

    # Only the removal of a cap that is not there is refused.
    assert codes.pop(1) <= {"00000", "TS404"}
    assert set().union(*codes) == {"00000"}
    races.assert_books(database, tenant, "6.40", 64)
    with races.session(database) as connection:
        races.set_month_cap(connection, tenant, "10.00")
    assert races.month_slot(database, tenant) == Slot(Decimal("6.40"), Decimal("3.60"))


def test_workflows_open_while_others_spend_and_caps_change(database: Database) -> None:
    first = races.open_tenant(database)

    def work(connection: Connection, index: int) -> None:
        for step in range(5):
            workflow = races.open_workflow(connection, first.organization)
            races.record(connection, Tenant(first.organization, workflow), "0.10")
            if index == 0:
                races.set_month_cap(connection, first, f"{step}")
            connection.commit()

    races.together(database, 6, work)

    month = races.month_slot(database, first)
    assert month == Slot(Decimal("3.00"), Decimal("1.00"))
    assert races.findings(database, first) == []
