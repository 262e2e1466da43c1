-- Whoever owns the tables can break anything: every check is broken once, and named.
begin;
select plan(135);

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
  array['rollup_equals_ledger', 'settled_equals_ledger'], 'a rollup that is gone'
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
  array['rollup_equals_ledger'], 'a cost that was changed'
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
  array['request_names_what_it_made', 'rollup_equals_ledger'], 'usages that were deleted'
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
    from pg_proc where oid = 'private.verify_metering(uuid[], xid8)'::regprocedure$$,
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

-- Billing ------------------------------------------------------------------------------------------

-- D has a run of each kind, a draw that is closed and one that is open; E owes something still.
alter table metering.workflows enable trigger user;
alter table tenancy.organizations enable trigger user;
select tests.freeze_clock('2026-03-10 12:00+00');
insert into tenancy.organizations (id, name) values
('d0000000-0000-4000-8000-000000000000', 'Delta'), ('e0000000-0000-4000-8000-000000000000', 'Echo');
insert into metering.workflows (organization_id, id) values
('d0000000-0000-4000-8000-000000000000', 'd0000000-0000-4000-8000-000000000001');
create temp table billed as
select
  tests.bill('d0000000-0000-4000-8000-000000000000') as ended,
  null::uuid as running, null::uuid as modelled, null::uuid as refunded, null::uuid as owing,
  null::uuid as closed_draw, null::uuid as open_draw;
update billed set running = r.id
from billing.run_records as r
where r.org_id = 'd0000000-0000-4000-8000-000000000000' and r.status = 'running';
select tests.spend('d0000000-0000-4000-8000-000000000001', 0.5);
select tests.call(ended, 0.01) from billed;
update billed set refunded = tests.run('d0000000-0000-4000-8000-000000000000', 2);
select tests.call(refunded, 0.5) from billed;
select c.id from billed, billing.complete_run(refunded) as c;
update billed set modelled = (
  billing.start_run('d0000000-0000-4000-8000-000000000000', 1, 1, 'm', 1, 0)
).id;
select tests.freeze_clock('2026-03-11 12:00+00');
select billing.close_draws('d0000000-0000-4000-8000-000000000000');
select tests.hold('d0000000-0000-4000-8000-000000000000', 0.25);
update billed set
  closed_draw = (select d.id from billing.draws as d where d.status = 'closed'),
  open_draw = (select d.id from billing.draws as d where d.status = 'open');
select tests.buy('e0000000-0000-4000-8000-000000000000', 0.1);
update billed set owing = tests.run('e0000000-0000-4000-8000-000000000000', 0.02);
select tests.call(owing, 0.15) from billed;
select c.id from billed, billing.complete_run(owing) as c;
select c.id from billed, billing.dispute_reconciliation(owing) as c;
select c.id from billed, billing.resolve_dispute(owing, 0.03) as c;
select is_empty(
  $$select f.* from unnest(array[
      'd0000000-0000-4000-8000-000000000000', 'e0000000-0000-4000-8000-000000000000'
    ]::uuid[]) as o (id), audit.verify_integrity(o.id) as f$$,
  'nothing is wrong with what is billed'
);

set constraints all immediate;
alter table billing.billing_ledger disable trigger user;
alter table billing.credit_balance_history disable trigger user;
alter table billing.grant_movements disable trigger user;
alter table billing.credit_grants disable trigger user;
alter table billing.credit_balances disable trigger user;
alter table billing.receivables disable trigger user;
alter table billing.token_records disable trigger user;
alter table billing.token_reconciliations disable trigger user;
alter table billing.run_records disable trigger user;
alter table audit.event_log disable trigger user;
create temp table billing_found (check_name text);
create function pg_temp.bills(p_break text, p_expected text[], p_description text)
returns text language plpgsql as $$
declare
  v_found text[];
begin
  begin
    execute p_break;
    select array_agg(distinct f.check_name order by f.check_name) into v_found
    from unnest(array[
      'd0000000-0000-4000-8000-000000000000', 'e0000000-0000-4000-8000-000000000000'
    ]::uuid[]) as o (id), audit.verify_integrity(o.id) as f;
    raise exception using errcode = 'TS000';
  exception when sqlstate 'TS000' then
    null;
  end;
  insert into billing_found select unnest(v_found);
  return extensions.is(v_found, p_expected, p_description);
