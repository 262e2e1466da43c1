"""`client.spend` over a network that loses answers: one hold, one settlement."""

import asyncio
from collections.abc import Iterator
from uuid import UUID

import httpx
import psycopg
import pytest

import supabase
from tallystick import AsyncClient, Client
from tallystick.transports.supabase import AsyncSupabaseTransport, SupabaseTransport
from tests.support.http import Http

USED = {"input_tokens": 1200, "output_tokens": 300}


class Lossy(httpx.HTTPTransport):
    """Delivers every request, and loses the first answer to each."""

    def __init__(self) -> None:
        super().__init__()
        self.lost: set[bytes] = set()

    def handle_request(self, request: httpx.Request) -> httpx.Response:
        response = super().handle_request(request)
        response.read()
        key = bytes(request.url.raw_path) + request.content
        if key in self.lost:
            return response
        self.lost.add(key)
        raise httpx.ReadError("the connection was lost")


class AsyncLossy(httpx.AsyncHTTPTransport):
    """The same, async."""

    def __init__(self) -> None:
        super().__init__()
        self.lost: set[bytes] = set()

    async def handle_async_request(self, request: httpx.Request) -> httpx.Response:
        response = await super().handle_async_request(request)
        await response.aread()
        key = bytes(request.url.raw_path) + request.content
        if key in self.lost:
            return response
        self.lost.add(key)
        raise httpx.ReadError("the connection was lost")


@pytest.fixture
def payer(owner: psycopg.Connection) -> Iterator[UUID]:
    row = owner.execute("select tests.organization(), tests.price('lossy')").fetchone()
    assert row is not None
    yield row[0]
    findings = owner.execute("select * from audit.verify_integrity(%s)", (row[0],)).fetchall()
    assert findings == []


def recorded(owner: psycopg.Connection, payer: UUID) -> list[tuple[object, ...]]:
    open_holds = owner.execute(
        "select from metering.holds where organization_id = %s and state = 'open'", (payer,)
    )
    assert open_holds.rowcount == 0
    return owner.execute(
        "select model, prompt_tokens, completion_tokens from public.ai_usage_ledger"
        " where organization_id = %s",
        (payer,),
    ).fetchall()


def test_a_lost_answer_is_asked_for_again(
    http: Http, owner: psycopg.Connection, payer: UUID
) -> None:
    lossy = Lossy()
    with httpx.Client(transport=lossy) as network:
        options = supabase.ClientOptions(httpx_client=network)
        client = Client(
            SupabaseTransport(supabase.create_client(http.url, http.secret_key, options))
        )
        with client.spend(payer, model="lossy", input_tokens=1200, max_output_tokens=500) as call:
            call.used(USED)
        assert call.usage is not None
        assert len(lossy.lost) >= 2
    assert recorded(owner, payer) == [("lossy", 1200, 300)]


def test_and_by_the_async_client(http: Http, owner: psycopg.Connection, payer: UUID) -> None:
    async def scenario() -> None:
        async with httpx.AsyncClient(transport=AsyncLossy()) as network:
            options = supabase.AsyncClientOptions(httpx_client=network)
            asking = await supabase.create_async_client(http.url, http.secret_key, options)
            client = AsyncClient(AsyncSupabaseTransport(asking))
            async with client.spend(
                payer, model="lossy", input_tokens=1200, max_output_tokens=500
            ) as call:
                call.used(USED)
            with pytest.raises(httpx.ReadError):  # one call by itself is not sent again
                await client.get_organization_monthly_ai_cost(payer)
            monthly = await client.get_organization_monthly_ai_cost(payer)
            assert monthly == (call.usage and call.usage.cost)

    asyncio.run(scenario())
    assert recorded(owner, payer) == [("lossy", 1200, 300)]
