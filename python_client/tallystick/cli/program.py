"""How this tool is typed where it runs."""

import os
import shlex
import shutil
import sys
from pathlib import Path


def program() -> str:
    """Return what to type for `tallystick`: the name when it is on PATH, else its quoted path."""
    if shutil.which("tallystick"):
        return "tallystick"
    script = Path(sys.executable).with_name("tallystick.exe" if os.name == "nt" else "tallystick")
    if script.exists():
        return shlex.quote(str(script))
    return f"{shlex.quote(sys.executable)} -m tallystick.cli.main"
