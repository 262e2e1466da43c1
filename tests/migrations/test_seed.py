"""The example data of supabase/seed.sql."""

from pathlib import Path

from tests.support.servers import Database

SEED = Path(__file__).parents[2] / "supabase" / "seed.sql"


def test_seed_may_be_loaded_again(database: Database) -> None:
    """Loaded twice, there is one example, and the books agree."""
    database.run_file(SEED)
    database.run_file(SEED)
    with database.connect() as connection:
        seeded = connection.execute("select workflow_data from intent_workflows").fetchall()
        findings = connection.execute("select * from audit.verify_integrity()").fetchall()
    assert seeded == [({"purpose": "example", "total_ai_cost": 0},)]
    assert findings == []
