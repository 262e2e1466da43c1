-- A run ends: estimate and records are compared, and money moves once.
begin;
select plan(93);

select tests.freeze_clock('2026-03-10 12:00+00');
create temp table scene as select tests.organization('Acme') as org, tests.organization('Bravo') as bravo;
select tests.buy(org, 999999999999) from scene;

-- Bands ------------------------------------------------------------------------------------------

-- A run estimated at so many tokens that took so many, half of them in and half out, free of charge.
create function pg_temp.off(p_estimated bigint, p_actual bigint)
returns text
language plpgsql
as $$
declare
  v_org uuid := (select org from scene);
  v_run uuid := (
    billing.start_run(v_org, p_estimated - p_estimated / 2, p_estimated / 2, null, 0, 0)
  ).id;
  v_done billing.token_reconciliations;
begin
  if p_actual > 0 then
    perform billing.record_token_call(
      v_run, null, null, null, (p_actual / 2)::integer, (p_actual - p_actual / 2)::integer, 'm', 0
    );
  end if;
  v_done := billing.complete_run(v_run);
  if (v_done.estimated_total_tokens, v_done.actual_total_tokens, v_done.variance_tokens)
    is distinct from (p_estimated, p_actual, p_actual - p_estimated) then
    return 'other tokens';
  end if;
  return concat_ws(' ', v_done.status, v_done.variance_pct, v_done.action);
end
$$;
select is(pg_temp.off(v.estimated, v.actual), v.expected, v.estimated || ' tokens, then ' || v.actual)
from (
  values
  (100, 100, 'RECONCILED 0.0000 none'),
  (100, 150, 'RECONCILED 50.0000 none'),
  (100, 151, 'NEEDS_REVIEW 51.0000 none'),
  (100, 50, 'RECONCILED -50.0000 none'),
  (100, 49, 'NEEDS_REVIEW -51.0000 none'),
  (100, 200, 'NEEDS_REVIEW 100.0000 none'),
  (100, 201, 'CRITICAL 101.0000 escalated_to_team'),
  (100, 0, 'NEEDS_REVIEW -100.0000 none'),
  -- Half of an odd number is no number of tokens.
  (101, 151, 'RECONCILED 49.5050 none'),
  (101, 152, 'NEEDS_REVIEW 50.4950 none'),
  (2000000, 3000000, 'RECONCILED 50.0000 none'),
  -- What is shown as 50 percent may be more.
  (2000000, 3000001, 'NEEDS_REVIEW 50.0000 none'),
  (2000000, 999999, 'NEEDS_REVIEW -50.0000 none'),
  (2000000, 4000001, 'CRITICAL 100.0000 escalated_to_team'),
  -- Half even at 4 decimals: 0.00005, 0.00015 and 0.00025 percent.
  (2000000, 2000001, 'RECONCILED 0.0000 none'),
  (2000000, 2000003, 'RECONCILED 0.0002 none'),
  (2000000, 2000005, 'RECONCILED 0.0002 none'),
  (2000000, 1999997, 'RECONCILED -0.0002 none'),
  (2000000, 1999995, 'RECONCILED -0.0002 none'),
  (3, 4, 'RECONCILED 33.3333 none'),
  (3, 5, 'NEEDS_REVIEW 66.6667 none'),
  -- Without an estimate it is taken of 1 token.
  (0, 0, 'RECONCILED 0.0000 none'),
  (0, 1, 'NEEDS_REVIEW 100.0000 none'),
  (0, 2, 'CRITICAL 200.0000 escalated_to_team'),
  (1, 1, 'RECONCILED 0.0000 none'),
  (1, 2, 'NEEDS_REVIEW 100.0000 none'),
  (1, 0, 'NEEDS_REVIEW -100.0000 none'),
  (1, 10000000, 'CRITICAL 999999900.0000 escalated_to_team'),
  (9007199254740991, 0, 'NEEDS_REVIEW -100.0000 none')
) as v (estimated, actual, expected);
select results_eq(
  $$select count(*), count(distinct o.subject_id), count(*) filter (where c.status = 'CRITICAL')
    from scene inner join audit.outbox as o on o.organization_id = org
      inner join billing.token_reconciliations as c on c.run_id = o.subject_id
    where o.topic = 'billing.critical_variance'$$,
  $$values (4::bigint, 4::bigint, 4::bigint)$$, 'each critical one is told of, once, and no other'
);

-- Money ------------------------------------------------------------------------------------------

