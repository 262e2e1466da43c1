"""What real connections can do: logins, the HTTP gateway's way of acting, forged claims, attacks.

`home` is the organization of the person who acts; `away` is somebody else's.
"""

import json
import re
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from itertools import count
from os import getpid
from pathlib import Path
from typing import Any
from urllib.parse import unquote, urlsplit
from uuid import UUID, uuid4

import psycopg
import pytest
from psycopg import sql

from tests.support.servers import Database

README = Path(__file__).parents[2] / "README.md"
ROLES = ("owner", "admin", "finance", "member", "viewer")
RECORD = "select public.record_usage_and_increment({workflow}, {org}, 'gpt-4o', 10, 5, {cost})"
OURS = """
  (n.nspname = 'public' or starts_with(obj_description(n.oid, 'pg_namespace'), 'Tallystick'))
"""

Connection = psycopg.Connection[Any]
Login = Callable[..., Connection]
_numbers = count(1)


@dataclass(frozen=True)
class Organization:
    """An organization with one person per role, one cap, a dollar spent and a dollar held."""

    id: UUID
    workflow: UUID
    venture: UUID
    budget: UUID
    hold: UUID
    run: UUID
    event: UUID
    voided: UUID
    proposal: UUID
    people: dict[str, UUID] = field(default_factory=dict)

    @property
    def ids(self) -> dict[str, UUID]:
        """What a caller could aim at, by the names the statements below use."""
        return {
            "org": self.id,
            "workflow": self.workflow,
            "venture": self.venture,
            "budget": self.budget,
            "hold": self.hold,
            "run": self.run,
            "event": self.event,
            "voided": self.voided,
            "proposal": self.proposal,
        }


@pytest.fixture
def owner(database: Database) -> Iterator[Connection]:
    """The owner of the schema; everything it does is committed at once."""
    with database.connect(autocommit=True) as connection:
        yield connection


def open_organization(owner: Connection, name: str) -> Organization:
    def one(statement: str, *values: object) -> UUID:
        row = owner.execute(statement, values).fetchone()
        assert row is not None
        assert isinstance(row[0], UUID)
        return row[0]

    organization = one("select tests.organization(%s)", name)
    people = {role: one("select tests.member(%s, %s)", organization, role) for role in ROLES}
    workflow = one("select tests.workflow(%s)", organization)
    owner.execute("select tests.spend(%s, 1)", (workflow,))
    budget = one(
        "select id from metering.set_budget(%s, 'organization', null, 'month', 9)", organization
    )
    owner.execute(
        "insert into tenancy.profiles (user_id, display_name) values (%s, 'Somebody')",
        (people["member"],),
    )
    venture = one(
        "insert into tenancy.ventures (organization_id, name) values (%s, 'Venture') returning id",
        organization,
    )
    one(
        "select id from metering.set_budget(%s, 'venture', %s, 'day', 9)",
        organization,
        str(venture),
    )
    owner.execute(
        "select metering.allocate_venture_budget(%s, %s, 'standard', 50)", (organization, venture)
    )
    owner.execute(
        "select public.record_venture_usage(%s, 1, 'a', 'm', 1, 1, 1, p_is_simulation => true)",
        (venture,),
    )
    run = one("select tests.bill(%s)", organization)
    hold = one("select tests.hold(%s, 1)", organization)
    event, voided = (
        one(
            "select logical_id from public.ledger_assert_v0("
            "'d', 'e', p_owner_user_id => %s, p_organization_id => %s)",
            people["owner"],
            organization,
        )
        for _ in range(2)
    )
    one(
        "select id from public.ledger_void_v0(%s, 'why', 'who', p_organization_id => %s)",
        voided,
        organization,
    )
    owner.execute("select tests.keep_books(%s)", (organization,))
    owner.execute("select tests.ask_for_approval(%s)", (organization,))
    proposal = one(
        "select proposal_id::uuid from accounting.approval_proposals where organization_id = %s",
        organization,
    )
    one("select tests.price('m')")
    one(
        "select id from pricing.set_price("
        "'acme', 'm', '{\"input_tokens\": 7, \"output_tokens\": 7}', p_organization_id => %s)",
        organization,
    )
    one("select id from pricing.set_markup(%s, 25)", organization)
    return Organization(
        organization, workflow, venture, budget, hold, run, event, voided, proposal, people
    )


@pytest.fixture
def home(owner: Connection) -> Organization:
    return open_organization(owner, "Home")


@pytest.fixture
def away(owner: Connection) -> Organization:
    return open_organization(owner, "Away")


@pytest.fixture
def login(database: Database, owner: Connection) -> Iterator[Login]:
    """Connect as a new login role with the given roles granted; gone when the test ends."""
    made: list[tuple[sql.Identifier, Connection]] = []

    def connect(*granted: str, inherit: bool = True) -> Connection:
        name = f"tallystick_test_{getpid()}_{next(_numbers)}"
        owner.execute(
            sql.SQL("create role {} login {} password {}").format(
                sql.Identifier(name),
                sql.SQL("inherit" if inherit else "noinherit"),
                sql.Literal(unquote(urlsplit(database.url()).password or "")),
            )
        )
        for role in granted:
            owner.execute(
                sql.SQL("grant {} to {}").format(sql.Identifier(role), sql.Identifier(name))
            )
        connection = database.connect(name)
        made.append((sql.Identifier(name), connection))
        return connection

    yield connect
    for name, connection in made:
        connection.close()
        owner.execute(sql.SQL("drop role {}").format(name))


@pytest.fixture
def gateway(login: Login) -> Connection:
    """The login of the HTTP gateway, as Supabase makes its authenticator."""
    return login("anon", "authenticated", "service_role", inherit=False)


@contextmanager
def request(
    gateway: Connection, role: str, user: UUID | None = None, /, **claims: object
) -> Iterator[Connection]:
    """One HTTP request: a transaction with a role and claims; nothing of it is kept."""
    everything = {"role": role, **({"sub": str(user)} if user else {}), **claims}
    with gateway.transaction(force_rollback=True):
        gateway.execute("select set_config('role', %s, true)", (role,))
        gateway.execute(
            "select set_config('request.jwt.claims', %s, true)", (json.dumps(everything),)
        )
        yield gateway


def login_of(person: UUID, login: Login) -> Connection:
    """Log in as a member, with the claims of a person for the whole session."""
    connection = login("authenticated")
    claims = json.dumps({"role": "authenticated", "sub": str(person)})
    connection.execute("select set_config('request.jwt.claims', %s, false)", (claims,))
    connection.commit()
    return connection


