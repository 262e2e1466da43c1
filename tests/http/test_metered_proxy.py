"""The metered proxy, as an application meets it: through the openai package, by a signed-in user.

The provider behind it speaks the real wire format and answers as planned. After each call the
ledger has exactly the rows it must have, and no hold is left.
"""

import asyncio
import base64
import hmac
import json
import threading
import time
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from decimal import Decimal
from typing import Any
from uuid import UUID, uuid4

import httpx
import openai
import pytest

from tests.support.http import Http, Person
from tests.support.patience import PATIENCE, eventually
from tests.support.provider import KEY, PIECES, Answer, Failure, Provider

MODEL = "proxied-model"
RATES = '{"input_tokens": 2.5, "cache_read_tokens": 1.25, "output_tokens": 10}'
# 200 uncached, 1,000 cached, 300 generated, of them 100 unseen.
COST = Decimal("0.00475")
USAGE = {
    "input_tokens": 200,
    "cache_read_tokens": 1000,
    "output_tokens": 200,
    "reasoning_tokens": 100,
}
MESSAGES: Any = [{"role": "user", "content": "Say hello to the world, please."}]
# As the proxy estimates them: a third of the bytes, and 4 for the message.
MESSAGE_TOKENS = 4 + 25
ZERO = Decimal(0)


def priced(output_tokens: int) -> Decimal:
    """Return what the messages cost with an answer of so many tokens."""
    return MESSAGE_TOKENS * Decimal("0.0000025") + output_tokens * Decimal("0.00001")


@dataclass(frozen=True)
class Team:
    """An organization with its owner, who calls models through the proxy."""

    http: Http
    id: UUID
    owner: Person

    @property
    def base_url(self) -> str:
        """What the openai package is told."""
        return f"{self.http.url}/functions/v1/metered-proxy/v1"

    def openai(self, person: Person | None = None, **options: Any) -> openai.OpenAI:
        """Return the real client, as a person; a moment after which it gives up is enough."""
        settings = {"max_retries": 0, "timeout": PATIENCE, **options}
        return openai.OpenAI(
            api_key=(person or self.owner).token, base_url=self.base_url, **settings
        )

    def query(self, statement: str, *arguments: object) -> list[tuple[Any, ...]]:
        """Ask the database."""
        with self.http.database.connect() as connection:
            cursor = connection.execute(statement, arguments)
            return cursor.fetchall() if cursor.description else []

    def usages(self) -> list[tuple[str, Decimal, dict[str, int], str, str]]:
        """Return what the ledger has of this organization, in order."""
        return self.query(
            "select model, cost, token_counts, cost_basis::text, settlement::text"
            " from ai_usage_ledger where organization_id = %s order by id",
            self.id,
        )

    def holds(self) -> list[tuple[str, str | None]]:
        """Return state and reason of the holds that are kept."""
        return self.query(
            "select state::text, reason from metering.holds where organization_id = %s order by id",
            self.id,
        )

    def counters(self) -> tuple[Decimal, Decimal]:
        """Return what is settled and held by the counters."""
        ((settled, held),) = self.query(
            "select settled_usd, held_usd from metering.budget_status"
            " where organization_id = %s and budget_id = %s",
            *(self.id, self.id),
        )
        return settled, held

    def cap(self, limit: str, window: str = "total") -> None:
        """Set a budget of the organization."""
        self.query(
            "select from metering.set_budget(%s, 'organization', null, %s, %s)",
            *(self.id, window, Decimal(limit)),
        )


@pytest.fixture
def team(http: Http, provider: Provider) -> Team:
    """A new organization, its owner signed up; the provider starts anew."""
    provider.plan()
    owner = http.sign_up()
    team = Team(http, uuid4(), owner)
    team.query("insert into tenancy.organizations (id, name) values (%s, 'Team')", team.id)
    join(team, owner, "owner")
    team.query("select from pricing.set_price('fake', %s, %s)", MODEL, RATES)
    return team


def join(team: Team, person: Person, role: str) -> None:
    """Make a person a member."""
    team.query(
        "insert into tenancy.memberships (organization_id, user_id, role) values (%s, %s, %s)",
        *(team.id, person.id, role),
    )