end
$$;

-- Credits.
select pg_temp.bills(
  $$update billing.credit_balances set balance_usd = balance_usd + 0.000000000001
    where org_id = 'd0000000-0000-4000-8000-000000000000'$$,
  array['balance_equals_grants', 'balance_equals_history', 'balance_equals_ledger'],
  'a balance that is a trillionth too high'
);
select pg_temp.bills(
  $$update billing.billing_ledger set amount_usd = amount_usd + 0.000000000001
    where org_id = 'd0000000-0000-4000-8000-000000000000' and amount_usd = 100$$,
  array['balance_equals_ledger', 'cash_is_what_was_paid', 'movement_is_of_grants'], 'a purchase that grew'
);
select pg_temp.bills(
  $$update billing.credit_balance_history as h
    set balance_after_usd = balance_after_usd + 1, change_usd = change_usd + 1
    from billing.credit_balances as b where b.org_id = h.org_id and b.movement_count = h.movement
      and h.org_id = 'd0000000-0000-4000-8000-000000000000'$$,
  array['balance_equals_history'], 'a history that ends otherwise'
);
select pg_temp.bills(
  $$update billing.credit_balance_history
    set balance_before_usd = balance_before_usd + 1, balance_after_usd = balance_after_usd + 1
    where org_id = 'd0000000-0000-4000-8000-000000000000' and movement = 3$$,
  array['history_is_a_chain'], 'a history that leaps'
);
select pg_temp.bills(
  $$update billing.credit_balance_history as h set movement = movement + 1
    from billing.credit_balances as b where b.org_id = h.org_id and b.movement_count = h.movement$$,
  array['history_has_no_gap'], 'a movement that is missing'
);
select pg_temp.bills(
  $$delete from billing.credit_balance_history as h
    using billing.credit_balances as b where b.org_id = h.org_id and b.movement_count = h.movement
      and h.org_id = 'd0000000-0000-4000-8000-000000000000'$$,
  array['balance_equals_history', 'history_has_no_gap'], 'a last row that was deleted'
);
select pg_temp.bills(
  $$insert into billing.billing_ledger (
      org_id, transaction_type, amount_usd, direction, reason, created_at
    ) values ('d0000000-0000-4000-8000-000000000000', 'promo', 1, 'credit', 'r', now())$$,
  array['balance_equals_ledger', 'every_movement_is_in_history', 'movement_is_of_grants',
    'movement_left_an_event'], 'a movement that nothing follows from'
);
select pg_temp.bills(
  $$update billing.credit_grants set remaining_usd = remaining_usd - 0.000000000001
    where org_id = 'd0000000-0000-4000-8000-000000000000' and amount_usd = 100$$,
  array[
    'balance_equals_grants', 'customer_credits_are_what_is_left', 'grant_is_what_moved'
  ], 'a grant that shrank'
);
select pg_temp.bills(
  $$update billing.credit_grants set amount_usd = amount_usd + 1
    where org_id = 'd0000000-0000-4000-8000-000000000000' and amount_usd = 100$$,
  array['grant_is_its_first_movement'], 'a grant that was another'
);
select pg_temp.bills(
  $$update billing.grant_movements set change_usd = change_usd + 0.000000000001
    where change_usd = 100$$,
  array[
    'books_and_carries_are_the_ledger', 'grant_is_its_first_movement', 'grant_is_what_moved',
    'movement_is_of_grants'
  ],
  'a part of a movement that grew'
);
select pg_temp.bills(
  $$update metering.budgets set prepaid_since = null
    where id = 'd0000000-0000-4000-8000-000000000000'$$,
  array['prepaid_is_who_has_credits'], 'credits of an organization that does not pay in advance'
);

