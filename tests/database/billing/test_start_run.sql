-- A run reserves its estimate from credits, and its calls spend from that.
begin;
select plan(107);

select tests.freeze_clock('2026-03-10 12:00:00.123456+00');
create temp table scene as
select
  tests.organization('Acme') as org, tests.organization('Bravo') as bravo,
  tests.price('m') as price;
select (pricing.set_model_name('acme', 'm-latest', 'm')).model;
select (pricing.set_price('acme', 'tiered',
  '[{"input_tokens": 1, "output_tokens": 2, "reasoning_tokens": 3, "requests": 1000},
    {"above_input_tokens": 1000, "input_tokens": 10, "output_tokens": 20}]')).id;
select tests.buy(org, 100) from scene;

-- What it is -----------------------------------------------------------------------------------

create temp table first as
select r.* from scene, billing.start_run(
  org, 1000, 500, null, 1.5, 0.500000000001, 'Report', 4
) as r;
select results_eq(
  $$select org_id, status, name::text, model::text, input_tokens_estimated::bigint,
      output_tokens_estimated::bigint, tokens_estimated, input_cost_estimated::numeric,
      output_cost_estimated::numeric, cost_estimated::numeric, tokens_used, cost_incurred::numeric,
      created_at, updated_at, completed_at
    from first$$,
  $$select org, 'running', 'Report', null, 1000::bigint, 500::bigint, 1500::bigint, 1.5,
      0.500000000001, 2.000000000001, 0::bigint, 0.0,
      '2026-03-10 12:00:00.123456+00'::timestamptz, '2026-03-10 12:00:00.123456+00'::timestamptz,
      null::timestamptz
    from scene$$,
  'a run, as stated'
);
select results_eq('table first', 'table billing.runs', 'the view shows the same');
select results_eq(
  $$select balance, reserved from scene, tests.credits(org)$$,
  $$values (100.0, 2.000000000001)$$, 'its estimate is reserved, and nothing moves'
);
select results_eq(
  $$select b.scope, b.scope_id, b.time_window, b.limit_usd::numeric, b.enforcement, b.slot_count,
      b.is_funded, b.only_model::text
    from first inner join metering.budgets as b on b.organization_id = org_id and b.id = first.id$$,
  $$select 'run', id::text, 'total', 2.000000000001, 'hard', 4::smallint, true, null from first$$,
  'it funds a budget of its own'
);
select results_eq(
  $$select count(*), sum(s.available_usd) from first
    inner join metering.budget_slots as s on s.budget_id = first.id$$,
  $$values (4::bigint, 2.000000000001)$$, 'spread over its slots'
);
select results_eq(
  $$select s.run_id, s.name::text, s.status, s.agent_id, s.task_id
    from first inner join billing.steps as s on s.org_id = first.org_id and s.id = first.id$$,
  $$select id, 'Report', 'running', null::uuid, null::uuid from first$$,
  'it is born with a step of its own'
);
create temp table plain as select tests.run(org, 0.5) as id from scene;
select results_eq(
  $$select r.name::text, s.name::text, b.slot_count
    from plain inner join billing.run_records as r using (id)
      inner join billing.steps as s using (id)
      inner join metering.budgets as b using (id)$$,
  $$values (null, 'run', 1::smallint)$$, 'without a name its step is called run'
);

-- What it costs --------------------------------------------------------------------------------

select results_eq(
  format(
    'select input_cost_estimated::numeric, output_cost_estimated::numeric, model::text
    from scene, billing.start_run(%s)', v.arguments
  ),
  format('values (%s)', v.expected), v.description
)
from (
  values
  ($$org, 1000, 500, 'm'$$, $$0.0025, 0.005, 'm'$$, 'by the price of its model'),
  ($$org, 1000, 500, 'm-latest'$$, $$0.0025, 0.005, 'm'$$, 'by any name of it'),
  ($$org, 1, 1, 'm'$$, $$0.0000025, 0.00001, 'm'$$, 'to the last token'),
  ($$org, 0, 0, 'm'$$, $$0.0, 0.0, 'm'$$, 'nothing for nothing'),
  ($$org, 2000, 1000, 'tiered'$$, $$0.002, 0.003, 'tiered'$$,
    'by the lowest tier, and the dearer rate of output'),
  ($$org, 1000, 500, 'm', 0.25, 0.75$$, $$0.25, 0.75, 'm'$$, 'as stated, which wins'),
  ($$org, 1000, 500, 'own', 0.25, 0$$, $$0.25, 0.0, 'own'$$, 'as stated of a model without a price'),
  ($$org, 0, 0, null, 0, 0$$, $$0.0, 0.0, null$$, 'nothing at all')
) as v (arguments, expected, description);
select (pricing.set_markup(bravo, 100)).percent, tests.buy(bravo, 10) from scene;
select results_eq(
  $$select input_cost_estimated::numeric, output_cost_estimated::numeric
    from scene, billing.start_run(bravo, 1000, 500, 'm')$$,
  $$values (0.005, 0.01)$$, 'with the markup of the organization'
);

-- What it pays for -----------------------------------------------------------------------------

create temp table paid as
select (billing.start_run(org, 10, 10, 'm', 1, 0)).id as id, tests.run(org, 0) as empty from scene;
select results_eq(
  format('select decision, reason, budget_id, remaining_usd from paid, scene,
    authorize_spend(%s)', v.arguments),
  format('select %s from paid', v.expected), v.description
)
from (
  values
  ($$org, 'm', 0.75, p_run_id => paid.id$$, $$'granted', null, null::uuid, null$$, 'its model'),
  ($$org, 'm-latest', 0.125, p_run_id => paid.id$$, $$'granted', null, null::uuid, null$$,
    'by any name'),
  ($$org, 'm', 0.125000000001, p_run_id => paid.id$$, $$'denied', 'budget_exceeded', id, '0.125'$$,
    'not more than it has reserved'),
  ($$org, 'n', 0.1, p_run_id => paid.id$$, $$'denied', 'model_not_in_run', id, null$$,
    'no other model'),
  ($$org, 'tiered', 0.1, p_run_id => paid.id$$, $$'denied', 'model_not_in_run', id, null$$,
    'no other model with a price'),
  ($$org, null, 0.1, p_run_id => paid.id$$, $$'denied', 'model_not_in_run', id, null$$,
    'no unnamed model'),
  ($$org, 'm', 0.000000000001, p_run_id => empty$$, $$'denied', 'budget_exceeded', empty, '0'$$,
    'an estimate of nothing pays for nothing')
) as v (arguments, expected, description);
select results_eq(
  format('select decision, reason from paid, scene, estimate_spend(%s)', v.arguments),
  format('values (%s)', v.expected), v.description
)
from (
  values
  ($$org, 'm', 0.125, p_run_id => paid.id$$, $$'granted', null$$, 'the estimate knows the run'),
  ($$org, 'n', 0.1, p_run_id => paid.id$$, $$'denied', 'model_not_in_run'$$, 'and its model')
) as v (arguments, expected, description);
select r.id from paid, billing.cancel_run(paid.id) as r;
select results_eq(
  format('select decision, reason from paid, scene, %s', v.call),
  $$values ('denied', 'run_ended')$$, v.description
)
from (
  values
  ($$authorize_spend(org, 'm', 0.1, p_run_id => paid.id)$$, 'a run that has ended pays for nothing'),
  ($$authorize_spend(org, 'n', 0.1, p_run_id => paid.id)$$, 'whatever it is'),
  ($$authorize_spend(org, 'm', p_input_tokens => 1, p_max_output_tokens => 1, p_run_id => paid.id)$$,
    'by a price as well'),
  ($$estimate_spend(org, 'm', 0.1, p_run_id => paid.id)$$, 'and the estimate says so')
) as v (call, description);
select throws_ok(
  format('select d.* from paid, scene, %s as d', v.call), 'TS404', null, v.description
)
from (
  values
  ($$authorize_spend(org, 'm', 0.1, p_run_id => gen_random_uuid())$$,
    'where calls are paid in advance, an unknown run is an error'),
  ($$estimate_spend(org, 'm', 0.1, p_run_id => gen_random_uuid())$$, 'for the estimate too'),
  ($$authorize_spend(bravo, 'm', 0.1, p_run_id => paid.id)$$, 'and so is that of another')
) as v (call, description);
create temp table later as select tests.organization('Later') as org;
select is(
  (select decision from later, authorize_spend(org, 'm', 0.1, p_run_id => gen_random_uuid())),
  'granted', 'where they are not, it is a label'
);

-- Budgets of runs and draws are not for anybody to set ----------------------------------------------

select tests.hold(org, 1) from scene;
create temp table funded as
select tests.run(org, 1) as run, b.id as draw
from scene inner join metering.budgets as b on b.organization_id = org and b.scope = 'draw';
create temp table before_changes as
select b.id, b.scope, b.scope_id, b.time_window, b.limit_usd, b.enforcement, b.slot_count
from metering.budgets as b;
select is(
  tests.facts_of(format('select %s from scene, funded', v.call)) ->> 'argument', v.argument,
  v.description
)
from (
  values
  ($$metering.set_budget(org, 'run', run::text, 'total', 100)$$, 'p_scope_id', 'another limit'),
  ($$metering.set_budget(org, 'run', run::text, 'total', null)$$, 'p_scope_id', 'no limit'),
  ($$metering.set_budget(org, 'run', run::text, 'total', 1, 'soft')$$, 'p_scope_id', 'a soft one'),
  ($$metering.set_budget(org, 'run', upper(run::text), 'total', 1, p_slots => 2)$$, 'p_scope_id',
    'the same limit over more slots'),
  ($$metering.remove_budget(org, 'run', run::text, 'total')$$, 'p_scope_id', 'none'),
  ($$metering.change_budget(org, run, 'model', 'm')$$, 'p_budget_id', 'another scope'),
  ($$metering.change_budget(org, run, 'run', gen_random_uuid()::text)$$, 'p_budget_id',
    'another run'),
  ($$metering.change_budget(org, run, p_window => 'day')$$, 'p_budget_id', 'another window'),
  ($$metering.change_budget(org, draw, 'model', 'm')$$, 'p_budget_id', 'a draw as something else'),
  ($$metering.change_budget(org, draw, p_window => 'total')$$, 'p_budget_id',
    'a draw for another time'),
  ($$metering.set_budget(org, 'draw', '', 'day', 1)$$, 'p_scope', 'a draw by hand'),
  ($$metering.remove_budget(org, 'draw', '', 'day')$$, 'p_scope', 'no draw')
) as v (call, argument, description);
select set_eq(
  $$select b.id, b.scope, b.scope_id, b.time_window, b.limit_usd, b.enforcement, b.slot_count
    from metering.budgets as b$$,
  'table before_changes', 'nothing is changed by that'
);
select results_eq(
  $$select b.slot_count, remaining
    from scene, funded, metering.change_budget(org, run, p_slots => 8) as b, tests.figures(run)$$,
  $$values (8::smallint, 1.0)$$, 'over how many slots it is spread may change'
);
select results_eq(
  $$select b.slot_count, held
    from scene, funded, metering.change_budget(org, draw, p_slots => 8) as b, tests.figures(draw)$$,
  $$values (8::smallint, 1.0)$$, 'of a draw too'
);
select results_eq(
  $$select decision, budget_id is null from scene, funded,
      metering.set_budget(org, 'run', run::text, 'day', 0.5) as b,
      authorize_spend(org, 'm', 0.5, p_run_id => run)$$,
  $$values ('granted', true)$$, 'another window of a run may be capped beside it'
);
select results_eq(
  $$select decision, budget_id from scene, funded, authorize_spend(org, 'm', 0.5, p_run_id => run)$$,
  $$select 'denied', tests.budget(org, 'run', run::text, 'day') from scene, funded$$,
  'and then caps it'
);

-- Credits do not suffice -----------------------------------------------------------------------

create temp table poor as select tests.organization('Poor') as org;
select throws_ok(
  $$select billing.start_run(org, 5, 5, null, 0, 0) from poor$$, 'TS402', null,
  'without any credits there is no run, not even of nothing'
);
select is(
  tests.facts_of($$select billing.start_run(org, 5, 5, null, 1.500000000001, 0.5) from poor$$),
  jsonb_build_object('org_id', org, 'needed_usd', '2.000000000001', 'available_usd', '0'),
  'what is needed and what there is are facts'
)
from poor;
select tests.buy(org, 2) from poor;
select throws_ok(
  $$select tests.run(org, 2.000000000001) from poor$$, 'TS402', null, 'a trillionth too much'
);
create temp table whole as select tests.run(org, 2) as id from poor;
select results_eq(
  $$select balance, reserved from poor, tests.credits(org)$$, $$values (2.0, 2.0)$$, 'all there is'
);
select is(
  tests.facts_of('select tests.run(org, 0.000000000001) from poor') ->> 'available_usd', '0',
  'then there is none'
);
select results_eq(
  $$select cost_estimated::numeric from poor, billing.start_run(org, 5, 5, null, 0, 0)$$,
  $$values (0.0)$$, 'but a run of nothing needs none'
);
select r.id from whole, billing.cancel_run(whole.id) as r;
select lives_ok($$select tests.run(org, 2) from poor$$, 'until it is given back');

-- Retries --------------------------------------------------------------------------------------

create temp table named as
select r.* from scene, billing.start_run(
  org, 10, 10, 'm', 1, 0, 'Named', p_request_id => 'request'
) as r;
select results_eq(
  format('select r.* from scene, billing.start_run(%s) as r', v.arguments), 'table named',
  v.description
)
from (
  values
  ($$org, 10, 10, 'm', 1, 0, 'Named', 1, 'request'$$, 'the same request is the same run'),
  ($$org, 10, 10, 'm', 1.00, 0.0, 'Named', p_request_id => 'request'$$, 'however it is written')
) as v (arguments, description);
create function pg_temp.refusal(p_arguments text)
returns text
language plpgsql
as $$
declare
  v_detail text;
begin
  execute 'select r.* from scene, billing.start_run(' || p_arguments || ') as r';
  return 'started';
exception when others then
  get stacked diagnostics v_detail = pg_exception_detail;
  return concat_ws(
    ' ', sqlstate, coalesce(v_detail::jsonb ->> 'argument', v_detail::jsonb ->> 'request_id')
  );
end
$$;
create temp view everything as
select
  (select count(*) from billing.run_records) as runs,
  (select count(*) from billing.steps) as steps,
  (select jsonb_agg(to_jsonb(b) order by b.org_id) from billing.credit_balances as b) as balances,
  (select jsonb_agg(to_jsonb(s) order by s.budget_id, s.slot) from metering.budget_slots as s)
  as slots,
  (select count(*) from metering.request_keys) as keys;
create temp table before as select * from everything;
select is(pg_temp.refusal(v.arguments), v.expected, v.description)
from (
  values
  ($$org, 11, 10, 'm', 1, 0, 'Named', 1, 'request'$$, 'TS409 request', 'more input'),
  ($$org, 10, 11, 'm', 1, 0, 'Named', 1, 'request'$$, 'TS409 request', 'more output'),
  ($$org, 10, 10, 'm-latest', 1, 0, 'Named', 1, 'request'$$, 'TS409 request', 'another name'),
  ($$org, 10, 10, null, 1, 0, 'Named', 1, 'request'$$, 'TS409 request', 'any model'),
  ($$org, 10, 10, 'm', 1.000000000001, 0, 'Named', 1, 'request'$$, 'TS409 request', 'more money'),
  ($$org, 10, 10, 'm', 0, 1, 'Named', 1, 'request'$$, 'TS409 request', 'other money'),
  ($$org, 10, 10, 'm', null, null, 'Named', 1, 'request'$$, 'TS409 request', 'no money'),
  ($$org, 10, 10, 'm', 1, 0, null, 1, 'request'$$, 'TS409 request', 'without the name'),
  ($$org, null, 10, 'm'$$, '22023 p_input_tokens', 'no input'),
  ($$org, -1, 10, 'm'$$, '22023 p_input_tokens', 'less input than none'),
  ($$org, 10, null, 'm'$$, '22023 p_output_tokens', 'no output'),
  ($$org, 10, -1, 'm'$$, '22023 p_output_tokens', 'less output than none'),
  ($$org, 10, 10$$, '22023 p_model', 'neither model nor costs'),
  ($$org, 10, 10, ''$$, '22023 p_model', 'an empty model'),
  ($$org, 10, 10, repeat('m', 256), 1, 0$$, '22023 p_model', 'a model of 256 characters'),
  ($$org, 10, 10, 'unpriced'$$, '22023 p_model', 'a model without a price'),
  ($$org, 10, 10, 'm', 1$$, '22023 p_input_cost_usd, p_output_cost_usd', 'one cost of two'),
  ($$org, 10, 10, 'm', null, 1$$, '22023 p_input_cost_usd, p_output_cost_usd', 'the other one'),
  ($$org, 10, 10, null, -1, 1$$, '22023 p_input_cost_usd', 'a negative cost'),
  ($$org, 10, 10, null, 'NaN', 1$$, '22023 p_input_cost_usd', 'a cost of NaN'),
  ($$org, 10, 10, null, 1, 'Infinity'$$, '22023 p_output_cost_usd', 'a cost of Infinity'),
  ($$org, 10, 10, null, 1, 0.0000000000001$$, '22023 p_output_cost_usd', '13 decimals'),
  ($$org, 10, 10, null, 1000000000000, 0$$, '22023 p_input_cost_usd', 'a trillion'),
  ($$org, 9223372036854775807, 0, 'm'$$, '22023 p_input_tokens', 'input beyond a trillion'),
  ($$org, 0, 9223372036854775807, 'm'$$, '22023 p_output_tokens', 'output beyond a trillion'),
  ($$org, 9007199254740991, 1, null, 1, 0$$, '22023 p_input_tokens, p_output_tokens',
    'more tokens than can be told apart'),
  ($$org, 9223372036854775807, 9223372036854775807, null, 1, 0$$,
    '22023 p_input_tokens, p_output_tokens', 'more than can be added'),
  ($$org, 1, 1, null, 999999999999, 1$$, '22023 p_input_cost_usd, p_output_cost_usd',
    'a trillion together'),
  ($$org, 10, 10, null, 1, 0, ' '$$, '22023 p_name', 'a blank name'),
  ($$org, 10, 10, null, 1, 0, repeat('n', 256)$$, '22023 p_name', 'a name of 256 characters'),
  ($$org, 10, 10, null, 1, 0, null, 0$$, '22023 p_slots', 'no slots'),
  ($$org, 10, 10, null, 1, 0, null, 257$$, '22023 p_slots', '257 slots'),
  ($$org, 10, 10, null, 1, 0, null, 1, ''$$, '22023 p_request_id', 'an empty request id'),
  ($$org, 10, 10, null, 1, 0, null, 1, repeat('r', 256)$$, '22023 p_request_id',
    'a request id of 256 characters'),
  ($$org, 10, 10, null, 1000, 0, null, 1, 'refused'$$, 'TS402', 'more than there is'),
  ($$gen_random_uuid(), 10, 10, null, 1, 0$$, 'TS404', 'an unknown organization')
) as v (arguments, expected, description);
select throws_ok(
  $$select billing.start_run(null, 10, 10, null, 1, 0)$$, '22023', null, 'no organization'
);
select results_eq('table everything', 'table before', 'what is refused or repeated reserves nothing');
select is(pg_temp.refusal(v.arguments), 'started', v.description)
from (
  values
  ($$org, 10, 10, null, 1, 0, null, 1, 'refused'$$, 'a refusal binds no request id'),
  ($$bravo, 10, 10, null, 1, 0, null, 1, 'request'$$, 'the same request id of another'),
  ($$org, 0, 9007199254740991, repeat('m', 255), 0.000000000001, 0, repeat('n', 255), 256,
    repeat('r', 255)$$, 'the longest names, most tokens and slots'),
  ($$org, 1, 1, null, 0, 0, null, null$$, 'null for the usual number of slots')
) as v (arguments, description);
select r.id from named, billing.complete_run(named.id) as r;
select results_eq(
  $$select r.id, r.status from scene, billing.start_run(
      org, 10, 10, 'm', 1, 0, 'Named', p_request_id => 'request') as r$$,
  $$select id, 'completed' from named$$, 'a repeated request shows what became of the run'
);

-- Frozen ---------------------------------------------------------------------------------------

select metering.freeze(org) from scene;
select is(
  tests.facts_of('select tests.run(org, 1) from scene'), jsonb_build_object('organization_id', org),
  'a frozen organization starts no run'
)
from scene;
select throws_ok('select tests.run(org, 1) from scene', 'TS423', null, 'and the code says so');
select results_eq(
  $$select r.status from scene, billing.start_run(
      org, 10, 10, 'm', 1, 0, 'Named', p_request_id => 'request') as r$$,
  $$values ('completed')$$, 'what was started is still told'
);
select metering.unfreeze(org) from scene;
select lives_ok('select tests.run(org, 1) from scene', 'then it does again');

select is_empty($$select * from audit.verify_integrity()$$, 'the books agree');
select * from finish();
rollback;
