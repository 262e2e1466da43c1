-- Who may execute what: the whole list. What is not on it, nobody executes but the owner.
begin;
select plan(11);

create temporary table who (
  function text,
  anon text, authenticated text, service_role text,
  app_user text, tallystick_reader text, tallystick_writer text
);

insert into who
select entry.function, cell[1], cell[2], cell[3], cell[4], cell[5], cell[6]
from (
  values
  -- what clients call                           anon auth service app reader writer
  ('public.authorize_spend',                   '-    x    x      x    -     x'),
  ('public.authorize_spend_batch',             '-    x    x      x    -     x'),
  ('public.estimate_spend',                    '-    x    x      x    -     x'),
  ('public.release_spend',                     '-    x    x      x    -     x'),
  ('public.check_workflow_cost_limit',         '-    x    x      x    -     x'),
  ('public.estimate_workflow_cost_limit',      '-    x    x      x    -     x'),
  ('public.get_organization_monthly_ai_cost',  '-    x    x      x    -     x'),
  ('public.check_organization_monthly_quota',  '-    x    x      x    -     x'),
  ('public.upsert_intent_workflow',            '-    x    x      x    -     x'),
  ('pricing.price_usage',                       '-    x    x      x    -     x'),
  -- what settles money: no tenant states what it cost
  ('public.settle_spend',                      '-    -    x      x    -     x'),
  ('public.settle_spend_batch',                '-    -    x      x    -     x'),
  ('public.extend_hold',                       '-    -    x      x    -     x'),
  ('public.record_usage_and_increment',        '-    -    x      x    -     x'),
  ('public.record_venture_usage',              '-    -    x      x    -     x'),
  -- housekeeping and proof: servers only
  ('metering.expire_holds',                    '-    -    x      x    -     x'),
  ('metering.waiting_budgets',                 '-    -    x      x    -     x'),
  ('audit.verify_integrity',                   '-    -    x      x    -     x'),
  ('audit.verify_seals',                       '-    -    x      x    -     x'),
  -- what operators call
  ('pricing.set_price',                         '-    -    x      -    -     -'),
  ('pricing.set_markup',                        '-    -    x      -    -     -'),
  ('pricing.set_model_name',                    '-    -    x      -    -     -'),
  ('pricing.load_prices',                       '-    -    x      -    -     -'),
  -- what owners, admins and operators call
  ('tenancy.create_organization',              '-    x    x      -    -     -'),
  ('metering.set_budget',                      '-    x    x      -    -     -'),
  ('metering.change_budget',                   '-    x    x      -    -     -'),
  ('metering.remove_budget',                   '-    x    x      -    -     -'),
  ('metering.freeze',                          '-    x    x      -    -     -'),
  ('metering.unfreeze',                        '-    x    x      -    -     -'),
  ('metering.allocate_venture_budget',         '-    x    x      -    -     -'),
  -- billing: no tenant states what settles money, operators move money in
  ('billing.start_run',                        '-    -    x      x    -     x'),
  ('billing.extend_run',                       '-    -    x      x    -     x'),
  ('billing.start_agent',                      '-    -    x      x    -     x'),
  ('billing.start_task',                       '-    -    x      x    -     x'),
  ('billing.start_step',                       '-    -    x      x    -     x'),
  ('billing.end_part',                         '-    -    x      x    -     x'),
  ('billing.record_token_call',                '-    -    x      x    -     x'),
  ('billing.reconcile_run',                    '-    -    x      x    -     x'),
  ('billing.complete_run',                     '-    -    x      x    -     x'),
  ('billing.cancel_run',                       '-    -    x      x    -     x'),
  ('billing.fail_run',                         '-    -    x      x    -     x'),
  ('billing.purchase_credits',                 '-    -    x      -    -     -'),
  ('billing.grant_credits',                    '-    -    x      -    -     -'),
  ('billing.adjust_credits',                   '-    -    x      -    -     -'),
  ('billing.resolve_dispute',                  '-    -    x      -    -     -'),
  ('billing.expire_credits',                   '-    -    x      -    -     -'),
  ('billing.close_draws',                      '-    -    x      -    -     -'),
  ('audit.acknowledge_events',                 '-    -    x      -    -     -'),
  ('audit.seal_ledgers',                       '-    -    x      -    -     -'),
  ('audit.make_checkpoint',                    '-    -    x      -    -     -'),
  -- billing: what members read, finance and owners dispute
  ('billing.get_statement',                    '-    x    x      x    -     x'),
  ('billing.dispute_reconciliation',           '-    x    x      x    -     x'),
  ('billing.set_low_balance',                  '-    x    x      x    -     x'),
  ('private.dispute_reconciliation',           '-    x    x      x    -     x'),
  ('private.set_low_balance',                  '-    x    x      x    -     x'),
  -- the journal: policies and the trigger decide
  ('public.ledger_assert_v0',                  '-    x    x      x    -     x'),
  ('public.ledger_amend_v0',                   '-    x    x      x    -     x'),
  ('public.ledger_void_v0',                    '-    x    x      x    -     x'),
  ('public.ledger_restate_v0',                 '-    x    x      x    -     x'),
  ('private.revise_event',                     '-    x    x      x    -     x'),
  ('private.may_follow',                       '-    -    x      x    -     x'),
  ('private.verify_journal',                   '-    -    x      x    -     x'),
  -- what seals are made of, and how they are checked
  ('private.merkle_root',                      '-    -    x      x    -     x'),
  ('private.row_id_expression',                '-    -    x      x    -     x'),
  ('private.leaf_expression',                  '-    -    x      x    -     x'),
  ('private.root_leaf',                        '-    -    x      x    -     x'),
  ('private.seal_hash',                        '-    -    x      x    -     x'),
  ('private.seal_tolerance',                   '-    -    x      x    -     x'),
  ('private.verify_leaves',                    '-    -    x      x    -     x'),
  ('private.verify_chain',                     '-    -    x      x    -     x'),
  ('private.unchecked_from',                   '-    -    x      x    -     x'),
  ('private.organizations_since',              '-    -    x      x    -     x'),
  -- ventures
  ('private.allocate_venture_budget',          '-    x    x      -    -     -'),
  ('private.share_of',                         '-    -    x      x    -     x'),
  ('private.verify_ventures',                  '-    -    x      x    -     x'),
  -- the books: those with an eye on money, and the definers behind
  ('accounting.record_transaction_bundle',     '-    x    x      x    -     x'),
  ('accounting.reverse_transaction',           '-    x    x      x    -     x'),
  ('accounting.set_entity',                    '-    x    x      x    -     x'),
  ('accounting.set_account',                   '-    x    x      x    -     x'),
  ('accounting.record_balance_snapshot',       '-    x    x      x    -     x'),
  ('accounting.set_obligation',                '-    x    x      x    -     x'),
  ('accounting.roll_obligations',              '-    x    x      x    -     x'),
  ('accounting.close_period',                  '-    x    x      x    -     x'),
  ('accounting.lock_period',                   '-    x    x      x    -     x'),
  ('accounting.reopen_period',                 '-    x    x      x    -     x'),
  ('accounting.trial_balance',                 '-    x    x      x    -     x'),
  ('accounting.account_ledger',                '-    x    x      x    -     x'),
  ('accounting.balance_as_of',                 '-    x    x      x    -     x'),
  ('accounting.income_statement',              '-    x    x      x    -     x'),
  ('accounting.balance_sheet',                 '-    x    x      x    -     x'),
  ('accounting.compare_snapshots',             '-    x    x      x    -     x'),
  ('private.record_bundle',                    '-    x    x      x    -     x'),
  ('private.set_entity',                       '-    x    x      x    -     x'),
  ('private.set_account',                      '-    x    x      x    -     x'),
  ('private.record_balance_snapshot',          '-    x    x      x    -     x'),
  ('private.set_obligation',                   '-    x    x      x    -     x'),
  ('private.roll_obligations',                 '-    x    x      x    -     x'),
  ('private.move_period',                      '-    x    x      x    -     x'),
  ('private.assert_reader',                    '-    x    x      x    -     x'),
  ('private.entity_of',                        '-    x    x      x    -     x'),
  ('private.account_sums',                     '-    x    x      x    -     x'),
  ('private.book_text',                        '-    x    x      x    -     x'),
  ('private.verify_accounting',                '-    -    x      x    -     x'),
  -- what billing posts
  ('accounting.get_account_map',               '-    x    x      x    -     x'),
  ('accounting.set_account_map',               '-    x    x      x    -     x'),
  ('accounting.post_history',                  '-    -    x      -    -     -'),
  ('accounting.post_provider_cost',            '-    -    x      -    -     -'),
  ('private.set_account_map',                  '-    x    x      x    -     x'),
  ('private.book_lines',                       '-    x    x      x    -     x'),
  ('private.kept_lines',                       '-    -    x      x    -     x'),
  ('private.provider_cost',                    '-    -    x      x    -     x'),
  ('private.pinned_price',                     '-    -    x      x    -     x'),
  ('private.verify_billing_posts',             '-    -    x      x    -     x'),
  -- what needs approval: owners and admins say, those with an eye on money decide
  ('accounting.set_policy_rule',               '-    x    x      -    -     -'),
  ('accounting.retire_policy_rule',            '-    x    x      -    -     -'),
  ('accounting.approve_proposal',              '-    x    x      x    -     x'),
  ('accounting.reject_proposal',               '-    x    x      x    -     x'),
  ('private.set_policy_rule',                  '-    x    x      -    -     -'),
  ('private.retire_policy_rule',               '-    x    x      -    -     -'),
  ('private.decide_proposal',                  '-    x    x      x    -     x'),
  ('private.find_policy_rule',                 '-    x    x      x    -     x'),
  ('private.uses_in_window',                   '-    x    x      x    -     x'),
  ('private.policy_decision_of',               '-    x    x      x    -     x'),
  ('private.rule_for_spend',                   '-    x    x      x    -     x'),
  ('private.would_need_approval',              '-    x    x      x    -     x'),
  ('private.person_of',                        '-    -    x      x    -     x'),
  ('private.approval_above',                   '-    -    x      x    -     x'),
  ('private.verify_approvals',                 '-    -    x      x    -     x'),
  -- definers behind them
  ('private.create_organization',              '-    x    x      -    -     -'),
  ('private.set_budget',                       '-    x    x      -    -     -'),
  ('private.change_budget',                    '-    x    x      -    -     -'),
  ('private.remove_budget',                    '-    x    x      -    -     -'),
  ('private.set_frozen',                       '-    x    x      -    -     -'),
  ('private.authorize_spend',                  '-    x    x      x    -     x'),
  ('private.authorize_spend_batch',            '-    x    x      x    -     x'),
  ('private.release_spend',                    '-    x    x      x    -     x'),
  ('private.lock_organization',                '-    x    x      x    -     x'),
  ('private.member_organization_ids',          '-    x    x      x    -     x'),
  -- who is calling
  ('private.caller_role',                      '-    x    x      x    -     x'),
  ('private.schema_owner',                     '-    x    x      x    -     x'),
  ('private.is_trusted_caller',                '-    x    x      x    -     x'),
  ('private.assert_member',                    '-    x    x      x    -     x'),
  -- reads under the caller's own policies
  ('private.draft_hold',                       '-    x    x      x    -     x'),
  ('private.cover',                            '-    x    x      x    -     x'),
  ('private.survey',                           '-    x    x      x    -     x'),
  ('private.overdue',                          '-    x    x      x    -     x'),
  ('private.has_overdue',                      '-    x    x      x    -     x'),
  ('private.denied_as_frozen',                 '-    x    x      x    -     x'),
  ('private.granted',                          '-    x    x      x    -     x'),
  ('private.assert_workflow',                  '-    x    x      x    -     x'),
  ('private.resolve_organization_of_workflow', '-    x    x      x    -     x'),
  ('private.fits_workflow',                    '-    x    x      x    -     x'),
  ('private.monthly_cost',                     '-    x    x      x    -     x'),
  ('private.monthly_holds',                    '-    x    x      x    -     x'),
  ('private.present_month',                    '-    x    x      x    -     x'),
  ('private.estimate_call',                     '-    x    x      x    -     x'),
  ('private.find_provider',                     '-    x    x      x    -     x'),
  ('private.find_model',                        '-    x    x      x    -     x'),
  ('private.match_plain_name',                  '-    x    x      x    -     x'),
  ('private.match_name',                        '-    x    x      x    -     x'),
  ('private.find_listed',                       '-    x    x      x    -     x'),
  ('private.find_markup',                       '-    x    x      x    -     x'),
  ('private.find_price',                        '-    x    x      x    -     x'),
  ('private.quote_model',                       '-    x    x      x    -     x'),
  ('private.denied_outright',                  '-    x    x      x    -     x'),
  ('private.available_credits',                '-    x    x      x    -     x'),
  ('private.fundable',                         '-    x    x      x    -     x'),
  ('private.overdue_in_draw',                  '-    x    x      x    -     x'),
  ('private.is_run',                           '-    x    x      x    -     x'),
  ('private.resolve_organization_of_run',      '-    x    x      x    -     x'),
  ('private.variance_status',                  '-    -    x      x    -     x'),
  ('private.verify_billing',                   '-    -    x      x    -     x'),
  ('private.verify_metering',                  '-    -    x      x    -     x'),
  -- arithmetic, text and errors: no table is read
  ('private.affordable_tokens',                 '-    x    x      x    -     x'),
  ('private.assert_budget_profile',            '-    x    x      x    -     x'),
  ('private.assert_count',                     '-    x    x      x    -     x'),
  ('private.assert_covered',                   '-    x    x      x    -     x'),
  ('private.assert_id',                        '-    x    x      x    -     x'),
  ('private.assert_minimum',                   '-    x    x      x    -     x'),
  ('private.assert_money',                     '-    x    x      x    -     x'),
  ('private.assert_tags',                      '-    x    x      x    -     x'),
  ('private.assert_text',                      '-    x    x      x    -     x'),
  ('private.assert_usage',                      '-    x    x      x    -     x'),
  ('private.charged_counts',                    '-    x    x      x    -     x'),
  ('private.charged_rates',                     '-    x    x      x    -     x'),
  ('private.clock_now',                        '-    x    x      x    x     x'),
  ('private.completion_tokens',                 '-    x    x      x    -     x'),
  ('private.cost_at',                           '-    x    x      x    -     x'),
  ('private.count_of',                          '-    x    x      x    -     x'),
  ('private.denied_as_exceeded',               '-    x    x      x    -     x'),
  ('private.denied_as_unpriced',                '-    x    x      x    -     x'),
  ('private.effective_cap',                    '-    x    x      x    -     x'),
  ('private.estimate_at',                       '-    x    x      x    -     x'),
  ('private.estimated_cost',                    '-    x    x      x    -     x'),
  ('private.figure',                           '-    -    x      x    -     x'),
  ('private.granted_limit',                    '-    x    x      x    -     x'),
  ('private.is_free',                           '-    x    x      x    -     x'),
  ('private.is_time_zone',                     '-    x    x      x    -     x'),
  ('private.listed_tier',                       '-    x    x      x    -     x'),
  ('private.local_day',                        '-    x    x      x    -     x'),
  ('private.marked_up',                         '-    x    x      x    -     x'),
  ('private.prompt_tokens',                     '-    x    x      x    -     x'),
  ('private.raise_error',                      '-    x    x      x    -     x'),
  ('private.rates_of_prompt',                   '-    x    x      x    -     x'),
  ('private.reject_argument',                  '-    x    x      x    -     x'),
  ('private.rollup_keys',                       '-    -    x      x    -     x'),
  ('private.round_half_even',                  '-    x    x      x    x     x'),
  ('private.scope_keys',                       '-    x    x      x    -     x'),
  ('private.scope_keys_of',                    '-    x    x      x    -     x'),
  ('private.uuid_v7',                          '-    x    x      x    -     x'),
  ('private.uuid_v7_floor',                    '-    x    x      x    x     x'),
  ('private.uuid_v7_time',                     '-    x    x      x    -     x'),
  ('private.window_end',                       '-    x    x      x    x     x'),
  ('private.window_start',                     '-    x    x      x    x     x'),
  ('private.with_affordable_tokens',            '-    x    x      x    -     x')
) as entry (function, cells)
cross join regexp_split_to_array(entry.cells, '\s+') as cell;

