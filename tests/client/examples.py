"""One valid call of every function of the client."""

from datetime import UTC, date, datetime, timedelta
from decimal import Decimal
from typing import Any
from uuid import UUID

from tallystick import Bundle, Posting, Settlement, SpendRequest, calls

ORGANIZATION = UUID("00000000-0000-7000-8000-000000000001")
WORKFLOW = UUID("00000000-0000-7000-8000-000000000002")
RUN = UUID("00000000-0000-7000-8000-000000000003")
VENTURE = UUID("00000000-0000-7000-8000-000000000004")
USER = UUID("00000000-0000-7000-8000-000000000005")
HOLD = UUID("00000000-0000-7000-8000-000000000006")
MOMENT = datetime(2026, 1, 1, tzinfo=UTC)
BUDGET = UUID("00000000-0000-7000-8000-000000000007")
AGENT = UUID("00000000-0000-7000-8000-000000000008")
TASK = UUID("00000000-0000-7000-8000-000000000009")
STEP = UUID("00000000-0000-7000-8000-00000000000a")
EVENT = UUID("00000000-0000-7000-8000-00000000000b")
REVISION = UUID("00000000-0000-7000-8000-00000000000c")
PROPOSAL = UUID("00000000-0000-7000-8000-00000000000d")

ABOUT: dict[str, Any] = {
    "model": "gpt-4o",
    "estimated_cost": Decimal("0.02"),
    "input_tokens": 1200,
    "max_output_tokens": 4096,
    "workflow_id": WORKFLOW,
    "run_id": RUN,
    "venture_id": VENTURE,
    "user_id": USER,
    "api_key_id": "key-1",
    "tags": {"team": "search"},
    "provider": "openai",
    "service_tier": "flex",
}
PARTIAL: dict[str, Any] = {"allow_partial": True, "minimum": Decimal("0.005")}
ESTIMATE = {**ABOUT, **PARTIAL}
SPEND = {**ABOUT, "request_id": "req-1", "expires_in": timedelta(minutes=5), **PARTIAL}
SETTLEMENT: dict[str, Any] = {
    "hold_id": HOLD,
    "usage": {"input_tokens": 1200, "output_tokens": 300},
    "cost": Decimal("0.006"),
    "request_id": "req-1",
}

