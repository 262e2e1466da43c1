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
