"""The command `tallystick report`."""

from datetime import date
from pathlib import Path
from typing import Annotated

import typer

from tallystick.cli.console import show
from tallystick.cli.files import write
from tallystick.cli.report.bands import Band, read_bands
from tallystick.cli.report.names import printable
from tallystick.cli.report.spend import (
    By,
    Report,
    read_calendar,
    read_line_names,
    read_report,
    snapshot,
)
from tallystick.cli.report.table import listing
from tallystick.cli.target import (
    DatabaseUrl,
    OrganizationName,
    chosen_organization,
    connected,
)

_KINDS = ("svg", "png", "pdf")


def _day(text: str) -> date:
    try:
        return date.fromisoformat(text)
    except ValueError as error:
        raise typer.BadParameter(f"{text!r} is not a day such as 2026-01-31") from error


def _plot_file(text: str) -> Path:
    if _kind(Path(text)) not in _KINDS:
        raise typer.BadParameter(f"{text!r} does not end in .svg, .png or .pdf")
    return Path(text)


def report(
    first: Annotated[
        date | None,
        typer.Option(
            "--from",
            parser=_day,
            metavar="DATE",
            help="The first day; without it, the first of the last day's month.",
            show_default=False,
        ),
    ] = None,
    last: Annotated[
        date | None,
        typer.Option(
            "--to",
            parser=_day,
            metavar="DATE",
            help="The last day, which counts too; without it, today.",
            show_default=False,
        ),
    ] = None,
    by: Annotated[By, typer.Option(help="What to tell spend apart by.")] = By.model,
    limit: Annotated[
        int,
        typer.Option(min=1, help="List at most so many, and the rest as one line; but all days."),
    ] = 50,
    plot: Annotated[
        Path,
        typer.Option(
            parser=_plot_file,
            metavar="FILE",
            help="Where to write the plot, anew each time: .svg, .png or .pdf.",
        ),
    ] = Path("report.svg"),
    no_plot: Annotated[bool, typer.Option("--no-plot", help="Write no plot.")] = False,
    organization: OrganizationName = None,
    database_url: DatabaseUrl = None,
) -> None:
    """Show what was spent in a period, and draw it: a bar per day.

    Days are those of the organization's time zone. Without dates it is the present month so far.
    """
    with connected(database_url) as connection:
        payer = chosen_organization(connection, organization)
        with snapshot(connection):
            calendar = read_calendar(connection, payer.id)
            first, last = _period(first, last, calendar.today)
            spent = read_report(connection, payer.id, calendar, by, first, last)
            listed = spent.lines if by == By.day else spent.lines[:limit]
            names = read_line_names(connection, spent, listed)
            bands = [] if no_plot else read_bands(connection, spent)
    if not spent.total.requests:
        show(
            f"{printable(payer.name)} spent nothing from {first} to {last} ({calendar.time_zone})."
        )
        return
    show(listing(spent, listed, names))
    if not no_plot:
        _write(plot, spent, bands)


def _period(first: date | None, last: date | None, today: date) -> tuple[date, date]:
    """Fill in what was left out."""
    end = last or today
    start = first or end.replace(day=1)
    if start > end:
        until = f"--to {end}" if last else f"today, {end}"
        raise typer.BadParameter(f"--from {start} is after {until}")
    return start, end


def _write(plot: Path, spent: Report, bands: list[Band]) -> None:
    # Only here, as it takes longer to import than everything else.
    from tallystick.cli.report.plot import draw

    write(plot, draw(spent, bands, _kind(plot)), "the plot")
    typer.echo(f"Plot: {plot}")


def _kind(file: Path) -> str:
    return file.suffix.lower().removeprefix(".")
