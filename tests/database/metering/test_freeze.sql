-- An organization or one of its scopes stops spending, and spends again.
begin;
select plan(52);

select tests.freeze_clock('2026-03-10 12:00:00+00');
create temp table scene as
select o.org, tests.workflow(o.org) as workflow, tests.venture(o.org) as venture
from (select tests.organization('Acme') as org) as o;
create function pg_temp.ask(p_arguments text default '')
returns text
language plpgsql
as $$
declare
  v_decision metering.spend_decision;
begin
  execute format(
    'select d.* from scene, public.authorize_spend(org, %L, 0.1 %s) as d', 'm', p_arguments
  )
  into v_decision;
  return concat_ws(' ', v_decision.decision, v_decision.reason, v_decision.budget_id);
end
$$;

-- The organization ---------------------------------------------------------------------------

create temp table held as
select tests.hold(org, 1, 'm') as settled, tests.hold(org, 1, 'm') as released,
  (authorize_spend(org, 'm', 1, p_request_id => 'open')).hold_id as retried
from scene;
create temp table before_freeze as
select config_version from scene inner join metering.budget_slots on budget_id = org;
select results_eq(
  $$select b.id, b.scope, b.time_window, b.frozen_at from scene, metering.freeze(org) as b$$,
  $$select org, 'organization', 'total', '2026-03-10 12:00:00+00'::timestamptz from scene$$,
  'freezing an organization returns its own budget, frozen'
);
select results_eq(
  $$select frozen_at from scene inner join tenancy.organizations on id = org$$,
  $$values ('2026-03-10 12:00:00+00'::timestamptz)$$, 'the organization says since when'
);
select ok(
  s.config_version > b.config_version, 'calls that read before the freeze read again'
)
from before_freeze as b, scene inner join metering.budget_slots as s on s.budget_id = org;
select is(pg_temp.ask(), 'denied frozen', 'nothing is granted');
select ok(not check_workflow_cost_limit(workflow, 0, 5), 'the check says no') from scene;
select ok(not check_organization_monthly_quota(org), 'and so does the quota') from scene;
select lives_ok(
  $$select tests.spend(workflow, 1), settle_spend(settled, null, 1), release_spend(released)
    from scene, held$$,
  'what was spent is recorded and settled, what was held released'
);
select results_eq(
  $$select decision, hold_id from scene, authorize_spend(org, 'm', 1, p_request_id => 'open')$$,
  $$select 'granted', retried from held$$, 'an open hold is open still'
);
select results_eq(
  $$select decision, reason from scene, estimate_spend(org, 'm', 1)$$,
  $$values ('denied', 'frozen')$$, 'the estimate says the same'
);
select tests.freeze_clock('2026-03-10 13:00:00+00');
select results_eq(
  $$select b.frozen_at from scene, metering.freeze(org, 'organization', org::text) as b$$,
  $$values ('2026-03-10 12:00:00+00'::timestamptz)$$, 'frozen again it is as it was'
);
select results_eq(
  $$select b.id = org, b.frozen_at from scene, metering.unfreeze(org) as b$$,
  $$values (true, null::timestamptz)$$, 'unfrozen it says so'
);
select is(pg_temp.ask(), 'granted', 'and spends again');
select results_eq(
  $$select b.frozen_at from scene, metering.unfreeze(org) as b$$,
  $$values (null::timestamptz)$$, 'unfrozen again it is as it was'
);

-- Written by hand, as a server role may ----------------------------------------------------------

select tests.act_as('service_role');
update tenancy.organizations set frozen_at = '2026-03-10 12:30:00+00';
reset role;
select is(pg_temp.ask(), 'denied frozen', 'an organization may be frozen by writing its row');
select results_eq(
  $$select b.frozen_at from scene inner join metering.budgets as b on b.id = org$$,
  $$values ('2026-03-10 12:30:00+00'::timestamptz)$$, 'its own budget says so too'
);
update tenancy.organizations set frozen_at = null;
select is(pg_temp.ask(), 'granted', 'and unfrozen');
insert into tenancy.organizations (id, name, frozen_at)
values ('f0000000-0000-4000-8000-000000000000', 'Frozen', now());
select results_eq(
  $$select decision, reason from authorize_spend('f0000000-0000-4000-8000-000000000000', 'm', 1)$$,
  $$values ('denied', 'frozen')$$, 'one that is born frozen is frozen'
);

-- A scope ------------------------------------------------------------------------------------

create temp table scopes (scope text, scope_id text, arguments text);
insert into scopes
select v.scope, v.scope_id, v.arguments
from scene, lateral (
  values
  ('workflow', workflow::text, format(', p_workflow_id => %L', workflow)),
  ('venture', venture::text, format(', p_venture_id => %L', venture)),
  ('run', '00000000-0000-4000-8000-000000000001',
    ', p_run_id => ''00000000-0000-4000-8000-000000000001'''),
  ('user', '00000000-0000-4000-8000-000000000002',
    ', p_user_id => ''00000000-0000-4000-8000-000000000002'''),
  ('api_key', 'key', ', p_api_key_id => ''key'''),
  ('tag', 'team=growth', ', p_tags => ''{"team": "growth"}''')
) as v (scope, scope_id, arguments);
create function pg_temp.life(p_scope text, p_scope_id text, p_arguments text)
returns text
language plpgsql
as $$
declare
  v_org uuid := (select org from scene);
  v_frozen metering.budgets;
  v_unfrozen metering.budgets;
  v_life text;
