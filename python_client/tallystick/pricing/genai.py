"""The price list of the package genai-prices, as `Client.load_prices` takes it.

What the package knows and Tallystick does not count, or not by date, is left out and named: a model
with a part of its price missing would be charged too little. Those can be priced by hand.
"""

from __future__ import annotations

import re
from collections import Counter
from dataclasses import dataclass
from datetime import UTC, datetime, time
from decimal import Decimal
from importlib.metadata import version
from typing import TYPE_CHECKING, TypeAlias

from genai_prices.data_snapshot import DataSnapshot, get_snapshot
from genai_prices.types import (
    ClauseAnd,
    ClauseContains,
    ClauseEndsWith,
    ClauseEquals,
    ClauseOr,
    ClauseRegex,
    ClauseStartsWith,
    ConditionalPrice,
    ModelInfo,
    ModelPrice,
    Provider,
    StartDateConstraint,
    TieredPrices,
    TimeOfDateConstraint,
)

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator, Mapping

__all__ = ["SOURCE", "PriceList", "Skipped", "price_list"]

SOURCE = "genai-prices"

Entry: TypeAlias = dict[str, object]
Rates: TypeAlias = list[dict[str, object]]

# The package's price keys: our token class, and what makes it US dollars per million.
_CLASSES: Mapping[str, tuple[str, int]] = {
    "input_mtok": ("input_tokens", 1),
    "cache_read_mtok": ("cache_read_tokens", 1),
    "cache_write_mtok": ("cache_write_5m_tokens", 1),
    "cache_write_5m_mtok": ("cache_write_5m_tokens", 1),
    "cache_write_1h_mtok": ("cache_write_1h_tokens", 1),
    "input_audio_mtok": ("input_audio_tokens", 1),
    "cache_audio_read_mtok": ("cache_read_audio_tokens", 1),
    "input_image_mtok": ("input_image_tokens", 1),
    "cache_image_read_mtok": ("cache_read_image_tokens", 1),
    "output_mtok": ("output_tokens", 1),
    "output_reasoning_mtok": ("reasoning_tokens", 1),
    "output_audio_mtok": ("output_audio_tokens", 1),
    "output_image_mtok": ("output_image_tokens", 1),
    "requests_kcount": ("requests", 1000),
    "web_searches_kcount": ("web_searches", 1000),
    "storage_searches_kcount": ("file_searches", 1000),
}

# The context by which the package finds a discount, and what we call it; any other is left out.
_TIERS: Mapping[tuple[str, str], str] = {
    ("processing", "batch"): "batch",
    ("speed", "fast"): "fast",
    ("service_tier", "batch"): "batch",
    ("service_tier", "fast"): "fast",
    ("service_tier", "flex"): "flex",
    ("service_tier", "priority"): "priority",
}
_STANDARD = "standard"

# How others spell providers: OpenTelemetry's gen_ai.provider.name, LiteLLM, the SDKs themselves.
_SPELLINGS: Mapping[str, tuple[str, ...]] = {
    "anthropic": ("claude",),
    "aws": ("aws.bedrock", "bedrock", "amazon", "amazon_bedrock", "aws_bedrock"),
    "azure": ("azure.ai.openai", "azure.ai.inference", "az.ai.openai", "azure_ai", "azure_openai"),
    "cohere": ("cohere_chat",),
    "fireworks": ("fireworks_ai",),
    "google": (
        "gcp.gemini",
        "gcp.gen_ai",
        "gcp.vertex_ai",
        "gemini",
        "google_genai",
        "google-gla",
        "google-vertex",
        "vertex_ai",
        "vertexai",
    ),
    "mistral": ("mistral_ai", "mistralai"),
    "moonshotai": ("moonshot",),
    "together": ("together_ai", "together-ai"),
    "x-ai": ("x_ai", "xai"),
}

