-- What did a venture use?

-- The row that record_venture_usage is asked for, its arguments checked.
create function private.draft_venture_row(
  p_venture_id uuid,
  p_lifecycle_stage integer,
  p_agent_type text,
  p_model_id text,
  p_cost_usd numeric,
  p_phase text,
  p_job_id uuid,
  p_crew_id text,
  p_budget_profile text,
  p_is_simulation boolean,
  p_simulation_run_id uuid,
  p_operation_type text,
  p_metadata jsonb,
  p_organization_id uuid
)
returns public.venture_token_ledger
language plpgsql
stable
set search_path = pg_catalog, pg_temp
as $$
declare
  v_row public.venture_token_ledger;
begin
  v_row.venture_id := private.assert_id('p_venture_id', p_venture_id);
  v_row.lifecycle_stage := private.assert_count('p_lifecycle_stage', p_lifecycle_stage);
  v_row.agent_type := private.assert_text('p_agent_type', p_agent_type);
  v_row.budget_profile := private.assert_budget_profile('p_budget_profile', p_budget_profile);
  if p_model_id is not null then
    v_row.model_id := private.assert_text('p_model_id', p_model_id);
  end if;
  if p_cost_usd is not null then
    v_row.cost_usd := private.assert_money('p_cost_usd', p_cost_usd);
  end if;
  if p_phase not in (
    'THE_TRUTH', 'THE_ENGINE', 'THE_IDENTITY', 'THE_BLUEPRINT', 'THE_BUILD_LOOP', 'LAUNCH_LEARN'
  ) then
    perform private.reject_argument(
      'p_phase',
      'must be THE_TRUTH, THE_ENGINE, THE_IDENTITY, THE_BLUEPRINT, THE_BUILD_LOOP or LAUNCH_LEARN'
    );
  elsif p_is_simulation is null then
    perform private.reject_argument('p_is_simulation', 'must not be null');
  elsif p_simulation_run_id is not null and not p_is_simulation then
    perform private.reject_argument('p_simulation_run_id', 'must go with p_is_simulation');
  elsif jsonb_typeof(p_metadata) <> 'object' then
    perform private.reject_argument('p_metadata', 'must be an object');
  end if;
  v_row.phase := p_phase;
  v_row.job_id := p_job_id;
  if p_crew_id is not null then
    v_row.crew_id := private.assert_text('p_crew_id', p_crew_id);
  end if;
  if p_operation_type is not null then
    v_row.operation_type := private.assert_text('p_operation_type', p_operation_type);
  end if;
  v_row.is_simulation := p_is_simulation;
  v_row.simulation_run_id := p_simulation_run_id;
  v_row.metadata := coalesce(p_metadata, '{}');
  v_row.organization_id := private.organization_of_venture(p_venture_id, p_organization_id);
  v_row.budget_allocation_pct := private.allocation_of(
    v_row.organization_id, p_venture_id, p_budget_profile
  );
  return v_row;
end
$$;

comment on function private.draft_venture_row(
  uuid, integer, text, text, numeric, text, uuid, text, text, boolean, uuid, text, jsonb, uuid
) is
  'A row of the venture ledger without tokens. Errors: 22023, TS404.';

-- Writes a row with what its usage cost. Null where the usage has a row already.
--
-- The row has the id of its usage, but where somebody took that before the call could be seen: what
-- was used is recorded all the same.
create function private.write_venture_row(
  p_row public.venture_token_ledger,
  p_usage public.ai_usage_ledger
)
returns public.venture_token_ledger
language plpgsql
volatile
set search_path = pg_catalog, pg_temp
as $$
declare
  v_row public.venture_token_ledger;
