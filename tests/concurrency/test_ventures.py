"""Shares of a venture's budget under concurrent calls, and records that are made at once."""

from collections import Counter
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from decimal import Decimal
from typing import Any
from uuid import UUID, uuid4

import pytest
from psycopg import IsolationLevel

from tests.support import races
from tests.support.races import Connection, Tenant
from tests.support.servers import Database, Server

CALLERS = 24
PROFILES = ("exploratory", "standard", "deep_due_diligence", "custom")


@pytest.fixture(scope="module", name="database")
def shared_database(server: Server, template: str) -> Iterator[Database]:
    """One database for all tests here: each has an organization of its own."""
    with server.clone(template) as database, races.warm(database):
        races.set_clock(database, "2026-11-15 12:00Z")
        yield database


@dataclass(frozen=True)
class Venture:
    """A venture of a tenant whose total budget is shared out."""

    tenant: Tenant
    id: UUID

    def share(self, profile: str) -> str:
        return f"{self.id}/{profile}"


def open_venture(database: Database, limit: str, slots: int = 1, **shares: int) -> Venture:
    tenant = races.open_tenant(database)
    with races.session(database) as connection:
        venture = Venture(
            tenant,
            races.one(
                connection,
                "insert into tenancy.ventures (organization_id, name) values (%s, 'Rocket')"
                " returning id",
                tenant.organization,
            ),
        )
        races.stripe(connection, tenant, slots)
        races.set_budget(connection, tenant, "venture", "total", limit, str(venture.id), slots)
        for profile, percent in shares.items():
            allocate(connection, venture, profile, percent)
    return venture


def allocate(connection: Connection, venture: Venture, profile: str, percent: int) -> None:
    races.call(
        connection,
        "metering.allocate_venture_budget",
        organization_id=venture.tenant.organization,
        venture_id=venture.id,
        budget_profile=profile,
        percent=Decimal(percent),
    )


def ask(connection: Connection, venture: Venture, profile: str, cost: str) -> Any:
    return races.authorize(
        connection,
        venture.tenant,
        cost,
        model="model",
        venture_id=venture.id,
        tags={"budget_profile": profile},
    )


def record(
    connection: Connection, venture: Venture, profile: str = "standard", **named: object
) -> UUID:
    """Record a call at a dollar's tenth, with a hold where one is named."""
    row: UUID = races.call(
        connection,
        "public.record_venture_usage",
        **{
            "venture_id": venture.id,
            "lifecycle_stage": 3,
            "agent_type": "scout",
            "model_id": "model",
            "tokens_input": 10,
            "tokens_output": 5,
            "cost_usd": Decimal("0.10"),
            "budget_profile": profile,
            **named,
        },
    ).id
    return row


def rows(database: Database, venture: Venture) -> tuple[int, int, Decimal]:
    """Return how many rows and usages the venture has, and what those cost."""
    with races.session(database) as connection:
        found = connection.execute(
            "select (select count(*) from public.venture_token_ledger where venture_id = %(id)s),"
            " count(*), coalesce(sum(cost), 0) from public.ai_usage_ledger"
            " where venture_id = %(id)s",
            {"id": venture.id},
        ).fetchone()
    assert found is not None
    return found[0], found[1], found[2]


@pytest.mark.parametrize("slots", [1, 16], ids=["unstriped", "striped"])
def test_grants_fill_each_share_to_the_last_cent_and_not_beyond(
    database: Database, slots: int
) -> None:
    # Shares of 0.50, 0.30 and 0.20: five, three and two calls of a tenth.
    venture = open_venture(
        database, "1.00", slots, exploratory=50, standard=30, deep_due_diligence=20, custom=0
    )

    def work(connection: Connection, index: int) -> tuple[str, str]:
        profile = PROFILES[index % len(PROFILES)]
        decision = ask(connection, venture, profile, "0.10")
        connection.commit()
        if decision.decision == "granted":
            record(connection, venture, profile, hold_id=decision.hold_id)
            connection.commit()
        return profile, decision.decision

    granted = Counter(
        profile
        for profile, decision in races.together(database, CALLERS, work)
        if decision == "granted"
    )
    assert granted == {"exploratory": 5, "standard": 3, "deep_due_diligence": 2}
    assert rows(database, venture) == (10, 10, Decimal("1.00"))
    for profile in PROFILES:
        share = races.slot_of(
            database, venture.tenant, "venture_profile", "total", venture.share(profile)
        )
        assert share is not None
        assert (share.settled, share.held) == (Decimal("0.10") * granted[profile], 0)
        assert (share.available, share.debt) == (0, None)


def test_records_without_a_hold_all_land_and_close_the_share(database: Database) -> None:
    venture = open_venture(database, "1.00", exploratory=50)
    races.together(
        database, CALLERS, lambda c, _: races.committed(record)(c, venture, "exploratory")
    )
    assert rows(database, venture) == (CALLERS, CALLERS, Decimal("0.10") * CALLERS)
    with races.session(database) as connection:
        decision = ask(connection, venture, "exploratory", "0.000000000001")
    assert decision.decision == "denied"


@pytest.mark.parametrize("is_simulation", [False, True], ids=["real", "simulated"])
@pytest.mark.parametrize("isolation", [None, IsolationLevel.SERIALIZABLE])
def test_one_request_is_one_record(
    database: Database, is_simulation: bool, isolation: IsolationLevel | None
) -> None:
    venture = open_venture(database, "1.00", standard=50)

    def work(connection: Connection, _: int) -> UUID:
        while True:
            try:
                return races.committed(record)(
                    connection, venture, request_id="once", is_simulation=is_simulation
                )
            except Exception as error:
                if getattr(error, "sqlstate", None) != "40001":
                    raise
                connection.rollback()

    assert len(set(races.together(database, CALLERS, work, isolation=isolation))) == 1
    spent = (0, Decimal(0)) if is_simulation else (1, Decimal("0.10"))
    assert rows(database, venture) == (1, *spent)


