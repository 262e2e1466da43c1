"""The declarative truth and the migrations make the same database."""

from pathlib import Path

from tallystick import migrations
from tests.support.servers import Server

SCHEMA = Path(__file__).parents[2] / "sql" / "schema.sql"


def test_a_database_built_either_way_dumps_the_same(server: Server) -> None:
    with (
        server.clone(server.bare_template) as from_sql,
        server.clone(server.bare_template) as from_migrations,
    ):
        from_sql.run_file(SCHEMA)
        migrations.apply(from_migrations.url())
        expected = from_sql.dump()
        actual = from_migrations.dump("--exclude-schema=supabase_migrations")
    assert "CREATE TABLE metering.budgets" in expected
    assert actual == expected
