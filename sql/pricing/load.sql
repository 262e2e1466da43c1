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