begin
  v_frozen := metering.freeze(v_org, p_scope, p_scope_id);
  v_life := concat_ws(', ', v_frozen.time_window, v_frozen.limit_usd,
    replace(pg_temp.ask(p_arguments), v_frozen.id::text, 'it'), pg_temp.ask());
  v_unfrozen := metering.unfreeze(v_org, p_scope, p_scope_id);
  return concat_ws(', ', v_life, v_unfrozen.id = v_frozen.id, v_unfrozen.frozen_at,
    pg_temp.ask(p_arguments));
end
$$;
select is(
  pg_temp.life(scope, scope_id, arguments), 'total, denied frozen it, granted, t, granted',
  'a frozen ' || scope || ' spends nothing, others do, and then it does again'
)
from scopes;
select results_eq(
  $$select count(*) from scene inner join metering.budgets as b on b.organization_id = org
    where b.limit_usd is not null$$,
  $$values (0::bigint)$$, 'where there was no limit there is none'
);
select results_eq(
  $$select b.settled_usd, b.held_usd from scene inner join metering.budget_status as b
      on b.organization_id = org and b.scope_id = 'key'$$,
  $$values (0.0, 0.1)$$, 'the budget it made counts'
);
select ok(not check_workflow_cost_limit(workflow, 0, 5), 'the check of a frozen workflow says no')
from scene, metering.freeze(org, 'workflow', workflow::text);
select ok(not estimate_workflow_cost_limit(workflow, 0), 'and so does its estimate') from scene;
select ok(check_organization_monthly_quota(org), 'the quota asks about the organization')
from scene;
select b.id from scene, metering.unfreeze(org, 'workflow', workflow::text) as b;
select ok(check_workflow_cost_limit(workflow, 0, 5), 'then it says yes') from scene;

select tests.cap(org, 'model', 'm', 'total', 100), tests.cap(org, 'model', 'm', 'day', 100)
from scene;
select results_eq(
  $$select b.id, b.limit_usd::numeric from scene, metering.freeze(org, 'model', 'm') as b$$,
  $$select tests.budget(org, 'model', 'm', 'total'), 100.0 from scene$$,
  'where there is a total it carries the freeze, and keeps its limit'
);
select tests.cap(org, 'model', 'm', 'total', 200) from scene;
select is(
  pg_temp.ask(), 'denied frozen ' || tests.budget(org, 'model', 'm', 'total'),
  'another limit does not end it'
)
from scene;
select b.id from scene, metering.freeze(org, 'tag', 'team=growth') as b;
select is(
  pg_temp.ask(', p_tags => ''{"team": "growth"}'''),
  'denied frozen ' || least(
    tests.budget(org, 'model', 'm', 'total'), tests.budget(org, 'tag', 'team=growth', 'total')
  ),
  'of two that are frozen the first is named'
)
from scene;
select b.id from scene, metering.unfreeze(org, 'model', 'm') as b;

-- What was never frozen ----------------------------------------------------------------------

select throws_ok(
  $$select metering.unfreeze(org, 'model', 'never seen') from scene$$, 'TS404', null,
  'unfreezing what was never frozen is an error'
);
select is(
  tests.budget(org, 'model', 'never seen', 'total'), null, 'and makes nothing'
)
from scene;

-- Refusals -----------------------------------------------------------------------------------

create temp table bravo as
select o.org, tests.workflow(o.org) as workflow
from (select tests.organization('Bravo') as org) as o;
select throws_ok(
  format('select metering.%s(%s) from scene, bravo', f.name, v.arguments), v.code, null,
  f.name || ': ' || v.description
)
from (
  values
  ('null', '22023', 'no organization'),
  ('scene.org, null', '22023', 'no scope'),
  ($$scene.org, 'planet', 'x'$$, '22023', 'a scope nobody knows'),
  ($$scene.org, 'model'$$, '22023', 'a model without a name'),
  ($$scene.org, 'user', 'x'$$, '22023', 'a user with an id that is none'),
  ($$scene.org, 'organization', bravo.org::text$$, '22023', 'an organization by the id of another'),
  ($$scene.org, 'workflow', bravo.workflow::text$$, 'TS404', 'a workflow of another organization'),
  ($$gen_random_uuid()$$, 'TS404', 'an unknown organization')
) as v (arguments, code, description)
cross join (values ('freeze'), ('unfreeze')) as f (name);
select is_empty(
  $$select from bravo inner join metering.budgets as b on b.organization_id = bravo.org
    where b.frozen_at is not null$$,
  'what is refused freezes nothing'
);

select is_empty($$select * from audit.verify_integrity()$$, 'the books agree');
select * from finish();
rollback;
