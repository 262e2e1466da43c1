"""The client has a method for every exposed function, under the same names, sync and async."""

import inspect

import psycopg
import pytest

from tallystick import AsyncClient, Client, calls, errors
from tests.client.examples import CALLS, READS, call, read

# Extensions may put functions of their own into public; they are not ours to cover.
EXPOSED = """
select n.nspname, p.proname, coalesce(p.proargnames[1:p.pronargs], '{}')
from pg_proc as p
join pg_namespace as n on n.oid = p.pronamespace
where n.nspname in ('public', 'metering', 'pricing', 'billing', 'accounting', 'tenancy',
                    'audit')
  and p.prorettype <> 'trigger'::regtype
  and not exists (
    select from pg_depend as d
    where d.classid = 'pg_proc'::regclass and d.objid = p.oid and d.deptype = 'e'
  )
"""
METHODS = sorted(calls.__all__)


def test_every_exposed_function_has_a_call_and_every_call_a_function(
    connection: psycopg.Connection,
) -> None:
    exposed = {
        (schema, function): arguments
        for schema, function, arguments in connection.execute(EXPOSED).fetchall()
    }
    known = {(made.schema, made.function): list(made.arguments) for made in map(call, CALLS)}
    assert known == exposed


@pytest.mark.parametrize("name", READS)
def test_every_read_names_columns_of_an_exposed_relation(
    connection: psycopg.Connection, name: str
) -> None:
    made = read(name)
    rows = connection.execute(
        "select column_name from information_schema.columns"
        " where table_schema = %s and table_name = %s",
        [made.schema, made.relation],
    ).fetchall()
    assert {*made.columns, *made.filters} <= {column for (column,) in rows}


def test_the_error_classes_are_those_of_the_registry(connection: psycopg.Connection) -> None:
    rows = connection.execute("select code from public.tallystick_errors").fetchall()
    assert {code for (code,) in rows} == set(errors.ERRORS)


@pytest.mark.parametrize("client", [Client, AsyncClient])
def test_the_client_has_a_method_for_every_call(client: type) -> None:
    public = {name for name in vars(client) if not name.startswith("_")}
    assert public == {*calls.__all__, "spend", "read_only", "close"}


@pytest.mark.parametrize("name", METHODS)
def test_sync_and_async_methods_have_the_signature_of_the_call(name: str) -> None:
    expected = list(inspect.signature(getattr(calls, name)).parameters.values())
    for client in (Client, AsyncClient):
        _self, *parameters = inspect.signature(getattr(client, name)).parameters.values()
        assert parameters == expected


@pytest.mark.parametrize("name", METHODS)
def test_sync_and_async_methods_return_the_same(name: str) -> None:
    returned = inspect.signature(getattr(Client, name)).return_annotation
    assert inspect.signature(getattr(AsyncClient, name)).return_annotation == returned
    kind = "Read" if name in READS else "Call"
    assert inspect.signature(getattr(calls, name)).return_annotation == f"{kind}[{returned}]"
    assert inspect.iscoroutinefunction(getattr(AsyncClient, name))
    assert not inspect.iscoroutinefunction(getattr(Client, name))


@pytest.mark.parametrize("name", METHODS)
def test_every_method_says_what_it_does(name: str) -> None:
    assert inspect.getdoc(getattr(Client, name))
    assert inspect.getdoc(getattr(AsyncClient, name)) == inspect.getdoc(getattr(Client, name))
