"""The scripts say what is missing instead of failing somewhere later."""

import os
import shutil
import subprocess
import sys
from pathlib import Path

import pytest

from tests.support import pgtap

TREE = Path(__file__).parents[2]


@pytest.mark.parametrize("script", ["demo", "test", "check"])
def test_a_python_too_old_is_named(tmp_path: Path, script: str) -> None:
    for program in ("bash", "cat", "dirname", "env"):
        (tmp_path / program).symlink_to(shutil.which(program) or program)
    old = tmp_path / "python3"
    old.write_text('#!/bin/bash\n[ "$1" = --version ] && echo Python 3.9.2 && exit\nexit 1\n')
    old.chmod(0o755)
    environment = {**os.environ, "PATH": str(tmp_path)}
    environment.pop("PYTHON", None)
    done = subprocess.run(
        [TREE / "scripts" / script], env=environment, capture_output=True, text=True, check=False
    )
    assert done.returncode == 1
    assert "Python 3.11, 3.12, 3.13 or 3.14 is needed" in done.stderr
    assert "Found: Python 3.9.2" in done.stderr


def test_without_pgtap_the_run_says_how_to_get_it(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(pgtap, "SYSTEM_FOLDERS", ())
    monkeypatch.setattr(pgtap, "CACHE", tmp_path)
    monkeypatch.setenv("PATH", str(tmp_path))
    with pytest.raises(pgtap.PgTapMissingError, match="apt-get install postgresql"):
        pgtap._script()  # noqa: SLF001


@pytest.mark.parametrize(
    ("body", "status"),
    [("assert True", 0), ("pytest.skip('later')", 1), ("assert False", 1), (None, 5)],
)
def test_a_run_that_proves_nothing_fails(tmp_path: Path, body: str | None, status: int) -> None:
    if body is not None:
        (tmp_path / "test_it.py").write_text(f"import pytest\n\ndef test_it():\n    {body}\n")
    command = [sys.executable, "-m", "pytest", "-p", "tests.conftest", "-p", "no:cacheprovider"]
    command += ["-c", str(TREE / "pyproject.toml"), str(tmp_path)]
    done = subprocess.run(command, cwd=TREE, capture_output=True, text=True, check=False)
    assert done.returncode == status, done.stdout
