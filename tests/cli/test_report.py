"""The command `tallystick report`."""

import os
import re
import subprocess
import sys
import xml.etree.ElementTree as ET
from collections.abc import Iterator, Mapping
from datetime import date, timedelta
from decimal import Decimal
from pathlib import Path
from typing import Any
from urllib.parse import urlsplit
from uuid import UUID, uuid4

import psycopg
import pytest
from typer.testing import Result

from tallystick import Client, Organization
from tallystick.cli.report.bands import read_bands
from tallystick.cli.report.bins import bins
from tallystick.cli.report.names import printable, shortened
from tallystick.cli.report.plot import draw
from tallystick.cli.report.spend import By, Calendar, Report, added, read_calendar, read_report
from tallystick.cli.report.table import share
from tallystick.figures import usd
from tests.cli.conftest import Run
from tests.cli.test_budgets import assert_refused, text_of
from tests.support.servers import Database, Server

ROW = re.compile(
    r"^ (\S.*?) +(\$[\d,.]+) +(<?[\d.]+ %|) +([\d,]+) +([\d,]+) +([\d,]+) *$", re.MULTILINE
)
MAGIC = {"png": b"\x89PNG\r\n\x1a\n", "pdf": b"%PDF-", "svg": b"<?xml"}
# How the ledger itself tells usages apart.
LEDGER_KEYS = {
    "day": "private.local_day(l.created_at, o.time_zone)::text",
    "model": "l.model",
    "workflow": "coalesce(l.workflow_id::text, '(no workflow)')",
    "user": "coalesce(l.user_id::text, '(no user)')",
}


@pytest.fixture(autouse=True)
def folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """Where plots are written by default."""
    monkeypatch.chdir(tmp_path)
    return tmp_path


@pytest.fixture
def acme(client: Client, connection: psycopg.Connection) -> Organization:
    """As elsewhere, and its day does not end during a test."""
    at(connection, "2026-02-10 12:00+0")
    return client.create_organization("Acme")


@pytest.fixture
def kathmandu(client: Client) -> Organization:
    """Its days begin at 18:15 UTC."""
    return client.create_organization("Himal <&> Sons", time_zone="Asia/Kathmandu")


@pytest.fixture
def reader(server: Server, database: Database) -> Iterator[str]:
    """The URL of the database for a role that may only read."""
    role = f"tallystick_test_reader_{os.getpid()}"
    password = urlsplit(server.owner_url).password
    with psycopg.connect(server.admin_url, autocommit=True) as admin:
        admin.execute(f"create role {role} login password '{password}' in role tallystick_reader")
        try:
            yield database.url(role)
        finally:
            admin.execute(f"drop role {role}")


def at(connection: psycopg.Connection, time: str) -> None:
    """Set the database's clock, for good."""
    connection.execute("select tests.freeze_clock(%s)", [time])


def spend(client: Client, organization: Organization, cost: str, **about: Any) -> None:
    """Hold and settle one call."""
    held = Decimal(cost) or Decimal(1)
    decision = client.authorize_spend(organization.id, estimated_cost=held, **about)
    assert decision.hold_id is not None
    client.settle_spend(
        decision.hold_id, usage={"input_tokens": 100, "output_tokens": 20}, cost=Decimal(cost)
    )


def workflow(client: Client, organization: Organization, **document: object) -> UUID:
    return client.upsert_intent_workflow(uuid4(), organization.id, document).id


@pytest.fixture
def busy(client: Client, connection: psycopg.Connection, kathmandu: Organization) -> Organization:
    """Twelve days of spend, by twelve models, workflows, users and tags, and by none."""
    workflows = [workflow(client, kathmandu) for _ in range(12)]
    users = [uuid4() for _ in range(12)]
    for number in range(12):
        at(connection, f"2026-02-{20 + number // 2} 12:00+0")
        spend(
            client,
            kathmandu,
            f"{number + 1}.000000000{number + 1:03}",
            model=f"model-{number:02}",
            workflow_id=workflows[number],
            user_id=users[number],
            tags={"team": f"t{number}", "everything": "yes"},
        )
        spend(client, kathmandu, "0.25", model="model-00")
    return kathmandu


