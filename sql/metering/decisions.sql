-- What is asked, and what is answered.

create type metering.spend_decision as (
  decision text,
  hold_id uuid,
  usage_id uuid,
  held_usd text,
  reason text,
  budget_id uuid,
  remaining_usd text,
  resets_at timestamptz,
  affordable_output_tokens bigint,
  expires_at timestamptz,
  proposal_id uuid
);

comment on type metering.spend_decision is 'The answer of authorize_spend and estimate_spend.';
comment on column metering.spend_decision.decision is
  'granted: the money is held. denied: it is not. settled: the request was already made and '
  'settled. needs_approval: somebody has to approve it; then ask again with the same request id.';
comment on column metering.spend_decision.hold_id is 'The hold to settle or release; granted.';
comment on column metering.spend_decision.usage_id is 'The usage a settled request became.';
comment on column metering.spend_decision.held_usd is
  'US dollars held, as decimal text; of a settled request, what it cost.';
comment on column metering.spend_decision.reason is
  'denied: budget_exceeded, frozen, run_ended, model_not_in_run, unpriced_model, stale_price, '
  'approval_rejected or approval_needs_request_id. granted: over_soft_limit, or null.';
comment on column metering.spend_decision.budget_id is
  'The budget that decided; null where the organization is frozen, or credits were not enough to '
  'open the draw of the day.';
comment on column metering.spend_decision.remaining_usd is
  'What that budget has left, as decimal text; below zero for a soft one.';
comment on column metering.spend_decision.resets_at is
  'When that budget''s window ends; null for a total.';
comment on column metering.spend_decision.affordable_output_tokens is
  'How many output tokens pay for themselves beside the input: of a grant from what is held, of a '
  'denial from what is left. Null where no price is known or output is free.';
comment on column metering.spend_decision.expires_at is
  'From then on the hold''s money is free for others.';
comment on column metering.spend_decision.proposal_id is
  'needs_approval: what is to be approved. denied: what was rejected.';

-- Tags: up to 16 texts by name. A tag's budget is found by key=value, so both stay short.
create function private.assert_tags(p_argument text, p_tags jsonb)
returns jsonb
language plpgsql
stable
set search_path = pg_catalog, pg_temp
as $$
begin
  if jsonb_typeof(p_tags) is distinct from 'object' then
    perform private.reject_argument(p_argument, 'must be an object');
  elsif exists (select from jsonb_each(p_tags) as t where jsonb_typeof(t.value) <> 'string') then
    perform private.reject_argument(p_argument, 'must have texts as values');
  elsif exists (
    select from jsonb_each_text(p_tags) as t
    where t.key !~ '^[^=[:space:]]+$' or t.value !~ '\S' or length(t.key || '=' || t.value) > 255
  ) then
    perform private.reject_argument(
      p_argument, 'must have keys without spaces or =, no blank value, and at most 255 characters each'
    );
  elsif (select count(*) from jsonb_object_keys(p_tags)) > 16 then
    perform private.reject_argument(p_argument, 'must have at most 16 keys');
  end if;
  return p_tags;
end
$$;

comment on function private.assert_tags(text, jsonb) is
  'Refuses anything but an object of up to 16 texts. Errors: 22023.';

-- The profiles a venture may spend under. Each may have a share of its budget.
create function private.assert_budget_profile(p_argument text, p_profile text)
returns text
language plpgsql
stable
set search_path = pg_catalog, pg_temp
as $$
begin
  if (p_profile in ('exploratory', 'standard', 'deep_due_diligence', 'custom')) is not true then
    perform private.reject_argument(
      p_argument, 'must be exploratory, standard, deep_due_diligence or custom'
    );
  end if;
  return p_profile;
end
$$;

comment on function private.assert_budget_profile(text, text) is
  'Refuses anything but a profile of a venture. Errors: 22023.';

