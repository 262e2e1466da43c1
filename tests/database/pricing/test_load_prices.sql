-- A whole price list: what it changes, what it leaves, and that a bad one changes nothing.
begin;
select plan(47);

select tests.freeze_clock('2026-03-10 12:00+00');
create function pg_temp.entry(
  p_model text, p_input numeric, p_from text default '-infinity', p_tier text default null
)
returns jsonb language sql as $$
  select jsonb_build_object('provider', 'p', 'model', p_model, 'service_tier', p_tier,
    'effective_from', p_from, 'rates', jsonb_build_object('input_tokens', p_input, 'output_tokens', 1))
$$;
create function pg_temp.list(variadic p_entries jsonb[]) returns jsonb language sql as $$
  select jsonb_build_object(
    'providers', '[{"id": "p", "name": "P", "aliases": ["pp"]}]'::jsonb,
    'names', '[
      {"provider": "p", "match": "exact", "name": "a", "rank": 0, "model_provider": "p", "model": "a",
       "is_default": true},
      {"provider": "p", "match": "exact", "name": "b", "rank": 1, "model_provider": "p", "model": "b",
       "is_default": true},
      {"provider": "p", "match": "prefix", "name": "b-", "rank": 1, "model_provider": "p",
       "model": "b", "is_default": false}]'::jsonb,
    'prices', to_jsonb(p_entries))
$$;
create function pg_temp.load(p_list jsonb, p_version text default '1', p_max_age interval default null)
returns table (said text) language sql as $$
  select concat_ws(' ', change, model, service_tier, effective_from at time zone 'UTC',
    coalesce(old_rates -> 0 ->> 'input_tokens', 'nothing'), '->',
    coalesce(new_rates -> 0 ->> 'input_tokens', 'nothing'))
  from pricing.load_prices('list', p_version, p_list, p_max_age)
$$;
create function pg_temp.cost(p_model text, p_at timestamptz default null) returns text
language sql as $$
  select cost from pricing.price_usage(p_model, '{"input_tokens": 1000000}', p_provider => 'p',
    p_at => p_at)
$$;

-- At first everything is added, the past too.
create temp table lists (version integer, list jsonb);
insert into lists values (1, pg_temp.list(
  pg_temp.entry('a', 1), pg_temp.entry('a', 2, '2026-03-01'), pg_temp.entry('a', 4, '2026-05-01'),
  pg_temp.entry('a', 0.5, p_tier => 'batch'), pg_temp.entry('b', 7)
));
select results_eq(
  'select said from lists, pg_temp.load(list) where version = 1',
  $$values ('added a batch -infinity nothing -> 0.5'), ('added a standard -infinity nothing -> 1'),
    ('changed a standard 2026-03-01 00:00:00 1 -> 2'),
    ('changed a standard 2026-05-01 00:00:00 2 -> 4'),
    ('added b standard -infinity nothing -> 7')$$,
  'a first list is added, with its past and its future'
);
select is(pg_temp.cost('a', v.at::timestamptz), v.cost, 'a at ' || v.at)
from (values ('2026-02-01', '1'), ('2026-03-10', '2'), ('2026-05-01', '4')) as v (at, cost);
select is(pg_temp.cost('b-17'), '7', 'its names are known');
select is(
  (select (source, version, checked_at, max_age)::text from pricing.price_lists where source = 'list'),
  '(list,1,"2026-03-10 12:00:00+00",)', 'and that it was checked'
);
create temp table known as select * from pricing.prices;
select is_empty('select said from lists, pg_temp.load(list) where version = 1',
  'the same list again changes nothing');
select set_eq('table pricing.prices', 'table known', 'not even a row');

