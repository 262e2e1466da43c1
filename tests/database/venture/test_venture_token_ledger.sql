-- The venture ledger: what the document says it has, who writes and reads it, and what nobody may
-- do.
begin;
select plan(190);

select tests.freeze_clock('2026-03-10 12:00+00');
create temporary table scene as
select
  o.org, o.away, tests.venture(o.org) as venture, tests.venture(o.away) as venture_away,
  tests.member(o.org, 'owner') as owner, tests.member(o.org) as member,
  tests.member(o.org, 'viewer') as viewer, tests.member(o.away, 'owner') as stranger
from (select tests.organization() as org, tests.organization('Away') as away) as o;
grant select on scene to public;
grant tallystick_reader, tallystick_writer, app_user to current_user;

-- What a statement answers as somebody: its first column, or its SQLSTATE. It is undone.
create function pg_temp.answer(p_role text, p_person uuid, p_statement text)
returns text
language plpgsql
as $$
declare
  v_answer text;
begin
  perform tests.act_as(p_role, p_person);
  execute p_statement into v_answer;
  raise exception using errcode = 'UNDOO';
exception
  when sqlstate 'UNDOO' then
    return coalesce(v_answer, 'none');
  when others then
    return sqlstate;
end
$$;

-- As documented -----------------------------------------------------------------------------------

select is(
  array(
    select format('%s %s%s', column_name, data_type, case is_nullable when 'NO' then ' not null' end)
    from information_schema.columns
    where table_schema = 'public' and table_name = 'venture_token_ledger'
    order by ordinal_position limit 20
  ),
  array[
    'id uuid not null',
    'venture_id uuid not null',
    'lifecycle_stage integer not null',
    'phase text',
    'agent_type text not null',
    'model_id text',
    'job_id uuid',
    'crew_id text',
    'tokens_input integer not null',
    'tokens_output integer not null',
    'tokens_total integer',
    'cost_usd numeric',
    'budget_profile text',
    'budget_allocation_pct numeric',
    'is_simulation boolean',
    'simulation_run_id uuid',
    'operation_type text',
    'metadata jsonb',
    'created_at timestamp with time zone not null',
    'created_by text'
  ],
  'the document''s columns stand first'
);
select set_has(
  $$select indexname || ' ' || regexp_replace(indexdef, '^.* USING ', '') from pg_indexes
    where schemaname = 'public' and tablename = 'venture_token_ledger'$$,
  $$values
    ('idx_token_ledger_agent_type btree (agent_type)'),
    ('idx_token_ledger_created_at btree (created_at DESC)'),
    ('idx_token_ledger_is_simulation btree (is_simulation) WHERE (is_simulation = true)'),
    ('idx_token_ledger_stage btree (lifecycle_stage)'),
    ('idx_token_ledger_venture_id btree (venture_id)'),
    ('idx_token_ledger_venture_stage btree (venture_id, lifecycle_stage)'),
    ('venture_token_ledger_pkey btree (organization_id, id)'),
    ('venture_token_ledger_id_idx btree (id)'),
    ('venture_token_ledger_xact_id_idx btree (xact_id)')$$,
  'its indexes have their names'
);
select set_has(
  $$select conname::text from pg_constraint
    where conrelid = 'public.venture_token_ledger'::regclass and contype = 'c'$$,
  $$values ('venture_token_ledger_budget_profile_check'), ('venture_token_ledger_phase_check')$$,
  'its checks have their names'
);

-- The document's insert ---------------------------------------------------------------------------

