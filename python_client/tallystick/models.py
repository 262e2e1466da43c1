"""What the database answers, as frozen values: `Decimal`, `UUID`, aware `datetime`.

Money is US dollars with at most 12 decimals and is never a float, on any transport. Times are in
UTC. `from_row` reads a model from one result row and accepts both a driver's native values and the
text forms a JSON transport delivers.
"""

from __future__ import annotations

import json
from collections.abc import Callable, Mapping
from dataclasses import dataclass, is_dataclass
from datetime import UTC, date, datetime
from decimal import Decimal
from types import UnionType
from typing import TypeVar, cast, get_args, get_origin, get_type_hints
from uuid import UUID

from tallystick.errors import ERRORS, TallystickError
from tallystick.money import total

Row = Mapping[str, object]
"""One result row: column name to value."""

ALWAYS = datetime.min.replace(tzinfo=UTC)
"""How a time reads that the database calls ``-infinity``: before anything began."""
NEVER = datetime.max.replace(tzinfo=UTC)
"""How ``infinity`` reads."""

Model = TypeVar("Model")


@dataclass(frozen=True, slots=True, kw_only=True)
class Organization:
    """A tenant: the owner of budgets, workflows and ledger rows (`tenancy.organizations`).

    `time_zone` decides where its months begin; `frozen_at` is set while every check refuses.
    """

    id: UUID
    name: str
    time_zone: str
    frozen_at: datetime | None
    created_at: datetime


@dataclass(frozen=True, slots=True, kw_only=True)
class Workflow:
    """A unit of work whose model calls add up (`public.intent_workflows`).

    `workflow_data` is the application's document plus `total_ai_cost`, which the ledger maintains.
    """

    id: UUID
    organization_id: UUID
    workflow_data: Mapping[str, object]
    created_at: datetime
    updated_at: datetime

    @property
    def total_ai_cost(self) -> Decimal:
        """What the workflow has cost so far, in US dollars."""
        return to_decimal(self.workflow_data["total_ai_cost"])


@dataclass(frozen=True, slots=True, kw_only=True)
class Budget:
    """A cap over a scope and a window (`metering.budgets`).

    Attributes:
        id: its id; that of the organization or workflow for the total each is born with.
        organization_id: who pays.
        scope: what it covers: organization, workflow, run, draw, venture, user, api_key, model or
            tag.
        scope_id: which one, as text; empty for the organization itself and its draws,
            ``key=value`` for a tag.
        time_window: total, hour, day, week or month.
        limit_usd: the cap in US dollars; None counts and never refuses.
        enforcement: hard refuses, soft only says that it is passed.
        slot_count: over how many rows its counter is striped.
        frozen_at: since when nothing is granted in its scope, or None.
        excess_usd: by how much use passed the limit when it was last stored, US dollars.
        created_at: when it was made.
        updated_at: when it was last changed.
    """

    id: UUID
    organization_id: UUID
    scope: str
    scope_id: str
    time_window: str
    limit_usd: Decimal | None
    enforcement: str
    slot_count: int
    frozen_at: datetime | None
    excess_usd: Decimal
    created_at: datetime
    updated_at: datetime


@dataclass(frozen=True, slots=True, kw_only=True)
class BudgetStatus:
    """A budget and what is left of it now (`metering.budget_status`).

    Attributes:
        organization_id: who pays.
        budget_id: the budget.
        scope: what it covers, as in `Budget`; likewise the next fields.
        frozen_at: since when nothing is granted in its scope, or in the organization; or None.
        resets_at: when its window ends; None for a total.
        settled_usd: spent in this window, US dollars.
        held_usd: held by open holds, US dollars.
        remaining_usd: what is left; None without a limit, negative when use has passed it.
    """

    organization_id: UUID
    budget_id: UUID
    scope: str
    scope_id: str
    time_window: str
    limit_usd: Decimal | None
    enforcement: str
    slot_count: int
    frozen_at: datetime | None
    resets_at: datetime | None
    settled_usd: Decimal
    held_usd: Decimal
    remaining_usd: Decimal | None


@dataclass(frozen=True, slots=True, kw_only=True)
class WaitingBudget:
    """A budget whose counter callers wait for at this instant (`metering.waiting_budgets`)."""

    organization_id: UUID
    budget_id: UUID
    scope: str
    scope_id: str
    time_window: str
    slot_count: int
    waiting: int


@dataclass(frozen=True, slots=True, kw_only=True)
class Decision:
    """May this be spent? (`metering.spend_decision`).

    Attributes:
        decision: granted, denied, needs_approval, or settled: this request is paid for already.
        hold_id: the hold to settle; None where nothing is held.
        usage_id: of a settled request, its ledger row.
        held_usd: what is held, of a settled request its cost; US dollars.
        reason: why it is denied (budget_exceeded, frozen, run_ended, model_not_in_run,
            unpriced_model, stale_price, approval_rejected, approval_needs_request_id), or
            over_soft_limit on a grant.
        budget_id: the budget that is the reason; None where it is none, or none that exists yet.
        remaining_usd: what that budget has left; negative when it is passed.
        resets_at: when that budget's window ends; None for a total.
        affordable_output_tokens: how long an answer the grant pays for, where prices are known.
        expires_at: when the hold ends by itself.
        proposal_id: what has to be approved first, or was rejected.
    """

    decision: str
    hold_id: UUID | None
    usage_id: UUID | None
    held_usd: Decimal | None
    reason: str | None
    budget_id: UUID | None
    remaining_usd: Decimal | None
    resets_at: datetime | None
    affordable_output_tokens: int | None
    expires_at: datetime | None
    proposal_id: UUID | None

    @property
    def granted(self) -> bool:
        """Whether the money is held: call the model, then settle."""
        return self.decision == "granted"


@dataclass(frozen=True, slots=True, kw_only=True)
class Hold:
    """Money set aside for one call (`metering.holds`); once settled it is a ledger row instead.

    Attributes:
        id: its id; the ledger row that settles it has the same.
        organization_id: who pays.
        state: open, released or expired.
        held_usd: how much, US dollars.
        budget_ids: the budgets it counts in.
        model: what it was asked for, as the next fields: see `SpendRequest`.
        listed_model: the name its price is listed under, where that is another one.
        price_id: the price it was estimated and will be settled by; None where a cost was stated.
        markup_id: the markup that goes with it, if any.
        proposal_id: the approved proposal by which it was granted, whose amount it keeps within.
        created_at: when it was granted.
        expires_at: when it ends by itself.
        claimed_at: when a server first extended it; from then on who made it may not release it.
        closed_at: when it was released or expired; None while it is open.
        reason: why it was released, as stated.
    """

    id: UUID
    organization_id: UUID
    state: str
    held_usd: Decimal
    budget_ids: tuple[UUID, ...]
    model: str | None
    listed_model: str | None
    provider: str | None
    service_tier: str | None
    price_id: UUID | None
    markup_id: UUID | None
    proposal_id: UUID | None
    workflow_id: UUID | None
    run_id: UUID | None
    venture_id: UUID | None
    user_id: UUID | None
    api_key_id: str | None
    tags: Mapping[str, str]
    created_at: datetime
    expires_at: datetime
    claimed_at: datetime | None
    closed_at: datetime | None
    reason: str | None


