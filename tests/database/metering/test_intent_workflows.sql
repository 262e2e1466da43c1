begin;
select plan(27);

insert into tenancy.organizations (id, name) values
('a0000000-0000-4000-8000-000000000000', 'Acme'),
('b0000000-0000-4000-8000-000000000000', 'Bravo');

-- Like a table.
select results_eq(
  $$insert into intent_workflows (organization_id) values ('a0000000-0000-4000-8000-000000000000')
    returning id is not null, workflow_data, created_at is not null, updated_at is not null$$,
  $$values (true, '{"total_ai_cost": 0}'::jsonb, true, true)$$,
  'the minimal insert works and returns every column'
);
select results_eq(
  $$insert into intent_workflows (id, organization_id, workflow_data) values (
      'a0000000-0000-4000-8000-000000000001', 'a0000000-0000-4000-8000-000000000000',
      '{"step": 1, "total_ai_cost": 99}')
    returning id, workflow_data$$,
  $$values (
      'a0000000-0000-4000-8000-000000000001'::uuid, '{"step": 1, "total_ai_cost": 0}'::jsonb)$$,
  'a stated total is dropped'
);
select tests.spend('a0000000-0000-4000-8000-000000000001', 0.25);
select results_eq(
  $$update intent_workflows set workflow_data = '{"step": 2, "total_ai_cost": 0}'
    where id = 'a0000000-0000-4000-8000-000000000001' returning workflow_data$$,
  $$values ('{"step": 2, "total_ai_cost": 0.25}'::jsonb)$$,
  'writing the document cannot erase what was spent'
);
create temp table held as
select d.hold_id as id from authorize_spend(
  'a0000000-0000-4000-8000-000000000000', 'm', 5,
  p_workflow_id => 'a0000000-0000-4000-8000-000000000001'
) as d;
select is(
  (select workflow_data ->> 'total_ai_cost' from intent_workflows
   where id = 'a0000000-0000-4000-8000-000000000001'),
  '0.25', 'the total is what was spent: what is held is not'
);
select h.id from held, release_spend(held.id) as h;
select is(
  (select jsonb_typeof(workflow_data -> 'total_ai_cost') from intent_workflows
   where id = 'a0000000-0000-4000-8000-000000000001'),
  'number', 'the total is a JSON number'
);
select results_eq(
  $$update intent_workflows set workflow_data = workflow_data || '{"note": "x"}'
    where (workflow_data ->> 'total_ai_cost')::numeric >= 0.25 returning workflow_data$$,
  $$values ('{"note": "x", "step": 2, "total_ai_cost": 0.25}'::jsonb)$$,
  'and can be read, filtered and written back'
);
select is(
  (select workflow_data from metering.workflows where id = 'a0000000-0000-4000-8000-000000000001'),
  '{"note": "x", "step": 2}'::jsonb, 'it is never stored'
);
select throws_ok(
  $$insert into metering.workflows (organization_id, workflow_data)
    values ('a0000000-0000-4000-8000-000000000000', '{"total_ai_cost": 1}')$$,
  '23514', null, 'not even by writing the table'
);
select throws_ok(
  $$insert into intent_workflows (organization_id, workflow_data)
    values ('a0000000-0000-4000-8000-000000000000', '[]')$$,
  '23514', null, 'the document is an object'
);
select throws_ok(
  $$insert into intent_workflows (organization_id, workflow_data)
    values ('a0000000-0000-4000-8000-000000000000', null)$$,
  '23502', null, 'and is present'
);
select throws_ok(
  $$insert into intent_workflows (organization_id)
    values ('c0000000-0000-4000-8000-000000000000')$$,
  '23503', null, 'its organization exists'
);
select throws_ok(
  $$update intent_workflows set organization_id = 'b0000000-0000-4000-8000-000000000000'
    where id = 'a0000000-0000-4000-8000-000000000001'$$,
  '22023', null, 'a workflow does not move to another organization'
);
select throws_ok(
  $$update intent_workflows set id = 'a0000000-0000-4000-8000-000000000009'
    where id = 'a0000000-0000-4000-8000-000000000001'$$,
  '22023', null, 'nor change its id'
);
select throws_ok(
  $$insert into metering.workflows (organization_id, id) values (
      'b0000000-0000-4000-8000-000000000000', 'a0000000-0000-4000-8000-000000000001')$$,
  '23505', null, 'an id is taken once, whichever organization asks'
);

