-- reverse_transaction: undone by a new transaction that is linked, once.
begin;
select plan(28);

select tests.freeze_clock('2026-03-10 12:00+00');
create temporary table scene as select tests.organization() as org;
select tests.chart(org) from scene;
create temporary table posted as
select tests.post(org, 'first', 12.5) ->> 'transaction_id' as id from scene;

create function pg_temp.reverse(p_id text, p_date date default '2026-02-01', p_reason text default null)
returns jsonb
language sql
as $$
  select accounting.reverse_transaction(
    (select org from scene), p_id, p_date, 'undo', p_adjusting_reason_code => p_reason
  )::jsonb
$$;

select is(pg_temp.reverse(id) ->> 'status', 'committed', 'a transaction is reversed') from posted;
select results_eq(
  $$select source_system::text, external_id::text, transaction_date, description,
      reverses_transaction_id::text
    from accounting.ledger_transactions where source_system = 'reversal'$$,
  $$select 'reversal', id, '2026-02-01'::date, 'Reversal of Test', id from posted$$,
  'by a new one that is linked to it'
);
select results_eq(
  $$select p.account_id::text, p.amount::text from accounting.ledger_postings as p
    inner join accounting.ledger_transactions as t using (transaction_id)
    where t.source_system = 'reversal' order by p.position$$,
  $$values ('cash', '-12.5000'), ('sales', '12.5000')$$, 'with the other sign'
);
select is(pg_temp.reverse(id) ->> 'status', 'committed', 'again, it is answered as before') from posted;
select is(
  (select count(*) from accounting.ledger_transactions), 2::bigint, 'and reversed once'
);
select is(pg_temp.reverse(id, '2026-02-02') ->> 'error_code', 'TS409', 'at another day it is another')
from posted;
select is(
  tests.post(org, 'again', p_more => jsonb_build_object('reverses_transaction_id', id, 'postings', null)
    - 'postings') ->> 'error_code', '22023', 'a bundle of other postings is no reversal'
) from scene, posted;
select is(
  a ->> 'error_code', 'TS419', 'nor is it reversed under another key'
)
from scene, posted, lateral (
  select accounting.record_transaction_bundle(
    org, (
      tests.request('again')::jsonb - 'postings' || jsonb_build_object('reverses_transaction_id', id)
    )::text
  )::jsonb as a
) as again;
select is(a -> 'facts' ->> 'reverses_transaction_id', id, 'and told which')
from scene, posted, lateral (
  select accounting.record_transaction_bundle(
    org, (
      tests.request('again')::jsonb - 'postings' || jsonb_build_object('reverses_transaction_id', id)
    )::text
  )::jsonb as a
) as again;
select is(
  pg_temp.reverse(transaction_id, '2026-02-03') ->> 'status', 'committed', 'a reversal is reversed'
) from accounting.ledger_transactions where source_system = 'reversal';
select is(accounting.balance_as_of(org, 'cash', '2026-01-31'), 12.5, 'before') from scene;
select is(accounting.balance_as_of(org, 'cash', '2026-02-02'), 0.0, 'undone') from scene;
select is(accounting.balance_as_of(org, 'cash'), 12.5, 'and done again') from scene;

-- Its key is kept -----------------------------------------------------------------------------------

create temporary table third as
select tests.post(org, 'third') ->> 'transaction_id' as id from scene;
select is(
  tests.post(org, id, p_more => '{"source_system": "reversal"}'
    || jsonb_build_object('reverses_transaction_id', r.reverses) - r.without
  ) -> 'facts' ->> 'argument', 'source_system', r.says
)
from scene, third, lateral (
  values
  (null, 'reverses_transaction_id', 'a bundle that reverses nothing takes no key of a reversal'),
  ((select p.id from posted as p), 'none', 'nor does one that reverses another')
) as r (reverses, without, says);
select is(pg_temp.reverse(id) ->> 'status', 'committed', 'so it can be reversed') from third;
select is(
  accounting.record_transaction_bundle(
    org, (
      tests.request(id, p_date => '2026-02-01', p_more => jsonb_build_object(
        'source_system', 'reversal', 'reverses_transaction_id', id,
        'description', 'Reversal of Test'
      ))::jsonb - 'postings'
    )::text
  )::jsonb ->> 'status', 'committed', 'by a bundle of that key too, which is the same'
) from scene, third;

-- Periods -------------------------------------------------------------------------------------------

create temporary table second as
select tests.post(org, 'second') ->> 'transaction_id' as id from scene;
select (accounting.close_period(org, '2026-01', 'closing')).period_status from scene;
select is(pg_temp.reverse(id, '2026-01-31') ->> 'error_code', 'TS412', 'not into a closed month')
from second;
select is(
  pg_temp.reverse(id, '2026-01-31', 'void') ->> 'status', 'committed',
  'unless it is an adjusting entry'
) from second;

-- Refused -------------------------------------------------------------------------------------------

select is(pg_temp.reverse(r.id, r.day) ->> 'error_code', r.code, r.says)
from (
  values
  ('no', '2026-02-01'::date, 'TS404', 'an unknown one'),
  (null, '2026-02-01', '22023', 'none'),
  ((select id from posted), null, '22023', 'at no day'),
  ((select id from posted), 'infinity', '22023', 'at no day of the calendar')
) as r (id, day, code, says);
select is(
  pg_temp.reverse(t.transaction_id::text) ->> 'error_code', '22023',
  'what the system posted is not reversed by hand'
)
from scene cross join lateral private.commit_bundle(
  org, (
    select b from jsonb_populate_record(
      null::private.bundle,
      '{"source_system": "tallystick", "external_id": "1", "transaction_date": "2026-03-01",
        "description": "x", "correlation_id": "c", "entity_id": "entity-default",
        "is_adjusting_entry": false, "override_period_lock": false, "legs": [
          {"account_id": "cash", "amount": 1, "currency": "USD"},
          {"account_id": "sales", "amount": -1, "currency": "USD"}]}'
    ) as b
  )
) as t;
select is(
  accounting.reverse_transaction(tests.organization(), id, '2026-02-01', 'undo')::jsonb
  ->> 'error_code', 'TS404', 'nor that of another organization'
) from posted;
select throws_ok(
  format('select accounting.reverse_transaction(%L, %L, ''2026-02-01'', null)', org, id), '22023',
  null, 'it belongs to something'
) from scene, posted;
select is(
  (
    select array_agg(distinct e.status order by e.status) from audit.event_log as e
    where e.correlation_id = 'undo'
  ), array['error', 'ok', 'refused', 'replayed'], 'all of which the log tells'
);
set constraints all immediate;
select is_empty($$select * from audit.verify_integrity()$$, 'nothing is wrong');

select * from finish();
rollback;
