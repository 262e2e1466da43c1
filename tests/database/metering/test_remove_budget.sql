-- A budget is removed. Those that exist from birth or carry a freeze only lose their cap.
begin;
select plan(27);

select tests.freeze_clock('2026-03-10 12:00:00+00');
create temp table scene as
select
  o.org,
  tests.workflow(o.org) as workflow,
  tests.cap(o.org, 'model', 'm', 'day', 1, 'soft', 4) as model
from (select tests.organization('Acme') as org) as o;
select tests.cap(org, 'organization', null, 'total', 5, 'soft', 4),
  tests.cap(org, 'workflow', workflow::text, 'total', 1, 'hard', 2) from scene;
create temp table held as
select (authorize_spend(org, 'm', 0.75, p_workflow_id => workflow)).hold_id as id from scene;
select tests.spend(workflow, 1, 'm') from scene;

-- One that was made --------------------------------------------------------------------------

select results_eq(
  $$select b.id, b.scope, b.scope_id, b.time_window, b.limit_usd::numeric, b.enforcement,
      b.slot_count
    from scene, metering.remove_budget(org, 'model', 'm', 'day') as b$$,
  $$select model, 'model', 'm', 'day', null::numeric, 'hard', 4::smallint from scene$$,
  'it is returned as it was, without its cap'
);
select is_empty(
  $$select from scene inner join metering.budgets on id = model
    union all select from scene inner join metering.budget_slots on budget_id = model$$,
  'and is gone, slots and all'
);
select results_eq(
  $$select decision, reason from scene, authorize_spend(org, 'm', 1)$$,
  $$values ('granted', null)$$, 'it caps nothing any more'
);
select lives_ok(
  $$select settle_spend(id, null, 0.5) from held$$, 'what was held from it is settled'
);
select throws_ok(
  $$select metering.remove_budget(org, 'model', 'm', 'day') from scene$$, 'TS404', null,
  'removed again it is unknown'
);
select tests.cap(org, 'model', 'm', 'day', 10) from scene;
select results_eq(
  $$select b.id = model, settled, held from scene
    inner join metering.budgets as b on b.organization_id = org and b.scope = 'model'
    cross join tests.figures(b.id)$$,
  $$values (false, 1.5, 1.0)$$, 'made anew it is another one, which counts what was spent meanwhile'
);

-- Those that exist from birth ----------------------------------------------------------------

select results_eq(
  $$select b.id, b.limit_usd::numeric, b.enforcement, b.slot_count, b.excess_usd::numeric
    from scene, metering.remove_budget(org, 'organization', null, 'total') as b$$,
  $$select org, null::numeric, 'hard', 4::smallint, 0::numeric from scene$$,
  'the organization''s own loses its cap'
);
select results_eq(
  $$select b.id, b.limit_usd::numeric
    from scene, metering.remove_budget(org, 'workflow', workflow::text, 'total') as b$$,
  $$select workflow, null::numeric from scene$$, 'and so does a workflow''s'
);
select results_eq(
  $$select settled, held, remaining, is_closed from scene, tests.figures(workflow)$$,
  $$values (1.5, 0.0, null::numeric, false)$$, 'they go on counting'
);
select ok(
  not check_workflow_cost_limit(workflow, 0), 'and the default of the checks applies again'
)
from scene;
select lives_ok(
  $$select metering.remove_budget(org, 'workflow', workflow::text, 'total') from scene$$,
  'removed again, nothing happens'
);
select tests.cap(org, 'workflow', workflow::text, 'day', 10) from scene;
select b.id from scene, metering.remove_budget(org, 'workflow', workflow::text, 'day') as b;
select is(
  tests.budget(org, 'workflow', workflow::text, 'day'), null,
  'another budget of a workflow is removed like any'
)
from scene;

-- Those that carry a freeze ------------------------------------------------------------------

select b.id from scene, metering.freeze(org, 'tag', 'team=growth') as b;
select tests.cap(org, 'tag', 'team=growth', 'total', 3) from scene;
select results_eq(
  $$select b.limit_usd::numeric, b.frozen_at
    from scene, metering.remove_budget(org, 'tag', 'team=growth', 'total') as b$$,
  $$values (null::numeric, '2026-03-10 12:00:00+00'::timestamptz)$$,
  'one that carries a freeze stays'
);
select results_eq(
  $$select decision, reason
    from scene, authorize_spend(org, 'm', 1, p_tags => '{"team": "growth"}')$$,
  $$values ('denied', 'frozen')$$, 'and so does the freeze'
);
select b.id from scene, metering.unfreeze(org, 'tag', 'team=growth') as b;
select b.id from scene, metering.remove_budget(org, 'tag', 'team=growth', 'total') as b;
select is(tests.budget(org, 'tag', 'team=growth', 'total'), null, 'without it, it goes')
from scene;
select b.id from scene, metering.freeze(org, 'workflow', workflow::text) as b;
select results_eq(
  $$select b.frozen_at is not null
    from scene, metering.remove_budget(org, 'workflow', workflow::text, 'total') as b$$,
  $$values (true)$$, 'a frozen workflow stays frozen'
);

-- Refusals -----------------------------------------------------------------------------------

create temp table bravo as
select o.org, tests.cap(o.org, 'model', 'x', 'day', 1) as budget, tests.workflow(o.org) as workflow
from (select tests.organization('Bravo') as org) as o;
create temp table before_refusals as select to_jsonb(b) from metering.budgets as b;
select throws_ok(
  'select metering.remove_budget(' || v.arguments || ') from scene, bravo', v.code, null,
  v.description
)
from (
  values
  ($$null, 'organization', null, 'month'$$, '22023', 'no organization'),
  ($$scene.org, 'organization', null, 'year'$$, '22023', 'a window nobody knows'),
  ($$scene.org, 'organization', null, null$$, '22023', 'no window'),
  ($$scene.org, 'planet', 'x', 'day'$$, '22023', 'a scope nobody knows'),
  ($$scene.org, 'run', 'x', 'day'$$, '22023', 'a run with an id that is none'),
  ($$scene.org, 'organization', null, 'month'$$, 'TS404', 'a cap that was never stored'),
  ($$scene.org, 'model', 'x', 'day'$$, 'TS404', 'a budget of another organization'),
  ($$scene.org, 'workflow', bravo.workflow::text, 'total'$$, 'TS404',
    'a workflow of another organization'),
  ($$gen_random_uuid(), 'organization', null, 'total'$$, 'TS404', 'an unknown organization')
) as v (arguments, code, description);
select set_eq(
  'select to_jsonb(b) from metering.budgets as b', 'table before_refusals',
  'what is refused changes nothing'
);

select is_empty($$select * from audit.verify_integrity()$$, 'the books agree');
select * from finish();
rollback;
