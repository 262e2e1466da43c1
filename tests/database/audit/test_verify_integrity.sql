-- Whoever owns the tables can break anything: every check is broken once, and named.
begin;
select plan(43);

insert into tenancy.organizations (id, name, time_zone) values
('a0000000-0000-4000-8000-000000000000', 'Acme', 'Asia/Kathmandu'),
('b0000000-0000-4000-8000-000000000000', 'Bravo', 'UTC');
insert into metering.workflows (organization_id, id) values
('a0000000-0000-4000-8000-000000000000', 'a0000000-0000-4000-8000-000000000001'),
('b0000000-0000-4000-8000-000000000000', 'b0000000-0000-4000-8000-000000000001');
select tests.cap(
  'a0000000-0000-4000-8000-000000000000', 'organization', null, 'month', 1, p_slots => 2
);
select tests.cap(
  'a0000000-0000-4000-8000-000000000000', 'organization', null, 'total', null, p_slots => 2
);
select record_usage_and_increment(
  'a0000000-0000-4000-8000-000000000001', 'a0000000-0000-4000-8000-000000000000', 'm', 1, 2, 0.5,
  'first'
);
create temp table held as
select d.hold_id as id from authorize_spend(
  'a0000000-0000-4000-8000-000000000000', 'm', 0.25, p_request_id => 'held'
) as d;
select u.id from settle_spend(
  tests.hold('a0000000-0000-4000-8000-000000000000', 0.125, 'n'), null, 0.0625, 'settled'
) as u;
select tests.price('n');
select u.id from settle_spend(
  (
    authorize_spend(
      'a0000000-0000-4000-8000-000000000000', 'n', p_input_tokens => 1000, p_max_output_tokens => 100
    )
  ).hold_id,
  '{"input_tokens": 1000, "output_tokens": 50}'
) as u;
select tests.spend('b0000000-0000-4000-8000-000000000001', 3);

select is_empty($$select * from audit.verify_integrity()$$, 'nothing is wrong');
select throws_ok(
  $$select * from audit.verify_integrity('c0000000-0000-4000-8000-000000000000')$$,
  'TS404', null, 'an unknown organization'
);

-- Each break is named, and undone again.
alter table ai_usage_ledger disable trigger user;
alter table metering.workflows disable trigger user;
alter table tenancy.organizations disable trigger user;
create temp table found (check_name text);
create function pg_temp.finds(p_break text, p_expected text[], p_description text)
returns text language plpgsql as $$
declare
  v_found text[];
begin
  begin
    execute replace(p_break, '{held}', quote_literal((select id from held)));
    select array_agg(distinct f.check_name order by f.check_name) into v_found
    from audit.verify_integrity('a0000000-0000-4000-8000-000000000000') as f;
    raise exception using errcode = 'TS000';
  exception when sqlstate 'TS000' then
    null;
  end;
  insert into found select unnest(v_found);
  return extensions.is(v_found, p_expected, p_description);
end
$$;
create temp view month as
select s.* from metering.budget_slots as s
inner join metering.budgets as b on b.id = s.budget_id and b.time_window = 'month';

