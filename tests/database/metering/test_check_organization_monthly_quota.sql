begin;
select plan(31);

insert into tenancy.organizations (id, name) values
('a0000000-0000-4000-8000-000000000000', 'Acme');
insert into metering.workflows (organization_id, id) values
('a0000000-0000-4000-8000-000000000000', 'a0000000-0000-4000-8000-000000000001');
select tests.freeze_clock('2026-03-10 12:00:00+00');

select ok(check_organization_monthly_quota('a0000000-0000-4000-8000-000000000000'),
  'nothing is spent yet');
select ok(not check_organization_monthly_quota('a0000000-0000-4000-8000-000000000000', 0),
  'a quota of 0 admits nothing');
select tests.spend('a0000000-0000-4000-8000-000000000001', 24.999999999999);
select ok(check_organization_monthly_quota('a0000000-0000-4000-8000-000000000000'),
  'a trillionth below the default quota');
select tests.spend('a0000000-0000-4000-8000-000000000001', 0.000000000001);
select ok(not check_organization_monthly_quota('a0000000-0000-4000-8000-000000000000'),
  'exactly at the quota nothing is left');
select ok(check_organization_monthly_quota('a0000000-0000-4000-8000-000000000000', 26),
  'without a stored cap a stated one applies');

select id from metering.set_budget(
  'a0000000-0000-4000-8000-000000000000', 'organization', null, 'month', 50
);
select ok(check_organization_monthly_quota('a0000000-0000-4000-8000-000000000000'),
  'stored 50 with the default argument is 50');
select ok(check_organization_monthly_quota('a0000000-0000-4000-8000-000000000000', 25.00),
  'a stated 25.00 is the default and is ignored');
select ok(not check_organization_monthly_quota('a0000000-0000-4000-8000-000000000000', 5),
  'stored 50 with 5 stated is 5');
select id from metering.set_budget(
  'a0000000-0000-4000-8000-000000000000', 'organization', null, 'month', 20
);
select ok(not check_organization_monthly_quota('a0000000-0000-4000-8000-000000000000', 100),
  'a stated cap above the stored one does not raise it');

select tests.freeze_clock('2026-03-31 23:59:59.999+00');
select ok(not check_organization_monthly_quota('a0000000-0000-4000-8000-000000000000'),
  'until the last millisecond of the month');
select tests.freeze_clock('2026-04-01 00:00:00+00');
select ok(check_organization_monthly_quota('a0000000-0000-4000-8000-000000000000'),
  'the next month has the whole quota, before anything is recorded in it');
select tests.spend('a0000000-0000-4000-8000-000000000001', 20);
select ok(not check_organization_monthly_quota('a0000000-0000-4000-8000-000000000000'),
  'and counts only what is spent in it');

select id from metering.remove_budget(
  'a0000000-0000-4000-8000-000000000000', 'organization', null, 'month'
);
select ok(check_organization_monthly_quota('a0000000-0000-4000-8000-000000000000'),
  'without its stored cap the default applies again');

-- Held money counts, with and without a stored cap; what an overdue hold keeps is free.
select tests.freeze_clock('2026-04-10 12:00:00+00');
create temp table held as
select tests.hold('a0000000-0000-4000-8000-000000000000', 5, 'm', '1 hour') as id;
select ok(not check_organization_monthly_quota('a0000000-0000-4000-8000-000000000000'),
  'without a stored cap 20 settled + 5 held is the quota');
select ok(check_organization_monthly_quota('a0000000-0000-4000-8000-000000000000', 25.000000000001),
  'and a trillionth below a higher one');
select tests.cap('a0000000-0000-4000-8000-000000000000', 'organization', null, 'month', 25);
select ok(not check_organization_monthly_quota('a0000000-0000-4000-8000-000000000000'),
  'with a stored cap it is the same');
select tests.cap('a0000000-0000-4000-8000-000000000000', 'organization', null, 'month', 25, 'soft');
select ok(not check_organization_monthly_quota('a0000000-0000-4000-8000-000000000000'),
  'a soft cap is a quota too');
select tests.freeze_clock('2026-04-10 13:00:00+00');
select ok(check_organization_monthly_quota('a0000000-0000-4000-8000-000000000000'),
  'what an overdue hold keeps is free');
select tests.settle(held.id, 5) from held;
select ok(not check_organization_monthly_quota('a0000000-0000-4000-8000-000000000000'),
  'settled it counts');
select tests.cap('a0000000-0000-4000-8000-000000000000', 'organization', null, 'month', 100);
select tests.freeze_clock('2026-04-30 23:59:00+00');
insert into held select tests.hold('a0000000-0000-4000-8000-000000000000', 30, 'm', '24 hours');
select tests.freeze_clock('2026-05-01 00:00:00+00');
select ok(check_organization_monthly_quota('a0000000-0000-4000-8000-000000000000', 1),
  'what is held for April does not count in May');
select id from metering.remove_budget(
  'a0000000-0000-4000-8000-000000000000', 'organization', null, 'month'
);
select ok(check_organization_monthly_quota('a0000000-0000-4000-8000-000000000000', 1),
  'nor without a stored cap');

-- Shorter windows of the organization do not cut the month.
select tests.spend('a0000000-0000-4000-8000-000000000001', 10);
select tests.freeze_clock('2026-05-20 12:00:00+00');
select tests.cap('a0000000-0000-4000-8000-000000000000', 'organization', null, w.name, 50)
from unnest(array['hour', 'day', 'week']) as w (name);
select is(get_organization_monthly_ai_cost('a0000000-0000-4000-8000-000000000000'), 10::numeric,
  'an hour, a day and a week that are open leave the month whole');
select ok(not check_organization_monthly_quota('a0000000-0000-4000-8000-000000000000', 10),
  'and so its quota');
select tests.freeze_clock('2026-06-01 12:00:00+00');
select tests.hold('a0000000-0000-4000-8000-000000000000', 1);
select tests.freeze_clock('2026-05-31 12:00:00+00');
select is(get_organization_monthly_ai_cost('a0000000-0000-4000-8000-000000000000'), 0::numeric,
  'a clock that is behind an open day of June is in June');
select is_empty($$select * from audit.verify_integrity()$$, 'the books agree');

update tenancy.organizations set frozen_at = now();
select ok(not check_organization_monthly_quota('a0000000-0000-4000-8000-000000000000'),
  'a frozen organization is refused');

select throws_ok($$select check_organization_monthly_quota(null)$$,
  '22023', null, 'no organization');
select throws_ok(
  $$select check_organization_monthly_quota('a0000000-0000-4000-8000-000000000000', null)$$,
  '22023', null, 'no quota');
select throws_ok(
  $$select check_organization_monthly_quota('a0000000-0000-4000-8000-000000000000', 'NaN')$$,
  '22023', null, 'a quota of NaN');
select throws_ok(
  $$select check_organization_monthly_quota('a0000000-0000-4000-8000-000000000000', -1)$$,
  '22023', null, 'a negative quota');
select throws_ok(
  $$select check_organization_monthly_quota('c0000000-0000-4000-8000-000000000000')$$,
  'TS404', null, 'an unknown organization');

select * from finish();
rollback;
