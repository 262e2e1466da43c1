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
