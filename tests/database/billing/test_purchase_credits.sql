-- Money in: a purchase is a movement, a grant and a history row; then what is owed is collected.
begin;
select plan(52);

select tests.freeze_clock('2026-03-10 12:00+00');
create temp table scene as
select tests.organization('Acme') as org, tests.organization('Bravo') as bravo;

-- The first credits --------------------------------------------------------------------------

select is_empty(
  $$select from scene inner join billing.credit_balances on org_id = org$$,
  'an organization has no credits from birth'
);
select results_eq(
  $$select m.org_id, transaction_type, amount_usd::numeric, direction, run_id, agent_id, task_id,
      draw_id, reason::text, idempotency_key::text, created_by::text, created_at
    from scene, billing.purchase_credits(org, 10.000000000001, 'first') as m$$,
  $$select org, 'credit_purchase', 10.000000000001, 'credit', null::uuid, null::uuid, null::uuid,
      null::uuid, 'credit_purchase', 'first', 'user', '2026-03-10 12:00+00'::timestamptz
    from scene$$,
  'a purchase returns its movement'
);
create temp table first as
select l.* from scene inner join billing.billing_ledger as l on l.org_id = org;
select results_eq(
  $$select balance_usd::numeric, reserved_usd::numeric, low_balance_usd::numeric, is_low,
      movement_count, created_at
    from scene inner join billing.credit_balances on org_id = org$$,
  $$values (10.000000000001, 0.0, null::numeric, false, 1::bigint,
    '2026-03-10 12:00+00'::timestamptz)$$,
  'the balance has it'
);
select results_eq(
  $$select kind, amount_usd::numeric, remaining_usd::numeric, reserved_usd::numeric, priority,
      model::text, expires_at, created_at
    from scene inner join billing.credit_grants on org_id = org$$,
  $$values ('purchase', 10.000000000001, 10.000000000001, 0.0, 30::smallint, null,
    null::timestamptz, '2026-03-10 12:00+00'::timestamptz)$$,
  'so has a grant of its own'
);
select results_eq(
  $$select m.billing_ledger_id, m.grant_id, m.change_usd::numeric
    from scene inner join billing.grant_movements as m on m.org_id = org$$,
  $$select first.id, g.id, 10.000000000001
    from first inner join billing.credit_grants as g using (org_id)$$,
  'the movement is of that grant'
);
select ok(b.prepaid_since is not null, 'from now on it pays in advance')
from scene inner join metering.budgets as b on b.id = org;
select is(b.prepaid_since, null, 'another does not')
from scene inner join metering.budgets as b on b.id = bravo;

-- One after the other ------------------------------------------------------------------------

select tests.freeze_clock('2026-03-11 12:00+00');
select billing.purchase_credits(org, 5, 'second', '2027-01-01', 'anna') from scene;
select tests.freeze_clock('2026-03-10 11:00+00');
select billing.purchase_credits(org, 0.000000000001, 'third', p_created_by => 'user:7') from scene;
select tests.freeze_clock('2026-03-12 12:00+00');
select results_eq(
  $$select h.movement, h.balance_before_usd::numeric, h.balance_after_usd::numeric,
      h.change_usd::numeric, h.reason::text, l.idempotency_key::text, h.created_at
    from scene inner join billing.credit_balance_history as h on h.org_id = org
      inner join billing.billing_ledger as l
        on l.org_id = h.org_id and l.id = h.billing_ledger_id and l.created_at = h.created_at
    order by h.movement$$,
  $$values
    (1::bigint, 0.0, 10.000000000001, 10.000000000001, 'credit_purchase', 'first',
      '2026-03-10 12:00+00'::timestamptz),
    (2, 10.000000000001, 15.000000000001, 5, 'credit_purchase', 'second', '2026-03-11 12:00+00'),
    (3, 15.000000000001, 15.000000000002, 0.000000000001, 'credit_purchase', 'third',
      '2026-03-11 12:00+00')$$,
  'history is numbered and chained, and its times follow that whatever a clock says'
);
select results_eq(
  $$select l.idempotency_key::text, l.created_by::text, g.expires_at
    from scene inner join billing.billing_ledger as l on l.org_id = org
      inner join billing.grant_movements as m on m.billing_ledger_id = l.id
      inner join billing.credit_grants as g on g.id = m.grant_id
    order by l.idempotency_key$$,
  $$values ('first', 'user', null::timestamptz), ('second', 'anna', '2027-01-01'),
    ('third', 'user:7', null)$$,
  'who bought is said, and until when it lasts'
);
select is(
  (select count(distinct id) from scene inner join billing.credit_grants on org_id = org),
  3::bigint, 'each is a grant of its own'
);

