"""Whoever owns the tables may switch off every guard: seals tell what was altered all the same.

Each test breaks the books in a transaction that is rolled back.
"""

from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from uuid import UUID

import psycopg
import pytest
from psycopg import sql

from tests.support import ledgers
from tests.support.servers import Database, Server

FINDING = "select check_name, ledger, organization_id::text, row_id from audit.verify_seals()"


@dataclass(frozen=True)
class Ledger:
    """How one ledger is tampered with.

    Attributes:
        name: Its table.
        owner: Its column of the organization.
        key: Its id.
        change: SET clause that alters a row as little as can be.
        fact: The column whose values two rows exchange.
        written: The column that says when a row was written; None where none does.
        apart: Columns that a copy of a row may not share with it.
    """

    name: str
    owner: str
    key: str
    change: str
    fact: str
    written: str | None
    apart: str = "{}"

    @property
    def table(self) -> sql.Identifier:
        return sql.Identifier(*self.name.split("."))


Tamper = Callable[[psycopg.Connection, Ledger], set[tuple[str, str]]]

TRILLIONTH = "0.000000000001"
LEDGERS = [
    Ledger(
        "public.ai_usage_ledger", "organization_id", "id",
        f"cost = cost + {TRILLIONTH}", "cost", "settled_at",
    ),
    Ledger(
        "billing.token_records", "org_id", "id",
        f"cost_usd = cost_usd + {TRILLIONTH}", "cost_usd", None,
    ),
    Ledger(
        "billing.billing_ledger", "org_id", "id",
        f"amount_usd = amount_usd + {TRILLIONTH}", "amount_usd", "created_at",
        '{"idempotency_key": null}',
    ),
    Ledger(
        "public.ledger_events_v0", "organization_id", "id",
        "payload = payload || '{\"a\": 1.0}'", "event_type", "created_at",
        f'{{"logical_id": "{UUID(int=7)}"}}',
    ),
    Ledger(
        "public.venture_token_ledger", "organization_id", "id",
        f"cost_usd = cost_usd + {TRILLIONTH}", "cost_usd", None,
        f'{{"usage_id": "{UUID(int=7)}"}}',
    ),
    Ledger(
        "accounting.ledger_transactions", "organization_id", "transaction_id",
        "description = description || ' '", "correlation_id", "recorded_at",
        '{"external_id": "x", "reverses_transaction_id": null}',
    ),
    Ledger(
        "accounting.ledger_postings", "organization_id", "posting_id",
        "amount = amount + 0.0001", "amount", None, '{"position": 9}',
    ),
    Ledger(
        "accounting.approval_decisions", "organization_id", "decision_id",
        "reason = reason || ' '", "reason", "decided_at", '{"approver_id": "service:x"}',
    ),
    Ledger(
        "audit.event_log", "organization_id", "event_id",
        "actor_id = coalesce(actor_id, '') || ' '", "output_hash", "event_timestamp",
    ),
]  # fmt: skip


@pytest.fixture(scope="module", name="database")
def sealed_database(server: Server, template: str) -> Iterator[Database]:
    """Two organizations with two rows or more in each ledger, all of them sealed."""
    with server.clone(template) as database:
        with database.connect(role="service_role", autocommit=True) as connection:
            for organization in ledgers.ORGANIZATIONS:
                ledgers.fill(connection, organization)
            connection.execute("select from audit.seal_ledgers()")
            assert connection.execute("select from audit.verify_seals()").rowcount == 0
        yield database


@contextmanager
def without_guards(database: Database) -> Iterator[psycopg.Connection]:
    """Lend a superuser's connection on which no trigger fires, until it is rolled back."""
    with psycopg.connect(database.admin_url) as connection:
        connection.execute("set session_replication_role = replica")
        yield connection
        connection.rollback()


def two_rows(connection: psycopg.Connection, ledger: Ledger) -> tuple[str, str]:
    """Return the ids of two rows of the first organization that differ in the ledger's fact."""
    query = sql.SQL(
        "select min(id), max(id) from (select {fact}, min({key}::text) as id from {table}"
        " where {owner} = %s group by {fact}) as t"
    ).format(
        fact=sql.Identifier(ledger.fact),
        key=sql.Identifier(ledger.key),
        table=ledger.table,
        owner=sql.Identifier(ledger.owner),
    )
    first, second = connection.execute(query, (ledgers.ORGANIZATIONS[0],)).fetchall()[0]
    assert first != second
    return first, second