-- Upsert.
select results_eq(
  $$select id, workflow_data from upsert_intent_workflow(
      'a0000000-0000-4000-8000-000000000002', 'a0000000-0000-4000-8000-000000000000', '{"v": 1}')$$,
  $$values (
      'a0000000-0000-4000-8000-000000000002'::uuid, '{"v": 1, "total_ai_cost": 0}'::jsonb)$$,
  'upsert opens a workflow'
);
select results_eq(
  $$select workflow_data from upsert_intent_workflow(
      'a0000000-0000-4000-8000-000000000001', 'a0000000-0000-4000-8000-000000000000',
      '{"v": 2, "total_ai_cost": 0}')$$,
  $$values ('{"v": 2, "total_ai_cost": 0.25}'::jsonb)$$,
  'upsert replaces the document and keeps the total'
);
select throws_ok(
  $$select upsert_intent_workflow(null, 'a0000000-0000-4000-8000-000000000000', '{}')$$,
  '22023', null, 'upsert needs an id'
);
select throws_ok(
  $$select upsert_intent_workflow(
      'a0000000-0000-4000-8000-000000000003', 'a0000000-0000-4000-8000-000000000000', null)$$,
  '22023', null, 'upsert needs a document'
);
select throws_ok(
  $$select upsert_intent_workflow(
      'a0000000-0000-4000-8000-000000000003', 'c0000000-0000-4000-8000-000000000000', '{}')$$,
  'TS404', null, 'upsert needs an organization'
);

-- As people.
create temp table people as
select
  r.role,
  tests.member('a0000000-0000-4000-8000-000000000000', r.role) as user_id
from (values ('member'), ('viewer')) as r (role)
union all
select 'stranger', tests.member('b0000000-0000-4000-8000-000000000000', 'owner');
create function pg_temp.as_person(p_role text) returns void language sql as $$
  select tests.act_as('authenticated', (select user_id from people where role = p_role));
$$;

select pg_temp.as_person('member');
select lives_ok(
  $$insert into public.intent_workflows (organization_id, workflow_data)
    values ('a0000000-0000-4000-8000-000000000000', '{"by": "member"}')$$,
  'a member opens workflows'
);
select lives_ok(
  $$update public.intent_workflows set workflow_data = '{}'
    where id = 'a0000000-0000-4000-8000-000000000001'$$,
  'and edits them'
);
reset role;
select pg_temp.as_person('viewer');
select isnt_empty(
  $$select from public.intent_workflows where id = 'a0000000-0000-4000-8000-000000000001'$$,
  'a viewer reads workflows'
);
select throws_ok(
  $$update public.intent_workflows set workflow_data = '{"by": "viewer"}'
    where id = 'a0000000-0000-4000-8000-000000000001'$$,
  '42501', null, 'but does not edit them'
);
select throws_ok(
  $$select public.upsert_intent_workflow(
      'a0000000-0000-4000-8000-000000000001', 'a0000000-0000-4000-8000-000000000000', '{}')$$,
  '42501', null, 'whichever way'
);
reset role;
select pg_temp.as_person('stranger');
select is_empty(
  $$select from public.intent_workflows
    where organization_id = 'a0000000-0000-4000-8000-000000000000'$$,
  'a stranger sees nothing'
);
select throws_ok(
  $$insert into public.intent_workflows (organization_id)
    values ('a0000000-0000-4000-8000-000000000000')$$,
  '42501', null, 'and opens nothing there'
);
reset role;
select throws_ok(
  $$delete from public.intent_workflows$$, '23001', null, 'not even the owner deletes a workflow'
);

select * from finish();
rollback;
