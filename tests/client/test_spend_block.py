"""`client.spend`: however a call ends, ledger, hold and budget say what became of it."""

import asyncio
import pickle
import signal
import subprocess
import sys
import textwrap
from collections.abc import Callable, Iterator
from datetime import timedelta
from decimal import Decimal
from typing import Any

import anyio
import psycopg
import pytest
from openai.types.chat import ChatCompletion, ChatCompletionChunk
from psycopg_pool import ConnectionPool

from tallystick import (
    AsyncClient,
    AsyncSpend,
    Client,
    HoldClosed,
    Organization,
    RetryableError,
    Spend,
    SpendDenied,
    Usage,
    UsageNotReported,
)
from tallystick.adapters import UnknownUsage
from tallystick.calls import Request
from tallystick.transports.psycopg import PsycopgTransport
from tests.support.servers import Database

MODEL = "gpt-4o"
RATES = {
    "input_tokens": Decimal("2.5"),
    "cache_read_tokens": Decimal("1.25"),
    "output_tokens": Decimal(10),
}
HELD = Decimal("0.0075")  # 1000 x 2.5 + 500 x 10, millionths
COST = Decimal("0.00375")  # 600 x 2.5 + 400 x 1.25 + 175 x 10
ABOUT: dict[str, Any] = {"model": MODEL, "input_tokens": 1000, "max_output_tokens": 500}


class Refused(Exception):  # noqa: N818
    """What a provider raises."""


def response(usage: dict[str, Any] | None = None) -> ChatCompletion:
    return ChatCompletion.model_validate(
        {
            "id": "c",
            "object": "chat.completion",
            "created": 1,
            "model": "gpt-4o-2024-08-06",
            "choices": [],
            "usage": {
                "prompt_tokens": 1000,
                "completion_tokens": 175,
                "total_tokens": 1175,
                "prompt_tokens_details": {"cached_tokens": 400},
            }
            | (usage or {}),
        }
    )


def chunk(text: str | None, usage: dict[str, int] | None = None) -> ChatCompletionChunk:
    choices = [] if text is None else [{"index": 0, "delta": {"content": text}}]
    return ChatCompletionChunk.model_validate(
        {
            "id": "c",
            "object": "chat.completion.chunk",
            "created": 1,
            "model": MODEL,
            "choices": choices,
            "usage": usage,
        }
    )


def streamed(pieces: int, *, with_usage: bool) -> Iterator[ChatCompletionChunk]:
    for _ in range(pieces):
        yield chunk("x")
    if with_usage:
        total = {"prompt_tokens": 1000, "completion_tokens": pieces, "total_tokens": 1000 + pieces}
        yield chunk(None, total)


@pytest.fixture
def acme(client: Client) -> Organization:
    """An organization with a cap of two calls on it."""
    client.set_price("openai", MODEL, RATES)
    acme = client.create_organization("Acme")
    client.set_budget(acme.id, "organization", None, "month", 2 * HELD)
    return acme


@pytest.fixture
def client(database: Database) -> Iterator[Client]:
    with Client(database.url()) as client:
        yield client


class Books:
    """What there is to see after a block."""

    def __init__(self, client: Client, acme: Organization, database: Database) -> None:
        self.client, self.acme, self.database = client, acme, database

    def check(
        self, *, spent: Decimal | str, held: Decimal | str = "0", usages: int | None = None
    ) -> None:
        """Assert what is spent and held, that the rest is free, and that everything agrees."""
        (month,) = (
            each for each in self.client.budgets(self.acme.id) if each.time_window == "month"
        )
        assert (month.settled_usd, month.held_usd) == (Decimal(spent), Decimal(held))
        assert month.remaining_usd == 2 * HELD - Decimal(spent) - Decimal(held)
        open_holds = self.client.holds(self.acme.id, state="open")
        assert sum(each.held_usd for each in open_holds) == Decimal(held)
        assert self.client.verify_integrity() == []
        if usages is not None:
            with self.database.connect() as connection:
                found = connection.execute("select count(*) from ai_usage_ledger").fetchone()
            assert found == (usages,)


@pytest.fixture
def books(client: Client, acme: Organization, database: Database) -> Books:
    return Books(client, acme, database)


def usage_of(call: Spend | AsyncSpend) -> Usage:
    assert call.usage is not None
    assert call.released is None
    assert call.usage.id == call.hold_id
    return call.usage


