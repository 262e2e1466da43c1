begin;
select plan(36);

-- A value of a type, or the code it is refused with.
create function pg_temp.outcome(p_type text, p_value text) returns text language plpgsql as $$
declare
  v_value text;
begin
  execute format('select (%L::%s)::text', p_value, p_type) into v_value;
  return v_value;
exception when others then
  return sqlstate;
end
$$;

select is(pg_temp.outcome(v.type, v.value), v.expected, v.type || ': ' || v.description)
from (
  values
  ('private.usd', '0', '0.000000000000', 'nothing'),
  ('private.usd', '0.000000000001', '0.000000000001', 'a trillionth'),
  ('private.usd', '999999999999.999999999999', '999999999999.999999999999', 'the most there is'),
  ('private.usd', '-0.000000000001', '23514', 'less than nothing'),
  ('private.usd', 'NaN', '23514', 'NaN'),
  ('private.usd', 'Infinity', '22003', 'Infinity'),
  ('private.usd', '1000000000000', '22003', 'a trillion'),
  ('private.usd_sum', '999999999999999999999999.999999999999',
    '999999999999999999999999.999999999999', 'the most there is'),
  ('private.usd_sum', '-0.000000000001', '23514', 'less than nothing'),
  ('private.usd_sum', 'NaN', '23514', 'NaN'),
  ('private.usd_sum', 'Infinity', '22003', 'Infinity'),
  ('private.usd_balance', '-0.000000000001', '-0.000000000001', 'less than nothing'),
  ('private.usd_balance', 'NaN', '23514', 'NaN'),
  ('private.usd_balance', 'Infinity', '22003', 'Infinity'),
  ('private.token_count', '0', '0', 'none'),
  ('private.token_count', '2147483647', '2147483647', 'the most a call may have'),
  ('private.token_count', '2147483648', '22003', 'more than that'),
  ('private.token_count', '-1', '23514', 'fewer than none'),
  ('private.sum_of_counts', '9223372036854775807', '9223372036854775807', 'very many'),
  ('private.sum_of_counts', '-1', '23514', 'fewer than none'),
  ('private.label', 'x', 'x', 'one character'),
  ('private.label', repeat('x', 255), repeat('x', 255), '255 characters'),
  ('private.label', repeat('x', 256), '23514', '256 characters'),
  ('private.label', '', '23514', 'no character'),
  ('private.label', E' \t\n', '23514', 'blank'),
  ('private.sha256_hex', repeat('a', 64), repeat('a', 64), '64 digits'),
  ('private.sha256_hex', repeat('a', 63), '23514', '63 digits'),
  ('private.sha256_hex', repeat('A', 64), '23514', 'capitals'),
  ('private.sha256_hex', repeat('a', 64) || E'\n', '23514', 'a line break after it')
) as v (type, value, expected, description);

-- Columns may be null where they are not forbidden to be; the types leave that to them.
select is(pg_temp.outcome(v.type, null), null, v.type || ': null')
from (
  values ('private.usd'), ('private.usd_sum'), ('private.usd_balance'), ('private.token_count'),
  ('private.sum_of_counts'), ('private.label'), ('private.sha256_hex')
) as v (type);

select * from finish();
rollback;
