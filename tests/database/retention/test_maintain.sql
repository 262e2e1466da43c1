begin;
select plan(18);

select tests.freeze_clock('2031-01-31 23:59:59+00');
select lives_ok($$select private.maintain()$$, 'maintain runs on the last day of a month');
select is(
  (
    select count(*)
    from generate_series(0, 24) as n
    where to_regclass(
      'private.ai_usage_ledger_'
      || to_char('2031-01-01'::date + make_interval(months => n), 'YYYY_MM')
    ) is not null
  ),
  25::bigint, 'this month and the next 24 have their partition'
);
select is(
  to_regclass('private.ai_usage_ledger_2033_02'), null, 'and no more'
);

insert into tenancy.organizations (id, name) values
('a0000000-0000-4000-8000-000000000000', 'Acme');
insert into metering.request_keys (
  organization_id, operation, request_id, content_hash, subject_id, created_at
)
select
  'a0000000-0000-4000-8000-000000000000', 'record', k.request_id, repeat('0', 64),
  gen_random_uuid(), private.clock_now() - k.age
from (values ('kept', interval '400 days'), ('forgotten', interval '401 days')) as k (
  request_id, age
);
select private.maintain();
select results_eq(
  $$select request_id::text from metering.request_keys$$, $$values ('kept')$$,
  'request ids are forgotten after 400 days'
);

-- Holds: 45 days after they ended, so that a late settlement still knows what they were.
create temp table held as
select
  n.name,
  tests.hold('a0000000-0000-4000-8000-000000000000', 1, n.name, p_expires_in => n.expires_in) as id
from (
  values
  ('released', interval '1 hour'), ('expired', interval '1 second'), ('open', interval '1 hour')
) as n (name, expires_in);
select tests.freeze_clock('2031-02-01 00:00:00+00');
select held.id from held, release_spend(held.id) where name = 'released';
select metering.expire_holds();
select tests.freeze_clock('2031-02-01 00:00:00+00'::timestamptz + interval '45 days');
select private.maintain();
select set_eq(
  $$select name from held inner join metering.holds as h on h.id = held.id$$,
  $$values ('released'), ('expired'), ('open')$$, 'holds that ended are kept 45 days'
);
select tests.freeze_clock('2031-02-01 00:00:01+00'::timestamptz + interval '45 days');
select private.maintain();
select set_eq(
  $$select name from held inner join metering.holds as h on h.id = held.id$$,
  $$values ('open')$$, 'and then forgotten; an overdue one, whose money nobody took, is not'
);

select lives_ok($$select private.maintain()$$, 'again does nothing');
select throws_ok(
  $$select private.create_partition('tenancy.organizations', '2031-01-01')$$,
  '22023', null, 'only a registered ledger has partitions'
);

-- pg_cron, as far as it is asked.
select ok(not private.schedule_maintenance(), 'without pg_cron nothing is scheduled');
create schema cron;
create table cron.job (name text, schedule text, command text);
create function cron.schedule(p_name text, p_schedule text, p_command text)
returns bigint language sql as $$
  insert into cron.job values (p_name, p_schedule, p_command) returning 1::bigint
$$;
select ok(private.schedule_maintenance(), 'with pg_cron something is');
select results_eq(
  $$select name, command, schedule from cron.job order by name$$,
  $$values
    ('tallystick-check-everything', 'select audit.make_checkpoint(true)', '29 4 * * 0'),
    ('tallystick-close-draws', 'select billing.close_draws()', '* * * * *'),
    ('tallystick-expire-credits', 'select billing.expire_credits()', '* * * * *'),
    ('tallystick-expire-holds', 'select metering.expire_holds()', '* * * * *'),
    ('tallystick-maintain', 'select private.maintain()', '17 3 * * *'),
    ('tallystick-make-checkpoint', 'select audit.make_checkpoint()', '43 * * * *'),
    ('tallystick-seal-ledgers', 'select audit.seal_ledgers()', '* * * * *')$$,
  'what waits goes every minute, checks run every hour, and maintain every day'
);
select lives_ok(
  format('do $do$ begin perform * from (%s) as job; end $do$', command),
  'as it is scheduled it runs: ' || command
)
from cron.job order by name;

select * from finish();
rollback;
