"""REPEATABLE READ and SERIALIZABLE: the right answer or 40001, never a wrong one."""

from collections.abc import Callable, Iterator
from decimal import Decimal

import psycopg
import pytest
from psycopg import IsolationLevel

from tests.support import races
from tests.support.races import Connection, Rival, Slot, Tenant
from tests.support.servers import Database, Server


@pytest.fixture(scope="module", name="database")
def shared_database(server: Server, template: str) -> Iterator[Database]:
    """One database for all tests here: each has an organization of its own."""
    with server.clone(template) as database, races.warm(database):
        yield database


SERIALIZATION_FAILURE = "40001"
HIGHER = pytest.mark.parametrize(
    "isolation", [IsolationLevel.REPEATABLE_READ, IsolationLevel.SERIALIZABLE]
)


def take_snapshot(rival: Rival) -> None:
    """Begin a transaction whose snapshot is older than what follows elsewhere."""
    rival.do(races.one, "select count(*) from metering.workflows")


def commit_elsewhere(
    database: Database, work: Callable[..., object], tenant: Tenant, *arguments: str
) -> None:
    with races.session(database) as connection:
        work(connection, tenant, *arguments)


@HIGHER
def test_a_record_with_an_old_snapshot_adds_up_or_is_told_to_retry(
    database: Database, isolation: IsolationLevel
) -> None:
    tenant = races.open_tenant(database)
    with races.rivals(database, 1, isolation) as (spender,):
        take_snapshot(spender)
        commit_elsewhere(database, races.record, tenant, "1.00")
        assert spender.do(races.code_of(races.record), tenant, "2.00") == SERIALIZATION_FAILURE
        assert spender.do(races.code_of(races.record), tenant, "2.00") == "00000"
    races.assert_books(database, tenant, "3.00", 2)


@HIGHER
def test_a_record_that_waited_adds_up_or_is_told_to_retry(
    database: Database, isolation: IsolationLevel
) -> None:
    tenant = races.open_tenant(database)
    with races.rivals(database, 2, isolation) as (first, second):
        first.do(races.record, tenant, "1.00")
        waiting = second.start(races.code_of(races.record), tenant, "2.00")
        second.wait_until_blocked(waiting)
        first.commit()
        assert waiting.result(races.PATIENCE) == SERIALIZATION_FAILURE
        assert second.do(races.code_of(races.record), tenant, "2.00") == "00000"
    races.assert_books(database, tenant, "3.00", 2)


@HIGHER
def test_a_record_older_than_the_month_cap_is_counted_or_told_to_retry(
    database: Database, isolation: IsolationLevel
) -> None:
    tenant = races.open_tenant(database)
    with races.rivals(database, 1, isolation) as (spender,):
        take_snapshot(spender)
        commit_elsewhere(database, races.set_month_cap, tenant, "5.00")
        code = spender.do(races.code_of(races.record), tenant, "2.00")
        assert code in {"00000", SERIALIZATION_FAILURE}
        if code == SERIALIZATION_FAILURE:
            assert spender.do(races.code_of(races.record), tenant, "2.00") == "00000"
    assert races.month_slot(database, tenant) == Slot(Decimal("2.00"), Decimal("3.00"))
    races.assert_books(database, tenant, "2.00", 1)


@HIGHER
def test_a_record_that_waited_for_the_month_cap_is_counted_or_told_to_retry(
    database: Database, isolation: IsolationLevel
) -> None:
    tenant = races.open_tenant(database)
    with (
        races.rivals(database, 1, isolation) as (spender,),
        races.rivals(database, 1) as (manager,),
    ):
        manager.do(races.set_month_cap, tenant, "5.00")
        waiting = spender.start(races.code_of(races.record), tenant, "2.00")
        spender.wait_until_blocked(waiting)
        manager.commit()
        if waiting.result(races.PATIENCE) == SERIALIZATION_FAILURE:
            assert spender.do(races.code_of(races.record), tenant, "2.00") == "00000"
    races.assert_books(database, tenant, "2.00", 1)


@HIGHER
@pytest.mark.parametrize("limit", ["1.00", "9.00"])
def test_a_record_older_than_a_changed_cap_is_counted_or_told_to_retry(
    database: Database, isolation: IsolationLevel, limit: str
) -> None:
    tenant = races.open_tenant(database)
    commit_elsewhere(database, races.set_month_cap, tenant, "5.00")
    with races.rivals(database, 1, isolation) as (spender,):
        take_snapshot(spender)
        commit_elsewhere(database, races.set_month_cap, tenant, limit)
        commit_elsewhere(database, races.set_workflow_cap, tenant, limit)
        code = spender.do(races.code_of(races.record), tenant, "2.00")
        if code == SERIALIZATION_FAILURE:
            code = spender.do(races.code_of(races.record), tenant, "2.00")
        assert code == "00000"
    races.assert_books(database, tenant, "2.00", 1)


@HIGHER
def test_a_record_older_than_the_time_zone_uses_it_or_is_told_to_retry(
    database: Database, isolation: IsolationLevel
) -> None:
    tenant = races.open_tenant(database)
    races.set_clock(database, "2026-11-30 20:00Z")
    with races.rivals(database, 1, isolation) as (spender,):
        take_snapshot(spender)
        commit_elsewhere(database, races.set_time_zone, tenant, "Asia/Tokyo")
        code = spender.do(races.code_of(races.record), tenant, "2.00")
        assert code in {"00000", SERIALIZATION_FAILURE}
        if code == SERIALIZATION_FAILURE:
            assert spender.do(races.code_of(races.record), tenant, "2.00") == "00000"
    races.assert_books(database, tenant, "2.00", 1)


