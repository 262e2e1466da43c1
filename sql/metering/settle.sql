-- What was spent. Real spend is never refused: above its hold, after it, or without one it lands,
-- flagged, and the cap refuses the next call.

-- The organization of a hold or of the usage it became. Two steps: to look into every partition of
-- the ledger costs more than all else a settlement looks up.
create function private.resolve_organization_of_hold(p_hold_id uuid)
returns uuid
language plpgsql
stable
set search_path = pg_catalog, pg_temp
as $$
declare
  v_organization_id uuid := (select h.organization_id from metering.holds as h where h.id = p_hold_id);
begin
  if v_organization_id is null then
    v_organization_id := (
      select l.organization_id from public.ai_usage_ledger as l where l.id = p_hold_id
    );
  end if;
  return v_organization_id;
end
$$;

comment on function private.resolve_organization_of_hold(uuid) is
  'The organization of a hold, settled or not, that the caller may see; null for an unknown one.';

-- The usage a hold becomes.
create function private.usage_of_hold(p_hold metering.holds, p_costing private.costing)
returns public.ai_usage_ledger
language plpgsql
stable
set search_path = pg_catalog, pg_temp
as $$
declare
  v_usage public.ai_usage_ledger;
begin
  v_usage.id := p_hold.id;
  v_usage.organization_id := p_hold.organization_id;
  v_usage.created_at := p_hold.created_at;
  v_usage.workflow_id := p_hold.workflow_id;
  v_usage.run_id := p_hold.run_id;
  v_usage.venture_id := p_hold.venture_id;
  v_usage.user_id := p_hold.user_id;
  v_usage.api_key_id := p_hold.api_key_id;
  v_usage.model := p_hold.model;
  v_usage.listed_model := p_hold.listed_model;
  v_usage.provider := p_hold.provider;
  v_usage.tags := p_hold.tags;
  v_usage.service_tier := p_costing.service_tier;
  v_usage.prompt_tokens := p_costing.prompt_tokens;
  v_usage.completion_tokens := p_costing.completion_tokens;
  v_usage.token_counts := p_costing.counts;
  v_usage.cost := p_costing.cost;
  v_usage.cost_basis := p_costing.basis;
  v_usage.price_id := p_costing.price_id;
  v_usage.markup_id := p_costing.markup_id;
  v_usage.rates := p_costing.rates;
  v_usage.zero_cost_reason := p_costing.zero_cost_reason;
  if p_hold.state = 'open' then
    v_usage.settlement := 'on_hold';
    v_usage.unheld_usd := greatest(p_costing.cost - p_hold.held_usd, 0);
  else
    v_usage.settlement := 'after_hold';
    v_usage.unheld_usd := p_costing.cost;
  end if;
  return v_usage;
end
$$;

comment on function private.usage_of_hold(metering.holds, private.costing) is
  'The ledger row of a hold with what it cost.';

-- Settles a hold that the caller took out of metering.holds.
create function private.settle_hold(
  p_hold metering.holds,
  p_costing private.costing,
  p_request_id text,
  p_content_hash text,
  p_except uuid[],
  p_call private.run_call
)
returns public.ai_usage_ledger
language plpgsql
volatile
set search_path = pg_catalog, pg_temp
as $$
declare
  v_coverage private.coverage;
  v_usage public.ai_usage_ledger;
begin
  v_coverage.budget_ids := p_hold.budget_ids;
  v_coverage.slots := p_hold.slots;
  v_coverage.config_version := p_hold.config_version;
  v_usage := private.book(
    private.usage_of_hold(p_hold, p_costing),
    case when p_hold.state = 'open' then p_hold.held_usd else 0 end,
    v_coverage, p_hold.day, 'settle', p_request_id, p_content_hash, p_except, p_call
  );
  if v_usage.id is null then
    -- Its request id was used for another hold meanwhile.
    perform private.raise_error(
      'TS409', jsonb_build_object('operation', 'settle', 'request_id', p_request_id)
    );
  end if;
  return v_usage;
end
$$;

comment on function private.settle_hold(
  metering.holds, private.costing, text, text, uuid[], private.run_call
) is
  'Books what a hold became. Errors: TS409.';