-- Checks who asks for what, and returns it as the hold it would be.
--
-- A tenant spends as itself: its hold names the person, and no API key. Server roles may name both.
create function private.draft_hold(
  p_organization_id uuid,
  p_model text,
  p_input_tokens bigint,
  p_max_output_tokens bigint,
  p_workflow_id uuid,
  p_run_id uuid,
  p_venture_id uuid,
  p_user_id uuid,
  p_api_key_id text,
  p_tags jsonb,
  p_provider text,
  p_service_tier text,
  p_roles text[] default array['owner', 'admin', 'finance', 'member']
)
returns metering.holds
language plpgsql
stable
set search_path = pg_catalog, pg_temp
as $$
declare
  v_hold metering.holds;
begin
  v_hold.organization_id := private.assert_id('p_organization_id', p_organization_id);
  v_hold.workflow_id := p_workflow_id;
  v_hold.run_id := p_run_id;
  v_hold.venture_id := p_venture_id;
  v_hold.user_id := p_user_id;
  v_hold.tags := coalesce(p_tags, '{}');
  v_hold.state := 'open';
  if not private.is_trusted_caller() then
    perform private.assert_member(p_organization_id, p_roles);
    v_hold.user_id := auth.uid();
    if p_user_id <> v_hold.user_id or p_api_key_id is not null then
      perform private.raise_error(
        '42501', jsonb_build_object('user_id', p_user_id, 'api_key_id', p_api_key_id)
      );
    end if;
  end if;

  if p_input_tokens is not null then
    perform private.assert_count('p_input_tokens', p_input_tokens);
  end if;
  if p_max_output_tokens is not null then
    perform private.assert_count('p_max_output_tokens', p_max_output_tokens);
  end if;
  v_hold.model := private.assert_text('p_model', coalesce(p_model, 'unknown'));
  if p_api_key_id is not null then
    v_hold.api_key_id := private.assert_text('p_api_key_id', p_api_key_id);
  end if;
  if p_provider is not null then
    v_hold.provider := private.assert_text('p_provider', p_provider);
  end if;
  if p_service_tier is not null then
    v_hold.service_tier := private.assert_text('p_service_tier', p_service_tier);
  end if;
  if v_hold.tags <> '{}' then
    v_hold.tags := private.assert_tags('p_tags', v_hold.tags);
  end if;
  if p_venture_id is not null then
    if not exists (
      select from tenancy.ventures as v
      where v.organization_id = p_organization_id and v.id = p_venture_id
    ) then
      perform private.raise_error('TS404', jsonb_build_object('venture_id', p_venture_id));
    end if;
    -- Under a profile nobody knows it would escape the share of the one it is meant for.
    if v_hold.tags ? 'budget_profile' then
      perform private.assert_budget_profile(
        'p_tags.budget_profile', v_hold.tags ->> 'budget_profile'
      );
    end if;
  end if;
  return v_hold;
end
$$;

comment on function private.draft_hold(
  uuid, text, bigint, bigint, uuid, uuid, uuid, uuid, text, jsonb, text, text, text[]
) is
  'The hold a call asks for, its arguments and its caller checked, without an amount. Errors: '
  '22023, 42501, TS404.';

-- The scope keys of a hold.
create function private.scope_keys_of(p_hold metering.holds)
returns text[]
language plpgsql
stable
set search_path = pg_catalog, pg_temp
as $$
begin
  return private.scope_keys(
    p_hold.workflow_id, p_hold.run_id, p_hold.venture_id, p_hold.user_id, p_hold.api_key_id,
    p_hold.model, p_hold.listed_model, p_hold.tags
  );
end
$$;

comment on function private.scope_keys_of(metering.holds) is 'scope_keys of a hold.';

-- Refuses what names an organization or workflow that is not there: each has a budget of its own
-- from birth, so what is not covered by it does not exist. Where calls are paid in advance, a run
-- must be one that was started here.
create function private.assert_covered(p_hold metering.holds, p_coverage private.coverage)
returns private.coverage
language plpgsql
stable
set search_path = pg_catalog, pg_temp
as $$
begin
  if p_coverage.budget_ids is null then
    perform private.raise_error(
      'TS404', jsonb_build_object('organization_id', p_hold.organization_id)
    );
  elsif p_hold.workflow_id is not null and not p_coverage.has_workflow then
    perform private.raise_error('TS404', jsonb_build_object('workflow_id', p_hold.workflow_id));
  elsif p_hold.run_id is not null and p_coverage.lacks_funding
    and not private.is_run(p_hold.organization_id, p_hold.run_id) then
    perform private.raise_error('TS404', jsonb_build_object('run_id', p_hold.run_id));
  end if;
  return p_coverage;
