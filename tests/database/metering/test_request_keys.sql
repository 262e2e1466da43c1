-- A retry finds what the first call did: the present state of what its request id names.
begin;
select plan(82);

select tests.freeze_clock('2026-03-10 12:00:00+00');
create temp table scene as
select
  o.org,
  tests.workflow(o.org) as workflow,
  tests.venture(o.org) as venture,
  tests.cap(o.org, 'organization', null, 'day', 10) as budget
from (select tests.organization('Acme') as org) as o;

-- Asks with a request id and nothing else that is of interest.
create function pg_temp.ask(p_request_id text, p_cost numeric default 1)
returns metering.spend_decision
language sql
as $$
  select d.* from scene, public.authorize_spend(org, 'm', p_cost, p_request_id => p_request_id) as d
$$;
create function pg_temp.bound(p_request_id text)
returns uuid
language sql
as $$
  select subject_id from metering.request_keys where request_id = p_request_id
$$;

-- authorize: open ----------------------------------------------------------------------------

create temp table first as select * from pg_temp.ask('open', 0.5);
select is(pg_temp.bound('open'), hold_id, 'a grant binds the request id to its hold') from first;
select tests.freeze_clock('2026-03-10 12:09:59.999999+00');
select results_eq(
  $$select * from pg_temp.ask('open', 0.500)$$, 'table first',
  'the retry of an open hold is the same grant, until the same time'
);
select results_eq(
  $$select held from scene, tests.figures(budget)$$, $$values (0.5)$$, 'for the same money'
);
select b.id from scene, metering.freeze(org) as b;
select results_eq(
  $$select decision, hold_id from pg_temp.ask('open', 0.5)$$,
  $$select 'granted', hold_id from first$$, 'also where nothing more is granted'
);
select b.id from scene, metering.unfreeze(org) as b;
select tests.freeze_clock('2026-03-10 12:00:00+00');

-- Other content ------------------------------------------------------------------------------

create function pg_temp.repeated(p_arguments text)
returns text
language plpgsql
as $$
declare
  v_decision metering.spend_decision;
begin
  execute 'select d.* from scene, public.authorize_spend(org, '
    || 'p_request_id => ''content'', ' || p_arguments || ') as d' into v_decision;
  return v_decision.decision;
exception when others then
  return sqlstate;
end
$$;
create temp table content as
select
  format(
    $$p_model => 'm', p_estimated_cost => 1, p_input_tokens => 10, p_max_output_tokens => 20,
      p_workflow_id => %L, p_run_id => %L, p_venture_id => %L, p_user_id => %L,
      p_api_key_id => 'key', p_tags => '{"a": "x", "b": "y"}', p_provider => 'p',
      p_service_tier => 's', p_expires_in => '1 hour', p_allow_partial => true, p_minimum => 0.5$$,
    workflow, '00000000-0000-4000-8000-000000000001', venture,
    '00000000-0000-4000-8000-000000000002'
  ) as arguments
