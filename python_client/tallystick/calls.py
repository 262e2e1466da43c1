"""What to ask and how to read the answer: one pure function per exposed SQL function or listing.

Each returns a `Call` (schema, function, named arguments) or a `Read` (relation, columns, filters),
with the reader of its result. Nothing here touches a database, so sync and async, psycopg and HTTP
share these lines and cannot drift apart. Arguments are checked by type only; values are the
database's to judge (22023), so there is one authority. An optional argument left at None is not
sent and the SQL default applies; a required one is always sent, None as null.
"""

from __future__ import annotations

import json
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from datetime import date, datetime, timedelta
from decimal import Decimal
from typing import Generic, TypeAlias, TypeVar, cast
from uuid import UUID

from tallystick.items import Bundle, Posting, Settlement, SpendRequest
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
    Row,
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
    columns,
    from_row,
    to_bool,
    to_bundle_response,
    to_decimal,
    to_int,
    to_statement,
    to_text,
    to_uuid,
)

__all__ = [
    "account_ledger",
    "accounting_periods",
    "accounts",
    "acknowledge_events",
    "adjust_credits",
    "allocate_venture_budget",
    "amend_event",
    "approval_decisions",
    "approve_proposal",
    "assert_event",
    "authorize_spend",
    "authorize_spend_batch",
    "balance_as_of",
    "balance_sheet",
    "budgets",
    "cancel_run",
    "change_budget",
    "check_organization_monthly_quota",
    "check_workflow_cost_limit",
    "close_draws",
    "close_period",
    "compare_snapshots",
    "complete_run",
    "create_organization",
    "credit_balances",
    "credit_grants",
    "current_events",
    "dispute_reconciliation",
    "end_part",
    "entities",
    "estimate_spend",
    "estimate_workflow_cost_limit",
    "event_revisions",
    "expire_credits",
    "expire_holds",
    "extend_hold",
    "extend_run",
    "fail_run",
    "freeze",
    "get_account_map",
    "get_organization_monthly_ai_cost",
    "get_statement",
    "grant_credits",
    "holds",
    "income_statement",
    "ledger_postings",
    "ledger_transactions",
    "load_prices",
    "lock_period",
    "make_checkpoint",
    "obligations",
    "policy_rules",
    "post_history",
    "post_provider_cost",
    "price_usage",
    "prices",
    "proposals",
    "purchase_credits",
    "reconcile_run",
    "reconciliations",
    "record_balance_snapshot",
    "record_token_call",
    "record_transaction_bundle",
    "record_usage_and_increment",
    "record_venture_usage",
    "reject_proposal",
    "release_spend",
    "remove_budget",
    "reopen_period",
    "resolve_dispute",
    "restate_event",
    "retire_policy_rule",
    "reverse_transaction",
    "roll_obligations",
    "runs",
    "seal_ledgers",
    "seals",
    "set_account",
    "set_account_map",
    "set_budget",
    "set_entity",
    "set_low_balance",
    "set_markup",
    "set_model_name",
    "set_obligation",
    "set_policy_rule",
    "set_price",
    "settle_spend",
    "settle_spend_batch",
    "start_agent",
    "start_run",
    "start_step",
    "start_task",
    "trial_balance",
    "unfreeze",
    "upsert_intent_workflow",
    "venture_profiles",
    "venture_spend",
    "verify_integrity",
    "verify_seals",
    "void_event",
    "waiting_budgets",
]

T = TypeVar("T")
Argument: TypeAlias = (
    UUID
    | Decimal
    | int
    | bool
    | str
    | timedelta
    | datetime
    | date
    | Mapping[str, object]
    | list[dict[str, object]]
    | tuple[UUID, ...]
    | None
)


Rates: TypeAlias = Mapping[str, Decimal] | Sequence[Mapping[str, Decimal | int]]
"""US dollars per million by token class; or one such mapping per context tier, each with its
``above_input_tokens``."""


@dataclass(frozen=True, slots=True)
class Call(Generic[T]):
    """One call of an exposed SQL function.

    Attributes:
        schema: the function's schema.
        function: the function's name.
        arguments: argument name to value, in the order of the signature; sent by name.
        read: turns the result rows into the typed answer.
    """

    schema: str
    function: str
    arguments: Mapping[str, Argument]
    read: Callable[[Sequence[Row]], T]


@dataclass(frozen=True, slots=True)
class Read(Generic[T]):
    """One read of an exposed table or view: the rows that equal every filter.

    Attributes:
        schema: the relation's schema.
        relation: the relation's name.
        columns: the columns to read.
        filters: column name to the value it must have.
        order: the columns to sort by.
        descending: whether the last comes first.
        limit: how many rows at most, or None.
        read: turns the result rows into the typed answer.
    """

    schema: str
    relation: str
    columns: tuple[str, ...]
    filters: Mapping[str, Argument]
    order: tuple[str, ...]
    descending: bool
    limit: int | None
    read: Callable[[Sequence[Row]], T]


Request: TypeAlias = Call[T] | Read[T]
"""What a transport carries."""


@dataclass(frozen=True, slots=True)
class One(Generic[T]):
    """Reads exactly one composite row as a model."""

    model: type[T]

    def __call__(self, rows: Sequence[Row]) -> T:
        return from_row(self.model, _single(rows))


@dataclass(frozen=True, slots=True)
class AtMostOne(Generic[T]):
    """Reads a composite row as a model, or None where there is none."""

    model: type[T]

    def __call__(self, rows: Sequence[Row]) -> T | None:
        return from_row(self.model, _single(rows)) if rows else None


@dataclass(frozen=True, slots=True)
class Many(Generic[T]):
    """Reads any number of composite rows as a list of models."""

    model: type[T]

    def __call__(self, rows: Sequence[Row]) -> list[T]:
        return [from_row(self.model, row) for row in rows]


@dataclass(frozen=True, slots=True)
class Scalar(Generic[T]):
    """Reads the only column of the only row."""

    convert: Callable[[object], T]

    def __call__(self, rows: Sequence[Row]) -> T:
        (value,) = _single(rows).values()
        return self.convert(value)


def nothing(_rows: Sequence[Row]) -> None:
    """Read the answer of a function that returns void."""


def as_text(value: UUID | Decimal | timedelta) -> str:
    """Write a value exactly, as PostgreSQL reads it; for transports and documents in JSON.

    An interval is written in seconds: a day of a `timedelta` is 24 hours, that of PostgreSQL is
    not always.
    """
    if isinstance(value, timedelta):
        microseconds = value // timedelta(microseconds=1)
        return f"{Decimal(microseconds).scaleb(-6):f} seconds"
    return f"{value:f}" if isinstance(value, Decimal) else str(value)


def authorize_spend(
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
) -> Call[Decision]:
    """Hold the estimated cost of one model call in every budget it touches, or be told why not."""
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
    return Call(
        "public",
        "authorize_spend",
        _given(p_organization_id=_uuid(organization_id)) | _named(_spend_request(request)),
        One(Decision),
    )


def estimate_spend(
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
) -> Call[Decision]:
    """Ask what `authorize_spend` would answer, without a lock and without holding anything."""
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
        allow_partial=allow_partial,
        minimum=minimum,
    )
    return Call(
        "public",
        "estimate_spend",
        _given(p_organization_id=_uuid(organization_id)) | _named(_spend_request(request)),
        One(Decision),
    )


def settle_spend(
    hold_id: UUID,
    *,
    usage: Mapping[str, int | str | bool] | None = None,
    cost: Decimal | None = None,
    request_id: str | None = None,
    organization_id: UUID | None = None,
) -> Call[Usage]:
    """Record what a call cost and close its hold: real spend is never refused."""
    settlement = Settlement(hold_id=hold_id, usage=usage, cost=cost, request_id=request_id)
    return Call(
        "public",
        "settle_spend",
        _named(_settlement(settlement))
        | _given(p_organization_id=_optional(_uuid, organization_id)),
        One(Usage),
    )


def release_spend(
    hold_id: UUID, *, reason: str | None = None, organization_id: UUID | None = None
) -> Call[Hold]:
    """Give a hold back: the call was not made."""
    return Call(
        "public",
        "release_spend",
        _given(
            p_hold_id=_uuid(hold_id),
            p_reason=_optional(_text, reason),
            p_organization_id=_optional(_uuid, organization_id),
        ),
        One(Hold),
    )