select tests.act_as('app_user');
insert into public.venture_token_ledger (
  venture_id, lifecycle_stage, phase, agent_type, model_id, tokens_input, tokens_output, cost_usd
) select venture, 3, 'THE_TRUTH', 'researcher', 'm', 100, 20, 0.25 from scene;
reset role;
create temporary table first_row as select * from public.venture_token_ledger;
grant select on first_row to public;
select results_eq(
  $$select f.organization_id = s.org, tokens_total::int, budget_profile, is_simulation, metadata,
      created_at, created_by::text, budget_allocation_pct
    from first_row as f, scene as s$$,
  $$values (true, 120, 'standard', false, '{}'::jsonb, '2026-03-10 12:00+00'::timestamptz,
    'app_user', null::private.share)$$,
  'what was left out is filled'
);
select results_eq(
  $$select l.id, l.organization_id, l.venture_id, l.prompt_tokens::int, l.completion_tokens::int,
      l.cost::numeric, l.settlement, l.tags
    from public.ai_usage_ledger as l$$,
  $$select usage_id, organization_id, venture_id, 100, 20, 0.25::numeric,
      'without_hold'::metering.settlement, '{"budget_profile": "standard"}'::jsonb
    from first_row$$,
  'and it is a usage like any other'
);
select is(xact_id, pg_current_xact_id(), 'its transaction is kept') from first_row;

create function pg_temp.tries(p_columns text, p_values text, p_role text default 'service_role')
returns text
language sql
as $$
  select pg_temp.answer(p_role, null, format(
    'insert into public.venture_token_ledger (venture_id, lifecycle_stage, agent_type, %s) '
    'select venture, 1, ''a'', %s from scene returning tokens_total', p_columns, p_values
  ))
$$;
select is(pg_temp.tries(v.name, v.given), v.answer, format('%s = %s', v.name, v.given))
from (
  values
  ('phase', '''THE_END''', '23514'), ('phase', '''LAUNCH_LEARN''', '0'),
  ('budget_profile', '''lavish''', '22023'), ('budget_profile', 'null', '0'),
  ('tokens_input', '-1', '23514'), ('tokens_output', '-1', '23514'),
  ('tokens_input', '2147483648', '22003'), ('tokens_input', 'null', '22023'),
  ('tokens_input, tokens_output', '2147483647, 1', '22023'),
  ('tokens_input, tokens_output', '2147483646, 1', '2147483647'),
  ('tokens_input, tokens_total', '5, 6', '23514'),
  ('tokens_input, tokens_total', '5, 5', '5'), ('tokens_input, tokens_total', '5, null', '5'),
  ('cost_usd', '-0.000000000001', '23514'), ('cost_usd', '''NaN''', '23514'),
  ('cost_usd', '''Infinity''', '22003'), ('cost_usd', '10000000', '0'),
  ('cost_usd', '1000000000000', '22003'), ('cost_usd', 'null', '22023'),
  ('budget_allocation_pct', '100.01', '23514'), ('budget_allocation_pct', '-1', '23514'),
  ('budget_allocation_pct', '''NaN''', '23514'), ('budget_allocation_pct', '33.33', '0'),
  ('simulation_run_id', 'gen_random_uuid()', '23514'),
  ('is_simulation, simulation_run_id', 'true, gen_random_uuid()', '0'),
  ('is_simulation', 'null', '0'), ('metadata', '''[]''', '23514'), ('metadata', 'null', '0'),
  ('model_id', '''''', '23514'), ('crew_id', 'repeat(''x'', 256)', '23514'),
  ('operation_type', ''' ''', '23514'), ('created_by', '''somebody''', '0'),
  ('organization_id', 'away', 'TS404'), ('organization_id', 'org', '0'),
  ('id', '(select id from first_row)', '23505'),
  -- the database's to say
  ('created_at', 'now()', '42501'), ('usage_id', 'gen_random_uuid()', '42501'),
  ('xact_id', '''1''', '42501')
) as v (name, given, answer);
select is(pg_temp.answer('service_role', null, v.statement), v.answer, v.description)
from (
  values
  ('insert into public.venture_token_ledger (venture_id, lifecycle_stage, agent_type) '
    'values (gen_random_uuid(), 1, ''a'')', 'TS404', 'a venture that is not there'),
  ('insert into public.venture_token_ledger (lifecycle_stage, agent_type) values (1, ''a'')',
    '23502', 'no venture'),
  ('insert into public.venture_token_ledger (venture_id, lifecycle_stage, agent_type) '
    'select venture, -1, ''a'' from scene', '23514', 'a stage before the first'),
  ('insert into public.venture_token_ledger (venture_id, agent_type) select venture, ''a'' from scene',
    '23502', 'no stage'),
  ('insert into public.venture_token_ledger (venture_id, lifecycle_stage) select venture, 1 from scene',
    '23502', 'no agent'),
  ('insert into public.venture_token_ledger (venture_id, lifecycle_stage, agent_type) '
    'select venture, 1, '' '' from scene', '23514', 'an agent without a name')
) as v (statement, answer, description);