-- What holds now is taken over from now on; the past stays as it was known.
select tests.freeze_clock('2026-03-20 00:00+00');
select results_eq(
  $$select said from pg_temp.load(pg_temp.list(
      pg_temp.entry('a', 9), pg_temp.entry('a', 2, '2026-03-01'), pg_temp.entry('a', 4, '2026-05-01'),
      pg_temp.entry('a', 0.5, p_tier => 'batch'), pg_temp.entry('b', 8)), '2')$$,
  $$values ('changed b standard 2026-03-20 00:00:00 7 -> 8')$$,
  'another price holds from now on, and another past is no change'
);
select is(pg_temp.cost('b', '2026-03-19 23:59:59+00'), '7', 'until now it was as it was');
select is(pg_temp.cost('b'), '8', 'now it is as the list says');
select results_eq(
  $$select said from pg_temp.load(pg_temp.list(
      pg_temp.entry('a', 1), pg_temp.entry('a', 2, '2026-03-01'), pg_temp.entry('a', 3, '2026-03-15'),
      pg_temp.entry('a', 5, '2026-05-01'), pg_temp.entry('a', 6, '2026-06-01'),
      pg_temp.entry('a', 0.5, p_tier => 'batch'), pg_temp.entry('b', 8)), '3')$$,
  $$values ('changed a standard 2026-03-15 00:00:00 2 -> 3'),
    ('changed a standard 2026-05-01 00:00:00 4 -> 5'),
    ('changed a standard 2026-06-01 00:00:00 5 -> 6')$$,
  'a beginning that was missed is taken over as it is, what is announced too'
);
select is(pg_temp.cost('a', '2026-03-14'), '2', 'before it, as it was');
select is(pg_temp.cost('a', '2026-03-16'), '3', 'after it, as it is');
select results_eq(
  $$select said from pg_temp.load(pg_temp.list(
      pg_temp.entry('a', 3, '2026-03-15'), pg_temp.entry('a', 0.5, p_tier => 'batch'),
      pg_temp.entry('b', 8)), '4')$$,
  $$values ('changed a standard 2026-05-01 00:00:00 5 -> 3'),
    ('changed a standard 2026-06-01 00:00:00 6 -> 3')$$,
  'what is announced no longer is called off'
);
select is(pg_temp.cost('a', '2027-01-01'), '3', 'and nothing of it comes');

-- What is in the list no longer has ended; what is there again begins again.
select results_eq(
  $$select said from pg_temp.load(pg_temp.list(pg_temp.entry('a', 3, '2026-03-15')), '5')$$,
  $$values ('ended a batch 2026-03-20 00:00:00 0.5 -> nothing'),
    ('ended b standard 2026-03-20 00:00:00 8 -> nothing')$$,
  'what is missing has ended'
);
select throws_ok($$select pg_temp.cost('b')$$, 'TS404', null, 'and has no price');
select is_empty(
  $$select said from pg_temp.load(pg_temp.list(pg_temp.entry('a', 3, '2026-03-15')), '5')$$,
  'once'
);
select tests.freeze_clock('2026-03-21 00:00+00');
select results_eq(
  $$select said from pg_temp.load(pg_temp.list(
      pg_temp.entry('a', 3, '2026-03-15'), pg_temp.entry('b', 8)), '6')$$,
  $$values ('added b standard 2026-03-21 00:00:00 nothing -> 8')$$, 'what is there again begins again'
);

-- What is announced for a tier that has no price now is taken over once, and called off.
create function pg_temp.flex(p_at timestamptz) returns text language sql as $$
  select p.rates -> 0 ->> 'input_tokens' from pricing.price_history as p
  where p.model = 'b' and p.service_tier = 'flex'
    and p.effective_from <= p_at and p_at < coalesce(p.effective_until, 'infinity')
