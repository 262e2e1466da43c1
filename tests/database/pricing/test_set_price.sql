-- Prices by hand: what is set, for whom, from when, and that nothing of it is ever changed.
begin;
select plan(57);

select tests.freeze_clock('2026-03-10 12:00+00');
create temp table scene as
select tests.organization('Acme') as acme, tests.organization('Bravo') as bravo;
create function pg_temp.cost(
  p_org uuid, p_at timestamptz default '2026-03-10 12:00+00', p_model text default 'm'
)
returns text language sql as $$
  select cost from pricing.price_usage(
    p_model, '{"input_tokens": 1000000}', p_org, 'p', p_at => p_at
  )
$$;

-- A first price brings its provider, its model and a name.
select results_eq(
  $$select organization_id, provider, model, service_tier, effective_from, revision, source,
      rates -> 0 ->> 'cache_read_tokens', jsonb_array_length(rates), created_at
    from pricing.set_price('P', 'm', '{"input_tokens": "1.50", "output_tokens": 6e0}')$$,
  $$values (null::uuid, 'p', 'm', 'standard', '2026-03-10 12:00+00'::timestamptz, 1, 'manual', '1.5',
    1, '2026-03-10 12:00+00'::timestamptz)$$,
  'a list price, from now on, complete'
);
select results_eq(
  $$select p.id::text, p.name::text, m.id::text, n.name::text, n.match, n.is_default, n.source::text
    from pricing.providers as p
    inner join pricing.models as m on m.provider = p.id
    inner join pricing.model_names as n on n.model_provider = p.id$$,
  $$values ('p', 'P', 'm', 'm', 'exact'::pricing.name_match, true, 'manual')$$,
  'with its provider, its model and its name'
);
create temp table first_price as select * from pricing.price_history;
select is(
  (pricing.set_price('p', 'm', '{"output_tokens": 6, "input_tokens": "1.5"}')).id, id,
  'the same again is the same price'
)
from first_price;
select results_eq(
  $$select revision, rates -> 0 ->> 'input_tokens'
    from pricing.set_price('p', 'm', '{"input_tokens": 2, "output_tokens": 6}')$$,
  $$values (2, '2')$$, 'another for the same time is a revision'
);
select is(pg_temp.cost(null), '2', 'and it is the revision that holds');
select results_eq(
  'select revision, effective_from, effective_until from pricing.price_history order by revision',
  $$values (1, '2026-03-10 12:00+00'::timestamptz, '2026-03-10 12:00+00'::timestamptz),
    (2, '2026-03-10 12:00+00', null)$$,
  'the history shows both, the first without any time left'
);
select is(
  (select count(*) from pricing.price_history as h inner join first_price as f on h.id = f.id
    and h.rates = f.rates and h.created_at = f.created_at), 1::bigint, 'as it was'
);

-- The past and the future.
select (pricing.set_price('p', 'm', '{"input_tokens": 1, "output_tokens": 1}', '2026-02-01')).id;
select (pricing.set_price('p', 'm', '{"input_tokens": 4, "output_tokens": 1}', '2026-04-01')).id;
select (pricing.set_price('p', 'm', '{"input_tokens": 9, "output_tokens": 1}', '-infinity')).id;
select is(pg_temp.cost(null, v.at::timestamptz), v.cost, 'at ' || v.at)
from (
  values
  ('1999-01-01', '9'), ('2026-01-31 23:59:59.999999+00', '9'), ('2026-02-01 00:00+00', '1'),
  ('2026-03-10 11:59:59.999999+00', '1'), ('2026-03-10 12:00+00', '2'), ('2026-04-01 00:00+00', '4')
) as v (at, cost);
select results_eq(
  $$select rates -> 0 ->> 'input_tokens' from pricing.current_prices$$, $$values ('2')$$,
  'one price holds now'
);

-- Contracts --------------------------------------------------------------------------------------

