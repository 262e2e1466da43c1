"""A model in plain Python follows a random history over real connections, to the last digit.

Calls are made one after the other, inside transactions that commit or do not, one while another is
under way, and several at once; connections die, answers are lost and requests sent again; windows
end, clocks jump back. After each step the answers must be those the model gives in some order of
the calls, and the books must be what that order leaves.
"""

from collections.abc import Iterator, Sequence
from concurrent.futures import Future, wait
from contextlib import contextmanager
from dataclasses import replace
from datetime import UTC, datetime, timedelta
from decimal import Decimal
from itertools import permutations
from time import sleep
from typing import Any

import psycopg
import pytest
from hypothesis import settings
from hypothesis import strategies as st
from hypothesis.stateful import (
    RuleBasedStateMachine,
    initialize,
    precondition,
    rule,
    run_state_machine_as_test,
)
from psycopg import IsolationLevel

from tests.properties.model import (
    NOTHING,
    ORGANIZATION,
    UNIT,
    UNKNOWN_MODEL,
    VENTURE,
    WORKFLOWS,
    Call,
    DisagreementError,
    Model,
    identify,
)
from tests.properties.observed import read, reconcile
from tests.properties.operations import (
    Again,
    Amount,
    Answer,
    Authorize,
    AuthorizeBatch,
    ChangeBudget,
    Check,
    Estimate,
    Expire,
    Extend,
    Freeze,
    Intent,
    Left,
    Operation,
    Quota,
    Record,
    Release,
    RemoveBudget,
    SetBudget,
    Settle,
    SettleBatch,
    SettlePlainly,
    send,
)
from tests.support import races
from tests.support.properties import examples
from tests.support.races import PATIENCE, Connection, Rival
from tests.support.servers import Database

# One connection of each; what is sent above READ COMMITTED may fail with 40001 beside others.
LEVELS = [
    IsolationLevel.READ_COMMITTED,
    IsolationLevel.READ_COMMITTED,
    IsolationLevel.REPEATABLE_READ,
    IsolationLevel.SERIALIZABLE,
]
SERIALIZATION_FAILURE = "40001"
# Zones and moments where hours, days and months are about to end, one of them twice.
BEGINNINGS = [
    ("UTC", datetime(2026, 10, 31, 23, 30, tzinfo=UTC)),
    ("America/Havana", datetime(2026, 11, 1, 4, 30, tzinfo=UTC)),
    ("Asia/Kathmandu", datetime(2026, 12, 31, 18, 0, tzinfo=UTC)),
    ("Pacific/Apia", datetime(2026, 11, 8, 9, 59, tzinfo=UTC)),
]
INSTANT = timedelta(microseconds=1)


def decimals(*texts: str) -> st.SearchStrategy[Decimal]:
    return st.sampled_from([Decimal(text) for text in texts])


def few(*texts: str) -> st.SearchStrategy[str | None]:
    """Draw one of them, or none."""
    return st.none() | st.sampled_from(texts)


# Round amounts add up to limits; 1 / 3 keeps digits, and Left() asks for the last cent.
left = st.sampled_from([Left(), Left(UNIT), Left(-UNIT), Left(Decimal("-0.25"))])
costs = decimals("0.25", "0.1", "0.5", "1", "2", "0.333333333333", "0.000000000001") | left
costs_from_nothing = costs | st.just(NOTHING)
limits = decimals("1", "2", "5", "10") | st.sampled_from(
    [Left(Decimal(2)), Left(Decimal("0.5")), Left(), Left(-UNIT), Left(Decimal("-0.5"))]
)
tags = st.sampled_from([(), ("team=a",), ("env=x", "team=a"), ("team=b",)])
calls = st.builds(
    Call,
    st.sampled_from([UNKNOWN_MODEL, "small", "large"]),
    few(*WORKFLOWS),
    few("run"),
    few(VENTURE),
    few("user 1", "user 2"),
    few("key"),
    tags,
)
scopes = st.sampled_from(
    [
        ORGANIZATION,
        ("workflow", WORKFLOWS[0]),
        ("user", "user 1"),
        ("model", "small"),
        ("tag", "team=a"),
        ("api_key", "key"),
        ("run", "run"),
        ("venture", VENTURE),
    ]
)
windows = st.sampled_from(["total", "day", "hour", "month", "week"])
slots = st.sampled_from([None, 1, 2, 3, 16])
ids = st.none() | st.integers(1, 40).map(lambda number: f"request {number}")
own_ids = st.uuids().map(str)
durations = st.sampled_from([timedelta(minutes=10), timedelta(seconds=1), timedelta(hours=24)])
minimums = st.sampled_from([None, None, Decimal("0.1"), Decimal("0.5")])
places = st.integers(0, 7)
holds = st.sampled_from([0, 0, 0, 1, 1, 2, 3, 5, 7, None])
tokens = st.tuples(st.integers(0, 1000), st.integers(0, 1000))


