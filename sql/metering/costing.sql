-- What a call is estimated to cost before it, and what it cost after it.

create type private.estimate as (
  cost numeric,
  minimum numeric,
  price_id uuid,
  markup_id uuid,
  provider text,
  listed_model text,
  input_usd numeric,
  usd_per_output_token numeric,
  is_free boolean,
  reason text
);

comment on type private.estimate is
  'What to hold for a call, the least it may be cut to, and by which price; or why there is none.';

-- True where nothing of a tier costs anything.
create function private.is_free(p_tier jsonb, p_percent numeric)
returns boolean
language plpgsql
immutable
set search_path = pg_catalog, pg_temp
as $$
begin
  return p_percent is not distinct from -100 or not exists (
    select from jsonb_each_text(p_tier - 'above_input_tokens') as r where r.value::numeric > 0
  );
end
$$;

comment on function private.is_free(jsonb, numeric) is
  'True where every rate of a tier is 0, or the markup takes all of it.';

-- What a prompt costs by a price, and each token of the answer. Which output is reasoning is not
-- known beforehand, so the dearer rate of both is taken.
create function private.estimate_at(p_quote private.quote, p_input_tokens bigint)
returns private.estimate
language plpgsql
immutable
set search_path = pg_catalog, pg_temp
as $$
declare
  v_tier constant jsonb := private.rates_of_prompt(p_quote.rates, p_input_tokens);
  v_estimate private.estimate;
begin
  v_estimate.price_id := p_quote.price_id;
  v_estimate.markup_id := p_quote.markup_id;
  v_estimate.is_free := private.is_free(v_tier, p_quote.percent);
  v_estimate.input_usd := private.marked_up(
    (
      coalesce(p_input_tokens, 0) * (v_tier ->> 'input_tokens')::numeric
      + (v_tier ->> 'requests')::numeric
    ) * 0.000001,
    p_quote.percent
  );
  v_estimate.usd_per_output_token := private.marked_up(
    greatest(
      (v_tier ->> 'output_tokens')::numeric, (v_tier ->> 'reasoning_tokens')::numeric
    ) * 0.000001,
    p_quote.percent
  );
  return v_estimate;
end
$$;

comment on function private.estimate_at(private.quote, bigint) is
  'An estimate of the input and of each output token by a price; without what is to be held.';

-- What an estimate comes to, US dollars: more than nothing, unless the model is free. A grant of
-- nothing would be one that no budget refuses.
create function private.estimated_cost(
  p_estimate private.estimate,
  p_input_tokens bigint,
  p_max_output_tokens bigint,
  p_stated numeric
)
returns numeric
language plpgsql
stable
set search_path = pg_catalog, pg_temp
as $$
declare
  v_cost numeric := private.round_half_even(
    p_estimate.input_usd + coalesce(p_max_output_tokens, 0) * p_estimate.usd_per_output_token, 12
  );
begin
  if v_cost >= 1e12 then
    perform private.reject_argument(
      'p_input_tokens, p_max_output_tokens', 'must cost below 1000000000000'
    );
  elsif v_cost = 0 and not p_estimate.is_free then
    if coalesce(p_input_tokens, 0) + coalesce(p_max_output_tokens, 0) = 0 and p_stated is null then
      perform private.reject_argument(
        'p_input_tokens, p_max_output_tokens', 'must not both be 0'
      );
    end if;
    v_cost := 1e-12;
  end if;
  return greatest(v_cost, p_stated);
end
$$;

comment on function private.estimated_cost(private.estimate, bigint, bigint, numeric) is
  'What to hold by a price: the larger of tokens and stated cost. Errors: 22023.';

-- Estimates a call from its token counts, its stated cost, or both.
--
-- A server that states a cost knows it; a tenant may only state more than its tokens cost, and
-- needs a model with a price. What is neither stated nor priced is not estimated: it is denied.
create function private.estimate_call(
  p_hold metering.holds,
  p_estimated_cost numeric,
  p_input_tokens bigint,
  p_max_output_tokens bigint,
  p_allow_partial boolean,
  p_minimum numeric
)
returns private.estimate
language plpgsql
stable
set search_path = pg_catalog, pg_temp
as $$
declare
  v_is_server_stated constant boolean := p_estimated_cost is not null and private.is_trusted_caller();
  v_has_tokens constant boolean := coalesce(p_input_tokens, p_max_output_tokens) is not null;
  v_quote private.quote;
  v_listed private.model_key;
  v_estimate private.estimate;
