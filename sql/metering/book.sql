-- How a usage is booked: on counters, in the ledger, in its sums.

-- Which part of a run a call belongs to, and what went wrong with it.
create type private.run_call as (
  agent_id uuid,
  task_id uuid,
  step_id uuid,
  error_code text,
  error_message text,
  reported_total_tokens bigint
);

comment on type private.run_call is
  'Which part of a run a call belongs to, and what went wrong with it; all null: its own step.';

-- Under which scopes a usage is summed: as its budgets are, but for its run or draw, whose budget
-- has the sum, and its model, which every sum is split by; only another name of it is a scope.
create function private.rollup_keys(p_usage public.ai_usage_ledger)
returns text[]
language plpgsql
stable
set search_path = pg_catalog, pg_temp
as $$
begin
  return array_remove(
    private.scope_keys(
      p_usage.workflow_id, null, p_usage.venture_id, p_usage.user_id, p_usage.api_key_id,
      case when p_usage.listed_model is not null then p_usage.model end, null, p_usage.tags
    ),
    'draw:'
  );
end
$$;

comment on function private.rollup_keys(public.ai_usage_ledger) is
  'Scope keys under which usage_rollups has a usage; null in place of what it has not.';

-- Adds a usage to the sums of its scopes, under rollup_keys(): spelled out here, as every call does
-- this. Whoever calls has locked p_slot of the organization's own budget, so nobody else adds to
-- these rows.
create function private.roll_up(p_usage public.ai_usage_ledger, p_day date, p_slot smallint)
returns void
language plpgsql
volatile
set search_path = pg_catalog, pg_temp
as $$
begin
  insert into metering.usage_rollups as r (
    organization_id, scope, scope_id, day, model, slot, requests, prompt_tokens,
    completion_tokens, cost
  )
  select
    p_usage.organization_id, k.scope, k.scope_id, p_day,
    coalesce(p_usage.listed_model, p_usage.model), p_slot, 1, p_usage.prompt_tokens,
    p_usage.completion_tokens, p_usage.cost
  from (
    values
    ('organization', ''),
    ('workflow', p_usage.workflow_id::text),
    ('venture', p_usage.venture_id::text),
    (
      'venture_profile',
      p_usage.venture_id::text || '/' || coalesce(p_usage.tags ->> 'budget_profile', 'standard')
    ),
    ('user', p_usage.user_id::text),
    ('api_key', p_usage.api_key_id::text),
    ('model', case when p_usage.listed_model is not null then p_usage.model end)
  ) as k (scope, scope_id)
  where k.scope_id is not null
  union all
  select
    p_usage.organization_id, 'tag', t.key || '=' || t.value, p_day,
    coalesce(p_usage.listed_model, p_usage.model), p_slot, 1, p_usage.prompt_tokens,
    p_usage.completion_tokens, p_usage.cost
  from jsonb_each_text(p_usage.tags) as t
  on conflict (organization_id, scope, scope_id, day, model, slot) do update
  set
    requests = r.requests + excluded.requests,
    prompt_tokens = r.prompt_tokens + excluded.prompt_tokens,
    completion_tokens = r.completion_tokens + excluded.completion_tokens,
    cost = r.cost + excluded.cost;
end
$$;

comment on function private.roll_up(public.ai_usage_ledger, date, smallint) is
  'Adds a usage of a day to usage_rollups.';

-- The same for many at once, each row of the sums written once.
create function private.roll_up_all(
  p_usages public.ai_usage_ledger[],
  p_days date[],
  p_slot smallint
)
returns void
language plpgsql
volatile
set search_path = pg_catalog, pg_temp
as $$
begin
  insert into metering.usage_rollups as r (
    organization_id, scope, scope_id, day, model, slot, requests, prompt_tokens,
    completion_tokens, cost
  )
  select
    u.organization_id,
    split_part(k.scope_key, ':', 1),
    substr(k.scope_key, strpos(k.scope_key, ':') + 1),
    p_days[u.ordinality],
    coalesce(u.listed_model, u.model),
    p_slot,
    count(*),
    sum(u.prompt_tokens),
    sum(u.completion_tokens),
    sum(u.cost)
  from unnest(p_usages) with ordinality as u
  cross join lateral unnest(private.rollup_keys(p_usages[u.ordinality])) as k (scope_key)
  where k.scope_key is not null
  group by 1, 2, 3, 4, 5
  on conflict (organization_id, scope, scope_id, day, model, slot) do update
  set
    requests = r.requests + excluded.requests,
    prompt_tokens = r.prompt_tokens + excluded.prompt_tokens,
    completion_tokens = r.completion_tokens + excluded.completion_tokens,
    cost = r.cost + excluded.cost;
end
$$;

comment on function private.roll_up_all(public.ai_usage_ledger[], date[], smallint) is
  'Adds usages, each with its day, to usage_rollups.';

