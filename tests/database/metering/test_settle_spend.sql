-- What a held call cost is recorded, and what it did not need is free again. Retries are in
-- test_request_keys, what happens at the end of a window in test_windows.
begin;
select plan(65);

select tests.freeze_clock('2026-03-10 12:00:00.123456+00');
create temp table scene as
select
  o.org,
  tests.workflow(o.org) as workflow,
  tests.venture(o.org) as venture,
  tests.cap(o.org, 'organization', null, 'day', 10, p_slots => 4) as day,
  tests.cap(o.org, 'model', 'm', 'total', 5) as model
from (select tests.organization('Acme') as org) as o;

-- Within the hold ----------------------------------------------------------------------------

create temp table first as
select (authorize_spend(
  org, 'm', 1, 5, 5, workflow, '00000000-0000-4000-8000-000000000001', venture,
  '00000000-0000-4000-8000-000000000002', 'key', '{"team": "growth"}', 'anthropic', 'batch'
)).hold_id as id
from scene;
select tests.freeze_clock('2026-03-10 12:00:05.5+00');
select results_eq(
  $$select u.id, u.organization_id, u.workflow_id, u.run_id, u.venture_id, user_id,
      api_key_id::text, model::text, provider::text, service_tier::text, tags,
      prompt_tokens::integer, completion_tokens::integer, cost::numeric, created_at, settled_at,
      settlement::text, unheld_usd::numeric
    from first, settle_spend(
      first.id,
      '{"input_tokens": 1, "cache_read_tokens": 20, "cache_write_5m_tokens": 300,
        "cache_write_1h_tokens": 4000, "input_audio_tokens": 50000, "output_tokens": 6,
        "reasoning_tokens": 70, "output_audio_tokens": 800, "requests": 2}',
      0.123456789012
    ) as u$$,
  $$select first.id, org, workflow, '00000000-0000-4000-8000-000000000001'::uuid, venture,
      '00000000-0000-4000-8000-000000000002'::uuid, 'key', 'm', 'anthropic', 'batch',
      '{"team": "growth"}'::jsonb, 54321, 876, 0.123456789012,
      '2026-03-10 12:00:00.123+00'::timestamptz, '2026-03-10 12:00:05.5+00'::timestamptz,
      'on_hold', 0::numeric
    from scene, first$$,
  'the usage has the hold''s id, who and when, and what was used, to the last digit'
);
select results_eq(
  $$select count(*) from public.ai_usage_ledger inner join first using (id)$$,
  $$values (1::bigint)$$, 'it is in the ledger'
);
select is_empty($$select from metering.holds inner join first using (id)$$, 'the hold is gone');
select results_eq(
  $$select b.scope, b.time_window, settled, held, remaining from scene
    inner join metering.budgets as b on b.organization_id = org cross join tests.figures(b.id)
    order by b.scope, b.time_window$$,
  $$values
    ('model', 'total', 0.123456789012, 0::numeric, 4.876543210988),
    ('organization', 'day', 0.123456789012, 0, 9.876543210988),
    ('organization', 'total', 0.123456789012, 0, null),
    ('workflow', 'total', 0.123456789012, 0, null)$$,
  'every budget counts what it cost, and the rest is free again'
);
select results_eq(
  $$select day, model, requests::bigint, prompt_tokens::bigint, completion_tokens::bigint,
      cost::numeric from metering.usage_rollups where scope = 'organization'$$,
  $$values ('2026-03-10'::date, 'm', 1::bigint, 54321::bigint, 876::bigint, 0.123456789012)$$,
  'the rollup has it'
);
select is(
  (select workflow_data ->> 'total_ai_cost'
    from intent_workflows inner join scene on id = workflow),
  '0.123456789012', 'the workflow''s total has it'
);
create function pg_temp.settled(p_cost numeric, p_held numeric default 1)
returns table (settlement text, unheld numeric, cost numeric)
language sql
as $$
  select settlement::text, unheld_usd, cost
  from scene, public.settle_spend(tests.hold(org, p_held, 'm'), null, p_cost)
