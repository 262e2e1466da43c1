"""Sealing passes over nothing that commits later, seals nothing twice, and nobody waits for it."""

from collections.abc import Iterator
from threading import Semaphore
from uuid import uuid4

import psycopg
import pytest
from psycopg import IsolationLevel

from tests.support import ledgers, races
from tests.support.races import Connection
from tests.support.servers import Database

ORGANIZATION = ledgers.ORGANIZATIONS[0]
WRITERS = 8
CALLS = 40


@pytest.fixture(name="database")
def database_with_rows(database: Database) -> Iterator[Database]:
    with races.warm(database):
        with races.session(database) as connection:
            ledgers.fill(connection, ORGANIZATION)
        seal_now(database)
        yield database


def seal(connection: Connection) -> int:
    """Seal once; return how many rows."""
    rows = connection.execute("select leaf_count from audit.seal_ledgers()").fetchall()
    return sum(count for (count,) in rows)


def write(connection: Connection) -> None:
    """Write one row: a receipt."""
    connection.execute(
        "select from public.ledger_assert_v0('payments', 'paid', p_owner_user_id => %s,"
        " p_organization_id => %s)",
        (ORGANIZATION, ORGANIZATION),
    )


def record(connection: Connection) -> None:
    """Record one usage, by way of the kernel."""
    connection.execute(
        "select from public.record_usage_and_increment("
        " (select id from metering.workflows where organization_id = %s limit 1), %s, 'm', 1, 1,"
        " 0.01, %s)",
        (ORGANIZATION, ORGANIZATION, str(uuid4())),
    )


def findings(database: Database) -> list[tuple[object, ...]]:
    with races.session(database) as connection:
        return connection.execute("select * from audit.verify_seals()").fetchall()


def unsealed(database: Database) -> int:
    """Count the rows of all ledgers that have no leaf."""
    with races.session(database) as connection:
        names = connection.execute("select ledger from audit.sealed_ledgers").fetchall()
        rows = sum(races.one(connection, f"select count(*) from {name}") for (name,) in names)
        leaves: int = races.one(connection, "select count(*) from audit.seal_leaves")
    return rows - leaves


def seal_now(database: Database) -> int:
    with races.session(database) as connection:
        return seal(connection)


@pytest.mark.parametrize("commits", [True, False], ids=["commit", "rollback"])
def test_what_is_under_way_waits_for_the_next_seal(database: Database, commits: bool) -> None:
    with races.rivals(database, 1) as (slow,):
        slow.do(write)
        # Began and committed after it: it waits too, as transactions are sealed in order.
        with races.session(database) as connection:
            write(connection)
        assert seal_now(database) == 0
        assert findings(database) == []
        slow.end(commits)
    assert seal_now(database) == (2 if commits else 1)
    assert seal_now(database) == 0
    assert unsealed(database) == 0
    assert findings(database) == []


def test_a_transaction_larger_than_the_limit(database: Database) -> None:
    with races.session(database) as connection:
        for _ in range(5):
            write(connection)
    with races.lent(database) as connection:
        connection.autocommit = True
        sealed = [
            connection.execute("select leaf_count from audit.seal_ledgers(2)").fetchall()
            for _ in range(4)
        ]
    assert sealed == [[(2,)], [(2,)], [(1,)], []]
    assert findings(database) == []


@pytest.mark.parametrize("seals_again", [False, True])
@pytest.mark.parametrize("below", ["0", "1"])
def test_nothing_comes_in_behind_a_quiet_ledger(
    database: Database, seals_again: bool, below: str
) -> None:
    """Transactions long after its last row are sealed, as the rows of other ledgers prove."""
    for _ in range(2):
        with races.session(database) as connection:
            record(connection)
        seal_now(database)
    with psycopg.connect(database.admin_url) as admin:
        admin.execute("set session_replication_role = replica")
        last = "(select max(xact_id) from public.ledger_events_v0)"
        admin.execute(
            f"update audit.sealed_ledgers set sealed_below = case %s when '0' then '0' else {last}"
            " end where ledger = 'public.ledger_events_v0'",
            (below,),
        )
        rows = admin.execute(
            "insert into public.ledger_events_v0 (organization_id, domain, event_type,"
            " owner_user_id, created_at, occurred_at, xact_id) select organization_id, 'payments',"
            " 'backdated', owner_user_id, created_at, created_at, xact_id"
            f" from public.ledger_events_v0 where xact_id = {last} limit 1 returning id::text"
        ).fetchall()
    if seals_again:
        assert seal_now(database) == 1
    assert [(check, (row,)) for check, _, _, row, *_ in findings(database)] == [
        ("row_came_before_its_seal", rows[0])
    ]