from scene;
select is(pg_temp.repeated(arguments), 'granted', 'a request that states everything') from content;
select is(
  pg_temp.repeated(replace(arguments, v.old, v.new)), v.outcome,
  'and is repeated with ' || v.description
)
from content, (
  values
  ('', '', 'granted', 'nothing changed'),
  ('{"a": "x", "b": "y"}', '{"b": "y", "a": "x"}', 'granted', 'tags in another order'),
  ('_cost => 1', '_cost => 1.000', 'granted', 'trailing zeros'),
  ('1 hour', '60 minutes', 'granted', 'the same duration in other words'),
  ('p_model => ''m''', 'p_model => ''n''', 'TS409', 'another model'),
  ('_cost => 1', '_cost => 1.000000000001', 'TS409', 'another estimate'),
  ('p_input_tokens => 10', 'p_input_tokens => 11', 'TS409', 'other input tokens'),
  ('p_max_output_tokens => 20', 'p_max_output_tokens => null', 'TS409', 'no output tokens'),
  ('p_run_id => ''00000000-0000-4000-8000-000000000001''', 'p_run_id => null', 'TS409', 'no run'),
  ('000000000002', '000000000003', 'TS409', 'another user'),
  ('''key''', '''other''', 'TS409', 'another API key'),
  ('"y"', '"z"', 'TS409', 'another tag'),
  ('p_provider => ''p''', 'p_provider => ''q''', 'TS409', 'another provider'),
  ('p_service_tier => ''s''', 'p_service_tier => null', 'TS409', 'no service tier'),
  ('1 hour', '61 minutes', 'TS409', 'another duration'),
  ('p_minimum => 0.5', 'p_minimum => 0.4', 'TS409', 'another minimum'),
  ('p_allow_partial => true, p_minimum => 0.5', 'p_allow_partial => false', 'TS409', 'no part')
) as v (old, new, outcome, description);
select is(
  pg_temp.repeated(regexp_replace(arguments, v.pattern, v.new)), 'TS409',
  'and is repeated with ' || v.description
)
from content, (
  values
  ('p_workflow_id => ''[^'']+''', 'p_workflow_id => null', 'no workflow'),
  ('p_venture_id => ''[^'']+''', 'p_venture_id => null', 'no venture')
) as v (pattern, new, description);
select is(
  (select count(*) from metering.holds as h where h.api_key_id = 'key'), 1::bigint,
  'whatever was tried, there is one hold'
);
select is(
  tests.facts_of($$select pg_temp.ask('open', 0.6)$$),
  '{"operation": "authorize", "request_id": "open"}'::jsonb, 'DETAIL names the operation and the id'
);
set local intervalstyle = 'iso_8601';
select is(pg_temp.repeated(arguments), 'granted', 'however the session writes durations')
from content;
reset intervalstyle;
create temp table bravo as select tests.organization('Bravo') as org;
select results_eq(
  $$select decision from bravo, authorize_spend(org, 'n', 7, p_request_id => 'open')$$,
  $$values ('granted')$$, 'another organization may use the same id'
);
select lives_ok(
  $$select settle_spend(hold_id, null, 0.5, 'content') from first$$,
  'another operation may use the same id'
);

-- authorize: denied --------------------------------------------------------------------------

select results_eq(
  $$select decision, remaining_usd from pg_temp.ask('denied', 9)$$,
  $$values ('denied', '8.5')$$, 'a denied request'
);
select is(pg_temp.bound('denied'), null, 'binds nothing');
select tests.cap(org, 'organization', null, 'day', 20) from scene;
select results_eq(
  $$select decision from pg_temp.ask('denied', 9)$$, $$values ('granted')$$,
  'with the limit raised the same id is granted'
);
select results_eq(
  $$select decision from pg_temp.ask('denied again', 12) union all
    select decision from pg_temp.ask('denied again', 1)$$,
  $$values ('denied'), ('granted')$$, 'and may ask for something else'
);

-- authorize: overdue, released, expired, settled, swept ----------------------------------------

create temp table holds as
select n.name, (pg_temp.ask(n.name, n.cost)).hold_id as id
from (
  values
  ('overdue', 0.1), ('released', 0.2), ('expired', 0.3), ('settled', 0.4), ('settled late', 0.5),
  ('taken', 0.6), ('swept', 0.7)
) as n (name, cost);
select tests.settle(holds.id, 0.25) from holds where name = 'settled';
select results_eq(
  $$select decision, hold_id, usage_id, held_usd from pg_temp.ask('settled', 0.4)$$,
  $$select 'settled', null::uuid, id, '0.25' from holds where name = 'settled'$$,
  'settled: the usage and what it cost'
);
select throws_ok(
  $$select pg_temp.ask('settled', 0.5)$$, 'TS409', null, 'and other content is still refused'
);
select holds.id from holds, release_spend(holds.id) where name = 'released';
select isnt(hold_id, id, 'released: a new hold')
from holds, pg_temp.ask('released', 0.2) where name = 'released' and decision = 'granted';
select is(
  pg_temp.bound('released'), h.id, 'which the id then names'
)
from metering.holds as h where h.held_usd = 0.2 and h.state = 'open';