def fill(statement: str, **values: object) -> sql.Composed:
    return sql.SQL(statement).format(**{name: sql.Literal(value) for name, value in values.items()})


def outcome(connection: Connection, statement: sql.Composed | str, *, keep: bool = False) -> object:
    """Return rows, or what an error tells the caller; nothing is kept unless asked for."""
    query = sql.SQL(statement) if isinstance(statement, str) else statement
    try:
        with connection.transaction(force_rollback=not keep):
            cursor = connection.execute(query)
            return cursor.fetchall() if cursor.description else cursor.rowcount
    except psycopg.Error as error:
        facts = error.diag
        return (error.sqlstate, facts.message_primary, facts.message_detail, facts.message_hint)


def code(connection: Connection, statement: sql.Composed | str) -> str | None:
    """Return the SQLSTATE a statement ends with, 00000 when it succeeds; nothing is kept."""
    happened = outcome(connection, statement)
    return happened[0] if isinstance(happened, tuple) else "00000"


def record(organization: Organization, cost: str = "1") -> sql.Composed:
    return fill(RECORD, workflow=organization.workflow, org=organization.id, cost=cost)


def everything_of(owner: Connection, organization: Organization) -> list[Any]:
    """Return every stored row of an organization."""
    tables = owner.execute(
        f"""
        select quote_ident(n.nspname) || '.' || quote_ident(c.relname), a.attname
        from pg_class as c
        inner join pg_namespace as n on n.oid = c.relnamespace
        inner join pg_attribute as a
          on a.attrelid = c.oid and a.attname in ('organization_id', 'org_id')
        where c.relkind in ('r', 'p') and not c.relispartition and {OURS}
        order by 1
        """
    ).fetchall()
    assert len(tables) >= 20
    return [
        owner.execute(
            f"select to_jsonb(t) from {table} as t where t.{tenant} = %s order by 1",
            (organization.id,),
        ).fetchall()
        for (table, tenant) in tables
    ]


# Who may record ---------------------------------------------------------------------------------


@pytest.mark.parametrize("role", ROLES)
def test_no_member_states_what_it_cost(gateway: Connection, home: Organization, role: str) -> None:
    with request(gateway, "authenticated", home.people[role]) as connection:
        assert code(connection, record(home, "0")) == "42501"
        for statement in (
            "select public.settle_spend({hold}, null, 0)",
            "select * from public.settle_spend_batch({org}, '[]')",
            "select public.extend_hold({hold}, '1 hour')",
            "select metering.expire_holds({org})",
            "select * from metering.waiting_budgets()",
        ):
            assert code(connection, fill(statement, **home.ids)) == "42501", statement


def test_the_service_role_records_spend(gateway: Connection, home: Organization) -> None:
    with request(gateway, "service_role") as connection:
        assert code(connection, record(home)) == "00000"


@pytest.mark.parametrize("role", ["app_user", "tallystick_writer"])
def test_a_server_login_works_without_bypassing_row_level_security(
    login: Login, owner: Connection, home: Organization, away: Organization, role: str
) -> None:
    granted = owner.execute(
        "select rolbypassrls from pg_roles where rolname = %s", (role,)
    ).fetchall()
    assert granted == [(False,)]
    connection = login(role)
    for place in (home, away):
        connection.execute(record(place, "0.5"))
        ids = place.ids
        for statement, answer in [
            ("select public.check_workflow_cost_limit({workflow}, 0, 1.5)", True),
            ("select public.check_workflow_cost_limit({workflow}, 0.1, 1.5, {org})", False),
            ("select public.estimate_workflow_cost_limit({workflow}, 0, 1.5, {org})", True),
            ("select public.check_organization_monthly_quota({org})", True),
            ("select public.get_organization_monthly_ai_cost({org}) = 1.655", True),
            ("select (public.estimate_spend({org}, 'm', 1)).decision = 'granted'", True),
            ("select (public.authorize_spend({org}, 'm', 1)).decision = 'granted'", True),
            ("select (public.authorize_spend({org}, 'm', 9)).decision = 'denied'", True),
            ("select (public.extend_hold({hold}, '1 hour', 0.5)).held_usd = 1.5", True),
            ("select (public.settle_spend({hold}, null, 0.25)).cost = 0.25", True),
            ("select (public.release_spend({hold})).state = 'released'", True),
            ("select metering.expire_holds({org}) = 0", True),
            ("select count(*) = 0 from metering.waiting_budgets()", True),
        ]:
            assert outcome(connection, fill(statement, **ids)) == [(answer,)], statement
        assert outcome(connection, fill("select * from audit.verify_integrity({org})", **ids)) == []
    assert len(connection.execute("select from public.ai_usage_ledger").fetchall()) == 8
    unknown = fill(RECORD, workflow=uuid4(), org=home.id, cost="1")
    assert code(connection, unknown) == "TS404"
    foreign = fill(RECORD, workflow=away.workflow, org=home.id, cost="1")
    assert code(connection, foreign) == "TS404"


@pytest.mark.parametrize("role", ["app_user", "tallystick_writer", "tallystick_reader"])
def test_a_server_login_does_no_more_than_its_work(
    login: Login, home: Organization, role: str
) -> None:
    connection = login(role)
    for statement in (
        "select metering.set_budget({org}, 'organization', null, 'month', 1)",
        "select metering.change_budget({org}, {budget}, p_slots => 2)",
        "select metering.remove_budget({org}, 'organization', null, 'month')",
        "select metering.freeze({org})",
        "select metering.unfreeze({org})",
        "select tenancy.create_organization('New')",
        "update tenancy.organizations set frozen_at = null",
        "insert into tenancy.memberships (organization_id, user_id) values ({org}, {org})",
        "update public.ai_usage_ledger set cost = 0",
        "delete from public.ai_usage_ledger",
        "insert into metering.budget_slots (organization_id) values ({org})",
        "update metering.holds set held_usd = 0",
        "delete from metering.holds",
        "select private.create_partition('public.ai_usage_ledger', '2040-01-01')",
        "select private.maintain()",
    ):
        assert code(connection, fill(statement, **home.ids)) == "42501", statement


