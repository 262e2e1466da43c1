"""From what a provider's API reports to exclusive token classes.

    from tallystick.adapters import Meter, read

    reading = read(openai_client.responses.create(...))    # or anthropic's, google-genai's, ...
    client.settle_spend(hold_id, usage=reading.counts.as_usage())

    meter = Meter()
    for event in anthropic_client.messages.create(..., stream=True):
        meter.see(event)
    reading = meter.reading                                # None if no usage was reported

It works on the objects of the providers' packages and on decoded JSON, and imports none of them.
Whose they are is told by their class, or by what only one API sends. Where that is not certain,
name the provider: "openai" (also what speaks its API), "anthropic", "gemini", "bedrock", "mistral",
or "otel" for the attributes of an OpenTelemetry span. Which count of a provider includes which is
said in the module of its name.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Protocol

from tallystick.adapters import anthropic, bedrock, gemini, mistral, openai, otel
from tallystick.adapters.fields import NoUsage, Reading, Report, UnknownUsage, get

__all__ = ["Meter", "NoUsage", "Reading", "UnknownUsage", "read"]


class _Adapter(Protocol):
    """What the module of a provider offers."""

    PACKAGE: str | None
    """The Python package whose objects are this provider's."""

    def recognizes(self, event: Mapping[str, object]) -> bool:
        """Tell whether a mapping is unmistakably this provider's."""

    def report(self, event: object) -> Report:
        """Read what a response or event states."""

    def reading(self, report: Report) -> Reading:
        """Make the counts exclusive."""

    def is_piece(self, event: object) -> bool:
        """Tell whether an event brings something the model generated."""


_ADAPTERS: Mapping[str, _Adapter] = {
    "anthropic": anthropic,
    "bedrock": bedrock,
    "gemini": gemini,
    "mistral": mistral,  # before openai, whose API it extends
    "openai": openai,
    "otel": otel,
}


def read(response: object, provider: str | None = None) -> Reading:
    """Read the usage of a whole response.

    Args:
        response: the response, as the provider's package or decoded JSON has it; an event that
            states all the usage of its stream; or a usage object by itself, which as decoded JSON
            needs `provider`.
        provider: whose it is; see the module.

    Raises:
        UnknownUsage: whose it is cannot be told, or a count holds something else.
        NoUsage: it reports no usage.
        ValueError: there is no such provider.
    """
    meter = Meter(provider)
    meter.see(response)
    reading = meter.reading
    if reading is None:
        raise NoUsage(
            f"this {type(response).__name__} reports no usage; a stream does at its end, and "
            "OpenAI's chat completions only with stream_options={'include_usage': True}"
        )
    return reading


class Meter:
    """Reads the usage of one call from the events of its stream, or from a whole response.

    Providers count up while they stream, so what they state is merged as they state it and made
    exclusive only then. One meter is for one call.
    """

    def __init__(self, provider: str | None = None) -> None:
        """Start at nothing.

        Args:
            provider: whose events these are; by default the first event must tell.

        Raises:
            ValueError: there is no such provider.
        """
        self._adapter = None if provider is None else _named(provider)
        self._report = Report()
        self._events = 0
        self._pieces = 0

    def see(self, event: object) -> None:
        """Take in the next event.

        Raises:
            UnknownUsage: whose it is cannot be told, or a count holds something else.
        """
        if self._adapter is None:
            self._adapter = _detected(event)
        self._events += 1
        self._pieces += self._adapter.is_piece(event)
        self._report = self._report.updated(self._adapter.report(event))

    @property
    def reading(self) -> Reading | None:
        """The usage as last stated; None while there was none."""
        if self._adapter is None or not self._report.counts:
            return None
        return self._adapter.reading(self._report)

    @property
    def events(self) -> int:
        """How many events it saw."""
        return self._events

    @property
    def pieces(self) -> int:
        """How many of them brought generated content: text, tool arguments, reasoning.

        Where usage comes only at the end and a stream is cut off, they are what is left to estimate
        the output by: mostly a token or a few each.
        """
        return self._pieces


def _named(provider: str) -> _Adapter:
    adapter = _ADAPTERS.get(provider)
    if adapter is None:
        raise ValueError(f"there is no provider {provider!r}, but {', '.join(_ADAPTERS)}")
    return adapter


def _detected(event: object) -> _Adapter:
    modules = {f"{base.__module__}." for base in type(event).__mro__}
    for adapter in _ADAPTERS.values():
        if adapter.PACKAGE and any(name.startswith(f"{adapter.PACKAGE}.") for name in modules):
            return adapter
    attributes = get(event, "attributes")
    if isinstance(event, Mapping):
        for adapter in _ADAPTERS.values():
            if adapter.recognizes(event):
                return adapter
    elif isinstance(attributes, Mapping) and otel.recognizes(attributes):
        return otel
    raise UnknownUsage(
        f"whose usage is this? Seen: {_seen(event)}. Name the provider: "
        + ", ".join(f"provider={name!r}" for name in _ADAPTERS)
    )


def _seen(event: object) -> str:
    """Describe an event by its kind, without what is in it."""
    if not isinstance(event, Mapping):
        return f"a {type(event).__module__}.{type(event).__qualname__}"
    return "the keys " + (", ".join(sorted(map(str, event))[:12]) or "(none)")