select tests.freeze_clock('2026-03-10 12:10:00+00');
select results_eq(
  $$select decision, hold_id = id from holds, pg_temp.ask('overdue', 0.1) where name = 'overdue'$$,
  $$values ('granted', false)$$, 'overdue, whether or not anybody took its money: a new hold'
);
select results_eq(
  $$select state::text, count(*) from metering.holds where held_usd = 0.1 group by 1 order by 1$$,
  $$values ('expired', 1::bigint), ('open', 1)$$, 'and the old one has expired'
);
select isnt(pg_temp.bound('overdue'), id, 'the id names the new one') from holds
where name = 'overdue';
select results_eq(
  $$select settlement, unheld_usd::numeric from holds, settle_spend(holds.id, null, 0.1)
    where name = 'overdue'$$,
  $$values ('after_hold'::metering.settlement, 0.1)$$, 'the old one may still be settled, flagged'
);
select results_eq(
  $$select decision, hold_id from pg_temp.ask('overdue', 0.1)$$,
  $$select 'granted', id from metering.holds where held_usd = 0.1 and state = 'open'$$,
  'and a retry gets the new one'
);

select metering.expire_holds(org) from scene;
select isnt(hold_id, id, 'expired: a new hold')
from holds, pg_temp.ask('expired', 0.3) where name = 'expired' and decision = 'granted';
select tests.settle(holds.id, 0.5) from holds where name = 'settled late';
select results_eq(
  $$select decision, usage_id from pg_temp.ask('settled late', 0.5)$$,
  $$select 'settled', id from holds where name = 'settled late'$$,
  'expired and settled late: settled'
);

-- Its money is gone: never granted twice.
create temp table remaining as select remaining from scene, tests.figures(budget);
select tests.hold(org, remaining) from scene, remaining;
select results_eq(
  $$select decision, reason, remaining_usd from pg_temp.ask('taken', 0.6)$$,
  $$values ('denied', 'budget_exceeded', '0')$$,
  'expired, and its money taken by another: denied'
);
select is(pg_temp.bound('taken'), id, 'the id goes on naming what it named') from holds
where name = 'taken';
select tests.cap(org, 'organization', null, 'day', 30) from scene;
select isnt(hold_id, id, 'until there is money again')
from holds, pg_temp.ask('taken', 0.6) where name = 'taken' and decision = 'granted';

select tests.freeze_clock('2026-04-30 12:00:00+00');
select private.maintain();
select is_empty(
  $$select from holds inner join metering.holds as h on h.id = holds.id where name = 'swept'$$,
  'forgotten after 45 days'
);
select isnt(hold_id, id, 'swept: a new hold')
from holds, pg_temp.ask('swept', 0.7) where name = 'swept' and decision = 'granted';
select is_empty($$select * from audit.verify_integrity()$$, 'the books agree');

-- A part that was granted --------------------------------------------------------------------

create temp table part as
select
  s.org,
  tests.cap(s.org, 'organization', null, 'day', 1) as budget
from (select tests.organization('Part') as org) as s;
create function pg_temp.ask_for_some() returns metering.spend_decision language sql as $$
  select d.* from part, public.authorize_spend(
    org, 'm', 3, p_request_id => 'part', p_allow_partial => true, p_minimum => 0.5
  ) as d
$$;
create temp table some_of_it as select * from pg_temp.ask_for_some();
select results_eq(
  $$select decision, held_usd from some_of_it$$, $$values ('granted', '1')$$, 'a part was granted'
);
select results_eq(
  $$select * from pg_temp.ask_for_some()$$, 'table some_of_it', 'its retry is the same part'
);

-- settle -------------------------------------------------------------------------------------

