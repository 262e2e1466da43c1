-- A partition inherits neither row-level security nor statement triggers, and where the server's
-- default privileges are generous it is born open to anon. So each one is looked at: those of
-- today, one made for a far month, one made by recording in a month nobody prepared.
begin;
select plan(31);

-- As generous as a server can be, and in the schema of the partitions as well.
alter default privileges in schema public
grant all on tables to anon, authenticated, service_role, app_user, tallystick_reader,
tallystick_writer;
alter default privileges in schema private
grant all on tables to public, anon, authenticated, service_role, app_user, tallystick_reader,
tallystick_writer;
alter default privileges
grant all on tables to public, anon, authenticated, service_role, app_user, tallystick_reader,
tallystick_writer;
grant app_user, tallystick_reader, tallystick_writer to current_user;

create temporary table scene as
select org, tests.member(org, 'owner') as person, tests.workflow(org) as workflow, other
from (select tests.organization('Home') as org, tests.organization('Away') as other) as o;

-- The partitions -----------------------------------------------------------------------------

select tests.spend(workflow, 1) from scene;

select is(
  private.create_partition('public.ai_usage_ledger', '2041-05-17'),
  'private.ai_usage_ledger_2041_05',
  'the partition of a far month is made'
);
select is(
  private.create_partition('public.ai_usage_ledger', '2041-05-01'),
  'private.ai_usage_ledger_2041_05',
  'making it again changes nothing'
);
select is(to_regclass('private.ai_usage_ledger_2043_11'), null, 'nobody prepared November 2043');
select tests.freeze_clock('2043-11-15 12:00:00+00');
select lives_ok(
  $$select tests.spend(workflow, 2) from scene$$, 'spend in a month nobody prepared is recorded'
);
select isnt(
  to_regclass('private.ai_usage_ledger_2043_11'), null, 'which makes the partition of that month'
);
select is(
  (select sum(cost) from private.ai_usage_ledger_2043_11), 2.0, 'and the row goes there'
);

select throws_ok(
  $$select private.create_partition('tenancy.ventures', '2041-05-01')$$, '22023', null,
  'only a registered ledger gets partitions'
);

create temporary view partitions as
select c.*, n.nspname as room, format('%I.%I', n.nspname, c.relname) as name
from pg_inherits as i
inner join pg_class as c on c.oid = i.inhrelid
inner join pg_namespace as n on n.oid = c.relnamespace
where i.inhparent = 'public.ai_usage_ledger'::regclass;

select set_has(
  'select name from partitions',
  $$
    select 'private.ai_usage_ledger_' || to_char(month, 'YYYY_MM')
    from generate_series(
      date_trunc('month', now() at time zone 'UTC'),
      date_trunc('month', now() at time zone 'UTC') + interval '24 months', '1 month'
    ) as month
    union all
    values ('private.ai_usage_ledger_2041_05'), ('private.ai_usage_ledger_2043_11')
  $$,
  'this month, the next 24 and the two above are there'
);

-- What each of them is -----------------------------------------------------------------------

select is_empty(
  $$select name from partitions where room <> 'private'$$, 'every partition is in private'
);

select is_empty(
  $$select name, relacl from partitions where relacl is null
    or exists (select from aclexplode(relacl) as a where a.grantee <> relowner)$$,
  'nobody but the owner holds a right on one'
);

select is_empty(
  $$select p.name, a.attname
    from partitions as p inner join pg_attribute as a on a.attrelid = p.oid
    where a.attacl is not null$$,
  'nor on a column of one'
);

select is_empty(
  $$select name from partitions where not relrowsecurity$$,
  'every partition has row-level security'
);

select set_eq(
  $$
    select
      p.name, y.polname::text, y.polpermissive, y.polcmd::text, y.polroles,
      pg_get_expr(y.polqual, y.polrelid) as visible,
      pg_get_expr(y.polwithcheck, y.polrelid) as writable
    from partitions as p
    left join pg_policy as y on y.polrelid = p.oid
  $$,
  $$
    select
      name, 'nobody' as policy, true as permissive, '*' as command, array[0]::oid [] as roles,
      'false' as visible, null as writable
    from partitions
  $$,
  'with the single policy that lets nobody pass'
);

