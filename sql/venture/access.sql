-- Who sees and changes what ventures use. Members read; those who may spend describe it; server
-- roles write it; the service role removes what need not be kept. What was used, nobody changes.

revoke all on table
public.venture_token_ledger, metering.venture_allocations, metering.venture_profiles,
metering.venture_profile_status, metering.venture_spend, metering.venture_spend_total,
metering.venture_spend_by_stage, metering.venture_spend_by_phase, metering.venture_spend_by_agent
from public, anon, authenticated, service_role, app_user, tallystick_reader, tallystick_writer;

alter table public.venture_token_ledger enable row level security;
alter table metering.venture_allocations enable row level security;

grant select on table
public.venture_token_ledger, metering.venture_allocations, metering.venture_profiles,
metering.venture_profile_status, metering.venture_spend, metering.venture_spend_total,
metering.venture_spend_by_stage, metering.venture_spend_by_phase, metering.venture_spend_by_agent
to authenticated, service_role, app_user, tallystick_reader, tallystick_writer;

-- Its time, its usage and its transaction are the database's to say, not the writer's.
grant insert (
  id, venture_id, lifecycle_stage, phase, agent_type, model_id, job_id, crew_id, tokens_input,
  tokens_output, tokens_total, cost_usd, budget_profile, budget_allocation_pct, is_simulation,
  simulation_run_id, operation_type, metadata, created_by, organization_id
)
on table public.venture_token_ledger to service_role, app_user, tallystick_writer;
grant update (metadata, operation_type, crew_id)
on table public.venture_token_ledger to authenticated;
grant delete on table public.venture_token_ledger to service_role;

create policy venture_token_ledger_select_member on public.venture_token_ledger
for select to authenticated
using (organization_id = any((select private.member_organization_ids())::uuid[]));
create policy venture_token_ledger_update_member on public.venture_token_ledger
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
create policy venture_token_ledger_select_trusted on public.venture_token_ledger
for select to app_user, service_role, tallystick_reader, tallystick_writer using (true);
create policy venture_token_ledger_insert_trusted on public.venture_token_ledger
for insert to app_user, service_role, tallystick_writer with check (true);
create policy venture_token_ledger_delete_service on public.venture_token_ledger
for delete to service_role using (true);

create policy venture_allocations_select_member on metering.venture_allocations
for select to authenticated
using (organization_id = any((select private.member_organization_ids())::uuid[]));
create policy venture_allocations_select_trusted on metering.venture_allocations
for select to app_user, service_role, tallystick_reader, tallystick_writer using (true);

revoke execute on function
private.share_of(numeric, numeric),
private.cut_shares(uuid, uuid),
private.recut_shares(),
private.allocate_venture_budget(uuid, uuid, text, numeric),
metering.allocate_venture_budget(uuid, uuid, text, numeric),
private.measure_venture(integer, integer, jsonb),
private.usage_of_venture(public.venture_token_ledger, private.measurement),
private.book_venture(public.ai_usage_ledger, text, text),
private.organization_of_venture(uuid, uuid),
private.allocation_of(uuid, uuid, text),
private.admit_venture_row(),
private.keep_booked_row(),
private.keep_venture_row(),
private.keep_until_retention(),
private.draft_venture_row(
  uuid, integer, text, text, numeric, text, uuid, text, text, boolean, uuid, text, jsonb, uuid
),
private.write_venture_row(public.venture_token_ledger, public.ai_usage_ledger),
private.settle_venture(public.venture_token_ledger, private.measurement, uuid, text),
public.record_venture_usage(
  uuid, integer, text, text, integer, integer, numeric, text, uuid, text, text, boolean, uuid,
  text, jsonb, text, uuid, uuid, jsonb
),
private.verify_ventures(uuid[], xid8)
from public, anon, authenticated, service_role;

-- Owners, admins and operators. The core is a definer: it asks for the role itself.
grant execute on function
private.allocate_venture_budget(uuid, uuid, text, numeric),
metering.allocate_venture_budget(uuid, uuid, text, numeric)
to authenticated, service_role;

-- Writers only: no tenant states what it cost.
grant execute on function
public.record_venture_usage(
  uuid, integer, text, text, integer, integer, numeric, text, uuid, text, text, boolean, uuid,
  text, jsonb, text, uuid, uuid, jsonb
),
private.share_of(numeric, numeric),
private.verify_ventures(uuid[], xid8)
to service_role, app_user, tallystick_writer;
