"""Two ways to spend under caps: hold, then settle; and check, then record.

Both are done for real, each step a transaction of its own, with the model call in between: its
answer is in the file already, so the worker only waits for `call_seconds`. Both are given the exact
cost beforehand, because the length of the answer is known: an estimate needs no margin here, and a
check is told more than it could know.
"""

from __future__ import annotations

import time
from contextlib import suppress
from dataclasses import dataclass
from decimal import Decimal
from typing import TYPE_CHECKING, Literal, Protocol

import psycopg
from tenacity import (
    retry,
    retry_if_exception_type,
    stop_after_attempt,
    wait_random_exponential,
)

from tallystick.client import Client
from tallystick.errors import RetryableError, TallystickError
from tallystick.replay.plan import derived_workflow_id, workflow_id

if TYPE_CHECKING:
    from uuid import UUID

    from tallystick.models import Decision, Usage
    from tallystick.organizations import AnyConnection
    from tallystick.replay.books import Caps, Operation
    from tallystick.replay.plan import Request
    from tallystick.replay.quotes import Quote

Answer = Literal[
    "recorded",
    "over workflow cap",
    "over monthly cap",
    "over another cap",
    "frozen",
    "without a price",
]

_REASONS: dict[str | None, Answer] = {
    "frozen": "frozen",
    "unpriced_model": "without a price",
    "stale_price": "without a price",
}
_LEAST = Decimal("0.000000000001")  # the smallest amount there is
_UNLIMITED = Decimal("999999999999.999999999999")  # the largest

_until_it_wins = retry(
    retry=retry_if_exception_type(RetryableError),
    stop=stop_after_attempt(10),
    wait=wait_random_exponential(multiplier=0.01, max=0.5),  # seconds
    reraise=True,
)
"""A transaction that lost a race is run again."""


@dataclass(frozen=True, slots=True)
class Outcome:
    """What became of one request.

    Attributes:
        quote: the request and what it costs.
        answer: recorded, or why it was refused.
        budget_id: the budget that refused it, where one did.
    """

    quote: Quote
    answer: Answer
    budget_id: UUID | None = None

    @property
    def request(self) -> Request:
        """The request."""
        return self.quote.request

    @property
    def cost(self) -> Decimal:
        """What it cost, or would have."""
        return self.quote.cost


class Way(Protocol):
    """How requests of one organization are spent."""

    @property
    def operation(self) -> Operation:
        """By what the database binds their ids."""

    def workflow_id(self, name: str) -> UUID:
        """Return the id of a workflow."""

    def spend(self, connection: AnyConnection, quote: Quote) -> Outcome:
        """Make the call if it is admitted, and record it.

        Args:
            connection: one where each statement is its own transaction.
            quote: the request and what it costs.

        Raises:
            TallystickError: the database refused something other than the spend.
        """


@dataclass(frozen=True, slots=True)
class HoldThenSettle:
    """What a call may cost is held before it and settled after it: `authorize_spend`.

    A worker that dies in between leaves a hold, which frees itself; one that fails releases it.

    Attributes:
        organization_id: who pays.
        caps: the caps in force, to say which one refused.
        call_seconds: how long a call takes.
    """

    organization_id: UUID
    caps: Caps
    call_seconds: float
    operation: Operation = "authorize"

    def workflow_id(self, name: str) -> UUID:
        """Return the id of a workflow: its name where that is one."""
        return workflow_id(self.organization_id, name)

    def spend(self, connection: AnyConnection, quote: Quote) -> Outcome:
        """Hold, call, settle; a request that was settled before stays so."""
        client = Client(connection)
        decision = self._authorize(client, quote)
        if decision.hold_id is None:
            return Outcome(quote, self._answer(decision), decision.budget_id)
        try:
            time.sleep(self.call_seconds)
            self._settle(client, decision.hold_id, quote)
        except BaseException:
            # Where the database does not answer either, the hold frees itself later.
            with suppress(TallystickError, psycopg.Error):
                client.release_spend(
                    decision.hold_id,
                    reason="the replay failed",
                    organization_id=self.organization_id,
                )
            raise
        return Outcome(quote, "recorded")

    @_until_it_wins
    def _authorize(self, client: Client, quote: Quote) -> Decision:
        request, stated = quote.request, quote.is_stated
        return client.authorize_spend(
            self.organization_id,
            model=request.model,
            # A call that is stated to cost nothing holds the least there is.
            estimated_cost=max(quote.cost, _LEAST) if stated else None,
            input_tokens=None if stated else request.prompt_tokens,
            max_output_tokens=None if stated else request.completion_tokens,
            workflow_id=self.workflow_id(request.workflow),
            service_tier=request.service_tier,
            request_id=request.request_id,
        )

    @_until_it_wins
    def _settle(self, client: Client, hold_id: UUID, quote: Quote) -> Usage:
        return client.settle_spend(
            hold_id,
            usage=quote.request.usage,
            cost=quote.cost if quote.is_stated else None,
            organization_id=self.organization_id,
        )

    def _answer(self, decision: Decision) -> Answer:
        if decision.decision == "settled":
            return "recorded"
        if decision.reason in _REASONS:
            return _REASONS[decision.reason]
        cap = self.caps.by_id.get(decision.budget_id) if decision.budget_id else None
        match (cap.scope, cap.time_window) if cap else None:
            case ("workflow", "total"):
                return "over workflow cap"
            case ("organization", "month"):
                return "over monthly cap"
            case _:
                return "over another cap"


@dataclass(frozen=True, slots=True)
class CheckThenRecord:
    """A call is checked before it and recorded after it, as gateways do.

    Nothing is set aside in between, so whoever asks before another has recorded is told yes as
    well. The month's check asks, as theirs do, whether anything is left.

    Attributes:
        organization_id: who pays.
        call_seconds: how long a call takes.
    """

    organization_id: UUID
    call_seconds: float
    operation: Operation = "record"

    def workflow_id(self, name: str) -> UUID:
        """Return the id of a workflow; a name that is an id is another organization's."""
        return derived_workflow_id(self.organization_id, name)

    def spend(self, connection: AnyConnection, quote: Quote) -> Outcome:
        """Check, call, record."""
        refusal = self._check(connection, quote)
        if refusal is not None:
            return Outcome(quote, refusal)
        time.sleep(self.call_seconds)
        self._record(Client(connection), quote)
        return Outcome(quote, "recorded")

    @_until_it_wins
    def _check(self, connection: AnyConnection, quote: Quote) -> Answer | None:
        client = Client(connection)
        with connection.transaction():
            # Stating no limit of our own: only what is stored caps, as with holds.
            if not client.estimate_workflow_cost_limit(
                self.workflow_id(quote.request.workflow),
                quote.cost,
                max_cost=_UNLIMITED,
                organization_id=self.organization_id,
            ):
                return "over workflow cap"
            if not client.check_organization_monthly_quota(
                self.organization_id, monthly_limit=_UNLIMITED
            ):
                return "over monthly cap"
        return None

    @_until_it_wins
    def _record(self, client: Client, quote: Quote) -> None:
        request = quote.request
        client.record_usage_and_increment(
            self.workflow_id(request.workflow),
            self.organization_id,
            request.model,
            request.prompt_tokens,
            request.completion_tokens,
            quote.cost,
            request_id=request.request_id,
        )
