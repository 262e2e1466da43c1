-- record_transaction_bundle: what is booked, what is refused, and that it is answered once for all.
begin;
select plan(96);

select tests.freeze_clock('2026-03-10 12:00+00');
create temporary table scene as select tests.organization() as org;
select tests.chart(org) from scene;
select (accounting.set_entity(org, 'SUB', 'Subsidiary', p_entity_id => 'sub')).entity_id from scene;
select (
  accounting.set_account(org, 'S1', 'Cash', 'asset', p_entity_id => 'sub', p_account_id => 'sub-cash')
).account_id from scene;

create function pg_temp.legs(p_external_id text)
returns setof text
language sql
as $$
  select p.account_id || ' ' || p.amount::text
  from accounting.ledger_postings as p
  inner join accounting.ledger_transactions as t using (organization_id, transaction_id)
  where t.external_id = p_external_id
  order by p.position
$$;

-- The amounts of a bundle on cash, bank, loan and so on.
create function pg_temp.post(p_external_id text, p_amounts text[])
returns text
language sql
as $$
  select accounting.record_transaction_bundle(
    (select org from scene),
    tests.request(
      p_external_id, p_more => jsonb_build_object(
        'postings', (
          select jsonb_agg(
            jsonb_build_object(
              'account_id', (array['cash', 'bank', 'loan', 'capital', 'sales', 'rent'])[a.position],
              'amount', a.amount
            )
            order by a.position
          )
          from unnest(p_amounts) with ordinality as a (amount, position)
        )
      )
    )
  )::jsonb ->> 'status'
$$;

-- The code a request is refused with, and what it says; or its status.
create function pg_temp.answer(p_more jsonb, p_amount numeric default 10)
returns text
language sql
as $$
  select concat_ws(
    ' ',
    coalesce(a ->> 'error_code', a ->> 'status'),
    coalesce(a -> 'facts' ->> 'argument', a -> 'facts' ->> 'account_id', a -> 'facts' ->> 'entity_id')
  )
  from tests.post((select org from scene), 'asked', p_amount, p_more => p_more) as a
$$;

-- Booked --------------------------------------------------------------------------------------------

create temporary table given as
select accounting.record_transaction_bundle(org, tests.request('first', 12.5), 'importer') as response
from scene;
select is(
  response,
  format(
    '{"correlation_id":"c-first","entity_id":"entity-default","external_id":"first",'
    '"input_hash":"%s","posting_ids":["%s","%s"],"source_system":"test","status":"committed",'
    '"transaction_date":"2026-01-15","transaction_id":"%s"}',
    t.input_hash, p.ids[1], p.ids[2], t.transaction_id
  ),
  'the response is canonical'
)
from given, accounting.ledger_transactions as t
cross join lateral (
  select array_agg(p.posting_id::text order by p.position) as ids
  from accounting.ledger_postings as p where p.transaction_id = t.transaction_id
) as p;
select results_eq(
  $$select
      entity_id::text, source_system::text, external_id::text, transaction_date, description,
      correlation_id::text, is_adjusting_entry, adjusting_reason_code::text, recorded_by::text,
      recorded_at, response_payload = (select response from given),
      output_hash = encode(sha256(convert_to(response_payload, 'UTF8')), 'hex')
    from accounting.ledger_transactions$$,
  $$values (
    'entity-default', 'test', 'first', '2026-01-15'::date, 'Test', 'c-first', false, null::text,
    'service:importer', '2026-03-10 12:00+00'::timestamptz, true, true
  )$$,
  'the transaction keeps its response and the hash of it'
);
select results_eq(
  $$select account_id::text, amount::text, currency, position
    from accounting.ledger_postings order by position$$,
  $$values ('cash', '12.5000', 'USD', 1), ('sales', '-12.5000', 'USD', 2)$$,
  'so are the postings'
);
select results_eq(
  $$select
      e.tool_name::text, e.correlation_id::text, e.status, e.actor_id::text, e.authn_method,
      e.authorization_result, e.error_code, e.input_hash = t.input_hash,
      e.output_hash = t.output_hash
    from audit.event_log as e
    inner join accounting.ledger_transactions as t using (organization_id, correlation_id)$$,
  $$values (
    'record_transaction_bundle', 'c-first', 'ok', 'service:importer', 'asserted', 'allowed',
    null::text, true, true
  )$$,
  'and the event log tells of it'
);

-- Again ---------------------------------------------------------------------------------------------