def ask(client: openai.OpenAI, **options: Any) -> Any:
    """Ask for a completion."""
    return client.chat.completions.create(
        **{"model": MODEL, "messages": MESSAGES, "max_tokens": 400, **options}
    )


def token(http: Http, claims: dict[str, object]) -> str:
    """Sign a token, as Auth would."""
    parts = [{"alg": "HS256", "typ": "JWT"}, claims]
    encoded = [base64.urlsafe_b64encode(json.dumps(p).encode()).rstrip(b"=") for p in parts]
    signed = hmac.digest(http.jwt_secret.encode(), b".".join(encoded), "sha256")
    return b".".join([*encoded, base64.urlsafe_b64encode(signed).rstrip(b"=")]).decode()


def leave(team: Team, provider: Provider, **options: Any) -> None:
    """Ask for a completion, and leave once the provider has been asked."""

    async def ask_and_leave() -> None:
        async with openai.AsyncOpenAI(
            api_key=team.owner.token, base_url=team.base_url, max_retries=0
        ) as client:
            request = {"model": MODEL, "messages": MESSAGES, "max_tokens": 400, **options}
            asking = asyncio.create_task(client.chat.completions.create(**request))
            await asyncio.to_thread(provider.wait_for_request)
            asking.cancel()
            with pytest.raises(asyncio.CancelledError):
                await asking

    asyncio.run(ask_and_leave())


def settled_as(team: Team, *usages: tuple[Decimal, dict[str, int], str]) -> None:
    """Check that the ledger has these rows, the counters their sum, and that nothing is held."""
    rows = [(MODEL, cost, counts, basis, "on_hold") for cost, counts, basis in usages]
    assert team.usages() == rows
    assert [hold for hold in team.holds() if hold[0] == "open"] == []
    assert team.counters() == (sum((cost for cost, _, _ in usages), ZERO), ZERO)
    assert team.query("select * from audit.verify_integrity(%s)", team.id) == []


# Answered


def test_a_call_is_settled_by_what_the_provider_says(team: Team, provider: Provider) -> None:
    """An answer comes as it is, and costs what its usage costs, to the last digit."""
    with team.openai() as client:
        raw = client.chat.completions.with_raw_response.create(
            model=MODEL, messages=MESSAGES, max_tokens=400
        )
    answer = raw.parse()
    assert answer.choices[0].message.content == "".join(PIECES)
    assert answer.usage is not None
    assert answer.usage.prompt_tokens == 1200
    assert Decimal(raw.headers["x-tallystick-cost-usd"]) == COST
    assert Decimal(raw.headers["x-tallystick-held-usd"]) == priced(400)
    settled_as(team, (COST, USAGE, "priced"))
    ((usage_id, user_id),) = team.query(
        "select id, user_id from ai_usage_ledger where organization_id = %s", team.id
    )
    assert (str(usage_id), user_id) == (raw.headers["x-tallystick-hold-id"], team.owner.id)
    assert provider.keys == [f"Bearer {KEY}"]


def test_a_stream_is_settled_at_its_end(team: Team, provider: Provider) -> None:
    """A stream comes piece by piece; its usage is read, and not passed on to who did not ask."""
    with team.openai() as client:
        chunks = list(ask(client, stream=True))
    assert [piece for c in chunks if (piece := c.choices[0].delta.content)] == list(PIECES)
    assert not any(chunk.usage for chunk in chunks)
    settled_as(team, (COST, USAGE, "priced"))
    assert provider.requests[0]["stream_options"] == {"include_usage": True}


def test_a_stream_reports_its_usage_to_who_asks(team: Team) -> None:
    """The last chunk is the provider's own."""
    with team.openai() as client:
        chunks = list(ask(client, stream=True, stream_options={"include_usage": True}))
    assert chunks[-1].choices == []
    assert chunks[-1].usage.total_tokens == 1500
    settled_as(team, (COST, USAGE, "priced"))


def test_the_first_piece_does_not_wait_for_the_last(team: Team, provider: Provider) -> None:
    """What came is passed on at once; until the end it is held and not yet settled."""
    go = threading.Event()
    provider.plan(Answer(go=go))
    with team.openai() as client:
        stream = iter(ask(client, stream=True))
        next(stream)
        assert next(stream).choices[0].delta.content == PIECES[0]
        assert team.usages() == []
        assert [state for state, _ in team.holds()] == ["open"]
        go.set()
        assert len(list(stream)) == len(PIECES)
    settled_as(team, (COST, USAGE, "priced"))


