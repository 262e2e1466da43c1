-- The document's own queries, calls and views (billing_system, parts 3, 4, 6 and 7), as they stand
-- there: run with billing on the search path, or on copies of the tables keyed as it keys them.
begin;
select plan(14);

create temporary table scene as select o.org, tests.bill(o.org) as ended
from (select tests.organization() as org) as o;
create temporary table other as select o.org, tests.bill(o.org) as ended
from (select tests.organization('Bravo') as org) as o;

-- More runs: exactly on estimate, far above it, failed, disputed, without any call.
create temporary table more as
select n, tests.run(org, 0.5) as run from scene, generate_series(1, 5) as n;
select tests.call(run, 0.5, 200) from more where n = 1;
select tests.call(run, 0.25, 1000), tests.call(run, 0.5, 1) from more where n = 2;
select tests.call(run, 0.125, 90) from more where n in (3, 4);
select billing.complete_run(run) from more where n in (1, 2, 4);
select billing.fail_run(run, 'agent_crash') from more where n = 3;
select billing.dispute_reconciliation(run) from more where n = 4;

set local search_path = billing, public, extensions;

-- Part 4: calls.
create temporary table called as
select record_token_call(run, null, null, run, 1000, 500, 'gpt-4-turbo', 0.025) as id
from more where n = 5;
select results_eq(
  'select input_tokens::int, output_tokens::int, total_tokens::int, model::text, cost_usd::numeric, '
  'is_estimated, error_code from token_records inner join called using (id)',
  $$values (1000, 500, 1500, 'gpt-4-turbo', 0.025, false, null::text)$$,
  'record_token_call takes the document''s eight arguments in their order'
);
create temporary table reconciled as select reconcile_run(run) as id from more where n = 5;
select results_eq(
  'select id from reconciled',
  'select r.id from token_reconciliations as r inner join more as m on m.run = r.run_id where m.n = 5',
  'reconcile_run answers with the id of the reconciliation'
);

-- Part 6: key queries.
prepare query_1 (uuid) as
SELECT 
  cb.org_id,
  cb.balance_usd,
  cb.reserved_usd,
  (cb.balance_usd - cb.reserved_usd) as available_usd,
  COUNT(DISTINCT bl.id) as transaction_count,
  SUM(CASE WHEN bl.direction = 'debit' THEN bl.amount_usd ELSE 0 END) as total_charged,
  SUM(CASE WHEN bl.direction = 'credit' THEN bl.amount_usd ELSE 0 END) as total_credited
FROM credit_balances cb
LEFT JOIN billing_ledger bl ON cb.org_id = bl.org_id
WHERE cb.org_id = $1
GROUP BY cb.org_id, cb.balance_usd, cb.reserved_usd;

prepare query_2 as
SELECT 
  rec.run_id,
  rec.status,
  rec.variance_pct,
  rec.actual_total_tokens,
  rec.estimated_total_tokens,
  rec.actual_cost_usd,
  rec.estimated_cost_usd,
  rec.created_at
FROM token_reconciliations rec
WHERE ABS(rec.variance_pct) > 50
ORDER BY ABS(rec.variance_pct) DESC
LIMIT 100;

prepare query_3 (uuid) as
SELECT 
  bl.id,
  bl.transaction_type,
  bl.direction,
  bl.amount_usd,
  bl.reason,
  bl.run_id,
  bl.created_at
FROM billing_ledger bl
WHERE bl.org_id = $1
  AND bl.created_at >= NOW() - INTERVAL '30 days'
ORDER BY bl.created_at DESC;

do $$
begin
  execute format(
    'create temporary table answer_1 as execute query_1(%L)', (select org from scene)
  );
end
$$;
select results_eq(
  'select balance_usd::numeric, reserved_usd::numeric, available_usd, total_credited - total_charged '
  'from answer_1',
  $$
    select b.balance_usd::numeric, b.reserved_usd::numeric, b.balance_usd - b.reserved_usd,
      b.balance_usd::numeric
    from scene inner join credit_balances as b on b.org_id = scene.org
  $$,
  'query 1: balance, what is available, and what moved add up'
);
select is(
  (select transaction_count from answer_1),
  (select count(*) from scene inner join billing_ledger as l on l.org_id = scene.org),
  'query 1 counts every movement once'
);
create temporary table answer_2 as execute query_2;
select set_eq(
  'select run_id, variance_pct::numeric from answer_2',
  $$
    select run_id, variance_pct::numeric from token_reconciliations
    where actual_total_tokens > 1.5 * estimated_total_tokens
      or actual_total_tokens < 0.5 * estimated_total_tokens
  $$,
  'query 2: runs that are more than half off'
);
do $$
begin
  execute format(
    'create temporary table answer_3 as execute query_3(%L)', (select org from scene)
  );
end
$$;
select is(
  (select sum(case direction when 'debit' then - amount_usd else amount_usd end) from answer_3),
  (select b.balance_usd::numeric from scene inner join credit_balances as b on b.org_id = scene.org),
  'query 3: the history of 30 days comes to the balance'
);

-- Part 7: a query for tuning; its index is used whatever the planner estimates.
set local enable_seqscan = off;
set local enable_bitmapscan = off;
create function pg_temp.plan_of(p_query text)
returns text
language plpgsql
as $$
declare
  v_line text;
  v_plan text := '';
begin
  for v_line in execute p_query loop
    v_plan := v_plan || v_line || e'\n';
  end loop;
  return v_plan;
