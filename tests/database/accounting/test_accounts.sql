-- set_entity, set_account: what is opened, renamed and moved.
begin;
select plan(37);

create temporary table scene as select tests.organization() as org, tests.organization() as other;
select tests.chart(org) from scene;

-- Entities ------------------------------------------------------------------------------------------

select is((accounting.set_entity(org, 'SUB', 'Subsidiary', p_entity_id => 'sub')).name::text,
  'Subsidiary', 'an entity is opened') from scene;
select results_eq(
  $$select e.entity_id::text, e.name::text, e.metadata
    from scene, accounting.set_entity(org, 'SUB', 'Branch', '{"country": "DE"}') as e$$,
  $$values ('sub', 'Branch', '{"country": "DE"}'::jsonb)$$, 'and renamed by its code'
);
select is((accounting.set_entity(org, 'DEFAULT', 'Acme Inc')).entity_id::text, 'entity-default',
  'so is the first one') from scene;
select is((accounting.set_entity(other, 'SUB', 'x', p_entity_id => 'sub')).entity_id::text, 'sub',
  'another organization has codes and ids of its own') from scene;
select throws_ok(
  format('select accounting.set_entity(%L, %L, %L, %L, %L)', org, r.code, r.name, r.metadata, r.id),
  '22023', null, r.says
)
from scene cross join lateral (
  values
  ('SUB', 'x', '{}', 'other', 'the id of a code stays'),
  ('NEW', 'x', '{}', 'sub', 'an id is of one code'),
  (' ', 'x', '{}', null, 'an entity has a code'),
  ('NEW', null, '{}', null, 'an entity has a name'),
  ('NEW', 'x', '[]', null, 'metadata is an object'),
  ('NEW', 'x', null, null, 'and there'),
  ('NEW', 'x', '{}', '', 'an id is not blank')
) as r (code, name, metadata, id, says);
select throws_ok(
  format('select accounting.set_entity(%L, ''x'', ''x'')', gen_random_uuid()), 'TS404', null,
  'an unknown organization'
);

-- Accounts ------------------------------------------------------------------------------------------

create temporary view account as
select a.account_id::text, a.code::text, a.name::text, a.account_type, a.parent_account_id::text
from accounting.accounts as a, scene
where a.organization_id = org;

select is((accounting.set_account(org, '6000', 'Cloud', 'expense')).parent_account_id::text, null,
  'an account is opened') from scene;
select isnt(account_id, null, 'with an id that is made up') from account where code = '6000';
select is((accounting.set_account(org, '6000', 'Clouds', 'expense', 'rent')).parent_account_id::text,
  'rent', 'moved') from scene;
select results_eq(
  $$select name, account_type, parent_account_id from account where code = '6000'$$,
  $$values ('Clouds', 'expense', 'rent')$$, 'and renamed, by its code'
);
select is((accounting.set_account(org, '6000', 'Clouds', 'asset')).account_type, 'asset',
  'its type changes until something is booked') from scene;
select is(tests.post(org, '1') ->> 'status', 'committed', 'which is then booked') from scene;
select throws_ok(
  format('select accounting.set_account(%L, ''4000'', ''Sales'', ''equity'')', org), '23001', null,
  'and not after'
) from scene;
select is((accounting.set_account(org, '4000', 'Turnover', 'income')).name::text, 'Turnover',
  'a name changes any time') from scene;
select throws_ok(
  format(
    'select accounting.set_account(%L, %L, ''x'', %L, %L, %L, p_account_id => %L)', org, r.code,
    r.type, r.parent, r.entity, r.id
  ), r.expected, null, r.says
)
from scene cross join (
  values
  ('1000', 'asset', 'bank', 'entity-default', null, '22023', 'not below its own part'),
  ('1000', 'asset', 'cash', 'entity-default', null, '22023', 'nor below itself'),
  ('1000', 'asset', 'no', 'entity-default', null, 'TS404', 'nor below nothing'),
  ('1000', 'asset', null, 'sub', null, '22023', 'a code is of one entity'),
  ('1000', 'asset', null, 'entity-default', 'other', '22023', 'the id of a code stays'),
  ('7000', 'asset', null, 'entity-default', 'cash', '22023', 'an id is of one code'),
  ('7000', 'asset', 'cash', 'sub', null, 'TS404', 'a parent is of the same entity'),
  ('7000', 'asset', null, 'no', null, 'TS404', 'an entity is there'),
  ('7000', 'cash', null, 'entity-default', null, '22023', 'a type is one of five'),
  (null, 'asset', null, 'entity-default', null, '22023', 'an account has a code')
) as r (code, type, parent, entity, id, expected, says);

-- The forest ----------------------------------------------------------------------------------------

select throws_ok(
  format(
    'insert into accounting.accounts (organization_id, account_id, code, name, account_type, '
    'parent_account_id) values (%1$L, ''a'', ''a'', ''a'', ''asset'', ''b''), '
    '(%1$L, ''b'', ''b'', ''b'', ''asset'', ''a'')', org
  ), '22023', null, 'two cannot be inserted below each other'
) from scene;
select throws_ok(
  format(
    'insert into accounting.accounts (organization_id, account_id, code, name, account_type, '
    'parent_account_id) values (%L, ''a'', ''a'', ''a'', ''asset'', ''a'')', org
  ), '22023', null, 'nor one below itself'
) from scene;
select throws_ok(
  $$update accounting.accounts set parent_account_id = 'bank' where account_id = 'cash'$$,
  '22023', null, 'nor is a tree turned round by hand'
);
select is(
  (accounting.set_account(org, '1010', 'Bank', 'asset', null)).parent_account_id::text, null,
  'a part comes out'
) from scene;
select is(
  (accounting.set_account(org, '1000', 'Cash', 'asset', 'bank')).parent_account_id::text, 'bank',
  'and the tree turns round'
) from scene;
select results_eq(
  $$select tool_name::text, status, bool_and(actor_id like 'service:%') from audit.event_log
    where tool_name like 'set_%' group by 1, 2 order by 1$$,
  $$values ('set_account', 'ok', true), ('set_entity', 'ok', true)$$,
  'each change left its event'
);
set constraints all immediate;
select is_empty($$select * from audit.verify_integrity()$$, 'nothing is wrong');

select * from finish();
rollback;