@dataclass(frozen=True, slots=True, kw_only=True)
class Usage:
    """One model call that was paid for (`public.ai_usage_ledger`).

    Attributes:
        id: its id; that of its hold where it had one.
        organization_id: who paid.
        model: the model that was called, as the next fields: see `SpendRequest`.
        listed_model: the name its price is listed under, where that is another one.
        prompt_tokens: tokens sent, cached ones included.
        completion_tokens: tokens received, reasoning included.
        token_counts: what was used by token class, each token in one.
        cost: US dollars, exact.
        cost_basis: priced, stated, or estimated: nobody reported what was used.
        price_id: the price that held for it; beside a stated cost the one that was passed over.
        markup_id: the markup that its rates include, if any.
        rates: US dollars per million of each class, decimal text; None without a price.
        zero_cost_reason: why tokens cost nothing; None where they cost something.
        settlement: on_hold, after_hold (the hold had ended) or without_hold.
        unheld_usd: the part of the cost that no open hold covered, US dollars.
        created_at: when it was authorized, or recorded without a hold; windows go by it.
        settled_at: when it was recorded.
    """

    id: UUID
    organization_id: UUID
    model: str
    provider: str | None
    service_tier: str | None
    workflow_id: UUID | None
    run_id: UUID | None
    venture_id: UUID | None
    user_id: UUID | None
    api_key_id: str | None
    tags: Mapping[str, str]
    listed_model: str | None
    prompt_tokens: int
    completion_tokens: int
    token_counts: Mapping[str, int]
    cost: Decimal
    cost_basis: str
    price_id: UUID | None
    markup_id: UUID | None
    rates: Mapping[str, str] | None
    zero_cost_reason: str | None
    settlement: str
    unheld_usd: Decimal
    created_at: datetime
    settled_at: datetime


@dataclass(frozen=True, slots=True, kw_only=True)
class Price:
    """What a model costs from a time on (`pricing.price`).

    Attributes:
        id: its id; holds and usages name it.
        organization_id: whose contract it is; None for a list price.
        provider: who serves the model.
        model: the model, by its listed name.
        service_tier: standard, batch, flex, priority: as the provider names it.
        effective_from: from when on it holds; `ALWAYS` where nobody knows a beginning.
        rates: US dollars per million by context tier and token class, decimal text; None where the
            price has ended.
        source: the price list it comes from, manual, or contract.
    """

    id: UUID
    organization_id: UUID | None
    provider: str
    model: str
    service_tier: str
    effective_from: datetime
    rates: tuple[Mapping[str, object], ...] | None
    source: str


@dataclass(frozen=True, slots=True, kw_only=True)
class CurrentPrice:
    """A price that holds now (`pricing.current_prices`); what is not said here is as in `Price`.

    Attributes:
        version: the version of the list it comes from.
        is_stale: whether nobody has checked that list for too long: then it grants nothing.
    """

    id: UUID
    organization_id: UUID | None
    provider: str
    model: str
    service_tier: str
    effective_from: datetime
    rates: tuple[Mapping[str, object], ...]
    source: str
    version: str | None
    is_stale: bool


@dataclass(frozen=True, slots=True, kw_only=True)
class PriceChange:
    """What loading a price list changed (`pricing.price_change`).

    Attributes:
        change: added, changed, ended, or kept: the list says otherwise, but it was set by hand.
        provider: who serves the model.
        model: the model, by its listed name.
        service_tier: the service tier.
        effective_from: from when on.
        old_rates: what held then before, as in `Price`; None for nothing.
        new_rates: what the list says; None for nothing.
    """

    change: str
    provider: str
    model: str
    service_tier: str
    effective_from: datetime
    old_rates: tuple[Mapping[str, object], ...] | None
    new_rates: tuple[Mapping[str, object], ...] | None


@dataclass(frozen=True, slots=True, kw_only=True)
class PricedUsage:
    """What a usage costs, and how (`pricing.priced_usage`).

    Attributes:
        cost: US dollars, rounded once, half even, at 12 decimals.
        price_id: the price.
        markup_id: the markup that is in it, if any.
        provider: who serves the model.
        model: the model, by its listed name.
        service_tier: the service tier.
        effective_from: from when on the price holds.
        above_input_tokens: the context tier: for prompts of more tokens than this.
        prompt_tokens: sum of all input classes.
        completion_tokens: sum of all output classes.
        breakdown: by token class: count, usd_per_million and usd, exact, as decimal text.
    """

    cost: Decimal
    price_id: UUID
    markup_id: UUID | None
    provider: str
    model: str
    service_tier: str
    effective_from: datetime
    above_input_tokens: int
    prompt_tokens: int
    completion_tokens: int
    breakdown: Mapping[str, object]


@dataclass(frozen=True, slots=True, kw_only=True)
class Markup:
    """By how much list prices are raised for an organization (`pricing.markups`).

    Attributes:
        id: its id; holds and usages name it.
        organization_id: whom it is for.
        provider: for models of this provider; empty for all.
        model: for this model; empty for all.
        effective_from: from when on it holds.
        percent: on top of every rate; below 0 a discount; None from when on there is none.
    """

    id: UUID
    organization_id: UUID
    provider: str
    model: str
    effective_from: datetime
    percent: Decimal | None


@dataclass(frozen=True, slots=True, kw_only=True)
class ModelName:
    """What a name of a model means (`pricing.model_names`).

    Attributes:
        provider: for calls to this provider.
        match: how it is compared: exact, prefix, suffix, contains or regex.
        name: the name, or the part of one.
        model_provider: whose model it is.
        model: the model that is meant, by its listed name.
        is_default: whether it is also meant where a call names no provider.
    """

    provider: str
    match: str
    name: str
    model_provider: str
    model: str
    is_default: bool


@dataclass(frozen=True, slots=True, kw_only=True)
class _BatchAnswer:
    """What every answer to an item of a batch says: which item, and why it was refused, if so."""

    item: int
    error_code: str | None
    error_detail: Mapping[str, object] | None

    @property
    def error(self) -> TallystickError | None:
        """The error this item alone would have raised, to look at or to raise; None if none."""
        if self.error_code is None:
            return None
        error_class = ERRORS.get(self.error_code, TallystickError)
        message = f"item {self.item} of the batch was refused"
        return error_class(message, self.error_code, self.error_detail)