$$;
select results_eq(
  $$select said from pg_temp.load(pg_temp.list(pg_temp.entry('a', 3, '2026-03-15'),
      pg_temp.entry('b', 8), pg_temp.entry('b', 1, '2026-07-01', 'flex'),
      pg_temp.entry('b', 2, '2026-08-01', 'flex')), '6b')$$,
  $$values ('added b flex 2026-07-01 00:00:00 nothing -> 1'),
    ('changed b flex 2026-08-01 00:00:00 1 -> 2')$$, 'a tier that is announced'
);
select is_empty(
  $$select said from pg_temp.load(pg_temp.list(pg_temp.entry('a', 3, '2026-03-15'),
      pg_temp.entry('b', 8), pg_temp.entry('b', 1, '2026-07-01', 'flex'),
      pg_temp.entry('b', 2, '2026-08-01', 'flex')), '6b')$$, 'is announced once'
);
select results_eq(
  $$select said from pg_temp.load(pg_temp.list(pg_temp.entry('a', 3, '2026-03-15'),
      pg_temp.entry('b', 8), pg_temp.entry('b', 1, '2026-09-01', 'flex')), '6c')$$,
  $$values ('ended b flex 2026-07-01 00:00:00 1 -> nothing'),
    ('ended b flex 2026-08-01 00:00:00 2 -> nothing'),
    ('added b flex 2026-09-01 00:00:00 nothing -> 1')$$, 'put off, it begins later'
);
select is(pg_temp.flex('2026-08-31 23:59+00'), null, 'and not before');
select is(pg_temp.flex('2026-09-01'), '1', 'but then');
select results_eq(
  $$select said from pg_temp.load(pg_temp.list(
      pg_temp.entry('a', 3, '2026-03-15'), pg_temp.entry('b', 8)), '6d')$$,
  $$values ('ended b flex 2026-09-01 00:00:00 1 -> nothing')$$, 'called off, it never does'
);
select is(pg_temp.flex('2026-09-01'), null, 'at any time');

-- What was set by hand stays.
select pg_temp.load(pg_temp.list(pg_temp.entry('a', 3, '2026-03-15'), pg_temp.entry('b', 8),
  pg_temp.entry('b', 9, '2026-06-01')), '6e');
select (pricing.set_price('p', 'b', '{"input_tokens": 100, "output_tokens": 1}')).id;
select (pricing.set_model_name('p', 'a', 'b')).model;
select results_eq(
  $$select said from pg_temp.load(pg_temp.list(
      pg_temp.entry('a', 3, '2026-03-15'), pg_temp.entry('b', 8)), '7')$$,
  $$values ('kept b standard 2026-03-21 00:00:00 100 -> 8')$$, 'a price by hand is kept, and said'
);
select is(pg_temp.cost('b'), '100', 'and holds');
select is(pg_temp.cost('b', '2026-06-01'), '100', 'also when what a list announced before comes');
select is(pg_temp.cost('a'), '100', 'a name by hand too');
select (pricing.set_price('p', 'b', '{"input_tokens": 101, "output_tokens": 1}')).id;
select is(pg_temp.cost('b', '2026-06-01'), '101', 'nor does it bring back what was set by hand before');
select (pricing.set_price('p', 'b', null)).id;
select throws_ok(
  format('select pg_temp.cost(%L, %L)', 'b', '2026-06-01'), 'TS404', null, 'also where it has ended'
);
select results_eq(
  $$select said from pg_temp.load(pg_temp.list(
      pg_temp.entry('a', 3, '2026-03-15'), pg_temp.entry('b', 8)), '8')$$,
  $$values ('added b standard 2026-03-21 00:00:00 nothing -> 8'),
    ('added b standard 2026-06-01 00:00:00 nothing -> 8')$$,
  'one that was ended by hand is the list''s again, also for later'
);

-- Stale ------------------------------------------------------------------------------------------

select is_empty($$select said from pg_temp.load(pg_temp.list(
    pg_temp.entry('a', 3, '2026-03-15'), pg_temp.entry('b', 8)), '9', '30 days')$$, 'trusted for a month');
select tests.freeze_clock('2026-04-20 00:00+00');
select is(pg_temp.cost('b'), '8', 'on its last day it holds');
select tests.freeze_clock('2026-04-20 00:00:01+00');
select is(
  tests.facts_of($$select pg_temp.cost('b')$$) ->> 'reason', 'stale_price', 'then nobody knows'
);
select is((select bool_and(is_stale) from pricing.current_prices where source = 'list'), true, 'and it shows');

-- A list that is wrong ---------------------------------------------------------------------------

create temp table before as
select (select count(*) from pricing.prices) as prices,
  (select count(*) from pricing.model_names) as names,
  (select version from pricing.price_lists where source = 'list')::text as version;
