begin;
select plan(16);

insert into tenancy.organizations (id, name, time_zone) values
('a0000000-0000-4000-8000-000000000000', 'Acme', 'Asia/Kathmandu'),
('b0000000-0000-4000-8000-000000000000', 'Bravo', 'UTC');
insert into metering.workflows (organization_id, id) values
('a0000000-0000-4000-8000-000000000000', 'a0000000-0000-4000-8000-000000000001'),
('b0000000-0000-4000-8000-000000000000', 'b0000000-0000-4000-8000-000000000001');
select id from metering.set_budget(
  'a0000000-0000-4000-8000-000000000000', 'organization', null, 'month', 1
);
select record_usage_and_increment(
  'a0000000-0000-4000-8000-000000000001', 'a0000000-0000-4000-8000-000000000000', 'm', 1, 2, 0.5,
  'first'
);
select tests.spend('b0000000-0000-4000-8000-000000000001', 3);

select is_empty($$select * from audit.verify_integrity()$$, 'nothing is wrong');
select throws_ok(
  $$select * from audit.verify_integrity('c0000000-0000-4000-8000-000000000000')$$,
  'TS404', null, 'an unknown organization'
);

-- Whoever owns the tables can break anything; each break is named, and undone again.
alter table ai_usage_ledger disable trigger user;
create function pg_temp.finds(p_break text, p_expected text[], p_description text)
returns text language plpgsql as $$
declare
  v_found text[];
begin
  begin
    execute p_break;
    select array_agg(distinct f.check_name order by f.check_name) into v_found
    from audit.verify_integrity('a0000000-0000-4000-8000-000000000000') as f;
    raise exception using errcode = 'TS000';
  exception when sqlstate 'TS000' then
    null;
  end;
  return extensions.is(v_found, p_expected, p_description);
end
$$;

select pg_temp.finds(
  $$update metering.budget_slots set settled_usd = settled_usd + 0.000000000001
    where budget_id = 'a0000000-0000-4000-8000-000000000001'$$,
  array['total_equals_ledger'], 'a workflow''s total that is a trillionth too high'
);
select pg_temp.finds(
  $$update metering.budget_slots set settled_usd = 0
    where budget_id = 'a0000000-0000-4000-8000-000000000000'$$,
  array['total_equals_ledger'], 'an organization''s total that was reset'
);
select pg_temp.finds(
  $$delete from metering.usage_rollups
    where organization_id = 'a0000000-0000-4000-8000-000000000000'$$,
  array['rollup_equals_ledger', 'window_equals_rollup'], 'a rollup that is gone'
);
select pg_temp.finds(
  $$update metering.usage_rollups set prompt_tokens = prompt_tokens + 1
    where organization_id = 'a0000000-0000-4000-8000-000000000000'$$,
  array['rollup_equals_ledger'], 'tokens that nobody used'
);
select pg_temp.finds(
  $$update metering.budget_slots set settled_usd = 0.4, available_usd = 0.6
    where budget_id = (select id from metering.budgets where time_window = 'month')$$,
  array['window_equals_rollup'], 'a month that counts too little'
);
select pg_temp.finds(
  $$update metering.budget_slots set available_usd = 0.6
    where budget_id = (select id from metering.budgets where time_window = 'month')$$,
  array['remainder_equals_limit_less_use'], 'money from nowhere'
);
select pg_temp.finds(
  $$delete from metering.budget_slots
    where budget_id = (select id from metering.budgets where time_window = 'month')$$,
  array['budget_has_its_slots'], 'a budget without its slot'
);
select pg_temp.finds(
  $$alter table metering.workflows disable trigger user;
    delete from metering.workflows where id = 'a0000000-0000-4000-8000-000000000001'$$,
  array['owner_of_usage_exists'], 'a usage whose workflow is gone'
);
select pg_temp.finds(
  $$alter table metering.workflows disable trigger user;
    insert into metering.workflows (organization_id)
    values ('a0000000-0000-4000-8000-000000000000')$$,
  array['counted_thing_has_its_budget'], 'a workflow nobody counts'
);
select pg_temp.finds(
  $$update ai_usage_ledger set cost = cost + 0.000000000001
    where organization_id = 'a0000000-0000-4000-8000-000000000000'$$,
  array['rollup_equals_ledger', 'total_equals_ledger'], 'a cost that was changed'
);
select pg_temp.finds(
  $$delete from ai_usage_ledger
    where organization_id = 'a0000000-0000-4000-8000-000000000000'$$,
  array['request_names_its_usage', 'rollup_equals_ledger', 'total_equals_ledger'],
  'a usage that was deleted'
);
select pg_temp.finds(
  $$update metering.budget_slots set settled_usd = 0
    where organization_id = 'b0000000-0000-4000-8000-000000000000'$$,
  null, 'another organization is another matter'
);
update metering.budget_slots set settled_usd = 2
where budget_id = 'b0000000-0000-4000-8000-000000000001';
select results_eq(
  $$select * from audit.verify_integrity()$$,
  $$values (
      'total_equals_ledger', 'b0000000-0000-4000-8000-000000000000'::uuid,
      'budget b0000000-0000-4000-8000-000000000001', '3', '2')$$,
  'a finding names check, organization, subject, what the ledger says and what was found'
);
select is_empty(
  $$select * from audit.verify_integrity('a0000000-0000-4000-8000-000000000000')$$,
  'and one organization can be verified apart'
);

select * from finish();
rollback;
