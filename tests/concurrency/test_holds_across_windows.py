"""Holds and the ends of windows: a hold counts to the window it was taken in, whenever it ends."""

from collections.abc import Callable, Iterator
from decimal import Decimal
from typing import Any
from uuid import UUID

import pytest

from tests.support import races
from tests.support.races import Connection, Slot, Tenant
from tests.support.servers import Database, Server

NOVEMBER = "2026-11-30 23:59:59.9Z"
DECEMBER = "2026-12-01 00:00:00.1Z"
ENDS = pytest.mark.parametrize("first_commits", [True, False], ids=["commit", "rollback"])
SLOTS = pytest.mark.parametrize("slots", [1, 16], ids=["unstriped", "striped"])
NOTHING = Decimal(0)


@pytest.fixture(scope="module", name="database")
def shared_database(server: Server, template: str) -> Iterator[Database]:
    """One database for all tests here: each sets its clock, and has an organization of its own."""
    with server.clone(template) as database, races.warm(database):
        yield database


def open_capped(database: Database, limit: str = "1.00", slots: int = 1) -> Tenant:
    """Open a tenant with a cap on its month, in November."""
    races.set_clock(database, NOVEMBER)
    tenant = races.open_tenant(database)
    with races.session(database) as connection:
        races.stripe(connection, tenant, slots)
        races.set_budget(connection, tenant, "organization", "month", limit, slots=slots)
    return tenant


def take_hold(database: Database, tenant: Tenant, cost: str = "0.50") -> UUID:
    with races.session(database) as connection:
        hold: UUID = races.authorize(connection, tenant, cost, expires_in="1 hour").hold_id
    return hold


def granted_by_month(database: Database, tenant: Tenant) -> dict[str, Decimal]:
    """Return what is held or was spent, by the month it counts to."""
    with races.session(database) as connection:
        return dict(
            connection.execute(
                "select to_char(created_at at time zone 'UTC', 'YYYY-MM'), sum(amount) from ("
                "select created_at, held_usd as amount from metering.holds"
                " where organization_id = %(id)s and state = 'open' union all "
                "select created_at, cost from public.ai_usage_ledger"
                " where organization_id = %(id)s) as calls group by 1",
                {"id": tenant.organization},
            ).fetchall()
        )


ask = races.committed(races.authorize)


# Under load.