select is(
  accounting.record_transaction_bundle(org, r.request, r.actor), given.response, r.says
)
from scene, given cross join lateral (
  values
  (tests.request('first', 12.5), 'importer', 'made again, it is answered byte for byte'),
  (tests.request('first', 12.5), null, 'whoever makes it again'),
  (tests.request('first', 12.5, p_more => '{"correlation_id": "other"}'), null,
    'whatever it belongs to'),
  (tests.request('first', 12.500049), null, 'and however the amounts are written'),
  (tests.request('first', 12.5, p_more => '{"entity_id": "entity-default", "risk_band": null,
    "is_adjusting_entry": false, "override_period_lock": false}'), null, 'with what is usual stated')
) as r (request, actor, says);
select is(
  pg_temp.answer(r.more || '{"external_id": "first"}', r.amount), 'TS409', r.says
)
from (
  values
  ('{}'::jsonb, 12.5001, 'another amount is another request'),
  ('{"description": "Other"}', 12.5, 'so is another description'),
  ('{"transaction_date": "2026-01-16"}', 12.5, 'or day'),
  ('{"risk_band": "high"}', 12.5, 'or band')
) as r (more, amount, says);
select results_eq(
  $$select status, error_code, violation_code, count(*)::integer from audit.event_log
    where correlation_id in ('c-first', 'c-asked', 'other') group by 1, 2, 3 order by 1$$,
  $$values
    ('ok', null::text, null::text, 1), ('refused', 'TS409', 'request_conflict', 4),
    ('replayed', null, null, 5)$$,
  'each call left its event'
);
select is(
  (select count(*) from accounting.ledger_postings), 2::bigint, 'and none booked anything'
);
select is(
  tests.post(org, 'first', 12.5, p_more => '{"source_system": "other"}') ->> 'status',
  'committed', 'another source has ids of its own'
) from scene;

-- Rounded half even, in balance ---------------------------------------------------------------------

select is(pg_temp.post(b.id, b.amounts), 'committed', b.id || ' posts') from (
  values
  ('ties up', array['0.00015', '-0.00015']), ('ties down', array['0.00025', '-0.00025']),
  ('half', array['0.00005', '-0.00005']), ('over half', array['0.000050000001', '-0.000050000001']),
  ('issue', array['0.00005', '0.00005', '-0.0001']),
  ('mirror', array['-0.00005', '-0.00005', '0.0001']),
  ('thirds', array['3.33333333', '3.33333333', '3.33333334', '-10']),
  ('four', array['0.00005', '0.00005', '0.00005', '0.00005', '-0.0002']),
  ('rounded', array['1.00001', '-1.00004']), ('numbers', array['1e0', '-1.0'])
) as b (id, amounts)
where b.id <> 'numbers';
select is(
  tests.post(
    org, 'numbers', p_more => '{"postings": [{"account_id": "cash", "amount": 1.5e-1},
      {"account_id": "bank", "amount": -0.15}]}'
  ) ->> 'status', 'committed', 'amounts may be numbers'
) from scene;
select results_eq(
  format('select * from pg_temp.legs(%L)', b.id), b.legs, b.id || ' is in the books'
)
from (
  values
  ('ties up', array['cash 0.0002', 'bank -0.0002']),
  ('ties down', array['cash 0.0002', 'bank -0.0002']),
  ('half', array['cash 0.0000', 'bank 0.0000']),
  ('over half', array['cash 0.0001', 'bank -0.0001']),
  ('issue', array['cash 0.0001', 'bank 0.0000', 'loan -0.0001']),
  ('mirror', array['cash -0.0001', 'bank 0.0000', 'loan 0.0001']),
  ('thirds', array['cash 3.3333', 'bank 3.3333', 'loan 3.3334', 'capital -10.0000']),
  ('four', array['cash 0.0001', 'bank 0.0001', 'loan 0.0000', 'capital 0.0000', 'sales -0.0002']),
  ('rounded', array['cash 1.0000', 'bank -1.0000']),
  ('numbers', array['cash 0.1500', 'bank -0.1500'])
) as b (id, legs);
select is(pg_temp.post('off', b.amounts), 'refused', array_to_string(b.amounts, ' ') || ' does not post')
from (
  values
  (array['1', '-1.0001']), (array['1', '-0.99994']), (array['0.00006', '0.00006', '-0.0001']),
  (array['1', '1']), (array['0.0001', '0'])
) as b (amounts);

-- Refused -------------------------------------------------------------------------------------------

