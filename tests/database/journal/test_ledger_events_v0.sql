-- The journal: what a receipt has, who writes and reads it, and what nobody may do.
begin;
select plan(98);

select tests.freeze_clock('2026-03-10 12:00+00');
create temporary table scene as
select
  o.org, tests.member(o.org) as member, tests.member(o.org, 'viewer') as viewer,
  gen_random_uuid() as owner, gen_random_uuid() as audience, gen_random_uuid() as late,
  gen_random_uuid() as stranger
from (select tests.organization() as org) as o;
grant select on scene to public;

create function pg_temp.answer(p_role text, p_person uuid, p_statement text)
returns text
language plpgsql
as $$
declare
  v_answer text;
begin
  perform tests.act_as(p_role, p_person);
  execute p_statement into v_answer;
  reset role;
  return v_answer;
exception when others then
  reset role;
  return sqlstate;
end
$$;

-- Columns -----------------------------------------------------------------------------------------

select has_column('public', 'ledger_events_v0', c, c || ' is there')
from unnest(array[
  'id', 'logical_id', 'revision', 'supersedes_id', 'op', 'domain', 'event_type', 'owner_user_id',
  'owner_agent_id', 'entity_type', 'entity_id', 'country_code', 'region_code', 'city_code',
  'locality_code', 'occurred_at', 'payload', 'created_at'
]::name []) as c;
select matches(
  col_description('public.ledger_events_v0'::regclass, attnum),
  'always include enough to explain why this door opened', 'the rule stands in the comment'
)
from pg_attribute where attrelid = 'public.ledger_events_v0'::regclass and attname = 'event_type';
select has_view(
  'public', 'ledger_current_' || d || '_v0', 'the ledger ' || d || ' has its view'
)
from unnest(array[
  'expertise', 'payments', 'moderation', 'verification', 'security', 'geo', 'models',
  'admin_exports', 'devices'
]) as d;

-- Writing -----------------------------------------------------------------------------------------

