"""RPC answers, case by case, against what PostgREST 14 documents and its own tests expect.

Sources: docs.postgrest.org/en/v14, references/errors, api/functions, api/preferences, api/schemas,
transactions. Bodies are compared as text where digits matter.
"""

import json
import time
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import httpx
import jwt
import pytest

from tallystick.local.http_stack import Exposed
from tests.support.http import Http, http_stack
from tests.support.servers import Database

SQL = Path(__file__).with_name("rpc_cases.sql")
USER = "d0000000-0000-4000-8000-00000000000d"


@dataclass(frozen=True)
class Case:
    """A request and what it must be answered with.

    Attributes:
        name: What it shows.
        path: The function, with its query string.
        body: The JSON text of a POST; None is a GET.
        status: The status it must have.
        text: The body it must have, or None where `code` says enough.
        code: The `code` its error must have.
        role: anon, authenticated or service_role.
        method: POST or GET unless said otherwise.
        sent: Headers of the request.
        answered: Headers the answer must have; None: must not have.
    """

    name: str
    path: str
    body: str | None = None
    status: int = 200
    text: str | None = None
    code: str | None = None
    role: str = "authenticated"
    method: str | None = None
    sent: Mapping[str, str] = field(default_factory=dict)
    answered: Mapping[str, str | None] = field(default_factory=dict)


OBJECT = {"accept": "application/vnd.pgrst.object+json"}
JSON = "application/json; charset=utf-8"

SHAPES = [
    Case("text is a JSON string", "hello", '{"name": "x"}', text='"Hello, x"',
         answered={"content-type": JSON, "content-range": "0-0/*"}),
    Case("a default is taken", "hello", "{}", text='"Hello, world"'),
    Case("an empty body is no argument", "hello", "", text='"Hello, world"'),
    Case("unicode", "hello", '{"name": "\u00fc\u20ac\U0001f600"}',
         text='"Hello, \u00fc\u20ac\U0001f600"'),
    Case("void is 204 without a body", "nothing", "{}", 204, "", answered={"content-type": None}),
    Case("a null scalar is null", "null_integer", "{}", text="null"),
    Case("a boolean", "yes", "{}", text="true"),
    Case("a set of scalars is an array", "numbers", '{"n": 3}', text="[1, 2, 3]",
         answered={"content-range": "0-2/*"}),
    Case("an empty set is an empty array", "numbers", '{"n": 0}', text="[]",
         answered={"content-range": "*/*"}),
    Case("an array", "list", "{}", text="[1,2,3]"),
    Case("a range is text", "range_of", '{"low": 10, "up": 20}', text='"[10,20)"'),
    Case("a composite is an object", "pair_of", '{"amount": 1.50, "name": "x"}',
         text='{"amount":1.50,"name":"x"}', answered={"content-range": "0-0/*"}),
    Case("a domain over a composite", "domain_pair", "{}", text='{"amount":1.50,"name":"x"}'),
    Case("a null composite", "null_pair", "{}", text='{"amount":null,"name":null}'),
    Case("a table is an array of objects", "table_of", '{"n": 2}',
         text='[{"place":1,"square":1.10}, \n {"place":2,"square":4.40}]'),
    Case("one OUT parameter is an object", "one_out", '{"num": 5}', text='{"num_plus_one":6}'),
    Case("two OUT parameters are one", "two_out", "{}", text='{"a":1,"b":"x"}'),
    Case("a record", "record_of", "{}", text='{"id":1,"name":"x"}'),
    Case("jsonb", "document", '{"value": {"b": [1, null]}}', text='{"b": [1, null]}'),
    Case("a row as an object", "numbers", '{"n": 1}', text="1", sent=OBJECT,
         answered={"content-type": "application/vnd.pgrst.object+json; charset=utf-8"}),
    Case("no row as an object", "numbers", '{"n": 0}', 406, code="PGRST116", sent=OBJECT),
    Case("two rows as an object", "numbers", '{"n": 2}', 406, code="PGRST116", sent=OBJECT),
    Case("nulls left out", "null_pair", "{}", text="{}",
         sent={"accept": "application/vnd.pgrst.array+json;nulls=stripped"}),
    Case("another media type", "yes", "{}", 406, code="PGRST107", sent={"accept": "image/png"}),
    Case("another identifier", "Quoted%20Name", '{"Some Arg": 7}', text="7"),
]  # fmt: skip

