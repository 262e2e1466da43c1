-- Agents, tasks and steps: what a run is divided into.
begin;
select plan(53);

select tests.freeze_clock('2026-03-10 12:00+00');
create temp table scene as select tests.organization('Acme') as org, tests.organization('Bravo') as bravo;
select tests.buy(org, 1), tests.buy(bravo, 1) from scene;
create temp table runs as
select
  tests.run(org, 0) as run, tests.run(org, 0) as other, tests.run(org, 0) as ended,
  tests.run(bravo, 0) as bravo_run
from scene;
create temp table ended as
select (billing.start_agent(ended, 'Agent')).id as agent from runs;
select r.id from runs, billing.complete_run(runs.ended) as r;

-- Started --------------------------------------------------------------------------------------

create temp table agents as
select a.* from runs, billing.start_agent(run, 'Researcher') as a;
select results_eq(
  $$select org_id, run_id, name::text, status, created_at, completed_at from agents$$,
  $$select org, run, 'Researcher', 'running', '2026-03-10 12:00+00'::timestamptz, null::timestamptz
    from scene, runs$$,
  'an agent of a run'
);
create temp table tasks as
select t.* from runs, agents, billing.start_task(run, 'Search', agents.id) as t
union all
select t.* from runs, billing.start_task(run, 'Sum up') as t;
select results_eq(
  $$select org_id, run_id, agent_id, name::text, status, created_at, completed_at
    from tasks order by name$$,
  $$select scene.org, run, v.agent, v.name, 'running', '2026-03-10 12:00+00'::timestamptz,
      null::timestamptz
    from scene, runs, agents, lateral (values (agents.id, 'Search'), (null, 'Sum up')) as v (agent, name)$$,
  'a task of an agent, and one of the main agent'
);
create temp table steps as
select s.* from runs, agents, tasks,
  billing.start_step(run, 'Read', agents.id, tasks.id) as s where tasks.name = 'Search'
union all
select s.* from runs, billing.start_step(run, 'Write') as s
union all
select s.* from runs, agents, billing.start_step(run, 'Think', agents.id) as s
union all
select s.* from runs, tasks, billing.start_step(run, 'List', p_task_id => tasks.id) as s
where tasks.name = 'Sum up';
select results_eq(
  $$select s.org_id, s.run_id, s.agent_id = a.id, t.name::text, s.name::text, s.status, s.created_at,
      s.completed_at
    from agents as a, steps as s left join tasks as t on t.id = s.task_id order by s.name$$,
  $$select scene.org, run, v.is_agents, v.task, v.name, 'running',
      '2026-03-10 12:00+00'::timestamptz, null::timestamptz
    from scene, runs, (values (null, 'Sum up', 'List'), (true, 'Search', 'Read'),
      (true, null, 'Think'), (null, null, 'Write')) as v (is_agents, task, name)$$,
  'steps of an agent, of a task, of both and of neither'
);
select results_eq('table agents', 'select a.* from runs inner join billing.agents as a on a.run_id = run',
  'agents are there');
select set_eq('table tasks', 'select t.* from runs inner join billing.tasks as t on t.run_id = run',
  'so are tasks');
select set_eq('table steps',
  'select s.* from runs inner join billing.steps as s on s.run_id = run where s.id <> run',
  'and steps, beside the run''s own');
select isnt(
  (billing.start_agent(run, 'Researcher')).id, agents.id, 'the same name again is another agent'
)
from runs, agents;

-- Refusals -------------------------------------------------------------------------------------

create temp table others as
select
  (billing.start_agent(other, 'A')).id as agent, (billing.start_task(other, 'T')).id as task,
  (billing.start_agent(bravo_run, 'A')).id as bravo_agent,
  (billing.start_task(bravo_run, 'T')).id as bravo_task
from runs;
create function pg_temp.refusal(p_call text)
returns text
language plpgsql
as $$
declare
  v_detail text;
  v_argument text;
begin
  execute 'select x.id from scene, runs, others, billing.' || p_call || ' as x';
  return 'done';
exception when others then
  get stacked diagnostics v_detail = pg_exception_detail;
  v_argument := v_detail::jsonb ->> 'argument';
  return concat_ws(
    ' ', sqlstate, v_argument,
    case when v_argument is null
      then (select string_agg(k, ' ' order by k) from jsonb_object_keys(v_detail::jsonb) as k) end
  );
