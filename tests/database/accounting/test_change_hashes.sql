-- What was changed in the books is hashed the same, wherever the session is.
begin;
select plan(9);

select tests.freeze_clock('2026-03-10 22:30+00');
create temporary table scene as select tests.organization() as org;
select tests.chart(org) from scene;

-- Makes every change, each with what it is called after; made again, it is the same.
create function pg_temp.change(p_zone text, p_style text)
returns void
language plpgsql
as $$
declare
  v_org uuid := (select org from scene);
begin
  perform set_config('timezone', p_zone, true);
  perform set_config('datestyle', p_style, true);
  perform accounting.set_entity(v_org, 'SUB', 'Sub', p_correlation_id => p_zone);
  perform accounting.set_account(v_org, '1000', 'Cash', 'asset', p_correlation_id => p_zone);
  perform accounting.set_account_map(v_org, 'cash', 'cash', p_zone);
  perform accounting.record_balance_snapshot(
    v_org, 'bank', 'cash', '2026-01-31', 1, p_correlation_id => p_zone
  );
  perform accounting.set_obligation(
    v_org, 'lease', 'Rent', 'monthly', 1, '2026-01-31', p_correlation_id => p_zone
  );
  perform accounting.roll_obligations(v_org, '2026-03-01', p_zone);
  perform accounting.close_period(v_org, '2026-01', p_zone);
  perform accounting.lock_period(v_org, '2025-12', p_zone);
  perform set_config('timezone', 'UTC', true);
  perform set_config('datestyle', 'ISO, MDY', true);
end
$$;
select pg_temp.change('America/New_York', 'ISO, MDY');
select pg_temp.change('UTC', 'ISO, MDY');
select pg_temp.change('Pacific/Auckland', 'German, DMY');
select pg_temp.change('Asia/Kathmandu', 'SQL, DMY');

select is(
  count(distinct (e.input_hash, e.output_hash)), 1::bigint, e.tool_name::text
)
from audit.event_log as e
where e.correlation_id in ('UTC', 'Pacific/Auckland', 'Asia/Kathmandu', 'America/New_York')
group by e.tool_name
order by e.tool_name;
select is(count(*), 32::bigint, 'all of them were made') from audit.event_log as e
where e.correlation_id in ('UTC', 'Pacific/Auckland', 'Asia/Kathmandu', 'America/New_York');

select * from finish();
rollback;
