"""The gateway's modules, by Deno's own tests; and the programs as a whole."""

import json
import os
import signal
import time
from collections.abc import Iterator
from pathlib import Path

import httpx
import psutil
import pytest

from tallystick.local import LocalServerError
from tallystick.local.http_stack import Exposed, HttpStack, exposed_by
from tests.support.deno import run_deno
from tests.support.http import TREE, Http, http_stack
from tests.support.servers import Database

GATEWAY = TREE / "python_client" / "tallystick" / "local" / "http"
CONFIG = ("--config", str(GATEWAY / "deno.json"), "--frozen")


def test_modules() -> None:
    # Fetches what is not there yet; after that nothing is asked of the network.
    run_deno("install", "--quiet", *CONFIG, "--entrypoint", str(GATEWAY / "gateway.ts"))
    permissions = ("--allow-read", "--allow-write", "--allow-env", "--cached-only")
    printed = run_deno("test", *CONFIG, *permissions, str(TREE / "tests" / "http" / "gateway"))
    assert "0 failed" in printed


def test_every_package_is_pinned() -> None:
    imports = json.loads((GATEWAY / "deno.json").read_text())["imports"]
    packages = [target for target in imports.values() if target.startswith("npm:")]
    assert packages
    assert all(target.rpartition("@")[2][0].isdigit() for target in packages)


def test_what_is_exposed_is_what_config_toml_says() -> None:
    assert exposed_by(TREE / "supabase" / "config.toml") == Exposed()


@pytest.fixture
def running(http_server_database: Database) -> Iterator[Http]:
    """An HTTP side of this test's own, whose database holds nothing."""
    with http_stack(http_server_database, exposed=Exposed(schemas=("public",))) as http:
        yield http


def answers(http: Http) -> bool:
    try:
        return http.caller.get(f"{http.url}/health").status_code == 200
    except httpx.TransportError:
        return False


def test_address_and_keys_are_kept(running: Http) -> None:
    stack = running.stack
    before = (stack.url, stack.publishable_key, stack.secret_key, stack.jwt_secret)
    person = running.sign_up()
    stack.stop()
    assert not stack.is_running
    assert not answers(running)
    stack.stop()  # again is no error
    stack.start()
    assert (stack.url, stack.publishable_key, stack.secret_key, stack.jwt_secret) == before
    signed_in = running.caller.get(
        f"{running.url}/auth/v1/user", headers=running.headers(person)
    ).json()
    assert signed_in["id"] == str(person.id)
    first = memory(stack)["processes"]["gateway"]
    stack.start()  # anew
    assert memory(stack)["processes"]["gateway"] != first
    assert not psutil.pid_exists(first)
    assert answers(running)


def memory(stack: HttpStack) -> dict[str, dict[str, int]]:
    found: dict[str, dict[str, int]] = json.loads((stack.state / "http.json").read_text())
    return found


def test_secrets_are_for_the_owner_s_eyes(running: Http) -> None:
    file = running.stack.state / "http.json"
    assert file.stat().st_mode & 0o077 == 0
    secrets = (running.secret_key, running.jwt_secret, "postgresql://")
    for pid in memory(running.stack)["processes"].values():
        process = psutil.Process(pid)
        told = " ".join([*process.cmdline(), *process.environ().values()])
        assert not any(secret in told for secret in secrets)
    assert not any(secret in running.stack.log_file.read_text() for secret in secrets)


def test_it_listens_to_this_machine_only(running: Http) -> None:
    for pid in memory(running.stack)["processes"].values():
        listening = [
            connection.laddr.ip
            for connection in psutil.Process(pid).net_connections()
            if connection.status == psutil.CONN_LISTEN
        ]
        assert listening == ["127.0.0.1"]


def test_one_that_was_killed_starts_again(running: Http) -> None:
    os.kill(memory(running.stack)["processes"]["gateway"], signal.SIGKILL)
    for _ in range(100):
        if not running.stack.is_running:
            break
        time.sleep(0.02)
    assert not running.stack.is_running
    running.stack.start()
    assert answers(running)


def test_a_database_that_is_gone_is_503_until_it_is_back(
    running: Http, http_server_database: Database
) -> None:
    url = f"{running.url}/rest/v1/rpc/version"
    headers = running.headers(running.secret_key)
    assert running.caller.get(url, headers=headers).status_code == 404  # PGRST202: it answers
    with http_server_database.connect(autocommit=True) as owner:
        owner.execute(
            "select pg_terminate_backend(pid) from pg_stat_activity"
            " where datname = current_database() and pid <> pg_backend_pid()"
        )
    for _ in range(100):
        answer = running.caller.get(url, headers=headers)
        assert answer.status_code in (404, 503), answer.text
        if answer.status_code == 404:
            break
        time.sleep(0.02)
    assert answer.status_code == 404


def test_what_cannot_start_says_why(tmp_path: Path, http_server_database: Database) -> None:
    with pytest.raises(LocalServerError, match="database"):
        HttpStack(tmp_path).start()
    with pytest.raises(LocalServerError, match="tallystick up --http"):
        _ = HttpStack(tmp_path).url


def test_without_functions_there_are_none(running: Http) -> None:
    answer = running.caller.post(f"{running.url}/functions/v1/metered-proxy")
    assert (answer.status_code, answer.json()["code"]) == (404, "NOT_FOUND")


def test_what_users_do_not_know_is_not_found(running: Http) -> None:
    person = running.sign_up()
    for path in ("nosuch", "", "admin/nosuch", "sessions"):
        answer = running.caller.get(
            f"{running.url}/auth/v1/{path}", headers=running.headers(person)
        )
        assert (path, answer.status_code) == (path, 404)
        assert answer.json()["error_code"] == "not_found"


def test_functions_find_supabase_s_names_in_their_environment(
    http_server_database: Database, tmp_path: Path
) -> None:
    (tmp_path / "show").mkdir()
    (tmp_path / ".env").write_text("# a comment\nOWN='value'\nexport OTHER=x\n")
    (tmp_path / "show" / "index.ts").write_text(
        "Deno.serve(async (request) => Response.json({"
        " environment: Deno.env.toObject(), url: request.url, body: await request.text(),"
        " caller: request.headers.get('authorization') }));"
    )
    with http_stack(
        http_server_database, tmp_path, {"GIVEN": "yes"}, exposed=Exposed(schemas=("public",))
    ) as http:
        answer = http.caller.post(
            f"{http.url}/functions/v1/show/deep?x=y",
            headers={"authorization": "Bearer t"},
            content="sent",
        ).json()
        found = answer["environment"]
        assert (answer["body"], answer["caller"]) == ("sent", "Bearer t")
        assert answer["url"].endswith("/show/deep?x=y")
        assert {
            "SUPABASE_URL": http.url,
            "SUPABASE_ANON_KEY": http.publishable_key,
            "SUPABASE_SERVICE_ROLE_KEY": http.secret_key,
            "SUPABASE_PUBLISHABLE_KEYS": json.dumps({"default": http.publishable_key}),
            "SUPABASE_SECRET_KEYS": json.dumps({"default": http.secret_key}),
            "OWN": "value",
            "OTHER": "x",
            "GIVEN": "yes",
        }.items() <= found.items()
        assert http.jwt_secret not in found.values()
