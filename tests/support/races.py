"""Several real connections at once, and races whose order is decided instead of hoped for.

A decided race: one rival holds a lock, the other is started and `wait_until_blocked` returns once
its backend waits for a lock. Nothing sleeps for a fixed time, and nothing waits for ever: each
connection has a statement timeout, each future a deadline.
"""

from collections.abc import Callable, Iterator
from concurrent.futures import Future, ThreadPoolExecutor, wait
from contextlib import ExitStack, contextmanager, suppress
from dataclasses import dataclass
from decimal import Decimal
from threading import Barrier
from time import monotonic, sleep
from typing import Any, Concatenate, ParamSpec, TypeVar
from uuid import UUID

import psycopg
from psycopg import IsolationLevel, sql
from psycopg.rows import TupleRow, namedtuple_row
from psycopg.types.json import Jsonb

from tests.support.servers import Database

P = ParamSpec("P")
T = TypeVar("T")
Connection = psycopg.Connection[TupleRow]

PATIENCE = 120.0  # seconds; for what the other threads and tests leave of a busy machine
AT_ONCE = "1 microsecond"  # a hold that lasts so long is overdue for whoever comes next
WRITER = "service_role"
OWNER = "postgres"


def connect(
    database: Database,
    role: str = WRITER,
    isolation: IsolationLevel | None = None,
    patience: float = PATIENCE,
) -> Connection:
    """Connect as a server role; statements end after a while, whatever happens."""
    # Below the patience of whoever waits for them, so that Postgres speaks first.
    guard = f"-c statement_timeout={patience * 2 / 3:.0f}s"
    connection = database.connect(role=role, options=guard)
    connection.isolation_level = isolation
    return connection


# Connections that wait for their next use, by database and role. A new one costs more than most of
# what is done on it: PL/pgSQL compiles each function anew in each session.
_idle: dict[tuple[str, str], list[Connection]] = {}
_MOST_IDLE = 32


@contextmanager
def warm(database: Database) -> Iterator[Database]:
    """Keep the connections of this database for their next use, as a pooler would."""
    places = [(database.name, role) for role in (WRITER, OWNER)]
    _idle.update({place: [] for place in places})
    try:
        yield database
    finally:
        for place in places:
            for connection in _idle.pop(place):
                connection.close()


@contextmanager
def lent(
    database: Database,
    role: str = WRITER,
    isolation: IsolationLevel | None = None,
    patience: float = PATIENCE,
) -> Iterator[Connection]:
    """Lend a connection, a new one or a warm one; what is not committed is rolled back."""
    connection = _take_idle(database, role) if patience == PATIENCE else None
    if connection is None:
        connection = connect(database, role, isolation, patience)
    connection.isolation_level = isolation
    try:
        yield connection
    finally:
        _give_back(database, role, connection)


def _take_idle(database: Database, role: str) -> Connection | None:
    try:
        return _idle[database.name, role].pop()
    except (KeyError, IndexError):  # asked for by many threads at once, so not looked up before
        return None


def _give_back(database: Database, role: str, connection: Connection) -> None:
    idle = _idle.get((database.name, role))
    with suppress(psycopg.OperationalError):  # its backend was terminated
        connection.rollback()
    if idle is None or len(idle) == _MOST_IDLE or connection.closed:
        connection.close()
    else:
        connection.autocommit = False
        idle.append(connection)


