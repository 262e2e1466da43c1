-- Table by table: what each kind of caller sees and changes. Every cell is executed for real.
--
-- Two organizations, home and away. owner to viewer are members of home, the stranger owns away.
-- service is service_role as the server made it; bound is a login of it that row-level security
-- binds, as on servers where no role may bypass it; app, reader and writer are app_user,
-- tallystick_reader and tallystick_writer.
--
-- Reading gives whose rows are seen: home, away, both or none. Writing gives done, or none where
-- no row was touched, or no where it is refused. A command goes to rows of home, with _away to the
-- same rows of away. What is not written here is refused to everybody.
begin;
select plan(19);

-- The setting --------------------------------------------------------------------------------

create role tallystick_test_bound;
grant service_role to tallystick_test_bound;
grant tallystick_test_bound, app_user, tallystick_reader, tallystick_writer to current_user;

create temporary table places (place text primary key, org uuid);
insert into places
values ('home', tests.organization('Home')), ('away', tests.organization('Away'));

create temporary table people (place text, name text, id uuid default gen_random_uuid());
insert into people (place, name)
values
('home', 'owner'), ('home', 'admin'), ('home', 'finance'), ('home', 'member'), ('home', 'viewer'),
('home', 'second owner'), ('home', 'bystander'), ('home', 'newcomer'),
('away', 'stranger'), ('away', 'second owner'), ('away', 'bystander'), ('away', 'newcomer');

insert into tenancy.memberships (organization_id, user_id, role)
select
  p.org,
  person.id,
  case person.name
    when 'second owner' then 'owner'
    when 'stranger' then 'owner'
    when 'bystander' then 'member'
    when 'newcomer' then 'member'
    else person.name
  end
from people as person
inner join places as p using (place);

insert into tenancy.profiles (user_id, display_name)
select id, name from people where name = 'bystander';
insert into tenancy.ventures (organization_id, name) select org, 'Venture' from places;
-- Of a venture: what was just used, and what need not be kept any more; one that was removed.
select tests.freeze_clock('2010-01-01 12:00+00');
insert into public.venture_token_ledger (venture_id, lifecycle_stage, agent_type, is_simulation, crew_id)
select v.id, 1, 'a', true, crew
from tenancy.ventures as v, unnest(array['old', 'older']) as crew
where v.organization_id in (select org from places);
select tests.freeze_clock(now());
delete from public.venture_token_ledger where crew_id = 'older';
insert into public.venture_token_ledger (venture_id, lifecycle_stage, agent_type, crew_id)
select v.id, 1, 'a', 'new' from tenancy.ventures as v where v.organization_id in (select org from places);
select metering.set_budget(organization_id, 'venture', id::text, 'month', 10) from tenancy.ventures;
select metering.allocate_venture_budget(organization_id, id, 'custom', 10) from tenancy.ventures;
select tests.spend(tests.workflow(org), 1) from places;
select u.id from places, settle_spend(
  (
    authorize_spend(org, 'm', 1, p_user_id => gen_random_uuid(), p_tags => '{"team": "a"}')
  ).hold_id, null, 1
) as u;
select tests.hold(org, 1) from places;
select tests.bill(org) from places;
select tests.keep_books(org) from places;
select tests.ask_for_approval(org) from places;
select ledger_assert_v0(d, 'e', p_owner_user_id => person.id, p_organization_id => org)
from places as p
inner join people as person
  on person.place = p.place
  and person.name = case p.place when 'home' then 'owner' else 'stranger' end
cross join unnest(array[
  'expertise', 'payments', 'moderation', 'verification', 'security', 'geo', 'models',
  'admin_exports', 'devices'
]) as d;
insert into ledger_audience_v0 (organization_id, logical_id, audience_user_id, granted_by)
select h.organization_id, h.logical_id, person.id, 'test'
from private.ledger_heads as h
inner join places as p on p.org = h.organization_id
inner join people as person
  on person.place = p.place
  and person.name = case p.place when 'home' then 'member' else 'bystander' end;
select tests.price('m');
select (
  pricing.set_price('acme', 'm', '{"input_tokens": 1, "output_tokens": 2}', p_organization_id => org)
).id from places;
select (pricing.set_markup(org, 10)).id from places;
insert into pricing.provider_names (name, provider, source) values ('acme inc', 'acme', 'manual');
insert into metering.request_keys (organization_id, operation, request_id, content_hash, subject_id)
select org, 'record', 'first', repeat('0', 64), gen_random_uuid() from places;

