-- Built by scripts/build-migrations from sql/pricing; edit there.

-- sql/pricing/tables.sql

-- What models cost.
--
-- A price is a row that is never changed: its rates hold from effective_from until the next row of
-- the same provider, model and service tier begins. So two prices cannot overlap, and there is no
-- gap between them. A correction of the same beginning is a row with a higher revision. Any moment
-- can be asked about, and as it was known at any other: see private.find_price().

create type pricing.token_class as enum (
  'input_tokens', 'cache_read_tokens', 'cache_write_5m_tokens', 'cache_write_1h_tokens',
  'input_audio_tokens', 'cache_read_audio_tokens', 'input_image_tokens', 'cache_read_image_tokens',
  'output_tokens', 'reasoning_tokens', 'output_audio_tokens', 'output_image_tokens',
  'requests', 'web_searches', 'file_searches'
);

comment on type pricing.token_class is
  'What is counted and priced. Exclusive: a token is in one class only. input_tokens are not '
  'cached, output_tokens are without reasoning; requests and searches are no tokens.';

create table pricing.providers (
  id private.label not null,
  name private.label not null,
  constraint providers_pkey primary key (id),
  constraint providers_id_is_lower_case check (id = lower(id))
);

comment on table pricing.providers is 'Who serves models.';
comment on column pricing.providers.id is 'Lower case, such as openai.';
comment on column pricing.providers.name is 'As it is written for people.';

create table pricing.provider_names (
  name private.label not null,
  provider private.label not null,
  source private.label not null,
  constraint provider_names_pkey primary key (name),
  constraint provider_names_provider_fkey
  foreign key (provider) references pricing.providers (id) on delete restrict,
  constraint provider_names_name_is_lower_case check (name = lower(name))
);

create index provider_names_provider_idx on pricing.provider_names (provider);

comment on table pricing.provider_names is 'What else a provider is called.';
comment on column pricing.provider_names.name is 'Lower case, such as aws.bedrock.';
comment on column pricing.provider_names.provider is 'The provider that is meant.';
comment on column pricing.provider_names.source is 'The price list it comes from, or manual.';

create table pricing.models (
  provider private.label not null,
  id private.label not null,
  constraint models_pkey primary key (provider, id),
  constraint models_provider_fkey
  foreign key (provider) references pricing.providers (id) on delete restrict
);

comment on table pricing.models is
  'The models of a provider, by the name its price is listed under.';
comment on column pricing.models.provider is 'Who serves it.';
comment on column pricing.models.id is 'Its name in the price list.';

create type pricing.name_match as enum ('exact', 'prefix', 'suffix', 'contains', 'regex');
comment on type pricing.name_match is
  'How a name is compared with what a call names its model: in lower case, the kinds in this '
  'order.';

create table pricing.model_names (
  provider private.label not null,
  match pricing.name_match not null,
  name private.label not null,
  rank integer not null,
  model_provider private.label not null,
  model private.label not null,
  is_default boolean not null,
  source private.label not null,
  constraint model_names_pkey primary key (provider, match, name),
  constraint model_names_provider_fkey
  foreign key (provider) references pricing.providers (id) on delete restrict,
  constraint model_names_model_provider_model_fkey
  foreign key (model_provider, model) references pricing.models (provider, id) on delete restrict,
  constraint model_names_name_is_lower_case check (name = lower(name) or match = 'regex')
);

-- A name without its provider means one model.
create unique index model_names_match_name_default_idx
on pricing.model_names (match, name) where is_default;
create index model_names_model_provider_model_idx
on pricing.model_names (model_provider, model);

comment on table pricing.model_names is
  'What models are called: aliases, prefixes and patterns. The longest prefix wins; of suffixes '
  'and patterns the first by rank.';
comment on column pricing.model_names.provider is 'For calls to this provider.';
comment on column pricing.model_names.match is 'How name is compared.';
comment on column pricing.model_names.name is
  'The name, the part of one, or the regular expression.';
comment on column pricing.model_names.rank is 'Of several that fit, the lowest.';
comment on column pricing.model_names.model_provider is
  'Whose model it is: another provider''s where one sells what another makes.';
comment on column pricing.model_names.model is 'The model that is meant.';
comment on column pricing.model_names.is_default is
  'Whether it is also meant where a call names no provider.';
comment on column pricing.model_names.source is 'The price list it comes from, or manual.';

create table pricing.price_lists (
  source private.label not null,
  version private.label,
  checked_at timestamptz not null,
  max_age interval,
  constraint price_lists_pkey primary key (source),
  constraint price_lists_max_age_is_above_nothing check (max_age > interval '0')
);

comment on table pricing.price_lists is
  'Where list prices come from, and when they were last compared with it. Prices nobody has '
  'checked for max_age grant nothing: what a call would cost is then not known.';
comment on column pricing.price_lists.source is 'Name of the list: manual, genai-prices.';
comment on column pricing.price_lists.version is 'The version that was loaded last.';
comment on column pricing.price_lists.checked_at is 'When it was loaded last.';
comment on column pricing.price_lists.max_age is
  'How long its prices are trusted after that; null: for ever.';

insert into pricing.price_lists (source, checked_at) values ('manual', private.clock_now());

create function private.is_rate_card(p_rates jsonb)
returns boolean
language plpgsql
immutable
set search_path = pg_catalog, pg_temp
as $$
declare
  v_keys constant text[] :=
    enum_range(null::pricing.token_class)::text[] || array['above_input_tokens'];
  v_tier jsonb;
  v_above bigint := -1;
