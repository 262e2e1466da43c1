-- Which price holds for a call, and what a usage costs by it.

create type private.quote as (
  price_id uuid,
  markup_id uuid,
  provider text,
  model text,
  service_tier text,
  rates jsonb,
  percent numeric,
  effective_from timestamptz,
  reason text
);

comment on type private.quote is
  'The price that holds for a call, with its markup; where there is none, why.';

-- The markup that holds for a model: its own, or its provider's, or the general one.
create function private.find_markup(
  p_organization_id uuid,
  p_provider text,
  p_model text,
  p_at timestamptz,
  p_known_at timestamptz
)
returns pricing.markups
language plpgsql
stable
set search_path = pg_catalog, pg_temp
as $$
declare
  v_markup pricing.markups;
begin
  select l.* into v_markup
  from (
    select distinct on (m.provider, m.model) m.*
    from pricing.markups as m
    where m.organization_id = p_organization_id
      and (m.provider, m.model) in ((p_provider, p_model), (p_provider, ''), ('', ''))
      and m.effective_from <= p_at
      and m.created_at <= p_known_at
    order by m.provider, m.model, m.effective_from desc, m.revision desc
  ) as l
  where l.percent is not null
  order by l.model desc, l.provider desc
  limit 1;
  return v_markup;
end
$$;

comment on function private.find_markup(uuid, text, text, timestamptz, timestamptz) is
  'The markup of an organization on a model at p_at, as it was known at p_known_at; or null.';

-- The price of a listed model that holds at p_at, as it was known at p_known_at: the contract of
-- the organization, else the list price with its markup. Without a price, or with one that nobody
-- has checked for too long, it says so: a call is never priced by a guess.
create function private.find_price(
  p_organization_id uuid,
  p_provider text,
  p_model text,
  p_service_tier text,
  p_at timestamptz,
  p_known_at timestamptz
)
returns private.quote
language plpgsql
stable
set search_path = pg_catalog, pg_temp
as $$
declare
  v_quote private.quote;
  v_markup pricing.markups;
  v_is_stale boolean;
begin
  v_quote.provider := p_provider;
  v_quote.model := p_model;
  v_quote.service_tier := p_service_tier;
  if p_organization_id is not null then
    select c.id, c.rates, c.effective_from
    into v_quote.price_id, v_quote.rates, v_quote.effective_from
    from pricing.contract_prices as c
    where c.organization_id = p_organization_id
      and c.provider = p_provider
      and c.model = p_model
      and c.service_tier = p_service_tier
      and c.effective_from <= p_at
      and c.created_at <= p_known_at
    order by c.effective_from desc, c.revision desc
    limit 1;
    if v_quote.rates is not null then
      return v_quote;
    end if;
  end if;

  v_quote.price_id := null;
  select p.id, p.rates, p.effective_from, l.checked_at + l.max_age < private.clock_now()
  into v_quote.price_id, v_quote.rates, v_quote.effective_from, v_is_stale
  from pricing.prices as p
  inner join pricing.price_lists as l on l.source = p.source
  where p.provider = p_provider
    and p.model = p_model
    and p.service_tier = p_service_tier
    and p.effective_from <= p_at
    and p.created_at <= p_known_at
  order by p.effective_from desc, p.revision desc
  limit 1;
  if v_quote.rates is null then
    v_quote.price_id := null;
    v_quote.reason := 'unpriced_model';
    return v_quote;
  elsif v_is_stale then
    v_quote.reason := 'stale_price'; -- whoever settles is charged by it all the same
  end if;
  if p_organization_id is not null then
    v_markup := private.find_markup(p_organization_id, p_provider, p_model, p_at, p_known_at);
    v_quote.markup_id := v_markup.id;
    v_quote.percent := v_markup.percent;
  end if;
  return v_quote;
end
$$;

comment on function private.find_price(uuid, text, text, text, timestamptz, timestamptz) is
  'The price of a model at p_at, as it was known at p_known_at; its reason is null where it can be '
  'charged, else unpriced_model or stale_price.';

-- The price of the model a call means.
create function private.quote_model(
  p_organization_id uuid,
  p_provider text,
  p_model text,
  p_service_tier text,
  p_at timestamptz,
  p_known_at timestamptz
)
returns private.quote
language plpgsql
stable
set search_path = pg_catalog, pg_temp
as $$
declare
  v_key constant private.model_key := private.find_model(p_provider, p_model);
begin
  return private.find_price(
    p_organization_id, v_key.provider, v_key.model, private.listed_tier(p_service_tier), p_at,
    p_known_at
  );
end
$$;

comment on function private.quote_model(uuid, text, text, text, timestamptz, timestamptz) is
  'find_price for a model by any of its names.';

-- A price by its id, with its markup by id: what was pinned, whatever holds today.
create function private.pinned_price(p_organization_id uuid, p_price_id uuid, p_markup_id uuid)
returns private.quote
language plpgsql
stable
set search_path = pg_catalog, pg_temp
as $$
declare
  v_quote private.quote;
begin
  select p.id, p.provider, p.model, p.service_tier, p.rates, p.effective_from
  into
    v_quote.price_id, v_quote.provider, v_quote.model, v_quote.service_tier, v_quote.rates,
    v_quote.effective_from
  from pricing.prices as p
  where p.id = p_price_id;
  if v_quote.price_id is null then
    select c.id, c.provider, c.model, c.service_tier, c.rates, c.effective_from
    into
      v_quote.price_id, v_quote.provider, v_quote.model, v_quote.service_tier, v_quote.rates,
      v_quote.effective_from
    from pricing.contract_prices as c
    where c.organization_id = p_organization_id and c.id = p_price_id;
  end if;
  if p_markup_id is not null then
    select m.id, m.percent into v_quote.markup_id, v_quote.percent
    from pricing.markups as m
    where m.organization_id = p_organization_id and m.id = p_markup_id;
  end if;
  return v_quote;
