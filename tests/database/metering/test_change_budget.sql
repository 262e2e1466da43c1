-- A budget moves to another scope or window, or is spread over another number of slots.
begin;
select plan(41);

select tests.freeze_clock('2026-03-10 12:00:00+00');
create temp table scene as
select
  o.org,
  tests.workflow(o.org) as workflow,
  tests.venture(o.org) as venture,
  tests.cap(o.org, 'model', 'm', 'day', 10) as budget,
  tests.cap(o.org, 'organization', null, 'day', 100) as other
from (select tests.organization('Acme') as org) as o;
select tests.settle(tests.hold(org, 1, 'm'), 1) from scene;
select tests.settle(tests.hold(org, 1, 'n'), 0.5) from scene;
create temp table held as
select
  tests.hold(org, 0.25, 'm', '24 hours') as of_m,
  tests.hold(org, 0.125, 'n', '24 hours') as of_n
from scene;
create function pg_temp.change(
  p_scope text default null, p_scope_id text default null, p_window text default null,
  p_slots integer default null
)
returns table (scope text, scope_id text, time_window text, slots smallint, limit_usd numeric,
  settled numeric, held numeric, remaining numeric)
language sql
as $$
  select b.scope, b.scope_id, b.time_window, b.slot_count, b.limit_usd, settled, held, remaining
  from scene, metering.change_budget(org, budget, p_scope, p_scope_id, p_window, p_slots) as b,
    tests.figures(b.id)
$$;

-- Slots --------------------------------------------------------------------------------------

select results_eq(
  $$select * from pg_temp.change(p_slots => 16)$$,
  $$values ('model', 'm', 'day', 16::smallint, 10.0, 1.0, 0.25, 8.75)$$,
  'over another number of slots the sums are the same'
);
select results_eq(
  $$select slot, settled_usd::numeric + held_usd from scene
    inner join metering.budget_slots as s on s.budget_id = budget
    where (settled_usd, held_usd) <> (0, 0)$$,
  $$values (0::smallint, 1.25)$$, 'and what was counted is counted in the first of them'
);
select tests.settle(of_m, 0.2) from held;
select results_eq(
  $$select settled, held, remaining from scene, tests.figures(budget)$$,
  $$values (1.2, 0.0, 8.8)$$, 'what was held before finds its budget'
);
insert into held select tests.hold(org, 0.25, 'm', '24 hours') from scene;
select results_eq(
  $$select * from pg_temp.change()$$,
  $$values ('model', 'm', 'day', 16::smallint, 10.0, 1.2, 0.25, 8.55)$$,
  'nothing said changes nothing'
);

-- Scope and window ---------------------------------------------------------------------------

select results_eq(
  $$select * from pg_temp.change(p_scope_id => 'n')$$,
  $$values ('model', 'n', 'day', 16::smallint, 10.0, 0.5, 0.125, 9.375)$$,
  'over another model it counts what was spent and is held there'
);
select results_eq(
  $$select decision, budget_id = budget from scene, authorize_spend(org, 'n', 9.376)$$,
  $$values ('denied', true)$$, 'caps that'
);
select results_eq(
  $$select * from pg_temp.change('organization', null, 'hour')$$,
  $$values ('organization', '', 'hour', 16::smallint, 10.0, 1.7, 0.375, 7.925)$$,
  'over another scope and window'
);
select results_eq(
  $$select * from pg_temp.change('workflow', (select workflow::text from scene), 'month', 2)$$,
  $$select 'workflow', workflow::text, 'month', 2::smallint, 10.0, 0.0, 0.0, 10.0 from scene$$,
  'all of it at once'
);
select tests.spend(workflow, 1) from scene;
select results_eq(
  $$select settled, remaining from scene, tests.figures(budget)$$, $$values (1.0, 9.0)$$,
  'from then on it counts there'
);
select results_eq(
  $$select * from pg_temp.change('model', 'm', 'total', 1)$$,
  $$values ('model', 'm', 'total', 1::smallint, 10.0, 1.2, 0.25, 8.55)$$, 'and back again'
);
select h.id from held, release_spend(of_m) as h where of_n is null;
select results_eq(
  $$select held, remaining from scene, tests.figures(budget)$$, $$values (0.0, 8.8)$$,
  'what was held before it moved comes back to it'
);
select tests.settle(of_n, 0.125) from held where of_n is not null;

-- A limit that the new scope has passed already ------------------------------------------------

select tests.cap(org, 'model', 'm', 'total', 1) from scene;
select results_eq(
  $$select b.excess_usd::numeric, remaining, is_closed
    from scene, metering.change_budget(org, budget, 'organization', null, 'week') as b,
      tests.figures(b.id)$$,
  $$values (1.825, -1.825, true)$$, 'where use has passed its limit it remembers by how much'
);
select is_empty($$select * from audit.verify_integrity()$$, 'which is no breach of the books');
select results_eq(
  $$select f.remaining, is_closed from pg_temp.change('tag', 'team=x', 'hour'), scene,
      tests.figures(budget) as f$$,
  $$values (1.0, false)$$, 'where nothing was spent it is open again'
);
select results_eq(
  $$select scope_id from pg_temp.change(p_scope_id => 'team=y')$$, $$values ('team=y')$$,
  'another id of the same scope is enough'
);