DIGITS = [
    Case("numeric keeps every digit", "exact", '{"value": 12345678901234567890.123456789012}',
         text="12345678901234567890.123456789012"),
    Case("numeric keeps its zeros", "exact", '{"value": 1.50}', text="1.50"),
    Case("a small one", "exact", '{"value": 0.000000000001}', text="0.000000000001"),
    Case("with an exponent", "exact", '{"value": 1e-12}', text="0.000000000001"),
    Case("numeric from text", "exact", '{"value": "0.10"}', text="0.10"),
    Case("numeric by GET", "exact?value=0.10", text="0.10"),
    Case("NaN is text", "exact", '{"value": "NaN"}', text='"NaN"'),
    Case("bigint above 2^53", "whole", '{"value": 9007199254740993}', text="9007199254740993"),
    Case("bigint by GET", "whole?value=-9223372036854775808", text="-9223372036854775808"),
    Case("numbers within jsonb", "document", '{"value": {"a": 0.1000000000000000000000000001}}',
         text='{"a": 0.1000000000000000000000000001}'),
    Case("timestamptz is ISO 8601", "moment", '{"value": "2026-01-02T03:04:05.6789+02:00"}',
         text='"2026-01-02T01:04:05.6789+00:00"'),
    Case("infinity", "moment", '{"value": "infinity"}', text='"infinity"'),
    Case("date", "day", '{"value": "2026-01-02"}', text='"2026-01-02"'),
]  # fmt: skip

ARGUMENTS = [
    Case("by GET", "hello?name=x", text='"Hello, x"'),
    Case("by HEAD", "hello?name=x", method="HEAD", text="", answered={"content-type": JSON}),
    Case("a form", "pair_of", "amount=1.50&name=a+b", text='{"amount":1.50,"name":"a b"}',
         sent={"content-type": "application/x-www-form-urlencoded"}),
    Case("the last of a repeated one counts", "hello?name=a&name=b", text='"Hello, b"'),
    Case("JSON stays JSON", "kind", '{"value": {"a": 1}}', text='"object"'),
    Case("JSON in text is text", "kind", '{"value": "{}"}', text='"string"'),
    Case("JSON by GET", 'kind?value={"a":1}', text='"object"'),
    Case("null", "exact", '{"value": null}', text="null"),
    Case("the whole body", "whole_body", '{"a": 5}', text='"5"'),
    Case("the whole text", "whole_text", "some text", text="9",
         sent={"content-type": "text/plain"}),
    Case("a composite", "pair_in", '{"value": {"amount": 0.10, "name": "x"}}', text="0.10"),
    Case("a domain", "amount_in", '{"value": 0.10}', text="0.10"),
    Case("a domain refuses", "amount_in", '{"value": -1}', 400, code="23514"),
    Case("an array", "uuids", json.dumps({"ids": [USER, USER]}), text="2"),
    Case("an array by GET", f"uuids?ids={{{USER}}}", text="1"),
    Case("variadic", "joined", '{"separator": "-", "parts": ["a", "b"]}', text='"a-b"'),
    Case("variadic by GET", "joined?separator=-&parts=a&parts=b", text='"a-b"'),
    Case("an overload", "twice", '{"n": 1, "m": 2}', text='"both"'),
    Case("the other overload", "twice", '{"n": 1}', text='"int"'),
    Case("ambiguous", "unclear", '{"v": 1}', 300, code="PGRST203"),
    Case("an unknown argument", "hello", '{"nam": "x"}', 404, code="PGRST202"),
    Case("a missing argument", "exact", "{}", 404, code="PGRST202"),
    Case("an unknown function", "unheard_of", "{}", 404, code="PGRST202"),
    Case("no name at all", "", "{}", 404, code="PGRST125"),
    Case("a malformed name", "%E0%A4%A", "{}", 404, code="PGRST125"),
    Case("not JSON", "hello", "{", 400, code="PGRST102"),
    Case("a value of the wrong type", "whole", '{"value": "x"}', 400, code="22P02"),
    Case("a value out of range", "whole", '{"value": 9223372036854775808}', 400, code="22003"),
    Case("a method that calls nothing", "hello", method="DELETE", status=405, code="PGRST101"),
]  # fmt: skip

