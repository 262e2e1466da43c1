-- Built by scripts/build-migrations from sql/billing; edit there.

-- sql/billing/run_tables.sql

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

-- sql/billing/record_tables.sql

-- Each call of a run; what a run was estimated at and what it cost.
--
-- token_records is written by every call of a run, so it refers to no row that changes: whoever
-- writes it has looked, and verify_integrity looks again.

create table billing.token_records (
  org_id uuid not null,
  id uuid not null,
  run_id uuid not null,
  agent_id uuid,
  task_id uuid,
  step_id uuid not null,
  input_tokens private.token_count not null,
  output_tokens private.token_count not null,
  total_tokens private.sum_of_counts not null,
  model private.label not null,
  cost_usd private.usd not null,
  is_estimated boolean not null default false,
  error_code text,
  error_message text,
  reported_total_tokens bigint,
  created_at timestamptz not null,
  updated_at timestamptz not null,
  xact_id xid8 not null default pg_current_xact_id(),
  constraint token_records_pkey primary key (org_id, id),
  constraint check_token_sum check (total_tokens = input_tokens::bigint + output_tokens),
  constraint token_records_error_code_is_known
  check (
    error_code in (
      'ZERO_TOKENS', 'MISMATCH', 'TIMEOUT', 'RATE_LIMIT', 'AUTH_ERROR', 'INVALID_RESPONSE'
    )
  ),
  constraint token_records_estimated_where_an_error_is
  check (is_estimated = (error_code is not null)),
  constraint token_records_error_message_is_of_an_error
  check (error_message is null or error_code is not null),
  constraint token_records_reported_total_is_of_a_mismatch
  check (reported_total_tokens is null or error_code = 'MISMATCH'),
  constraint token_records_is_never_updated check (updated_at = created_at),
  constraint token_records_time_is_that_of_its_id check (created_at = private.uuid_v7_time(id))
)
partition by range (id);

create index idx_token_records_run_id on billing.token_records (run_id) where error_code is null;
create index idx_token_records_agent_id on billing.token_records (agent_id)
where error_code is null;
create index idx_token_records_step_id on billing.token_records (step_id) where error_code is null;
create index idx_token_records_created_at on billing.token_records (created_at desc);
create index idx_token_records_model on billing.token_records (model);
create index idx_token_records_error on billing.token_records (error_code)
where error_code is not null;
create index idx_token_records_run_created on billing.token_records (run_id, created_at desc);
create index idx_token_records_agent_created on billing.token_records (agent_id, created_at desc);
create index idx_token_records_estimated on billing.token_records (run_id)
where is_estimated = true;
create index token_records_xact_id_idx on billing.token_records (xact_id);

create statistics billing.token_records_stats (dependencies)
on run_id, model, error_code from billing.token_records;

create trigger token_records_reject_mutation before update or delete on billing.token_records
for each row execute function private.reject_mutation();
create trigger token_records_reject_truncate before truncate on billing.token_records
for each statement execute function private.reject_mutation();

insert into private.partitioned_ledgers (parent) values ('billing.token_records');

comment on table billing.token_records is
  'Append-only record of every call of a run (billing_system 1.1): the usage with the same id in '
  'ai_usage_ledger, with the step it belongs to and what went wrong. Corrections are adjustments '
  'of credits. Kept 7 years; archived after 1. Partitioned by month on id.';
comment on column billing.token_records.org_id is 'The organization that pays.';
comment on column billing.token_records.id is 'Id of the usage.';
comment on column billing.token_records.run_id is 'The run it belongs to.';
comment on column billing.token_records.agent_id is 'The agent that called; null for the main one.';
comment on column billing.token_records.task_id is 'The task it was for, if any.';
comment on column billing.token_records.step_id is
  'The step it belongs to; the run''s own where none was named.';
comment on column billing.token_records.input_tokens is 'Tokens sent: all input classes.';
comment on column billing.token_records.output_tokens is
  'Tokens received: all output classes, reasoning included.';
comment on column billing.token_records.total_tokens is 'Both together.';
comment on column billing.token_records.model is 'The model that was called.';
comment on column billing.token_records.cost_usd is 'Cost in US dollars, exact, never updated.';
comment on column billing.token_records.is_estimated is
  'True where the counts are a guess because the call went wrong: exactly then it has an '
  'error_code. What settle_spend was told to be an estimate is one by cost_basis of its usage.';
comment on column billing.token_records.error_code is
  'ZERO_TOKENS, MISMATCH, TIMEOUT, RATE_LIMIT, AUTH_ERROR or INVALID_RESPONSE; null where all went '
  'well.';
comment on column billing.token_records.error_message is 'What went wrong, in words.';
comment on column billing.token_records.reported_total_tokens is
  'Of a MISMATCH: the total the provider reported, which is not the sum of its parts.';
comment on column billing.token_records.created_at is
  'When it was authorized, or recorded without a hold: the time in id.';
comment on column billing.token_records.updated_at is 'Always created_at.';
comment on column billing.token_records.xact_id is 'The transaction that recorded it.';

create view billing.runs with (security_invoker = true) as
select
  r.org_id,
  r.id,
  r.status,
  r.name,
  r.model,
  r.input_tokens_estimated,
  r.output_tokens_estimated,
  r.input_tokens_estimated + r.output_tokens_estimated as tokens_estimated,
  r.input_cost_estimated,
  r.output_cost_estimated,
  r.input_cost_estimated + r.output_cost_estimated as cost_estimated,
  u.tokens_used,
  u.cost_incurred,
  r.created_at,
  r.updated_at,
  r.completed_at
from billing.run_records as r
cross join lateral (
  select
    coalesce(sum(t.total_tokens), 0)::bigint as tokens_used,
    coalesce(sum(t.cost_usd), 0)::numeric(36, 12) as cost_incurred
  from billing.token_records as t
  where t.org_id = r.org_id
    and t.run_id = r.id
    -- No call is older than its run, but for a clock that was set back: months before are not
    -- looked into.
    and t.id >= private.uuid_v7_floor(r.created_at - interval '1 day')
) as u;

comment on view billing.runs is
  'Every run with its estimate and what it used, exact at every commit: sums over its calls.';
comment on column billing.runs.org_id is 'The organization that pays.';
comment on column billing.runs.id is 'Id of the run.';
comment on column billing.runs.status is 'running, completed, cancelled or failed.';
comment on column billing.runs.name is 'What it is about, if said.';
comment on column billing.runs.model is 'The one model it may call; null for any.';
comment on column billing.runs.input_tokens_estimated is 'Estimated input tokens.';
comment on column billing.runs.output_tokens_estimated is 'Estimated output tokens.';
comment on column billing.runs.tokens_estimated is 'Both together.';
comment on column billing.runs.input_cost_estimated is 'Estimated cost of the input, US dollars.';
comment on column billing.runs.output_cost_estimated is 'Estimated cost of the output, US dollars.';
comment on column billing.runs.cost_estimated is
  'Both together, US dollars: what was reserved from credits.';
comment on column billing.runs.tokens_used is 'Tokens of its calls.';
comment on column billing.runs.cost_incurred is 'Cost of its calls, US dollars.';
comment on column billing.runs.created_at is 'When it was started.';
comment on column billing.runs.updated_at is 'When it was last extended or ended.';
comment on column billing.runs.completed_at is 'When it ended.';

create table billing.token_reconciliations (
  org_id uuid not null,
  id uuid not null default private.uuid_v7(),
  run_id uuid not null,
  estimated_input_tokens private.sum_of_counts not null,
  estimated_output_tokens private.sum_of_counts not null,
  estimated_total_tokens private.sum_of_counts not null,
  actual_input_tokens private.sum_of_counts not null,
  actual_output_tokens private.sum_of_counts not null,
  actual_total_tokens private.sum_of_counts not null,
  variance_tokens bigint not null,
  variance_pct private.variance not null,
  estimated_cost_usd private.usd_sum not null,
  actual_cost_usd private.usd_sum not null,
  refund_amount_usd private.usd_sum not null default 0,
  charge_amount_usd private.usd_sum not null default 0,
  status text not null,
  action text,
  notes text,
  dispute_refund_usd private.usd_sum,
  created_at timestamptz not null default private.clock_now(),
  updated_at timestamptz not null default private.clock_now(),
  resolved_at timestamptz,
  constraint token_reconciliations_pkey primary key (org_id, id),
  constraint token_reconciliations_org_id_run_id_key unique (org_id, run_id),
  constraint fk_token_reconciliations_run
  foreign key (org_id, run_id) references billing.run_records (org_id, id) on delete restrict,
  constraint check_estimated_sum
  check (estimated_total_tokens = estimated_input_tokens + estimated_output_tokens),
  constraint check_actual_sum
  check (actual_total_tokens = actual_input_tokens + actual_output_tokens),
  constraint check_variance_calculation
  check (variance_tokens = actual_total_tokens - estimated_total_tokens),
  constraint check_refund_or_charge check (refund_amount_usd = 0 or charge_amount_usd = 0),
  constraint check_refund_amount check (refund_amount_usd <= estimated_cost_usd),
  constraint check_status_values
  check (status in ('RECONCILED', 'NEEDS_REVIEW', 'CRITICAL', 'DISPUTED', 'RESOLVED')),
  constraint token_reconciliations_action_is_known
  check (
    action in (
      'none', 'refund_applied', 'charge_applied', 'escalated_to_team', 'escalated_to_user',
      'dispute_resolved'
    )
  ),
  constraint token_reconciliations_resolution_has_a_time
  check ((resolved_at is not null) = (status = 'RESOLVED')),
  constraint token_reconciliations_resolution_says_what_was_refunded
  check ((dispute_refund_usd is not null) = (status = 'RESOLVED'))
);

create index idx_token_reconciliations_run_id on billing.token_reconciliations (run_id);
create index idx_token_reconciliations_status on billing.token_reconciliations (status);
create index idx_token_reconciliations_created_at
on billing.token_reconciliations (created_at desc);
create index idx_token_reconciliations_variance
on billing.token_reconciliations (variance_pct desc);
create index idx_token_reconciliations_needs_review on billing.token_reconciliations (run_id)
where status in ('NEEDS_REVIEW', 'CRITICAL', 'DISPUTED');
create index idx_token_reconciliations_critical on billing.token_reconciliations (run_id)
where status = 'CRITICAL';
-- How far off, whichever way: what the document's query and view are ordered by.
create index idx_token_reconciliations_abs_variance
on billing.token_reconciliations ((abs(variance_pct)) desc);
create index idx_token_reconciliations_status_created
on billing.token_reconciliations (status, created_at desc);

create statistics billing.token_reconciliations_stats (dependencies)
on status, variance_pct from billing.token_reconciliations;

create trigger token_reconciliations_touch_updated_at before update
on billing.token_reconciliations
for each row execute function private.touch_updated_at();
create trigger token_reconciliations_reject_delete before delete on billing.token_reconciliations
for each row execute function private.reject_mutation();
create trigger token_reconciliations_reject_truncate before truncate
on billing.token_reconciliations
for each statement execute function private.reject_mutation();

comment on table billing.token_reconciliations is
  'What each ended run was estimated at, what it used, and what follows (billing_system 1.2): one '
  'row per run. Kept 7 years.';
comment on column billing.token_reconciliations.org_id is 'The organization that pays.';
comment on column billing.token_reconciliations.id is 'Id of the reconciliation.';
comment on column billing.token_reconciliations.run_id is 'The run; each has one.';
comment on column billing.token_reconciliations.estimated_input_tokens is 'Estimated input tokens.';
comment on column billing.token_reconciliations.estimated_output_tokens is
  'Estimated output tokens.';
comment on column billing.token_reconciliations.estimated_total_tokens is 'Both together.';
comment on column billing.token_reconciliations.actual_input_tokens is
  'Input tokens of all records of the run.';
comment on column billing.token_reconciliations.actual_output_tokens is
  'Output tokens of all records of the run.';
comment on column billing.token_reconciliations.actual_total_tokens is 'Both together.';
comment on column billing.token_reconciliations.variance_tokens is
  'Actual less estimated: negative for an overestimate.';
comment on column billing.token_reconciliations.variance_pct is
  'variance_tokens in percent of the estimate, or of 1 token where that is 0; half even at 4 '
  'decimals.';
comment on column billing.token_reconciliations.estimated_cost_usd is
  'What was reserved and charged first, US dollars.';
comment on column billing.token_reconciliations.actual_cost_usd is
  'Cost of all records of the run, US dollars.';
comment on column billing.token_reconciliations.refund_amount_usd is
  'What the estimate was too high by, US dollars: refunded.';
comment on column billing.token_reconciliations.charge_amount_usd is
  'What the estimate was too low by, US dollars: charged, and a receivable as far as credits did '
  'not cover it.';
comment on column billing.token_reconciliations.status is
  'RECONCILED up to 50 percent off, NEEDS_REVIEW up to 100, else CRITICAL; DISPUTED, RESOLVED.';
comment on column billing.token_reconciliations.action is
  'none, refund_applied, charge_applied, escalated_to_team, escalated_to_user or dispute_resolved.';
comment on column billing.token_reconciliations.notes is
  'Notes of whoever disputed or resolved it.';
comment on column billing.token_reconciliations.dispute_refund_usd is
  'What resolving a dispute refunded or waived, US dollars; null while none is resolved.';
comment on column billing.token_reconciliations.created_at is 'When the run was reconciled.';
comment on column billing.token_reconciliations.updated_at is 'When it was last changed.';
comment on column billing.token_reconciliations.resolved_at is 'When a dispute was resolved.';

-- A record has the time it was authorized at, its usage that at which it was written.
select private.seal_ledger('billing.token_records', p_erasable => array['error_message']);

-- sql/billing/credit_tables.sql

-- Credits: what an organization has paid or was given in advance, and every movement of it.
--
-- One row per organization is locked for every movement, so movements of an organization follow
-- one another. That is once per run, draw, purchase, refund or expiry, never once per call.

create table billing.credit_balances (
  org_id uuid not null,
  id uuid not null default private.uuid_v7(),
  balance_usd private.usd_sum not null default 0,
  reserved_usd private.usd_sum not null default 0,
  low_balance_usd private.usd,
  is_low boolean not null default false,
  movement_count bigint not null default 0,
  receivable_count bigint not null default 0,
  created_at timestamptz not null default private.clock_now(),
  updated_at timestamptz not null default private.clock_now(),
  constraint credit_balances_pkey primary key (org_id),
  constraint fk_credit_balances_org
  foreign key (org_id) references tenancy.organizations (id) on delete restrict,
  constraint check_balance_non_negative check (balance_usd >= 0),
  constraint check_reserved_non_negative check (reserved_usd >= 0),
  constraint credit_balances_reserved_is_within_balance check (reserved_usd <= balance_usd)
);

create trigger update_credit_balances_updated_at before update on billing.credit_balances
for each row execute function private.touch_updated_at();
create trigger credit_balances_reject_delete before delete on billing.credit_balances
for each row execute function private.reject_mutation();
create trigger credit_balances_reject_truncate before truncate on billing.credit_balances
for each statement execute function private.reject_mutation();

comment on table billing.credit_balances is
  'What each organization has in credits (billing_system 2.1). An organization with a row here '
  'pays in advance: each of its calls is paid by a run or by the draw of its day. Available is '
  'balance_usd - reserved_usd.';
comment on column billing.credit_balances.org_id is 'The organization.';
comment on column billing.credit_balances.id is 'Id of the balance.';
comment on column billing.credit_balances.balance_usd is
  'Credits, US dollars: credits less debits of billing_ledger, the last row of '
  'credit_balance_history, and what is left of credit_grants.';
comment on column billing.credit_balances.reserved_usd is
  'The part that runs and draws under way have reserved, US dollars.';
comment on column billing.credit_balances.low_balance_usd is
  'Below this available amount, US dollars, an event billing.low_balance is sent; null for none.';
comment on column billing.credit_balances.is_low is
  'True since the available amount fell below low_balance_usd.';
comment on column billing.credit_balances.movement_count is
  'Number of movements so far: the number of the last row of credit_balance_history.';
comment on column billing.credit_balances.receivable_count is 'Number of receivables so far.';
comment on column billing.credit_balances.created_at is
  'Since when the organization pays in advance.';
comment on column billing.credit_balances.updated_at is 'When it last moved.';

create table billing.draws (
  org_id uuid not null,
  id uuid not null default private.uuid_v7(),
  day date not null,
  status text not null default 'open',
  reserved_usd private.usd_sum not null default 0,
  cost_incurred private.usd_sum not null default 0,
  created_at timestamptz not null default private.clock_now(),
  closed_at timestamptz,
  constraint draws_pkey primary key (org_id, id),
  constraint draws_org_id_day_key unique (org_id, day),
  constraint draws_org_id_fkey
  foreign key (org_id) references tenancy.organizations (id) on delete restrict,
  constraint draws_status_is_known check (status in ('open', 'closed')),
  constraint draws_end_is_known check ((closed_at is null) = (status = 'open')),
  constraint draws_closed_reserves_nothing check (status = 'open' or reserved_usd = 0)
);

comment on table billing.draws is
  'What an organization draws from its credits on a day for calls outside runs: reserved in chunks '
  'while it is open, charged when it is closed, once the day is over and no hold of it is open.';
comment on column billing.draws.org_id is 'The organization that pays.';
comment on column billing.draws.id is 'Id of the draw and of the budget that it funds.';
comment on column billing.draws.day is 'The day, in the organization''s time zone.';
comment on column billing.draws.status is 'open or closed.';
comment on column billing.draws.reserved_usd is
  'What it has reserved from credits, US dollars: the limit of its budget.';
comment on column billing.draws.cost_incurred is
  'Of a closed draw: cost of its calls, US dollars. Of an open one its budget has it.';
comment on column billing.draws.created_at is 'When it was opened.';
comment on column billing.draws.closed_at is 'When it was charged.';

create table billing.billing_ledger (
  org_id uuid not null,
  id uuid not null default private.uuid_v7(),
  transaction_type text not null,
  amount_usd private.usd_sum not null,
  direction text not null,
  run_id uuid,
  agent_id uuid,
  task_id uuid,
  draw_id uuid,
  reason private.label not null,
  idempotency_key private.label,
  created_by private.label,
  created_at timestamptz not null,
  xact_id xid8 not null default pg_current_xact_id(),
  constraint billing_ledger_pkey primary key (org_id, id),
  constraint billing_ledger_org_id_idempotency_key_key unique (org_id, idempotency_key),
  constraint fk_billing_ledger_org
  foreign key (org_id) references tenancy.organizations (id) on delete restrict,
  constraint check_amount_positive check (amount_usd > 0),
  constraint check_transaction_type
  check (
    transaction_type in ('credit_purchase', 'charge', 'refund', 'adjustment', 'promo', 'trial')
  ),
  constraint check_direction check (direction in ('debit', 'credit')),
  constraint check_direction_matches_type
  check (
    transaction_type = 'charge' and direction = 'debit'
    or transaction_type in ('refund', 'credit_purchase', 'promo', 'trial') and direction = 'credit'
    or transaction_type = 'adjustment'
  ),
  constraint billing_ledger_is_of_a_run_or_a_draw check (run_id is null or draw_id is null)
);

create index idx_billing_ledger_org_id on billing.billing_ledger (org_id, created_at desc);
create index idx_billing_ledger_created_at on billing.billing_ledger (created_at desc);
create index idx_billing_ledger_transaction_type on billing.billing_ledger (transaction_type);
create index idx_billing_ledger_run_id on billing.billing_ledger (run_id);
create index idx_billing_ledger_agent_id on billing.billing_ledger (agent_id);
create index idx_billing_ledger_org_type_created
on billing.billing_ledger (org_id, transaction_type, created_at desc);
create index idx_billing_ledger_org_direction_created
on billing.billing_ledger (org_id, direction, created_at desc);
create index idx_billing_ledger_charges on billing.billing_ledger (org_id, created_at desc)
where transaction_type = 'charge';
create index idx_billing_ledger_refunds on billing.billing_ledger (org_id, created_at desc)
where transaction_type = 'refund';
create index billing_ledger_xact_id_idx on billing.billing_ledger (xact_id);
create index idx_billing_ledger_idempotency on billing.billing_ledger (idempotency_key)
where idempotency_key is not null;

create statistics billing.billing_ledger_stats (dependencies)
on org_id, transaction_type, direction from billing.billing_ledger;

create trigger billing_ledger_reject_mutation before update or delete on billing.billing_ledger
for each row execute function private.reject_mutation();
create trigger billing_ledger_reject_truncate before truncate on billing.billing_ledger
for each statement execute function private.reject_mutation();

comment on table billing.billing_ledger is
  'Append-only record of every movement of credits (billing_system 1.3). Kept for ever; archived '
  'after 7 years.';
comment on column billing.billing_ledger.org_id is 'The organization being billed.';
comment on column billing.billing_ledger.id is 'Time-ordered id.';
comment on column billing.billing_ledger.transaction_type is
  'credit_purchase, charge, refund, adjustment, promo or trial.';
comment on column billing.billing_ledger.amount_usd is 'US dollars, above 0.';
comment on column billing.billing_ledger.direction is
  'debit: out of the credits, of a charge. credit: into them.';
comment on column billing.billing_ledger.run_id is 'The run it is about, if any.';
comment on column billing.billing_ledger.agent_id is 'The agent it is about, if any.';
comment on column billing.billing_ledger.task_id is 'The task it is about, if any.';
comment on column billing.billing_ledger.draw_id is 'The draw it is about, if any.';
comment on column billing.billing_ledger.reason is
  'Why: run_charge, draw_charge, late_usage, receivable_collected, credit_purchase, '
  'credit_expired, token_reconciliation_overestimate, token_reconciliation_underestimate, '
  'partial_failure_refund, agent_crash_refund, manual_support_refund, user_dispute_resolution, '
  'promo_code_applied, trial_credit_granted, or what an operator stated.';
comment on column billing.billing_ledger.idempotency_key is
  'The caller''s name for it, or what it follows from; the same key is the same movement.';
comment on column billing.billing_ledger.created_by is
  'system, support, user, or the id of who caused it.';
comment on column billing.billing_ledger.created_at is
  'When it was booked; in the order of credit_balance_history.';
comment on column billing.billing_ledger.xact_id is 'The transaction that booked it.';