def change(connection: psycopg.Connection, ledger: Ledger) -> set[tuple[str, str]]:
    row, _ = two_rows(connection, ledger)
    connection.execute(
        f"update {ledger.name} set {ledger.change} where {ledger.key}::text = %s", (row,)
    )
    return {("row_is_what_was_sealed", row)}


def delete(connection: psycopg.Connection, ledger: Ledger) -> set[tuple[str, str]]:
    row, _ = two_rows(connection, ledger)
    connection.execute(f"delete from {ledger.name} where {ledger.key}::text = %s", (row,))
    return {("sealed_row_is_there", row)}


def swap(connection: psycopg.Connection, ledger: Ledger) -> set[tuple[str, str]]:
    rows = two_rows(connection, ledger)
    connection.execute(
        f"update {ledger.name} as t set {ledger.fact} = o.{ledger.fact} from {ledger.name} as o"
        f" where t.{ledger.key}::text = any(%s) and o.{ledger.key}::text = any(%s)"
        f" and o.{ledger.key} <> t.{ledger.key}",
        (list(rows), list(rows)),
    )
    return {("row_is_what_was_sealed", row) for row in rows}


def copy_of(row: str) -> str:
    """Return another id of the same time."""
    return row[:-4] + ("0000" if row[-4:] != "0000" else "1111")


def insert_old_transaction(connection: psycopg.Connection, ledger: Ledger) -> set[tuple[str, str]]:
    """Slip in a copy of a row, as written by the transaction that wrote it."""
    row, _ = two_rows(connection, ledger)
    connection.execute(
        f"insert into {ledger.name} select (jsonb_populate_record(t, %s::jsonb"
        f" || jsonb_build_object('{ledger.key}', %s::text))).*"
        f" from {ledger.name} as t where {ledger.key}::text = %s",
        (ledger.apart, copy_of(row), row),
    )
    return {("row_came_before_its_seal", copy_of(row))}


def insert_backdated(connection: psycopg.Connection, ledger: Ledger) -> set[tuple[str, str]]:
    """Slip in a row of today that says it was written yesterday."""
    if ledger.written is None:
        return insert_old_transaction(connection, ledger)
    row, _ = two_rows(connection, ledger)
    connection.execute(
        f"insert into {ledger.name} select (jsonb_populate_record(t, %(apart)s::jsonb"
        f" || jsonb_build_object('{ledger.key}', case %(name)s when 'public.ai_usage_ledger'"
        f" then private.uuid_v7(t.{ledger.written} - interval '1 day')::text"
        f" else %(id)s end, '{ledger.written}', t.{ledger.written} - interval '1 day',"
        f" 'xact_id', pg_current_xact_id()::text)"
        f" || case %(name)s when 'public.ai_usage_ledger' then jsonb_build_object("
        f" 'created_at', date_trunc('milliseconds', t.{ledger.written} - interval '1 day'))"
        f" else '{{}}' end)).*"
        f" from {ledger.name} as t where {ledger.key}::text = %(row)s",
        {"apart": ledger.apart, "name": ledger.name, "id": copy_of(row), "row": row},
    )
    (new,) = connection.execute(
        f"select {ledger.key}::text from {ledger.name} where xact_id = pg_current_xact_id()"
    ).fetchall()[0]
    return {("row_was_written_when_it_says", new)}


@pytest.mark.parametrize("ledger", LEDGERS, ids=lambda ledger: ledger.name)
@pytest.mark.parametrize("tamper", [change, delete, swap, insert_old_transaction, insert_backdated])
def test_what_was_altered_is_named(database: Database, ledger: Ledger, tamper: Tamper) -> None:
    organization = ledgers.ORGANIZATIONS[0]
    with without_guards(database) as connection:
        expected = tamper(connection, ledger)
        assert set(connection.execute(FINDING)) == {
            (check, ledger.name, organization, row) for check, row in expected
        }
        of_one = "select from audit.verify_seals(%s)"
        assert connection.execute(of_one, (organization,)).rowcount == len(expected)
        assert connection.execute(of_one, (ledgers.ORGANIZATIONS[1],)).rowcount == 0


