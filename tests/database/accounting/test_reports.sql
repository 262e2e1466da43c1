-- What the books say, recomputed from the rows.
begin;
select plan(26);

create temporary table scene as select tests.organization() as org;
select tests.chart(org) from scene;
select (accounting.set_entity(org, 'SUB', 'Subsidiary', p_entity_id => 'sub')).entity_id from scene;
select (
  accounting.set_account(
    org, v.code, v.id, v.type, p_entity_id => 'sub', p_account_id => v.id
  )
).account_id
from scene
cross join (values ('S1', 'sub-cash', 'asset'), ('S4', 'sub-sales', 'income')) as v (code, id, type);
select tests.post(org, p.id, p.amount, p.day, p.debit, p.credit, p.more) ->> 'status'
from scene cross join (
  values
  ('capital', 1000, '2025-12-31'::date, 'bank', 'capital', '{}'::jsonb),
  ('loan', 500, '2026-01-01', 'bank', 'loan', '{}'),
  ('sale', 250.1234, '2026-01-15', 'cash', 'sales', '{}'),
  ('refund', -50, '2026-01-31', 'cash', 'sales', '{}'),
  ('rent', 100, '2026-01-31', 'rent', 'bank', '{}'),
  ('later', 30, '2026-02-01', 'cash', 'sales', '{}'),
  ('sub', 7, '2026-01-31', 'sub-cash', 'sub-sales', '{"entity_id": "sub"}')
) as p (id, amount, day, debit, credit, more);

-- Trial balance -------------------------------------------------------------------------------------

select results_eq(
  $$select code, account_type, parent_account_id, opening_balance, debits, credits, closing_balance
    from scene, accounting.trial_balance(org, '2026-01-01', '2026-01-31')$$,
  $$values
    ('1000', 'asset', null::text, '0.0000', '250.1234', '50.0000', '200.1234'),
    ('1010', 'asset', 'cash', '1000.0000', '500.0000', '100.0000', '1400.0000'),
    ('2000', 'liability', null, '0.0000', '0.0000', '500.0000', '-500.0000'),
    ('3000', 'equity', null, '-1000.0000', '0.0000', '0.0000', '-1000.0000'),
    ('4000', 'income', null, '0.0000', '50.0000', '250.1234', '-200.1234'),
    ('5000', 'expense', null, '0.0000', '100.0000', '0.0000', '100.0000'),
    ('S1', 'asset', null, '0.0000', '7.0000', '0.0000', '7.0000'),
    ('S4', 'income', null, '0.0000', '0.0000', '7.0000', '-7.0000')$$,
  'every account over a month, of all entities'
);
select results_eq(
  format(
    $$select sum(opening_balance::numeric), sum(debits::numeric) - sum(credits::numeric),
        sum(closing_balance::numeric)
      from scene, accounting.trial_balance(org, %L, %L, %L)$$, t.from_day, t.to_day, t.entity
  ),
  $$values (0.0000, 0.0000, 0.0000)$$, t.says
)
from (
  values
  (null::date, null::date, null, 'a trial balance balances'),
  ('2026-01-01', '2026-01-31', null, 'over a span'),
  ('2026-01-01', '2026-01-31', 'entity-default', 'and by entity'),
  ('2026-01-01', '2026-01-31', 'sub', 'and by the other')
) as t (from_day, to_day, entity, says);
select results_eq(
  $$select b.account_id, b.closing_balance::numeric from scene, accounting.trial_balance(org) as b
    order by 1$$,
  $$select a.account_id::text, coalesce(sum(p.amount), 0)
    from accounting.accounts as a
    left join accounting.ledger_postings as p using (organization_id, account_id)
    group by 1 order by 1$$,
  'its balances are the sums of the postings'
);
select results_eq(
  $$select account_id from scene, accounting.trial_balance(org, p_entity_id => 'sub')$$,
  array['sub-cash', 'sub-sales'], 'an entity has its own accounts'
);

-- Account ledger ------------------------------------------------------------------------------------

