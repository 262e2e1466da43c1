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


def test_what_may_be_edited_raises_no_alarm(database: Database) -> None:
    with database.connect() as connection:
        edited = connection.execute(
            "update public.venture_token_ledger set metadata = '{\"a\": 1}', operation_type = 'x',"
            " crew_id = 'y'"
        )
        assert edited.rowcount > 0
        assert connection.execute(FINDING).fetchall() == []
        connection.rollback()


def test_a_row_removed_under_retention_leaves_a_tombstone_and_no_alarm(
    database: Database,
) -> None:
    with without_guards(database) as connection:
        row, other = two_rows(connection, LEDGERS[4])
        connection.execute("delete from public.venture_token_ledger where id::text = %s", (other,))
        connection.execute(
            "insert into audit.tombstones (organization_id, ledger, row_id, removed_by)"
            " values (%s, 'public.venture_token_ledger', %s, 'test')",
            (ledgers.ORGANIZATIONS[0], row),
        )
        connection.execute("delete from public.venture_token_ledger where id::text = %s", (row,))
        assert {found[3] for found in connection.execute(FINDING)} == {other}


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
        ("update audit.seals set sealed_at = sealed_at - interval '1 day'", {"seals_are_a_chain"}),
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