select set_eq(
  $$
    select p.name, t.tgtype & 63 as type, t.tgenabled::text, t.tgfoid::regproc::text
    from partitions as p
    left join pg_trigger as t on t.tgrelid = p.oid
  $$,
  $$
    -- bits: 1 row, 2 before, 8 delete, 16 update, 32 truncate
    select name, guard.type, 'O' as enabled, 'private.reject_mutation' as calls
    from partitions
    cross join (values (1 | 2 | 8 | 16), (2 | 32)) as guard (type)
  $$,
  'and both guards, which are switched on'
);

-- What they do -------------------------------------------------------------------------------

create temporary table doors (name text, month text);
insert into doors
values
(private.partition_name('public.ai_usage_ledger', now()), 'this month'),
('private.ai_usage_ledger_2041_05', 'a far month'),
('private.ai_usage_ledger_2043_11', 'a month made by recording');

select throws_ok('truncate ' || name, '23001', null, 'not even the owner truncates ' || month)
from doors;

select throws_ok(statement, '23001', null, 'not even the owner can: ' || statement)
from (
  values
  ('update private.ai_usage_ledger_2043_11 set cost = 0'),
  ('delete from private.ai_usage_ledger_2043_11'),
  ('delete from only private.ai_usage_ledger_2043_11')
) as forbidden (statement);

-- Runs a statement as a role that acts for a person; the number of rows, or the SQLSTATE.
create function pg_temp.outcome(p_role text, p_person uuid, p_statement text)
returns text
language plpgsql
as $$
declare
  v_rows bigint;
begin
  perform tests.act_as(p_role, p_person);
  execute p_statement;
  get diagnostics v_rows = row_count;
  raise exception using errcode = 'UNDOO';
exception
  when sqlstate 'UNDOO' then return v_rows::text;
  when others then return sqlstate;
end
$$;

create temporary table roles (role text, sees bigint);
insert into roles
select r.role, r.sees
from (
  values ('anon', null), ('authenticated', 2), ('service_role', 2), ('app_user', 2),
  ('tallystick_reader', 2), ('tallystick_writer', 2)
) as r (role, sees);

select is_empty(
  $$
    select *
    from (
      select
        r.role,
        format(a.statement, p.name) as statement,
        pg_temp.outcome(r.role, s.person, format(a.statement, p.name)) as outcome
      from partitions as p
      cross join roles as r
      cross join scene as s
      cross join (
        values
        ('select from %s'), ('select count(*) from %s'), ('table %s'), ('select from only %s'),
        ('insert into %s default values'), ('update %s set cost = 0'), ('delete from %s'),
        ('truncate %s'), ('lock table %s in access share mode')
      ) as a (statement)
    ) as tried
    where outcome <> '42501'
  $$,
  'by name every partition is refused to every API role, whatever it asks'
);

select is(
  pg_temp.outcome('authenticated', s.person, 'select from private.ai_usage_ledger_2043_11'),
  '42501',
  'not even an owner of the organization reads its own rows by name'
)
from scene as s;

select is(
  pg_temp.outcome(r.role, s.person, 'select from public.ai_usage_ledger'),
  coalesce(r.sees::text, '42501'),
  'through the parent ' || r.role || ' sees what its policies say'
)
from roles as r
cross join scene as s;

select is(
  pg_temp.outcome(
    'authenticated', tests.member(s.other, 'owner'), 'select from public.ai_usage_ledger'
  ),
  '0',
  'through the parent a stranger sees nothing'
)
from scene as s;

-- Were a right granted by mistake, the policy still lets nobody see a row or add one.
grant select, insert on private.ai_usage_ledger_2043_11 to authenticated, app_user;
select is(
  pg_temp.outcome('authenticated', s.person, 'select from private.ai_usage_ledger_2043_11'), '0',
  'a right granted by mistake shows no row'
)
from scene as s;
select is(
  pg_temp.outcome('app_user', null,
    'insert into private.ai_usage_ledger_2043_11 select * from public.ai_usage_ledger limit 1'),
  '42501',
  'and adds none'
);

select * from finish();
rollback;
