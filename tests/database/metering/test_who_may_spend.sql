-- Who may authorize, estimate, settle, extend, release and expire, and for whom: as real roles.
begin;
select plan(54);

grant app_user, tallystick_reader, tallystick_writer to current_user;
create temp table scene as
select o.org, tests.workflow(o.org) as workflow, tests.venture(o.org) as venture
from (select tests.organization('Acme') as org) as o;
create temp table people as
select r.role as name, tests.member(org, r.role) as id
from scene, (values ('owner'), ('admin'), ('finance'), ('member'), ('viewer')) as r (role)
union all
select 'colleague', tests.member(org, 'member') from scene
union all
select 'stranger', tests.member(tests.organization('Bravo'), 'owner')
union all
select 'nobody', gen_random_uuid();
select tests.cap(org, 'organization', null, 'day', 100) from scene;
select tests.price(model) from unnest(array['m', 'small', 'soft', 'cold']) as model;

-- What a statement ends with for a role or a person; nothing is kept. {org}, {person}, {colleague}
-- and {hold} are filled in.
create function pg_temp.outcome(p_who text, p_statement text, p_hold uuid default null)
returns text
language plpgsql
as $$
declare
  v_statement text := p_statement;
  v_person uuid := (select id from people where name = p_who);
begin
  select replace(replace(v_statement, '{org}', quote_literal(org)), '{workflow}',
    quote_literal(workflow)) into v_statement from scene;
  v_statement := replace(v_statement, '{person}', quote_nullable(v_person));
  v_statement := replace(v_statement, '{hold}', quote_nullable(p_hold));
  v_statement := replace(
    v_statement, '{colleague}', (select quote_literal(id) from people where name = 'colleague')
  );
  perform tests.act_as(case when v_person is null then p_who else 'authenticated' end, v_person);
  execute v_statement;
  raise exception using errcode = 'UNDOO';
exception
  when sqlstate 'UNDOO' then return 'done';
  when others then return sqlstate;
end
$$;

-- Whoever asks is one of these.
create temp table askers (number integer, who text);
insert into askers
select ordinality, who
from unnest(array[
  'owner', 'admin', 'finance', 'member', 'viewer', 'stranger', 'nobody', 'anon', 'service_role',
  'app_user', 'tallystick_writer', 'tallystick_reader'
]) with ordinality as a (who, ordinality);
create temp table matrix (statement text, outcomes text);
insert into matrix values
--                                         owner admin financ member viewer strang nobody
--                                         anon  service app   writer reader
('select authorize_spend({org}, ''m'', 1)',
  'done  done  done  done  42501 42501 42501 42501 done  done  done  42501'),
('select authorize_spend({org}, ''m'', 1, p_user_id => {person})',
  'done  done  done  done  42501 42501 42501 42501 done  done  done  42501'),
('select authorize_spend({org}, ''m'', 1, p_user_id => {colleague})',
  '42501 42501 42501 42501 42501 42501 42501 42501 done  done  done  42501'),
('select authorize_spend({org}, ''m'', 1, p_api_key_id => ''key'')',
  '42501 42501 42501 42501 42501 42501 42501 42501 done  done  done  42501'),
('select authorize_spend({org}, ''m'', 1, p_workflow_id => {workflow}, p_tags => ''{"a": "b"}'')',
  'done  done  done  done  42501 42501 42501 42501 done  done  done  42501'),
('select estimate_spend({org}, ''m'', 1)',
  'done  done  done  done  done  42501 42501 42501 done  done  done  42501'),
('select estimate_spend({org}, ''m'', 1, p_user_id => {colleague})',
  '42501 42501 42501 42501 42501 42501 42501 42501 done  done  done  42501'),
('select estimate_spend({org}, ''m'', 1, p_api_key_id => ''key'')',
  '42501 42501 42501 42501 42501 42501 42501 42501 done  done  done  42501'),
('select authorize_spend_batch({org}, ''[{"estimated_cost": 1}]'')',
  'done  done  done  done  42501 42501 42501 42501 done  done  done  42501'),
('select release_spend({hold})',
  'done  done  done  42501 42501 TS404 TS404 42501 done  done  done  42501'),
('select release_spend({hold}, ''cancelled'', {org})',
  'done  done  done  42501 42501 TS404 TS404 42501 done  done  done  42501'),
('select settle_spend({hold}, null, 0)',
  '42501 42501 42501 42501 42501 42501 42501 42501 done  done  done  42501'),
('select settle_spend_batch({org},
    jsonb_build_array(jsonb_build_object(''hold_id'', {hold}, ''cost'', 0)))',
  '42501 42501 42501 42501 42501 42501 42501 42501 done  done  done  42501'),
('select extend_hold({hold}, ''1 hour'')',
  '42501 42501 42501 42501 42501 42501 42501 42501 done  done  done  42501'),
('select record_usage_and_increment({workflow}, {org}, ''m'', 1, 1, 0)',
  '42501 42501 42501 42501 42501 42501 42501 42501 done  done  done  42501'),
('select metering.expire_holds({org})',
  '42501 42501 42501 42501 42501 42501 42501 42501 done  done  done  42501'),
('select metering.waiting_budgets()',
  '42501 42501 42501 42501 42501 42501 42501 42501 done  done  done  42501');
create temp table hold as select tests.hold(org, 1) as id from scene;
create temp view expected as
select m.statement, a.who, cell.outcome
from matrix as m
cross join askers as a
cross join lateral (
  select (regexp_split_to_array(m.outcomes, '\s+'))[a.number] as outcome
) as cell;
select set_eq(
  $$select statement, who, pg_temp.outcome(who, statement, id) from expected, hold$$,
  'table expected',
  'every cell is as written'
);
select is_empty(
  $$select statement from matrix
    where cardinality(regexp_split_to_array(outcomes, '\s+')) <> (select count(*) from askers)$$,
  'every line of the matrix has a cell for every asker'
);

