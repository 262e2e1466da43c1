"""The HTTP side of a local server: users, data API and edge functions under one address.

What Supabase does in a dozen containers two Deno programs do here (`tallystick/local/http`): the
gateway, and beside it the edge functions, which are somebody's own code and so never share its
process. Both listen on 127.0.0.1 only.
"""

import json
import os
import secrets
import signal
import subprocess
import time
import tomllib
import urllib.error
import urllib.request
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Final, TypedDict
from urllib.parse import urlsplit

import fasteners
import psutil

from tallystick.local.deno import deno_environment, deno_program
from tallystick.local.errors import LocalServerError
from tallystick.local.memory import recall, remember
from tallystick.local.ports import free_port, is_free

_PROGRAMS: Final = Path(__file__).with_name("http")
_POOL: Final = 10  # as many requests of a kind reach the database at once
_START_SECONDS: Final = 60
# Kept, because Python complains of a child that outlives its object.
_children: list["subprocess.Popen[bytes]"] = []
_STOP_SECONDS: Final = 5


@dataclass(frozen=True, slots=True)
class Exposed:
    """What of the database the data API shows.

    Attributes:
        schemas: The exposed schemas; the first is that of a request that names none.
        extra_search_path: What is searched after the schema of a request.
        max_rows: How many rows an answer has at most.
    """

    schemas: tuple[str, ...] = (
        "public",
        "metering",
        "pricing",
        "billing",
        "accounting",
        "tenancy",
        "audit",
    )
    extra_search_path: tuple[str, ...] = ("public", "extensions")
    max_rows: int = 1000


@dataclass(frozen=True, slots=True)
class DatabaseUrls:
    """One database, as the three roles the gateway connects as.

    Attributes:
        api: `authenticator`, which acts as the role of each request.
        auth: `supabase_auth_admin`, which keeps the users.
        catalog: The schema's owner; only the catalog is read.
    """

    api: str
    auth: str
    catalog: str


class _Memory(TypedDict):
    """What is remembered between starts, in http.json."""

    port: int
    publishable_key: str
    secret_key: str
    jwt_secret: str
    processes: dict[str, int]


