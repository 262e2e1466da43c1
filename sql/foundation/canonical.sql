-- Canonical text: the same facts give the same bytes, whoever wrote them and however.
--
-- Keys sorted bytewise, nulls dropped, numbers without trailing zeros. jsonb alone keeps 1.50 and
-- 1.5 apart and sorts keys by length.
create function private.canonical_text(p_facts jsonb)
returns text
language plpgsql
immutable
set search_path = pg_catalog, pg_temp
as $$
begin
  if jsonb_typeof(p_facts) = 'object' then
    return (
      select
        '{' || coalesce(
          string_agg(
            to_json(f.key)::text || ':' || private.canonical_text(f.value),
            ',' order by f.key collate "C"
          ),
          ''
        ) || '}'
      from jsonb_each(p_facts) as f
      where f.value <> 'null'::jsonb
    );
  elsif jsonb_typeof(p_facts) = 'array' then
    return (
      select
        '[' || coalesce(
          string_agg(private.canonical_text(f.value), ',' order by f.ordinality), ''
        ) || ']'
      from jsonb_array_elements(p_facts) with ordinality as f (value, ordinality)
    );
  elsif jsonb_typeof(p_facts) = 'number' then
    return trim_scale(p_facts::numeric)::text;
  end if;
  return p_facts::text;
end
$$;

comment on function private.canonical_text(jsonb) is
  'One text for equal facts: keys sorted bytewise, nulls dropped, numbers without trailing zeros.';

-- Fingerprint of what a caller asked for. The text must be one per content: canonical_text(), or
-- array[...]::text of values that have one spelling each (amounts by trim_scale), at a tenth the
-- cost.
create function private.content_hash(p_content text)
returns text
language plpgsql
immutable
set search_path = pg_catalog, pg_temp
as $$
begin
  return encode(sha256(convert_to(p_content, 'UTF8')), 'hex');
end
$$;

comment on function private.content_hash(text) is 'SHA-256 of a text, in hexadecimal.';
