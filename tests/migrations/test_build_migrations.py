"""supabase/migrations is built from sql/ and from nothing else."""

import shutil
import subprocess
import sys
from pathlib import Path

import pytest

TREE = Path(__file__).parents[2]
SCRIPT = TREE / "scripts" / "build-migrations"


@pytest.fixture
def tree(tmp_path: Path) -> Path:
    """A copy of what the build reads, free to be changed."""
    (tmp_path / "scripts").mkdir()
    shutil.copy(SCRIPT, tmp_path / "scripts")
    shutil.copytree(TREE / "sql", tmp_path / "sql")
    return tmp_path


def build(tree: Path, *arguments: str) -> "subprocess.CompletedProcess[str]":
    command = [sys.executable, str(tree / "scripts" / "build-migrations"), *arguments]
    return subprocess.run(command, capture_output=True, text=True, check=False)


def migrations(tree: Path) -> dict[str, bytes]:
    return {file.name: file.read_bytes() for file in (tree / "supabase" / "migrations").iterdir()}


def test_a_rebuild_is_equal_byte_for_byte(tree: Path) -> None:
    assert build(tree).returncode == 0
    assert migrations(tree) == migrations(TREE)
    assert build(tree).returncode == 0
    assert migrations(tree) == migrations(TREE)


def test_there_is_one_migration_per_domain_in_the_order_of_the_manifest() -> None:
    names = sorted(migrations(TREE))
    assert names[:5] == [
        "20261121000000_tallystick_foundation.sql",
        "20261121000100_tallystick_tenancy.sql",
        "20261121000200_tallystick_pricing.sql",
        "20261121000300_tallystick_metering.sql",
        "20261121000400_tallystick_audit.sql",
    ]


def test_every_sql_file_of_a_domain_is_in_the_manifest() -> None:
    manifest = (TREE / "sql" / "schema.sql").read_text()
    files = {str(file.relative_to(TREE / "sql")) for file in (TREE / "sql").glob("*/*.sql")}
    unlisted = {file for file in files if f"\\ir {file}\n" not in manifest}
    assert unlisted == {"bootstrap/local_server.sql", "bootstrap/plain_postgres.sql"}


def test_check_accepts_what_a_build_wrote(tree: Path) -> None:
    build(tree)
    assert build(tree, "--check").returncode == 0


def test_check_notices_an_edit_of_the_sql(tree: Path) -> None:
    build(tree)
    with (tree / "sql" / "tenancy" / "tables.sql").open("a") as file:
        file.write("-- edited\n")
    checked = build(tree, "--check")
    assert checked.returncode == 1
    assert "20261121000100_tallystick_tenancy.sql is stale" in checked.stderr


def test_check_notices_a_migration_edited_missing_or_left_over(tree: Path) -> None:
    build(tree)
    folder = tree / "supabase" / "migrations"
    with (folder / "20261121000000_tallystick_foundation.sql").open("a") as file:
        file.write("\n")
    (folder / "20261121000100_tallystick_tenancy.sql").unlink()
    (folder / "20261121990000_tallystick_removed.sql").write_text("select 1;\n")
    checked = build(tree, "--check")
    assert checked.returncode == 1
    assert checked.stderr.count("is stale") == 3


def test_a_build_removes_its_own_left_overs_and_nothing_else(tree: Path) -> None:
    build(tree)
    folder = tree / "supabase" / "migrations"
    (folder / "20261121990000_tallystick_removed.sql").write_text("select 1;\n")
    (folder / "20250101000000_application.sql").write_text("select 1;\n")
    build(tree)
    assert migrations(tree).keys() - migrations(TREE).keys() == {"20250101000000_application.sql"}


@pytest.mark.parametrize(
    ("line", "message"),
    [
        (r"\ir nowhere/tables.sql", "which does not exist"),
        (r"\i tenancy/tables.sql", "expected \\ir"),
        (r"\ir ../elsewhere.sql", "expected \\ir"),
        (r"\ir foundation/clock.sql", "do not stand together"),
    ],
)
def test_a_manifest_that_cannot_be_built_is_refused(tree: Path, line: str, message: str) -> None:
    with (tree / "sql" / "schema.sql").open("a") as manifest:
        manifest.write(f"{line}\n")
    built = build(tree)
    assert built.returncode == 1
    assert message in built.stderr


def test_psql_commands_outside_the_manifest_are_refused(tree: Path) -> None:
    with (tree / "sql" / "tenancy" / "tables.sql").open("a") as file:
        file.write("\\echo hello\n")
    built = build(tree)
    assert built.returncode == 1
    assert "psql commands belong into the manifest" in built.stderr
