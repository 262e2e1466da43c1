-- Housekeeping: the money of overdue holds goes back, so that reports show it. Nobody is refused
-- without it: see test_authorize_spend.
begin;
select plan(20);

select tests.freeze_clock('2026-03-10 12:00:00+00');
create temp table scene as
select
  o.org,
  tests.cap(o.org, 'organization', null, 'day', 10, p_slots => 4) as day,
  tests.cap(o.org, 'model', 'm', 'hour', 5) as hour
from (select tests.organization('Acme') as org) as o;
create temp table bravo as
select o.org, tests.cap(o.org, 'organization', null, 'day', 10) as day
from (select tests.organization('Bravo') as org) as o;
select is(metering.expire_holds(), 0, 'where nothing is overdue nothing expires');

create temp table held as
select n.name, tests.hold(org, n.cost, 'm', n.expires_in) as id
from scene, (
  values
  ('first', 0.1, interval '1 minute'), ('second', 0.2, interval '2 minutes'),
  ('third', 0.3, interval '2 minutes'), ('later', 0.4, interval '3 minutes')
) as n (name, cost, expires_in);
insert into held select 'of bravo', tests.hold(org, 1, 'm', '1 minute') from bravo;

select tests.freeze_clock('2026-03-10 12:00:59.999999+00');
select is(metering.expire_holds(), 0, 'a microsecond before its time nothing expires');
select tests.freeze_clock('2026-03-10 12:02:00+00');
select is(metering.expire_holds(org, 2), 2, 'of one organization, as many as asked for') from scene;
select results_eq(
  $$select count(*) from held inner join metering.holds using (id) where state = 'open'$$,
  $$values (3::bigint)$$, 'the others are open still'
);
select is(metering.expire_holds(), 2, 'the rest, of all organizations');
select results_eq(
  $$select name, state::text, closed_at from held inner join metering.holds using (id)
    order by name$$,
  $$values
    ('first', 'expired', '2026-03-10 12:02:00+00'::timestamptz),
    ('later', 'open', null), ('of bravo', 'expired', '2026-03-10 12:02:00+00'),
    ('second', 'expired', '2026-03-10 12:02:00+00'),
    ('third', 'expired', '2026-03-10 12:02:00+00')$$,
  'what is not overdue stays open'
);
select results_eq(
  $$select f.held, f.remaining from scene, bravo,
      unnest(array[scene.day, hour, bravo.day]) with ordinality as b (id, n),
      tests.figures(b.id) as f
    order by n$$,
  $$values (0.4, 9.6), (0.4, 4.6), (0.0, 10.0)$$, 'every budget has its money back'
);
select is(metering.expire_holds(), 0, 'again, nothing expires twice');
select results_eq(
  $$select settlement::text, unheld_usd::numeric, cost::numeric
    from held, settle_spend(held.id, null, 0.05) where name = 'first'$$,
  $$values ('after_hold', 0.05, 0.05)$$, 'an expired hold may still be settled, flagged'
);

-- A window that is over has nothing to give back.
select tests.freeze_clock('2026-03-11 00:00:00+00');
select tests.hold(org, 2, 'm') from scene;
select is(
  (select state::text from held inner join metering.holds using (id) where name = 'later'),
  'expired',
  'whoever opens a new day frees what is overdue'
);
create temp table evening as select tests.hold(org, 1, 'm', '1 minute') as id from scene;
select tests.freeze_clock('2026-03-11 01:00:00+00');
select tests.hold(org, 1, 'm') from bravo;
select tests.settle(tests.hold(org, 0.5, 'm'), 0.5) from scene;
select metering.expire_holds();
select results_eq(
  $$select settled, held, remaining from scene, tests.figures(hour)$$,
  $$values (0.5, 0.0, 4.5)$$, 'the hour that is over got nothing, the new one gained nothing'
);

-- A budget in debt: what comes back pays it, and it stays closed.
create temp table debtor as
select s.org, tests.cap(s.org, 'organization', null, 'total', 2) as total,
  tests.hold(s.org, 1, p_expires_in => '1 minute') as one, tests.hold(s.org, 1) as two
from (select tests.organization('Debtor') as org) as s;
select tests.settle(two, 1.5) from debtor;
select tests.freeze_clock('2026-03-11 01:01:00+00');
select is(metering.expire_holds(org), 1, 'a hold on a budget in debt expires') from debtor;
select results_eq(
  $$select remaining, is_closed from debtor, tests.figures(total)$$, $$values (0.5, true)$$,
  'its money pays the debt'
);
select results_eq(
  $$select decision from debtor, authorize_spend(org, 'm', 0.5)$$, $$values ('granted')$$,
  'and what is left of it can be spent'
);

select throws_ok(
  format('select metering.expire_holds(null, %s)', v.value), '22023', null, v.description
)
from (
  values ('null', 'no number'), ('0', 'none'), ('-1', 'fewer than none'), ('100001', 'too many')
) as v (value, description);
select is(metering.expire_holds(gen_random_uuid(), 100000), 0, 'an unknown organization has none');

select is_empty($$select * from audit.verify_integrity()$$, 'the books agree');
select * from finish();
rollback;
