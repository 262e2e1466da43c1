"""Credits, runs and draws through random histories on several connections.

An oracle that reads only balances says beforehand whether credits suffice; afterwards everything
that must agree is compared from raw rows, and audit.verify_integrity() agrees with it.
"""

import itertools
from collections import defaultdict
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass, field
from datetime import UTC, datetime, timedelta
from decimal import Decimal
from typing import Any
from uuid import UUID

import psycopg
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
from psycopg.rows import namedtuple_row

from tests.support import races
from tests.support.properties import examples, money
from tests.support.races import Connection
from tests.support.servers import Database

MODELS = ("model", "other")
CONNECTIONS = 3

# Round amounts meet balances exactly; the others prove that digits are kept.
amounts = st.sampled_from([Decimal(text) for text in ("0.25", "0.5", "1", "2", "5")]) | money(
    3
).filter(bool)
places = st.integers(0, 10**6)
who = st.integers(0, CONNECTIONS - 1)


@dataclass
class Known:
    """What the history has made so far."""

    runs: list[UUID] = field(default_factory=list)
    holds: list[UUID] = field(default_factory=list)
    calls: list[tuple[str, dict[str, Any]]] = field(default_factory=list)  # idempotent ones


@contextmanager
def connections(database: Database) -> Iterator[list[Connection]]:
    with ExitStack() as stack:
        them = [stack.enter_context(races.lent(database)) for _ in range(CONNECTIONS)]
        for each in them:
            each.autocommit = True
        yield them


