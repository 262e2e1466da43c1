-- Who sees and changes what. Members read their organization; members who may spend open and edit
-- workflows; nobody writes ledger, budgets, slots,
-- holds, rollups or keys but the functions.

revoke all on table
metering.workflows, metering.budgets, metering.budget_slots, metering.usage_rollups,
metering.holds, metering.request_keys, metering.budget_status, metering.spend_by_day,
metering.spend_by_model, metering.spend_by_workflow, metering.spend_by_user,
metering.spend_by_tag, public.ai_usage_ledger,
public.intent_workflows, public.ai_cost_by_organization_month, public.ai_cost_by_model,
public.ai_cost_by_workflow
from public, anon, authenticated, service_role, app_user, tallystick_reader, tallystick_writer;

alter table metering.workflows enable row level security;
alter table metering.budgets enable row level security;
alter table metering.budget_slots enable row level security;
alter table metering.holds enable row level security;
alter table metering.usage_rollups enable row level security;
alter table metering.request_keys enable row level security;
alter table public.ai_usage_ledger enable row level security;

grant select on table
metering.workflows, metering.budgets, metering.budget_slots, metering.holds,
metering.usage_rollups, metering.budget_status, metering.spend_by_day,
metering.spend_by_model, metering.spend_by_workflow, metering.spend_by_user,
metering.spend_by_tag, public.ai_usage_ledger, public.intent_workflows,
public.ai_cost_by_organization_month, public.ai_cost_by_model, public.ai_cost_by_workflow
to authenticated, service_role, app_user, tallystick_reader, tallystick_writer;

-- workflows, through public.intent_workflows or directly.
grant insert (organization_id, id, workflow_data), update (workflow_data)
on table metering.workflows to authenticated, service_role, app_user, tallystick_writer;
grant insert, update on table public.intent_workflows
to authenticated, service_role, app_user, tallystick_writer;

create policy workflows_select_member on metering.workflows
for select to authenticated
using (organization_id = any((select private.member_organization_ids())::uuid[]));
create policy workflows_insert_member on metering.workflows
for insert to authenticated
with check (
  organization_id = any(
    (
      select private.member_organization_ids(array['owner', 'admin', 'finance', 'member'])
    )::uuid[]
  )
);
create policy workflows_update_member on metering.workflows
for update to authenticated
using (
  organization_id = any(
    (
      select private.member_organization_ids(array['owner', 'admin', 'finance', 'member'])
    )::uuid[]
  )
)
with check (
  organization_id = any(
    (
      select private.member_organization_ids(array['owner', 'admin', 'finance', 'member'])
    )::uuid[]
  )
);
create policy workflows_select_trusted on metering.workflows
for select to app_user, service_role, tallystick_reader, tallystick_writer using (true);
create policy workflows_insert_trusted on metering.workflows
for insert to app_user, service_role, tallystick_writer with check (true);
create policy workflows_update_trusted on metering.workflows
for update to app_user, service_role, tallystick_writer using (true) with check (true);

create policy budgets_select_member on metering.budgets
for select to authenticated
using (organization_id = any((select private.member_organization_ids())::uuid[]));
create policy budgets_select_trusted on metering.budgets
for select to app_user, service_role, tallystick_reader, tallystick_writer using (true);

create policy budget_slots_select_member on metering.budget_slots
for select to authenticated
using (organization_id = any((select private.member_organization_ids())::uuid[]));
create policy budget_slots_select_trusted on metering.budget_slots
for select to app_user, service_role, tallystick_reader, tallystick_writer using (true);

create policy holds_select_member on metering.holds
for select to authenticated
using (organization_id = any((select private.member_organization_ids())::uuid[]));
create policy holds_select_trusted on metering.holds
for select to app_user, service_role, tallystick_reader, tallystick_writer using (true);

create policy usage_rollups_select_member on metering.usage_rollups
for select to authenticated
using (organization_id = any((select private.member_organization_ids())::uuid[]));
create policy usage_rollups_select_trusted on metering.usage_rollups
for select to app_user, service_role, tallystick_reader, tallystick_writer using (true);

