"""The command `tallystick doctor`."""

import os
import re
import shlex
import subprocess
from datetime import timedelta
from decimal import Decimal
from urllib.parse import urlsplit
from uuid import UUID

import psycopg
import pytest
from typer.testing import Result

from tallystick import Client, Organization, WaitingBudget, migrations
from tallystick.cli.doctor.checks import (
    judge_server,
    judge_settings,
    transactions,
)
from tallystick.cli.doctor.slots import FEWEST, MOST, enough_slots, judge_slots
from tests.cli.conftest import Run
from tests.support.servers import Database, Server
from tests.support.waiting import waiting_caller

CENT = Decimal("0.01")
SUBJECTS = [
    "server",
    "schema",
    "partitions",
    "scheduler",
    "holds",
    "prices",
    "transactions",
    "settings",
    "books",
    "slots",
]


def examine(run: Run) -> Result:
    return run("doctor", "--seconds", "0")


def lines(result: Result, subject: str) -> list[tuple[str, str]]:
    """Level and text of what was found about a subject."""
    found = re.findall(
        rf"^(ok|advice|unseen|problem) +{subject} +(.*?) *$", result.output, re.MULTILINE
    )
    assert found, result.output
    return found


def test_a_healthy_database_has_no_problem(run: Run, acme: Organization) -> None:
    result = examine(run)
    assert result.exit_code == 0, result.output
    told = re.findall(r"^(?:ok|advice) +(\w+)", result.output, re.MULTILINE)
    assert list(dict.fromkeys(told)) == SUBJECTS
    assert "No problem." in result.output
    for subject in ("server", "schema", "partitions", "holds", "books", "slots"):
        assert {level for level, _ in lines(result, subject)} == {"ok"}


