"""What to call and how to read it: one pure function per exposed SQL function.

Each returns a `Call`: schema, function, named arguments, result reader. Nothing here touches a
database, so sync and async, psycopg and HTTP share these lines and cannot drift apart. Arguments
are checked by type only; values are the database's to judge (22023), so there is one authority.
An optional argument left at None is not sent and the SQL default applies.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from decimal import Decimal
from typing import Generic, TypeVar
from uuid import UUID

from tallystick.models import (
    Budget,
    Finding,
    Organization,
    Row,
    Workflow,
    from_row,
    to_bool,
    to_decimal,
)

__all__ = [
    "check_organization_monthly_quota",
    "check_workflow_cost_limit",
    "create_organization",
    "estimate_workflow_cost_limit",
    "get_organization_monthly_ai_cost",
    "record_usage_and_increment",
    "remove_budget",
    "set_budget",
    "upsert_intent_workflow",
    "verify_integrity",
]

T = TypeVar("T")
Argument = UUID | Decimal | int | str | Mapping[str, object]


@dataclass(frozen=True, slots=True)
class Call(Generic[T]):
    """One call of an exposed SQL function.

    Attributes:
        schema: the function's schema.
        function: the function's name.
        arguments: argument name to value, in the order of the signature; sent by name.
        read: turns the result rows into the typed answer.
    """

    schema: str
    function: str
    arguments: Mapping[str, Argument]
    read: Callable[[Sequence[Row]], T]


@dataclass(frozen=True, slots=True)
class One(Generic[T]):
    """Reads exactly one composite row as a model."""

    model: type[T]

    def __call__(self, rows: Sequence[Row]) -> T:
        return from_row(self.model, _single(rows))


@dataclass(frozen=True, slots=True)
class Many(Generic[T]):
    """Reads any number of composite rows as a list of models."""

    model: type[T]

    def __call__(self, rows: Sequence[Row]) -> list[T]:
        return [from_row(self.model, row) for row in rows]


@dataclass(frozen=True, slots=True)
class Scalar(Generic[T]):
    """Reads the only column of the only row."""

    convert: Callable[[object], T]

    def __call__(self, rows: Sequence[Row]) -> T:
        (value,) = _single(rows).values()
        return self.convert(value)


def nothing(_rows: Sequence[Row]) -> None:
    """Read the answer of a function that returns void."""


def check_workflow_cost_limit(
    workflow_id: UUID,
    additional_cost: Decimal,
    *,
    max_cost: Decimal | None = None,
    organization_id: UUID | None = None,
) -> Call[bool]:
    """Ask whether a workflow may spend `additional_cost` more.

    It holds off all other spend of the organization until the transaction ends. With the record in
    the same transaction it is exact; alone, it is advice. No model call belongs in between.
    """
    return Call(
        "public",
        "check_workflow_cost_limit",
        _given(
            p_workflow_id=_uuid(workflow_id),
            p_additional_cost=_money(additional_cost),
            p_max_cost=_optional(_money, max_cost),
            p_organization_id=_optional(_uuid, organization_id),
        ),
        Scalar(to_bool),
    )


def estimate_workflow_cost_limit(
    workflow_id: UUID,
    additional_cost: Decimal,
    *,
    max_cost: Decimal | None = None,
    organization_id: UUID | None = None,
) -> Call[bool]:
    """Ask the same as `check_workflow_cost_limit` without a lock: advice before a model call."""
    return Call(
        "public",
        "estimate_workflow_cost_limit",
        _given(
            p_workflow_id=_uuid(workflow_id),
            p_additional_cost=_money(additional_cost),
            p_max_cost=_optional(_money, max_cost),
            p_organization_id=_optional(_uuid, organization_id),
        ),
        Scalar(to_bool),
    )


def record_usage_and_increment(
    workflow_id: UUID,
    organization_id: UUID,
    model: str,
    prompt_tokens: int,
    completion_tokens: int,
    cost: Decimal,
    *,
    request_id: str | None = None,
) -> Call[None]:
    """Record one model call: ledger row and totals, atomically; once per request id."""
    return Call(
        "public",
        "record_usage_and_increment",
        _given(
            p_workflow_id=_uuid(workflow_id),
            p_organization_id=_uuid(organization_id),
            p_model=_text(model),
            p_prompt_tokens=_integer(prompt_tokens),
            p_completion_tokens=_integer(completion_tokens),
            p_cost=_money(cost),
            p_request_id=_optional(_text, request_id),
        ),
        nothing,
    )


def get_organization_monthly_ai_cost(organization_id: UUID) -> Call[Decimal]:
    """Ask what an organization has spent this month, in its own time zone (US dollars)."""
    return Call(
        "public",
        "get_organization_monthly_ai_cost",
        _given(p_organization_id=_uuid(organization_id)),
        Scalar(to_decimal),
    )


def check_organization_monthly_quota(
    organization_id: UUID, *, monthly_limit: Decimal | None = None
) -> Call[bool]:
    """Ask whether an organization is still below its limit for this month."""
    return Call(
        "public",
        "check_organization_monthly_quota",
        _given(
            p_organization_id=_uuid(organization_id),
            p_monthly_limit=_optional(_money, monthly_limit),
        ),
        Scalar(to_bool),
    )


def upsert_intent_workflow(
    workflow_id: UUID, organization_id: UUID, workflow_data: Mapping[str, object]
) -> Call[Workflow]:
    """Create a workflow, or replace its document; its total is never touched."""
    return Call(
        "public",
        "upsert_intent_workflow",
        _given(
            p_id=_uuid(workflow_id),
            p_organization_id=_uuid(organization_id),
            p_workflow_data=_document(workflow_data),
        ),
        One(Workflow),
    )


def set_budget(
    organization_id: UUID,
    scope: str,
    scope_id: str | None,
    window: str,
    limit: Decimal,
    *,
    enforcement: str | None = None,
    slots: int | None = None,
) -> Call[Budget]:
    """Store a cap in US dollars, for (workflow, total) or (organization, month).

    For service_role, and for owners and admins of the organization; likewise `remove_budget`.
    """
    return Call(
        "metering",
        "set_budget",
        _budget_key(organization_id, scope, scope_id, window)
        | _given(
            p_limit=_money(limit),
            p_enforcement=_optional(_text, enforcement),
            p_slots=_optional(_integer, slots),
        ),
        One(Budget),
    )


def remove_budget(
    organization_id: UUID, scope: str, scope_id: str | None, window: str
) -> Call[Budget]:
    """Take a stored cap away; the answer's `limit_usd` is None."""
    return Call(
        "metering",
        "remove_budget",
        _budget_key(organization_id, scope, scope_id, window),
        One(Budget),
    )


