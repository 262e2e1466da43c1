-- What the document (billing_system) names is there under its name, and its ledgers only grow.
begin;
select plan(130);

-- Columns ------------------------------------------------------------------------------------------

-- A type that is wider than the document's, where its own overflows.
create temp view columns as
select
  c.relname::text as table_name,
  a.attname::text as column_name,
  format_type(
    coalesce(nullif(t.typbasetype, 0), t.oid),
    case when t.typbasetype > 0 then t.typtypmod else a.atttypmod end
  ) as type,
  a.attnotnull as is_not_null,
  pg_get_expr(d.adbin, d.adrelid) as column_default
from pg_class as c
inner join pg_attribute as a on a.attrelid = c.oid and a.attnum > 0 and not a.attisdropped
inner join pg_type as t on t.oid = a.atttypid
left join pg_attrdef as d on d.adrelid = c.oid and d.adnum = a.attnum
where c.relnamespace = 'billing'::regnamespace;
select is(
  (
    select c.type || case when c.is_not_null then ' not null' else '' end
    from columns as c where c.table_name = v.table_name and c.column_name = v.column_name
  ),
  v.expected, v.table_name || '.' || v.column_name
)
from (
  values
  ('token_records', 'id', 'uuid not null'),
  ('token_records', 'run_id', 'uuid not null'),
  ('token_records', 'agent_id', 'uuid'),
  ('token_records', 'task_id', 'uuid'),
  ('token_records', 'step_id', 'uuid not null'),
  ('token_records', 'input_tokens', 'integer not null'),
  ('token_records', 'output_tokens', 'integer not null'),
  ('token_records', 'total_tokens', 'bigint not null'),
  ('token_records', 'model', 'text not null'),
  ('token_records', 'cost_usd', 'numeric(24,12) not null'),
  ('token_records', 'is_estimated', 'boolean not null'),
  ('token_records', 'error_code', 'text'),
  ('token_records', 'error_message', 'text'),
  ('token_records', 'created_at', 'timestamp with time zone not null'),
  ('token_records', 'updated_at', 'timestamp with time zone not null'),
  ('token_reconciliations', 'id', 'uuid not null'),
  ('token_reconciliations', 'run_id', 'uuid not null'),
  ('token_reconciliations', 'estimated_input_tokens', 'bigint not null'),
  ('token_reconciliations', 'estimated_output_tokens', 'bigint not null'),
  ('token_reconciliations', 'estimated_total_tokens', 'bigint not null'),
  ('token_reconciliations', 'actual_input_tokens', 'bigint not null'),
  ('token_reconciliations', 'actual_output_tokens', 'bigint not null'),
  ('token_reconciliations', 'actual_total_tokens', 'bigint not null'),
  ('token_reconciliations', 'variance_tokens', 'bigint not null'),
  ('token_reconciliations', 'variance_pct', 'numeric(24,4) not null'),
  ('token_reconciliations', 'estimated_cost_usd', 'numeric(36,12) not null'),
  ('token_reconciliations', 'actual_cost_usd', 'numeric(36,12) not null'),
  ('token_reconciliations', 'refund_amount_usd', 'numeric(36,12) not null'),
  ('token_reconciliations', 'charge_amount_usd', 'numeric(36,12) not null'),
  ('token_reconciliations', 'status', 'text not null'),
  ('token_reconciliations', 'action', 'text'),
  ('token_reconciliations', 'notes', 'text'),
  ('token_reconciliations', 'created_at', 'timestamp with time zone not null'),
  ('token_reconciliations', 'updated_at', 'timestamp with time zone not null'),
  ('token_reconciliations', 'resolved_at', 'timestamp with time zone'),
  ('billing_ledger', 'id', 'uuid not null'),
  ('billing_ledger', 'org_id', 'uuid not null'),
  ('billing_ledger', 'transaction_type', 'text not null'),
  ('billing_ledger', 'amount_usd', 'numeric(36,12) not null'),
  ('billing_ledger', 'direction', 'text not null'),
  ('billing_ledger', 'run_id', 'uuid'),
  ('billing_ledger', 'agent_id', 'uuid'),
  ('billing_ledger', 'task_id', 'uuid'),
  ('billing_ledger', 'reason', 'text not null'),
  ('billing_ledger', 'idempotency_key', 'text'),
  ('billing_ledger', 'created_by', 'text'),
  ('billing_ledger', 'created_at', 'timestamp with time zone not null'),
  ('credit_balances', 'id', 'uuid not null'),
  ('credit_balances', 'org_id', 'uuid not null'),
  ('credit_balances', 'balance_usd', 'numeric(36,12) not null'),
  ('credit_balances', 'reserved_usd', 'numeric(36,12) not null'),
  ('credit_balances', 'created_at', 'timestamp with time zone not null'),
  ('credit_balances', 'updated_at', 'timestamp with time zone not null'),
  ('credit_balance_history', 'id', 'uuid not null'),
  ('credit_balance_history', 'org_id', 'uuid not null'),
  ('credit_balance_history', 'balance_before_usd', 'numeric(36,12) not null'),
  ('credit_balance_history', 'balance_after_usd', 'numeric(36,12) not null'),
  ('credit_balance_history', 'change_usd', 'numeric(36,12) not null'),
  ('credit_balance_history', 'reason', 'text not null'),
  ('credit_balance_history', 'billing_ledger_id', 'uuid not null'),
  ('credit_balance_history', 'created_at', 'timestamp with time zone not null')
) as v (table_name, column_name, expected);
select is(
  (
    select c.column_default
    from columns as c where c.table_name = v.table_name and c.column_name = v.column_name
  ),
  v.expected, 'default of ' || v.table_name || '.' || v.column_name
)
from (
  values
  ('token_records', 'is_estimated', 'false'),
  ('token_reconciliations', 'refund_amount_usd', '0'),
  ('token_reconciliations', 'charge_amount_usd', '0'),
  ('credit_balances', 'balance_usd', '0'),
  ('credit_balances', 'reserved_usd', '0')
) as v (table_name, column_name, expected);

