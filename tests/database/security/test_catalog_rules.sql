-- Rules for every object of ours, read from the catalog. A rule is a view that lists what breaks
-- it; the second half of the file breaks each rule once, so that none of them is blind.
begin;
select plan(54);

-- What is ours -------------------------------------------------------------------------------

create temporary view rooms as
select
  n.oid,
  n.nspname as room,
  n.nspname <> 'private' as is_exposed
from pg_namespace as n
where n.nspname = 'public' or obj_description(n.oid, 'pg_namespace') like 'Tallystick%';

create temporary view functions as
select
  p.*,
  r.room,
  r.is_exposed,
  r.room || '.' || p.proname as name
from pg_proc as p
inner join rooms as r on r.oid = p.pronamespace
where not exists (
  select from pg_depend as d
  where d.classid = 'pg_proc'::regclass and d.objid = p.oid and d.deptype = 'e'
);

create temporary view relations as
select
  c.*,
  r.room,
  r.is_exposed,
  r.room || '.' || c.relname as name
from pg_class as c
inner join rooms as r on r.oid = c.relnamespace
where c.relkind in ('r', 'p', 'v', 'm', 'f', 'S', 'c') and not exists (
  select from pg_depend as d
  where d.classid = 'pg_class'::regclass and d.objid = c.oid and d.deptype = 'e'
);

create temporary view tables as
select * from relations where relkind in ('r', 'p', 'f');

create temporary view columns as
select
  a.attrelid,
  a.attnum,
  a.attname,
  a.atttypid,
  a.atttypmod,
  case when t.typtype = 'd' then t.typbasetype else a.atttypid end as base_type,
  c.name || '.' || a.attname as name,
  c.is_exposed,
  c.relkind,
  c.relispartition
from pg_attribute as a
inner join relations as c on c.oid = a.attrelid
inner join pg_type as t on t.oid = a.atttypid
where a.attnum > 0 and not a.attisdropped;

create temporary view domains as
select t.*, r.room || '.' || t.typname as name
from pg_type as t
inner join rooms as r on r.oid = t.typnamespace
where t.typtype = 'd';

create temporary table api_roles (role name);
insert into api_roles values
('anon'), ('authenticated'), ('service_role'),
('app_user'), ('tallystick_reader'), ('tallystick_writer');

-- The rules ----------------------------------------------------------------------------------

-- Temporary schemas are searched for types even where the path is empty, and then before all
-- others; pg_temp is named last so that no caller can put a type of their own into our functions.
create temporary view unpinned_function as
select name from functions
where proconfig is null or not 'search_path=pg_catalog, pg_temp' = any(proconfig);

-- What may scan no table in sequence pays the planner's fine where there is no other way, and looks
-- dear enough by it to be compiled: 20 ms of work to read one row.
create temporary view compiled_function as
select name from functions
where 'enable_seqscan=off' = any(proconfig) and not 'jit=off' = any(proconfig);

create temporary view unexplained_function as
select name from functions where obj_description(oid, 'pg_proc') is null;

create temporary view unexplained_relation as
select name from relations
where obj_description(oid, 'pg_class') is null
  and not exists ( -- a composite type is commented on as a type
    select from pg_type as t
    where t.typrelid = relations.oid and obj_description(t.oid, 'pg_type') is not null
  );

create temporary view unexplained_column as
select name from columns
where is_exposed and relkind <> 'S' and col_description(attrelid, attnum) is null;

create temporary view unexplained_domain as
select name from domains where obj_description(oid, 'pg_type') is null;

create temporary view overloaded_function as
select name from functions where is_exposed group by name having count(*) > 1;

create temporary view foreign_language_function as
select f.name from functions as f
inner join pg_language as l on l.oid = f.prolang
where l.lanname not in ('sql', 'plpgsql');

create temporary view unlocked_table as
select name from tables where not relrowsecurity;

create temporary view table_without_policy as
select name from tables
where not exists (select from pg_policy as p where p.polrelid = tables.oid);

