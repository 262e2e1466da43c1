"""Reading the credits of an organization."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, LiteralString

from psycopg.rows import class_row, scalar_row

from tallystick.cli.times import present_time
from tallystick.client import Client
from tallystick.models import CreditBalance, CreditGrant, StatementMovement

if TYPE_CHECKING:
    from collections.abc import Sequence
    from datetime import datetime
    from decimal import Decimal
    from uuid import UUID

    from tallystick.organizations import AnyConnection


@dataclass(frozen=True, slots=True)
class Credits:
    """What an organization has in credits.

    Attributes:
        balance: the balance; None where it pays afterwards.
        grants: where they come from, in the order they are used up.
        owed_usd: what it owes beyond them, US dollars.
        now: when that was read.
    """

    balance: CreditBalance | None
    grants: Sequence[CreditGrant]
    owed_usd: Decimal
    now: datetime


_OWED: LiteralString = """
select coalesce(sum(outstanding_usd), 0) from billing.receivables
where org_id = %(organization)s and outstanding_usd > 0
  and (%(run)s::uuid is null or run_id = %(run)s)
"""

_MOVEMENTS: LiteralString = """
select
  l.id, l.created_at, l.transaction_type, l.direction, l.amount_usd, l.reason, l.run_id,
  l.draw_id, h.balance_after_usd
from billing.credit_balance_history as h
join billing.billing_ledger as l on l.org_id = h.org_id and l.id = h.billing_ledger_id
where h.org_id = %(organization)s
  and (%(run)s::uuid is null or l.run_id = %(run)s)
order by h.movement desc
limit %(limit)s
"""


def read_credits(connection: AnyConnection, organization_id: UUID) -> Credits:
    """Read what an organization has now."""
    client = Client(connection)
    balances = client.credit_balances(organization_id)
    return Credits(
        balance=balances[0] if balances else None,
        grants=client.credit_grants(organization_id),
        owed_usd=read_owed(connection, organization_id),
        now=present_time(connection),
    )


def read_owed(
    connection: AnyConnection, organization_id: UUID, *, run_id: UUID | None = None
) -> Decimal:
    """Read what an organization owes beyond its credits, or owes for a run; US dollars."""
    with connection.cursor(row_factory=scalar_row) as cursor:
        owed: Decimal
        (owed,) = cursor.execute(_OWED, {"organization": organization_id, "run": run_id}).fetchall()
        return owed


def read_movements(
    connection: AnyConnection, organization_id: UUID, limit: int
) -> list[StatementMovement]:
    """Read the last movements, the newest first."""
    return _read(connection, organization_id, None, limit)


def read_run_movements(
    connection: AnyConnection, organization_id: UUID, run_id: UUID
) -> list[StatementMovement]:
    """Read what moved for a run, in order."""
    return _read(connection, organization_id, run_id, None)[::-1]


def _read(
    connection: AnyConnection, organization_id: UUID, run_id: UUID | None, limit: int | None
) -> list[StatementMovement]:
    about = {"organization": organization_id, "run": run_id, "limit": limit}
    with connection.cursor(row_factory=class_row(StatementMovement)) as cursor:
        return cursor.execute(_MOVEMENTS, about).fetchall()