def extend_hold(
    hold_id: UUID,
    *,
    expires_in: timedelta | None = None,
    additional_cost: Decimal | None = None,
    request_id: str | None = None,
    organization_id: UUID | None = None,
) -> Call[Hold]:
    """Keep a hold open for longer, hold more, or both."""
    return Call(
        "public",
        "extend_hold",
        _given(
            p_hold_id=_uuid(hold_id),
            p_expires_in=_optional(_duration, expires_in),
            p_additional_cost=_optional(_money, additional_cost),
            p_request_id=_optional(_text, request_id),
            p_organization_id=_optional(_uuid, organization_id),
        ),
        One(Hold),
    )


def authorize_spend_batch(
    organization_id: UUID, items: Sequence[SpendRequest]
) -> Call[list[AuthorizedItem]]:
    """Authorize several spends at once; a refused item stops no other."""
    return Call(
        "public",
        "authorize_spend_batch",
        _given(
            p_organization_id=_uuid(organization_id),
            p_items=[_as_json(_spend_request(item)) for item in items],
        ),
        Many(AuthorizedItem),
    )


def settle_spend_batch(
    organization_id: UUID, items: Sequence[Settlement]
) -> Call[list[SettledItem]]:
    """Settle several holds at once; a refused item stops no other."""
    return Call(
        "public",
        "settle_spend_batch",
        _given(
            p_organization_id=_uuid(organization_id),
            p_items=[_as_json(_settlement(item)) for item in items],
        ),
        Many(SettledItem),
    )


def check_workflow_cost_limit(
    workflow_id: UUID,
    additional_cost: Decimal,
    *,
    max_cost: Decimal | None = None,
    organization_id: UUID | None = None,
) -> Call[bool]:
    """Ask whether a workflow may spend `additional_cost` more.

    It holds off all other spend of the organization until the transaction ends. With the record in
    the same transaction it is exact; alone, it is advice. No model call belongs in between.
    """
    return Call(
        "public",
        "check_workflow_cost_limit",
        _given(
            p_workflow_id=_uuid(workflow_id),
            p_additional_cost=_money(additional_cost),
            p_max_cost=_optional(_money, max_cost),
            p_organization_id=_optional(_uuid, organization_id),
        ),
        Scalar(to_bool),
    )


def estimate_workflow_cost_limit(
    workflow_id: UUID,
    additional_cost: Decimal,
    *,
    max_cost: Decimal | None = None,
    organization_id: UUID | None = None,
) -> Call[bool]:
    """Ask the same as `check_workflow_cost_limit` without a lock: advice before a model call."""
    return Call(
        "public",
        "estimate_workflow_cost_limit",
        _given(
            p_workflow_id=_uuid(workflow_id),
            p_additional_cost=_money(additional_cost),
            p_max_cost=_optional(_money, max_cost),
            p_organization_id=_optional(_uuid, organization_id),
        ),
        Scalar(to_bool),
    )


def record_usage_and_increment(
    workflow_id: UUID,
    organization_id: UUID,
    model: str,
    prompt_tokens: int,
    completion_tokens: int,
    cost: Decimal,
    *,
    request_id: str | None = None,
) -> Call[None]:
    """Record one model call: ledger row and totals, atomically; once per request id."""
    return Call(
        "public",
        "record_usage_and_increment",
        _given(
            p_workflow_id=_uuid(workflow_id),
            p_organization_id=_uuid(organization_id),
            p_model=_text(model),
            p_prompt_tokens=_integer(prompt_tokens),
            p_completion_tokens=_integer(completion_tokens),
            p_cost=_money(cost),
            p_request_id=_optional(_text, request_id),
        ),
        nothing,
    )


def get_organization_monthly_ai_cost(organization_id: UUID) -> Call[Decimal]:
    """Ask what an organization has spent this month, in its own time zone (US dollars)."""
    return Call(
        "public",
        "get_organization_monthly_ai_cost",
        _given(p_organization_id=_uuid(organization_id)),
        Scalar(to_decimal),
    )


def check_organization_monthly_quota(
    organization_id: UUID, *, monthly_limit: Decimal | None = None
) -> Call[bool]:
    """Ask whether an organization is still below its limit for this month."""
    return Call(
        "public",
        "check_organization_monthly_quota",
        _given(
            p_organization_id=_uuid(organization_id),
            p_monthly_limit=_optional(_money, monthly_limit),
        ),
        Scalar(to_bool),
    )


def upsert_intent_workflow(
    workflow_id: UUID, organization_id: UUID, workflow_data: Mapping[str, object]
) -> Call[Workflow]:
    """Create a workflow, or replace its document; its total is never touched."""
    return Call(
        "public",
        "upsert_intent_workflow",
        _given(
            p_id=_uuid(workflow_id),
            p_organization_id=_uuid(organization_id),
            p_workflow_data=_document("workflow_data", workflow_data),
        ),
        One(Workflow),
    )


def set_budget(
    organization_id: UUID,
    scope: str,
    scope_id: str | None,
    window: str,
    limit: Decimal | None,
    *,
    enforcement: str | None = None,
    slots: int | None = None,
) -> Call[Budget]:
    """Store a cap in US dollars over a scope and a window; None counts and never refuses.

    For service_role, and for owners and admins of the organization; likewise what changes,
    removes, freezes and unfreezes a budget.
    """
    return Call(
        "metering",
        "set_budget",
        _budget_key(organization_id, scope, scope_id, window)
        | {"p_limit": _optional(_money, limit)}
        | _given(
            p_enforcement=_optional(_text, enforcement),
            p_slots=_optional(_integer, slots),
        ),
        One(Budget),
    )


def change_budget(
    organization_id: UUID,
    budget_id: UUID,
    *,
    scope: str | None = None,
    scope_id: str | None = None,
    window: str | None = None,
    slots: int | None = None,
) -> Call[Budget]:
    """Give a budget another scope, window or number of slots; what is left out stays."""
    return Call(
        "metering",
        "change_budget",
        _given(
            p_organization_id=_uuid(organization_id),
            p_budget_id=_uuid(budget_id),
            p_scope=_optional(_text, scope),
            p_scope_id=_optional(_text, scope_id),
            p_window=_optional(_text, window),
            p_slots=_optional(_integer, slots),
        ),
        One(Budget),
    )


def remove_budget(
    organization_id: UUID, scope: str, scope_id: str | None, window: str
) -> Call[Budget]:
    """Take a cap away; the answer is the budget as it was, its `limit_usd` None."""
    return Call(
        "metering",
        "remove_budget",
        _budget_key(organization_id, scope, scope_id, window),
        One(Budget),
    )


def freeze(
    organization_id: UUID, *, scope: str | None = None, scope_id: str | None = None
) -> Call[Budget]:
    """Refuse all spend in a scope from now on; in the whole organization when none is named."""
    return Call("metering", "freeze", _scope(organization_id, scope, scope_id), One(Budget))


def unfreeze(
    organization_id: UUID, *, scope: str | None = None, scope_id: str | None = None
) -> Call[Budget]:
    """End what `freeze` began."""
    return Call("metering", "unfreeze", _scope(organization_id, scope, scope_id), One(Budget))


def budgets(
    organization_id: UUID, *, scope: str | None = None, scope_id: str | None = None
) -> Read[list[BudgetStatus]]:
    """List the budgets of an organization, or of one scope of it, and what is left of each now."""
    return _list(
        BudgetStatus,
        "metering",
        "budget_status",
        filters=_given(
            organization_id=_uuid(organization_id),
            scope=_optional(_text, scope),
            scope_id=_optional(_text, scope_id),
        ),
        order=("scope", "scope_id", "time_window"),
    )


def holds(
    organization_id: UUID, *, state: str | None = None, limit: int | None = None
) -> Read[list[Hold]]:
    """List the holds of an organization, in any or in one state; what expires first comes first."""
    return _list(
        Hold,
        "metering",
        "holds",
        filters=_given(
            organization_id=_uuid(organization_id),
            state=_optional(_text, state),
        ),
        order=("expires_at", "id"),
        limit=_optional(_integer, limit),
    )


def expire_holds(*, organization_id: UUID | None = None, limit: int | None = None) -> Call[int]:
    """Close overdue holds and say how many. Housekeeping: overdue money frees itself."""
    return Call(
        "metering",
        "expire_holds",
        _given(
            p_organization_id=_optional(_uuid, organization_id),
            p_limit=_optional(_integer, limit),
        ),
        Scalar(to_int),
    )


