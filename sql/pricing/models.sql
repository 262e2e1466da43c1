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
