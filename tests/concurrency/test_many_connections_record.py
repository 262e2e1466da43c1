"""Many connections spend at once: nothing is lost, doubled or deadlocked."""

from collections.abc import Iterator
from decimal import Decimal

import pytest

from tests.support import races
from tests.support.races import Connection, Tenant
from tests.support.servers import Database, Server


@pytest.fixture(scope="module", name="database")
def shared_database(server: Server, template: str) -> Iterator[Database]:
    """One database for all tests here: each has an organization of its own."""
    with server.clone(template) as database, races.warm(database):
        yield database


CENTS = Decimal("0.10")


def spend(connection: Connection, tenant: Tenant, times: int, cost: str = "0.10") -> None:
    """Record again and again, one transaction each."""
    for _ in range(times):
        races.record(connection, tenant, cost)
        connection.commit()


def spend_what_fits(connection: Connection, tenant: Tenant, cap: Decimal) -> int:
    """Check, ask the quota and record in one transaction each, until one of them refuses."""
    recorded = 0
    while True:
        with connection.transaction():
            if not (races.check(connection, tenant) and races.quota(connection, tenant)):
                return recorded
            races.record(connection, tenant)
            # Other callers may have passed the cap; an admitted call itself never does.
            total = races.one(
                connection,
                "select settled_usd from metering.budget_slots where budget_id = %s",
                tenant.workflow,
            )
            assert total <= cap
        recorded += 1


def test_64_connections_on_one_workflow_add_up(database: Database) -> None:
    tenant = races.open_tenant(database)
    with races.session(database) as connection:
        races.set_month_cap(connection, tenant, "5.00")

    races.together(database, 64, lambda connection, _: spend(connection, tenant, 5, "0.031"))

    races.assert_books(database, tenant, "9.92", 320)
    month = races.month_slot(database, tenant)
    assert month == races.Slot(Decimal("9.92"), Decimal(0), Decimal("4.92"))


def test_connections_on_many_workflows_and_models_add_up(database: Database) -> None:
    first = races.open_tenant(database)
    with races.session(database) as connection:
        others = [races.open_workflow(connection, first.organization) for _ in range(3)]
        races.set_month_cap(connection, first, "100")
    tenants = [first, *(Tenant(first.organization, workflow) for workflow in others)]

    def work(connection: Connection, index: int) -> None:
        for step in range(8):
            # Each connection visits the workflows in an order of its own.
            tenant = tenants[(index * 3 + step) % len(tenants)]
            races.record(connection, tenant, "0.01", model=f"model {step % 3}")
            if step % 2:
                connection.commit()

    races.together(database, 12, work)

    month = races.month_slot(database, first)
    assert month == races.Slot(Decimal("0.96"), Decimal("99.04"))
    assert races.findings(database, first) == []


@pytest.mark.parametrize(
    ("workflow_cap", "month_cap", "expected"),
    [("5.00", "100", 50), ("100", "3.00", 30), ("2.00", "2.00", 20)],
)
def test_check_and_record_in_one_transaction_fill_a_cap_exactly(
    database: Database, workflow_cap: str, month_cap: str, expected: int
) -> None:
    tenant = races.open_tenant(database)
    with races.session(database) as connection:
        races.set_workflow_cap(connection, tenant, workflow_cap)
        races.set_month_cap(connection, tenant, month_cap)

    recorded = races.together(
        database,
        16,
        lambda connection, _: spend_what_fits(connection, tenant, Decimal(workflow_cap)),
    )

    assert sum(recorded) == expected
    races.assert_books(database, tenant, str(expected * CENTS), expected)


def test_check_and_record_beside_plain_record(database: Database) -> None:
    tenant = races.open_tenant(database)
    with races.session(database) as connection:
        races.set_workflow_cap(connection, tenant, "5.00")
        races.set_month_cap(connection, tenant, "100")

    def work(connection: Connection, index: int) -> int:
        if index % 2:
            return spend_what_fits(connection, tenant, Decimal("5.00"))
        spend(connection, tenant, 8)
        return 8

    recorded = races.together(database, 16, work)

    # Plain calls land whatever the cap says; checked ones stop at it.
    plain, checked = sum(recorded[::2]), sum(recorded[1::2])
    assert plain == 64
    assert checked <= 50
    races.assert_books(database, tenant, str((plain + checked) * CENTS), plain + checked)


def test_a_check_waits_for_spend_in_flight_and_sees_it(database: Database) -> None:
    tenant = races.open_tenant(database)
    with races.rivals(database) as (spender, asker):
        spender.do(races.record, tenant, "0.95")
        answer = asker.start(races.check, tenant, "0.10")
        asker.wait_until_blocked(answer)
        spender.commit()
        assert answer.result(races.PATIENCE) is False


def test_a_check_does_not_count_spend_that_was_rolled_back(database: Database) -> None:
    tenant = races.open_tenant(database)
    with races.rivals(database) as (spender, asker):
        spender.do(races.record, tenant, "0.95")
        answer = asker.start(races.check, tenant, "0.10")
        asker.wait_until_blocked(answer)
        spender.rollback()
        assert answer.result(races.PATIENCE) is True


def test_of_two_checks_for_the_last_cents_one_wins(database: Database) -> None:
    tenant = races.open_tenant(database)
    with races.rivals(database) as (first, second):
        assert first.do(races.check, tenant, "0.60") is True
        answer = second.start(races.check, tenant, "0.60")
        second.wait_until_blocked(answer)
        first.do(races.record, tenant, "0.60")
        first.commit()
        assert answer.result(races.PATIENCE) is False


