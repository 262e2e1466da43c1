"""The Postgres that is measured: durable, on a disk, and gone afterwards."""

import os
import shutil
import subprocess
import tempfile
import time
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from itertools import count
from pathlib import Path
from typing import Any, Final

import psutil
import psycopg
from psycopg import sql

from scripts.benchmark.cases import Stage
from scripts.benchmark.errors import BenchmarkError
from tallystick import migrations
from tallystick.local import LocalServer

_SETUP: Final = Path(__file__).parent / "setup"
_IN_MEMORY: Final = {"tmpfs", "ramfs"}
_SETTINGS: Final = {
    # What is promised to be there after a power cut is on the disk at commit.
    "fsync": "on",
    "synchronous_commit": "on",
    "full_page_writes": "on",
    "wal_compression": "off",
    "shared_buffers": "512MB",
    # Checkpoints happen before a run, and the vacuum too, never during one.
    "checkpoint_timeout": "1h",
    "max_wal_size": "16GB",
    "min_wal_size": "2GB",
    "autovacuum": "off",
}
_REPORTED_SETTINGS: Final = [*_SETTINGS, "server_version", "max_connections", "data_checksums"]
_RELOAD_PATIENCE: Final = 10  # seconds


class BenchmarkServer:
    """A running server whose databases are prepared once and copied for each run.

    A copy takes a tenth of a second, so no run finds what another one left behind.
    """

    def __init__(self, local: LocalServer, admin: psycopg.Connection[Any]) -> None:
        """Take over a server that runs; `admin` is a superuser's connection in autocommit."""
        self._local = local
        self._admin = admin
        self._stages: set[str] = set()
        self._copies = count(1)

    def program(self, name: str) -> str:
        """Return the path of one of the server's programs, e.g. `program("pgbench")`."""
        return self._local.engine.program(name)

    def environment(self, database: str, options: str) -> dict[str, str]:
        """Return the environment in which Postgres' programs connect as the schema's owner."""
        # Passed by environment: arguments are visible to every user of the machine.
        return {
            **os.environ,
            "PGHOST": "127.0.0.1",
            "PGPORT": str(self._local.port),
            "PGUSER": "postgres",
            "PGPASSWORD": self._local.password,
            "PGDATABASE": database,
            "PGOPTIONS": options,
        }

    def prepare(self, stage: Stage) -> None:
        """Make the database of a stage, unless it is there already.

        Raises:
            BenchmarkError: Its setup fails; the message is psql's.
        """
        if stage.name in self._stages:
            return
        self._create(stage.name, "postgres")
        migrations.apply(self._local.url(stage.name))
        self._run_setup(stage)
        self._vacuum(stage.name)
        self._stages.add(stage.name)

    @contextmanager
    def copy(self, stage: Stage) -> Iterator[str]:
        """Lend the name of a fresh copy of a prepared stage."""
        name = f"run_{next(self._copies)}"
        self._create(name, stage.name)
        self._admin.execute("checkpoint")  # so that every run starts level
        try:
            yield name
        finally:
            self._admin.execute(
                sql.SQL("drop database {} with (force)").format(sql.Identifier(name))
            )

    def wal_bytes(self) -> int:
        """Return how much WAL the server has ever written."""
        row = self._admin.execute("select pg_current_wal_insert_lsn() - '0/0'").fetchone()
        return int(row[0]) if row else 0

    def findings(self, database: str) -> list[str]:
        """Return which checks of a database's books fail, and how often."""
        with psycopg.connect(self._local.url(database)) as connection:
            rows = connection.execute(
                "select check_name || ': ' || count(*) from audit.verify_integrity()"
                " group by check_name order by check_name"
            )
            return [str(finding) for (finding,) in rows]

    def set_flush(self, milliseconds: float) -> None:
        """Make every WAL flush take so much longer; 0 leaves the disk as it is.

        With no sibling required, the process that flushes for the others always sleeps first, as a
        network volume would make it.
        """
        delay = round(milliseconds * 1000)
        siblings = 0 if delay else 5  # 5 is Postgres' own
        self._change({"commit_delay": str(delay), "commit_siblings": str(siblings)})
        self._admin.execute("select pg_reload_conf()")
        deadline = time.monotonic() + _RELOAD_PATIENCE
        while self._setting_of_a_new_session("commit_delay") != str(delay):
            if time.monotonic() > deadline:
                raise BenchmarkError("The server does not take its new commit_delay.")
            time.sleep(0.05)

    def settings(self) -> dict[str, str]:
        """Return the settings that matter to the figures, as the server reports them."""
        rows = self._admin.execute(
            "select name, current_setting(name) from pg_settings where name = any(%s)",
            [_REPORTED_SETTINGS],
        )
        return dict(sorted(rows.fetchall()))

    def configure(self) -> None:
        """Store the settings of a benchmark; they hold from the next start."""
        self._change(_SETTINGS)

    def _create(self, name: str, template: str) -> None:
        self._admin.execute(
            sql.SQL("create database {} template {} owner postgres strategy file_copy").format(
                sql.Identifier(name), sql.Identifier(template)
            )
        )

    def _run_setup(self, stage: Stage) -> None:
        command = [self.program("psql"), "-X", "-q", "-o", os.devnull, "-v", "ON_ERROR_STOP=1"]
        for name, value in stage.variables.items():
            command += ["-v", f"{name}={value}"]
        done = subprocess.run(
            [*command, "-f", str(_SETUP / f"{stage.setup}.sql")],
            env=self.environment(stage.name, "-c client_min_messages=warning"),
            capture_output=True,
            text=True,
            check=False,
        )
        if done.returncode != 0:
            raise BenchmarkError(f"Preparing {stage.name} failed:\n{done.stderr.strip()}")

    def _vacuum(self, database: str) -> None:
        url = self._local.url(database, user="supabase_admin")
        with psycopg.connect(url, autocommit=True) as connection:
            connection.execute("vacuum (analyze)")

    def _change(self, settings: Mapping[str, str]) -> None:
        for name, value in settings.items():
            self._admin.execute(
                sql.SQL("alter system set {} = {}").format(sql.Identifier(name), sql.Literal(value))
            )

    def _setting_of_a_new_session(self, name: str) -> str:
        with psycopg.connect(self._local.url()) as connection:
            row = connection.execute("select setting from pg_settings where name = %s", [name])
            return str((row.fetchone() or [""])[0])


