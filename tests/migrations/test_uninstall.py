"""Removed again, nothing is left: schema, rows, roles and history are what they were before."""

from collections.abc import Iterator
from pathlib import Path

import psycopg
import pytest
from typer.testing import CliRunner

from tallystick import migrations, removal
from tallystick.cli.main import app
from tallystick.local import DEFAULT_MAJOR
from tests.conftest import FIXTURES
from tests.support.servers import Database, Server, claimed_major, throwaway_server

APPLICATION = Path(__file__).parents[1] / "support" / "application.sql"
ROLES = "select rolname::text, rolcanlogin, rolbypassrls from pg_roles order by 1"


@pytest.fixture
def alone() -> Iterator[Database]:
    """An application's database on a server of its own: roles belong to the server."""
    with (
        throwaway_server(claimed_major() or DEFAULT_MAJOR) as server,
        server.clone(server.bare_template) as database,
    ):
        database.run_file(APPLICATION)
        yield database


@pytest.fixture(scope="module")
def without(server: Server) -> Iterator[str]:
    """A database that holds an application."""
    with server.clone(server.bare_template) as database:
        database.run_file(APPLICATION)
        yield database.name


@pytest.fixture(scope="module")
def both(server: Server, without: str) -> Iterator[str]:
    """The same with Tallystick beside it."""
    with server.clone(without) as database:
        migrations.apply(database.url())
        yield database.name


@pytest.fixture
def application(server: Server, without: str) -> Iterator[Database]:
    """The database of an application, for this test alone."""
    with server.clone(without) as database:
        yield database


@pytest.fixture
def installed(server: Server, both: str) -> Iterator[Database]:
    """The same with Tallystick."""
    with server.clone(both) as database:
        yield database


def everything(database: Database) -> tuple[str, str, list[tuple[object, ...]]]:
    """Return schema, rows and roles."""
    with database.connect() as connection:
        roles = connection.execute(ROLES).fetchall()
    return database.dump(), database.rows(), roles


def use(database: Database) -> None:
    """Leave something in most of our tables, and a partition made late."""
    with database.connect(autocommit=True) as connection:
        connection.execute(FIXTURES.read_bytes())
        row = connection.execute("select tests.organization()").fetchone()
        assert row is not None
        for statement in (
            "select tests.price('m')",
            "select tests.member(%s, 'owner')",
            "select tests.bill(%s)",
            "select tests.hold(%s, 1)",
            "select private.maintain()",
            "select private.create_partition('public.ai_usage_ledger', '2031-01-01')",
        ):
            connection.execute(statement, row if "%s" in statement else None)
        connection.execute("drop schema tests cascade")


def test_nothing_is_left(alone: Database) -> None:
    before = everything(alone)
    migrations.apply(alone.url())
    use(alone)
    assert everything(alone) != before

    planned = removal.uninstall(alone.url(), keep=True)
    assert migrations.pending(alone.url()) == []  # so far it was only told
    assert removal.uninstall(alone.url()) == planned
    assert planned.migrations == tuple(map(str, migrations.available()))
    assert planned.kept_roles == ()

    assert everything(alone) == before
    assert removal.uninstall(alone.url()).is_empty


def test_it_can_be_installed_again(installed: Database) -> None:
    first = installed.dump()
    removal.uninstall(installed.url())
    migrations.apply(installed.url())
    assert installed.dump() == first


def test_other_migrations_stay_in_the_history(installed: Database) -> None:
    with installed.connect(autocommit=True) as connection:
        connection.execute(
            "insert into supabase_migrations.schema_migrations (version, name)"
            " values ('20260101000000', 'mine')"
        )
        removal.uninstall(installed.url())
        assert migrations.history(connection) == {"20260101000000": "mine"}