# As it should go -------------------------------------------------------------------------------


def test_a_response_settles(client: Client, acme: Organization, books: Books) -> None:
    with client.spend(acme.id, **ABOUT, tags={"team": "search"}) as call:
        assert call.decision.held_usd == HELD
        assert call.decision.affordable_output_tokens == 500
        books.check(spent="0", held=HELD)
        answer = response()
        assert call.see(answer) is answer
        assert call.usage is None
    usage = usage_of(call)
    assert usage.cost == COST
    assert usage.cost_basis == "priced"
    assert usage.token_counts == {
        "input_tokens": 600,
        "cache_read_tokens": 400,
        "output_tokens": 175,
    }
    assert usage.tags == {"team": "search"}
    books.check(spent=COST, usages=1)


async def _an_async_response(client: AsyncClient, acme: Organization) -> AsyncSpend:
    async with client.spend(acme.id, **ABOUT) as call:
        call.see(response())
    return call


def run(database: Database, work: Callable[[AsyncClient], Any]) -> Any:
    async def main() -> Any:
        client = AsyncClient(database.url())
        try:
            return await work(client)
        finally:
            await client.close()

    return asyncio.run(main())


def test_an_async_response_settles(database: Database, acme: Organization, books: Books) -> None:
    call = run(database, lambda client: _an_async_response(client, acme))
    assert usage_of(call).cost == COST
    books.check(spent=COST, usages=1)


def test_a_stream_settles_by_its_last_word(
    client: Client, acme: Organization, books: Books
) -> None:
    with client.spend(acme.id, **ABOUT) as call:
        seen = list(call.stream(streamed(50, with_usage=True)))
    assert len(seen) == 51
    assert usage_of(call).token_counts == {"input_tokens": 1000, "output_tokens": 50}
    books.check(spent="0.003", usages=1)


def test_the_tier_that_served_is_charged(client: Client, acme: Organization, books: Books) -> None:
    client.set_price(
        "openai",
        MODEL,
        {"input_tokens": Decimal(1), "output_tokens": Decimal(1)},
        service_tier="flex",
    )
    with client.spend(acme.id, **ABOUT) as call:
        call.see(response().model_copy(update={"service_tier": "flex"}))
    assert usage_of(call).service_tier == "flex"
    books.check(spent="0.001175")


def test_usage_can_be_stated(client: Client, acme: Organization, books: Books) -> None:
    with client.spend(acme.id, **ABOUT) as call:
        call.used({"input_tokens": 10})
    assert usage_of(call).token_counts == {"input_tokens": 10}
    books.check(spent="0.000025")


def test_a_stated_estimate_needs_no_tokens(
    client: Client, acme: Organization, books: Books
) -> None:
    with client.spend(acme.id, model=MODEL, estimated_cost=HELD) as call:
        call.see(response())
    assert usage_of(call).cost == COST
    books.check(spent=COST)


def test_a_hold_can_be_extended(client: Client, acme: Organization, books: Books) -> None:
    with client.spend(acme.id, **ABOUT) as call:
        hold = call.extend(expires_in=timedelta(hours=2), additional_cost=HELD)
        assert hold.held_usd == 2 * HELD
        books.check(spent="0", held=2 * HELD)
        call.see(response())
    books.check(spent=COST)


# Not granted -----------------------------------------------------------------------------------


def test_what_is_not_granted_is_not_called(
    client: Client, acme: Organization, books: Books
) -> None:
    client.set_budget(acme.id, "organization", None, "month", HELD / 2)
    with pytest.raises(SpendDenied) as denied, client.spend(acme.id, **ABOUT):
        pytest.fail("the block must not run")
    assert denied.value.code == "TS402"
    assert denied.value.decision.reason == "budget_exceeded"
    assert denied.value.decision.affordable_output_tokens == 125
    assert pickle.loads(pickle.dumps(denied.value)).decision == denied.value.decision  # noqa: S301


@pytest.mark.parametrize(
    ("prepare", "about", "code", "reason"),
    [
        ("freeze", ABOUT, "TS423", "frozen"),
        ("nothing", {**ABOUT, "model": "unknown"}, "TS404", "unpriced_model"),
    ],
)
def test_why_it_is_not_granted(
    client: Client,
    acme: Organization,
    prepare: str,
    about: dict[str, Any],
    code: str,
    reason: str,
) -> None:
    if prepare == "freeze":
        client.freeze(acme.id)
    with pytest.raises(SpendDenied) as denied, client.spend(acme.id, **about):
        pytest.fail("the block must not run")
    assert (denied.value.code, denied.value.decision.reason) == (code, reason)


