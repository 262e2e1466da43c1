begin;
select plan(5);

create temp table sources as
select p.proname::text as name, p.prosrc as body
from pg_proc as p
where p.pronamespace in ('private'::regnamespace, 'tenancy'::regnamespace,
  'metering'::regnamespace, 'audit'::regnamespace)
  or p.oid in (
    select d.objoid from pg_description as d
    where d.classoid = 'pg_proc'::regclass and d.description like '%ai_cost_governance%'
  );

select is(
  (
    select array_agg(distinct m.code[1] order by m.code[1])
    from sources as s
    cross join regexp_matches(s.body, '''(TS\d{3})''', 'g') as m (code)
  ),
  (select array_agg(e.code order by e.code) from tallystick_errors as e where e.code like 'TS%'),
  'what functions raise of our own class is what the registry lists'
);
select is(
  (select array_agg(s.name) from sources as s where s.body ~* 'raise\s+exception'),
  array['raise_error'],
  'every error is raised by the one function that reads the registry'
);
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
