"""Money is exact from the call to every total; what is no amount, count or name leaves no row."""

import json
import uuid
from collections.abc import Iterator
from decimal import ROUND_HALF_EVEN, Decimal, localcontext
from typing import Any

import pytest
from hypothesis import example, given
from hypothesis import strategies as st

from tests.support import races
from tests.support.properties import DECIMALS, code, examples, money, undone
from tests.support.races import Connection, Tenant
from tests.support.servers import Database

RECORD = (
    "select public.record_usage_and_increment(p_workflow_id => %s, p_organization_id => %s,"
    " p_model => %s, p_prompt_tokens => %s, p_completion_tokens => %s, p_cost => %s,"
    " p_request_id => %s)"
)
AUTHORIZE = "select (public.authorize_spend(%s, p_estimated_cost => %s)).hold_id"
AUTHORIZE_PARTLY = (
    "select public.authorize_spend(%s, p_estimated_cost => 1, p_allow_partial => true,"
    " p_minimum => %s)"
)
SETTLE = "select public.settle_spend(%s, p_cost => %s)"
EXTEND = "select public.extend_hold(%s, p_additional_cost => %s)"
INVALID_ARGUMENT = "22023"
INT_MAX = 2**31 - 1

# Every place a settlement may touch.
EVERY_ROW = """
select
  (select count(*) from public.ai_usage_ledger),
  (select count(*) from metering.usage_rollups),
  (select count(*) from metering.request_keys),
  (select sum(settled_usd) from metering.budget_slots),
  (select sum(held_usd) from metering.budget_slots),
  (select sum(held_usd) from metering.holds where state = 'open'),
  (select count(*) from metering.budgets),
  (select count(*) from metering.budgets where limit_usd is not null)
"""

invalid_money = st.one_of(
    st.sampled_from([Decimal("NaN"), Decimal("Infinity"), Decimal("-Infinity"), None]),
    st.sampled_from([Decimal("1e12"), Decimal("1e30"), Decimal("-1e-12"), Decimal("1e-13")]),
    money().filter(bool).map(Decimal.copy_negate),
    # A 13th decimal that is not zero; fewer digits before the point leave room for it.
    st.builds(
        lambda units, last: Decimal(units * 10 + last).scaleb(-DECIMALS - 1),
        st.integers(0, 10**20),
        st.integers(1, 9),
    ),
    st.integers(10**12, 10**20).map(Decimal),
)
invalid_counts = st.one_of(st.none(), st.integers(-(2**31), -1))
invalid_texts = st.one_of(
    st.none(), st.text(" ", max_size=300), st.text("x\u00e9\u6f22", min_size=256, max_size=300)
)
names = st.text(
    st.characters(exclude_characters="\0", exclude_categories=["Cs"]), min_size=1, max_size=255
).filter(lambda text: not text.isspace())


@pytest.fixture
def tenant(database: Database) -> Tenant:
    return races.open_tenant(database)


@pytest.fixture
def connection(database: Database) -> Iterator[Connection]:
    with races.connect(database) as connection:
        yield connection


def record_arguments(tenant: Tenant, **changed: Any) -> list[Any]:
    """Return valid arguments of RECORD, some of them changed."""
    valid = {
        "workflow": tenant.workflow,
        "organization": tenant.organization,
        "model": "model",
        "prompt": 10,
        "completion": 5,
        "cost": Decimal("0.10"),
        "request": None,
    }
    return list({**valid, **changed}.values())


