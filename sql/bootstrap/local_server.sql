-- Makes a server of our own look like a Supabase project, after plain_postgres.sql and as the
-- superuser supabase_admin: a role postgres that is no superuser, and Supabase's generous default
-- privileges, so that what holds here holds there. It may be run again.

do $$
begin
  if not exists (select from pg_catalog.pg_roles where rolname = 'postgres') then
    create role postgres login createdb createrole replication bypassrls;
  end if;
  if not exists (select from pg_catalog.pg_roles where rolname = 'supabase_auth_admin') then
    create role supabase_auth_admin login noinherit;
  end if;
end;
$$;

grant anon to postgres with admin option;
grant authenticated to postgres with admin option;
grant service_role to postgres with admin option;
grant authenticator to postgres;
grant pg_monitor to postgres;
grant pg_read_all_data to postgres;
grant pg_signal_backend to postgres;
alter role postgres set search_path = '$user', public, extensions;

do $$
begin
  execute format('alter database %I owner to postgres', current_database());
end;
$$;

create schema if not exists extensions;
grant usage on schema extensions to anon, authenticated, service_role;
grant all on schema extensions to postgres with grant option;
grant usage on schema auth to postgres;

-- Whoever keeps the users makes its tables there; postgres may look after them, the API roles not.
grant usage, create on schema auth to supabase_auth_admin;
alter role supabase_auth_admin set search_path = auth;
alter default privileges for role supabase_auth_admin in schema auth
grant all on tables to postgres;
alter default privileges for role supabase_auth_admin in schema auth
grant all on sequences to postgres;

-- The hostile part: whatever postgres creates in public is open to every API role.
alter default privileges for role postgres in schema public
grant all on tables to postgres, anon, authenticated, service_role;
alter default privileges for role postgres in schema public
grant all on functions to postgres, anon, authenticated, service_role;
alter default privileges for role postgres in schema public
grant all on sequences to postgres, anon, authenticated, service_role;