$$;
select results_eq(
  $$select * from pg_temp.settled(0)$$, $$values ('on_hold', 0::numeric, 0::numeric)$$,
  'a call may have cost nothing'
);
select results_eq(
  $$select * from pg_temp.settled(1)$$, $$values ('on_hold', 0::numeric, 1::numeric)$$,
  'or all of its hold'
);
select results_eq(
  $$select prompt_tokens::integer, completion_tokens::integer
    from public.ai_usage_ledger where cost = 1$$,
  $$values (0, 0)$$, 'without a usage there are no tokens'
);
select results_eq(
  $$select u.settlement::text from scene, settle_spend(
      tests.hold(org, 1, 'm'), null, 0.5, p_organization_id => org) as u$$,
  $$values ('on_hold')$$, 'the organization may be named'
);

-- Above the hold -----------------------------------------------------------------------------

select results_eq(
  $$select * from pg_temp.settled(1.000000000001)$$,
  $$values ('on_hold', 0.000000000001, 1.000000000001)$$,
  'above its hold it lands, and the part above is flagged'
);
select results_eq(
  $$select settled, held, remaining, is_closed from scene, tests.figures(model)$$,
  $$values (2.623456789013, 0::numeric, 2.376543210987, false)$$,
  'where the budget has the money, that is all'
);
select results_eq(
  $$select * from pg_temp.settled(4)$$, $$values ('on_hold', 3::numeric, 4::numeric)$$,
  'where it has not, it lands all the same'
);
select results_eq(
  $$select settled, held, remaining, is_closed from scene, tests.figures(model)$$,
  $$values (6.623456789013, 0::numeric, -1.623456789013, true)$$, 'and the budget is in debt'
);
select results_eq(
  $$select decision, budget_id, remaining_usd from scene, authorize_spend(org, 'm', 0.1)$$,
  $$select 'denied', model, '-1.623456789013' from scene$$, 'so the cap refuses the next call'
);
select tests.cap(org, 'model', 'm', 'total', 50), tests.cap(org, 'organization', null, 'day', 100)
from scene;

-- After the hold -----------------------------------------------------------------------------

create temp table ended as
select n.name, tests.hold(org, 1, 'm', n.expires_in) as id
from scene, (
  values
  ('overdue', interval '1 minute'), ('expired', interval '1 minute'),
  ('released', interval '1 hour'), ('swept', interval '1 hour')
) as n (name, expires_in);
select h.id from ended, release_spend(ended.id) as h where name in ('released', 'swept');
select tests.freeze_clock('2026-03-10 12:30:00+00');
select results_eq(
  $$select settlement::text, unheld_usd::numeric
    from ended, settle_spend(ended.id, null, 1) where name = 'overdue'$$,
  $$values ('on_hold', 0::numeric)$$, 'an overdue hold that nobody took covers its call'
);
select is(metering.expire_holds(org), 1, 'the other overdue one expires') from scene;
select results_eq(
  $$select name, settlement::text, unheld_usd::numeric, cost::numeric
    from ended, settle_spend(ended.id, null, 0.75)
    where name in ('expired', 'released') order by name$$,
  $$values ('expired', 'after_hold', 0.75, 0.75), ('released', 'after_hold', 0.75, 0.75)$$,
  'after it ended a hold settles late: all of it is flagged'
);
select results_eq(
  $$select u.created_at, u.settled_at from ended inner join public.ai_usage_ledger as u using (id)
    where name = 'expired'$$,
  $$values (
      '2026-03-10 12:00:05.5+00'::timestamptz, '2026-03-10 12:30:00+00'::timestamptz)$$,
  'it counts to the time it was authorized'
);
select is_empty(
  $$select from ended inner join metering.holds using (id) where name <> 'swept'$$,
  'and the holds are gone'
);
select throws_ok(
  $$select release_spend(id) from ended where name = 'expired'$$, 'TS410', null,
  'what was settled cannot be released'
);
delete from metering.holds using ended where holds.id = ended.id and name = 'swept';
select throws_ok(
  $$select settle_spend(id, null, 1) from ended where name = 'swept'$$, 'TS404', null,
  'a hold that was forgotten is unknown'
);

