"""Several real connections at once, and races whose order is decided instead of hoped for.

A decided race: one rival holds a lock, the other is started and `wait_until_blocked` returns once
its backend waits for a lock. Nothing sleeps for a fixed time, and nothing waits for ever: each
connection has a statement timeout, each future a deadline.
"""

from collections.abc import Callable, Iterator
from concurrent.futures import Future, ThreadPoolExecutor, wait
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass
from decimal import Decimal
from threading import Barrier
from typing import Any, Concatenate, ParamSpec, TypeVar
from uuid import UUID

import psycopg
from psycopg import IsolationLevel, sql
from psycopg.rows import TupleRow

from tests.support.servers import Database

P = ParamSpec("P")
T = TypeVar("T")
Connection = psycopg.Connection[TupleRow]

PATIENCE = 60.0  # seconds; above the statement timeout, so that Postgres speaks first
GUARD = "-c statement_timeout=40s"
WRITER = "service_role"
OWNER = "postgres"


def connect(
    database: Database, role: str = WRITER, isolation: IsolationLevel | None = None
) -> Connection:
    """Connect as a server role; statements end after a while, whatever happens."""
    connection = database.connect(role=role, options=GUARD)
    connection.isolation_level = isolation
    return connection


def one(connection: Connection, query: str, *parameters: object) -> Any:
    """Return the only column of the only row."""
    row = connection.execute(query, parameters).fetchone()
    assert row is not None
    return row[0]


class Rival:
    """One connection whose statements run in a thread of its own."""

    def __init__(self, connection: Connection, observer: Connection) -> None:
        self.connection = connection
        self._observer = observer
        self._thread = ThreadPoolExecutor(1)

    def start(
        self, work: Callable[Concatenate[Connection, P], T], *args: P.args, **named: P.kwargs
    ) -> "Future[T]":
        """Start `work(connection, ...)` and return at once."""
        return self._thread.submit(work, self.connection, *args, **named)

    def do(
        self, work: Callable[Concatenate[Connection, P], T], *args: P.args, **named: P.kwargs
    ) -> T:
        """Run `work(connection, ...)` to its end."""
        return self.start(work, *args, **named).result(PATIENCE)

    def commit(self) -> None:
        self.do(Connection.commit)

    def rollback(self) -> None:
        self.do(Connection.rollback)

    def wait_until_blocked(self, work: "Future[Any]") -> None:
        """Return when this rival's backend waits for a lock; fail if its work ends before."""
        pid = self.connection.info.backend_pid
        waiting = "select wait_event_type = 'Lock' from pg_stat_activity where pid = %s"
        while not one(self._observer, waiting, pid):
            if wait([work], timeout=0.005).done:
                raise AssertionError(f"did not wait for its rival: {work.exception()}")

    def close(self) -> None:
        self._thread.shutdown(wait=True)
        self.connection.close()


@contextmanager
def rivals(
    database: Database, number: int = 2, isolation: IsolationLevel | None = None
) -> Iterator[list[Rival]]:
    """Lend rivals, each with a connection of its own."""
    with ExitStack() as stack:
        observer = stack.enter_context(connect(database, OWNER))
        observer.autocommit = True
        lent = [Rival(connect(database, isolation=isolation), observer) for _ in range(number)]
        for rival in lent:
            stack.callback(rival.close)
        yield lent


def together(
    database: Database,
    number: int,
    work: Callable[[Connection, int], T],
    isolation: IsolationLevel | None = None,
) -> list[T]:
    """Run `work(connection, index)` on `number` connections at once; the first error is raised.

    Each piece of work commits for itself. All start when the last connection is open.
    """
    barrier = Barrier(number, timeout=PATIENCE)

    def run(index: int) -> T:
        with connect(database, isolation=isolation) as connection:
            barrier.wait()
            return work(connection, index)

    with ThreadPoolExecutor(number) as threads:
        futures = [threads.submit(run, index) for index in range(number)]
        return [future.result(PATIENCE) for future in futures]


