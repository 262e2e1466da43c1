"""Calls and reads over HTTP with supabase-py, sync and async.

supabase-py builds the requests, with the keys and the session of the client it is given; sending
and reading is done here, because it would make floats of money on both ways.

Each call is a transaction of its own. `check_workflow_cost_limit` therefore guards nothing that
happens after it returned: authorize instead, which holds what it grants.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from datetime import date, datetime, timedelta
from decimal import Decimal
from typing import TYPE_CHECKING, Any, TypeVar, cast
from uuid import UUID

from httpx import TransportError, codes
from postgrest.exceptions import APIError, generate_default_error_message
from postgrest.types import CountMethod

from tallystick.calls import Call, Many, Read, Scalar, as_text
from tallystick.errors import error_from, is_refusal
from tallystick.transports import exact_json

if TYPE_CHECKING:
    from httpx import Response

    from supabase import AsyncClient, Client
    from tallystick.calls import Argument, Request
    from tallystick.models import Row

__all__ = ["AsyncSupabaseTransport", "SupabaseTransport", "Truncated"]

T = TypeVar("T")

_PAGE = 1000  # rows; what Supabase answers at most, unless a project says otherwise
# The database is not to be had: PostgREST's codes, and what proxies say by status.
_TRANSIENT = frozenset(
    ["PGRST000", "PGRST001", "PGRST002", "PGRST003", "57P01", "57P03", "502", "503", "504"]
)


class Truncated(Exception):  # noqa: N818 - named after what happened
    """The API answered fewer rows than a function returned; what it did is done all the same."""


class SupabaseTransport:
    """The sync transport: `Client(SupabaseTransport(supabase.create_client(url, key)))`."""

    def __init__(self, client: Client, *, read_only: bool = False) -> None:
        """Take a client of supabase-py; it stays yours, so signing in and out counts at once."""
        self._client = client
        self._read_only = read_only

    def run(self, request: Request[T]) -> T:
        """Execute the request, which is a transaction of its own.

        Raises:
            TallystickError: the database refused.
            Truncated: the API does not answer as many rows.
            postgrest.exceptions.APIError: another error that the database or the API reported;
                its code is the HTTP status where something between answered that gives none.
            httpx.TransportError: the network failed; whether the call was done is not known.
        """
        if isinstance(request, Call):
            return _read_call(request, self._send(self._call(request)))
        pages = _Pages(request)
        while (page := pages.next()) is not None:
            builder = self._client.schema(request.schema).from_(request.relation)
            pages.add(self._send(_listing(builder.select(*request.columns), request, page)))
        return request.read(pages.rows)

    def read_only(self) -> SupabaseTransport:
        """Return a transport of the same client whose calls are GET requests.

        They run in read-only transactions, also on replicas. A function that writes or locks is
        refused (25006, supabase-py's APIError), and so is one that needs an argument of None.
        """
        return SupabaseTransport(self._client, read_only=True)

    def is_transient(self, error: BaseException) -> bool:
        """Tell whether the network or the connection to the database failed."""
        return _is_transient(error)

    def close(self) -> None:
        """Do nothing: the client was given."""

    def _call(self, call: Call[T]) -> Any:
        arguments = _arguments(call, as_query=self._read_only)
        schema = self._client.schema(call.schema)
        return schema.rpc(call.function, arguments, count=_count(call), get=self._read_only)

    @staticmethod
    def _send(builder: Any) -> Response:
        return cast("Response", builder.request.session.request(**_http(builder.request)))


class AsyncSupabaseTransport:
    """The async transport, of what `supabase.create_async_client(url, key)` returns."""

    def __init__(self, client: AsyncClient, *, read_only: bool = False) -> None:
        """Take a client of supabase-py; it stays yours, so signing in and out counts at once."""
        self._client = client
        self._read_only = read_only

    async def run(self, request: Request[T]) -> T:
        """Execute the request, which is a transaction of its own.

        Raises:
            TallystickError: the database refused.
            Truncated: the API does not answer as many rows.
            postgrest.exceptions.APIError: another error that the database or the API reported;
                its code is the HTTP status where something between answered that gives none.
            httpx.TransportError: the network failed; whether the call was done is not known.
        """
        if isinstance(request, Call):
            return _read_call(request, await self._send(self._call(request)))
        pages = _Pages(request)
        while (page := pages.next()) is not None:
            builder = self._client.schema(request.schema).from_(request.relation)
            pages.add(await self._send(_listing(builder.select(*request.columns), request, page)))
        return request.read(pages.rows)

    def read_only(self) -> AsyncSupabaseTransport:
        """Return a transport of the same client whose calls are GET requests.

        They run in read-only transactions, also on replicas. A function that writes or locks is
        refused (25006, supabase-py's APIError), and so is one that needs an argument of None.
        """
        return AsyncSupabaseTransport(self._client, read_only=True)

    def is_transient(self, error: BaseException) -> bool:
        """Tell whether the network or the connection to the database failed."""
        return _is_transient(error)

    async def close(self) -> None:
        """Do nothing: the client was given."""

    def _call(self, call: Call[T]) -> Any:
        arguments = _arguments(call, as_query=self._read_only)
        schema = self._client.schema(call.schema)
        return schema.rpc(call.function, arguments, count=_count(call), get=self._read_only)

    @staticmethod
    async def _send(builder: Any) -> Response:
        return cast("Response", await builder.request.session.request(**_http(builder.request)))


class _Pages:
    """The pages of a listing: as many as it takes, as a server may answer fewer rows than asked."""

    def __init__(self, read: Read[Any]) -> None:
        self.rows: list[Row] = []
        self._limit = read.limit
        self._is_over = read.limit == 0

    def next(self) -> tuple[int, int] | None:
        """Return offset and size of the next page, or None where there is none."""
        if self._is_over:
            return None
        left = _PAGE if self._limit is None else self._limit - len(self.rows)
        return len(self.rows), min(_PAGE, left)

    def add(self, response: Response) -> None:
        """Take in a page; an empty one was behind the last row."""
        page = cast("list[Row]", _body(response))
        self.rows += page
        self._is_over = not page or len(self.rows) == self._limit


def _listing(builder: Any, read: Read[Any], page: tuple[int, int]) -> Any:
    for name, value in read.filters.items():
        builder = builder.eq(name, _text(value))
    for name in read.order:
        builder = builder.order(name, desc=read.descending)
    offset, size = page
    return builder.range(offset, offset + size - 1)


def _count(call: Call[Any]) -> CountMethod | None:
    """Return how rows are counted: a list that is cut short must not be taken for the whole."""
    return CountMethod.exact if isinstance(call.read, Many) else None


def _arguments(call: Call[Any], *, as_query: bool) -> dict[str, Any]:
    if not as_query:
        return {name: _json(value) for name, value in call.arguments.items()}
    return {name: _text(value) for name, value in call.arguments.items() if value is not None}


def _json(value: Argument) -> object:
    """Return what stands for a value in a JSON body; money is text, which Postgres casts."""
    if isinstance(value, UUID | Decimal | timedelta):
        return as_text(value)
    if isinstance(value, datetime | date):
        return value.isoformat()
    if isinstance(value, tuple):
        return [as_text(each) for each in value]
    return value


def _text(value: Argument) -> str:
    """Return what stands for a value in a query string."""
    if isinstance(value, tuple):
        return "{" + ",".join(map(as_text, value)) + "}"
    plain = _json(value)
    return plain if isinstance(plain, str) else exact_json.dumps(plain)


def _http(request: Any) -> dict[str, Any]:
    """Return a built request as httpx takes it, its body written exactly."""
    headers = dict(request.headers)
    content = None
    if request.json is not None:
        content = exact_json.dumps(request.json).encode()
        headers["Content-Type"] = "application/json"
    return {
        "method": request.http_method,
        "url": str(request.path),
        "params": request.params,
        "headers": headers,
        "content": content,
        "auth": request.auth,
    }


def _read_call(call: Call[T], response: Response) -> T:
    """Hand the reader rows, as a cursor would: the answer does not say which of its forms it is."""
    body = _body(response)
    if response.status_code == codes.PARTIAL_CONTENT:
        raise Truncated(
            f"{call.schema}.{call.function} was executed, but the API does not answer all of its "
            f"rows ({response.headers.get('content-range')}): raise max_rows in its settings"
        )
    if isinstance(call.read, Scalar):
        rows: object = [{call.function: body}]
    else:
        rows = body if isinstance(body, list) else [body]
    return call.read(cast("Sequence[Row]", rows))


def _body(response: Response) -> object:
    if response.is_success:
        return _parsed(response)
    error = _error(response)
    code = error.get("code")
    if is_refusal(code):
        detail, hint = error.get("details"), error.get("hint")
        raise error_from(str(code), str(error.get("message")), detail, hint) from APIError(error)
    raise APIError(error)


def _parsed(response: Response) -> object:
    if not response.content:
        return None
    try:
        return exact_json.loads(response.content)
    except ValueError as error:  # a login page of the network, for example
        raise APIError(generate_default_error_message(response)) from error


def _error(response: Response) -> dict[str, Any]:
    try:
        error = response.json()
    except ValueError:
        error = None
    default = generate_default_error_message(response)
    if not isinstance(error, Mapping):  # a proxy's page, for example
        return default
    return {**error, "code": error.get("code") or default["code"]}  # a proxy's JSON has none


def _is_transient(error: BaseException) -> bool:
    if isinstance(error, APIError):
        return error.code in _TRANSIENT
    return isinstance(error, TransportError)
