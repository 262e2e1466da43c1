-- Who holds which right on which table, view and schema: the whole list. Row-level security narrows
-- it further (test_rls_matrix); what is not here, no policy can open.
begin;
select plan(8);

create temporary table who (relation text, privilege text, role text);

insert into who
select entry.relation, entry.privilege, r.role
from (
  values
  -- relation, right                                             anon auth service app reader writer
  ('public.tallystick_errors', 'select',                        '-    x    x      x    x     x'),
  ('public.ai_usage_ledger', 'select',                          '-    x    x      x    x     x'),
  ('public.ai_cost_by_model', 'select',                         '-    x    x      x    x     x'),
  ('public.ai_cost_by_organization_month', 'select',            '-    x    x      x    x     x'),
  ('public.ai_cost_by_workflow', 'select',                      '-    x    x      x    x     x'),
  ('public.intent_workflows', 'select',                         '-    x    x      x    x     x'),
  ('public.intent_workflows', 'insert',                         '-    x    x      x    -     x'),
  ('public.intent_workflows', 'update',                         '-    x    x      x    -     x'),
  ('metering.workflows', 'select',                              '-    x    x      x    x     x'),
  ('metering.workflows',
    'insert (id, organization_id, workflow_data)',              '-    x    x      x    -     x'),
  ('metering.workflows', 'update (workflow_data)',              '-    x    x      x    -     x'),
  ('metering.budgets', 'select',                                '-    x    x      x    x     x'),
  ('metering.budget_slots', 'select',                           '-    x    x      x    x     x'),
  ('metering.budget_status', 'select',                          '-    x    x      x    x     x'),
  ('metering.spend_by_day', 'select',                            '-    x    x      x    x     x'),
  ('metering.spend_by_model', 'select',                          '-    x    x      x    x     x'),
  ('metering.spend_by_workflow', 'select',                       '-    x    x      x    x     x'),
  ('metering.spend_by_user', 'select',                           '-    x    x      x    x     x'),
  ('metering.spend_by_tag', 'select',                            '-    x    x      x    x     x'),
  ('metering.holds', 'select',                                  '-    x    x      x    x     x'),
  ('metering.usage_rollups', 'select',                          '-    x    x      x    x     x'),
  ('pricing.providers', 'select',                                '-    x    x      x    x     x'),
  ('pricing.provider_names', 'select',                           '-    x    x      x    x     x'),
  ('pricing.models', 'select',                                   '-    x    x      x    x     x'),
  ('pricing.model_names', 'select',                              '-    x    x      x    x     x'),
  ('pricing.price_lists', 'select',                              '-    x    x      x    x     x'),
  ('pricing.prices', 'select',                                   '-    x    x      x    x     x'),
  ('pricing.contract_prices', 'select',                          '-    x    x      x    x     x'),
  ('pricing.markups', 'select',                                  '-    x    x      x    x     x'),
  ('pricing.price_history', 'select',                            '-    x    x      x    x     x'),
  ('pricing.current_prices', 'select',                           '-    x    x      x    x     x'),
  ('public.ledger_events_v0', 'select',                          '-    x    x      x    x     x'),
  ('public.ledger_audience_v0', 'select',                        '-    x    x      x    x     x'),
  ('private.ledger_heads', 'select',                             '-    x    x      x    x     x'),
  ('public.ledger_current_v0', 'select',                         '-    x    x      x    x     x'),
  ('public.ledger_current_expertise_v0', 'select',               '-    x    x      x    x     x'),
  ('public.ledger_current_payments_v0', 'select',                '-    x    x      x    x     x'),
  ('public.ledger_current_moderation_v0', 'select',              '-    x    x      x    x     x'),
  ('public.ledger_current_verification_v0', 'select',            '-    x    x      x    x     x'),
  ('public.ledger_current_security_v0', 'select',                '-    x    x      x    x     x'),
  ('public.ledger_current_geo_v0', 'select',                     '-    x    x      x    x     x'),
  ('public.ledger_current_models_v0', 'select',                  '-    x    x      x    x     x'),
  ('public.ledger_current_admin_exports_v0', 'select',           '-    x    x      x    x     x'),
  ('public.ledger_current_devices_v0', 'select',                 '-    x    x      x    x     x'),
  ('public.ledger_events_v0',
    'insert (city_code, country_code, domain, entity_id, entity_type, event_type, id, locality_code, '
    'logical_id, occurred_at, op, organization_id, owner_agent_id, owner_user_id, payload, '
    'region_code, revision, supersedes_id)', '-    x    x      x    -     x'),
  ('public.ledger_audience_v0',
    'insert (audience_user_id, expires_at, granted_by, logical_id, organization_id)', '- -    x      -    -     -'),
  ('public.ledger_audience_v0', 'update (expires_at)', '-    -    x      -    -     -'),
  ('public.ledger_audience_v0', 'delete', '-    -    x      -    -     -'),
  ('public.venture_token_ledger', 'select',                      '-    x    x      x    x     x'),
  ('public.venture_token_ledger',
    'insert (agent_type, budget_allocation_pct, budget_profile, cost_usd, created_by, crew_id, id, '
    'is_simulation, job_id, lifecycle_stage, metadata, model_id, operation_type, organization_id, '
    'phase, simulation_run_id, tokens_input, tokens_output, tokens_total, venture_id)',
                                                                 '-    -    x      x    -     x'),
  ('public.venture_token_ledger',
    'update (crew_id, metadata, operation_type)',                '-    x    -      -    -     -'),
  ('public.venture_token_ledger', 'delete',                      '-    -    x      -    -     -'),
  ('metering.venture_allocations', 'select',                     '-    x    x      x    x     x'),
  ('metering.venture_profiles', 'select',                        '-    x    x      x    x     x'),
  ('metering.venture_profile_status', 'select',                  '-    x    x      x    x     x'),
  ('metering.venture_spend', 'select',                           '-    x    x      x    x     x'),
  ('metering.venture_spend_total', 'select',                     '-    x    x      x    x     x'),
  ('metering.venture_spend_by_stage', 'select',                  '-    x    x      x    x     x'),
  ('metering.venture_spend_by_phase', 'select',                  '-    x    x      x    x     x'),
  ('metering.venture_spend_by_agent', 'select',                  '-    x    x      x    x     x'),
  ('accounting.entities', 'select',                              '-    x    x      x    x     x'),
  ('accounting.accounts', 'select',                              '-    x    x      x    x     x'),
  ('accounting.ledger_transactions', 'select',                   '-    x    x      x    x     x'),
  ('accounting.ledger_postings', 'select',                       '-    x    x      x    x     x'),
  ('accounting.balance_snapshots', 'select',                     '-    x    x      x    x     x'),
  ('accounting.obligations', 'select',                           '-    x    x      x    x     x'),
  ('accounting.accounting_periods', 'select',                    '-    x    x      x    x     x'),
  ('accounting.account_map', 'select',                           '-    x    x      x    x     x'),
  ('accounting.rounding_carries', 'select',                      '-    x    x      x    x     x'),
  ('accounting.provider_cost_days', 'select',                    '-    x    x      x    x     x'),
  ('private.billing_flows', 'select',                            '-    -    x      x    -     x'),
  ('accounting.policy_rules', 'select',                          '-    x    x      x    x     x'),
  ('accounting.approval_proposals', 'select',                    '-    x    x      x    x     x'),
  ('accounting.approval_decisions', 'select',                    '-    x    x      x    x     x'),
  ('billing.run_records', 'select',                              '-    x    x      x    x     x'),
  ('billing.runs', 'select',                                     '-    x    x      x    x     x'),
  ('billing.agents', 'select',                                   '-    x    x      x    x     x'),
  ('billing.tasks', 'select',                                    '-    x    x      x    x     x'),
  ('billing.steps', 'select',                                    '-    x    x      x    x     x'),
  ('billing.token_records', 'select',                            '-    x    x      x    x     x'),
  ('billing.token_reconciliations', 'select',                    '-    x    x      x    x     x'),
  ('billing.credit_balances', 'select',                          '-    x    x      x    x     x'),
  ('billing.draws', 'select',                                    '-    x    x      x    x     x'),
  ('billing.billing_ledger', 'select',                           '-    x    x      x    x     x'),
  ('billing.credit_balance_history', 'select',                   '-    x    x      x    x     x'),
  ('billing.credit_grants', 'select',                            '-    x    x      x    x     x'),
  ('billing.credit_reservations', 'select',                      '-    x    x      x    x     x'),
  ('billing.grant_movements', 'select',                          '-    x    x      x    x     x'),
  ('billing.receivables', 'select',                              '-    x    x      x    x     x'),
  ('billing.v_run_billing_summary', 'select',                    '-    x    x      x    x     x'),
  ('billing.v_org_billing_summary', 'select',                    '-    x    x      x    x     x'),
  ('billing.v_high_variance_runs', 'select',                     '-    x    x      x    x     x'),
  ('billing.retention_policies', 'select',                       '-    x    x      x    x     x'),
  ('audit.event_log', 'select',                                  '-    x    x      x    x     x'),
  ('audit.outbox', 'select',                                     '-    -    x      x    x     x'),
  ('audit.seal_epochs', 'select',                                '-    -    x      x    x     x'),
  ('audit.sealed_ledgers', 'select',                             '-    -    x      x    x     x'),
  ('audit.seals', 'select',                                      '-    -    x      x    x     x'),
  ('audit.seal_roots', 'select',                                 '-    -    x      x    x     x'),
  ('audit.seal_leaves', 'select',                                '-    -    x      x    x     x'),
  ('audit.checkpoints', 'select',                                '-    -    x      x    x     x'),
  ('audit.tombstones', 'select',                                 '-    -    x      x    x     x'),
  ('metering.request_keys', 'select',                           '-    -    x      x    x     x'),
  ('tenancy.organizations', 'select',                           '-    x    x      x    x     x'),
  ('tenancy.organizations',
    'insert (frozen_at, id, name, time_zone)',                  '-    -    x      -    -     -'),
  ('tenancy.organizations', 'update (frozen_at, name, time_zone)', '- -    x      -    -     -'),
  ('tenancy.memberships', 'select',                             '-    x    x      x    x     x'),
  ('tenancy.memberships',
    'insert (organization_id, role, user_id)',                  '-    x    x      -    -     -'),
  ('tenancy.memberships', 'update (role)',                      '-    x    x      -    -     -'),
  ('tenancy.memberships', 'delete',                             '-    x    x      -    -     -'),
  ('tenancy.profiles', 'select',                                '-    x    x      x    x     x'),
  ('tenancy.profiles', 'insert (display_name, user_id)',        '-    x    x      -    -     -'),
  ('tenancy.profiles', 'update (display_name)',                 '-    x    x      -    -     -'),
  ('tenancy.ventures', 'select',                                '-    x    x      x    x     x'),
  ('tenancy.ventures', 'insert (id, name, organization_id)',    '-    x    x      -    -     -'),
  ('tenancy.ventures', 'update (name)',                         '-    x    x      -    -     -')
) as entry (relation, privilege, cells)
cross join unnest(
  array['anon', 'authenticated', 'service_role', 'app_user', 'tallystick_reader',
    'tallystick_writer'],
  regexp_split_to_array(entry.cells, '\s+')
) as r (role, mark)
where r.mark = 'x';

