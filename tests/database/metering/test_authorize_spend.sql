-- What is granted, what is denied, and what a denial says. Arguments, callers and retries have
-- files of their own.
begin;
select plan(67);

select tests.freeze_clock('2026-03-10 12:00:00.123456+00');
create temp table scene as
select o.org, tests.workflow(o.org) as workflow, tests.venture(o.org) as venture
from (select tests.organization('Acme') as org) as o;

-- A grant ------------------------------------------------------------------------------------

select results_eq(
  $$select decision, hold_id is not null, usage_id, held_usd, reason, budget_id, remaining_usd,
      resets_at, affordable_output_tokens, expires_at, proposal_id
    from scene, authorize_spend(org, 'gpt-4o', 0.50)$$,
  $$values (
      'granted', true, null::uuid, '0.5', null, null::uuid, null, null::timestamptz, null::bigint,
      '2026-03-10 12:10:00.123456+00'::timestamptz, null::uuid)$$,
  'without a cap it is granted, for ten minutes'
);
select results_eq(
  $$select h.organization_id, state::text, held_usd::numeric, model::text, workflow_id, run_id,
      h.venture_id, user_id, api_key_id::text, provider::text, service_tier::text, tags, day,
      created_at, closed_at, reason::text from metering.holds as h$$,
  $$select org, 'open', 0.5, 'gpt-4o', null::uuid, null::uuid, null::uuid, null::uuid, null, null,
      null, '{}'::jsonb, '2026-03-10'::date, '2026-03-10 12:00:00.123+00'::timestamptz,
      null::timestamptz, null from scene$$,
  'the hold is open, and its time is cut to the millisecond'
);
select is(
  private.uuid_v7_time(id), created_at, 'which is the time in its id'
)
from metering.holds;
select results_eq(
  $$select budget_ids, cardinality(slots) from metering.holds$$,
  $$select array[org], 1 from scene$$,
  'it was taken from the organization''s own budget'
);
create temp table everything as
select d.*
from scene, authorize_spend(
  p_organization_id => org,
  p_model => 'claude',
  p_estimated_cost => 0.123456789012,
  p_input_tokens => 1000,
  p_max_output_tokens => 0,
  p_workflow_id => workflow,
  p_run_id => '00000000-0000-4000-8000-000000000001',
  p_venture_id => venture,
  p_user_id => '00000000-0000-4000-8000-000000000002',
  p_api_key_id => 'key',
  p_tags => '{"team": "growth", "env": "prod"}',
  p_provider => 'anthropic',
  p_service_tier => 'batch',
  p_request_id => 'first',
  p_expires_in => '24 hours',
  p_allow_partial => true,
  p_minimum => 0.1
) as d;
select results_eq(
  $$select h.held_usd::numeric, h.model::text, h.workflow_id, h.run_id, h.venture_id, h.user_id,
      h.api_key_id::text, h.provider::text, h.service_tier::text, h.tags, h.expires_at
    from metering.holds as h inner join everything as e on e.hold_id = h.id$$,
  $$select 0.123456789012, 'claude', workflow, '00000000-0000-4000-8000-000000000001'::uuid,
      venture, '00000000-0000-4000-8000-000000000002'::uuid, 'key', 'anthropic', 'batch',
      '{"team": "growth", "env": "prod"}'::jsonb, '2026-03-11 12:00:00.123456+00'::timestamptz
    from scene$$,
  'a hold keeps everything that was stated, to the last digit'
);
select results_eq(
  $$select h.budget_ids from metering.holds as h inner join everything as e on e.hold_id = h.id$$,
  $$select array[org, workflow] from scene$$,
  'and touches the workflow''s budget after the organization''s own'
);
select tests.hold(org, 1, null) from scene;
select results_eq(
  $$select held_usd::numeric from metering.holds where model = 'unknown'$$, $$values (1.0)$$,
  'a model nobody stated is unknown'
);
select results_eq(
  $$select settled, held, remaining from scene, tests.figures(org)$$,
  $$values (0::numeric, 1.623456789012, null::numeric)$$,
  'every hold is counted, cap or not'
);
savepoint application;
select tests.hold(org, 5) from scene;
rollback to savepoint application;
select results_eq(
  $$select held, (select count(*) from metering.holds) from scene, tests.figures(org)$$,
  $$values (1.623456789012, 3::bigint)$$,
  'a hold is taken with the application''s own write, or not at all'
);

-- A cap over each scope ----------------------------------------------------------------------

