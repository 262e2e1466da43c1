-- A hold is given more time, more money, or both. Retries are in test_request_keys.
begin;
select plan(58);

select tests.freeze_clock('2026-03-10 12:00:00+00');
create temp table scene as
select
  o.org,
  tests.workflow(o.org) as workflow,
  tests.cap(o.org, 'organization', null, 'day', 10, p_slots => 4) as day,
  tests.cap(o.org, 'model', 'm', 'total', 5) as model
from (select tests.organization('Acme') as org) as o;
create temp table first as select tests.hold(org, 1, 'm') as id from scene;
create function pg_temp.extend(p_expires_in interval, p_cost numeric default 0)
returns table (state text, held numeric, expires_at timestamptz)
language sql
as $$
  select h.state::text, h.held_usd, h.expires_at
  from first, public.extend_hold(first.id, p_expires_in, p_cost) as h
$$;

-- Time ---------------------------------------------------------------------------------------

select tests.freeze_clock('2026-03-10 12:05:00+00');
select results_eq(
  $$select * from pg_temp.extend('1 hour')$$,
  $$values ('open', 1.0, '2026-03-10 13:05:00+00'::timestamptz)$$, 'a duration counts from now'
);
select results_eq(
  $$select expires_at from pg_temp.extend('1 minute')$$,
  $$values ('2026-03-10 12:06:00+00'::timestamptz)$$, 'and may end sooner'
);
select results_eq(
  $$select expires_at from pg_temp.extend('24 hours')$$,
  $$values ('2026-03-11 12:05:00+00'::timestamptz)$$, 'or up to a day from now'
);
select results_eq(
  $$select held, remaining from scene, tests.figures(model)$$, $$values (1.0, 4.0)$$,
  'which takes no money'
);

-- Money --------------------------------------------------------------------------------------

select results_eq(
  $$select * from pg_temp.extend(null, 0.25)$$,
  $$values ('open', 1.25, '2026-03-11 12:05:00+00'::timestamptz)$$,
  'money is added, and the time stays'
);
select results_eq(
  $$select b.time_window, f.held, f.remaining from scene
    inner join metering.budgets as b on b.id in (day, model) cross join tests.figures(b.id) as f
    order by b.time_window$$,
  $$values ('day', 1.25, 8.75), ('total', 1.25, 3.75)$$, 'and taken from every budget'
);
select results_eq(
  $$select held, expires_at from pg_temp.extend('10 minutes', 3.75)$$,
  $$values (5.0, '2026-03-10 12:15:00+00'::timestamptz)$$, 'both, and exactly what is left'
);
select throws_ok(
  $$select pg_temp.extend('1 hour', 0.000000000001)$$,
  'TS402', null, 'a trillionth more is not there'
);
select is(
  tests.facts_of($$select pg_temp.extend('1 hour', 0.000000000001)$$),
  (select jsonb_build_object('hold_id', id, 'budget_id', model, 'remaining_usd', '0', 'resets_at',
    null) from scene, first),
  'DETAIL names the budget, what it has left and when it resets'
);
select results_eq(
  $$select h.held_usd::numeric, h.expires_at from first inner join metering.holds as h using (id)$$,
  $$values (5.0, '2026-03-10 12:15:00+00'::timestamptz)$$,
  'what is refused changes neither money nor time'
);
select tests.cap(org, 'model', 'm', 'total', 50) from scene;
select results_eq(
  $$select tests.facts_of('select pg_temp.extend(null, 6)') - 'hold_id'$$,
  $$select jsonb_build_object('budget_id', day, 'remaining_usd', '5', 'resets_at',
      '2026-03-11T00:00:00+00:00') from scene$$,
  'a day resets at its end'
);
select results_eq(
  $$select settlement::text, unheld_usd::numeric from first, settle_spend(first.id, null, 5)$$,
  $$values ('on_hold', 0::numeric)$$, 'what was added covers the call'
);

-- Soft limits and none -----------------------------------------------------------------------

create temp table soft as
select
  s.org,
  tests.cap(s.org, 'organization', null, 'day', 1, 'soft') as day,
  tests.hold(s.org, 1) as hold
from (select tests.organization('Soft') as org) as s;
select results_eq(
  $$select h.held_usd::numeric from soft, extend_hold(hold, null, 7) as h$$, $$values (8.0)$$,
  'a soft limit does not refuse'
);

-- Overdue money is free for it, its own is not -----------------------------------------------

