"""Proposals and policy rules as tables: what waits, for whom, and why."""

from __future__ import annotations

import json
from typing import TYPE_CHECKING

from rich import box
from rich.console import Group
from rich.table import Table
from rich.text import Text

from tallystick.cli.budget_table import moment
from tallystick.figures import usd

if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence
    from datetime import datetime

    from rich.console import RenderableType

    from tallystick.models import ApprovalDecision, PolicyRule, Proposal
    from tallystick.organizations import Payer

    Decided = tuple[Proposal, list[ApprovalDecision]]

_ID_WIDTH = 36
_ABOUT = ("model", "workflow_id", "run_id", "venture_id", "user_id", "api_key_id")


def listing(
    payer: Payer, proposals: Sequence[Decided], *, now: datetime, limit: int
) -> RenderableType:
    """Return proposals with their decisions, of which at most `limit` were asked for."""
    return Group(*_parts(payer, proposals, now, limit))


def rules_listing(payer: Payer, rules: Sequence[PolicyRule]) -> RenderableType:
    """Return policy rules in the order in which they are asked."""
    return Group(_heading(payer), _rules(rules) if rules else Text("No rules."))


def _heading(payer: Payer) -> Text:
    return Text(f"{payer.name} ({payer.id})", style="bold")


def _parts(
    payer: Payer, proposals: Sequence[Decided], now: datetime, limit: int
) -> Iterator[RenderableType]:
    yield _heading(payer)
    yield _proposals(proposals, now) if proposals else Text("Nothing to approve.")
    if len(proposals) == limit:
        yield Text(f"There may be more than {limit:,}; --limit shows them.", style="dim")


def _proposals(proposals: Sequence[Decided], now: datetime) -> Table:
    table = Table(box=box.SIMPLE_HEAD, padding=(0, 1, 0, 0))
    table.add_column("proposal", width=_ID_WIDTH, overflow="fold")
    table.add_column("amount", justify="right", overflow="fold")
    table.add_column("what", overflow="fold")
    table.add_column("state", overflow="fold")
    for proposal, decisions in proposals:
        table.add_row(
            Text(f"{proposal.proposal_id}\n{moment(proposal.created_at)} UTC"),
            usd(proposal.impact_amount),
            Text("\n".join(_what(proposal))),
            _state(proposal, decisions, now),
        )
    return table


def _what(proposal: Proposal) -> Iterator[str]:
    request = json.loads(proposal.request_payload)
    if proposal.tool_name == "authorize_spend":
        yield f"call {proposal.correlation_id}"
        yield from (f"{key.removesuffix('_id')} {request[key]}" for key in _ABOUT if key in request)
    else:
        yield f"{proposal.source_system} {proposal.external_id}, {request['transaction_date']}"
        yield request["description"]
    yield f"by {proposal.proposed_by}"


def _state(proposal: Proposal, decisions: Sequence[ApprovalDecision], now: datetime) -> Text:
    text = _status(proposal, now)
    for decision in decisions:
        done = "approved" if decision.action == "approve" else "rejected"
        text.append(f"\n{done} by {decision.approver_id}", style="default")
        if decision.reason:
            text.append(f": {decision.reason}", style="default")
    return text


def _status(proposal: Proposal, now: datetime) -> Text:
    if proposal.status == "rejected":
        return Text("rejected", style="red")
    if proposal.status == "proposed":
        rule = proposal.matched_rule_id or "a locked period"
        return Text(f"waits for {proposal.required_approvals} ({rule})", style="yellow")
    if proposal.approved_until is None:
        return Text(f"booked as {proposal.approved_transaction_id}", style="green")
    if proposal.approved_until > now:
        return Text(f"approved until {moment(proposal.approved_until)} UTC", style="green")
    return Text(f"approved until {moment(proposal.approved_until)} UTC, which is over", style="dim")


def _rules(rules: Sequence[PolicyRule]) -> Table:
    table = Table(box=box.SIMPLE_HEAD, padding=(0, 1, 0, 0))
    table.add_column("priority", justify="right")
    table.add_column("rule", overflow="fold")
    table.add_column("about", overflow="fold")
    table.add_column("above", justify="right", overflow="fold")
    table.add_column("approvals", overflow="fold")
    for rule in rules:
        table.add_row(
            str(rule.priority),
            Text(rule.rule_id),
            Text("\n".join(_about(rule))),
            usd(rule.threshold_amount),
            Text("\n".join(_approvals(rule))),
            style=None if rule.active else "dim",
        )
    return table


def _about(rule: PolicyRule) -> Iterator[str]:
    yield rule.tool_name or "anything"
    for name, value in (
        ("model", rule.model),
        ("entity", rule.entity_id),
        ("category", rule.transaction_category),
        ("risk band", rule.risk_band),
    ):
        if value is not None:
            yield f"{name} {value}"


def _approvals(rule: PolicyRule) -> Iterator[str]:
    yield "retired" if not rule.active else str(rule.required_approvals)
    if rule.velocity_limit_count is not None:
        yield f"or beyond {rule.velocity_limit_count} in {rule.velocity_window_seconds} s"
    if rule.allows_asserted:
        yield "servers may name approvers"