-- A run that was to cost one amount and cost another, of an organization with so many credits.
create function pg_temp.charged(p_credits numeric, p_estimated numeric, p_cost numeric, p_end text)
returns text
language plpgsql
as $$
declare
  v_org uuid := tests.organization();
  v_run uuid;
  v_done billing.token_reconciliations;
  v_left numeric;
begin
  perform tests.buy(v_org, p_credits);
  v_run := tests.run(v_org, p_estimated);
  if p_cost > 0 then
    perform tests.call(v_run, least(p_cost, 999999999999), 100);
    perform tests.call(v_run, p_cost - least(p_cost, 999999999999), 100);
  end if;
  execute format('select c.* from billing.%s as c', format(p_end, quote_literal(v_run)))
  into v_done;
  return concat_ws(
    ', ', v_done.action, trim_scale(v_done.refund_amount_usd), trim_scale(v_done.charge_amount_usd),
    (
      select string_agg(m, ' ') from (select m from tests.movements(v_org) as m offset 1) as x
    ),
    'owed ' || (
      select trim_scale(sum(x.outstanding_usd)) || ' ' || min(x.reason)
      from billing.receivables as x where x.org_id = v_org and x.run_id = v_run
    )
  );
end
$$;
select is(
  pg_temp.charged(v.credits, v.estimated, v.cost, v.ending), v.expected, v.description
)
from (
  values
  (10, 2, 2, 'complete_run(%s)', 'none, 0, 0, -2 run_charge', 'what was estimated is charged'),
  (10, 0, 0, 'complete_run(%s)', 'none, 0, 0', 'nothing is no charge'),
  (10, 2, 1.999999999999, 'complete_run(%s)',
    'refund_applied, 0.000000000001, 0, -2 run_charge +0.000000000001 token_reconciliation_overestimate',
    'a trillionth less is refunded'),
  (10, 2, 2.000000000001, 'complete_run(%s)',
    'charge_applied, 0, 0.000000000001, -2 run_charge -0.000000000001 token_reconciliation_underestimate',
    'a trillionth more is charged'),
  (10, 0, 2, 'complete_run(%s)', 'charge_applied, 0, 2, -2 token_reconciliation_underestimate',
    'without an estimate all of it'),
  (3, 2, 5, 'complete_run(%s)',
    'charge_applied, 0, 3, -2 run_charge -1 token_reconciliation_underestimate, '
    'owed 2 token_reconciliation_underestimate',
    'what credits do not cover is owed'),
  (2, 2, 5, 'complete_run(%s)',
    'charge_applied, 0, 3, -2 run_charge, owed 3 token_reconciliation_underestimate',
    'all of it where there are none'),
  (10, 2, 0, 'cancel_run(%s)',
    'refund_applied, 2, 0, -2 run_charge +2 token_reconciliation_overestimate',
    'a cancelled run that did nothing costs nothing'),
  (10, 2, 0.5, 'cancel_run(%s)',
    'refund_applied, 1.5, 0, -2 run_charge +1.5 token_reconciliation_overestimate',
    'one that did something costs that'),
  (10, 2, 0.5, 'fail_run(%s)', 'refund_applied, 1.5, 0, -2 run_charge +1.5 partial_failure_refund',
    'a failed run gets back what it did not use'),
  (10, 2, 0.5, $$fail_run(%s, 'agent_crash')$$,
    'refund_applied, 1.5, 0, -2 run_charge +1.5 agent_crash_refund', 'also after a crash'),
  (10, 2, 5, 'fail_run(%s)',
    'charge_applied, 0, 3, -2 run_charge -3 token_reconciliation_underestimate',
    'a failed run that used more costs more'),
  (999999, 20000, 123456.789012345678, 'complete_run(%s)',
    'charge_applied, 0, 103456.789012345678, -20000 run_charge '
    '-103456.789012345678 token_reconciliation_underestimate', 'above ten thousand'),
  (999999999999, 12345678.000000000001, 98765432.100000000001, 'complete_run(%s)',
    'charge_applied, 0, 86419754.1, -12345678.000000000001 run_charge '
    '-86419754.1 token_reconciliation_underestimate', 'above ten million'),
  (1, 0, 1999999999998, 'complete_run(%s)',
    'charge_applied, 0, 1999999999998, -1 token_reconciliation_underestimate, '
    'owed 1999999999997 token_reconciliation_underestimate', 'more than a trillion')
) as v (credits, estimated, cost, ending, expected, description);

-- The row ----------------------------------------------------------------------------------------

