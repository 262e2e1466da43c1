"""Tallystick: the spend ledger for AI products that already run on Postgres or Supabase.

    from decimal import Decimal
    from tallystick import Client

    client = Client("postgresql://...")    # each call is a transaction of its own
    if client.estimate_workflow_cost_limit(workflow_id, Decimal("0.02")):
        ...                                # call the model
        client.record_usage_and_increment(workflow_id, organization_id, "gpt-4o", 1200, 300,
                                          Decimal("0.006"), request_id="req-1")

The estimate is advice: two callers at once can both be told yes. Where a cost is known before it is
recorded, `check_workflow_cost_limit` and the record in one transaction are an exact cap. That check
holds off all other spend of the organization until the transaction ends, so no transaction with it
in may stay open while a model answers.
"""

from tallystick.client import AsyncClient, Client
from tallystick.errors import (
    AppendOnly,
    InvalidArgument,
    PermissionDenied,
    RequestConflict,
    RetryableError,
    TallystickError,
    UnknownId,
)
from tallystick.models import Budget, Finding, Organization, Workflow

__all__ = [
    "AppendOnly",
    "AsyncClient",
    "Budget",
    "Client",
    "Finding",
    "InvalidArgument",
    "Organization",
    "PermissionDenied",
    "RequestConflict",
    "RetryableError",
    "TallystickError",
    "UnknownId",
    "Workflow",
]
