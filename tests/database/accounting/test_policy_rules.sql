-- Which rule decides, and what it says; who sets and retires rules.
begin;
select plan(72);

select tests.freeze_clock('2026-03-10 12:00:00+00');
create temp table scene as
select
  o.org,
  tests.organization('Other') as elsewhere,
  tests.member(o.org, 'owner') as owner,
  tests.member(o.org, 'admin') as admin,
  tests.member(o.org, 'finance') as finance,
  tests.member(o.org, 'member') as member,
  tests.member(o.org, 'viewer') as viewer
from (select tests.organization('Acme') as org) as o;
grant select on scene to public;

-- Sets a rule and says its id, or the code it was refused with.
create function pg_temp.set_rule(p_arguments text)
returns text
language plpgsql
as $$
declare
  v_rule_id text;
begin
  execute format(
    'select rule_id from scene, accounting.set_policy_rule(p_organization_id => org, %s)', p_arguments
  ) into v_rule_id;
  return v_rule_id;
exception when others then
  return sqlstate;
end
$$;
create function pg_temp.decide(
  p_amount numeric,
  p_tool_name text default 'record_transaction_bundle',
  p_entity_id text default 'entity-default',
  p_category text default null,
  p_risk text default null,
  p_models text[] default '{}'
)
returns text
language sql
as $$
  select coalesce(d.rule_id, 'none') || case when d.needs_approval then ' asks: ' || d.reason else '' end
  from scene, private.match_policy(org, p_tool_name, p_entity_id, p_category, p_risk, p_amount, p_models) as d
$$;

-- Nothing matches -----------------------------------------------------------------------------

select is(pg_temp.decide(1000000), 'none', 'without a rule everything passes');

-- The threshold -------------------------------------------------------------------------------

select is(
  pg_temp.set_rule($$p_rule_id => 'base', p_threshold_amount => 100$$), 'base', 'a rule is set'
);
select is(pg_temp.decide(99.9999), 'base', 'below the threshold it lets pass');
select is(pg_temp.decide(100), 'base', 'at the threshold too');
select is(pg_temp.decide(100.000000000001), 'base asks: threshold', 'above it asks');
select is(pg_temp.decide(100.01, 'authorize_spend'), 'base asks: threshold', 'for any call');
select is(pg_temp.decide(101, p_entity_id => 'other'), 'base asks: threshold', 'of any entity');
select is(
  pg_temp.decide(101, p_category => 'rent', p_risk => 'high'), 'base asks: threshold',
  'of any category and band'
);

-- The first that matches ----------------------------------------------------------------------

select is(
  pg_temp.set_rule(
    $$p_rule_id => 'rent', p_threshold_amount => 1000, p_priority => 5,
      p_tool_name => 'record_transaction_bundle', p_transaction_category => 'rent'$$
  ),
  'rent', 'a rule for a category, first'
);
select is(pg_temp.decide(500, p_category => 'rent'), 'rent', 'it decides, though another would ask');
select is(pg_temp.decide(1001, p_category => 'rent'), 'rent asks: threshold', 'and asks by its own');
select is(pg_temp.decide(500, p_category => 'food'), 'base asks: threshold', 'not on another category');
select is(pg_temp.decide(500), 'base asks: threshold', 'nor where none is stated');
select is(
  pg_temp.decide(500, 'authorize_spend', p_category => 'rent'), 'base asks: threshold',
  'nor on another call'
);
select is(
  pg_temp.set_rule(
    $$p_rule_id => 'risky', p_threshold_amount => 0, p_priority => 4, p_risk_band => 'high'$$
  ),
  'risky', 'a rule for a band of risk, before that'
);
select is(
  pg_temp.decide(1, p_category => 'rent', p_risk => 'high'), 'risky asks: threshold', 'comes first'
);
select is(pg_temp.decide(0, p_risk => 'high'), 'risky', 'and lets nothing pass but 0');
select is(pg_temp.decide(1, p_category => 'rent', p_risk => 'low'), 'rent', 'another band does not match');
select is(
  pg_temp.set_rule($$p_rule_id => 'a', p_threshold_amount => 7, p_priority => 3$$)
  || pg_temp.set_rule($$p_rule_id => 'B', p_threshold_amount => 8, p_priority => 3$$),
  'aB', 'two of one priority'
);
select is(pg_temp.decide(7.5), 'B', 'are ordered by the bytes of their ids');
select is(
  pg_temp.set_rule(
    $$p_rule_id => 'B', p_threshold_amount => 8, p_priority => 3, p_entity_id => 'entity-default'$$
  ),
  'B', 'the same id: another rule in its place'
);
select is(pg_temp.decide(7.5), 'B', 'for an entity');
select is(pg_temp.decide(7.5, p_entity_id => 'other'), 'a asks: threshold', 'and no other');
select is(
  (select r.rule_id::text from scene, accounting.retire_policy_rule(org, 'B') as r), 'B',
  'it is retired'
);
select is(pg_temp.decide(7.5), 'a asks: threshold', 'and matches nothing any more');
select is(
  (select not r.active from scene, accounting.retire_policy_rule(org, 'B') as r), true,
  'again: nothing happens'
);
select results_eq(
  $$select count(*) from scene inner join accounting.policy_rules on organization_id = org$$,
  $$values (5::bigint)$$, 'the row is kept'
);
select is(
  pg_temp.set_rule($$p_rule_id => 'B', p_threshold_amount => 9, p_priority => 3$$), 'B',
  'set again it is active'
);
select is(pg_temp.decide(8.5), 'B', 'as it was set now');