-- Asks twice for more than half of a cap of 1, once for what is left, and once elsewhere.
create function pg_temp.decisions(p_scope text, p_scope_id text, p_model text, p_who text)
returns text
language plpgsql
as $$
declare
  v_org uuid := tests.organization(p_scope);
  v_budget uuid;
  v_decision metering.spend_decision;
  v_decisions text := '';
  v_ask text := 'select d.* from public.authorize_spend(%L, %L, %L %s) as d';
begin
  insert into metering.workflows (organization_id, id)
  select v_org, p_scope_id::uuid where p_scope = 'workflow';
  insert into tenancy.ventures (organization_id, id, name)
  select v_org, p_scope_id::uuid, 'Venture' where p_scope = 'venture';
  v_budget := tests.cap(v_org, p_scope, p_scope_id, 'total', 1, p_slots => 3);
  execute format(v_ask, v_org, p_model, 0.6, p_who) into v_decision;
  v_decisions := v_decision.decision;
  execute format(v_ask, v_org, p_model, 0.6, p_who) into v_decision;
  v_decisions := concat_ws(', ', v_decisions, v_decision.decision, v_decision.reason,
    case when v_decision.budget_id = v_budget then v_decision.remaining_usd end);
  execute format(v_ask, v_org, p_model, 0.4, p_who) into v_decision;
  v_decisions := concat_ws(', ', v_decisions, v_decision.decision);
  execute format(v_ask, v_org, 'another', 0.6, '') into v_decision;
  return concat_ws(', ', v_decisions, v_decision.decision);
end
$$;
select is(
  pg_temp.decisions(v.scope, v.scope_id, v.model, v.who),
  'granted, denied, budget_exceeded, 0.4, granted, ' || v.elsewhere,
  'a cap over one ' || v.scope
)
from (
  values
  ('organization', null, 'm', '', 'denied'),
  ('workflow', '00000000-0000-4000-8000-00000000000a', 'm',
    $$, p_workflow_id => '00000000-0000-4000-8000-00000000000a'$$, 'granted'),
  ('run', '00000000-0000-4000-8000-00000000000b', 'm',
    $$, p_run_id => '00000000-0000-4000-8000-00000000000b'$$, 'granted'),
  ('venture', '00000000-0000-4000-8000-00000000000c', 'm',
    $$, p_venture_id => '00000000-0000-4000-8000-00000000000c'$$, 'granted'),
  ('user', '00000000-0000-4000-8000-00000000000d', 'm',
    $$, p_user_id => '00000000-0000-4000-8000-00000000000d'$$, 'granted'),
  ('api_key', 'a key=with signs', 'm', $$, p_api_key_id => 'a key=with signs'$$, 'granted'),
  ('model', 'm', 'm', '', 'granted'),
  ('model', 'unknown', null, '', 'granted'),
  ('tag', 'team=a=b c', 'm', $$, p_tags => '{"team": "a=b c", "env": "prod"}'$$, 'granted')
) as v (scope, scope_id, model, who, elsewhere);

-- A stack: all of them must admit it ---------------------------------------------------------

create temp table stack as
select
  s.org,
  tests.workflow(s.org) as workflow,
  tests.cap(s.org, 'organization', null, 'total', 100) as own,
  tests.cap(s.org, 'organization', null, 'month', 10) as month,
  tests.cap(s.org, 'organization', null, 'hour', 4) as hour,
  tests.cap(s.org, 'model', 'm', 'day', 3) as model_day,
  tests.cap(s.org, 'model', 'm', 'week', 4) as model_week,
  tests.cap(s.org, 'tag', 'team=growth', 'total', 2) as tag
from (select tests.organization('Stack') as org) as s;
create function pg_temp.ask(p_cost numeric, p_more text default '')
returns table (decision text, held text, budget uuid, remaining text, resets timestamptz)
language plpgsql
as $$
begin
  return query execute format(
    'select decision, held_usd, budget_id, remaining_usd, resets_at '
    'from stack, public.authorize_spend(org, %L, %s %s)', 'm', p_cost, p_more
  );
