"""The transport of supabase-py: what it sends, what it makes of answers, sync and async.

What the functions do over it is tested with all the other clients; here a made-up server answers.
"""

import asyncio
import json
from collections.abc import Callable
from datetime import UTC, date, datetime, timedelta
from decimal import Decimal
from typing import Any
from uuid import UUID

import httpx
import pytest
from postgrest.exceptions import APIError

import supabase
from tallystick import AsyncClient, Client, PermissionDenied, RetryableError, UnknownId, calls
from tallystick.calls import Call, Many, Read, Scalar, nothing
from tallystick.models import Finding, to_decimal
from tallystick.transports import AsyncTransport, Transport
from tallystick.transports.supabase import AsyncSupabaseTransport, SupabaseTransport, Truncated

ID = UUID("a0000000-0000-4000-8000-000000000000")
KEY = "sb_secret_0123456789012345678901_01234567"
Answer = Callable[[httpx.Request], httpx.Response]


class Sync:
    """Carries requests to a made-up server with the sync transport."""

    def __init__(self, answer: Answer) -> None:
        self.http = httpx.Client(transport=httpx.MockTransport(answer))
        options = supabase.ClientOptions(httpx_client=self.http)
        self.transport: Any = SupabaseTransport(supabase.create_client("http://h", KEY, options))

    def run(self, request: Any, *, read_only: bool = False) -> Any:
        transport = self.transport.read_only() if read_only else self.transport
        return transport.run(request)


class Async:
    """The same with the async one."""

    def __init__(self, answer: Answer) -> None:
        async def answer_later(request: httpx.Request) -> httpx.Response:
            return answer(request)

        self.http = httpx.AsyncClient(transport=httpx.MockTransport(answer_later))
        options = supabase.AsyncClientOptions(httpx_client=self.http)
        asking = asyncio.run(supabase.create_async_client("http://h", KEY, options))
        self.transport: Any = AsyncSupabaseTransport(asking)

    def run(self, request: Any, *, read_only: bool = False) -> Any:
        transport = self.transport.read_only() if read_only else self.transport
        return asyncio.run(transport.run(request))


@pytest.fixture(params=[Sync, Async])
def carrying(request: pytest.FixtureRequest) -> Callable[[Answer], Any]:
    made: Callable[[Answer], Any] = request.param
    return made


def saying(text: str | bytes, status: int = 200) -> Answer:
    return lambda _request: httpx.Response(status, content=text)


AS_IT_IS: Scalar[Any] = Scalar(lambda value: value)


def exact(read: Any = AS_IT_IS, **arguments: Any) -> Call[Any]:
    return Call("billing", "f", arguments, read)


def test_it_keeps_the_protocols() -> None:
    assert isinstance(Sync(saying("")).transport, Transport)
    assert isinstance(Async(saying("")).transport, AsyncTransport)


def test_arguments_are_sent_exactly(carrying: Callable[[Answer], Any]) -> None:
    sent: list[httpx.Request] = []

    def answer(request: httpx.Request) -> httpx.Response:
        sent.append(request)
        return httpx.Response(200, text="null")

    call = exact(
        p_id=ID,
        p_amount=Decimal("1.50"),
        p_document={"rate": Decimal("0.1000000000000000000000001"), "n": 9007199254740993},
        p_time=datetime(2026, 1, 2, 3, 4, 5, tzinfo=UTC),
        p_day=date(2026, 1, 2),
        p_span=timedelta(minutes=5),
        p_ids=(ID,),
        p_items=[{"a": "b"}],
        p_text="\u20ac",
        p_yes=True,
        p_none=None,
    )
    carrying(answer).run(call)
    (request,) = sent
    assert (request.method, request.url.path) == ("POST", "/rest/v1/rpc/f")
    assert request.headers["content-profile"] == "billing"
    assert request.headers["apikey"] == KEY
    assert json.loads(request.content, parse_float=Decimal) == {
        "p_id": str(ID),
        "p_amount": "1.50",
        "p_document": {"rate": Decimal("0.1000000000000000000000001"), "n": 9007199254740993},
        "p_time": "2026-01-02T03:04:05+00:00",
        "p_day": "2026-01-02",
        "p_span": "300.000000 seconds",
        "p_ids": [str(ID)],
        "p_items": [{"a": "b"}],
        "p_text": "\u20ac",
        "p_yes": True,
        "p_none": None,
    }
    assert b"0.1000000000000000000000001" in request.content