-- Calls of models -----------------------------------------------------------------------------

select is(
  pg_temp.set_rule(
    $$p_rule_id => 'model', p_threshold_amount => 0.25, p_priority => 1,
      p_tool_name => 'authorize_spend', p_model => 'gpt-9'$$
  ),
  'model', 'a rule for a model'
);
select is(
  pg_temp.decide(0.3, 'authorize_spend', p_models => array['alias', 'gpt-9']),
  'model asks: threshold', 'by any of its names'
);
select is(
  pg_temp.decide(0.3, 'authorize_spend', p_models => array['gpt-8', null]), 'B', 'not another model'
);
select is(
  (select b.approval_above_usd::numeric from scene inner join metering.budgets as b on b.id = org),
  0.25, 'the kernel asks above the least threshold of rules about calls'
);
select is(
  pg_temp.set_rule(
    $$p_rule_id => 'books', p_threshold_amount => 0.01, p_priority => 200,
      p_tool_name => 'record_transaction_bundle'$$
  ),
  'books', 'a rule about bundles'
);
select is(
  (select b.approval_above_usd::numeric from scene inner join metering.budgets as b on b.id = org),
  0.25, 'changes nothing there'
);
select is(
  (select count(*) from scene, accounting.policy_rules as r, accounting.retire_policy_rule(org, r.rule_id)
  where r.organization_id = org), 7::bigint, 'all are retired'
);
select is(
  (select b.approval_above_usd::numeric from scene inner join metering.budgets as b on b.id = org),
  null, 'and the kernel asks nobody'
);

-- Velocity ------------------------------------------------------------------------------------

select is(
  pg_temp.set_rule(
    $$p_rule_id => 'fast', p_threshold_amount => 10, p_velocity_limit_count => 2,
      p_velocity_window_seconds => 60$$
  ),
  'fast', 'a rule that lets two pass in a minute'
);
select is(
  (select b.approval_above_usd::numeric from scene inner join metering.budgets as b on b.id = org),
  0::numeric, 'is asked about every call'
);
select is(pg_temp.decide(1), 'fast', 'the first passes');
select is(pg_temp.decide(11), 'fast asks: threshold', 'what is above the threshold is not counted');
select tests.freeze_clock('2026-03-10 12:00:30+00');
select is(pg_temp.decide(1), 'fast', 'the second passes');
select is(pg_temp.decide(1), 'fast asks: velocity', 'the third counts as above');
select is(pg_temp.decide(1), 'fast asks: velocity', 'and so does the next');
select is(
  (select cardinality(r.recent_uses) from scene inner join accounting.policy_rules as r
    on r.organization_id = org and r.rule_id = 'fast'), 2, 'two uses are known'
);
select tests.freeze_clock('2026-03-10 12:00:59.999999+00');
select is(pg_temp.decide(1), 'fast asks: velocity', 'as long as the window lasts');
select tests.freeze_clock('2026-03-10 12:01:00+00');
select is(pg_temp.decide(1), 'fast', 'then the first is forgotten');
select is(pg_temp.decide(1), 'fast asks: velocity', 'the second is not');
select is(
  (select r.recent_uses from scene inner join accounting.policy_rules as r
    on r.organization_id = org and r.rule_id = 'fast'),
  array['2026-03-10 12:00:30+00', '2026-03-10 12:01:00+00']::timestamptz[], 'the list does not grow'
);
select is(
  (select r.updated_at from scene inner join accounting.policy_rules as r
    on r.organization_id = org and r.rule_id = 'fast'),
  '2026-03-10 12:00:00+00'::timestamptz, 'being counted is no change of the rule'
);

