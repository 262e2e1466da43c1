-- Each call of a run: in token_records, in ai_usage_ledger and in every total.
begin;
select plan(107);

select tests.freeze_clock('2026-03-10 12:00:00.123456+00');
select tests.price('m');
create temp table scene as
select tests.organization('Acme') as org, tests.organization('Bravo') as bravo;
select tests.buy(org, 100), tests.buy(bravo, 100) from scene;
create temp table run as
select tests.run(org, 10) as id, tests.run(org, 1) as other, tests.run(bravo, 1) as bravo_run
from scene;
create temp table part as
select
  run.id, a.id as agent, (billing.start_task(run.id, 'T', a.id)).id as task,
  (billing.start_step(run.id, 'S', a.id)).id as step
from run, billing.start_agent(run.id, 'A') as a;
create temp table stranger as
select
  (billing.start_agent(other, 'A')).id as agent, (billing.start_task(other, 'T')).id as task,
  (billing.start_step(other, 'S')).id as step
from run;

-- The document's arguments -----------------------------------------------------------------------

create temp table first as
select billing.record_token_call(part.id, agent, task, step, 1000, 500, 'm', 0.123456789012) as id
from part;
select results_eq(
  $$select t.org_id, t.id, t.run_id, agent_id, task_id, step_id, input_tokens::integer,
      output_tokens::integer, total_tokens::integer, model::text, cost_usd::numeric, is_estimated,
      error_code, error_message, reported_total_tokens, created_at, updated_at
    from billing.token_records as t$$,
  $$select org, first.id, part.id, agent, task, step, 1000, 500, 1500, 'm', 0.123456789012, false,
      null, null, null::bigint, '2026-03-10 12:00:00.123+00'::timestamptz,
      '2026-03-10 12:00:00.123+00'::timestamptz
    from scene, part, first$$,
  'a record, by position'
);
select results_eq(
  $$select u.organization_id, u.run_id, u.workflow_id, u.model::text, u.prompt_tokens::integer,
      u.completion_tokens::integer, u.token_counts, u.cost::numeric, u.cost_basis::text,
      u.settlement::text, u.unheld_usd::numeric, u.created_at
    from first inner join public.ai_usage_ledger as u using (id)$$,
  $$select org, run.id, null::uuid, 'm', 1000, 500,
      '{"input_tokens": 1000, "output_tokens": 500}'::jsonb, 0.123456789012, 'stated',
      'without_hold', 0.123456789012, '2026-03-10 12:00:00.123+00'::timestamptz
    from scene, run$$,
  'the usage with the same id'
);
select results_eq(
  $$select scope, day, model, requests::bigint, prompt_tokens::bigint, completion_tokens::bigint,
      cost::numeric from scene inner join metering.usage_rollups on organization_id = org$$,
  $$values ('organization', '2026-03-10'::date, 'm', 1::bigint, 1000::bigint, 500::bigint,
    0.123456789012)$$,
  'the rollup'
);
select results_eq(
  $$select settled, held, remaining from run, tests.figures(run.id)$$,
  $$values (0.123456789012, 0.0, 9.876543210988)$$, 'the budget of the run'
);
select results_eq(
  $$select tokens_used, cost_incurred::numeric from run inner join billing.runs using (id)$$,
  $$values (1500::bigint, 0.123456789012)$$, 'and the run have it'
);
select results_eq(
  $$select balance, reserved from scene, tests.credits(org)$$, $$values (100.0, 11.0)$$,
  'credits do not move'
);
create temp table own as
select billing.record_token_call(run.id, null, null, null, 1, 2, 'm', 0) as id from run;
select results_eq(
  $$select agent_id, task_id, step_id, total_tokens::integer, cost_usd::numeric
    from own inner join billing.token_records using (id)$$,
  $$select null::uuid, null::uuid, run.id, 3, 0.0 from run$$,
  'without a step it belongs to the run''s own'
);
select results_eq(
  $$select zero_cost_reason::text from own inner join public.ai_usage_ledger using (id)$$,
  $$values ('stated')$$, 'a call may cost nothing'
);

-- What it cost -----------------------------------------------------------------------------------

