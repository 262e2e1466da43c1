"""The example page in a real browser: signed in, every figure exact, new after each call."""

import os
import subprocess
import threading
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from uuid import UUID, uuid4

import httpx
import psycopg
import pytest
from playwright.sync_api import Browser, ConsoleMessage, Page, expect

from tallystick.local.ports import free_port
from tests.support.browser import running_browser
from tests.support.http import Http
from tests.support.patience import eventually
from tests.support.provider import PIECES, Answer, Provider

TREE = Path(__file__).parents[2]
SCREENSHOTS = TREE / ".cache" / "screenshots"
MODELS = ("page-model", "page-model-mini", "page-embedding")
RATES = '{"input_tokens": 2.5, "cache_read_tokens": 1.25, "output_tokens": 10}'
PASSWORD = "correct horse battery"  # noqa: S105


@dataclass(frozen=True)
class Visit:
    """A page with somebody at it."""

    page: Page
    email: str
    problems: list[str]

    def sign_up(self) -> None:
        """Create an account, by the form."""
        self._credentials()
        self.page.get_by_role("button", name="Create an account").click()

    def sign_in(self) -> None:
        """Come back."""
        self._credentials()
        self.page.get_by_role("button", name="Sign in").click()

    def open_organization(self, name: str) -> None:
        """Open the first organization, by the form."""
        self.page.get_by_label("Name").fill(name)
        self.page.get_by_role("button", name="Open").click()

    def call(self, model: str, prompt: str = "Say hello.") -> None:
        """Make a call through the proxy."""
        self.page.get_by_label("Model", exact=True).fill(model)
        self.page.get_by_label("Prompt").fill(prompt)
        self.page.get_by_role("button", name="Send").click()

    def rows(self, table: str) -> list[list[str]]:
        """Return what a table shows."""
        found = self.page.locator(f"#{table} tbody tr").all()
        return [[cell.inner_text() for cell in row.locator("td").all()] for row in found]

    def screenshot(self, name: str) -> None:
        """Keep what it looks like, for people to look at."""
        SCREENSHOTS.mkdir(parents=True, exist_ok=True)
        self.page.screenshot(path=SCREENSHOTS / f"{name}.png", full_page=True)

    def _credentials(self) -> None:
        self.page.get_by_label("Email").fill(self.email)
        self.page.get_by_label("Password").fill(PASSWORD)


@pytest.fixture(scope="module")
def browser() -> Iterator[Browser]:
    """A browser for all tests here."""
    with running_browser() as browser:
        yield browser


@pytest.fixture(scope="module")
def address(http: Http) -> Iterator[str]:
    """Where the page is served, by the script a reader would start."""
    port = free_port()
    environment = {
        **os.environ,
        "SUPABASE_URL": http.url,
        "SUPABASE_PUBLISHABLE_KEY": http.publishable_key,
        "PORT": str(port),
    }
    program = subprocess.Popen(
        [TREE / "scripts" / "spend-page"],
        env=environment,
        stdout=subprocess.DEVNULL,
        stderr=subprocess.DEVNULL,
    )
    address = f"http://127.0.0.1:{port}/"
    try:
        eventually(lambda: program.poll() is not None or is_served(address))
        assert program.poll() is None
        yield address
    finally:
        program.terminate()
        program.wait()


def is_served(address: str) -> bool:
    """Tell whether the page is there."""
    try:
        return httpx.get(address).is_success
    except httpx.ConnectError:
        return False


@pytest.fixture
def visit(browser: Browser, address: str) -> Iterator[Visit]:
    """A new visitor, whose browser complains of nothing."""
    context = browser.new_context(color_scheme="light", viewport={"width": 1280, "height": 900})
    page = context.new_page()
    problems: list[str] = []

    def heard(message: ConsoleMessage) -> None:
        # A refused call is a refused call in the browser's console too.
        if message.type == "error" and "status of 402" not in message.text:
            problems.append(message.text)

    page.on("console", heard)
    page.on("pageerror", lambda error: problems.append(str(error)))
    page.goto(address)
    yield Visit(page, f"{uuid4().hex}@example.org", problems)
    context.close()
    assert problems == []


@pytest.fixture
def prices(owner: psycopg.Connection) -> None:
    """Models of a provider."""
    for model in MODELS:
        owner.execute("select from pricing.set_price('fake', %s, %s)", (model, RATES))


def organization(owner: psycopg.Connection, email: str) -> UUID:
    """Return the organization that somebody opened."""
    row = owner.execute(
        "select m.organization_id from tenancy.memberships as m"
        " inner join auth.users as u on u.id = m.user_id where u.email = %s",
        (email,),
    ).fetchone()
    assert row is not None
    found: UUID = row[0]
    return found