end
$$;

comment on function private.pinned_price(uuid, uuid, uuid) is
  'The price and markup of the given ids.';

-- What is charged for counts by a quote: with what is counted only where it is priced.
create function private.charged_counts(p_tier jsonb, p_counts jsonb)
returns jsonb
language plpgsql
immutable
set search_path = pg_catalog, pg_temp
as $$
begin
  return case
    when p_counts ? 'requests' or p_tier ->> 'requests' = '0' then p_counts
    else p_counts || '{"requests": 1}'
  end;
end
$$;

comment on function private.charged_counts(jsonb, jsonb) is
  'Counts, with the one request a call is where requests have a rate.';

create type pricing.priced_usage as (
  cost text,
  price_id uuid,
  markup_id uuid,
  provider text,
  model text,
  service_tier text,
  effective_from timestamptz,
  above_input_tokens integer,
  prompt_tokens bigint,
  completion_tokens bigint,
  breakdown jsonb
);

comment on type pricing.priced_usage is 'The answer of price_usage.';
comment on column pricing.priced_usage.cost is
  'US dollars as decimal text: the exact sum, rounded half even at 12 decimals.';
comment on column pricing.priced_usage.price_id is 'The row of prices or contract_prices.';
comment on column pricing.priced_usage.markup_id is 'The row of markups, if any.';
comment on column pricing.priced_usage.provider is 'Who serves the model, by its listed name.';
comment on column pricing.priced_usage.model is 'The model, by its listed name.';
comment on column pricing.priced_usage.service_tier is 'The service tier, by its listed name.';
comment on column pricing.priced_usage.effective_from is 'From when on the price holds.';
comment on column pricing.priced_usage.above_input_tokens is
  'The context tier: its rates hold for prompts of more tokens than this.';
comment on column pricing.priced_usage.prompt_tokens is 'Sum of all input classes.';
comment on column pricing.priced_usage.completion_tokens is 'Sum of all output classes.';
comment on column pricing.priced_usage.breakdown is
  'By token class: count, usd_per_million and usd, exact and not rounded, as decimal text.';

-- What would this usage cost?
create function pricing.price_usage(
  p_model text,
  p_usage jsonb,
  p_organization_id uuid default null,
  p_provider text default null,
  p_service_tier text default null,
  p_at timestamptz default null
)
returns pricing.priced_usage
language plpgsql
stable
set search_path = pg_catalog, pg_temp
as $$
declare
  v_measured private.measurement;
  v_quote private.quote;
  v_tier jsonb;
  v_counts jsonb;
  v_rates jsonb;
  v_answer pricing.priced_usage;
begin
  perform private.assert_text('p_model', p_model);
  v_measured := private.assert_usage('p_usage', p_usage);
  if p_organization_id is not null then
    perform private.assert_member(p_organization_id);
  end if;
  v_quote := private.quote_model(
    p_organization_id, p_provider, p_model, coalesce(v_measured.service_tier, p_service_tier),
    coalesce(p_at, private.clock_now()), 'infinity'
  );
  if v_quote.reason is not null then
    perform private.raise_error(
      'TS404',
      jsonb_build_object(
        'model', p_model, 'provider', p_provider, 'service_tier', v_quote.service_tier,
        'reason', v_quote.reason
      )
    );
  end if;
  v_tier := private.rates_of_prompt(v_quote.rates, v_measured.prompt_tokens);
  v_counts := private.charged_counts(v_tier, v_measured.counts);
  v_rates := private.charged_rates(v_tier, v_counts, v_quote.percent);

  v_answer.cost := trim_scale(private.cost_at(v_rates, v_counts))::text;
  v_answer.price_id := v_quote.price_id;
  v_answer.markup_id := v_quote.markup_id;
  v_answer.provider := v_quote.provider;
  v_answer.model := v_quote.model;
  v_answer.service_tier := v_quote.service_tier;
  v_answer.effective_from := v_quote.effective_from;
  v_answer.above_input_tokens := (v_tier ->> 'above_input_tokens')::integer;
  v_answer.prompt_tokens := v_measured.prompt_tokens;
  v_answer.completion_tokens := v_measured.completion_tokens;
  v_answer.breakdown := (
    select coalesce(
      jsonb_object_agg(
        c.key,
        jsonb_build_object(
          'count', c.value::bigint,
          'usd_per_million', v_rates ->> c.key,
          'usd', trim_scale(c.value::numeric * (v_rates ->> c.key)::numeric * 0.000001)::text
        )
      ),
      '{}'
    )
    from jsonb_each_text(v_counts) as c
  );
  return v_answer;
end
$$;

comment on function pricing.price_usage(text, jsonb, uuid, text, text, timestamptz) is
  'What a usage (as in settle_spend) of p_model costs, in US dollars, and by which rates: at '
  'p_at, else now; by the contract or with the markup of p_organization_id, else at list price. A '
  'service_tier in p_usage wins over p_service_tier. Errors: 22023, 42501, TS404 where the model '
  'has no price or one nobody has checked for too long (DETAIL says which).';
