-- Calls outside runs are paid from credits by the day.
begin;
select plan(74);

-- In Kathmandu a day begins at 18:15 UTC.
select tests.freeze_clock('2026-03-10 18:00+00');
create temp table scene as
select o.org, tests.workflow(o.org) as workflow
from (select tests.organization('Acme', 'Asia/Kathmandu') as org) as o;
create temp table before_credits as
select tests.hold(org, 1, p_expires_in => '24 hours') as id from scene;
select tests.buy(org, 100) from scene;
create function pg_temp.draws(p_org uuid default null)
returns setof text
language sql
as $$
  select concat_ws(
    ' ', d.day, d.status, trim_scale(d.reserved_usd), trim_scale(d.cost_incurred),
    trim_scale((select f.remaining from tests.figures(d.id) as f))
  )
  from scene inner join billing.draws as d on d.org_id = coalesce(p_org, scene.org)
  order by d.day
$$;

-- Opened and topped up -----------------------------------------------------------------------------

select is_empty('select from pg_temp.draws()', 'there is no draw before the first call');
select results_eq(
  $$select decision, hold_id is not null from scene, estimate_spend(org, 'm', 100)$$,
  $$values ('granted', false)$$, 'all credits may be spent'
);
select results_eq(
  $$select decision, reason, budget_id, remaining_usd, resets_at
    from scene, authorize_spend(org, 'm', 100.000000000001)$$,
  $$values ('denied', 'budget_exceeded', null::uuid, '100', null::timestamptz)$$, 'and no more'
);
select is_empty('select from pg_temp.draws()', 'to ask or to be refused opens none');
create temp table first as select tests.hold(org, 1, p_expires_in => '1 hour') as id from scene;
select results_eq(
  'select pg_temp.draws()', $$values ('2026-03-10 open 12.5 0 11.5')$$,
  'the first call of a day opens its draw, which reserves an eighth of what there is'
);
select results_eq(
  $$select b.id, b.scope, b.time_window, b.time_zone, b.draw_day, b.limit_usd::numeric, b.is_funded,
      s.window_end
    from scene inner join metering.budgets as b on b.organization_id = org and b.scope = 'draw'
      inner join metering.budget_slots as s on s.budget_id = b.id$$,
  $$select d.id, 'draw', 'day', 'Asia/Kathmandu', '2026-03-10'::date, 12.5, true,
      '2026-03-10 18:15+00'::timestamptz from billing.draws as d$$,
  'it is a budget of that day, where the organization is'
);
select results_eq(
  $$select balance, reserved from scene, tests.credits(org)$$, $$values (100.0, 12.5)$$,
  'which is reserved'
);
select tests.hold(org, 11.5, p_expires_in => '1 minute') from scene;
select results_eq(
  'select pg_temp.draws()', $$values ('2026-03-10 open 12.5 0 0')$$,
  'a call that finds enough reserves nothing more'
);
select results_eq(
  $$select decision, budget_id, remaining_usd from scene, authorize_spend(org, 'm', 87.500000000001)$$,
  $$select 'denied', d.id, '87.5' from billing.draws as d$$, 'a denial names the draw'
);
select tests.hold(org, 0.5, p_expires_in => '1 hour') from scene;
select results_eq(
  'select pg_temp.draws()', $$values ('2026-03-10 open 23.43 0 10.43')$$,
  'a call that finds too little tops it up'
);
select tests.hold(org, 50.43, p_expires_in => '1 minute') from scene;
select results_eq(
  'select pg_temp.draws()', $$values ('2026-03-10 open 63.43 0 0')$$,
  'by what it needs, if that is more'
);
select tests.spend(workflow, 0.25) from scene;
select results_eq(
  'select pg_temp.draws()', $$values ('2026-03-10 open 63.43 0 -0.25')$$,
  'what is spent without a hold goes to the draw'
);
select results_eq(
  $$select decision from scene, authorize_spend(org, 'm', 1, p_expires_in => '1 minute')$$,
  $$values ('granted')$$, 'the next call is granted all the same'
);
select results_eq(
  'select pg_temp.draws()', $$values ('2026-03-10 open 68 0 3.32')$$,
  'as its debt is topped up with it'
);
select results_eq(
  $$select count(*) from scene inner join billing.billing_ledger on org_id = org$$,
  $$values (1::bigint)$$, 'no call moves credits'
);

-- Overdue ------------------------------------------------------------------------------------------