-- Reservations.
select pg_temp.bills(
  $$update billing.credit_balances set reserved_usd = reserved_usd - 0.000000000001
    where org_id = 'd0000000-0000-4000-8000-000000000000'$$,
  array['reserved_equals_grants', 'reserved_funds_runs_and_draws'], 'a reservation that shrank'
);
select pg_temp.bills(
  $$update billing.credit_grants set reserved_usd = reserved_usd - 0.000000000001
    where org_id = 'd0000000-0000-4000-8000-000000000000' and amount_usd = 100$$,
  array['reservation_is_of_grants', 'reserved_equals_grants'], 'of a grant'
);
select pg_temp.bills(
  $$update billing.credit_reservations set amount_usd = amount_usd + 0.000000000001
    from billed where subject_id = running$$,
  array['reservation_is_of_grants', 'reservation_is_the_limit'], 'of a run'
);
select pg_temp.bills(
  $$update billing.draws set reserved_usd = reserved_usd + 0.000000000001
    from billed where id = open_draw$$,
  array['funded_thing_has_its_budget', 'reservation_is_the_limit'], 'of a draw'
);
select pg_temp.bills(
  $$update metering.budgets set limit_usd = limit_usd + 0.000000000001
    from billed where id = running$$,
  array['funded_thing_has_its_budget', 'remainder_equals_limit_less_use',
    'reserved_funds_runs_and_draws'], 'a run that may spend more than is reserved'
);
select pg_temp.bills(
  $$delete from metering.budget_slots using billed where budget_id = modelled;
    delete from metering.budgets using billed where id = modelled$$,
  array['funded_thing_has_its_budget', 'reserved_funds_runs_and_draws'], 'a run without its budget'
);

-- Runs and their calls.
select pg_temp.bills(
  $$update billing.token_records set input_tokens = input_tokens + 1, total_tokens = total_tokens + 1
    from billed where run_id = running$$,
  array['record_is_its_usage'], 'other tokens than were used'
);
select pg_temp.bills(
  $$update billing.token_records set cost_usd = cost_usd + 0.000000000001
    from billed where run_id = refunded$$,
  array['reconciliation_is_what_happened', 'record_is_its_usage', 'run_is_charged_what_it_used'],
  'another cost'
);
select pg_temp.bills(
  $$delete from billing.token_records using billed where run_id = running$$,
  array['record_is_its_usage'], 'a call without its record'
);
select pg_temp.bills(
  $$update billing.token_records set run_id = modelled, step_id = modelled, agent_id = null,
      task_id = null
    from billed where run_id = running$$,
  array['record_is_its_usage'], 'a record of another run'
);
select pg_temp.bills(
  $$update billing.token_records set $$ || v.change || $$ from billed where run_id = running$$,
  array['part_is_of_its_run'], v.description
)
from (
  values
  ('step_id = ended', 'a step of another run'),
  ('agent_id = gen_random_uuid()', 'an agent that is not there'),
  ('task_id = gen_random_uuid()', 'a task that is not there')
) as v (change, description);
select pg_temp.bills(
  $$update billing.run_records set status = 'completed', completed_at = now()
    from billed where id = running$$,
  array['ended_run_is_reconciled', 'reservation_is_the_limit', 'run_is_charged_what_it_used'],
  'a run that ended by itself'
);
select pg_temp.bills(
  $$delete from billing.token_reconciliations using billed where run_id = refunded$$,
  array['ended_run_is_reconciled'], 'a reconciliation that was deleted'
);
select pg_temp.bills(
  $$update metering.budgets set only_model = 'n' from billed where id = modelled$$,
  array['run_calls_its_model'], 'a run that calls another model'
);
select pg_temp.bills(
  $$update billing.token_reconciliations set $$ || v.change || $$ from billed where run_id = $$ || v.run,
  array['reconciliation_is_what_happened'], v.description
)
from (
  values
  ($$status = 'RECONCILED'$$, 'ended', 'a status that was made better'),
  ('variance_pct = variance_pct + 0.0001', 'ended', 'another variance'),
  ('actual_cost_usd = actual_cost_usd + 0.000000000001', 'ended', 'another cost than the calls had'),
  ('estimated_cost_usd = estimated_cost_usd + 1', 'ended', 'another estimate'),
  ('refund_amount_usd = refund_amount_usd - 0.000000000001', 'refunded', 'another refund'),
  ('charge_amount_usd = charge_amount_usd + 0.000000000001', 'ended', 'another charge')
) as v (change, run, description);
select pg_temp.bills(
  $$update billing.billing_ledger set amount_usd = amount_usd + 1
    from billed where run_id = refunded and reason = 'token_reconciliation_overestimate'$$,
  array[
    'balance_equals_ledger', 'movement_is_of_grants', 'reconciliation_is_what_happened',
    'refunds_are_within_charges', 'revenue_is_charges_less_refunds_and_owed',
    'run_is_charged_what_it_used'
  ], 'more refunded than charged'
);
select pg_temp.bills(
  $$update billing.billing_ledger set run_id = null
    from billed where run_id = refunded and reason = 'run_charge'$$,
  array['movement_left_an_event', 'refunds_are_within_charges', 'run_is_charged_what_it_used'],
  'a charge of no run'
);