create temp table overdue as
select
  s.org,
  tests.cap(s.org, 'organization', null, 'day', 2) as day,
  tests.hold(s.org, 1, p_expires_in => '1 minute') as hold,
  tests.hold(s.org, 1, p_expires_in => '1 minute') as other
from (select tests.organization('Overdue') as org) as s;
select tests.freeze_clock('2026-03-10 12:07:00+00');
select results_eq(
  $$select h.state::text, h.held_usd::numeric, h.expires_at
    from overdue, extend_hold(hold, '1 hour', 1) as h$$,
  $$values ('open', 2.0, '2026-03-10 13:07:00+00'::timestamptz)$$,
  'an overdue hold is extended until somebody took its money, and takes that of others'
);
select results_eq(
  $$select h.state::text from overdue inner join metering.holds as h on h.id = other$$,
  $$values ('expired')$$, 'which have expired'
);
select throws_ok(
  $$select extend_hold(other, '1 hour') from overdue$$, 'TS410', null, 'an expired hold is closed'
);

-- Frozen -------------------------------------------------------------------------------------

create temp table cold as
select s.org, tests.hold(s.org, 1, 'm') as hold
from (select tests.organization('Cold') as org) as s;
select b.id from cold, metering.freeze(org, 'model', 'm') as b;
select throws_ok(
  $$select extend_hold(hold, null, 1) from cold$$, 'TS423', null, 'a frozen scope refuses money'
);
select is(
  tests.facts_of($$select extend_hold(hold, null, 1) from cold$$),
  (select jsonb_build_object('organization_id', org, 'budget_id',
    tests.budget(org, 'model', 'm', 'total')) from cold),
  'DETAIL names the scope'
);
select results_eq(
  $$select h.expires_at from cold, extend_hold(hold, '1 hour') as h$$,
  $$values ('2026-03-10 13:07:00+00'::timestamptz)$$, 'time is given all the same'
);
select b.id from cold, metering.freeze(org) as b;
select throws_ok(
  $$select extend_hold(hold, null, 1) from cold$$, 'TS423', null, 'so does a frozen organization'
);
select is(
  tests.facts_of($$select extend_hold(hold, null, 1) from cold$$),
  (select jsonb_build_object('organization_id', org, 'budget_id', null) from cold),
  'and DETAIL names no scope'
);

-- Closed -------------------------------------------------------------------------------------

create temp table closed as
select n.name, tests.hold(s.org, 1, n.name) as id
from (select tests.organization('Closed') as org) as s,
  (values ('released'), ('settled')) as n (name);
select h.id from closed, release_spend(closed.id) as h where name = 'released';
select tests.settle(closed.id, 1) from closed where name = 'settled';
select throws_ok(
  format('select extend_hold(%L, %L)', id, '1 hour'), 'TS410', null,
  'a ' || name || ' hold is closed'
)
from closed order by name;
select is(
  tests.facts_of(format('select extend_hold(%L, %L)', id, '1 hour')),
  jsonb_build_object('hold_id', id, 'state', name), 'and DETAIL says how: ' || name
)
from closed order by name;

-- A window that is over counts what is settled there, and admits what is added ------------------

create temp table yesterday as
select
  s.org,
  tests.cap(s.org, 'organization', null, 'day', 2, p_slots => 2) as day,
  tests.hold(s.org, 1, p_expires_in => '24 hours') as hold,
  tests.hold(s.org, 0.5, p_expires_in => '24 hours') as other
from (select tests.organization('Yesterday') as org) as s;
select tests.freeze_clock('2026-03-11 00:00:00+00');
select results_eq(
  $$select h.held_usd::numeric from yesterday, extend_hold(hold, null, 0.25) as h$$,
  $$values (1.25)$$, 'after midnight the day before has room'
);
select throws_ok(
  $$select extend_hold(hold, null, 0.250000000001) from yesterday$$, 'TS402', null,
  'up to its limit'
);
select results_eq(
  $$select decision from yesterday, authorize_spend(org, 'm', 2)$$, $$values ('granted')$$,
  'the new day has all of its own'
);
select tests.settle(other, 0.25) from yesterday;
select throws_ok(
  $$select extend_hold(hold, null, 0.500000000001) from yesterday$$, 'TS402', null,
  'with the new day open, the day before is still asked'
);
select is(
  tests.facts_of($$select extend_hold(hold, null, 0.500000000001) from yesterday$$) - 'hold_id',
  (select jsonb_build_object('budget_id', day, 'remaining_usd', '0.5', 'resets_at', null)
   from yesterday),
  'and does not reset any more'
);
select results_eq(
  $$select h.held_usd::numeric from yesterday, extend_hold(hold, null, 0.5) as h$$,
  $$values (1.75)$$, 'what fits there is added'
);
select results_eq(
  $$select settled, held, remaining from yesterday, tests.figures(day)$$,
  $$values (0::numeric, 2.0, 0.0)$$, 'and nothing of it is taken from the new day'
);
select results_eq(
  $$select settlement::text, unheld_usd::numeric from yesterday, settle_spend(hold, null, 1.75)$$,
  $$values ('on_hold', 0::numeric)$$, 'it is settled within its hold'
);
select is_empty(
  $$select from yesterday, public.ai_usage_ledger as l where l.organization_id = org
    having sum(l.cost) > 2$$,
  'and the day before stayed within its limit'
);

