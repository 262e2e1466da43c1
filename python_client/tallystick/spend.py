"""A model call that cannot forget to settle: hold before, settle or release after.

    with client.spend(acme, model="gpt-4o", input_tokens=1200, max_output_tokens=500) as call:
        response = call.see(openai.chat.completions.create(...))

    with client.spend(...) as call:
        for event in call.stream(anthropic.messages.create(..., stream=True)):
            ...

Entering holds what the call may cost, or raises `SpendDenied`. Leaving settles by what the response
said was used, or by what a stream had said when it was cut off; it releases where the call failed
before anything came of it. Where something came and nobody said what it used, it settles by an
estimate, flagged as one and warned of: a call that may have cost something is never for nothing. A
process that dies in between leaves a hold that frees itself when it expires.

What is sent is sent again where a connection was lost or a transaction lost a race; request id and
hold make that one hold and one settlement. Over a connection of yours the hold is part of your
transaction: commit it before the model answers, or use a pool.
"""

from __future__ import annotations

import asyncio
import warnings
from collections.abc import Generator
from dataclasses import replace
from datetime import UTC, datetime, timedelta
from typing import TYPE_CHECKING, Any, Self, TypeAlias, TypeVar
from uuid import uuid4

from tenacity import (
    AsyncRetrying,
    Retrying,
    retry_if_exception,
    stop_after_attempt,
    wait_random_exponential,
)

from tallystick import calls
from tallystick.adapters import Meter, UnknownUsage
from tallystick.errors import HoldClosed, InvalidArgument, RetryableError, SpendDenied, UnknownId

if TYPE_CHECKING:
    from collections.abc import (
        AsyncIterable,
        AsyncIterator,
        Callable,
        Coroutine,
        Iterable,
        Iterator,
        Mapping,
    )
    from decimal import Decimal
    from types import TracebackType
    from uuid import UUID

    from tallystick.adapters import Reading
    from tallystick.calls import Request
    from tallystick.items import SpendRequest
    from tallystick.models import Decision, Hold, PricedUsage, Usage
    from tallystick.transports import AsyncTransport, Transport

__all__ = ["AsyncSpend", "Spend", "UsageNotReported"]

T = TypeVar("T")
Used: TypeAlias = "Mapping[str, int | str | bool]"
Steps: TypeAlias = Generator["Request[Any]", Any, T]
"""Requests, each sent back its answer; how they are carried is somebody else's business."""

_ATTEMPTS = 8
_FIRST_PAUSE = 0.05  # seconds; doubled each time, then a random part of it
_LONGEST_PAUSE = 5
_LONGEST_REASON = 255


class UsageNotReported(UserWarning):
    """A call was settled by an estimate, because nobody said what it used."""


