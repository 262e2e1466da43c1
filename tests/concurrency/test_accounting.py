"""Posting against closing, a call against itself, and accounts that move at once."""

import json
from collections.abc import Callable, Iterator
from typing import Any
from uuid import UUID

import pytest
from psycopg import IsolationLevel

from tests.support import races
from tests.support.races import Connection
from tests.support.servers import Database, Server

CALLERS = 8
MONTH = "2026-01"
LEVELS = pytest.mark.parametrize("isolation", list(IsolationLevel)[1:])
HIGHER = pytest.mark.parametrize("isolation", list(IsolationLevel)[2:])


@pytest.fixture(scope="module", name="database")
def shared_database(server: Server, template: str) -> Iterator[Database]:
    """One database for all tests here: each has an organization of its own."""
    with server.clone(template) as database, races.warm(database):
        yield database


@pytest.fixture(name="books")
def opened_books(database: Database) -> UUID:
    """Open an organization with accounts."""
    organization = races.open_tenant(database).organization
    with races.session(database) as connection:
        connection.execute("select tests.chart(%s)", (organization,))
    return organization


def post(connection: Connection, books: UUID, external_id: str = "1", **more: Any) -> str:
    """Post a bundle into the month; return the response as it is."""
    request = {
        "source_system": "test",
        "external_id": external_id,
        "transaction_date": f"{MONTH}-15",
        "description": "Test",
        "correlation_id": "c",
        "postings": [
            {"account_id": "cash", "amount": "10"},
            {"account_id": "sales", "amount": "-10"},
        ],
        **more,
    }
    response: str = races.one(
        connection,
        "select accounting.record_transaction_bundle(%s, %s)",
        books,
        json.dumps(request),
    )
    return response


def status(response: str) -> str:
    """Return what became of a bundle: its status, or the code it was refused with."""
    answer = json.loads(response)
    return str(answer["error_code"] if answer["status"] == "refused" else answer["status"])


def close(connection: Connection, books: UUID, how: str = "close") -> str:
    answer: str = races.call(
        connection,
        f"accounting.{how}_period",
        organization_id=books,
        period_key=MONTH,
        correlation_id="c",
    ).period_status
    return answer


def rows(database: Database, books: UUID, table: str) -> int:
    with races.session(database) as connection:
        number: int = races.one(
            connection, f"select count(*) from accounting.{table} where organization_id = %s", books
        )
    return number


@LEVELS
@pytest.mark.parametrize("has_row", [True, False], ids=["row", "no row"])
@pytest.mark.parametrize("closes", [True, False], ids=["commit", "rollback"])
def test_a_posting_waits_for_a_month_that_is_being_closed(
    database: Database, books: UUID, isolation: IsolationLevel, has_row: bool, closes: bool
) -> None:
    if has_row:
        with races.session(database) as connection:
            post(connection, books, "0")
    with races.rivals(database, 2, isolation) as (closer, poster):
        closer.do(close, books)
        posting = poster.start(caught(post), books)
        poster.wait_until_blocked_by(closer, posting)
        closer.end(closes)
        expected = "TS412" if closes else "committed"
        outcome = posting.result(races.PATIENCE)
        if closes and isolation is not IsolationLevel.READ_COMMITTED:
            assert outcome == "40001"
            outcome = poster.do(caught(post), books)
        assert outcome == expected
        poster.commit()
    assert rows(database, books, "ledger_transactions") == has_row + (not closes)


@LEVELS
@pytest.mark.parametrize("has_row", [True, False], ids=["row", "no row"])
@pytest.mark.parametrize("posts", [True, False], ids=["commit", "rollback"])
def test_closing_waits_for_what_is_being_posted(
    database: Database, books: UUID, isolation: IsolationLevel, has_row: bool, posts: bool
) -> None:
    if has_row:
        with races.session(database) as connection:
            post(connection, books, "0")
    with races.rivals(database, 2, isolation) as (poster, closer):
        assert status(poster.do(post, books)) == "committed"
        closing = closer.start(races.code_of(close), books)
        closer.wait_until_blocked_by(poster, closing)
        poster.end(posts)
        outcome = closing.result(races.PATIENCE)
        if outcome == "40001":  # the month's row is younger than its snapshot
            assert posts
            assert not has_row
            assert isolation is not IsolationLevel.READ_COMMITTED
            outcome = closer.do(races.code_of(close), books)
        assert outcome == "00000"
        assert status(closer.do(post, books, "2")) == "TS412"
        closer.commit()
    assert rows(database, books, "ledger_transactions") == has_row + posts


def caught(work: Callable[..., str]) -> Callable[..., str]:
    """Turn `work` into a function that returns a bundle's status, or the SQLSTATE of an error."""

    def run(connection: Connection, *args: Any, **named: Any) -> str:
        answers: list[str] = []
        code = races.code_of(lambda c: answers.append(work(c, *args, **named)))(connection)
        return code if code != "00000" else status(answers[0])

    return run