def code_of(work: Callable[Concatenate[Connection, P], object]) -> Callable[..., str]:
    """Turn `work` into a function that ends its transaction and returns the SQLSTATE.

    00000 is success, and then it has committed.
    """

    def run(connection: Connection, *args: P.args, **named: P.kwargs) -> str:
        try:
            work(connection, *args, **named)
            connection.commit()
        except psycopg.Error as error:
            connection.rollback()
            return error.sqlstate or "no SQLSTATE"
        return "00000"

    return run


@dataclass(frozen=True)
class Tenant:
    """An organization with one workflow."""

    organization: UUID
    workflow: UUID


def open_tenant(database: Database, time_zone: str = "UTC") -> Tenant:
    """Open an organization with one workflow and no stored cap."""
    with connect(database) as connection:
        organization = one(
            connection, "select id from tenancy.create_organization('Acme', %s)", time_zone
        )
        return Tenant(organization, open_workflow(connection, organization))


def open_workflow(connection: Connection, organization: UUID) -> UUID:
    workflow: UUID = one(
        connection,
        "insert into public.intent_workflows (organization_id) values (%s) returning id",
        organization,
    )
    return workflow


def record(
    connection: Connection,
    tenant: Tenant,
    cost: str = "0.10",
    request: str | None = None,
    model: str = "model",
) -> None:
    """Record one request of 10 + 5 tokens; the caller commits."""
    connection.execute(
        "select public.record_usage_and_increment("
        "p_workflow_id => %s, p_organization_id => %s, p_model => %s, p_prompt_tokens => 10,"
        " p_completion_tokens => 5, p_cost => %s, p_request_id => %s)",
        (tenant.workflow, tenant.organization, model, Decimal(cost), request),
    )


def check(connection: Connection, tenant: Tenant, cost: str = "0.10", cap: str = "1.00") -> bool:
    """Ask whether the cost still fits the workflow; holds off other spend until the commit."""
    allowed: bool = one(
        connection,
        "select public.check_workflow_cost_limit("
        "p_workflow_id => %s, p_additional_cost => %s, p_max_cost => %s)",
        tenant.workflow,
        Decimal(cost),
        Decimal(cap),
    )
    return allowed


def quota(connection: Connection, tenant: Tenant, limit: str = "25.00") -> bool:
    """Ask whether the organization's month is still within its quota."""
    allowed: bool = one(
        connection,
        "select public.check_organization_monthly_quota("
        "p_organization_id => %s, p_monthly_limit => %s)",
        tenant.organization,
        Decimal(limit),
    )
    return allowed


def set_month_cap(connection: Connection, tenant: Tenant, limit: str) -> None:
    connection.execute(
        "select metering.set_budget(p_organization_id => %s, p_scope => 'organization',"
        " p_scope_id => null, p_window => 'month', p_limit => %s)",
        (tenant.organization, Decimal(limit)),
    )


def remove_month_cap(connection: Connection, tenant: Tenant) -> None:
    connection.execute(
        "select metering.remove_budget(p_organization_id => %s, p_scope => 'organization',"
        " p_scope_id => null, p_window => 'month')",
        (tenant.organization,),
    )


def set_workflow_cap(connection: Connection, tenant: Tenant, limit: str) -> None:
    connection.execute(
        "select metering.set_budget(p_organization_id => %s, p_scope => 'workflow',"
        " p_scope_id => %s, p_window => 'total', p_limit => %s)",
        (tenant.organization, str(tenant.workflow), Decimal(limit)),
    )


def remove_workflow_cap(connection: Connection, tenant: Tenant) -> None:
    connection.execute(
        "select metering.remove_budget(p_organization_id => %s, p_scope => 'workflow',"
        " p_scope_id => %s, p_window => 'total')",
        (tenant.organization, str(tenant.workflow)),
    )


def set_time_zone(connection: Connection, tenant: Tenant, time_zone: str) -> None:
    connection.execute(
        "update tenancy.organizations set time_zone = %s where id = %s",
        (time_zone, tenant.organization),
    )


