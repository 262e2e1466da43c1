"""Approvals, and what they gate, at the same time: each proposal ends once."""

from collections import Counter
from collections.abc import Iterator
from dataclasses import dataclass, field
from decimal import Decimal
from typing import Any
from uuid import UUID

import psycopg
import pytest
from psycopg import IsolationLevel

from tests.support import races
from tests.support.races import Connection, Tenant
from tests.support.servers import Database, Server

ENDS = pytest.mark.parametrize("first_commits", [True, False], ids=["commit", "rollback"])
CALLERS = 8


@pytest.fixture(scope="module", name="database")
def shared_database(server: Server, template: str) -> Iterator[Database]:
    """One database for all tests here: each has an organization of its own."""
    with server.clone(template) as database, races.warm(database):
        yield database


@dataclass(frozen=True)
class Office:
    """An organization with a workflow, accounts, and people who may approve."""

    tenant: Tenant
    people: list[UUID] = field(default_factory=list)

    @property
    def organization(self) -> UUID:
        return self.tenant.organization


def open_office(database: Database, approvals: int = 1, threshold: str = "1") -> Office:
    """Open an office in which bundles and calls above a threshold need approval."""
    tenant = races.open_tenant(database)
    with races.session(database) as connection:
        connection.execute("set local role postgres")
        connection.execute("select tests.chart(%s)", (tenant.organization,))
        people = [
            races.one(connection, "select tests.member(%s, 'finance')", tenant.organization)
            for _ in range(CALLERS)
        ]
    with races.session(database) as connection:
        set_rule(connection, tenant, threshold, approvals)
    return Office(tenant, people)


def set_rule(
    connection: Connection, /, tenant: Tenant, threshold: str, approvals: int = 1, **more: object
) -> None:
    races.call(
        connection, "accounting.set_policy_rule",
        organization_id=tenant.organization, rule_id="rule",
        threshold_amount=Decimal(threshold), required_approvals=approvals, **more,
    )  # fmt: skip


def record(
    connection: Connection, office: Office, external_id: str, day: str = "2026-10-15"
) -> dict[str, Any]:
    """Ask to book ten dollars; the caller commits."""
    request = races.one(connection, "select tests.request(%s, 10, %s::date)", external_id, day)
    response: dict[str, Any] = races.one(
        connection,
        "select accounting.record_transaction_bundle(%s, %s)::jsonb",
        office.organization,
        request,
    )
    return response


def propose_bundle(database: Database, office: Office, external_id: str = "bundle") -> str:
    with races.session(database) as connection:
        proposal: str = record(connection, office, external_id)["proposal_id"]
    return proposal


def propose_call(database: Database, office: Office, request: str = "call") -> str:
    with races.session(database) as connection:
        decision = races.authorize(connection, office.tenant, "2", request)
        assert decision.decision == "needs_approval"
    return str(decision.proposal_id)


def decide(
    connection: Connection, office: Office, proposal: str, person: int, action: str = "approve"
) -> str:
    """Approve or reject as a person: what became of it, or the code of the refusal."""
    connection.execute("select tests.act_as('authenticated', %s)", (office.people[person],))
    outcome = races.call(
        connection, f"accounting.{action}_proposal",
        organization_id=office.organization, proposal_id=proposal,
    )  # fmt: skip
    return str(outcome.error_code or outcome.status)


def status(database: Database, office: Office, proposal: str) -> tuple[str, int]:
    """Return the status of a proposal and the number of decisions on it."""
    with races.session(database) as connection:
        row = connection.execute(
            "select p.status, (select count(*) from accounting.approval_decisions as d"
            " where (d.organization_id, d.proposal_id) = (p.organization_id, p.proposal_id))"
            " from accounting.approval_proposals as p"
            " where (p.organization_id, p.proposal_id) = (%s, %s)",
            (office.organization, proposal),
        ).fetchone()
    assert row is not None
    return row


def booked(database: Database, office: Office) -> int:
    with races.session(database) as connection:
        number: int = races.one(
            connection,
            "select count(*) from accounting.ledger_transactions where organization_id = %s",
            office.organization,
        )
    return number


def proposals(database: Database, office: Office) -> int:
    with races.session(database) as connection:
        number: int = races.one(
            connection,
            "select count(*) from accounting.approval_proposals where organization_id = %s",
            office.organization,
        )
    return number


# Decisions --------------------------------------------------------------------------------------


@ENDS
@pytest.mark.parametrize("propose", [propose_bundle, propose_call])
def test_of_two_last_approvals_one_commits(
    database: Database, propose: Any, first_commits: bool
) -> None:
    office = open_office(database, approvals=2)
    proposal = propose(database, office)
    with races.session(database) as connection:
        assert decide(connection, office, proposal, 0) == "proposed"
    with races.rivals(database) as (first, second):
        assert first.do(decide, office, proposal, 1) == "committed"
        later = second.start(races.committed(decide), office, proposal, 2)
        second.wait_until_blocked_by(first, later)
        first.end(first_commits)
        assert later.result(races.PATIENCE) == "committed"
    assert status(database, office, proposal) == ("committed", 2)
    assert booked(database, office) == (propose is propose_bundle)


