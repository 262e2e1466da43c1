"""The books against the real database, sync and async."""

from datetime import date
from decimal import Decimal
from typing import Any
from uuid import UUID

import pytest

from tallystick import (
    AppendOnly,
    Bundle,
    BundleResponse,
    Client,
    InvalidArgument,
    Organization,
    PeriodClosed,
    Posting,
    RequestConflict,
    UnknownId,
)

JANUARY, FEBRUARY = date(2026, 1, 31), date(2026, 2, 1)


@pytest.fixture
def books(sync_client: Client, organization: Organization) -> UUID:
    """Give the organization accounts, whose ids are their names."""
    for code, account, kind in (
        ("1000", "cash", "asset"),
        ("3000", "capital", "equity"),
        ("4000", "sales", "income"),
        ("5000", "rent", "expense"),
    ):
        sync_client.set_account(organization.id, code, account.title(), kind, account_id=account)
    sync_client.set_account(
        organization.id, "1010", "Bank", "asset", parent_account_id="cash", account_id="bank"
    )
    return organization.id


def bundle(external_id: str, amount: str = "10", /, **more: Any) -> Bundle:
    """Return a sale for cash."""
    return Bundle(
        **{
            "source_system": "shop",
            "external_id": external_id,
            "transaction_date": JANUARY,
            "description": "Sale",
            "correlation_id": "order",
            "postings": [
                Posting(account_id="cash", amount=Decimal(amount)),
                Posting(account_id="sales", amount=-Decimal(amount)),
            ],
            **more,
        }
    )


def post(client: Client, books: UUID, *arguments: str, **more: Any) -> BundleResponse:
    return client.record_transaction_bundle(books, bundle(*arguments, **more), actor="zoe")


def test_a_bundle_is_booked_once(client: Client, books: UUID) -> None:
    response = post(client, books, "1", "10.00005")
    assert (response.status, response.error, response.correlation_id) == (
        "committed",
        None,
        "order",
    )
    assert post(client, books, "1", "10", correlation_id="again") == response
    (transaction,) = client.ledger_transactions(books)
    assert transaction.transaction_id == response.transaction_id
    assert transaction.response_payload == response.text
    assert (transaction.source_system, transaction.external_id) == ("shop", "1")
    assert (transaction.transaction_date, transaction.description) == (JANUARY, "Sale")
    assert transaction.recorded_by == "service:zoe"
    postings = client.ledger_postings(books, transaction_id=transaction.transaction_id)
    assert tuple(each.posting_id for each in postings) == response.posting_ids
    assert [(each.account_id, each.amount, each.currency) for each in postings] == [
        ("cash", Decimal("10.0000"), "USD"),
        ("sales", Decimal("-10.0000"), "USD"),
    ]


def test_a_refusal_is_returned_with_its_error(client: Client, books: UUID) -> None:
    post(client, books, "1")
    conflict = post(client, books, "1", "11")
    assert conflict.status == "refused"
    assert isinstance(conflict.error, RequestConflict)
    assert conflict.error.details["external_id"] == "1"
    assert conflict.error.hint
    lopsided = post(
        client, books, "2", postings=[Posting(account_id="cash", amount=Decimal(1))] * 2
    )
    assert isinstance(lopsided.error, InvalidArgument)
    unknown = post(client, books, "2", entity_id="no")
    assert isinstance(unknown.error, UnknownId)
    with pytest.raises(InvalidArgument):
        post(client, books, "2", correlation_id=" ")


def test_a_transaction_is_reversed(client: Client, books: UUID) -> None:
    transaction = post(client, books, "1").transaction_id
    assert transaction is not None
    undone = client.reverse_transaction(books, transaction, FEBRUARY, "undo", description="No")
    assert undone.status == "committed"
    again = client.reverse_transaction(books, transaction, FEBRUARY, "undo", description="No")
    assert again.text == undone.text
    (first, second) = client.account_ledger(books, "cash")
    assert (first.amount, first.running_balance) == (Decimal(10), Decimal(10))
    assert (second.amount, second.running_balance) == (Decimal(-10), Decimal(0))
    assert second.reverses_transaction_id == transaction
    assert client.account_ledger(books, "cash", first_day=FEBRUARY) == [second]
    assert client.balance_as_of(books, "cash", day=JANUARY) == Decimal(10)
    assert client.balance_as_of(books, "cash") == 0


def test_months_close_open_and_are_locked(client: Client, books: UUID) -> None:
    closed = client.close_period(books, "2026-01", "closing", actor="zoe")
    assert (closed.status, closed.period_status, closed.error_code) == ("ok", "closed", None)
    assert isinstance(post(client, books, "1").error, PeriodClosed)
    assert post(client, books, "1", adjusting_reason_code="late").status == "committed"
    assert client.reopen_period(books, "2026-01", "closing").period_status == "open"
    assert client.lock_period(books, "2026-01", "closing").period_status == "locked"
    kept = client.reopen_period(books, "2026-01", "closing")
    assert (kept.status, kept.period_status, kept.error_code) == ("refused", "locked", "TS412")
    waiting = post(client, books, "2", override_period_lock=True)
    assert (waiting.status, waiting.error_code, waiting.error) == ("proposed", "TS428", None)
    assert waiting.proposal_id is not None
    (period,) = client.accounting_periods(books, status="locked")
    assert (period.period_key, period.locked_at is None) == ("2026-01", False)
    with pytest.raises(InvalidArgument):
        client.close_period(books, "January", "closing")


