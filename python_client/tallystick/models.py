"""What the database answers, as frozen values: `Decimal`, `UUID`, aware `datetime`.

Money is US dollars with at most 12 decimals and is never a float, on any transport. Times are in
UTC. `from_row` reads a model from one result row and accepts both a driver's native values and the
text forms a JSON transport delivers.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from datetime import UTC, datetime
from decimal import Decimal
from types import UnionType
from typing import TypeVar, get_args, get_origin, get_type_hints
from uuid import UUID

Row = Mapping[str, object]
"""One result row: column name to value."""

Model = TypeVar("Model")


@dataclass(frozen=True, slots=True, kw_only=True)
class Organization:
    """A tenant: the owner of budgets, workflows and ledger rows (`tenancy.organizations`).

    `time_zone` decides where its months begin; `frozen_at` is set while every check refuses.
    """

    id: UUID
    name: str
    time_zone: str
    frozen_at: datetime | None
    created_at: datetime


@dataclass(frozen=True, slots=True, kw_only=True)
class Workflow:
    """A unit of work whose model calls add up (`public.intent_workflows`).

    `workflow_data` is the application's document plus `total_ai_cost`, which the ledger maintains.
    """

    id: UUID
    organization_id: UUID
    workflow_data: Mapping[str, object]
    created_at: datetime
    updated_at: datetime

    @property
    def total_ai_cost(self) -> Decimal:
        """What the workflow has cost so far, in US dollars."""
        return to_decimal(self.workflow_data["total_ai_cost"])


@dataclass(frozen=True, slots=True, kw_only=True)
class Budget:
    """A stored cap over a scope and a window (`metering.budgets`).

    `limit_usd` is None once the cap has been removed. `scope_id` is the workflow's id as text, and
    empty for the organization itself. `slot_count` is the number of stripes.
    """

    id: UUID
    organization_id: UUID
    scope: str
    scope_id: str
    time_window: str
    limit_usd: Decimal | None
    enforcement: str
    slot_count: int
    created_at: datetime
    updated_at: datetime


@dataclass(frozen=True, slots=True, kw_only=True)
class Finding:
    """One broken invariant, as `audit.verify_integrity` reports it."""

    check_name: str
    organization_id: UUID | None
    subject: str
    expected: str | None
    actual: str | None


def from_row(model: type[Model], row: Row) -> Model:
    """Read a model from a result row, every value converted to its exact type.

    Columns the model does not know are ignored, so an older client reads a newer database.

    Raises:
        KeyError: a column of the model is missing.
        TypeError: a value cannot be read exactly, for example money that arrived as a float.
    """
    return model(**{name: convert(row[name]) for name, convert in _READERS[model].items()})


def to_decimal(value: object) -> Decimal:
    """Read money exactly from a `Decimal`, an int or decimal text; a float is a TypeError."""
    if isinstance(value, bool) or not isinstance(value, Decimal | int | str):
        raise TypeError(f"money must arrive as Decimal, int or text, not {type(value).__name__}")
    return Decimal(value)


def to_bool(value: object) -> bool:
    """Read a boolean; anything else is a TypeError."""
    if not isinstance(value, bool):
        raise TypeError(f"expected a boolean, not {type(value).__name__}")
    return value


def _to_uuid(value: object) -> UUID:
    return value if isinstance(value, UUID) else UUID(_to_text(value))


def _to_text(value: object) -> str:
    if not isinstance(value, str):
        raise TypeError(f"expected text, not {type(value).__name__}")
    return value


def _to_int(value: object) -> int:
    if isinstance(value, bool) or not isinstance(value, int):
        raise TypeError(f"expected an integer, not {type(value).__name__}")
    return value


def _to_utc(value: object) -> datetime:
    moment = value if isinstance(value, datetime) else datetime.fromisoformat(_to_text(value))
    if moment.tzinfo is None:
        raise TypeError("expected a time with its zone")
    return moment.astimezone(UTC)


def _to_document(value: object) -> Mapping[str, object]:
    if not isinstance(value, Mapping):
        raise TypeError(f"expected a JSON object, not {type(value).__name__}")
    return dict(value)


_CONVERTERS: Mapping[object, Callable[[object], object]] = {
    UUID: _to_uuid,
    Decimal: to_decimal,
    datetime: _to_utc,
    str: _to_text,
    int: _to_int,
    Mapping: _to_document,
}


def _converter(hint: object) -> Callable[[object], object]:
    if isinstance(hint, UnionType):  # only "X | None" occurs
        (inner,) = (part for part in get_args(hint) if part is not type(None))
        return _optional(_converter(inner))
    return _CONVERTERS[get_origin(hint) or hint]


def _optional(convert: Callable[[object], object]) -> Callable[[object], object]:
    return lambda value: None if value is None else convert(value)


_READERS: Mapping[type, Mapping[str, Callable[[object], object]]] = {
    model: {name: _converter(hint) for name, hint in get_type_hints(model).items()}
    for model in (Organization, Workflow, Budget, Finding)
}