begin
  if p_estimated_cost is not null then
    if private.assert_money('p_estimated_cost', p_estimated_cost) = 0 then
      perform private.reject_argument('p_estimated_cost', 'must be above 0');
    end if;
  elsif p_input_tokens is null or p_max_output_tokens is null then
    perform private.reject_argument(
      'p_estimated_cost', 'must be stated, or both p_input_tokens and p_max_output_tokens'
    );
  end if;

  if v_is_server_stated and not v_has_tokens then
    v_listed := private.find_listed(p_hold.provider, p_hold.model);
  else
    v_quote := private.quote_model(
      p_hold.organization_id, p_hold.provider, p_hold.model, p_hold.service_tier,
      private.clock_now(), 'infinity'
    );
    v_listed := row(v_quote.provider, v_quote.model)::private.model_key;
    if v_quote.reason is null then
      v_estimate := private.estimate_at(v_quote, p_input_tokens);
    elsif not v_is_server_stated then
      v_estimate.reason := v_quote.reason;
    end if;
  end if;
  v_estimate.provider := v_listed.provider;
  v_estimate.listed_model := nullif(v_listed.model, p_hold.model);
  if v_estimate.reason is not null then
    return v_estimate;
  end if;

  v_estimate.cost := p_estimated_cost;
  if not v_is_server_stated then
    v_estimate.cost := private.estimated_cost(
      v_estimate, p_input_tokens, p_max_output_tokens, p_estimated_cost
    );
  end if;
  v_estimate.minimum := private.assert_minimum(
    p_allow_partial, p_minimum, v_estimate.cost,
    case
      when v_estimate.price_id is not null and p_input_tokens is not null then least(
        v_estimate.cost,
        private.round_half_even(v_estimate.input_usd + v_estimate.usd_per_output_token, 12)
      )
    end
  );
  return v_estimate;
end
$$;

comment on function private.estimate_call(
  metering.holds, numeric, bigint, bigint, boolean, numeric
) is
  'What to hold for a drafted hold. Its reason is unpriced_model or stale_price where there is no '
  'price to estimate by. Errors: 22023.';

create function private.denied_as_unpriced(p_estimate private.estimate)
returns metering.spend_decision
language plpgsql
immutable
set search_path = pg_catalog, pg_temp
as $$
declare
  v_decision metering.spend_decision;
begin
  v_decision.decision := 'denied';
  v_decision.reason := p_estimate.reason;
  return v_decision;
end
$$;

comment on function private.denied_as_unpriced(private.estimate) is
  'The decision where what the call would cost is not known.';

-- How many output tokens money pays for beside the input: those whose cost, rounded, is within it.
create function private.affordable_tokens(p_money numeric, p_estimate private.estimate)
returns bigint
language plpgsql
immutable
set search_path = pg_catalog, pg_temp
as $$
declare
  v_tokens numeric;
begin
  if (p_estimate.usd_per_output_token > 0) is not true or p_money is null then
    return null;
  end if;
  -- Half a unit of the last decimal: what rounds down to the money is within it.
  v_tokens := div(p_money + 5e-13 - p_estimate.input_usd, p_estimate.usd_per_output_token);
  if private.round_half_even(
    p_estimate.input_usd + v_tokens * p_estimate.usd_per_output_token, 12
  ) > p_money then
    v_tokens := v_tokens - 1;
  end if;
  return least(greatest(v_tokens, 0), 9223372036854775807);
end
$$;

comment on function private.affordable_tokens(numeric, private.estimate) is
  'Output tokens that p_money (US dollars) pays for beside the input; null where they cost '
  'nothing, or no price is known.';

-- Says how long an answer the money would pay for: what is held of a grant, what is left of a
-- denial.
create function private.with_affordable_tokens(
  p_decision metering.spend_decision,
  p_estimate private.estimate
)
returns metering.spend_decision
language plpgsql
immutable
set search_path = pg_catalog, pg_temp
as $$
declare
  v_decision metering.spend_decision := p_decision;
begin
  v_decision.affordable_output_tokens := private.affordable_tokens(
    case
      when p_decision.decision = 'granted' then p_decision.held_usd::numeric
      when p_decision.reason = 'budget_exceeded' then p_decision.remaining_usd::numeric
    end,
    p_estimate
  );
  return v_decision;
end
$$;

comment on function private.with_affordable_tokens(metering.spend_decision, private.estimate) is
  'A decision, with affordable_output_tokens.';