-- By price, where none is stated.
select tests.price('priced', 2, 8);
select tests.act_as('tallystick_writer');
insert into public.venture_token_ledger (
  venture_id, lifecycle_stage, agent_type, model_id, tokens_input, tokens_output, cost_usd, created_by
) select venture, 1, 'a', 'priced', 1000, 100, null, 'priced' from scene;
reset role;
select results_eq(
  $$select v.cost_usd::numeric, l.cost_basis::text
    from public.venture_token_ledger as v
    inner join public.ai_usage_ledger as l on l.id = v.usage_id
    where v.created_by = 'priced'$$,
  $$values (0.0028::numeric, 'priced')$$,
  'a cost that is null is the price''s'
);

-- The same id twice is booked once, as whoever inserts "on conflict do nothing" expects.
select tests.act_as('service_role');
insert into public.venture_token_ledger (id, venture_id, lifecycle_stage, agent_type, cost_usd)
select f.id, s.venture, 1, 'a', 7 from first_row as f, scene as s
on conflict do nothing;
insert into public.venture_token_ledger (id, venture_id, lifecycle_stage, agent_type, cost_usd)
select f.id, s.venture, 1, 'a', 7 from first_row as f, scene as s
on conflict (organization_id, id) do nothing;
reset role;
select is(
  (select sum(cost) from public.ai_usage_ledger)::numeric, 0.2528, 'an id that is there spends nothing'
);

-- Its share is what the profile has when it is recorded, whatever is stated.
select (metering.allocate_venture_budget(org, venture, 'custom', 12.5)).custom_pct from scene;
select is(
  pg_temp.answer('service_role', null, format(
    'insert into public.venture_token_ledger (venture_id, lifecycle_stage, agent_type, '
    'budget_profile, budget_allocation_pct, is_simulation) select venture, 1, ''a'', %L, %s, %L '
    'from scene returning budget_allocation_pct', v.profile, v.stated, v.is_simulation
  )), v.share, format('the share of %s, stated as %s: %s', v.profile, v.stated, v.share)
)
from (
  values
  ('custom', '77', false, '12.50'), ('custom', '77', true, '12.50'),
  ('custom', 'null', false, '12.50'), ('standard', '77', false, 'none'),
  ('standard', '77', true, 'none')
) as v (profile, stated, is_simulation, share);

-- Simulations are not spend -----------------------------------------------------------------------

select tests.act_as('service_role');
insert into public.venture_token_ledger (
  venture_id, lifecycle_stage, agent_type, tokens_input, cost_usd, is_simulation, simulation_run_id
) select venture, 3, 'researcher', 1000, 5, true, gen_random_uuid() from scene;
reset role;

-- Not under the id of one either, as it leaves no row of its own.
select tests.act_as('service_role');
insert into public.venture_token_ledger (id, venture_id, lifecycle_stage, agent_type, cost_usd)
select v.id, v.venture_id, 1, 'a', 7 from public.venture_token_ledger as v where v.is_simulation
on conflict do nothing;
reset role;
select is(
  (select sum(cost) from public.ai_usage_ledger)::numeric, 0.2528,
  'the id of a simulation spends nothing'
);
select is((select count(*) from public.ai_usage_ledger), 2::bigint, 'a simulation is no usage');
select results_eq(
  $$select requests, tokens_total, cost_usd, simulated_requests, simulated_tokens_total,
      simulated_cost_usd from metering.venture_spend_total$$,
  $$values (2::bigint, 1220::bigint, 0.2528, 1::bigint, 1000::bigint, 5::numeric)$$,
  'and stands apart in every sum'
);
select results_eq(
  $$select lifecycle_stage, cost_usd, simulated_cost_usd from metering.venture_spend_by_stage order by 1$$,
  $$values (1, 0.0028, 0::numeric), (3, 0.25, 5)$$, 'by stage'
);
select results_eq(
  $$select phase, cost_usd, simulated_cost_usd from metering.venture_spend_by_phase order by 1$$,
  $$values ('THE_TRUTH', 0.25, 0::numeric), (null, 0.0028, 5)$$, 'by phase'
);
select results_eq(
  $$select agent_type::text, cost_usd, simulated_cost_usd
    from metering.venture_spend_by_agent order by 1$$,
  $$values ('a', 0.0028, 0::numeric), ('researcher', 0.25, 5)$$, 'by agent'
);
select results_eq(
  $$select lifecycle_stage, phase, agent_type::text, cost_usd, simulated_cost_usd
    from metering.venture_spend order by 1, 2$$,
  $$values (1, null, 'a', 0.0028, 0::numeric), (3, 'THE_TRUTH', 'researcher', 0.25, 0),
    (3, null, 'researcher', 0, 5)$$, 'and by all of them'
);

