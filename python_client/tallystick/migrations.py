"""The SQL that travels with the package, and how it gets into a database."""

from collections.abc import Callable
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path

import psycopg

_PACKAGED = Path(__file__).parent / "_sql"
_TREE = Path(__file__).parents[2]
_IN_TREE = {"migrations": "supabase/migrations", "bootstrap": "sql/bootstrap"}

# The Supabase CLI's own table, so that either tool sees what the other has applied.
_HISTORY = """
create schema if not exists supabase_migrations;
create table if not exists supabase_migrations.schema_migrations (version text primary key);
alter table supabase_migrations.schema_migrations
  add column if not exists statements text[],
  add column if not exists name text;
"""


class MigrationMismatch(Exception):  # noqa: N818 - named after what happened
    """A database has had another migration under one of our versions; the message says which."""


@dataclass(frozen=True, slots=True)
class Migration:
    """One file of supabase/migrations.

    Attributes:
        version: Its timestamp, e.g. "20261121000000".
        name: The rest of its file name, e.g. "tallystick_foundation".
        sql: Its content.
    """

    version: str
    name: str
    sql: str

    def __str__(self) -> str:
        """Return the file name without its ending."""
        return f"{self.version}_{self.name}"


def sql_folder(name: str) -> Path:
    """Return the folder of "migrations" or "bootstrap": packaged, else in the source tree."""
    packaged = _PACKAGED / name
    return packaged if packaged.is_dir() else _TREE / _IN_TREE[name]


def available() -> list[Migration]:
    """Return the migrations of this version of Tallystick, oldest first."""
    migrations = []
    for file in sorted(sql_folder("migrations").glob("*_tallystick_*.sql")):
        version, _, name = file.stem.partition("_")
        migrations.append(Migration(version, name, file.read_text(encoding="utf-8")))
    return migrations


def pending(url: str) -> list[str]:
    """Return the names of migrations the database does not have yet; changes nothing.

    Raises:
        psycopg.OperationalError: The database cannot be reached.
    """
    with psycopg.connect(url) as connection:
        applied = history(connection)
    return [str(migration) for migration in available() if migration.version not in applied]


def history(connection: psycopg.Connection[tuple[object, ...]]) -> dict[str, str]:
    """Return version and name of every migration the database has had, also those not ours."""
    found = connection.execute(
        "select to_regclass('supabase_migrations.schema_migrations') is not null"
    ).fetchone()
    if found != (True,):
        return {}
    rows = connection.execute(
        "select version, coalesce(name, '') from supabase_migrations.schema_migrations"
    )
    return {str(version): str(name) for version, name in rows}


def apply(url: str, warn: Callable[[str], None] | None = None) -> list[str]:
    """Apply the migrations the database does not have yet and return their names.

    Each migration is one transaction together with its row in the history, so a failure leaves
    the earlier ones in place and can be resumed. Whoever applies at the same time waits, then
    finds them done. Applied a second time, nothing happens.

    Args:
        url: Whose database it is, as its owner.
        warn: Called with each warning of a migration, a schema that is there already for one.

    Raises:
        psycopg.OperationalError: The database cannot be reached.
        psycopg.Error: A migration failed; it left nothing behind.
        MigrationMismatch: The database has had another migration under one of these versions.
    """
    applied = []
    with psycopg.connect(url, autocommit=True) as connection:
        connection.execute("set client_min_messages = warning")  # "already exists" is no news
        if warn is not None:
            connection.add_notice_handler(lambda notice: warn(_in_full(notice)))
        # Lost a race to create it: then it is there, as the winner has committed.
        with suppress(psycopg.errors.UniqueViolation), connection.transaction():
            connection.execute(_HISTORY)
        for migration in available():
            with connection.transaction():
                if _apply_one(connection, migration):
                    applied.append(str(migration))
    return applied


def _in_full(notice: psycopg.errors.Diagnostic) -> str:
    parts = (notice.message_primary, notice.message_detail, notice.message_hint)
    return ". ".join(part.removesuffix(".") for part in parts if part) + "."


def bootstrap(url: str) -> None:
    """Give a plain Postgres the roles and the schema auth that Supabase provides; repeatable.

    Raises:
        psycopg.OperationalError: The database cannot be reached.
        psycopg.errors.InsufficientPrivilege: The user of `url` may not create roles (42501).
    """
    with psycopg.connect(url) as connection:
        connection.execute("set client_min_messages = warning")
        connection.execute((sql_folder("bootstrap") / "plain_postgres.sql").read_bytes())


def _apply_one(connection: psycopg.Connection, migration: Migration) -> bool:
    connection.execute(
        "lock table supabase_migrations.schema_migrations in share row exclusive mode"
    )
    had = history(connection).get(migration.version)
    if had == migration.name:
        return False
    if had is not None:
        raise MigrationMismatch(
            f"this database has had {migration.version}_{had}, not {migration}: it is of a version "
            "before the first release and cannot be brought up to date; make it anew"
        )
    connection.execute(migration.sql.encode())
    connection.execute(
        "insert into supabase_migrations.schema_migrations (version, name, statements)"
        " values (%s, %s, %s)",
        [migration.version, migration.name, [migration.sql]],
    )
    return True