def waiting_budgets() -> Call[list[WaitingBudget]]:
    """List the budgets whose counters callers wait for at this instant, for service_role."""
    return Call("metering", "waiting_budgets", {}, Many(WaitingBudget))


def price_usage(
    model: str,
    usage: Mapping[str, int | str | bool],
    *,
    organization_id: UUID | None = None,
    provider: str | None = None,
    service_tier: str | None = None,
    at: datetime | None = None,
) -> Call[PricedUsage]:
    """Ask what a usage costs, and by which price."""
    return Call(
        "pricing",
        "price_usage",
        _given(
            p_model=_text(model),
            p_usage=_usage(usage),
            p_organization_id=_optional(_uuid, organization_id),
            p_provider=_optional(_text, provider),
            p_service_tier=_optional(_text, service_tier),
            p_at=_optional(_moment, at),
        ),
        One(PricedUsage),
    )


def set_price(
    provider: str,
    model: str,
    rates: Rates | None,
    *,
    effective_from: datetime | None = None,
    service_tier: str | None = None,
    organization_id: UUID | None = None,
) -> Call[Price]:
    """Set what a model costs from a time on: its list price, or a contract of an organization.

    For service_role; likewise what sets markups and names, and loads a price list.
    """
    return Call(
        "pricing",
        "set_price",
        {
            "p_provider": _text(provider),
            "p_model": _text(model),
            "p_rates": None if rates is None else _rates(rates),
        }
        | _given(
            p_effective_from=_optional(_moment, effective_from),
            p_service_tier=_optional(_text, service_tier),
            p_organization_id=_optional(_uuid, organization_id),
        ),
        One(Price),
    )


def set_markup(
    organization_id: UUID,
    percent: Decimal | None,
    *,
    provider: str | None = None,
    model: str | None = None,
    effective_from: datetime | None = None,
) -> Call[Markup]:
    """Raise list prices for an organization by so many percent, from a time on."""
    return Call(
        "pricing",
        "set_markup",
        {"p_organization_id": _uuid(organization_id), "p_percent": _optional(_money, percent)}
        | _given(
            p_provider=_optional(_text, provider),
            p_model=_optional(_text, model),
            p_effective_from=_optional(_moment, effective_from),
        ),
        One(Markup),
    )


def set_model_name(
    provider: str,
    name: str,
    model: str,
    *,
    match: str | None = None,
    model_provider: str | None = None,
) -> Call[ModelName]:
    """Give a model another name, by which calls may name it."""
    return Call(
        "pricing",
        "set_model_name",
        _given(
            p_provider=_text(provider),
            p_name=_text(name),
            p_model=_text(model),
            p_match=_optional(_text, match),
            p_model_provider=_optional(_text, model_provider),
        ),
        One(ModelName),
    )


def load_prices(
    source: str, version: str, price_list: Mapping[str, object], max_age: timedelta | None
) -> Call[list[PriceChange]]:
    """Load a whole price list, or nothing of it; the answer is what that changed."""
    _require_mapping("price_list", price_list)
    return Call(
        "pricing",
        "load_prices",
        {
            "p_source": _text(source),
            "p_version": _text(version),
            "p_list": price_list,
            "p_max_age": _optional(_duration, max_age),
        },
        Many(PriceChange),
    )


def prices(
    *,
    provider: str | None = None,
    model: str | None = None,
    organization_id: UUID | None = None,
) -> Read[list[CurrentPrice]]:
    """List the prices that hold now: of a provider or model, or an organization's contracts."""
    return _list(
        CurrentPrice,
        "pricing",
        "current_prices",
        filters=_given(
            provider=_optional(_text, provider),
            model=_optional(_text, model),
            organization_id=_optional(_uuid, organization_id),
        ),
        order=("provider", "model", "service_tier", "id"),
    )


def purchase_credits(
    org_id: UUID,
    amount_usd: Decimal,
    idempotency_key: str,
    *,
    expires_at: datetime | None = None,
    created_by: str | None = None,
) -> Call[CreditMovement]:
    """Book credits that an organization has paid; with the first ones it pays in advance.

    For service_role; likewise what grants, adjusts and expires credits, and closes draws.
    """
    return Call(
        "billing",
        "purchase_credits",
        _given(
            p_org_id=_uuid(org_id),
            p_amount_usd=_money(amount_usd),
            p_idempotency_key=_text(idempotency_key),
            p_expires_at=_optional(_moment, expires_at),
            p_created_by=_optional(_text, created_by),
        ),
        One(CreditMovement),
    )


def grant_credits(
    org_id: UUID,
    kind: str,
    amount_usd: Decimal,
    idempotency_key: str,
    *,
    expires_at: datetime | None = None,
    priority: int | None = None,
    model: str | None = None,
    created_by: str | None = None,
) -> Call[CreditMovement]:
    """Give an organization credits: a promo or a trial."""
    return Call(
        "billing",
        "grant_credits",
        _given(
            p_org_id=_uuid(org_id),
            p_kind=_text(kind),
            p_amount_usd=_money(amount_usd),
            p_idempotency_key=_text(idempotency_key),
            p_expires_at=_optional(_moment, expires_at),
            p_priority=_optional(_integer, priority),
            p_model=_optional(_text, model),
            p_created_by=_optional(_text, created_by),
        ),
        One(CreditMovement),
    )


def adjust_credits(
    org_id: UUID,
    amount_usd: Decimal,
    reason: str,
    idempotency_key: str,
    *,
    created_by: str | None = None,
) -> Call[CreditMovement]:
    """Add to credits, or with an amount below 0 take from what is available."""
    return Call(
        "billing",
        "adjust_credits",
        _given(
            p_org_id=_uuid(org_id),
            p_amount_usd=_money(amount_usd),
            p_reason=_text(reason),
            p_idempotency_key=_text(idempotency_key),
            p_created_by=_optional(_text, created_by),
        ),
        One(CreditMovement),
    )


def expire_credits(*, org_id: UUID | None = None, limit: int | None = None) -> Call[int]:
    """Take back expired credits and say of how many organizations. Housekeeping."""
    return _keep_house("expire_credits", org_id, limit)


def _keep_house(function: str, org_id: UUID | None, limit: int | None) -> Call[int]:
    return Call(
        "billing",
        function,
        _given(p_org_id=_optional(_uuid, org_id), p_limit=_optional(_integer, limit)),
        Scalar(to_int),
    )


def set_low_balance(org_id: UUID, low_balance_usd: Decimal | None) -> Call[CreditBalance]:
    """Say below which available amount to warn (US dollars); None for never."""
    return Call(
        "billing",
        "set_low_balance",
        {"p_org_id": _uuid(org_id), "p_low_balance_usd": _optional(_money, low_balance_usd)},
        One(CreditBalance),
    )


def credit_balances(org_id: UUID) -> Read[list[CreditBalance]]:
    """List the credits of an organization: one balance, or none where it pays afterwards."""
    return _list(
        CreditBalance,
        "billing",
        "credit_balances",
        filters=_given(org_id=_uuid(org_id)),
        order=("org_id",),
    )


def credit_grants(org_id: UUID) -> Read[list[CreditGrant]]:
    """List where the credits of an organization come from, in the order they are used up."""
    return _list(
        CreditGrant,
        "billing",
        "credit_grants",
        filters=_given(org_id=_uuid(org_id)),
        order=("priority", "expires_at", "id"),
    )


def close_draws(*, org_id: UUID | None = None, limit: int | None = None) -> Call[int]:
    """Charge the draws of days that are over and say how many. Housekeeping."""
    return _keep_house("close_draws", org_id, limit)


def start_run(
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
) -> Call[Run]:
    """Start a run: what it is estimated to cost is reserved from credits.

    For server roles; likewise everything that extends, divides, records, reconciles and ends runs.
    """
    return Call(
        "billing",
        "start_run",
        _given(
            p_org_id=_uuid(org_id),
            p_input_tokens=_integer(input_tokens),
            p_output_tokens=_integer(output_tokens),
            p_model=_optional(_text, model),
            p_input_cost_usd=_optional(_money, input_cost_usd),
            p_output_cost_usd=_optional(_money, output_cost_usd),
            p_name=_optional(_text, name),
            p_slots=_optional(_integer, slots),
            p_request_id=_optional(_text, request_id),
        ),
        One(Run),
    )