class Billing(RuleBasedStateMachine):
    """One organization pays in advance, by runs and by draws, while days go by."""

    numbers = itertools.count()

    def __init__(self, database: Database, callers: list[Connection]) -> None:
        super().__init__()
        self.database = database
        self.callers = callers
        self.known = Known()
        self.now = datetime(2026, 11, 2, 12, tzinfo=UTC)

    @initialize()
    def start(self) -> None:
        self.move_clock()
        self.organization = races.open_tenant(self.database, "Europe/Berlin").organization
        self.buy(0, Decimal(2), None)

    # What is asked ------------------------------------------------------------------------------

    def ask(self, caller: int, function: str, **arguments: Any) -> tuple[str, Any]:
        """Call a function; return the SQLSTATE and the row."""
        try:
            return "00000", races.call(self.callers[caller], function, **arguments)
        except psycopg.Error as error:
            return error.sqlstate or "", None

    def rows(self, query: str) -> list[Any]:
        with self.callers[0].cursor(row_factory=namedtuple_row) as cursor:
            return cursor.execute(query, {"org": self.organization, "now": self.now}).fetchall()

    def one(self, query: str) -> Any:
        (row,) = self.rows(query)
        return row[0]

    def move_clock(self) -> None:
        races.set_clock(self.database, self.now.isoformat())

    def key(self) -> str:
        return f"key {next(self.numbers)}"

    # What credits could give --------------------------------------------------------------------

    def free(self, model: str | None) -> Decimal:
        """Return what no run or draw has reserved and no expiry has ended."""
        return sum(
            (
                grant.remaining_usd - grant.reserved_usd
                for grant in self.rows(
                    "select * from billing.credit_grants where org_id = %(org)s"
                    " and (expires_at is null or expires_at > %(now)s)"
                )
                if grant.model in (None, model)
            ),
            Decimal(0),
        )

    def draws(self) -> list[Any]:
        """Return open draws with what they have, once overdue holds are counted as free."""
        return self.rows(
            """
            select b.id, s.settled, s.starts, s.ends, b.limit_usd - s.settled - s.held as left,
              exists (
                select from metering.holds as h
                where h.organization_id = b.organization_id and h.state = 'open'
                  and h.expires_at > %(now)s and b.id = any(h.budget_ids)
              ) as is_kept
            from metering.budgets as b
            cross join lateral (
              select sum(x.settled_usd) as settled, min(x.window_start) as starts,
                max(x.window_end) as ends,
                sum(x.held_usd) - coalesce((
                  select sum(h.held_usd) from metering.holds as h
                  where h.organization_id = b.organization_id and h.state = 'open'
                    and h.expires_at <= %(now)s and b.id = any(h.budget_ids)
                ), 0) as held
              from metering.budget_slots as x
              where x.organization_id = b.organization_id and x.budget_id = b.id
            ) as s
            where b.organization_id = %(org)s and b.scope = 'draw'
            """
        )

    def returnable(self, draw: Any) -> Decimal:
        """Return what taking back from a draw makes available: less what expired, or is owed."""
        is_closed = not draw.is_kept and draw.ends + timedelta(minutes=1) <= self.now
        if draw.left < 0:
            return draw.left if is_closed else Decimal(0)
        parts = self.rows(
            "select r.amount_usd, g.expires_at <= %(now)s as is_over"
            " from billing.credit_reservations as r"
            " join billing.credit_grants as g on g.org_id = r.org_id and g.id = r.grant_id"
            f" where r.org_id = %(org)s and r.subject_id = '{draw.id}'"
            " order by g.priority desc, g.expires_at desc nulls first, g.id desc"
        )
        left, returned = draw.left, Decimal(0)
        for part in parts:
            taken = min(left, part.amount_usd)
            left -= taken
            returned += taken * (not part.is_over)
        return returned

    def suffices_for_run(self, amount: Decimal, model: str | None) -> bool:
        free = self.free(model)
        return amount <= free or amount <= free + sum(map(self.returnable, self.draws()))

    def suffices_for_call(self, amount: Decimal) -> bool:
        draws = self.draws()
        present = [draw for draw in draws if draw.starts <= self.now < draw.ends]
        others = sum((self.returnable(draw) for draw in draws if draw not in present), Decimal(0))
        if not present:
            return amount <= self.free(None) + others
        missing = amount - present[0].left
        return missing <= self.free(None) or missing <= self.free(None) + others

    # What happens -------------------------------------------------------------------------------

    @rule(caller=who, amount=amounts, days=st.sampled_from([None, 1, 3]))
    def buy(self, caller: int, amount: Decimal, days: int | None) -> None:
        expires = None if days is None else self.now + timedelta(days=days)
        arguments = {
            "org_id": self.organization, "amount_usd": amount, "idempotency_key": self.key(),
            "expires_at": expires,
        }  # fmt: skip
        assert self.ask(caller, "billing.purchase_credits", **arguments)[0] == "00000"
        self.known.calls.append(("billing.purchase_credits", arguments))

    @rule(
        caller=who,
        kind=st.sampled_from(["promo", "trial"]),
        amount=amounts,
        days=st.sampled_from([None, 1, 2]),
        priority=st.sampled_from([None, 0, 50]),
        model=st.sampled_from([None, *MODELS]),
    )
    def give(
        self,
        caller: int,
        kind: str,
        amount: Decimal,
        days: int | None,
        priority: int | None,
        model: str | None,
    ) -> None:
        arguments = {
            "org_id": self.organization, "kind": kind, "amount_usd": amount,
            "idempotency_key": self.key(), "priority": priority, "model": model,
            "expires_at": None if days is None else self.now + timedelta(days=days),
        }  # fmt: skip
        assert self.ask(caller, "billing.grant_credits", **arguments)[0] == "00000"
        self.known.calls.append(("billing.grant_credits", arguments))

    @rule(caller=who, amount=amounts, takes=st.booleans())
    def adjust(self, caller: int, amount: Decimal, takes: bool) -> None:
        arguments = {
            "org_id": self.organization, "amount_usd": -amount if takes else amount,
            "reason": "correction", "idempotency_key": self.key(),
        }  # fmt: skip
        fits = not takes or amount <= self.free(None)
        answer, _ = self.ask(caller, "billing.adjust_credits", **arguments)
        assert answer == ("00000" if fits else "TS402")
        if fits:
            self.known.calls.append(("billing.adjust_credits", arguments))

    @rule(
        caller=who,
        amount=amounts | st.just(Decimal(0)),
        model=st.sampled_from([None, *MODELS]),
        slots=st.sampled_from([1, 3]),
    )
    def start_run(self, caller: int, amount: Decimal, model: str | None, slots: int) -> None:
        arguments = {
            "org_id": self.organization, "input_tokens": 100, "output_tokens": 50, "model": model,
            "input_cost_usd": amount, "output_cost_usd": Decimal(0), "slots": slots,
            "request_id": self.key(),
        }  # fmt: skip
        fits = self.suffices_for_run(amount, model)
        answer, run = self.ask(caller, "billing.start_run", **arguments)
        assert answer == ("00000" if fits else "TS402")
        if run:
            self.known.runs.append(run.id)
            self.known.calls.append(("billing.start_run", arguments))

    def run(self, place: int) -> Any:
        run = self.known.runs[place % len(self.known.runs)]
        (row,) = self.rows(f"select * from billing.run_records where id = '{run}'")
        return row

    @precondition(lambda self: self.known.runs)
    @rule(caller=who, place=places, amount=amounts)
    def extend_run(self, caller: int, place: int, amount: Decimal) -> None:
        run = self.run(place)
        arguments = {
            "run_id": run.id, "input_tokens": 10, "input_cost_usd": Decimal(0),
            "output_cost_usd": amount, "request_id": self.key(),
        }  # fmt: skip
        fits = self.suffices_for_run(amount, run.model)
        answer, _ = self.ask(caller, "billing.extend_run", **arguments)
        if run.status != "running":
            assert answer == "TS410"
        else:
            assert answer == ("00000" if fits else "TS402")
            if fits:
                self.known.calls.append(("billing.extend_run", arguments))

    @rule(
        caller=who,
        amount=amounts,
        minutes=st.sampled_from([10, 600]),
        partly=st.booleans(),
        batched=st.booleans(),
    )
    def authorize(
        self, caller: int, amount: Decimal, minutes: int, partly: bool, batched: bool
    ) -> None:
        fits = self.suffices_for_call(amount)
        asked = {
            "model": "model", "estimated_cost": amount,
            "expires_in": f"{minutes} minutes", "allow_partial": partly,
            "minimum": Decimal("0.000000000001") if partly else None,
        }  # fmt: skip
        if batched:
            item = {
                name: str(value) if isinstance(value, Decimal) else value
                for name, value in asked.items()
            }
            (decision,) = races.call_all(
                self.callers[caller], "public.authorize_spend_batch",
                organization_id=self.organization, items=[item],
            )  # fmt: skip
        else:
            _, decision = self.ask(
                caller, "public.authorize_spend", organization_id=self.organization, **asked
            )
        self.take(decision, amount, fits, partly)

    @precondition(lambda self: self.known.runs)
    @rule(caller=who, place=places, amount=amounts, model=st.sampled_from(MODELS))
    def authorize_in_run(self, caller: int, place: int, amount: Decimal, model: str) -> None:
        run = self.run(place)
        left = self.one(
            "select coalesce(sum(s.available_usd) - coalesce(sum(s.debt_usd), 0) + coalesce(("
            "   select sum(h.held_usd) from metering.holds as h"
            "   where h.organization_id = %(org)s and h.state = 'open'"
            f"  and h.run_id = '{run.id}' and h.expires_at <= %(now)s), 0), 0)"
            f" from metering.budget_slots as s where s.budget_id = '{run.id}'"
        )
        _, decision = self.ask(
            caller, "public.authorize_spend", organization_id=self.organization, model=model,
            estimated_cost=amount, run_id=run.id,
        )  # fmt: skip
        if run.status != "running":
            assert (decision.decision, decision.reason) == ("denied", "run_ended")
        elif run.model not in (None, model):
            assert (decision.decision, decision.reason) == ("denied", "model_not_in_run")
        else:
            self.take(decision, amount, amount <= left, False)

    def take(self, decision: Any, amount: Decimal, fits: bool, partly: bool) -> None:
        if fits:
            assert (decision.decision, Decimal(decision.held_usd)) == ("granted", amount)
        elif not partly:
            assert (decision.decision, decision.reason) == ("denied", "budget_exceeded")
        if decision.hold_id:
            assert Decimal(decision.held_usd) <= amount
            self.known.holds.append(decision.hold_id)

    @precondition(lambda self: self.known.holds)
    @rule(caller=who, place=places, cost=amounts | st.just(Decimal(0)), batched=st.booleans())
    def settle(self, caller: int, place: int, cost: Decimal, batched: bool) -> None:
        hold = self.known.holds.pop(place % len(self.known.holds))
        if batched:
            (answer,) = races.call_all(
                self.callers[caller], "public.settle_spend_batch",
                organization_id=self.organization,
                items=[{"hold_id": str(hold), "cost": str(cost)}],
            )  # fmt: skip
            assert answer.error_code is None
        else:
            arguments = {"hold_id": hold, "cost": cost}
            assert self.ask(caller, "public.settle_spend", **arguments)[0] == "00000"
            self.known.calls.append(("public.settle_spend", arguments))

    @precondition(lambda self: self.known.holds)
    @rule(caller=who, place=places)
    def release(self, caller: int, place: int) -> None:
        hold = self.known.holds[place % len(self.known.holds)]  # it may still be settled, late
        assert self.ask(caller, "public.release_spend", hold_id=hold)[0] == "00000"

    @precondition(lambda self: self.known.runs)
    @rule(caller=who, place=places, cost=amounts | st.just(Decimal(0)), tokens=st.integers(0, 500))
    def record_call(self, caller: int, place: int, cost: Decimal, tokens: int) -> None:
        run = self.run(place)
        arguments = {
            "run_id": run.id, "agent_id": None, "task_id": None, "step_id": None,
            "input_tokens": tokens, "output_tokens": tokens // 2, "model": "model",
            "cost_usd": cost, "request_id": self.key(),
        }  # fmt: skip
        assert self.ask(caller, "billing.record_token_call", **arguments)[0] == "00000"
        self.known.calls.append(("billing.record_token_call", arguments))

    @precondition(lambda self: self.known.runs)
    @rule(
        caller=who,
        place=places,
        way=st.sampled_from(["reconcile_run", "complete_run", "cancel_run", "fail_run"]),
    )
    def end_run(self, caller: int, place: int, way: str) -> None:
        run = self.run(place)
        is_kept = self.one(
            "select exists (select from metering.holds as h where h.organization_id = %(org)s"
            f" and h.run_id = '{run.id}' and h.state = 'open' and h.expires_at > %(now)s)"
        )
        answer, _ = self.ask(caller, f"billing.{way}", run_id=run.id)
        waits = is_kept and way in ("reconcile_run", "complete_run") and run.status == "running"
        assert answer == ("TS423" if waits else "00000")

    @precondition(lambda self: self.known.runs)
    @rule(caller=who, place=places, share=st.sampled_from([Decimal(0), Decimal("0.5"), Decimal(1)]))
    def dispute(self, caller: int, place: int, share: Decimal) -> None:
        run = self.run(place)
        paid = self.one(
            "select coalesce(sum(case direction when 'debit' then amount_usd else -amount_usd end),"
            f" 0) + (select coalesce(sum(outstanding_usd), 0) from billing.receivables"
            f" where run_id = '{run.id}') from billing.billing_ledger where run_id = '{run.id}'"
        )
        is_resolved = self.one(
            "select exists (select from billing.token_reconciliations"
            f" where run_id = '{run.id}' and status = 'RESOLVED')"
        )
        answer, _ = self.ask(caller, "billing.dispute_reconciliation", run_id=run.id, notes="why")
        assert answer == (
            "TS404" if run.status == "running" else "TS410" if is_resolved else "00000"
        )
        if answer == "00000":
            refund = (paid * share).quantize(Decimal("1e-12"))
            arguments = {"run_id": run.id, "refund_usd": refund}
            assert self.ask(caller, "billing.resolve_dispute", **arguments)[0] == "00000"
            self.known.calls.append(("billing.resolve_dispute", arguments))

    @precondition(lambda self: self.known.calls)
    @rule(caller=who, place=places)
    def retry(self, caller: int, place: int) -> None:
        """Whatever was done is asked for again, and nothing happens but what is due anyway."""
        function, arguments = self.known.calls[place % len(self.known.calls)]
        self.ask(caller, "billing.expire_credits", org_id=self.organization)
        before = self.everything()
        assert self.ask(caller, function, **arguments)[0] == "00000"
        assert self.everything() == before

    def everything(self) -> list[Any]:
        return [
            self.rows(f"select * from billing.{table} where org_id = %(org)s order by 1, 2, 3")
            for table in ("billing_ledger", "credit_grants", "token_records", "run_records")
        ] + self.rows("select * from billing.credit_balances where org_id = %(org)s")

    @rule(hours=st.sampled_from([0.1, 1, 12, 30]))
    def wait(self, hours: float) -> None:
        self.now += timedelta(hours=hours)
        self.move_clock()

    @rule(caller=who)
    def clean_up(self, caller: int) -> None:
        expired, _ = self.ask(caller, "metering.expire_holds", organization_id=self.organization)
        assert expired == "00000"
        for function in ("billing.close_draws", "billing.expire_credits"):
            assert self.ask(caller, function, org_id=self.organization)[0] == "00000"
        posted = {"organization_id": self.organization}
        assert self.ask(caller, "accounting.post_provider_cost", **posted)[0] == "00000"
        assert self.ask(caller, "accounting.post_provider_cost", **posted)[1][0] == 0
        assert self.ask(caller, "accounting.post_history", **posted)[1][0] == 0

    @rule(caller=who, how=st.sampled_from(["close", "reopen"]))
    def move_month(self, caller: int, how: str) -> None:
        """Whatever billing does goes on: it is booked in the next month that is open."""
        code, answer = self.ask(
            caller, f"accounting.{how}_period",
            organization_id=self.organization, period_key=f"{self.now:%Y-%m}", correlation_id="c",
        )  # fmt: skip
        assert (code, answer.status) == ("00000", "ok")

    @rule(caller=who, line=st.sampled_from(["revenue", "late_usage"]), number=st.integers(0, 1))
    def map_line(self, caller: int, line: str, number: int) -> None:
        account = f"income {number}"
        of = {"organization_id": self.organization, "account_id": account}
        opened = self.ask(
            caller,
            "accounting.set_account",
            code=account,
            name=account,
            account_type="income",
            **of,
        )
        assert opened[0] == "00000"
        assert self.ask(caller, "accounting.set_account_map", line=line, **of)[0] == "00000"

    # What must hold -----------------------------------------------------------------------------

    @invariant()
    def books_agree(self) -> None:
        (credit,) = self.rows("select * from billing.credit_balances where org_id = %(org)s")
        ledger = self.rows("select * from billing.billing_ledger where org_id = %(org)s")
        signed = [each.amount_usd * (1 if each.direction == "credit" else -1) for each in ledger]
        assert credit.balance_usd == sum(signed, Decimal(0))
        assert 0 <= credit.reserved_usd <= credit.balance_usd
        (last,) = self.rows(
            "select balance_after_usd from billing.credit_balance_history"
            " where org_id = %(org)s order by movement desc limit 1"
        )
        assert credit.balance_usd == last.balance_after_usd
        for run in {each.run_id for each in ledger if each.run_id}:
            of_run = [s for each, s in zip(ledger, signed, strict=True) if each.run_id == run]
            assert sum(of_run, Decimal(0)) <= 0  # refunds are within charges

    @invariant()
    def every_movement_is_in_the_books(self) -> None:
        kept: dict[str, Decimal] = defaultdict(Decimal)
        for line in self.rows(
            "select memo as line, sum(amount) as amount from accounting.ledger_postings"
            " where organization_id = %(org)s group by memo"
        ):
            kept[line.line] += line.amount
        assert sum(kept.values()) == 0
        for carry in self.rows(
            "select * from accounting.rounding_carries where organization_id = %(org)s"
        ):
            assert abs(carry.carry_usd) < Decimal("0.0001")
            kept[carry.debit_line] += carry.carry_usd
            kept[carry.credit_line] -= carry.carry_usd
        # Their costs are compared by verify_integrity: usage may have landed since.
        assert kept.pop("provider_cost", Decimal(0)) == -kept.pop("accounts_payable", Decimal(0))
        assert {line: amount for line, amount in kept.items() if amount} == {
            line: amount for line, amount in self.said_by_billing().items() if amount
        }

    def said_by_billing(self) -> dict[str, Decimal]:
        """Return each line of the books as the rows of billing have it, above 0 debit."""
        said: dict[str, Decimal] = defaultdict(Decimal)
        for moved in self.rows(
            """
            select l.*, m.change_usd, g.kind, l.idempotency_key is null as is_unnamed,
              l.idempotency_key like 'tallystick:%%' as is_ours
            from billing.billing_ledger as l
            inner join billing.grant_movements as m
              on m.org_id = l.org_id and m.billing_ledger_id = l.id
            inner join billing.credit_grants as g on g.org_id = m.org_id and g.id = m.grant_id
            where l.org_id = %(org)s
            """
        ):
            is_owed = moved.kind in ("purchase", "adjustment")
            is_used = moved.transaction_type in ("charge", "refund") or moved.is_ours
            said["customer_credits"] -= moved.change_usd if is_owed else 0
            said["promo_expense"] -= moved.change_usd if is_used and not is_owed else 0
            if moved.transaction_type == "credit_purchase":
                said["cash"] += moved.change_usd
            elif moved.transaction_type in ("charge", "refund"):
                said["revenue"] += moved.change_usd
            elif moved.transaction_type == "adjustment" and (is_used or is_owed):
                line = "late_usage" if is_used else "breakage" if moved.is_unnamed else "adjustment"
                said[line] += moved.change_usd
        for owed in self.rows("select * from billing.receivables where org_id = %(org)s"):
            said["receivable"] += owed.outstanding_usd
            said["revenue"] -= owed.outstanding_usd
        return said

    @invariant()
    def the_oldest_is_collected_first(self) -> None:
        open_ones = [
            each.outstanding_usd > 0
            for each in self.rows(
                "select * from billing.receivables where org_id = %(org)s order by number"
            )
            if each.outstanding_usd + each.waived_usd < each.amount_usd or each.outstanding_usd > 0
        ]
        assert open_ones == sorted(open_ones)

    @invariant()
    def nothing_is_found(self) -> None:
        assert races.findings(self.database, self.organization) == []


# Where it fails, finding the shortest history takes a while.
@pytest.mark.timeout(1800)
def test_credits_agree_with_all_that_follows_from_them(
    database: Database, long: bool, brief: bool
) -> None:
    with races.warm(database), connections(database) as callers:

        class HereAndNow(Billing):
            def __init__(self) -> None:
                super().__init__(database, callers)

        size = settings(
            examples(200 if long else 6 if brief else 20),
            stateful_step_count=40,
            report_multiple_bugs=False,
        )
        run_state_machine_as_test(HereAndNow, settings=size)
