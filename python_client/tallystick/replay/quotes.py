"""What each request costs, worked out before anything is sent.

The database charges by its own price of today. What it will charge is worked out a second way, so
that the proof compares two computations: by the package `genai-prices` where the price is from its
list, else by `pricing.price_usage`. A row that states its cost is charged that. So is a model that
only the package knows: what it cost when the row was made, as a stated cost.
"""

from __future__ import annotations

from dataclasses import dataclass
from datetime import timedelta
from importlib.metadata import version
from typing import TYPE_CHECKING, Literal

from psycopg.rows import scalar_row

from tallystick.client import Client
from tallystick.errors import PermissionDenied, UnknownId
from tallystick.pricing.genai import SOURCE, price_list
from tallystick.replay.pricing import UnknownModel, package_price
from tallystick.replay.rows import UsageFileError

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping, Sequence
    from decimal import Decimal
    from uuid import UUID

    from tallystick.models import PricedUsage
    from tallystick.organizations import AnyConnection
    from tallystick.replay.plan import Request
    from tallystick.replay.rows import UsageFile

    Computation = Callable[[Request], Decimal]

_MAX_AGE = timedelta(days=90)  # as `tallystick prices sync` has it

Basis = Literal["database", "package", "row"]


class StalePrice(Exception):  # noqa: N818 - named after what happened
    """The database has a price that nobody has checked for too long, so it grants nothing."""


@dataclass(frozen=True, slots=True)
class Quote:
    """A request, and what it costs.

    Attributes:
        request: the request.
        cost: US dollars, at most 12 decimals.
        basis: who charges it: the database by its price, or we state what package or row say.
    """

    request: Request
    cost: Decimal
    basis: Basis

    @property
    def is_stated(self) -> bool:
        """Whether the database is told the cost instead of pricing the tokens."""
        return self.basis != "database"


def load_missing_prices(connection: AnyConnection) -> str | None:
    """Load the price list of the package if the database never had one; return its version.

    One that is there stays, older or newer: which prices hold is not for a replay to decide. A
    role that may not load prices states what the package says.
    """
    with connection.cursor(row_factory=scalar_row) as cursor:
        if cursor.execute(
            "select true from pricing.price_lists where source = %s", [SOURCE]
        ).rowcount:
            return None
    new = price_list()
    try:
        Client(connection).load_prices(new.source, new.version, new.content, _MAX_AGE)
    except PermissionDenied:
        return None
    return new.version


def quote(
    connection: AnyConnection, organization_id: UUID, usage: UsageFile, requests: Sequence[Request]
) -> tuple[Quote, ...]:
    """Return what each request costs the organization.

    Raises:
        UsageFileError: neither database nor package know a model, or its price is stale.
    """
    prices = _Prices(connection, organization_id)
    quotes = []
    for request in requests:
        try:
            quotes.append(prices.quote(request))
        except (UnknownModel, StalePrice) as error:
            raise UsageFileError(usage.path, str(error), place=request.place) from error
    return tuple(quotes)


class _Prices:
    """The database's prices for one organization, each looked up once."""

    def __init__(self, connection: AnyConnection, organization_id: UUID) -> None:
        self._connection = connection
        self._client = Client(connection)
        self._organization_id = organization_id
        self._known: dict[tuple[str, str | None], tuple[Basis, Computation]] = {}

    def quote(self, request: Request) -> Quote:
        if request.stated_cost is not None:
            return Quote(request, request.stated_cost, "row")
        key = request.model, request.service_tier
        if key not in self._known:
            self._known[key] = self._look_up(request)
        basis, compute = self._known[key]
        return Quote(request, compute(request), basis)

    def _look_up(self, request: Request) -> tuple[Basis, Computation]:
        """Say who charges calls of this model and tier, and who works out what that is."""
        try:
            with self._connection.transaction():  # a refusal must not end that of the caller
                priced = self._price(request, {})
        except UnknownId as error:
            if error.details.get("reason") != "stale_price":
                return "package", _by_package_then
            raise StalePrice(
                f"nobody has checked the price of {request.model!r} in the database for too long: "
                "see `tallystick prices sync`"
            ) from error
        if self._is_from_the_package(priced) and _means(request, priced):
            return "database", _by_package_now
        return "database", lambda each: self._price(each, each.usage).cost

    def _price(self, request: Request, usage: Mapping[str, int]) -> PricedUsage:
        return self._client.price_usage(
            request.model,
            usage,
            organization_id=self._organization_id,
            service_tier=request.service_tier,
        )

    def _is_from_the_package(self, priced: PricedUsage) -> bool:
        """Tell whether it is a list price, unchanged, of the version that is installed here."""
        with self._connection.cursor(row_factory=scalar_row) as cursor:
            loaded = cursor.execute(
                "select l.version::text from pricing.prices as p"
                " join pricing.price_lists as l on l.source = p.source"
                " where p.id = %s and l.source = %s",
                [priced.price_id, SOURCE],
            ).fetchone()
        return priced.markup_id is None and loaded == version(SOURCE)


def _by_package_now(request: Request) -> Decimal:
    return package_price(request).cost


def _by_package_then(request: Request) -> Decimal:
    # As of the row, so that it is the same request in every replay: some prices change by the hour.
    return package_price(request, request.at).cost


def _means(request: Request, priced: PricedUsage) -> bool:
    """Tell whether the package takes the model's name for the same as the database does."""
    try:
        meant = package_price(request)
    except UnknownModel:
        return False
    return (meant.provider, meant.model) == (priced.provider, priced.model)