select tests.act_as('authenticated', owner) from scene;
create temporary table mine as
select e.* from scene, ledger_assert_v0(
  'payments', 'paid', '{"amount": "5"}', 'invoice', 'i-1', p_country_code => 'DE'
) as e;
reset role;
select results_eq(
  $$select organization_id = owner, owner_user_id = owner, revision, op, payload, created_at
    from mine, scene$$,
  $$values (
    true, true, 0, 'assert', '{"amount": "5", "source": "client", "schema_version": 0}'::jsonb,
    '2026-03-10 12:00+00'::timestamptz
  )$$,
  'a person writes a receipt as their own tenant'
);
select is(
  pg_temp.answer('authenticated', owner, format(
    'select (ledger_amend_v0(%L, ''{"amount": "6"}'')).revision', logical_id
  )), '1', 'and corrects it'
) from scene, mine;
select is(
  pg_temp.answer('authenticated', owner, format(
    'select (ledger_amend_v0(%L, ''{"amount": "7"}'', %L)).revision', logical_id, id
  )), 'TS419', 'not on what was read before'
) from scene, mine;
select is(
  pg_temp.answer('authenticated', p.person, format(
    'select (ledger_amend_v0(%L, ''{}'', p_organization_id => %L)).revision', logical_id, owner
  )), 'TS404', p.who || ' does not see it'
) from mine, scene cross join lateral (
  values (stranger, 'a stranger'), (member, 'a member of some organization')
) as p (person, who);
select is(
  pg_temp.answer('authenticated', p.person, p.statement), p.expected, p.says
)
from scene cross join mine cross join lateral (
  values
  (stranger, format(
    'insert into ledger_events_v0 (domain, event_type, owner_user_id) values (''d'', ''e'', %L) '
    'returning id', owner
  ), '42501', 'nobody writes for another'),
  (stranger, format(
    'insert into ledger_events_v0 (domain, event_type, organization_id) values (''d'', ''e'', %L) '
    'returning id', owner
  ), '42501', 'nor into the tenant of another'),
  (stranger, format(
    'insert into ledger_events_v0 (domain, event_type, organization_id) values (''d'', ''e'', %L) '
    'returning id', org
  ), '42501', 'nor into an organization that is not theirs'),
  (viewer, format(
    'insert into ledger_events_v0 (domain, event_type, organization_id) values (''d'', ''e'', %L) '
    'returning id', org
  ), '42501', 'nor as a viewer'),
  (member, format(
    'insert into ledger_events_v0 (domain, event_type, organization_id) values (''d'', ''e'', %L) '
    'returning op', org
  ), 'assert', 'a member writes into theirs'),
  (stranger, format(
    'insert into ledger_events_v0 (organization_id, logical_id, domain, event_type) '
    'values (%L, %L, ''d'', ''e'') returning id', owner, logical_id
  ), '42501', 'nor learns what is in it'),
  (stranger, format(
    'insert into ledger_events_v0 (logical_id, revision, supersedes_id, op, domain, event_type) '
    'values (%L, 1, %L, ''amend'', ''payments'', ''e'') returning id', logical_id, id
  ), 'TS404', 'a revision is of one''s own'),
  (owner, format(
    'insert into ledger_events_v0 (logical_id, revision, supersedes_id, op, domain, event_type) '
    'values (%L, 3, (select id from ledger_current_v0), ''amend'', ''payments'', ''e'') '
    'returning id', logical_id
  ), 'TS419', 'a revision is not left out'),
  (owner, format(
    'insert into ledger_events_v0 (logical_id, revision, supersedes_id, op, domain, event_type) '
    'values (%L, 2, (select id from ledger_current_v0), ''amend'', ''geo'', ''e'') returning id',
    logical_id
  ), '22023', 'a receipt stays in its ledger'),
  (owner, format(
    'insert into ledger_events_v0 (logical_id, domain, event_type) values (%L, ''d'', ''e'') '
    'returning id', logical_id
  ), 'TS419', 'what was asserted is not asserted again'),
  (owner, 'insert into ledger_events_v0 (domain, event_type) values (''d'', '' '') returning id',
    '23514', 'an event has a type'),
  (owner, 'insert into ledger_events_v0 (domain, event_type, op) values (''d'', ''e'', ''x'') '
    'returning id', 'TS404', 'an operation nobody knows'),
  (owner, 'insert into ledger_events_v0 (domain, event_type, payload) values (''d'', ''e'', ''[]'') '
    'returning id', '23514', 'a payload is an object'),
  (owner, 'insert into ledger_events_v0 (domain, event_type, created_at) '
    'values (''d'', ''e'', now()) returning id', '42501', 'nobody says when it was written'),
  (owner, 'select ledger_assert_v0(''d'', ''e'', ''{"schema_version": "x"}'')', '22023',
    'a version is a number'),
  (owner, 'select ledger_assert_v0(''d'', ''e'', ''{"source": 5}'')', '22023', 'a source is a text'),
  (owner, 'select ledger_assert_v0(''d'', ''e'', ''{"correlation_id": 5}'')', '22023',
    'a correlation is a text'),
  (owner, format('select ledger_void_v0(%L, '' '')', logical_id), '22023', 'a void has a reason'),
  (owner, 'update ledger_events_v0 set event_type = ''x'' returning id', '42501', 'no update'),
  (owner, 'delete from ledger_events_v0 returning id', '42501', 'no delete')
) as p (person, statement, expected, says);
select throws_ok(s, '23001', null, 'nobody may: ' || s)
from unnest(array[
  'update public.ledger_events_v0 set event_type = ''x''', 'delete from public.ledger_events_v0'
]) as s;

-- What was not written moves no head ---------------------------------------------------------------

-- Of a statement that may have written nothing: how many rows, and what disagrees after it.
create function pg_temp.written(p_role text, p_person uuid, p_statement text)
returns text
language plpgsql
as $$
declare
  v_rows bigint;
begin
  perform tests.act_as(p_role, p_person);
  execute p_statement;
  get diagnostics v_rows = row_count;
  reset role;
  return concat_ws(' ', v_rows, (select string_agg(check_name, ' ') from audit.verify_integrity()));
exception when others then
  reset role;
  return sqlstate;