create table billing.credit_balance_history (
  org_id uuid not null,
  id uuid not null default private.uuid_v7(),
  movement bigint not null,
  balance_before_usd private.usd_sum not null,
  balance_after_usd private.usd_sum not null,
  change_usd private.usd_balance not null,
  reason private.label not null,
  billing_ledger_id uuid not null,
  created_at timestamptz not null,
  constraint credit_balance_history_pkey primary key (org_id, id),
  constraint credit_balance_history_org_id_movement_key unique (org_id, movement),
  constraint credit_balance_history_org_id_billing_ledger_id_key
  unique (org_id, billing_ledger_id),
  constraint fk_credit_balance_history_org
  foreign key (org_id) references tenancy.organizations (id) on delete restrict,
  constraint fk_credit_balance_history_ledger
  foreign key (org_id, billing_ledger_id)
  references billing.billing_ledger (org_id, id) on delete restrict,
  constraint credit_balance_history_change_is_the_difference
  check (change_usd = balance_after_usd - balance_before_usd),
  constraint credit_balance_history_movement_is_counted_from_1 check (movement > 0)
);

create index idx_credit_balance_history_org_id
on billing.credit_balance_history (org_id, created_at desc);
create index idx_credit_balance_history_created_at
on billing.credit_balance_history (created_at desc);

create trigger credit_balance_history_reject_mutation before update or delete
on billing.credit_balance_history
for each row execute function private.reject_mutation();
create trigger credit_balance_history_reject_truncate before truncate
on billing.credit_balance_history
for each statement execute function private.reject_mutation();

comment on table billing.credit_balance_history is
  'Append-only record of every balance there was (billing_system 2.2): one row per row of '
  'billing_ledger, numbered without a gap, each beginning where the one before it ended.';
comment on column billing.credit_balance_history.org_id is 'The organization.';
comment on column billing.credit_balance_history.id is 'Time-ordered id.';
comment on column billing.credit_balance_history.movement is
  'Number of the movement in its organization, from 1.';
comment on column billing.credit_balance_history.balance_before_usd is
  'Balance before it, US dollars.';
comment on column billing.credit_balance_history.balance_after_usd is
  'Balance after it, US dollars.';
comment on column billing.credit_balance_history.change_usd is
  'The difference: above 0 for a credit, below for a debit.';
comment on column billing.credit_balance_history.reason is 'Why, as in billing_ledger.';
comment on column billing.credit_balance_history.billing_ledger_id is 'The movement.';
comment on column billing.credit_balance_history.created_at is 'When it was booked.';

select private.seal_ledger('billing.billing_ledger', 'created_at');

-- sql/billing/grant_tables.sql

-- Where credits come from, for what they are reserved, and what was spent without them.

create table billing.credit_grants (
  org_id uuid not null,
  id uuid not null default private.uuid_v7(),
  kind text not null,
  amount_usd private.usd_sum not null,
  remaining_usd private.usd_sum not null,
  reserved_usd private.usd_sum not null default 0,
  priority smallint not null,
  model private.label,
  expires_at timestamptz,
  created_at timestamptz not null,
  constraint credit_grants_pkey primary key (org_id, id),
  constraint credit_grants_org_id_fkey
  foreign key (org_id) references billing.credit_balances (org_id) on delete restrict,
  constraint credit_grants_kind_is_known
  check (kind in ('purchase', 'promo', 'trial', 'adjustment')),
  constraint credit_grants_reserved_is_within_remaining_within_amount
  check (reserved_usd <= remaining_usd and remaining_usd <= amount_usd)
);

create index credit_grants_org_id_priority_idx
on billing.credit_grants (org_id, priority, expires_at, id) where remaining_usd > 0;
create index credit_grants_expires_at_idx
on billing.credit_grants (expires_at) where remaining_usd > 0 and expires_at is not null;

create trigger credit_grants_reject_delete before delete on billing.credit_grants
for each row execute function private.reject_mutation();
create trigger credit_grants_reject_truncate before truncate on billing.credit_grants
for each statement execute function private.reject_mutation();

comment on table billing.credit_grants is
  'Where credits come from: purchases, promotions, trials, adjustments. They are used up by '
  'priority, then by expiry, then by age; a refund goes back to the grant it came from.';
comment on column billing.credit_grants.org_id is 'The organization.';
comment on column billing.credit_grants.id is 'Time-ordered id.';
comment on column billing.credit_grants.kind is 'purchase, promo, trial or adjustment.';
comment on column billing.credit_grants.amount_usd is 'What was granted, US dollars.';
comment on column billing.credit_grants.remaining_usd is
  'What is left of it, reserved or not, US dollars.';
comment on column billing.credit_grants.reserved_usd is
  'The part of that which runs and draws under way have reserved, US dollars.';
comment on column billing.credit_grants.priority is 'Lower is used up first.';
comment on column billing.credit_grants.model is
  'The only model it pays for, by its listed name: in runs of that model. Null for everything.';
comment on column billing.credit_grants.expires_at is
  'From then on it is not reserved any more, and what is not reserved is taken back; null for '
  'never.';
comment on column billing.credit_grants.created_at is 'When it was granted.';

create table billing.credit_reservations (
  org_id uuid not null,
  subject_id uuid not null,
  grant_id uuid not null,
  amount_usd private.usd_sum not null,
  constraint credit_reservations_pkey primary key (org_id, subject_id, grant_id),
  constraint credit_reservations_grant_fkey
  foreign key (org_id, grant_id) references billing.credit_grants (org_id, id) on delete restrict,
  constraint credit_reservations_amount_is_positive check (amount_usd > 0)
);

create index credit_reservations_org_id_grant_id_idx
on billing.credit_reservations (org_id, grant_id);

comment on table billing.credit_reservations is
  'Of which grants the reservation of a run or draw under way is made up.';
comment on column billing.credit_reservations.org_id is 'The organization.';
comment on column billing.credit_reservations.subject_id is 'The run or draw.';
comment on column billing.credit_reservations.grant_id is 'The grant.';
comment on column billing.credit_reservations.amount_usd is 'What it has reserved, US dollars.';

create table billing.grant_movements (
  org_id uuid not null,
  billing_ledger_id uuid not null,
  grant_id uuid not null,
  change_usd private.usd_balance not null,
  constraint grant_movements_pkey primary key (org_id, billing_ledger_id, grant_id),
  constraint grant_movements_ledger_fkey
  foreign key (org_id, billing_ledger_id)
  references billing.billing_ledger (org_id, id) on delete restrict,
  constraint grant_movements_grant_fkey
  foreign key (org_id, grant_id) references billing.credit_grants (org_id, id) on delete restrict,
  constraint grant_movements_change_something check (change_usd <> 0)
);

create index grant_movements_org_id_grant_id_idx on billing.grant_movements (org_id, grant_id);

create trigger grant_movements_reject_mutation before update or delete on billing.grant_movements
for each row execute function private.reject_mutation();
create trigger grant_movements_reject_truncate before truncate on billing.grant_movements
for each statement execute function private.reject_mutation();

comment on table billing.grant_movements is
  'Append-only record of which grants a movement of billing_ledger touched, and by how much.';
comment on column billing.grant_movements.org_id is 'The organization.';
comment on column billing.grant_movements.billing_ledger_id is 'The movement.';
comment on column billing.grant_movements.grant_id is 'The grant.';
comment on column billing.grant_movements.change_usd is
  'US dollars: above 0 into the grant, below out of it.';

create table billing.receivables (
  org_id uuid not null,
  id uuid not null default private.uuid_v7(),
  number bigint not null,
  amount_usd private.usd_sum not null,
  outstanding_usd private.usd_sum not null,
  waived_usd private.usd_sum not null default 0,
  run_id uuid,
  draw_id uuid,
  reason private.label not null,
  created_at timestamptz not null,
  constraint receivables_pkey primary key (org_id, id),
  constraint receivables_org_id_number_key unique (org_id, number),
  constraint receivables_org_id_fkey
  foreign key (org_id) references billing.credit_balances (org_id) on delete restrict,
  constraint receivables_amount_is_positive check (amount_usd > 0),
  constraint receivables_outstanding_is_within_amount
  check (outstanding_usd + waived_usd <= amount_usd)
);

create index receivables_org_id_idx on billing.receivables (org_id, number)
where outstanding_usd > 0;
create index receivables_org_id_run_id_idx on billing.receivables (org_id, run_id);

create trigger receivables_reject_delete before delete on billing.receivables
for each row execute function private.reject_mutation();
create trigger receivables_reject_truncate before truncate on billing.receivables
for each statement execute function private.reject_mutation();

comment on table billing.receivables is
  'What was spent and not covered by credits: collected, oldest first, by the next purchase.';
comment on column billing.receivables.org_id is 'The organization that owes.';
comment on column billing.receivables.id is 'Time-ordered id.';
comment on column billing.receivables.number is
  'Number of the receivable in its organization, from 1: the order in which they are collected.';
comment on column billing.receivables.amount_usd is 'What was not covered, US dollars.';
comment on column billing.receivables.outstanding_usd is 'What is still to be paid, US dollars.';
comment on column billing.receivables.waived_usd is
  'What a refund has taken from it before it was collected, US dollars.';
comment on column billing.receivables.run_id is 'The run that cost it, if any.';
comment on column billing.receivables.draw_id is 'The draw that cost it, if any.';
comment on column billing.receivables.reason is 'Why, as in billing_ledger.';
comment on column billing.receivables.created_at is 'When it was booked.';

create table billing.retention_policies (
  table_name text not null,
  archive_after interval,
  delete_after interval,
  reason text not null,
  constraint retention_policies_pkey primary key (table_name),
  constraint retention_policies_archive_comes_first
  check (archive_after is null or delete_after is null or archive_after < delete_after)
);

comment on table billing.retention_policies is
  'How long what is billed by is kept (billing_system, retention policies).';
comment on column billing.retention_policies.table_name is 'Qualified name of the table.';
comment on column billing.retention_policies.archive_after is
  'From this age on rows may move to cold storage; null: never.';
comment on column billing.retention_policies.delete_after is
  'From this age on rows may be deleted; null: never. What is sealed stays as long as its seal '
  'says, whatever stands here.';
comment on column billing.retention_policies.reason is 'Why.';

insert into billing.retention_policies (table_name, archive_after, delete_after, reason) values
('billing.token_records', '1 year', '7 years', 'regulation; sooner on a user''s request'),
('billing.token_reconciliations', '1 year', '7 years', 'regulation'),
('billing.billing_ledger', '7 years', null, 'regulation: an audit trail is never deleted'),
('billing.credit_balance_history', '7 years', null, 'regulation: an audit trail is never deleted'),
('billing.grant_movements', '7 years', null, 'regulation: an audit trail is never deleted'),
('billing.receivables', '7 years', null, 'regulation: an audit trail is never deleted');

-- sql/billing/movements.sql

-- How credits move. Everything here is done under the lock of the organization's credit balance:
-- lock_credits() first, in every function, after the slots of budgets.

create type private.grant_part as (grant_id uuid, amount_usd numeric);

comment on type private.grant_part is
  'A part of a movement or reservation, and the grant it is of.';

-- Sum of parts.
create function private.sum_of_parts(p_parts private.grant_part[])
returns numeric
language plpgsql
immutable
set search_path = pg_catalog, pg_temp
as $$
begin
  return (select coalesce(sum(p.amount_usd), 0) from unnest(p_parts) as p);
end
$$;

comment on function private.sum_of_parts(private.grant_part[]) is 'US dollars in all parts.';

-- Tells of an available amount that fell below the organization's threshold: once per crossing, as
-- of the end of the transaction, so that what only went through it is no crossing.
create function private.announce_low_balance()
returns trigger
language plpgsql
volatile
security definer -- writes credit balances and the outbox, which no role may write itself
set search_path = pg_catalog, pg_temp
as $$
declare
  v_balance billing.credit_balances;
  v_available numeric;
  v_is_low boolean;
begin
  select * into strict v_balance from billing.credit_balances as b where b.org_id = new.org_id;
  v_available := v_balance.balance_usd - v_balance.reserved_usd;
  v_is_low := coalesce(v_available < v_balance.low_balance_usd, false);
  if v_is_low = v_balance.is_low then
    return null;
  end if;
  update billing.credit_balances as b set is_low = v_is_low where b.org_id = new.org_id;
  if v_is_low then
    perform private.emit_event(
      new.org_id, 'billing.low_balance', new.org_id,
      jsonb_build_object(
        'available_usd', trim_scale(v_available)::text,
        'low_balance_usd', trim_scale(v_balance.low_balance_usd::numeric)::text
      )
    );
  end if;
  return null;
end
$$;

comment on function private.announce_low_balance() is
  'Trigger: sends billing.low_balance when the available amount has fallen below the threshold.';

create constraint trigger credit_balances_announce_low
after update of balance_usd, reserved_usd, low_balance_usd on billing.credit_balances
deferrable initially deferred
for each row execute function private.announce_low_balance();

-- THE SEAM: every movement of credits is made here, and only here, in the transaction of what it
-- follows from: ledger, balance, grants, history and books, or none of them.
--
-- p_movement: the row to be, without id, amount and time. p_parts: of which grants, above 0.
create function private.move_credits(
  p_movement billing.billing_ledger,
  p_parts private.grant_part[]
)
returns billing.billing_ledger
language plpgsql
volatile
set search_path = pg_catalog, pg_temp
as $$
declare
  v_movement billing.billing_ledger := p_movement;
  v_sign constant integer := case p_movement.direction when 'credit' then 1 else -1 end;
  v_balance billing.credit_balances;
begin
  v_movement.amount_usd := private.sum_of_parts(p_parts);
  v_movement.created_by := coalesce(p_movement.created_by, 'system');
  -- Times are those of the order of movements, whatever a clock says.
  v_movement.created_at := greatest(
    private.clock_now(),
    (
      select h.created_at
      from billing.credit_balance_history as h
      where h.org_id = p_movement.org_id
      order by h.movement desc
      limit 1
    )
  );
  v_movement.id := private.uuid_v7(v_movement.created_at);
  v_movement.xact_id := pg_current_xact_id();
  insert into billing.billing_ledger values (v_movement.*);

  update billing.credit_grants as g
  set remaining_usd = g.remaining_usd + v_sign * p.amount_usd
  from unnest(p_parts) as p
  where g.org_id = v_movement.org_id and g.id = p.grant_id;
  insert into billing.grant_movements (org_id, billing_ledger_id, grant_id, change_usd)
  select v_movement.org_id, v_movement.id, p.grant_id, v_sign * p.amount_usd
  from unnest(p_parts) as p;

  update billing.credit_balances as b
  set
    balance_usd = b.balance_usd + v_sign * v_movement.amount_usd,
    movement_count = b.movement_count + 1
  where b.org_id = v_movement.org_id
  returning * into v_balance;
  insert into billing.credit_balance_history (
    org_id, movement, balance_before_usd, balance_after_usd, change_usd, reason,
    billing_ledger_id, created_at
  ) values (
    v_movement.org_id, v_balance.movement_count,
    v_balance.balance_usd - v_sign * v_movement.amount_usd, v_balance.balance_usd,
    v_sign * v_movement.amount_usd, v_movement.reason, v_movement.id, v_movement.created_at
  );
  perform private.post_billing(v_movement.org_id, v_movement.id, 'billing:' || v_movement.id);
  return v_movement;
end
$$;

comment on function private.move_credits(billing.billing_ledger, private.grant_part[]) is
  'Books a movement of credits: the only function that does.';

-- A movement to be.
create function private.draft_movement(
  p_org_id uuid,
  p_type text,
  p_reason text,
  p_key text,
  p_run_id uuid default null,
  p_draw_id uuid default null,
  p_created_by text default 'system'
)
returns billing.billing_ledger
language plpgsql
immutable
set search_path = pg_catalog, pg_temp
as $$
declare
  v_movement billing.billing_ledger;
begin
  v_movement.org_id := p_org_id;
  v_movement.transaction_type := p_type;
  v_movement.direction := case when p_type in ('charge', 'adjustment') then 'debit' else 'credit' end;
  v_movement.reason := p_reason;
  v_movement.idempotency_key := p_key;
  v_movement.run_id := p_run_id;
  v_movement.draw_id := p_draw_id;
  v_movement.created_by := p_created_by;
  return v_movement;
end
$$;

comment on function private.draft_movement(uuid, text, text, text, uuid, uuid, text) is
  'A movement without its amount; an adjustment is a debit.';

-- The free parts of grants, in the order they are used up, until they come to p_amount: those that
-- pay for everything, and with p_model those that pay for that model only. Expired ones have none.
create function private.free_parts(p_org_id uuid, p_amount numeric, p_model text)
returns private.grant_part[]
language plpgsql
stable
set search_path = pg_catalog, pg_temp
as $$
declare
  v_now constant timestamptz := private.clock_now();
begin
  return (
    select
      array_agg(
        row(f.id, least(f.free_usd, p_amount - f.before_usd))::private.grant_part
        order by f.position
      ) filter (where p_amount > f.before_usd)
    from (
      select
        g.id,
        g.remaining_usd - g.reserved_usd as free_usd,
        row_number() over by_use as position,
        coalesce(
          sum(g.remaining_usd - g.reserved_usd) over (by_use rows unbounded preceding)
          - (g.remaining_usd - g.reserved_usd), 0
        ) as before_usd
      from billing.credit_grants as g
      where g.org_id = p_org_id
        and g.remaining_usd > 0
        and g.remaining_usd > g.reserved_usd
        and (g.model is null or g.model = p_model)
        and (g.expires_at > v_now) is not false
      window by_use as (order by g.priority, g.expires_at, g.id)
    ) as f
  );
end
$$;

comment on function private.free_parts(uuid, numeric, text) is
  'Parts of grants that are not reserved, in the order they are used up, up to p_amount.';

-- Takes back what is left of expired grants and not reserved.
create function private.expire_grants(p_org_id uuid)
returns void
language plpgsql
volatile
set search_path = pg_catalog, pg_temp
as $$
declare
  v_grant record;
begin
  for v_grant in
    select g.id, g.remaining_usd - g.reserved_usd as free_usd
    from billing.credit_grants as g
    where g.org_id = p_org_id
      and g.remaining_usd > 0
      and g.remaining_usd > g.reserved_usd
      and g.expires_at <= private.clock_now()
    order by g.id
  loop
    perform private.move_credits(
      private.draft_movement(p_org_id, 'adjustment', 'credit_expired', null),
      array[row(v_grant.id, v_grant.free_usd)::private.grant_part]
    );
  end loop;
end
$$;

comment on function private.expire_grants(uuid) is
  'Books what is left of expired grants and not reserved as credit_expired.';

-- Locks the credits of an organization and takes expired ones out of them first. Its org_id is null
-- where the organization does not pay in advance.
create function private.lock_credits(p_org_id uuid)
returns billing.credit_balances
language plpgsql
volatile
set search_path = pg_catalog, pg_temp
as $$
declare
  v_balance billing.credit_balances;
begin
  select * into v_balance
  from billing.credit_balances as b where b.org_id = p_org_id
  for no key update;
  if v_balance.org_id is not null then
    perform private.expire_grants(p_org_id);
  end if;
  return v_balance;
end
$$;

comment on function private.lock_credits(uuid) is
  'Locks the credit balance of an organization: nothing moves but by the caller.';

-- What may be reserved for everything. Locks nothing.
create function private.available_credits(p_org_id uuid)
returns numeric
language plpgsql
stable
set search_path = pg_catalog, pg_temp
as $$
begin
  return (
    select coalesce(sum(g.remaining_usd - g.reserved_usd), 0)
    from billing.credit_grants as g
    where g.org_id = p_org_id
      and g.remaining_usd > 0
      and g.model is null
      and (g.expires_at > private.clock_now()) is not false
  );
end
$$;

comment on function private.available_credits(uuid) is
  'US dollars of credits that are neither reserved, expired nor bound to a model.';

-- Changes what is reserved for a run or draw by parts of grants.
create function private.shift_reservation(
  p_org_id uuid,
  p_subject_id uuid,
  p_parts private.grant_part[],
  p_sign integer
)
returns void
language plpgsql
volatile
set search_path = pg_catalog, pg_temp
as $$
begin
  if p_sign > 0 then
    insert into billing.credit_reservations as r (org_id, subject_id, grant_id, amount_usd)
    select p_org_id, p_subject_id, p.grant_id, p.amount_usd from unnest(p_parts) as p
    on conflict (org_id, subject_id, grant_id)
    do update set amount_usd = r.amount_usd + excluded.amount_usd;
  else
    delete from billing.credit_reservations as r
    using unnest(p_parts) as p
    where r.org_id = p_org_id
      and r.subject_id = p_subject_id
      and r.grant_id = p.grant_id
      and r.amount_usd = p.amount_usd;
    update billing.credit_reservations as r
    set amount_usd = r.amount_usd - p.amount_usd
    from unnest(p_parts) as p
    where r.org_id = p_org_id and r.subject_id = p_subject_id and r.grant_id = p.grant_id;
  end if;
  update billing.credit_grants as g
  set reserved_usd = g.reserved_usd + p_sign * p.amount_usd
  from unnest(p_parts) as p
  where g.org_id = p_org_id and g.id = p.grant_id;
  update billing.credit_balances as b
  set reserved_usd = b.reserved_usd + p_sign * private.sum_of_parts(p_parts)
  where b.org_id = p_org_id;
end
$$;

comment on function private.shift_reservation(uuid, uuid, private.grant_part[], integer) is
  'Reserves parts of grants for a run or draw (p_sign 1), or lets go of them (-1).';

-- What a run or draw has reserved, in the order it is used up or, p_last_first, given back, until
-- it comes to p_amount.
create function private.reserved_parts(
  p_org_id uuid,
  p_subject_id uuid,
  p_amount numeric,
  p_last_first boolean
)
returns private.grant_part[]
language plpgsql
stable
set search_path = pg_catalog, pg_temp
as $$
begin
  return (
    select
      array_agg(
        row(f.grant_id, least(f.amount_usd, p_amount - f.before_usd))::private.grant_part
        order by f.position
      ) filter (where p_amount > f.before_usd)
    from (
      select
        o.grant_id,
        o.amount_usd,
        o.position,
        sum(o.amount_usd) over (order by o.position) - o.amount_usd as before_usd
      from (
        select
          r.grant_id,
          r.amount_usd,
          row_number() over (order by g.priority, g.expires_at, g.id)
          * case when p_last_first then -1 else 1 end as position
        from billing.credit_reservations as r
        inner join billing.credit_grants as g on g.org_id = r.org_id and g.id = r.grant_id
        where r.org_id = p_org_id and r.subject_id = p_subject_id
      ) as o
    ) as f
  );
end
$$;

comment on function private.reserved_parts(uuid, uuid, numeric, boolean) is
  'Parts of grants that a run or draw has reserved, up to p_amount.';

