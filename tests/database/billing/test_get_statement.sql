-- A month of an organization on one page.
begin;
select plan(35);

-- In Auckland March 2026 is from 28 February 11:00 to 31 March 11:00 UTC.
create temp table scene as
select o.org, tests.workflow(o.org) as workflow, tests.member(o.org, 'viewer') as viewer,
  tests.organization('Bravo') as bravo, gen_random_uuid() as stranger
from (select tests.organization('Acme', 'Pacific/Auckland') as org) as o;
grant select on scene to public;
set local timezone = 'America/Los_Angeles';

select tests.freeze_clock('2026-02-28 10:59:59.999999+00');
select billing.purchase_credits(org, 100, 'february') from scene;
select tests.freeze_clock('2026-02-28 11:00:00+00');
select tests.spend(workflow, 1.5, 'b') from scene;
create temp table run as select tests.run(org, 2.000000000001) as id from scene;
select tests.freeze_clock('2026-03-05 09:00+00');
select tests.call(id, 0.25) from run;
select tests.freeze_clock('2026-03-10 12:00+00');
select billing.grant_credits(org, 'promo', 5, 'march', '2026-04-10') from scene;
select c.id from run, billing.complete_run(run.id) as c;
select tests.spend(workflow, 3, 'a') from scene;
select tests.freeze_clock('2026-03-31 10:59:59.999+00');
select tests.spend(workflow, 0.5, 'c') from scene;
select tests.freeze_clock('2026-03-31 11:00+00');
select billing.purchase_credits(org, 7, 'april') from scene;
select tests.spend(workflow, 0.125, 'a') from scene;
-- In winter it is an hour later; a debt remains.
select tests.freeze_clock('2026-04-30 12:00+00');
select billing.close_draws(org), billing.expire_credits(org) from scene;
select billing.adjust_credits(
  org, - (select trim_scale(b.balance_usd - b.reserved_usd)
    from billing.credit_balances as b where b.org_id = org), 'all of it', 'may'
) from scene;
create temp table owing as select tests.run(org, 0) as id from scene;
select tests.call(id, 0.0625) from owing;
select c.id from owing, billing.complete_run(owing.id) as c;
create temp table statements as
select v.month, billing.get_statement(org, v.month) as page
from scene, (
  values
  (date '2026-01-15'), ('2026-02-28'), ('2026-03-01'), ('2026-04-30'), ('2026-05-01'), ('2027-01-01')
) as v (month);

-- The page -----------------------------------------------------------------------------------------

select results_eq(
  $$select array_agg(k order by k) from statements, jsonb_object_keys(page) as k
    where month = '2026-03-01'$$,
  $$values (array['closing_balance_usd', 'month', 'movements', 'opening_balance_usd', 'org_id',
    'organization', 'receivables_usd', 'time_zone', 'usage_by_day', 'usage_by_model'])$$,
  'what a statement has'
);
select results_eq(
  $$select distinct page ->> 'org_id', page ->> 'organization', page ->> 'time_zone',
      page ->> 'receivables_usd' from statements$$,
  $$select org::text, 'Acme', 'Pacific/Auckland', '0.0625' from scene$$,
  'whose it is, where, and what is owed now'
);
select results_eq(
  $$select page ->> 'month', page ->> 'opening_balance_usd', page ->> 'closing_balance_usd',
      jsonb_array_length(page -> 'movements')
    from statements order by month$$,
  $$values ('2026-01', '0', '0', 0), ('2026-02', '0', '100', 1), ('2026-03', '100', '100.25', 5),
    ('2026-04', '100.25', '107.25', 1), ('2026-05', '107.25', '0', 4), ('2027-01', '0', '0', 0)$$,
  'balances and number of movements of each month'
);
select is(
  billing.get_statement(org, '2026-03-31'), billing.get_statement(org, '2026-03-01'),
  'any day of a month is that month'
)
from scene;
select is(
  (page ->> 'opening_balance_usd')::numeric + (
    select coalesce(
      sum(case m ->> 'direction' when 'credit' then 1 else -1 end * (m ->> 'amount_usd')::numeric), 0
    )
    from jsonb_array_elements(page -> 'movements') as m
  ),
  (page ->> 'closing_balance_usd')::numeric,
  'opening balance and movements are the closing balance: ' || (page ->> 'month')
)
from statements;
select is(
  lag, opening, 'each month begins where the last ended: ' || month
)
from (
  select
    page ->> 'month' as month, page ->> 'opening_balance_usd' as opening,
    lag(page ->> 'closing_balance_usd') over (order by month) as lag
  from statements
) as s
where lag is not null;
select is(
  (page ->> 'closing_balance_usd')::numeric, b.balance_usd::numeric, 'the last is the balance'
)
from statements, scene inner join billing.credit_balances as b on b.org_id = org
where month = '2027-01-01';