end
$$;
select matches(
  pg_temp.plan_of(
    format(
      'EXPLAIN ANALYZE SELECT * FROM token_records WHERE run_id = %L', (select run from more where n = 2)
    )
  ),
  'Index Scan using token_records_2\d+_\d+_run_id_created_at_idx',
  'calls of a run are found by its index'
);
reset enable_seqscan;
reset enable_bitmapscan;

-- Part 3: the views, on copies of the tables keyed as the document keys them.
create temporary table runs as select * from billing.runs;
alter table pg_temp.runs add primary key (id);
create temporary table token_records as select * from billing.token_records;
alter table pg_temp.token_records add primary key (id);
create temporary table token_reconciliations as select * from billing.token_reconciliations;
alter table pg_temp.token_reconciliations add primary key (id), add unique (run_id);
create temporary table credit_balances as select * from billing.credit_balances;
alter table pg_temp.credit_balances add primary key (id), add unique (org_id);
create temporary table billing_ledger as select * from billing.billing_ledger;
alter table pg_temp.billing_ledger add primary key (id);
set local search_path = pg_temp, public, extensions;

create temporary view run_summary AS
SELECT 
  r.id as run_id,
  r.org_id,
  r.status,
  r.created_at,
  r.completed_at,
  
  -- Token Counts
  COALESCE(SUM(tr.input_tokens), 0) as actual_input_tokens,
  COALESCE(SUM(tr.output_tokens), 0) as actual_output_tokens,
  COALESCE(SUM(tr.total_tokens), 0) as actual_total_tokens,
  
  -- Costs
  COALESCE(SUM(tr.cost_usd), 0) as actual_cost_usd,
  
  -- Reconciliation
  CASE 
    WHEN rec.status = 'RECONCILED' THEN 'OK'
    WHEN rec.status = 'NEEDS_REVIEW' THEN 'WARNING'
    WHEN rec.status = 'CRITICAL' THEN 'ERROR'
    WHEN rec.status = 'DISPUTED' THEN 'DISPUTED'
    ELSE 'NOT_RECONCILED'
  END as reconciliation_status,
  
  rec.variance_pct,
  rec.refund_amount_usd,
  rec.charge_amount_usd
  
FROM runs r
LEFT JOIN token_records tr ON r.id = tr.run_id
LEFT JOIN token_reconciliations rec ON r.id = rec.run_id
GROUP BY r.id, rec.id;

create temporary view org_summary AS
SELECT 
  org_id,
  
  -- Balance
  (SELECT balance_usd FROM credit_balances WHERE org_id = bl.org_id) as current_balance_usd,
  (SELECT reserved_usd FROM credit_balances WHERE org_id = bl.org_id) as reserved_usd,
  
  -- Transactions
  COUNT(DISTINCT CASE WHEN bl.transaction_type = 'charge' THEN bl.id END) as charge_count,
  COUNT(DISTINCT CASE WHEN bl.transaction_type = 'refund' THEN bl.id END) as refund_count,
  
  -- Amounts
  COALESCE(SUM(CASE WHEN bl.direction = 'debit' THEN bl.amount_usd ELSE 0 END), 0) as total_charged_usd,
  COALESCE(SUM(CASE WHEN bl.direction = 'credit' THEN bl.amount_usd ELSE 0 END), 0) as total_credited_usd,
  
  -- Date Range
  MIN(bl.created_at) as first_transaction_at,
  MAX(bl.created_at) as last_transaction_at
  
FROM billing_ledger bl
GROUP BY org_id;

create temporary view variance_runs AS
SELECT 
  rec.run_id,
  rec.status,
  rec.variance_pct,
  rec.estimated_total_tokens,
  rec.actual_total_tokens,
  rec.estimated_cost_usd,
  rec.actual_cost_usd,
  rec.refund_amount_usd,
  rec.charge_amount_usd,
  rec.created_at
  
FROM token_reconciliations rec
WHERE rec.status IN ('NEEDS_REVIEW', 'CRITICAL')
ORDER BY ABS(rec.variance_pct) DESC;

create function pg_temp.columns_of(p_view text)
returns text[]
language sql
as $$
  select array_agg(attname::text order by attnum)
  from pg_attribute where attrelid = p_view::regclass and attnum > 0
$$;
select is(
  pg_temp.columns_of('billing.' || v.ours), pg_temp.columns_of(v.theirs),
  v.ours || ' has the document''s columns in their order'
)
from (
  values
  ('v_run_billing_summary', 'run_summary'),
  ('v_org_billing_summary', 'org_summary'),
  ('v_high_variance_runs', 'variance_runs')
) as v (ours, theirs);
select set_eq(
  'select to_jsonb(v) from billing.v_run_billing_summary as v',
  'select to_jsonb(v) from run_summary as v',
  'v_run_billing_summary has the document''s values'
);
select set_eq(
  'select to_jsonb(v) from billing.v_org_billing_summary as v',
  'select to_jsonb(v) from org_summary as v',
  'v_org_billing_summary has the document''s values'
);
select results_eq(
  'select abs(variance_pct)::numeric from billing.v_high_variance_runs',
  'select abs(variance_pct)::numeric from variance_runs',
  'v_high_variance_runs has the document''s order'
);
select set_eq(
  'select to_jsonb(v) from billing.v_high_variance_runs as v',
  'select to_jsonb(v) from variance_runs as v',
  'and its values'
);

select * from finish();
rollback;