@examples(60)
@given(
    cost=money(),
    prompt=st.integers(0, INT_MAX),
    completion=st.integers(0, INT_MAX),
    model=names,
    request=st.none() | names,
)
@example(Decimal("999999999999.999999999999"), INT_MAX, INT_MAX, "m" * 255, "\u6f22" * 255)
@example(Decimal("0.000000000001"), 0, 0, "x", "x")
@example(Decimal("0E+3"), 0, 0, "x", None)
@example(Decimal("1E+11"), 0, 0, "x", None)
@example(Decimal("1.5000000000000000000"), 0, 0, "x", None)
def test_what_is_recorded_is_read_back_to_the_last_digit(
    tenant: Tenant,
    connection: Connection,
    cost: Decimal,
    prompt: int,
    completion: int,
    model: str,
    request: str | None,
) -> None:
    with undone(connection):
        connection.execute(
            RECORD,
            record_arguments(
                tenant,
                cost=cost,
                prompt=prompt,
                completion=completion,
                model=model,
                request=request,
            ),
        )
        row = connection.execute(
            "select cost, prompt_tokens, completion_tokens, model from public.ai_usage_ledger"
        ).fetchall()
        assert row == [(cost, prompt, completion, model)]
        assert (
            races.one(
                connection,
                "select (workflow_data ->> 'total_ai_cost')::numeric from public.intent_workflows",
            )
            == cost
        )
        rollups = connection.execute(
            "select sum(cost) from metering.usage_rollups group by scope order by scope"
        ).fetchall()
        assert rollups == [(cost,), (cost,)]  # of organization and workflow
        assert (
            races.one(
                connection,
                "select public.get_organization_monthly_ai_cost(%s)",
                tenant.organization,
            )
            == cost
        )
        assert races.verify(connection) == []


@examples(15)
@given(costs=st.lists(money(10**9), min_size=2, max_size=12))
def test_totals_are_exact_sums(
    tenant: Tenant, connection: Connection, costs: list[Decimal]
) -> None:
    with undone(connection), localcontext(prec=60):
        for cost in costs:
            connection.execute(RECORD, record_arguments(tenant, cost=cost))
        for query in (
            "select (workflow_data ->> 'total_ai_cost')::numeric from public.intent_workflows",
            "select sum(cost) from metering.usage_rollups where scope = 'organization'",
            "select sum(cost) from metering.usage_rollups where scope = 'workflow'",
            "select sum(monthly_cost) from public.ai_cost_by_organization_month",
            "select sum(total_cost) from public.ai_cost_by_model",
            "select sum(total_cost) from public.ai_cost_by_workflow",
        ):
            assert races.one(connection, query) == sum(costs)
        average = (sum(costs, Decimal(0)) / len(costs)).quantize(Decimal("1e-12"), ROUND_HALF_EVEN)
        assert races.one(connection, "select avg_cost from public.ai_cost_by_model") == average


def refused_without_a_row(connection: Connection, query: str, *parameters: Any) -> None:
    """Assert 22023, and that no table a settlement touches has changed."""
    before = connection.execute(EVERY_ROW).fetchone()
    assert code(connection, query, *parameters) == INVALID_ARGUMENT
    assert connection.execute(EVERY_ROW).fetchone() == before


@examples(60)
@given(amount=invalid_money)
def test_what_is_no_amount_is_refused_everywhere(
    tenant: Tenant, connection: Connection, amount: Decimal | None
) -> None:
    refused_without_a_row(
        connection, RECORD, *record_arguments(tenant, cost=amount, request="request 1")
    )
    for query, owner in (
        ("select public.check_workflow_cost_limit(%s, %s)", tenant.workflow),
        ("select public.check_workflow_cost_limit(%s, 1, %s)", tenant.workflow),
        ("select public.estimate_workflow_cost_limit(%s, %s)", tenant.workflow),
        ("select public.estimate_workflow_cost_limit(%s, 1, %s)", tenant.workflow),
        ("select public.check_organization_monthly_quota(%s, %s)", tenant.organization),
    ):
        refused_without_a_row(connection, query, owner, amount)


@examples(40)
@given(amount=invalid_money.filter(lambda amount: amount is not None))
def test_what_is_no_amount_is_no_limit(
    tenant: Tenant, connection: Connection, amount: Decimal
) -> None:
    query = "select metering.set_budget(%s, 'organization', null, 'month', %s)"
    refused_without_a_row(connection, query, tenant.organization, amount)