-- Draws and what is owed.
select pg_temp.bills(
  $$update billing.draws set cost_incurred = cost_incurred + 0.000000000001
    from billed where id = closed_draw$$,
  array['draw_is_charged_what_it_cost', 'draws_are_what_was_spent'], 'a draw that cost more'
);
select pg_temp.bills(
  $$update billing.billing_ledger set reason = 'r' from billed where draw_id = closed_draw$$,
  array['draw_is_charged_what_it_cost'], 'a draw that was charged something else'
);
select pg_temp.bills(
  $$update billing.receivables set outstanding_usd = outstanding_usd - 0.000000000001
    where outstanding_usd > 0$$,
  array[
    'receivable_is_collected_or_owed', 'receivable_is_what_is_owed',
    'revenue_is_charges_less_refunds_and_owed', 'run_is_charged_what_it_used'
  ],
  'a debt that nobody paid'
);
select pg_temp.bills(
  $$update billing.receivables set waived_usd = 0.000000000001, outstanding_usd = 0,
      amount_usd = amount_usd + 0.000000000001
    from billed where run_id = ended$$,
  array['reconciliation_is_what_happened', 'run_is_charged_what_it_used',
    'waived_is_what_was_disputed'], 'one that was waived without a dispute'
);
select pg_temp.bills(
  $$update billing.token_reconciliations
    set status = 'DISPUTED', resolved_at = null, dispute_refund_usd = null
    from billed where run_id = owing$$,
  array['waived_is_what_was_disputed'], 'or before it was resolved'
);

-- The event log.
select pg_temp.bills(
  $$delete from audit.event_log where organization_id = 'd0000000-0000-4000-8000-000000000000'
    and tool_name = 'billing.refund'$$,
  array['movement_left_an_event'], 'an event that was deleted'
);
select set_eq(
  $$select check_name from billing_found
    where check_name <> 'remainder_equals_limit_less_use'
      and strpos(
        (
          select prosrc from pg_proc
          where oid = 'private.verify_billing_posts(uuid[])'::regprocedure
        ), '''' || check_name || ''''
      ) = 0$$,
  $$select (regexp_matches(
      prosrc, '^ +\(?''([a-z_]+)'', (?:(?:coalesce\()?\w+\.org(?:anization)?_id|t\.\w+)', 'gm'))[1]
    from pg_proc where oid = 'private.verify_billing(uuid[], xid8)'::regprocedure$$,
  'every check of billing was broken'
);
select is_empty(
  $$select f.* from unnest(array[
      'd0000000-0000-4000-8000-000000000000', 'e0000000-0000-4000-8000-000000000000'
    ]::uuid[]) as o (id), audit.verify_integrity(o.id) as f$$,
  'and mended again'
);

-- Ventures -----------------------------------------------------------------------------------------

-- It has a venture with shares, real usage, a simulation, and a row that was removed.
insert into tenancy.organizations (id, name) values ('70000000-0000-4000-8000-000000000000', 'Fox');
insert into tenancy.ventures (organization_id, id, name) values
('70000000-0000-4000-8000-000000000000', '70000000-0000-4000-8000-000000000001', 'Rocket');
select tests.cap(
  '70000000-0000-4000-8000-000000000000', 'venture', '70000000-0000-4000-8000-000000000001',
  'month', 10
);
select (metering.allocate_venture_budget(
  '70000000-0000-4000-8000-000000000000', '70000000-0000-4000-8000-000000000001', 'standard', 60
)).standard_pct;
select (record_venture_usage(
  '70000000-0000-4000-8000-000000000001', 3, 'a', 'm', 10, 5, 0.5, p_is_simulation => s,
  p_request_id => s::text
)).cost_usd
from unnest(array[true, false]) as s;
select tests.freeze_clock('2033-03-11 12:00+00');
insert into venture_token_ledger (id, venture_id, lifecycle_stage, agent_type, is_simulation) values
('70000000-0000-4000-8000-000000000002', '70000000-0000-4000-8000-000000000001', 1, 'a', true);
select tests.freeze_clock('2040-03-11 12:00+00');
delete from venture_token_ledger where id = '70000000-0000-4000-8000-000000000002';
select tests.freeze_clock('2026-03-12 12:00+00');
select is_empty(
  $$select * from audit.verify_integrity('70000000-0000-4000-8000-000000000000')$$,
  'nothing is wrong with what ventures use'
);