-- Constraints, indexes, statistics, triggers ------------------------------------------------------------

select results_eq(
  $$select (c.relname || '.' || x.conname) collate "default"
    from pg_constraint as x inner join pg_class as c on c.oid = x.conrelid
    where c.relnamespace = 'billing'::regnamespace and x.contype = 'c' and x.conname like 'check\_%'
    order by 1$$,
  $$values
    ('billing_ledger.check_amount_positive'), ('billing_ledger.check_direction'),
    ('billing_ledger.check_direction_matches_type'),
    ('billing_ledger.check_transaction_type'),
    ('credit_balances.check_balance_non_negative'),
    ('credit_balances.check_reserved_non_negative'),
    ('token_reconciliations.check_actual_sum'), ('token_reconciliations.check_estimated_sum'),
    ('token_reconciliations.check_refund_amount'),
    ('token_reconciliations.check_refund_or_charge'),
    ('token_reconciliations.check_status_values'),
    ('token_reconciliations.check_variance_calculation'),
    ('token_records.check_token_sum')$$,
  'every check of the document'
);
select results_eq(
  $$select (c.relname || '.' || x.conname) collate "default", x.confrelid::regclass::text, x.confdeltype::text
    from pg_constraint as x inner join pg_class as c on c.oid = x.conrelid
    where c.relnamespace = 'billing'::regnamespace and x.contype = 'f' and x.conname like 'fk\_%'
    order by 1$$,
  $$values
    ('billing_ledger.fk_billing_ledger_org', 'tenancy.organizations', 'r'),
    ('credit_balance_history.fk_credit_balance_history_ledger', 'billing.billing_ledger', 'r'),
    ('credit_balance_history.fk_credit_balance_history_org', 'tenancy.organizations', 'r'),
    ('credit_balances.fk_credit_balances_org', 'tenancy.organizations', 'r'),
    ('token_reconciliations.fk_token_reconciliations_run', 'billing.run_records', 'r')$$,
  'every foreign key that leads to no row that changes meanwhile; none erases'
);
-- What an index is of: key columns, then its predicate.
create temp view indexes as
select
  i.indexrelid::regclass::text as name,
  c.relname::text || ' (' || (
    select string_agg(
      pg_get_indexdef(i.indexrelid, k, true)
      || case when i.indoption[k - 1] & 1 = 1 then ' desc' else '' end, ', ' order by k
    )
    from generate_series(1, i.indnkeyatts) as k
  ) || ')' || coalesce(' where ' || pg_get_expr(i.indpred, i.indrelid, true), '') as definition
