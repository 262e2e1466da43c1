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