set constraints all immediate;
alter table venture_token_ledger disable trigger user;
alter table metering.budgets disable trigger user;
create temp table venture_found (check_name text);
create function pg_temp.uses(p_break text, p_expected text[], p_description text)
returns text language plpgsql as $$
declare
  v_found text[];
begin
  begin
    execute p_break;
    select array_agg(distinct f.check_name order by f.check_name) into v_found
    from audit.verify_integrity('70000000-0000-4000-8000-000000000000') as f;
    raise exception using errcode = 'TS000';
  exception when sqlstate 'TS000' then
    null;
  end;
  insert into venture_found select unnest(v_found);
  return extensions.is(v_found, p_expected, p_description);
end
$$;
select pg_temp.uses(
  $$alter table venture_token_ledger drop constraint venture_token_ledger_tokens_add_up;
    update venture_token_ledger set tokens_total = 16 where usage_id is null$$,
  array['venture_tokens_add_up'], 'a total that is not the sum'
);
select pg_temp.uses(
  $$update venture_token_ledger set $$ || v.change || $$ where not is_simulation$$,
  array['venture_row_is_its_usage'], v.description
)
from (
  values
  ('cost_usd = cost_usd + 0.000000000001', 'another cost than the usage has'),
  ('tokens_input = 11, tokens_total = 16', 'other tokens'),
  ('model_id = ''n''', 'another model'), ('budget_profile = ''custom''', 'another profile'),
  ('created_at = created_at + interval ''1 millisecond''', 'another time'),
  ('usage_id = gen_random_uuid()', 'no usage')
) as v (change, description);
select pg_temp.uses(
  $$alter table venture_token_ledger drop constraint venture_token_ledger_real_rows_are_usage;
    update venture_token_ledger set is_simulation = true$$,
  array['simulation_is_not_spend'], 'spend that is called a simulation'
);
select pg_temp.uses(
  $$alter table venture_token_ledger drop constraint venture_token_ledger_real_rows_are_usage;
    update venture_token_ledger set is_simulation = null where usage_id is null$$,
  array['request_names_what_it_made', 'venture_row_is_its_usage'], 'a simulation that is called spend'
);
select pg_temp.uses(
  $$update venture_token_ledger set venture_id = gen_random_uuid() where is_simulation$$,
  array['venture_of_row_exists'], 'a venture that is not there'
);
select pg_temp.uses(
  $$delete from venture_token_ledger where is_simulation$$,
  array['request_names_what_it_made'], 'a simulation that was deleted'
);
select pg_temp.uses(
  $$insert into venture_token_ledger (
      id, organization_id, venture_id, lifecycle_stage, agent_type, tokens_total, is_simulation
    ) values ('70000000-0000-4000-8000-000000000002', '70000000-0000-4000-8000-000000000000',
      '70000000-0000-4000-8000-000000000001', 1, 'a', 0, true)$$,
  array['tombstone_is_of_a_removed_row'], 'a row that was removed and is there again'
);
select pg_temp.uses(
  $$alter table metering.venture_allocations
      drop constraint venture_allocations_come_to_at_most_100;
    update metering.venture_allocations set custom_pct = 40.01$$,
  array['share_is_cut_from_the_limit', 'shares_come_to_at_most_100'], 'shares of more than there is'
);
select pg_temp.uses(
  $$update metering.budgets set $$ || v.change || $$ where scope = 'venture_profile'$$, v.found,
  v.description
)
from (
  values
  (
    'limit_usd = limit_usd + 0.000000000001',
    array['remainder_equals_limit_less_use', 'share_is_cut_from_the_limit'], 'a share that grew'
  ),
  ('time_window = ''week''', array['share_is_cut_from_the_limit'],
    'of another window'),
  ('enforcement = ''soft''', array['remainder_equals_limit_less_use', 'share_is_cut_from_the_limit'],
    'that refuses nothing')
) as v (change, found, description);
select pg_temp.uses(
  $$delete from metering.budget_slots where budget_id in (
      select id from metering.budgets where scope = 'venture_profile');
    delete from metering.budgets where scope = 'venture_profile'$$,
  array['share_is_cut_from_the_limit'], 'a share that was taken away'
);
select set_has(
  'select check_name from venture_found',
  $$select (regexp_matches(
      prosrc, '^ +''([a-z_]+)'', (?:\w+\.)?organization_id', 'gm'))[1]
    from pg_proc where oid = 'private.verify_ventures(uuid[], xid8)'::regprocedure$$,
  'every check of ventures was broken'
);
select is_empty(
  $$select * from audit.verify_integrity('70000000-0000-4000-8000-000000000000')$$,
  'and mended again'
);

