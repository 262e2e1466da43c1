"""Sending requests: N workers on connections of their own, each taking the next request."""

from __future__ import annotations

import time
from concurrent.futures import ThreadPoolExecutor, as_completed
from dataclasses import dataclass
from threading import Event, Lock
from typing import TYPE_CHECKING

import psycopg

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator, Sequence

    from tallystick.replay.quotes import Quote
    from tallystick.replay.ways import Answer, Outcome, Way


@dataclass(frozen=True, slots=True, kw_only=True)
class Run:
    """What became of all requests.

    Attributes:
        outcomes: one per request, in the order of the file.
        seconds: how long the run took.
        workers: how many ran at the same time.
    """

    outcomes: tuple[Outcome, ...]
    seconds: float
    workers: int

    @property
    def recorded(self) -> list[Outcome]:
        """Those that were spent and recorded."""
        return [outcome for outcome in self.outcomes if outcome.answer == "recorded"]

    def count(self, answer: Answer) -> int:
        """Return how many requests got this answer."""
        return sum(outcome.answer == answer for outcome in self.outcomes)


def run(
    database_url: str,
    way: Way,
    quotes: Sequence[Quote],
    *,
    workers: int,
    on_outcome: Callable[[Answer], None],
) -> Run:
    """Send every request; they start in order.

    A failure stops all workers, each after the request it is at, and is raised. What was recorded
    until then stays, and running again goes on from there, because every request has its id.

    Args:
        database_url: where; each worker opens one connection.
        way: what to do with a request.
        quotes: the requests, in the order to start them.
        workers: how many at the same time.
        on_outcome: called with the answer to each request, one call at a time.

    Raises:
        TallystickError: the database refused something other than the spend.
        psycopg.OperationalError: the database cannot be reached.
    """
    queue = _Queue(quotes)
    outcomes: list[Outcome | None] = [None] * len(quotes)
    announce = Lock()

    def work() -> None:
        with psycopg.connect(database_url, autocommit=True, prepare_threshold=None) as connection:
            for index, quote in queue:
                outcome = way.spend(connection, quote)
                outcomes[index] = outcome
                with announce:
                    on_outcome(outcome.answer)

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

    def __init__(self, quotes: Sequence[Quote]) -> None:
        self._quotes = iter(enumerate(quotes))
        self._lock = Lock()
        self._stopped = Event()

    def __iter__(self) -> Iterator[tuple[int, Quote]]:
        while not self._stopped.is_set():
            with self._lock:
                item = next(self._quotes, None)
            if item is None:
                return
            yield item

    def stop(self) -> None:
        self._stopped.set()
