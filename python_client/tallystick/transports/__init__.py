"""The seam between `calls` and a driver.

A transport carries a `Call` or a `Read` to a database and hands the result rows to its reader. They
exist over psycopg (`tallystick.transports.psycopg`) and over HTTP with supabase-py
(`tallystick.transports.supabase`), sync and async. One over HTTP must:

1. for a `Call` use ``client.schema(call.schema).rpc(call.function, call.arguments)``: arguments go
   by name and none is added. UUIDs, `Decimal`s and timedeltas go as text (`calls.as_text`), which
   PostgREST casts, likewise times and days (``isoformat``), None as null, all else as JSON has it;
2. for a `Read` use ``client.schema(read.schema).from_(read.relation)`` with ``.select(*columns)``,
   an ``.eq`` per filter, an ``.order`` per column (``descending`` where it says so) and
   ``.limit``; a server with a limit of its own (Supabase: 1000 rows) is asked page by page;
3. read JSON with ``parse_float=decimal.Decimal`` (postgrest-py's default makes floats of money;
   the readers refuse a float with TypeError rather than use it);
4. hand `read` a sequence of mappings: a composite result is one row, a set its rows, a scalar
   ``v`` is ``[{call.function: v}]``, void (HTTP 204) is any one row;
5. turn an error body ``{code, message, details, hint}`` whose code ``is_refusal`` into
   ``error_from(code, message, details, hint)`` and raise it, whatever the HTTP status. Other codes
   and network trouble stay the driver's own errors;
6. say in its docstring that each call is a transaction of its own: `check_workflow_cost_limit`
   then guards nothing that happens after it returned;
7. answer `read_only()` with a transport that sends GET for the functions that are STABLE;
8. say of network trouble that it `is_transient`: the same call, sent again, may be answered.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Protocol, TypeVar, runtime_checkable

if TYPE_CHECKING:
    from tallystick.calls import Request

T = TypeVar("T")

__all__ = ["AsyncTransport", "Transport"]


@runtime_checkable
class Transport(Protocol):
    """Carries calls and reads, one at a time, in the calling thread."""

    def run(self, request: Request[T]) -> T:
        """Execute the request and return what its reader makes of the rows.

        Raises:
            TallystickError: the database refused; the class goes by the code. Other errors are
                the driver's own.
        """
        ...

    def read_only(self) -> Transport:
        """Return a transport to the same database that can only read."""
        ...

    def is_transient(self, error: BaseException) -> bool:
        """Tell whether the same call, sent again, may be answered: a lost connection, for one."""
        ...

    def close(self) -> None:
        """Release what the transport opened itself; nothing that was given to it."""
        ...


@runtime_checkable
class AsyncTransport(Protocol):
    """Carries calls and reads under asyncio; the same promises as `Transport`."""

    async def run(self, request: Request[T]) -> T:
        """Execute the request and return what its reader makes of the rows.

        Raises:
            TallystickError: the database refused; the class goes by the code. Other errors are
                the driver's own.
        """
        ...

    def read_only(self) -> AsyncTransport:
        """Return a transport to the same database that can only read."""
        ...

    def is_transient(self, error: BaseException) -> bool:
        """Tell whether the same call, sent again, may be answered: a lost connection, for one."""
        ...

    async def close(self) -> None:
        """Release what the transport opened itself; nothing that was given to it."""
        ...