def spend_over_a_month(owner: psycopg.Connection, organization_id: UUID) -> None:
    """Record calls on past days, by a clock that is set back until the transaction ends."""
    clock = "select pg_get_functiondef('private.clock_now()'::regprocedure)"
    with owner.transaction():
        ((present,),) = owner.execute(clock).fetchall()
        ((workflow,),) = owner.execute("select tests.workflow(%s)", (organization_id,)).fetchall()
        for days in range(1, 30):
            owner.execute("select tests.freeze_clock(now() - %s * interval '1 day')", (days,))
            for number, model in enumerate(MODELS):
                if (days * 7 + number * 3) % 5:
                    cost = f"{(days * 37 + number * 11) % 29 / (number + 2):.6f}123456"
                    owner.execute("select tests.spend(%s, %s, %s)", (workflow, cost, model))
        owner.execute(present)


def test_a_call_is_seen_at_once(
    visit: Visit, provider: Provider, owner: psycopg.Connection, prices: None
) -> None:
    """From an empty account to the first row of the ledger, held in between, exact at the end."""
    page = visit.page
    visit.sign_up()
    visit.open_organization("Page & <b>Sons</b>")
    expect(page.get_by_text("Nothing was spent yet.")).to_be_visible()
    expect(page.locator("#today")).to_have_text("$0.00")
    expect(page.locator("#organization option")).to_have_text("Page & <b>Sons</b>")
    visit.screenshot("empty")

    acme = organization(owner, visit.email)
    owner.execute("select metering.set_budget(%s, 'organization', null, 'month', 0.05)", (acme,))
    go = threading.Event()
    provider.plan(Answer(go=go))
    visit.call("page-model")
    expect(page.locator("#answer")).to_have_text(PIECES[0])
    expect(page.locator("#holds tbody tr")).to_have_count(1)
    held = visit.rows("holds")[0][-1]
    expect(page.locator("#held")).to_have_text(held)
    visit.screenshot("during-a-call")

    go.set()
    expect(page.locator("#answer")).to_have_text("".join(PIECES))
    expect(page.locator("#usages tbody tr")).to_have_count(1)
    assert visit.rows("usages")[0][1:] == ["page-model", "1,200", "300", "$0.00475"]
    assert visit.rows("models") == [["page-model", "1", "1,200", "300", "$0.00475"]]
    expect(page.locator("#today")).to_have_text("$0.00475")
    expect(page.locator("#month")).to_have_text("$0.00475")
    expect(page.locator("#held")).to_have_text("$0.00")
    expect(page.locator("#holds")).to_be_hidden()
    expect(page.locator(".budget .remaining")).to_have_text("$0.04525 left")
    meter = page.get_by_role("meter", name="organization, used")
    expect(meter).to_have_attribute("aria-valuetext", "$0.00475 spent and $0.00 held")


def test_a_refused_call_says_what_is_left(
    visit: Visit, provider: Provider, owner: psycopg.Connection, prices: None
) -> None:
    """And nothing is in the ledger."""
    visit.sign_up()
    visit.open_organization("Small")
    expect(visit.page.locator("#overview")).to_be_visible()
    small = organization(owner, visit.email)
    owner.execute("select metering.set_budget(%s, 'organization', null, 'total', 0.003)", (small,))
    provider.plan()
    visit.call("page-model")
    problem = visit.page.get_by_role("alert").filter(has_text="Refused")
    expect(problem).to_contain_text("$0.003 left. Enough for 29")
    assert provider.requests == []
    assert visit.rows("usages") == []
    visit.screenshot("refused")


def test_others_calls_are_seen_by_themselves(
    visit: Visit, owner: psycopg.Connection, prices: None
) -> None:
    """What somebody else spends shows within seconds, without a hand on the page."""
    visit.sign_up()
    visit.open_organization("Busy")
    expect(visit.page.get_by_text("Nothing was spent yet.")).to_be_visible()
    busy = organization(owner, visit.email)
    owner.execute("select tests.spend(tests.workflow(%s), 0.000000000001, 'page-model')", (busy,))
    expect(visit.page.locator("#today")).to_have_text("$0.000000000001", timeout=20_000)


def test_a_month_is_glad_to_be_looked_at(
    visit: Visit, provider: Provider, owner: psycopg.Connection, prices: None
) -> None:
    """Thirty days of three models, light and dark, wide and narrow; sums are exact."""
    page = visit.page
    visit.sign_up()
    visit.open_organization("Acme")
    expect(page.locator("#overview")).to_be_visible()
    acme = organization(owner, visit.email)
    spend_over_a_month(owner, acme)
    for scope, scope_id, window, limit, enforcement in [
        ("organization", None, "month", "500", "hard"),
        ("organization", None, "day", "20", "soft"),
        ("model", "page-model", "total", "180", "hard"),
        ("tag", "feature=chat", "week", "25", "hard"),
    ]:
        owner.execute(
            "select metering.set_budget(%s, %s, %s, %s, %s, %s)",
            (acme, scope, scope_id, window, limit, enforcement),
        )
    for model in MODELS:
        visit.call(model, "Summarise this week's support tickets.")
        expect(page.locator("#send")).to_be_enabled()
    owner.execute("select tests.hold(%s, 0.125, 'page-model-mini')", (acme,))
    expect(page.locator("#holds tbody tr")).to_have_count(1, timeout=20_000)

    expect(page.locator("#chart g[data-day]")).to_have_count(30)
    shown = [amount for *_, amount in visit.rows("models")]
    recorded = owner.execute(
        "select sum(cost) from ai_usage_ledger where organization_id = %s"
        " group by model order by sum(cost) desc",
        (acme,),
    ).fetchall()
    assert shown == [f"${cost:,.12f}".rstrip("0") for (cost,) in recorded]
    assert len(shown[0]) == len("$100.000000000000")
    visit.screenshot("light")
    page.emulate_media(color_scheme="dark")
    visit.screenshot("dark")
    page.set_viewport_size({"width": 390, "height": 844})
    visit.screenshot("narrow")
    # Nothing is out of sight to the side.
    overflowing = "[document.documentElement, ...document.querySelectorAll('.scroll')]"
    assert page.evaluate(f"{overflowing}.every((box) => box.scrollWidth <= box.clientWidth)")