end
$$;
select tests.act_as('authenticated', owner) from scene;
create temporary table two as
select a.id as a, a.logical_id as la, b.id as b, b.logical_id as lb
from ledger_assert_v0('payments', 'paid') as a, ledger_assert_v0('payments', 'other') as b;
reset role;
create temporary table heads_before as select * from private.ledger_heads;
select is(
  pg_temp.written(role, scene.owner, format(g.statement, scene.owner, la, lb, a, b)), g.expected,
  role || ': ' || g.says
)
from two cross join scene cross join unnest(array['authenticated', 'service_role']) as role
cross join (
  values
  ('insert into ledger_events_v0 (organization_id, id, logical_id, revision, supersedes_id, op, '
    'domain, event_type, owner_user_id, payload) values (%1$L, %5$L, %2$L, 1, %4$L, ''void'', '
    '''payments'', ''x'', %1$L, ''{"void_reason": "x", "voided_by": "y"}'') '
    'on conflict do nothing', '0', 'a revision under the id of another event'),
  ('insert into ledger_events_v0 (organization_id, id, logical_id, revision, supersedes_id, op, '
    'domain, event_type, owner_user_id) values (%1$L, %4$L, %2$L, 1, %4$L, ''amend'', '
    '''payments'', ''x'', %1$L) on conflict (organization_id, id) do nothing', '0',
    'or under the id of the one it revises'),
  ('insert into ledger_events_v0 (organization_id, id, domain, event_type, owner_user_id) '
    'values (%1$L, %5$L, ''payments'', ''ghost'', %1$L) on conflict do nothing', '0',
    'an event under an id that is there'),
  ('insert into ledger_events_v0 (organization_id, id, logical_id, domain, event_type, '
    'owner_user_id) values (%1$L, %5$L, %3$L, ''payments'', ''ghost'', %1$L) '
    'on conflict do nothing', 'TS419', 'an event that is there'),
  ('insert into ledger_events_v0 (organization_id, id, domain, event_type, owner_user_id) '
    'values (%1$L, %5$L, ''payments'', ''ghost'', %1$L)', '23505', 'an id that is there'),
  ('insert into ledger_events_v0 (organization_id, id, domain, event_type, owner_user_id) '
    'values (%1$L, %5$L, ''payments'', ''ghost'', %1$L) '
    'on conflict (organization_id, id) do update set event_type = ''ghost''', '42501',
    'an upsert'),
  ('insert into ledger_events_v0 (organization_id, id, logical_id, revision, supersedes_id, op, '
    'domain, event_type, owner_user_id) values (%1$L, %5$L, %2$L, 1, %4$L, ''amend'', '
    '''payments'', ''x'', %1$L) on conflict (organization_id, id) do update set id = excluded.id',
    '42501', 'an upsert of a revision')
) as g (statement, expected, says);
select results_eq(
  'select h::text from private.ledger_heads as h order by 1',
  'select h::text from heads_before as h order by 1', 'no head has moved'
);
select throws_ok(
  format(
    'update private.ledger_heads set event_id = gen_random_uuid() where logical_id = %L', la
  ), '23503', null, 'a head names an event that is there'
) from two;

-- The rows of one statement follow one another as if each had its own.
select is(
  pg_temp.written(role, scene.owner, format(
    'insert into ledger_events_v0 (organization_id, id, logical_id, revision, supersedes_id, op, '
    'domain, event_type, owner_user_id) values '
    '(%1$L, %3$L, %2$L, 0, null, ''assert'', ''d'', ''e'', %1$L), ' || s.statement,
    scene.owner, gen_random_uuid(), gen_random_uuid(), gen_random_uuid(), gen_random_uuid()
  )), s.expected, role || ': an event and ' || s.says
)
from scene cross join unnest(array['authenticated', 'service_role']) as role
cross join (
  values
  ('(%1$L, %4$L, %2$L, 1, %3$L, ''void'', ''d'', ''e'', %1$L)', '23514', 'a void without a reason'),
  ('(%1$L, %4$L, %2$L, 1, %3$L, ''amend'', ''d'', ''e'', %1$L), '
    '(%1$L, %5$L, %2$L, 2, %4$L, ''amend'', ''d'', ''e'', %1$L)', '3', 'two revisions'),
  ('(%1$L, %4$L, %2$L, 1, %3$L, ''amend'', ''d'', ''e'', %1$L), '
    '(%1$L, %5$L, %2$L, 1, %3$L, ''amend'', ''d'', ''e'', %1$L)', 'TS419', 'two of one revision'),
  ('(%1$L, %4$L, %2$L, 0, null, ''assert'', ''d'', ''e'', %1$L)', 'TS419', 'the same again'),
  ('(%1$L, %3$L, %2$L, 0, null, ''assert'', ''d'', ''e'', %1$L) on conflict do nothing', 'TS419',
    'the same again, duplicates ignored'),
  ('(%1$L, %3$L, %2$L, 1, %3$L, ''amend'', ''d'', ''e'', %1$L), '
    '(%1$L, %4$L, %2$L, 1, %3$L, ''amend'', ''d'', ''e'', %1$L) on conflict do nothing', '2',
    'a revision that is passed over')
) as s (statement, expected, says);

-- Reading -----------------------------------------------------------------------------------------

insert into ledger_audience_v0 (organization_id, logical_id, audience_user_id, granted_by, expires_at)
select owner, logical_id, person, 'test', expires
from mine, scene cross join lateral (
  values (audience, null::timestamptz), (late, '2026-03-10 12:00+00')
) as a (person, expires);
select is(
  pg_temp.answer(p.role, p.person, format(
    'select count(*) || '' '' || (select count(*) from ledger_current_v0 where logical_id = %1$L) '
    '|| '' '' || (select count(*) from ledger_current_payments_v0 where logical_id = %1$L) '
    'from ledger_events_v0 where logical_id = %1$L', logical_id
  )), p.expected, p.says
)
from mine, scene cross join lateral (
  values
  ('authenticated', owner, '2 1 1', 'the owner reads all revisions and the current one'),
  ('authenticated', audience, '2 1 1', 'so does the audience'),
  ('authenticated', late, '0 0 0', 'not an audience whose time is over'),
  ('authenticated', stranger, '0 0 0', 'not a stranger'),
  ('anon', null::uuid, '42501', 'not anon'),
  ('service_role', null, '2 1 1', 'the server does')
) as p (role, person, expected, says);
select is(
  pg_temp.answer('authenticated', audience, format(
    'select (ledger_amend_v0(%L, ''{}'', p_organization_id => %L)).id', logical_id, owner
  )), '42501', 'the audience reads only'
) from mine, scene;
select is(
  pg_temp.answer('authenticated', owner, format(
    'insert into ledger_audience_v0 (organization_id, logical_id, audience_user_id, granted_by) '
    'values (%L, %L, %L, ''me'') returning granted_by', owner, logical_id, stranger
  )), '42501', 'only the server mints an audience'
) from mine, scene;
select is(
  pg_temp.answer('service_role', null, format(
    'select (ledger_void_v0(%L, ''fraud'', ''trust and safety'', p_organization_id => %L)).payload'
    ' ->> ''voided_by''', logical_id, owner
  )), 'trust and safety', 'the server revises what is the owner''s'
) from mine, scene;
select is_empty('select * from audit.verify_integrity()', 'all of that agrees');

