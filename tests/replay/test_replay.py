"""Whole replays against the database: exact totals, exact caps, nothing twice."""

import json
from collections import defaultdict
from concurrent.futures import ThreadPoolExecutor
from decimal import Decimal
from fractions import Fraction
from random import Random

import psycopg
import pytest

from tallystick import Client, RetryableError
from tallystick.organizations import OrganizationNotFound
from tallystick.replay.report import agrees, proof
from tallystick.replay.rows import UsageFileError
from tallystick.replay.sample import sample_csv
from tallystick.replay.session import OrganizationFrozen, Replay
from tests.replay.conftest import ReplayFile, WriteFile, before_insert, shown
from tests.support.servers import Database

ROWS = 240
LEDGER = "public.ai_usage_ledger"
IN, OUT = Fraction(5, 2), Fraction(10)  # gpt-4o, US dollars per million tokens


def azure_rows(rows: int = ROWS, seed: int = 7) -> list[tuple[str, int, int]]:
    chance = Random(seed)
    return [
        (
            f"2023-11-16 18:{number // 60 % 60:02d}:{number % 60:02d}.1234567",
            int(chance.random() * 8000),
            int(chance.random() * 500),
        )
        for number in range(rows)
    ]


def azure_file(rows: list[tuple[str, int, int]]) -> str:
    lines = [f"{at},{context},{generated}\n" for at, context, generated in rows]
    return "TIMESTAMP,ContextTokens,GeneratedTokens\n" + "".join(lines)


def answers(replay: Replay) -> list[str]:
    return [outcome.answer for outcome in replay.held.run.outcomes]


def ledger(database: Database) -> tuple[int, Decimal]:
    with database.connect() as connection:
        row = connection.execute(
            "select count(*), coalesce(sum(cost), 0) from public.ai_usage_ledger"
        ).fetchone()
    assert row is not None
    return row[0], row[1]


@pytest.mark.parametrize("workers", [1, 8])
def test_a_generated_azure_trace_costs_what_an_independent_computation_says(
    database: Database, write: WriteFile, replay_file: ReplayFile, workers: int
) -> None:
    rows = azure_rows()
    replay = replay_file(write("trace.csv", azure_file(rows)), workers=workers)
    exact = sum(context * IN + generated * OUT for _, context, generated in rows) / 1_000_000
    assert ledger(database) == (ROWS, Decimal(exact.numerator) / Decimal(exact.denominator))
    assert replay.held.books.ledger.tokens == sum(row[1] + row[2] for row in rows)
    assert agrees(replay)


def test_a_second_replay_records_nothing_twice(
    database: Database, write: WriteFile, replay_file: ReplayFile
) -> None:
    path = write("trace.csv", azure_file(azure_rows(60) + azure_rows(60)))
    first = replay_file(path)
    before = ledger(database)
    second = replay_file(path)
    assert (first.held.already_recorded, second.held.already_recorded) == (0, 120)
    assert answers(second) == []
    assert ledger(database) == before
    assert agrees(second)


def test_two_replays_at_once_record_nothing_twice(
    database: Database, write: WriteFile, replay_file: ReplayFile
) -> None:
    path = write("trace.csv", azure_file(azure_rows(120)))
    replay_file(path, monthly_limit="0")  # opens the workflows and refuses all
    assert ledger(database)[0] == 0
    with ThreadPoolExecutor(2) as pool:
        replays = [pool.submit(replay_file, path, workers=4, call_ms=20) for _ in range(2)]
    assert ledger(database)[0] == 120
    assert all(agrees(each.result()) for each in replays)
    assert sum(len(answers(each.result())) for each in replays) > 120  # they did meet


def test_a_longer_export_adds_only_its_new_rows(
    database: Database, write: WriteFile, replay_file: ReplayFile
) -> None:
    rows = azure_rows(60)
    replay_file(write("monday.csv", azure_file(rows[:40])))
    replay = replay_file(write("tuesday.csv", azure_file(rows)))
    assert (replay.held.already_recorded, len(answers(replay))) == (40, 20)
    assert ledger(database)[0] == 60


OPENAI = "start_time,project_id,model,num_model_requests,input_tokens,output_tokens\n"
MORNING = "1759622400,proj_1,gpt-4o,3,1000,10\n"
NOON = "1759644000,proj_1,gpt-4o,2,500,9\n"


def test_a_longer_openai_export_adds_only_its_new_buckets(
    database: Database, write: WriteFile, replay_file: ReplayFile
) -> None:
    replay_file(write("morning.csv", OPENAI + MORNING))
    # The same bucket of another project, key or user is another bucket.
    other = MORNING.replace("proj_1", "proj_2")
    replay = replay_file(write("noon.csv", OPENAI + NOON + other + MORNING))
    assert (replay.held.already_recorded, len(answers(replay))) == (3, 5)
    assert replay.held.books.ledger.tokens == 1010 + 509 + 1010
    assert agrees(replay)


