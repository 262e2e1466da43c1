"""Tallystick: the spend ledger for AI products that already run on Postgres or Supabase.

    from decimal import Decimal
    from tallystick import Client

    client = Client(connection)            # your psycopg connection, your transaction
    if client.check_workflow_cost_limit(workflow_id, Decimal("0.02")):
        ...                                # call the model
        client.record_usage_and_increment(workflow_id, organization_id, "gpt-4o", 1200, 300,
                                          Decimal("0.006"), request_id="req-1")

The check locks the total until your transaction ends, so the cap is exact.
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