def rows(result: Result) -> dict[str, tuple[Decimal, int]]:
    """Cost and requests by what a line is of."""
    assert result.exit_code == 0, result.output
    return {
        key: (Decimal(cost.lstrip("$").replace(",", "")), int(requests.replace(",", "")))
        for key, cost, _, requests, _, _ in ROW.findall(result.output)
    }


def ledger(connection: psycopg.Connection, key: str = "'total'") -> dict[str, tuple[Decimal, int]]:
    """Cost and requests by a key, from the ledger itself."""
    found = connection.execute(
        f"select {key}, sum(l.cost), count(*) from public.ai_usage_ledger as l"
        " join tenancy.organizations as o on o.id = l.organization_id group by 1"
    )
    return {row[0]: (row[1], row[2]) for row in found}


def read(connection: psycopg.Connection, organization: Organization, by: By) -> Report:
    calendar = read_calendar(connection, organization.id)
    days = (date(2026, 2, 1), date(2026, 2, 28))
    return read_report(connection, organization.id, calendar, by, *days)


@pytest.mark.parametrize("by", ["day", "model", "workflow", "user"])
def test_lines_and_total_equal_the_ledger(
    run: Run, connection: psycopg.Connection, busy: Organization, by: str
) -> None:
    found = rows(run("report", "--by", by, "--no-plot"))
    assert found.pop("total") == ledger(connection)["total"]
    assert found == ledger(connection, LEDGER_KEYS[by])
    if by == "day":
        assert list(found) == sorted(found)
    else:
        costs = [cost for cost, _ in found.values()]
        assert costs == sorted(costs, reverse=True)


def test_a_usage_with_two_tags_is_in_both(
    run: Run, connection: psycopg.Connection, busy: Organization
) -> None:
    result = run("report", "--by", "tag", "--no-plot")
    found = rows(result)
    total, requests = ledger(connection)["total"]
    assert found["total"] == (total, requests)
    assert found["everything=yes"] == (total - 12 * Decimal("0.25"), 12)
    assert found["team=t3"] == (Decimal("4.000000000004"), 1)
    assert sum(cost for key, (cost, _) in found.items() if key != "total") > total
    assert "A usage with two tags is in both" in result.output


def test_days_are_those_of_the_organization(
    run: Run, client: Client, connection: psycopg.Connection, kathmandu: Organization
) -> None:
    for time, cost in (
        ("2026-03-09 18:14:59.999+0", "1"),
        ("2026-03-09 18:15+0", "2"),
        ("2026-03-10 18:14:59.999+0", "4"),
        ("2026-03-10 18:15+0", "8"),
    ):
        at(connection, time)
        spend(client, kathmandu, cost)
    by_day = ("report", "--no-plot", "--by", "day")
    everything = rows(run(*by_day))
    assert {key: cost for key, (cost, _) in everything.items()} == {
        "2026-03-09": 1,
        "2026-03-10": 6,
        "2026-03-11": 8,
        "total": 15,
    }
    only = rows(run(*by_day, "--from", "2026-03-10", "--to", "2026-03-10"))
    assert only == {"2026-03-10": (6, 2), "total": (6, 2)}


def test_without_dates_it_is_the_month_so_far(
    run: Run, client: Client, connection: psycopg.Connection, kathmandu: Organization
) -> None:
    at(connection, "2026-02-10 12:00+0")
    spend(client, kathmandu, "1")
    at(connection, "2026-02-28 18:15+0")  # midnight there: it is March
    spend(client, kathmandu, "2")
    result = run("report", "--no-plot")
    assert "2026-03-01 to 2026-03-01, Asia/Kathmandu" in result.output
    assert rows(result)["total"] == (2, 1)
    before = run("report", "--no-plot", "--to", "2026-02-20")
    assert "2026-02-01 to 2026-02-20" in before.output
    assert rows(before)["total"] == (1, 1)
    since = run("report", "--no-plot", "--from", "2025-12-31")
    assert "2025-12-31 to 2026-03-01" in since.output
    assert rows(since)["total"] == (3, 2)


