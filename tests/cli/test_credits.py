"""The commands `tallystick credits ...`."""

from datetime import UTC, date, datetime
from decimal import Decimal
from io import StringIO

import psycopg
import pytest
from rich.console import Console

from tallystick import Client, Organization
from tallystick.cli.movement_table import add, grid
from tallystick.figures import usd
from tests.cli.conftest import Run
from tests.cli.test_budgets import assert_refused, text_of


@pytest.fixture
def paid(client: Client, connection: psycopg.Connection, acme: Organization) -> Organization:
    """Acme with credits for 50 dollars, on a day that does not end during a test."""
    connection.execute("select tests.freeze_clock('2026-02-10 12:00+0')")
    client.purchase_credits(acme.id, Decimal(50), "payment-1")
    return acme


def balance(client: Client, organization: Organization) -> Decimal:
    return client.credit_balances(organization.id)[0].balance_usd


def test_who_has_none_is_told_how_to_begin(run: Run, acme: Organization) -> None:
    shown = text_of(run("credits", "show"))
    assert "Acme" in shown
    assert "pays afterwards" in shown
    assert "credits buy --help" in shown
    assert "No movements" in text_of(run("credits", "history"))


def test_credits_are_bought_once(run: Run, client: Client, acme: Organization) -> None:
    told = text_of(run("credits", "buy", "$50", "--key", "payment-1", "--by", "shop"))
    assert told == "Acme: credit purchase, $50.00. Balance $50.00, available $50.00."
    assert text_of(run("credits", "buy", "50.000", "--key", "payment-1")) == told
    assert_refused(run("credits", "buy", "51", "--key", "payment-1"), "[TS409]", "payment-1")
    assert balance(client, acme) == 50


def test_what_there_is_and_where_it_comes_from(
    run: Run, client: Client, connection: psycopg.Connection, paid: Organization
) -> None:
    run("credits", "grant", "5", "--kind", "promo", "--key", "p", "--model", "gpt-[b]4o")
    until = ("--expires", "2026-03-01T06:30:00")
    given = text_of(
        run("credits", "grant", "0.000000000001", "--kind", "trial", "--key", "t", *until)
    )
    assert "trial credit granted, $0.000000000001" in given
    client.start_run(paid.id, 1, 1, input_cost_usd=Decimal("7.5"), output_cost_usd=Decimal(0))
    shown = text_of(run("credits", "show"))
    for part in (
        "balance $55.000000000001",
        "reserved $7.50",
        "available $47.500000000001",
        "trial $0.000000000001 $0.000000000001 $0.000000000001 expires 2026-03-01 06:30 UTC",
        "promo $5.00 $5.00 $0.00 for runs of gpt-[b]4o",
        "purchase $50.00 $50.00 $7.499999999999",
    ):
        assert part in shown
    assert shown.index("trial") < shown.index("promo") < shown.index("purchase")
    connection.execute("select tests.freeze_clock('2026-03-01 06:30+0')")
    assert "expired 2026-03-01 06:30 UTC" in text_of(run("credits", "show"))


def test_grants_that_are_used_up_are_left_out(run: Run, client: Client, paid: Organization) -> None:
    client.grant_credits(paid.id, "trial", Decimal(2), "trial-1", priority=0)
    client.adjust_credits(paid.id, Decimal(-2), "mistake", "adjustment-1")
    shown = text_of(run("credits", "show"))
    assert "trial" not in shown
    assert "Not shown: 1 used up" in shown
    assert "trial $2.00 $0.00 $0.00" in text_of(run("credits", "show", "--all"))


def test_what_is_owed_is_shown_and_collected(run: Run, client: Client, paid: Organization) -> None:
    started = client.start_run(
        paid.id, 1, 1, input_cost_usd=Decimal(50), output_cost_usd=Decimal(0)
    )
    client.record_token_call(started.id, None, None, None, 1, 1, "gpt-4o", Decimal(53))
    client.complete_run(started.id)
    assert "Owed beyond credits: $3.00" in text_of(run("credits", "show"))
    told = text_of(run("credits", "buy", "10", "--key", "payment-2"))
    assert "Balance $7.00" in told
    assert "Owed" not in text_of(run("credits", "show"))


