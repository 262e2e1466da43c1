-- Who sees and changes what. Members read their organizations; owners and admins manage members
-- and ventures; nobody but the server roles touches an organization itself.

revoke all on table
tenancy.organizations, tenancy.memberships, tenancy.profiles, tenancy.ventures
from public, anon, authenticated, service_role, app_user, tallystick_reader, tallystick_writer;

alter table tenancy.organizations enable row level security;
alter table tenancy.memberships enable row level security;
alter table tenancy.profiles enable row level security;
alter table tenancy.ventures enable row level security;

grant select on table
tenancy.organizations, tenancy.memberships, tenancy.profiles, tenancy.ventures
to authenticated, service_role, app_user, tallystick_reader, tallystick_writer;

-- organizations: read by members; opened through tenancy.create_organization.
grant insert (id, name, time_zone, frozen_at) on table tenancy.organizations to service_role;
grant update (name, time_zone, frozen_at) on table tenancy.organizations to service_role;

create policy organizations_select_member on tenancy.organizations
for select to authenticated
using (id = any((select private.member_organization_ids())::uuid[]));
create policy organizations_select_trusted on tenancy.organizations
for select to app_user, service_role, tallystick_reader, tallystick_writer using (true);
create policy organizations_insert_service on tenancy.organizations
for insert to service_role with check (true);
create policy organizations_update_service on tenancy.organizations
for update to service_role using (true) with check (true);

-- memberships: owners manage everybody, admins everybody but owners; anyone may leave.
grant insert (organization_id, user_id, role), update (role), delete
on table tenancy.memberships to authenticated, service_role;

create policy memberships_select_member on tenancy.memberships
for select to authenticated
using (organization_id = any((select private.member_organization_ids())::uuid[]));
create policy memberships_insert_manager on tenancy.memberships
for insert to authenticated
with check (
  organization_id = any((select private.member_organization_ids(array['owner']))::uuid[])
  or role <> 'owner'
  and organization_id = any((select private.member_organization_ids(array['admin']))::uuid[])
);
create policy memberships_update_manager on tenancy.memberships
for update to authenticated
using (
  organization_id = any((select private.member_organization_ids(array['owner']))::uuid[])
  or role <> 'owner'
  and organization_id = any((select private.member_organization_ids(array['admin']))::uuid[])
)
with check (
  organization_id = any((select private.member_organization_ids(array['owner']))::uuid[])
  or role <> 'owner'
  and organization_id = any((select private.member_organization_ids(array['admin']))::uuid[])
);
create policy memberships_delete_manager on tenancy.memberships
for delete to authenticated
using (
  user_id = (select auth.uid())
  or organization_id = any((select private.member_organization_ids(array['owner']))::uuid[])
  or role <> 'owner'
  and organization_id = any((select private.member_organization_ids(array['admin']))::uuid[])
);
create policy memberships_select_trusted on tenancy.memberships
for select to app_user, service_role, tallystick_reader, tallystick_writer using (true);
create policy memberships_insert_service on tenancy.memberships
for insert to service_role with check (true);
create policy memberships_update_service on tenancy.memberships
for update to service_role using (true) with check (true);
create policy memberships_delete_service on tenancy.memberships
for delete to service_role using (true);

-- profiles: one's own, and read by those who share an organization.
grant insert (user_id, display_name), update (display_name)
on table tenancy.profiles to authenticated, service_role;

create policy profiles_select_member on tenancy.profiles
for select to authenticated
using (
  user_id = (select auth.uid())
  or user_id in (select m.user_id from tenancy.memberships as m)
);
create policy profiles_insert_self on tenancy.profiles
for insert to authenticated with check (user_id = (select auth.uid()));
create policy profiles_update_self on tenancy.profiles
for update to authenticated
using (user_id = (select auth.uid())) with check (user_id = (select auth.uid()));
create policy profiles_select_trusted on tenancy.profiles
for select to app_user, service_role, tallystick_reader, tallystick_writer using (true);
create policy profiles_insert_service on tenancy.profiles
for insert to service_role with check (true);
create policy profiles_update_service on tenancy.profiles
for update to service_role using (true) with check (true);

-- ventures: read by members, opened and renamed by owners and admins.
grant insert (organization_id, id, name), update (name)
on table tenancy.ventures to authenticated, service_role;

create policy ventures_select_member on tenancy.ventures
for select to authenticated
using (organization_id = any((select private.member_organization_ids())::uuid[]));
create policy ventures_insert_manager on tenancy.ventures
for insert to authenticated
with check (
  organization_id = any((select private.member_organization_ids(array['owner', 'admin']))::uuid[])
);
create policy ventures_update_manager on tenancy.ventures
for update to authenticated
using (
  organization_id = any((select private.member_organization_ids(array['owner', 'admin']))::uuid[])
)
with check (
  organization_id = any((select private.member_organization_ids(array['owner', 'admin']))::uuid[])
);
create policy ventures_select_trusted on tenancy.ventures
for select to app_user, service_role, tallystick_reader, tallystick_writer using (true);
create policy ventures_insert_service on tenancy.ventures
for insert to service_role with check (true);
create policy ventures_update_service on tenancy.ventures
for update to service_role using (true) with check (true);

revoke execute on function
private.member_organization_ids(text[]),
private.assert_member(uuid, text[]),
private.create_organization(text, text),
private.keep_one_owner(),
tenancy.create_organization(text, text)
from public, anon, authenticated, service_role;

-- member_organization_ids is a definer: it tells a user about their own memberships only.
-- create_organization's core is a definer: it opens a new organization and touches no other.
grant execute on function
private.member_organization_ids(text[]),
private.assert_member(uuid, text[])
to authenticated, service_role, app_user, tallystick_writer;
grant execute on function
private.create_organization(text, text),
tenancy.create_organization(text, text)
to authenticated, service_role;
