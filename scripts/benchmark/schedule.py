"""All runs in turn, interleaved so that a slow minute of the machine hits every case alike."""

from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from typing import Final

from scripts.benchmark import pgbench
from scripts.benchmark.cases import Case
from scripts.benchmark.server import BenchmarkServer

_AS_SERVICE_ROLE: Final = "-c role=service_role"


@dataclass(frozen=True, slots=True)
class Plan:
    """What is measured, how often and under which loads.

    Attributes:
        cases: The cases, the floor first.
        flushes: By how many milliseconds a WAL flush is prolonged; 0 is the disk as it is.
        clients: Numbers of connections.
        rounds: How often everything is measured.
        seconds: How long a run is counted, after its warm-up.
    """

    cases: Sequence[Case]
    flushes: Sequence[float]
    clients: Sequence[int]
    rounds: int
    seconds: int

    @property
    def size(self) -> int:
        """The number of timed runs."""
        return len(self.cases) * len(self.flushes) * len(self.clients) * self.rounds


@dataclass(frozen=True, slots=True)
class Run:
    """One timed run.

    Attributes:
        flush_ms: By how much a WAL flush was prolonged.
        round: In which round it ran, from 1.
        clients: How many connections were busy.
        case: The name of the case.
        units_per_second: Ledger rows or answers per second.
        outcome: What pgbench said.
        findings: Which checks of the books failed afterwards.
    """

    flush_ms: float
    round: int
    clients: int
    case: str
    units_per_second: float
    outcome: pgbench.Outcome
    findings: list[str]


def prepare(server: BenchmarkServer, plan: Plan, announce: Callable[[str], None]) -> None:
    """Make the databases all runs are copied from.

    Raises:
        BenchmarkError: One cannot be made.
    """
    for case in plan.cases:
        announce(f"Preparing {case.title}")
        server.prepare(case.stage)


def measure(server: BenchmarkServer, plan: Plan, announce: Callable[[str], None]) -> Iterator[Run]:
    """Make all runs of a plan: A B C, A B C, ...

    Raises:
        BenchmarkError: A case cannot be measured.
    """
    for flush_ms in plan.flushes:
        server.set_flush(flush_ms)
        for number in range(1, plan.rounds + 1):
            for clients in plan.clients:
                for case in plan.cases:
                    announce(f"{case.title} (round {number}, {clients} at once)")
                    yield _measure_once(server, plan, flush_ms, number, clients, case)
    server.set_flush(0)


def _measure_once(
    server: BenchmarkServer, plan: Plan, flush_ms: float, number: int, clients: int, case: Case
) -> Run:
    load = pgbench.Load(
        script=case.script,
        clients=clients,
        seconds=plan.seconds,
        repetitions=None if case.batches is None else case.batches // clients,
        variables={**case.stage.variables, "request": 0},
    )
    with server.copy(case.stage) as database:
        environment = server.environment(database, _AS_SERVICE_ROLE)
        outcome = pgbench.run(server.program("pgbench"), environment, load, server.wal_bytes)
        findings = server.findings(database)
    return Run(
        flush_ms=flush_ms,
        round=number,
        clients=clients,
        case=case.name,
        units_per_second=outcome.per_second * case.units,
        outcome=outcome,
        findings=findings,
    )