-- Reserves p_amount for a draw, or what there is of it; returns how much.
create function private.reserve_credits(p_org_id uuid, p_draw_id uuid, p_amount numeric)
returns numeric
language plpgsql
volatile
set search_path = pg_catalog, pg_temp
as $$
declare
  v_parts constant private.grant_part[] := private.free_parts(p_org_id, p_amount, null);
begin
  if v_parts is not null then
    perform private.shift_reservation(p_org_id, p_draw_id, v_parts, 1);
  end if;
  return private.sum_of_parts(v_parts);
end
$$;

comment on function private.reserve_credits(uuid, uuid, numeric) is
  'Reserves credits for a draw, as far as there are any, US dollars.';

-- Lets go of p_amount of what a run or draw has reserved; what expired meanwhile goes.
create function private.unreserve_credits(p_org_id uuid, p_subject_id uuid, p_amount numeric)
returns void
language plpgsql
volatile
set search_path = pg_catalog, pg_temp
as $$
begin
  if p_amount > 0 then
    perform private.shift_reservation(
      p_org_id, p_subject_id,
      private.reserved_parts(p_org_id, p_subject_id, p_amount, true), -1
    );
    perform private.expire_grants(p_org_id);
  end if;
end
$$;

comment on function private.unreserve_credits(uuid, uuid, numeric) is
  'Gives back what a run or draw has reserved.';

-- Charges p_amount of what a run or draw has reserved.
create function private.charge_reserved(
  p_movement billing.billing_ledger,
  p_subject_id uuid,
  p_amount numeric
)
returns void
language plpgsql
volatile
set search_path = pg_catalog, pg_temp
as $$
declare
  v_parts constant private.grant_part[] := private.reserved_parts(
    p_movement.org_id, p_subject_id, p_amount, false
  );
begin
  if p_amount > 0 then
    perform private.shift_reservation(p_movement.org_id, p_subject_id, v_parts, -1);
    perform private.move_credits(p_movement, v_parts);
  end if;
end
$$;

comment on function private.charge_reserved(billing.billing_ledger, uuid, numeric) is
  'Charges what a run or draw has reserved.';

-- Charges p_amount of what is available; what credits do not cover is a receivable.
create function private.charge_available(
  p_movement billing.billing_ledger,
  p_amount numeric,
  p_model text
)
returns void
language plpgsql
volatile
set search_path = pg_catalog, pg_temp
as $$
declare
  v_parts private.grant_part[];
  v_covered numeric;
  v_number bigint;
  v_receivable_id uuid;
begin
  if p_amount <= 0 then
    return;
  end if;
  v_parts := private.free_parts(p_movement.org_id, p_amount, p_model);
  v_covered := private.sum_of_parts(v_parts);
  if v_covered > 0 then
    perform private.move_credits(p_movement, v_parts);
  end if;
  if v_covered < p_amount then
    -- Updated, not only locked: a purchase with an older snapshot fails with 40001 instead of
    -- overlooking what is owed.
    update billing.credit_balances as b
    set receivable_count = b.receivable_count + 1
    where b.org_id = p_movement.org_id
    returning b.receivable_count into v_number;
    insert into billing.receivables (
      org_id, number, amount_usd, outstanding_usd, run_id, draw_id, reason, created_at
    ) values (
      p_movement.org_id, v_number, p_amount - v_covered, p_amount - v_covered, p_movement.run_id,
      p_movement.draw_id, p_movement.reason, private.clock_now()
    )
    returning id into v_receivable_id;
    perform private.post_billing(
      p_movement.org_id, v_receivable_id, 'receivable:' || v_receivable_id
    );
  end if;
end
$$;

comment on function private.charge_available(billing.billing_ledger, numeric, text) is
  'Charges what is available, and books the rest as a receivable.';

-- What was charged for a run and not refunded yet, by grant, in the order it is given back: what
-- was used up last comes first. Until it comes to p_amount.
create function private.charged_parts(p_org_id uuid, p_run_id uuid, p_amount numeric)
returns private.grant_part[]
language plpgsql
stable
set search_path = pg_catalog, pg_temp
as $$
begin
  return (
    select
      array_agg(
        row(f.grant_id, least(f.charged_usd, p_amount - f.before_usd))::private.grant_part
        order by f.position
      ) filter (where p_amount > f.before_usd)
    from (
      select
        c.grant_id,
        c.charged_usd,
        c.position,
        sum(c.charged_usd) over (order by c.position) - c.charged_usd as before_usd
      from (
        select
          m.grant_id,
          - sum(m.change_usd) as charged_usd,
          - row_number() over (order by g.priority, g.expires_at, g.id) as position
        from billing.billing_ledger as l
        inner join billing.grant_movements as m
          on m.org_id = l.org_id and m.billing_ledger_id = l.id
        inner join billing.credit_grants as g on g.org_id = m.org_id and g.id = m.grant_id
        where l.org_id = p_org_id and l.run_id = p_run_id
        group by m.grant_id, g.org_id, g.id
        having sum(m.change_usd) < 0
      ) as c
    ) as f
  );
end
$$;

comment on function private.charged_parts(uuid, uuid, numeric) is
  'Parts of grants that a run was charged and did not get back, up to p_amount.';

-- Refunds p_amount of what a run was charged, to the grants it came from.
create function private.refund_charges(p_movement billing.billing_ledger, p_amount numeric)
returns void
language plpgsql
volatile
set search_path = pg_catalog, pg_temp
as $$
begin
  if p_amount > 0 then
    perform private.move_credits(
      p_movement, private.charged_parts(p_movement.org_id, p_movement.run_id, p_amount)
    );
    perform private.expire_grants(p_movement.org_id);
  end if;
end
$$;

comment on function private.refund_charges(billing.billing_ledger, numeric) is
  'Refunds what a run was charged to the grants it came from.';

-- Movement and reason follow the documents: each charge, refund and adjustment leaves an event.
create function billing.audit_log_insert()
returns trigger
language plpgsql
volatile
security definer -- writes the event log, which no role may write itself
set search_path = pg_catalog, pg_temp
as $$
declare
  v_row constant jsonb := to_jsonb(new) - 'xact_id'
    || jsonb_build_object(
      'amount_usd', trim_scale(new.amount_usd::numeric)::text,
      'created_at', to_char(new.created_at at time zone 'UTC', 'YYYY-MM-DD"T"HH24:MI:SS.US"Z"')
    );
  v_user_id constant uuid := auth.uid();
begin
  insert into audit.event_log (
    organization_id, tool_name, correlation_id, input_hash, output_hash, event_timestamp, status,
    actor_id, authn_method, authorization_result
  ) values (
    new.org_id,
    'billing.' || new.transaction_type,
    coalesce(new.run_id, new.draw_id, new.id)::text,
    private.content_hash(private.canonical_text(v_row - array['id', 'created_at'])),
    private.content_hash(private.canonical_text(v_row)),
    new.created_at,
    'ok',
    coalesce('user:' || v_user_id::text, new.created_by),
    case when v_user_id is null then 'asserted' else 'jwt' end,
    'allowed'
  );
  return null;
end
$$;

comment on function billing.audit_log_insert() is
  'Trigger: every row of billing_ledger leaves an event in audit.event_log (billing_system, part '
  '5).';

create trigger audit_billing_ledger_insert after insert on billing.billing_ledger
for each row execute function billing.audit_log_insert();

-- sql/billing/credits.sql

-- Money in: purchases, promotions, trials, adjustments; and what expires.

-- An organization's first credits: from now on it pays in advance.
--
-- A change of its budgets: calls that have read them before, but taken nothing, read them anew.
-- Locks: the organization's own slots.
create function private.open_credits(p_org_id uuid)
returns void
language plpgsql
volatile
set search_path = pg_catalog, pg_temp
as $$
begin
  if exists (select from billing.credit_balances as b where b.org_id = p_org_id) then
    return;
  end if;
  perform private.begin_change(p_org_id);
  insert into billing.credit_balances (org_id) values (p_org_id) on conflict (org_id) do nothing;
  -- What was held or recorded before is not paid by a draw: not even in the same millisecond.
  update metering.budgets as b
  set
    prepaid_since = greatest(
      date_trunc('milliseconds', private.clock_now()),
      (
        select max(l.created_at) from public.ai_usage_ledger as l
        where l.organization_id = p_org_id
      ) + interval '1 millisecond',
      (
        select max(h.created_at) from metering.holds as h where h.organization_id = p_org_id
      ) + interval '1 millisecond'
    )
  where b.organization_id = p_org_id and b.id = p_org_id and b.prepaid_since is null;
end
$$;

comment on function private.open_credits(uuid) is
  'Lets an organization pay in advance from now on. Does nothing where it does.';

-- An amount that moves: above 0.
create function private.assert_movement(p_argument text, p_amount numeric)
returns numeric
language plpgsql
stable
set search_path = pg_catalog, pg_temp
as $$
begin
  if private.assert_money(p_argument, p_amount) = 0 then
    perform private.reject_argument(p_argument, 'must be above 0');
  end if;
  return p_amount;
end
$$;

comment on function private.assert_movement(text, numeric) is
  'Refuses anything but an amount above 0. Errors: 22023.';

-- The caller's name for a movement. Those that follow from something here have names of their own.
create function private.assert_key(p_argument text, p_key text)
returns text
language plpgsql
stable
set search_path = pg_catalog, pg_temp
as $$
begin
  if starts_with(private.assert_text(p_argument, p_key), 'tallystick:') then
    perform private.reject_argument(p_argument, 'must not begin with tallystick:');
  end if;
  return p_key;
end
$$;

comment on function private.assert_key(text, text) is
  'Refuses what cannot name a movement. Errors: 22023.';

-- The movement that a key names, if it was made before with the same content; null where there is
-- none. Under the lock of the credits.
create function private.find_movement(
  p_movement billing.billing_ledger,
  p_amount numeric,
  p_grant billing.credit_grants default null
)
returns billing.billing_ledger
language plpgsql
stable
set search_path = pg_catalog, pg_temp
as $$
declare
  v_made billing.billing_ledger;
begin
  select * into v_made
  from billing.billing_ledger as l
  where l.org_id = p_movement.org_id and l.idempotency_key = p_movement.idempotency_key;
  if v_made.id is not null and (
    (
      v_made.transaction_type, v_made.direction, v_made.amount_usd, v_made.reason
    ) is distinct from (
      p_movement.transaction_type, p_movement.direction, p_amount, p_movement.reason
    )
    or p_grant.kind is not null and not exists (
      select from billing.grant_movements as m
      inner join billing.credit_grants as g on g.org_id = m.org_id and g.id = m.grant_id
      where m.org_id = v_made.org_id
        and m.billing_ledger_id = v_made.id
        and (g.priority, g.model, g.expires_at)
        is not distinct from (p_grant.priority, p_grant.model, p_grant.expires_at)
    )
  ) then
    perform private.raise_error(
      'TS409', jsonb_build_object('idempotency_key', p_movement.idempotency_key)
    );
  end if;
  return v_made;
end
$$;

comment on function private.find_movement(
  billing.billing_ledger, numeric, billing.credit_grants
) is
  'The movement with this key. Errors: TS409 for one with other content.';

-- Puts credits into a grant of their own.
create function private.add_credits(
  p_movement billing.billing_ledger,
  p_amount numeric,
  p_grant billing.credit_grants
)
returns billing.billing_ledger
language plpgsql
volatile
set search_path = pg_catalog, pg_temp
as $$
declare
  v_now constant timestamptz := private.clock_now();
  v_grant_id constant uuid := private.uuid_v7(v_now);
begin
  if p_grant.expires_at <= v_now then
    perform private.reject_argument('p_expires_at', 'must be in the future');
  end if;
  insert into billing.credit_grants (
    org_id, id, kind, amount_usd, remaining_usd, priority, model, expires_at, created_at
  ) values (
    p_movement.org_id, v_grant_id, p_grant.kind, p_amount, 0, p_grant.priority, p_grant.model,
    p_grant.expires_at, v_now
  );
  return private.move_credits(
    p_movement, array[row(v_grant_id, p_amount)::private.grant_part]
  );
end
$$;

comment on function private.add_credits(
  billing.billing_ledger, numeric, billing.credit_grants
) is
  'Books credits into a new grant. Errors: 22023 for one that is over already.';

-- A grant to be: in which order it is used up, what for, and how long.
create function private.draft_grant(
  p_kind text,
  p_priority integer,
  p_model text,
  p_expires_at timestamptz
)
returns billing.credit_grants
language plpgsql
immutable
set search_path = pg_catalog, pg_temp
as $$
declare
  v_grant billing.credit_grants;
begin
  v_grant.kind := p_kind;
  v_grant.priority := p_priority;
  v_grant.model := p_model;
  v_grant.expires_at := p_expires_at;
  return v_grant;
end
$$;

comment on function private.draft_grant(text, integer, text, timestamptz) is
  'A grant without its amount.';

-- Pays what is owed, the oldest first, from what is available.
create function private.collect_receivables(p_org_id uuid, p_purchase_id uuid)
returns void
language plpgsql
volatile
set search_path = pg_catalog, pg_temp
as $$
declare
  v_receivable billing.receivables;
  v_parts private.grant_part[];
begin
  for v_receivable in
    select * from billing.receivables as r
    where r.org_id = p_org_id and r.outstanding_usd > 0
    order by r.number
    for update
  loop
    v_parts := private.free_parts(p_org_id, v_receivable.outstanding_usd, null);
    exit when v_parts is null;
    update billing.receivables as r
    set outstanding_usd = r.outstanding_usd - private.sum_of_parts(v_parts)
    where r.org_id = p_org_id and r.id = v_receivable.id;
    perform private.move_credits(
      private.draft_movement(
        p_org_id, 'charge', 'receivable_collected',
        'tallystick:receivable:' || v_receivable.id || ':' || p_purchase_id,
        v_receivable.run_id, v_receivable.draw_id
      ),
      v_parts
    );
  end loop;
end
$$;

comment on function private.collect_receivables(uuid, uuid) is
  'Charges what an organization owes, as far as credits are available.';

-- Buys credits. Idempotent by p_idempotency_key.
--
-- Locks: the credits; on the first ones of an organization its own slots before.
create function billing.purchase_credits(
  p_org_id uuid,
  p_amount_usd numeric,
  p_idempotency_key text,
  p_expires_at timestamptz default null,
  p_created_by text default 'user'
)
returns billing.billing_ledger
language plpgsql
volatile
security definer -- moves credits, which no role may write itself
set search_path = pg_catalog, pg_temp
as $$
declare
  v_amount constant numeric := private.assert_movement('p_amount_usd', p_amount_usd);
  v_draft constant billing.billing_ledger := private.draft_movement(
    p_org_id, 'credit_purchase', 'credit_purchase',
    private.assert_key('p_idempotency_key', p_idempotency_key),
    p_created_by => private.assert_text('p_created_by', p_created_by)
  );
  v_grant constant billing.credit_grants := private.draft_grant(
    'purchase', 30, null, p_expires_at
  );
  v_movement billing.billing_ledger;
begin
  perform private.assert_member(private.assert_id('p_org_id', p_org_id));
  perform private.open_credits(p_org_id);
  perform private.lock_credits(p_org_id);
  v_movement := private.find_movement(v_draft, v_amount, v_grant);
  if v_movement.id is null then
    v_movement := private.add_credits(v_draft, v_amount, v_grant);
    perform private.collect_receivables(p_org_id, v_movement.id);
  end if;
  return v_movement;
end
$$;

comment on function billing.purchase_credits(uuid, numeric, text, timestamptz, text) is
  'Books credits that an organization has paid, US dollars, and returns the movement; then what it '
  'owes is collected, oldest first. Its first credits make the organization pay in advance. '
  'p_idempotency_key names the payment: again, it is the same movement. For operators. Errors: '
  '22023, TS404, TS409.';

-- Gives credits away. Idempotent by p_idempotency_key.
create function billing.grant_credits(
  p_org_id uuid,
  p_kind text,
  p_amount_usd numeric,
  p_idempotency_key text,
  p_expires_at timestamptz default null,
  p_priority integer default null,
  p_model text default null,
  p_created_by text default 'system'
)
returns billing.billing_ledger
language plpgsql
volatile
security definer -- moves credits, which no role may write itself
set search_path = pg_catalog, pg_temp
as $$
declare
  v_amount constant numeric := private.assert_movement('p_amount_usd', p_amount_usd);
  v_draft billing.billing_ledger;
  v_grant billing.credit_grants;
  v_movement billing.billing_ledger;
  v_model text := p_model;
begin
  if (p_kind in ('promo', 'trial')) is not true then
    perform private.reject_argument('p_kind', 'must be promo or trial');
  elsif p_priority not between 0 and 1000 then
    perform private.reject_argument('p_priority', 'must be from 0 to 1000');
  end if;
  if p_model is not null then
    perform private.assert_text('p_model', p_model);
    v_model := coalesce((private.find_model(null, p_model)).model, p_model);
  end if;
  v_draft := private.draft_movement(
    p_org_id, p_kind,
    case p_kind when 'promo' then 'promo_code_applied' else 'trial_credit_granted' end,
    private.assert_key('p_idempotency_key', p_idempotency_key),
    p_created_by => private.assert_text('p_created_by', p_created_by)
  );
  perform private.assert_member(private.assert_id('p_org_id', p_org_id));
  perform private.open_credits(p_org_id);
  perform private.lock_credits(p_org_id);
  v_grant := private.draft_grant(
    p_kind, coalesce(p_priority, case p_kind when 'trial' then 10 else 20 end), v_model,
    p_expires_at
  );
  v_movement := private.find_movement(v_draft, v_amount, v_grant);
  if v_movement.id is null then
    v_movement := private.add_credits(v_draft, v_amount, v_grant);
  end if;
  return v_movement;
end
$$;

comment on function billing.grant_credits(
  uuid, text, numeric, text, timestamptz, integer, text, text
) is
  'Gives an organization credits, US dollars: promo or trial; returns the movement. They are used '
  'up by p_priority (0 to 1000, lowest first; trial 10, promo 20, purchases 30), then by expiry, '
  'then by age. p_model: they pay for runs of that model alone. For operators. Errors: 22023, '
  'TS404, TS409.';

-- Corrects credits by hand, in either direction. Idempotent by p_idempotency_key.
create function billing.adjust_credits(
  p_org_id uuid,
  p_amount_usd numeric,
  p_reason text,
  p_idempotency_key text,
  p_created_by text default 'support'
)
returns billing.billing_ledger
language plpgsql
volatile
security definer -- moves credits, which no role may write itself
set search_path = pg_catalog, pg_temp
as $$
declare
  v_amount constant numeric := private.assert_movement('p_amount_usd', abs(p_amount_usd));
  v_draft billing.billing_ledger := private.draft_movement(
    p_org_id, 'adjustment', private.assert_text('p_reason', p_reason),
    private.assert_key('p_idempotency_key', p_idempotency_key),
    p_created_by => private.assert_text('p_created_by', p_created_by)
  );
  v_movement billing.billing_ledger;
  v_parts private.grant_part[];
begin
  v_draft.direction := case when p_amount_usd > 0 then 'credit' else 'debit' end;
  perform private.assert_member(private.assert_id('p_org_id', p_org_id));
  perform private.open_credits(p_org_id);
  perform private.lock_credits(p_org_id);
  v_movement := private.find_movement(v_draft, v_amount);
  if v_movement.id is not null then
    return v_movement;
  elsif p_amount_usd > 0 then
    return private.add_credits(
      v_draft, v_amount, private.draft_grant('adjustment', 30, null, null)
    );
  end if;
  v_parts := private.free_parts(p_org_id, v_amount, null);
  if private.sum_of_parts(v_parts) < v_amount then
    perform private.raise_error(
      'TS402', private.credit_facts(p_org_id, v_amount, private.sum_of_parts(v_parts))
    );
  end if;
  return private.move_credits(v_draft, v_parts);
end
$$;

comment on function billing.adjust_credits(uuid, numeric, text, text, text) is
  'Adds to credits (above 0) or takes from what is available (below 0), US dollars, for the stated '
  'reason; returns the movement. For operators. Errors: 22023, TS402 where less is available, '
  'TS404, TS409.';

-- The facts of a refusal for want of credits.
create function private.credit_facts(p_org_id uuid, p_needed numeric, p_available numeric)
returns jsonb
language plpgsql
immutable
set search_path = pg_catalog, pg_temp
as $$
begin
  return jsonb_build_object(
    'org_id', p_org_id,
    'needed_usd', trim_scale(p_needed)::text,
    'available_usd', trim_scale(p_available)::text
  );
end
$$;

comment on function private.credit_facts(uuid, numeric, numeric) is 'DETAIL of a TS402 of credits.';

-- Takes back expired credits. Housekeeping: nobody can spend them meanwhile.
create function billing.expire_credits(p_org_id uuid default null, p_limit integer default 1000)
returns integer
language plpgsql
volatile
security definer -- moves credits, which no role may write itself
set search_path = pg_catalog, pg_temp
set lock_timeout = '20ms' -- longer than a commit takes, shorter than a transaction left open
as $$
declare
  v_org_id uuid;
  v_count integer := 0;
begin
  for v_org_id in
    select distinct g.org_id
    from billing.credit_grants as g
    where g.remaining_usd > 0
      and g.remaining_usd > g.reserved_usd
      and g.expires_at <= private.clock_now()
      and (p_org_id is null or g.org_id = p_org_id)
    order by g.org_id
    limit p_limit
  loop
    -- One tenant is not held up because of another: who keeps it waiting is left for the next time.
    begin
      perform private.lock_credits(v_org_id);
      v_count := v_count + 1;
    exception
      when lock_not_available then null;
    end;
  end loop;
  return v_count;
end
$$;

comment on function billing.expire_credits(uuid, integer) is
  'Books what is left of expired grants and not reserved as credit_expired; returns of how many '
  'organizations, at most p_limit. For operators.';

-- The privileged half of billing.set_low_balance.
create function private.set_low_balance(p_org_id uuid, p_low_balance_usd numeric)
returns billing.credit_balances
language plpgsql
volatile
security definer -- writes credit balances, which no role may write itself
set search_path = pg_catalog, pg_temp
as $$
declare
  v_balance billing.credit_balances;
begin
  perform private.assert_member(private.assert_id('p_org_id', p_org_id), array['owner', 'admin', 'finance']);
  if p_low_balance_usd is not null then
    perform private.assert_money('p_low_balance_usd', p_low_balance_usd);
  end if;
  update billing.credit_balances as b
  set low_balance_usd = p_low_balance_usd
  where b.org_id = p_org_id
  returning * into v_balance;
  if v_balance.org_id is null then
    perform private.raise_error('TS404', jsonb_build_object('org_id', p_org_id));
  end if;
  return v_balance;
