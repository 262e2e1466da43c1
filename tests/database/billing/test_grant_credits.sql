-- Credits that nobody paid for: promotions and trials.
begin;
select plan(53);

select tests.freeze_clock('2026-03-10 12:00+00');
create temp table scene as
select tests.organization('Acme') as org, tests.organization('Bravo') as bravo;
select tests.price('m');
select (pricing.set_model_name('acme', 'm-latest', 'm')).model;

select results_eq(
  $$select m.org_id, transaction_type, amount_usd::numeric, direction, run_id, draw_id,
      reason::text, idempotency_key::text, created_by::text, created_at
    from scene, billing.grant_credits(org, 'promo', 1.000000000001, 'spring') as m$$,
  $$select org, 'promo', 1.000000000001, 'credit', null::uuid, null::uuid, 'promo_code_applied',
      'spring', 'system', '2026-03-10 12:00+00'::timestamptz from scene$$,
  'a promotion returns its movement'
);
create temp table first as
select l.* from scene inner join billing.billing_ledger as l on l.org_id = org;
select ok(b.prepaid_since is not null, 'and makes the organization pay in advance')
from scene inner join metering.budgets as b on b.id = org;
select results_eq(
  $$select transaction_type, reason::text, created_by::text
    from scene, billing.grant_credits(org, 'trial', 2, 'trial', p_created_by => 'support')$$,
  $$values ('trial', 'trial_credit_granted', 'support')$$, 'so does a trial'
);
select m.id from scene, billing.grant_credits(org, 'promo', 3, 'urgent', '2026-04-01', 0) as m;
select m.id from scene, billing.grant_credits(org, 'trial', 4, 'idle', p_priority => 1000) as m;
select m.id from scene, billing.grant_credits(org, 'promo', 5, 'model', p_model => 'm') as m;
select m.id from scene, billing.grant_credits(org, 'promo', 6, 'alias', p_model => 'm-latest') as m;
select m.id from scene, billing.grant_credits(org, 'promo', 7, 'unlisted', p_model => 'M/own') as m;
select results_eq(
  $$select kind, amount_usd::numeric, remaining_usd::numeric, priority::integer, model::text,
      expires_at
    from scene inner join billing.credit_grants on org_id = org order by amount_usd$$,
  $$values
    ('promo', 1.000000000001, 1.000000000001, 20, null, null::timestamptz),
    ('trial', 2, 2, 10, null, null),
    ('promo', 3, 3, 0, null, '2026-04-01'),
    ('trial', 4, 4, 1000, null, null),
    ('promo', 5, 5, 20, 'm', null),
    ('promo', 6, 6, 20, 'm', null),
    ('promo', 7, 7, 20, 'M/own', null)$$,
  'each is a grant: a trial before a promotion, if nothing else is said, a model by its listed name'
);
select results_eq(
  $$select h.movement, h.balance_before_usd::numeric, h.balance_after_usd::numeric, h.reason::text
    from scene inner join billing.credit_balance_history as h on h.org_id = org
    order by h.movement$$,
  $$values
    (1::bigint, 0.0, 1.000000000001, 'promo_code_applied'),
    (2, 1.000000000001, 3.000000000001, 'trial_credit_granted'),
    (3, 3.000000000001, 6.000000000001, 'promo_code_applied'),
    (4, 6.000000000001, 10.000000000001, 'trial_credit_granted'),
    (5, 10.000000000001, 15.000000000001, 'promo_code_applied'),
    (6, 15.000000000001, 21.000000000001, 'promo_code_applied'),
    (7, 21.000000000001, 28.000000000001, 'promo_code_applied')$$,
  'history is numbered and chained'
);

-- The same key, and refusals -----------------------------------------------------------------

