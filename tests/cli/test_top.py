"""The command `tallystick top`."""

import fcntl
import io
import os
import pty
import re
import select
import signal
import struct
import subprocess
import sys
import termios
import time
from collections.abc import Iterator
from contextlib import contextmanager
from datetime import date, timedelta
from decimal import Decimal
from uuid import UUID

import psycopg
import pytest
from rich.console import Console

from tallystick import Client, Organization
from tallystick.cli.top.board import Amount, Cap, Days, read_board
from tallystick.cli.top.caps import use_bar, used
from tallystick.cli.top.pace import WINDOW, Pace
from tallystick.cli.top.screen import Size, screen
from tallystick.cli.top.words import short
from tallystick.figures import lasting, usd
from tests.cli.conftest import Run
from tests.cli.test_budgets import assert_refused, text_of
from tests.cli.test_report import acme, at, kathmandu, ledger, reader, spend, workflow
from tests.support.servers import Database

__all__ = ["acme", "kathmandu", "reader"]  # fixtures

CENT = Decimal("0.01")
PROGRAM = [sys.executable, "-m", "tallystick.cli.main", "top"]


def hold(client: Client, organization: Organization, usd_held: str, **about: timedelta) -> None:
    decision = client.authorize_spend(
        organization.id, estimated_cost=Decimal(usd_held), model="gpt-4o", **about
    )
    assert decision.granted


def test_one_screen_where_there_is_no_terminal(
    run: Run, client: Client, connection: psycopg.Connection, acme: Organization
) -> None:
    chat = workflow(client, acme, name="chat [red]")
    spend(client, acme, "1.000000000001", model="gpt-4o", workflow_id=chat)
    spend(client, acme, "0.25", model="mini")
    hold(client, acme, "0.5")
    hold(client, acme, "0.125", expires_in=timedelta(milliseconds=1))
    client.set_budget(acme.id, "organization", None, "month", Decimal(100))
    client.set_budget(acme.id, "workflow", str(chat), "total", Decimal("1.25"))
    at(connection, "2026-02-10 12:05+0")
    told = text_of(run("top"))
    assert told.startswith("Acme 2026-02-10 12:05:00 UTC ")
    total, requests = ledger(connection)["total"]
    assert f"today {usd(total)} in {requests} requests" in told
    assert f"this month {usd(total)} in 2 requests" in told
    assert "now measuring" in told
    assert "held $0.625 in 2 open holds, of which $0.125 in 1 overdue" in told
    tightest, second = (
        told.index(part) for part in ("total workflow chat [red]", "month organization")
    )
    assert tightest < second
    assert re.search(r"total workflow chat .+ \$1.25 \$1.00 \$0.00 \$0.2500 never", told)
    assert re.search(
        r"month organization . \$100.00 \$1.25 \$0.6250 \$98.12 \d+ (d|h|min|s) ", told
    )
    lists = told[told.index("model today") :]
    assert "gpt-4o $1.00 1 chat [red] $1.00 1 mini $0.2500 1" in lists
    assert text_of(run("top", "--once")).startswith("Acme ")


def test_today_and_the_month_are_those_of_the_organization(
    run: Run, client: Client, connection: psycopg.Connection, kathmandu: Organization
) -> None:
    at(connection, "2026-02-28 18:14:59+0")
    spend(client, kathmandu, "1")
    told = text_of(run("top"))
    assert "2026-02-28 23:59:59 Asia/Kathmandu" in told
    assert "today $1.00 in 1 request this month $1.00" in told
    at(connection, "2026-02-28 18:15+0")
    told = text_of(run("top"))
    assert "2026-03-01 00:00:00 Asia/Kathmandu" in told
    assert "today $0.00 in 0 requests this month $0.00" in told
    assert "model today spent requests workflow today spent requests none yet none yet" in told
    at(connection, "2026-03-02 12:00+0")
    spend(client, kathmandu, "2")
    at(connection, "2026-03-03 12:00+0")
    spend(client, kathmandu, "4")
    assert "today $4.00 in 1 request this month $6.00 in 2 requests" in text_of(run("top"))


