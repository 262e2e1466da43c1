"""The front door: `Client` and `AsyncClient`, one method per exposed function, the same names.

Both take a psycopg connection (your transaction, never committed here), a `psycopg_pool` pool or a
connection string (each call its own transaction), or any `Transport`. The methods only pair a
`Call` with the transport; what is sent and how it is read is in `calls`.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, Self

from tallystick import calls
from tallystick.transports import AsyncTransport, Transport

if TYPE_CHECKING:
    from collections.abc import Mapping
    from decimal import Decimal
    from types import TracebackType
    from uuid import UUID

    from psycopg import AsyncConnection, Connection
    from psycopg_pool import AsyncConnectionPool, ConnectionPool

    from tallystick.models import Budget, Finding, Organization, Workflow

__all__ = ["AsyncClient", "Client"]


class Client:
    """Asks and records over one database, in the calling thread.

    Every method raises `TallystickError` or one of its classes when the database refuses, and
    TypeError before anything is sent when an argument has the wrong type (money is a `Decimal`).
    What else can go wrong, a lost connection for one, stays the driver's own error.
    """

    def __init__(self, source: Transport | Connection[Any] | ConnectionPool[Any] | str) -> None:
        """Take a connection, a pool, a connection string or a transport."""
        self._transport = _sync_transport(source)

    def read_only(self) -> Client:
        """Return a client whose calls can only read; see the transport for what that means."""
        return Client(self._transport.read_only())

    def close(self) -> None:
        """Close what was opened for a connection string; a given source stays as it is."""
        self._transport.close()

    def __enter__(self) -> Self:
        """Return the client; leaving the block closes it."""
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        """Close as `close` does; an error goes on."""
        self.close()

    def check_workflow_cost_limit(
        self,
        workflow_id: UUID,
        additional_cost: Decimal,
        *,
        max_cost: Decimal | None = None,
        organization_id: UUID | None = None,
    ) -> bool:
        """Return whether the workflow may spend `additional_cost` US dollars more.

        Holds off all other spend of the organization until the transaction ends, so never
        keep that transaction open while a model answers. Before a call whose cost is not known yet,
        ask in a transaction of its own, or ask `estimate_workflow_cost_limit`, and record
        afterwards: that is advice, and two callers at once can both be told yes. Where the cost is
        known, check and record in one transaction are an exact cap.

        A stored cap wins; `max_cost` can only lower it.

        Raises:
            UnknownId: no such workflow (TS404).
            InvalidArgument: NaN, negative or more than 12 decimals (22023).
        """
        call = calls.check_workflow_cost_limit(
            workflow_id, additional_cost, max_cost=max_cost, organization_id=organization_id
        )
        return self._transport.run(call)

    def estimate_workflow_cost_limit(
        self,
        workflow_id: UUID,
        additional_cost: Decimal,
        *,
        max_cost: Decimal | None = None,
        organization_id: UUID | None = None,
    ) -> bool:
        """Return the same answer without a lock, so it works read-only and on replicas.

        The question to ask before a model call. Two callers at once can both be told yes.

        Raises:
            UnknownId: no such workflow (TS404).
            InvalidArgument: NaN, negative or more than 12 decimals (22023).
        """
        call = calls.estimate_workflow_cost_limit(
            workflow_id, additional_cost, max_cost=max_cost, organization_id=organization_id
        )
        return self._transport.run(call)

    def record_usage_and_increment(
        self,
        workflow_id: UUID,
        organization_id: UUID,
        model: str,
        prompt_tokens: int,
        completion_tokens: int,
        cost: Decimal,
        *,
        request_id: str | None = None,
    ) -> None:
        """Record one model call: the ledger row and every total, or nothing.

        The same `request_id` with the same content is recorded once, however often it is sent.

        Raises:
            RequestConflict: the request id was used with other content (TS409).
            UnknownId: no such workflow in this organization (TS404).
            InvalidArgument: a value out of its bounds (22023).
        """
        call = calls.record_usage_and_increment(
            workflow_id,
            organization_id,
            model,
            prompt_tokens,
            completion_tokens,
            cost,
            request_id=request_id,
        )
        return self._transport.run(call)

    def get_organization_monthly_ai_cost(self, organization_id: UUID) -> Decimal:
        """Return what the organization has spent this month, in its time zone (US dollars).

        Raises:
            UnknownId: no such organization (TS404).
        """
        return self._transport.run(calls.get_organization_monthly_ai_cost(organization_id))

    def check_organization_monthly_quota(
        self, organization_id: UUID, *, monthly_limit: Decimal | None = None
    ) -> bool:
        """Return whether the organization is still below its limit for this month.

        Raises:
            UnknownId: no such organization (TS404).
            InvalidArgument: NaN, negative or more than 12 decimals (22023).
        """
        call = calls.check_organization_monthly_quota(organization_id, monthly_limit=monthly_limit)
        return self._transport.run(call)

    def upsert_intent_workflow(
        self, workflow_id: UUID, organization_id: UUID, workflow_data: Mapping[str, object]
    ) -> Workflow:
        """Create a workflow, or replace its document; `total_ai_cost` in it is ignored.

        Raises:
            UnknownId: no such organization (TS404).
            InvalidArgument: the document is not a JSON object (22023).
        """
        return self._transport.run(
            calls.upsert_intent_workflow(workflow_id, organization_id, workflow_data)
        )

    def set_budget(
        self,
        organization_id: UUID,
        scope: str,
        scope_id: str | None,
        window: str,
        limit: Decimal,
        *,
        enforcement: str | None = None,
        slots: int | None = None,
    ) -> Budget:
        """Store a cap in US dollars: (workflow, its id, total) or (organization, None, month).

        For service_role, and for owners and admins of the organization.

        Raises:
            PermissionDenied: the caller is none of those (42501).
            UnknownId: no such organization or workflow (TS404).
            InvalidArgument: an unknown scope or window, or a limit out of bounds (22023).
        """
        call = calls.set_budget(
            organization_id, scope, scope_id, window, limit, enforcement=enforcement, slots=slots
        )
        return self._transport.run(call)

    def remove_budget(
        self, organization_id: UUID, scope: str, scope_id: str | None, window: str
    ) -> Budget:
        """Take a stored cap away; `limit_usd` of the answer is None.

        For service_role, and for owners and admins of the organization.

        Raises:
            PermissionDenied: the caller is none of those (42501).
            UnknownId: no such budget (TS404).
        """
        return self._transport.run(calls.remove_budget(organization_id, scope, scope_id, window))

    def create_organization(self, name: str, *, time_zone: str | None = None) -> Organization:
        """Create an organization, by default in UTC; a signed-in caller becomes its owner.

        For service_role and signed-in callers.

        Raises:
            PermissionDenied: the caller is neither (42501).
            InvalidArgument: an empty name or an unknown time zone (22023).
        """
        return self._transport.run(calls.create_organization(name, time_zone=time_zone))

    def verify_integrity(self, *, organization_id: UUID | None = None) -> list[Finding]:
        """Return one finding per broken invariant, of one organization or all; empty is good."""
        return self._transport.run(calls.verify_integrity(organization_id=organization_id))


class AsyncClient:
    """Asks and records over one database, under asyncio.

    Every method raises `TallystickError` or one of its classes when the database refuses, and
    TypeError before anything is sent when an argument has the wrong type (money is a `Decimal`).
    What else can go wrong, a lost connection for one, stays the driver's own error.
    """

    def __init__(
        self,
        source: AsyncTransport | AsyncConnection[Any] | AsyncConnectionPool[Any] | str,
    ) -> None:
        """Take a connection, a pool, a connection string or a transport."""
        self._transport = _async_transport(source)

    def read_only(self) -> AsyncClient:
        """Return a client whose calls can only read; see the transport for what that means."""
        return AsyncClient(self._transport.read_only())

    async def close(self) -> None:
        """Close what was opened for a connection string; a given source stays as it is."""
        await self._transport.close()

    async def __aenter__(self) -> Self:
        """Return the client; leaving the block closes it."""
        return self

    async def __aexit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        """Close as `close` does; an error goes on."""
        await self.close()

    async def check_workflow_cost_limit(
        self,
        workflow_id: UUID,
        additional_cost: Decimal,
        *,
        max_cost: Decimal | None = None,
        organization_id: UUID | None = None,
    ) -> bool:
        """Return whether the workflow may spend `additional_cost` US dollars more.

        Holds off all other spend of the organization until the transaction ends, so never
        keep that transaction open while a model answers. Before a call whose cost is not known yet,
        ask in a transaction of its own, or ask `estimate_workflow_cost_limit`, and record
        afterwards: that is advice, and two callers at once can both be told yes. Where the cost is
        known, check and record in one transaction are an exact cap.

        A stored cap wins; `max_cost` can only lower it.

        Raises:
            UnknownId: no such workflow (TS404).
            InvalidArgument: NaN, negative or more than 12 decimals (22023).
        """
        call = calls.check_workflow_cost_limit(
            workflow_id, additional_cost, max_cost=max_cost, organization_id=organization_id
        )
        return await self._transport.run(call)

    async def estimate_workflow_cost_limit(
        self,
        workflow_id: UUID,
        additional_cost: Decimal,
        *,
        max_cost: Decimal | None = None,
        organization_id: UUID | None = None,
    ) -> bool:
        """Return the same answer without a lock, so it works read-only and on replicas.

        The question to ask before a model call. Two callers at once can both be told yes.

        Raises:
            UnknownId: no such workflow (TS404).
            InvalidArgument: NaN, negative or more than 12 decimals (22023).
        """
        call = calls.estimate_workflow_cost_limit(
            workflow_id, additional_cost, max_cost=max_cost, organization_id=organization_id
        )
        return await self._transport.run(call)

    async def record_usage_and_increment(
        self,
        workflow_id: UUID,
        organization_id: UUID,
        model: str,
        prompt_tokens: int,
        completion_tokens: int,
        cost: Decimal,
        *,
        request_id: str | None = None,
    ) -> None:
        """Record one model call: the ledger row and every total, or nothing.

        The same `request_id` with the same content is recorded once, however often it is sent.

        Raises:
            RequestConflict: the request id was used with other content (TS409).
            UnknownId: no such workflow in this organization (TS404).
            InvalidArgument: a value out of its bounds (22023).
        """
        call = calls.record_usage_and_increment(
            workflow_id,
            organization_id,
            model,
            prompt_tokens,
            completion_tokens,
            cost,
            request_id=request_id,
        )
        return await self._transport.run(call)

    async def get_organization_monthly_ai_cost(self, organization_id: UUID) -> Decimal:
        """Return what the organization has spent this month, in its time zone (US dollars).

        Raises:
            UnknownId: no such organization (TS404).
        """
        return await self._transport.run(calls.get_organization_monthly_ai_cost(organization_id))

    async def check_organization_monthly_quota(
        self, organization_id: UUID, *, monthly_limit: Decimal | None = None
    ) -> bool:
        """Return whether the organization is still below its limit for this month.

        Raises:
            UnknownId: no such organization (TS404).
            InvalidArgument: NaN, negative or more than 12 decimals (22023).
        """
        call = calls.check_organization_monthly_quota(organization_id, monthly_limit=monthly_limit)
        return await self._transport.run(call)

    async def upsert_intent_workflow(
        self, workflow_id: UUID, organization_id: UUID, workflow_data: Mapping[str, object]
    ) -> Workflow:
        """Create a workflow, or replace its document; `total_ai_cost` in it is ignored.

        Raises:
            UnknownId: no such organization (TS404).
            InvalidArgument: the document is not a JSON object (22023).
        """
        return await self._transport.run(
            calls.upsert_intent_workflow(workflow_id, organization_id, workflow_data)
        )

    async def set_budget(
        self,
        organization_id: UUID,
        scope: str,
        scope_id: str | None,
        window: str,
        limit: Decimal,
        *,
        enforcement: str | None = None,
        slots: int | None = None,
    ) -> Budget:
        """Store a cap in US dollars: (workflow, its id, total) or (organization, None, month).

        For service_role, and for owners and admins of the organization.

        Raises:
            PermissionDenied: the caller is none of those (42501).
            UnknownId: no such organization or workflow (TS404).
            InvalidArgument: an unknown scope or window, or a limit out of bounds (22023).
        """
        call = calls.set_budget(
            organization_id, scope, scope_id, window, limit, enforcement=enforcement, slots=slots
        )
        return await self._transport.run(call)

    async def remove_budget(
        self, organization_id: UUID, scope: str, scope_id: str | None, window: str
    ) -> Budget:
        """Take a stored cap away; `limit_usd` of the answer is None.

        For service_role, and for owners and admins of the organization.

        Raises:
            PermissionDenied: the caller is none of those (42501).
            UnknownId: no such budget (TS404).
        """
        return await self._transport.run(
            calls.remove_budget(organization_id, scope, scope_id, window)
        )

    async def create_organization(self, name: str, *, time_zone: str | None = None) -> Organization:
        """Create an organization, by default in UTC; a signed-in caller becomes its owner.

        For service_role and signed-in callers.

        Raises:
            PermissionDenied: the caller is neither (42501).
            InvalidArgument: an empty name or an unknown time zone (22023).
        """
        return await self._transport.run(calls.create_organization(name, time_zone=time_zone))

    async def verify_integrity(self, *, organization_id: UUID | None = None) -> list[Finding]:
        """Return one finding per broken invariant, of one organization or all; empty is good."""
        return await self._transport.run(calls.verify_integrity(organization_id=organization_id))


def _sync_transport(source: Transport | Connection[Any] | ConnectionPool[Any] | str) -> Transport:
    if isinstance(source, Transport):
        return source
    # Imported on use: psycopg is an extra, and another transport does not need it.
    from tallystick.transports.psycopg import PsycopgTransport

    return PsycopgTransport(source)


def _async_transport(
    source: AsyncTransport | AsyncConnection[Any] | AsyncConnectionPool[Any] | str,
) -> AsyncTransport:
    if isinstance(source, AsyncTransport):
        return source
    from tallystick.transports.psycopg import AsyncPsycopgTransport

    return AsyncPsycopgTransport(source)
