"""The books through random histories on several connections.

An oracle says beforehand what becomes of each request, from the state of the month and the amounts
alone; afterwards the books are compared with it from raw rows, and audit.verify_integrity() agrees.
"""

import itertools
import json
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass, field
from decimal import ROUND_HALF_EVEN, Decimal
from typing import Any

import pytest
from hypothesis import settings
from hypothesis import strategies as st
from hypothesis.stateful import (
    RuleBasedStateMachine,
    initialize,
    invariant,
    precondition,
    rule,
    run_state_machine_as_test,
)

from tests.support import races
from tests.support.properties import examples
from tests.support.races import Connection
from tests.support.servers import Database

CONNECTIONS = 3
MONTHS = ("2026-01", "2026-02", "2026-03")
ACCOUNTS = {
    "entity-default": ("cash", "loan", "sales", "rent"),
    "sub": ("sub-cash", "sub-loan", "sub-sales", "sub-rent"),
}
THRESHOLD = Decimal(100)
CENT_OF_A_CENT = Decimal("0.0001")
ADJUSTING = {"is_adjusting_entry": True, "adjusting_reason_code": "late"}
OVERRIDING = {"override_period_lock": True}

entities = st.sampled_from(sorted(ACCOUNTS))
months = st.sampled_from(MONTHS)
places = st.integers(0, 10**6)
who = st.integers(0, CONNECTIONS - 1)
gates = st.sampled_from([{}, {}, ADJUSTING, OVERRIDING])
# Ties of both signs, what rounds to nothing, and amounts on either side of the threshold.
amounts = st.sampled_from(
    [
        Decimal(text)
        for text in ("0.00005", "0.00015", "0.00025", "-0.00005", "1", "100", "100.0001")
    ]
) | st.integers(-(10**9), 10**9).map(lambda units: Decimal(units).scaleb(-6))
errors = st.sampled_from([Decimal(0)] * 4 + [Decimal("0.00001"), Decimal("-0.0001")])


def half_even(amount: Decimal) -> Decimal:
    return amount.quantize(CENT_OF_A_CENT, ROUND_HALF_EVEN)


@dataclass
class Asked:
    """A request that was answered for good, or until it is decided."""

    request: dict[str, Any]
    legs: list[Decimal]
    response: str
    transaction: str | None = None
    proposal: str | None = None

    @property
    def period(self) -> tuple[str, str]:
        return self.request["entity_id"], self.request["transaction_date"][:7]


@dataclass
class Known:
    """What the history has made so far."""

    asked: list[Asked] = field(default_factory=list)
    periods: dict[tuple[str, str], str] = field(default_factory=dict)
    reversals: dict[str, Asked] = field(default_factory=dict)  # by the transaction reversed

    def committed(self) -> list[Asked]:
        return [each for each in self.asked if each.transaction is not None]

    def waiting(self) -> list[Asked]:
        return [each for each in self.asked if each.proposal is not None]


@contextmanager
def connections(database: Database) -> Iterator[list[Connection]]:
    with ExitStack() as stack:
        them = [stack.enter_context(races.lent(database)) for _ in range(CONNECTIONS)]
        for each in them:
            each.autocommit = True
        yield them