end
$$;

comment on function private.assert_covered(metering.holds, private.coverage) is
  'Refuses a hold of an unknown organization, workflow or run. Errors: TS404.';

create function private.denied_as_frozen(p_organization_id uuid, p_scope_keys text[])
returns metering.spend_decision
language plpgsql
stable
set search_path = pg_catalog, pg_temp
as $$
declare
  v_decision metering.spend_decision;
begin
  v_decision.decision := 'denied';
  v_decision.reason := 'frozen';
  v_decision.budget_id := (
    select nullif(b.id, b.organization_id)
    from metering.budgets as b
    where b.organization_id = p_organization_id
      and b.scope_key = any(p_scope_keys)
      and b.frozen_at is not null
    order by b.id <> b.organization_id, b.id
    limit 1
  );
  return v_decision;
end
$$;

comment on function private.denied_as_frozen(uuid, text[]) is
  'The decision where the organization or a scope of the call is frozen.';

-- Why a call may not be made whatever it costs; its decision is null where nothing is in the way.
create function private.denied_outright(
  p_hold metering.holds,
  p_scope_keys text[],
  p_coverage private.coverage
)
returns metering.spend_decision
language plpgsql
stable
set search_path = pg_catalog, pg_temp
as $$
declare
  v_decision metering.spend_decision;
begin
  if p_coverage.is_frozen then
    return private.denied_as_frozen(p_hold.organization_id, p_scope_keys);
  elsif p_hold.run_id is not null and p_coverage.lacks_funding then
    v_decision.decision := 'denied';
    v_decision.reason := 'run_ended';
  elsif p_coverage.excludes_model then
    v_decision.decision := 'denied';
    v_decision.reason := 'model_not_in_run';
    v_decision.budget_id := p_hold.run_id;
  end if;
  return v_decision;
end
$$;

comment on function private.denied_outright(metering.holds, text[], private.coverage) is
  'The decision where something is frozen, the run has ended, or it may not call the model.';

create function private.denied_as_exceeded(p_coverage private.coverage)
returns metering.spend_decision
language plpgsql
immutable
set search_path = pg_catalog, pg_temp
as $$
declare
  v_decision metering.spend_decision;
begin
  v_decision.decision := 'denied';
  v_decision.reason := 'budget_exceeded';
  v_decision.budget_id := p_coverage.tightest_budget_id;
  v_decision.remaining_usd := trim_scale(p_coverage.remaining)::text;
  v_decision.resets_at := p_coverage.resets_at;
  return v_decision;
end
$$;

comment on function private.denied_as_exceeded(private.coverage) is
  'The decision where a budget has not enough left.';

-- The grant of an open hold. Where a soft limit is passed, or would be by p_unbooked more, it says
-- which and by how much.
create function private.granted(
  p_hold metering.holds,
  p_scope_keys text[],
  p_unbooked numeric default 0
)
returns metering.spend_decision
language plpgsql
stable
set search_path = pg_catalog, pg_temp
as $$
declare
  v_now constant timestamptz := private.clock_now();
  v_decision metering.spend_decision;
