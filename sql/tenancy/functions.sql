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
