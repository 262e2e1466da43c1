"""The command `tallystick statement`."""

import dataclasses
from collections.abc import Iterator
from datetime import date
from decimal import Decimal
from html.parser import HTMLParser
from pathlib import Path
from typing import Any
from uuid import UUID

import psycopg
import pytest

from tallystick import Client, DayUsage, Organization, Statement
from tallystick.cli.report.bands import Band
from tallystick.cli.report.spend import Calendar
from tallystick.cli.statement.page import page
from tallystick.cli.statement.sums import DoesNotAddUp, assert_adds_up, heading, usage, zone
from tallystick.figures import usd
from tests.cli.conftest import Run
from tests.cli.test_budgets import assert_refused, text_of

NAME = "Himal <script>alert(1)</script> & Sons"
MODEL = "<img src=x>-4o"
LEAST = Decimal("0.000000000001")
TODAY = date(2026, 2, 12)


@pytest.fixture(autouse=True)
def folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """Where pages are written."""
    monkeypatch.chdir(tmp_path)
    return tmp_path


@pytest.fixture
def himal(client: Client, connection: psycopg.Connection) -> Organization:
    """Its days begin at 18:15 UTC; a purchase at the end of January there, the rest in February."""
    at(connection, "2026-01-31 18:14")
    himal = client.create_organization(NAME, time_zone="Asia/Kathmandu")
    client.purchase_credits(himal.id, Decimal(50), "payment-1")
    at(connection, "2026-01-31 18:15")
    client.adjust_credits(himal.id, Decimal("-1.5"), "chargeback_<i>", "adjustment-1")
    at(connection, "2026-02-10 12:00")
    run = client.start_run(
        himal.id, 800, 200, input_cost_usd=Decimal(1), output_cost_usd=Decimal(0)
    )
    client.record_token_call(run.id, None, None, None, 700, 100, MODEL, Decimal("0.4"))
    client.complete_run(run.id)
    held = client.authorize_spend(himal.id, model="outside", estimated_cost=Decimal(2))
    assert held.hold_id is not None
    client.settle_spend(held.hold_id, usage={"input_tokens": 10}, cost=1 + LEAST)
    at(connection, "2026-02-12 12:00")
    client.close_draws()
    return himal


@pytest.fixture
def statement(client: Client, himal: Organization) -> Statement:
    return client.get_statement(himal.id, TODAY)


def at(connection: psycopg.Connection, time: str) -> None:
    connection.execute("select tests.freeze_clock(%s)", [f"{time}+0"])


def test_a_month_is_shown_and_adds_up(run: Run, himal: Organization) -> None:
    shown = text_of(run("statement", "--month", "2026-02"))
    for part in (
        f"{NAME} ({himal.id})",
        "Statement of February 2026 so far, Asia/Kathmandu",
        "opening balance $50.00",
        "2026-02-01 00:00 chargeback <i> -$1.50 $48.50",
        "2026-02-10 17:45 run charge -$1.00 $47.50",
        "token reconciliation overestimate $0.60 $48.10",
        "draw charge -$1.000000000001 $47.099999999999",
        "closing balance $47.099999999999",
        "outside $1.000000000001 71.4 % 1 10 0",
        f"{MODEL} $0.40 28.6 % 1 700 100",
        "total $1.400000000001 100.0 % 2 710 100",
    ):
        assert part in shown
    assert "Owed" not in shown
    assert text_of(run("statement")) == shown  # the present month, where none is named


def test_other_months(run: Run, himal: Organization) -> None:
    january = text_of(run("statement", "--month", "2026-01", "--org", NAME))
    assert "Statement of January 2026, Asia/Kathmandu" in january
    assert "opening balance $0.00" in january
    assert "2026-01-31 23:59 credit purchase $50.00 $50.00" in january
    assert "closing balance $50.00" in january
    assert "No usage." in january
    march = text_of(run("statement", "--month", "2026-03", "--organization", himal.id))
    assert "opening balance $47.099999999999 closing balance $47.099999999999" in march


