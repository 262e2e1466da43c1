-- May this be spent? If so, the money is held.

-- How long a hold lasts: above nothing, at most a day.
create function private.assert_expiry(p_argument text, p_expires_in interval)
returns interval
language plpgsql
stable
set search_path = pg_catalog, pg_temp
as $$
declare
  -- In one unit: a month is compared as 30 days, but added as a month.
  v_seconds constant numeric := extract(epoch from p_expires_in);
begin
  if (v_seconds > 0 and v_seconds <= 86400) is not true then
    perform private.reject_argument(p_argument, 'must be above 0 and at most 24 hours');
  end if;
  return make_interval(secs => v_seconds);
end
$$;

comment on function private.assert_expiry(text, interval) is
  'Refuses anything but a duration above 0 of at most 24 hours; returns it in seconds. Errors: '
  '22023.';

-- The least a hold may be cut to: all of it, unless it may be granted in part.
create function private.assert_minimum(
  p_allow_partial boolean,
  p_minimum numeric,
  p_estimated_cost numeric,
  p_default numeric
)
returns numeric
language plpgsql
stable
set search_path = pg_catalog, pg_temp
as $$
begin
  if p_allow_partial is null then
    perform private.reject_argument('p_allow_partial', 'must not be null');
  elsif not p_allow_partial then
    if p_minimum is not null then
      perform private.reject_argument('p_minimum', 'must be omitted unless p_allow_partial');
    end if;
    return p_estimated_cost;
  elsif p_minimum is null and p_default is not null then
    return p_default;
  end if;
  perform private.assert_money('p_minimum', p_minimum);
  if p_minimum = 0 or p_minimum > p_estimated_cost then
    perform private.reject_argument('p_minimum', 'must be above 0 and at most the estimate');
  end if;
  return p_minimum;
end
$$;

comment on function private.assert_minimum(boolean, numeric, numeric, numeric) is
  'The least that may be granted: all of it, or, where less will do, p_minimum or p_default. '
  'Errors: 22023.';

-- What a call with this request id made before: its open hold, said in tokens of the price it was
-- made by, or its settlement. Null where it is to be decided.
create function private.repeated_spend(
  p_organization_id uuid,
  p_request_id text,
  p_content_hash text,
  p_input_tokens bigint,
  p_now timestamptz
)
returns metering.spend_decision
language plpgsql
stable
set search_path = pg_catalog, pg_temp
as $$
declare
  v_decision metering.spend_decision := private.present_decision(
    p_organization_id,
    private.find_request(p_organization_id, 'authorize', p_request_id, p_content_hash), p_now
  );
  v_hold metering.holds;
begin
  if v_decision.decision = 'granted' then
    select * into v_hold
    from metering.holds as h
    where h.organization_id = p_organization_id and h.id = v_decision.hold_id;
    if v_hold.price_id is not null then
      return private.with_affordable_tokens(
        v_decision,
        private.estimate_at(
          private.pinned_price(p_organization_id, v_hold.price_id, v_hold.markup_id),
          p_input_tokens
        )
      );
    end if;
  end if;
  return v_decision;
end
$$;

comment on function private.repeated_spend(uuid, text, text, bigint, timestamptz) is
  'The decision a repeated request gets; its decision is null where there is none yet. Errors: '
  'TS409.';

-- Denies a call that has no price.
create function private.deny_unpriced(
  p_hold metering.holds,
  p_estimate private.estimate,
  p_scope_keys text[],
  p_now timestamptz
)
returns metering.spend_decision
language plpgsql
stable
set search_path = pg_catalog, pg_temp
as $$
begin
  perform private.assert_covered(
    p_hold, private.survey(p_hold.organization_id, p_scope_keys, p_now, null)
  );
  return private.denied_as_unpriced(p_estimate);
end
$$;

comment on function private.deny_unpriced(
  metering.holds, private.estimate, text[], timestamptz
) is
  'The decision on a call without a price. Errors: TS404.';

-- The body of authorize_spend and of each item of its batch form, which has gathered at
-- p_still_since: the time of the call is then that, so no tenant may call this.
--
-- The usual request needs no more than is written here: nothing to object to its arguments,
-- everything plain, enough in each own slot, not made before. One attempt then does, in as few
-- statements and expressions as there can be: PostgreSQL prepares each of them anew in every
-- transaction. What is out of the ordinary is for draft_hold, estimate_call and admit.
create function private.decide_spend(
  p_organization_id uuid,
  p_model text,
  p_estimated_cost numeric,
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
  p_request_id text,
  p_expires_in interval,
  p_allow_partial boolean,
  p_minimum numeric,
  p_still_since timestamptz
)
returns metering.spend_decision
language plpgsql
volatile
set search_path = pg_catalog, pg_temp
as $$
declare
  v_now constant timestamptz := coalesce(p_still_since, private.clock_now());
  v_user_id uuid := p_user_id;
  v_provider text := p_provider;
  v_cost numeric := p_estimated_cost;
  v_estimate private.estimate;
  v_listed private.model_key;
  v_decision metering.spend_decision;
  v_is_plain boolean;
  v_tags constant jsonb := coalesce(p_tags, '{}');
  v_seconds constant numeric := extract(epoch from p_expires_in);
  v_content_hash text;
  v_keys text[];
  v_hold metering.holds;
  v_coverage private.coverage;
  v_survey private.coverage;
