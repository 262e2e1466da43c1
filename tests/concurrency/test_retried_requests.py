"""A request id is one record, however often and from wherever it is sent."""

from collections.abc import Iterator
from decimal import Decimal
from uuid import uuid4

import psycopg
import pytest

from tests.support import races
from tests.support.races import Connection
from tests.support.servers import Database, Server


@pytest.fixture(scope="module", name="database")
def shared_database(server: Server, template: str) -> Iterator[Database]:
    """One database for all tests here: each has an organization of its own."""
    with server.clone(template) as database, races.warm(database):
        yield database


def test_one_request_from_many_connections_is_one_record(database: Database) -> None:
    tenant = races.open_tenant(database)

    def work(connection: Connection, _: int) -> list[str]:
        return [
            races.code_of(races.record)(connection, tenant, "0.07", f"request {number}")
            for number in range(3)
        ]

    codes = races.together(database, 32, work)

    assert codes == [["00000"] * 3] * 32
    races.assert_books(database, tenant, "0.21", 3)


def test_a_workflow_that_many_open_at_once_is_one(database: Database) -> None:
    tenant = races.open_tenant(database)
    ids = [uuid4() for _ in range(20)]

    def work(connection: Connection, index: int) -> None:
        for each in ids:  # the first of them, all at once
            races.call(
                connection,
                "public.upsert_intent_workflow",
                id=each,
                organization_id=tenant.organization,
                workflow_data={"by": index},
            )
            connection.commit()

    races.together(database, 16, work)

    with races.session(database) as connection:
        query = "select count(*) from metering.workflows where id = any(%s)"
        assert races.one(connection, query, ids) == len(ids)


def test_a_lost_answer_is_retried_on_a_new_connection(database: Database) -> None:
    tenant = races.open_tenant(database)
    for _ in range(2):
        with races.session(database) as connection:
            races.record(connection, tenant, "0.42", "request 1")
    races.assert_books(database, tenant, "0.42", 1)


def test_a_retry_waits_for_the_first_call_and_records_nothing_more(database: Database) -> None:
    tenant = races.open_tenant(database)
    with races.rivals(database) as (first, retry):
        first.do(races.record, tenant, "0.42", "request 1")
        second = retry.start(races.code_of(races.record), tenant, "0.420", "request 1")
        retry.wait_until_blocked(second)
        first.commit()
        assert second.result(races.PATIENCE) == "00000"
    races.assert_books(database, tenant, "0.42", 1)


def test_a_retry_records_when_the_first_call_rolls_back(database: Database) -> None:
    tenant = races.open_tenant(database)
    with races.rivals(database) as (first, retry):
        first.do(races.record, tenant, "0.42", "request 1")
        second = retry.start(races.code_of(races.record), tenant, "0.42", "request 1")
        retry.wait_until_blocked(second)
        first.rollback()
        assert second.result(races.PATIENCE) == "00000"
    races.assert_books(database, tenant, "0.42", 1)


def test_other_content_is_refused_also_while_the_first_call_is_open(database: Database) -> None:
    tenant = races.open_tenant(database)
    with races.rivals(database) as (first, other):
        first.do(races.record, tenant, "0.42", "request 1")
        second = other.start(races.code_of(races.record), tenant, "0.43", "request 1")
        other.wait_until_blocked(second)
        first.commit()
        assert second.result(races.PATIENCE) == "TS409"
    races.assert_books(database, tenant, "0.42", 1)


def test_other_content_is_recorded_when_the_first_call_rolls_back(database: Database) -> None:
    tenant = races.open_tenant(database)
    with races.rivals(database) as (first, other):
        first.do(races.record, tenant, "0.42", "request 1")
        second = other.start(races.code_of(races.record), tenant, "0.43", "request 1")
        other.wait_until_blocked(second)
        first.rollback()
        assert second.result(races.PATIENCE) == "00000"
    races.assert_books(database, tenant, "0.43", 1)


def test_a_refused_request_does_not_undo_what_came_before_its_savepoint(
    database: Database,
) -> None:
    tenant = races.open_tenant(database)
    with races.session(database) as connection:
        races.record(connection, tenant, "0.42", "request 1")
        with pytest.raises(psycopg.Error) as refusal, connection.transaction():
            races.record(connection, tenant, "0.43", "request 1")
        races.record(connection, tenant, "0.42", "request 1")
        races.record(connection, tenant, "0.01", "request 2")
    assert refusal.value.sqlstate == "TS409"
    races.assert_books(database, tenant, "0.43", 2)


def test_the_same_request_id_of_two_organizations_is_two_requests(database: Database) -> None:
    first, second = races.open_tenant(database), races.open_tenant(database)
    with races.rivals(database) as (one, other):
        one.do(races.record, first, "0.42", "request 1")
        other.do(races.record, second, "0.43", "request 1")
        other.commit()
        one.commit()
    races.assert_books(database, first, "0.42", 1)
    races.assert_books(database, second, "0.43", 1)


def test_retries_of_both_kinds_under_load(database: Database) -> None:
    """Each id is sent with two contents by many; whichever lands first is the one that counts."""
    tenant = races.open_tenant(database)

    def work(connection: Connection, index: int) -> list[str]:
        cost = "0.10" if index % 2 else "0.20"
        return [
            races.code_of(races.record)(connection, tenant, cost, f"request {number}")
            for number in range(6)
        ]

    codes = races.together(database, 12, work)

    for number in range(6):
        # All senders of the winning content succeed, all of the other are refused.
        odd = {codes[index][number] for index in range(1, 12, 2)}
        even = {codes[index][number] for index in range(0, 12, 2)}
        assert sorted([odd, even], key=sorted) == [{"00000"}, {"TS409"}]
    wins = sum(codes[1][number] == "00000" for number in range(6))
    cost = wins * Decimal("0.10") + (6 - wins) * Decimal("0.20")
    races.assert_books(database, tenant, str(cost), 6)


def test_transactions_that_share_a_request_do_not_deadlock(database: Database) -> None:
    """The first has spent already when both come to the request they share."""
    tenant = races.open_tenant(database)
    with races.rivals(database) as (batch, single):
        batch.do(races.record, tenant, "1.00", "request 1")
        theirs = single.start(races.code_of(races.record), tenant, "2.00", "request 2")
        single.wait_until_blocked(theirs)
        ours = batch.start(races.code_of(races.record), tenant, "2.00", "request 2")
        assert ours.result(races.PATIENCE) == "00000"
        assert theirs.result(races.PATIENCE) == "00000"
    races.assert_books(database, tenant, "3.00", 2)


def test_a_retry_of_a_committed_request_takes_no_part_in_the_queue(database: Database) -> None:
    """Whoever has its answer already need not wait for strangers to spend."""
    tenant = races.open_tenant(database)
    with races.rivals(database) as (stranger, retry):
        retry.do(races.record, tenant, "1.00", "request 1")
        retry.commit()
        stranger.do(races.record, tenant, "2.00", "request 2")
        assert retry.do(races.code_of(races.record), tenant, "1.00", "request 1") == "00000"
        assert retry.do(races.code_of(races.record), tenant, "9.00", "request 1") == "TS409"
        stranger.commit()
    races.assert_books(database, tenant, "3.00", 2)
