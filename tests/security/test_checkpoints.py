"""After a checkpoint the books are checked from there; on request, all of them."""

from collections.abc import Iterator

import psycopg
import pytest

from tests.support import ledgers
from tests.support.servers import Database, Server

ACTIVE, IDLE = ledgers.ORGANIZATIONS
ALTER_OLD = (
    "update billing.token_records set model = 'x'"
    " where org_id = %s and xact_id < (select xact_below from audit.seals)"
)


@pytest.fixture(scope="module", name="database")
def checked_database(server: Server, template: str) -> Iterator[Database]:
    """Two organizations whose books were checked; one of them has spent since."""
    with server.clone(template) as database:
        with database.connect(role="service_role", autocommit=True) as connection:
            for organization in (ACTIVE, IDLE):
                ledgers.fill(connection, organization)
            connection.execute("select from audit.seal_ledgers()")
            assert connection.execute("select from audit.make_checkpoint()").rowcount == 0
            ledgers.fill(connection, ACTIVE)
            assert found(connection) == found(connection, full=True) == []
        yield database


@pytest.fixture(name="connection")
def connection_without_guards(database: Database) -> Iterator[psycopg.Connection]:
    with psycopg.connect(database.admin_url) as connection:
        connection.execute("set session_replication_role = replica")
        yield connection
        connection.rollback()


def found(
    connection: psycopg.Connection, organization: str | None = None, *, full: bool = False
) -> list[tuple[str, str]]:
    return [
        (check, str(whose))
        for check, whose in connection.execute(
            "select distinct check_name, organization_id from audit.verify_integrity(%s, %s)",
            (organization, full),
        )
    ]


def checkpoints(connection: psycopg.Connection) -> list[int]:
    return [seal for (seal,) in connection.execute("select seal from audit.checkpoints")]


def test_a_row_that_came_since_is_checked(connection: psycopg.Connection) -> None:
    connection.execute(
        "update billing.token_records set model = 'x' where org_id = %s"
        " and xact_id >= (select max(xact_below) from audit.seals)",
        (ACTIVE,),
    )
    wrong = ("record_is_its_usage", ACTIVE)
    assert wrong in found(connection)
    assert wrong in found(connection, ACTIVE)
    assert found(connection, IDLE) == []


def test_a_row_that_was_checked_is_looked_at_on_request(connection: psycopg.Connection) -> None:
    connection.execute(ALTER_OLD, (ACTIVE,))
    assert found(connection) == []
    assert found(connection, full=True) == [("record_is_its_usage", ACTIVE)]
    # And seals see at any time that it was altered.
    assert {
        row[0] for row in connection.execute("select check_name from audit.verify_seals()")
    } == {"row_is_what_was_sealed"}


@pytest.mark.parametrize(
    ("statement", "check"),
    [
        (
            "update metering.budget_slots set settled_usd = settled_usd + 1"
            " where organization_id = %s and budget_id = organization_id",
            "settled_equals_ledger",
        ),
        (
            "update metering.usage_rollups set requests = requests + 1"
            " where organization_id = %s and scope = 'organization'",
            "rollup_equals_ledger",
        ),
        (
            "update billing.credit_balances set balance_usd = balance_usd + 1 where org_id = %s",
            "balance_equals_ledger",
        ),
        (
            "update private.ledger_heads set revision = 7 where organization_id = %s",
            "head_is_the_last_revision",
        ),
    ],
)
def test_figures_of_whoever_was_active_are_checked(
    connection: psycopg.Connection, statement: str, check: str
) -> None:
    connection.execute(statement, (ACTIVE,))
    connection.execute(statement, (IDLE,))
    assert (check, ACTIVE) in found(connection)
    assert (check, IDLE) not in found(connection)
    assert {(check, ACTIVE), (check, IDLE)} <= set(found(connection, full=True))


def test_who_holds_money_is_active(connection: psycopg.Connection) -> None:
    connection.execute("set session_replication_role = origin")
    connection.execute(
        "select from public.authorize_spend(%s, 'm', 0.01, p_run_id => (select id"
        " from billing.runs where org_id = %s limit 1))",
        (IDLE, IDLE),
    )
    connection.execute(
        "update metering.budget_slots set held_usd = held_usd + 1 where organization_id = %s",
        (IDLE,),
    )
    assert ("held_equals_holds", IDLE) in found(connection)


def test_what_is_wrong_makes_no_checkpoint(connection: psycopg.Connection) -> None:
    connection.execute("set session_replication_role = origin")
    connection.execute(
        "update metering.budget_slots set held_usd = held_usd + 1 where organization_id = %s",
        (ACTIVE,),
    )
    before = checkpoints(connection)
    assert connection.execute("select from audit.seal_ledgers(1)").rowcount <= 1
    assert connection.execute("select from audit.make_checkpoint()").rowcount > 0
    assert checkpoints(connection) == before


def test_a_restored_server_checks_everything(connection: psycopg.Connection) -> None:
    connection.execute(ALTER_OLD, (ACTIVE,))
    connection.execute("update audit.seal_epochs set system_identifier = system_identifier - 1")
    assert found(connection) == found(connection, full=True) != []


def test_nothing_sealed_makes_no_checkpoint(server: Server, template: str) -> None:
    with server.clone(template) as database, database.connect(role="service_role") as connection:
        assert connection.execute("select from audit.make_checkpoint()").rowcount == 0
        assert checkpoints(connection) == []


@pytest.mark.parametrize(
    "call", ["audit.verify_integrity(null, null)", "audit.make_checkpoint(null)"]
)
def test_neither_full_nor_not_is_refused(database: Database, call: str) -> None:
    with (
        database.connect(role="service_role") as connection,
        pytest.raises(psycopg.Error) as refusal,
    ):
        connection.execute(f"select from {call}")
    assert refusal.value.sqlstate == "22023"