begin
  v_is_plain := (
    private.is_trusted_caller()
    and p_organization_id is not null
    and p_estimated_cost > 0 and p_estimated_cost < 1e12
    and scale(trim_scale(p_estimated_cost)) <= 12
    and p_model ~ '\S' and length(p_model) <= 255
    and v_tags = '{}'
    and coalesce(p_api_key_id, p_provider, p_service_tier) is null
    and coalesce(p_input_tokens, p_max_output_tokens) is null
    and p_venture_id is null
    and v_seconds > 0 and v_seconds <= 86400
    and not p_allow_partial and p_minimum is null
    and (p_request_id is null or p_request_id ~ '\S' and length(p_request_id) <= 255)
  ) is true;
  if not v_is_plain then
    v_hold := private.draft_hold(
      p_organization_id, p_model, p_input_tokens, p_max_output_tokens, p_workflow_id, p_run_id,
      p_venture_id, p_user_id, p_api_key_id, p_tags, p_provider, p_service_tier
    );
    perform private.assert_expiry('p_expires_in', p_expires_in);
    if p_request_id is not null then
      perform private.assert_text('p_request_id', p_request_id);
    end if;
    v_user_id := v_hold.user_id;
  end if;
  if p_request_id is not null then
    v_content_hash := private.content_hash(
      array[
        p_model, trim_scale(p_estimated_cost)::text, p_input_tokens::text,
        p_max_output_tokens::text, p_workflow_id::text, p_run_id::text, p_venture_id::text,
        v_user_id::text, p_api_key_id, v_tags::text, p_provider, p_service_tier,
        v_seconds::text, p_allow_partial::text, trim_scale(p_minimum)::text
      ]::text
    );
  end if;

  if v_is_plain then
    v_listed := private.find_listed(null, p_model);
    v_provider := v_listed.provider;
    v_estimate.listed_model := nullif(v_listed.model, p_model);
  else
    if p_request_id is not null then
      v_decision := private.repeated_spend(
        p_organization_id, p_request_id, v_content_hash, p_input_tokens,
        case when p_still_since is null then v_now else timestamptz '-infinity' end
      );
      if v_decision.decision is not null then
        return v_decision;
      end if;
    end if;
    v_estimate := private.estimate_call(
      v_hold, p_estimated_cost, p_input_tokens, p_max_output_tokens, p_allow_partial, p_minimum
    );
    v_provider := coalesce(p_provider, v_estimate.provider);
    v_cost := v_estimate.cost;
  end if;

  v_keys := private.scope_keys(
    p_workflow_id, p_run_id, p_venture_id, v_user_id, p_api_key_id,
    coalesce(p_model, 'unknown'), v_estimate.listed_model, v_tags
  );
  if v_estimate.reason is not null then
    return private.deny_unpriced(v_hold, v_estimate, v_keys, v_now);
  end if;
  v_coverage := private.cover(p_organization_id, v_keys, v_now);
  if v_coverage.grantable < v_cost then
    v_survey := private.survey(p_organization_id, v_keys, v_now, v_now);
    if v_survey.remaining < v_cost and not p_allow_partial and not v_survey.is_frozen
      and v_survey.latest_window <= v_now and (p_workflow_id is null or v_survey.has_workflow)
      and (p_run_id is null or v_survey.lacks_funding is not true)
      and not v_survey.excludes_model
      and (p_request_id is null or private.find_request(
        p_organization_id, 'authorize', p_request_id, v_content_hash
      ) is null) then
      return private.with_affordable_tokens(private.denied_as_exceeded(v_survey), v_estimate);
    end if;
  elsif v_coverage.config_version is not null
    and (p_workflow_id is null or v_coverage.has_workflow)
    and (p_request_id is null or private.find_request(
      p_organization_id, 'authorize', p_request_id, v_content_hash
    ) is null) then
    begin
      insert into metering.holds (
        organization_id, id, held_usd, workflow_id, run_id, venture_id, user_id, api_key_id, model,
        listed_model, provider, service_tier, tags, price_id, markup_id, budget_ids, slots,
        config_version, day, created_at, expires_at
      ) values (
        p_organization_id, private.uuid_v7(v_now), v_cost, p_workflow_id, p_run_id, p_venture_id,
        v_user_id, p_api_key_id, coalesce(p_model, 'unknown'), v_estimate.listed_model, v_provider,
        p_service_tier, v_tags, v_estimate.price_id, v_estimate.markup_id, v_coverage.budget_ids,
        v_coverage.slots, v_coverage.config_version, (v_now at time zone v_coverage.time_zone)::date,
        date_trunc('milliseconds', v_now), v_now + make_interval(secs => v_seconds)
      )
      returning id, created_at, expires_at into v_hold.id, v_hold.created_at, v_hold.expires_at;
      if private.charge(
        p_organization_id, v_coverage.budget_ids, v_coverage.slots, v_coverage.config_version,
        v_hold.created_at, 0, v_cost
      ) and (p_request_id is null or private.bind_request(
        p_organization_id, 'authorize', p_request_id, v_content_hash, v_hold.id
      )) then
        return row(
          'granted', v_hold.id, null, trim_scale(v_cost), null, null, null, null,
          case
            when v_estimate.price_id is not null
              then private.affordable_tokens(v_cost, v_estimate)
          end,
          v_hold.expires_at, null
        )::metering.spend_decision;
      end if;
      perform private.abandon_attempt();
    exception
      when sqlstate 'UNDO0' then null;
    end;
  end if;

  if v_hold.organization_id is null then
    v_hold := private.draft_hold(
      p_organization_id, p_model, p_input_tokens, p_max_output_tokens, p_workflow_id, p_run_id,
      p_venture_id, p_user_id, p_api_key_id, p_tags, p_provider, p_service_tier
    );
  end if;
  v_hold.held_usd := v_cost;
  v_hold.provider := v_provider;
  v_hold.listed_model := v_estimate.listed_model;
  v_hold.price_id := v_estimate.price_id;
  v_hold.markup_id := v_estimate.markup_id;
  return private.with_affordable_tokens(
    private.admit(
      v_hold, coalesce(v_estimate.minimum, v_cost), make_interval(secs => v_seconds), p_request_id,
      v_content_hash, p_still_since
    ),
    v_estimate
  );