def test_each_ledger_in_the_registry_is_tampered_with(database: Database) -> None:
    with database.connect() as connection:
        names = {name for (name,) in connection.execute("select ledger from audit.sealed_ledgers")}
    assert names - {"audit.tombstones"} == {ledger.name for ledger in LEDGERS}


def test_every_column_is_sealed_but_those_that_may_be_edited(database: Database) -> None:
    with database.connect() as connection:
        unsealed = connection.execute(
            "select l.ledger, a.attname from audit.sealed_ledgers as l"
            " inner join pg_attribute as a on a.attrelid = l.ledger::regclass"
            " where a.attnum > 0 and not a.attisdropped and a.attname <> all(l.sealed_columns)"
        ).fetchall()
    venture = "public.venture_token_ledger"
    assert set(unsealed) == {
        (venture, "metadata"),
        (venture, "operation_type"),
        (venture, "crew_id"),
    }


@pytest.mark.parametrize(
    ("statement", "checks"),
    [
        (
            "update audit.sealed_ledgers set"
            " sealed_columns = array_remove(sealed_columns, 'job_id')"
            " where ledger = 'public.venture_token_ledger';"
            " update public.venture_token_ledger set job_id = gen_random_uuid()",
            {"column_is_sealed_or_editable"},
        ),
        (
            "update audit.sealed_ledgers set"
            " sealed_columns = array_remove(sealed_columns, 'job_id'),"
            " editable_columns = editable_columns || 'job_id'::name"
            " where ledger = 'public.venture_token_ledger'",
            {"row_is_what_was_sealed"},
        ),
        (
            "alter table public.venture_token_ledger rename column job_id to work_id",
            {"column_is_sealed_or_editable"},
        ),
        (
            "alter table public.venture_token_ledger add column note text",
            {"column_is_sealed_or_editable"},
        ),
        (
            "alter table public.venture_token_ledger add column note text;"
            " select private.seal_ledger('public.venture_token_ledger')",
            set(),
        ),
    ],
)
def test_a_column_is_sealed_unless_it_was_editable_from_the_start(
    database: Database, statement: str, checks: set[str]
) -> None:
    with without_guards(database) as connection:
        nulls = "select from public.venture_token_ledger where job_id is not null"
        assert connection.execute(nulls).rowcount == 0
        connection.execute(statement)
        found = connection.execute(FINDING).fetchall()
        assert {check for check, *_ in found} == checks


def test_which_columns_are_editable_is_said_once(database: Database) -> None:
    join = "select private.seal_ledger('public.venture_token_ledger', p_editable => %s::name[])"
    with without_guards(database) as connection:
        connection.execute(join, (["metadata"],))
        with pytest.raises(psycopg.errors.InvalidParameterValue):
            connection.execute(join, (["job_id"],))


def test_what_may_be_edited_raises_no_alarm(database: Database) -> None:
    with database.connect() as connection:
        edited = connection.execute(
            "update public.venture_token_ledger set metadata = '{\"a\": 1}', operation_type = 'x',"
            " crew_id = 'y'"
        )
        assert edited.rowcount > 0
        assert connection.execute(FINDING).fetchall() == []
        connection.rollback()


VENTURE = LEDGERS[4]


def turn_clock(connection: psycopg.Connection, time: str) -> None:
    """Let it be the given time, an expression over `sealed_at`, until the rollback."""
    ((moment,),) = connection.execute(
        f"select ({time})::text from (select min(sealed_at) as sealed_at from audit.seals) as s"
    ).fetchall()
    connection.execute(
        sql.SQL(
            "create or replace function private.clock_now() returns timestamptz language sql"
            " volatile set search_path = pg_catalog, pg_temp as $$ select {}::timestamptz $$"
        ).format(sql.Literal(moment))
    )


def remove(connection: psycopg.Connection, ledger: Ledger, row: str) -> None:
    connection.execute(f"delete from {ledger.name} where {ledger.key}::text = %s", (row,))