@ENDS
def test_one_person_at_two_screens_counts_once(database: Database, first_commits: bool) -> None:
    office = open_office(database, approvals=2)
    proposal = propose_bundle(database, office)
    with races.rivals(database) as (first, second):
        assert first.do(decide, office, proposal, 0) == "proposed"
        later = second.start(races.committed(decide), office, proposal, 0)
        second.wait_until_blocked_by(first, later)
        first.end(first_commits)
        assert later.result(races.PATIENCE) == "proposed"
    assert status(database, office, proposal) == ("proposed", 1)


@ENDS
@pytest.mark.parametrize(("one", "other"), [("approve", "reject"), ("reject", "approve")])
def test_approved_or_rejected(
    database: Database, one: str, other: str, first_commits: bool
) -> None:
    office = open_office(database)
    proposal = propose_bundle(database, office)
    ends = {"approve": "committed", "reject": "rejected"}
    with races.rivals(database) as (first, second):
        assert first.do(decide, office, proposal, 0, one) == ends[one]
        later = second.start(races.committed(decide), office, proposal, 1, other)
        second.wait_until_blocked_by(first, later)
        first.end(first_commits)
        assert later.result(races.PATIENCE) == ("TS410" if first_commits else ends[other])
    last = one if first_commits else other
    assert status(database, office, proposal) == (ends[last], 1)
    assert booked(database, office) == (last == "approve")


@pytest.mark.parametrize(
    "isolation", [None, IsolationLevel.REPEATABLE_READ, IsolationLevel.SERIALIZABLE]
)
def test_all_approve_at_once(database: Database, isolation: IsolationLevel | None) -> None:
    office = open_office(database, approvals=3)
    proposal = propose_bundle(database, office)

    def approve(connection: Connection, person: int) -> str:
        while True:
            try:
                outcome = decide(connection, office, proposal, person)
                connection.commit()
            except psycopg.errors.SerializationFailure:
                connection.rollback()
            else:
                return outcome

    outcomes = Counter(races.together(database, CALLERS, approve, isolation))
    assert outcomes == {"proposed": 2, "committed": CALLERS - 2}
    assert status(database, office, proposal) == ("committed", 3)
    assert booked(database, office) == 1


# Periods and rules ------------------------------------------------------------------------------


def close(connection: Connection, office: Office) -> str:
    answer = races.call(
        connection, "accounting.close_period",
        organization_id=office.organization, period_key="2026-10", correlation_id="close",
    )  # fmt: skip
    return str(answer.period_status)


@ENDS
def test_what_is_approved_while_its_month_closes(database: Database, first_commits: bool) -> None:
    office = open_office(database)
    proposal = propose_bundle(database, office)
    with races.rivals(database) as (closer, approver):
        assert closer.do(close, office) == "closed"
        later = approver.start(races.committed(decide), office, proposal, 0)
        approver.wait_until_blocked_by(closer, later)
        closer.end(first_commits)
        assert later.result(races.PATIENCE) == ("TS412" if first_commits else "committed")
    assert status(database, office, proposal) == (
        ("proposed", 0) if first_commits else ("committed", 1)
    )
    assert booked(database, office) == (not first_commits)


@ENDS
def test_a_month_closes_after_what_is_being_approved(
    database: Database, first_commits: bool
) -> None:
    office = open_office(database)
    proposal = propose_bundle(database, office)
    with races.rivals(database) as (approver, closer):
        assert approver.do(decide, office, proposal, 0) == "committed"
        later = closer.start(races.committed(close), office)
        closer.wait_until_blocked_by(approver, later)
        approver.end(first_commits)
        assert later.result(races.PATIENCE) == "closed"
    assert booked(database, office) == first_commits


@ENDS
def test_a_rule_waits_for_calls_under_way_and_none_misses_it(
    database: Database, first_commits: bool
) -> None:
    office = open_office(database, threshold="100")
    with races.rivals(database) as (caller, setter):
        assert caller.do(races.authorize, office.tenant, "2", "before").decision == "granted"
        rule = setter.start(set_rule, office.tenant, "1")
        setter.wait_until_blocked_by(caller, rule)
        caller.commit()
        rule.result(races.PATIENCE)
        later = caller.start(races.committed(races.authorize), office.tenant, "2", "after")
        caller.wait_until_blocked_by(setter, later)
        setter.end(first_commits)
        decision = later.result(races.PATIENCE).decision
        assert decision == ("needs_approval" if first_commits else "granted")
    assert proposals(database, office) == first_commits


# Calls ------------------------------------------------------------------------------------------


@ENDS
def test_one_call_asked_for_twice_is_one_proposal(database: Database, first_commits: bool) -> None:
    office = open_office(database)
    with races.rivals(database) as (first, second):
        one = first.do(races.authorize, office.tenant, "2", "call")
        later = second.start(races.committed(races.authorize), office.tenant, "2", "call")
        second.wait_until_blocked_by(first, later)
        first.end(first_commits)
        other = later.result(races.PATIENCE)
        assert (one.decision, other.decision) == ("needs_approval", "needs_approval")
        assert (one.proposal_id == other.proposal_id) == first_commits
    assert proposals(database, office) == 1


