"""The commands `tallystick prices ...`: what models cost, and for whom."""

from __future__ import annotations

import difflib
from contextlib import contextmanager
from datetime import datetime, timedelta
from enum import StrEnum
from typing import TYPE_CHECKING, Annotated

import typer
from psycopg import Rollback
from psycopg.rows import scalar_row
from rich.text import Text

from tallystick.cli.amounts import dollars, number_or_none
from tallystick.cli.console import show
from tallystick.cli.price_table import changes, listing, since
from tallystick.cli.target import (
    DatabaseUrl,
    NotFound,
    OrganizationName,
    chosen_organization,
    connected,
)
from tallystick.cli.times import utc
from tallystick.client import Client
from tallystick.errors import UnknownId
from tallystick.pricing.genai import price_list

if TYPE_CHECKING:
    from collections.abc import Iterator
    from decimal import Decimal
    from uuid import UUID

    from tallystick.models import CurrentPrice
    from tallystick.organizations import AnyConnection

_SHOWN_CHANGES = 20
_SHOWN_MATCHES = 5
_SIMILARITY = 0.5


class Match(StrEnum):
    """How a name is compared with what a call names its model."""

    exact = "exact"
    prefix = "prefix"
    suffix = "suffix"
    contains = "contains"
    regex = "regex"


MaxAge = Annotated[
    int,
    typer.Option(
        "--max-age",
        min=0,
        metavar="DAYS",
        help="After so many days without another sync the prices grant nothing; 0: they always do.",
    ),
]
Everything = Annotated[bool, typer.Option("--all", help="Show every change.")]
Start = Annotated[
    datetime | None,
    typer.Option("--from", help="From when on, in UTC; else from now on.", show_default=False),
]
Tier = Annotated[
    str | None,
    typer.Option("--tier", help="The service tier; else standard.", show_default=False),
]
Contract = Annotated[
    str | None,
    typer.Option(
        "--organization",
        "--org",
        help="Name or id: what this one pays by contract, instead of the list price.",
        show_default=False,
    ),
]

prices = typer.Typer(name="prices", help="Show and set what models cost.", no_args_is_help=True)


@prices.command("sync")
def sync(
    max_age: MaxAge = 90, everything: Everything = False, database_url: DatabaseUrl = None
) -> None:
    """Load the price list of the package genai-prices, and say what that changed.

    Everything or nothing is loaded. What was known of the past is not changed, nor what was set by
    hand. For newer prices install a newer genai-prices.
    """
    _load(database_url, max_age, everything=everything, keep=True)


@prices.command("diff")
def diff(everything: Everything = False, database_url: DatabaseUrl = None) -> None:
    """Say what `prices sync` would change, and change nothing."""
    _load(database_url, 0, everything=everything, keep=False)


@prices.command("show")
def show_prices(
    model: Annotated[
        str | None,
        typer.Argument(help="A model by any of its names.", show_default=False),
    ] = None,
    provider: Annotated[
        str | None, typer.Option(help="Who serves it, by any name.", show_default=False)
    ] = None,
    organization: Contract = None,
    database_url: DatabaseUrl = None,
) -> None:
    """Show what a model costs now, by service tier and context; without one, the price lists."""
    with connected(database_url) as connection:
        if model is None:
            show(_lists(connection))
            return
        payer = chosen_organization(connection, organization).id if organization else None
        found = _prices_of(connection, model, provider, payer)
    show(listing(found))


@prices.command("set")
def set_price(
    provider: Annotated[str, typer.Argument(help="Who serves the model.", show_default=False)],
    model: Annotated[str, typer.Argument(help="The model.", show_default=False)],
    rate: Annotated[
        list[str] | None,
        typer.Option(
            "--rate",
            metavar="CLASS=USD",
            help="US dollars per million of a token class, for example --rate input_tokens=2.5 "
            "--rate output_tokens=10; these two are needed.",
            show_default=False,
        ),
    ] = None,
    end: Annotated[bool, typer.Option("--end", help="It is offered no more.")] = False,
    start: Start = None,
    tier: Tier = None,
    organization: Contract = None,
    database_url: DatabaseUrl = None,
) -> None:
    """Set what a model costs from a time on. Nothing that was recorded is charged anew."""
    if end == bool(rate):
        raise typer.BadParameter("either --rate or --end is needed")
    rates = None if end else dict(_rate(each) for each in rate or ())
    with connected(database_url) as connection:
        payer = chosen_organization(connection, organization).id if organization else None
        price = Client(connection).set_price(
            provider,
            model,
            rates,
            effective_from=utc(start),
            service_tier=tier,
            organization_id=payer,
        )
    if price.rates is None:
        what = f"{price.provider} {price.model} ({price.service_tier})"
        show(f"{what} ends {since(price.effective_from)}.")
    else:
        show(listing([price]))