create temp table to_settle as
select tests.hold(org, 1) as one, tests.hold(org, 1) as another from bravo;
create temp table usage as
select u.* from to_settle, settle_spend(one, '{"input_tokens": 10}', 0.5, 'settle') as u;
select is(pg_temp.bound('settle'), one, 'a settlement binds its request id to the usage')
from to_settle;
select results_eq(
  format(
    'select u.* from to_settle, settle_spend(one, %L, %s, %L) as u', v.usage, v.cost, v.request_id
  ),
  'table usage', 'settled again with ' || v.description || ', it is the same usage'
)
from (
  values
  ('{"input_tokens": 10}', 0.5, 'settle', 'the same'),
  ('{"output_tokens": null, "input_tokens": 10}', 0.500, 'settle', 'the same in other words'),
  ('{"input_tokens": 10, "requests": 1, "is_estimate": false}', 0.5, 'settle', 'what goes without saying'),
  ('{"input_tokens": 10, "requests": 1, "is_estimate": false}', 0.5, 'settle',
    'what goes without saying'),
  ('{"input_tokens": 10}', 0.5, null, 'no request id'),
  ('{"input_tokens": 10}', 0.5, 'other', 'another request id')
) as v (usage, cost, request_id, description);
select throws_ok(
  format('select settle_spend(%L, %L, %L, %L)', case v.which when 'one' then one else another end,
    v.usage, v.cost, v.request_id),
  'TS409', null, 'settled again with ' || v.description || ', it is refused'
)
from to_settle, (
  values
  ('one', '{"input_tokens": 10}', 0.500000000001, null, 'another cost'),
  ('one', '{"input_tokens": 11}', 0.5, null, 'other tokens'),
  ('one', '{"cache_read_tokens": 10}', 0.5, null, 'tokens of another input class'),
  ('one', null, 0.5, null, 'no tokens'),
  ('one', '{"input_tokens": 10, "requests": 2}', 0.5, 'settle', 'the same id and more requests'),
  ('one', '{"input_tokens": 10, "requests": 2}', 0.5, null, 'more requests'),
  ('one', '{"input_tokens": 10, "requests": 0}', 0.5, null, 'no request'),
  ('one', '{"input_tokens": 10, "service_tier": "flex"}', 0.5, null, 'another service tier'),
  ('one', '{"input_tokens": 10, "is_estimate": true}', 0.5, null, 'what was certain as a guess'),
  ('one', '{"input_tokens": 10}', null, null, 'no cost where one was stated'),
  ('another', '{"input_tokens": 10}', 0.5, 'settle', 'the id of another hold')
) as v (which, usage, cost, request_id, description);
select is(pg_temp.bound('other'), null, 'what is settled already binds no further id');
select is(
  (select state::text from metering.holds, to_settle where id = another), 'open',
  'and the other hold is open still'
);

-- extend -------------------------------------------------------------------------------------

create function pg_temp.extend(
  p_hold_id uuid, p_expires_in interval, p_cost numeric, p_request_id text default 'extend'
)
returns metering.holds
language sql
as $$
  select public.extend_hold(p_hold_id, p_expires_in, p_cost, p_request_id)
$$;
create temp table extended as
select h.* from to_settle, pg_temp.extend(another, '1 hour', 0.25) as h;
select is(pg_temp.bound('extend'), another, 'an extension binds its request id to the hold')
from to_settle;
select tests.freeze_clock('2026-04-30 12:30:00+00');
select results_eq(
  $$select h.* from to_settle, pg_temp.extend(another, '60 minutes', 0.250) as h$$,
  'table extended', 'its retry extends nothing more, neither in money nor in time'
);
select throws_ok(
  format('select pg_temp.extend(%L, %L, %s)', another, v.expires_in, v.cost), 'TS409', null,
  'with ' || v.description || ' it is refused'
)
from to_settle, (
  values
  ('1 hour', 0.26, 'another amount'), ('2 hours', 0.25, 'another duration'),
  (null, 0.25, 'no duration')
) as v (expires_in, cost, description);
select throws_ok(
  format('select pg_temp.extend(%L, %L, 0.25)', tests.hold(org, 1), '1 hour'), 'TS409', null,
  'for another hold it is refused'
)
from bravo;
select results_eq(
  $$select h.held_usd::numeric
    from to_settle, pg_temp.extend(another, '1 hour', 0.25, 'more') as h$$,
  $$values (1.5)$$, 'another request id extends again'
);
select h.id from to_settle, release_spend(another) as h;
select results_eq(
  $$select h.state::text, h.held_usd::numeric
    from to_settle, pg_temp.extend(another, '1 hour', 0.25) as h$$,
  $$values ('released', 1.5)$$, 'the retry of an extension whose hold was released says so'
);
select tests.settle(another, 1) from to_settle;
select throws_ok(
  format('select pg_temp.extend(%L, %L, 0.25)', another, '1 hour'), 'TS410', null,
  'one whose hold was settled since is closed'
)
from to_settle;

select is_empty($$select * from audit.verify_integrity()$$, 'the books still agree');
select * from finish();
rollback;
