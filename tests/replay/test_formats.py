"""Each format is recognised, read exactly, and refused by line when it is malformed."""

import json
from datetime import UTC, datetime
from decimal import Decimal
from pathlib import Path

import pytest

from tallystick.replay.formats import read_usage
from tallystick.replay.rows import UsageFileError
from tests.replay.conftest import WriteFile

OWN = """timestamp,model,prompt_tokens,completion_tokens,workflow,request_id,cost
2026-11-02T10:00:01+01:00,gpt-4o,100,20,chat,req-2,0.000000000001
2026-11-02T09:00:00,gpt-4o-mini,7,0,,,
"""
AZURE = """TIMESTAMP,ContextTokens,GeneratedTokens
2023-11-16 18:17:03.9799600,4808,10
2023-11-16 18:17:04.0319600,3180,8
"""
OPENAI = (
    "start_time,end_time,start_time_iso,project_id,num_model_requests,model,batch,service_tier,"
    "input_tokens,output_tokens,input_cached_tokens,input_audio_tokens\n"
    "1759622400,1759708800,x,proj_1,3.0,gpt-4o-2024-08-06,FALSE,default,1000.0,10.0,100.0,0.0\n"
    "1759708800,1759795200,x,,,,,,,,,\n"
)
OPENAI_PAGE = {
    "object": "page",
    "data": [
        {
            "object": "bucket",
            "start_time": 1759622400,
            "end_time": 1759708800,
            "results": [
                {
                    "object": "organization.usage.completions.result",
                    "input_tokens": 1000,
                    "output_tokens": 10,
                    "input_cached_tokens": 100,
                    "num_model_requests": 3,
                    "project_id": "proj_1",
                    "model": "gpt-4o-2024-08-06",
                    "batch": False,
                    "service_tier": "default",
                }
            ],
        },
        {"object": "bucket", "start_time": 1759708800, "end_time": 1759795200, "results": []},
    ],
    "has_more": False,
    "next_page": None,
}
LITELLM = [
    {
        "request_id": "chatcmpl-1",
        "call_type": "acompletion",
        "startTime": "2026-11-02T09:00:00.123000Z",
        "model": "gpt-4o",
        "prompt_tokens": 100,
        "completion_tokens": 20,
        "total_tokens": 120,
        "spend": 0.00045000000000000004,
        "session_id": "session-1",
        "status": "success",
    },
    {
        "request_id": "chatcmpl-2",
        "startTime": "2026-11-02T09:00:01Z",
        "model": "gpt-4o",
        "prompt_tokens": 0,
        "completion_tokens": 0,
        "spend": 0.0,
        "status": "failure",
    },
]
LITELLM_LINES = "\n".join(json.dumps(entry) for entry in LITELLM)


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        (OWN, "tallystick"),
        (AZURE, "azure"),
        (OPENAI, "openai"),
        (json.dumps(OPENAI_PAGE), "openai"),
        (json.dumps(OPENAI_PAGE, indent=2), "openai"),
        (LITELLM_LINES, "litellm"),
        (json.dumps(LITELLM), "litellm"),
        ("\ufeff" + AZURE, "azure"),
        (AZURE.replace("\n", "\r\n"), "azure"),
    ],
)
def test_a_format_is_recognised(write: WriteFile, text: str, expected: str) -> None:
    path = write("usage", text)
    usage = read_usage(path)
    assert usage.format == expected
    assert usage == read_usage(path, expected)


def test_our_own_format(write: WriteFile) -> None:
    first, second = read_usage(write("usage.csv", OWN)).rows
    assert first.at == second.at.replace(second=0) == datetime(2026, 11, 2, 9, tzinfo=UTC)
    assert (first.place, first.workflow, first.request_id, first.cost) == ("line 3", *[None] * 3)
    assert (first.model, first.prompt_tokens, first.completion_tokens) == ("gpt-4o-mini", 7, 0)
    assert (second.place, second.workflow, second.request_id) == ("line 2", "chat", "req-2")
    assert second.cost == Decimal("0.000000000001")


