-- Who sees and changes what. Members read what their organization was billed; nobody writes but
-- the functions. Server roles run and record, finance and owners dispute, operators move money in.

revoke all on table
billing.run_records, billing.agents, billing.tasks, billing.steps, billing.token_records,
billing.token_reconciliations, billing.credit_balances, billing.draws, billing.billing_ledger,
billing.credit_balance_history, billing.credit_grants, billing.credit_reservations,
billing.grant_movements, billing.receivables, billing.retention_policies, billing.runs,
billing.v_run_billing_summary, billing.v_org_billing_summary, billing.v_high_variance_runs
from public, anon, authenticated, service_role, app_user, tallystick_reader, tallystick_writer;

alter table billing.run_records enable row level security;
alter table billing.agents enable row level security;
alter table billing.tasks enable row level security;
alter table billing.steps enable row level security;
alter table billing.token_records enable row level security;
alter table billing.token_reconciliations enable row level security;
alter table billing.credit_balances enable row level security;
alter table billing.draws enable row level security;
alter table billing.billing_ledger enable row level security;
alter table billing.credit_balance_history enable row level security;
alter table billing.credit_grants enable row level security;
alter table billing.credit_reservations enable row level security;
alter table billing.grant_movements enable row level security;
alter table billing.receivables enable row level security;
alter table billing.retention_policies enable row level security;

grant select on table
billing.run_records, billing.agents, billing.tasks, billing.steps, billing.token_records,
billing.token_reconciliations, billing.credit_balances, billing.draws, billing.billing_ledger,
billing.credit_balance_history, billing.credit_grants, billing.credit_reservations,
billing.grant_movements, billing.receivables, billing.retention_policies, billing.runs,
billing.v_run_billing_summary, billing.v_org_billing_summary, billing.v_high_variance_runs
to authenticated, service_role, app_user, tallystick_reader, tallystick_writer;

create policy run_records_select_member on billing.run_records
for select to authenticated
using (org_id = any((select private.member_organization_ids())::uuid[]));
create policy run_records_select_trusted on billing.run_records
for select to app_user, service_role, tallystick_reader, tallystick_writer using (true);

create policy agents_select_member on billing.agents
for select to authenticated
using (org_id = any((select private.member_organization_ids())::uuid[]));
create policy agents_select_trusted on billing.agents
for select to app_user, service_role, tallystick_reader, tallystick_writer using (true);

create policy tasks_select_member on billing.tasks
for select to authenticated
using (org_id = any((select private.member_organization_ids())::uuid[]));
create policy tasks_select_trusted on billing.tasks
for select to app_user, service_role, tallystick_reader, tallystick_writer using (true);

create policy steps_select_member on billing.steps
for select to authenticated
using (org_id = any((select private.member_organization_ids())::uuid[]));
create policy steps_select_trusted on billing.steps
for select to app_user, service_role, tallystick_reader, tallystick_writer using (true);

create policy token_records_select_member on billing.token_records
for select to authenticated
using (org_id = any((select private.member_organization_ids())::uuid[]));
create policy token_records_select_trusted on billing.token_records
for select to app_user, service_role, tallystick_reader, tallystick_writer using (true);

create policy token_reconciliations_select_member on billing.token_reconciliations
for select to authenticated
using (org_id = any((select private.member_organization_ids())::uuid[]));
create policy token_reconciliations_select_trusted on billing.token_reconciliations
for select to app_user, service_role, tallystick_reader, tallystick_writer using (true);

create policy credit_balances_select_member on billing.credit_balances
for select to authenticated
using (org_id = any((select private.member_organization_ids())::uuid[]));
create policy credit_balances_select_trusted on billing.credit_balances
for select to app_user, service_role, tallystick_reader, tallystick_writer using (true);

create policy draws_select_member on billing.draws
for select to authenticated
using (org_id = any((select private.member_organization_ids())::uuid[]));
create policy draws_select_trusted on billing.draws
for select to app_user, service_role, tallystick_reader, tallystick_writer using (true);

create policy billing_ledger_select_member on billing.billing_ledger
for select to authenticated
using (org_id = any((select private.member_organization_ids())::uuid[]));
create policy billing_ledger_select_trusted on billing.billing_ledger
for select to app_user, service_role, tallystick_reader, tallystick_writer using (true);