def test_a_reader_login_reads_everything_and_executes_nothing(
    login: Login, owner: Connection, home: Organization, away: Organization
) -> None:
    connection = login("tallystick_reader")
    for view in (
        "public.ai_usage_ledger",
        "public.intent_workflows",
        "public.ai_cost_by_model",
        "public.ai_cost_by_organization_month",
        "public.ai_cost_by_workflow",
        "metering.budgets",
        "metering.budget_status",
        "metering.holds",
    ):
        rows = outcome(connection, f"select distinct organization_id from {view}")
        assert isinstance(rows, list)
        assert {row[0] for row in rows} == {home.id, away.id}, view
    assert code(connection, record(home)) == "42501"
    for call in calls_of_every_function(owner, "public", "tenancy", "metering", "audit"):
        assert code(connection, call) == "42501", call


# Tenants among themselves -----------------------------------------------------------------------

# What a member may call, about organizations of somebody else and what is theirs. {own} is the
# organization of the caller.
REQUEST = "'m', 1, null, null, null, null, {venture}, null, null, '{{}}', null, null"
DRAFT = "'m', null, null, null, null, {venture}, null, null, '{{}}', null, null"
TENANT_CALLS = [
    "select public.authorize_spend({org}, 'm', 1)",
    "select public.authorize_spend({own}, 'm', 1, p_workflow_id => {workflow})",
    "select public.authorize_spend({own}, 'm', 1, p_venture_id => {venture})",
    "select public.estimate_spend({org}, 'm', 1)",
    "select public.estimate_spend({own}, 'm', 1, p_workflow_id => {workflow})",
    "select public.estimate_spend({own}, 'm', 1, p_venture_id => {venture})",
    "select public.authorize_spend_batch({org}, '[{{\"estimated_cost\": 1}}]')",
    "select error_code from public.authorize_spend_batch({own}, "
    "jsonb_build_array(jsonb_build_object('estimated_cost', 1, 'workflow_id', {workflow}::text)))",
    "select pricing.price_usage('m', '{{}}', {org})",
    "select private.find_price({org}, 'acme', 'm', 'standard', 'infinity', 'infinity')",
    "select private.find_markup({org}, 'acme', 'm', 'infinity', 'infinity')",
    "select private.quote_model({org}, null, 'm', null, 'infinity', 'infinity')",
    "select private.estimate_call(jsonb_populate_record(null::metering.holds, "
    "jsonb_build_object('organization_id', {org}, 'model', 'm')), 1, null, null, false, null)",
    "select public.release_spend({hold})",
    "select public.release_spend({hold}, null, {org})",
    "select public.release_spend({hold}, null, {own})",
    f"select private.authorize_spend({{org}}, {REQUEST}, null, '1 hour', false, null)",
    f"select private.authorize_spend({{own}}, {REQUEST}, null, '1 hour', false, null)",
    "select private.authorize_spend_batch({org}, '[{{\"estimated_cost\": 1}}]')",
    "select private.release_spend({hold}, null, null)",
    "select private.release_spend({hold}, null, {org})",
    "select private.release_spend({hold}, null, {own})",
    f"select private.draft_hold({{org}}, {DRAFT})",
    f"select private.draft_hold({{own}}, {DRAFT})",
    "select private.cover({org}, array['organization:'], now())",
    "select private.survey({org}, array['organization:'], now(), now())",
    "select private.overdue({org}, 'organization:', '-infinity', 'infinity')",
    "select private.has_overdue({org}, 'infinity')",
    "select private.denied_as_frozen({org}, array['organization:'])",
    "select private.granted(jsonb_populate_record(null::metering.holds, "
    "jsonb_build_object('organization_id', {org})), array['organization:'])",
    "select private.lock_organization({org})",
    "select private.denied_outright(jsonb_populate_record(null::metering.holds, "
    "jsonb_build_object('organization_id', {org})), array['organization:'], "
    "private.survey({org}, array['organization:'], now(), now()))",
    "select metering.allocate_venture_budget({org}, {venture}, 'custom', 1)",
    "select metering.allocate_venture_budget({own}, {venture}, 'custom', 1)",
    "select private.allocate_venture_budget({org}, {venture}, 'custom', 1)",
    "select private.allocate_venture_budget({own}, {venture}, 'custom', 1)",
    "select public.ledger_assert_v0('d', 'e', p_organization_id => {org})",
    "select public.ledger_amend_v0({event}, p_organization_id => {org})",
    "select private.revise_event('amend', {event}, null, null, null, null, {org})",
    "select public.ledger_void_v0({event}, 'why', p_organization_id => {org})",
    "select public.ledger_restate_v0({voided}, p_organization_id => {org})",
    "select private.available_credits({org})",
    "select private.fundable({org}, now(), now())",
    "select private.overdue_in_draw({org}, {hold}, now())",
    "select private.is_run({org}, {run})",
    "select private.resolve_organization_of_run({run})",
    "select billing.get_statement({org}, 'today')",
    "select billing.set_low_balance({org}, 1)",
    "select private.set_low_balance({org}, 1)",
    "select billing.dispute_reconciliation({run}, 'why')",
    "select billing.dispute_reconciliation({run}, 'why', {org})",
    "select billing.dispute_reconciliation({run}, 'why', {own})",
    "select private.dispute_reconciliation({run}, 'why', null)",
    "select private.dispute_reconciliation({run}, 'why', {org})",
    "select private.dispute_reconciliation({run}, 'why', {own})",
    "select accounting.record_transaction_bundle({org}, tests.request('aimed'))",
    "select private.record_bundle({org}, tests.request('aimed'), null)",
    "select accounting.reverse_transaction({org}, 'no', '2026-02-01', 'c')",
    "select accounting.set_entity({org}, 'NEW', 'New')",
    "select private.set_entity({org}, 'NEW', 'New', '{{}}', null, null, null)",
    "select accounting.set_account({org}, 'NEW', 'New', 'asset')",
    "select private.set_account({org}, 'NEW', 'New', 'asset', null, 'entity-default', '{{}}', "
    "null, null, null)",
    "select accounting.record_balance_snapshot({org}, 'x', 'cash', '2026-01-01', 1)",
    "select private.record_balance_snapshot({org}, 'x', 'cash', '2026-01-01', 1, null, null, null)",
    "select accounting.set_obligation({org}, 'x', 'x', 'custom', 1, '2026-01-01')",
    "select private.set_obligation({org}, 'x', 'x', 'custom', 1, '2026-01-01', null, false, "
    "'{{}}', null, true, null, null)",
    "select accounting.roll_obligations({org}, '2020-01-01')",
    "select private.roll_obligations({org}, '2020-01-01', null, null)",
    "select accounting.close_period({org}, '2020-01', 'c')",
    "select accounting.reopen_period({org}, '2020-01', 'c')",
    "select accounting.lock_period({org}, '2020-01', 'c')",
    "select private.move_period({org}, '2020-02', 'locked', 'c', 'entity-default', null)",
    "select accounting.trial_balance({org})",
    "select accounting.account_ledger({org}, 'cash')",
    "select accounting.balance_as_of({org}, 'cash')",
    "select accounting.income_statement({org})",
    "select accounting.balance_sheet({org})",
    "select accounting.compare_snapshots({org})",
    "select accounting.get_account_map({org})",
    "select accounting.set_account_map({org}, 'cash', 'bank')",
    "select private.set_account_map({org}, 'cash', 'bank', null, null)",
    "select private.assert_reader({org})",
    "select private.entity_of({org}, 'cash')",
    "select private.account_sums({org}, null, null, null)",
    "select accounting.set_policy_rule({org}, 'rule', 1)",
    "select private.set_policy_rule({org}, 'rule', 1, 1, null, null, null, null, null, null, null, "
    "1, false, '{{}}')",
    "select accounting.retire_policy_rule({org}, 'rule')",
    "select private.retire_policy_rule({org}, 'rule')",
    "select accounting.approve_proposal({org}, {proposal}::text)",
    "select accounting.approve_proposal({own}, {proposal}::text)",
    "select accounting.reject_proposal({org}, {proposal}::text)",
    "select accounting.reject_proposal({own}, {proposal}::text)",
    "select private.decide_proposal({org}, {proposal}::text, 'approve', null, null, null)",
    "select private.decide_proposal({own}, {proposal}::text, 'reject', null, null, null)",
    "select private.find_policy_rule({org}, 'record_transaction_bundle', null, null, null)",
    "select private.rule_for_spend(jsonb_populate_record(null::metering.holds, "
    "jsonb_build_object('organization_id', {org})))",
    "select private.would_need_approval(jsonb_populate_record(null::metering.holds, "
    "jsonb_build_object('organization_id', {org}, 'held_usd', 1)))",
    "select public.check_workflow_cost_limit({workflow}, 0)",
    "select public.check_workflow_cost_limit({workflow}, 0, 1.00, {org})",
    "select public.check_workflow_cost_limit({workflow}, 0, 1.00, {own})",
    "select public.estimate_workflow_cost_limit({workflow}, 0)",
    "select public.estimate_workflow_cost_limit({workflow}, 0, 1.00, {org})",
    "select public.estimate_workflow_cost_limit({workflow}, 0, 1.00, {own})",
    "select public.get_organization_monthly_ai_cost({org})",
    "select public.check_organization_monthly_quota({org})",
    "select public.upsert_intent_workflow({workflow}, {org}, '{{}}')",
    "select metering.set_budget({org}, 'organization', null, 'month', 1)",
    "select metering.set_budget({org}, 'workflow', {workflow}::text, 'total', 1)",
    "select metering.set_budget({own}, 'workflow', {workflow}::text, 'total', 1)",
    "select metering.set_budget({own}, 'venture', {venture}::text, 'total', 1)",
    "select metering.set_budget({own}, 'organization', {org}::text, 'month', 1)",
    "select metering.change_budget({org}, {budget}, p_slots => 2)",
    "select metering.change_budget({own}, {budget}, p_slots => 2)",
    "select metering.remove_budget({org}, 'organization', null, 'month')",
    "select metering.remove_budget({org}, 'workflow', {workflow}::text, 'total')",
    "select metering.remove_budget({own}, 'workflow', {workflow}::text, 'total')",
    "select metering.freeze({org})",
    "select metering.freeze({own}, 'organization', {org}::text)",
    "select metering.freeze({own}, 'workflow', {workflow}::text)",
    "select metering.unfreeze({org})",
    "select metering.unfreeze({own}, 'workflow', {workflow}::text)",
    "select private.set_budget({org}, 'organization', null, 'month', null, 'hard', null)",
    "select private.set_budget({own}, 'workflow', {workflow}::text, 'total', null, 'hard', null)",
    "select private.change_budget({org}, {budget}, null, null, null, 2)",
    "select private.change_budget({own}, {budget}, null, null, null, 2)",
    "select private.remove_budget({org}, 'organization', null, 'month')",
    "select private.remove_budget({own}, 'workflow', {workflow}::text, 'total')",
    "select private.set_frozen({org}, 'organization', null, true)",
    "select private.set_frozen({own}, 'workflow', {workflow}::text, true)",
    "select private.assert_member({org})",
    "select private.assert_member({org}, null)",
    "select private.assert_workflow({workflow}, null)",
    "select private.assert_workflow({workflow}, {org})",
    "select private.assert_workflow({workflow}, {own})",
    "select private.resolve_organization_of_workflow({workflow})",
    "select private.fits_workflow({org}, {workflow}, 0, 1)",
    "select private.fits_workflow({own}, {workflow}, 0, 1)",
    "select private.monthly_cost({org}, '2026-01-01')",
    "select private.monthly_holds({org}, '2026-01-01')",
    "select private.present_month({org})",
    "select from metering.workflows where id = {workflow}",
    "update metering.workflows set workflow_data = '{{}}' where id = {workflow}",
    "select from public.intent_workflows where id = {workflow}",
    "update public.intent_workflows set workflow_data = '{{}}' where id = {workflow}",
    "insert into metering.workflows (organization_id) values ({org})",
    "insert into public.intent_workflows (organization_id) values ({org})",
    "select from metering.holds where id = {hold}",
    "select from metering.budget_status where budget_id = {budget}",
    "insert into tenancy.ventures (organization_id, name) values ({org}, 'New')",
    "insert into tenancy.memberships (organization_id, user_id) values ({org}, auth.uid())",
    "update tenancy.memberships set role = 'owner' where organization_id = {org}",
    "delete from tenancy.memberships where organization_id = {org}",
]
# Executable by members and given an id or a row, but reading nothing.
PURE = {
    "private.assert_covered",
    "private.assert_id",
    "private.affordable_tokens",
    "private.denied_as_exceeded",
    "private.denied_as_unpriced",
    "private.estimate_at",
    "private.estimated_cost",
    "private.granted_limit",
    "private.policy_decision_of",
    "private.scope_keys",
    "private.scope_keys_of",
    "private.uses_in_window",
    "private.uuid_v7_time",
    "private.with_affordable_tokens",
}


