"""The operating system user that Postgres runs as."""

import os
import subprocess
import sys
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path


@dataclass(frozen=True, slots=True)
class SystemUser:
    """Postgres refuses to run as root; root therefore lends it an unprivileged user.

    Attributes:
        name: The user to switch to, or None to stay who we are.
        uid: Its numeric id; meaningless when `name` is None.
        gid: Its group.
    """

    name: str | None = None
    uid: int = -1
    gid: int = -1

    def run(self, command: Sequence[str], cwd: Path) -> "subprocess.CompletedProcess[str]":
        """Run a program as this user in `cwd`; never raises for its exit status."""
        if self.name is None:
            return _run(command, cwd)
        return _run(command, cwd, user=self.uid, group=self.gid, extra_groups=[])

    def give(self, path: Path) -> None:
        """Make this user the owner of `path`, so that it may write there."""
        if self.name is not None and sys.platform != "win32":
            os.chown(path, self.uid, self.gid)


def server_user() -> SystemUser:
    """Return who runs Postgres: ourselves, or for root the user `postgres`, else `nobody`."""
    if sys.platform == "win32" or os.geteuid() != 0:
        return SystemUser()
    import pwd  # exists on Unix only

    try:
        entry = pwd.getpwnam("postgres")
    except KeyError:
        entry = pwd.getpwnam("nobody")
    return SystemUser(entry.pw_name, entry.pw_uid, entry.pw_gid)


def _run(
    command: Sequence[str],
    cwd: Path,
    user: int | None = None,
    group: int | None = None,
    extra_groups: list[int] | None = None,
) -> "subprocess.CompletedProcess[str]":
    environment = {key: value for key, value in os.environ.items() if not key.startswith("PG")}
    environment["LC_ALL"] = "C"
    return subprocess.run(
        command,
        cwd=cwd,
        env=environment,
        check=False,
        stdin=subprocess.DEVNULL,
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        text=True,
        errors="replace",
        user=user,
        group=group,
        extra_groups=extra_groups,
    )
