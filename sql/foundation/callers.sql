-- Who is calling. Inside a security definer function current_user is the function's owner, so the
-- caller is read from the role it set, or else from its login.
create function private.caller_role()
returns text
language sql
stable
set search_path = pg_catalog, pg_temp
as $$
  select coalesce(nullif(current_setting('role', true), 'none'), session_user::text)
$$;

comment on function private.caller_role() is
  'The role the caller acts as, also inside security definer functions.';

-- Trusted callers act for every organization: the server roles, and the owner of this schema.
-- Never decided by a JWT claim: a claim names a person, a role is what the server granted.
create function private.is_trusted_caller()
returns boolean
language sql
stable
set search_path = pg_catalog, pg_temp
as $$
  select coalesce(
    bool_or(pg_catalog.pg_has_role(private.caller_role(), trusted.role, 'usage')), false
  )
  from (
    select unnest(array['service_role', 'app_user', 'tallystick_writer'])::name as role
    union all
    select pg_catalog.pg_get_userbyid(p.proowner) as role
    from pg_catalog.pg_proc as p
    where p.oid = 'private.is_trusted_caller()'::regprocedure
  ) as trusted
$$;

comment on function private.is_trusted_caller() is
  'True for server roles (service_role, app_user, tallystick_writer) and the owner of the schema.';
