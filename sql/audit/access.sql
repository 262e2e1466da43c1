-- Members with an eye on money read what happened; operators pass events on. Server roles verify;
-- they read every table the checks compare.

revoke all on table audit.event_log, audit.outbox, audit.tombstones
from public, anon, authenticated, service_role, app_user, tallystick_reader, tallystick_writer;
alter table audit.event_log enable row level security;
alter table audit.outbox enable row level security;
alter table audit.tombstones enable row level security;

grant select on table audit.event_log
to authenticated, service_role, app_user, tallystick_reader, tallystick_writer;
grant select on table audit.outbox, audit.tombstones
to service_role, app_user, tallystick_reader, tallystick_writer;

create policy event_log_select_member on audit.event_log
for select to authenticated
using (
  organization_id = any(
    (select private.member_organization_ids(array['owner', 'admin', 'finance']))::uuid[]
  )
);
create policy event_log_select_trusted on audit.event_log
for select to app_user, service_role, tallystick_reader, tallystick_writer using (true);
create policy outbox_select_trusted on audit.outbox
for select to app_user, service_role, tallystick_reader, tallystick_writer using (true);
create policy tombstones_select_trusted on audit.tombstones
for select to app_user, service_role, tallystick_reader, tallystick_writer using (true);

revoke execute on function
private.emit_event(uuid, text, uuid, jsonb),
private.leave_tombstone(),
audit.acknowledge_events(uuid, uuid[]),
private.figure(numeric),
private.verify_metering(uuid),
audit.verify_integrity(uuid)
from public, anon, authenticated, service_role;

grant execute on function audit.acknowledge_events(uuid, uuid[]) to service_role;
grant execute on function
private.rollup_keys(public.ai_usage_ledger),
private.figure(numeric),
private.verify_metering(uuid),
audit.verify_integrity(uuid)
to service_role, app_user, tallystick_writer;