create function pg_temp.record(p_arguments text, p_call text default 'null, null, null')
returns table (tokens text, cost numeric, basis text, counts jsonb)
language plpgsql
as $$
declare
  v_id uuid;
begin
  execute format('select billing.record_token_call(run.id, %s, %s) from run', p_call, p_arguments)
  into v_id;
  return query
  select
    t.input_tokens || ' + ' || t.output_tokens || ' = ' || t.total_tokens, trim_scale(t.cost_usd),
    u.cost_basis::text, u.token_counts
  from billing.token_records as t inner join public.ai_usage_ledger as u using (id)
  where t.id = v_id and t.cost_usd = u.cost;
end
$$;
select results_eq(
  format('select * from pg_temp.record(%L)', v.arguments), format('values (%s)', v.expected),
  v.description
)
from (
  values
  ($$1000, 500, 'm', null$$,
    $$'1000 + 500 = 1500', 0.0075, 'priced', '{"input_tokens": 1000, "output_tokens": 500}'::jsonb$$,
    'without a cost, by the price of the model'),
  ($$1000, 500, 'm', 0.01$$,
    $$'1000 + 500 = 1500', 0.01, 'stated', '{"input_tokens": 1000, "output_tokens": 500}'::jsonb$$,
    'a stated cost wins'),
  ($$0, 0, 'm', null$$, $$'0 + 0 = 0', 0.0, 'priced', '{}'::jsonb$$, 'no tokens'),
  ($$null, null, 'm', 0.5, p_usage => '{"input_tokens": 1, "cache_read_tokens": 20,
      "output_tokens": 300, "reasoning_tokens": 4000}'$$,
    $$'21 + 4300 = 4321', 0.5, 'stated', '{"input_tokens": 1, "cache_read_tokens": 20,
      "output_tokens": 300, "reasoning_tokens": 4000}'::jsonb$$,
    'tokens by class come to input and output'),
  ($$21, 4300, 'own', 0.5, p_usage => '{"input_tokens": 1, "cache_read_tokens": 20,
      "output_tokens": 300, "reasoning_tokens": 4000}'$$,
    $$'21 + 4300 = 4321', 0.5, 'stated', '{"input_tokens": 1, "cache_read_tokens": 20,
      "output_tokens": 300, "reasoning_tokens": 4000}'::jsonb$$,
    'which may be stated too'),
  ($$null, null, 'm', null, p_usage => '{"input_tokens": 1000, "output_tokens": 500}'$$,
    $$'1000 + 500 = 1500', 0.0075, 'priced', '{"input_tokens": 1000, "output_tokens": 500}'::jsonb$$,
    'and are priced'),
  ($$1000, 500, 'm', null, p_error_code => 'TIMEOUT'$$,
    $$'1000 + 500 = 1500', 0.0075, 'estimated', '{"input_tokens": 1000, "output_tokens": 500}'::jsonb$$,
    'what is a guess is priced as a guess')
) as v (arguments, expected, description);

-- What went wrong ----------------------------------------------------------------------------------

create temp table codes (code text);
insert into codes values
('ZERO_TOKENS'), ('TIMEOUT'), ('RATE_LIMIT'), ('AUTH_ERROR'), ('INVALID_RESPONSE');
create temp table failed as
select billing.record_token_call(run.id, null, null, null, 5, 6, 'm', 0.001, code, 'It is ' || code) as id
from run, codes;
select results_eq(
  $$select error_code, is_estimated, error_message, reported_total_tokens
    from failed inner join billing.token_records using (id) order by error_code$$,
  $$select code, true, 'It is ' || code, null::bigint from codes order by code$$,
  'each error makes the counts a guess'
);
select set_eq(
  $$select cost_basis::text from failed inner join public.ai_usage_ledger using (id)$$,
  $$values ('estimated')$$, 'in the ledger as well'
);
create temp table mismatch as
select billing.record_token_call(
  run.id, null, null, null, 5, 6, 'm', 0.001, 'MISMATCH', p_is_estimated => true,
  p_reported_total_tokens => 12
) as id
from run;
select results_eq(
  $$select total_tokens::integer, reported_total_tokens, is_estimated, error_message
    from mismatch inner join billing.token_records using (id)$$,
  $$values (11, 12::bigint, true, null)$$,
  'of a mismatch the sum is stored, and beside it what was reported'
);