-- Every argument, so that whatever a role runs through is open to it.
select is(
  pg_temp.outcome(
    who,
    format(
      'select %s({org}, %L, 1, 10, 10, {workflow}, gen_random_uuid(), %L, null, null, %L, %L, %L,'
      ' p_allow_partial => true, p_minimum => 0.5)',
      f.name, 'm', venture, '{"team": "growth"}', 'provider', 'tier'
    )
  ),
  'done', who || ' may state every argument of ' || f.name
)
from scene,
  unnest(array['member', 'service_role', 'app_user', 'tallystick_writer']) as who,
  unnest(array['public.authorize_spend', 'public.estimate_spend']) as f (name);
-- Refusals and the rarer answers run through more.
select tests.cap(org, 'model', 'small', 'day', 0.5) from scene;
select tests.cap(org, 'model', 'soft', 'day', 0, 'soft') from scene;
select b.id from scene, metering.freeze(org, 'model', 'cold') as b;
create function pg_temp.answer(p_who text, p_function text, p_model text)
returns text
language plpgsql
as $$
declare
  v_answer text;
  v_person uuid := (select id from people where name = p_who);
begin
  perform tests.act_as(case when v_person is null then p_who else 'authenticated' end, v_person);
  execute format('select concat_ws('' '', decision, reason) from public.%I(%L, %L, 1)',
    p_function, (select org from scene), p_model) into v_answer;
  perform set_config('role', 'none', true);
  return v_answer;
end
$$;
grant select on scene, people to public;
select is(
  pg_temp.answer(who, f.name, v.model), v.answer,
  who || ' is told by ' || f.name || ': ' || v.answer
)
from unnest(array['member', 'service_role', 'app_user', 'tallystick_writer']) as who,
  unnest(array['authorize_spend', 'estimate_spend']) as f (name),
  (
    values
    ('small', 'denied budget_exceeded'), ('cold', 'denied frozen'), ('soft',
      'granted over_soft_limit')
  ) as v (model, answer);

-- A member spends as itself, and gives back what is its own --------------------------------------

create function pg_temp.hold_of(p_name text, p_stated uuid default null)
returns uuid
language plpgsql
as $$
declare
  v_hold uuid;
begin
  perform tests.act_as('authenticated', (select id from people where name = p_name));
  v_hold := (public.authorize_spend((select org
    from scene), 'm', 1, p_user_id => p_stated)).hold_id;
  perform set_config('role', 'none', true);
  return v_hold;
end
$$;
create temp table held as
select
  pg_temp.hold_of('member') as unstated,
  pg_temp.hold_of('member', m.id) as stated,
  (authorize_spend(org, 'm', 1, p_user_id => m.id)).hold_id as by_server
from scene, people as m where m.name = 'member';
select results_eq(
  $$select h.user_id, h.api_key_id::text from held
    inner join metering.holds as h on h.id in (unstated, stated)$$,
  $$select id, null from people cross join generate_series(1, 2) where name = 'member'$$,
  'a member''s hold names the member, said or not, and no API key'
);
select is(
  pg_temp.outcome(v.who, 'select release_spend({hold})', v.hold), v.outcome, v.description
)
from held, lateral (
  values
  ('member', unstated, 'done', 'whoever made a hold may release it'),
  ('member', by_server, 'done', 'also where a server asked for them'),
  ('colleague', unstated, '42501', 'another member may not'),
  ('viewer', unstated, '42501', 'a viewer may not'),
  ('finance', unstated, 'done', 'finance may release any'),
  ('admin', unstated, 'done', 'an admin may'),
  ('owner', unstated, 'done', 'an owner may'),
  ('stranger', unstated, 'TS404', 'to a stranger it does not exist'),
  ('nobody', unstated, 'TS404', 'nor to nobody')
) as v (who, hold, outcome, description);

-- A server that makes the call claims the hold.
select h.id from held, extend_hold(unstated, '10 minutes', p_request_id => 'claim') as h;
select isnt(h.claimed_at, null, 'a hold that a server extended is claimed')
from held inner join metering.holds as h on h.id = unstated;
select is(
  pg_temp.outcome(v.who, 'select release_spend({hold})', unstated), v.outcome, v.description
)
from held, lateral (
  values
  ('member', '42501', 'its money is being spent: who made it may no longer release it'),
  ('colleague', '42501', 'another member may not'),
  ('finance', 'done', 'finance may release any'),
  ('owner', 'done', 'an owner may'),
  ('service_role', 'done', 'the server may')
) as v (who, outcome, description);

select tests.act_as('service_role');
delete from tenancy.memberships where user_id = (select id from people where name = 'member');
reset role;
select is(
  pg_temp.outcome('member', 'select release_spend({hold})', unstated), 'TS404',
  'who has left the organization may no longer'
)
from held;

-- What a stranger learns -----------------------------------------------------------------------

create function pg_temp.told(p_hold uuid)
returns text
language plpgsql
as $$
declare
  v_told text;
begin
  perform tests.act_as('authenticated', (select id from people where name = 'stranger'));
  v_told := tests.facts_of(format('select public.release_spend(%L)', p_hold))::text;
  perform set_config('role', 'none', true);
  return replace(v_told, p_hold::text, 'HOLD');
end
$$;
select is(pg_temp.told(id), '{"hold_id": "HOLD"}', 'a stranger is told nothing about a hold')
from hold;
select is(
  pg_temp.told(gen_random_uuid()), '{"hold_id": "HOLD"}', 'that it is not told about none'
);

select is_empty($$select * from audit.verify_integrity()$$, 'the books agree');
select * from finish();
rollback;
