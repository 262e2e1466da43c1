"""Requests are charged today's price of the database, and what it charges is worked out twice."""

from datetime import datetime
from decimal import Decimal

import pytest
from psycopg.conninfo import make_conninfo

from tallystick import Client
from tallystick.pricing.genai import SOURCE, price_list
from tallystick.replay.report import agrees
from tallystick.replay.rows import UsageFileError
from tests.replay.conftest import ReplayFile, WriteFile, before_insert, shown
from tests.support.servers import Database

HEADER = "timestamp,model,prompt_tokens,completion_tokens,cost\n"
# Before gpt-5.6-terra became cheaper, on 30 July 2026.
CALL = "2026-07-01T09:00:00,{model},1000,300,{cost}\n"
MILLION = Decimal(1_000_000)


def call(model: str, cost: str = "") -> str:
    return HEADER + CALL.format(model=model, cost=cost)


def charged(database: Database) -> list[tuple[Decimal, str]]:
    with database.connect() as connection:
        return connection.execute(
            "select cost, cost_basis::text from public.ai_usage_ledger order by created_at"
        ).fetchall()


def test_a_row_from_the_past_costs_what_it_costs_today(
    database: Database, write: WriteFile, replay_file: ReplayFile
) -> None:
    replay = replay_file(write("usage.csv", call("gpt-5.6-terra")), compare=True)
    today = (1000 * Decimal(2) + 300 * Decimal(12)) / MILLION
    assert charged(database) == [(today, "priced"), (today, "stated")]  # the record is told it
    assert agrees(replay)


def test_cached_tokens_batches_and_tiers_have_their_prices(
    database: Database, write: WriteFile, replay_file: ReplayFile
) -> None:
    export = (
        "start_time,model,num_model_requests,input_tokens,input_cached_tokens,output_tokens,"
        "batch,service_tier\n"
        "1759622400,gpt-4o,1,1000,800,300,FALSE,default\n"
        "1759622401,gpt-4o,1,1000,0,300,TRUE,default\n"
        "1759622402,gpt-5,1,1000,0,300,FALSE,flex\n"
    )
    replay = replay_file(write("export.csv", export), compare=True)
    cached = 200 * Decimal("2.5") + 800 * Decimal("1.25") + 300 * Decimal(10)
    batch = (1000 * Decimal("2.5") + 300 * Decimal(10)) / 2
    flex = (1000 * Decimal("1.25") + 300 * Decimal(10)) / 2
    assert [cost * MILLION for cost, _ in charged(database)[:3]] == [cached, batch, flex]
    assert agrees(replay)


@pytest.mark.parametrize(
    ("prepare", "expected"),
    [
        # By contract, with a markup, and by hand: the package knows nothing of any of them.
        ("pricing.set_price('openai', 'gpt-4o', '{rates}', null, null, id)", "0.0016"),
        ("pricing.set_markup(id, 10)", "0.00605"),
        ("pricing.set_price('openai', 'gpt-4o', '{rates}')", "0.0016"),
    ],
)
def test_what_the_organization_pays_is_charged(
    database: Database, write: WriteFile, replay_file: ReplayFile, prepare: str, expected: str
) -> None:
    rates = '{"input_tokens": 1, "output_tokens": 2}'
    with database.connect() as connection:
        Client(connection).create_organization("Acme")
        connection.execute(
            f"select {prepare.replace('{rates}', rates)} from tenancy.organizations".encode()
        )
    replay = replay_file(write("usage.csv", call("gpt-4o")))
    assert charged(database) == [(Decimal(expected), "priced")]
    assert agrees(replay)


def test_a_model_of_ones_own_needs_only_a_price(
    database: Database, write: WriteFile, replay_file: ReplayFile
) -> None:
    path = write("usage.csv", call("our-own-model"))
    with Client(database.url()) as client:
        client.set_price(
            "us", "our-own-model", {"input_tokens": Decimal(3), "output_tokens": Decimal(4)}
        )
    assert agrees(replay_file(path))
    assert charged(database) == [(Decimal("0.0042"), "priced")]


def test_a_model_only_the_package_knows_costs_what_it_cost_then(
    database: Database, write: WriteFile, replay_file: ReplayFile
) -> None:
    # Not in the list, because its price changes with the time of day: 00:30 to 16:30 UTC is dear.
    dear = "2026-11-02T02:00:00,deepseek-chat,1000,300,\n"
    cheap = "2026-11-02T22:00:00,deepseek-chat,1000,300,\n"
    replay = replay_file(write("usage.csv", HEADER + dear + cheap))
    (first, basis), (second, _) = charged(database)
    assert first > second > 0
    assert basis == "stated"
    assert "2 requests by genai-prices: not in the database" in shown(replay)
    assert agrees(replay)


