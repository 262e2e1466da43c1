"""An application's own tables of the same names are not touched."""

from pathlib import Path

from tallystick import migrations
from tests.support.servers import Database

APPLICATION = Path(__file__).parents[1] / "support" / "application.sql"
TABLES = ("profiles", "organizations", "accounts")


def rows(database: Database) -> list[list[tuple[object, ...]]]:
    with database.connect() as connection:
        return [connection.execute(f"table public.{table}").fetchall() for table in TABLES]


def test_an_applications_own_tables_survive_untouched(bare_database: Database) -> None:
    bare_database.run_file(APPLICATION)
    options = [f"--table=public.{table}" for table in TABLES]
    tables_before, rows_before = bare_database.dump(*options), rows(bare_database)
    assert "GRANT SELECT ON TABLE public.organizations TO anon" in tables_before
    assert all(rows_before)

    migrations.apply(bare_database.url())

    assert bare_database.dump(*options) == tables_before
    assert rows(bare_database) == rows_before


def test_a_schema_that_is_there_already_is_told(bare_database: Database) -> None:
    with bare_database.connect() as connection:
        connection.execute("create schema billing")
    told: list[str] = []
    migrations.apply(bare_database.url(), warn=told.append)
    (warning,) = told
    assert warning.startswith("schema billing is there already and will be shared. ")
    assert "Revoke EXECUTE" in warning


def test_nothing_of_ours_in_public_has_a_name_an_application_may_own(database: Database) -> None:
    with database.connect() as connection:
        ours = {
            name
            for (name,) in connection.execute(
                "select relname from pg_class"
                " where relnamespace = 'public'::regnamespace and relkind in ('r', 'p', 'v', 'm')"
            )
        }
    assert ours.isdisjoint({"profiles", "accounts", "runs", "organizations", "users", "agents"})