create policy ai_usage_ledger_select_member on public.ai_usage_ledger
for select to authenticated
using (organization_id = any((select private.member_organization_ids())::uuid[]));
create policy ai_usage_ledger_select_trusted on public.ai_usage_ledger
for select to app_user, service_role, tallystick_reader, tallystick_writer using (true);

-- request_keys: the servers' own bookkeeping, not the members'.
grant select on table metering.request_keys
to service_role, app_user, tallystick_reader, tallystick_writer;
create policy request_keys_select_trusted on metering.request_keys
for select to app_user, service_role, tallystick_reader, tallystick_writer using (true);

revoke execute on function
private.scope_keys(uuid, uuid, uuid, uuid, text, text, text, jsonb),
private.cover(uuid, text[], timestamptz),
private.survey(uuid, text[], timestamptz, timestamptz),
private.has_overdue(uuid, timestamptz),
private.overdue(uuid, text, timestamptz, timestamptz),
private.charge(uuid, uuid[], smallint[], integer, timestamptz, numeric, numeric),
private.lock_first_slot(uuid),
private.gather_organization(uuid),
private.expire_overdue(uuid, timestamptz, uuid[], boolean, integer),
private.return_holds(uuid, metering.holds[]),
private.open_window(metering.budgets, timestamptz),
private.granted_limit(metering.budgets),
private.gather(uuid, text[], timestamptz, timestamptz, uuid[], boolean),
private.spread(metering.budgets, numeric, numeric),
private.charge_gathered(uuid, private.coverage, timestamptz, numeric, numeric),
private.find_request(uuid, metering.operation, text, text),
private.bind_request(uuid, metering.operation, text, text, uuid, uuid),
private.open_organization_budget(),
private.open_workflow_budget(),
private.begin_change(uuid),
private.announce_freeze(),
private.keep_time_zone(),
private.assert_may_set_budgets(uuid),
private.assert_scope(uuid, text, text),
private.assert_window(text, text),
private.assert_slots(text, integer),
private.present_time(uuid),
private.settled_in(metering.budgets, timestamptz, timestamptz),
private.held_in(metering.budgets, timestamptz, timestamptz),
private.lay_slots(metering.budgets),
private.refigure(metering.budgets, boolean),
private.zone_for(uuid, text),
private.set_budget(uuid, text, text, text, numeric, text, integer),
metering.set_budget(uuid, text, text, text, numeric, text, integer),
private.change_budget(uuid, uuid, text, text, text, integer),
private.is_born(metering.budgets),
private.assert_not_funded(metering.budgets),
metering.change_budget(uuid, uuid, text, text, text, integer),
private.remove_budget(uuid, text, text, text),
metering.remove_budget(uuid, text, text, text),
private.set_frozen(uuid, text, text, boolean),
metering.freeze(uuid, text, text),
metering.unfreeze(uuid, text, text),
private.resolve_organization_of_workflow(uuid),
private.assert_workflow(uuid, uuid),
private.effective_cap(numeric, numeric, numeric),
private.fits_workflow(uuid, uuid, numeric, numeric),
private.lock_organization(uuid),
public.check_workflow_cost_limit(uuid, numeric, numeric, uuid),
public.estimate_workflow_cost_limit(uuid, numeric, numeric, uuid),
private.monthly_cost(uuid, date),
private.monthly_holds(uuid, date),
private.present_month(uuid),
public.get_organization_monthly_ai_cost(uuid),
public.check_organization_monthly_quota(uuid, numeric),
private.assert_tags(text, jsonb),
private.assert_budget_profile(text, text),
private.draft_hold(
  uuid, text, bigint, bigint, uuid, uuid, uuid, uuid, text, jsonb, text, text, text[]
),
private.scope_keys_of(metering.holds),
private.assert_covered(metering.holds, private.coverage),
private.denied_as_frozen(uuid, text[]),
private.denied_outright(metering.holds, text[], private.coverage),
private.denied_as_exceeded(private.coverage),
private.denied_as_unpriced(private.estimate),
private.estimate_call(metering.holds, numeric, bigint, bigint, boolean, numeric),
private.affordable_tokens(numeric, private.estimate),
private.with_affordable_tokens(metering.spend_decision, private.estimate),
private.price_of_hold(metering.holds, text),
private.cost_call(metering.holds, private.measurement, numeric),
private.deny_unpriced(metering.holds, private.estimate, text[], timestamptz),
private.repeated_spend(uuid, text, text, bigint, timestamptz),
private.is_free(jsonb, numeric),
private.estimate_at(private.quote, bigint),
private.estimated_cost(private.estimate, bigint, bigint, numeric),
private.granted(metering.holds, text[], numeric),
private.present_decision(uuid, uuid, timestamptz),
private.is_over(uuid, uuid),
private.has_moved(uuid, text, text, uuid, timestamptz),
private.admit(metering.holds, numeric, interval, text, text, timestamptz),
private.assert_expiry(text, interval),
private.assert_minimum(boolean, numeric, numeric, numeric),
private.decide_spend(
  uuid, text, numeric, bigint, bigint, uuid, uuid, uuid, uuid, text, jsonb, text, text, text,
  interval, boolean, numeric, timestamptz
),
private.authorize_spend(
  uuid, text, numeric, bigint, bigint, uuid, uuid, uuid, uuid, text, jsonb, text, text, text,
  interval, boolean, numeric
),
public.authorize_spend(
  uuid, text, numeric, bigint, bigint, uuid, uuid, uuid, uuid, text, jsonb, text, text, text,
  interval, boolean, numeric
),
public.estimate_spend(
  uuid, text, numeric, bigint, bigint, uuid, uuid, uuid, uuid, text, jsonb, text, text, boolean,
  numeric
),
private.resolve_organization_of_hold(uuid),
private.rollup_keys(public.ai_usage_ledger),
private.roll_up(public.ai_usage_ledger, date, smallint),
private.roll_up_all(public.ai_usage_ledger[], date[], smallint),
private.book(
  public.ai_usage_ledger, numeric, private.coverage, date, metering.operation, text, text,
  uuid[], private.run_call
),
private.usage_of_hold(metering.holds, private.costing),
private.settle_hold(metering.holds, private.costing, text, text, uuid[], private.run_call),
private.settle_at_once(metering.holds, private.costing, private.run_call),
private.settle_measured(
  uuid, private.measurement, numeric, text, uuid, uuid[], private.run_call
),
private.is_settled_as(public.ai_usage_ledger, private.measurement, numeric),
private.settle_spend(uuid, jsonb, numeric, text, uuid, uuid[]),
public.settle_spend(uuid, jsonb, numeric, text, uuid),
public.record_usage_and_increment(uuid, uuid, text, integer, integer, numeric, text),
private.assert_may_release(metering.holds),
private.refuse_missing_hold(uuid, uuid),
private.release_spend(uuid, text, uuid),
public.release_spend(uuid, text, uuid),
private.lock_hold(uuid, uuid, timestamptz, boolean),
private.survey_closed_windows(uuid, text[], timestamptz, private.coverage),
public.extend_hold(uuid, interval, numeric, text, uuid),
metering.expire_holds(uuid, integer),
private.assert_items(jsonb),
private.assert_item(jsonb, text[]),
private.item_error_code(text),
private.item_error_detail(text, text),
private.authorize_item(uuid, jsonb, integer, timestamptz),
private.authorize_spend_batch(uuid, jsonb),
public.authorize_spend_batch(uuid, jsonb),
private.settle_plain_batch(uuid, jsonb),
private.settle_item(uuid, jsonb, integer, uuid[]),
public.settle_spend_batch(uuid, jsonb),
private.write_intent_workflow(),
public.upsert_intent_workflow(uuid, uuid, jsonb),
metering.waiting_budgets()
from public, anon, authenticated, service_role;