def test_what_is_not_listed_is_one_line(run: Run, himal: Organization) -> None:
    shown = text_of(run("statement", "--limit", 1))
    assert "3 earlier movements -$1.90 $48.10" in shown
    assert "draw charge" in shown
    assert "run charge" not in shown
    assert "1 other" in shown
    assert "closing balance $47.099999999999" in shown


def test_what_is_owed_is_said(run: Run, client: Client, himal: Organization) -> None:
    run_ = client.start_run(himal.id, 1, 1, input_cost_usd=LEAST, output_cost_usd=LEAST)
    client.record_token_call(run_.id, None, None, None, 1, 1, MODEL, Decimal(60))
    client.complete_run(run_.id)
    shown = text_of(run("statement", "--html", "s.html"))
    assert "closing balance $0.00" in shown
    assert "Owed beyond credits: $12.900000000001" in shown
    assert "Owed beyond credits" in Path("s.html").read_text()


def test_one_without_credits_has_usage_all_the_same(run: Run, client: Client) -> None:
    acme = client.create_organization("Acme")
    held = client.authorize_spend(acme.id, model="gpt-4o", estimated_cost=Decimal(1))
    assert held.hold_id is not None
    client.settle_spend(held.hold_id, cost=Decimal("0.25"))
    shown = text_of(run("statement"))
    assert "opening balance $0.00 closing balance $0.00" in shown
    assert "gpt-4o $0.25" in shown


class Page(HTMLParser):
    """What a page is made of."""

    def __init__(self, html: str) -> None:
        super().__init__()
        self.text: list[str] = []
        self.tags: set[str] = set()
        self.links: list[str] = []
        self.open: list[str] = []
        self.feed(html)
        self.close()

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self.tags.add(tag)
        self.links += [
            value or "" for name, value in attrs if name in ("src", "href", "xlink:href", "action")
        ]
        if tag not in ("meta", "br", "img"):
            self.open.append(tag)

    def handle_startendtag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self.handle_starttag(tag, attrs)
        self.handle_endtag(tag)

    def handle_endtag(self, tag: str) -> None:
        assert self.open.pop() == tag

    def handle_data(self, data: str) -> None:
        self.text.append(data)

    @property
    def words(self) -> str:
        return " ".join(" ".join(self.text).split())


def test_the_page_has_all_of_it_and_loads_nothing(run: Run, himal: Organization) -> None:
    assert "Page: s.html" in text_of(run("statement", "--html", "s.html", "--limit", 1))
    html = Path("s.html").read_text(encoding="utf-8")
    made = Page(html)
    assert not made.open
    assert made.tags.isdisjoint({"script", "img", "link", "iframe", "i"})
    assert "svg" in made.tags
    assert all(link.startswith("#") for link in made.links)
    assert "url(http" not in html
    assert "default-src 'none'" in html
    for part in (
        f"{NAME}: statement of February 2026 so far",
        "Opening balance $50.00 Movements -$2.900000000001 Closing balance $47.099999999999",
        "2026-02-01 00:00 chargeback <i> -$1.50 $48.50",
        "run charge run 0",
        "draw charge draw 0",
        f"{MODEL} $0.40 28.6 % 1 700 100",
        "Total $1.400000000001 100.0 % 2 710 100",
        f"{MODEL} (28.6 %)",  # the chart's legend
    ):
        assert part in made.words


def test_the_same_statement_makes_the_same_page(run: Run, himal: Organization) -> None:
    pages = set()
    for name in ("a.html", "b.html"):
        run("statement", "--html", name)
        pages.add(Path(name).read_bytes())
    assert len(pages) == 1


def test_a_page_without_usage_has_no_chart(statement: Statement) -> None:
    empty = dataclasses.replace(statement, usage_by_model=(), usage_by_day=())
    made = Page(page(empty, Calendar(NAME, "Asia/Kathmandu", TODAY), []))
    assert "svg" not in made.tags
    assert "No usage." in made.words


