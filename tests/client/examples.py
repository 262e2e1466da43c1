"""One valid call of every function of the client."""

from decimal import Decimal
from typing import Any
from uuid import UUID

from tallystick import calls

ORGANIZATION = UUID("00000000-0000-7000-8000-000000000001")
WORKFLOW = UUID("00000000-0000-7000-8000-000000000002")

# Name of the call, and all its arguments, optional ones included.
ARGUMENTS: dict[str, dict[str, Any]] = {
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
    "create_organization": {"name": "Acme", "time_zone": "Europe/Berlin"},
    "verify_integrity": {"organization_id": ORGANIZATION},
}


def call(name: str, **changes: Any) -> calls.Call[Any]:
    """Return the example of one function, with some arguments changed."""
    function = getattr(calls, name)
    result: calls.Call[Any] = function(**{**ARGUMENTS[name], **changes})
    return result
