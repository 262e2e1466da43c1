"""The front door: `Client` and `AsyncClient`, one method per exposed function, the same names.

Both take a psycopg connection (your transaction, never committed here), a `psycopg_pool` pool or a
connection string (each call its own transaction), or any `Transport`; over HTTP it is that of
`tallystick.transports.supabase`. The methods only pair what `calls` describes with the transport;
what is sent and how it is read is said there.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, Self

from tallystick import calls
from tallystick.items import SpendRequest
from tallystick.spend import AsyncSpend, Spend
from tallystick.transports import AsyncTransport, Transport

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence
    from datetime import date, datetime, timedelta
    from decimal import Decimal
    from types import TracebackType
    from uuid import UUID

    from psycopg import AsyncConnection, Connection
    from psycopg_pool import AsyncConnectionPool, ConnectionPool

    from tallystick.calls import Rates
    from tallystick.items import Bundle, Settlement
    from tallystick.models import (
        Account,
        AccountingPeriod,
        AccountLedgerLine,
        AccountMapLine,
        AccountMapping,
        Agent,
        ApprovalDecision,
        ApprovalOutcome,
        AuthorizedItem,
        BalanceSnapshot,
        Budget,
        BudgetStatus,
        BundleResponse,
        CreditBalance,
        CreditGrant,
        CreditMovement,
        CurrentPrice,
        Decision,
        Entity,
        Event,
        Finding,
        Hold,
        LedgerPosting,
        LedgerTransaction,
        Markup,
        ModelName,
        Obligation,
        Organization,
        PeriodAnswer,
        PolicyRule,
        Price,
        PriceChange,
        PricedUsage,
        Proposal,
        Reconciliation,
        Run,
        Seal,
        SealFinding,
        SettledItem,
        SnapshotDifference,
        Statement,
        StatementLine,
        Step,
        Task,
        TrialBalanceLine,
        Usage,
        VentureAllocation,
        VentureProfile,
        VentureSpend,
        VentureUsage,
        WaitingBudget,
        Workflow,
    )

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

    def spend(
        self,
        organization_id: UUID,
        *,
        model: str | None = None,
        estimated_cost: Decimal | None = None,
        input_tokens: int | None = None,
        max_output_tokens: int | None = None,
        workflow_id: UUID | None = None,
        run_id: UUID | None = None,
        venture_id: UUID | None = None,
        user_id: UUID | None = None,
        api_key_id: str | None = None,
        tags: Mapping[str, str] | None = None,
        provider: str | None = None,
        service_tier: str | None = None,
        request_id: str | None = None,
        expires_in: timedelta | None = None,
        allow_partial: bool | None = None,
        minimum: Decimal | None = None,
        usage_of: str | None = None,
    ) -> Spend:
        """Return a block around one model call, which cannot forget to settle.

        Entering it authorizes the spend with these arguments, as `authorize_spend` does, and
        raises `SpendDenied` where that is not granted. Within it, hand the response, or each event
        of a stream, to `see`; leaving settles by what it said, or releases where the call failed.
        See `tallystick.spend`.

        `usage_of` names whose API answers (openai, anthropic, gemini, bedrock, mistral, otel) where
        the response does not tell.
        """
        request = SpendRequest(
            model=model,
            estimated_cost=estimated_cost,
            input_tokens=input_tokens,
            max_output_tokens=max_output_tokens,
            workflow_id=workflow_id,
            run_id=run_id,
            venture_id=venture_id,
            user_id=user_id,
            api_key_id=api_key_id,
            tags=tags,
            provider=provider,
            service_tier=service_tier,
            request_id=request_id,
            expires_in=expires_in,
            allow_partial=allow_partial,
            minimum=minimum,
        )
        return Spend(self._transport, organization_id, request, usage_of)

    def authorize_spend(
        self,
        organization_id: UUID,
        *,
        model: str | None = None,
        estimated_cost: Decimal | None = None,
        input_tokens: int | None = None,
        max_output_tokens: int | None = None,
        workflow_id: UUID | None = None,
        run_id: UUID | None = None,
        venture_id: UUID | None = None,
        user_id: UUID | None = None,
        api_key_id: str | None = None,
        tags: Mapping[str, str] | None = None,
        provider: str | None = None,
        service_tier: str | None = None,
        request_id: str | None = None,
        expires_in: timedelta | None = None,
        allow_partial: bool | None = None,
        minimum: Decimal | None = None,
    ) -> Decision:
        """Hold what the call is estimated to cost in every budget it touches, or in none.

        That is `estimated_cost` US dollars, or what the tokens cost by the price of the model,
        which then settles it too.

        The first of two steps around a model call; nothing stays locked in between. When it is
        `granted`, call the model and `settle_spend` the hold, or `release_spend` it; a hold that
        is forgotten ends by itself after `expires_in` (ten minutes). A refusal is an answer, with
        its reason, not an error. The same `request_id` asked again gets the hold it has, or learns
        that it is settled; after a release or expiry it is decided anew.

        With `allow_partial` the answer may hold less than the estimate, but never less than
        `minimum`, or the input and one token of output. What each argument means is said in
        `SpendRequest`.

        Raises:
            UnknownId: no such organization, or something named in it (TS404).
            RequestConflict: the request id was used with other content (TS409).
            PermissionDenied: the member, or the role, may not spend this (42501).
            InvalidArgument: no estimate, or a value out of its bounds (22023).
        """
        call = calls.authorize_spend(
            organization_id,
            model=model,
            estimated_cost=estimated_cost,
            input_tokens=input_tokens,
            max_output_tokens=max_output_tokens,
            workflow_id=workflow_id,
            run_id=run_id,
            venture_id=venture_id,
            user_id=user_id,
            api_key_id=api_key_id,
            tags=tags,
            provider=provider,
            service_tier=service_tier,
            request_id=request_id,
            expires_in=expires_in,
            allow_partial=allow_partial,
            minimum=minimum,
        )
        return self._transport.run(call)

    def estimate_spend(
        self,
        organization_id: UUID,
        *,
        model: str | None = None,
        estimated_cost: Decimal | None = None,
        input_tokens: int | None = None,
        max_output_tokens: int | None = None,
        workflow_id: UUID | None = None,
        run_id: UUID | None = None,
        venture_id: UUID | None = None,
        user_id: UUID | None = None,
        api_key_id: str | None = None,
        tags: Mapping[str, str] | None = None,
        provider: str | None = None,
        service_tier: str | None = None,
        allow_partial: bool | None = None,
        minimum: Decimal | None = None,
    ) -> Decision:
        """Return what `authorize_spend` would answer now; nothing is held or locked.

        It works read-only and on replicas. Two callers at once can both be told granted.

        Raises:
            UnknownId: no such organization, or something named in it (TS404).
            PermissionDenied: the member, or the role, may not spend this (42501).
            InvalidArgument: no estimate, or a value out of its bounds (22023).
        """
        call = calls.estimate_spend(
            organization_id,
            model=model,
            estimated_cost=estimated_cost,
            input_tokens=input_tokens,
            max_output_tokens=max_output_tokens,
            workflow_id=workflow_id,
            run_id=run_id,
            venture_id=venture_id,
            user_id=user_id,
            api_key_id=api_key_id,
            tags=tags,
            provider=provider,
            service_tier=service_tier,
            allow_partial=allow_partial,
            minimum=minimum,
        )
        return self._transport.run(call)

    def settle_spend(
        self,
        hold_id: UUID,
        *,
        usage: Mapping[str, int | str | bool] | None = None,
        cost: Decimal | None = None,
        request_id: str | None = None,
        organization_id: UUID | None = None,
    ) -> Usage:
        """Record what the call used and cost, and close its hold.

        `usage` is charged by the price the hold pinned; a `cost` in US dollars wins over it.

        Real spend is never refused: above the hold, or after the hold has ended, it is recorded
        with `unheld_usd`, and the next call is refused. Settling again with the same content
        returns the same row.

        Raises:
            UnknownId: no such hold (TS404).
            RequestConflict: it was settled with other content (TS409).
            InvalidArgument: a value out of its bounds, or no cost where no price is known (22023).
        """
        call = calls.settle_spend(
            hold_id, usage=usage, cost=cost, request_id=request_id, organization_id=organization_id
        )
        return self._transport.run(call)

    def release_spend(
        self, hold_id: UUID, *, reason: str | None = None, organization_id: UUID | None = None
    ) -> Hold:
        """Give the money of a hold back: the call was not made. Releasing again does nothing.

        Raises:
            UnknownId: no such hold (TS404).
            HoldClosed: it was settled (TS410).
            PermissionDenied: the hold is another member's, or a server has claimed it (42501).
        """
        call = calls.release_spend(hold_id, reason=reason, organization_id=organization_id)
        return self._transport.run(call)

    def extend_hold(
        self,
        hold_id: UUID,
        *,
        expires_in: timedelta | None = None,
        additional_cost: Decimal | None = None,
        request_id: str | None = None,
        organization_id: UUID | None = None,
    ) -> Hold:
        """Keep a hold open until `expires_in` from now, hold `additional_cost` more, or both.

        Raises:
            BudgetExceeded: a budget has not that much left (TS402).
            Frozen: the organization or a scope of the hold is frozen (TS423).
            HoldClosed: it is no longer open (TS410).
            UnknownId: no such hold (TS404).
            RequestConflict: the request id was used with other content (TS409).
            InvalidArgument: a value out of its bounds (22023).
        """
        call = calls.extend_hold(
            hold_id,
            expires_in=expires_in,
            additional_cost=additional_cost,
            request_id=request_id,
            organization_id=organization_id,
        )
        return self._transport.run(call)

    def authorize_spend_batch(
        self, organization_id: UUID, items: Sequence[SpendRequest]
    ) -> list[AuthorizedItem]:
        """Authorize several spends of one organization at once, decided in their order.

        A bad item is refused by itself: its answer has an `error` instead of a decision.

        Raises:
            UnknownId: no such organization (TS404).
            PermissionDenied: the member, or the role, may not spend (42501).
            InvalidArgument: the batch itself is not acceptable (22023).
        """
        return self._transport.run(calls.authorize_spend_batch(organization_id, items))

    def settle_spend_batch(
        self, organization_id: UUID, items: Sequence[Settlement]
    ) -> list[SettledItem]:
        """Settle several holds of one organization at once.

        A bad item is refused by itself: its answer has an `error` instead of a ledger row.

        Raises:
            UnknownId: no such organization (TS404).
            InvalidArgument: the batch itself is not acceptable (22023).
        """
        return self._transport.run(calls.settle_spend_batch(organization_id, items))

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
        limit: Decimal | None,
        *,
        enforcement: str | None = None,
        slots: int | None = None,
    ) -> Budget:
        """Store a cap in US dollars over a scope and a window, or change its limit.

        For example (workflow, its id, total), (organization, None, month) or (tag, "team=search",
        day). A limit of None counts and never refuses. With more `slots`, more callers can spend at
        the same instant. For service_role, and for owners and admins of the organization.

        Raises:
            PermissionDenied: the caller is none of those (42501).
            UnknownId: no such organization, workflow or venture (TS404).
            InvalidArgument: an unknown scope or window, or a limit out of bounds (22023).
        """
        call = calls.set_budget(
            organization_id, scope, scope_id, window, limit, enforcement=enforcement, slots=slots
        )
        return self._transport.run(call)

    def change_budget(
        self,
        organization_id: UUID,
        budget_id: UUID,
        *,
        scope: str | None = None,
        scope_id: str | None = None,
        window: str | None = None,
        slots: int | None = None,
    ) -> Budget:
        """Give a budget another scope, window or number of slots; what is left out stays.

        The totals that organizations and workflows are born with only change their slots. For
        service_role, and for owners and admins of the organization.

        Raises:
            PermissionDenied: the caller is none of those (42501).
            UnknownId: no such budget (TS404).
            InvalidArgument: an unknown scope or window, or slots out of bounds (22023).
        """
        call = calls.change_budget(
            organization_id, budget_id, scope=scope, scope_id=scope_id, window=window, slots=slots
        )
        return self._transport.run(call)

    def remove_budget(
        self, organization_id: UUID, scope: str, scope_id: str | None, window: str
    ) -> Budget:
        """Take a cap away; the answer is the budget as it was, but for `limit_usd`, which is None.

        The totals that organizations and workflows are born with stay, and go on counting. For
        service_role, and for owners and admins of the organization.

        Raises:
            PermissionDenied: the caller is none of those (42501).
            UnknownId: no such budget (TS404).
        """
        return self._transport.run(calls.remove_budget(organization_id, scope, scope_id, window))

    def freeze(
        self, organization_id: UUID, *, scope: str | None = None, scope_id: str | None = None
    ) -> Budget:
        """Refuse all spend in a scope, by default the whole organization, until `unfreeze`.

        What was granted before can still be settled. For service_role, and for owners and admins
        of the organization.

        Raises:
            PermissionDenied: the caller is none of those (42501).
            UnknownId: no such organization, workflow or venture (TS404).
            InvalidArgument: an unknown scope (22023).
        """
        return self._transport.run(calls.freeze(organization_id, scope=scope, scope_id=scope_id))

    def unfreeze(
        self, organization_id: UUID, *, scope: str | None = None, scope_id: str | None = None
    ) -> Budget:
        """Allow spend in a scope again.

        For service_role, and for owners and admins of the organization.

        Raises:
            PermissionDenied: the caller is none of those (42501).
            UnknownId: no such organization, workflow or venture (TS404).
            InvalidArgument: an unknown scope (22023).
        """
        return self._transport.run(calls.unfreeze(organization_id, scope=scope, scope_id=scope_id))

    def budgets(
        self, organization_id: UUID, *, scope: str | None = None, scope_id: str | None = None
    ) -> list[BudgetStatus]:
        """Return the budgets of an organization and what is left of each now.

        With `scope`, and `scope_id`, only those: what a user or an API key has left, for one.
        """
        call = calls.budgets(organization_id, scope=scope, scope_id=scope_id)
        return self._transport.run(call)

    def holds(
        self, organization_id: UUID, *, state: str | None = None, limit: int | None = None
    ) -> list[Hold]:
        """Return the holds of an organization, those that expire first in front.

        With `state`, only those that are open, released or expired; at most `limit`.
        """
        return self._transport.run(calls.holds(organization_id, state=state, limit=limit))

    def expire_holds(self, *, organization_id: UUID | None = None, limit: int | None = None) -> int:
        """Close overdue holds, of one organization or all, at most `limit`; return how many.

        Housekeeping: a call that needs the money of an overdue hold takes it by itself.
        """
        return self._transport.run(calls.expire_holds(organization_id=organization_id, limit=limit))

    def waiting_budgets(self) -> list[WaitingBudget]:
        """Return the budgets whose counters callers wait for at this instant.

        One that is there in sample after sample needs more slots. For service_role.

        Raises:
            PermissionDenied: the caller is another role (42501).
        """
        return self._transport.run(calls.waiting_budgets())

    def price_usage(
        self,
        model: str,
        usage: Mapping[str, int | str | bool],
        *,
        organization_id: UUID | None = None,
        provider: str | None = None,
        service_tier: str | None = None,
        at: datetime | None = None,
    ) -> PricedUsage:
        """Return what a usage costs, and by which price: at list price, or as an organization pays.

        Raises:
            UnknownId: no price is known, or nobody has checked it for too long (TS404).
            InvalidArgument: counts that are none (22023).
            PermissionDenied: the organization is somebody else's (42501).
        """
        call = calls.price_usage(
            model,
            usage,
            organization_id=organization_id,
            provider=provider,
            service_tier=service_tier,
            at=at,
        )
        return self._transport.run(call)

    def prices(
        self,
        *,
        provider: str | None = None,
        model: str | None = None,
        organization_id: UUID | None = None,
    ) -> list[CurrentPrice]:
        """Return the prices that hold now, of a provider and model by their listed names.

        With `organization_id`, only its contracts; a member also sees those of its own without.
        """
        call = calls.prices(provider=provider, model=model, organization_id=organization_id)
        return self._transport.run(call)

    def set_price(
        self,
        provider: str,
        model: str,
        rates: Rates | None,
        *,
        effective_from: datetime | None = None,
        service_tier: str | None = None,
        organization_id: UUID | None = None,
    ) -> Price:
        """Set what a model costs from `effective_from` (else now) on; None ends it.

        A list price, or, with `organization_id`, what that organization pays by contract. Nothing
        that was recorded is charged anew. For service_role.

        Raises:
            InvalidArgument: rates that are none (22023).
            UnknownId: no such organization (TS404).
            PermissionDenied: the caller is another role (42501).
        """
        call = calls.set_price(
            provider,
            model,
            rates,
            effective_from=effective_from,
            service_tier=service_tier,
            organization_id=organization_id,
        )
        return self._transport.run(call)

    def set_markup(
        self,
        organization_id: UUID,
        percent: Decimal | None,
        *,
        provider: str | None = None,
        model: str | None = None,
        effective_from: datetime | None = None,
    ) -> Markup:
        """Raise list prices for an organization by `percent`, below 0 lower them; None ends it.

        Of a model, else of a provider, else of all. Contract prices have none. For service_role.

        Raises:
            InvalidArgument: a percentage out of its bounds (22023).
            UnknownId: no such organization, provider or model (TS404).
            PermissionDenied: the caller is another role (42501).
        """
        call = calls.set_markup(
            organization_id, percent, provider=provider, model=model, effective_from=effective_from
        )
        return self._transport.run(call)

    def set_model_name(
        self,
        provider: str,
        name: str,
        model: str,
        *,
        match: str | None = None,
        model_provider: str | None = None,
    ) -> ModelName:
        """Let `name`, called at `provider`, mean `model`. For service_role.

        Raises:
            InvalidArgument: an unknown `match`, or a pattern that is none (22023).
            UnknownId: no such provider or model (TS404).
            PermissionDenied: the caller is another role (42501).
        """
        call = calls.set_model_name(
            provider, name, model, match=match, model_provider=model_provider
        )
        return self._transport.run(call)

    def load_prices(
        self,
        source: str,
        version: str,
        price_list: Mapping[str, object],
        max_age: timedelta | None,
    ) -> list[PriceChange]:
        """Load a price list, whole or not at all, and return what that changed.

        Its prices grant nothing once `max_age` has passed without a further load; None: they always
        do. `tallystick.pricing.genai` makes a list of the package genai-prices. For service_role.

        Raises:
            InvalidArgument: the list is malformed (22023).
            PermissionDenied: the caller is another role (42501).
        """
        call = calls.load_prices(source, version, price_list, max_age)
        return self._transport.run(call)

    def purchase_credits(
        self,
        org_id: UUID,
        amount_usd: Decimal,
        idempotency_key: str,
        *,
        expires_at: datetime | None = None,
        created_by: str | None = None,
    ) -> CreditMovement:
        """Book credits that an organization has paid, US dollars, and return the movement.

        What it owes is then collected, oldest first. With its first credits an organization pays
        in advance: each of its calls needs a run, or credits for the draw of its day. The same
        `idempotency_key`, which names the payment, is the same movement. For service_role.

        Raises:
            UnknownId: no such organization (TS404).
            RequestConflict: the key was used with other content (TS409).
            InvalidArgument: not above 0, or a time that is over (22023).
            PermissionDenied: the caller is another role (42501).
        """
        call = calls.purchase_credits(
            org_id, amount_usd, idempotency_key, expires_at=expires_at, created_by=created_by
        )
        return self._transport.run(call)

    def grant_credits(
        self,
        org_id: UUID,
        kind: str,
        amount_usd: Decimal,
        idempotency_key: str,
        *,
        expires_at: datetime | None = None,
        priority: int | None = None,
        model: str | None = None,
        created_by: str | None = None,
    ) -> CreditMovement:
        """Give an organization credits, US dollars, of a `kind`: promo or trial.

        They are used up by `priority` (0 to 1000, lowest first; trial 10, promo 20, purchases 30),
        then by expiry, then by age. With `model` they pay for runs of that model alone. The same
        `idempotency_key` is the same movement. For service_role.

        Raises:
            UnknownId: no such organization (TS404).
            RequestConflict: the key was used with other content (TS409).
            InvalidArgument: an unknown kind, or a value out of its bounds (22023).
            PermissionDenied: the caller is another role (42501).
        """
        call = calls.grant_credits(
            org_id,
            kind,
            amount_usd,
            idempotency_key,
            expires_at=expires_at,
            priority=priority,
            model=model,
            created_by=created_by,
        )
        return self._transport.run(call)

    def adjust_credits(
        self,
        org_id: UUID,
        amount_usd: Decimal,
        reason: str,
        idempotency_key: str,
        *,
        created_by: str | None = None,
    ) -> CreditMovement:
        """Add to credits, or with an amount below 0 take from what is available, US dollars.

        The same `idempotency_key` is the same movement. For service_role.

        Raises:
            BudgetExceeded: less than that is available (TS402).
            UnknownId: no such organization (TS404).
            RequestConflict: the key was used with other content (TS409).
            InvalidArgument: an amount of 0, or out of its bounds (22023).
            PermissionDenied: the caller is another role (42501).
        """
        call = calls.adjust_credits(
            org_id, amount_usd, reason, idempotency_key, created_by=created_by
        )
        return self._transport.run(call)

    def expire_credits(self, *, org_id: UUID | None = None, limit: int | None = None) -> int:
        """Take back expired credits, of at most `limit` organizations; return of how many.

        Housekeeping: nobody can spend them meanwhile. For service_role.

        Raises:
            PermissionDenied: the caller is another role (42501).
        """
        return self._transport.run(calls.expire_credits(org_id=org_id, limit=limit))

    def set_low_balance(self, org_id: UUID, low_balance_usd: Decimal | None) -> CreditBalance:
        """Say below which available amount, US dollars, to be warned; None for never.

        Each time it falls below, an event billing.low_balance is put into the outbox. For
        service_role, and for owners, admins and finance of the organization.

        Raises:
            UnknownId: the organization has no credits (TS404).
            InvalidArgument: a value out of its bounds (22023).
            PermissionDenied: the caller is none of those (42501).
        """
        return self._transport.run(calls.set_low_balance(org_id, low_balance_usd))

    def credit_balances(self, org_id: UUID) -> list[CreditBalance]:
        """Return the credits of an organization: one balance, or none if it pays afterwards."""
        return self._transport.run(calls.credit_balances(org_id))

    def credit_grants(self, org_id: UUID) -> list[CreditGrant]:
        """Return where the credits of an organization come from, in the order they are used up."""
        return self._transport.run(calls.credit_grants(org_id))

    def close_draws(self, *, org_id: UUID | None = None, limit: int | None = None) -> int:
        """Charge the draws of days that are over, of at most `limit` organizations.

        Returns how many were closed; one with an open hold stays. Housekeeping: the first call of
        another day does it too. For service_role.

        Raises:
            PermissionDenied: the caller is another role (42501).
        """
        return self._transport.run(calls.close_draws(org_id=org_id, limit=limit))

    def start_run(
        self,
        org_id: UUID,
        input_tokens: int,
        output_tokens: int,
        *,
        model: str | None = None,
        input_cost_usd: Decimal | None = None,
        output_cost_usd: Decimal | None = None,
        name: str | None = None,
        slots: int | None = None,
        request_id: str | None = None,
    ) -> Run:
        """Start a run that is expected to use so many tokens, and reserve their cost from credits.

        That is what is stated for input and output, US dollars, or the price of `model`. Calls
        that name the run (`run_id` of `authorize_spend`) spend from it. With `model` it may call
        that one alone. With more `slots`, more callers can spend from it at the same instant. The
        same `request_id` is the same run. For server roles.

        Raises:
            BudgetExceeded: credits do not suffice (TS402).
            UnknownId: no such organization (TS404).
            RequestConflict: the request id was used with other content (TS409).
            Frozen: the organization is frozen (TS423).
            InvalidArgument: neither costs nor a price, or a value out of its bounds (22023).
        """
        call = calls.start_run(
            org_id,
            input_tokens,
            output_tokens,
            model=model,
            input_cost_usd=input_cost_usd,
            output_cost_usd=output_cost_usd,
            name=name,
            slots=slots,
            request_id=request_id,
        )
        return self._transport.run(call)

    def extend_run(
        self,
        run_id: UUID,
        *,
        input_tokens: int | None = None,
        output_tokens: int | None = None,
        input_cost_usd: Decimal | None = None,
        output_cost_usd: Decimal | None = None,
        request_id: str | None = None,
        org_id: UUID | None = None,
    ) -> Run:
        """Raise the estimate of a run by so many tokens, and reserve their cost from credits too.

        That is what is stated, US dollars, or the price of the run's model. For server roles.

        Raises:
            BudgetExceeded: credits do not suffice (TS402).
            UnknownId: no such run (TS404).
            RequestConflict: the request id was used with other content (TS409).
            HoldClosed: the run has ended (TS410).
            InvalidArgument: neither costs nor a price, or a value out of its bounds (22023).
        """
        call = calls.extend_run(
            run_id,
            input_tokens=input_tokens,
            output_tokens=output_tokens,
            input_cost_usd=input_cost_usd,
            output_cost_usd=output_cost_usd,
            request_id=request_id,
            org_id=org_id,
        )
        return self._transport.run(call)

    def start_agent(self, run_id: UUID, name: str, *, org_id: UUID | None = None) -> Agent:
        """Start an agent in a run. For server roles.

        Raises:
            UnknownId: no such run (TS404).
            HoldClosed: the run has ended (TS410).
            InvalidArgument: an empty name (22023).
        """
        return self._transport.run(calls.start_agent(run_id, name, org_id=org_id))

    def start_task(
        self, run_id: UUID, name: str, *, agent_id: UUID | None = None, org_id: UUID | None = None
    ) -> Task:
        """Start a task in a run, of an agent of it if one is named. For server roles.

        Raises:
            UnknownId: no such run, or no such part of it (TS404).
            HoldClosed: the run has ended (TS410).
            InvalidArgument: an empty name (22023).
        """
        return self._transport.run(calls.start_task(run_id, name, agent_id=agent_id, org_id=org_id))

    def start_step(
        self,
        run_id: UUID,
        name: str,
        *,
        agent_id: UUID | None = None,
        task_id: UUID | None = None,
        org_id: UUID | None = None,
    ) -> Step:
        """Start a step in a run, of an agent and a task of it if they are named. For server roles.

        Raises:
            UnknownId: no such run, or no such part of it (TS404).
            HoldClosed: the run has ended (TS410).
            InvalidArgument: an empty name (22023).
        """
        call = calls.start_step(run_id, name, agent_id=agent_id, task_id=task_id, org_id=org_id)
        return self._transport.run(call)

    def end_part(self, org_id: UUID, part_id: UUID, *, status: str | None = None) -> str:
        """End an agent, task or step, and return how it ended; what has ended stays so.

        `status` is completed, cancelled or failed. Parts still running end with their run. For
        server roles.

        Raises:
            UnknownId: no such part (TS404).
            InvalidArgument: another status, or the run itself (22023).
        """
        return self._transport.run(calls.end_part(org_id, part_id, status=status))

    def record_token_call(
        self,
        run_id: UUID,
        agent_id: UUID | None,
        task_id: UUID | None,
        step_id: UUID | None,
        input_tokens: int | None,
        output_tokens: int | None,
        model: str,
        cost_usd: Decimal | None,
        *,
        error_code: str | None = None,
        error_message: str | None = None,
        is_estimated: bool | None = None,
        usage: Mapping[str, int | str | bool] | None = None,
        reported_total_tokens: int | None = None,
        hold_id: UUID | None = None,
        request_id: str | None = None,
        org_id: UUID | None = None,
    ) -> UUID:
        """Record a call of a run and return its id, which is that of its usage.

        Without an agent it is the main agent's, without a step it belongs to the run's own. A
        `cost_usd` of None is what the price says; `usage` has the tokens by class, as in
        `settle_spend`. An `error_code` (ZERO_TOKENS, MISMATCH, TIMEOUT, RATE_LIMIT, AUTH_ERROR,
        INVALID_RESPONSE) says that the counts are a guess; of a MISMATCH `reported_total_tokens` is
        what the provider had reported. With `hold_id` it settles the hold that was made for it.

        Real spend is never refused: beyond what the run has reserved it is recorded all the same,
        and after the run has ended it is charged as late usage. For server roles.

        Raises:
            UnknownId: no such run, or no such part or hold of it (TS404).
            RequestConflict: it was recorded with other content (TS409).
            InvalidArgument: an error that contradicts itself, or a value out of bounds (22023).
        """
        call = calls.record_token_call(
            run_id,
            agent_id,
            task_id,
            step_id,
            input_tokens,
            output_tokens,
            model,
            cost_usd,
            error_code=error_code,
            error_message=error_message,
            is_estimated=is_estimated,
            usage=usage,
            reported_total_tokens=reported_total_tokens,
            hold_id=hold_id,
            request_id=request_id,
            org_id=org_id,
        )
        return self._transport.run(call)

    def reconcile_run(self, run_id: UUID, *, org_id: UUID | None = None) -> UUID:
        """End a run by comparing estimate and records, and return the id of the reconciliation.

        As `complete_run`; again, it is the same id. For server roles.

        Raises:
            UnknownId: no such run (TS404).
            Frozen: one of its holds is open (TS423).
        """
        return self._transport.run(calls.reconcile_run(run_id, org_id=org_id))

    def complete_run(self, run_id: UUID, *, org_id: UUID | None = None) -> Reconciliation:
        """End a run that is done, and return its reconciliation.

        What it used is charged, the rest of its estimate refunded, a shortfall charged. Again, it
        is the same reconciliation, however the run ended. For server roles.

        Raises:
            UnknownId: no such run (TS404).
            Frozen: one of its holds is open (TS423).
        """
        return self._transport.run(calls.complete_run(run_id, org_id=org_id))

    def cancel_run(self, run_id: UUID, *, org_id: UUID | None = None) -> Reconciliation:
        """End a run that is not wanted any more, and return its reconciliation.

        Its open holds are released; a call that is settled afterwards is charged as late usage.
        What it used is charged, the rest refunded. For server roles.

        Raises:
            UnknownId: no such run (TS404).
        """
        return self._transport.run(calls.cancel_run(run_id, org_id=org_id))

    def fail_run(
        self, run_id: UUID, *, cause: str | None = None, org_id: UUID | None = None
    ) -> Reconciliation:
        """End a run that went wrong, and return its reconciliation.

        Its open holds are released. What it used is charged, the rest refunded by its `cause`:
        partial_failure, or agent_crash. For server roles.

        Raises:
            UnknownId: no such run (TS404).
            InvalidArgument: another cause (22023).
        """
        return self._transport.run(calls.fail_run(run_id, cause=cause, org_id=org_id))

    def runs(
        self, org_id: UUID, *, status: str | None = None, limit: int | None = None
    ) -> list[Run]:
        """Return the runs of an organization, the newest in front.

        With `status`, only those that are running, completed, cancelled or failed; at most `limit`.
        """
        return self._transport.run(calls.runs(org_id, status=status, limit=limit))

    def reconciliations(
        self,
        org_id: UUID,
        *,
        run_id: UUID | None = None,
        status: str | None = None,
        limit: int | None = None,
    ) -> list[Reconciliation]:
        """Return how runs of an organization were reconciled, the newest in front.

        With `run_id` that of one run, with `status` only those in it; at most `limit`.
        """
        call = calls.reconciliations(org_id, run_id=run_id, status=status, limit=limit)
        return self._transport.run(call)

    def dispute_reconciliation(
        self, run_id: UUID, *, notes: str | None = None, org_id: UUID | None = None
    ) -> Reconciliation:
        """Object to what a run was charged: its reconciliation is DISPUTED from now on.

        For server roles, and for owners and finance of the organization.

        Raises:
            UnknownId: no such run, or it is not reconciled (TS404).
            InvalidArgument: notes of more than 10000 characters (22023).
            PermissionDenied: the caller is none of those (42501).
        """
        return self._transport.run(calls.dispute_reconciliation(run_id, notes=notes, org_id=org_id))

    def resolve_dispute(
        self,
        run_id: UUID,
        *,
        refund_usd: Decimal | None = None,
        notes: str | None = None,
        org_id: UUID | None = None,
    ) -> Reconciliation:
        """Resolve a dispute and refund `refund_usd`, US dollars, of what the run cost.

        What the run still owes is waived first, the rest goes back to the credits it came from.
        What is resolved stays so. For service_role.

        Raises:
            UnknownId: no such run (TS404).
            HoldClosed: nothing is disputed (TS410).
            InvalidArgument: more than the run was charged (22023).
            PermissionDenied: the caller is another role (42501).
        """
        call = calls.resolve_dispute(run_id, refund_usd=refund_usd, notes=notes, org_id=org_id)
        return self._transport.run(call)

    def get_statement(self, org_id: UUID, month: date) -> Statement:
        """Return the month that a day is in, on one page, in the organization's time zone.

        Opening balance and movements add up to the closing balance. For members and server roles.

        Raises:
            UnknownId: no such organization (TS404).
            PermissionDenied: the organization is somebody else's (42501).
        """
        return self._transport.run(calls.get_statement(org_id, month))

    def record_transaction_bundle(
        self,
        organization_id: UUID,
        bundle: Bundle,
        *,
        actor: str | None = None,
    ) -> BundleResponse:
        """Book a bundle, once however often it is sent, and return the response.

        A refusal is returned too, so that the event which remembers it is kept: `error` of the
        response is the exception to raise. Above a policy's threshold the bundle is proposed and
        waits for approval. For owners, admins, finance and server roles, which may name
        the `actor` they act for.

        Raises:
            UnknownId: no such organization (TS404).
            InvalidArgument: a blank correlation id (22023).
            PermissionDenied: the caller keeps no books of the organization (42501).
        """
        call = calls.record_transaction_bundle(organization_id, bundle, actor=actor)
        return self._transport.run(call)

    def reverse_transaction(
        self,
        organization_id: UUID,
        transaction_id: str,
        transaction_date: date,
        correlation_id: str,
        *,
        description: str | None = None,
        adjusting_reason_code: str | None = None,
        override_period_lock: bool | None = None,
        actor: str | None = None,
    ) -> BundleResponse:
        """Undo a transaction by a new one of the other sign, and return the response.

        It is booked at `transaction_date` and linked to the transaction, which is undone once. An
        `adjusting_reason_code` makes it an adjusting entry. It passes policy and period as any
        bundle does. For owners, admins, finance and server roles.

        Raises:
            UnknownId: no such organization (TS404).
            InvalidArgument: a blank correlation id (22023).
            PermissionDenied: the caller keeps no books of the organization (42501).
        """
        call = calls.reverse_transaction(
            organization_id,
            transaction_id,
            transaction_date,
            correlation_id,
            description=description,
            adjusting_reason_code=adjusting_reason_code,
            override_period_lock=override_period_lock,
            actor=actor,
        )
        return self._transport.run(call)

    def set_entity(
        self,
        organization_id: UUID,
        code: str,
        name: str,
        *,
        metadata: Mapping[str, object] | None = None,
        entity_id: str | None = None,
        correlation_id: str | None = None,
        actor: str | None = None,
    ) -> Entity:
        """Open an entity with a code of its own, or rename the one that has it.

        For owners, admins, finance and server roles.

        Raises:
            UnknownId: no such organization (TS404).
            InvalidArgument: a blank name, or an id that is another's (22023).
            PermissionDenied: the caller keeps no books of the organization (42501).
        """
        call = calls.set_entity(
            organization_id,
            code,
            name,
            metadata=metadata,
            entity_id=entity_id,
            correlation_id=correlation_id,
            actor=actor,
        )
        return self._transport.run(call)

    def set_account(
        self,
        organization_id: UUID,
        code: str,
        name: str,
        account_type: str,
        *,
        parent_account_id: str | None = None,
        entity_id: str | None = None,
        metadata: Mapping[str, object] | None = None,
        account_id: str | None = None,
        correlation_id: str | None = None,
        actor: str | None = None,
    ) -> Account:
        """Open an account with a code of its own, or change the one that has it.

        `account_type` is asset, liability, equity, income or expense, and stays once something is
        booked on it; a parent is of the same entity. For owners, admins, finance and server roles.

        Raises:
            UnknownId: no such organization, entity or parent (TS404).
            InvalidArgument: a blank name, an unknown type, or a parent below the account (22023).
            AppendOnly: another type for an account with postings (23001).
            PermissionDenied: the caller keeps no books of the organization (42501).
        """
        call = calls.set_account(
            organization_id,
            code,
            name,
            account_type,
            parent_account_id=parent_account_id,
            entity_id=entity_id,
            metadata=metadata,
            account_id=account_id,
            correlation_id=correlation_id,
            actor=actor,
        )
        return self._transport.run(call)

    def record_balance_snapshot(
        self,
        organization_id: UUID,
        source_system: str,
        account_id: str,
        snapshot_date: date,
        balance: Decimal,
        *,
        source_artifact_id: str | None = None,
        correlation_id: str | None = None,
        actor: str | None = None,
    ) -> BalanceSnapshot:
        """Keep what others say an account had at the end of a day, in US dollars.

        Stated again for the same day, it is replaced. For owners, admins, finance and server roles.

        Raises:
            UnknownId: no such organization or account (TS404).
            InvalidArgument: no finite amount or day (22023).
            PermissionDenied: the caller keeps no books of the organization (42501).
        """
        call = calls.record_balance_snapshot(
            organization_id,
            source_system,
            account_id,
            snapshot_date,
            balance,
            source_artifact_id=source_artifact_id,
            correlation_id=correlation_id,
            actor=actor,
        )
        return self._transport.run(call)

    def compare_snapshots(
        self,
        organization_id: UUID,
        *,
        entity_id: str | None = None,
    ) -> list[SnapshotDifference]:
        """List balances that others stated beside those of the books.

        For owners, admins, finance and server roles.

        Raises:
            UnknownId: no such organization or entity (TS404).
            PermissionDenied: the caller may not read the books (42501).
        """
        call = calls.compare_snapshots(organization_id, entity_id=entity_id)
        return self._transport.run(call)

    def set_obligation(
        self,
        organization_id: UUID,
        source_system: str,
        name: str,
        cadence: str,
        expected_amount: Decimal,
        next_due_date: date,
        *,
        account_id: str | None = None,
        variability_flag: bool | None = None,
        metadata: Mapping[str, object] | None = None,
        entity_id: str | None = None,
        active: bool | None = None,
        correlation_id: str | None = None,
        actor: str | None = None,
    ) -> Obligation:
        """State what will be due, in US dollars, or restate it: one per source, name and account.

        `cadence` is monthly, annual or custom; a custom one comes again after ``interval_days`` of
        its `metadata`. One that had ended is active again, unless `active` is false. For owners,
        admins, finance and server roles.

        Raises:
            UnknownId: no such organization, account or entity (TS404).
            InvalidArgument: no finite amount or day, or an unknown cadence (22023).
            PermissionDenied: the caller keeps no books of the organization (42501).
        """
        call = calls.set_obligation(
            organization_id,
            source_system,
            name,
            cadence,
            expected_amount,
            next_due_date,
            account_id=account_id,
            variability_flag=variability_flag,
            metadata=metadata,
            entity_id=entity_id,
            active=active,
            correlation_id=correlation_id,
            actor=actor,
        )
        return self._transport.run(call)

    def roll_obligations(
        self,
        organization_id: UUID,
        day: date,
        *,
        correlation_id: str | None = None,
        actor: str | None = None,
    ) -> list[Obligation]:
        """Move on what was due before a day to when it is due again, and return that.

        The day of the month is kept over shorter months. For owners, admins, finance and server
        roles.

        Raises:
            UnknownId: no such organization (TS404).
            PermissionDenied: the caller keeps no books of the organization (42501).
        """
        call = calls.roll_obligations(
            organization_id, day, correlation_id=correlation_id, actor=actor
        )
        return self._transport.run(call)

    def get_account_map(self, organization_id: UUID) -> list[AccountMapLine]:
        """List on which account each line of what billing posts is booked.

        For owners, admins, finance and server roles.

        Raises:
            UnknownId: no such organization (TS404).
            PermissionDenied: the caller may not read the books (42501).
        """
        return self._transport.run(calls.get_account_map(organization_id))

    def set_account_map(
        self,
        organization_id: UUID,
        line: str,
        account_id: str,
        *,
        correlation_id: str | None = None,
        actor: str | None = None,
    ) -> AccountMapping:
        """Name the account of a line of what billing posts, from now on.

        What was posted stays where it is. `line` is one of `AccountMapping`; the account is of
        entity-default, and of the line's type. For owners, admins, finance and server roles.

        Raises:
            UnknownId: no such organization or account (TS404).
            InvalidArgument: an unknown line, or an account of another type (22023).
            PermissionDenied: the caller keeps no books of the organization (42501).
        """
        call = calls.set_account_map(
            organization_id, line, account_id, correlation_id=correlation_id, actor=actor
        )
        return self._transport.run(call)

    def post_provider_cost(
        self, *, organization_id: UUID | None = None, day: date | None = None
    ) -> int:
        """Post what providers ask for the usage of a day; return for how many days there was any.

        Without a day of all that are over and not posted, without an organization of all; daily
        maintenance does that. What lands later is posted the day it is noticed, with its own day
        beside it. For service_role.

        Raises:
            UnknownId: no such organization (TS404).
            InvalidArgument: the day is not over (22023).
            PermissionDenied: the caller is another role (42501).
        """
        call = calls.post_provider_cost(organization_id=organization_id, day=day)
        return self._transport.run(call)

    def post_history(self, *, organization_id: UUID | None = None) -> int:
        """Post what billing did before the books were kept; return how many movements.

        What moves today posts itself. For service_role.

        Raises:
            UnknownId: no such organization (TS404).
            PermissionDenied: the caller is another role (42501).
        """
        return self._transport.run(calls.post_history(organization_id=organization_id))

    def close_period(
        self,
        organization_id: UUID,
        period_key: str,
        correlation_id: str,
        *,
        entity_id: str | None = None,
        actor: str | None = None,
    ) -> PeriodAnswer:
        """Close a month (``2026-01``) of an entity: it takes adjusting entries only.

        A locked one is refused: the answer says so. For owners, admins, finance and server roles.

        Raises:
            UnknownId: no such organization or entity (TS404).
            InvalidArgument: no month, or a blank correlation id (22023).
            PermissionDenied: the caller keeps no books of the organization (42501).
        """
        call = calls.close_period(
            organization_id, period_key, correlation_id, entity_id=entity_id, actor=actor
        )
        return self._transport.run(call)

    def lock_period(
        self,
        organization_id: UUID,
        period_key: str,
        correlation_id: str,
        *,
        entity_id: str | None = None,
        actor: str | None = None,
    ) -> PeriodAnswer:
        """Lock a month (``2026-01``) of an entity for good.

        It takes nothing but what overrides the lock and was approved. For owners, admins, finance
        and server roles.

        Raises:
            UnknownId: no such organization or entity (TS404).
            InvalidArgument: no month, or a blank correlation id (22023).
            PermissionDenied: the caller keeps no books of the organization (42501).
        """
        call = calls.lock_period(
            organization_id, period_key, correlation_id, entity_id=entity_id, actor=actor
        )
        return self._transport.run(call)

    def reopen_period(
        self,
        organization_id: UUID,
        period_key: str,
        correlation_id: str,
        *,
        entity_id: str | None = None,
        actor: str | None = None,
    ) -> PeriodAnswer:
        """Open a closed month (``2026-01``) of an entity again.

        A locked one stays locked: the answer says so. For owners, admins, finance and server roles.

        Raises:
            UnknownId: no such organization or entity (TS404).
            InvalidArgument: no month, or a blank correlation id (22023).
            PermissionDenied: the caller keeps no books of the organization (42501).
        """
        call = calls.reopen_period(
            organization_id, period_key, correlation_id, entity_id=entity_id, actor=actor
        )
        return self._transport.run(call)

    def trial_balance(
        self,
        organization_id: UUID,
        *,
        first_day: date | None = None,
        last_day: date | None = None,
        entity_id: str | None = None,
    ) -> list[TrialBalanceLine]:
        """Return every account over a span of days, of one entity or of all.

        Both days belong to the span; without one it is open there. For owners, admins, finance and
        server roles.

        Raises:
            UnknownId: no such organization or entity (TS404).
            PermissionDenied: the caller may not read the books (42501).
        """
        call = calls.trial_balance(
            organization_id, first_day=first_day, last_day=last_day, entity_id=entity_id
        )
        return self._transport.run(call)

    def account_ledger(
        self,
        organization_id: UUID,
        account_id: str,
        *,
        first_day: date | None = None,
        last_day: date | None = None,
    ) -> list[AccountLedgerLine]:
        """Return every posting of an account over a span of days, with the balance after it.

        For owners, admins, finance and server roles.

        Raises:
            UnknownId: no such organization or account (TS404).
            PermissionDenied: the caller may not read the books (42501).
        """
        call = calls.account_ledger(
            organization_id, account_id, first_day=first_day, last_day=last_day
        )
        return self._transport.run(call)

    def balance_as_of(
        self,
        organization_id: UUID,
        account_id: str,
        *,
        day: date | None = None,
        with_parts: bool | None = None,
    ) -> Decimal:
        """Return what an account had at the end of a day, in US dollars: above 0 debit.

        Without a day, what it has; `with_parts` adds all accounts below it. For owners, admins,
        finance and server roles.

        Raises:
            UnknownId: no such organization or account (TS404).
            PermissionDenied: the caller may not read the books (42501).
        """
        call = calls.balance_as_of(organization_id, account_id, day=day, with_parts=with_parts)
        return self._transport.run(call)

    def income_statement(
        self,
        organization_id: UUID,
        *,
        first_day: date | None = None,
        last_day: date | None = None,
        entity_id: str | None = None,
    ) -> list[StatementLine]:
        """Return income and expenses over a span of days, their sums and the net income.

        Of one entity, or of all. For owners, admins, finance and server roles.

        Raises:
            UnknownId: no such organization or entity (TS404).
            PermissionDenied: the caller may not read the books (42501).
        """
        call = calls.income_statement(
            organization_id, first_day=first_day, last_day=last_day, entity_id=entity_id
        )
        return self._transport.run(call)

    def balance_sheet(
        self,
        organization_id: UUID,
        *,
        day: date | None = None,
        entity_id: str | None = None,
    ) -> list[StatementLine]:
        """Return assets, liabilities and equity at the end of a day, and their sums.

        Of one entity, or of all. Income less expenses so far are the earnings in equity. For
        owners, admins, finance and server roles.

        Raises:
            UnknownId: no such organization or entity (TS404).
            PermissionDenied: the caller may not read the books (42501).
        """
        call = calls.balance_sheet(organization_id, day=day, entity_id=entity_id)
        return self._transport.run(call)

    def entities(
        self,
        organization_id: UUID,
    ) -> list[Entity]:
        """List who keeps books within an organization, as far as the caller may see."""
        call = calls.entities(organization_id)
        return self._transport.run(call)

    def accounts(
        self,
        organization_id: UUID,
        *,
        entity_id: str | None = None,
    ) -> list[Account]:
        """List the accounts that the caller may see, by code."""
        call = calls.accounts(organization_id, entity_id=entity_id)
        return self._transport.run(call)

    def accounting_periods(
        self,
        organization_id: UUID,
        *,
        entity_id: str | None = None,
        status: str | None = None,
    ) -> list[AccountingPeriod]:
        """List the months that have a row and the caller may see, the last in front."""
        call = calls.accounting_periods(organization_id, entity_id=entity_id, status=status)
        return self._transport.run(call)

    def obligations(
        self,
        organization_id: UUID,
        *,
        entity_id: str | None = None,
        active: bool | None = None,
    ) -> list[Obligation]:
        """List the obligations that the caller may see, what is due first in front."""
        call = calls.obligations(organization_id, entity_id=entity_id, active=active)
        return self._transport.run(call)

    def ledger_transactions(
        self,
        organization_id: UUID,
        *,
        entity_id: str | None = None,
        transaction_id: str | None = None,
        source_system: str | None = None,
        external_id: str | None = None,
        limit: int | None = None,
    ) -> list[LedgerTransaction]:
        """List the transactions that the caller may see, the last day in front."""
        call = calls.ledger_transactions(
            organization_id,
            entity_id=entity_id,
            transaction_id=transaction_id,
            source_system=source_system,
            external_id=external_id,
            limit=limit,
        )
        return self._transport.run(call)

    def ledger_postings(
        self,
        organization_id: UUID,
        *,
        entity_id: str | None = None,
        transaction_id: str | None = None,
        account_id: str | None = None,
        limit: int | None = None,
    ) -> list[LedgerPosting]:
        """List the postings that the caller may see, in the order they were made."""
        call = calls.ledger_postings(
            organization_id,
            entity_id=entity_id,
            transaction_id=transaction_id,
            account_id=account_id,
            limit=limit,
        )
        return self._transport.run(call)

    def assert_event(
        self,
        domain: str,
        event_type: str,
        *,
        payload: Mapping[str, object] | None = None,
        entity_type: str | None = None,
        entity_id: str | None = None,
        occurred_at: datetime | None = None,
        owner_user_id: UUID | None = None,
        owner_agent_id: str | None = None,
        country_code: str | None = None,
        region_code: str | None = None,
        city_code: str | None = None,
        locality_code: str | None = None,
        logical_id: UUID | None = None,
        organization_id: UUID | None = None,
    ) -> Event:
        """Write a receipt into the journal: which ledger, what happened, the facts.

        Its owner is the caller; a server role states one. The tenant is the owner, unless an
        organization is stated. `logical_id` names it, so that a retry cannot write it twice. For
        owners in their own tenant or an organization of theirs, and server roles.

        Raises:
            StaleHead: an event of that `logical_id` is there (TS419).
            PermissionDenied: the owner, or the tenant, is not the caller's (42501).
            InvalidArgument: no owner, a blank text, or a payload against the rules (22023).
        """
        call = calls.assert_event(
            domain,
            event_type,
            payload=payload,
            entity_type=entity_type,
            entity_id=entity_id,
            occurred_at=occurred_at,
            owner_user_id=owner_user_id,
            owner_agent_id=owner_agent_id,
            country_code=country_code,
            region_code=region_code,
            city_code=city_code,
            locality_code=locality_code,
            logical_id=logical_id,
            organization_id=organization_id,
        )
        return self._transport.run(call)

    def amend_event(
        self,
        logical_id: UUID,
        *,
        payload: Mapping[str, object] | None = None,
        supersedes_id: UUID | None = None,
        event_type: str | None = None,
        occurred_at: datetime | None = None,
        organization_id: UUID | None = None,
    ) -> Event:
        """Correct an event of the journal by a new revision, and return that.

        `payload` replaces the facts; what is left out stays. `supersedes_id` is the revision that
        was read: where another has come since, it is refused. For the owner, and server roles,
        which name the tenant.

        Raises:
            UnknownId: no such event (TS404).
            StaleHead: somebody else has revised it since (TS419).
            PermissionDenied: the event is somebody else's (42501).
            InvalidArgument: it is voided, or a payload against the rules (22023).
        """
        call = calls.amend_event(
            logical_id,
            payload=payload,
            supersedes_id=supersedes_id,
            event_type=event_type,
            occurred_at=occurred_at,
            organization_id=organization_id,
        )
        return self._transport.run(call)

    def void_event(
        self,
        logical_id: UUID,
        void_reason: str,
        *,
        voided_by: str | None = None,
        supersedes_id: UUID | None = None,
        organization_id: UUID | None = None,
    ) -> Event:
        """Say by a new revision that an event of the journal does not count, and return that.

        It keeps the facts and says why and by whom: the caller, and a server role states it. For
        the owner, and server roles, which name the tenant.

        Raises:
            UnknownId: no such event (TS404).
            StaleHead: somebody else has revised it since `supersedes_id` was read (TS419).
            PermissionDenied: the event is somebody else's (42501).
            InvalidArgument: it is voided already, a blank reason, or nobody who did it (22023).
        """
        call = calls.void_event(
            logical_id,
            void_reason,
            voided_by=voided_by,
            supersedes_id=supersedes_id,
            organization_id=organization_id,
        )
        return self._transport.run(call)

    def restate_event(
        self,
        logical_id: UUID,
        *,
        payload: Mapping[str, object] | None = None,
        supersedes_id: UUID | None = None,
        organization_id: UUID | None = None,
    ) -> Event:
        """Say by a new revision that a voided event of the journal counts again, and return that.

        `payload` replaces the facts; without it they stay, those of the void included. For the
        owner, and server roles, which name the tenant.

        Raises:
            UnknownId: no such event (TS404).
            StaleHead: somebody else has revised it since `supersedes_id` was read (TS419).
            PermissionDenied: the event is somebody else's (42501).
            InvalidArgument: it is not voided, or a payload against the rules (22023).
        """
        call = calls.restate_event(
            logical_id,
            payload=payload,
            supersedes_id=supersedes_id,
            organization_id=organization_id,
        )
        return self._transport.run(call)

    def current_events(
        self,
        *,
        owner_user_id: UUID | None = None,
        organization_id: UUID | None = None,
        domain: str | None = None,
        entity_type: str | None = None,
        entity_id: str | None = None,
        limit: int | None = None,
    ) -> list[Event]:
        """Return the events of an owner, a tenant or both, each as it stands, the last in front.

        Voided ones too: see `Event.counts`. Also by domain and by what they are about; at most
        `limit`. Without an owner or a tenant it is a TypeError.
        """
        call = calls.current_events(
            owner_user_id=owner_user_id,
            organization_id=organization_id,
            domain=domain,
            entity_type=entity_type,
            entity_id=entity_id,
            limit=limit,
        )
        return self._transport.run(call)

    def event_revisions(self, organization_id: UUID, logical_id: UUID) -> list[Event]:
        """Return all revisions of an event of the journal, the first in front."""
        return self._transport.run(calls.event_revisions(organization_id, logical_id))

    def set_policy_rule(
        self,
        organization_id: UUID,
        rule_id: str,
        threshold_amount: Decimal,
        *,
        priority: int | None = None,
        tool_name: str | None = None,
        entity_id: str | None = None,
        transaction_category: str | None = None,
        risk_band: str | None = None,
        model: str | None = None,
        velocity_limit_count: int | None = None,
        velocity_window_seconds: int | None = None,
        required_approvals: int | None = None,
        allows_asserted: bool | None = None,
        metadata: Mapping[str, object] | None = None,
    ) -> PolicyRule:
        """Set a rule about what needs approval, or another in its place; for owners and admins.

        The first active rule that matches decides, by `priority` (100, lowest first) and id; what
        is left out matches anything. Strictly above `threshold_amount` US dollars, or beyond
        `velocity_limit_count` within `velocity_window_seconds`, as many different persons have to
        approve as `required_approvals` says (1). Those whom a server names count only with
        `allows_asserted`. `tool_name` is record_transaction_bundle or authorize_spend, the latter
        also by `model`.
        """
        return self._transport.run(
            calls.set_policy_rule(
                organization_id,
                rule_id,
                threshold_amount,
                priority=priority,
                tool_name=tool_name,
                entity_id=entity_id,
                transaction_category=transaction_category,
                risk_band=risk_band,
                model=model,
                velocity_limit_count=velocity_limit_count,
                velocity_window_seconds=velocity_window_seconds,
                required_approvals=required_approvals,
                allows_asserted=allows_asserted,
                metadata=metadata,
            )
        )

    def retire_policy_rule(self, organization_id: UUID, rule_id: str) -> PolicyRule:
        """Let a policy rule match nothing any more; what it has asked for still waits.

        Raises:
            UnknownId: the organization has no such rule (TS404).
        """
        return self._transport.run(calls.retire_policy_rule(organization_id, rule_id))

    def policy_rules(
        self, organization_id: UUID, *, active: bool | None = None
    ) -> list[PolicyRule]:
        """List the policy rules of an organization by priority, retired ones too by default."""
        return self._transport.run(calls.policy_rules(organization_id, active=active))

    def proposals(
        self,
        organization_id: UUID,
        *,
        status: str | None = None,
        tool_name: str | None = None,
        limit: int | None = None,
    ) -> list[Proposal]:
        """List what waits for approval, or did; what was proposed first comes first."""
        return self._transport.run(
            calls.proposals(organization_id, status=status, tool_name=tool_name, limit=limit)
        )

    def approval_decisions(self, organization_id: UUID, proposal_id: str) -> list[ApprovalDecision]:
        """List who has approved or rejected a proposal, the first in front."""
        return self._transport.run(calls.approval_decisions(organization_id, proposal_id))

    def approve_proposal(
        self,
        organization_id: UUID,
        proposal_id: str,
        *,
        reason: str | None = None,
        actor: str | None = None,
        correlation_id: str | None = None,
    ) -> ApprovalOutcome:
        """Approve a proposal; the last approval that is needed commits it.

        A bundle is then booked; a call of a model may be made for 24 hours, by asking again with
        its request id. A server says who approves (`actor`), a signed-in person does not. Nobody
        approves what they proposed. A refusal is an answer and on record: see `ApprovalOutcome`.

        Raises:
            UnknownId: the organization has no such proposal (TS404).
        """
        return self._transport.run(
            calls.approve_proposal(
                organization_id,
                proposal_id,
                reason=reason,
                actor=actor,
                correlation_id=correlation_id,
            )
        )

    def reject_proposal(
        self,
        organization_id: UUID,
        proposal_id: str,
        *,
        reason: str | None = None,
        actor: str | None = None,
        correlation_id: str | None = None,
    ) -> ApprovalOutcome:
        """Reject a proposal, which ends it; whoever proposed it may take it back so.

        Raises:
            UnknownId: the organization has no such proposal (TS404).
        """
        return self._transport.run(
            calls.reject_proposal(
                organization_id,
                proposal_id,
                reason=reason,
                actor=actor,
                correlation_id=correlation_id,
            )
        )

    def record_venture_usage(
        self,
        venture_id: UUID,
        lifecycle_stage: int,
        agent_type: str,
        model_id: str | None,
        tokens_input: int | None,
        tokens_output: int | None,
        cost_usd: Decimal | None,
        *,
        phase: str | None = None,
        job_id: UUID | None = None,
        crew_id: str | None = None,
        budget_profile: str | None = None,
        is_simulation: bool | None = None,
        simulation_run_id: UUID | None = None,
        operation_type: str | None = None,
        metadata: Mapping[str, object] | None = None,
        request_id: str | None = None,
        organization_id: UUID | None = None,
        hold_id: UUID | None = None,
        usage: Mapping[str, int | str | bool] | None = None,
    ) -> VentureUsage:
        """Record what a venture used: its row, the usage and every total, or nothing.

        Without a cost it is the price's. It counts to the share of `budget_profile`, standard
        unless stated; a simulation counts to nothing. `hold_id` settles the hold that was made for
        it; `usage` says the tokens by class. A retry with the same `request_id` and content is one
        record. For server roles.

        Raises:
            UnknownId: no such venture or hold (TS404).
            RequestConflict: the request id, or the hold, was used with other content (TS409).
            PermissionDenied: the caller is another role (42501).
            InvalidArgument: neither cost nor price, an unknown profile or phase, amounts or texts
                that are out of bounds (22023).
        """
        call = calls.record_venture_usage(
            venture_id,
            lifecycle_stage,
            agent_type,
            model_id,
            tokens_input,
            tokens_output,
            cost_usd,
            phase=phase,
            job_id=job_id,
            crew_id=crew_id,
            budget_profile=budget_profile,
            is_simulation=is_simulation,
            simulation_run_id=simulation_run_id,
            operation_type=operation_type,
            metadata=metadata,
            request_id=request_id,
            organization_id=organization_id,
            hold_id=hold_id,
            usage=usage,
        )
        return self._transport.run(call)

    def allocate_venture_budget(
        self,
        organization_id: UUID,
        venture_id: UUID,
        budget_profile: str,
        percent: Decimal | None,
    ) -> VentureAllocation:
        """Give a profile of a venture its share of each budget of the venture, and return all.

        None leaves it without one, so that only the venture's budget caps it; 0 closes it. A call
        of the venture counts to the profile that its tag budget_profile names, else to standard.
        Whenever a limit of the venture changes, the shares are cut anew. For owners, admins and
        service_role.

        Raises:
            UnknownId: no such organization or venture (TS404).
            PermissionDenied: the caller may not set budgets (42501).
            InvalidArgument: an unknown profile, more than two decimals, or more than 100 percent
                together (22023).
        """
        call = calls.allocate_venture_budget(organization_id, venture_id, budget_profile, percent)
        return self._transport.run(call)

    def venture_profiles(
        self, organization_id: UUID, *, venture_id: UUID | None = None
    ) -> list[VentureProfile]:
        """Return what each profile of ventures that has a share has left of it, by window."""
        return self._transport.run(calls.venture_profiles(organization_id, venture_id=venture_id))

    def venture_spend(
        self, organization_id: UUID, *, venture_id: UUID | None = None
    ) -> list[VentureSpend]:
        """Return what ventures used by stage, phase and kind of agent, simulations apart."""
        return self._transport.run(calls.venture_spend(organization_id, venture_id=venture_id))

    def acknowledge_events(self, organization_id: UUID, ids: Sequence[UUID]) -> int:
        """Mark events of the outbox as delivered, and return how many were not yet.

        For service_role.

        Raises:
            UnknownId: no such organization (TS404).
            PermissionDenied: the caller is another role (42501).
        """
        return self._transport.run(calls.acknowledge_events(organization_id, ids))

    def create_organization(self, name: str, *, time_zone: str | None = None) -> Organization:
        """Create an organization, by default in UTC; a signed-in caller becomes its owner.

        For service_role and signed-in callers.

        Raises:
            PermissionDenied: the caller is neither (42501).
            InvalidArgument: an empty name or an unknown time zone (22023).
        """
        return self._transport.run(calls.create_organization(name, time_zone=time_zone))

    def verify_integrity(
        self, *, organization_id: UUID | None = None, full: bool = False
    ) -> list[Finding]:
        """Prove the books, since the last checkpoint or in full: a finding per broken invariant."""
        return self._transport.run(
            calls.verify_integrity(organization_id=organization_id, full=full)
        )

    def make_checkpoint(self, *, full: bool = False) -> list[Finding]:
        """Prove the books; where nothing is wrong, the next check begins here. For service_role."""
        return self._transport.run(calls.make_checkpoint(full=full))

    def seal_ledgers(self, *, limit: int | None = None) -> Seal | None:
        """Seal what was committed since the last seal, at most `limit` rows of each ledger.

        Returns the seal, or None where there was nothing to seal. For service_role.
        """
        return self._transport.run(calls.seal_ledgers(limit=limit))

    def verify_seals(
        self, *, organization_id: UUID | None = None, published_hash: str | None = None
    ) -> list[SealFinding]:
        """Prove that nothing sealed was altered: one finding per row, root or seal that was.

        Args:
            organization_id: whose rows; all when omitted.
            published_hash: hash of a seal that was kept elsewhere: it must be in the chain.
        """
        return self._transport.run(
            calls.verify_seals(organization_id=organization_id, published_hash=published_hash)
        )

    def seals(self, *, limit: int = 1) -> list[Seal]:
        """Return the newest seals, newest first."""
        return self._transport.run(calls.seals(limit=limit))


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

    def spend(
        self,
        organization_id: UUID,
        *,
        model: str | None = None,
        estimated_cost: Decimal | None = None,
        input_tokens: int | None = None,
        max_output_tokens: int | None = None,
        workflow_id: UUID | None = None,
        run_id: UUID | None = None,
        venture_id: UUID | None = None,
        user_id: UUID | None = None,
        api_key_id: str | None = None,
        tags: Mapping[str, str] | None = None,
        provider: str | None = None,
        service_tier: str | None = None,
        request_id: str | None = None,
        expires_in: timedelta | None = None,
        allow_partial: bool | None = None,
        minimum: Decimal | None = None,
        usage_of: str | None = None,
    ) -> AsyncSpend:
        """Return a block around one model call, which cannot forget to settle.

        Entering it authorizes the spend with these arguments, as `authorize_spend` does, and
        raises `SpendDenied` where that is not granted. Within it, hand the response, or each event
        of a stream, to `see`; leaving settles by what it said, or releases where the call failed.
        See `tallystick.spend`.

        `usage_of` names whose API answers (openai, anthropic, gemini, bedrock, mistral, otel) where
        the response does not tell.
        """
        request = SpendRequest(
            model=model,
            estimated_cost=estimated_cost,
            input_tokens=input_tokens,
            max_output_tokens=max_output_tokens,
            workflow_id=workflow_id,
            run_id=run_id,
            venture_id=venture_id,
            user_id=user_id,
            api_key_id=api_key_id,
            tags=tags,
            provider=provider,
            service_tier=service_tier,
            request_id=request_id,
            expires_in=expires_in,
            allow_partial=allow_partial,
            minimum=minimum,
        )
        return AsyncSpend(self._transport, organization_id, request, usage_of)

    async def authorize_spend(
        self,
        organization_id: UUID,
        *,
        model: str | None = None,
        estimated_cost: Decimal | None = None,
        input_tokens: int | None = None,
        max_output_tokens: int | None = None,
        workflow_id: UUID | None = None,
        run_id: UUID | None = None,
        venture_id: UUID | None = None,
        user_id: UUID | None = None,
        api_key_id: str | None = None,
        tags: Mapping[str, str] | None = None,
        provider: str | None = None,
        service_tier: str | None = None,
        request_id: str | None = None,
        expires_in: timedelta | None = None,
        allow_partial: bool | None = None,
        minimum: Decimal | None = None,
    ) -> Decision:
        """Hold what the call is estimated to cost in every budget it touches, or in none.

        That is `estimated_cost` US dollars, or what the tokens cost by the price of the model,
        which then settles it too.

        The first of two steps around a model call; nothing stays locked in between. When it is
        `granted`, call the model and `settle_spend` the hold, or `release_spend` it; a hold that
        is forgotten ends by itself after `expires_in` (ten minutes). A refusal is an answer, with
        its reason, not an error. The same `request_id` asked again gets the hold it has, or learns
        that it is settled; after a release or expiry it is decided anew.

        With `allow_partial` the answer may hold less than the estimate, but never less than
        `minimum`, or the input and one token of output. What each argument means is said in
        `SpendRequest`.

        Raises:
            UnknownId: no such organization, or something named in it (TS404).
            RequestConflict: the request id was used with other content (TS409).
            PermissionDenied: the member, or the role, may not spend this (42501).
            InvalidArgument: no estimate, or a value out of its bounds (22023).
        """
        call = calls.authorize_spend(
            organization_id,
            model=model,
            estimated_cost=estimated_cost,
            input_tokens=input_tokens,
            max_output_tokens=max_output_tokens,
            workflow_id=workflow_id,
            run_id=run_id,
            venture_id=venture_id,
            user_id=user_id,
            api_key_id=api_key_id,
            tags=tags,
            provider=provider,
            service_tier=service_tier,
            request_id=request_id,
            expires_in=expires_in,
            allow_partial=allow_partial,
            minimum=minimum,
        )
        return await self._transport.run(call)

    async def estimate_spend(
        self,
        organization_id: UUID,
        *,
        model: str | None = None,
        estimated_cost: Decimal | None = None,
        input_tokens: int | None = None,
        max_output_tokens: int | None = None,
        workflow_id: UUID | None = None,
        run_id: UUID | None = None,
        venture_id: UUID | None = None,
        user_id: UUID | None = None,
        api_key_id: str | None = None,
        tags: Mapping[str, str] | None = None,
        provider: str | None = None,
        service_tier: str | None = None,
        allow_partial: bool | None = None,
        minimum: Decimal | None = None,
    ) -> Decision:
        """Return what `authorize_spend` would answer now; nothing is held or locked.

        It works read-only and on replicas. Two callers at once can both be told granted.

        Raises:
            UnknownId: no such organization, or something named in it (TS404).
            PermissionDenied: the member, or the role, may not spend this (42501).
            InvalidArgument: no estimate, or a value out of its bounds (22023).
        """
        call = calls.estimate_spend(
            organization_id,
            model=model,
            estimated_cost=estimated_cost,
            input_tokens=input_tokens,
            max_output_tokens=max_output_tokens,
            workflow_id=workflow_id,
            run_id=run_id,
            venture_id=venture_id,
            user_id=user_id,
            api_key_id=api_key_id,
            tags=tags,
            provider=provider,
            service_tier=service_tier,
            allow_partial=allow_partial,
            minimum=minimum,
        )
        return await self._transport.run(call)

    async def settle_spend(
        self,
        hold_id: UUID,
        *,
        usage: Mapping[str, int | str | bool] | None = None,
        cost: Decimal | None = None,
        request_id: str | None = None,
        organization_id: UUID | None = None,
    ) -> Usage:
        """Record what the call used and cost, and close its hold.

        `usage` is charged by the price the hold pinned; a `cost` in US dollars wins over it.

        Real spend is never refused: above the hold, or after the hold has ended, it is recorded
        with `unheld_usd`, and the next call is refused. Settling again with the same content
        returns the same row.

        Raises:
            UnknownId: no such hold (TS404).
            RequestConflict: it was settled with other content (TS409).
            InvalidArgument: a value out of its bounds, or no cost where no price is known (22023).
        """
        call = calls.settle_spend(
            hold_id, usage=usage, cost=cost, request_id=request_id, organization_id=organization_id
        )
        return await self._transport.run(call)

    async def release_spend(
        self, hold_id: UUID, *, reason: str | None = None, organization_id: UUID | None = None
    ) -> Hold:
        """Give the money of a hold back: the call was not made. Releasing again does nothing.

        Raises:
            UnknownId: no such hold (TS404).
            HoldClosed: it was settled (TS410).
            PermissionDenied: the hold is another member's, or a server has claimed it (42501).
        """
        call = calls.release_spend(hold_id, reason=reason, organization_id=organization_id)
        return await self._transport.run(call)

    async def extend_hold(
        self,
        hold_id: UUID,
        *,
        expires_in: timedelta | None = None,
        additional_cost: Decimal | None = None,
        request_id: str | None = None,
        organization_id: UUID | None = None,
    ) -> Hold:
        """Keep a hold open until `expires_in` from now, hold `additional_cost` more, or both.

        Raises:
            BudgetExceeded: a budget has not that much left (TS402).
            Frozen: the organization or a scope of the hold is frozen (TS423).
            HoldClosed: it is no longer open (TS410).
            UnknownId: no such hold (TS404).
            RequestConflict: the request id was used with other content (TS409).
            InvalidArgument: a value out of its bounds (22023).
        """
        call = calls.extend_hold(
            hold_id,
            expires_in=expires_in,
            additional_cost=additional_cost,
            request_id=request_id,
            organization_id=organization_id,
        )
        return await self._transport.run(call)

    async def authorize_spend_batch(
        self, organization_id: UUID, items: Sequence[SpendRequest]
    ) -> list[AuthorizedItem]:
        """Authorize several spends of one organization at once, decided in their order.

        A bad item is refused by itself: its answer has an `error` instead of a decision.

        Raises:
            UnknownId: no such organization (TS404).
            PermissionDenied: the member, or the role, may not spend (42501).
            InvalidArgument: the batch itself is not acceptable (22023).
        """
        return await self._transport.run(calls.authorize_spend_batch(organization_id, items))

    async def settle_spend_batch(
        self, organization_id: UUID, items: Sequence[Settlement]
    ) -> list[SettledItem]:
        """Settle several holds of one organization at once.

        A bad item is refused by itself: its answer has an `error` instead of a ledger row.

        Raises:
            UnknownId: no such organization (TS404).
            InvalidArgument: the batch itself is not acceptable (22023).
        """
        return await self._transport.run(calls.settle_spend_batch(organization_id, items))

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
        limit: Decimal | None,
        *,
        enforcement: str | None = None,
        slots: int | None = None,
    ) -> Budget:
        """Store a cap in US dollars over a scope and a window, or change its limit.

        For example (workflow, its id, total), (organization, None, month) or (tag, "team=search",
        day). A limit of None counts and never refuses. With more `slots`, more callers can spend at
        the same instant. For service_role, and for owners and admins of the organization.

        Raises:
            PermissionDenied: the caller is none of those (42501).
            UnknownId: no such organization, workflow or venture (TS404).
            InvalidArgument: an unknown scope or window, or a limit out of bounds (22023).
        """
        call = calls.set_budget(
            organization_id, scope, scope_id, window, limit, enforcement=enforcement, slots=slots
        )
        return await self._transport.run(call)

    async def change_budget(
        self,
        organization_id: UUID,
        budget_id: UUID,
        *,
        scope: str | None = None,
        scope_id: str | None = None,
        window: str | None = None,
        slots: int | None = None,
    ) -> Budget:
        """Give a budget another scope, window or number of slots; what is left out stays.

        The totals that organizations and workflows are born with only change their slots. For
        service_role, and for owners and admins of the organization.

        Raises:
            PermissionDenied: the caller is none of those (42501).
            UnknownId: no such budget (TS404).
            InvalidArgument: an unknown scope or window, or slots out of bounds (22023).
        """
        call = calls.change_budget(
            organization_id, budget_id, scope=scope, scope_id=scope_id, window=window, slots=slots
        )
        return await self._transport.run(call)

    async def remove_budget(
        self, organization_id: UUID, scope: str, scope_id: str | None, window: str
    ) -> Budget:
        """Take a cap away; the answer is the budget as it was, but for `limit_usd`, which is None.

        The totals that organizations and workflows are born with stay, and go on counting. For
        service_role, and for owners and admins of the organization.

        Raises:
            PermissionDenied: the caller is none of those (42501).
            UnknownId: no such budget (TS404).
        """
        return await self._transport.run(
            calls.remove_budget(organization_id, scope, scope_id, window)
        )

    async def freeze(
        self, organization_id: UUID, *, scope: str | None = None, scope_id: str | None = None
    ) -> Budget:
        """Refuse all spend in a scope, by default the whole organization, until `unfreeze`.

        What was granted before can still be settled. For service_role, and for owners and admins
        of the organization.

        Raises:
            PermissionDenied: the caller is none of those (42501).
            UnknownId: no such organization, workflow or venture (TS404).
            InvalidArgument: an unknown scope (22023).
        """
        return await self._transport.run(
            calls.freeze(organization_id, scope=scope, scope_id=scope_id)
        )

    async def unfreeze(
        self, organization_id: UUID, *, scope: str | None = None, scope_id: str | None = None
    ) -> Budget:
        """Allow spend in a scope again.

        For service_role, and for owners and admins of the organization.

        Raises:
            PermissionDenied: the caller is none of those (42501).
            UnknownId: no such organization, workflow or venture (TS404).
            InvalidArgument: an unknown scope (22023).
        """
        return await self._transport.run(
            calls.unfreeze(organization_id, scope=scope, scope_id=scope_id)
        )

    async def budgets(
        self, organization_id: UUID, *, scope: str | None = None, scope_id: str | None = None
    ) -> list[BudgetStatus]:
        """Return the budgets of an organization and what is left of each now.

        With `scope`, and `scope_id`, only those: what a user or an API key has left, for one.
        """
        call = calls.budgets(organization_id, scope=scope, scope_id=scope_id)
        return await self._transport.run(call)

    async def holds(
        self, organization_id: UUID, *, state: str | None = None, limit: int | None = None
    ) -> list[Hold]:
        """Return the holds of an organization, those that expire first in front.

        With `state`, only those that are open, released or expired; at most `limit`.
        """
        return await self._transport.run(calls.holds(organization_id, state=state, limit=limit))

    async def expire_holds(
        self, *, organization_id: UUID | None = None, limit: int | None = None
    ) -> int:
        """Close overdue holds, of one organization or all, at most `limit`; return how many.

        Housekeeping: a call that needs the money of an overdue hold takes it by itself.
        """
        return await self._transport.run(
            calls.expire_holds(organization_id=organization_id, limit=limit)
        )

    async def waiting_budgets(self) -> list[WaitingBudget]:
        """Return the budgets whose counters callers wait for at this instant.

        One that is there in sample after sample needs more slots. For service_role.

        Raises:
            PermissionDenied: the caller is another role (42501).
        """
        return await self._transport.run(calls.waiting_budgets())

    async def price_usage(
        self,
        model: str,
        usage: Mapping[str, int | str | bool],
        *,
        organization_id: UUID | None = None,
        provider: str | None = None,
        service_tier: str | None = None,
        at: datetime | None = None,
    ) -> PricedUsage:
        """Return what a usage costs, and by which price: at list price, or as an organization pays.

        Raises:
            UnknownId: no price is known, or nobody has checked it for too long (TS404).
            InvalidArgument: counts that are none (22023).
            PermissionDenied: the organization is somebody else's (42501).
        """
        call = calls.price_usage(
            model,
            usage,
            organization_id=organization_id,
            provider=provider,
            service_tier=service_tier,
            at=at,
        )
        return await self._transport.run(call)

    async def prices(
        self,
        *,
        provider: str | None = None,
        model: str | None = None,
        organization_id: UUID | None = None,
    ) -> list[CurrentPrice]:
        """Return the prices that hold now, of a provider and model by their listed names.

        With `organization_id`, only its contracts; a member also sees those of its own without.
        """
        call = calls.prices(provider=provider, model=model, organization_id=organization_id)
        return await self._transport.run(call)

    async def set_price(
        self,
        provider: str,
        model: str,
        rates: Rates | None,
        *,
        effective_from: datetime | None = None,
        service_tier: str | None = None,
        organization_id: UUID | None = None,
    ) -> Price:
        """Set what a model costs from `effective_from` (else now) on; None ends it.

        A list price, or, with `organization_id`, what that organization pays by contract. Nothing
        that was recorded is charged anew. For service_role.

        Raises:
            InvalidArgument: rates that are none (22023).
            UnknownId: no such organization (TS404).
            PermissionDenied: the caller is another role (42501).
        """
        call = calls.set_price(
            provider,
            model,
            rates,
            effective_from=effective_from,
            service_tier=service_tier,
            organization_id=organization_id,
        )
        return await self._transport.run(call)

    async def set_markup(
        self,
        organization_id: UUID,
        percent: Decimal | None,
        *,
        provider: str | None = None,
        model: str | None = None,
        effective_from: datetime | None = None,
    ) -> Markup:
        """Raise list prices for an organization by `percent`, below 0 lower them; None ends it.

        Of a model, else of a provider, else of all. Contract prices have none. For service_role.

        Raises:
            InvalidArgument: a percentage out of its bounds (22023).
            UnknownId: no such organization, provider or model (TS404).
            PermissionDenied: the caller is another role (42501).
        """
        call = calls.set_markup(
            organization_id, percent, provider=provider, model=model, effective_from=effective_from
        )
        return await self._transport.run(call)

    async def set_model_name(
        self,
        provider: str,
        name: str,
        model: str,
        *,
        match: str | None = None,
        model_provider: str | None = None,
    ) -> ModelName:
        """Let `name`, called at `provider`, mean `model`. For service_role.

        Raises:
            InvalidArgument: an unknown `match`, or a pattern that is none (22023).
            UnknownId: no such provider or model (TS404).
            PermissionDenied: the caller is another role (42501).
        """
        call = calls.set_model_name(
            provider, name, model, match=match, model_provider=model_provider
        )
        return await self._transport.run(call)

    async def load_prices(
        self,
        source: str,
        version: str,
        price_list: Mapping[str, object],
        max_age: timedelta | None,
    ) -> list[PriceChange]:
        """Load a price list, whole or not at all, and return what that changed.

        Its prices grant nothing once `max_age` has passed without a further load; None: they always
        do. `tallystick.pricing.genai` makes a list of the package genai-prices. For service_role.

        Raises:
            InvalidArgument: the list is malformed (22023).
            PermissionDenied: the caller is another role (42501).
        """
        call = calls.load_prices(source, version, price_list, max_age)
        return await self._transport.run(call)

    async def purchase_credits(
        self,
        org_id: UUID,
        amount_usd: Decimal,
        idempotency_key: str,
        *,
        expires_at: datetime | None = None,
        created_by: str | None = None,
    ) -> CreditMovement:
        """Book credits that an organization has paid, US dollars, and return the movement.

        What it owes is then collected, oldest first. With its first credits an organization pays
        in advance: each of its calls needs a run, or credits for the draw of its day. The same
        `idempotency_key`, which names the payment, is the same movement. For service_role.

        Raises:
            UnknownId: no such organization (TS404).
            RequestConflict: the key was used with other content (TS409).
            InvalidArgument: not above 0, or a time that is over (22023).
            PermissionDenied: the caller is another role (42501).
        """
        call = calls.purchase_credits(
            org_id, amount_usd, idempotency_key, expires_at=expires_at, created_by=created_by
        )
        return await self._transport.run(call)

    async def grant_credits(
        self,
        org_id: UUID,
        kind: str,
        amount_usd: Decimal,
        idempotency_key: str,
        *,
        expires_at: datetime | None = None,
        priority: int | None = None,
        model: str | None = None,
        created_by: str | None = None,
    ) -> CreditMovement:
        """Give an organization credits, US dollars, of a `kind`: promo or trial.

        They are used up by `priority` (0 to 1000, lowest first; trial 10, promo 20, purchases 30),
        then by expiry, then by age. With `model` they pay for runs of that model alone. The same
        `idempotency_key` is the same movement. For service_role.

        Raises:
            UnknownId: no such organization (TS404).
            RequestConflict: the key was used with other content (TS409).
            InvalidArgument: an unknown kind, or a value out of its bounds (22023).
            PermissionDenied: the caller is another role (42501).
        """
        call = calls.grant_credits(
            org_id,
            kind,
            amount_usd,
            idempotency_key,
            expires_at=expires_at,
            priority=priority,
            model=model,
            created_by=created_by,
        )
        return await self._transport.run(call)

    async def adjust_credits(
        self,
        org_id: UUID,
        amount_usd: Decimal,
        reason: str,
        idempotency_key: str,
        *,
        created_by: str | None = None,
    ) -> CreditMovement:
        """Add to credits, or with an amount below 0 take from what is available, US dollars.

        The same `idempotency_key` is the same movement. For service_role.

        Raises:
            BudgetExceeded: less than that is available (TS402).
            UnknownId: no such organization (TS404).
            RequestConflict: the key was used with other content (TS409).
            InvalidArgument: an amount of 0, or out of its bounds (22023).
            PermissionDenied: the caller is another role (42501).
        """
        call = calls.adjust_credits(
            org_id, amount_usd, reason, idempotency_key, created_by=created_by
        )
        return await self._transport.run(call)

    async def expire_credits(self, *, org_id: UUID | None = None, limit: int | None = None) -> int:
        """Take back expired credits, of at most `limit` organizations; return of how many.

        Housekeeping: nobody can spend them meanwhile. For service_role.

        Raises:
            PermissionDenied: the caller is another role (42501).
        """
        return await self._transport.run(calls.expire_credits(org_id=org_id, limit=limit))

    async def set_low_balance(self, org_id: UUID, low_balance_usd: Decimal | None) -> CreditBalance:
        """Say below which available amount, US dollars, to be warned; None for never.

        Each time it falls below, an event billing.low_balance is put into the outbox. For
        service_role, and for owners, admins and finance of the organization.

        Raises:
            UnknownId: the organization has no credits (TS404).
            InvalidArgument: a value out of its bounds (22023).
            PermissionDenied: the caller is none of those (42501).
        """
        return await self._transport.run(calls.set_low_balance(org_id, low_balance_usd))

    async def credit_balances(self, org_id: UUID) -> list[CreditBalance]:
        """Return the credits of an organization: one balance, or none if it pays afterwards."""
        return await self._transport.run(calls.credit_balances(org_id))

    async def credit_grants(self, org_id: UUID) -> list[CreditGrant]:
        """Return where the credits of an organization come from, in the order they are used up."""
        return await self._transport.run(calls.credit_grants(org_id))

    async def close_draws(self, *, org_id: UUID | None = None, limit: int | None = None) -> int:
        """Charge the draws of days that are over, of at most `limit` organizations.

        Returns how many were closed; one with an open hold stays. Housekeeping: the first call of
        another day does it too. For service_role.

        Raises:
            PermissionDenied: the caller is another role (42501).
        """
        return await self._transport.run(calls.close_draws(org_id=org_id, limit=limit))

    async def start_run(
        self,
        org_id: UUID,
        input_tokens: int,
        output_tokens: int,
        *,
        model: str | None = None,
        input_cost_usd: Decimal | None = None,
        output_cost_usd: Decimal | None = None,
        name: str | None = None,
        slots: int | None = None,
        request_id: str | None = None,
    ) -> Run:
        """Start a run that is expected to use so many tokens, and reserve their cost from credits.

        That is what is stated for input and output, US dollars, or the price of `model`. Calls
        that name the run (`run_id` of `authorize_spend`) spend from it. With `model` it may call
        that one alone. With more `slots`, more callers can spend from it at the same instant. The
        same `request_id` is the same run. For server roles.

        Raises:
            BudgetExceeded: credits do not suffice (TS402).
            UnknownId: no such organization (TS404).
            RequestConflict: the request id was used with other content (TS409).
            Frozen: the organization is frozen (TS423).
            InvalidArgument: neither costs nor a price, or a value out of its bounds (22023).
        """
        call = calls.start_run(
            org_id,
            input_tokens,
            output_tokens,
            model=model,
            input_cost_usd=input_cost_usd,
            output_cost_usd=output_cost_usd,
            name=name,
            slots=slots,
            request_id=request_id,
        )
        return await self._transport.run(call)

    async def extend_run(
        self,
        run_id: UUID,
        *,
        input_tokens: int | None = None,
        output_tokens: int | None = None,
        input_cost_usd: Decimal | None = None,
        output_cost_usd: Decimal | None = None,
        request_id: str | None = None,
        org_id: UUID | None = None,
    ) -> Run:
        """Raise the estimate of a run by so many tokens, and reserve their cost from credits too.

        That is what is stated, US dollars, or the price of the run's model. For server roles.

        Raises:
            BudgetExceeded: credits do not suffice (TS402).
            UnknownId: no such run (TS404).
            RequestConflict: the request id was used with other content (TS409).
            HoldClosed: the run has ended (TS410).
            InvalidArgument: neither costs nor a price, or a value out of its bounds (22023).
        """
        call = calls.extend_run(
            run_id,
            input_tokens=input_tokens,
            output_tokens=output_tokens,
            input_cost_usd=input_cost_usd,
            output_cost_usd=output_cost_usd,
            request_id=request_id,
            org_id=org_id,
        )
        return await self._transport.run(call)

    async def start_agent(self, run_id: UUID, name: str, *, org_id: UUID | None = None) -> Agent:
        """Start an agent in a run. For server roles.

        Raises:
            UnknownId: no such run (TS404).
            HoldClosed: the run has ended (TS410).
            InvalidArgument: an empty name (22023).
        """
        return await self._transport.run(calls.start_agent(run_id, name, org_id=org_id))

    async def start_task(
        self, run_id: UUID, name: str, *, agent_id: UUID | None = None, org_id: UUID | None = None
    ) -> Task:
        """Start a task in a run, of an agent of it if one is named. For server roles.

        Raises:
            UnknownId: no such run, or no such part of it (TS404).
            HoldClosed: the run has ended (TS410).
            InvalidArgument: an empty name (22023).
        """
        call = calls.start_task(run_id, name, agent_id=agent_id, org_id=org_id)
        return await self._transport.run(call)

    async def start_step(
        self,
        run_id: UUID,
        name: str,
        *,
        agent_id: UUID | None = None,
        task_id: UUID | None = None,
        org_id: UUID | None = None,
    ) -> Step:
        """Start a step in a run, of an agent and a task of it if they are named. For server roles.

        Raises:
            UnknownId: no such run, or no such part of it (TS404).
            HoldClosed: the run has ended (TS410).
            InvalidArgument: an empty name (22023).
        """
        call = calls.start_step(run_id, name, agent_id=agent_id, task_id=task_id, org_id=org_id)
        return await self._transport.run(call)

    async def end_part(self, org_id: UUID, part_id: UUID, *, status: str | None = None) -> str:
        """End an agent, task or step, and return how it ended; what has ended stays so.

        `status` is completed, cancelled or failed. Parts still running end with their run. For
        server roles.

        Raises:
            UnknownId: no such part (TS404).
            InvalidArgument: another status, or the run itself (22023).
        """
        return await self._transport.run(calls.end_part(org_id, part_id, status=status))

    async def record_token_call(
        self,
        run_id: UUID,
        agent_id: UUID | None,
        task_id: UUID | None,
        step_id: UUID | None,
        input_tokens: int | None,
        output_tokens: int | None,
        model: str,
        cost_usd: Decimal | None,
        *,
        error_code: str | None = None,
        error_message: str | None = None,
        is_estimated: bool | None = None,
        usage: Mapping[str, int | str | bool] | None = None,
        reported_total_tokens: int | None = None,
        hold_id: UUID | None = None,
        request_id: str | None = None,
        org_id: UUID | None = None,
    ) -> UUID:
        """Record a call of a run and return its id, which is that of its usage.

        Without an agent it is the main agent's, without a step it belongs to the run's own. A
        `cost_usd` of None is what the price says; `usage` has the tokens by class, as in
        `settle_spend`. An `error_code` (ZERO_TOKENS, MISMATCH, TIMEOUT, RATE_LIMIT, AUTH_ERROR,
        INVALID_RESPONSE) says that the counts are a guess; of a MISMATCH `reported_total_tokens` is
        what the provider had reported. With `hold_id` it settles the hold that was made for it.

        Real spend is never refused: beyond what the run has reserved it is recorded all the same,
        and after the run has ended it is charged as late usage. For server roles.

        Raises:
            UnknownId: no such run, or no such part or hold of it (TS404).
            RequestConflict: it was recorded with other content (TS409).
            InvalidArgument: an error that contradicts itself, or a value out of bounds (22023).
        """
        call = calls.record_token_call(
            run_id,
            agent_id,
            task_id,
            step_id,
            input_tokens,
            output_tokens,
            model,
            cost_usd,
            error_code=error_code,
            error_message=error_message,
            is_estimated=is_estimated,
            usage=usage,
            reported_total_tokens=reported_total_tokens,
            hold_id=hold_id,
            request_id=request_id,
            org_id=org_id,
        )
        return await self._transport.run(call)

    async def reconcile_run(self, run_id: UUID, *, org_id: UUID | None = None) -> UUID:
        """End a run by comparing estimate and records, and return the id of the reconciliation.

        As `complete_run`; again, it is the same id. For server roles.

        Raises:
            UnknownId: no such run (TS404).
            Frozen: one of its holds is open (TS423).
        """
        return await self._transport.run(calls.reconcile_run(run_id, org_id=org_id))

    async def complete_run(self, run_id: UUID, *, org_id: UUID | None = None) -> Reconciliation:
        """End a run that is done, and return its reconciliation.

        What it used is charged, the rest of its estimate refunded, a shortfall charged. Again, it
        is the same reconciliation, however the run ended. For server roles.

        Raises:
            UnknownId: no such run (TS404).
            Frozen: one of its holds is open (TS423).
        """
        return await self._transport.run(calls.complete_run(run_id, org_id=org_id))

    async def cancel_run(self, run_id: UUID, *, org_id: UUID | None = None) -> Reconciliation:
        """End a run that is not wanted any more, and return its reconciliation.

        Its open holds are released; a call that is settled afterwards is charged as late usage.
        What it used is charged, the rest refunded. For server roles.

        Raises:
            UnknownId: no such run (TS404).
        """
        return await self._transport.run(calls.cancel_run(run_id, org_id=org_id))

    async def fail_run(
        self, run_id: UUID, *, cause: str | None = None, org_id: UUID | None = None
    ) -> Reconciliation:
        """End a run that went wrong, and return its reconciliation.

        Its open holds are released. What it used is charged, the rest refunded by its `cause`:
        partial_failure, or agent_crash. For server roles.

        Raises:
            UnknownId: no such run (TS404).
            InvalidArgument: another cause (22023).
        """
        return await self._transport.run(calls.fail_run(run_id, cause=cause, org_id=org_id))

    async def runs(
        self, org_id: UUID, *, status: str | None = None, limit: int | None = None
    ) -> list[Run]:
        """Return the runs of an organization, the newest in front.

        With `status`, only those that are running, completed, cancelled or failed; at most `limit`.
        """
        return await self._transport.run(calls.runs(org_id, status=status, limit=limit))

    async def reconciliations(
        self,
        org_id: UUID,
        *,
        run_id: UUID | None = None,
        status: str | None = None,
        limit: int | None = None,
    ) -> list[Reconciliation]:
        """Return how runs of an organization were reconciled, the newest in front.

        With `run_id` that of one run, with `status` only those in it; at most `limit`.
        """
        call = calls.reconciliations(org_id, run_id=run_id, status=status, limit=limit)
        return await self._transport.run(call)

    async def dispute_reconciliation(
        self, run_id: UUID, *, notes: str | None = None, org_id: UUID | None = None
    ) -> Reconciliation:
        """Object to what a run was charged: its reconciliation is DISPUTED from now on.

        For server roles, and for owners and finance of the organization.

        Raises:
            UnknownId: no such run, or it is not reconciled (TS404).
            InvalidArgument: notes of more than 10000 characters (22023).
            PermissionDenied: the caller is none of those (42501).
        """
        call = calls.dispute_reconciliation(run_id, notes=notes, org_id=org_id)
        return await self._transport.run(call)

    async def resolve_dispute(
        self,
        run_id: UUID,
        *,
        refund_usd: Decimal | None = None,
        notes: str | None = None,
        org_id: UUID | None = None,
    ) -> Reconciliation:
        """Resolve a dispute and refund `refund_usd`, US dollars, of what the run cost.

        What the run still owes is waived first, the rest goes back to the credits it came from.
        What is resolved stays so. For service_role.

        Raises:
            UnknownId: no such run (TS404).
            HoldClosed: nothing is disputed (TS410).
            InvalidArgument: more than the run was charged (22023).
            PermissionDenied: the caller is another role (42501).
        """
        call = calls.resolve_dispute(run_id, refund_usd=refund_usd, notes=notes, org_id=org_id)
        return await self._transport.run(call)

    async def get_statement(self, org_id: UUID, month: date) -> Statement:
        """Return the month that a day is in, on one page, in the organization's time zone.

        Opening balance and movements add up to the closing balance. For members and server roles.

        Raises:
            UnknownId: no such organization (TS404).
            PermissionDenied: the organization is somebody else's (42501).
        """
        return await self._transport.run(calls.get_statement(org_id, month))

    async def record_transaction_bundle(
        self,
        organization_id: UUID,
        bundle: Bundle,
        *,
        actor: str | None = None,
    ) -> BundleResponse:
        """Book a bundle, once however often it is sent, and return the response.

        A refusal is returned too, so that the event which remembers it is kept: `error` of the
        response is the exception to raise. Above a policy's threshold the bundle is proposed and
        waits for approval. For owners, admins, finance and server roles, which may name
        the `actor` they act for.

        Raises:
            UnknownId: no such organization (TS404).
            InvalidArgument: a blank correlation id (22023).
            PermissionDenied: the caller keeps no books of the organization (42501).
        """
        call = calls.record_transaction_bundle(organization_id, bundle, actor=actor)
        return await self._transport.run(call)

    async def reverse_transaction(
        self,
        organization_id: UUID,
        transaction_id: str,
        transaction_date: date,
        correlation_id: str,
        *,
        description: str | None = None,
        adjusting_reason_code: str | None = None,
        override_period_lock: bool | None = None,
        actor: str | None = None,
    ) -> BundleResponse:
        """Undo a transaction by a new one of the other sign, and return the response.

        It is booked at `transaction_date` and linked to the transaction, which is undone once. An
        `adjusting_reason_code` makes it an adjusting entry. It passes policy and period as any
        bundle does. For owners, admins, finance and server roles.

        Raises:
            UnknownId: no such organization (TS404).
            InvalidArgument: a blank correlation id (22023).
            PermissionDenied: the caller keeps no books of the organization (42501).
        """
        call = calls.reverse_transaction(
            organization_id,
            transaction_id,
            transaction_date,
            correlation_id,
            description=description,
            adjusting_reason_code=adjusting_reason_code,
            override_period_lock=override_period_lock,
            actor=actor,
        )
        return await self._transport.run(call)

    async def set_entity(
        self,
        organization_id: UUID,
        code: str,
        name: str,
        *,
        metadata: Mapping[str, object] | None = None,
        entity_id: str | None = None,
        correlation_id: str | None = None,
        actor: str | None = None,
    ) -> Entity:
        """Open an entity with a code of its own, or rename the one that has it.

        For owners, admins, finance and server roles.

        Raises:
            UnknownId: no such organization (TS404).
            InvalidArgument: a blank name, or an id that is another's (22023).
            PermissionDenied: the caller keeps no books of the organization (42501).
        """
        call = calls.set_entity(
            organization_id,
            code,
            name,
            metadata=metadata,
            entity_id=entity_id,
            correlation_id=correlation_id,
            actor=actor,
        )
        return await self._transport.run(call)

    async def set_account(
        self,
        organization_id: UUID,
        code: str,
        name: str,
        account_type: str,
        *,
        parent_account_id: str | None = None,
        entity_id: str | None = None,
        metadata: Mapping[str, object] | None = None,
        account_id: str | None = None,
        correlation_id: str | None = None,
        actor: str | None = None,
    ) -> Account:
        """Open an account with a code of its own, or change the one that has it.

        `account_type` is asset, liability, equity, income or expense, and stays once something is
        booked on it; a parent is of the same entity. For owners, admins, finance and server roles.

        Raises:
            UnknownId: no such organization, entity or parent (TS404).
            InvalidArgument: a blank name, an unknown type, or a parent below the account (22023).
            AppendOnly: another type for an account with postings (23001).
            PermissionDenied: the caller keeps no books of the organization (42501).
        """
        call = calls.set_account(
            organization_id,
            code,
            name,
            account_type,
            parent_account_id=parent_account_id,
            entity_id=entity_id,
            metadata=metadata,
            account_id=account_id,
            correlation_id=correlation_id,
            actor=actor,
        )
        return await self._transport.run(call)

    async def record_balance_snapshot(
        self,
        organization_id: UUID,
        source_system: str,
        account_id: str,
        snapshot_date: date,
        balance: Decimal,
        *,
        source_artifact_id: str | None = None,
        correlation_id: str | None = None,
        actor: str | None = None,
    ) -> BalanceSnapshot:
        """Keep what others say an account had at the end of a day, in US dollars.

        Stated again for the same day, it is replaced. For owners, admins, finance and server roles.

        Raises:
            UnknownId: no such organization or account (TS404).
            InvalidArgument: no finite amount or day (22023).
            PermissionDenied: the caller keeps no books of the organization (42501).
        """
        call = calls.record_balance_snapshot(
            organization_id,
            source_system,
            account_id,
            snapshot_date,
            balance,
            source_artifact_id=source_artifact_id,
            correlation_id=correlation_id,
            actor=actor,
        )
        return await self._transport.run(call)

    async def compare_snapshots(
        self,
        organization_id: UUID,
        *,
        entity_id: str | None = None,
    ) -> list[SnapshotDifference]:
        """List balances that others stated beside those of the books.

        For owners, admins, finance and server roles.

        Raises:
            UnknownId: no such organization or entity (TS404).
            PermissionDenied: the caller may not read the books (42501).
        """
        call = calls.compare_snapshots(organization_id, entity_id=entity_id)
        return await self._transport.run(call)

    async def set_obligation(
        self,
        organization_id: UUID,
        source_system: str,
        name: str,
        cadence: str,
        expected_amount: Decimal,
        next_due_date: date,
        *,
        account_id: str | None = None,
        variability_flag: bool | None = None,
        metadata: Mapping[str, object] | None = None,
        entity_id: str | None = None,
        active: bool | None = None,
        correlation_id: str | None = None,
        actor: str | None = None,
    ) -> Obligation:
        """State what will be due, in US dollars, or restate it: one per source, name and account.

        `cadence` is monthly, annual or custom; a custom one comes again after ``interval_days`` of
        its `metadata`. One that had ended is active again, unless `active` is false. For owners,
        admins, finance and server roles.

        Raises:
            UnknownId: no such organization, account or entity (TS404).
            InvalidArgument: no finite amount or day, or an unknown cadence (22023).
            PermissionDenied: the caller keeps no books of the organization (42501).
        """
        call = calls.set_obligation(
            organization_id,
            source_system,
            name,
            cadence,
            expected_amount,
            next_due_date,
            account_id=account_id,
            variability_flag=variability_flag,
            metadata=metadata,
            entity_id=entity_id,
            active=active,
            correlation_id=correlation_id,
            actor=actor,
        )
        return await self._transport.run(call)

    async def roll_obligations(
        self,
        organization_id: UUID,
        day: date,
        *,
        correlation_id: str | None = None,
        actor: str | None = None,
    ) -> list[Obligation]:
        """Move on what was due before a day to when it is due again, and return that.

        The day of the month is kept over shorter months. For owners, admins, finance and server
        roles.

        Raises:
            UnknownId: no such organization (TS404).
            PermissionDenied: the caller keeps no books of the organization (42501).
        """
        call = calls.roll_obligations(
            organization_id, day, correlation_id=correlation_id, actor=actor
        )
        return await self._transport.run(call)

    async def get_account_map(self, organization_id: UUID) -> list[AccountMapLine]:
        """List on which account each line of what billing posts is booked.

        For owners, admins, finance and server roles.

        Raises:
            UnknownId: no such organization (TS404).
            PermissionDenied: the caller may not read the books (42501).
        """
        return await self._transport.run(calls.get_account_map(organization_id))

    async def set_account_map(
        self,
        organization_id: UUID,
        line: str,
        account_id: str,
        *,
        correlation_id: str | None = None,
        actor: str | None = None,
    ) -> AccountMapping:
        """Name the account of a line of what billing posts, from now on.

        What was posted stays where it is. `line` is one of `AccountMapping`; the account is of
        entity-default, and of the line's type. For owners, admins, finance and server roles.

        Raises:
            UnknownId: no such organization or account (TS404).
            InvalidArgument: an unknown line, or an account of another type (22023).
            PermissionDenied: the caller keeps no books of the organization (42501).
        """
        call = calls.set_account_map(
            organization_id, line, account_id, correlation_id=correlation_id, actor=actor
        )
        return await self._transport.run(call)

    async def post_provider_cost(
        self, *, organization_id: UUID | None = None, day: date | None = None
    ) -> int:
        """Post what providers ask for the usage of a day; return for how many days there was any.

        Without a day of all that are over and not posted, without an organization of all; daily
        maintenance does that. What lands later is posted the day it is noticed, with its own day
        beside it. For service_role.

        Raises:
            UnknownId: no such organization (TS404).
            InvalidArgument: the day is not over (22023).
            PermissionDenied: the caller is another role (42501).
        """
        call = calls.post_provider_cost(organization_id=organization_id, day=day)
        return await self._transport.run(call)

    async def post_history(self, *, organization_id: UUID | None = None) -> int:
        """Post what billing did before the books were kept; return how many movements.

        What moves today posts itself. For service_role.

        Raises:
            UnknownId: no such organization (TS404).
            PermissionDenied: the caller is another role (42501).
        """
        return await self._transport.run(calls.post_history(organization_id=organization_id))

    async def close_period(
        self,
        organization_id: UUID,
        period_key: str,
        correlation_id: str,
        *,
        entity_id: str | None = None,
        actor: str | None = None,
    ) -> PeriodAnswer:
        """Close a month (``2026-01``) of an entity: it takes adjusting entries only.

        A locked one is refused: the answer says so. For owners, admins, finance and server roles.

        Raises:
            UnknownId: no such organization or entity (TS404).
            InvalidArgument: no month, or a blank correlation id (22023).
            PermissionDenied: the caller keeps no books of the organization (42501).
        """
        call = calls.close_period(
            organization_id, period_key, correlation_id, entity_id=entity_id, actor=actor
        )
        return await self._transport.run(call)

    async def lock_period(
        self,
        organization_id: UUID,
        period_key: str,
        correlation_id: str,
        *,
        entity_id: str | None = None,
        actor: str | None = None,
    ) -> PeriodAnswer:
        """Lock a month (``2026-01``) of an entity for good.

        It takes nothing but what overrides the lock and was approved. For owners, admins, finance
        and server roles.

        Raises:
            UnknownId: no such organization or entity (TS404).
            InvalidArgument: no month, or a blank correlation id (22023).
            PermissionDenied: the caller keeps no books of the organization (42501).
        """
        call = calls.lock_period(
            organization_id, period_key, correlation_id, entity_id=entity_id, actor=actor
        )
        return await self._transport.run(call)

    async def reopen_period(
        self,
        organization_id: UUID,
        period_key: str,
        correlation_id: str,
        *,
        entity_id: str | None = None,
        actor: str | None = None,
    ) -> PeriodAnswer:
        """Open a closed month (``2026-01``) of an entity again.

        A locked one stays locked: the answer says so. For owners, admins, finance and server roles.

        Raises:
            UnknownId: no such organization or entity (TS404).
            InvalidArgument: no month, or a blank correlation id (22023).
            PermissionDenied: the caller keeps no books of the organization (42501).
        """
        call = calls.reopen_period(
            organization_id, period_key, correlation_id, entity_id=entity_id, actor=actor
        )
        return await self._transport.run(call)

    async def trial_balance(
        self,
        organization_id: UUID,
        *,
        first_day: date | None = None,
        last_day: date | None = None,
        entity_id: str | None = None,
    ) -> list[TrialBalanceLine]:
        """Return every account over a span of days, of one entity or of all.

        Both days belong to the span; without one it is open there. For owners, admins, finance and
        server roles.

        Raises:
            UnknownId: no such organization or entity (TS404).
            PermissionDenied: the caller may not read the books (42501).
        """
        call = calls.trial_balance(
            organization_id, first_day=first_day, last_day=last_day, entity_id=entity_id
        )
        return await self._transport.run(call)

    async def account_ledger(
        self,
        organization_id: UUID,
        account_id: str,
        *,
        first_day: date | None = None,
        last_day: date | None = None,
    ) -> list[AccountLedgerLine]:
        """Return every posting of an account over a span of days, with the balance after it.

        For owners, admins, finance and server roles.

        Raises:
            UnknownId: no such organization or account (TS404).
            PermissionDenied: the caller may not read the books (42501).
        """
        call = calls.account_ledger(
            organization_id, account_id, first_day=first_day, last_day=last_day
        )
        return await self._transport.run(call)

    async def balance_as_of(
        self,
        organization_id: UUID,
        account_id: str,
        *,
        day: date | None = None,
        with_parts: bool | None = None,
    ) -> Decimal:
        """Return what an account had at the end of a day, in US dollars: above 0 debit.

        Without a day, what it has; `with_parts` adds all accounts below it. For owners, admins,
        finance and server roles.

        Raises:
            UnknownId: no such organization or account (TS404).
            PermissionDenied: the caller may not read the books (42501).
        """
        call = calls.balance_as_of(organization_id, account_id, day=day, with_parts=with_parts)
        return await self._transport.run(call)

    async def income_statement(
        self,
        organization_id: UUID,
        *,
        first_day: date | None = None,
        last_day: date | None = None,
        entity_id: str | None = None,
    ) -> list[StatementLine]:
        """Return income and expenses over a span of days, their sums and the net income.

        Of one entity, or of all. For owners, admins, finance and server roles.

        Raises:
            UnknownId: no such organization or entity (TS404).
            PermissionDenied: the caller may not read the books (42501).
        """
        call = calls.income_statement(
            organization_id, first_day=first_day, last_day=last_day, entity_id=entity_id
        )
        return await self._transport.run(call)

    async def balance_sheet(
        self,
        organization_id: UUID,
        *,
        day: date | None = None,
        entity_id: str | None = None,
    ) -> list[StatementLine]:
        """Return assets, liabilities and equity at the end of a day, and their sums.

        Of one entity, or of all. Income less expenses so far are the earnings in equity. For
        owners, admins, finance and server roles.

        Raises:
            UnknownId: no such organization or entity (TS404).
            PermissionDenied: the caller may not read the books (42501).
        """
        call = calls.balance_sheet(organization_id, day=day, entity_id=entity_id)
        return await self._transport.run(call)

    async def entities(
        self,
        organization_id: UUID,
    ) -> list[Entity]:
        """List who keeps books within an organization, as far as the caller may see."""
        call = calls.entities(organization_id)
        return await self._transport.run(call)

    async def accounts(
        self,
        organization_id: UUID,
        *,
        entity_id: str | None = None,
    ) -> list[Account]:
        """List the accounts that the caller may see, by code."""
        call = calls.accounts(organization_id, entity_id=entity_id)
        return await self._transport.run(call)

    async def accounting_periods(
        self,
        organization_id: UUID,
        *,
        entity_id: str | None = None,
        status: str | None = None,
    ) -> list[AccountingPeriod]:
        """List the months that have a row and the caller may see, the last in front."""
        call = calls.accounting_periods(organization_id, entity_id=entity_id, status=status)
        return await self._transport.run(call)

    async def obligations(
        self,
        organization_id: UUID,
        *,
        entity_id: str | None = None,
        active: bool | None = None,
    ) -> list[Obligation]:
        """List the obligations that the caller may see, what is due first in front."""
        call = calls.obligations(organization_id, entity_id=entity_id, active=active)
        return await self._transport.run(call)

    async def ledger_transactions(
        self,
        organization_id: UUID,
        *,
        entity_id: str | None = None,
        transaction_id: str | None = None,
        source_system: str | None = None,
        external_id: str | None = None,
        limit: int | None = None,
    ) -> list[LedgerTransaction]:
        """List the transactions that the caller may see, the last day in front."""
        call = calls.ledger_transactions(
            organization_id,
            entity_id=entity_id,
            transaction_id=transaction_id,
            source_system=source_system,
            external_id=external_id,
            limit=limit,
        )
        return await self._transport.run(call)

    async def ledger_postings(
        self,
        organization_id: UUID,
        *,
        entity_id: str | None = None,
        transaction_id: str | None = None,
        account_id: str | None = None,
        limit: int | None = None,
    ) -> list[LedgerPosting]:
        """List the postings that the caller may see, in the order they were made."""
        call = calls.ledger_postings(
            organization_id,
            entity_id=entity_id,
            transaction_id=transaction_id,
            account_id=account_id,
            limit=limit,
        )
        return await self._transport.run(call)

    async def assert_event(
        self,
        domain: str,
        event_type: str,
        *,
        payload: Mapping[str, object] | None = None,
        entity_type: str | None = None,
        entity_id: str | None = None,
        occurred_at: datetime | None = None,
        owner_user_id: UUID | None = None,
        owner_agent_id: str | None = None,
        country_code: str | None = None,
        region_code: str | None = None,
        city_code: str | None = None,
        locality_code: str | None = None,
        logical_id: UUID | None = None,
        organization_id: UUID | None = None,
    ) -> Event:
        """Write a receipt into the journal: which ledger, what happened, the facts.

        Its owner is the caller; a server role states one. The tenant is the owner, unless an
        organization is stated. `logical_id` names it, so that a retry cannot write it twice. For
        owners in their own tenant or an organization of theirs, and server roles.

        Raises:
            StaleHead: an event of that `logical_id` is there (TS419).
            PermissionDenied: the owner, or the tenant, is not the caller's (42501).
            InvalidArgument: no owner, a blank text, or a payload against the rules (22023).
        """
        call = calls.assert_event(
            domain,
            event_type,
            payload=payload,
            entity_type=entity_type,
            entity_id=entity_id,
            occurred_at=occurred_at,
            owner_user_id=owner_user_id,
            owner_agent_id=owner_agent_id,
            country_code=country_code,
            region_code=region_code,
            city_code=city_code,
            locality_code=locality_code,
            logical_id=logical_id,
            organization_id=organization_id,
        )
        return await self._transport.run(call)

    async def amend_event(
        self,
        logical_id: UUID,
        *,
        payload: Mapping[str, object] | None = None,
        supersedes_id: UUID | None = None,
        event_type: str | None = None,
        occurred_at: datetime | None = None,
        organization_id: UUID | None = None,
    ) -> Event:
        """Correct an event of the journal by a new revision, and return that.

        `payload` replaces the facts; what is left out stays. `supersedes_id` is the revision that
        was read: where another has come since, it is refused. For the owner, and server roles,
        which name the tenant.

        Raises:
            UnknownId: no such event (TS404).
            StaleHead: somebody else has revised it since (TS419).
            PermissionDenied: the event is somebody else's (42501).
            InvalidArgument: it is voided, or a payload against the rules (22023).
        """
        call = calls.amend_event(
            logical_id,
            payload=payload,
            supersedes_id=supersedes_id,
            event_type=event_type,
            occurred_at=occurred_at,
            organization_id=organization_id,
        )
        return await self._transport.run(call)

    async def void_event(
        self,
        logical_id: UUID,
        void_reason: str,
        *,
        voided_by: str | None = None,
        supersedes_id: UUID | None = None,
        organization_id: UUID | None = None,
    ) -> Event:
        """Say by a new revision that an event of the journal does not count, and return that.

        It keeps the facts and says why and by whom: the caller, and a server role states it. For
        the owner, and server roles, which name the tenant.

        Raises:
            UnknownId: no such event (TS404).
            StaleHead: somebody else has revised it since `supersedes_id` was read (TS419).
            PermissionDenied: the event is somebody else's (42501).
            InvalidArgument: it is voided already, a blank reason, or nobody who did it (22023).
        """
        call = calls.void_event(
            logical_id,
            void_reason,
            voided_by=voided_by,
            supersedes_id=supersedes_id,
            organization_id=organization_id,
        )
        return await self._transport.run(call)

    async def restate_event(
        self,
        logical_id: UUID,
        *,
        payload: Mapping[str, object] | None = None,
        supersedes_id: UUID | None = None,
        organization_id: UUID | None = None,
    ) -> Event:
        """Say by a new revision that a voided event of the journal counts again, and return that.

        `payload` replaces the facts; without it they stay, those of the void included. For the
        owner, and server roles, which name the tenant.

        Raises:
            UnknownId: no such event (TS404).
            StaleHead: somebody else has revised it since `supersedes_id` was read (TS419).
            PermissionDenied: the event is somebody else's (42501).
            InvalidArgument: it is not voided, or a payload against the rules (22023).
        """
        call = calls.restate_event(
            logical_id,
            payload=payload,
            supersedes_id=supersedes_id,
            organization_id=organization_id,
        )
        return await self._transport.run(call)

    async def current_events(
        self,
        *,
        owner_user_id: UUID | None = None,
        organization_id: UUID | None = None,
        domain: str | None = None,
        entity_type: str | None = None,
        entity_id: str | None = None,
        limit: int | None = None,
    ) -> list[Event]:
        """Return the events of an owner, a tenant or both, each as it stands, the last in front.

        Voided ones too: see `Event.counts`. Also by domain and by what they are about; at most
        `limit`. Without an owner or a tenant it is a TypeError.
        """
        call = calls.current_events(
            owner_user_id=owner_user_id,
            organization_id=organization_id,
            domain=domain,
            entity_type=entity_type,
            entity_id=entity_id,
            limit=limit,
        )
        return await self._transport.run(call)

    async def event_revisions(self, organization_id: UUID, logical_id: UUID) -> list[Event]:
        """Return all revisions of an event of the journal, the first in front."""
        return await self._transport.run(calls.event_revisions(organization_id, logical_id))

    async def set_policy_rule(
        self,
        organization_id: UUID,
        rule_id: str,
        threshold_amount: Decimal,
        *,
        priority: int | None = None,
        tool_name: str | None = None,
        entity_id: str | None = None,
        transaction_category: str | None = None,
        risk_band: str | None = None,
        model: str | None = None,
        velocity_limit_count: int | None = None,
        velocity_window_seconds: int | None = None,
        required_approvals: int | None = None,
        allows_asserted: bool | None = None,
        metadata: Mapping[str, object] | None = None,
    ) -> PolicyRule:
        """Set a rule about what needs approval, or another in its place; for owners and admins.

        The first active rule that matches decides, by `priority` (100, lowest first) and id; what
        is left out matches anything. Strictly above `threshold_amount` US dollars, or beyond
        `velocity_limit_count` within `velocity_window_seconds`, as many different persons have to
        approve as `required_approvals` says (1). Those whom a server names count only with
        `allows_asserted`. `tool_name` is record_transaction_bundle or authorize_spend, the latter
        also by `model`.
        """
        return await self._transport.run(
            calls.set_policy_rule(
                organization_id,
                rule_id,
                threshold_amount,
                priority=priority,
                tool_name=tool_name,
                entity_id=entity_id,
                transaction_category=transaction_category,
                risk_band=risk_band,
                model=model,
                velocity_limit_count=velocity_limit_count,
                velocity_window_seconds=velocity_window_seconds,
                required_approvals=required_approvals,
                allows_asserted=allows_asserted,
                metadata=metadata,
            )
        )

    async def retire_policy_rule(self, organization_id: UUID, rule_id: str) -> PolicyRule:
        """Let a policy rule match nothing any more; what it has asked for still waits.

        Raises:
            UnknownId: the organization has no such rule (TS404).
        """
        return await self._transport.run(calls.retire_policy_rule(organization_id, rule_id))

    async def policy_rules(
        self, organization_id: UUID, *, active: bool | None = None
    ) -> list[PolicyRule]:
        """List the policy rules of an organization by priority, retired ones too by default."""
        return await self._transport.run(calls.policy_rules(organization_id, active=active))

    async def proposals(
        self,
        organization_id: UUID,
        *,
        status: str | None = None,
        tool_name: str | None = None,
        limit: int | None = None,
    ) -> list[Proposal]:
        """List what waits for approval, or did; what was proposed first comes first."""
        return await self._transport.run(
            calls.proposals(organization_id, status=status, tool_name=tool_name, limit=limit)
        )

    async def approval_decisions(
        self, organization_id: UUID, proposal_id: str
    ) -> list[ApprovalDecision]:
        """List who has approved or rejected a proposal, the first in front."""
        return await self._transport.run(calls.approval_decisions(organization_id, proposal_id))

    async def approve_proposal(
        self,
        organization_id: UUID,
        proposal_id: str,
        *,
        reason: str | None = None,
        actor: str | None = None,
        correlation_id: str | None = None,
    ) -> ApprovalOutcome:
        """Approve a proposal; the last approval that is needed commits it.

        A bundle is then booked; a call of a model may be made for 24 hours, by asking again with
        its request id. A server says who approves (`actor`), a signed-in person does not. Nobody
        approves what they proposed. A refusal is an answer and on record: see `ApprovalOutcome`.

        Raises:
            UnknownId: the organization has no such proposal (TS404).
        """
        return await self._transport.run(
            calls.approve_proposal(
                organization_id,
                proposal_id,
                reason=reason,
                actor=actor,
                correlation_id=correlation_id,
            )
        )

    async def reject_proposal(
        self,
        organization_id: UUID,
        proposal_id: str,
        *,
        reason: str | None = None,
        actor: str | None = None,
        correlation_id: str | None = None,
    ) -> ApprovalOutcome:
        """Reject a proposal, which ends it; whoever proposed it may take it back so.

        Raises:
            UnknownId: the organization has no such proposal (TS404).
        """
        return await self._transport.run(
            calls.reject_proposal(
                organization_id,
                proposal_id,
                reason=reason,
                actor=actor,
                correlation_id=correlation_id,
            )
        )

    async def record_venture_usage(
        self,
        venture_id: UUID,
        lifecycle_stage: int,
        agent_type: str,
        model_id: str | None,
        tokens_input: int | None,
        tokens_output: int | None,
        cost_usd: Decimal | None,
        *,
        phase: str | None = None,
        job_id: UUID | None = None,
        crew_id: str | None = None,
        budget_profile: str | None = None,
        is_simulation: bool | None = None,
        simulation_run_id: UUID | None = None,
        operation_type: str | None = None,
        metadata: Mapping[str, object] | None = None,
        request_id: str | None = None,
        organization_id: UUID | None = None,
        hold_id: UUID | None = None,
        usage: Mapping[str, int | str | bool] | None = None,
    ) -> VentureUsage:
        """Record what a venture used: its row, the usage and every total, or nothing.

        Without a cost it is the price's. It counts to the share of `budget_profile`, standard
        unless stated; a simulation counts to nothing. `hold_id` settles the hold that was made for
        it; `usage` says the tokens by class. A retry with the same `request_id` and content is one
        record. For server roles.

        Raises:
            UnknownId: no such venture or hold (TS404).
            RequestConflict: the request id, or the hold, was used with other content (TS409).
            PermissionDenied: the caller is another role (42501).
            InvalidArgument: neither cost nor price, an unknown profile or phase, amounts or texts
                that are out of bounds (22023).
        """
        call = calls.record_venture_usage(
            venture_id,
            lifecycle_stage,
            agent_type,
            model_id,
            tokens_input,
            tokens_output,
            cost_usd,
            phase=phase,
            job_id=job_id,
            crew_id=crew_id,
            budget_profile=budget_profile,
            is_simulation=is_simulation,
            simulation_run_id=simulation_run_id,
            operation_type=operation_type,
            metadata=metadata,
            request_id=request_id,
            organization_id=organization_id,
            hold_id=hold_id,
            usage=usage,
        )
        return await self._transport.run(call)

    async def allocate_venture_budget(
        self,
        organization_id: UUID,
        venture_id: UUID,
        budget_profile: str,
        percent: Decimal | None,
    ) -> VentureAllocation:
        """Give a profile of a venture its share of each budget of the venture, and return all.

        None leaves it without one, so that only the venture's budget caps it; 0 closes it. A call
        of the venture counts to the profile that its tag budget_profile names, else to standard.
        Whenever a limit of the venture changes, the shares are cut anew. For owners, admins and
        service_role.

        Raises:
            UnknownId: no such organization or venture (TS404).
            PermissionDenied: the caller may not set budgets (42501).
            InvalidArgument: an unknown profile, more than two decimals, or more than 100 percent
                together (22023).
        """
        call = calls.allocate_venture_budget(organization_id, venture_id, budget_profile, percent)
        return await self._transport.run(call)

    async def venture_profiles(
        self, organization_id: UUID, *, venture_id: UUID | None = None
    ) -> list[VentureProfile]:
        """Return what each profile of ventures that has a share has left of it, by window."""
        call = calls.venture_profiles(organization_id, venture_id=venture_id)
        return await self._transport.run(call)

    async def venture_spend(
        self, organization_id: UUID, *, venture_id: UUID | None = None
    ) -> list[VentureSpend]:
        """Return what ventures used by stage, phase and kind of agent, simulations apart."""
        return await self._transport.run(
            calls.venture_spend(organization_id, venture_id=venture_id)
        )

    async def acknowledge_events(self, organization_id: UUID, ids: Sequence[UUID]) -> int:
        """Mark events of the outbox as delivered, and return how many were not yet.

        For service_role.

        Raises:
            UnknownId: no such organization (TS404).
            PermissionDenied: the caller is another role (42501).
        """
        return await self._transport.run(calls.acknowledge_events(organization_id, ids))

    async def create_organization(self, name: str, *, time_zone: str | None = None) -> Organization:
        """Create an organization, by default in UTC; a signed-in caller becomes its owner.

        For service_role and signed-in callers.

        Raises:
            PermissionDenied: the caller is neither (42501).
            InvalidArgument: an empty name or an unknown time zone (22023).
        """
        return await self._transport.run(calls.create_organization(name, time_zone=time_zone))

    async def verify_integrity(
        self, *, organization_id: UUID | None = None, full: bool = False
    ) -> list[Finding]:
        """Prove the books, since the last checkpoint or in full: a finding per broken invariant."""
        return await self._transport.run(
            calls.verify_integrity(organization_id=organization_id, full=full)
        )

    async def make_checkpoint(self, *, full: bool = False) -> list[Finding]:
        """Prove the books; where nothing is wrong, the next check begins here. For service_role."""
        return await self._transport.run(calls.make_checkpoint(full=full))

    async def seal_ledgers(self, *, limit: int | None = None) -> Seal | None:
        """Seal what was committed since the last seal, at most `limit` rows of each ledger.

        Returns the seal, or None where there was nothing to seal. For service_role.
        """
        return await self._transport.run(calls.seal_ledgers(limit=limit))

    async def verify_seals(
        self, *, organization_id: UUID | None = None, published_hash: str | None = None
    ) -> list[SealFinding]:
        """Prove that nothing sealed was altered: one finding per row, root or seal that was.

        Args:
            organization_id: whose rows; all when omitted.
            published_hash: hash of a seal that was kept elsewhere: it must be in the chain.
        """
        return await self._transport.run(
            calls.verify_seals(organization_id=organization_id, published_hash=published_hash)
        )

    async def seals(self, *, limit: int = 1) -> list[Seal]:
        """Return the newest seals, newest first."""
        return await self._transport.run(calls.seals(limit=limit))


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