@HIGHER
@pytest.mark.parametrize("has_row", [True, False], ids=["row", "no row"])
def test_a_posting_with_an_old_snapshot_does_not_miss_that_the_month_is_closed(
    database: Database, books: UUID, isolation: IsolationLevel, has_row: bool
) -> None:
    if has_row:
        with races.session(database) as connection:
            post(connection, books, "0")
    with races.rivals(database, 1, isolation) as (poster,):
        poster.do(races.one, "select count(*) from accounting.entities")
        with races.session(database) as connection:
            assert close(connection, books) == "closed"
        assert poster.do(caught(post), books) == "40001"
        assert poster.do(caught(post), books) == "TS412"


def test_while_a_month_closes_and_opens_nothing_gets_in_unseen(
    database: Database, books: UUID
) -> None:
    def work(connection: Connection, index: int) -> list[str]:
        outcomes = []
        for turn in range(6):
            if index == 0:
                outcomes.append(close(connection, books, ("close", "reopen")[turn % 2]))
            else:
                outcomes.append(status(post(connection, books, f"{index}-{turn}")))
            connection.commit()
        return outcomes

    outcomes = races.together(database, CALLERS, work)
    posted = [outcome for each in outcomes[1:] for outcome in each]
    assert set(posted) <= {"committed", "TS412"}
    assert rows(database, books, "ledger_transactions") == posted.count("committed")


@pytest.mark.parametrize("first_commits", [True, False], ids=["commit", "rollback"])
def test_a_call_waits_for_itself_and_gets_the_same_answer(
    database: Database, books: UUID, first_commits: bool
) -> None:
    with races.rivals(database, 2) as (first, second):
        given = first.do(post, books)
        again = second.start(post, books, correlation_id="other")
        second.wait_until_blocked_by(first, again)
        first.end(first_commits)
        answer = again.result(races.PATIENCE)
        second.commit()
        assert (answer == given) is first_commits
        assert status(answer) == "committed"
        assert second.do(post, books) == answer
        second.commit()
    assert rows(database, books, "ledger_transactions") == 1


def test_other_content_waits_too_and_is_refused(database: Database, books: UUID) -> None:
    with races.rivals(database, 2) as (first, second):
        first.do(post, books)
        other = second.start(post, books, description="Other")
        second.wait_until_blocked_by(first, other)
        first.commit()
        assert status(other.result(races.PATIENCE)) == "TS409"
        second.commit()


@HIGHER
def test_a_call_with_an_old_snapshot_is_told_to_retry_and_gets_the_same_answer(
    database: Database, books: UUID, isolation: IsolationLevel
) -> None:
    with races.rivals(database, 1, isolation) as (second,):
        second.do(races.one, "select count(*) from accounting.entities")
        with races.session(database) as connection:
            given = post(connection, books)
        assert second.do(caught(post), books) == "40001"
        assert second.do(post, books) == given
        second.commit()


def test_of_many_calls_one_posts_and_all_get_its_answer(database: Database, books: UUID) -> None:
    answers = races.together(database, CALLERS, lambda c, _: races.committed(post)(c, books))
    assert len(set(answers)) == 1
    assert rows(database, books, "ledger_transactions") == 1


def test_a_transaction_is_reversed_once(database: Database, books: UUID) -> None:
    with races.session(database) as connection:
        first = json.loads(post(connection, books))["transaction_id"]

    def reverse(connection: Connection, index: int) -> str:
        return races.committed(post)(
            connection,
            books,
            f"reversal {index}",
            reverses_transaction_id=first,
            postings=[
                {"account_id": "cash", "amount": "-10"},
                {"account_id": "sales", "amount": "10"},
            ],
        )

    outcomes = [status(answer) for answer in races.together(database, CALLERS, reverse)]
    assert sorted(outcomes) == ["TS419"] * (CALLERS - 1) + ["committed"]


def move(connection: Connection, books: UUID, code: str, parent: str | None) -> None:
    """Put an account, which is called by its code, under another."""
    races.call(
        connection,
        "accounting.set_account",
        organization_id=books,
        code=code,
        name=code,
        account_type="asset",
        parent_account_id=parent,
        account_id=code,
    )


@LEVELS
@pytest.mark.parametrize("first_commits", [True, False], ids=["commit", "rollback"])
def test_two_accounts_are_not_put_under_each_other(
    database: Database, books: UUID, isolation: IsolationLevel, first_commits: bool
) -> None:
    with races.session(database) as connection:
        for code in ("a", "b"):
            move(connection, books, code, None)
    with races.rivals(database, 2, isolation) as (first, second):
        for each in (first, second):
            each.do(races.one, "select count(*) from accounting.accounts")
        first.do(move, books, "a", "b")
        turned = second.start(races.code_of(move), books, "b", "a")
        second.wait_until_blocked_by(first, turned)
        first.end(first_commits)
        outcome = turned.result(races.PATIENCE)
        if first_commits and isolation is not IsolationLevel.READ_COMMITTED:
            assert outcome == "40001"
            outcome = second.do(races.code_of(move), books, "b", "a")
        assert outcome == ("22023" if first_commits else "00000")


