"""Credits, runs and statements against the real database, sync and async."""

from datetime import UTC, date, datetime, timedelta
from decimal import Decimal
from uuid import UUID, uuid4

import psycopg
import pytest

from tallystick import (
    Agent,
    BudgetExceeded,
    Client,
    CreditBalance,
    CreditGrant,
    CreditMovement,
    Frozen,
    HoldClosed,
    InvalidArgument,
    Organization,
    Reconciliation,
    RequestConflict,
    Run,
    SpendDenied,
    Statement,
    Step,
    Task,
    UnknownId,
)

MODEL = "gpt-4o"
TODAY = date(2026, 2, 10)
NOON = datetime(2026, 2, 10, 12, tzinfo=UTC)
LEAST = Decimal("0.000000000001")


@pytest.fixture
def organization(sync_client: Client, connection: psycopg.Connection) -> Organization:
    """Who has bought credits for 50 dollars, on a day that does not end during a test."""
    freeze(connection, NOON)
    acme = sync_client.create_organization("Acme")
    sync_client.purchase_credits(acme.id, Decimal(50), "payment-1")
    return acme


def freeze(connection: psycopg.Connection, moment: datetime) -> None:
    connection.execute("select tests.freeze_clock(%s)", [moment])


def start(client: Client, organization: Organization, cost: str = "1") -> Run:
    """Start a run of 1,000 tokens."""
    return client.start_run(
        organization.id,
        800,
        200,
        input_cost_usd=Decimal(cost),
        output_cost_usd=Decimal(0),
        name="report",
    )


def record(client: Client, run: Run, tokens: int, cost: str) -> UUID:
    return client.record_token_call(run.id, None, None, None, tokens, 0, MODEL, Decimal(cost))


def test_credits_come_in_and_are_used_up_in_order(
    client: Client, organization: Organization
) -> None:
    bought = client.purchase_credits(
        organization.id, LEAST, "payment-2", expires_at=NOON + timedelta(days=1), created_by="shop"
    )
    assert type(bought) is CreditMovement
    assert type(bought.amount_usd) is Decimal
    assert (bought.amount_usd, bought.direction, bought.created_by) == (LEAST, "credit", "shop")
    promo = client.grant_credits(organization.id, "promo", Decimal(5), "promo-1", model=MODEL)
    assert (promo.transaction_type, promo.reason) == ("promo", "promo_code_applied")
    adjusted = client.adjust_credits(organization.id, Decimal("-1.5"), "chargeback", "adjustment-1")
    assert (adjusted.direction, adjusted.amount_usd) == ("debit", Decimal("1.5"))
    grants = client.credit_grants(organization.id)
    assert {type(each) for each in grants} == {CreditGrant}
    assert [each.kind for each in grants] == ["promo", "purchase", "purchase"]
    assert grants[0].model == MODEL
    (balance,) = client.credit_balances(organization.id)
    assert type(balance) is CreditBalance
    assert (
        balance.balance_usd == sum(each.remaining_usd for each in grants) == Decimal("53.5") + LEAST
    )
    assert balance.available_usd == balance.balance_usd
    assert balance.movement_count == 4


def test_a_payment_is_booked_once(client: Client, organization: Organization) -> None:
    again = client.purchase_credits(organization.id, Decimal("50.00"), "payment-1")
    assert client.credit_balances(organization.id)[0].movement_count == 1
    assert again.idempotency_key == "payment-1"
    with pytest.raises(RequestConflict):
        client.purchase_credits(organization.id, Decimal(51), "payment-1")


def test_who_pays_afterwards_has_no_credits(client: Client, organization: Organization) -> None:
    other = client.create_organization("Other")
    assert client.credit_balances(other.id) == []
    assert client.credit_grants(other.id) == []
    with pytest.raises(UnknownId):
        client.set_low_balance(other.id, Decimal(1))


def test_a_warning_is_sent_once_and_acknowledged(
    client: Client, organization: Organization, connection: psycopg.Connection
) -> None:
    assert client.set_low_balance(organization.id, Decimal(60)).low_balance_usd == 60
    assert client.credit_balances(organization.id)[0].is_low
    events = connection.execute(
        "select array_agg(id) from audit.outbox where topic = 'billing.low_balance'"
    ).fetchone()
    assert events is not None
    assert client.acknowledge_events(organization.id, events[0]) == 1
    assert client.acknowledge_events(organization.id, events[0]) == 0
    assert client.acknowledge_events(organization.id, []) == 0
    assert client.set_low_balance(organization.id, None).low_balance_usd is None


