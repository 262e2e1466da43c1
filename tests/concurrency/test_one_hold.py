"""One hold, several who want to end it: in every order the money is counted once."""

from collections.abc import Callable, Iterator
from decimal import Decimal
from itertools import permutations, product
from typing import Any
from uuid import UUID

import pytest

from tests.support import races
from tests.support.races import Connection, Tenant
from tests.support.servers import Database, Server

ENDS = pytest.mark.parametrize("first_commits", [True, False], ids=["commit", "rollback"])


@pytest.fixture(scope="module", name="database")
def shared_database(server: Server, template: str) -> Iterator[Database]:
    """One database for all tests here: each has an organization of its own."""
    with server.clone(template) as database, races.warm(database):
        yield database


def open_capped(database: Database, limit: str = "1.00", slots: int = 1) -> Tenant:
    """Open a tenant with a cap on its workflow."""
    tenant = races.open_tenant(database)
    with races.session(database) as connection:
        races.stripe(connection, tenant, slots)
        races.set_workflow_cap(connection, tenant, limit)
    return tenant


def take_hold(database: Database, tenant: Tenant, cost: str = "1.00") -> UUID:
    """Take a hold on a connection of its own."""
    with races.session(database) as connection:
        hold: UUID = races.authorize(connection, tenant, cost).hold_id
    return hold


def take_overdue_hold(database: Database, tenant: Tenant) -> UUID:
    """Take a hold that may be settled, released and extended, and that a sweeper may expire."""
    hold = take_hold(database, tenant)
    races.let_expire(database, hold)
    return hold


# What one does to a hold, and what it leaves behind: the state after each state it may find.
# A refusal is named by its code and changes nothing.

OPEN, EXTENDED = "open", "extended"
SETTLED, LATE, RELEASED, EXPIRED = "on_hold", "after_hold", "released", "expired"
AFTER = {
    "settle": {
        OPEN: SETTLED, EXTENDED: SETTLED, SETTLED: SETTLED, LATE: LATE,
        RELEASED: LATE, EXPIRED: LATE,
    },
    "release": {
        OPEN: RELEASED, EXTENDED: RELEASED, SETTLED: "TS410", LATE: "TS410",
        RELEASED: RELEASED, EXPIRED: EXPIRED,
    },
    "extend": {
        OPEN: EXTENDED, EXTENDED: EXTENDED, SETTLED: "TS410", LATE: "TS410",
        RELEASED: "TS410", EXPIRED: "TS410",
    },
    "expire": {
        OPEN: EXPIRED, EXTENDED: EXTENDED, SETTLED: SETTLED, LATE: LATE,
        RELEASED: RELEASED, EXPIRED: EXPIRED,
    },
}  # fmt: skip


def act(connection: Connection, name: str, tenant: Tenant, hold: UUID) -> None:
    """Do one of these to a hold of a dollar; the caller commits."""
    if name == "settle":
        races.settle(connection, hold, "0.40")
    elif name == "release":
        races.release(connection, hold)
    elif name == "extend":
        races.extend(connection, hold, expires_in="1 hour")
    else:
        races.expire(connection, tenant)


def expected_code(name: str, found: str) -> str:
    left = AFTER[name][found]
    return left if left.startswith("TS") else "00000"


def state_after(name: str, found: str) -> str:
    left = AFTER[name][found]
    return found if left.startswith("TS") else left


def assert_state(database: Database, tenant: Tenant, hold: UUID, expected: str) -> None:
    """Assert what became of the hold, and that the workflow counts just that."""
    assert races.hold_states(database, tenant) == {hold: OPEN if expected == EXTENDED else expected}
    slot = races.workflow_slot(database, tenant)
    is_settled, is_open = expected in {SETTLED, LATE}, expected in {OPEN, EXTENDED}
    assert slot.settled == Decimal("0.40") * is_settled
    assert slot.held == Decimal("1.00") * is_open
    assert slot.available == 1 - slot.used


@ENDS
@pytest.mark.parametrize(("one", "other"), list(product(AFTER, repeat=2)))
def test_two_at_one_hold(database: Database, one: str, other: str, first_commits: bool) -> None:
    tenant = open_capped(database)
    hold = take_overdue_hold(database, tenant)
    with races.rivals(database) as (first, second):
        first.do(act, one, tenant, hold)
        started = second.start(races.code_of(act), other, tenant, hold)
        if other != "expire":  # a sweeper passes over holds somebody is working on
            second.wait_until_blocked(started)
        found = state_after(one, OPEN) if first_commits else OPEN
        if other == "expire":
            assert started.result(races.PATIENCE) == "00000"
            expected = found
        else:
            expected = state_after(other, found)
        first.end(first_commits)
        assert started.result(races.PATIENCE) == expected_code(other, found)
    assert_state(database, tenant, hold, expected)


