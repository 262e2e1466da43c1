"""Reading what a screen shows, all of one moment: rollups, budgets and holds, never the ledger."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from datetime import date, datetime, timedelta
from decimal import Decimal
from typing import TYPE_CHECKING, LiteralString, TypeAlias
from uuid import UUID

from psycopg.rows import class_row

from tallystick.cli.report.names import read_names
from tallystick.cli.report.spend import By, Spend, read_lines, snapshot
from tallystick.money import total
from tallystick.organizations import OrganizationNotFound

if TYPE_CHECKING:
    from tallystick.organizations import AnyConnection

_NAMED_SCOPES = (By.workflow, By.user)


@dataclass(frozen=True, slots=True, kw_only=True)
class Place:
    """An organization, and the present time: as an instant and as its own clocks show it."""

    id: UUID
    name: str
    time_zone: str
    frozen: bool
    now: datetime
    local_time: datetime

    @property
    def today(self) -> date:
        """The present day there."""
        return self.local_time.date()

    @property
    def month(self) -> date:
        """The first day of the present month there."""
        return self.today.replace(day=1)


@dataclass(frozen=True, slots=True)
class Amount:
    """A number of usages or holds, and US dollars."""

    number: int
    usd: Decimal


NOTHING = Amount(0, Decimal(0))
Days: TypeAlias = Mapping[UUID, Mapping[date, Amount]]
"""What each organization spent on each of the latest days."""


@dataclass(frozen=True, slots=True)
class Held:
    """All open holds, and those of them that are overdue."""

    open: Amount
    overdue: Amount


@dataclass(frozen=True, slots=True, kw_only=True)
class Cap:
    """A budget with a limit, and what is left of it now; see `tallystick.BudgetStatus`."""

    organization_id: UUID
    scope: str
    scope_id: str
    time_window: str
    frozen: bool
    soft: bool
    limit_usd: Decimal
    settled_usd: Decimal
    held_usd: Decimal
    remaining_usd: Decimal
    resets_at: datetime | None


@dataclass(frozen=True, slots=True, kw_only=True)
class Detail:
    """What only the screen of a single organization shows.

    Attributes:
        caps: the caps with the least left in proportion, first; not all of them.
        number_of_caps: how many there are.
        frozen: how many scopes are frozen, the organization itself aside.
        models: the dearest models of today.
        workflows: the dearest workflows of today.
        names: names of workflows and users, by their id.
    """

    caps: Sequence[Cap]
    number_of_caps: int
    frozen: int
    models: Sequence[Spend]
    workflows: Sequence[Spend]
    names: Mapping[str, str]


@dataclass(frozen=True, slots=True, kw_only=True)
class Board:
    """One moment.

    Attributes:
        places: the organizations that are shown.
        days: what they spent on each day of this month, and yesterday.
        holds: their open holds, of those that have any.
        tightest: of the caps on a whole organization the one with the least left in proportion.
        detail: the rest of the screen, where it shows only one organization.
    """

    places: Sequence[Place]
    days: Days
    holds: Mapping[UUID, Held]
    tightest: Mapping[UUID, Cap]
    detail: Detail | None

    def today(self, place: Place) -> Amount:
        """Return what an organization has spent today."""
        return self.days.get(place.id, {}).get(place.today, NOTHING)

    def month(self, place: Place) -> Amount:
        """Return what it has spent this month."""
        days = self.days.get(place.id, {})
        return together(amount for day, amount in days.items() if day >= place.month)

    def held(self, place: Place) -> Held:
        """Return its open holds."""
        return self.holds.get(place.id, Held(NOTHING, NOTHING))


@dataclass(frozen=True, slots=True)
class _Day:
    organization_id: UUID
    day: date
    requests: int
    cost: Decimal


@dataclass(frozen=True, slots=True)
class _Holds:
    organization_id: UUID
    open: int
    open_usd: Decimal
    overdue: int
    overdue_usd: Decimal


@dataclass(frozen=True, slots=True)
class _Counts:
    capped: int
    frozen: int


_PLACES: LiteralString = """
select
  o.id, o.name, o.time_zone, o.frozen_at is not null as frozen, c.now,
  c.now at time zone o.time_zone as local_time
from tenancy.organizations as o
cross join (select private.clock_now() as now) as c
where %(organization)s::uuid is null or o.id = %(organization)s
order by o.id
"""

_DAYS: LiteralString = """
select organization_id, day, requests, cost
from metering.spend_by_day
where organization_id = any(%s) and day >= %s
"""

_HOLDS: LiteralString = """
select
  organization_id,
  count(*) as open,
  sum(held_usd) as open_usd,
  count(*) filter (where expires_at <= %(now)s) as overdue,
  coalesce(sum(held_usd) filter (where expires_at <= %(now)s), 0) as overdue_usd