insert into audit.seals
select 1, e.epoch, 1, true, '1', '1', '1', '{}', '{}', 1, h.hash, h.hash, h.hash, now()
from audit.seal_epochs as e, (select repeat('a', 64) as hash) as h;
insert into audit.checkpoints (seal) values (1);
insert into audit.seal_roots select org, 'x', 1, 1, sha256('x') from places;
insert into audit.seal_leaves select org, 'x', 'x', 1, null, sha256('x') from places;
insert into audit.tombstones (organization_id, ledger, row_id, removed_by)
select org, 'x', gen_random_uuid(), 'test' from places;

create temporary table actors (number integer, actor text, role text, person uuid);
insert into actors
select a.number, a.actor, a.role, person.id
from unnest(
  array['owner', 'admin', 'finance', 'member', 'viewer', 'stranger', 'anon',
    'service', 'bound', 'app', 'reader', 'writer'],
  array['authenticated', 'authenticated', 'authenticated', 'authenticated', 'authenticated',
    'authenticated', 'anon', 'service_role', 'tallystick_test_bound', 'app_user',
    'tallystick_reader', 'tallystick_writer']
) with ordinality as a (actor, role, number)
left join people as person on person.name = a.actor;

-- What is tried. {org}, {person}, {newcomer}, {owner} are those of the place.
create temporary table attempts (relation text, command text, statement text);
insert into attempts values
('tenancy.organizations', 'select', 'select from tenancy.organizations where id = {org}'),
('tenancy.organizations', 'insert', $$insert into tenancy.organizations (name) values ('New')$$),
('tenancy.organizations', 'update',
  'update tenancy.organizations set frozen_at = now() where id = {org}'),
('tenancy.organizations', 'delete', 'delete from tenancy.organizations where id = {org}'),
('tenancy.memberships', 'insert',
  'insert into tenancy.memberships (organization_id, user_id) values ({org}, gen_random_uuid())'),
('tenancy.memberships', 'insert_owner',
  $$
    insert into tenancy.memberships (organization_id, user_id, role)
    values ({org}, gen_random_uuid(), 'owner')
  $$),
('tenancy.memberships', 'update',
  $$update tenancy.memberships set role = 'admin' where user_id = {person}$$),
('tenancy.memberships', 'promote',
  $$update tenancy.memberships set role = 'owner' where user_id = {person}$$),
('tenancy.memberships', 'demote',
  $$update tenancy.memberships set role = 'member' where user_id = {owner}$$),
('tenancy.memberships', 'move',
  'update tenancy.memberships set organization_id = {org}'),
('tenancy.memberships', 'delete', 'delete from tenancy.memberships where user_id = {person}'),
('tenancy.memberships', 'delete_owner', 'delete from tenancy.memberships where user_id = {owner}'),
('tenancy.memberships', 'leave', 'delete from tenancy.memberships where user_id = {self}'),
('tenancy.profiles', 'select', 'select from tenancy.profiles where user_id = {person}'),
('tenancy.profiles', 'insert',
  $$insert into tenancy.profiles (user_id, display_name) values ({newcomer}, 'New')$$),
('tenancy.profiles', 'insert_own',
  $$insert into tenancy.profiles (user_id, display_name) values ({self}, 'Me')$$),
('tenancy.profiles', 'update',
  $$update tenancy.profiles set display_name = 'X' where user_id = {person}$$),
('tenancy.profiles', 'update_own',
  $$
    insert into tenancy.profiles (user_id, display_name) values ({self}, 'Me');
    update tenancy.profiles set display_name = 'Myself' where user_id = {self}
  $$),
('tenancy.profiles', 'delete', 'delete from tenancy.profiles where user_id = {person}'),
('tenancy.ventures', 'insert',
  $$insert into tenancy.ventures (organization_id, name) values ({org}, 'New')$$),
('tenancy.ventures', 'update',
  $$update tenancy.ventures set name = 'New' where organization_id = {org}$$),
('tenancy.ventures', 'move', 'update tenancy.ventures set organization_id = {org}'),
('metering.workflows', 'insert',
  'insert into metering.workflows (organization_id) values ({org})'),
('metering.workflows', 'update',
  $$update metering.workflows set workflow_data = '{}' where organization_id = {org}$$),
('metering.workflows', 'move', 'update metering.workflows set organization_id = {org}'),
('public.intent_workflows', 'insert',
  'insert into public.intent_workflows (organization_id) values ({org})'),
('public.intent_workflows', 'update',
  $$update public.intent_workflows set workflow_data = '{}' where organization_id = {org}$$),