@pytest.mark.parametrize("order", list(permutations(["settle", "release", "expire"])))
def test_three_at_one_hold(database: Database, order: tuple[str, ...]) -> None:
    """The first is not yet committed when the others come; which of them is next is Postgres's."""
    tenant = open_capped(database)
    hold = take_overdue_hold(database, tenant)
    with races.rivals(database, 3) as (first, *others):
        first.do(act, order[0], tenant, hold)
        started = []
        for rival, name in zip(others, order[1:], strict=True):
            started.append(rival.start(races.code_of(act), name, tenant, hold))
            if name != "expire":
                rival.wait_until_blocked(started[-1])
        first.commit()
        codes = [work.result(races.PATIENCE) for work in started]
    said = dict(zip(order[1:], codes, strict=True))
    found = state_after(order[0], OPEN)
    ends = {
        state_after(last, state_after(second, found))
        for second, last in (order[1:], order[:0:-1])
        if said
        == {
            second: expected_code(second, found),
            last: expected_code(last, state_after(second, found)),
        }
    }
    assert ends, f"{said} is no order of {order[1:]} after {order[0]}"
    (state,) = ends
    assert_state(database, tenant, hold, state)


@pytest.mark.parametrize("slots", [1, 16], ids=["unstriped", "striped"])
def test_many_at_many_holds(database: Database, slots: int) -> None:
    """All settle, release, extend and expire the same holds at once, each in its own order."""
    tenant = open_capped(database, "24.00", slots)
    with races.session(database) as connection:
        answers = races.authorize_batch(
            connection, tenant, [races.ask_item(tenant, "1.00", expires_in=races.AT_ONCE)] * 24
        )
    holds = [answer.hold_id for answer in answers]

    def work(connection: Connection, index: int) -> set[str]:
        names = list(AFTER)
        steps = len(holds)
        return {
            races.code_of(act)(
                connection, names[index % 4], tenant, holds[(index * 5 + step) % steps]
            )
            for step in range(steps)
        }

    codes = races.together(database, 16, work)

    assert set().union(*codes) <= {"00000", "TS410"}
    # Everybody tried everything, so each hold was settled in the end, in time or late.
    assert set(races.hold_states(database, tenant)) == set(holds)
    assert set(races.hold_states(database, tenant).values()) <= {SETTLED, LATE}
    slot = races.workflow_slot(database, tenant)
    assert (slot.settled, slot.held) == (Decimal("9.60"), Decimal(0))


# Settled twice.


@ENDS
@pytest.mark.parametrize(
    ("cost", "code"), [("0.40", "00000"), ("0.400", "00000"), ("0.41", "TS409")]
)
def test_two_settlements_of_one_hold(
    database: Database, cost: str, code: str, first_commits: bool
) -> None:
    tenant = open_capped(database)
    hold = take_hold(database, tenant)
    with races.rivals(database) as (first, second):
        first.do(races.settle, hold, "0.40")
        waiting = second.start(races.code_of(races.settle), hold, cost)
        second.wait_until_blocked(waiting)
        first.end(first_commits)
        assert waiting.result(races.PATIENCE) == (code if first_commits else "00000")
    settled = "0.40" if first_commits else cost
    races.assert_books(database, tenant, settled, 1)
    assert races.hold_states(database, tenant) == {hold: SETTLED}


def test_many_settlements_of_one_hold_are_one_usage(database: Database) -> None:
    tenant = open_capped(database, slots=16)
    hold = take_hold(database, tenant)

    def work(connection: Connection, index: int) -> str:
        return races.code_of(races.settle)(connection, hold, "0.40" if index % 2 else "0.50")

    codes = races.together(database, 16, work)

    # Whoever was first decides: all of the same content succeed, all others are refused.
    assert sorted([set(codes[::2]), set(codes[1::2])], key=sorted) == [{"00000"}, {"TS409"}]
    races.assert_books(database, tenant, "0.40" if codes[1] == "00000" else "0.50", 1)


# Settled by a batch and alone.


def settle_all(connection: Connection, tenant: Tenant, holds: list[UUID], cost: str) -> list[Any]:
    """Settle holds in a batch; the caller commits."""
    return races.settle_batch(connection, tenant, [races.settle_item(h, cost) for h in holds])


@ENDS
@pytest.mark.parametrize(("cost", "code"), [("0.40", None), ("0.41", "TS409")])
def test_a_batch_waits_for_a_single_settlement(
    database: Database, cost: str, code: str | None, first_commits: bool
) -> None:
    tenant = open_capped(database, "3.00", slots=4)
    holds = [take_hold(database, tenant) for _ in range(3)]
    with races.rivals(database) as (single, batch):
        single.do(races.settle, holds[1], "0.40")
        waiting = batch.start(races.committed(settle_all), tenant, holds, cost)
        batch.wait_until_blocked(waiting)
        single.end(first_commits)
        answers = waiting.result(races.PATIENCE)
    assert [answer.error_code for answer in answers] == [
        None, code if first_commits else None, None,
    ]  # fmt: skip
    total = 2 * Decimal(cost) + Decimal("0.40" if first_commits else cost)
    races.assert_books(database, tenant, str(total), 3)


