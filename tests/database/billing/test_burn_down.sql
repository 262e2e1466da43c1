-- Which credits are used up first, and where refunds go.
begin;
select plan(27);

select tests.freeze_clock('2026-03-10 12:00+00');
select tests.price('m');
select (pricing.set_model_name('acme', 'm-latest', 'm')).model;

-- Grants by name, as what their key says.
create temp view grants as
select g.*, l.idempotency_key::text as name
from billing.credit_grants as g
inner join billing.grant_movements as m on m.org_id = g.org_id and m.grant_id = g.id
inner join billing.billing_ledger as l
  on l.org_id = m.org_id and l.id = m.billing_ledger_id
  and l.transaction_type in ('credit_purchase', 'promo', 'trial', 'adjustment')
  and l.direction = 'credit';
create function pg_temp.parts(p_org uuid, p_reason text)
returns text
language sql
as $$
  select string_agg(
    g.name || ' ' || trim_scale(m.change_usd), ', '
    order by g.priority, g.expires_at, g.id
  )
  from billing.billing_ledger as l
  inner join billing.grant_movements as m on m.org_id = l.org_id and m.billing_ledger_id = l.id
  inner join grants as g on g.org_id = m.org_id and g.id = m.grant_id
  where l.org_id = p_org and l.reason = p_reason
$$;
create function pg_temp.reserved(p_subject uuid)
returns text
language sql
as $$
  select string_agg(
    g.name || ' ' || trim_scale(r.amount_usd), ', ' order by g.priority, g.expires_at, g.id
  )
  from billing.credit_reservations as r
  inner join grants as g on g.org_id = r.org_id and g.id = r.grant_id
  where r.subject_id = p_subject
$$;
create function pg_temp.left_of(p_org uuid)
returns text
language sql
as $$
  select string_agg(name || ' ' || trim_scale(remaining_usd), ', ' order by name)
  from grants where org_id = p_org and remaining_usd > 0
$$;

-- By priority, then by expiry, then by age -----------------------------------------------------

-- Made in another order than they are used up in.
create temp table scene as select tests.organization('Acme') as org;
select billing.purchase_credits(org, 1, '8 new purchase') from scene;
select tests.freeze_clock('2026-03-10 12:01+00');
select billing.grant_credits(org, 'promo', 1, '5 young promo') from scene;
select tests.freeze_clock('2026-03-10 12:02+00');
select billing.grant_credits(org, 'promo', 1, '6 younger promo') from scene;
select tests.freeze_clock('2026-03-10 12:03+00');
select billing.purchase_credits(org, 1, '7 purchase that ends', '2026-05-01') from scene;
select billing.grant_credits(org, 'promo', 1, '4 promo that ends later', '2026-05-01') from scene;
select billing.grant_credits(org, 'promo', 1, '3 promo that ends sooner', '2026-04-01') from scene;
select billing.grant_credits(org, 'trial', 1, '2 trial') from scene;
select billing.grant_credits(org, 'promo', 1, '1 urgent', null, 1) from scene;
select billing.grant_credits(org, 'trial', 1, '9 idle', '2026-03-11', 31) from scene;
create temp table runs as select tests.run(org, 7.25) as big, null::uuid as small from scene;
select is(
  pg_temp.reserved(big),
  '1 urgent 1, 2 trial 1, 3 promo that ends sooner 1, 4 promo that ends later 1, 5 young promo 1, '
  '6 younger promo 1, 7 purchase that ends 1, 8 new purchase 0.25',
  'a run reserves by priority, then what ends first, then what is oldest'
)
from runs;
select is(
  pg_temp.left_of(org),
  '1 urgent 1, 2 trial 1, 3 promo that ends sooner 1, 4 promo that ends later 1, 5 young promo 1, '
  '6 younger promo 1, 7 purchase that ends 1, 8 new purchase 1, 9 idle 1',
  'what is reserved is still there'
)
from scene;
update runs set small = (select tests.run(org, 1.5) from scene);
select is(pg_temp.reserved(small), '8 new purchase 0.75, 9 idle 0.75', 'the next run has the rest')
from runs;
select billing.adjust_credits(org, -0.25, 'the rest', 'rest') from scene;
select is(pg_temp.parts(org, 'the rest'), '9 idle -0.25', 'a debit takes the free part') from scene;
select results_eq(
  $$select balance, reserved from scene, tests.credits(org)$$, $$values (8.75, 8.75)$$,
  'then all is reserved'
);

-- A charge, and its refund in reverse -----------------------------------------------------------

select tests.call(big, 2.5) from runs;
select r.id from runs, billing.complete_run(big) as r;
select is(
  pg_temp.parts(org, 'run_charge'),
  '1 urgent -1, 2 trial -1, 3 promo that ends sooner -1, 4 promo that ends later -1, '
  '5 young promo -1, 6 younger promo -1, 7 purchase that ends -1, 8 new purchase -0.25',
  'the estimate is charged to what was reserved'
)
from scene;
select is(
  pg_temp.parts(org, 'token_reconciliation_overestimate'),
  '3 promo that ends sooner 0.5, 4 promo that ends later 1, 5 young promo 1, 6 younger promo 1, '
  '7 purchase that ends 1, 8 new purchase 0.25',
  'what was used up last comes back first'
)
from scene;
select is_empty(
  $$select from scene inner join billing.credit_reservations as r on r.org_id = org
    inner join runs on r.subject_id = runs.big$$,
  'nothing of it is reserved any more'
);
select is(
  (select string_agg(l.transaction_type || ' ' || m.parts, ', ' order by h.movement)
    from runs inner join billing.billing_ledger as l on l.run_id = big
      inner join billing.credit_balance_history as h on h.billing_ledger_id = l.id
      cross join lateral (
        select count(*) as parts from billing.grant_movements as x
        where x.billing_ledger_id = l.id
      ) as m),
  'charge 8, refund 6', 'split over grants it is one movement'
);

