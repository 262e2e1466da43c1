"""Credits under many callers: never more than there is, never less, each movement once."""

from collections.abc import Iterator
from decimal import Decimal
from typing import Any
from uuid import UUID

import psycopg
import pytest

from tests.support import races
from tests.support.races import Connection, Tenant
from tests.support.servers import Database, Server

CALLERS = 16
ENDS = pytest.mark.parametrize("first_commits", [True, False], ids=["commit", "rollback"])


@pytest.fixture(scope="module", name="database")
def shared_database(server: Server, template: str) -> Iterator[Database]:
    """One database for all tests here: each has an organization of its own."""
    with server.clone(template) as database, races.warm(database):
        yield database


def buy(connection: Connection, tenant: Tenant, amount: str, key: str) -> Any:
    return races.call(
        connection, "billing.purchase_credits",
        org_id=tenant.organization, amount_usd=Decimal(amount), idempotency_key=key,
    )  # fmt: skip


def open_prepaid(database: Database, amount: str) -> Tenant:
    """Open a tenant that has bought credits."""
    tenant = races.open_tenant(database)
    with races.session(database) as connection:
        buy(connection, tenant, amount, "first")
    return tenant


def start(
    connection: Connection,
    tenant: Tenant,
    cost: str = "1",
    request: str | None = None,
    slots: int = 1,
) -> UUID:
    run: UUID = races.call(
        connection, "billing.start_run",
        org_id=tenant.organization, input_tokens=100, output_tokens=50,
        input_cost_usd=Decimal(cost), output_cost_usd=Decimal(0), request_id=request, slots=slots,
    ).id  # fmt: skip
    return run


def record(
    connection: Connection, run: UUID, cost: str = "0.25", request: str | None = None
) -> UUID:
    usage: UUID = races.one(
        connection,
        "select billing.record_token_call(%s, null, null, null, 10, 5, 'model', %s,"
        " p_request_id => %s)",
        run, Decimal(cost), request,
    )  # fmt: skip
    return usage


def ask_in_run(connection: Connection, tenant: Tenant, run: UUID, cost: str = "0.25") -> Any:
    return races.call(
        connection, "public.authorize_spend",
        organization_id=tenant.organization, model="model", estimated_cost=Decimal(cost),
        run_id=run,
    )  # fmt: skip


def ask(connection: Connection, tenant: Tenant, cost: str = "1") -> Any:
    return races.call(
        connection, "public.authorize_spend",
        organization_id=tenant.organization, model="model", estimated_cost=Decimal(cost),
    )  # fmt: skip


def reconcile(connection: Connection, run: UUID) -> UUID:
    reconciliation: UUID = races.one(connection, "select billing.reconcile_run(%s)", run)
    return reconciliation


def cancel(connection: Connection, run: UUID) -> Any:
    return races.call(connection, "billing.cancel_run", run_id=run)


def started(database: Database, tenant: Tenant, cost: str = "1", slots: int = 1) -> UUID:
    with races.session(database) as connection:
        return start(connection, tenant, cost, slots=slots)


def balance(database: Database, tenant: Tenant) -> tuple[Decimal, Decimal]:
    with races.session(database) as connection:
        row = connection.execute(
            "select balance_usd, reserved_usd from billing.credit_balances where org_id = %s",
            (tenant.organization,),
        ).fetchone()
    assert row is not None
    return row[0], row[1]


def reasons(database: Database, tenant: Tenant) -> list[str]:
    """Return why credits moved, purchases left out, in order."""
    with races.session(database) as connection:
        return [
            reason
            for (reason,) in connection.execute(
                "select h.reason from billing.credit_balance_history as h where h.org_id = %s"
                " and h.reason <> 'credit_purchase' order by h.movement",
                (tenant.organization,),
            )
        ]


def test_calls_outside_runs_get_all_there_is_and_no_more(database: Database) -> None:
    tenant = open_prepaid(database, "10")
    races_of = races.committed(ask)
    decisions = races.together(database, CALLERS, lambda c, _: races_of(c, tenant))
    assert sorted(each.decision for each in decisions) == ["denied"] * 6 + ["granted"] * 10
    assert balance(database, tenant) == (10, 10)