@ENDS
@pytest.mark.parametrize(("cost", "code"), [("0.40", "00000"), ("0.41", "TS409")])
def test_a_single_settlement_waits_for_a_batch(
    database: Database, cost: str, code: str, first_commits: bool
) -> None:
    tenant = open_capped(database, "3.00", slots=4)
    holds = [take_hold(database, tenant) for _ in range(3)]
    with races.rivals(database) as (batch, single):
        batch.do(settle_all, tenant, holds, "0.40")
        waiting = single.start(races.code_of(races.settle), holds[1], cost)
        single.wait_until_blocked(waiting)
        batch.end(first_commits)
        assert waiting.result(races.PATIENCE) == (code if first_commits else "00000")
    if first_commits:
        races.assert_books(database, tenant, "1.20", 3)
    else:
        races.assert_books(database, tenant, cost, 1)


def test_batches_beside_single_settlements_of_the_same_holds(database: Database) -> None:
    """Batches come in opposite orders, some with holds that are settled above what they hold."""
    tenant = open_capped(database, "20.00", slots=8)
    holds = [take_hold(database, tenant) for _ in range(20)]
    costs = {hold: "0.40" if number % 5 else "1.20" for number, hold in enumerate(holds)}

    def work(connection: Connection, index: int) -> set[str | None]:
        mine = holds if index % 4 < 2 else holds[::-1]
        if index % 2:
            return {races.code_of(races.settle)(connection, hold, costs[hold]) for hold in mine}
        answers = races.committed(races.settle_batch)(
            connection, tenant, [races.settle_item(hold, costs[hold]) for hold in mine]
        )
        assert [answer.usage_id for answer in answers] == mine
        return {answer.error_code for answer in answers}

    codes = races.together(database, 8, work)

    assert set().union(*codes) == {"00000", None}
    races.assert_books(database, tenant, "11.20", 20)
    assert set(races.hold_states(database, tenant).values()) == {SETTLED}


# A hold and the application's own write, in one transaction.


def note(connection: Connection, tenant: Tenant, hold: UUID) -> None:
    """Write something of the application's own about the hold."""
    connection.execute(
        "update public.intent_workflows set workflow_data = jsonb_build_object('hold', %s::text)"
        " where id = %s",
        (hold, tenant.workflow),
    )


def noted(database: Database, tenant: Tenant) -> str | None:
    with races.session(database) as connection:
        hold: str | None = races.one(
            connection,
            "select workflow_data ->> 'hold' from public.intent_workflows where id = %s",
            tenant.workflow,
        )
    return hold


def ask_and_note(connection: Connection, tenant: Tenant, request: str) -> UUID:
    hold: UUID = races.authorize(connection, tenant, "1.00", request).hold_id
    note(connection, tenant, hold)
    return hold


def rolled_back(rival: races.Rival, database: Database) -> None:
    rival.rollback()


def terminated(rival: races.Rival, database: Database) -> None:
    with races.connect(database, races.OWNER) as operator:
        assert races.one(operator, "select pg_terminate_backend(%s)", rival.pid) is True


@pytest.mark.parametrize("end", [rolled_back, terminated])
@pytest.mark.parametrize("slots", [1, 16], ids=["unstriped", "striped"])
def test_a_hold_in_a_transaction_that_fails_leaves_nothing(
    database: Database, slots: int, end: Callable[[races.Rival, Database], None]
) -> None:
    tenant = open_capped(database, "1.00", slots)
    with races.rivals(database) as (application, other):
        application.do(ask_and_note, tenant, "request 1")
        # By the last commit the money is there, so the other waits instead of being denied.
        waiting = other.start(races.committed(races.authorize), tenant, "1.00", "request 2")
        other.wait_until_blocked(waiting)
        end(application, database)
        decision = waiting.result(races.PATIENCE)
    assert decision.decision == "granted"
    assert noted(database, tenant) is None
    assert races.hold_states(database, tenant) == {decision.hold_id: "open"}
    with races.session(database) as connection:
        requests = races.one(
            connection,
            "select array_agg(request_id::text) from metering.request_keys"
            " where organization_id = %s",
            tenant.organization,
        )
    assert requests == ["request 2"]


def test_a_hold_is_seen_together_with_the_applications_write(database: Database) -> None:
    tenant = open_capped(database)
    with races.rivals(database, 1) as (application,):
        hold = application.do(ask_and_note, tenant, "request 1")
        assert (noted(database, tenant), races.hold_states(database, tenant)) == (None, {})
        application.commit()
    assert noted(database, tenant) == str(hold)
    assert races.hold_states(database, tenant) == {hold: "open"}


def test_a_denial_in_an_open_transaction_holds_nobody_up(database: Database) -> None:
    """It was decided with the whole organization locked; that lock is gone with the attempt."""
    tenant = open_capped(database, "1.00")
    with races.rivals(database, 3) as (taker, denied, other):
        taker.do(races.authorize, tenant, "0.50")
        waiting = denied.start(races.authorize, tenant, "1.00")
        denied.wait_until_blocked(waiting)
        taker.commit()
        assert waiting.result(races.PATIENCE).decision == "denied"
        assert other.do(races.authorize, tenant, "0.50").decision == "granted"
        other.commit()
    assert races.workflow_slot(database, tenant).held == Decimal("1.00")
