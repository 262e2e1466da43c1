"""Movements of credits against the books: months that close, carries, days, and each other."""

from collections.abc import Iterator
from decimal import Decimal
from uuid import UUID

import pytest
from psycopg import IsolationLevel

from tests.support import races
from tests.support.races import Connection
from tests.support.servers import Database, Server

CALLERS = 8
LEVELS = pytest.mark.parametrize("isolation", list(IsolationLevel)[1:])
ENDS = pytest.mark.parametrize("first_commits", [True, False], ids=["commit", "rollback"])


@pytest.fixture(scope="module", name="database")
def shared_database(server: Server, template: str) -> Iterator[Database]:
    """One database for all tests here: each has an organization of its own."""
    with server.clone(template) as database, races.warm(database):
        races.set_clock(database, "2026-03-10 12:00+00")
        yield database


@pytest.fixture(name="books")
def opened_books(database: Database) -> UUID:
    """Open an organization that has bought credits."""
    organization = races.open_tenant(database).organization
    with races.session(database) as connection:
        buy(connection, organization, "first")
    return organization


def buy(connection: Connection, books: UUID, key: str, amount: str = "10.00004") -> UUID:
    movement: UUID = races.call(
        connection,
        "billing.purchase_credits",
        org_id=books,
        amount_usd=Decimal(amount),
        idempotency_key=key,
    ).id
    return movement


def run(connection: Connection, books: UUID, cost: str) -> UUID:
    """Start a run, use what it was expected to and a little more, and reconcile it."""
    started: UUID = races.one(connection, "select tests.run(%s, %s)", books, Decimal(cost))
    races.one(connection, "select tests.call(%s, %s)", started, Decimal(cost) + Decimal("0.00003"))
    races.one(connection, "select billing.reconcile_run(%s)", started)
    return started


def move(connection: Connection, books: UUID, how: str = "close") -> str:
    status: str = races.call(
        connection,
        f"accounting.{how}_period",
        organization_id=books,
        period_key="2026-03",
        correlation_id="c",
    ).period_status
    return status


def post(connection: Connection, books: UUID, day: str | None = None) -> int:
    count: int = races.one(connection, "select accounting.post_provider_cost(%s, %s)", books, day)
    return count


def months(database: Database, books: UUID) -> list[str]:
    """Return the month of each bundle of the system, in the order of their movements."""
    with races.session(database) as connection:
        return [
            month
            for (month,) in connection.execute(
                "select to_char(transaction_date, 'YYYY-MM') from accounting.ledger_transactions"
                " where organization_id = %s and source_system = 'tallystick' order by recorded_at",
                (books,),
            )
        ]


def agrees(database: Database, books: UUID) -> None:
    assert races.findings(database, books) == []


@LEVELS
@pytest.mark.parametrize("closes", [True, False], ids=["commit", "rollback"])
def test_a_movement_waits_for_a_month_that_is_being_closed_and_goes_to_the_next(
    database: Database, books: UUID, isolation: IsolationLevel, closes: bool
) -> None:
    with races.rivals(database, 2, isolation) as (closer, buyer):
        closer.do(move, books)
        buying = buyer.start(races.code_of(buy), books, "second")
        buyer.wait_until_blocked_by(closer, buying)
        closer.end(closes)
        outcome = buying.result(races.PATIENCE)
        if closes and isolation is not IsolationLevel.READ_COMMITTED:
            assert outcome == "40001"
            outcome = buyer.do(races.code_of(buy), books, "second")
        assert outcome == "00000"
        buyer.commit()
    assert months(database, books) == ["2026-03", "2026-04" if closes else "2026-03"]
    agrees(database, books)


@ENDS
def test_closing_waits_for_a_movement(database: Database, books: UUID, first_commits: bool) -> None:
    with races.rivals(database, 2) as (buyer, closer):
        buyer.do(buy, books, "second")
        closing = closer.start(move, books)
        closer.wait_until_blocked_by(buyer, closing)
        buyer.end(first_commits)
        assert closing.result(races.PATIENCE) == "closed"
        closer.commit()
    assert months(database, books) == ["2026-03"] * (1 + first_commits)
    agrees(database, books)