def test_an_answer_without_a_usage_is_estimated(team: Team, provider: Provider) -> None:
    """It is charged the prompt as it was held for, and the length of what came."""
    provider.plan(Answer(usage=None), Answer(usage=None))
    with team.openai() as client:
        ask(client)
        list(ask(client, stream=True))
    whole = {"input_tokens": MESSAGE_TOKENS, "output_tokens": 4}
    pieces = {**whole, "output_tokens": 5}
    settled_as(
        team,
        (priced(4), whole, "estimated"),
        (priced(5), pieces, "estimated"),
    )


@pytest.mark.parametrize("stream", [False, True])
def test_what_cannot_be_read_is_paid_for_all_the_same(
    team: Team, provider: Provider, stream: bool
) -> None:
    """Whose usage can be read costs that, and is passed on; of another it is estimated."""
    usage = {"prompt_tokens": 1000, "completion_tokens": 100}
    odd = json.dumps({"choices": [None], "usage": usage}).encode()
    provider.plan(Answer(raw=odd), Answer(raw=b"?" * 40), Answer(raw=b'{"error": {}}'))
    body = {"model": MODEL, "messages": MESSAGES, "max_tokens": 400, "stream": stream}

    def post() -> httpx.Response:
        return httpx.post(
            f"{team.base_url}/chat/completions",
            json=body,
            headers={"authorization": f"Bearer {team.owner.token}"},
        )

    read, unread, failed = post(), post(), post()
    assert (read.status_code, read.content) == (200, odd)
    for answer in (unread, failed):
        assert (answer.status_code, answer.json()["error"]["code"]) == (502, "provider_error")
    settled_as(
        team,
        (Decimal("0.0035"), {"input_tokens": 1000, "output_tokens": 100}, "priced"),
        (priced(10), {"input_tokens": MESSAGE_TOKENS, "output_tokens": 10}, "estimated"),
    )
    assert team.holds() == [("released", "provider_error")]


def test_the_tier_that_served_is_charged(team: Team, provider: Provider) -> None:
    """Where another tier served than was asked for, that one's price holds."""
    team.query(
        "select from pricing.set_price('fake', %s, %s, p_service_tier => 'flex')",
        *(MODEL, '{"input_tokens": 1, "output_tokens": 5}'),
    )
    provider.plan(Answer(extra={"service_tier": "flex"}))
    with team.openai() as client:
        ask(client)
    ((cost, tier),) = team.query(
        "select cost, service_tier from ai_usage_ledger where organization_id = %s", team.id
    )
    assert (cost, tier) == (Decimal("0.0027"), "flex")


@pytest.mark.parametrize("stream", [False, True])
def test_another_model_that_answers_is_never_charged_below_its_price(
    team: Team, provider: Provider, stream: bool
) -> None:
    """A dearer one as what it costs, a cheaper or an unknown one as what was asked for."""
    for name, rates in (
        ("dear", '{"input_tokens": 25, "output_tokens": 100}'),
        ("cheap", '{"input_tokens": 0.25, "output_tokens": 1}'),
    ):
        team.query("select from pricing.set_price('fake', %s, %s)", name, rates)
    names = ["dear", "cheap", "unheard-of", f"{MODEL}-2026-01-31"]
    provider.plan(*[Answer(extra={"model": name}) for name in names])
    with team.openai() as client:
        for _ in names:
            answer = ask(client, stream=stream)
            assert not stream or list(answer)
    assert [(cost, basis) for _, cost, _, basis, _ in team.usages()] == [
        (Decimal("0.06"), "stated"),
        *[(COST, "priced")] * 3,
    ]
    assert team.query("select * from audit.verify_integrity(%s)", team.id) == []