@contextmanager
def session(database: Database) -> Iterator[Connection]:
    """Lend a connection of WRITER, and commit what was done on it."""
    with lent(database) as connection:
        yield connection
        connection.commit()


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

    def end(self, commits: bool) -> None:
        """Commit or roll back."""
        self.do(Connection.commit if commits else Connection.rollback)

    def wait_until_blocked(self, work: "Future[Any]") -> None:
        """Return when this rival's backend waits for a lock; fail if its work ends before."""
        waiting = "select wait_event_type = 'Lock' from pg_stat_activity where pid = %s"
        self._wait_until(work, waiting, self.pid)

    def wait_until_blocked_by(self, rival: "Rival", work: "Future[Any]") -> None:
        """Return when this rival's backend waits for another's; fail if its work ends before."""
        self._wait_until(work, "select %s = any(pg_blocking_pids(%s))", rival.pid, self.pid)

    def _wait_until(self, work: "Future[Any]", query: str, *parameters: object) -> None:
        while not one(self._observer, query, *parameters):
            if wait([work], timeout=0.005).done:
                raise AssertionError(f"did not wait for its rival: {work.exception()}")

    @property
    def pid(self) -> int:
        """The process of its backend."""
        return self.connection.info.backend_pid

    def finish(self) -> None:
        """Wait for the end of what was started; the connection stays open."""
        self._thread.shutdown(wait=True)

    def close(self) -> None:
        self.finish()
        self.connection.close()


@contextmanager
def rivals(
    database: Database, number: int = 2, isolation: IsolationLevel | None = None
) -> Iterator[list[Rival]]:
    """Lend rivals, each with a connection of its own."""
    with ExitStack() as stack:
        observer = stack.enter_context(lent(database, OWNER))
        observer.autocommit = True
        them = []
        for _ in range(number):
            them.append(Rival(stack.enter_context(lent(database, isolation=isolation)), observer))
            stack.callback(them[-1].finish)
        yield them


def together(
    database: Database,
    number: int,
    work: Callable[[Connection, int], T],
    isolation: IsolationLevel | None = None,
    patience: float = PATIENCE,
) -> list[T]:
    """Run `work(connection, index)` on `number` connections at once; the first error is raised.

    Each piece of work commits for itself, and may be of many statements: it is those that end
    after a while, and the test. All start when the last connection is open.
    """
    barrier = Barrier(number, timeout=patience)

    def run(index: int) -> T:
        with lent(database, isolation=isolation, patience=patience) as connection:
            barrier.wait()
            return work(connection, index)

    with ThreadPoolExecutor(number) as threads:
        futures = [threads.submit(run, index) for index in range(number)]
        return [future.result() for future in futures]


def committed(work: Callable[Concatenate[Connection, P], T]) -> Callable[..., T]:
    """Turn `work` into a function that commits what it did and returns its result."""

    def run(connection: Connection, *args: P.args, **named: P.kwargs) -> T:
        result = work(connection, *args, **named)
        connection.commit()
        return result

    return run


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
    with session(database) as connection:
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


def call_all(connection: Connection, function: str, **arguments: object) -> list[Any]:
    """Call a function with arguments named without p_; return its rows as named tuples."""
    named = {
        f"p_{name}": Jsonb(value) if isinstance(value, dict | list) else value
        for name, value in arguments.items()
    }
    placeholders = ", ".join(f"{name} => %({name})s" for name in named)
    with connection.cursor(row_factory=namedtuple_row) as cursor:
        return cursor.execute(f"select * from {function}({placeholders})", named).fetchall()


def call(connection: Connection, function: str, **arguments: object) -> Any:
    """Call a function that returns one row; return it as a named tuple."""
    (row,) = call_all(connection, function, **arguments)
    return row


def authorize(
    connection: Connection,
    /,
    tenant: Tenant,
    cost: str = "0.10",
    request: str | None = None,
    **arguments: object,
) -> Any:
    """Ask for money on the workflow; the caller commits. Returns the decision."""
    return call(
        connection,
        "public.authorize_spend",
        organization_id=tenant.organization,
        workflow_id=tenant.workflow,
        estimated_cost=Decimal(cost),
        request_id=request,
        **arguments,
    )


def settle(
    connection: Connection, hold: UUID, cost: str = "0.10", request: str | None = None
) -> Any:
    """Settle a hold with 10 + 5 tokens; the caller commits. Returns the usage."""
    return call(
        connection,
        "public.settle_spend",
        hold_id=hold,
        usage={"input_tokens": 10, "output_tokens": 5},
        cost=Decimal(cost),
        request_id=request,
    )