end
$$;

comment on function private.set_low_balance(uuid, numeric) is 'Core of billing.set_low_balance.';

-- Below which amount to be warned.
create function billing.set_low_balance(p_org_id uuid, p_low_balance_usd numeric)
returns billing.credit_balances
language plpgsql
volatile
set search_path = pg_catalog, pg_temp
as $$
begin
  return private.set_low_balance(p_org_id, p_low_balance_usd);
end
$$;

comment on function billing.set_low_balance(uuid, numeric) is
  'Below which available amount, US dollars, an event billing.low_balance is put into the outbox, '
  'once each time it falls below; null for none. For owners, admins, finance and operators. '
  'Errors: 22023, 42501, TS404 for an organization without credits.';

-- sql/billing/draws.sql

-- Draws: calls outside runs are paid from credits by the day.
--
-- A draw is a budget whose limit is what it has reserved. The first call of a day opens it, a call
-- that finds it short tops it up from credits, both while the organization stands still for that
-- call: see admit() and book(). The usual call finds enough and touches no credits at all.

-- What calls outside runs could still get from credits beside the draw of p_time: what is
-- available, and what other draws keep without need, p_overdue_at: with overdue holds counted as
-- free. Locks nothing.
create function private.fundable(p_org_id uuid, p_time timestamptz, p_overdue_at timestamptz)
returns numeric
language plpgsql
stable
set search_path = pg_catalog, pg_temp
as $$
begin
  return private.available_credits(p_org_id) + (
    select coalesce(sum(greatest(t.remaining, 0)), 0)
    from (
      select
        sum(s.available_usd) - coalesce(sum(s.debt_usd), 0)
        + case
          when private.has_overdue(p_org_id, p_overdue_at)
            then private.overdue_in_draw(p_org_id, b.id, p_overdue_at)
          else 0
        end as remaining
      from metering.budgets as b
      inner join metering.budget_slots as s
        on s.organization_id = b.organization_id and s.budget_id = b.id
      where b.organization_id = p_org_id and b.scope_key = 'draw:'
      group by b.organization_id, b.id
      having not (p_time >= min(s.window_start) and p_time < max(s.window_end))
    ) as t
  );
end
$$;

comment on function private.fundable(uuid, timestamptz, timestamptz) is
  'US dollars that the draw of p_time could still be given.';

-- What overdue holds keep from a draw that is not the present one.
create function private.overdue_in_draw(p_org_id uuid, p_draw_id uuid, p_overdue_at timestamptz)
returns numeric
language plpgsql
stable
set search_path = pg_catalog, pg_temp
as $$
begin
  return (
    select coalesce(sum(h.held_usd), 0)
    from metering.holds as h
    where h.organization_id = p_org_id
      and h.state = 'open'
      and h.expires_at <= p_overdue_at
      and p_draw_id = any(h.budget_ids)
  );
end
$$;

comment on function private.overdue_in_draw(uuid, uuid, timestamptz) is
  'US dollars that overdue open holds keep from a draw.';

-- True while a hold of a draw is open, be it one of nothing.
create function private.is_held(p_org_id uuid, p_draw_id uuid)
returns boolean
language plpgsql
stable
set search_path = pg_catalog, pg_temp
as $$
begin
  return exists (
    select from metering.holds as h
    where h.organization_id = p_org_id and h.state = 'open' and p_draw_id = any(h.budget_ids)
  );
end
$$;

comment on function private.is_held(uuid, uuid) is 'True while a hold of a draw is open.';

-- Lets go of p_amount of what a draw has reserved, and lowers its limit by it. Its slots are
-- locked.
create function private.shrink_draw(p_org_id uuid, p_draw_id uuid, p_amount numeric)
returns void
language plpgsql
volatile
set search_path = pg_catalog, pg_temp
as $$
begin
  update billing.draws as d
  set reserved_usd = d.reserved_usd - p_amount
  where d.org_id = p_org_id and d.id = p_draw_id;
  perform private.unreserve_credits(p_org_id, p_draw_id, p_amount);
end
$$;

comment on function private.shrink_draw(uuid, uuid, numeric) is
  'Gives back a part of what a draw has reserved.';

-- Takes back what draws have reserved and neither spent nor hold, of all draws but p_except, and
-- closes those whose day is over and which no hold keeps; p_only_closes: just that. Under a gather,
-- with the credits locked.
create function private.take_back_draws(
  p_org_id uuid,
  p_time timestamptz,
  p_except uuid,
  p_only_closes boolean default false
)
returns void
language plpgsql
volatile
set search_path = pg_catalog, pg_temp
as $$
declare
  v_draw record;
  v_budget metering.budgets;
begin
  for v_draw in
    select
      b.id,
      sum(s.settled_usd) as settled,
      sum(s.held_usd) as held,
      sum(s.available_usd) - coalesce(sum(s.debt_usd), 0) as remaining,
      -- A clock that is set back a little does not meet a closed draw.
      max(s.window_end) + interval '1 minute' <= p_time as is_over
    from metering.budgets as b
    inner join metering.budget_slots as s
      on s.organization_id = b.organization_id and s.budget_id = b.id
    where b.organization_id = p_org_id
      and b.scope_key = 'draw:'
      and b.id is distinct from p_except
    group by b.organization_id, b.id
    order by b.id
  loop
    if v_draw.is_over and v_draw.held = 0 and not private.is_held(p_org_id, v_draw.id) then
      perform private.close_draw(p_org_id, v_draw.id, v_draw.settled);
    elsif v_draw.remaining > 0 and not p_only_closes then
      perform private.shrink_draw(p_org_id, v_draw.id, v_draw.remaining);
      update metering.budgets as b
      set limit_usd = b.limit_usd - v_draw.remaining
      where b.organization_id = p_org_id and b.id = v_draw.id
      returning * into v_budget;
      perform private.spread(v_budget, 0, 0);
    end if;
  end loop;
end
$$;

comment on function private.take_back_draws(uuid, timestamptz, uuid, boolean) is
  'Takes back what draws have reserved and do not need, and closes those that are over.';

-- Charges a draw whose day is over for what its calls cost, and lets go of the rest. Under a
-- gather, with the credits locked; none of its holds is open. Usage that lands later is late.
create function private.close_draw(p_org_id uuid, p_draw_id uuid, p_cost numeric)
returns void
language plpgsql
volatile
set search_path = pg_catalog, pg_temp
as $$
declare
  v_draw billing.draws;
  v_reserved numeric;
  v_charge billing.billing_ledger := private.draft_movement(
    p_org_id, 'charge', 'draw_charge', null, null, p_draw_id
  );
begin
  select * into strict v_draw
  from billing.draws as d where d.org_id = p_org_id and d.id = p_draw_id
  for update;
  v_reserved := v_draw.reserved_usd;
  update billing.draws as d
  set
    status = 'closed',
    reserved_usd = 0,
    cost_incurred = d.cost_incurred + p_cost,
    closed_at = private.clock_now()
  where d.org_id = p_org_id and d.id = p_draw_id;
  delete from metering.budget_slots as s
  where s.organization_id = p_org_id and s.budget_id = p_draw_id;
  delete from metering.budgets as b where b.organization_id = p_org_id and b.id = p_draw_id;

  perform private.charge_reserved(v_charge, p_draw_id, least(p_cost, v_reserved));
  perform private.unreserve_credits(p_org_id, p_draw_id, v_reserved - least(p_cost, v_reserved));
  perform private.charge_available(v_charge, p_cost - v_reserved, null);
end
$$;

comment on function private.close_draw(uuid, uuid, numeric) is
  'Charges a draw and ends it; usage that lands later is late.';

-- The draw of p_time, opened if it is missing; with it those that are over are closed. Under a
-- gather.
create function private.open_draw(p_org_id uuid, p_time timestamptz)
returns uuid
language plpgsql
volatile
set search_path = pg_catalog, pg_temp
as $$
declare
  v_own metering.budgets;
  v_draw billing.draws;
  v_id uuid := (
    select b.id
    from metering.budgets as b
    inner join metering.budget_slots as s
      on s.organization_id = b.organization_id and s.budget_id = b.id and s.slot = 0
    where b.organization_id = p_org_id
      and b.scope_key = 'draw:'
      and p_time >= s.window_start
      and p_time < s.window_end
  );
begin
  if v_id is not null then
    return v_id;
  end if;
  select * into strict v_own
  from metering.budgets as b where b.organization_id = p_org_id and b.id = p_org_id;
  perform private.lock_credits(p_org_id);
  perform private.take_back_draws(p_org_id, p_time, null);
  -- A clock that is set back far finds the draw of its day closed: it goes on.
  insert into billing.draws as d (org_id, day)
  values (p_org_id, private.local_day(p_time, v_own.time_zone))
  on conflict (org_id, day) do update set status = 'open', closed_at = null
  returning * into v_draw;
  insert into metering.budgets (
    organization_id, id, scope, time_window, time_zone, draw_day, limit_usd, slot_count, is_funded
  ) values (
    p_org_id, v_draw.id, 'draw', 'day', v_own.time_zone, v_draw.day, 0, v_own.slot_count, true
  );
  insert into metering.budget_slots (
    organization_id, budget_id, slot, window_start, window_end, available_usd
  )
  select
    p_org_id, v_draw.id, n,
    greatest(private.window_start('day', p_time, v_own.time_zone), v_own.prepaid_since),
    private.window_end('day', p_time, v_own.time_zone), 0
  from generate_series(0, v_own.slot_count - 1) as n;
  return v_draw.id;
end
$$;

comment on function private.open_draw(uuid, timestamptz) is
  'The id of the draw that pays calls of p_time outside runs.';

-- Puts credits into the draw of p_time until it has p_need, US dollars, or all there is: an eighth
-- of what is available at a time, so that it seldom is short. Returns what it has. Under a gather.
create function private.fund_draw(p_org_id uuid, p_time timestamptz, p_need numeric)
returns numeric
language plpgsql
volatile
set search_path = pg_catalog, pg_temp
as $$
declare
  v_draw_id constant uuid := private.open_draw(p_org_id, p_time);
  v_budget metering.budgets;
  v_remaining constant numeric := (
    select sum(s.available_usd) - coalesce(sum(s.debt_usd), 0)
    from metering.budget_slots as s
    where s.organization_id = p_org_id and s.budget_id = v_draw_id
  );
  v_available numeric;
  v_amount numeric;
begin
  if v_remaining >= p_need then
    return v_remaining;
  end if;
  perform private.lock_credits(p_org_id);
  v_available := private.available_credits(p_org_id);
  if v_available < p_need - v_remaining then
    perform private.take_back_draws(p_org_id, p_time, v_draw_id);
    v_available := private.available_credits(p_org_id);
  end if;
  -- A budget has a limit below a trillion dollars.
  v_amount := private.reserve_credits(
    p_org_id, v_draw_id,
    least(v_available, greatest(p_need - v_remaining, least(trunc(v_available / 8, 2), 1e9)))
  );
  update billing.draws as d
  set reserved_usd = d.reserved_usd + v_amount
  where d.org_id = p_org_id and d.id = v_draw_id;
  update metering.budgets as b
  set limit_usd = b.limit_usd + v_amount
  where b.organization_id = p_org_id and b.id = v_draw_id
  returning * into v_budget;
  perform private.spread(v_budget, v_remaining + v_amount, p_need);
  return v_remaining + v_amount;
end
$$;

comment on function private.fund_draw(uuid, timestamptz, numeric) is
  'Tops up the draw of p_time until it has p_need, as far as credits go; returns what it has.';

-- What covers a call, once the draw that pays for it has what credits can give: the same where it
-- spends from none. Under a gather.
create function private.fund_call(
  p_organization_id uuid,
  p_scope_keys text[],
  p_time timestamptz,
  p_need numeric,
  p_coverage private.coverage
)
returns private.coverage
language plpgsql
volatile
set search_path = pg_catalog, pg_temp
as $$
declare
  v_coverage private.coverage := p_coverage;
  v_funded numeric;
begin
  if (p_coverage.is_prepaid and 'draw:' = any(p_scope_keys)) is not true then
    return p_coverage;
  end if;
  v_funded := private.fund_draw(p_organization_id, p_time, p_need);
  v_coverage := private.survey(p_organization_id, p_scope_keys, p_time, null);
  -- The survey counts as left what credits could give: now that is known.
  v_coverage.remaining := least(v_coverage.remaining, v_funded);
  return v_coverage;
end
$$;

comment on function private.fund_call(uuid, text[], timestamptz, numeric, private.coverage) is
  'Tops up the draw of a call, and surveys what covers it.';

create function private.count_open_draws(p_org_id uuid)
returns integer
language plpgsql
stable
set search_path = pg_catalog, pg_temp
as $$
begin
  return (select count(*) from billing.draws as d where d.org_id = p_org_id and d.status = 'open');
end
$$;

comment on function private.count_open_draws(uuid) is 'Number of open draws of an organization.';

-- Closes the draws of days that are over. Housekeeping: the first call of another day does it too.
create function billing.close_draws(p_org_id uuid default null, p_limit integer default 100)
returns integer
language plpgsql
volatile
security definer -- moves credits and budgets, which no role may write itself
set search_path = pg_catalog, pg_temp
set lock_timeout = '20ms' -- longer than a commit takes, shorter than a transaction left open
as $$
declare
  v_now constant timestamptz := private.clock_now();
  v_org_id uuid;
  v_closed integer := 0;
  v_before integer;
begin
  for v_org_id in
    select d.org_id
    from billing.draws as d
    inner join tenancy.organizations as o on o.id = d.org_id
    where d.status = 'open'
      and d.day < private.local_day(v_now, o.time_zone)
      and (p_org_id is null or d.org_id = p_org_id)
    group by d.org_id
    order by d.org_id
    limit p_limit
  loop
    -- One tenant is not held up because of another: who keeps it waiting is left for the next time.
    begin
      perform private.gather(v_org_id, '{}', v_now, v_now);
      perform private.lock_credits(v_org_id);
      v_before := private.count_open_draws(v_org_id);
      perform private.take_back_draws(v_org_id, v_now, null, p_only_closes => true);
      v_closed := v_closed + v_before - private.count_open_draws(v_org_id);
    exception
      when lock_not_available then null;
    end;
  end loop;
  return v_closed;
end
$$;

comment on function billing.close_draws(uuid, integer) is
  'Charges the draws of days that are over, as far as no hold keeps them open, and returns how '
  'many; of at most p_limit organizations, as each stands still until all are done. For operators.';

-- sql/billing/run_estimates.sql

-- What a run is expected to use and to cost.

create type private.run_estimate as (
  model text,
  input_tokens bigint,
  output_tokens bigint,
  input_cost numeric,
  output_cost numeric
);

comment on type private.run_estimate is 'What a run is expected to use and to cost, US dollars.';

-- An estimate that can be kept: as many tokens as all digits tell apart, and money with 12
-- decimals.
create function private.assert_run_estimate(p_estimate private.run_estimate)
returns private.run_estimate
language plpgsql
stable
set search_path = pg_catalog, pg_temp
as $$
begin
  if p_estimate.input_tokens::numeric + p_estimate.output_tokens > 9007199254740991 then
    perform private.reject_argument(
      'p_input_tokens, p_output_tokens', 'must come to at most 9007199254740991'
    );
  elsif p_estimate.input_cost + p_estimate.output_cost >= 1e12 then
    perform private.reject_argument(
      'p_input_cost_usd, p_output_cost_usd', 'must come to less than 1000000000000'
    );
  end if;
  return p_estimate;
end
$$;

comment on function private.assert_run_estimate(private.run_estimate) is
  'Refuses an estimate that is beyond all measure. Errors: 22023.';

-- The same for an estimate that is raised.
create function private.assert_run_size(
  p_org_id uuid,
  p_run_id uuid,
  p_added private.run_estimate
)
returns void
language plpgsql
stable
set search_path = pg_catalog, pg_temp
as $$
declare
  v_run billing.run_records;
  v_raised private.run_estimate := p_added;
begin
  select * into strict v_run
  from billing.run_records as r where r.org_id = p_org_id and r.id = p_run_id;
  v_raised.input_tokens := p_added.input_tokens + v_run.input_tokens_estimated;
  v_raised.output_tokens := p_added.output_tokens + v_run.output_tokens_estimated;
  v_raised.input_cost := p_added.input_cost + v_run.input_cost_estimated;
  v_raised.output_cost := p_added.output_cost + v_run.output_cost_estimated;
  perform private.assert_run_estimate(v_raised);
end
$$;

comment on function private.assert_run_size(uuid, uuid, private.run_estimate) is
  'Refuses to raise the estimate of a run beyond all measure. Errors: 22023.';

-- What a run is expected to cost: as stated for input and output apart, or by the price of its
-- model.
create function private.estimate_run(
  p_org_id uuid,
  p_input_tokens bigint,
  p_output_tokens bigint,
  p_model text,
  p_input_cost_usd numeric,
  p_output_cost_usd numeric
)
returns private.run_estimate
language plpgsql
stable
set search_path = pg_catalog, pg_temp
as $$
declare
  v_estimate private.run_estimate;
  v_quote private.quote;
  v_priced private.estimate;
begin
  v_estimate.input_tokens := private.assert_count('p_input_tokens', p_input_tokens);
  v_estimate.output_tokens := private.assert_count('p_output_tokens', p_output_tokens);
  if p_model is not null then
    perform private.assert_text('p_model', p_model);
    v_estimate.model := coalesce((private.find_model(null, p_model)).model, p_model);
  end if;
  if (p_input_cost_usd is null) <> (p_output_cost_usd is null) then
    perform private.reject_argument(
      'p_input_cost_usd, p_output_cost_usd', 'must be stated both or neither'
    );
  elsif p_input_cost_usd is not null then
    v_estimate.input_cost := private.assert_money('p_input_cost_usd', p_input_cost_usd);
    v_estimate.output_cost := private.assert_money('p_output_cost_usd', p_output_cost_usd);
    return private.assert_run_estimate(v_estimate);
  elsif p_model is null then
    perform private.reject_argument('p_model', 'must be named where no costs are stated');
  end if;

  v_quote := private.quote_model(
    p_org_id, null, p_model, null, private.clock_now(), 'infinity'
  );
  if v_quote.reason is not null then
    perform private.reject_argument(
      'p_model', 'must have a price that is not stale, or costs must be stated'
    );
  end if;
  -- A run is many calls: none of them is as long as all of them, so the lowest tier counts.
  v_priced := private.estimate_at(v_quote, 0);
  v_estimate.input_cost := private.assert_money(
    'p_input_tokens', private.round_half_even(
      p_input_tokens * private.marked_up(
        ((private.rates_of_prompt(v_quote.rates, 0) ->> 'input_tokens')::numeric) * 0.000001,
        v_quote.percent
      ), 12
    )
  );
  v_estimate.output_cost := private.assert_money(
    'p_output_tokens',
    private.round_half_even(p_output_tokens * v_priced.usd_per_output_token, 12)
  );
  return private.assert_run_estimate(v_estimate);
end
$$;

comment on function private.estimate_run(uuid, bigint, bigint, text, numeric, numeric) is
  'The estimate of a run, as stated or by the price of its model. Errors: 22023.';

-- sql/billing/runs.sql

-- Runs: started, extended, divided.

-- The organization of a run: the only place that finds a run by its id alone, and so the only body
-- another engine would replace.
create function private.resolve_organization_of_run(p_run_id uuid)
returns uuid
language plpgsql
stable
set search_path = pg_catalog, pg_temp
as $$
begin
  return (select r.org_id from billing.run_records as r where r.id = p_run_id);
end
$$;

comment on function private.resolve_organization_of_run(uuid) is
  'The organization of a run the caller may see, or null.';

-- A run that is there.
create function private.find_run(p_run_id uuid, p_org_id uuid)
returns billing.run_records
language plpgsql
stable
set search_path = pg_catalog, pg_temp
as $$
declare
  v_org_id constant uuid := coalesce(
    p_org_id, private.resolve_organization_of_run(private.assert_id('p_run_id', p_run_id))
  );
  v_run billing.run_records;
begin
  select * into v_run
  from billing.run_records as r where r.org_id = v_org_id and r.id = p_run_id;
  if v_run.id is null then
    perform private.raise_error('TS404', jsonb_build_object('run_id', p_run_id));
  end if;
  return v_run;
end
$$;

comment on function private.find_run(uuid, uuid) is 'A run by its id. Errors: 22023, TS404.';

-- Refuses a frozen organization. Once a slot of it is locked, no freeze comes in between.
create function private.assert_not_frozen(p_org_id uuid)
returns void
language plpgsql
volatile
set search_path = pg_catalog, pg_temp
as $$
begin
  if exists (
    select from metering.budgets as b
    where b.organization_id = p_org_id and b.id = p_org_id and b.frozen_at is not null
  ) then
    perform private.raise_error('TS423', jsonb_build_object('organization_id', p_org_id));
  end if;
end
$$;

comment on function private.assert_not_frozen(uuid) is
  'Refuses a frozen organization. Errors: TS423.';

-- A run as billing.runs shows it.
create function private.shown_run(p_org_id uuid, p_run_id uuid)
returns billing.runs
language plpgsql
stable
set search_path = pg_catalog, pg_temp
as $$
declare
  v_run billing.runs;
begin
  select * into strict v_run from billing.runs as r where r.org_id = p_org_id and r.id = p_run_id;
  return v_run;
end
$$;

comment on function private.shown_run(uuid, uuid) is 'A run with its figures.';

-- Locks one slot of the organization's own budget, as every call does: nobody gathers, and no
-- budget changes, until the transaction (or the block around it) ends.
create function private.lock_own_slot(p_organization_id uuid)
returns void
language plpgsql
volatile
set search_path = pg_catalog, pg_temp
as $$
begin
  perform from metering.budget_slots as s
  where s.organization_id = p_organization_id
    and s.budget_id = p_organization_id
    and s.slot = (
      select pg_backend_pid() % b.slot_count
      from metering.budgets as b
      where b.organization_id = p_organization_id and b.id = p_organization_id
    )
  for no key update;
  if not found then
    perform private.lock_first_slot(p_organization_id);
  end if;
end
$$;

comment on function private.lock_own_slot(uuid) is
  'Holds off changes of budgets and gathers of an organization, as a call does.';