end
$$;
select results_eq(
  $$select * from pg_temp.ask(2.5, ', p_tags => ''{"team": "growth"}''')$$,
  $$select 'denied', null, tag, '2', null::timestamptz from stack$$,
  'one that does not admit it is enough, and a total never resets'
);
select is_empty(
  $$select from stack, metering.budget_slots where organization_id = org and held_usd <> 0
    union all select from stack, metering.holds where organization_id = org$$,
  'nothing was taken from those that would have'
);
select results_eq(
  $$select decision, held from pg_temp.ask(1, ', p_tags => ''{"team": "growth"}''')$$,
  $$values ('granted', '1')$$, 'what all of them admit is granted'
);
select results_eq(
  $$select b.scope, b.time_window, held from stack
    inner join metering.budgets as b on b.organization_id = org and b.limit_usd is not null
    cross join tests.figures(b.id) order by 1, 2$$,
  $$values ('model', 'day', 1::numeric), ('model', 'week', 1), ('organization', 'hour', 1),
    ('organization', 'month', 1), ('organization', 'total', 1), ('tag', 'total', 1)$$,
  'and taken from all of them'
);
select results_eq(
  $$select budget, remaining, resets from pg_temp.ask(2.000000000001)$$,
  $$select model_day, '2', '2026-03-11 00:00+00'::timestamptz from stack$$,
  'a denial names the one with the least left'
);
select results_eq(
  $$select decision from pg_temp.ask(2)$$, $$values ('granted')$$,
  'exactly what is left fits'
);
select results_eq(
  $$select budget, remaining from pg_temp.ask(0.000000000001)$$,
  $$select model_day, '0' from stack$$, 'a trillionth more does not'
);
select results_eq(
  $$select d.budget_id, d.remaining_usd, d.resets_at
    from stack, authorize_spend(org, 'n', 2) as d$$,
  $$select hour, '1', '2026-03-10 13:00+00'::timestamptz from stack$$, 'an hour resets at its end'
);
select tests.cap(org, 'model', 'm', 'day', null),
  tests.cap(org, 'organization', null, 'hour', null) from stack;
select results_eq(
  $$select budget, resets from pg_temp.ask(1.5)$$,
  $$select model_week, '2026-03-16 00:00+00'::timestamptz from stack$$, 'a week on Monday'
);
select tests.cap(org, 'organization', null, 'month', 3.5) from stack;
select results_eq(
  $$select d.budget_id, d.resets_at from stack, authorize_spend(org, 'n', 2) as d$$,
  $$select month, '2026-04-01 00:00+00'::timestamptz from stack$$, 'a month on its first'
);
select tests.cap(org, 'organization', null, 'total', 3.5) from stack;
select results_eq(
  $$select d.budget_id, d.remaining_usd, d.resets_at
    from stack, authorize_spend(org, 'n', 2) as d$$,
  $$select org, '0.5', null::timestamptz from stack$$,
  'the organization''s own budget caps like any; of two alike the first in order is named'
);

-- Exactness ----------------------------------------------------------------------------------

create temp table exact as
select s.org, tests.cap(s.org, 'organization', null, 'day', 0.1) as budget
from (select tests.organization('Exact') as org) as s;
select results_eq(
  $$select (authorize_spend(org, 'm', 0.000000000001)).decision from exact
    cross join generate_series(1, 3)$$,
  $$values ('granted'), ('granted'), ('granted')$$, 'a trillionth is money'
);
select results_eq(
  $$select decision, remaining_usd from exact, authorize_spend(org, 'm', 0.1)$$,
  $$values ('denied', '0.099999999997')$$, 'and is missed to the last digit'
);
select tests.cap(org, 'organization', null, 'day', 0) from exact;
select results_eq(
  $$select decision, remaining_usd from exact, authorize_spend(org, 'm', 0.000000000001)$$,
  $$values ('denied', '-0.000000000003')$$, 'a cap of nothing grants nothing'
);

-- Money in any slot is found.
create temp table striped as
select s.org, tests.cap(s.org, 'organization', null, 'day', 1, p_slots => 16) as budget
from (select tests.organization('Striped') as org) as s;
select results_eq(
  $$select array_agg((authorize_spend(org, 'm', cost)).decision) from striped
    cross join (values (0.3), (0.3), (0.3), (0.05), (0.05), (0.000000000001)) as c (cost)$$,
  $$values (array['granted', 'granted', 'granted', 'granted', 'granted', 'denied'])$$,
  'spread over 16 slots, the last cent that fits is granted'
);
select results_eq(
  $$select held, remaining, is_closed from striped, tests.figures(budget)$$,
  $$values (1.0, 0.0, false)$$, 'and all of it is held'
);

-- Overdue holds ------------------------------------------------------------------------------