def authorizations(requests: st.SearchStrategy[Any] = ids) -> st.SearchStrategy[Authorize]:
    return st.builds(Authorize, calls, costs, minimums, durations, requests)


def settlements(requests: st.SearchStrategy[Any] = ids) -> st.SearchStrategy[Settle]:
    return st.builds(Settle, holds, left | costs_from_nothing, tokens, requests)


def extensions(requests: st.SearchStrategy[Any] = ids) -> st.SearchStrategy[Extend]:
    return st.builds(Extend, holds, costs_from_nothing, st.none() | durations, requests)


def records(requests: st.SearchStrategy[Any] = ids) -> st.SearchStrategy[Record]:
    return st.builds(
        Record,
        st.sampled_from(WORKFLOWS),
        costs_from_nothing,
        st.sampled_from(["small", "large"]),
        tokens,
        requests,
    )


releases = st.builds(Release, holds, few("not needed"))
estimates = st.builds(Estimate, calls, costs, minimums)
checks = st.builds(
    Check, st.sampled_from(WORKFLOWS), costs_from_nothing, decimals("1.00", "0.7"), st.booleans()
)
quotas = st.builds(Quota, decimals("25.00", "2") | left)
set_budgets = st.builds(
    SetBudget,
    scopes,
    windows,
    limits | limits | st.none(),
    st.sampled_from([True, True, False]),
    slots,
)
hard_budgets = st.builds(SetBudget, scopes, windows, limits, st.just(True), slots)
changes = st.builds(ChangeBudget, places, st.none() | scopes, st.none() | windows, slots)
removals = st.builds(RemoveBudget, places | st.tuples(scopes, windows))
freezes = st.builds(Freeze, scopes, st.sampled_from([True, False, False]))


def batch_of(items: list[Authorize]) -> AuthorizeBatch:
    return AuthorizeBatch(tuple(items))


def settle_all(items: list[Settle]) -> SettleBatch:
    return SettleBatch(tuple(items))


batches = st.one_of(
    st.lists(authorizations(), min_size=1, max_size=4).map(batch_of),
    st.lists(settlements(), min_size=1, max_size=4).map(settle_all),
    st.builds(SettlePlainly, st.integers(1, 4)),
)
repetitions = st.builds(Again, places, st.booleans())
expiries = st.builds(Expire, st.sampled_from([1000, 1]))
operations: st.SearchStrategy[Intent] = st.one_of(
    authorizations(),
    authorizations(),
    authorizations(),
    settlements(),
    settlements(),
    releases,
    extensions(),
    records(),
    expiries,
    batches,
    repetitions,
    checks,
    set_budgets,
    changes,
    removals,
    freezes,
)
# What a client may send once more when it does not know whether it was done.
repeatable: st.SearchStrategy[Intent] = st.one_of(
    authorizations(own_ids),
    settlements(),
    releases,
    extensions(own_ids),
    records(own_ids),
    set_budgets,
    freezes,
    st.lists(authorizations(own_ids), min_size=1, max_size=3).map(batch_of),
    st.builds(SettlePlainly, st.integers(1, 4)),
)
connections = st.integers(0, len(LEVELS) - 1)
others = st.integers(1, len(LEVELS) - 1)  # how far another connection is from the first
endings = st.sampled_from(["commit", "roll back", "terminate", "hang up"])


