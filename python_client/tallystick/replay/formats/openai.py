"""OpenAI's usage of completions: the dashboard's CSV export, or pages of the usage API as JSON.

Both hold buckets (a minute, an hour, a day): how many requests a model got and their tokens in
sum. The size of each request is not in it, so a bucket of n requests is replayed as n requests of
equal size, the remainder spread over the first ones: requests, tokens and, up to its rounding,
cost add up to the bucket. ``input_tokens`` includes cached ones. The project is the workflow.

A request's id is its bucket (start, model, project, and what else the export is grouped by) and its
number in it, so a later export finds the buckets recorded before. A bucket that has grown since is
an error, not a second record: replay buckets that are over.

Audio has prices of its own that depend on a split the buckets do not tell reliably, so a bucket
with audio tokens is an error rather than a wrong amount.
"""

from __future__ import annotations

import hashlib
import json
from decimal import Decimal
from typing import TYPE_CHECKING

from tallystick.replay.formats.fields import Problem, count, csv_records, moment, optional_text
from tallystick.replay.rows import UsageRow

if TYPE_CHECKING:
    from collections import Counter
    from collections.abc import Iterator, Mapping

COLUMNS = frozenset({"start_time", "num_model_requests", "input_tokens", "output_tokens"})
_AUDIO = ("input_audio_tokens", "output_audio_tokens")
_GROUPS = ("project_id", "user_id", "api_key_id", "model", "service_tier")
_EMPTY = "empty time buckets"


def is_json(text: str) -> bool:
    """Tell whether a JSON text starts like a page of the usage API."""
    return text.startswith("{") and '"bucket"' in text[:2000]


def read(text: str, skipped: Counter[str]) -> Iterator[UsageRow]:
    """Yield the requests of a CSV export or of JSON pages, bucket by bucket."""
    records = _pages(text) if text.lstrip().startswith("{") else csv_records(text, sorted(COLUMNS))
    for place, record in records:
        if record.get("num_model_requests") in (None, "", 0):
            skipped[_EMPTY] += 1
            continue
        yield from _requests(record, place)


def _requests(record: Mapping[str, object], place: str) -> Iterator[UsageRow]:
    requests = count(record, "num_model_requests", place)
    if any(record.get(name) and count(record, name, place) for name in _AUDIO):
        raise Problem("audio tokens cannot be priced from usage buckets", place)
    prompt = count(record, "input_tokens", place)
    cached = count(record, "input_cached_tokens", place) if _has_cached(record) else 0
    if cached > prompt:
        raise Problem("input_cached_tokens is above input_tokens", place)
    completion = count(record, "output_tokens", place)
    at = moment(record, "start_time", place)
    batch = str(record.get("batch")).lower() == "true"
    groups = {name: optional_text(record, name, place) for name in _GROUPS}
    bucket = _digest([at.isoformat(), batch, *groups.values()])
    for index in range(requests):
        yield UsageRow(
            place=place,
            at=at,
            model=groups["model"],
            prompt_tokens=_share(cached, requests, index)
            + _share(prompt - cached, requests, index),
            completion_tokens=_share(completion, requests, index),
            cached_tokens=_share(cached, requests, index),
            batch=batch,
            service_tier=groups["service_tier"],
            workflow=groups["project_id"],
            request_id=f"openai:{bucket}:{index + 1}",
        )


def _digest(identity: list[object]) -> str:
    return hashlib.sha256(json.dumps(identity).encode()).hexdigest()[:40]


def _has_cached(record: Mapping[str, object]) -> bool:
    return record.get("input_cached_tokens") not in (None, "")


def _share(total: int, parts: int, index: int) -> int:
    return total // parts + (1 if index < total % parts else 0)


def _pages(text: str) -> Iterator[tuple[str, Mapping[str, object]]]:
    """Yield the results in the buckets of one JSON page, or of several, one after the other."""
    decoder, position, page = json.JSONDecoder(parse_float=Decimal), 0, 0
    text = text.strip()
    while position < len(text):
        try:
            document, end = decoder.raw_decode(text, position)
            buckets = document["data"]
            for number, bucket in enumerate(buckets):
                place = f"page {page + 1}, data[{number}]"
                for index, result in enumerate(bucket["results"]):
                    yield f"{place}.results[{index}]", {**bucket, **result}
        except (json.JSONDecodeError, KeyError, TypeError) as error:
            raise Problem(
                f"this is not a page of the usage API: {error}", f"page {page + 1}"
            ) from error
        position = end + len(text[end:]) - len(text[end:].lstrip())
        page += 1
