"""Policy rules, proposals and their approval against the real database, sync and async."""

from decimal import Decimal

import pytest

from tallystick import (
    ApprovalDecision,
    ApprovalNeeded,
    ApprovalOutcome,
    Client,
    Decision,
    HoldClosed,
    InvalidArgument,
    Organization,
    PolicyRule,
    Proposal,
    SpendDenied,
    UnknownId,
)

DEAR = Decimal("6.5")


@pytest.fixture
def acme(client: Client) -> Organization:
    """An organization in which a call above five dollars needs the approval of two."""
    organization = client.create_organization("Acme")
    client.set_policy_rule(
        organization.id,
        "calls",
        Decimal(5),
        tool_name="authorize_spend",
        required_approvals=2,
        allows_asserted=True,
    )
    return organization


def ask(client: Client, acme: Organization, request_id: str = "dear") -> Decision:
    return client.authorize_spend(
        acme.id, model="gpt-4o", estimated_cost=DEAR, request_id=request_id
    )


def test_a_rule_is_what_was_stated(client: Client, acme: Organization) -> None:
    stated = {
        "priority": 10,
        "tool_name": "authorize_spend",
        "entity_id": "entity-default",
        "transaction_category": "rent",
        "risk_band": "high",
        "model": "gpt-4o",
        "velocity_limit_count": 5,
        "velocity_window_seconds": 60,
        "required_approvals": 3,
        "allows_asserted": True,
        "metadata": {"limit": Decimal("0.1")},
    }
    rule = client.set_policy_rule(acme.id, "first", Decimal("2.50"), **stated)
    assert type(rule) is PolicyRule
    assert {name: getattr(rule, name) for name in stated} == stated
    assert (rule.rule_id, rule.threshold_amount, rule.active) == ("first", Decimal("2.5"), True)
    other = client.set_policy_rule(acme.id, "first", Decimal(3))
    assert (other.model, other.priority, other.required_approvals) == (None, 100, 1)
    assert [each.rule_id for each in client.policy_rules(acme.id)] == ["calls", "first"]
    assert not client.retire_policy_rule(acme.id, "first").active
    assert [each.rule_id for each in client.policy_rules(acme.id, active=True)] == ["calls"]


def test_what_cannot_be_a_rule_is_refused(client: Client, acme: Organization) -> None:
    with pytest.raises(InvalidArgument, match="p_tool_name"):
        client.set_policy_rule(acme.id, "x", Decimal(1), tool_name="spend")
    with pytest.raises(TypeError):
        client.set_policy_rule(acme.id, "x", 1)  # type: ignore[arg-type]
    with pytest.raises(UnknownId):
        client.retire_policy_rule(acme.id, "x")


def test_a_call_waits_for_approval(client: Client, acme: Organization) -> None:
    asked = ask(client, acme)
    assert (asked.decision, asked.hold_id) == ("needs_approval", None)
    (proposal,) = client.proposals(acme.id, status="proposed")
    assert type(proposal) is Proposal
    assert proposal.proposal_id == str(asked.proposal_id)
    assert (proposal.tool_name, proposal.correlation_id) == ("authorize_spend", "dear")
    assert (proposal.impact_amount, proposal.policy_threshold_amount) == (DEAR, Decimal(5))
    assert (proposal.matched_rule_id, proposal.required_approvals) == ("calls", 2)
    assert (proposal.decided_at, proposal.approved_until) == (None, None)

    one = client.approve_proposal(acme.id, proposal.proposal_id, reason="needed", actor="ann")
    assert type(one) is ApprovalOutcome
    assert (one.status, one.approvals, one.required_approvals) == ("proposed", 1, 2)
    two = client.approve_proposal(acme.id, proposal.proposal_id, actor="bob", correlation_id="t-1")
    assert (two.status, two.approvals, two.error) == ("committed", 2, None)
    assert two.approved_until is not None
    decisions = client.approval_decisions(acme.id, proposal.proposal_id)
    assert [type(each) for each in decisions] == [ApprovalDecision] * 2
    assert [each.approver_id for each in decisions] == ["service:ann", "service:bob"]
    assert [each.reason for each in decisions] == ["needed", None]
    assert [each.correlation_id for each in decisions] == ["dear", "t-1"]

    granted = ask(client, acme)
    assert granted.granted
    (hold,) = client.holds(acme.id)
    assert (hold.id, str(hold.proposal_id)) == (granted.hold_id, proposal.proposal_id)
    with pytest.raises(ApprovalNeeded) as more:
        client.extend_hold(hold.id, additional_cost=Decimal("0.1"))
    assert more.value.details["approved_usd"] == "6.5"
    assert client.proposals(acme.id, status="proposed") == []


def test_a_refusal_is_an_answer(client: Client, acme: Organization) -> None:
    asked = ask(client, acme)
    assert client.reject_proposal(acme.id, str(asked.proposal_id), actor="ann").status == "rejected"
    late = client.approve_proposal(acme.id, str(asked.proposal_id), actor="bob")
    assert (late.status, late.error_code) == ("refused", "TS410")
    assert isinstance(late.error, HoldClosed)
    assert late.error.details == late.facts
    assert late.facts == {"proposal_id": str(asked.proposal_id), "state": "rejected"}
    assert late.hint
    again = ask(client, acme)
    assert (again.decision, again.reason) == ("denied", "approval_rejected")
    with pytest.raises(UnknownId):
        client.approve_proposal(acme.id, "nothing", actor="ann")
    with pytest.raises(InvalidArgument, match="p_actor"):
        client.approve_proposal(acme.id, str(asked.proposal_id))


def test_a_block_is_not_entered_before_approval(sync_client: Client) -> None:
    acme = sync_client.create_organization("Acme")
    sync_client.set_policy_rule(acme.id, "calls", Decimal(5), allows_asserted=True)
    sync_client.set_price(
        "openai", "gpt-4o", {"input_tokens": Decimal(2), "output_tokens": Decimal(8)}
    )

    def enter(request_id: str | None) -> SpendDenied:
        with (
            pytest.raises(SpendDenied) as denied,
            sync_client.spend(acme.id, model="gpt-4o", estimated_cost=DEAR, request_id=request_id),
        ):
            raise AssertionError("it was granted")
        return denied.value

    waiting = enter(None)
    assert (waiting.code, waiting.details["reason"]) == ("TS428", "needs_approval")
    proposal_id = waiting.details["proposal_id"]
    sync_client.reject_proposal(acme.id, str(proposal_id), actor="ann")
    rejected = enter(waiting.request_id)
    assert (rejected.code, rejected.details["reason"]) == ("TS428", "approval_rejected")
    approved = enter("dear")
    sync_client.approve_proposal(acme.id, str(approved.details["proposal_id"]), actor="ann")
    with sync_client.spend(
        acme.id, model="gpt-4o", estimated_cost=DEAR, request_id=approved.request_id
    ) as block:
        block.used({"input_tokens": 1})
    assert block.decision.granted