def test_headers_say_what_a_call_belongs_to(team: Team, provider: Provider) -> None:
    """Workflow, tags and organization arrive in the ledger, and not at the provider."""
    ((workflow,),) = team.query("select tests.workflow(%s)", team.id)
    headers = {"x-tallystick-workflow-id": str(workflow), "x-tallystick-tags": "feature=chat"}
    with team.openai(organization=str(team.id)) as client:
        ask(client, extra_headers=headers)
    rows = team.query(
        "select workflow_id, tags from ai_usage_ledger where organization_id = %s", team.id
    )
    assert rows == [(workflow, {"feature": "chat"})]
    sent = {"model": MODEL, "messages": MESSAGES, "max_completion_tokens": 400}
    assert provider.requests[0] == sent


# Left and failed


def test_a_caller_who_leaves_a_stream_pays_for_what_came(team: Team, provider: Provider) -> None:
    """The provider is told to stop, and what it had sent is estimated."""
    provider.plan(Answer(go=threading.Event()))
    with team.openai() as client:
        stream = ask(client, stream=True)
        events = iter(stream)
        next(events)
        next(events)
        stream.close()
    eventually(team.usages)
    assert provider.left.wait(PATIENCE), "the provider still streams"
    counts = {"input_tokens": MESSAGE_TOKENS, "output_tokens": 1}
    settled_as(team, (priced(1), counts, "estimated"))


def test_a_caller_who_leaves_before_a_stream_begins_pays_for_the_prompt(
    team: Team, provider: Provider
) -> None:
    """Not every runtime tells that a caller is gone before there is something to send.

    Then the first piece tells it, which the caller pays for.
    """
    begin = threading.Event()
    provider.plan(Answer(begin=begin, go=threading.Event()))
    leave(team, provider, stream=True)
    begin.set()
    eventually(team.usages)
    ((_, _, counts, _, _),) = team.usages()
    pieces = counts.get("output_tokens", 0)
    assert pieces <= 1
    first = {"output_tokens": pieces} if pieces else {}
    settled_as(team, (priced(pieces), {"input_tokens": MESSAGE_TOKENS, **first}, "estimated"))


def test_a_caller_who_leaves_before_the_answer_pays_for_it(team: Team, provider: Provider) -> None:
    """What an answer as a whole used is known at its end, so it is waited for."""
    go = threading.Event()
    provider.plan(Answer(go=go))
    leave(team, provider)
    assert [state for state, _ in team.holds()] == ["open"]
    go.set()
    eventually(team.usages)
    settled_as(team, (COST, USAGE, "priced"))


@pytest.mark.parametrize("stream", [False, True])
def test_a_provider_that_fails_costs_nothing(team: Team, provider: Provider, stream: bool) -> None:
    """Each attempt of the package is held and released."""
    provider.plan(*[Failure(500, {"message": f"internal {KEY}"})] * 3)
    with team.openai(max_retries=2) as client, pytest.raises(openai.InternalServerError) as failed:
        ask(client, stream=stream)
    assert (failed.value.status_code, failed.value.code) == (502, "provider_error")
    assert KEY not in failed.value.response.text
    assert len(provider.requests) == 3
    assert team.holds() == [("released", "provider_error")] * 3
    settled_as(team)


def test_a_retry_after_a_failure_is_charged_once(team: Team, provider: Provider) -> None:
    """The same request, failed and made again: one row, of the attempt that was answered."""
    provider.plan(Failure(503), Failure(429, headers={"retry-after": "1"}))
    with team.openai(max_retries=2) as client:
        ask(client, extra_headers={"Idempotency-Key": "once"})
    assert len(provider.requests) == 3
    settled_as(team, (COST, USAGE, "priced"))


def test_the_providers_rate_limit_is_passed_on(team: Team, provider: Provider) -> None:
    """With how long to wait, and without the provider's words about our account."""
    error = {"message": "Rate limit reached in organization org-ours", "type": "tokens"}
    provider.plan(Failure(429, error, {"retry-after": "7"}))
    with team.openai() as client, pytest.raises(openai.RateLimitError) as limited:
        ask(client)
    assert limited.value.code == "provider_rate_limited"
    assert limited.value.response.headers["retry-after"] == "7"
    assert "org-ours" not in limited.value.response.text
    assert team.holds() == [("released", "provider_rate_limited")]
    settled_as(team)