create temp view everything as
select
  (select jsonb_agg(to_jsonb(l) order by l.org_id, l.id) from billing.billing_ledger as l) as ledger,
  (select jsonb_agg(to_jsonb(h) order by h.org_id, h.id)
    from billing.credit_balance_history as h) as history,
  (select jsonb_agg(to_jsonb(g) order by g.org_id, g.id) from billing.credit_grants as g) as grants,
  (select jsonb_agg(to_jsonb(b) order by b.org_id) from billing.credit_balances as b) as balances,
  (select count(*) from audit.event_log) as events;
create temp table before as select * from everything;
select results_eq(
  format('select m.* from scene, billing.grant_credits(%s) as m', v.arguments),
  'table first', v.description
)
from (
  values
  ($$org, 'promo', 1.000000000001, 'spring'$$, 'the same key is the same movement'),
  ($$org, 'promo', 1.0000000000010, 'spring', p_created_by => 'support'$$, 'whoever says it'),
  ($$org, 'promo', 1.000000000001, 'spring', null, 20$$, 'and if it says the usual priority')
) as v (arguments, description);
create function pg_temp.refusal(p_arguments text)
returns text
language plpgsql
as $$
declare
  v_detail text;
begin
  execute 'select m.* from scene, billing.grant_credits(' || p_arguments || ') as m';
  return 'granted';
exception when others then
  get stacked diagnostics v_detail = pg_exception_detail;
  return concat_ws(
    ' ', sqlstate, coalesce(v_detail::jsonb ->> 'argument', v_detail::jsonb ->> 'idempotency_key')
  );
end
$$;
select is(pg_temp.refusal(v.arguments), v.expected, v.description)
from (
  values
  ($$org, 'promo', 1, 'spring'$$, 'TS409 spring', 'another amount under the same key'),
  ($$org, 'trial', 1.000000000001, 'spring'$$, 'TS409 spring', 'another kind'),
  ($$org, 'promo', 1.000000000001, 'spring', '2026-04-01'$$, 'TS409 spring', 'another end'),
  ($$org, 'promo', 1.000000000001, 'spring', null, 19$$, 'TS409 spring', 'another priority'),
  ($$org, 'promo', 1.000000000001, 'spring', p_model => 'm'$$, 'TS409 spring', 'another model'),
  ($$org, 'promo', 6, 'alias', p_model => 'n'$$, 'TS409 alias', 'one model for another'),
  ($$org, null, 1, 'k'$$, '22023 p_kind', 'no kind'),
  ($$org, 'purchase', 1, 'k'$$, '22023 p_kind', 'a purchase'),
  ($$org, 'adjustment', 1, 'k'$$, '22023 p_kind', 'an adjustment'),
  ($$org, 'Promo', 1, 'k'$$, '22023 p_kind', 'a kind in capitals'),
  ($$org, 'promo', null, 'k'$$, '22023 p_amount_usd', 'no amount'),
  ($$org, 'promo', 0, 'k'$$, '22023 p_amount_usd', 'nothing'),
  ($$org, 'promo', -1, 'k'$$, '22023 p_amount_usd', 'less than nothing'),
  ($$org, 'promo', 'NaN', 'k'$$, '22023 p_amount_usd', 'NaN'),
  ($$org, 'promo', '-Infinity', 'k'$$, '22023 p_amount_usd', 'less than everything'),
  ($$org, 'promo', 0.0000000000001, 'k'$$, '22023 p_amount_usd', '13 decimals'),
  ($$org, 'promo', 1000000000000, 'k'$$, '22023 p_amount_usd', 'a trillion'),
  ($$org, 'promo', 1, null$$, '22023 p_idempotency_key', 'no key'),
  ($$org, 'promo', 1, 'tallystick:k'$$, '22023 p_idempotency_key', 'a key of ours'),
  ($$org, 'promo', 1, ''$$, '22023 p_idempotency_key', 'an empty key'),
  ($$org, 'promo', 1, repeat('k', 256)$$, '22023 p_idempotency_key', 'a key of 256 characters'),
  ($$org, 'promo', 1, 'k', '2026-03-10 12:00+00'$$, '22023 p_expires_at', 'over at this moment'),
  ($$org, 'promo', 1, 'k', '2026-01-01'$$, '22023 p_expires_at', 'over before'),
  ($$org, 'promo', 1, 'k', null, -1$$, '22023 p_priority', 'a priority below 0'),
  ($$org, 'promo', 1, 'k', null, 1001$$, '22023 p_priority', 'a priority above 1000'),
  ($$org, 'promo', 1, 'k', null, 2147483647$$, '22023 p_priority', 'the highest number'),
  ($$org, 'promo', 1, 'k', null, null, ''$$, '22023 p_model', 'an empty model'),
  ($$org, 'promo', 1, 'k', null, null, repeat('m', 256)$$, '22023 p_model',
    'a model of 256 characters'),
  ($$org, 'promo', 1, 'k', p_created_by => null$$, '22023 p_created_by', 'nobody'),
  ($$org, 'promo', 1, 'k', p_created_by => ' '$$, '22023 p_created_by', 'a blank name'),
  ($$gen_random_uuid(), 'promo', 1, 'k'$$, 'TS404', 'an unknown organization')
) as v (arguments, expected, description);
select throws_ok(
  $$select billing.grant_credits(null, 'promo', 1, 'k')$$, '22023', null, 'no organization'
);
select results_eq('table everything', 'table before', 'what is refused or repeated moves nothing');
select is(pg_temp.refusal(v.arguments), 'granted', v.description)
from (
  values
  ($$bravo, 'promo', 999999999999.999999999999, 'spring'$$, 'the same key of another organization'),
  ($$bravo, 'trial', 0.000000000001, repeat('k', 255), 'infinity', 1000, repeat('m', 255)$$,
    'the least, for ever, and the longest names')
) as v (arguments, description);

