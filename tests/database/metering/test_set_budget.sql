-- A budget is made, or another cap stored: it counts what was spent and is held there already.
begin;
select plan(74);

select tests.freeze_clock('2026-03-10 12:00:00+00');
create temp table scene as
select o.org, tests.workflow(o.org) as workflow, tests.venture(o.org) as venture
from (select tests.organization('Acme') as org) as o;

-- Born with an organization and with a workflow ------------------------------------------------

select results_eq(
  $$select b.id, scope, scope_id, time_window, limit_usd::numeric, enforcement, slot_count,
      excess_usd::numeric
    from metering.budgets as b order by scope$$,
  $$select org, 'organization', '', 'total', null::numeric, 'hard', 1::smallint, 0::numeric
    from scene
    union all
    select workflow, 'workflow', workflow::text, 'total', null, 'hard', 1::smallint, 0 from scene$$,
  'an organization and a workflow each have a budget from birth, which caps nothing'
);
select results_eq(
  $$select scope, id = tests.budget(org, scope, '', 'total'), limit_usd::numeric
    from scene, metering.set_budget(org, 'organization', null, 'total', 100)$$,
  $$values ('organization', true, 100::numeric)$$, 'the organization''s own may have a limit'
);
select results_eq(
  $$select b.id, limit_usd::numeric
    from scene, metering.set_budget(org, 'workflow', upper(workflow::text), 'total', 1.5) as b$$,
  $$select workflow, 1.5 from scene$$, 'and a workflow''s, however its id is written'
);
select results_eq(
  $$select settled, held, remaining, is_closed from scene, tests.figures(workflow)$$,
  $$values (0::numeric, 0::numeric, 1.5, false)$$, 'all of it is available'
);
select tests.spend(workflow, 1) from scene;
select results_eq(
  $$select settled, held, remaining, is_closed from scene, tests.figures(workflow)$$,
  $$values (1.0, 0::numeric, 0.5, false)$$, 'spend lowers what is available'
);

-- Limits below use, above use, and none ----------------------------------------------------------

select results_eq(
  $$select excess_usd::numeric from scene,
      metering.set_budget(org, 'workflow', workflow::text, 'total', 0.4)$$,
  $$values (0.6)$$, 'a cap below what is spent remembers by how much'
);
select results_eq(
  $$select settled, held, remaining, is_closed from scene, tests.figures(workflow)$$,
  $$values (1.0, 0::numeric, -0.6, true)$$, 'and leaves a debt'
);
select is_empty($$select * from audit.verify_integrity()$$, 'which is no breach of the books');
select tests.cap(org, 'workflow', workflow::text, 'total', 4),
  tests.cap(org, 'workflow', workflow::text, 'total', 4) from scene;
select results_eq(
  $$select b.excess_usd::numeric, settled, remaining, is_closed
    from scene inner join metering.budgets as b on b.id = workflow
      cross join tests.figures(workflow)$$,
  $$values (0::numeric, 1.0, 3.0, false)$$, 'a higher one settles it, and said twice is said once'
);
select results_eq(
  $$select b.limit_usd::numeric, settled, remaining, is_closed
    from scene, metering.set_budget(org, 'workflow', workflow::text, 'total', null) as b,
      tests.figures(b.id)$$,
  $$values (null::numeric, 1.0, null::numeric, false)$$,
  'without a limit it counts and caps nothing'
);
select results_eq(
  $$select b.limit_usd::numeric, decision, remaining_usd
    from scene, metering.set_budget(org, 'workflow', workflow::text, 'total', 0) as b,
      authorize_spend(org, 'm', 0.1, p_workflow_id => workflow)$$,
  $$values (0::numeric, 'denied', '-1')$$, 'a limit of nothing is a limit'
);
select tests.cap(org, 'workflow', workflow::text, 'total', null) from scene;

-- Every scope and window counts what is there already ---------------------------------------------

-- Four calls: two settled, one of them last month; one held; one that another stack settled.
create temp table who as
select org, format(
  'p_workflow_id => %L, p_run_id => %L, p_venture_id => %L, p_user_id => %L, p_api_key_id => %L, '
  'p_tags => %L', workflow, '00000000-0000-4000-8000-000000000001', venture,
  '00000000-0000-4000-8000-000000000002', 'key', '{"team": "growth", "env": "prod"}'
) as arguments
from scene;
create function pg_temp.hold_at(p_time timestamptz, p_cost numeric, p_model text, p_is_ours boolean)
returns uuid
language plpgsql
as $$
declare
  v_hold uuid;