-- Reserves p_amount of credits for a run; false where they do not suffice. p_has_gathered: nobody
-- else is in flight, so what draws do not need may be taken back.
create function private.reserve_for_run(
  p_org_id uuid,
  p_run_id uuid,
  p_amount numeric,
  p_model text,
  p_has_gathered boolean
)
returns boolean
language plpgsql
volatile
set search_path = pg_catalog, pg_temp
as $$
declare
  v_parts private.grant_part[];
begin
  perform private.lock_credits(p_org_id);
  v_parts := private.free_parts(p_org_id, p_amount, p_model);
  if private.sum_of_parts(v_parts) < p_amount and p_has_gathered then
    perform private.take_back_draws(p_org_id, private.clock_now(), null);
    v_parts := private.free_parts(p_org_id, p_amount, p_model);
  end if;
  if private.sum_of_parts(v_parts) < p_amount then
    return false;
  elsif p_amount > 0 then
    perform private.shift_reservation(p_org_id, p_run_id, v_parts, 1);
  end if;
  return true;
end
$$;

comment on function private.reserve_for_run(uuid, uuid, numeric, text, boolean) is
  'Reserves credits for a run; false where they do not suffice.';

-- Refuses a run for want of credits. What draws could give back is available too.
create function private.refuse_for_credits(p_org_id uuid, p_amount numeric, p_model text)
returns void
language plpgsql
stable
set search_path = pg_catalog, pg_temp
as $$
begin
  perform private.raise_error(
    'TS402',
    private.credit_facts(
      p_org_id, p_amount,
      private.sum_of_parts(private.free_parts(p_org_id, 1e24, p_model))
      - private.available_credits(p_org_id)
      + private.fundable(p_org_id, 'infinity', private.clock_now())
    )
  );
end
$$;

comment on function private.refuse_for_credits(uuid, numeric, text) is
  'Says what was needed and what is available. Errors: TS402.';

-- Gives a new run its row, its budget and its own step.
create function private.make_run(
  p_org_id uuid,
  p_run_id uuid,
  p_estimate private.run_estimate,
  p_name text,
  p_slots integer,
  p_now timestamptz
)
returns void
language plpgsql
volatile
set search_path = pg_catalog, pg_temp
as $$
declare
  v_budget metering.budgets;
begin
  insert into billing.run_records (
    org_id, id, name, model, input_tokens_estimated, output_tokens_estimated,
    input_cost_estimated, output_cost_estimated, created_at, updated_at
  ) values (
    p_org_id, p_run_id, p_name, p_estimate.model, p_estimate.input_tokens,
    p_estimate.output_tokens, p_estimate.input_cost, p_estimate.output_cost, p_now, p_now
  );
  insert into billing.steps (org_id, id, run_id, name)
  values (p_org_id, p_run_id, p_run_id, coalesce(p_name, 'run'));
  -- Nothing can have been spent in it before, so unlike a later change this needs no gather.
  insert into metering.budgets (
    organization_id, id, scope, scope_id, time_window, limit_usd, slot_count, is_funded, only_model
  ) values (
    p_org_id, p_run_id, 'run', p_run_id::text, 'total',
    p_estimate.input_cost + p_estimate.output_cost, p_slots, true, p_estimate.model
  )
  returning * into v_budget;
  insert into metering.budget_slots (
    organization_id, budget_id, slot, window_start, available_usd
  )
  select p_org_id, p_run_id, n, date_trunc('milliseconds', p_now), 0
  from generate_series(0, p_slots - 1) as n;
  perform private.spread(v_budget, v_budget.limit_usd, 0);
end
$$;

comment on function private.make_run(
  uuid, uuid, private.run_estimate, text, integer, timestamptz
) is
  'Makes a run, its budget and its own step.';

-- Starts a run: its estimate is reserved from credits, and its calls spend from that.
--
-- Locks: a slot of the organization's own budget, then the credits; where they do not suffice,
-- first all its own slots, to take back what its draws do not need. Idempotent by p_request_id.
create function billing.start_run(
  p_org_id uuid,
  p_input_tokens bigint,
  p_output_tokens bigint,
  p_model text default null,
  p_input_cost_usd numeric default null,
  p_output_cost_usd numeric default null,
  p_name text default null,
  p_slots integer default 1,
  p_request_id text default null
)
returns billing.runs
language plpgsql
volatile
security definer -- moves credits and makes budgets, which no role may write itself
set search_path = pg_catalog, pg_temp
as $$
declare
  v_estimate private.run_estimate;
  v_amount numeric;
  v_run_id uuid;
  v_bound uuid;
  v_now timestamptz;
  v_content_hash text;
  v_gathers boolean := false;
  v_waits boolean := false;
  v_skipped boolean := false;
begin
  perform private.assert_member(private.assert_id('p_org_id', p_org_id));
  if p_name is not null then
    perform private.assert_text('p_name', p_name);
  end if;
  perform private.assert_slots('p_slots', coalesce(p_slots, 1));
  if p_request_id is not null then
    v_content_hash := private.content_hash(
      array[
        p_input_tokens::text, p_output_tokens::text, p_model, trim_scale(p_input_cost_usd)::text,
        trim_scale(p_output_cost_usd)::text, p_name
      ]::text
    );
    v_bound := private.find_request(
      p_org_id, 'start_run', private.assert_text('p_request_id', p_request_id), v_content_hash
    );
    if v_bound is not null then
      return private.shown_run(p_org_id, v_bound);
    end if;
  end if;
  v_estimate := private.estimate_run(
    p_org_id, p_input_tokens, p_output_tokens, p_model, p_input_cost_usd, p_output_cost_usd
  );
  v_amount := v_estimate.input_cost + v_estimate.output_cost;
  if not exists (select from billing.credit_balances as b where b.org_id = p_org_id) then
    perform private.refuse_for_credits(p_org_id, v_amount, v_estimate.model);
  end if;

  loop
    v_now := greatest(
      private.clock_now(),
      (
        select b.prepaid_since from metering.budgets as b
        where b.organization_id = p_org_id and b.id = p_org_id
      )
    );
    v_run_id := private.uuid_v7(v_now);
    begin
      if v_gathers then
        v_skipped := private.gather(p_org_id, '{}', v_now, v_now, p_wait => v_waits);
      else
        perform private.lock_own_slot(p_org_id);
      end if;
      perform private.assert_not_frozen(p_org_id);
      if not private.reserve_for_run(
        p_org_id, v_run_id, v_amount, v_estimate.model, v_gathers
      ) then
        perform private.abandon_attempt();
      end if;
      if p_request_id is not null and not private.bind_request(
        p_org_id, 'start_run', p_request_id, v_content_hash, v_run_id
      ) then
        v_bound := v_run_id;
        perform private.abandon_attempt();
      end if;
      perform private.make_run(
        p_org_id, v_run_id, v_estimate, p_name, coalesce(p_slots, 1), v_now
      );
      return private.shown_run(p_org_id, v_run_id);
    exception
      when sqlstate 'UNDO0' then null;
    end;
    if v_bound is not null then
      return private.shown_run(
        p_org_id, private.find_request(p_org_id, 'start_run', p_request_id, v_content_hash)
      );
    elsif v_gathers and not v_skipped then
      perform private.refuse_for_credits(p_org_id, v_amount, v_estimate.model);
    end if;
    v_waits := v_gathers;
    v_gathers := true;
  end loop;
  return null; -- never reached
end
$$;

comment on function billing.start_run(
  uuid, bigint, bigint, text, numeric, numeric, text, integer, text
) is
  'Starts a run that is expected to use so many tokens: what they cost, as stated for input and '
  'output (US dollars) or by the price of p_model, is reserved from credits, and calls that name '
  'the run (p_run_id) spend from it. With p_model it may call that model alone, and credits bound '
  'to that model pay for it too. p_slots spreads its counters over that many rows (1 to 256): '
  'about twice the connections that spend from it at once. For server roles. Errors: 22023, TS402 '
  'where credits do not suffice, TS404, TS409, TS423 where the organization is frozen.';

-- Reserves more for a run. Idempotent by p_request_id.
--
-- Locks: a slot of the organization's own budget (all, where credits do not suffice), all slots of
-- the run, the run, the credits.
create function billing.extend_run(
  p_run_id uuid,
  p_input_tokens bigint default 0,
  p_output_tokens bigint default 0,
  p_input_cost_usd numeric default null,
  p_output_cost_usd numeric default null,
  p_request_id text default null,
  p_org_id uuid default null
)
returns billing.runs
language plpgsql
volatile
security definer -- moves credits and changes budgets, which no role may write itself
set search_path = pg_catalog, pg_temp
as $$
declare
  v_run billing.run_records := private.find_run(p_run_id, p_org_id);
  v_org_id constant uuid := v_run.org_id;
  v_estimate private.run_estimate;
  v_amount numeric;
  v_budget metering.budgets;
  v_content_hash text;
  v_is_bound boolean := false;
  v_gathers boolean := false;
  v_waits boolean := false;
  v_skipped boolean := false;
  v_now timestamptz;
begin
  if p_request_id is not null then
    v_content_hash := private.content_hash(
      array[
        p_run_id::text, p_input_tokens::text, p_output_tokens::text,
        trim_scale(p_input_cost_usd)::text, trim_scale(p_output_cost_usd)::text
      ]::text
    );
    if private.find_request(
      v_org_id, 'extend_run', private.assert_text('p_request_id', p_request_id), v_content_hash
    ) is not null then
      return private.shown_run(v_org_id, p_run_id);
    end if;
  end if;
  v_estimate := private.estimate_run(
    v_org_id, p_input_tokens, p_output_tokens, v_run.model, p_input_cost_usd, p_output_cost_usd
  );
  v_amount := v_estimate.input_cost + v_estimate.output_cost;

  loop
    v_now := private.clock_now();
    begin
      if v_gathers then
        v_skipped := private.gather(v_org_id, '{}', v_now, v_now, p_wait => v_waits);
      else
        perform private.lock_own_slot(v_org_id);
      end if;
      if not private.lock_run_slots(v_org_id, p_run_id) then
        select * into v_run
        from billing.run_records as r where r.org_id = v_org_id and r.id = p_run_id;
        perform private.raise_error(
          'TS410', jsonb_build_object('run_id', p_run_id, 'state', v_run.status)
        );
      end if;
      perform private.assert_not_frozen(v_org_id);
      perform private.assert_run_size(v_org_id, p_run_id, v_estimate);
      update billing.run_records as r
      set
        input_tokens_estimated = r.input_tokens_estimated + v_estimate.input_tokens,
        output_tokens_estimated = r.output_tokens_estimated + v_estimate.output_tokens,
        input_cost_estimated = r.input_cost_estimated + v_estimate.input_cost,
        output_cost_estimated = r.output_cost_estimated + v_estimate.output_cost
      where r.org_id = v_org_id and r.id = p_run_id;
      if not private.reserve_for_run(v_org_id, p_run_id, v_amount, v_run.model, v_gathers) then
        perform private.abandon_attempt();
      end if;
      if p_request_id is not null and not private.bind_request(
        v_org_id, 'extend_run', p_request_id, v_content_hash, p_run_id
      ) then
        v_is_bound := true;
        perform private.abandon_attempt();
      end if;
      update metering.budgets as b
      set limit_usd = b.limit_usd + v_amount
      where b.organization_id = v_org_id and b.id = p_run_id
      returning * into v_budget;
      perform private.spread(
        v_budget,
        (
          select sum(s.available_usd) - coalesce(sum(s.debt_usd), 0) + v_amount
          from metering.budget_slots as s
          where s.organization_id = v_org_id and s.budget_id = p_run_id
        ),
        0
      );
      return private.shown_run(v_org_id, p_run_id);
    exception
      when sqlstate 'UNDO0' then null;
    end;
    if v_is_bound then
      perform private.find_request(v_org_id, 'extend_run', p_request_id, v_content_hash);
      return private.shown_run(v_org_id, p_run_id);
    elsif v_gathers and not v_skipped then
      perform private.refuse_for_credits(v_org_id, v_amount, v_run.model);
    end if;
    v_waits := v_gathers;
    v_gathers := true;
  end loop;
  return null; -- never reached
end
$$;

comment on function billing.extend_run(uuid, bigint, bigint, numeric, numeric, text, uuid) is
  'Raises the estimate of a running run by so many tokens and what they cost, as stated (US '
  'dollars) or by the price of its model, and reserves that from credits too. For server roles. '
  'Errors: 22023, TS402 where credits do not suffice, TS404, TS409, TS410 for a run that has '
  'ended.';

-- Locks all slots of a run: no call of it is in flight. False where it has none: it has ended.
create function private.lock_run_slots(p_org_id uuid, p_run_id uuid)
returns boolean
language plpgsql
volatile
set search_path = pg_catalog, pg_temp
as $$
begin
  perform from metering.budget_slots as s
  where s.organization_id = p_org_id and s.budget_id = p_run_id
  order by s.slot
  for update;
  return found and exists (
    select from billing.run_records as r
    where r.org_id = p_org_id and r.id = p_run_id and r.status = 'running'
  );
end
$$;

comment on function private.lock_run_slots(uuid, uuid) is
  'Holds off the calls of a run until the transaction ends; false for a run that has ended.';

-- sql/billing/parts.sql

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

-- sql/billing/token_calls.sql

-- The calls of a run. Each is a usage like any other, in ai_usage_ledger and every total, and has a
-- row in token_records too, with the same id.

-- Records which part of a run a usage belongs to; nothing for a usage of no run of ours. Called
-- with every usage that names a run, in its transaction.
create function private.record_run_call(p_usage public.ai_usage_ledger, p_call private.run_call)
returns void
language plpgsql
volatile
set search_path = pg_catalog, pg_temp
as $$
begin
  insert into billing.token_records (
    org_id, id, run_id, agent_id, task_id, step_id, input_tokens, output_tokens, total_tokens,
    model, cost_usd, is_estimated, error_code, error_message, reported_total_tokens, created_at,
    updated_at
  )
  select
    p_usage.organization_id, p_usage.id, p_usage.run_id, p_call.agent_id, p_call.task_id,
    coalesce(p_call.step_id, p_usage.run_id), p_usage.prompt_tokens, p_usage.completion_tokens,
    p_usage.prompt_tokens::bigint + p_usage.completion_tokens, p_usage.model, p_usage.cost,
    p_call.error_code is not null, p_call.error_code, p_call.error_message,
    p_call.reported_total_tokens, p_usage.created_at, p_usage.created_at
  from billing.run_records as r
  where r.org_id = p_usage.organization_id and r.id = p_usage.run_id;
end
$$;

comment on function private.record_run_call(public.ai_usage_ledger, private.run_call) is
  'Writes the row of token_records that goes with a usage of a run that was started here.';

-- True for a run of ours: others are labels that an application gave to its calls.
create function private.is_run(p_org_id uuid, p_run_id uuid)
returns boolean
language plpgsql
stable
set search_path = pg_catalog, pg_temp
as $$
begin
  return exists (
    select from billing.run_records as r where r.org_id = p_org_id and r.id = p_run_id
  );
end
$$;

comment on function private.is_run(uuid, uuid) is 'True for a run that was started here.';

-- Charges a usage that nothing reserved any more: its run has ended, or its draw was closed.
create function private.charge_late_usage(p_usage public.ai_usage_ledger)
returns void
language plpgsql
volatile
set search_path = pg_catalog, pg_temp
as $$
declare
  v_run billing.run_records;
begin
  select * into v_run
  from billing.run_records as r
  where r.org_id = p_usage.organization_id and r.id = p_usage.run_id;
  perform private.lock_credits(p_usage.organization_id);
  perform private.charge_available(
    private.draft_movement(
      p_usage.organization_id, 'adjustment', 'late_usage', 'tallystick:usage:' || p_usage.id, v_run.id,
      case
        when v_run.id is null then (
          select d.id
          from billing.draws as d
          inner join tenancy.organizations as o on o.id = d.org_id
          where d.org_id = p_usage.organization_id
            and d.day = private.local_day(p_usage.created_at, o.time_zone)
        )
      end
    ),
    p_usage.cost, v_run.model
  );
end
$$;

comment on function private.charge_late_usage(public.ai_usage_ledger) is
  'Charges a usage that landed after its run or draw was charged.';

-- What went wrong with a call, if anything, and how much it is to be trusted.
create function private.assert_run_call(
  p_call private.run_call,
  p_is_estimated boolean,
  p_total_tokens bigint
)
returns private.run_call
language plpgsql
stable
set search_path = pg_catalog, pg_temp
as $$
begin
  if p_call.error_code is not null and p_call.error_code not in (
    'ZERO_TOKENS', 'MISMATCH', 'TIMEOUT', 'RATE_LIMIT', 'AUTH_ERROR', 'INVALID_RESPONSE'
  ) then
    perform private.reject_argument(
      'p_error_code',
      'must be ZERO_TOKENS, MISMATCH, TIMEOUT, RATE_LIMIT, AUTH_ERROR or INVALID_RESPONSE'
    );
  elsif p_is_estimated <> (p_call.error_code is not null) then
    perform private.reject_argument(
      'p_is_estimated', 'must be true exactly where p_error_code is stated'
    );
  elsif p_call.error_code is null and p_call.error_message is not null then
    perform private.reject_argument('p_error_message', 'must go with p_error_code');
  elsif length(p_call.error_message) > 10000 then
    perform private.reject_argument('p_error_message', 'must have at most 10000 characters');
  elsif p_call.reported_total_tokens < 0 then
    perform private.reject_argument('p_reported_total_tokens', 'must not be negative');
  elsif (p_call.reported_total_tokens is not null) <> (p_call.error_code is not distinct from 'MISMATCH')
    then
    perform private.reject_argument(
      'p_reported_total_tokens', 'must be stated exactly where p_error_code is MISMATCH'
    );
  elsif p_call.reported_total_tokens = p_total_tokens then
    perform private.reject_argument(
      'p_reported_total_tokens', 'must differ from the sum of the tokens'
    );
  end if;
  return p_call;
end
$$;

comment on function private.assert_run_call(private.run_call, boolean, bigint) is
  'Refuses an error that contradicts itself. Errors: 22023.';

-- What a call of a run used: by token class, or as input and output.
create function private.measure_call(
  p_input_tokens integer,
  p_output_tokens integer,
  p_usage jsonb
)
returns private.measurement
language plpgsql
stable
set search_path = pg_catalog, pg_temp
as $$
declare
  v_measured private.measurement;
begin
  if p_usage is not null then
    v_measured := private.assert_usage('p_usage', p_usage);
    if p_input_tokens <> v_measured.prompt_tokens
      or p_output_tokens <> v_measured.completion_tokens then
      perform private.reject_argument(
        'p_usage', 'must come to p_input_tokens and p_output_tokens'
      );
    end if;
    return v_measured;
  end if;
  return private.assert_usage(
    'p_input_tokens, p_output_tokens',
    jsonb_build_object(
      'input_tokens', private.assert_count('p_input_tokens', p_input_tokens),
      'output_tokens', private.assert_count('p_output_tokens', p_output_tokens)
    )
  );
end
$$;

comment on function private.measure_call(integer, integer, jsonb) is
  'What a call of a run used. Errors: 22023.';

-- Records a call of a run that no hold was made for.
create function private.record_unheld_call(
  p_run billing.run_records,
  p_model text,
  p_measured private.measurement,
  p_cost numeric,
  p_call private.run_call,
  p_request_id text,
  p_content_hash text
)
returns uuid
language plpgsql
volatile
set search_path = pg_catalog, pg_temp
as $$
declare
  v_listed constant private.model_key := private.find_listed(null, p_model);
  v_hold metering.holds;
  v_usage public.ai_usage_ledger;
  v_keys text[];
begin
  -- It is costed as a hold that was made now and let go of at once.
  v_hold.organization_id := p_run.org_id;
  v_hold.run_id := p_run.id;
  v_hold.model := p_model;
  v_hold.provider := v_listed.provider;
  v_hold.listed_model := nullif(v_listed.model, p_model);
  v_hold.tags := '{}';
  v_hold.state := 'released';
  v_hold.created_at := private.clock_now();
  if p_cost is null and (
    private.quote_model(
      p_run.org_id, v_hold.provider, coalesce(v_hold.listed_model, p_model),
      p_measured.service_tier, v_hold.created_at + interval '999 microseconds', 'infinity'
    )
  ).price_id is null then
    perform private.reject_argument(
      'p_cost_usd', 'must be stated: no price is known for the model'
    );
  end if;
  v_usage := private.usage_of_hold(v_hold, private.cost_call(v_hold, p_measured, p_cost));
  v_usage.settlement := 'without_hold';
  v_keys := private.scope_keys(
    null, p_run.id, null, null, null, p_model, v_usage.listed_model, '{}'
  );
  v_usage := private.book(
    v_usage, 0, private.survey(p_run.org_id, v_keys, v_hold.created_at, null), null, 'record',
    p_request_id, p_content_hash, p_call => p_call
  );
  -- The same request was recorded meanwhile; other content under its id is refused.
  return coalesce(
    v_usage.id, private.find_request(p_run.org_id, 'record', p_request_id, p_content_hash)
  );
end
$$;

comment on function private.record_unheld_call(
  billing.run_records, text, private.measurement, numeric, private.run_call, text, text
) is
  'Books a call of a run without a hold. Errors: 22023, TS409.';

-- Records a call of a run: the document's arguments first.
--
-- Never refuses real spend: beyond what the run has reserved it lands all the same, and after the
-- run has ended it is charged as late usage. Locks as settle_spend. Idempotent by p_request_id, and
-- with p_hold_id by that.
create function billing.record_token_call(
  p_run_id uuid,
  p_agent_id uuid,
  p_task_id uuid,
  p_step_id uuid,
  p_input_tokens integer,
  p_output_tokens integer,
  p_model text,
  p_cost_usd numeric,
  p_error_code text default null,
  p_error_message text default null,
  p_is_estimated boolean default null,
  p_usage jsonb default null,
  p_reported_total_tokens bigint default null,
  p_hold_id uuid default null,
  p_request_id text default null,
  p_org_id uuid default null
)
returns uuid
language plpgsql
volatile
security definer -- writes ledgers and counters, which no role may write itself
set search_path = pg_catalog, pg_temp
set plan_cache_mode = force_generic_plan
set enable_seqscan = off
set jit = off
as $$
declare
  v_run constant billing.run_records := private.find_run(p_run_id, p_org_id);
  v_measured private.measurement := private.measure_call(p_input_tokens, p_output_tokens, p_usage);
  v_call private.run_call;
  v_content_hash text;
  v_bound uuid;
