"""The gateway grants nothing: every privilege in the database is the same before and after it."""

from collections.abc import Iterator

import psycopg
import pytest

from tallystick import migrations
from tallystick.local.http_stack import Exposed
from tests.support.http import Http, Person, http_stack
from tests.support.servers import Database, Server

# Everything that carries a list of privileges, and who is a member of whom. Large objects and
# parameters carry them as well; nobody makes any here.
PRIVILEGES = """
select 'schema', nspname::text, nspacl::text from pg_namespace where nspname !~ '^pg_(temp|toast)'
union all
select 'relation', oid::regclass::text, relacl::text from pg_class
where relkind in ('r', 'p', 'v', 'm', 'f', 'S')
union all
select 'column', attrelid::regclass || '.' || attname, attacl::text
from pg_attribute where attacl is not null
union all
select 'function', oid::regprocedure::text, proacl::text from pg_proc
union all
select 'type', oid::regtype::text, typacl::text from pg_type
where typrelid = 0 or typacl is not null
union all
select 'default', concat(d.defaclrole::regrole, ' ', n.nspname, ' ', d.defaclobjtype),
  d.defaclacl::text
from pg_default_acl as d left join pg_namespace as n on n.oid = d.defaclnamespace
union all
select 'policy', polrelid::regclass || '.' || polname,
  concat(polcmd, polroles::text, pg_get_expr(polqual, polrelid),
    pg_get_expr(polwithcheck, polrelid))
from pg_policy
union all
select 'security', oid::regclass::text, concat(relrowsecurity, relforcerowsecurity)
from pg_class where relkind in ('r', 'p')
union all
select 'database', datname::text, datacl::text from pg_database where datname = current_database()
union all
select 'role', rolname::text,
  concat(rolsuper, rolinherit, rolcreaterole, rolcreatedb, rolcanlogin, rolreplication,
    rolbypassrls)
from pg_roles
union all
select 'member', concat(roleid::regrole, ' ', member::regrole), admin_option::text
from pg_auth_members
"""
RELATIONS = """
select n.nspname, c.relname
from pg_class as c inner join pg_namespace as n on n.oid = c.relnamespace
where n.nspname = any(%s) and c.relkind in ('r', 'p', 'v')
"""

Privileges = dict[tuple[str, str], str | None]


def privileges(owner: psycopg.Connection) -> Privileges:
    rows = owner.execute(PRIVILEGES).fetchall()
    return {(kind, name): granted for kind, name, granted in rows}


@pytest.fixture
def fresh(http_server: Server) -> Iterator[Database]:
    """A database with Tallystick that no gateway has seen."""
    with http_server.clone(http_server.bare_template) as database:
        migrations.apply(database.url())
        yield database


def use(http: Http, person: Person, relations: list[tuple[str, str]]) -> None:
    """Ask for everything, as everybody."""
    for who in (http.headers(), http.headers(person), http.headers(http.secret_key)):
        for schema, relation in relations:
            url = f"{http.url}/rest/v1/{relation}"
            profiles = {"accept-profile": schema, "content-profile": schema}
            http.caller.get(url, headers={**who, **profiles}, params={"limit": "1"})
        for method in ("POST", "PATCH", "DELETE"):
            http.caller.request(
                method,
                f"{http.url}/rest/v1/ai_usage_ledger?model=eq.x",
                headers={**who, "content-type": "application/json"},
                content="{}",
            )
        for function in ("authorize_spend", "settle_spend", "verify_integrity", "nothing"):
            http.caller.post(f"{http.url}/rest/v1/rpc/{function}", headers=who, json={})


def test_traffic_changes_no_privilege(fresh: Database) -> None:
    with fresh.connect(autocommit=True) as owner:
        relations = [
            (str(s), str(r)) for s, r in owner.execute(RELATIONS, (list(Exposed().schemas),))
        ]
        before = privileges(owner)
        with http_stack(fresh) as http:
            use(http, http.sign_up(), relations)
            http.caller.post(f"{http.url}/auth/v1/logout", headers=http.headers(http.sign_up()))
        after = privileges(owner)

    assert len(before) > 3000  # nothing was left out
    assert {key: after.get(key) for key in before} == before
    # What is new are the tables of the users. They are their keeper's, and postgres may look.
    new = {key: granted for key, granted in after.items() if key not in before}
    assert {name.split(".")[0] for kind, name in new if kind == "relation"} == {"auth"}
    assert {kind for kind, _ in new} <= {"relation", "function", "type", "security"}
    for (kind, name), granted in new.items():
        if kind == "relation" and granted is not None:
            grantees = {entry.split("=")[0] for entry in granted.strip("{}").split(",")}
            assert grantees <= {"postgres", "supabase_auth_admin"}, (name, granted)
        if kind == "function":
            assert granted is None, name  # a trigger's: nobody can call it


def test_the_gateway_has_no_power_of_its_own(fresh: Database) -> None:
    with http_stack(fresh), fresh.connect(autocommit=True) as owner:
        sessions = owner.execute(
            "select distinct usename::text, application_name from pg_stat_activity"
            " where datname = current_database() and application_name like 'tallystick %%'"
        ).fetchall()
        assert {role for role, name in sessions if "catalog" not in name} <= {
            "authenticator",
            "supabase_auth_admin",
        }
        for role in ("authenticator", "supabase_auth_admin"):
            rights = owner.execute(
                "select rolsuper, rolcreaterole, rolcreatedb, rolbypassrls, rolinherit"
                " from pg_roles where rolname = %s",
                (role,),
            ).fetchone()
            assert rights == (False,) * 5
        owned = owner.execute(
            "select c.oid::regclass::text from pg_class as c"
            " where relowner = 'authenticator'::regrole"
        ).fetchall()
        assert owned == []
    for role, statement in [
        ("authenticator", "select from auth.users"),
        ("authenticator", "select from public.ai_usage_ledger"),
        ("authenticator", "grant all on public.ai_usage_ledger to anon"),
        ("supabase_auth_admin", "select from public.ai_usage_ledger"),
        ("supabase_auth_admin", "select from tenancy.memberships"),
        ("supabase_auth_admin", "create table public.x ()"),
    ]:
        with fresh.connect(role) as login, pytest.raises(psycopg.Error) as refused:
            login.execute(statement)
        assert refused.value.sqlstate == "42501", statement


def test_claims_are_read_as_supabase_reads_them(fresh: Database) -> None:
    """The library's own auth.uid() would read only one of the two forms they come in."""
    user = "d0000000-0000-4000-8000-000000000000"
    with http_stack(fresh), fresh.connect() as owner:
        for name, value in [
            ("request.jwt.claims", f'{{"sub": "{user}", "role": "x"}}'),
            ("request.jwt.claim.sub", user),
        ]:
            owner.execute("select set_config(%s, %s, true)", (name, value))
            assert str(owner.execute("select auth.uid()").fetchone()) == f"(UUID('{user}'),)"
            owner.rollback()