def test_what_expires_is_taken_back(
    client: Client, organization: Organization, connection: psycopg.Connection
) -> None:
    end = NOON + timedelta(hours=1)
    client.grant_credits(organization.id, "trial", Decimal(5), "trial-1", expires_at=end)
    assert client.expire_credits() == 0
    freeze(connection, end)
    assert client.expire_credits(org_id=organization.id) == 1
    assert client.credit_balances(organization.id)[0].balance_usd == 50


def test_a_run_from_start_to_reconciliation(client: Client, organization: Organization) -> None:
    run = start(client, organization)
    assert type(run) is Run
    assert (run.status, run.name, run.model, run.completed_at) == ("running", "report", None, None)
    assert (run.tokens_estimated, run.cost_estimated) == (1000, 1)
    extended = client.extend_run(
        run.id,
        output_tokens=100,
        input_cost_usd=Decimal(0),
        output_cost_usd=LEAST,
        request_id="more",
    )
    assert (extended.output_tokens_estimated, extended.output_cost_estimated) == (300, LEAST)
    assert client.credit_balances(organization.id)[0].reserved_usd == 1 + LEAST
    agent = client.start_agent(run.id, "searcher")
    task = client.start_task(run.id, "search", agent_id=agent.id)
    step = client.start_step(run.id, "read", agent_id=agent.id, task_id=task.id)
    assert [type(agent), type(task), type(step)] == [Agent, Task, Step]
    assert (task.agent_id, step.task_id, step.run_id) == (agent.id, task.id, run.id)
    recorded = client.record_token_call(
        run.id, agent.id, task.id, step.id, None, None, MODEL, Decimal("0.4"),
        usage={"input_tokens": 600, "output_tokens": 100},
    )  # fmt: skip
    assert type(recorded) is UUID
    assert client.end_part(organization.id, step.id, status="failed") == "failed"
    (listed,) = client.runs(organization.id, status="running")
    assert (listed.tokens_used, listed.cost_incurred) == (700, Decimal("0.4"))
    reconciled = client.complete_run(run.id)
    assert type(reconciled) is Reconciliation
    assert (reconciled.status, reconciled.action) == ("RECONCILED", "refund_applied")
    assert reconciled.variance_pct == Decimal("-36.3636")
    assert reconciled.refund_amount_usd == Decimal("0.6") + LEAST
    assert client.reconcile_run(run.id, org_id=organization.id) == reconciled.id
    assert client.reconciliations(organization.id, run_id=run.id) == [reconciled]
    assert client.credit_balances(organization.id)[0].balance_usd == Decimal("49.6")


def test_a_call_that_went_wrong_and_one_on_a_hold(
    client: Client, organization: Organization, connection: psycopg.Connection
) -> None:
    run = start(client, organization)
    client.record_token_call(
        run.id, None, None, None, 10, 5, MODEL, LEAST,
        error_code="MISMATCH", error_message="not the sum", is_estimated=True,
        reported_total_tokens=16,
    )  # fmt: skip
    held = client.authorize_spend(
        organization.id, model=MODEL, estimated_cost=Decimal("0.1"), run_id=run.id
    )
    assert held.hold_id is not None
    with pytest.raises(Frozen):
        client.complete_run(run.id)
    settled = client.record_token_call(
        run.id, None, None, None, 20, 10, MODEL, LEAST, hold_id=held.hold_id
    )
    assert settled == held.hold_id
    with pytest.raises(InvalidArgument):
        client.record_token_call(run.id, None, None, None, 1, 1, MODEL, LEAST, error_code="LOST")
    rows = connection.execute(
        "select reported_total_tokens, error_code from billing.token_records order by input_tokens"
    ).fetchall()
    assert rows == [(16, "MISMATCH"), (None, None)]