SELECTIONS = [
    Case("columns", "all_things?select=id",
         text='[{"id":1}, \n {"id":2}, \n {"id":9007199254740993}]'),
    Case("an alias, a filter", "all_things?select=key:id&id=eq.9007199254740993",
         text='[{"key":9007199254740993}]'),
    Case("filters of a POST", "all_things?name=in.(one,%22two%22)&order=id.desc&select=id", "{}",
         text='[{"id":2}, \n {"id":1}]'),
    Case("is null", "all_things?price=is.null&select=name", text='[{"name":"big"}]'),
    Case("not", "all_things?price=not.is.null&name=not.eq.one&select=name",
         text='[{"name":"two"}]'),
    Case("like", "all_things?name=like.t*&select=id", text='[{"id":2}]'),
    Case("a page", "all_things?select=id&limit=1&offset=1", text='[{"id":2}]',
         answered={"content-range": "1-1/*"}),
    Case("a page by Range", "all_things?select=id", text='[{"id":2}]', sent={"range": "1-1"},
         answered={"content-range": "1-1/*"}),
    Case("Range is for GET", "all_things?select=id&limit=1", "{}", text='[{"id":1}]',
         sent={"range": "1-1"}),
    Case("counted", "all_things?select=id&limit=1", status=206, text='[{"id":1}]',
         sent={"prefer": "count=exact"},
         answered={"content-range": "0-0/3", "preference-applied": "count=exact"}),
    Case("counted as a whole", "numbers", '{"n": 2}', text="[1, 2]",
         sent={"prefer": "count=exact"}, answered={"content-range": "0-1/2"}),
    Case("one is counted", "hello", "{}", text='"Hello, world"', sent={"prefer": "count=exact"},
         answered={"content-range": "0-0/1"}),
    Case("no more than the API shows", "numbers", '{"n": 5}', text="[1, 2, 3, 4]",
         answered={"content-range": "0-3/*"}),
    Case("which a count tells", "numbers", '{"n": 5}', 206, text="[1, 2, 3, 4]",
         sent={"prefer": "count=exact"}, answered={"content-range": "0-3/5"}),
    Case("the limit asked for is no way around", "numbers?limit=9", '{"n": 5}',
         text="[1, 2, 3, 4]"),
    Case("behind the end", "all_things?offset=9", status=416, code="PGRST103",
         sent={"prefer": "count=exact"}),
    Case("a negative limit", "all_things?limit=-1", status=416, code="PGRST103"),
    Case("an unknown column", "all_things?nope=eq.1", status=400, code="42703"),
    Case("what is not available", "all_things?select=id,parent(*)", status=400, code="PGRST100"),
]  # fmt: skip

PREFERENCES = [
    Case("unknown ones are let pass", "yes", "{}", text="true", sent={"prefer": "foo, bar"},
         answered={"preference-applied": None}),
    Case("unless strict", "yes", "{}", 400, code="PGRST122",
         sent={"prefer": "handling=strict, foo"}),
    Case("a time zone", "moment", '{"value": "2026-01-02T03:04:05Z"}',
         text='"2026-01-02T04:04:05+01:00"', sent={"prefer": "timezone=Europe/Berlin"},
         answered={"preference-applied": "timezone=Europe/Berlin"}),
    Case("a time zone there is none", "moment", '{"value": "2026-01-02T03:04:05Z"}',
         text='"2026-01-02T03:04:05+00:00"', sent={"prefer": "timezone=Nowhere"}),
    Case("which is not strict", "yes", "{}", 400, code="PGRST122",
         sent={"prefer": "handling=strict, timezone=Nowhere"}),
    Case("at most so many", "numbers", '{"n": 3}', 400, code="PGRST124",
         sent={"prefer": "handling=strict, max-affected=2"}),
    Case("at most so many of one", "yes", "{}", 400, code="PGRST128",
         sent={"prefer": "handling=strict, max-affected=2"}),
    Case("leniently any number", "numbers", '{"n": 3}', text="[1, 2, 3]",
         sent={"prefer": "max-affected=2"}),
    Case("rolling back is not allowed", "yes", "{}", text="true", sent={"prefer": "tx=rollback"},
         answered={"preference-applied": None}),
]  # fmt: skip

PROFILES = [
    Case("the first schema", "hello", "{}", text='"Hello, world"'),
    Case("another by Content-Profile", "hello", "{}", text='"second"',
         sent={"content-profile": "second"}),
    Case("another by Accept-Profile", "hello", text='"second"', sent={"accept-profile": "second"}),
    Case("one that is hidden", "secret", "{}", 406, code="PGRST106",
         sent={"content-profile": "hidden"}),
]  # fmt: skip