@LEVELS
def test_who_has_not_seen_the_last_carry_does_not_lose_it(
    database: Database, books: UUID, isolation: IsolationLevel
) -> None:
    """Two purchases of 0.00003 each are 0.0001 in the books, with what the first carried."""
    with races.rivals(database, 2, isolation) as (first, second):
        second.do(races.one, "select count(*) from accounting.rounding_carries")
        first.do(buy, books, "second", "0.00003")
        buying = second.start(races.code_of(buy), books, "third", "0.00003")
        second.wait_until_blocked_by(first, buying)
        first.commit()
        outcome = buying.result(races.PATIENCE)
        if isolation is not IsolationLevel.READ_COMMITTED:
            assert outcome == "40001"
            outcome = second.do(races.code_of(buy), books, "third", "0.00003")
        assert outcome == "00000"
        second.commit()
    agrees(database, books)


@ENDS
def test_the_first_postings_of_an_organization_open_its_accounts_once(
    database: Database, first_commits: bool
) -> None:
    books = races.open_tenant(database).organization
    with races.session(database) as connection:
        workflow = races.one(connection, "select tests.workflow(%s)", books)
        races.one(connection, "select tests.spend(%s, 1)", workflow)
        races.one(connection, "select (billing.grant_credits(%s, 'promo', 1, 'p')).id", books)
    races.set_clock(database, "2026-03-11 12:00+00")
    try:
        with races.rivals(database, 2) as (buyer, poster):
            buyer.do(buy, books, "second")
            # Who keeps others waiting long is left for the next time, so it asks for itself.
            posting = poster.start(map_cash, books)
            poster.wait_until_blocked_by(buyer, posting)
            buyer.end(first_commits)
            posting.result(races.PATIENCE)
            poster.commit()
        with races.session(database) as connection:
            assert post(connection, books) == 1
    finally:
        races.set_clock(database, "2026-03-10 12:00+00")
    agrees(database, books)
    with races.session(database) as connection:
        lines = races.one(
            connection,
            "select count(*) from accounting.account_map where organization_id = %s",
            books,
        )
    assert lines == 10


def map_cash(connection: Connection, books: UUID) -> None:
    races.call(
        connection,
        "accounting.set_account",
        organization_id=books,
        code="till",
        name="Till",
        account_type="asset",
        account_id="till",
    )
    races.call(
        connection,
        "accounting.set_account_map",
        organization_id=books,
        line="cash",
        account_id="till",
    )


def test_organizations_do_not_wait_for_each_other(database: Database, books: UUID) -> None:
    other = races.open_tenant(database).organization
    with races.rivals(database, 2) as (first, second):
        first.do(buy, books, "second")
        first.do(run, books, "1")
        second.do(buy, other, "second")
        second.do(run, other, "1")
        second.commit()
        first.commit()
    for each in (books, other):
        agrees(database, each)


def test_while_a_month_closes_and_opens_every_movement_is_booked(
    database: Database, books: UUID
) -> None:
    def work(connection: Connection, index: int) -> None:
        for turn in range(4):
            if index == 0:
                move(connection, books, ("close", "reopen")[turn % 2])
            elif index % 2:
                buy(connection, books, f"{index}-{turn}", "1.00003")
            else:
                run(connection, books, "0.10001")
            connection.commit()

    races.together(database, CALLERS, work)
    assert set(months(database, books)) <= {"2026-03", "2026-04"}
    agrees(database, books)


def test_a_day_is_posted_once_whoever_posts_it(database: Database) -> None:
    books = races.open_tenant(database).organization
    days = ["2026-03-12", "2026-03-13", "2026-03-14"]
    with races.session(database) as connection:
        workflow = races.one(connection, "select tests.workflow(%s)", books)
        connection.commit()
        for day in days:
            races.set_clock(database, f"{day} 12:00+00")
            races.one(connection, "select tests.spend(%s, 1.00004)", workflow)
            connection.commit()
    races.set_clock(database, "2026-03-15 12:00+00")
    try:
        with races.rivals(database, 2) as (first, second):
            assert first.do(post, books) == 3
            # One more, in the other order: it is not waited for.
            assert second.do(post, books, days[1]) == 0
            first.commit()
            assert second.do(post, books, days[1]) == 0
            second.commit()

        def work(connection: Connection, index: int) -> int:
            count = post(connection, books, None if index % 2 else days[index % 3])
            connection.commit()
            return count

        assert sum(races.together(database, CALLERS, work)) == 0
    finally:
        races.set_clock(database, "2026-03-10 12:00+00")
    with races.session(database) as connection:
        assert races.one(
            connection,
            "select sum(amount) from accounting.ledger_postings"
            " where organization_id = %s and memo = 'provider_cost'",
            books,
        ) == Decimal("3.0001")
    agrees(database, books)