begin
  perform tests.freeze_clock(p_time);
  execute format(
    'select hold_id from who, public.authorize_spend(org, %L, %L, p_expires_in => %L %s)',
    p_model, p_cost, '24 hours',
    case when p_is_ours then ', ' || (select arguments from who) else '' end
  )
  into v_hold;
  return v_hold;
end
$$;
select tests.settle(pg_temp.hold_at('2026-02-27 12:00+00', 10, 'm', true), 8);
select tests.settle(pg_temp.hold_at('2026-03-02 12:00+00', 10, 'm', true), 4);
select tests.settle(pg_temp.hold_at('2026-03-09 12:00+00', 10, 'm', true), 2);
select tests.settle(pg_temp.hold_at('2026-03-11 08:00+00', 10, 'm', true), 1);
select tests.settle(pg_temp.hold_at('2026-03-11 12:01+00', 10, 'm', true), 0.5);
select pg_temp.hold_at('2026-03-11 07:59+00', 0.25, 'm', true);
select pg_temp.hold_at('2026-03-11 12:02+00', 0.125, 'm', true);
select tests.settle(pg_temp.hold_at('2026-03-11 12:03+00', 1, 'n', false), 0.001);
select pg_temp.hold_at('2026-03-11 12:04+00', 0.002, 'n', false);
select h.id from release_spend(pg_temp.hold_at('2026-03-11 12:05+00', 50, 'm', true)) as h;

create function pg_temp.opening(p_scope text, p_scope_id text)
returns text
language sql
as $$
  select string_agg(
    w.time_window || ' ' || trim_scale(settled) || '+' || trim_scale(held) || '='
    || trim_scale(100 - remaining), ', ' order by w.number
  )
  from scene
  cross join unnest(array['hour', 'day', 'week', 'month', 'total']) with ordinality
    as w (time_window, number)
  cross join tests.figures(
    tests.cap(org, p_scope, p_scope_id, w.time_window, 100, p_slots => 3)
  )
$$;
select is(
  pg_temp.opening('model', 'm'),
  'hour 0.5+0.125=0.625, day 1.5+0.375=1.875, week 3.5+0.375=3.875, month 7.5+0.375=7.875, '
  'total 15.5+0.375=15.875',
  'the windows of a model'
);
select is(
  pg_temp.opening(v.scope, v.scope_id), pg_temp.opening('model', 'm'),
  'the windows of one ' || v.scope
)
from scene, lateral (
  values
  ('run', '00000000-0000-4000-8000-000000000001'), ('venture', venture::text),
  ('user', '00000000-0000-4000-8000-000000000002'), ('api_key', 'key'), ('tag', 'team=growth'),
  ('tag', 'env=prod')
) as v (scope, scope_id);
select is(
  pg_temp.opening('workflow', workflow::text),
  'hour 0.5+0.125=0.625, day 1.5+0.375=1.875, week 4.5+0.375=4.875, month 8.5+0.375=8.875, '
  'total 16.5+0.375=16.875',
  'those of a workflow, with what was recorded without a hold'
)
from scene;
select is(
  pg_temp.opening('organization', null),
  'hour 0.501+0.127=0.628, day 1.501+0.377=1.878, week 4.501+0.377=4.878, month 8.501+0.377=8.878, '
  'total 16.501+0.377=16.878',
  'those of the organization count everything'
);
select is(
  pg_temp.opening(v.scope, v.scope_id),
  'hour 0+0=0, day 0+0=0, week 0+0=0, month 0+0=0, total 0+0=0', v.description
)
from (
  values
  ('model', 'M', 'a model by another name counts nothing'),
  ('tag', 'team=Growth', 'nor a tag with another value'),
  ('user', '00000000-0000-4000-8000-000000000001', 'nor a user with the id of a run'),
  ('api_key', 'm', 'nor a key with the name of a model')
) as v (scope, scope_id, description);
select is_empty($$select * from audit.verify_integrity()$$, 'the books agree');

-- Slots --------------------------------------------------------------------------------------

