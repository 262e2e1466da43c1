-- Who reads and writes the journal: owners their own, whoever it was shared with reads it, server
-- roles all of it. Nobody changes what is written.

revoke all on table
public.ledger_events_v0, public.ledger_audience_v0, private.ledger_heads, public.ledger_current_v0,
public.ledger_current_expertise_v0, public.ledger_current_payments_v0,
public.ledger_current_moderation_v0, public.ledger_current_verification_v0,
public.ledger_current_security_v0, public.ledger_current_geo_v0, public.ledger_current_models_v0,
public.ledger_current_admin_exports_v0, public.ledger_current_devices_v0
from public, anon, authenticated, service_role, app_user, tallystick_reader, tallystick_writer;

alter table public.ledger_events_v0 enable row level security;
alter table public.ledger_audience_v0 enable row level security;
alter table private.ledger_heads enable row level security;

grant select on table
public.ledger_events_v0, public.ledger_audience_v0, private.ledger_heads, public.ledger_current_v0,
public.ledger_current_expertise_v0, public.ledger_current_payments_v0,
public.ledger_current_moderation_v0, public.ledger_current_verification_v0,
public.ledger_current_security_v0, public.ledger_current_geo_v0, public.ledger_current_models_v0,
public.ledger_current_admin_exports_v0, public.ledger_current_devices_v0
to authenticated, service_role, app_user, tallystick_reader, tallystick_writer;

-- A time of writing is the database's, not the writer's.
grant insert (
  organization_id, id, logical_id, revision, supersedes_id, op, domain, event_type, owner_user_id,
  owner_agent_id, entity_type, entity_id, country_code, region_code, city_code, locality_code,
  occurred_at, payload
)
on table public.ledger_events_v0 to authenticated, service_role, app_user, tallystick_writer;

create policy ledger_events_v0_select_owner_or_audience on public.ledger_events_v0
for select to authenticated
using (
  owner_user_id = (select auth.uid())
  or (organization_id, logical_id) in (
    select
      a.organization_id,
      a.logical_id
    from public.ledger_audience_v0 as a
    where a.audience_user_id = (select auth.uid())
      and (a.expires_at > (select private.clock_now())) is not false
  )
);
create policy ledger_events_v0_insert_owner on public.ledger_events_v0
for insert to authenticated
with check (
  owner_user_id = (select auth.uid())
  and (
    organization_id = (select auth.uid())
    or organization_id = any(
      (
        select private.member_organization_ids(array['owner', 'admin', 'finance', 'member'])
      )::uuid[]
    )
  )
);
create policy ledger_events_v0_select_trusted on public.ledger_events_v0
for select to app_user, service_role, tallystick_reader, tallystick_writer using (true);
create policy ledger_events_v0_insert_trusted on public.ledger_events_v0
for insert to app_user, service_role, tallystick_writer with check (true);

create policy ledger_heads_select_owner_or_audience on private.ledger_heads
for select to authenticated
using (
  owner_user_id = (select auth.uid())
  or (organization_id, logical_id) in (
    select
      a.organization_id,
      a.logical_id
    from public.ledger_audience_v0 as a
    where a.audience_user_id = (select auth.uid())
      and (a.expires_at > (select private.clock_now())) is not false
  )
);
create policy ledger_heads_select_trusted on private.ledger_heads
for select to app_user, service_role, tallystick_reader, tallystick_writer using (true);

-- The audience sees that it is one; who else is, only server roles know.
grant insert (organization_id, logical_id, audience_user_id, granted_by, expires_at),
update (expires_at), delete
on table public.ledger_audience_v0 to service_role;
create policy ledger_audience_v0_select_self on public.ledger_audience_v0
for select to authenticated using (audience_user_id = (select auth.uid()));
create policy ledger_audience_v0_select_trusted on public.ledger_audience_v0
for select to app_user, service_role, tallystick_reader, tallystick_writer using (true);
create policy ledger_audience_v0_insert_service on public.ledger_audience_v0
for insert to service_role with check (true);
create policy ledger_audience_v0_update_service on public.ledger_audience_v0
for update to service_role using (true) with check (true);
create policy ledger_audience_v0_delete_service on public.ledger_audience_v0
for delete to service_role using (true);

revoke execute on function
private.assert_payload(jsonb),
private.may_follow(text, text),
private.admit_ledger_event(),
private.move_ledger_head(),
public.ledger_assert_v0(
  text, text, jsonb, text, text, timestamptz, uuid, text, text, text, text, text, uuid, uuid
),
private.revise_event(text, uuid, uuid, jsonb, text, timestamptz, uuid),
public.ledger_amend_v0(uuid, jsonb, uuid, text, timestamptz, uuid),
public.ledger_void_v0(uuid, text, text, uuid, uuid),
public.ledger_restate_v0(uuid, jsonb, uuid, uuid),
private.verify_journal(uuid[], xid8)
from public, anon, authenticated, service_role;

-- With the caller's rights, all of them: policies and the trigger decide.
grant execute on function
public.ledger_assert_v0(
  text, text, jsonb, text, text, timestamptz, uuid, text, text, text, text, text, uuid, uuid
),
private.revise_event(text, uuid, uuid, jsonb, text, timestamptz, uuid),
public.ledger_amend_v0(uuid, jsonb, uuid, text, timestamptz, uuid),
public.ledger_void_v0(uuid, text, text, uuid, uuid),
public.ledger_restate_v0(uuid, jsonb, uuid, uuid)
to authenticated, service_role, app_user, tallystick_writer;
grant execute on function
private.may_follow(text, text),
private.verify_journal(uuid[], xid8)
to service_role, app_user, tallystick_writer;