begin
  insert into public.venture_token_ledger (
    id, venture_id, lifecycle_stage, phase, agent_type, model_id, job_id, crew_id, tokens_input,
    tokens_output, tokens_total, cost_usd, budget_profile, budget_allocation_pct, is_simulation,
    simulation_run_id, operation_type, metadata, created_at, organization_id, usage_id
  ) values (
    case
      when exists (
        select from public.venture_token_ledger as v
        where v.id = p_usage.id and v.usage_id is distinct from p_usage.id
      ) then private.uuid_v7(p_usage.created_at)
      else p_usage.id
    end,
    p_row.venture_id, p_row.lifecycle_stage, p_row.phase, p_row.agent_type,
    p_row.model_id, p_row.job_id, p_row.crew_id, p_usage.prompt_tokens, p_usage.completion_tokens,
    p_usage.prompt_tokens + p_usage.completion_tokens, p_usage.cost, p_row.budget_profile,
    p_row.budget_allocation_pct, p_row.is_simulation, p_row.simulation_run_id,
    p_row.operation_type, p_row.metadata, p_usage.created_at, p_row.organization_id,
    case when not p_row.is_simulation then p_usage.id end
  )
  on conflict do nothing
  returning * into v_row;
  return v_row;
end
$$;

comment on function private.write_venture_row(
  public.venture_token_ledger, public.ai_usage_ledger
) is
  'Writes a row of the venture ledger; null where its usage has one.';

-- Settles the hold that was made for a call of a venture, and writes its row. Again: the same row,
-- unless what is not editable of it was stated otherwise.
create function private.settle_venture(
  p_row public.venture_token_ledger,
  p_measured private.measurement,
  p_hold_id uuid,
  p_request_id text
)
returns public.venture_token_ledger
language plpgsql
volatile
set search_path = pg_catalog, pg_temp
as $$
declare
  v_row public.venture_token_ledger := p_row;
  v_hold metering.holds;
begin
  select h.venture_id, h.model, h.listed_model, h.tags
  into v_hold.venture_id, v_hold.model, v_hold.listed_model, v_hold.tags
  from metering.holds as h where h.organization_id = p_row.organization_id and h.id = p_hold_id;
  if not found then
    select l.venture_id, l.model, l.listed_model, l.tags
    into v_hold.venture_id, v_hold.model, v_hold.listed_model, v_hold.tags
    from public.ai_usage_ledger as l
    where l.organization_id = p_row.organization_id and l.id = p_hold_id;
  end if;
  if v_hold.venture_id is distinct from p_row.venture_id then
    perform private.raise_error('TS404', jsonb_build_object('hold_id', p_hold_id));
  elsif coalesce(v_hold.listed_model, v_hold.model) <> coalesce(
    (private.find_listed(null, p_row.model_id)).model, p_row.model_id
  ) then
    perform private.reject_argument('p_model_id', 'must be the model the hold is for');
  elsif coalesce(v_hold.tags ->> 'budget_profile', 'standard') <> p_row.budget_profile then
    perform private.reject_argument('p_budget_profile', 'must be the profile the hold is for');
  end if;
  v_row.model_id := nullif(v_hold.model, 'unknown');
  v_row := private.write_venture_row(
    v_row,
    private.settle_measured(
      p_hold_id, p_measured, p_row.cost_usd, p_request_id, p_row.organization_id, '{}', null
    )
  );
  if v_row.id is null then
    select * into v_row
    from public.venture_token_ledger as v
    where v.organization_id = p_row.organization_id and v.usage_id = p_hold_id;
    if (v_row.lifecycle_stage, v_row.agent_type::text, v_row.phase, v_row.job_id) is distinct from (
      p_row.lifecycle_stage, p_row.agent_type::text, p_row.phase, p_row.job_id
    ) then
      perform private.raise_error('TS409', jsonb_build_object('hold_id', p_hold_id));
    end if;
  end if;
  return v_row;
end
$$;

comment on function private.settle_venture(
  public.venture_token_ledger, private.measurement, uuid, text
) is
  'Settles a hold of a venture and writes its row. Errors: 22023, TS404, TS409.';

