"""The books as files of other tools: beancount, and a plain table."""

from __future__ import annotations

import csv
import io
import re
import unicodedata
from collections import defaultdict
from dataclasses import asdict, fields
from datetime import date, timedelta
from decimal import Decimal
from itertools import groupby
from typing import TYPE_CHECKING

from tallystick.cli.book_source import EntryLine
from tallystick.cli.report.names import printable

if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence

    from tallystick.models import Account, Entity

_ROOTS = {
    "asset": "Assets",
    "liability": "Liabilities",
    "equity": "Equity",
    "income": "Income",
    "expense": "Expenses",
}


def csv_text(lines: Sequence[EntryLine]) -> str:
    """Write one row per posting."""
    text = io.StringIO()
    table = csv.DictWriter(text, [each.name for each in fields(EntryLine)], lineterminator="\n")
    table.writeheader()
    for line in lines:
        values = asdict(line).items()
        table.writerow(
            {name: _readable(each) if isinstance(each, str) else each for name, each in values}
        )
    return text.getvalue()


def beancount_text(
    title: str, entities: Sequence[Entity], accounts: Sequence[Account], lines: Sequence[EntryLine]
) -> str:
    """Write a ledger that beancount reads, with every balance of its end asserted to the digit."""
    names = account_names(entities, accounts)
    parts = [
        f"option {_quoted('title')} {_quoted(title)}\n"
        f"option {_quoted('operating_currency')} {_quoted('USD')}\n",
        *_openings(names, accounts, lines),
        *(
            _transaction(list(legs), names)
            for _, legs in groupby(lines, lambda line: line.transaction_id)
        ),
        *_assertions(names, lines),
    ]
    return "\n".join(parts)


def account_names(entities: Sequence[Entity], accounts: Sequence[Account]) -> dict[str, str]:
    """Return what beancount calls each account, by its id: type, entity, code and name."""
    codes = {each.entity_id: each.code for each in entities}
    taken: dict[str, str] = {}
    for account in sorted(accounts, key=lambda each: each.code):
        part = "-".join(filter(None, (_plain(account.code), _plain(account.name))))
        entity = _component(_plain(codes[account.entity_id]))
        name = plain = f"{_ROOTS[account.account_type]}:{entity}:{_component(part)}"
        number = 2
        while name in taken:
            name, number = f"{plain}-{number}", number + 1
        taken[name] = account.account_id
    return {account_id: name for name, account_id in taken.items()}


def _openings(
    names: dict[str, str], accounts: Sequence[Account], lines: Sequence[EntryLine]
) -> Iterator[str]:
    """Open each account that is used, on the day it is first used."""
    first: dict[str, date] = {}
    for line in lines:
        first.setdefault(line.account_id, line.transaction_date)
    for account in accounts:
        if account.account_id in first:
            yield (
                f"{first[account.account_id]} open {names[account.account_id]} USD\n"
                f"  account_id: {_quoted(account.account_id)}\n"
                f"  name: {_quoted(account.name)}\n"
            )


def _transaction(legs: Sequence[EntryLine], names: dict[str, str]) -> str:
    head = legs[0]
    facts = {
        "transaction_id": head.transaction_id,
        "entity_id": head.entity_id,
        "source_system": head.source_system,
        "external_id": head.external_id,
        "reverses_transaction_id": head.reverses_transaction_id,
    }
    text = f"{head.transaction_date} * {_quoted(head.description)}\n"
    if head.is_adjusting_entry:
        text = text.rstrip() + " #adjusting\n"
    for key, fact in facts.items():
        if fact is not None:
            text += f"  {key}: {_quoted(fact)}\n"
    for leg in legs:
        text += f"  {names[leg.account_id]}  {leg.amount:f} {leg.currency}\n"
        if leg.memo is not None:
            text += f"    memo: {_quoted(leg.memo)}\n"
    return text


def _assertions(names: dict[str, str], lines: Sequence[EntryLine]) -> Iterator[str]:
    """Assert what each account has the morning after the last day."""
    if not lines or lines[-1].transaction_date == date.max:
        return
    day = lines[-1].transaction_date + timedelta(days=1)
    balances: dict[str, Decimal] = defaultdict(Decimal)
    for line in lines:
        balances[line.account_id] += line.amount
    yield "".join(
        f"{day} balance {names[account_id]}  {balance:f} ~ 0.0000 USD\n"
        for account_id, balance in balances.items()
    )


def _readable(text: str) -> str:
    """Return a text without what could steer a terminal; lines stay lines, tabs tabs."""
    lines = text.replace("\r\n", "\n").split("\n")
    return "\n".join("\t".join(map(printable, line.split("\t"))) for line in lines)


def _quoted(text: str) -> str:
    """Write a string as beancount reads it back."""
    escaped = _readable(text).replace("\\", "\\\\").replace('"', '\\"')
    return '"' + escaped.replace("\n", "\\n").replace("\t", "\\t") + '"'


def _plain(text: str) -> str:
    """Return the letters and digits of a text, as beancount takes them in names of accounts."""
    letters = unicodedata.normalize("NFKD", text).encode("ascii", "ignore").decode()
    return re.sub(r"[^A-Za-z0-9]+", "-", letters).strip("-")


def _component(text: str) -> str:
    """Return a part of a name: it begins with a capital letter or a digit."""
    return text[:1].upper() + text[1:] if text else "X"