-- With a hold ------------------------------------------------------------------------------------

create temp table held as
select
  (authorize_spend(org, 'm', 1, p_run_id => run.id)).hold_id as id,
  (authorize_spend(org, 'm', 1, p_run_id => run.id)).hold_id as priced,
  (authorize_spend(org, 'm', 1, p_run_id => run.id)).hold_id as plain,
  (authorize_spend(org, 'm', 1, p_run_id => run.id)).hold_id as open,
  (authorize_spend(org, 'm', 1, p_run_id => other)).hold_id as other,
  tests.hold(org, 1, 'm') as draw,
  (authorize_spend(bravo, 'm', 1, p_run_id => bravo_run)).hold_id as bravo
from scene, run;
select tests.freeze_clock('2026-03-10 12:01+00');
select is(
  billing.record_token_call(
    part.id, agent, task, step, 10, 20, 'm', 0.25, 'MISMATCH', p_reported_total_tokens => 31,
    p_hold_id => held.id
  ),
  held.id, 'with a hold it is that call'
)
from part, held;
select results_eq(
  $$select t.agent_id, t.task_id, t.step_id, t.error_code, t.reported_total_tokens,
      t.cost_usd::numeric, t.created_at, u.settlement::text, u.unheld_usd::numeric
    from held inner join billing.token_records as t using (id)
      inner join public.ai_usage_ledger as u using (id)$$,
  $$select agent, task, step, 'MISMATCH', 31::bigint, 0.25,
      '2026-03-10 12:00:00.123+00'::timestamptz, 'on_hold', 0.0 from part$$,
  'which says its part and its error, at the time of the hold'
);
select is_empty('select from metering.holds inner join held using (id)', 'the hold is settled');
select is(
  billing.record_token_call(
    run.id, null, null, null, 1000, 500, 'm', null, p_hold_id => priced, p_org_id => org
  ),
  priced, 'without a cost by the price of the hold'
)
from scene, run, held;
select is(t.cost_usd::numeric, 0.0075, 'to the last digit')
from held inner join billing.token_records as t on t.id = priced;
select results_eq(
  $$select u.id from held, settle_spend(plain, '{"input_tokens": 3, "output_tokens": 4}', 0.5) as u$$,
  'select plain from held', 'a hold of a run may be settled as any other'
);
select results_eq(
  $$select t.step_id, t.agent_id, t.total_tokens::integer, t.cost_usd::numeric, t.is_estimated
    from held inner join billing.token_records as t on t.id = plain$$,
  $$select id, null::uuid, 7, 0.5, false from run$$, 'its call belongs to the run''s own step'
);
create function pg_temp.refusal(p_arguments text)
returns text
language plpgsql
as $$
declare
  v_detail text;
  v_id uuid;
begin
  execute 'select billing.record_token_call(' || p_arguments
    || ') from scene, run, part, stranger, held' into v_id;
  return 'recorded';
exception when others then
  get stacked diagnostics v_detail = pg_exception_detail;
  return concat_ws(
    ' ', sqlstate, v_detail::jsonb ->> 'argument',
    case when v_detail::jsonb ->> 'argument' is null
      then (select string_agg(k, ' ' order by k) from jsonb_object_keys(v_detail::jsonb) as k) end
  );
end
$$;
create temp view everything as
select
  (select jsonb_agg(to_jsonb(t) order by t.id) from billing.token_records as t) as records,
  (select jsonb_agg(to_jsonb(s) order by s.budget_id, s.slot) from metering.budget_slots as s)
  as slots,
  (select jsonb_agg(to_jsonb(h) order by h.id) from metering.holds as h) as holds,
  (select count(*) from public.ai_usage_ledger) as usages,
  (select count(*) from metering.request_keys) as keys;