def bury(connection: psycopg.Connection, ledger: Ledger, removed_at: str) -> str:
    """Remove a row behind every guard and forge its tombstone; return its id."""
    row, _ = two_rows(connection, ledger)
    remove(connection, ledger, row)
    connection.execute(
        "insert into audit.tombstones (organization_id, ledger, row_id, removed_by, removed_at)"
        " select %s, %s, %s, 'service_role', "
        f"{removed_at} from (select min(sealed_at) as sealed_at from audit.seals) as s",
        (ledgers.ORGANIZATIONS[0], ledger.name, row),
    )
    return row


def test_a_row_removed_under_retention_leaves_a_tombstone_and_no_alarm(
    database: Database,
) -> None:
    with without_guards(database) as connection:
        connection.execute("set session_replication_role = origin")
        row, _ = two_rows(connection, VENTURE)
        # Its seal is younger than the row, so the row is past its seven years.
        turn_clock(connection, "sealed_at + interval '7 years' - interval '1 microsecond'")
        with pytest.raises(psycopg.errors.RestrictViolation), connection.transaction():
            remove(connection, VENTURE, row)
        turn_clock(connection, "sealed_at + interval '7 years'")
        remove(connection, VENTURE, row)
        assert connection.execute(FINDING).fetchall() == []
        connection.execute("set session_replication_role = replica")
        connection.execute("delete from audit.tombstones")
        assert [(check, row_id) for check, *_, row_id in connection.execute(FINDING)] == [
            ("sealed_row_is_there", row)
        ]


def test_what_keeps_rows_may_not_be_switched_off(database: Database) -> None:
    """Then the removal leaves its tombstone, but too soon."""
    with without_guards(database) as connection:
        connection.execute("set session_replication_role = origin")
        connection.execute(
            "alter table public.venture_token_ledger"
            " disable trigger venture_token_ledger_keep_until_retention"
        )
        row, _ = two_rows(connection, VENTURE)
        remove(connection, VENTURE, row)
        assert connection.execute("select from audit.tombstones").rowcount == 1
        assert [(check, row_id) for check, *_, row_id in connection.execute(FINDING)] == [
            ("sealed_row_is_there", row)
        ]


def test_a_shorter_retention_lets_nothing_go_that_was_sealed(database: Database) -> None:
    with without_guards(database) as connection:
        connection.execute("set session_replication_role = origin")
        connection.execute(
            "update billing.retention_policies set delete_after = '1 microsecond'"
            " where table_name = 'public.venture_token_ledger'"
        )
        row, _ = two_rows(connection, VENTURE)
        with pytest.raises(psycopg.errors.RestrictViolation):
            remove(connection, VENTURE, row)


@pytest.mark.parametrize(
    ("ledger", "removed_at"),
    [
        (VENTURE, "sealed_at"),
        (VENTURE, "sealed_at + interval '7 years' - interval '1 microsecond'"),
        (VENTURE, "sealed_at + interval '7 years'"),  # which is yet to come
        (LEDGERS[3], "sealed_at + interval '7 years'"),
    ],
)
def test_a_forged_tombstone_excuses_nothing(
    database: Database, ledger: Ledger, removed_at: str
) -> None:
    with without_guards(database) as connection:
        connection.execute(
            "insert into billing.retention_policies (table_name, delete_after, reason)"
            " values ('public.ledger_events_v0', '1 microsecond', 'x')"
        )
        row = bury(connection, ledger, removed_at)
        expected = [("sealed_row_is_there", row)]
        assert [(check, row_id) for check, *_, row_id in connection.execute(FINDING)] == expected


def test_a_tombstone_that_was_sealed_before_its_time_excuses_nothing_later(
    database: Database,
) -> None:
    with without_guards(database) as connection:
        row = bury(connection, VENTURE, "sealed_at + interval '7 years'")
        # What this transaction wrote is sealed as if it had been another's.
        connection.execute(
            "update audit.tombstones set xact_id = (select xact_below from audit.seals)"
        )
        assert connection.execute("select from audit.seal_ledgers()").rowcount == 1
        turn_clock(connection, "sealed_at + interval '8 years'")
        assert [(check, row_id) for check, *_, row_id in connection.execute(FINDING)] == [
            ("sealed_row_is_there", row)
        ]