-- The id of a call is that call's: of a hold, of a usage, of another organization too.
create temporary table calls as
select
  tests.hold(o, 0.125) as hold, (tests.settle(h.id, 0.125)) as usage, o
from scene cross join unnest(array[org, away]) as o
cross join lateral (select tests.hold(o, 0.125) as id) as h;
select is(
  pg_temp.answer('service_role', null, format(
    'insert into public.venture_token_ledger (id, venture_id, lifecycle_stage, agent_type, '
    'is_simulation) select %L, venture, 1, ''a'', %L from scene on conflict do nothing returning tokens_total', i.id, b
  )), '22023', format('not under the id of a %s', i.kind)
)
from calls as c
cross join lateral (values ('hold', c.hold), ('usage', c.usage)) as i (kind, id)
cross join unnest(array[true, false]) as b;

-- Who -------------------------------------------------------------------------------------------

select is(
  pg_temp.answer(v.role, v.person, v.statement), v.answer,
  format('%s: %s', v.who, v.command)
)
from scene as s
cross join lateral (
  values
  ('owner', 'authenticated', s.owner, '3', '42501', '1', '42501'),
  ('member', 'authenticated', s.member, '3', '42501', '1', '42501'),
  ('viewer', 'authenticated', s.viewer, '3', '42501', '0', '42501'),
  ('stranger', 'authenticated', s.stranger, '0', '42501', '0', '42501'),
  ('anon', 'anon', null, '42501', '42501', '42501', '42501'),
  ('app_user', 'app_user', null, '3', '0', '42501', '42501'),
  ('service role', 'service_role', null, '3', '0', '42501', '23001'),
  ('reader', 'tallystick_reader', null, '3', '42501', '42501', '42501'),
  ('writer', 'tallystick_writer', null, '3', '0', '42501', '42501')
) as w (who, role, person, reads, inserts, describes, deletes)
cross join lateral (
  values
  ('select', 'select count(*) from public.venture_token_ledger', w.reads),
  ('insert', 'insert into public.venture_token_ledger (venture_id, lifecycle_stage, agent_type) '
    'select venture, 1, ''a'' from scene returning tokens_total', w.inserts),
  ('update', 'with u as (update public.venture_token_ledger set metadata = ''{"a": 1}'', '
    'operation_type = ''o'', crew_id = ''c'' where lifecycle_stage = 3 and not is_simulation '
    'returning 1) select count(*) from u', w.describes),
  ('delete', 'delete from public.venture_token_ledger', w.deletes)
) as c (command, statement, answer)
cross join lateral (values (w.who, w.role, w.person, c.command, c.statement, c.answer))
as v (who, role, person, command, statement, answer);
select is(
  pg_temp.answer('authenticated', owner,
    format('update public.venture_token_ledger set %I = %I', c, c)), '42501', c || ' is not for members'
)
from scene, unnest(array[
  'id', 'venture_id', 'lifecycle_stage', 'phase', 'agent_type', 'model_id', 'job_id',
  'tokens_input', 'tokens_output', 'tokens_total', 'cost_usd', 'budget_profile',
  'budget_allocation_pct', 'is_simulation', 'simulation_run_id', 'created_at', 'created_by',
  'organization_id', 'usage_id', 'xact_id'
]) as c;

