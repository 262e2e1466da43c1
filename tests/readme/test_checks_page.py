"""The page on checks names every check there is, and no other."""

import re
from pathlib import Path

from tests.support.servers import Database

PAGE = Path(__file__).parents[2] / "sql" / "audit" / "README.md"
NAME = re.compile(r"(?:select\s+(?:distinct\s+)?|\(\s*|then )'((?!p_)[a-z0-9]+(?:_[a-z0-9]+){2,})'")


def test_every_check_is_explained(database: Database) -> None:
    explained = re.findall(r"^\| `(\w+)` \|", PAGE.read_text("utf-8"), flags=re.MULTILINE)
    with database.connect() as connection:
        sources = connection.execute(
            "select prosrc from pg_proc where proname like 'verify\\_%'"
        ).fetchall()
    found = {name for (source,) in sources for name in NAME.findall(source)}
    assert sorted(explained) == sorted(found)
