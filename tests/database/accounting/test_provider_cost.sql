-- post_provider_cost: what providers ask for usage, by the day.
begin;
select plan(29);

select tests.freeze_clock('2026-03-10 12:00+00');
create temporary table scene as select tests.organization('Acme', 'America/New_York') as org;
create temporary table work as select tests.workflow(org) as workflow from scene;
create function pg_temp.spend(p_cost numeric) returns void language sql as $$
  select tests.spend(workflow, p_cost) from work
$$;
create temporary view posted as
select
  t.transaction_date, t.occurred_on, t.external_id::text, t.description,
  (p.amount)::numeric as amount
from accounting.ledger_transactions as t
inner join accounting.ledger_postings as p using (organization_id, transaction_id)
where p.memo = 'provider_cost'
order by t.recorded_at, t.external_id;
create function pg_temp.post(p_day date default null) returns integer language sql as $$
  select accounting.post_provider_cost(org, p_day) from scene
$$;

-- A day ---------------------------------------------------------------------------------------------

select is(pg_temp.post(), 0, 'without usage there is nothing to post');
select pg_temp.spend(1.00003);
select pg_temp.spend(0.5);
select is(pg_temp.post(), 0, 'nor before the day is over');
select throws_ok(
  $$select pg_temp.post('2026-03-10')$$, '22023', null, 'which is not posted by its name either'
);
-- 22:00 of the 10th in New York.
select tests.freeze_clock('2026-03-11 02:00+00');
select pg_temp.spend(2);
select is(pg_temp.post(), 0, 'it is over where the organization is');
select tests.freeze_clock('2026-03-11 12:00+00');
select pg_temp.spend(4);
select is(pg_temp.post(), 1, 'a day that is over');
select results_eq(
  'select * from posted',
  $$values ('2026-03-10'::date, null::date, 'provider-cost:2026-03-10', 'provider_cost', 3.5)$$,
  'is posted at its date'
);
select results_eq(
  $$select day, usage_usd::numeric, cost_usd::numeric, posting_count from accounting.provider_cost_days$$,
  $$values ('2026-03-10'::date, 3.50003, 3.50003, 1)$$, 'and remembered exactly'
);
select is(pg_temp.post(), 0, 'once');
select is(pg_temp.post('2026-03-10'), 0, 'also by its name');
select is(
  (select amount::numeric from accounting.ledger_postings where memo = 'accounts_payable'), -3.5,
  'it is owed'
);
select is(
  (select count(*) from billing.credit_balances), 0::bigint,
  'an organization need not pay in advance for that'
);

-- What lands later ----------------------------------------------------------------------------------

create temporary table holds as
select h.hold_id from scene, authorize_spend(org, 'm', 1, p_expires_in => '1 day') as h;
select tests.freeze_clock('2026-03-12 12:00+00');
select is(pg_temp.post(), 1, 'the next day');
select tests.freeze_clock('2026-03-14 12:00+00');
select is((settle_spend(hold_id, null, 0.25)).cost::numeric, 0.25, 'a call that was under way')
from holds;
select is(pg_temp.post(), 1, 'is posted when it has landed');
select results_eq(
  'select * from posted offset 1',
  $$values
    ('2026-03-11'::date, null::date, 'provider-cost:2026-03-11', 'provider_cost', 4.0),
    ('2026-03-14'::date, '2026-03-11'::date, 'provider-cost:2026-03-11:1', 'late_provider_cost',
      0.25)$$,
  'on the day that is, with its own beside it'
);
select is(pg_temp.post(), 0, 'once');

-- Wherever the session is
select pg_temp.spend(0.75);
set local datestyle = 'German';
set local timezone = 'Pacific/Auckland';
select tests.freeze_clock('2026-03-15 12:00+00');
select is(pg_temp.post(), 1, 'a day has the same key in any style of dates');
reset datestyle;
reset timezone;
select results_eq(
  $$select t.external_id::text, t.correlation_id::text from accounting.ledger_transactions as t
    where t.transaction_date = '2026-03-14' and t.external_id not like '%:1'$$,
  $$values ('provider-cost:2026-03-14', 'provider-cost:2026-03-14')$$, 'of its number'
);

-- Closed months -------------------------------------------------------------------------------------

select pg_temp.spend(1);
select tests.freeze_clock('2026-04-02 12:00+00');
select (accounting.close_period(org, '2026-03', 'c')).period_status from scene;
select is(pg_temp.post(), 1, 'a day of a closed month');
select results_eq(
  $$select transaction_date, occurred_on from posted where external_id = 'provider-cost:2026-03-15'$$,
  $$values ('2026-04-01'::date, '2026-03-15'::date)$$, 'goes to the next that is open'
);

-- Markups -------------------------------------------------------------------------------------------

select tests.price('gpt-4o');
select (pricing.set_markup(org, 25)).percent from scene;
create temporary table priced as
select u.* from scene
cross join lateral settle_spend(
  (
    authorize_spend(org, 'gpt-4o', p_input_tokens => 1000, p_max_output_tokens => 1000)
  ).hold_id, '{"input_tokens": 1000, "output_tokens": 500}'
) as u;
select pg_temp.spend(3);
select isnt((select markup_id from priced), null, 'usage with a markup');
select is(
  (select private.provider_cost(l) from public.ai_usage_ledger as l inner join priced using (id)),
  (select cost / 1.25 from priced), 'costs its provider''s price'
);
select tests.freeze_clock('2026-04-03 12:00+00');
select is(pg_temp.post('2026-04-02'), 1, 'that is posted');
select is(
  (select cost_usd::numeric from accounting.provider_cost_days where day = '2026-04-02'),
  (select 3 + cost / 1.25 from priced), 'beside what was stated'
);

-- Of all --------------------------------------------------------------------------------------------

create temporary table others as
select tests.organization('Other') as org from generate_series(1, 2);
select tests.spend(tests.workflow(org), 1) from others;
select tests.freeze_clock('2026-04-05 12:00+00');
select private.maintain();
select results_eq(
  $$select t.transaction_date, count(*), sum(p.amount)::numeric
    from accounting.ledger_transactions as t
    inner join accounting.ledger_postings as p using (organization_id, transaction_id)
    inner join others on org = t.organization_id
    where p.memo = 'provider_cost' group by t.transaction_date$$,
  $$values ('2026-04-03'::date, 2::bigint, 2.0)$$, 'maintenance posts for everybody'
);
select is(accounting.post_provider_cost(), 0, 'once');
select is(
  accounting.post_provider_cost(p_day => '2026-04-05'), 0, 'where the day is over'
);
select throws_ok(
  $$select accounting.post_provider_cost('00000000-0000-4000-8000-000000000000')$$, 'TS404', null,
  'an unknown organization is told'
);
set constraints all immediate;
select is_empty('select f.* from audit.verify_integrity() as f', 'usage and books agree');

select * from finish();
rollback;