def extend_run(
    run_id: UUID,
    *,
    input_tokens: int | None = None,
    output_tokens: int | None = None,
    input_cost_usd: Decimal | None = None,
    output_cost_usd: Decimal | None = None,
    request_id: str | None = None,
    org_id: UUID | None = None,
) -> Call[Run]:
    """Raise the estimate of a run, and reserve that from credits too."""
    return Call(
        "billing",
        "extend_run",
        _given(
            p_run_id=_uuid(run_id),
            p_input_tokens=_optional(_integer, input_tokens),
            p_output_tokens=_optional(_integer, output_tokens),
            p_input_cost_usd=_optional(_money, input_cost_usd),
            p_output_cost_usd=_optional(_money, output_cost_usd),
            p_request_id=_optional(_text, request_id),
            p_org_id=_optional(_uuid, org_id),
        ),
        One(Run),
    )


def start_agent(run_id: UUID, name: str, *, org_id: UUID | None = None) -> Call[Agent]:
    """Start an agent in a run."""
    return Call(
        "billing",
        "start_agent",
        _given(p_run_id=_uuid(run_id), p_name=_text(name), p_org_id=_optional(_uuid, org_id)),
        One(Agent),
    )


def start_task(
    run_id: UUID, name: str, *, agent_id: UUID | None = None, org_id: UUID | None = None
) -> Call[Task]:
    """Start a task in a run, of one of its agents or of the main one."""
    return Call(
        "billing",
        "start_task",
        _given(
            p_run_id=_uuid(run_id),
            p_name=_text(name),
            p_agent_id=_optional(_uuid, agent_id),
            p_org_id=_optional(_uuid, org_id),
        ),
        One(Task),
    )


def start_step(
    run_id: UUID,
    name: str,
    *,
    agent_id: UUID | None = None,
    task_id: UUID | None = None,
    org_id: UUID | None = None,
) -> Call[Step]:
    """Start a step in a run, of an agent and a task of it if they are named."""
    return Call(
        "billing",
        "start_step",
        _given(
            p_run_id=_uuid(run_id),
            p_name=_text(name),
            p_agent_id=_optional(_uuid, agent_id),
            p_task_id=_optional(_uuid, task_id),
            p_org_id=_optional(_uuid, org_id),
        ),
        One(Step),
    )


def end_part(org_id: UUID, part_id: UUID, *, status: str | None = None) -> Call[str]:
    """End an agent, task or step, and say how it ended."""
    return Call(
        "billing",
        "end_part",
        _given(p_org_id=_uuid(org_id), p_id=_uuid(part_id), p_status=_optional(_text, status)),
        Scalar(to_text),
    )


def record_token_call(
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
) -> Call[UUID]:
    """Record a call of a run, with the part of the run it belongs to and what went wrong."""
    return Call(
        "billing",
        "record_token_call",
        {
            "p_run_id": _uuid(run_id),
            "p_agent_id": _optional(_uuid, agent_id),
            "p_task_id": _optional(_uuid, task_id),
            "p_step_id": _optional(_uuid, step_id),
            "p_input_tokens": _optional(_integer, input_tokens),
            "p_output_tokens": _optional(_integer, output_tokens),
            "p_model": _text(model),
            "p_cost_usd": _optional(_money, cost_usd),
        }
        | _given(
            p_error_code=_optional(_text, error_code),
            p_error_message=_optional(_text, error_message),
            p_is_estimated=_optional(_boolean, is_estimated),
            p_usage=_optional(_usage, usage),
            p_reported_total_tokens=_optional(_integer, reported_total_tokens),
            p_hold_id=_optional(_uuid, hold_id),
            p_request_id=_optional(_text, request_id),
            p_org_id=_optional(_uuid, org_id),
        ),
        Scalar(to_uuid),
    )


def reconcile_run(run_id: UUID, *, org_id: UUID | None = None) -> Call[UUID]:
    """Compare a run with its records, settle the difference, and say which reconciliation it is."""
    return Call("billing", "reconcile_run", _run(run_id, org_id), Scalar(to_uuid))


def complete_run(run_id: UUID, *, org_id: UUID | None = None) -> Call[Reconciliation]:
    """End a run that is done, and reconcile it."""
    return Call("billing", "complete_run", _run(run_id, org_id), One(Reconciliation))


def cancel_run(run_id: UUID, *, org_id: UUID | None = None) -> Call[Reconciliation]:
    """Release the open holds of a run that is not wanted any more, end and reconcile it."""
    return Call("billing", "cancel_run", _run(run_id, org_id), One(Reconciliation))


def fail_run(
    run_id: UUID, *, cause: str | None = None, org_id: UUID | None = None
) -> Call[Reconciliation]:
    """Release the open holds of a run that went wrong, end and reconcile it."""
    return Call(
        "billing",
        "fail_run",
        _given(
            p_run_id=_uuid(run_id),
            p_cause=_optional(_text, cause),
            p_org_id=_optional(_uuid, org_id),
        ),
        One(Reconciliation),
    )


def runs(org_id: UUID, *, status: str | None = None, limit: int | None = None) -> Read[list[Run]]:
    """List the runs of an organization, in any or in one status; the newest comes first."""
    return _list(
        Run,
        "billing",
        "runs",
        filters=_given(org_id=_uuid(org_id), status=_optional(_text, status)),
        order=("id",),
        descending=True,
        limit=_optional(_integer, limit),
    )


def reconciliations(
    org_id: UUID,
    *,
    run_id: UUID | None = None,
    status: str | None = None,
    limit: int | None = None,
) -> Read[list[Reconciliation]]:
    """List the reconciliations of an organization, a run, or in a status; the newest first."""
    return _list(
        Reconciliation,
        "billing",
        "token_reconciliations",
        filters=_given(
            org_id=_uuid(org_id),
            run_id=_optional(_uuid, run_id),
            status=_optional(_text, status),
        ),
        order=("id",),
        descending=True,
        limit=_optional(_integer, limit),
    )


def dispute_reconciliation(
    run_id: UUID, *, notes: str | None = None, org_id: UUID | None = None
) -> Call[Reconciliation]:
    """Object to what a run was charged."""
    return Call(
        "billing",
        "dispute_reconciliation",
        _given(
            p_run_id=_uuid(run_id),
            p_notes=_optional(_text, notes),
            p_org_id=_optional(_uuid, org_id),
        ),
        One(Reconciliation),
    )


def resolve_dispute(
    run_id: UUID,
    *,
    refund_usd: Decimal | None = None,
    notes: str | None = None,
    org_id: UUID | None = None,
) -> Call[Reconciliation]:
    """Resolve a dispute, with a refund or without, for service_role."""
    return Call(
        "billing",
        "resolve_dispute",
        _given(
            p_run_id=_uuid(run_id),
            p_refund_usd=_optional(_money, refund_usd),
            p_notes=_optional(_text, notes),
            p_org_id=_optional(_uuid, org_id),
        ),
        One(Reconciliation),
    )


def get_statement(org_id: UUID, month: date) -> Call[Statement]:
    """Ask for the month that a day is in, on one page."""
    return Call(
        "billing",
        "get_statement",
        _given(p_org_id=_uuid(org_id), p_month=_day(month)),
        Scalar(to_statement),
    )


def record_transaction_bundle(
    organization_id: UUID, bundle: Bundle, *, actor: str | None = None
) -> Call[BundleResponse]:
    """Book a bundle, once however often it is sent."""
    return Call(
        "accounting",
        "record_transaction_bundle",
        _given(
            p_organization_id=_uuid(organization_id),
            p_request=_bundle(bundle),
            p_actor=_optional(_text, actor),
        ),
        Scalar(to_bundle_response),
    )


def reverse_transaction(
    organization_id: UUID,
    transaction_id: str,
    transaction_date: date,
    correlation_id: str,
    *,
    description: str | None = None,
    adjusting_reason_code: str | None = None,
    override_period_lock: bool | None = None,
    actor: str | None = None,
) -> Call[BundleResponse]:
    """Undo a transaction by a new one that is linked to it."""
    return Call(
        "accounting",
        "reverse_transaction",
        _given(
            p_organization_id=_uuid(organization_id),
            p_transaction_id=_text(transaction_id),
            p_transaction_date=_day(transaction_date),
            p_correlation_id=_text(correlation_id),
            p_description=_optional(_text, description),
            p_adjusting_reason_code=_optional(_text, adjusting_reason_code),
            p_override_period_lock=_optional(_boolean, override_period_lock),
            p_actor=_optional(_text, actor),
        ),
        Scalar(to_bundle_response),
    )