select is(pg_temp.answer(r.more), r.expected, r.expected || ' for ' || r.more::text)
from (
  values
  ('{"postings": [{"account_id": "cash", "amount": "1"}]}'::jsonb, '22023 postings'),
  ('{"postings": []}', '22023 postings'), ('{"postings": {}}', '22023 postings'),
  ('{"postings": null}', '22023 postings'), ('{"postings": [1, 2]}', '22023 postings'),
  ('{"postings": [{"amount": 1}, {"amount": -1}]}', '22023 account_id'),
  ('{"postings": [{"account_id": "cash"}, {"account_id": "cash", "amount": 0}]}', '22023 amount'),
  ('{"postings": [{"account_id": "cash", "amount": "NaN"}, {}]}', '22023 amount'),
  ('{"postings": [{"account_id": "cash", "amount": "Infinity"}, {}]}', '22023 amount'),
  ('{"postings": [{"account_id": "cash", "amount": "1e3"}, {}]}', '22023 amount'),
  ('{"postings": [{"account_id": "cash", "amount": ""}, {}]}', '22023 amount'),
  ('{"postings": [{"account_id": "cash", "amount": true}, {}]}', '22023 amount'),
  ('{"postings": [{"account_id": "cash", "amount": 1000000000000}, {}]}', '22023 amount'),
  ('{"postings": [{"account_id": "cash", "amount": 0.0000000000001}, {}]}', '22023 amount'),
  ('{"postings": [{"account_id": "cash", "amount": 1, "currency": "EUR"}, {}]}', '22023 currency'),
  ('{"postings": [{"account_id": "cash", "amount": 1, "sum": 1}, {}]}', '22023 postings'),
  ('{"postings": [{"account_id": "no", "amount": 1}, {"account_id": "cash", "amount": -1}]}',
    'TS404 no'),
  ('{"postings": [{"account_id": "sub-cash", "amount": 1}, {"account_id": "cash", "amount": -1}]}',
    'TS404 sub-cash'),
  ('{"entity_id": "sub"}', 'TS404 cash'), ('{"entity_id": "no"}', 'TS404 no'),
  ('{"source_system": " "}', '22023 source_system'),
  ('{"source_system": null}', '22023 source_system'), ('{"source_system": 1}', '22023 source_system'),
  ('{"source_system": "tallystick"}', '22023 source_system'),
  ('{"external_id": ""}', '22023 external_id'),
  ('{"transaction_date": "2026-02-30"}', '22023 transaction_date'),
  ('{"transaction_date": "15.01.2026"}', '22023 transaction_date'),
  ('{"transaction_date": "infinity"}', '22023 transaction_date'),
  ('{"transaction_date": "0000-01-01"}', '22023 transaction_date'),
  ('{"transaction_date": null}', '22023 transaction_date'),
  ('{"occurred_on": "yesterday"}', '22023 occurred_on'),
  ('{"description": ""}', '22023 description'), ('{"description": null}', '22023 description'),
  ('{"is_adjusting_entry": "yes"}', '22023 is_adjusting_entry'),
  ('{"is_adjusting_entry": true}', '22023 adjusting_reason_code'),
  ('{"adjusting_reason_code": "late"}', '22023 adjusting_reason_code'),
  ('{"amount": 1}', '22023 p_request')
) as r (more, expected);
select is(
  pg_temp.answer(jsonb_build_object('external_id', repeat('x', 256))), '22023 external_id',
  'an id is not longer than 255 characters'
);
select is(
  pg_temp.answer(jsonb_build_object('description', repeat('x', 1001))), '22023 description',
  'nor a description than 1000'
);
select is(
  (select array_agg(distinct status) from audit.event_log where correlation_id = 'c-asked'),
  array['error', 'refused'], 'and each refusal is remembered'
);
select is(
  tests.post(org, 'asked') ->> 'status', 'committed', 'a refusal binds no key'
) from scene;

-- What cannot be told of is raised ------------------------------------------------------------------

select throws_ok(
  format('select accounting.record_transaction_bundle(%L, %L)', org, r.request), '22023', null,
  'raised for ' || coalesce(r.request, 'nothing')
)
from scene cross join lateral (
  values (null), (''), ('{'), ('[]'), ('1'), ('{"description": "x"}'), ('{"correlation_id": " "}'),
  ('{"correlation_id": 5}'), ('{"correlation_id": "\u0000"}')
) as r (request);
select throws_ok(
  format('select accounting.record_transaction_bundle(%L, %L)', gen_random_uuid(), tests.request('x')),
  'TS404', null, 'an unknown organization'
);
select throws_ok(
  format('select accounting.record_transaction_bundle(null, %L)', tests.request('x')),
  '22023', null, 'no organization'
);

-- The log and the books are one ---------------------------------------------------------------------

create function pg_temp.fail() returns trigger language plpgsql as
$$begin raise exception using errcode = 'disk_full'; end$$;
create trigger fail before insert on audit.event_log for each row execute function pg_temp.fail();
select throws_ok(
  format('select accounting.record_transaction_bundle(%L, %L)', org, tests.request('unlogged')),
  '53100', null, 'what cannot be logged is not booked'
) from scene;
drop trigger fail on audit.event_log;
select is_empty(
  $$select from accounting.ledger_transactions where external_id = 'unlogged'$$, 'not even a part'
);
set constraints all immediate;
select is_empty($$select * from audit.verify_integrity()$$, 'nothing is wrong');

select * from finish();
rollback;
