"""The commands `tallystick holds ...`."""

from datetime import timedelta
from decimal import Decimal
from typing import Any
from uuid import UUID, uuid4

import psycopg

from tallystick import Client, Organization
from tests.cli.conftest import Run
from tests.cli.test_budgets import assert_refused, text_of

OVERDUE = timedelta(milliseconds=1)


def hold(client: Client, organization: Organization, **about: Any) -> UUID:
    decision = client.authorize_spend(organization.id, estimated_cost=Decimal("0.02"), **about)
    assert decision.hold_id is not None
    return decision.hold_id


def test_open_holds_are_listed_with_what_they_are_for(
    run: Run, client: Client, acme: Organization
) -> None:
    assert "No holds" in text_of(run("holds", "list"))
    hold_id = hold(client, acme, model="gpt-[red]4o", api_key_id="key-1", tags={"team": "search"})
    listed = text_of(run("holds", "list"))
    for part in ("Acme", str(hold_id), "$0.02", "gpt-[red]4o", "api_key key-1", "team=search"):
        assert part in listed
    assert "overdue" not in listed


def test_states_and_a_limit(
    run: Run, client: Client, acme: Organization, connection: psycopg.Connection
) -> None:
    open_id, released_id = hold(client, acme), hold(client, acme)
    client.release_spend(released_id, reason="not needed")
    assert str(released_id) not in text_of(run("holds", "list"))
    assert "not needed" in text_of(run("holds", "list", "--state", "released"))
    everything = text_of(run("holds", "list", "--state", "all"))
    assert str(open_id) in everything
    assert str(released_id) in everything
    assert "may be more than 1" in text_of(run("holds", "list", "--limit", 1))
    hold(client, acme, expires_in=OVERDUE)
    connection.execute("select pg_sleep(0.01)")
    assert "overdue since" in text_of(run("holds", "list"))


def test_a_hold_is_released(run: Run, client: Client, acme: Organization) -> None:
    hold_id = hold(client, acme)
    told = text_of(run("holds", "release", hold_id, "--reason", "stuck"))
    assert told == f"Released: $0.02 of hold {hold_id}."
    assert client.holds(acme.id)[0].reason == "stuck"
    unknown = uuid4()
    assert_refused(run("holds", "release", unknown), "[TS404]", str(unknown))


def test_overdue_holds_are_expired(
    run: Run, client: Client, acme: Organization, connection: psycopg.Connection
) -> None:
    other = client.create_organization("Other")
    for organization in (acme, acme, other):
        hold(client, organization, expires_in=OVERDUE)
    connection.execute("select pg_sleep(0.01)")
    assert text_of(run("holds", "expire", "--organization", "Other")) == "1 hold expired."
    assert text_of(run("holds", "expire")) == "2 holds expired."
    assert text_of(run("holds", "expire")) == "0 holds expired."