@examples(60)
@given(amount=invalid_money, zero=st.sampled_from([Decimal(0), Decimal("0.000")]))
def test_what_is_no_amount_is_never_held_or_settled(
    tenant: Tenant, connection: Connection, amount: Decimal | None, zero: Decimal
) -> None:
    with undone(connection):
        hold = races.one(connection, AUTHORIZE, tenant.organization, Decimal(1))
        for bad in (amount, zero):
            refused_without_a_row(connection, AUTHORIZE, tenant.organization, bad)
            refused_without_a_row(connection, AUTHORIZE_PARTLY, tenant.organization, bad)
        refused_without_a_row(connection, SETTLE, hold, amount)
        refused_without_a_row(connection, EXTEND, hold, amount)
        query = "select public.estimate_spend(%s, p_estimated_cost => %s)"
        refused_without_a_row(connection, query, tenant.organization, amount)


@examples(40)
@given(
    held=money(10**6).filter(bool),
    more=money(10**6),
    cost=money(10**6),
    tokens=st.tuples(st.integers(0, INT_MAX), st.integers(0, INT_MAX)),
)
@example(Decimal("1e-12"), Decimal(0), Decimal("999999.999999999999"), (INT_MAX, INT_MAX))
@example(Decimal("0.10"), Decimal("0.1000"), Decimal("0.2"), (0, 0))
def test_what_is_held_and_settled_is_read_back_to_the_last_digit(
    tenant: Tenant,
    connection: Connection,
    held: Decimal,
    more: Decimal,
    cost: Decimal,
    tokens: tuple[int, int],
) -> None:
    with undone(connection), localcontext(prec=60):
        hold = races.one(connection, AUTHORIZE, tenant.organization, held)
        connection.execute("select public.extend_hold(%s, interval '1 hour', %s)", (hold, more))
        assert counters(connection) == (Decimal(0), held + more)
        usage = json.dumps({"input_tokens": tokens[0], "output_tokens": tokens[1]})
        row = connection.execute(
            "select cost, unheld_usd, prompt_tokens, completion_tokens"
            " from public.settle_spend(%s, %s, %s)",
            (hold, usage, cost),
        ).fetchone()
        assert row == (cost, max(cost - held - more, Decimal(0)), *tokens)
        assert counters(connection) == (cost, Decimal(0))
        assert races.verify(connection) == []


def counters(connection: Connection) -> Any:
    """Return what all budgets together say is settled and held; there is but one here."""
    return connection.execute(
        "select sum(settled_usd), sum(held_usd) from metering.budget_slots"
        " where budget_id = organization_id"
    ).fetchone()


@examples(40)
@given(
    changed=st.one_of(
        st.fixed_dictionaries({"prompt": invalid_counts}),
        st.fixed_dictionaries({"completion": invalid_counts}),
        st.fixed_dictionaries({"model": invalid_texts}),
        st.fixed_dictionaries({"request": invalid_texts.filter(lambda text: text is not None)}),
        st.sampled_from([{"workflow": None}, {"organization": None}, {"cost": None}]),
    )
)
def test_what_is_no_count_name_or_id_is_refused(
    tenant: Tenant, connection: Connection, changed: dict[str, Any]
) -> None:
    changed = {"request": "request 1", **changed}
    refused_without_a_row(connection, RECORD, *record_arguments(tenant, **changed))


@examples(10)
@given(stranger=st.uuids())
def test_unknown_owners_are_refused_without_a_row(
    tenant: Tenant, connection: Connection, stranger: uuid.UUID
) -> None:
    before = connection.execute(EVERY_ROW).fetchone()
    for changed in ({"workflow": stranger}, {"organization": stranger}):
        arguments = record_arguments(tenant, request="request 1", **changed)
        assert code(connection, RECORD, *arguments) == "TS404"
    assert connection.execute(EVERY_ROW).fetchone() == before


def test_the_workflow_of_another_organization_is_refused_without_a_row(
    database: Database, tenant: Tenant, connection: Connection
) -> None:
    other = races.open_tenant(database)
    before = connection.execute(EVERY_ROW).fetchone()
    arguments = record_arguments(tenant, workflow=other.workflow, request="request 1")
    assert code(connection, RECORD, *arguments) == "TS404"
    assert connection.execute(EVERY_ROW).fetchone() == before