begin
  perform private.assert_text('p_model', p_model);
  if p_cost_usd is not null then
    perform private.assert_money('p_cost_usd', p_cost_usd);
  end if;
  v_call := private.assert_run_call(
    row(
      p_agent_id, p_task_id, p_step_id, p_error_code, p_error_message, p_reported_total_tokens
    )::private.run_call,
    p_is_estimated, v_measured.prompt_tokens + v_measured.completion_tokens
  );
  v_measured.is_estimate := v_measured.is_estimate or p_error_code is not null;
  perform private.assert_part_of_run(v_run.org_id, p_run_id, p_agent_id, p_task_id, p_step_id);

  if p_hold_id is not null then
    return private.settle_call(v_run, p_hold_id, p_model, v_measured, p_cost_usd, p_request_id, v_call);
  end if;
  if p_request_id is not null then
    v_content_hash := private.content_hash(
      row(
        p_run_id, v_call, '{"requests": 1}' || v_measured.counts, v_measured.service_tier, p_model,
        trim_scale(p_cost_usd)
      )::text
    );
    v_bound := private.find_request(
      v_run.org_id, 'record', private.assert_text('p_request_id', p_request_id), v_content_hash
    );
    if v_bound is not null then
      return v_bound;
    end if;
  end if;
  return private.record_unheld_call(
    v_run, p_model, v_measured, p_cost_usd, v_call, p_request_id, v_content_hash
  );
end
$$;

comment on function billing.record_token_call(
  uuid, uuid, uuid, uuid, integer, integer, text, numeric, text, text, boolean, jsonb, bigint,
  uuid, text, uuid
) is
  'Records a call of a run and returns its id (billing_system 4.1): in token_records, in '
  'ai_usage_ledger and in every total. p_agent_id and p_task_id null: the main agent, no task; '
  'p_step_id null: the run''s own step. p_cost_usd null: by the price of p_model. p_usage: tokens '
  'by class, as in settle_spend; they come to p_input_tokens and p_output_tokens where those are '
  'stated. p_error_code (ZERO_TOKENS, MISMATCH, TIMEOUT, RATE_LIMIT, AUTH_ERROR, '
  'INVALID_RESPONSE) says that the counts are a guess; of a MISMATCH p_reported_total_tokens says '
  'what the provider had reported. p_hold_id: settles the hold that was made for it. For server '
  'roles. Errors: 22023, TS404, TS409.';

-- Settles the hold that was made for a call of a run.
create function private.settle_call(
  p_run billing.run_records,
  p_hold_id uuid,
  p_model text,
  p_measured private.measurement,
  p_cost numeric,
  p_request_id text,
  p_call private.run_call
)
returns uuid
language plpgsql
volatile
set search_path = pg_catalog, pg_temp
as $$
declare
  v_run_id uuid;
  v_model text;
begin
  select h.run_id, coalesce(h.listed_model, h.model) into v_run_id, v_model
  from metering.holds as h where h.organization_id = p_run.org_id and h.id = p_hold_id;
  if not found then
    select l.run_id, coalesce(l.listed_model, l.model) into v_run_id, v_model
    from public.ai_usage_ledger as l where l.organization_id = p_run.org_id and l.id = p_hold_id;
  end if;
  if v_run_id is distinct from p_run.id then
    perform private.raise_error('TS404', jsonb_build_object('hold_id', p_hold_id));
  elsif v_model <> coalesce((private.find_listed(null, p_model)).model, p_model) then
    perform private.reject_argument('p_model', 'must be the model the hold is for');
  end if;
  perform private.settle_measured(
    p_hold_id, p_measured, p_cost, p_request_id, p_run.org_id, '{}', p_call
  );
  -- Settled before, as a call of another part.
  if not exists (
    select from billing.token_records as t
    where t.org_id = p_run.org_id
      and t.id = p_hold_id
      and (t.agent_id, t.task_id, t.step_id, t.error_code, t.reported_total_tokens)
      is not distinct from (
        p_call.agent_id, p_call.task_id, coalesce(p_call.step_id, p_run.id), p_call.error_code,
        p_call.reported_total_tokens
      )
  ) then
    perform private.raise_error('TS409', jsonb_build_object('hold_id', p_hold_id));
  end if;
  return p_hold_id;
end
$$;

comment on function private.settle_call(
  billing.run_records, uuid, text, private.measurement, numeric, text, private.run_call
) is
  'Settles a hold of a run and says which part of the run it belongs to. Errors: 22023, TS404, '
  'TS409.';

-- sql/billing/reconcile.sql

-- How a run ends: its slots are closed, estimate and records are compared, and money moves once.

-- How far off an estimate was. Decided by whole numbers: what is exactly 50 percent off is within.
create function private.variance_status(p_estimated bigint, p_actual bigint)
returns text
language plpgsql
immutable
set search_path = pg_catalog, pg_temp
as $$
declare
  v_variance constant numeric := abs(p_actual::numeric - p_estimated);
begin
  return case
    when v_variance * 100 <= 50 * greatest(p_estimated, 1)::numeric then 'RECONCILED'
    when v_variance <= greatest(p_estimated, 1) then 'NEEDS_REVIEW'
    else 'CRITICAL'
  end;
end
$$;

comment on function private.variance_status(bigint, bigint) is
  'RECONCILED up to 50 percent of the estimate, NEEDS_REVIEW up to 100, else CRITICAL; an estimate '
  'of 0 counts as 1 token.';

-- The reconciliation a run is to have: without an id, a time, and money.
create function private.compare_run(p_run billing.run_records)
returns billing.token_reconciliations
language plpgsql
stable
set search_path = pg_catalog, pg_temp
as $$
declare
  v_compared billing.token_reconciliations;
begin
  v_compared.org_id := p_run.org_id;
  v_compared.run_id := p_run.id;
  v_compared.estimated_input_tokens := p_run.input_tokens_estimated;
  v_compared.estimated_output_tokens := p_run.output_tokens_estimated;
  v_compared.estimated_total_tokens :=
    p_run.input_tokens_estimated + p_run.output_tokens_estimated;
  v_compared.estimated_cost_usd := p_run.input_cost_estimated + p_run.output_cost_estimated;
  select
    coalesce(sum(t.input_tokens), 0), coalesce(sum(t.output_tokens), 0),
    coalesce(sum(t.total_tokens), 0), coalesce(sum(t.cost_usd), 0)
  into
    v_compared.actual_input_tokens, v_compared.actual_output_tokens,
    v_compared.actual_total_tokens, v_compared.actual_cost_usd
  from billing.token_records as t
  where t.org_id = p_run.org_id
    and t.run_id = p_run.id
    and t.id >= private.uuid_v7_floor(p_run.created_at - interval '1 day');
  v_compared.variance_tokens :=
    v_compared.actual_total_tokens - v_compared.estimated_total_tokens;
  v_compared.variance_pct := private.round_half_even(
    v_compared.variance_tokens * 100::numeric
    / greatest(v_compared.estimated_total_tokens, 1), 4
  );
  v_compared.status := private.variance_status(
    v_compared.estimated_total_tokens, v_compared.actual_total_tokens
  );
  v_compared.refund_amount_usd := greatest(
    v_compared.estimated_cost_usd - v_compared.actual_cost_usd, 0
  );
  v_compared.charge_amount_usd := greatest(
    v_compared.actual_cost_usd - v_compared.estimated_cost_usd, 0
  );
  v_compared.action := case
    when v_compared.status = 'CRITICAL' then 'escalated_to_team'
    when v_compared.refund_amount_usd > 0 then 'refund_applied'
    when v_compared.charge_amount_usd > 0 then 'charge_applied'
    else 'none'
  end;
  return v_compared;
end
$$;

comment on function private.compare_run(billing.run_records) is
  'Estimate and records of a run, compared.';

-- Moves the money of a run that has ended: the estimate is charged, then the excess refunded or the
-- shortfall charged.
create function private.charge_run(
  p_compared billing.token_reconciliations,
  p_model text,
  p_refund_reason text
)
returns void
language plpgsql
volatile
set search_path = pg_catalog, pg_temp
as $$
declare
  v_org_id constant uuid := p_compared.org_id;
  v_run_id constant uuid := p_compared.run_id;
begin
  perform private.charge_reserved(
    private.draft_movement(
      v_org_id, 'charge', 'run_charge', 'tallystick:run:' || v_run_id || ':charge', v_run_id
    ),
    v_run_id, p_compared.estimated_cost_usd
  );
  perform private.refund_charges(
    private.draft_movement(
      v_org_id, 'refund', p_refund_reason, 'tallystick:run:' || v_run_id || ':refund', v_run_id
    ),
    p_compared.refund_amount_usd
  );
  perform private.charge_available(
    private.draft_movement(
      v_org_id, 'charge', 'token_reconciliation_underestimate',
      'tallystick:run:' || v_run_id || ':shortfall', v_run_id
    ),
    p_compared.charge_amount_usd, p_model
  );
end
$$;

comment on function private.charge_run(billing.token_reconciliations, text, text) is
  'Charges a run that has ended, and refunds what it did not need.';

-- Closes open holds of a run, overdue ones or all, in the order of their ids, and returns them.
create function private.close_run_holds(
  p_org_id uuid,
  p_run_id uuid,
  p_now timestamptz,
  p_all boolean
)
returns metering.holds[]
language plpgsql
volatile
set search_path = pg_catalog, pg_temp
as $$
declare
  v_ids uuid[];
  v_holds metering.holds[];
begin
  v_ids := array(
    select h.id from metering.holds as h
    where h.organization_id = p_org_id
      and h.state = 'open'
      and h.run_id = p_run_id
      and (p_all or h.expires_at <= p_now)
    order by h.id
    for update
  );
  with closed as (
    update metering.holds as h
    set
      state = (case when h.expires_at <= p_now then 'expired' else 'released' end)::metering.hold_state,
      closed_at = p_now,
      reason = case when h.expires_at > p_now then 'run ended' end
    where h.organization_id = p_org_id and h.id = any(v_ids)
    returning h.*
  )

  select array_agg(c::metering.holds) into v_holds from closed as c;
  return v_holds;
end
$$;

comment on function private.close_run_holds(uuid, uuid, timestamptz, boolean) is
  'Releases or expires open holds of a run and returns them. The caller returns their money.';

-- Ends a run: the whole of complete_run, cancel_run, fail_run and reconcile_run.
--
-- Locks, in the order of all calls: open holds of the run; a slot of the organization's own budget,
-- or all of them where holds were closed; all slots of the run, so that no call of it is in flight;
-- the run; the credits. Then its slots are gone: a call that comes later finds none, and is late.
create function private.end_run(
  p_run billing.run_records,
  p_status text,
  p_refund_reason text,
  p_releases_holds boolean
)
returns billing.token_reconciliations
language plpgsql
volatile
set search_path = pg_catalog, pg_temp
as $$
declare
  v_org_id constant uuid := p_run.org_id;
  v_run billing.run_records;
  v_reconciliation billing.token_reconciliations;
  v_holds metering.holds[];
  v_held numeric;
  v_expires_at timestamptz;
  v_now timestamptz;
begin
  loop
    select * into v_reconciliation
    from billing.token_reconciliations as r where r.org_id = v_org_id and r.run_id = p_run.id;
    if v_reconciliation.id is not null then
      return v_reconciliation;
    end if;
    v_now := private.clock_now();
    begin
      v_holds := private.close_run_holds(v_org_id, p_run.id, v_now, p_releases_holds);
      if v_holds is null then
        perform private.lock_own_slot(v_org_id);
      else
        perform private.gather_organization(v_org_id);
        perform private.return_holds(v_org_id, v_holds);
      end if;
      if not private.lock_run_slots(v_org_id, p_run.id) then
        perform private.abandon_attempt();
      end if;
      select max(h.expires_at), sum(h.held_usd) into v_expires_at, v_held
      from metering.holds as h
      where h.organization_id = v_org_id and h.state = 'open' and h.run_id = p_run.id;
      if v_expires_at > v_now and not p_releases_holds then
        perform private.raise_error(
          'TS423',
          jsonb_build_object('run_id', p_run.id, 'held_usd', trim_scale(v_held)::text)
        );
      elsif v_expires_at is not null then
        -- Granted or overdue since it looked.
        perform private.abandon_attempt();
      end if;
      select * into strict v_run
      from billing.run_records as r where r.org_id = v_org_id and r.id = p_run.id
      for update;
      perform private.lock_credits(v_org_id);
      return private.close_run(v_run, p_status, p_refund_reason);
    exception
      when sqlstate 'UNDO0' then null;
    end;
  end loop;
  return null; -- never reached
end
$$;

comment on function private.end_run(billing.run_records, text, text, boolean) is
  'Ends a run and reconciles it; again: the same reconciliation. Errors: TS423 for a run with open '
  'holds.';

-- Reconciles a run that stands still.
create function private.close_run(
  p_run billing.run_records,
  p_status text,
  p_refund_reason text
)
returns billing.token_reconciliations
language plpgsql
volatile
set search_path = pg_catalog, pg_temp
as $$
declare
  v_now constant timestamptz := private.clock_now();
  v_compared billing.token_reconciliations := private.compare_run(p_run);
begin
  v_compared.id := private.uuid_v7(v_now);
  v_compared.created_at := v_now;
  v_compared.updated_at := v_now;
  insert into billing.token_reconciliations values (v_compared.*);
  update billing.run_records as r
  set status = p_status, completed_at = v_now
  where r.org_id = p_run.org_id and r.id = p_run.id;
  perform private.end_parts_of_run(p_run.org_id, p_run.id, p_status, v_now);
  delete from metering.budget_slots as s
  where s.organization_id = p_run.org_id and s.budget_id = p_run.id;
  delete from metering.budgets as b
  where b.organization_id = p_run.org_id and b.id = p_run.id;
  perform private.charge_run(v_compared, p_run.model, p_refund_reason);
  if v_compared.status = 'CRITICAL' then
    perform private.emit_event(
      p_run.org_id, 'billing.critical_variance', p_run.id,
      jsonb_build_object(
        'reconciliation_id', v_compared.id,
        'variance_pct', v_compared.variance_pct::text,
        'estimated_cost_usd', trim_scale(v_compared.estimated_cost_usd::numeric)::text,
        'actual_cost_usd', trim_scale(v_compared.actual_cost_usd::numeric)::text
      )
    );
  end if;
  return v_compared;
end
$$;

comment on function private.close_run(billing.run_records, text, text) is
  'Writes the reconciliation of a run, ends it and moves its money.';

-- What still runs in a run ends with it.
create function private.end_parts_of_run(
  p_org_id uuid,
  p_run_id uuid,
  p_status text,
  p_now timestamptz
)
returns void
language plpgsql
volatile
set search_path = pg_catalog, pg_temp
as $$
begin
  update billing.steps as s
  set status = p_status, completed_at = p_now
  where s.org_id = p_org_id and s.run_id = p_run_id and s.status = 'running';
  update billing.tasks as t
  set status = p_status, completed_at = p_now
  where t.org_id = p_org_id and t.run_id = p_run_id and t.status = 'running';
  update billing.agents as a
  set status = p_status, completed_at = p_now
  where a.org_id = p_org_id and a.run_id = p_run_id and a.status = 'running';
end
$$;

comment on function private.end_parts_of_run(uuid, uuid, text, timestamptz) is
  'Ends the agents, tasks and steps of a run that are running.';

-- Reconciles a run, which ends it. Idempotent: again, it is the same reconciliation.
create function billing.reconcile_run(p_run_id uuid, p_org_id uuid default null)
returns uuid
language plpgsql
volatile
security definer -- moves credits and closes budgets, which no role may write itself
set search_path = pg_catalog, pg_temp
as $$
begin
  return (
    private.end_run(
      private.find_run(p_run_id, p_org_id), 'completed', 'token_reconciliation_overestimate', false
    )
  ).id;
end
$$;

comment on function billing.reconcile_run(uuid, uuid) is
  'Compares what a run was estimated at with its records, charges and refunds, and returns the id '
  'of the reconciliation (billing_system 4.2); a run that was going on is completed by that. '
  'Again: the same id. For server roles. Errors: 22023, TS404, TS423 while a hold of it is open.';

-- A run is done. Idempotent: a run that has ended stays as it ended.
create function billing.complete_run(p_run_id uuid, p_org_id uuid default null)
returns billing.token_reconciliations
language plpgsql
volatile
security definer -- moves credits and closes budgets, which no role may write itself
set search_path = pg_catalog, pg_temp
as $$
begin
  return private.end_run(
    private.find_run(p_run_id, p_org_id), 'completed', 'token_reconciliation_overestimate', false
  );
end
$$;

comment on function billing.complete_run(uuid, uuid) is
  'Ends a run and returns its reconciliation: what it used is charged, the rest of its estimate '
  'refunded (token_reconciliation_overestimate), a shortfall charged '
  '(token_reconciliation_underestimate). For server roles. Errors: 22023, TS404, TS423 while a '
  'hold of it is open.';

-- A run is not wanted any more. Its open holds are released. Idempotent.
create function billing.cancel_run(p_run_id uuid, p_org_id uuid default null)
returns billing.token_reconciliations
language plpgsql
volatile
security definer -- moves credits and closes budgets, which no role may write itself
set search_path = pg_catalog, pg_temp
as $$
begin
  return private.end_run(
    private.find_run(p_run_id, p_org_id), 'cancelled', 'token_reconciliation_overestimate', true
  );
end
$$;

comment on function billing.cancel_run(uuid, uuid) is
  'Releases the open holds of a run, ends it and returns its reconciliation: what it used is '
  'charged, the rest refunded (token_reconciliation_overestimate). A call that is settled '
  'afterwards is late usage. For server roles. Errors: 22023, TS404.';

-- A run went wrong. Its open holds are released. Idempotent.
create function billing.fail_run(
  p_run_id uuid,
  p_cause text default 'partial_failure',
  p_org_id uuid default null
)
returns billing.token_reconciliations
language plpgsql
volatile
security definer -- moves credits and closes budgets, which no role may write itself
set search_path = pg_catalog, pg_temp
as $$
begin
  if (p_cause in ('partial_failure', 'agent_crash')) is not true then
    perform private.reject_argument('p_cause', 'must be partial_failure or agent_crash');
  end if;
  return private.end_run(
    private.find_run(p_run_id, p_org_id), 'failed', p_cause || '_refund', true
  );
end
$$;

comment on function billing.fail_run(uuid, text, uuid) is
  'Releases the open holds of a run, ends it and returns its reconciliation: what it used is '
  'charged, the rest refunded (partial_failure_refund or agent_crash_refund, by p_cause: '
  'partial_failure or agent_crash). For server roles. Errors: 22023, TS404.';

-- sql/billing/disputes.sql

-- Disputes: finance or an owner objects to a reconciliation, an operator resolves it.

-- The privileged half of billing.dispute_reconciliation.
create function private.dispute_reconciliation(p_run_id uuid, p_notes text, p_org_id uuid)
returns billing.token_reconciliations
language plpgsql
volatile
security definer -- writes reconciliations, which no role may write itself
set search_path = pg_catalog, pg_temp
as $$
declare
  v_org_id constant uuid := coalesce(
    p_org_id, private.resolve_organization_of_run(private.assert_id('p_run_id', p_run_id))
  );
  v_reconciliation billing.token_reconciliations;
begin
  if not private.is_trusted_caller()
    and (v_org_id = any(private.member_organization_ids())) is not true then
    perform private.raise_error('TS404', jsonb_build_object('run_id', p_run_id));
  elsif v_org_id is not null then
    perform private.assert_member(v_org_id, array['owner', 'finance']);
  end if;
  if length(p_notes) > 10000 then
    perform private.reject_argument('p_notes', 'must have at most 10000 characters');
  end if;
  update billing.token_reconciliations as r
  set status = 'DISPUTED', notes = coalesce(p_notes, r.notes)
  where r.org_id = v_org_id and r.run_id = p_run_id and r.status <> 'RESOLVED'
  returning * into v_reconciliation;
  if v_reconciliation.id is not null then
    return v_reconciliation;
  elsif exists (
    select from billing.token_reconciliations as r
    where r.org_id = v_org_id and r.run_id = p_run_id
  ) then
    perform private.raise_error(
      'TS410', jsonb_build_object('run_id', p_run_id, 'state', 'RESOLVED')
    );
  end if;
  perform private.raise_error('TS404', jsonb_build_object('run_id', p_run_id));
  return null;
end
$$;

comment on function private.dispute_reconciliation(uuid, text, uuid) is
  'Core of billing.dispute_reconciliation.';

-- Objects to what a run was charged. Idempotent.
create function billing.dispute_reconciliation(
  p_run_id uuid,
  p_notes text default null,
  p_org_id uuid default null
)
returns billing.token_reconciliations
language plpgsql
volatile
set search_path = pg_catalog, pg_temp
as $$
begin
  return private.dispute_reconciliation(p_run_id, p_notes, p_org_id);
end
$$;

comment on function billing.dispute_reconciliation(uuid, text, uuid) is
  'Marks the reconciliation of a run as DISPUTED, whatever it was; once resolved it stays so. For '
  'owners, finance and server roles. Errors: 22023, 42501, TS404, TS410 for a resolved one.';

-- Refunds p_refund_usd of what a run cost: what was not collected yet is waived first.
create function private.refund_dispute(p_org_id uuid, p_run_id uuid, p_refund numeric)
returns void
language plpgsql
volatile
set search_path = pg_catalog, pg_temp
as $$
declare
  v_receivable billing.receivables;
  v_left numeric := p_refund;
  v_waived numeric;
begin
  for v_receivable in
    select * from billing.receivables as r
    where r.org_id = p_org_id and r.run_id = p_run_id and r.outstanding_usd > 0
    order by r.number
    for update
  loop
    v_waived := least(v_left, v_receivable.outstanding_usd);
    exit when v_waived = 0;
    update billing.receivables as r
    set
      outstanding_usd = r.outstanding_usd - v_waived,
      waived_usd = r.waived_usd + v_waived
    where r.org_id = p_org_id and r.id = v_receivable.id;
    perform private.post_billing(
      p_org_id, v_receivable.id, 'receivable:' || v_receivable.id || ':waived'
    );
    v_left := v_left - v_waived;
  end loop;
  if v_left > private.sum_of_parts(private.charged_parts(p_org_id, p_run_id, v_left)) then
    perform private.reject_argument('p_refund_usd', 'must be at most what the run was charged');
  end if;
  perform private.refund_charges(
    private.draft_movement(
      p_org_id, 'refund', 'user_dispute_resolution',
      'tallystick:run:' || p_run_id || ':dispute', p_run_id, null, 'support'
    ),
    v_left
  );
end
$$;

