"""One day of two people in two organizations, as a list of steps that any client can take.

A step says who asks what and what must come of it. A value that begins with ``$`` is what an
earlier step answered, ``$hold.hold_id`` for one. Numbers are compared as decimals, whether a client
reads them as text, as a decimal or as a float.
"""

from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from decimal import Decimal
from typing import Any, Protocol
from uuid import uuid4


@dataclass(frozen=True)
class Step:
    """One request and its outcome.

    Attributes:
        who: ada, bob, server (the secret key) or anon.
        schema: The schema of the function or table.
        name: The function, or the table where `columns` says which to read.
        arguments: The function's arguments, or the filters of the table.
        columns: What is read of a table, in the form of the query string.
        save: The name under which the answer is kept.
        expect: What the answer must be, or the fields it must have; None: whatever.
        code: The code of the error it must be instead.
        status: The HTTP status that goes with it.
    """

    who: str
    schema: str
    name: str
    arguments: Mapping[str, Any] = field(default_factory=dict)
    columns: str | None = None
    save: str | None = None
    expect: Any = None
    code: str | None = None
    status: int = 200


@dataclass(frozen=True)
class Outcome:
    """What a client made of the answer.

    Attributes:
        value: The answer; None where it was refused.
        code: The code of the error, or None.
        status: The HTTP status, where the client tells it.
    """

    value: Any = None
    code: str | None = None
    status: int | None = None


class Way(Protocol):
    """A client library, signed in as everybody."""

    def ask(self, step: Step, arguments: Mapping[str, Any]) -> Outcome:
        """Take one step."""
        ...


