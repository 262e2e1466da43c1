-- Fixtures for the tests, in a schema of their own. Loaded into the template database.
create schema tests;
grant usage on schema tests to public;

-- Replaces the clock until the transaction ends.
create function tests.freeze_clock(p_time timestamptz)
returns void
language plpgsql
as $$
begin
  execute format(
    'create or replace function private.clock_now() returns timestamptz language sql volatile '
    'set search_path = '''' as %L', format('select %L::timestamptz', p_time)
  );
end
$$;

create function tests.organization(p_name text default 'Acme', p_time_zone text default 'UTC')
returns uuid
language sql
as $$
  insert into tenancy.organizations (name, time_zone) values (p_name, p_time_zone) returning id
$$;

create function tests.workflow(p_organization_id uuid)
returns uuid
language sql
as $$
  insert into metering.workflows (organization_id) values (p_organization_id) returning id
$$;

-- A new person with a role in the organization.
create function tests.member(p_organization_id uuid, p_role text default 'member')
returns uuid
language sql
as $$
  insert into tenancy.memberships (organization_id, user_id, role)
  values (p_organization_id, gen_random_uuid(), p_role)
  returning user_id
$$;

-- Acts as a role, and as a person where one is given, until "reset role" or the transaction's end.
create function tests.act_as(p_role text, p_user_id uuid default null)
returns void
language plpgsql
as $$
begin
  perform set_config(
    'request.jwt.claims',
    jsonb_strip_nulls(jsonb_build_object('role', p_role, 'sub', p_user_id))::text,
    true
  );
  perform set_config('role', p_role, true);
end
$$;

-- Records one usage of the given cost.
create function tests.spend(p_workflow_id uuid, p_cost numeric, p_model text default 'gpt-4o')
returns void
language sql
as $$
  select public.record_usage_and_increment(
    p_workflow_id => p_workflow_id,
    p_organization_id => (
      select w.organization_id from metering.workflows as w where w.id = p_workflow_id
    ),
    p_model => p_model,
    p_prompt_tokens => 100,
    p_completion_tokens => 20,
    p_cost => p_cost
  )
$$;
