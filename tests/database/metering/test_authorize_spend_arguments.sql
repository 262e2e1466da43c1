-- What authorize_spend and estimate_spend take as an argument, and what they refuse.
begin;
select plan(124);

create temp table scene as select tests.organization('Acme') as org;

-- What becomes of a call: its decision, or the code and the argument it is refused for.
create function pg_temp.outcome(p_function text, p_arguments text)
returns text
language plpgsql
as $$
declare
  v_decision metering.spend_decision;
  v_detail text;
begin
  execute format(
    'select d.* from public.%I(p_organization_id => %L, %s) as d',
    p_function, (select org from scene), p_arguments
  )
  into v_decision;
  return v_decision.decision;
exception when others then
  get stacked diagnostics v_detail = pg_exception_detail;
  return sqlstate || ' ' || (v_detail::jsonb ->> 'argument');
end
$$;

create temp table refused (argument text, arguments text, description text);
insert into refused values
('p_estimated_cost', $$p_model => 'm'$$, 'no estimate'),
('p_estimated_cost', $$p_estimated_cost => null$$, 'an estimate of null'),
('p_estimated_cost', $$p_estimated_cost => 0$$, 'an estimate of nothing'),
('p_estimated_cost', $$p_estimated_cost => -0.000000000001$$, 'an estimate below nothing'),
('p_estimated_cost', $$p_estimated_cost => 'NaN'$$, 'an estimate of NaN'),
('p_estimated_cost', $$p_estimated_cost => 'Infinity'$$, 'an estimate of Infinity'),
('p_estimated_cost', $$p_estimated_cost => '-Infinity'$$, 'an estimate of -Infinity'),
('p_estimated_cost', $$p_estimated_cost => 0.0000000000001$$, 'an estimate with 13 decimals'),
('p_estimated_cost', $$p_estimated_cost => 1000000000000$$, 'an estimate of a trillion'),
('p_model', $$p_estimated_cost => 1, p_model => ''$$, 'an empty model'),
('p_model', $$p_estimated_cost => 1, p_model => E' \t\n'$$, 'a blank model'),
('p_model', $$p_estimated_cost => 1, p_model => repeat('m', 256)$$, 'a model of 256 characters'),
('p_input_tokens', $$p_estimated_cost => 1, p_input_tokens => -1$$, 'fewer tokens than none'),
('p_max_output_tokens', $$p_estimated_cost => 1, p_max_output_tokens => -1$$,
  'fewer output tokens than none'),
('p_api_key_id', $$p_estimated_cost => 1, p_api_key_id => ' '$$, 'a blank API key'),
('p_api_key_id', $$p_estimated_cost => 1, p_api_key_id => repeat('k', 256)$$,
  'an API key of 256 characters'),
('p_provider', $$p_estimated_cost => 1, p_provider => ''$$, 'a blank provider'),
('p_provider', $$p_estimated_cost => 1, p_provider => repeat('p', 256)$$,
  'a provider of 256 characters'),
('p_service_tier', $$p_estimated_cost => 1, p_service_tier => ' '$$, 'a blank service tier'),
('p_service_tier', $$p_estimated_cost => 1, p_service_tier => repeat('s', 256)$$,
  'a service tier of 256 characters'),
('p_tags', $$p_estimated_cost => 1, p_tags => 'null'$$, 'tags of JSON null'),
('p_tags', $$p_estimated_cost => 1, p_tags => '[]'$$, 'tags in a list'),
('p_tags', $$p_estimated_cost => 1, p_tags => '"team"'$$, 'a tag without a value'),
('p_tags', $$p_estimated_cost => 1, p_tags => '{"team": 1}'$$, 'a tag that is a number'),
('p_tags', $$p_estimated_cost => 1, p_tags => '{"team": null}'$$, 'a tag that is null'),
('p_tags', $$p_estimated_cost => 1, p_tags => '{"team": {"a": "b"}}'$$, 'a tag that is an object'),
('p_tags', $$p_estimated_cost => 1, p_tags => '{"team": " "}'$$, 'a blank tag'),
('p_tags', $$p_estimated_cost => 1, p_tags => '{"": "growth"}'$$, 'a tag without a key'),
('p_tags', $$p_estimated_cost => 1, p_tags => '{"my team": "growth"}'$$, 'a key with a space'),
('p_tags', $$p_estimated_cost => 1, p_tags => '{"team=x": "growth"}'$$, 'a key with a sign'),
('p_tags', $$p_estimated_cost => 1, p_tags => jsonb_build_object('team', repeat('x', 251))$$,
  'a tag of 256 characters'),
('p_tags',
  $$p_estimated_cost => 1,
    p_tags => (select jsonb_object_agg('t' || n, 'x') from generate_series(1, 17) as n)$$,
  '17 tags'),
('p_allow_partial', $$p_estimated_cost => 1, p_allow_partial => null$$, 'neither partial nor not'),
('p_minimum', $$p_estimated_cost => 1, p_minimum => 0.5$$, 'a minimum of what is not partial'),
('p_minimum', $$p_estimated_cost => 1, p_allow_partial => true$$, 'partial without a minimum'),
('p_minimum', $$p_estimated_cost => 1, p_allow_partial => true, p_minimum => 0$$,
  'a minimum of nothing'),
