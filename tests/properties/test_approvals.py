"""Calls that need approval through random histories, against an oracle that knows every answer.

The oracle keeps what was asked, held, proposed and decided in plain Python, and says beforehand
what each call is answered. It reads one thing from the database: whether a hold that is over was
released or has expired, as that depends on who needed its money first.
"""

from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from datetime import UTC, datetime, timedelta
from decimal import Decimal
from typing import Any
from uuid import UUID

import psycopg
import pytest
from hypothesis import settings
from hypothesis import strategies as st
from hypothesis.stateful import (
    RuleBasedStateMachine,
    initialize,
    invariant,
    rule,
    run_state_machine_as_test,
)

from tests.support import races
from tests.support.properties import examples
from tests.support.races import Connection
from tests.support.servers import Database

CAP = Decimal(16)
LASTS = timedelta(minutes=10)
APPROVED_FOR = timedelta(hours=24)
PEOPLE = 3
REQUESTS = 4  # so few that most of what is asked has a past

costs = st.sampled_from([Decimal(text) for text in ("0.5", "2", "2.000000000002", "6")])
places = st.integers(0, 10**6)
ACTIONS = [
    *["ask"] * 5, "ask for many", "ask without id", "approve", "reject", *["approve and ask"] * 3,
    *["release and ask"] * 2, *["wait and ask"] * 3, "settle", "release", "extend", "extend",
    "set rule", "set rule", "retire rule", "wait", "sweep",
]  # fmt: skip
persons = st.integers(0, PEOPLE - 1)


@dataclass
class Rule:
    """The one policy rule, as it was last set."""

    threshold: Decimal
    required: int
    limit: int | None
    active: bool = True


@dataclass
class Held:
    """A hold that is not settled."""

    cost: Decimal
    expires_at: datetime
    proposal: UUID | None


@dataclass
class Proposed:
    """A proposal, and who approved it."""

    cost: Decimal
    by: int | None
    required: int
    status: str = "proposed"
    approvers: set[int] = field(default_factory=set)
    until: datetime | None = None


@dataclass
class Request:
    """What is asked under one request id, and what the id names."""

    id: str
    cost: Decimal
    by: int | None
    hold: UUID | None = None
    proposal: UUID | None = None
    is_settled: bool = False


@contextmanager
def connection_to(database: Database) -> Iterator[Connection]:
    with races.warm(database), races.lent(database) as connection:
        connection.autocommit = True
        yield connection


