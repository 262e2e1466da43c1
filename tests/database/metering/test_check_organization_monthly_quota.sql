begin;
select plan(19);

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
