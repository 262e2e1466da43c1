"""A model in plain Python predicts every answer and every total of a random history."""

import uuid
from dataclasses import dataclass, field
from datetime import UTC, datetime, timedelta
from decimal import Decimal
from typing import Any

import pytest
from hypothesis import settings
from hypothesis import strategies as st
from hypothesis.stateful import (
    Bundle,
    RuleBasedStateMachine,
    initialize,
    invariant,
    multiple,
    precondition,
    rule,
    run_state_machine_as_test,
)

from tests.support import races
from tests.support.properties import code, examples, money, window_of
from tests.support.races import Connection
from tests.support.servers import Database

DEFAULT_WORKFLOW_CAP, DEFAULT_QUOTA = Decimal("1.00"), Decimal("25.00")
ZONES = ["UTC", "America/Havana", "Asia/Kathmandu", "Pacific/Apia"]
ONE_UNIT = Decimal("1e-12")

# Round amounts meet limits exactly; the others prove that digits are kept.
amounts = st.sampled_from(
    [Decimal(text) for text in ("0", "0.1", "0.25", "0.5", "0.9", "1", "1.00", "5", "24", "25")]
) | money(3)
limits = st.sampled_from(
    [Decimal(text) for text in ("0", "0.3", "0.5", "1.00", "1.5", "2", "25.00", "30")]
) | money(30)


@dataclass(frozen=True)
class Usage:
    """One record of the model."""

    workflow: uuid.UUID
    model: str
    cost: Decimal
    tokens: tuple[int, int]
    at: datetime


@dataclass
class Organization:
    """What the model knows of one organization."""

    id: uuid.UUID
    zone: str
    frozen: bool = False
    caps: dict[str, Decimal] = field(default_factory=dict)  # of the organization, by window
    workflow_caps: dict[uuid.UUID, Decimal | None] = field(default_factory=dict)
    usages: list[Usage] = field(default_factory=list)
    requests: dict[str, tuple[Any, ...]] = field(default_factory=dict)

    def total(self, workflow: uuid.UUID) -> Decimal:
        return sum((u.cost for u in self.usages if u.workflow == workflow), Decimal(0))

    def spent(self, window: str, now: datetime) -> Decimal:
        start, end = window_of(window, now, self.zone)
        return sum((u.cost for u in self.usages if start <= u.at < end), Decimal(0))


def effective_cap(stored: Decimal | None, stated: Decimal, default: Decimal) -> Decimal:
    """A stored cap wins over the default; a lower stated one lowers it."""
    if stored is None:
        return stated
    return stored if stated == default else min(stored, stated)