def test_an_azure_trace(write: WriteFile) -> None:
    first, second = read_usage(write("usage.csv", AZURE)).rows
    assert first.at == datetime(2023, 11, 16, 18, 17, 3, 979960, tzinfo=UTC)
    assert (first.prompt_tokens, first.completion_tokens) == (4808, 10)
    assert (second.model, second.workflow, second.cost) == (None, None, None)


@pytest.mark.parametrize("text", [OPENAI, json.dumps(OPENAI_PAGE)], ids=["csv", "json"])
def test_an_openai_bucket_is_as_many_requests_as_it_counts(write: WriteFile, text: str) -> None:
    usage = read_usage(write("usage", text))
    assert len(usage.rows) == 3
    assert sum(row.prompt_tokens for row in usage.rows) == 1000
    assert sum(row.completion_tokens for row in usage.rows) == 10
    assert sum(row.cached_tokens for row in usage.rows) == 100
    assert [row.completion_tokens for row in usage.rows] == [4, 3, 3]
    assert {row.at for row in usage.rows} == {datetime(2025, 10, 5, tzinfo=UTC)}
    assert {(row.model, row.workflow, row.batch, row.service_tier) for row in usage.rows} == {
        ("gpt-4o-2024-08-06", "proj_1", False, "default")
    }


def test_empty_openai_buckets_are_counted_as_skipped(write: WriteFile) -> None:
    assert read_usage(write("usage.csv", OPENAI)).skipped == {"empty time buckets": 1}


def test_several_openai_pages_may_follow_each_other(write: WriteFile) -> None:
    pages = json.dumps(OPENAI_PAGE) + "\n" + json.dumps(OPENAI_PAGE, indent=1) + "\n"
    usage = read_usage(write("usage.json", pages))
    assert [row.place for row in usage.rows][::3] == [
        "page 1, data[0].results[0]",
        "page 2, data[0].results[0]",
    ]


def test_openai_batch_requests_are_known_as_such(write: WriteFile) -> None:
    usage = read_usage(write("usage.csv", OPENAI.replace("FALSE", "TRUE")))
    assert all(row.batch for row in usage.rows)


def test_openai_audio_is_refused_rather_than_priced_wrongly(write: WriteFile) -> None:
    with pytest.raises(UsageFileError, match="line 2: audio tokens cannot be priced"):
        read_usage(write("usage.csv", OPENAI.replace("100.0,0.0", "100.0,7.0")))


@pytest.mark.parametrize("text", [LITELLM_LINES, json.dumps(LITELLM)], ids=["lines", "array"])
def test_litellm_spend_is_rounded_at_12_decimals(write: WriteFile, text: str) -> None:
    usage = read_usage(write("spend", text))
    (row,) = usage.rows
    assert row.cost == Decimal("0.00045")
    assert row.at == datetime(2026, 11, 2, 9, 0, 0, 123000, tzinfo=UTC)
    assert (row.request_id, row.model, row.workflow) == ("chatcmpl-1", "gpt-4o", "session-1")
    assert (row.prompt_tokens, row.completion_tokens) == (100, 20)
    assert usage.skipped == {"failed calls without usage": 1}


def test_a_failed_call_that_cost_something_is_usage(write: WriteFile) -> None:
    failed = {**LITELLM[0], "status": "failure"}
    assert len(read_usage(write("spend.jsonl", json.dumps(failed))).rows) == 1


def own(fields: str) -> str:
    return f"timestamp,model,prompt_tokens,completion_tokens,cost\n{fields}\n"


def litellm(**changes: object) -> str:
    return json.dumps(LITELLM[0]) + "\n\n" + json.dumps({**LITELLM[0], **changes})