end
$$;

comment on function private.decide_spend(
  uuid, text, numeric, bigint, bigint, uuid, uuid, uuid, uuid, text, jsonb, text, text, text,
  interval, boolean, numeric, timestamptz
) is
  'Body of authorize_spend and its batch form. Errors: 22023, 42501, TS404, TS409.';

-- The privileged half of public.authorize_spend.
create function private.authorize_spend(
  p_organization_id uuid,
  p_model text,
  p_estimated_cost numeric,
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
  p_request_id text,
  p_expires_in interval,
  p_allow_partial boolean,
  p_minimum numeric
)
returns metering.spend_decision
language plpgsql
volatile
security definer -- takes money from slots and makes holds, which no role may write itself
set search_path = pg_catalog, pg_temp
set plan_cache_mode = force_generic_plan
set enable_seqscan = off
set jit = off
as $$
begin
  return private.decide_spend(
    p_organization_id, p_model, p_estimated_cost, p_input_tokens, p_max_output_tokens,
    p_workflow_id, p_run_id, p_venture_id, p_user_id, p_api_key_id, p_tags, p_provider,
    p_service_tier, p_request_id, p_expires_in, p_allow_partial, p_minimum, null
  );
end
$$;

comment on function private.authorize_spend(
  uuid, text, numeric, bigint, bigint, uuid, uuid, uuid, uuid, text, jsonb, text, text, text,
  interval, boolean, numeric
) is
  'Core of public.authorize_spend.';

-- May this be spent? If so, the money is held until it is settled, released or overdue.
--
-- Nothing stays locked once the transaction ends, so the model call belongs after it. Called in the
-- application's own transaction, the hold is committed with its write, or not at all. Locks: a slot
-- of the organization's own budget, then one of each other budget, then the request key. Idempotent
-- by p_request_id: a retry gets the present state of what the first call did; a hold that has
-- expired or was released is admitted anew, as a new one. A denial binds nothing. What a policy
-- wants approved becomes a proposal, which binds the request id: once approved, it is admitted.
create function public.authorize_spend(
  p_organization_id uuid,
  p_model text default null,
  p_estimated_cost numeric default null,
  p_input_tokens bigint default null,
  p_max_output_tokens bigint default null,
  p_workflow_id uuid default null,
  p_run_id uuid default null,
  p_venture_id uuid default null,
  p_user_id uuid default null,
  p_api_key_id text default null,
  p_tags jsonb default '{}',
  p_provider text default null,
  p_service_tier text default null,
  p_request_id text default null,
  p_expires_in interval default '10 minutes',
  p_allow_partial boolean default false,
  p_minimum numeric default null
)
returns metering.spend_decision
language plpgsql
volatile
set search_path = pg_catalog, pg_temp
as $$
begin
  return private.authorize_spend(
    p_organization_id, p_model, p_estimated_cost, p_input_tokens, p_max_output_tokens,
    p_workflow_id, p_run_id, p_venture_id, p_user_id, p_api_key_id, p_tags, p_provider,
    p_service_tier, p_request_id, p_expires_in, p_allow_partial, p_minimum
  );
