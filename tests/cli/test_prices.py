"""The commands `tallystick prices ...`."""

from decimal import Decimal

import psycopg
import pytest

from tallystick import Client, Organization
from tests.cli.conftest import Run

COUNT = "select count(*) from pricing.prices"


def count(connection: psycopg.Connection) -> int:
    row = connection.execute(COUNT).fetchone()
    assert row is not None
    return int(row[0])


def test_sync_loads_the_list_once_and_says_what_changed(
    run: Run, connection: psycopg.Connection, client: Client
) -> None:
    first = run("prices", "sync")
    assert first.exit_code == 0
    assert "added" in first.output
    assert "--all shows everything" in first.output
    assert "Left out of the list" in first.output
    number = count(connection)
    assert number > 2_000
    again = run("prices", "sync", "--max-age", "0")
    assert "Nothing has changed." in again.output
    assert count(connection) == number
    assert client.price_usage("gpt-4o", {"input_tokens": 10**6}).cost > 0
    lists = run("prices", "show").output
    assert "genai-prices" in lists
    assert "prices, checked" in lists


def test_sync_keeps_what_was_set_by_hand(
    run: Run, connection: psycopg.Connection, client: Client
) -> None:
    rates = ("--rate", "input_tokens=99", "--rate", "output_tokens=$1.5")
    assert run("prices", "set", "openai", "gpt-4o", *rates).exit_code == 0
    result = run("prices", "sync", "--all")
    assert "1 kept by hand" in result.output
    assert client.price_usage("gpt-4o", {"input_tokens": 10**6}).cost == 99


def test_diff_changes_nothing(run: Run, connection: psycopg.Connection) -> None:
    result = run("prices", "diff")
    assert result.exit_code == 0
    assert "compared, nothing changed" in result.output
    assert "added" in result.output
    assert count(connection) == 0
    assert run("prices", "show").output.splitlines() == ["manual: 0 prices"]


def test_a_price_is_set_shown_and_ended(run: Run, client: Client) -> None:
    rates = ("--rate", "input_tokens=2.5", "--rate", "output_tokens=10", "--rate", "requests=5000")
    result = run("prices", "set", "Acme", "m", *rates, "--from", "2026-01-01", "--tier", "flex")
    assert result.exit_code == 0, result.output
    (price,) = client.prices(provider="acme")
    assert (price.service_tier, price.effective_from.isoformat()) == (
        "flex",
        "2026-01-01T00:00:00+00:00",
    )
    run("prices", "set", "acme", "m", *rates[:4])
    run("prices", "name", "acme", "deployment-7", "m")
    shown = run("prices", "show", "deployment-7", "--provider", "acme").output
    assert "acme m" in shown
    assert "flex" in shown
    assert "requests 5 a thousand" in shown
    ended = run("prices", "set", "acme", "m", "--end")
    assert "acme m (standard) ends" in ended.output
    assert [each.service_tier for each in client.prices(provider="acme")] == ["flex"]


def test_a_contract_and_a_markup(run: Run, client: Client, acme: Organization) -> None:
    rates = ("--rate", "input_tokens=2", "--rate", "output_tokens=2")
    run("prices", "set", "acme", "m", *rates)
    result = run("prices", "markup", "12.5", "--organization", "Acme")
    assert "Acme: +12.5 % on all models" in result.output

    def cost() -> Decimal:
        return client.price_usage("m", {"input_tokens": 10**6}, organization_id=acme.id).cost

    assert cost() == Decimal("2.25")
    assert "no markup on acme m" in (
        run("prices", "markup", "none", "--provider", "acme", "--model", "m").output
    )
    assert cost() == Decimal("2.25")
    contract = ("--rate", "input_tokens=1", "--rate", "output_tokens=1", "--organization", "Acme")
    assert "contract" in run("prices", "set", "acme", "m", *contract).output
    assert cost() == 1
    assert "contract" in run("prices", "show", "m", "--organization", "Acme").output
    assert "contract" not in run("prices", "show", "m").output


@pytest.mark.parametrize(
    ("arguments", "told"),
    [
        (("show", "gpt-4"), "load a price list with `tallystick prices sync`"),
        (("set", "acme", "m", "--rate", "input_tokens=1"), "22023"),
        (("set", "acme", "m", "--rate", "input_tokens=much"), "not an amount"),
        (("set", "acme", "m"), "either --rate or --end"),
        (("markup", "lots"), "not a number"),
        (("markup", "5"), "there is no organization yet"),
        (("name", "nobody", "x", "y"), "TS404"),
        (("sync", "--max-age", "-1"), "--max-age"),
    ],
)
def test_what_cannot_be_done_is_said(
    run: Run, connection: psycopg.Connection, arguments: tuple[str, ...], told: str
) -> None:
    result = run("prices", *arguments)
    assert result.exit_code != 0
    assert told in " ".join(result.output.split())
    assert count(connection) == 0


def test_near_names_are_suggested(run: Run) -> None:
    run("prices", "sync")
    result = run("prices", "show", "gpt-4z")
    assert result.exit_code == 1
    assert "did you mean" in result.output
    assert "gpt-4o" in result.output