('public.tallystick_errors', 'select', 'select from public.tallystick_errors'),
('public.tallystick_errors', 'insert',
  $$insert into public.tallystick_errors (code) values ('X')$$),
('public.tallystick_errors', 'update', $$update public.tallystick_errors set code = 'X'$$),
('public.tallystick_errors', 'delete', 'delete from public.tallystick_errors'),
('pricing.providers', 'select', 'select from pricing.providers'),
('pricing.providers', 'insert', $$insert into pricing.providers values ('x', 'X')$$),
('pricing.providers', 'update', $$update pricing.providers set name = 'X'$$),
('pricing.providers', 'delete', 'delete from pricing.providers'),
('pricing.provider_names', 'select', 'select from pricing.provider_names'),
('pricing.provider_names', 'insert', $$insert into pricing.provider_names values ('x', 'acme', 'x')$$),
('pricing.provider_names', 'update', $$update pricing.provider_names set name = 'x'$$),
('pricing.provider_names', 'delete', 'delete from pricing.provider_names'),
('pricing.models', 'select', 'select from pricing.models'),
('pricing.models', 'insert', $$insert into pricing.models values ('acme', 'x')$$),
('pricing.models', 'update', $$update pricing.models set id = 'x'$$),
('pricing.models', 'delete', 'delete from pricing.models'),
('pricing.model_names', 'select', 'select from pricing.model_names'),
('pricing.model_names', 'insert',
  $$insert into pricing.model_names values ('acme', 'exact', 'x', 0, 'acme', 'm', false, 'x')$$),
('pricing.model_names', 'update', 'update pricing.model_names set rank = 1'),
('pricing.model_names', 'delete', 'delete from pricing.model_names'),
('pricing.price_lists', 'select', 'select from pricing.price_lists'),
('pricing.price_lists', 'insert', $$insert into pricing.price_lists values ('x', 'x', now())$$),
('pricing.price_lists', 'update', 'update pricing.price_lists set max_age = null'),
('pricing.price_lists', 'delete', 'delete from pricing.price_lists'),
('pricing.prices', 'select', 'select from pricing.prices'),
('pricing.prices', 'insert',
  $$
    insert into pricing.prices (provider, model, service_tier, effective_from, revision, source)
    values ('acme', 'm', 'standard', now(), 1, 'manual')
  $$),
('pricing.prices', 'update', 'update pricing.prices set rates = null'),
('pricing.prices', 'delete', 'delete from pricing.prices'),
('public.venture_token_ledger', 'insert',
  $$
    insert into public.venture_token_ledger (organization_id, venture_id, lifecycle_stage, agent_type)
    select {org}, (select v.id from tenancy.ventures as v where v.organization_id = {org}), 1, 'a'
  $$),
('public.venture_token_ledger', 'describe',
  $$
    update public.venture_token_ledger set metadata = '{}', operation_type = 'o', crew_id = 'c'
    where organization_id = {org}
  $$),
('public.venture_token_ledger', 'delete',
  $$delete from public.venture_token_ledger where organization_id = {org} and crew_id = 'old'$$),
('public.venture_token_ledger', 'delete_new',
  $$delete from public.venture_token_ledger where organization_id = {org} and crew_id = 'new'$$),
('public.ledger_events_v0', 'insert',
  $$
    insert into public.ledger_events_v0 (organization_id, domain, event_type, owner_user_id)
    values ({org}, 'd', 'e', coalesce({self}, gen_random_uuid()))
  $$),
('public.ledger_audience_v0', 'insert',
  $$
    insert into public.ledger_audience_v0 (organization_id, logical_id, audience_user_id, granted_by)
    select organization_id, logical_id, gen_random_uuid(), 'x' from private.ledger_heads
    where organization_id = {org}
  $$),
('public.ledger_audience_v0', 'update',
  'update public.ledger_audience_v0 set expires_at = now() where organization_id = {org}'),
('billing.v_high_variance_runs', 'select',
  $$
    select from billing.v_high_variance_runs
    where run_id in (select run_id from billing.token_reconciliations where org_id = {org})
  $$),
('billing.v_high_variance_runs', 'insert',
  $$insert into billing.v_high_variance_runs (status) values ('CRITICAL')$$),
('billing.v_high_variance_runs', 'update', $$update billing.v_high_variance_runs set status = 'X'$$),
('billing.v_high_variance_runs', 'delete', 'delete from billing.v_high_variance_runs'),
('billing.retention_policies', 'select', 'select from billing.retention_policies'),
('billing.retention_policies', 'insert',
  $$insert into billing.retention_policies (table_name, reason) values ('x', 'x')$$),