-- Those that exist from birth, and those that carry a freeze ------------------------------------

select results_eq(
  format('select b.slot_count from metering.change_budget(%L, %L, p_slots => 4) as b', org, v.id),
  $$values (4::smallint)$$, 'the ' || v.name || ' takes another number of slots'
)
from scene, lateral (
  values (org, 'organization''s own'), (workflow, 'workflow''s own')
) as v (id, name);
select throws_ok(
  format('select metering.change_budget(%L, %L, %L, %L)', org, v.id, 'model', 'x'), '22023', null,
  'but the ' || v.name || ' does not move'
)
from scene, lateral (
  values (org, 'organization''s own'), (workflow, 'workflow''s own')
) as v (id, name);
select throws_ok(
  format('select metering.change_budget(%L, %L, p_window => %L)', org, workflow, 'day'),
  '22023', null, 'nor to another window'
)
from scene;
select lives_ok(
  format(
    'select metering.change_budget(%L, %L, %L, %L, %L)',
    org, workflow, 'workflow', workflow, 'total'
  ),
  'where it is already it may be said to be'
)
from scene;
create temp table frozen as select b.id from scene, metering.freeze(org, 'model', 'cold') as b;
select throws_ok(
  format('select metering.change_budget(%L, %L, p_window => %L)', org, id, 'day'), '22023', null,
  'one that carries a freeze does not move'
)
from scene, frozen;
select lives_ok(
  format('select metering.change_budget(%L, %L, p_slots => 2)', org, id), 'but takes slots'
)
from scene, frozen;

-- A budget over a run whose id is its own is a budget like any.
create temp table lookalike as
select b.id from scene, metering.change_budget(org, budget, 'run', budget::text, 'total') as b;
select lives_ok(
  format('select metering.change_budget(%L, %L, %L, %L)', org, id, 'model', 'y'),
  'a budget whose scope has its own id may move on'
)
from scene, lookalike;

-- Refusals -----------------------------------------------------------------------------------

create temp table bravo as
select o.org, tests.workflow(o.org) as workflow, tests.cap(o.org, 'model', 'm', 'day', 1) as budget
from (select tests.organization('Bravo') as org) as o;
create temp table before_refusals as select to_jsonb(b) from metering.budgets as b;
create function pg_temp.refusal(p_arguments text)
returns text
language plpgsql
as $$
declare
  v_detail text;
begin
  execute 'select b.* from scene, bravo, metering.change_budget(' || p_arguments || ') as b';
  return 'changed';
exception when others then
  get stacked diagnostics v_detail = pg_exception_detail;
  return concat_ws(' ', sqlstate, v_detail::jsonb ->> 'argument');
end
$$;
select is(pg_temp.refusal(v.arguments), v.expected, v.description)
from (
  values
  ('null, scene.budget', '22023 p_organization_id', 'no organization'),
  ('scene.org, null', '22023 p_budget_id', 'no budget'),
  ('scene.org, scene.budget, p_slots => 0', '22023 p_slots', 'no slots'),
  ('scene.org, scene.budget, p_slots => 257', '22023 p_slots', '257 slots'),
  ($$scene.org, scene.budget, p_window => 'year'$$, '22023 p_window', 'a window nobody knows'),
  ($$scene.org, scene.budget, 'planet', 'x'$$, '22023 p_scope', 'a scope nobody knows'),
  ($$scene.org, scene.budget, 'user'$$, '22023 p_scope_id', 'another scope without an id'),
  ($$scene.org, scene.budget, 'user', 'x'$$, '22023 p_scope_id', 'a user with an id that is none'),
  ($$scene.org, scene.budget, 'organization', null, 'day'$$, '22023 p_scope, p_scope_id, p_window',
    'the scope and window of another budget'),
  ($$scene.org, scene.budget, 'organization', null, 'total'$$,
    '22023 p_scope, p_scope_id, p_window', 'those of the organization''s own'),
  ($$scene.org, scene.budget, 'workflow', gen_random_uuid()::text$$, 'TS404',
    'an unknown workflow'),
  ($$scene.org, scene.budget, 'workflow', bravo.workflow::text$$, 'TS404',
    'a workflow of another organization'),
  ('scene.org, gen_random_uuid()', 'TS404', 'an unknown budget'),
  ('scene.org, bravo.budget, p_slots => 2', 'TS404', 'a budget of another organization'),
  ('gen_random_uuid(), scene.budget', 'TS404', 'an unknown organization')
) as v (arguments, expected, description);
select set_eq(
  'select to_jsonb(b) from metering.budgets as b', 'table before_refusals',
  'what is refused changes nothing'
);

select is_empty($$select * from audit.verify_integrity()$$, 'the books agree');
select * from finish();
rollback;
