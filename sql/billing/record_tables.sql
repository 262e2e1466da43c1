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