def test_every_digit_is_there_where_the_terminal_is_narrow(
    client: Client, paid: Organization
) -> None:
    """What does not fit folds, but no amount: half of one is another amount."""
    client.purchase_credits(paid.id, Decimal("123456.123456789012"), "much")
    movements = client.get_statement(paid.id, date(2026, 2, 1)).movements
    table = grid(UTC)
    add(table, movements, UTC)
    page = StringIO()
    Console(width=80, file=page).print(table)
    shown = page.getvalue()
    assert max(map(len, shown.splitlines())) <= 80
    for each in movements:
        assert usd(each.change_usd) in shown
        assert usd(each.balance_after_usd) in shown


def test_adjustments_go_both_ways_and_history_has_the_newest_first(
    run: Run, client: Client, paid: Organization
) -> None:
    assert "oops, $1.50." in text_of(
        run("credits", "adjust", "1.5", "--reason", "oops", "--key", "a")
    )
    told = text_of(
        run("credits", "adjust", "--reason", "chargeback_[red]", "--key", "b", "--", "-2")
    )
    assert "Acme: chargeback [red], -$2.00. Balance $49.50" in told
    shown = text_of(run("credits", "history"))
    assert "2026-02-10 12:00 chargeback [red] -$2.00 $49.50" in shown
    assert shown.index("-$2.00") < shown.index("oops") < shown.index("credit purchase")
    assert "may be more" not in shown
    assert "may be more than 2" in text_of(run("credits", "history", "--limit", 2))
    too_much = run("credits", "adjust", "--reason", "x", "--key", "c", "--", "-50")
    assert_refused(too_much, "[TS402]", "49.5")
    assert balance(client, paid) == Decimal("49.5")


def test_a_warning_is_set_and_ended(run: Run, client: Client, paid: Organization) -> None:
    told = text_of(run("credits", "low-balance", "$10"))
    assert told == "Acme: a warning below $10.00 available, it has $50.00."
    assert "it has $50.00" in text_of(run("credits", "low-balance", "60"))
    assert client.credit_balances(paid.id)[0].is_low
    assert "low below $60.00" in text_of(run("credits", "show"))
    assert text_of(run("credits", "low-balance", "none")) == "Acme: no warning."
    assert "low below" not in text_of(run("credits", "show"))


def test_expiry_is_typed_in_utc(run: Run, client: Client, paid: Organization) -> None:
    run("credits", "buy", "1", "--key", "k", "--expires", "2026-03-01")
    assert client.credit_grants(paid.id)[0].expires_at == datetime(2026, 3, 1, tzinfo=UTC)


def test_the_organization_goes_by_a_short_option_too(
    run: Run, client: Client, paid: Organization
) -> None:
    client.create_organization("Other")
    assert_refused(run("credits", "show"), "--organization")
    assert "$50.00" in text_of(run("credits", "show", "--org", "Acme"))
    assert "pays afterwards" in text_of(run("credits", "show", "--organization", "Other"))


@pytest.mark.parametrize(
    ("arguments", "complaint"),
    [
        (("buy", "0", "--key", "k"), "[22023]"),
        (("buy", "1", "--key", "k", "--expires", "2020-01-01"), "p_expires_at"),
        (("grant", "1", "--kind", "promo", "--key", "k", "--priority", "1001"), "p_priority"),
        (("low-balance", "1"), "[TS404]"),
    ],
)
def test_what_stands_in_the_way_is_one_line(
    run: Run, acme: Organization, arguments: tuple[str, ...], complaint: str
) -> None:
    assert_refused(run("credits", *arguments), complaint)


@pytest.mark.parametrize(
    ("arguments", "told"),
    [
        (("buy", "much", "--key", "k"), "'much'"),
        (("buy", "1"), "--key"),
        (("grant", "1", "--kind", "purchase", "--key", "k"), "'purchase'"),
        (("adjust", "1", "--key", "k"), "--reason"),
    ],
)
def test_what_is_typed_wrong_is_said(
    run: Run, acme: Organization, arguments: tuple[str, ...], told: str
) -> None:
    result = run("credits", *arguments)
    assert result.exit_code == 2
    assert told in result.stderr
