-- Where the windows of a budget begin and end, in the time zone of its organization.
begin;
select plan(42);

-- The session's time zone must not matter.
set local timezone to 'Pacific/Kiritimati';

select is(
  private.window_start(v.time_window, v.at, v.zone), v.expected, v.description || ': start'
)
from (
  values
  ('hour', '2026-03-10 12:34:56.789+00'::timestamptz, 'UTC', '2026-03-10 12:00+00'::timestamptz,
    'an hour'),
  ('hour', '2026-03-10 12:00+00', 'UTC', '2026-03-10 12:00+00', 'the first instant of an hour'),
  ('hour', '2026-03-10 12:14:59+00', 'Asia/Kathmandu', '2026-03-10 11:15+00',
    'an hour where the offset is odd'),
  ('day', '2026-03-10 18:15+00', 'Asia/Kathmandu', '2026-03-10 18:15+00',
    'a day where the offset is odd'),
  ('day', '2026-03-10 12:00+00', 'Pacific/Kiritimati', '2026-03-10 10:00+00',
    'a day on the far side of the date line'),
  ('week', '2026-03-15 23:59:59.999+00', 'UTC', '2026-03-09 00:00+00', 'a Sunday is in the week'),
  ('week', '2026-03-16 00:00+00', 'UTC', '2026-03-16 00:00+00', 'that ends on Monday'),
  ('week', '2027-01-01 12:00+00', 'UTC', '2026-12-28 00:00+00', 'a week over the year''s end'),
  ('month', '2028-02-29 12:00+00', 'UTC', '2028-02-01 00:00+00', 'a leap day'),
  ('month', '2026-04-01 03:59:59+00', 'America/New_York', '2026-03-01 05:00+00',
    'a month that began in winter time'),
  ('total', '2026-03-10 12:00+00', 'UTC', '-infinity', 'a total has no beginning')
) as v (time_window, at, zone, expected, description);

select is(private.window_end(v.time_window, v.at, v.zone), v.expected, v.description || ': end')
from (
  values
  ('hour', '2026-03-10 12:34:56.789+00'::timestamptz, 'UTC', '2026-03-10 13:00+00'::timestamptz,
    'an hour'),
  ('day', '2026-03-10 18:15+00', 'Asia/Kathmandu', '2026-03-11 18:15+00',
    'a day where the offset is odd'),
  ('week', '2026-03-16 00:00+00', 'UTC', '2026-03-23 00:00+00', 'a week from Monday'),
  ('month', '2026-01-31 12:00+00', 'UTC', '2026-02-01 00:00+00', 'the last day of January'),
  ('month', '2028-02-29 12:00+00', 'UTC', '2028-03-01 00:00+00', 'a leap day'),
  ('month', '2026-12-31 23:00+00', 'UTC', '2027-01-01 00:00+00', 'a month that ends the year'),
  ('total', '2026-03-10 12:00+00', 'UTC', 'infinity', 'a total does not end')
) as v (time_window, at, zone, expected, description);

-- Clocks change. A day has 23, 24 or 25 hours, and its hours are hours.
select is(
  private.window_end(v.time_window, v.at, v.zone)
  - private.window_start(v.time_window, v.at, v.zone),
  v.expected, v.description
)
from (
  values
  ('day', '2026-03-29 12:00+00'::timestamptz, 'Europe/Berlin', interval '23 hours',
    'the day summer time begins'),
  ('day', '2026-10-25 12:00+00', 'Europe/Berlin', interval '25 hours', 'the day it ends'),
  ('day', '2026-11-01 04:30+00', 'America/Havana', interval '25 hours',
    'a day whose midnight happens twice, after the first one'),
  ('day', '2026-11-01 05:30+00', 'America/Havana', interval '25 hours', 'and after the second'),
  ('day', '2026-03-08 12:00+00', 'America/Havana', interval '23 hours',
    'a day without its midnight'),
  ('hour', '2026-10-25 00:30+00', 'Europe/Berlin', interval '1 hour',
    'the hour that happens twice, the first time'),
  ('hour', '2026-10-25 01:30+00', 'Europe/Berlin', interval '1 hour', 'and the second time'),
  ('hour', '2026-03-29 01:30+00', 'Europe/Berlin', interval '1 hour',
    'the hour after the one that does not happen')
) as v (time_window, at, zone, expected, description);
select isnt(
  private.window_start('hour', '2026-10-25 00:30+00', 'Europe/Berlin'),
  private.window_start('hour', '2026-10-25 01:30+00', 'Europe/Berlin'),
  'an hour that happens twice is two windows'
);

-- Every instant lies in one window, and the next begins where it ends. Tried around each change of
-- clocks of a year and the ends of its months, in zones that change them in every known way.
create temp table instants as
select z.zone, c.day + make_interval(mins => 29 * n) as at
from (
  values
  ('UTC'), ('Europe/Berlin'), ('America/New_York'), ('America/Havana'), ('America/Asuncion'),
  ('America/Santiago'), ('Asia/Beirut'), ('Africa/Casablanca'), ('Pacific/Chatham'),
  ('Australia/Lord_Howe')
) as z (zone)
cross join lateral (
  select d.day
  from generate_series('2023-12-31 00:00+00'::timestamptz, '2024-12-31', '1 day') as d (day)
  cross join lateral (select d.day + interval '1 day' as day) as next
  where d.day at time zone z.zone - d.day at time zone 'UTC'
    <> next.day at time zone z.zone - next.day at time zone 'UTC'
    or z.zone = 'UTC' and extract(day from d.day) = 31
) as c
cross join generate_series(-10, 80) as n;
create temp table windows as
select
  v.time_window, i.zone, i.at,
  private.window_start(v.time_window, i.at, i.zone) as begins,
  private.window_end(v.time_window, i.at, i.zone) as ends
from instants as i
cross join (values ('hour'), ('day'), ('week'), ('month')) as v (time_window);
create temp table broken_windows as
select w.*
from windows as w
where w.begins > w.at
  or w.at >= w.ends
  or private.window_start(w.time_window, w.ends, w.zone) <> w.ends
  or private.window_end(w.time_window, w.begins, w.zone) <> w.ends;
select is_empty(
  format('select distinct zone from broken_windows where time_window = %L', v.time_window),
  'windows tile: every ' || v.time_window
)
from (values ('hour'), ('day'), ('week'), ('month')) as v (time_window);

-- A day of a window is a calendar day: rollups, kept by day, cut the same windows.
select is_empty(
  $$select distinct zone from windows
    where time_window = 'day' and private.local_day(at, zone) <> private.local_day(begins, zone)$$,
  'a day''s window holds one calendar day'
);

select is(
  private.local_day(v.at, v.zone), v.expected, v.zone || ': the day of ' || v.at
)
from (
  values
  ('2026-03-10 23:59:59.999+00'::timestamptz, 'UTC', '2026-03-10'::date),
  ('2026-03-10 18:14:59+00', 'Asia/Kathmandu', '2026-03-10'),
  ('2026-03-10 18:15+00', 'Asia/Kathmandu', '2026-03-11'),
  ('2026-03-10 09:59:59+00', 'Pacific/Honolulu', '2026-03-09')
) as v (at, zone, expected);

-- A real zone name.
select ok(private.is_time_zone(v.name), v.name || ' is a time zone')
from (values ('UTC'), ('Asia/Kathmandu'), ('America/Argentina/Buenos_Aires')) as v (name);
select ok(not private.is_time_zone(v.name), v.name || ' is none')
from (values ('Europe/Atlantis'), ('Nowhere5'), ('')) as v (name);

select * from finish();
rollback;
