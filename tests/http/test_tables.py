"""Tables and views over HTTP: the same values as in Postgres, and every code of an error."""

import json
from typing import Any
from urllib.parse import urlencode
from uuid import uuid4

import httpx
import psycopg
import pytest
from psycopg import sql

from tallystick.local.http_stack import Exposed
from tallystick.transports import exact_json
from tests.support.http import Http
from tests.support.patience import eventually
from tests.support.servers import Database

RELATIONS = """
select n.nspname, c.relname
from pg_class as c inner join pg_namespace as n on n.oid = c.relnamespace
where n.nspname = any(%s) and c.relkind in ('r', 'p', 'v')
  and has_table_privilege('service_role', c.oid, 'select')
order by 1, 2
"""


def rows_of(http: Http, schema: str, relation: str) -> list[Any]:
    answer = http.caller.get(
        f"{http.url}/rest/v1/{relation}",
        headers={**http.headers(http.secret_key), "accept-profile": schema},
    )
    assert answer.status_code == 200, (relation, answer.text)
    rows = exact_json.loads(answer.content)
    assert isinstance(rows, list)
    return rows


def in_order(rows: list[Any]) -> list[str]:
    """Return the rows as text, so that 1.50 and 1.5 differ, in an order of their own."""
    return sorted(exact_json.dumps(row) for row in rows)


@pytest.fixture
def populated(owner: psycopg.Connection) -> str:
    """An organization that has something in most tables."""
    row = owner.execute("select tests.organization('Tables')").fetchone()
    assert row is not None
    for statement in (
        "select tests.price('tables')",
        "select tests.member(%(o)s, 'owner')",
        "select tests.spend(tests.workflow(%(o)s), 0.123456789012)",
        "select tests.hold(%(o)s, 0.000000000001)",
        "select tests.bill(%(o)s)",
        "select metering.set_budget(%(o)s, 'organization', null, 'month', 12345678901.1)",
        "select pricing.set_markup(%(o)s, 12.5)",
        "select public.ledger_assert_v0('d', 'e', '{\"rate\": 0.10000000000000000000001}',"
        " p_owner_user_id => gen_random_uuid(), p_organization_id => %(o)s)",
    ):
        owner.execute(statement, {"o": row[0]})
    return str(row[0])


def test_every_relation_reads_as_postgres_writes_it(
    http: Http, http_database: Database, owner: psycopg.Connection, populated: str
) -> None:
    relations = owner.execute(RELATIONS, (list(Exposed().schemas),)).fetchall()
    assert len(relations) > 40
    filled = 0
    with http_database.connect(role="service_role", autocommit=True) as server:
        server.execute("set timezone = 'UTC'")
        for schema, relation in relations:
            name = sql.Identifier(schema, relation)
            statement = sql.SQL("select coalesce(json_agg(r), '[]')::text from {} as r")
            row = server.execute(statement.format(name)).fetchone()
            assert row is not None
            expected = exact_json.loads(row[0])
            assert isinstance(expected, list)
            assert len(expected) < 1000, relation
            filled += bool(expected)
            assert in_order(rows_of(http, schema, relation)) == in_order(expected), relation
    assert filled > 20


def test_money_keeps_its_digits_and_its_zeros(http: Http, populated: str) -> None:
    headers = {**http.headers(http.secret_key), "accept-profile": "metering"}
    answer = http.caller.get(
        f"{http.url}/rest/v1/budgets?select=limit_usd&limit_usd=eq.12345678901.1"
        f"&organization_id=eq.{populated}",
        headers=headers,
    )
    assert answer.text == '[{"limit_usd":12345678901.100000000000}]'


@pytest.fixture
def notes(http: Http, owner: psycopg.Connection) -> str:
    """An application's own table, which the API is told of."""
    owner.execute(
        "create table public.notes (id bigint primary key, price numeric, about jsonb,"
        " parent_id bigint references public.notes (id), at timestamptz);"
        "alter table public.notes enable row level security;"
        "notify pgrst, 'reload schema'"
    )
    for _ in range(200):
        answer = ask(http, "GET", http.secret_key)
        if answer.status_code == 200:
            break
    assert answer.status_code == 200, answer.text
    return "notes"