@prices.command("markup")
def set_markup(
    percent: Annotated[
        str,
        typer.Argument(
            metavar="PERCENT",
            help='On top of list prices; below 0 a discount (after "--"); or "none".',
            show_default=False,
        ),
    ],
    provider: Annotated[
        str | None, typer.Option(help="Only for models of this one.", show_default=False)
    ] = None,
    model: Annotated[
        str | None, typer.Option(help="Only for this one of them.", show_default=False)
    ] = None,
    start: Start = None,
    organization: OrganizationName = None,
    database_url: DatabaseUrl = None,
) -> None:
    """Raise or lower what an organization pays, against list prices."""
    amount = number_or_none(percent)
    with connected(database_url) as connection:
        payer = chosen_organization(connection, organization)
        markup = Client(connection).set_markup(
            payer.id, amount, provider=provider, model=model, effective_from=utc(start)
        )
    what = " ".join(filter(None, (markup.provider, markup.model))) or "all models"
    by = "no markup" if markup.percent is None else f"{markup.percent.normalize():+f} %"
    show(f"{payer.name}: {by} on {what} since {since(markup.effective_from)}.")


@prices.command("name")
def set_model_name(
    provider: Annotated[
        str, typer.Argument(help="Who is called by that name.", show_default=False)
    ],
    name: Annotated[str, typer.Argument(help="The name.", show_default=False)],
    model: Annotated[str, typer.Argument(help="The model it means.", show_default=False)],
    match: Annotated[Match, typer.Option(help="How it is compared.")] = Match.exact,
    of: Annotated[
        str | None,
        typer.Option(help="Whose model it is, if another provider's.", show_default=False),
    ] = None,
    database_url: DatabaseUrl = None,
) -> None:
    """Give a model another name: a deployment's, for one."""
    with connected(database_url) as connection:
        named = Client(connection).set_model_name(
            provider, name, model, match=match, model_provider=of
        )
    show(f"{named.provider} {named.name} means {named.model_provider} {named.model}.")


def _load(database_url: str | None, max_age: int, *, everything: bool, keep: bool) -> None:
    new = price_list()
    with connected(database_url) as connection, _undone(connection, unless=keep):
        found = Client(connection).load_prices(
            new.source, new.version, new.content, timedelta(days=max_age) if max_age else None
        )
    verb = "loaded" if keep else "compared, nothing changed"
    show(f"{new.source} {new.version} {verb}.")
    show(changes(found, new.skipped, most=None if everything else _SHOWN_CHANGES))


@contextmanager
def _undone(connection: AnyConnection, *, unless: bool) -> Iterator[None]:
    with connection.transaction() as transaction:
        yield
        if not unless:
            raise Rollback(transaction)


def _prices_of(
    connection: AnyConnection, model: str, provider: str | None, payer: UUID | None
) -> list[CurrentPrice]:
    client = Client(connection)
    try:
        meant = client.price_usage(model, {}, provider=provider, organization_id=payer)
    except UnknownId as error:
        found = client.prices(provider=provider, model=model) if provider else []
        if found:
            return found  # stale, or without a standard tier
        raise NotFound(f"{_reason(error)} of {model!r}{_hint(connection, model)}") from error
    known = client.prices(provider=meant.provider, model=meant.model)
    return [each for each in known if each.organization_id in (None, payer)]


def _reason(error: UnknownId) -> str:
    stale = error.details.get("reason") == "stale_price"
    return "nobody has checked the price for too long" if stale else "no price is known"


def _hint(connection: AnyConnection, model: str) -> str:
    wanted = model.rsplit("/", 1)[-1].lower()
    with connection.cursor(row_factory=scalar_row) as cursor:
        names = cursor.execute("select distinct id::text from pricing.models").fetchall()
    if not names:
        return "; load a price list with `tallystick prices sync`"
    near = difflib.get_close_matches(wanted, names, _SHOWN_MATCHES, _SIMILARITY)
    return f"; did you mean {', '.join(near)}?" if near else ""


def _lists(connection: AnyConnection) -> Text:
    rows = connection.execute(
        "select source::text, version::text, checked_at,"
        " (max_age is not null and checked_at + max_age < now()) as is_stale,"
        " (select count(*) from pricing.current_prices as p where p.source = l.source)"
        " from pricing.price_lists as l order by source"
    ).fetchall()
    lines = []
    for source, version, checked_at, is_stale, number in rows:
        told = f"{source}{f' {version}' if version else ''}: {number:,} prices"
        told += "" if source == "manual" else f", checked {checked_at:%Y-%m-%d}"
        lines.append(Text(told, style="red" if is_stale else ""))
    return Text("\n").join(lines)


def _rate(text: str) -> tuple[str, Decimal]:
    name, _, amount = text.partition("=")
    return name.strip(), dollars(amount.strip())
