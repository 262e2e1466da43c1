"""Rows in every ledger there is."""

import json
from decimal import Decimal
from typing import Any
from uuid import uuid4

import psycopg

ORGANIZATIONS = (
    "0a000000-0000-4000-8000-000000000000",
    "0b000000-0000-4000-8000-000000000000",
)


def fill(connection: psycopg.Connection, organization: str) -> None:
    """Open an organization and write two rows or more into each ledger, none like another."""
    connection.execute(
        "insert into tenancy.organizations (id, name) values (%s, 'Acme') on conflict do nothing",
        (organization,),
    )
    workflow = uuid4()
    connection.execute(
        "insert into public.intent_workflows (organization_id, id) values (%s, %s)",
        (organization, workflow),
    )
    connection.execute(
        "select from public.record_usage_and_increment(%s, %s, 'm', 10, 20, %s)",
        (workflow, organization, Decimal("0.5")),
    )
    for amount in (20, 30):
        connection.execute(
            "select from billing.purchase_credits(%s, %s, %s)", (organization, amount, str(uuid4()))
        )
    run = _one(
        connection,
        "select (billing.start_run(%s, 1000, 1000, p_input_cost_usd => 1,"
        " p_output_cost_usd => 1)).id",
        organization,
    )
    for cost in ("0.25", "0.125"):
        connection.execute(
            "select from billing.record_token_call(%s, null, null, null, 1, 2, 'm', %s)",
            (run, Decimal(cost)),
        )
    venture = _one(
        connection,
        "insert into tenancy.ventures (organization_id, name) values (%s, 'V') returning id",
        organization,
    )
    for cost in ("0.75", "0.0625"):
        connection.execute(
            "select from public.record_venture_usage(%s, 1, 'agent', 'm', 1, 2, %s)",
            (venture, Decimal(cost)),
        )
    _keep_books(connection, organization)
    for event in ("paid", "refunded"):
        connection.execute(
            "select from public.ledger_assert_v0('payments', %s, p_owner_user_id => %s,"
            " p_organization_id => %s)",
            (event, organization, organization),
        )


def _keep_books(connection: psycopg.Connection, organization: str) -> None:
    """Post two bundles and approve a third by two persons."""
    for code, name, kind in (("1000", "cash", "asset"), ("4000", "sales", "income")):
        connection.execute(
            "select from accounting.set_account(%s, %s, %s, %s, p_account_id => %s)",
            (organization, code, name, kind, name),
        )
    connection.execute(
        "select from accounting.set_policy_rule(%s, 'large', 1000, p_required_approvals => 2,"
        " p_tool_name => 'record_transaction_bundle', p_allows_asserted => true)",
        (organization,),
    )
    for amount in ("10", "20"):
        _post(connection, organization, amount)
    proposal = _post(connection, organization, "2000")["proposal_id"]
    for approver in ("anna", "bela"):
        connection.execute(
            "select from accounting.approve_proposal(%s, %s, p_reason => %s, p_actor => %s)",
            (organization, proposal, f"{approver} agrees", approver),
        )


def _post(connection: psycopg.Connection, organization: str, amount: str) -> dict[str, str]:
    request = {
        "source_system": "shop",
        "external_id": str(uuid4()),
        "transaction_date": "2026-01-15",
        "description": f"a sale of {amount}",
        "correlation_id": str(uuid4()),
        "postings": [
            {"account_id": "cash", "amount": amount},
            {"account_id": "sales", "amount": f"-{amount}"},
        ],
    }
    answer: dict[str, str] = json.loads(
        _one(
            connection,
            "select accounting.record_transaction_bundle(%s, %s)",
            organization,
            json.dumps(request),
        )
    )
    return answer


def _one(connection: psycopg.Connection, query: str, *arguments: object) -> Any:
    return connection.execute(query, arguments).fetchall()[0][0]