-- A shortfall --------------------------------------------------------------------------------

-- Of the second run 1.5 is reserved; it costs 3.
select tests.call(small, 3) from runs;
select r.id from runs, billing.complete_run(small) as r;
select is(
  pg_temp.parts(org, 'token_reconciliation_underestimate'),
  '3 promo that ends sooner -0.5, 4 promo that ends later -1',
  'a shortfall is charged to what is free, in the order of use'
)
from scene;
select is(
  pg_temp.left_of(org),
  '5 young promo 1, 6 younger promo 1, 7 purchase that ends 1, 8 new purchase 0.25',
  'the rest is left'
)
from scene;

-- A dispute goes back over both charges ---------------------------------------------------------

select d.id from runs, billing.dispute_reconciliation(small) as d;
select d.id from runs, billing.resolve_dispute(small, 2.000000000001) as d;
select is(
  pg_temp.parts(org, 'user_dispute_resolution'),
  '4 promo that ends later 0.500000000001, 8 new purchase 0.75, 9 idle 0.75',
  'a refund goes back over all that the run was charged'
)
from scene;
select is(
  pg_temp.left_of(org),
  '4 promo that ends later 0.500000000001, 5 young promo 1, 6 younger promo 1, '
  '7 purchase that ends 1, 8 new purchase 1, 9 idle 0.75',
  'and is there'
)
from scene;

-- Credits that pay for one model ----------------------------------------------------------------

create temp table bravo as select tests.organization('Bravo') as org;
select billing.grant_credits(org, 'promo', 2, 'model', p_model => 'm') from bravo;
select billing.purchase_credits(org, 2, 'money') from bravo;
create temp table of as
select
  (billing.start_run(org, 1, 1, 'n', 1, 0)).id as other,
  null::uuid as listed, null::uuid as alias, null::uuid as any_model
from bravo;
select is(pg_temp.reserved(other), 'money 1', 'they do not pay for runs of another model') from of;
update of set listed = (select (billing.start_run(org, 1, 1, 'm', 1, 0)).id from bravo);
select is(pg_temp.reserved(listed), 'model 1', 'they pay for runs of it') from of;
update of set alias = (select (billing.start_run(org, 1, 1, 'm-latest', 0.5, 0)).id from bravo);
select is(pg_temp.reserved(alias), 'model 0.5', 'by every name') from of;
update of set any_model = (select tests.run(org, 0.5) from bravo);
select is(pg_temp.reserved(any_model), 'money 0.5', 'not for runs of any model') from of;
select r.id from of, billing.extend_run(alias, 0, 0, 0.75, 0) as r;
select is(pg_temp.reserved(alias), 'model 1, money 0.25', 'an extension takes them too') from of;
select billing.record_token_call(listed, null, null, null, 1, 1, 'm', 0.25) from of;
select r.id from of, billing.complete_run(listed) as r;
select is(pg_temp.left_of(bravo.org), 'model 1.75, money 2', 'a refund goes back to them')
from bravo;
select billing.record_token_call(other, null, null, null, 1, 1, 'n', 2) from of;
select r.id from of, billing.complete_run(other) as r;
select is(
  pg_temp.parts(org, 'token_reconciliation_underestimate'), 'money -0.25',
  'they cover no shortfall of another model'
)
from bravo;
select results_eq(
  $$select outstanding_usd::numeric from bravo inner join billing.receivables on org_id = org$$,
  $$values (0.75)$$, 'which is owed instead'
);
select billing.record_token_call(listed, null, null, null, 1, 1, 'm', 0.5) from of;
select is(pg_temp.parts(org, 'late_usage'), 'model -0.5', 'they pay for late usage of it') from bravo;
select m.id from bravo, billing.grant_credits(org, 'promo', 1, 'more', p_model => 'm') as m;
select m.id from bravo, billing.purchase_credits(org, 0.5, 'payment') as m;
select is(
  pg_temp.parts(org, 'receivable_collected'), 'payment -0.5', 'they pay no debt'
)
from bravo;

-- A refund to what has expired meanwhile ---------------------------------------------------------

create temp table charlie as select tests.organization('Charlie') as org;
select billing.grant_credits(org, 'promo', 2, 'ends', '2026-03-11') from charlie;
select billing.purchase_credits(org, 1, 'stays') from charlie;
create temp table run as select tests.run(org, 3) as id from charlie;
select tests.call(id, 1.5) from run;
select tests.freeze_clock('2026-03-11 00:00+00');
select r.id from run, billing.complete_run(run.id) as r;
select results_eq(
  $$select tests.movements(org) from charlie$$,
  $$values ('+2 promo_code_applied'), ('+1 credit_purchase'), ('-3 run_charge'),
    ('+1.5 token_reconciliation_overestimate'), ('-0.5 credit_expired')$$,
  'a refund to an expired grant expires at once'
);
select is(pg_temp.left_of(org), 'stays 1', 'the other stays') from charlie;
select d.id from run, billing.dispute_reconciliation(run.id) as d;
select d.id from run, billing.resolve_dispute(run.id, 0.75) as d;
select is(pg_temp.left_of(org), 'stays 1', 'and so does one after a dispute') from charlie;

select is_empty($$select * from audit.verify_integrity()$$, 'the books agree');
select * from finish();
rollback;