-- Books a usage: counters, ledger and rollup in one attempt, or under a gather.
--
-- p_held: what its hold returns, US dollars. p_coverage: the budgets under which the hold was
-- taken, or those that cover the call now; if budgets were changed since, they are read anew: the
-- figures of a changed budget counted this hold. p_usage.id is null for a usage without a hold,
-- which is spent now. p_except: overdue holds that a gather leaves alone. p_call: which part of its
-- run it belongs to. Null where the request id was bound meanwhile.
--
-- Where an organization pays in advance, a usage without a run spends from the draw of its day; one
-- whose run or draw is closed already is charged as late.
create function private.book(
  p_usage public.ai_usage_ledger,
  p_held numeric,
  p_coverage private.coverage,
  p_day date,
  p_operation metering.operation,
  p_request_id text,
  p_content_hash text,
  p_except uuid[] default '{}',
  p_call private.run_call default null
)
returns public.ai_usage_ledger
language plpgsql
volatile
set search_path = pg_catalog, pg_temp
as $$
declare
  v_usage public.ai_usage_ledger := p_usage;
  v_coverage private.coverage := p_coverage;
  v_day date := p_day;
  v_keys constant text[] := private.scope_keys(
    p_usage.workflow_id, p_usage.run_id, p_usage.venture_id, p_usage.user_id, p_usage.api_key_id,
    p_usage.model, p_usage.listed_model, p_usage.tags
  );
  v_version integer;
  v_now timestamptz;
  v_gathers boolean := false;
  v_is_bound boolean := false;
begin
  loop
    v_now := private.clock_now();
    if p_usage.id is null then
      -- Windows only move forward: a call whose clock is behind an open window belongs to that
      -- window altogether: id, ledger time, rollup and counters agree.
      if v_coverage.latest_window > v_now then
        v_coverage := private.survey(
          v_usage.organization_id, v_keys, v_coverage.latest_window, null
        );
      end if;
      v_usage.created_at := date_trunc('milliseconds', greatest(v_now, v_coverage.latest_window));
      perform private.ensure_month(v_usage.created_at);
      v_usage.id := private.uuid_v7(v_usage.created_at);
      v_day := private.local_day(v_usage.created_at, v_coverage.time_zone);
    end if;
    v_usage.settled_at := greatest(v_now, v_usage.created_at);

    begin
      if v_gathers then
        perform private.gather(
          v_usage.organization_id, v_keys, v_now, v_usage.settled_at, p_except
        );
        v_coverage := private.survey(
          v_usage.organization_id, v_keys, v_usage.created_at, null
        );
        if p_usage.id is null and v_coverage.latest_window > v_usage.created_at then
          perform private.abandon_attempt();
        elsif p_usage.id is null and p_usage.run_id is null and v_coverage.lacks_funding then
          perform private.open_draw(v_usage.organization_id, v_usage.created_at);
          v_coverage := private.survey(
            v_usage.organization_id, v_keys, v_usage.created_at, null
          );
        end if;
        perform private.charge_gathered(
          v_usage.organization_id, v_coverage, v_usage.created_at, v_usage.cost, - p_held
        );
      elsif v_coverage.lacks_funding or not private.charge(
        v_usage.organization_id, v_coverage.budget_ids, v_coverage.slots,
        v_coverage.config_version, v_usage.created_at, v_usage.cost, - p_held
      ) then
        perform private.abandon_attempt();
      end if;
      if p_request_id is not null and not private.bind_request(
        v_usage.organization_id, p_operation, p_request_id, p_content_hash, v_usage.id
      ) then
        v_is_bound := true;
        perform private.abandon_attempt();
      end if;
      v_usage.xact_id := pg_current_xact_id();
      insert into public.ai_usage_ledger values (v_usage.*);
      perform private.roll_up(v_usage, v_day, v_coverage.slots[1]);
      if v_usage.run_id is not null then
        perform private.record_run_call(v_usage, p_call);
      end if;
      if v_coverage.lacks_funding and v_usage.cost > 0 then
        perform private.charge_late_usage(v_usage);
      end if;
      return v_usage;
    exception
      when sqlstate 'UNDO0' then
        v_version := v_coverage.config_version;
    end;

    if v_is_bound then
      return null;
    end if;
    v_coverage := private.survey(
      v_usage.organization_id, v_keys,
      case when p_usage.id is null then v_now else v_usage.created_at end, null
    );
    v_gathers := v_gathers or v_coverage.lacks_funding or v_coverage.config_version = v_version;
  end loop;
  return null; -- never reached
end
$$;

comment on function private.book(
  public.ai_usage_ledger, numeric, private.coverage, date, metering.operation, text, text, uuid[],
  private.run_call
) is
  'Books a usage on counters, ledger and rollup.';