begin
  v_decision.decision := 'granted';
  v_decision.hold_id := p_hold.id;
  v_decision.held_usd := trim_scale(p_hold.held_usd)::text;
  v_decision.expires_at := p_hold.expires_at;
  if p_scope_keys is not null then
    select
      'over_soft_limit', s.budget_id, trim_scale(s.remaining)::text, nullif(s.resets_at, 'infinity')
    into v_decision.reason, v_decision.budget_id, v_decision.remaining_usd, v_decision.resets_at
    from (
      select
        b.id as budget_id,
        b.limit_usd - p_unbooked - case
          when max(x.window_end) > v_now then sum(x.settled_usd + x.held_usd) else 0
        end as remaining,
        case
          when max(x.window_end) > v_now then max(x.window_end)
          else private.window_end(b.time_window, v_now, b.time_zone)
        end as resets_at
      from metering.budgets as b
      inner join metering.budget_slots as x
        on x.organization_id = b.organization_id and x.budget_id = b.id
      where b.organization_id = p_hold.organization_id
        and b.scope_key = any(p_scope_keys)
        and b.enforcement = 'soft'
      group by b.organization_id, b.id
    ) as s
    where s.remaining < 0
    order by s.remaining, s.budget_id
    limit 1;
  end if;
  return v_decision;
end
$$;

comment on function private.granted(metering.holds, text[], numeric) is
  'The decision for an open hold; with scope keys, soft limits are looked at.';

-- What a retried request finds: its open hold, or what became of it, or its proposal. Its decision
-- is null where it is to be admitted anew: the hold was released or has expired, whether or not
-- anybody took its money; or the proposal was approved.
create function private.present_decision(
  p_organization_id uuid,
  p_subject_id uuid,
  p_now timestamptz
)
returns metering.spend_decision
language plpgsql
stable
set search_path = pg_catalog, pg_temp
as $$
declare
  v_hold metering.holds;
  v_decision metering.spend_decision;
begin
  -- What nothing was bound to is looked for nowhere: in the ledger, all partitions would be locked.
  if p_subject_id is null then
    return null;
  end if;
  select * into v_hold
  from metering.holds as h
  where h.organization_id = p_organization_id and h.id = p_subject_id;
  if v_hold.state = 'open' and v_hold.expires_at > p_now then
    return private.granted(v_hold, private.scope_keys_of(v_hold));
  elsif v_hold.id is null then
    select 'settled', l.id, trim_scale(l.cost)::text
    into v_decision.decision, v_decision.usage_id, v_decision.held_usd
    from public.ai_usage_ledger as l
    where l.organization_id = p_organization_id and l.id = p_subject_id;
    if v_decision.decision is null then
      return private.decision_of_proposal(p_organization_id, p_subject_id);
    end if;
  end if;
  return v_decision;
end
$$;

comment on function private.present_decision(uuid, uuid, timestamptz) is
  'The decision a retried request gets: granted, settled, needs_approval, denied where that was '
  'rejected, or null where it is admitted anew.';

-- True where a hold ended without a settlement: released, expired, or forgotten since. Also for
-- what is no hold but a proposal.
create function private.is_over(p_organization_id uuid, p_hold_id uuid)
returns boolean
language plpgsql
stable
set search_path = pg_catalog, pg_temp
as $$
begin
  return not exists (
    select from metering.holds as h
    where h.organization_id = p_organization_id and h.id = p_hold_id and h.state = 'open'
  ) and not exists (
    select from public.ai_usage_ledger as l
    where l.organization_id = p_organization_id and l.id = p_hold_id
  );
end
$$;

comment on function private.is_over(uuid, uuid) is
  'True for a hold that is neither open, overdue or not, nor settled.';

-- Whether a request that was bound to p_bound has an answer by now: another call bound its id, or
-- its overdue hold was settled meanwhile.
create function private.has_moved(
  p_organization_id uuid,
  p_request_id text,
  p_content_hash text,
  p_bound uuid,
  p_open_after timestamptz
)
returns boolean
language plpgsql
stable
set search_path = pg_catalog, pg_temp
as $$
begin
  return p_request_id is not null and (
    p_bound is distinct from private.find_request(
      p_organization_id, 'authorize', p_request_id, p_content_hash
    )
    or p_bound is not null and (
      private.present_decision(p_organization_id, p_bound, p_open_after)
    ).decision is not null
  );
end
$$;

comment on function private.has_moved(uuid, text, text, uuid, timestamptz) is
  'True where a request that was to be decided has an answer by now. Errors: TS409.';