create temp table before as select * from everything;
select is(
  billing.record_token_call(
    part.id, agent, task, step, 10, 20, 'm', 0.25, 'MISMATCH', p_reported_total_tokens => 31,
    p_hold_id => held.id
  ),
  held.id, 'the same again is the same call'
)
from part, held;
select is(pg_temp.refusal(v.arguments), v.expected, v.description)
from (
  values
  ($$run.id, part.agent, part.task, null, 10, 20, 'm', 0.25, 'MISMATCH', p_reported_total_tokens => 31,
    p_hold_id => held.id$$, 'TS409 hold_id', 'another step'),
  ($$run.id, null, part.task, part.step, 10, 20, 'm', 0.25, 'MISMATCH', p_reported_total_tokens => 31,
    p_hold_id => held.id$$, 'TS409 hold_id', 'another agent'),
  ($$run.id, part.agent, null, part.step, 10, 20, 'm', 0.25, 'MISMATCH', p_reported_total_tokens => 31,
    p_hold_id => held.id$$, 'TS409 hold_id', 'another task'),
  ($$run.id, part.agent, part.task, part.step, 10, 20, 'm', 0.25, 'MISMATCH', p_reported_total_tokens => 32,
    p_hold_id => held.id$$, 'TS409 hold_id', 'another reported total'),
  ($$run.id, part.agent, part.task, part.step, 10, 20, 'm', 0.25, 'TIMEOUT', p_hold_id => held.id$$,
    'TS409 hold_id', 'another error'),
  ($$run.id, part.agent, part.task, part.step, 10, 20, 'm', 0.25, p_hold_id => held.id$$, 'TS409 hold_id',
    'no error'),
  ($$run.id, part.agent, part.task, part.step, 10, 21, 'm', 0.25, 'MISMATCH', p_reported_total_tokens => 30,
    p_hold_id => held.id$$, 'TS409 hold_id', 'other tokens'),
  ($$run.id, part.agent, part.task, part.step, 10, 20, 'm', 0.250000000001, 'MISMATCH',
    p_reported_total_tokens => 31, p_hold_id => held.id$$, 'TS409 hold_id', 'another cost'),
  ($$run.id, null, null, null, 1, 1, 'n', 0.25, p_hold_id => open$$, '22023 p_model',
    'another model than the hold is for'),
  ($$run.id, null, null, null, 10, 20, 'n', 0.25, 'MISMATCH', p_reported_total_tokens => 31,
    p_hold_id => held.id$$, '22023 p_model', 'another model than it was for'),
  ($$run.id, null, null, null, 1, 1, 'm', 0.25, p_hold_id => held.other$$, 'TS404 hold_id',
    'a hold of another run'),
  ($$run.id, null, null, null, 1, 1, 'm', 0.25, p_hold_id => draw$$, 'TS404 hold_id',
    'a hold of no run'),
  ($$run.id, null, null, null, 1, 1, 'm', 0.25, p_hold_id => held.bravo$$, 'TS404 hold_id',
    'a hold of another organization'),
  ($$run.id, null, null, null, 1, 1, 'm', 0.25, p_hold_id => gen_random_uuid()$$, 'TS404 hold_id',
    'an unknown hold'),
  ($$run.id, null, null, null, 1000, 500, 'm', 0.123456789012, p_hold_id => (select id from first)$$,
    'TS404 hold_id', 'a call that had no hold'),

  -- Without a hold.
  ($$null, null, null, null, 1, 1, 'm', 1$$, '22023 p_run_id', 'no run'),
  ($$gen_random_uuid(), null, null, null, 1, 1, 'm', 1$$, 'TS404 run_id', 'an unknown run'),
  ($$bravo_run, null, null, null, 1, 1, 'm', 1, p_org_id => org$$, 'TS404 run_id',
    'the run of another organization'),
  ($$run.id, null, null, null, 1, 1, 'm', 1, p_org_id => gen_random_uuid()$$, 'TS404 run_id',
    'a run of an unknown organization'),
  ($$run.id, stranger.agent, null, null, 1, 1, 'm', 1$$, 'TS404 agent_id', 'an agent of another run'),
  ($$run.id, null, stranger.task, null, 1, 1, 'm', 1$$, 'TS404 task_id', 'a task of another run'),
  ($$run.id, null, null, stranger.step, 1, 1, 'm', 1$$, 'TS404 step_id', 'a step of another run'),
  ($$run.id, null, null, run.other, 1, 1, 'm', 1$$, 'TS404 step_id', 'the own step of another run'),
  ($$run.id, null, null, gen_random_uuid(), 1, 1, 'm', 1$$, 'TS404 step_id', 'an unknown step'),
  ($$run.id, null, null, null, null, 1, 'm', 1$$, '22023 p_input_tokens', 'no input tokens'),
  ($$run.id, null, null, null, 1, null, 'm', 1$$, '22023 p_output_tokens', 'no output tokens'),
  ($$run.id, null, null, null, -1, 1, 'm', 1$$, '22023 p_input_tokens', 'less input than none'),
  ($$run.id, null, null, null, 1, -1, 'm', 1$$, '22023 p_output_tokens', 'less output than none'),
  ($$run.id, null, null, null, 1, 1, null, 1$$, '22023 p_model', 'no model'),
  ($$run.id, null, null, null, 1, 1, ' ', 1$$, '22023 p_model', 'a blank model'),
  ($$run.id, null, null, null, 1, 1, repeat('m', 256), 1$$, '22023 p_model',
    'a model of 256 characters'),
  ($$run.id, null, null, null, 1, 1, 'm', -0.000000000001$$, '22023 p_cost_usd', 'a negative cost'),
  ($$run.id, null, null, null, 1, 1, 'm', 'NaN'$$, '22023 p_cost_usd', 'a cost of NaN'),
  ($$run.id, null, null, null, 1, 1, 'm', 'Infinity'$$, '22023 p_cost_usd', 'a cost of Infinity'),
  ($$run.id, null, null, null, 1, 1, 'm', 0.0000000000001$$, '22023 p_cost_usd', '13 decimals'),
  ($$run.id, null, null, null, 1, 1, 'm', 1000000000000$$, '22023 p_cost_usd', 'a trillion'),
  ($$run.id, null, null, null, 1, 1, 'm', 1, 'OOPS'$$, '22023 p_error_code', 'an unknown error'),
  ($$run.id, null, null, null, 1, 1, 'm', 1, 'timeout'$$, '22023 p_error_code', 'in small letters'),
  ($$run.id, null, null, null, 1, 1, 'm', 1, 'TIMEOUT', p_is_estimated => false$$,
    '22023 p_is_estimated', 'an error, and no guess'),
  ($$run.id, null, null, null, 1, 1, 'm', 1, p_is_estimated => true$$, '22023 p_is_estimated',
    'a guess, and no error'),
  ($$run.id, null, null, null, 1, 1, 'm', 1, null, 'why'$$, '22023 p_error_message',
    'a message without an error'),
  ($$run.id, null, null, null, 1, 1, 'm', 1, 'TIMEOUT', repeat('x', 10001)$$,
    '22023 p_error_message', 'a message of 10001 characters'),
  ($$run.id, null, null, null, 1, 1, 'm', 1, 'MISMATCH', p_reported_total_tokens => -1$$,
    '22023 p_reported_total_tokens', 'a total below 0'),
  ($$run.id, null, null, null, 1, 1, 'unpriced', null$$, '22023 p_cost_usd',
    'no cost of a model without a price'),
  ($$run.id, null, null, null, 1, 1, 'm', 1, 'MISMATCH'$$, '22023 p_reported_total_tokens',
    'a mismatch without the total'),
  ($$run.id, null, null, null, 1, 1, 'm', 1, 'MISMATCH', p_reported_total_tokens => 2$$,
    '22023 p_reported_total_tokens', 'a mismatch that is none'),
  ($$run.id, null, null, null, 1, 1, 'm', 1, 'TIMEOUT', p_reported_total_tokens => 3$$,
    '22023 p_reported_total_tokens', 'a total with another error'),
  ($$run.id, null, null, null, 1, 1, 'm', 1, p_reported_total_tokens => 3$$,
    '22023 p_reported_total_tokens', 'a total without an error'),
  ($$run.id, null, null, null, 1, 2, 'm', 1, p_usage => '{"input_tokens": 1, "output_tokens": 1}'$$,
    '22023 p_usage', 'classes that come to another sum'),
  ($$run.id, null, null, null, null, null, 'm', 1, p_usage => '{"tokens": 1}'$$, '22023 p_usage',
    'a class nobody knows'),
  ($$run.id, null, null, null, null, null, 'm', 1, p_usage => '[]'$$, '22023 p_usage',
    'a usage in a list'),
  ($$run.id, null, null, null, 1, 1, 'm', 1, p_request_id => ''$$, '22023 p_request_id',
    'an empty request id'),
  ($$run.id, null, null, null, 1, 1, 'm', 1, p_request_id => repeat('r', 256)$$,
    '22023 p_request_id', 'a request id of 256 characters')
) as v (arguments, expected, description);
select results_eq('table everything', 'table before', 'what is refused or repeated leaves nothing');
select is(pg_temp.refusal(v.arguments), 'recorded', v.description)
from (
  values
  ($$run.id, null, null, null, 1, 1, repeat('m', 255), 0.000000000001, 'TIMEOUT', repeat('x', 10000),
    true, p_request_id => repeat('r', 255), p_org_id => org$$, 'the longest names'),
  ($$run.id, null, null, null, 2147483647, 0, 'm', 0$$, 'as many tokens as a call may have'),
  ($$run.id, null, null, null, 1, 1, 'm', 0, null, null, false$$, 'no error, and no guess'),
  ($$bravo_run, null, null, null, 1, 1, 'm', 0$$, 'a run of another organization, by its id'),
  ($$run.id, null, null, run.id, 1, 1, 'm', 0$$, 'the run''s own step by its id')
) as v (arguments, description);

