"""The commands `tallystick journal ...`."""

from uuid import UUID, uuid4

import psycopg
import pytest

from tallystick import Client, Event
from tests.cli.conftest import Run
from tests.cli.test_budgets import assert_refused, text_of


@pytest.fixture
def owner_id(connection: psycopg.Connection) -> UUID:
    """Somebody, on a day that does not end during a test."""
    at(connection, "12:00")
    return uuid4()


def at(connection: psycopg.Connection, time: str) -> None:
    connection.execute("select tests.freeze_clock(%s)", [f"2026-02-10 {time}+0"])


def charge(client: Client, owner_id: UUID, tenant_id: UUID | None = None) -> Event:
    return client.assert_event(
        "payments",
        "charged",
        payload={"source": "shop [red]", "amount_usd": "12.50", "paid": True},
        entity_type="invoice",
        entity_id="in\x1b-1",
        owner_user_id=owner_id,
        organization_id=tenant_id,
    )


def test_events_are_listed_the_last_first(
    run: Run, client: Client, connection: psycopg.Connection, owner_id: UUID
) -> None:
    charged = charge(client, owner_id)
    at(connection, "12:30")
    lent = client.assert_event("devices", "lent", owner_user_id=owner_id)
    client.amend_event(charged.logical_id, payload={"source": "desk"}, organization_id=owner_id)
    shown = text_of(run("journal", "list", "--owner", owner_id))
    assert shown.startswith(f"owner {owner_id} op entity time (UTC) event revision source")
    assert (
        f"2026-02-10 12:00 payments: charged amend invoice in\ufffd-1 {charged.logical_id} 1 desk"
        in shown
    )
    assert f"2026-02-10 12:30 devices: lent assert {lent.logical_id} 0 service_role" in shown
    assert shown.count(f"tenant {owner_id}") == 2
    assert shown.index("lent") < shown.index("charged")
    assert "may be more" not in shown
    only = text_of(run("journal", "list", "--owner", owner_id, "--limit", 1))
    assert "may be more than 1;" in only
    assert "charged" not in only
    assert "lent" not in text_of(
        run("journal", "list", "--owner", owner_id, "--domain", "payments")
    )


def test_events_of_a_tenant_are_listed(run: Run, client: Client, owner_id: UUID) -> None:
    tenant_id = uuid4()
    charge(client, owner_id)
    event = charge(client, owner_id, tenant_id)
    shown = text_of(run("journal", "list", "--tenant", tenant_id))
    assert shown.count("charged") == 1
    assert shown.count(str(tenant_id)) == 1
    assert f"payments: charged assert invoice in\ufffd-1 {event.logical_id} 0 shop [red]" in shown
    both = text_of(run("journal", "list", "--tenant", tenant_id, "--owner", uuid4()))
    assert "No events." in both


def test_an_owner_or_a_tenant_is_needed(run: Run) -> None:
    result = run("journal", "list", "--domain", "payments")
    assert result.exit_code == 2
    assert "--tenant is needed" in result.stderr
    assert run("journal", "list", "--owner", "x").exit_code == 2
    assert run("journal", "show", uuid4()).exit_code == 2


def test_an_event_is_shown_with_what_each_revision_changed(
    run: Run, client: Client, connection: psycopg.Connection, owner_id: UUID
) -> None:
    logical_id = charge(client, owner_id).logical_id
    at(connection, "13:00")
    client.amend_event(
        logical_id,
        payload={"source": "desk", "paid": 1, "note\x1b": ["\x1b[31m"], "event type": "für"},
        event_type="refunded",
        organization_id=owner_id,
    )
    at(connection, "14:00")
    client.void_event(logical_id, "twice", voided_by="support", organization_id=owner_id)
    shown = text_of(run("journal", "show", logical_id, "--tenant", owner_id))
    for part in (
        "payments: refunded about invoice in\ufffd-1 happened 2026-02-10 12:00 UTC, does not count",
        f"event {logical_id} owner {owner_id} tenant {owner_id}",
        "0 assert 2026-02-10 12:00 + event type: charged + occurred at: 2026-02-10 12:00:00",
        '+ amount_usd: "12.50"',
        '+ source: "shop [red]"',
        "1 amend 2026-02-10 13:00 ~ event type: charged → refunded",
        "~ paid: true → 1",
        '~ source: "shop [red]" → "desk"',
        '- amount_usd: "12.50"',
        "+ note\ufffd: [",
        '+ event type: "für"',
        "2 void 2026-02-10 14:00 + voided_by: ",
        '+ void_reason: "twice"',
    ):
        assert part in shown
    assert "\x1b" not in shown
    assert shown.count("source:") == 2
    client.restate_event(logical_id, organization_id=owner_id)
    shown = text_of(run("journal", "show", logical_id, "--tenant", owner_id))
    assert "UTC, counts" in shown
    assert shown.endswith(
        '3 restate 2026-02-10 14:00 - voided_by: "support" - void_reason: "twice"'
    )


def test_an_event_that_is_not_there_is_said_so(run: Run, client: Client, owner_id: UUID) -> None:
    event = charge(client, owner_id)
    result = run("journal", "show", event.logical_id, "--tenant", uuid4())
    assert_refused(result, "has no event", str(event.logical_id))