-- The usual case of settle_hold: an open hold that covers its cost, under budgets that were not
-- changed since. One attempt, in as few statements as there can be. Null where settle_hold has to
-- look.
create function private.settle_at_once(
  p_hold metering.holds,
  p_costing private.costing,
  p_call private.run_call
)
returns public.ai_usage_ledger
language plpgsql
volatile
set search_path = pg_catalog, pg_temp
as $$
declare
  v_usage public.ai_usage_ledger;
begin
  if not private.charge(
    p_hold.organization_id, p_hold.budget_ids, p_hold.slots, p_hold.config_version,
    p_hold.created_at, p_costing.cost, - p_hold.held_usd
  ) then
    perform private.abandon_attempt();
  end if;
  insert into public.ai_usage_ledger (
    id, workflow_id, organization_id, model, prompt_tokens, completion_tokens, cost, created_at,
    settled_at, run_id, venture_id, user_id, api_key_id, provider, service_tier, tags, settlement,
    unheld_usd, listed_model, token_counts, cost_basis, price_id, markup_id, rates,
    zero_cost_reason
  ) values (
    p_hold.id, p_hold.workflow_id, p_hold.organization_id, p_hold.model, p_costing.prompt_tokens,
    p_costing.completion_tokens, p_costing.cost, p_hold.created_at,
    greatest(private.clock_now(), p_hold.created_at), p_hold.run_id, p_hold.venture_id,
    p_hold.user_id, p_hold.api_key_id, p_hold.provider, p_costing.service_tier, p_hold.tags,
    'on_hold', 0, p_hold.listed_model, p_costing.counts, p_costing.basis, p_costing.price_id,
    p_costing.markup_id, p_costing.rates, p_costing.zero_cost_reason
  )
  returning * into v_usage;
  perform private.roll_up(v_usage, p_hold.day, p_hold.slots[1]);
  if p_hold.run_id is not null then
    perform private.record_run_call(v_usage, p_call);
  end if;
  return v_usage;
exception
  when sqlstate 'UNDO0' then
    return null;
end
$$;

comment on function private.settle_at_once(metering.holds, private.costing, private.run_call) is
  'Books an open hold that covers its cost in a single attempt; null where that does not do.';

-- True where a usage is what a repeated settlement says. That a call is one request need not be
-- said, nor which tier served it if it was the one asked for.
create function private.is_settled_as(
  p_usage public.ai_usage_ledger,
  p_measured private.measurement,
  p_cost numeric
)
returns boolean
language plpgsql
immutable
set search_path = pg_catalog, pg_temp
as $$
begin
  return '{"requests": 1}' || p_usage.token_counts = '{"requests": 1}' || p_measured.counts
    and p_usage.service_tier is not distinct from coalesce(
      p_measured.service_tier, p_usage.service_tier
    )
    and (not p_measured.is_estimate or p_usage.cost_basis = 'estimated')
    and case
      when p_cost is null
        then p_usage.cost = private.cost_at(p_usage.rates, p_usage.token_counts)
      else p_usage.cost = p_cost
    end is true;
end
$$;

comment on function private.is_settled_as(
  public.ai_usage_ledger, private.measurement, numeric
) is
  'True where a settlement of this content made the usage.';

-- Settles a hold by what was measured. p_except: overdue holds that a gather leaves alone, those of
-- a batch. p_call: which part of its run it belongs to.
create function private.settle_measured(
  p_hold_id uuid,
  p_measured private.measurement,
  p_cost numeric,
  p_request_id text,
  p_organization_id uuid,
  p_except uuid[],
  p_call private.run_call
)
returns public.ai_usage_ledger
language plpgsql
volatile
set search_path = pg_catalog, pg_temp
as $$
declare
  v_organization_id constant uuid := coalesce(
    p_organization_id, private.resolve_organization_of_hold(p_hold_id)
  );
  v_content_hash text;
  v_hold metering.holds;
  v_costing private.costing;
  v_usage public.ai_usage_ledger;
