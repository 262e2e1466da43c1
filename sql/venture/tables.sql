-- What ventures use (venture_token_ledger), and which share of a venture's budget each of its
-- profiles has.
--
-- A row that is no simulation is a usage like any other: whoever inserts it spends. The ledger has
-- no foreign key to a venture, whose name changes: its trigger looks, and verify_integrity looks
-- again.

create table public.venture_token_ledger (
  id uuid not null default private.uuid_v7(),
  venture_id uuid not null,
  lifecycle_stage integer not null,
  phase text,
  agent_type private.label not null,
  model_id private.label,
  job_id uuid,
  crew_id private.label,
  tokens_input private.token_count not null default 0,
  tokens_output private.token_count not null default 0,
  tokens_total private.token_count,
  cost_usd private.usd default 0,
  budget_profile text default 'standard',
  budget_allocation_pct private.share,
  is_simulation boolean default false,
  simulation_run_id uuid,
  operation_type private.label,
  metadata jsonb default '{}',
  created_at timestamptz not null default private.clock_now(),
  created_by private.label,
  organization_id uuid not null,
  usage_id uuid,
  xact_id xid8 not null default pg_current_xact_id(),
  constraint venture_token_ledger_pkey primary key (organization_id, id),
  constraint venture_token_ledger_organization_id_usage_id_key unique (organization_id, usage_id),
  constraint venture_token_ledger_budget_profile_check
  check (budget_profile in ('exploratory', 'standard', 'deep_due_diligence', 'custom')),
  constraint venture_token_ledger_phase_check
  check (
    phase in (
      'THE_TRUTH', 'THE_ENGINE', 'THE_IDENTITY', 'THE_BLUEPRINT', 'THE_BUILD_LOOP', 'LAUNCH_LEARN'
    )
  ),
  constraint venture_token_ledger_lifecycle_stage_is_not_negative check (lifecycle_stage >= 0),
  constraint venture_token_ledger_tokens_add_up
  check (tokens_total::bigint = tokens_input::bigint + tokens_output),
  constraint venture_token_ledger_metadata_is_an_object check (jsonb_typeof(metadata) = 'object'),
  constraint venture_token_ledger_simulation_run_is_of_a_simulation
  check (simulation_run_id is null or is_simulation is true),
  constraint venture_token_ledger_real_rows_are_usage
  check ((usage_id is null) = is_simulation)
);

-- One id, one row, whichever tenant: the document's key.
create unique index venture_token_ledger_id_idx on public.venture_token_ledger (id);
create index idx_token_ledger_agent_type on public.venture_token_ledger (agent_type);
create index idx_token_ledger_created_at on public.venture_token_ledger (created_at desc);
create index idx_token_ledger_is_simulation
on public.venture_token_ledger (is_simulation) where is_simulation = true;
create index idx_token_ledger_stage on public.venture_token_ledger (lifecycle_stage);
create index idx_token_ledger_venture_id on public.venture_token_ledger (venture_id);
create index idx_token_ledger_venture_stage
on public.venture_token_ledger (venture_id, lifecycle_stage);
create index venture_token_ledger_xact_id_idx on public.venture_token_ledger (xact_id);

create trigger venture_token_ledger_reject_truncate before truncate on public.venture_token_ledger
for each statement execute function private.reject_mutation();
create trigger venture_token_ledger_leave_tombstone after delete on public.venture_token_ledger
for each row execute function private.leave_tombstone();

insert into billing.retention_policies (table_name, archive_after, delete_after, reason) values
('public.venture_token_ledger', null, '7 years', 'regulation; what is removed leaves a tombstone');

comment on table public.venture_token_ledger is
  'What ventures use, by stage, phase and agent (venture_token_ledger). A row is a usage in '
  'ai_usage_ledger and counts to every budget, unless it is a simulation: that is never spend. '
  'Only metadata, operation_type and crew_id may be edited. Kept 7 years.';
comment on column public.venture_token_ledger.id is
  'Id of the row; that of its usage where record_venture_usage wrote it, unless it was taken. No '
  'other row is inserted under the id of a hold or a usage.';
comment on column public.venture_token_ledger.venture_id is 'The venture that used it.';
comment on column public.venture_token_ledger.lifecycle_stage is
  'Stage the venture was in, from 0.';
comment on column public.venture_token_ledger.phase is
  'THE_TRUTH, THE_ENGINE, THE_IDENTITY, THE_BLUEPRINT, THE_BUILD_LOOP or LAUNCH_LEARN, if stated.';
