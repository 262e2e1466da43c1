-- record_venture_usage: a row, its usage and every total, or nothing.
begin;
select plan(85);

select tests.freeze_clock('2026-03-10 12:00+00');
create temporary table scene as
select
  o.org, tests.venture(o.org) as venture, tests.venture(o.away) as venture_away, o.away,
  tests.member(o.org, 'owner') as owner
from (select tests.organization() as org, tests.organization('Away') as away) as o;
select tests.cap(org, 'venture', venture::text, 'month', 10) from scene;
select (metering.allocate_venture_budget(org, venture, 'exploratory', 10)).exploratory_pct from scene;
select tests.price('priced', 2, 8);
grant select on scene to public;

create function pg_temp.left_of(p_profile text)
returns numeric
language sql
as $$
  select trim_scale(s.remaining_usd) from metering.venture_profile_status as s
  where s.budget_profile = p_profile
$$;

-- All there is to say -----------------------------------------------------------------------------

create temporary table recorded as
select r.* from scene, record_venture_usage(
  venture, 3, 'researcher', 'priced', 1000, 100, 0.25, 'THE_ENGINE',
  'a0000000-0000-4000-8000-000000000000', 'crew', 'exploratory', false, null, 'search',
  '{"a": 1}', 'first', org
) as r;
select results_eq(
  $$select r.organization_id = s.org, r.venture_id = s.venture, lifecycle_stage, agent_type::text,
      model_id::text, tokens_input::int, tokens_output::int, tokens_total::int, cost_usd::numeric,
      phase, job_id, crew_id::text, budget_profile, budget_allocation_pct::numeric, is_simulation,
      simulation_run_id, operation_type::text, metadata, usage_id = r.id, created_at
    from recorded as r, scene as s$$,
  $$values (true, true, 3, 'researcher', 'priced', 1000, 100, 1100, 0.25, 'THE_ENGINE',
    'a0000000-0000-4000-8000-000000000000'::uuid, 'crew', 'exploratory', 10.00, false, null::uuid,
    'search', '{"a": 1}'::jsonb, true, '2026-03-10 12:00+00'::timestamptz)$$,
  'the row says what was stated'
);
select results_eq(
  $$select l.id, l.venture_id, l.model::text, l.listed_model::text, l.cost::numeric, l.cost_basis,
      l.settlement, l.unheld_usd::numeric, l.tags
    from public.ai_usage_ledger as l$$,
  $$select id, venture_id, 'priced', null, 0.25, 'stated'::metering.cost_basis,
      'without_hold'::metering.settlement, 0.25, '{"budget_profile": "exploratory"}'::jsonb
    from recorded$$,
  'its usage has the same id'
);
select results_eq(
  $$select r.scope, r.scope_id, sum(r.cost)::numeric from metering.usage_rollups as r
    group by 1, 2 order by 1$$,
  $$select v.scope, v.scope_id, 0.25 from scene cross join lateral (values
    ('organization', ''), ('tag', 'budget_profile=exploratory'), ('venture', venture::text),
    ('venture_profile', venture || '/exploratory')) as v (scope, scope_id)$$,
  'the sums of organization, venture and profile have it'
);
select is(pg_temp.left_of('exploratory'), 0.75, 'and its share has less');

-- Retries -----------------------------------------------------------------------------------------

create function pg_temp.records(
  p_stage integer default 3,
  p_cost numeric default 0.25,
  p_request text default 'first',
  p_is_simulation boolean default false,
  p_metadata jsonb default '{"a": 1}'
)
returns uuid
language sql
as $$
  select (record_venture_usage(
    venture, p_stage, 'researcher', 'priced', 1000, 100, p_cost, 'THE_ENGINE',
    'a0000000-0000-4000-8000-000000000000', 'crew', 'exploratory', p_is_simulation, null, 'search',
    p_metadata, p_request
  )).id from scene
