"""How amounts of money are typed."""

from decimal import Decimal, InvalidOperation

import typer


def dollars(text: str) -> Decimal:
    """Read an amount of US dollars, with or without the sign."""
    try:
        return Decimal(text.removeprefix("$"))
    except InvalidOperation as error:
        raise typer.BadParameter(f"{text!r} is not an amount of US dollars") from error


def dollars_or_none(text: str) -> Decimal | None:
    """Read an amount of US dollars, or the word "none"."""
    return None if text.lower() == "none" else dollars(text)


def number_or_none(text: str) -> Decimal | None:
    """Read a number, or the word "none"."""
    try:
        return None if text.lower() == "none" else Decimal(text.removesuffix("%"))
    except InvalidOperation as error:
        raise typer.BadParameter(f"{text!r} is not a number") from error
