"""Tallystick: the spend ledger for AI products that already run on Postgres or Supabase.

    from decimal import Decimal
    from tallystick import Client

    client = Client("postgresql://...")    # each call is a transaction of its own
    decision = client.authorize_spend(organization_id, model="gpt-4o",
                                      estimated_cost=Decimal("0.02"), request_id="req-1")
    if decision.granted:
        ...                                # call the model; nothing is locked meanwhile
        client.settle_spend(decision.hold_id, cost=Decimal("0.006"))

A grant holds the estimate in every budget the call touches, so callers at once never pass a limit
together; what was not spent is free again when the hold is settled or released, or expires.

Where the cost is known before it is recorded, `check_workflow_cost_limit` and
`record_usage_and_increment` in one transaction are an exact cap without a hold. That check holds
off all other spend of the organization until the transaction ends, so no transaction with it in
may stay open while a model answers.
"""

from tallystick.client import AsyncClient, Client
from tallystick.errors import (
    AppendOnly,
    BudgetExceeded,
    Frozen,
    HoldClosed,
    InvalidArgument,
    PermissionDenied,
    RequestConflict,
    RetryableError,
    SpendDenied,
    StaleHead,
    TallystickError,
    UnknownId,
)
from tallystick.items import Settlement, SpendRequest
from tallystick.models import (
    Agent,
    AuthorizedItem,
    Budget,
    BudgetStatus,
    CreditBalance,
    CreditGrant,
    CreditMovement,
    CurrentPrice,
    DayUsage,
    Decision,
    Event,
    Finding,
    Hold,
    Markup,
    ModelName,
    ModelUsage,
    Organization,
    Price,
    PriceChange,
    PricedUsage,
    Reconciliation,
    Run,
    Seal,
    SealFinding,
    SettledItem,
    Statement,
    StatementMovement,
    Step,
    Task,
    Usage,
    VentureAllocation,
    VentureProfile,
    VentureSpend,
    VentureUsage,
    WaitingBudget,
    Workflow,
)
from tallystick.spend import AsyncSpend, Spend, UsageNotReported

__all__ = [
    "Agent",
    "AppendOnly",
    "AsyncClient",
    "AsyncSpend",
    "AuthorizedItem",
    "Budget",
    "BudgetExceeded",
    "BudgetStatus",
    "Client",
    "CreditBalance",
    "CreditGrant",
    "CreditMovement",
    "CurrentPrice",
    "DayUsage",
    "Decision",
    "Event",
    "Finding",
    "Frozen",
    "Hold",
    "HoldClosed",
    "InvalidArgument",
    "Markup",
    "ModelName",
    "ModelUsage",
    "Organization",
    "PermissionDenied",
    "Price",
    "PriceChange",
    "PricedUsage",
    "Reconciliation",
    "RequestConflict",
    "RetryableError",
    "Run",
    "Seal",
    "SealFinding",
    "SettledItem",
    "Settlement",
    "Spend",
    "SpendDenied",
    "SpendRequest",
    "StaleHead",
    "Statement",
    "StatementMovement",
    "Step",
    "TallystickError",
    "Task",
    "UnknownId",
    "Usage",
    "UsageNotReported",
    "VentureAllocation",
    "VentureProfile",
    "VentureSpend",
    "VentureUsage",
    "WaitingBudget",
    "Workflow",
]