-- Readers and writers alike: what reads with the caller's rights.
grant execute on function
private.scope_keys(uuid, uuid, uuid, uuid, text, text, text, jsonb),
private.granted_limit(metering.budgets),
private.cover(uuid, text[], timestamptz),
private.survey(uuid, text[], timestamptz, timestamptz),
private.has_overdue(uuid, timestamptz),
private.overdue(uuid, text, timestamptz, timestamptz),
private.resolve_organization_of_workflow(uuid),
private.assert_workflow(uuid, uuid),
private.effective_cap(numeric, numeric, numeric),
private.fits_workflow(uuid, uuid, numeric, numeric),
private.monthly_cost(uuid, date),
private.monthly_holds(uuid, date),
private.present_month(uuid),
private.assert_tags(text, jsonb),
private.assert_budget_profile(text, text),
private.draft_hold(
  uuid, text, bigint, bigint, uuid, uuid, uuid, uuid, text, jsonb, text, text, text[]
),
private.scope_keys_of(metering.holds),
private.assert_covered(metering.holds, private.coverage),
private.denied_as_frozen(uuid, text[]),
private.denied_outright(metering.holds, text[], private.coverage),
private.denied_as_exceeded(private.coverage),
private.denied_as_unpriced(private.estimate),
private.is_free(jsonb, numeric),
private.estimate_at(private.quote, bigint),
private.estimated_cost(private.estimate, bigint, bigint, numeric),
private.estimate_call(metering.holds, numeric, bigint, bigint, boolean, numeric),
private.affordable_tokens(numeric, private.estimate),
private.with_affordable_tokens(metering.spend_decision, private.estimate),
private.granted(metering.holds, text[], numeric),
private.assert_minimum(boolean, numeric, numeric, numeric),
public.check_workflow_cost_limit(uuid, numeric, numeric, uuid),
public.estimate_workflow_cost_limit(uuid, numeric, numeric, uuid),
public.get_organization_monthly_ai_cost(uuid),
public.check_organization_monthly_quota(uuid, numeric),
public.estimate_spend(
  uuid, text, numeric, bigint, bigint, uuid, uuid, uuid, uuid, text, jsonb, text, text, boolean,
  numeric
),
public.upsert_intent_workflow(uuid, uuid, jsonb)
to authenticated, service_role, app_user, tallystick_writer;

