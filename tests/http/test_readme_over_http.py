"""What README.md says of HTTP, of its clients and of the metered proxy is executed."""

import json
import re
from pathlib import Path
from typing import Any
from uuid import UUID

import psycopg
import pytest

from tests.readme.test_readme import README, blocks, names_in
from tests.support.deno import run_deno
from tests.support.http import FUNCTIONS, Http, Person
from tests.support.provider import PIECES, Provider

PROXY = FUNCTIONS / "metered-proxy"
RATES = '{"input_tokens": 2.5, "cache_read_tokens": 1.25, "output_tokens": 10}'


@pytest.fixture
def reader(http: Http, owner: psycopg.Connection) -> Person:
    """Somebody with an organization, Acme, and a model that has a price."""
    person = http.sign_up()
    owner.execute("select from pricing.set_price('openai', 'gpt-4o', %s)", (RATES,))
    owner.execute(
        "with acme as (insert into tenancy.organizations (name) values ('Acme') returning id)"
        " insert into tenancy.memberships (organization_id, user_id, role)"
        " select id, %s, 'owner' from acme",
        (person.id,),
    )
    return person


@pytest.fixture
def acme(reader: Person, owner: psycopg.Connection) -> str:
    """The organization's id."""
    row = owner.execute(
        "select organization_id::text from tenancy.memberships where user_id = %s", (reader.id,)
    ).fetchone()
    assert row is not None
    found: str = row[0]
    return found


def test_plain_request(http: Http, reader: Person, acme: str) -> None:
    """The request is answered with the fields shown below it."""
    (request,), (shown,) = blocks("http"), blocks("json")
    for name, value in {
        "<publishable key>": http.publishable_key,
        "<access token>": reader.token,
        "<acme>": acme,
    }.items():
        assert name in request
        request = request.replace(name, value)
    head, _, body = request.partition("\n\n")
    (method, path), *headers = (line.split(" ", 1) for line in head.splitlines())
    answer = http.caller.request(
        method,
        f"{http.url}{path}",
        headers={name.rstrip(":"): value for name, value in headers},
        content=body,
    )
    assert answer.status_code == 200, answer.text
    assert json.loads(shown).items() <= answer.json().items()


def test_supabase_py_example(
    http: Http, reader: Person, acme: str, capsys: pytest.CaptureFixture[str]
) -> None:
    """The example settles one call, and prints its cost with all digits."""
    (example,) = [block for block in blocks("python") if "SupabaseTransport" in block]
    names = {
        "SUPABASE_URL": http.url,
        "SUPABASE_PUBLISHABLE_KEY": http.publishable_key,
        "SUPABASE_SECRET_KEY": http.secret_key,
        "email": reader.email,
        "password": reader.password,
        "acme": UUID(acme),
    }
    exec(compile(example, "README.md", "exec"), names)  # noqa: S102
    assert capsys.readouterr().out == "0.006000000000\n"
    session: Any = names["session"]
    server: Any = names["server"]
    for client in (session, server._transport._client):  # noqa: SLF001
        client.postgrest.aclose()
        client.auth.close()


def test_supabase_js_example(http: Http, reader: Person, acme: str, tmp_path: Path) -> None:
    """The example compiles, and settles one call to the last digit."""
    (example,) = blocks("ts")
    names = {
        "SUPABASE_URL": http.url,
        "SUPABASE_PUBLISHABLE_KEY": http.publishable_key,
        "SUPABASE_SECRET_KEY": http.secret_key,
        "email": reader.email,
        "password": reader.password,
        "acme": acme,
    }
    constants = [f"const {name} = {json.dumps(value)};" for name, value in names.items()]
    example = example.replace("./database.ts", str(FUNCTIONS / "_shared" / "database.ts"))
    shown = "console.log(JSON.stringify([decision!.decision, spend, usage, error]));"
    program = tmp_path / "example.ts"
    # The clients would refresh their sessions for ever.
    program.write_text("\n".join([*constants, example, shown, "Deno.exit();"]), "utf-8")
    told = run_deno(
        *("run", "--quiet", "--check", "--frozen", "--allow-net", "--allow-env"),
        f"--config={FUNCTIONS / 'deno.json'}",
        f"--lock={FUNCTIONS / 'deno.lock'}",
        str(program),
    )
    usage = {"cost": "0.004750000000", "cost_basis": "priced"}
    assert json.loads(told) == ["granted", [], usage, None]


def test_proxy_example(
    http: Http,
    provider: Provider,
    reader: Person,
    acme: str,
    owner: psycopg.Connection,
    capsys: pytest.CaptureFixture[str],
) -> None:
    """The example prints the answer, and one usage is in the ledger."""
    provider.plan()
    (example,) = [block for block in blocks("python") if "metered-proxy" in block]
    names = {"SUPABASE_URL": http.url, "access_token": reader.token, "acme": acme}
    exec(compile(example, "README.md", "exec"), names)  # noqa: S102
    names["client"].close()  # type: ignore[attr-defined]
    assert capsys.readouterr().out == "".join(PIECES)
    recorded = owner.execute(
        "select model, cost::text from ai_usage_ledger where organization_id = %s", (acme,)
    ).fetchall()
    assert recorded == [("gpt-4o", "0.004750000000")]


def test_settings_are_those_of_the_proxy() -> None:
    """Each setting of the provider is documented, with its default, and none besides."""
    source = (PROXY / "settings.ts").read_text("utf-8")
    read = dict(re.findall(r'(?:number|env)\("(PROVIDER_\w+)"(?:, (\w+))?(?:, \w+)?\)', source))
    constants = dict(re.findall(r"const (\w+) = (\d+);", source))
    assert set(read) == set(re.findall(r"PROVIDER_\w+", README))
    for name, default in read.items():
        if default:
            standard = constants.get(default, default)
            assert re.search(rf"`{name}`\s\({standard}\)", README), name


def test_codes_are_those_of_the_proxy() -> None:
    """Each code that the README names is one the proxy answers."""
    source = "".join(file.read_text("utf-8") for file in PROXY.glob("*.ts"))
    section = re.split(r"^## The metered proxy$", README, flags=re.MULTILINE)[1]
    table = re.search(r"^\| refusal .*?(?=\n\n)", section, flags=re.MULTILINE | re.DOTALL)
    assert table is not None
    codes = names_in(table.group())
    for code in set(codes) - {"code", "retry-after"}:
        assert f'"{code}"' in source, code
