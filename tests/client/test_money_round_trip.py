"""Every amount the ledger can hold arrives and returns unchanged."""

from decimal import Decimal
from uuid import UUID

import psycopg
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from tallystick import Client, Organization, Settlement, SpendRequest

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
@given(estimate=AMOUNTS.filter(bool), cost=AMOUNTS, in_batches=st.booleans())
def test_what_is_held_and_settled_returns_as_it_was_sent(
    connection: psycopg.Connection,
    sync_client: Client,
    organization: Organization,
    estimate: Decimal,
    cost: Decimal,
    in_batches: bool,
) -> None:
    with connection.transaction(force_rollback=True):
        if in_batches:
            request = SpendRequest(estimated_cost=estimate)
            (item,) = sync_client.authorize_spend_batch(organization.id, [request])
            decision = item.decision
        else:
            decision = sync_client.authorize_spend(organization.id, estimated_cost=estimate)
        assert decision is not None
        assert decision.hold_id is not None
        assert decision.held_usd == estimate
        assert sync_client.holds(organization.id)[0].held_usd == estimate
        if in_batches:
            settlement = Settlement(hold_id=decision.hold_id, cost=cost)
            (settled,) = sync_client.settle_spend_batch(organization.id, [settlement])
            assert (settled.cost, settled.unheld_usd) == (cost, max(cost - estimate, 0))
        else:
            usage = sync_client.settle_spend(decision.hold_id, cost=cost)
            assert (usage.cost, usage.unheld_usd) == (cost, max(cost - estimate, 0))
        assert sync_client.get_organization_monthly_ai_cost(organization.id) == cost
        assert sync_client.budgets(organization.id)[0].settled_usd == cost


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


@FEW
@given(amount=AMOUNTS.filter(bool), cost=AMOUNTS)
def test_what_is_paid_reserved_and_charged_returns_as_it_was_sent(
    connection: psycopg.Connection,
    sync_client: Client,
    organization: Organization,
    amount: Decimal,
    cost: Decimal,
) -> None:
    with connection.transaction(force_rollback=True):
        assert sync_client.purchase_credits(organization.id, amount, "a").amount_usd == amount
        run = sync_client.start_run(
            organization.id, 1, 1, input_cost_usd=amount, output_cost_usd=Decimal(0)
        )
        assert run.cost_estimated == run.input_cost_estimated == amount
        (balance,) = sync_client.credit_balances(organization.id)
        assert (balance.balance_usd, balance.reserved_usd) == (amount, amount)
        sync_client.record_token_call(run.id, None, None, None, 1, 1, "gpt-4o", cost)
        reconciled = sync_client.complete_run(run.id)
        assert (reconciled.estimated_cost_usd, reconciled.actual_cost_usd) == (amount, cost)
        assert reconciled.charge_amount_usd - reconciled.refund_amount_usd == cost - amount
        month = sync_client.get_statement(organization.id, run.created_at.date())
        assert month.closing_balance_usd == max(amount - cost, 0)
        assert month.receivables_usd == max(cost - amount, 0)
