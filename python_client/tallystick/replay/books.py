"""Reading the books beside the client: what is recorded already, and the proof that they agree."""

from __future__ import annotations

from dataclasses import dataclass
from decimal import Decimal
from typing import TYPE_CHECKING, LiteralString

from psycopg.rows import class_row, scalar_row

from tallystick.client import Client

if TYPE_CHECKING:
    from collections.abc import Sequence
    from uuid import UUID

    from tallystick.models import Finding
    from tallystick.organizations import AnyConnection


@dataclass(frozen=True, slots=True)
class Caps:
    """The caps in force, US dollars.

    Attributes:
        month: the organization's stored monthly cap, or None: the documented default applies.
        workflow: the different caps of the workflows concerned, None standing for the default.
    """

    month: Decimal | None
    workflow: frozenset[Decimal | None]


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
        replayed: the ledger rows this replay's recorded requests point to, added up.
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
where k.organization_id = %s and k.operation = 'record' and k.request_id = any(%s)
"""

_RECORDED: LiteralString = """
select k.request_id, l.prompt_tokens, l.completion_tokens
from metering.request_keys as k
left join public.ai_usage_ledger as l
  on l.organization_id = k.organization_id and l.id = k.subject_id
where k.organization_id = %s and k.operation = 'record' and k.request_id = any(%s)
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


def read_caps(
    connection: AnyConnection, organization_id: UUID, workflow_ids: Sequence[UUID]
) -> Caps:
    """Return the stored caps of the organization's month and of the workflows."""
    with connection.cursor(row_factory=scalar_row) as cursor:
        cursor.execute(
            "select limit_usd from metering.budgets where organization_id = %s"
            " and scope = 'organization' and time_window = 'month'",
            [organization_id],
        )
        month = cursor.fetchone()
        cursor.execute(
            "select distinct limit_usd from metering.budgets where organization_id = %s"
            " and scope = 'workflow' and time_window = 'total' and scope_id = any(%s)",
            [organization_id, [str(workflow_id) for workflow_id in workflow_ids]],
        )
        return Caps(month, frozenset(cursor.fetchall()))


def read_books(
    connection: AnyConnection, organization_id: UUID, request_ids: Sequence[str]
) -> Books:
    """Read every figure of the proof in one snapshot, so spend in flight cannot disturb it.

    Args:
        connection: one that is not in a transaction.
        organization_id: whose books.
        request_ids: the requests this replay recorded.
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
            replayed=_sums(connection, _LEDGER_OF_REQUESTS, organization_id, list(request_ids)),
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
