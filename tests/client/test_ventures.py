"""What ventures use and which shares they have, against the real database, sync and async."""

from decimal import Decimal
from uuid import UUID, uuid4

import psycopg
import pytest

from tallystick import (
    AppendOnly,
    Client,
    InvalidArgument,
    Organization,
    RequestConflict,
    UnknownId,
    VentureUsage,
)
from tallystick.errors import ERRORS


@pytest.fixture
def venture_id(connection: psycopg.Connection, organization: Organization) -> UUID:
    row = connection.execute("select tests.venture(%s)", [organization.id]).fetchone()
    assert row is not None
    venture_id: UUID = row[0]
    return venture_id


def record(client: Client, venture_id: UUID, cost: str = "0.25", **named: object) -> VentureUsage:
    """Record a call of a researcher in stage 3."""
    return client.record_venture_usage(
        venture_id, 3, "researcher", "gpt-4o", 1000, 100, Decimal(cost), **named
    )


def test_what_a_venture_used_is_what_was_stated(
    client: Client, organization: Organization, venture_id: UUID
) -> None:
    stated = {
        "phase": "THE_TRUTH",
        "job_id": uuid4(),
        "crew_id": "crew",
        "budget_profile": "exploratory",
        "operation_type": "search",
        "metadata": {"part": Decimal("0.1")},
        "organization_id": organization.id,
    }
    row = record(client, venture_id, request_id="1", **stated)
    assert type(row) is VentureUsage
    assert {name: getattr(row, name) for name in stated} == stated
    assert (row.venture_id, row.lifecycle_stage, row.agent_type) == (venture_id, 3, "researcher")
    assert (row.tokens_input, row.tokens_output, row.tokens_total) == (1000, 100, 1100)
    assert (row.cost_usd, row.is_simulation, row.usage_id) == (Decimal("0.25"), False, row.id)
    assert record(client, venture_id, request_id="1", **stated) == row
    with pytest.raises(RequestConflict):
        record(client, venture_id, "0.26", request_id="1", **stated)


def test_a_simulation_is_apart(
    client: Client, organization: Organization, venture_id: UUID
) -> None:
    record(client, venture_id)
    run_id = uuid4()
    row = record(client, venture_id, "5", is_simulation=True, simulation_run_id=run_id)
    assert (row.usage_id, row.simulation_run_id) == (None, run_id)
    (line,) = client.venture_spend(organization.id, venture_id=venture_id)
    assert (line.lifecycle_stage, line.phase, line.agent_type) == (3, None, "researcher")
    assert (line.requests, line.tokens_total, line.cost_usd) == (1, 1100, Decimal("0.25"))
    assert (line.simulated_requests, line.simulated_cost_usd) == (1, Decimal(5))
    assert client.get_organization_monthly_ai_cost(organization.id) == Decimal("0.25")


def test_a_share_grants_and_denies(
    client: Client, organization: Organization, venture_id: UUID
) -> None:
    allocated = client.allocate_venture_budget(
        organization.id, venture_id, "exploratory", Decimal("12.5")
    )
    assert (allocated.exploratory_pct, allocated.standard_pct) == (Decimal("12.5"), None)
    (without,) = client.venture_profiles(organization.id)
    assert (without.budget_id, without.limit_usd) == (None, None)
    client.set_budget(organization.id, "venture", str(venture_id), "total", Decimal(10))

    def ask(cost: str) -> str:
        decision = client.authorize_spend(
            organization.id,
            model="gpt-4o",
            estimated_cost=Decimal(cost),
            venture_id=venture_id,
            tags={"budget_profile": "exploratory"},
        )
        return str(decision.hold_id) if decision.granted else "denied"

    assert ask("1.250000000001") == "denied"
    row = record(client, venture_id, "1", budget_profile="exploratory", hold_id=UUID(ask("1.25")))
    assert row.budget_allocation_pct == Decimal("12.5")
    (share,) = client.venture_profiles(organization.id, venture_id=venture_id)
    assert (share.budget_profile, share.time_window) == ("exploratory", "total")
    assert (share.limit_usd, share.settled_usd, share.remaining_usd) == (
        Decimal("1.25"),
        Decimal(1),
        Decimal("0.25"),
    )
    client.allocate_venture_budget(organization.id, venture_id, "exploratory", None)
    assert client.venture_profiles(organization.id) == []
    assert client.verify_integrity(organization_id=organization.id) == []


def test_what_makes_no_sense_is_refused(
    client: Client, organization: Organization, venture_id: UUID
) -> None:
    with pytest.raises(InvalidArgument, match="p_phase"):
        record(client, venture_id, phase="THE_END")
    with pytest.raises(InvalidArgument, match="p_cost_usd"):
        client.record_venture_usage(venture_id, 1, "a", "unheard of", 1, 1, None)
    with pytest.raises(UnknownId):
        record(client, uuid4())
    with pytest.raises(UnknownId):
        record(client, venture_id, hold_id=uuid4())
    with pytest.raises(TypeError, match="Decimal"):
        client.record_venture_usage(venture_id, 1, "a", None, 1, 1, 0.25)
    with pytest.raises(InvalidArgument, match="p_percent"):
        client.allocate_venture_budget(organization.id, venture_id, "custom", Decimal("100.01"))
    assert client.venture_spend(organization.id) == []


def test_what_was_used_is_never_changed(
    sync_client: Client, connection: psycopg.Connection, venture_id: UUID
) -> None:
    row = record(sync_client, venture_id)
    with pytest.raises(psycopg.errors.RestrictViolation) as refused:
        connection.execute("delete from public.venture_token_ledger where id = %s", [row.id])
    assert ERRORS[refused.value.sqlstate] is AppendOnly
