"""Checks everything in TypeScript: `python -m tests.support.typescript`."""

import subprocess
import sys
from pathlib import Path

from tallystick.local.deno import deno_program
from tests.support.deno import TREE, environment_of_deno

# Each with a deno.json of its own, and whose tests are elsewhere.
PROJECTS = {
    "python_client/tallystick/local/http": (".",),
    "scripts/generate_types": (".",),
    "supabase/examples/spend-page": (".", "../../../tests/http/spend_page"),
    "supabase/functions": (
        ".",
        *(f"../../tests/http/{name}" for name in ("metered_proxy", "any_step.ts", "typed_walk.ts")),
    ),
}
STEPS = (("fmt", "--check"), ("lint",), ("check", "--frozen"))


def main() -> int:
    """Check format, rules and types; return the exit status."""
    failed = [
        f"{project}: deno {step[0]}"
        for project, sources in PROJECTS.items()
        for step in STEPS
        if not passes(TREE / project, step, sources)
    ]
    for failure in failed:
        print(f"typescript: {failure}", file=sys.stderr)  # noqa: T201
    return 1 if failed else 0


def passes(project: Path, step: tuple[str, ...], sources: tuple[str, ...]) -> bool:
    """Run one step, showing what it finds."""
    command = [deno_program(), *step, "--quiet", "--config", "deno.json", *sources]
    return (
        subprocess.run(command, cwd=project, env=environment_of_deno(), check=False).returncode == 0
    )


if __name__ == "__main__":
    sys.exit(main())
