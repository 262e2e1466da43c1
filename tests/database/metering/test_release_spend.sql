-- What a hold keeps is given back. Who may is in test_who_may_spend.
begin;
select plan(25);

select tests.freeze_clock('2026-03-10 12:00:00.5+00');
create temp table scene as
select
  o.org,
  tests.workflow(o.org) as workflow,
  tests.cap(o.org, 'organization', null, 'day', 10, p_slots => 4) as day,
  tests.cap(o.org, 'model', 'm', 'hour', 2) as hour
from (select tests.organization('Acme') as org) as o;
create temp view figures as
select b.scope, b.time_window, f.settled, f.held, f.remaining
from scene
inner join metering.budgets as b on b.organization_id = org
cross join tests.figures(b.id) as f;
create temp table before_hold as table figures;

create temp table first as
select d.hold_id as id
from scene, authorize_spend(
  org, 'm', 1.5, p_workflow_id => workflow, p_request_id => 'first'
) as d;
select tests.freeze_clock('2026-03-10 12:00:07+00');
select results_eq(
  $$select h.id, h.state::text, h.held_usd::numeric, h.closed_at, h.reason::text
    from first, release_spend(first.id, 'cancelled') as h$$,
  $$select id, 'released', 1.5, '2026-03-10 12:00:07+00'::timestamptz, 'cancelled' from first$$,
  'a hold is released, and says when and why'
);
select set_eq('table figures', 'table before_hold', 'every budget has back what it kept');
select results_eq(
  $$select h.state::text, h.closed_at, h.reason::text
    from first inner join metering.holds as h using (id)$$,
  $$values ('released', '2026-03-10 12:00:07+00'::timestamptz, 'cancelled')$$, 'its row is kept'
);

-- Again --------------------------------------------------------------------------------------

select tests.freeze_clock('2026-03-10 12:00:08+00');
select results_eq(
  $$select h.state::text, h.closed_at, h.reason::text
    from first, release_spend(first.id, 'again') as h$$,
  $$values ('released', '2026-03-10 12:00:07+00'::timestamptz, 'cancelled')$$,
  'released again, it is as it was'
);
select set_eq('table figures', 'table before_hold', 'and nothing is given back twice');
select tests.settle(first.id, 0) from first;
select throws_ok(
  $$select release_spend(id) from first$$, 'TS410', null, 'settled late, it is closed'
);
select is(
  tests.facts_of($$select release_spend(id) from first$$),
  (select jsonb_build_object('hold_id', id, 'state', 'settled') from first), 'and DETAIL says how'
);

-- Without a reason, and by name --------------------------------------------------------------

select results_eq(
  $$select h.state::text, h.reason::text
    from scene, release_spend(p_hold_id => tests.hold(org, 1), p_organization_id => org) as h$$,
  $$values ('released', null)$$, 'a reason is not needed'
);
select results_eq(
  $$select length(h.reason) from scene, release_spend(tests.hold(org, 1), repeat('r', 255)) as h$$,
  $$values (255)$$, 'a reason has up to 255 characters'
);

-- Overdue, expired, frozen -------------------------------------------------------------------

create temp table others as
select n.name, tests.hold(org, 1, p_expires_in => '1 minute') as id
from scene, (values ('overdue'), ('expired'), ('frozen'), ('changed')) as n (name);
select tests.freeze_clock('2026-03-10 12:05:00+00');
select results_eq(
  $$select h.state::text from others, release_spend(others.id) as h where name = 'overdue'$$,
  $$values ('released')$$, 'an overdue hold that nobody took is released'
);
update metering.holds as h set expires_at = '2026-03-10 13:00+00' from others
where others.id = h.id and name in ('frozen', 'changed');
select is(metering.expire_holds(org), 1, 'another one expires') from scene;
select results_eq(
  $$select h.state::text, h.reason::text from others, release_spend(others.id, 'late') as h
    where name = 'expired'$$,
  $$values ('expired', null)$$, 'an expired hold is as it is'
);
select b.id from scene, metering.freeze(org) as b;
select results_eq(
  $$select h.state::text from others, release_spend(others.id) as h where name = 'frozen'$$,
  $$values ('released')$$, 'where it is frozen, money is still given back'
);
select b.id from scene, metering.unfreeze(org) as b;

-- Budgets that were changed since ------------------------------------------------------------

select tests.cap(org, 'organization', null, 'hour', 5) from scene;
select b.id from scene, metering.change_budget(org, day, p_slots => 2) as b;
select b.id from scene, metering.remove_budget(org, 'model', 'm', 'hour') as b;
select results_eq(
  $$select held, remaining
    from scene, tests.figures(tests.budget(org, 'organization', '', 'hour'))$$,
  $$values (1.0, 4.0)$$, 'a budget that was made since counted the hold'
);
select h.id from others, release_spend(others.id) as h where name = 'changed';
select set_eq(
  'select scope, time_window, held, remaining from figures',
  $$values
    ('organization', 'total', 0::numeric, null::numeric), ('workflow', 'total', 0, null),
    ('organization', 'day', 0, 10), ('organization', 'hour', 0, 5)$$,
  'and has back what it counted'
);

-- Refusals -----------------------------------------------------------------------------------

create temp table bravo as
select o.org, tests.hold(o.org, 1) as hold, tests.workflow(o.org) as workflow
from (select tests.organization('Bravo') as org) as o;
select tests.spend(workflow, 1) from bravo;
select throws_ok(
  'select release_spend(' || v.arguments || ') from scene, bravo', v.code, null, v.description
)
from (
  values
  ('null', '22023', 'no hold'),
  ($$hold, ''$$, '22023', 'an empty reason'),
  ($$hold, ' '$$, '22023', 'a blank reason'),
  ($$hold, repeat('r', 256)$$, '22023', 'a reason of 256 characters'),
  ('gen_random_uuid()', 'TS404', 'an unknown hold'),
  ('hold, null, scene.org', 'TS404', 'a hold of another organization'),
  ('hold, null, gen_random_uuid()', 'TS404', 'a hold of an unknown organization'),
  ('(select l.id from public.ai_usage_ledger as l where l.organization_id = bravo.org)', 'TS404',
    'a usage that was recorded without a hold')
) as v (arguments, code, description);
select is(
  (select h.state::text from bravo inner join metering.holds as h on h.id = hold), 'open',
  'what is refused changes nothing'
);

select is_empty($$select * from audit.verify_integrity()$$, 'the books agree');
select * from finish();
rollback;