-- What cannot be a rule -----------------------------------------------------------------------

select is(pg_temp.set_rule(v.arguments), v.code, v.arguments)
from (
  values
  ('p_rule_id => null, p_threshold_amount => 1', '22023'),
  ('p_rule_id => '' '', p_threshold_amount => 1', '22023'),
  ('p_rule_id => ''x'', p_threshold_amount => null', '22023'),
  ('p_rule_id => ''x'', p_threshold_amount => -1', '22023'),
  ('p_rule_id => ''x'', p_threshold_amount => ''NaN''', '22023'),
  ('p_rule_id => ''x'', p_threshold_amount => 1, p_tool_name => ''authorise_spend''', '22023'),
  ('p_rule_id => ''x'', p_threshold_amount => 1, p_entity_id => ''nobody''', 'TS404'),
  ('p_rule_id => ''x'', p_threshold_amount => 1, p_model => ''gpt-9''', '22023'),
  ('p_rule_id => ''x'', p_threshold_amount => 1, p_velocity_limit_count => 1', '22023'),
  ('p_rule_id => ''x'', p_threshold_amount => 1, p_velocity_window_seconds => 1', '22023'),
  (
    'p_rule_id => ''x'', p_threshold_amount => 1, p_velocity_limit_count => 0, '
    'p_velocity_window_seconds => 1', '22023'
  ),
  ('p_rule_id => ''x'', p_threshold_amount => 1, p_required_approvals => 0', '22023'),
  ('p_rule_id => ''x'', p_threshold_amount => 1, p_allows_asserted => null', '22023'),
  ('p_rule_id => ''x'', p_threshold_amount => 1, p_metadata => ''[]''', '22023')
) as v (arguments, code);
select throws_ok(
  $$select accounting.retire_policy_rule(elsewhere, 'fast') from scene$$, 'TS404', null,
  'a rule of another organization is not known'
);
select throws_ok(
  $$delete from accounting.policy_rules$$, '23001', null, 'no rule is ever removed'
);

-- Who may -------------------------------------------------------------------------------------

create function pg_temp.set_as(p_role text)
returns text
language plpgsql
as $$
declare
  v_code text;
begin
  perform tests.act_as(
    'authenticated', (select (to_jsonb(s) ->> p_role)::uuid from scene as s)
  );
  v_code := pg_temp.set_rule('p_rule_id => ''mine'', p_threshold_amount => 1');
  reset role;
  return v_code;
end
$$;
select is(pg_temp.set_as(v.role), v.outcome, v.role || ' sets a rule: ' || v.outcome)
from (
  values ('owner', 'mine'), ('admin', 'mine'), ('finance', '42501'), ('member', '42501'),
  ('viewer', '42501')
) as v (role, outcome);

-- What is logged ------------------------------------------------------------------------------

select bag_eq(
  $$select status, authn_method, actor_id::text from scene inner join audit.event_log as e
    on e.organization_id = org where tool_name = 'set_policy_rule' and correlation_id = 'mine'$$,
  $$select 'ok' as status, 'jwt' as how, 'user:' || owner as who from scene union all
    select 'ok', 'jwt', 'user:' || admin from scene$$,
  'who set a rule is on record'
);

select * from finish();
rollback;
