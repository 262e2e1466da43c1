"""The commands `tallystick books ...`: what the books say, closing of months, export."""

from collections.abc import Callable
from datetime import date
from enum import StrEnum
from pathlib import Path
from typing import Annotated
from uuid import uuid4

import typer

from tallystick.cli import book_export, book_table
from tallystick.cli.book_source import (
    chosen_account,
    chosen_entity,
    entry_lines,
    id_of,
    month_span,
)
from tallystick.cli.console import show
from tallystick.cli.files import write
from tallystick.cli.report.spend import snapshot
from tallystick.cli.target import (
    DatabaseUrl,
    OrganizationName,
    chosen_organization,
    connected,
)
from tallystick.client import Client
from tallystick.errors import PeriodClosed
from tallystick.models import PeriodAnswer


class Format(StrEnum):
    """In which form the books leave the database."""

    beancount = "beancount"
    csv = "csv"


def _day(text: str) -> date:
    try:
        return date.fromisoformat(text)
    except ValueError as error:
        raise typer.BadParameter(f"{text!r} is not a day such as 2026-01-31") from error


def _month(text: str) -> str:
    try:
        date.fromisoformat(f"{text}-01")
    except ValueError as error:
        raise typer.BadParameter(f"{text!r} is not a month such as 2026-01") from error
    return text


First = Annotated[
    date | None,
    typer.Option(
        "--from", parser=_day, metavar="DAY", help="The first day of the span.", show_default=False
    ),
]
Last = Annotated[
    date | None,
    typer.Option(
        "--to", parser=_day, metavar="DAY", help="The last day of the span.", show_default=False
    ),
]
SpanMonth = Annotated[
    str | None,
    typer.Option(
        "--month",
        parser=_month,
        metavar="YYYY-MM",
        help="A month as the span.",
        show_default=False,
    ),
]
EntityName = Annotated[
    str | None,
    typer.Option("--entity", help="Code or id; all of them without it.", show_default=False),
]
OneEntity = Annotated[
    str, typer.Option("--entity", help="Code or id of the entity whose month it is.")
]
PeriodKey = Annotated[
    str, typer.Argument(parser=_month, metavar="YYYY-MM", help="The month.", show_default=False)
]
Actor = Annotated[
    str | None,
    typer.Option("--by", help="Who does it, for the event log.", show_default=False),
]

books = typer.Typer(name="books", help="Show, close and export the books.", no_args_is_help=True)


@books.command("trial-balance")
def trial_balance(
    month: SpanMonth = None,
    first: First = None,
    last: Last = None,
    entity: EntityName = None,
    organization: OrganizationName = None,
    database_url: DatabaseUrl = None,
) -> None:
    """Show every account with its opening balance, debits, credits and closing balance."""
    span = month_span(month, first, last)
    with connected(database_url) as connection, snapshot(connection):
        payer = chosen_organization(connection, organization)
        chosen = chosen_entity(connection, payer.id, entity)
        lines = Client(connection).trial_balance(
            payer.id,
            first_day=span.first,
            last_day=span.last,
            entity_id=id_of(chosen),
        )
    show(book_table.trial_balance(payer, chosen, span, lines))


@books.command("ledger")
def ledger(
    account: Annotated[str, typer.Argument(help="Code or id of the account.", show_default=False)],
    month: SpanMonth = None,
    first: First = None,
    last: Last = None,
    organization: OrganizationName = None,
    database_url: DatabaseUrl = None,
) -> None:
    """Show every posting of an account, with the balance after it."""
    span = month_span(month, first, last)
    with connected(database_url) as connection, snapshot(connection):
        payer = chosen_organization(connection, organization)
        chosen = chosen_account(connection, payer.id, account)
        lines = Client(connection).account_ledger(
            payer.id, chosen.account_id, first_day=span.first, last_day=span.last
        )
    show(book_table.ledger(payer, chosen, span, lines))


@books.command("income")
def income(
    month: SpanMonth = None,
    first: First = None,
    last: Last = None,
    entity: EntityName = None,
    organization: OrganizationName = None,
    database_url: DatabaseUrl = None,
) -> None:
    """Show income, expenses and the net income."""
    span = month_span(month, first, last)
    with connected(database_url) as connection, snapshot(connection):
        payer = chosen_organization(connection, organization)
        chosen = chosen_entity(connection, payer.id, entity)
        lines = Client(connection).income_statement(
            payer.id,
            first_day=span.first,
            last_day=span.last,
            entity_id=id_of(chosen),
        )
    show(book_table.statement(payer, chosen, f"Income statement {span}", lines))


