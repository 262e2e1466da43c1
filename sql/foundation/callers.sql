-- Who is calling. Inside a security definer function current_user is the function's owner, so the
-- caller is read from the role it set, or else from its login.
create function private.caller_role()
returns text
language plpgsql
stable
set search_path = pg_catalog, pg_temp
as $$
begin
  return coalesce(nullif(current_setting('role', true), 'none'), session_user::text);
end
$$;

comment on function private.caller_role() is
  'The role the caller acts as, also inside security definer functions.';

create function private.schema_owner()
returns name
language plpgsql
stable
set search_path = pg_catalog, pg_temp
as $$
begin
  return (
    select pg_get_userbyid(p.proowner)
    from pg_catalog.pg_proc as p
    where p.oid = 'private.schema_owner()'::regprocedure
  );
end
$$;

comment on function private.schema_owner() is 'The role that owns this schema''s functions.';

-- Trusted callers act for every organization: the server roles, and the owner of this schema.
-- Never decided by a JWT claim: a claim names a person, a role is what the server granted.
create function private.is_trusted_caller()
returns boolean
language plpgsql
stable
set search_path = pg_catalog, pg_temp
as $$
declare
  v_caller text := coalesce(nullif(current_setting('role', true), 'none'), session_user::text);
begin
  return v_caller in ('service_role', 'app_user', 'tallystick_writer')
    or pg_has_role(v_caller, 'service_role', 'usage')
    or pg_has_role(v_caller, 'app_user', 'usage')
    or pg_has_role(v_caller, 'tallystick_writer', 'usage')
    or pg_has_role(v_caller, private.schema_owner(), 'usage');
end
$$;

comment on function private.is_trusted_caller() is
  'True for server roles (service_role, app_user, tallystick_writer) and the owner of the schema.';