@dataclass(frozen=True, slots=True, kw_only=True)
class AuthorizedItem(_BatchAnswer):
    """The answer to one item of `authorize_spend_batch`.

    Attributes:
        item: its position in the batch, from 0.
        decision: the decision; None where `error` says why there is none.
        error_code: the SQLSTATE of the refusal, or None.
        error_detail: its facts.
    """

    decision: Decision | None

    @property
    def granted(self) -> bool:
        """Whether the money of this item is held."""
        return self.decision is not None and self.decision.granted


@dataclass(frozen=True, slots=True, kw_only=True)
class SettledItem(_BatchAnswer):
    """The answer to one item of `settle_spend_batch`; the fields are those of `Usage`.

    Attributes:
        item: its position in the batch, from 0.
        usage_id: the ledger row; None, as the next fields, where `error` says why there is none.
        error_code: the SQLSTATE of the refusal, or None.
        error_detail: its facts.
    """

    usage_id: UUID | None
    cost: Decimal | None
    settlement: str | None
    unheld_usd: Decimal | None


@dataclass(frozen=True, slots=True, kw_only=True)
class PolicyRule:
    """Which writes need approval (`accounting.policy_rules`); None matches anything.

    Attributes:
        organization_id: the organization.
        rule_id: its id.
        priority: lowest first, equal ones by `rule_id`: the first rule that matches decides.
        tool_name: record_transaction_bundle or authorize_spend.
        entity_id: whose books.
        transaction_category: which category of bundle; likewise `risk_band`.
        model: of calls of models: which one, by its listed name.
        velocity_limit_count: how many it lets pass within `velocity_window_seconds`.
        threshold_amount: strictly above it approval is needed, US dollars.
        required_approvals: how many different persons must approve.
        allows_asserted: whether approvers whom a server names count.
        active: False once it was retired.
        metadata: whatever else is known of it.
        created_at: when it was first set.
        updated_at: when it was last changed.
    """

    organization_id: UUID
    rule_id: str
    priority: int
    tool_name: str | None
    entity_id: str | None
    transaction_category: str | None
    risk_band: str | None
    model: str | None
    velocity_limit_count: int | None
    velocity_window_seconds: int | None
    threshold_amount: Decimal
    required_approvals: int
    allows_asserted: bool
    active: bool
    metadata: Mapping[str, object]
    created_at: datetime
    updated_at: datetime


@dataclass(frozen=True, slots=True, kw_only=True)
class Proposal:
    """A write that waits for approval, or did (`accounting.approval_proposals`).

    Attributes:
        organization_id: the organization.
        proposal_id: its id, for `approve_proposal` and `reject_proposal`.
        tool_name: the call that was made: record_transaction_bundle or authorize_spend.
        source_system: who made it; tallystick for a call of a model.
        external_id: its id there.
        correlation_id: what it belongs to; of a call of a model its request id.
        policy_threshold_amount: the threshold of the rule that asked, US dollars.
        impact_amount: its amount, US dollars; an approved call holds no more.
        request_payload: the request, as canonical JSON text.
        status: proposed, rejected or committed.
        approved_transaction_id: the transaction a bundle became.
        entity_id: whose books.
        matched_rule_id: the rule that asked; None where a locked period did.
        required_approvals: how many different persons must approve, or had to.
        proposed_by: who proposed it (user:<id> or service:<name>), and never approves it.
        authn_method: how they are known: jwt, or asserted by a server.
        created_at: when it was proposed.
        decided_at: when it was committed or rejected.
        approved_until: of an approved call: until when its request id may be used to make it.
    """

    organization_id: UUID
    proposal_id: str
    tool_name: str
    source_system: str
    external_id: str
    correlation_id: str
    policy_threshold_amount: Decimal
    impact_amount: Decimal
    request_payload: str
    status: str
    approved_transaction_id: str | None
    entity_id: str
    matched_rule_id: str | None
    required_approvals: int
    proposed_by: str
    authn_method: str
    created_at: datetime
    decided_at: datetime | None
    approved_until: datetime | None


@dataclass(frozen=True, slots=True, kw_only=True)
class ApprovalDecision:
    """Who approved or rejected a proposal (`accounting.approval_decisions`).

    Attributes:
        organization_id: the organization.
        decision_id: its id.
        proposal_id: the proposal.
        action: approve or reject.
        correlation_id: what it belongs to, as the caller said.
        reason: why, if it was said.
        approver_id: who decided: user:<id> or service:<name>.
        authn_method: how they are known: jwt, or asserted by a server.
        decided_at: when.
    """

    organization_id: UUID
    decision_id: str
    proposal_id: str
    action: str
    correlation_id: str
    reason: str | None
    approver_id: str
    authn_method: str
    decided_at: datetime


@dataclass(frozen=True, slots=True, kw_only=True)
class ApprovalOutcome:
    """What became of a decision on a proposal (`accounting.approval_outcome`).

    Attributes:
        proposal_id: the proposal.
        status: proposed (more have to approve it), rejected, committed; refused: the decision was
            not taken, and the next four fields say why. The refusal is on record.
        error_code: of a refusal its SQLSTATE, such as TS412 where the period is closed meanwhile.
        error_message: its message.
        facts: its facts.
        hint: the next step.
        approvals: how many different persons have approved it and count.
        required_approvals: how many have to, by the policy in force.
        transaction_id: the transaction a committed bundle became.
        response_payload: the response to whoever makes the request again, byte for byte.
        approved_until: of an approved call of a model: until when it may be made.
    """

    proposal_id: str
    status: str
    error_code: str | None
    error_message: str | None
    facts: Mapping[str, object] | None
    hint: str | None
    approvals: int | None
    required_approvals: int | None
    transaction_id: str | None
    response_payload: str | None
    approved_until: datetime | None

    @property
    def error(self) -> TallystickError | None:
        """Why the decision was not taken, as an exception to raise; None where it was."""
        if self.error_code is None:
            return None
        kind = ERRORS.get(self.error_code, TallystickError)
        return kind(self.error_message or "", self.error_code, self.facts, self.hint)


@dataclass(frozen=True, slots=True, kw_only=True)
class Finding:
    """One broken invariant, as `audit.verify_integrity` reports it."""

    check_name: str
    organization_id: UUID | None
    subject: str
    expected: str | None
    actual: str | None