create temp table striped as
select s.org, tests.cap(s.org, 'organization', null, 'day', 1, p_slots => 3) as day
from (select tests.organization('Striped') as org) as s;
select results_eq(
  $$select s.slot, s.available_usd::numeric from striped
    inner join metering.budget_slots as s on s.budget_id = day order by s.slot$$,
  $$values (0::smallint, 0.333333333334), (1::smallint, 0.333333333333),
    (2::smallint, 0.333333333333)$$,
  'a cap is spread over its slots, to the last digit'
);
select tests.hold(org, 0.25) from striped;
create temp view stripes as
select b.slot_count, (select count(*) from metering.budget_slots as s
where s.budget_id = b.id) as slots
from striped inner join metering.budgets as b on b.id = day;
select tests.cap(org, 'organization', null, 'day', 1, p_slots => 256) from striped;
select results_eq(
  $$select slot_count, slots, held, remaining from stripes, striped, tests.figures(day)$$,
  $$values (256::smallint, 256::bigint, 0.25, 0.75)$$, 'more slots have the same sums'
);
select tests.cap(org, 'organization', null, 'day', 2) from striped;
select results_eq(
  'select slot_count, slots from stripes', $$values (256::smallint, 256::bigint)$$,
  'without a number of slots it stays as it is'
);
select tests.cap(org, 'organization', null, 'day', 2, p_slots => 1) from striped;
select results_eq(
  $$select slot_count, slots, held, remaining from stripes, striped, tests.figures(day)$$,
  $$values (1::smallint, 1::bigint, 0.25, 1.75)$$, 'and so have fewer'
);
select tests.cap(org, 'organization', null, 'total', null, p_slots => 16) from striped;
select results_eq(
  $$select count(*), count(distinct config_version) from striped
    inner join metering.budget_slots on budget_id = org$$,
  $$values (16::bigint, 1::bigint)$$, 'the organization''s own slots are of one configuration'
);

-- Enforcement --------------------------------------------------------------------------------

select results_eq(
  $$select b.enforcement, remaining, is_closed
    from striped, metering.set_budget(org, 'organization', null, 'day', 0.1, 'soft') as b,
      tests.figures(b.id)$$,
  $$values ('soft', null::numeric, false)$$, 'a soft cap has no money of its own and no debt'
);
select results_eq(
  $$select b.enforcement, b.excess_usd::numeric, remaining, is_closed
    from striped, metering.set_budget(org, 'organization', null, 'day', 0.1) as b,
      tests.figures(b.id)$$,
  $$values ('hard', 0.15, -0.15, true)$$, 'made hard it is the cap of what was spent'
);

-- Its id and its times stay ------------------------------------------------------------------

select tests.freeze_clock('2026-03-11 13:00:00+00');
select results_eq(
  $$select b.id = day, b.created_at < b.updated_at, b.updated_at
    from striped, metering.set_budget(org, 'organization', org::text, 'day', 5) as b$$,
  $$values (true, true, '2026-03-11 13:00:00+00'::timestamptz)$$,
  'another cap is the same budget; the organization''s own id names it as well'
);
select tests.freeze_clock('2026-03-12 00:00:00+00');
select tests.cap(org, 'organization', null, 'day', 6) from striped;
select results_eq(
  $$select settled, held, remaining, s.window_start
    from striped inner join metering.budget_slots as s on s.budget_id = day
    cross join tests.figures(day)$$,
  $$values (0::numeric, 0::numeric, 6.0, '2026-03-12 00:00:00+00'::timestamptz)$$,
  'a cap that is stored after its window ended opens the next one'
);

-- Refusals -----------------------------------------------------------------------------------

create temp table bravo as
select o.org, tests.workflow(o.org) as workflow, tests.venture(o.org) as venture
from (select tests.organization('Bravo') as org) as o;
create temp table before_refusals as
select b.organization_id, b.id, b.limit_usd, b.enforcement, b.slot_count, b.updated_at
from metering.budgets as b;
create function pg_temp.refusal(p_arguments text)
returns text
language plpgsql
as $$
declare
  v_detail text;
begin
  execute 'select b.* from scene, bravo, metering.set_budget(' || p_arguments || ') as b';
  return 'set';
exception when others then
  get stacked diagnostics v_detail = pg_exception_detail;
  return concat_ws(' ', sqlstate, v_detail::jsonb ->> 'argument');
