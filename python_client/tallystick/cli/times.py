"""Times: as they are typed, and the present one."""

from __future__ import annotations

from datetime import UTC, datetime
from typing import TYPE_CHECKING

from psycopg.rows import scalar_row

if TYPE_CHECKING:
    from tallystick.organizations import AnyConnection


def utc(moment: datetime | None) -> datetime | None:
    """Take a typed time, which names no zone, as UTC."""
    return None if moment is None else moment.replace(tzinfo=UTC)


def present_time(connection: AnyConnection) -> datetime:
    """Return the time by the database's clock, as that of this machine may be off."""
    with connection.cursor(row_factory=scalar_row) as cursor:
        now: datetime
        (now,) = cursor.execute("select private.clock_now()").fetchall()
        return now
