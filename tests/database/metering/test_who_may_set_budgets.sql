-- Who may set, change, remove, freeze and unfreeze, and whose: as real roles.
begin;
select plan(17);

grant app_user, tallystick_reader, tallystick_writer to current_user;
create temp table scene as
select o.org, tests.cap(o.org, 'model', 'm', 'day', 10) as budget
from (select tests.organization('Acme') as org) as o;
create temp table people as
select r.role as name, tests.member(org, r.role) as id
from scene, (values ('owner'), ('admin'), ('finance'), ('member'), ('viewer')) as r (role)
union all
select 'stranger', tests.member(tests.organization('Bravo'), 'owner')
union all
select 'nobody', gen_random_uuid();

-- What a statement ends with for a role or a person; nothing is kept.
create function pg_temp.outcome(p_who text, p_statement text)
returns text
language plpgsql
as $$
declare
  v_statement text;
  v_person uuid := (select id from people where name = p_who);
begin
  select
    replace(replace(p_statement, '{org}', quote_literal(org)), '{budget}', quote_literal(budget))
  into v_statement
  from scene;
  perform tests.act_as(case when v_person is null then p_who else 'authenticated' end, v_person);
  execute v_statement;
  raise exception using errcode = 'UNDOO';
exception
  when sqlstate 'UNDOO' then return 'done';
  when others then return sqlstate;
end
$$;
create temp table matrix as
select f.statement, a.who, case when a.may then 'done' else '42501' end as outcome
from (
  values
  ('owner', true), ('admin', true), ('finance', false), ('member', false), ('viewer', false),
  ('stranger', false), ('nobody', false), ('anon', false), ('service_role', true),
  ('app_user', false), ('tallystick_writer', false), ('tallystick_reader', false)
) as a (who, may)
cross join (
  values
  ('select metering.set_budget({org}, ''organization'', null, ''month'', 1)'),
  ('select metering.set_budget({org}, ''model'', ''m'', ''day'', 0, ''soft'', 4)'),
  ('select metering.change_budget({org}, {budget}, ''model'', ''n'', ''week'', 2)'),
  ('select metering.remove_budget({org}, ''model'', ''m'', ''day'')'),
  ('select metering.freeze({org})'),
  ('select metering.freeze({org}, ''model'', ''m'')'),
  ('select metering.unfreeze({org})')
) as f (statement);
select set_eq(
  'select statement, who, pg_temp.outcome(who, statement) from matrix', 'table matrix',
  'owners, admins and the service role, and nobody else'
);
-- Not even to find out what there is.
select is(
  pg_temp.outcome('stranger', v.statement), '42501', 'a stranger is refused before: ' || v.statement
)
from (
  values
  ('select metering.set_budget({org}, ''planet'', ''x'', ''year'', -1)'),
  ('select metering.change_budget({org}, gen_random_uuid())'),
  ('select metering.remove_budget({org}, ''model'', ''unknown'', ''day'')'),
  ('select metering.unfreeze({org}, ''workflow'', gen_random_uuid()::text)')
) as v (statement);
select is(
  pg_temp.outcome(who, statement), '42501', who || ' does not write by hand: ' || statement
)
from (values ('owner'), ('service_role'), ('app_user')) as w (who),
  (
    values ('update metering.budgets set limit_usd = null'), ('delete from metering.budgets'),
    ('update metering.budget_slots set settled_usd = 0'), ('delete from metering.budget_slots')
  ) as s (statement);

select * from finish();
rollback;