def test_a_ledger_that_keeps_rows_for_less_is_not_what_was_sealed(database: Database) -> None:
    with without_guards(database) as connection:
        ledger = "public.ledger_events_v0"
        connection.execute(
            "update audit.sealed_ledgers set kept_for = '1 day' where ledger = %s", (ledger,)
        )
        bury(connection, LEDGERS[3], "sealed_at")
        assert {(check, name) for check, name, *_ in connection.execute(FINDING)} == {
            ("ledger_keeps_rows_as_it_did", ledger),
            ("sealed_row_is_there", ledger),
        }


def test_how_long_a_ledger_keeps_rows_is_said_once(database: Database) -> None:
    join = "select private.seal_ledger('public.venture_token_ledger', p_kept_for => %s)"
    with without_guards(database) as connection:
        connection.execute(join, ("7 years",))
        with pytest.raises(psycopg.errors.InvalidParameterValue):
            connection.execute(join, ("1 day",))


@pytest.mark.parametrize(
    ("statement", "expected"),
    [
        (
            "update audit.seal_leaves set leaf = sha256('x') where ctid ="
            " (select min(ctid) from audit.seal_leaves)",
            {"row_is_what_was_sealed", "root_is_of_its_leaves"},
        ),
        (
            "update audit.seal_leaves set salt = gen_random_uuid() where ctid ="
            " (select min(ctid) from audit.seal_leaves where ledger = 'public.ledger_events_v0')",
            {"row_is_what_was_sealed"},
        ),
        (
            "delete from audit.seal_leaves where ledger = 'audit.event_log'",
            {"row_came_before_its_seal", "root_is_of_its_leaves"},
        ),
        (
            "update audit.seal_roots set leaf_count = leaf_count + 1 where ctid ="
            " (select min(ctid) from audit.seal_roots)",
            {"root_is_of_its_leaves", "seal_is_of_its_roots"},
        ),
        ("delete from audit.seals", {"seal_is_of_its_roots"}),
        (
            "update audit.seals set sealed_at = sealed_at - interval '1 day'",
            {"seals_are_a_chain", "ledger_keeps_rows_as_it_did"},
        ),
        ("update audit.seals set previous = repeat('a', 64)", {"seals_are_a_chain"}),
        ("update audit.seals set seal = 2", {"seals_are_a_chain", "seal_is_of_its_roots"}),
        (
            "update audit.seals set root = repeat('a', 64)",
            {"seals_are_a_chain", "seal_is_of_its_roots"},
        ),
    ],
)
def test_seals_that_were_altered_are_found(
    database: Database, statement: str, expected: set[str]
) -> None:
    with without_guards(database) as connection:
        connection.execute(statement)
        assert {row[0] for row in connection.execute(FINDING)} == expected


def slip_in(connection: psycopg.Connection, transaction: str) -> str:
    """Insert a copy of a movement as written by the given transaction; return its id."""
    ledger = LEDGERS[2]
    row, _ = two_rows(connection, ledger)
    connection.execute(
        f"insert into {ledger.name} select (jsonb_populate_record(t, %s::jsonb"
        f" || jsonb_build_object('id', %s::text, 'xact_id', ({transaction})::text))).*"
        f" from {ledger.name} as t where id::text = %s",
        (ledger.apart, copy_of(row), row),
    )
    return copy_of(row)


FIRST_TRANSACTION = "select min(xact_id::text::bigint) from billing.billing_ledger"


