-- From token counts to a hold, from a usage to a cost: by one price, whatever holds meanwhile.
begin;
select plan(84);

select tests.freeze_clock('2026-03-10 12:00+00');
create temp table scene as
select o.org, tests.workflow(o.org) as workflow, tests.member(o.org) as person
from (select tests.organization('Acme') as org) as o;
create temp table prices as
select (pricing.set_price('openai', 'gpt', '{"input_tokens": 2.5, "cache_read_tokens": 1.25,
  "output_tokens": 10}', '2026-01-01')).id as gpt;
select (pricing.set_price('openai', 'gpt', '{"input_tokens": 5, "output_tokens": 20}', '2026-01-01',
  'priority')).id;
select (pricing.set_model_name('openai', 'gpt-2026', 'gpt')).model;
select (pricing.set_price('free', 'gratis', '{"input_tokens": 0, "output_tokens": 0}')).id;
select (pricing.set_price('acme', 'long', '[{"input_tokens": 1, "output_tokens": 1},
  {"above_input_tokens": 1000, "input_tokens": 2, "output_tokens": 3}]')).id;
select (pricing.set_price('acme', 'thinker', '{"input_tokens": 1, "output_tokens": 2,
  "reasoning_tokens": 4, "requests": 1000}')).id;
select (pricing.set_price('acme', 'embed', '{"input_tokens": 1, "output_tokens": 0}')).id;
select (pricing.set_price('acme', 'tiny', '{"input_tokens": 0.0000003, "output_tokens": 1}')).id;

create function pg_temp.ask(
  p_model text, p_input bigint, p_output bigint, p_cost numeric default null,
  p_tier text default null, p_partial boolean default false, p_minimum numeric default null,
  p_request text default null, p_tags jsonb default '{}'
)
returns metering.spend_decision language sql as $$
  select d.* from scene, authorize_spend(
    org, p_model, p_cost, p_input, p_output, p_service_tier => p_tier, p_allow_partial => p_partial,
    p_minimum => p_minimum, p_request_id => p_request, p_tags => p_tags, p_expires_in => '1 day'
  ) as d
$$;

-- Estimates --------------------------------------------------------------------------------------

select is(
  (select concat_ws(' ', decision, held_usd, affordable_output_tokens, reason)
    from pg_temp.ask(v.model, v.input, v.output, v.cost, v.tier)),
  v.answer, v.description
)
from (
  values
  ('gpt', 1000, 500, null, null, 'granted 0.0075 500', 'input and output by their rates'),
  ('gpt', 1000, 0, null, null, 'granted 0.0025 0', 'an answer that may have no token'),
  ('gpt-2026', 1000, 500, null, null, 'granted 0.0075 500', 'by an alias'),
  ('gpt', 1000, 500, null, 'priority', 'granted 0.015 500', 'by the tier that is asked for'),
  ('gpt', 1000, 500, 0.02, null, 'granted 0.02 1750', 'a server that states a cost knows it'),
  ('gpt', 1000, 500, 0.003, null, 'granted 0.003 50', 'also where it is less'),
  ('gpt', 1000, null, 0.003, null, 'granted 0.003 50', 'and one side of the tokens will do'),
  ('gpt', null, null, 0.003, null, 'granted 0.003', 'or none'),
  ('long', 1000, 10, null, null, 'granted 0.00101 10', 'a prompt at the threshold'),
  ('long', 1001, 10, null, null, 'granted 0.002032 10', 'a prompt above it'),
  ('thinker', 1000, 10, null, null, 'granted 0.00204 10',
    'output that may be reasoning is held as the dearer, with the request'),
  ('gratis', 1000, 10, null, null, 'granted 0', 'a free model holds nothing'),
  ('embed', 1000, 0, null, null, 'granted 0.001', 'a model whose output is free'),
  ('embed', 0, 10, null, null, 'granted 0.000000000001', 'only of what is free: not for nothing'),
  ('tiny', 1, 0, null, null, 'granted 0.000000000001 0', 'less than can be held: not for nothing'),
  ('unknown', 1000, 10, 0.003, null, 'granted 0.003', 'a server may state what no price says'),
  ('unknown', 1000, 10, null, null, 'denied unpriced_model', 'without that it is denied'),
  ('gpt', 1000, 10, null, 'scale', 'denied unpriced_model', 'so is a tier without a price'),
  ('gpt', 9223372036854775807, 1, 1, null, 'granted 1 0', 'more input than money')
) as v (model, input, output, cost, tier, answer, description);
select throws_ok(
  format('select pg_temp.ask(%s)', v.arguments), '22023', null, v.description
)
from (
  values
  ($$'gpt', 1000, null$$, 'no word on the output'), ($$'gpt', null, 500$$, 'none on the input'),
  ($$'gpt', null, null$$, 'none at all'), ($$'gpt', -1, 500$$, 'negative tokens'),
  ($$'gpt', 0, 0$$, 'a call of no tokens'),
  ($$'gpt', 1000, 500, 0$$, 'a stated estimate of nothing'),
  ($$'gpt', 9223372036854775807, 9223372036854775807$$, 'an estimate of a trillion')
) as v (arguments, description);
select is(
  (select concat_ws(' ', decision, held_usd, affordable_output_tokens, reason)
    from scene, estimate_spend(org, v.model, p_input_tokens => 1000, p_max_output_tokens => 500)),
  v.answer, 'estimate_spend says: ' || v.answer
)
from (
  values ('gpt', 'granted 0.0075 500'), ('unknown', 'denied unpriced_model')
) as v (model, answer);

-- What is left of a budget is said in tokens, and granted in part if that will do.
select tests.cap(org, 'tag', 'team=small', 'total', 0.004) from scene;
select is(
  (select concat_ws(' ', decision, held_usd, remaining_usd, affordable_output_tokens, reason)
    from pg_temp.ask('gpt', 1000, 500, p_partial => v.partial, p_minimum => v.minimum,
      p_tags => '{"team": "small"}')),
  v.answer, v.description
)
from (
  values
  (1, false, null, 'denied 0.004 150 budget_exceeded', 'how many tokens would still fit'),
  (2, true, 0.0041, 'denied 0.004 150 budget_exceeded', 'a minimum that does not fit'),
  (3, true, null, 'granted 0.004 150', 'what is left, down to the input and one token'),
  (4, true, null, 'denied 0 0 budget_exceeded', 'not below that')
) as v (number, partial, minimum, answer, description)
order by v.number;

-- A tenant needs a price, and may only state more ------------------------------------------------

grant select on scene to public;
select tests.act_as('authenticated', person) from scene;
select is(
  (select concat_ws(' ', decision, held_usd, reason) from pg_temp.ask(v.model, v.input, v.output,
      v.cost)),
  v.answer, 'a member: ' || v.description
)
from (
  values
  ('gpt', 1000, 500, null, 'granted 0.0075', 'by tokens'),
  ('gpt', 1000, 500, 0.001, 'granted 0.0075', 'stating less than they cost'),
  ('gpt', 1000, 500, 1, 'granted 1', 'stating more'),
  ('gpt', null, null, 0.001, 'granted 0.001', 'stating a cost alone'),
  ('unknown', null, null, 1, 'denied unpriced_model', 'for a model without a price'),
  (null, null, null, 1, 'denied unpriced_model', 'for no model')
) as v (model, input, output, cost, answer, description);
select set_config('role', 'none', true);
-- A cap on a model holds for every name of it.
select tests.cap(org, 'model', 'gpt', 'total', 1.01) from scene;
select tests.act_as('authenticated', person) from scene;
select is(
  (select concat_ws(' ', decision, reason) from pg_temp.ask(model, 1000, 500)), answer,
  'capped as gpt, called as ' || model
)
from (
  values ('gpt', 'denied budget_exceeded'), ('gpt-2026', 'denied budget_exceeded'),
  ('openai/gpt', 'denied budget_exceeded'), ('OPENAI/GPT-2026', 'denied budget_exceeded'),
  ('embed', 'granted')
) as v (model, answer);
select set_config('role', 'none', true);
-- Also for calls whose cost is stated, and for what is recorded without a hold.
select is(
  (select concat_ws(' ', decision, reason) from pg_temp.ask(model, null, null, 1)), answer,
  'a server states what it costs, called as ' || model
)
from (
  values ('gpt', 'denied budget_exceeded'), ('openai/gpt-2026', 'denied budget_exceeded'),
  ('embed', 'granted')
) as v (model, answer);
select record_usage_and_increment(workflow, org, 'GPT-2026', 1, 1, 0.001) from scene;
select results_eq(
  $$select model::text, listed_model::text, provider::text, b.settled
    from ai_usage_ledger, scene, tests.figures(tests.budget(org, 'model', 'gpt', 'total')) as b$$,
  $$values ('GPT-2026', 'gpt', 'openai', 0.001)$$, 'what is recorded without a hold counts on it'
);
select is(
  (metering.set_budget(org, 'model', 'openai/gpt-2026', 'total', 2)).scope_key::text, 'model:gpt',
  'a cap on an alias is one on the model'
)
from scene;
select u.model from scene, metering.remove_budget(org, 'model', 'GPT-2026', 'total') as u (model);

-- Settlements ------------------------------------------------------------------------------------

create function pg_temp.used(
  p_usage jsonb, p_cost numeric default null, p_model text default 'gpt', p_tier text default null,
  p_estimate numeric default null
)
returns public.ai_usage_ledger language plpgsql as $$
declare
  v_usage public.ai_usage_ledger;
begin
  select u.* into v_usage
  from settle_spend(
    (pg_temp.ask(p_model, 1000, 500, p_estimate, p_tier)).hold_id, p_usage, p_cost
  ) as u;
  return v_usage;
end
$$;
select results_eq(
  $$select u.model::text, listed_model::text, provider::text, prompt_tokens::integer,
      completion_tokens::integer, token_counts, cost::numeric, cost_basis, price_id = gpt, rates,
      zero_cost_reason, settlement
    from prices, pg_temp.used('{"input_tokens": 100, "cache_read_tokens": 900, "output_tokens": 20,
      "reasoning_tokens": 30, "cache_write_5m_tokens": 0}', p_model => 'gpt-2026') as u$$,
  $$values ('gpt-2026', 'gpt', 'openai', 1000, 50,
    '{"input_tokens": 100, "cache_read_tokens": 900, "output_tokens": 20,
      "reasoning_tokens": 30}'::jsonb,
    0.001875, 'priced'::metering.cost_basis, true,
    '{"input_tokens": "2.5", "cache_read_tokens": "1.25", "output_tokens": "10",
      "reasoning_tokens": "10"}'::jsonb, null::metering.zero_cost_reason,
    'on_hold'::metering.settlement)$$,
  'a usage keeps its classes, its price and its rates'
);
select is(
  (select concat_ws(' ', trim_scale(cost), cost_basis, price_id is not null, service_tier,
      zero_cost_reason)
    from pg_temp.used(v.usage::jsonb, v.cost, v.model, v.tier)),
  v.answer, v.description
)
from (
  values
  ('{"input_tokens": 1000}', 0.5, 'gpt', null, '0.5 stated t',
    'a stated cost beside tokens wins, and it shows which price it passed over'),
  (null, 0.5, 'gpt', null, '0.5 stated t', 'also without tokens'),
  ('{"input_tokens": 1000, "is_estimate": true}', null, 'gpt', null, '0.0025 estimated t',
    'tokens that nobody reported'),
  ('{"is_estimate": true}', 0.5, 'gpt', null, '0.5 estimated t', 'a cost that is a guess'),
  ('{"input_tokens": 1000, "service_tier": "priority"}', null, 'gpt', null, '0.005 priced t priority',
    'served better than was asked for'),
  ('{"input_tokens": 1000, "service_tier": "default"}', null, 'gpt', 'priority',
    '0.0025 priced t default', 'served less than was asked for'),
  ('{"input_tokens": 1000}', null, 'gpt', 'priority', '0.005 priced t priority',
    'served as asked for, as far as is known'),
  ('{"input_tokens": 1000, "service_tier": "scale"}', null, 'gpt', null, '0.0025 estimated t scale',
    'a tier without a price is charged by the price that was pinned: a guess'),
  ('{"input_tokens": 1001, "output_tokens": 1}', null, 'long', null, '0.002005 priced t',
    'the context tier of what was used'),
  ('{"output_tokens": 1}', null, 'thinker', null, '0.001002 priced t', 'a request is charged once'),
  ('{}', null, 'gpt', null, '0 priced t', 'nothing was used'),
  ('{"input_tokens": 1000}', null, 'gratis', null, '0 priced t free_model', 'for nothing: a free model'),
  ('{"input_tokens": 1}', null, 'tiny', null, '0 priced t below_precision', 'for nothing: too little'),
  ('{"input_tokens": 1}', 0, 'gpt', null, '0 stated t stated', 'for nothing: because somebody said so')
) as v (usage, cost, model, tier, answer, description);

-- The price that was pinned ----------------------------------------------------------------------

-- The id of a hold says when it was made to the millisecond; its prices began within that too.
select tests.freeze_clock('2026-03-10 12:00:00.0005+00');
select (pricing.set_price('acme', 'embed', '{"input_tokens": 7, "output_tokens": 0}',
  p_service_tier => 'priority')).id;
select is(
  (select trim_scale(cost)
    from pg_temp.used('{"input_tokens": 1000, "service_tier": "priority"}', p_model => 'embed')),
  0.007, 'a price as old as the call is one that was known'
);

create temp table pinned as select (pg_temp.ask('gpt', 1000, 500)).hold_id as hold;
create temp table aliased as
select (pg_temp.ask('gpt-2026', null, null, 1)).hold_id as hold;
select tests.cap(org, 'tag', 'team=retrying', 'total', 0.004) from scene;
create function pg_temp.retry() returns text language sql as $$
  select concat_ws(' ', decision, hold_id, held_usd, affordable_output_tokens) from pg_temp.ask(
    'gpt', 1000, 500, p_partial => true, p_minimum => 0.003, p_request => 'partly',
    p_tags => '{"team": "retrying"}'
  )
$$;
create temp table partly as select pg_temp.retry() as answer;
create temp table unpinned as select (pg_temp.ask('unknown', 1000, 500, 1)).hold_id as hold;
create temp table tiered as select (pg_temp.ask('gpt', 1000, 500)).hold_id as hold;
create temp table keyed as select (pg_temp.ask('gpt', 1000, 500, p_request => 'r')).hold_id as hold;
create temp table raised as select (pg_temp.ask('gpt', 1000, 500)).hold_id as hold;
-- At midnight everything is dearer, and so it is said to have been all along.
select tests.freeze_clock('2026-03-11 00:00+00');
select (pricing.set_price('openai', 'gpt', '{"input_tokens": 100, "output_tokens": 100}')).id;
select (pricing.set_price('openai', 'gpt', '{"input_tokens": 50, "output_tokens": 50}',
  '2026-03-01')).id;
select (pricing.set_price('openai', 'gpt', '{"input_tokens": 60, "output_tokens": 60}',
  '2026-03-01', 'priority')).id;
select (pricing.set_price('acme', 'unknown', '{"input_tokens": 3, "output_tokens": 3}',
  '2026-03-01')).id;
select (pricing.set_markup(org, 100, p_effective_from => '2026-03-01')).id from scene;
select is(
  trim_scale((settle_spend(hold, '{"input_tokens": 1000, "output_tokens": 100}')).cost), 0.0035,
  'a hold is settled by the price it was made by'
)
from pinned;
select is(
  trim_scale((settle_spend(hold, '{"input_tokens": 1000, "service_tier": "priority"}')).cost), 0.005,
  'by another tier''s as it was known then'
)
from tiered;
select is(pg_temp.retry(), answer, 'a retry is answered in tokens of the price it was made by')
from partly;
select (pricing.set_model_name('openai', 'gpt-2026', 'gpt-7')).model
from pricing.set_price('openai', 'gpt-7', '{"input_tokens": 9, "output_tokens": 9}', '2026-01-01');
select is(
  (select concat_ws(' ', trim_scale(cost), listed_model)
    from settle_spend(hold, '{"input_tokens": 1000}')),
  '0.1 gpt', 'an alias that has come to mean another model since does not'
)
from aliased;
select is(
  trim_scale((settle_spend(hold, '{"input_tokens": 1000}')).cost), 0.006,
  'one without a price by the price that is now known to have held then, with its markup'
)
from unpinned;
select is(
  (select concat_ws(' ', decision, hold_id = hold, held_usd) from keyed, pg_temp.ask('gpt', 1000, 500,
      p_request => 'r')),
  'granted t 0.0075', 'a retry finds its hold as it is'
);
select is(
  (select concat_ws(' ', decision, held_usd) from pg_temp.ask('gpt', 1000, 500)), 'granted 0.3',
  'a new call is estimated by the new price and the markup'
);
select is(
  (select concat_ws(' ', trim_scale(cost), rates ->> 'input_tokens', markup_id is not null)
    from pg_temp.used('{"input_tokens": 1000}')),
  '0.2 200 t', 'and settled by both'
);
select (pricing.set_price('openai', 'gpt', null, '2026-03-01')).id;
select (pricing.set_price('openai', 'gpt', null)).id;
select is(
  (select concat_ws(' ', decision, hold_id = hold) from keyed, pg_temp.ask('gpt', 1000, 500,
      p_request => 'r')),
  'granted t', 'a retry finds its hold even where the price has ended since'
);
select is(
  (select concat_ws(' ', decision, reason) from pg_temp.ask('gpt', 1000, 500)),
  'denied unpriced_model', 'where nothing new is granted'
);
select is(
  trim_scale((settle_spend(hold, '{"input_tokens": 1000}')).cost), 0.0025, 'what is held is settled'
)
from raised;
select (pricing.set_markup(org, -100)).id from scene;
select is(
  (select concat_ws(' ', trim_scale(cost), zero_cost_reason)
    from pg_temp.used('{"input_tokens": 1}', p_model => 'embed')),
  '0 full_discount', 'for nothing: the markup takes it all'
);

-- Without a price --------------------------------------------------------------------------------

create temp table unpriced as select (pg_temp.ask('nameless', null, null, 1)).hold_id as hold;
select is(
  tests.facts_of(format('select settle_spend(%L, %L)', hold, '{"input_tokens": 1}')) ->> 'argument',
  'p_cost', 'without a price the cost must be stated'
)
from unpriced;
select is(state::text, 'open', 'and until then the money is held')
from metering.holds inner join unpriced on hold = id;
select is((settle_spend(hold, '{"input_tokens": 1}', 0.5)).cost_basis::text, 'stated', 'then it is settled')
from unpriced;

-- A price nobody has checked grants nothing; what was granted is settled.
create temp table checked as select pricing.load_prices('list', '1', '{
  "providers": [{"id": "l", "name": "L", "aliases": []}],
  "names": [{"provider": "l", "match": "exact", "name": "listed", "rank": 0, "model_provider": "l",
    "model": "listed", "is_default": true}],
  "prices": [{"provider": "l", "model": "listed", "service_tier": null, "effective_from": "-infinity",
    "rates": {"input_tokens": 1, "output_tokens": 1}}]}', '1 day') as change;
create temp table early as select (pg_temp.ask('listed', 1000, 0)).hold_id as hold;
create temp table stated as select (pg_temp.ask('listed', null, null, 1)).hold_id as hold;
select (pricing.set_markup(org, 50)).id from scene;
select tests.freeze_clock('2026-03-12 00:00:01+00');
select is(
  (select concat_ws(' ', decision, reason) from pg_temp.ask('listed', 1000, 0)), 'denied stale_price',
  'a price that was not checked for too long grants nothing'
);
select is((settle_spend(hold, '{"input_tokens": 1000}')).cost_basis::text, 'priced', 'but it settles')
from early;
select is(
  (select concat_ws(' ', decision, held_usd) from pg_temp.ask('listed', 1000, 0, 0.5)), 'granted 0.5',
  'and a server may state a cost'
);
select is(
  (select concat_ws(' ', trim_scale(cost), rates ->> 'input_tokens')
    from pg_temp.used('{"input_tokens": 1000}', null, 'listed', null, 1)),
  '0.0015 1.5', 'that is settled by the stale price, with the markup on it'
);

select is_empty('select * from audit.verify_integrity()', 'the books agree');

select * from finish();
rollback;