select results_eq(
  $$select external_id, amount, running_balance from scene, accounting.account_ledger(org, 'bank')$$,
  $$values
    ('capital', '1000.0000', '1000.0000'), ('loan', '500.0000', '1500.0000'),
    ('rent', '-100.0000', '1400.0000')$$,
  'an account by day with its running balance'
);
select results_eq(
  $$select transaction_date, amount, running_balance
    from scene, accounting.account_ledger(org, 'cash', '2026-01-31', '2026-01-31')$$,
  $$values ('2026-01-31'::date, '-50.0000', '200.1234')$$,
  'which counts what was before the span'
);
select is_empty(
  $$select from scene, accounting.account_ledger(org, 'sub-cash', '2026-02-01')$$, 'nothing'
);

-- Balance as of a day -------------------------------------------------------------------------------

select is(accounting.balance_as_of(org, b.account, b.day, b.parts), b.balance, b.says)
from scene cross join (
  values
  ('bank', null::date, false, 1400::numeric, 'today'),
  ('bank', '2025-12-31', false, 1000, 'at the end of a day'),
  ('bank', '2025-12-30', false, 0, 'before anything'),
  ('cash', '2026-01-31', false, 200.1234, 'alone'),
  ('cash', '2026-01-31', true, 1600.1234, 'with its parts'),
  ('sub-cash', null, true, 7, 'of another entity')
) as b (account, day, parts, balance, says);

-- Statements ----------------------------------------------------------------------------------------

select results_eq(
  $$select section, code, name, amount
    from scene, accounting.income_statement(org, '2026-01-01', '2026-01-31', 'entity-default')$$,
  $$values
    ('income', '4000', 'Sales', '200.1234'), ('income', null, 'Total income', '200.1234'),
    ('expense', '5000', 'Rent', '100.0000'), ('expense', null, 'Total expenses', '100.0000'),
    ('net_income', null, 'Net income', '100.1234')$$,
  'income and expenses of an entity'
);
select results_eq(
  $$select name, amount from scene, accounting.income_statement(org, '2026-01-01', '2026-01-31')
    where account_id is null$$,
  $$values
    ('Total income', '207.1234'), ('Total expenses', '100.0000'), ('Net income', '107.1234')$$,
  'and of all'
);
select results_eq(
  $$select section, code, name, amount
    from scene, accounting.balance_sheet(org, '2026-01-31', 'entity-default')$$,
  $$values
    ('asset', '1000', 'Cash', '200.1234'), ('asset', '1010', 'Bank', '1400.0000'),
    ('asset', null, 'Total assets', '1600.1234'),
    ('liability', '2000', 'Loan', '500.0000'), ('liability', null, 'Total liabilities', '500.0000'),
    ('equity', '3000', 'Capital', '1000.0000'), ('equity', null, 'Earnings to date', '100.1234'),
    ('equity', null, 'Total equity', '1100.1234'),
    ('liability_and_equity', null, 'Total liabilities and equity', '1600.1234')$$,
  'assets are liabilities and equity'
);
select results_eq(
  $$select amount from scene, accounting.balance_sheet(org)
    where name in ('Total assets', 'Total liabilities and equity')$$,
  array['1637.1234', '1637.1234'], 'of all entities today'
);

-- Refused -------------------------------------------------------------------------------------------

select throws_ok(r.statement, r.code, null, r.statement)
from scene cross join lateral (
  values
  (format('select accounting.trial_balance(%L)', gen_random_uuid()), 'TS404'),
  (format('select accounting.income_statement(%L, p_entity_id => ''no'')', org), 'TS404'),
  (format('select accounting.balance_sheet(%L, p_entity_id => ''no'')', org), 'TS404'),
  (format('select accounting.account_ledger(%L, ''no'')', org), 'TS404'),
  (format('select accounting.balance_as_of(%L, ''no'')', org), 'TS404'),
  ('select accounting.trial_balance(null)', '22023')
) as r (statement, code);

select * from finish();
rollback;