-- Movements ------------------------------------------------------------------------------------------

select results_eq(
  $$select m ->> 'transaction_type', m ->> 'direction', m ->> 'amount_usd', m ->> 'reason',
      m ->> 'balance_after_usd', (m ->> 'run_id')::uuid = run.id, m ->> 'draw_id' is not null
    from run, statements, jsonb_array_elements(page -> 'movements') with ordinality as e (m, n)
    where month = '2026-03-01' order by n$$,
  $$values
    ('promo', 'credit', '5', 'promo_code_applied', '105', null::boolean, false),
    ('charge', 'debit', '2.000000000001', 'run_charge', '102.999999999999', true, false),
    ('refund', 'credit', '1.750000000001', 'token_reconciliation_overestimate', '104.75', true, false),
    ('charge', 'debit', '1.5', 'draw_charge', '103.25', null, true),
    ('charge', 'debit', '3', 'draw_charge', '100.25', null, true)$$,
  'movements in their order'
);
select results_eq(
  $$select l.id from scene inner join billing.billing_ledger as l on l.org_id = org
      inner join billing.credit_balance_history as h on h.billing_ledger_id = l.id
    order by h.movement$$,
  $$select (m ->> 'id')::uuid
    from statements, jsonb_array_elements(page -> 'movements') with ordinality as e (m, n)
    order by month, n$$,
  'each is in one month'
);

-- Usage, added anew from the ledger -------------------------------------------------------------------

select results_eq(
  format(
    $$select m ->> 'model', (m ->> 'requests')::bigint, (m ->> 'prompt_tokens')::bigint,
        (m ->> 'completion_tokens')::bigint, (m ->> 'cost_usd')::numeric
      from statements, jsonb_array_elements(page -> 'usage_by_model') with ordinality as e (m, n)
      where month = %L order by n$$, v.month
  ),
  format(
    $$select model::text, count(*), sum(prompt_tokens)::bigint, sum(completion_tokens)::bigint, sum(cost)
      from scene inner join public.ai_usage_ledger on organization_id = org
      where date_trunc('month', created_at at time zone 'Pacific/Auckland')
        = date_trunc('month', %L::timestamp)
      group by model order by sum(cost) desc$$, v.month
  ),
  'usage by model is that of the ledger: ' || v.month
)
from (values ('2026-03-01'), ('2026-04-30'), ('2026-05-01')) as v (month);
select results_eq(
  $$select (m ->> 'day')::date, (m ->> 'cost_usd')::numeric
    from statements, jsonb_array_elements(page -> 'usage_by_day') with ordinality as e (m, n)
    where month = '2026-03-01' order by n$$,
  $$select (created_at at time zone 'Pacific/Auckland')::date as day, sum(cost)
    from scene inner join public.ai_usage_ledger on organization_id = org
    where created_at >= '2026-02-28 11:00+00' and created_at < '2026-03-31 11:00+00'
    group by 1 order by 1$$,
  'and usage by day'
);
select is(
  page ->> v.name, '[]', v.name || ' of a month without any'
)
from statements, (values ('movements'), ('usage_by_model'), ('usage_by_day')) as v (name)
where month = '2026-01-15';

-- The organization without credits, and refusals ------------------------------------------------------

select is(
  billing.get_statement(bravo, '2026-03-01') - 'org_id',
  '{"organization": "Bravo", "time_zone": "UTC", "month": "2026-03", "opening_balance_usd": "0",
    "closing_balance_usd": "0", "receivables_usd": "0", "movements": [], "usage_by_model": [],
    "usage_by_day": []}'::jsonb,
  'without credits there is nothing on it'
)
from scene;
select is(
  tests.facts_of(format('select billing.get_statement(org, %L) from scene', v.month)) ->> 'argument',
  'p_month', v.description
)
from (
  values (null, 'no month'), ('infinity', 'a month without end'), ('1999-12-31', 'long ago'),
  ('9999-12-01', 'the end of time')
) as v (month, description);
select throws_ok(
  $$select billing.get_statement(null, '2026-03-01')$$, '22023', null, 'no organization'
);
select throws_ok(
  $$select billing.get_statement(gen_random_uuid(), '2026-03-01')$$, 'TS404', null,
  'an unknown organization'
);
grant select on statements to public;
select tests.act_as('authenticated', viewer) from scene;
select is(
  billing.get_statement(org, '2026-03-01') ->> 'closing_balance_usd',
  page ->> 'closing_balance_usd', 'a viewer reads it'
)
from scene, statements where month = '2026-03-01';
select tests.act_as('authenticated', stranger) from scene;
select throws_ok(
  $$select billing.get_statement(org, '2026-03-01') from scene$$, '42501', null, 'a stranger does not'
);
reset role;

select is_empty($$select * from audit.verify_integrity()$$, 'the books agree');
select * from finish();
rollback;
