-- What authorize_spend would answer, without a lock and without a hold.
begin;
select plan(26);

select tests.freeze_clock('2026-03-10 12:00:00+00');
create temp table scene as
select
  o.org,
  tests.workflow(o.org) as workflow,
  tests.cap(o.org, 'organization', null, 'day', 10, p_slots => 4) as day,
  tests.cap(o.org, 'model', 'm', 'hour', 1, p_slots => 2) as hour,
  tests.cap(o.org, 'model', 'soft', 'day', 1, 'soft') as soft,
  tests.cap(o.org, 'organization', null, 'total', 1000) as own
from (select tests.organization('Acme') as org) as o;
select b.id from scene, metering.freeze(org, 'tag', 'team=cold') as b;

-- Asked one after the other of the same state, both say the same: but for what makes a hold a hold.
create function pg_temp.answers(p_arguments text)
returns text
language plpgsql
as $$
declare
  v_estimate metering.spend_decision;
  v_decision metering.spend_decision;
begin
  execute 'select d.* from scene, public.estimate_spend(org, ' || p_arguments || ') as d'
  into v_estimate;
  begin
    execute 'select d.* from scene, public.authorize_spend(org, ' || p_arguments || ') as d'
    into v_decision;
    raise exception using errcode = 'UNDOO';
  exception
    when sqlstate 'UNDOO' then null;
  end;
  v_decision.hold_id := null;
  v_decision.expires_at := null;
  if v_estimate is distinct from v_decision then
    return format('%s, not %s', v_estimate, v_decision);
  end if;
  return concat_ws(' ', v_estimate.decision, v_estimate.reason, v_estimate.held_usd,
    v_estimate.remaining_usd);
end
$$;
create temp table questions (arguments text, answer text, description text);
insert into questions values
($$'n', 10$$, 'granted 10', 'exactly what is left'),
($$'n', 10.000000000001$$, 'denied budget_exceeded 10', 'a trillionth more'),
($$'m', 1, p_workflow_id => workflow$$, 'granted 1', 'what is left of the tightest'),
($$'m', 1.1$$, 'denied budget_exceeded 1', 'more than that'),
($$'m', 2, p_allow_partial => true, p_minimum => 0.5$$, 'granted 1', 'some of it'),
($$'m', 2, p_allow_partial => true, p_minimum => 1.1$$, 'denied budget_exceeded 1',
  'more than there is'),
($$'soft', 1$$, 'granted 1', 'exactly a soft limit'),
($$'soft', 3$$, 'granted over_soft_limit 3 -2', 'more than a soft limit'),
($$'m', 1, p_tags => '{"team": "cold"}'$$, 'denied frozen', 'where it is frozen');
select is(pg_temp.answers(arguments), answer, 'of nothing: ' || description) from questions;

select tests.hold(org, 0.25, 'm', '1 minute') from scene;
select tests.hold(org, 0.5, 'm') from scene;
select is(pg_temp.answers($$'m', 0.25$$), 'granted 0.25', 'of a state with holds: what is left');
select is(
  pg_temp.answers($$'m', 0.3$$), 'denied budget_exceeded 0.25', 'and what is not'
);
select tests.freeze_clock('2026-03-10 12:01:00+00');
select is(pg_temp.answers($$'m', 0.5$$), 'granted 0.5', 'what an overdue hold keeps is free');
select is(
  pg_temp.answers($$'m', 0.6$$), 'denied budget_exceeded 0.5', 'and counted as left'
);
select tests.freeze_clock('2026-03-10 13:00:00+00');
select is(
  pg_temp.answers($$'m', 1.1$$), 'denied budget_exceeded 1', 'a window that is over is a new one'
);
select is(pg_temp.answers($$'m', 1$$), 'granted 1', 'with all of its limit');
select tests.settle(tests.hold(org, 1, 'm'), 1.5) from scene;
select is(
  pg_temp.answers($$'m', 0.1$$), 'denied budget_exceeded -0.5', 'a budget in debt is closed'
);
select tests.freeze_clock('2026-03-10 12:59:59+00');
select is(
  pg_temp.answers($$'m', 0.1$$), 'denied budget_exceeded -0.5',
  'a clock that is behind an open window is in that window'
);
select tests.freeze_clock('2026-03-10 15:00:00+00');
select tests.hold(org, 1, 'soft') from scene;
select is(
  pg_temp.answers($$'soft', 0.5$$), 'granted over_soft_limit 0.5 -0.5', 'a soft limit that is met'
);
select tests.freeze_clock('2026-03-11 00:00:00+00');
select is(
  pg_temp.answers($$'soft', 0.5$$), 'granted 0.5', 'a soft limit whose window is over is a new one'
);
select b.id from scene, metering.freeze(org) as b;
select is(pg_temp.answers($$'n', 1$$), 'denied frozen', 'frozen');
select b.id from scene, metering.unfreeze(org) as b;

select throws_ok(
  $$select estimate_spend(gen_random_uuid(), 'm', 1)$$, 'TS404', null, 'an unknown organization'
);
select throws_ok(
  $$select estimate_spend(org, 'm', 1, p_workflow_id => gen_random_uuid()) from scene$$,
  'TS404', null, 'an unknown workflow'
);
select throws_ok(
  $$select estimate_spend(org, 'm', 1, p_workflow_id => own) from scene$$,
  'TS404', null, 'a budget is no workflow'
);
select throws_ok(
  $$select estimate_spend(org, 'm', 1, p_venture_id => gen_random_uuid()) from scene$$,
  'TS404', null, 'an unknown venture'
);

create temp view everything as
select
  (
    select jsonb_agg(to_jsonb(s) order by s.budget_id, s.slot) from metering.budget_slots as s
  ) as slots,
  (select count(*) from metering.holds) as holds;
create temp table before_estimates as table everything;
set transaction read only;
select results_eq(
  $$select decision, hold_id, expires_at from scene, estimate_spend(org, 'm', 1)$$,
  $$values ('granted', null::uuid, null::timestamptz)$$, 'it needs no right to write'
);
select results_eq('table everything', 'table before_estimates', 'and changes nothing');

select * from finish();
rollback;
