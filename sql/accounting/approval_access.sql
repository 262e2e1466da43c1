-- Who sees what waits for approval, and decides.

revoke all on table
accounting.policy_rules, accounting.approval_proposals, accounting.approval_decisions
from public, anon, authenticated, service_role, app_user, tallystick_reader, tallystick_writer;

alter table accounting.policy_rules enable row level security;
alter table accounting.approval_proposals enable row level security;
alter table accounting.approval_decisions enable row level security;

grant select on table
accounting.policy_rules, accounting.approval_proposals, accounting.approval_decisions
to authenticated, service_role, app_user, tallystick_reader, tallystick_writer;

create policy policy_rules_select_member on accounting.policy_rules
for select to authenticated
using (
  organization_id = any(
    (select private.member_organization_ids(array['owner', 'admin', 'finance']))::uuid[]
  )
);
create policy policy_rules_select_trusted on accounting.policy_rules
for select to app_user, service_role, tallystick_reader, tallystick_writer using (true);

create policy approval_proposals_select_member on accounting.approval_proposals
for select to authenticated
using (
  organization_id = any(
    (select private.member_organization_ids(array['owner', 'admin', 'finance']))::uuid[]
  )
);
create policy approval_proposals_select_trusted on accounting.approval_proposals
for select to app_user, service_role, tallystick_reader, tallystick_writer using (true);

create policy approval_decisions_select_member on accounting.approval_decisions
for select to authenticated
using (
  organization_id = any(
    (select private.member_organization_ids(array['owner', 'admin', 'finance']))::uuid[]
  )
);
create policy approval_decisions_select_trusted on accounting.approval_decisions
for select to app_user, service_role, tallystick_reader, tallystick_writer using (true);