def create_organization(name: str, *, time_zone: str | None = None) -> Call[Organization]:
    """Create an organization, as service_role or signed in; who is signed in becomes its owner."""
    return Call(
        "tenancy",
        "create_organization",
        _given(p_name=_text(name), p_time_zone=_optional(_text, time_zone)),
        One(Organization),
    )


def verify_integrity(*, organization_id: UUID | None = None) -> Call[list[Finding]]:
    """Prove the books, of one organization or all: one finding per broken invariant."""
    return Call(
        "audit",
        "verify_integrity",
        _given(p_organization_id=_optional(_uuid, organization_id)),
        Many(Finding),
    )


def _single(rows: Sequence[Row]) -> Row:
    if len(rows) != 1:
        raise ValueError(f"expected one row, the database answered with {len(rows)}")
    return rows[0]


def _given(**arguments: Argument | None) -> dict[str, Argument]:
    return {name: value for name, value in arguments.items() if value is not None}


def _budget_key(
    organization_id: UUID, scope: str, scope_id: str | None, window: str
) -> dict[str, Argument]:
    # p_scope_id has no default, so "the organization itself" is sent as the empty text.
    return {
        "p_organization_id": _uuid(organization_id),
        "p_scope": _text(scope),
        "p_scope_id": "" if scope_id is None else _text(scope_id),
        "p_window": _text(window),
    }


def _optional(check: Callable[[T], T], value: T | None) -> T | None:
    return None if value is None else check(value)


def _money(value: Decimal) -> Decimal:
    if not isinstance(value, Decimal):
        raise TypeError(f"money must be a Decimal, not {type(value).__name__}: Decimal('0.25')")
    return value


def _uuid(value: UUID) -> UUID:
    if not isinstance(value, UUID):
        raise TypeError(f"an id must be a UUID, not {type(value).__name__}")
    return value


def _integer(value: int) -> int:
    if isinstance(value, bool) or not isinstance(value, int):
        raise TypeError(f"a count must be an int, not {type(value).__name__}")
    return value


def _text(value: str) -> str:
    if not isinstance(value, str):
        raise TypeError(f"expected text, not {type(value).__name__}")
    return value


def _document(value: Mapping[str, object]) -> Mapping[str, object]:
    if not isinstance(value, Mapping):
        raise TypeError(f"workflow_data must be a mapping, not {type(value).__name__}")
    return value
