"""supabase-js in Deno: any step of the walk, and a walk of its own that is typed by the schema."""

import json
import subprocess
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

import psycopg
import pytest

from tallystick.local.deno import deno_program
from tests.http.walk import Outcome, Step, walk
from tests.support.deno import environment_of_deno, run_deno
from tests.support.http import FUNCTIONS, Http, Person

HERE = Path(__file__).parent
PROJECT = ("--frozen", f"--config={FUNCTIONS / 'deno.json'}", f"--lock={FUNCTIONS / 'deno.lock'}")
RUN = ("run", "--quiet", "--check", "--allow-net", "--allow-env", *PROJECT)
MODEL = "walked-model"
RATES = '{"input_tokens": 2.5, "cache_read_tokens": 1.25, "output_tokens": 10}'
SETTLED = ["0.004750000000", "priced", "on_hold"]
EXPECTED = {
    "limit": "0.010000000000",
    "authorized": ["granted", "0.008", True],
    "settledAsUser": "42501",
    "recordedAsUser": "42501",
    "settled": SETTLED,
    "settledAgain": SETTLED,
    "spend": [[MODEL, 1, "0.004750000000"]],
    "spendOfOthers": [],
    "authorizedForOthers": "42501",
    "denied": ["denied", "budget_exceeded", "0.00525", 225],
    "reconciled": ["RECONCILED", "0.875000000000", "0.000000000000"],
    "disputedByOthers": "TS404",
    "disputed": "DISPUTED",
    "resolvedAsUser": "42501",
    "resolved": "RESOLVED",
    "disputedTooLate": "TS410",
    "balance": "9.000000000000",
}


class SupabaseJs:
    """A program in Deno that takes one step per line."""

    def __init__(self, program: "subprocess.Popen[str]", callers: Mapping[str, Any]) -> None:
        self._program = program
        self._say(callers)

    def ask(self, step: Step, arguments: Mapping[str, Any]) -> Outcome:
        """Take one step."""
        self._say(
            {
                "who": step.who,
                "schema": step.schema,
                "name": step.name,
                "arguments": arguments,
                "columns": step.columns,
            }
        )
        assert self._program.stdout is not None
        return Outcome(**json.loads(self._program.stdout.readline()))

    def _say(self, what: Mapping[str, Any]) -> None:
        assert self._program.stdin is not None
        self._program.stdin.write(json.dumps(what) + "\n")
        self._program.stdin.flush()


@pytest.fixture
def supabase_js(http: Http) -> Iterator[SupabaseJs]:
    """supabase-js, signed in as everybody."""
    people: dict[str, Person] = {"ada": http.sign_up(), "bob": http.sign_up()}
    callers = {
        name: {
            "url": http.url,
            "key": http.publishable_key,
            "email": person.email,
            "password": person.password,
        }
        for name, person in people.items()
    }
    callers["server"] = {"url": http.url, "key": http.secret_key}
    callers["anon"] = {"url": http.url, "key": http.publishable_key}
    with subprocess.Popen(
        [deno_program(), *RUN, HERE / "any_step.ts"],
        env=environment_of_deno(),
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        text=True,
    ) as program:
        yield SupabaseJs(program, callers)


def test_walk(supabase_js: SupabaseJs) -> None:
    """Every step comes to what it comes to with other clients."""
    assert walk(supabase_js) > 30


def test_typed_walk(http: Http, owner: psycopg.Connection) -> None:
    """It compiles with the generated types, and money as text keeps every decimal."""
    owner.execute("select from pricing.set_price('fake', %s, %s)", (MODEL, RATES))
    said = {
        "url": http.url,
        "publishableKey": http.publishable_key,
        "secretKey": http.secret_key,
        "model": MODEL,
    }
    told = run_deno(*RUN, str(HERE / "typed_walk.ts"), stdin=json.dumps(said))
    assert json.loads(told) == EXPECTED
