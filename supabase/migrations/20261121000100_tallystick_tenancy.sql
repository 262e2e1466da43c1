-- Built by scripts/build-migrations from sql/tenancy; edit there.

-- sql/tenancy/tables.sql

-- Who a spend belongs to.

create table tenancy.organizations (
  id uuid not null default private.uuid_v7(),
  name text not null,
  time_zone text not null default 'UTC',
  frozen_at timestamptz,
  created_at timestamptz not null default private.clock_now(),
  constraint organizations_pkey primary key (id),
  constraint organizations_name_is_1_to_255_characters
  check (name ~ '\S' and length(name) <= 255),
  constraint organizations_time_zone_is_known check (private.is_time_zone(time_zone))
);

comment on table tenancy.organizations is
  'The tenant: whoever pays. Every tenant row carries its id.';
comment on column tenancy.organizations.id is 'Id of the organization.';
comment on column tenancy.organizations.name is 'Display name, 1 to 255 characters.';
comment on column tenancy.organizations.time_zone is
  'Time zone that decides where its days and months begin. Fixed once usage is recorded: a month '
  'that was counted is not cut anew.';
comment on column tenancy.organizations.frozen_at is
  'Since when every check refuses this organization; null when it may spend. What was already '
  'spent is recorded all the same.';
comment on column tenancy.organizations.created_at is 'When it was opened.';

create table tenancy.memberships (
  organization_id uuid not null,
  user_id uuid not null,
  role text not null default 'member',
  created_at timestamptz not null default private.clock_now(),
  constraint memberships_pkey primary key (organization_id, user_id),
  constraint memberships_organization_id_fkey
  foreign key (organization_id) references tenancy.organizations (id) on delete restrict,
  constraint memberships_role_is_known
  check (role in ('owner', 'admin', 'finance', 'member', 'viewer'))
);

create index memberships_user_id_idx on tenancy.memberships (user_id);

comment on table tenancy.memberships is 'Which person belongs to which organization, and as what.';
comment on column tenancy.memberships.organization_id is 'The organization.';
comment on column tenancy.memberships.user_id is
  'The person, as auth.uid() gives it. No foreign key: the ledger outlives the login.';
comment on column tenancy.memberships.role is
  'owner and admin manage members and budgets, finance reads and disputes, member spends, viewer '
  'reads.';
comment on column tenancy.memberships.created_at is 'When the person joined.';

create table tenancy.profiles (
  user_id uuid not null,
  display_name text not null,
  created_at timestamptz not null default private.clock_now(),
  updated_at timestamptz not null default private.clock_now(),
  constraint profiles_pkey primary key (user_id),
  constraint profiles_display_name_is_1_to_255_characters
  check (display_name ~ '\S' and length(display_name) <= 255)
);

create trigger profiles_touch_updated_at before update on tenancy.profiles
for each row execute function private.touch_updated_at();

comment on table tenancy.profiles is 'How a person is shown to the members of their organizations.';
comment on column tenancy.profiles.user_id is 'The person, as auth.uid() gives it.';
comment on column tenancy.profiles.display_name is 'Name shown in reports, 1 to 255 characters.';
comment on column tenancy.profiles.created_at is 'When the profile was made.';
comment on column tenancy.profiles.updated_at is 'When it was last changed.';

create table tenancy.ventures (
  organization_id uuid not null,
  id uuid not null default private.uuid_v7(),
  name text not null,
  created_at timestamptz not null default private.clock_now(),
  constraint ventures_pkey primary key (organization_id, id),
  constraint ventures_organization_id_fkey
  foreign key (organization_id) references tenancy.organizations (id) on delete restrict,
  constraint ventures_name_is_1_to_255_characters
  check (name ~ '\S' and length(name) <= 255)
);

-- A venture is looked up by its id alone; a non-unique index would let another tenant claim it.
create unique index ventures_id_idx on tenancy.ventures (id);

comment on table tenancy.ventures is
  'An undertaking inside an organization whose spend is told apart.';
comment on column tenancy.ventures.organization_id is 'The organization that pays.';
comment on column tenancy.ventures.id is 'Id of the venture.';
comment on column tenancy.ventures.name is 'Display name, 1 to 255 characters.';
comment on column tenancy.ventures.created_at is 'When it was opened.';

-- sql/tenancy/functions.sql

-- Membership: every policy and every permission check asks here.

-- The organizations the present user belongs to with one of the given roles.
--
-- THE SEAM for applications with membership tables of their own: replace the body of this one
-- function in a migration of yours. Nothing else decides whose spend a user sees or caps; only
-- profiles go by tenancy.memberships. Keep it stable, keep the search path, return an empty array
-- for nobody. Upgrades leave it as it is.
create function private.member_organization_ids(
  p_roles text[] default array['owner', 'admin', 'finance', 'member', 'viewer']
)
returns uuid[]
language plpgsql
stable
security definer -- reads memberships, whose own policy asks this function
set search_path = pg_catalog, pg_temp
as $$
begin
  return (
    select coalesce(array_agg(m.organization_id), '{}')
    from tenancy.memberships as m
    where m.user_id = (select auth.uid()) and m.role = any(p_roles)
  );