create temporary view competing_policies as
select format('%s to %s for %s', t.name, r.role, c.command)
from tables as t
inner join pg_policy as p on p.polrelid = t.oid and p.polpermissive
inner join (values ('r'), ('a'), ('w'), ('d')) as c (command)
  on p.polcmd in ('*', c.command::"char")
inner join api_roles as r
  on 0 = any(p.polroles)
  or exists (
    select from unnest(p.polroles) as target where pg_has_role(r.role, target, 'usage')
  )
group by t.name, r.role, c.command
having count(*) > 1;

create temporary view policy_asking_per_row as
select format('%s on %s', p.polname, t.name)
from tables as t
inner join pg_policy as p on p.polrelid = t.oid
where concat(pg_get_expr(p.polqual, p.polrelid), pg_get_expr(p.polwithcheck, p.polrelid))
  ~ '(?<!SELECT )(auth|private)\.\w+\(';

create temporary view view_with_rights_of_its_owner as
select name from relations
where relkind in ('v', 'm')
  and not coalesce(reloptions && array['security_invoker=true', 'security_invoker=on'], false);

create temporary view sequence_with_meaning as
select name from relations where relkind = 'S';

create temporary view partition_in_the_open as
select name from tables where relispartition and room <> 'private';

create temporary view default_partition as
select partdefid::regclass::text from pg_partitioned_table where partdefid <> 0;

create temporary view references_ as
select
  f.*,
  t.name || '.' || f.conname as name
from pg_constraint as f
inner join tables as t on t.oid = f.conrelid
where f.contype = 'f';

create temporary view cascading_reference as
select name from references_
where confdeltype not in ('a', 'r') or confupdtype not in ('a', 'r');

create temporary view reference_out_of_our_rooms as
select name from references_
where confrelid not in (select t.oid from tables as t);

create temporary view unindexed_reference as
select name from references_
where not exists (
  select from pg_index as i
  where i.indrelid = references_.conrelid
    and i.indisvalid
    and i.indpred is null
    and (i.indkey::int2 [])[0:cardinality(references_.conkey) - 1] = references_.conkey
);

create temporary view reference_across_tenants as
select f.name
from references_ as f
inner join columns as tenant
  on tenant.attrelid = f.confrelid and tenant.attname in ('organization_id', 'org_id')
where tenant.attnum <> f.confkey[1];

create temporary view unique_index_not_led_by_tenant as
select x.relname as index
from pg_index as i
inner join pg_class as x on x.oid = i.indexrelid
inner join tables as t on t.oid = i.indrelid and not t.relispartition
inner join columns as tenant
  on tenant.attrelid = t.oid and tenant.attname in ('organization_id', 'org_id')
where i.indisunique and i.indkey[0] <> tenant.attnum;

create temporary view money_of_another_type as
select name from columns
where relkind in ('r', 'p')
  and base_type in ('numeric'::regtype, 'real'::regtype, 'float8'::regtype, 'money'::regtype)
  and atttypid not in (
    'private.usd'::regtype, 'private.usd_sum'::regtype, 'private.usd_balance'::regtype,
    'private.percent'::regtype, 'private.share'::regtype, 'private.variance'::regtype,
    'private.book_amount'::regtype
  );

-- PostgreSQL reads and plans a table's CHECK constraints anew in every statement, a domain's it
-- keeps.
create temporary view hot_table_with_a_check as
select t.name || '.' || c.conname
from tables as t
inner join pg_constraint as c on c.conrelid = t.oid and c.contype = 'c'
where t.name in (
  'metering.budget_slots', 'metering.holds', 'metering.usage_rollups', 'metering.request_keys'
);

create temporary view definer_in_the_open as
select f.name || ' for ' || r.role
from functions as f
cross join api_roles as r
where f.is_exposed
  and f.prosecdef
  and r.role in ('anon', 'authenticated')
  and has_function_privilege(r.role, f.oid, 'execute');

