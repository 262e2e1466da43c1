-- What each movement of credits posts.
begin;
select plan(43);

select tests.freeze_clock('2026-03-10 12:00+00');

-- What an organization's transactions of the system say, in the order of movements: debits first.
create function pg_temp.posted(p_organization_id uuid)
returns setof text
language sql
as $$
  select
    t.description || ': ' || string_agg(
      case when p.amount > 0 then 'Dr ' else 'Cr ' end || p.memo || ' '
      || trim_scale(abs(p.amount::numeric))::text,
      ', ' order by p.position
    )
  from accounting.ledger_transactions as t
  inner join accounting.ledger_postings as p using (organization_id, transaction_id)
  left join billing.credit_balance_history as h
    on h.org_id = t.organization_id and t.external_id = 'billing:' || h.billing_ledger_id
  where t.organization_id = p_organization_id and t.source_system = 'tallystick'
  group by t.transaction_id, t.description, h.movement
  order by h.movement nulls last, t.description
$$;
-- A line of the books, above 0 debit.
create function pg_temp.line(p_organization_id uuid, p_line text)
returns numeric
language sql
as $$
  select coalesce(sum(p.amount), 0)
  from accounting.ledger_postings as p
  where p.organization_id = p_organization_id and p.memo = p_line
$$;
create function pg_temp.carry(p_organization_id uuid, p_debit_line text, p_credit_line text)
returns numeric
language sql
as $$
  select carry_usd::numeric
  from accounting.rounding_carries
  where organization_id = p_organization_id
    and debit_line = p_debit_line and credit_line = p_credit_line
$$;
create function pg_temp.findings(p_organization_id uuid)
returns setof text
language sql
as $$
  select check_name || ' ' || subject from audit.verify_integrity(p_organization_id)
$$;

-- Purchases and runs --------------------------------------------------------------------------------

create temporary table scene as select tests.organization('Paid') as org;
select is_empty('select from scene, pg_temp.posted(org)', 'nothing moved, nothing is posted');
select is_empty(
  $$select from scene, accounting.get_account_map(org) as m where m.account_id is not null$$,
  'and no line has an account'
);
select tests.buy(org, 10) from scene;
create temporary table runs as select tests.run(org, 3) as run from scene;
select is(
  (select count(*) from scene, pg_temp.posted(org)), 1::bigint, 'a reservation is no movement'
);
select tests.call(run, 1) from runs;
select is(
  (select count(*) from scene, pg_temp.posted(org)), 1::bigint, 'nor is a call'
);
select billing.reconcile_run(run) from runs;
select results_eq(
  'select p from scene, pg_temp.posted(org) as p',
  array[
    'credit_purchase: Dr cash 10, Cr customer_credits 10',
    'run_charge: Dr customer_credits 3, Cr revenue 3',
    'token_reconciliation_overestimate: Dr revenue 2, Cr customer_credits 2'
  ],
  'a purchase, the charge of the estimate, the refund of the excess'
);
select results_eq(
  $$select t.source_system::text, t.external_id::text, t.correlation_id::text, t.transaction_date,
      t.occurred_on, t.recorded_by::text, t.entity_id::text
    from scene
    inner join accounting.ledger_transactions as t on t.organization_id = org
    where t.description = 'run_charge'$$,
  $$select 'tallystick', 'billing:' || l.id, run::text, '2026-03-10'::date, null::date, 'system',
      'entity-default'
    from runs inner join billing.billing_ledger as l on l.run_id = run
    where l.reason = 'run_charge'$$,
  'a bundle names its movement and its run'
);
select results_eq(
  $$select m.line, m.account_id, m.code, m.account_type
    from scene, accounting.get_account_map(org) as m$$,
  $$values
    ('cash', 'billing:cash', 'billing:cash', 'asset'),
    ('receivable', 'billing:receivable', 'billing:receivable', 'asset'),
    ('customer_credits', 'billing:customer_credits', 'billing:customer_credits', 'liability'),
    ('accounts_payable', 'billing:accounts_payable', 'billing:accounts_payable', 'liability'),
    ('revenue', 'billing:revenue', 'billing:revenue', 'income'),
    ('late_usage', 'billing:late_usage', 'billing:late_usage', 'income'),
    ('breakage', 'billing:breakage', 'billing:breakage', 'income'),
    ('promo_expense', 'billing:promo_expense', 'billing:promo_expense', 'expense'),
    ('adjustment', 'billing:adjustment', 'billing:adjustment', 'expense'),
    ('provider_cost', 'billing:provider_cost', 'billing:provider_cost', 'expense')$$,
  'the first posting gives every line an account'
);

