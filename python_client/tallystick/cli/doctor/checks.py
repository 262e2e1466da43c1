"""What can be asked of the server at once: version, schema, housekeeping, settings, books."""

from __future__ import annotations

from datetime import timedelta
from typing import TYPE_CHECKING, Any, LiteralString

from psycopg.rows import dict_row

from tallystick import migrations
from tallystick.cli.doctor.diagnosis import Diagnosis, advice, ok, problem
from tallystick.cli.program import program
from tallystick.client import Client
from tallystick.figures import counted, lasting, usd

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping

    from tallystick.organizations import AnyConnection

OLDEST_MAJOR, NEWEST_MAJOR = 15, 18
ENOUGH_AHEAD = timedelta(days=60)
ENOUGH_TRUST = timedelta(days=30)  # left of a price list
OVERDUE = timedelta(minutes=5)  # longer than a sweep each minute leaves any hold
LONG = timedelta(seconds=60)
_NAMED = 5  # long transactions that are named one by one
_JOBS = (
    "tallystick-maintain",
    "tallystick-expire-holds",
    "tallystick-close-draws",
    "tallystick-expire-credits",
    "tallystick-seal-ledgers",
    "tallystick-make-checkpoint",
    "tallystick-check-everything",
)
_SCHEDULE = "select private.schedule_maintenance();"

_PARTITIONS: LiteralString = """
select l.parent, min(m.month) - now() as ahead
from private.partitioned_ledgers as l
cross join (
  select (date_trunc('month', now() at time zone 'UTC') + make_interval(months => n))
    at time zone 'UTC' as month
  from generate_series(0, 240) as n
) as m
where to_regclass(private.partition_name(l.parent::regclass, m.month)) is null
group by l.parent
order by l.parent
"""

_CRON: LiteralString = """
select
  to_regprocedure('cron.schedule(text, text, text)') is not null as is_there,
  exists (select from pg_available_extensions as e where e.name = 'pg_cron') as is_available
"""

_HOLDS: LiteralString = """
select
  count(*) as open,
  coalesce(sum(h.held_usd), 0) as held,
  count(*) filter (where h.expires_at < clock_timestamp()) as overdue,
  coalesce(clock_timestamp() - min(h.expires_at), '0') as longest
from metering.holds as h
where h.state = 'open'
"""

_PRICE_LISTS: LiteralString = """
select
  l.source::text as source,
  (select count(*) from pricing.current_prices as p where p.source = l.source) as number,
  l.checked_at + l.max_age - clock_timestamp() as trusted_for
from pricing.price_lists as l
where l.source <> 'manual'
order by l.source
"""

_TRANSACTIONS: LiteralString = """
select a.pid, a.usename, a.application_name, a.state, clock_timestamp() - a.xact_start as age
from pg_stat_activity as a
where a.datname = current_database()
  and a.pid <> pg_backend_pid()
  and a.backend_type = 'client backend'
  and clock_timestamp() - a.xact_start > %s
order by a.xact_start
"""

# Setting, the value that is worth a word, what it means, a better value.
_SETTINGS = (
    ("fsync", "off", "a power cut can destroy the ledger", "on"),
    ("synchronous_commit", "off", "a power cut can lose what was just granted and recorded", "on"),
    (
        "idle_in_transaction_session_timeout",
        "0",
        "a client that hangs within a transaction can hold off others for ever",
        "60s",
    ),
)


def server(connection: AnyConnection) -> Iterator[Diagnosis]:
    """Say what answers, and whether its version is one Tallystick is tested on."""
    info = connection.info
    yield judge_server(info.server_version, f"database {info.dbname} as {info.user}")


def judge_server(version: int, where: str) -> Diagnosis:
    """Judge a version as the server numbers it: 180001 is 18.1."""
    major, minor = divmod(version, 10000)
    text = f"PostgreSQL {major}.{minor}, {where}"
    if major < OLDEST_MAJOR:
        return problem("server", f"{text}; Tallystick needs {OLDEST_MAJOR} or newer")
    if major > NEWEST_MAJOR:
        return advice("server", f"{text}; Tallystick is tested up to {NEWEST_MAJOR}")
    return ok("server", text)


def schema(connection: AnyConnection) -> Iterator[Diagnosis]:
    """Say whether the schema is there and of the version of this tool."""
    (found,) = _rows(connection, "select to_regclass('metering.budgets') is not null as is_there")
    if not found["is_there"]:
        yield problem("schema", "Tallystick is not installed", f"{program()} migrate")
    else:
        yield judge_history(migrations.history(connection), migrations.available())


def judge_history(history: Mapping[str, str], available: list[migrations.Migration]) -> Diagnosis:
    """Compare the migrations a database has had with those of this tool."""
    missing = [str(each) for each in available if each.version not in history]
    newer = [
        f"{version}_{name}"
        for version, name in sorted(history.items())
        if version > available[-1].version and name.startswith("tallystick_")
    ]
    if len(missing) == len(available):
        text = "installed, but not by migrations, so its version cannot be told"
        return advice("schema", text)
    if missing:
        return problem("schema", f"to apply: {', '.join(missing)}", f"{program()} migrate")
    if newer:
        return advice("schema", f"newer than this tool: {', '.join(newer)}; upgrade the tool")
    return ok("schema", f"up to date: {available[-1]}")


