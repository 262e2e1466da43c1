begin;
select plan(22);

select results_eq(
  $$select name, time_zone, frozen_at from tenancy.create_organization('Acme')$$,
  $$values ('Acme', 'UTC', null::timestamptz)$$, 'a server role opens an organization'
);
select is_empty($$select * from tenancy.memberships$$, 'for others: it becomes no member');
select results_eq(
  $$select time_zone from tenancy.create_organization('Bravo', 'Asia/Kathmandu')$$,
  $$values ('Asia/Kathmandu')$$, 'in a time zone of its own'
);
select throws_ok($$select tenancy.create_organization(null)$$, '22023', null, 'no name');
select throws_ok($$select tenancy.create_organization(' ')$$, '22023', null, 'a blank name');
select throws_ok(
  $$select tenancy.create_organization(repeat('x', 256))$$, '22023', null, 'a name of 256 characters'
);
select throws_ok(
  $$select tenancy.create_organization('x', null)$$, '22023', null, 'no time zone'
);
select throws_ok(
  $$select tenancy.create_organization('x', 'Europe/Atlantis')$$, '22023', null,
  'a time zone nobody knows'
);
select throws_ok(
  $$select tenancy.create_organization('x', 'Nowhere5')$$, '22023', null,
  'a time zone PostgreSQL would make up'
);
select throws_ok(
  $$insert into tenancy.organizations (name, time_zone) values ('x', 'Nowhere5')$$, '23514', null,
  'not even by writing the table'
);

select tests.act_as('authenticated', 'd0000000-0000-4000-8000-00000000000d');
select lives_ok(
  $$select tenancy.create_organization('Mine')$$, 'a signed-in user opens an organization'
);
select results_eq(
  $$select o.name, m.role from tenancy.memberships as m
    inner join tenancy.organizations as o on o.id = m.organization_id$$,
  $$values ('Mine', 'owner')$$, 'and becomes its owner'
);
reset role;
select tests.act_as('authenticated');
select throws_ok(
  $$select tenancy.create_organization('Nobody''s')$$, '42501', null, 'nobody opens nothing'
);
reset role;
select tests.act_as('anon');
select throws_ok(
  $$select tenancy.create_organization('Anonymous')$$, '42501', null, 'anon opens nothing'
);
reset role;

-- A time zone can be mended until something is counted by it.
select lives_ok(
  $$update tenancy.organizations set time_zone = 'Europe/Berlin' where name = 'Acme'$$,
  'a time zone may change before anything is recorded'
);
-- From Kiritimati's first of November back to UTC's October.
select tests.freeze_clock('2026-10-31 11:00:00+00');
update tenancy.organizations set time_zone = 'Pacific/Kiritimati' where name = 'Acme';
select id from metering.set_budget(
  (select id from tenancy.organizations where name = 'Acme'), 'organization', null, 'month', 5
);
update tenancy.organizations set time_zone = 'UTC' where name = 'Acme';
select is(
  (select private.present_month(id) from tenancy.organizations where name = 'Acme'),
  '2026-10-01'::date, 'a month that was open in another zone begins again'
);
update tenancy.organizations set time_zone = 'Europe/Berlin' where name = 'Acme';
select tests.spend(tests.workflow(o.id), 1) from tenancy.organizations as o where o.name = 'Acme';
select is(
  (select s.window_start from metering.budget_slots as s
   inner join metering.budgets as b on b.id = s.budget_id where b.time_window = 'month'),
  '2026-09-30 22:00:00+00'::timestamptz, 'with the first usage in it'
);
select is_empty($$select * from audit.verify_integrity()$$, 'and the books agree');
select throws_ok(
  $$update tenancy.organizations set time_zone = 'UTC' where name = 'Acme'$$,
  '23001', null, 'a month that was counted is not cut anew'
);
select lives_ok(
  $$update tenancy.organizations set name = 'Acme Ltd', time_zone = 'Europe/Berlin'
    where name = 'Acme'$$,
  'anything else may change'
);
select tests.hold(o.id, 1) from tenancy.organizations as o where o.name = 'Bravo';
select throws_ok(
  $$update tenancy.organizations set time_zone = 'UTC' where name = 'Bravo'$$,
  '23001', null, 'nor one in which money is held'
);
create function pg_temp.code_of(p_statement text) returns text language plpgsql as $$
begin
  execute p_statement;
  return null;
exception when others then
  return sqlstate;
end
$$;
-- Until PostgreSQL 17 a RESTRICT that bites is reported as 23503.
select ok(
  pg_temp.code_of($$delete from tenancy.organizations$$) in ('23001', '23503'),
  'an organization stays'
);

select * from finish();
rollback;
