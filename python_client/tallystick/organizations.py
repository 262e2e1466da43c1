"""Finding the organization a person means: by its name or its id."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING
from uuid import UUID

from psycopg.rows import class_row

from tallystick.client import Client

if TYPE_CHECKING:
    from psycopg import Connection

    AnyConnection = Connection[tuple[object, ...]]


class OrganizationNotFound(Exception):  # noqa: N818 - named after what happened
    """The organization that is meant cannot be told; the message says why."""


@dataclass(frozen=True, slots=True)
class Payer:
    """An organization, as who pays."""

    id: UUID
    name: str
    frozen: bool


def find_or_create_organization(connection: AnyConnection, name_or_id: str) -> Payer:
    """Return the organization of that name or UUID; an unknown name is created.

    Raises:
        OrganizationNotFound: an unknown UUID, or a name that several organizations have.
    """
    found = _organization(connection, name_or_id)
    if found is not None:
        return found
    if _as_uuid(name_or_id) is not None:
        raise OrganizationNotFound(f"no organization has the id {name_or_id}")
    created = Client(connection).create_organization(name_or_id)
    return Payer(created.id, created.name, frozen=False)


def find_organization(connection: AnyConnection, name_or_id: str) -> Payer:
    """Return the organization of that name or UUID.

    Raises:
        OrganizationNotFound: none, or several, answer to it.
    """
    found = _organization(connection, name_or_id)
    if found is None:
        raise OrganizationNotFound(f"no organization is named, or has the id, {name_or_id!r}")
    return found


def only_organization(connection: AnyConnection) -> Payer:
    """Return the only organization there is.

    Raises:
        OrganizationNotFound: there is none, or more than one.
    """
    with connection.cursor(row_factory=class_row(Payer)) as cursor:
        found = cursor.execute(
            "select id, name, frozen_at is not null as frozen from tenancy.organizations limit 2"
        ).fetchall()
    if not found:
        raise OrganizationNotFound("there is no organization yet")
    if len(found) > 1:
        raise OrganizationNotFound("there are several organizations: add --organization")
    return found[0]


def _organization(connection: AnyConnection, name_or_id: str) -> Payer | None:
    identifier = _as_uuid(name_or_id)
    with connection.cursor(row_factory=class_row(Payer)) as cursor:
        found = cursor.execute(
            "select id, name, frozen_at is not null as frozen from tenancy.organizations"
            " where id = %s or (%s::uuid is null and name = %s) order by id",
            [identifier, identifier, name_or_id],
        ).fetchall()
    if len(found) > 1:
        ids = ", ".join(str(payer.id) for payer in found)
        raise OrganizationNotFound(
            f"{len(found)} organizations are named {name_or_id!r}; name one by its id: {ids}"
        )
    return found[0] if found else None


def _as_uuid(text: str) -> UUID | None:
    try:
        return UUID(text)
    except ValueError:
        return None
