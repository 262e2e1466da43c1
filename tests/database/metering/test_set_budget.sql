begin;
select plan(34);

insert into tenancy.organizations (id, name) values
('a0000000-0000-4000-8000-000000000000', 'Acme'),
('b0000000-0000-4000-8000-000000000000', 'Bravo');
insert into metering.workflows (organization_id, id) values
('a0000000-0000-4000-8000-000000000000', 'a0000000-0000-4000-8000-000000000001'),
('b0000000-0000-4000-8000-000000000000', 'b0000000-0000-4000-8000-000000000001');
select tests.freeze_clock('2026-03-10 12:00:00+00');

create function pg_temp.figures(p_scope text)
returns table (limit_usd numeric, settled numeric, available numeric, debt numeric)
language sql as $$
  select b.limit_usd, s.settled_usd, s.available_usd, s.debt_usd
  from metering.budgets as b
  inner join metering.budget_slots as s on s.budget_id = b.id
  where b.organization_id = 'a0000000-0000-4000-8000-000000000000'
    and b.scope = p_scope
    and b.id <> b.organization_id
$$;

-- Born with an organization and with a workflow.
select results_eq(
  $$select scope, scope_id, time_window, limit_usd, enforcement, slot_count from metering.budgets
    where organization_id = 'a0000000-0000-4000-8000-000000000000' order by scope$$,
  $$values
    ('organization', '', 'total', null::numeric, 'hard', 1::smallint),
    ('workflow', 'a0000000-0000-4000-8000-000000000001', 'total', null, 'hard', 1::smallint)$$,
  'an organization and a workflow each have a budget without a limit from birth'
);

-- A workflow's cap.
select results_eq(
  $$select scope, scope_id, time_window, limit_usd from metering.set_budget(
      'a0000000-0000-4000-8000-000000000000', 'workflow',
      'A0000000-0000-4000-8000-000000000001', 'total', 1.5)$$,
  $$values ('workflow', 'a0000000-0000-4000-8000-000000000001', 'total', 1.5)$$,
  'a workflow''s cap is stored, however its id is written'
);
select results_eq($$select * from pg_temp.figures('workflow')$$,
  $$values (1.5, 0::numeric, 1.5, 0::numeric)$$, 'all of it is available');
select tests.spend('a0000000-0000-4000-8000-000000000001', 1);
select results_eq($$select * from pg_temp.figures('workflow')$$,
  $$values (1.5, 1::numeric, 0.5, 0::numeric)$$, 'spend lowers what is available');
select id from metering.set_budget('a0000000-0000-4000-8000-000000000000', 'workflow',
  'a0000000-0000-4000-8000-000000000001', 'total', 0.4);
select results_eq($$select * from pg_temp.figures('workflow')$$,
  $$values (0.4, 1::numeric, 0::numeric, 0.6)$$, 'a cap below what is spent leaves a debt');
select id from metering.set_budget('a0000000-0000-4000-8000-000000000000', 'workflow',
  'a0000000-0000-4000-8000-000000000001', 'total', 4);
select id from metering.set_budget('a0000000-0000-4000-8000-000000000000', 'workflow',
  'a0000000-0000-4000-8000-000000000001', 'total', 4);
select results_eq($$select * from pg_temp.figures('workflow')$$,
  $$values (4::numeric, 1::numeric, 3::numeric, 0::numeric)$$,
  'a higher one settles it, and said twice is said once');
select id from metering.remove_budget('a0000000-0000-4000-8000-000000000000', 'workflow',
  'a0000000-0000-4000-8000-000000000001', 'total');
select results_eq($$select * from pg_temp.figures('workflow')$$,
  $$values (null::numeric, 1::numeric, null::numeric, 0::numeric)$$,
  'a removed cap leaves the count');

-- The organization's month: what it has spent already counts.
select results_eq(
  $$select scope, scope_id, time_window, limit_usd from metering.set_budget(
      'a0000000-0000-4000-8000-000000000000', 'organization', null, 'month', 10)$$,
  $$values ('organization', '', 'month', 10::numeric)$$, 'the month''s cap is stored'
);
select results_eq($$select * from pg_temp.figures('organization')$$,
  $$values (10::numeric, 1::numeric, 9::numeric, 0::numeric)$$,
  'and opens with what the month has spent');
select id from metering.set_budget('a0000000-0000-4000-8000-000000000000', 'organization',
  'a0000000-0000-4000-8000-000000000000', 'month', 0.25);
select results_eq($$select * from pg_temp.figures('organization')$$,
  $$values (0.25, 1::numeric, 0::numeric, 0.75)$$,
  'the organization''s own id names it as well');
select tests.freeze_clock('2026-05-01 00:00:00+00');
select id from metering.remove_budget(
  'b0000000-0000-4000-8000-000000000000', 'organization', null, 'month');
