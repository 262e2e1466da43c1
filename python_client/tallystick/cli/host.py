"""The server on which the demo makes its database."""

import os
import shlex
import shutil
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass

import psycopg
from psycopg import sql
from psycopg.conninfo import conninfo_to_dict, make_conninfo

from tallystick.cli.program import program
from tallystick.local import LocalServer, LocalServerError, find_engine
from tallystick.local.container import supabase_container


@dataclass(frozen=True, slots=True)
class Host:
    """A server that may be given a database more.

    Attributes:
        url: any of its databases, as a role that may create others.
        local: the server itself, when it is that of `tallystick up`.
        stays: whether it is still there after the demo.
    """

    url: str
    local: LocalServer | None = None
    stays: bool = True

    def database(self, name: str) -> str:
        """Return the connection string of a database of that name."""
        return self.local.url(name) if self.local else make_conninfo(self.url, dbname=name)

    def recreate(self, name: str) -> None:
        """Make the database anew, empty; what it held is gone."""
        with psycopg.connect(self.url, autocommit=True) as connection:
            for statement in (
                "drop database if exists {} with (force)",
                "create database {} template template0",
            ):
                connection.execute(sql.SQL(statement).format(sql.Identifier(name)))

    def describe(self) -> str:
        """Say which server it is."""
        with psycopg.connect(self.url) as connection:
            info = connection.info
            return f"Postgres {info.server_version // 10000} on {info.host}:{info.port}"

    def invitations(self, name: str) -> Iterator[str]:
        """Yield the commands, ready to paste, that look further into a database of this server."""
        target = shlex.quote(self._shown(name))
        yield f"{_psql()} {target}"
        yield "  select * from public.ai_cost_by_model;"
        yield "  select id, workflow_data from public.intent_workflows;"
        yield "  delete from public.ai_usage_ledger;  -- try it: refused"
        yield f"{program()} replay YOUR_USAGE.csv --database-url {target}"
        yield f"{program()} replay --help"
        if self.local:
            yield f"{program()} down  # stops this Postgres; its data stay"

    def _shown(self, name: str) -> str:
        if self.local:
            return self.database(name)
        # The password of somebody's own server is not for the screen: PGPASSWORD can hold it.
        parts = conninfo_to_dict(self.database(name))
        return make_conninfo(
            "", **{key: value for key, value in parts.items() if key != "password"}
        )


@contextmanager
def chosen_host(database_url: str | None) -> Iterator[Host]:
    """Lend the server asked for: a URL, else TALLYSTICK_STACK=docker, else the local one, started.

    Raises:
        LocalServerError: there is no such server, or it does not start.
    """
    stack = os.environ.get("TALLYSTICK_STACK") or "local"
    if database_url is not None:
        yield Host(database_url)
    elif stack == "docker":
        with supabase_container() as url:
            yield Host(url, stays=False)
    elif stack == "local":
        server = LocalServer()
        server.start()
        yield Host(server.url(), server)
    else:
        raise LocalServerError(f"TALLYSTICK_STACK is 'docker' or 'local', not {stack!r}.")


def _psql() -> str:
    # The wheel's psql talks to every server version we support.
    return "psql" if shutil.which("psql") else shlex.quote(find_engine(18).program("psql"))
