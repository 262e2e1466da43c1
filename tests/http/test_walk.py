"""One walk, three ways: supabase-js, supabase-py and plain HTTP give the same decimals and codes.

Two people sign up and open organizations; one spends, is denied, pays in advance and disputes. The
server settles with the secret key.
"""

import json
from collections.abc import Callable
from decimal import Decimal
from functools import partial
from pathlib import Path
from typing import Any
from uuid import UUID, uuid4

import httpx
import psycopg
import pytest
from supabase.lib.client_options import SyncClientOptions

import supabase
from tallystick import Client, TallystickError
from tallystick.transports.supabase import SupabaseTransport
from tests.support.deno import run_deno
from tests.support.http import Http, Person

TREE = Path(__file__).parents[2]
FUNCTIONS = TREE / "supabase" / "functions"
MODEL = "walked-model"
RATES = '{"input_tokens": 2.5, "cache_read_tokens": 1.25, "output_tokens": 10}'
USED = {"input_tokens": 200, "cache_read_tokens": 1000, "output_tokens": 300}
SETTLED = ["0.004750000000", "priced", "on_hold"]
EXPECTED = {
    "limit": "0.010000000000",
    "authorized": ["granted", "0.008", True],
    "settledAsUser": "42501",
    "recordedAsUser": "42501",
    "settled": SETTLED,
    "settledAgain": SETTLED,
    "spend": [[MODEL, 1, "0.004750000000"]],
    "spendOfOthers": [],
    "authorizedForOthers": "42501",
    "denied": ["denied", "budget_exceeded", "0.00525", 225],
    "reconciled": ["RECONCILED", "0.875000000000", "0.000000000000"],
    "disputedByOthers": "TS404",
    "disputed": "DISPUTED",
    "resolvedAsUser": "42501",
    "resolved": "RESOLVED",
    "disputedTooLate": "TS410",
    "balance": "9.000000000000",
}


@pytest.fixture(autouse=True)
def price(owner: psycopg.Connection) -> None:
    """What the model costs, for all three."""
    owner.execute("select from pricing.set_price('fake', %s, %s)", (MODEL, RATES))


def test_supabase_js(http: Http) -> None:
    """In Deno, typed by the types that are generated from the schema."""
    told = run_deno(
        "run",
        "--quiet",
        "--check",
        "--frozen",
        "--allow-net",
        "--allow-env",
        f"--config={FUNCTIONS / 'deno.json'}",
        f"--lock={FUNCTIONS / 'deno.lock'}",
        str(Path(__file__).with_name("walk.ts")),
        stdin=json.dumps(
            {
                "url": http.url,
                "publishableKey": http.publishable_key,
                "secretKey": http.secret_key,
                "model": MODEL,
            }
        ),
    )
    assert json.loads(told) == EXPECTED


def test_supabase_py(http: Http) -> None:
    """With the client of this project, over supabase-py."""
    with httpx.Client() as connections:
        acme, rival, server = (
            supabase.create_client(http.url, key, SyncClientOptions(httpx_client=connections))
            for key in (http.publishable_key, http.publishable_key, http.secret_key)
        )
        assert walk_by_supabase_py(acme, rival, server) == EXPECTED