-- Frozen, changed and without a limit: spend is never refused ------------------------------------

create temp table held as
select tests.hold(org, 1, 'm') as frozen, tests.hold(org, 1, 'm') as changed from scene;
select b.id from scene, metering.freeze(org) as b;
select lives_ok(
  $$select settle_spend(frozen, null, 2) from held$$, 'where it is frozen it lands all the same'
);
select b.id from scene, metering.unfreeze(org) as b;
select tests.cap(org, 'user', '00000000-0000-4000-8000-000000000003', 'day', 1),
  tests.cap(org, 'model', 'm', 'hour', 1) from scene;
select b.id from scene, metering.change_budget(org, day, p_slots => 1) as b;
select results_eq(
  $$select settled, held, remaining from scene,
      tests.figures(tests.budget(org, 'model', 'm', 'hour'))$$,
  $$select sum(cost), 1.0, 1 - 1.0 - sum(cost) from public.ai_usage_ledger$$,
  'a budget that was made meanwhile counted the hold'
);
select tests.settle(changed, 0.5) from held;
select results_eq(
  $$select settled, held, remaining from scene,
      tests.figures(tests.budget(org, 'model', 'm', 'hour'))$$,
  $$select sum(cost), 0.0, 1 - sum(cost) from public.ai_usage_ledger$$,
  'and so counts its settlement'
);

-- Refusals -----------------------------------------------------------------------------------

create temp table bravo as
select o.org, tests.hold(o.org, 1) as hold, tests.workflow(o.org) as workflow
from (select tests.organization('Bravo') as org) as o;
select tests.spend(workflow, 1) from bravo;
create temp view everything as
select
  (select jsonb_agg(to_jsonb(s) order by s.budget_id, s.slot)
    from metering.budget_slots as s) as slots,
  (select jsonb_agg(to_jsonb(h) order by h.id) from metering.holds as h) as holds,
  (select count(*) from public.ai_usage_ledger) as usages,
  (select count(*) from metering.request_keys) as keys;
create temp table before_refusals as select * from everything;
create function pg_temp.refusal(p_arguments text)
returns text
language plpgsql
as $$
declare
  v_detail text;
begin
  execute 'select u.* from scene, bravo, public.settle_spend(' || p_arguments || ') as u';
  return 'settled';
exception when others then
  get stacked diagnostics v_detail = pg_exception_detail;
  return concat_ws(' ', sqlstate, v_detail::jsonb ->> 'argument');
