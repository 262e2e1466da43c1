"""The commands up, down, status and migrate, as a user runs them."""

import json
import os
import re
import shlex
import subprocess
import sys
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path
from urllib.parse import urlsplit

import httpx
import psutil
import psycopg
import pytest

from tallystick import migrations
from tallystick.cli.main import main
from tallystick.cli.program import program
from tallystick.local import DEFAULT_MAJOR, LocalServer, default_state
from tallystick.local.http_stack import HttpStack
from tests.support.patience import eventually
from tests.support.servers import Database, Server, throwaway_folder

TREE = Path(__file__).parents[2]


@dataclass(frozen=True)
class Result:
    """What a command left behind."""

    status: int | str | None
    stdout: str
    stderr: str


Run = Callable[..., Result]


@pytest.fixture
def tallystick(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str], tmp_path: Path
) -> Iterator[Run]:
    """The command line tool, with a state folder of its own."""

    def run(*arguments: str) -> Result:
        monkeypatch.setattr(sys, "argv", ["tallystick", *arguments])
        with pytest.raises(SystemExit) as exit_:
            main()
        return Result(exit_.value.code or 0, *capsys.readouterr())

    with throwaway_folder() as folder:
        monkeypatch.setenv("TALLYSTICK_STATE", str(folder / "state"))
        monkeypatch.setenv("TALLYSTICK_CACHE", str(TREE / ".cache"))
        monkeypatch.chdir(tmp_path)
        monkeypatch.delenv("DATABASE_URL", raising=False)
        monkeypatch.delenv("TALLYSTICK_STACK", raising=False)
        yield run
        HttpStack(folder / "state").stop()
        LocalServer(folder / "state").stop()


def assert_one_line(refused: Result) -> None:
    assert refused.status == 1
    assert refused.stderr.startswith("Error: ")
    assert len(refused.stderr.splitlines()) == 1


def test_up_status_and_down(tallystick: Run) -> None:
    status = tallystick("status")
    assert (status.status, "tallystick up" in status.stdout) == (1, True)

    up = tallystick("up")
    assert up.status == 0, up.stderr
    assert all(f"Applied {migration}" in up.stdout for migration in migrations.available())
    url = up.stdout.split()[-1]
    assert migrations.pending(url) == []

    again = tallystick("up")
    assert (again.status, "up to date" in again.stdout, url in again.stdout) == (0, True, True)

    status = tallystick("status")
    assert (status.status, url in status.stdout) == (0, True)

    assert tallystick("down").status == 0
    assert not LocalServer().is_running
    assert tallystick("down").status == 0
    assert url in tallystick("up").stdout
    assert LocalServer().is_running


def test_up_http_serves_the_project_in_this_folder(tallystick: Run) -> None:
    functions = Path("supabase/functions/hello")
    functions.mkdir(parents=True)
    (functions / "index.ts").write_text("Deno.serve(() => new Response('hello'));")
    Path("supabase/config.toml").write_text('[api]\nschemas = ["tenancy", "public"]\n')

    up = tallystick("up", "--http")
    assert up.status == 0, up.stderr
    told = dict(re.findall(r"^([A-Z][\w ]+): (.*)$", up.stdout, flags=re.MULTILINE))
    url, publishable, secret = told["API"], told["Publishable key"], told["Secret key"]
    assert publishable.startswith("sb_publishable_")
    created = httpx.post(  # in the first schema of config.toml
        f"{url}/rest/v1/rpc/create_organization", headers={"apikey": secret}, json={"p_name": "A"}
    )
    assert (created.status_code, created.json()["name"]) == (200, "A")
    hidden = httpx.get(
        f"{url}/rest/v1/holds", headers={"apikey": secret, "accept-profile": "metering"}
    )
    assert hidden.json()["code"] == "PGRST106"
    assert httpx.get(f"{url}/functions/v1/hello").text == "hello"

    assert all(line in tallystick("status").stdout for line in told.values())
    (functions / "index.ts").write_text("Deno.serve(() => new Response('changed'));")
    again = tallystick("up", "--http")
    assert url in again.stdout
    assert secret in again.stdout
    assert httpx.get(f"{url}/functions/v1/hello").text == "changed"

    assert url in tallystick("up").stdout  # without the option it is left as it is
    assert tallystick("down").stdout == "Stopped.\n"
    assert "API" not in tallystick("status").stdout
    with pytest.raises(httpx.ConnectError):
        httpx.get(f"{url}/health")


def test_what_is_left_of_a_stack_is_shown_and_stopped(tallystick: Run) -> None:
    functions = Path("supabase/functions/hello")
    functions.mkdir(parents=True)
    (functions / "index.ts").write_text("Deno.serve(() => new Response('hello'));")
    assert tallystick("up", "--http").status == 0
    memory_file = default_state() / "http.json"
    memory = json.loads(memory_file.read_text())
    psutil.Process(memory["processes"]["functions"]).kill()
    eventually(lambda: "no more: functions" in tallystick("status").stdout)

    LocalServer().stop()
    status = tallystick("status")
    assert (status.status, f"API: http://127.0.0.1:{memory['port']}" in status.stdout) == (1, True)
    assert tallystick("down").stdout == "Stopped.\n"
    assert tallystick("down").stdout == "Nothing was running.\n"

    assert tallystick("up").status == 0
    memory_file.write_text("{")
    assert_one_line(tallystick("down"))
    assert not LocalServer().is_running
    memory_file.unlink()