def test_runs_are_cancelled_and_fail(
    client: Client, organization: Organization, connection: psycopg.Connection
) -> None:
    cancelled = start(client, organization)
    freeze(connection, NOON + timedelta(minutes=1))
    failed = start(client, organization)
    client.authorize_spend(organization.id, estimated_cost=Decimal("0.1"), run_id=failed.id)
    assert client.cancel_run(cancelled.id).refund_amount_usd == 1
    assert client.fail_run(failed.id, cause="agent_crash").refund_amount_usd == 1
    assert [each.status for each in client.runs(organization.id)] == ["failed", "cancelled"]
    assert [each.id for each in client.runs(organization.id, limit=1)] == [failed.id]
    with pytest.raises(HoldClosed):
        client.extend_run(
            failed.id, input_tokens=1, input_cost_usd=LEAST, output_cost_usd=Decimal(0)
        )
    with pytest.raises(UnknownId):
        client.cancel_run(uuid4())


def test_more_than_there_is_cannot_be_reserved(client: Client, organization: Organization) -> None:
    with pytest.raises(BudgetExceeded) as refusal:
        start(client, organization, "50.000000000001")
    assert refusal.value.details["available_usd"] == "50"
    assert refusal.value.details["needed_usd"] == "50.000000000001"


def test_a_dispute_is_resolved_with_a_refund(client: Client, organization: Organization) -> None:
    run = start(client, organization)
    record(client, run, 3000, "2")
    reconciled = client.complete_run(run.id)
    assert (reconciled.status, reconciled.charge_amount_usd) == ("CRITICAL", 1)
    with pytest.raises(HoldClosed):
        client.resolve_dispute(run.id)
    assert client.dispute_reconciliation(run.id, notes="too dear").status == "DISPUTED"
    assert client.reconciliations(organization.id, status="CRITICAL") == []
    resolved = client.resolve_dispute(run.id, refund_usd=Decimal("0.5"), notes="half")
    assert (resolved.status, resolved.action, resolved.notes) == (
        "RESOLVED",
        "dispute_resolved",
        "half",
    )
    assert resolved.resolved_at == NOON
    assert client.credit_balances(organization.id)[0].balance_usd == Decimal("48.5")


@pytest.mark.parametrize(
    ("model", "ends", "code", "reason"),
    [("claude-4", False, "TS402", "model_not_in_run"), (MODEL, True, "TS410", "run_ended")],
)
def test_why_a_run_does_not_pay(
    client: Client,
    sync_client: Client,
    organization: Organization,
    model: str,
    ends: bool,
    code: str,
    reason: str,
) -> None:
    run = client.start_run(
        organization.id, 1, 1, model=MODEL, input_cost_usd=LEAST, output_cost_usd=LEAST
    )
    if ends:
        client.cancel_run(run.id)
    about = {"model": model, "estimated_cost": LEAST, "run_id": run.id}
    assert client.authorize_spend(organization.id, **about).reason == reason
    with pytest.raises(SpendDenied) as denied, sync_client.spend(organization.id, **about):
        raise AssertionError
    assert denied.value.code == code


def test_a_statement_adds_up(
    client: Client, organization: Organization, connection: psycopg.Connection
) -> None:
    run = start(client, organization)
    record(client, run, 1000, "0.7")
    client.complete_run(run.id)
    held = client.authorize_spend(organization.id, model="outside", estimated_cost=Decimal(2))
    assert held.hold_id is not None
    client.settle_spend(held.hold_id, cost=Decimal("1.000000000001"))
    statement = client.get_statement(organization.id, TODAY)
    assert type(statement) is Statement
    assert (statement.organization, statement.month) == ("Acme", "2026-02")
    assert [each.change_usd for each in statement.movements] == [50, -1, Decimal("0.3")]
    assert statement.opening_balance_usd == 0
    assert statement.closing_balance_usd == Decimal("49.3")
    assert [(each.model, each.cost_usd) for each in statement.usage_by_model] == [
        ("outside", 1 + LEAST),
        (MODEL, Decimal("0.7")),
    ]
    assert [(each.day, each.cost_usd) for each in statement.usage_by_day] == [
        (TODAY, Decimal("1.7") + LEAST)
    ]
    assert client.close_draws() == 0
    freeze(connection, NOON + timedelta(days=1))
    assert client.close_draws(org_id=organization.id) == 1
    later = client.get_statement(organization.id, TODAY)
    assert later.closing_balance_usd == Decimal("48.3") - LEAST
    assert client.get_statement(organization.id, date(2026, 3, 31)).movements == ()
    assert client.verify_integrity() == []
