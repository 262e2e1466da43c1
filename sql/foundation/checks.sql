-- What an argument must be, said once. Each check returns what it was given, or raises 22023 and
-- names argument and rule. "v_cost := assert_money(...)" costs a quarter of "perform
-- assert_money(...)".

-- Money: US dollars, 0 or more, at most 12 decimals, below one trillion.
--
-- numeric(24,12) would round a 13th decimal in silence, and lets NaN through a ">= 0" check.
create function private.assert_money(p_argument text, p_amount numeric)
returns numeric
language plpgsql
stable
set search_path = pg_catalog, pg_temp
as $$
begin
  if p_amount >= 0 and p_amount < 1e12 and scale(trim_scale(p_amount)) <= 12 then
    return p_amount;
  end if;
  perform private.reject_argument(
    p_argument,
    case
      when p_amount is null then 'must not be null'
      when p_amount in ('NaN', 'Infinity', '-Infinity') then 'must be a finite number'
      when p_amount < 0 then 'must not be negative'
      when p_amount >= 1e12 then 'must be below 1000000000000'
      else 'must have at most 12 decimals'
    end
  );
  return null;
end
$$;

comment on function private.assert_money(text, numeric) is
  'Refuses anything but a finite amount in US dollars from 0 with at most 12 decimals. Errors: '
  '22023.';

-- Token counts: 0 or more.
create function private.assert_count(p_argument text, p_count bigint)
returns bigint
language plpgsql
stable
set search_path = pg_catalog, pg_temp
as $$
begin
  if p_count is null then
    perform private.reject_argument(p_argument, 'must not be null');
  elsif p_count < 0 then
    perform private.reject_argument(p_argument, 'must not be negative');
  end if;
  return p_count;
end
$$;

comment on function private.assert_count(text, bigint) is
  'Refuses null and negative counts. Errors: 22023.';

-- Names and keys: 1 to 255 characters, not blank.
create function private.assert_text(p_argument text, p_value text)
returns text
language plpgsql
stable
set search_path = pg_catalog, pg_temp
as $$
begin
  if p_value is null then
    perform private.reject_argument(p_argument, 'must not be null');
  elsif p_value !~ '\S' then
    perform private.reject_argument(p_argument, 'must not be blank');
  elsif length(p_value) > 255 then
    perform private.reject_argument(p_argument, 'must have at most 255 characters');
  end if;
  return p_value;
end
$$;

comment on function private.assert_text(text, text) is
  'Refuses null, blank and over-long text (255 characters). Errors: 22023.';

-- Ids: present.
create function private.assert_id(p_argument text, p_id uuid)
returns uuid
language plpgsql
stable
set search_path = pg_catalog, pg_temp
as $$
begin
  if p_id is null then
    perform private.reject_argument(p_argument, 'must not be null');
  end if;
  return p_id;
end
$$;

comment on function private.assert_id(text, uuid) is 'Refuses a missing id. Errors: 22023.';

-- Rounds to the nearest, ties to the even digit. PostgreSQL's round() takes ties away from zero,
-- which drifts upwards over many rows.
create function private.round_half_even(p_amount numeric, p_decimals integer)
returns numeric
language sql
immutable
set search_path = pg_catalog, pg_temp
as $$
  select case
    when
      abs(p_amount - trunc(p_amount, p_decimals)) = ('5e-' || p_decimals + 1)::numeric
      and mod(trunc(p_amount, p_decimals) * ('1e' || p_decimals)::numeric, 2) = 0
      then trunc(p_amount, p_decimals)
    else round(p_amount, p_decimals)
  end
$$;

comment on function private.round_half_even(numeric, integer) is
  'Rounds p_amount to p_decimals, ties to the even digit.';