def test_up_http_in_a_malformed_project_is_one_line(tallystick: Run) -> None:
    Path("supabase").mkdir()
    Path("supabase/config.toml").write_text('[api]\nschemas = "public"\n')
    assert_one_line(tallystick("up", "--http"))


def test_up_http_without_deno_says_how_to_get_it(
    tallystick: Run, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setitem(sys.modules, "deno", None)
    refused = tallystick("up", "--http")
    assert_one_line(refused)
    assert "tallystick[http]" in refused.stderr


def test_another_major_in_the_same_folder_is_an_error_message(tallystick: Run) -> None:
    assert tallystick("up", "--major", "16").status == 0
    assert_one_line(tallystick("up", "--major", "18"))
    assert LocalServer().major == 16


def test_a_major_that_is_not_installed_does_not_spoil_the_folder(tallystick: Run) -> None:
    assert_one_line(tallystick("up", "--major", "99"))
    assert tallystick("up").status == 0
    assert LocalServer().major == DEFAULT_MAJOR


def test_migrate_brings_a_database_up_to_date(tallystick: Run, bare_database: Database) -> None:
    first = tallystick("migrate", "--database-url", bare_database.url())
    assert first.status == 0, first.stderr
    assert all(str(migration) in first.stdout for migration in migrations.available())
    second = tallystick("migrate", "--database-url", bare_database.url())
    assert second.status == 0
    assert not any(str(migration) in second.stdout for migration in migrations.available())


def test_migrate_says_when_the_bootstrap_is_missing(tallystick: Run, server: Server) -> None:
    with server.clone("template0") as plain:
        refused = tallystick("migrate", "--database-url", plain.url())
        assert (refused.status, "--bootstrap" in refused.stderr) == (1, True)
        with plain.connect() as connection:
            rooms = connection.execute("select to_regnamespace('private')").fetchone()
        assert rooms == (None,)

        done = tallystick("migrate", "--bootstrap", "--database-url", plain.url())
        assert done.status == 0, done.stderr
        assert migrations.pending(plain.url()) == []


@pytest.mark.parametrize("url", ["postgresql://127.0.0.1:1/nowhere", "nonsense"])
@pytest.mark.parametrize(
    "command",
    [
        ["migrate"],
        ["migrate", "--bootstrap"],
        ["verify"],
        ["demo"],
        ["doctor"],
        ["budgets", "list"],
        ["holds", "expire"],
    ],
)
def test_a_database_that_cannot_be_reached_is_one_line(
    tallystick: Run, url: str, command: list[str]
) -> None:
    assert_one_line(tallystick(*command, "--database-url", url))


@pytest.mark.parametrize(
    "command",
    [
        ["migrate"],
        ["migrate", "--bootstrap"],
        ["verify"],
        ["budgets", "freeze"],
        ["holds", "expire"],
    ],
)
def test_a_role_without_rights_is_told_so_in_one_line(
    tallystick: Run, server: Server, database: Database, command: list[str]
) -> None:
    role = f"tallystick_test_{os.getpid()}"
    with psycopg.connect(server.admin_url, autocommit=True) as admin:
        password = urlsplit(server.owner_url).password
        admin.execute(f"create role {role} login password '{password}'")
        try:
            refused = tallystick(*command, "--database-url", database.url(role))
        finally:
            admin.execute(f"drop role {role}")
    assert_one_line(refused)
    assert psycopg.errors.InsufficientPrivilege.sqlstate in refused.stderr


@pytest.mark.parametrize("stack", ["docker", "nonsense"])
def test_a_demo_without_its_stack_is_told_so_in_one_line(
    tallystick: Run, monkeypatch: pytest.MonkeyPatch, stack: str
) -> None:
    monkeypatch.setenv("TALLYSTICK_STACK", stack)
    monkeypatch.setitem(sys.modules, "testcontainers.core.container", None)  # not installed
    assert_one_line(tallystick("demo"))
    assert not default_state().exists()


def test_a_demo_without_a_running_docker_is_told_so_in_one_line(
    tallystick: Run, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("TALLYSTICK_STACK", "docker")
    monkeypatch.setenv("DOCKER_HOST", "unix:///nowhere.sock")
    # A process of its own: Docker's client leaves the socket that it could not connect open.
    done = subprocess.run(
        [sys.executable, "-m", "tallystick.cli.main", "demo"],
        capture_output=True,
        text=True,
        check=False,
    )
    assert_one_line(Result(done.returncode, done.stdout, done.stderr))
    assert not default_state().exists()


def test_the_tool_is_named_by_its_path_where_the_path_does_not_lead_to_it(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    folder = tmp_path / "a tree" / "bin"
    folder.mkdir(parents=True)
    script = folder / "tallystick"
    script.touch(0o755)
    monkeypatch.setenv("PATH", str(folder))
    assert program() == "tallystick"
    monkeypatch.setenv("PATH", "")
    monkeypatch.setattr(sys, "executable", str(folder / "python"))
    assert shlex.split(program()) == [str(script)]
    script.unlink()
    assert shlex.split(program()) == [str(folder / "python"), "-m", "tallystick.cli.main"]


def test_what_the_tool_suggests_runs_as_it_stands(
    tallystick: Run, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("PATH", "/usr/bin:/bin")
    command = tallystick("status").stdout.splitlines()[-1].partition(": ")[2]
    done = subprocess.run(["bash", "-c", f"{command} --help"], capture_output=True, check=False)
    assert done.returncode == 0, done.stderr