def test_one_approval_admits_one_hold(database: Database) -> None:
    office = open_office(database)
    proposal = propose_call(database, office)
    with races.session(database) as connection:
        assert decide(connection, office, proposal, 0) == "committed"

    def ask(connection: Connection, _: int) -> UUID:
        decision = races.authorize(connection, office.tenant, "2", "call")
        connection.commit()
        assert decision.decision == "granted"
        hold: UUID = decision.hold_id
        return hold

    holds = races.together(database, CALLERS, ask)
    assert len(set(holds)) == 1
    assert races.workflow_slot(database, office.tenant).held == 2
    races.let_expire(database, holds[0])
    again = races.together(database, CALLERS, ask)
    assert len(set(again)) == 1
    assert again[0] != holds[0]
    assert races.workflow_slot(database, office.tenant).held == 2


@ENDS
def test_asked_for_while_it_is_approved(database: Database, first_commits: bool) -> None:
    office = open_office(database)
    proposal = propose_call(database, office)
    with races.rivals(database) as (approver, caller):
        assert approver.do(decide, office, proposal, 0) == "committed"
        ask = races.committed(races.authorize)
        assert caller.do(ask, office.tenant, "2", "call").decision == "needs_approval"
        approver.end(first_commits)
        decision = caller.do(ask, office.tenant, "2", "call").decision
        assert decision == ("granted" if first_commits else "needs_approval")
    assert proposals(database, office) == 1


@ENDS
def test_released_while_it_is_asked_for_again(database: Database, first_commits: bool) -> None:
    office = open_office(database)
    proposal = propose_call(database, office)
    with races.session(database) as connection:
        assert decide(connection, office, proposal, 0) == "committed"
    with races.rivals(database) as (first, second):
        ask = races.committed(races.authorize)
        hold = first.do(ask, office.tenant, "2", "call").hold_id
        first.do(races.release, hold)
        assert second.do(ask, office.tenant, "2", "call").hold_id == hold
        first.end(first_commits)
        decision = second.do(ask, office.tenant, "2", "call").decision
        assert decision == ("needs_approval" if first_commits else "granted")
    assert proposals(database, office) == 1 + first_commits


@pytest.mark.parametrize(
    "isolation", [None, IsolationLevel.REPEATABLE_READ, IsolationLevel.SERIALIZABLE]
)
def test_velocity_lets_just_so_many_pass(
    database: Database, isolation: IsolationLevel | None
) -> None:
    office = open_office(database)
    with races.session(database) as connection:
        races.stripe(connection, office.tenant, 4)
        set_rule(
            connection, office.tenant, "100", velocity_limit_count=5, velocity_window_seconds=86400
        )

    def ask(connection: Connection, caller: int) -> list[str]:
        asked = []
        for number in range(3):
            while True:
                try:
                    decision = races.authorize(
                        connection, office.tenant, "1", f"{caller} {number}"
                    ).decision
                    connection.commit()
                except psycopg.errors.SerializationFailure:
                    connection.rollback()
                else:
                    asked.append(decision)
                    break
        return asked

    asked = races.together(database, CALLERS, ask, isolation)
    assert Counter(decision for each in asked for decision in each) == {
        "granted": 5,
        "needs_approval": 3 * CALLERS - 5,
    }
    assert races.workflow_slot(database, office.tenant).held == 5


def test_bundles_and_calls_share_a_velocity_limit(database: Database) -> None:
    office = open_office(database)
    with races.session(database) as connection:
        set_rule(
            connection, office.tenant, "100", velocity_limit_count=6, velocity_window_seconds=86400
        )

    def ask(connection: Connection, caller: int) -> str:
        if caller % 2:
            outcome: str = races.authorize(connection, office.tenant, "1", str(caller)).decision
        else:
            outcome = record(connection, office, str(caller))["status"]
        connection.commit()
        return outcome

    outcomes = Counter(races.together(database, CALLERS, ask))
    assert outcomes["granted"] + outcomes["committed"] == 6
    assert outcomes["needs_approval"] + outcomes["proposed"] == CALLERS - 6


@ENDS
def test_a_batch_and_a_call_ask_for_the_same(database: Database, first_commits: bool) -> None:
    office = open_office(database)
    item: dict[str, object] = {
        "workflow_id": str(office.tenant.workflow),
        "estimated_cost": "2",
        "request_id": "call",
    }
    with races.rivals(database) as (first, second):
        (one,) = first.do(races.authorize_batch, office.tenant, [item])
        later = second.start(races.committed(races.authorize), office.tenant, "2", "call")
        second.wait_until_blocked_by(first, later)
        first.end(first_commits)
        other = later.result(races.PATIENCE)
        assert (one.decision, other.decision) == ("needs_approval", "needs_approval")
        assert (one.proposal_id == other.proposal_id) == first_commits
    assert proposals(database, office) == 1