def release(connection: Connection, hold: UUID) -> Any:
    """Release a hold; the caller commits. Returns the hold."""
    return call(connection, "public.release_spend", hold_id=hold)


def extend(
    connection: Connection,
    hold: UUID,
    cost: str = "0",
    expires_in: str | None = None,
    request: str | None = None,
) -> Any:
    """Extend a hold in money, in time, or both; the caller commits. Returns the hold."""
    return call(
        connection,
        "public.extend_hold",
        hold_id=hold,
        additional_cost=Decimal(cost),
        expires_in=expires_in,
        request_id=request,
    )


def expire(connection: Connection, tenant: Tenant, limit: int = 1000) -> int:
    """Sweep overdue holds; the caller commits. Returns how many were expired."""
    swept: int = call(
        connection, "metering.expire_holds", organization_id=tenant.organization, limit=limit
    ).expire_holds
    return swept


def ask_item(
    tenant: Tenant, cost: str = "0.10", request: str | None = None, **named: object
) -> dict[str, object]:
    """Return one item of authorize_batch."""
    item = {"workflow_id": str(tenant.workflow), "estimated_cost": cost, **named}
    return item if request is None else {**item, "request_id": request}


def authorize_batch(
    connection: Connection, tenant: Tenant, items: list[dict[str, object]]
) -> list[Any]:
    """Ask for many at once; the caller commits. Returns one answer per item."""
    return call_all(
        connection,
        "public.authorize_spend_batch",
        organization_id=tenant.organization,
        items=items,
    )


def settle_item(hold: UUID, cost: str = "0.10", request: str | None = None) -> dict[str, object]:
    """Return one item of settle_batch, with the tokens of settle()."""
    usage = {"input_tokens": 10, "output_tokens": 5}
    item: dict[str, object] = {"hold_id": str(hold), "usage": usage, "cost": cost}
    return item if request is None else {**item, "request_id": request}


def settle_batch(
    connection: Connection, tenant: Tenant, items: list[dict[str, object]]
) -> list[Any]:
    """Settle many holds at once; the caller commits. Returns one answer per item."""
    return call_all(
        connection, "public.settle_spend_batch", organization_id=tenant.organization, items=items
    )


def set_budget(
    connection: Connection,
    tenant: Tenant,
    scope: str,
    window: str,
    limit: str | None,
    scope_id: str | None = None,
    slots: int | None = None,
    enforcement: str = "hard",
) -> UUID:
    """Make a budget or store another cap; returns its id. The workflow is the tenant's own."""
    budget: UUID = call(
        connection,
        "metering.set_budget",
        organization_id=tenant.organization,
        scope=scope,
        scope_id=str(tenant.workflow) if scope == "workflow" else scope_id,
        window=window,
        limit=None if limit is None else Decimal(limit),
        enforcement=enforcement,
        slots=slots,
    ).id
    return budget


def change_budget(connection: Connection, tenant: Tenant, budget: UUID, **changes: object) -> None:
    """Move a budget to another scope or window, or spread it over another number of slots."""
    call(
        connection,
        "metering.change_budget",
        organization_id=tenant.organization,
        budget_id=budget,
        **changes,
    )


def remove_budget(
    connection: Connection, tenant: Tenant, scope: str, window: str, scope_id: str | None = None
) -> None:
    call(
        connection,
        "metering.remove_budget",
        organization_id=tenant.organization,
        scope=scope,
        scope_id=str(tenant.workflow) if scope == "workflow" else scope_id,
        window=window,
    )


def freeze_scope(
    connection: Connection, tenant: Tenant, scope: str, scope_id: str | None = None
) -> None:
    """Freeze the organization or one of its scopes."""
    call(
        connection,
        "metering.freeze",
        organization_id=tenant.organization,
        scope=scope,
        scope_id=scope_id,
    )


