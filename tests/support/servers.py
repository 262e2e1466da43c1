"""The Postgres servers that tests run on, and the databases tests get on them."""

import os
import re
import shutil
import subprocess
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from itertools import count
from pathlib import Path
from typing import Any
from urllib.parse import urlsplit

import psutil
import psycopg
from psycopg import sql

from tallystick import migrations
from tallystick.local import DEFAULT_MAJOR, LocalServer, find_engine
from tallystick.local.container import supabase_container

# The client programs of the wheel: they talk to every server version we support.
CLIENT = find_engine(18)
MEMORY_NEEDED = 4 * 1024**3  # bytes free before data are put into memory; far above the use
_numbers = count(1)


@dataclass(frozen=True)
class Server:
    """A server on which tests may create databases.

    Attributes:
        owner_url: Any database, as the role that owns the schema (`postgres`, on our own servers).
        admin_url: Any database, as the role that creates and drops databases.
        bare_template: A database with what Supabase provides and nothing else.
    """

    owner_url: str
    admin_url: str
    bare_template: str

    @property
    def major(self) -> int:
        """The major version the server itself reports."""
        with psycopg.connect(self.owner_url) as connection:
            return connection.info.server_version // 10000

    def url(self, database: str, user: str = "postgres") -> str:
        """Return a URL; `postgres` is the schema's owner, others share its password."""
        parts = urlsplit(self.owner_url)
        if user != "postgres":
            address = parts.netloc.rpartition("@")[2]
            parts = parts._replace(netloc=f"{user}:{parts.password}@{address}")
        return parts._replace(path=f"/{database}").geturl()

    @contextmanager
    def clone(self, template: str) -> Iterator["Database"]:
        """Lend a fresh copy of a database that nobody is connected to."""
        name = f"tallystick_test_{os.getpid()}_{next(_numbers)}"
        self._create(name, template)
        try:
            yield Database(self, name)
        finally:
            self._drop(name)

    def renew(self, name: str, template: str) -> None:
        """Replace a database by a fresh copy of another, cutting off whoever is connected."""
        self._drop(name)
        self._create(name, template)

    def _create(self, name: str, template: str) -> None:
        owner = urlsplit(self.owner_url).username or "postgres"
        self._run(
            "create database {} template {} owner {} strategy file_copy",
            *(sql.Identifier(part) for part in (name, template, owner)),
        )

    def _drop(self, name: str) -> None:
        self._run("drop database {} with (force)", sql.Identifier(name))

    def _run(self, statement: str, *parts: sql.Identifier) -> None:
        with psycopg.connect(self.admin_url, autocommit=True) as connection:
            connection.execute(sql.SQL(statement).format(*parts))


@dataclass(frozen=True)
class Database:
    """One database, gone when its test ends."""

    server: Server
    name: str

    def url(self, user: str = "postgres") -> str:
        """Return a connection URL, password included."""
        return self.server.url(self.name, user)

    @property
    def admin_url(self) -> str:
        """A connection URL of the role that creates and drops databases."""
        return urlsplit(self.server.admin_url)._replace(path=f"/{self.name}").geturl()

    def connect(
        self, user: str = "postgres", role: str | None = None, **options: Any
    ) -> psycopg.Connection:
        """Connect as a login role; `role` is then acted as (SET ROLE), as the HTTP gateway does."""
        connection = psycopg.connect(self.url(user), **options)
        if role is not None:
            connection.execute(sql.SQL("set role {}").format(sql.Identifier(role)))
            connection.commit()
        return connection

    def renew(self, template: str) -> None:
        """Become a fresh copy of another database, under the same name."""
        self.server.renew(self.name, template)

    def run_file(self, file: Path) -> str:
        """Run a script through psql, which stops at the first error; return what it prints."""
        return self._program("psql", "-X", "-q", "-v", "ON_ERROR_STOP=1", "-f", str(file))

    def dump(self, *options: str) -> str:
        """Return the schema as pg_dump writes it, without its random \\restrict lines."""
        return self._dump("--schema-only", *options)

    def rows(self) -> str:
        """Return all rows as pg_dump writes them."""
        return self._dump("--data-only")

    def _dump(self, *options: str) -> str:
        text = self._program("pg_dump", *options)
        return re.sub(r"^\\(un)?restrict .*\n", "", text, flags=re.MULTILINE)

    @staticmethod
    def program(name: str) -> str:
        """Return a client program that talks to every server version we support."""
        return CLIENT.program(name)

    def _program(self, name: str, *arguments: str) -> str:
        parts = urlsplit(self.url())
        # Passed by environment: arguments are visible to every user of the machine.
        environment = {
            **os.environ,
            "PGHOST": parts.hostname or "",
            "PGPORT": str(parts.port or 5432),
            "PGUSER": parts.username or "",
            "PGPASSWORD": parts.password or "",
            "PGDATABASE": self.name,
            "PGOPTIONS": "-c client_min_messages=warning",
        }
        done = subprocess.run(
            [self.program(name), *arguments],
            env=environment,
            capture_output=True,
            text=True,
            check=False,
        )
        assert done.returncode == 0, done.stderr
        return done.stdout