create type private.costing as (
  cost numeric,
  basis metering.cost_basis,
  counts jsonb,
  prompt_tokens integer,
  completion_tokens integer,
  service_tier text,
  price_id uuid,
  markup_id uuid,
  rates jsonb,
  zero_cost_reason metering.zero_cost_reason
);

comment on type private.costing is 'What a call used and cost, and how that follows.';

-- The price a hold is settled by: the one that was pinned; where the provider served another tier
-- than was asked for, that tier's, as it was known when the hold was made; where none was pinned,
-- the one that held then.
create function private.price_of_hold(p_hold metering.holds, p_served_tier text)
returns private.quote
language plpgsql
stable
set search_path = pg_catalog, pg_temp
as $$
declare
  -- The time of a hold is cut to the millisecond; a price of that millisecond held already.
  v_at constant timestamptz := p_hold.created_at + interval '999 microseconds';
  v_pinned private.quote;
  v_served private.quote;
begin
  if p_hold.price_id is null then
    return private.quote_model(
      p_hold.organization_id, p_hold.provider, coalesce(p_hold.listed_model, p_hold.model),
      coalesce(p_served_tier, p_hold.service_tier), v_at, 'infinity'
    );
  end if;
  v_pinned := private.pinned_price(p_hold.organization_id, p_hold.price_id, p_hold.markup_id);
  if private.listed_tier(p_served_tier) <> v_pinned.service_tier and p_served_tier is not null then
    v_served := private.find_price(
      p_hold.organization_id, v_pinned.provider, v_pinned.model, private.listed_tier(p_served_tier),
      v_at, v_at
    );
    if v_served.price_id is not null then
      return v_served;
    end if;
  end if;
  return v_pinned;
end
$$;

comment on function private.price_of_hold(metering.holds, text) is
  'The price a hold is settled by; without price_id where no price is known.';

-- What a held call cost. A stated cost wins over the price and is flagged as stated.
create function private.cost_call(
  p_hold metering.holds,
  p_measured private.measurement,
  p_cost numeric
)
returns private.costing
language plpgsql
stable
set search_path = pg_catalog, pg_temp
as $$
declare
  v_costing private.costing;
  v_quote private.quote;
  v_tier jsonb;
begin
  v_costing.counts := p_measured.counts;
  v_costing.prompt_tokens := p_measured.prompt_tokens;
  v_costing.completion_tokens := p_measured.completion_tokens;
  v_costing.service_tier := coalesce(p_measured.service_tier, p_hold.service_tier);
  v_costing.cost := p_cost;
  v_costing.basis := (
    case when p_measured.is_estimate then 'estimated' else 'stated' end
  )::metering.cost_basis;
  if p_cost is null or p_hold.price_id is not null then
    v_quote := private.price_of_hold(p_hold, p_measured.service_tier);
    if v_quote.price_id is not null then
      v_tier := private.rates_of_prompt(v_quote.rates, p_measured.prompt_tokens);
      v_costing.price_id := v_quote.price_id;
      v_costing.markup_id := v_quote.markup_id;
      v_costing.counts := private.charged_counts(v_tier, p_measured.counts);
      v_costing.rates := private.charged_rates(v_tier, v_costing.counts, v_quote.percent);
    end if;
  end if;
  if p_cost is null then
    if v_quote.price_id is null then
      perform private.reject_argument('p_cost', 'must be stated: no price is known for the model');
    end if;
    v_costing.cost := private.cost_at(v_costing.rates, v_costing.counts);
    -- A tier without a price is charged by the pinned one, which is a guess.
    v_costing.basis := (
      case
        when p_measured.is_estimate
          or private.listed_tier(p_measured.service_tier) <> v_quote.service_tier
          and p_measured.service_tier is not null
          then 'estimated'
        else 'priced'
      end
    )::metering.cost_basis;
    if v_costing.cost >= 1e12 then
      perform private.reject_argument('p_usage', 'must cost below 1000000000000');
    end if;
  end if;
  if v_costing.cost = 0 and (v_costing.prompt_tokens > 0 or v_costing.completion_tokens > 0) then
    v_costing.zero_cost_reason := (case
      when p_cost is not null then 'stated'
      when v_quote.percent = -100 then 'full_discount'
      when exists (
        select from jsonb_each_text(v_costing.rates) as r where r.value::numeric > 0
      ) then 'below_precision'
      else 'free_model'
    end)::metering.zero_cost_reason;
  end if;
  return v_costing;
end
$$;

comment on function private.cost_call(metering.holds, private.measurement, numeric) is
  'What a held call used and cost, by its price or as stated. Errors: 22023 where neither is '
  'known.';