# Name of the call, and all its arguments, optional ones included.
ARGUMENTS: dict[str, dict[str, Any]] = {
    "authorize_spend": {"organization_id": ORGANIZATION, **SPEND},
    "estimate_spend": {"organization_id": ORGANIZATION, **ESTIMATE},
    "settle_spend": {**SETTLEMENT, "organization_id": ORGANIZATION},
    "release_spend": {"hold_id": HOLD, "reason": "cancelled", "organization_id": ORGANIZATION},
    "extend_hold": {
        "hold_id": HOLD,
        "expires_in": timedelta(hours=1),
        "additional_cost": Decimal("0.01"),
        "request_id": "req-1",
        "organization_id": ORGANIZATION,
    },
    "authorize_spend_batch": {
        "organization_id": ORGANIZATION,
        "items": [SpendRequest(**SPEND), SpendRequest(estimated_cost=Decimal("1E-12"))],
    },
    "settle_spend_batch": {
        "organization_id": ORGANIZATION,
        "items": [Settlement(**SETTLEMENT), Settlement(hold_id=HOLD)],
    },
    "check_workflow_cost_limit": {
        "workflow_id": WORKFLOW,
        "additional_cost": Decimal("0.02"),
        "max_cost": Decimal("1.50"),
        "organization_id": ORGANIZATION,
    },
    "estimate_workflow_cost_limit": {
        "workflow_id": WORKFLOW,
        "additional_cost": Decimal("0.02"),
        "max_cost": Decimal("1.50"),
        "organization_id": ORGANIZATION,
    },
    "record_usage_and_increment": {
        "workflow_id": WORKFLOW,
        "organization_id": ORGANIZATION,
        "model": "gpt-4o",
        "prompt_tokens": 1200,
        "completion_tokens": 300,
        "cost": Decimal("0.006"),
        "request_id": "req-1",
    },
    "get_organization_monthly_ai_cost": {"organization_id": ORGANIZATION},
    "check_organization_monthly_quota": {
        "organization_id": ORGANIZATION,
        "monthly_limit": Decimal(20),
    },
    "upsert_intent_workflow": {
        "workflow_id": WORKFLOW,
        "organization_id": ORGANIZATION,
        "workflow_data": {"name": "review"},
    },
    "set_budget": {
        "organization_id": ORGANIZATION,
        "scope": "workflow",
        "scope_id": str(WORKFLOW),
        "window": "total",
        "limit": Decimal(5),
        "enforcement": "hard",
        "slots": 1,
    },
    "remove_budget": {
        "organization_id": ORGANIZATION,
        "scope": "workflow",
        "scope_id": str(WORKFLOW),
        "window": "total",
    },
    "change_budget": {
        "organization_id": ORGANIZATION,
        "budget_id": BUDGET,
        "scope": "tag",
        "scope_id": "team=search",
        "window": "day",
        "slots": 16,
    },
    "freeze": {"organization_id": ORGANIZATION, "scope": "model", "scope_id": "gpt-4o"},
    "unfreeze": {"organization_id": ORGANIZATION, "scope": "model", "scope_id": "gpt-4o"},
    "budgets": {"organization_id": ORGANIZATION, "scope": "model", "scope_id": "gpt-4o"},
    "holds": {"organization_id": ORGANIZATION, "state": "open", "limit": 50},
    "expire_holds": {"organization_id": ORGANIZATION, "limit": 50},
    "waiting_budgets": {},
    "price_usage": {
        "model": "gpt-4o",
        "usage": {"input_tokens": 1200, "service_tier": "flex"},
        "organization_id": ORGANIZATION,
        "provider": "openai",
        "service_tier": "priority",
        "at": MOMENT,
    },
    "prices": {"provider": "openai", "model": "gpt-4o", "organization_id": ORGANIZATION},
    "set_price": {
        "provider": "openai",
        "model": "gpt-4o",
        "rates": [
            {"input_tokens": Decimal("2.5"), "output_tokens": Decimal(10)},
            {
                "above_input_tokens": 200000,
                "input_tokens": Decimal(5),
                "output_tokens": Decimal(20),
            },
        ],
        "effective_from": MOMENT,
        "service_tier": "priority",
        "organization_id": ORGANIZATION,
    },
    "set_markup": {
        "organization_id": ORGANIZATION,
        "percent": Decimal("12.5"),
        "provider": "openai",
        "model": "gpt-4o",
        "effective_from": MOMENT,
    },
    "set_model_name": {
        "provider": "azure",
        "name": "my-deployment",
        "model": "gpt-4o",
        "match": "exact",
        "model_provider": "openai",
    },
    "load_prices": {
        "source": "list",
        "version": "1",
        "price_list": {"providers": [], "names": [], "prices": []},
        "max_age": timedelta(days=90),
    },
    "purchase_credits": {
        "org_id": ORGANIZATION,
        "amount_usd": Decimal(50),
        "idempotency_key": "payment-1",
        "expires_at": MOMENT,
        "created_by": "shop",
    },
    "grant_credits": {
        "org_id": ORGANIZATION,
        "kind": "promo",
        "amount_usd": Decimal(5),
        "idempotency_key": "promo-1",
        "expires_at": MOMENT,
        "priority": 15,
        "model": "gpt-4o",
        "created_by": "campaign",
    },
    "adjust_credits": {
        "org_id": ORGANIZATION,
        "amount_usd": Decimal("-1.5"),
        "reason": "chargeback",
        "idempotency_key": "adjustment-1",
        "created_by": "support",
    },
    "expire_credits": {"org_id": ORGANIZATION, "limit": 50},
    "set_low_balance": {"org_id": ORGANIZATION, "low_balance_usd": Decimal(10)},
    "credit_balances": {"org_id": ORGANIZATION},
    "credit_grants": {"org_id": ORGANIZATION},
    "close_draws": {"org_id": ORGANIZATION, "limit": 50},
    "start_run": {
        "org_id": ORGANIZATION,
        "input_tokens": 100000,
        "output_tokens": 20000,
        "model": "gpt-4o",
        "input_cost_usd": Decimal("0.25"),
        "output_cost_usd": Decimal("0.2"),
        "name": "report",
        "slots": 16,
        "request_id": "req-1",
    },
    "extend_run": {
        "run_id": RUN,
        "input_tokens": 1000,
        "output_tokens": 200,
        "input_cost_usd": Decimal("0.0025"),
        "output_cost_usd": Decimal("0.002"),
        "request_id": "req-2",
        "org_id": ORGANIZATION,
    },
    "start_agent": {"run_id": RUN, "name": "searcher", "org_id": ORGANIZATION},
    "start_task": {
        "run_id": RUN,
        "name": "search",
        "agent_id": AGENT,
        "org_id": ORGANIZATION,
    },
    "start_step": {
        "run_id": RUN,
        "name": "read",
        "agent_id": AGENT,
        "task_id": TASK,
        "org_id": ORGANIZATION,
    },
    "end_part": {"org_id": ORGANIZATION, "part_id": STEP, "status": "completed"},
    "record_token_call": {
        "run_id": RUN,
        "agent_id": AGENT,
        "task_id": TASK,
        "step_id": STEP,
        "input_tokens": 1200,
        "output_tokens": 300,
        "model": "gpt-4o",
        "cost_usd": Decimal("0.006"),
        "error_code": "MISMATCH",
        "error_message": "the parts are not the total",
        "is_estimated": True,
        "usage": {"input_tokens": 1200, "output_tokens": 300},
        "reported_total_tokens": 1600,
        "hold_id": HOLD,
        "request_id": "req-1",
        "org_id": ORGANIZATION,
    },
    "reconcile_run": {"run_id": RUN, "org_id": ORGANIZATION},
    "complete_run": {"run_id": RUN, "org_id": ORGANIZATION},
    "cancel_run": {"run_id": RUN, "org_id": ORGANIZATION},
    "fail_run": {"run_id": RUN, "cause": "agent_crash", "org_id": ORGANIZATION},
    "runs": {"org_id": ORGANIZATION, "status": "running", "limit": 50},
    "reconciliations": {
        "org_id": ORGANIZATION,
        "run_id": RUN,
        "status": "CRITICAL",
        "limit": 50,
    },
    "dispute_reconciliation": {"run_id": RUN, "notes": "too dear", "org_id": ORGANIZATION},
    "resolve_dispute": {
        "run_id": RUN,
        "refund_usd": Decimal("0.1"),
        "notes": "half of it",
        "org_id": ORGANIZATION,
    },
    "get_statement": {"org_id": ORGANIZATION, "month": date(2026, 1, 1)},
    "assert_event": {
        "domain": "payments",
        "event_type": "charged",
        "payload": {"amount_usd": "12.5"},
        "entity_type": "invoice",
        "entity_id": "invoice-1",
        "occurred_at": MOMENT,
        "owner_user_id": USER,
        "owner_agent_id": "cashier",
        "country_code": "DE",
        "region_code": "BE",
        "city_code": "BER",
        "locality_code": "10115",
        "logical_id": EVENT,
        "organization_id": ORGANIZATION,
    },
    "amend_event": {
        "logical_id": EVENT,
        "payload": {"amount_usd": "13"},
        "supersedes_id": REVISION,
        "event_type": "charged_late",
        "occurred_at": MOMENT,
        "organization_id": ORGANIZATION,
    },
    "void_event": {
        "logical_id": EVENT,
        "void_reason": "charged twice",
        "voided_by": "support",
        "supersedes_id": REVISION,
        "organization_id": ORGANIZATION,
    },
    "restate_event": {
        "logical_id": EVENT,
        "payload": {"amount_usd": "12.5"},
        "supersedes_id": REVISION,
        "organization_id": ORGANIZATION,
    },
    "current_events": {
        "owner_user_id": USER,
        "organization_id": ORGANIZATION,
        "domain": "payments",
        "entity_type": "invoice",
        "entity_id": "invoice-1",
        "limit": 50,
    },
    "event_revisions": {"organization_id": ORGANIZATION, "logical_id": EVENT},
    "record_venture_usage": {
        "venture_id": VENTURE,
        "lifecycle_stage": 3,
        "agent_type": "researcher",
        "model_id": "gpt-4o",
        "tokens_input": 1200,
        "tokens_output": 300,
        "cost_usd": Decimal("0.006"),
        "phase": "THE_TRUTH",
        "job_id": TASK,
        "crew_id": "crew-1",
        "budget_profile": "exploratory",
        "is_simulation": True,
        "simulation_run_id": RUN,
        "operation_type": "search",
        "metadata": {"query": "market"},
        "request_id": "req-1",
        "organization_id": ORGANIZATION,
        "hold_id": HOLD,
        "usage": {"input_tokens": 1200, "output_tokens": 300},
    },
    "allocate_venture_budget": {
        "organization_id": ORGANIZATION,
        "venture_id": VENTURE,
        "budget_profile": "exploratory",
        "percent": Decimal("12.5"),
    },
    "venture_profiles": {"organization_id": ORGANIZATION, "venture_id": VENTURE},
    "venture_spend": {"organization_id": ORGANIZATION, "venture_id": VENTURE},
    "set_policy_rule": {
        "organization_id": ORGANIZATION,
        "rule_id": "large-calls",
        "threshold_amount": Decimal("2.5"),
        "priority": 10,
        "tool_name": "authorize_spend",
        "entity_id": "entity-default",
        "transaction_category": "rent",
        "risk_band": "high",
        "model": "gpt-4o",
        "velocity_limit_count": 5,
        "velocity_window_seconds": 60,
        "required_approvals": 2,
        "allows_asserted": True,
        "metadata": {"why": "dear"},
    },
    "retire_policy_rule": {"organization_id": ORGANIZATION, "rule_id": "large-calls"},
    "policy_rules": {"organization_id": ORGANIZATION, "active": True},
    "proposals": {
        "organization_id": ORGANIZATION,
        "status": "proposed",
        "tool_name": "authorize_spend",
        "limit": 50,
    },
    "approval_decisions": {"organization_id": ORGANIZATION, "proposal_id": str(PROPOSAL)},
    "approve_proposal": {
        "organization_id": ORGANIZATION,
        "proposal_id": str(PROPOSAL),
        "reason": "needed",
        "actor": "zoe",
        "correlation_id": "ticket-1",
    },
    "reject_proposal": {
        "organization_id": ORGANIZATION,
        "proposal_id": str(PROPOSAL),
        "reason": "too dear",
        "actor": "zoe",
        "correlation_id": "ticket-1",
    },
    "record_transaction_bundle": {
        "organization_id": ORGANIZATION,
        "bundle": Bundle(
            source_system="shop",
            external_id="invoice-1",
            transaction_date=date(2026, 1, 31),
            description="Invoice",
            correlation_id="order-1",
            postings=[
                Posting(account_id="cash", amount=Decimal("1E+1"), memo="by card"),
                Posting(account_id="sales", amount=Decimal("-10.00")),
            ],
            entity_id="sub",
            adjusting_reason_code="late",
            override_period_lock=True,
            transaction_category="rent",
            risk_band="high",
            reverses_transaction_id="transaction-1",
            occurred_on=date(2025, 12, 31),
        ),
        "actor": "zoe",
    },
    "reverse_transaction": {
        "organization_id": ORGANIZATION,
        "transaction_id": "transaction-1",
        "transaction_date": date(2026, 1, 31),
        "correlation_id": "order-1",
        "description": "Cancelled",
        "adjusting_reason_code": "late",
        "override_period_lock": True,
        "actor": "zoe",
    },
    "set_entity": {
        "organization_id": ORGANIZATION,
        "code": "SUB",
        "name": "Subsidiary",
        "metadata": {"country": "DE"},
        "entity_id": "sub",
        "correlation_id": "setup",
        "actor": "zoe",
    },
    "set_account": {
        "organization_id": ORGANIZATION,
        "code": "1010",
        "name": "Bank",
        "account_type": "asset",
        "parent_account_id": "cash",
        "entity_id": "sub",
        "metadata": {"iban": "DE"},
        "account_id": "bank",
        "correlation_id": "setup",
        "actor": "zoe",
    },
    "record_balance_snapshot": {
        "organization_id": ORGANIZATION,
        "source_system": "bank",
        "account_id": "bank",
        "snapshot_date": date(2026, 1, 31),
        "balance": Decimal("10.5"),
        "source_artifact_id": "statement-1",
        "correlation_id": "import-1",
        "actor": "zoe",
    },
    "compare_snapshots": {"organization_id": ORGANIZATION, "entity_id": "sub"},
    "set_obligation": {
        "organization_id": ORGANIZATION,
        "source_system": "lease",
        "name": "Rent",
        "cadence": "custom",
        "expected_amount": Decimal(100),
        "next_due_date": date(2026, 1, 31),
        "account_id": "rent",
        "variability_flag": True,
        "metadata": {"interval_days": 14},
        "entity_id": "sub",
        "active": True,
        "correlation_id": "setup",
        "actor": "zoe",
    },
    "roll_obligations": {
        "organization_id": ORGANIZATION,
        "day": date(2026, 2, 1),
        "correlation_id": "daily",
        "actor": "zoe",
    },
    "get_account_map": {"organization_id": ORGANIZATION},
    "set_account_map": {
        "organization_id": ORGANIZATION,
        "line": "cash",
        "account_id": "bank",
        "correlation_id": "setup",
        "actor": "zoe",
    },
    "post_provider_cost": {"organization_id": ORGANIZATION, "day": date(2026, 1, 31)},
    "post_history": {"organization_id": ORGANIZATION},
    "close_period": {
        "organization_id": ORGANIZATION,
        "period_key": "2026-01",
        "correlation_id": "closing",
        "entity_id": "sub",
        "actor": "zoe",
    },
    "lock_period": {
        "organization_id": ORGANIZATION,
        "period_key": "2026-01",
        "correlation_id": "closing",
        "entity_id": "sub",
        "actor": "zoe",
    },
    "reopen_period": {
        "organization_id": ORGANIZATION,
        "period_key": "2026-01",
        "correlation_id": "closing",
        "entity_id": "sub",
        "actor": "zoe",
    },
    "trial_balance": {
        "organization_id": ORGANIZATION,
        "first_day": date(2026, 1, 1),
        "last_day": date(2026, 1, 31),
        "entity_id": "sub",
    },
    "account_ledger": {
        "organization_id": ORGANIZATION,
        "account_id": "cash",
        "first_day": date(2026, 1, 1),
        "last_day": date(2026, 1, 31),
    },
    "balance_as_of": {
        "organization_id": ORGANIZATION,
        "account_id": "cash",
        "day": date(2026, 1, 31),
        "with_parts": True,
    },
    "income_statement": {
        "organization_id": ORGANIZATION,
        "first_day": date(2026, 1, 1),
        "last_day": date(2026, 1, 31),
        "entity_id": "sub",
    },
    "balance_sheet": {
        "organization_id": ORGANIZATION,
        "day": date(2026, 1, 31),
        "entity_id": "sub",
    },
    "entities": {"organization_id": ORGANIZATION},
    "accounts": {"organization_id": ORGANIZATION, "entity_id": "sub"},
    "accounting_periods": {
        "organization_id": ORGANIZATION,
        "entity_id": "sub",
        "status": "closed",
    },
    "obligations": {"organization_id": ORGANIZATION, "entity_id": "sub", "active": True},
    "ledger_transactions": {
        "organization_id": ORGANIZATION,
        "entity_id": "sub",
        "transaction_id": "transaction-1",
        "source_system": "shop",
        "external_id": "invoice-1",
        "limit": 50,
    },
    "ledger_postings": {
        "organization_id": ORGANIZATION,
        "entity_id": "sub",
        "transaction_id": "transaction-1",
        "account_id": "cash",
        "limit": 50,
    },
    "acknowledge_events": {"organization_id": ORGANIZATION, "ids": (EVENT,)},
    "create_organization": {"name": "Acme", "time_zone": "Europe/Berlin"},
    "verify_integrity": {"organization_id": ORGANIZATION, "full": True},
    "make_checkpoint": {"full": True},
    "seal_ledgers": {"limit": 1000},
    "seals": {"limit": 3},
    "verify_seals": {"organization_id": ORGANIZATION, "published_hash": "a" * 64},
}