@books.command("balance")
def balance(
    day: Annotated[
        date | None,
        typer.Option(
            "--date",
            parser=_day,
            metavar="DAY",
            help="At the end of which day; without it, of all that is booked.",
            show_default=False,
        ),
    ] = None,
    entity: EntityName = None,
    organization: OrganizationName = None,
    database_url: DatabaseUrl = None,
) -> None:
    """Show assets, liabilities and equity."""
    with connected(database_url) as connection, snapshot(connection):
        payer = chosen_organization(connection, organization)
        chosen = chosen_entity(connection, payer.id, entity)
        lines = Client(connection).balance_sheet(payer.id, day=day, entity_id=id_of(chosen))
    when = f"at the end of {day}" if day else "of all that is booked"
    show(book_table.statement(payer, chosen, f"Balance sheet {when}", lines))


@books.command("map")
def account_map(
    line: Annotated[
        str | None, typer.Argument(help="A line of what billing posts.", show_default=False)
    ] = None,
    account: Annotated[
        str | None, typer.Argument(help="Code or id of its account.", show_default=False)
    ] = None,
    by: Actor = None,
    organization: OrganizationName = None,
    database_url: DatabaseUrl = None,
) -> None:
    """Show where billing is booked; with a line and an account, book it there from now on."""
    if (line is None) != (account is None):
        raise typer.BadParameter("a line goes with an account")
    with connected(database_url) as connection:
        payer = chosen_organization(connection, organization)
        client = Client(connection)
        if line is not None and account is not None:
            chosen = chosen_account(connection, payer.id, account)
            client.set_account_map(payer.id, line, chosen.account_id, actor=by)
        lines = client.get_account_map(payer.id)
    show(book_table.account_map(payer, lines))


@books.command("close")
def close(
    month: PeriodKey,
    entity: OneEntity = "DEFAULT",
    by: Actor = None,
    organization: OrganizationName = None,
    database_url: DatabaseUrl = None,
) -> None:
    """Close a month: it takes adjusting entries only."""
    _move(Client.close_period, month, entity, by, organization, database_url)


@books.command("lock")
def lock(
    month: PeriodKey,
    entity: OneEntity = "DEFAULT",
    by: Actor = None,
    yes: Annotated[bool, typer.Option("--yes", help="Do not ask.")] = False,
    organization: OrganizationName = None,
    database_url: DatabaseUrl = None,
) -> None:
    """Lock a month for good: it takes nothing but what was approved."""
    if not yes:
        typer.confirm(f"{month} cannot be opened again. Lock it?", abort=True)
    _move(Client.lock_period, month, entity, by, organization, database_url)


@books.command("reopen")
def reopen(
    month: PeriodKey,
    entity: OneEntity = "DEFAULT",
    by: Actor = None,
    organization: OrganizationName = None,
    database_url: DatabaseUrl = None,
) -> None:
    """Open a closed month again; a locked one stays locked."""
    _move(Client.reopen_period, month, entity, by, organization, database_url)


def _move(
    change: Callable[..., PeriodAnswer],
    month: str,
    entity: str,
    by: str | None,
    organization: str | None,
    database_url: str | None,
) -> None:
    with connected(database_url) as connection:
        payer = chosen_organization(connection, organization)
        chosen = chosen_entity(connection, payer.id, entity)
        answer = change(
            Client(connection),
            payer.id,
            month,
            f"cli {uuid4()}",
            entity_id=id_of(chosen),
            actor=by,
        )
        if answer.status == "refused":
            raise PeriodClosed(
                "the month is locked and stays so", "TS412", {"period_key": answer.period_key}
            )
    typer.echo(f"{answer.period_key} is {answer.period_status}.")


@books.command("export")
def export(
    form: Annotated[
        Format, typer.Option("--format", help="A beancount file, or one row per posting.")
    ] = Format.beancount,
    output: Annotated[
        Path | None,
        typer.Option(
            metavar="FILE",
            help="Where to write it, anew each time; without it, to the terminal.",
            show_default=False,
        ),
    ] = None,
    entity: EntityName = None,
    organization: OrganizationName = None,
    database_url: DatabaseUrl = None,
) -> None:
    """Write all that is booked into a file for other tools.

    A beancount file asserts the balances of its end, so that beancount's own checker compares them.
    """
    with connected(database_url) as connection, snapshot(connection):
        payer = chosen_organization(connection, organization)
        chosen = chosen_entity(connection, payer.id, entity)
        client = Client(connection)
        lines = entry_lines(connection, payer.id, id_of(chosen))
        text = (
            book_export.csv_text(lines)
            if form is Format.csv
            else book_export.beancount_text(
                payer.name, client.entities(payer.id), client.accounts(payer.id), lines
            )
        )
    if output is None:
        typer.echo(text, nl=False)
    else:
        write(output, text.encode(), "the export")
        typer.echo(f"Export: {output}")
