"""What is remembered of the HTTP side, with processes that only look like its own."""

import json
import subprocess
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import psutil
import pytest

from tallystick.local import http_stack
from tallystick.local.errors import LocalServerError
from tallystick.local.http_stack import Exposed, HttpStack, exposed_by

Process = subprocess.Popen[bytes]
PROGRAMS = Path(http_stack.__file__).with_name("http")


@contextmanager
def running(name: str) -> Iterator[Process]:
    """A process that is taken for one of ours by its command line."""
    wait = [sys.executable, "-c", "import time; time.sleep(600)", str(PROGRAMS / f"{name}.ts")]
    with subprocess.Popen(wait) as process:
        try:
            yield process
        finally:
            process.kill()


def write(state: Path, **processes: Process) -> None:
    """Write what a start remembers."""
    memory = {
        "port": 1,
        "publishable_key": "p",
        "secret_key": "s",
        "jwt_secret": "j",
        "processes": {name: process.pid for name, process in processes.items()},
    }
    (state / "http.json").write_text(json.dumps(memory))


def test_stopping_during_a_start_stops_what_was_started(tmp_path: Path) -> None:
    """The lock was waited for, so what it protects is read after that."""

    class Waiting(HttpStack):
        @contextmanager
        def _exclusively(self) -> Iterator[None]:
            with super()._exclusively():
                write(self.state, functions=functions, gateway=gateway)  # by the other start
                yield

    with running("functions") as functions, running("gateway") as gateway:
        assert Waiting(tmp_path).stop()
        assert not any(psutil.pid_exists(process.pid) for process in (functions, gateway))
        write(tmp_path)
    with running("functions") as functions, running("gateway") as gateway:
        assert Waiting(tmp_path).stop()
        assert not any(psutil.pid_exists(process.pid) for process in (functions, gateway))
    memory = json.loads((tmp_path / "http.json").read_text())
    assert memory["processes"] == {}


def test_stopping_tells_whether_anything_ran(tmp_path: Path) -> None:
    assert not HttpStack(tmp_path / "nowhere").stop()
    assert not (tmp_path / "nowhere").exists()
    assert not HttpStack(tmp_path).stop()
    with running("functions") as functions:
        write(tmp_path, functions=functions)
        assert HttpStack(tmp_path).stop()
        assert not HttpStack(tmp_path).stop()


def test_what_runs_no_more_is_named(tmp_path: Path) -> None:
    stack = HttpStack(tmp_path)
    assert stack.lost == []
    with running("functions") as functions, running("gateway") as gateway:
        write(tmp_path, functions=functions, gateway=gateway)
        assert (stack.lost, stack.is_running) == ([], True)
        functions.kill()
        functions.wait()
        assert (stack.lost, stack.is_running) == (["functions"], True)
        gateway.kill()
        gateway.wait()
        assert (stack.lost, stack.is_running) == (["functions", "gateway"], False)
        stack.stop()
        assert stack.lost == []


@pytest.mark.parametrize("text", ["", "{", "[]", "{}", '"x"'])
def test_a_memory_that_is_none_is_named(tmp_path: Path, text: str) -> None:
    (tmp_path / "http.json").write_text(text)
    with pytest.raises(LocalServerError, match=r"http\.json"):
        HttpStack(tmp_path).stop()


@pytest.mark.parametrize(
    "text",
    [
        "[api",
        "api = 1",
        '[api]\nschemas = "public"',
        "[api]\nschemas = [1]",
        "[api]\nschemas = []",
        '[api]\nextra_search_path = "public"',
        '[api]\nmax_rows = "many"',
        "[api]\nmax_rows = true",
        "[api]\nmax_rows = 0",
    ],
)
def test_a_malformed_project_is_named(tmp_path: Path, text: str) -> None:
    config = tmp_path / "config.toml"
    config.write_text(text)
    with pytest.raises(LocalServerError, match=r"config\.toml"):
        exposed_by(config)


def test_a_project_says_what_is_exposed(tmp_path: Path) -> None:
    config = tmp_path / "config.toml"
    assert exposed_by(config) == Exposed()
    config.write_text('[api]\nschemas = ["a", "b"]\nextra_search_path = []\nmax_rows = 5')
    assert exposed_by(config) == Exposed(("a", "b"), (), 5)
