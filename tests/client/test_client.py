"""Every call against the real database, sync and async; the types of results are exact."""

import asyncio
from datetime import UTC, datetime
from decimal import Decimal
from uuid import UUID, uuid4

import psycopg
import pytest
from postgrest.exceptions import APIError

from tallystick import (
    AppendOnly,
    AsyncClient,
    Budget,
    Client,
    Finding,
    InvalidArgument,
    Organization,
    PermissionDenied,
    RequestConflict,
    RetryableError,
    UnknownId,
    Workflow,
)
from tests.support.servers import Database

CENT = Decimal("0.01")


def spend(
    client: Client, organization: Organization, workflow_id: UUID, cost: str, request_id: str
) -> None:
    client.record_usage_and_increment(
        workflow_id, organization.id, "gpt-4o", 10, 5, Decimal(cost), request_id=request_id
    )


@pytest.mark.parametrize("user", ["nobody", None])
def test_a_database_that_is_not_to_be_had_is_said_at_once(
    database: Database, user: str | None
) -> None:
    """Not after the half minute a pool would try, and not as its PoolTimeout."""
    url = database.url(user) if user else "postgresql://postgres@127.0.0.1:1/postgres"
    client = Client(url)
    with pytest.raises(psycopg.OperationalError) as said:
        client.budgets(uuid4())
    assert type(said.value) is psycopg.OperationalError
    client.close()

    async def ask() -> None:
        async with AsyncClient(url) as client:
            await client.budgets(uuid4())

    with pytest.raises(psycopg.OperationalError) as said:
        asyncio.run(ask())
    assert type(said.value) is psycopg.OperationalError


def test_create_organization(client: Client) -> None:
    created = client.create_organization("Acme", time_zone="Europe/Berlin")
    assert type(created) is Organization
    assert type(created.id) is UUID
    assert (created.name, created.time_zone, created.frozen_at) == ("Acme", "Europe/Berlin", None)
    assert type(created.created_at) is datetime
    assert created.created_at.tzinfo is UTC
    assert client.create_organization("Other").time_zone == "UTC"


def test_upsert_intent_workflow(client: Client, organization: Organization) -> None:
    workflow_id = uuid4()
    document = {"name": "review", "rate": Decimal("0.1"), "steps": [{"weight": Decimal("1.50")}]}
    created = client.upsert_intent_workflow(workflow_id, organization.id, document)
    assert type(created) is Workflow
    assert (created.id, created.organization_id) == (workflow_id, organization.id)
    assert created.workflow_data == {**document, "total_ai_cost": 0}
    assert type(created.workflow_data["rate"]) is Decimal
    assert type(created.total_ai_cost) is Decimal
    changed = client.upsert_intent_workflow(workflow_id, organization.id, {"total_ai_cost": 9})
    assert changed.workflow_data == {"total_ai_cost": 0}
    assert changed.created_at == created.created_at


def test_record_usage_and_increment(
    client: Client, organization: Organization, workflow_id: UUID
) -> None:
    for request_id in ("a", "b", "a"):  # the second "a" is a retry
        recorded = client.record_usage_and_increment(
            workflow_id, organization.id, "gpt-4o", 10, 5, Decimal("0.1"), request_id=request_id
        )
        assert recorded is None
    workflow = client.upsert_intent_workflow(workflow_id, organization.id, {})
    assert workflow.total_ai_cost == Decimal("0.2")


def test_get_organization_monthly_ai_cost(
    client: Client, organization: Organization, workflow_id: UUID
) -> None:
    cost = client.get_organization_monthly_ai_cost(organization.id)
    assert type(cost) is Decimal
    assert cost == 0
    spend(client, organization, workflow_id, "0.000000000001", "a")
    spend(client, organization, workflow_id, "0.3", "b")
    monthly = client.get_organization_monthly_ai_cost(organization.id)
    assert monthly == Decimal("0.300000000001")


@pytest.mark.parametrize("question", ["check_workflow_cost_limit", "estimate_workflow_cost_limit"])
def test_workflow_cost_limit(
    client: Client, organization: Organization, workflow_id: UUID, question: str
) -> None:
    ask = getattr(client, question)
    assert ask(workflow_id, Decimal("1.00")) is True
    assert ask(workflow_id, Decimal("1.01")) is False
    assert ask(workflow_id, Decimal("1.01"), max_cost=Decimal("1.01")) is True
    assert ask(workflow_id, CENT, organization_id=organization.id) is True
    client.set_budget(organization.id, "workflow", str(workflow_id), "total", Decimal(50))
    assert ask(workflow_id, Decimal(50)) is True
    assert ask(workflow_id, Decimal(50), max_cost=Decimal(5)) is False


def test_check_organization_monthly_quota(
    client: Client, organization: Organization, workflow_id: UUID
) -> None:
    assert client.check_organization_monthly_quota(organization.id) is True
    spend(client, organization, workflow_id, "5", "a")
    assert client.check_organization_monthly_quota(organization.id) is True
    assert (
        client.check_organization_monthly_quota(organization.id, monthly_limit=Decimal(5)) is False
    )