end
$$;
select is(pg_temp.refusal(v.arguments), v.expected, v.description)
from (
  values
  ('null, null, 1', '22023 p_hold_id', 'no hold'),
  ('hold', '22023 p_cost', 'no cost'),
  ('hold, null, -0.000000000001', '22023 p_cost', 'a negative cost'),
  ($$hold, null, 'NaN'$$, '22023 p_cost', 'a cost of NaN'),
  ($$hold, null, 'Infinity'$$, '22023 p_cost', 'a cost of Infinity'),
  ('hold, null, 0.0000000000001', '22023 p_cost', 'a cost with 13 decimals'),
  ('hold, null, 1000000000000', '22023 p_cost', 'a cost of a trillion'),
  ($$hold, '[]', 1$$, '22023 p_usage', 'a usage in a list'),
  ($$hold, 'null', 1$$, '22023 p_usage', 'a usage of JSON null'),
  ($$hold, '10', 1$$, '22023 p_usage', 'a usage that is a number'),
  ($$hold, '{"tokens": 1}', 1$$, '22023 p_usage', 'a class of tokens nobody knows'),
  ($$hold, '{"Input_tokens": 1}', 1$$, '22023 p_usage', 'a class in capitals'),
  ($$hold, '{"input_tokens": -1}', 1$$, '22023 p_usage', 'fewer tokens than none'),
  ($$hold, '{"input_tokens": 1.5}', 1$$, '22023 p_usage', 'a fraction of a token'),
  ($$hold, '{"input_tokens": "1"}', 1$$, '22023 p_usage', 'tokens in a text'),
  ($$hold, '{"input_tokens": true}', 1$$, '22023 p_usage', 'tokens that are true'),
  ($$hold, '{"input_tokens": [1]}', 1$$, '22023 p_usage', 'tokens in a list'),
  ($$hold, '{"output_tokens": {"n": 1}}', 1$$, '22023 p_usage', 'tokens in an object'),
  ($$hold, '{"requests": [1]}', 1$$, '22023 p_usage', 'requests in a list'),
  ($$hold, '{"requests": 0.5}', 1$$, '22023 p_usage', 'half a request'),
  ($$hold, '{"requests": 99999999999999999999}', 1$$, '22023 p_usage', 'requests beyond counting'),
  ($$hold, '{"input_tokens": 2147483648}', 1$$, '22023 p_usage', 'more tokens than a call has'),
  ($$hold, '{"input_tokens": 2147483647, "cache_read_tokens": 1}', 1$$, '22023 p_usage',
    'more than that in sum'),
  ($$hold, '{"output_tokens": 2147483647, "reasoning_tokens": 1}', 1$$, '22023 p_usage',
    'more output than that'),
  ($$hold, '{"input_tokens": 1e400}', 1$$, '22023 p_usage', 'tokens beyond all numbers'),
  ($$hold, null, 1, ''$$, '22023 p_request_id', 'an empty request id'),
  ($$hold, null, 1, repeat('r', 256)$$, '22023 p_request_id', 'a request id of 256 characters'),
  ('gen_random_uuid(), null, 1', 'TS404', 'an unknown hold'),
  ('gen_random_uuid(), null, 1, null, scene.org', 'TS404', 'an unknown hold of an organization'),
  ('hold, null, 1, null, scene.org', 'TS404', 'a hold of another organization'),
  ('hold, null, 1, null, gen_random_uuid()', 'TS404', 'a hold of an unknown organization'),
  ('(select l.id from public.ai_usage_ledger as l where l.organization_id = bravo.org), null, 1',
    'TS404', 'a usage that was recorded without a hold')
) as v (arguments, expected, description);
select results_eq(
  'table everything', 'table before_refusals', 'what is refused leaves nothing behind'
);
select is(
  pg_temp.refusal(v.arguments), 'settled', v.description
)
from (
  values
  ($$hold, '{"input_tokens": 2147483647, "output_tokens": 2147483647, "requests": 9999999999}', 1$$,
    'as many tokens as a call may have'),
  ($$tests.hold(bravo.org, 1), '{"input_tokens": null, "requests": 0}', 1$$,
    'a class that is null is not there'),
  ($$tests.hold(bravo.org, 1), '{}', 999999999999.999999999999$$, 'the most a call may cost'),
  ($$tests.hold(bravo.org, 1), null, 999999999999.999999999999$$, 'and once more')
) as v (arguments, description);

-- A month nobody prepared --------------------------------------------------------------------

select tests.freeze_clock('2199-12-31 23:59:59+00');
create temp table far_ahead as select tests.hold(org, 1) as id from bravo;
select tests.freeze_clock('2200-02-01 00:00:00+00');
select results_eq(
  $$select u.created_at, u.settled_at from far_ahead, settle_spend(far_ahead.id, null, 1) as u$$,
  $$values ('2199-12-31 23:59:59+00'::timestamptz, '2200-02-01 00:00:00+00'::timestamptz)$$,
  'a settlement goes to the month of its authorization'
);
create temp table clock_behind as select tests.hold(org, 1) as id from bravo;
select tests.freeze_clock('2200-01-01 00:00:00+00');
select results_eq(
  $$select u.settled_at from clock_behind, settle_spend(clock_behind.id, null, 1) as u$$,
  $$values ('2200-02-01 00:00:00+00'::timestamptz)$$,
  'with a clock that was set back it is not settled before it was authorized'
);

select is_empty($$select * from audit.verify_integrity()$$, 'the books agree');
select * from finish();
rollback;