@pytest.mark.parametrize(
    ("registry", "seals_again", "expected"),
    [
        ("update audit.sealed_ledgers set sealed_below = '0'", False, "row_came_before_its_seal"),
        ("update audit.sealed_ledgers set sealed_below = '0'", True, "row_came_before_its_seal"),
        ("update audit.seal_epochs set is_caught_up = false", False, "row_came_before_its_seal"),
        ("update audit.seal_epochs set is_caught_up = false", True, "server_catches_up_once"),
        ("update audit.seal_epochs set system_identifier = 1", False, "row_came_before_its_seal"),
        ("update audit.seal_epochs set system_identifier = 1", True, "server_catches_up_once"),
        ("insert into audit.seal_epochs values (2, 1), (3, 2)", True, "server_catches_up_once"),
    ],
)
def test_bookkeeping_that_was_altered_lets_no_old_row_in(
    database: Database, registry: str, seals_again: bool, expected: str
) -> None:
    with without_guards(database) as connection:
        row = slip_in(connection, FIRST_TRANSACTION)
        connection.execute(registry)
        if seals_again:
            assert connection.execute("select from audit.seal_ledgers()").rowcount == 1
        found = connection.execute(FINDING).fetchall()
        assert {check for check, *_ in found} == {expected}
        if expected == "row_came_before_its_seal":
            assert [row_id for *_, row_id in found] == [row]


def test_another_server_begins_with_a_seal_even_of_nothing(database: Database) -> None:
    with without_guards(database) as connection:
        connection.execute("update audit.seal_epochs set system_identifier = 1")
        connection.execute("update audit.seals set system_identifier = 1")
        connection.execute("update audit.seals as s set hash = private.seal_hash(s)")
        assert connection.execute(FINDING).fetchall() == []

        seal = "select epoch, is_catching_up, leaf_count from audit.seal_ledgers()"
        assert connection.execute(seal).fetchall() == [(2, True, 0)]
        assert connection.execute(seal).fetchall() == []
        assert connection.execute(FINDING).fetchall() == []

        connection.execute("delete from audit.seal_roots")
        assert {row[0] for row in connection.execute(FINDING)} == {
            "root_is_of_its_leaves",
            "seal_is_of_its_roots",
        }


def test_a_row_of_no_transaction_is_found(database: Database) -> None:
    """It would wait for ever to be sealed."""
    with without_guards(database) as connection:
        row = slip_in(connection, "select 9000000000000000000")
        assert [(check, row_id) for check, *_, row_id in connection.execute(FINDING)] == [
            ("transaction_of_row_has_begun", row)
        ]


@pytest.mark.parametrize("isolation", ["read committed", "repeatable read"])
def test_a_row_of_the_present_transaction_is_none_of_the_future(
    database: Database, isolation: str
) -> None:
    with without_guards(database) as connection:
        connection.execute(f"set transaction isolation level {isolation}")
        slip_in(connection, "select pg_current_xact_id()")
        connection.execute(
            "update billing.billing_ledger set created_at = private.clock_now()"
            " where xact_id = pg_current_xact_id()"
        )
        assert connection.execute(FINDING).fetchall() == []


@pytest.mark.parametrize(
    ("ledger", "double"),
    [
        (
            LEDGERS[0],
            "alter table public.ai_usage_ledger drop constraint ai_usage_ledger_pkey cascade;"
            " drop index public.ai_usage_ledger_id_idx; insert into public.ai_usage_ledger ",
        ),
        (
            LEDGERS[2],
            "create table private.copies () inherits (billing.billing_ledger);"
            " insert into private.copies ",
        ),
    ],
    ids=["partitioned", "inherited"],
)
def test_a_row_that_is_there_twice_is_named(
    database: Database, ledger: Ledger, double: str
) -> None:
    with without_guards(database) as connection:
        row, _ = two_rows(connection, ledger)
        connection.execute(
            f"{double} select * from {ledger.name} where {ledger.key}::text = '{row}'"
        )
        assert [(check, row_id) for check, *_, row_id in connection.execute(FINDING)] == [
            ("row_is_there_once", row)
        ]


@pytest.mark.parametrize("ledger", LEDGERS, ids=lambda ledger: ledger.name)
def test_a_ledger_that_left_the_registry_is_named(database: Database, ledger: Ledger) -> None:
    with without_guards(database) as connection:
        connection.execute("delete from audit.sealed_ledgers where ledger = %s", (ledger.name,))
        change(connection, ledger)
        assert [(check, name) for check, name, *_ in connection.execute(FINDING)] == [
            ("ledger_is_in_the_registry", ledger.name)
        ]


def test_a_ledger_that_lost_its_time_is_not_what_was_sealed(database: Database) -> None:
    with without_guards(database) as connection:
        insert_backdated(connection, LEDGERS[2])
        connection.execute("update audit.sealed_ledgers set time_column = null")
        assert connection.execute(FINDING).rowcount > 0