class Approvals(RuleBasedStateMachine):
    """One organization asks, approves, rejects, spends and changes its rule while days go by."""

    def __init__(self, database: Database, connection: Connection) -> None:
        super().__init__()
        self.database = database
        self.connection = connection
        self.now = datetime(2026, 11, 2, 12, tzinfo=UTC)
        self.rule: Rule | None = None
        self.uses: list[datetime] = []
        self.requests: list[Request] = []
        self.holds: dict[UUID, Held] = {}
        self.proposals: dict[UUID, Proposed] = {}
        self.settled = Decimal(0)

    @initialize()
    def start(self) -> None:
        races.set_clock(self.database, self.now.isoformat())
        self.tenant = races.open_tenant(self.database)
        races.set_budget(self.connection, self.tenant, "organization", "total", str(CAP))
        with self.connection.transaction():
            self.connection.execute("set local role postgres")
            self.people = [
                races.one(self.connection, "select tests.member(%s, 'finance')", self.organization)
                for _ in range(PEOPLE)
            ]
        self.set_rule(Decimal(1), 1, None)

    @property
    def organization(self) -> UUID:
        return self.tenant.organization

    # What the oracle knows ----------------------------------------------------------------------

    def free(self, *counted: UUID) -> Decimal:
        """Return what is left: overdue holds are free, but for those that are counted."""
        held = (
            each.cost
            for hold, each in self.holds.items()
            if self.state(hold) == "open" and (each.expires_at > self.now or hold in counted)
        )
        return CAP - self.settled - sum(held, Decimal(0))

    def state(self, hold: UUID) -> str:
        state: str = races.one(
            self.connection, "select state::text from metering.holds where id = %s", hold
        )
        return state

    def approval_of(self, request: Request) -> UUID | None:
        """Return the approved proposal by which the request may be admitted."""
        proposal = request.proposal
        if request.hold is not None:  # only one that has expired, or does so now
            has_expired = self.state(request.hold) in {"expired", "open"}
            proposal = self.holds[request.hold].proposal if has_expired else None
        until = None if proposal is None else self.proposals[proposal].until
        return proposal if until is not None and until > self.now else None

    def recent_uses(self) -> list[datetime]:
        return [use for use in self.uses if use > self.now - timedelta(hours=1)]

    def needs_approval(self, cost: Decimal) -> bool:
        if self.rule is None or not self.rule.active:
            return False
        is_fast = self.rule.limit is not None and len(self.recent_uses()) >= self.rule.limit
        return cost > self.rule.threshold or is_fast

    def asks_rules(self, cost: Decimal) -> bool:
        """Tell whether the kernel has to ask: above the threshold, or always for velocity."""
        if self.rule is None or not self.rule.active:
            return False
        return self.rule.limit is not None or cost > self.rule.threshold

    def expected(self, request: Request) -> tuple[str, str | None, UUID | None]:
        """Return decision, reason and proposal of a request; holds and uses stay as they are."""
        if request.is_settled:
            return "settled", None, None
        if request.hold is not None:
            hold = self.holds[request.hold]
            if hold.expires_at > self.now and self.state(request.hold) == "open":
                return "granted", None, None
        elif request.proposal is not None:
            status = self.proposals[request.proposal].status
            if status == "proposed":
                return "needs_approval", None, request.proposal
            if status == "rejected":
                return "denied", "approval_rejected", request.proposal
        if self.free() < request.cost:
            return "denied", "budget_exceeded", None
        if self.approval_of(request) is None and self.needs_approval(request.cost):
            return "needs_approval", None, None
        return "granted", None, None

    def learn(
        self, request: Request, answer: Any, expected: tuple[str, str | None, UUID | None]
    ) -> None:
        """Compare the answer with what was expected, and remember what it made."""
        decision, reason, proposal = expected
        assert (answer.decision, answer.reason) == (decision, reason)
        if decision == "granted" and answer.hold_id != request.hold:
            by = self.approval_of(request) if self.asks_rules(request.cost) else None
            if by is None and self.rule is not None and self.rule.active and self.rule.limit:
                self.uses = [*self.recent_uses(), self.now]
            assert answer.hold_id not in self.holds
            self.holds[answer.hold_id] = Held(request.cost, self.now + LASTS, by)
            request.hold, request.proposal = answer.hold_id, None
        elif decision == "needs_approval" and proposal is None:
            assert self.rule is not None
            assert answer.proposal_id not in self.proposals
            self.proposals[answer.proposal_id] = Proposed(
                request.cost, request.by, self.rule.required
            )
            request.hold, request.proposal = None, answer.proposal_id
        elif decision in {"needs_approval", "denied"}:
            assert answer.proposal_id == proposal

    # What is done -------------------------------------------------------------------------------

    # One rule for all: what is rare must not be left out of a history as a whole.
    @rule(
        action=st.sampled_from(ACTIONS),
        place=places,
        cost=costs,
        person=persons,
        minutes=st.sampled_from([1, 10, 59, 60, 700, 1440]),
        limit=st.none() | st.integers(1, 3),
        is_for_another=st.booleans(),
    )
    def act(
        self, action: str, place: int, cost: Decimal, person: int, minutes: int,
        limit: int | None, is_for_another: bool,
    ) -> None:  # fmt: skip
        match action:
            case "ask":
                self.ask(place, cost, person if is_for_another else None)
            case "ask for many":
                self.ask_for_many([place, place // 7, place // 11])
            case "ask without id":
                self.ask_without_id(cost)
            case "approve" | "reject":
                self.decide(place, person, action)
            case "approve and ask":
                self.approve_and_ask(place)
            case "release and ask":
                self.end_and_ask(place, 0)
            case "wait and ask":
                self.end_and_ask(place, minutes)
            case "settle":
                self.settle(place)
            case "release":
                self.release(place)
            case "extend":
                self.extend(place, cost)
            case "set rule":
                self.set_rule(cost, person + 1 if is_for_another else 1, limit)
            case "retire rule":
                self.retire_rule()
            case "wait":
                self.wait(minutes)
            case "sweep":
                races.expire(self.connection, self.tenant)

    def plan(self, place: int, cost: Decimal, by: int | None) -> Request:
        """Return the request in a place; what has been settled makes room for another."""
        under_way = [each for each in self.requests if not each.is_settled]
        if len(under_way) < REQUESTS:
            self.requests.append(Request(f"request {len(self.requests)}", cost, by))
            return self.requests[-1]
        return under_way[place % REQUESTS]

    def ask(self, place: int, cost: Decimal, by: int | None) -> None:
        self.ask_for(self.plan(place, cost, by))

    def ask_for(self, request: Request) -> None:
        expected = self.expected(request)
        answer = races.authorize(
            self.connection, self.tenant, str(request.cost), request.id,
            user_id=None if request.by is None else self.people[request.by],
        )  # fmt: skip
        self.learn(request, answer, expected)

    def approve_and_ask(self, place: int) -> None:
        waiting = [
            (each, each.proposal)
            for each in self.requests
            if each.proposal is not None and self.proposals[each.proposal].status == "proposed"
        ]
        if waiting:
            request, proposal = waiting[place % len(waiting)]
            for person in range(PEOPLE):
                self.decide_on(proposal, person, "approve")
            self.ask_for(request)

    def end_and_ask(self, place: int, minutes: int) -> None:
        """Ask again once an approved hold was released, has expired, or its approval has."""
        approved = [
            (each, each.hold)
            for each in self.requests
            if each.hold in self.holds and self.holds[each.hold].proposal is not None
        ]
        if approved:
            request, hold = approved[place % len(approved)]
            if minutes:
                self.wait(minutes)
            elif hold is not None:
                races.release(self.connection, hold)
            self.ask_for(request)

    def ask_for_many(self, some: list[int]) -> None:
        if not self.requests:
            return
        asked = [self.requests[place % len(self.requests)] for place in some]
        items: list[dict[str, object]] = [
            {
                "workflow_id": str(self.tenant.workflow),
                "estimated_cost": str(each.cost),
                "request_id": each.id,
                "user_id": None if each.by is None else str(self.people[each.by]),
            }
            for each in asked
        ]
        answers = races.authorize_batch(self.connection, self.tenant, items)
        for request, answer in zip(asked, answers, strict=True):
            # Each as of what those before it left: nothing later in a batch undoes that.
            assert answer.error_code is None
            self.learn(request, answer, self.expected(request))

    def ask_without_id(self, cost: Decimal) -> None:
        if self.needs_approval(cost):
            answer = races.authorize(self.connection, self.tenant, str(cost))
            denied = "budget_exceeded" if self.free() < cost else "approval_needs_request_id"
            assert (answer.decision, answer.reason) == ("denied", denied)

    def decide(self, place: int, person: int, action: str) -> None:
        if self.proposals:
            self.decide_on(list(self.proposals)[place % len(self.proposals)], person, action)

    def decide_on(self, identifier: UUID, person: int, action: str) -> None:
        proposal = self.proposals[identifier]
        outcome = self.expected_outcome(proposal, person, action)
        with self.connection.transaction():
            self.connection.execute(
                "select tests.act_as('authenticated', %s)", (self.people[person],)
            )
            answer = races.call(
                self.connection, f"accounting.{action}_proposal",
                organization_id=self.organization, proposal_id=str(identifier),
            )  # fmt: skip
        assert (answer.error_code or answer.status) == outcome
        if proposal.status == "proposed" and outcome in {"proposed", "committed"}:
            proposal.approvers.add(person)
        if proposal.status == "proposed" and outcome in {"rejected", "committed"}:
            proposal.status = outcome
            proposal.until = self.now + APPROVED_FOR if outcome == "committed" else None

    def expected_outcome(self, proposal: Proposed, person: int, action: str) -> str:
        if proposal.status != "proposed":
            is_said_again = (proposal.status, action) in {
                ("committed", "approve"),
                ("rejected", "reject"),
            }
            return proposal.status if is_said_again else "TS410"
        if action == "reject":
            return "23001" if person in proposal.approvers else "rejected"
        if person == proposal.by:
            return "42501"
        is_in_force = self.asks_rules(proposal.cost)
        required = self.rule.required if self.rule and is_in_force else proposal.required
        return "committed" if len(proposal.approvers | {person}) >= required else "proposed"

    def settle(self, place: int) -> None:
        if self.holds:
            hold = list(self.holds)[place % len(self.holds)]
            cost = self.holds[hold].cost / 2
            races.settle(self.connection, hold, str(cost))
            del self.holds[hold]
            self.settled += cost
            for request in self.requests:
                request.is_settled = request.is_settled or request.hold == hold

    def release(self, place: int) -> None:
        if self.holds:
            races.release(self.connection, list(self.holds)[place % len(self.holds)])

    def extend(self, place: int, more: Decimal) -> None:
        if not self.holds:
            return
        identifier = list(self.holds)[place % len(self.holds)]
        hold = self.holds[identifier]
        total = hold.cost + more
        if hold.proposal is not None:
            limit: Decimal | None = self.proposals[hold.proposal].cost
        else:
            limit = self.rule.threshold if self.rule and self.rule.active else None
        if self.state(identifier) != "open":
            expected = "TS410"
        elif self.free(identifier) < more:
            expected = "TS402"
        elif limit is not None and total > limit:
            expected = "TS428"
        else:
            expected = "00000"
            hold.cost = total
        try:
            races.extend(self.connection, identifier, cost=str(more))
            code: str | None = "00000"
        except psycopg.Error as error:
            code = error.sqlstate
        assert code == expected

    def set_rule(self, threshold: Decimal, required: int, limit: int | None) -> None:
        races.call(
            self.connection, "accounting.set_policy_rule",
            organization_id=self.organization, rule_id="rule", threshold_amount=threshold,
            required_approvals=required, velocity_limit_count=limit,
            velocity_window_seconds=None if limit is None else 3600,
        )  # fmt: skip
        self.rule = Rule(threshold, required, limit)

    def retire_rule(self) -> None:
        if self.rule is not None:
            races.call(
                self.connection, "accounting.retire_policy_rule",
                organization_id=self.organization, rule_id="rule",
            )  # fmt: skip
            self.rule.active = False

    def wait(self, minutes: int) -> None:
        self.now += timedelta(minutes=minutes)
        races.set_clock(self.database, self.now.isoformat())

    # What must hold -----------------------------------------------------------------------------

    @invariant()
    def money_is_held_as_known(self) -> None:
        held = sum(
            (each.cost for hold, each in self.holds.items() if self.state(hold) == "open"),
            Decimal(0),
        )
        slot = races.slot_of(self.database, self.tenant, "organization", "total")
        assert slot is not None
        assert (slot.settled, slot.held) == (self.settled, held)

    @invariant()
    def each_hold_names_its_approval(self) -> None:
        rows = self.connection.execute(
            "select id, held_usd, proposal_id from metering.holds where organization_id = %s",
            (self.organization,),
        ).fetchall()
        assert {hold: (cost, proposal) for hold, cost, proposal in rows} == {
            hold: (each.cost, each.proposal) for hold, each in self.holds.items()
        }

    @invariant()
    def proposals_are_as_known(self) -> None:
        rows = self.connection.execute(
            "select proposal_id::uuid, status, impact_amount, approved_until"
            " from accounting.approval_proposals where organization_id = %s",
            (self.organization,),
        ).fetchall()
        assert {row[0]: tuple(row[1:]) for row in rows} == {
            identifier: (each.status, each.cost, each.until)
            for identifier, each in self.proposals.items()
        }

    def teardown(self) -> None:
        if hasattr(self, "people"):  # it had begun
            assert races.findings(self.database, self.organization) == []


# Where it fails, finding the shortest history takes a while.
@pytest.mark.timeout(1800)
def test_calls_are_answered_as_policy_and_approvals_say(
    database: Database, long: bool, brief: bool
) -> None:
    with connection_to(database) as connection:

        class HereAndNow(Approvals):
            def __init__(self) -> None:
                super().__init__(database, connection)

        size = settings(
            examples(200 if long else 6 if brief else 25),
            stateful_step_count=50,
            report_multiple_bugs=False,
        )
        run_state_machine_as_test(HereAndNow, settings=size)