def test_lines_beyond_the_limit_are_one(
    run: Run, connection: psycopg.Connection, busy: Organization
) -> None:
    found = rows(run("report", "--no-plot", "--limit", 3))
    assert list(found) == ["model-11", "model-10", "model-09", "9 others", "total"]
    assert sum(cost for cost, _ in list(found.values())[:-1]) == found["total"][0]
    assert found["total"] == ledger(connection)["total"]
    assert len(rows(run("report", "--no-plot", "--by", "day", "--limit", 3))) == 6 + 1


def test_names_stand_with_their_ids(
    run: Run, client: Client, acme: Organization, connection: psycopg.Connection
) -> None:
    named = workflow(client, acme, name="re[red]search\x1b[31m")
    nameless = workflow(client, acme, name=" ")
    ada = uuid4()
    connection.execute("insert into tenancy.profiles values (%s, 'Ada [bold]')", [ada])
    spend(client, acme, "2", workflow_id=named, user_id=ada)
    spend(client, acme, "1", workflow_id=nameless)
    by_workflow = run("report", "--no-plot", "--by", "workflow")
    assert set(rows(by_workflow)) == {"re[red]search�[31m", str(nameless), "total"}
    assert str(named) in by_workflow.output
    by_user = run("report", "--no-plot", "--by", "user")
    assert set(rows(by_user)) == {"Ada [bold]", "(no user)", "total"}
    assert str(ada) in by_user.output


def texts(svg: Path) -> list[str]:
    """Every text of a picture."""
    root = ET.fromstring(svg.read_bytes())  # noqa: S314 - our own file
    assert root.tag == "{http://www.w3.org/2000/svg}svg"
    return ["".join(node.itertext()) for node in root.iter("{http://www.w3.org/2000/svg}text")]


def test_the_plot_is_written_and_says_what_it_shows(
    run: Run, busy: Organization, folder: Path
) -> None:
    result = run("report", "--from", "2026-02-01")
    assert result.output.splitlines()[-1] == "Plot: report.svg"
    told = texts(folder / "report.svg")
    total, requests = rows(result)["total"]
    assert "Himal <&> Sons: spend by model" in told
    period = "2026-02-01 to 2026-02-25, Asia/Kathmandu"
    assert f"{period}: {usd(total)}, {requests} requests" in told
    assert "US dollars per day" in told
    assert {"1 Feb", "Model", "$0", "$5"} <= set(told)
    in_legend = [text for text in told if text.endswith(" %)")]
    assert in_legend[0].startswith("4 others (")
    assert in_legend[-1].startswith("model-11 (")
    assert len(in_legend) == 9


def test_a_plot_by_day_needs_no_legend_and_one_by_tag_a_word(
    run: Run, busy: Organization, folder: Path
) -> None:
    run("report", "--by", "day", "--plot", "day.svg")
    told = texts(folder / "day.svg")
    assert "Himal <&> Sons: spend by day" in told
    assert not any(text.endswith("%)") for text in told)
    run("report", "--by", "tag", "--plot", "tag.svg")
    told = texts(folder / "tag.svg")
    assert any(text.startswith("everything=yes (") for text in told)
    assert "all usages, once" in told
    assert any("two tags" in text for text in told)


@pytest.mark.parametrize("kind", ["svg", "png", "pdf"])
def test_the_kind_of_file_goes_by_its_ending(
    run: Run, client: Client, acme: Organization, folder: Path, kind: str
) -> None:
    spend(client, acme, "1", model="_$x$ 日本")  # nothing of it may be taken for markup
    name = f"plot.{kind.upper()}"
    (folder / name).write_text("what was there before")
    assert f"Plot: {name}" in text_of(run("report", "--plot", name))
    drawn = (folder / name).read_bytes()
    assert drawn.startswith(MAGIC[kind])
    run("report", "--plot", f"again.{kind}")
    assert (folder / f"again.{kind}").read_bytes() == drawn
    if kind == "svg":
        assert "_$x$ 日本 (100.0 %)" in texts(folder / name)


