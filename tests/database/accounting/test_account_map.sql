-- set_account_map, get_account_map: where billing is booked, and who says so.
begin;
select plan(28);

select tests.freeze_clock('2026-03-10 12:00+00');
create temporary table scene as select tests.organization() as org;
grant select on scene to public;
select tests.chart(org) from scene;
create temporary table people as
select r.role, tests.member(org, r.role) as id
from scene cross join unnest(array['owner', 'admin', 'finance', 'member', 'viewer']) as r (role);
create temporary table elsewhere as
select (accounting.set_entity(org, 'SUB', 'Subsidiary', p_entity_id => 'sub')).entity_id from scene;
select (
  accounting.set_account(org, 'S1', 'S1', 'asset', p_entity_id => 'sub', p_account_id => 's1')
).account_id
from scene;
create function pg_temp.postings()
returns table (line text, account_id text, amount numeric)
language sql
as $$
  select p.memo, p.account_id::text, p.amount::numeric
  from accounting.ledger_postings as p
  inner join accounting.ledger_transactions as t using (organization_id, transaction_id)
  where t.source_system = 'tallystick'
  order by t.recorded_at, t.transaction_id, p.position
$$;

-- Before the first posting --------------------------------------------------------------------------

select results_eq(
  $$select line, account_type from scene, accounting.get_account_map(org) where account_id is null$$,
  $$values ('cash', 'asset'), ('receivable', 'asset'), ('customer_credits', 'liability'),
    ('accounts_payable', 'liability'), ('revenue', 'income'), ('late_usage', 'income'),
    ('breakage', 'income'), ('promo_expense', 'expense'), ('adjustment', 'expense'),
    ('provider_cost', 'expense')$$,
  'the lines are known before they have accounts'
);
select results_eq(
  $$select m.line, m.entity_id::text, m.account_id::text, m.updated_at
    from scene, accounting.set_account_map(org, 'cash', 'bank', 'c', 'controller') as m$$,
  $$values ('cash', 'entity-default', 'bank', '2026-03-10 12:00+00'::timestamptz)$$,
  'an account is named'
);
select results_eq(
  $$select tool_name::text, correlation_id::text, actor_id::text, status::text
    from audit.event_log where tool_name = 'set_account_map'$$,
  $$values ('set_account_map', 'c', 'service:controller', 'ok')$$, 'and logged'
);
select (
  accounting.set_account(
    org, 'billing:revenue', 'Mine', 'expense', p_account_id => 'mine'
  )
).account_id
from scene;
select tests.buy(org, 10) from scene;
select results_eq(
  'select * from pg_temp.postings()',
  $$values ('cash', 'bank', 10.0), ('customer_credits', 'billing:customer_credits', -10)$$,
  'what was named is used, the rest gets accounts of its own'
);
select is_empty(
  $$select from accounting.accounts where account_id = 'billing:cash'$$,
  'no account is made that nobody needs'
);
select matches(
  (
    select account_id from scene, accounting.get_account_map(org) where line = 'revenue'
  ),
  '^billing:revenue:[0-9a-f-]{36}$', 'a code that is taken is not taken away'
);

-- Changes -------------------------------------------------------------------------------------------

select tests.freeze_clock('2026-03-11 12:00+00');
select is(
  (accounting.set_account_map(org, 'cash', 'cash')).account_id::text, 'cash', 'another is named'
)
from scene;
select tests.buy(org, 5) from scene;
select results_eq(
  $$select line, account_id, amount from pg_temp.postings() where line = 'cash'$$,
  $$values ('cash', 'bank', 10.0), ('cash', 'cash', 5)$$,
  'from then on; what was posted stays where it is'
);
set constraints all immediate;
select is_empty(
  'select f.* from scene, audit.verify_integrity(org) as f',
  'the line is whole, over both accounts'
);
select is(
  (accounting.set_account_map(org, v.line, v.account_id)).account_id::text, v.account_id, v.line
)
from scene
cross join (
  values ('late_usage', 'sales'), ('breakage', 'sales'), ('promo_expense', 'sales'),
  ('adjustment', 'rent')
) as v (line, account_id);
create temporary table runs as select tests.run(org, 1) as run from scene;
select (billing.cancel_run(run)).action from runs;
select (billing.adjust_credits(org, -1, 'x', 'x')).reason from scene;
select is(
  (select sum(amount) from pg_temp.postings() where account_id = 'rent'), -1.0,
  'lines may share an account, also one that is there already'
);