def test_a_line_for_each_organization_the_one_that_spends_most_first(
    run: Run, client: Client, acme: Organization, kathmandu: Organization
) -> None:
    idle = client.create_organization("Idle")
    spend(client, acme, "1")
    spend(client, kathmandu, "2")
    hold(client, acme, "0.5")
    client.set_budget(acme.id, "organization", None, "day", Decimal(3))
    client.set_budget(acme.id, "organization", None, "month", Decimal(1000))
    client.freeze(idle.id)
    result = run("top")
    told = text_of(result)
    assert told.startswith("3 organizations ")
    assert "today $3.00 in 2 requests" in told
    assert "held $0.50 in 1 open hold" in told
    lines = [line.split() for line in result.output.splitlines()[-3:]]
    assert [line[0] for line in lines] == ["Himal", "Acme", "frozen"]
    assert lines[0][-6:] == ["$2.00", "1", "$2.00", "...", "$0.00", "none"]
    assert lines[1][1:6] == ["$1.00", "1", "$1.00", "...", "$0.5000"]
    assert lines[1][-3:] == ["50", "%", "day"]
    assert text_of(run("top", "--organization", "Acme")).startswith("Acme ")
    assert "frozen all spend is refused" in text_of(run("top", "--organization", "Idle"))


def test_frozen_scopes_are_counted(run: Run, client: Client, acme: Organization) -> None:
    assert "frozen" not in text_of(run("top"))
    for key in ("one", "other"):
        client.freeze(acme.id, scope="api_key", scope_id=key)
    told = text_of(run("top"))
    assert "frozen 2 scopes, where all spend is refused" in told
    assert "no budget has a limit" in told
    client.set_budget(acme.id, "api_key", "one", "total", CENT)
    assert "total frozen api_key one" in text_of(run("top"))
    client.freeze(acme.id)
    told = text_of(run("top"))
    assert "frozen all spend is refused" in told
    assert "total api_key one" in told


def test_it_reads_rollups_and_not_the_ledger(
    run: Run, client: Client, connection: psycopg.Connection, acme: Organization
) -> None:
    spend(client, acme, "1")
    connection.execute("alter table public.ai_usage_ledger rename to out_of_reach")
    assert "today $1.00" in text_of(run("top"))


