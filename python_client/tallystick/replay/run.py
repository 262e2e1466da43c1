"""Sending requests through the caps: N workers, each request one transaction.

Per request, in one transaction: both checks, then the record. The cost is known already, and
`check_workflow_cost_limit` holds off all other spend of the organization until the commit, so the
caps are exact however many workers run.
"""

from __future__ import annotations

import time
from concurrent.futures import ThreadPoolExecutor, as_completed
from dataclasses import dataclass
from threading import Event, Lock
from typing import TYPE_CHECKING, Literal

import psycopg

from tallystick.client import Client
from tallystick.errors import RetryableError
from tallystick.replay.plan import workflow_id

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator, Sequence
    from uuid import UUID

    from tallystick.replay.plan import Request

Answer = Literal["recorded", "over workflow cap", "over monthly cap"]

_ATTEMPTS = 10
_PAUSE = 0.02  # seconds, times the attempt


@dataclass(frozen=True, slots=True, kw_only=True)
class Outcome:
    """What became of one request."""

    request: Request
    answer: Answer


@dataclass(frozen=True, slots=True, kw_only=True)
class Run:
    """What became of all of them.

    Attributes:
        outcomes: one per request, in the order of the file.
        seconds: how long the run took.
        workers: how many ran at the same time.
    """

    outcomes: tuple[Outcome, ...]
    seconds: float
    workers: int

    def count(self, answer: Answer) -> int:
        """Return how many requests got this answer."""
        return sum(outcome.answer == answer for outcome in self.outcomes)


def run(
    database_url: str,
    organization_id: UUID,
    requests: Sequence[Request],
    *,
    workers: int,
    on_outcome: Callable[[Answer], None],
) -> Run:
    """Check and record every request; requests start in order.

    A failure stops all workers and is raised. What was recorded until then stays, and running
    again goes on from there, because every request has its id.

    Args:
        database_url: where; each worker opens one connection.
        organization_id: who pays.
        requests: what, in the order to start them.
        workers: how many at the same time.
        on_outcome: called with the answer to each request, one call at a time.

    Raises:
        TallystickError: the database refused something other than the spend.
        psycopg.OperationalError: the database cannot be reached.
    """
    queue = _Queue(requests)
    outcomes: list[Outcome | None] = [None] * len(requests)
    announce = Lock()

    def work() -> None:
        with psycopg.connect(database_url, autocommit=True, prepare_threshold=None) as connection:
            for index, request in queue:
                answer = _settle(connection, organization_id, request)
                outcomes[index] = Outcome(request=request, answer=answer)
                with announce:
                    on_outcome(answer)

    started = time.perf_counter()
    with ThreadPoolExecutor(workers) as pool:
        try:
            for finished in as_completed([pool.submit(work) for _ in range(workers)]):
                finished.result()
        finally:  # after a failure, or Ctrl-C, the other workers must not go on alone
            queue.stop()
    return Run(
        outcomes=tuple(outcome for outcome in outcomes if outcome is not None),
        seconds=time.perf_counter() - started,
        workers=workers,
    )


class _Queue:
    """Hands the requests out in order, until they end or somebody fails."""

    def __init__(self, requests: Sequence[Request]) -> None:
        self._requests = iter(enumerate(requests))
        self._lock = Lock()
        self._stopped = Event()

    def __iter__(self) -> Iterator[tuple[int, Request]]:
        while not self._stopped.is_set():
            with self._lock:
                item = next(self._requests, None)
            if item is None:
                return
            yield item

    def stop(self) -> None:
        self._stopped.set()


def _settle(
    connection: psycopg.Connection[tuple[object, ...]], organization_id: UUID, request: Request
) -> Answer:
    for attempt in range(1, _ATTEMPTS):
        try:
            return _check_and_record(connection, organization_id, request)
        except RetryableError:
            time.sleep(_PAUSE * attempt)
    return _check_and_record(connection, organization_id, request)


def _check_and_record(
    connection: psycopg.Connection[tuple[object, ...]], organization_id: UUID, request: Request
) -> Answer:
    client = Client(connection)
    workflow = workflow_id(organization_id, request.workflow)
    with connection.transaction():
        if not client.check_workflow_cost_limit(
            workflow, request.cost, organization_id=organization_id
        ):
            return "over workflow cap"
        if not client.check_organization_monthly_quota(organization_id):
            return "over monthly cap"
        client.record_usage_and_increment(
            workflow,
            organization_id,
            request.model,
            request.prompt_tokens,
            request.completion_tokens,
            request.cost,
            request_id=request.request_id,
        )
        return "recorded"
