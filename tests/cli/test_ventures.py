"""The commands `tallystick ventures ...`."""

from decimal import Decimal
from uuid import UUID, uuid4

import psycopg
import pytest

from tallystick import Client, Organization
from tests.cli.conftest import Run
from tests.cli.test_budgets import assert_refused, text_of


@pytest.fixture
def rocket(connection: psycopg.Connection, acme: Organization) -> UUID:
    row = connection.execute(
        "insert into tenancy.ventures (organization_id, name) values (%s, 'Rocket\x1b')"
        " returning id",
        [acme.id],
    ).fetchone()
    assert row is not None
    venture_id: UUID = row[0]
    return venture_id


def use(client: Client, venture_id: UUID, stage: int, cost: str, **named: object) -> None:
    client.record_venture_usage(venture_id, stage, "scout", None, 10, 5, Decimal(cost), **named)


def test_spend_is_told_apart_and_simulations_stand_beside_it(
    run: Run, client: Client, acme: Organization, rocket: UUID
) -> None:
    assert "No use of ventures." in text_of(run("ventures", "spend"))
    use(client, rocket, 10, "1.5", phase="THE_TRUTH")
    use(client, rocket, 9, "0.25")
    use(client, rocket, 9, "4", is_simulation=True)
    shown = text_of(run("ventures", "spend"))
    assert f"Acme ({acme.id}) Rocket\N{REPLACEMENT CHARACTER} {rocket}" in shown
    assert "9 1 15 $0.25 1 $4.00" in shown
    assert shown.index("9 1 15") < shown.index("10 1 15 $1.50 0 $0.00")
    assert "total 2 30 $1.75 1 $4.00" in shown
    phases = text_of(run("ventures", "spend", "--by", "phase", "--venture", rocket))
    assert "THE_TRUTH 1 15 $1.50 0 $0.00" in phases
    assert "none stated 1 15 $0.25 1 $4.00" in phases
    assert "scout 2 30 $1.75 1 $4.00" in text_of(run("ventures", "spend", "--by", "agent"))
    assert "No use" in text_of(run("ventures", "spend", "--venture", uuid4()))


def test_shares_are_allocated_and_shown(
    run: Run, client: Client, acme: Organization, rocket: UUID
) -> None:
    assert "No shares" in text_of(run("ventures", "shares"))
    assert "exploratory 12.5 % the venture has no" in text_of(
        run("ventures", "allocate", rocket, "exploratory", "12.5%")
    )
    client.set_budget(acme.id, "venture", str(rocket), "month", Decimal(10))
    use(client, rocket, 1, "1", budget_profile="exploratory")
    shown = text_of(run("ventures", "allocate", rocket, "custom", 0))
    assert shown == text_of(run("ventures", "shares"))
    assert "exploratory 12.5 % $1.25 $1.00 $0.00" in shown
    assert "month $0.25" in shown
    assert "custom 0 % $0.00 $0.00 $0.00" in shown
    run("ventures", "allocate", rocket, "custom", "none")
    assert "custom" not in text_of(run("ventures", "shares", "--venture", rocket))


def test_what_cannot_be_allocated_is_said_so(run: Run, rocket: UUID) -> None:
    assert_refused(run("ventures", "allocate", rocket, "custom", "100.5"), "p_percent")
    assert_refused(run("ventures", "allocate", uuid4(), "custom", 1), "venture_id")
    assert run("ventures", "allocate", rocket, "lavish", 1).exit_code == 2
    assert run("ventures", "allocate", rocket, "custom", "much").exit_code == 2