@pytest.mark.parametrize("by", list(By))
def test_what_is_drawn_adds_up(connection: psycopg.Connection, busy: Organization, by: By) -> None:
    report = read(connection, busy, by)
    bands = read_bands(connection, report)
    assert len(bands) == (1 if by == By.day else 9)
    assert sum(band.others for band in bands) == (by != By.day)
    drawn = sum((sum(band.costs.values()) for band in bands), Decimal(0))
    assert drawn == added(report.lines).cost
    if by != By.tag:
        assert drawn == report.total.cost == sum(report.days.values())
        for day, cost in report.days.items():
            assert sum(band.costs.get(day, Decimal(0)) for band in bands) == cost


def test_workflows_of_one_name_are_told_apart(
    client: Client, connection: psycopg.Connection, acme: Organization
) -> None:
    at(connection, "2026-02-02 12:00+0")
    ids = [workflow(client, acme, name=name) for name in ("chat", "chat", "search")]
    ids.append(workflow(client, acme))
    for cost, identifier in zip("4321", ids, strict=True):
        spend(client, acme, cost, workflow_id=identifier)
    spend(client, acme, "0.5")
    ends = [f"…{str(identifier)[-8:]}" for identifier in ids]
    bands = read_bands(connection, read(connection, acme, By.workflow))
    assert [band.label for band in bands] == [
        f"chat {ends[0]}",
        f"chat {ends[1]}",
        "search",
        ends[3],
        "(no workflow)",
    ]


def test_only_what_names_no_workflow_is_drawn_too(
    client: Client, connection: psycopg.Connection, acme: Organization
) -> None:
    at(connection, "2026-02-02 12:00+0")
    spend(client, acme, "0.5")
    (band,) = read_bands(connection, read(connection, acme, By.workflow))
    assert (band.label, band.costs) == ("(no workflow)", {date(2026, 2, 2): Decimal("0.5")})
    assert read_bands(connection, read(connection, acme, By.tag)) == []


def test_usages_without_tags_still_have_a_plot(
    run: Run, client: Client, acme: Organization, folder: Path
) -> None:
    spend(client, acme, "0.5")
    assert set(rows(run("report", "--by", "tag"))) == {"total"}
    assert "all usages, once" in texts(folder / "report.svg")


def test_usages_that_cost_nothing_are_spend_too(
    run: Run, client: Client, acme: Organization, folder: Path
) -> None:
    spend(client, acme, "0", model="free")
    assert rows(run("report")) == {"free": (0, 1), "total": (0, 1)}
    assert "free (nothing)" in texts(folder / "report.svg")


def test_a_period_without_spend_says_so_and_has_no_plot(
    run: Run, acme: Organization, folder: Path
) -> None:
    told = text_of(run("report", "--from", "2020-01-01", "--to", "2020-01-31"))
    assert told == "Acme spent nothing from 2020-01-01 to 2020-01-31 (UTC)."
    assert list(folder.iterdir()) == []


@pytest.mark.parametrize(
    ("arguments", "complaint"),
    [
        (("--from", "2026-02-02", "--to", "2026-02-01"), "2026-02-02 is after"),
        (("--from", "2026-02-11"), "2026-02-11 is after today, 2026-02-10"),
        (("--from", "today"), "'today' is not a day"),
        (("--to", "2026-02-30"), "'2026-02-30' is not a day"),
        (("--plot", "report.gif"), "'report.gif' does not end in"),
        (("--plot", "svg"), "'svg' does not end in"),
        (("--by", "run"), "'run' is not one of"),
        (("--limit", "0"), "greater than or equal to 1"),
    ],
)
def test_what_cannot_be_meant_is_refused(
    run: Run, acme: Organization, folder: Path, arguments: tuple[str, ...], complaint: str
) -> None:
    result = run("report", *arguments)
    assert result.exit_code == 2
    assert complaint in " ".join(re.sub(r"[│\n]", " ", result.stderr).split())
    assert list(folder.iterdir()) == []


def test_what_stands_in_the_way_is_one_line(
    run: Run, client: Client, acme: Organization, folder: Path
) -> None:
    spend(client, acme, "1")
    assert_refused(run("report", "--organization", "Nobody"), "'Nobody'")
    result = run("report", "--plot", "missing/report.svg")
    assert_refused(result, "missing/report.svg", "No such file")
    assert rows_despite(result)["total"] == "$1.00"  # what could be told was
    (folder / "folder.svg").mkdir()
    assert_refused(run("report", "--plot", "folder.svg"), "Is a directory")
    client.create_organization("Other")
    assert_refused(run("report"), "--organization")


