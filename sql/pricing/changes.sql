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