def test_a_database_without_tallystick_is_a_problem(
    run: Run, bare_database: Database, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("DATABASE_URL", bare_database.url())
    result = examine(run)
    assert result.exit_code == 1
    assert lines(result, "schema") == [("problem", "Tallystick is not installed")]
    assert "tallystick migrate" in result.output
    assert "partitions" not in result.output
    assert "1 problem to mend" in result.output


@pytest.mark.parametrize(
    ("change", "level", "text"),
    [
        ("delete from {} where version = '{last}'", "problem", "{last}"),
        ("insert into {} (version, name) values ('9', 'tallystick_next')", "advice", "newer"),
        ("insert into {} (version, name) values ('9', 'of_the_application')", "ok", "{last}"),
        ("truncate {}", "advice", "cannot be told"),
    ],
)
def test_the_history_says_which_version_it_is(
    run: Run, connection: psycopg.Connection, change: str, level: str, text: str
) -> None:
    last = migrations.available()[-1].version
    connection.execute(change.format("supabase_migrations.schema_migrations", last=last).encode())
    result = examine(run)
    assert result.exit_code == (level == "problem")
    ((found_level, found_text),) = lines(result, "schema")
    assert found_level == level
    assert text.format(last=last) in found_text


def test_partitions_that_run_out_are_told(run: Run, connection: psycopg.Connection) -> None:
    connection.execute(
        """
        do $$
        declare
          v_name text;
        begin
          for v_name in
            select c.oid::regclass from pg_class as c
            join pg_inherits as i on i.inhrelid = c.oid
            where c.relnamespace = 'private'::regnamespace and c.relkind = 'r'
              and right(c.relname, 7) > to_char(now() at time zone 'UTC', 'YYYY_MM')
          loop
            execute 'drop table ' || v_name;
          end loop;
        end
        $$
        """
    )
    result = examine(run)
    assert result.exit_code == 0
    told = lines(result, "partitions")
    assert [level for level, _ in told] == ["advice"] * len(told)
    ledgers = ("billing.token_records", "public.ai_usage_ledger")
    assert [ledger in text for ledger, (_, text) in zip(ledgers, told, strict=True)] == [True, True]
    assert "select private.maintain();" in result.output
    connection.execute("select private.maintain()")
    assert {level for level, _ in lines(examine(run), "partitions")} == {"ok"}


def test_pg_cron_is_looked_for(run: Run, connection: psycopg.Connection) -> None:
    ((level, _),) = lines(examine(run), "scheduler")
    assert level == "advice"
    connection.execute(
        """
        create schema cron;
        create table cron.job (jobname text, active boolean);
        create function cron.schedule(text, text, text) returns bigint language sql as
          $$insert into cron.job values ($1, true) returning 1::bigint$$;
        """
    )
    result = examine(run)
    assert lines(result, "scheduler")[0][0] == "advice"
    assert "select private.schedule_maintenance();" in result.output
    connection.execute("select private.schedule_maintenance()")
    assert lines(examine(run), "scheduler")[0][0] == "ok"
    connection.execute("update cron.job set active = false where jobname = 'tallystick-maintain'")
    ((level, text),) = lines(examine(run), "scheduler")
    assert (level, text.endswith("does not run tallystick-maintain")) == ("advice", True)


def test_holds_nobody_sweeps_are_told(
    run: Run, client: Client, acme: Organization, connection: psycopg.Connection
) -> None:
    for _ in range(2):
        client.authorize_spend(acme.id, estimated_cost=CENT)
    assert lines(examine(run), "holds") == [("ok", "2 open, $0.02 held, 0 overdue")]
    connection.execute("update metering.holds set expires_at = now() - interval '1 minute'")
    assert lines(examine(run), "holds") == [("ok", "2 open, $0.02 held, 2 overdue")]
    connection.execute("update metering.holds set expires_at = now() - interval '3 hours'")
    result = examine(run)
    ((level, text),) = lines(result, "holds")
    assert (level, "2 overdue, the longest for 3 h" in text) == ("advice", True)
    assert "tallystick holds expire" in result.output


def test_books_that_do_not_agree_are_a_problem(
    run: Run, client: Client, acme: Organization, connection: psycopg.Connection
) -> None:
    decision = client.authorize_spend(acme.id, estimated_cost=CENT)
    assert decision.hold_id is not None
    client.settle_spend(decision.hold_id, cost=CENT)
    assert lines(examine(run), "books")[0][0] == "ok"
    connection.execute("update metering.usage_rollups set cost = cost + 1")
    result = examine(run)
    assert result.exit_code == 1
    ((level, text),) = lines(result, "books")
    assert (level, "finding" in text) == ("problem", True)
    assert "tallystick verify" in result.output


def test_transactions_that_stay_open_are_told(
    database: Database, connection: psycopg.Connection
) -> None:
    (fine,) = transactions(connection)
    assert fine.level == "ok"
    others = [database.connect(application_name="app-[red]") for _ in range(7)]
    pids = [other.info.backend_pid for other in others]
    try:
        for other in others:
            other.execute("select pg_sleep(0.002)")
        *named, rest = transactions(connection, longer_than=timedelta(milliseconds=1))
    finally:
        for other in others:
            other.close()
    assert {each.level for each in named} == {"advice"}
    assert len(named) == 5
    assert all("app-[red]" in each.text and "idle in tra" in each.text for each in named)
    assert named[0].remedy == f"select pg_terminate_backend({pids[0]});"
    assert "2 more" in rest.text


GOOD = {
    "fsync": "on",
    "synchronous_commit": "on",
    "idle_in_transaction_session_timeout": "60000",
}


@pytest.mark.parametrize(
    ("name", "value"),
    [
        ("fsync", "off"),
        ("synchronous_commit", "off"),
        ("idle_in_transaction_session_timeout", "0"),
    ],
)
def test_a_setting_that_weakens_a_promise_is_told(name: str, value: str) -> None:
    assert [each.level for each in judge_settings(GOOD)] == ["ok"]
    (told,) = judge_settings({**GOOD, name: value})
    assert told.level == "advice"
    assert f"{name} is {value}" in told.text
    assert told.remedy is not None
    assert name in told.remedy


@pytest.mark.parametrize(
    ("version", "level"),
    [(140009, "problem"), (150000, "ok"), (180001, "ok"), (190000, "advice")],
)
def test_the_versions_of_postgres(version: int, level: str) -> None:
    judged = judge_server(version, "database x as me")
    assert judged.level == level
    assert f"PostgreSQL {version // 10000}.{version % 10000}" in judged.text


def waiting(budget: int = 1, slots: int = 1, callers: int = 1) -> WaitingBudget:
    return WaitingBudget(
        organization_id=UUID(int=1),
        budget_id=UUID(int=budget),
        scope="organization",
        scope_id="",
        time_window="month",
        slot_count=slots,
        waiting=callers,
    )


def test_only_budgets_that_are_often_waited_for_need_slots() -> None:
    quiet: list[WaitingBudget] = []
    (fine,) = judge_slots([quiet] * 20)
    assert (fine.level, "20 looks" in fine.text) == ("ok", True)
    (fine,) = judge_slots([[waiting()], *[quiet] * 20])
    assert fine.level == "ok"
    hot, other = judge_slots([[waiting(callers=7)], [waiting(), waiting(2)], quiet, quiet])
    assert hot.level == "advice"
    assert "50 % of 4 looks, up to 7 at once; it has 1 slot" in hot.text
    assert (hot.remedy or "").endswith(f"budgets change {UUID(int=1)} --slots 16")
    assert "25 % of 4 looks" in other.text
    (most,) = judge_slots([[waiting(slots=MOST)]])
    assert (most.level, most.remedy) == ("advice", None)


@pytest.mark.parametrize(
    ("present", "callers", "slots"),
    [(1, 1, FEWEST), (1, 8, 32), (16, 1, 64), (16, 16, 64), (200, 100, MOST), (MOST, 1, MOST)],
)
def test_enough_slots(present: int, callers: int, slots: int) -> None:
    assert enough_slots(present, callers) == slots


def test_slots_are_advised_where_callers_wait_and_the_advice_works(
    run: Run, client: Client, database: Database, acme: Organization
) -> None:
    with waiting_caller(database, acme.id):
        result = run("doctor", "--seconds", "0.2")
    assert result.exit_code == 0, result.output
    assert lines(result, "slots")[0][0] == "advice"
    (command,) = re.findall(r"^ +(.* budgets change .*)$", result.output, re.MULTILINE)
    done = subprocess.run(shlex.split(command), capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr
    assert client.budgets(acme.id)[0].slot_count == FEWEST


def test_a_role_without_rights_is_told_what_it_may_not_see(
    run: Run, server: Server, database: Database, monkeypatch: pytest.MonkeyPatch
) -> None:
    role = f"tallystick_test_{os.getpid()}"
    with psycopg.connect(server.admin_url, autocommit=True) as admin:
        password = urlsplit(server.owner_url).password
        admin.execute(f"create role {role} login password '{password}'")
        monkeypatch.setenv("DATABASE_URL", database.url(role))
        try:
            result = examine(run)
        finally:
            admin.execute(f"drop role {role}")
    assert result.exit_code == 0, result.output
    for subject in ("schema", "partitions", "holds", "transactions", "books", "slots"):
        ((level, text),) = lines(result, subject)
        assert level == ("unseen" if subject != "transactions" else "advice")
        assert "this role may" in text
    assert re.search(r"No problem in what this role may look at; \d checks could", result.output)


def test_the_doctor_changes_nothing(run: Run, database: Database, acme: Organization) -> None:
    with database.connect() as connection:
        connection.execute(
            f'alter database "{database.name}" set default_transaction_read_only = on'
        )
    result = examine(run)
    assert result.exit_code == 0, result.output


def test_price_lists_are_looked_after(run: Run, connection: psycopg.Connection) -> None:
    ((level, text),) = lines(examine(run), "prices")
    assert (level, text.split(":")[0]) == ("advice", "no price list is loaded")
    run("prices", "sync")
    for checked, level, told in (
        ("now()", "ok", "days more"),
        ("now() - interval '80 days'", "advice", "9 d more"),
        ("now() - interval '91 days'", "problem", "stale"),
    ):
        connection.execute(
            f"update pricing.price_lists set checked_at = {checked} where source = 'genai-prices'"
        )
        result = examine(run)
        ((found, text),) = lines(result, "prices")
        assert found == level
        assert told in text
        assert result.exit_code == (level == "problem")
    run("prices", "sync", "--max-age", "0")
    assert "trusted for ever" in lines(examine(run), "prices")[0][1]
