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