select tests.buy(bravo, 10) from scene;
create temp table run as
select (billing.start_run(bravo, 100, 50, null, 1, 0.5)).id as id from scene;
select billing.record_token_call(id, null, null, null, 300, 200, 'm', 0.25) from run;
select billing.record_token_call(id, null, null, null, 7, 5, 'n', 0.5, 'TIMEOUT') from run;
select tests.freeze_clock('2026-03-10 13:00+00');
create temp table done as select billing.reconcile_run(id) as id from run;
select results_eq(
  $$select c.org_id, c.run_id, estimated_input_tokens::bigint, estimated_output_tokens::bigint,
      estimated_total_tokens::bigint, actual_input_tokens::bigint, actual_output_tokens::bigint,
      actual_total_tokens::bigint, variance_tokens, variance_pct::numeric,
      estimated_cost_usd::numeric, actual_cost_usd::numeric, refund_amount_usd::numeric,
      charge_amount_usd::numeric, status, action, notes, created_at, updated_at, resolved_at
    from done inner join billing.token_reconciliations as c using (id)$$,
  $$select bravo, run.id, 100::bigint, 50::bigint, 150::bigint, 307::bigint, 205::bigint,
      512::bigint, 362::bigint, 241.3333, 1.5, 0.75, 0.75, 0.0, 'CRITICAL', 'escalated_to_team',
      null, '2026-03-10 13:00+00'::timestamptz, '2026-03-10 13:00+00'::timestamptz,
      null::timestamptz
    from scene, run$$,
  'a reconciliation compares input, output and cost; failed calls count'
);
select results_eq(
  $$select status, completed_at, updated_at, tokens_used, cost_incurred::numeric
    from run inner join billing.runs using (id)$$,
  $$values ('completed', '2026-03-10 13:00+00'::timestamptz, '2026-03-10 13:00+00'::timestamptz,
    512::bigint, 0.75)$$, 'the run is completed by it'
);
select results_eq(
  $$select topic::text, payload, delivered_at
    from run inner join audit.outbox as o on o.subject_id = run.id$$,
  $$select 'billing.critical_variance', jsonb_build_object(
      'reconciliation_id', done.id, 'variance_pct', '241.3333', 'estimated_cost_usd', '1.5',
      'actual_cost_usd', '0.75'), null::timestamptz from done$$,
  'a critical one is told of'
);
select results_eq(
  $$select l.transaction_type, l.direction, l.reason::text, l.created_by::text,
      replace(l.idempotency_key, run.id::text, 'id')
    from run inner join billing.billing_ledger as l on l.run_id = run.id
      inner join billing.credit_balance_history as h on h.billing_ledger_id = l.id
    order by h.movement$$,
  $$values ('charge', 'debit', 'run_charge', 'system', 'tallystick:run:id:charge'),
    ('refund', 'credit', 'token_reconciliation_overestimate', 'system', 'tallystick:run:id:refund')$$,
  'money moves by cost, in every band'
);
select is_empty(
  $$select from run inner join metering.budgets as b on b.id = run.id$$, 'its budget is gone'
);
select is_empty(
  $$select from run inner join metering.budget_slots as s on s.budget_id = run.id$$, 'and its slots'
);
select is_empty(
  $$select from run inner join billing.credit_reservations as r on r.subject_id = run.id$$,
  'and its reservation'
);
select results_eq(
  $$select reconciliation_status, actual_total_tokens::numeric, variance_pct::numeric,
      refund_amount_usd::numeric
    from run inner join billing.v_run_billing_summary as v on v.run_id = run.id$$,
  $$values ('ERROR', 512.0, 241.3333, 0.75)$$, 'the summary has it'
);

-- Again ------------------------------------------------------------------------------------------

create temp table before as
select count(*) as movements from billing.billing_ledger;
select tests.freeze_clock('2026-03-10 14:00+00');
select is(billing.reconcile_run(run.id), done.id, 'again it is the same') from run, done;
select is(
  (billing.reconcile_run(run.id, bravo)), done.id, 'with the organization too'
)
from scene, run, done;
create function pg_temp.again(p_call text)
returns billing.token_reconciliations
language plpgsql
as $$
declare
  v_done billing.token_reconciliations;
begin
  execute 'select c.* from run, billing.' || p_call || ' as c' into v_done;
  return v_done;