def test_runs_get_all_there_is_and_no_more(database: Database) -> None:
    tenant = open_prepaid(database, "10")
    codes = races.together(database, CALLERS, lambda c, _: races.code_of(start)(c, tenant))
    assert sorted(codes) == ["00000"] * 10 + ["TS402"] * 6
    assert balance(database, tenant) == (10, 10)


def test_runs_and_calls_share_what_there_is(database: Database) -> None:
    """Each half of a draw that is not needed goes to whoever asks next; nothing is left idle."""
    tenant = open_prepaid(database, "10")

    def work(connection: Connection, index: int) -> bool:
        if index % 2:
            return races.code_of(start)(connection, tenant) == "00000"
        return races.committed(ask)(connection, tenant).decision == "granted"

    assert races.together(database, CALLERS, work).count(True) == 10
    assert balance(database, tenant) == (10, 10)


def test_a_run_gets_what_the_draw_has_and_does_not_need(database: Database) -> None:
    tenant = open_prepaid(database, "8")
    with races.session(database) as connection:
        hold = ask(connection, tenant).hold_id  # the draw takes an eighth at once
        connection.commit()
        races.release(connection, hold)
    assert balance(database, tenant) == (8, 1)
    started(database, tenant, "8")
    assert balance(database, tenant) == (8, 8)


def test_a_purchase_is_booked_once_however_often_it_is_sent(database: Database) -> None:
    tenant = races.open_tenant(database)
    rows = races.together(
        database, CALLERS, lambda c, _: races.committed(buy)(c, tenant, "5", "payment")
    )
    assert len({row.id for row in rows}) == 1
    assert balance(database, tenant) == (5, 0)


def test_a_run_is_started_once_however_often_it_is_sent(database: Database) -> None:
    tenant = open_prepaid(database, "10")
    runs = races.together(
        database, CALLERS, lambda c, _: races.committed(start)(c, tenant, request="same")
    )
    assert len(set(runs)) == 1
    assert balance(database, tenant) == (10, 1)


def test_a_run_is_reconciled_once_whoever_comes_first(database: Database) -> None:
    tenant = open_prepaid(database, "10")
    run = started(database, tenant, slots=4)
    with races.session(database) as connection:
        record(connection, run)
    ids = races.together(database, CALLERS, lambda c, _: races.committed(reconcile)(c, run))
    assert len(set(ids)) == 1
    assert balance(database, tenant) == (Decimal("9.75"), 0)
    assert reasons(database, tenant) == ["run_charge", "token_reconciliation_overestimate"]


@ENDS
def test_a_run_waits_for_a_call_that_is_being_recorded(
    database: Database, first_commits: bool
) -> None:
    tenant = open_prepaid(database, "10")
    run = started(database, tenant)
    with races.rivals(database, 2) as (first, second):
        first.do(record, run)
        ending = second.start(reconcile, run)
        second.wait_until_blocked(ending)
        first.end(first_commits)
        ending.result(races.PATIENCE)
        second.commit()
    left = Decimal("9.75") if first_commits else Decimal(10)
    assert balance(database, tenant) == (left, 0)
    assert reasons(database, tenant)[0] == "run_charge"


@ENDS
def test_a_call_waits_for_its_run_that_is_being_reconciled(
    database: Database, first_commits: bool
) -> None:
    """Where the run has ended, the call is late; where it has not, it belongs to it."""
    tenant = open_prepaid(database, "10")
    run = started(database, tenant)
    with races.rivals(database, 2) as (first, second):
        first.do(reconcile, run)
        recording = second.start(record, run)
        second.wait_until_blocked(recording)
        first.end(first_commits)
        recording.result(races.PATIENCE)
        second.commit()
    if first_commits:
        assert balance(database, tenant) == (Decimal("9.75"), 0)
        assert reasons(database, tenant)[-1] == "late_usage"
    else:
        assert balance(database, tenant) == (10, 1)