create policy credit_balance_history_select_member on billing.credit_balance_history
for select to authenticated
using (org_id = any((select private.member_organization_ids())::uuid[]));
create policy credit_balance_history_select_trusted on billing.credit_balance_history
for select to app_user, service_role, tallystick_reader, tallystick_writer using (true);

create policy credit_grants_select_member on billing.credit_grants
for select to authenticated
using (org_id = any((select private.member_organization_ids())::uuid[]));
create policy credit_grants_select_trusted on billing.credit_grants
for select to app_user, service_role, tallystick_reader, tallystick_writer using (true);

create policy credit_reservations_select_member on billing.credit_reservations
for select to authenticated
using (org_id = any((select private.member_organization_ids())::uuid[]));
create policy credit_reservations_select_trusted on billing.credit_reservations
for select to app_user, service_role, tallystick_reader, tallystick_writer using (true);

create policy grant_movements_select_member on billing.grant_movements
for select to authenticated
using (org_id = any((select private.member_organization_ids())::uuid[]));
create policy grant_movements_select_trusted on billing.grant_movements
for select to app_user, service_role, tallystick_reader, tallystick_writer using (true);

create policy receivables_select_member on billing.receivables
for select to authenticated
using (org_id = any((select private.member_organization_ids())::uuid[]));
create policy receivables_select_trusted on billing.receivables
for select to app_user, service_role, tallystick_reader, tallystick_writer using (true);

-- Rules, not rows of anybody.
create policy retention_policies_select_all on billing.retention_policies
for select to authenticated, app_user, service_role, tallystick_reader, tallystick_writer
using (true);

revoke execute on function
private.sum_of_parts(private.grant_part[]),
private.announce_low_balance(),
private.move_credits(billing.billing_ledger, private.grant_part[]),
private.draft_movement(uuid, text, text, text, uuid, uuid, text),
private.free_parts(uuid, numeric, text),
private.expire_grants(uuid),
private.lock_credits(uuid),
private.available_credits(uuid),
private.shift_reservation(uuid, uuid, private.grant_part[], integer),
private.reserved_parts(uuid, uuid, numeric, boolean),
private.reserve_credits(uuid, uuid, numeric),
private.unreserve_credits(uuid, uuid, numeric),
private.charge_reserved(billing.billing_ledger, uuid, numeric),
private.charge_available(billing.billing_ledger, numeric, text),
private.charged_parts(uuid, uuid, numeric),
private.refund_charges(billing.billing_ledger, numeric),
billing.audit_log_insert(),
private.open_credits(uuid),
private.assert_movement(text, numeric),
private.assert_key(text, text),
private.find_movement(billing.billing_ledger, numeric, billing.credit_grants),
private.add_credits(billing.billing_ledger, numeric, billing.credit_grants),
private.draft_grant(text, integer, text, timestamptz),
private.collect_receivables(uuid, uuid),
billing.purchase_credits(uuid, numeric, text, timestamptz, text),
billing.grant_credits(uuid, text, numeric, text, timestamptz, integer, text, text),
billing.adjust_credits(uuid, numeric, text, text, text),
private.credit_facts(uuid, numeric, numeric),
billing.expire_credits(uuid, integer),
private.set_low_balance(uuid, numeric),
billing.set_low_balance(uuid, numeric),
private.fundable(uuid, timestamptz, timestamptz),
private.overdue_in_draw(uuid, uuid, timestamptz),
private.is_held(uuid, uuid),
private.shrink_draw(uuid, uuid, numeric),
private.take_back_draws(uuid, timestamptz, uuid, boolean),
private.close_draw(uuid, uuid, numeric),
private.open_draw(uuid, timestamptz),
private.fund_draw(uuid, timestamptz, numeric),
private.fund_call(uuid, text[], timestamptz, numeric, private.coverage),
private.count_open_draws(uuid),
billing.close_draws(uuid, integer),
private.assert_run_estimate(private.run_estimate),
private.assert_run_size(uuid, uuid, private.run_estimate),
private.estimate_run(uuid, bigint, bigint, text, numeric, numeric),
private.resolve_organization_of_run(uuid),
private.find_run(uuid, uuid),
private.assert_not_frozen(uuid),
private.shown_run(uuid, uuid),
private.lock_own_slot(uuid),
private.reserve_for_run(uuid, uuid, numeric, text, boolean),
private.refuse_for_credits(uuid, numeric, text),
private.make_run(uuid, uuid, private.run_estimate, text, integer, timestamptz),
billing.start_run(uuid, bigint, bigint, text, numeric, numeric, text, integer, text),
billing.extend_run(uuid, bigint, bigint, numeric, numeric, text, uuid),
private.lock_run_slots(uuid, uuid),
private.assert_running(uuid, uuid),
private.assert_part_of_run(uuid, uuid, uuid, uuid, uuid),
billing.start_agent(uuid, text, uuid),
billing.start_task(uuid, text, uuid, uuid),
billing.start_step(uuid, text, uuid, uuid, uuid),
private.assert_end(text),
billing.end_part(uuid, uuid, text),
private.record_run_call(public.ai_usage_ledger, private.run_call),
private.is_run(uuid, uuid),
private.charge_late_usage(public.ai_usage_ledger),
private.assert_run_call(private.run_call, boolean, bigint),
private.measure_call(integer, integer, jsonb),
private.record_unheld_call(
  billing.run_records, text, private.measurement, numeric, private.run_call, text, text
),
billing.record_token_call(
  uuid, uuid, uuid, uuid, integer, integer, text, numeric, text, text, boolean, jsonb, bigint,
  uuid, text, uuid
),
private.settle_call(
  billing.run_records, uuid, text, private.measurement, numeric, text, private.run_call
),
private.variance_status(bigint, bigint),
private.compare_run(billing.run_records),
private.charge_run(billing.token_reconciliations, text, text),
private.close_run_holds(uuid, uuid, timestamptz, boolean),
private.end_run(billing.run_records, text, text, boolean),
private.close_run(billing.run_records, text, text),
private.end_parts_of_run(uuid, uuid, text, timestamptz),
billing.reconcile_run(uuid, uuid),
billing.complete_run(uuid, uuid),
billing.cancel_run(uuid, uuid),
billing.fail_run(uuid, text, uuid),
private.dispute_reconciliation(uuid, text, uuid),
billing.dispute_reconciliation(uuid, text, uuid),
private.refund_dispute(uuid, uuid, numeric),
billing.resolve_dispute(uuid, numeric, text, uuid),
billing.get_statement(uuid, date),
private.verify_billing(uuid[], xid8)
from public, anon, authenticated, service_role;