('billing.retention_policies', 'update', $$update billing.retention_policies set reason = 'x'$$),
('billing.retention_policies', 'delete', 'delete from billing.retention_policies'),
('audit.seal_epochs', 'select', 'select from audit.seal_epochs'),
('audit.seal_epochs', 'insert', 'insert into audit.seal_epochs values (9, 9)'),
('audit.seal_epochs', 'update', 'update audit.seal_epochs set epoch = epoch'),
('audit.seal_epochs', 'delete', 'delete from audit.seal_epochs'),
('audit.sealed_ledgers', 'select', 'select from audit.sealed_ledgers'),
('audit.sealed_ledgers', 'insert', $$insert into audit.sealed_ledgers (ledger) values ('x')$$),
('audit.sealed_ledgers', 'update', 'update audit.sealed_ledgers set ledger = ledger'),
('audit.sealed_ledgers', 'delete', 'delete from audit.sealed_ledgers'),
('audit.seals', 'select', 'select from audit.seals'),
('audit.seals', 'insert', 'insert into audit.seals (seal) values (9)'),
('audit.seals', 'update', 'update audit.seals set seal = seal'),
('audit.seals', 'delete', 'delete from audit.seals'),
('audit.checkpoints', 'select', 'select from audit.checkpoints'),
('audit.checkpoints', 'insert', 'insert into audit.checkpoints values (9)'),
('audit.checkpoints', 'update', 'update audit.checkpoints set seal = seal'),
('audit.checkpoints', 'delete', 'delete from audit.checkpoints'),
('private.partitioned_ledgers', 'select', 'select from private.partitioned_ledgers'),
('private.partitioned_ledgers', 'insert',
  $$insert into private.partitioned_ledgers values ('tenancy.ventures')$$),
('private.partitioned_ledgers', 'update', $$update private.partitioned_ledgers set parent = 'x'$$),
('private.partitioned_ledgers', 'delete', 'delete from private.partitioned_ledgers');

-- Unless something special is tried above, the usual thing is.
insert into attempts
select
  e.relation,
  usual.command,
  format(
    case
      when e.relation like 'billing.%' then replace(usual.statement, 'organization_id', 'org_id')
      else usual.statement
    end, e.relation
  )
from (
  select n.nspname || '.' || c.relname as relation, c.relkind
  from pg_class as c
  inner join pg_namespace as n on n.oid = c.relnamespace
  where c.relkind in ('r', 'p', 'v') and not c.relispartition and (
    n.nspname = 'public' or obj_description(n.oid, 'pg_namespace') like 'Tallystick%'
  )
) as e
cross join (
  values
  ('select', 'select from %s where organization_id = {org}'),
  ('insert', 'insert into %s (organization_id) values ({org})'),
  ('update', 'update %s set organization_id = organization_id where organization_id = {org}'),
  ('delete', 'delete from %s where organization_id = {org}'),
  ('truncate', 'truncate %s cascade')
) as usual (command, statement)
where (usual.command <> 'truncate' or e.relkind <> 'v') and not exists (
  select from attempts as a where a.relation = e.relation and a.command = usual.command
);

create function pg_temp.outcome(p_statement text, p_place text, p_actor actors)
returns text
language plpgsql
as $$
declare
  v_statement text := p_statement;
  v_rows bigint;
begin
  select
    replace(v_statement, '{org}', quote_literal(p.org) || '::uuid')
  into v_statement
  from places as p where p.place = p_place;
  select
    replace(replace(replace(v_statement,
      '{person}', quote_literal(max(id::text) filter (where name = 'bystander')) || '::uuid'),
      '{newcomer}', quote_literal(max(id::text) filter (where name = 'newcomer')) || '::uuid'),
      '{owner}', quote_literal(max(id::text) filter (where name = 'second owner')) || '::uuid')
  into v_statement
  from people where place = p_place;
  v_statement := replace(v_statement, '{self}', quote_nullable(p_actor.person::text) || '::uuid');
  perform tests.act_as(p_actor.role, p_actor.person);
  execute v_statement;
  get diagnostics v_rows = row_count;
  raise exception using errcode = 'UNDOO';
exception
  when sqlstate 'UNDOO' then
    return case when v_rows = 0 then 'none' else 'done' end;
  when insufficient_privilege or object_not_in_prerequisite_state then -- or a view of sums
    return 'no';
  when others then
    return sqlstate;
end
$$;