-- The books.
insert into tenancy.organizations (id, name) values
('f0000000-0000-4000-8000-000000000000', 'Foxtrot'),
('f0000000-0000-4000-8000-000000000001', 'Golf');
select tests.chart('f0000000-0000-4000-8000-000000000000');
select tests.post('f0000000-0000-4000-8000-000000000000', v.id, p_date => v.day) ->> 'status'
from (
  values ('first', '2026-01-15'::date), ('undone', '2026-02-15'), ('locked', '2026-03-15')
) as v (id, day);
select accounting.reverse_transaction(
  organization_id, transaction_id, '2026-04-15', 'undo'
)::jsonb ->> 'status'
from accounting.ledger_transactions where external_id = 'undone';
select (
  accounting.close_period('f0000000-0000-4000-8000-000000000000', '2026-01', 'c')
).period_status;
select (
  accounting.lock_period('f0000000-0000-4000-8000-000000000000', '2026-03', 'c')
).period_status;
set constraints all immediate;
select is_empty(
  $$select f.* from audit.verify_integrity('f0000000-0000-4000-8000-000000000000') as f$$,
  'nothing is wrong with the books'
);
alter table accounting.ledger_transactions disable trigger user;
alter table accounting.ledger_postings disable trigger user;
alter table accounting.accounts disable trigger user;
create temp table books_found (check_name text);
create function pg_temp.cooks(p_break text, p_expected text[], p_description text)
returns text language plpgsql as $$
declare
  v_found text[];
begin
  begin
    execute p_break;
    select array_agg(distinct f.check_name order by f.check_name) into v_found
    from unnest(array[
      'f0000000-0000-4000-8000-000000000000', 'f0000000-0000-4000-8000-000000000001'
    ]::uuid[]) as o (id), audit.verify_integrity(o.id) as f;
    raise exception using errcode = 'TS000';
  exception when sqlstate 'TS000' then
    null;
  end;
  insert into books_found select unnest(v_found);
  return extensions.is(v_found, p_expected, p_description);
end
$$;
create temp view first_posting as
select p.*
from accounting.ledger_postings as p
inner join accounting.ledger_transactions as t using (organization_id, transaction_id)
where t.external_id = 'first' and p.position = 1
  and t.organization_id = 'f0000000-0000-4000-8000-000000000000';