$$;
select is(pg_temp.records(), id, 'a retry is the same record') from recorded;
select is(pg_temp.records(p_cost => 0.2500), id, 'however its cost is written') from recorded;
select throws_ok(v, 'TS409', null, v) from unnest(array[
  'select pg_temp.records(4)', 'select pg_temp.records(p_cost => 0.250000000001)',
  'select pg_temp.records(p_cost => null)', 'select pg_temp.records(p_is_simulation => true)',
  $$select pg_temp.records(p_metadata => '{}')$$
]) as v;
select is((select count(*) from public.ai_usage_ledger), 1::bigint, 'nothing else was recorded');
update public.venture_token_ledger set metadata = '{}', crew_id = null;
select is(pg_temp.records(), id, 'also after it was described anew') from recorded;
select isnt(pg_temp.records(p_request => null), id, 'without a request id it is another') from recorded;
select is(pg_temp.left_of('exploratory'), 0.5, 'each counts once');

-- Real spend is never refused, the next call is ---------------------------------------------------

select lives_ok('select pg_temp.records(p_cost => 2, p_request => null)', 'it lands beyond its share');
select is(pg_temp.left_of('exploratory'), -1.5, 'which is in debt then');
select is(
  (authorize_spend(org, 'm', 1e-12, p_venture_id => venture,
    p_tags => '{"budget_profile": "exploratory"}')).decision, 'denied', 'and grants nothing'
) from scene;
select (metering.freeze(org)).frozen_at is not null from scene;
select lives_ok('select pg_temp.records(p_request => null)', 'it lands where all is frozen');
select (metering.unfreeze(org)).frozen_at from scene;

-- Simulations -------------------------------------------------------------------------------------

create temporary table before as
select pg_temp.left_of('exploratory') as remaining, (select count(*) from public.ai_usage_ledger) as n;
create temporary table simulated as
select r.* from scene, record_venture_usage(
  venture, 3, 'researcher', 'priced', 1000, 100, null, p_is_simulation => true,
  p_simulation_run_id => 'b0000000-0000-4000-8000-000000000000', p_request_id => 'simulated'
) as r;
select results_eq(
  $$select cost_usd::numeric, is_simulation, simulation_run_id, usage_id, budget_profile
    from simulated$$,
  $$values (0.0028, true, 'b0000000-0000-4000-8000-000000000000'::uuid, null::uuid, 'standard')$$,
  'a simulation costs what it would have cost'
);
select results_eq(
  $$select pg_temp.left_of('exploratory'), count(*) from public.ai_usage_ledger$$,
  'select * from before', 'and touches no budget and no ledger'
);
select is(
  (record_venture_usage(
    venture, 3, 'researcher', 'priced', 1000, 100, null, p_is_simulation => true,
    p_simulation_run_id => 'b0000000-0000-4000-8000-000000000000', p_request_id => 'simulated'
  )).id, (select id from simulated), 'a retry is the same'
) from scene;
select throws_ok(
  $$select record_venture_usage(venture, 3, 'researcher', 'priced', 1000, 100, null,
      p_simulation_run_id => null, p_request_id => 'simulated') from scene$$,
  'TS409', null, 'its request id is no other''s'
);
select is_empty('select * from audit.verify_integrity()', 'all agrees');

-- By price ----------------------------------------------------------------------------------------

select is(
  (select cost_usd from record_venture_usage(venture, 1, 'a', 'priced', 1000, 100, null))::numeric,
  0.0028, 'without a cost it is the price''s'
) from scene;
select is(
  (select format('%s %s %s', tokens_input, tokens_output, trim_scale(cost_usd))
    from record_venture_usage(
      venture, 1, 'a', 'priced', null, null, null,
      p_usage => '{"input_tokens": 500, "cache_read_tokens": 500, "reasoning_tokens": 100}'
    )), '1000 100 0.0028', 'by token class'
) from scene;
select is(
  (record_venture_usage(venture, 1, 'a', null, 1, 0, 0)).cost_usd::numeric, 0::numeric,
  'or nothing at all'
) from scene;
select is(
  (select count(*) from public.ai_usage_ledger where zero_cost_reason = 'stated'), 1::bigint,
  'because a server said so'
);

-- With a hold -------------------------------------------------------------------------------------

