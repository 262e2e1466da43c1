"""The TypeScript types of what is exposed: `python -m tests.support.database_types`."""

import sys
import tomllib
from pathlib import Path

from tallystick import migrations
from tests.support.deno import run_deno
from tests.support.servers import any_server

TREE = Path(__file__).parents[2]
TYPES = TREE / "supabase" / "functions" / "_shared" / "database.types.ts"
GENERATOR = TREE / "scripts" / "generate_types"


def exposed_schemas() -> list[str]:
    """Return the schemas Supabase serves over HTTP, as the project's configuration lists them."""
    config = tomllib.loads((TREE / "supabase" / "config.toml").read_text("utf-8"))
    schemas: list[str] = config["api"]["schemas"]
    return schemas


def generate(url: str) -> str:
    """Return the types of a database, by the engine of `supabase gen types`."""
    return run_deno(
        "run",
        "--quiet",
        "--frozen",
        "--allow-all",  # it loads a formatter, which is native code
        "--config",
        str(GENERATOR / "deno.json"),
        str(GENERATOR / "generate.ts"),
        *exposed_schemas(),
        environment={"DATABASE_URL": url},
    )


def main() -> int:
    """Write the file from a throwaway database."""
    with any_server() as server, server.clone(server.bare_template) as database:
        migrations.apply(database.url())
        TYPES.write_text(generate(database.url()), "utf-8")
    return 0


if __name__ == "__main__":
    sys.exit(main())