def ask(
    http: Http, method: str, key: str, body: str | None = None, query: str = ""
) -> httpx.Response:
    return http.caller.request(
        method,
        f"{http.url}/rest/v1/notes{query}",
        content=body,
        headers={
            **http.headers(key),
            "content-type": "application/json",
            "prefer": "return=representation",
        },
    )


def test_what_is_written_is_not_rounded(http: Http, owner: psycopg.Connection, notes: str) -> None:
    try:
        rows = '[{"id": 9007199254740993, "price": 0.10000000000000000000001}]'
        written = ask(http, "POST", http.secret_key, rows)
        assert written.status_code == 201, written.text
        stored = owner.execute("select id, price::text from public.notes").fetchall()
        assert stored == [(9007199254740993, "0.10000000000000000000001")]
        assert '"id":9007199254740993,"price":0.10000000000000000000001' in written.text
        changed = ask(
            http, "PATCH", http.secret_key, '{"price": 1.50, "about": {"a": [1, 2.5]}}', "?id=gt.1"
        )
        assert '"price":1.50,"about":{"a":[1,2.5]}' in changed.text
        document = '{"big": 9007199254740993, "deep": [{"m": 0.1234567890123456789, "n": 1}]}'
        ask(http, "PATCH", http.secret_key, f'{{"about": {document}}}', "?id=gt.1")
        ((about,),) = owner.execute("select about::text from public.notes").fetchall()
        assert about == document
        ask(http, "PATCH", http.secret_key, '{"about": {"a": [1, 2.5]}}', "?id=gt.1")
        for query, found in [
            ("?id=eq.9007199254740993", 1),
            ("?id=eq.9007199254740992", 0),
            ("?id=in.(1,9007199254740993)", 1),
            ("?or=(id.eq.9007199254740993,id.eq.2)", 1),
            ("?price=gt.1.4999999999999999999", 1),
            ("?about->>a=eq.1.50", 0),
        ]:
            listed = ask(http, "GET", http.secret_key, query=query)
            assert (query, len(listed.json())) == (query, found), listed.text
        for kind in ("text/csv", "application/x-www-form-urlencoded", "text/plain; charset=utf-8"):
            refused = http.caller.post(
                f"{http.url}/rest/v1/notes",
                headers={**http.headers(http.secret_key), "content-type": kind},
                content="id",
            )
            assert (refused.status_code, refused.json()["code"]) == (415, "PGRST102"), refused.text
        for body, status, code in [
            ('{"id": 9007199254740993}', 409, "23505"),
            ('{"id": 5, "parent_id": 7}', 409, "23503"),
            ('{"id": "x"}', 400, "22P02"),
            ('{"price": 1}', 400, "23502"),
        ]:
            refused = ask(http, "POST", http.secret_key, body)
            assert (refused.status_code, refused.json()["code"]) == (status, code), refused.text
            assert set(refused.json()) == {"code", "details", "hint", "message"}
        assert ask(http, "GET", http.publishable_key).json() == []
        refused = ask(http, "POST", http.publishable_key, '{"id": 6}')
        assert (refused.status_code, refused.json()["code"]) == (401, "42501")
    finally:
        owner.execute("drop table public.notes; notify pgrst, 'reload schema'")


