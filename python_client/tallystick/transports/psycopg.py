"""Calls and reads over psycopg 3, sync and async.

What you hand over decides the transaction:

* a connection: the call joins its transaction, which is never committed or rolled back here, so
  "record and my own insert" is one transaction of yours;
* a `psycopg_pool` pool: each call is its own transaction;
* a connection string: a small pool is made, and closed by `close()`.
"""

from __future__ import annotations

from collections.abc import AsyncIterator, Iterator, Mapping
from contextlib import asynccontextmanager, contextmanager
from datetime import datetime, timedelta
from functools import lru_cache
from typing import TYPE_CHECKING, Any, TypeVar

from psycopg import (
    AsyncConnection,
    AsyncCursor,
    Connection,
    Cursor,
    Error,
    InterfaceError,
    OperationalError,
    sql,
)
from psycopg.rows import dict_row
from psycopg.types.datetime import TimestamptzLoader
from psycopg.types.json import Jsonb, set_json_loads
from psycopg_pool import AsyncConnectionPool, ConnectionPool

from tallystick.calls import Call, as_text
from tallystick.errors import error_from, is_refusal
from tallystick.models import ALWAYS, NEVER
from tallystick.transports import exact_json

if TYPE_CHECKING:
    from psycopg.abc import Buffer

    from tallystick.calls import Argument, Request

__all__ = ["AsyncPsycopgTransport", "PsycopgTransport"]

T = TypeVar("T")

# Server-side prepared statements do not survive a pooler in transaction mode, which is what a
# hosted connection string usually names.
_CONNECTION_OPTIONS = {"prepare_threshold": None}
_POOL_SIZE = 4
_TRANSIENT = (InterfaceError, OperationalError)  # lost or not to be had; PoolTimeout is one
_READ_ONLY = "set transaction read only"


class PsycopgTransport:
    """The sync transport; `Client` makes one from what it is given."""

    def __init__(
        self,
        source: Connection[Any] | ConnectionPool[Any] | str,
        *,
        read_only: bool = False,
    ) -> None:
        """Take a connection, a pool or a connection string."""
        self._owns_pool = isinstance(source, str)
        self._source = _sync_pool(source) if isinstance(source, str) else source
        self._read_only = read_only

    def run(self, request: Request[T]) -> T:
        """Execute the request; see the module for whose transaction it is.

        Raises:
            TallystickError: the database refused.
            psycopg.Error: anything else that goes wrong, a lost connection for one.
        """
        with _translated_errors(), self._connection() as connection:
            if not self._read_only:
                return self._execute(connection, request)
            # Inside a caller's transaction this is a savepoint, and only it becomes read-only.
            with connection.transaction():
                connection.execute(_READ_ONLY)
                return self._execute(connection, request)

    def read_only(self) -> PsycopgTransport:
        """Return a transport over the same source whose calls cannot write or lock.

        A function that writes or locks is refused by the database (25006, psycopg's
        ReadOnlySqlTransaction). On a given connection that is idle and not in autocommit, the call
        is a read-only transaction of its own.
        """
        return PsycopgTransport(self._source, read_only=True)

    def is_transient(self, error: BaseException) -> bool:
        """Tell whether a further connection of the pool may work; a given one has no successor."""
        return not isinstance(self._source, Connection) and isinstance(error, _TRANSIENT)

    def close(self) -> None:
        """Close the pool made from a connection string; a given connection or pool stays open."""
        if self._owns_pool:
            self._source.close()

    @contextmanager
    def _connection(self) -> Iterator[Connection[Any]]:
        source = self._source
        if isinstance(source, Connection):
            yield source
            return
        if source.closed:
            _open(source)
        with source.connection() as connection:
            yield connection

    @staticmethod
    def _execute(connection: Connection[Any], request: Request[T]) -> T:
        with connection.cursor(row_factory=dict_row) as cursor:
            _read_exactly(cursor)
            cursor.execute(_statement(request), _parameters(request))
            return request.read(cursor.fetchall())


class AsyncPsycopgTransport:
    """The async transport; `AsyncClient` makes one from what it is given."""

    def __init__(
        self,
        source: AsyncConnection[Any] | AsyncConnectionPool[Any] | str,
        *,
        read_only: bool = False,
    ) -> None:
        """Take a connection, a pool or a connection string."""
        self._owns_pool = isinstance(source, str)
        self._source = _async_pool(source) if isinstance(source, str) else source
        self._read_only = read_only

    async def run(self, request: Request[T]) -> T:
        """Execute the request; see the module for whose transaction it is.

        Raises:
            TallystickError: the database refused.
            psycopg.Error: anything else that goes wrong, a lost connection for one.
        """
        with _translated_errors():
            async with self._connection() as connection:
                if not self._read_only:
                    return await self._execute(connection, request)
                # Inside a caller's transaction this is a savepoint, and only it becomes read-only.
                async with connection.transaction():
                    await connection.execute(_READ_ONLY)
                    return await self._execute(connection, request)

    def read_only(self) -> AsyncPsycopgTransport:
        """Return a transport over the same source whose calls cannot write or lock.

        A function that writes or locks is refused by the database (25006, psycopg's
        ReadOnlySqlTransaction). On a given connection that is idle and not in autocommit, the call
        is a read-only transaction of its own.
        """
        return AsyncPsycopgTransport(self._source, read_only=True)

    def is_transient(self, error: BaseException) -> bool:
        """Tell whether a further connection of the pool may work; a given one has no successor."""
        return not isinstance(self._source, AsyncConnection) and isinstance(error, _TRANSIENT)

    async def close(self) -> None:
        """Close the pool made from a connection string; a given connection or pool stays open."""
        if self._owns_pool:
            await self._source.close()

    @asynccontextmanager
    async def _connection(self) -> AsyncIterator[AsyncConnection[Any]]:
        source = self._source
        if isinstance(source, AsyncConnection):
            yield source
            return
        if source.closed:
            await _open_async(source)  # needs a running loop, so not in the constructor
        async with source.connection() as connection:
            yield connection

    @staticmethod
    async def _execute(connection: AsyncConnection[Any], request: Request[T]) -> T:
        async with connection.cursor(row_factory=dict_row) as cursor:
            _read_exactly(cursor)
            await cursor.execute(_statement(request), _parameters(request))
            return request.read(await cursor.fetchall())