comment on column public.venture_token_ledger.agent_type is 'What kind of agent called.';
comment on column public.venture_token_ledger.model_id is
  'The model that was called; null where nobody stated one.';
comment on column public.venture_token_ledger.job_id is 'The job it was for, if any.';
comment on column public.venture_token_ledger.crew_id is 'The crew it was for, if any. Editable.';
comment on column public.venture_token_ledger.tokens_input is 'Tokens sent: all input classes.';
comment on column public.venture_token_ledger.tokens_output is
  'Tokens received: all output classes, reasoning included.';
comment on column public.venture_token_ledger.tokens_total is 'Both together; filled where null.';
comment on column public.venture_token_ledger.cost_usd is
  'Cost in US dollars, exact; of a simulation what it would have cost. Inserted as null: by the '
  'price of the model.';
comment on column public.venture_token_ledger.budget_profile is
  'exploratory, standard, deep_due_diligence or custom: which share of the venture''s budget it '
  'counts to.';
comment on column public.venture_token_ledger.budget_allocation_pct is
  'That share when it was recorded, percent, whatever an insert states; null where the profile '
  'had none.';
comment on column public.venture_token_ledger.is_simulation is
  'True for what was not spent: it counts to no budget, and to no sum of real usage.';
comment on column public.venture_token_ledger.simulation_run_id is
  'Of a simulation: which run of it.';
comment on column public.venture_token_ledger.operation_type is
  'What was done, if stated. Editable.';
comment on column public.venture_token_ledger.metadata is
  'The application''s own facts, an object. Editable.';
comment on column public.venture_token_ledger.created_at is
  'When it was recorded, or authorized with a hold: the created_at of its usage.';
comment on column public.venture_token_ledger.created_by is 'Who recorded it.';
comment on column public.venture_token_ledger.organization_id is
  'The organization that pays (the document''s company); filled from the venture where omitted.';
comment on column public.venture_token_ledger.usage_id is
  'The usage in ai_usage_ledger; null for a simulation.';
comment on column public.venture_token_ledger.xact_id is 'The transaction that wrote the row.';

-- A row has the time its usage was authorized at; what may be edited stays outside.
select private.seal_ledger(
  'public.venture_token_ledger',
  p_editable => array['metadata', 'operation_type', 'crew_id'],
  p_kept_for => '7 years'
);

-- One row per venture, so that a constraint holds the sum.
create table metering.venture_allocations (
  organization_id uuid not null,
  venture_id uuid not null,
  exploratory_pct private.share,
  standard_pct private.share,
  deep_due_diligence_pct private.share,
  custom_pct private.share,
  created_at timestamptz not null default private.clock_now(),
  updated_at timestamptz not null default private.clock_now(),
  constraint venture_allocations_pkey primary key (organization_id, venture_id),
  constraint venture_allocations_venture_fkey
  foreign key (organization_id, venture_id)
  references tenancy.ventures (organization_id, id) on delete restrict,
  constraint venture_allocations_come_to_at_most_100
  check (
    coalesce(exploratory_pct::numeric, 0) + coalesce(standard_pct::numeric, 0)
    + coalesce(deep_due_diligence_pct::numeric, 0) + coalesce(custom_pct::numeric, 0) <= 100
  )
);

create trigger venture_allocations_touch_updated_at before update on metering.venture_allocations
for each row execute function private.touch_updated_at();

comment on table metering.venture_allocations is
  'Which share of a venture''s budget each of its profiles has, percent '
  '(venture_token_ledger.budget_allocation_pct). A profile without one is capped by the budget '
  'of the venture alone. Set by metering.allocate_venture_budget.';
comment on column metering.venture_allocations.organization_id is 'The organization that pays.';
comment on column metering.venture_allocations.venture_id is 'The venture.';
comment on column metering.venture_allocations.exploratory_pct is
  'Share of the profile exploratory; 0 closes it, null leaves it without one.';
comment on column metering.venture_allocations.standard_pct is 'Share of the profile standard.';
comment on column metering.venture_allocations.deep_due_diligence_pct is
  'Share of the profile deep_due_diligence.';
comment on column metering.venture_allocations.custom_pct is 'Share of the profile custom.';
comment on column metering.venture_allocations.created_at is 'When the first share was allocated.';
comment on column metering.venture_allocations.updated_at is 'When a share was last changed.';