def steps() -> Iterator[Step]:
    """Return the day; names are new each time, so that it can be lived again."""
    model = f"walk-{uuid4().hex}"
    rates = {"input_tokens": "2.5", "output_tokens": "10"}
    yield from [
        # Each opens an organization and owns it; nobody without a session does.
        Step("ada", "tenancy", "create_organization", {"p_name": "Ada"}, save="a",
             expect={"name": "Ada", "time_zone": "UTC"}),
        Step("bob", "tenancy", "create_organization", {"p_name": "Bob"}, save="b"),
        Step("anon", "tenancy", "create_organization", {"p_name": "X"}, code="42501", status=401),
        # A price and a cap.
        Step("server", "pricing", "set_price",
             {"p_provider": "acme", "p_model": model, "p_rates": rates}),
        Step("ada", "pricing", "set_price",
             {"p_provider": "acme", "p_model": model, "p_rates": rates}, code="42501", status=403),
        Step("ada", "metering", "set_budget",
             {"p_organization_id": "$a.id", "p_scope": "organization", "p_scope_id": None,
              "p_window": "month", "p_limit": "1.00"}, expect={"limit_usd": "1.00"}),
        Step("bob", "metering", "set_budget",
             {"p_organization_id": "$a.id", "p_scope": "organization", "p_scope_id": None,
              "p_window": "month", "p_limit": "9"}, code="42501", status=403),
        # Ada asks before a call, by what it can cost; what she says has twelve decimals.
        Step("ada", "public", "authorize_spend",
             {"p_organization_id": "$a.id", "p_model": model, "p_estimated_cost": "0.123456789012",
              "p_request_id": "one"}, save="hold",
             expect={"decision": "granted", "held_usd": "0.123456789012"}),
        Step("ada", "public", "authorize_spend",
             {"p_organization_id": "$a.id", "p_model": model, "p_input_tokens": 1200,
              "p_max_output_tokens": 500}, save="priced",
             expect={"decision": "granted", "held_usd": "0.008"}),
        Step("bob", "public", "authorize_spend",
             {"p_organization_id": "$a.id", "p_model": model, "p_estimated_cost": "0.01"},
             code="42501", status=403),
        Step("anon", "public", "authorize_spend",
             {"p_organization_id": "$a.id", "p_model": model, "p_estimated_cost": "0.01"},
             code="42501", status=401),
        # She never says what it cost: only the server does.
        Step("ada", "public", "settle_spend", {"p_hold_id": "$hold.hold_id", "p_cost": "0"},
             code="42501", status=403),
        Step("ada", "public", "record_usage_and_increment",
             {"p_workflow_id": "$hold.hold_id", "p_organization_id": "$a.id", "p_model": model,
              "p_prompt_tokens": 1, "p_completion_tokens": 1, "p_cost": "0"},
             code="42501", status=403),
        Step("bob", "public", "release_spend", {"p_hold_id": "$hold.hold_id"},
             code="TS404", status=400),
        Step("server", "public", "settle_spend",
             {"p_hold_id": "$hold.hold_id", "p_cost": "0.123456789012"},
             expect={"model": model, "cost": "0.123456789012", "settlement": "on_hold"}),
        Step("server", "public", "settle_spend",
             {"p_hold_id": "$priced.hold_id",
              "p_usage": {"input_tokens": 1200, "output_tokens": 300}},
             expect={"cost": "0.006", "cost_basis": "priced"}),
        # She reads what she spent, he does not.
        Step("ada", "public", "get_organization_monthly_ai_cost", {"p_organization_id": "$a.id"},
             expect="0.129456789012"),
        Step("ada", "public", "ai_usage_ledger", {"organization_id": "$a.id"},
             "model,cost", expect=[{"model": model, "cost": "0.123456789012"},
                                   {"model": model, "cost": "0.006"}]),
        Step("ada", "metering", "spend_by_model", {"organization_id": "$a.id"}, "model,cost",
             expect=[{"model": model, "cost": "0.129456789012"}]),
        Step("bob", "public", "ai_usage_ledger", {"organization_id": "$a.id"}, "model,cost",
             expect=[]),
        Step("bob", "metering", "budget_status", {"organization_id": "$a.id"}, "remaining_usd",
             expect=[]),
        Step("bob", "public", "get_organization_monthly_ai_cost", {"p_organization_id": "$a.id"},
             code="42501", status=403),
        Step("anon", "public", "ai_usage_ledger", {"organization_id": "$a.id"}, "model,cost",
             code="42501", status=401),
        # At the cap she is told so, and until how far she may go.
        Step("ada", "public", "authorize_spend",
             {"p_organization_id": "$a.id", "p_model": model, "p_estimated_cost": "0.9"},
             expect={"decision": "denied", "reason": "budget_exceeded", "hold_id": None,
                     "remaining_usd": "0.870543210988"}),
        Step("ada", "public", "authorize_spend",
             {"p_organization_id": "$a.id", "p_model": model, "p_estimated_cost": "0"},
             code="22023", status=400),
        # What was paid in advance can be disputed, by its owner.
        Step("server", "billing", "purchase_credits",
             {"p_org_id": "$b.id", "p_amount_usd": "10", "p_idempotency_key": "payment"}),
        Step("server", "billing", "start_run",
             {"p_org_id": "$b.id", "p_input_tokens": 400000, "p_output_tokens": 100000,
              "p_input_cost_usd": "1", "p_output_cost_usd": "1"}, save="run"),
        Step("server", "billing", "record_token_call",
             {"p_run_id": "$run.id", "p_agent_id": None, "p_task_id": None, "p_step_id": None,
              "p_input_tokens": 250000, "p_output_tokens": 50000, "p_model": model,
              "p_cost_usd": "1.125"}),
        Step("server", "billing", "complete_run", {"p_run_id": "$run.id"},
             expect={"status": "RECONCILED", "refund_amount_usd": "0.875"}),
        Step("ada", "billing", "dispute_reconciliation", {"p_run_id": "$run.id"},
             code="TS404", status=400),
        Step("bob", "billing", "dispute_reconciliation",
             {"p_run_id": "$run.id", "p_notes": "too dear"}, expect={"status": "DISPUTED"}),
        Step("bob", "billing", "resolve_dispute", {"p_run_id": "$run.id", "p_refund_usd": "1"},
             code="42501", status=403),
        Step("server", "billing", "resolve_dispute", {"p_run_id": "$run.id", "p_refund_usd": "0.1"},
             expect={"status": "RESOLVED"}),
        Step("bob", "billing", "credit_balances", {"org_id": "$b.id"}, "balance_usd,reserved_usd",
             expect=[{"balance_usd": "8.975", "reserved_usd": "0"}]),
        Step("ada", "billing", "credit_balances", {"org_id": "$b.id"}, "balance_usd", expect=[]),
        Step("server", "audit", "verify_integrity", {"p_organization_id": "$a.id"}, expect=[]),
        Step("server", "audit", "verify_integrity", {"p_organization_id": "$b.id"}, expect=[]),
    ]  # fmt: skip


def walk(way: Way) -> int:
    """Take every step; return how many there were."""
    kept: dict[str, Any] = {}
    number = 0
    for number, step in enumerate(steps(), 1):
        outcome = way.ask(step, _filled(step.arguments, kept))
        place = f"{number}. {step.who}: {step.schema}.{step.name}"
        assert outcome.code == step.code, (place, outcome)
        assert outcome.status in (None, step.status), (place, outcome)
        if step.expect is not None:
            assert _agrees(outcome.value, step.expect), (place, outcome.value, step.expect)
        if step.save is not None:
            kept[step.save] = outcome.value
    return number


def _filled(arguments: Mapping[str, Any], kept: Mapping[str, Any]) -> dict[str, Any]:
    def fill(value: Any) -> Any:
        if not isinstance(value, str) or not value.startswith("$"):
            return value
        name, _, key = value[1:].partition(".")
        return kept[name][key]

    return {name: fill(value) for name, value in arguments.items()}


def _agrees(value: Any, expected: Any) -> bool:
    if isinstance(expected, Mapping):
        return all(_agrees(value[name], each) for name, each in expected.items())
    if isinstance(expected, list):
        return len(value) == len(expected) and all(map(_agrees, value, expected))
    if isinstance(value, int | float | Decimal) and not isinstance(value, bool):
        return Decimal(str(value)) == Decimal(expected)
    return bool(value == expected)