TRANSACTIONS = [
    Case("volatile by POST writes", "is_read_only", "{}", text='"off"'),
    Case("volatile by GET may not", "is_read_only", text='"on"'),
    Case("stable by POST may not", "is_read_only_stable", "{}", text='"on"'),
    Case("a write by GET", "add_thing?id=7&name=x", status=405, code="25006",
         role="service_role"),
    Case("a stable function that writes", "stable_write", "{}", 405, code="25006",
         role="service_role"),
    Case("the role's own time limit", "slow", "{}", 500, code="57014", role="anon"),
    Case("the function's own time limit", "slow_by_itself", "{}", 500, code="57014"),
]  # fmt: skip


def raised(code: str, status: int, role: str = "authenticated") -> Case:
    body = {"code": code, "message": "m", "detail": '{"a": "b"}', "hint": "h"}
    error = {"code": code, "details": '{"a": "b"}', "hint": "h", "message": "m"}
    text = json.dumps(error, separators=(",", ":"))
    return Case(f"{code} for {role}", "fail", json.dumps(body), status, text, role=role)


ERRORS = [
    *(raised(f"TS{number}", 400) for number in (402, 404, 409, 410, 412, 419, 423, 428, 429)),
    *(raised(code, 400) for code in ("P0001", "22023", "23514", "23502", "23001", "BG001")),
    *(raised(code, 409) for code in ("23503", "23505")),
    *(raised(code, 500) for code in ("40001", "40P01", "55P03", "57014", "54000", "53400", "P0002",
                                     "XX000", "25000", "38000", "39000", "3B000", "2D000", "09000",
                                     "58000", "F0000", "HV000", "42P17", "21000")),
    *(raised(code, 503) for code in ("08000", "53000", "57P01")),
    *(raised(code, 403) for code in ("28000", "0L000", "0P000")),
    *(raised(code, 404) for code in ("42883", "42P01")),
    raised("25006", 405),
    raised("PT402", 402),
    raised("42501", 403),
    raised("42501", 401, role="anon"),
    Case("a plain raise", "plain_raise", "{}", 400, code="P0001"),
    Case("a failed assertion", "assertion", "{}", 500, code="P0004"),
    Case("no right, nobody", "forbidden", "{}", 401, code="42501", role="anon"),
    Case("no right, a user", "forbidden", "{}", 403, code="42501"),
    Case("a duplicate", "add_thing", '{"id": 1, "name": "new"}', 409, code="23505",
         role="service_role"),
    Case("a missing parent", "add_thing", '{"id": 8, "name": "new", "parent_id": 77}', 409,
         code="23503", role="service_role"),
    Case("a whole answer of its own", "fail", json.dumps({
        "code": "PGRST",
        "message": '{"code": "123", "message": "Payment Required", "details": "Quota"}',
        "detail": '{"status": 402, "headers": {"X-Powered-By": "Nerd Rage"}}'}), 402,
         '{"code":"123","details":"Quota","hint":null,"message":"Payment Required"}',
         answered={"x-powered-by": "Nerd Rage"}),
    Case("which is malformed", "fail", '{"code": "PGRST", "message": "x"}', 500, code="PGRST121"),
    Case("a status of its own", "chosen_status", '{"status": "402"}', 402, '{"code": "TS402"}'),
    Case("headers of its own", "chosen_status",
         json.dumps({"status": "429", "headers": '[{"Retry-After": "7"}]'}), 429,
         answered={"retry-after": "7"}),
    Case("a status there is none", "chosen_status", '{"status": "x"}', 500, code="PGRST112"),
    Case("headers that are none", "chosen_status",
         '{"status": "200", "headers": "{}"}', 500, code="PGRST111"),
]  # fmt: skip

CASES = [
    (group, case)
    for group, cases in {
        "shape": SHAPES,
        "digits": DIGITS,
        "arguments": ARGUMENTS,
        "selection": SELECTIONS,
        "preference": PREFERENCES,
        "profile": PROFILES,
        "transaction": TRANSACTIONS,
        "error": ERRORS,
    }.items()
    for case in cases
]


