"""What a model call costs, today or when it was made, by the package `genai-prices`.

Amounts are exact decimals and are rounded once, half to even, at 12 decimals.
"""

from __future__ import annotations

import difflib
from dataclasses import dataclass
from decimal import localcontext
from functools import lru_cache
from typing import TYPE_CHECKING

from genai_prices import Usage, calc_price
from genai_prices.data_snapshot import get_snapshot

from tallystick.money import PRECISION, rounded

if TYPE_CHECKING:
    from collections.abc import Iterable
    from datetime import datetime
    from decimal import Decimal

    from tallystick.replay.plan import Request

# Makes the package read "openai/gpt-4o" as provider and model, the way LiteLLM writes them.
_NAMES_MAY_CARRY_A_PROVIDER = "litellm"
# Under which of these a model has its tiers depends on the provider.
_TIER_KEYS = ("processing", "service_tier", "speed")
_SHOWN_MATCHES = 5
_SIMILARITY = 0.5


class UnknownModel(Exception):  # noqa: N818 - named after what happened, like the client's errors
    """No price list knows the model; the message names near matches.

    Attributes:
        model: the name that was not found.
        near: the most similar known names, best first.
    """

    def __init__(self, model: str, near: list[str]) -> None:
        """Keep the name and what it may have meant."""
        hint = f"; did you mean {', '.join(near)}?" if near else ""
        super().__init__(f"no price is known for the model {model!r}{hint}")
        self.model = model
        self.near = near


@dataclass(frozen=True, slots=True)
class PackagePrice:
    """What the package says a call costs.

    Attributes:
        provider: whose price it is.
        model: the model it took the name for.
        cost: US dollars, at most 12 decimals.
    """

    provider: str
    model: str
    cost: Decimal


def package_price(request: Request, at: datetime | None = None) -> PackagePrice:
    """Return what the package says a call like this one costs.

    Args:
        request: the call.
        at: when it is made; None for now.

    Raises:
        UnknownModel: the package does not know the model.
    """
    try:
        return _price(
            request.model,
            request.prompt_tokens,
            request.completion_tokens,
            request.cached_tokens,
            request.service_tier,
            at,
        )
    except LookupError as error:
        raise UnknownModel(request.model, near_matches(request.model)) from error


def near_matches(model: str) -> list[str]:
    """Return the known model names most similar to one that is not known, best first."""
    wanted = model.rsplit("/", 1)[-1].lower()
    return difflib.get_close_matches(wanted, _known_models(), _SHOWN_MATCHES, _SIMILARITY)


@lru_cache(maxsize=1)
def _known_models() -> Iterable[str]:
    providers = get_snapshot().providers
    return sorted({model.id.rsplit("/", 1)[-1] for each in providers for model in each.models})


@lru_cache(maxsize=4096)  # rows of one usage bucket repeat the same figures
def _price(
    model: str,
    prompt_tokens: int,
    completion_tokens: int,
    cached_tokens: int,
    service_tier: str | None,
    at: datetime | None,
) -> PackagePrice:
    usage = Usage(
        input_tokens=prompt_tokens,
        output_tokens=completion_tokens,
        cache_read_tokens=cached_tokens or None,
    )
    with localcontext(prec=PRECISION):
        calculation = calc_price(
            usage,
            model,
            provider_id=_NAMES_MAY_CARRY_A_PROVIDER,
            # A discount's date is when the package learnt of it, not when it began, so discounts
            # are taken from today's list.
            genai_request_timestamp=None if service_tier else at,
            price_context=dict.fromkeys(_TIER_KEYS, service_tier.lower()) if service_tier else None,
        )
    cost = rounded(calculation.total_price)
    return PackagePrice(calculation.provider.id, calculation.model.id, cost)
