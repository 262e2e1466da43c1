"""What a model call cost, from the price lists of the `genai-prices` package.

The prices are those in force when the call was made. Amounts are exact decimals and are rounded
once, half to even, at 12 decimals. A cost that the row states itself always wins.
"""

from __future__ import annotations

import difflib
from decimal import localcontext
from functools import lru_cache
from typing import TYPE_CHECKING

from genai_prices import Usage, calc_price
from genai_prices.data_snapshot import get_snapshot

from tallystick.replay.money import PRECISION, rounded

if TYPE_CHECKING:
    from collections.abc import Iterable
    from datetime import datetime
    from decimal import Decimal

    from tallystick.replay.rows import UsageRow

# Makes the package read "openai/gpt-4o" as provider and model, the way LiteLLM writes them.
_NAMES_MAY_CARRY_A_PROVIDER = "litellm"
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


def cost_of(row: UsageRow, model: str) -> Decimal:
    """Return the cost of a row in US dollars: stated, else derived from tokens and price.

    Raises:
        UnknownModel: the row states no cost and no price list knows the model.
    """
    if row.cost is not None:
        return row.cost
    try:
        return _price(
            model,
            row.prompt_tokens,
            row.completion_tokens,
            row.cached_tokens,
            row.at,
            row.batch,
            row.service_tier,
        )
    except LookupError as error:
        raise UnknownModel(model, near_matches(model)) from error


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
    at: datetime,
    batch: bool,
    service_tier: str | None,
) -> Decimal:
    usage = Usage(
        input_tokens=prompt_tokens,
        output_tokens=completion_tokens,
        cache_read_tokens=cached_tokens or None,
    )
    context = {"processing": "batch"} if batch else {}
    if service_tier:
        context["service_tier"] = service_tier
    with localcontext(prec=PRECISION):
        calculation = calc_price(
            usage,
            model,
            provider_id=_NAMES_MAY_CARRY_A_PROVIDER,
            # A discount's date is when the package learnt of it, not when it began, so discounts
            # are taken from today's list.
            genai_request_timestamp=None if context else at,
            price_context=context or None,
        )
    return rounded(calculation.total_price)