create temporary table happened as
select a.relation, x.command, who.actor, x.outcome
from attempts as a
cross join actors as who
cross join lateral (
  select
    pg_temp.outcome(a.statement, 'home', who) as home,
    pg_temp.outcome(a.statement, 'away', who) as away
) as tried
cross join lateral (
  select
    a.command as command,
    case tried.home || ' ' || tried.away
      when 'done done' then 'both'
      when 'done none' then 'home'
      when 'none done' then 'away'
      else tried.home
    end as outcome
  where a.command = 'select'
  union all
  select a.command, tried.home where a.command <> 'select'
  union all
  select a.command || '_away', tried.away
  where a.command <> 'select' and a.statement ~ '{(org|person|newcomer|owner)}'
) as x (command, outcome);

-- What is expected ---------------------------------------------------------------------------

create temporary table blocks (relation text, block text);
insert into blocks values
--                owner admin finan membe viewe stran anon  servi bound app   reade write
('tenancy.organizations', $$
  select          home  home  home  home  home  away  no    both  both  both  both  both
  insert          no    no    no    no    no    no    no    done  done  no    no    no
  update          no    no    no    no    no    no    no    done  done  no    no    no
  update_away     no    no    no    no    no    no    no    done  done  no    no    no
$$),
('tenancy.memberships', $$
  select          home  home  home  home  home  away  no    both  both  both  both  both
  insert          done  done  no    no    no    no    no    done  done  no    no    no
  insert_away     no    no    no    no    no    done  no    done  done  no    no    no
  insert_owner    done  no    no    no    no    no    no    done  done  no    no    no
  insert_owner_away no  no    no    no    no    done  no    done  done  no    no    no
  update          done  done  none  none  none  none  no    done  done  no    no    no
  update_away     none  none  none  none  none  done  no    done  done  no    no    no
  promote         done  no    none  none  none  none  no    done  done  no    no    no
  promote_away    none  none  none  none  none  done  no    done  done  no    no    no
  demote          done  none  none  none  none  none  no    done  done  no    no    no
  demote_away     none  none  none  none  none  done  no    done  done  no    no    no
  delete          done  done  none  none  none  none  no    done  done  no    no    no
  delete_away     none  none  none  none  none  done  no    done  done  no    no    no
  delete_owner    done  none  none  none  none  none  no    done  done  no    no    no
  delete_owner_away none none none  none  none  done  no    done  done  no    no    no
  leave           done  done  done  done  done  done  no    none  none  no    no    no
$$),
('tenancy.profiles', $$
  select          home  home  home  home  home  away  no    both  both  both  both  both
  insert          no    no    no    no    no    no    no    done  done  no    no    no
  insert_away     no    no    no    no    no    no    no    done  done  no    no    no
  insert_own      done  done  done  done  done  done  no    23502 23502 no    no    no
  update          none  none  none  none  none  none  no    done  done  no    no    no
  update_away     none  none  none  none  none  none  no    done  done  no    no    no
  update_own      done  done  done  done  done  done  no    23502 23502 no    no    no
$$),
('tenancy.ventures', $$
  select          home  home  home  home  home  away  no    both  both  both  both  both
  insert          done  done  no    no    no    no    no    done  done  no    no    no
  insert_away     no    no    no    no    no    done  no    done  done  no    no    no
  update          done  done  none  none  none  none  no    done  done  no    no    no
  update_away     none  none  none  none  none  done  no    done  done  no    no    no
$$),
('metering.workflows', $$
  select          home  home  home  home  home  away  no    both  both  both  both  both
  insert          done  done  done  done  no    no    no    done  done  done  no    done
  insert_away     no    no    no    no    no    done  no    done  done  done  no    done
  update          done  done  done  done  none  none  no    done  done  done  no    done
  update_away     none  none  none  none  none  done  no    done  done  done  no    done
$$),
('public.intent_workflows', $$
  select          home  home  home  home  home  away  no    both  both  both  both  both
  insert          done  done  done  done  no    no    no    done  done  done  no    done
  insert_away     no    no    no    no    no    done  no    done  done  done  no    done
  update          done  done  done  done  no    none  no    done  done  done  no    done
  update_away     none  none  none  none  none  done  no    done  done  done  no    done
$$),
('metering.budgets', $$
  select          home  home  home  home  home  away  no    both  both  both  both  both
$$),
('metering.budget_slots', $$
  select          home  home  home  home  home  away  no    both  both  both  both  both
$$),
('metering.budget_status', $$
  select          home  home  home  home  home  away  no    both  both  both  both  both
$$),
('metering.holds', $$
  select          home  home  home  home  home  away  no    both  both  both  both  both
$$),
('metering.usage_rollups', $$
  select          home  home  home  home  home  away  no    both  both  both  both  both
$$),
('metering.request_keys', $$
  select          no    no    no    no    no    no    no    both  both  both  both  both
$$),
('metering.spend_by_day', $$
  select          home  home  home  home  home  away  no    both  both  both  both  both
$$),
('metering.spend_by_model', $$
  select          home  home  home  home  home  away  no    both  both  both  both  both
$$),
('metering.spend_by_workflow', $$
  select          home  home  home  home  home  away  no    both  both  both  both  both
$$),
('metering.spend_by_user', $$
  select          home  home  home  home  home  away  no    both  both  both  both  both
$$),
('metering.spend_by_tag', $$
  select          home  home  home  home  home  away  no    both  both  both  both  both
$$),
('public.ai_usage_ledger', $$
  select          home  home  home  home  home  away  no    both  both  both  both  both
$$),
('public.ai_cost_by_model', $$
  select          home  home  home  home  home  away  no    both  both  both  both  both
$$),
('public.ai_cost_by_organization_month', $$
  select          home  home  home  home  home  away  no    both  both  both  both  both
$$),
('public.ai_cost_by_workflow', $$
  select          home  home  home  home  home  away  no    both  both  both  both  both
$$),
('public.tallystick_errors', $$
  select          both  both  both  both  both  both  no    both  both  both  both  both
$$),
('pricing.providers', $$
  select          both  both  both  both  both  both  no    both  both  both  both  both
$$),
('pricing.provider_names', $$
  select          both  both  both  both  both  both  no    both  both  both  both  both
$$),
('pricing.models', $$
  select          both  both  both  both  both  both  no    both  both  both  both  both
$$),
('pricing.model_names', $$
  select          both  both  both  both  both  both  no    both  both  both  both  both
$$),
('pricing.price_lists', $$
  select          both  both  both  both  both  both  no    both  both  both  both  both
$$),
('pricing.prices', $$
  select          both  both  both  both  both  both  no    both  both  both  both  both
$$),
('pricing.contract_prices', $$
  select          home  home  home  home  home  away  no    both  both  both  both  both
$$),
('pricing.markups', $$
  select          home  home  home  home  home  away  no    both  both  both  both  both
$$),
('pricing.price_history', $$
  select          home  home  home  home  home  away  no    both  both  both  both  both
$$),
('pricing.current_prices', $$
  select          home  home  home  home  home  away  no    both  both  both  both  both
$$),
('billing.run_records', $$
  select          home  home  home  home  home  away  no    both  both  both  both  both
$$),
('billing.runs', $$
  select          home  home  home  home  home  away  no    both  both  both  both  both
$$),
('billing.agents', $$
  select          home  home  home  home  home  away  no    both  both  both  both  both
$$),
('billing.tasks', $$
  select          home  home  home  home  home  away  no    both  both  both  both  both
$$),
('billing.steps', $$
  select          home  home  home  home  home  away  no    both  both  both  both  both
$$),
('billing.token_records', $$
  select          home  home  home  home  home  away  no    both  both  both  both  both
$$),
('billing.token_reconciliations', $$
  select          home  home  home  home  home  away  no    both  both  both  both  both
$$),
('billing.credit_balances', $$
  select          home  home  home  home  home  away  no    both  both  both  both  both
$$),
('billing.draws', $$
  select          home  home  home  home  home  away  no    both  both  both  both  both
$$),
('billing.billing_ledger', $$
  select          home  home  home  home  home  away  no    both  both  both  both  both
$$),
('billing.credit_balance_history', $$
  select          home  home  home  home  home  away  no    both  both  both  both  both
$$),
('billing.credit_grants', $$
  select          home  home  home  home  home  away  no    both  both  both  both  both
$$),
('billing.credit_reservations', $$
  select          home  home  home  home  home  away  no    both  both  both  both  both
$$),
('billing.grant_movements', $$
  select          home  home  home  home  home  away  no    both  both  both  both  both
$$),
('billing.receivables', $$
  select          home  home  home  home  home  away  no    both  both  both  both  both
$$),
('billing.v_run_billing_summary', $$
  select          home  home  home  home  home  away  no    both  both  both  both  both
$$),
('billing.v_org_billing_summary', $$
  select          home  home  home  home  home  away  no    both  both  both  both  both
$$),
('billing.v_high_variance_runs', $$
  select          home  home  home  home  home  away  no    both  both  both  both  both
$$),
('billing.retention_policies', $$
  select          both  both  both  both  both  both  no    both  both  both  both  both
$$),
('audit.event_log', $$
  select          home  home  home  none  none  away  no    both  both  both  both  both
$$),
('audit.outbox', $$
  select          no    no    no    no    no    no    no    both  both  both  both  both
$$),
('audit.seal_epochs', $$
  select          no    no    no    no    no    no    no    both  both  both  both  both
$$),
('audit.sealed_ledgers', $$
  select          no    no    no    no    no    no    no    both  both  both  both  both
$$),
('audit.seals', $$
  select          no    no    no    no    no    no    no    both  both  both  both  both
$$),
('audit.seal_roots', $$
  select          no    no    no    no    no    no    no    both  both  both  both  both
$$),
('audit.seal_leaves', $$
  select          no    no    no    no    no    no    no    both  both  both  both  both
$$),
('audit.checkpoints', $$
  select          no    no    no    no    no    no    no    both  both  both  both  both
$$),
('audit.tombstones', $$
  select          no    no    no    no    no    no    no    both  both  both  both  both
$$),
('private.ledger_heads', $$
  select          home  none  none  home  none  away  no    both  both  both  both  both
$$),
('public.ledger_current_v0', $$
  select          home  none  none  home  none  away  no    both  both  both  both  both
$$),
('public.ledger_current_expertise_v0', $$
  select          home  none  none  home  none  away  no    both  both  both  both  both
$$),
('public.ledger_current_payments_v0', $$
  select          home  none  none  home  none  away  no    both  both  both  both  both
$$),
('public.ledger_current_moderation_v0', $$
  select          home  none  none  home  none  away  no    both  both  both  both  both
$$),
('public.ledger_current_verification_v0', $$
  select          home  none  none  home  none  away  no    both  both  both  both  both
$$),
('public.ledger_current_security_v0', $$
  select          home  none  none  home  none  away  no    both  both  both  both  both
$$),
('public.ledger_current_geo_v0', $$
  select          home  none  none  home  none  away  no    both  both  both  both  both
$$),
('public.ledger_current_models_v0', $$
  select          home  none  none  home  none  away  no    both  both  both  both  both
$$),
('public.ledger_current_admin_exports_v0', $$
  select          home  none  none  home  none  away  no    both  both  both  both  both
$$),
('public.ledger_current_devices_v0', $$
  select          home  none  none  home  none  away  no    both  both  both  both  both
$$),
('public.ledger_events_v0', $$
  select          home  none  none  home  none  away  no    both  both  both  both  both
  insert          done  done  done  done  no    no    no    done  done  done  no    done
  insert_away     no    no    no    no    no    done  no    done  done  done  no    done
$$),
('public.ledger_audience_v0', $$
  select          none  none  none  home  none  none  no    both  both  both  both  both
  insert          no    no    no    no    no    no    no    done  done  no    no    no
  insert_away     no    no    no    no    no    no    no    done  done  no    no    no
  update          no    no    no    no    no    no    no    done  done  no    no    no
  update_away     no    no    no    no    no    no    no    done  done  no    no    no
  delete          no    no    no    no    no    no    no    done  done  no    no    no
  delete_away     no    no    no    no    no    no    no    done  done  no    no    no
$$),
('public.venture_token_ledger', $$
  select          home  home  home  home  home  away  no    both  both  both  both  both
  insert          no    no    no    no    no    no    no    done  done  done  no    done
  insert_away     no    no    no    no    no    no    no    done  done  done  no    done
  describe        done  done  done  done  none  none  no    no    no    no    no    no
  describe_away   none  none  none  none  none  done  no    no    no    no    no    no
  delete          no    no    no    no    no    no    no    done  done  no    no    no
  delete_away     no    no    no    no    no    no    no    done  done  no    no    no
  delete_new      no    no    no    no    no    no    no    23001 23001 no    no    no
  delete_new_away no    no    no    no    no    no    no    23001 23001 no    no    no
$$),
('metering.venture_allocations', $$
  select          home  home  home  home  home  away  no    both  both  both  both  both
$$),
('metering.venture_profiles', $$
  select          home  home  home  home  home  away  no    both  both  both  both  both
$$),
('metering.venture_profile_status', $$
  select          home  home  home  home  home  away  no    both  both  both  both  both
$$),
('metering.venture_spend', $$
  select          home  home  home  home  home  away  no    both  both  both  both  both
$$),
('metering.venture_spend_total', $$
  select          home  home  home  home  home  away  no    both  both  both  both  both
$$),
('metering.venture_spend_by_stage', $$
  select          home  home  home  home  home  away  no    both  both  both  both  both
$$),
('metering.venture_spend_by_phase', $$
  select          home  home  home  home  home  away  no    both  both  both  both  both
$$),
('metering.venture_spend_by_agent', $$
  select          home  home  home  home  home  away  no    both  both  both  both  both
$$),
('audit.tombstones', $$
  select          no    no    no    no    no    no    no    both  both  both  both  both
$$),
('accounting.entities', $$
  select          home  home  home  none  none  away  no    both  both  both  both  both
$$),
('accounting.accounts', $$
  select          home  home  home  none  none  away  no    both  both  both  both  both
$$),
('accounting.ledger_transactions', $$
  select          home  home  home  none  none  away  no    both  both  both  both  both
$$),
('accounting.ledger_postings', $$
  select          home  home  home  none  none  away  no    both  both  both  both  both
$$),
('accounting.balance_snapshots', $$
  select          home  home  home  none  none  away  no    both  both  both  both  both
$$),
('accounting.obligations', $$
  select          home  home  home  none  none  away  no    both  both  both  both  both
$$),
('accounting.accounting_periods', $$
  select          home  home  home  none  none  away  no    both  both  both  both  both
$$),
('accounting.account_map', $$
  select          home  home  home  none  none  away  no    both  both  both  both  both
$$),
('accounting.rounding_carries', $$
  select          home  home  home  none  none  away  no    both  both  both  both  both
$$),
('accounting.provider_cost_days', $$
  select          home  home  home  none  none  away  no    both  both  both  both  both
$$),
('private.billing_flows', $$
  select          no    no    no    no    no    no    no    both  both  both  no    both
$$),
('accounting.policy_rules', $$
  select          home  home  home  home  home  away  no    both  both  both  both  both
$$),
('accounting.approval_proposals', $$
  select          home  home  home  none  none  away  no    both  both  both  both  both
$$),
('accounting.approval_decisions', $$
  select          home  home  home  none  none  away  no    both  both  both  both  both
$$),
('private.account_forests', $$
$$),
('private.bundle_keys', $$
$$),
('private.partitioned_ledgers', $$
$$);

