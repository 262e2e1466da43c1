"""Where boards come from: a connection that is made anew when it is lost."""

from __future__ import annotations

from typing import TYPE_CHECKING

import psycopg
from psycopg.conninfo import conninfo_to_dict, make_conninfo

from tallystick.cli.top.board import Board, read_board
from tallystick.organizations import find_organization

if TYPE_CHECKING:
    from uuid import UUID

    from tallystick.organizations import AnyConnection

LOST = (psycopg.OperationalError, psycopg.InterfaceError)
"""What is raised where the database cannot be reached; another try may."""

# A server counts as lost after so many seconds, and milliseconds, without an answer.
_DEFAULTS: dict[str, str | int] = {
    "application_name": "tallystick top",
    "connect_timeout": 10,
    "tcp_user_timeout": 10_000,
}


class Source:
    """Reads boards, over a new connection where the last one was lost."""

    def __init__(self, url: str, organization: str | None) -> None:
        """Connect to nothing yet; without an organization, all are read."""
        stated = conninfo_to_dict(url)
        defaults = {name: value for name, value in _DEFAULTS.items() if name not in stated}
        self._url = make_conninfo(url, **defaults)
        self._organization = organization
        self._id: UUID | None = None
        self._connection: AnyConnection | None = None

    def read(self, rows: int) -> Board:
        """Read the present board; of each list at most so many rows.

        Raises:
            OrganizationNotFound: which one is meant cannot be told, or there is none.
            psycopg.OperationalError: the database cannot be reached; another try may.
        """
        try:
            connection = self._connected()
            if self._organization is not None and self._id is None:
                self._id = find_organization(connection, self._organization).id
            return read_board(connection, self._id, rows)
        except LOST:
            self.close()
            raise

    def close(self) -> None:
        """Close the connection; the next read opens another."""
        if self._connection is not None:
            self._connection.close()
            self._connection = None

    def _connected(self) -> AnyConnection:
        if self._connection is None:
            self._connection = psycopg.connect(self._url, autocommit=True, prepare_threshold=None)
        return self._connection
