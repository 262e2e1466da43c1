-- Runs and what is in them.

create table billing.run_records (
  org_id uuid not null,
  id uuid not null default private.uuid_v7(),
  status text not null default 'running',
  name private.label,
  model private.label,
  input_tokens_estimated private.sum_of_counts not null,
  output_tokens_estimated private.sum_of_counts not null,
  input_cost_estimated private.usd not null,
  output_cost_estimated private.usd not null,
  created_at timestamptz not null default private.clock_now(),
  updated_at timestamptz not null default private.clock_now(),
  completed_at timestamptz,
  constraint run_records_pkey primary key (org_id, id),
  constraint run_records_org_id_fkey
  foreign key (org_id) references tenancy.organizations (id) on delete restrict,
  constraint run_records_status_is_known
  check (status in ('running', 'completed', 'cancelled', 'failed')),
  constraint run_records_end_is_known check ((completed_at is null) = (status = 'running'))
);

-- A run is looked up by its id alone; a non-unique index would let another tenant claim it.
create unique index run_records_id_idx on billing.run_records (id);
create index run_records_org_id_status_created_at_idx
on billing.run_records (org_id, status, created_at desc);

create trigger run_records_touch_updated_at before update on billing.run_records
for each row execute function private.touch_updated_at();

comment on table billing.run_records is
  'A run: a piece of work that is paid from credits as a whole. Read it as billing.runs, which '
  'adds what it used; reference it by (org_id, id).';
comment on column billing.run_records.org_id is 'The organization that pays.';
comment on column billing.run_records.id is 'Id of the run, of the budget that funds it and of its '
  'own step.';
comment on column billing.run_records.status is 'running, completed, cancelled or failed.';
comment on column billing.run_records.name is 'What it is about, if said.';
comment on column billing.run_records.model is
  'The one model it may call, by its listed name; null for any.';
comment on column billing.run_records.input_tokens_estimated is 'Estimated input tokens.';
comment on column billing.run_records.output_tokens_estimated is 'Estimated output tokens.';
comment on column billing.run_records.input_cost_estimated is
  'Estimated cost of the input, US dollars.';
comment on column billing.run_records.output_cost_estimated is
  'Estimated cost of the output, US dollars. Both together are reserved from credits.';
comment on column billing.run_records.created_at is 'When it was started.';
comment on column billing.run_records.updated_at is 'When it was last extended or ended.';
comment on column billing.run_records.completed_at is 'When it ended, however it did.';

create table billing.agents (
  org_id uuid not null,
  id uuid not null default private.uuid_v7(),
  run_id uuid not null,
  name private.label not null,
  status text not null default 'running',
  created_at timestamptz not null default private.clock_now(),
  completed_at timestamptz,
  constraint agents_pkey primary key (org_id, id),
  constraint agents_run_fkey
  foreign key (org_id, run_id) references billing.run_records (org_id, id) on delete restrict,
  constraint agents_status_is_known
  check (status in ('running', 'completed', 'cancelled', 'failed')),
  constraint agents_end_is_known check ((completed_at is null) = (status = 'running'))
);

create index agents_org_id_run_id_idx on billing.agents (org_id, run_id);

comment on table billing.agents is 'Who works in a run beside its main agent.';
comment on column billing.agents.org_id is 'The organization that pays.';
comment on column billing.agents.id is 'Id of the agent.';
comment on column billing.agents.run_id is 'The run it works in.';
comment on column billing.agents.name is 'What it is called.';
comment on column billing.agents.status is 'running, completed, cancelled or failed.';
comment on column billing.agents.created_at is 'When it began.';
comment on column billing.agents.completed_at is 'When it ended, however it did.';

create table billing.tasks (
  org_id uuid not null,
  id uuid not null default private.uuid_v7(),
  run_id uuid not null,
  agent_id uuid,
  name private.label not null,
  status text not null default 'running',
  created_at timestamptz not null default private.clock_now(),
  completed_at timestamptz,
  constraint tasks_pkey primary key (org_id, id),
  constraint tasks_run_fkey
  foreign key (org_id, run_id) references billing.run_records (org_id, id) on delete restrict,
  constraint tasks_agent_fkey
  foreign key (org_id, agent_id) references billing.agents (org_id, id) on delete restrict,
  constraint tasks_status_is_known
  check (status in ('running', 'completed', 'cancelled', 'failed')),
  constraint tasks_end_is_known check ((completed_at is null) = (status = 'running'))
);

create index tasks_org_id_run_id_idx on billing.tasks (org_id, run_id);
create index tasks_org_id_agent_id_idx on billing.tasks (org_id, agent_id);

comment on table billing.tasks is 'What a run, or one of its agents, sets out to do.';
comment on column billing.tasks.org_id is 'The organization that pays.';
comment on column billing.tasks.id is 'Id of the task.';
comment on column billing.tasks.run_id is 'The run it belongs to.';
comment on column billing.tasks.agent_id is 'The agent that does it; null for the main agent.';
comment on column billing.tasks.name is 'What it is called.';
comment on column billing.tasks.status is 'running, completed, cancelled or failed.';
comment on column billing.tasks.created_at is 'When it began.';
comment on column billing.tasks.completed_at is 'When it ended, however it did.';

create table billing.steps (
  org_id uuid not null,
  id uuid not null default private.uuid_v7(),
  run_id uuid not null,
  agent_id uuid,
  task_id uuid,
  name private.label not null,
  status text not null default 'running',
  created_at timestamptz not null default private.clock_now(),
  completed_at timestamptz,
  constraint steps_pkey primary key (org_id, id),
  constraint steps_run_fkey
  foreign key (org_id, run_id) references billing.run_records (org_id, id) on delete restrict,
  constraint steps_agent_fkey
  foreign key (org_id, agent_id) references billing.agents (org_id, id) on delete restrict,
  constraint steps_task_fkey
  foreign key (org_id, task_id) references billing.tasks (org_id, id) on delete restrict,
  constraint steps_status_is_known
  check (status in ('running', 'completed', 'cancelled', 'failed')),
  constraint steps_end_is_known check ((completed_at is null) = (status = 'running'))
);

create index steps_org_id_run_id_idx on billing.steps (org_id, run_id);
create index steps_org_id_agent_id_idx on billing.steps (org_id, agent_id);
create index steps_org_id_task_id_idx on billing.steps (org_id, task_id);

comment on table billing.steps is
  'One move of a run; each call belongs to one. A run is born with a step of its own, whose id is '
  'the run''s: calls that name no step belong to it.';
comment on column billing.steps.org_id is 'The organization that pays.';
comment on column billing.steps.id is 'Id of the step.';
comment on column billing.steps.run_id is 'The run it belongs to.';
comment on column billing.steps.agent_id is 'The agent that takes it; null for the main agent.';
comment on column billing.steps.task_id is 'The task it is part of, if any.';
comment on column billing.steps.name is 'What it is called.';
comment on column billing.steps.status is 'running, completed, cancelled or failed.';
comment on column billing.steps.created_at is 'When it began.';
comment on column billing.steps.completed_at is 'When it ended, however it did.';
