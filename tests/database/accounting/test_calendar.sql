-- record_balance_snapshot, set_obligation, roll_obligations, compare_snapshots.
begin;
select plan(50);

select tests.freeze_clock('2026-03-10 12:00+00');
create temporary table scene as select tests.organization() as org;
select tests.chart(org) from scene;
select (accounting.set_entity(org, 'SUB', 'Subsidiary', p_entity_id => 'sub')).entity_id from scene;
select tests.post(org, '1', 10.5, '2026-01-15') ->> 'status' from scene;

-- Snapshots -----------------------------------------------------------------------------------------

create temporary table stated as
select s.* from scene, accounting.record_balance_snapshot(
  org, 'bank', 'cash', '2026-01-31', 10.00005, 'statement-1'
) as s;
select results_eq(
  $$select entity_id::text, source_system::text, account_id::text, snapshot_date, balance::text,
      currency, source_artifact_id::text from stated$$,
  $$values ('entity-default', 'bank', 'cash', '2026-01-31'::date, '10.0000', 'USD', 'statement-1')$$,
  'a balance is stated, rounded half even'
);
select is(
  (accounting.record_balance_snapshot(org, 'bank', 'cash', '2026-01-31', -2.5)).snapshot_id::text,
  snapshot_id::text, 'stated again, it is the same snapshot'
) from scene, stated;
select results_eq(
  $$select balance::text, source_artifact_id::text from accounting.balance_snapshots$$,
  $$values ('-2.5000', null::text)$$, 'with what was said last'
);
select results_eq(
  $$select code, stated_balance, book_balance, difference
    from scene, accounting.compare_snapshots(org)$$,
  $$values ('1000', '-2.5000', '10.5000', '-13.0000')$$, 'beside the books'
);
select is_empty(
  $$select from scene, accounting.compare_snapshots(org, 'sub')$$, 'by entity'
);
select throws_ok(
  format(
    'select accounting.record_balance_snapshot(%L, %L, %L, %L, %L)', org, r.source, r.account,
    r.day, r.balance
  ), r.code, null, r.says
)
from scene cross join (
  values
  ('bank', 'no', '2026-01-31', '1', 'TS404', 'of an unknown account'),
  ('bank', 'cash', null, '1', '22023', 'of no day'),
  ('bank', 'cash', 'infinity', '1', '22023', 'of no day of the calendar'),
  ('bank', 'cash', '2026-01-31', 'NaN', '22023', 'no number'),
  ('bank', 'cash', '2026-01-31', null, '22023', 'nothing'),
  ('bank', 'cash', '2026-01-31', '-1000000000000', '22023', 'too much'),
  (' ', 'cash', '2026-01-31', '1', '22023', 'by nobody')
) as r (source, account, day, balance, code, says);

-- Obligations ---------------------------------------------------------------------------------------

create temporary table lease as
select o.* from scene, accounting.set_obligation(
  org, 'lease', 'Rent', 'monthly', 3.00015, '2026-01-31', 'rent'
) as o;
select results_eq(
  $$select entity_id::text, cadence, expected_amount::text, variability_flag, next_due_date,
      active from lease$$,
  $$values ('entity-default', 'monthly', '3.0002', false, '2026-01-31'::date, true)$$,
  'an obligation is stated'
);
select is(
  (
    accounting.set_obligation(
      org, 'lease', 'Rent', 'monthly', 4, '2026-01-31', 'rent', p_active => false
    )
  ).active, false, 'it is ended'
) from scene;
select is_empty(
  $$select from scene, accounting.roll_obligations(org, '2026-06-01')$$, 'and comes again no more'
);
select results_eq(
  $$select o.obligation_id::text = l.obligation_id::text, o.active, o.expected_amount::text
    from scene, lease as l, accounting.set_obligation(
      org, 'lease', 'Rent', 'monthly', 4, '2026-01-31', 'rent'
    ) as o$$,
  $$values (true, true, '4.0000')$$, 'until it is stated again'
);
select is(
  (
    select count(distinct o.obligation_id) from scene, generate_series(1, 2), lateral
    accounting.set_obligation(org, 'lease', 'Deposit', 'custom', 1, '2026-01-31') as o
  ), 1::bigint, 'without an account too it is one'
);

select results_eq(
  $$select (
      accounting.set_obligation(
        org, 'lease', 'Office', 'monthly', n, '2026-01-31', p_entity_id => e.entity
      )
    ).entity_id::text
    from scene
    cross join (
      values (1, 'sub'), (2, null), (3, 'entity-default'), (4, null)
    ) as e (n, entity)$$,
  array['sub', 'sub', 'entity-default', 'entity-default'],
  'it stays with its entity until another is named'
);

-- When it is due again
create function pg_temp.due(p_first date, p_cadence text, p_day date, p_metadata jsonb default '{}')
returns date
language plpgsql
as $$
declare
  v_org uuid := (select org from scene);
begin
  perform accounting.set_obligation(
    v_org, 'due', 'Due', p_cadence, 1, p_first, p_metadata => p_metadata
  );
  perform accounting.roll_obligations(v_org, p_day);
  return (
    select o.next_due_date from accounting.obligations as o
    where o.organization_id = v_org and o.source_system = 'due'
  );
