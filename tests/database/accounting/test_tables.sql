-- The tables of the books: the document's columns, and what they refuse whoever writes.
begin;
select plan(117);

create temporary table scene as
select tests.organization() as org, gen_random_uuid() as nobody;
select tests.keep_books(org) from scene;
select (accounting.set_entity(org, 'SUB', 'Subsidiary', p_entity_id => 'sub')).entity_id from scene;
set constraints all immediate;
set constraints all deferred;

-- The document's columns ----------------------------------------------------------------------------

select has_column('accounting', t.name::name, c::name, t.name || '.' || c)
from (
  values
  ('entities', array['entity_id', 'code', 'name', 'metadata']),
  ('accounts', array[
    'account_id', 'code', 'name', 'account_type', 'parent_account_id', 'metadata', 'entity_id'
  ]),
  ('ledger_transactions', array[
    'transaction_id', 'source_system', 'external_id', 'transaction_date', 'description',
    'correlation_id', 'input_hash', 'output_hash', 'response_payload', 'entity_id',
    'is_adjusting_entry', 'adjusting_reason_code'
  ]),
  ('ledger_postings', array[
    'posting_id', 'transaction_id', 'account_id', 'amount', 'currency', 'memo'
  ]),
  ('balance_snapshots', array[
    'snapshot_id', 'source_system', 'account_id', 'snapshot_date', 'balance', 'currency',
    'source_artifact_id', 'entity_id'
  ]),
  ('obligations', array[
    'obligation_id', 'source_system', 'name', 'account_id', 'cadence', 'expected_amount',
    'variability_flag', 'next_due_date', 'metadata', 'active', 'entity_id'
  ]),
  ('accounting_periods', array[
    'period_id', 'period_key', 'entity_id', 'status', 'actor_id', 'correlation_id', 'closed_at',
    'locked_at'
  ])
) as t (name, columns)
cross join unnest(t.columns) as c;

-- Refused -------------------------------------------------------------------------------------------

create function pg_temp.outcome(p_statement text)
returns text
language plpgsql
as $$
begin
  execute replace(
    replace(p_statement, '{org}', (select quote_literal(org) || '::uuid' from scene)), '{other}',
    (select quote_literal(nobody) || '::uuid' from scene)
  );
  raise exception using errcode = 'UNDO1';
exception when restrict_violation then
  -- Until PostgreSQL 17 a RESTRICT that bites is reported as 23503.
  return case when p_statement like 'delete%' and sqlerrm like '%RESTRICT%' then '23503' else sqlstate end;
when others then
  return sqlstate;
end
$$;