-- Promo and trial credits ---------------------------------------------------------------------------

create temporary table given as select tests.organization('Given') as org;
select (billing.grant_credits(org, 'promo', 2, 'promo')).reason from given;
select (billing.grant_credits(org, 'trial', 1, 'trial', '2026-03-11')).reason from given;
select is_empty('select from given, pg_temp.posted(org)', 'credits that are given are not booked');
select tests.buy(org, 10) from given;
create temporary table given_runs as select tests.run(org, 5) as run from given;
select tests.call(run, 0.5) from given_runs;
select billing.reconcile_run(run) from given_runs;
select results_eq(
  'select p from given, pg_temp.posted(org) as p',
  array[
    'credit_purchase: Dr cash 10, Cr customer_credits 10',
    'run_charge: Dr promo_expense 3, Dr customer_credits 2, Cr revenue 5',
    'token_reconciliation_overestimate: Dr revenue 4.5, Cr customer_credits 2, Cr promo_expense 2.5'
  ],
  'using them costs what they pay for; a refund goes back to where it came from'
);
select tests.freeze_clock('2026-03-12 12:00+00');
select billing.expire_credits(org) from given;
select is(
  (select count(*) from given, tests.movements(org) as m where m like '%expired'), 1::bigint,
  'a trial expires'
);
select is(
  (select count(*) from given, pg_temp.posted(org)), 3::bigint, 'which is not booked either'
);
select is(
  (select pg_temp.line(org, 'promo_expense') from given), 0.5, 'it cost what was used of it'
);

-- Receivables ---------------------------------------------------------------------------------------

create temporary table owing as select tests.organization('Owing') as org;
select tests.buy(org, 1) from owing;
create temporary table owing_runs as select tests.run(org, 1) as run from owing;
select tests.call(run, 4) from owing_runs;
select billing.reconcile_run(run) from owing_runs;
select results_eq(
  'select p from owing, pg_temp.posted(org) as p',
  array[
    'credit_purchase: Dr cash 1, Cr customer_credits 1',
    'run_charge: Dr customer_credits 1, Cr revenue 1',
    'token_reconciliation_underestimate: Dr receivable 3, Cr revenue 3'
  ],
  'what credits do not cover is owed, and earned'
);
select (billing.grant_credits(org, 'promo', 0.25, 'promo')).reason from owing;
select tests.buy(org, 1) from owing;
select results_eq(
  'select p from owing, pg_temp.posted(org) as p offset 2 limit 2',
  array[
    'credit_purchase: Dr cash 1, Cr customer_credits 1',
    'receivable_collected: Dr customer_credits 1, Dr promo_expense 0.25, Cr receivable 1.25'
  ],
  'it is collected from what there is: nothing more is earned'
);
select (billing.dispute_reconciliation(run)).status from owing_runs;
select (billing.resolve_dispute(run, 2)).status from owing_runs;
select set_eq(
  $$select p from owing, pg_temp.posted(org) as p
    where p like '%waived%' or p like '%dispute%'$$,
  array[
    'receivable_waived: Dr revenue 1.75, Cr receivable 1.75',
    'user_dispute_resolution: Dr revenue 0.25, Cr customer_credits 0.25'
  ],
  'what a dispute waives and refunds is not earned'
);
select is((select pg_temp.line(org, 'receivable') from owing), 0.0, 'nothing is owed any more');
select is((select pg_temp.line(org, 'revenue') from owing), -2.0, 'and 2 of 4 are earned');

-- Late usage, adjustments, expiry -------------------------------------------------------------------