-- Request ids ------------------------------------------------------------------------------------

create temp table asked as
select billing.record_token_call(
  run.id, null, null, null, 1, 2, 'm', 0.5, p_request_id => 'request'
) as id
from run;
select is(
  billing.record_token_call(
    run.id, null, null, null, 1, 2, 'm', 0.50, p_is_estimated => false, p_request_id => 'request'
  ),
  asked.id, 'the same request is the same call'
)
from run, asked;
select is(pg_temp.refusal(v.arguments), 'TS409 operation request_id', v.description)
from (
  values
  ($$run.id, null, null, null, 2, 2, 'm', 0.5, p_request_id => 'request'$$, 'other tokens'),
  ($$run.id, null, null, null, 1, 2, 'n', 0.5, p_request_id => 'request'$$, 'another model'),
  ($$run.id, null, null, null, 1, 2, 'm', 0.6, p_request_id => 'request'$$, 'another cost'),
  ($$run.id, null, null, null, 1, 2, 'm', null, p_request_id => 'request'$$, 'no cost'),
  ($$run.other, null, null, null, 1, 2, 'm', 0.5, p_request_id => 'request'$$, 'another run'),
  ($$run.id, null, null, part.step, 1, 2, 'm', 0.5, p_request_id => 'request'$$, 'another step'),
  ($$run.id, null, null, null, 1, 2, 'm', 0.5, 'TIMEOUT', p_request_id => 'request'$$, 'an error')
) as v (arguments, description);
select is(
  billing.record_token_call(
    run.id, null, null, null, 1, 2, 'm', 0.5, p_hold_id => open, p_request_id => 'settle'
  ),
  open, 'a hold with a request id'
)
from run, held;
select is(
  billing.record_token_call(
    run.id, null, null, null, 1, 2, 'm', 0.5, p_hold_id => open, p_request_id => 'settle'
  ),
  open, 'is settled once'
)
from run, held;
select is(
  pg_temp.refusal(
    $$run.other, null, null, null, 1, 2, 'm', 0.5, p_hold_id => held.other, p_request_id => 'settle'$$
  ),
  'TS409 operation request_id', 'the id is that of the other hold'
);

