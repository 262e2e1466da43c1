"""What the commands of the books read beside the reports: whose, which account, every posting."""

from __future__ import annotations

from calendar import monthrange
from dataclasses import dataclass
from datetime import date
from typing import TYPE_CHECKING

import typer
from psycopg.rows import class_row

from tallystick.cli.target import NotFound
from tallystick.client import Client

if TYPE_CHECKING:
    from decimal import Decimal
    from uuid import UUID

    from tallystick.models import Account, Entity
    from tallystick.organizations import AnyConnection

_LINES = """
    select
      t.transaction_date, t.transaction_id, t.entity_id, t.source_system, t.external_id,
      t.description, t.is_adjusting_entry, t.reverses_transaction_id, p.account_id,
      a.code as account_code, a.name as account_name, a.account_type, p.amount, p.currency, p.memo
    from accounting.ledger_transactions as t
    join accounting.ledger_postings as p using (organization_id, entity_id, transaction_id)
    join accounting.accounts as a using (organization_id, entity_id, account_id)
    where t.organization_id = %(organization)s
      and (%(entity)s::text is null or t.entity_id = %(entity)s)
    order by t.transaction_date, t.transaction_id collate "C", p.position
"""


@dataclass(frozen=True, slots=True)
class Span:
    """From which day to which; both belong to it, and None leaves it open."""

    first: date | None
    last: date | None

    def __str__(self) -> str:
        """Say it in words."""
        if self.first is None and self.last is None:
            return "of all that is booked"
        since = "" if self.first is None else f"from {self.first} "
        return since + ("on" if self.last is None else f"to {self.last}")


@dataclass(frozen=True, slots=True)
class EntryLine:
    """A posting with what its transaction and its account are."""

    transaction_date: date
    transaction_id: str
    entity_id: str
    source_system: str
    external_id: str
    description: str
    is_adjusting_entry: bool
    reverses_transaction_id: str | None
    account_id: str
    account_code: str
    account_name: str
    account_type: str
    amount: Decimal
    currency: str
    memo: str | None


def month_span(month: str | None, first: date | None, last: date | None) -> Span:
    """Return the span that was typed: a month, or days."""
    if month is None:
        if first and last and first > last:
            raise typer.BadParameter(f"--from {first} is after --to {last}")
        return Span(first, last)
    if first is not None or last is not None:
        raise typer.BadParameter("either --month or --from and --to")
    start = date.fromisoformat(f"{month}-01")
    return Span(start, start.replace(day=monthrange(start.year, start.month)[1]))


def chosen_entity(
    connection: AnyConnection, organization_id: UUID, name: str | None
) -> Entity | None:
    """Return the entity with that code or id; None where none is named.

    Raises:
        NotFound: there is no such entity.
    """
    if name is None:
        return None
    entities = Client(connection).entities(organization_id)
    found = [each for each in entities if each.code == name] or [
        each for each in entities if each.entity_id == name
    ]
    if not found:
        raise NotFound(f"no entity answers to {name!r}")
    return found[0]


def id_of(entity: Entity | None) -> str | None:
    """Return the id of an entity; None, which is all of them, for none."""
    return None if entity is None else entity.entity_id


def chosen_account(connection: AnyConnection, organization_id: UUID, name: str) -> Account:
    """Return the account with that code or id.

    Raises:
        NotFound: there is no such account.
    """
    accounts = Client(connection).accounts(organization_id)
    found = [each for each in accounts if each.code == name] or [
        each for each in accounts if each.account_id == name
    ]
    if not found:
        raise NotFound(f"no account answers to {name!r}")
    return found[0]


def entry_lines(
    connection: AnyConnection, organization_id: UUID, entity_id: str | None
) -> list[EntryLine]:
    """Return every posting, by day and transaction."""
    with connection.cursor(row_factory=class_row(EntryLine)) as cursor:
        return cursor.execute(
            _LINES, {"organization": organization_id, "entity": entity_id}
        ).fetchall()