begin
  if p_request_id is not null then
    v_content_hash := private.content_hash(
      row(
        private.assert_text('p_request_id', p_request_id), p_hold_id,
        '{"requests": 1}' || p_measured.counts, p_measured.service_tier, p_measured.is_estimate,
        trim_scale(p_cost)
      )::text
    );
    perform private.find_request(v_organization_id, 'settle', p_request_id, v_content_hash);
  end if;

  delete from metering.holds as h
  where h.organization_id = v_organization_id and h.id = p_hold_id
  returning * into v_hold;
  if v_hold.id is not null then
    v_costing := private.cost_call(v_hold, p_measured, p_cost);
    if v_hold.state = 'open' and v_costing.cost <= v_hold.held_usd and p_request_id is null then
      v_usage := private.settle_at_once(v_hold, v_costing, p_call);
      if v_usage.id is not null then
        return v_usage;
      end if;
    end if;
    return private.settle_hold(
      v_hold, v_costing, p_request_id, v_content_hash, p_except, p_call
    );
  end if;

  select * into v_usage
  from public.ai_usage_ledger as l
  where l.organization_id = v_organization_id
    and l.id = p_hold_id
    and l.settlement <> 'without_hold';
  if v_usage.id is null then
    perform private.raise_error('TS404', jsonb_build_object('hold_id', p_hold_id));
  elsif not private.is_settled_as(v_usage, p_measured, p_cost) then
    perform private.raise_error('TS409', jsonb_build_object('hold_id', p_hold_id));
  end if;
  return v_usage;
end
$$;

comment on function private.settle_measured(
  uuid, private.measurement, numeric, text, uuid, uuid[], private.run_call
) is
  'Settles a hold by what was measured. Errors: 22023, TS404, TS409.';

-- The body of public.settle_spend and of each item of its batch form.
create function private.settle_spend(
  p_hold_id uuid,
  p_usage jsonb,
  p_cost numeric,
  p_request_id text,
  p_organization_id uuid,
  p_except uuid[] default '{}'
)
returns public.ai_usage_ledger
language plpgsql
volatile
set search_path = pg_catalog, pg_temp
as $$
begin
  perform private.assert_id('p_hold_id', p_hold_id);
  if p_cost is not null then
    perform private.assert_money('p_cost', p_cost);
  elsif p_usage is null then
    perform private.reject_argument('p_cost', 'must be stated where p_usage is left out');
  end if;
  return private.settle_measured(
    p_hold_id, private.assert_usage('p_usage', p_usage), p_cost, p_request_id, p_organization_id,
    p_except, null
  );
end
$$;

comment on function private.settle_spend(uuid, jsonb, numeric, text, uuid, uuid[]) is
  'Body of public.settle_spend. Errors: 22023, TS404, TS409.';

-- Settles a hold: what the call cost is recorded, and what it did not need is free again.
--
-- Never refused for want of money. A hold that was released or has expired meanwhile settles late.
-- Locks: the hold, then a slot of the organization's own budget, one of each other budget, the
-- request key. Idempotent: the first answer again for the same content; other content is TS409.
create function public.settle_spend(
  p_hold_id uuid,
  p_usage jsonb default null,
  p_cost numeric default null,
  p_request_id text default null,
  p_organization_id uuid default null
)
returns public.ai_usage_ledger
language plpgsql
volatile
security definer -- writes ledger and counters, which no role may write itself
set search_path = pg_catalog, pg_temp
set plan_cache_mode = force_generic_plan
set enable_seqscan = off
set jit = off
as $$
begin
  return private.settle_spend(p_hold_id, p_usage, p_cost, p_request_id, p_organization_id);
end
$$;

comment on function public.settle_spend(uuid, jsonb, numeric, text, uuid) is
  'Records what a held call used and cost and returns the usage: the hold is gone, its id is the '
  'usage''s. p_usage: token counts by class, each token in one: input_tokens (uncached), '
  'cache_read_tokens, cache_write_5m_tokens, cache_write_1h_tokens, input_audio_tokens, '
  'cache_read_audio_tokens, input_image_tokens, cache_read_image_tokens, output_tokens (without '
  'reasoning), reasoning_tokens, output_audio_tokens, output_image_tokens; requests (1, unless '
  'stated), web_searches, file_searches; service_tier, where another served than was asked for; '
  'is_estimate, where nobody reported the counts. They are charged by the price the hold pinned, '
  'else by the one that held when it was made. A stated p_cost (US dollars) wins over the price, '
  'is flagged as stated, and is needed where no price is known. Above the hold, and after it '
  'ended, it lands all the same: see settlement and unheld_usd. Settling again with the same '
  'content returns the same usage. For server roles only: a tenant never states what it cost. '
  'Errors: 22023, TS404, TS409.';