end
$$;
select is(pg_temp.refusal(v.call), v.expected, v.description)
from (
  values
  ($$start_agent(null, 'x')$$, '22023 p_run_id', 'no run'),
  ($$start_task(null, 'x')$$, '22023 p_run_id', 'no run for a task'),
  ($$start_step(null, 'x')$$, '22023 p_run_id', 'no run for a step'),
  ($$start_agent(run, null)$$, '22023 p_name', 'no name'),
  ($$start_task(run, ' ')$$, '22023 p_name', 'a blank name'),
  ($$start_step(run, repeat('n', 256))$$, '22023 p_name', 'a name of 256 characters'),
  ($$start_agent(gen_random_uuid(), 'x')$$, 'TS404 run_id', 'an unknown run'),
  ($$start_task(gen_random_uuid(), 'x')$$, 'TS404 run_id', 'an unknown run for a task'),
  ($$start_step(gen_random_uuid(), 'x')$$, 'TS404 run_id', 'an unknown run for a step'),
  ($$start_agent(bravo_run, 'x', scene.org)$$, 'TS404 run_id', 'the run of another organization'),
  ($$start_task(bravo_run, 'x', null, scene.org)$$, 'TS404 run_id', 'for a task'),
  ($$start_step(bravo_run, 'x', null, null, scene.org)$$, 'TS404 run_id', 'for a step'),
  ($$start_agent(ended, 'x')$$, 'TS410 run_id state', 'a run that has ended'),
  ($$start_task(ended, 'x')$$, 'TS410 run_id state', 'has no more tasks'),
  ($$start_step(ended, 'x')$$, 'TS410 run_id state', 'and no more steps'),
  ($$start_task(run, 'x', gen_random_uuid())$$, 'TS404 agent_id', 'a task of an unknown agent'),
  ($$start_task(run, 'x', agent)$$, 'TS404 agent_id', 'of an agent of another run'),
  ($$start_task(run, 'x', bravo_agent)$$, 'TS404 agent_id', 'of an agent of another organization'),
  ($$start_step(run, 'x', agent)$$, 'TS404 agent_id', 'a step of an agent of another run'),
  ($$start_step(run, 'x', null, task)$$, 'TS404 task_id', 'of a task of another run'),
  ($$start_step(run, 'x', null, bravo_task)$$, 'TS404 task_id', 'of a task of another organization'),
  ($$start_step(run, 'x', run)$$, 'TS404 agent_id', 'of a run as its agent')
) as v (call, expected, description);
select is(pg_temp.refusal(v.call), 'done', v.description)
from (
  values
  ($$start_agent(run, repeat('n', 255), scene.org)$$, 'the longest name, with the organization'),
  ($$start_task(run, 'x', null, scene.org)$$, 'a task with the organization'),
  ($$start_step(run, 'x', null, null, scene.org)$$, 'a step with the organization')
) as v (call, description);

-- Ended ----------------------------------------------------------------------------------------

select tests.freeze_clock('2026-03-10 13:00+00');
select is(billing.end_part(org, agents.id), 'completed', 'an agent is done') from scene, agents;
select is(billing.end_part(org, tasks.id, 'failed'), 'failed', 'a task went wrong')
from scene, tasks where name = 'Search';
select is(billing.end_part(org, steps.id, 'cancelled'), 'cancelled', 'a step is not wanted')
from scene, steps where name = 'Write';
select tests.freeze_clock('2026-03-10 14:00+00');
select is(billing.end_part(org, agents.id, 'failed'), 'completed', 'what has ended stays as it ended')
from scene, agents;
create temp view parts as
select run_id, name::text, status, completed_at from billing.agents
union all select run_id, name::text, status, completed_at from billing.tasks
union all select run_id, name::text, status, completed_at from billing.steps;
select results_eq(
  $$select p.name, p.status, p.completed_at from runs inner join parts as p on p.run_id = run
    where p.status <> 'running' order by p.name$$,
  $$values
    ('Researcher', 'completed', '2026-03-10 13:00+00'::timestamptz),
    ('Search', 'failed', '2026-03-10 13:00+00'), ('Write', 'cancelled', '2026-03-10 13:00+00')$$,
  'each on its own'
);
create function pg_temp.end_refusal(p_arguments text)
returns text
language plpgsql
as $$
declare
  v_detail text;
begin
  execute 'select billing.end_part(' || p_arguments || ') from scene, runs, agents, others';
  return 'ended';
exception when others then
  get stacked diagnostics v_detail = pg_exception_detail;
  return concat_ws(' ', sqlstate, v_detail::jsonb ->> 'argument');
end
$$;
select is(pg_temp.end_refusal(v.arguments), v.expected, v.description)
from (
  values
  ('org, null', '22023 p_id', 'no part'),
  ('org, agents.id, null', '22023 p_status', 'no way to end'),
  ($$org, agents.id, 'running'$$, '22023 p_status', 'running is no end'),
  ($$org, agents.id, 'done'$$, '22023 p_status', 'an end nobody knows'),
  ('org, run', '22023 p_id', 'a run is ended otherwise'),
  ('org, ended', '22023 p_id', 'also where it has ended'),
  ('org, gen_random_uuid()', 'TS404', 'an unknown part'),
  ('org, bravo_run', 'TS404', 'a run of another organization'),
  ('org, bravo_agent', 'TS404', 'a part of another organization'),
  ('gen_random_uuid(), agents.id', 'TS404', 'an unknown organization')
) as v (arguments, expected, description);

-- With the run ---------------------------------------------------------------------------------

select r.id from runs, billing.fail_run(run) as r;
select results_eq(
  $$select p.name, p.status, p.completed_at from runs inner join parts as p on p.run_id = run
    where p.status <> 'failed' or p.completed_at <> '2026-03-10 14:00+00' order by p.name$$,
  $$values
    ('Researcher', 'completed', '2026-03-10 13:00+00'::timestamptz),
    ('Search', 'failed', '2026-03-10 13:00+00'), ('Write', 'cancelled', '2026-03-10 13:00+00')$$,
  'what still runs ends as its run does, the rest stays as it ended'
);
select results_eq(
  $$select count(*) from runs inner join parts as p on p.run_id = run where p.status = 'failed'$$,
  $$values (10::bigint)$$, 'the run''s own step among them'
);
select is(billing.end_part(org, agents.id, 'failed'), 'completed', 'and that may be said again')
from scene, agents;
select results_eq(
  $$select p.status from runs, others inner join billing.agents as p on p.id = agent$$,
  $$values ('running')$$, 'parts of other runs go on'
);
select throws_ok(
  $$select billing.start_step(run, 'x') from runs$$, 'TS410', null, 'there is no more to start'
);

select is_empty($$select * from audit.verify_integrity()$$, 'the books agree');
select * from finish();
rollback;
