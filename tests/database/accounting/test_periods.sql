-- close_period, lock_period, reopen_period, and what a month then takes.
begin;
select plan(50);

select tests.freeze_clock('2026-03-10 12:00+00');
create temporary table scene as select tests.organization() as org;
select tests.chart(org) from scene;
select (accounting.set_entity(org, 'SUB', 'Subsidiary', p_entity_id => 'sub')).entity_id from scene;
select (
  accounting.set_account(org, v.code, v.code, 'asset', p_entity_id => 'sub', p_account_id => v.code)
).account_id
from scene cross join (values ('s1'), ('s2')) as v (code);

-- The code of a refusal, or the status.
create function pg_temp.post(p_id text, p_date date default '2026-01-31', p_more jsonb default '{}')
returns text
language sql
as $$
  select case a ->> 'status' when 'refused' then a ->> 'error_code' else a ->> 'status' end
  from tests.post((select org from scene), p_id, 10, p_date, p_more => p_more) as a
$$;
create temporary view period as
select p.period_key, p.entity_id::text, p.status, p.closed_at, p.locked_at, p.actor_id::text
from accounting.accounting_periods as p;
create function pg_temp.adjusting() returns jsonb language sql
return '{"is_adjusting_entry": true, "adjusting_reason_code": "late invoice"}'::jsonb;
create function pg_temp.overriding() returns jsonb language sql
return '{"override_period_lock": true}'::jsonb;

-- Open ----------------------------------------------------------------------------------------------

select is_empty('select from period', 'a month without a row');
select is(pg_temp.post('1'), 'committed', 'is open');
select results_eq(
  'select * from period',
  $$values ('2026-01', 'entity-default', 'open', null::timestamptz, null::timestamptz, null::text)$$,
  'and has its row from the first posting on'
);
select is(pg_temp.post('2', p_more => pg_temp.adjusting()), 'committed',
  'an open one takes adjusting entries too');
select is(pg_temp.post('3', p_more => pg_temp.overriding()), 'committed',
  'and what would override a lock');

-- Closed --------------------------------------------------------------------------------------------

create temporary table answers as
select 1 as number, a.* from scene, accounting.close_period(
  org, '2026-01', 'closing', p_actor => 'controller'
) as a;
select results_eq(
  $$select status, entity_id, period_key, period_status, closed_at, locked_at, error_code
    from answers$$,
  $$values (
    'ok', 'entity-default', '2026-01', 'closed', '2026-03-10 12:00+00'::timestamptz,
    null::timestamptz, null::text
  )$$,
  'a month is closed'
);
select results_eq(
  'select actor_id from period', array['service:controller'], 'and says by whom'
);
select is(pg_temp.post('4'), 'TS412', 'it takes nothing');
select is(pg_temp.post('4', p_more => pg_temp.overriding()), 'TS412',
  'not even what overrides a lock');
select is(
  (
    select a -> 'facts'
    from scene, tests.post(org, '4', p_date => '2026-01-01') as a
  ), '{"status": "closed", "entity_id": "entity-default", "period_key": "2026-01"}'::jsonb,
  'and says why'
);
select is(pg_temp.post('4', p_more => pg_temp.adjusting()), 'committed', 'but adjusting entries');
select results_eq(
  $$select is_adjusting_entry, adjusting_reason_code::text
    from accounting.ledger_transactions where external_id = '4'$$,
  $$values (true, 'late invoice')$$, 'which say why they were made'
);
select is(pg_temp.post('1'), 'committed', 'what was booked before is answered as before');
select is(pg_temp.post('before', '2025-12-31'), 'committed', 'the month before is open');
select is(pg_temp.post('after', '2026-02-01'), 'committed', 'and the month after');
select is(
  tests.post(
    org, 's', p_debit => 's1', p_credit => 's2', p_more => '{"entity_id": "sub"}'
  ) ->> 'status', 'committed', 'and the same month of another entity'
) from scene;
select tests.freeze_clock('2026-03-11 12:00+00');
select is(
  (select closed_at from scene, accounting.close_period(org, '2026-01', 'again')),
  '2026-03-10 12:00+00', 'closed again, nothing changes'
);

-- Open again ----------------------------------------------------------------------------------------

select is(
  (select period_status from scene, accounting.reopen_period(org, '2026-01', 'reopening')),
  'open', 'a closed month is opened again'
);
select is(pg_temp.post('5'), 'committed', 'and takes what comes');
select is(
  (select period_status from scene, accounting.reopen_period(org, '2026-07', 'reopening')),
  'open', 'one that was never closed is open'
);

