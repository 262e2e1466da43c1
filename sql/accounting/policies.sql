-- Policies: which writes need approval.
--
-- The first active rule that matches decides, by (priority, rule_id); null in a rule matches
-- anything. Strictly above its threshold approval is needed. A rule with a velocity limit lets so
-- many pass within its window; more count as above. What no rule matches passes.
--
-- Locks: a rule with a velocity limit, after slots and periods, before proposals.

create type private.policy_decision as (
  needs_approval boolean,
  rule_id text,
  threshold_amount numeric,
  required_approvals integer,
  reason text
);

comment on type private.policy_decision is
  'Whether a write needs approval, of how many, and why: threshold, velocity or period_locked.';

create function private.find_policy_rule(
  p_organization_id uuid,
  p_tool_name text,
  p_entity_id text,
  p_transaction_category text,
  p_risk_band text,
  p_models text[] default '{}'
)
returns accounting.policy_rules
language plpgsql
stable
set search_path = pg_catalog, pg_temp
as $$
declare
  v_rule accounting.policy_rules;
begin
  select * into v_rule
  from accounting.policy_rules as r
  where r.organization_id = p_organization_id
    and r.active
    and (r.tool_name is null or r.tool_name = p_tool_name)
    and (r.entity_id is null or r.entity_id = p_entity_id)
    and (r.transaction_category is null or r.transaction_category = p_transaction_category)
    and (r.risk_band is null or r.risk_band = p_risk_band)
    and (r.model is null or r.model = any(p_models))
  order by r.priority, r.rule_id collate "C"
  limit 1;
  return v_rule;
end
$$;

comment on function private.find_policy_rule(uuid, text, text, text, text, text[]) is
  'The rule that decides on such a write, or null. p_models: the names a call''s model has.';

-- When a rule let something pass, as far as its window reaches back from p_now.
create function private.uses_in_window(p_rule accounting.policy_rules, p_now timestamptz)
returns timestamptz[]
language plpgsql
stable
set search_path = pg_catalog, pg_temp
as $$
begin
  return array(
    select u.used_at from unnest(p_rule.recent_uses) as u (used_at)
    where u.used_at > p_now - make_interval(secs => p_rule.velocity_window_seconds)
    order by u.used_at
  );
end
$$;

comment on function private.uses_in_window(accounting.policy_rules, timestamptz) is
  'When a rule with a velocity limit let something pass within its window.';

-- What a rule says of an amount. Counts nothing.
create function private.policy_decision_of(
  p_rule accounting.policy_rules,
  p_amount numeric,
  p_now timestamptz
)
returns private.policy_decision
language plpgsql
stable
set search_path = pg_catalog, pg_temp
as $$
declare
  v_decision private.policy_decision;
begin
  v_decision.rule_id := p_rule.rule_id;
  v_decision.threshold_amount := p_rule.threshold_amount;
  v_decision.required_approvals := p_rule.required_approvals;
  v_decision.reason := case
    when p_amount > p_rule.threshold_amount then 'threshold'
    when
      cardinality(private.uses_in_window(p_rule, p_now)) >= p_rule.velocity_limit_count
      then 'velocity'
  end;
  v_decision.needs_approval := v_decision.reason is not null;
  return v_decision;
end
$$;

comment on function private.policy_decision_of(accounting.policy_rules, numeric, timestamptz) is
  'Whether p_amount needs approval by a rule, as of p_now; by none it does not.';

-- Decides by the rule that matches, and counts what one with a velocity limit lets pass: the caller
-- then makes the write, in the same transaction.
--
-- Locks: the rule, where it has a velocity limit; it is changed, so that a transaction with an
-- older snapshot fails with 40001 instead of counting by it.
create function private.match_policy(
  p_organization_id uuid,
  p_tool_name text,
  p_entity_id text,
  p_transaction_category text,
  p_risk_band text,
  p_amount numeric,
  p_models text[] default '{}'
)
returns private.policy_decision
language plpgsql
volatile
set search_path = pg_catalog, pg_temp
as $$
declare
  v_rule accounting.policy_rules;
  v_locked accounting.policy_rules;
  v_now timestamptz;
  v_decision private.policy_decision;