create temporary view rooms as
select n.oid, n.nspname, n.nspowner, n.nspacl
from pg_namespace as n
where n.nspname = 'public' or obj_description(n.oid, 'pg_namespace') like 'Tallystick%';

create temporary view relations as
select c.oid, c.relowner, c.relkind, c.relacl, n.nspname || '.' || c.relname as name
from pg_class as c
inner join rooms as n on n.oid = c.relnamespace
where c.relkind in ('r', 'p', 'v', 'm', 'f', 'S') and not exists (
  select from pg_depend as d
  where d.classid = 'pg_class'::regclass and d.objid = c.oid and d.deptype = 'e'
);

create temporary view permitted as
select c.name as relation, held.privilege, r.role
from relations as c
cross join unnest(array[
  'anon', 'authenticated', 'service_role', 'app_user', 'tallystick_reader', 'tallystick_writer'
]) as r (role)
cross join unnest(array['select', 'insert', 'update', 'delete', 'truncate']) as p (privilege)
cross join lateral (
  select p.privilege where has_table_privilege(r.role, c.oid, p.privilege)
  union all
  select format('%s (%s)', p.privilege, string_agg(a.attname, ', ' order by a.attname))
  from pg_attribute as a
  where a.attrelid = c.oid
    and a.attnum > 0
    and p.privilege in ('select', 'insert', 'update')
    and not has_table_privilege(r.role, c.oid, p.privilege)
    and has_column_privilege(r.role, c.oid, a.attnum, p.privilege)
  having count(*) > 0
) as held (privilege);

