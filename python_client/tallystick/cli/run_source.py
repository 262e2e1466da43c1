"""Reading runs: what they are made of, how they were reconciled."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, LiteralString

from psycopg import sql
from psycopg.rows import class_row

from tallystick.cli.credit_source import read_owed, read_run_movements
from tallystick.cli.target import NotFound
from tallystick.models import Reconciliation, Run, columns

if TYPE_CHECKING:
    from collections.abc import Sequence
    from decimal import Decimal
    from uuid import UUID

    from tallystick.models import StatementMovement
    from tallystick.organizations import AnyConnection


@dataclass(frozen=True, slots=True)
class Calls:
    """Calls of one step of a run to one model.

    Attributes:
        step: the step's name.
        task: the name of the task it is part of, if any.
        agent: the name of the agent that takes it; None for the main one.
        model: the model that was called.
        calls: how many calls.
        errors: how many of them went wrong, so that their counts are a guess.
        input_tokens: tokens sent.
        output_tokens: tokens received.
        cost: US dollars.
    """

    step: str
    task: str | None
    agent: str | None
    model: str
    calls: int
    errors: int
    input_tokens: int
    output_tokens: int
    cost: Decimal


@dataclass(frozen=True, slots=True)
class Settlement:
    """How a run was reconciled, what moved for it in order, and what it still owes (US dollars)."""

    reconciliation: Reconciliation
    movements: Sequence[StatementMovement]
    owed_usd: Decimal


# No call is older than its run: months before it are not looked into.
_CALLS: LiteralString = """
select
  s.name as step, t.name as task, a.name as agent, r.model, count(*) as calls,
  count(r.error_code) as errors, sum(r.input_tokens) as input_tokens,
  sum(r.output_tokens) as output_tokens, sum(r.cost_usd) as cost
from billing.token_records as r
join billing.steps as s on s.org_id = r.org_id and s.id = r.step_id
left join billing.tasks as t on t.org_id = r.org_id and t.id = coalesce(r.task_id, s.task_id)
left join billing.agents as a on a.org_id = r.org_id and a.id = coalesce(r.agent_id, s.agent_id)
where r.org_id = %(organization)s and r.run_id = %(run)s
  and r.id >= (left(%(run)s::text, 13) || '-0000-0000-000000000000')::uuid
group by s.org_id, s.id, t.org_id, t.id, a.org_id, a.id, r.model
order by min(r.created_at), cost desc
"""


def read_run(connection: AnyConnection, run_id: UUID) -> Run:
    """Return the run of that id.

    Raises:
        NotFound: there is none.
    """
    with connection.cursor(row_factory=class_row(Run)) as cursor:
        found = cursor.execute(_select(Run, "runs", "id = %s"), [run_id]).fetchall()
    if not found:
        raise NotFound(f"no run has the id {run_id}")
    return found[0]


def read_calls(connection: AnyConnection, run: Run) -> list[Calls]:
    """Read the calls of a run by step and model, in the order they began."""
    with connection.cursor(row_factory=class_row(Calls)) as cursor:
        return cursor.execute(_CALLS, {"organization": run.org_id, "run": run.id}).fetchall()


def read_reconciliations(
    connection: AnyConnection, organization_id: UUID, runs: Sequence[Run]
) -> dict[UUID, Reconciliation]:
    """Return how runs were reconciled, by their id; those that go on are not in it."""
    with connection.cursor(row_factory=class_row(Reconciliation)) as cursor:
        cursor.execute(
            _select(Reconciliation, "token_reconciliations", "org_id = %s and run_id = any(%s)"),
            [organization_id, [run.id for run in runs]],
        )
        return {each.run_id: each for each in cursor}


def read_settlement(connection: AnyConnection, reconciliation: Reconciliation) -> Settlement:
    """Read what moved for a run that was reconciled, and what it still owes."""
    organization_id, run_id = reconciliation.org_id, reconciliation.run_id
    return Settlement(
        reconciliation=reconciliation,
        movements=read_run_movements(connection, organization_id, run_id),
        owed_usd=read_owed(connection, organization_id, run_id=run_id),
    )


def _select(model: type, relation: str, condition: LiteralString) -> sql.Composed:
    return sql.SQL("select {} from {} where {}").format(
        sql.SQL(", ").join(map(sql.Identifier, columns(model))),
        sql.Identifier("billing", relation),
        sql.SQL(condition),
    )
