"""The commands `tallystick books ...`."""

import csv
import io
from datetime import date
from decimal import Decimal
from pathlib import Path
from typing import Any
from uuid import UUID

import psycopg
import pytest
from beancount import loader
from beancount.core.data import Balance, Open, Transaction
from typer.testing import CliRunner

from tallystick import Bundle, Client, Organization, Posting
from tallystick.cli.main import app
from tests.cli.conftest import Run
from tests.cli.test_budgets import assert_refused, text_of

NASTY = 'Rent\r\n"1\u00a0200" \\ \x1b[31m; {tag} #x ^y 株式会社\u3000山田'
READABLE = NASTY.replace("\r", "").replace("\x1b", "\N{REPLACEMENT CHARACTER}")


@pytest.fixture
def books(client: Client, connection: psycopg.Connection, acme: Organization) -> UUID:
    """Two entities, of which one sold, paid and reversed, and the other sold."""
    connection.execute("select tests.freeze_clock('2026-03-10 12:00+0')")
    client.set_entity(acme.id, "SUB", "Subsidiary", entity_id="sub")
    for code, account, name, kind, entity in (
        ("1000", "cash", "Cash", "asset", "entity-default"),
        ("4000", "sales", "Sales [net]", "income", "entity-default"),
        ("5000", "rent", "Bürö & Rent", "expense", "entity-default"),
        ("5000/1", "rent-1", "Büro & Rent", "expense", "entity-default"),
        ("5000-1", "rent-2", "büro, rent", "expense", "entity-default"),
        ("9000", "unused", "Unused", "equity", "entity-default"),
        ("S1", "sub-cash", "Cash", "asset", "sub"),
        ("s4", "sub-sales", "Sales", "income", "sub"),
    ):
        client.set_account(acme.id, code, name, kind, account_id=account, entity_id=entity)
    client.set_account(
        acme.id, "1010", "Bank", "asset", account_id="bank", parent_account_id="cash"
    )
    post(client, acme, "1", date(2026, 1, 15), ("cash", "10.1234"), ("sales", "-10.1234"))
    paid = post(
        client, acme, "2", date(2026, 1, 31), ("rent", "3"), ("rent-1", "0.5"), ("rent-2", "0"),
        ("bank", "-3.5"), description=NASTY, memo=NASTY,
    )  # fmt: skip
    client.reverse_transaction(acme.id, paid, date(2026, 2, 1), "undo", description="Undone")
    post(client, acme, "3", date(2026, 2, 2), ("cash", "2"), ("sales", "-2"))
    client.close_period(acme.id, "2026-01", "closing")
    post(
        client, acme, "4", date(2026, 1, 31), ("cash", "1"), ("sales", "-1"),
        adjusting_reason_code="late",
    )  # fmt: skip
    post(
        client, acme, "5", date(2026, 2, 3), ("sub-cash", "7"), ("sub-sales", "-7"),
        entity_id="sub",
    )  # fmt: skip
    return acme.id


def post(
    client: Client,
    acme: Organization,
    external_id: str,
    day: date,
    *legs: tuple[str, str],
    memo: str | None = None,
    **more: Any,
) -> str:
    response = client.record_transaction_bundle(
        acme.id,
        Bundle(
            **{
                "source_system": "shop",
                "external_id": external_id,
                "transaction_date": day,
                "description": "Sale",
                "correlation_id": "order",
                "postings": [
                    Posting(account_id=account, amount=Decimal(amount), memo=memo)
                    for account, amount in legs
                ],
                **more,
            }
        ),
    )
    assert response.transaction_id is not None, response.text
    return response.transaction_id


def test_a_trial_balance_is_shown_with_its_sums(run: Run, books: UUID) -> None:
    shown = text_of(run("books", "trial-balance", "--month", "2026-01"))
    for part in (
        f"Acme ({books})",
        "Trial balance from 2026-01-01 to 2026-01-31",
        "1000 Cash $0.00 $11.1234 $0.00 $11.1234",
        "1010 Bank $0.00 $0.00 $3.50 -$3.50",
        "4000 Sales [net] $0.00 $0.00 $11.1234 -$11.1234",
        "S1 Cash $0.00 $0.00 $0.00 $0.00",
        "total $0.00 $14.6234 $14.6234 $0.00",
    ):
        assert part in shown
    february = text_of(run("books", "trial-balance", "--from", "2026-02-01", "--entity", "DEFAULT"))
    assert "from 2026-02-01 on" in february
    assert "1000 Cash $11.1234 $2.00 $0.00 $13.1234" in february
    assert "S1" not in february
    everything = text_of(run("books", "trial-balance"))
    assert "of all that is booked" in everything
    assert "total $0.00" in everything


