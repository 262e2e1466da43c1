-- Who sees what billing posts and where it is booked. Nobody writes it but the functions.

revoke all on table
accounting.account_map, accounting.rounding_carries, accounting.provider_cost_days,
private.billing_flows
from public, anon, authenticated, service_role, app_user, tallystick_reader, tallystick_writer;

alter table accounting.account_map enable row level security;
alter table accounting.rounding_carries enable row level security;
alter table accounting.provider_cost_days enable row level security;

grant select on table
accounting.account_map, accounting.rounding_carries, accounting.provider_cost_days
to authenticated, service_role, app_user, tallystick_reader, tallystick_writer;

-- What verify_integrity reads with the caller's rights.
grant select on table private.billing_flows to service_role, app_user, tallystick_writer;

create policy account_map_select_member on accounting.account_map
for select to authenticated
using (
  organization_id = any(
    (select private.member_organization_ids(array['owner', 'admin', 'finance']))::uuid[]
  )
);
create policy account_map_select_trusted on accounting.account_map
for select to app_user, service_role, tallystick_reader, tallystick_writer using (true);

create policy rounding_carries_select_member on accounting.rounding_carries
for select to authenticated
using (
  organization_id = any(
    (select private.member_organization_ids(array['owner', 'admin', 'finance']))::uuid[]
  )
);
create policy rounding_carries_select_trusted on accounting.rounding_carries
for select to app_user, service_role, tallystick_reader, tallystick_writer using (true);

create policy provider_cost_days_select_member on accounting.provider_cost_days
for select to authenticated
using (
  organization_id = any(
    (select private.member_organization_ids(array['owner', 'admin', 'finance']))::uuid[]
  )
);
create policy provider_cost_days_select_trusted on accounting.provider_cost_days
for select to app_user, service_role, tallystick_reader, tallystick_writer using (true);

revoke execute on function
private.book_lines(),
private.open_account_map(uuid),
private.set_account_map(uuid, text, text, text, text),
accounting.set_account_map(uuid, text, text, text, text),
accounting.get_account_map(uuid),
private.split_total(numeric[]),
private.round_flows(uuid, private.flow[]),
private.legs_of_flows(uuid, private.flow[]),
private.post_flows(uuid, text, date, date, text, text, private.flow[]),
private.post_billing(uuid, uuid, text),
private.kept_lines(uuid[]),
accounting.post_history(uuid),
private.provider_cost(public.ai_usage_ledger),
private.post_provider_day(uuid, date),
private.unposted_days(uuid),
private.post_provider_days(uuid, date[]),
accounting.post_provider_cost(uuid, date),
private.verify_billing_posts(uuid[])
from public, anon, authenticated, service_role;

-- Members with an eye on money, and server roles. The core asks for the role itself.
grant execute on function
private.set_account_map(uuid, text, text, text, text),
accounting.set_account_map(uuid, text, text, text, text),
accounting.get_account_map(uuid),
private.book_lines()
to authenticated, service_role, app_user, tallystick_writer;

-- What verify_integrity reads with the caller's rights.
grant execute on function
private.kept_lines(uuid[]),
private.pinned_price(uuid, uuid, uuid),
private.provider_cost(public.ai_usage_ledger),
private.verify_billing_posts(uuid[])
to service_role, app_user, tallystick_writer;

-- Operators.
grant execute on function
accounting.post_history(uuid),
accounting.post_provider_cost(uuid, date)
to service_role;

-- What moved before the books were kept.
do $$
begin
  perform accounting.post_history();
  set constraints all immediate;
end
$$;