end
$$;
select is(
  pg_temp.due(d.first, d.cadence, d.day, d.metadata), d.expected,
  format('%s from %s is due on %s from %s on', d.cadence, d.first, d.expected, d.day)
)
from (
  values
  ('2026-01-31'::date, 'monthly', '2026-01-31'::date, '2026-01-31'::date, '{}'::jsonb),
  ('2026-01-31', 'monthly', '2026-02-01', '2026-02-28', '{}'),
  ('2026-01-31', 'monthly', '2026-03-01', '2026-03-31', '{}'),
  ('2026-01-31', 'monthly', '2028-02-10', '2028-02-29', '{}'),
  ('2026-01-30', 'monthly', '2026-04-30', '2026-04-30', '{}'),
  ('2026-01-30', 'monthly', '2026-05-01', '2026-05-30', '{}'),
  ('2026-12-15', 'monthly', '2026-12-16', '2027-01-15', '{}'),
  ('2024-02-29', 'annual', '2024-03-01', '2025-02-28', '{}'),
  ('2024-02-29', 'annual', '2027-03-01', '2028-02-29', '{}'),
  ('2026-01-01', 'custom', '2026-02-01', '2026-01-01', '{}'),
  ('2026-01-01', 'custom', '2026-02-01', '2026-02-12', '{"interval_days": 14}'),
  ('2026-01-01', 'custom', '2026-01-15', '2026-01-15', '{"interval_days": 14}')
) as d (first, cadence, day, expected, metadata);
select is(pg_temp.due('2026-01-31', 'monthly', '2026-02-01'), '2026-02-28', 'over a short month');
select accounting.roll_obligations(org, '2026-03-01') from scene;
select is(
  (select next_due_date from accounting.obligations where source_system = 'due'),
  '2026-03-31', 'the day of the month is kept'
);
select is_empty(
  $$select from scene, accounting.roll_obligations(org, '2026-03-01')$$, 'rolled again, nothing moves'
);
select throws_ok(
  format(
    'select accounting.set_obligation(%L, %L, %L, %L, %L, %L, %L, null, %L, %L)', org, r.source,
    r.name, r.cadence, r.amount, r.due, r.account, r.metadata, r.entity
  ), r.code, null, r.says
)
from scene cross join (
  values
  (' ', 'x', 'monthly', '1', '2026-01-01', null, '{}', null, '22023', 'by nobody'),
  ('x', null, 'monthly', '1', '2026-01-01', null, '{}', null, '22023', 'of no name'),
  ('x', 'x', 'daily', '1', '2026-01-01', null, '{}', null, '22023', 'of no cadence'),
  ('x', 'x', null, '1', '2026-01-01', null, '{}', null, '22023', 'without cadence'),
  ('x', 'x', 'monthly', 'NaN', '2026-01-01', null, '{}', null, '22023', 'of no amount'),
  ('x', 'x', 'monthly', '1', null, null, '{}', null, '22023', 'never due'),
  ('x', 'x', 'monthly', '1', '2026-01-01', 'no', '{}', null, 'TS404', 'on an unknown account'),
  ('x', 'x', 'monthly', '1', '2026-01-01', 'cash', '{}', 'sub', '22023', 'of another entity'),
  ('x', 'x', 'monthly', '1', '2026-01-01', null, '{}', 'no', 'TS404', 'of an unknown entity'),
  ('x', 'x', 'monthly', '1', '2026-01-01', null, '[]', null, '22023', 'metadata is an object'),
  ('x', 'x', 'custom', '1', '2026-01-01', null, '{"interval_days": 0}', null, '22023',
    'an interval is a day or more'),
  ('x', 'x', 'custom', '1', '2026-01-01', null, '{"interval_days": "7"}', null, '22023',
    'and a number')
) as r (source, name, cadence, amount, due, account, metadata, entity, code, says);
select throws_ok(
  format('select accounting.roll_obligations(%L, null)', org), '22023', null, 'rolled to no day'
) from scene;
select (
  accounting.set_obligation(
    org, 'far', 'Far', 'custom', 1, '9999-12-01', p_metadata => '{"interval_days": 9999}'
  )
).next_due_date
from scene;
select throws_ok(
  format('select accounting.roll_obligations(%L, ''9999-12-31'')', org), '22023', null,
  'or beyond the calendar'
) from scene;
select is(
  (select next_due_date from accounting.obligations where source_system = 'far'), '9999-12-01',
  'which moves nothing'
);
select results_eq(
  $$select distinct tool_name::text, status from audit.event_log
    where tool_name not in ('set_account', 'set_entity', 'record_transaction_bundle') order by 1$$,
  $$values
    ('record_balance_snapshot', 'ok'), ('roll_obligations', 'ok'), ('set_obligation', 'ok')$$,
  'each change left its event'
);
set constraints all immediate;
select is_empty($$select * from audit.verify_integrity()$$, 'nothing is wrong');

select * from finish();
rollback;
