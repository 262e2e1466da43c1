"""The commands `tallystick audit ...`, and `tallystick verify` beside them."""

import re
from decimal import Decimal

import psycopg
import pytest

from tallystick import Client, Organization
from tests.cli.conftest import Run
from tests.cli.test_budgets import assert_refused, text_of
from tests.support.servers import Database


@pytest.fixture
def spent(client: Client, acme: Organization) -> Organization:
    """Acme, with usage in its ledger."""
    client.purchase_credits(acme.id, Decimal(5), "first")
    return acme


def alter(database: Database) -> None:
    """Change a sealed row, as only a superuser can."""
    with psycopg.connect(database.admin_url) as connection:
        connection.execute("set session_replication_role = replica")
        connection.execute("update billing.billing_ledger set reason = 'x'")


def test_a_ledger_is_sealed_and_proves_itself(
    run: Run, client: Client, spent: Organization, database: Database
) -> None:
    sealed = text_of(run("audit", "seal"))
    assert sealed.startswith("Sealed 5 rows. Seal 1: ")  # the purchase, its event, its postings
    assert text_of(run("audit", "seal")).startswith("Nothing to seal")
    newest = client.seals()[0]
    assert newest.hash in sealed
    assert run("audit", "root").output.splitlines()[0] == newest.hash

    good = text_of(run("audit", "verify"))
    assert good.startswith("Nothing was altered")
    assert "--hash" in good
    assert "--hash" not in text_of(run("audit", "verify", "--hash", newest.hash))

    alter(database)
    for found in (run("audit", "verify"), run("audit", "verify", "--organization", "Acme")):
        assert found.exit_code == 1
        assert re.search(r"\b1 finding\s", found.output)
        text = re.sub(r"[\s│┃]", "", found.output)
        assert str(spent.id)[:8] in text
    client.create_organization("Other")
    assert run("audit", "verify", "--organization", "Other").exit_code == 0


def test_what_is_under_way_is_said(run: Run, spent: Organization, database: Database) -> None:
    run("audit", "seal")
    with database.connect(role="service_role") as connection:
        connection.execute("select pg_current_xact_id()")
        Client(connection).purchase_credits(spent.id, Decimal(5), "second")
        text = text_of(run("audit", "seal"))
        assert text.startswith("Nothing to seal yet")
        assert "1 transaction under way" in text
        connection.rollback()
    assert "everything committed" in text_of(run("audit", "seal"))


def test_an_empty_name_is_none(run: Run, spent: Organization) -> None:
    run("audit", "seal")
    assert run("audit", "verify", "--organization", "").exit_code != 0
    assert run("verify", "--organization", "").exit_code != 0
    assert run("verify", "--checkpoint", "--organization", "").exit_code == 2


def test_a_server_that_sealed_since_is_reported(
    run: Run, client: Client, spent: Organization, database: Database
) -> None:
    run("audit", "seal")
    published = client.seals()[0].hash
    assert "Servers that sealed: 1 since" in text_of(run("audit", "root"))
    assert "after that hash" not in text_of(run("audit", "verify", "--hash", published))
    with psycopg.connect(database.admin_url) as connection:
        connection.execute("set session_replication_role = replica")
        connection.execute("update audit.seal_epochs set system_identifier = 1")
        connection.execute("update audit.seals set system_identifier = 1")
        connection.execute("update audit.seals as s set hash = private.seal_hash(s)")
    published = client.seals()[0].hash
    run("audit", "seal")
    text = text_of(run("audit", "verify", "--hash", published))
    assert text.startswith("Nothing was altered")
    assert "after that hash" in text


def test_a_published_hash_that_is_gone_is_found(run: Run, spent: Organization) -> None:
    run("audit", "seal")
    found = run("audit", "verify", "--hash", "a" * 64)
    assert found.exit_code == 1
    assert "published" in found.output


@pytest.mark.parametrize("command", ["root", "verify"])
def test_nothing_is_proven_before_a_seal(run: Run, acme: Organization, command: str) -> None:
    assert_refused(run("audit", command), "tallystick audit seal")


def test_what_is_no_hash_is_refused(run: Run, spent: Organization) -> None:
    run("audit", "seal")
    assert_refused(run("audit", "verify", "--hash", "x"), "hexadecimal")


def test_verify_goes_on_from_a_checkpoint(
    run: Run, connection: psycopg.Connection, spent: Organization
) -> None:
    run("audit", "seal")
    assert run("verify", "--checkpoint").exit_code == 0
    # Nobody was active since, so only a full check looks.
    connection.execute("update metering.budget_slots set held_usd = 1, slot = slot")
    assert run("verify").exit_code == 0
    assert run("verify", "--organization", "Acme").exit_code == 1
    assert run("verify", "--full").exit_code == 1
    assert run("verify", "--full", "--checkpoint").exit_code == 1
    assert run("verify", "--checkpoint", "--organization", "Acme").exit_code == 2