create temporary table odd as select tests.organization('Odd') as org;
select tests.buy(org, 1) from odd;
create temporary table odd_runs as select tests.run(org, 0.5) as run from odd;
select billing.cancel_run(run) is not null from odd_runs;
select tests.call(run, 0.75) from odd_runs;
select tests.call(run, 0.75) from odd_runs;
select set_eq(
  $$select p from odd, pg_temp.posted(org) as p where p like 'late%'$$,
  array[
    'late_usage: Dr customer_credits 0.75, Cr late_usage 0.75',
    'late_usage: Dr customer_credits 0.25, Cr late_usage 0.25',
    'late_usage: Dr receivable 0.5, Cr revenue 0.5'
  ],
  'late usage has a line of its own, but for what is owed, which is revenue like all of it'
);
select (billing.adjust_credits(org, 3, 'late_usage', 'given')).reason from odd;
select (billing.adjust_credits(org, -1, 'credit_expired', 'taken')).reason from odd;
select results_eq(
  $$select p from odd, pg_temp.posted(org) as p where p like '%adjustment%'$$,
  array[
    'late_usage: Dr adjustment 3, Cr customer_credits 3',
    'credit_expired: Dr customer_credits 1, Cr adjustment 1'
  ],
  'an adjustment is one, whatever reason an operator states'
);
select (billing.purchase_credits(org, 5, 'short', '2026-03-13')).reason from odd;
select tests.freeze_clock('2026-03-14 12:00+00');
select billing.expire_credits(org) from odd;
select results_eq(
  $$select p from odd, pg_temp.posted(org) as p where p like '%breakage%'$$,
  array['credit_expired: Dr customer_credits 4.5, Cr breakage 4.5'],
  'what was paid and expires is breakage'
);
create temporary table promo as select tests.organization('Promo') as org;
select (billing.grant_credits(org, 'promo', 2, 'promo')).reason from promo;
select (billing.adjust_credits(org, -2, 'fraud', 'taken')).reason from promo;
select is_empty(
  'select from promo, pg_temp.posted(org)', 'promo credits that are taken back were never booked'
);

-- Rounding ------------------------------------------------------------------------------------------

create temporary table small as select tests.organization('Small') as org;
select tests.buy(org, 1) from small;
create temporary table small_runs as select tests.run(org, 0.00001) as run from small;
select tests.call(run, 0.00001) from small_runs;
select billing.reconcile_run(run) from small_runs;
select is((select count(*) from small, pg_temp.posted(org)), 1::bigint, 'nothing posts nothing');
select is(
  (select pg_temp.carry(org, 'customer_credits', 'revenue') from small), 0.00001,
  'it is carried'
);
select count(tests.call(run, 0.00004)) from small_runs, generate_series(1, 250);
select is((select pg_temp.line(org, 'late_usage') from small), -0.01, 'small ones add up');
select is(
  (select pg_temp.carry(org, 'customer_credits', 'late_usage') from small), 0.0,
  'to the last digit'
);
select is(
  (select count(*) from small, pg_temp.posted(org) as p where p like 'late%'), 100::bigint,
  'two of five round to one of the last decimal'
);
create temporary table many as select tests.organization('Many') as org;
select is(
  (
    select sum(f.amount_usd)
    from many
    cross join generate_series(1, 10000) as n
    cross join lateral unnest(private.round_flows(
      org, array[row('customer_credits', 'revenue', 0.00004 + 0 * n)::private.flow]
    )) as f
  ), 0.4000, 'ten thousand charges of 0.00004 are 0.4000 in the books'
);
select is(
  (select pg_temp.carry(org, 'customer_credits', 'revenue') from many), 0.0,
  'and nothing is carried'
);
select results_eq(
  $$select private.split_total(v.amounts)
    from (
      values (array[0.00005]), (array[0.00015]), (array[-0.00005]), (array[-0.00015]),
      (array[0.00003, 0.00003]), (array[0.00005, 0.00005, 0.00005]), (array[-0.00006, 0.00006]),
      (array[1.00004, -0.00008]), (array[0])
    ) as v (amounts)$$,
  $$values (array[0.0000]), (array[0.0002]), (array[0.0000]), (array[-0.0002]),
    (array[0.0001, 0.0000]), (array[0.0001, 0.0001, 0.0000]), (array[-0.0001, 0.0001]),
    (array[1.0001, -0.0001]), (array[0.0000])$$,
  'a total is rounded half even, and its parts come to it'
);
create temporary table split as select tests.organization('Split') as org;
select tests.buy(org, 10) from split;
select (billing.grant_credits(org, 'promo', 0.00006, 'promo')).reason from split;
create temporary table split_runs as select tests.run(org, 0.00012) as run from split;
select tests.call(run, 0.00012) from split_runs;
select billing.reconcile_run(run) from split_runs;
select results_eq(
  $$select p from split, pg_temp.posted(org) as p where p like 'run%'$$,
  array['run_charge: Dr promo_expense 0.0001, Cr revenue 0.0001'],
  'of two parts one takes what the total rounds to'
);
select results_eq(
  $$select debit_line, carry_usd::numeric from split
    inner join accounting.rounding_carries on organization_id = org
    where credit_line = 'revenue' order by debit_line$$,
  $$values ('customer_credits', 0.00006), ('promo_expense', -0.00004)$$, 'the other carries its own'
);

