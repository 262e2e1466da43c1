# Sourced by the other scripts: goes to the tree's root and sets $python to a Python inside it.
#
# The virtual environment .venv is made on the first run from requirements.lock and made anew when
# the lock, pyproject.toml, the Python or the place of the tree has changed.
# shellcheck shell=bash

cd "$(dirname "${BASH_SOURCE[0]}")/.."
tree=$(pwd)
python=$tree/.venv/bin/python
# A command that finds its bytecode starts three times as fast; containers often keep none.
export PYTHONPYCACHEPREFIX=$tree/.cache/bytecode PYTHONDONTWRITEBYTECODE=
stamp=$tree/.venv/tallystick.stamp

# Sets $base to a Python that the local Postgres is built for: $PYTHON, or one of the usual names.
find_python() {
  local name
  for name in ${PYTHON:+"$PYTHON"} python3.13 python3.12 python3.11 python3.14 python3 python; do
    if "$name" -c 'import sys; sys.exit(not (3, 11) <= sys.version_info < (3, 15))' 2>/dev/null; then
      base=$name
      return
    fi
  done
  echo "Python 3.11, 3.12, 3.13 or 3.14 is needed and was not found." >&2
  echo "Found: $(python3 --version 2>&1 || true). Name another one with PYTHON=/path/to/python." >&2
  exit 1
}

# Prints what the environment depends on, in one line.
describe_environment() {
  "$base" - "$tree" <<'PY'
import hashlib, pathlib, sys
tree = pathlib.Path(sys.argv[1])
files = b"".join((tree / name).read_bytes() for name in ("requirements.lock", "pyproject.toml"))
print(hashlib.sha256(files).hexdigest(), sys.version.split()[0], sys.base_prefix, tree)
PY
}

make_environment() {
  echo "Installing into .venv (once) ..." >&2
  if ! "$base" -m venv --clear .venv >&2; then
    echo "$base cannot make a virtual environment; on Debian: apt-get install python3-venv" >&2
    exit 1
  fi
  # uv is several times faster than pip and need not work: it reads no pip.conf, for one.
  if ! install_locked uv; then
    install_locked pip
  fi
  # hatchling is in the lock, so the project itself needs no further download.
  install_with_pip --no-build-isolation --editable .
}

install_locked() {
  case $1 in
    uv)
      install_with_pip "uv==0.13.8" &&
        UV_HTTP_TIMEOUT=20 UV_HTTP_RETRIES=1 UV_SYSTEM_CERTS=1 "$python" -m uv --quiet --no-cache \
          pip install --python "$python" --no-deps --requirements requirements.lock >&2
      ;;
    pip) install_with_pip --requirement requirements.lock ;;
  esac
}

# Without a cache, as nothing outside the tree is to be touched.
install_with_pip() {
  "$python" -m pip -qq --disable-pip-version-check --no-cache-dir \
    install --no-deps --no-compile "$@" >&2
}

find_python
wanted=$(describe_environment)
if [ "$(cat "$stamp" 2>/dev/null || true)" != "$wanted" ]; then
  make_environment
  printf '%s\n' "$wanted" >"$stamp"
fi