def partitions(connection: AnyConnection) -> Iterator[Diagnosis]:
    """Say for how long the ledgers have partitions; without one, a call has to make it."""
    for row in _rows(connection, _PARTITIONS):
        days = max(row["ahead"].days, 0)
        text = f"{row['parent']} has partitions for the next {days:,} days"
        if row["ahead"] < ENOUGH_AHEAD:
            yield advice("partitions", text, "select private.maintain();")
        else:
            yield ok("partitions", text)


def scheduler(connection: AnyConnection) -> Iterator[Diagnosis]:
    """Say whether pg_cron keeps partitions ahead and sweeps what is over, or somebody else must."""
    (cron,) = _rows(connection, _CRON)
    if not cron["is_there"]:
        remedy = f"create extension pg_cron; {_SCHEDULE}"
        yield advice(
            "scheduler",
            "pg_cron is not installed: by other means, run private.maintain() daily, and "
            "metering.expire_holds(), billing.close_draws(), billing.expire_credits() and "
            "audit.seal_ledgers() each minute",
            remedy if cron["is_available"] else None,
        )
        return
    running = {
        row["jobname"] for row in _rows(connection, "select jobname from cron.job where active")
    }
    missing = [job for job in _JOBS if job not in running]
    if missing:
        yield advice("scheduler", f"pg_cron does not run {' and '.join(missing)}", _SCHEDULE)
    else:
        yield ok("scheduler", f"pg_cron runs {' and '.join(_JOBS)}")


def holds(connection: AnyConnection) -> Iterator[Diagnosis]:
    """Say how much is held, and whether what is overdue is swept."""
    (row,) = _rows(connection, _HOLDS)
    text = f"{row['open']:,} open, {usd(row['held'])} held, {row['overdue']:,} overdue"
    if row["longest"] > OVERDUE:
        yield advice(
            "holds",
            f"{text}, the longest for {lasting(row['longest'])}: their money is free when "
            "somebody needs it, but shown as held",
            f"{program()} holds expire",
        )
    else:
        yield ok("holds", text)


def prices(connection: AnyConnection) -> Iterator[Diagnosis]:
    """Say for how long price lists are trusted; after that, calls priced by them are denied."""
    lists = _rows(connection, _PRICE_LISTS)
    remedy = f"{program()} prices sync"
    if not lists:
        text = "no price list is loaded: members can spend only on models priced by hand"
        yield advice("prices", text, remedy)
    for row in lists:
        text = f"{row['source']}, {counted(row['number'], 'price')}"
        left = row["trusted_for"]
        if left is None:
            yield ok("prices", f"{text}, trusted for ever")
        elif left < timedelta(0):
            yield problem("prices", f"{text}, stale: calls priced by it are denied", remedy)
        elif left < ENOUGH_TRUST:
            yield advice("prices", f"{text}, trusted for {lasting(left)} more", remedy)
        else:
            yield ok("prices", f"{text}, trusted for {left.days:,} days more")


def transactions(connection: AnyConnection, longer_than: timedelta = LONG) -> Iterator[Diagnosis]:
    """Name transactions that stay open: they can hold off spend, and slow every counter."""
    (role,) = _rows(connection, "select pg_has_role('pg_read_all_stats', 'usage') as sees_others")
    if not role["sees_others"]:
        yield advice("transactions", "this role may only look at its own")
        return
    found = _rows(connection, _TRANSACTIONS, longer_than)
    for row in found[:_NAMED]:
        who = " ".join(filter(None, (row["usename"], row["application_name"])))
        yield advice(
            "transactions",
            f"{who} has one open for {lasting(row['age'])} ({row['state']}): "
            "it can hold off spend, and slows counters",
            f"select pg_terminate_backend({row['pid']});",
        )
    if len(found) > _NAMED:
        yield advice("transactions", f"and {len(found) - _NAMED:,} more")
    if not found:
        yield ok("transactions", f"none is open for more than {lasting(longer_than)}")


def settings(connection: AnyConnection) -> Iterator[Diagnosis]:
    """Look at settings of the server that weaken what Tallystick promises."""
    rows = _rows(
        connection,
        "select name, setting from pg_settings where name = any(%s)",
        [name for name, *_ in _SETTINGS],
    )
    yield from judge_settings({row["name"]: row["setting"] for row in rows})


def judge_settings(values: Mapping[str, str]) -> Iterator[Diagnosis]:
    """Judge settings by name."""
    bad = [each for each in _SETTINGS if values[each[0]] == each[1]]
    for name, value, meaning, better in bad:
        remedy = f"alter system set {name} = '{better}'; select pg_reload_conf();"
        yield advice("settings", f"{name} is {value}: {meaning}", remedy)
    if not bad:
        yield ok("settings", f"{', '.join(name for name, *_ in _SETTINGS)} are well set")


def books(connection: AnyConnection) -> Iterator[Diagnosis]:
    """Prove the books of every organization."""
    findings = Client(connection).verify_integrity()
    if findings:
        number = counted(len(findings), "finding")
        yield problem(
            "books", f"totals do not agree with the ledger: {number}", f"{program()} verify"
        )
    else:
        yield ok("books", "every total agrees with the ledger")


def _rows(
    connection: AnyConnection, query: LiteralString, *parameters: object
) -> list[dict[str, Any]]:
    with connection.cursor(row_factory=dict_row) as cursor:
        return cursor.execute(query, parameters).fetchall()