def test_an_account_is_shown_with_its_running_balance(run: Run, books: UUID) -> None:
    shown = text_of(run("books", "ledger", "1000"))
    assert "Account 1000 Cash of all that is booked" in shown
    assert "2026-01-15 Sale $10.1234 $10.1234 shop 1" in shown
    assert "2026-01-31 Sale $1.00 $11.1234 adjusting entry shop 4" in shown
    assert "2026-02-02 Sale $2.00 $13.1234 shop 3" in shown
    bank = text_of(run("books", "ledger", "bank", "--from", "2026-02-01"))
    assert "2026-02-01 Undone $3.50 $0.00" in bank
    assert "reverses" in bank
    assert "No postings." in text_of(run("books", "ledger", "9000"))
    assert "\x1b" not in run("books", "ledger", "5000").output


def test_statements_are_shown(run: Run, books: UUID) -> None:
    income = text_of(run("books", "income", "--month", "2026-01"))
    assert "Income statement from 2026-01-01 to 2026-01-31" in income
    assert "4000 Sales [net] $11.1234" in income
    assert "Total income $11.1234" in income
    assert "Total expenses $3.50" in income
    assert "Net income $7.6234" in income
    sheet = text_of(run("books", "balance", "--date", "2026-01-31"))
    assert "Balance sheet at the end of 2026-01-31" in sheet
    assert "Total assets $7.6234" in sheet
    assert "Total liabilities and equity $7.6234" in sheet
    sub = text_of(run("books", "balance", "--entity", "sub"))
    assert "SUB Subsidiary" in sub
    assert "Total assets $7.00" in sub


def test_where_billing_is_booked_is_shown_and_changed(
    run: Run, client: Client, books: UUID
) -> None:
    shown = text_of(run("books", "map"))
    assert "What billing posts" in shown
    assert "cash opened with the first posting (asset) credits that were paid for" in shown
    changed = text_of(run("books", "map", "cash", "1010", "--by", "controller"))
    assert "cash 1010 Bank credits that were paid for" in changed
    client.purchase_credits(books, Decimal(2), "payment")
    assert "revenue billing:revenue Usage revenue" in text_of(run("books", "map"))
    assert "credit_purchase $2.00 $2.00 cash tallystick" in text_of(run("books", "ledger", "bank"))
    assert run("books", "map", "cash").exit_code == 2
    assert_refused(run("books", "map", "cash", "4000"), "type asset")
    assert_refused(run("books", "map", "nothing", "1000"), "must be a line")


def test_months_are_closed_opened_and_locked(run: Run, client: Client, books: UUID) -> None:
    assert text_of(run("books", "reopen", "2026-01")) == "2026-01 is open."
    assert text_of(run("books", "close", "2026-01", "--by", "zoe")) == "2026-01 is closed."
    assert text_of(run("books", "close", "2026-01", "--entity", "SUB")) == "2026-01 is closed."
    assert text_of(run("books", "lock", "2026-01", "--yes")) == "2026-01 is locked."
    assert_refused(run("books", "reopen", "2026-01"), "TS412", "locked")
    periods = {(each.entity_id, each.period_key): each for each in client.accounting_periods(books)}
    assert periods["entity-default", "2026-01"].status == "locked"
    assert periods["sub", "2026-01"].status == "closed"


def test_locking_is_asked_for(run: Run, client: Client, books: UUID) -> None:
    answered = CliRunner().invoke(app, ["books", "lock", "2026-02"], input="n\n")
    assert answered.exit_code == 1
    assert client.accounting_periods(books, status="locked") == []
    assert CliRunner().invoke(app, ["books", "lock", "2026-02"], input="y\n").exit_code == 0


@pytest.mark.parametrize(
    ("arguments", "complaint"),
    [
        (["trial-balance", "--entity", "no"], "no entity answers to 'no'"),
        (["ledger", "no"], "no account answers to 'no'"),
        (["export", "--entity", "no"], "no entity answers to 'no'"),
    ],
)
def test_what_is_not_there_is_said(
    run: Run, books: UUID, arguments: list[str], complaint: str
) -> None:
    assert_refused(run("books", *arguments), complaint)