def test_a_request_that_was_settled_is_not_made_again(
    client: Client, acme: Organization, books: Books
) -> None:
    with client.spend(acme.id, **ABOUT, request_id="r") as call:
        call.see(response())
    with pytest.raises(HoldClosed), client.spend(acme.id, **ABOUT, request_id="r"):
        pytest.fail("the block must not run")
    books.check(spent=COST, usages=1)


# Failures --------------------------------------------------------------------------------------


def test_an_error_before_anything_came_releases(
    client: Client, acme: Organization, books: Books
) -> None:
    with pytest.raises(Refused), client.spend(acme.id, **ABOUT) as call:
        raise Refused
    assert call.usage is None
    assert call.released is not None
    assert call.released.reason == "Refused"
    books.check(spent="0", usages=0)


def test_an_error_after_the_response_settles(
    client: Client, acme: Organization, books: Books
) -> None:
    with pytest.raises(Refused), client.spend(acme.id, **ABOUT) as call:
        call.see(response())
        raise Refused
    assert usage_of(call).cost == COST
    books.check(spent=COST, usages=1)


def test_ctrl_c_releases(client: Client, acme: Organization, books: Books) -> None:
    with pytest.raises(KeyboardInterrupt), client.spend(acme.id, **ABOUT):
        raise KeyboardInterrupt
    books.check(spent="0", usages=0)


def anthropic_stream() -> list[dict[str, Any]]:
    return [
        {
            "type": "message_start",
            "message": {
                "type": "message",
                "model": "claude",
                "usage": {"input_tokens": 900, "cache_read_input_tokens": 100, "output_tokens": 1},
            },
        },
        *[{"type": "content_block_delta", "delta": {"type": "text_delta", "text": "x"}}] * 30,
        {"type": "message_delta", "delta": {}, "usage": {"output_tokens": 20}},
    ]


def test_a_stream_that_breaks_settles_what_it_had_said(
    client: Client, acme: Organization, books: Books
) -> None:
    with pytest.raises(Refused), client.spend(acme.id, **ABOUT) as call:
        for event in call.stream(anthropic_stream()):
            if event["type"] == "message_delta":
                raise Refused
    assert usage_of(call).token_counts == {
        "input_tokens": 900,
        "cache_read_tokens": 100,
        "output_tokens": 20,
    }
    books.check(spent="0.002575", usages=1)


def test_a_stream_that_had_said_only_its_input_is_estimated_by_its_pieces(
    client: Client, acme: Organization, books: Books
) -> None:
    call = client.spend(acme.id, **ABOUT)
    with pytest.warns(UsageNotReported, match="30 pieces"), pytest.raises(Refused), call:
        for _ in call.stream(anthropic_stream()[:-1]):
            pass
        raise Refused
    usage = usage_of(call)
    assert usage.cost_basis == "estimated"
    assert usage.token_counts == {
        "input_tokens": 900,
        "cache_read_tokens": 100,
        "output_tokens": 30,
    }
    books.check(spent="0.002675", usages=1)


def test_a_stream_that_breaks_before_its_usage_is_estimated(
    client: Client, acme: Organization, books: Books
) -> None:
    with (
        pytest.warns(UsageNotReported, match="30 pieces"),
        pytest.raises(Refused),
        client.spend(acme.id, **ABOUT) as call,
    ):
        for _ in call.stream(streamed(30, with_usage=False)):
            pass
        raise Refused
    usage = usage_of(call)
    assert usage.cost_basis == "estimated"
    assert usage.token_counts == {"input_tokens": 1000, "output_tokens": 30}
    books.check(spent="0.0028", usages=1)


def test_a_response_that_nobody_showed_settles_all_that_was_held(
    client: Client, acme: Organization, books: Books
) -> None:
    with (
        pytest.warns(UsageNotReported, match="call.see"),
        client.spend(acme.id, **ABOUT) as call,
    ):
        response()
    usage = usage_of(call)
    assert (usage.cost, usage.cost_basis) == (HELD, "estimated")
    books.check(spent=HELD, usages=1)