def test_another_tenant_looks_like_nobody_and_keeps_all_it_has(
    login: Login, owner: Connection, home: Organization, away: Organization
) -> None:
    before = everything_of(owner, away)
    connection = login_of(home.people["owner"], login)
    for statement in TENANT_CALLS:
        told = []
        for ids in (away.ids, {name: uuid4() for name in away.ids}):
            call = fill(statement, own=home.id, **ids)
            happened = repr(outcome(connection, call, keep=True))
            for name, value in ids.items():
                happened = happened.replace(str(value), name)
            told.append(happened)
        assert told[0] == told[1], statement
    assert everything_of(owner, away) == before


def test_the_list_above_names_every_function_a_member_can_aim_at_somebody(
    owner: Connection,
) -> None:
    aimable = owner.execute(
        f"""
        select distinct n.nspname || '.' || p.proname
        from pg_proc as p
        inner join pg_namespace as n on n.oid = p.pronamespace
        inner join pg_type as t
          on t.oid = any(p.proargtypes) and (t.typname = 'uuid' or t.typtype = 'c')
        where {OURS}
          and has_function_privilege('authenticated', p.oid, 'execute')
        """
    ).fetchall()
    named = {match for call in TENANT_CALLS for match in re.findall(r"(\w+\.\w+)\(", call)}
    named = {name for name in named if not name.startswith(("auth.", "tests."))}
    assert {name for (name,) in aimable} - PURE == named