-- The same key -------------------------------------------------------------------------------

create temp view everything as
select
  (select jsonb_agg(to_jsonb(l) order by l.org_id, l.id) from billing.billing_ledger as l) as ledger,
  (select jsonb_agg(to_jsonb(h) order by h.org_id, h.id)
    from billing.credit_balance_history as h) as history,
  (select jsonb_agg(to_jsonb(g) order by g.org_id, g.id) from billing.credit_grants as g) as grants,
  (select jsonb_agg(to_jsonb(b) order by b.org_id) from billing.credit_balances as b) as balances,
  (select jsonb_agg(to_jsonb(r) order by r.org_id, r.id) from billing.receivables as r) as owed,
  (select count(*) from audit.event_log) as events,
  (select jsonb_agg(to_jsonb(s) order by s.budget_id, s.slot) from metering.budget_slots as s)
  as slots;
create temp table before as select * from everything;
select results_eq(
  format('select m.* from scene, billing.purchase_credits(%s) as m', v.arguments),
  'table first', v.description
)
from (
  values
  ($$org, 10.000000000001, 'first'$$, 'the same key is the same movement'),
  ($$org, 10.0000000000010000, 'first', null, 'somebody else'$$, 'whoever says it')
) as v (arguments, description);
create function pg_temp.refusal(p_arguments text)
returns text
language plpgsql
as $$
declare
  v_detail text;
begin
  execute 'select m.* from scene, billing.purchase_credits(' || p_arguments || ') as m';
  return 'bought';
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
  ($$org, 10.000000000002, 'first'$$, 'TS409 first', 'another amount under the same key'),
  ($$org, 10.000000000001, 'first', '2027-01-01'$$, 'TS409 first', 'another end'),
  ($$org, 5, 'second', null, 'anna'$$, 'TS409 second', 'no end'),
  ('org, null, $$k$$', '22023 p_amount_usd', 'no amount'),
  ('org, 0, $$k$$', '22023 p_amount_usd', 'nothing'),
  ('org, -1, $$k$$', '22023 p_amount_usd', 'less than nothing'),
  ('org, $$NaN$$, $$k$$', '22023 p_amount_usd', 'NaN'),
  ('org, $$Infinity$$, $$k$$', '22023 p_amount_usd', 'Infinity'),
  ('org, 0.0000000000001, $$k$$', '22023 p_amount_usd', '13 decimals'),
  ('org, 1000000000000, $$k$$', '22023 p_amount_usd', 'a trillion'),
  ('org, 1, null', '22023 p_idempotency_key', 'no key'),
  ('org, 1, $$tallystick:$$', '22023 p_idempotency_key', 'a key of ours'),
  ('org, 1, $$$$', '22023 p_idempotency_key', 'an empty key'),
  ('org, 1, $$ $$', '22023 p_idempotency_key', 'a blank key'),
  ('org, 1, repeat($$k$$, 256)', '22023 p_idempotency_key', 'a key of 256 characters'),
  ('org, 1, $$k$$, $$2026-03-12 12:00+00$$', '22023 p_expires_at', 'over at this moment'),
  ('org, 1, $$k$$, $$-infinity$$', '22023 p_expires_at', 'over for ever'),
  ('org, 1, $$k$$, null, null', '22023 p_created_by', 'nobody'),
  ('org, 1, $$k$$, null, $$ $$', '22023 p_created_by', 'a blank name'),
  ('org, 1, $$k$$, null, repeat($$k$$, 256)', '22023 p_created_by', 'a name of 256 characters'),
  ('gen_random_uuid(), 1, $$k$$', 'TS404', 'an unknown organization')
) as v (arguments, expected, description);
select throws_ok(
  $$select billing.purchase_credits(null, 1, 'k')$$, '22023', null, 'no organization'
);
select results_eq('table everything', 'table before', 'what is refused or repeated moves nothing');
select is(pg_temp.refusal(v.arguments), 'bought', v.description)
from (
  values
  ($$bravo, 999999999999.999999999999, 'first'$$, 'the same key of another organization'),
  ($$bravo, 999999999999.999999999999, repeat('k', 255)$$, 'the longest key'),
  ($$bravo, 0.000000000001, 'k', '2026-03-12 12:00:00.000001+00', repeat('u', 255)$$,
    'the least, for the shortest time, by the longest name')
) as v (arguments, description);
select results_eq(
  $$select balance, reserved from scene, tests.credits(bravo)$$,
  $$values (1999999999999.999999999999, 0.0)$$, 'balances go beyond a trillion'
);