@dataclass(frozen=True, slots=True, kw_only=True)
class Seal:
    """A link of the chain of seals (`audit.seals`).

    Attributes:
        seal: its number, from 1.
        epoch: number of the server that made it, from 1: a restored one begins another.
        is_catching_up: whether it sealed whatever had no seal, as the first ones of an epoch do.
        leaf_count: how many rows it seals.
        root: Merkle root over them: SHA-256 in hexadecimal, as the next two.
        previous: hash of the seal before it.
        hash: its own: kept somewhere else, it proves all that was sealed until then.
        sealed_at: when it was made.
    """

    seal: int
    epoch: int
    is_catching_up: bool
    leaf_count: int
    root: str
    previous: str
    hash: str
    sealed_at: datetime


@dataclass(frozen=True, slots=True, kw_only=True)
class SealFinding:
    """Something that was altered, as `audit.verify_seals` reports it.

    Attributes:
        check_name: which check found it.
        ledger: in which ledger, as schema.table; None for the chain itself.
        organization_id: whose row; None for the chain itself.
        row_id: which row; None for a root or the chain.
        seal: in which seal; None for a row that has none.
        expected: what was sealed.
        actual: what is there.
    """

    check_name: str
    ledger: str | None
    organization_id: UUID | None
    row_id: str | None
    seal: int | None
    expected: str | None
    actual: str | None


@dataclass(frozen=True, slots=True, kw_only=True)
class CreditMovement:
    """A movement of credits (`billing.billing_ledger`).

    Attributes:
        org_id: whose credits.
        id: its id.
        transaction_type: credit_purchase, charge, refund, adjustment, promo or trial.
        amount_usd: how much, US dollars, above 0.
        direction: credit: into the credits; debit: out of them.
        run_id: the run it is about, if any; likewise the next fields.
        draw_id: the draw it is about: a day's calls outside runs.
        reason: why, for example run_charge, or what an operator stated.
        idempotency_key: what makes a retry the same movement.
        created_by: system, support, user, or the id of who caused it.
        created_at: when it was booked.
    """

    org_id: UUID
    id: UUID
    transaction_type: str
    amount_usd: Decimal
    direction: str
    run_id: UUID | None
    agent_id: UUID | None
    task_id: UUID | None
    draw_id: UUID | None
    reason: str
    idempotency_key: str | None
    created_by: str | None
    created_at: datetime


@dataclass(frozen=True, slots=True, kw_only=True)
class CreditBalance:
    """What an organization has in credits (`billing.credit_balances`).

    Attributes:
        org_id: the organization; it pays in advance.
        id: id of the balance.
        balance_usd: all credits, US dollars.
        reserved_usd: the part that runs and draws under way have reserved, US dollars.
        low_balance_usd: below which available amount to be warned, US dollars; None for never.
        is_low: whether the available amount is below that.
        movement_count: how many movements there were.
        created_at: since when the organization pays in advance.
        updated_at: when it last moved.
    """

    org_id: UUID
    id: UUID
    balance_usd: Decimal
    reserved_usd: Decimal
    low_balance_usd: Decimal | None
    is_low: bool
    movement_count: int
    created_at: datetime
    updated_at: datetime

    @property
    def available_usd(self) -> Decimal:
        """What is not reserved, US dollars; what expired and was not taken back yet included."""
        return total([self.balance_usd, -self.reserved_usd])


@dataclass(frozen=True, slots=True, kw_only=True)
class CreditGrant:
    """Where credits come from, and what is left of it (`billing.credit_grants`).

    Attributes:
        org_id: whose credits.
        id: its id.
        kind: purchase, promo, trial or adjustment.
        amount_usd: what was granted, US dollars.
        remaining_usd: what is left of it, reserved or not, US dollars.
        reserved_usd: the part of that which is reserved, US dollars.
        priority: lower is used up first.
        model: the only model it pays for, in runs of that model; None for everything.
        expires_at: from when on it is not reserved any more; None for never.
        created_at: when it was granted.
    """

    org_id: UUID
    id: UUID
    kind: str
    amount_usd: Decimal
    remaining_usd: Decimal
    reserved_usd: Decimal
    priority: int
    model: str | None
    expires_at: datetime | None
    created_at: datetime


@dataclass(frozen=True, slots=True, kw_only=True)
class Run:
    """A piece of work that is paid from credits as a whole (`billing.runs`).

    Attributes:
        org_id: who pays.
        id: its id; calls name it as `run_id`.
        status: running, completed, cancelled or failed.
        name: what it is about, if said.
        model: the one model it may call, by its listed name; None for any.
        tokens_estimated: the estimate, input and output together; likewise the next field.
        cost_estimated: US dollars: what was reserved from credits.
        tokens_used: tokens of its calls so far.
        cost_incurred: cost of its calls so far, US dollars.
        created_at: when it was started.
        updated_at: when it was last extended or ended.
        completed_at: when it ended, however it did.
    """

    org_id: UUID
    id: UUID
    status: str
    name: str | None
    model: str | None
    input_tokens_estimated: int
    output_tokens_estimated: int
    tokens_estimated: int
    input_cost_estimated: Decimal
    output_cost_estimated: Decimal
    cost_estimated: Decimal
    tokens_used: int
    cost_incurred: Decimal
    created_at: datetime
    updated_at: datetime
    completed_at: datetime | None


@dataclass(frozen=True, slots=True, kw_only=True)
class Agent:
    """Who works in a run beside its main agent (`billing.agents`).

    `status` is running, completed, cancelled or failed; `completed_at` is when it ended.
    """

    org_id: UUID
    id: UUID
    run_id: UUID
    name: str
    status: str
    created_at: datetime
    completed_at: datetime | None


@dataclass(frozen=True, slots=True, kw_only=True)
class Task:
    """What a run, or one of its agents, sets out to do (`billing.tasks`).

    Without an `agent_id` it is the main agent's; the other fields are as in `Agent`.
    """

    org_id: UUID
    id: UUID
    run_id: UUID
    agent_id: UUID | None
    name: str
    status: str
    created_at: datetime
    completed_at: datetime | None


@dataclass(frozen=True, slots=True, kw_only=True)
class Step:
    """One move of a run; each call belongs to one (`billing.steps`).

    Without an `agent_id` it is the main agent's; the other fields are as in `Agent`.
    """

    org_id: UUID
    id: UUID
    run_id: UUID
    agent_id: UUID | None
    task_id: UUID | None
    name: str
    status: str
    created_at: datetime
    completed_at: datetime | None