create temporary view functions as
select
  p.oid,
  p.proowner,
  p.prosecdef,
  p.prosrc,
  coalesce(p.proacl, acldefault('f', p.proowner)) as acl,
  n.nspname || '.' || p.proname as name
from pg_proc as p
inner join pg_namespace as n on n.oid = p.pronamespace
where (n.nspname = 'public' or obj_description(n.oid, 'pg_namespace') like 'Tallystick%')
  and not exists (
    select from pg_depend as d
    where d.classid = 'pg_proc'::regclass and d.objid = p.oid and d.deptype = 'e'
  );

create temporary view permitted as
select
  f.name as function,
  max(x.mark) filter (where x.role = 'anon') as anon,
  max(x.mark) filter (where x.role = 'authenticated') as authenticated,
  max(x.mark) filter (where x.role = 'service_role') as service_role,
  max(x.mark) filter (where x.role = 'app_user') as app_user,
  max(x.mark) filter (where x.role = 'tallystick_reader') as tallystick_reader,
  max(x.mark) filter (where x.role = 'tallystick_writer') as tallystick_writer
from functions as f
cross join lateral (
  select
    r.role,
    case when has_function_privilege(r.role, f.oid, 'execute') then 'x' else '-' end as mark
  from unnest(array[
    'anon', 'authenticated', 'service_role', 'app_user', 'tallystick_reader', 'tallystick_writer'
  ]) as r (role)
) as x
group by f.name
having max(x.mark) = 'x';