-- A function takes locks when its body does, or calls one that does.
create temporary view locking_function as
with recursive locking as (
  select f.oid, f.name from functions as f
  where f.prosrc ~* (
    '\m(for\s+(no\s+key\s+)?update|for\s+(key\s+)?share|insert\s+into|delete\s+from|merge\s+into'
    || '|update\s+\w+\.\w+|truncate|lock\s+table|create\s+table)\M'
  )
  union
  select f.oid, f.name
  from functions as f
  inner join locking as l on strpos(f.prosrc, l.name || '(') > 0
)

select * from locking;

create temporary view locking_function_called_stable as
select f.name
from functions as f
inner join locking_function as l on l.oid = f.oid
where f.provolatile <> 'v';

create temporary view estimate_that_cannot_be_read_only as
select name from functions where proname like 'estimate%' and provolatile = 'v';

-- What each money column does with amounts, tried on a copy of its table.
create function pg_temp.money_outcomes()
returns table (money text, amount text, outcome text)
language plpgsql
as $$
declare
  v_table oid;
  v_column name;
begin
  for v_table in
    select distinct c.attrelid from columns as c
    where c.relkind in ('r', 'p') and c.base_type = 'numeric'::regtype and not c.relispartition
  loop
    execute format('create temporary table probe (like %s including constraints)',
      v_table::regclass);
    for v_column in
      select a.attname from pg_attribute as a
      where a.attrelid = 'pg_temp.probe'::regclass and a.attnum > 0 and a.attnotnull
    loop
      execute format('alter table pg_temp.probe alter column %I drop not null', v_column);
    end loop;
    for v_column, amount in
      select c.attname, a.amount
      from columns as c
      cross join unnest(array['NaN', 'Infinity', '-0.000000000001', '0']) as a (amount)
      where c.attrelid = v_table and c.base_type = 'numeric'::regtype
    loop
      begin
        execute format('insert into pg_temp.probe (%I) values (%L)', v_column, amount);
        outcome := 'kept';
      exception when others then
        outcome := sqlstate;
      end;
      money := v_table::regclass || '.' || v_column;
      return next;
    end loop;
    drop table pg_temp.probe;
  end loop;
end
$$;

create temporary view wrong_money as
select money, amount, outcome
from pg_temp.money_outcomes()
where outcome <> case
  when amount = 'Infinity' then '22003'
  -- What moves, moves by something.
  when amount = '0' and money in (
    'billing.billing_ledger.amount_usd', 'billing.credit_reservations.amount_usd',
    'billing.receivables.amount_usd', 'billing.grant_movements.change_usd'
  ) then '23514'
  when amount = '0' then 'kept'
  -- What was taken through this slot less what was returned through it; what goes either way.
  when amount like '-%' and money in (
    'metering.budget_slots.held_usd', 'pricing.markups.percent',
    'billing.token_reconciliations.variance_pct', 'billing.credit_balance_history.change_usd',
    'billing.grant_movements.change_usd', 'accounting.ledger_postings.amount',
    'accounting.balance_snapshots.balance', 'accounting.obligations.expected_amount',
    'accounting.rounding_carries.carry_usd'
  ) then 'kept'
  -- Rounds to nothing at its two decimals.
  when amount like '-%' and (
    money like 'metering.venture_allocations.%'
    or money = 'venture_token_ledger.budget_allocation_pct'
  ) then 'kept'
  else '23514'
end;

