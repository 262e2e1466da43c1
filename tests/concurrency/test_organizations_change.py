"""Time zones and owners change while others act."""

from collections.abc import Callable, Iterator

import pytest
from psycopg import IsolationLevel

from tests.support import races
from tests.support.races import Connection, Tenant
from tests.support.servers import Database, Server


@pytest.fixture(scope="module", name="database")
def shared_database(server: Server, template: str) -> Iterator[Database]:
    """One database for all tests here: each has an organization of its own."""
    with server.clone(template) as database, races.warm(database):
        yield database


def test_the_time_zone_stays_when_usage_was_in_flight(database: Database) -> None:
    tenant = races.open_tenant(database)
    with races.rivals(database) as (spender, manager):
        spender.do(races.record, tenant, "1.00")
        change = manager.start(races.code_of(races.set_time_zone), tenant, "Asia/Tokyo")
        manager.wait_until_blocked(change)
        spender.commit()
        assert change.result(races.PATIENCE) == "23001"
    races.assert_books(database, tenant, "1.00", 1)


def test_the_time_zone_changes_when_the_usage_in_flight_is_rolled_back(
    database: Database,
) -> None:
    tenant = races.open_tenant(database)
    with races.rivals(database) as (spender, manager):
        spender.do(races.record, tenant, "1.00")
        change = manager.start(races.code_of(races.set_time_zone), tenant, "Asia/Tokyo")
        manager.wait_until_blocked(change)
        spender.rollback()
        assert change.result(races.PATIENCE) == "00000"
    races.assert_books(database, tenant, "0", 0)


@pytest.mark.parametrize("cap", [None, "5.00"])
@pytest.mark.parametrize(
    ("old", "new", "month"),
    [
        ("UTC", "Asia/Tokyo", "2026-12-01"),
        ("UTC", "America/New_York", "2026-11-01"),
        ("Pacific/Kiritimati", "Pacific/Pago_Pago", "2026-11-01"),
    ],
)
def test_usage_that_waited_for_a_time_zone_falls_into_its_month(
    database: Database, old: str, new: str, month: str, cap: str | None
) -> None:
    tenant = races.open_tenant(database, old)
    races.set_clock(database, "2026-12-01 02:00Z")
    if cap:
        with races.session(database) as connection:
            races.set_month_cap(connection, tenant, cap)
    with races.rivals(database) as (spender, manager):
        manager.do(races.set_time_zone, tenant, new)
        spend = spender.start(races.record, tenant, "1.00")
        spender.wait_until_blocked(spend)
        manager.commit()
        spend.result(races.PATIENCE)
        spender.commit()
        months = spender.do(
            races.one,
            "select array_agg(month::text) from public.ai_cost_by_organization_month"
            " where organization_id = %s",
            tenant.organization,
        )
        assert months == [month]
        spender.commit()
    races.assert_books(database, tenant, "1.00", 1)
    # And the next month of the new zone begins where it should.
    races.set_clock(database, "2027-01-02 00:00Z")
    with races.session(database) as connection:
        races.record(connection, tenant, "2.00")
    races.assert_books(database, tenant, "3.00", 2)


OWNERS = [f"00000000-0000-0000-0000-00000000000{number}" for number in range(3)]


def open_company(database: Database) -> Tenant:
    """Open an organization with three owners."""
    tenant = races.open_tenant(database)
    insert = "insert into tenancy.memberships (organization_id, user_id, role) values (%s, %s, %s)"
    with races.session(database) as connection:
        for owner in OWNERS:
            connection.execute(insert, (tenant.organization, owner, "owner"))
    return tenant


def leave(connection: Connection, tenant: Tenant, owner: str) -> None:
    connection.execute(
        "delete from tenancy.memberships where (organization_id, user_id) = (%s, %s)",
        (tenant.organization, owner),
    )


def step_down(connection: Connection, tenant: Tenant, owner: str) -> None:
    connection.execute(
        "update tenancy.memberships set role = 'member'"
        " where (organization_id, user_id) = (%s, %s)",
        (tenant.organization, owner),
    )


def owners(database: Database, tenant: Tenant) -> list[str]:
    with races.session(database) as connection:
        left: list[str] = races.one(
            connection,
            "select coalesce(array_agg(user_id::text order by user_id), '{}')"
            " from tenancy.memberships where organization_id = %s and role = 'owner'",
            tenant.organization,
        )
    return left


@pytest.mark.parametrize("go", [leave, step_down])
@pytest.mark.parametrize(
    "isolation", [None, IsolationLevel.REPEATABLE_READ, IsolationLevel.SERIALIZABLE]
)
def test_two_owners_who_remove_each_other_leave_one(
    database: Database,
    go: Callable[[Connection, Tenant, str], None],
    isolation: IsolationLevel | None,
) -> None:
    tenant = open_company(database)
    with races.session(database) as connection:
        go(connection, tenant, OWNERS[2])
    with races.rivals(database, 2, isolation) as (first, second):
        second.do(races.one, "select count(*) from tenancy.memberships")
        first.do(go, tenant, OWNERS[1])
        other = second.start(races.code_of(go), tenant, OWNERS[0])
        second.wait_until_blocked(other)
        first.commit()
        assert other.result(races.PATIENCE) == ("40001" if isolation else "23001")
    assert owners(database, tenant) == OWNERS[:1]


@pytest.mark.parametrize("go", [leave, step_down])
def test_owners_who_go_at_once_do_not_wait_in_a_circle(
    database: Database, go: Callable[[Connection, Tenant, str], None]
) -> None:
    tenant = open_company(database)
    with races.rivals(database, 3) as (undecided, first, second):
        undecided.do(step_down, tenant, OWNERS[0])
        one = first.start(races.code_of(go), tenant, OWNERS[2])
        first.wait_until_blocked(one)
        other = second.start(races.code_of(go), tenant, OWNERS[1])
        second.wait_until_blocked(other)
        undecided.rollback()
        assert (one.result(races.PATIENCE), other.result(races.PATIENCE)) == ("00000", "00000")
    assert owners(database, tenant) == OWNERS[:1]


def test_spend_does_not_wait_for_owners_who_go(database: Database) -> None:
    tenant = open_company(database)
    with races.rivals(database) as (owner, spender):
        owner.do(leave, tenant, OWNERS[0])
        spender.do(races.record, tenant)
        spender.commit()
    races.assert_books(database, tenant, "0.10", 1)