create temp table overdue as
select
  s.org,
  tests.cap(s.org, 'organization', null, 'day', 1) as budget,
  tests.hold(s.org, 0.6, p_expires_in => '1 minute') as hold
from (select tests.organization('Overdue') as org) as s;
select tests.freeze_clock('2026-03-10 12:01:00.123455+00');
select results_eq(
  $$select decision, remaining_usd from overdue, authorize_spend(org, 'm', 1)$$,
  $$values ('denied', '0.4')$$, 'a microsecond before it is overdue a hold keeps its money'
);
select tests.freeze_clock('2026-03-10 12:01:00.123456+00');
select results_eq(
  $$select decision, remaining_usd from overdue, authorize_spend(org, 'm', 1.1)$$,
  $$values ('denied', '1')$$, 'then it is free: a denial counts it as left'
);
select h.id from overdue, release_spend(tests.hold(org, 0.3, p_expires_in => '1 microsecond')) as h;
select tests.freeze_clock('2026-03-10 12:01:00.2+00');
select results_eq(
  $$select decision, remaining_usd from overdue, authorize_spend(org, 'm', 1.1)$$,
  $$values ('denied', '1')$$, 'once: not what was released before it was overdue'
);
select results_eq(
  $$select decision from overdue, authorize_spend(org, 'm', 0.4)$$,
  $$values ('granted')$$, 'what fits without it is granted'
);
select results_eq(
  $$select h.state::text from overdue inner join metering.holds as h on h.id = hold$$,
  $$values ('open')$$, 'and nobody touches the overdue hold'
);
select results_eq(
  $$select decision from overdue, authorize_spend(org, 'm', 0.6)$$,
  $$values ('granted')$$, 'what needs its money gets it'
);
select results_eq(
  $$select h.state::text, h.closed_at, h.held_usd::numeric
    from overdue inner join metering.holds as h on h.id = hold$$,
  $$values ('expired', '2026-03-10 12:01:00.2+00'::timestamptz, 0.6)$$,
  'and the hold has expired'
);
select results_eq(
  $$select held, remaining from overdue, tests.figures(budget)$$,
  $$values (1.0, 0.0)$$, 'its money is held once'
);

-- Soft caps ----------------------------------------------------------------------------------

create temp table soft as
select
  s.org,
  tests.cap(s.org, 'model', 'm', 'day', 1, 'soft') as day,
  tests.cap(s.org, 'organization', null, 'total', 0.5, 'soft') as total
from (select tests.organization('Soft') as org) as s;
select tests.cap(org, 'organization', null, 'hour', 3) from soft;
select results_eq(
  $$select decision, reason, budget_id, remaining_usd from soft, authorize_spend(org, 'm', 0.5)$$,
  $$values ('granted', null, null::uuid, null)$$, 'a soft cap that is met exactly says nothing'
);
select results_eq(
  $$select decision, held_usd, reason, budget_id, remaining_usd, resets_at, hold_id is not null
    from soft, authorize_spend(org, 'n', 1)$$,
  $$select 'granted', '1', 'over_soft_limit', org, '-1', null::timestamptz, true from soft$$,
  'one that is passed grants, and says which and by how much'
);
select tests.cap(org, 'organization', null, 'total', 100, 'soft') from soft;
select results_eq(
  $$select decision, reason, budget_id, remaining_usd, resets_at
    from soft, authorize_spend(org, 'm', 1)$$,
  $$select 'granted', 'over_soft_limit', day, '-0.5', '2026-03-11 00:00+00'::timestamptz
    from soft$$,
  'and when it resets'
);
select results_eq(
  $$select decision, reason, remaining_usd from soft, authorize_spend(org, 'm', 1)$$,
  $$values ('denied', 'budget_exceeded', '0.5')$$, 'a hard cap beside it still denies'
);

-- Frozen -------------------------------------------------------------------------------------

create temp table cold as
select s.org, tests.workflow(s.org) as workflow
from (select tests.organization('Cold') as org) as s;
select tests.cap(org, 'organization', null, 'day', 1) from cold;
select b.id from cold, metering.freeze(org, 'workflow', workflow::text) as b;
select results_eq(
  $$select decision, hold_id, reason, budget_id, remaining_usd
    from cold, authorize_spend(org, 'm', 5, p_workflow_id => workflow)$$,
  $$select 'denied', null::uuid, 'frozen', workflow, null from cold$$,
  'a frozen scope denies, whatever is left'
);
select results_eq(
  $$select decision from cold, authorize_spend(org, 'm', 0.5)$$, $$values ('granted')$$,
  'and nobody else'
);
select b.id from cold, metering.freeze(org) as b;
select results_eq(
  $$select decision, reason, budget_id
    from cold, authorize_spend(org, 'm', 0.1, p_workflow_id => workflow)$$,
  $$values ('denied', 'frozen', null::uuid)$$, 'a frozen organization denies everything'
);