select tests.freeze_clock('2026-03-10 18:10+00');
select results_eq(
  $$select u.settlement::text, u.cost::numeric
    from scene inner join metering.holds as h on h.organization_id = org and h.held_usd = 50.43,
      settle_spend(h.id, null, 0.43) as u$$,
  $$values ('on_hold', 0.43)$$, 'an overdue hold is settled'
);
select is(metering.expire_holds(org), 2, 'others expire') from scene;
select results_eq(
  $$select u.settlement::text, u.cost::numeric
    from scene inner join metering.holds as h on h.organization_id = org and h.held_usd = 11.5,
      settle_spend(h.id, null, 2) as u$$,
  $$values ('after_hold', 2.0)$$, 'and are settled late'
);
select results_eq(
  'select pg_temp.draws()', $$values ('2026-03-10 open 68 0 63.82')$$,
  'to the draw, as long as that is open'
);
select tests.settle(id, 0.5) from before_credits;
select results_eq(
  'select pg_temp.draws()', $$values ('2026-03-10 open 68 0 63.82')$$,
  'what was held before there were credits is not paid by it'
);

-- The next day -------------------------------------------------------------------------------------

select tests.freeze_clock('2026-03-10 18:14:59.999999+00');
select is(billing.close_draws(), 0, 'until midnight nothing is closed');
create temp table last as select tests.hold(org, 0.75, p_expires_in => '2 hours') as id from scene;
select tests.freeze_clock('2026-03-10 18:15+00');
select tests.hold(org, 2) from scene;
select results_eq(
  'select pg_temp.draws()',
  $$values ('2026-03-10 open 4.93 0 0'), ('2026-03-11 open 11.88 0 9.88')$$,
  'the first call of the next day takes back what the last draw does not need'
);
select results_eq(
  $$select balance, reserved from scene, tests.credits(org)$$, $$values (100.0, 16.81)$$,
  'both are reserved'
);
select tests.freeze_clock('2026-03-10 18:20+00');
select is(billing.close_draws(org), 0, 'its holds keep it') from scene;
select results_eq(
  'select pg_temp.draws()',
  $$values ('2026-03-10 open 4.93 0 0'), ('2026-03-11 open 11.88 0 9.88')$$,
  'that of today keeps what it has'
);
select tests.settle(id, 3) from first;
select results_eq(
  'select pg_temp.draws()',
  $$values ('2026-03-10 open 4.93 0 -2'), ('2026-03-11 open 11.88 0 9.88')$$,
  'what is settled goes to the day it was authorized'
);
create temp table settled as
select tests.settle(h.id, 0.5)
from scene inner join metering.holds as h on h.organization_id = org and h.held_usd = 0.5;
select tests.settle(id, 0.25) from last;
select is(billing.close_draws(tests.organization('Other')), 0, 'another organization is another matter');
select is(billing.close_draws(org), 1, 'without holds it is closed') from scene;
-- 0.25 + 0.43 + 2 + 3 + 0.5 + 0.25, of which 4.93 was reserved.
select results_eq(
  'select pg_temp.draws()',
  $$values ('2026-03-10 closed 0 6.43'),
    ('2026-03-11 open 11.88 0 9.88')$$,
  'and costs what its calls did'
);
select results_eq(
  $$select l.transaction_type, l.direction, l.amount_usd::numeric, l.reason::text, l.run_id,
      l.draw_id = d.id
    from scene inner join billing.draws as d on d.org_id = org and d.status = 'closed'
      inner join billing.billing_ledger as l on l.org_id = org and l.direction = 'debit'
      inner join billing.credit_balance_history as h on h.billing_ledger_id = l.id
    order by h.movement$$,
  $$values
    ('charge', 'debit', 4.93, 'draw_charge', null::uuid, true),
    ('charge', 'debit', 1.5, 'draw_charge', null, true)$$,
  'it is charged what it cost: what it had, and what it was short of'
);
select results_eq(
  $$select d.closed_at from scene inner join billing.draws as d on d.org_id = org
    where d.status = 'closed'$$,
  $$values ('2026-03-10 18:20+00'::timestamptz)$$, 'and says when'
);
select is_empty(
  $$select from scene inner join metering.budgets as b on b.organization_id = org
    where b.draw_day = '2026-03-10'$$,
  'its budget is gone'
);
select results_eq(
  $$select balance, reserved from scene, tests.credits(org)$$, $$values (93.57, 11.88)$$,
  'what it did not need is free'
);
select is(billing.close_draws(), 0, 'again there is nothing to close');

-- Late ---------------------------------------------------------------------------------------------

select results_eq(
  $$select u.settlement::text, u.created_at
    from scene inner join metering.holds as h on h.organization_id = org and h.held_usd = 1,
      settle_spend(h.id, null, 0.125) as u$$,
  $$values ('after_hold', '2026-03-10 18:00:00.001+00'::timestamptz)$$, 'a hold of a closed draw settles late'
);
select results_eq(
  $$select l.transaction_type, l.direction, l.amount_usd::numeric, l.draw_id = d.id, l.run_id
    from scene inner join billing.draws as d on d.org_id = org and d.status = 'closed'
      inner join billing.billing_ledger as l on l.org_id = org and l.reason = 'late_usage'$$,
  $$values ('adjustment', 'debit', 0.125, true, null::uuid)$$, 'as late usage of that draw'
);
select results_eq(
  'select pg_temp.draws()',
  $$values ('2026-03-10 closed 0 6.43'), ('2026-03-11 open 11.88 0 9.88')$$,
  'neither draw has it'
);

