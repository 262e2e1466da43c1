"""Months end under load, clocks disagree and jump back, partitions are missing."""

from collections.abc import Iterator
from decimal import Decimal
from itertools import count

import pytest

from tests.support import races
from tests.support.races import Connection, Slot, Tenant
from tests.support.servers import Database, Server

NOVEMBER = "2026-11-30 23:59:59.9Z"
DECEMBER = "2026-12-01 00:00:00.1Z"


@pytest.fixture(scope="module", name="database")
def shared_database(server: Server, template: str) -> Iterator[Database]:
    """One database for all tests here: each sets its clock, and has an organization of its own."""
    with server.clone(template) as database, races.warm(database):
        yield database


_years = count(2031, 4)


@pytest.fixture
def far_month() -> str:
    """A month that is far from those any other test came near, as YYYY-MM."""
    return f"{next(_years)}-05"


def spend_by_month(database: Database, tenant: Tenant) -> dict[str, Decimal]:
    """Return recorded cost by month, from the ledger."""
    with races.session(database) as connection:
        return dict(
            connection.execute(
                "select to_char(created_at at time zone 'UTC', 'YYYY-MM'), sum(cost)"
                " from public.ai_usage_ledger where organization_id = %s group by 1",
                (tenant.organization,),
            ).fetchall()
        )


def test_a_month_ends_under_load(database: Database) -> None:
    tenant = races.open_tenant(database)
    races.set_clock(database, NOVEMBER)
    with races.session(database) as connection:
        races.set_month_cap(connection, tenant, "1000")

    def work(connection: Connection, index: int) -> None:
        for step in range(10):
            if (index, step) == (0, 5):
                races.set_clock(database, DECEMBER)
            races.record(connection, tenant, "0.01")
            connection.commit()

    races.together(database, 8, work)

    months = spend_by_month(database, tenant)
    assert set(months) == {"2026-11", "2026-12"}
    month = races.month_slot(database, tenant)
    assert month == Slot(months["2026-12"], 1000 - months["2026-12"])
    races.assert_books(database, tenant, "0.80", 80)


def test_a_call_that_began_in_the_old_month_joins_the_open_one(database: Database) -> None:
    """It read its clock, waited, and meanwhile its rival opened the new month."""
    tenant = races.open_tenant(database)
    races.set_clock(database, NOVEMBER)
    with races.session(database) as connection:
        races.set_month_cap(connection, tenant, "5.00")
    with races.rivals(database) as (first, late):
        first.do(races.record, tenant, "1.00")
        second = late.start(races.record, tenant, "2.00", request="request 1")
        late.wait_until_blocked(second)
        races.set_clock(database, DECEMBER)
        first.do(races.record, tenant, "4.00")
        first.commit()
        second.result(races.PATIENCE)
        late.commit()
    assert spend_by_month(database, tenant) == {
        "2026-11": Decimal("1.00"),
        "2026-12": Decimal("6.00"),
    }
    month = races.month_slot(database, tenant)
    assert month == Slot(Decimal("6.00"), Decimal(0), Decimal("1.00"))
    races.assert_books(database, tenant, "7.00", 3)


def test_a_call_that_began_in_the_old_month_stays_there_without_a_month_cap(
    database: Database,
) -> None:
    tenant = races.open_tenant(database)
    races.set_clock(database, NOVEMBER)
    with races.rivals(database) as (first, late):
        first.do(races.record, tenant, "1.00")
        second = late.start(races.record, tenant, "2.00")
        late.wait_until_blocked(second)
        races.set_clock(database, DECEMBER)
        first.do(races.record, tenant, "4.00")
        first.commit()
        second.result(races.PATIENCE)
        late.commit()
    assert spend_by_month(database, tenant) == {
        "2026-11": Decimal("3.00"),
        "2026-12": Decimal("4.00"),
    }
    races.assert_books(database, tenant, "7.00", 3)