def set_entity(
    organization_id: UUID,
    code: str,
    name: str,
    *,
    metadata: Mapping[str, object] | None = None,
    entity_id: str | None = None,
    correlation_id: str | None = None,
    actor: str | None = None,
) -> Call[Entity]:
    """Open an entity, or rename the one that has the code."""
    return Call(
        "accounting",
        "set_entity",
        _given(
            p_organization_id=_uuid(organization_id),
            p_code=_text(code),
            p_name=_text(name),
            p_metadata=_optional(_metadata, metadata),
            p_entity_id=_optional(_text, entity_id),
            p_correlation_id=_optional(_text, correlation_id),
            p_actor=_optional(_text, actor),
        ),
        One(Entity),
    )


def set_account(
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
) -> Call[Account]:
    """Open an account, or change the one that has the code."""
    return Call(
        "accounting",
        "set_account",
        _given(
            p_organization_id=_uuid(organization_id),
            p_code=_text(code),
            p_name=_text(name),
            p_account_type=_text(account_type),
            p_parent_account_id=_optional(_text, parent_account_id),
            p_entity_id=_optional(_text, entity_id),
            p_metadata=_optional(_metadata, metadata),
            p_account_id=_optional(_text, account_id),
            p_correlation_id=_optional(_text, correlation_id),
            p_actor=_optional(_text, actor),
        ),
        One(Account),
    )


def record_balance_snapshot(
    organization_id: UUID,
    source_system: str,
    account_id: str,
    snapshot_date: date,
    balance: Decimal,
    *,
    source_artifact_id: str | None = None,
    correlation_id: str | None = None,
    actor: str | None = None,
) -> Call[BalanceSnapshot]:
    """Keep what others say an account had at the end of a day."""
    return Call(
        "accounting",
        "record_balance_snapshot",
        _given(
            p_organization_id=_uuid(organization_id),
            p_source_system=_text(source_system),
            p_account_id=_text(account_id),
            p_snapshot_date=_day(snapshot_date),
            p_balance=_money(balance),
            p_source_artifact_id=_optional(_text, source_artifact_id),
            p_correlation_id=_optional(_text, correlation_id),
            p_actor=_optional(_text, actor),
        ),
        One(BalanceSnapshot),
    )


def compare_snapshots(
    organization_id: UUID, *, entity_id: str | None = None
) -> Call[list[SnapshotDifference]]:
    """Ask how balances that others state differ from the books."""
    return Call(
        "accounting",
        "compare_snapshots",
        _given(p_organization_id=_uuid(organization_id), p_entity_id=_optional(_text, entity_id)),
        Many(SnapshotDifference),
    )


def set_obligation(
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
) -> Call[Obligation]:
    """State what will be due, or restate it."""
    return Call(
        "accounting",
        "set_obligation",
        _given(
            p_organization_id=_uuid(organization_id),
            p_source_system=_text(source_system),
            p_name=_text(name),
            p_cadence=_text(cadence),
            p_expected_amount=_money(expected_amount),
            p_next_due_date=_day(next_due_date),
            p_account_id=_optional(_text, account_id),
            p_variability_flag=_optional(_boolean, variability_flag),
            p_metadata=_optional(_metadata, metadata),
            p_entity_id=_optional(_text, entity_id),
            p_active=_optional(_boolean, active),
            p_correlation_id=_optional(_text, correlation_id),
            p_actor=_optional(_text, actor),
        ),
        One(Obligation),
    )


def roll_obligations(
    organization_id: UUID,
    day: date,
    *,
    correlation_id: str | None = None,
    actor: str | None = None,
) -> Call[list[Obligation]]:
    """Move on what was due before a day, and list that."""
    return Call(
        "accounting",
        "roll_obligations",
        _given(
            p_organization_id=_uuid(organization_id),
            p_day=_day(day),
            p_correlation_id=_optional(_text, correlation_id),
            p_actor=_optional(_text, actor),
        ),
        Many(Obligation),
    )


def get_account_map(organization_id: UUID) -> Call[list[AccountMapLine]]:
    """Ask on which account each line of what billing posts is booked."""
    return Call(
        "accounting",
        "get_account_map",
        _given(p_organization_id=_uuid(organization_id)),
        Many(AccountMapLine),
    )


def set_account_map(
    organization_id: UUID,
    line: str,
    account_id: str,
    *,
    correlation_id: str | None = None,
    actor: str | None = None,
) -> Call[AccountMapping]:
    """Name the account of a line of what billing posts."""
    return Call(
        "accounting",
        "set_account_map",
        _given(
            p_organization_id=_uuid(organization_id),
            p_line=_text(line),
            p_account_id=_text(account_id),
            p_correlation_id=_optional(_text, correlation_id),
            p_actor=_optional(_text, actor),
        ),
        One(AccountMapping),
    )


def post_provider_cost(
    *, organization_id: UUID | None = None, day: date | None = None
) -> Call[int]:
    """Post what providers ask for usage, and say for how many days. Housekeeping."""
    return Call(
        "accounting",
        "post_provider_cost",
        _given(p_organization_id=_optional(_uuid, organization_id), p_day=_optional(_day, day)),
        Scalar(to_int),
    )


def post_history(*, organization_id: UUID | None = None) -> Call[int]:
    """Post what billing did before the books were kept, and say how many movements."""
    return Call(
        "accounting",
        "post_history",
        _given(p_organization_id=_optional(_uuid, organization_id)),
        Scalar(to_int),
    )


def close_period(
    organization_id: UUID,
    period_key: str,
    correlation_id: str,
    *,
    entity_id: str | None = None,
    actor: str | None = None,
) -> Call[PeriodAnswer]:
    """Close a month of an entity: it takes adjusting entries only."""
    return _move_period(
        "close_period", organization_id, period_key, correlation_id, entity_id, actor
    )


def lock_period(
    organization_id: UUID,
    period_key: str,
    correlation_id: str,
    *,
    entity_id: str | None = None,
    actor: str | None = None,
) -> Call[PeriodAnswer]:
    """Lock a month of an entity for good."""
    return _move_period(
        "lock_period", organization_id, period_key, correlation_id, entity_id, actor
    )


def reopen_period(
    organization_id: UUID,
    period_key: str,
    correlation_id: str,
    *,
    entity_id: str | None = None,
    actor: str | None = None,
) -> Call[PeriodAnswer]:
    """Open a closed month of an entity again."""
    return _move_period(
        "reopen_period", organization_id, period_key, correlation_id, entity_id, actor
    )


def _move_period(
    function: str,
    organization_id: UUID,
    period_key: str,
    correlation_id: str,
    entity_id: str | None,
    actor: str | None,
) -> Call[PeriodAnswer]:
    return Call(
        "accounting",
        function,
        _given(
            p_organization_id=_uuid(organization_id),
            p_period_key=_text(period_key),
            p_correlation_id=_text(correlation_id),
            p_entity_id=_optional(_text, entity_id),
            p_actor=_optional(_text, actor),
        ),
        One(PeriodAnswer),
    )


def trial_balance(
    organization_id: UUID,
    *,
    first_day: date | None = None,
    last_day: date | None = None,
    entity_id: str | None = None,
) -> Call[list[TrialBalanceLine]]:
    """Ask for every account over a span of days."""
    return Call(
        "accounting",
        "trial_balance",
        _span(organization_id, first_day, last_day, entity_id),
        Many(TrialBalanceLine),
    )


def account_ledger(
    organization_id: UUID,
    account_id: str,
    *,
    first_day: date | None = None,
    last_day: date | None = None,
) -> Call[list[AccountLedgerLine]]:
    """Ask for every posting of an account over a span of days, with the balance after it."""
    return Call(
        "accounting",
        "account_ledger",
        _given(
            p_organization_id=_uuid(organization_id),
            p_account_id=_text(account_id),
            p_from=_optional(_day, first_day),
            p_to=_optional(_day, last_day),
        ),
        Many(AccountLedgerLine),
    )


def balance_as_of(
    organization_id: UUID,
    account_id: str,
    *,
    day: date | None = None,
    with_parts: bool | None = None,
) -> Call[Decimal]:
    """Ask what an account had at the end of a day."""
    return Call(
        "accounting",
        "balance_as_of",
        _given(
            p_organization_id=_uuid(organization_id),
            p_account_id=_text(account_id),
            p_date=_optional(_day, day),
            p_with_parts=_optional(_boolean, with_parts),
        ),
        Scalar(to_decimal),
    )