select is_empty(
  $$select limit_usd from metering.budgets where time_window = 'month'
    and organization_id = 'b0000000-0000-4000-8000-000000000000' and limit_usd is not null$$,
  'removing a cap that was never stored stores none'
);
select is_empty($$select * from audit.verify_integrity()$$, 'the books agree');

-- Refusals.
create function pg_temp.refused(p_arguments text, p_code text, p_description text)
returns text language sql as $$
  select extensions.throws_ok(
    'select metering.set_budget(' || p_arguments || ')', p_code, null, p_description
  )
$$;
select pg_temp.refused($$null, 'organization', null, 'month', 1$$, '22023', 'no organization');
select pg_temp.refused($$'a0000000-0000-4000-8000-000000000000', 'organization', null, 'month', null$$,
  '22023', 'no limit');
select pg_temp.refused($$'a0000000-0000-4000-8000-000000000000', 'organization', null, 'month', 'NaN'$$,
  '22023', 'a limit of NaN');
select pg_temp.refused($$'a0000000-0000-4000-8000-000000000000', 'organization', null, 'month', -1$$,
  '22023', 'a negative limit');
select pg_temp.refused(
  $$'a0000000-0000-4000-8000-000000000000', 'organization', null, 'month', 0.0000000000001$$,
  '22023', 'a limit with 13 decimals');
select pg_temp.refused($$'a0000000-0000-4000-8000-000000000000', 'organization', null, 'total', 1$$,
  '22023', 'a window that is not offered');
select pg_temp.refused($$'a0000000-0000-4000-8000-000000000000', 'planet', null, 'month', 1$$,
  '22023', 'a scope that is not offered');
select pg_temp.refused($$'a0000000-0000-4000-8000-000000000000', null, null, null, 1$$,
  '22023', 'no scope');
select pg_temp.refused($$'a0000000-0000-4000-8000-000000000000', 'organization', 'x', 'month', 1$$,
  '22023', 'an organization by another id');
select pg_temp.refused($$'a0000000-0000-4000-8000-000000000000', 'workflow', null, 'total', 1$$,
  '22023', 'a workflow without an id');
select pg_temp.refused($$'a0000000-0000-4000-8000-000000000000', 'workflow', 'x', 'total', 1$$,
  '22023', 'a workflow with a malformed id');
select pg_temp.refused(
  $$'a0000000-0000-4000-8000-000000000000', 'organization', null, 'month', 1, 'soft'$$,
  '22023', 'an enforcement that is not offered');
select pg_temp.refused(
  $$'a0000000-0000-4000-8000-000000000000', 'organization', null, 'month', 1, null$$,
  '22023', 'no enforcement');
select pg_temp.refused(
  $$'a0000000-0000-4000-8000-000000000000', 'organization', null, 'month', 1, 'hard', 2$$,
  '22023', 'a number of slots that is not offered');
select pg_temp.refused(
  $$'a0000000-0000-4000-8000-000000000000', 'workflow',
    'b0000000-0000-4000-8000-000000000001', 'total', 1$$,
  'TS404', 'a workflow of another organization');
select pg_temp.refused($$'c0000000-0000-4000-8000-000000000000', 'organization', null, 'month', 1$$,
  'TS404', 'an unknown organization');

-- Who may.
create temp table people as
select
  r.role,
  tests.member('a0000000-0000-4000-8000-000000000000', r.role) as user_id
from (values ('owner'), ('admin'), ('finance'), ('member'), ('viewer')) as r (role);
create function pg_temp.as_role(p_role text) returns void language sql as $$
  select tests.act_as('authenticated', (select user_id from people where role = p_role));
$$;
select pg_temp.as_role('owner');
select lives_ok(
  $$select metering.set_budget(
      'a0000000-0000-4000-8000-000000000000', 'organization', null, 'month', 11)$$,
  'an owner may');
reset role;
select pg_temp.as_role('admin');
select lives_ok(
  $$select metering.set_budget(
      'a0000000-0000-4000-8000-000000000000', 'organization', null, 'month', 12)$$,
  'an admin may');
select throws_ok(
  $$select metering.set_budget(
      'b0000000-0000-4000-8000-000000000000', 'organization', null, 'month', 12)$$,
  '42501', null, 'but not for another organization');
reset role;
select pg_temp.as_role('finance');
select throws_ok(
  $$select metering.set_budget(
      'a0000000-0000-4000-8000-000000000000', 'organization', null, 'month', 13)$$,
  '42501', null, 'finance may not');
reset role;
select pg_temp.as_role('member');
select throws_ok(
  $$select metering.remove_budget(
      'a0000000-0000-4000-8000-000000000000', 'organization', null, 'month')$$,
  '42501', null, 'a member may not remove one');
reset role;
select is(
  (select limit_usd from metering.budgets
   where organization_id = 'a0000000-0000-4000-8000-000000000000' and time_window = 'month'),
  12::numeric, 'what was refused changed nothing'
);

select * from finish();
rollback;
