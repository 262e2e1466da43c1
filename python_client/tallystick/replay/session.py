"""One replay from plan to proof, against one database."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

import psycopg

from tallystick.client import Client
from tallystick.organizations import find_or_create_organization
from tallystick.replay import books
from tallystick.replay.plan import workflow_id
from tallystick.replay.rows import UsageFileError
from tallystick.replay.run import Run, run

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping, Sequence
    from decimal import Decimal

    from tallystick.organizations import AnyConnection, Payer
    from tallystick.replay.books import Books, Caps, Recorded
    from tallystick.replay.plan import Plan, Request
    from tallystick.replay.rows import UsageFile
    from tallystick.replay.run import Answer


class OrganizationFrozen(Exception):  # noqa: N818 - named after what happened
    """The organization is frozen: every check would refuse."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Settings:
    """How a plan is replayed.

    Attributes:
        database_url: the database.
        organization: name or UUID of who pays; an unknown name is created.
        workflow_limit: cap per workflow, US dollars, stored; None leaves what is stored.
        monthly_limit: cap of the organization's month, US dollars, stored; None likewise.
        workers: how many requests at the same time.
    """

    database_url: str
    organization: str
    workflow_limit: Decimal | None
    monthly_limit: Decimal | None
    workers: int


@dataclass(frozen=True, slots=True, kw_only=True)
class Replay:
    """What a replay did, and the books after it.

    Attributes:
        usage: the file.
        plan: what it asked for.
        payer: the organization.
        already_recorded: how many of its requests the ledger had before.
        caps: the caps it ran under.
        run: what became of the others.
        books: the proof.
    """

    usage: UsageFile
    plan: Plan
    payer: Payer
    already_recorded: int
    caps: Caps
    run: Run
    books: Books


def replay_plan(
    usage: UsageFile,
    plan: Plan,
    settings: Settings,
    *,
    on_start: Callable[[int], None],
    on_outcome: Callable[[Answer], None],
) -> Replay:
    """Record what is not recorded yet, under the caps, and read the books.

    Args:
        usage: the file.
        plan: its requests.
        settings: where and how.
        on_start: called once with the number of requests to send.
        on_outcome: called with the answer to each.

    Raises:
        OrganizationNotFound: the organization's name is ambiguous, or its id unknown.
        OrganizationFrozen: it is frozen.
        UsageFileError: a row is in the ledger already, with other tokens.
        TallystickError: the database refused something other than the spend.
        psycopg.OperationalError: the database cannot be reached.
    """
    with psycopg.connect(
        settings.database_url, autocommit=True, prepare_threshold=None
    ) as connection:
        payer = find_or_create_organization(connection, settings.organization)
        if payer.frozen:
            raise OrganizationFrozen(f"the organization {payer.name!r} is frozen")
        ids = [request.request_id for request in plan.requests]
        known = books.already_recorded(connection, payer.id, ids)
        waiting = _not_recorded(usage, plan, known)
        caps = _prepare(connection, payer, waiting, settings)
        on_start(len(waiting))
        done = run(
            settings.database_url,
            payer.id,
            waiting,
            workers=settings.workers,
            on_outcome=on_outcome,
        )
        recorded = [each.request.request_id for each in done.outcomes if each.answer == "recorded"]
        return Replay(
            usage=usage,
            plan=plan,
            payer=payer,
            already_recorded=len(known),
            caps=caps,
            run=done,
            books=books.read_books(connection, payer.id, recorded),
        )


def _not_recorded(usage: UsageFile, plan: Plan, known: Mapping[str, Recorded]) -> list[Request]:
    """Return the requests the ledger does not have; one it has with other tokens is an error.

    Tokens are compared, not the cost: another price list must not make a new request of a row.
    """
    waiting = []
    for request in plan.requests:
        recorded = known.get(request.request_id)
        if recorded is None:
            waiting.append(request)
        elif recorded.prompt_tokens is not None and (
            (recorded.prompt_tokens, recorded.completion_tokens)
            != (request.prompt_tokens, request.completion_tokens)
        ):
            grown = "; the bucket has changed since" if usage.format == "openai" else ""
            raise UsageFileError(
                usage.path,
                f"recorded before with other tokens: {recorded.prompt_tokens} in, "
                f"{recorded.completion_tokens} out, now {request.prompt_tokens} in, "
                f"{request.completion_tokens} out{grown}",
                request.place,
            )
    return waiting


def _prepare(
    connection: AnyConnection, payer: Payer, waiting: Sequence[Request], settings: Settings
) -> Caps:
    """Open the workflows that are missing and store the caps that were asked for."""
    names = {workflow_id(payer.id, request.workflow): request.workflow for request in waiting}
    existing = books.existing_workflows(connection, payer.id, list(names))
    client = Client(connection)
    with connection.transaction():
        for identifier, name in names.items():
            if identifier not in existing:
                client.upsert_intent_workflow(identifier, payer.id, {"name": name})
            if settings.workflow_limit is not None:
                client.set_budget(
                    payer.id, "workflow", str(identifier), "total", settings.workflow_limit
                )
        if settings.monthly_limit is not None:
            client.set_budget(payer.id, "organization", None, "month", settings.monthly_limit)
    return books.read_caps(connection, payer.id, list(names))