def test_a_response_that_cannot_be_read_is_not_for_nothing(
    client: Client, acme: Organization, books: Books
) -> None:
    with (
        pytest.warns(UsageNotReported),
        pytest.raises(UnknownUsage),
        client.spend(acme.id, **ABOUT) as call,
    ):
        call.see({"tokens": 7})
    assert (usage_of(call).cost, usage_of(call).cost_basis) == (HELD, "estimated")
    with client.spend(acme.id, **ABOUT, usage_of="openai") as call:
        call.see({"usage": {"prompt_tokens": 7, "completion_tokens": 0, "total_tokens": 7}})
    assert usage_of(call).token_counts == {"input_tokens": 7}
    books.check(spent=HELD + Decimal("0.0000175"), usages=2)


def test_a_stream_that_breaks_at_its_start_is_estimated(
    client: Client, acme: Organization, books: Books
) -> None:
    with (
        pytest.warns(UsageNotReported),
        pytest.raises(Refused),
        client.spend(acme.id, **ABOUT) as call,
    ):
        for _ in call.stream([chunk("")]):
            raise Refused
    assert usage_of(call).token_counts == {"input_tokens": 1000}
    books.check(spent="0.0025", usages=1)


def test_a_response_without_usage_that_an_error_follows_is_not_taken_for_a_stream(
    client: Client, acme: Organization, books: Books
) -> None:
    silent = response().model_copy(update={"usage": None})
    with (
        pytest.warns(UsageNotReported, match="all it held"),
        pytest.raises(Refused),
        client.spend(acme.id, **ABOUT) as call,
    ):
        call.see(silent)
        raise Refused
    assert (usage_of(call).cost, usage_of(call).cost_basis) == (HELD, "estimated")
    books.check(spent=HELD, usages=1)


def test_a_model_without_a_price_settles_all_that_was_held(
    client: Client, acme: Organization, books: Books
) -> None:
    with (
        pytest.warns(UsageNotReported, match="no price"),
        client.spend(acme.id, model="unknown", estimated_cost=HELD) as call,
    ):
        call.see(response())
    usage = usage_of(call)
    assert (usage.cost, usage.cost_basis) == (HELD, "estimated")
    assert usage.token_counts["output_tokens"] == 175
    books.check(spent=HELD, usages=1)


def test_a_block_is_for_one_call(client: Client, acme: Organization, books: Books) -> None:
    with client.spend(acme.id, **ABOUT) as call:
        call.see(response())
        with pytest.raises(RuntimeError), call:
            pytest.fail("the block must not run")
    with pytest.raises(RuntimeError), call:
        pytest.fail("nor later")
    books.check(spent=COST, usages=1)


def test_a_model_that_stood_in_for_another_is_charged_at_its_own_prices_of_then(
    client: Client, acme: Organization, books: Books
) -> None:
    def price(model: str, dollars: int, **more: str) -> None:
        rates = {"input_tokens": Decimal(dollars), "output_tokens": Decimal(dollars)}
        client.set_price("anthropic", model, rates, **more)

    for model, dollars in {"asked": 3, "stand-in": 5}.items():
        price(model, dollars)
        price(model, dollars * 2, service_tier="priority")
    message = {
        "type": "message",
        "model": "stand-in",
        "usage": {
            "input_tokens": 100,
            "output_tokens": 10,
            "service_tier": None,
            "iterations": [
                {"type": "message", "model": "asked", "input_tokens": 90, "output_tokens": 5},
                {"type": "fallback_message", "model": "stand-in", "input_tokens": 100},
            ],
        },
    }
    about = {**ABOUT, "model": "asked", "provider": "anthropic", "service_tier": "priority"}
    with client.spend(acme.id, **about) as call:
        price("stand-in", 1000)  # holds from now on, not for what is under way
        call.see(message)
    usage = usage_of(call)
    assert usage.cost == Decimal("0.00167")  # 110 x 10 + 95 x 6
    assert usage.token_counts == {"input_tokens": 100, "output_tokens": 10}
    books.check(spent="0.00167")


