"""The part of the demo that pays in advance: runs, refunds, extra charges, a statement."""

from __future__ import annotations

from dataclasses import dataclass
from decimal import Decimal
from typing import TYPE_CHECKING

import psycopg

from tallystick.cli.run_source import read_reconciliations
from tallystick.cli.run_table import listing
from tallystick.cli.statement.command import statement
from tallystick.client import Client
from tallystick.figures import usd
from tallystick.money import total
from tallystick.organizations import Payer, find_or_create_organization

if TYPE_CHECKING:
    from collections.abc import Iterable, Sequence

    from rich.console import Console

    from tallystick.models import TrialBalanceLine
    from tallystick.replay.rows import UsageFile, UsageRow

ORGANIZATION = "Demo studio"
_BOUGHT, _GIVEN = Decimal(5), Decimal("0.50")
_CALLS = 30  # of each workflow


@dataclass(frozen=True, slots=True)
class _Plan:
    """A run: which workflow's calls it makes, and what its estimate is of what they will use."""

    workflow: str
    estimate: Decimal
    cancelled: bool = False


_PLANS = (
    _Plan("support-chat", Decimal("1.25")),
    _Plan("weekly-report", Decimal("0.60")),
    _Plan("document-search", Decimal("0.40")),
    _Plan("code-review", Decimal(1), cancelled=True),
)


def bill_runs(console: Console, database_url: str, usage: UsageFile) -> None:
    """Pay the first calls of some workflows of the sample by a run each, and show what moved."""
    with psycopg.connect(database_url) as connection:
        client = Client(connection)
        payer = find_or_create_organization(connection, ORGANIZATION)
        client.purchase_credits(payer.id, _BOUGHT, "payment-1")
        client.grant_credits(payer.id, "promo", _GIVEN, "welcome")
        for plan in _PLANS:
            rows = [row for row in usage.rows if row.workflow == plan.workflow][:_CALLS]
            _run(client, payer, plan, rows)
        found = client.runs(payer.id)
        reconciled = read_reconciliations(connection, payer.id, found)
        balances = client.trial_balance(payer.id)
        connection.commit()
    console.print(listing(payer, found, reconciled, limit=len(found) + 1))
    statement(organization=str(payer.id), database_url=database_url)
    console.print(_balance(balances))


def _balance(lines: Sequence[TrialBalanceLine]) -> str:
    debited = total([line.debits for line in lines])
    credited = total([line.credits for line in lines])
    verdict = "[green]balance" if debited == credited else "[red]do not balance"
    return f"The books {verdict}[/]: {usd(debited)} debited, {usd(credited)} credited."


def _run(client: Client, payer: Payer, plan: _Plan, rows: Sequence[UsageRow]) -> None:
    model = rows[0].model
    assert model is not None  # noqa: S101 - the sample names one in each row
    run = client.start_run(
        payer.id,
        _share(plan.estimate, (row.prompt_tokens for row in rows)),
        _share(plan.estimate, (row.completion_tokens for row in rows)),
        model=model,
        name=plan.workflow,
    )
    for row in rows[: len(rows) // 3 if plan.cancelled else None]:
        client.record_token_call(
            run.id, None, None, None, row.prompt_tokens, row.completion_tokens, model, None
        )
    end = client.cancel_run if plan.cancelled else client.complete_run
    end(run.id)


def _share(share: Decimal, tokens: Iterable[int]) -> int:
    return int(share * sum(tokens))