class Office:
    """The connections that calls are made on, and one that watches and ends them."""

    def __init__(self, database: Database) -> None:
        self._database = database
        self.observer = races.connect(database, races.OWNER)
        self.observer.autocommit = True
        self.blocker = races.connect(database, races.OWNER)
        self._rivals = [self._open(place) for place in range(len(LEVELS))]

    def _open(self, place: int) -> Rival:
        return Rival(races.connect(self._database, isolation=LEVELS[place]), self.observer)

    def rival(self, place: int) -> Rival:
        return self._rivals[place % len(LEVELS)]

    def connection(self, place: int) -> Connection:
        return self.rival(place).connection

    def terminate(self, place: int) -> None:
        """End a backend, whatever it does, and wait until nothing of it is left."""
        pid = self.connection(place).info.backend_pid
        self.observer.execute("select pg_terminate_backend(%s)", (pid,))
        left = "select count(*) from pg_stat_activity where pid = %s"
        while races.one(self.observer, left, pid):
            sleep(0.001)
        self.hang_up(place)

    def hang_up(self, place: int) -> None:
        """Close a connection without a word, and open another in its place."""
        self.rival(place).close()
        self._rivals[place % len(LEVELS)] = self._open(place)

    def wait_until_blocked_or_done(self, place: int, work: "Future[Any]") -> None:
        pid = self.connection(place).info.backend_pid
        waiting = "select wait_event_type = 'Lock' from pg_stat_activity where pid = %s"
        while not work.done() and not races.one(self.observer, waiting, pid):
            wait([work], timeout=0.002)

    @contextmanager
    def standstill(self, model: Model) -> Iterator[None]:
        """Let every call that changes something wait."""
        self.blocker.execute(
            "select from metering.budget_slots where organization_id = %s and budget_id = %s"
            " for update",
            (model.organization, model.organization),
        )
        try:
            yield
        finally:
            self.blocker.rollback()

    def roll_back(self) -> None:
        for rival in self._rivals:
            rival.rollback()

    def close(self) -> None:
        for rival in self._rivals:
            rival.close()
        self.blocker.close()
        self.observer.close()