select pg_temp.cooks(
  $$update accounting.ledger_postings as p set amount = p.amount + 0.0001
    from first_posting as f where f.posting_id = p.posting_id$$,
  array['transaction_is_balanced'], 'a debit that is too high'
);
select pg_temp.cooks(
  $$delete from accounting.ledger_postings as p
    using first_posting as f where f.posting_id = p.posting_id$$,
  array['transaction_has_its_response', 'transaction_is_balanced'], 'a posting that is gone'
);
select pg_temp.cooks(
  $$delete from accounting.ledger_postings as p
    using first_posting as f where f.transaction_id = p.transaction_id$$,
  array['transaction_has_its_response', 'transaction_is_balanced'], 'all of them'
);
select pg_temp.cooks(
  $$update accounting.ledger_transactions as t set response_payload = r.text,
      output_hash = encode(sha256(convert_to(r.text, 'UTF8')), 'hex')
    from (values ('{}')) as r (text) where t.external_id = 'first'
      and t.organization_id = 'f0000000-0000-4000-8000-000000000000'$$,
  array['transaction_has_its_response'], 'another response'
);
select pg_temp.cooks(
  $$update accounting.ledger_transactions as t set response_payload = null, output_hash = null
    where t.external_id = 'first' and t.organization_id = 'f0000000-0000-4000-8000-000000000000'$$,
  array['transaction_has_its_response'], 'none'
);
select pg_temp.cooks(
  $$update accounting.ledger_transactions as t set input_hash = repeat('0', 64)
    where t.external_id = 'first' and t.organization_id = 'f0000000-0000-4000-8000-000000000000'$$,
  array['transaction_has_its_event', 'transaction_has_its_response'], 'another request'
);
select pg_temp.cooks(
  $$update accounting.ledger_postings as p set account_id = 'bank'
    from accounting.ledger_transactions as t
    where t.transaction_id = p.transaction_id and t.source_system = 'reversal'
      and p.account_id = 'cash'$$,
  array['reversal_undoes_its_transaction'], 'a reversal of something else'
);
select pg_temp.cooks(
  $$update accounting.ledger_transactions as t set recorded_at = t.recorded_at + interval '1 day'
    where t.external_id = 'first'$$,
  array['closed_period_takes_what_may_pass'], 'something new in a closed month'
);
select pg_temp.cooks(
  $$update accounting.ledger_transactions as t set recorded_at = t.recorded_at + interval '1 day',
      is_adjusting_entry = true, adjusting_reason_code = 'x'
    where t.external_id = 'first'$$,
  null, 'an adjusting entry may'
);
select pg_temp.cooks(
  $$update accounting.ledger_transactions as t set recorded_at = t.recorded_at + interval '1 day',
      is_adjusting_entry = true, adjusting_reason_code = 'x'
    where t.external_id = 'locked'$$,
  array['closed_period_takes_what_may_pass'], 'but not in a locked one'
);
select pg_temp.cooks(
  $$update accounting.accounts set parent_account_id = 'bank' where account_id = 'cash'
    and organization_id = 'f0000000-0000-4000-8000-000000000000'$$,
  array['accounts_are_a_forest'], 'accounts below each other'
);
select pg_temp.cooks(
  $$delete from audit.event_log where correlation_id = 'c-first'
    and organization_id = 'f0000000-0000-4000-8000-000000000000'$$,
  array['transaction_has_its_event'], 'an event that was deleted'
);
select pg_temp.cooks(
  $$delete from accounting.entities
    where organization_id = 'f0000000-0000-4000-8000-000000000001'$$,
  array['organization_has_its_books'], 'an organization without books'
);
select set_eq(
  'select check_name from books_found where check_name is not null',
  $$select (regexp_matches(prosrc, '^ +''([a-z_]+)'', \w\.(?:organization_)?id', 'gm'))[1]
    from pg_proc where oid = 'private.verify_accounting(uuid[], xid8)'::regprocedure$$,
  'every check of the books was broken'
);
select is_empty(
  $$select f.* from audit.verify_integrity('f0000000-0000-4000-8000-000000000000') as f$$,
  'and mended again'
);

-- What billing posts.
insert into tenancy.organizations (id, name) values
('f0000000-0000-4000-8000-000000000002', 'Hotel');
create temp table hotel as select 'f0000000-0000-4000-8000-000000000002'::uuid as org;
create temp table clock as select private.clock_now() as now;
select tests.freeze_clock(now - interval '3 days') from clock;
select tests.buy(org, 1) from hotel;
create temp table hotel_run as select tests.run(org, 1) as run from hotel;
select tests.call(run, 2.00003) from hotel_run;
select billing.reconcile_run(run) from hotel_run;
select tests.freeze_clock(now) from clock;
select accounting.post_provider_cost(org) from hotel;
set constraints all immediate;
select is_empty(
  'select f.* from hotel, private.verify_billing_posts(array[org]) as f',
  'nothing is wrong with what was posted'
);
alter table accounting.provider_cost_days disable trigger user;
alter table accounting.rounding_carries disable trigger user;
alter table accounting.accounts disable trigger user;
create temp table posts_found (check_name text);
create function pg_temp.posts(p_break text, p_expected text[], p_description text)
returns text language plpgsql as $$
declare
  v_found text[];