def test_the_same_calls_reach_the_tenants_own(gateway: Connection, home: Organization) -> None:
    # One does nothing useful for anybody, and who is a member already cannot join.
    of_no_use = ("assert_member({org}, null)", "{org}, auth.uid())")
    with request(gateway, "authenticated", home.people["owner"]) as connection:
        for statement in TENANT_CALLS:
            if not statement.endswith(of_no_use):
                call = fill(statement, own=home.id, **home.ids)
                answer = "23001" if statement.startswith("delete") else "00000"
                assert code(connection, call) == answer, statement


def test_a_foreign_workflow_id_cannot_be_taken(
    gateway: Connection, owner: Connection, home: Organization, away: Organization
) -> None:
    before = everything_of(owner, away)
    with request(gateway, "authenticated", home.people["owner"]) as connection:
        for statement in (
            "select public.upsert_intent_workflow({workflow}, {own}, '{{}}')",
            "insert into public.intent_workflows (id, organization_id) values ({workflow}, {own})",
            "insert into metering.workflows (id, organization_id) values ({workflow}, {own})",
        ):
            call = fill(statement, workflow=away.workflow, own=home.id)
            assert code(connection, call) == "23505", statement
    assert everything_of(owner, away) == before


def test_a_member_sees_no_foreign_row_anywhere(
    gateway: Connection, owner: Connection, home: Organization, away: Organization
) -> None:
    relations = owner.execute(
        f"""
        select quote_ident(n.nspname) || '.' || quote_ident(c.relname), a.attname
        from pg_class as c
        inner join pg_namespace as n on n.oid = c.relnamespace
        inner join pg_attribute as a
          on a.attrelid = c.oid and a.attname in ('organization_id', 'org_id')
        where {OURS} and c.relkind in ('r', 'p', 'v')
          and has_table_privilege('authenticated', c.oid, 'select')
        """
    ).fetchall()
    assert len(relations) >= 30
    for organization in (home, away):  # so that every view of spend has a row of each
        owner.execute(
            "select settle_spend((authorize_spend(%s, 'm', 1, p_user_id => %s, p_tags => %s))"
            ".hold_id, null, 1)",
            (organization.id, organization.people["member"], '{"team": "a"}'),
        )
    with request(gateway, "authenticated", home.people["finance"]) as connection:
        for relation, tenant in relations:
            # What belongs to nobody, a list price, is for everybody.
            seen = connection.execute(
                f"select distinct {tenant} from {relation} where {tenant} is not null"
            ).fetchall()
            # A receipt is its owner's.
            is_receipt = relation.startswith(("public.ledger_", "private.ledger_"))
            expected = [] if is_receipt else [(home.id,)]
            assert seen == expected, relation
        assert connection.execute("select id from tenancy.organizations").fetchall() == [(home.id,)]
        assert connection.execute("select user_id from tenancy.profiles").fetchall() == [
            (home.people["member"],)
        ]
    with request(gateway, "authenticated", uuid4()) as connection:
        for relation, tenant in relations:
            seen = connection.execute(
                f"select from {relation} where {tenant} is not null"
            ).fetchall()
            assert seen == [], relation


def test_policies_hold_against_functions_that_tell_what_they_are_given(
    login: Login, home: Organization, away: Organization
) -> None:
    connection = login_of(home.people["member"], login)
    connection.execute(
        "create function pg_temp.tell(p_id uuid) returns boolean language plpgsql cost 0.0000001 "
        "as 'begin raise notice ''%'', p_id; return true; end'"
    )
    told: list[str | None] = []
    connection.add_notice_handler(lambda notice: told.append(notice.message_primary))
    for relation in (
        "public.ai_usage_ledger",
        "public.intent_workflows",
        "metering.budgets",
        "metering.budget_status",
        "metering.holds",
    ):
        connection.execute(f"select from {relation} where pg_temp.tell(organization_id)")
    assert set(told) == {str(home.id)}


# Claims are names, not power --------------------------------------------------------------------

FORGERIES: list[dict[str, object]] = [
    {"role": "service_role"},
    {"role": "postgres"},
    {"role": "app_user", "app_metadata": {"role": "service_role"}},
    {"is_super_admin": True, "user_role": "owner", "aud": "service_role"},
]


@pytest.mark.parametrize("forgery", FORGERIES)
@pytest.mark.parametrize("legacy", [False, True], ids=["claims", "one setting per claim"])
def test_forged_claims_give_no_power(
    gateway: Connection,
    home: Organization,
    away: Organization,
    forgery: dict[str, object],
    legacy: bool,
) -> None:
    with request(gateway, "authenticated", home.people["viewer"], **forgery) as connection:
        if legacy:
            connection.execute("select set_config('request.jwt.claim.role', 'service_role', true)")
        assert outcome(connection, "select private.is_trusted_caller()") == [(False,)]
        assert code(connection, record(home)) == "42501"
        assert code(connection, "select * from audit.verify_integrity()") == "42501"
        monthly = fill("select public.get_organization_monthly_ai_cost({org})", org=away.id)
        assert code(connection, monthly) == "42501"
        cap = fill(
            "select metering.set_budget({org}, 'organization', null, 'month', 1)", org=home.id
        )
        assert code(connection, cap) == "42501"
        seen = connection.execute(
            "select distinct organization_id from public.ai_usage_ledger"
        ).fetchall()
        assert seen == [(home.id,)]
    with request(gateway, "anon", home.people["owner"], **forgery) as connection:
        assert code(connection, "select from public.ai_usage_ledger") == "42501"
        assert code(connection, record(home)) == "42501"