@pytest.fixture(scope="module")
def cases(http_server_database: Database) -> Iterator[Http]:
    """An HTTP side of the cases' schemas alone."""
    http_server_database.run_file(SQL)
    with http_stack(
        http_server_database, exposed=Exposed(schemas=("cases", "second"), max_rows=4)
    ) as running:
        yield running


@pytest.fixture(scope="module")
def caller() -> Iterator[httpx.Client]:
    with httpx.Client() as client:
        yield client


def token(http: Http, role: str, **claims: Any) -> str:
    return jwt.encode({"role": role, **claims}, http.jwt_secret, algorithm="HS256")


def headers(http: Http, role: str) -> dict[str, str]:
    if role == "authenticated":
        signed = token(http, role, sub=USER)
        return {"apikey": http.publishable_key, "authorization": f"Bearer {signed}"}
    return {"apikey": http.secret_key if role == "service_role" else http.publishable_key}


def ask(http: Http, caller: httpx.Client, case: Case) -> httpx.Response:
    sent = {"content-type": "application/json", **headers(http, case.role), **case.sent}
    return caller.request(
        case.method or ("GET" if case.body is None else "POST"),
        f"{http.url}/rest/v1/rpc/{case.path}",
        content=case.body.encode() if case.body is not None else None,
        headers=sent,
    )


@pytest.mark.parametrize("case", [c for _, c in CASES], ids=[f"{g}: {c.name}" for g, c in CASES])
def test_answer(cases: Http, caller: httpx.Client, case: Case) -> None:
    answer = ask(cases, caller, case)
    assert answer.status_code == case.status, answer.text
    if case.text is not None:
        assert answer.text == case.text
    if case.code is not None:
        error = answer.json()
        assert set(error) == {"code", "details", "hint", "message"}
        assert error["code"] == case.code
    for name, value in case.answered.items():
        assert answer.headers.get(name) == value, name


def test_what_an_error_says_of_an_unknown_function(cases: Http, caller: httpx.Client) -> None:
    for method, path, body, function, searched in [
        ("GET", "fake", None, "cases.fake without parameters", "without parameters"),
        ("GET", "hello?b=1&a=2", None, "cases.hello(a, b)", "with parameters a, b"),
        ("POST", "hello", '{"nam": 1}', "cases.hello(nam)",
         "with parameter nam or with a single unnamed json/jsonb parameter"),
    ]:  # fmt: skip
        answer = ask(cases, caller, Case("", path, body, method=method))
        assert answer.json() == {
            "code": "PGRST202",
            "message": f"Could not find the function {function} in the schema cache",
            "details": f"Searched for the function {function.partition('(')[0].split()[0]} "
            f"{searched}, but no matches were found in the schema cache.",
            "hint": None,
        }


def test_a_request_is_known_to_the_function(cases: Http, caller: httpx.Client) -> None:
    signed = token(cases, "authenticated", sub=USER, extra="claim")
    answer = caller.post(
        f"{cases.url}/rest/v1/rpc/who",
        headers={
            "apikey": cases.publishable_key,
            "authorization": f"Bearer {signed}",
            "x-test": "yes",
            "cookie": "a=b; c=d",
        },
    )
    assert answer.json() == {
        "user": "authenticated",
        "session": "authenticator",
        "claim": "claim",
        "uid": USER,
        "method": "POST",
        "path": "/rpc/who",
        "header": "yes",
        "cookie": "b",
        "search_path": '"cases", "public", "extensions"',
        "timeout": "8s",
        "time_zone": "UTC",
    }


def test_nothing_of_a_request_is_left_for_the_next(cases: Http, caller: httpx.Client) -> None:
    for role, user, timeout in [
        ("authenticated", USER, "8s"),
        ("anon", None, "3s"),
        ("service_role", None, "8s"),
        ("anon", None, "3s"),
    ]:
        answer = ask(cases, caller, Case("", "who", "{}", role=role)).json()
        found = (answer["user"], answer["uid"], answer["claim"], answer["timeout"])
        assert found == (role, user, None, timeout)


def test_a_refusal_that_is_returned_is_remembered(cases: Http, caller: httpx.Client) -> None:
    with cases.database.connect(autocommit=True) as connection:
        connection.execute("delete from cases.things where id = 402")
        answer = ask(cases, caller, Case("", "chosen_status", '{"status": "402"}'))
        assert answer.status_code == 402
        assert connection.execute("select from cases.things where id = 402").rowcount == 1
        connection.execute("delete from cases.things where id = 402")
        answer = ask(cases, caller, Case("", "chosen_status", '{"status": "x"}'))
        assert answer.status_code == 500
        assert connection.execute("select from cases.things where id = 402").rowcount == 0