-- What is owed -------------------------------------------------------------------------------

create temp table debtor as select tests.organization('Debtor') as org;
select tests.buy(org, 1), billing.adjust_credits(org, -1, 'all of it', 'all') from debtor;
create temp table runs as
select tests.run(org, 0) as first from debtor;
alter table runs add column second uuid, add column third uuid;
select tests.call(first, 3) from runs;
select r.id from runs, billing.complete_run(first) as r;
select tests.freeze_clock('2026-03-12 12:01+00');
update runs set second = (select tests.run(org, 0) from debtor);
select tests.call(second, 2) from runs;
select r.id from runs, billing.complete_run(second) as r;
select tests.freeze_clock('2026-03-12 12:02+00');
update runs set third = (select tests.run(org, 0) from debtor);
select tests.call(third, 0.5) from runs;
select r.id from runs, billing.complete_run(third) as r;
create function pg_temp.owed()
returns text
language sql
as $$
  select string_agg(trim_scale(x.outstanding_usd)::text, ' ' order by x.number)
  from debtor inner join billing.receivables as x on x.org_id = org
$$;
select is(pg_temp.owed(), '3 2 0.5', 'what runs cost without credits is owed');
select results_eq(
  $$select x.amount_usd::numeric, x.waived_usd::numeric, x.run_id, x.draw_id, x.reason::text
    from debtor inner join billing.receivables as x on x.org_id = org order by x.number limit 1$$,
  $$select 3.0, 0.0, first, null::uuid, 'token_reconciliation_underestimate' from runs$$,
  'a receivable says for what'
);
select tests.freeze_clock('2026-03-12 12:03+00');
select m.id from debtor, billing.grant_credits(org, 'promo', 1, 'promo') as m;
select is(pg_temp.owed(), '3 2 0.5', 'a gift pays no debt');
select results_eq(
  $$select tests.movements(org) from debtor offset 2$$, $$values ('+1 promo_code_applied')$$,
  'so it is there'
);
-- It is used up before anything is bought, so that it does not help to pay.
select tests.call(tests.run(org, 1), 1) from debtor;
select r.id from debtor inner join billing.run_records as s on s.org_id = org and s.status = 'running',
  billing.complete_run(s.id) as r;
select m.id from debtor, billing.purchase_credits(org, 1.000000000001, 'a part') as m;
select is(pg_temp.owed(), '1.999999999999 2 0.5', 'a purchase pays the oldest debt');
select is(balance, 0.0, 'with all of it') from debtor, tests.credits(org);
select tests.freeze_clock('2026-03-12 12:04+00');
create temp table purchase as
select m.* from debtor, billing.purchase_credits(org, 3.0, 'a part more') as m;
select is(pg_temp.owed(), '0 0.999999999999 0.5', 'then the next, as far as it goes');
create temp table last as
select m.* from debtor, billing.purchase_credits(org, 10, 'the rest') as m;
select is(pg_temp.owed(), '0 0 0', 'and all of it');
select results_eq(
  $$select tests.movements(org) from debtor offset 4$$,
  $$values ('+1.000000000001 credit_purchase'), ('-1.000000000001 receivable_collected'),
    ('+3 credit_purchase'), ('-1.999999999999 receivable_collected'),
    ('-1.000000000001 receivable_collected'), ('+10 credit_purchase'),
    ('-0.999999999999 receivable_collected'), ('-0.5 receivable_collected')$$,
  'each payment is a movement of its own'
);
select results_eq(
  $$select l.transaction_type, l.direction, l.run_id, l.created_by::text
    from debtor inner join billing.billing_ledger as l on l.org_id = org
      inner join billing.credit_balance_history as h on h.billing_ledger_id = l.id
    where l.reason = 'receivable_collected' order by h.movement$$,
  $$select 'charge', 'debit', u.run_id, 'system' from runs,
      unnest(array[first, first, second, second, third]) as u (run_id)$$,
  'it is a charge of its run'
);
select is(
  (select m.id from debtor, billing.purchase_credits(org, 3.0, 'a part more') as m), id,
  'a purchase that was collected from is still the same'
)
from purchase;
select is(balance, 8.500000000001, 'what is left is credits') from debtor, tests.credits(org);

select is_empty($$select * from audit.verify_integrity()$$, 'the books agree');
select * from finish();
rollback;