create temporary table rules (number integer generated always as identity, rule text, says text);
insert into rules (rule, says) values
('unpinned_function', 'every function pins its search path, temporary schemas last'),
('compiled_function', 'what is planned for index scans alone is never compiled'),
('unexplained_function', 'every function has a comment'),
('unexplained_relation', 'every table, view and type has a comment'),
('unexplained_column', 'every exposed column has a comment'),
('unexplained_domain', 'every domain has a comment'),
('overloaded_function', 'an exposed name is one function'),
('foreign_language_function', 'functions are written in sql or plpgsql'),
('unlocked_table', 'every table has row-level security, partitions included'),
('table_without_policy', 'every table has a policy'),
('competing_policies', 'a role finds one permissive policy per table and command'),
('policy_asking_per_row', 'policies ask who is calling once, not per row'),
('view_with_rights_of_its_owner', 'views run with the rights of the caller'),
('sequence_with_meaning', 'there is no sequence'),
('partition_in_the_open', 'partitions live in private'),
('default_partition', 'no ledger has a default partition'),
('cascading_reference', 'references restrict'),
('reference_out_of_our_rooms', 'references stay in our rooms, away from auth.users'),
('unindexed_reference', 'every reference has an index led by its columns'),
('reference_across_tenants', 'references between tenant tables are led by the organization'),
('money_of_another_type', 'stored money is of a type of ours'),
('hot_table_with_a_check', 'what every call writes is checked by its types'),
('wrong_money', 'stored money refuses NaN, infinity and negatives'),
('definer_in_the_open', 'no exposed definer runs for anon or authenticated'),
('locking_function_called_stable', 'functions that lock or write are volatile'),
('estimate_that_cannot_be_read_only', 'estimates are stable or immutable');

-- What holds ---------------------------------------------------------------------------------

select set_has(
  'select room from rooms',
  $$values ('private'::name), ('public'), ('tenancy'), ('metering'), ('billing'), ('audit'),
    ('accounting')$$,
  'our rooms are known by their comments'
);

select is_empty(format('select * from %I', rule), says) from rules order by number;

select set_eq(
  'select index from unique_index_not_led_by_tenant',
  array[
    'workflows_id_idx', 'ventures_id_idx', 'holds_id_idx', 'ai_usage_ledger_id_idx',
    'run_records_id_idx', 'venture_token_ledger_id_idx'
  ]::name [],
  'keys are led by the organization, but for what is looked up by id alone'
);

select set_eq(
  $$
    select name from functions
    where room = 'private'
      and prosecdef
      and has_function_privilege('authenticated', oid, 'execute')
  $$,
  array[
    'private.member_organization_ids', 'private.create_organization', 'private.lock_organization',
    'private.authorize_spend', 'private.authorize_spend_batch', 'private.release_spend',
    'private.set_budget', 'private.change_budget', 'private.remove_budget', 'private.set_frozen',
    'private.dispute_reconciliation', 'private.set_low_balance',
    'private.allocate_venture_budget', 'private.record_bundle',
    'private.set_entity', 'private.set_account', 'private.set_account_map',
    'private.record_balance_snapshot',
    'private.set_obligation', 'private.roll_obligations', 'private.move_period',
    'private.set_policy_rule', 'private.retire_policy_rule', 'private.decide_proposal'
  ],
  'authenticated reaches these definers and no others'
);

-- What each rule sees ------------------------------------------------------------------------

create domain private.breaker as numeric(12, 8);
create table metering.breaker (
  organization_id uuid,
  id uuid primary key,
  amount private.breaker,
  serial bigint generated always as identity
);
alter table metering.budget_slots add constraint slot_is_even check (slot % 2 = 0);
create table metering.broken (
  organization_id uuid,
  breaker_id uuid,
  amount numeric(24, 12) check (amount >= 0),
  constraint broken_breaker_fkey foreign key (breaker_id)
  references metering.breaker (id) on delete cascade
);
create table tests.breaker (id uuid primary key);
alter table metering.broken
add constraint broken_user_fkey foreign key (breaker_id) references tests.breaker (id);
create policy broken_all on metering.broken for all to public using (breaker_id = auth.uid());
create policy broken_select on metering.broken for select to tallystick_reader using (true);
create table metering.broken_default partition of public.ai_usage_ledger default;
create view public.breaker as select 1 as one;
create function public.estimate_breaker(p_id integer) returns void
language plpgsql immutable security definer set enable_seqscan = off
as 'begin perform private.lock_organization(null); end';
create function public.estimate_breaker(p_id text) returns void
language sql as '';
grant execute on function public.estimate_breaker(integer) to authenticated;

select isnt_empty(format('select * from %I', rule), 'a breach is seen: ' || says)
from rules
where rule not in ('foreign_language_function') -- only a superuser could break it
order by number;

select * from finish();
rollback;
