"""Files to replay, and a way to replay them."""

from collections.abc import Callable
from decimal import Decimal
from pathlib import Path

import pytest

from tallystick.replay.formats import read_usage
from tallystick.replay.plan import plan
from tallystick.replay.session import Replay, Settings, replay_plan
from tests.support.servers import Database

WriteFile = Callable[[str, str], Path]
ReplayFile = Callable[..., Replay]


@pytest.fixture
def write(tmp_path: Path) -> WriteFile:
    """Write a file and return its path."""

    def write(name: str, text: str) -> Path:
        path = tmp_path / name
        path.write_text(text, encoding="utf-8")
        return path

    return write


@pytest.fixture
def replay_file(database: Database) -> ReplayFile:
    """Replay a file into the test's database."""

    def replay(
        path: Path,
        *,
        model: str | None = "gpt-4o",
        rows_per_workflow: int = 50,
        organization: str = "Acme",
        workflow_limit: str | None = "1000",
        monthly_limit: str | None = "1000",
        workers: int = 1,
    ) -> Replay:
        usage = read_usage(path)
        settings = Settings(
            database_url=database.url(),
            organization=organization,
            workflow_limit=None if workflow_limit is None else Decimal(workflow_limit),
            monthly_limit=None if monthly_limit is None else Decimal(monthly_limit),
            workers=workers,
        )
        return replay_plan(
            usage,
            plan(usage, model=model, rows_per_workflow=rows_per_workflow),
            settings,
            on_start=lambda _number: None,
            on_outcome=lambda _answer: None,
        )

    return replay