class HttpStack:
    """The HTTP side of one database.

    Address and keys are remembered in the state folder, so they stay valid when it is started
    again.
    """

    def __init__(
        self,
        state: Path,
        database: DatabaseUrls | None = None,
        *,
        functions: Path | None = None,
        functions_environment: Mapping[str, str] | None = None,
        exposed: Exposed | None = None,
    ) -> None:
        """Describe the HTTP side; nothing is started or written yet.

        Args:
            state: Folder of its memory and logs, which exists.
            database: The database; needed to start, not to stop.
            functions: Folder of the edge functions, e.g. supabase/functions; None serves none.
            functions_environment: What they find in their environment besides Supabase's own.
            exposed: What the data API shows; ours where it is not said.
        """
        self.state = state
        self.log_file = state / "log" / "http.log"
        self._memory_file = state / "http.json"
        self._database = database
        # Deno is started elsewhere, and means its own folder by a relative one.
        self._functions = functions and functions.resolve()
        self._functions_environment = dict(functions_environment or {})
        self._exposed = exposed or Exposed()

    @property
    def is_running(self) -> bool:
        """Whether it answers, or is about to."""
        memory = self._recall()
        return (
            memory is not None and _find(memory["processes"].get("gateway"), "gateway") is not None
        )

    @property
    def lost(self) -> list[str]:
        """Which of its programs were started and run no more: gateway, functions."""
        memory = self._recall()
        processes = memory["processes"] if memory else {}
        return sorted(name for name, pid in processes.items() if _find(pid, name) is None)

    @property
    def url(self) -> str:
        """The address of the API, e.g. http://127.0.0.1:54321.

        Raises:
            LocalServerError: It was never started.
        """
        return f"http://127.0.0.1:{self._remembered()['port']}"

    @property
    def publishable_key(self) -> str:
        """The key of pages and apps: requests without a user are `anon`."""
        return self._remembered()["publishable_key"]

    @property
    def secret_key(self) -> str:
        """The key of servers: requests are `service_role`."""
        return self._remembered()["secret_key"]

    @property
    def jwt_secret(self) -> str:
        """What signs the tokens of users, by HS256."""
        return self._remembered()["jwt_secret"]

    def start(self) -> None:
        """Start it, or start it anew where it runs, with the functions as they are now.

        Raises:
            LocalServerError: It cannot start; the message quotes the log.
        """
        if self._database is None:
            raise LocalServerError("The HTTP side needs to be told its database.")
        with self._exclusively():
            memory = self._recall() or _first_memory()
            _stop(memory["processes"])
            self.log_file.parent.mkdir(exist_ok=True)
            self.log_file.unlink(missing_ok=True)
            _fetch_packages(_PROGRAMS, "gateway.ts", "functions.ts")
            if not is_free(memory["port"]):
                memory["port"] = free_port()
            functions_port = free_port() if self._functions else None
            memory["processes"] = {}
            remember(self._memory_file, memory)
            try:
                self._launch(memory, functions_port)
            except LocalServerError:
                _stop(memory["processes"])
                raise

    def stop(self) -> bool:
        """Stop it, once a start that is under way has ended; return whether anything ran.

        Raises:
            LocalServerError: What it remembers cannot be read, so nothing is known to be its.
        """
        if not self.state.exists():
            return False
        with self._exclusively():
            memory = self._recall()
            if memory is None or not memory["processes"]:
                return False
            was_running = _stop(memory["processes"])
            memory["processes"] = {}
            remember(self._memory_file, memory)
        return was_running

    def _launch(self, memory: _Memory, functions_port: int | None) -> None:
        if functions_port is not None:
            process = self._run_functions(memory, functions_port)
            memory["processes"]["functions"] = process.pid
            remember(self._memory_file, memory)
            self._await_answer(process, functions_port)
        process = self._run_gateway(memory, functions_port)
        memory["processes"]["gateway"] = process.pid
        remember(self._memory_file, memory)
        self._await_answer(process, memory["port"])

    def _run_gateway(
        self, memory: _Memory, functions_port: int | None
    ) -> "subprocess.Popen[bytes]":
        database = self._database
        assert database is not None  # noqa: S101 - asked before
        hosts = {_host(url) for url in (database.api, database.auth, database.catalog)}
        environment = deno_environment()
        flags = [
            f"--allow-net=127.0.0.1,{','.join(sorted(hosts))}",
            f"--allow-read={_PROGRAMS},{environment['DENO_DIR']}",
            "--allow-env",
            "--allow-sys",
            "--cached-only",
        ]
        config = {
            "port": memory["port"],
            "functionsUrl": functions_port and f"http://127.0.0.1:{functions_port}",
            "database": {
                "api": database.api,
                "auth": database.auth,
                "catalog": database.catalog,
            },
            "publishableKey": memory["publishable_key"],
            "secretKey": memory["secret_key"],
            "jwtSecret": memory["jwt_secret"],
            "schemas": self._exposed.schemas,
            "extraSearchPath": self._exposed.extra_search_path,
            "maxRows": self._exposed.max_rows,
            "pool": _POOL,
        }
        return self._run("gateway.ts", [*flags, *_project(_PROGRAMS)], config, environment)

    def _run_functions(self, memory: _Memory, port: int) -> "subprocess.Popen[bytes]":
        folder = self._functions
        assert folder is not None  # noqa: S101 - asked before
        environment = deno_environment()
        url = f"http://127.0.0.1:{memory['port']}"
        keys = (memory["publishable_key"], memory["secret_key"])
        config = {
            "port": port,
            "folder": f"{folder.resolve().as_uri()}/",
            "environment": {
                **_settings_file(folder / ".env"),
                "SUPABASE_URL": url,
                "SUPABASE_ANON_KEY": keys[0],
                "SUPABASE_SERVICE_ROLE_KEY": keys[1],
                "SUPABASE_PUBLISHABLE_KEYS": json.dumps({"default": keys[0]}),
                "SUPABASE_SECRET_KEYS": json.dumps({"default": keys[1]}),
                **self._functions_environment,
            },
        }
        readable = f"{folder.resolve()},{_PROGRAMS},{environment['DENO_DIR']}"
        flags = ["--allow-net", "--allow-env", f"--allow-read={readable}"]
        return self._run("functions.ts", [*flags, *_project(folder)], config, environment)

    def _run(
        self, program: str, flags: list[str], config: Mapping[str, Any], environment: dict[str, str]
    ) -> "subprocess.Popen[bytes]":
        # A request's signal then says that its caller has left, and nothing else.
        command = [deno_program(), "run", "--quiet", "--no-prompt", "--unstable-no-legacy-abort"]
        command += flags
        with self.log_file.open("ab") as log:
            process = subprocess.Popen(
                [*command, str(_PROGRAMS / program)],
                cwd=self.state,
                env=environment,
                stdin=subprocess.PIPE,
                stdout=log,
                stderr=log,
                start_new_session=True,  # a Ctrl-C in the terminal is not meant for it
            )
        _children.append(process)
        assert process.stdin is not None  # noqa: S101 - it was asked for
        process.stdin.write(json.dumps(config).encode())
        process.stdin.close()
        return process

    def _await_answer(self, process: "subprocess.Popen[bytes]", port: int) -> None:
        deadline = time.monotonic() + _START_SECONDS
        while time.monotonic() < deadline and process.poll() is None:
            if _answers(port):
                return
            time.sleep(0.05)
        raise LocalServerError(
            f"The HTTP side does not start; {self.log_file} ends:\n{self._log_end()}"
        )

    def _log_end(self) -> str:
        lines = self.log_file.read_text(errors="replace").splitlines()
        return "\n".join(lines[-12:])

    @contextmanager
    def _exclusively(self) -> Iterator[None]:
        with fasteners.InterProcessLock(self.state / "http.lock"):
            yield

    def _recall(self) -> _Memory | None:
        memory: _Memory | None = recall(self._memory_file)
        if memory is not None and not (
            isinstance(memory, dict) and memory.keys() >= _Memory.__annotations__.keys()
        ):
            raise LocalServerError(f"{self._memory_file} does not say what it should.")
        return memory

    def _remembered(self) -> _Memory:
        memory = self._recall()
        if memory is None:
            raise LocalServerError(f"No HTTP side in {self.state} yet: run `tallystick up --http`.")
        return memory


