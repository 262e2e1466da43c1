"""Deno from a test: the program of the wheel, with the packages in the tree's cache."""

import subprocess
from collections.abc import Mapping
from pathlib import Path

import pytest

from tallystick.local.deno import deno_environment, deno_program

TREE = Path(__file__).parents[2]


def environment_of_deno() -> dict[str, str]:
    """Return the environment in which packages are kept in the tree."""
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("TALLYSTICK_CACHE", str(TREE / ".cache"))
        return deno_environment()


def run_deno(*arguments: str, environment: Mapping[str, str] | None = None, stdin: str = "") -> str:
    """Run Deno in the tree and return what it prints; a failure shows all it said."""
    done = subprocess.run(
        [deno_program(), *arguments],
        cwd=TREE,
        env={**environment_of_deno(), **(environment or {})},
        input=stdin,
        capture_output=True,
        text=True,
        check=False,
    )
    assert done.returncode == 0, done.stdout + done.stderr
    return done.stdout