def test_a_login_without_a_person_is_nobody(login: Login, home: Organization) -> None:
    connection = login("authenticated")
    assert outcome(connection, "select private.member_organization_ids()") == [([],)]
    assert outcome(connection, "select id from tenancy.organizations") == []
    assert code(connection, "select tenancy.create_organization('New')") == "42501"
    assert code(connection, record(home)) == "42501"


@pytest.mark.parametrize("role", ["service_role", "app_user", "tallystick_writer", "postgres"])
def test_a_member_login_cannot_become_more(login: Login, role: str) -> None:
    connection = login("authenticated")
    connection.execute("set role authenticated")
    for statement in (f"set role {role}", f"select set_config('role', '{role}', false)"):
        assert code(connection, statement) == "42501"
    assert code(connection, f"set session authorization {role}") == "42501"
    assert code(connection, "set session_replication_role = 'replica'") == "42501"
    assert outcome(connection, "select private.is_trusted_caller()") == [(False,)]


def test_trust_follows_the_role_and_not_the_login(gateway: Connection) -> None:
    with request(gateway, "service_role") as connection:
        assert outcome(connection, "select private.is_trusted_caller()") == [(True,)]
    with request(gateway, "authenticated", uuid4()) as connection:
        assert outcome(connection, "select private.is_trusted_caller()") == [(False,)]


# anon and the gateway itself --------------------------------------------------------------------


def calls_of_every_function(owner: Connection, *rooms: str) -> list[str]:
    """Return a call of each function of ours with nulls, of the given rooms or of all."""
    found = owner.execute(
        f"""
        select concat('select ', n.nspname, '.', p.proname, '(', (
          select string_agg('null::' || a.type::regtype, ', ' order by a.position)
          from unnest(p.proargtypes::oid []) with ordinality as a (type, position)
        ), ')')
        from pg_proc as p
        inner join pg_namespace as n on n.oid = p.pronamespace
        where {OURS} and (n.nspname = any(%s) or %s)
        """,
        (list(rooms), not rooms),
    ).fetchall()
    assert found
    return [call for (call,) in found]


def statements_on_every_relation(owner: Connection) -> list[str]:
    """Return reads and writes of every table and view of ours, partitions included."""
    found = owner.execute(
        f"""
        select quote_ident(n.nspname) || '.' || quote_ident(c.relname), c.relkind::text
        from pg_class as c
        inner join pg_namespace as n on n.oid = c.relnamespace
        where {OURS} and c.relkind in ('r', 'p', 'v')
        """
    ).fetchall()
    assert len(found) > 40, "partitions are among them"
    statements = []
    for name, kind in found:
        statements += [f"select from {name}", f"select count(*) from {name}"]
        if kind != "v":
            statements += [
                f"insert into {name} default values",
                f"delete from {name}",
                f"truncate {name} cascade",
                f"lock table {name} in access share mode",
            ]
    return statements


def test_anon_does_nothing_with_anything_of_ours(
    gateway: Connection, owner: Connection, home: Organization
) -> None:
    statements = calls_of_every_function(owner) + statements_on_every_relation(owner)
    with request(gateway, "anon", home.people["owner"]) as connection:
        allowed = [each for each in statements if code(connection, each) != "42501"]
    assert allowed == []


def test_the_gateway_has_no_power_of_its_own(gateway: Connection, owner: Connection) -> None:
    statements = calls_of_every_function(owner) + statements_on_every_relation(owner)
    assert [each for each in statements if code(gateway, each) != "42501"] == []


def test_a_login_of_nobody_does_nothing_with_anything_of_ours(
    login: Login, owner: Connection
) -> None:
    connection = login()
    statements = calls_of_every_function(owner) + statements_on_every_relation(owner)
    assert [each for each in statements if code(connection, each) != "42501"] == []


# What is recorded stays -------------------------------------------------------------------------


GUARDED = [
    "update public.ai_usage_ledger set cost = 0",
    "delete from public.ai_usage_ledger",
    "truncate public.ai_usage_ledger",
    "insert into public.ai_usage_ledger select * from public.ai_usage_ledger",
    "merge into public.ai_usage_ledger using (select 1) as x on true when matched then delete",
    "update metering.budget_slots set settled_usd = 0",
    "update metering.holds set held_usd = 0",
    "update metering.holds set expires_at = now() + interval '1 day'",
    "delete from metering.holds",
    "insert into metering.holds select * from metering.holds",
    "delete from metering.usage_rollups",
    "delete from metering.request_keys",
    "update metering.budgets set limit_usd = null",
    "delete from tenancy.organizations",
    "alter table public.ai_usage_ledger disable trigger all",
    "drop trigger ai_usage_ledger_reject_mutation on public.ai_usage_ledger",
    "alter table public.ai_usage_ledger disable row level security",
    "create rule hide as on insert to public.ai_usage_ledger do instead nothing",
    "create trigger t before insert on public.ai_usage_ledger "
    "for each row execute function private.touch_updated_at()",
    "drop table public.ai_usage_ledger",
    "create function private.clock_now() returns timestamptz language sql as 'select now()'",
    "create or replace function private.clock_now() returns timestamptz "
    "language sql as 'select now()'",
    "create table private.mine (id int)",
    "create table public.mine (id int)",
    "set session_replication_role = 'replica'",
]


@pytest.mark.parametrize("role", ["service_role", "authenticated"])
def test_nobody_but_the_owner_touches_what_is_recorded_or_its_guards(
    gateway: Connection, home: Organization, role: str
) -> None:
    with request(gateway, role, home.people["owner"]) as connection:
        for statement in GUARDED:
            assert code(connection, statement) == "42501", statement


# Members among themselves -----------------------------------------------------------------------


