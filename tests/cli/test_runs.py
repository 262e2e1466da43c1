"""The commands `tallystick runs ...` and `tallystick reconcile`."""

from decimal import Decimal
from uuid import uuid4

import psycopg
import pytest

from tallystick import Client, Organization
from tallystick import Run as Work
from tests.cli.conftest import Run
from tests.cli.test_budgets import assert_refused, text_of

NOTHING = Decimal(0)


@pytest.fixture
def acme(client: Client, connection: psycopg.Connection) -> Organization:
    """Who has credits for 50 dollars, on a day that does not end during a test."""
    at(connection, "12:00")
    made = client.create_organization("Acme")
    client.purchase_credits(made.id, Decimal(50), "payment-1")
    return made


def at(connection: psycopg.Connection, time: str) -> None:
    connection.execute("select tests.freeze_clock(%s)", [f"2026-02-10 {time}+0"])


def start(client: Client, organization: Organization, name: str | None = None) -> Work:
    """Start a run of 1,000 tokens and a dollar."""
    return client.start_run(
        organization.id, 800, 200, input_cost_usd=Decimal(1), output_cost_usd=NOTHING, name=name
    )


def record(client: Client, work: Work, tokens: int, cost: str, model: str = "gpt-4o") -> None:
    client.record_token_call(work.id, None, None, None, tokens, 0, model, Decimal(cost))


def test_runs_are_listed_newest_first_with_their_outcome(
    run: Run, client: Client, connection: psycopg.Connection, acme: Organization
) -> None:
    assert "No runs." in text_of(run("runs", "list"))
    done = start(client, acme, "done")
    at(connection, "12:01")
    wild = start(client, acme, "wild [red]")
    at(connection, "12:02")
    still = start(client, acme)
    record(client, done, 900, "0.8")
    client.complete_run(done.id)
    record(client, wild, 3000, "2.000000000001")
    client.fail_run(wild.id)
    shown = text_of(run("runs", "list"))
    for part in (
        f"done $1.00 $0.80 RECONCILED completed 2026-02-10 12:02 UTC 1,000 900 -10 % {done.id}",
        "wild [red] $1.00 $2.000000000001 CRITICAL",
        f"failed 2026-02-10 12:02 UTC 1,000 3,000 +200 % {wild.id}",
        f"running since 2026-02-10 12:02 UTC $1.00 $0.00 {still.id} 1,000 0",
    ):
        assert part in shown
    assert shown.index(str(still.id)) < shown.index(str(wild.id)) < shown.index(str(done.id))
    failed = text_of(run("runs", "list", "--status", "failed"))
    assert str(wild.id) in failed
    assert str(done.id) not in failed
    assert "may be more than 2" in text_of(run("runs", "list", "--limit", 2))


def test_a_run_is_shown_with_its_calls_by_step_and_model(
    run: Run, client: Client, acme: Organization
) -> None:
    work = start(client, acme, "report")
    assert "No calls." in text_of(run("runs", "show", work.id))
    agent = client.start_agent(work.id, "searcher")
    task = client.start_task(work.id, "search", agent_id=agent.id)
    step = client.start_step(work.id, "read [b]", agent_id=agent.id, task_id=task.id)
    for cost in ("0.1", "0.2"):
        client.record_token_call(
            work.id, agent.id, task.id, step.id, 100, 10, "gpt-4o", Decimal(cost)
        )
    client.record_token_call(
        work.id, None, None, None, 50, 0, "gpt-[i]mini", Decimal("0.05"),
        error_code="TIMEOUT", error_message="late", is_estimated=True,
    )  # fmt: skip
    shown = text_of(run("runs", "show", work.id))
    for part in (
        "Estimated $1.00 and 1,000 tokens, used $0.35 and 270 tokens so far.",
        "read [b] gpt-4o 2 0 200 20 $0.30 task search agent searcher",
        "report gpt-[i]mini 1 1 50 0 $0.05",
        "total 3 1 250 20 $0.35",
    ):
        assert part in shown
    assert "variance" not in shown


def test_reconciling_shows_what_money_moved_and_again_the_same(
    run: Run, client: Client, acme: Organization
) -> None:
    work = start(client, acme)
    record(client, work, 400, "0.4")
    first = run("reconcile", work.id)
    shown = text_of(first)
    for part in (
        "input tokens 800 400 -400",
        "output tokens 200 0 -200",
        "total tokens 1,000 400 -600",
        "cost $1.00 $0.40 -$0.60",
        "NEEDS_REVIEW, variance -60 %. Action: refund applied.",
        "run charge -$1.00 $49.00",
        "token reconciliation overestimate $0.60 $49.60",
        "Charged, refunds taken off: $0.40.",
    ):
        assert part in shown
    assert "Owed" not in shown
    assert run("reconcile", work.id).output == first.output
    assert first.output in run("runs", "show", work.id).output
    assert client.runs(acme.id)[0].status == "completed"


def test_a_shortfall_that_credits_do_not_cover_is_owed(
    run: Run, client: Client, acme: Organization
) -> None:
    work = start(client, acme)
    record(client, work, 1000, "52.5")
    shown = text_of(run("reconcile", work.id))
    assert "cost $1.00 $52.50 +$51.50" in shown
    assert "RECONCILED, variance 0 %. Action: charge applied." in shown
    assert "Charged, refunds taken off: $50.00. Owed beyond credits: $2.50." in shown


def test_a_run_without_cost_moves_no_money(run: Run, client: Client, acme: Organization) -> None:
    work = client.start_run(acme.id, 1, 0, input_cost_usd=NOTHING, output_cost_usd=NOTHING)
    assert "No money moved." in text_of(run("reconcile", work.id))


def test_a_dispute_and_its_notes_are_shown(run: Run, client: Client, acme: Organization) -> None:
    work = start(client, acme)
    record(client, work, 1000, "1")
    client.complete_run(work.id)
    client.dispute_reconciliation(work.id, notes="too\ndear")
    shown = text_of(run("runs", "show", work.id))
    assert "DISPUTED" in shown
    assert "Notes: too\N{REPLACEMENT CHARACTER}dear" in shown


def test_a_run_with_a_call_under_way_is_not_ended(
    run: Run, client: Client, acme: Organization
) -> None:
    work = start(client, acme)
    client.authorize_spend(acme.id, estimated_cost=Decimal("0.1"), run_id=work.id)
    assert_refused(run("reconcile", work.id), "[TS423]", "held_usd: 0.1")
    assert client.runs(acme.id)[0].status == "running"


@pytest.mark.parametrize("command", [("runs", "show"), ("reconcile",)])
def test_a_run_that_is_not_there_is_said(run: Run, command: tuple[str, ...]) -> None:
    unknown = uuid4()
    assert_refused(run(*command, unknown), f"no run has the id {unknown}")
    assert run(*command, "x").exit_code == 2