select results_eq(
  $$select s.acme = c.organization_id, c.source, c.revision from scene as s, pricing.set_price(
      'p', 'm', '{"input_tokens": "1.25", "output_tokens": 1}', '2026-03-01',
      p_organization_id => s.acme
    ) as c$$,
  $$values (true, 'contract', 1)$$, 'a contract'
);
select is(pg_temp.cost(acme), '1.25', 'is what the organization pays') from scene;
select is(pg_temp.cost(acme, '2026-02-28 23:59+00'), '1', 'from then on') from scene;
select is(pg_temp.cost(bravo), '2', 'and nobody else') from scene;
select is(pg_temp.cost(null), '2', 'nor the list') from scene;
select (pricing.set_markup(acme, 100)).percent from scene;
select is(pg_temp.cost(acme), '1.25', 'a contract price is final: no markup goes on it') from scene;
select (pricing.set_price('p', 'm', null, '2026-03-10 11:00+00', p_organization_id => acme)).id
from scene;
select is(pg_temp.cost(acme), '4', 'a contract that has ended gives way to list price and markup')
from scene;
select is(pg_temp.cost(acme, '2026-03-05'), '1.25', 'it held while it held') from scene;

select (pricing.set_model_name('p', 'm-2026', 'm')).model;
select is(
  (select (model, organization_id = bravo)::text from scene, pricing.set_price(
      'p', 'M-2026', '{"input_tokens": 3, "output_tokens": 1}', p_organization_id => bravo
    )),
  '(m,t)', 'a contract by an alias is one on the model'
);
select is(
  (select string_agg(id::text, ',') from pricing.models where provider = 'p'), 'm',
  'which lists no other model'
);
select is(pg_temp.cost(bravo), '3', 'and holds for every name of it') from scene;
select (pricing.set_price('p', 'm', null, p_organization_id => bravo)).id from scene;
select is(
  (pricing.set_price('p', 'M', '{"input_tokens": 2, "output_tokens": 6}')).model::text, 'm',
  'a model is the same in any case'
);

-- Markups ----------------------------------------------------------------------------------------

select (pricing.set_price('q', 'n', '{"input_tokens": 10, "output_tokens": 1}', '2026-01-01')).id;
select (pricing.set_price('p', 'other', '{"input_tokens": 10, "output_tokens": 1}', '2026-01-01')).id;
create function pg_temp.costs(p_org uuid) returns text language sql as $$
  select concat_ws(' ', pg_temp.cost(p_org), pg_temp.cost(p_org, p_model => 'other'), u.cost)
  from pricing.price_usage('n', '{"input_tokens": 1000000}', p_org, 'q') as u
$$;
select is(pg_temp.costs(bravo), '2 10 10', 'list prices') from scene;
select results_eq(
  $$select organization_id = bravo, provider, model, revision, percent::numeric, effective_from
    from scene, pricing.set_markup(bravo, 12.5) as m$$,
  $$values (true, '', '', 1, 12.5, '2026-03-10 12:00+00'::timestamptz)$$, 'a markup on everything'
);
select is(pg_temp.costs(bravo), '2.25 11.25 11.25', 'raises everything') from scene;
select (pricing.set_markup(bravo, 50, 'P')).percent from scene;
select is(pg_temp.costs(bravo), '3 15 11.25', 'that of a provider wins over it') from scene;
select (pricing.set_markup(bravo, -10, 'p', 'M')).percent from scene;
select is(pg_temp.costs(bravo), '1.8 15 11.25', 'that of a model over both, also a discount')
from scene;
select (pricing.set_markup(bravo, null, 'p')).percent from scene;
select is(pg_temp.costs(bravo), '1.8 11.25 11.25', 'one that ended gives way to the wider one')
from scene;
select (pricing.set_markup(bravo, 0, 'p', 'm')).percent from scene;
select is(pg_temp.costs(bravo), '2 11.25 11.25', 'none at all is one too') from scene;
select (pricing.set_markup(bravo, 100, p_effective_from => '2026-03-10 12:00:01+00')).id from scene;
select is(pg_temp.costs(bravo), '2 11.25 11.25', 'one of the future is of the future') from scene;
select is(
  (pricing.set_markup(bravo, 12.5)).id, m.id, 'the same again is the same'
)
from scene inner join pricing.markups as m on m.organization_id = bravo and m.percent = 12.5;
select is(
  (select breakdown -> 'output_tokens' from pricing.price_usage(
      'n', '{"output_tokens": 7}', acme, 'q'
    )),
  '{"count": 7, "usd_per_million": "2", "usd": "0.000014"}'::jsonb,
  'the rates that are shown are those that are charged'
) from scene;