from pg_index as i
inner join pg_class as c on c.oid = i.indrelid
where c.relnamespace = 'billing'::regnamespace;
select is(
  (select i.definition from indexes as i where i.name = 'billing.' || v.name),
  v.definition, v.name
)
from (
  values
  ('idx_token_records_run_id', 'token_records (run_id) where error_code IS NULL'),
  ('idx_token_records_agent_id', 'token_records (agent_id) where error_code IS NULL'),
  ('idx_token_records_step_id', 'token_records (step_id) where error_code IS NULL'),
  ('idx_token_records_created_at', 'token_records (created_at desc)'),
  ('idx_token_records_model', 'token_records (model)'),
  ('idx_token_records_error', 'token_records (error_code) where error_code IS NOT NULL'),
  ('idx_token_records_run_created', 'token_records (run_id, created_at desc)'),
  ('idx_token_records_agent_created', 'token_records (agent_id, created_at desc)'),
  ('idx_token_records_estimated', 'token_records (run_id) where is_estimated = true'),
  ('idx_token_reconciliations_run_id', 'token_reconciliations (run_id)'),
  ('idx_token_reconciliations_status', 'token_reconciliations (status)'),
  ('idx_token_reconciliations_created_at', 'token_reconciliations (created_at desc)'),
  ('idx_token_reconciliations_variance', 'token_reconciliations (variance_pct desc)'),
  ('idx_token_reconciliations_needs_review', 'token_reconciliations (run_id) where status = '
    'ANY (ARRAY[''NEEDS_REVIEW''::text, ''CRITICAL''::text, ''DISPUTED''::text])'),
  ('idx_token_reconciliations_critical',
    'token_reconciliations (run_id) where status = ''CRITICAL''::text'),
  ('idx_billing_ledger_org_id', 'billing_ledger (org_id, created_at desc)'),
  ('idx_billing_ledger_created_at', 'billing_ledger (created_at desc)'),
  ('idx_billing_ledger_transaction_type', 'billing_ledger (transaction_type)'),
  ('idx_billing_ledger_run_id', 'billing_ledger (run_id)'),
  ('idx_billing_ledger_agent_id', 'billing_ledger (agent_id)'),
  ('idx_billing_ledger_org_type_created',
    'billing_ledger (org_id, transaction_type, created_at desc)'),
  ('idx_billing_ledger_org_direction_created',
    'billing_ledger (org_id, direction, created_at desc)'),
  ('idx_billing_ledger_charges',
    'billing_ledger (org_id, created_at desc) where transaction_type = ''charge''::text'),
  ('idx_billing_ledger_refunds',
    'billing_ledger (org_id, created_at desc) where transaction_type = ''refund''::text'),
  ('idx_billing_ledger_idempotency',
    'billing_ledger (idempotency_key) where idempotency_key IS NOT NULL'),
  ('idx_credit_balance_history_org_id', 'credit_balance_history (org_id, created_at desc)'),
  ('idx_credit_balance_history_created_at', 'credit_balance_history (created_at desc)'),
  ('credit_balances_pkey', 'credit_balances (org_id)')
) as v (name, definition);
select results_eq(
  $$select s.stxname::text collate "default", s.stxrelid::regclass::text, s.stxkind, (
      select string_agg(a.attname::text, ', ' order by a.attname) collate "default" from pg_attribute as a
      where a.attrelid = s.stxrelid and a.attnum = any(s.stxkeys))
    from pg_statistic_ext as s where s.stxnamespace = 'billing'::regnamespace order by 1$$,
  $$values
    ('billing_ledger_stats', 'billing.billing_ledger', array['f'::"char"],
      'direction, org_id, transaction_type'),
    ('token_reconciliations_stats', 'billing.token_reconciliations', array['f'::"char"],
      'status, variance_pct'),
    ('token_records_stats', 'billing.token_records', array['f'::"char"], 'error_code, model, run_id')$$,
  'the three extended statistics'
);
select has_trigger('billing', v.table_name, v.trigger_name, v.trigger_name)
from (
  values
  ('credit_balances', 'update_credit_balances_updated_at'),
  ('billing_ledger', 'audit_billing_ledger_insert')
) as v (table_name, trigger_name);
select tests.freeze_clock('2026-03-10 12:00+00');
create temp table scene as select tests.organization('Acme') as org;
select tests.buy(org, 1) from scene;
select tests.freeze_clock('2026-03-10 13:00+00');
select tests.buy(org, 1) from scene;
select results_eq(
  'select created_at, updated_at from billing.credit_balances',
  $$values ('2026-03-10 12:00+00'::timestamptz, '2026-03-10 13:00+00'::timestamptz)$$,
  'a balance says when it last moved'
);