-- Counters.
select pg_temp.finds(
  $$update metering.budget_slots set settled_usd = settled_usd + 0.000000000001
    where budget_id = 'a0000000-0000-4000-8000-000000000001'$$,
  array['settled_equals_ledger'], 'a workflow''s total that is a trillionth too high'
);
select pg_temp.finds(
  $$update metering.budget_slots set settled_usd = 0
    where budget_id = 'a0000000-0000-4000-8000-000000000000'$$,
  array['settled_equals_ledger'], 'an organization''s total that was reset'
);
select pg_temp.finds(
  $$update metering.budget_slots set held_usd = held_usd - 0.000000000001
    where budget_id = 'a0000000-0000-4000-8000-000000000000' and slot = 0$$,
  array['held_equals_holds'], 'held money that is a trillionth too low'
);
select pg_temp.finds(
  $$update metering.budget_slots
    set settled_usd = settled_usd - 0.0625, available_usd = available_usd + 0.0625
    where (budget_id, slot) = (
      select budget_id, slot from month where settled_usd >= 0.0625 limit 1)$$,
  array['settled_equals_ledger'], 'a month that counts too little'
);
select pg_temp.finds(
  $$update metering.budget_slots set available_usd = available_usd + 0.1
    where (budget_id, slot) = (select budget_id, slot from month limit 1)$$,
  array['remainder_equals_limit_less_use'], 'money from nowhere'
);
select pg_temp.finds(
  $$update metering.budget_slots set available_usd = null
    where budget_id = (select budget_id from month limit 1)$$,
  array['remainder_equals_limit_less_use'], 'a cap that was taken away'
);
select pg_temp.finds(
  $$update metering.budgets set limit_usd = 2 where time_window = 'month'$$,
  array['remainder_equals_limit_less_use'], 'a limit that was raised'
);
select pg_temp.finds(
  $$update metering.budgets set limit_usd = 0.25 where time_window = 'month';
    update metering.budget_slots set available_usd = 0, debt_usd = 0.5655 * (slot = 0)::integer
    where budget_id = (select budget_id from month limit 1);
    update ai_usage_ledger set settlement = 'on_hold', unheld_usd = 0$$,
  array['grants_stay_within_limit'], 'more granted than the limit'
);
select pg_temp.finds(
  $$delete from metering.budget_slots
    where budget_id = (select budget_id from month limit 1)$$,
  array['slots_are_those_of_the_budget'], 'a budget without its slots'
);
select pg_temp.finds(
  $$update metering.budgets set slot_count = 3 where time_window = 'month'$$,
  array['slots_are_those_of_the_budget'], 'a slot that is missing'
);
select pg_temp.finds(
  $$update metering.budget_slots set slot = slot + 1
    where budget_id = (select budget_id from month limit 1) and slot = 1$$,
  array['slots_are_those_of_the_budget'], 'a slot with another number'
);
select pg_temp.finds(
  $$update metering.budget_slots set window_start = window_start - interval '1 month'
    where budget_id = (select budget_id from month limit 1) and slot = 1$$,
  array['slots_are_those_of_the_budget'], 'slots of two months'
);
select pg_temp.finds(
  $$update metering.budget_slots set debt_usd = 0
    where budget_id = (select budget_id from month limit 1) and slot = 1$$,
  array['slots_are_those_of_the_budget'], 'one slot closed, the other open'
);
select pg_temp.finds(
  $$update metering.budget_slots set config_version = config_version + 1
    where budget_id = 'a0000000-0000-4000-8000-000000000000' and slot = 1$$,
  array['config_version_is_one'], 'slots of two configurations'
);

-- Rollups.
select pg_temp.finds(
  $$delete from metering.usage_rollups
    where organization_id = 'a0000000-0000-4000-8000-000000000000' and model = 'n'$$,
  array['rollup_equals_ledger'], 'a rollup that is gone'
);
select pg_temp.finds(
  $$update metering.usage_rollups set prompt_tokens = prompt_tokens + 1
    where organization_id = 'a0000000-0000-4000-8000-000000000000' and model = 'm'$$,
  array['rollup_equals_ledger'], 'tokens that nobody used'
);
select pg_temp.finds(
  $$update metering.usage_rollups set requests = requests + 1
    where organization_id = 'a0000000-0000-4000-8000-000000000000' and model = 'm'$$,
  array['rollup_equals_ledger'], 'a request that nobody made'
);
select pg_temp.finds(
  $$update metering.usage_rollups set day = day - 1
    where organization_id = 'a0000000-0000-4000-8000-000000000000'$$,
  array['rollup_equals_ledger'], 'rollups of another day'
);

-- The ledger.
select pg_temp.finds(
  $$update ai_usage_ledger set cost = cost + 0.000000000001
    where organization_id = 'a0000000-0000-4000-8000-000000000000' and model = 'n'
      and cost_basis = 'stated'$$,
  array['rollup_equals_ledger', 'settled_equals_ledger'], 'a cost that was changed'
);
select pg_temp.finds(
  $$update ai_usage_ledger set token_counts = '{"cache_read_tokens": 1000, "output_tokens": 50}',
      rates = '{"cache_read_tokens": "1.25", "output_tokens": "10"}'
    where cost_basis = 'priced'$$,
  array['cost_follows_from_its_rates', 'rates_are_those_of_the_price'], 'another token class'
);
select pg_temp.finds(
  $$update ai_usage_ledger set rates = '{"input_tokens": "0.5", "output_tokens": "50"}'
    where cost_basis = 'priced'$$,
  array['rates_are_those_of_the_price'], 'other rates with the same result'
);
select pg_temp.finds(
  $$update ai_usage_ledger set price_id = gen_random_uuid() where cost_basis = 'priced'$$,
  array['rates_are_those_of_the_price'], 'a price that does not exist'
);
select pg_temp.finds(
  $$update ai_usage_ledger set unheld_usd = 0.25 where settlement = 'without_hold'
    and organization_id = 'a0000000-0000-4000-8000-000000000000'$$,
  array['unheld_is_what_no_hold_covered'], 'a hold that nobody had'
);
select pg_temp.finds(
  $$update ai_usage_ledger set unheld_usd = 1 where settlement = 'on_hold'
    and organization_id = 'a0000000-0000-4000-8000-000000000000'$$,
  array['unheld_is_what_no_hold_covered'], 'more above a hold than was spent'
);
select pg_temp.finds(
  $$delete from ai_usage_ledger where organization_id = 'a0000000-0000-4000-8000-000000000000'$$,
  array['request_names_what_it_made', 'rollup_equals_ledger', 'settled_equals_ledger'],
  'usages that were deleted'
);
select pg_temp.finds(
  $$delete from metering.workflows where id = 'a0000000-0000-4000-8000-000000000001'$$,
  array['owner_of_usage_exists'], 'a usage whose workflow is gone'
);