@dataclass(frozen=True, slots=True, kw_only=True)
class Reconciliation:
    """What a run was estimated at, what it used, what follows (`billing.token_reconciliations`).

    Attributes:
        org_id: who pays.
        id: its id.
        run_id: the run, which has ended.
        estimated_total_tokens: the estimate, input and output together.
        actual_total_tokens: tokens of all records of the run.
        variance_tokens: actual less estimated tokens.
        variance_pct: that in percent of the estimate, or of 1 token where that is 0.
        estimated_cost_usd: what was reserved and charged first, US dollars.
        actual_cost_usd: what its calls cost, US dollars.
        refund_amount_usd: what was refunded of the estimate, US dollars.
        charge_amount_usd: what was charged beyond it, US dollars; a receivable where credits did
            not cover it.
        status: RECONCILED up to 50 percent off, NEEDS_REVIEW up to 100, else CRITICAL; DISPUTED,
            RESOLVED.
        action: none, refund_applied, charge_applied, escalated_to_team, escalated_to_user or
            dispute_resolved.
        notes: of whoever disputed or resolved it.
        created_at: when the run was reconciled.
        updated_at: when this was last changed.
        resolved_at: when a dispute was resolved.
    """

    org_id: UUID
    id: UUID
    run_id: UUID
    estimated_input_tokens: int
    estimated_output_tokens: int
    estimated_total_tokens: int
    actual_input_tokens: int
    actual_output_tokens: int
    actual_total_tokens: int
    variance_tokens: int
    variance_pct: Decimal
    estimated_cost_usd: Decimal
    actual_cost_usd: Decimal
    refund_amount_usd: Decimal
    charge_amount_usd: Decimal
    status: str
    action: str | None
    notes: str | None
    created_at: datetime
    updated_at: datetime
    resolved_at: datetime | None


@dataclass(frozen=True, slots=True, kw_only=True)
class StatementMovement:
    """A movement of credits on a statement; what is not said here is as in `CreditMovement`.

    Attributes:
        balance_after_usd: the balance after it, US dollars.
    """

    id: UUID
    created_at: datetime
    transaction_type: str
    direction: str
    amount_usd: Decimal
    reason: str
    run_id: UUID | None
    draw_id: UUID | None
    balance_after_usd: Decimal

    @property
    def change_usd(self) -> Decimal:
        """By how much it changed the balance, US dollars: below 0 for a debit."""
        return self.amount_usd if self.direction == "credit" else -self.amount_usd


@dataclass(frozen=True, slots=True, kw_only=True)
class ModelUsage:
    """What was spent on a model in the month of a statement; the cost is in US dollars."""

    model: str
    requests: int
    prompt_tokens: int
    completion_tokens: int
    cost_usd: Decimal


@dataclass(frozen=True, slots=True, kw_only=True)
class DayUsage:
    """What was spent on a day, in the organization's time zone; the cost is in US dollars."""

    day: date
    cost_usd: Decimal


@dataclass(frozen=True, slots=True, kw_only=True)
class Statement:
    """A month of an organization on one page (`billing.get_statement`).

    Attributes:
        org_id: the organization.
        organization: its name.
        time_zone: where its month begins and ends.
        month: which one, as ``2026-01``.
        opening_balance_usd: credits when it began, US dollars.
        closing_balance_usd: credits when it ended, or now: the opening balance and all movements.
        movements: what moved, in order.
        usage_by_model: what was spent, the dearest model first.
        usage_by_day: the same spend by day, days without any left out.
        receivables_usd: what is owed now beyond credits, US dollars.
    """

    org_id: UUID
    organization: str
    time_zone: str
    month: str
    opening_balance_usd: Decimal
    closing_balance_usd: Decimal
    movements: tuple[StatementMovement, ...]
    usage_by_model: tuple[ModelUsage, ...]
    usage_by_day: tuple[DayUsage, ...]
    receivables_usd: Decimal


@dataclass(frozen=True, slots=True, kw_only=True)
class Event:
    """A revision of an event of the journal (`public.ledger_events_v0`).

    Attributes:
        organization_id: the tenant; the owner's own id where none was stated.
        id: id of this revision.
        logical_id: id of the event that it is a revision of.
        revision: its number, from 0.
        supersedes_id: the revision it replaces; None for the first.
        op: assert, it happened; amend, it is corrected; void, it does not count; restate, it does
            again.
        domain: which ledger, for example payments or devices.
        event_type: what happened.
        owner_user_id: whose receipt it is.
        owner_agent_id: the agent that acted, if any.
        entity_type: what kind of thing it is about, if any; `entity_id` says which.
        country_code: where it happened, if that matters; likewise the next three.
        occurred_at: when it happened.
        payload: the facts, with schema_version and source; a void has void_reason and voided_by.
        created_at: when this revision was written.
    """

    organization_id: UUID
    id: UUID
    logical_id: UUID
    revision: int
    supersedes_id: UUID | None
    op: str
    domain: str
    event_type: str
    owner_user_id: UUID
    owner_agent_id: str | None
    entity_type: str | None
    entity_id: str | None
    country_code: str | None
    region_code: str | None
    city_code: str | None
    locality_code: str | None
    occurred_at: datetime
    payload: Mapping[str, object]
    created_at: datetime

    @property
    def counts(self) -> bool:
        """Whether the event counts by this revision: it is not voided."""
        return self.op != "void"


@dataclass(frozen=True, slots=True, kw_only=True)
class VentureUsage:
    """What a venture used (`public.venture_token_ledger`).

    Attributes:
        organization_id: who pays.
        id: its id; that of its usage where `record_venture_usage` wrote it.
        usage_id: the usage in the ledger; None for a simulation.
        venture_id: the venture.
        lifecycle_stage: the stage it was in, from 0.
        phase: its phase, if stated, for example THE_TRUTH.
        agent_type: what kind of agent called.
        model_id: the model that was called, if stated.
        job_id: the job it was for, if any; `crew_id` the crew.
        tokens_total: tokens of both sides.
        cost_usd: US dollars; of a simulation what it would have cost.
        budget_profile: which share of the venture's budget it counts to.
        budget_allocation_pct: that share then, percent; None where the profile had none.
        is_simulation: True for what was not spent and counts to no budget.
        simulation_run_id: which run of a simulation, if stated.
        operation_type: what was done, if stated.
        metadata: the application's own facts.
        created_at: when it was recorded, or authorized.
        created_by: who recorded it.
    """

    organization_id: UUID
    id: UUID
    usage_id: UUID | None
    venture_id: UUID
    lifecycle_stage: int
    phase: str | None
    agent_type: str
    model_id: str | None
    job_id: UUID | None
    crew_id: str | None
    tokens_input: int
    tokens_output: int
    tokens_total: int
    cost_usd: Decimal
    budget_profile: str
    budget_allocation_pct: Decimal | None
    is_simulation: bool
    simulation_run_id: UUID | None
    operation_type: str | None
    metadata: Mapping[str, object] | None
    created_at: datetime
    created_by: str | None


