"""Waiting for what happens elsewhere."""

import time
from collections.abc import Callable

PATIENCE = 30  # seconds; far above what anything takes


def eventually(found: Callable[[], object]) -> None:
    """Wait until something is there."""
    deadline = time.monotonic() + PATIENCE
    while not found():
        assert time.monotonic() < deadline, "it never came"
        time.sleep(0.02)