def test_budgets(client: Client, organization: Organization, workflow_id: UUID) -> None:
    month = client.set_budget(
        organization.id, "organization", None, "month", Decimal("12.5"), enforcement="hard", slots=1
    )
    assert type(month) is Budget
    assert type(month.limit_usd) is Decimal
    assert type(month.slot_count) is int
    assert month.limit_usd == Decimal("12.5")
    assert (month.scope, month.scope_id, month.time_window) == ("organization", "", "month")
    total = client.set_budget(
        organization.id, "workflow", str(workflow_id), "total", Decimal("0.000000000001")
    )
    assert (total.scope, total.scope_id) == ("workflow", str(workflow_id))
    assert total.limit_usd == Decimal("0.000000000001")
    removed = client.remove_budget(organization.id, "organization", None, "month")
    assert (removed.id, removed.limit_usd) == (month.id, None)


def test_prices_of_everybody(client: Client) -> None:
    assert client.prices() == []
    rates = {"input_tokens": Decimal("2.5"), "output_tokens": Decimal(10)}
    price = client.set_price("acme", "m", rates)
    assert [each.id for each in client.prices()] == [price.id]
    assert [each.id for each in client.prices(provider="acme")] == [price.id]
    assert client.prices(model="other") == []


def test_verify_integrity(
    client: Client,
    organization: Organization,
    workflow_id: UUID,
    connection: psycopg.Connection,
) -> None:
    spend(client, organization, workflow_id, "0.5", "a")
    assert client.verify_integrity() == []
    connection.execute("update metering.usage_rollups set cost = cost + 1")
    findings = client.verify_integrity(organization_id=organization.id)
    assert findings
    assert {type(finding) for finding in findings} == {Finding}
    assert {finding.organization_id for finding in findings} == {organization.id}
    assert client.verify_integrity() == findings


def test_an_unknown_id_is_ts404(client: Client) -> None:
    unknown = uuid4()
    with pytest.raises(UnknownId) as refusal:
        client.check_workflow_cost_limit(unknown, CENT)
    assert refusal.value.code == "TS404"
    assert refusal.value.details == {"workflow_id": str(unknown)}
    assert refusal.value.hint


def test_a_request_id_with_other_content_is_ts409(
    client: Client, organization: Organization, workflow_id: UUID
) -> None:
    spend(client, organization, workflow_id, "0.1", "a")
    with pytest.raises(RequestConflict) as refusal:
        spend(client, organization, workflow_id, "0.2", "a")
    assert refusal.value.details["request_id"] == "a"


@pytest.mark.parametrize("amount", ["NaN", "Infinity", "-0.01", "0.0000000000001", "1e12"])
def test_an_impossible_amount_is_22023(
    client: Client, organization: Organization, workflow_id: UUID, amount: str
) -> None:
    with pytest.raises(InvalidArgument) as refusal:
        spend(client, organization, workflow_id, amount, "a")
    assert refusal.value.details["argument"] == "p_cost"
    assert client.get_organization_monthly_ai_cost(organization.id) == 0


def test_a_count_that_does_not_fit_is_refused_by_its_value(
    client: Client, organization: Organization, workflow_id: UUID
) -> None:
    with pytest.raises((psycopg.Error, APIError)) as error:  # the driver's own
        client.record_usage_and_increment(
            workflow_id, organization.id, "gpt-4o", 2**31, 5, Decimal("0.1")
        )
    assert "22003" in (getattr(error.value, "sqlstate", None), getattr(error.value, "code", None))


def test_a_role_without_the_right_is_42501(
    database: Database, organization: Organization, workflow_id: UUID
) -> None:
    with (
        database.connect(role="authenticated", autocommit=True) as member,
        pytest.raises(PermissionDenied) as refusal,
    ):
        spend(Client(member), organization, workflow_id, "0.1", "a")
    assert refusal.value.code == "42501"


def test_errors_of_the_registry_arrive_as_their_class(database: Database) -> None:
    with database.connect() as connection:
        client = Client(connection)
        connection.execute(
            "create or replace function tenancy.create_organization("
            " p_name text, p_time_zone text default 'UTC')"
            " returns tenancy.organizations language plpgsql as"
            " $$ begin perform private.raise_error(p_name); end $$"
        )
        connection.commit()
        for code, error_class in (
            ("23001", AppendOnly),
            ("40001", RetryableError),
            ("40P01", RetryableError),
        ):
            with pytest.raises(error_class) as refusal:
                client.create_organization(code)
            assert refusal.value.code == code
            assert isinstance(refusal.value.__cause__, psycopg.Error)
            connection.rollback()


def test_a_lost_connection_stays_an_error_of_the_driver(database: Database) -> None:
    with database.connect() as connection:
        client = Client(connection)
    with pytest.raises(psycopg.OperationalError):
        client.create_organization("Acme")


def test_an_ended_session_stays_an_error_of_the_driver(
    database: Database, connection: psycopg.Connection
) -> None:
    with database.connect() as mine:
        connection.execute("select pg_terminate_backend(%s)", [mine.info.backend_pid])
        with pytest.raises(psycopg.OperationalError) as ended:
            Client(mine).create_organization("Acme")
    assert ended.value.sqlstate == "57P01"


def test_an_ended_async_session_stays_an_error_of_the_driver(
    database: Database, connection: psycopg.Connection
) -> None:
    async def scenario() -> None:
        async with await psycopg.AsyncConnection.connect(database.url()) as mine:
            connection.execute("select pg_terminate_backend(%s)", [mine.info.backend_pid])
            await AsyncClient(mine).create_organization("Acme")

    with pytest.raises(psycopg.OperationalError) as ended:
        asyncio.run(scenario())
    assert ended.value.sqlstate == "57P01"