def test_a_provider_that_takes_too_long_is_given_up(team: Team, provider: Provider) -> None:
    """The hold is given back; the provider's timeout here is 3 seconds."""
    provider.plan(Answer(go=threading.Event()))
    with team.openai() as client, pytest.raises(openai.InternalServerError) as late:
        ask(client)
    assert (late.value.status_code, late.value.code) == (504, "provider_timeout")
    assert team.holds() == [("released", "provider_timeout")]
    settled_as(team)


def test_a_stream_that_breaks_off_is_an_error_and_is_paid_for(
    team: Team, provider: Provider
) -> None:
    """The package raises, so nobody takes a part for the whole."""
    provider.plan(Answer(cut_after=3))
    with team.openai() as client:
        stream = ask(client, stream=True)
        pieces = [next(stream).choices[0].delta.content for _ in range(4)]
        with pytest.raises(openai.APIError) as broken:
            next(stream)
    assert pieces == ["", *PIECES[:3]]
    assert broken.value.code == "provider_error"
    counts = {"input_tokens": MESSAGE_TOKENS, "output_tokens": 3}
    settled_as(team, (priced(3), counts, "estimated"))


def test_what_the_provider_says_of_a_request_is_passed_on(team: Team, provider: Provider) -> None:
    """In its own words, without our key, and not tried again."""
    error = {"message": f"too long, {KEY}", "code": "context_length_exceeded", "param": "messages"}
    provider.plan(Failure(400, error))
    with team.openai(max_retries=2) as client, pytest.raises(openai.BadRequestError) as refused:
        ask(client)
    assert (refused.value.code, refused.value.param) == ("context_length_exceeded", "messages")
    assert "too long" in refused.value.message
    assert KEY not in refused.value.response.text
    assert len(provider.requests) == 1
    settled_as(team)


def test_a_key_the_provider_does_not_accept_is_not_the_callers(
    team: Team, provider: Provider
) -> None:
    """The caller is signed in all right, and is not told about our key."""
    provider.plan(Failure(401, {"message": f"Incorrect API key provided: {KEY}"}))
    with team.openai(max_retries=2) as client, pytest.raises(openai.InternalServerError) as broken:
        ask(client)
    assert (broken.value.status_code, broken.value.code) == (502, "provider_refused")
    assert KEY not in broken.value.response.text
    settled_as(team)


# Denied


def test_a_cap_that_is_reached_is_402(team: Team, provider: Provider) -> None:
    """With what is left, and for how long an answer that would do."""
    team.cap("0.003")
    with team.openai(max_retries=2) as client, pytest.raises(openai.APIStatusError) as denied:
        ask(client)
    assert denied.value.status_code == 402
    assert denied.value.code == "budget_exceeded"
    assert denied.value.type == "insufficient_quota"
    body: Any = denied.value.body
    assert (body["remaining_usd"], body["resets_at"]) == ("0.003", None)
    assert denied.value.response.headers["x-tallystick-remaining-usd"] == "0.003"
    assert body["affordable_output_tokens"] == 292
    with team.openai() as client:
        ask(client, max_tokens=292)
    assert len(provider.requests) == 1


def test_a_cap_that_resets_is_429(team: Team, provider: Provider) -> None:
    """With when it resets; the package does not wait for the month to end."""
    team.cap("0.003", "month")
    with team.openai(max_retries=2) as client, pytest.raises(openai.RateLimitError) as denied:
        ask(client)
    assert denied.value.code == "budget_exceeded"
    body: Any = denied.value.body
    headers = denied.value.response.headers
    assert body["remaining_usd"] == headers["x-tallystick-remaining-usd"] == "0.003"
    assert body["resets_at"] == headers["x-tallystick-resets-at"]
    assert int(headers["retry-after"]) > 0
    assert provider.requests == []
    settled_as(team)


def test_many_callers_hold_the_cap_exactly(team: Team, provider: Provider) -> None:
    """Of 16 at once as many are answered as the cap pays for, and no more."""
    team.cap(str(5 * priced(400)))
    go = threading.Event()
    provider.plan(
        *[Answer(usage={"prompt_tokens": MESSAGE_TOKENS, "completion_tokens": 400}, go=go)] * 16
    )

    def attempt(_: int) -> int:
        with team.openai() as client:
            try:
                list(ask(client, stream=True))
            except openai.APIStatusError as denied:
                return denied.status_code
        return 200

    with ThreadPoolExecutor(16) as callers:
        running = [callers.submit(attempt, number) for number in range(16)]
        eventually(lambda: sum(task.done() for task in running) == 11)
        go.set()
        statuses = sorted(task.result() for task in running)
    assert statuses == [200] * 5 + [402] * 11
    assert team.counters() == (5 * priced(400), ZERO)


