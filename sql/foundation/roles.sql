-- Roles beside those Supabase provides (anon, authenticated, service_role).
--
-- Roles belong to the server, not to the database: a second database on one server finds them
-- already there, so each is created only where it is missing.
do $$
declare
  v_role text;
begin
  foreach v_role in array array['tallystick_reader', 'tallystick_writer', 'app_user'] loop
    if not exists (select from pg_catalog.pg_roles where rolname = v_role) then
      execute format('create role %I nologin', v_role);
    end if;
  end loop;
  if not pg_catalog.pg_has_role('tallystick_writer', 'tallystick_reader', 'member') then
    grant tallystick_reader to tallystick_writer;
  end if;
end
$$;

comment on role tallystick_reader is 'Tallystick: reads every organization, executes nothing.';
comment on role tallystick_writer is
  'Tallystick: reads every organization, checks and records.';
comment on role app_user is
  'Tallystick: the trusted server role of an application, subject to row-level security.';

grant usage on schema private, tenancy, metering, audit
to authenticated, service_role, app_user, tallystick_reader, tallystick_writer;