-- Partial grants -----------------------------------------------------------------------------

create temp table partial as
select
  s.org,
  tests.cap(s.org, 'organization', null, 'day', 1, p_slots => 4) as day,
  tests.cap(s.org, 'model', 'm', 'day', 0.75) as model_day
from (select tests.organization('Partial') as org) as s;
create function pg_temp.ask_for_some(p_model text, p_cost numeric, p_minimum numeric)
returns table (decision text, held text, budget uuid, remaining text)
language sql
as $$
  select decision, held_usd, budget_id, remaining_usd
  from partial, public.authorize_spend(
    org, p_model, p_cost, p_allow_partial => true, p_minimum => p_minimum
  )
$$;
select results_eq(
  $$select decision, held from pg_temp.ask_for_some('m', 0.25, 0.1)$$,
  $$values ('granted', '0.25')$$, 'what fits is granted in full'
);
select results_eq(
  $$select decision, held from pg_temp.ask_for_some('m', 2, 0.5)$$,
  $$values ('granted', '0.5')$$, 'else what the tightest budget has left, down to the minimum'
);
select results_eq(
  $$select b.time_window, held, remaining from partial
    inner join metering.budgets as b on b.id in (day, model_day)
    cross join tests.figures(b.id) order by b.limit_usd$$,
  $$values ('day', 0.75, 0.0), ('day', 0.75, 0.25)$$, 'and no more is held'
);
select results_eq(
  $$select * from pg_temp.ask_for_some('n', 2, 0.250000000001)$$,
  $$select 'denied', null, day, '0.25' from partial$$, 'less than the minimum is a denial'
);
select results_eq(
  $$select decision, held from pg_temp.ask_for_some('n', 2, 0.25)$$,
  $$values ('granted', '0.25')$$, 'the minimum itself is granted'
);
select results_eq(
  $$select decision, remaining from pg_temp.ask_for_some('n', 1, 0.000000000001)$$,
  $$values ('denied', '0')$$, 'nothing is no part'
);

-- What is not there --------------------------------------------------------------------------

select throws_ok(
  format('select authorize_spend(%s)', v.arguments), 'TS404', null, v.description
)
from scene, stack, lateral (
  values
  ($$'c0000000-0000-4000-8000-000000000000', 'm', 1$$, 'an unknown organization'),
  (format('%L, %L, 1, p_workflow_id => gen_random_uuid()', scene.org, 'm'), 'an unknown workflow'),
  (format('%L, %L, 1, p_workflow_id => %L', scene.org, 'm', stack.workflow),
    'a workflow of another organization'),
  (format('%L, %L, 1, p_workflow_id => %L', scene.org, 'm', scene.org),
    'an organization is no workflow'),
  (format('%L, %L, 1, p_workflow_id => %L', stack.org, 'm', stack.month), 'nor is a budget'),
  (format('%L, %L, 1, p_venture_id => gen_random_uuid()', scene.org, 'm'), 'an unknown venture'),
  (format('%L, %L, 1, p_venture_id => %L', stack.org, 'm', scene.venture),
    'a venture of another organization')
) as v (arguments, description);

-- A month nobody prepared, and the books ------------------------------------------------------

select tests.freeze_clock('2199-12-31 23:59:59.999999+00');
select results_eq(
  $$select decision from scene, authorize_spend(org, 'm', 1)$$, $$values ('granted')$$,
  'a month nobody prepared refuses nothing'
);
select isnt(
  to_regclass('private.ai_usage_ledger_2199_12'), null, 'its settlement will find its partition'
);
select is_empty($$select * from audit.verify_integrity()$$, 'the books agree');

set transaction read only;
select results_eq(
  $$select decision, remaining_usd from exact, authorize_spend(org, 'm', 1)$$,
  $$values ('denied', '0')$$, 'a denial writes nothing: it is given where nothing can be written'
);
select throws_ok(
  $$select authorize_spend(org, 'm', 1) from scene$$, '25006', null, 'a grant does'
);

select * from finish();
rollback;
