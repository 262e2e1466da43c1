"""The price list of genai-prices, loaded: what it costs here is what it costs there."""

import json
from collections.abc import Mapping
from datetime import UTC, datetime
from decimal import ROUND_HALF_EVEN, Decimal, localcontext
from typing import Any

import psycopg
import pytest
from genai_prices import Usage
from genai_prices.data_snapshot import get_snapshot
from genai_prices.types import ModelInfo, Provider
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from tallystick import Client, InvalidArgument
from tallystick.pricing.genai import PriceList

CONTEXTS: Mapping[str, list[dict[str, str]]] = {
    "standard": [{}],
    "batch": [{"processing": "batch"}, {"service_tier": "batch"}],
    "fast": [{"service_tier": "fast"}, {"speed": "fast"}],
    "flex": [{"service_tier": "flex"}],
    "priority": [{"service_tier": "priority"}],
}
# Few tokens and many, and both sides of every context threshold.
COUNTS = st.one_of(
    st.just(0),
    st.integers(1, 5_000),
    st.integers(1, 10**8),
    st.sampled_from([32_000, 128_000, 199_999, 200_000, 200_001, 256_000, 272_000, 272_001]),
)
CLASSES = (
    "input_tokens",
    "cache_read_tokens",
    "cache_write_5m_tokens",
    "cache_write_1h_tokens",
    "input_audio_tokens",
    "cache_read_audio_tokens",
    "input_image_tokens",
    "cache_read_image_tokens",
    "output_tokens",
    "reasoning_tokens",
    "output_audio_tokens",
    "output_image_tokens",
    "web_searches",
    "file_searches",
)
USAGES = st.fixed_dictionaries(dict.fromkeys(CLASSES, COUNTS))


def as_the_package_counts(usage: Mapping[str, int]) -> Usage:
    """Turn exclusive classes into the package's counts, which include one another."""
    u = usage
    written = u["cache_write_5m_tokens"] + u["cache_write_1h_tokens"]
    audio = u["input_audio_tokens"] + u["cache_read_audio_tokens"]
    image = u["input_image_tokens"] + u["cache_read_image_tokens"]
    read = u["cache_read_tokens"] + u["cache_read_audio_tokens"] + u["cache_read_image_tokens"]
    plain = u["input_tokens"] + u["cache_read_tokens"]
    special = u["reasoning_tokens"] + u["output_audio_tokens"] + u["output_image_tokens"]
    return Usage(
        input_tokens=plain + written + audio + image,
        cache_read_tokens=read,
        cache_write_tokens=written,
        cache_write_5m_tokens=u["cache_write_5m_tokens"],
        cache_write_1h_tokens=u["cache_write_1h_tokens"],
        input_audio_tokens=audio,
        cache_audio_read_tokens=u["cache_read_audio_tokens"],
        input_image_tokens=image,
        cache_image_read_tokens=u["cache_read_image_tokens"],
        output_tokens=u["output_tokens"] + special,
        output_reasoning_tokens=u["reasoning_tokens"],
        output_audio_tokens=u["output_audio_tokens"],
        output_image_tokens=u["output_image_tokens"],
        web_searches=u["web_searches"],
        storage_searches=u["file_searches"],
    )


def models() -> dict[tuple[str, str], tuple[Provider, ModelInfo]]:
    return {
        (provider.id, model.id): (provider, model)
        for provider in get_snapshot().providers
        for model in provider.models
    }


def context_of(model: ModelInfo, tier: str) -> dict[str, str]:
    whens = [variant.when for variant in model.price_variants or ()]
    return next((each for each in CONTEXTS[tier] if each in whens), {})


def cost_there(usage: Usage, at: datetime, provider: Provider, model: ModelInfo, tier: str) -> str:
    with localcontext(prec=60):
        price = model.calc_price(
            usage,
            provider,
            genai_request_timestamp=at,
            price_context=context_of(model, tier) or None,
        ).total_price
        return f"{price.quantize(Decimal('1e-12'), ROUND_HALF_EVEN).normalize():f}"


