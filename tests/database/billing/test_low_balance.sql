-- An organization is warned before its credits end.
begin;
select plan(42);

select tests.freeze_clock('2026-03-10 12:00+00');
create temp table scene as
select o.org, tests.organization('Bravo') as bravo, r.*
from (select tests.organization('Acme') as org) as o
cross join lateral (
  select
    tests.member(o.org, 'owner') as owner, tests.member(o.org, 'admin') as admin,
    tests.member(o.org, 'finance') as finance, tests.member(o.org, 'member') as member,
    tests.member(o.org, 'viewer') as viewer, gen_random_uuid() as stranger
) as r;
grant select on scene to public;

select throws_ok(
  $$select billing.set_low_balance(org, 1) from scene$$, 'TS404', null,
  'without credits there is nothing to warn of'
);
select tests.buy(org, 10) from scene;
create function pg_temp.events()
returns setof text
language plpgsql
as $$
begin
  -- As a commit would.
  set constraints billing.credit_balances_announce_low immediate;
  set constraints billing.credit_balances_announce_low deferred;
  return query
  select concat_ws(
    ' ', o.topic, case when o.subject_id = org then 'of it' end, o.payload ->> 'available_usd',
    'of', o.payload ->> 'low_balance_usd'
  )
  from scene inner join audit.outbox as o on o.organization_id = org
  order by o.id;
end
$$;
create function pg_temp.is_low()
returns boolean
language plpgsql
as $$
begin
  perform pg_temp.events();
  return (select is_low from scene inner join billing.credit_balances on org_id = org);
end
$$;

-- Once per crossing --------------------------------------------------------------------------------

select results_eq(
  $$select low_balance_usd::numeric, balance_usd::numeric
    from scene, billing.set_low_balance(org, 5.000000000001)$$,
  $$values (5.000000000001, 10.0)$$, 'a threshold'
);
select is_empty('select pg_temp.events()', 'tells nobody by itself');
create temp table runs as select tests.run(org, 4) as first, null::uuid as second, null::uuid as third
from scene;
select is_empty('select pg_temp.events()', 'nor does what stays above it');
select tests.freeze_clock('2026-03-10 12:01+00');
update runs set second = (select tests.run(org, 1) from scene);
select results_eq(
  'select pg_temp.events()', $$values ('billing.low_balance of it 5 of 5.000000000001')$$,
  'a reservation that goes below it sends an event'
);
select ok(pg_temp.is_low(), 'the balance is low');
select tests.freeze_clock('2026-03-10 12:02+00');
update runs set third = (select tests.run(org, 2) from scene);
select billing.adjust_credits(org, -1, 'r', 'k') from scene;
select tests.buy(org, 1) from scene;
select results_eq(
  'select count(*) from pg_temp.events()', $$values (1::bigint)$$,
  'as long as it is low there is no other'
);
-- What was reserved is free for a moment before it is charged.
select tests.call(first, 4), tests.call(second, 1) from runs;
select c.id from runs, billing.complete_run(first) as c;
select c.id from runs, billing.complete_run(second) as c;
select results_eq(
  'select count(*) from pg_temp.events()', $$values (1::bigint)$$,
  'what only went through it is no crossing'
);
select tests.buy(org, 2) from scene;
select ok(pg_temp.is_low(), 'a trillionth below is low');
select m.id from scene, billing.grant_credits(org, 'promo', 0.000000000001, 'promo', '2026-03-11') as m;
select ok(not pg_temp.is_low(), 'exactly at it is not');
select results_eq('select count(*) from pg_temp.events()', $$values (1::bigint)$$, 'which is no event');
select tests.freeze_clock('2026-03-11 00:00+00');
select is(billing.expire_credits(), 1, 'what expires may cross it');
select results_eq(
  'select pg_temp.events() offset 1', $$values ('billing.low_balance of it 5 of 5.000000000001')$$,
  'and sends another'
);
select tests.buy(org, 5) from scene;
select ok(not pg_temp.is_low(), 'a purchase raises it');
select tests.freeze_clock('2026-03-11 01:00+00');
select tests.hold(org, 7) from scene;
select results_eq(
  'select pg_temp.events() offset 2', $$values ('billing.low_balance of it 3 of 5.000000000001')$$,
  'a draw that crosses it sends another'
);

-- Setting it ---------------------------------------------------------------------------------------

select tests.freeze_clock('2026-03-11 02:00+00');
create function pg_temp.set(p_amount numeric)
returns boolean
language plpgsql
as $$
begin
  perform billing.set_low_balance(org, p_amount) from scene;
  return pg_temp.is_low();
end
$$;
select ok(pg_temp.set(4), 'another threshold above what there is');
select results_eq(
  'select count(*) from pg_temp.events()', $$values (3::bigint)$$, 'is the same crossing'
);
select ok(not pg_temp.set(3), 'one that is met is not low');
select ok(pg_temp.set(3.5), 'one that is not');
select results_eq(
  'select pg_temp.events() offset 3', $$values ('billing.low_balance of it 3 of 3.5')$$,
  'sends an event, without a movement'
);
select ok(not pg_temp.set(null), 'without a threshold it is never low');
select ok(not pg_temp.set(0), 'nor below nothing');
select results_eq('select count(*) from pg_temp.events()', $$values (4::bigint)$$, 'that is all');
select is_empty(
  $$select from scene inner join audit.outbox on organization_id <> org$$, 'and of nobody else'
);

-- Refusals -----------------------------------------------------------------------------------------

select is(
  tests.facts_of(format('select billing.set_low_balance(org, %L) from scene', v.amount))
  ->> 'argument', 'p_low_balance_usd', v.amount || ' is no threshold'
)
from (
  values ('-0.000000000001'), ('NaN'), ('Infinity'), ('0.0000000000001'), ('1000000000000')
) as v (amount);
select throws_ok(
  format('select billing.set_low_balance(%s, 1) from scene', v.org), v.code, null, v.description
)
from (
  values
  ('null', '22023', 'no organization'), ('gen_random_uuid()', 'TS404', 'an unknown organization'),
  ('bravo', 'TS404', 'one without credits')
) as v (org, code, description);
select is(low_balance_usd::numeric, 0.0, 'what is refused changes nothing')
from scene inner join billing.credit_balances on org_id = org;

-- Who ----------------------------------------------------------------------------------------------

create function pg_temp.attempt(p_role text, p_user uuid)
returns text
language plpgsql
as $$
declare
  v_result text;
begin
  perform tests.act_as(p_role, p_user);
  begin
    select low_balance_usd::numeric::text into v_result
    from scene, billing.set_low_balance(org, 999999999999.999999999999);
  exception when others then
    v_result := sqlstate;
  end;
  reset role;
  return v_result;
end
$$;
select is(
  pg_temp.attempt(
    v.role, case v.person when 'owner' then owner when 'admin' then admin when 'finance' then finance
      when 'member' then member when 'viewer' then viewer when 'stranger' then stranger end
  ),
  v.expected, coalesce(v.person, v.role)
)
from scene, (
  values
  ('authenticated', 'owner', '999999999999.999999999999'),
  ('authenticated', 'admin', '999999999999.999999999999'),
  ('authenticated', 'finance', '999999999999.999999999999'),
  ('authenticated', 'member', '42501'), ('authenticated', 'viewer', '42501'),
  ('authenticated', 'stranger', '42501'), ('anon', null, '42501'),
  ('service_role', null, '999999999999.999999999999')
) as v (role, person, expected);

select is_empty($$select * from audit.verify_integrity()$$, 'the books agree');
select * from finish();
rollback;