def test_one_request_is_either_real_or_simulated(database: Database) -> None:
    venture = open_venture(database, "1.00")
    codes = races.together(
        database,
        CALLERS,
        lambda c, index: races.code_of(record)(
            c, venture, request_id="once", is_simulation=index % 2 == 0
        ),
    )
    assert Counter(codes) == {"00000": CALLERS // 2, "TS409": CALLERS // 2}
    assert rows(database, venture)[0] == 1


def test_one_hold_is_settled_once(database: Database) -> None:
    venture = open_venture(database, "1.00", standard=50)
    with races.session(database) as connection:
        hold = ask(connection, venture, "standard", "0.10").hold_id
    settled = races.together(
        database, CALLERS, lambda c, _: races.committed(record)(c, venture, hold_id=hold)
    )
    assert set(settled) == {hold}
    assert rows(database, venture) == (1, 1, Decimal("0.10"))


def insert(connection: Connection, venture: Venture, row: UUID, clause: str = "") -> None:
    """Insert a row as an application does."""
    connection.execute(
        "insert into public.venture_token_ledger"
        " (id, venture_id, lifecycle_stage, agent_type, cost_usd)"
        " values (%s, %s, 1, 'scout', 0.1) " + clause,
        (row, venture.id),
    )


@pytest.mark.parametrize("first_commits", [True, False], ids=["commit", "rollback"])
@pytest.mark.parametrize(
    ("clause", "code"),
    [("", "23505"), ("on conflict do nothing", "00000")],
    ids=["plain", "upsert"],
)
def test_a_row_that_is_inserted_twice_at_once_is_spent_once(
    database: Database, first_commits: bool, clause: str, code: str
) -> None:
    venture, row = open_venture(database, "1.00", slots=16), uuid4()
    with races.rivals(database, 2) as (first, second):
        first.do(insert, venture, row)
        later = second.start(races.code_of(insert), venture, row, clause)
        second.wait_until_blocked(later)
        first.end(first_commits)
        assert later.result(races.PATIENCE) == (code if first_commits else "00000")
    assert rows(database, venture) == (1, 1, Decimal("0.10"))


def simulate(connection: Connection, venture: Venture, row: UUID) -> None:
    """Insert what was not spent."""
    connection.execute(
        "insert into public.venture_token_ledger"
        " (id, venture_id, lifecycle_stage, agent_type, is_simulation)"
        " values (%s, %s, 1, 'scout', true)",
        (row, venture.id),
    )


@pytest.mark.parametrize("other", ["simulation", "organization"])
def test_a_row_that_is_passed_over_spends_nothing(database: Database, other: str) -> None:
    venture, row = open_venture(database, "1.00"), uuid4()
    with races.rivals(database, 2) as (first, second):
        if other == "simulation":
            first.do(simulate, venture, row)
        else:
            first.do(insert, open_venture(database, "1.00"), row)
        later = second.start(races.code_of(insert), venture, row, "on conflict do nothing")
        second.wait_until_blocked(later)
        first.end(True)
        assert later.result(races.PATIENCE) == "40001"
        assert second.do(races.code_of(insert), venture, row, "on conflict do nothing") == "00000"
    assert rows(database, venture) == (int(other == "simulation"), 0, 0)


def test_a_hold_whose_id_was_taken_before_it_could_be_seen_is_settled(database: Database) -> None:
    venture = open_venture(database, "1.00", standard=50)
    with races.rivals(database, 2) as (first, second):
        hold = first.do(ask, venture, "standard", "0.10").hold_id
        second.do(simulate, venture, hold)
        second.end(True)
        first.end(True)
    with races.session(database) as connection:
        row = races.committed(record)(connection, venture, hold_id=hold)
        assert races.committed(record)(connection, venture, hold_id=hold) == row != hold
    assert rows(database, venture) == (2, 1, Decimal("0.10"))


def test_of_allocations_at_once_no_more_is_given_than_there_is(database: Database) -> None:
    venture = open_venture(database, "1.00")
    codes = races.together(
        database,
        len(PROFILES),
        lambda c, index: races.code_of(allocate)(c, venture, PROFILES[index], 40),
    )
    assert Counter(codes) == {"00000": 2, "22023": 2}


def raise_limit(connection: Connection, venture: Venture, limit: str) -> None:
    races.set_budget(connection, venture.tenant, "venture", "total", limit, str(venture.id))


def give_more(connection: Connection, venture: Venture, _limit: str) -> None:
    allocate(connection, venture, "standard", 90)


@pytest.mark.parametrize("change", [raise_limit, give_more])
def test_a_share_that_is_cut_anew_counts_what_is_under_way(
    database: Database, change: Callable[[Connection, Venture, str], None]
) -> None:
    venture = open_venture(database, "1.00", slots=4, standard=50)
    stages = ["10.00", "0.20", "2.00"]

    def work(connection: Connection, index: int) -> int:
        if index < len(stages):
            races.committed(change)(connection, venture, stages[index])
            return 0
        decision = races.committed(ask)(connection, venture, "standard", "0.10")
        if decision.decision == "granted":
            races.committed(record)(connection, venture, hold_id=decision.hold_id)
        return int(decision.decision == "granted")

    granted = sum(races.together(database, CALLERS, work))
    assert rows(database, venture) == (granted, granted, Decimal("0.10") * granted)
    share = races.slot_of(
        database, venture.tenant, "venture_profile", "total", venture.share("standard")
    )
    assert share is not None
    assert share.settled == Decimal("0.10") * granted
