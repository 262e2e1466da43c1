-- Windows only move forward: a call belongs to the window it was authorized in, whenever it is
-- settled, and a clock that is behind an open window is in that window.
begin;
select plan(31);

select tests.freeze_clock('2026-03-29 21:59:00+00');
create temp table scene as
select
  o.org,
  tests.workflow(o.org) as workflow,
  tests.cap(o.org, 'organization', null, 'day', 1, p_slots => 4) as day,
  tests.cap(o.org, 'model', 'm', 'hour', 2) as hour,
  tests.cap(o.org, 'organization', null, 'month', 100) as month,
  tests.cap(o.org, 'organization', null, 'total', 1000) as total
from (select tests.organization('Berlin', 'Europe/Berlin') as org) as o;
create temp view day_figures as
select s.window_start, f.settled, f.held, f.remaining
from scene
inner join metering.budget_slots as s on s.budget_id = scene.day and s.slot = 0
cross join tests.figures(scene.day) as f;

-- Over the end of a day (of 23 hours: clocks went forward that morning) -----------------------

create temp table held as
select
  tests.hold(org, 0.25, 'm', '24 hours') as settled,
  tests.hold(org, 0.25, 'm', '24 hours') as late,
  tests.hold(org, 0.125, 'm', '24 hours') as released,
  tests.hold(org, 0.125, 'm', '24 hours') as above,
  tests.hold(org, 0.125, 'm', '2 minutes') as expired,
  tests.hold(org, 0.125, 'm', '24 hours') as kept
from scene;
select results_eq(
  'table day_figures',
  $$values ('2026-03-28 23:00+00'::timestamptz, 0::numeric, 1.0, 0.0)$$, 'the day is used up'
);
select tests.freeze_clock('2026-03-29 22:00:00+00');
select results_eq(
  $$select settlement::text, unheld_usd::numeric, created_at, settled_at
    from held, settle_spend(settled, null, 0.125)$$,
  $$values ('on_hold', 0::numeric, '2026-03-29 21:59:00+00'::timestamptz,
      '2026-03-29 22:00:00+00'::timestamptz)$$,
  'settled after midnight it counts to the day before'
);
select results_eq(
  'table day_figures',
  $$values ('2026-03-28 23:00+00'::timestamptz, 0.125, 0.75, 0.125)$$,
  'which is open until a call of the new day comes'
);
select results_eq(
  $$select decision from scene, authorize_spend(org, 'm', 0.5, p_expires_in => '24 hours')$$,
  $$values ('granted')$$, 'that call has all of its own day'
);
select results_eq(
  'table day_figures',
  $$values ('2026-03-29 22:00+00'::timestamptz, 0::numeric, 0.5, 0.5)$$, 'which opens with it'
);
select tests.settle(late, 0.25) from held;
select tests.settle(above, 7) from held;
select h.id from held, release_spend(released) as h;
select tests.freeze_clock('2026-03-29 22:01:00+00');
select is(metering.expire_holds(org), 1, 'a hold of the day before expires') from scene;
select results_eq(
  'table day_figures',
  $$values ('2026-03-29 22:00+00'::timestamptz, 0::numeric, 0.5, 0.5)$$,
  'whatever ends a hold of the day before, the new day is as it was'
);
select results_eq(
  $$select f.settled, f.held, f.remaining from scene, tests.figures(total) as f$$,
  $$values (7.375, 0.625, 992.0)$$, 'a total counts all of it'
);
select results_eq(
  $$select day, sum(cost) from metering.usage_rollups where scope = 'organization' group by day$$,
  $$values ('2026-03-29'::date, 7.375)$$, 'and so do the rollups of the day before'
);
select results_eq(
  $$select h.day from held inner join metering.holds as h on h.id = kept$$,
  $$values ('2026-03-29'::date)$$, 'a hold keeps its day'
);
select is_empty($$select * from audit.verify_integrity()$$, 'the books agree');

-- A budget that is made meanwhile counts what its window holds: not the day before.
select results_eq(
  $$select settled, held from scene, tests.figures(tests.cap(org, 'model', 'm', 'day', 10))$$,
  $$values (0::numeric, 0.5)$$, 'a new budget counts its day'
);
select results_eq(
  $$select settled, held from scene, tests.figures(tests.cap(org, 'model', 'm', 'week', 10))$$,
  $$values (0::numeric, 0.5)$$, 'or week, which began with it'
);
select results_eq(
  $$select settled, held from scene, tests.figures(tests.cap(org, 'model', 'm', 'month', 10))$$,
  $$values (7.375, 0.625)$$, 'or month, which did not'
);
select tests.settle(kept, 0.0625) from held;
select results_eq(
  $$select w.name, f.settled, f.held from scene, unnest(array['day', 'month', 'week']) as w (name),
      tests.figures(tests.budget(org, 'model', 'm', w.name)) as f$$,
  $$values ('day', 0::numeric, 0.5), ('month', 7.4375, 0.5), ('week', 0, 0.5)$$,
  'and a settlement counts where its hold did'
);