-- A key is one for all ways of moving money ------------------------------------------------------

select throws_ok(
  format('select m.* from scene, billing.%s as m', v.call), 'TS409', null,
  'a key that was used for a promotion names no ' || v.description
)
from (
  values
  ($$purchase_credits(org, 1.000000000001, 'spring')$$, 'purchase'),
  ($$adjust_credits(org, 1.000000000001, 'promo_code_applied', 'spring')$$, 'adjustment'),
  ($$adjust_credits(org, -1.000000000001, 'promo_code_applied', 'spring')$$, 'debit')
) as v (call, description);

-- What is bound to a model is not available for everything --------------------------------------

create temp table charlie as select tests.organization('Charlie') as org;
select m.id from charlie, billing.grant_credits(org, 'promo', 5, 'model', p_model => 'm') as m;
select throws_ok(
  format('select %s from charlie', v.call), 'TS402', null, v.description
)
from (
  values
  ('tests.run(org, 1)', 'a run of any model'),
  ($$billing.start_run(org, 1, 1, 'n', 1, 0)$$, 'a run of another model'),
  ($$billing.adjust_credits(org, -1, 'r', 'k')$$, 'a debit')
) as v (call, description);
select results_eq(
  $$select decision, reason, remaining_usd from charlie, authorize_spend(org, 'm', 1)$$,
  $$values ('denied', 'budget_exceeded', '0')$$, 'a call outside runs, even of that model'
);
select results_eq(
  $$select model::text, cost_estimated::numeric
    from charlie, billing.start_run(org, 1, 1, 'm-latest', 5, 0)$$,
  $$values ('m', 5.0)$$, 'a run of that model gets it'
);

-- When it is over -------------------------------------------------------------------------------

select tests.freeze_clock('2026-05-01 12:00+00');
select results_eq(
  $$select m.* from scene, billing.grant_credits(org, 'promo', 3, 'urgent', '2026-04-01', 0) as m$$,
  $$select l.* from scene inner join billing.billing_ledger as l
      on l.org_id = org and l.idempotency_key = 'urgent'$$,
  'what is over by now is still the same movement'
);

select is_empty($$select * from audit.verify_integrity()$$, 'the books agree');
select * from finish();
rollback;