@pytest.mark.parametrize("grown", ["5,1700,17", "3,1001,10", "4,1000,10", "2,600,6"])
def test_an_openai_bucket_that_has_changed_is_refused_by_file_and_place(
    database: Database, write: WriteFile, replay_file: ReplayFile, grown: str
) -> None:
    replay_file(write("early.csv", OPENAI + MORNING))
    before = ledger(database)
    late = write("late.csv", OPENAI + NOON + MORNING.replace("3,1000,10", grown))
    with pytest.raises(UsageFileError) as refused:
        replay_file(late)
    assert (refused.value.path, refused.value.place) == (late, "line 3")
    assert ledger(database) == before


def test_a_row_recorded_under_its_own_id_with_other_tokens_is_refused(
    database: Database, write: WriteFile, replay_file: ReplayFile
) -> None:
    row = "timestamp,prompt_tokens,completion_tokens,request_id\n2026-11-02T09:00:00,10,{},req-1\n"
    replay_file(write("one.csv", row.format(5)))
    with pytest.raises(UsageFileError) as refused:
        replay_file(write("two.csv", row.format(6)))
    assert refused.value.place == "line 2"
    # Another model has another price, but it is the same row.
    again = replay_file(write("three.csv", row.format(5)), model="gpt-4o-mini")
    assert (again.held.already_recorded, answers(again)) == (1, [])


def test_rows_that_are_left_out_are_counted(
    database: Database, write: WriteFile, replay_file: ReplayFile
) -> None:
    row = {
        "request_id": "chatcmpl-1",
        "startTime": "2026-11-02T09:00:00Z",
        "model": "gpt-4o",
        "prompt_tokens": 1,
        "completion_tokens": 1,
        "spend": 0.1,
    }
    failed = {**row, "status": "failure", "prompt_tokens": 0, "completion_tokens": 0, "spend": 0}
    lines = "\n".join(json.dumps(each) for each in (row, row, failed))
    replay = replay_file(write("spend.jsonl", lines))
    assert ledger(database) == (1, Decimal("0.1"))
    assert "skipped 1: repeated request ids" in shown(replay)
    assert "skipped 1: failed calls without usage" in shown(replay)


def test_another_organization_has_its_own_replay(write: WriteFile, replay_file: ReplayFile) -> None:
    path = write("trace.csv", azure_file(azure_rows(20)))
    acme = replay_file(path, organization="Acme")
    other = replay_file(path, organization="Other")
    assert (other.held.already_recorded, len(answers(other))) == (0, 20)
    assert acme.held.payer.id != other.held.payer.id
    assert other.held.books.ledger == acme.held.books.ledger


def test_caps_refuse_exactly_what_an_independent_count_refuses(
    write: WriteFile, replay_file: ReplayFile
) -> None:
    rows = azure_rows()
    cap, month = Decimal("0.20"), Decimal("0.90")
    replay = replay_file(
        write("trace.csv", azure_file(rows)),
        rows_per_workflow=30,
        workflow_limit=str(cap),
        monthly_limit=str(month),
    )
    spent: defaultdict[str, Decimal] = defaultdict(Decimal)
    expected = []
    for outcome in replay.held.run.outcomes:
        workflow = outcome.request.workflow
        left = {
            "over workflow cap": cap - spent[workflow],
            "over monthly cap": month - sum(spent.values()),
        }
        tightest = min(left, key=lambda each: left[each])
        if outcome.cost > left[tightest]:
            expected.append(tightest)
        else:
            expected.append("recorded")
            spent[workflow] += outcome.cost
    assert answers(replay) == expected
    assert all(replay.held.run.count(answer) == expected.count(answer) for answer in set(expected))
    assert set(expected) == {"recorded", "over workflow cap", "over monthly cap"}
    assert agrees(replay)


def test_caps_hold_under_concurrent_workers(
    database: Database, write: WriteFile, replay_file: ReplayFile
) -> None:
    cap, month = Decimal("0.20"), Decimal("0.90")
    replay = replay_file(
        write("trace.csv", azure_file(azure_rows())),
        rows_per_workflow=30,
        workflow_limit=str(cap),
        monthly_limit=str(month),
        workers=8,
    )
    with database.connect() as connection:
        totals = connection.execute(
            "select (workflow_data ->> 'name'), (workflow_data ->> 'total_ai_cost')::numeric"
            " from public.intent_workflows"
        ).fetchall()
    left = {name: cap - total for name, total in totals}
    month_left = month - replay.held.books.month
    assert min(*left.values(), month_left) >= 0
    # What was refused would not fit now either: a hold is the cost, and nothing was given back.
    for outcome in replay.held.run.outcomes:
        if outcome.answer == "over workflow cap":
            assert outcome.cost > left[outcome.request.workflow]
        elif outcome.answer == "over monthly cap":
            assert outcome.cost > month_left
    assert set(answers(replay)) == {"recorded", "over workflow cap", "over monthly cap"}
    assert agrees(replay)