class Books(RuleBasedStateMachine):
    """An organization of two entities whose months open, close and are locked."""

    numbers = itertools.count()

    def __init__(self, database: Database, callers: list[Connection]) -> None:
        super().__init__()
        self.database = database
        self.callers = callers
        self.known = Known()

    @initialize()
    def start(self) -> None:
        self.organization = races.open_tenant(self.database).organization
        self.call("accounting.set_entity", code="SUB", name="Sub", entity_id="sub")
        types = ("asset", "liability", "income", "expense")
        for entity, accounts in ACCOUNTS.items():
            for account, kind in zip(accounts, types, strict=True):
                self.call(
                    "accounting.set_account",
                    code=account, name=account, account_type=kind, entity_id=entity,
                    account_id=account,
                )  # fmt: skip
        self.call(
            "accounting.set_policy_rule",
            rule_id="large", threshold_amount=THRESHOLD, tool_name="record_transaction_bundle",
            allows_asserted=True,
        )  # fmt: skip

    # What is asked ------------------------------------------------------------------------------

    def call(self, function: str, caller: int = 0, **arguments: Any) -> Any:
        return races.call(
            self.callers[caller], function, organization_id=self.organization, **arguments
        )

    def rows(self, query: str) -> list[tuple[Any, ...]]:
        return self.callers[0].execute(query, {"org": self.organization}).fetchall()

    def record(self, caller: int, request: dict[str, Any]) -> str:
        response: str = races.one(
            self.callers[caller],
            "select accounting.record_transaction_bundle(%s, %s, 'clerk')",
            self.organization,
            json.dumps(request),
        )
        return response

    def outcome(self, request: dict[str, Any], legs: list[Decimal], approved: bool = False) -> str:
        """Say what becomes of a request that nobody made before."""
        if sum(legs) != 0 and sum(map(half_even, legs)) != 0:
            return "22023"
        state = self.known.periods.get(
            (request["entity_id"], request["transaction_date"][:7]), "open"
        )
        overrides = request.get("override_period_lock", False)
        if state == "closed" and not request.get("is_adjusting_entry", False):
            return "TS412"
        if state == "locked" and not overrides:
            return "TS412"
        if approved or (state != "locked" and self.moved(legs) <= THRESHOLD):
            return "committed"
        return "proposed"

    def moved(self, legs: list[Decimal]) -> Decimal:
        return sum((each for each in self.rounded(legs) if each > 0), Decimal(0))

    def rounded(self, legs: list[Decimal]) -> list[Decimal]:
        """Round half even; what that leaves over goes where it was rounded away most."""
        whole = [half_even(leg) for leg in legs]
        rest = sum(whole) if sum(legs) == 0 else Decimal(0)
        step = CENT_OF_A_CENT.copy_sign(-rest)
        order = sorted(
            range(len(legs)), key=lambda i: ((legs[i] - whole[i]) * (1 if rest > 0 else -1), i)
        )
        for position in order[: int(abs(rest) / CENT_OF_A_CENT)]:
            whole[position] += step
        return whole

    def learn(self, request: dict[str, Any], legs: list[Decimal], response: str) -> str:
        """Keep an answer that binds its key; return the status or the code of the refusal."""
        answer = json.loads(response)
        if answer["status"] == "refused":
            return str(answer["error_code"])
        asked = Asked(request, legs, response)
        if answer["status"] == "committed":
            asked.transaction = answer["transaction_id"]
        else:
            asked.proposal = answer["proposal_id"]
        self.known.asked.append(asked)
        return str(answer["status"])

    # What happens -------------------------------------------------------------------------------

    @rule(
        caller=who,
        entity=entities,
        month=months,
        legs=st.lists(amounts, min_size=1, max_size=3),
        error=errors,
        gate=gates,
    )
    def post(
        self,
        caller: int,
        entity: str,
        month: str,
        legs: list[Decimal],
        error: Decimal,
        gate: dict[str, Any],
    ) -> None:
        legs = [*legs, error - sum(legs)]
        request = {
            "source_system": "test",
            "external_id": str(next(self.numbers)),
            "transaction_date": f"{month}-15",
            "description": "Test",
            "correlation_id": "first",
            "entity_id": entity,
            "postings": [
                {"account_id": account, "amount": f"{amount:f}"}
                for account, amount in zip(ACCOUNTS[entity], legs, strict=False)
            ],
            **gate,
        }
        expected = self.outcome(request, legs)
        assert self.learn(request, legs, self.record(caller, request)) == expected

    @precondition(lambda self: self.known.asked)
    @rule(caller=who, place=places)
    def post_again(self, caller: int, place: int) -> None:
        asked = self.known.asked[place % len(self.known.asked)]
        again = {**asked.request, "correlation_id": "again"}
        assert self.record(caller, again) == asked.response

    @precondition(lambda self: self.known.asked)
    @rule(caller=who, place=places)
    def post_something_else(self, caller: int, place: int) -> None:
        asked = self.known.asked[place % len(self.known.asked)]
        answer = json.loads(self.record(caller, {**asked.request, "description": "Other"}))
        assert (answer["status"], answer["error_code"]) == ("refused", "TS409")

    @precondition(lambda self: self.known.committed())
    @rule(caller=who, place=places, month=months, gate=st.sampled_from([{}, ADJUSTING]))
    def reverse(self, caller: int, place: int, month: str, gate: dict[str, Any]) -> None:
        committed = self.known.committed()
        asked = committed[place % len(committed)]
        assert asked.transaction is not None
        legs = [-leg for leg in self.rounded(asked.legs)]
        request = {
            "source_system": "reversal",
            "external_id": asked.transaction,
            "transaction_date": f"{month}-20",
            "description": "Reversal",
            "correlation_id": "undo",
            "entity_id": asked.request["entity_id"],
            "reverses_transaction_id": asked.transaction,
            **gate,
        }
        earlier = self.known.reversals.get(asked.transaction)
        if earlier is None:
            expected = self.outcome(request, legs)
        else:
            expected = json.loads(earlier.response)["status"]
            if earlier.request != request:
                expected = "TS409"
        response = races.one(
            self.callers[caller],
            "select accounting.reverse_transaction(%s, %s, %s, 'undo', 'Reversal', %s,"
            " p_actor => 'clerk')",
            self.organization,
            asked.transaction,
            request["transaction_date"],
            gate.get("adjusting_reason_code"),
        )
        if earlier is not None:
            answer = json.loads(response)
            assert expected in (answer.get("error_code"), answer["status"])
            assert expected == "TS409" or response == earlier.response
            return
        assert self.learn(request, legs, response) == expected
        if expected in ("committed", "proposed"):
            self.known.reversals[asked.transaction] = self.known.asked[-1]

    @precondition(lambda self: self.known.waiting())
    @rule(caller=who, place=places, approves=st.booleans(), by=st.sampled_from(["boss", "clerk"]))
    def decide(self, caller: int, place: int, approves: bool, by: str) -> None:
        waiting = self.known.waiting()
        asked = waiting[place % len(waiting)]
        answer = self.call(
            f"accounting.{'approve' if approves else 'reject'}_proposal",
            caller,
            proposal_id=asked.proposal,
            actor=by,
        )
        if not approves:
            assert answer.status == "rejected"
        elif by == "clerk":
            assert (answer.status, answer.error_code) == ("refused", "42501")
            return
        else:
            expected = self.outcome(asked.request, asked.legs, approved=True)
            assert (answer.error_code or answer.status) == expected
            if expected != "committed":
                return  # it still waits
            asked.transaction = answer.transaction_id
        asked.proposal = None
        asked.response = answer.response_payload

    @rule(
        caller=who,
        entity=entities,
        month=months,
        how=st.sampled_from(["close", "close", "reopen", "reopen", "lock"]),
    )
    def move_period(self, caller: int, entity: str, month: str, how: str) -> None:
        before = self.known.periods.get((entity, month), "open")
        answer = self.call(
            f"accounting.{how}_period",
            caller,
            period_key=month, correlation_id="c", entity_id=entity,
        )  # fmt: skip
        if before == "locked" and how != "lock":
            assert (answer.status, answer.error_code) == ("refused", "TS412")
            assert answer.period_status == "locked"
            return
        after = {"close": "closed", "reopen": "open", "lock": "locked"}[how]
        assert (answer.status, answer.period_status) == ("ok", after)
        self.known.periods[entity, month] = after

    # What must hold -----------------------------------------------------------------------------

    @invariant()
    def books_are_what_was_committed(self) -> None:
        posted: dict[str, list[Decimal]] = {}
        for transaction, amount in self.rows(
            "select transaction_id, amount from accounting.ledger_postings"
            " where organization_id = %(org)s order by transaction_id, position"
        ):
            posted.setdefault(transaction, []).append(amount)
        assert posted == {
            each.transaction: self.rounded(each.legs) for each in self.known.committed()
        }
        responses = dict(
            self.rows(
                "select transaction_id, response_payload from accounting.ledger_transactions"
                " where organization_id = %(org)s"
            )
        )
        assert responses == {each.transaction: each.response for each in self.known.committed()}

    @invariant()
    def each_entity_balances(self) -> None:
        for entity, currency, total in self.rows(
            "select entity_id, currency, sum(amount) from accounting.ledger_postings"
            " where organization_id = %(org)s group by 1, 2"
        ):
            assert (entity in ACCOUNTS, currency, total) == (True, "USD", 0)

    def teardown(self) -> None:
        assert races.findings(self.database, self.organization) == []


# Where it fails, finding the shortest history takes a while.
@pytest.mark.timeout(1800)
def test_the_books_balance_whatever_happens(database: Database, long: bool, brief: bool) -> None:
    with races.warm(database), connections(database) as callers:

        class HereAndNow(Books):
            def __init__(self) -> None:
                super().__init__(database, callers)

        size = settings(
            examples(200 if long else 6 if brief else 20),
            stateful_step_count=40,
            report_multiple_bugs=False,
        )
        run_state_machine_as_test(HereAndNow, settings=size)