@pytest.mark.parametrize("first_commits", [True, False], ids=["commit", "rollback"])
def test_two_who_seal_queue(database: Database, first_commits: bool) -> None:
    with races.session(database) as connection:
        write(connection)
    with races.rivals(database, 2) as (first, second):
        assert first.do(seal) == 1
        later = second.start(seal)
        second.wait_until_blocked(later)
        first.end(first_commits)
        assert later.result(races.PATIENCE) == (0 if first_commits else 1)
        second.commit()
    assert unsealed(database) == 0
    assert findings(database) == []


@pytest.mark.parametrize("isolation", [IsolationLevel.REPEATABLE_READ, IsolationLevel.SERIALIZABLE])
def test_who_seals_by_an_old_snapshot_seals_nothing_twice(
    database: Database, isolation: IsolationLevel
) -> None:
    with races.session(database) as connection:
        write(connection)
    with races.rivals(database, 1, isolation=isolation) as (late,):
        late.do(count_seals)
        assert seal_now(database) == 1
        assert late.do(races.code_of(seal)) == "40001"
    assert unsealed(database) == 0
    assert findings(database) == []


@pytest.mark.parametrize("isolation", [IsolationLevel.READ_COMMITTED, IsolationLevel.SERIALIZABLE])
def test_what_is_written_while_a_seal_is_made_was_written_when_it_says(
    database: Database, isolation: IsolationLevel
) -> None:
    with psycopg.connect(database.admin_url) as admin:
        # No seal is made for five minutes here: what it takes at all is already too long.
        admin.execute(
            "create or replace function private.seal_tolerance() returns interval language sql"
            " immutable set search_path = pg_catalog, pg_temp as $$ select interval '0' $$"
        )
    with races.session(database) as connection:
        write(connection)
    with races.rivals(database, 1, isolation=isolation) as (slow,):
        if isolation is IsolationLevel.SERIALIZABLE:
            slow.do(count_seals)  # takes its snapshot
            with races.session(database) as connection:
                write(connection)
        with psycopg.connect(database.admin_url) as admin:
            # Sealed after the ledgers that are written below.
            admin.execute("lock table public.venture_token_ledger in access exclusive mode")
            later = slow.start(seal)
            slow.wait_until_blocked(later)
            with races.session(database) as connection:
                write(connection)
        assert later.result(races.PATIENCE) == 1
        slow.commit()
    assert seal_now(database) == (1 if isolation is IsolationLevel.READ_COMMITTED else 2)
    assert findings(database) == []


def count_seals(connection: Connection) -> int:
    count: int = races.one(connection, "select count(*) from audit.seals")
    return count


def test_nobody_waits_for_a_seal(database: Database) -> None:
    with races.session(database) as connection:
        write(connection)
    with races.rivals(database, 1) as (sealer,):
        assert sealer.do(seal) == 1
        with races.session(database) as connection:  # a statement timeout would end a wait
            record(connection)
            write(connection)
        sealer.commit()
    assert findings(database) == []


def test_under_load_each_row_is_sealed_once(database: Database) -> None:
    writers = Semaphore(0)

    def work(connection: Connection, index: int) -> int:
        return keep_sealing(connection) if index == 0 else keep_writing(connection)

    def keep_writing(connection: Connection) -> int:
        try:
            for _ in range(CALLS):
                races.committed(record)(connection)
                races.committed(write)(connection)
        finally:
            writers.release()
        return 0

    def keep_sealing(connection: Connection) -> int:
        total = ended = 0
        while ended < WRITERS:
            total += races.committed(seal)(connection)
            ended += writers.acquire(blocking=False)
        return total

    sealed = sum(races.together(database, WRITERS + 1, work))
    assert sealed + seal_now(database) == WRITERS * CALLS * 2
    assert unsealed(database) == 0
    assert findings(database) == []