def test_caps_are_stored_and_hold_in_the_next_replay(
    write: WriteFile, replay_file: ReplayFile
) -> None:
    path = write("trace.csv", azure_file(azure_rows(60)))
    first = replay_file(path, workflow_limit="0.10", monthly_limit="50")
    again = replay_file(path, workflow_limit=None, monthly_limit=None)
    refused = [outcome for outcome in first.held.run.outcomes if outcome.answer != "recorded"]
    assert refused
    assert [outcome.request for outcome in again.held.run.outcomes] == [
        outcome.request for outcome in refused
    ]
    assert set(answers(again)) == {"over workflow cap"}
    assert again.caps.month == Decimal(50)
    limits = {again.caps.of_workflow(each) for each in again.workflows.values()}
    assert limits == {Decimal("0.10")}


@pytest.mark.parametrize("compare", [False, True])
def test_where_no_cap_is_stored_nothing_is_capped(
    write: WriteFile, replay_file: ReplayFile, compare: bool
) -> None:
    # Far above the defaults of the functions that check: 1.00 and 25.00.
    row = "timestamp,model,prompt_tokens,completion_tokens,workflow,cost\n" + "".join(
        f"2026-11-02T09:00:{second:02d},gpt-4o,1,1,chat,20\n" for second in range(3)
    )
    path = write("dear.csv", row)
    replay = replay_file(path, workflow_limit=None, monthly_limit=None, compare=compare)
    assert answers(replay) == ["recorded"] * 3
    assert replay.caps.month is None
    assert {replay.caps.of_workflow(each) for each in replay.workflows.values()} == {None}
    assert shown(replay).count("no cap") == 2
    if replay.checked:
        assert [each.answer for each in replay.checked.run.outcomes] == ["recorded"] * 3
        assert "spent above" not in shown(replay)


def test_another_cap_that_refuses_is_named(
    database: Database, write: WriteFile, replay_file: ReplayFile
) -> None:
    with Client(database.url()) as client:
        acme = client.create_organization("Acme")
        client.set_budget(acme.id, "model", "gpt-4o", "day", Decimal("0.02"))
        client.set_budget(acme.id, "tag", "team=search", "day", Decimal("0.01"))
        client.set_budget(acme.id, "model", "gpt-4o", "hour", Decimal(0), enforcement="soft")
    replay = replay_file(write("trace.csv", azure_file(azure_rows(20))))
    assert set(answers(replay)) == {"recorded", "over another cap"}
    text = shown(replay)
    assert "model gpt-4o, day" in text
    assert "hour" not in text


def test_a_scope_that_is_frozen_is_named_as_the_reason(
    database: Database, write: WriteFile, replay_file: ReplayFile
) -> None:
    with Client(database.url()) as client:
        acme = client.create_organization("Acme")
        client.freeze(acme.id, scope="model", scope_id="gpt-4o")
    replay = replay_file(write("trace.csv", azure_file(azure_rows(3))))
    assert answers(replay) == ["frozen"] * 3
    assert "frozen" in shown(replay)


def test_a_replay_that_fails_goes_on_where_it_stopped(
    database: Database, write: WriteFile, replay_file: ReplayFile
) -> None:
    rows = azure_rows(60)
    rows[40] = (rows[40][0], 7777, 7)
    path = write("trace.csv", azure_file(rows))
    before_insert(
        database, LEDGER, "if new.prompt_tokens = 7777 then raise exception 'tripped'; end if"
    )
    with pytest.raises(psycopg.errors.RaiseException):
        replay_file(path, workers=4)
    recorded = ledger(database)[0]
    assert recorded < 60
    with database.connect() as connection:
        states = connection.execute("select state::text, reason from metering.holds").fetchall()
        connection.execute(f"drop trigger meddle on {LEDGER}")
    assert states == [("released", "the replay failed")]  # of the call that failed
    replay = replay_file(path, workers=4)
    assert replay.held.already_recorded == recorded
    assert ledger(database)[0] == 60
    assert agrees(replay)