@contextmanager
def durable_server(major: int) -> Iterator[BenchmarkServer]:
    """Lend a server that is started for the benchmark and removed afterwards.

    Raises:
        BenchmarkError: There is no folder on a disk for its data.
        LocalServerError: It cannot start.
    """
    folder = Path(tempfile.mkdtemp(prefix="tallystick-bench-", dir=_folder_on_disk()))
    folder.chmod(0o711)  # the user Postgres runs as passes through
    local = LocalServer(folder, major, durable=True)
    try:
        local.start()
        with _administered(local) as server:
            server.configure()
        local.stop()
        local.start()
        with _administered(local) as server:
            yield server
    finally:
        local.stop()
        shutil.rmtree(folder)


def file_system() -> str:
    """Return the type of the file system the data are put on, e.g. "ext4"."""
    return _file_system_of(_folder_on_disk())


@contextmanager
def _administered(local: LocalServer) -> Iterator[BenchmarkServer]:
    with psycopg.connect(local.url(user="supabase_admin"), autocommit=True) as admin:
        yield BenchmarkServer(local, admin)


def _folder_on_disk() -> Path:
    # In memory a flush costs nothing, and a flush is most of what is measured.
    for folder in (Path(tempfile.gettempdir()), Path("/var/tmp")):  # noqa: S108 - mkdtemp is used
        if os.access(folder, os.W_OK) and _file_system_of(folder) not in _IN_MEMORY:
            return folder
    raise BenchmarkError("The temporary folders are in memory: name one on a disk with TMPDIR.")


def _file_system_of(folder: Path) -> str:
    types = {Path(part.mountpoint): part.fstype for part in psutil.disk_partitions(all=True)}
    place = folder.resolve()
    return next((types[path] for path in (place, *place.parents) if path in types), "unknown")