-- Runs get what draws do not need --------------------------------------------------------------------

create temp table bravo as select tests.organization('Bravo') as org;
select tests.buy(org, 100), tests.hold(org, 1) from bravo;
select results_eq(
  'select pg_temp.draws(org) from bravo', $$values ('2026-03-10 open 12.5 0 11.5')$$,
  'a draw has more than it needs'
);
select throws_ok(
  'select tests.run(org, 99.000000000001) from bravo', 'TS402', null, 'what it holds is not to be had'
);
select results_eq(
  'select pg_temp.draws(org) from bravo', $$values ('2026-03-10 open 12.5 0 11.5')$$,
  'a refusal takes nothing back'
);
create temp table run as select tests.run(org, 90) as id from bravo;
select results_eq(
  'select pg_temp.draws(org) from bravo', $$values ('2026-03-10 open 1 0 0')$$,
  'a run that is short of credits takes back what the draw does not hold'
);
select results_eq(
  $$select balance, reserved from bravo, tests.credits(org)$$, $$values (100.0, 91.0)$$,
  'it is reserved for the run'
);
select tests.hold(org, 4) from bravo;
select tests.freeze_clock('2026-03-10 18:31+00');
select r.id from run, billing.extend_run(run.id, 0, 0, 9, 0) as r;
select results_eq(
  'select pg_temp.draws(org) from bravo', $$values ('2026-03-10 open 0 0 0')$$,
  'so does an extension; what overdue holds keep is free too'
);
select results_eq(
  $$select decision, remaining_usd from bravo, authorize_spend(org, 'm', 1.000000000001)$$,
  $$values ('denied', '1')$$, 'and then there is no more for calls outside'
);

-- Credits and limits do not suffice -------------------------------------------------------------------

create temp table charlie as
select o.org, tests.workflow(o.org) as workflow
from (select tests.organization('Charlie') as org) as o;
select tests.buy(org, 2) from charlie;
create temp table short as select tests.hold(org, 2, p_expires_in => '24 hours') as id from charlie;
select tests.settle(id, 5) from short;
select results_eq(
  'select pg_temp.draws(org) from charlie',
  $$values ('2026-03-10 open 2 0 -3')$$, 'a call that took more leaves a debt'
);
select results_eq(
  $$select decision, remaining_usd from charlie, authorize_spend(org, 'm', 0.01)$$,
  $$values ('denied', '-3')$$, 'and nothing is granted'
);
select tests.buy(org, 3.5) from charlie;
select results_eq(
  $$select decision, remaining_usd from charlie, authorize_spend(org, 'm', 0.500000000001)$$,
  $$values ('denied', '0.5')$$, 'new credits pay the debt first'
);
select tests.spend(workflow, 1) from charlie;
select tests.freeze_clock('2026-03-11 00:00+00');
select is(billing.close_draws(org), 0, 'in the first minute of a day the last is kept') from charlie;
select tests.freeze_clock('2026-03-11 00:01+00');
select is(billing.close_draws(org), 1, 'then it is closed') from charlie;
select results_eq(
  'select tests.movements(org) from charlie offset 2',
  $$values ('-2 draw_charge'), ('-3.5 draw_charge')$$, 'it is charged as far as credits go'
);
select results_eq(
  $$select x.amount_usd::numeric, x.outstanding_usd::numeric, x.run_id, x.draw_id = d.id,
      x.reason::text
    from charlie inner join billing.receivables as x on x.org_id = org
      inner join billing.draws as d on d.org_id = org$$,
  $$values (0.5, 0.5, null::uuid, true, 'draw_charge')$$, 'the rest is owed'
);
select tests.spend(workflow, 0.25) from charlie;
select results_eq(
  'select pg_temp.draws(org) from charlie',
  $$values ('2026-03-10 closed 0 6'), ('2026-03-11 open 0 0 -0.25')$$,
  'without any credits a draw is opened and owes'
);
select tests.buy(org, 1) from charlie;
select results_eq(
  'select tests.movements(org) from charlie offset 4',
  $$values ('+1 credit_purchase'), ('-0.5 receivable_collected')$$, 'a purchase pays what is owed'
);
select results_eq(
  $$select l.draw_id = d.id, l.run_id
    from charlie inner join billing.billing_ledger as l on l.org_id = org
      inner join billing.draws as d on d.org_id = org and d.status = 'closed'
    where l.reason = 'receivable_collected'$$,
  $$values (true, null::uuid)$$, 'of its draw'
);

