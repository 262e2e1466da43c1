-- Every budget with what is spent, held and left in its present window.
begin;
select plan(14);

select tests.freeze_clock('2026-03-10 12:30:00+00');
create temp table scene as
select o.org, tests.workflow(o.org) as workflow, tests.member(o.org, 'viewer') as viewer
from (select tests.organization('Acme', 'Asia/Kathmandu') as org) as o;
create temp view status as
select b.scope, b.scope_id, b.time_window, b.limit_usd::numeric, b.enforcement, b.slot_count,
  b.frozen_at, b.window_start, b.resets_at, b.settled_usd::numeric, b.held_usd::numeric,
  b.remaining_usd::numeric
from metering.budget_status as b;

select results_eq(
  $$select * from status order by scope$$,
  $$select 'organization', '', 'total', null::numeric, 'hard', 1::smallint, null::timestamptz,
      null::timestamptz, null::timestamptz, 0::numeric, 0::numeric, null::numeric
    union all
    select 'workflow', workflow::text, 'total', null, 'hard', 1::smallint, null, null, null,
      0, 0, null
    from scene$$,
  'born budgets count from the beginning to no end, and have no remainder'
);

select tests.cap(org, 'organization', null, 'day', 10, p_slots => 4),
  tests.cap(org, 'model', 'm', 'hour', 1),
  tests.cap(org, 'model', 'm', 'week', 0.5, 'soft'),
  tests.cap(org, 'tag', 'team=growth', 'month', null) from scene;
create temp table held as
select tests.hold(org, 0.75, 'm', '1 minute') as overdue, tests.hold(org, 0.25, 'm') as settled
from scene;
select tests.settle(settled, 0.125) from held;
select tests.freeze_clock('2026-03-10 12:35:00+00');
select results_eq(
  $$select scope, time_window, settled_usd, held_usd, remaining_usd from status
    order by scope, time_window$$,
  $$values
    ('model', 'hour', 0.125, 0.75, 0.125), ('model', 'week', 0.125, 0.75, -0.375),
    ('organization', 'day', 0.125, 0.75, 9.125),
    ('organization', 'total', 0.125, 0.75, null::numeric),
    ('tag', 'month', 0, 0, null), ('workflow', 'total', 0, 0, null)$$,
  'spent, held (overdue or not) and left, also of a soft cap'
);
select results_eq(
  $$select time_window, slot_count, window_start, resets_at from status
    where resets_at is not null order by time_window$$,
  $$values
    ('day', 4::smallint, '2026-03-09 18:15+00'::timestamptz, '2026-03-10 18:15+00'::timestamptz),
    ('hour', 1::smallint, '2026-03-10 12:15+00', '2026-03-10 13:15+00'),
    ('month', 1::smallint, '2026-02-28 18:15+00', '2026-03-31 18:15+00'),
    ('week', 1::smallint, '2026-03-08 18:15+00', '2026-03-15 18:15+00')$$,
  'windows are the organization''s'
);
select results_eq(
  $$select scope, time_window, settled_usd + held_usd - coalesce(limit_usd - remaining_usd, 0.875)
    from status where limit_usd is not null$$,
  $$select scope, time_window, 0::numeric from status where limit_usd is not null$$,
  'limit, use and remainder agree'
);
select tests.settle(tests.hold(org, 0.125, 'm'), 2) from scene;
select results_eq(
  $$select limit_usd, settled_usd, held_usd, remaining_usd from status
    where time_window = 'hour'$$,
  $$select 1.0, 2.125, held_usd, 1 - 2.125 - held_usd from status where time_window = 'hour'$$,
  'below nothing is what passed the cap'
);

-- A window that is over, before anybody opens the next one.
select tests.freeze_clock('2026-03-10 13:15:00+00');
select results_eq(
  $$select window_start, resets_at, settled_usd, held_usd, remaining_usd from status
    where time_window = 'hour'$$,
  $$values ('2026-03-10 13:15+00'::timestamptz, '2026-03-10 14:15+00'::timestamptz, 0::numeric,
      0::numeric, 1.0)$$,
  'a window that is over is shown as the next one'
);
select tests.freeze_clock('2026-05-01 00:00:00+00');
select is_empty(
  $$select from status where resets_at <= '2026-05-01' or window_start > '2026-05-01'$$,
  'however much later'
);

-- Freezes.
select b.id from scene, metering.freeze(org, 'model', 'cold') as b;
select results_eq(
  $$select scope_id, time_window, frozen_at from status where frozen_at is not null$$,
  $$values ('cold', 'total', '2026-05-01 00:00+00'::timestamptz)$$, 'a frozen scope'
);
select b.id from scene, metering.freeze(org) as b;
select is_empty(
  $$select from status where frozen_at is null$$, 'in a frozen organization all are'
);

-- A time zone may change until something is counted by it.
create temp table mover as
select s.org, tests.cap(s.org, 'organization', null, 'day', 1) as day
from (select tests.organization('Mover') as org) as s;
update tenancy.organizations set time_zone = 'Pacific/Kiritimati' where name = 'Mover';
select results_eq(
  $$select s.window_start, s.resets_at from mover
    inner join metering.budget_status as s on budget_id = day$$,
  $$values ('2026-04-30 10:00+00'::timestamptz, '2026-05-01 10:00+00'::timestamptz)$$,
  'a day that was open in another zone begins again'
);
select tests.hold(org, 0.5) from mover;
select results_eq(
  $$select s.window_start, s.held_usd::numeric from mover
    inner join metering.budget_status as s on budget_id = day$$,
  $$values ('2026-04-30 10:00+00'::timestamptz, 0.5)$$, 'with the first hold in it'
);

-- Who sees it.
select tests.act_as('authenticated', viewer) from scene;
select is(
  (select count(distinct organization_id) from metering.budget_status), 1::bigint,
  'a member sees the budgets of its organization'
);
reset role;
select tests.act_as('authenticated', gen_random_uuid());
select is_empty('select from metering.budget_status', 'a stranger sees none');
reset role;

select is_empty($$select * from audit.verify_integrity()$$, 'the books agree');
select * from finish();
rollback;
