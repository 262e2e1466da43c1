"""Asking, holding, settling, over the real database, sync and async; what returns is exact."""

from datetime import UTC, datetime, timedelta
from decimal import Decimal
from typing import Any
from uuid import UUID, uuid4

import psycopg
import pytest

from tallystick import (
    BudgetExceeded,
    Client,
    Decision,
    Frozen,
    Hold,
    HoldClosed,
    InvalidArgument,
    Organization,
    PermissionDenied,
    RequestConflict,
    Settlement,
    SpendRequest,
    UnknownId,
    Usage,
)
from tests.support.servers import Database

CENT = Decimal("0.01")
MOTE = Decimal("0.000000000001")


@pytest.fixture
def venture_id(connection: psycopg.Connection, organization: Organization) -> UUID:
    row = connection.execute(
        "insert into tenancy.ventures (organization_id, name) values (%s, 'Search') returning id",
        [organization.id],
    ).fetchone()
    assert row is not None
    return UUID(str(row[0]))


def hold(client: Client, organization: Organization, cost: Decimal = CENT, **about: Any) -> UUID:
    decision = client.authorize_spend(organization.id, estimated_cost=cost, **about)
    assert decision.granted
    assert decision.hold_id is not None
    return decision.hold_id


def cap(client: Client, organization: Organization, limit: Decimal) -> None:
    client.set_budget(organization.id, "organization", None, "month", limit)


def test_a_grant_is_held_and_settled(client: Client, organization: Organization) -> None:
    before = datetime.now(UTC)
    decision = client.authorize_spend(organization.id, model="gpt-4o", estimated_cost=CENT + MOTE)
    assert type(decision) is Decision
    assert (decision.decision, decision.granted, decision.reason) == ("granted", True, None)
    assert type(decision.hold_id) is UUID
    assert type(decision.held_usd) is Decimal
    assert decision.held_usd == CENT + MOTE
    assert type(decision.expires_at) is datetime
    lasts = decision.expires_at - before
    assert timedelta(minutes=9) < lasts < timedelta(minutes=11)
    assert (decision.usage_id, decision.budget_id, decision.proposal_id) == (None, None, None)

    usage = client.settle_spend(
        decision.hold_id,
        usage={"input_tokens": 1200, "output_tokens": 300, "reasoning_tokens": 50},
        cost=CENT - MOTE,
    )
    assert type(usage) is Usage
    assert (usage.id, usage.organization_id, usage.model) == (
        decision.hold_id,
        organization.id,
        "gpt-4o",
    )
    assert (usage.prompt_tokens, usage.completion_tokens) == (1200, 350)
    assert (usage.cost, usage.settlement, usage.unheld_usd) == (CENT - MOTE, "on_hold", 0)
    assert type(usage.cost) is Decimal
    assert usage.settled_at >= usage.created_at
    assert client.get_organization_monthly_ai_cost(organization.id) == CENT - MOTE
    assert client.verify_integrity() == []


def test_a_hold_remembers_what_it_was_asked_for(
    client: Client, organization: Organization, workflow_id: UUID, venture_id: UUID
) -> None:
    about = {
        "model": "gpt-4o",
        "workflow_id": workflow_id,
        "run_id": uuid4(),
        "venture_id": venture_id,
        "user_id": uuid4(),
        "api_key_id": "key-1",
        "tags": {"team": "search", "env": "ünïcode"},
        "provider": "openai",
        "service_tier": "flex",
    }
    hold_id = hold(
        client,
        organization,
        **about,
        input_tokens=2**40,
        max_output_tokens=4096,
        request_id="req-1",
        expires_in=timedelta(days=1),
    )
    (held,) = client.holds(organization.id)
    assert type(held) is Hold
    assert (held.id, held.state, held.held_usd) == (hold_id, "open", CENT)
    assert {name: getattr(held, name) for name in about} == about
    assert held.budget_ids[0] == organization.id
    assert {type(budget_id) for budget_id in held.budget_ids} == {UUID}
    assert (held.closed_at, held.reason) == (None, None)
    lasts = held.expires_at - held.created_at
    assert timedelta(days=1) <= lasts < timedelta(days=1, minutes=1)

    usage = client.settle_spend(hold_id, cost=CENT, organization_id=organization.id)
    assert {name: getattr(usage, name) for name in about} == about
    assert client.holds(organization.id) == []


def test_a_call_may_name_nothing_but_its_cost(client: Client, organization: Organization) -> None:
    usage = client.settle_spend(hold(client, organization), cost=CENT)
    assert usage.workflow_id is None
    assert usage.tags == {}