begin
  loop
    v_rule := private.find_policy_rule(
      p_organization_id, p_tool_name, p_entity_id, p_transaction_category, p_risk_band, p_models
    );
    if v_rule.velocity_limit_count is null then
      return private.policy_decision_of(v_rule, p_amount, null);
    end if;
    select * into v_locked
    from accounting.policy_rules as r
    where r.organization_id = p_organization_id and r.rule_id = v_rule.rule_id
    for no key update;
    -- Changed while it waited: perhaps another one decides now.
    v_rule.recent_uses := v_locked.recent_uses;
    exit when v_locked is not distinct from v_rule;
  end loop;
  v_now := private.clock_now();
  v_decision := private.policy_decision_of(v_locked, p_amount, v_now);
  if not v_decision.needs_approval then
    update accounting.policy_rules as r
    set recent_uses = private.uses_in_window(v_locked, v_now) || v_now
    where r.organization_id = p_organization_id and r.rule_id = v_locked.rule_id;
  end if;
  return v_decision;
end
$$;

comment on function private.match_policy(uuid, text, text, text, text, numeric, text[]) is
  'Whether a write needs approval; where a velocity limit lets it pass, it is counted.';

-- A whole number within bounds.
create function private.assert_between(
  p_argument text,
  p_value integer,
  p_least integer,
  p_most integer
)
returns integer
language plpgsql
stable
set search_path = pg_catalog, pg_temp
as $$
begin
  if (p_value between p_least and p_most) is not true then
    perform private.reject_argument(p_argument, format('must be from %s to %s', p_least, p_most));
  end if;
  return p_value;
end
$$;

comment on function private.assert_between(text, integer, integer, integer) is
  'Refuses what is not from p_least to p_most. Errors: 22023.';

-- A rule as it is to be stored, its arguments checked.
create function private.draft_policy_rule(
  p_organization_id uuid,
  p_rule_id text,
  p_threshold_amount numeric,
  p_priority integer,
  p_tool_name text,
  p_entity_id text,
  p_transaction_category text,
  p_risk_band text,
  p_model text,
  p_velocity_limit_count integer,
  p_velocity_window_seconds integer,
  p_required_approvals integer,
  p_allows_asserted boolean,
  p_metadata jsonb
)
returns accounting.policy_rules
language plpgsql
stable
set search_path = pg_catalog, pg_temp
as $$
declare
  v_rule accounting.policy_rules;
begin
  v_rule.organization_id := p_organization_id;
  v_rule.rule_id := private.assert_text('p_rule_id', p_rule_id);
  v_rule.threshold_amount := private.assert_money('p_threshold_amount', p_threshold_amount);
  v_rule.priority := private.assert_between('p_priority', p_priority, -1000000, 1000000);
  v_rule.required_approvals := private.assert_between(
    'p_required_approvals', p_required_approvals, 1, 100
  );
  if p_tool_name not in ('record_transaction_bundle', 'authorize_spend') then
    perform private.reject_argument(
      'p_tool_name', 'must be record_transaction_bundle or authorize_spend'
    );
  elsif p_model is not null and p_tool_name is distinct from 'authorize_spend' then
    perform private.reject_argument('p_model', 'must be omitted but for authorize_spend');
  elsif (p_velocity_limit_count is null) <> (p_velocity_window_seconds is null) then
    perform private.reject_argument(
      'p_velocity_limit_count, p_velocity_window_seconds', 'must both be stated or left out'
    );
  elsif p_allows_asserted is null then
    perform private.reject_argument('p_allows_asserted', 'must not be null');
  elsif jsonb_typeof(p_metadata) is distinct from 'object' then
    perform private.reject_argument('p_metadata', 'must be an object');
  elsif p_entity_id is not null and not exists (
    select from accounting.entities as e
    where e.organization_id = p_organization_id and e.entity_id = p_entity_id
  ) then
    perform private.raise_error('TS404', jsonb_build_object('entity_id', p_entity_id));
  end if;
  v_rule.tool_name := p_tool_name;
  v_rule.entity_id := p_entity_id;
  v_rule.allows_asserted := p_allows_asserted;
  v_rule.metadata := p_metadata;
  if p_transaction_category is not null then
    v_rule.transaction_category := private.assert_text(
      'p_transaction_category', p_transaction_category
    );
  end if;
  if p_risk_band is not null then
    v_rule.risk_band := private.assert_text('p_risk_band', p_risk_band);
  end if;
  if p_model is not null then
    -- By its listed name it is meant whatever a call names it.
    v_rule.model := coalesce(
      (private.find_model(null, private.assert_text('p_model', p_model))).model, p_model
    );
  end if;
  if p_velocity_limit_count is not null then
    v_rule.velocity_limit_count := private.assert_between(
      'p_velocity_limit_count', p_velocity_limit_count, 1, 10000
    );
    v_rule.velocity_window_seconds := private.assert_between(
      'p_velocity_window_seconds', p_velocity_window_seconds, 1, 31622400
    );
  end if;
  return v_rule;
