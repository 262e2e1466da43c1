"""Receipts of the journal against the real database, sync and async."""

from datetime import UTC, datetime, timedelta
from decimal import Decimal
from uuid import UUID, uuid4

import psycopg
import pytest

from tallystick import (
    Client,
    Event,
    InvalidArgument,
    PermissionDenied,
    StaleHead,
    UnknownId,
)

NOON = datetime(2026, 2, 10, 12, tzinfo=UTC)


@pytest.fixture
def owner_id() -> UUID:
    return uuid4()


def charge(client: Client, owner_id: UUID, cents: int = 1250) -> Event:
    """Write a receipt about a payment."""
    return client.assert_event("payments", "charged", payload={"c": cents}, owner_user_id=owner_id)


def test_a_receipt_is_what_was_stated(client: Client, owner_id: UUID) -> None:
    tenant_id, logical_id = uuid4(), uuid4()
    stated = {
        "entity_type": "invoice",
        "entity_id": "invoice-1",
        "occurred_at": NOON,
        "owner_user_id": owner_id,
        "owner_agent_id": "cashier",
        "country_code": "DE",
        "region_code": "BE",
        "city_code": "BER",
        "locality_code": "10115",
        "logical_id": logical_id,
        "organization_id": tenant_id,
    }
    event = client.assert_event("payments", "charged", payload={"part": Decimal("0.1")}, **stated)
    assert type(event) is Event
    assert {name: getattr(event, name) for name in stated} == stated
    assert (event.domain, event.event_type) == ("payments", "charged")
    assert (event.revision, event.op, event.supersedes_id) == (0, "assert", None)
    assert event.payload["part"] == Decimal("0.1")
    assert event.payload["schema_version"] == 0
    assert client.event_revisions(tenant_id, logical_id) == [event]


def test_without_a_tenant_the_owner_is_their_own(client: Client, owner_id: UUID) -> None:
    event = client.assert_event("devices", "lent", owner_user_id=owner_id)
    assert event.organization_id == owner_id
    assert event.payload.keys() == {"schema_version", "source"}
    assert event.occurred_at <= event.created_at


def test_revisions_follow_one_another(client: Client, owner_id: UUID) -> None:
    first = charge(client, owner_id)
    amended = client.amend_event(
        first.logical_id,
        payload={"c": 1300},
        supersedes_id=first.id,
        event_type="charged_late",
        occurred_at=NOON,
        organization_id=owner_id,
    )
    assert (amended.op, amended.revision, amended.supersedes_id) == ("amend", 1, first.id)
    assert (amended.event_type, amended.occurred_at) == ("charged_late", NOON)
    voided = client.void_event(
        first.logical_id, "twice", voided_by="support", organization_id=owner_id
    )
    assert (voided.op, voided.counts) == ("void", False)
    reasons = {"void_reason": "twice", "voided_by": "support"}
    assert voided.payload == {**amended.payload, **reasons}
    restated = client.restate_event(
        first.logical_id, payload={"c": 1}, supersedes_id=voided.id, organization_id=owner_id
    )
    assert (restated.op, restated.revision, restated.counts) == ("restate", 3, True)
    assert restated.payload["c"] == 1
    revisions = client.event_revisions(owner_id, first.logical_id)
    assert revisions == [first, amended, voided, restated]
    assert client.current_events(owner_user_id=owner_id) == [restated]


def test_whoever_revises_what_has_been_revised_is_told(client: Client, owner_id: UUID) -> None:
    first = charge(client, owner_id)
    second = client.amend_event(first.logical_id, payload={"c": 1}, organization_id=owner_id)
    late = {"supersedes_id": first.id, "organization_id": owner_id}
    with pytest.raises(StaleHead) as stale:
        client.amend_event(first.logical_id, payload={"c": 2}, **late)
    assert stale.value.code == "TS419"
    assert stale.value.details["head_id"] == str(second.id)
    with pytest.raises(StaleHead):
        client.void_event(first.logical_id, "twice", voided_by="support", **late)
    assert client.current_events(owner_user_id=owner_id) == [second]


