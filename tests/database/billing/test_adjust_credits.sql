-- Credits corrected by hand, up and down.
begin;
select plan(40);

select tests.freeze_clock('2026-03-10 12:00+00');
create temp table scene as select tests.organization('Acme') as org;

select results_eq(
  $$select transaction_type, amount_usd::numeric, direction, reason::text, idempotency_key::text,
      created_by::text, created_at
    from scene, billing.adjust_credits(org, 2.000000000001, 'goodwill', 'up')$$,
  $$values ('adjustment', 2.000000000001, 'credit', 'goodwill', 'up', 'support',
    '2026-03-10 12:00+00'::timestamptz)$$,
  'above 0 it adds'
);
select results_eq(
  $$select kind, amount_usd::numeric, remaining_usd::numeric, priority, model::text, expires_at
    from scene inner join billing.credit_grants on org_id = org$$,
  $$values ('adjustment', 2.000000000001, 2.000000000001, 30::smallint, null, null::timestamptz)$$,
  'in a grant of its own, used up as purchases are'
);
select ok(b.prepaid_since is not null, 'from now on the organization pays in advance')
from scene inner join metering.budgets as b on b.id = org;
create temp table up as
select l.* from scene inner join billing.billing_ledger as l on l.org_id = org;
select m.id from scene, billing.grant_credits(org, 'promo', 1, 'promo', '2026-03-20') as m;
select results_eq(
  $$select transaction_type, amount_usd::numeric, direction, reason::text, created_by::text
    from scene, billing.adjust_credits(org, -1.5, 'chargeback', 'down', 'anna')$$,
  $$values ('adjustment', 1.5, 'debit', 'chargeback', 'anna')$$, 'below 0 it takes'
);
create temp table down as
select l.* from scene inner join billing.billing_ledger as l on l.org_id = org
where l.direction = 'debit';
select results_eq(
  $$select g.kind, m.change_usd::numeric, g.remaining_usd::numeric
    from down inner join billing.grant_movements as m on m.billing_ledger_id = down.id
      inner join billing.credit_grants as g on g.id = m.grant_id order by g.priority$$,
  $$values ('promo', -1.0, 0.0), ('adjustment', -0.5, 1.500000000001)$$,
  'what is used up first goes first'
);
select results_eq(
  $$select movement, balance_before_usd::numeric, balance_after_usd::numeric, change_usd::numeric,
      reason::text
    from scene inner join billing.credit_balance_history on org_id = org order by movement$$,
  $$values
    (1::bigint, 0.0, 2.000000000001, 2.000000000001, 'goodwill'),
    (2, 2.000000000001, 3.000000000001, 1, 'promo_code_applied'),
    (3, 3.000000000001, 1.500000000001, -1.5, 'chargeback')$$,
  'history is numbered and chained'
);

-- Only what is available is taken -----------------------------------------------------------

select tests.run(org, 1) from scene;
select is(
  tests.facts_of(
    $$select billing.adjust_credits(org, -0.500000000002, 'chargeback', 'too much') from scene$$
  ),
  jsonb_build_object('org_id', org, 'needed_usd', '0.500000000002', 'available_usd', '0.500000000001'),
  'what is reserved is not available'
)
from scene;

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
  format('select m.* from scene, billing.adjust_credits(%s) as m', v.arguments),
  'table ' || v.movement, v.description
)
from (
  values
  ($$org, 2.0000000000010, 'goodwill', 'up'$$, 'up', 'the same key is the same movement'),
  ($$org, -1.5, 'chargeback', 'down'$$, 'down', 'also where less than that is left')
) as v (arguments, movement, description);
create function pg_temp.refusal(p_arguments text)
returns text
language plpgsql
as $$
declare
  v_detail text;