comment on function private.refund_dispute(uuid, uuid, numeric) is
  'Refunds a part of what a run cost. Errors: 22023 where that is more than it was charged.';

-- Resolves a dispute, with a refund or without. Idempotent: what is resolved stays so.
create function billing.resolve_dispute(
  p_run_id uuid,
  p_refund_usd numeric default 0,
  p_notes text default null,
  p_org_id uuid default null
)
returns billing.token_reconciliations
language plpgsql
volatile
security definer -- moves credits, which no role may write itself
set search_path = pg_catalog, pg_temp
as $$
declare
  v_org_id constant uuid := (private.find_run(p_run_id, p_org_id)).org_id;
  v_reconciliation billing.token_reconciliations;
begin
  perform private.assert_money('p_refund_usd', p_refund_usd);
  if length(p_notes) > 10000 then
    perform private.reject_argument('p_notes', 'must have at most 10000 characters');
  end if;
  perform private.lock_credits(v_org_id);
  select * into v_reconciliation
  from billing.token_reconciliations as r
  where r.org_id = v_org_id and r.run_id = p_run_id
  for update;
  if v_reconciliation.status = 'RESOLVED' then
    if v_reconciliation.dispute_refund_usd <> p_refund_usd then
      perform private.raise_error('TS409', jsonb_build_object('run_id', p_run_id));
    end if;
    return v_reconciliation;
  elsif v_reconciliation.id is null then
    perform private.raise_error('TS404', jsonb_build_object('run_id', p_run_id));
  elsif v_reconciliation.status <> 'DISPUTED' then
    perform private.raise_error(
      'TS410', jsonb_build_object('run_id', p_run_id, 'state', v_reconciliation.status)
    );
  end if;
  if p_refund_usd > 0 then
    perform private.refund_dispute(v_org_id, p_run_id, p_refund_usd);
  end if;
  update billing.token_reconciliations as r
  set
    status = 'RESOLVED',
    action = 'dispute_resolved',
    dispute_refund_usd = p_refund_usd,
    notes = coalesce(p_notes, r.notes),
    resolved_at = private.clock_now()
  where r.org_id = v_org_id and r.run_id = p_run_id
  returning * into v_reconciliation;
  return v_reconciliation;
end
$$;

comment on function billing.resolve_dispute(uuid, numeric, text, uuid) is
  'Resolves a dispute and refunds p_refund_usd, US dollars, of what the run cost: what it still '
  'owes is waived first, the rest goes back to the credits it came from (user_dispute_resolution). '
  'For operators. Errors: 22023 where that is more than the run was charged, TS404, TS409 where it '
  'was resolved with another refund, TS410 where nothing is disputed.';

-- sql/billing/views.sql

-- The document's views: its columns, in its order, with its values (billing_system, part 3).

create view billing.v_run_billing_summary with (security_invoker = true) as
select
  r.id as run_id,
  r.org_id,
  r.status,
  r.created_at,
  r.completed_at,
  t.actual_input_tokens,
  t.actual_output_tokens,
  t.actual_total_tokens,
  t.actual_cost_usd,
  case c.status
    when 'RECONCILED' then 'OK'
    when 'NEEDS_REVIEW' then 'WARNING'
    when 'CRITICAL' then 'ERROR'
    when 'DISPUTED' then 'DISPUTED'
    when 'RESOLVED' then 'RESOLVED'
    else 'NOT_RECONCILED'
  end as reconciliation_status,
  c.variance_pct,
  c.refund_amount_usd,
  c.charge_amount_usd
from billing.run_records as r
left join billing.token_reconciliations as c on r.org_id = c.org_id and r.id = c.run_id
cross join lateral (
  select
    coalesce(sum(x.input_tokens), 0) as actual_input_tokens,
    coalesce(sum(x.output_tokens), 0) as actual_output_tokens,
    coalesce(sum(x.total_tokens), 0) as actual_total_tokens,
    coalesce(sum(x.cost_usd), 0) as actual_cost_usd
  from billing.token_records as x
  where x.org_id = r.org_id
    and x.run_id = r.id
    and x.id >= private.uuid_v7_floor(r.created_at - interval '1 day')
) as t;

comment on view billing.v_run_billing_summary is
  'Each run with what it used and how it was reconciled (billing_system 3.1).';
comment on column billing.v_run_billing_summary.run_id is 'The run.';
comment on column billing.v_run_billing_summary.org_id is 'The organization that pays.';
comment on column billing.v_run_billing_summary.status is
  'running, completed, cancelled or failed.';
comment on column billing.v_run_billing_summary.created_at is 'When it was started.';
comment on column billing.v_run_billing_summary.completed_at is 'When it ended.';
comment on column billing.v_run_billing_summary.actual_input_tokens is 'Input tokens of its calls.';
comment on column billing.v_run_billing_summary.actual_output_tokens is
  'Output tokens of its calls.';
comment on column billing.v_run_billing_summary.actual_total_tokens is 'Both together.';
comment on column billing.v_run_billing_summary.actual_cost_usd is
  'Cost of its calls, US dollars.';
comment on column billing.v_run_billing_summary.reconciliation_status is
  'OK, WARNING, ERROR, DISPUTED, RESOLVED or NOT_RECONCILED.';
comment on column billing.v_run_billing_summary.variance_pct is
  'How far off its estimate was, percent.';
comment on column billing.v_run_billing_summary.refund_amount_usd is
  'What was refunded, US dollars.';
comment on column billing.v_run_billing_summary.charge_amount_usd is
  'What was charged beyond the estimate, US dollars.';

create view billing.v_org_billing_summary with (security_invoker = true) as
select
  l.org_id,
  b.balance_usd as current_balance_usd,
  b.reserved_usd,
  count(*) filter (where l.transaction_type = 'charge') as charge_count,
  count(*) filter (where l.transaction_type = 'refund') as refund_count,
  coalesce(sum(l.amount_usd) filter (where l.direction = 'debit'), 0) as total_charged_usd,
  coalesce(sum(l.amount_usd) filter (where l.direction = 'credit'), 0) as total_credited_usd,
  min(l.created_at) as first_transaction_at,
  max(l.created_at) as last_transaction_at
from billing.billing_ledger as l
inner join billing.credit_balances as b on l.org_id = b.org_id
group by l.org_id, b.balance_usd, b.reserved_usd;

comment on view billing.v_org_billing_summary is
  'Each organization with its balance and what moved (billing_system 3.2).';
comment on column billing.v_org_billing_summary.org_id is 'The organization.';
comment on column billing.v_org_billing_summary.current_balance_usd is 'Its balance, US dollars.';
comment on column billing.v_org_billing_summary.reserved_usd is
  'The reserved part of it, US dollars.';
comment on column billing.v_org_billing_summary.charge_count is 'Number of charges.';
comment on column billing.v_org_billing_summary.refund_count is 'Number of refunds.';
comment on column billing.v_org_billing_summary.total_charged_usd is 'Sum of debits, US dollars.';
comment on column billing.v_org_billing_summary.total_credited_usd is
  'Sum of credits, US dollars.';
comment on column billing.v_org_billing_summary.first_transaction_at is 'When it first moved.';
comment on column billing.v_org_billing_summary.last_transaction_at is 'When it last moved.';

create view billing.v_high_variance_runs with (security_invoker = true) as
select
  c.run_id,
  c.status,
  c.variance_pct,
  c.estimated_total_tokens,
  c.actual_total_tokens,
  c.estimated_cost_usd,
  c.actual_cost_usd,
  c.refund_amount_usd,
  c.charge_amount_usd,
  c.created_at
from billing.token_reconciliations as c
where c.status in ('NEEDS_REVIEW', 'CRITICAL')
order by abs(c.variance_pct) desc;

comment on view billing.v_high_variance_runs is
  'Runs whose estimate was more than 50 percent off, the worst first (billing_system 3.3).';
comment on column billing.v_high_variance_runs.run_id is 'The run.';
comment on column billing.v_high_variance_runs.status is 'NEEDS_REVIEW or CRITICAL.';
comment on column billing.v_high_variance_runs.variance_pct is
  'How far off its estimate was, percent.';
comment on column billing.v_high_variance_runs.estimated_total_tokens is 'Estimated tokens.';
comment on column billing.v_high_variance_runs.actual_total_tokens is 'Tokens used.';
comment on column billing.v_high_variance_runs.estimated_cost_usd is 'Estimated cost, US dollars.';
comment on column billing.v_high_variance_runs.actual_cost_usd is 'Actual cost, US dollars.';
comment on column billing.v_high_variance_runs.refund_amount_usd is
  'What was refunded, US dollars.';
comment on column billing.v_high_variance_runs.charge_amount_usd is
  'What was charged beyond the estimate, US dollars.';
comment on column billing.v_high_variance_runs.created_at is 'When it was reconciled.';

-- sql/billing/statement.sql

-- A month of an organization on one page.

-- Opening balance, movements, usage by model, closing balance, as of one moment. The month is the
-- organization's. Locks nothing.
create function billing.get_statement(p_org_id uuid, p_month date)
returns jsonb
language plpgsql
stable
set search_path = pg_catalog, pg_temp
as $$
declare
  v_organization tenancy.organizations;
  v_start timestamptz;
  v_end timestamptz;
  v_first date;
  v_opening numeric;
begin
  perform private.assert_member(private.assert_id('p_org_id', p_org_id));
  if (p_month between '2000-01-01' and '9999-11-30') is not true then
    perform private.reject_argument('p_month', 'must be from 2000-01 to 9999-11');
  end if;
  select * into v_organization from tenancy.organizations as o where o.id = p_org_id;
  v_first := date_trunc('month', p_month)::date;
  v_start := v_first::timestamp at time zone v_organization.time_zone;
  v_end := (v_first + interval '1 month') at time zone v_organization.time_zone;
  v_opening := coalesce(
    (
      select h.balance_after_usd
      from billing.credit_balance_history as h
      where h.org_id = p_org_id and h.created_at < v_start
      order by h.movement desc
      limit 1
    ), 0
  );
  return jsonb_build_object(
    'org_id', p_org_id,
    'organization', v_organization.name,
    'time_zone', v_organization.time_zone,
    'month', to_char(v_first, 'YYYY-MM'),
    'opening_balance_usd', trim_scale(v_opening)::text,
    'closing_balance_usd', trim_scale(
      v_opening + (
        select coalesce(sum(h.change_usd), 0)
        from billing.credit_balance_history as h
        where h.org_id = p_org_id and h.created_at >= v_start and h.created_at < v_end
      )
    )::text,
    'movements', (
      select
        coalesce(
          jsonb_agg(
            jsonb_build_object(
              'id', l.id,
              'created_at', l.created_at,
              'transaction_type', l.transaction_type,
              'direction', l.direction,
              'amount_usd', trim_scale(l.amount_usd::numeric)::text,
              'reason', l.reason,
              'run_id', l.run_id,
              'draw_id', l.draw_id,
              'balance_after_usd', trim_scale(h.balance_after_usd::numeric)::text
            )
            order by h.movement
          ), '[]'
        )
      from billing.billing_ledger as l
      inner join billing.credit_balance_history as h
        on h.org_id = l.org_id and h.billing_ledger_id = l.id
      where l.org_id = p_org_id and l.created_at >= v_start and l.created_at < v_end
    ),
    'usage_by_model', (
      select
        coalesce(
          jsonb_agg(
            jsonb_build_object(
              'model', u.model,
              'requests', u.requests,
              'prompt_tokens', u.prompt_tokens,
              'completion_tokens', u.completion_tokens,
              'cost_usd', trim_scale(u.cost)::text
            )
            order by u.cost desc, u.model
          ), '[]'
        )
      from (
        select
          r.model,
          sum(r.requests) as requests,
          sum(r.prompt_tokens) as prompt_tokens,
          sum(r.completion_tokens) as completion_tokens,
          sum(r.cost) as cost
        from metering.usage_rollups as r
        where r.organization_id = p_org_id
          and r.scope = 'organization'
          and r.day >= v_first
          and r.day < v_first + interval '1 month'
        group by r.model
      ) as u
    ),
    'usage_by_day', (
      select
        coalesce(
          jsonb_agg(
            jsonb_build_object('day', u.day, 'cost_usd', trim_scale(u.cost)::text) order by u.day
          ), '[]'
        )
      from (
        select r.day, sum(r.cost) as cost
        from metering.usage_rollups as r
        where r.organization_id = p_org_id
          and r.scope = 'organization'
          and r.day >= v_first
          and r.day < v_first + interval '1 month'
        group by r.day
      ) as u
    ),
    'receivables_usd', (
      select trim_scale(coalesce(sum(x.outstanding_usd), 0))::text
      from billing.receivables as x where x.org_id = p_org_id
    )
  );
end
$$;

comment on function billing.get_statement(uuid, date) is
  'The month that p_month is in, in the organization''s time zone: opening_balance_usd, movements '
  'in their order, usage_by_model and usage_by_day, closing_balance_usd, and receivables_usd, what '
  'is owed now; amounts as decimal text. Opening balance and movements add up to the closing '
  'balance. For members and server roles. Errors: 22023, 42501, TS404.';

-- sql/billing/integrity.sql

-- Billing: credits against their ledger, runs against their calls.

