"""What the keys of spend are called: names instead of ids, fit for a screen and a file."""

from __future__ import annotations

import re
from dataclasses import dataclass
from typing import TYPE_CHECKING, LiteralString

from psycopg.rows import class_row

if TYPE_CHECKING:
    from collections.abc import Collection, Mapping
    from uuid import UUID

    from tallystick.organizations import AnyConnection

_TAIL = 8  # of an id: ids are ordered by time, so those of one day begin alike
# Control characters, separators of lines, marks that turn the direction of writing, and halves of
# characters. Foreign spaces and joiners are parts of names and amounts.
_STEERING = re.compile("[\x00-\x1f\x7f-\x9f\u2028\u2029\u202a-\u202e\u2066-\u2069\ud800-\udfff]")

_NAMES: Mapping[str, LiteralString] = {
    "workflow": """
        select id::text as key, workflow_data ->> 'name' as name from metering.workflows
        where organization_id = %(organization)s and id = any(%(keys)s::uuid[])
    """,
    "venture": """
        select id::text as key, name from tenancy.ventures
        where organization_id = %(organization)s and id = any(%(keys)s::uuid[])
    """,
    "user": """
        select user_id::text as key, display_name as name from tenancy.profiles
        where user_id = any(%(keys)s::uuid[])
    """,
}


@dataclass(frozen=True, slots=True)
class _Named:
    key: str
    name: str | None


def read_names(
    connection: AnyConnection, kind: str, organization_id: UUID, keys: Collection[str]
) -> dict[str, str]:
    """Return the names of workflows, ventures or users that have one, by id; others have none."""
    query = _NAMES.get(kind)
    if query is None or not keys:
        return {}
    with connection.cursor(row_factory=class_row(_Named)) as cursor:
        cursor.execute(query, {"organization": organization_id, "keys": list(keys)})
        return {each.key: each.name for each in cursor if each.name and not each.name.isspace()}


def printable(text: str) -> str:
    """Return a text without what could steer a terminal or spoil a file; all else stays itself."""
    return _STEERING.sub("\N{REPLACEMENT CHARACTER}", text)


def shortened(text: str, width: int) -> str:
    """Return a text of at most `width` characters; what is too long loses its middle."""
    if len(text) <= width:
        return text
    end = (width - 1) // 2
    return f"{text[: width - 1 - end]}…{text[len(text) - end :]}"


def tail(key: str) -> str:
    """Return the part of an id that tells it from others."""
    return f"…{key[-_TAIL:]}"
