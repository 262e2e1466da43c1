-- Credits end.
begin;
select plan(24);

select tests.freeze_clock('2026-03-10 12:00+00');
create temp table scene as
select tests.organization('Acme') as org, tests.organization('Bravo') as bravo,
  tests.organization('Charlie') as charlie;
select billing.grant_credits(org, 'promo', 5, 'sooner', '2026-03-11 12:00+00') from scene;
select billing.grant_credits(org, 'trial', 3, 'later', '2026-03-12 12:00+00', 100) from scene;
select billing.purchase_credits(org, 2, 'stays') from scene;
create temp table run as select tests.run(org, 2) as id from scene;

select is(billing.expire_credits(), 0, 'nothing has expired yet');
select tests.freeze_clock('2026-03-11 11:59:59.999999+00');
select is(billing.expire_credits(), 0, 'nor a microsecond before');
select tests.freeze_clock('2026-03-11 12:00+00');
select is(billing.expire_credits(bravo), 0, 'another organization is another matter') from scene;
select results_eq(
  $$select balance, reserved from scene, tests.credits(org)$$, $$values (10.0, 2.0)$$,
  'until somebody looks it is there'
);
select is(
  tests.facts_of($$select tests.run(org, 5.000000000001) from scene$$) ->> 'available_usd', '5',
  'but nobody reserves it'
);
select is(private.available_credits(org), 5.0, 'nor is it available') from scene;
select is(billing.expire_credits(org), 1, 'it is of one organization') from scene;
select results_eq(
  $$select l.transaction_type, l.direction, l.amount_usd::numeric, l.reason::text,
      l.idempotency_key::text, l.run_id, l.created_by::text, l.created_at
    from scene inner join billing.billing_ledger as l on l.org_id = org
    where l.direction = 'debit'$$,
  $$values ('adjustment', 'debit', 3.0, 'credit_expired', null, null::uuid, 'system',
    '2026-03-11 12:00+00'::timestamptz)$$,
  'what is not reserved is taken back'
);
select results_eq(
  $$select g.amount_usd::numeric, g.remaining_usd::numeric, g.reserved_usd::numeric
    from scene inner join billing.credit_grants as g on g.org_id = org order by g.priority$$,
  $$values (5.0, 2.0, 2.0), (2, 2, 0), (3, 3, 0)$$, 'the reserved part stays'
);
select results_eq(
  $$select balance, reserved from scene, tests.credits(org)$$, $$values (7.0, 2.0)$$,
  'in the balance too'
);
select is(billing.expire_credits(), 0, 'again there is nothing to take');

-- Each movement takes back what has expired before it -----------------------------------------------

select tests.freeze_clock('2026-03-12 12:00+00');
select is(tests.run(org, 0) is not null, true, 'a run that reserves nothing looks too') from scene;
select results_eq(
  $$select tests.movements(org) from scene offset 4$$, $$values ('-3 credit_expired')$$,
  'so the other grant is over'
);

-- Released, then expired ------------------------------------------------------------------------

select tests.call(id, 0.5) from run;
select r.id from run, billing.cancel_run(run.id) as r;
select results_eq(
  $$select tests.movements(org) from scene offset 5$$,
  $$values ('-2 run_charge'), ('+1.5 token_reconciliation_overestimate'), ('-1.5 credit_expired')$$,
  'what the run does not need expires when it is released'
);
select results_eq(
  $$select balance, reserved from scene, tests.credits(org)$$, $$values (2.0, 0.0)$$,
  'what does not expire is left'
);

-- A draw releases its part ----------------------------------------------------------------------

select billing.grant_credits(bravo, 'promo', 8, 'ends', '2026-03-12 18:00+00') from scene;
select tests.hold(bravo, 2, p_expires_in => '1 hour') from scene;
select results_eq(
  $$select balance, reserved from scene, tests.credits(bravo)$$, $$values (8.0, 2.0)$$,
  'a draw has reserved a part'
);
select tests.freeze_clock('2026-03-12 18:00+00');
select is(billing.expire_credits(), 1, 'the rest expires');
select results_eq(
  $$select balance, reserved from scene, tests.credits(bravo)$$, $$values (2.0, 2.0)$$,
  'the draw keeps its part'
);
select results_eq(
  $$select decision, held_usd from scene, authorize_spend(bravo, 'm', 2, p_request_id => 'in draw')$$,
  $$values ('granted', '2')$$, 'and what it has it may spend: the hold is overdue'
);
select h.id from scene inner join metering.holds as h on h.organization_id = bravo and h.state = 'open',
  release_spend(h.id) as h2;
select throws_ok(
  $$select tests.run(bravo, 1) from scene$$, 'TS402', null,
  'a run cannot have it: taken back it would be over'
);
select tests.freeze_clock('2026-03-13 00:01+00');
select is(billing.close_draws(), 1, 'the day after the draw ends');
select results_eq(
  $$select tests.movements(bravo) from scene$$,
  $$values ('+8 promo_code_applied'), ('-6 credit_expired'), ('-2 credit_expired')$$,
  'and what it had is over'
);

-- Counted by organization -----------------------------------------------------------------------

select billing.grant_credits(o.id, 'promo', 1, k.name, '2026-03-14')
from scene, unnest(array[scene.org, scene.bravo, scene.charlie]) as o (id),
  (values ('one'), ('two')) as k (name);
select tests.freeze_clock('2026-03-14 00:00+00');
select is(billing.expire_credits(), 3, 'organizations are counted, not grants');

select is_empty($$select * from audit.verify_integrity()$$, 'the books agree');
select * from finish();
rollback;
