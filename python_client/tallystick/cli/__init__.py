"""The command line tool `tallystick`; it needs the extra `cli`."""

import importlib.util

if importlib.util.find_spec("typer") is None:
    raise SystemExit("The command line tool needs its extra: pip install 'tallystick[cli]'")