create temporary view granted as
select
  f.name as function,
  a.is_grantable,
  case when a.grantee = 0 then 'public' else a.grantee::regrole::text end as grantee
from functions as f
cross join aclexplode(f.acl) as a
where a.grantee <> f.proowner;

select set_eq('table permitted', 'table who', 'each function runs for exactly these roles');

select is_empty(
  $$select * from granted where grantee in ('public', 'anon')$$,
  'no function is granted to the public or to anon'
);

select is_empty(
  $$
    select * from granted
    where grantee not in (
      'authenticated', 'service_role', 'app_user', 'tallystick_reader', 'tallystick_writer'
    )
  $$,
  'nobody else is granted a function'
);

select is_empty('select * from granted where is_grantable', 'nobody may pass a function on');

select is(
  (select count(distinct proowner) from functions), 1::bigint,
  'all functions belong to one owner'
);

select is_empty(
  $$
    select f.name, r.role
    from functions as f
    cross join unnest(array['anon', 'authenticated', 'service_role', 'app_user',
      'tallystick_reader', 'tallystick_writer', 'authenticator']) as r (role)
    where pg_has_role(r.role, f.proowner, 'member')
  $$,
  'no API role may become the owner'
);

-- Functions and views run with the rights of their caller, but for definers: whoever may use one
-- must be able to call what it calls.
create temporary view out_of_reach as
select r.role, c.name as caller, f.name as called
from (
  select name, prosrc as body, oid as function, null::oid as relation
  from functions where not prosecdef
  union all
  select v.relname, pg_get_viewdef(v.oid), null, v.oid
  from pg_class as v
  inner join pg_namespace as n on n.oid = v.relnamespace
  where v.relkind = 'v'
    and (n.nspname = 'public' or obj_description(n.oid, 'pg_namespace') like 'Tallystick%')
) as c
inner join functions as f on strpos(c.body, f.name || '(') > 0
cross join unnest(array[
  'authenticated', 'service_role', 'app_user', 'tallystick_reader', 'tallystick_writer'
]) as r (role)
where (
    has_function_privilege(r.role, c.function, 'execute')
    or has_table_privilege(r.role, c.relation, 'select')
  )
  and not has_function_privilege(r.role, f.oid, 'execute');
select is_empty('table out_of_reach', 'whoever may call a function may call what it calls');
revoke execute on function private.window_end(text, timestamptz, text) from tallystick_reader;
select set_eq(
  $$select role, caller::text, called from out_of_reach$$,
  $$values ('tallystick_reader', 'budget_status', 'private.window_end')$$,
  'and one who may not is seen'
);
grant execute on function private.window_end(text, timestamptz, text) to tallystick_reader;

-- A new function is executable by everybody until it is revoked: the list must notice.
create function private.forgotten() returns void language sql as '';
select set_ne('table permitted', 'table who', 'a forgotten revoke is seen');
select set_has(
  $$select function, grantee from granted$$,
  $$values ('private.forgotten', 'public')$$,
  'and named'
);
revoke execute on function private.forgotten() from public;
select set_eq('table permitted', 'table who', 'until it is made');

select * from finish();
rollback;