def test_a_denial_says_why_and_until_when(client: Client, organization: Organization) -> None:
    cap(client, organization, Decimal("0.03"))
    hold(client, organization)
    denied = client.authorize_spend(organization.id, estimated_cost=Decimal("0.02") + MOTE)
    assert (denied.decision, denied.granted) == ("denied", False)
    assert (denied.reason, denied.hold_id) == ("budget_exceeded", None)
    assert denied.remaining_usd == Decimal("0.02")
    assert type(denied.remaining_usd) is Decimal
    (month,) = (b for b in client.budgets(organization.id) if b.time_window == "month")
    assert (denied.budget_id, denied.resets_at) == (month.budget_id, month.resets_at)
    assert client.authorize_spend(organization.id, estimated_cost=Decimal("0.02")).granted


def test_part_of_it_may_do(client: Client, organization: Organization) -> None:
    cap(client, organization, CENT)
    for minimum, granted in ((Decimal("0.02"), False), (CENT, True)):
        decision = client.authorize_spend(
            organization.id, estimated_cost=Decimal(1), allow_partial=True, minimum=minimum
        )
        assert decision.granted is granted
    assert decision.held_usd == CENT


def test_passing_a_soft_limit_is_granted_and_said(
    client: Client, organization: Organization
) -> None:
    client.set_budget(organization.id, "model", "gpt-4o", "day", CENT, enforcement="soft")
    passed = client.authorize_spend(organization.id, model="gpt-4o", estimated_cost=Decimal("0.03"))
    assert (passed.granted, passed.reason) == (True, "over_soft_limit")
    assert passed.remaining_usd == Decimal("-0.02")


def test_a_retry_is_the_same_request(client: Client, organization: Organization) -> None:
    asked = {"model": "gpt-4o", "estimated_cost": CENT, "request_id": "req-1"}
    first = client.authorize_spend(organization.id, **asked)
    assert client.authorize_spend(organization.id, **asked) == first
    with pytest.raises(RequestConflict) as refusal:
        client.authorize_spend(organization.id, **{**asked, "model": "other"})
    assert refusal.value.details["request_id"] == "req-1"
    assert first.hold_id is not None
    client.settle_spend(first.hold_id, cost=Decimal("0.006"))
    settled = client.authorize_spend(organization.id, **asked)
    assert (settled.decision, settled.granted) == ("settled", False)
    assert (settled.usage_id, settled.held_usd) == (first.hold_id, Decimal("0.006"))


def test_an_estimate_holds_nothing(client: Client, organization: Organization) -> None:
    cap(client, organization, CENT)
    reader = client.read_only()
    yes = reader.estimate_spend(organization.id, estimated_cost=CENT)
    no = reader.estimate_spend(organization.id, estimated_cost=CENT + MOTE)
    assert (yes.decision, yes.hold_id, yes.held_usd) == ("granted", None, CENT)
    assert (no.decision, no.reason, no.remaining_usd) == ("denied", "budget_exceeded", CENT)
    assert client.holds(organization.id) == []


def test_what_was_spent_above_the_hold_is_recorded(
    client: Client, organization: Organization
) -> None:
    usage = client.settle_spend(hold(client, organization), cost=CENT + MOTE)
    assert (usage.settlement, usage.unheld_usd) == ("on_hold", MOTE)


def test_settling_again_is_the_same_row(client: Client, organization: Organization) -> None:
    hold_id = hold(client, organization)
    first = client.settle_spend(hold_id, cost=CENT, request_id="settle-1")
    assert client.settle_spend(hold_id, cost=CENT, request_id="settle-1") == first
    with pytest.raises(RequestConflict):
        client.settle_spend(hold_id, cost=CENT + MOTE)


def test_a_release_gives_the_money_back(client: Client, organization: Organization) -> None:
    cap(client, organization, CENT)
    hold_id = hold(client, organization)
    released = client.release_spend(hold_id, reason="cancelled", organization_id=organization.id)
    assert type(released) is Hold
    assert (released.id, released.state, released.reason) == (hold_id, "released", "cancelled")
    assert type(released.closed_at) is datetime
    assert client.release_spend(hold_id) == released
    assert hold(client, organization) != hold_id
    late = client.settle_spend(hold_id, cost=CENT)
    assert (late.settlement, late.unheld_usd) == ("after_hold", CENT)
    with pytest.raises(HoldClosed) as refusal:
        client.release_spend(hold_id)
    assert refusal.value.code == "TS410"
    assert refusal.value.details["hold_id"] == str(hold_id)


def test_a_hold_is_extended_in_time_and_money(client: Client, organization: Organization) -> None:
    cap(client, organization, Decimal("0.02"))
    hold_id = hold(client, organization)
    longer = client.extend_hold(hold_id, expires_in=timedelta(hours=3))
    assert longer.held_usd == CENT
    assert longer.expires_at - longer.created_at >= timedelta(hours=3)
    for _retry in range(2):
        more = client.extend_hold(
            hold_id,
            additional_cost=CENT,
            request_id="more-1",
            organization_id=organization.id,
        )
        assert (more.held_usd, more.expires_at) == (Decimal("0.02"), longer.expires_at)
    with pytest.raises(BudgetExceeded) as refusal:
        client.extend_hold(hold_id, additional_cost=MOTE)
    assert refusal.value.code == "TS402"
    assert refusal.value.details["remaining_usd"] == "0"
    client.freeze(organization.id)
    with pytest.raises(Frozen):
        client.extend_hold(hold_id, additional_cost=MOTE)
    client.release_spend(hold_id)
    with pytest.raises(HoldClosed):
        client.extend_hold(hold_id, expires_in=timedelta(hours=3))


