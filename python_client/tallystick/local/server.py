"""One Postgres server in one state folder."""

import os
import secrets
import shutil
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Final, TypedDict
from urllib.parse import quote

import fasteners
import platformdirs
import psutil
import psycopg
from psycopg import sql

from tallystick.local.engine import Engine, find_engine
from tallystick.local.errors import LocalServerError
from tallystick.local.memory import recall, remember
from tallystick.local.ports import free_port, is_free
from tallystick.local.system_user import server_user
from tallystick.migrations import sql_folder

DEFAULT_MAJOR: Final = 18
_SUPERUSER: Final = "supabase_admin"
_LOGIN_ROLES: Final = ("postgres", "authenticator", "supabase_auth_admin")
_LOG_LIMIT: Final = 10_000_000  # bytes; an older log is kept once, as <name>.1
_START_ATTEMPTS: Final = 3

_SETTINGS: Final = """
# Set by tallystick
listen_addresses = '127.0.0.1'
unix_socket_directories = ''
max_connections = 200
timezone = 'UTC'
log_timezone = 'UTC'
log_line_prefix = '%m [%p] %q%u@%d '
"""

# For servers that are thrown away: nothing has to survive a power cut.
_FAST_SETTINGS: Final = """
fsync = off
synchronous_commit = off
full_page_writes = off
wal_level = minimal
max_wal_senders = 0
max_wal_size = 256MB
"""


class _Memory(TypedDict):
    """What is remembered between starts, in server.json."""

    major: int
    port: int
    password: str


def default_state() -> Path:
    """Return the state folder: `TALLYSTICK_STATE`, else the platform's place for such things."""
    chosen = os.environ.get("TALLYSTICK_STATE")
    if chosen:
        return Path(chosen).expanduser().absolute()
    if sys.platform != "win32" and os.geteuid() == 0:
        return Path("/var/lib/tallystick")
    return platformdirs.user_state_path("tallystick", appauthor=False)