def test_what_another_model_did_within_the_call_is_charged(
    client: Client, acme: Organization, books: Books
) -> None:
    client.set_price(
        "anthropic", "claude", {"input_tokens": Decimal(3), "output_tokens": Decimal(15)}
    )
    client.set_price(
        "anthropic", "advisor", {"input_tokens": Decimal(5), "output_tokens": Decimal(25)}
    )
    message = {
        "type": "message",
        "model": "claude",
        "usage": {
            "input_tokens": 100,
            "output_tokens": 10,
            "iterations": [
                {"type": "message", "input_tokens": 100, "output_tokens": 10},
                {
                    "type": "advisor_message",
                    "model": "advisor",
                    "input_tokens": 200,
                    "output_tokens": 20,
                },
            ],
        },
    }
    about = {**ABOUT, "model": "claude", "provider": "anthropic"}
    with client.spend(acme.id, **about) as call:
        call.see(message)
    usage = usage_of(call)
    assert usage.cost == Decimal("0.00195")  # 300 + 150 + 1000 + 500 millionths
    assert usage.token_counts == {"input_tokens": 100, "output_tokens": 10}
    books.check(spent="0.00195")


# Cancelled -------------------------------------------------------------------------------------


async def _cancelled(client: AsyncClient, acme: Organization, pieces: int) -> AsyncSpend:
    began = asyncio.Event()
    calls: list[AsyncSpend] = []

    async def work() -> None:
        async with client.spend(acme.id, **ABOUT) as call:
            calls.append(call)
            for event in streamed(pieces, with_usage=False):
                call.see(event)
            began.set()
            await asyncio.sleep(60)

    task = asyncio.create_task(work())
    await began.wait()
    task.cancel()
    with pytest.raises(asyncio.CancelledError):
        await task
    return calls[0]


def test_a_task_that_is_cancelled_releases(
    database: Database, acme: Organization, books: Books
) -> None:
    call = run(database, lambda client: _cancelled(client, acme, 0))
    assert call.released is not None
    assert call.released.reason == "CancelledError"
    books.check(spent="0", usages=0)


def test_a_task_that_is_cancelled_amid_a_stream_settles(
    database: Database, acme: Organization, books: Books
) -> None:
    with pytest.warns(UsageNotReported):
        call = run(database, lambda client: _cancelled(client, acme, 10))
    assert usage_of(call).cost_basis == "estimated"
    books.check(spent="0.0026", usages=1)


def test_a_task_that_is_cancelled_again_and_again_still_releases(
    database: Database, acme: Organization, books: Books
) -> None:
    async def work(client: AsyncClient) -> None:
        with anyio.CancelScope() as scope:
            async with client.spend(acme.id, **ABOUT) as call:
                calls.append(call)
                scope.cancel()  # cancels whatever is awaited, until it ends
                await anyio.sleep(60)
        assert scope.cancelled_caught

    calls: list[AsyncSpend] = []
    run(database, work)
    assert calls[0].released is not None
    books.check(spent="0", usages=0)


def test_a_task_that_is_cancelled_while_it_asks_holds_nothing(
    database: Database, acme: Organization, books: Books
) -> None:
    async def work(client: AsyncClient) -> AsyncSpend:
        call = client.spend(acme.id, **ABOUT)

        async def enter() -> None:
            async with call:
                pytest.fail("the block must not run")

        task = asyncio.create_task(enter())
        await asyncio.sleep(0)  # it has asked, and has no answer yet
        task.cancel()
        with pytest.raises(asyncio.CancelledError):
            await task
        return call

    call = run(database, work)
    assert call.released is not None
    assert call.released.held_usd == HELD
    books.check(spent="0", usages=0)


def test_a_timeout_releases(database: Database, acme: Organization, books: Books) -> None:
    async def work(client: AsyncClient) -> None:
        with pytest.raises(TimeoutError):
            async with asyncio.timeout(0.2), client.spend(acme.id, **ABOUT):
                await asyncio.sleep(60)

    run(database, work)
    books.check(spent="0", usages=0)


# Lost answers and lost races -------------------------------------------------------------------


class Unreliable(PsycopgTransport):
    """Carries the call, and then loses the answer; or loses the call, as often as it is told."""

    def __init__(self, pool: ConnectionPool[Any], errors: dict[str, list[Exception]]) -> None:
        super().__init__(pool)
        self.errors = errors
        self.carried: list[str] = []

    def run(self, request: Request[Any]) -> Any:
        name = getattr(request, "function", "")
        self.carried.append(name)
        answer = super().run(request)
        if self.errors.get(name):
            raise self.errors[name].pop()
        return answer