-- More than was reserved, and too late -------------------------------------------------------------

select lives_ok($$select tests.call(id, 20) from run$$, 'more than the run has reserved lands');
select ok(remaining < 0 and is_closed, 'its budget is in debt') from run, tests.figures(id);
select is(
  (select decision from scene, run, authorize_spend(org, 'm', 0.01, p_run_id => run.id)), 'denied',
  'so the next call is refused'
);
create temp table late as select tests.organization('Late') as org;
select tests.buy(org, 3) from late;
create temp table late_run as select tests.run(org, 1) as id from late;
create temp table late_hold as
select (authorize_spend(org, 'm', 0.5, p_run_id => r.id)).hold_id as id from late, late_run as r;
select r.id from late_run, billing.cancel_run(late_run.id) as r;
create temp table came_late as
select tests.call(id, 2) as first, null::uuid as second, null::uuid as third, null::uuid as free
from late_run;
update came_late set second = (
  select billing.record_token_call(r.id, null, null, null, 1, 1, 'm', 0.75, p_hold_id => h.id)
  from late_run as r, late_hold as h
);
update came_late set third = (select tests.call(id, 4) from late_run);
update came_late set free = (select tests.call(id, 0) from late_run);
select results_eq(
  $$select l.transaction_type, l.direction, l.amount_usd::numeric, l.reason::text, l.run_id = r.id,
      l.idempotency_key = 'tallystick:usage:' || u.id
    from late_run as r inner join billing.billing_ledger as l on l.run_id = r.id,
      came_late as c cross join lateral unnest(array[c.first, c.second, c.third])
      with ordinality as u (id, n)
    where l.reason = 'late_usage' and l.idempotency_key like '%' || u.id
    order by u.n$$,
  $$values ('adjustment', 'debit', 2.0, 'late_usage', true, true),
    ('adjustment', 'debit', 0.75, 'late_usage', true, true),
    ('adjustment', 'debit', 0.25, 'late_usage', true, true)$$,
  'what lands after its run has ended is an adjustment, as far as credits go'
);
select results_eq(
  $$select amount_usd::numeric, outstanding_usd::numeric, run_id, reason::text
    from late inner join billing.receivables on org_id = org$$,
  $$select 3.75, 3.75, id, 'late_usage' from late_run$$, 'the rest is owed'
);
select results_eq(
  $$select t.cost_usd::numeric, u.settlement::text, u.unheld_usd::numeric
    from late_run as r inner join billing.token_records as t on t.run_id = r.id
      inner join public.ai_usage_ledger as u on u.id = t.id order by t.cost_usd$$,
  $$values (0.0, 'without_hold', 0.0), (0.75, 'after_hold', 0.75), (2, 'without_hold', 2),
    (4, 'without_hold', 4)$$,
  'each is recorded'
);
select results_eq(
  $$select c.actual_cost_usd::numeric, c.actual_total_tokens::bigint
    from late_run as r inner join billing.token_reconciliations as c on c.run_id = r.id$$,
  $$values (0.0, 0::bigint)$$, 'the reconciliation stays as it was'
);