def test_a_page_that_cannot_be_written_is_said(run: Run, himal: Organization) -> None:
    result = run("statement", "--html", "missing/s.html")
    assert result.exit_code == 1
    assert "Error: the page cannot be written to missing/s.html" in result.stderr


def contradictions(statement: Statement) -> Iterator[tuple[str, dict[str, Any]]]:
    """What a statement could say of itself that is not so, and what is said about that."""
    first, *rest = statement.movements
    yield "closing balance", {"closing_balance_usd": statement.closing_balance_usd + LEAST}
    yield str(first.id), {"opening_balance_usd": statement.opening_balance_usd - LEAST}
    yield str(rest[0].id), {"movements": tuple(rest)}
    more = dataclasses.replace(first, amount_usd=first.amount_usd + LEAST)
    yield str(first.id), {"movements": (more, *rest)}
    other = dataclasses.replace(first, direction="credit")
    yield str(first.id), {"movements": (other, *rest)}
    yield "usage of all days", {"usage_by_model": statement.usage_by_model[1:]}
    extra = DayUsage(day=TODAY, cost_usd=LEAST)
    yield "usage of all days", {"usage_by_day": (*statement.usage_by_day, extra)}


def test_a_statement_that_does_not_add_up_is_refused(statement: Statement) -> None:
    assert_adds_up(statement)
    for told, changes in contradictions(statement):
        with pytest.raises(DoesNotAddUp, match=told):
            assert_adds_up(dataclasses.replace(statement, **changes))


def test_what_does_not_add_up_is_not_shown(
    run: Run, connection: psycopg.Connection, himal: Organization
) -> None:
    connection.execute(
        "alter table billing.credit_balance_history disable trigger user;"
        " alter table billing.credit_balance_history"
        " drop constraint credit_balance_history_change_is_the_difference;"
        " update billing.credit_balance_history set change_usd = change_usd + 1 where movement = 3"
    )
    result = run("statement", "--html", "s.html")
    assert_refused(result, "does not add up", "the closing balance")
    assert not result.stdout
    assert not Path("s.html").exists()


def test_the_usage_is_of_the_whole_month(statement: Statement) -> None:
    spent = usage(statement, Calendar(NAME, "Asia/Kathmandu", TODAY))
    assert (spent.first, spent.last) == (date(2026, 2, 1), date(2026, 2, 28))
    assert usd(spent.total.cost) == "$1.400000000001"
    assert heading(statement, date(2026, 3, 1)) == "February 2026"


def test_a_zone_that_only_the_database_knows_is_utc(statement: Statement) -> None:
    for name in ("Nowhere/At_all", "../etc"):
        assert str(zone(dataclasses.replace(statement, time_zone=name))) == "UTC"


@pytest.mark.parametrize("month", ["2026", "2026-13", "2026-2", "2026-02-01", "february"])
def test_a_month_that_is_none_is_refused(run: Run, himal: Organization, month: str) -> None:
    result = run("statement", "--month", month)
    assert result.exit_code == 2
    assert "is not a month such as 2026-01" in " ".join(result.stderr.split())


def test_an_organization_that_is_not_there_is_said(run: Run, himal: Organization) -> None:
    assert_refused(run("statement", "--org", "Nobody"), "'Nobody'")
    assert_refused(run("statement", "--org", UUID(int=1)), str(UUID(int=1)))


def test_many_models_are_all_on_the_page(statement: Statement) -> None:
    each = statement.usage_by_model[0]
    models = tuple(dataclasses.replace(each, model=f"model-{number}") for number in range(60))
    days = (DayUsage(day=TODAY, cost_usd=60 * each.cost_usd),)
    busy = dataclasses.replace(statement, usage_by_model=models, usage_by_day=days)
    made = Page(page(busy, Calendar(NAME, "UTC", TODAY), [Band("all", usage_of(busy))]))
    assert all(f"model-{number} $" in made.words for number in range(60))


def usage_of(statement: Statement) -> dict[date, Decimal]:
    return {each.day: each.cost_usd for each in statement.usage_by_day}
