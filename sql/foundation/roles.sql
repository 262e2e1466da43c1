-- Roles beside those Supabase provides (anon, authenticated, service_role).
--
-- Roles belong to the server, not to the database: a second database on one server finds them
-- already there, so each is created only where it is missing.
do $$
declare
  v_role record;
begin
  for v_role in
    select *
    from (
      values
      ('tallystick_reader', 'reads every organization, executes nothing'),
      ('tallystick_writer', 'reads every organization, checks and records'),
      ('app_user', 'the trusted server role of an application, subject to row-level security')
    ) as roles (name, purpose)
  loop
    if not exists (select from pg_catalog.pg_roles as r where r.rolname = v_role.name) then
      execute format('create role %I nologin', v_role.name);
      execute format('comment on role %I is %L', v_role.name, 'Tallystick: ' || v_role.purpose);
    end if;
  end loop;
  if not pg_catalog.pg_has_role('tallystick_writer', 'tallystick_reader', 'member') then
    grant tallystick_reader to tallystick_writer;
  end if;
end
$$;

grant usage on schema private, tenancy, pricing, metering, billing, accounting, audit
to authenticated, service_role, app_user, tallystick_reader, tallystick_writer;