def test_many_accounts_that_move_stay_a_forest(database: Database, books: UUID) -> None:
    codes = [f"account {number}" for number in range(CALLERS)]
    with races.session(database) as connection:
        for code in codes:
            move(connection, books, code, None)

    def work(connection: Connection, index: int) -> set[str]:
        return {
            races.code_of(move)(connection, books, codes[index], codes[(index + step) % CALLERS])
            for step in range(1, CALLERS)
        }

    outcomes = set().union(*races.together(database, CALLERS, work))
    assert outcomes == {"00000", "22023"}


def test_accounts_that_move_and_change_at_once_wait_for_each_other(
    database: Database, books: UUID
) -> None:
    codes = [f"account {number}" for number in range(3)]
    with races.session(database) as connection:
        for code in codes:
            move(connection, books, code, None)

    def work(connection: Connection, index: int) -> set[str]:
        return {
            races.code_of(races.call)(
                connection,
                "accounting.set_account",
                organization_id=books,
                code=codes[(index + turn) % 3],
                name="Turned",
                account_type=("asset", "equity")[turn % 2],
                parent_account_id=codes[(index + turn + 1) % 3] if index % 2 else None,
            )
            for turn in range(6)
        }

    assert set().union(*races.together(database, CALLERS, work)) <= {"00000", "22023"}


def retype(connection: Connection, books: UUID, account_type: str = "equity") -> None:
    """Give the account cash another type."""
    races.call(
        connection,
        "accounting.set_account",
        organization_id=books,
        code="1000",
        name="Cash",
        account_type=account_type,
    )


def name_cash(connection: Connection, books: UUID) -> None:
    """Book the line cash on the account cash."""
    races.call(
        connection,
        "accounting.set_account_map",
        organization_id=books,
        line="cash",
        account_id="cash",
    )


def test_what_is_booked_on_an_account_keeps_its_type(database: Database, books: UUID) -> None:
    with races.rivals(database, 2) as (poster, other):
        poster.do(post, books)
        turned = other.start(races.code_of(retype), books)
        other.wait_until_blocked_by(poster, turned)
        poster.commit()
        assert turned.result(races.PATIENCE) == "23001"


@HIGHER
def test_who_has_an_old_snapshot_changes_no_type_under_a_posting(
    database: Database, books: UUID, isolation: IsolationLevel
) -> None:
    with races.rivals(database, 1, isolation) as (other,):
        other.do(races.one, "select count(*) from accounting.accounts")
        with races.session(database) as connection:
            post(connection, books)
        assert other.do(races.code_of(retype), books) == "40001"
        assert other.do(races.code_of(retype), books) == "23001"
    with races.session(database) as connection:
        kept = races.one(
            connection,
            "select account_type from accounting.accounts"
            " where organization_id = %s and account_id = 'cash'",
            books,
        )
    assert kept == "asset"


@LEVELS
@pytest.mark.parametrize("first_commits", [True, False], ids=["commit", "rollback"])
def test_a_line_waits_for_its_account_that_gets_another_type(
    database: Database, books: UUID, isolation: IsolationLevel, first_commits: bool
) -> None:
    with races.rivals(database, 1, isolation) as (mapper,), races.rivals(database, 1) as (other,):
        other.do(retype, books)
        mapped = mapper.start(races.code_of(name_cash), books)
        mapper.wait_until_blocked_by(other, mapped)
        other.end(first_commits)
        outcome = mapped.result(races.PATIENCE)
        if first_commits and isolation is not IsolationLevel.READ_COMMITTED:
            assert outcome == "40001"
            outcome = mapper.do(races.code_of(name_cash), books)
        assert outcome == ("22023" if first_commits else "00000")


@pytest.mark.parametrize("first_commits", [True, False], ids=["commit", "rollback"])
def test_another_type_waits_for_a_line_that_gets_the_account(
    database: Database, books: UUID, first_commits: bool
) -> None:
    with races.rivals(database, 2) as (mapper, other):
        mapper.do(name_cash, books)
        turned = other.start(races.code_of(retype), books)
        other.wait_until_blocked_by(mapper, turned)
        mapper.end(first_commits)
        assert turned.result(races.PATIENCE) == ("23001" if first_commits else "00000")


def test_a_snapshot_stated_by_many_is_one(database: Database, books: UUID) -> None:
    def state(connection: Connection, index: int) -> str:
        return races.code_of(races.call)(
            connection,
            "accounting.record_balance_snapshot",
            organization_id=books,
            source_system="bank",
            account_id="cash",
            snapshot_date="2026-01-31",
            balance=index,
        )

    assert set(races.together(database, CALLERS, state)) == {"00000"}
    assert rows(database, books, "balance_snapshots") == 1