-- Readers and writers alike: what takes money or gives it back. lock_organization locks counters of
-- an organization the caller belongs to, and changes nothing. The others are the cores of the
-- public functions beside them: they ask who the caller is themselves.
grant execute on function
private.lock_organization(uuid),
private.authorize_spend(
  uuid, text, numeric, bigint, bigint, uuid, uuid, uuid, uuid, text, jsonb, text, text, text,
  interval, boolean, numeric
),
private.authorize_spend_batch(uuid, jsonb),
private.release_spend(uuid, text, uuid),
public.authorize_spend(
  uuid, text, numeric, bigint, bigint, uuid, uuid, uuid, uuid, text, jsonb, text, text, text,
  interval, boolean, numeric
),
public.authorize_spend_batch(uuid, jsonb),
public.release_spend(uuid, text, uuid)
to authenticated, service_role, app_user, tallystick_writer;

-- Owners, admins and operators. The cores are definers: they ask for the role themselves.
grant execute on function
private.set_budget(uuid, text, text, text, numeric, text, integer),
private.change_budget(uuid, uuid, text, text, text, integer),
private.remove_budget(uuid, text, text, text),
private.set_frozen(uuid, text, text, boolean),
metering.set_budget(uuid, text, text, text, numeric, text, integer),
metering.change_budget(uuid, uuid, text, text, text, integer),
metering.remove_budget(uuid, text, text, text),
metering.freeze(uuid, text, text),
metering.unfreeze(uuid, text, text)
to authenticated, service_role;

-- Writers only: no tenant states what it cost.
grant execute on function
public.settle_spend(uuid, jsonb, numeric, text, uuid),
public.settle_spend_batch(uuid, jsonb),
public.record_usage_and_increment(uuid, uuid, text, integer, integer, numeric, text),
public.extend_hold(uuid, interval, numeric, text, uuid),
metering.expire_holds(uuid, integer),
metering.waiting_budgets()
to service_role, app_user, tallystick_writer;