class Kernel(RuleBasedStateMachine):
    """One organization, from its first budget on.

    Which rules there are must not depend on how a race came out: data are drawn before.
    """

    def __init__(self, office: Office) -> None:
        super().__init__()
        self.office = office
        self.model: Model
        self.may_jump_back = self.may_sweep = True

    @initialize(
        beginning=st.sampled_from(BEGINNINGS),
        budgets=st.lists(hard_budgets, max_size=4),
        asked=st.lists(authorizations(), max_size=4),
    )
    def open(
        self,
        beginning: tuple[str, datetime],
        budgets: list[SetBudget],
        asked: list[Authorize],
    ) -> None:
        zone, now = beginning
        owner = self.office.observer
        owner.execute("update clock.hand set instant = %s", (now,))
        organization = races.one(
            owner, "select id from tenancy.create_organization('Acme', %s)", zone
        )
        for name in WORKFLOWS:
            owner.execute(
                "insert into public.intent_workflows (organization_id, id) values (%s, %s)",
                (organization, identify(organization, name)),
            )
        owner.execute(
            "insert into tenancy.ventures (organization_id, id, name) values (%s, %s, 'Rocket')",
            (organization, identify(organization, VENTURE)),
        )
        self.model = Model.opened(organization, zone, now)
        intents: list[Intent] = [*budgets, *asked]
        for intent in intents:
            self.call(intent, 0)

    def teardown(self) -> None:
        """Leave nothing behind that the next history could meet."""
        self.office.roll_back()

    # One after the other

    def settle_on(self, intent: Intent) -> Operation:
        """Return what an intent comes to; what has a request id may be sent again."""
        operation = intent.resolve(self.model)
        if getattr(operation, "request", None) is not None:
            self.model.sent.append(operation)
        return operation

    def call(self, intent: Intent, who: int) -> None:
        """Make one call, alone, and look at the books as its connection sees them."""
        operation = self.settle_on(intent)
        connection = self.office.connection(who)
        answer = send(connection, operation, self.model.organization)
        with told(operation, answer):
            changed = operation.happen(self.model, answer)
            books = read(connection, self.model.organization)
            # A denial or an error leaves everything as it was.
            reconcile(self.model, books, may_move=changed)

    def have_a_hold(self) -> None:
        """See to it that there is an open hold, unless it is denied."""
        if all(
            h.state != "open" or h.expires_at <= self.model.now for h in self.model.holds.values()
        ):
            self.call(Authorize(Call("small", WORKFLOWS[0]), Decimal("0.5")), 0)

    @rule(operation=authorizations() | estimates, who=connections)
    def authorize(self, operation: Intent, who: int) -> None:
        self.call(operation, who)

    @rule(operation=settlements(), who=connections)
    def settle(self, operation: Intent, who: int) -> None:
        self.have_a_hold()
        self.call(operation, who)

    @rule(operation=releases | extensions() | expiries, who=connections)
    def see_to_a_hold(self, operation: Intent, who: int) -> None:
        self.have_a_hold()
        self.call(operation, who)

    @rule(operation=records() | checks | quotas, who=connections)
    def check_or_record(self, operation: Intent, who: int) -> None:
        self.have_a_hold()
        self.call(operation, who)

    @rule(operation=batches, who=connections)
    def send_a_batch(self, operation: Intent, who: int) -> None:
        self.call(operation, who)

    @rule(operation=repetitions, who=connections)
    def send_again(self, operation: Intent, who: int) -> None:
        self.call(operation, who)

    @rule(operation=set_budgets | changes | removals | freezes, who=connections)
    def change_budgets(self, operation: Intent, who: int) -> None:
        self.call(operation, who)

    # In a transaction of the application's own

    @rule(
        operations=st.lists(operations, min_size=1, max_size=4),
        ending=endings,
        who=connections,
    )
    def call_in_a_transaction(self, operations: list[Intent], ending: str, who: int) -> None:
        before = self.model.copy()
        connection = self.office.connection(who)
        connection.execute("select")  # begins; each call then has a savepoint
        for operation in operations:
            self.call(operation, who)
        assert self.end(who, ending) is None
        if ending != "commit":
            self.model = before
        self.look(may_move=False)

    def end(self, who: int, ending: str) -> str | None:
        """End a transaction; return the SQLSTATE if it could not commit."""
        connection = self.office.connection(who)
        if ending == "terminate":
            self.office.terminate(who)
        elif ending == "hang up":
            self.office.hang_up(who)
        elif ending == "roll back":
            connection.rollback()
        else:
            try:
                connection.commit()
            except psycopg.Error as error:
                return error.sqlstate
        return None

    def look(self, may_move: bool = True) -> None:
        """Compare what everybody sees with the model."""
        books = read(self.office.observer, self.model.organization)
        reconcile(self.model, books, may_move=may_move)

    # Several at once

    @rule(
        first=operations,
        second=operations,
        ending=endings,
        who=connections,
        other=others,
    )
    def call_during_another(
        self, first: Intent, second: Intent, ending: str, who: int, other: int
    ) -> None:
        self.overlap(self.settle_on(first), self.settle_on(second), ending, who, other)

    def overlap(
        self, earlier: Operation, later: Operation, ending: str, who: int, other: int
    ) -> None:
        """Start the later one before the other has ended; it waits for that if it must."""
        connection = self.office.connection(who)
        connection.execute("select")
        answers = [self.answered(who, earlier, send(connection, earlier, self.model.organization))]
        work = self.start(who + other, later)
        self.office.wait_until_blocked_or_done(who + other, work)
        failure = self.end(who, ending)
        if ending != "commit" or failure == SERIALIZATION_FAILURE:
            answers = [[]]
        answers.append(self.answered(who + other, later, work.result(PATIENCE)))
        self.follow([answer for done in answers for answer in done])

    @rule(intents=st.lists(operations, min_size=2, max_size=3), who=connections)
    def call_at_once(self, intents: list[Intent], who: int) -> None:
        self.call_together(intents, who)

    @rule(
        call=calls,
        wanted=st.lists(st.tuples(costs, minimums), min_size=2, max_size=3),
        who=connections,
    )
    def want_the_same_money(
        self, call: Call, wanted: list[tuple[Amount, Decimal | None]], who: int
    ) -> None:
        self.call_together([Authorize(call, cost, least) for cost, least in wanted], who)

    @rule(
        what=st.lists(settlements() | releases | extensions(), min_size=1, max_size=2),
        beside=authorizations() | expiries | set_budgets,
        overdue=st.booleans(),
        who=connections,
    )
    def want_the_same_hold(
        self,
        what: list[Settle | Release | Extend],
        beside: Intent,
        overdue: bool,
        who: int,
    ) -> None:
        self.have_a_hold()
        key = self.model.hold_at(0)
        if overdue and key in self.model.holds:
            self.set_clock(max(self.model.now, self.model.holds[key].expires_at))
        self.call_together([*(replace(operation, hold=key) for operation in what), beside], who)

    @rule(intent=repeatable, who=connections)
    def send_twice_at_once(self, intent: Intent, who: int) -> None:
        self.call_together([self.settle_on(intent)] * 2, who)

    @rule(
        intent=repeatable | authorizations(own_ids), ending=endings, who=connections, other=others
    )
    def send_again_before_it_is_done(
        self, intent: Intent, ending: str, who: int, other: int
    ) -> None:
        operation = self.settle_on(intent)
        self.overlap(operation, operation, ending, who, other)

    def call_together(self, intents: Sequence[Intent], who: int) -> None:
        """Start all at once, each on a connection of its own."""
        chosen = [self.settle_on(intent) for intent in intents]
        started = [self.start(who + place, made) for place, made in enumerate(chosen)]
        answers = [
            self.answered(who + place, made, work.result(PATIENCE))
            for place, (made, work) in enumerate(zip(chosen, started, strict=True))
        ]
        self.follow([answer for done in answers for answer in done])

    def start(self, who: int, operation: Operation) -> "Future[Answer]":
        return self.office.rival(who).start(send, operation, self.model.organization)

    def answered(
        self, who: int, operation: Operation, answer: Answer
    ) -> list[tuple[Operation, Answer]]:
        """Return what was done: nothing by a call that must be made anew."""
        level = LEVELS[who % len(LEVELS)]
        if answer.code == SERIALIZATION_FAILURE and level > IsolationLevel.READ_COMMITTED:
            return []
        return [(operation, answer)]

    def follow(self, done: list[tuple[Operation, Answer]]) -> None:
        """Find an order of the calls that explains their answers and the books."""
        books = read(self.office.observer, self.model.organization)
        objections = []
        for order in permutations(done):
            model = self.model.copy()
            model.at_once = True
            try:
                for operation, answer in order:
                    operation.happen(model, answer)
                reconcile(model, books)
            except DisagreementError as objection:
                objections.append(f"{[operation for operation, _ in order]}: {objection}")
            else:
                model.at_once = False
                self.model = model
                return
        raise DisagreementError("\n".join(["no order explains", *map(repr, done), *objections]))

    # Lost connections and answers

    @rule(
        intent=repeatable,
        moment=st.sampled_from(["after it is done", "while it waits", "at any moment"]),
        who=connections,
    )
    def lose_the_answer(self, intent: Intent, moment: str, who: int) -> None:
        """Whether it was done or not, sent once more it is done once."""
        operation = self.settle_on(intent)
        if moment == "while it waits":
            with self.office.standstill(self.model):
                work = self.start(who, operation)
                self.office.wait_until_blocked_or_done(who, work)
                self.office.terminate(who)
        else:
            work = self.start(who, operation)
            if moment == "after it is done":
                work.result(PATIENCE)
            self.office.terminate(who)
        answer = send(self.office.connection(who + 1), operation, self.model.organization)
        self.follow([(operation, answer)])

    @rule(who=connections, ending=st.sampled_from(["terminate", "hang up"]))
    def lose_a_connection(self, who: int, ending: str) -> None:
        """Holds do not go with the connection that asked for them."""
        self.end(who, ending)
        self.look(may_move=False)

    # Time

    def set_clock(self, now: datetime) -> None:
        self.model.now = now
        self.office.observer.execute("update clock.hand set instant = %s", (now,))

    @rule(
        by=st.sampled_from(
            [
                timedelta(seconds=1),
                timedelta(minutes=10),
                timedelta(hours=1),
                timedelta(hours=23),
                timedelta(days=8),
                timedelta(days=46),
            ]
        ),
        off=st.sampled_from([timedelta(0), 999 * INSTANT]),
    )
    def let_time_pass(self, by: timedelta, off: timedelta) -> None:
        self.set_clock(self.model.now + by + off)

    @rule(place=places, off=st.sampled_from([timedelta(0), -INSTANT, INSTANT]))
    def wait_for_the_end_of_a_window(self, place: int, off: timedelta) -> None:
        ends = [b.end for b in self.model.budgets.values() if b.end is not None]
        self.wait_for(sorted(end for end in ends if end + off > self.model.now), place, off)

    @rule(place=places, off=st.sampled_from([timedelta(0), -INSTANT]))
    def wait_for_an_overdue_hold(self, place: int, off: timedelta) -> None:
        ends = [h.expires_at for h in self.model.holds.values() if h.state == "open"]
        self.wait_for(sorted(end for end in ends if end + off > self.model.now), place, off)

    @rule(
        place=places,
        beside=st.none() | settlements() | releases | extensions(),
        ending=endings,
        who=connections,
        other=others,
    )
    def ask_again_once_it_is_overdue(
        self,
        place: int,
        beside: Settle | Release | Extend | None,
        ending: str,
        who: int,
        other: int,
    ) -> None:
        """A retry is not told of money that is free for others by now, or has been spent."""
        open_ones = self.model.open_requests()
        if not open_ones:
            return
        hold, asked = open_ones[place % len(open_ones)]
        self.set_clock(max(self.model.now, self.model.holds[hold].expires_at))
        if beside is None:
            self.call(asked, who)
        else:
            earlier = self.settle_on(replace(beside, hold=hold))
            self.overlap(earlier, asked, ending, who, other)

    @rule(place=places, cost=costs, is_open=st.booleans(), settles=st.booleans(), who=connections)
    def come_back_after_the_window(
        self, place: int, cost: Amount, is_open: bool, settles: bool, who: int
    ) -> None:
        """A hold counts to the windows it was taken in, whether or not others are open by now."""
        self.have_a_hold()
        key = self.model.hold_at(place)
        hold = self.model.holds.get(key)
        if hold is None:
            return
        windows = [self.model.window(b, hold.created_at) for b in self.model.covering(hold.call)]
        ends = sorted(end for _, end in windows if end is not None)
        self.set_clock(max([self.model.now, *ends[:1]]))
        if is_open:
            self.call(Authorize(hold.call, UNIT), who)
        self.call(Settle(key, cost) if settles else Extend(key, cost), who)

    def wait_for(self, instants: list[datetime], place: int, off: timedelta) -> None:
        if instants:
            self.set_clock(instants[place % len(instants)] + off)

    @precondition(lambda self: self.may_jump_back)
    @rule(by=st.sampled_from([timedelta(seconds=1), timedelta(hours=1), timedelta(days=31)]))
    def set_the_clock_back(self, by: timedelta) -> None:
        self.may_sweep = False
        self.set_clock(self.model.now - by)

    @precondition(lambda self: self.may_jump_back)
    @rule(place=places, off=st.sampled_from([INSTANT, timedelta(hours=1)]))
    def set_the_clock_before_an_open_window(self, place: int, off: timedelta) -> None:
        self.may_sweep = False
        starts = [b.start for b in self.model.budgets.values() if b.start is not None]
        if starts:
            self.set_clock(min(self.model.now, starts[place % len(starts)] - off))

    @precondition(lambda self: self.may_sweep)
    @rule()
    def forget_what_is_old(self) -> None:
        """What is forgotten by a clock that runs ahead stays forgotten."""
        self.may_jump_back = False
        self.office.observer.execute("select private.maintain()")
        self.model.sweep()
        self.look(may_move=False)


@contextmanager
def told(operation: Operation, answer: Answer) -> Iterator[None]:
    """Say in a failure what was asked and answered."""
    try:
        yield
    except DisagreementError as disagreement:
        disagreement.add_note(f"asked {operation!r}\nanswered {answer!r}")
        raise


# Where it fails, finding the shortest history takes a while.
@pytest.mark.timeout(3600)
def test_every_answer_and_every_book_is_as_the_model_predicts(
    database: Database, long: bool, brief: bool
) -> None:
    races.set_clock(database, "2026-10-31 12:00Z")
    office = Office(database)

    class HereAndNow(Kernel):
        def __init__(self) -> None:
            super().__init__(office)

    size = settings(
        examples(400 if long else 8 if brief else 25),
        stateful_step_count=40,
        report_multiple_bugs=False,
    )
    try:
        run_state_machine_as_test(HereAndNow, settings=size)
    finally:
        office.close()
