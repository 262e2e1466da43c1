"""Reading the books beside the client: caps, what is recorded already, and the proof."""

from __future__ import annotations

from dataclasses import dataclass
from decimal import Decimal
from typing import TYPE_CHECKING, Literal, LiteralString

from psycopg.rows import class_row, scalar_row, tuple_row

from tallystick.client import Client

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence
    from uuid import UUID

    from tallystick.models import Finding
    from tallystick.organizations import AnyConnection

Operation = Literal["authorize", "record"]
"""By what a request id was bound: a hold, or a record without one."""


@dataclass(frozen=True, slots=True)
class Cap:
    """A budget that refuses.

    Attributes:
        id: its id; the workflow's for the total of a workflow.
        scope: what it covers.
        scope_id: which one; empty for the organization itself.
        time_window: total, or how long until it begins anew.
        limit_usd: US dollars.
    """

    id: UUID
    scope: str
    scope_id: str
    time_window: str
    limit_usd: Decimal


@dataclass(frozen=True, slots=True)
class Caps:
    """The caps of an organization, by their budgets' ids."""

    by_id: Mapping[UUID, Cap]

    @property
    def month(self) -> Decimal | None:
        """The cap of the organization's month, or None."""
        limits = (
            cap.limit_usd
            for cap in self.by_id.values()
            if (cap.scope, cap.time_window) == ("organization", "month")
        )
        return next(limits, None)

    def of_workflow(self, workflow_id: UUID) -> Decimal | None:
        """The cap of a workflow's total, or None."""
        cap = self.by_id.get(workflow_id)
        return cap.limit_usd if cap else None


@dataclass(frozen=True, slots=True)
class Spent:
    """What was spent so far, by the ledger; US dollars.

    Attributes:
        workflows: by workflow; one that spent nothing is left out.
        month: in the organization's month.
    """

    workflows: Mapping[UUID, Decimal]
    month: Decimal


@dataclass(frozen=True, slots=True)
class Recorded:
    """What the ledger holds under a request id; no tokens when the row itself is not kept."""

    request_id: str
    prompt_tokens: int | None
    completion_tokens: int | None


@dataclass(frozen=True, slots=True)
class Sums:
    """A count and sums over the ledger or over what was derived from it."""

    requests: int
    tokens: int
    cost: Decimal


@dataclass(frozen=True, slots=True, kw_only=True)
class Books:
    """The same money, read in independent ways, all in one snapshot.

    Attributes:
        ledger: added up row by row from `public.ai_usage_ledger`, all of the organization.
        workflows: sum of the workflows' `total_ai_cost`.
        rollups: sums of `metering.usage_rollups`.
        month: `get_organization_monthly_ai_cost`.
        ledger_month: the ledger's rows of this month, added up.
        replayed: the ledger rows this replay's requests point to, added up.
        findings: what `audit.verify_integrity` reports.
    """

    ledger: Sums
    workflows: Decimal
    rollups: Sums
    month: Decimal
    ledger_month: Decimal
    replayed: Sums
    findings: Sequence[Finding]


_LEDGER_OF_REQUESTS: LiteralString = """
select count(*) as requests,
  coalesce(sum(l.prompt_tokens::bigint + l.completion_tokens), 0)::bigint as tokens,
  coalesce(sum(l.cost), 0) as cost
from metering.request_keys as k
join public.ai_usage_ledger as l on l.organization_id = k.organization_id and l.id = k.subject_id
where k.organization_id = %s and k.operation = %s and k.request_id = any(%s)
"""

# A hold is not a record yet: it may be released, or expire. An older row of the ledger may be gone.
_RECORDED: LiteralString = """
select k.request_id, l.prompt_tokens, l.completion_tokens
from metering.request_keys as k
left join public.ai_usage_ledger as l
  on l.organization_id = k.organization_id and l.id = k.subject_id
where k.organization_id = %s and k.request_id = any(%s)
  and (k.operation = 'record' or k.operation = 'authorize' and l.id is not null)
"""

_LEDGER: LiteralString = """
select count(*) as requests,
  coalesce(sum(prompt_tokens::bigint + completion_tokens), 0)::bigint as tokens,
  coalesce(sum(cost), 0) as cost
from public.ai_usage_ledger where organization_id = %s
"""

_ROLLUPS: LiteralString = """
select coalesce(sum(requests), 0)::bigint as requests,
  coalesce(sum(prompt_tokens + completion_tokens), 0)::bigint as tokens,
  coalesce(sum(cost), 0) as cost
from metering.usage_rollups where organization_id = %s and scope = 'organization'
"""

