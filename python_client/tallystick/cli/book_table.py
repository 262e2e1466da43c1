"""The books as tables: trial balance, ledger of an account, statements."""

from __future__ import annotations

from typing import TYPE_CHECKING

from rich import box
from rich.console import Group
from rich.table import Table
from rich.text import Text

from tallystick.cli.report.names import printable
from tallystick.figures import usd
from tallystick.money import total

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

    from rich.console import RenderableType

    from tallystick.cli.book_source import Span
    from tallystick.models import (
        Account,
        AccountLedgerLine,
        AccountMapLine,
        Entity,
        StatementLine,
        TrialBalanceLine,
    )
    from tallystick.organizations import Payer

    Parents = Mapping[str | None, str | None]


def trial_balance(
    payer: Payer, entity: Entity | None, span: Span, lines: Sequence[TrialBalanceLine]
) -> RenderableType:
    """Return every account, and the sums that prove the balance."""
    table = _table("account", "opening", "debits", "credits", "closing")
    parents: Parents = {each.account_id: each.parent_account_id for each in lines}
    for each in lines:
        table.add_row(
            _account(each.code, each.name, _depth(each.account_id, parents)),
            usd(each.opening_balance),
            usd(each.debits),
            usd(each.credits),
            usd(each.closing_balance),
        )
    table.add_section()
    table.add_row(
        "total",
        usd(total([each.opening_balance for each in lines])),
        usd(total([each.debits for each in lines])),
        usd(total([each.credits for each in lines])),
        usd(total([each.closing_balance for each in lines])),
        style="bold",
    )
    return Group(*_heading(payer, entity, f"Trial balance {span}"), table)


def ledger(
    payer: Payer, account: Account, span: Span, lines: Sequence[AccountLedgerLine]
) -> RenderableType:
    """Return every posting of an account."""
    heading = _heading(payer, None, f"Account {account.code} {account.name} {span}")
    if not lines:
        return Group(*heading, Text("No postings."))
    table = Table(box=box.SIMPLE_HEAD, padding=(0, 1, 0, 0))
    table.add_column("day", no_wrap=True)
    table.add_column("what", overflow="fold")
    table.add_column("amount", justify="right", overflow="fold")
    table.add_column("balance", justify="right", overflow="fold")
    for each in lines:
        table.add_row(
            f"{each.transaction_date}",
            _what(each),
            usd(each.amount),
            usd(each.running_balance),
        )
    return Group(*heading, table)


def statement(
    payer: Payer, entity: Entity | None, title: str, lines: Sequence[StatementLine]
) -> RenderableType:
    """Return an income statement or balance sheet."""
    table = _table("", "US dollars")
    parents: Parents = {each.account_id: each.parent_account_id for each in lines}
    for each in lines:
        if each.account_id is None:
            table.add_row(Text(each.name, style="bold"), Text(usd(each.amount), style="bold"))
            if each.name.startswith("Total"):
                table.add_section()
        else:
            table.add_row(
                _account(each.code or "", each.name, _depth(each.account_id, parents)),
                usd(each.amount),
            )
    return Group(*_heading(payer, entity, title), table)


def account_map(payer: Payer, lines: Sequence[AccountMapLine]) -> RenderableType:
    """Return every line of what billing posts, with its account."""
    table = Table(box=box.SIMPLE_HEAD, padding=(0, 1, 0, 0))
    for column in ("line", "account", "for"):
        table.add_column(column, overflow="fold")
    for each in lines:
        account = (
            Text(f"opened with the first posting ({each.account_type})", style="dim")
            if each.account_id is None
            else _account(each.code or "", each.name or "", 0)
        )
        table.add_row(each.line, account, each.posted_for)
    return Group(*_heading(payer, None, "What billing posts"), table)


def _heading(payer: Payer, entity: Entity | None, title: str) -> list[Text]:
    whose = f"{payer.name} ({payer.id})"
    if entity is not None:
        whose += f", {entity.code} {entity.name}"
    return [Text(printable(whose), style="bold"), Text(printable(title))]


def _table(first: str, *amounts: str) -> Table:
    table = Table(box=box.SIMPLE_HEAD, padding=(0, 1, 0, 0))
    table.add_column(first, overflow="fold")
    for each in amounts:
        table.add_column(each, justify="right", overflow="fold")
    return table


def _account(code: str, name: str, depth: int) -> Text:
    return Text("  " * depth + printable(f"{code} {name}"))


def _depth(account_id: str | None, parents: Parents) -> int:
    """Say below how many accounts of the table an account stands."""
    depth = 0
    while (account_id := parents.get(account_id)) is not None:
        depth += 1
    return depth


def _what(line: AccountLedgerLine) -> Text:
    text = Text(printable(line.description))
    if line.memo is not None:
        text.append(f"\n{printable(line.memo)}")
    if line.is_adjusting_entry:
        text.append("\nadjusting entry", style="yellow")
    if line.reverses_transaction_id is not None:
        text.append(f"\nreverses {printable(line.reverses_transaction_id)}", style="yellow")
    text.append(f"\n{printable(line.source_system)} {printable(line.external_id)}", style="dim")
    return text