-- What an overdue hold of a window that is over keeps is no money of the present one.
create temp table evening as
select
  s.org,
  tests.cap(s.org, 'organization', null, 'hour', 1) as hour,
  tests.hold(s.org, 0.75, p_expires_in => '90 minutes') as hold
from (select tests.organization('Evening') as org) as s;
select tests.freeze_clock('2026-03-29 23:00:00+00');
select tests.hold(org, 0.5, p_expires_in => '90 minutes') from evening;
select tests.freeze_clock('2026-03-29 23:31:00+00');
select results_eq(
  $$select decision, remaining_usd from evening, authorize_spend(org, 'm', 0.75)$$,
  $$values ('denied', '0.5')$$, 'what an overdue hold of the hour before keeps is not this hour''s'
);

-- An hour, over its end ----------------------------------------------------------------------

select tests.freeze_clock('2026-03-29 23:00:00+00');
select results_eq(
  $$select decision, budget_id = hour, remaining_usd, resets_at
    from scene, authorize_spend(org, 'm', 2.5)$$,
  $$select 'denied', false, '0.5', '2026-03-30 22:00+00'::timestamptz$$,
  'an hour that is over has all of its limit, a day that is not has what it had'
);
select results_eq(
  $$select decision, remaining_usd, resets_at from scene,
      metering.remove_budget(org, 'organization', null, 'day'), authorize_spend(org, 'm', 2.5)$$,
  $$select 'denied', '2', '2026-03-30 00:00+00'::timestamptz$$,
  'a denial knows when the new hour ends'
);

-- The end of a month, in the organization's time zone ------------------------------------------

select tests.freeze_clock('2026-03-31 21:59:59.999999+00');
create temp table march as select tests.hold(org, 50, 'n', '24 hours') as hold from scene;
select is(get_organization_monthly_ai_cost(org), 7.4375, 'until its last microsecond it is March')
from scene;
select tests.freeze_clock('2026-03-31 22:00:00+00');
select is(get_organization_monthly_ai_cost(org), 0::numeric, 'then it is April') from scene;
select results_eq(
  $$select decision from scene, authorize_spend(org, 'n', 40)$$, $$values ('granted')$$,
  'with a limit of its own'
);
select tests.settle(hold, 45) from march;
select results_eq(
  $$select m.month, m.monthly_cost from scene
    inner join ai_cost_by_organization_month as m on m.organization_id = org$$,
  $$values ('2026-03-01'::date, 52.4375)$$, 'what was held in March is settled in March'
);
select results_eq(
  $$select f.settled, f.held, f.remaining from scene, tests.figures(month) as f$$,
  $$values (0::numeric, 40.0, 60.0)$$, 'April counts its own'
);
select is_empty($$select * from audit.verify_integrity()$$, 'the books agree after a month');

-- A clock that jumps back --------------------------------------------------------------------

select tests.freeze_clock('2026-03-31 12:00:00+00');
create temp table behind as
select d.* from scene, authorize_spend(org, 'n', 10, p_expires_in => '1 hour') as d;
select results_eq(
  $$select h.created_at, h.day, h.expires_at from behind
    inner join metering.holds as h on h.id = hold_id$$,
  $$values ('2026-03-31 22:00:00+00'::timestamptz, '2026-04-01'::date,
      '2026-03-31 13:00:00+00'::timestamptz)$$,
  'a call whose clock is behind takes the open window; its time runs by its own clock'
);
select results_eq(
  $$select f.held, f.remaining from scene, tests.figures(month) as f$$, $$values (50.0, 50.0)$$,
  'and is counted there'
);
select results_eq(
  $$select u.created_at, u.settled_at from behind, settle_spend(hold_id, null, 5) as u$$,
  $$values ('2026-03-31 22:00:00+00'::timestamptz, '2026-03-31 22:00:00+00'::timestamptz)$$,
  'so is its settlement, which is not before it'
);
select is(get_organization_monthly_ai_cost(org), 5::numeric, 'the month goes on') from scene;
select results_eq(
  $$select decision, remaining_usd from scene, authorize_spend(org, 'n', 60)$$,
  $$values ('denied', '55')$$, 'a denial is about the open window'
);
select tests.cap(org, 'model', 'n', 'day', 90) from scene;
select results_eq(
  $$select s.window_start, f.settled, f.held from scene
    inner join metering.budget_slots as s on s.budget_id = tests.budget(org, 'model', 'n', 'day')
    cross join tests.figures(s.budget_id) as f$$,
  $$values ('2026-03-31 22:00:00+00'::timestamptz, 5.0, 40.0)$$,
  'a budget that is made then opens the latest day the organization has seen'
);
select is_empty($$select * from audit.verify_integrity()$$,
'the books agree whatever the clock says');

select * from finish();
rollback;
