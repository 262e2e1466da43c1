"""A worker that dies between hold and settlement leaves no more than a hold, which frees itself."""

import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest

from tallystick.replay.report import agrees
from tests.replay.conftest import ReplayFile, WriteFile
from tests.support.servers import Database

PATIENCE = 30  # seconds
HEADER = "timestamp,prompt_tokens,completion_tokens,workflow,request_id\n"
CALL = "2026-11-02T09:00:00,1000,300,chat,{}\n"
CAP = "0.0055"  # of one call


def open_holds(database: Database) -> int:
    with database.connect() as connection:
        return connection.execute("select from metering.holds where state = 'open'").rowcount


@contextmanager
def calling(database: Database, path: Path) -> Iterator["subprocess.Popen[str]"]:
    """Replay in a process of its own, and go on when it waits for the model's answer."""
    command = [sys.executable, "-m", "tallystick.cli.main", "replay", str(path)]
    command += ["--database-url", database.url(), "--organization", "Acme", "--model", "gpt-4o"]
    command += ["--workflow-limit", CAP, "--workers", "1", "--call-ms", "60000", "--no-compare"]
    with subprocess.Popen(command, stderr=subprocess.PIPE, text=True) as process:
        try:
            deadline = time.monotonic() + PATIENCE
            while not open_holds(database):
                assert process.poll() is None, process.communicate()[1]
                assert time.monotonic() < deadline
                time.sleep(0.02)
            yield process
        finally:
            process.kill()


def kill(_database: Database, process: "subprocess.Popen[str]") -> None:
    process.kill()


def cut_off(database: Database, process: "subprocess.Popen[str]") -> None:
    with database.connect() as connection:
        connection.execute(
            "select pg_terminate_backend(pid) from pg_stat_activity"
            " where datname = current_database() and backend_type = 'client backend'"
            " and pid <> pg_backend_pid()"
        )


@pytest.mark.parametrize("end", [kill, cut_off])
def test_the_money_of_a_dead_worker_frees_itself(
    database: Database,
    write: WriteFile,
    replay_file: ReplayFile,
    end: Callable[[Database, "subprocess.Popen[str]"], None],
) -> None:
    with calling(database, write("dies.csv", HEADER + CALL.format("req-1"))) as process:
        end(database, process)
        if end is kill:
            process.wait(PATIENCE)
    assert open_holds(database) == 1

    other = write("other.csv", HEADER + CALL.format("req-2"))
    refused = replay_file(other, workflow_limit=None)
    assert [each.answer for each in refused.held.run.outcomes] == ["over workflow cap"]
    with database.connect() as connection:  # eleven minutes later
        connection.execute(
            "create or replace function private.clock_now() returns timestamptz"
            " language plpgsql volatile set search_path = pg_catalog, pg_temp"
            " as $$ begin return clock_timestamp() + interval '11 minutes'; end $$"
        )
    admitted = replay_file(other, workflow_limit=None)
    assert [each.answer for each in admitted.held.run.outcomes] == ["recorded"]
    assert agrees(admitted)


def test_a_replay_after_a_crash_settles_the_hold_that_is_there(
    database: Database, write: WriteFile, replay_file: ReplayFile
) -> None:
    path = write("dies.csv", HEADER + CALL.format("req-1"))
    with calling(database, path) as process:
        process.kill()
        process.wait(PATIENCE)
    again = replay_file(path, workflow_limit=None)
    assert (again.held.already_recorded, len(again.held.run.recorded)) == (0, 1)
    with database.connect() as connection:
        assert connection.execute("select from metering.holds").rowcount == 0
        rows = connection.execute(
            "select settlement::text, unheld_usd from public.ai_usage_ledger"
        ).fetchall()
    assert rows == [("on_hold", 0)]
    assert agrees(again)