_BEGINNING = "-infinity"
_LONG_AGO = datetime(1970, 1, 1, tzinfo=UTC)


@dataclass(frozen=True, slots=True)
class Skipped:
    """A model that is left out.

    Attributes:
        provider: who serves it.
        model: its name in the package.
        reason: why.
    """

    provider: str
    model: str
    reason: str


@dataclass(frozen=True, slots=True)
class PriceList:
    """A price list to load.

    Attributes:
        source: its name.
        version: the version of the package it is from.
        content: what `Client.load_prices` takes.
        skipped: the models that are left out.
    """

    source: str
    version: str
    content: Mapping[str, object]
    skipped: tuple[Skipped, ...]


class _CannotBePriced(Exception):  # noqa: N818 - always turned into Skipped
    """Says why a model is left out."""


def price_list(snapshot: DataSnapshot | None = None) -> PriceList:
    """Return the price list of the installed package, or of a snapshot it has made."""
    data = snapshot or get_snapshot()
    prices: list[Entry] = []
    skipped: list[Skipped] = []
    for provider in data.providers:
        for model in provider.models:
            try:
                prices.extend(_prices(provider, model))
            except _CannotBePriced as reason:
                skipped.append(Skipped(provider.id, model.id, str(reason)))
    listed = {(entry["provider"], entry["model"]) for entry in prices}
    return PriceList(
        source=SOURCE,
        version=version("genai-prices"),
        content={
            "providers": [
                {"id": each.id, "name": each.name, "aliases": list(_SPELLINGS.get(each.id, ()))}
                for each in data.providers
            ],
            "names": [entry for entry in _names(data) if _target(entry) in listed],
            "prices": prices,
        },
        skipped=tuple(skipped),
    )


def _target(entry: Entry) -> tuple[object, object]:
    return entry["model_provider"], entry["model"]


def _prices(provider: Provider, model: ModelInfo) -> Iterator[Entry]:
    conditional = (
        model.prices
        if isinstance(model.prices, list)
        else [ConditionalPrice(None, prices=model.prices)]
    )
    if any(isinstance(each.constraint, TimeOfDateConstraint) for each in conditional):
        raise _CannotBePriced("its price changes with the time of day")
    starts = [_start(each.constraint) for each in conditional]
    yield from _timeline(provider, model, _STANDARD, starts, {})
    for (key, value), tier in _TIERS.items():
        variants = [each for each in model.price_variants or () if each.when == {key: value}]
        if variants:
            first = min(_start(each.constraint) for each in variants)
            later = [start for start in starts if start > first]
            yield from _timeline(
                provider,
                model,
                tier,
                [*(_start(each.constraint) for each in variants), *later],
                {key: value},
            )


def _start(constraint: object) -> datetime:
    if constraint is None:
        return _LONG_AGO
    if isinstance(constraint, StartDateConstraint):
        return datetime.combine(constraint.start_date, time(), UTC)
    raise _CannotBePriced("its price changes with the time of day")


def _timeline(
    provider: Provider,
    model: ModelInfo,
    tier: str,
    starts: Iterable[datetime],
    context: Mapping[str, str],
) -> Iterator[Entry]:
    last: Rates | None = None
    for start in sorted(set(starts)):
        rates = _rates(model.get_prices(start, context or None))
        if rates != last:
            yield {
                "provider": provider.id,
                "model": model.id,
                "service_tier": tier,
                "effective_from": _BEGINNING if start == _LONG_AGO else start.isoformat(),
                "rates": rates,
            }
        last = rates


def _rates(price: ModelPrice) -> Rates:
    priced = {key: value for key, value in vars(price).items() if value is not None}
    if unknown := sorted(priced.keys() - _CLASSES.keys()):
        raise _CannotBePriced(f"it is priced by {', '.join(unknown)}")
    if not priced:
        raise _CannotBePriced("it has no price")
    thresholds = sorted(
        {
            tier.start
            for value in priced.values()
            if isinstance(value, TieredPrices)
            for tier in value.tiers
        }
    )
    return [_tier(priced, above) for above in [0, *thresholds]]