class _Spend:
    """What sync and async share: which call this is, what was seen of it, how it ends."""

    def __init__(self, organization_id: UUID, request: SpendRequest, usage_of: str | None) -> None:
        self._organization_id = organization_id
        # With an id, asking again after a lost answer finds the hold instead of making another.
        self._request = request if request.request_id else replace(request, request_id=uuid4().hex)
        self._meter = Meter(usage_of)
        self._stated: Used | None = None
        self._is_entered = False
        self._is_answered = False
        self._is_readable = True
        self._is_stream = False
        self._decision: Decision | None = None
        self._usage: Usage | None = None
        self._released: Hold | None = None

    @property
    def decision(self) -> Decision:
        """The answer that granted it.

        Raises:
            RuntimeError: the block has not been entered.
        """
        if self._decision is None:
            raise RuntimeError("the block has not been entered")
        return self._decision

    @property
    def hold_id(self) -> UUID:
        """The hold; the ledger row it becomes has the same id."""
        hold_id = self.decision.hold_id
        assert hold_id is not None, "a grant has a hold"  # noqa: S101
        return hold_id

    @property
    def usage(self) -> Usage | None:
        """The ledger row, after the block; None where the hold was released."""
        return self._usage

    @property
    def released(self) -> Hold | None:
        """The hold that was given back, after the block; None where it was settled."""
        return self._released

    def see(self, response: T) -> T:
        """Take in a response, or an event of a stream, and return it.

        `tallystick.adapters` reads it: an object of a provider's package, or decoded JSON.

        Raises:
            UnknownUsage: whose it is cannot be told; name the provider with ``usage_of``.
        """
        self._is_answered = True
        try:
            self._meter.see(response)
        except UnknownUsage:
            self._is_readable = False
            raise
        return response

    def used(self, usage: Used) -> None:
        """State what was used by token class, where no adapter can read it; this wins."""
        self._stated = dict(usage)

    def _entering(self) -> Steps[None]:
        if self._is_entered:
            raise RuntimeError("a block is for one call: enter another one for the next")
        self._is_entered = True
        decision: Decision = yield calls.authorize_spend(
            self._organization_id,
            **{name: getattr(self._request, name) for name in self._request.__slots__},
        )
        if decision.decision == "settled":
            facts = {"request_id": self._request.request_id, "usage_id": str(decision.usage_id)}
            raise HoldClosed("the request was made and settled before", "TS410", facts)
        if not decision.granted:
            raise SpendDenied(decision, self._request.request_id)
        self._decision = decision

    def _leaving(self, error: BaseException | None) -> Steps[None]:
        reading = self._meter.reading
        if self._stated is not None:
            yield from self._settling(self._stated)
        elif reading is not None:
            if reading.is_partial:
                reading = self._with_pieces(reading)
            cost = yield from self._cost_with_others(reading)
            yield from self._settling(_as_usage(reading), cost)
        elif error is not None and not self._is_answered:
            self._released = yield calls.release_spend(
                self.hold_id,
                reason=type(error).__name__[:_LONGEST_REASON],
                organization_id=self._organization_id,
            )
        else:
            yield from self._settling(*self._estimate())

    def _settling(self, usage: Used, cost: Decimal | None = None) -> Steps[None]:
        try:
            try:
                self._usage = yield self._settle(usage, cost)
            except InvalidArgument as refused:
                if refused.details.get("argument") != "p_cost":
                    raise
                _warn("no price is known for the model of a call: all it held is settled")
                self._usage = yield self._settle(
                    {**usage, "is_estimate": True}, self.decision.held_usd
                )
        except Exception as failure:
            failure.add_note(
                f"The hold {self.hold_id} was not settled and frees itself; until 45 days later it "
                f"can still be settled: settle_spend(hold_id, usage={dict(usage)!r}, cost={cost!r})"
            )
            raise

    def _settle(self, usage: Used, cost: Decimal | None) -> Request[Usage]:
        return calls.settle_spend(
            self.hold_id, usage=usage, cost=cost, organization_id=self._organization_id
        )

    def _with_pieces(self, reading: Reading) -> Reading:
        """Take the pieces of a stream, which said only how it began, for tokens."""
        pieces = self._meter.pieces
        _warn(
            f"a stream ended before it said what it generated: {pieces} pieces are taken for tokens"
        )
        output = max(reading.counts.output_tokens, pieces)
        return replace(reading, counts=replace(reading.counts, output_tokens=output))

    def _estimate(self) -> tuple[Used, Decimal | None]:
        """Estimate what nobody reported: a token per piece of a stream, else all that is held."""
        pieces, sent = self._meter.pieces, self._request.input_tokens
        is_stream = self._is_stream or pieces > 0
        is_priced = sent is not None and self._request.estimated_cost is None
        if is_stream and is_priced and self._is_readable:
            _warn(f"a stream ended without its usage: its {pieces} pieces are taken for tokens")
            usage = {"input_tokens": sent or 0, "output_tokens": pieces, "is_estimate": True}
            return usage, None
        _warn("nobody said what a call used (call.see(response) does): all it held is settled")
        return {"is_estimate": True}, self.decision.held_usd

    def _cost_with_others(self, reading: Reading) -> Steps[Decimal | None]:
        """Price a call on which other models worked too, or instead; None where there was none.

        A hold has one price, so the sum of several is stated.
        """
        if not reading.others and not reading.is_fallback:
            return None
        served = reading.model if reading.is_fallback else self._request.model
        try:
            own: PricedUsage = yield self._price(served, reading)
            cost = own.cost
            for other in reading.others:
                priced: PricedUsage = yield self._price(other.model, other)
                cost += priced.cost
        except (UnknownId, InvalidArgument):
            _warn("another model worked on a call and has no price: that of the hold is charged")
            return None
        return cost

    def _price(self, model: str | None, reading: Reading) -> Request[PricedUsage]:
        """Ask what a model's part of the call costs, by the prices of when it was made."""
        return calls.price_usage(
            model or "",
            _as_usage(reading),
            organization_id=self._organization_id,
            provider=self._request.provider,
            service_tier=self._request.service_tier,
            at=_time_of(self.hold_id),
        )

    def _extending(
        self, expires_in: timedelta | None, additional_cost: Decimal | None
    ) -> Steps[Hold]:
        hold: Hold = yield calls.extend_hold(
            self.hold_id,
            expires_in=expires_in,
            additional_cost=additional_cost,
            request_id=uuid4().hex,  # sent again, it extends once
            organization_id=self._organization_id,
        )
        return hold


