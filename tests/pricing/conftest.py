"""A database with the price list of the package genai-prices, for all tests of this folder."""

from collections.abc import Iterator

import psycopg
import pytest

from tallystick import Client
from tallystick.pricing.genai import PriceList, price_list
from tests.support.servers import Database, Server


@pytest.fixture(scope="session")
def listed() -> PriceList:
    return price_list()


@pytest.fixture(scope="session")
def priced(server: Server, template: str, listed: PriceList) -> Iterator[Database]:
    with server.clone(template) as database:
        with Client(database.url()) as client:
            client.load_prices(listed.source, listed.version, listed.content, None)
        yield database


@pytest.fixture
def connection(priced: Database) -> Iterator[psycopg.Connection]:
    """A connection whose work is undone."""
    with priced.connect() as connection:
        yield connection
        connection.rollback()
