"""Every row becomes a request that a second replay recognises."""

from uuid import UUID, uuid4

import pytest

from tallystick.replay.formats import read_usage
from tallystick.replay.plan import Plan, derived_workflow_id, plan, workflow_id
from tallystick.replay.rows import UsageFileError
from tests.replay.conftest import WriteFile

HEADER = "timestamp,model,prompt_tokens,completion_tokens,workflow,request_id\n"
ROW = "2026-11-02T09:00:00,gpt-4o,100,20,,\n"
OTHER = "2026-11-02T09:00:01,gpt-4o,100,21,,\n"


def planned(
    write: WriteFile, lines: str, *, name: str = "usage.csv", rows_per_workflow: int = 50
) -> Plan:
    usage = read_usage(write(name, HEADER + lines))
    return plan(usage, model=None, rows_per_workflow=rows_per_workflow)


def ids(made: Plan) -> list[str]:
    return [request.request_id for request in made.requests]


def test_identical_rows_are_different_requests(write: WriteFile) -> None:
    made = planned(write, ROW * 3 + OTHER)
    assert len(set(ids(made))) == 4
    assert all(1 <= len(request_id) <= 255 for request_id in ids(made))


def test_ids_depend_on_content_and_occurrence_only(write: WriteFile) -> None:
    first = planned(write, ROW + ROW)
    moved = planned(write, OTHER + ROW + ROW, name="renamed.csv")
    assert set(ids(first)) < set(ids(moved))


def test_a_rows_own_id_is_kept(write: WriteFile) -> None:
    made = planned(write, "2026-11-02T09:00:00,gpt-4o,100,20,,req-7\n")
    assert ids(made) == ["req-7"]


def test_a_repeated_id_with_the_same_content_is_one_request(write: WriteFile) -> None:
    row = "2026-11-02T09:00:00,gpt-4o,100,20,chat,req-7\n"
    made = planned(write, row + row)
    assert (len(made.requests), made.repeated) == (1, 1)


def test_a_repeated_id_with_other_content_is_refused_by_both_lines(write: WriteFile) -> None:
    rows = "".join(f"2026-11-02T09:00:00,gpt-4o,100,{n},chat,req-7\n" for n in (20, 21))
    with pytest.raises(UsageFileError, match="line 2") as refused:
        planned(write, rows)
    assert refused.value.place == "line 3"


def test_rows_without_a_workflow_are_grouped_in_time_order(write: WriteFile) -> None:
    made = planned(write, OTHER + ROW + ROW, rows_per_workflow=2)
    assert [request.workflow for request in made.requests] == [
        "usage-0001",
        "usage-0001",
        "usage-0002",
    ]
    assert [request.completion_tokens for request in made.requests] == [20, 20, 21]


def test_a_workflow_of_the_row_is_kept(write: WriteFile) -> None:
    made = planned(write, "2026-11-02T09:00:00,gpt-4o,100,20,chat,\n" + OTHER)
    assert [request.workflow for request in made.requests] == ["chat", "usage-0001"]


def test_a_workflow_id_is_stable_and_belongs_to_one_organization() -> None:
    acme, other = uuid4(), uuid4()
    assert workflow_id(acme, "chat") == workflow_id(acme, "chat") != workflow_id(other, "chat")


def test_a_workflow_named_by_its_id_is_that_workflow() -> None:
    known = UUID("01a1fbe0-8956-740a-8d86-4ecb4d833875")
    acme, other = uuid4(), uuid4()
    assert workflow_id(acme, str(known)) == workflow_id(other, str(known)) == known
    assert len({known, *(derived_workflow_id(each, str(known)) for each in (acme, other))}) == 3


def test_a_row_without_a_model_needs_the_option(write: WriteFile) -> None:
    with pytest.raises(UsageFileError, match="--model") as refused:
        planned(write, "2026-11-02T09:00:00,,100,20,,\n")
    assert refused.value.place == "line 2"


def test_each_token_is_in_one_class(write: WriteFile) -> None:
    bucket = (
        "start_time,model,num_model_requests,input_tokens,input_cached_tokens,output_tokens,batch\n"
        "1759622400,gpt-4o,1,1000,{cached},10,{batch}\n"
    )
    usages = {}
    for cached, batch in ((0, "FALSE"), (400, "TRUE"), (1000, "FALSE")):
        usage = read_usage(write("usage.csv", bucket.format(cached=cached, batch=batch)))
        (request,) = plan(usage, model=None, rows_per_workflow=1).requests
        usages[cached] = request.usage, request.service_tier
    assert usages == {
        0: ({"input_tokens": 1000, "output_tokens": 10}, None),
        400: ({"input_tokens": 600, "cache_read_tokens": 400, "output_tokens": 10}, "batch"),
        1000: ({"cache_read_tokens": 1000, "output_tokens": 10}, None),
    }