def test_a_role_that_only_reads_may_see_it(
    run: Run, client: Client, acme: Organization, reader: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    spend(client, acme, "1", workflow_id=workflow(client, acme))
    client.set_budget(acme.id, "organization", None, "month", Decimal(10))
    monkeypatch.setenv("DATABASE_URL", reader)
    told = text_of(run("top"))
    assert "today $1.00" in told
    assert "month organization" in told


def test_what_stands_in_the_way_is_one_line(
    run: Run, client: Client, bare_database: Database, monkeypatch: pytest.MonkeyPatch
) -> None:
    assert_refused(run("top"), "no organization yet")
    assert_refused(run("top", "--organization", "Nobody"), "'Nobody'")
    assert run("top", "--interval", "0").exit_code == 2
    monkeypatch.setenv("DATABASE_URL", bare_database.url())
    assert_refused(run("top"), "not installed")


def test_a_database_that_does_not_answer_is_one_line() -> None:
    environment = os.environ | {"DATABASE_URL": "postgresql://127.0.0.1:1/nowhere"}
    done = subprocess.run(PROGRAM, env=environment, capture_output=True, text=True, check=False)
    assert done.returncode == 1
    assert done.stderr.startswith("Error: connection failed")
    assert len(done.stderr.splitlines()) == 1


@pytest.fixture
def crowded(client: Client, acme: Organization) -> Organization:
    """More of everything than a screen has room for."""
    for number in range(30):
        name = f"a workflow with a long name, number {number}"
        chat = workflow(client, acme, name=name)
        spend(client, acme, f"{number + 1}", model=f"{number}-of-many-models", workflow_id=chat)
        client.set_budget(acme.id, "workflow", str(chat), "total", Decimal(1000))
    client.freeze(acme.id)
    client.freeze(acme.id, scope="model", scope_id="o3")
    return acme


def lines(connection: psycopg.Connection, width: int, height: int) -> list[str]:
    pace = Pace()
    for second in range(200):
        spent = {UUID(int=1): {date(2026, 1, 1): Amount(second, Decimal(second))}}
        pace.look(timedelta(seconds=second), spent)
    page = Console(file=io.StringIO(), width=width, height=height, highlight=False)
    with page.capture() as capture:
        page.print(screen(read_board(connection, None, height), pace, Size(width, height)))
    return capture.get().splitlines()


@pytest.mark.parametrize(("width", "height"), [(80, 24), (80, 20), (100, 50), (220, 80)])
def test_a_screen_fits(
    connection: psycopg.Connection, crowded: Organization, width: int, height: int
) -> None:
    drawn = lines(connection, width, height)
    assert len(drawn) <= height
    assert max(map(len, drawn)) <= width
    (budgets,) = (line for line in drawn if line.startswith("tightest budgets"))
    if height < 80:
        shown = int(re.findall(r"budgets, (\d+) of 30", budgets)[0])
        assert len(drawn) == height
        assert shown == sum(line.startswith("total workflow") for line in drawn) >= 4
    assert "29-of-many-models" in " ".join(drawn)
    assert "$30.00" in " ".join(drawn)


def test_many_organizations_fit(connection: psycopg.Connection, client: Client) -> None:
    for number in range(30):
        client.create_organization(f"Organization with a long name, number {number:02}")
    drawn = lines(connection, 80, 24)
    assert len(drawn) == 24
    assert max(map(len, drawn)) <= 80
    assert any(line.startswith("organizations, 16 of 30") for line in drawn)


ACME, OTHER = UUID(int=1), UUID(int=2)
MONDAY, TUESDAY = date(2026, 2, 2), date(2026, 2, 3)


def spent(**days: tuple[int, str]) -> Days:
    """What Acme spent on some days."""
    names = {"monday": MONDAY, "tuesday": TUESDAY}
    return {
        ACME: {names[day]: Amount(number, Decimal(cost)) for day, (number, cost) in days.items()}
    }


def test_a_rate_needs_two_looks() -> None:
    pace = Pace()
    assert pace.rate() is None
    pace.look(timedelta(seconds=100), spent(monday=(7, "70")))
    assert pace.rate() is None
    pace.look(timedelta(seconds=102), spent(monday=(8, "70.5")))
    rate = pace.rate()
    assert rate is not None
    assert (rate.requests, rate.usd, rate.over) == (30, 15, timedelta(seconds=2))
    assert pace.rate(ACME) == rate
    other = pace.rate(OTHER)
    assert other is not None
    assert (other.requests, other.usd) == (0, 0)


def test_a_rate_goes_over_midnight_and_counts_what_is_settled_late() -> None:
    pace = Pace()
    pace.look(timedelta(0), spent(monday=(7, "70")))
    pace.look(timedelta(seconds=60), spent(monday=(8, "71"), tuesday=(2, "4")))
    pace.look(timedelta(seconds=120), spent(tuesday=(3, "5")))  # the month before is forgotten
    assert pace.steps() == [5, 1]
    rate = pace.rate()
    assert rate is not None
    assert (rate.requests, rate.usd) == (2, 3)


def test_a_rate_forgets_what_is_long_ago() -> None:
    pace = Pace()
    for minute in range(60):
        pace.look(timedelta(minutes=minute), spent(monday=(minute, f"{minute**2}")))
    rate = pace.rate()
    assert rate is not None
    assert rate.over == WINDOW
    assert rate.requests == 1
    assert rate.usd == Decimal(59**2 - 54**2) / 5
    assert len(pace.steps()) == 5


def cap(limit: str, settled: str, held: str) -> Cap:
    amounts = [Decimal(each) for each in (limit, settled, held)]
    return Cap(
        organization_id=ACME,
        scope="organization",
        scope_id="",
        time_window="total",
        frozen=False,
        soft=False,
        limit_usd=amounts[0],
        settled_usd=amounts[1],
        held_usd=amounts[2],
        remaining_usd=amounts[0] - amounts[1] - amounts[2],
        resets_at=None,
    )


@pytest.mark.parametrize(
    ("budget", "percent", "drawn", "settled", "colour"),
    [
        (cap("8", "2", "0"), "25 %", "██      ", 2, "green"),
        (cap("8", "2", "4.5"), "81 %", "██████▌ ", 2, "yellow"),
        (cap("8", "9", "1"), "100 %", "████████", 8, "red"),
        (cap("0", "0", "0"), "100 %", "████████", 8, "red"),
    ],
)
def test_a_bar_shows_what_is_settled_and_what_is_held(
    budget: Cap, percent: str, drawn: str, settled: int, colour: str
) -> None:
    assert used(budget) == percent
    text = use_bar(budget, 8)
    assert text.plain == drawn
    assert str(text.spans[0].style).startswith(colour)
    assert [span.start for span in text.spans if span.style == "dim"] == [settled] * (settled < 8)


@pytest.mark.parametrize(
    ("amount", "shown"),
    [
        ("0", "$0.00"),
        ("0.00009", "<$0.0001"),
        ("0.1234567", "$0.1235"),
        ("1.999", "$2.00"),
        ("1234.5", "$1,234.50"),
        ("123456.7", "$123,457"),
        ("-0.5", "-$0.5000"),
        ("-12", "-$12.00"),
    ],
)
def test_short_amounts(amount: str, shown: str) -> None:
    assert short(Decimal(amount)) == shown


@pytest.mark.parametrize(
    ("seconds", "shown"),
    [(-5, "0 s"), (119, "119 s"), (120, "2 min"), (7200, "2 h"), (200_000, "2 d")],
)
def test_times_in_words(seconds: int, shown: str) -> None:
    assert lasting(timedelta(seconds=seconds)) == shown


HOME = "\x1b[H"  # begins a screen


class Terminal:
    """A terminal of 80x24 with the program running in it."""

    def __init__(self, process: subprocess.Popen[bytes], master: int) -> None:
        self.process = process
        self.written = ""
        self._master = master

    def wait_for(self, text: str, seconds: float = 20) -> str:
        """Return the first whole screen from now on that shows a text."""
        start, end = len(self.written), time.monotonic() + seconds
        while time.monotonic() < end:
            self.read(0.1)
            whole = self.written[start:].split(HOME)[1:-1]
            for shown in map(plain, whole):
                if text in shown:
                    return shown
        raise AssertionError(f"{text!r} is not in {plain(self.written[start:])}")

    def read(self, seconds: float = 0) -> None:
        """Take in what was written, waiting for it at most so long."""
        while select.select([self._master], [], [], seconds)[0]:
            try:
                self.written += os.read(self._master, 65536).decode(errors="replace")
            except OSError:  # how Linux tells that nobody writes any more
                return
            seconds = 0

    def end(self) -> int:
        """Press Ctrl-C and return the exit code."""
        os.write(self._master, b"\x03")
        code = self.process.wait(20)
        self.read()
        return code


def plain(text: str) -> str:
    return re.sub(r"\x1b\[[0-9;?]*[A-Za-z]", "", text)


def take_terminal() -> None:
    """Make the terminal the process's own, so that Ctrl-C reaches it and nobody else.

    A shell lets what it starts in the background, and all that starts in turn, ignore Ctrl-C.
    """
    os.setsid()
    fcntl.ioctl(0, termios.TIOCSCTTY, 0)
    signal.signal(signal.SIGINT, signal.SIG_DFL)


@contextmanager
def terminal(database: Database, *arguments: str) -> Iterator[Terminal]:
    master, slave = pty.openpty()
    fcntl.ioctl(slave, termios.TIOCSWINSZ, struct.pack("HHHH", 24, 80, 0, 0))
    environment = {
        name: value for name, value in os.environ.items() if name not in ("COLUMNS", "LINES")
    }
    process = subprocess.Popen(
        [*PROGRAM, *arguments],
        env=environment | {"DATABASE_URL": database.url(), "TERM": "xterm"},
        stdin=slave,
        stdout=slave,
        stderr=slave,
        preexec_fn=take_terminal,
    )
    os.close(slave)
    try:
        yield Terminal(process, master)
    finally:
        process.kill()
        process.wait()
        os.close(master)


def test_it_lives_on_a_terminal(
    client: Client, connection: psycopg.Connection, database: Database, acme: Organization
) -> None:
    spend(client, acme, "1")
    with terminal(database, "--interval", "0.2") as shown:
        first = shown.wait_for("today       $1.00 in 1 request")
        assert "now         measuring" in first
        assert "every 0.2 s; Ctrl-C ends" in first
        spend(client, acme, "2")
        later = shown.wait_for("today       $3.00 in 2 requests")
        (dollars,) = re.findall(r"now +\$([\d.,]+) and [\d.,]+ requests per minute", later)
        assert Decimal(dollars.replace(",", "")) > 0
        connection.execute(
            "select pg_terminate_backend(pid) from pg_stat_activity"
            " where application_name = 'tallystick top' and datname = current_database()"
        )
        lost = shown.wait_for("connection lost, trying again every 0.2 s")
        assert "today       $3.00" in lost
        spend(client, acme, "4")
        assert "Ctrl-C ends" in shown.wait_for("today       $7.00 in 3 requests")
        assert shown.end() == 0
    assert shown.written.count("\x1b[?1049h") == shown.written.count("\x1b[?1049l") == 1
    after = shown.written[shown.written.index("\x1b[?1049l") :]
    assert plain(after).strip() == ""
    assert "Traceback" not in shown.written


def test_once_on_a_terminal_leaves_it_as_it_was(database: Database, acme: Organization) -> None:
    with terminal(database, "--once") as shown:
        assert shown.process.wait(20) == 0
        shown.read()
    assert "now         measuring" in plain(shown.written)
    assert HOME not in shown.written
    assert "Ctrl-C" not in shown.written


def test_it_ends_quietly_while_it_waits_for_the_database(
    client: Client, database: Database, acme: Organization
) -> None:
    with terminal(database, "--interval", "0.2") as shown:
        shown.wait_for("today")
        with database.connect() as other:
            other.execute("lock table metering.budgets in access exclusive mode")
            time.sleep(0.5)
            os.kill(shown.process.pid, signal.SIGINT)
            assert shown.process.wait(20) == 0