@pytest.mark.parametrize(
    ("role", "answer"),
    [("owner", "00000"), ("admin", "00000"), ("finance", "00000"), ("member", "00000"),
     ("viewer", "42501")],
)  # fmt: skip
def test_members_write_workflows_and_viewers_read_them(
    gateway: Connection, home: Organization, role: str, answer: str
) -> None:
    with request(gateway, "authenticated", home.people[role]) as connection:
        for statement in (
            "select public.upsert_intent_workflow({workflow}, {own}, '{{}}')",
            "insert into public.intent_workflows (organization_id) values ({own})",
            "update public.intent_workflows set workflow_data = '{{}}' where id = {workflow}",
        ):
            call = fill(statement, workflow=home.workflow, own=home.id)
            assert code(connection, call) == answer, statement
        assert connection.execute("select id from public.intent_workflows").fetchall() == [
            (home.workflow,)
        ]


@pytest.mark.parametrize(
    ("role", "answer"),
    [("owner", "00000"), ("admin", "00000"), ("finance", "42501"), ("member", "42501"),
     ("viewer", "42501")],
)  # fmt: skip
def test_owners_and_admins_store_caps_and_freeze(
    gateway: Connection, home: Organization, role: str, answer: str
) -> None:
    with request(gateway, "authenticated", home.people[role]) as connection:
        for statement in (
            "select metering.set_budget({org}, 'organization', null, 'month', 1)",
            "select metering.set_budget({org}, 'workflow', {workflow}::text, 'total', 1)",
            "select metering.change_budget({org}, {budget}, p_slots => 2)",
            "select metering.remove_budget({org}, 'organization', null, 'month')",
            "select metering.freeze({org})",
            "select metering.unfreeze({org})",
            "select private.set_budget({org}, 'organization', null, 'month', 1, 'hard', null)",
            "select private.change_budget({org}, {budget}, null, null, null, 2)",
            "select private.remove_budget({org}, 'organization', null, 'month')",
            "select private.set_frozen({org}, 'organization', null, true)",
        ):
            assert code(connection, fill(statement, **home.ids)) == answer, statement


def test_an_admin_manages_members_but_makes_no_owner(
    gateway: Connection, home: Organization
) -> None:
    people = home.people
    with request(gateway, "authenticated", people["admin"]) as connection:
        for statement, answer in [
            ("update tenancy.memberships set role = 'admin' where user_id = {member}", 1),
            ("update tenancy.memberships set role = 'admin' where user_id = {owner}", 0),
            ("delete from tenancy.memberships where user_id = {owner}", 0),
            ("delete from tenancy.memberships where user_id = {member}", 1),
        ]:
            assert outcome(connection, fill(statement, **people)) == answer, statement
        for statement in (
            "update tenancy.memberships set role = 'owner' where user_id = {admin}",
            "update tenancy.memberships set role = 'owner' where user_id = {member}",
            "insert into tenancy.memberships (organization_id, user_id, role) "
            "values ({own}, {admin}, 'owner') "
            "on conflict (organization_id, user_id) do update set role = 'owner'",
            "update tenancy.memberships set user_id = {owner} where user_id = {admin}",
        ):
            assert code(connection, fill(statement, own=home.id, **people)) == "42501", statement
    with request(gateway, "authenticated", people["owner"]) as connection:
        promotion = "update tenancy.memberships set role = 'owner' where user_id = {admin}"
        assert outcome(connection, fill(promotion, **people)) == 1


WITHOUT_OWNER = [
    "delete from tenancy.memberships where organization_id = {own}",
    "delete from tenancy.memberships where organization_id = {own} and role = 'owner'",
    "update tenancy.memberships set role = 'viewer' where organization_id = {own}",
    "with gone as (delete from tenancy.memberships where user_id = {owner} returning user_id) "
    "delete from tenancy.memberships where user_id = {second}",
    "with less as "
    "(update tenancy.memberships set role = 'admin' where user_id = {second} returning role) "
    "delete from tenancy.memberships where user_id = {owner}",
    "merge into tenancy.memberships as m using (select 1) as x "
    "on m.organization_id = {own} and m.role = 'owner' when matched then delete",
]


@pytest.mark.parametrize("role", ["authenticated", "service_role"])
def test_an_owner_always_stays(
    gateway: Connection, owner: Connection, home: Organization, role: str
) -> None:
    row = owner.execute("select tests.member(%s, 'owner')", (home.id,)).fetchone()
    assert row is not None
    ids = {"own": home.id, "owner": home.people["owner"], "second": row[0]}
    with request(gateway, role, home.people["owner"]) as connection:
        for statement in WITHOUT_OWNER:
            assert code(connection, fill(statement, **ids)) == "23001", statement
        leaving = "delete from tenancy.memberships where user_id = {owner}"
        assert outcome(connection, fill(leaving, **ids)) == 1, "while another owner stays"


# Definers ---------------------------------------------------------------------------------------


def test_readme_explains_every_definer_that_a_member_reaches(owner: Connection) -> None:
    _, _, section = README.read_text(encoding="utf-8").partition(
        "Functions that run with their owner's rights"
    )
    table = section.partition("\n#")[0]
    explained = re.findall(r"^\| *`([\w.]+)(?:\([^`]*\))?` *\| *(\S.*\S) *\|$", table, re.MULTILINE)
    reached = owner.execute(
        """
        select n.nspname || '.' || p.proname
        from pg_proc as p
        inner join pg_namespace as n on n.oid = p.pronamespace
        where p.prosecdef
          and has_schema_privilege('authenticated', n.oid, 'usage')
          and has_function_privilege('authenticated', p.oid, 'execute')
        """
    ).fetchall()
    assert sorted(name for name, _ in explained) == sorted(name for (name,) in reached)
    assert all(name.startswith("private.") for (name,) in reached)


DEFINER_CALLS = {
    "authenticated": [
        "select private.member_organization_ids()",
        "select tenancy.create_organization('New')",
        "select metering.set_budget({own}, 'organization', null, 'month', 1)",
        "select metering.set_budget({own}, 'workflow', {workflow}::text, 'hour', 1)",
        "select metering.change_budget({own}, {budget}, p_window => 'day', p_slots => 2)",
        "select metering.remove_budget({own}, 'organization', null, 'month')",
        "select metering.freeze({own}, 'workflow', {workflow}::text)",
        "select metering.unfreeze({own})",
        "select public.authorize_spend({own}, 'm', 1, p_tags => '{{\"a\": \"b\"}}', "
        "p_request_id => 'first', p_venture_id => {venture})",
        "select public.authorize_spend_batch({own}, '[{{\"estimated_cost\": 1}}]')",
        "select public.release_spend({hold}, 'done')",
        "select public.check_workflow_cost_limit({workflow}, 0)",
        "insert into metering.workflows (organization_id) values ({own})",
        "delete from tenancy.memberships where user_id = {owner}",
        "select from public.ai_usage_ledger",
    ],
    "tallystick_writer": [
        RECORD.replace("{org}", "{own}").replace("{cost}", "1"),
        "select public.check_workflow_cost_limit({workflow}, 0)",
        "select public.settle_spend({hold}, '{{\"input_tokens\": 1}}', 1, 'first')",
        "select public.settle_spend_batch({own}, "
        "jsonb_build_array(jsonb_build_object('hold_id', {hold}, 'cost', 1)))",
        "select public.extend_hold({hold}, '1 hour', 1, 'first')",
        "select metering.expire_holds({own})",
    ],
    "service_role": [
        "insert into tenancy.organizations (name) values ('New')",
        "update tenancy.organizations set time_zone = 'Asia/Tokyo' where id = {own}",
        "delete from tenancy.memberships where user_id = {owner}",
    ],
}