# Functions that are not named as their call.
FUNCTIONS = {
    "assert_event": "ledger_assert_v0",
    "amend_event": "ledger_amend_v0",
    "void_event": "ledger_void_v0",
    "restate_event": "ledger_restate_v0",
}

# What of it is sent in another form: rates and documents in JSON, with money as text.
SENT_RATES: list[dict[str, Any]] = [
    {"input_tokens": "2.5", "output_tokens": "10"},
    {"above_input_tokens": 200000, "input_tokens": "5", "output_tokens": "20"},
]
SENT_BUNDLE = (
    '{"source_system": "shop", "external_id": "invoice-1", "transaction_date": "2026-01-31", '
    '"description": "Invoice", "correlation_id": "order-1", "entity_id": "sub", '
    '"is_adjusting_entry": true, "adjusting_reason_code": "late", "override_period_lock": true, '
    '"transaction_category": "rent", "risk_band": "high", '
    '"reverses_transaction_id": "transaction-1", "occurred_on": "2025-12-31", '
    '"postings": [{"account_id": "cash", "amount": "10", "memo": "by card"}, '
    '{"account_id": "sales", "amount": "-10.00"}]}'
)
SENT: dict[str, list[dict[str, Any]]] = {
    "authorize_spend_batch": [
        {
            **SPEND,
            "estimated_cost": "0.02",
            "workflow_id": str(WORKFLOW),
            "run_id": str(RUN),
            "venture_id": str(VENTURE),
            "user_id": str(USER),
            "expires_in": "300.000000 seconds",
            "minimum": "0.005",
        },
        {"estimated_cost": "0.000000000001"},
    ],
    "settle_spend_batch": [
        {**SETTLEMENT, "hold_id": str(HOLD), "cost": "0.006"},
        {"hold_id": str(HOLD)},
    ],
}


def ask(name: str, /, **changes: Any) -> calls.Request[Any]:
    """Return the example of one function or listing, with some arguments changed."""
    function = getattr(calls, name)
    result: calls.Request[Any] = function(**{**ARGUMENTS[name], **changes})
    return result


def call(name: str, /, **changes: Any) -> calls.Call[Any]:
    """Return the example of one function, with some arguments changed."""
    made = ask(name, **changes)
    assert isinstance(made, calls.Call)
    return made


def read(name: str, /, **changes: Any) -> calls.Read[Any]:
    """Return the example of one listing, with some arguments changed."""
    made = ask(name, **changes)
    assert isinstance(made, calls.Read)
    return made


READS = [name for name in ARGUMENTS if isinstance(ask(name), calls.Read)]
CALLS = [name for name in ARGUMENTS if name not in READS]