class LocalServer:
    """A Postgres server that looks like a Supabase project.

    Its superuser is `supabase_admin`; `postgres`, which owns the database `postgres` and the
    schema, is not one. It listens on 127.0.0.1 only and wants a password. The port and the
    password are remembered in the state folder, so URLs stay valid when it is started again.
    """

    def __init__(
        self,
        state: Path | None = None,
        major: int | None = None,
        *,
        durable: bool = True,
        engine: Engine | None = None,
    ) -> None:
        """Describe a server; nothing is started or written yet.

        Args:
            state: Folder of its data and log; `default_state()` when omitted.
            major: Postgres version; what the folder already holds, else 18, when omitted.
            durable: False trades safety against power cuts for speed. Throwaway servers only.
            engine: The programs to use instead of those found for `major`.
        """
        self.state = (state or default_state()).resolve()
        self.log_file = self.state / "log" / "postgres.log"
        self._data = self.state / "data"
        self._pid_file = self._data / "postmaster.pid"
        self._memory_file = self.state / "server.json"
        self._wanted_major = engine.major if engine else major
        self._durable = durable
        self._engine = engine
        self._user = server_user()

    @property
    def major(self) -> int:
        """The Postgres version of this server."""
        memory = self._recall()
        return memory["major"] if memory else self._wanted_major or DEFAULT_MAJOR

    @property
    def engine(self) -> Engine:
        """The programs of this server's version (psql, pg_dump), as the calling user reads them."""
        return self._engine or find_engine(self.major)

    @property
    def is_running(self) -> bool:
        """Whether the server runs. A pid file left by a crash or a reboot does not count."""
        return self._running_port() is not None

    @property
    def port(self) -> int:
        """The TCP port: the one in use when running, else the one remembered.

        Raises:
            LocalServerError: The server was never started.
        """
        return self._running_port() or self._remembered()["port"]

    @property
    def password(self) -> str:
        """The password of its login roles.

        Raises:
            LocalServerError: The server was never started.
        """
        return self._remembered()["password"]

    def url(self, database: str = "postgres", user: str = "postgres") -> str:
        """Return a connection URL, password included.

        Raises:
            LocalServerError: The server was never started.
        """
        password = quote(self.password, safe="")
        return f"postgresql://{user}:{password}@127.0.0.1:{self.port}/{quote(database, safe='')}"

    def start(self) -> None:
        """Start the server, creating it the first time; does nothing when it already runs.

        Raises:
            LocalServerError: It cannot start; the message quotes the log.
        """
        self._make_folders()
        with self._exclusively():
            memory = self._recall() or self._first_memory()
            self._require_major(memory)
            if not self.is_running:
                engine = self._readable_engine()
                self._create_cluster(engine, memory)
                self._remove_stale_pid_file()
                self._launch(engine, memory)
            self._prepare_roles()

    def stop(self) -> None:
        """Stop the server, ending its sessions; does nothing when it does not run.

        Raises:
            LocalServerError: It does not stop within a minute.
        """
        if not self.is_running:
            return
        with self._exclusively():
            engine = self._readable_engine()
            command = [engine.program("pg_ctl"), "-D", str(self._data), "-m", "fast", "-w", "stop"]
            stopped = self._user.run(command, self.state)
            if stopped.returncode != 0 and self.is_running:
                raise LocalServerError(f"The server does not stop: {stopped.stdout.strip()}")

    def _running_port(self) -> int | None:
        try:
            lines = self._pid_file.read_text().splitlines()
            if self._is_ours(int(lines[0])):
                return int(lines[3])
        except (OSError, ValueError, IndexError, psutil.Error):
            pass
        return None

    def _is_ours(self, pid: int) -> bool:
        # The number may belong to another program by now, so the process must name our data.
        return str(self._data) in psutil.Process(pid).cmdline()

    def _remove_stale_pid_file(self) -> None:
        """Remove a pid file left by a crash or a reboot, where Postgres itself would give up.

        It copes with a process that is gone, not with a number that another program has now, nor
        with a file that a power cut left empty.
        """
        try:
            stale = not self._is_ours(int(self._pid_file.read_text().splitlines()[0]))
        except (ValueError, IndexError):
            stale = True
        except (OSError, psutil.Error):
            stale = False
        if stale:
            self._pid_file.unlink()

    def _make_folders(self) -> None:
        self.state.mkdir(parents=True, exist_ok=True)
        # The server's user must be able to pass through, but only through.
        self.state.chmod(0o700 if self._user.name is None else 0o711)
        self.log_file.parent.mkdir(exist_ok=True)
        self._user.give(self.log_file.parent)

    @contextmanager
    def _exclusively(self) -> Iterator[None]:
        # Two `up` at once: the second one waits and then finds the server running.
        with fasteners.InterProcessLock(self.state / "lock"):
            yield

    def _recall(self) -> _Memory | None:
        memory: _Memory | None = recall(self._memory_file)
        return memory

    def _remembered(self) -> _Memory:
        memory = self._recall()
        if memory is None:
            raise LocalServerError(f"No server in {self.state} yet: run `tallystick up`.")
        return memory

    def _first_memory(self) -> _Memory:
        memory = _Memory(
            major=self.engine.major,  # one that is not installed must not be remembered
            port=free_port(),
            password=secrets.token_urlsafe(18),
        )
        remember(self._memory_file, memory)
        return memory

    def _require_major(self, memory: _Memory) -> None:
        if self._wanted_major not in (None, memory["major"]):
            raise LocalServerError(
                f"{self.state} holds a Postgres {memory['major']} server, "
                f"not {self._wanted_major}: "
                "choose another folder with TALLYSTICK_STATE."
            )

    def _readable_engine(self) -> Engine:
        if self._user.name is None:
            return self.engine
        engine = self.engine.copied_to(self.state / "engine")
        try:
            self._user.run([engine.program("postgres"), "--version"], self.state)
        except PermissionError as error:
            raise LocalServerError(
                f"Postgres runs as user {self._user.name}, which cannot enter {self.state}: "
                "choose another folder with TALLYSTICK_STATE."
            ) from error
        return engine

    def _create_cluster(self, engine: Engine, memory: _Memory) -> None:
        if self._data.exists():
            return
        # Made beside its place and moved there, so an interrupted initdb leaves nothing half-made.
        unfinished = self.state / "data.unfinished"
        shutil.rmtree(unfinished, ignore_errors=True)
        unfinished.mkdir(mode=0o700)
        password_file = self.state / "initdb.password"
        password_file.unlink(missing_ok=True)
        password_file.touch(0o600)
        password_file.write_text(memory["password"])
        for path in (unfinished, password_file):
            self._user.give(path)
        try:
            made = self._user.run(self._initdb(engine, unfinished, password_file), self.state)
        finally:
            password_file.unlink()
        if made.returncode != 0:
            raise LocalServerError(f"initdb failed: {made.stdout.strip()}")
        with (unfinished / "postgresql.conf").open("a") as settings:
            settings.write(_SETTINGS if self._durable else _SETTINGS + _FAST_SETTINGS)
        unfinished.rename(self._data)

    def _initdb(self, engine: Engine, data: Path, password_file: Path) -> list[str]:
        command = [engine.program("initdb"), "-D", str(data), "-U", _SUPERUSER, "-E", "UTF8"]
        command += ["-A", "scram-sha-256", f"--pwfile={password_file}", *_locale(engine.major)]
        return command if self._durable else [*command, "--no-sync"]

    def _launch(self, engine: Engine, memory: _Memory) -> None:
        _rotate(self.log_file)
        for _ in range(_START_ATTEMPTS):
            if not is_free(memory["port"]):
                memory["port"] = free_port()
                remember(self._memory_file, memory)
            command = [engine.program("pg_ctl"), "-D", str(self._data), "-l", str(self.log_file)]
            command += ["-w", "-t", "60", "-o", f"-p {memory['port']}", "start"]
            if self._user.run(command, self.state).returncode == 0:
                return
            if is_free(memory["port"]):
                break  # the port was not the reason, so another attempt would not help
        raise LocalServerError(f"Postgres does not start; {self.log_file} ends:\n{self._log_end()}")

    def _log_end(self) -> str:
        try:
            lines = self.log_file.read_text(errors="replace").splitlines()
        except FileNotFoundError:
            return "(no log)"
        return "\n".join(lines[-8:])

    def _prepare_roles(self) -> None:
        # Repeated at every start: it is idempotent, and it heals a first start that was cut short.
        folder = sql_folder("bootstrap")
        with psycopg.connect(self.url(user=_SUPERUSER)) as connection:
            for name in ("plain_postgres.sql", "local_server.sql"):
                connection.execute((folder / name).read_bytes())
            for role in _LOGIN_ROLES:
                connection.execute(
                    sql.SQL("alter role {} password {}").format(
                        sql.Identifier(role), sql.Literal(self.password)
                    )
                )


def _locale(major: int) -> list[str]:
    """Same order and character classes on every machine: byte order, Unicode classes."""
    if major >= 17:
        return ["--locale=C", "--locale-provider=builtin", "--builtin-locale=C.UTF-8"]
    return ["--locale=C.UTF-8" if sys.platform == "linux" else "--locale=C"]


def _rotate(log_file: Path) -> None:
    if log_file.exists() and log_file.stat().st_size > _LOG_LIMIT:
        log_file.replace(log_file.with_name(log_file.name + ".1"))