-- Records what a venture used: the row, and, unless it is a simulation, the usage with every total.
--
-- Never refuses real spend: beyond its share or the budget of the venture it lands all the same,
-- and the next call is denied. Locks as settle_spend or record_usage_and_increment; a simulation
-- locks its request key alone. Idempotent by p_request_id, and with p_hold_id by that.
create function public.record_venture_usage(
  p_venture_id uuid,
  p_lifecycle_stage integer,
  p_agent_type text,
  p_model_id text,
  p_tokens_input integer,
  p_tokens_output integer,
  p_cost_usd numeric,
  p_phase text default null,
  p_job_id uuid default null,
  p_crew_id text default null,
  p_budget_profile text default 'standard',
  p_is_simulation boolean default false,
  p_simulation_run_id uuid default null,
  p_operation_type text default null,
  p_metadata jsonb default '{}',
  p_request_id text default null,
  p_organization_id uuid default null,
  p_hold_id uuid default null,
  p_usage jsonb default null
)
returns public.venture_token_ledger
language plpgsql
volatile
security definer -- writes ledgers and counters, which no role may write itself
set search_path = pg_catalog, pg_temp
set plan_cache_mode = force_generic_plan
set enable_seqscan = off
set jit = off
as $$
declare
  v_row public.venture_token_ledger := private.draft_venture_row(
    p_venture_id, p_lifecycle_stage, p_agent_type, p_model_id, p_cost_usd, p_phase, p_job_id,
    p_crew_id, p_budget_profile, p_is_simulation, p_simulation_run_id, p_operation_type,
    p_metadata, p_organization_id
  );
  v_measured constant private.measurement := private.measure_venture(
    p_tokens_input, p_tokens_output, p_usage
  );
  v_content_hash text;
  v_usage public.ai_usage_ledger;
  v_bound uuid;
begin
  if p_hold_id is not null then
    if p_is_simulation then
      perform private.reject_argument('p_hold_id', 'must be omitted for a simulation');
    end if;
    return private.settle_venture(v_row, v_measured, p_hold_id, p_request_id);
  end if;
  if p_request_id is not null then
    v_content_hash := private.content_hash(
      row(
        p_venture_id, p_lifecycle_stage, p_agent_type, p_model_id,
        '{"requests": 1}' || v_measured.counts, v_measured.service_tier, v_measured.is_estimate,
        trim_scale(p_cost_usd), p_phase, p_job_id, p_crew_id, p_budget_profile, p_is_simulation,
        p_simulation_run_id, p_operation_type, v_row.metadata
      )::text
    );
    v_bound := private.find_request(
      v_row.organization_id, 'record', private.assert_text('p_request_id', p_request_id),
      v_content_hash
    );
  end if;
  if v_bound is null then
    v_usage := private.usage_of_venture(v_row, v_measured);
    if not p_is_simulation then
      v_usage := private.book_venture(v_usage, p_request_id, v_content_hash);
    else
      v_usage.created_at := private.clock_now();
      v_usage.id := private.uuid_v7(v_usage.created_at);
      if p_request_id is not null and not private.bind_request(
        v_row.organization_id, 'record', p_request_id, v_content_hash, v_usage.id
      ) then
        v_usage.id := null;
      end if;
    end if;
    if v_usage.id is not null then
      return private.write_venture_row(v_row, v_usage);
    end if;
    -- The same request was recorded meanwhile; other content under its id is refused.
    v_bound := private.find_request(
      v_row.organization_id, 'record', p_request_id, v_content_hash
    );
  end if;
  select * into v_row
  from public.venture_token_ledger as v
  where v.organization_id = v_row.organization_id and v.id = v_bound;
  return v_row;
end
$$;

comment on function public.record_venture_usage(
  uuid, integer, text, text, integer, integer, numeric, text, uuid, text, text, boolean, uuid,
  text, jsonb, text, uuid, uuid, jsonb
) is
  'Records what a venture used and returns the row of venture_token_ledger: a usage in '
  'ai_usage_ledger with the same id, and every total with it, counted to the share of '
  'p_budget_profile; with p_is_simulation none of these, only the row. p_cost_usd (US dollars) '
  'null: by the price of p_model_id. p_usage: tokens by class, as in settle_spend; they come to '
  'p_tokens_input and p_tokens_output where those are stated. p_hold_id: settles the hold that was '
  'made for it, by authorize_spend with p_venture_id and, other than standard, the tag '
  'budget_profile. For server roles only: a tenant never states what it cost. A retry with the '
  'same p_request_id and content is one record. Errors: 22023, TS404, TS409.';
