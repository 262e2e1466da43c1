begin;
select plan(19);

insert into tenancy.organizations (id, name, time_zone) values
('a0000000-0000-4000-8000-000000000000', 'Berlin', 'Europe/Berlin'),
('b0000000-0000-4000-8000-000000000000', 'Kathmandu', 'Asia/Kathmandu'),
('c0000000-0000-4000-8000-000000000000', 'Havana', 'America/Havana'),
('d0000000-0000-4000-8000-000000000000', 'Honolulu', 'Pacific/Honolulu');
insert into metering.workflows (organization_id) select o.id from tenancy.organizations as o;

create function pg_temp.spend_at(p_id text, p_time timestamptz, p_cost numeric)
returns void language sql as $$
  select tests.freeze_clock(p_time);
  select tests.spend(w.id, p_cost)
  from metering.workflows as w
  where w.organization_id = (p_id || '0000000-0000-4000-8000-000000000000')::uuid;
$$;
create function pg_temp.month_cost_at(p_id text, p_time timestamptz)
returns numeric language sql as $$
  select tests.freeze_clock(p_time);
  select public.get_organization_monthly_ai_cost(
    (p_id || '0000000-0000-4000-8000-000000000000')::uuid
  );
$$;

-- The session's time zone must not matter.
set local timezone to 'Pacific/Kiritimati';

-- Berlin, over the end of summer time: October 2026 ends at 23:00 UTC.
select pg_temp.spend_at('a', '2026-09-30 21:59:59.999+00', 1);
select pg_temp.spend_at('a', '2026-09-30 22:00:00+00', 2);
select pg_temp.spend_at('a', '2026-10-31 22:59:59.999+00', 4);
select pg_temp.spend_at('a', '2026-10-31 23:00:00+00', 8);
select is(pg_temp.month_cost_at('a', '2026-09-15 00:00:00+00'), 1::numeric, 'September');
select is(pg_temp.month_cost_at('a', '2026-10-01 00:00:00+00'), 6::numeric,
  'October begins in summer time and ends in winter time');
select is(pg_temp.month_cost_at('a', '2026-10-31 22:59:59+00'), 6::numeric,
  'until its last second');
select is(pg_temp.month_cost_at('a', '2026-10-31 23:00:00+00'), 8::numeric, 'November');

-- Year end, with a zone of an odd offset: 18:15 UTC.
select pg_temp.spend_at('b', '2026-12-31 18:14:59.999+00', 1);
select pg_temp.spend_at('b', '2026-12-31 18:15:00+00', 2);
select is(pg_temp.month_cost_at('b', '2026-12-31 18:14:59+00'), 1::numeric, 'December 2026');
select is(pg_temp.month_cost_at('b', '2026-12-31 18:15:00+00'), 2::numeric, 'January 2027');
select is(
  pg_temp.month_cost_at('b', '2027-12-31 18:14:59+00'), 0::numeric, 'December 2027 is another one'
);

-- Havana: on 1 November 2026 clocks go back from 01:00 to 00:00, so midnight happens twice.
select pg_temp.spend_at('c', '2026-11-01 03:59:59.999+00', 1);
select pg_temp.spend_at('c', '2026-11-01 04:00:00+00', 2);
select pg_temp.spend_at('c', '2026-11-01 05:00:00+00', 4);
select is(pg_temp.month_cost_at('c', '2026-11-01 03:59:59+00'), 1::numeric, 'October');
select is(pg_temp.month_cost_at('c', '2026-11-01 04:30:00+00'), 6::numeric,
  'the first midnight belongs to November');
select is(pg_temp.month_cost_at('c', '2026-11-01 05:30:00+00'), 6::numeric, 'and so does the second');
select is(
  private.window_start('month', '2026-11-01 05:30:00+00', 'America/Havana'),
  '2026-11-01 04:00:00+00'::timestamptz, 'November begins with the first one'
);

-- A leap day, behind UTC.
select pg_temp.spend_at('d', '2028-03-01 09:59:59.999+00', 1);
select pg_temp.spend_at('d', '2028-03-01 10:00:00+00', 2);
select is(pg_temp.month_cost_at('d', '2028-02-29 12:00:00+00'), 1::numeric, '29 February is February');
select is(pg_temp.month_cost_at('d', '2028-03-01 10:00:00+00'), 2::numeric, 'March');

select results_eq(
  $$select month, monthly_cost from ai_cost_by_organization_month
    where organization_id = 'a0000000-0000-4000-8000-000000000000' order by month$$,
  $$values ('2026-09-01'::date, 1::numeric), ('2026-10-01', 6), ('2026-11-01', 8)$$,
  'the view cuts the same months'
);
select is(
  private.window_start('month', '2026-03-29 12:00:00+00', 'Europe/Berlin'),
  '2026-02-28 23:00:00+00'::timestamptz, 'a month that holds the change to summer time'
);
select is(
  private.window_start('total', now(), 'UTC'), '-infinity'::timestamptz, 'total has no beginning'
);

select throws_ok(
  $$select get_organization_monthly_ai_cost(null)$$, '22023', null, 'no organization'
);
select throws_ok(
  $$select get_organization_monthly_ai_cost('e0000000-0000-4000-8000-000000000000')$$,
  'TS404', null, 'an unknown organization'
);
select is_empty($$select * from audit.verify_integrity()$$, 'the books agree');

select * from finish();
rollback;