def unfreeze_scope(
    connection: Connection, tenant: Tenant, scope: str, scope_id: str | None = None
) -> None:
    """Let the organization or one of its scopes spend again."""
    call(
        connection,
        "metering.unfreeze",
        organization_id=tenant.organization,
        scope=scope,
        scope_id=scope_id,
    )


def stripe(connection: Connection, tenant: Tenant, slots: int) -> None:
    """Spread the counters that every call touches: the organization's own and the workflow's."""
    for budget in (tenant.organization, tenant.workflow):
        change_budget(connection, tenant, budget, slots=slots)


def set_month_cap(connection: Connection, tenant: Tenant, limit: str) -> None:
    set_budget(connection, tenant, "organization", "month", limit)


def remove_month_cap(connection: Connection, tenant: Tenant) -> None:
    remove_budget(connection, tenant, "organization", "month")


def set_workflow_cap(connection: Connection, tenant: Tenant, limit: str) -> None:
    set_budget(connection, tenant, "workflow", "total", limit)


def remove_workflow_cap(connection: Connection, tenant: Tenant) -> None:
    remove_budget(connection, tenant, "workflow", "total")


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


def set_clock(database: Database, instant: str, spread: str = "0") -> None:
    """Stop the clock of every connection at an instant, or let each reading differ.

    The clock reads a table, so that moving it is seen also inside open transactions: those need
    not notice that a function was replaced.

    Args:
        spread: An interval; a reading is a random instant of it, so clocks disagree and jump back.
    """
    with lent(database, OWNER) as connection:
        if one(connection, "select to_regclass('clock.hand') is null"):
            connection.execute("create schema clock")
            connection.execute(
                "create table clock.hand (instant timestamptz not null, spread interval not null)"
            )
            connection.execute("insert into clock.hand values ('-infinity', '0')")
            connection.execute("grant usage on schema clock to public")
            connection.execute("grant select on clock.hand to public")
            connection.commit()
            replace_clock(database, "instant + random() * spread from clock.hand")
        connection.execute("update clock.hand set (instant, spread) = (%s, %s)", (instant, spread))
        connection.commit()


@dataclass(frozen=True)
class Slot:
    """The sums over a budget's slots.

    Attributes:
        available: None where the budget never refuses.
        debt: None while the budget is open.
    """

    settled: Decimal
    available: Decimal | None
    debt: Decimal | None = None
    held: Decimal = Decimal(0)

    @property
    def used(self) -> Decimal:
        return self.settled + self.held


def slot_in(
    connection: Connection, tenant: Tenant, scope: str, window: str, scope_id: str = ""
) -> Slot | None:
    """Return the sums over a budget's slots; None where no such budget is."""
    row = connection.execute(
        "select sum(s.settled_usd), sum(s.available_usd), sum(s.debt_usd), sum(s.held_usd)"
        " from metering.budgets as b join metering.budget_slots as s"
        " on s.organization_id = b.organization_id and s.budget_id = b.id"
        " where (b.organization_id, b.scope, b.scope_id, b.time_window) = (%s, %s, %s, %s)"
        " group by b.id",
        (
            tenant.organization,
            scope,
            str(tenant.workflow) if scope == "workflow" else scope_id,
            window,
        ),
    ).fetchone()
    return None if row is None else Slot(*row)


def slot_of(
    database: Database, tenant: Tenant, scope: str, window: str, scope_id: str = ""
) -> Slot | None:
    """Return what slot_in() does, on a connection of its own."""
    with session(database) as connection:
        return slot_in(connection, tenant, scope, window, scope_id)


def workflow_slot(database: Database, tenant: Tenant) -> Slot:
    """Return the counters of the workflow's total."""
    slot = slot_of(database, tenant, "workflow", "total")
    assert slot is not None
    return slot