def exposed_by(config: Path) -> Exposed:
    """Return what a project's config.toml exposes, ours where it does not say.

    Raises:
        LocalServerError: The file is malformed.
    """
    try:
        api = tomllib.loads(config.read_text("utf-8")).get("api", {})
    except FileNotFoundError:
        return Exposed()
    except (OSError, ValueError) as error:
        raise LocalServerError(f"Cannot read {config}: {error}") from error
    if not isinstance(api, dict):
        raise LocalServerError(f"{config}: api has to be a table.")
    ours = Exposed()
    max_rows = api.get("max_rows", ours.max_rows)
    if type(max_rows) is not int or max_rows < 1:
        raise LocalServerError(f"{config}: api.max_rows has to be a whole number above 0.")
    schemas = _names_in(config, "schemas", api.get("schemas", ours.schemas))
    if not schemas:
        raise LocalServerError(f"{config}: api.schemas names none.")
    search_path = api.get("extra_search_path", ours.extra_search_path)
    return Exposed(schemas, _names_in(config, "extra_search_path", search_path), max_rows)


def _names_in(config: Path, setting: str, value: object) -> tuple[str, ...]:
    if not isinstance(value, list | tuple) or not all(isinstance(name, str) for name in value):
        raise LocalServerError(
            f'{config}: api.{setting} has to be a list of names, such as ["public"].'
        )
    return tuple(value)


def _first_memory() -> _Memory:
    return _Memory(
        port=54321 if is_free(54321) else free_port(),
        publishable_key=_key("publishable"),
        secret_key=_key("secret"),
        jwt_secret=secrets.token_urlsafe(32),
        processes={},
    )


def _key(kind: str) -> str:
    """Make a key in the form of Supabase's: 22 characters, and 8 that are a checksum there."""
    return f"sb_{kind}_{secrets.token_urlsafe(16)}_{secrets.token_urlsafe(6)}"


def _project(folder: Path) -> list[str]:
    """Return the flags that pin what a folder imports; without a lock nothing is pinned."""
    config, lock = folder / "deno.json", folder / "deno.lock"
    flags = [f"--config={config}"] if config.exists() else ["--no-config"]
    return [*flags, f"--lock={lock}", "--frozen"] if lock.exists() else [*flags, "--no-lock"]


def _fetch_packages(folder: Path, *programs: str) -> None:
    command = [deno_program(), "install", "--quiet", "--frozen", "--entrypoint", *programs]
    done = subprocess.run(
        command, cwd=folder, env=deno_environment(), capture_output=True, text=True, check=False
    )
    if done.returncode != 0:
        raise LocalServerError(f"The packages of the HTTP side cannot be had:\n{done.stderr}")


def _settings_file(file: Path) -> dict[str, str]:
    """Read NAME=value lines, as `supabase functions serve` does with its .env."""
    if not file.exists():
        return {}
    lines = [line.strip() for line in file.read_text("utf-8").splitlines()]
    pairs = [line.partition("=") for line in lines if "=" in line and not line.startswith("#")]
    return {
        name.removeprefix("export ").strip(): value.strip().strip("\"'") for name, _, value in pairs
    }


def _host(url: str) -> str:
    parts = urlsplit(url)
    return f"{parts.hostname}:{parts.port or 5432}"


def _answers(port: int) -> bool:
    try:
        with urllib.request.urlopen(f"http://127.0.0.1:{port}/health", timeout=2):
            return True
    except urllib.error.HTTPError:
        return True  # an answer, if not a friendly one
    except OSError:
        return False


def _find(pid: int | None, program: str) -> psutil.Process | None:
    """Return a process of ours; the number may belong to another one by now."""
    if pid is None:
        return None
    try:
        process = psutil.Process(pid)
        ours = str(_PROGRAMS / f"{program}.ts") in process.cmdline()
        alive = process.status() != psutil.STATUS_ZOMBIE
    except psutil.Error:
        return None
    return process if ours and alive else None


def _stop(processes: Mapping[str, int]) -> bool:
    """Stop those of the processes that run; return whether any did."""
    running = [p for name, pid in processes.items() if (p := _find(pid, name)) is not None]
    for process in running:
        process.send_signal(signal.SIGTERM if os.name != "nt" else signal.SIGINT)
    _, left = psutil.wait_procs(running, timeout=_STOP_SECONDS)
    for process in left:
        process.kill()
    psutil.wait_procs(left, timeout=_STOP_SECONDS)
    _children[:] = [child for child in _children if child.poll() is None]
    return bool(running)
