begin;
select plan(10);

create temp table sources as
select p.proname::text as name, p.prosrc as body
from pg_proc as p
where p.pronamespace in ('public'::regnamespace, 'private'::regnamespace, 'tenancy'::regnamespace,
  'metering'::regnamespace, 'audit'::regnamespace);

select is(
  (
    select array_agg(distinct m.code[1] order by m.code[1])
    from sources as s
    cross join regexp_matches(s.body, '''(TS\d{3})''', 'g') as m (code)
  ),
  (select array_agg(e.code order by e.code) from tallystick_errors as e where e.code like 'TS%'),
  'what functions raise of our own class is what the registry lists'
);
select set_eq(
  $$select name from sources where body ~* '\mraise\s'$$,
  array['raise_error', 'abandon_attempt'],
  'every error is raised by the function that reads the registry, but for one that no caller sees'
);
select matches(
  (select body from sources where name = 'abandon_attempt'), 'raise sqlstate ''UNDO0''',
  'that one undoes an attempt'
);
select throws_ok(
  'select private.abandon_attempt()', 'UNDO0', null, 'with a code of its own'
);
select is_empty(
  $$select e.code from tallystick_errors as e where e.code = 'UNDO0'$$,
  'which is not in the registry'
);

-- A function whose attempt may be undone, and that does not catch it.
create temp view uncaught as
select name from sources
where body ~ 'abandon_attempt\(' and body !~ 'when [^;]*sqlstate ''UNDO0''';
select is_empty('table uncaught', 'whoever undoes an attempt catches it');
create function private.careless() returns void language plpgsql
as 'begin perform private.abandon_attempt(); end';
insert into sources select p.proname, p.prosrc from pg_proc as p where p.proname = 'careless';
select set_eq('table uncaught', array['careless'], 'and who does not is seen');
select is_empty(
  $$select e.code from tallystick_errors as e where e.code !~ '^[0-9A-Z]{5}$'
    or e.name !~ '^[a-z_]+$' or e.message = '' or e.hint = ''$$,
  'every entry is complete'
);
select results_eq(
  $$select count(*), count(distinct code), count(distinct name), count(distinct message)
    from tallystick_errors$$,
  $$select n, n, n, n from (select count(*) as n from tallystick_errors) as e$$,
  'and says something of its own'
);
select throws_ok(
  $$select private.raise_error('TS999')$$, 'P0002', null, 'an unregistered code is a mistake'
);

select * from finish();
rollback;