def walk_by_supabase_py(
    acme_session: supabase.Client, rival_session: supabase.Client, secret: supabase.Client
) -> dict[str, Any]:
    """Walk, and return what came of each step."""
    for session in (acme_session, rival_session):
        session.auth.sign_up({"email": f"{uuid4()}@example.org", "password": uuid4().hex})
    acme, rival, server = (
        Client(SupabaseTransport(one)) for one in (acme_session, rival_session, secret)
    )
    result: dict[str, Any] = {}
    organization, other = acme.create_organization("Acme"), rival.create_organization("Rival")
    workflow = acme.upsert_intent_workflow(uuid4(), organization.id, {})
    budget = acme.set_budget(organization.id, "organization", "", "total", Decimal("0.01"))
    result["limit"] = digits(budget.limit_usd)

    authorize = partial(acme.authorize_spend, model=MODEL, input_tokens=1200, max_output_tokens=500)
    granted, again = (authorize(organization.id, request_id="once") for _ in range(2))
    result["authorized"] = [
        granted.decision,
        digits(granted.held_usd),
        again.hold_id == granted.hold_id,
    ]
    assert granted.hold_id is not None
    result["settledAsUser"] = refusal(acme.settle_spend, granted.hold_id, usage=USED)
    result["recordedAsUser"] = refusal(
        acme.record_usage_and_increment,
        *(workflow.id, organization.id, MODEL, 1, 1, Decimal(0)),
    )
    for name in ("settled", "settledAgain"):
        usage = server.settle_spend(granted.hold_id, usage=USED)
        result[name] = [digits(usage.cost), usage.cost_basis, usage.settlement]

    result["spend"] = spend_by_model(acme_session, organization.id)
    result["spendOfOthers"] = spend_by_model(rival_session, organization.id)
    result["authorizedForOthers"] = refusal(authorize, other.id)
    denied = authorize(organization.id)
    result["denied"] = [
        denied.decision,
        denied.reason,
        digits(denied.remaining_usd),
        denied.affordable_output_tokens,
    ]

    server.purchase_credits(organization.id, Decimal(10), "payment")
    run = server.start_run(
        organization.id, 400_000, 100_000, input_cost_usd=Decimal(1), output_cost_usd=Decimal(1)
    )
    server.record_token_call(run.id, None, None, None, 250_000, 50_000, MODEL, Decimal("1.125"))
    ended = server.complete_run(run.id)
    result["reconciled"] = [
        ended.status,
        digits(ended.refund_amount_usd),
        digits(ended.charge_amount_usd),
    ]
    result["disputedByOthers"] = refusal(rival.dispute_reconciliation, run.id, notes="too much")
    result["disputed"] = acme.dispute_reconciliation(run.id, notes="too much").status
    result["resolvedAsUser"] = refusal(acme.resolve_dispute, run.id, refund_usd=Decimal(1))
    result["resolved"] = server.resolve_dispute(run.id, refund_usd=Decimal("0.125")).status
    result["disputedTooLate"] = refusal(acme.dispute_reconciliation, run.id, notes="too much")
    (balance,) = acme.credit_balances(organization.id)
    result["balance"] = digits(balance.balance_usd)
    return result


def digits(amount: Decimal | None) -> str:
    """Write an amount as the database does: every decimal it has, and no exponent."""
    assert isinstance(amount, Decimal)
    return f"{amount:f}"


def refusal(method: Callable[..., object], *arguments: object, **options: object) -> str:
    """Return the code of what must be refused."""
    with pytest.raises(TallystickError) as refused:
        method(*arguments, **options)
    return refused.value.code


def spend_by_model(client: supabase.Client, organization_id: UUID) -> list[list[object]]:
    """Read a view as an application would, money as text."""
    found = (
        client.schema("metering")
        .from_("spend_by_model")
        .select("model, requests, cost::text")
        .eq("organization_id", str(organization_id))
        .execute()
    )
    return [list(row.values()) for row in found.data]


