"""The same plan by check, then record: what it lets through and holds do not."""

from decimal import Decimal
from pathlib import Path

import pytest

from tallystick import Client
from tallystick.organizations import OrganizationNotFound
from tallystick.replay.report import agrees, proof
from tallystick.replay.rows import UsageFileError
from tallystick.replay.session import OrganizationFrozen, Replay
from tests.replay.conftest import ReplayFile, WriteFile, shown
from tests.support.servers import Database

CALLS, WORKERS = 40, 8
HEADER = "timestamp,prompt_tokens,completion_tokens,workflow\n"
COST = Decimal("0.0055")  # of one call of gpt-4o
CALL_MS = 200  # far longer than a check takes: all workers have checked before the first records


@pytest.fixture
def calls(write: WriteFile) -> Path:
    """Equal calls of one workflow."""
    rows = (f"2026-11-02T09:00:{number:02d},1000,300,chat\n" for number in range(CALLS))
    return write("calls.csv", HEADER + "".join(rows))


def compared(
    replay: ReplayFile, path: Path, cap: str, month: str, call_ms: int = CALL_MS
) -> Replay:
    return replay(
        path,
        workflow_limit=cap,
        monthly_limit=month,
        workers=WORKERS,
        call_ms=call_ms,
        compare=True,
    )


@pytest.mark.parametrize("capped", ["workflow", "month"])
def test_only_check_then_record_passes_a_cap(
    database: Database, calls: Path, replay_file: ReplayFile, capped: str
) -> None:
    few, many = str(3 * COST), str(1000 * COST)
    replay = compared(replay_file, calls, *((few, many) if capped == "workflow" else (many, few)))
    held, checked = replay.held, replay.checked
    assert checked

    assert len(held.run.recorded) == 3  # as many as fit, and no more
    assert held.books.ledger.cost == 3 * COST
    assert (held.passed.workflows, held.passed.month) == ({}, 0)

    # Each worker was told yes once before anybody had recorded.
    assert len(checked.run.recorded) >= WORKERS
    above = checked.books.ledger.cost - 3 * COST
    assert above == (len(checked.run.recorded) - 3) * COST > 0
    if capped == "workflow":
        assert list(checked.passed.workflows.values()) == [above]
        assert checked.passed.month == 0
    else:
        assert (checked.passed.workflows, checked.passed.month) == ({}, above)
    assert agrees(replay)
    assert f"${above:,.4f}" in shown(replay)


def test_one_at_a_time_both_grant_the_same(calls: Path, replay_file: ReplayFile) -> None:
    replay = replay_file(calls, workflow_limit=str(7 * COST), compare=True)
    assert replay.checked
    for side in (replay.held, replay.checked):
        assert [each.answer for each in side.run.outcomes] == (
            ["recorded"] * 7 + ["over workflow cap"] * (CALLS - 7)
        )
        assert side.passed.total == 0


def test_a_second_replay_finds_everything_recorded_in_both(
    calls: Path, replay_file: ReplayFile
) -> None:
    first = compared(replay_file, calls, "1", "1", 0)
    second = compared(replay_file, calls, "1", "1", 0)
    assert first.checked
    assert second.checked
    for before, after in ((first.held, second.held), (first.checked, second.checked)):
        assert (before.already_recorded, after.already_recorded) == (0, CALLS)
        assert after.run.outcomes == ()
        assert after.books.ledger == before.books.ledger
    assert agrees(second)
    assert "What holds changed" not in shown(second)


def test_what_was_passed_before_is_not_passed_again(calls: Path, replay_file: ReplayFile) -> None:
    few = str(3 * COST)
    first = compared(replay_file, calls, few, "1")
    second = compared(replay_file, calls, few, "1")
    assert first.checked
    assert second.checked
    assert first.checked.passed.total > 0
    # Also where the cap is below what was spent already, that is not this replay's doing.
    lowered = compared(replay_file, calls, str(COST), "1")
    assert lowered.checked
    for side in (second.held, second.checked, lowered.held, lowered.checked):
        assert (side.run.recorded, side.passed.total) == ([], 0)


