begin;
select plan(23);

insert into tenancy.organizations (id, name) values
('a0000000-0000-4000-8000-000000000000', 'Acme'),
('b0000000-0000-4000-8000-000000000000', 'Bravo');
create temp table people as
select
  r.role,
  tests.member('a0000000-0000-4000-8000-000000000000', r.role) as user_id
from (values ('owner'), ('admin'), ('finance'), ('member'), ('viewer')) as r (role)
union all
select 'stranger', tests.member('b0000000-0000-4000-8000-000000000000', 'owner');
grant select on people to public;
create function pg_temp.as_person(p_role text) returns void language sql as $$
  select tests.act_as('authenticated', (select user_id from people where role = p_role));
$$;
create function pg_temp.is_refused(p_statement text) returns boolean language plpgsql as $$
declare
  v_rows bigint;
begin
  execute p_statement;
  get diagnostics v_rows = row_count;
  return v_rows = 0;
exception when insufficient_privilege then
  return true;
end
$$;

-- Reading.
select pg_temp.as_person('viewer');
select is((select count(*) from tenancy.memberships), 5::bigint, 'a viewer sees all members');
select is((select array_agg(name) from tenancy.organizations), array['Acme'],
  'and only their own organization');
select is(private.member_organization_ids(), array['a0000000-0000-4000-8000-000000000000'::uuid],
  'the predicate agrees');
select is(private.member_organization_ids(array['owner']), '{}'::uuid[],
  'and knows the role');
reset role;
select tests.act_as('authenticated', gen_random_uuid());
select is_empty($$select * from tenancy.organizations$$, 'a stranger to all sees nothing');
reset role;

-- Managing.
select pg_temp.as_person('admin');
select lives_ok(
  $$insert into tenancy.memberships (organization_id, user_id, role) values
    ('a0000000-0000-4000-8000-000000000000', 'e0000000-0000-4000-8000-000000000001', 'admin')$$,
  'an admin adds members');
select ok(pg_temp.is_refused(
  $$insert into tenancy.memberships (organization_id, user_id, role) values
    ('a0000000-0000-4000-8000-000000000000', 'e0000000-0000-4000-8000-000000000002', 'owner')$$),
  'but no owners');
select ok(pg_temp.is_refused(
  $$update tenancy.memberships set role = 'owner' where role = 'viewer'$$),
  'makes nobody an owner');
select ok(pg_temp.is_refused(
  $$update tenancy.memberships set role = 'viewer' where role = 'owner'$$),
  'demotes no owner');
select ok(pg_temp.is_refused($$delete from tenancy.memberships where role = 'owner'$$),
  'removes no owner');
select ok(not pg_temp.is_refused(
  $$delete from tenancy.memberships where user_id = 'e0000000-0000-4000-8000-000000000001'$$),
  'but others');
select ok(pg_temp.is_refused(
  $$insert into tenancy.memberships (organization_id, user_id) values
    ('b0000000-0000-4000-8000-000000000000', 'e0000000-0000-4000-8000-000000000001')$$),
  'and adds nobody to another organization');
reset role;
select pg_temp.as_person('member');
select ok(pg_temp.is_refused(
  $$insert into tenancy.memberships (organization_id, user_id) values
    ('a0000000-0000-4000-8000-000000000000', 'e0000000-0000-4000-8000-000000000001')$$),
  'a member adds nobody');
select ok(pg_temp.is_refused(
  $$update tenancy.memberships set role = 'admin' where role = 'member'$$),
  'and promotes nobody');
select ok(not pg_temp.is_refused($$delete from tenancy.memberships where role = 'member'$$),
  'but may leave');
reset role;
select pg_temp.as_person('owner');
select throws_ok($$delete from tenancy.memberships where role = 'owner'$$, '23001', null,
  'the last owner does not leave');
select throws_ok($$update tenancy.memberships set role = 'viewer' where role = 'owner'$$,
  '23001', null, 'nor step down');
select ok(not pg_temp.is_refused(
  $$update tenancy.memberships set role = 'owner' where role = 'admin'$$),
  'an owner makes another one');
select lives_ok(
  $$delete from tenancy.memberships where user_id = (select user_id from people
    where role = 'owner')$$,
  'and may then leave');
reset role;

-- Profiles and ventures.
select pg_temp.as_person('finance');
select lives_ok(
  $$insert into tenancy.profiles (user_id, display_name)
    select user_id, 'Fin' from people where role = 'finance'$$, 'a profile of one''s own');
select throws_ok(
  $$insert into tenancy.profiles (user_id, display_name)
    select user_id, 'Mallory' from people where role = 'viewer'$$, '42501', null,
  'but not somebody else''s');
reset role;
select pg_temp.as_person('stranger');
select is_empty($$select * from tenancy.profiles$$,
  'a profile is shown to those who share an organization');
reset role;
select pg_temp.as_person('viewer');
select results_eq($$select display_name from tenancy.profiles$$, $$values ('Fin')$$,
  'to all of them');
reset role;

select * from finish();
rollback;