def test_text_is_found_as_it_is_written(http: Http, owner: psycopg.Connection, notes: str) -> None:
    numbers = ["1e3", "1000", "007", "7", "0x10", "16", "1.50", "1.5", "-0", "0", "+7", "Infinity"]
    numbers += ["9007199254740993", "9007199254740992"]
    words = [*numbers, "null", "true", "TRUE", "false", "unknown"]
    try:
        owner.execute(
            "alter table public.notes add word text, add is_good boolean, add words text[]"
        )
        owner.execute(
            "insert into public.notes (id, price, word, is_good, words, about)"
            " select n, 0, w, mod(n, 2) = 0, array[w], jsonb_build_object('word', w)"
            " from unnest(%s::text[]) with ordinality as x (w, n)",
            (words,),
        )
        owner.execute("notify pgrst, 'reload schema'")
        eventually(lambda: ask(http, "GET", http.secret_key, query="?word=eq.x").is_success)

        def found(**filters: str) -> list[str]:
            query = f"?{urlencode({'select': 'word', 'order': 'id', **filters})}"
            answer = ask(http, "GET", http.secret_key, query=query)
            assert answer.status_code == 200, (query, answer.text)
            return [row["word"] for row in answer.json()]

        for word in words:
            for filters in (
                {"word": f"eq.{word}"},
                {"word": f"eq.{word}", "limit": "1000", "offset": "0"},
                {"word": f"in.({word},x)"},
                {"or": f"(word.eq.{word},word.eq.x)"},
                {"and": f"(id.gt.0,or(word.in.(x,{word})))"},
                {"about->>word": f"eq.{word}"},
            ):
                assert (filters, found(**filters)) == (filters, [word])
        assert found(word="eq.7", limit="007") == ["7"]
        assert found(word="in.(007,7)") == ["007", "7"]
        assert found(price="eq.0", word="eq.-0") == ["-0"]
        assert found(is_good="eq.true", word="in.(1000,007)") == ["1000"]
        assert found(**{"or": "(word.eq.1.5,word.eq.1.50)"}) == ["1.50", "1.5"]
        assert found(words="cs.{true}") == ["true"]
        assert found(words="cs.{007}") == ["007"]
        assert found(words="cs.{null}") == []
        assert len(found(word="not.eq.true")) == len(words) - 1
        changed = ask(
            http, "PATCH", http.secret_key, '{"price": 1}', "?word=eq.7&limit=007&select=word"
        )
        assert changed.json() == [{"word": "7"}]
    finally:
        owner.execute("drop table public.notes; notify pgrst, 'reload schema'")


def test_unknown_tables_and_schemas(http: Http) -> None:
    for path, profile, status, code in [
        ("nothing", "public", 404, "PGRST205"),
        ("tallystick_errors", "private", 406, "PGRST106"),
        ("tallystick_errors?select=nope", "public", 400, "42703"),
        ("ai_usage_ledger_2026_11", "private", 406, "PGRST106"),
    ]:
        answer = http.caller.get(
            f"{http.url}/rest/v1/{path}",
            headers={**http.headers(http.secret_key), "accept-profile": profile},
        )
        assert (answer.status_code, answer.json()["code"]) == (status, code), answer.text


def test_errors_of_policies_and_guards_keep_code_details_and_hint(
    http: Http, populated: str
) -> None:
    headers = {**http.headers(http.secret_key), "content-type": "application/json"}
    person = http.sign_up()
    for who, method, path, body, status, code in [
        (headers, "DELETE", "ai_usage_ledger?model=eq.x", None, 403, "42501"),
        (headers, "PATCH", "ai_usage_ledger?model=eq.x", {"cost": 0}, 403, "42501"),
        (http.headers(), "GET", "ai_usage_ledger", None, 401, "42501"),
        (http.headers(person), "POST", "intent_workflows", {"organization_id": populated}, 403,
         "42501"),
    ]:  # fmt: skip
        answer = http.caller.request(
            method,
            f"{http.url}/rest/v1/{path}",
            headers={**who, "content-type": "application/json"},
            content=None if body is None else json.dumps(body),
        )
        assert (answer.status_code, answer.json()["code"]) == (status, code), answer.text


def test_a_duplicate_that_is_ignored_rewrites_no_receipt(http: Http) -> None:
    person = http.sign_up()

    def ask_as_person(method: str, path: str, body: Any = None, prefer: str = "") -> Any:
        answer = http.caller.request(
            method,
            f"{http.url}/rest/v1/{path}",
            headers={
                **http.headers(person),
                "content-type": "application/json",
                "prefer": f"return=representation{prefer}",
            },
            content=None if body is None else json.dumps(body),
        )
        assert answer.is_success, answer.text
        return answer.json()

    first, second = (
        ask_as_person("POST", "rpc/ledger_assert_v0", {"p_domain": "payments", "p_event_type": e})
        for e in ("paid", "refunded")
    )
    current = ask_as_person("GET", "ledger_current_v0?order=id")
    assert [event["id"] for event in current] == sorted([first["id"], second["id"]])
    ghost = {**first, "id": second["id"]}
    for absent in ("created_at", "xact_id"):
        del ghost[absent]
    for row in (
        {
            **ghost,
            "revision": 1,
            "supersedes_id": first["id"],
            "op": "void",
            "payload": {"void_reason": "x", "voided_by": "y"},
        },
        {**ghost, "logical_id": str(uuid4())},
    ):
        assert ask_as_person("POST", "ledger_events_v0", row, ",resolution=ignore-duplicates") == []
    assert ask_as_person("GET", "ledger_current_v0?order=id") == current