create function pg_temp.held(p_tags jsonb default '{}', p_model text default 'priced')
returns uuid
language sql
as $$
  select (authorize_spend(
    org, p_model, 1, p_venture_id => venture, p_tags => p_tags
  )).hold_id from scene
$$;
create temporary table holds as select pg_temp.held() as id, pg_temp.held() as second;
create function pg_temp.settles(
  p_hold uuid,
  p_stage integer default 1,
  p_cost numeric default 0.5,
  p_profile text default 'standard',
  p_model text default null,
  p_request text default null
)
returns public.venture_token_ledger
language sql
as $$
  select r.* from scene, record_venture_usage(
    venture, p_stage, 'a', p_model, 10, 5, p_cost, p_budget_profile => p_profile,
    p_hold_id => p_hold, p_request_id => p_request
  ) as r
$$;
select results_eq(
  $$select r.id, r.usage_id, r.model_id::text, r.cost_usd::numeric from holds as h, pg_temp.settles(h.id) as r$$,
  $$select id, id, 'priced', 0.5 from holds$$,
  'a hold is settled, and its row written'
);
select results_eq(
  $$select settlement::text, unheld_usd::numeric from public.ai_usage_ledger as l, holds as h
    where l.id = h.id$$, $$values ('on_hold', 0::numeric)$$, 'within the hold'
);
select is((pg_temp.settles(id)).id, id, 'again: the same') from holds;
select is(
  (pg_temp.settles(pg_temp.held(), p_model => 'acme/priced')).model_id::text, 'priced',
  'by another name of its model it is still the call that was held'
);
select is(
  (pg_temp.settles(pg_temp.held(p_model => null))).model_id::text, null,
  'nobody said of which model'
);
select throws_ok(format(v.call, id), v.code, null, v.description)
from holds cross join (
  values
  ('select pg_temp.settles(%L, 2)', 'TS409', 'not in another stage'),
  ('select pg_temp.settles(%L, p_cost => 0.6)', 'TS409', 'not at another cost'),
  ('select pg_temp.settles(%L, p_profile => ''custom'')', '22023', 'not under another profile'),
  ('select pg_temp.settles(%L, p_model => ''other'')', '22023', 'not of another model')
) as v (call, code, description);
select is(tests.settle(second, 0.25), second, 'what settle_spend has settled') from holds;
select throws_ok(
  format('select pg_temp.settles(%L, p_cost => 0.25)', second), 'TS409', null,
  'is not settled by other tokens'
) from holds;
select is(
  (record_venture_usage(venture, 1, 'a', null, 0, 0, 0.25, p_hold_id => second)).usage_id, second,
  'but gets its row'
) from scene, holds;
select throws_ok(v, 'TS404', null, v) from (
  select format('select pg_temp.settles(%L)', h)
  from scene, unnest(array[gen_random_uuid(), tests.hold(org, 1), tests.hold(away, 1)]) as h
) as v (v);
select is_empty('select * from audit.verify_integrity()', 'and it all agrees');

-- What is refused, and leaves nothing -------------------------------------------------------------

create temporary table counted as
select (select count(*) from public.venture_token_ledger) as v, count(*) as l
from public.ai_usage_ledger;
create function pg_temp.refused(p_arguments text)
returns text
language plpgsql
as $$
begin
  execute format('select record_venture_usage(%s) from scene', p_arguments);
  return 'done';
exception when others then
  return sqlstate;