def test_a_check_and_the_record_of_the_same_request_elsewhere_do_not_deadlock(
    database: Database,
) -> None:
    tenant = races.open_tenant(database)
    with races.rivals(database) as (careful, plain):
        assert careful.do(races.check, tenant) is True
        theirs = plain.start(races.code_of(races.record), tenant, request="request 1")
        plain.wait_until_blocked(theirs)
        ours = careful.start(races.code_of(races.record), tenant, request="request 1")
        assert {ours.result(races.PATIENCE), theirs.result(races.PATIENCE)} == {"00000"}
    races.assert_books(database, tenant, "0.10", 1)


def test_estimates_do_not_wait_for_spend_in_flight(database: Database) -> None:
    tenant = races.open_tenant(database)
    with races.rivals(database) as (spender, asker):
        spender.do(races.record, tenant, "0.95")
        estimate = asker.do(
            races.one,
            "select public.estimate_workflow_cost_limit(%s, 0.10)",
            tenant.workflow,
        )
        assert estimate is True


def test_a_terminated_recorder_leaves_nothing_half_written(database: Database) -> None:
    tenant = races.open_tenant(database)
    with races.rivals(database) as (crashing, waiting):
        crashing.do(races.record, tenant, "0.30", request="request 1")
        retry = waiting.start(races.record, tenant, "0.30", request="request 1")
        waiting.wait_until_blocked(retry)
        with races.connect(database, races.OWNER) as operator:
            terminate = "select pg_terminate_backend(%s)"
            assert races.one(operator, terminate, crashing.pid) is True
        retry.result(races.PATIENCE)
        waiting.commit()
    races.assert_books(database, tenant, "0.30", 1)


def test_a_frozen_organization_is_refused_and_its_spend_recorded(database: Database) -> None:
    tenant = races.open_tenant(database)
    with races.rivals(database) as (spender, freezer):
        assert spender.do(races.check, tenant) is True
        freezing = freezer.start(races.freeze, tenant)
        freezer.wait_until_blocked(freezing)
        spender.do(races.record, tenant)
        spender.commit()
        freezing.result(races.PATIENCE)
        freezer.commit()
        assert spender.do(races.check, tenant, "0") is False
        assert spender.do(races.quota, tenant) is False
        estimate = "select public.estimate_workflow_cost_limit(%s, 0)"
        assert spender.do(races.one, estimate, tenant.workflow) is False
        spender.do(races.record, tenant)
        spender.commit()
    races.assert_books(database, tenant, "0.20", 2)


def test_writing_the_document_never_erases_a_settlement(database: Database) -> None:
    tenant = races.open_tenant(database)
    read = "select workflow_data::text from public.intent_workflows where id = %s"
    write = "update public.intent_workflows set workflow_data = %s::jsonb where id = %s"
    with races.rivals(database) as (application, spender):
        document = application.do(races.one, read, tenant.workflow)
        spender.do(races.record, tenant, "1.25")
        # Neither side waits for the other.
        application.do(Connection.execute, write, (document, tenant.workflow))
        application.commit()
        spender.commit()
    races.assert_books(database, tenant, "1.25", 1)


def add_key(connection: Connection, tenant: Tenant, key: str) -> None:
    """Add a key to the document in one statement, as one would on a table."""
    connection.execute(
        "update public.intent_workflows"
        " set workflow_data = workflow_data || jsonb_build_object(%s::text, true)"
        " where id = %s",
        (key, tenant.workflow),
    )


def keys_of(database: Database, tenant: Tenant) -> set[str]:
    with races.session(database) as connection:
        return set(
            races.one(
                connection,
                "select array(select jsonb_object_keys(workflow_data))"
                " from public.intent_workflows where id = %s",
                tenant.workflow,
            )
        )


def test_of_two_changes_of_one_document_neither_is_lost_in_silence(database: Database) -> None:
    tenant = races.open_tenant(database)
    with races.rivals(database) as (first, second):
        first.do(add_key, tenant, "first")
        other = second.start(races.code_of(add_key), tenant, "second")
        second.wait_until_blocked(other)
        first.commit()
        if other.result(races.PATIENCE) == "40001":
            assert second.do(races.code_of(add_key), tenant, "second") == "00000"
    assert keys_of(database, tenant) == {"first", "second", "total_ai_cost"}


def test_documents_are_rewritten_under_load(database: Database) -> None:
    tenant = races.open_tenant(database)

    def work(connection: Connection, index: int) -> None:
        for step in range(8):
            if index % 2:
                races.record(connection, tenant, "0.10")
                connection.commit()
            else:
                key = f"{index} {step}"
                while races.code_of(add_key)(connection, tenant, key) == "40001":
                    pass

    races.together(database, 8, work)

    races.assert_books(database, tenant, "3.20", 32)
    expected = {f"{index} {step}" for index in range(0, 8, 2) for step in range(8)}
    assert keys_of(database, tenant) == {*expected, "total_ai_cost"}


def test_verification_raises_no_alarm_while_spend_is_in_flight(database: Database) -> None:
    tenant = races.open_tenant(database)
    with races.session(database) as connection:
        races.set_month_cap(connection, tenant, "1.00")

    def work(connection: Connection, index: int) -> int:
        alarms = 0
        for step in range(10):
            if index == 0:
                alarms += len(races.findings(database, tenant))
            elif index == 1:
                races.set_month_cap(connection, tenant, f"{step}.00")
            else:
                races.record(connection, tenant, "0.10", model=f"model {step}")
            connection.commit()
        return alarms

    assert sum(races.together(database, 6, work)) == 0
    races.assert_books(database, tenant, "4.00", 40)