@dataclass(frozen=True, slots=True, kw_only=True)
class VentureAllocation:
    """Which share of a venture's budget each profile has (`metering.venture_allocations`).

    Attributes:
        organization_id: who pays.
        venture_id: the venture.
        exploratory_pct: percent of each budget of the venture; None leaves the profile without a
            share, 0 closes it. Likewise the other three; together at most 100.
        created_at: when the first share was allocated.
        updated_at: when a share was last changed.
    """

    organization_id: UUID
    venture_id: UUID
    exploratory_pct: Decimal | None
    standard_pct: Decimal | None
    deep_due_diligence_pct: Decimal | None
    custom_pct: Decimal | None
    created_at: datetime
    updated_at: datetime


@dataclass(frozen=True, slots=True, kw_only=True)
class VentureProfile:
    """What a profile of a venture has left of its share (`metering.venture_profile_status`).

    Attributes:
        organization_id: who pays.
        venture_id: the venture.
        budget_profile: exploratory, standard, deep_due_diligence or custom.
        allocation_pct: its share of the venture's budget, percent.
        budget_id: the budget that share is; None where the venture has none, likewise what follows.
        time_window: total, hour, day, week or month.
        limit_usd: the share of the venture's limit, US dollars.
        enforcement: hard or soft, as the venture's budget.
        resets_at: when its window ends; None for a total.
        settled_usd: recorded spend of the window.
        held_usd: money held for calls under way.
        remaining_usd: what is left of it, below zero where spend passed it.
    """

    organization_id: UUID
    venture_id: UUID
    budget_profile: str
    allocation_pct: Decimal
    budget_id: UUID | None
    time_window: str | None
    limit_usd: Decimal | None
    enforcement: str | None
    resets_at: datetime | None
    settled_usd: Decimal | None
    held_usd: Decimal | None
    remaining_usd: Decimal | None


@dataclass(frozen=True, slots=True, kw_only=True)
class VentureSpend:
    """What a venture used in a stage and phase by a kind of agent (`metering.venture_spend`).

    Attributes:
        organization_id: who pays.
        venture_id: the venture.
        lifecycle_stage: the stage it was in.
        phase: its phase; None where none was stated.
        agent_type: what kind of agent called.
        requests: number of calls.
        tokens_total: tokens of both sides.
        cost_usd: what they cost, US dollars.
        simulated_requests: number of simulated calls, which are in none of the sums above; likewise
            what follows.
        simulated_cost_usd: what those would have cost.
    """

    organization_id: UUID
    venture_id: UUID
    lifecycle_stage: int
    phase: str | None
    agent_type: str
    requests: int
    tokens_input: int
    tokens_output: int
    tokens_total: int
    cost_usd: Decimal
    simulated_requests: int
    simulated_tokens_input: int
    simulated_tokens_output: int
    simulated_tokens_total: int
    simulated_cost_usd: Decimal


@dataclass(frozen=True, slots=True, kw_only=True)
class Entity:
    """Who keeps books within an organization (`accounting.entities`)."""

    organization_id: UUID
    entity_id: str
    code: str
    name: str
    metadata: Mapping[str, object]
    created_at: datetime


@dataclass(frozen=True, slots=True, kw_only=True)
class Account:
    """An account of the books (`accounting.accounts`).

    Attributes:
        organization_id: the organization.
        account_id: its id.
        entity_id: whose it is.
        code: its code, unique in the organization; `name` is what it is called.
        account_type: asset, liability, equity, income or expense.
        parent_account_id: the account it is part of, if any.
        metadata: whatever else is known of it.
        created_at: when it was opened.
    """

    organization_id: UUID
    account_id: str
    entity_id: str
    code: str
    name: str
    account_type: str
    parent_account_id: str | None
    metadata: Mapping[str, object]
    created_at: datetime


@dataclass(frozen=True, slots=True, kw_only=True)
class LedgerTransaction:
    """A bundle that was booked (`accounting.ledger_transactions`).

    Attributes:
        organization_id: the organization.
        transaction_id: its id.
        entity_id: in whose books.
        source_system: who sent it, with its id there in `external_id`; tallystick is the system.
        transaction_date: the day it is booked at.
        description: what it is.
        correlation_id: what it belongs to, as the sender says.
        response_payload: what the sender was answered.
        is_adjusting_entry: whether it may stand in a closed period; `adjusting_reason_code` says
            why.
        reverses_transaction_id: the transaction it undoes, if any.
        occurred_on: the day it belongs to, where it came too late to be booked there.
        recorded_at: when it was booked, by `recorded_by`.
    """

    organization_id: UUID
    transaction_id: str
    entity_id: str
    source_system: str
    external_id: str
    transaction_date: date
    description: str
    correlation_id: str
    response_payload: str
    is_adjusting_entry: bool
    adjusting_reason_code: str | None
    reverses_transaction_id: str | None
    occurred_on: date | None
    recorded_at: datetime
    recorded_by: str


@dataclass(frozen=True, slots=True, kw_only=True)
class LedgerPosting:
    """A leg of a transaction (`accounting.ledger_postings`).

    Attributes:
        organization_id: the organization.
        posting_id: its id.
        entity_id: in whose books.
        transaction_id: the transaction, of which it is leg number `position`.
        account_id: the account it changes.
        amount: US dollars, 4 decimals: above 0 debit, below 0 credit.
        currency: USD.
        memo: a remark, if any.
    """

    organization_id: UUID
    posting_id: str
    entity_id: str
    transaction_id: str
    account_id: str
    amount: Decimal
    currency: str
    memo: str | None
    position: int


@dataclass(frozen=True, slots=True, kw_only=True)
class BundleResponse:
    """The answer to a bundle (`record_transaction_bundle`, `reverse_transaction`).

    Attributes:
        text: all of it, as the database keeps it: a retry gets it byte for byte.
        status: committed: it is in the books. proposed: it waits for approval. rejected: it was
            not approved. refused: it is not booked, and `error` says why.
        correlation_id: what the bundle belongs to; of a retry, what the first one said.
        transaction_id: what a committed bundle became.
        posting_ids: its postings, in the order of the bundle.
        proposal_id: what is to be approved.
        error_code: the SQLSTATE of a refusal, or why it waits (TS428, TS429); else None.
        error_message: the message of a refusal; likewise `facts` and `hint`.
    """

    text: str
    status: str
    correlation_id: str
    transaction_id: str | None
    posting_ids: tuple[str, ...]
    proposal_id: str | None
    error_code: str | None
    error_message: str | None
    facts: Mapping[str, object] | None
    hint: str | None

    @property
    def error(self) -> TallystickError | None:
        """Why it was refused, as an exception to raise; None where it was not.

        A refusal is returned, because raising it could undo the event that remembers it.
        """
        if self.status != "refused" or self.error_code is None:
            return None
        kind = ERRORS.get(self.error_code, TallystickError)
        return kind(self.error_message or "", self.error_code, self.facts, self.hint)