end
$$;
select is(pg_temp.refused(v.arguments), v.code, v.arguments)
from (
  values
  ('null, 1, ''a'', null, 1, 1, 1', '22023'),
  ('gen_random_uuid(), 1, ''a'', null, 1, 1, 1', 'TS404'),
  ('venture, null, ''a'', null, 1, 1, 1', '22023'), ('venture, -1, ''a'', null, 1, 1, 1', '22023'),
  ('venture, 1, null, null, 1, 1, 1', '22023'), ('venture, 1, '' '', null, 1, 1, 1', '22023'),
  ('venture, 1, ''a'', '''', 1, 1, 1', '22023'), ('venture, 1, ''a'', null, -1, 1, 1', '22023'),
  ('venture, 1, ''a'', null, null, 1, 1', '22023'),
  ('venture, 1, ''a'', null, 2147483647, 1, 1', '22023'),
  ('venture, 1, ''a'', null, 1, 1, -1', '22023'),
  ('venture, 1, ''a'', null, 1, 1, ''NaN''', '22023'),
  ('venture, 1, ''a'', null, 1, 1, 1e-13', '22023'),
  ('venture, 1, ''a'', null, 1, 1, 1e12', '22023'),
  ('venture, 1, ''a'', ''unheard of'', 1, 1, null', '22023'),
  ('venture, 1, ''a'', null, 1, 1, null', '22023'),
  ('venture, 1, ''a'', ''unheard of'', 1, 1, null, p_is_simulation => true', '22023'),
  ('venture, 1, ''a'', null, 1, 1, 1, ''THE_END''', '22023'),
  ('venture, 1, ''a'', null, 1, 1, 1, p_budget_profile => ''lavish''', '22023'),
  ('venture, 1, ''a'', null, 1, 1, 1, p_budget_profile => null', '22023'),
  ('venture, 1, ''a'', null, 1, 1, 1, p_is_simulation => null', '22023'),
  ('venture, 1, ''a'', null, 1, 1, 1, p_simulation_run_id => org', '22023'),
  ('venture, 1, ''a'', null, 1, 1, 1, p_metadata => ''[]''', '22023'),
  ('venture, 1, ''a'', null, 1, 1, 1, p_crew_id => repeat(''x'', 256)', '22023'),
  ('venture, 1, ''a'', null, 1, 1, 1, p_operation_type => ''''', '22023'),
  ('venture, 1, ''a'', null, 1, 1, 1, p_request_id => '' ''', '22023'),
  ('venture, 1, ''a'', null, 1, 1, 1, p_organization_id => away', 'TS404'),
  ('venture, 1, ''a'', null, 1, 1, 1, p_usage => ''{"input_tokens": 2, "output_tokens": 1}''',
    '22023'),
  ('venture, 1, ''a'', null, 1, 1, 1, p_usage => ''{"tokens": 2}''', '22023'),
  ('venture, 1, ''a'', null, 1, 1, 1, p_is_simulation => true, p_hold_id => org', '22023'),
  ('venture, 1, ''a'', null, 1, 1, 1, p_metadata => null, p_organization_id => null', 'done')
) as v (arguments, code);
select results_eq(
  $$select (select count(*) from public.venture_token_ledger), count(*) from public.ai_usage_ledger$$,
  'select v + 1, l + 1 from counted', 'what was refused left nothing'
);
create function pg_temp.code(p_role text, p_person uuid)
returns text
language plpgsql
as $$
begin
  perform tests.act_as(p_role, p_person);
  perform record_venture_usage(venture, 1, 'a', null, 1, 1, 1) from scene;
  raise exception using errcode = 'UNDOO';
exception when others then
  return case sqlstate when 'UNDOO' then 'done' else sqlstate end;
end
$$;
grant app_user, tallystick_reader, tallystick_writer to current_user;
select is(pg_temp.code(v.role, case v.role when 'authenticated' then owner end), v.code, v.role)
from scene cross join (
  values
  ('anon', '42501'), ('authenticated', '42501'), ('tallystick_reader', '42501'),
  ('service_role', 'done'), ('app_user', 'done'), ('tallystick_writer', 'done')
) as v (role, code);

-- Paid in advance ---------------------------------------------------------------------------------

select tests.buy(org, 100) from scene;
select lives_ok('select pg_temp.records(p_cost => 0.5, p_request => null)', 'a draw pays for it');
select is((select trim_scale(sum(settled_usd)) from metering.budget_slots as s
  inner join metering.budgets as b on b.id = s.budget_id and b.scope = 'draw'), 0.5,
  'like for any call outside runs');
select is_empty('select * from audit.verify_integrity()', 'and everything agrees at the end');

select * from finish();
rollback;
