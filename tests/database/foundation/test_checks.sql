begin;
select plan(25);

select lives_ok(format('select private.assert_money(%L, %s)', 'p', v.amount), v.amount || ' is money')
from (values ('0'), ('0.000000000001'), ('999999999999.999999999999'), ('1.5000000000000000')) as v (
  amount
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

select is(private.round_half_even(v.amount, v.decimals), v.expected, v.amount || ' at ' || v.decimals)
from (
  values
  (0.5, 0, 0), (1.5, 0, 2), (2.5, 0, 2), (-0.5, 0, 0), (-1.5, 0, -2), (-2.5, 0, -2),
  (2.500000000000001, 0, 3), (0.00005, 4, 0.0000), (0.00015, 4, 0.0002), (0.00025, 4, 0.0002),
  (7, 12, 7), (0.1234567890125, 12, 0.123456789012)
) as v (amount, decimals, expected);

create function pg_temp.facts_of(p_statement text) returns jsonb language plpgsql as $$
declare
  v_detail text;
begin
  execute p_statement;
  return null;
exception when others then
  get stacked diagnostics v_detail = pg_exception_detail;
  return v_detail;
end
$$;
select is(
  pg_temp.facts_of($$select private.assert_money('p_cost', 'NaN')$$) ->> 'argument', 'p_cost',
  'DETAIL is JSON and names the argument'
);
select is(
  pg_temp.facts_of($$select private.raise_error('TS404', '{"workflow_id": "x"}')$$),
  '{"workflow_id": "x"}'::jsonb, 'DETAIL carries the facts'
);

select * from finish();
rollback;