def freeze(connection: Connection, tenant: Tenant) -> None:
    connection.execute(
        "update tenancy.organizations set frozen_at = now() where id = %s", (tenant.organization,)
    )


def replace_clock(database: Database, expression: str) -> None:
    """Let private.clock_now() return an SQL expression, for every connection from now on."""
    with connect(database, OWNER) as connection:
        connection.execute(
            sql.SQL(
                "create or replace function private.clock_now() returns timestamptz"
                " language sql volatile set search_path = '' as {}"
            ).format(sql.Literal(f"select {expression}"))
        )


def set_clock(database: Database, instant: str) -> None:
    """Stop the clock of every connection at an instant.

    The clock reads a table, so that moving it is seen also inside open transactions: those need
    not notice that a function was replaced.
    """
    with connect(database, OWNER) as connection:
        if one(connection, "select to_regclass('clock.hand') is null"):
            connection.execute("create schema clock")
            connection.execute("create table clock.hand (instant timestamptz not null)")
            connection.execute("insert into clock.hand values ('-infinity')")
            connection.execute("grant usage on schema clock to public")
            connection.execute("grant select on clock.hand to public")
            connection.commit()
            replace_clock(database, "instant from clock.hand")
        connection.execute("update clock.hand set instant = %s", (instant,))


@dataclass(frozen=True)
class Slot:
    """The counters of one budget."""

    settled: Decimal
    available: Decimal | None
    debt: Decimal


def slot_of(database: Database, tenant: Tenant, scope: str, window: str) -> Slot | None:
    """Return the sums over a budget's slots; None where no such budget is."""
    scope_id = str(tenant.workflow) if scope == "workflow" else ""
    with connect(database) as connection:
        row = connection.execute(
            "select sum(s.settled_usd), sum(s.available_usd), sum(s.debt_usd)"
            " from metering.budgets as b join metering.budget_slots as s"
            " on s.organization_id = b.organization_id and s.budget_id = b.id"
            " where (b.organization_id, b.scope, b.scope_id, b.time_window) = (%s, %s, %s, %s)"
            " group by b.id",
            (tenant.organization, scope, scope_id, window),
        ).fetchone()
    return None if row is None else Slot(*row)


def month_slot(database: Database, tenant: Tenant) -> Slot | None:
    """Return the counters of the organization's month; None while it has no budget."""
    return slot_of(database, tenant, "organization", "month")


def findings(database: Database, tenant: Tenant) -> list[TupleRow]:
    """Return what audit.verify_integrity() finds in the organization."""
    with connect(database) as connection:
        return connection.execute(
            "select * from audit.verify_integrity(%s)", (tenant.organization,)
        ).fetchall()


def assert_books(database: Database, tenant: Tenant, cost: str, requests: int) -> None:
    """Assert that ledger and totals say: one workflow spent exactly this, the others nothing."""
    expected = Decimal(cost)
    with connect(database) as connection:
        ledger = connection.execute(
            "select coalesce(sum(cost), 0), count(*) from public.ai_usage_ledger"
            " where organization_id = %s",
            (tenant.organization,),
        ).fetchone()
        rollup = connection.execute(
            "select coalesce(sum(cost), 0), coalesce(sum(requests), 0),"
            " coalesce(sum(prompt_tokens), 0), coalesce(sum(completion_tokens), 0)"
            " from metering.usage_rollups where organization_id = %s",
            (tenant.organization,),
        ).fetchone()
        shown = one(
            connection,
            "select (workflow_data ->> 'total_ai_cost')::numeric from public.intent_workflows"
            " where id = %s",
            tenant.workflow,
        )
    assert ledger == (expected, requests)
    assert rollup == (expected, requests, 10 * requests, 5 * requests)
    assert shown == expected
    for scope in ("organization", "workflow"):
        slot = slot_of(database, tenant, scope, "total")
        assert slot is not None
        assert slot.settled == expected
    assert findings(database, tenant) == []