@dataclass(frozen=True, slots=True, kw_only=True)
class AccountMapping:
    """On which account a line of what billing posts is booked (`set_account_map`).

    Attributes:
        organization_id: the organization.
        line: cash, receivable, customer_credits, accounts_payable, revenue, late_usage, breakage,
            promo_expense, adjustment or provider_cost.
        entity_id: in whose books: entity-default.
        account_id: the account.
        updated_at: since when it is that account.
    """

    organization_id: UUID
    line: str
    entity_id: str
    account_id: str
    updated_at: datetime


@dataclass(frozen=True, slots=True, kw_only=True)
class AccountMapLine:
    """A line of what billing posts, and its account (`get_account_map`).

    Attributes:
        line: the line, as in `AccountMapping`.
        posted_for: what is booked there.
        account_id: the account, with its `code` and `name`; None until something is posted or one
            is named.
        account_type: asset, liability, income or expense; before there is one, what it will be.
    """

    line: str
    posted_for: str
    account_id: str | None
    code: str | None
    name: str | None
    account_type: str


@dataclass(frozen=True, slots=True, kw_only=True)
class BalanceSnapshot:
    """A balance as others state it (`accounting.balance_snapshots`).

    Attributes:
        organization_id: the organization.
        snapshot_id: its id.
        entity_id: whose account it is.
        source_system: who states it.
        account_id: the account.
        snapshot_date: at the end of which day.
        balance: US dollars, 4 decimals: above 0 debit, below 0 credit.
        currency: USD.
        source_artifact_id: where it was read, if that is known.
        recorded_at: when it was last stated.
    """

    organization_id: UUID
    snapshot_id: str
    entity_id: str
    source_system: str
    account_id: str
    snapshot_date: date
    balance: Decimal
    currency: str
    source_artifact_id: str | None
    recorded_at: datetime


@dataclass(frozen=True, slots=True, kw_only=True)
class SnapshotDifference:
    """A balance as others state it beside that of the books (`compare_snapshots`).

    Attributes:
        snapshot_id: the snapshot; `source_system` states it.
        entity_id: whose account it is.
        account_id: the account, with its `code`.
        snapshot_date: at the end of which day.
        currency: USD.
        stated_balance: what they state, US dollars.
        book_balance: what the books say, US dollars.
        difference: what they state more than the books, US dollars.
    """

    snapshot_id: str
    entity_id: str
    account_id: str
    code: str
    snapshot_date: date
    source_system: str
    currency: str
    stated_balance: Decimal
    book_balance: Decimal
    difference: Decimal


@dataclass(frozen=True, slots=True, kw_only=True)
class Obligation:
    """What is expected to be due (`accounting.obligations`).

    Attributes:
        organization_id: the organization.
        obligation_id: its id.
        entity_id: whose it is.
        source_system: who states it.
        name: what it is.
        account_id: the account it concerns, if any.
        cadence: monthly, annual or custom.
        expected_amount: US dollars, 4 decimals.
        variability_flag: whether the amount varies.
        next_due_date: when it is due next.
        metadata: whatever else is known of it; ``interval_days`` of a custom one.
        active: false once it is over.
        created_at: when it was first stated.
        updated_at: when it was last changed.
    """

    organization_id: UUID
    obligation_id: str
    entity_id: str
    source_system: str
    name: str
    account_id: str | None
    cadence: str
    expected_amount: Decimal
    variability_flag: bool
    next_due_date: date
    metadata: Mapping[str, object]
    active: bool
    created_at: datetime
    updated_at: datetime


@dataclass(frozen=True, slots=True, kw_only=True)
class AccountingPeriod:
    """A month of an entity (`accounting.accounting_periods`); one without a row is open.

    Attributes:
        organization_id: the organization.
        period_id: its id.
        period_key: the month, as ``2026-01``.
        entity_id: in whose books.
        status: open; closed, it takes adjusting entries only; or locked.
        actor_id: who changed the status last, as part of `correlation_id`.
        closed_at: since when it is closed.
        locked_at: since when it is locked.
    """

    organization_id: UUID
    period_id: str
    period_key: str
    entity_id: str
    status: str
    actor_id: str | None
    correlation_id: str | None
    closed_at: datetime | None
    locked_at: datetime | None


@dataclass(frozen=True, slots=True, kw_only=True)
class PeriodAnswer:
    """The answer of `close_period`, `lock_period` and `reopen_period`.

    Attributes:
        status: ok: the period is as asked; refused: it is not.
        period_id: the period, of `entity_id` and month `period_key`.
        period_status: what it is now: open, closed or locked.
        closed_at: since when it is closed.
        locked_at: since when it is locked.
        error_code: TS412 where it was refused, as a locked period stays so; else None.
    """

    status: str
    period_id: str
    entity_id: str
    period_key: str
    period_status: str
    closed_at: datetime | None
    locked_at: datetime | None
    error_code: str | None


@dataclass(frozen=True, slots=True, kw_only=True)
class TrialBalanceLine:
    """An account over a span of days (`trial_balance`).

    Attributes:
        entity_id: whose account it is.
        account_id: the account, with `code`, `name`, `account_type` and `parent_account_id`.
        currency: USD.
        opening_balance: what it had before the span, US dollars: above 0 debit, below 0 credit.
        debits: what was debited in the span, US dollars.
        credits: what was credited in it, US dollars, above 0.
        closing_balance: what it had at its end, US dollars.
    """

    entity_id: str
    account_id: str
    parent_account_id: str | None
    code: str
    name: str
    account_type: str
    currency: str
    opening_balance: Decimal
    debits: Decimal
    credits: Decimal
    closing_balance: Decimal


@dataclass(frozen=True, slots=True, kw_only=True)
class AccountLedgerLine:
    """A posting of an account, with what it then had (`account_ledger`).

    Attributes:
        transaction_date: the day it is booked at.
        transaction_id: the transaction, which `source_system` sent as `external_id`.
        posting_id: the posting.
        description: what the transaction is.
        memo: a remark on the posting, if any.
        is_adjusting_entry: whether it is an adjusting entry.
        reverses_transaction_id: the transaction it undoes, if any.
        currency: USD.
        amount: US dollars: above 0 debit, below 0 credit.
        running_balance: the balance after it, US dollars.
    """

    transaction_date: date
    transaction_id: str
    posting_id: str
    source_system: str
    external_id: str
    description: str
    memo: str | None
    is_adjusting_entry: bool
    reverses_transaction_id: str | None
    currency: str
    amount: Decimal
    running_balance: Decimal