def income_statement(
    organization_id: UUID,
    *,
    first_day: date | None = None,
    last_day: date | None = None,
    entity_id: str | None = None,
) -> Call[list[StatementLine]]:
    """Ask for income and expenses over a span of days."""
    return Call(
        "accounting",
        "income_statement",
        _span(organization_id, first_day, last_day, entity_id),
        Many(StatementLine),
    )


def balance_sheet(
    organization_id: UUID, *, day: date | None = None, entity_id: str | None = None
) -> Call[list[StatementLine]]:
    """Ask for assets, liabilities and equity at the end of a day."""
    return Call(
        "accounting",
        "balance_sheet",
        _given(
            p_organization_id=_uuid(organization_id),
            p_date=_optional(_day, day),
            p_entity_id=_optional(_text, entity_id),
        ),
        Many(StatementLine),
    )


def entities(organization_id: UUID) -> Read[list[Entity]]:
    """List who keeps books within an organization."""
    return _list(
        Entity,
        "accounting",
        "entities",
        filters={"organization_id": _uuid(organization_id)},
        order=("code",),
    )


def accounts(organization_id: UUID, *, entity_id: str | None = None) -> Read[list[Account]]:
    """List accounts, by code."""
    return _list(
        Account,
        "accounting",
        "accounts",
        filters=_given(
            organization_id=_uuid(organization_id), entity_id=_optional(_text, entity_id)
        ),
        order=("code",),
    )


def accounting_periods(
    organization_id: UUID, *, entity_id: str | None = None, status: str | None = None
) -> Read[list[AccountingPeriod]]:
    """List months that have a row, the last in front."""
    return _list(
        AccountingPeriod,
        "accounting",
        "accounting_periods",
        filters=_given(
            organization_id=_uuid(organization_id),
            entity_id=_optional(_text, entity_id),
            status=_optional(_text, status),
        ),
        order=("period_key", "entity_id"),
        descending=True,
    )


def obligations(
    organization_id: UUID, *, entity_id: str | None = None, active: bool | None = None
) -> Read[list[Obligation]]:
    """List obligations, what is due first in front."""
    return _list(
        Obligation,
        "accounting",
        "obligations",
        filters=_given(
            organization_id=_uuid(organization_id),
            entity_id=_optional(_text, entity_id),
            active=_optional(_boolean, active),
        ),
        order=("next_due_date", "obligation_id"),
    )


def ledger_transactions(
    organization_id: UUID,
    *,
    entity_id: str | None = None,
    transaction_id: str | None = None,
    source_system: str | None = None,
    external_id: str | None = None,
    limit: int | None = None,
) -> Read[list[LedgerTransaction]]:
    """List transactions of the books, the last day in front."""
    return _list(
        LedgerTransaction,
        "accounting",
        "ledger_transactions",
        filters=_given(
            organization_id=_uuid(organization_id),
            entity_id=_optional(_text, entity_id),
            transaction_id=_optional(_text, transaction_id),
            source_system=_optional(_text, source_system),
            external_id=_optional(_text, external_id),
        ),
        order=("transaction_date", "transaction_id"),
        descending=True,
        limit=_optional(_integer, limit),
    )


def ledger_postings(
    organization_id: UUID,
    *,
    entity_id: str | None = None,
    transaction_id: str | None = None,
    account_id: str | None = None,
    limit: int | None = None,
) -> Read[list[LedgerPosting]]:
    """List postings, in the order in which they were made."""
    return _list(
        LedgerPosting,
        "accounting",
        "ledger_postings",
        filters=_given(
            organization_id=_uuid(organization_id),
            entity_id=_optional(_text, entity_id),
            transaction_id=_optional(_text, transaction_id),
            account_id=_optional(_text, account_id),
        ),
        order=("transaction_id", "position"),
        limit=_optional(_integer, limit),
    )


def assert_event(
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
) -> Call[Event]:
    """Write a receipt into the journal."""
    return Call(
        "public",
        "ledger_assert_v0",
        _given(
            p_domain=_text(domain),
            p_event_type=_text(event_type),
            p_payload=_optional(_payload, payload),
            p_entity_type=_optional(_text, entity_type),
            p_entity_id=_optional(_text, entity_id),
            p_occurred_at=_optional(_moment, occurred_at),
            p_owner_user_id=_optional(_uuid, owner_user_id),
            p_owner_agent_id=_optional(_text, owner_agent_id),
            p_country_code=_optional(_text, country_code),
            p_region_code=_optional(_text, region_code),
            p_city_code=_optional(_text, city_code),
            p_locality_code=_optional(_text, locality_code),
            p_logical_id=_optional(_uuid, logical_id),
            p_organization_id=_optional(_uuid, organization_id),
        ),
        One(Event),
    )


def amend_event(
    logical_id: UUID,
    *,
    payload: Mapping[str, object] | None = None,
    supersedes_id: UUID | None = None,
    event_type: str | None = None,
    occurred_at: datetime | None = None,
    organization_id: UUID | None = None,
) -> Call[Event]:
    """Correct an event of the journal by a new revision."""
    return Call(
        "public",
        "ledger_amend_v0",
        _given(
            p_logical_id=_uuid(logical_id),
            p_payload=_optional(_payload, payload),
            p_supersedes_id=_optional(_uuid, supersedes_id),
            p_event_type=_optional(_text, event_type),
            p_occurred_at=_optional(_moment, occurred_at),
            p_organization_id=_optional(_uuid, organization_id),
        ),
        One(Event),
    )


def void_event(
    logical_id: UUID,
    void_reason: str,
    *,
    voided_by: str | None = None,
    supersedes_id: UUID | None = None,
    organization_id: UUID | None = None,
) -> Call[Event]:
    """Say by a new revision that an event of the journal does not count."""
    return Call(
        "public",
        "ledger_void_v0",
        _given(
            p_logical_id=_uuid(logical_id),
            p_void_reason=_text(void_reason),
            p_voided_by=_optional(_text, voided_by),
            p_supersedes_id=_optional(_uuid, supersedes_id),
            p_organization_id=_optional(_uuid, organization_id),
        ),
        One(Event),
    )


def restate_event(
    logical_id: UUID,
    *,
    payload: Mapping[str, object] | None = None,
    supersedes_id: UUID | None = None,
    organization_id: UUID | None = None,
) -> Call[Event]:
    """Say by a new revision that a voided event of the journal counts again."""
    return Call(
        "public",
        "ledger_restate_v0",
        _given(
            p_logical_id=_uuid(logical_id),
            p_payload=_optional(_payload, payload),
            p_supersedes_id=_optional(_uuid, supersedes_id),
            p_organization_id=_optional(_uuid, organization_id),
        ),
        One(Event),
    )


def current_events(
    *,
    owner_user_id: UUID | None = None,
    organization_id: UUID | None = None,
    domain: str | None = None,
    entity_type: str | None = None,
    entity_id: str | None = None,
    limit: int | None = None,
) -> Read[list[Event]]:
    """List the events of an owner or a tenant as they stand, the last that happened in front."""
    if owner_user_id is None and organization_id is None:
        raise TypeError("events need an owner_user_id or an organization_id")
    return _list(
        Event,
        "public",
        "ledger_current_v0",
        filters=_given(
            owner_user_id=_optional(_uuid, owner_user_id),
            organization_id=_optional(_uuid, organization_id),
            domain=_optional(_text, domain),
            entity_type=_optional(_text, entity_type),
            entity_id=_optional(_text, entity_id),
        ),
        order=("occurred_at", "id"),
        descending=True,
        limit=_optional(_integer, limit),
    )


def event_revisions(organization_id: UUID, logical_id: UUID) -> Read[list[Event]]:
    """List all revisions of an event of the journal, the first in front."""
    return _list(
        Event,
        "public",
        "ledger_events_v0",
        filters={"organization_id": _uuid(organization_id), "logical_id": _uuid(logical_id)},
        order=("revision",),
    )