('p_minimum', $$p_estimated_cost => 1, p_allow_partial => true, p_minimum => -1$$,
  'a minimum below nothing'),
('p_minimum', $$p_estimated_cost => 1, p_allow_partial => true, p_minimum => 'NaN'$$,
  'a minimum of NaN'),
('p_minimum', $$p_estimated_cost => 1, p_allow_partial => true, p_minimum => 0.0000000000001$$,
  'a minimum with 13 decimals'),
('p_minimum', $$p_estimated_cost => 1, p_allow_partial => true, p_minimum => 1.000000000001$$,
  'a minimum above the estimate');
select is(
  pg_temp.outcome(f.name, r.arguments), '22023 ' || r.argument, f.name || ': ' || r.description
)
from refused as r
cross join (values ('authorize_spend'), ('estimate_spend')) as f (name);

-- What only a hold has.
select is(
  pg_temp.outcome('authorize_spend', 'p_estimated_cost => 1, ' || v.argument || ' => ' || v.value),
  '22023 ' || v.argument, v.description
)
from (
  values
  ('p_expires_in', 'null', 'no duration'),
  ('p_expires_in', $$'0'$$, 'a duration of nothing'),
  ('p_expires_in', $$'-1 microsecond'$$, 'a duration below nothing'),
  ('p_expires_in', $$'24:00:00.000001'$$, 'a duration a microsecond above 24 hours'),
  ('p_expires_in', $$'25 hours'$$, 'a duration of 25 hours'),
  ('p_expires_in', $$'12000 months -359999 days'$$, 'a thousand years that compare as a day'),
  ('p_expires_in', $$'100000000 years'$$, 'a duration nobody can count'),
  ('p_request_id', $$''$$, 'an empty request id'),
  ('p_request_id', $$E'\n'$$, 'a blank request id'),
  ('p_request_id', $$repeat('r', 256)$$, 'a request id of 256 characters')
) as v (argument, value, description);

select throws_ok(
  format('select public.%I(null, %L, 1)', f.name, 'm'), '22023', null, f.name || ': no organization'
)
from (values ('authorize_spend'), ('estimate_spend')) as f (name);
select is(
  tests.facts_of($$select authorize_spend(org, 'm', 0) from scene$$),
  '{"argument": "p_estimated_cost", "rule": "must be above 0"}'::jsonb,
  'DETAIL names the argument and the rule it breaks'
);

-- Nothing of it left a trace.
select results_eq(
  $$select (select count(*) from metering.holds), (select count(*) from metering.request_keys),
      held from scene, tests.figures(org)$$,
  $$values (0::bigint, 0::bigint, 0::numeric)$$, 'what is refused leaves nothing behind'
);

-- The last of what is taken.
create temp table taken (arguments text, description text);
insert into taken values
('p_estimated_cost => 0.000000000001', 'a trillionth'),
('p_estimated_cost => 1.5000000000000000', 'trailing zeros'),
('p_estimated_cost => 999999999999.999999999999', 'the most there is'),
($$p_estimated_cost => 1, p_model => repeat('m', 255)$$, 'a model of 255 characters'),
($$p_estimated_cost => 1, p_model => 'a:b=c "d" ümläut'$$, 'a model of any characters'),
('p_estimated_cost => 1, p_input_tokens => 0, p_max_output_tokens => 9223372036854775807',
  'as many tokens as there are'),
($$p_estimated_cost => 1, p_api_key_id => repeat('k', 255)$$, 'an API key of 255 characters'),
('p_estimated_cost => 1, p_tags => null', 'no tags'),
($$p_estimated_cost => 1, p_tags => jsonb_build_object('team', repeat('x', 250))$$,
  'a tag of 255 characters'),
($$p_estimated_cost => 1,
  p_tags => (select jsonb_object_agg('t' || n, 'x') from generate_series(1, 16) as n)$$, '16 tags'),
('p_estimated_cost => 1, p_allow_partial => true, p_minimum => 1', 'a minimum of all of it'),
('p_estimated_cost => 1, p_run_id => gen_random_uuid(), p_user_id => gen_random_uuid()',
  'a run and a user nobody announced');
select is(pg_temp.outcome(f.name, t.arguments), 'granted', f.name || ': ' || t.description)
from taken as t
cross join (values ('authorize_spend'), ('estimate_spend')) as f (name);
select is(
  pg_temp.outcome('authorize_spend', 'p_estimated_cost => 1, ' || v.more), 'granted', v.description
)
from (
  values
  ($$p_expires_in => '1 microsecond'$$, 'a duration of a microsecond'),
  ($$p_expires_in => '24 hours'$$, 'a duration of 24 hours'),
  ($$p_expires_in => '1 day'$$, 'a duration of a day'),
  ($$p_request_id => repeat('r', 255)$$, 'a request id of 255 characters')
) as v (more, description);

-- A day is 24 hours, whatever the clocks of the session do.
set local timezone to 'Europe/Berlin';
select tests.freeze_clock('2026-03-28 12:00:00+00');
select results_eq(
  $$select expires_at from scene, authorize_spend(org, 'm', 1, p_expires_in => '1 day')$$,
  $$values ('2026-03-29 12:00:00+00'::timestamptz)$$, 'a day is 24 hours'
);

select is_empty($$select * from audit.verify_integrity()$$, 'the books agree');
select * from finish();
rollback;
