"""pgTAP without root: it is plain SQL, so finding the file is enough."""

import re
from collections.abc import Iterator
from pathlib import Path

import psycopg
from fasteners import InterProcessLock

from tests.support import packages

CACHE = Path(__file__).parents[2] / ".cache" / "pgtap"
# A full installation script, e.g. pgtap--1.3.4.sql; not an upgrade from one version to another.
SCRIPT = re.compile(r"pgtap--(\d+)\.(\d+)\.(\d+)\.sql")
SYSTEM_FOLDERS = (
    "/usr/share/postgresql/*/extension",
    "/usr/share/postgresql/extension",
    "/usr/share/pgsql/extension",
    "/usr/pgsql-*/share/extension",
    "/usr/local/share/postgresql*/extension",
    "/opt/homebrew/share/postgresql*/extension",
)


class PgTapMissingError(Exception):
    """pgTAP cannot be had; the message says how to get it."""


def install(url: str) -> None:
    """Put pgTAP into the schema extensions of a database: the server's extension, else our file.

    Raises:
        PgTapMissingError: Neither the server nor this machine nor its package manager has it.
    """
    with psycopg.connect(url) as connection:
        found = connection.execute(
            "select from pg_available_extensions where name = 'pgtap'"
        ).rowcount
        if found:
            connection.execute("create extension if not exists pgtap schema extensions")
            return
        connection.execute("set local search_path = extensions")
        connection.execute("set local client_min_messages = warning")
        connection.execute(_script().encode())


def _script() -> str:
    """Return the newest installation script, without the lines that only psql understands."""
    CACHE.mkdir(parents=True, exist_ok=True)
    # One of several workers fetches it, the others wait for it.
    with InterProcessLock(CACHE / "lock"):
        candidates = sorted(_on_this_machine()) or sorted(_from_package_manager())
    if not candidates:
        raise PgTapMissingError(
            "pgTAP is needed to run the tests in tests/database and was not found. "
            "Debian and Ubuntu: apt-get install postgresql-<major>-pgtap; macOS: brew install "
            f"pgtap; elsewhere: put its pgtap--<version>.sql into {CACHE}."
        )
    text = candidates[-1][1].read_text(encoding="utf-8")
    return re.sub(r"^\\.*$", "", text, flags=re.MULTILINE)


def _on_this_machine() -> Iterator[tuple[tuple[int, ...], Path]]:
    for folder in SYSTEM_FOLDERS:
        yield from _versions(Path("/").glob(f"{folder[1:]}/pgtap--*.sql"))
    yield from _versions(CACHE.rglob("pgtap--*.sql"))


def _from_package_manager() -> Iterator[tuple[tuple[int, ...], Path]]:
    packages.unpack(r"postgresql-[0-9]+-pgtap", CACHE, CACHE)
    yield from _versions(CACHE.rglob("pgtap--*.sql"))


def _versions(files: Iterator[Path]) -> Iterator[tuple[tuple[int, ...], Path]]:
    for file in files:
        if match := SCRIPT.fullmatch(file.name):
            yield tuple(int(number) for number in match.groups()), file