-- Everywhere ----------------------------------------------------------------------------------------

set constraints all immediate;
select is_empty(
  $$select o.org, f
    from (
      select org from scene union all select org from given union all select org from owing
      union all select org from promo union all select org from small union all select org from split
    ) as o, pg_temp.findings(o.org) as f$$,
  'books and carries are the ledger'
);
select is_empty(
  $$select organization_id from accounting.ledger_postings
    group by organization_id, entity_id having sum(amount) <> 0$$,
  'the books are in balance'
);
select is(
  (
    select -pg_temp.line(org, 'revenue')
    from owing
  ),
  (
    select
      sum(case l.transaction_type when 'charge' then l.amount_usd else -l.amount_usd end)
      + (select sum(r.outstanding_usd) from billing.receivables as r where r.org_id = org)
    from owing
    inner join billing.billing_ledger as l on l.org_id = org
    where l.transaction_type in ('charge', 'refund')
    group by org
  ),
  'revenue is charges less refunds, and what is owed'
);

-- Days and months -----------------------------------------------------------------------------------

create temporary table east as select tests.organization('East', 'Pacific/Auckland') as org;
select tests.buy(org, 10) from east;
select is(
  (
    select transaction_date
    from east inner join accounting.ledger_transactions on organization_id = org
  ), '2026-03-15'::date, 'a day is that of the organization'
);
select tests.freeze_clock('2026-04-14 12:00+00');
select (accounting.lock_period(org, '2026-04', 'c')).period_status from east;
select is(tests.buy(org, 1) is not null, true, 'a closed month stops no purchase') from east;
select results_eq(
  $$select t.transaction_date, t.occurred_on
    from east inner join accounting.ledger_transactions as t on t.organization_id = org
    order by t.recorded_at desc, t.transaction_date desc limit 1$$,
  $$values ('2026-05-01'::date, '2026-04-15'::date)$$,
  'it is booked in the next that is open, and says when it was'
);

-- History -------------------------------------------------------------------------------------------

create temporary table old as select tests.organization('Old') as org;
-- As it was before the books were kept.
create function pg_temp.without_books(p_do text) returns void language plpgsql as $$
begin
  create or replace function private.post_billing(
    p_organization_id uuid, p_source_id uuid, p_external_id text
  ) returns void language sql as 'select';
  execute p_do;
end
$$;
create temporary table kept as
select pg_get_functiondef('private.post_billing(uuid, uuid, text)'::regprocedure) as source;
select pg_temp.without_books($$select tests.bill(org) from old$$);
select is_empty('select from old, pg_temp.posted(org)', 'an organization without books');
do $$ begin execute (select source from kept); end $$;
select isnt_empty('select from old, pg_temp.findings(org)', 'which is found');
select is(
  (select accounting.post_history(org) from old),
  (
    select (
      select count(*) from billing.billing_ledger as l
      where l.org_id = org and l.transaction_type not in ('promo', 'trial')
    ) + (select count(*) from billing.receivables as r where r.org_id = org)
    from old
  )::integer,
  'gets them'
);
select is((select accounting.post_history(org) from old), 0, 'once');
select is_empty('select from old, pg_temp.findings(org)', 'and nothing is wrong with them');
select throws_ok(
  $$select accounting.post_history('00000000-0000-4000-8000-000000000000')$$, 'TS404', null,
  'nobody has an unknown history'
);

select * from finish();
rollback;