def test_reading_only_is_a_get(carrying: Callable[[Answer], Any]) -> None:
    sent: list[httpx.Request] = []

    def answer(request: httpx.Request) -> httpx.Response:
        sent.append(request)
        return httpx.Response(200, text="null")

    call = exact(
        p_amount=Decimal("1.50"), p_document={"rate": Decimal("0.10")}, p_ids=(ID, ID), p_none=None,
        p_yes=True, p_count=7,
    )  # fmt: skip
    carrying(answer).run(call, read_only=True)
    (request,) = sent
    assert request.method == "GET"
    assert request.headers["accept-profile"] == "billing"
    assert dict(request.url.params) == {
        "p_amount": "1.50",
        "p_document": '{"rate": 0.10}',
        "p_ids": f"{{{ID},{ID}}}",
        "p_yes": "true",
        "p_count": "7",
    }


@pytest.mark.parametrize(
    ("text", "read", "expected"),
    [
        ("0.10", Scalar(to_decimal), Decimal("0.10")),
        ("12345678901234567890.123456789012", Scalar(to_decimal),
         Decimal("12345678901234567890.123456789012")),
        ("5", Scalar(to_decimal), Decimal(5)),
        ('{"a": 0.10}', AS_IT_IS, {"a": Decimal("0.10")}),
        ("[1, 2]", AS_IT_IS, [1, 2]),
        ('{"a": 0.10}', list, [{"a": Decimal("0.10")}]),
        ('[{"a": 1}, {"a": 2}]', list, [{"a": 1}, {"a": 2}]),
        ("[]", Many(Finding), []),
        ("", nothing, None),
    ],
)  # fmt: skip
def test_answers_are_read_exactly(
    carrying: Callable[[Answer], Any], text: str, read: Any, expected: object
) -> None:
    found = carrying(saying(text, 200 if text else 204)).run(exact(read))
    assert found == expected
    assert str(found) == str(expected)  # 0.10 is not 0.1


def test_a_list_that_is_cut_short_is_not_taken_for_the_whole(
    carrying: Callable[[Answer], Any],
) -> None:
    asked: list[str | None] = []

    def answer(request: httpx.Request) -> httpx.Response:
        asked.append(request.headers.get("prefer"))
        return httpx.Response(206, text="[]", headers={"content-range": "0-999/2593"})

    with pytest.raises(Truncated, match="0-999/2593"):
        carrying(answer).run(exact(Many(Finding)))
    assert asked == ["count=exact"]


def error(code: str, details: str | None = None) -> str:
    return json.dumps({"code": code, "message": "m", "details": details, "hint": "h"})


@pytest.mark.parametrize(
    ("status", "code", "kind"),
    [
        (400, "TS404", UnknownId),
        (401, "42501", PermissionDenied),
        (403, "42501", PermissionDenied),
        (500, "40001", RetryableError),
    ],
)
def test_a_refusal_is_an_error_of_ours(
    carrying: Callable[[Answer], Any], status: int, code: str, kind: type[Exception]
) -> None:
    answer = saying(error(code, '{"cost": 0.10}'), status)
    with pytest.raises(kind) as refused:
        carrying(answer).run(exact())
    assert refused.value.code == code  # type: ignore[attr-defined]
    assert refused.value.details == {"cost": Decimal("0.10")}  # type: ignore[attr-defined]
    assert refused.value.hint == "h"  # type: ignore[attr-defined]


@pytest.mark.parametrize(
    ("text", "status", "code", "is_transient"),
    [
        (error("22003"), 400, "22003", False),
        (error("PGRST202"), 404, "PGRST202", False),
        (error("PGRST301"), 401, "PGRST301", False),
        ('{"message": "Invalid API key"}', 401, "401", False),
        (error("PGRST001"), 503, "PGRST001", True),
        (error("57P01"), 503, "57P01", True),
        ("<html>Bad gateway</html>", 502, "502", True),
        ("", 504, "504", True),
        ("[]", 500, "500", False),
        ('{"message": "An invalid response was received from the upstream server"}', 502, "502",
         True),
        ('{"message": "The upstream server is timing out", "request_id": "x"}', 504, "504", True),
        ('{"code": null, "message": "x"}', 503, "503", True),
        ("<h1>\u00dcberlast</h1>".encode("latin-1"), 502, "502", True),
        ("<h1>Welcome to our network</h1>", 200, "200", False),
        (b"\xdc", 200, "200", False),
    ],
)  # fmt: skip
def test_other_errors_stay_supabase_s(
    carrying: Callable[[Answer], Any],
    text: str | bytes,
    status: int,
    code: str,
    is_transient: bool,
) -> None:
    carrier = carrying(saying(text, status))
    with pytest.raises(APIError) as failed:
        carrier.run(exact())
    assert failed.value.code == code
    assert carrier.transport.is_transient(failed.value) is is_transient