begin
  begin
    execute p_break;
    select array_agg(distinct f.check_name order by f.check_name) into v_found
    from hotel, private.verify_billing_posts(array[org]) as f;
    raise exception using errcode = 'TS000';
  exception when sqlstate 'TS000' then
    null;
  end;
  insert into posts_found select unnest(v_found);
  return extensions.is(v_found, p_expected, p_description);
end
$$;
select pg_temp.posts(
  $$delete from accounting.ledger_postings as p using accounting.ledger_transactions as t
    where t.transaction_id = p.transaction_id and t.description = 'run_charge'
      and t.organization_id = (select org from hotel)$$,
  array[
    'books_and_carries_are_the_ledger', 'customer_credits_are_what_is_left',
    'movement_is_in_the_books', 'revenue_is_charges_less_refunds_and_owed'
  ], 'a movement without its bundle'
);
select pg_temp.posts(
  $$update accounting.ledger_transactions as t set external_id = 'other'
    where t.description = 'run_charge' and t.organization_id = (select org from hotel)$$,
  array['movement_is_in_the_books'], 'a bundle of something else'
);
select pg_temp.posts(
  $$update accounting.ledger_postings as p set memo = 'cash'
    where p.memo = 'receivable' and p.organization_id = (select org from hotel)$$,
  array[
    'books_and_carries_are_the_ledger', 'cash_is_what_was_paid', 'movement_is_in_the_books',
    'receivable_is_what_is_owed'
  ], 'a posting on another line'
);
select pg_temp.posts(
  $$update accounting.rounding_carries as c set carry_usd = c.carry_usd - 0.00001
    where c.credit_line = 'revenue' and c.debit_line = 'receivable'
      and c.organization_id = (select org from hotel)$$,
  array[
    'books_and_carries_are_the_ledger', 'receivable_is_what_is_owed',
    'revenue_is_charges_less_refunds_and_owed'
  ], 'a carry that is lost'
);
select pg_temp.posts(
  $$update accounting.rounding_carries as c set carry_usd = c.carry_usd + 0.0001
    where c.debit_line = 'provider_cost' and c.organization_id = (select org from hotel)$$,
  array['books_and_carries_are_the_ledger', 'carry_is_below_what_the_books_show'],
  'a carry that the books should show'
);
select pg_temp.posts(
  $$update accounting.accounts as a set account_type = 'expense'
    where a.account_id = 'billing:cash' and a.organization_id = (select org from hotel)$$,
  array['line_has_an_account_of_its_type'], 'cash on an account that is none'
);
select pg_temp.posts(
  $$update accounting.provider_cost_days as d set cost_usd = d.cost_usd + 1
    where d.organization_id = (select org from hotel)$$,
  array['books_and_carries_are_the_ledger', 'provider_cost_is_of_its_usage'],
  'a cost that nothing caused'
);
select pg_temp.posts(
  $$update accounting.provider_cost_days as d set usage_usd = d.usage_usd - 1
    where d.organization_id = (select org from hotel)$$,
  array['usage_of_a_posted_day_is_posted'], 'usage that was left out'
);
select pg_temp.posts(
  $$update accounting.provider_cost_days as d
    set usage_usd = d.usage_usd - 1, posted_at = d.posted_at - interval '3 days'
    where d.organization_id = (select org from hotel)$$,
  null, 'it may have landed since'
);
select pg_temp.posts(
  $$update accounting.provider_cost_days as d
    set usage_usd = d.usage_usd + 1, posted_at = d.posted_at - interval '3 days'
    where d.organization_id = (select org from hotel)$$,
  array['usage_of_a_posted_day_is_posted'], 'but none that never did'
);
select set_eq(
  'select check_name from posts_found where check_name is not null',
  $$select (regexp_matches(prosrc, '^ +\(?''([a-z]+(?:_[a-z]+){3,})'',', 'gm'))[1]
    from pg_proc where oid = 'private.verify_billing_posts(uuid[])'::regprocedure$$,
  'every check of what was posted was broken'
);

select * from finish();
rollback;
