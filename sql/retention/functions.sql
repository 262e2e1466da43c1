-- Housekeeping: what must be there ahead of time, and what need not be kept.

-- Makes the partitions of the next 24 months; forgets request ids after 400 days, and holds 45 days
-- after they were released or expired; charges the draws of days that are over, takes back expired
-- credits, posts the provider cost of days that are over, and seals. Idempotent.
create function private.maintain()
returns void
language plpgsql
volatile
set search_path = pg_catalog, pg_temp
as $$
declare
  v_now timestamptz := private.clock_now();
  v_ledger text;
begin
  for v_ledger in select l.parent from private.partitioned_ledgers as l order by l.parent loop
    perform private.create_partition(v_ledger::regclass, ((v_now at time zone 'UTC') + m.ahead)::date)
    from (
      select make_interval(months => n) as ahead from generate_series(0, 24) as n
    ) as m;
  end loop;
  delete from metering.request_keys as k where k.created_at < v_now - interval '400 days';
  delete from metering.holds as h
  where h.state <> 'open' and h.closed_at < v_now - interval '45 days';
  perform billing.close_draws();
  perform billing.expire_credits();
  perform accounting.post_provider_cost();
  perform audit.seal_ledgers();
end
$$;

comment on function private.maintain() is
  'Makes the partitions of this month and the next 24; forgets request ids after 400 days, and '
  'holds 45 days after they were released or expired; charges the draws of days that are over, '
  'takes back expired credits, posts the provider cost of days that are over, and seals.';

-- Lets pg_cron run maintain() daily, make_checkpoint() hourly and on Sundays in full, and
-- expire_holds(), close_draws(), expire_credits() and seal_ledgers() every minute, where it is
-- installed.
-- Idempotent: each job has one name.
create function private.schedule_maintenance()
returns boolean
language plpgsql
volatile
set search_path = pg_catalog, pg_temp
as $$
begin
  if to_regprocedure('cron.schedule(text, text, text)') is null then
    return false;
  end if;
  -- Dynamic, because on most servers there is no such schema to check it against.
  execute format(
    'select cron.schedule(%L, %L, %L)',
    'tallystick-maintain', '17 3 * * *', 'select private.maintain()'
  );
  execute format(
    'select cron.schedule(%L, %L, %L)',
    'tallystick-expire-holds', '* * * * *', 'select metering.expire_holds()'
  );
  execute format(
    'select cron.schedule(%L, %L, %L)',
    'tallystick-close-draws', '* * * * *', 'select billing.close_draws()'
  );
  execute format(
    'select cron.schedule(%L, %L, %L)',
    'tallystick-expire-credits', '* * * * *', 'select billing.expire_credits()'
  );
  execute format(
    'select cron.schedule(%L, %L, %L)',
    'tallystick-seal-ledgers', '* * * * *', 'select audit.seal_ledgers()'
  );
  execute format(
    'select cron.schedule(%L, %L, %L)',
    'tallystick-make-checkpoint', '43 * * * *', 'select audit.make_checkpoint()'
  );
  execute format(
    'select cron.schedule(%L, %L, %L)',
    'tallystick-check-everything', '29 4 * * 0', 'select audit.make_checkpoint(true)'
  );
  return true;
end
$$;

comment on function private.schedule_maintenance() is
  'Schedules private.maintain() daily, audit.make_checkpoint() hourly and on Sundays in full, and '
  'metering.expire_holds(), billing.close_draws(), billing.expire_credits() and '
  'audit.seal_ledgers() every minute with pg_cron; false where pg_cron is not installed: then any '
  'other scheduler may run them, as the owner of the schema.';

revoke execute on function
private.maintain(),
private.schedule_maintenance()
from public, anon, authenticated, service_role;

do $$
begin
  perform private.maintain();
  perform private.schedule_maintenance();
end
$$;
