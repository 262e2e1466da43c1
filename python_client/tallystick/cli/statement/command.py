"""The command `tallystick statement`."""

from datetime import date
from pathlib import Path
from typing import Annotated

import typer

from tallystick.cli.console import show
from tallystick.cli.files import write
from tallystick.cli.report.bands import Band, read_bands
from tallystick.cli.report.spend import Calendar, read_calendar, snapshot
from tallystick.cli.statement.sums import assert_adds_up, usage
from tallystick.cli.statement.table import listing
from tallystick.cli.target import (
    DatabaseUrl,
    OrganizationName,
    chosen_organization,
    connected,
)
from tallystick.client import Client
from tallystick.models import Statement


def _month(text: str) -> date:
    try:
        return date.fromisoformat(f"{text}-01")
    except ValueError as error:
        raise typer.BadParameter(f"{text!r} is not a month such as 2026-01") from error


def statement(
    month: Annotated[
        date | None,
        typer.Option(
            parser=_month,
            metavar="YYYY-MM",
            help="Which month; without it, the present one so far.",
            show_default=False,
        ),
    ] = None,
    html: Annotated[
        Path | None,
        typer.Option(
            metavar="FILE",
            help="Where to write it as a page too, anew each time.",
            show_default=False,
        ),
    ] = None,
    limit: Annotated[
        int,
        typer.Option(
            min=1, help="List at most so many, and the rest as one line; the page has all."
        ),
    ] = 50,
    organization: OrganizationName = None,
    database_url: DatabaseUrl = None,
) -> None:
    """Show a month of an organization: opening balance, movements, usage, closing balance.

    The month is that of the organization's time zone. What does not add up is not shown.
    """
    with connected(database_url) as connection:
        payer = chosen_organization(connection, organization)
        with snapshot(connection):
            calendar = read_calendar(connection, payer.id)
            found = Client(connection).get_statement(payer.id, month or calendar.today)
            assert_adds_up(found)
            bands = read_bands(connection, usage(found, calendar)) if html else []
    show(listing(found, calendar, limit=limit))
    if html:
        _write(html, found, calendar, bands)


def _write(file: Path, found: Statement, calendar: Calendar, bands: list[Band]) -> None:
    # Only here, as it takes longer to import than everything else.
    from tallystick.cli.statement.page import page

    write(file, page(found, calendar, bands).encode(), "the page")
    typer.echo(f"Page: {file}")
