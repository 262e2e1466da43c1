"""How `tallystick.migrations` brings a database up to date."""

from concurrent.futures import ThreadPoolExecutor

import psycopg
import pytest

from tallystick import migrations
from tallystick.migrations import Migration
from tests.support.servers import Database

NAMES = [str(migration) for migration in migrations.available()]


def test_everything_is_pending_in_a_new_database(bare_database: Database) -> None:
    assert NAMES
    assert migrations.pending(bare_database.url()) == NAMES


def test_applying_twice_does_nothing(bare_database: Database) -> None:
    assert migrations.apply(bare_database.url()) == NAMES
    before = bare_database.dump()
    assert migrations.apply(bare_database.url()) == []
    assert migrations.pending(bare_database.url()) == []
    assert bare_database.dump() == before


def test_the_history_is_the_supabase_clis(bare_database: Database) -> None:
    migrations.apply(bare_database.url())
    with bare_database.connect() as connection:
        rows = connection.execute(
            "select version || '_' || name, cardinality(statements)"
            " from supabase_migrations.schema_migrations order by version"
        ).fetchall()
    assert rows == [(name, 1) for name in NAMES]


def test_whoever_applies_at_the_same_time_waits_and_finds_it_done(bare_database: Database) -> None:
    with ThreadPoolExecutor(2) as threads:
        results = list(threads.map(migrations.apply, [bare_database.url()] * 2))
    assert sorted(results[0] + results[1]) == NAMES


def test_a_migration_that_fails_leaves_nothing_and_the_earlier_ones_stay(
    bare_database: Database, monkeypatch: pytest.MonkeyPatch
) -> None:
    good = Migration("1", "tallystick_good", "create table public.good ();")
    bad = Migration("2", "tallystick_bad", "create table public.bad (); select 1 / 0;")
    monkeypatch.setattr(migrations, "available", lambda: [good, bad])
    with pytest.raises(psycopg.errors.DivisionByZero):
        migrations.apply(bare_database.url())
    assert migrations.pending(bare_database.url()) == ["2_tallystick_bad"]
    with bare_database.connect() as connection:
        found = connection.execute("select to_regclass('good'), to_regclass('bad')").fetchone()
    assert found == ("good", None)


def test_another_migration_under_our_version_is_named_and_nothing_is_applied(
    bare_database: Database, monkeypatch: pytest.MonkeyPatch
) -> None:
    old = Migration("1", "tallystick_old", "create table public.old ();")
    new = Migration("1", "tallystick_new", "create table public.new ();")
    monkeypatch.setattr(migrations, "available", lambda: [old])
    migrations.apply(bare_database.url())
    monkeypatch.setattr(migrations, "available", lambda: [new])
    with pytest.raises(migrations.MigrationMismatch, match="1_tallystick_old"):
        migrations.apply(bare_database.url())
    with bare_database.connect() as connection:
        found = connection.execute("select to_regclass('old'), to_regclass('new')").fetchone()
    assert found == ("old", None)


def test_organizations_that_are_there_already_get_their_books(
    bare_database: Database, monkeypatch: pytest.MonkeyPatch
) -> None:
    everything = migrations.available()
    names = [each.name for each in everything]
    before = everything[: names.index("tallystick_accounting")]
    with monkeypatch.context() as patch:
        patch.setattr(migrations, "available", lambda: before)
        migrations.apply(bare_database.url())
    with bare_database.connect(autocommit=True) as connection:
        connection.execute("insert into tenancy.organizations (name) values ('Old')")
        migrations.apply(bare_database.url())
        connection.execute("insert into tenancy.organizations (name) values ('New')")
        born = connection.execute(
            "select o.name, e.entity_id, e.code from tenancy.organizations as o"
            " join accounting.entities as e on e.organization_id = o.id order by o.name"
        ).fetchall()
        assert connection.execute("select * from audit.verify_integrity()").fetchall() == []
    assert born == [("New", "entity-default", "DEFAULT"), ("Old", "entity-default", "DEFAULT")]