@dataclass(frozen=True, slots=True, kw_only=True)
class StatementLine:
    """A line of an income statement or balance sheet.

    Attributes:
        section: income, expense, net_income; asset, liability, equity or liability_and_equity.
        entity_id: whose account it is; of a sum, whose was asked for, None for all.
        account_id: the account; None for a sum of the section.
        parent_account_id: the account it is part of, if any.
        code: its code; None for a sum.
        name: its name, or what the sum is of.
        currency: USD.
        amount: US dollars, above 0 on the usual side of its section.
    """

    section: str
    entity_id: str | None
    account_id: str | None
    parent_account_id: str | None
    code: str | None
    name: str
    currency: str
    amount: Decimal


def to_bundle_response(value: object) -> BundleResponse:
    """Read the response to a bundle from its text."""
    text = to_text(value)
    answer = json.loads(text, parse_float=Decimal)
    absent = dict.fromkeys(columns(BundleResponse))
    return from_row(BundleResponse, {**absent, "posting_ids": [], **answer, "text": text})


def to_statement(value: object) -> Statement:
    """Read a statement from its document."""
    return from_row(Statement, _to_document(value))


def from_row(model: type[Model], row: Row) -> Model:
    """Read a model from a result row, every value converted to its exact type.

    Columns the model does not know are ignored, so an older client reads a newer database.

    Raises:
        KeyError: a column of the model is missing.
        TypeError: a value cannot be read exactly, for example money that arrived as a float.
    """
    return model(**{name: read(row) for name, read in _READERS[model].items()})


def columns(model: type) -> tuple[str, ...]:
    """Return the columns that `from_row` reads a model from."""
    return tuple(_READERS[model])


def to_decimal(value: object) -> Decimal:
    """Read money exactly from a `Decimal`, an int or decimal text; a float is a TypeError."""
    if isinstance(value, bool) or not isinstance(value, Decimal | int | str):
        raise TypeError(f"money must arrive as Decimal, int or text, not {type(value).__name__}")
    return Decimal(value)


def to_bool(value: object) -> bool:
    """Read a boolean; anything else is a TypeError."""
    if not isinstance(value, bool):
        raise TypeError(f"expected a boolean, not {type(value).__name__}")
    return value


def to_int(value: object) -> int:
    """Read a count; anything but an int is a TypeError."""
    if isinstance(value, bool) or not isinstance(value, int):
        raise TypeError(f"expected an integer, not {type(value).__name__}")
    return value


def to_uuid(value: object) -> UUID:
    """Read an id, from a UUID or its text."""
    return value if isinstance(value, UUID) else UUID(to_text(value))


def to_text(value: object) -> str:
    """Read text; anything else is a TypeError."""
    if not isinstance(value, str):
        raise TypeError(f"expected text, not {type(value).__name__}")
    return value


def _to_utc(value: object) -> datetime:
    if value in _UNBOUNDED:
        return _UNBOUNDED[value]
    moment = value if isinstance(value, datetime) else datetime.fromisoformat(to_text(value))
    if moment.tzinfo is None:
        raise TypeError("expected a time with its zone")
    return moment.astimezone(UTC)


_UNBOUNDED: Mapping[object, datetime] = {"-infinity": ALWAYS, "infinity": NEVER}


def _to_date(value: object) -> date:
    return value if type(value) is date else date.fromisoformat(to_text(value))


def _to_document(value: object) -> Mapping[str, object]:
    if not isinstance(value, Mapping):
        raise TypeError(f"expected a JSON object, not {type(value).__name__}")
    return dict(value)


_CONVERTERS: Mapping[object, Callable[[object], object]] = {
    UUID: to_uuid,
    Decimal: to_decimal,
    datetime: _to_utc,
    date: _to_date,
    str: to_text,
    int: to_int,
    bool: to_bool,
    Mapping: _to_document,
}


def _converter(hint: object) -> Callable[[object], object]:
    if isinstance(hint, UnionType):
        return _optional(_converter(_present(hint)))
    if get_origin(hint) is tuple:  # only "tuple[X, ...]" occurs
        return _array(_converter(get_args(hint)[0]))
    if is_dataclass(hint):
        return lambda value: from_row(cast("type", hint), _to_document(value))
    return _CONVERTERS[get_origin(hint) or hint]


def _present(hint: UnionType) -> object:
    """Return the X of "X | None", the only union that occurs."""
    (inner,) = (part for part in get_args(hint) if part is not type(None))
    return inner


def _optional(convert: Callable[[object], object]) -> Callable[[object], object]:
    return lambda value: None if value is None else convert(value)


def _array(convert: Callable[[object], object]) -> Callable[[object], object]:
    def read(value: object) -> tuple[object, ...]:
        if not isinstance(value, list):
            raise TypeError(f"expected an array, not {type(value).__name__}")
        return tuple(convert(each) for each in value)

    return read


def _field(name: str, hint: object) -> Callable[[Row], object]:
    """Read one field from a row: from its column, or a model from columns of the same row.

    Such a model is None where the column of its own name is null.
    """
    if isinstance(hint, UnionType) and is_dataclass(inner := _present(hint)):
        return lambda row: None if row[name] is None else from_row(cast("type", inner), row)
    convert = _converter(hint)
    return lambda row: convert(row[name])


_READERS: Mapping[type, Mapping[str, Callable[[Row], object]]] = {
    model: {name: _field(name, hint) for name, hint in get_type_hints(model).items()}
    for model in (
        Organization,
        Workflow,
        Budget,
        BudgetStatus,
        WaitingBudget,
        Decision,
        Hold,
        Usage,
        AuthorizedItem,
        SettledItem,
        PolicyRule,
        Proposal,
        ApprovalDecision,
        ApprovalOutcome,
        Finding,
        Seal,
        SealFinding,
        Price,
        CurrentPrice,
        PriceChange,
        PricedUsage,
        Markup,
        ModelName,
        CreditMovement,
        CreditBalance,
        CreditGrant,
        Run,
        Agent,
        Task,
        Step,
        Reconciliation,
        StatementMovement,
        ModelUsage,
        DayUsage,
        Statement,
        Event,
        VentureUsage,
        VentureAllocation,
        VentureProfile,
        VentureSpend,
        Entity,
        Account,
        LedgerTransaction,
        LedgerPosting,
        BundleResponse,
        AccountMapping,
        AccountMapLine,
        BalanceSnapshot,
        SnapshotDifference,
        Obligation,
        AccountingPeriod,
        PeriodAnswer,
        TrialBalanceLine,
        AccountLedgerLine,
        StatementLine,
    )
}