def rows_despite(result: Result) -> Mapping[str, str]:
    return {found[0]: found[1] for found in ROW.findall(result.stdout)}


def test_it_reads_rollups_and_not_the_ledger(
    run: Run, connection: psycopg.Connection, busy: Organization
) -> None:
    connection.execute("alter table public.ai_usage_ledger rename to out_of_reach")
    for by in By:
        assert rows(run("report", "--by", by))["total"][1] == 24


def test_a_role_that_only_reads_may_see_it(
    run: Run, busy: Organization, reader: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("DATABASE_URL", reader)
    for by in By:
        assert rows(run("report", "--by", by))["total"][1] == 24


def test_matplotlib_is_imported_only_for_a_plot() -> None:
    program = "import sys, tallystick.cli.main; sys.exit('matplotlib' in sys.modules)"
    assert subprocess.run([sys.executable, "-c", program], check=False).returncode == 0


def whole(first: date, last: date, *spent: date) -> Report:
    """A report of a dollar on some days."""
    days = dict.fromkeys(spent or (first,), Decimal(1))
    return Report(
        organization_id=uuid4(),
        calendar=Calendar("Acme", "UTC", last),
        by=By.day,
        first=first,
        last=last,
        total=added([]),
        lines=[],
        days=days,
    )


def test_a_year_has_a_bar_per_day_and_more_have_one_per_month() -> None:
    year = whole(date(2024, 1, 1), date(2024, 12, 31), date(2024, 2, 29))
    days = bins(year)
    assert (days.unit, len(days.starts)) == ("day", 366)
    assert sum(days.sums(year.days)) == 1
    assert list(days.labels().values())[:2] == ["Jan\n2024", "Feb"]
    spent = (date(2024, 1, 31), date(2024, 3, 1), date(2024, 3, 31), date(2025, 1, 31))
    longer = whole(date(2024, 1, 1), date(2025, 1, 31), *spent)
    months = bins(longer)
    assert (months.unit, len(months.starts)) == ("month", 13)
    assert months.sums(longer.days) == [1, 0, 2, *[0] * 9, 1]
    assert months.labels()[12] == "Jan\n2025"


def test_of_an_age_only_the_days_with_spend_are_drawn() -> None:
    age = whole(date(1, 1, 1), date(9999, 12, 31), date(2026, 2, 3), date(2026, 2, 5))
    assert bins(age).starts == [date(2026, 2, 3) + timedelta(number) for number in range(3)]
    assert bins(age).labels() == {0: "3 Feb", 1: "4 Feb", 2: "5 Feb"}
    assert draw(age, [], "png").startswith(MAGIC["png"])


@pytest.mark.parametrize("length", [1, 10, 11, 70, 71, 366, 367, 5000])
def test_labels_of_days_are_few(length: int) -> None:
    first = date(2020, 1, 15)
    last = first + timedelta(length - 1)
    labels = bins(whole(first, last, first, last)).labels()
    assert 1 <= len(labels) <= 13


@pytest.mark.parametrize(
    ("part", "total", "shown"),
    [("0", "0", ""), ("0", "3", "0.0 %"), ("1", "3", "33.3 %"), ("0.001", "3", "<0.1 %")],
)
def test_shares(part: str, total: str, shown: str) -> None:
    assert share(Decimal(part), Decimal(total)) == shown


def test_names_are_made_fit_for_a_screen() -> None:
    assert printable("a\x1b[31m\nb\u202e") == "a�[31m�b�"
    for text in ("Größe 日本", "株式会社　山田", "1 234,50", "co­operate", "👩‍💻"):
        assert printable(text) == text
    assert shortened("0123456789", 10) == "0123456789"
    assert shortened("0123456789", 5) == "01…89"
    assert [len(shortened("0" * 50, width)) for width in (1, 2, 30)] == [1, 2, 30]
