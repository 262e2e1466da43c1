-- Who sees and changes what. Members read their organization; members who may spend open and edit
-- workflows; nobody writes ledger, budgets, slots, rollups or keys but the functions.

revoke all on table
metering.workflows, metering.budgets, metering.budget_slots, metering.usage_rollups,
metering.request_keys, public.ai_usage_ledger,
public.intent_workflows, public.ai_cost_by_organization_month, public.ai_cost_by_model,
public.ai_cost_by_workflow
from public, anon, authenticated, service_role, app_user, tallystick_reader, tallystick_writer;

alter table metering.workflows enable row level security;
alter table metering.budgets enable row level security;
alter table metering.budget_slots enable row level security;
alter table metering.usage_rollups enable row level security;
alter table metering.request_keys enable row level security;
alter table public.ai_usage_ledger enable row level security;

grant select on table
metering.workflows, metering.budgets, metering.budget_slots, metering.usage_rollups,
public.ai_usage_ledger, public.intent_workflows,
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
private.open_organization_budget(),
private.open_workflow_budget(),
private.gather_organization(uuid),
private.begin_change(uuid),
private.announce_freeze(),
private.keep_time_zone(),
private.put_budget(uuid, text, text, text, numeric),
private.resolve_organization_of_workflow(uuid),
private.assert_workflow(uuid, uuid),
private.effective_cap(numeric, numeric, numeric),
private.fits_workflow(uuid, uuid, numeric, numeric),
private.lock_workflow(uuid, uuid),
private.monthly_cost(uuid, date),
private.present_month(uuid),
private.find_request(uuid, text, text, text),
private.bind_request(uuid, text, text, jsonb, uuid),
private.covering_budgets(uuid, uuid),
private.charge_slot(metering.budgets, integer, timestamptz, numeric),
private.write_intent_workflow(),
metering.set_budget(uuid, text, text, text, numeric, text, integer),
metering.remove_budget(uuid, text, text, text),
public.check_workflow_cost_limit(uuid, numeric, numeric, uuid),
public.estimate_workflow_cost_limit(uuid, numeric, numeric, uuid),
public.get_organization_monthly_ai_cost(uuid),
public.check_organization_monthly_quota(uuid, numeric),
public.record_usage_and_increment(uuid, uuid, text, integer, integer, numeric, text),
public.upsert_intent_workflow(uuid, uuid, jsonb)
from public, anon, authenticated, service_role;

-- Readers and writers alike. lock_workflow is a definer: it locks counters of workflows whose
-- organization the caller belongs to, and changes nothing.
grant execute on function
private.resolve_organization_of_workflow(uuid),
private.assert_workflow(uuid, uuid),
private.effective_cap(numeric, numeric, numeric),
private.fits_workflow(uuid, uuid, numeric, numeric),
private.lock_workflow(uuid, uuid),
private.monthly_cost(uuid, date),
private.present_month(uuid),
public.check_workflow_cost_limit(uuid, numeric, numeric, uuid),
public.estimate_workflow_cost_limit(uuid, numeric, numeric, uuid),
public.get_organization_monthly_ai_cost(uuid),
public.check_organization_monthly_quota(uuid, numeric),
public.upsert_intent_workflow(uuid, uuid, jsonb)
to authenticated, service_role, app_user, tallystick_writer;

-- Owners, admins and operators. put_budget is a definer: it asks for the role itself.
grant execute on function
private.put_budget(uuid, text, text, text, numeric),
metering.set_budget(uuid, text, text, text, numeric, text, integer),
metering.remove_budget(uuid, text, text, text)
to authenticated, service_role;

-- Writers only: no tenant states what it cost.
grant execute on function
public.record_usage_and_increment(uuid, uuid, text, integer, integer, numeric, text)
to service_role, app_user, tallystick_writer;