end
$$;

comment on function private.draft_policy_rule(
  uuid, text, numeric, integer, text, text, text, text, text, integer, integer, integer, boolean,
  jsonb
) is
  'A rule as it is to be stored. Errors: 22023 for what could never match, TS404 for an unknown '
  'entity.';

-- Above which amount a call has to ask the rules: their least threshold, and nothing at all where
-- one has a velocity limit.
create function private.approval_above(p_organization_id uuid)
returns numeric
language plpgsql
stable
set search_path = pg_catalog, pg_temp
as $$
begin
  return (
    select min(case when r.velocity_limit_count is null then r.threshold_amount else 0 end)
    from accounting.policy_rules as r
    where r.organization_id = p_organization_id
      and r.active
      and coalesce(r.tool_name, 'authorize_spend') = 'authorize_spend'
      and coalesce(r.entity_id, 'entity-default') = 'entity-default'
      and coalesce(r.transaction_category, r.risk_band) is null
  );
end
$$;

comment on function private.approval_above(uuid) is
  'The least amount above which a rule may want approval for a call; null where none is about '
  'calls.';

-- Lets a rule that was stored take effect, and logs it. The kernel is told above which amount it
-- has to ask; under a change of budgets, so that no call misses it.
create function private.enact_policy_rule(
  p_rule accounting.policy_rules,
  p_tool_name text,
  p_started_at timestamptz
)
returns accounting.policy_rules
language plpgsql
volatile
set search_path = pg_catalog, pg_temp
as $$
declare
  v_text constant text := private.canonical_text(
    to_jsonb(p_rule) - array['organization_id', 'recent_uses', 'created_at', 'updated_at']
    || jsonb_build_object('threshold_amount', trim_scale(p_rule.threshold_amount::numeric)::text)
  );
begin
  update metering.budgets as b
  set approval_above_usd = private.approval_above(p_rule.organization_id)
  where b.organization_id = p_rule.organization_id and b.id = p_rule.organization_id;
  perform private.log_call(
    p_rule.organization_id, p_tool_name, p_rule.rule_id, private.content_hash(v_text), v_text,
    private.acting(null), p_started_at, 'ok'
  );
  return p_rule;
end
$$;

comment on function private.enact_policy_rule(accounting.policy_rules, text, timestamptz) is
  'Stores on the own budget above which amount a call may need approval; logs the rule.';

-- The privileged half of accounting.set_policy_rule.
create function private.set_policy_rule(
  p_organization_id uuid,
  p_rule_id text,
  p_threshold_amount numeric,
  p_priority integer,
  p_tool_name text,
  p_entity_id text,
  p_transaction_category text,
  p_risk_band text,
  p_model text,
  p_velocity_limit_count integer,
  p_velocity_window_seconds integer,
  p_required_approvals integer,
  p_allows_asserted boolean,
  p_metadata jsonb
)
returns accounting.policy_rules
language plpgsql
volatile
security definer -- writes rules and budgets, which no role may write itself
set search_path = pg_catalog, pg_temp
as $$
declare
  v_started_at constant timestamptz := private.clock_now();
  v_rule accounting.policy_rules;
begin
  perform private.assert_may_set_budgets(p_organization_id);
  v_rule := private.draft_policy_rule(
    p_organization_id, p_rule_id, p_threshold_amount, p_priority, p_tool_name, p_entity_id,
    p_transaction_category, p_risk_band, p_model, p_velocity_limit_count,
    p_velocity_window_seconds, p_required_approvals, p_allows_asserted, p_metadata
  );
  perform private.begin_change(p_organization_id);
  insert into accounting.policy_rules (
    organization_id, rule_id, priority, tool_name, entity_id, transaction_category, risk_band,
    model, velocity_limit_count, velocity_window_seconds, threshold_amount, required_approvals,
    allows_asserted, metadata
  ) values (
    v_rule.organization_id, v_rule.rule_id, v_rule.priority, v_rule.tool_name, v_rule.entity_id,
    v_rule.transaction_category, v_rule.risk_band, v_rule.model, v_rule.velocity_limit_count,
    v_rule.velocity_window_seconds, v_rule.threshold_amount, v_rule.required_approvals,
    v_rule.allows_asserted, v_rule.metadata
  )
  on conflict (organization_id, rule_id) do update
  set
    priority = excluded.priority,
    tool_name = excluded.tool_name,
    entity_id = excluded.entity_id,
    transaction_category = excluded.transaction_category,
    risk_band = excluded.risk_band,
    model = excluded.model,
    velocity_limit_count = excluded.velocity_limit_count,
    velocity_window_seconds = excluded.velocity_window_seconds,
    threshold_amount = excluded.threshold_amount,
    required_approvals = excluded.required_approvals,
    allows_asserted = excluded.allows_asserted,
    metadata = excluded.metadata,
    active = true
  returning * into v_rule;
  return private.enact_policy_rule(v_rule, 'set_policy_rule', v_started_at);