@pytest.mark.parametrize(
    ("statement", "named"),
    [
        ("alter table public.accounts add foreign key (profile_id, profile_id)"
         " references metering.workflows (organization_id, id)", "constraint"),
        ("create view public.spend as select * from public.ai_usage_ledger", "public.spend"),
        ("create view public.spend as select * from billing.runs", "public.spend"),
        ("alter table public.accounts add balance private.usd", "public.accounts.balance"),
        ("create policy mine on public.accounts for delete to authenticated"
         " using (private.member_organization_ids() is not null)", "policy mine"),
        ("create function public.mine(metering.holds) returns int language sql as 'select 1'",
         "public.mine"),
        ("create trigger mine before insert on public.accounts for each row"
         " execute function private.reject_mutation()", "trigger mine"),
        ("create table billing.my_invoices_pdf (run uuid, pdf bytea)", "billing.my_invoices_pdf"),
        ("create view metering.mine as select 1 as one", "relation metering.mine"),
        ("create sequence accounting.my_numbers", "relation accounting.my_numbers"),
        ("create function metering.my_fn() returns int language sql as 'select 1'",
         r"function metering.my_fn\(\)"),
        ("create function metering.settle_spend(text) returns int language sql as 'select 1'",
         r"function metering.settle_spend\(text\)"),
        ("create type billing.my_mood as enum ('good')", "type billing.my_mood"),
        ("create type billing.my_pair as (one int, two int)", "type billing.my_pair"),
        ("create domain tenancy.my_text as text", "type tenancy.my_text"),
    ],
)  # fmt: skip
def test_what_is_somebody_else_s_is_named_and_nothing_is_removed(
    installed: Database, statement: str, named: str
) -> None:
    with installed.connect(autocommit=True) as connection:
        connection.execute("delete from public.accounts")
        connection.execute(statement)
    before = installed.dump()
    for keep in (True, False):
        with pytest.raises(removal.StillNeeded, match=named):
            removal.uninstall(installed.url(), keep=keep)
    assert installed.dump() == before


def test_a_shared_schema_and_what_was_in_it_stay(application: Database) -> None:
    with application.connect(autocommit=True) as connection:
        connection.execute("create schema billing")
        connection.execute("create table billing.invoices (id int primary key)")
        connection.execute("create function public.settle_spend(text) returns text language sql"
                           " as 'select $1'")  # fmt: skip
        connection.execute("create table public.reports (id int)")
    before = application.dump("--no-privileges")
    migrations.apply(application.url())
    with application.connect(autocommit=True) as connection:
        # Granting to a role of ours makes nothing ours.
        connection.execute("grant select on public.reports, billing.invoices to tallystick_reader")
        removed = removal.uninstall(application.url(), keep=True)
        assert "billing" not in removed.schemas
        connection.execute("revoke all on public.reports, billing.invoices from tallystick_reader")
    removal.uninstall(application.url())
    assert application.dump("--no-privileges") == before


def test_a_role_that_another_database_needs_stays(alone: Database) -> None:
    roles = {"app_user", "tallystick_reader", "tallystick_writer"}
    migrations.apply(alone.url())
    with alone.server.clone(alone.server.bare_template) as other:
        migrations.apply(other.url())
        assert set(removal.uninstall(other.url()).kept_roles) == roles
    assert set(removal.uninstall(alone.url()).roles) == roles


def test_jobs_are_unscheduled(installed: Database) -> None:
    """Stands in for pg_cron, which no wheel brings: its table and its two functions."""
    with installed.connect(autocommit=True) as connection:
        connection.execute(
            """
            create schema cron;
            create table cron.job (jobid serial, jobname name unique, schedule text, command text);
            create function cron.schedule(text, text, text) returns bigint language sql as
            'insert into cron.job (jobname, schedule, command) values ($1, $2, $3) returning jobid';
            create function cron.unschedule(name) returns boolean language sql as
            'delete from cron.job where jobname = $1 returning true';
            select cron.schedule('mine', '* * * * *', 'select 1');
            select private.schedule_maintenance();
            """
        )
        removed = removal.uninstall(installed.url())
        assert len(removed.jobs) >= 4
        assert connection.execute("select jobname::text from cron.job").fetchall() == [("mine",)]


def test_the_command_asks_first(installed: Database) -> None:
    run = CliRunner()
    arguments = ["uninstall", "--database-url", installed.url()]
    refused = run.invoke(app, arguments, input="n\n")
    assert refused.exit_code == 1
    assert all(part in refused.output for part in ("private", "public.ai_usage_ledger"))
    assert migrations.pending(installed.url()) == []
    done = run.invoke(app, [*arguments, "--yes"])
    assert (done.exit_code, "Removed." in done.output.splitlines()) == (0, True)
    again = run.invoke(app, [*arguments, "--yes"])
    assert (again.exit_code, again.output) == (0, "Nothing of Tallystick is there.\n")


def test_a_database_that_is_used_meanwhile_is_all_there_or_gone(installed: Database) -> None:
    with installed.connect() as busy:
        busy.execute("select from public.ai_usage_ledger")  # its lock lasts until the end
        with pytest.raises(psycopg.errors.LockNotAvailable):
            removal.uninstall(f"{installed.url()}?options=-c%20lock_timeout%3D100ms")
    assert migrations.pending(installed.url()) == []
