"""Two who revise one receipt at once: one wins, the other reads again."""

from collections.abc import Callable, Iterator
from uuid import UUID, uuid4

import pytest
from psycopg import IsolationLevel
from psycopg.types.json import Jsonb

from tests.support import races
from tests.support.races import Connection
from tests.support.servers import Database, Server

CALLERS = 12


@pytest.fixture(scope="module", name="database")
def shared_database(server: Server, template: str) -> Iterator[Database]:
    """One database for all tests here: each has an owner of its own."""
    with server.clone(template) as database, races.warm(database):
        yield database


def assert_event(connection: Connection, owner: UUID, logical: UUID) -> UUID:
    event: UUID = races.call(
        connection, "public.ledger_assert_v0",
        domain="payments", event_type="paid", owner_user_id=owner, logical_id=logical,
    ).id  # fmt: skip
    return event


def amend(connection: Connection, owner: UUID, logical: UUID, read: UUID | None = None) -> UUID:
    event: UUID = races.call(
        connection, "public.ledger_amend_v0",
        logical_id=logical, payload={"by": str(uuid4())}, supersedes_id=read, organization_id=owner,
    ).id  # fmt: skip
    return event


def insert(connection: Connection, owner: UUID, logical: UUID, read: UUID) -> None:
    """Revise by a plain insert, as a client of the REST interface may."""
    connection.execute(
        "insert into public.ledger_events_v0 (logical_id, revision, supersedes_id, op, domain,"
        " event_type, owner_user_id, payload)"
        " values (%s, 1, %s, 'amend', 'payments', 'paid', %s, %s)",
        (logical, read, owner, Jsonb({})),
    )


def revisions(database: Database, owner: UUID) -> list[int]:
    with races.session(database) as connection:
        return [
            number
            for (number,) in connection.execute(
                "select revision from public.ledger_events_v0 where owner_user_id = %s order by 1",
                (owner,),
            )
        ]


@pytest.mark.parametrize("revise", [amend, insert])
@pytest.mark.parametrize("first_commits", [True, False], ids=["commit", "rollback"])
def test_the_second_to_revise_reads_again(
    database: Database,
    revise: Callable[[Connection, UUID, UUID, UUID], object],
    first_commits: bool,
) -> None:
    owner, logical = uuid4(), uuid4()
    with races.session(database) as connection:
        read = assert_event(connection, owner, logical)
    with races.rivals(database, 2) as (first, second):
        first.do(revise, owner, logical, read)
        later = second.start(races.code_of(revise), owner, logical, read)
        second.wait_until_blocked(later)
        first.end(first_commits)
        assert later.result(races.PATIENCE) == ("TS419" if first_commits else "00000")
    assert revisions(database, owner) == [0, 1]


def test_of_many_one_wins(database: Database) -> None:
    owner, logical = uuid4(), uuid4()
    with races.session(database) as connection:
        read = assert_event(connection, owner, logical)
    codes = races.together(
        database, CALLERS, lambda c, _: races.code_of(amend)(c, owner, logical, read)
    )
    assert sorted(codes) == ["00000"] + ["TS419"] * (CALLERS - 1)
    assert revisions(database, owner) == [0, 1]


def test_one_event_is_asserted_once(database: Database) -> None:
    owner, logical = uuid4(), uuid4()
    codes = races.together(
        database, CALLERS, lambda c, _: races.code_of(assert_event)(c, owner, logical)
    )
    assert sorted(codes) == ["00000"] + ["TS419"] * (CALLERS - 1)


def insert_event(
    connection: Connection, owner: UUID, logical: UUID, event: UUID, clause: str = ""
) -> None:
    """Assert by a plain insert."""
    connection.execute(
        "insert into public.ledger_events_v0"
        " (id, logical_id, domain, event_type, owner_user_id)"
        " values (%s, %s, 'payments', 'paid', %s) " + clause,
        (event, logical, owner),
    )


def heads(database: Database, owner: UUID) -> list[tuple[UUID, UUID]]:
    """Return the event and the revision of each head; nothing may disagree with it."""
    with races.session(database) as connection:
        assert not connection.execute(
            "select * from audit.verify_integrity(%s)", (owner,)
        ).fetchall()
        return connection.execute(
            "select logical_id, event_id from private.ledger_heads where owner_user_id = %s",
            (owner,),
        ).fetchall()


@pytest.mark.parametrize("first_commits", [True, False], ids=["commit", "rollback"])
@pytest.mark.parametrize(
    ("clause", "code"),
    [(None, "TS419"), ("", "23505"), ("on conflict do nothing", "00000")],
    ids=["call", "insert", "ignore"],
)
def test_the_second_to_assert_an_event_waits_for_the_first(
    database: Database, first_commits: bool, clause: str | None, code: str
) -> None:
    owner, logical, event = uuid4(), uuid4(), uuid4()
    with races.rivals(database, 2) as (first, second):
        first.do(insert_event, owner, logical, event)
        if clause is None:
            later = second.start(races.code_of(assert_event), owner, logical)
        else:
            later = second.start(races.code_of(insert_event), owner, logical, uuid4(), clause)
        second.wait_until_blocked(later)
        first.end(first_commits)
        assert later.result(races.PATIENCE) == (code if first_commits else "00000")
    assert [of for of, _ in heads(database, owner)] == [logical]
    assert not first_commits or heads(database, owner) == [(logical, event)]


def test_a_row_that_is_passed_over_leaves_no_head(database: Database) -> None:
    owner, logical, event = uuid4(), uuid4(), uuid4()
    clause = "on conflict do nothing"
    with races.rivals(database, 2) as (first, second):
        first.do(insert_event, owner, logical, event, clause)
        later = second.start(races.code_of(insert_event), owner, uuid4(), event, clause)
        second.wait_until_blocked(later)
        first.end(True)
        assert later.result(races.PATIENCE) == "00000"
    assert heads(database, owner) == [(logical, event)]


@pytest.mark.parametrize("isolation", list(IsolationLevel)[2:])
def test_at_higher_levels_no_revision_is_lost(
    database: Database, isolation: IsolationLevel
) -> None:
    owner, logical = uuid4(), uuid4()
    with races.session(database) as connection:
        assert_event(connection, owner, logical)

    def work(connection: Connection, _: int) -> str:
        code = "40001"
        while code in ("40001", "TS419"):
            code = races.code_of(amend)(connection, owner, logical)
        return code

    assert set(races.together(database, CALLERS, work, isolation=isolation)) == {"00000"}
    assert revisions(database, owner) == list(range(CALLERS + 1))
