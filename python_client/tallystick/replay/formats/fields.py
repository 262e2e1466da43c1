"""Reading single fields exactly: counts, money, times, texts."""

from __future__ import annotations

import csv
from datetime import UTC, datetime
from decimal import Decimal, InvalidOperation
from io import StringIO
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Collection, Iterator, Mapping

    Record = Mapping[str, object]

_LARGEST_COUNT = 2**31 - 1  # integer in the ledger
_MONEY_BELOW = Decimal(10) ** 12  # numeric(24,12)
MONEY_DECIMALS = 12
_LONGEST_TEXT = 255


class Problem(Exception):  # noqa: N818 - always turned into UsageFileError, which names the file
    """What is wrong, and where in the file.

    Attributes:
        what: the problem.
        place: for example ``line 7``; empty for the file as a whole.
    """

    def __init__(self, what: str, place: str = "") -> None:
        """Keep what and where."""
        super().__init__(what)
        self.what = what
        self.place = place


def csv_records(text: str, required: Collection[str]) -> Iterator[tuple[str, dict[str, str]]]:
    """Yield place and fields of each CSV record; blank lines are left out.

    Raises:
        Problem: a required column is missing, or a record has too few or too many fields.
    """
    reader = csv.reader(StringIO(text, newline=""), strict=True)
    header = next(reader, [])
    missing = [column for column in required if column not in header]
    if missing:
        raise Problem(f"the column {missing[0]} is missing", "line 1")
    try:
        for fields in reader:
            place = f"line {reader.line_num}"
            if not fields:
                continue
            if len(fields) != len(header):
                raise Problem(f"{len(fields)} fields where the header has {len(header)}", place)
            yield place, dict(zip(header, fields, strict=True))
    except csv.Error as error:
        raise Problem(str(error), f"line {reader.line_num}") from error


def count(record: Record, name: str, place: str) -> int:
    """Read a number of tokens or requests: whole, at least 0, at most 2,147,483,647."""
    number = _decimal(record.get(name))
    if number is None or number != number.to_integral_value() or number < 0:
        raise Problem(
            f"{name} must be a whole number of at least 0, not {_shown(record, name)}", place
        )
    if number > _LARGEST_COUNT:
        raise Problem(f"{name} is above {_LARGEST_COUNT}: {_shown(record, name)}", place)
    return int(number)


def money(record: Record, name: str, place: str) -> Decimal:
    """Read US dollars: finite, at least 0. Decimals are kept as they are."""
    amount = _decimal(record.get(name))
    if amount is None or amount < 0:
        raise Problem(f"{name} must be an amount of at least 0, not {_shown(record, name)}", place)
    if amount >= _MONEY_BELOW:
        raise Problem(f"{name} is too large: {_shown(record, name)}", place)
    return amount


def moment(record: Record, name: str, place: str) -> datetime:
    """Read an ISO 8601 time or Unix seconds; a time without a zone is UTC."""
    value = record.get(name)
    seconds = _decimal(value)
    try:
        if seconds is not None:
            return datetime.fromtimestamp(int(seconds), UTC)
        at = datetime.fromisoformat(str(value).strip())
        return at.replace(tzinfo=UTC) if at.tzinfo is None else at.astimezone(UTC)
    except (ValueError, OverflowError, OSError) as error:
        raise Problem(f"{name} is not a time: {_shown(record, name)}", place) from error


def optional_text(record: Record, name: str, place: str) -> str | None:
    """Read a text of at most 255 characters; empty or missing is None."""
    value = record.get(name)
    if value is None or value == "":
        return None
    if not isinstance(value, str) or len(value) > _LONGEST_TEXT or not value.isprintable():
        raise Problem(f"{name} must be a text of at most 255 printable characters", place)
    return value.strip() or None


def _decimal(value: object) -> Decimal | None:
    """The finite number in a JSON value or a CSV field, or None."""
    if isinstance(value, bool) or not isinstance(value, int | Decimal | str):
        return None
    try:
        number = Decimal(value)
    except InvalidOperation:
        return None
    return number if number.is_finite() else None


def _shown(record: Record, name: str) -> str:
    return "missing" if record.get(name) is None else repr(str(record[name]))[:60]