def test_plain_http(http: Http) -> None:
    """With nothing but requests; the numbers of the answers are read digit by digit."""
    acme, rival = Caller(http, http.sign_up()), Caller(http, http.sign_up())
    server = Caller(http, http.secret_key)
    result: dict[str, Any] = {}
    organization, other = (
        caller.call("tenancy", "create_organization", p_name=name)["id"]
        for caller, name in ((acme, "Acme"), (rival, "Rival"))
    )
    workflow = acme.call(
        "public",
        "upsert_intent_workflow",
        p_id=str(uuid4()),
        p_organization_id=organization,
        p_workflow_data={},
    )["id"]
    budget = {"p_scope": "organization", "p_scope_id": "", "p_window": "total", "p_limit": "0.01"}
    result["limit"] = text(
        acme.call("metering", "set_budget", p_organization_id=organization, **budget), "limit_usd"
    )

    call = {
        "p_organization_id": organization,
        "p_model": MODEL,
        "p_input_tokens": 1200,
        "p_max_output_tokens": 500,
    }
    granted, again = (
        acme.call("public", "authorize_spend", **call, p_request_id="once") for _ in range(2)
    )
    result["authorized"] = [
        granted["decision"],
        granted["held_usd"],
        again["hold_id"] == granted["hold_id"],
    ]
    used = {"p_hold_id": granted["hold_id"], "p_usage": USED}
    record = {
        "p_workflow_id": workflow,
        "p_organization_id": organization,
        "p_model": MODEL,
        "p_prompt_tokens": 1,
        "p_completion_tokens": 1,
        "p_cost": "0",
    }
    result["settledAsUser"] = acme.refusal("public", "settle_spend", **used)
    result["recordedAsUser"] = acme.refusal("public", "record_usage_and_increment", **record)
    for name in ("settled", "settledAgain"):
        usage = server.call("public", "settle_spend", **used)
        result[name] = [text(usage, "cost"), usage["cost_basis"], usage["settlement"]]

    question = f"select=model,requests,cost::text&organization_id=eq.{organization}"
    for name, caller in (("spend", acme), ("spendOfOthers", rival)):
        rows = caller.read("metering", f"spend_by_model?{question}")
        result[name] = [list(row.values()) for row in rows]
    result["authorizedForOthers"] = acme.refusal(
        "public", "authorize_spend", **{**call, "p_organization_id": other}
    )
    denied = acme.call("public", "authorize_spend", **call)
    asked = ("decision", "reason", "remaining_usd", "affordable_output_tokens")
    result["denied"] = [denied[name] for name in asked]

    server.call(
        "billing",
        "purchase_credits",
        p_org_id=organization,
        p_amount_usd="10",
        p_idempotency_key="payment",
    )
    run = server.call(
        "billing",
        "start_run",
        p_org_id=organization,
        p_input_tokens=400_000,
        p_output_tokens=100_000,
        p_input_cost_usd="1",
        p_output_cost_usd="1",
    )["id"]
    nobody = dict.fromkeys(("p_agent_id", "p_task_id", "p_step_id"))
    counts = {"p_input_tokens": 250_000, "p_output_tokens": 50_000}
    server.call(
        "billing",
        "record_token_call",
        **{"p_run_id": run, **nobody, **counts, "p_model": MODEL, "p_cost_usd": "1.125"},
    )
    ended = server.call("billing", "complete_run", p_run_id=run)
    amounts = (text(ended, name) for name in ("refund_amount_usd", "charge_amount_usd"))
    result["reconciled"] = [ended["status"], *amounts]
    dispute = {"p_run_id": run, "p_notes": "too much"}
    result["disputedByOthers"] = rival.refusal("billing", "dispute_reconciliation", **dispute)
    result["disputed"] = acme.call("billing", "dispute_reconciliation", **dispute)["status"]
    result["resolvedAsUser"] = acme.refusal(
        "billing", "resolve_dispute", p_run_id=run, p_refund_usd="1"
    )
    result["resolved"] = server.call(
        "billing", "resolve_dispute", p_run_id=run, p_refund_usd="0.125"
    )["status"]
    result["disputedTooLate"] = acme.refusal("billing", "dispute_reconciliation", **dispute)
    (balance,) = acme.read("billing", f"credit_balances?org_id=eq.{organization}")
    result["balance"] = text(balance, "balance_usd")
    assert result == EXPECTED


class Caller:
    """Somebody who sends requests by hand."""

    def __init__(self, http: Http, who: Person | str) -> None:
        self._url = f"{http.url}/rest/v1"
        self._headers = http.headers(who)

    def call(self, schema: str, function: str, **arguments: object) -> dict[str, Any]:
        """Call a function and return its row."""
        answer = self._post(schema, function, arguments)
        assert answer.status_code == 200, answer.text
        row: dict[str, Any] = json.loads(answer.text, parse_float=Decimal)
        return row

    def refusal(self, schema: str, function: str, **arguments: object) -> str:
        """Call a function that must refuse, and return the code."""
        answer = self._post(schema, function, arguments)
        assert answer.status_code >= 400, answer.text
        code: str = answer.json()["code"]
        return code

    def read(self, schema: str, query: str) -> list[dict[str, Any]]:
        """Read rows."""
        answer = httpx.get(
            f"{self._url}/{query}", headers={**self._headers, "accept-profile": schema}
        )
        assert answer.status_code == 200, answer.text
        rows: list[dict[str, Any]] = json.loads(answer.text, parse_float=Decimal)
        return rows

    def _post(self, schema: str, function: str, arguments: dict[str, object]) -> httpx.Response:
        return httpx.post(
            f"{self._url}/rpc/{function}",
            json=arguments,
            headers={**self._headers, "content-profile": schema},
        )


def text(row: dict[str, Any], name: str) -> str:
    """Return an amount as the answer writes it."""
    return digits(row[name])