-- Refused ----------------------------------------------------------------------------------------

create temp table before as
select (select count(*) from pricing.price_history) as prices,
  (select count(*) from pricing.markups) as markups, (select count(*) from pricing.models) as models;
select throws_ok('select pricing.set_price(' || v.arguments || ')', v.code, null, v.description)
from (
  values
  ($$'p', 'x', '{"input_tokens": 1}'$$, '22023', 'no rate of output'),
  ($$'p', 'x', '{"output_tokens": 1}'$$, '22023', 'no rate of input'),
  ($$'p', 'x', '{"input_tokens": 1, "output_tokens": -1}'$$, '22023', 'a negative rate'),
  ($$'p', 'x', '{"input_tokens": "NaN", "output_tokens": 1}'$$, '22023', 'a rate that is no number'),
  ($$'p', 'x', '{"input_tokens": 1e-25, "output_tokens": 1}'$$, '22023', 'too many decimals'),
  ($$'p', 'x', '{"input_tokens": 1, "output_tokens": 1, "tokens": 1}'$$, '22023', 'an unknown class'),
  ($$'p', 'x', '[]'$$, '22023', 'no tier'),
  ($$'p', 'x', '[{"above_input_tokens": 5, "input_tokens": 1, "output_tokens": 1}]'$$, '22023',
    'no lowest tier'),
  ($$'p', 'x', '[{"input_tokens": 1, "output_tokens": 1}, {"input_tokens": 1, "output_tokens": 1}]'$$,
    '22023', 'two tiers of the same prompts'),
  ($$'p', ' ', '{"input_tokens": 1, "output_tokens": 1}'$$, '22023', 'a blank model'),
  ($$'p', 'x', '{"input_tokens": 1, "output_tokens": 1}', 'infinity'$$, '22023', 'never'),
  ($$'p', 'x', '{"input_tokens": 1, "output_tokens": 1}',
    p_organization_id => 'a0000000-0000-4000-8000-00000000000f'$$, 'TS404', 'an unknown organization'),
  (format($$'p', 'x', '{"input_tokens": 1, "output_tokens": 1}', p_organization_id => %L$$,
      (select acme from scene)), 'TS404', 'a contract on a model that is not listed'),
  (format($$'nobody', 'm', '{"input_tokens": 1, "output_tokens": 1}', p_organization_id => %L$$,
      (select acme from scene)), 'TS404', 'or of a provider that is not')
) as v (arguments, code, description);
select throws_ok(
  format('select pricing.set_markup(%L, %s)', acme, v.arguments), v.code, null, v.description
)
from scene, (
  values
  ('-100.0001', '22023', 'a discount of more than everything'),
  ($$'NaN'$$, '22023', 'no number'), ('1.00001', '22023', 'too fine a markup'),
  ($$1, p_model => 'm'$$, '22023', 'a model without its provider'),
  ($$1, 'nobody'$$, 'TS404', 'an unknown provider'), ($$1, 'p', 'x'$$, 'TS404', 'an unknown model')
) as v (arguments, code, description);
select results_eq(
  $$select (select count(*) from pricing.price_history), (select count(*) from pricing.markups),
    (select count(*) from pricing.models)$$, 'table before', 'what is refused leaves nothing behind'
);

select * from finish();
rollback;