def _tier(priced: Mapping[str, Decimal | TieredPrices], above: int) -> dict[str, object]:
    # What the package does not price costs nothing there: an embedding has no output.
    rates: dict[str, object] = {
        "above_input_tokens": above,
        "input_tokens": "0",
        "output_tokens": "0",
    }
    for key, value in priced.items():
        name, factor = _CLASSES[key]
        rates[name] = f"{_at(value, above) * factor:f}"
    return rates


def _at(value: Decimal | TieredPrices, above: int) -> Decimal:
    if isinstance(value, Decimal):
        return value
    reached = [tier.price for tier in value.tiers if tier.start <= above]
    return reached[-1] if above and reached else value.base


def _names(data: DataSnapshot) -> Iterator[Entry]:
    """Yield every name once per provider and way of comparing; the package takes the first."""
    seen: set[tuple[str, str, str]] = set()
    ranks: Counter[str] = Counter()
    for provider in data.providers:
        for owner, model in _sold_by(provider, data):
            for match, name in _ways_to_name(model):
                key = provider.id, match, name
                # What a provider calls its own, nobody else's model is.
                own = owner is provider or not any(each.is_match(name) for each in provider.models)
                if own and key not in seen:
                    seen.add(key)
                    ranks[provider.id] += 1
                    yield {
                        "provider": provider.id,
                        "match": match,
                        "name": name,
                        "rank": ranks[provider.id],
                        "model_provider": owner.id,
                        "model": model.id,
                        "is_default": owner is provider
                        and _is_default(data, provider, model, match, name),
                    }


def _sold_by(provider: Provider, data: DataSnapshot) -> Iterator[tuple[Provider, ModelInfo]]:
    for model in provider.models:
        yield provider, model
    for fallback in provider.fallback_model_providers or ():
        for other in data.providers:
            if other.id == fallback:
                for model in other.models:
                    yield other, model


def _ways_to_name(model: ModelInfo) -> Iterator[tuple[str, str]]:
    for clause in _alternatives(model.match):
        match clause:
            case ClauseEquals():
                yield "exact", clause.equals.lower()
            case ClauseStartsWith():
                yield "prefix", clause.starts_with.lower()
            case ClauseEndsWith():
                yield "suffix", clause.ends_with.lower()
            case ClauseContains():
                yield "contains", clause.contains.lower()
            case _:
                yield "regex", _regex(clause)
    yield "exact", model.id.lower()


def _alternatives(clause: object) -> Iterator[object]:
    if isinstance(clause, ClauseOr):
        for each in clause.or_:
            yield from _alternatives(each)
    else:
        yield clause


def _regex(clause: object) -> str:
    match clause:
        case ClauseRegex():
            return clause.regex
        case ClauseAnd():
            return "^" + "".join(f"(?={_regex(each)})" for each in clause.and_)
        case ClauseOr():
            return "(?:" + "|".join(_regex(each) for each in clause.or_) + ")"
        case ClauseEquals():
            return f"^{re.escape(clause.equals.lower())}$"
        case ClauseStartsWith():
            return f"^{re.escape(clause.starts_with.lower())}"
        case ClauseEndsWith():
            return f".*{re.escape(clause.ends_with.lower())}$"
        case ClauseContains():
            return f".*{re.escape(clause.contains.lower())}"
        case _:
            raise TypeError(f"an unknown way to name a model: {clause}")


def _is_default(
    data: DataSnapshot, provider: Provider, model: ModelInfo, match: str, name: str
) -> bool:
    """Tell whether the name, without a provider, is looked up at this one."""
    reference = name if match in ("exact", "prefix") else model.id.lower()
    try:
        return data.find_provider(reference, None, None) is provider
    except LookupError:
        return False