@pytest.mark.parametrize(
    ("sent", "status", "code"),
    [
        ({}, 401, None),
        ({"apikey": "nonsense"}, 401, None),
        ({"apikey": "{secret}", "user-agent": "Mozilla/5.0 (X11)"}, 401, None),
        ({"apikey": "{publishable}", "authorization": "Bearer nonsense"}, 401, "PGRST301"),
        ({"apikey": "{publishable}", "authorization": "Bearer {forged}"}, 401, "PGRST301"),
        ({"apikey": "{publishable}", "authorization": "Bearer {unsigned}"}, 401, "PGRST301"),
        ({"apikey": "{publishable}", "authorization": "Bearer {expired}"}, 401, "PGRST303"),
        ({"apikey": "{publishable}", "authorization": "Bearer {early}"}, 401, "PGRST303"),
        ({"apikey": "{publishable}", "authorization": "Bearer {postgres}"}, 403, "42501"),
        ({"apikey": "{publishable}", "authorization": "Bearer {nobody}"}, 401, "22023"),
        ({"apikey": "{expired}"}, 401, "PGRST303"),
        ({"apikey": "{legacy}"}, 200, None),
        ({"apikey": "{publishable}", "authorization": "Bearer {publishable}"}, 200, None),
        ({"apikey": "{secret}", "authorization": "Bearer {secret}"}, 200, None),
    ],
)
def test_keys_and_tokens(
    cases: Http, caller: httpx.Client, sent: dict[str, str], status: int, code: str | None
) -> None:
    now = int(time.time())
    names = {
        "publishable": cases.publishable_key,
        "secret": cases.secret_key,
        "forged": jwt.encode({"role": "service_role"}, "another secret of 32 characters."),
        "unsigned": jwt.encode({"role": "service_role"}, "", algorithm="none"),
        "expired": token(cases, "authenticated", exp=now - 100),
        "early": token(cases, "authenticated", nbf=now + 1000),
        "postgres": token(cases, "supabase_admin"),
        "nobody": token(cases, "no_such_role"),
        "legacy": token(cases, "anon"),
    }
    filled = {name: value.format(**names) for name, value in sent.items()}
    answer = caller.post(f"{cases.url}/rest/v1/rpc/yes", headers=filled)
    assert answer.status_code == status, answer.text
    if status != 200:
        assert answer.json().get("code") == code


def test_a_key_may_stand_in_the_address(cases: Http, caller: httpx.Client) -> None:
    answer = caller.get(f"{cases.url}/rest/v1/rpc/yes", params={"apikey": cases.publishable_key})
    assert (answer.status_code, answer.text) == (200, "true")


def test_a_page_of_any_origin_may_ask(cases: Http, caller: httpx.Client) -> None:
    for path in ("/rest/v1/rpc/yes", "/rest/v1/things", "/auth/v1/signup", "/functions/v1/x"):
        answer = caller.options(
            f"{cases.url}{path}",
            headers={
                "origin": "http://example.org",
                "access-control-request-method": "POST",
                "access-control-request-headers": "apikey, content-profile",
            },
        )
        assert answer.status_code == 204
        assert answer.headers["access-control-allow-origin"] == "*"
        assert answer.headers["access-control-allow-headers"] == "apikey, content-profile"
        asked = caller.get(f"{cases.url}{path}", headers={"origin": "http://example.org"})
        assert asked.headers["access-control-allow-origin"] == "*"


def test_what_changes_in_the_schema_is_noticed(cases: Http, caller: httpx.Client) -> None:
    late = Case("", "late", "{}")
    with cases.database.connect(autocommit=True) as connection:
        assert ask(cases, caller, late).status_code == 404
        connection.execute("create function cases.late() returns int language sql as 'select 1'")
        assert ask(cases, caller, late).text == "1"
        # A function that is replaced by another of the same name has to be announced.
        connection.execute("drop function cases.late()")
        connection.execute(
            "create function cases.late() returns setof int language sql as 'select 1'"
        )
        connection.execute("notify pgrst, 'reload schema'")
        for _ in range(100):
            if (answer := ask(cases, caller, late)).text == "[1]":
                break
            time.sleep(0.05)
        assert answer.text == "[1]"