-- Refusals -----------------------------------------------------------------------------------

create temp table bravo as
select o.org, tests.hold(o.org, 1) as hold, tests.workflow(o.org) as workflow
from (select tests.organization('Bravo') as org) as o;
select tests.spend(workflow, 1) from bravo;
create function pg_temp.refusal(p_arguments text)
returns text
language plpgsql
as $$
declare
  v_detail text;
begin
  execute 'select h.* from scene, bravo, public.extend_hold(' || p_arguments || ') as h';
  return 'extended';
exception when others then
  get stacked diagnostics v_detail = pg_exception_detail;
  return concat_ws(' ', sqlstate, v_detail::jsonb ->> 'argument');
end
$$;
select is(pg_temp.refusal(v.arguments), v.expected, v.description)
from (
  values
  ($$null, '1 hour'$$, '22023 p_hold_id', 'no hold'),
  ('hold', '22023 p_expires_in, p_additional_cost', 'neither time nor money'),
  ('hold, null, 0', '22023 p_expires_in, p_additional_cost', 'no money'),
  ($$hold, '1 hour', null$$, '22023 p_additional_cost', 'money of null'),
  ('hold, null, -0.000000000001', '22023 p_additional_cost', 'money back'),
  ($$hold, null, 'NaN'$$, '22023 p_additional_cost', 'NaN'),
  ($$hold, null, 'Infinity'$$, '22023 p_additional_cost', 'Infinity'),
  ('hold, null, 0.0000000000001', '22023 p_additional_cost', '13 decimals'),
  ('hold, null, 1000000000000', '22023 p_additional_cost', 'a trillion'),
  ('hold, null, 999999999999', '22023 p_additional_cost', 'a trillion in sum'),
  ($$hold, '0'$$, '22023 p_expires_in', 'no time'),
  ($$hold, '-1 second'$$, '22023 p_expires_in', 'time back'),
  ($$hold, '24:00:00.000001'$$, '22023 p_expires_in', 'a microsecond above 24 hours'),
  ($$hold, '25 hours'$$, '22023 p_expires_in', '25 hours'),
  ($$hold, '12000 months -359999 days'$$, '22023 p_expires_in',
    'a thousand years that compare as a day'),
  ($$hold, '1 hour', 0, ''$$, '22023 p_request_id', 'an empty request id'),
  ($$hold, '1 hour', 0, repeat('r', 256)$$, '22023 p_request_id', 'a request id of 256 characters'),
  ($$gen_random_uuid(), '1 hour'$$, 'TS404', 'an unknown hold'),
  ($$hold, '1 hour', 0, null, scene.org$$, 'TS404', 'a hold of another organization'),
  ($$hold, '1 hour', 0, null, gen_random_uuid()$$, 'TS404', 'a hold of an unknown organization'),
  ($$(select l.id from public.ai_usage_ledger as l where l.organization_id = bravo.org), '1 hour'$$,
    'TS404', 'a usage that was recorded without a hold')
) as v (arguments, expected, description);
select results_eq(
  $$select h.held_usd::numeric, h.expires_at
    from bravo inner join metering.holds as h on h.id = hold$$,
  $$values (1.0, '2026-03-11 00:10:00+00'::timestamptz)$$, 'what is refused changes nothing'
);
select is(
  pg_temp.refusal($$hold, '1 hour', 999999999998.999999999999$$), 'extended', 'the most there is'
);

select is_empty($$select * from audit.verify_integrity()$$, 'the books agree');
select * from finish();
rollback;
