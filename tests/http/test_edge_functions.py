"""The modules in TypeScript one by one, in Deno; and what they share with this client."""

import json
import random
from pathlib import Path
from typing import Any

import pytest

from tallystick.adapters import read
from tests.support.database_types import TYPES, generate
from tests.support.deno import run_deno
from tests.support.servers import Database

TREE = Path(__file__).parents[2]
FUNCTIONS = TREE / "supabase" / "functions"
PAGE = TREE / "supabase" / "examples" / "spend-page"
UNITS = Path(__file__).parent


def project(folder: Path) -> tuple[str, ...]:
    """Return the flags by which Deno takes what a folder imports, as its lock has it."""
    return ("--frozen", f"--config={folder / 'deno.json'}", f"--lock={folder / 'deno.lock'}")


SAMPLES = 500


@pytest.mark.parametrize(("folder", "units"), [(FUNCTIONS, "metered_proxy"), (PAGE, "spend_page")])
def test_modules(folder: Path, units: str) -> None:
    """Types hold, and every test in Deno passes."""
    told = run_deno(
        "test", "--quiet", "--allow-net=127.0.0.1", *project(folder), str(UNITS / units)
    )
    assert " passed | 0 failed" in told


def test_usages_are_read_as_the_client_reads_them() -> None:
    """Random reports, also such as contradict themselves, become the same token classes."""
    chance = random.Random(7)
    reports = [random_report(chance) for _ in range(SAMPLES)]
    program = str(UNITS / "metered_proxy" / "read_usages.ts")
    read_in_deno = json.loads(
        run_deno("run", "--quiet", *project(FUNCTIONS), program, stdin=json.dumps(reports))
    )
    read_here = [
        {name: count for name, count in read(report).counts.as_usage().items() if count}
        for report in reports
    ]
    assert read_in_deno == read_here


def random_report(chance: random.Random) -> dict[str, Any]:
    """Make an answer with a usage in which anything may be said."""

    def some(*names: str) -> dict[str, int]:
        return {name: chance.choice([0, 1, 7, 50, 300]) for name in names if chance.random() < 0.7}

    prompt, completion = chance.randrange(400), chance.randrange(400)
    usage: dict[str, Any] = {"prompt_tokens": prompt, "completion_tokens": completion}
    if chance.random() < 0.7:
        usage["total_tokens"] = prompt + completion + chance.choice([0, 0, 40])
    if chance.random() < 0.8:
        details: dict[str, Any] = dict(
            some("cached_tokens", "cache_write_tokens", "audio_tokens", "image_tokens")
        )
        if chance.random() < 0.5:
            details["cached_tokens_details"] = some("audio_tokens", "image_tokens")
        usage["prompt_tokens_details"] = details
    if chance.random() < 0.8:
        usage["completion_tokens_details"] = some(
            "reasoning_tokens", "audio_tokens", "image_tokens"
        )
    return {"object": "chat.completion", "usage": usage}


def test_the_types_are_those_of_the_schema(database: Database) -> None:
    """What an application compiles against is what `scripts/generate-types` would write."""
    assert TYPES.read_text("utf-8") == generate(database.url())