-- Locked --------------------------------------------------------------------------------------------

select results_eq(
  $$select status, period_status, closed_at, locked_at
    from scene, accounting.lock_period(org, '2026-01', 'locking')$$,
  $$values (
    'ok', 'locked', '2026-03-11 12:00+00'::timestamptz, '2026-03-11 12:00+00'::timestamptz
  )$$,
  'an open month is locked, and closed with it'
);
select is(pg_temp.post('6'), 'TS412', 'it takes nothing');
select is(pg_temp.post('6', p_more => pg_temp.adjusting()), 'TS412', 'no adjusting entry');
select is(pg_temp.post('6', p_more => pg_temp.overriding()), 'proposed',
  'what overrides the lock needs approval, whatever the policy says');
select is_empty(
  $$select from accounting.ledger_transactions where external_id = '6'$$, 'and is not booked'
);
select is(
  (
    select array_agg(c.code)
    from scene, lateral (
      select a.error_code || ' ' || a.status || ' ' || a.period_status as code
      from accounting.reopen_period(org, '2026-01', 'x') as a
      union all
      select a.error_code || ' ' || a.status || ' ' || a.period_status
      from accounting.close_period(org, '2026-01', 'x') as a
    ) as c
  ), array['TS412 refused locked', 'TS412 refused locked'], 'a locked month stays locked'
);
select is(
  (select status from scene, accounting.lock_period(org, '2026-01', 'again')), 'ok',
  'locked again, nothing changes'
);
select results_eq(
  $$select tool_name::text, status, error_code, count(*)::integer from audit.event_log
    where tool_name like '%period' group by 1, 2, 3 order by 1, 2$$,
  $$values
    ('close_period', 'ok', null::text, 2), ('close_period', 'refused', 'TS412', 1),
    ('lock_period', 'ok', null, 2),
    ('reopen_period', 'ok', null, 2), ('reopen_period', 'refused', 'TS412', 1)$$,
  'each call left its event'
);

-- Late ----------------------------------------------------------------------------------------------

select (accounting.close_period(org, '2026-02', 'closing')).period_status from scene;
select is(
  private.posting_date(org, 'entity-default', d.happened), d.booked, 'of ' || d.happened
)
from scene cross join (
  values
  ('2025-12-31'::date, '2025-12-31'::date), ('2026-01-31', '2026-03-01'),
  ('2026-02-10', '2026-03-01'), ('2026-03-05', '2026-03-05')
) as d (happened, booked);
select is(
  tests.post(
    org, 'late', p_date => '2026-03-01', p_more => '{"occurred_on": "2026-01-31"}'
  ) ->> 'status', 'committed', 'what comes late is booked in an open month'
) from scene;
select results_eq(
  $$select transaction_date, occurred_on from accounting.ledger_transactions
    where external_id = 'late'$$,
  $$values ('2026-03-01'::date, '2026-01-31'::date)$$, 'and linked to its day'
);

-- Refused -------------------------------------------------------------------------------------------

select throws_ok(
  format('select accounting.%s_period(%L, %L, %L, %L)', f, org, r.month, r.correlation, r.entity),
  r.code, null, f || ' ' || r.says
)
from scene
cross join unnest(array['close', 'lock', 'reopen']) as f
cross join (
  values
  ('2026-1', 'c', 'entity-default', '22023', 'what is no month'),
  ('2026-01', null, 'entity-default', '22023', 'for no reason'),
  ('2026-01', 'c', 'no', 'TS404', 'of an unknown entity')
) as r (month, correlation, entity, code, says);
select throws_ok(
  format('select accounting.close_period(%L, ''0000-01'', ''c'')', org), '22023', null, 'no year 0'
) from scene;

-- Months to come ------------------------------------------------------------------------------------

select tests.freeze_clock('2026-03-31 23:00+00');
create temporary table there as
select tests.organization('East', 'Pacific/Kiritimati') as east, org from scene;
select throws_ok(
  format('select accounting.%s_period(%L, %L, ''c'')', f, org, month), '22023', null,
  f || ': not ' || month
)
from there cross join (
  values ('close', '2026-04'), ('lock', '2026-04'), ('close', '9999-12')
) as v (f, month);
select is(
  (select period_status from there, accounting.close_period(org, '2026-03', 'c')), 'closed',
  'the month that is may be closed'
);
select is(
  (select period_status from there, accounting.lock_period(east, '2026-04', 'c')), 'locked',
  'which it is where the organization is'
);
set constraints all immediate;
select is_empty($$select * from audit.verify_integrity()$$, 'nothing is wrong');

select * from finish();
rollback;