@pytest.fixture
def pool(database: Database) -> Iterator[ConnectionPool[Any]]:
    with ConnectionPool(database.url(), min_size=1, max_size=2) as pool:
        yield pool


def test_answers_that_are_lost_are_asked_for_again(
    pool: ConnectionPool[Any], acme: Organization, books: Books
) -> None:
    lost = psycopg.OperationalError("server closed the connection unexpectedly")
    errors: dict[str, list[Exception]] = {
        "authorize_spend": [lost, lost],
        "settle_spend": [lost, lost],
    }
    transport = Unreliable(pool, errors)
    with Client(transport).spend(acme.id, **ABOUT) as call:
        books.check(spent="0", held=HELD)
        call.see(response())
    assert transport.carried == ["authorize_spend"] * 3 + ["settle_spend"] * 3
    assert usage_of(call).cost == COST
    books.check(spent=COST, usages=1)


def test_a_release_that_is_lost_is_sent_again(
    pool: ConnectionPool[Any], acme: Organization, books: Books
) -> None:
    lost = RetryableError("lost a race", "40001")
    transport = Unreliable(pool, {"release_spend": [lost]})
    with pytest.raises(Refused), Client(transport).spend(acme.id, **ABOUT):
        raise Refused
    assert transport.carried == ["authorize_spend", "release_spend", "release_spend"]
    books.check(spent="0", usages=0)


class Down(PsycopgTransport):
    """Carries nothing once it is down."""

    down: type[Exception] | None = None

    def run(self, request: Request[Any]) -> Any:
        if self.down is not None:
            raise self.down("down")
        return super().run(request)


def test_a_settlement_that_cannot_be_sent_says_how_to_make_up_for_it(
    pool: ConnectionPool[Any], client: Client, acme: Organization, books: Books
) -> None:
    transport = Down(pool)
    with (
        pytest.raises(RuntimeError, match="down") as failure,
        Client(transport).spend(acme.id, **ABOUT) as call,
    ):
        call.see(response())
        transport.down = RuntimeError
    (note,) = failure.value.__notes__
    assert str(call.hold_id) in note
    assert "'output_tokens': 175" in note
    books.check(spent="0", held=HELD)
    client.settle_spend(
        call.hold_id,
        usage={"input_tokens": 600, "cache_read_tokens": 400, "output_tokens": 175},
    )
    books.check(spent=COST)


def test_an_error_of_the_block_is_not_hidden_by_another(
    pool: ConnectionPool[Any], acme: Organization
) -> None:
    transport = Down(pool)
    with pytest.raises(Refused) as failure, Client(transport).spend(acme.id, **ABOUT):
        transport.down = RuntimeError
        raise Refused
    assert "could not be settled or released" in failure.value.__notes__[0]


# Killed ----------------------------------------------------------------------------------------

VICTIM = """
import sys
from datetime import timedelta
from uuid import UUID

from tallystick import Client

client = Client(sys.argv[1])
with client.spend(UUID(sys.argv[2]), model="gpt-4o", input_tokens=1000, max_output_tokens=500,
                  expires_in=timedelta(seconds=1)):
    print("held", flush=True)
    sys.stdin.read()
"""


def test_the_money_of_a_process_that_is_killed_frees_itself(
    database: Database, client: Client, acme: Organization, books: Books
) -> None:
    client.set_budget(acme.id, "organization", None, "month", HELD)
    with subprocess.Popen(
        [sys.executable, "-c", textwrap.dedent(VICTIM), database.url(), str(acme.id)],
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
    ) as victim:
        assert victim.stdout is not None
        assert victim.stdout.readline() == b"held\n"
        assert not client.authorize_spend(acme.id, **ABOUT).granted
        victim.send_signal(signal.SIGKILL)
    decision = client.authorize_spend(acme.id, **ABOUT)
    for _ in range(200):  # the hold lasts a second
        if decision.granted:
            break
        asyncio.run(asyncio.sleep(0.02))
        decision = client.authorize_spend(acme.id, **ABOUT)
    assert decision.hold_id is not None
    usage = client.settle_spend(decision.hold_id, usage={"input_tokens": 1000})
    assert usage.cost == Decimal("0.0025")
    assert client.verify_integrity() == []
