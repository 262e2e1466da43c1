-- What a run is divided into: agents, tasks, steps.

-- A run that goes on, locked so that it does not end meanwhile.
create function private.assert_running(p_run_id uuid, p_org_id uuid)
returns billing.run_records
language plpgsql
volatile
set search_path = pg_catalog, pg_temp
as $$
declare
  v_run billing.run_records := private.find_run(p_run_id, p_org_id);
begin
  select * into v_run
  from billing.run_records as r
  where r.org_id = v_run.org_id and r.id = p_run_id
  for share;
  if v_run.status <> 'running' then
    perform private.raise_error(
      'TS410', jsonb_build_object('run_id', p_run_id, 'state', v_run.status)
    );
  end if;
  return v_run;
end
$$;

comment on function private.assert_running(uuid, uuid) is
  'A run that has not ended. Errors: 22023, TS404, TS410.';

-- Refuses an agent, task or step that is not of the run.
create function private.assert_part_of_run(
  p_org_id uuid,
  p_run_id uuid,
  p_agent_id uuid,
  p_task_id uuid,
  p_step_id uuid
)
returns void
language plpgsql
stable
set search_path = pg_catalog, pg_temp
as $$
begin
  if p_agent_id is not null and not exists (
    select from billing.agents as a
    where a.org_id = p_org_id and a.id = p_agent_id and a.run_id = p_run_id
  ) then
    perform private.raise_error('TS404', jsonb_build_object('agent_id', p_agent_id));
  elsif p_task_id is not null and not exists (
    select from billing.tasks as t
    where t.org_id = p_org_id and t.id = p_task_id and t.run_id = p_run_id
  ) then
    perform private.raise_error('TS404', jsonb_build_object('task_id', p_task_id));
  elsif p_step_id is not null and not exists (
    select from billing.steps as s
    where s.org_id = p_org_id and s.id = p_step_id and s.run_id = p_run_id
  ) then
    perform private.raise_error('TS404', jsonb_build_object('step_id', p_step_id));
  end if;
end
$$;

comment on function private.assert_part_of_run(uuid, uuid, uuid, uuid, uuid) is
  'Refuses what is not part of the run. Errors: TS404.';

-- Not idempotent: two calls start two agents.
create function billing.start_agent(p_run_id uuid, p_name text, p_org_id uuid default null)
returns billing.agents
language plpgsql
volatile
security definer -- writes agents, which no role may write itself
set search_path = pg_catalog, pg_temp
as $$
declare
  v_run billing.run_records;
  v_agent billing.agents;
begin
  perform private.assert_text('p_name', p_name);
  v_run := private.assert_running(p_run_id, p_org_id);
  insert into billing.agents (org_id, run_id, name)
  values (v_run.org_id, p_run_id, p_name)
  returning * into v_agent;
  return v_agent;
end
$$;

comment on function billing.start_agent(uuid, text, uuid) is
  'Starts an agent in a run. For server roles. Errors: 22023, TS404, TS410.';

-- Not idempotent: two calls start two tasks.
create function billing.start_task(
  p_run_id uuid,
  p_name text,
  p_agent_id uuid default null,
  p_org_id uuid default null
)
returns billing.tasks
language plpgsql
volatile
security definer -- writes tasks, which no role may write itself
set search_path = pg_catalog, pg_temp
as $$
declare
  v_run billing.run_records;
  v_task billing.tasks;
begin
  perform private.assert_text('p_name', p_name);
  v_run := private.assert_running(p_run_id, p_org_id);
  perform private.assert_part_of_run(v_run.org_id, p_run_id, p_agent_id, null, null);
  insert into billing.tasks (org_id, run_id, agent_id, name)
  values (v_run.org_id, p_run_id, p_agent_id, p_name)
  returning * into v_task;
  return v_task;
end
$$;

comment on function billing.start_task(uuid, text, uuid, uuid) is
  'Starts a task in a run, of an agent of it if one is named. For server roles. Errors: 22023, '
  'TS404, TS410.';

-- Not idempotent: two calls start two steps.
create function billing.start_step(
  p_run_id uuid,
  p_name text,
  p_agent_id uuid default null,
  p_task_id uuid default null,
  p_org_id uuid default null
)
returns billing.steps
language plpgsql
volatile
security definer -- writes steps, which no role may write itself
set search_path = pg_catalog, pg_temp
as $$
declare
  v_run billing.run_records;
  v_step billing.steps;
begin
  perform private.assert_text('p_name', p_name);
  v_run := private.assert_running(p_run_id, p_org_id);
  perform private.assert_part_of_run(v_run.org_id, p_run_id, p_agent_id, p_task_id, null);
  insert into billing.steps (org_id, run_id, agent_id, task_id, name)
  values (v_run.org_id, p_run_id, p_agent_id, p_task_id, p_name)
  returning * into v_step;
  return v_step;
end
$$;

comment on function billing.start_step(uuid, text, uuid, uuid, uuid) is
  'Starts a step in a run, of an agent and a task of it if they are named. For server roles. '
  'Errors: 22023, TS404, TS410.';

create function private.assert_end(p_status text)
returns text
language plpgsql
stable
set search_path = pg_catalog, pg_temp
as $$
begin
  if (p_status in ('completed', 'cancelled', 'failed')) is not true then
    perform private.reject_argument('p_status', 'must be completed, cancelled or failed');
  end if;
  return p_status;
end
$$;

comment on function private.assert_end(text) is 'Refuses anything but a way to end. Errors: 22023.';

-- Ends an agent, task or step. Idempotent: what has ended stays as it ended.
create function billing.end_part(p_org_id uuid, p_id uuid, p_status text default 'completed')
returns text
language plpgsql
volatile
security definer -- writes agents, tasks and steps, which no role may write itself
set search_path = pg_catalog, pg_temp
as $$
declare
  v_status constant text := private.assert_end(p_status);
  v_now constant timestamptz := private.clock_now();
  v_ended text;
begin
  perform private.assert_member(private.assert_id('p_org_id', p_org_id));
  if exists (
    select from billing.run_records as r
    where r.org_id = p_org_id and r.id = private.assert_id('p_id', p_id)
  ) then
    perform private.reject_argument('p_id', 'must not be a run or its own step');
  end if;
  with agent as (
    update billing.agents as a
    set
      status = case a.status when 'running' then v_status else a.status end,
      completed_at = coalesce(a.completed_at, v_now)
    where a.org_id = p_org_id and a.id = p_id
    returning a.status
  ),

  task as (
    update billing.tasks as t
    set
      status = case t.status when 'running' then v_status else t.status end,
      completed_at = coalesce(t.completed_at, v_now)
    where t.org_id = p_org_id and t.id = p_id
    returning t.status
  ),

  step as (
    update billing.steps as s
    set
      status = case s.status when 'running' then v_status else s.status end,
      completed_at = coalesce(s.completed_at, v_now)
    where s.org_id = p_org_id and s.id = p_id
    returning s.status
  )

  select e.status into v_ended
  from (
    select agent.status from agent
    union all select task.status from task
    union all select step.status from step
  ) as e;
  if v_ended is null then
    perform private.raise_error('TS404', jsonb_build_object('id', p_id));
  end if;
  return v_ended;
end
$$;

comment on function billing.end_part(uuid, uuid, text) is
  'Ends an agent, task or step (completed, cancelled or failed) and returns how it ended; what has '
  'ended stays so. Those still running end with their run. For server roles. Errors: 22023, TS404.';