def test_a_batch_is_decided_item_by_item(client: Client, organization: Organization) -> None:
    cap(client, organization, Decimal("0.02"))
    requests = [
        SpendRequest(
            model="gpt-4o",
            estimated_cost=CENT + MOTE,
            tags={"team": "search"},
            request_id="a",
            expires_in=timedelta(hours=2),
        ),
        SpendRequest(estimated_cost=Decimal("NaN")),
        SpendRequest(estimated_cost=CENT),
        SpendRequest(estimated_cost=CENT, allow_partial=True, minimum=MOTE),
        SpendRequest(estimated_cost=CENT, request_id="a"),
        SpendRequest(estimated_cost=MOTE, workflow_id=uuid4()),
    ]
    first, nan, denied, partial, conflict, unknown = client.authorize_spend_batch(
        organization.id, requests
    )
    assert [item.item for item in (first, nan, denied, partial, conflict, unknown)] == [*range(6)]
    assert (first.granted, first.error) == (True, None)
    assert first.decision is not None
    assert first.decision.held_usd == CENT + MOTE
    held = {each.id: each for each in client.holds(organization.id)}[first.decision.hold_id]
    assert (held.model, held.tags) == ("gpt-4o", {"team": "search"})
    assert held.expires_at - held.created_at >= timedelta(hours=2)
    assert type(nan.error) is InvalidArgument
    assert nan.error.details["argument"] == "p_estimated_cost"
    assert (denied.granted, denied.error) == (False, None)
    assert denied.decision is not None
    assert denied.decision.remaining_usd == CENT - MOTE
    assert partial.decision is not None
    assert partial.decision.held_usd == CENT - MOTE
    assert type(conflict.error) is RequestConflict
    assert type(unknown.error) is UnknownId


@pytest.mark.parametrize("plain", [True, False])
def test_a_batch_is_settled_item_by_item(
    client: Client, organization: Organization, plain: bool
) -> None:
    one, other = (hold(client, organization, model="gpt-4o") for _ in range(2))
    settlements = [
        Settlement(hold_id=one, usage={"input_tokens": 3, "output_tokens": 4}, cost=CENT - MOTE),
        Settlement(hold_id=other, cost=CENT if plain else CENT + MOTE),
    ]
    if not plain:
        settlements.append(Settlement(hold_id=uuid4(), cost=CENT, request_id="a"))
    answers = client.settle_spend_batch(organization.id, settlements)
    assert [each.item for each in answers] == [*range(len(settlements))]
    assert [each.usage_id for each in answers[:2]] == [one, other]
    assert [each.cost for each in answers[:2]] == [each.cost for each in settlements[:2]]
    assert {type(each.cost) for each in answers[:2]} == {Decimal}
    assert [each.settlement for each in answers[:2]] == ["on_hold", "on_hold"]
    assert [each.unheld_usd for each in answers[:2]] == [0, 0 if plain else MOTE]
    assert [type(each.error) for each in answers[2:]] == ([] if plain else [UnknownId])
    assert client.get_organization_monthly_ai_cost(organization.id) == sum(
        each.cost for each in settlements[:2] if each.cost is not None
    )
    assert client.verify_integrity() == []


def test_a_batch_that_is_none_is_refused(client: Client, organization: Organization) -> None:
    for answer in (client.authorize_spend_batch, client.settle_spend_batch):
        with pytest.raises(InvalidArgument) as refusal:
            answer(organization.id, [])
        assert refusal.value.details["argument"] == "p_items"


@pytest.mark.parametrize("amount", ["NaN", "0", "-0.01", "0.0000000000001", "1e12"])
def test_an_impossible_estimate_is_22023(
    client: Client, organization: Organization, amount: str
) -> None:
    for ask in (client.authorize_spend, client.estimate_spend):
        with pytest.raises(InvalidArgument) as refusal:
            ask(organization.id, estimated_cost=Decimal(amount))
        assert refusal.value.details["argument"] == "p_estimated_cost"


def test_a_hold_of_nobody_is_ts404(client: Client) -> None:
    unknown = uuid4()
    for close in (client.release_spend, lambda hold_id: client.settle_spend(hold_id, cost=CENT)):
        with pytest.raises(UnknownId) as refusal:
            close(unknown)
        assert refusal.value.details == {"hold_id": str(unknown)}


def test_only_servers_state_what_it_cost(
    database: Database, sync_client: Client, organization: Organization
) -> None:
    hold_id = hold(sync_client, organization)
    with (
        database.connect(role="authenticated", autocommit=True) as member,
        pytest.raises(PermissionDenied),
    ):
        Client(member).settle_spend(hold_id, cost=Decimal(0))