-- Each check is broken once --------------------------------------------------------------------------

create function pg_temp.broken(p_break text)
returns text
language plpgsql
as $$
declare
  v_found text;
begin
  execute p_break;
  select string_agg(distinct check_name, ' ' order by check_name) into v_found
  from audit.verify_integrity();
  raise exception using errcode = 'UNDOO';
exception when sqlstate 'UNDOO' then
  return v_found;
end
$$;
alter table ledger_events_v0 disable trigger ledger_events_v0_reject_mutation;
select is(pg_temp.broken(format(b.statement, la, lb, a, b)), b.expected, b.says)
from two cross join lateral (
  values
  ('update private.ledger_heads set event_id = %4$L where logical_id = %1$L',
    'head_is_the_last_revision', 'a head that names another event'),
  ('update private.ledger_heads set revision = 7 where logical_id = %1$L',
    'head_is_the_last_revision', 'a head with another number'),
  ('update private.ledger_heads set op = ''void'' where logical_id = %1$L',
    'head_is_the_last_revision', 'a head that is called void'),
  ('delete from private.ledger_heads where logical_id = %1$L', 'head_is_the_last_revision',
    'an event without a head'),
  ('update ledger_events_v0 set op = ''restate'' where revision = 1 and op = ''amend'' '
    'and payload ? ''amount''', 'revision_follows_its_predecessor',
    'what follows no void, restated')
) as b (statement, expected, says);
alter table ledger_events_v0 enable trigger ledger_events_v0_reject_mutation;

select * from finish();
rollback;