def test_a_late_call_is_counted_by_a_cap_stored_in_the_new_month(database: Database) -> None:
    tenant = races.open_tenant(database)
    races.set_clock(database, NOVEMBER)
    with races.rivals(database, 3) as (first, late, manager):
        first.do(races.record, tenant, "1.00")
        change = manager.start(races.set_month_cap, tenant, "5.00")
        manager.wait_until_blocked(change)
        second = late.start(races.record, tenant, "2.00")
        late.wait_until_blocked(second)
        races.set_clock(database, DECEMBER)
        first.commit()
        change.result(races.PATIENCE)
        manager.commit()
        second.result(races.PATIENCE)
        late.commit()
    races.assert_books(database, tenant, "3.00", 2)


def test_clocks_disagree_about_the_month_under_load(database: Database) -> None:
    """Each call reads either side of midnight; once the month is open, all land in it."""
    tenant = races.open_tenant(database)
    races.set_clock(database, NOVEMBER)
    with races.session(database) as connection:
        races.set_month_cap(connection, tenant, "1.00")
        races.record(connection, tenant, "0.50")
    races.set_clock(database, NOVEMBER, spread="200 milliseconds")

    def work(connection: Connection, index: int) -> None:
        for number in range(8):
            races.record(connection, tenant, "0.10", f"request {index} {number}")
            connection.commit()

    races.together(database, 8, work)

    months = spend_by_month(database, tenant)
    month = races.month_slot(database, tenant)
    assert month is not None
    assert month.settled == months["2026-12"]
    races.assert_books(database, tenant, "6.90", 65)


def test_spend_recorded_by_a_clock_that_is_behind_joins_the_open_month(
    database: Database,
) -> None:
    tenant = races.open_tenant(database)
    races.set_clock(database, DECEMBER)
    with races.session(database) as connection:
        races.set_month_cap(connection, tenant, "5.00")
        races.record(connection, tenant, "1.00")
    races.set_clock(database, NOVEMBER)
    with races.session(database) as connection:
        races.record(connection, tenant, "2.00", "request 1")
        races.record(connection, tenant, "2.00", "request 1")
    assert spend_by_month(database, tenant) == {"2026-12": Decimal("3.00")}
    month = races.month_slot(database, tenant)
    assert month == Slot(Decimal("3.00"), Decimal("2.00"))
    races.assert_books(database, tenant, "3.00", 2)


def test_a_quota_asked_by_a_clock_that_is_behind_is_about_the_open_month(
    database: Database,
) -> None:
    """Spend would land in the open month, so that month decides."""
    tenant = races.open_tenant(database)
    races.set_clock(database, NOVEMBER)
    with races.session(database) as connection:
        races.set_month_cap(connection, tenant, "1.00")
    races.set_clock(database, DECEMBER)
    with races.session(database) as connection:
        races.record(connection, tenant, "1.00")
        assert races.quota(connection, tenant) is False
    races.set_clock(database, NOVEMBER)
    with races.session(database) as connection:
        assert races.quota(connection, tenant) is False


def test_a_month_cap_stored_by_a_clock_that_is_behind_misses_no_spend(
    database: Database,
) -> None:
    tenant = races.open_tenant(database)
    races.set_clock(database, DECEMBER)
    with races.session(database) as connection:
        races.record(connection, tenant, "1.00")
    races.set_clock(database, NOVEMBER)
    with races.session(database) as connection:
        races.set_month_cap(connection, tenant, "5.00")
    assert races.findings(database, tenant) == []
    races.set_clock(database, DECEMBER)
    with races.session(database) as connection:
        races.record(connection, tenant, "2.00")
    month = races.month_slot(database, tenant)
    assert month == Slot(Decimal("3.00"), Decimal("2.00"))
    races.assert_books(database, tenant, "3.00", 2)