def test_an_event_is_asserted_once(client: Client, owner_id: UUID) -> None:
    event = charge(client, owner_id)
    with pytest.raises(StaleHead):
        client.assert_event(
            "payments", "charged", owner_user_id=owner_id, logical_id=event.logical_id
        )


def test_what_makes_no_sense_is_refused(client: Client, owner_id: UUID) -> None:
    event = charge(client, owner_id)
    with pytest.raises(InvalidArgument):
        client.restate_event(event.logical_id, organization_id=owner_id)
    with pytest.raises(InvalidArgument, match="p_voided_by"):
        client.void_event(event.logical_id, "twice", organization_id=owner_id)
    with pytest.raises(InvalidArgument):
        client.void_event(event.logical_id, " ", voided_by="support", organization_id=owner_id)
    with pytest.raises(InvalidArgument):
        client.assert_event("payments", " ", owner_user_id=owner_id)
    with pytest.raises(InvalidArgument):
        client.amend_event(
            event.logical_id, payload={"schema_version": "one"}, organization_id=owner_id
        )
    with pytest.raises(InvalidArgument, match="p_owner_user_id"):
        client.assert_event("payments", "charged")


def test_an_event_of_another_tenant_is_unknown(client: Client, owner_id: UUID) -> None:
    event = charge(client, owner_id)
    for tenant_id in (uuid4(), event.logical_id):
        with pytest.raises(UnknownId):
            client.amend_event(event.logical_id, payload={}, organization_id=tenant_id)
        assert client.event_revisions(tenant_id, event.logical_id) == []


def test_current_events_have_the_last_that_happened_in_front(
    client: Client, connection: psycopg.Connection, owner_id: UUID
) -> None:
    connection.execute("select tests.freeze_clock(%s)", [NOON])
    tenant_id = uuid4()
    lent = client.assert_event(
        "devices", "lent", entity_type="phone", entity_id="1", owner_user_id=owner_id
    )
    charged = client.assert_event(
        "payments",
        "charged",
        occurred_at=NOON - timedelta(days=1),
        owner_user_id=owner_id,
        organization_id=tenant_id,
    )
    charge(client, uuid4())
    assert client.current_events(owner_user_id=owner_id) == [lent, charged]
    assert client.current_events(owner_user_id=owner_id, limit=1) == [lent]
    assert client.current_events(owner_user_id=owner_id, domain="payments") == [charged]
    assert client.current_events(organization_id=tenant_id) == [charged]
    assert client.current_events(owner_user_id=owner_id, entity_type="phone", entity_id="1") == [
        lent
    ]
    assert client.current_events(owner_user_id=owner_id, organization_id=uuid4()) == []


def test_who_is_signed_in_keeps_their_own(
    sync_client: Client, connection: psycopg.Connection, owner_id: UUID
) -> None:
    other = charge(sync_client, uuid4())
    connection.execute(
        "select set_config('request.jwt.claims', %s, false)",
        [f'{{"sub": "{owner_id}", "role": "authenticated"}}'],
    )
    connection.execute("set role authenticated")
    event = sync_client.assert_event("devices", "lent")
    assert (event.owner_user_id, event.organization_id) == (owner_id, owner_id)
    assert event.payload["source"] == "client"
    voided = sync_client.void_event(event.logical_id, "by mistake")
    assert voided.payload["voided_by"] == f"user:{owner_id}"
    assert sync_client.current_events(organization_id=other.organization_id) == []
    with pytest.raises(UnknownId):
        sync_client.amend_event(other.logical_id, organization_id=other.organization_id)
    with pytest.raises(PermissionDenied):
        sync_client.assert_event("devices", "lent", owner_user_id=other.owner_user_id)