def test_signing_out_leaves_nothing_behind(
    visit: Visit, owner: psycopg.Connection, prices: None
) -> None:
    """The next visitor at the same browser sees their own account only."""
    page = visit.page
    visit.sign_up()
    visit.open_organization("Private")
    expect(page.locator("#overview")).to_be_visible()
    page.get_by_role("button", name="Sign out").click()
    expect(page.get_by_role("heading", name="Sign in")).to_be_visible()
    expect(page.locator("#overview")).to_be_hidden()
    other = Visit(page, f"{uuid4().hex}@example.org", visit.problems)
    other.sign_up()
    expect(page.get_by_role("heading", name="Open an organization")).to_be_visible()
    page.get_by_role("button", name="Sign out").click()
    visit.sign_in()
    expect(page.locator("#organization option")).to_have_text("Private")


def test_no_row_of_a_long_listing_is_left_out(
    visit: Visit, owner: psycopg.Connection, prices: None
) -> None:
    """More models and days than the API answers at once."""
    visit.sign_up()
    visit.open_organization("Many")
    expect(visit.page.get_by_text("Nothing was spent yet.")).to_be_visible()
    many = organization(owner, visit.email)
    owner.execute(
        "insert into metering.usage_rollups (organization_id, scope, scope_id, day, model, slot,"
        " requests, prompt_tokens, completion_tokens, cost)"
        " select %s, 'organization', '', (now() at time zone o.time_zone)::date - d, 'm' || m, 0,"
        " 1, 1, 1, 0.01 from generate_series(0, 29) as d, generate_series(1, 40) as m,"
        " tenancy.organizations as o where o.id = %s",
        (many, many),
    )
    expect(visit.page.locator("#today")).to_have_text("$0.40", timeout=20_000)
    assert {amount for *_, amount in visit.rows("models")} == {"$0.30"}


def test_a_session_that_is_none_any_more_leads_to_the_form(visit: Visit) -> None:
    """As after a change of the keys that sign tokens."""
    page = visit.page
    visit.sign_up()
    visit.open_organization("Old")
    expect(page.locator("#overview")).to_be_visible()
    page.evaluate(
        """() => {
          const key = Object.keys(localStorage).find((name) => name.endsWith("-auth-token"));
          const session = JSON.parse(localStorage[key]);
          session.access_token = session.access_token.replace(/.{8}$/, "AAAAAAAA");
          localStorage[key] = JSON.stringify(session);
        }"""
    )
    page.reload()
    expect(page.get_by_role("heading", name="Sign in")).to_be_visible()
    expect(page.locator("#sign-in-error")).not_to_be_empty()
    assert not page.evaluate("Object.keys(localStorage).some((name) => name.includes('token'))")
    # The browser itself tells of the answers; the page has no problem with them.
    assert all("Failed to load resource" in problem for problem in visit.problems)
    visit.problems.clear()
    visit.sign_in()
    expect(page.locator("#organization option")).to_have_text("Old")


def test_figures_that_cannot_be_read_are_nobody_s(
    visit: Visit, owner: psycopg.Connection, prices: None
) -> None:
    """Where reading fails, a visitor sees no figure of the one before."""
    page = visit.page
    visit.sign_up()
    visit.open_organization("Before")
    expect(page.locator("#overview")).to_be_visible()
    before = organization(owner, visit.email)
    owner.execute("select tests.spend(tests.workflow(%s), 7, 'page-model')", (before,))
    expect(page.locator("#today")).to_have_text("$7.00", timeout=20_000)
    page.get_by_role("button", name="Sign out").click()
    expect(page.get_by_role("heading", name="Sign in")).to_be_visible()
    assert "7.00" not in page.locator("body").evaluate("(body) => body.textContent")

    page.route("**/rest/v1/spend_by_model*", lambda route: route.abort())
    other = Visit(page, f"{uuid4().hex}@example.org", visit.problems)
    other.sign_up()
    other.open_organization("After")
    expect(page.locator("#updated")).to_contain_text("Not updated", timeout=20_000)
    expect(page.locator("#today")).to_be_empty()
    expect(page.get_by_text("Nothing was spent yet.")).to_be_hidden()
    page.unroute("**/rest/v1/spend_by_model*")
    visit.problems.clear()  # of the browser, about what was aborted
    expect(page.locator("#today")).to_have_text("$0.00", timeout=20_000)