class Spend(_Spend):
    """One model call: a context manager, made by `Client.spend`."""

    def __init__(
        self,
        transport: Transport,
        organization_id: UUID,
        request: SpendRequest,
        usage_of: str | None,
    ) -> None:
        """Keep what is to be spent; nothing is asked before the block is entered."""
        super().__init__(organization_id, request, usage_of)
        self._transport = transport

    def __enter__(self) -> Self:
        """Hold the money.

        Raises:
            SpendDenied: it is not granted.
            HoldClosed: the request id is of a call that was settled (TS410).
        """
        self._take(self._entering())
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        """Settle or release; an error of the block goes on, with a note if that failed."""
        try:
            self._take(self._leaving(error))
        except Exception as failure:  # noqa: BLE001 - raised there
            _go_on(error, failure)

    def stream(self, events: Iterable[T]) -> Iterator[T]:
        """Pass the events of a stream on, taking each in."""
        self._is_stream = True
        for event in events:
            yield self.see(event)

    def extend(
        self, *, expires_in: timedelta | None = None, additional_cost: Decimal | None = None
    ) -> Hold:
        """Keep the hold open for longer, hold more, or both; see `Client.extend_hold`."""
        return self._take(self._extending(expires_in, additional_cost))

    def _take(self, steps: Steps[T]) -> T:
        send = Retrying(**_retries(self._transport.is_transient))
        answer: object = None
        failure: Exception | None = None
        while True:
            try:
                request = steps.send(answer) if failure is None else steps.throw(failure)
            except StopIteration as end:
                result: T = end.value
                return result
            try:
                answer, failure = send(self._transport.run, request), None
            except Exception as error:  # noqa: BLE001 - the step decides
                failure = error


class AsyncSpend(_Spend):
    """One model call: an async context manager, made by `AsyncClient.spend`."""

    def __init__(
        self,
        transport: AsyncTransport,
        organization_id: UUID,
        request: SpendRequest,
        usage_of: str | None,
    ) -> None:
        """Keep what is to be spent; nothing is asked before the block is entered."""
        super().__init__(organization_id, request, usage_of)
        self._transport = transport

    async def __aenter__(self) -> Self:
        """Hold the money.

        Raises:
            SpendDenied: it is not granted.
            HoldClosed: the request id is of a call that was settled (TS410).
            asyncio.CancelledError: the task was cancelled; what was held meanwhile is given back.
        """
        try:
            await _finished(self._take(self._entering()))
        except asyncio.CancelledError as cancelled:
            if self._decision is not None:
                await self.__aexit__(type(cancelled), cancelled, cancelled.__traceback__)
            raise
        return self

    async def __aexit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        """Settle or release, also in a task that is cancelled; an error of the block goes on."""
        try:
            await _finished(self._take(self._leaving(error)))
        except Exception as failure:  # noqa: BLE001 - raised there
            _go_on(error, failure)

    async def stream(self, events: AsyncIterable[T]) -> AsyncIterator[T]:
        """Pass the events of a stream on, taking each in."""
        self._is_stream = True
        async for event in events:
            yield self.see(event)

    async def extend(
        self, *, expires_in: timedelta | None = None, additional_cost: Decimal | None = None
    ) -> Hold:
        """Keep the hold open for longer, hold more, or both; see `Client.extend_hold`."""
        return await self._take(self._extending(expires_in, additional_cost))

    async def _take(self, steps: Steps[T]) -> T:
        send = AsyncRetrying(**_retries(self._transport.is_transient))
        answer: object = None
        failure: Exception | None = None
        while True:
            try:
                request = steps.send(answer) if failure is None else steps.throw(failure)
            except StopIteration as end:
                result: T = end.value
                return result
            try:
                answer, failure = await send(self._transport.run, request), None
            except Exception as error:  # noqa: BLE001 - the step decides
                failure = error


async def _finished(work: Coroutine[Any, Any, T]) -> T:
    """Await work to its end, however often the task that awaits it is cancelled."""
    task = asyncio.ensure_future(work)
    cancelled: asyncio.CancelledError | None = None
    while not task.done():
        try:
            await asyncio.wait([task])
        except asyncio.CancelledError as error:
            cancelled = error  # the books come first
    if cancelled is None:
        return task.result()
    failure = None if task.cancelled() else task.exception()
    if isinstance(failure, Exception):
        _go_on(cancelled, failure)
    raise cancelled


def _time_of(hold_id: UUID) -> datetime:
    """Return when a hold was made, as its id says: the end of a millisecond."""
    milliseconds = timedelta(milliseconds=hold_id.int >> 80, microseconds=999)
    return datetime(1970, 1, 1, tzinfo=UTC) + milliseconds


def _go_on(error: BaseException | None, failure: Exception) -> None:
    """Raise what kept a block from settling, unless an error of its own is under way."""
    if error is None:
        raise failure
    error.add_note(f"and its spend could not be settled or released: {failure!r}")
    for note in getattr(failure, "__notes__", ()):
        error.add_note(note)


def _as_usage(reading: Reading) -> Used:
    usage: dict[str, int | str | bool] = {**reading.counts.as_usage()}
    if reading.service_tier is not None:
        usage["service_tier"] = reading.service_tier
    if reading.is_partial:
        usage["is_estimate"] = True
    return usage


def _retries(is_transient: Callable[[BaseException], bool]) -> dict[str, Any]:
    return {
        "retry": retry_if_exception(
            lambda error: isinstance(error, RetryableError) or is_transient(error)
        ),
        "stop": stop_after_attempt(_ATTEMPTS),
        "wait": wait_random_exponential(_FIRST_PAUSE, _LONGEST_PAUSE),
        "reraise": True,
    }


def _warn(what: str) -> None:
    warnings.warn(what, UsageNotReported, stacklevel=2)
