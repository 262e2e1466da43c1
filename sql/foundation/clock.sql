-- The one clock of the product, and the windows it falls into.
--
-- A function rather than a setting: a caller can set a setting, and so move its own month.
-- It is read once per call and used for id, window and expiry alike.
create function private.clock_now()
returns timestamptz
language plpgsql
volatile
set search_path = pg_catalog, pg_temp
as $$
begin
  return clock_timestamp();
end
$$;

comment on function private.clock_now() is
  'The present time. The only clock the product reads; tests replace it, callers cannot.';

-- A real zone name. PostgreSQL also accepts POSIX specifications such as "Nowhere5", which have
-- no daylight saving rules anybody meant.
create function private.is_time_zone(p_name text)
returns boolean
language sql
stable
set search_path = pg_catalog, pg_temp
as $$
  select
    p_name = 'UTC'
    or exists (select from pg_catalog.pg_timezone_names as z where z.name = p_name)
$$;

comment on function private.is_time_zone(text) is
  'True for the name of a time zone this server knows, such as UTC or Asia/Kathmandu.';

-- The instant at which the window containing p_time began, in the organization's time zone.
--
-- Where clocks go back over midnight, that midnight happens twice; the window begins with the first
-- one. Where they go forward over it, the window begins with the first instant of the day. Hours
-- are counted from there, so they have no gap where clocks change; the last of a day may be short.
create function private.window_start(p_time_window text, p_time timestamptz, p_time_zone text)
returns timestamptz
language plpgsql
immutable
set search_path = pg_catalog, pg_temp
as $$
declare
  v_local timestamp;
  v_start timestamptz;
begin
  if p_time_window = 'total' then
    return timestamptz '-infinity';
  end if;
  if p_time_window = 'hour' then
    v_start := private.window_start('day', p_time, p_time_zone);
    return v_start + floor(extract(epoch from p_time - v_start) / 3600) * interval '1 hour';
  end if;
  v_local := date_trunc(p_time_window, p_time at time zone p_time_zone);
  v_start := v_local at time zone p_time_zone;
  if (v_start - interval '1 hour') at time zone p_time_zone = v_local then
    return v_start - interval '1 hour';
  end if;
  return v_start;
end
$$;

comment on function private.window_start(text, timestamptz, text) is
  'Start of the window (total, hour, day, week, month) that contains p_time, in time zone '
  'p_time_zone; weeks begin on Monday.';

-- The instant at which the window containing p_time ends and the next one begins.
create function private.window_end(p_time_window text, p_time timestamptz, p_time_zone text)
returns timestamptz
language plpgsql
immutable
set search_path = pg_catalog, pg_temp
as $$
declare
  v_start timestamptz := private.window_start(p_time_window, p_time, p_time_zone);
  v_local timestamp;
begin
  if p_time_window = 'total' then
    return timestamptz 'infinity';
  elsif p_time_window = 'hour' then
    return least(
      v_start + interval '1 hour', private.window_end('day', p_time, p_time_zone)
    );
  end if;
  -- From the middle of the first day, so that no change of clocks can lead astray.
  v_local := date_trunc('day', (v_start + interval '6 hours') at time zone p_time_zone);
  return private.window_start(
    p_time_window,
    (v_local + ('1 ' || p_time_window)::interval + interval '12 hours') at time zone p_time_zone,
    p_time_zone
  );
end
$$;

comment on function private.window_end(text, timestamptz, text) is
  'End of the window (total, hour, day, week, month) that contains p_time: the start of the next; '
  'infinity for total.';

-- The calendar day of an instant in the organization's time zone.
create function private.local_day(p_time timestamptz, p_time_zone text)
returns date
language sql
immutable
set search_path = pg_catalog, pg_temp
as $$
  select (p_time at time zone p_time_zone)::date
$$;

comment on function private.local_day(timestamptz, text) is
  'The calendar day on which p_time falls in time zone p_time_zone.';