def test_the_comparison_has_the_caps_that_are_stored(
    database: Database, calls: Path, replay_file: ReplayFile
) -> None:
    replay_file(calls, workflow_limit=str(COST), monthly_limit="0.5")
    replay = replay_file(calls, workflow_limit=None, monthly_limit=None, compare=True)
    assert replay.checked
    assert replay.checked.payer.name == "Acme (check, then record)"
    with Client(database.url()) as client:
        limits = {
            (each.scope, each.time_window, each.limit_usd)
            for each in client.budgets(replay.checked.payer.id)
            if each.limit_usd is not None
        }
    assert limits == {("workflow", "total", COST), ("organization", "month", Decimal("0.5"))}
    # It starts with nothing spent, whatever the other has.
    assert (replay.checked.already_recorded, len(replay.checked.run.recorded)) == (0, 1)


def test_a_soft_cap_caps_nothing_in_either(
    database: Database, calls: Path, replay_file: ReplayFile
) -> None:
    with Client(database.url()) as client:
        acme = client.create_organization("Acme")
        client.set_budget(acme.id, "organization", None, "month", COST, enforcement="soft")
    replay = replay_file(calls, workflow_limit=None, monthly_limit=None, compare=True)
    assert replay.checked
    assert len(replay.held.run.recorded) == len(replay.checked.run.recorded) == CALLS
    assert replay.caps.month is None
    assert "spent above" not in shown(replay)


def test_workflows_named_by_their_ids_do_not_collide(
    write: WriteFile, replay_file: ReplayFile
) -> None:
    name = "01a1fbe0-8956-740a-8d86-4ecb4d833875"
    path = write(
        "calls.csv",
        f"{HEADER}2026-11-02T09:00:00,1,1,{name}\n",
    )
    replay = replay_file(path, compare=True)
    assert replay.checked
    assert [str(each) for each in replay.workflows.values()] == [name]
    assert len(replay.checked.run.recorded) == 1


def test_nothing_is_sent_before_the_comparison_is_ready(
    database: Database, calls: Path, replay_file: ReplayFile
) -> None:
    compared_with = "Acme (check, then record)"
    with Client(database.url()) as client:
        other = client.create_organization(compared_with)
        client.freeze(other.id)
    with pytest.raises(OrganizationFrozen, match="check, then record"):
        replay_file(calls, compare=True)
    with Client(database.url()) as client:
        client.unfreeze(other.id)
        client.create_organization(compared_with)
    with pytest.raises(OrganizationNotFound, match=str(other.id)):
        replay_file(calls, compare=True)
    with database.connect() as connection:
        assert connection.execute("select from public.ai_usage_ledger").rowcount == 0
        assert connection.execute("select from metering.holds").rowcount == 0


def test_a_row_recorded_with_other_tokens_in_the_comparison_is_refused(
    write: WriteFile, replay_file: ReplayFile
) -> None:
    row = "timestamp,prompt_tokens,completion_tokens,request_id\n2026-11-02T09:00:00,10,{},req-1\n"
    replay_file(write("one.csv", row.format(5)), organization="Acme (check, then record)")
    with pytest.raises(UsageFileError) as refused:
        replay_file(write("two.csv", row.format(6)), compare=True)
    assert refused.value.place == "line 2"


def test_the_longest_name_leaves_room(calls: Path, replay_file: ReplayFile) -> None:
    replay = replay_file(calls, organization="A" * 255, compare=True)
    assert replay.checked
    assert replay.checked.payer.name.endswith("A (check, then record)")
    assert len(replay.checked.payer.name) == 255


def test_the_proof_covers_the_comparison(
    database: Database, calls: Path, replay_file: ReplayFile
) -> None:
    first = replay_file(calls, compare=True)
    assert first.checked
    with database.connect() as connection:
        connection.execute(
            "update metering.usage_rollups set cost = cost + 1 where organization_id = %s",
            [first.checked.payer.id],
        )
    altered = replay_file(calls, compare=True)
    assert [line.equal for line in proof(altered)] == [True] * 5 + [False]
    assert not agrees(altered)
