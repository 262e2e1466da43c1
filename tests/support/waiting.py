"""A caller that waits for another's counter, for as long as a test looks."""

from collections.abc import Iterator
from contextlib import contextmanager
from decimal import Decimal
from uuid import UUID

from tallystick import Client
from tests.support.races import PATIENCE, Connection, rivals
from tests.support.servers import Database


def _ask(connection: Connection, organization_id: UUID) -> None:
    Client(connection).authorize_spend(organization_id, estimated_cost=Decimal("0.01"))


@contextmanager
def waiting_caller(database: Database, organization_id: UUID) -> Iterator[None]:
    """Let one caller wait for the organization's own budget, which another has in use."""
    with rivals(database) as (first, second):
        first.do(_ask, organization_id)
        asked = second.start(_ask, organization_id)
        second.wait_until_blocked(asked)
        try:
            yield
        finally:
            first.commit()
            asked.result(PATIENCE)
            second.commit()
