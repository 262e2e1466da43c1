begin;
select plan(45);

-- Each check returns what it was given.
select is(private.assert_money('p', v.amount), v.amount, v.amount || ' is money')
from (
  values (0), (0.000000000001), (999999999999.999999999999), (1.5000000000000000)
) as v (amount);
select is(private.assert_count('p', v.count), v.count, v.count || ' is a count')
from (values (0::bigint), (9223372036854775807)) as v (count);
select is(private.assert_text('p', v.value), v.value, length(v.value) || ' characters are a text')
from (values ('x'), (repeat('x', 255)), (E' x\n')) as v (value);
select is(
  private.assert_id('p', 'a0000000-0000-4000-8000-000000000000'),
  'a0000000-0000-4000-8000-000000000000', 'an id is an id'
);

select throws_ok(
  format('select private.assert_money(%L, %s)', 'p', v.amount), '22023', null,
  v.amount || ' is no money'
)
from (
  values
  ('null'), ('-0.000000000001'), ('0.0000000000001'), ('1000000000000'), ('''NaN'''),
  ('''Infinity'''), ('''-Infinity''')
) as v (amount);
select throws_ok(
  format('select private.assert_count(%L, %s)', 'p', v.count), '22023', null,
  v.count || ' is no count'
)
from (values ('null'), ('-1')) as v (count);
select throws_ok(
  format('select private.assert_text(%L, %L)', 'p', v.value), '22023', null,
  v.description || ' is no text'
)
from (
  values (null, 'null'), ('', 'nothing'), (E' \t\n', 'blank'), (repeat('x', 256), '256 characters')
) as v (value, description);
select throws_ok($$select private.assert_id('p', null)$$, '22023', null, 'null is no id');

-- A duration of a hold.
select is(private.assert_expiry('p', v.expires_in), v.expires_in, v.expires_in || ' is a duration')
from (values (interval '1 microsecond'), (interval '24 hours')) as v (expires_in);
select throws_ok(
  format('select private.assert_expiry(%L, %L)', 'p', v.expires_in), '22023', null,
  coalesce(v.expires_in, 'null') || ' is no duration'
)
from (values (null), ('0'), ('-1 second'), ('24:00:00.000001'), ('1 month')) as v (expires_in);

select is(private.round_half_even(v.amount, v.decimals), v.expected, v.amount || ' at ' || v.decimals)
from (
  values
  (0.5, 0, 0), (1.5, 0, 2), (2.5, 0, 2), (-0.5, 0, 0), (-1.5, 0, -2), (-2.5, 0, -2),
  (2.500000000000001, 0, 3), (0.00005, 4, 0.0000), (0.00015, 4, 0.0002), (0.00025, 4, 0.0002),
  (7, 12, 7), (0.1234567890125, 12, 0.123456789012)
) as v (amount, decimals, expected);

select is(
  tests.facts_of($$select private.assert_money('p_cost', 'NaN')$$) ->> 'argument', 'p_cost',
  'DETAIL is JSON and names the argument'
);
select is(
  tests.facts_of($$select private.raise_error('TS404', '{"workflow_id": "x"}')$$),
  '{"workflow_id": "x"}'::jsonb, 'DETAIL carries the facts'
);

select * from finish();
rollback;