end
$$;

comment on function private.member_organization_ids(text[]) is
  'Organizations of the present user (auth.uid()) in which they have one of the roles. The seam '
  'for applications with membership tables of their own.';

-- Lets trusted callers and members with one of the roles pass.
create function private.assert_member(
  p_organization_id uuid,
  p_roles text[] default array['owner', 'admin', 'finance', 'member', 'viewer']
)
returns void
language plpgsql
stable
set search_path = pg_catalog, pg_temp
as $$
begin
  perform private.assert_id('p_organization_id', p_organization_id);
  if private.is_trusted_caller() then
    if not exists (select from tenancy.organizations as o where o.id = p_organization_id) then
      perform private.raise_error(
        'TS404', jsonb_build_object('organization_id', p_organization_id)
      );
    end if;
  elsif (p_organization_id = any(private.member_organization_ids(p_roles))) is not true then
    perform private.raise_error(
      '42501',
      jsonb_build_object('organization_id', p_organization_id, 'roles', to_jsonb(p_roles))
    );
  end if;
end
$$;

comment on function private.assert_member(uuid, text[]) is
  'Refuses users without one of the roles in the organization. Errors: 22023 without an id, 42501 '
  'for a user who is no such member, TS404 for a trusted caller who names an unknown organization.';

-- The privileged half of tenancy.create_organization.
create function private.create_organization(p_name text, p_time_zone text)
returns tenancy.organizations
language plpgsql
volatile
security definer -- writes the organization and its first owner, which no user may write directly
set search_path = pg_catalog, pg_temp
as $$
declare
  v_organization tenancy.organizations;
begin
  perform private.assert_text('p_name', p_name);
  perform private.assert_text('p_time_zone', p_time_zone);
  if not private.is_time_zone(p_time_zone) then
    perform private.reject_argument('p_time_zone', 'must be a time zone the server knows');
  end if;
  if not private.is_trusted_caller() and auth.uid() is null then
    perform private.raise_error('42501', jsonb_build_object('caller', private.caller_role()));
  end if;

  insert into tenancy.organizations (name, time_zone)
  values (p_name, p_time_zone)
  returning * into v_organization;

  if not private.is_trusted_caller() then
    insert into tenancy.memberships (organization_id, user_id, role)
    values (v_organization.id, auth.uid(), 'owner');
  end if;
  return v_organization;
end
$$;

comment on function private.create_organization(text, text) is
  'Core of tenancy.create_organization.';

-- Opens an organization. A signed-in user becomes its owner; service_role opens it for others.
-- Not idempotent: two calls open two organizations.
create function tenancy.create_organization(p_name text, p_time_zone text default 'UTC')
returns tenancy.organizations
language sql
volatile
set search_path = pg_catalog, pg_temp
as $$
  select * from private.create_organization(p_name => p_name, p_time_zone => p_time_zone)
$$;

comment on function tenancy.create_organization(text, text) is
  'Opens an organization; a signed-in caller becomes its owner. p_time_zone decides where its days '
  'and months begin. Errors: 22023 for a blank name or an unknown time zone, 42501 for nobody.';

-- Keeps an owner in every organization.
--
-- Two owners who go at once queue on the organization's row, and the second is refused. The row is
-- updated, not only locked: a transaction with an older snapshot then fails with 40001 instead of
-- seeing an owner who has gone.
create function private.keep_one_owner()
returns trigger
language plpgsql
volatile
security definer -- queues on the organization, and sees every owner whatever policies hide
set search_path = pg_catalog, pg_temp
as $$
begin
  if tg_op = 'UPDATE' and new.role = 'owner' then
    return new;
  end if;
  update tenancy.organizations as o set name = o.name where o.id = old.organization_id;
  if not exists (
    select from tenancy.memberships as m
    where m.organization_id = old.organization_id
      and m.role = 'owner'
      and m.user_id <> old.user_id
  ) then
    perform private.raise_error(
      '23001', jsonb_build_object('organization_id', old.organization_id, 'owner', old.user_id)
    );
  end if;
  return coalesce(new, old);
end
$$;

comment on function private.keep_one_owner() is
  'Trigger: the last owner of an organization stays. Errors: 23001.';

create trigger memberships_keep_one_owner before delete or update of role on tenancy.memberships
for each row when (old.role = 'owner') execute function private.keep_one_owner();

-- sql/tenancy/access.sql

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