from metering.holds
where organization_id = any(%(organizations)s) and state = 'open'
group by organization_id
"""

_COUNTS: LiteralString = """
select
  count(*) filter (where limit_usd is not null) as capped,
  count(*) filter (where frozen_at is not null and id <> organization_id) as frozen
from metering.budgets
where organization_id = %s
"""

_CAP: LiteralString = """
  organization_id, scope, scope_id, time_window, frozen_at is not null as frozen,
  enforcement = 'soft' as soft, limit_usd, settled_usd, held_usd, remaining_usd, resets_at
from metering.budget_status
"""

_CAPS: LiteralString = f"""
select {_CAP}
where organization_id = %s and limit_usd is not null
order by remaining_usd / nullif(limit_usd, 0) nulls first, limit_usd, scope, scope_id, time_window
limit %s
"""

_TIGHTEST: LiteralString = f"""
select distinct on (organization_id) {_CAP}
where organization_id = any(%s) and scope = 'organization' and limit_usd is not null
order by organization_id, remaining_usd / nullif(limit_usd, 0) nulls first, limit_usd, time_window
"""


def read_board(connection: AnyConnection, organization_id: UUID | None, rows: int) -> Board:
    """Read one moment of an organization, or of all; of each list at most so many rows.

    Where there is only one organization, all of them is that one.

    Raises:
        OrganizationNotFound: there is none.
    """
    with snapshot(connection):
        places = _places(connection, organization_id)
        if not places:
            raise OrganizationNotFound("there is no organization yet")
        ids = [place.id for place in places]
        single = len(places) == 1
        return Board(
            places=places,
            days=_days(connection, places),
            holds=_holds(connection, places),
            tightest={} if single else _tightest(connection, ids),
            detail=_detail(connection, places[0], rows) if single else None,
        )


def together(amounts: Iterable[Amount]) -> Amount:
    """Add amounts."""
    each = list(amounts)
    return Amount(sum(one.number for one in each), total([one.usd for one in each]))


def _places(connection: AnyConnection, organization_id: UUID | None) -> list[Place]:
    with connection.cursor(row_factory=class_row(Place)) as cursor:
        return cursor.execute(_PLACES, {"organization": organization_id}).fetchall()


def _days(connection: AnyConnection, places: Sequence[Place]) -> Days:
    # Yesterday too: what is settled after midnight counts for the day on which it was granted.
    since = [min(place.month, place.today - timedelta(1)) for place in places]
    days: dict[UUID, dict[date, Amount]] = {}
    with connection.cursor(row_factory=class_row(_Day)) as cursor:
        cursor.execute(_DAYS, [[place.id for place in places], min(since)])
        for row in cursor:
            days.setdefault(row.organization_id, {})[row.day] = Amount(row.requests, row.cost)
    return days


def _holds(connection: AnyConnection, places: Sequence[Place]) -> dict[UUID, Held]:
    arguments = {
        "organizations": [place.id for place in places],
        "now": places[0].now,
    }
    with connection.cursor(row_factory=class_row(_Holds)) as cursor:
        cursor.execute(_HOLDS, arguments)
        return {
            row.organization_id: Held(
                Amount(row.open, row.open_usd), Amount(row.overdue, row.overdue_usd)
            )
            for row in cursor
        }


def _tightest(connection: AnyConnection, ids: Sequence[UUID]) -> dict[UUID, Cap]:
    with connection.cursor(row_factory=class_row(Cap)) as cursor:
        cursor.execute(_TIGHTEST, [list(ids)])
        return {cap.organization_id: cap for cap in cursor}


def _detail(connection: AnyConnection, place: Place, rows: int) -> Detail:
    with connection.cursor(row_factory=class_row(_Counts)) as cursor:
        (counts,) = cursor.execute(_COUNTS, [place.id]).fetchall()
    with connection.cursor(row_factory=class_row(Cap)) as cursor:
        caps = cursor.execute(_CAPS, [place.id, rows]).fetchall()
    models, workflows = (
        read_lines(connection, place.id, by, place.today, place.today, limit=rows)
        for by in (By.model, By.workflow)
    )
    return Detail(
        caps=caps,
        number_of_caps=counts.capped,
        frozen=counts.frozen,
        models=models,
        workflows=workflows,
        names=_names(connection, place, caps, workflows),
    )


def _names(
    connection: AnyConnection,
    place: Place,
    caps: Sequence[Cap],
    workflows: Sequence[Spend],
) -> dict[str, str]:
    """Return the names of all workflows and users on the screen."""
    keys = {by: {cap.scope_id for cap in caps if cap.scope == by} for by in _NAMED_SCOPES}
    keys[By.workflow] |= {line.key for line in workflows if line.key is not None}
    names: dict[str, str] = {}
    for by in _NAMED_SCOPES:
        names |= read_names(connection, by, place.id, keys[by])
    return names