def test_a_tombstone_in_a_ledger_of_which_nothing_may_go_excuses_nothing(
    database: Database,
) -> None:
    with without_guards(database) as connection:
        ledger = LEDGERS[2]
        row, _ = two_rows(connection, ledger)
        connection.execute(
            "insert into audit.tombstones (organization_id, ledger, row_id, removed_by)"
            " values (%s, %s, %s, 'test')",
            (ledgers.ORGANIZATIONS[0], ledger.name, row),
        )
        delete(connection, ledger)
        assert [(check, row_id) for check, *_, row_id in connection.execute(FINDING)] == [
            ("sealed_row_is_there", row)
        ]


def test_only_a_hash_kept_elsewhere_exposes_who_made_all_seals_anew(database: Database) -> None:
    with without_guards(database) as connection:
        (published,) = connection.execute(
            "select hash from audit.seals order by seal desc limit 1"
        ).fetchall()[0]
        verify = "select check_name from audit.verify_seals(null, %s)"
        assert connection.execute(verify, (published,)).fetchall() == []

        connection.execute("delete from audit.seals")
        connection.execute("delete from audit.seal_roots")
        connection.execute("delete from audit.seal_leaves")
        connection.execute("update audit.seal_epochs set is_caught_up = false")
        change(connection, LEDGERS[0])
        connection.execute("select from audit.seal_ledgers()")

        assert connection.execute(FINDING).fetchall() == []
        assert connection.execute(verify, (published,)).fetchall() == [
            ("published_hash_is_in_the_chain",)
        ]


@pytest.mark.parametrize("text", ["", "0", "g" * 64, "A" * 64])
def test_what_is_no_hash_is_refused(database: Database, text: str) -> None:
    with (
        database.connect(role="service_role") as connection,
        pytest.raises(psycopg.Error) as refusal,
    ):
        connection.execute("select from audit.verify_seals(null, %s)", (text,))
    assert refusal.value.sqlstate == "22023"


@pytest.mark.parametrize("limit", [0, -1, None, 10_000_001])
def test_what_is_no_limit_is_refused(database: Database, limit: int | None) -> None:
    with (
        database.connect(role="service_role") as connection,
        pytest.raises(psycopg.Error) as refusal,
    ):
        connection.execute("select from audit.seal_ledgers(%s)", (limit,))
    assert refusal.value.sqlstate == "22023"


def test_no_setting_of_a_session_changes_a_hash(database: Database) -> None:
    with database.connect(role="service_role") as connection:
        for setting in (
            "timezone = 'Asia/Kathmandu'",
            "datestyle = 'SQL, DMY'",
            "intervalstyle = 'iso_8601'",
            "extra_float_digits = 0",
            "bytea_output = 'escape'",
            "standard_conforming_strings = off",
        ):
            connection.execute(f"set {setting}")
        assert connection.execute(FINDING).fetchall() == []


def test_a_column_added_later_leaves_old_leaves_true(database: Database) -> None:
    with without_guards(database) as connection:
        connection.execute("alter table billing.billing_ledger add column note text")
        connection.execute("select private.seal_ledger('billing.billing_ledger', 'created_at')")
        assert connection.execute(FINDING).fetchall() == []
        connection.execute(
            "update billing.billing_ledger set note = 'x' where id ="
            " (select id from billing.billing_ledger limit 1)"
        )
        assert [row[0] for row in connection.execute(FINDING)] == ["row_is_what_was_sealed"]


def test_erasable_text_enters_salted(database: Database) -> None:
    """Two leaves over one text differ, so nobody finds out by trying what it was."""
    with database.connect() as connection:
        salts = connection.execute(
            "select count(*), count(distinct salt), count(*) filter (where"
            " (salt is null) <> (erasable_columns = '{}')) from audit.seal_leaves"
            " inner join audit.sealed_ledgers using (ledger) where erasable_columns <> '{}'"
        ).fetchall()
    ((leaves, distinct, wrong),) = salts
    assert leaves == distinct > 0
    assert wrong == 0