-- Everybody: what reads with the caller's rights. available_credits and what surveys call are among
-- them, as estimate_spend surveys with the rights of whoever asks.
grant execute on function
private.available_credits(uuid),
private.fundable(uuid, timestamptz, timestamptz),
private.overdue_in_draw(uuid, uuid, timestamptz),
private.resolve_organization_of_run(uuid),
private.is_run(uuid, uuid),
billing.get_statement(uuid, date)
to authenticated, service_role, app_user, tallystick_writer;

-- Finance, owners and server roles. The cores are definers: they ask for the role themselves.
grant execute on function
private.set_low_balance(uuid, numeric),
billing.set_low_balance(uuid, numeric),
private.dispute_reconciliation(uuid, text, uuid),
billing.dispute_reconciliation(uuid, text, uuid)
to authenticated, service_role, app_user, tallystick_writer;

-- Writers only: no tenant states what settles money.
grant execute on function
billing.start_run(uuid, bigint, bigint, text, numeric, numeric, text, integer, text),
billing.extend_run(uuid, bigint, bigint, numeric, numeric, text, uuid),
billing.start_agent(uuid, text, uuid),
billing.start_task(uuid, text, uuid, uuid),
billing.start_step(uuid, text, uuid, uuid, uuid),
billing.end_part(uuid, uuid, text),
billing.record_token_call(
  uuid, uuid, uuid, uuid, integer, integer, text, numeric, text, text, boolean, jsonb, bigint,
  uuid, text, uuid
),
private.variance_status(bigint, bigint),
billing.reconcile_run(uuid, uuid),
billing.complete_run(uuid, uuid),
billing.cancel_run(uuid, uuid),
billing.fail_run(uuid, text, uuid),
private.verify_billing(uuid[], xid8)
to service_role, app_user, tallystick_writer;

-- Operators only: money in, and housekeeping.
grant execute on function
billing.purchase_credits(uuid, numeric, text, timestamptz, text),
billing.grant_credits(uuid, text, numeric, text, timestamptz, integer, text, text),
billing.adjust_credits(uuid, numeric, text, text, text),
billing.expire_credits(uuid, integer),
billing.close_draws(uuid, integer),
billing.resolve_dispute(uuid, numeric, text, uuid)
to service_role;
