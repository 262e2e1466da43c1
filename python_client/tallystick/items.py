"""What is asked for as a whole: items of a batch, bundles of the books; frozen values.

An argument left at None is not sent and the SQL default applies. Types are checked when the call is
described (`calls`), values by the database.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence
    from datetime import date, timedelta
    from decimal import Decimal
    from uuid import UUID


@dataclass(frozen=True, slots=True, kw_only=True)
class SpendRequest:
    """One spend to authorize: the arguments of `authorize_spend` but for the organization.

    Attributes:
        model: the model to be called.
        estimated_cost: what to hold, US dollars; without it, the price of the tokens.
        input_tokens: how many tokens will be sent.
        max_output_tokens: how many tokens the answer may have.
        workflow_id: the workflow that spends.
        run_id: the run it belongs to.
        venture_id: the venture it belongs to.
        user_id: the person it is spent for.
        api_key_id: the application's name for the key it is spent with.
        tags: free labels; a budget of scope tag caps one ``key=value``.
        provider: who serves the model.
        service_tier: the provider's tier.
        request_id: makes a retry the same request.
        expires_in: how long the hold lasts; ten minutes by default.
        allow_partial: whether less than the estimate will do.
        minimum: how little will do, US dollars; without it, the input and one token of output.
    """

    model: str | None = None
    estimated_cost: Decimal | None = None
    input_tokens: int | None = None
    max_output_tokens: int | None = None
    workflow_id: UUID | None = None
    run_id: UUID | None = None
    venture_id: UUID | None = None
    user_id: UUID | None = None
    api_key_id: str | None = None
    tags: Mapping[str, str] | None = None
    provider: str | None = None
    service_tier: str | None = None
    request_id: str | None = None
    expires_in: timedelta | None = None
    allow_partial: bool | None = None
    minimum: Decimal | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class Settlement:
    """One hold to settle: the arguments of `settle_spend`.

    Attributes:
        hold_id: the hold, as `authorize_spend` named it.
        usage: token counts by class, for example ``{"input_tokens": 1200, "output_tokens": 300}``,
            with ``service_tier`` where another one served than was asked for.
        cost: what the call cost, US dollars; without it, the price says.
        request_id: makes a retry the same request.
    """

    hold_id: UUID
    usage: Mapping[str, int | str | bool] | None = None
    cost: Decimal | None = None
    request_id: str | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class Posting:
    """A leg of a bundle.

    Attributes:
        account_id: the account it changes.
        amount: US dollars: above 0 debit, below 0 credit. Rounded half even to 4 decimals.
        memo: a remark.
    """

    account_id: str
    amount: Decimal
    memo: str | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class Bundle:
    """A transaction to be booked, in balance (`record_transaction_bundle`).

    Attributes:
        source_system: who sends it.
        external_id: its id there: sent again, it is answered as it was.
        transaction_date: the day it is booked at.
        description: what it is.
        correlation_id: what it belongs to; the event log keeps it.
        postings: its legs, 2 or more, which sum to 0. None for a reversal, whose legs are known.
        entity_id: in whose books; the default entity unless stated.
        adjusting_reason_code: makes it an adjusting entry, which a closed period takes.
        override_period_lock: asks for approval to book it in a locked period.
        transaction_category: what policies may go by; likewise `risk_band`.
        reverses_transaction_id: the transaction it undoes.
        occurred_on: the day it belongs to, where that is another one.
    """

    source_system: str
    external_id: str
    transaction_date: date
    description: str
    correlation_id: str
    postings: Sequence[Posting] | None = None
    entity_id: str | None = None
    adjusting_reason_code: str | None = None
    override_period_lock: bool | None = None
    transaction_category: str | None = None
    risk_band: str | None = None
    reverses_transaction_id: str | None = None
    occurred_on: date | None = None
