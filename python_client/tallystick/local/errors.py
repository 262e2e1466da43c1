"""The one error of the local server."""


class LocalServerError(Exception):
    """The local server cannot do what was asked; the message says why and what to do next."""