@pytest.mark.parametrize("same_organization", [True, False])
def test_a_month_without_a_partition_is_hit_by_many_at_once(
    database: Database, far_month: str, same_organization: bool
) -> None:
    number = 12
    tenants = [races.open_tenant(database) for _ in range(1 if same_organization else number)]
    races.set_clock(database, f"{far_month}-15 12:00Z")

    def work(connection: Connection, index: int) -> str:
        return races.code_of(races.record)(connection, tenants[index % len(tenants)], "0.10")

    codes = races.together(database, number, work)

    assert codes == ["00000"] * number
    with races.connect(database, races.OWNER) as connection:
        partitions = races.one(
            connection,
            "select count(*) from pg_inherits where inhparent = 'public.ai_usage_ledger'::regclass"
            " and inhrelid = to_regclass(%s)",
            f"private.ai_usage_ledger_{far_month.replace('-', '_')}",
        )
    assert partitions == 1
    each = "1.20" if same_organization else "0.10"
    for tenant in tenants:
        races.assert_books(database, tenant, each, number // len(tenants))


@pytest.mark.parametrize("spent_before", [True, False])
def test_a_missing_partition_that_a_rival_is_making_is_waited_for(
    database: Database, far_month: str, spent_before: bool
) -> None:
    first, second = races.open_tenant(database), races.open_tenant(database)
    races.set_clock(database, "2027-01-15 12:00Z")
    with races.rivals(database) as (early, maker):
        if spent_before:
            early.do(races.record, first, "1.00")
        races.set_clock(database, f"{far_month}-15 12:00Z")
        maker.do(races.record, second, "2.00")
        waiting = early.start(races.code_of(races.record), first, "4.00")
        early.wait_until_blocked(waiting)
        maker.commit()
        assert waiting.result(races.PATIENCE) == "00000"
    races.assert_books(database, first, "5.00" if spent_before else "4.00", 1 + spent_before)
    races.assert_books(database, second, "2.00", 1)


def test_a_missing_partition_is_made_when_the_rival_that_was_making_it_rolls_back(
    database: Database,
    far_month: str,
) -> None:
    first, second = races.open_tenant(database), races.open_tenant(database)
    races.set_clock(database, f"{far_month}-15 12:00Z")
    with races.rivals(database) as (waiting, maker):
        maker.do(races.record, second, "2.00")
        record = waiting.start(races.code_of(races.record), first, "4.00")
        waiting.wait_until_blocked(record)
        maker.rollback()
        assert record.result(races.PATIENCE) == "00000"
    races.assert_books(database, first, "4.00", 1)
    races.assert_books(database, second, "0", 0)


def maintain(connection: Connection) -> None:
    connection.execute("set local role postgres")
    connection.execute("select private.maintain()")


def test_maintenance_waits_for_a_partition_that_spend_is_making(
    database: Database, far_month: str
) -> None:
    tenant = races.open_tenant(database)
    races.set_clock(database, f"{far_month}-15 12:00Z")
    with races.rivals(database) as (spender, keeper):
        spender.do(races.record, tenant)
        work = keeper.start(races.code_of(maintain))
        keeper.wait_until_blocked(work)
        spender.commit()
        assert work.result(races.PATIENCE) == "00000"
    races.assert_books(database, tenant, "0.10", 1)


def test_spend_waits_for_a_partition_that_maintenance_is_making(
    database: Database, far_month: str
) -> None:
    tenant = races.open_tenant(database)
    races.set_clock(database, f"{far_month}-15 12:00Z")
    with races.rivals(database) as (spender, keeper):
        keeper.do(maintain)
        work = spender.start(races.code_of(races.record), tenant)
        spender.wait_until_blocked(work)
        keeper.commit()
        assert work.result(races.PATIENCE) == "00000"
    races.assert_books(database, tenant, "0.10", 1)


def test_maintenance_runs_beside_spend(database: Database, far_month: str) -> None:
    tenant = races.open_tenant(database)
    races.set_clock(database, f"{far_month}-15 12:00Z")

    def work(connection: Connection, index: int) -> list[str]:
        if index % 4 == 0:
            return [races.code_of(maintain)(connection) for _ in range(2)]
        return [
            races.code_of(races.record)(connection, tenant, "0.10", f"request {index} {step}")
            for step in range(5)
        ]

    codes = races.together(database, 8, work)

    assert {code for each in codes for code in each} == {"00000"}
    races.assert_books(database, tenant, "3.00", 30)