-- A stable function reads with the snapshot of the statement that called it: see verify_metering.
create function private.verify_billing(p_organization_ids uuid[], p_since xid8)
returns setof audit.finding
language plpgsql
stable
set search_path = pg_catalog, pg_temp
as $$
begin
  -- A balance is its ledger, its last history row, and what is left of its grants.
  return query
  select v.check_name, b.org_id, 'credits', private.figure(v.expected), private.figure(v.actual)
  from billing.credit_balances as b
  cross join lateral (
    select
      (
        select
          coalesce(
            sum(case l.direction when 'credit' then l.amount_usd else - l.amount_usd end), 0
          )
        from billing.billing_ledger as l where l.org_id = b.org_id
      ) as ledger,
      coalesce(
        (
          select h.balance_after_usd
          from billing.credit_balance_history as h
          where h.org_id = b.org_id
          order by h.movement desc
          limit 1
        ), 0
      ) as history,
      (
        select coalesce(sum(g.remaining_usd), 0)
        from billing.credit_grants as g where g.org_id = b.org_id
      ) as remaining,
      (
        select coalesce(sum(g.reserved_usd), 0)
        from billing.credit_grants as g where g.org_id = b.org_id
      ) as reserved,
      (
        select coalesce(sum(m.limit_usd), 0)
        from metering.budgets as m
        where m.organization_id = b.org_id and m.is_funded
      ) as limits,
      (
        select coalesce(max(h.movement), 0)
        from billing.credit_balance_history as h where h.org_id = b.org_id
      ) as movements,
      (
        select count(*) from billing.billing_ledger as l where l.org_id = b.org_id
      ) as entries
  ) as t
  cross join lateral (
    values
    ('balance_equals_ledger', t.ledger, b.balance_usd::numeric),
    ('balance_equals_history', t.history::numeric, b.balance_usd::numeric),
    ('balance_equals_grants', t.remaining, b.balance_usd::numeric),
    ('reserved_equals_grants', t.reserved, b.reserved_usd::numeric),
    ('reserved_funds_runs_and_draws', t.limits, b.reserved_usd::numeric),
    ('every_movement_is_in_history', t.entries::numeric, b.movement_count::numeric),
    ('history_has_no_gap', t.movements::numeric, b.movement_count::numeric)
  ) as v (check_name, expected, actual)
  where v.expected <> v.actual and (p_organization_ids is null or b.org_id = any(p_organization_ids));

  return query
  select
    'history_is_a_chain', h.org_id, 'movement ' || h.movement::text,
    private.figure(h.before_it), private.figure(h.balance_before_usd)
  from (
    select
      x.org_id, x.movement, x.balance_before_usd,
      coalesce(
        lag(x.balance_after_usd) over (partition by x.org_id order by x.movement), 0
      )::numeric as before_it
    from billing.credit_balance_history as x
    where p_organization_ids is null or x.org_id = any(p_organization_ids)
  ) as h
  where h.before_it <> h.balance_before_usd;

  return query
  select
    'movement_is_of_grants', l.org_id, 'movement ' || l.id::text,
    private.figure(case l.direction when 'credit' then l.amount_usd else - l.amount_usd end),
    private.figure(m.change)
  from billing.billing_ledger as l
  cross join lateral (
    select coalesce(sum(x.change_usd), 0) as change
    from billing.grant_movements as x
    where x.org_id = l.org_id and x.billing_ledger_id = l.id
  ) as m
  where (p_organization_ids is null or l.org_id = any(p_organization_ids))
    and (p_since is null or l.xact_id >= p_since)
    and m.change <> case l.direction when 'credit' then l.amount_usd else - l.amount_usd end;

  return query
  select
    'grant_is_what_moved', g.org_id, 'grant ' || g.id::text,
    private.figure(m.change), private.figure(g.remaining_usd)
  from billing.credit_grants as g
  cross join lateral (
    select coalesce(sum(x.change_usd), 0) as change
    from billing.grant_movements as x where x.org_id = g.org_id and x.grant_id = g.id
  ) as m
  where (p_organization_ids is null or g.org_id = any(p_organization_ids))
    and m.change <> g.remaining_usd;

  return query
  select
    'reservation_is_of_grants', g.org_id, 'grant ' || g.id::text,
    private.figure(r.reserved), private.figure(g.reserved_usd)
  from billing.credit_grants as g
  cross join lateral (
    select coalesce(sum(x.amount_usd), 0) as reserved
    from billing.credit_reservations as x where x.org_id = g.org_id and x.grant_id = g.id
  ) as r
  where (p_organization_ids is null or g.org_id = any(p_organization_ids))
    and r.reserved <> g.reserved_usd;

  -- What goes on is funded; what has ended is not.
  return query
  select
    'reservation_is_the_limit', s.org_id, s.subject,
    private.figure(s.needed), private.figure(x.reserved)
  from (
    select
      r.org_id, r.id, 'run ' || r.id::text as subject,
      case r.status
        when 'running' then r.input_cost_estimated + r.output_cost_estimated else 0
      end as needed
    from billing.run_records as r
    union all
    select d.org_id, d.id, 'draw ' || d.id::text, d.reserved_usd from billing.draws as d
  ) as s
  cross join lateral (
    select coalesce(sum(c.amount_usd), 0) as reserved
    from billing.credit_reservations as c where c.org_id = s.org_id and c.subject_id = s.id
  ) as x
  where (p_organization_ids is null or s.org_id = any(p_organization_ids)) and s.needed <> x.reserved;

  return query
  select
    'funded_thing_has_its_budget', s.org_id, 'budget ' || s.id::text,
    private.figure(s.needed), private.figure(b.limit_usd)
  from (
    select r.org_id, r.id, r.input_cost_estimated + r.output_cost_estimated as needed
    from billing.run_records as r where r.status = 'running'
    union all
    select d.org_id, d.id, d.reserved_usd from billing.draws as d where d.status = 'open'
  ) as s
  left join metering.budgets as b on b.organization_id = s.org_id and b.id = s.id
  where (p_organization_ids is null or s.org_id = any(p_organization_ids))
    and b.limit_usd is distinct from s.needed;

  -- A call of a run is in both ledgers, with the same figures.
  return query
  select
    'record_is_its_usage', coalesce(u.organization_id, t.org_id),
    'call ' || coalesce(u.id, t.id)::text,
    format('%s + %s tokens of %s, %s', u.prompt_tokens, u.completion_tokens, u.model,
      private.figure(u.cost)),
    format('%s + %s tokens of %s, %s', t.input_tokens, t.output_tokens, t.model,
      private.figure(t.cost_usd))
  from (
    select l.* from public.ai_usage_ledger as l
    inner join billing.run_records as r on r.org_id = l.organization_id and r.id = l.run_id
    where p_since is null or l.xact_id >= p_since
  ) as u
  full join (
    select x.* from billing.token_records as x where p_since is null or x.xact_id >= p_since
  ) as t on t.org_id = u.organization_id and t.id = u.id
  where (
    p_organization_ids is null or coalesce(u.organization_id, t.org_id) = any(p_organization_ids)
  ) and (u.run_id, u.prompt_tokens, u.completion_tokens, u.model, u.cost)
  is distinct from (t.run_id, t.input_tokens, t.output_tokens, t.model, t.cost_usd);

  return query
  select
    'part_is_of_its_run', t.org_id, 'call ' || t.id::text, 'a step, task and agent of its run',
    'another'
  from billing.token_records as t
  left join billing.steps as s on s.org_id = t.org_id and s.id = t.step_id
  left join billing.tasks as k on k.org_id = t.org_id and k.id = t.task_id
  left join billing.agents as a on a.org_id = t.org_id and a.id = t.agent_id
  where (p_organization_ids is null or t.org_id = any(p_organization_ids))
    and (p_since is null or t.xact_id >= p_since)
    and (
      s.run_id is distinct from t.run_id
      or t.task_id is not null and k.run_id is distinct from t.run_id
      or t.agent_id is not null and a.run_id is distinct from t.run_id
    );

  -- A run that has ended was reconciled, by the records it had then, and charged for all of them.
  return query
  select
    'ended_run_is_reconciled', r.org_id, 'run ' || r.id::text, 'a reconciliation', 'nothing'
  from billing.run_records as r
  left join billing.token_reconciliations as c on c.org_id = r.org_id and c.run_id = r.id
  where (p_organization_ids is null or r.org_id = any(p_organization_ids))
    and (c.id is null) <> (r.status = 'running');

  return query
  select
    'run_is_charged_what_it_used', s.org_id, s.subject,
    private.figure(s.cost), private.figure(s.charged - s.refunded + s.owed)
  from (
    select
      r.org_id,
      'run ' || r.id::text as subject,
      (
        select coalesce(sum(t.cost_usd), 0)
        from billing.token_records as t where t.org_id = r.org_id and t.run_id = r.id
      ) as cost,
      (
        select coalesce(sum(l.amount_usd), 0)
        from billing.billing_ledger as l
        where l.org_id = r.org_id and l.run_id = r.id and l.direction = 'debit'
      ) as charged,
      (
        select coalesce(sum(l.amount_usd), 0)
        from billing.billing_ledger as l
        where l.org_id = r.org_id
          and l.run_id = r.id
          and l.direction = 'credit'
          and l.reason <> 'user_dispute_resolution'
      ) as refunded,
      (
        select coalesce(sum(x.outstanding_usd + x.waived_usd), 0)
        from billing.receivables as x where x.org_id = r.org_id and x.run_id = r.id
      ) as owed
    from billing.run_records as r
    where r.status <> 'running' and (p_organization_ids is null or r.org_id = any(p_organization_ids))
  ) as s
  where s.cost <> s.charged - s.refunded + s.owed;

  return query
  select
    'refunds_are_within_charges', l.org_id, 'run ' || l.run_id::text,
    'at most ' || private.figure(sum(l.amount_usd) filter (where l.direction = 'debit')),
    private.figure(sum(l.amount_usd) filter (where l.direction = 'credit'))
  from billing.billing_ledger as l
  where l.run_id is not null and (p_organization_ids is null or l.org_id = any(p_organization_ids))
  group by l.org_id, l.run_id
  having coalesce(sum(l.amount_usd) filter (where l.direction = 'credit'), 0)
    > coalesce(sum(l.amount_usd) filter (where l.direction = 'debit'), 0);

  -- A closed draw was charged what its budget had, and later what came late.
  return query
  select
    'draw_is_charged_what_it_cost', d.org_id, 'draw ' || d.id::text,
    private.figure(d.cost_incurred), private.figure(s.charged + s.owed)
  from billing.draws as d
  cross join lateral (
    select
      (
        select coalesce(sum(l.amount_usd), 0)
        from billing.billing_ledger as l
        where l.org_id = d.org_id and l.draw_id = d.id and l.reason = 'draw_charge'
      ) + (
        select coalesce(sum(l.amount_usd), 0)
        from billing.billing_ledger as l
        inner join billing.receivables as x
          on x.org_id = l.org_id
          and l.idempotency_key like 'tallystick:receivable:' || x.id::text || ':%'
          and x.reason = 'draw_charge'
        where l.org_id = d.org_id and l.draw_id = d.id and l.reason = 'receivable_collected'
      ) as charged,
      (
        select coalesce(sum(x.outstanding_usd), 0)
        from billing.receivables as x
        where x.org_id = d.org_id and x.draw_id = d.id and x.reason = 'draw_charge'
      ) as owed
  ) as s
  where d.status = 'closed'
    and (p_organization_ids is null or d.org_id = any(p_organization_ids))
    and d.cost_incurred <> s.charged + s.owed;

  return query
  select
    'receivable_is_collected_or_owed', x.org_id, 'receivable ' || x.id::text,
    private.figure(x.amount_usd - x.outstanding_usd - x.waived_usd), private.figure(c.collected)
  from billing.receivables as x
  cross join lateral (
    select coalesce(sum(l.amount_usd), 0) as collected
    from billing.billing_ledger as l
    where l.org_id = x.org_id and l.idempotency_key like 'tallystick:receivable:' || x.id::text || ':%'
  ) as c
  where (p_organization_ids is null or x.org_id = any(p_organization_ids))
    and x.amount_usd - x.outstanding_usd - x.waived_usd <> c.collected;

  -- What is spent outside runs since an organization pays in advance is in its draws, or late.
  return query
  select
    'draws_are_what_was_spent', b.organization_id, 'draws',
    private.figure(t.spent), private.figure(t.drawn + t.late)
  from metering.budgets as b
  cross join lateral (
    select
      (
        select coalesce(sum(l.cost), 0)
        from public.ai_usage_ledger as l
        where l.organization_id = b.organization_id
          and l.created_at >= b.prepaid_since
          and (l.run_id is null or not private.is_run(l.organization_id, l.run_id))
      ) as spent,
      (
        select coalesce(sum(d.cost_incurred), 0)
        from billing.draws as d where d.org_id = b.organization_id
      ) + (
        select coalesce(sum(s.settled_usd), 0)
        from metering.budgets as x
        inner join metering.budget_slots as s
          on s.organization_id = x.organization_id and s.budget_id = x.id
        where x.organization_id = b.organization_id and x.scope = 'draw'
      ) as drawn,
      (
        select coalesce(sum(l.amount_usd), 0)
        from billing.billing_ledger as l
        where l.org_id = b.organization_id and l.reason = 'late_usage' and l.run_id is null
          and starts_with(l.idempotency_key, 'tallystick:') -- no adjustment by hand of that name
      ) + (
        select coalesce(sum(x.amount_usd), 0)
        from billing.receivables as x
        where x.org_id = b.organization_id and x.reason = 'late_usage' and x.run_id is null
      ) as late
  ) as t
  where b.id = b.organization_id
    and b.prepaid_since is not null
    and (p_organization_ids is null or b.organization_id = any(p_organization_ids))
    and t.spent <> t.drawn + t.late;

  return query
  select
    'prepaid_is_who_has_credits', coalesce(b.organization_id, c.org_id), 'organization',
    coalesce(c.created_at::text, 'nothing'), coalesce(b.prepaid_since::text, 'nothing')
  from (select * from metering.budgets as x where x.prepaid_since is not null) as b
  full join billing.credit_balances as c on c.org_id = b.organization_id
  where (b.id is null or c.org_id is null)
    and (
      p_organization_ids is null or coalesce(b.organization_id, c.org_id) = any(p_organization_ids)
    );

  return query
  select
    'grant_is_its_first_movement', g.org_id, 'grant ' || g.id::text,
    private.figure(m.change_usd), private.figure(g.amount_usd)
  from billing.credit_grants as g
  cross join lateral (
    select x.change_usd
    from billing.grant_movements as x
    inner join billing.credit_balance_history as h
      on h.org_id = x.org_id and h.billing_ledger_id = x.billing_ledger_id
    where x.org_id = g.org_id and x.grant_id = g.id
    order by h.movement
    limit 1
  ) as m
  where (p_organization_ids is null or g.org_id = any(p_organization_ids))
    and m.change_usd <> g.amount_usd;

  -- A reconciliation says what its run was estimated at, what its calls were but for the late ones,
  -- and what moved.
  return query
  select
    'reconciliation_is_what_happened', c.org_id, 'run ' || c.run_id::text,
    concat_ws(' ', private.figure(x.estimated), private.figure(x.actual), private.figure(x.refund),
      private.figure(x.charge), x.status, x.variance_pct),
    concat_ws(' ', private.figure(c.estimated_cost_usd), private.figure(c.actual_cost_usd),
      private.figure(c.refund_amount_usd), private.figure(c.charge_amount_usd), c.status,
      c.variance_pct)
  from billing.token_reconciliations as c
  inner join billing.run_records as r on r.org_id = c.org_id and r.id = c.run_id
  cross join lateral (
    select
      r.input_cost_estimated + r.output_cost_estimated as estimated,
      (
        select coalesce(sum(t.cost_usd), 0)
        from billing.token_records as t where t.org_id = r.org_id and t.run_id = r.id
      ) - (
        select coalesce(sum(l.amount_usd), 0)
        from billing.billing_ledger as l
        where l.org_id = r.org_id and l.run_id = r.id and l.reason = 'late_usage'
      ) - (
        select coalesce(sum(v.amount_usd), 0)
        from billing.receivables as v
        where v.org_id = r.org_id and v.run_id = r.id and v.reason = 'late_usage'
      ) as actual,
      (
        select coalesce(sum(l.amount_usd), 0)
        from billing.billing_ledger as l
        where l.org_id = r.org_id
          and l.idempotency_key = 'tallystick:run:' || r.id::text || ':refund'
      ) as refund,
      (
        select coalesce(sum(l.amount_usd), 0)
        from billing.billing_ledger as l
        where l.org_id = r.org_id
          and l.idempotency_key = 'tallystick:run:' || r.id::text || ':shortfall'
      ) + (
        select coalesce(sum(v.amount_usd), 0)
        from billing.receivables as v
        where v.org_id = r.org_id
          and v.run_id = r.id
          and v.reason = 'token_reconciliation_underestimate'
      ) as charge,
      case
        when c.status in ('DISPUTED', 'RESOLVED') then c.status
        else private.variance_status(c.estimated_total_tokens, c.actual_total_tokens)
      end as status,
      private.round_half_even(
        c.variance_tokens * 100::numeric / greatest(c.estimated_total_tokens, 1), 4
      ) as variance_pct
  ) as x
  where (p_organization_ids is null or c.org_id = any(p_organization_ids))
    and (
      c.estimated_cost_usd, c.actual_cost_usd, c.refund_amount_usd, c.charge_amount_usd, c.status,
      c.variance_pct, c.estimated_input_tokens, c.estimated_output_tokens
    ) is distinct from (
      x.estimated, x.actual, x.refund, x.charge, x.status, x.variance_pct,
      r.input_tokens_estimated, r.output_tokens_estimated
    );

  return query
  select
    'run_calls_its_model', r.org_id, 'run ' || r.id::text, r.model::text, b.only_model::text
  from billing.run_records as r
  inner join metering.budgets as b on b.organization_id = r.org_id and b.id = r.id
  where (p_organization_ids is null or r.org_id = any(p_organization_ids))
    and r.model is distinct from b.only_model;

  return query
  select
    'waived_is_what_was_disputed', v.org_id, 'receivable ' || v.id::text, 'a resolved dispute',
    private.figure(v.waived_usd)
  from billing.receivables as v
  left join billing.token_reconciliations as c on c.org_id = v.org_id and c.run_id = v.run_id
  where (p_organization_ids is null or v.org_id = any(p_organization_ids))
    and v.waived_usd > 0
    and c.status is distinct from 'RESOLVED';

  return query
  select
    'movement_left_an_event', l.org_id, 'movement ' || l.id::text, 'an event', 'nothing'
  from billing.billing_ledger as l
  where (p_organization_ids is null or l.org_id = any(p_organization_ids))
    and (p_since is null or l.xact_id >= p_since)
    and not exists (
      select from audit.event_log as e
      where e.organization_id = l.org_id
        and e.correlation_id = coalesce(l.run_id, l.draw_id, l.id)::text
        and e.event_timestamp = l.created_at
        and e.tool_name = 'billing.' || l.transaction_type
    );
end
$$;

comment on function private.verify_billing(uuid[], xid8) is
  'Billing checks of audit.verify_integrity.';

-- sql/billing/access.sql

-- Who sees and changes what. Members read what their organization was billed; nobody writes but
-- the functions. Server roles run and record, finance and owners dispute, operators move money in.

revoke all on table
billing.run_records, billing.agents, billing.tasks, billing.steps, billing.token_records,
billing.token_reconciliations, billing.credit_balances, billing.draws, billing.billing_ledger,
billing.credit_balance_history, billing.credit_grants, billing.credit_reservations,
billing.grant_movements, billing.receivables, billing.retention_policies, billing.runs,
billing.v_run_billing_summary, billing.v_org_billing_summary, billing.v_high_variance_runs
from public, anon, authenticated, service_role, app_user, tallystick_reader, tallystick_writer;

alter table billing.run_records enable row level security;
alter table billing.agents enable row level security;
alter table billing.tasks enable row level security;
alter table billing.steps enable row level security;
alter table billing.token_records enable row level security;
alter table billing.token_reconciliations enable row level security;
alter table billing.credit_balances enable row level security;
alter table billing.draws enable row level security;
alter table billing.billing_ledger enable row level security;
alter table billing.credit_balance_history enable row level security;
alter table billing.credit_grants enable row level security;
alter table billing.credit_reservations enable row level security;
alter table billing.grant_movements enable row level security;
alter table billing.receivables enable row level security;
alter table billing.retention_policies enable row level security;

grant select on table
billing.run_records, billing.agents, billing.tasks, billing.steps, billing.token_records,
billing.token_reconciliations, billing.credit_balances, billing.draws, billing.billing_ledger,
billing.credit_balance_history, billing.credit_grants, billing.credit_reservations,
billing.grant_movements, billing.receivables, billing.retention_policies, billing.runs,
billing.v_run_billing_summary, billing.v_org_billing_summary, billing.v_high_variance_runs
to authenticated, service_role, app_user, tallystick_reader, tallystick_writer;

create policy run_records_select_member on billing.run_records
for select to authenticated
using (org_id = any((select private.member_organization_ids())::uuid[]));
create policy run_records_select_trusted on billing.run_records
for select to app_user, service_role, tallystick_reader, tallystick_writer using (true);

create policy agents_select_member on billing.agents
for select to authenticated
using (org_id = any((select private.member_organization_ids())::uuid[]));
create policy agents_select_trusted on billing.agents
for select to app_user, service_role, tallystick_reader, tallystick_writer using (true);

create policy tasks_select_member on billing.tasks
for select to authenticated
using (org_id = any((select private.member_organization_ids())::uuid[]));
create policy tasks_select_trusted on billing.tasks
for select to app_user, service_role, tallystick_reader, tallystick_writer using (true);

create policy steps_select_member on billing.steps
for select to authenticated
using (org_id = any((select private.member_organization_ids())::uuid[]));
create policy steps_select_trusted on billing.steps
for select to app_user, service_role, tallystick_reader, tallystick_writer using (true);

create policy token_records_select_member on billing.token_records
for select to authenticated
using (org_id = any((select private.member_organization_ids())::uuid[]));
create policy token_records_select_trusted on billing.token_records
for select to app_user, service_role, tallystick_reader, tallystick_writer using (true);

create policy token_reconciliations_select_member on billing.token_reconciliations
for select to authenticated
using (org_id = any((select private.member_organization_ids())::uuid[]));
create policy token_reconciliations_select_trusted on billing.token_reconciliations
for select to app_user, service_role, tallystick_reader, tallystick_writer using (true);

create policy credit_balances_select_member on billing.credit_balances
for select to authenticated
using (org_id = any((select private.member_organization_ids())::uuid[]));
create policy credit_balances_select_trusted on billing.credit_balances
for select to app_user, service_role, tallystick_reader, tallystick_writer using (true);

create policy draws_select_member on billing.draws
for select to authenticated
using (org_id = any((select private.member_organization_ids())::uuid[]));
create policy draws_select_trusted on billing.draws
for select to app_user, service_role, tallystick_reader, tallystick_writer using (true);

create policy billing_ledger_select_member on billing.billing_ledger
for select to authenticated
using (org_id = any((select private.member_organization_ids())::uuid[]));
create policy billing_ledger_select_trusted on billing.billing_ledger
for select to app_user, service_role, tallystick_reader, tallystick_writer using (true);

create policy credit_balance_history_select_member on billing.credit_balance_history
for select to authenticated
using (org_id = any((select private.member_organization_ids())::uuid[]));
create policy credit_balance_history_select_trusted on billing.credit_balance_history
for select to app_user, service_role, tallystick_reader, tallystick_writer using (true);

create policy credit_grants_select_member on billing.credit_grants
for select to authenticated
using (org_id = any((select private.member_organization_ids())::uuid[]));
create policy credit_grants_select_trusted on billing.credit_grants
for select to app_user, service_role, tallystick_reader, tallystick_writer using (true);

create policy credit_reservations_select_member on billing.credit_reservations
for select to authenticated
using (org_id = any((select private.member_organization_ids())::uuid[]));
create policy credit_reservations_select_trusted on billing.credit_reservations
for select to app_user, service_role, tallystick_reader, tallystick_writer using (true);

create policy grant_movements_select_member on billing.grant_movements
for select to authenticated
using (org_id = any((select private.member_organization_ids())::uuid[]));
create policy grant_movements_select_trusted on billing.grant_movements
for select to app_user, service_role, tallystick_reader, tallystick_writer using (true);

create policy receivables_select_member on billing.receivables
for select to authenticated
using (org_id = any((select private.member_organization_ids())::uuid[]));
create policy receivables_select_trusted on billing.receivables
for select to app_user, service_role, tallystick_reader, tallystick_writer using (true);

-- Rules, not rows of anybody.
create policy retention_policies_select_all on billing.retention_policies
for select to authenticated, app_user, service_role, tallystick_reader, tallystick_writer
using (true);

revoke execute on function
private.sum_of_parts(private.grant_part[]),
private.announce_low_balance(),
private.move_credits(billing.billing_ledger, private.grant_part[]),
private.draft_movement(uuid, text, text, text, uuid, uuid, text),
private.free_parts(uuid, numeric, text),
private.expire_grants(uuid),
private.lock_credits(uuid),
private.available_credits(uuid),
private.shift_reservation(uuid, uuid, private.grant_part[], integer),
private.reserved_parts(uuid, uuid, numeric, boolean),
private.reserve_credits(uuid, uuid, numeric),
private.unreserve_credits(uuid, uuid, numeric),
private.charge_reserved(billing.billing_ledger, uuid, numeric),
private.charge_available(billing.billing_ledger, numeric, text),
private.charged_parts(uuid, uuid, numeric),
private.refund_charges(billing.billing_ledger, numeric),
billing.audit_log_insert(),
private.open_credits(uuid),
private.assert_movement(text, numeric),
private.assert_key(text, text),
private.find_movement(billing.billing_ledger, numeric, billing.credit_grants),
private.add_credits(billing.billing_ledger, numeric, billing.credit_grants),
private.draft_grant(text, integer, text, timestamptz),
private.collect_receivables(uuid, uuid),
billing.purchase_credits(uuid, numeric, text, timestamptz, text),
billing.grant_credits(uuid, text, numeric, text, timestamptz, integer, text, text),
billing.adjust_credits(uuid, numeric, text, text, text),
private.credit_facts(uuid, numeric, numeric),
billing.expire_credits(uuid, integer),
private.set_low_balance(uuid, numeric),
billing.set_low_balance(uuid, numeric),
private.fundable(uuid, timestamptz, timestamptz),
private.overdue_in_draw(uuid, uuid, timestamptz),
private.is_held(uuid, uuid),
private.shrink_draw(uuid, uuid, numeric),
private.take_back_draws(uuid, timestamptz, uuid, boolean),
private.close_draw(uuid, uuid, numeric),
private.open_draw(uuid, timestamptz),
private.fund_draw(uuid, timestamptz, numeric),
private.fund_call(uuid, text[], timestamptz, numeric, private.coverage),
private.count_open_draws(uuid),
billing.close_draws(uuid, integer),
private.assert_run_estimate(private.run_estimate),
private.assert_run_size(uuid, uuid, private.run_estimate),
private.estimate_run(uuid, bigint, bigint, text, numeric, numeric),
private.resolve_organization_of_run(uuid),
private.find_run(uuid, uuid),
private.assert_not_frozen(uuid),
private.shown_run(uuid, uuid),
private.lock_own_slot(uuid),
private.reserve_for_run(uuid, uuid, numeric, text, boolean),
private.refuse_for_credits(uuid, numeric, text),
private.make_run(uuid, uuid, private.run_estimate, text, integer, timestamptz),
billing.start_run(uuid, bigint, bigint, text, numeric, numeric, text, integer, text),
billing.extend_run(uuid, bigint, bigint, numeric, numeric, text, uuid),
private.lock_run_slots(uuid, uuid),
private.assert_running(uuid, uuid),
private.assert_part_of_run(uuid, uuid, uuid, uuid, uuid),
billing.start_agent(uuid, text, uuid),
billing.start_task(uuid, text, uuid, uuid),
billing.start_step(uuid, text, uuid, uuid, uuid),
private.assert_end(text),
billing.end_part(uuid, uuid, text),
private.record_run_call(public.ai_usage_ledger, private.run_call),
private.is_run(uuid, uuid),
private.charge_late_usage(public.ai_usage_ledger),
private.assert_run_call(private.run_call, boolean, bigint),
private.measure_call(integer, integer, jsonb),
private.record_unheld_call(
  billing.run_records, text, private.measurement, numeric, private.run_call, text, text
),
billing.record_token_call(
  uuid, uuid, uuid, uuid, integer, integer, text, numeric, text, text, boolean, jsonb, bigint,
  uuid, text, uuid
),
private.settle_call(
  billing.run_records, uuid, text, private.measurement, numeric, text, private.run_call
),
private.variance_status(bigint, bigint),
private.compare_run(billing.run_records),
private.charge_run(billing.token_reconciliations, text, text),
private.close_run_holds(uuid, uuid, timestamptz, boolean),
private.end_run(billing.run_records, text, text, boolean),
private.close_run(billing.run_records, text, text),
private.end_parts_of_run(uuid, uuid, text, timestamptz),
billing.reconcile_run(uuid, uuid),
billing.complete_run(uuid, uuid),
billing.cancel_run(uuid, uuid),
billing.fail_run(uuid, text, uuid),
private.dispute_reconciliation(uuid, text, uuid),
billing.dispute_reconciliation(uuid, text, uuid),
private.refund_dispute(uuid, uuid, numeric),
billing.resolve_dispute(uuid, numeric, text, uuid),
billing.get_statement(uuid, date),
private.verify_billing(uuid[], xid8)
from public, anon, authenticated, service_role;

-- Everybody: what reads with the caller's rights. available_credits and what surveys call are among
-- them, as estimate_spend surveys with the rights of whoever asks.
grant execute on function
private.available_credits(uuid),
private.fundable(uuid, timestamptz, timestamptz),
private.overdue_in_draw(uuid, uuid, timestamptz),
private.resolve_organization_of_run(uuid),
private.is_run(uuid, uuid),
billing.get_statement(uuid, date)
to authenticated, service_role, app_user, tallystick_writer;

-- Finance, owners and server roles. The cores are definers: they ask for the role themselves.
grant execute on function
private.set_low_balance(uuid, numeric),
billing.set_low_balance(uuid, numeric),
private.dispute_reconciliation(uuid, text, uuid),
billing.dispute_reconciliation(uuid, text, uuid)
to authenticated, service_role, app_user, tallystick_writer;

-- Writers only: no tenant states what settles money.
grant execute on function
billing.start_run(uuid, bigint, bigint, text, numeric, numeric, text, integer, text),
billing.extend_run(uuid, bigint, bigint, numeric, numeric, text, uuid),
billing.start_agent(uuid, text, uuid),
billing.start_task(uuid, text, uuid, uuid),
billing.start_step(uuid, text, uuid, uuid, uuid),
billing.end_part(uuid, uuid, text),
billing.record_token_call(
  uuid, uuid, uuid, uuid, integer, integer, text, numeric, text, text, boolean, jsonb, bigint,
  uuid, text, uuid
),
private.variance_status(bigint, bigint),
billing.reconcile_run(uuid, uuid),
billing.complete_run(uuid, uuid),
billing.cancel_run(uuid, uuid),
billing.fail_run(uuid, text, uuid),
private.verify_billing(uuid[], xid8)
to service_role, app_user, tallystick_writer;

-- Operators only: money in, and housekeeping.
grant execute on function
billing.purchase_credits(uuid, numeric, text, timestamptz, text),
billing.grant_credits(uuid, text, numeric, text, timestamptz, integer, text, text),
billing.adjust_credits(uuid, numeric, text, text, text),
billing.expire_credits(uuid, integer),
billing.close_draws(uuid, integer),
billing.resolve_dispute(uuid, numeric, text, uuid)
to service_role;