def claimed_major() -> int | None:
    """Return the version this run claims to test; None when a foreign server decides."""
    claimed = os.environ.get("TALLYSTICK_PG_MAJOR")
    if claimed:
        return int(claimed)
    return None if is_foreign() else DEFAULT_MAJOR


def is_foreign() -> bool:
    """Whether this run has a server that it did not make: DATABASE_URL, or Docker's image."""
    return bool(os.environ.get("DATABASE_URL")) or os.environ.get("TALLYSTICK_STACK") == "docker"


@contextmanager
def any_server(connections: int | None = None) -> Iterator[Server]:
    """Lend the server this run was asked for: DATABASE_URL, Docker, or a throwaway of our own.

    One of our own accepts as many connections as asked for; a foreign one what it accepts.
    """
    stack = os.environ.get("TALLYSTICK_STACK", "local")
    if url := os.environ.get("DATABASE_URL"):
        with foreign_server(url) as server:
            yield server
    elif stack == "docker":
        with docker_server() as server:
            yield server
    elif stack == "local":
        with throwaway_server(claimed_major() or DEFAULT_MAJOR, connections) as server:
            yield server
    else:
        raise ValueError(f"TALLYSTICK_STACK is 'docker' or 'local', not {stack!r}")


@contextmanager
def throwaway_folder() -> Iterator[Path]:
    """Lend a folder that the user Postgres runs as can enter, wherever the tree is."""
    folder = Path(tempfile.mkdtemp(prefix="tallystick-", dir=_memory_folder()))
    folder.chmod(0o711)
    try:
        yield folder
    finally:
        shutil.rmtree(folder)


def _memory_folder() -> Path | None:
    """Return a folder in memory where there is plenty: a clone is 500 files, 10 times as fast."""
    folder = Path("/dev/shm")  # noqa: S108 - mkdtemp makes the folder in it
    if os.environ.get("TMPDIR") or not os.access(folder, os.W_OK):
        return None
    may_execute = not os.statvfs(folder).f_flag & os.ST_NOEXEC
    free = min(shutil.disk_usage(folder).free, psutil.virtual_memory().available)
    return folder if may_execute and free > MEMORY_NEEDED else None


@contextmanager
def throwaway_server(major: int, connections: int | None = None) -> Iterator[Server]:
    """Lend a server of our own, fast and unsafe, removed afterwards."""
    with throwaway_folder() as folder:
        local = LocalServer(folder, major, durable=False)
        try:
            local.start()
            if connections is not None:
                _accept_connections(local, connections)
            yield Server(local.url(), local.url(user="supabase_admin"), "postgres")
        finally:
            local.stop()


def _accept_connections(local: LocalServer, number: int) -> None:
    """Restart a server so that it accepts `number` connections."""
    with psycopg.connect(local.url(user="supabase_admin"), autocommit=True) as connection:
        connection.execute(
            sql.SQL("alter system set max_connections = {}").format(sql.Literal(number))
        )
    local.stop()
    local.start()


@contextmanager
def foreign_server(url: str) -> Iterator[Server]:
    """Lend somebody else's server; only databases named tallystick_test_* are touched."""
    bare = Server(url, url, "template0")
    with bare.clone("template0") as database:
        migrations.bootstrap(database.url())
        with database.connect() as connection:
            connection.execute("create schema if not exists extensions")
            connection.execute(
                "grant usage on schema extensions to anon, authenticated, service_role"
            )
        yield Server(url, url, database.name)


@contextmanager
def docker_server() -> Iterator[Server]:
    """Lend Supabase's own image in a container."""
    with supabase_container() as url, foreign_server(url) as server:
        yield server