-- Nothing happened, and a day without calls ----------------------------------------------------------

create temp table delta as select tests.organization('Delta') as org;
select tests.buy(org, 8) from delta;
select h.id from delta, release_spend(tests.hold(org, 1)) as h;
select tests.freeze_clock('2026-03-14 12:00+00');
select ok(billing.close_draws() >= 2, 'draws of all organizations are closed');
select results_eq(
  'select pg_temp.draws(org) from delta',
  $$values ('2026-03-11 closed 0 0')$$, 'one that cost nothing too'
);
select results_eq(
  $$select tests.movements(org) from delta$$, $$values ('+8 credit_purchase')$$, 'is charged nothing'
);
select tests.hold(org, 1, p_expires_in => '24 hours') from delta;
select results_eq(
  'select pg_temp.draws(org) from delta offset 1',
  $$values ('2026-03-14 open 1 0 0')$$, 'a draw is of the day there is a call'
);
select throws_ok(
  $$insert into billing.draws (org_id, day) select org, '2026-03-14' from delta$$, '23505', null,
  'a day has one draw'
);

-- Extended, and in batches -----------------------------------------------------------------------------

create temp table echo as
select o.org, tests.workflow(o.org) as workflow
from (select tests.organization('Echo') as org) as o;
create temp table older as select tests.hold(org, 1, p_expires_in => '24 hours') as id from echo;
select tests.buy(org, 100) from echo;
select throws_ok(
  'select extend_hold(id, null, 1) from older', 'TS402', null,
  'a hold from before there were credits gets no more money'
);
select lives_ok($$select extend_hold(id, '1 hour') from older$$, 'but more time');
create temp table extended as select tests.hold(org, 1, p_expires_in => '24 hours') as id from echo;
select results_eq(
  'select h.held_usd::numeric from extended, extend_hold(extended.id, null, 40) as h',
  'values (41.0)', 'a hold that is extended'
);
select results_eq(
  'select pg_temp.draws(org) from echo', $$values ('2026-03-14 open 41 0 0')$$, 'tops up its draw'
);
select tests.freeze_clock('2026-03-15 06:00+00');
select tests.hold(org, 1) from echo;
select results_eq(
  'select h.held_usd::numeric from extended, extend_hold(extended.id, null, 20) as h',
  'values (61.0)', 'also that of the day before'
);
select throws_ok(
  'select extend_hold(id, null, 38.000000000001) from extended', 'TS402', null,
  'as far as credits go'
);
select results_eq(
  $$select b.decision from echo, authorize_spend_batch(
      org, '[{"model": "m", "estimated_cost": "8"}, {"model": "m", "estimated_cost": "30.1"},
        {"model": "m", "estimated_cost": "30"}]') as b$$,
  $$values ('granted'), ('denied'), ('granted')$$, 'a batch spends from the draw as well'
);
select results_eq(
  'select pg_temp.draws(org) from echo',
  $$values ('2026-03-14 open 61 0 0'), ('2026-03-15 open 39 0 0')$$, 'which has all there is then'
);
select results_eq(
  $$select u.settlement::text from echo, settle_spend_batch(
      org, (select jsonb_agg(jsonb_build_object('hold_id', h.id, 'cost', h.held_usd::text))
        from metering.holds as h where h.organization_id = org and h.held_usd in (8, 30))) as u$$,
  $$values ('on_hold'), ('on_hold')$$, 'and is settled to it'
);

-- A clock that is set back -------------------------------------------------------------------------------

select tests.freeze_clock('2026-03-20 12:00+00');
select is(billing.close_draws(org), 2, 'both are closed') from echo;
select tests.freeze_clock('2026-03-15 05:00+00');
select tests.spend(workflow, 0.5) from echo;
select tests.hold(org, 0.25) from echo;
select results_eq(
  'select pg_temp.draws(org) from echo',
  $$values ('2026-03-14 closed 0 0'), ('2026-03-15 open 7.75 38 7')$$,
  'a clock that is set back opens the draw of its day again'
);
select tests.freeze_clock('2026-03-20 12:00+00');
select is(billing.close_draws(org), 1, 'which is closed again') from echo;
select results_eq(
  'select pg_temp.draws(org) from echo',
  $$values ('2026-03-14 closed 0 0'), ('2026-03-15 closed 0 38.5')$$, 'with all its cost'
);
select results_eq(
  'select tests.movements(org) from echo offset 1', $$values ('-38 draw_charge'), ('-0.5 draw_charge')$$,
  'charged once'
);

select is_empty($$select * from audit.verify_integrity()$$, 'the books agree');
select * from finish();
rollback;