def hold_states(database: Database, tenant: Tenant) -> dict[UUID, str]:
    """Return what became of each hold: its state, or how its usage was settled."""
    with session(database) as connection:
        return dict(
            connection.execute(
                "select id, state::text from metering.holds where organization_id = %(id)s"
                " union all"
                " select id, settlement::text from public.ai_usage_ledger"
                " where organization_id = %(id)s",
                {"id": tenant.organization},
            ).fetchall()
        )


def lock_own_slot(connection: Connection, tenant: Tenant, slot: int) -> None:
    """Lock a slot that every call through it takes first, until the transaction ends."""
    connection.execute("set local role postgres")
    connection.execute(
        "select from metering.budget_slots where organization_id = %(id)s"
        " and budget_id = %(id)s and slot = %(slot)s for no key update",
        {"id": tenant.organization, "slot": slot},
    )


def let_expire(database: Database, *holds: UUID) -> None:
    """Make holds overdue, as the passing of time would."""
    with session(database) as connection:
        connection.execute("set local role postgres")
        connection.execute(
            "update metering.holds set expires_at = created_at where id = any(%s)", (list(holds),)
        )


def month_slot(database: Database, tenant: Tenant) -> Slot | None:
    """Return the counters of the organization's month; None while it has no budget."""
    return slot_of(database, tenant, "organization", "month")


def findings(database: Database, whose: Tenant | UUID) -> list[TupleRow]:
    """Return what audit.verify_integrity() finds in the organization."""
    organization = whose.organization if isinstance(whose, Tenant) else whose
    with session(database) as connection:
        return verify(connection, organization)


def verify(connection: Connection, organization: UUID | None = None) -> list[TupleRow]:
    """Return what audit.verify_integrity() finds as this connection sees it, in one or all.

    Asked after every step, it would plan its queries of some hundred partitions anew each time,
    ten times as long as it looks at a few rows. So here each connection plans them once; the
    rollback ends the setting for whatever comes next in the transaction.
    """
    with connection.transaction(force_rollback=True):
        connection.execute("set local plan_cache_mode = force_generic_plan")
        return connection.execute(
            "select * from audit.verify_integrity(%s)", (organization,)
        ).fetchall()


def deadlocks(database: Database) -> int:
    """Return how often Postgres broke a deadlock here, once nobody else is connected.

    A backend reports what it counted when it ends, or is told to.
    """
    others = (
        "select count(*) from pg_stat_activity where datname = current_database()"
        " and pid <> pg_backend_pid() and pid <> all(%s) and backend_type = 'client backend'"
    )
    count = "select deadlocks from pg_stat_database where datname = current_database()"
    with lent(database, OWNER) as connection:
        idle = [each for role in (WRITER, OWNER) for each in _idle.get((database.name, role), [])]
        for each in idle:
            each.execute("select pg_stat_force_next_flush()")
            each.rollback()
        connection.autocommit = True
        deadline = monotonic() + PATIENCE
        while one(connection, others, [each.info.backend_pid for each in idle]):
            assert monotonic() < deadline, "a connection was left open"
            sleep(0.002)
        number: int = one(connection, count)
    return number


def assert_books(database: Database, tenant: Tenant, cost: str, requests: int) -> None:
    """Assert that ledger and totals say: one workflow spent exactly this, the others nothing."""
    expected = Decimal(cost)
    with session(database) as connection:
        ledger = connection.execute(
            "select coalesce(sum(cost), 0), count(*) from public.ai_usage_ledger"
            " where organization_id = %s",
            (tenant.organization,),
        ).fetchone()
        rollup = connection.execute(
            "select coalesce(sum(cost), 0), coalesce(sum(requests), 0),"
            " coalesce(sum(prompt_tokens), 0), coalesce(sum(completion_tokens), 0)"
            " from metering.usage_rollups where organization_id = %s and scope = 'organization'",
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
