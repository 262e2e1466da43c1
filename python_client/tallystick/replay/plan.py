"""Turning rows into requests: model, workflow, and an id that a second replay finds again.

The database remembers request ids for 400 days; until then a row is recorded once.
"""

from __future__ import annotations

import hashlib
import json
from collections import Counter
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING
from uuid import UUID, uuid5

from tallystick.replay.rows import UsageFileError

if TYPE_CHECKING:
    from collections.abc import Iterator
    from datetime import datetime
    from decimal import Decimal

    from tallystick.replay.rows import UsageFile, UsageRow

_WORKFLOWS = UUID("7d0f4b52-8f0b-4c7e-9d55-6a3c1f1a7c10")  # namespace of replayed workflows


@dataclass(frozen=True, slots=True, kw_only=True)
class Request:
    """One model call, ready to be authorized and settled.

    Attributes:
        place: where its row stands in the file.
        at: when it happened.
        request_id: the row's own id, or a digest of its content and occurrence.
        workflow: the workflow's name; `workflow_id` makes its id.
        model: the model.
        prompt_tokens: tokens sent, cached ones included.
        completion_tokens: tokens received.
        cached_tokens: the part of `prompt_tokens` read from a cache.
        service_tier: the provider's tier, batch among them; None for the usual one.
        stated_cost: what its row says it cost, US dollars, at most 12 decimals; mostly None.
    """

    place: str
    at: datetime
    request_id: str
    workflow: str
    model: str
    prompt_tokens: int
    completion_tokens: int
    cached_tokens: int
    service_tier: str | None
    stated_cost: Decimal | None

    @property
    def usage(self) -> dict[str, int]:
        """What it used by token class, each token in one."""
        counts = {
            "input_tokens": self.prompt_tokens - self.cached_tokens,
            "cache_read_tokens": self.cached_tokens,
            "output_tokens": self.completion_tokens,
        }
        return {name: count for name, count in counts.items() if count}


@dataclass(frozen=True, slots=True, kw_only=True)
class Plan:
    """What a file asks for.

    Attributes:
        requests: one per request id, in time order.
        repeated: rows that repeat an earlier row's own id and content: retries.
    """

    requests: tuple[Request, ...]
    repeated: int


def plan(usage: UsageFile, *, model: str | None, rows_per_workflow: int) -> Plan:
    """Give every row a model, a workflow and a request id; no database is needed.

    Args:
        usage: the file.
        model: the model of rows that name none.
        rows_per_workflow: rows without a workflow are grouped by this many, in time order.

    Raises:
        UsageFileError: a row has no model, or two rows share an id but differ.
    """
    groups = _group_names(usage, rows_per_workflow)
    ids = _request_ids(usage.rows)
    requests: dict[str, Request] = {}
    repeated = 0
    for row, group, request_id in zip(usage.rows, groups, ids, strict=True):
        request = _request(usage, row, group, request_id, model)
        first = requests.setdefault(request_id, request)
        if first is request:
            continue
        _require_same(usage, first, request)
        repeated += 1
    return Plan(requests=tuple(requests.values()), repeated=repeated)


def _request(
    usage: UsageFile,
    row: UsageRow,
    group: str,
    request_id: str,
    default_model: str | None,
) -> Request:
    model = row.model or default_model
    if model is None:
        problem = "no model is named; say which with --model, for example --model gpt-4o"
        raise UsageFileError(usage.path, problem, place=row.place)
    return Request(
        place=row.place,
        at=row.at,
        request_id=request_id,
        workflow=group,
        model=model,
        prompt_tokens=row.prompt_tokens,
        completion_tokens=row.completion_tokens,
        cached_tokens=row.cached_tokens,
        service_tier="batch" if row.batch else row.service_tier,
        stated_cost=row.cost,
    )


def workflow_id(organization_id: UUID, name: str) -> UUID:
    """Return a workflow's id: the name if it is a UUID, else derived from organization and name.

    The same in every replay, so a second one finds the workflows of the first.
    """
    try:
        return UUID(name)
    except ValueError:
        return derived_workflow_id(organization_id, name)


def derived_workflow_id(organization_id: UUID, name: str) -> UUID:
    """Return an id that only this organization has for the name, whatever the name is."""
    return uuid5(_WORKFLOWS, f"{organization_id}/{name}")


def _group_names(usage: UsageFile, rows_per_workflow: int) -> Iterator[str]:
    unnamed = 0
    for row in usage.rows:
        if row.workflow is not None:
            yield row.workflow
            continue
        yield f"{usage.path.stem}-{unnamed // rows_per_workflow + 1:04d}"
        unnamed += 1


def _request_ids(rows: tuple[UsageRow, ...]) -> Iterator[str]:
    seen: Counter[str] = Counter()
    for row in rows:
        if row.request_id is not None:
            yield row.request_id
            continue
        digest = _digest(row)
        seen[digest] += 1
        yield f"replay:{digest}:{seen[digest]}"


def _digest(row: UsageRow) -> str:
    # The content as the file tells it: not the place, which moves when rows are added, and not
    # what --model or the price list contributes.
    content = [
        row.at.isoformat(),
        row.model,
        row.prompt_tokens,
        row.completion_tokens,
        row.cached_tokens,
        row.batch,
        row.service_tier,
        row.workflow,
        None if row.cost is None else format(row.cost.normalize(), "f"),
    ]
    return hashlib.sha256(json.dumps(content).encode()).hexdigest()[:40]


def _require_same(usage: UsageFile, first: Request, again: Request) -> None:
    # When it happened may differ: a retry is a little later.
    if replace(again, place=first.place, at=first.at) != first:
        problem = (
            f"the request id {again.request_id!r} is also on {first.place}, with other content"
        )
        raise UsageFileError(usage.path, problem, place=again.place)