@HIGHER
def test_a_check_older_than_the_freeze_is_told_to_retry(
    database: Database, isolation: IsolationLevel
) -> None:
    tenant = races.open_tenant(database)
    with races.rivals(database, 1, isolation) as (spender,):
        take_snapshot(spender)
        commit_elsewhere(database, races.freeze, tenant)
        assert spender.do(races.code_of(races.check), tenant) == SERIALIZATION_FAILURE
        assert spender.do(races.check, tenant) is False


@HIGHER
def test_a_month_cap_older_than_spend_counts_it_or_is_told_to_retry(
    database: Database, isolation: IsolationLevel
) -> None:
    tenant = races.open_tenant(database)
    with races.rivals(database, 1, isolation) as (manager,):
        take_snapshot(manager)
        commit_elsewhere(database, races.record, tenant, "2.00")
        code = manager.do(races.code_of(races.set_month_cap), tenant, "5.00")
        assert code == SERIALIZATION_FAILURE
        assert manager.do(races.code_of(races.set_month_cap), tenant, "5.00") == "00000"
    assert races.month_slot(database, tenant) == Slot(Decimal("2.00"), Decimal("3.00"))


@HIGHER
def test_of_two_first_month_caps_the_older_snapshot_is_right_or_told_to_retry(
    database: Database, isolation: IsolationLevel
) -> None:
    tenant = races.open_tenant(database)
    with races.rivals(database, 1, isolation) as (manager,):
        take_snapshot(manager)
        commit_elsewhere(database, races.set_month_cap, tenant, "5.00")
        code = manager.do(races.code_of(races.set_month_cap), tenant, "6.00")
        assert code in {"00000", SERIALIZATION_FAILURE}
    assert races.findings(database, tenant) == []


@HIGHER
def test_a_time_zone_older_than_usage_is_not_changed(
    database: Database, isolation: IsolationLevel
) -> None:
    tenant = races.open_tenant(database)
    with races.rivals(database, 1, isolation) as (manager,):
        take_snapshot(manager)
        commit_elsewhere(database, races.record, tenant, "2.00")
        code = manager.do(races.code_of(races.set_time_zone), tenant, "Asia/Tokyo")
        assert code in {"23001", SERIALIZATION_FAILURE}
    races.assert_books(database, tenant, "2.00", 1)


@HIGHER
def test_a_check_with_an_old_snapshot_does_not_pass_the_cap(
    database: Database, isolation: IsolationLevel
) -> None:
    tenant = races.open_tenant(database)
    with races.rivals(database, 1, isolation) as (careful,):
        take_snapshot(careful)
        commit_elsewhere(database, races.record, tenant, "0.95")
        assert careful.do(races.code_of(races.check), tenant, "0.10") == SERIALIZATION_FAILURE
        assert careful.do(races.check, tenant, "0.10") is False


@HIGHER
def test_a_retried_request_with_an_old_snapshot_is_one_record(
    database: Database, isolation: IsolationLevel
) -> None:
    tenant = races.open_tenant(database)
    with races.rivals(database, 1, isolation) as (retry,):
        take_snapshot(retry)
        commit_elsewhere(database, races.record, tenant, "0.42", "request 1")
        code = retry.do(races.code_of(races.record), tenant, "0.42", "request 1")
        assert code in {"00000", SERIALIZATION_FAILURE}
        assert retry.do(races.code_of(races.record), tenant, "0.42", "request 1") == "00000"
        assert retry.do(races.code_of(races.record), tenant, "0.43", "request 1") == "TS409"
    races.assert_books(database, tenant, "0.42", 1)


@HIGHER
def test_a_partition_younger_than_the_snapshot_is_used_or_told_to_retry(
    database: Database, isolation: IsolationLevel
) -> None:
    tenant, other = races.open_tenant(database), races.open_tenant(database)
    races.set_clock(database, "2031-05-15 12:00Z")
    with races.rivals(database, 1, isolation) as (spender,):
        take_snapshot(spender)
        commit_elsewhere(database, races.record, other, "1.00")
        code = spender.do(races.code_of(races.record), tenant, "2.00")
        assert code in {"00000", SERIALIZATION_FAILURE}
        if code == SERIALIZATION_FAILURE:
            assert spender.do(races.code_of(races.record), tenant, "2.00") == "00000"
    races.assert_books(database, tenant, "2.00", 1)


@HIGHER
def test_check_and_record_with_retries_fill_a_cap_exactly(
    database: Database, isolation: IsolationLevel
) -> None:
    tenant = races.open_tenant(database)
    commit_elsewhere(database, races.set_workflow_cap, tenant, "2.00")

    def work(connection: Connection, _: int) -> int:
        recorded = 0
        while True:
            try:
                allowed = races.check(connection, tenant) and races.quota(connection, tenant)
                if allowed:
                    races.record(connection, tenant)
                connection.commit()
            except psycopg.errors.SerializationFailure:
                connection.rollback()
                continue
            if not allowed:
                return recorded
            recorded += 1

    recorded = races.together(database, 6, work, isolation)

    assert sum(recorded) == 20
    races.assert_books(database, tenant, "2.00", 20)
