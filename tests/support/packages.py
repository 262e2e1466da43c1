"""Files from the distribution's packages, without root and without installing anything."""

import shutil
import subprocess
from pathlib import Path

_PROGRAMS = ("apt-get", "apt-cache", "dpkg-deb")


def unpack(pattern: str, cache: Path, target: Path) -> bool:
    """Unpack the newest package whose name matches, downloading it into `cache` when not there.

    Args:
        pattern: A regular expression for the whole name, as apt-cache understands it.
        cache: Where the archive is kept.
        target: Where its files go, below their paths in the package.

    Returns:
        Whether there was such a package; False also where there is no apt.
    """
    if not all(shutil.which(program) for program in _PROGRAMS):
        return False
    cache.mkdir(parents=True, exist_ok=True)
    target.mkdir(parents=True, exist_ok=True)
    if not list(cache.glob("*.deb")) and not _download(pattern, cache, []):
        _download(pattern, cache, _own_lists(cache))
    archives = sorted(cache.glob("*.deb"))
    return bool(archives) and _run(["dpkg-deb", "-x", str(archives[-1]), str(target)], cache)[0]


def _download(pattern: str, cache: Path, options: list[str]) -> bool:
    _, listed = _run(["apt-cache", *options, "search", "--names-only", f"^{pattern}$"], cache)
    names = sorted(line.split()[0] for line in listed.splitlines())
    return bool(names) and _run(["apt-get", *options, "download", names[-1]], cache)[0]


def _own_lists(cache: Path) -> list[str]:
    """Fetch package lists into the cache, for machines whose own are missing or out of date."""
    state, archives = cache / "apt" / "state", cache / "apt" / "cache"
    for folder in (state / "lists" / "partial", archives / "archives" / "partial"):
        folder.mkdir(parents=True, exist_ok=True)
    # apt would drop to a user that may not enter the tree, so it is told not to.
    options = ["-o", f"Dir::State={state}", "-o", f"Dir::Cache={archives}"]
    options += ["-o", "APT::Sandbox::User="]
    _run(["apt-get", *options, "update"], cache)
    return options


def _run(command: list[str], cwd: Path) -> tuple[bool, str]:
    done = subprocess.run(command, cwd=cwd, capture_output=True, text=True, check=False)
    return done.returncode == 0, done.stdout