-- Nothing that was used is changed, by nobody -----------------------------------------------------

select is(
  pg_temp.answer(current_user, null, format(
    'update public.venture_token_ledger set %s where lifecycle_stage = 3 and not is_simulation '
    'returning ''done''', v.change
  )), v.answer, 'the owner of the table: ' || v.change
)
from (
  values
  ('id = gen_random_uuid()', '23001'), ('venture_id = gen_random_uuid()', '23001'),
  ('lifecycle_stage = 4', '23001'), ('phase = null', '23001'), ('agent_type = ''b''', '23001'),
  ('model_id = null', '23001'), ('job_id = gen_random_uuid()', '23001'),
  ('tokens_input = 101, tokens_output = 19', '23001'), ('tokens_total = null', '23001'),
  ('cost_usd = cost_usd + 0.000000000001', '23001'), ('cost_usd = null', '23001'),
  ('budget_profile = ''custom''', '23001'), ('budget_allocation_pct = 1', '23001'),
  ('is_simulation = null', '23001'), ('created_at = now()', '23001'),
  ('created_by = ''x''', '23001'), ('organization_id = gen_random_uuid()', '23001'),
  ('usage_id = gen_random_uuid()', '23001'), ('xact_id = ''1''', '23001'),
  ('metadata = ''{"a": 2}'', crew_id = ''c'', operation_type = ''o''', 'done'),
  ('metadata = ''[]''', '23514'), ('crew_id = ''''', '23514')
) as v (change, answer);
select throws_ok('truncate public.venture_token_ledger', '23001', null, 'nor is it emptied');

-- Retention ---------------------------------------------------------------------------------------

select is(
  (tests.facts_of('delete from public.venture_token_ledger where id = '
    || quote_literal(id)) ->> 'kept_until')::timestamptz,
  '2033-03-10 12:00+00', 'a row is kept for seven years'
) from first_row;
select tests.freeze_clock('2033-03-10 11:59:59.999+00');
select is(
  pg_temp.answer('service_role', null, 'delete from public.venture_token_ledger'), '23001',
  'to the last moment'
);
select tests.freeze_clock('2033-03-10 12:00+00');
select is(
  pg_temp.answer(r, null, 'delete from public.venture_token_ledger'), '42501', r || ' removes nothing'
) from unnest(array['authenticated', 'app_user', 'tallystick_writer', 'tallystick_reader', 'anon']) as r;
select is_empty('select * from audit.tombstones', 'nothing was removed so far');
select tests.act_as('service_role');
delete from public.venture_token_ledger where id = (select id from first_row);
reset role;
select results_eq(
  $$select organization_id, ledger::text, row_id, removed_at, removed_by::text, xact_id
    from audit.tombstones$$,
  $$select organization_id, 'public.venture_token_ledger', id, '2033-03-10 12:00+00'::timestamptz,
      'service_role', pg_current_xact_id() from first_row$$,
  'what is removed then leaves a tombstone'
);
select throws_ok(v, '23001', null, v)
from unnest(array[
  'update audit.tombstones set removed_by = ''x''', 'delete from audit.tombstones',
  'truncate audit.tombstones'
]) as v;
select is(pg_temp.answer(v.role, null, v.statement), '42501', v.role || ': ' || v.statement)
from (
  select r as role, s as statement
  from unnest(array['anon', 'authenticated', 'service_role', 'app_user', 'tallystick_writer',
    'tallystick_reader']) as r
  cross join unnest(array[
    'insert into audit.tombstones (organization_id, ledger, row_id, removed_by) '
    'values (gen_random_uuid(), ''l'', gen_random_uuid(), ''x'')',
    'update audit.tombstones set removed_by = ''x''', 'delete from audit.tombstones',
    'truncate audit.tombstones'
  ]) as s
  union all values
  ('anon', 'select from audit.tombstones'), ('authenticated', 'select from audit.tombstones')
) as v;
select is_empty('select * from audit.verify_integrity()', 'and everything agrees');

select * from finish();
rollback;