@examples(100)
@given(
    amount=st.builds(
        lambda units, places: Decimal(units).scaleb(-places),
        st.integers(-(10**24), 10**24),
        st.integers(0, 24),
    ),
    decimals=st.integers(0, 14),
)
@example(amount=Decimal("0.5"), decimals=0)
@example(amount=Decimal("1.5"), decimals=0)
@example(amount=Decimal("-2.5"), decimals=0)
@example(amount=Decimal("0.0000000000005"), decimals=12)
@example(amount=Decimal("0.0000000000015"), decimals=12)
@example(amount=Decimal("-0.00005"), decimals=4)
@example(amount=Decimal("2.50000000000000000001"), decimals=0)
def test_round_half_even_rounds_as_python_does(
    owner: Connection, amount: Decimal, decimals: int
) -> None:
    with localcontext(prec=80):
        expected = amount.quantize(Decimal(1).scaleb(-decimals), ROUND_HALF_EVEN)
    assert races.one(owner, "select private.round_half_even(%s, %s)", amount, decimals) == expected


@pytest.fixture
def owner(database: Database) -> Iterator[Connection]:
    with races.connect(database, races.OWNER) as connection:
        yield connection


documents = st.dictionaries(
    st.text(st.characters(exclude_characters="\0", exclude_categories=["Cs"]), max_size=5),
    st.recursive(
        st.one_of(
            st.booleans(),
            st.integers(-(10**6), 10**6),
            st.text('aZ\u00e9\u6f22"\\\n {}:,[]', max_size=6),
        ),
        lambda inner: (
            st.lists(inner, max_size=3)
            | st.dictionaries(st.text("abB\u00e9", max_size=3), inner, max_size=3)
        ),
        max_leaves=6,
    ),
    max_size=5,
)


def content_hash(connection: Connection, document: Any) -> str:
    """Return the hash of a document; Python writes the JSON, so key order is ours to choose."""
    text = json.dumps(document)
    result: str = races.one(
        connection, "select private.content_hash(private.canonical_text(%s::jsonb))", text
    )
    return result


def disguised(value: Any) -> Any:
    """Return the same facts, told differently: keys reversed, nulls added."""
    if isinstance(value, dict):
        turned = {key: disguised(value[key]) for key in reversed(value)}
        return {"\u0001 nothing": None, **turned}
    if isinstance(value, list):
        return [disguised(item) for item in value]
    return value


@examples(50)
@given(first=documents, second=documents)
@example({"a": 1}, {"a": "1"})
@example({"a": [1, 2]}, {"a": [2, 1]})
@example({"a": "b,c:d"}, {"a": "b", "c": "d"})
@example({"a": True}, {"a": "true"})
@example({"a": {}}, {"a": []})
@example({"a": {"b": 1}}, {"a": 1, "b": 1})
def test_a_content_hash_is_about_facts_not_their_form(
    owner: Connection, first: dict[str, Any], second: dict[str, Any]
) -> None:
    assert content_hash(owner, first) == content_hash(owner, disguised(first))
    # True == 1 in Python but not in JSON, so compare texts.
    same = json.dumps(first, sort_keys=True) == json.dumps(second, sort_keys=True)
    assert (content_hash(owner, first) == content_hash(owner, second)) is same


@examples(30)
@given(amount=money(), zeros=st.integers(1, 6))
def test_canonical_text_ignores_trailing_zeros_of_money(
    owner: Connection, amount: Decimal, zeros: int
) -> None:
    query = "select private.canonical_text(jsonb_build_object('cost', %s::numeric))"
    padded = f"{amount:f}" + ("" if "." in f"{amount:f}" else ".") + "0" * zeros
    assert races.one(owner, query, amount) == races.one(owner, query, Decimal(padded))
    more = amount + Decimal("1e-12")
    assert races.one(owner, query, amount) != races.one(owner, query, more)