@pytest.mark.parametrize("trouble", [httpx.ConnectError("x"), httpx.ReadTimeout("x")])
def test_network_trouble_is_passed_on_and_may_pass(
    carrying: Callable[[Answer], Any], trouble: Exception
) -> None:
    def answer(_request: httpx.Request) -> httpx.Response:
        raise trouble

    carrier = carrying(answer)
    with pytest.raises(type(trouble)):
        carrier.run(exact())
    assert carrier.transport.is_transient(trouble)
    assert not carrier.transport.is_transient(ValueError())


def listing(limit: int | None) -> Read[Any]:
    filters = {"organization_id": ID, "state": "open", "is_soft": True, "slots": 3}
    return Read("metering", "holds", ("id", "cost"), filters, ("day", "id"), True, limit, list)


@pytest.mark.parametrize(
    ("limit", "at_most", "asked"),
    [
        (None, 1000, [(0, 1000), (1000, 1000), (1500, 1000)]),
        (None, 700, [(0, 1000), (700, 1000), (1400, 1000), (1500, 1000)]),
        (10, 1000, [(0, 10)]),
        (1200, 1000, [(0, 1000), (1000, 200)]),
        (0, 1000, []),
    ],
)
def test_a_listing_is_read_page_by_page(
    carrying: Callable[[Answer], Any],
    limit: int | None,
    at_most: int,
    asked: list[tuple[int, int]],
) -> None:
    rows = [{"id": number, "cost": 0} for number in range(1500)]
    sent: list[httpx.Request] = []

    def answer(request: httpx.Request) -> httpx.Response:
        sent.append(request)
        first = int(request.url.params["offset"])
        size = min(at_most, int(request.url.params["limit"]))
        return httpx.Response(200, json=rows[first : first + size])

    found = carrying(answer).run(listing(limit))
    assert found == rows[:limit]
    pages = [(int(r.url.params["offset"]), int(r.url.params["limit"])) for r in sent]
    assert pages == asked
    for request in sent:
        assert (request.method, request.url.path) == ("GET", "/rest/v1/holds")
        assert request.headers["accept-profile"] == "metering"
        parameters = dict(request.url.params)
        assert parameters["select"] == "id,cost"
        assert parameters["order"] == "day.desc,id.desc"
        filters = {name: parameters[name] for name in ("organization_id", "state", "is_soft")}
        assert filters == {"organization_id": f"eq.{ID}", "state": "eq.open", "is_soft": "eq.true"}


def test_closing_a_client_leaves_supabase_s_open() -> None:
    carrier = Sync(saying("0.10"))
    with Client(carrier.transport) as client:
        assert client.get_organization_monthly_ai_cost(ID) == Decimal("0.10")
    assert not carrier.http.is_closed

    async def scenario() -> None:
        asynchronous = Async.__new__(Async)
        asynchronous.http = httpx.AsyncClient(
            transport=httpx.MockTransport(lambda _request: httpx.Response(200, text="0.10"))
        )
        options = supabase.AsyncClientOptions(httpx_client=asynchronous.http)
        asking = await supabase.create_async_client("http://h", KEY, options)
        async with AsyncClient(AsyncSupabaseTransport(asking)) as client:
            assert await client.get_organization_monthly_ai_cost(ID) == Decimal("0.10")
        assert not asynchronous.http.is_closed
        await asynchronous.http.aclose()

    asyncio.run(scenario())


def test_the_session_of_the_client_counts_at_once() -> None:
    seen: list[str] = []

    def answer(request: httpx.Request) -> httpx.Response:
        seen.append(request.headers["authorization"])
        return httpx.Response(200, text="true")

    carrier = Sync(answer)
    call = calls.check_organization_monthly_quota(ID)
    carrier.run(call)
    carrier.transport._client.postgrest.auth("token of a user")  # noqa: SLF001
    carrier.run(call)
    assert seen == [f"Bearer {KEY}", "Bearer token of a user"]
