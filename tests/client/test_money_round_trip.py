"""Every amount the ledger can hold arrives and returns unchanged."""

from decimal import Decimal
from uuid import UUID

import psycopg
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from tallystick import Client, Organization

AMOUNTS = st.decimals(min_value=0, max_value=Decimal("999999999999.999999999999"), places=12)
FEW = settings(
    max_examples=40,
    deadline=None,
    suppress_health_check=[HealthCheck.function_scoped_fixture, HealthCheck.too_slow],
)


@FEW
@given(amount=AMOUNTS)
def test_a_limit_returns_as_it_was_sent(
    sync_client: Client, organization: Organization, amount: Decimal
) -> None:
    stored = sync_client.set_budget(organization.id, "organization", None, "month", amount)
    assert stored.limit_usd == amount


@FEW
@given(amount=AMOUNTS)
def test_a_decimal_in_a_document_returns_with_its_digits(
    sync_client: Client, organization: Organization, workflow_id: UUID, amount: Decimal
) -> None:
    document = {"budget": amount, "nested": {"list": [amount]}}
    stored = sync_client.upsert_intent_workflow(workflow_id, organization.id, document)
    assert stored.workflow_data["budget"] == amount
    assert stored.workflow_data["nested"] == {"list": [amount]}


@FEW
@given(costs=st.lists(st.decimals(min_value=0, max_value=1000, places=12), max_size=6))
def test_totals_are_the_exact_sum_of_the_costs(
    connection: psycopg.Connection,
    sync_client: Client,
    organization: Organization,
    workflow_id: UUID,
    costs: list[Decimal],
) -> None:
    with connection.transaction(force_rollback=True):
        for cost in costs:
            sync_client.record_usage_and_increment(
                workflow_id, organization.id, "gpt-4o", 10, 5, cost
            )
        workflow = sync_client.upsert_intent_workflow(workflow_id, organization.id, {})
        assert workflow.total_ai_cost == sum(costs)
        assert sync_client.get_organization_monthly_ai_cost(organization.id) == sum(costs)
