"""The wheel carries everything that runs without a checkout."""

import os
import subprocess
import sys
import zipfile
from pathlib import Path

import pytest
import tenacity

TREE = Path(__file__).parents[2]


@pytest.fixture(scope="module")
def unpacked(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The content of a wheel built from the tree."""
    folder = tmp_path_factory.mktemp("wheel")
    command = [sys.executable, "-m", "pip", "wheel", "--quiet", "--no-deps", "--no-cache-dir"]
    command += ["--no-build-isolation", "--wheel-dir", str(folder), str(TREE)]
    subprocess.run(command, check=True)
    (wheel,) = folder.glob("*.whl")
    with zipfile.ZipFile(wheel) as archive:
        archive.extractall(folder / "content")
    return folder / "content"


@pytest.mark.parametrize(
    ("packaged", "source"),
    [("migrations", "supabase/migrations"), ("bootstrap", "sql/bootstrap")],
)
def test_the_sql_is_in_the_wheel(unpacked: Path, packaged: str, source: str) -> None:
    carried = {f.name: f.read_bytes() for f in (unpacked / "tallystick/_sql" / packaged).iterdir()}
    assert carried == {f.name: f.read_bytes() for f in (TREE / source).iterdir()}
    assert carried


def test_the_http_side_is_in_the_wheel(unpacked: Path) -> None:
    source = TREE / "python_client" / "tallystick" / "local" / "http"
    carried = {f.name: f.read_bytes() for f in (unpacked / "tallystick/local/http").iterdir()}
    assert carried == {f.name: f.read_bytes() for f in source.iterdir()}
    assert {"gateway.ts", "functions.ts", "deno.json", "deno.lock"} <= carried.keys()


def test_the_wheel_is_typed_and_licensed(unpacked: Path) -> None:
    (metadata,) = unpacked.glob("*.dist-info/METADATA")
    assert (unpacked / "tallystick" / "py.typed").exists()
    assert "License-Expression: Apache-2.0" in metadata.read_text()
    required = [
        line
        for line in metadata.read_text().splitlines()
        if line.startswith("Requires-Dist") and "extra ==" not in line
    ]
    assert [line.split("==")[0] for line in required] == ["Requires-Dist: tenacity"]


def run(
    unpacked: Path, *arguments: str, beside: Path | None = None
) -> "subprocess.CompletedProcess[str]":
    return subprocess.run(
        [sys.executable, *arguments],
        cwd=unpacked.parent,
        env={**os.environ, "PYTHONPATH": f"{unpacked}{os.pathsep}{beside or ''}"},
        capture_output=True,
        text=True,
        check=False,
    )


def test_an_installed_package_uses_the_sql_it_carries(unpacked: Path) -> None:
    script = "from tallystick import migrations as m; print(m.sql_folder('migrations'))"
    done = run(unpacked, "-c", script)
    assert Path(done.stdout.strip()) == unpacked / "tallystick" / "_sql" / "migrations"


def test_the_tool_without_its_extra_says_how_to_get_it(unpacked: Path, tmp_path: Path) -> None:
    # -S leaves out what is installed beside the standard library; what the core needs is there.
    (tmp_path / "tenacity").symlink_to(Path(tenacity.__file__).parent)
    done = run(unpacked, "-S", "-m", "tallystick.cli.main", "status", beside=tmp_path)
    assert (done.returncode, "tallystick[cli]" in done.stderr) == (1, True)