end
$$;

comment on function private.set_policy_rule(
  uuid, text, numeric, integer, text, text, text, text, text, integer, integer, integer, boolean,
  jsonb
) is
  'Core of accounting.set_policy_rule.';

-- Sets a policy rule, or stores another under its id. Idempotent.
--
-- Locks: the organization's own slots, so no spend is in flight; then the rule.
create function accounting.set_policy_rule(
  p_organization_id uuid,
  p_rule_id text,
  p_threshold_amount numeric,
  p_priority integer default 100,
  p_tool_name text default null,
  p_entity_id text default null,
  p_transaction_category text default null,
  p_risk_band text default null,
  p_model text default null,
  p_velocity_limit_count integer default null,
  p_velocity_window_seconds integer default null,
  p_required_approvals integer default 1,
  p_allows_asserted boolean default false,
  p_metadata jsonb default '{}'
)
returns accounting.policy_rules
language plpgsql
volatile
set search_path = pg_catalog, pg_temp
as $$
begin
  return private.set_policy_rule(
    p_organization_id, p_rule_id, p_threshold_amount, p_priority, p_tool_name, p_entity_id,
    p_transaction_category, p_risk_band, p_model, p_velocity_limit_count,
    p_velocity_window_seconds, p_required_approvals, p_allows_asserted, p_metadata
  );
end
$$;

comment on function accounting.set_policy_rule(
  uuid, text, numeric, integer, text, text, text, text, text, integer, integer, integer, boolean,
  jsonb
) is
  'Sets the policy rule with this id, or stores another in its place. The first active rule that '
  'matches, by p_priority (lowest first) and id, decides; what is left out matches anything. '
  'p_tool_name: record_transaction_bundle or authorize_spend, the latter also by p_model. Above '
  'p_threshold_amount (US dollars) p_required_approvals different persons must approve. At most '
  'p_velocity_limit_count pass within p_velocity_window_seconds; more count as above. '
  'p_allows_asserted: approvers whom a server names count. For owners, admins and service_role. '
  'Errors: 22023, 42501, TS404.';

-- The privileged half of accounting.retire_policy_rule.
create function private.retire_policy_rule(p_organization_id uuid, p_rule_id text)
returns accounting.policy_rules
language plpgsql
volatile
security definer -- writes rules and budgets, which no role may write itself
set search_path = pg_catalog, pg_temp
as $$
declare
  v_started_at constant timestamptz := private.clock_now();
  v_rule accounting.policy_rules;
begin
  perform private.assert_may_set_budgets(p_organization_id);
  perform private.assert_text('p_rule_id', p_rule_id);
  perform private.begin_change(p_organization_id);
  update accounting.policy_rules as r
  set active = false
  where r.organization_id = p_organization_id and r.rule_id = p_rule_id
  returning * into v_rule;
  if v_rule.rule_id is null then
    perform private.raise_error('TS404', jsonb_build_object('rule_id', p_rule_id));
  end if;
  return private.enact_policy_rule(v_rule, 'retire_policy_rule', v_started_at);
end
$$;

comment on function private.retire_policy_rule(uuid, text) is
  'Core of accounting.retire_policy_rule.';

-- Lets a policy rule match nothing any more. Idempotent.
--
-- Locks: the organization's own slots, so no spend is in flight; then the rule.
create function accounting.retire_policy_rule(p_organization_id uuid, p_rule_id text)
returns accounting.policy_rules
language plpgsql
volatile
set search_path = pg_catalog, pg_temp
as $$
begin
  return private.retire_policy_rule(p_organization_id, p_rule_id);
end
$$;

comment on function accounting.retire_policy_rule(uuid, text) is
  'Retires a policy rule: it matches nothing any more, and is kept for the proposals it caused, '
  'which still wait for their approval. For owners, admins and service_role. Errors: 22023, 42501, '
  'TS404.';