select is(pg_temp.outcome(r.statement), r.expected, r.says)
from (
  values
  ('insert into accounting.entities (organization_id, code, name) values ({org}, ''X'', ''x'')',
    'UNDO1', 'an entity'),
  ('insert into accounting.entities (organization_id, code, name) values ({org}, ''SUB'', ''x'')',
    '23505', 'a code is of one entity'),
  ('insert into accounting.entities (organization_id, code, name) values ({other}, ''X'', ''x'')',
    '23503', 'an entity is of an organization'),
  ('insert into accounting.entities (organization_id, code, name) values ({org}, ''X'', '' '')',
    '23514', 'an entity has a name'),
  ('update accounting.entities set metadata = ''[]''', '23514', 'metadata of entities'),
  ('delete from accounting.entities where entity_id = ''entity-default''', '23503',
    'an entity with accounts stays'),
  ('delete from tenancy.organizations where id = {org}', '23503',
    'an organization with books stays'),
  ('update accounting.accounts set code = ''1000'' where account_id = ''rent''', '23505',
    'a code is of one account'),
  ('update accounting.accounts set account_type = ''other'' where account_id = ''capital''',
    '23514', 'an account is of one of five types'),
  ('update accounting.accounts set account_type = ''asset'' where account_id = ''capital''',
    'UNDO1', 'which may change'),
  ('update accounting.accounts set account_type = ''asset'' where account_id = ''sales''',
    '23001', 'until something is booked'),
  ('update accounting.accounts set parent_account_id = ''no'' where account_id = ''rent''',
    '23503', 'a parent is an account'),
  ('update accounting.accounts set entity_id = ''sub'' where account_id = ''capital''', 'UNDO1',
    'an account may change hands'),
  ('update accounting.accounts set entity_id = ''sub'' where account_id = ''sales''', '23503',
    'until something is booked on it'),
  ('update accounting.accounts set entity_id = ''sub'' where account_id = ''bank''', '23503',
    'and an account is of the entity of its parent'),
  ('delete from accounting.accounts where account_id = ''sales''', '23503',
    'an account with postings stays'),
  ('update accounting.ledger_transactions set description = ''x''', '23001',
    'a transaction is not changed'),
  ('update accounting.ledger_transactions set response_payload = ''x''', '23001',
    'nor answered twice'),
  ('update accounting.ledger_transactions set response_payload = null, output_hash = null',
    '23001', 'nor its answer taken back'),
  ('delete from accounting.ledger_transactions', '23001', 'nor is it deleted'),
  ('truncate accounting.ledger_transactions cascade', '23001', 'nor all of them'),
  ('update accounting.ledger_postings set memo = ''x''', '23001', 'a posting is not changed'),
  ('delete from accounting.ledger_postings', '23001', 'nor deleted'),
  ('truncate accounting.ledger_postings', '23001', 'nor all of them'),
  ('insert into accounting.ledger_postings
      (organization_id, entity_id, transaction_id, account_id, amount, position)
    select organization_id, entity_id, transaction_id, a.id, a.amount, a.position
    from accounting.ledger_transactions
    cross join (values (''cash'', 1, 3), (''sales'', -1, 4)) as a (id, amount, position)',
    '23001', 'nothing is added to what was answered'),
  ('update accounting.balance_snapshots set currency = ''EUR''', '23514', 'snapshots are in USD'),
  ('update accounting.balance_snapshots set snapshot_date = ''infinity''', '23514',
    'and of a day'),
  ('update accounting.obligations set cadence = ''daily''', '23514', 'a cadence is one of three'),
  ('update accounting.obligations set due_day = 32', '23514', 'a month has 31 days'),
  ('update accounting.obligations set metadata = ''1''', '23514', 'metadata of obligations'),
  ('update accounting.obligations set entity_id = ''sub''', '23503',
    'an obligation is of the entity of its account'),
  ('insert into accounting.obligations (organization_id, source_system, name, cadence,
      expected_amount, next_due_date, due_day)
    select {org}, ''x'', ''x'', ''custom'', 1, ''2026-01-01'', 1 from generate_series(1, 2)',
    '23505', 'without an account too an obligation is one'),
  ('update accounting.accounting_periods set period_key = ''2026-13''', '23514',
    'a period is a month'),
  ('update accounting.accounting_periods set status = ''shut''', '23514', 'in one of three states'),
  ('update accounting.accounting_periods set status = ''closed''', '23514',
    'a closed one says since when'),
  ('update accounting.accounting_periods set status = ''locked'', closed_at = now()', '23514',
    'and a locked one'),
  ('update accounting.accounting_periods set closed_at = now()', '23514', 'an open one does not'),
  ('insert into accounting.accounting_periods (organization_id, period_key) values
    ({org}, ''2026-01'')', '23505', 'a month is one per entity'),
  ('insert into accounting.accounting_periods (organization_id, period_key, entity_id) values
    ({org}, ''2026-01'', ''sub'')', 'UNDO1', 'another entity has months of its own')
) as r (statement, expected, says);

-- A transaction as somebody writes it by hand, who owns the tables -------------------------------------

create function pg_temp.by_hand(p_columns text, p_values text, p_legs text, p_answer text)
returns text
language plpgsql
as $$
begin
  execute format(
    'insert into accounting.ledger_transactions (organization_id, transaction_id, source_system, '
    'external_id, transaction_date, description, correlation_id, input_hash, recorded_by %s) '
    'select org, ''by hand'', ''hand'', ''1'', ''2026-01-01'', ''x'', ''c'', repeat(''0'', 64), ''me'' '
    '%s from scene', p_columns, p_values
  );
  execute format(
    'insert into accounting.ledger_postings (organization_id, entity_id, transaction_id, '
    'account_id, amount, position, currency) '
    'select org, ''entity-default'', ''by hand'', l.* from scene cross join lateral (values %s) as l',
    p_legs
  );
  execute format(
    'update accounting.ledger_transactions set %s where transaction_id = ''by hand''', p_answer
  );
  set constraints all immediate;
  raise exception using errcode = 'UNDO1';
exception when others then
  return sqlstate;
end
$$;
select is(
  pg_temp.by_hand(h.columns, h.vals, h.legs, h.answer), h.expected, 'by hand: ' || h.says
)
from (
  select
    coalesce(v.columns, '') as columns,
    coalesce(v.vals, '') as vals,
    coalesce(v.legs, '(''cash'', 1, 1, ''USD''), (''sales'', -1, 2, ''USD'')') as legs,
    coalesce(
      v.answer, 'response_payload = ''x'', output_hash = encode(sha256(''x''), ''hex'')'
    ) as answer,
    v.expected,
    v.says
  from (
    values
    (null, null, null, null, 'UNDO1', 'a whole one'),
    (null, null, '(''cash'', 1, 1, ''USD''), (''sales'', -0.9999, 2, ''USD'')', null, '22023',
      'out of balance'),
    (null, null, '(''cash'', 0, 1, ''USD'')', null, '22023', 'one posting'),
    (null, null, '(''cash'', 1, 1, ''EUR''), (''sales'', -1, 2, ''EUR'')', null, '23514',
      'another currency'),
    (null, null, '(''cash'', ''NaN''::numeric, 1, ''USD''), (''sales'', 0, 2, ''USD'')', null, '23514',
      'NaN'),
    (null, null, '(''no'', 1, 1, ''USD''), (''sales'', -1, 2, ''USD'')', null, '23503',
      'an unknown account'),
    (null, null, '(''cash'', 1, 1, ''USD''), (''sales'', -1, 1, ''USD'')', null, '23505',
      'two in one place'),
    (null, null, '(''cash'', 1, 0, ''USD''), (''sales'', -1, 2, ''USD'')', null, '23514',
      'places count from 1'),
    (null, null, null, 'response_payload = ''x'', output_hash = repeat(''0'', 64)', '23514',
      'a hash of something else'),
    (null, null, null, 'response_payload = ''x''', '23514', 'a response without hash'),
    (null, null, null, 'description = ''y''', '23001', 'no response but another text'),
    (null, null, null, 'response_payload = ''x'', output_hash = encode(sha256(''x''), ''hex''),
      correlation_id = ''other''', '23001', 'more than the response'),
    (', adjusting_reason_code', ', ''x''', null, null, '23514', 'a reason for no adjusting entry'),
    (', is_adjusting_entry', ', true', null, null, '23514', 'an adjusting entry without reason'),
    (', entity_id', ', ''no''', null, null, '23503', 'an unknown entity'),
    (', entity_id', ', ''sub''', null, null, '23503', 'accounts of another entity'),
    (', reverses_transaction_id', ', ''no''', null, null, '23503', 'what it reverses is there'),
    (', reverses_transaction_id', ', ''by hand''', null, null, '23514', 'and something else'),
    (', occurred_on', ', ''infinity''', null, null, '23514', 'no day')
  ) as v (columns, vals, legs, answer, expected, says)
) as h;
select is(
  pg_temp.outcome(
    'do $do$ begin insert into accounting.ledger_transactions (organization_id, source_system,
      external_id, transaction_date, description, correlation_id, input_hash, recorded_by)
    values ({org}, ''hand'', ''2'', ''2026-01-01'', ''x'', ''c'', repeat(''0'', 64), ''me'');
    set constraints all immediate; end $do$'
  ), '22023', 'by hand: none without postings and response'
);
select is(
  pg_temp.outcome(
    'insert into accounting.ledger_transactions (organization_id, source_system, external_id,
      transaction_date, description, correlation_id, input_hash, recorded_by)
    values ({org}, ''test'', ''first'', ''2026-01-01'', ''x'', ''c'', repeat(''0'', 64), ''me'')'
  ), '23505', 'by hand: a key is of one transaction'
);

-- Seeded --------------------------------------------------------------------------------------------

select results_eq(
  $$select e.code::text from accounting.entities as e, scene
    where organization_id = org and entity_id = 'entity-default'$$,
  array['DEFAULT'], 'an organization is born with its default entity'
);

select * from finish();
rollback;