@SLOTS
@pytest.mark.parametrize("spread", ["0", "200 milliseconds"], ids=["one clock", "many clocks"])
def test_a_month_ends_under_load(database: Database, slots: int, spread: str) -> None:
    """Callers want more than either month has; where clocks disagree they jump back and forth."""
    tenant = open_capped(database, "3.00", slots)
    steps = 12

    def work(connection: Connection, index: int) -> None:
        for step in range(steps):
            if (index, step) == (0, steps // 2):
                races.set_clock(database, NOVEMBER if spread != "0" else DECEMBER, spread)
            decision = ask(connection, tenant, "0.10")
            if decision.decision == "granted" and step % 2:
                races.committed(races.settle)(connection, decision.hold_id, "0.10")

    races.together(database, 12, work)

    races.set_clock(database, DECEMBER)
    with races.session(database) as connection:
        while ask(connection, tenant, "0.10").decision == "granted":
            pass
    granted = granted_by_month(database, tenant)
    assert granted["2026-11"] <= Decimal("3.00")
    assert granted["2026-12"] == Decimal("3.00")
    month = races.month_slot(database, tenant)
    assert month is not None
    assert (month.used, month.available) == (Decimal("3.00"), NOTHING)


# One opens the new month while another ends a hold of the old one.


def settle(connection: Connection, tenant: Tenant, hold: UUID) -> None:
    races.settle(connection, hold, "0.30")


def settle_above(connection: Connection, tenant: Tenant, hold: UUID) -> None:
    races.settle(connection, hold, "3.00")


def settle_in_batch(connection: Connection, tenant: Tenant, hold: UUID) -> None:
    (answer,) = races.settle_batch(connection, tenant, [races.settle_item(hold, "0.30")])
    assert answer.error_code is None


def release(connection: Connection, tenant: Tenant, hold: UUID) -> None:
    races.release(connection, hold)


def extend(connection: Connection, tenant: Tenant, hold: UUID) -> None:
    races.extend(connection, hold, "0.20")


def expire(connection: Connection, tenant: Tenant, hold: UUID) -> None:
    assert races.expire(connection, tenant) == 1


End = Callable[[Connection, Tenant, UUID], None]


@SLOTS
@ENDS
@pytest.mark.parametrize("end", [settle, settle_above, settle_in_batch, release, extend])
def test_a_hold_of_the_old_month_ends_while_the_new_one_opens(
    database: Database, slots: int, end: End, first_commits: bool
) -> None:
    tenant = open_capped(database, "1.00", slots)
    hold = take_hold(database, tenant)
    races.set_clock(database, DECEMBER)
    with races.rivals(database) as (opener, ender):
        # More than November has left, so the month that admits it is the new one.
        assert opener.do(races.authorize, tenant, "0.90").decision == "granted"
        waiting = ender.start(races.code_of(end), tenant, hold)
        ender.wait_until_blocked(waiting)
        opener.end(first_commits)
        assert waiting.result(races.PATIENCE) == "00000"
        # Nothing of it counts to December, and nothing of it is free there.
        decision = ender.do(ask, tenant, "0.20").decision
        assert decision == ("denied" if first_commits else "granted")
    held = Decimal("0.90" if first_commits else "0.20")
    assert races.month_slot(database, tenant) == Slot(NOTHING, 1 - held, held=held)


@SLOTS
@pytest.mark.parametrize("end", [settle, settle_above, settle_in_batch, release, extend, expire])
def test_the_new_month_opens_while_a_hold_of_the_old_one_ends(
    database: Database, slots: int, end: End
) -> None:
    tenant = open_capped(database, "1.00", slots)
    hold = take_hold(database, tenant)
    if end is expire:
        races.let_expire(database, hold)
    races.set_clock(database, DECEMBER)
    with races.rivals(database) as (ender, opener):
        ender.do(end, tenant, hold)
        waiting = opener.start(ask, tenant, "1.00")
        opener.wait_until_blocked(waiting)
        ender.commit()
        assert waiting.result(races.PATIENCE).decision == "granted"
    assert races.month_slot(database, tenant) == Slot(NOTHING, NOTHING, held=Decimal("1.00"))


def test_spend_above_a_hold_of_the_old_month_is_no_debt_of_the_new_one(
    database: Database,
) -> None:
    tenant = open_capped(database)
    hold = take_hold(database, tenant)
    races.set_clock(database, DECEMBER)
    with races.session(database) as connection:
        assert ask(connection, tenant, "0.10").decision == "granted"
        usage = races.settle(connection, hold, "9.00")
    assert (usage.settlement, usage.unheld_usd) == ("on_hold", Decimal("8.50"))
    assert races.month_slot(database, tenant) == Slot(
        NOTHING, Decimal("0.90"), held=Decimal("0.10")
    )
    assert races.workflow_slot(database, tenant).settled == Decimal("9.00")


@SLOTS
@ENDS
def test_of_two_extensions_one_gets_what_the_old_month_had_left(
    database: Database, slots: int, first_commits: bool
) -> None:
    """The month is over, but what these holds become is counted there: its cap still binds."""
    tenant = open_capped(database, "1.00", slots)
    holds = [take_hold(database, tenant, "0.40") for _ in range(2)]
    races.set_clock(database, DECEMBER)
    with races.rivals(database) as (first, second):
        first.do(races.committed(races.authorize), tenant, "0.10")
        first.do(races.extend, holds[0], "0.20")
        waiting = second.start(races.code_of(races.extend), holds[1], "0.20")
        second.wait_until_blocked(waiting)
        first.end(first_commits)
        assert waiting.result(races.PATIENCE) == ("TS402" if first_commits else "00000")
    assert granted_by_month(database, tenant) == {
        "2026-11": Decimal("1.00"),
        "2026-12": Decimal("0.10"),
    }


# Windows move forward only.


@SLOTS
def test_a_grant_that_began_in_the_old_month_joins_the_open_one(
    database: Database, slots: int
) -> None:
    """It read its clock, waited, and meanwhile its rival opened the new month."""
    tenant = open_capped(database, "1.00")
    with races.session(database) as connection:
        races.change_budget(connection, tenant, tenant.organization, slots=slots)
    with races.rivals(database) as (blocker, late):
        blocker.do(lock_all_slots, tenant)
        waiting = late.start(ask, tenant, "0.30")
        late.wait_until_blocked(waiting)
        races.set_clock(database, DECEMBER)
        blocker.do(races.authorize, tenant, "0.90")
        blocker.commit()
        decision = waiting.result(races.PATIENCE)
    assert decision.decision == "denied"
    assert granted_by_month(database, tenant) == {"2026-12": Decimal("0.90")}


def lock_all_slots(connection: Connection, tenant: Tenant) -> None:
    """Let the organization stand still, as a check does until its transaction ends."""
    races.check(connection, tenant)


@SLOTS
def test_a_clock_that_jumped_back_spends_from_the_open_month(
    database: Database, slots: int
) -> None:
    tenant = open_capped(database, "1.00", slots)
    races.set_clock(database, DECEMBER)
    with races.session(database) as connection:
        assert ask(connection, tenant, "0.90").decision == "granted"
    races.set_clock(database, NOVEMBER)
    with races.rivals(database) as (first, second):
        # November has a whole dollar left, and has ended.
        assert first.do(ask, tenant, "0.20").decision == "denied"
        assert first.do(races.authorize, tenant, "0.10").decision == "granted"
        waiting = second.start(ask, tenant, "0.10")
        second.wait_until_blocked(waiting)
        first.commit()
        assert waiting.result(races.PATIENCE).decision == "denied"
    assert granted_by_month(database, tenant) == {"2026-12": Decimal("1.00")}


@ENDS
def test_a_cap_stored_in_the_new_month_waits_for_the_end_of_an_old_hold(
    database: Database, first_commits: bool
) -> None:
    tenant = open_capped(database)
    hold = take_hold(database, tenant)
    races.set_clock(database, DECEMBER)
    with races.rivals(database) as (ender, manager):
        ender.do(races.settle, hold, "0.80")
        change = manager.start(races.code_of(races.set_month_cap), tenant, "2.00")
        manager.wait_until_blocked(change)
        ender.end(first_commits)
        assert change.result(races.PATIENCE) == "00000"
    assert races.month_slot(database, tenant) == Slot(NOTHING, Decimal("2.00"))


# Months nobody made a partition for.


def partitions(database: Database, month: str) -> int:
    with races.session(database) as connection:
        number: int = races.one(
            connection,
            "select count(*) from pg_inherits where inhparent = 'public.ai_usage_ledger'::regclass"
            " and inhrelid = to_regclass(%s)",
            f"private.ai_usage_ledger_{month}",
        )
    return number


@pytest.mark.parametrize(
    ("same_organization", "year"), [(True, 2031), (False, 2032)], ids=["one", "many"]
)
def test_many_ask_in_a_month_without_a_partition(
    database: Database, same_organization: bool, year: int
) -> None:
    tenants = [open_capped(database, slots=4) for _ in range(1 if same_organization else 12)]
    races.set_clock(database, f"{year}-05-15 12:00Z")

    def work(connection: Connection, index: int) -> str:
        decision = ask(connection, tenants[index % len(tenants)], "0.05")
        races.committed(races.settle)(connection, decision.hold_id, "0.05")
        return str(decision.decision)

    decisions = races.together(database, 12, work)

    assert set(decisions) == {"granted"}
    assert partitions(database, f"{year}_05") == 1


@ENDS
def test_an_authorize_waits_for_the_partition_that_another_makes(
    database: Database, first_commits: bool
) -> None:
    first, second = open_capped(database), open_capped(database)
    year = 2033 if first_commits else 2034
    races.set_clock(database, f"{year}-05-15 12:00Z")
    with races.rivals(database) as (maker, caller):
        maker.do(races.authorize, first, "0.10")
        waiting = caller.start(ask, second, "0.10")
        caller.wait_until_blocked(waiting)
        maker.end(first_commits)
        decision = waiting.result(races.PATIENCE)
        assert decision.decision == "granted"
        assert caller.do(races.code_of(races.settle), decision.hold_id, "0.10") == "00000"
    assert partitions(database, f"{year}_05") == 1


def test_a_check_and_its_record_in_a_month_without_a_partition(database: Database) -> None:
    """Another caller makes the partition and then waits for the one who checks."""
    tenant = open_capped(database)
    races.set_clock(database, "2035-05-15 12:00Z")
    with races.rivals(database) as (careful, plain):
        assert careful.do(races.check, tenant) is True
        theirs = plain.start(races.code_of(races.authorize), tenant, "0.10")
        plain.wait_until_blocked(theirs)
        ours = careful.start(races.code_of(races.record), tenant)
        assert ours.result(races.PATIENCE) == "00000"
        assert theirs.result(races.PATIENCE) == "00000"


def ask_in_batch(connection: Connection, tenant: Tenant) -> list[Any]:
    items = [races.ask_item(tenant, "0.10")] * 2
    return races.committed(races.authorize_batch)(connection, tenant, items)


def test_a_batch_that_waits_into_a_month_without_a_partition(database: Database) -> None:
    """Its clock was read in May; in June another makes the partition and waits for the batch."""
    tenant = open_capped(database)
    races.set_clock(database, "2036-05-31 23:59:59Z")
    with races.rivals(database, 3) as (blocker, batch, single):
        blocker.do(races.authorize, tenant, "0.10")
        items = batch.start(ask_in_batch, tenant)
        batch.wait_until_blocked(items)
        races.set_clock(database, "2036-06-01 00:00:01Z")
        theirs = single.start(races.code_of(races.authorize), tenant, "0.10")
        single.wait_until_blocked(theirs)
        blocker.commit()
        answers = items.result(races.PATIENCE)
        assert theirs.result(races.PATIENCE) == "00000"
    assert [answer.decision for answer in answers] == ["granted"] * 2


# Holds that become overdue while a batch waits for its turn.


@SLOTS
def test_a_batch_is_not_held_up_by_a_hold_that_became_overdue_while_it_waited(
    database: Database, slots: int
) -> None:
    """Who releases that hold has locked it and waits for the batch, which must not wait back."""
    tenant = open_capped(database, "1.00", slots)
    hold = take_hold(database, tenant, "0.80")
    with races.rivals(database, 3) as (blocker, batch, releaser):
        blocker.do(lock_all_slots, tenant)
        asked = batch.start(ask_in_batch, tenant)
        batch.wait_until_blocked(asked)
        races.set_clock(database, "2026-12-01 01:30Z")
        released = releaser.start(races.code_of(races.release), hold)
        releaser.wait_until_blocked(released)
        blocker.commit()
        answers = asked.result(races.PATIENCE)
        assert released.result(races.PATIENCE) == "00000"
    assert [answer.decision for answer in answers] == ["granted"] * 2
    assert races.hold_states(database, tenant)[hold] == "released"