# The month by the clock and the time zone of the organization, from the rows themselves.
_LEDGER_MONTH: LiteralString = """
select coalesce(sum(l.cost), 0)
from public.ai_usage_ledger as l
join tenancy.organizations as o on o.id = l.organization_id
where o.id = %s
  and date_trunc('month', l.created_at at time zone o.time_zone)
    = date_trunc('month', now() at time zone o.time_zone)
"""

_WORKFLOWS: LiteralString = """
select coalesce(sum((workflow_data ->> 'total_ai_cost')::numeric), 0)
from public.intent_workflows where organization_id = %s
"""


def already_recorded(
    connection: AnyConnection, organization_id: UUID, request_ids: Sequence[str]
) -> dict[str, Recorded]:
    """Return which of the request ids the organization's ledger already knows, and their tokens."""
    with connection.cursor(row_factory=class_row(Recorded)) as cursor:
        cursor.execute(_RECORDED, [organization_id, list(request_ids)])
        return {found.request_id: found for found in cursor}


def existing_workflows(
    connection: AnyConnection, organization_id: UUID, ids: Sequence[UUID]
) -> set[UUID]:
    """Return which of the workflows the organization already has."""
    with connection.cursor(row_factory=scalar_row) as cursor:
        cursor.execute(
            "select id from metering.workflows where organization_id = %s and id = any(%s)",
            [organization_id, list(ids)],
        )
        return set(cursor.fetchall())


def count_books(connection: AnyConnection, organization_id: UUID | None) -> tuple[int, int]:
    """Return how many organizations and ledger rows there are, of one organization or of all."""
    with connection.cursor(row_factory=scalar_row) as cursor:
        organizations, rows = (
            cursor.execute(query, [organization_id, organization_id]).fetchone() or 0
            for query in (
                "select count(*) from tenancy.organizations where %s::uuid is null or id = %s",
                "select count(*) from public.ai_usage_ledger"
                " where %s::uuid is null or organization_id = %s",
            )
        )
        return organizations, rows


def read_caps(connection: AnyConnection, organization_id: UUID) -> Caps:
    """Return the caps an organization has stored."""
    with connection.cursor(row_factory=class_row(Cap)) as cursor:
        cursor.execute(
            "select id, scope, scope_id, time_window, limit_usd from metering.budgets"
            " where organization_id = %s and limit_usd is not null and enforcement = 'hard'",
            [organization_id],
        )
        return Caps({cap.id: cap for cap in cursor})


def read_spent(
    connection: AnyConnection, organization_id: UUID, workflow_ids: Sequence[UUID]
) -> Spent:
    """Return what workflows have spent so far, and what was spent this month."""
    with connection.cursor(row_factory=tuple_row) as cursor:
        cursor.execute(
            "select workflow_id, sum(cost) from public.ai_usage_ledger"
            " where organization_id = %s and workflow_id = any(%s) group by workflow_id",
            [organization_id, list(workflow_ids)],
        )
        return Spent(dict(cursor), _amount(connection, _LEDGER_MONTH, organization_id))


def read_books(
    connection: AnyConnection,
    organization_id: UUID,
    operation: Operation,
    request_ids: Sequence[str],
) -> Books:
    """Read every figure of the proof in one snapshot, so spend in flight cannot disturb it.

    Args:
        connection: one that is not in a transaction.
        organization_id: whose books.
        operation: by what this replay's requests were made.
        request_ids: those of them that were recorded.
    """
    with connection.transaction():
        connection.execute("set transaction isolation level repeatable read, read only")
        client = Client(connection)
        return Books(
            ledger=_sums(connection, _LEDGER, organization_id),
            workflows=_amount(connection, _WORKFLOWS, organization_id),
            rollups=_sums(connection, _ROLLUPS, organization_id),
            month=client.get_organization_monthly_ai_cost(organization_id),
            ledger_month=_amount(connection, _LEDGER_MONTH, organization_id),
            replayed=_sums(
                connection, _LEDGER_OF_REQUESTS, organization_id, operation, list(request_ids)
            ),
            findings=client.verify_integrity(organization_id=organization_id),
        )


def _sums(connection: AnyConnection, query: LiteralString, *arguments: object) -> Sums:
    with connection.cursor(row_factory=class_row(Sums)) as cursor:
        (sums,) = cursor.execute(query, arguments).fetchall()
        return sums


def _amount(connection: AnyConnection, query: LiteralString, organization_id: UUID) -> Decimal:
    with connection.cursor(row_factory=scalar_row) as cursor:
        amount: Decimal = cursor.execute(query, [organization_id]).fetchone() or Decimal(0)
        return amount
