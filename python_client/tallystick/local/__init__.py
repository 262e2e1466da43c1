"""A Postgres of one's own, from the pip wheel: no Docker, no root, no package manager.

`LocalServer` keeps one server in one state folder. `tallystick up`, the demo and the tests use it.
"""

from tallystick.local.engine import Engine, find_engine
from tallystick.local.errors import LocalServerError
from tallystick.local.server import DEFAULT_MAJOR, LocalServer, default_state

__all__ = [
    "DEFAULT_MAJOR",
    "Engine",
    "LocalServer",
    "LocalServerError",
    "default_state",
    "find_engine",
]
