-- Spend that cannot be refused takes a budget past its cap: it closes, what is returned pays the
-- debt, and only a gather that has netted both opens it again.
begin;
select plan(33);

select tests.freeze_clock('2026-03-10 12:00:00+00');
create temp table scene as
select
  o.org,
  tests.workflow(o.org) as workflow,
  tests.cap(o.org, 'organization', null, 'day', 10, p_slots => 4) as day,
  tests.cap(o.org, 'model', 'm', 'total', 100) as model
from (select tests.organization('Acme') as org) as o;
create temp view slots as
select s.slot, s.available_usd::numeric, s.debt_usd::numeric
from scene inner join metering.budget_slots as s on s.budget_id = day;
create temp view figures as
select f.* from scene cross join tests.figures(day) as f;
create temp table held as
select tests.hold(org, 4, 'm') as above, tests.hold(org, 3, 'm') as released,
  tests.hold(org, 2, 'm') as settled, tests.hold(org, 0.5, 'm') as extended
from scene;

-- Into debt ----------------------------------------------------------------------------------

select results_eq(
  'table figures', $$values (0::numeric, 9.5, 0.5, false)$$, 'nearly all of it is held'
);
select results_eq(
  $$select settlement::text, unheld_usd::numeric from held, settle_spend(above, null, 4.5)$$,
  $$values ('on_hold', 0.5)$$, 'a settlement above its hold that the budget covers'
);
select results_eq(
  'table figures', $$values (4.5, 5.5, 0.0, false)$$,
  'takes it from wherever it is, and no debt is made'
);
select tests.spend(workflow, 0.75, 'm') from scene;
select results_eq(
  'table figures', $$values (5.25, 5.5, -0.75, true)$$, 'one that it does not cover is debt'
);
select is(
  (select count(*) from slots where debt_usd is null), 0::bigint, 'and closes every slot'
);
select results_eq(
  $$select sum(available_usd), sum(debt_usd) from slots$$, $$values (0::numeric, 0.75)$$,
  'no slot has money while another has debt'
);
select tests.spend(workflow, 0.25, 'm') from scene;
select results_eq(
  'table figures', $$values (5.5, 5.5, -1.0, true)$$, 'more spend is more debt'
);
select results_eq(
  $$select decision, budget_id = day, remaining_usd from scene, authorize_spend(org, 'n', 0.1)$$,
  $$values ('denied', true, '-1')$$, 'nothing is granted'
);
select throws_ok(
  $$select extend_hold(extended, null, 0.1) from held$$, 'TS402', null, 'nor added to a hold'
);
select results_eq(
  $$select f.is_closed from scene, tests.figures(model) as f$$, $$values (false)$$,
  'another budget of the same calls is open'
);

-- Money comes back ---------------------------------------------------------------------------

select h.id from held, release_spend(released) as h;
select results_eq(
  'table figures', $$values (5.5, 2.5, 2.0, true)$$,
  'a release pays the debt; what it returned beyond stays closed'
);
select results_eq(
  $$select sum(available_usd), sum(debt_usd) from slots$$, $$values (3.0, 1.0)$$,
  'both are known until somebody asks'
);
select results_eq(
  $$select remaining_usd::numeric from scene inner join metering.budget_status on budget_id = day$$,
  $$values (2.0)$$, 'reports net them'
);
select results_eq(
  $$select decision, remaining_usd from scene, authorize_spend(org, 'n', 2.1)$$,
  $$values ('denied', '2')$$, 'a denial nets them, and leaves it closed'
);
select results_eq(
  'table figures', $$values (5.5, 2.5, 2.0, true)$$, 'as it was'
);
select tests.spend(workflow, 0.5, 'm') from scene;
select results_eq(
  $$select sum(available_usd), sum(debt_usd) from slots$$, $$values (3.0, 1.5)$$,
  'spend adds to the debt of a closed budget'
);
select tests.settle(settled, 1) from held;
select results_eq(
  'table figures', $$values (7.0, 0.5, 2.5, true)$$, 'what a settlement did not need comes back too'
);
select results_eq(
  $$select decision from scene, authorize_spend(org, 'n', 1)$$, $$values ('granted')$$,
  'who asks for what is left gets it'
);
select results_eq(
  'table figures', $$values (7.0, 1.5, 1.5, false)$$, 'and has opened it again'
);
select is(
  (select count(*) from slots where debt_usd is not null), 0::bigint, 'every slot of it'
);
select results_eq(
  $$select h.held_usd::numeric from held, extend_hold(extended, null, 1.5) as h$$, $$values (2.0)$$,
  'to the last cent'
);
select results_eq(
  'table figures', $$values (7.0, 3.0, 0.0, false)$$, 'nothing left is no debt'
);

-- Late settlements, and a hold settled by more than all there is ------------------------------

select h.id from held, release_spend(extended) as h;
select results_eq(
  $$select settlement::text, unheld_usd::numeric from held, settle_spend(extended, null, 5)$$,
  $$values ('after_hold', 5.0)$$, 'a settlement after its hold'
);
select results_eq(
  'table figures', $$values (12.0, 1.0, -3.0, true)$$, 'may make a debt as well'
);
select is_empty($$select * from audit.verify_integrity()$$, 'the books agree');

-- A limit, a window and enforcement end a debt ----------------------------------------------------

select tests.cap(org, 'organization', null, 'day', 20) from scene;
select results_eq(
  'table figures', $$values (12.0, 1.0, 7.0, false)$$, 'a higher limit ends it'
);
select tests.cap(org, 'organization', null, 'day', 12.5) from scene;
select results_eq(
  'table figures', $$values (12.0, 1.0, -0.5, true)$$, 'a limit below use makes one'
);
select results_eq(
  $$select b.excess_usd::numeric from scene inner join metering.budgets as b on b.id = day$$,
  $$values (0.5)$$, 'which is remembered as such'
);
select b.id from scene, metering.change_budget(org, day, p_slots => 7) as b;
select results_eq(
  $$select count(*), count(debt_usd), sum(debt_usd) from slots$$,
  $$values (7::bigint, 7::bigint, 0.5)$$,
  'over other slots it is the same debt'
);
select tests.cap(org, 'organization', null, 'day', 12.5, 'soft') from scene;
select results_eq(
  'table figures', $$values (12.0, 1.0, null::numeric, false)$$, 'a soft cap has none'
);
select tests.cap(org, 'organization', null, 'day', 12.5) from scene;
select tests.freeze_clock('2026-03-11 00:00:00+00');
select results_eq(
  $$select decision from scene, authorize_spend(org, 'n', 12.5)$$, $$values ('granted')$$,
  'the next day has none'
);
select tests.spend(workflow, 100, 'm') from scene;
select results_eq(
  $$select decision, remaining_usd from scene, authorize_spend(org, 'm', 0.1)$$,
  $$values ('denied', '-100')$$, 'of two debts the deeper is named'
);
select is_empty($$select * from audit.verify_integrity()$$, 'the books still agree');

select * from finish();
rollback;
