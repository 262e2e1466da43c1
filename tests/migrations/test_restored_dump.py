"""A dump restored into another server: every row, balance and seal is there, and all goes on."""

import subprocess
from collections.abc import Iterator
from functools import partial

import psycopg
import pytest

from tallystick import migrations
from tallystick.local import DEFAULT_MAJOR
from tests.support import ledgers
from tests.support.servers import Database, Server, throwaway_server

OLD, NEW = ledgers.ORGANIZATIONS
COUNTS = """
select
  (select count(*) from public.ai_usage_ledger), (select count(*) from billing.billing_ledger),
  (select sum(balance_usd) from billing.credit_balances),
  (select count(*) from audit.seal_leaves), (select max(hash) from audit.seals)
"""


@pytest.fixture(scope="module", name="restored")
def restored_database(server: Server, template: str) -> Iterator[psycopg.Connection]:
    """A dump with sealed and unsealed rows, in a server that counts transactions from the start."""
    with (
        server.clone(template) as source,
        throwaway_server(DEFAULT_MAJOR, None) as other,
        other.clone(other.bare_template) as empty,
        other.clone("template0") as target,
    ):
        migrations.apply(empty.url())  # roles are the server's, not in the dump of a database
        with source.connect(role="service_role", autocommit=True) as connection:
            ledgers.fill(connection, OLD)
            connection.execute("select from audit.seal_ledgers()")
            connection.execute("select from audit.make_checkpoint()")
            ledgers.fill(connection, NEW)
            before = connection.execute(COUNTS).fetchall()
        restore(source, target)
        with psycopg.connect(target.admin_url, autocommit=True) as connection:
            assert connection.execute(COUNTS).fetchall() == before
            yield connection


def restore(source: Database, target: Database) -> None:
    """Carry a whole database over, as pg_dump and psql do it."""
    run = partial(subprocess.run, capture_output=True, text=True, check=False)
    dump = run([source.program("pg_dump"), source.admin_url])
    assert dump.returncode == 0, dump.stderr
    psql = [source.program("psql"), "-X", "-q", "-v", "ON_ERROR_STOP=1", target.admin_url]
    done = run(psql, input=dump.stdout)
    assert done.returncode == 0, done.stderr


def findings(connection: psycopg.Connection) -> list[tuple[object, ...]]:
    return [
        *connection.execute("select check_name, row_id from audit.verify_seals()").fetchall(),
        *connection.execute("select check_name, subject from audit.verify_integrity()").fetchall(),
    ]


def test_it_verifies_and_goes_on_sealing(restored: psycopg.Connection) -> None:
    assert findings(restored) == []
    # What was recorded here before anybody sealed is no intruder, whatever its transaction number.
    ledgers.fill(restored, OLD)
    assert findings(restored) == []

    (first,) = restored.execute("select epoch, is_catching_up from audit.seal_ledgers()").fetchall()
    assert first == (2, True)
    assert unsealed(restored) == 0
    assert findings(restored) == []

    ledgers.fill(restored, NEW)
    (second,) = restored.execute(
        "select epoch, is_catching_up from audit.seal_ledgers()"
    ).fetchall()
    assert second == (2, False)
    assert unsealed(restored) == 0
    assert restored.execute("select from audit.make_checkpoint()").rowcount == 0
    assert findings(restored) == []

    restored.execute("set session_replication_role = replica")
    restored.execute("update billing.billing_ledger set reason = reason || '.'")
    ((altered, rows),) = restored.execute(
        "select (select count(*) from audit.verify_seals()), count(*) from billing.billing_ledger"
    ).fetchall()
    assert altered == rows > 0


def test_a_ledger_joins_with_rows_of_another_server(restored: psycopg.Connection) -> None:
    """Their transactions had greater numbers there than any has here."""
    restored.execute("select from audit.seal_ledgers()")
    restored.execute(
        "create table public.notes (organization_id uuid, id integer, xact_id xid8 not null"
        " default pg_current_xact_id(), primary key (organization_id, id))"
    )
    restored.execute(
        "insert into public.notes select %s, n, '99999999' from generate_series(1, 3) as n", (OLD,)
    )
    before = findings(restored)
    restored.execute("select private.seal_ledger('public.notes')")
    restored.execute("insert into public.notes values (%s, 4)", (OLD,))
    seal = "select leaf_count, joining, joined from audit.seal_ledgers(3)"
    assert findings(restored) == before
    assert restored.execute(seal).fetchall() == [(3, ["public.notes"], [])]
    assert findings(restored) == before
    assert restored.execute(seal).fetchall() == [(1, ["public.notes"], ["public.notes"])]
    assert findings(restored) == before

    restored.execute("insert into public.notes values (%s, 5)", (OLD,))
    assert findings(restored) == before
    assert restored.execute(seal).fetchall() == [(1, [], [])]
    assert findings(restored) == before
    restored.execute("insert into public.notes values (%s, 6, '99999999')", (OLD,))
    assert set(findings(restored)) - set(before) == {("transaction_of_row_has_begun", "6")}
    restored.execute("update public.notes set xact_id = '3' where id = 6")
    assert set(findings(restored)) - set(before) == {("row_came_before_its_seal", "6")}
    restored.execute("update audit.sealed_ledgers set is_caught_up = false, sealed_below = '0'")
    assert set(findings(restored)) - set(before) == {("row_came_before_its_seal", "6")}
    restored.execute("select from audit.seal_ledgers()")
    assert "ledger_joins_once" in {check for check, _ in findings(restored)}


def unsealed(connection: psycopg.Connection) -> int:
    """Count the usages without a leaf."""
    return connection.execute(
        "select from public.ai_usage_ledger as u where not exists ("
        " select from audit.seal_leaves as l where l.row_id = u.id::text"
        " and l.ledger = 'public.ai_usage_ledger')"
    ).rowcount