end
$$;

comment on function public.authorize_spend(
  uuid, text, numeric, bigint, bigint, uuid, uuid, uuid, uuid, text, jsonb, text, text, text,
  interval, boolean, numeric
) is
  'Asks whether a call may be made, and holds what it is estimated to cost for p_expires_in (at '
  'most 24 hours): p_estimated_cost (US dollars, above 0), or what p_input_tokens, all of them '
  'uncached, and p_max_output_tokens cost by the price of p_model; for members the larger of '
  'both. The price is pinned: the call is settled by it. Every budget that covers the call must '
  'admit it: of the organization and of the workflow, run, venture, user, API key, model and tags '
  'it names. A denial is an answer, not an error: it names the budget, what that has left, when '
  'it resets and how many output tokens would still fit; unpriced_model and stale_price mean that '
  'nobody knows what the call would cost; run_ended and model_not_in_run, that the run does not '
  'pay for it. With p_allow_partial less may be granted, down to p_minimum, else to the input and '
  'one output token. Where a policy rule wants it approved the answer is needs_approval, with a '
  'proposal: once that is approved, ask again with the same p_request_id, within 24 hours; '
  'approval_needs_request_id, if there was none. For members who may spend, as themselves, and '
  'server roles. Errors: 22023, 42501, TS404, TS409.';

-- The same question without a lock and without a hold: for GET, replicas and previews.
create function public.estimate_spend(
  p_organization_id uuid,
  p_model text default null,
  p_estimated_cost numeric default null,
  p_input_tokens bigint default null,
  p_max_output_tokens bigint default null,
  p_workflow_id uuid default null,
  p_run_id uuid default null,
  p_venture_id uuid default null,
  p_user_id uuid default null,
  p_api_key_id text default null,
  p_tags jsonb default '{}',
  p_provider text default null,
  p_service_tier text default null,
  p_allow_partial boolean default false,
  p_minimum numeric default null
)
returns metering.spend_decision
language plpgsql
stable
set search_path = pg_catalog, pg_temp
as $$
declare
  v_hold metering.holds := private.draft_hold(
    p_organization_id, p_model, p_input_tokens, p_max_output_tokens, p_workflow_id, p_run_id,
    p_venture_id, p_user_id, p_api_key_id, p_tags, p_provider, p_service_tier,
    array['owner', 'admin', 'finance', 'member', 'viewer']
  );
  v_estimate constant private.estimate := private.estimate_call(
    v_hold, p_estimated_cost, p_input_tokens, p_max_output_tokens, p_allow_partial, p_minimum
  );
  v_now constant timestamptz := private.clock_now();
  v_keys text[];
  v_coverage private.coverage;
  v_decision metering.spend_decision;
begin
  v_hold.listed_model := v_estimate.listed_model;
  v_keys := private.scope_keys_of(v_hold);
  v_coverage := private.assert_covered(
    v_hold, private.survey(p_organization_id, v_keys, v_now, v_now)
  );
  if v_coverage.latest_window > v_now then
    v_coverage := private.assert_covered(
      v_hold, private.survey(p_organization_id, v_keys, v_coverage.latest_window, v_now)
    );
  end if;
  if v_estimate.reason is not null then
    return private.denied_as_unpriced(v_estimate);
  end if;
  v_decision := private.denied_outright(v_hold, v_keys, v_coverage);
  if v_decision.decision is not null then
    return v_decision;
  elsif v_coverage.remaining < v_estimate.minimum then
    return private.with_affordable_tokens(private.denied_as_exceeded(v_coverage), v_estimate);
  end if;
  v_hold.held_usd := least(v_estimate.cost, v_coverage.remaining);
  if v_coverage.approval_above < v_hold.held_usd and private.would_need_approval(v_hold) then
    v_decision.decision := 'needs_approval';
    return v_decision;
  end if;
  return private.with_affordable_tokens(
    private.granted(v_hold, v_keys, v_hold.held_usd), v_estimate
  );
end
$$;

comment on function public.estimate_spend(
  uuid, text, numeric, bigint, bigint, uuid, uuid, uuid, uuid, text, jsonb, text, text, boolean,
  numeric
) is
  'What authorize_spend would answer as of now, also on a read replica. It holds nothing, so two '
  'callers at once can both be told yes. For members, viewers too, and server roles. Errors: '
  '22023, 42501, TS404.';