begin
  if jsonb_typeof(p_rates) <> 'array' or (p_rates #> '{0,above_input_tokens}' = '0') is not true then
    return false;
  end if;
  for v_tier in select t.value from jsonb_array_elements(p_rates) as t loop
    if not v_tier ?& v_keys
      or v_tier - v_keys <> '{}'
      or v_tier ->> 'above_input_tokens' !~ '^[0-9]{1,9}$'
      or (v_tier ->> 'above_input_tokens')::bigint <= v_above
      or exists (
        select from jsonb_each(v_tier - 'above_input_tokens') as r
        where jsonb_typeof(r.value) <> 'string'
          or (r.value #>> '{}') !~ '^(0|[1-9][0-9]{0,11})(\.[0-9]{0,23}[1-9])?$'
      ) then
      return false;
    end if;
    v_above := (v_tier ->> 'above_input_tokens')::bigint;
  end loop;
  return true;
end
$$;

comment on function private.is_rate_card(jsonb) is
  'True for an array of context tiers, the first above 0 input tokens, each with a rate for every '
  'token class: decimal text without trailing zeros, at most 24 decimals.';

create domain pricing.rate_card as jsonb
constraint rate_card_has_every_class_in_every_tier
check (value is null or private.is_rate_card(value));

comment on domain pricing.rate_card is
  'Rates in US dollars per million, by context tier: [{"above_input_tokens": 0, "input_tokens": '
  '"2.5", "output_tokens": "10", ...}, ...]. The tier of a call goes by its whole prompt.';

create table pricing.prices (
  id uuid not null default private.uuid_v7(),
  provider private.label not null,
  model private.label not null,
  service_tier private.label not null,
  effective_from timestamptz not null,
  revision integer not null,
  rates pricing.rate_card,
  source private.label not null,
  created_at timestamptz not null default private.clock_now(),
  constraint prices_pkey primary key (id),
  constraint prices_provider_model_service_tier_effective_from_key
  unique (provider, model, service_tier, effective_from, revision),
  constraint prices_provider_model_fkey
  foreign key (provider, model) references pricing.models (provider, id) on delete restrict,
  constraint prices_source_fkey
  foreign key (source) references pricing.price_lists (source) on delete restrict,
  constraint prices_service_tier_is_lower_case check (service_tier = lower(service_tier)),
  constraint prices_effective_from_is_a_time check (effective_from < 'infinity'),
  constraint prices_revision_is_counted_from_1 check (revision >= 1)
);

create index prices_source_idx on pricing.prices (source);

create trigger prices_reject_mutation before update or delete on pricing.prices
for each row execute function private.reject_mutation();
create trigger prices_reject_truncate before truncate on pricing.prices
for each statement execute function private.reject_mutation();

comment on table pricing.prices is
  'List prices, append-only. A row holds from effective_from until the next one of its provider, '
  'model and service tier.';
comment on column pricing.prices.id is 'Holds and usages name it.';
comment on column pricing.prices.provider is 'Who serves the model.';
comment on column pricing.prices.model is 'The model, by its listed name.';
comment on column pricing.prices.service_tier is
  'standard, batch, flex, priority: as the provider names it, lower case.';
comment on column pricing.prices.effective_from is
  'From when on it holds; -infinity where nobody knows a beginning.';
comment on column pricing.prices.revision is
  'Of prices that begin at the same time the highest holds.';
comment on column pricing.prices.rates is
  'US dollars per million, by context tier and token class; null where it is offered no more.';
comment on column pricing.prices.source is 'The price list it comes from.';
comment on column pricing.prices.created_at is
  'When it became known here. A call that was estimated by another before is not charged by it.';

create table pricing.contract_prices (
  organization_id uuid not null,
  id uuid not null default private.uuid_v7(),
  provider private.label not null,
  model private.label not null,
  service_tier private.label not null,
  effective_from timestamptz not null,
  revision integer not null,
  rates pricing.rate_card,
  created_at timestamptz not null default private.clock_now(),
  constraint contract_prices_pkey primary key (organization_id, id),
  constraint contract_prices_organization_id_provider_model_service_tier_key
  unique (organization_id, provider, model, service_tier, effective_from, revision),
  constraint contract_prices_organization_id_fkey
  foreign key (organization_id) references tenancy.organizations (id) on delete restrict,
  constraint contract_prices_provider_model_fkey
  foreign key (provider, model) references pricing.models (provider, id) on delete restrict,
  constraint contract_prices_service_tier_is_lower_case check (service_tier = lower(service_tier)),
  constraint contract_prices_effective_from_is_a_time check (effective_from < 'infinity'),
  constraint contract_prices_revision_is_counted_from_1 check (revision >= 1)
);

create index contract_prices_provider_model_idx on pricing.contract_prices (provider, model);

create trigger contract_prices_reject_mutation before update or delete on pricing.contract_prices
for each row execute function private.reject_mutation();
create trigger contract_prices_reject_truncate before truncate on pricing.contract_prices
for each statement execute function private.reject_mutation();

comment on table pricing.contract_prices is
  'What one organization pays instead of the list price, append-only. While a contract price '
  'holds, neither list price nor markup matters.';
comment on column pricing.contract_prices.organization_id is 'Whose contract it is.';
comment on column pricing.contract_prices.id is 'Holds and usages name it as their price.';
comment on column pricing.contract_prices.provider is 'Who serves the model.';
comment on column pricing.contract_prices.model is 'The model, by its listed name.';
comment on column pricing.contract_prices.service_tier is 'As in prices.';
comment on column pricing.contract_prices.effective_from is 'From when on it holds.';
comment on column pricing.contract_prices.revision is 'As in prices.';
comment on column pricing.contract_prices.rates is
  'US dollars per million, by context tier and token class; null from when on the list price holds '
  'again.';
comment on column pricing.contract_prices.created_at is 'When it became known here.';

create table pricing.markups (
  organization_id uuid not null,
  id uuid not null default private.uuid_v7(),
  provider text not null default '',
  model text not null default '',
  effective_from timestamptz not null,
  revision integer not null,
  percent private.percent,
  created_at timestamptz not null default private.clock_now(),
  constraint markups_pkey primary key (organization_id, id),
  constraint markups_organization_id_provider_model_effective_from_key
  unique (organization_id, provider, model, effective_from, revision),
  constraint markups_organization_id_fkey
  foreign key (organization_id) references tenancy.organizations (id) on delete restrict,
  constraint markups_model_is_of_a_provider check (model = '' or provider <> ''),
  constraint markups_effective_from_is_a_time check (effective_from < 'infinity'),
  constraint markups_revision_is_counted_from_1 check (revision >= 1)
);

create trigger markups_reject_mutation before update or delete on pricing.markups
for each row execute function private.reject_mutation();
create trigger markups_reject_truncate before truncate on pricing.markups
for each statement execute function private.reject_mutation();

comment on table pricing.markups is
  'By how many percent list prices are raised (or, below 0, lowered) for an organization, '
  'append-only. That of a model wins over that of its provider, that over the general one.';
comment on column pricing.markups.organization_id is 'Whom it is for.';
comment on column pricing.markups.id is 'Holds and usages name it.';
comment on column pricing.markups.provider is 'For models of this provider; empty for all.';
comment on column pricing.markups.model is 'For this model; empty for all.';
comment on column pricing.markups.effective_from is 'From when on it holds.';
comment on column pricing.markups.revision is 'Of markups that begin at the same time the highest.';
comment on column pricing.markups.percent is
  'Percent on top of every rate; null from when on there is none.';
comment on column pricing.markups.created_at is 'When it became known here.';

-- sql/pricing/usage.sql

-- What a call used: counts by token class, each token in exactly one.

create type private.measurement as (
  counts jsonb,
  prompt_tokens bigint,
  completion_tokens bigint,
  service_tier text,
  is_estimate boolean
);

comment on type private.measurement is
  'A usage, checked: counts by class without zeros (a stated 0 of requests is kept, as a call is '
  'one otherwise), their sums, the tier that served it where stated, and whether it is a guess.';

create function private.count_of(p_counts jsonb, p_class text)
returns bigint
language plpgsql
immutable
set search_path = pg_catalog, pg_temp
as $$
begin
  return coalesce((p_counts ->> p_class)::bigint, 0);
end
$$;

comment on function private.count_of(jsonb, text) is 'A count, 0 where there is none.';

-- Most calls have no class but the first of each side.
create function private.prompt_tokens(p_counts jsonb)
returns bigint
language plpgsql
immutable
set search_path = pg_catalog, pg_temp
as $$
begin
  if p_counts - array['input_tokens', 'output_tokens'] = '{}' then
    return coalesce((p_counts ->> 'input_tokens')::bigint, 0);
  end if;
  return private.count_of(p_counts, 'input_tokens')
    + private.count_of(p_counts, 'cache_read_tokens')
    + private.count_of(p_counts, 'cache_write_5m_tokens')
    + private.count_of(p_counts, 'cache_write_1h_tokens')
    + private.count_of(p_counts, 'input_audio_tokens')
    + private.count_of(p_counts, 'cache_read_audio_tokens')
    + private.count_of(p_counts, 'input_image_tokens')
    + private.count_of(p_counts, 'cache_read_image_tokens');
end
$$;

comment on function private.prompt_tokens(jsonb) is 'Sum of all input classes.';

create function private.completion_tokens(p_counts jsonb)
returns bigint
language plpgsql
immutable
set search_path = pg_catalog, pg_temp
as $$
begin
  if p_counts - array['input_tokens', 'output_tokens'] = '{}' then
    return coalesce((p_counts ->> 'output_tokens')::bigint, 0);
  end if;
  return private.count_of(p_counts, 'output_tokens')
    + private.count_of(p_counts, 'reasoning_tokens')
    + private.count_of(p_counts, 'output_audio_tokens')
    + private.count_of(p_counts, 'output_image_tokens');
end
$$;

comment on function private.completion_tokens(jsonb) is 'Sum of all output classes, reasoning too.';

-- Reads a usage object: {"input_tokens": 1200, "output_tokens": 300, "service_tier": "flex"}.
create function private.assert_usage(p_argument text, p_usage jsonb)
returns private.measurement
language plpgsql
stable
set search_path = pg_catalog, pg_temp
as $$
declare
  v_measured private.measurement;
begin
  v_measured.counts := coalesce(p_usage, '{}');
  v_measured.is_estimate := false;
  -- The usual usage is counts above 0 and nothing else.
  if v_measured.counts::text !~ '^\{("[a-z0-9_]+": [1-9][0-9]{0,9}(, )?)*\}$' then
    if jsonb_typeof(p_usage) <> 'object' then
      perform private.reject_argument(p_argument, 'must be an object');
    elsif jsonb_typeof(p_usage -> 'service_tier') not in ('string', 'null') then
      perform private.reject_argument(p_argument, 'must have a text as service_tier');
    elsif jsonb_typeof(p_usage -> 'is_estimate') not in ('boolean', 'null') then
      perform private.reject_argument(p_argument, 'must have true or false as is_estimate');
    end if;
    v_measured.counts := p_usage - array['service_tier', 'is_estimate'];
    if v_measured.counts::text !~ '^\{("[^"]*": (null|[0-9]{1,10})(, )?)*\}$' then
      perform private.reject_argument(p_argument, 'must have counts from 0 as values');
    end if;
    v_measured.is_estimate := coalesce((p_usage ->> 'is_estimate')::boolean, false);
    if p_usage ->> 'service_tier' is not null then
      v_measured.service_tier := private.assert_text(p_argument, p_usage ->> 'service_tier');
    end if;
    if v_measured.counts - enum_range(null::pricing.token_class)::text[] = '{}' then
      v_measured.counts := (
        select coalesce(jsonb_object_agg(c.key, c.value), '{}')
        from jsonb_each(v_measured.counts) as c
        where c.value <> 'null' and (c.value <> '0' or c.key = 'requests')
      );
    end if;
  end if;
  if v_measured.counts - array['input_tokens', 'output_tokens'] <> '{}'
    and v_measured.counts - enum_range(null::pricing.token_class)::text[] <> '{}' then
    perform private.reject_argument(p_argument, 'must have only the documented keys');
  end if;
  v_measured.prompt_tokens := private.prompt_tokens(v_measured.counts);
  v_measured.completion_tokens := private.completion_tokens(v_measured.counts);
  if greatest(v_measured.prompt_tokens, v_measured.completion_tokens) > 2147483647 then
    perform private.reject_argument(p_argument, 'must sum to at most 2147483647 tokens');
  end if;
  return v_measured;
end
$$;

comment on function private.assert_usage(text, jsonb) is
  'A usage object, checked and summed. Errors: 22023.';

-- sql/pricing/rates.sql

-- Rates: US dollars per million, one for every token class in every context tier.

-- A class that a provider does not price by itself costs what the class costs that it is part of:
-- cached tokens are input tokens, reasoning is output. Searches and requests cost nothing then.
create function private.complete_rates(p_rates jsonb)
returns jsonb
language plpgsql
immutable
set search_path = pg_catalog, pg_temp
as $$
declare
  v_rates jsonb := p_rates;
  v_part record;
begin
  for v_part in
    select *
    from (
      values
      ('cache_read_audio_tokens', case
        when p_rates ? 'cache_read_tokens' then 'cache_read_tokens' else 'input_audio_tokens'
      end),
      ('cache_read_image_tokens', case
        when p_rates ? 'cache_read_tokens' then 'cache_read_tokens' else 'input_image_tokens'
      end),
      ('cache_write_1h_tokens', 'cache_write_5m_tokens'),
      ('cache_write_5m_tokens', 'input_tokens'),
      ('cache_read_tokens', 'input_tokens'),
      ('input_audio_tokens', 'input_tokens'),
      ('input_image_tokens', 'input_tokens'),
      ('reasoning_tokens', 'output_tokens'),
      ('output_audio_tokens', 'output_tokens'),
      ('output_image_tokens', 'output_tokens')
    ) as parts (class, whole)
  loop
    if not v_rates ? v_part.class then
      v_rates := v_rates || jsonb_build_object(
        v_part.class, coalesce(p_rates -> v_part.whole, p_rates -> 'input_tokens')
      );
    end if;
  end loop;
  return '{"requests": "0", "web_searches": "0", "file_searches": "0"}' || v_rates;
end
$$;

comment on function private.complete_rates(jsonb) is
  'Rates with one for every token class: what is not stated costs what it is part of.';

-- Reads rates as they are stated: an object of rates, or an array of context tiers; amounts as text
-- or numbers.
create function private.assert_rates(p_argument text, p_rates jsonb)
returns pricing.rate_card
language plpgsql
stable
set search_path = pg_catalog, pg_temp
as $$
declare
  v_classes constant text[] := enum_range(null::pricing.token_class)::text[];
  v_tier jsonb;
  v_tiers jsonb := '[]'::jsonb;
begin
  if p_rates is null then
    return null;
  end if;
  for v_tier in
    select t.value
    from jsonb_array_elements(
      case jsonb_typeof(p_rates) when 'array' then p_rates else jsonb_build_array(p_rates) end
    ) as t
  loop
    if jsonb_typeof(v_tier) <> 'object' then
      perform private.reject_argument(p_argument, 'must be an object of rates, or an array of them');
    elsif not v_tier ?& array['input_tokens', 'output_tokens'] then
      perform private.reject_argument(p_argument, 'must have rates of input_tokens and output_tokens');
    elsif v_tier - v_classes - 'above_input_tokens' <> '{}' then
      perform private.reject_argument(p_argument, 'must have only token classes as keys');
    elsif coalesce(v_tier ->> 'above_input_tokens', '0') !~ '^[0-9]{1,9}$' then
      perform private.reject_argument(p_argument, 'must have a count as above_input_tokens');
    end if;
    v_tiers := v_tiers || (
      select
        jsonb_build_object('above_input_tokens', coalesce((v_tier ->> 'above_input_tokens')::integer, 0))
        || private.complete_rates(
          jsonb_object_agg(r.key, private.assert_rate(p_argument, r.key, r.value))
        )
      from jsonb_each(v_tier - 'above_input_tokens') as r
    );
  end loop;
  if not private.is_rate_card(v_tiers) then
    perform private.reject_argument(
      p_argument, 'must have context tiers in ascending order, the first above 0 input tokens'
    );
  end if;
  return v_tiers;
end
$$;

comment on function private.assert_rates(text, jsonb) is
  'Stated rates, checked and complete; null for null. Errors: 22023.';

-- One rate as text without trailing zeros. Lists have rates that somebody calculated, with more
-- decimals than an amount of money: they are kept, and only what they add up to is rounded.
create function private.assert_rate(p_argument text, p_class text, p_rate jsonb)
returns text
language plpgsql
stable
set search_path = pg_catalog, pg_temp
as $$
declare
  v_argument constant text := p_argument || '.' || p_class;
  v_text constant text := p_rate #>> '{}';
  v_rate numeric;
begin
  if (
    jsonb_typeof(p_rate) in ('string', 'number')
    and v_text ~ '^[0-9]{1,40}(\.[0-9]{1,40})?([eE][-+]?[0-9]{1,2})?$'
  ) is not true then
    perform private.reject_argument(v_argument, 'must be an amount of US dollars');
  end if;
  v_rate := trim_scale(v_text::numeric);
  if v_rate >= 1e12 or scale(v_rate) > 24 then
    perform private.reject_argument(
      v_argument, 'must be below 1000000000000 and have at most 24 decimals'
    );
  end if;
  return v_rate::text;
end
$$;

comment on function private.assert_rate(text, text, jsonb) is
  'A rate as decimal text. Errors: 22023.';

-- The rates of the context tier a prompt is in. It goes by the whole prompt and holds for the whole
-- call.
create function private.rates_of_prompt(p_rates jsonb, p_prompt_tokens bigint)
returns jsonb
language plpgsql
immutable
set search_path = pg_catalog, pg_temp
as $$
begin
  if jsonb_array_length(p_rates) = 1 then
    return p_rates -> 0;
  end if;
  return (
    select t.value
    from jsonb_array_elements(p_rates) as t
    where (t.value ->> 'above_input_tokens')::bigint < greatest(p_prompt_tokens, 1)
    order by (t.value ->> 'above_input_tokens')::bigint desc
    limit 1
  );
end
$$;

comment on function private.rates_of_prompt(jsonb, bigint) is
  'The tier of a rate card that a prompt of so many tokens is in.';

-- One rate with a markup of so many percent, null for none. Exact: nothing is rounded.
create function private.marked_up(p_rate numeric, p_percent numeric)
returns numeric
language plpgsql
immutable
set search_path = pg_catalog, pg_temp
as $$
begin
  return case
    when p_percent is null then p_rate
    else trim_scale(p_rate * (1 + p_percent * 0.01))
  end;
end
$$;

comment on function private.marked_up(numeric, numeric) is
  'A rate raised by so many percent, exact; as it is for null.';

-- The rates that counts are charged by, out of a tier.
create function private.charged_rates(p_tier jsonb, p_counts jsonb, p_percent numeric)
returns jsonb
language plpgsql
immutable
set search_path = pg_catalog, pg_temp
as $$
begin
  return (
    select coalesce(
      jsonb_object_agg(
        c.key, private.marked_up((p_tier ->> c.key)::numeric, p_percent)::text
      ),
      '{}'
    )
    from jsonb_object_keys(p_counts) as c (key)
  );
end
$$;

comment on function private.charged_rates(jsonb, jsonb, numeric) is
  'US dollars per million of each class that was used, with the markup, as decimal text.';

-- What counts cost at rates: rounded once, half even, at 12 decimals.
create function private.cost_at(p_rates jsonb, p_counts jsonb)
returns numeric
language plpgsql
immutable
set search_path = pg_catalog, pg_temp
as $$
begin
  return private.round_half_even(
    (
      select coalesce(sum(c.value::numeric * (p_rates ->> c.key)::numeric), 0) * 0.000001
      from jsonb_each_text(p_counts) as c
    ),
    12
  );
end
$$;

comment on function private.cost_at(jsonb, jsonb) is
  'US dollars for counts at rates per million, rounded half even at 12 decimals.';

-- sql/pricing/models.sql

-- Which model a name means.

create type private.model_key as (provider text, model text);
comment on type private.model_key is
  'A model by provider and listed name; null for an unknown one.';

-- The service tier by the name its prices are listed under: several words mean the usual one.
create function private.listed_tier(p_service_tier text)
returns text
language plpgsql
immutable
set search_path = pg_catalog, pg_temp
as $$
begin
  return case
    when p_service_tier is null
      or lower(p_service_tier) in ('auto', 'default', 'standard', 'standard_only', 'on_demand')
      then 'standard'
    else lower(p_service_tier)
  end;
end
$$;

comment on function private.listed_tier(text) is 'A service tier by its listed name.';

create function private.find_provider(p_provider text)
returns text
language plpgsql
stable
set search_path = pg_catalog, pg_temp
as $$
begin
  return coalesce(
    (select p.id from pricing.providers as p where p.id = lower(p_provider)),
    (select n.provider from pricing.provider_names as n where n.name = lower(p_provider))
  );
end
$$;

comment on function private.find_provider(text) is 'A provider by any of its names, or null.';

-- The model a call means by p_model, of p_provider or, without one, of whoever it is usually
-- bought from. "openai/gpt-4o" names both.
create function private.find_model(p_provider text, p_model text)
returns private.model_key
language plpgsql
stable
set search_path = pg_catalog, pg_temp
as $$
declare
  v_provider text;
  v_name text := lower(p_model);
  v_found private.model_key;
begin
  if p_provider is not null then
    v_provider := private.find_provider(p_provider);
    if v_provider is null then
      return null;
    end if;
  end if;
  v_found := private.match_name(v_provider, v_name);
  if v_found.model is null and v_provider is null and v_name like '%/%' then
    v_provider := private.find_provider(split_part(v_name, '/', 1));
    if v_provider is not null then
      v_name := substr(v_name, strpos(v_name, '/') + 1);
      v_found := private.match_name(v_provider, v_name);
    end if;
  end if;
  -- Some write the date of a model without dashes.
  if v_found.model is null and v_name ~ '-20[0-9]{6}(-|:|$)' then
    v_found := private.match_name(
      v_provider, regexp_replace(v_name, '-(20\d\d)(\d\d)(\d\d)(?=-|:|$)', '-\1-\2-\3')
    );
  end if;
  return v_found;
end
$$;

comment on function private.find_model(text, text) is
  'Provider and listed name of the model a call means; null for one no price list knows.';

-- By its exact name, else by the longest prefix: what a name in lower case means, of a provider or
-- by default.
create function private.match_plain_name(p_provider text, p_name text)
returns private.model_key
language plpgsql
stable
set search_path = pg_catalog, pg_temp
as $$
declare
  v_found private.model_key;
begin
  if p_provider is null then
    select n.model_provider, n.model into v_found.provider, v_found.model
    from pricing.model_names as n
    where n.match = 'exact' and n.name = p_name and n.is_default;
  else
    select n.model_provider, n.model into v_found.provider, v_found.model
    from pricing.model_names as n
    where n.match = 'exact' and n.name = p_name and n.provider = p_provider;
  end if;
  if v_found.model is null then
    select n.model_provider, n.model into v_found.provider, v_found.model
    from pricing.model_names as n
    where n.match = 'prefix'
      and starts_with(p_name, n.name)
      and (n.provider = p_provider or p_provider is null and n.is_default)
    order by length(n.name) desc
    limit 1;
  end if;
  return v_found;
end
$$;

comment on function private.match_plain_name(text, text) is
  'The model a name in lower case means by exact name or prefix, of a provider or by default.';

-- Exact names first, then the longest prefix, then suffixes and patterns by rank.
create function private.match_name(p_provider text, p_name text)
returns private.model_key
language plpgsql
stable
set search_path = pg_catalog, pg_temp
as $$
declare
  v_found private.model_key := private.match_plain_name(p_provider, p_name);
begin
  if v_found.model is null then
    select n.model_provider, n.model into v_found.provider, v_found.model
    from pricing.model_names as n
    where n.match in ('suffix', 'contains', 'regex')
      and (n.provider = p_provider or p_provider is null and n.is_default)
      and case n.match
        when 'suffix' then right(p_name, length(n.name)) = n.name
        when 'contains' then strpos(p_name, n.name) > 0
        else p_name ~ n.name
      end
    order by n.rank, n.provider, n.name
    limit 1;
  end if;
  return v_found;
end
$$;

comment on function private.match_name(text, text) is
  'The model a name in lower case means, of a provider or by default.';

-- The listed name of a model whose price nobody asks for: a cap on the model holds for it too.
-- Every call that states its cost asks this, so patterns are not tried.
create function private.find_listed(p_provider text, p_model text)
returns private.model_key
language plpgsql
stable
set search_path = pg_catalog, pg_temp
as $$
declare
  v_found private.model_key;
begin
  if p_provider is null then
    v_found := private.match_plain_name(null, lower(p_model));
    if v_found.model is null and strpos(p_model, '/') > 0 then
      v_found := private.find_listed(
        split_part(p_model, '/', 1), substr(p_model, strpos(p_model, '/') + 1)
      );
    end if;
    return v_found;
  end if;
  v_found.provider := private.find_provider(p_provider);
  if v_found.provider is null then
    return null;
  end if;
  return private.match_plain_name(v_found.provider, lower(p_model));
end
$$;

comment on function private.find_listed(text, text) is
  'Provider and listed name of a model by its exact name or a prefix; null for an unknown one.';

-- sql/pricing/prices.sql

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

-- sql/pricing/changes.sql

-- Prices by hand: set, ended, named. Nothing that was set is ever changed.

-- Everybody who adds prices queues here, so that revisions are counted without a gap.
create function private.lock_prices()
returns void
language plpgsql
volatile
set search_path = pg_catalog, pg_temp
as $$
begin
  lock table pricing.price_lists in share row exclusive mode;
end
$$;

comment on function private.lock_prices() is
  'Holds off other changes of prices, not those who read.';

-- Makes sure that a model is listed and known by its own name. Set by hand, the name is its own,
-- also where it was another model's alias; a price list leaves it so. In another letter case it is
-- the same model.
create function private.list_model(p_provider text, p_model text)
returns private.model_key
language plpgsql
volatile
set search_path = pg_catalog, pg_temp
as $$
declare
  v_key private.model_key;
begin
  v_key.provider := coalesce(
    private.find_provider(private.assert_text('p_provider', p_provider)), lower(p_provider)
  );
  insert into pricing.providers (id, name) values (v_key.provider, p_provider)
  on conflict (id) do nothing;
  v_key.model := (
    select m.id from pricing.models as m
    where m.provider = v_key.provider
      and lower(m.id) = lower(private.assert_text('p_model', p_model))
    order by m.id <> p_model
    limit 1
  );
  if v_key.model is null then
    v_key.model := private.assert_text('p_model', p_model);
    insert into pricing.models (provider, id) values (v_key.provider, v_key.model);
    perform private.set_model_name(
      v_key.provider, lower(v_key.model), 'exact', v_key.provider, v_key.model
    );
  end if;
  return v_key;
end
$$;

comment on function private.list_model(text, text) is
  'Lists a model under its provider unless it is listed. Errors: 22023.';

create function private.set_model_name(
  p_provider text,
  p_name text,
  p_match pricing.name_match,
  p_model_provider text,
  p_model text
)
returns pricing.model_names
language plpgsql
volatile
set search_path = pg_catalog, pg_temp
as $$
declare
  v_name pricing.model_names;
begin
  insert into pricing.model_names as n (
    provider, match, name, rank, model_provider, model, is_default, source
  )
  values (
    p_provider, p_match, p_name, -1, p_model_provider, p_model,
    not exists (
      select from pricing.model_names as o
      where o.match = p_match and o.name = p_name and o.is_default
    ),
    'manual'
  )
  on conflict (provider, match, name) do update
  set
    rank = excluded.rank,
    model_provider = excluded.model_provider,
    model = excluded.model,
    source = excluded.source
  returning * into v_name;
  return v_name;
end
$$;

comment on function private.set_model_name(text, text, pricing.name_match, text, text) is
  'Stores what a name means; without its provider too, unless that means another model.';

-- Gives a model another name.
create function pricing.set_model_name(
  p_provider text,
  p_name text,
  p_model text,
  p_match text default 'exact',
  p_model_provider text default null
)
returns pricing.model_names
language plpgsql
volatile
security definer -- writes names, which no role may write itself
set search_path = pg_catalog, pg_temp
as $$
declare
  v_provider text;
  v_key private.model_key;
begin
  perform private.assert_text('p_name', p_name);
  if (p_match in ('exact', 'prefix', 'suffix', 'contains', 'regex')) is not true then
    perform private.reject_argument('p_match', 'must be exact, prefix, suffix, contains or regex');
  elsif p_match = 'regex' then
    begin
      perform '' ~ p_name;
    exception when invalid_regular_expression then
      perform private.reject_argument('p_name', 'must be a regular expression');
    end;
  end if;
  v_provider := private.find_provider(private.assert_text('p_provider', p_provider));
  v_key := private.find_model(
    coalesce(p_model_provider, p_provider), private.assert_text('p_model', p_model)
  );
  if v_provider is null or v_key.model is null then
    perform private.raise_error(
      'TS404', jsonb_build_object('provider', p_provider, 'model', p_model)
    );
  end if;
  perform private.lock_prices();
  return private.set_model_name(
    v_provider, case when p_match = 'regex' then p_name else lower(p_name) end,
    p_match::pricing.name_match, v_key.provider, v_key.model
  );
end
$$;

comment on function pricing.set_model_name(text, text, text, text, text) is
  'From now on p_name, called at p_provider, means p_model (of p_model_provider, if that is '
  'another one). p_match: exact, prefix, suffix, contains or regex (in lower case). A price list '
  'does not change it. For service_role. Errors: 22023, TS404 for an unknown provider or model.';

create type pricing.price as (
  id uuid,
  organization_id uuid,
  provider text,
  model text,
  service_tier text,
  effective_from timestamptz,
  revision integer,
  rates jsonb,
  source text,
  created_at timestamptz
);

comment on type pricing.price is 'A list price, or one of an organization''s contract.';
comment on column pricing.price.id is 'Its id.';
comment on column pricing.price.organization_id is 'Whose contract it is; null for a list price.';
comment on column pricing.price.provider is 'Who serves the model.';
comment on column pricing.price.model is 'The model, by its listed name.';
comment on column pricing.price.service_tier is 'The service tier.';
comment on column pricing.price.effective_from is 'From when on it holds.';
comment on column pricing.price.revision is 'Of prices with the same beginning the highest holds.';
comment on column pricing.price.rates is
  'US dollars per million, by context tier and token class; null where the price ended.';
comment on column pricing.price.source is 'The price list it comes from; contract for a contract.';
comment on column pricing.price.created_at is 'When it became known here.';

-- The last revision of a price that begins at p_effective_from.
create function private.last_revision(
  p_organization_id uuid,
  p_key private.model_key,
  p_service_tier text,
  p_effective_from timestamptz
)
returns pricing.price
language plpgsql
stable
set search_path = pg_catalog, pg_temp
as $$
declare
  v_price pricing.price;
begin
  if p_organization_id is null then
    select
      p.id, null::uuid, p.provider, p.model, p.service_tier, p.effective_from, p.revision, p.rates,
      p.source, p.created_at
    into v_price
    from pricing.prices as p
    where p.provider = p_key.provider
      and p.model = p_key.model
      and p.service_tier = p_service_tier
      and p.effective_from = p_effective_from
    order by p.revision desc
    limit 1;
  else
    select
      c.id, c.organization_id, c.provider, c.model, c.service_tier, c.effective_from, c.revision,
      c.rates, 'contract', c.created_at
    into v_price
    from pricing.contract_prices as c
    where c.organization_id = p_organization_id
      and c.provider = p_key.provider
      and c.model = p_key.model
      and c.service_tier = p_service_tier
      and c.effective_from = p_effective_from
    order by c.revision desc
    limit 1;
  end if;
  return v_price;
end
$$;

comment on function private.last_revision(uuid, private.model_key, text, timestamptz) is
  'The price that holds from a time on, or null.';

-- Adds a price, as a further revision where one begins at the same time already. The caller has
-- locked prices.
create function private.add_price(
  p_organization_id uuid,
  p_key private.model_key,
  p_service_tier text,
  p_effective_from timestamptz,
  p_rates pricing.rate_card,
  p_source text
)
returns pricing.price
language plpgsql
volatile
set search_path = pg_catalog, pg_temp
as $$
declare
  v_last constant pricing.price := private.last_revision(
    p_organization_id, p_key, p_service_tier, p_effective_from
  );
  v_revision constant integer := coalesce(v_last.revision, 0) + 1;
begin
  if p_organization_id is null then
    insert into pricing.prices (
      provider, model, service_tier, effective_from, revision, rates, source
    )
    values (
      p_key.provider, p_key.model, p_service_tier, p_effective_from, v_revision, p_rates, p_source
    );
  else
    insert into pricing.contract_prices (
      organization_id, provider, model, service_tier, effective_from, revision, rates
    )
    values (
      p_organization_id, p_key.provider, p_key.model, p_service_tier, p_effective_from, v_revision,
      p_rates
    );
  end if;
  return private.last_revision(p_organization_id, p_key, p_service_tier, p_effective_from);
end
$$;

comment on function private.add_price(
  uuid, private.model_key, text, timestamptz, pricing.rate_card, text
) is
  'Adds a list price or, with an organization, a contract price.';

create function private.assert_effective_from(p_effective_from timestamptz)
returns timestamptz
language plpgsql
volatile
set search_path = pg_catalog, pg_temp
as $$
begin
  if p_effective_from = 'infinity' then
    perform private.reject_argument('p_effective_from', 'must be a time');
  end if;
  return coalesce(p_effective_from, private.clock_now());
end
$$;

comment on function private.assert_effective_from(timestamptz) is
  'The time a price begins, now for null. Errors: 22023.';

-- When price lists said that other prices begin: what is set by hand before does not end then. Nor
-- does what is set by hand after that.
create function private.announcements(
  p_key private.model_key,
  p_service_tier text,
  p_after timestamptz
)
returns setof timestamptz
language plpgsql
stable
set search_path = pg_catalog, pg_temp
as $$
begin
  return query
  select b.effective_from
  from (
    select
      p.effective_from,
      bool_or(p.source <> 'manual') as is_announced,
      (array_agg(p.source order by p.revision desc))[1] as source,
      (array_agg(p.rates order by p.revision desc))[1] as rates
    from pricing.prices as p
    where p.provider = p_key.provider
      and p.model = p_key.model
      and p.service_tier = p_service_tier
      and p.effective_from > p_after
    group by p.effective_from
  ) as b
  where b.is_announced
    and (
      b.source <> 'manual'
      or b.rates is not distinct from (
        private.list_price_at(
          p_key, p_service_tier, b.effective_from - interval '1 microsecond'
        )
      ).rates
    );
end
$$;

comment on function private.announcements(private.model_key, text, timestamptz) is
  'Later times at which only a price list begins a price, also those called off by hand.';

-- Sets a price from a time on.
--
-- Locks: price lists, so that prices are added one after another; nobody who reads waits.
-- Idempotent: the price that begins then and has these rates already is returned as it is.
create function pricing.set_price(
  p_provider text,
  p_model text,
  p_rates jsonb,
  p_effective_from timestamptz default null,
  p_service_tier text default null,
  p_organization_id uuid default null
)
returns pricing.price
language plpgsql
volatile
security definer -- writes prices, which no role may write itself
set search_path = pg_catalog, pg_temp
as $$
declare
  v_rates constant pricing.rate_card := private.assert_rates('p_rates', p_rates);
  v_from constant timestamptz := private.assert_effective_from(p_effective_from);
  v_tier constant text := private.listed_tier(
    case when p_service_tier is not null then private.assert_text('p_service_tier', p_service_tier) end
  );
  v_key private.model_key;
  v_last pricing.price;
begin
  if p_organization_id is not null then
    perform private.assert_member(p_organization_id);
  end if;
  perform private.lock_prices();
  if p_organization_id is null then
    v_key := private.list_model(p_provider, p_model);
  else
    -- What one organization pays is no reason to list a model, or to rename one, for all.
    v_key := private.find_model(
      private.assert_text('p_provider', p_provider), private.assert_text('p_model', p_model)
    );
    if v_key.model is null then
      perform private.raise_error(
        'TS404', jsonb_build_object('provider', p_provider, 'model', p_model)
      );
    end if;
  end if;
  v_last := private.last_revision(p_organization_id, v_key, v_tier, v_from);
  if v_last.id is not null and v_last.rates is not distinct from v_rates::jsonb
    and v_last.source in ('manual', 'contract') then
    return v_last;
  end if;
  if p_organization_id is null then
    perform private.add_price(null, v_key, v_tier, a.at, v_rates, 'manual')
    from private.announcements(v_key, v_tier, greatest(v_from, private.clock_now())) as a (at);
  end if;
  return private.add_price(p_organization_id, v_key, v_tier, v_from, v_rates, 'manual');
end
$$;

comment on function pricing.set_price(text, text, jsonb, timestamptz, text, uuid) is
  'Sets what a model costs from p_effective_from (else now) on: the list price, or with '
  'p_organization_id what that organization pays by contract. p_rates: US dollars per million by '
  'token class, text or numbers, input_tokens and output_tokens at least, or an array of such '
  'objects by context tier with above_input_tokens; null ends the price, until a price list has '
  'one. A class without a rate costs what it is part of. Also for a time that is past: what was '
  'recorded stays as it was charged. Price lists leave a price that was set by hand alone. For '
  'service_role. Errors: 22023, TS404 for an unknown organization, or a contract on a model that '
  'is not listed.';

-- Raises or lowers all list prices of an organization, or those of a provider or model.
--
-- Locks: price lists. Idempotent.
create function pricing.set_markup(
  p_organization_id uuid,
  p_percent numeric,
  p_provider text default null,
  p_model text default null,
  p_effective_from timestamptz default null
)
returns pricing.markups
language plpgsql
volatile
security definer -- writes markups, which no role may write itself
set search_path = pg_catalog, pg_temp
as $$
declare
  v_from constant timestamptz := private.assert_effective_from(p_effective_from);
  v_key private.model_key;
  v_markup pricing.markups;
begin
  perform private.assert_member(p_organization_id);
  if p_percent is not null
    and (p_percent between -100 and 99999 and scale(trim_scale(p_percent)) <= 4) is not true then
    perform private.reject_argument(
      'p_percent', 'must be from -100 to 99999 with at most 4 decimals'
    );
  elsif p_model is not null and p_provider is null then
    perform private.reject_argument('p_provider', 'must be named with p_model');
  end if;
  v_key.provider := coalesce(private.find_provider(p_provider), '');
  v_key.model := '';
  if p_model is not null then
    v_key := private.find_model(p_provider, p_model);
  end if;
  if p_provider is not null and v_key.provider = '' or v_key.model is null then
    perform private.raise_error(
      'TS404', jsonb_build_object('provider', p_provider, 'model', p_model)
    );
  end if;

  perform private.lock_prices();
  select * into v_markup
  from pricing.markups as m
  where m.organization_id = p_organization_id
    and m.provider = v_key.provider
    and m.model = v_key.model
    and m.effective_from = v_from
  order by m.revision desc
  limit 1;
  if v_markup.id is null or v_markup.percent is distinct from p_percent then
    insert into pricing.markups (
      organization_id, provider, model, effective_from, revision, percent
    )
    values (
      p_organization_id, v_key.provider, v_key.model, v_from, coalesce(v_markup.revision, 0) + 1,
      p_percent
    )
    returning * into v_markup;
  end if;
  return v_markup;
end
$$;

comment on function pricing.set_markup(uuid, numeric, text, text, timestamptz) is
  'From p_effective_from (else now) on the organization pays list prices raised by p_percent '
  '(below 0: lowered): of a model, else of a provider, else of all; null ends it. Contract prices '
  'are final and have none. For service_role. Errors: 22023, TS404 for an unknown organization, '
  'provider or model.';

-- sql/pricing/load.sql

-- A whole price list at once.

create type pricing.price_change as (
  change text,
  provider text,
  model text,
  service_tier text,
  effective_from timestamptz,
  old_rates jsonb,
  new_rates jsonb
);

comment on type pricing.price_change is 'What loading a price list changed.';
comment on column pricing.price_change.change is
  'added: had no price. changed: has another. ended: is no longer in the list. kept: the list says '
  'otherwise, but somebody set the price by hand.';
comment on column pricing.price_change.provider is 'Who serves the model.';
comment on column pricing.price_change.model is 'The model.';
comment on column pricing.price_change.service_tier is 'The service tier.';
comment on column pricing.price_change.effective_from is 'From when on.';
comment on column pricing.price_change.old_rates is 'What held then before; null for nothing.';
comment on column pricing.price_change.new_rates is 'What holds then now; null for nothing.';

-- The list price that holds at a time.
create function private.list_price_at(
  p_key private.model_key,
  p_service_tier text,
  p_at timestamptz
)
returns pricing.prices
language plpgsql
stable
set search_path = pg_catalog, pg_temp
as $$
declare
  v_price pricing.prices;
begin
  select * into v_price
  from pricing.prices as p
  where p.provider = p_key.provider
    and p.model = p_key.model
    and p.service_tier = p_service_tier
    and p.effective_from <= p_at
  order by p.effective_from desc, p.revision desc
  limit 1;
  return v_price;
end
$$;

comment on function private.list_price_at(private.model_key, text, timestamptz) is
  'The list price of a model at a time, or null.';

-- Loads what a list says about one model and service tier: at p_times[i] begins p_rates[i].
--
-- The past stays as it was known. What holds now is taken over: from when the list says it began,
-- if that is after what is known began, else from now on. What is announced for later is taken over
-- as it is, and what the list no longer announces is called off.
create function private.load_price(
  p_source text,
  p_key private.model_key,
  p_service_tier text,
  p_times timestamptz[],
  p_rates jsonb[],
  p_now timestamptz
)
returns setof pricing.price_change
language plpgsql
volatile
set search_path = pg_catalog, pg_temp
as $$
declare
  v_held constant pricing.prices := private.list_price_at(p_key, p_service_tier, p_now);
  v_times timestamptz[];
  v_at timestamptz;
  v_old pricing.prices;
  v_rates jsonb;
  v_is_kept boolean;
  v_change pricing.price_change;
begin
  v_change.provider := p_key.provider;
  v_change.model := p_key.model;
  v_change.service_tier := p_service_tier;
  -- Where nothing holds now, its past is taken over too.
  v_times := array(
    select t.at
    from (
      select case when max(s.at) > v_held.effective_from then max(s.at) else p_now end as at
      from unnest(p_times) as s (at)
      where s.at <= p_now
      having v_held.id is not null
      union
      select s.at from unnest(p_times) as s (at) where s.at > p_now or v_held.id is null
      union
      select p.effective_from
      from pricing.prices as p
      where p.provider = p_key.provider
        and p.model = p_key.model
        and p.service_tier = p_service_tier
        and p.effective_from > p_now
    ) as t
    order by t.at
  );

  foreach v_at in array v_times loop
    v_old := private.list_price_at(p_key, p_service_tier, v_at);
    v_rates := (
      select r.rates
      from unnest(p_times, p_rates) as r (at, rates)
      where r.at <= greatest(v_at, p_now)
        and (v_held.id is not null or r.at <= v_at)
      order by r.at desc
      limit 1
    );
    continue when v_old.rates is not distinct from v_rates
      or v_old.id is null and v_rates is null;
    v_is_kept := v_old.source <> p_source and v_old.rates is not null;
    continue when v_is_kept
      and v_change.change = 'kept'
      and (v_change.old_rates, v_change.new_rates) is not distinct from (v_old.rates, v_rates);
    v_change.effective_from := v_at;
    v_change.old_rates := v_old.rates;
    v_change.new_rates := v_rates;
    if v_is_kept then
      v_change.change := 'kept';
    else
      perform private.add_price(
        null, p_key, p_service_tier, v_at, v_rates::pricing.rate_card, p_source
      );
      v_change.change := case
        when v_rates is null then 'ended'
        when v_old.rates is null then 'added'
        else 'changed'
      end;
    end if;
    return next v_change;
  end loop;
end
$$;

comment on function private.load_price(
  text, private.model_key, text, timestamptz[], jsonb[], timestamptz
) is
  'Takes over what a price list says about one model and service tier.';

-- Refuses a list that is not one: nothing of it is then loaded.
create function private.assert_price_list(p_list jsonb)
returns void
language plpgsql
stable
set search_path = pg_catalog, pg_temp
as $$
declare
  v_part text;
begin
  if jsonb_typeof(p_list) is distinct from 'object'
    or p_list - array['providers', 'names', 'prices'] <> '{}' then
    perform private.reject_argument('p_list', 'must be an object of providers, names and prices');
  end if;
  foreach v_part in array array['providers', 'names', 'prices'] loop
    if jsonb_typeof(p_list -> v_part) is distinct from 'array' or exists (
      select from jsonb_array_elements(p_list -> v_part) as e where jsonb_typeof(e.value) <> 'object'
    ) then
      perform private.reject_argument('p_list.' || v_part, 'must be an array of objects');
    end if;
  end loop;
  if p_list -> 'prices' = '[]' then
    perform private.reject_argument('p_list.prices', 'must not be empty');
  end if;
end
$$;

comment on function private.assert_price_list(jsonb) is
  'Refuses anything but an object of providers, names and prices. Errors: 22023.';

-- Providers, models and what they are called, as a list has them; what was named by hand or by
-- another list stays.
create function private.load_names(p_source text, p_list jsonb)
returns void
language plpgsql
volatile
set search_path = pg_catalog, pg_temp
as $$
begin
  insert into pricing.providers as p (id, name)
  select e.id, e.name from jsonb_to_recordset(p_list -> 'providers') as e (id text, name text)
  on conflict (id) do update set name = excluded.name where p.name <> excluded.name;
  delete from pricing.provider_names as n where n.source = p_source;
  insert into pricing.provider_names (name, provider, source)
  select a.name, e.id, p_source
  from jsonb_to_recordset(p_list -> 'providers') as e (id text, aliases jsonb)
  cross join lateral jsonb_array_elements_text(e.aliases) as a (name)
  on conflict (name) do nothing;
  insert into pricing.models (provider, id)
  select distinct e.provider, e.model
  from jsonb_to_recordset(p_list -> 'prices') as e (provider text, model text)
  on conflict (provider, id) do nothing;

  -- A pattern that is none would fail every call that meets it.
  perform '' ~ e.name
  from jsonb_to_recordset(p_list -> 'names') as e (match text, name text)
  where e.match = 'regex';
  delete from pricing.model_names as n where n.source = p_source;
  insert into pricing.model_names (
    provider, match, name, rank, model_provider, model, is_default, source
  )
  select
    e.provider, e.match, e.name, e.rank, e.model_provider, e.model,
    e.is_default and not exists (
      select from pricing.model_names as n
      where n.match = e.match and n.name = e.name and n.is_default
    ),
    p_source
  from jsonb_to_recordset(p_list -> 'names') as e (
    provider text, match pricing.name_match, name text, rank integer, model_provider text,
    model text, is_default boolean
  )
  on conflict (provider, match, name) do nothing;
end
$$;

comment on function private.load_names(text, jsonb) is
  'Takes over providers, models and names of a price list.';

-- Loads a price list: everything, or nothing.
--
-- Locks: price lists. Idempotent: the same list again changes nothing, but it has been checked.
create function pricing.load_prices(
  p_source text,
  p_version text,
  p_list jsonb,
  p_max_age interval default '90 days'
)
returns setof pricing.price_change
language plpgsql
volatile
security definer -- writes prices and names, which no role may write itself
set search_path = pg_catalog, pg_temp
as $$
declare
  v_now timestamptz;
  v_price record;
begin
  perform private.assert_text('p_source', p_source);
  perform private.assert_text('p_version', p_version);
  if p_source in ('manual', 'contract') then
    perform private.reject_argument('p_source', 'must not be manual or contract');
  elsif p_max_age <= interval '0' or p_max_age > interval '100 years' then
    perform private.reject_argument('p_max_age', 'must be above 0 and at most 100 years');
  end if;
  perform private.assert_price_list(p_list);
  perform private.lock_prices();
  v_now := private.clock_now();

  insert into pricing.price_lists as l (source, version, checked_at, max_age)
  values (p_source, p_version, v_now, p_max_age)
  on conflict (source) do update
  set version = excluded.version, checked_at = excluded.checked_at, max_age = excluded.max_age;
  perform private.load_names(p_source, p_list);

  for v_price in
    select
      row(coalesce(n.provider, o.provider), coalesce(n.model, o.model))::private.model_key as key,
      coalesce(n.service_tier, o.service_tier) as service_tier,
      coalesce(n.times, '{}') as times,
      coalesce(n.rates, '{}') as rates
    from (
      select
        e.provider, e.model, private.listed_tier(e.service_tier) as service_tier,
        array_agg(e.effective_from order by e.effective_from) as times,
        array_agg(
          private.assert_rates(
            format('p_list.prices(%s, %s, %s)', e.provider, e.model, e.service_tier), e.rates
          )::jsonb
          order by e.effective_from
        ) as rates
      from jsonb_to_recordset(p_list -> 'prices') as e (
        provider text, model text, service_tier text, effective_from timestamptz, rates jsonb
      )
      group by e.provider, e.model, private.listed_tier(e.service_tier)
    ) as n
    full join (
      select distinct p.provider, p.model, p.service_tier
      from pricing.prices as p
      where p.source = p_source
    ) as o using (provider, model, service_tier)
    order by 1, 2
  loop
    if array_position(v_price.times, null) is not null
      or cardinality(v_price.times)
      <> (select count(distinct t.at) from unnest(v_price.times) as t (at)) then
      perform private.reject_argument(
        'p_list.prices', 'must have one price of a model and service tier for each effective_from'
      );
    end if;
    return query
    select *
    from private.load_price(
      p_source, v_price.key, v_price.service_tier, v_price.times, v_price.rates, v_now
    );
  end loop;
exception
  when data_exception or integrity_constraint_violation or cardinality_violation then
    -- What cannot be read as what it must be says so in PostgreSQL's own words.
    if sqlstate = '22023' then
      raise;
    end if;
    perform private.reject_argument('p_list', sqlerrm);
end
$$;

comment on function pricing.load_prices(text, text, jsonb, interval) is
  'Loads a price list, whole or not at all, and says what that changed. p_list: {"providers": '
  '[{id, name, aliases}], "names": [{provider, match, name, rank, model_provider, model, '
  'is_default}], "prices": [{provider, model, service_tier, effective_from, rates}]}, rates as in '
  'set_price. What was known of the past is not changed, nor what was set by hand; what is no '
  'longer in the list ends. After p_max_age without a further load its prices grant nothing; '
  'null: they always do. For service_role. Errors: 22023.';

-- sql/pricing/views.sql

-- Prices to read: all there ever were, and those of today.

create view pricing.price_history
with (security_invoker = true)
as
select
  p.id,
  null::uuid as organization_id,
  p.provider::text as provider,
  p.model::text as model,
  p.service_tier::text as service_tier,
  p.effective_from,
  lead(p.effective_from) over (
    partition by p.provider, p.model, p.service_tier order by p.effective_from, p.revision
  ) as effective_until,
  p.revision,
  p.rates::jsonb as rates,
  p.source::text as source,
  p.created_at
from pricing.prices as p
union all
select
  c.id,
  c.organization_id,
  c.provider,
  c.model,
  c.service_tier,
  c.effective_from,
  lead(c.effective_from) over (
    partition by c.organization_id, c.provider, c.model, c.service_tier
    order by c.effective_from, c.revision
  ) as effective_until,
  c.revision,
  c.rates::jsonb as rates,
  'contract' as source,
  c.created_at
from pricing.contract_prices as c;

comment on view pricing.price_history is
  'Every price there ever was, of lists and contracts. One that a revision replaced has no time '
  'left: it ends when it begins.';
comment on column pricing.price_history.id is 'Its id: holds and usages name it.';
comment on column pricing.price_history.organization_id is
  'Whose contract it is; null for a list price.';
comment on column pricing.price_history.provider is 'Who serves the model.';
comment on column pricing.price_history.model is 'The model, by its listed name.';
comment on column pricing.price_history.service_tier is 'The service tier.';
comment on column pricing.price_history.effective_from is 'From when on it holds.';
comment on column pricing.price_history.effective_until is
  'When the next one begins; null where none does.';
comment on column pricing.price_history.revision is
  'Of prices with the same beginning the highest holds.';
comment on column pricing.price_history.rates is
  'US dollars per million, by context tier and token class; null where the price ended.';
comment on column pricing.price_history.source is
  'The price list it comes from, manual, or contract.';
comment on column pricing.price_history.created_at is 'When it became known here.';

create view pricing.current_prices
with (security_invoker = true)
as
select
  h.id,
  h.organization_id,
  h.provider,
  h.model,
  h.service_tier,
  h.effective_from,
  h.rates,
  h.source,
  l.version,
  coalesce(l.checked_at + l.max_age < private.clock_now(), false) as is_stale
from pricing.price_history as h
left join pricing.price_lists as l on h.source = l.source
where h.rates is not null
  and h.effective_from <= private.clock_now()
  and (h.effective_until is null or h.effective_until > private.clock_now());

comment on view pricing.current_prices is 'The prices that hold now.';
comment on column pricing.current_prices.id is 'Its id: holds and usages name it.';
comment on column pricing.current_prices.organization_id is
  'Whose contract it is; null for a list price.';
comment on column pricing.current_prices.provider is 'Who serves the model.';
comment on column pricing.current_prices.model is 'The model, by its listed name.';
comment on column pricing.current_prices.service_tier is 'The service tier.';
comment on column pricing.current_prices.effective_from is 'Since when it holds.';
comment on column pricing.current_prices.rates is
  'US dollars per million, by context tier and token class.';
comment on column pricing.current_prices.source is
  'The price list it comes from, manual, or contract.';
comment on column pricing.current_prices.version is 'The version of that list.';
comment on column pricing.current_prices.is_stale is
  'Whether nobody has checked that list for too long: then it grants nothing.';

-- sql/pricing/access.sql

-- Who sees and changes what. List prices and names are for every signed-in user, contracts and
-- markups for the members of their organization; nobody writes any of it but the functions.

revoke all on table
pricing.providers, pricing.provider_names, pricing.models, pricing.model_names,
pricing.price_lists, pricing.prices, pricing.contract_prices, pricing.markups,
pricing.price_history, pricing.current_prices
from public, anon, authenticated, service_role, app_user, tallystick_reader, tallystick_writer;

alter table pricing.providers enable row level security;
alter table pricing.provider_names enable row level security;
alter table pricing.models enable row level security;
alter table pricing.model_names enable row level security;
alter table pricing.price_lists enable row level security;
alter table pricing.prices enable row level security;
alter table pricing.contract_prices enable row level security;
alter table pricing.markups enable row level security;

grant select on table
pricing.providers, pricing.provider_names, pricing.models, pricing.model_names,
pricing.price_lists, pricing.prices, pricing.contract_prices, pricing.markups,
pricing.price_history, pricing.current_prices
to authenticated, service_role, app_user, tallystick_reader, tallystick_writer;

create policy providers_select_everybody on pricing.providers
for select to authenticated, app_user, service_role, tallystick_reader, tallystick_writer
using (true);
create policy provider_names_select_everybody on pricing.provider_names
for select to authenticated, app_user, service_role, tallystick_reader, tallystick_writer
using (true);
create policy models_select_everybody on pricing.models
for select to authenticated, app_user, service_role, tallystick_reader, tallystick_writer
using (true);
create policy model_names_select_everybody on pricing.model_names
for select to authenticated, app_user, service_role, tallystick_reader, tallystick_writer
using (true);
create policy price_lists_select_everybody on pricing.price_lists
for select to authenticated, app_user, service_role, tallystick_reader, tallystick_writer
using (true);
create policy prices_select_everybody on pricing.prices
for select to authenticated, app_user, service_role, tallystick_reader, tallystick_writer
using (true);

create policy contract_prices_select_member on pricing.contract_prices
for select to authenticated
using (organization_id = any((select private.member_organization_ids())::uuid[]));
create policy contract_prices_select_trusted on pricing.contract_prices
for select to app_user, service_role, tallystick_reader, tallystick_writer using (true);

create policy markups_select_member on pricing.markups
for select to authenticated
using (organization_id = any((select private.member_organization_ids())::uuid[]));
create policy markups_select_trusted on pricing.markups
for select to app_user, service_role, tallystick_reader, tallystick_writer using (true);

revoke execute on function
private.is_rate_card(jsonb),
private.count_of(jsonb, text),
private.prompt_tokens(jsonb),
private.completion_tokens(jsonb),
private.assert_usage(text, jsonb),
private.complete_rates(jsonb),
private.assert_rates(text, jsonb),
private.assert_rate(text, text, jsonb),
private.rates_of_prompt(jsonb, bigint),
private.marked_up(numeric, numeric),
private.charged_rates(jsonb, jsonb, numeric),
private.cost_at(jsonb, jsonb),
private.listed_tier(text),
private.find_provider(text),
private.find_model(text, text),
private.match_plain_name(text, text),
private.match_name(text, text),
private.find_listed(text, text),
private.find_markup(uuid, text, text, timestamptz, timestamptz),
private.find_price(uuid, text, text, text, timestamptz, timestamptz),
private.quote_model(uuid, text, text, text, timestamptz, timestamptz),
private.pinned_price(uuid, uuid, uuid),
private.charged_counts(jsonb, jsonb),
pricing.price_usage(text, jsonb, uuid, text, text, timestamptz),
private.lock_prices(),
private.list_model(text, text),
private.set_model_name(text, text, pricing.name_match, text, text),
pricing.set_model_name(text, text, text, text, text),
private.last_revision(uuid, private.model_key, text, timestamptz),
private.add_price(uuid, private.model_key, text, timestamptz, pricing.rate_card, text),
private.assert_effective_from(timestamptz),
pricing.set_price(text, text, jsonb, timestamptz, text, uuid),
pricing.set_markup(uuid, numeric, text, text, timestamptz),
private.list_price_at(private.model_key, text, timestamptz),
private.announcements(private.model_key, text, timestamptz),
private.load_price(text, private.model_key, text, timestamptz[], jsonb[], timestamptz),
private.assert_price_list(jsonb),
private.load_names(text, jsonb),
pricing.load_prices(text, text, jsonb, interval)
from public, anon, authenticated, service_role;

-- Readers: what a usage costs, and what an estimate reads with the caller's rights.
grant execute on function
private.count_of(jsonb, text),
private.prompt_tokens(jsonb),
private.completion_tokens(jsonb),
private.assert_usage(text, jsonb),
private.rates_of_prompt(jsonb, bigint),
private.marked_up(numeric, numeric),
private.charged_rates(jsonb, jsonb, numeric),
private.cost_at(jsonb, jsonb),
private.listed_tier(text),
private.find_provider(text),
private.find_model(text, text),
private.match_plain_name(text, text),
private.match_name(text, text),
private.find_listed(text, text),
private.find_markup(uuid, text, text, timestamptz, timestamptz),
private.find_price(uuid, text, text, text, timestamptz, timestamptz),
private.quote_model(uuid, text, text, text, timestamptz, timestamptz),
private.charged_counts(jsonb, jsonb),
pricing.price_usage(text, jsonb, uuid, text, text, timestamptz)
to authenticated, service_role, app_user, tallystick_writer;

-- Operators: what things cost.
grant execute on function
pricing.set_model_name(text, text, text, text, text),
pricing.set_price(text, text, jsonb, timestamptz, text, uuid),
pricing.set_markup(uuid, numeric, text, text, timestamptz),
pricing.load_prices(text, text, jsonb, interval)
to service_role;