class Books(RuleBasedStateMachine):
    """Organizations spend, are capped, frozen and retried while months go by."""

    workflows = Bundle("workflows")
    requests = Bundle("requests")

    def __init__(self, connection: Connection) -> None:
        super().__init__()
        self.connection = connection
        self.now = datetime(2026, 10, 31, 12, tzinfo=UTC)
        self.organizations: dict[uuid.UUID, Organization] = {}
        self.touched: uuid.UUID | None = None  # whose books the last step may have changed
        self.waited = False

    def teardown(self) -> None:
        self.connection.rollback()

    def ask(self, query: str, *parameters: object) -> Any:
        return races.one(self.connection, query, *parameters)

    @initialize(target=workflows, zone=st.sampled_from(ZONES))
    def start(self, zone: str) -> Any:
        self.connection.execute("update clock.hand set instant = %s", (self.now,))
        return self.open_organization(zone)

    @precondition(lambda self: len(self.organizations) < 3)
    @rule(target=workflows, zone=st.sampled_from(ZONES))
    def open_another(self, zone: str) -> Any:
        return self.open_organization(zone)

    def open_organization(self, zone: str) -> Any:
        """Open an organization with two workflows."""
        organization = Organization(
            self.ask("select id from tenancy.create_organization('Acme', %s)", zone), zone
        )
        self.organizations[organization.id] = organization
        opened = [races.open_workflow(self.connection, organization.id) for _ in range(2)]
        organization.workflow_caps = dict.fromkeys(opened)
        self.touched = organization.id
        return multiple(*((organization, workflow) for workflow in opened))

    # One long wait is as good as two in a row.
    @precondition(lambda self: not self.waited)
    @rule(days=st.sampled_from([0, 0, 1, 1, 7, 31, 60]), seconds=st.integers(0, 86_400))
    def let_time_pass(self, days: int, seconds: int) -> None:
        self.now += timedelta(days=days, seconds=seconds)
        self.connection.execute("update clock.hand set instant = %s", (self.now,))
        self.waited = True

    @rule(owner=workflows, limit=limits | st.none())
    def cap_workflow(self, owner: tuple[Organization, uuid.UUID], limit: Decimal | None) -> None:
        organization, workflow = owner
        self.put_budget(organization, "workflow", str(workflow), "total", limit)
        organization.workflow_caps[workflow] = limit

    @rule(
        owner=workflows,
        window=st.sampled_from(["month", "week", "day", "hour"]),
        limit=limits | st.none(),
    )
    def cap_organization(
        self, owner: tuple[Organization, uuid.UUID], window: str, limit: Decimal | None
    ) -> None:
        organization, _ = owner
        if limit is not None or window in organization.caps:
            self.put_budget(organization, "organization", "", window, limit)
        organization.caps.pop(window, None)
        if limit is not None:
            organization.caps[window] = limit

    def put_budget(
        self,
        organization: Organization,
        scope: str,
        scope_id: str,
        window: str,
        limit: Decimal | None,
    ) -> None:
        arguments = (organization.id, scope, scope_id, window)
        if limit is None:
            query = "select limit_usd from metering.remove_budget(%s, %s, %s, %s)"
            assert self.ask(query, *arguments) is None
        else:
            query = "select limit_usd from metering.set_budget(%s, %s, %s, %s, %s)"
            assert self.ask(query, *arguments, limit) == limit
        self.touched = organization.id

    @rule(owner=workflows)
    def freeze_or_thaw(self, owner: tuple[Organization, uuid.UUID]) -> None:
        organization, _ = owner
        frozen = not organization.frozen
        self.connection.execute(
            "update tenancy.organizations set frozen_at = case when %s then now() end"
            " where id = %s",
            (frozen, organization.id),
        )
        organization.frozen = frozen
        self.touched = organization.id

    @rule(
        target=requests,
        owner=workflows,
        cost=amounts,
        tokens=st.tuples(st.integers(0, 1000), st.integers(0, 1000)),
        model=st.sampled_from(["small", "large"]),
        request=st.none() | st.integers(1, 50).map(lambda number: f"request {number}"),
    )
    def record(
        self,
        owner: tuple[Organization, uuid.UUID],
        cost: Decimal,
        tokens: tuple[int, int],
        model: str,
        request: str | None,
    ) -> Any:
        organization, workflow = owner
        self.send(organization, workflow, cost, tokens, model, request)
        if request is None:
            return multiple()
        return (organization, workflow, cost, tokens, model, request)

    @rule(sent=requests)
    def retry(self, sent: tuple[Any, ...]) -> None:
        self.send(*sent)

    @rule(sent=requests, more=st.sampled_from([ONE_UNIT, Decimal(1)]))
    def reuse_for_other_content(self, sent: tuple[Any, ...], more: Decimal) -> None:
        organization, workflow, cost, tokens, model, request = sent
        self.send(organization, workflow, cost + more, tokens, model, request)

    def send(
        self,
        organization: Organization,
        workflow: uuid.UUID,
        cost: Decimal,
        tokens: tuple[int, int],
        model: str,
        request: str | None,
    ) -> None:
        """Record, and compare the outcome with the one the model expects."""
        content = (workflow, model, tokens, cost)
        first = request is None or request not in organization.requests
        conflict = request is not None and organization.requests.get(request, content) != content
        answer = code(
            self.connection,
            "select public.record_usage_and_increment(%s, %s, %s, %s, %s, %s, %s)",
            workflow,
            organization.id,
            model,
            *tokens,
            cost,
            request,
        )
        assert answer == ("TS409" if conflict else "00000")
        if first:
            organization.usages.append(Usage(workflow, model, cost, tokens, self.now))
            if request is not None:
                organization.requests[request] = content
        self.touched = organization.id

    @rule(owner=workflows, cost=amounts, stated=limits)
    def check(self, owner: tuple[Organization, uuid.UUID], cost: Decimal, stated: Decimal) -> None:
        organization, workflow = owner
        self.assert_check(organization, workflow, cost, stated)

    def assert_check(
        self, organization: Organization, workflow: uuid.UUID, cost: Decimal, stated: Decimal
    ) -> None:
        cap = effective_cap(organization.workflow_caps[workflow], stated, DEFAULT_WORKFLOW_CAP)
        expected = not organization.frozen and organization.total(workflow) + cost <= cap
        for function in ("check_workflow_cost_limit", "estimate_workflow_cost_limit"):
            query = f"select public.{function}(%s, %s, %s)"
            assert self.ask(query, workflow, cost, stated) is expected

    @rule(owner=workflows, stated=limits)
    def ask_quota(self, owner: tuple[Organization, uuid.UUID], stated: Decimal) -> None:
        organization, _ = owner
        self.assert_quota(organization, stated)

    def assert_quota(self, organization: Organization, stated: Decimal) -> None:
        spent = organization.spent("month", self.now)
        cap = effective_cap(organization.caps.get("month"), stated, DEFAULT_QUOTA)
        query = "select public.check_organization_monthly_quota(%s, %s)"
        expected = not organization.frozen and spent < cap
        assert self.ask(query, organization.id, stated) is expected
        query = "select public.get_organization_monthly_ai_cost(%s)"
        assert self.ask(query, organization.id) == spent

    @invariant()
    def books_agree(self) -> None:
        if self.touched is None:
            return
        organization = self.organizations[self.touched]
        self.touched, self.waited = None, False
        assert races.verify(self.connection, organization.id) == []
        self.assert_ledger(organization)
        self.assert_counters(organization)
        self.assert_answers(organization)

    def assert_ledger(self, organization: Organization) -> None:
        rows = self.connection.execute(
            "select workflow_id, model, cost, prompt_tokens, completion_tokens, created_at"
            " from public.ai_usage_ledger where organization_id = %s",
            (organization.id,),
        ).fetchall()
        expected = [(u.workflow, u.model, u.cost, *u.tokens, u.at) for u in organization.usages]
        assert sorted(rows) == sorted(expected)

    def assert_counters(self, organization: Organization) -> None:
        rows = self.connection.execute(
            "select b.id, b.scope, b.time_window, b.limit_usd, sum(s.settled_usd), sum(s.held_usd),"
            " sum(s.available_usd) - coalesce(sum(s.debt_usd), 0), count(s.debt_usd) > 0,"
            " nullif(min(s.window_start), '-infinity')"
            " from metering.budgets as b join metering.budget_slots as s"
            " on s.organization_id = b.organization_id and s.budget_id = b.id"
            " where b.organization_id = %s and b.id <> b.organization_id"
            " group by b.id, b.scope, b.time_window, b.limit_usd",
            (organization.id,),
        ).fetchall()
        assert len(rows) == len(organization.workflow_caps) + len(organization.caps)
        for budget, scope, window, limit, settled, held, remaining, closed, start in rows:
            if scope == "workflow":
                expected, cap = organization.total(budget), organization.workflow_caps[budget]
            else:
                expected, cap = organization.spent(window, start), organization.caps[window]
            assert (limit, settled, held) == (cap, expected, 0)
            assert remaining == (None if cap is None else cap - expected)
            assert closed is (cap is not None and cap < expected)
        totals: dict[uuid.UUID, Decimal] = dict(
            self.connection.execute(
                "select id, (workflow_data ->> 'total_ai_cost')::numeric"
                " from public.intent_workflows where organization_id = %s",
                (organization.id,),
            ).fetchall()
        )
        assert totals == {
            workflow: organization.total(workflow) for workflow in organization.workflow_caps
        }

    def assert_answers(self, organization: Organization) -> None:
        """Ask at the caps themselves: the last unit fits, one more does not."""
        for workflow, stored in organization.workflow_caps.items():
            for stated in (DEFAULT_WORKFLOW_CAP, Decimal("0.7")):
                cap = effective_cap(stored, stated, DEFAULT_WORKFLOW_CAP)
                room = max(cap - organization.total(workflow), Decimal(0))
                self.assert_check(organization, workflow, room, stated)
                self.assert_check(organization, workflow, room + ONE_UNIT, stated)
        spent = organization.spent("month", self.now)
        for stated in (DEFAULT_QUOTA, spent, spent + ONE_UNIT):
            self.assert_quota(organization, stated)


# Where it fails, finding the shortest history takes a while.
@pytest.mark.timeout(600)
def test_every_answer_and_total_is_as_the_model_predicts(database: Database) -> None:
    races.set_clock(database, "2026-10-31 12:00Z")
    with races.connect(database, races.OWNER) as connection:

        class HereAndNow(Books):
            def __init__(self) -> None:
                super().__init__(connection)

        size = settings(examples(15), stateful_step_count=30)
        run_state_machine_as_test(HereAndNow, settings=size)
