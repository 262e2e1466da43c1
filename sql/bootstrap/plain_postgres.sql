-- What Supabase provides and Tallystick relies on, for plain Postgres, RDS and the like: the API
-- roles, and the schema auth with the functions that read a request's claims.
--
-- Run it once per database, before the migrations, as the role that will own the schema (any role
-- with CREATEROLE that may create schemas here; no superuser, no extension). It may be run again.
-- What already exists stays as it is, whether a role or a function. Do not run it on Supabase.

do $$
declare
  v_role text;
begin
  foreach v_role in array array['anon', 'authenticated', 'service_role', 'authenticator'] loop
    continue when exists (select from pg_catalog.pg_roles where rolname = v_role);
    -- A caller's rights come from the one role it acts as, so nothing is inherited.
    execute format('create role %I noinherit', v_role);
    case v_role
      when 'anon' then
        execute 'alter role anon set statement_timeout = ''3s''';
      when 'authenticated' then
        execute 'alter role authenticated set statement_timeout = ''8s''';
      when 'service_role' then
        -- Managed servers let no one bypass RLS; the written policies for service_role suffice.
        begin
          execute 'alter role service_role bypassrls';
        exception when insufficient_privilege then
          raise notice 'service_role is created without BYPASSRLS: this server does not allow it';
        end;
      else
        -- No password is set: the administrator gives one to the HTTP gateway.
        execute 'alter role authenticator login';
        execute 'alter role authenticator set statement_timeout = ''8s''';
    end case;
  end loop;
end;
$$;

do $$
declare
  v_role text;
  v_member text;
begin
  foreach v_role in array array['anon', 'authenticated', 'service_role'] loop
    foreach v_member in array array['authenticator', current_user::text] loop
      -- Membership itself is looked up, not pg_has_role(), which is always true for a superuser.
      continue when exists (
        select
        from pg_catalog.pg_auth_members as m
        where m.roleid = v_role::regrole
          and m.member = quote_ident(v_member)::regrole
          and (to_jsonb(m) ->> 'set_option') is distinct from 'false' -- a column since Postgres 16
      );
      execute format('grant %I to %I', v_role, v_member);
    end loop;
  end loop;
end;
$$;

create schema if not exists auth;
grant usage on schema auth to anon, authenticated, service_role;
grant usage on schema public to anon, authenticated, service_role;

-- Claims arrive as PostgREST sets them, request.jwt.claims (JSON), or one setting per claim, as
-- older gateways do. They answer as Supabase's do.
do $$
begin
  if to_regprocedure('auth.uid()') is null then
    create function auth.uid()
      returns uuid
      language sql
      stable
    as $fn$
      select coalesce(
        nullif(current_setting('request.jwt.claim.sub', true), ''),
        nullif(current_setting('request.jwt.claims', true), '')::jsonb ->> 'sub'
      )::uuid
    $fn$;
    comment on function auth.uid() is 'The id of the user who makes this request, or null.';
  end if;

  if to_regprocedure('auth.role()') is null then
    create function auth.role()
      returns text
      language sql
      stable
    as $fn$
      select coalesce(
        nullif(current_setting('request.jwt.claim.role', true), ''),
        nullif(current_setting('request.jwt.claims', true), '')::jsonb ->> 'role'
      )
    $fn$;
    comment on function auth.role() is 'The role this request claims, or null.';
  end if;

  if to_regprocedure('auth.email()') is null then
    create function auth.email()
      returns text
      language sql
      stable
    as $fn$
      select coalesce(
        nullif(current_setting('request.jwt.claim.email', true), ''),
        nullif(current_setting('request.jwt.claims', true), '')::jsonb ->> 'email'
      )
    $fn$;
    comment on function auth.email() is 'The email address this request claims, or null.';
  end if;

  if to_regprocedure('auth.jwt()') is null then
    create function auth.jwt()
      returns jsonb
      language sql
      stable
    as $fn$
      select coalesce(
        nullif(current_setting('request.jwt.claim', true), ''),
        nullif(current_setting('request.jwt.claims', true), '')
      )::jsonb
    $fn$;
    comment on function auth.jwt() is 'All claims of this request, or null.';
  end if;
end;
$$;