@pytest.mark.parametrize(
    "arguments",
    [
        ["close", "January"],
        ["income", "--month", "2026-13"],
        ["income", "--month", "2026-01", "--from", "2026-01-01"],
        ["trial-balance", "--from", "2026-03-01", "--to", "2026-01-01"],
        ["balance", "--date", "today"],
        ["export", "--format", "xml"],
    ],
)
def test_what_makes_no_sense_is_refused(run: Run, books: UUID, arguments: list[str]) -> None:
    assert run("books", *arguments).exit_code == 2


@pytest.mark.parametrize("entity", [None, "DEFAULT", "SUB"])
def test_beancount_accepts_the_export_and_has_the_same_balances(
    run: Run, client: Client, books: UUID, tmp_path: Path, entity: str | None
) -> None:
    file = tmp_path / "books.beancount"
    options = [] if entity is None else ["--entity", entity]
    assert text_of(run("books", "export", "--output", file, *options)).startswith("Export: ")
    entries, errors, settings = loader.load_file(str(file))
    assert errors == []
    assert settings["title"] == "Acme"
    opened = {each.account: each.meta["account_id"] for each in entries if isinstance(each, Open)}
    found: dict[str, Decimal] = dict.fromkeys(opened.values(), Decimal(0))
    transactions = [each for each in entries if isinstance(each, Transaction)]
    for posting in (leg for each in transactions for leg in each.postings):
        assert posting.units is not None
        assert isinstance(posting.units.number, Decimal)
        found[opened[posting.account]] += posting.units.number
    entity_id = {"SUB": "sub", None: None}.get(entity, "entity-default")
    assert found == {
        each.account_id: each.closing_balance
        for each in client.trial_balance(books, entity_id=entity_id)
        if each.account_id != "unused"
    }
    asserted = {
        opened[each.account]: each.amount.number for each in entries if isinstance(each, Balance)
    }
    assert asserted == found
    assert len(transactions) == {None: 6, "DEFAULT": 5, "SUB": 1}[entity]


def test_beancount_reads_texts_back(run: Run, books: UUID, tmp_path: Path) -> None:
    file = tmp_path / "books.beancount"
    run("books", "export", "--output", file)
    entries, _, _ = loader.load_file(str(file))
    (paid,) = (
        each
        for each in entries
        if isinstance(each, Transaction) and each.meta["external_id"] == "2"
    )
    assert paid.narration == READABLE
    assert paid.postings[0].meta is not None
    assert paid.postings[0].meta["memo"] == READABLE
    assert [str(each.account) for each in paid.postings] == [
        "Expenses:DEFAULT:5000-Buro-Rent",
        "Expenses:DEFAULT:5000-1-Buro-Rent",
        "Expenses:DEFAULT:5000-1-buro-rent",
        "Assets:DEFAULT:1010-Bank",
    ]
    (late,) = (
        each for each in entries if isinstance(each, Transaction) and "adjusting" in each.tags
    )
    assert late.meta["external_id"] == "4"


def test_beancount_notices_a_balance_that_is_off(run: Run, books: UUID, tmp_path: Path) -> None:
    text = run("books", "export").output
    file = tmp_path / "cooked.beancount"
    file.write_text(text.replace("10.1234 USD", "10.1235 USD"))
    _, errors, _ = loader.load_file(str(file))
    assert errors


def test_a_table_has_a_row_per_posting(run: Run, books: UUID) -> None:
    result = run("books", "export", "--format", "csv", "--entity", "DEFAULT")
    rows = list(csv.DictReader(io.StringIO(result.output)))
    assert len(rows) == 2 + 4 + 4 + 2 + 2
    assert sum(Decimal(each["amount"]) for each in rows) == 0
    assert rows[0]["account_code"] == "1000"
    assert rows[0]["amount"] == "10.1234"
    assert {each["memo"] for each in rows} == {"", READABLE}


def test_nothing_booked_is_exported_as_nothing(
    run: Run, client: Client, acme: Organization, tmp_path: Path
) -> None:
    file = tmp_path / "empty.beancount"
    run("books", "export", "--output", file)
    _, errors, _ = loader.load_file(str(file))
    assert errors == []
