"""Deno, which runs the HTTP side: the program of the pip wheel, and where it keeps packages."""

import os
from pathlib import Path

import platformdirs

from tallystick.local.errors import LocalServerError


def deno_program() -> str:
    """Return the path of Deno.

    Raises:
        LocalServerError: It is not installed.
    """
    try:
        import deno  # comes with an extra of its own, as it is large
    except ImportError as error:
        raise LocalServerError("Deno is not installed: pip install 'tallystick[http]'.") from error
    return str(deno.find_deno_bin())


def deno_environment() -> dict[str, str]:
    """Return the environment Deno runs in: ours, and a folder for packages that is ours alone.

    It is in `TALLYSTICK_CACHE`, else in the platform's place for what can be fetched again.
    """
    chosen = os.environ.get("TALLYSTICK_CACHE")
    cache = (
        Path(chosen).expanduser().absolute()
        if chosen
        else platformdirs.user_cache_path("tallystick", appauthor=False)
    )
    return {
        **os.environ,
        "DENO_DIR": str(cache / "deno"),
        "DENO_NO_UPDATE_CHECK": "1",
        "NO_COLOR": "1",
    }
