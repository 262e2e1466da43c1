"""One timed run of pgbench, and what it says.

A figure counts what happens while every client is warm and busy. In a new connection the first call
of a function takes twenty times as long as the later ones, since its statements are read and
planned; connections that are kept, as by a pool, never notice. So each run begins with a warm-up in
the very same connections, and what is counted is picked from pgbench's log by time.
"""

import math
import os
import re
import subprocess
import tempfile
import time
from collections import defaultdict
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Final, NamedTuple

from scripts.benchmark.errors import BenchmarkError

_SCRIPTS: Final = Path(__file__).parent / "run"
_WARM_UP: Final = 2  # seconds
_WARM_UP_SHARE: Final = 4  # of a run that ends by count, a quarter of it
_FAILED = re.compile(r"^number of failed transactions: (\d+)", re.MULTILINE)


@dataclass(frozen=True, slots=True)
class Load:
    """How a script is repeated: by so many clients, each for a time or a number of times.

    Attributes:
        script: Its name in `run/`.
        clients: How many connections, all busy all the time.
        seconds: For how long after the warm-up, unless `repetitions` is given.
        repetitions: How often each client repeats it, the warm-up included.
        variables: What the script refers to as `:name`.
    """

    script: str
    clients: int
    seconds: int
    repetitions: int | None
    variables: Mapping[str, int]


@dataclass(frozen=True, slots=True)
class Latency:
    """How long repetitions took, in milliseconds."""

    p50: float
    p95: float
    p99: float
    longest: float


@dataclass(frozen=True, slots=True)
class Outcome:
    """What a load came to.

    Attributes:
        transactions: How many repetitions were counted.
        per_second: Their rate.
        latency: How long they took.
        wal_bytes: What the server wrote for each; None when the run was over before its warm-up.
        failed: How many repetitions failed and were given up, the warm-up included.
        error: What ended a client before its time; empty when all went well.
    """

    transactions: int
    per_second: float
    latency: Latency
    wal_bytes: float | None
    failed: int
    error: str


class _Transaction(NamedTuple):
    client: int
    finished: float  # seconds since the epoch
    milliseconds: float


def run(
    program: str, environment: Mapping[str, str], load: Load, read_wal: Callable[[], int]
) -> Outcome:
    """Put a load on the database that the environment names.

    Args:
        program: The path of pgbench.
        environment: Where it connects to, and as whom.
        load: What it repeats.
        read_wal: Tells how many bytes of WAL the server has ever written.

    Raises:
        BenchmarkError: Nothing could be measured; the message is pgbench's.
    """
    with tempfile.TemporaryDirectory(prefix="tallystick-bench-log-") as logs:
        command = _command(program, load, Path(logs) / "log")
        with subprocess.Popen(
            command, env=environment, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True
        ) as process:
            time.sleep(_WARM_UP)
            warm, wal = time.time(), read_wal()
            output, error = process.communicate()
            wal = read_wal() - wal
        transactions = _read_logs(Path(logs))
    counted, seconds = _counted(transactions, load, warm)
    if not counted:
        reason = error.strip() or "no repetition was finished in time: give it more --seconds."
        raise BenchmarkError(f"pgbench could not measure {load.script}: {reason}")
    since_warm = sum(transaction.finished > warm for transaction in transactions)
    failed = _FAILED.search(output)
    return Outcome(
        transactions=len(counted),
        per_second=len(counted) / seconds,
        latency=_latency(counted),
        wal_bytes=wal / since_warm if since_warm else None,
        failed=int(failed[1]) if failed else 0,
        error=error.strip() if process.returncode != 0 else "",
    )


def _command(program: str, load: Load, log: Path) -> list[str]:
    threads = min(load.clients, os.cpu_count() or 1)
    command = [program, "--no-vacuum", "--protocol=prepared"]
    command += [f"--file={_SCRIPTS / load.script}.sql", "--log", f"--log-prefix={log}"]
    command += [f"--client={load.clients}", f"--jobs={threads}"]
    if load.repetitions is None:
        command.append(f"--time={_WARM_UP + load.seconds}")
    else:
        command.append(f"--transactions={load.repetitions}")
    return [*command, *(f"--define={name}={value}" for name, value in load.variables.items())]


def _read_logs(folder: Path) -> list[_Transaction]:
    """Read the logs of all threads, leaving out repetitions that failed."""
    transactions = []
    for log in folder.iterdir():
        with log.open(encoding="ascii") as lines:
            for line in lines:
                client, _, taken, _, seconds, microseconds = line.split()[:6]
                if taken.isdigit():
                    finished = int(seconds) + int(microseconds) / 1e6
                    transactions.append(_Transaction(int(client), finished, int(taken) / 1000))
    return transactions


def _counted(
    transactions: Sequence[_Transaction], load: Load, warm: float
) -> tuple[list[_Transaction], float]:
    """Return what was finished while all clients were warm and busy, and how long that was."""
    finishes: dict[int, list[float]] = defaultdict(list)
    for transaction in transactions:
        finishes[transaction.client].append(transaction.finished)
    if len(finishes) < load.clients:
        return [], 0
    if load.repetitions is not None:
        warm = max(finished[len(finished) // _WARM_UP_SHARE] for finished in finishes.values())
    end = min(finished[-1] for finished in finishes.values())
    counted = [transaction for transaction in transactions if warm < transaction.finished <= end]
    return counted, end - warm


def _latency(transactions: Sequence[_Transaction]) -> Latency:
    ascending = sorted(transaction.milliseconds for transaction in transactions)

    def percentile(percent: int) -> float:
        return ascending[math.ceil(len(ascending) * percent / 100) - 1]

    return Latency(percentile(50), percentile(95), percentile(99), ascending[-1])