def test_reports_add_up(client: Client, books: UUID) -> None:
    client.set_entity(books, "SUB", "Subsidiary", entity_id="sub")
    post(client, books, "1", "10.1234")
    post(
        client, books, "2",
        postings=[
            Posting(account_id="rent", amount=Decimal(3), memo="January"),
            Posting(account_id="bank", amount=Decimal(-3)),
        ],
    )  # fmt: skip
    post(client, books, "3", "5", transaction_date=FEBRUARY)
    lines = {
        each.account_id: each
        for each in client.trial_balance(books, first_day=date(2026, 1, 1), last_day=JANUARY)
    }
    assert lines["cash"].closing_balance == Decimal("10.1234")
    assert lines["bank"].parent_account_id == "cash"
    assert lines["rent"].debits == Decimal(3)
    assert sum(each.closing_balance for each in lines.values()) == 0
    assert client.trial_balance(books, entity_id="sub") == []
    statement = {
        each.name: each.amount for each in client.income_statement(books, last_day=JANUARY)
    }
    assert statement["Net income"] == Decimal("7.1234")
    sheet = {each.name: each.amount for each in client.balance_sheet(books)}
    assert sheet["Total assets"] == sheet["Total liabilities and equity"] == Decimal("12.1234")
    assert client.balance_as_of(books, "cash", with_parts=True) == Decimal("12.1234")
    assert {each.entity_id for each in client.entities(books)} == {"entity-default", "sub"}
    assert [each.code for each in client.accounts(books)] == [
        "1000",
        "1010",
        "3000",
        "4000",
        "5000",
    ]
    with pytest.raises(UnknownId):
        client.trial_balance(books, entity_id="no")


def test_what_others_state_and_what_is_due(client: Client, books: UUID) -> None:
    post(client, books, "1")
    snapshot = client.record_balance_snapshot(books, "bank", "cash", JANUARY, Decimal("9.5"))
    again = client.record_balance_snapshot(
        books, "bank", "cash", JANUARY, Decimal("9.75"), source_artifact_id="page 2"
    )
    assert (again.snapshot_id, again.balance) == (snapshot.snapshot_id, Decimal("9.75"))
    (difference,) = client.compare_snapshots(books)
    assert (difference.book_balance, difference.difference) == (Decimal(10), Decimal("-0.25"))
    rent = client.set_obligation(
        books, "lease", "Rent", "monthly", Decimal(3), JANUARY, account_id="rent"
    )
    (rolled,) = client.roll_obligations(books, FEBRUARY)
    assert (rolled.obligation_id, rolled.next_due_date) == (rent.obligation_id, date(2026, 2, 28))
    assert client.obligations(books, active=True) == [rolled]
    ended = client.set_obligation(
        books, "lease", "Rent", "monthly", Decimal(3), JANUARY, account_id="rent", active=False
    )
    assert client.obligations(books) == [ended]
    assert not ended.active


def test_an_account_keeps_its_type(client: Client, books: UUID) -> None:
    post(client, books, "1")
    with pytest.raises(AppendOnly):
        client.set_account(books, "4000", "Sales", "equity")


def test_where_billing_is_booked(client: Client, books: UUID) -> None:
    before = {line.line: line for line in client.get_account_map(books)}
    assert before["cash"].account_id is None
    assert before["cash"].account_type == "asset"
    mapped = client.set_account_map(books, "cash", "bank", actor="controller")
    assert (mapped.line, mapped.account_id, mapped.entity_id) == ("cash", "bank", "entity-default")
    with pytest.raises(InvalidArgument):
        client.set_account_map(books, "cash", "sales")
    with pytest.raises(UnknownId):
        client.set_account_map(books, "cash", "nowhere")
    client.purchase_credits(books, Decimal("10.00004"), "payment")
    after = {line.line: line for line in client.get_account_map(books)}
    assert (after["cash"].code, after["cash"].name) == ("1010", "Bank")
    assert after["revenue"].account_id == "billing:revenue"
    balances = {line.account_id: line.closing_balance for line in client.trial_balance(books)}
    assert balances["bank"] == -balances["billing:customer_credits"] == Decimal(10)
    assert client.post_history(organization_id=books) == 0
    assert client.post_provider_cost(organization_id=books, day=JANUARY) == 0
    assert client.post_provider_cost(organization_id=books) == 0
    with pytest.raises(InvalidArgument):
        client.post_provider_cost(organization_id=books, day=date(2999, 1, 1))