@pytest.mark.parametrize("cost", ["0.07", "0", "0.000000000001"])
def test_a_cost_the_row_states_is_charged(
    database: Database, write: WriteFile, replay_file: ReplayFile, cost: str
) -> None:
    rows = call("gpt-4o", cost) + CALL.format(model="known-to-nobody", cost=cost)
    replay = replay_file(write("usage.csv", rows), compare=True)
    assert charged(database) == [(Decimal(cost), "stated")] * 4
    assert "2 requests as their rows state" in shown(replay)
    assert agrees(replay)


def test_an_unknown_model_is_refused_by_line_and_leaves_nothing(
    database: Database, write: WriteFile, replay_file: ReplayFile
) -> None:
    rows = call("gpt-4o") + CALL.format(model="gpt-4p", cost="")
    with pytest.raises(UsageFileError, match="did you mean gpt-4") as refused:
        replay_file(write("usage.csv", rows))
    assert refused.value.place == "line 3"
    with database.connect() as connection:
        assert connection.execute("select from tenancy.organizations").rowcount == 0


def test_a_price_nobody_has_checked_for_too_long_is_refused_by_line(
    database: Database, write: WriteFile, replay_file: ReplayFile
) -> None:
    with database.connect() as connection:
        connection.execute("update pricing.price_lists set max_age = '1 microsecond'")
    with pytest.raises(UsageFileError, match="tallystick prices sync") as refused:
        replay_file(write("usage.csv", call("gpt-4o")))
    assert refused.value.place == "line 2"
    assert charged(database) == []


def test_a_price_that_goes_stale_meanwhile_refuses(
    database: Database, write: WriteFile, replay_file: ReplayFile
) -> None:
    before_insert(
        database,
        "public.ai_usage_ledger",
        "update pricing.price_lists set max_age = '1 microsecond'",
    )
    replay = replay_file(write("usage.csv", call("gpt-4o") + CALL.format(model="gpt-4o", cost="")))
    assert [each.answer for each in replay.held.run.outcomes] == ["recorded", "without a price"]
    assert "without a price" in shown(replay)


def versions(database: Database) -> dict[str, tuple[str, datetime, object]]:
    with database.connect() as connection:
        rows = connection.execute(
            "select source::text, version::text, checked_at, max_age from pricing.price_lists"
            " where source <> 'manual'"
        ).fetchall()
    return {source: tuple(rest) for source, *rest in rows}


def test_where_there_is_no_price_list_it_is_loaded_once(
    unpriced_database: Database, write: WriteFile, replay_into: ReplayFile
) -> None:
    path = write("usage.csv", call("gpt-4o"))
    listed = price_list()
    first = replay_into(unpriced_database.url(), path)
    assert first.prices_loaded == listed.version
    assert f"genai-prices {listed.version} was loaded" in shown(first)
    assert charged(unpriced_database) == [(Decimal("0.0055"), "priced")]
    before = versions(unpriced_database)
    assert before[SOURCE][0] == listed.version
    second = replay_into(unpriced_database.url(), path)
    assert second.prices_loaded is None
    assert versions(unpriced_database) == before


def test_another_price_list_is_left_as_it_is(
    unpriced_database: Database, write: WriteFile, replay_into: ReplayFile
) -> None:
    newer = {
        "providers": [{"id": "openai", "name": "OpenAI", "aliases": []}],
        "names": [
            {
                "provider": "openai",
                "match": "exact",
                "name": "gpt-4o",
                "rank": 1,
                "model_provider": "openai",
                "model": "gpt-4o",
                "is_default": True,
            }
        ],
        "prices": [
            {
                "provider": "openai",
                "model": "gpt-4o",
                "service_tier": "standard",
                "effective_from": "-infinity",
                "rates": [{"above_input_tokens": 0, "input_tokens": "1", "output_tokens": "2"}],
            }
        ],
    }
    with Client(unpriced_database.url()) as client:
        client.load_prices(SOURCE, "9999.0", newer, None)
    before = versions(unpriced_database)
    replay = replay_into(unpriced_database.url(), write("usage.csv", call("gpt-4o")))
    assert versions(unpriced_database) == before
    assert charged(unpriced_database) == [(Decimal("0.0016"), "priced")]
    assert agrees(replay)


def test_who_may_not_load_prices_states_them(
    unpriced_database: Database, write: WriteFile, replay_into: ReplayFile
) -> None:
    with Client(unpriced_database.url()) as client:
        client.create_organization("Acme")
    server = unpriced_database.server
    replay = replay_into(
        make_conninfo(server.admin_url, dbname=unpriced_database.name, options="-c role=app_user"),
        write("usage.csv", call("gpt-5.6-terra")),
        workflow_limit=None,
        monthly_limit=None,
    )
    assert replay.prices_loaded is None
    assert versions(unpriced_database) == {}
    then = (1000 * Decimal("2.5") + 300 * Decimal(15)) / MILLION
    assert charged(unpriced_database) == [(then, "stated")]
    assert agrees(replay)