@pytest.mark.parametrize(
    ("text", "complaint"),
    [
        (own("yesterday,m,1,1,"), "line 2: timestamp is not a time: 'yesterday'"),
        (own(",m,1,1,"), "line 2: timestamp is not a time: ''"),
        (own("1e99,m,1,1,"), "line 2: timestamp is not a time: '1e99'"),
        (own("2026-11-02,m,-1,1,"), "line 2: prompt_tokens must be a whole number"),
        (own("2026-11-02,m,1.5,1,"), "line 2: prompt_tokens must be a whole number"),
        (own("2026-11-02,m,1,NaN,"), "line 2: completion_tokens must be a whole number"),
        (own("2026-11-02,m,1,,"), "line 2: completion_tokens must be a whole number"),
        (own("2026-11-02,m,1,2147483648,"), "line 2: completion_tokens is above 2147483647"),
        (own("2026-11-02,m,1,1,-0.1"), "line 2: cost must be an amount of at least 0"),
        (own("2026-11-02,m,1,1,NaN"), "line 2: cost must be an amount of at least 0"),
        (own("2026-11-02,m,1,1,Infinity"), "line 2: cost must be an amount of at least 0"),
        (own("2026-11-02,m,1,1,0.0000000000001"), "line 2: cost has more than 12 decimals"),
        (own("2026-11-02,m,1,1,1000000000000"), "line 2: cost is too large"),
        (own("2026-11-02,m,1,1"), "line 2: 4 fields where the header has 5"),
        (own("2026-11-02,m,1,1,,,"), "line 2: 7 fields where the header has 5"),
        (own(f"2026-11-02,{'m' * 256},1,1,"), "line 2: model must be a text of at most 255"),
        (own("2026-11-02,m\x00,1,1,"), "line 2: model must be a text"),
        (own('2026-11-02,"m,1,1,'), "line 2: unexpected end of data"),
        (own("2026-11-02,m,1,1,\n\n2026-11-02,m,1,x,"), "line 4: completion_tokens must be"),
        (own("2026-11-02,m,1,1,").replace("cost", "costs"), "line 1: unknown column 'costs'"),
        (own(""), "it holds no usage"),
        ("a,b\n1,2\n", "the format is not recognised; name it with --format: tallystick, azure"),
        ("", "the format is not recognised"),
        (AZURE + "2023-11-16 18:17:05,x,1\n", "line 4: ContextTokens must be a whole number"),
        (OPENAI.replace("1000.0", "50"), "line 2: input_cached_tokens is above input_tokens"),
        (OPENAI.replace("3.0", "3.5"), "line 2: num_model_requests must be a whole number"),
        ('{"object": "bucket"}', "page 1: this is not a page of the usage API"),
        ('{"object": "bucket", ', "page 1: this is not a page of the usage API"),
        (litellm(prompt_tokens="many"), "line 3: prompt_tokens must be a whole number"),
        (litellm(prompt_tokens=True), "line 3: prompt_tokens must be a whole number"),
        (litellm(completion_tokens=None), "line 3: completion_tokens must be a whole number of"),
        (litellm(spend="NaN"), "line 3: spend must be an amount of at least 0"),
        (litellm(startTime=None), "line 3: startTime is not a time: missing"),
        (litellm(request_id=7), "line 3: request_id must be a text"),
        (litellm() + "\n{", "line 4: this is not JSON"),
        (litellm() + "\n7", "line 4: a spend log must be a JSON object"),
        ("[7]", "entry 1: a spend log must be a JSON object"),
        ("[\n{]", "line 2: this is not JSON"),
    ],
)
def test_a_malformed_file_is_refused_by_line(write: WriteFile, text: str, complaint: str) -> None:
    path = write("usage", text)
    with pytest.raises(UsageFileError) as error:
        read_usage(path)
    assert str(error.value).startswith(str(path))
    assert complaint in str(error.value)


def test_the_wrong_format_is_refused_by_its_missing_column(write: WriteFile) -> None:
    with pytest.raises(UsageFileError, match="line 1: the column ContextTokens is missing"):
        read_usage(write("usage.csv", OWN), "azure")


def test_a_file_that_is_not_there_or_not_text_is_refused(
    tmp_path: Path,
) -> None:
    missing = tmp_path / "usage.csv"
    with pytest.raises(UsageFileError, match="No such file"):
        read_usage(missing)
    missing.write_bytes(b"\xff\xfe\x00")
    with pytest.raises(UsageFileError, match="not UTF-8"):
        read_usage(missing)
