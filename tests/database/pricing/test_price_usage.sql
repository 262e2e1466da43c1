-- What a usage costs. Every amount here was computed by hand from the rates above it.
begin;
select plan(77);

create temp table scene as select tests.organization('Acme') as org;
select tests.freeze_clock('2026-03-10 12:00+00');

-- Prices, US dollars per million.
create temp table priced (provider text, model text, tier text, rates jsonb);
insert into priced values
('anthropic', 'claude', null, '[
  {"input_tokens": 3, "cache_read_tokens": "0.30", "cache_write_5m_tokens": 3.75,
   "cache_write_1h_tokens": 6, "output_tokens": 15, "web_searches": 10000},
  {"above_input_tokens": 200000, "input_tokens": 6, "cache_read_tokens": 0.6,
   "cache_write_5m_tokens": 7.5, "cache_write_1h_tokens": 12, "output_tokens": 22.5,
   "web_searches": 10000}]'),
('anthropic', 'claude', 'batch', '{"input_tokens": 1.5, "cache_read_tokens": 0.15,
  "cache_write_5m_tokens": 1.875, "cache_write_1h_tokens": 3, "output_tokens": 7.5}'),
('openai', 'gpt', null, '{"input_tokens": 2.5, "cache_read_tokens": 1.25, "output_tokens": 10}'),
('openai', 'gpt', 'priority', '{"input_tokens": 4.25, "output_tokens": 17}'),
('openai', 'gpt', 'flex', '{"input_tokens": 1.25, "output_tokens": 5}'),
('openai', 'gpt-audio', null, '{"input_tokens": 2.5, "input_audio_tokens": 40,
  "cache_read_tokens": 1.25, "output_tokens": 10, "output_audio_tokens": 80}'),
('google', 'gemini-image', null, '{"input_tokens": 0.3, "output_tokens": 2.5,
  "output_image_tokens": 30, "input_audio_tokens": 1, "cache_read_audio_tokens": 0.1,
  "cache_read_tokens": 0.03}'),
('perplexity', 'research', null, '{"input_tokens": 2, "output_tokens": 8, "reasoning_tokens": 3,
  "requests": 5000}'),
('voyage', 'embed', null, '{"input_tokens": 0.12, "output_tokens": 0}'),
('free', 'gratis', null, '{"input_tokens": 0, "output_tokens": 0}'),
('tiny', 'rounded', null, '{"input_tokens": "0.0000005", "output_tokens": "0.0000015"}');
select (pricing.set_price(provider, model, rates, '2026-01-01', tier)).id from priced;