-- Budgets.
select pg_temp.finds(
  $$insert into metering.workflows (organization_id)
    values ('a0000000-0000-4000-8000-000000000000')$$,
  array['counted_thing_has_its_budget'], 'a workflow nobody counts'
);
select pg_temp.finds(
  $$update metering.budgets set time_zone = 'UTC' where time_window = 'month'$$,
  array['budget_has_the_time_zone'], 'a budget in another time zone'
);
select pg_temp.finds(
  $$update tenancy.organizations set frozen_at = now()
    where id = 'a0000000-0000-4000-8000-000000000000'$$,
  array['freeze_is_one'], 'a freeze nobody announced'
);
select pg_temp.finds(
  $$update metering.budgets set frozen_at = now()
    where id = 'a0000000-0000-4000-8000-000000000000'$$,
  array['freeze_is_one'], 'a freeze the organization knows nothing of'
);

-- Holds and request ids.
select pg_temp.finds(
  $$update metering.holds set held_usd = held_usd + 0.000000000001 where id = {held}$$,
  array['held_equals_holds'], 'a hold that grew'
);
select pg_temp.finds(
  $$update metering.holds set state = 'released', closed_at = now() where id = {held}$$,
  array['held_equals_holds'], 'a hold that was released and gave nothing back'
);
select pg_temp.finds(
  $$delete from metering.holds where id = {held}$$,
  array['held_equals_holds', 'request_names_what_it_made'], 'a hold that was deleted'
);
select pg_temp.finds(
  $$insert into metering.holds (organization_id, id, state, held_usd, model, budget_ids, slots,
      config_version, day, created_at, expires_at)
    select l.organization_id, l.id, 'released', 1, 'n', '{}', '{}', 0,
      private.local_day(l.created_at, 'Asia/Kathmandu'), l.created_at, l.created_at
    from ai_usage_ledger as l where l.model = 'n'$$,
  array['hold_is_not_usage_too'], 'a settled hold that is a hold still'
);
select pg_temp.finds(
  $$update metering.holds set day = day - 1 where id = {held}$$,
  array['hold_counts_to_its_day'], 'a hold of another day'
);
select pg_temp.finds(
  $$update metering.request_keys set subject_id = private.uuid_v7() where request_id = 'first'$$,
  array['request_names_what_it_made'], 'a request that made nothing'
);
select pg_temp.finds(
  $$update metering.request_keys set subject_id = private.uuid_v7(now() - interval '46 days')
    where request_id = 'held'$$,
  null, 'but a hold is forgotten before its request id is'
);

-- None is left out, and each organization is its own matter.
select set_eq(
  'select check_name from found',
  $$select (regexp_matches(prosrc, '^ +''([a-z_]+)'', (?:\w+\.)?organization_id', 'gm'))[1]
    from pg_proc where oid = 'private.verify_metering(uuid)'::regprocedure$$,
  'every check was broken'
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
      'settled_equals_ledger', 'b0000000-0000-4000-8000-000000000000'::uuid,
      'budget b0000000-0000-4000-8000-000000000001', '3', '2')$$,
  'a finding names check, organization, subject, what the ledger says and what was found'
);
select is_empty(
  $$select * from audit.verify_integrity('a0000000-0000-4000-8000-000000000000')$$,
  'and one organization can be verified apart'
);

select * from finish();
rollback;
