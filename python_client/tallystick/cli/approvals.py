"""The commands `tallystick approvals ...`: what waits for approval, and which rules want it."""

from enum import StrEnum
from typing import Annotated

import typer

from tallystick.cli.amounts import dollars
from tallystick.cli.approval_table import listing, rules_listing
from tallystick.cli.console import show
from tallystick.cli.target import (
    DatabaseUrl,
    OrganizationName,
    chosen_organization,
    connected,
)
from tallystick.cli.times import present_time
from tallystick.client import Client
from tallystick.figures import counted, usd
from tallystick.models import ApprovalOutcome


class Status(StrEnum):
    """What became of a proposal, as `accounting.approval_proposals` names it, and all of them."""

    proposed = "proposed"
    committed = "committed"
    rejected = "rejected"
    all = "all"


class Tool(StrEnum):
    """What a rule can be about."""

    bundles = "record_transaction_bundle"
    calls = "authorize_spend"


ProposalId = Annotated[
    str,
    typer.Argument(metavar="PROPOSAL", help="Its id, as the list shows it.", show_default=False),
]
By = Annotated[
    str,
    typer.Option(
        "--by",
        help="Who decides. It is kept as stated, and counts only where the rule takes the word of "
        "a server for it.",
        show_default=False,
    ),
]
Reason = Annotated[
    str | None, typer.Option(help="Why; it is kept with the decision.", show_default=False)
]
RuleId = Annotated[
    str, typer.Argument(metavar="RULE", help="Its id, as the list shows it.", show_default=False)
]

approvals = typer.Typer(
    name="approvals",
    help="Show and decide what waits for approval; set which rules want it.",
    no_args_is_help=True,
)


@approvals.command("list")
def list_proposals(
    status: Annotated[Status, typer.Option(help="Only proposals in this state.")] = Status.proposed,
    limit: Annotated[int, typer.Option(min=1, help="At most so many.")] = 50,
    organization: OrganizationName = None,
    database_url: DatabaseUrl = None,
) -> None:
    """Show what waits for approval; what was proposed first comes first."""
    with connected(database_url) as connection:
        payer = chosen_organization(connection, organization)
        client = Client(connection)
        found = client.proposals(
            payer.id, status=None if status == Status.all else status, limit=limit
        )
        decisions = [client.approval_decisions(payer.id, each.proposal_id) for each in found]
        now = present_time(connection)
    show(listing(payer, list(zip(found, decisions, strict=True)), now=now, limit=limit))


@approvals.command("approve")
def approve(
    proposal: ProposalId,
    by: By,
    reason: Reason = None,
    organization: OrganizationName = None,
    database_url: DatabaseUrl = None,
) -> None:
    """Approve a proposal; the last approval that is needed commits it."""
    with connected(database_url) as connection:
        payer = chosen_organization(connection, organization)
        outcome = Client(connection).approve_proposal(payer.id, proposal, reason=reason, actor=by)
        _show(outcome)


@approvals.command("reject")
def reject(
    proposal: ProposalId,
    by: By,
    reason: Reason = None,
    organization: OrganizationName = None,
    database_url: DatabaseUrl = None,
) -> None:
    """Reject a proposal, which ends it."""
    with connected(database_url) as connection:
        payer = chosen_organization(connection, organization)
        outcome = Client(connection).reject_proposal(payer.id, proposal, reason=reason, actor=by)
        _show(outcome)


@approvals.command("rules")
def list_rules(
    everything: Annotated[
        bool, typer.Option("--all", help="Also those that were retired.")
    ] = False,
    organization: OrganizationName = None,
    database_url: DatabaseUrl = None,
) -> None:
    """Show which rules want approval, in the order in which they are asked."""
    with connected(database_url) as connection:
        payer = chosen_organization(connection, organization)
        found = Client(connection).policy_rules(payer.id, active=None if everything else True)
    show(rules_listing(payer, found))


@approvals.command("set-rule")
def set_rule(
    rule: RuleId,
    threshold: Annotated[
        str,
        typer.Argument(
            metavar="USD", help="Above so many US dollars approval is needed.", show_default=False
        ),
    ],
    tool: Annotated[
        Tool | None,
        typer.Option(help="What it is about; anything if left out.", show_default=False),
    ] = None,
    model: Annotated[
        str | None, typer.Option(help="Of calls: only this model.", show_default=False)
    ] = None,
    entity: Annotated[
        str | None, typer.Option(help="Only the books of this entity.", show_default=False)
    ] = None,
    category: Annotated[
        str | None, typer.Option(help="Only bundles of this category.", show_default=False)
    ] = None,
    risk_band: Annotated[
        str | None, typer.Option(help="Only bundles of this band of risk.", show_default=False)
    ] = None,
    priority: Annotated[int, typer.Option(help="Lowest first; the first that matches.")] = 100,
    approvers: Annotated[int, typer.Option(min=1, help="How many must approve.")] = 1,
    at_most: Annotated[
        int | None,
        typer.Option(min=1, help="So many pass within --seconds; more do not.", show_default=False),
    ] = None,
    seconds: Annotated[
        int | None, typer.Option(min=1, help="The window of --at-most.", show_default=False)
    ] = None,
    asserted: Annotated[
        bool, typer.Option("--asserted", help="Approvers whom a server names count, too.")
    ] = False,
    organization: OrganizationName = None,
    database_url: DatabaseUrl = None,
) -> None:
    """Set a rule about what needs approval, or another in its place."""
    amount = dollars(threshold)
    with connected(database_url) as connection:
        payer = chosen_organization(connection, organization)
        client = Client(connection)
        client.set_policy_rule(
            payer.id,
            rule,
            amount,
            priority=priority,
            tool_name=tool,
            entity_id=entity,
            transaction_category=category,
            risk_band=risk_band,
            model=model,
            velocity_limit_count=at_most,
            velocity_window_seconds=seconds,
            required_approvals=approvers,
            allows_asserted=asserted,
        )
        show(rules_listing(payer, client.policy_rules(payer.id, active=True)))


@approvals.command("retire-rule")
def retire_rule(
    rule: RuleId,
    organization: OrganizationName = None,
    database_url: DatabaseUrl = None,
) -> None:
    """Let a rule match nothing any more; what it has asked for still waits."""
    with connected(database_url) as connection:
        payer = chosen_organization(connection, organization)
        retired = Client(connection).retire_policy_rule(payer.id, rule)
    show(f"Retired: {retired.rule_id}, which asked above {usd(retired.threshold_amount)}.")


def _show(outcome: ApprovalOutcome) -> None:
    if outcome.error is not None:
        raise outcome.error
    show(_told(outcome))


def _told(outcome: ApprovalOutcome) -> str:
    match outcome.status:
        case "rejected":
            return f"Rejected: {outcome.proposal_id}."
        case "committed" if outcome.transaction_id is not None:
            return f"Approved and booked: transaction {outcome.transaction_id}."
        case "committed":
            until = f"{outcome.approved_until:%Y-%m-%d %H:%M} UTC"
            return f"Approved: the call may be made with its request id until {until}."
        case _:
            needed = counted(outcome.required_approvals or 0, "approval")
            return f"{outcome.approvals or 0} of {needed}: it waits for others."
