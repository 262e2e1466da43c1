-- Members with an eye on money read what happened; operators pass events on. Server roles verify;
-- they read every table the checks compare.

revoke all on table
audit.event_log, audit.outbox, audit.seal_epochs, audit.sealed_ledgers, audit.seals,
audit.seal_roots, audit.seal_leaves, audit.checkpoints, audit.tombstones
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

-- Seals are no secret, but what they are over is: server roles read them, nobody writes them.
do $$
declare
  v_table text;
begin
  foreach v_table in array array[
    'seal_epochs', 'sealed_ledgers', 'seals', 'seal_roots', 'seal_leaves', 'checkpoints'
  ] loop
    execute format('alter table audit.%I enable row level security', v_table);
    execute format(
      'grant select on table audit.%I to service_role, app_user, tallystick_reader, '
      'tallystick_writer', v_table
    );
    execute format(
      'create policy %I on audit.%I for select '
      'to app_user, service_role, tallystick_reader, tallystick_writer using (true)',
      v_table || '_select_trusted', v_table
    );
  end loop;
end
$$;

revoke execute on function
private.emit_event(uuid, text, uuid, jsonb),
private.leave_tombstone(),
audit.acknowledge_events(uuid, uuid[]),
private.merkle_root(bytea[]),
private.seal_ledger(regclass, name, name[], name[], interval),
private.row_id_expression(audit.sealed_ledgers),
private.leaf_expression(audit.sealed_ledgers, text),
private.root_leaf(audit.seal_roots),
private.seal_hash(audit.seals),
private.enter_epoch(),
private.make_leaves(audit.sealed_ledgers, audit.seals, integer),
audit.seal_ledgers(integer),
private.seal_tolerance(),
private.verify_leaves(audit.sealed_ledgers, uuid, integer),
private.verify_chain(uuid),
audit.verify_seals(uuid, text),
private.figure(numeric),
private.verify_metering(uuid[], xid8),
private.unchecked_from(),
private.organizations_since(xid8),
audit.verify_integrity(uuid, boolean),
audit.make_checkpoint(boolean)
from public, anon, authenticated, service_role;

grant execute on function
audit.acknowledge_events(uuid, uuid[]),
audit.seal_ledgers(integer),
audit.make_checkpoint(boolean)
to service_role;
grant execute on function
private.merkle_root(bytea[]),
private.row_id_expression(audit.sealed_ledgers),
private.leaf_expression(audit.sealed_ledgers, text),
private.root_leaf(audit.seal_roots),
private.seal_hash(audit.seals),
private.seal_tolerance(),
private.verify_leaves(audit.sealed_ledgers, uuid, integer),
private.verify_chain(uuid),
audit.verify_seals(uuid, text),
private.rollup_keys(public.ai_usage_ledger),
private.figure(numeric),
private.verify_metering(uuid[], xid8),
private.unchecked_from(),
private.organizations_since(xid8),
audit.verify_integrity(uuid, boolean)
to service_role, app_user, tallystick_writer;