-- In batches -------------------------------------------------------------------------------------

select tests.buy(org, 10) from late;
create temp table batch_run as select tests.run(org, 1) as id from late;
create temp table batch as
select b.hold_id as id from late, batch_run as r,
  authorize_spend_batch(org, jsonb_build_array(
    jsonb_build_object('model', 'm', 'estimated_cost', '0.25', 'run_id', r.id),
    jsonb_build_object('model', 'm', 'estimated_cost', '0.5', 'run_id', r.id))) as b;
select tests.freeze_clock('2026-03-10 12:02+00');
select u.settlement from late, settle_spend_batch(org, (
  select jsonb_agg(jsonb_build_object('hold_id', b.id, 'cost', '0.375') order by b.id) from batch as b
)) as u;
select results_eq(
  $$select t.run_id = r.id, t.step_id = r.id, t.cost_usd::numeric
    from batch_run as r, batch inner join billing.token_records as t using (id)$$,
  $$values (true, true, 0.375), (true, true, 0.375)$$, 'each call of a batch is recorded'
);

-- All three agree --------------------------------------------------------------------------------

select results_eq(
  $$select sum(input_tokens), sum(output_tokens), sum(cost_usd), count(*) from billing.token_records$$,
  $$select sum(prompt_tokens), sum(completion_tokens), sum(cost), count(*)
    from public.ai_usage_ledger$$,
  'records and ledger come to the same'
);
select results_eq(
  $$select sum(input_tokens)::numeric, sum(output_tokens)::numeric, sum(cost_usd), count(*)::numeric
    from billing.token_records$$,
  $$select sum(prompt_tokens), sum(completion_tokens), sum(cost), sum(requests)
    from metering.usage_rollups where scope = 'organization'$$,
  'so do the rollups'
);

select is_empty($$select * from audit.verify_integrity()$$, 'the books agree');
select * from finish();
rollback;