def test_two_reconcile_while_many_record(database: Database) -> None:
    tenant = open_prepaid(database, "100")
    run = started(database, tenant, "1", slots=4)

    def work(connection: Connection, index: int) -> None:
        if index < 2:
            races.committed(reconcile)(connection, run)
        else:
            for _ in range(10):
                races.committed(record)(connection, run)

    races.together(database, CALLERS, work)
    spent = (CALLERS - 2) * 10 * Decimal("0.25")
    assert balance(database, tenant) == (100 - spent, 0)


def test_a_run_with_an_open_hold_is_not_reconciled_but_cancelled(database: Database) -> None:
    tenant = open_prepaid(database, "10")
    run = started(database, tenant)
    with races.session(database) as connection:
        hold = ask_in_run(connection, tenant, run).hold_id
        connection.commit()
        assert races.code_of(reconcile)(connection, run) == "TS423"
        cancel(connection, run)
        connection.commit()
        assert races.hold_states(database, tenant) == {hold: "released"}
        assert balance(database, tenant) == (10, 0)
        races.settle(connection, hold, "0.25")
    assert reasons(database, tenant)[-1] == "late_usage"
    assert balance(database, tenant) == (Decimal("9.75"), 0)


@ENDS
def test_a_settlement_and_a_cancellation_of_its_run(
    database: Database, first_commits: bool
) -> None:
    """The run waits for the hold: it finds it settled, or releases it."""
    tenant = open_prepaid(database, "10")
    run = started(database, tenant)
    with races.session(database) as connection:
        hold = ask_in_run(connection, tenant, run).hold_id
    with races.rivals(database, 2) as (first, second):
        first.do(races.settle, hold, "0.20")
        ending = second.start(cancel, run)
        second.wait_until_blocked(ending)
        first.end(first_commits)
        ending.result(races.PATIENCE)
        second.commit()
    left = Decimal("9.80") if first_commits else Decimal(10)
    assert balance(database, tenant) == (left, 0)


def test_an_overdue_hold_does_not_keep_a_run_open(database: Database) -> None:
    tenant = open_prepaid(database, "10")
    run = started(database, tenant)
    with races.session(database) as connection:
        hold = ask_in_run(connection, tenant, run).hold_id
    races.let_expire(database, hold)
    with races.session(database) as connection:
        reconcile(connection, run)
    assert races.hold_states(database, tenant) == {hold: "expired"}
    assert balance(database, tenant) == (10, 0)


def test_calls_of_a_run_get_all_it_has_and_no_more(database: Database) -> None:
    tenant = open_prepaid(database, "10")
    run = started(database, tenant, "2.5", slots=4)
    asking = races.committed(ask_in_run)
    decisions = races.together(database, CALLERS, lambda c, _: asking(c, tenant, run))
    assert [each.decision for each in decisions].count("granted") == 10


def test_first_credits_stop_calls_that_were_not_paid_in_advance(database: Database) -> None:
    """A call that read its budgets before the purchase reads them anew."""
    tenant = races.open_tenant(database)
    with races.rivals(database, 2) as (first, second):
        first.do(buy, tenant, "1", "first")
        asking = second.start(ask, tenant, "2")
        second.wait_until_blocked(asking)
        first.commit()
        assert asking.result(races.PATIENCE).decision == "denied"
        second.commit()


@pytest.mark.parametrize("isolation", list(psycopg.IsolationLevel)[2:])
def test_at_higher_levels_money_is_right_or_the_transaction_is_run_again(
    database: Database, isolation: psycopg.IsolationLevel
) -> None:
    tenant = open_prepaid(database, "10")
    run = started(database, tenant, "2", slots=2)

    def work(connection: Connection, index: int) -> str:
        doing: Any = (ask, start)[index % 2] if index < 8 else record
        arguments = (tenant,) if index < 8 else (run,)
        code = "40001"
        while code == "40001":
            code = races.code_of(doing)(connection, *arguments)
        return code

    codes = races.together(database, 12, work, isolation=isolation)
    assert set(codes) <= {"00000", "TS402"}
    with races.session(database) as connection:
        reconcile(connection, run)