create temporary view granted as
select
  c.name as relation,
  a.privilege_type,
  a.is_grantable,
  case when a.grantee = 0 then 'public' else a.grantee::regrole::text end as grantee
from relations as c
cross join lateral (
  select acl.* from aclexplode(c.relacl) as acl
  union all
  select acl.*
  from pg_attribute as column_
  cross join aclexplode(column_.attacl) as acl
  where column_.attrelid = c.oid
) as a
where a.grantee <> c.relowner;

select set_eq('table permitted', 'table who', 'each role holds exactly these rights');

select is_empty(
  $$select * from granted where grantee in ('public', 'anon')$$,
  'nothing is granted to the public or to anon'
);

select is_empty(
  $$
    select * from granted
    where grantee not in (
      'authenticated', 'service_role', 'app_user', 'tallystick_reader', 'tallystick_writer'
    )
  $$,
  'nobody else is granted anything'
);

select is_empty(
  $$
    select * from granted
    where is_grantable or privilege_type not in ('SELECT', 'INSERT', 'UPDATE', 'DELETE')
  $$,
  'no right may be passed on; nobody truncates, references, triggers or maintains'
);

select is_empty(
  $$
    select n.nspname, a.grantee::regrole
    from rooms as n
    cross join aclexplode(n.nspacl) as a
    where n.nspname <> 'public'
      and a.grantee <> n.nspowner
      and (
        a.privilege_type <> 'USAGE' or a.is_grantable or a.grantee = 0
        or a.grantee::regrole::text not in (
          'authenticated', 'service_role', 'app_user', 'tallystick_reader', 'tallystick_writer'
        )
      )
  $$,
  'schemas may be used by the roles above, and changed by nobody'
);

select is_empty(
  $$
    select n.nspname, r.role
    from rooms as n
    cross join unnest(array[
      'anon', 'authenticated', 'service_role', 'app_user', 'tallystick_reader',
      'tallystick_writer'
    ]) as r (role)
    where has_schema_privilege(r.role, n.oid, 'create')
      or r.role = 'anon' and n.nspname <> 'public' and has_schema_privilege(r.role, n.oid, 'usage')
  $$,
  'anon enters no room of ours, and no API role builds in one'
);

-- The hostile defaults of the server reach a table somebody forgot to close: the list must notice.
alter default privileges in schema public grant all on tables to anon, service_role;
create table public.forgotten (id uuid);
select set_ne('table permitted', 'table who', 'a forgotten revoke is seen');
select set_has(
  'select relation, grantee from granted',
  $$values ('public.forgotten', 'anon'), ('public.forgotten', 'service_role')$$,
  'and named'
);

select * from finish();
rollback;