def record_venture_usage(
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
) -> Call[VentureUsage]:
    """Record what a venture used, for server roles."""
    return Call(
        "public",
        "record_venture_usage",
        {
            "p_venture_id": _uuid(venture_id),
            "p_lifecycle_stage": _integer(lifecycle_stage),
            "p_agent_type": _text(agent_type),
            "p_model_id": _optional(_text, model_id),
            "p_tokens_input": _optional(_integer, tokens_input),
            "p_tokens_output": _optional(_integer, tokens_output),
            "p_cost_usd": _optional(_money, cost_usd),
            **_given(
                p_phase=_optional(_text, phase),
                p_job_id=_optional(_uuid, job_id),
                p_crew_id=_optional(_text, crew_id),
                p_budget_profile=_optional(_text, budget_profile),
                p_is_simulation=_optional(_boolean, is_simulation),
                p_simulation_run_id=_optional(_uuid, simulation_run_id),
                p_operation_type=_optional(_text, operation_type),
                p_metadata=None if metadata is None else _document("metadata", metadata),
                p_request_id=_optional(_text, request_id),
                p_organization_id=_optional(_uuid, organization_id),
                p_hold_id=_optional(_uuid, hold_id),
                p_usage=_optional(_usage, usage),
            ),
        },
        One(VentureUsage),
    )


def allocate_venture_budget(
    organization_id: UUID, venture_id: UUID, budget_profile: str, percent: Decimal | None
) -> Call[VentureAllocation]:
    """Give a profile of a venture its share of the venture's budgets, for owners and admins."""
    return Call(
        "metering",
        "allocate_venture_budget",
        {
            "p_organization_id": _uuid(organization_id),
            "p_venture_id": _uuid(venture_id),
            "p_budget_profile": _text(budget_profile),
            "p_percent": _optional(_money, percent),
        },
        One(VentureAllocation),
    )


def venture_profiles(
    organization_id: UUID, *, venture_id: UUID | None = None
) -> Read[list[VentureProfile]]:
    """List what each profile of ventures has left of its share."""
    return _list(
        VentureProfile,
        "metering",
        "venture_profile_status",
        filters=_given(
            organization_id=_uuid(organization_id), venture_id=_optional(_uuid, venture_id)
        ),
        order=("venture_id", "budget_profile", "time_window"),
    )


def venture_spend(
    organization_id: UUID, *, venture_id: UUID | None = None
) -> Read[list[VentureSpend]]:
    """List what ventures used, by stage, phase and kind of agent, real and simulated apart."""
    return _list(
        VentureSpend,
        "metering",
        "venture_spend",
        filters=_given(
            organization_id=_uuid(organization_id), venture_id=_optional(_uuid, venture_id)
        ),
        order=("venture_id", "lifecycle_stage", "phase", "agent_type"),
    )


def set_policy_rule(
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
) -> Call[PolicyRule]:
    """Set a rule about what needs approval, or another in its place; what is left out matches."""
    return Call(
        "accounting",
        "set_policy_rule",
        _given(
            p_organization_id=_uuid(organization_id),
            p_rule_id=_text(rule_id),
            p_threshold_amount=_money(threshold_amount),
            p_priority=_optional(_integer, priority),
            p_tool_name=_optional(_text, tool_name),
            p_entity_id=_optional(_text, entity_id),
            p_transaction_category=_optional(_text, transaction_category),
            p_risk_band=_optional(_text, risk_band),
            p_model=_optional(_text, model),
            p_velocity_limit_count=_optional(_integer, velocity_limit_count),
            p_velocity_window_seconds=_optional(_integer, velocity_window_seconds),
            p_required_approvals=_optional(_integer, required_approvals),
            p_allows_asserted=_optional(_boolean, allows_asserted),
            p_metadata=None if metadata is None else _document("metadata", metadata),
        ),
        One(PolicyRule),
    )


def retire_policy_rule(organization_id: UUID, rule_id: str) -> Call[PolicyRule]:
    """Let a policy rule match nothing any more; what it has asked for still waits."""
    return Call(
        "accounting",
        "retire_policy_rule",
        {"p_organization_id": _uuid(organization_id), "p_rule_id": _text(rule_id)},
        One(PolicyRule),
    )


def policy_rules(organization_id: UUID, *, active: bool | None = None) -> Read[list[PolicyRule]]:
    """List the policy rules of an organization by priority, retired ones too unless left out."""
    return _list(
        PolicyRule,
        "accounting",
        "policy_rules",
        filters=_given(organization_id=_uuid(organization_id), active=_optional(_boolean, active)),
        order=("priority", "rule_id"),
    )


def proposals(
    organization_id: UUID,
    *,
    status: str | None = None,
    tool_name: str | None = None,
    limit: int | None = None,
) -> Read[list[Proposal]]:
    """List what waits for approval, or did; what was proposed first comes first."""
    return _list(
        Proposal,
        "accounting",
        "approval_proposals",
        filters=_given(
            organization_id=_uuid(organization_id),
            status=_optional(_text, status),
            tool_name=_optional(_text, tool_name),
        ),
        order=("created_at", "proposal_id"),
        limit=_optional(_integer, limit),
    )


def approval_decisions(organization_id: UUID, proposal_id: str) -> Read[list[ApprovalDecision]]:
    """List who has approved or rejected a proposal, the first in front."""
    return _list(
        ApprovalDecision,
        "accounting",
        "approval_decisions",
        filters={
            "organization_id": _uuid(organization_id),
            "proposal_id": _text(proposal_id),
        },
        order=("decided_at", "decision_id"),
    )


def approve_proposal(
    organization_id: UUID,
    proposal_id: str,
    *,
    reason: str | None = None,
    actor: str | None = None,
    correlation_id: str | None = None,
) -> Call[ApprovalOutcome]:
    """Approve a proposal; the last approval that is needed commits it."""
    return _decide("approve", organization_id, proposal_id, reason, actor, correlation_id)


def reject_proposal(
    organization_id: UUID,
    proposal_id: str,
    *,
    reason: str | None = None,
    actor: str | None = None,
    correlation_id: str | None = None,
) -> Call[ApprovalOutcome]:
    """Reject a proposal, which ends it; whoever proposed it may take it back so."""
    return _decide("reject", organization_id, proposal_id, reason, actor, correlation_id)


def _decide(
    action: str,
    organization_id: UUID,
    proposal_id: str,
    reason: str | None,
    actor: str | None,
    correlation_id: str | None,
) -> Call[ApprovalOutcome]:
    return Call(
        "accounting",
        f"{action}_proposal",
        _given(
            p_organization_id=_uuid(organization_id),
            p_proposal_id=_text(proposal_id),
            p_reason=_optional(_text, reason),
            p_actor=_optional(_text, actor),
            p_correlation_id=_optional(_text, correlation_id),
        ),
        One(ApprovalOutcome),
    )


def acknowledge_events(organization_id: UUID, ids: Sequence[UUID]) -> Call[int]:
    """Mark events of the outbox as delivered and say how many were not yet, for service_role."""
    return Call(
        "audit",
        "acknowledge_events",
        _given(p_organization_id=_uuid(organization_id), p_ids=tuple(_uuid(each) for each in ids)),
        Scalar(to_int),
    )


def create_organization(name: str, *, time_zone: str | None = None) -> Call[Organization]:
    """Create an organization, as service_role or signed in; who is signed in becomes its owner."""
    return Call(
        "tenancy",
        "create_organization",
        _given(p_name=_text(name), p_time_zone=_optional(_text, time_zone)),
        One(Organization),
    )


def verify_integrity(
    *, organization_id: UUID | None = None, full: bool = False
) -> Call[list[Finding]]:
    """Prove the books, of one organization or all: one finding per broken invariant."""
    return Call(
        "audit",
        "verify_integrity",
        _given(p_organization_id=_optional(_uuid, organization_id), p_full=_boolean(full)),
        Many(Finding),
    )


def make_checkpoint(*, full: bool = False) -> Call[list[Finding]]:
    """Prove the books and, where nothing is wrong, let the next check begin here."""
    return Call("audit", "make_checkpoint", {"p_full": _boolean(full)}, Many(Finding))


def seal_ledgers(*, limit: int | None = None) -> Call[Seal | None]:
    """Seal what was committed since the last seal; None where that is nothing."""
    return Call(
        "audit", "seal_ledgers", _given(p_limit=_optional(_integer, limit)), AtMostOne(Seal)
    )


def verify_seals(
    *, organization_id: UUID | None = None, published_hash: str | None = None
) -> Call[list[SealFinding]]:
    """Prove that nothing sealed was altered: one finding per row, root or seal that was."""
    return Call(
        "audit",
        "verify_seals",
        _given(
            p_organization_id=_optional(_uuid, organization_id),
            p_published_hash=_optional(_text, published_hash),
        ),
        Many(SealFinding),
    )