def _sync_pool(conninfo: str) -> ConnectionPool[Any]:
    return ConnectionPool(
        conninfo, kwargs=_CONNECTION_OPTIONS, min_size=1, max_size=_POOL_SIZE, open=False
    )


# A pool that reaches no database tries for half a minute, and does not say why. So one connection
# comes before it, whose error is the caller's at once.


def _open(pool: ConnectionPool[Any]) -> None:
    if isinstance(pool.conninfo, str):
        Connection.connect(pool.conninfo).close()
    pool.open()


def _async_pool(conninfo: str) -> AsyncConnectionPool[Any]:
    return AsyncConnectionPool(
        conninfo, kwargs=_CONNECTION_OPTIONS, min_size=1, max_size=_POOL_SIZE, open=False
    )


async def _open_async(pool: AsyncConnectionPool[Any]) -> None:
    if isinstance(pool.conninfo, str):
        connection = await AsyncConnection.connect(pool.conninfo)
        await connection.close()
    await pool.open()


def _statement(request: Request[T]) -> bytes:
    if isinstance(request, Call):
        return _compose_call(request.schema, request.function, tuple(request.arguments))
    return _compose_read(
        request.schema,
        request.relation,
        request.columns,
        tuple(request.filters),
        request.order,
        descending=request.descending,
    )


@lru_cache(maxsize=256)
def _compose_call(schema: str, function: str, arguments: tuple[str, ...]) -> bytes:
    # "select * from" gives a composite result as columns, so nothing has to parse its text form.
    named = (sql.SQL("{} => %s").format(sql.Identifier(name)) for name in arguments)
    query = sql.SQL("select * from {}({})").format(
        sql.Identifier(schema, function), sql.SQL(", ").join(named)
    )
    return query.as_bytes(None)


@lru_cache(maxsize=256)
def _compose_read(
    schema: str,
    relation: str,
    columns: tuple[str, ...],
    filters: tuple[str, ...],
    order: tuple[str, ...],
    *,
    descending: bool,
) -> bytes:
    equal = (sql.SQL("{} = %s").format(sql.Identifier(name)) for name in filters)
    column = sql.SQL("{} desc" if descending else "{}")
    query = sql.SQL("select {} from {} where {} order by {} limit %s").format(
        sql.SQL(", ").join(map(sql.Identifier, columns)),
        sql.Identifier(schema, relation),
        sql.SQL(" and ").join([sql.SQL("true"), *equal]),
        sql.SQL(", ").join(column.format(sql.Identifier(name)) for name in order),
    )
    return query.as_bytes(None)


def _parameters(request: Request[T]) -> list[object]:
    if isinstance(request, Call):
        return [_parameter(value) for value in request.arguments.values()]
    # To the server, no limit is a limit of null.
    return [_parameter(value) for value in (*request.filters.values(), request.limit)]


def _parameter(value: Argument) -> object:
    if isinstance(value, int) and not isinstance(value, bool):
        # As text the server reads it as the argument's own type; psycopg would choose a type by
        # size, and a count above 2^31 would then be "function does not exist".
        return str(value)
    if isinstance(value, timedelta):
        return as_text(value)
    if isinstance(value, Mapping | list):
        return Jsonb(value, dumps=exact_json.dumps)
    if isinstance(value, tuple):
        return list(value)  # what psycopg sends as an array
    return value


def _read_exactly(cursor: Cursor[Any] | AsyncCursor[Any]) -> None:
    set_json_loads(exact_json.loads, cursor)
    cursor.adapters.register_loader("timestamptz", _UnboundedTimeLoader)


class _UnboundedTimeLoader(TimestamptzLoader):
    """Reads infinity as the last time there is, where psycopg refuses it."""

    def load(self, data: Buffer) -> datetime:
        return _UNBOUNDED.get(bytes(data)) or super().load(data)


_UNBOUNDED = {b"-infinity": ALWAYS, b"infinity": NEVER}


@contextmanager
def _translated_errors() -> Iterator[None]:
    try:
        yield
    except Error as error:
        if error.sqlstate is None or not is_refusal(error.sqlstate):
            raise
        diagnostic = error.diag
        raise error_from(
            error.sqlstate,
            diagnostic.message_primary or str(error),
            diagnostic.message_detail,
            diagnostic.message_hint,
        ) from error
