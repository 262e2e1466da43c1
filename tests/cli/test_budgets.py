"""The commands `tallystick budgets ...`."""

from decimal import Decimal
from uuid import UUID, uuid4

import pytest
from typer.testing import Result

from tallystick import Client, Organization
from tests.cli.conftest import Run


def text_of(result: Result) -> str:
    """What was printed, on one line."""
    assert result.exit_code == 0, result.output
    return " ".join(result.output.split())


def assert_refused(result: Result, *complaints: str) -> None:
    assert result.exit_code == 1, result.output
    assert result.stderr.startswith("Error: ")
    assert len(result.stderr.splitlines()) == 1
    assert all(complaint in result.stderr for complaint in complaints), result.stderr


def only_budget(client: Client, organization: Organization, window: str) -> UUID:
    (found,) = (b for b in client.budgets(organization.id) if b.time_window == window)
    return found.budget_id


def test_a_cap_is_set_and_listed_with_what_is_left(
    run: Run, client: Client, acme: Organization
) -> None:
    client.authorize_spend(acme.id, estimated_cost=Decimal("12.5"))
    stored = text_of(run("budgets", "set", "$50", "--window", "month", "--slots", 16))
    listed = text_of(run("budgets", "list"))
    month = only_budget(client, acme, "month")
    for shown in (stored, listed):
        for part in (str(month), "organization, month", "resets", "16 slots"):
            assert part in shown
        assert "$50.00 $0.00 $12.50" in shown
        assert "$37.50" in shown
    assert "Acme" in listed
    assert "1 budget without a limit" in listed
    assert "only counts" not in listed
    assert "only counts" in text_of(run("budgets", "list", "--all"))


def test_a_soft_budget_of_another_scope_and_no_limit(
    run: Run, client: Client, acme: Organization
) -> None:
    options = ("--window", "day", "--scope", "tag", "--id", "team=search")
    soft = text_of(run("budgets", "set", "2", *options, "--soft"))
    assert "tag, day, soft" in soft
    assert "team=search" in soft
    assert "only counts" in text_of(run("budgets", "set", "none", *options))
    assert "team=search" not in text_of(run("budgets", "list", "--scope", "tag"))
    assert "team=search" in text_of(run("budgets", "list", "--scope", "tag", "--all"))
    assert client.budgets(acme.id, scope="tag")[0].enforcement == "hard"


def test_a_budget_is_changed_and_removed_by_its_id(
    run: Run, client: Client, acme: Organization
) -> None:
    run("budgets", "set", "50", "--window", "month")
    month = only_budget(client, acme, "month")
    changed = text_of(run("budgets", "change", month, "--slots", 16, "--window", "week"))
    assert "organization, week" in changed
    assert "16 slots" in changed
    moved = text_of(run("budgets", "change", month, "--scope", "model", "--id", "gpt-4o"))
    assert "gpt-4o" in moved
    assert "16 slots" in moved
    assert "model gpt-4o, week" in text_of(run("budgets", "remove", month))
    assert_refused(run("budgets", "remove", month), str(month))


def test_freezing_shows_and_ends(run: Run, client: Client, acme: Organization) -> None:
    key = ("--scope", "api_key", "--id", "key-1")
    assert "frozen since" in text_of(run("budgets", "freeze", *key))
    assert "frozen since" in text_of(run("budgets", "list"))
    assert "frozen since" not in text_of(run("budgets", "unfreeze", *key))
    run("budgets", "freeze")
    assert "The organization is frozen" in text_of(run("budgets", "list"))
    assert not client.authorize_spend(acme.id, estimated_cost=Decimal(1)).granted
    run("budgets", "unfreeze")
    assert client.authorize_spend(acme.id, estimated_cost=Decimal(1)).granted


def test_which_organization_must_be_told_where_there_are_several(run: Run, client: Client) -> None:
    assert_refused(run("budgets", "list"), "no organization")
    for name in ("Acme", "Other"):
        client.create_organization(name)
    assert_refused(run("budgets", "list"), "--organization")
    assert_refused(run("budgets", "freeze"), "--organization")
    assert "Other" in text_of(run("budgets", "list", "--organization", "Other"))
    assert_refused(run("budgets", "list", "--organization", "Nobody"), "'Nobody'")


def test_a_budget_id_of_two_organizations_must_be_told_apart(
    run: Run, client: Client, acme: Organization
) -> None:
    run("budgets", "set", "50", "--window", "month")
    month = only_budget(client, acme, "month")
    other = client.create_organization("Other")
    client.upsert_intent_workflow(month, other.id, {})  # its budget has the workflow's id
    assert_refused(run("budgets", "change", month, "--slots", 2), "2 organizations")
    own = text_of(run("budgets", "change", month, "--slots", 2, "--organization", "Acme"))
    assert "organization, month" in own


@pytest.mark.parametrize(
    ("arguments", "complaint"),
    [
        (("set", "1e20", "--window", "month"), "[22023]"),
        (("set", "1", "--window", "month", "--id", "x"), "p_scope_id"),
        (("set", "1", "--window", "month", "--slots", "257"), "p_slots"),
        (("freeze", "--scope", "workflow", "--id", str(uuid4())), "[TS404]"),
        (("change", str(uuid4()), "--slots", "2"), "no budget"),
    ],
)
def test_what_stands_in_the_way_is_one_line(
    run: Run, acme: Organization, arguments: tuple[str, ...], complaint: str
) -> None:
    assert_refused(run("budgets", *arguments), complaint)


def test_an_amount_that_is_none_is_refused(run: Run, acme: Organization) -> None:
    result = run("budgets", "set", "much", "--window", "month")
    assert result.exit_code == 2
    assert "'much'" in result.stderr
