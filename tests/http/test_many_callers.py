"""Many callers at once over one gateway: caps hold exactly, and nobody sees what is another's."""

import random
from collections import Counter
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from decimal import Decimal
from typing import Any
from uuid import uuid4

import httpx
import psycopg
import pytest

from tests.support.http import Http

CALLERS = 32
CALLS = 1000
CAP = Decimal("1.00")
EACH = Decimal("0.03")


@pytest.fixture(scope="module")
def crowd() -> Iterator[httpx.Client]:
    limits = httpx.Limits(max_connections=CALLERS, max_keepalive_connections=CALLERS)
    with httpx.Client(limits=limits, timeout=60) as client:
        yield client


@pytest.fixture(autouse=True)
def price(owner: psycopg.Connection) -> None:
    """What the model costs: a member's word for it is not enough."""
    owner.execute("select tests.price('m')")


def rpc(
    http: Http, caller: httpx.Client, who: Any, schema: str, function: str, **arguments: Any
) -> httpx.Response:
    return caller.post(
        f"{http.url}/rest/v1/rpc/{function}",
        headers={**http.headers(who), "content-profile": schema},
        json=arguments,
    )


@dataclass(frozen=True)
class Tenant:
    """An organization and who may act in it."""

    id: str
    who: Any


def open_organization(http: Http, caller: httpx.Client, who: Any, name: str) -> Tenant:
    answer = rpc(http, caller, who, "tenancy", "create_organization", p_name=name)
    assert answer.status_code == 200, answer.text
    return Tenant(answer.json()["id"], who)


@pytest.mark.parametrize("slots", [1, 16])
def test_32_callers_hold_the_cap_exactly(
    http: Http, crowd: httpx.Client, owner: psycopg.Connection, slots: int
) -> None:
    ada = open_organization(http, crowd, http.sign_up(), "Ada")
    cap = {"p_scope": "organization", "p_scope_id": None, "p_window": "month"}
    answer = rpc(
        http, crowd, ada.who, "metering", "set_budget",
        p_organization_id=ada.id, p_limit=str(CAP), p_slots=slots, **cap,
    )  # fmt: skip
    assert answer.status_code == 200, answer.text

    def spend(number: int) -> str:
        """Ask for one call as Ada; every second grant is settled by the server, for half."""
        asked = rpc(
            http, crowd, ada.who, "public", "authorize_spend",
            p_organization_id=ada.id, p_model="m", p_estimated_cost=str(EACH),
            p_request_id=str(number),
        )  # fmt: skip
        assert asked.status_code == 200, asked.text
        decision = asked.json()
        if decision["decision"] == "granted" and number % 2:
            settled = rpc(
                http, crowd, http.secret_key, "public", "settle_spend",
                p_hold_id=decision["hold_id"], p_cost=str(EACH / 2), p_organization_id=ada.id,
            )  # fmt: skip
            assert settled.status_code == 200, settled.text
        return str(decision["decision"])

    with ThreadPoolExecutor(CALLERS) as pool:
        decisions = Counter(pool.map(spend, range(4 * CALLERS)))
    assert set(decisions) == {"granted", "denied"}
    row = owner.execute(
        "select settled_usd + held_usd, remaining_usd from metering.budget_status"
        " where organization_id = %s and limit_usd is not null",
        (ada.id,),
    ).fetchone()
    assert row is not None
    used, remaining = row
    assert used + remaining == CAP
    assert 0 <= remaining < EACH  # not one more would have fitted, and not one too many was let in
    findings = owner.execute("select * from audit.verify_integrity(%s)", (ada.id,)).fetchall()
    assert findings == []


def test_1000_mixed_calls_by_five_identities_leak_nothing(
    http: Http, crowd: httpx.Client, owner: psycopg.Connection
) -> None:
    ada = open_organization(http, crowd, http.sign_up(), f"Ada {uuid4()}")
    bob = open_organization(http, crowd, http.sign_up(), f"Bob {uuid4()}")
    viewer = http.sign_up()
    owner.execute(
        "insert into tenancy.memberships (organization_id, user_id, role)"
        " values (%s, %s, 'viewer')",
        (ada.id, viewer.id),
    )
    names = dict(
        owner.execute("select id::text, name from tenancy.organizations where id = any(%s)",
                      ([ada.id, bob.id],)).fetchall()
    )  # fmt: skip
    secrets_of = {tenant.id: {tenant.id, names[tenant.id]} for tenant in (ada, bob)}

    # Who, which organizations are theirs, and whether they may spend.
    identities: list[tuple[Any, set[str], bool]] = [
        (ada.who, {ada.id}, True),
        (bob.who, {bob.id}, True),
        (viewer, {ada.id}, False),
        (http.secret_key, {ada.id, bob.id}, True),
        (None, set(), False),
    ]

    def read(table: str, schema: str, columns: str) -> Callable[[Any, str], httpx.Response]:
        def ask(who: Any, organization: str) -> httpx.Response:
            return crowd.get(
                f"{http.url}/rest/v1/{table}?select={columns}",
                headers={**http.headers(who), "accept-profile": schema},
            )

        return ask

    def call(schema: str, function: str, **arguments: Any) -> Callable[[Any, str], httpx.Response]:
        return lambda who, organization: rpc(
            http, crowd, who, schema, function, p_organization_id=organization, **arguments
        )

    reads = [
        read("organizations", "tenancy", "id,name"),
        read("ai_usage_ledger", "public", "*"),
        read("holds", "metering", "*"),
        read("budget_status", "metering", "*"),
        read("memberships", "tenancy", "*"),
    ]
    questions = [
        call("public", "get_organization_monthly_ai_cost"),
        call("public", "check_organization_monthly_quota"),
    ]
    spends = [call("public", "authorize_spend", p_model="m", p_estimated_cost="0.001")]

    def one(number: int) -> str:
        dice = random.Random(number)
        who, own, may_spend = dice.choice(identities)
        organization = dice.choice([ada.id, bob.id])
        ask = dice.choice([*reads, *questions, *spends])
        answer = ask(who, organization)
        if who is None:
            expected = (401, "42501")
        elif ask in reads or (organization in own and (may_spend or ask not in spends)):
            expected = (200, None)
        else:
            expected = (403, "42501")
        body = answer.json()
        code = body.get("code") if isinstance(body, dict) else None
        assert (answer.status_code, code) == expected, (number, answer.text)
        if ask in reads and who not in (None, http.secret_key):
            assert {row.get("organization_id") or row["id"] for row in body} <= own, number
        # Nothing of another tenant stands anywhere in the answer, except what the caller stated.
        for tenant, words in secrets_of.items():
            if tenant not in own and ask in reads:
                assert not any(word in answer.text for word in words), number
        return f"{answer.status_code}"

    with ThreadPoolExecutor(16) as pool:
        statuses = Counter(pool.map(one, range(CALLS)))
    assert sum(statuses.values()) == CALLS
    assert min(statuses[each] for each in ("200", "401", "403")) > 50
    leftover = owner.execute(
        "select count(*) from metering.holds where organization_id = any(%s)"
        " and user_id is not null and user_id <> all(%s)",
        ([ada.id, bob.id], [ada.who.id, bob.who.id]),
    ).fetchone()
    assert leftover == (0,)  # nobody spent in somebody else's name