end
$$;
select is(pg_temp.refusal(v.arguments), v.expected, v.description)
from (
  values
  ($$null, 'organization', null, 'month', 1$$, '22023 p_organization_id', 'no organization'),
  ($$scene.org, 'organization', null, 'month', 'NaN'$$, '22023 p_limit', 'a limit of NaN'),
  ($$scene.org, 'organization', null, 'month', 'Infinity'$$,
  '22023 p_limit', 'a limit of Infinity'),
  ($$scene.org, 'organization', null, 'month', -1$$, '22023 p_limit', 'a negative limit'),
  ($$scene.org, 'organization', null, 'month', 0.0000000000001$$, '22023 p_limit', '13 decimals'),
  ($$scene.org, 'organization', null, 'month', 1000000000000$$, '22023 p_limit', 'a trillion'),
  ($$scene.org, 'organization', null, 'year', 1$$, '22023 p_window', 'a window nobody knows'),
  ($$scene.org, 'organization', null, null, 1$$, '22023 p_window', 'no window'),
  ($$scene.org, 'planet', null, 'month', 1$$, '22023 p_scope', 'a scope nobody knows'),
  ($$scene.org, null, null, 'month', 1$$, '22023 p_scope', 'no scope'),
  ($$scene.org, 'organization', bravo.org::text, 'month', 1$$, '22023 p_scope_id',
    'an organization by the id of another'),
  ($$scene.org, 'organization', 'x', 'month', 1$$, '22023 p_scope_id', 'an organization by a name'),
  ($$scene.org, 'workflow', null, 'total', 1$$, '22023 p_scope_id', 'a workflow without an id'),
  ($$scene.org, 'workflow', '', 'total', 1$$, '22023 p_scope_id', 'a workflow with an empty id'),
  ($$scene.org, 'run', 'x', 'total', 1$$, '22023 p_scope_id', 'a run with an id that is none'),
  ($$scene.org, 'user', '{00000000-0000-4000-8000-000000000001}', 'total', 1$$,
    '22023 p_scope_id', 'an id in braces'),
  ($$scene.org, 'api_key', '', 'total', 1$$, '22023 p_scope_id', 'an empty API key'),
  ($$scene.org, 'model', ' ', 'total', 1$$, '22023 p_scope_id', 'a blank model'),
  ($$scene.org, 'model', null, 'total', 1$$, '22023 p_scope_id', 'no model'),
  ($$scene.org, 'model', repeat('m', 256), 'total', 1$$,
  '22023 p_scope_id', 'a model of 256 characters'),
  ($$scene.org, 'tag', 'team', 'total', 1$$, '22023 p_scope_id', 'a tag without a value'),
  ($$scene.org, 'tag', 'team=', 'total', 1$$, '22023 p_scope_id', 'a tag with an empty value'),
  ($$scene.org, 'tag', '=growth', 'total', 1$$, '22023 p_scope_id', 'a tag without a key'),
  ($$scene.org, 'tag', 'my team=growth', 'total', 1$$, '22023 p_scope_id', 'a key with a space'),
  ($$scene.org, 'organization', null, 'month', 1, 'firm'$$, '22023 p_enforcement',
    'an enforcement nobody knows'),
  ($$scene.org, 'organization', null, 'month', 1, null$$, '22023 p_enforcement', 'no enforcement'),
  ($$scene.org, 'organization', null, 'month', 1, 'hard', 0$$, '22023 p_slots', 'no slots'),
  ($$scene.org, 'organization', null, 'month', 1, 'hard', -1$$, '22023 p_slots', 'fewer than none'),
  ($$scene.org, 'organization', null, 'month', 1, 'hard', 257$$, '22023 p_slots', '257 slots'),
  ($$scene.org, 'workflow', gen_random_uuid()::text, 'total', 1$$, 'TS404', 'an unknown workflow'),
  ($$scene.org, 'workflow', bravo.workflow::text, 'total', 1$$, 'TS404',
    'a workflow of another organization'),
  ($$scene.org, 'workflow', scene.org::text, 'total', 1$$,
  'TS404', 'an organization as a workflow'),
  ($$scene.org, 'venture', gen_random_uuid()::text, 'total', 1$$, 'TS404', 'an unknown venture'),
  ($$scene.org, 'venture', bravo.venture::text, 'total', 1$$, 'TS404',
    'a venture of another organization'),
  ($$gen_random_uuid(), 'organization', null, 'month', 1$$, 'TS404', 'an unknown organization')
) as v (arguments, expected, description);
select set_eq(
  'select b.organization_id, b.id, b.limit_usd, b.enforcement, b.slot_count, b.updated_at
    from metering.budgets as b',
  'table before_refusals', 'what is refused changes nothing'
);
select is(
  pg_temp.refusal(v.arguments), 'set', v.description
)
from (
  values
  ($$scene.org, 'model', repeat('m', 255), 'hour', 999999999999.999999999999, 'soft', 1$$,
    'the longest name and the highest limit'),
  ($$scene.org, 'tag', repeat('t', 253) || '=x', 'week', 0.000000000001$$, 'the longest tag'),
  ($$scene.org, 'api_key', 'a key=with signs:', 'week', 0$$, 'a key of any characters')
) as v (arguments, description);

select is_empty($$select * from audit.verify_integrity()$$, 'the books still agree');
select * from finish();
rollback;