create temporary view expected as
select b.relation, word[1] as command, a.actor, word[1 + a.number] as outcome
from blocks as b
cross join string_to_table(b.block, E'\n') as line
cross join regexp_split_to_array(btrim(line), '\s+') as word
cross join actors as a
where btrim(line) <> '';

select set_eq(
  $$select relation from happened$$,
  $$select relation from blocks$$,
  'every table and view of ours is in the matrix'
);

select set_eq(
  $$
    select h.relation, h.command, h.actor, h.outcome
    from happened as h
    left join expected as e using (relation, command, actor)
    where h.outcome <> 'no' or e.outcome <> 'no'
  $$,
  $$select * from expected where outcome <> 'no'$$,
  'every cell is as written, and what is not written is refused'
);

-- A cell per actor, or the grid above would shift unseen.
select is_empty(
  $$select relation, line from blocks, string_to_table(block, E'\n') as line
    where array_length(regexp_split_to_array(btrim(line), '\s+'), 1) not in (1, 13)$$,
  'every line of the matrix has a cell for every caller'
);

select is_empty(
  $$select relation, command, actor from expected except
    select relation, command, actor from happened$$,
  'every line of the matrix was tried'
);

-- Rights are one door, the guard another: the owner of the schema has all rights.
select throws_ok(statement, '23001', null, 'not even the owner can: ' || statement)
from (
  values
  ('update public.ai_usage_ledger set cost = 0'),
  ('delete from public.ai_usage_ledger'),
  ('truncate public.ai_usage_ledger'),
  ('truncate public.ai_usage_ledger cascade'),
  ('merge into public.ai_usage_ledger as l using (select 1) as x on true when matched then delete'),
  (
    'insert into public.ai_usage_ledger select * from public.ai_usage_ledger '
    'on conflict (organization_id, id) do update set cost = 0'
  ),
  ('update pricing.prices set rates = null'),
  ('delete from pricing.prices'),
  ('truncate pricing.prices'),
  ('update pricing.contract_prices set rates = null'),
  ('delete from pricing.contract_prices'),
  ('truncate pricing.contract_prices'),
  ('update pricing.markups set percent = 0'),
  ('delete from pricing.markups'),
  ('truncate pricing.markups')
) as forbidden (statement);

select * from finish();
rollback;