def test_a_model_without_a_price_is_unknown(team: Team, provider: Provider) -> None:
    """Nobody knows what it would cost, so it is not called."""
    with team.openai() as client, pytest.raises(openai.NotFoundError) as unknown:
        ask(client, model="unheard-of")
    assert (unknown.value.code, unknown.value.param) == ("model_not_found", "model")
    assert provider.requests == []


def test_a_frozen_organization_is_refused(team: Team, provider: Provider) -> None:
    """Money would not help."""
    team.query("select metering.freeze(%s)", team.id)
    with team.openai() as client, pytest.raises(openai.PermissionDeniedError) as frozen:
        ask(client)
    assert frozen.value.code == "frozen"
    assert provider.requests == []


# Who may


def test_only_signed_in_users_are_answered(team: Team, http: Http, provider: Provider) -> None:
    """No token, no valid one, none that has expired, and no API key, whichever."""
    expired, service = (
        token(http, {"sub": str(team.owner.id), "role": role, "exp": int(time.time()) + seconds})
        for role, seconds in (("authenticated", -60), ("service_role", 600))
    )
    keys = ["", "nonsense", expired, service, http.publishable_key, http.secret_key]
    for key in keys:
        answer = httpx.post(
            f"{team.base_url}/chat/completions",
            json={"model": MODEL, "messages": MESSAGES},
            headers={"authorization": f"Bearer {key}"} if key else {},
        )
        assert (answer.status_code, answer.json()["error"]["code"]) == (401, "invalid_api_key")
    assert provider.requests == []


def test_strangers_and_viewers_spend_nothing(team: Team, http: Http, provider: Provider) -> None:
    """Who belongs to no organization, to another, or only looks on."""
    stranger, viewer = http.sign_up(), http.sign_up()
    join(team, viewer, "viewer")
    cases = [(stranger, None), (stranger, str(team.id)), (viewer, None), (team.owner, str(uuid4()))]
    for person, organization in cases:
        with (
            team.openai(person, organization=organization) as client,
            pytest.raises(openai.PermissionDeniedError) as denied,
        ):
            ask(client)
        assert denied.value.code == "permission_denied"
    assert provider.requests == []
    settled_as(team)


def test_who_belongs_to_several_organizations_names_one(team: Team, provider: Provider) -> None:
    """The package's organization says which."""
    other = Team(team.http, uuid4(), team.owner)
    team.query("insert into tenancy.organizations (id, name) values (%s, 'Other')", other.id)
    join(other, team.owner, "member")
    with team.openai() as client, pytest.raises(openai.BadRequestError) as unclear:
        ask(client)
    assert unclear.value.code == "organization_required"
    with team.openai(organization=str(other.id)) as client:
        ask(client)
    settled_as(team)
    settled_as(other, (COST, USAGE, "priced"))


# Once


def test_a_request_that_was_paid_is_not_made_again(team: Team, provider: Provider) -> None:
    """Its answer is not kept, so the caller is told, and not charged twice."""
    headers = {"Idempotency-Key": "once"}
    with team.openai(max_retries=2) as client:
        ask(client, extra_headers=headers)
        with pytest.raises(openai.ConflictError) as again:
            ask(client, extra_headers=headers)
    assert again.value.code == "request_settled"
    assert len(provider.requests) == 1
    settled_as(team, (COST, USAGE, "priced"))


def test_a_retry_meets_the_first_attempt_under_way(team: Team, provider: Provider) -> None:
    """A caller who lost patience asks again while the provider still answers: it is asked once."""
    go = threading.Event()
    provider.plan(Answer(go=go))
    headers = {"Idempotency-Key": "once"}
    leave(team, provider, extra_headers=headers)
    with team.openai() as client, pytest.raises(openai.ConflictError) as met:
        ask(client, extra_headers=headers)
    assert met.value.code == "request_in_progress"
    assert met.value.response.headers["x-should-retry"] == "true"
    go.set()
    eventually(team.usages)
    assert len(provider.requests) == 1
    settled_as(team, (COST, USAGE, "priced"))