select is(
  (pricing.price_usage(v.model, v.usage::jsonb, p_service_tier => v.tier)).cost, v.cost,
  v.description
)
from (
  values
  ('gpt', null, '{"input_tokens": 1000, "output_tokens": 200}', '0.0045', 'input and output'),
  ('gpt', null, '{"input_tokens": 1}', '0.0000025', 'one token'),
  ('gpt', null, '{}', '0', 'nothing'),
  ('gpt', null, '{"input_tokens": 0, "output_tokens": null}', '0', 'nothing, said twice'),
  ('gpt', null, '{"input_tokens": 2147483647}', '5368.7091175', 'as many as there can be'),
  -- Cached tokens are counted once: not at the full rate too, and not for nothing.
  ('claude', null, '{"input_tokens": 1000, "cache_read_tokens": 9000, "output_tokens": 100}',
    '0.0072', 'cache reads beside the uncached input'),
  ('claude', null, '{"cache_read_tokens": 9000}', '0.0027', 'cache reads alone'),
  ('claude', null, '{"cache_write_5m_tokens": 1000}', '0.00375', 'a cache write for five minutes'),
  ('claude', null, '{"cache_write_1h_tokens": 1000}', '0.006', 'a cache write for an hour'),
  ('claude', null,
    '{"input_tokens": 10, "cache_write_5m_tokens": 100, "cache_write_1h_tokens": 1000,
      "cache_read_tokens": 10000, "output_tokens": 1}', '0.00942',
    'all kinds of input: 30 + 375 + 6000 + 3000 + 15 millionths'),
  ('gpt', null, '{"cache_write_5m_tokens": 1000, "cache_write_1h_tokens": 1000}', '0.005',
    'cache writes that have no rate are input'),
  ('gpt', null, '{"cache_read_audio_tokens": 1000}', '0.00125',
    'cached audio without a rate is a cache read'),
  -- The context tier goes by the whole prompt and holds for the whole call.
  ('claude', null, '{"input_tokens": 200000, "output_tokens": 1000}', '0.615',
    'a prompt at the threshold is in the lower tier'),
  ('claude', null, '{"input_tokens": 200001, "output_tokens": 1000}', '1.222506',
    'one token more, and every token costs more'),
  ('claude', null,
    '{"input_tokens": 150000, "cache_read_tokens": 50001, "output_tokens": 1000}', '0.9525006',
    'cached tokens count to the prompt'),
  ('claude', null, '{"input_tokens": 150000, "output_tokens": 60000}', '1.35',
    'output does not'),
  -- Service tiers.
  ('gpt', 'priority', '{"input_tokens": 1000, "output_tokens": 200}', '0.00765', 'priority'),
  ('gpt', 'Flex', '{"input_tokens": 1000, "output_tokens": 200}', '0.00225', 'flex, as spelled'),
  ('gpt', 'auto', '{"input_tokens": 1000, "output_tokens": 200}', '0.0045', 'auto is standard'),
  ('gpt', 'priority',
    '{"input_tokens": 1000, "output_tokens": 200, "service_tier": "default"}', '0.0045',
    'asked for priority, served as usual: as usual'),
  ('gpt', null, '{"input_tokens": 1000, "output_tokens": 200, "service_tier": "flex"}', '0.00225',
    'the served tier, where another was asked for'),
  ('claude', 'batch', '{"input_tokens": 1000, "cache_read_tokens": 1000, "output_tokens": 100}',
    '0.0024', 'the batch discount, cache reads too'),
  -- Reasoning is output, at its own rate where it has one.
  ('gpt', null, '{"output_tokens": 100, "reasoning_tokens": 900}', '0.01',
    'reasoning beside the output'),
  ('gpt', null, '{"output_tokens": 1000}', '0.01', 'as within it'),
  ('research', null, '{"output_tokens": 100, "reasoning_tokens": 900}', '0.0085',
    'reasoning at a rate of its own, and the request'),
  ('research', null, '{"requests": 3}', '0.015', 'requests, as stated'),
  ('research', null, '{"requests": 0, "input_tokens": 5}', '0.00001',
    'a request that is said to be part of another is no further one'),
  ('claude', null, '{"web_searches": 2, "output_tokens": 100}', '0.0215', 'searches'),
  ('gpt', null, '{"web_searches": 2, "file_searches": 5}', '0', 'searches without a rate'),
  -- Audio and images.
  ('gpt-audio', null,
    '{"input_tokens": 100, "input_audio_tokens": 1000, "output_tokens": 50,
      "output_audio_tokens": 500}', '0.08075', 'audio beside text'),
  ('gpt', null, '{"input_audio_tokens": 1000, "output_audio_tokens": 500}', '0.0075',
    'audio without a rate is text'),
  ('gemini-image', null, '{"input_tokens": 100, "output_image_tokens": 1290}', '0.03873', 'an image'),
  ('gemini-image', null, '{"cache_read_audio_tokens": 1000, "cache_read_tokens": 1000}', '0.00013',
    'cached audio at a rate of its own'),
  ('embed', null, '{"input_tokens": 1000}', '0.00012', 'an embedding'),
  ('gratis', null, '{"input_tokens": 1000, "output_tokens": 9}', '0', 'a free model'),
  -- 0.5, 1.5 and 2.5 trillionths: one rounding, ties to the even digit.
  ('rounded', null, '{"input_tokens": 1}', '0', 'half a trillionth'),
  ('rounded', null, '{"output_tokens": 1}', '0.000000000002', 'one and a half'),
  ('rounded', null, '{"input_tokens": 2, "output_tokens": 1}', '0.000000000002',
    'two and a half: rounded after the sum, not before'),
  ('rounded', null, '{"input_tokens": 3}', '0.000000000002', 'one and a half again')
) as v (model, tier, usage, cost, description);

-- The breakdown says how.
select results_eq(
  $$select cost, provider, model, service_tier, effective_from, above_input_tokens, prompt_tokens,
      completion_tokens, breakdown
    from pricing.price_usage('claude',
      '{"input_tokens": 150000, "cache_read_tokens": 50001, "output_tokens": 3}')$$,
  $$values ('0.9300681', 'anthropic', 'claude', 'standard', '2026-01-01 00:00+00'::timestamptz,
    200000, 200001::bigint, 3::bigint, '{
      "input_tokens": {"count": 150000, "usd_per_million": "6", "usd": "0.9"},
      "cache_read_tokens": {"count": 50001, "usd_per_million": "0.6", "usd": "0.0300006"},
      "output_tokens": {"count": 3, "usd_per_million": "22.5", "usd": "0.0000675"}}'::jsonb)$$,
  'by which price, tier and rates'
);
select is(
  (select breakdown from pricing.price_usage('research', '{"input_tokens": 1}')),
  '{"input_tokens": {"count": 1, "usd_per_million": "2", "usd": "0.000002"},
    "requests": {"count": 1, "usd_per_million": "5000", "usd": "0.005"}}'::jsonb,
  'with the request, where it is charged'
);

-- Names ------------------------------------------------------------------------------------------

select (pricing.set_model_name('openai', 'gpt-2026-01-01', 'gpt')).model;
select (pricing.set_model_name('openai', 'ft:gpt:', 'gpt', 'prefix')).model;
select (pricing.set_model_name('openai', 'ft:gpt:audio', 'gpt-audio', 'prefix')).model;
select (pricing.set_model_name('google', 'publishers/anthropic/models/claude', 'claude', 'exact',
  'anthropic')).model;
