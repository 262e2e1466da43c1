"""Events of the journal as tables: how they stand, and what each revision changed."""

from __future__ import annotations

import json
from typing import TYPE_CHECKING

from rich import box
from rich.console import Group
from rich.table import Table
from rich.text import Text

from tallystick.cli.budget_table import moment
from tallystick.cli.report.names import printable
from tallystick.transports import exact_json

if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence
    from uuid import UUID

    from rich.console import RenderableType

    from tallystick.models import Event

_TIME_WIDTH, _ID_WIDTH = 16, 36
_STYLES = {"amend": "yellow", "void": "red", "restate": "green"}


def listing(
    events: Sequence[Event], *, owner_id: UUID | None, tenant_id: UUID | None, limit: int
) -> RenderableType:
    """Return the events of an owner or a tenant, of which at most `limit` were asked for."""
    return Group(*_parts(events, owner_id, tenant_id, limit))


def history(revisions: Sequence[Event]) -> RenderableType:
    """Return all revisions of one event, the first in front."""
    return Group(*_history(revisions))


def _parts(
    events: Sequence[Event], owner_id: UUID | None, tenant_id: UUID | None, limit: int
) -> Iterator[RenderableType]:
    if owner_id is not None:
        yield Text(f"owner {owner_id}", style="bold")
    if tenant_id is not None:
        yield Text(f"tenant {tenant_id}", style="bold")
    yield _events(events, tenant_id) if events else Text("No events.")
    if len(events) == limit:
        yield Text(f"There may be more than {limit:,}; --limit shows them.", style="dim")


def _events(events: Sequence[Event], tenant_id: UUID | None) -> Table:
    table = Table(box=box.SIMPLE_HEAD, padding=(0, 1, 0, 0))
    table.add_column("time (UTC)", width=_TIME_WIDTH, overflow="fold")
    table.add_column("event", width=_ID_WIDTH, overflow="fold")
    table.add_column("op\nrevision", overflow="fold")
    table.add_column("entity\nsource", overflow="fold")
    for event in events:
        table.add_row(
            moment(event.occurred_at),
            Text("\n").join(_identity(event, tenant_id)),
            _operation(event).append(f"\n{event.revision:,}", style=""),
            Text(f"{_entity(event)}\n{_source(event)}"),
        )
    return table


def _identity(event: Event, tenant_id: UUID | None) -> Iterator[Text]:
    """Say what happened, and by which ids commands know it; the tenant where none was named."""
    yield _title(event)
    yield Text(str(event.logical_id), style="dim")
    if tenant_id is None:
        yield Text(f"tenant {event.organization_id}", style="dim")


def _title(event: Event) -> Text:
    return Text(f"{printable(event.domain)}: {printable(event.event_type)}", style="bold")


def _operation(event: Event) -> Text:
    return Text(event.op, style=_STYLES.get(event.op, ""))


def _entity(event: Event) -> str:
    return printable(" ".join(each for each in (event.entity_type, event.entity_id) if each))


def _source(event: Event) -> str:
    return printable(str(event.payload.get("source", "")))


def _history(revisions: Sequence[Event]) -> Iterator[RenderableType]:
    last = revisions[-1]
    yield _title(last)
    if entity := _entity(last):
        yield Text(f"about {entity}")
    state = "counts" if last.counts else "does not count"
    yield Text(f"happened {moment(last.occurred_at)} UTC, {state}", style=_STYLES.get(last.op, ""))
    for name, key in (
        ("event", last.logical_id),
        ("owner", last.owner_user_id),
        ("tenant", last.organization_id),
    ):
        yield Text(f"{name} {key}", style="dim")
    yield _revisions(revisions)


def _revisions(revisions: Sequence[Event]) -> Table:
    table = Table(box=box.SIMPLE_HEAD, padding=(0, 1, 0, 0))
    table.add_column("revision", justify="right", overflow="fold")
    table.add_column("op", overflow="fold")
    table.add_column("written (UTC)", width=_TIME_WIDTH, overflow="fold")
    table.add_column("facts", overflow="fold")
    for before, event in zip((None, *revisions[:-1]), revisions, strict=True):
        table.add_row(
            f"{event.revision:,}",
            _operation(event),
            moment(event.created_at),
            Text("\n").join(_changes(before, event)),
        )
    return table


def _changes(before: Event | None, event: Event) -> Iterator[Text]:
    """Say what a revision changed of the one before; of the first, all that it states."""
    yield from _differences(_head(before), _head(event))
    yield from _differences(_payload(before), _payload(event))


def _differences(old: dict[str, str], new: dict[str, str]) -> Iterator[Text]:
    for name in old | new:
        label = printable(name)
        if name not in new:
            yield Text(f"- {label}: {old[name]}", style="red")
        elif name not in old:
            yield Text(f"+ {label}: {new[name]}", style="green")
        elif old[name] != new[name]:
            yield Text(f"~ {label}: {old[name]} → {new[name]}", style="yellow")


def _head(event: Event | None) -> dict[str, str]:
    """Return what a revision can change beside the payload."""
    if event is None:
        return {}
    happened = event.occurred_at.replace(tzinfo=None).isoformat(" ")
    return {"event type": printable(event.event_type), "occurred at": happened}


def _payload(event: Event | None) -> dict[str, str]:
    """Return the facts of a revision as JSON, so that the text "1" is not the number."""
    facts = {} if event is None else event.payload
    return {name: printable(_json(value)) for name, value in facts.items()}


def _json(value: object) -> str:
    if isinstance(value, str):
        return json.dumps(value, ensure_ascii=False)
    return exact_json.dumps(value)
