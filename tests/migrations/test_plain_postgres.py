"""Postgres without Supabase and without a superuser, as a managed service offers it."""

from collections.abc import Iterator
from uuid import uuid4

import psycopg
import pytest

from tallystick import migrations
from tallystick.local import DEFAULT_MAJOR
from tests.support.servers import Database, Server, claimed_major, throwaway_server

FORGET_SUPABASE = """
reassign owned by postgres to supabase_admin;
drop schema auth cascade;
drop owned by anon, authenticated, service_role, authenticator, postgres;
drop role anon, authenticated, service_role, authenticator, postgres;
create role administrator login createdb createrole password 'administrator';
create role bystander login password 'bystander';
"""


@pytest.fixture(scope="module")
def plain_server() -> Iterator[Server]:
    """A server that never saw Supabase; its administrator may create roles and databases."""
    with throwaway_server(claimed_major() or DEFAULT_MAJOR) as server:
        with psycopg.connect(server.admin_url) as connection:
            connection.execute(FORGET_SUPABASE)
        address = server.owner_url.rpartition("@")[2]
        owner_url = f"postgresql://administrator:administrator@{address}"
        yield Server(owner_url, server.admin_url, "template0")


@pytest.fixture
def plain_database(plain_server: Server) -> Iterator[Database]:
    """An empty database of the administrator."""
    with plain_server.clone("template0") as database:
        yield database


def test_the_bootstrap_and_the_migrations_need_no_superuser(plain_database: Database) -> None:
    migrations.bootstrap(plain_database.url())
    assert migrations.apply(plain_database.url())
    migrations.bootstrap(plain_database.url())
    assert migrations.apply(plain_database.url()) == []
    with plain_database.connect() as connection:
        superuser = connection.execute("select current_setting('is_superuser')").fetchone()
    assert superuser == ("off",)


def test_the_service_role_works_without_bypassing_rls(plain_database: Database) -> None:
    migrations.bootstrap(plain_database.url())
    migrations.apply(plain_database.url())
    with plain_database.connect(role="service_role") as connection:
        bypasses = connection.execute(
            "select rolbypassrls from pg_roles where rolname = 'service_role'"
        ).fetchone()
        assert bypasses == (False,)
        organization = connection.execute(
            "select (tenancy.create_organization(p_name => 'Plain')).id"
        ).fetchone()
        assert organization is not None
        workflow = uuid4()
        connection.execute(
            "select public.upsert_intent_workflow(p_id => %s, p_organization_id => %s,"
            " p_workflow_data => '{}')",
            [workflow, organization[0]],
        )
        connection.execute(
            "select public.record_usage_and_increment(p_workflow_id => %s,"
            " p_organization_id => %s, p_model => 'm', p_prompt_tokens => 1,"
            " p_completion_tokens => 1, p_cost => 0.25)",
            [workflow, organization[0]],
        )
        recorded = connection.execute("select count(*) from public.ai_usage_ledger").fetchone()
        fits = connection.execute(
            "select public.check_workflow_cost_limit(p_workflow_id => %s,"
            " p_additional_cost => 0.75), public.check_workflow_cost_limit(p_workflow_id => %s,"
            " p_additional_cost => 0.750000000001)",
            [workflow, workflow],
        ).fetchone()
    assert recorded == (1,)
    assert fits == (True, False)


@pytest.mark.parametrize(
    ("setting", "value"),
    [
        (
            "request.jwt.claims",
            '{{"sub": "{id}", "role": "authenticated", "email": "a@b.eu"}}',
        ),
        ("request.jwt.claim.sub", "{id}"),
    ],
)
def test_claims_are_read_as_either_kind_of_gateway_sets_them(
    plain_database: Database, setting: str, value: str
) -> None:
    migrations.bootstrap(plain_database.url())
    user = uuid4()
    with plain_database.connect(role="authenticated") as connection:
        assert connection.execute("select auth.uid(), auth.jwt()").fetchone() == (None, None)
        connection.execute("select set_config(%s, %s, true)", [setting, value.format(id=user)])
        assert connection.execute("select auth.uid()").fetchone() == (user,)
        if setting == "request.jwt.claims":
            named = connection.execute("select auth.role(), auth.email(), auth.jwt() ->> 'sub'")
            assert named.fetchone() == ("authenticated", "a@b.eu", str(user))


def test_claim_functions_of_ones_own_are_kept(plain_database: Database) -> None:
    with plain_database.connect() as connection:
        connection.execute("create schema auth")
        connection.execute(
            "create function auth.uid() returns uuid language sql stable"
            " return '00000000-0000-4000-8000-000000000001'::uuid"
        )
    migrations.bootstrap(plain_database.url())
    with plain_database.connect() as connection:
        kept = connection.execute("select auth.uid()::text").fetchone()
    assert kept == ("00000000-0000-4000-8000-000000000001",)


def test_a_user_who_may_not_create_roles_is_refused(plain_database: Database) -> None:
    url = plain_database.url().replace("administrator:administrator", "bystander:bystander")
    with pytest.raises(psycopg.errors.InsufficientPrivilege):
        migrations.bootstrap(url)