end
$$;
select is(
  pg_temp.again(v.call), (select c from billing.token_reconciliations as c where c.id = done.id),
  v.call || ' again is the same'
)
from done, (
  values ('complete_run(run.id)'), ('cancel_run(run.id)'), ('fail_run(run.id)'),
  ($$fail_run(run.id, 'agent_crash')$$)
) as v (call);
select is(status, 'completed', 'what has ended stays as it ended')
from run inner join billing.run_records using (id);
select results_eq(
  'select count(*) from billing.billing_ledger', 'select movements from before', 'nothing moves'
);
select results_eq(
  $$select count(*) from run inner join audit.outbox as o on o.subject_id = run.id$$,
  $$values (1::bigint)$$, 'and it is told of once'
);

-- Holds ------------------------------------------------------------------------------------------

create temp table held as
select
  tests.run(bravo, 1) as run, tests.run(bravo, 1) as cancelled, tests.run(bravo, 1) as failed,
  tests.run(bravo, 1) as overdue
from scene;
create temp table holds as
select name, (authorize_spend(
  bravo, 'm', 0.4, p_run_id => run_id, p_expires_in => v.expires_in
)).hold_id as id
from scene, held, lateral (
  values ('run', run, interval '1 hour'), ('cancelled', cancelled, '1 hour'),
  ('failed', failed, '1 hour'), ('overdue', overdue, '1 minute')
) as v (name, run_id, expires_in);
select is(
  tests.facts_of(format('select billing.%s(run) from held', v.name)),
  jsonb_build_object('run_id', run, 'held_usd', '0.4'),
  v.name || ': an open hold keeps its run'
)
from held, (values ('reconcile_run'), ('complete_run')) as v (name);
select throws_ok(
  'select billing.complete_run(run) from held', 'TS423', null, 'which is locked'
);
select is(status, 'running', 'so it goes on') from held inner join billing.run_records on id = run;
select results_eq(
  $$select c.refund_amount_usd::numeric, f.refund_amount_usd::numeric
    from held, billing.cancel_run(cancelled) as c, billing.fail_run(failed) as f$$,
  $$values (1.0, 1.0)$$, 'cancelling or failing does not wait'
);
select results_eq(
  $$select name, state::text, reason::text, closed_at from holds inner join metering.holds as h using (id)
    where name in ('cancelled', 'failed') order by name$$,
  $$values ('cancelled', 'released', 'run ended', '2026-03-10 14:00+00'::timestamptz),
    ('failed', 'released', 'run ended', '2026-03-10 14:00+00')$$,
  'it releases what is held'
);
select results_eq(
  $$select r.status from held inner join billing.run_records as r on r.id in (cancelled, failed)
    order by 1$$,
  $$values ('cancelled'), ('failed')$$, 'and says how the run ended'
);
select tests.freeze_clock('2026-03-10 14:01+00');
select r.id from held, billing.complete_run(overdue) as r;
select results_eq(
  $$select state::text, reason::text from holds inner join metering.holds as h using (id)
    where name = 'overdue'$$,
  $$values ('expired', null)$$, 'an overdue hold does not keep its run'
);
select tests.settle(id, 0.4) from holds where name = 'run';
select results_eq(
  $$select c.actual_cost_usd::numeric, c.refund_amount_usd::numeric
    from held, billing.complete_run(run) as c$$,
  $$values (0.4, 0.6)$$, 'and once it is settled a hold does not either'
);
select results_eq(
  $$select settled, held from scene, tests.figures(bravo)$$, $$values (1.15, 0.0)$$,
  'the organization has nothing held'
);

-- Refusals ---------------------------------------------------------------------------------------

create temp table acme as select tests.run(org, 0) as run from scene;
select throws_ok(
  format('select c.* from scene, acme, billing.%s(%s) as c', f.name, v.arguments), v.code, null,
  f.name || ': ' || v.description
)
from (
  values
  ('null', '22023', 'no run'),
  ('gen_random_uuid()', 'TS404', 'an unknown run'),
  ('run, p_org_id => bravo', 'TS404', 'a run of another organization'),
  ('run, p_org_id => gen_random_uuid()', 'TS404', 'a run of an unknown organization')
) as v (arguments, code, description)
cross join (values ('reconcile_run'), ('complete_run'), ('cancel_run'), ('fail_run')) as f (name);
select is(
  tests.facts_of(format('select c.* from acme, billing.fail_run(run, %s) as c', v.cause))
  ->> 'argument', 'p_cause', v.description
)
from (
  values ('null', 'no cause'), ($$'crash'$$, 'a cause nobody knows'), ($$''$$, 'an empty one')
) as v (cause, description);
select is(status, 'running', 'what is refused ends nothing')
from acme inner join billing.run_records on id = run;

select is_empty($$select * from audit.verify_integrity()$$, 'the books agree');
select * from finish();
rollback;