@pytest.mark.parametrize("code", ["40001", "40P01"])
@pytest.mark.parametrize("step", ["metering.holds", LEDGER])
def test_a_lost_race_is_tried_again(
    database: Database, write: WriteFile, replay_file: ReplayFile, step: str, code: str
) -> None:
    with database.connect() as connection:
        connection.execute("create sequence tests.tries")
    before_insert(
        database,
        step,
        "if nextval('tests.tries') % 3 <> 0 then"
        f" raise exception 'lost' using errcode = '{code}'; end if",
    )
    replay = replay_file(write("trace.csv", azure_file(azure_rows(5))), compare=True)
    for side in (replay.held, replay.checked):
        assert side
        assert [outcome.answer for outcome in side.run.outcomes] == ["recorded"] * 5
        assert side.books.ledger.requests == 5
    assert agrees(replay)


def test_a_race_that_is_always_lost_ends(
    database: Database, write: WriteFile, replay_file: ReplayFile
) -> None:
    before_insert(database, LEDGER, "raise exception 'lost' using errcode = '40001'")
    with pytest.raises(RetryableError):
        replay_file(write("trace.csv", azure_file(azure_rows(1))))
    assert ledger(database)[0] == 0


def test_a_frozen_organization_is_named_as_the_reason(
    database: Database, write: WriteFile, replay_file: ReplayFile
) -> None:
    path = write("trace.csv", azure_file(azure_rows(5)))
    replay_file(path)
    with database.connect() as connection:
        connection.execute("update tenancy.organizations set frozen_at = now()")
    with pytest.raises(OrganizationFrozen):
        replay_file(path)


def test_an_organization_can_be_named_by_its_id(
    database: Database, write: WriteFile, replay_file: ReplayFile
) -> None:
    path = write("trace.csv", azure_file(azure_rows(5)))
    with database.connect() as connection:
        acme = Client(connection).create_organization("Acme")
    assert replay_file(path, organization=str(acme.id)).held.payer.name == "Acme"
    with database.connect() as connection:
        Client(connection).create_organization("Acme")
    with pytest.raises(OrganizationNotFound, match=str(acme.id)):  # one of the ids to choose from
        replay_file(path, organization="Acme")
    unknown = "00000000-0000-7000-8000-000000000001"
    with pytest.raises(OrganizationNotFound, match=unknown):
        replay_file(path, organization=unknown)


def test_the_proof_does_not_agree_with_altered_books(
    database: Database, write: WriteFile, replay_file: ReplayFile
) -> None:
    path = write("trace.csv", azure_file(azure_rows(5)))
    replay_file(path)
    with database.connect() as connection:
        connection.execute("update metering.usage_rollups set cost = cost + 1")
    altered = replay_file(path)
    assert [line.equal for line in proof(altered)] == [True, False, False, True, False]
    assert not agrees(altered)
    assert shown(altered).count("WRONG") == 3


def test_the_proof_does_not_agree_with_a_ledger_row_the_replay_did_not_record(
    database: Database, write: WriteFile, replay_file: ReplayFile
) -> None:
    before_insert(database, LEDGER, "new.cost := new.cost + 0.000000000001")
    replay = replay_file(write("trace.csv", azure_file(azure_rows(5))))
    assert not proof(replay)[3].equal


def test_the_report_tells_the_story_of_the_sample(
    write: WriteFile, replay_file: ReplayFile
) -> None:
    path = write("sample.csv", sample_csv())
    replay = replay_file(path, model=None, workflow_limit="2.00", monthly_limit="10")
    again = replay_file(path, model=None)
    refused = answers(replay).count("over workflow cap")
    assert refused > 20
    for columns in (80, 100):
        text = shown(replay, columns)
        assert max(map(len, text.splitlines())) <= columns
        recorded = len(replay.held.run.outcomes) - refused
        for words in (
            f"{recorded:,} recorded",
            f"{refused:,} refused",
            "claude-sonnet-4-5",
            f"research-agent ({refused:,})",
            "audit.verify_integrity()",
        ):
            assert words in text
        assert "WRONG" not in text
        assert f"{replay.held.books.ledger.requests:,} rows already" in shown(again, columns)


def test_the_sample_is_the_same_every_time_and_changes_with_its_seed() -> None:
    assert sample_csv() == sample_csv()
    assert sample_csv(1) != sample_csv(2)


def test_rows_are_recorded_at_the_present_time(
    database: Database, write: WriteFile, replay_file: ReplayFile
) -> None:
    replay_file(write("trace.csv", azure_file(azure_rows(5))))
    with database.connect() as connection:
        recent = connection.execute(
            "select bool_and(created_at > now() - interval '5 minutes') from public.ai_usage_ledger"
        ).fetchone()
    assert recent == (True,)
