-- Who reads and who keeps the books: members with an eye on money, and server roles.
begin;
select plan(135);

grant app_user, tallystick_reader, tallystick_writer to current_user;

create temporary table scene as
select
  o.org, tests.member(o.org, 'owner') as owner, tests.member(o.org, 'admin') as admin,
  tests.member(o.org, 'finance') as finance, tests.member(o.org, 'member') as member,
  tests.member(o.org, 'viewer') as viewer, tests.member(o.other, 'owner') as stranger
from (select tests.organization() as org, tests.organization('Other') as other) as o;
grant select on scene to public;
select tests.keep_books(org) from scene;

create function pg_temp.answer(p_role text, p_person uuid, p_statement text)
returns text
language plpgsql
as $$
declare
  v_answer text;
begin
  perform tests.act_as(p_role, p_person);
  execute p_statement into v_answer;
  set constraints all immediate; -- as at commit, in the role of the caller
  reset role;
  return coalesce(v_answer, 'nothing');
exception when others then
  reset role;
  return sqlstate;
end
$$;

create temporary table tries as
select c.statement, c.answer
from scene cross join lateral (
  values
  (format(
    'select accounting.record_transaction_bundle(%L, %L)::json ->> ''status''', org,
    tests.request('tried')
  ), 'committed'),
  (format(
    'select accounting.reverse_transaction(%L, %L, ''2026-02-01'', ''c'')::json ->> ''status''', org,
    (select t.transaction_id from accounting.ledger_transactions as t where t.external_id = 'first')
  ), 'committed'),
  (format('select (accounting.set_entity(%L, ''NEW'', ''x'')).code', org), 'NEW'),
  (format('select (accounting.set_account(%L, ''9999'', ''x'', ''asset'')).code', org), '9999'),
  (format(
    'select (accounting.record_balance_snapshot(%L, ''x'', ''cash'', ''2026-01-31'', 1)).balance', org
  ), '1.0000'),
  (format(
    'select (accounting.set_obligation(%L, ''x'', ''x'', ''custom'', 1, ''2026-01-31'')).name', org
  ), 'x'),
  (format('select count(*) from accounting.roll_obligations(%L, ''2020-01-01'')', org), '0'),
  (format('select (accounting.close_period(%L, ''2020-01'', ''c'')).period_status', org), 'closed'),
  (format('select (accounting.reopen_period(%L, ''2020-01'', ''c'')).period_status', org), 'open'),
  (format('select (accounting.lock_period(%L, ''2020-02'', ''c'')).period_status', org), 'locked')
) as c (statement, answer);
create temporary table reads as
select c.statement, c.answer
from scene cross join lateral (
  values
  (format('select closing_balance from accounting.trial_balance(%L) where code = ''1010''', org),
    '0.0000'),
  (format('select amount from accounting.account_ledger(%L, ''cash'') limit 1', org), '10.0000'),
  (format('select accounting.balance_as_of(%L, ''bank'')', org), '0.0000'),
  (format('select name from accounting.income_statement(%L) where code = ''4000''', org), 'Sales'),
  (format('select name from accounting.balance_sheet(%L) where code = ''1000''', org), 'Cash'),
  (format('select code from accounting.compare_snapshots(%L)', org), '1000')
) as c (statement, answer);

-- Reads first, as the rest changes what is read.
select is(
  pg_temp.answer(
    p.role, p.person, r.statement
  ), case when p.may then r.answer else '42501' end, p.who || ': ' || r.statement
)
from reads as r
cross join scene
cross join lateral (
  values
  ('the owner', 'authenticated', owner, true), ('an admin', 'authenticated', admin, true),
  ('finance', 'authenticated', finance, true), ('a member', 'authenticated', member, false),
  ('a viewer', 'authenticated', viewer, false), ('a stranger', 'authenticated', stranger, false),
  ('anon', 'anon', null, false), ('the reader, who executes nothing', 'tallystick_reader', null, false),
  ('a service', 'service_role', null, true), ('an app', 'app_user', null, true),
  ('a writer', 'tallystick_writer', null, true)
) as p (who, role, person, may);

-- Those who may, may: everybody finds what they did the same way.
select is(
  pg_temp.answer(p.role, p.person, t.statement), case when p.may then t.answer else '42501' end,
  p.who || ': ' || t.statement
)
from scene
cross join lateral (
  values
  (1, 'a member', 'authenticated', member, false), (2, 'a viewer', 'authenticated', viewer, false),
  (3, 'a stranger', 'authenticated', stranger, false), (4, 'anon', 'anon', null, false),
  (5, 'the reader', 'tallystick_reader', null, false),
  (6, 'finance', 'authenticated', finance, true)
) as p (number, who, role, person, may)
cross join tries as t
order by p.number;

-- As whom -------------------------------------------------------------------------------------------

select is(
  pg_temp.answer(p.role, p.person, format(
    'select accounting.record_transaction_bundle(%L, %L, %L)', org, tests.request(p.id), p.actor
  )) not like '_____', p.may, p.says
)
from scene cross join lateral (
  values
  ('as owner', 'authenticated', owner, null, true, 'a person acts as themselves'),
  ('as other', 'authenticated', owner, 'somebody', false, 'and as nobody else'),
  ('as app', 'app_user', null, 'importer', true, 'a server names for whom it acts'),
  ('as service', 'service_role', null, null, true, 'or acts for itself'),
  ('as blank', 'service_role', null, ' ', false, 'but not for nobody'),
  ('as long', 'service_role', null, repeat('x', 255), false, 'nor for a name too long')
) as p (id, role, person, actor, may, says);
select results_eq(
  $$select external_id::text, recorded_by::text from accounting.ledger_transactions
    where external_id like 'as %' order by 1$$,
  $$select * from (
      select 'as app', 'service:importer' union all
      select 'as owner', 'user:' || owner::text from scene union all
      select 'as service', 'service:service_role'
    ) as e order by 1$$,
  'which the books keep'
);
select results_eq(
  $$select distinct authn_method, actor_id like 'user:%' from audit.event_log
    where correlation_id in ('c-as owner', 'c-as app') order by 1$$,
  $$values ('asserted', false), ('jwt', true)$$, 'and the log, and how it is known'
);
select is(
  pg_temp.answer('app_user', null, 'select count(*) from audit.verify_integrity()'), '0',
  'nothing is wrong, says whoever may verify'
);

select * from finish();
rollback;