select set_eq(
  $$select tests.facts_of(format('select pricing.load_prices(%L, %L, %L)', 'list', '10', w.list)) ? 'rule',
      w.description
    from (
      values
      (null, 'no list'), ('[]'::jsonb, 'no object'),
      (pg_temp.list(pg_temp.entry('a', 1)) - 'names', 'a part missing'),
      (pg_temp.list(pg_temp.entry('a', 1)) || '{"prices": []}', 'no price'),
      (pg_temp.list(pg_temp.entry('a', 1), pg_temp.entry('b', -1)), 'one bad rate among good ones'),
      (pg_temp.list(pg_temp.entry('a', 1), pg_temp.entry('b', 1) - 'effective_from'), 'no beginning'),
      (pg_temp.list(pg_temp.entry('a', 1, 'someday')), 'a beginning that is no time'),
      (pg_temp.list(pg_temp.entry('a', 1), pg_temp.entry('a', 2)), 'two prices at once'),
      (pg_temp.list(pg_temp.entry('a', 1), pg_temp.entry('b', 1) || '{"provider": "q"}'),
        'a provider that is not in it'),
      (jsonb_set(pg_temp.list(pg_temp.entry('a', 1)), '{names,1,model}', '"x"'),
        'a name of a model that is not in it'),
      (pg_temp.list(pg_temp.entry('a', 1)) || '{"names": [{"provider": "p", "match": "regex",
        "name": "(", "rank": 0, "model_provider": "p", "model": "a", "is_default": false}]}',
        'a pattern that is none'),
      (pg_temp.list(pg_temp.entry('a', 1)) || '{"providers": [{"id": "p", "name": "Q", "aliases": []},
        {"id": "p", "name": "R", "aliases": []}]}', 'a provider twice')
    ) as w (list, description)$$,
  $$select true, d from unnest(array['no list', 'no object', 'a part missing', 'no price',
      'one bad rate among good ones', 'no beginning', 'a beginning that is no time',
      'two prices at once', 'a provider that is not in it',
      'a name of a model that is not in it', 'a pattern that is none', 'a provider twice']) as d$$,
  'a bad list is refused with a rule'
);
select results_eq(
  $$select (select count(*) from pricing.prices), (select count(*) from pricing.model_names),
    (select version from pricing.price_lists where source = 'list')::text$$,
  'table before', 'and changes nothing'
);
select throws_ok(
  format('select pricing.load_prices(%s)', v.arguments), '22023', null, v.description
)
from lists, lateral (
  values
  (format('%L, %L, %L', 'manual', '1', list), 'a list cannot be what is set by hand'),
  (format('%L, %L, %L', 'contract', '1', list), 'nor a contract'),
  (format('%L, null, %L', 'list', list), 'it has a version'),
  (format('%L, %L, %L, %L', 'list', '1', list, '0 days'), 'and an age above nothing'),
  (format('%L, %L, %L, %L', 'list', '1', list, '101 years'), 'that ends')
) as v (arguments, description)
where version = 1;

-- Two lists --------------------------------------------------------------------------------------

select pricing.load_prices('other', '1', '{
  "providers": [{"id": "z", "name": "Z", "aliases": ["zz", "pp"]}],
  "names": [{"provider": "z", "match": "exact", "name": "z-1", "rank": 0, "model_provider": "z",
    "model": "z-1", "is_default": true}],
  "prices": [{"provider": "z", "model": "z-1", "effective_from": "-infinity",
    "rates": {"input_tokens": 1, "output_tokens": 1}}]}');
select pg_temp.load(pg_temp.list(pg_temp.entry('a', 3, '2026-03-15'), pg_temp.entry('b', 8)), '11');
select results_eq(
  'select name::text, provider::text, source::text from pricing.provider_names order by name',
  $$values ('pp', 'p', 'list'), ('zz', 'z', 'other')$$,
  'each has its names of providers; the first keeps what both have'
);
select is(
  (pricing.price_usage('z-1', '{"input_tokens": 1000000}', p_provider => 'zz')).cost, '1',
  'and its prices'
);

select * from finish();
rollback;