def test_a_member_does_not_release_what_is_being_spent(
    team: Team, http: Http, provider: Provider
) -> None:
    """Else its money would be granted again while the provider answers, past every cap."""
    member = http.sign_up()
    join(team, member, "member")
    go = threading.Event()
    provider.plan(Answer(go=go))
    with team.openai(member) as client:
        stream = iter(ask(client, stream=True))
        next(stream)
        ((hold,),) = team.query("select id from metering.holds where organization_id = %s", team.id)
        refused = http.caller.post(
            f"{http.url}/rest/v1/rpc/release_spend",
            headers=http.headers(member),
            json={"p_hold_id": str(hold)},
        )
        assert (refused.status_code, refused.json()["code"]) == (403, "42501")
        go.set()
        assert len(list(stream)) == len(PIECES) + 1
    settled_as(team, (COST, USAGE, "priced"))


def test_of_many_retries_at_once_one_is_made(team: Team, provider: Provider) -> None:
    """Whatever they race for, the provider is asked once and one of them is answered."""
    go = threading.Event()
    provider.plan(*[Answer(go=go)] * 8)

    def attempt(_: int) -> str:
        with team.openai() as client:
            try:
                list(ask(client, stream=True, extra_headers={"Idempotency-Key": "once"}))
            except openai.ConflictError as met:
                return str(met.code)
        return "answered"

    with ThreadPoolExecutor(8) as callers:
        running = [callers.submit(attempt, number) for number in range(8)]
        eventually(lambda: sum(task.done() for task in running) == 7)
        go.set()
        answers = sorted(task.result() for task in running)
    assert answers == ["answered", *["request_in_progress"] * 7]
    assert len(provider.requests) == 1
    settled_as(team, (COST, USAGE, "priced"))


def test_a_request_id_is_for_one_request(team: Team, provider: Provider) -> None:
    """The same id with another content is a mistake, and not tried again."""
    headers = {"Idempotency-Key": "once"}
    with team.openai(max_retries=2) as client:
        ask(client, extra_headers=headers)
        with pytest.raises(openai.ConflictError) as other:
            ask(client, extra_headers=headers, max_tokens=5)
    assert other.value.code == "request_conflict"
    assert len(provider.requests) == 1


# Asked wrongly


@pytest.mark.parametrize("wrong", [{"model": "m\0"}, {"service_tier": "\0"}, {"model": "m\ud800"}])
def test_letters_the_database_has_not_are_a_mistake(
    team: Team, provider: Provider, wrong: dict[str, str]
) -> None:
    """And no reason to try again."""
    refused = httpx.post(
        f"{team.base_url}/chat/completions",
        content=json.dumps({"model": MODEL, "messages": MESSAGES, **wrong}),
        headers={"authorization": f"Bearer {team.owner.token}"},
    )
    assert (refused.status_code, refused.json()["error"]["code"]) == (400, "invalid_value")
    assert provider.requests == []


def test_a_mistake_is_named(team: Team, provider: Provider) -> None:
    """Before anything is held."""
    with team.openai() as client, pytest.raises(openai.BadRequestError) as wrong:
        ask(client, n=0)
    assert (wrong.value.code, wrong.value.param) == ("invalid_value", "n")
    assert provider.requests == []
    assert team.holds() == []


def test_browsers_may_call(team: Team) -> None:
    """From any page, with the headers the openai package sends."""
    url = f"{team.base_url}/chat/completions"
    asked = {
        "origin": "https://app.example",
        "access-control-request-method": "POST",
        "access-control-request-headers": "authorization,content-type,x-stainless-lang",
    }
    allowed = httpx.options(url, headers=asked)
    assert allowed.status_code < 300
    assert allowed.headers["access-control-allow-origin"] == "*"
    refused = httpx.post(url, json={}, headers={"origin": "https://app.example"})
    assert refused.headers["access-control-allow-origin"] == "*"


def test_other_paths_are_not_there(team: Team) -> None:
    """The error is one the package reads."""
    with team.openai() as client, pytest.raises(openai.NotFoundError) as missing:
        client.models.list()
    assert missing.value.code == "not_found"