@settings(
    max_examples=25,
    deadline=None,
    suppress_health_check=[HealthCheck.function_scoped_fixture, HealthCheck.too_slow],
)
@given(usage=USAGES)
def test_every_model_costs_what_it_costs_in_the_package(
    connection: psycopg.Connection, listed: PriceList, usage: dict[str, int]
) -> None:
    entries: Any = listed.content["prices"]
    keys = sorted({(e["provider"], e["model"], e["service_tier"]) for e in entries})
    assert len(keys) > 2_000
    now = datetime.now(UTC)
    here = connection.execute(
        "select private.cost_at(r.rates, c.counts)"
        " from jsonb_array_elements(%s) with ordinality as k (key, n)"
        " cross join private.find_price("
        "   null, k.key ->> 0, k.key ->> 1, k.key ->> 2, %s, 'infinity') as q"
        " cross join private.rates_of_prompt(q.rates, private.prompt_tokens(%s)) as t (tier)"
        " cross join private.charged_counts(t.tier, %s) as c (counts)"
        " cross join private.charged_rates(t.tier, c.counts, null) as r (rates)"
        " order by k.n",
        [json.dumps(keys), now, *[json.dumps(usage)] * 2],
    ).fetchall()
    known, counts = models(), as_the_package_counts(usage)
    for (provider, model, tier), (cost,) in zip(keys, here, strict=True):
        there = cost_there(counts, now, *known[provider, model], tier)
        assert f"{cost.normalize():f}" == there, (provider, model, tier)


def test_price_usage_is_the_same_computation(priced: Any, listed: PriceList) -> None:
    usage = dict.fromkeys(CLASSES, 0) | {"input_tokens": 123_457, "cache_read_tokens": 99_991}
    known = models()
    now = datetime.now(UTC)
    with Client(priced.url()) as client:
        for provider, model in [("openai", "gpt-4o"), ("google", "gemini-2.5-pro")]:
            priced_usage = client.price_usage(model, usage, provider=provider, at=now)
            there = cost_there(
                as_the_package_counts(usage), now, *known[provider, model], "standard"
            )
            assert f"{priced_usage.cost.normalize():f}" == there


def test_every_name_means_what_it_means_in_the_package(
    connection: psycopg.Connection, listed: PriceList
) -> None:
    snapshot = get_snapshot()
    providers = {provider.id: provider for provider in snapshot.providers}
    entries: Any = listed.content["names"]
    samples = {"exact": "{}", "prefix": "{}-x", "suffix": "x-{}", "contains": "x-{}-x"}
    asked = [
        (entry["provider"], samples[entry["match"]].format(entry["name"]))
        for entry in entries
        if entry["match"] in samples
    ]
    found = connection.execute(
        "select m.provider, m.model from jsonb_array_elements(%s) with ordinality as k (key, n)"
        " cross join private.find_model(k.key ->> 0, k.key ->> 1) as m order by k.n",
        [json.dumps(asked)],
    ).fetchall()
    listed_models = {(e["provider"], e["model"]) for e in listed.content["prices"]}  # type: ignore[attr-defined]
    owners = {id(model): (p.id, model.id) for p in snapshot.providers for model in p.models}
    compared = 0
    for (provider, name), here in zip(asked, found, strict=True):
        model = providers[provider].find_model(name, all_providers=snapshot.providers)
        there = None if model is None else owners[id(model)]
        # What the package does not find, we know by its own id; what has no price, we do not.
        if there in listed_models:
            assert here == there, (provider, name)
            compared += 1
    assert compared > 3_000


@pytest.mark.parametrize(
    ("name", "provider"),
    [
        ("gpt-4o", "openai"),
        ("claude-sonnet-4-5-20250929", "anthropic"),
        ("gemini-2.5-flash", "google"),
        ("mistral-large-latest", "mistral"),
    ],
)
def test_a_name_without_a_provider_is_the_makers(
    connection: psycopg.Connection, name: str, provider: str
) -> None:
    found = connection.execute("select (private.find_model(null, %s)).provider", [name]).fetchone()
    assert found == (provider,)


def test_a_provider_by_the_names_others_have_for_it(connection: psycopg.Connection) -> None:
    names = {"aws.bedrock": "aws", "azure.ai.openai": "azure", "gcp.vertex_ai": "google"}
    for name, provider in names.items():
        found = connection.execute("select private.find_provider(%s)", [name]).fetchone()
        assert found == (provider,)


def test_what_is_left_out_is_named(listed: PriceList) -> None:
    assert listed.skipped
    assert all(each.reason for each in listed.skipped)
    priced = {(e["provider"], e["model"]) for e in listed.content["prices"]}  # type: ignore[attr-defined]
    left_out = {(each.provider, each.model) for each in listed.skipped}
    assert not priced & left_out
    assert priced | left_out == set(models())


def test_a_malformed_list_changes_nothing(
    connection: psycopg.Connection, listed: PriceList
) -> None:
    rows = "select (select count(*) from pricing.prices), (select max(version)::text from"
    rows += " pricing.price_lists where source = 'genai-prices')"
    before = connection.execute(rows).fetchone()
    prices: Any = listed.content["prices"]
    broken = {**listed.content, "prices": [*prices[:-1], {**prices[-1], "rates": [{"input": 1}]}]}
    client = Client(connection)
    with pytest.raises(InvalidArgument), connection.transaction():
        client.load_prices(listed.source, "another", broken, None)
    assert connection.execute(rows).fetchone() == before
