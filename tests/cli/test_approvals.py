"""The commands `tallystick approvals ...`."""

from decimal import Decimal

import pytest

from tallystick import Client, Organization
from tests.cli.conftest import Run
from tests.cli.test_budgets import assert_refused, text_of


@pytest.fixture(name="proposal")
def asked_for(run: Run, client: Client, acme: Organization) -> str:
    """A call of six dollars, where calls above five need two approvals."""
    run("approvals", "set-rule", "calls", "$5", "--tool", "authorize_spend", "--approvers", 2,
        "--asserted")  # fmt: skip
    return ask(client, acme)


def ask(client: Client, acme: Organization) -> str:
    decision = client.authorize_spend(
        acme.id, model="gpt-[red]4o", estimated_cost=Decimal(6), request_id="dear"
    )
    return str(decision.proposal_id or decision.decision)


def test_rules_are_set_listed_and_retired(run: Run, acme: Organization) -> None:
    assert "No rules" in text_of(run("approvals", "rules"))
    told = text_of(
        run("approvals", "set-rule", "rent", "1000", "--category", "rent", "--risk-band", "high",
            "--entity", "entity-default", "--priority", 5, "--at-most", 3, "--seconds", 60)
    )  # fmt: skip
    for part in ("Acme", "rent", "$1,000.00", "category rent", "risk band high", "3 in 60 s"):
        assert part in told
    told = text_of(
        run("approvals", "set-rule", "gpt", "0.25", "--tool", "authorize_spend", "--model", "gpt-9")
    )
    assert told.index("category rent") < told.index("model gpt-9")
    assert "$1,000.00" in text_of(run("approvals", "retire-rule", "rent"))
    assert "rent" not in text_of(run("approvals", "rules"))
    assert "retired" in text_of(run("approvals", "rules", "--all"))
    assert_refused(run("approvals", "retire-rule", "nothing"), "[TS404]", "nothing")
    assert_refused(run("approvals", "set-rule", "x", "5.0000000000001"), "[22023]")


def test_a_call_waits_and_is_approved(
    run: Run, client: Client, acme: Organization, proposal: str
) -> None:
    listed = text_of(run("approvals", "list"))
    for part in (proposal, "$6.00", "call dear", "gpt-[red]4o", "waits for 2 (calls)", "service:"):
        assert part in listed
    told = text_of(run("approvals", "approve", proposal, "--by", "ann", "--reason", "[b]needed"))
    assert told == "1 of 2 approvals: it waits for others."
    assert "approved by service:ann: [b]needed" in text_of(run("approvals", "list"))
    assert "Approved" in text_of(run("approvals", "approve", proposal, "--by", "bob"))
    assert "Nothing to approve" in text_of(run("approvals", "list"))
    assert "approved until" in text_of(run("approvals", "list", "--status", "committed"))
    assert ask(client, acme) == "granted"


def test_a_call_is_rejected(run: Run, client: Client, acme: Organization, proposal: str) -> None:
    assert text_of(run("approvals", "reject", proposal, "--by", "ann")) == f"Rejected: {proposal}."
    assert "rejected by service:ann" in text_of(run("approvals", "list", "--status", "all"))
    assert_refused(run("approvals", "approve", proposal, "--by", "bob"), "[TS410]", "rejected")
    assert_refused(run("approvals", "approve", "nothing", "--by", "bob"), "[TS404]", "nothing")
    (event,) = client.proposals(acme.id)
    assert event.status == "rejected"


def test_a_limit(run: Run, client: Client, acme: Organization, proposal: str) -> None:
    client.authorize_spend(acme.id, estimated_cost=Decimal(7), request_id="other")
    limited = text_of(run("approvals", "list", "--limit", 1))
    assert proposal in limited
    assert "may be more than 1" in limited