def shadow(connection: Connection, *types: str) -> None:
    """Put domains in the way of types; whoever else uses one ends with the code STOLE."""
    connection.execute(
        "create function pg_temp.spy() returns pg_catalog.bool language plpgsql as "
        "'begin if current_user <> session_user then "
        "raise exception using errcode = ''STOLE''; end if; return true; end'"
    )
    for name in types:
        connection.execute(
            f"create domain pg_temp.{name} as pg_catalog.{name} check (pg_temp.spy())"
        )


@pytest.mark.parametrize("role", list(DEFINER_CALLS))
def test_a_caller_cannot_slip_types_of_its_own_into_definers(
    login: Login, owner: Connection, home: Organization, role: str
) -> None:
    # Temporary schemas are searched for types before all others unless a path names them, and a
    # domain may carry a check that calls a function: code of the caller, rights of the owner.
    people = home.people
    connection = login(role)
    claims = json.dumps({"sub": str(people["owner"])})
    connection.execute("select set_config('request.jwt.claims', %s, false)", (claims,))
    shadow(connection, "uuid", "text", "jsonb", "timestamptz", "date", "name", "regclass", "bool")
    for statement in DEFINER_CALLS[role]:
        call = fill(statement, own=home.id, owner=people["owner"], **home.ids)
        # A call that is refused before it gets there proves nothing.
        assert code(connection, call) in ("00000", "23001"), statement
    connection.rollback()

    # The trap works: a definer whose path is merely empty walks into it.
    owner.execute(
        "create function public.careless() returns text language plpgsql security definer "
        "set search_path = '' as 'declare v_name text := ''x''; begin return v_name; end'"
    )
    owner.execute(f"grant execute on function public.careless() to {role}")
    shadow(connection, "text")
    assert code(connection, "select public.careless()") == "STOLE"


def test_a_seam_that_answers_null_lets_nobody_in(
    gateway: Connection, owner: Connection, home: Organization
) -> None:
    owner.execute(
        "create or replace function private.member_organization_ids(p_roles text [] default "
        "array['owner', 'admin', 'finance', 'member', 'viewer']) returns uuid [] "
        "language sql stable security definer set search_path = pg_catalog, pg_temp "
        "as 'select null::uuid []'"
    )
    with request(gateway, "authenticated", home.people["owner"]) as connection:
        for statement in (
            "select public.get_organization_monthly_ai_cost({own})",
            "select public.check_organization_monthly_quota({own})",
            "select metering.set_budget({own}, 'organization', null, 'month', 1)",
            "select metering.change_budget({own}, {budget}, p_slots => 2)",
            "select metering.remove_budget({own}, 'organization', null, 'month')",
            "select metering.freeze({own})",
            "select metering.unfreeze({own})",
            "select private.lock_organization({own})",
            "select public.authorize_spend({own}, 'm', 1)",
            "select public.estimate_spend({own}, 'm', 1)",
            "select public.authorize_spend_batch({own}, '[{{}}]')",
            "select public.upsert_intent_workflow({workflow}, {own}, '{{}}')",
        ):
            call = fill(statement, own=home.id, **home.ids)
            assert code(connection, call) == "42501", statement
        release = fill("select public.release_spend({hold})", hold=home.hold)
        assert code(connection, release) == "TS404"
        assert outcome(connection, "select id from public.ai_usage_ledger") == []
        assert outcome(connection, "select id from metering.holds") == []


AMOUNTS = [("NaN", "22023"), ("Infinity", "22023"), ("-1", "22023"), ("1.0000000000005", "22023"),
           ("1000000000000", "22023"), ("1.000000000005", "00000")]  # fmt: skip


@pytest.mark.parametrize(("amount", "answer"), [*AMOUNTS, ("0", "00000")])
def test_the_core_of_set_budget_checks_amounts_itself(
    gateway: Connection, home: Organization, amount: str, answer: str
) -> None:
    core = (
        "select private.set_budget({org}, 'workflow', {workflow}::text, 'total', "
        "{amount}::numeric, 'hard', null)"
    )
    with request(gateway, "authenticated", home.people["owner"]) as connection:
        assert code(connection, fill(core, amount=amount, **home.ids)) == answer


CORE_OF_AUTHORIZE = (
    "select private.authorize_spend({org}, 'm', {amount}::numeric, null, null, null, null, null, "
    "{user}::uuid, {key}, '{{}}', null, null, null, '1 hour', false, null)"
)


@pytest.mark.parametrize(("amount", "answer"), [*AMOUNTS, ("0", "22023")])
def test_the_core_of_authorize_spend_checks_amounts_itself(
    gateway: Connection, home: Organization, amount: str, answer: str
) -> None:
    with request(gateway, "authenticated", home.people["member"]) as connection:
        call = fill(CORE_OF_AUTHORIZE, amount=amount, user=None, key=None, **home.ids)
        assert code(connection, call) == answer


def test_the_core_of_authorize_spend_asks_who_is_calling_itself(
    gateway: Connection, home: Organization
) -> None:
    member, other = home.people["member"], home.people["finance"]
    for person, user, key, answer in [
        (member, member, None, "00000"),
        (member, other, None, "42501"),
        (member, None, "key", "42501"),
        (home.people["viewer"], None, None, "42501"),
        (uuid4(), None, None, "42501"),
    ]:
        with request(gateway, "authenticated", person) as connection:
            call = fill(CORE_OF_AUTHORIZE, amount="1", user=user, key=key, **home.ids)
            assert code(connection, call) == answer, (person, user, key)