begin
  execute 'select m.* from scene, billing.adjust_credits(' || p_arguments || ') as m';
  return 'adjusted';
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
  ($$org, 2, 'goodwill', 'up'$$, 'TS409 up', 'another amount under the same key'),
  ($$org, -2.000000000001, 'goodwill', 'up'$$, 'TS409 up', 'the other direction'),
  ($$org, 2.000000000001, 'chargeback', 'up'$$, 'TS409 up', 'another reason'),
  ($$org, null, 'r', 'k'$$, '22023 p_amount_usd', 'no amount'),
  ($$org, 0, 'r', 'k'$$, '22023 p_amount_usd', 'nothing'),
  ($$org, 'NaN', 'r', 'k'$$, '22023 p_amount_usd', 'NaN'),
  ($$org, '-Infinity', 'r', 'k'$$, '22023 p_amount_usd', 'less than everything'),
  ($$org, 'Infinity', 'r', 'k'$$, '22023 p_amount_usd', 'more than everything'),
  ($$org, -0.0000000000001, 'r', 'k'$$, '22023 p_amount_usd', '13 decimals'),
  ($$org, -1000000000000, 'r', 'k'$$, '22023 p_amount_usd', 'less than a trillion'),
  ($$org, 1000000000000, 'r', 'k'$$, '22023 p_amount_usd', 'a trillion'),
  ($$org, 1, null, 'k'$$, '22023 p_reason', 'no reason'),
  ($$org, 1, ' ', 'k'$$, '22023 p_reason', 'a blank reason'),
  ($$org, 1, repeat('r', 256), 'k'$$, '22023 p_reason', 'a reason of 256 characters'),
  ($$org, 1, 'r', 'tallystick:k'$$, '22023 p_idempotency_key', 'a key of ours'),
  ($$org, 1, 'r', null$$, '22023 p_idempotency_key', 'no key'),
  ($$org, 1, 'r', ''$$, '22023 p_idempotency_key', 'an empty key'),
  ($$org, 1, 'r', repeat('k', 256)$$, '22023 p_idempotency_key', 'a key of 256 characters'),
  ($$org, 1, 'r', 'k', null$$, '22023 p_created_by', 'nobody'),
  ($$org, 1, 'r', 'k', repeat('u', 256)$$, '22023 p_created_by', 'a name of 256 characters'),
  ($$org, -0.500000000002, 'r', 'k'$$, 'TS402', 'more than is available'),
  ($$gen_random_uuid(), 1, 'r', 'k'$$, 'TS404', 'an unknown organization'),
  ($$gen_random_uuid(), -1, 'r', 'k'$$, 'TS404', 'an unknown organization that owes')
) as v (arguments, expected, description);
select throws_ok(
  $$select billing.adjust_credits(null, 1, 'r', 'k')$$, '22023', null, 'no organization'
);
select results_eq('table everything', 'table before', 'what is refused or repeated moves nothing');
select is(pg_temp.refusal(v.arguments), 'adjusted', v.description)
from (
  values
  ($$org, -0.500000000001, repeat('r', 255), repeat('k', 255), repeat('u', 255)$$,
    'all that is available'),
  ($$org, 999999999999.999999999999, 'r', 'most'$$, 'the most')
) as v (arguments, description);

-- It pays no debt ----------------------------------------------------------------------------

create temp table debtor as select tests.organization('Debtor') as org;
select tests.buy(org, 1) from debtor;
create temp table run as select tests.run(org, 1) as id from debtor;
select tests.call(id, 2) from run;
select r.id from run, billing.complete_run(run.id) as r;
select m.id from debtor, billing.adjust_credits(org, 5, 'goodwill', 'up') as m;
select results_eq(
  $$select outstanding_usd::numeric, balance
    from debtor inner join billing.receivables on org_id = org cross join tests.credits(org)$$,
  $$values (1.0, 5.0)$$, 'only a purchase pays what is owed'
);

-- What expired is not taken ------------------------------------------------------------------

create temp table bravo as select tests.organization('Bravo') as org;
select m.id from bravo, billing.grant_credits(org, 'promo', 1, 'promo', '2026-03-11') as m;
select tests.freeze_clock('2026-03-11 00:00+00');
select throws_ok(
  $$select billing.adjust_credits(org, -1, 'r', 'k') from bravo$$, 'TS402', null,
  'what has expired is not available'
);
select m.id from bravo, billing.adjust_credits(org, 1, 'goodwill', 'up') as m;
select results_eq(
  $$select tests.movements(org) from bravo$$,
  $$values ('+1 promo_code_applied'), ('-1 credit_expired'), ('+1 goodwill')$$,
  'the next movement books that'
);

-- Whatever an operator calls it, it is no usage --------------------------------------------------

select m.id from bravo, billing.adjust_credits(org, -0.25, 'late_usage', 'late') as m;

select is_empty($$select * from audit.verify_integrity()$$, 'the books agree');
select * from finish();
rollback;