def seals(*, limit: int = 1) -> Read[list[Seal]]:
    """Read the newest seals, newest first."""
    return _list(
        Seal,
        "audit",
        "seals",
        filters={},
        order=("seal",),
        descending=True,
        limit=_integer(limit),
    )


def _single(rows: Sequence[Row]) -> Row:
    if len(rows) != 1:
        raise ValueError(f"expected one row, the database answered with {len(rows)}")
    return rows[0]


def _given(**values: Argument) -> dict[str, Argument]:
    return {name: value for name, value in values.items() if value is not None}


def _named(values: Mapping[str, Argument]) -> dict[str, Argument]:
    """Name values as arguments, which SQL sets apart from columns by a prefix."""
    return {f"p_{name}": value for name, value in values.items()}


def _spend_request(request: SpendRequest) -> dict[str, Argument]:
    _require(SpendRequest, request)
    return _given(
        model=_optional(_text, request.model),
        estimated_cost=_optional(_money, request.estimated_cost),
        input_tokens=_optional(_integer, request.input_tokens),
        max_output_tokens=_optional(_integer, request.max_output_tokens),
        workflow_id=_optional(_uuid, request.workflow_id),
        run_id=_optional(_uuid, request.run_id),
        venture_id=_optional(_uuid, request.venture_id),
        user_id=_optional(_uuid, request.user_id),
        api_key_id=_optional(_text, request.api_key_id),
        tags=_optional(_tags, request.tags),
        provider=_optional(_text, request.provider),
        service_tier=_optional(_text, request.service_tier),
        request_id=_optional(_text, request.request_id),
        expires_in=_optional(_duration, request.expires_in),
        allow_partial=_optional(_boolean, request.allow_partial),
        minimum=_optional(_money, request.minimum),
    )


def _settlement(settlement: Settlement) -> dict[str, Argument]:
    _require(Settlement, settlement)
    return _given(
        hold_id=_uuid(settlement.hold_id),
        usage=_optional(_usage, settlement.usage),
        cost=_optional(_money, settlement.cost),
        request_id=_optional(_text, settlement.request_id),
    )


def _span(
    organization_id: UUID, first_day: date | None, last_day: date | None, entity_id: str | None
) -> dict[str, Argument]:
    return _given(
        p_organization_id=_uuid(organization_id),
        p_from=_optional(_day, first_day),
        p_to=_optional(_day, last_day),
        p_entity_id=_optional(_text, entity_id),
    )


def _bundle(bundle: Bundle) -> str:
    """Write a bundle as the JSON text it is sent as; amounts are text, so that nobody rounds."""
    _require(Bundle, bundle)
    facts = _given(
        source_system=_text(bundle.source_system),
        external_id=_text(bundle.external_id),
        transaction_date=_day(bundle.transaction_date).isoformat(),
        description=_text(bundle.description),
        correlation_id=_text(bundle.correlation_id),
        entity_id=_optional(_text, bundle.entity_id),
        is_adjusting_entry=bundle.adjusting_reason_code is not None,
        adjusting_reason_code=_optional(_text, bundle.adjusting_reason_code),
        override_period_lock=_optional(_boolean, bundle.override_period_lock),
        transaction_category=_optional(_text, bundle.transaction_category),
        risk_band=_optional(_text, bundle.risk_band),
        reverses_transaction_id=_optional(_text, bundle.reverses_transaction_id),
        occurred_on=None if bundle.occurred_on is None else _day(bundle.occurred_on).isoformat(),
        postings=None if bundle.postings is None else [_posting(each) for each in bundle.postings],
    )
    return json.dumps(facts)


def _posting(posting: Posting) -> dict[str, object]:
    _require(Posting, posting)
    facts: dict[str, object] = {
        "account_id": _text(posting.account_id),
        "amount": as_text(_money(posting.amount)),
    }
    return facts if posting.memo is None else {**facts, "memo": _text(posting.memo)}


def _as_json(item: Mapping[str, Argument]) -> dict[str, object]:
    """Write an item of a batch with what JSON has; money is text, so that nobody rounds it."""
    return {
        name: as_text(value) if isinstance(value, UUID | Decimal | timedelta) else value
        for name, value in item.items()
    }


def _budget_key(
    organization_id: UUID, scope: str, scope_id: str | None, window: str
) -> dict[str, Argument]:
    # p_scope_id has no default, so "the organization itself" is sent as the empty text.
    return {
        "p_organization_id": _uuid(organization_id),
        "p_scope": _text(scope),
        "p_scope_id": "" if scope_id is None else _text(scope_id),
        "p_window": _text(window),
    }


def _scope(organization_id: UUID, scope: str | None, scope_id: str | None) -> dict[str, Argument]:
    return _given(
        p_organization_id=_uuid(organization_id),
        p_scope=_optional(_text, scope),
        p_scope_id=_optional(_text, scope_id),
    )


def _run(run_id: UUID, org_id: UUID | None) -> dict[str, Argument]:
    return _given(p_run_id=_uuid(run_id), p_org_id=_optional(_uuid, org_id))


def _list(
    model: type[T],
    schema: str,
    relation: str,
    *,
    filters: Mapping[str, Argument],
    order: tuple[str, ...],
    descending: bool = False,
    limit: int | None = None,
) -> Read[list[T]]:
    return Read(schema, relation, columns(model), filters, order, descending, limit, Many(model))


def _optional(check: Callable[[T], T], value: T | None) -> T | None:
    return None if value is None else check(value)


def _money(value: Decimal) -> Decimal:
    if not isinstance(value, Decimal):
        raise TypeError(f"money must be a Decimal, not {type(value).__name__}: Decimal('0.25')")
    return value


def _uuid(value: UUID) -> UUID:
    if not isinstance(value, UUID):
        raise TypeError(f"an id must be a UUID, not {type(value).__name__}")
    return value


def _integer(value: int) -> int:
    if isinstance(value, bool) or not isinstance(value, int):
        raise TypeError(f"a count must be an int, not {type(value).__name__}")
    return value


def _text(value: str) -> str:
    if not isinstance(value, str):
        raise TypeError(f"expected text, not {type(value).__name__}")
    return value


def _boolean(value: bool) -> bool:
    if not isinstance(value, bool):
        raise TypeError(f"expected a bool, not {type(value).__name__}")
    return value


def _duration(value: timedelta) -> timedelta:
    if not isinstance(value, timedelta):
        raise TypeError(f"a duration must be a timedelta, not {type(value).__name__}")
    return value


def _document(name: str, value: Mapping[str, object]) -> Mapping[str, object]:
    _require_mapping(name, value)
    return value


def _payload(value: Mapping[str, object]) -> Mapping[str, object]:
    return _document("payload", value)


def _metadata(value: Mapping[str, object]) -> Mapping[str, object]:
    return _document("metadata", value)


def _tags(value: Mapping[str, str]) -> Mapping[str, str]:
    _require_mapping("tags", value)
    return {_text(name): _text(text) for name, text in value.items()}


def _usage(value: Mapping[str, int | str | bool]) -> Mapping[str, int | str | bool]:
    _require_mapping("usage", value)
    for name, count in value.items():
        if _text(name) == "service_tier":
            _text(cast("str", count))
        elif name == "is_estimate":
            _boolean(cast("bool", count))
        else:
            _integer(cast("int", count))
    return dict(value)


def _rates(value: Rates) -> list[dict[str, object]]:
    tiers = [value] if isinstance(value, Mapping) else value
    for tier in tiers:
        _require_mapping("rates", tier)
    # As text, so that nobody between here and the database rounds a rate.
    return [
        {
            name: _integer(cast("int", rate))
            if name == "above_input_tokens"
            else as_text(_money(cast("Decimal", rate)))
            for name, rate in tier.items()
        }
        for tier in tiers
    ]


def _moment(value: datetime) -> datetime:
    if not isinstance(value, datetime) or value.tzinfo is None:
        raise TypeError("a time must be a datetime with its zone")
    return value


def _day(value: date) -> date:
    if isinstance(value, datetime) or not isinstance(value, date):
        raise TypeError(f"a day must be a date, not {type(value).__name__}")
    return value


def _require_mapping(name: str, value: object) -> None:
    if not isinstance(value, Mapping):
        raise TypeError(f"{name} must be a mapping, not {type(value).__name__}")


def _require(expected: type, item: object) -> None:
    if not isinstance(item, expected):
        raise TypeError(f"an item must be a {expected.__name__}, not {type(item).__name__}")