-- Functions, and how long what is kept -------------------------------------------------------------

select is(
  (select string_agg(a.name, ' ' order by a.n)
    from pg_proc as p, unnest(p.proargnames) with ordinality as a (name, n)
    where p.oid = v.function::regproc and a.n <= 8),
  v.arguments, v.function
)
from (
  values
  ('billing.record_token_call', 'p_run_id p_agent_id p_task_id p_step_id p_input_tokens '
    'p_output_tokens p_model p_cost_usd'),
  ('billing.reconcile_run', 'p_run_id p_org_id')
) as v (function, arguments);
select results_eq(
  'select table_name, archive_after, delete_after from billing.retention_policies order by 1',
  $$values
    ('billing.billing_ledger', interval '7 years', null::interval),
    ('billing.credit_balance_history', '7 years', null),
    ('billing.grant_movements', '7 years', null),
    ('billing.receivables', '7 years', null),
    ('billing.token_reconciliations', '1 year', '7 years'),
    ('billing.token_records', '1 year', '7 years'),
    ('public.venture_token_ledger', null, '7 years')$$,
  'how long what is kept'
);

select tests.bill(tests.organization('Bravo'));
set constraints all immediate;

-- Ledgers only grow, also for the owner -----------------------------------------------------------------

select throws_ok(format(v.statement, l.name), '23001', null, format(v.statement, l.name))
from (
  values ('token_records'), ('billing_ledger'), ('credit_balance_history'), ('grant_movements')
) as l (name)
cross join (
  values ('update billing.%s set org_id = org_id'), ('delete from billing.%s'),
  ('truncate billing.%s cascade')
) as v (statement);
select throws_ok(format(v.statement, l.name), '23001', null, format(v.statement, l.name))
from (
  values ('token_reconciliations'), ('credit_balances'), ('credit_grants'), ('receivables')
) as l (name)
cross join (values ('delete from billing.%s'), ('truncate billing.%s cascade')) as v (statement);
select throws_ok(
  format('insert into billing.%s values (%s)', v.table_name, v.content), '23514', null, v.description
)
from scene, lateral (
  values
  ('billing_ledger (org_id, transaction_type, amount_usd, direction, reason, created_at)',
    format($$%L, 'charge', 1, 'credit', 'r', now()$$, org), 'a charge is a debit'),
  ('billing_ledger (org_id, transaction_type, amount_usd, direction, reason, created_at)',
    format($$%L, 'refund', 1, 'debit', 'r', now()$$, org), 'a refund is a credit'),
  ('billing_ledger (org_id, transaction_type, amount_usd, direction, reason, created_at)',
    format($$%L, 'gift', 1, 'credit', 'r', now()$$, org), 'a type nobody knows'),
  ('billing_ledger (org_id, transaction_type, amount_usd, direction, reason, created_at)',
    format($$%L, 'promo', 0, 'credit', 'r', now()$$, org), 'a movement of nothing'),
  ('billing_ledger (org_id, transaction_type, amount_usd, direction, reason, created_at)',
    format($$%L, 'promo', 'NaN', 'credit', 'r', now()$$, org), 'a movement of NaN'),
  ('billing_ledger (org_id, transaction_type, amount_usd, direction, reason, created_at)',
    format($$%L, 'adjustment', 1, 'both', 'r', now()$$, org), 'a third direction')
) as v (table_name, content, description);

select is_empty($$select * from audit.verify_integrity()$$, 'the books agree');
select * from finish();
rollback;