-- An account keeps to its lines
select (
  accounting.set_account(org, v.id, v.id, v.type, p_account_id => v.id)
).account_id
from scene cross join (values ('till', 'asset'), ('gifts', 'expense')) as v (id, type);
select (accounting.set_account_map(org, v.line, v.id)).account_id
from scene cross join (values ('cash', 'till'), ('promo_expense', 'gifts')) as v (line, id);
select throws_ok(
  format('select accounting.set_account(%L, ''till'', ''till'', ''expense'')', org), '23001', null,
  'the account of a line gets no type that the line does not take'
) from scene;
select is(
  (accounting.set_account(org, 'gifts', 'gifts', 'income')).account_type, 'income',
  'but one that it takes'
) from scene;
select (accounting.set_account_map(org, 'cash', 'cash')).account_id from scene;
select is(
  (accounting.set_account(org, 'till', 'till', 'expense')).account_type, 'expense',
  'and any, once no line is booked there'
) from scene;

-- Refusals ------------------------------------------------------------------------------------------

select throws_ok(
  format('select accounting.set_account_map(%L, %L, %L)', org, v.line, v.account_id), v.code, null,
  v.says
)
from scene
cross join (
  values
  ('nothing', 'cash', '22023', 'an unknown line'),
  (null, 'cash', '22023', 'none'),
  ('cash', null, '22023', 'no account'),
  ('cash', 'nowhere', 'TS404', 'an unknown one'),
  ('cash', 's1', 'TS404', 'one of another entity'),
  ('cash', 'sales', '22023', 'one of another type')
) as v (line, account_id, code, says);
select throws_ok(
  $$select accounting.set_account_map('00000000-0000-4000-8000-000000000000', 'cash', 'cash')$$,
  'TS404', null, 'an unknown organization'
);
select throws_ok(
  $$insert into accounting.account_map (organization_id, line, entity_id, account_id)
    select org, 'nothing', 'entity-default', 'cash' from scene$$,
  '23514', null, 'nobody adds a line'
);
select throws_ok(
  $$update accounting.account_map set entity_id = 'sub', account_id = 's1' where line = 'cash'$$,
  '23514', null, 'or books one elsewhere'
);
select throws_ok(
  'delete from accounting.account_map', '23001', null, 'or takes one away'
);

-- Who may -------------------------------------------------------------------------------------------

create temporary table answers (role text, reads text, changes text);
grant all on answers to public;
create function pg_temp.tries(p_role text) returns void language plpgsql as $$
declare
  v_reads text := '00000';
  v_changes text := '00000';
begin
  begin
    perform from scene, accounting.get_account_map(org);
  exception when others then v_reads := sqlstate;
  end;
  begin
    perform accounting.set_account_map(org, 'cash', 'bank') from scene;
  exception when others then v_changes := sqlstate;
  end;
  insert into answers values (p_role, v_reads, v_changes);
end
$$;
create function pg_temp.everybody_tries() returns void language plpgsql as $$
declare
  v_person record;
begin
  for v_person in
    select role, id from people union all select 'stranger', gen_random_uuid()
  loop
    perform tests.act_as('authenticated', v_person.id);
    perform pg_temp.tries(v_person.role);
    reset role;
  end loop;
end
$$;
select pg_temp.everybody_tries();
select set_eq(
  'select * from answers',
  $$values ('owner', '00000', '00000'), ('admin', '00000', '00000'), ('finance', '00000', '00000'),
    ('member', '42501', '42501'), ('viewer', '42501', '42501'), ('stranger', '42501', '42501')$$,
  'owners, admins and finance see the map and change it'
);

select * from finish();
rollback;