select (pricing.set_model_name('perplexity', '^sonar-\d+$', 'research', 'regex')).model;
select (pricing.set_model_name('perplexity', '-deep', 'research', 'suffix')).model;
insert into pricing.provider_names values ('azure.ai.openai', 'openai', 'manual');

select is(
  (select (u.provider, u.model)::text
    from pricing.price_usage(v.model, '{}', p_provider => v.provider) as u),
  v.found, v.description
)
from (
  values
  ('gpt', null, '(openai,gpt)', 'a model by its listed name'),
  ('GPT', 'OpenAI', '(openai,gpt)', 'in any case'),
  ('gpt-2026-01-01', null, '(openai,gpt)', 'by an alias'),
  ('gpt-20260101', 'openai', '(openai,gpt)', 'with its date written in one'),
  ('openai/gpt-2026-01-01', null, '(openai,gpt)', 'with its provider before it'),
  ('gpt', 'azure.ai.openai', '(openai,gpt)', 'of a provider by another name'),
  ('ft:gpt:mine', 'openai', '(openai,gpt)', 'by a prefix'),
  ('ft:gpt:audio-1', 'openai', '(openai,gpt-audio)', 'by the longest prefix'),
  ('publishers/anthropic/models/claude', 'google', '(anthropic,claude)', 'sold by another'),
  ('sonar-7', 'perplexity', '(perplexity,research)', 'by a pattern'),
  ('very-deep', 'perplexity', '(perplexity,research)', 'by a suffix')
) as v (model, provider, found, description);

select is(
  tests.facts_of(format('select pricing.price_usage(%L, %L, p_provider => %L, p_service_tier => %L)',
    v.model, '{"input_tokens": 1}', v.provider, v.tier)) ->> 'reason',
  'unpriced_model', v.description || ' has no price'
)
from (
  values
  ('gpt-5', null, null, 'an unknown model'),
  ('gpt', 'anthropic', null, 'a model of another provider'),
  ('gpt', 'nobody', null, 'a model of an unknown provider'),
  ('sonar-x', 'perplexity', null, 'what does not fit the pattern'),
  ('claude', null, 'priority', 'a tier that is not sold')
) as v (model, provider, tier, description);

-- Arguments --------------------------------------------------------------------------------------

select throws_ok(
  format('select pricing.price_usage(%s)', v.arguments), v.code, null, v.description
)
from (
  values
  ($$'gpt-5', '{}'$$, 'TS404', 'an unknown model'),
  ($$null, '{}'$$, '22023', 'no model'),
  ($$'gpt', '[]'$$, '22023', 'a usage that is no object'),
  ($$'gpt', '{"input_tokens": -1}'$$, '22023', 'a negative count'),
  ($$'gpt', '{"input_tokens": 1.5}'$$, '22023', 'half a token'),
  ($$'gpt', '{"input_tokens": "1"}'$$, '22023', 'a count in words'),
  ($$'gpt', '{"cached_tokens": 1}'$$, '22023', 'a class that is none'),
  ($$'gpt', '{"cached_tokens": 0}'$$, '22023', 'also where it is nothing'),
  ($$'gpt', '{"input_tokens": 2147483647, "cache_read_tokens": 1}'$$, '22023',
    'more tokens than a call can have'),
  ($$'gpt', '{"service_tier": 7}'$$, '22023', 'a tier that is no text'),
  ($$'gpt', '{"service_tier": " "}'$$, '22023', 'a blank tier'),
  ($$'gpt', '{"is_estimate": "yes"}'$$, '22023', 'a guess that is no boolean'),
  ($$'gpt', '{}', 'a0000000-0000-4000-8000-00000000000f'$$, 'TS404', 'an unknown organization')
) as v (arguments, code, description);

-- Time -------------------------------------------------------------------------------------------

select (pricing.set_price('openai', 'gpt', '{"input_tokens": 2, "output_tokens": 8}',
  '2026-03-01')).id;
select (pricing.set_price('openai', 'gpt', null, '2026-06-01')).id;
select is(
  (pricing.price_usage('gpt', '{"input_tokens": 1000000}', p_at => v.at::timestamptz)).cost, v.cost,
  'at ' || v.at
)
from (
  values
  ('2026-01-01 00:00+00', '2.5'), ('2026-02-28 23:59:59.999999+00', '2.5'),
  ('2026-03-01 00:00+00', '2'), ('2026-05-31 23:59:59.999999+00', '2')
) as v (at, cost);
select throws_ok(
  format('select pricing.price_usage(%L, %L, p_at => %L)', 'gpt', '{}', v.at), 'TS404', null,
  'no price at ' || v.at
)
from unnest(array['2025-12-31 23:59:59+00', '2026-06-01 00:00+00', 'infinity']) as v (at);

select * from finish();
rollback;
