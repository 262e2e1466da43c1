-- Many requests of one organization, decided in the order given.
begin;
select plan(27);

select tests.freeze_clock('2026-03-10 12:00:00+00');
create temp table scene as
select
  o.org,
  tests.workflow(o.org) as workflow,
  tests.venture(o.org) as venture,
  tests.cap(o.org, 'organization', null, 'day', 5, p_slots => 4) as day,
  tests.cap(o.org, 'model', 'm', 'total', 1) as model,
  tests.cap(o.org, 'model', 'soft', 'total', 0.5, 'soft') as soft
from (select tests.organization('Acme') as org) as o;
create function pg_temp.ask(p_items jsonb)
returns setof metering.authorized_item
language sql
as $$
  select d.* from scene, public.authorize_spend_batch(org, p_items) as d
$$;

-- In order -----------------------------------------------------------------------------------

create temp table first as
select * from pg_temp.ask(
  '[{"model": "m", "estimated_cost": "0.6"},
    {"model": "m", "estimated_cost": 0.6},
    {"model": "m", "estimated_cost": "0.400000000000"},
    {"model": "soft", "estimated_cost": 1},
    {"model": "n", "estimated_cost": 9, "allow_partial": true, "minimum": "0.5"}]'
);
select results_eq(
  $$select item, decision, held_usd, reason, remaining_usd, error_code from first$$,
  $$values
    (0, 'granted', '0.6', null, null, null),
    (1, 'denied', null, 'budget_exceeded', '0.4', null),
    (2, 'granted', '0.4', null, null, null),
    (3, 'granted', '1', 'over_soft_limit', '-0.5', null),
    (4, 'granted', '3', null, null, null)$$,
  'each item has its decision, in the order given'
);
select results_eq(
  $$select f.item, f.expires_at, h.state::text, f.held_usd::numeric = h.held_usd
    from first as f inner join metering.holds as h on h.id = f.hold_id order by f.item$$,
  $$select n, '2026-03-10 12:10:00+00'::timestamptz, 'open', true
    from unnest(array[0, 2, 3, 4]) as n$$,
  'each grant has its hold'
);
select results_eq(
  $$select f.budget_id, f.resets_at from first as f where item = 1$$,
  $$select model, null::timestamptz from scene$$, 'a denial names its budget'
);
select results_eq(
  $$select b.scope, f.held from scene inner join metering.budgets as b on b.id in (day, model, soft)
    cross join tests.figures(b.id) as f order by 1, 2$$,
  $$values ('model', 1.0), ('model', 1.0), ('organization', 5.0)$$, 'and all of it is held'
);

-- Everything an item can state ---------------------------------------------------------------

select tests.cap(org, 'organization', null, 'day', 100) from scene;
create function pg_temp.full_item() returns jsonb language sql as $$
  select jsonb_build_object(
    'model', 'claude', 'estimated_cost', '0.123456789012', 'input_tokens', 10,
    'max_output_tokens', '20', 'workflow_id', workflow,
    'run_id', '00000000-0000-4000-8000-000000000001', 'venture_id', venture,
    'user_id', '00000000-0000-4000-8000-000000000002', 'api_key_id', 'key',
    'tags', '{"team": "growth"}'::jsonb, 'provider', 'anthropic', 'service_tier', 'batch',
    'request_id', 'full', 'expires_in', '1 hour', 'allow_partial', true, 'minimum', 0.1
  )
  from scene
$$;
create temp table full_answer as select * from pg_temp.ask(jsonb_build_array(pg_temp.full_item()));
select results_eq(
  $$select h.held_usd::numeric, h.model::text, h.workflow_id, h.run_id, h.venture_id, h.user_id,
      h.api_key_id::text, h.provider::text, h.service_tier::text, h.tags, h.expires_at
    from metering.holds as h inner join full_answer as a on a.hold_id = h.id$$,
  $$select 0.123456789012, 'claude', workflow, '00000000-0000-4000-8000-000000000001'::uuid,
      venture, '00000000-0000-4000-8000-000000000002'::uuid, 'key', 'anthropic', 'batch',
      '{"team": "growth"}'::jsonb, '2026-03-10 13:00:00+00'::timestamptz
    from scene$$,
  'an item may state everything'
);
select results_eq(
  $$select hold_id from scene, authorize_spend(
      org, 'claude', 0.123456789012, 10, 20, workflow, '00000000-0000-4000-8000-000000000001',
      venture, '00000000-0000-4000-8000-000000000002', 'key', '{"team": "growth"}', 'anthropic',
      'batch', 'full', '1 hour', true, 0.1)$$,
  $$select hold_id from full_answer$$, 'its request is the same request made alone'
);
select results_eq(
  $$select decision, held_usd from pg_temp.ask(
      '[{"estimated_cost": 0.1, "model": null, "workflow_id": null, "tags": null,
         "request_id": null, "expires_in": null, "allow_partial": null, "minimum": null,
         "input_tokens": null}]')$$,
  $$values ('granted', '0.1')$$, 'what is null is not stated'
);

-- Retries ------------------------------------------------------------------------------------

create temp table twice as
select * from pg_temp.ask(
  '[{"estimated_cost": 0.1, "request_id": "one"}, {"estimated_cost": 0.2, "request_id": "two"},
    {"estimated_cost": "0.10", "request_id": "one"}, {"estimated_cost": 0.3, "request_id": "two"}]'
);
select results_eq(
  $$select item, decision, held_usd, error_code from twice$$,
  $$values (0, 'granted', '0.1', null), (1, 'granted', '0.2', null), (2, 'granted', '0.1', null),
    (3, null, null, 'TS409')$$,
  'a request id that is repeated is a retry, and with other content an error'
);
select is(
  (select count(distinct hold_id) from twice), 2::bigint, 'so there are two holds'
);
select results_eq(
  $$select hold_id from pg_temp.ask(
      '[{"estimated_cost": 0.2, "request_id": "two"},
        {"estimated_cost": 0.1, "request_id": "one"}]')$$,
  $$select hold_id from twice where item < 2 order by item desc$$,
  'the same in another order finds the same holds'
);
select tests.settle(hold_id, 0.05) from twice where item = 0;
select results_eq(
  $$select decision, usage_id, held_usd
    from pg_temp.ask('[{"estimated_cost": 0.1, "request_id": "one"}]')$$,
  $$select 'settled', hold_id, '0.05' from twice where item = 0$$, 'a settled request says so'
);

-- Overdue holds, frozen scopes ---------------------------------------------------------------

create temp table overdue as
select
  s.org,
  tests.cap(s.org, 'organization', null, 'day', 1) as day,
  (
    authorize_spend(s.org, 'm', 1, p_request_id => 'again', p_expires_in => '1 minute')
  ).hold_id as hold
from (select tests.organization('Overdue') as org) as s;
select tests.freeze_clock('2026-03-10 12:01:00+00');
select results_eq(
  $$select decision, d.hold_id = overdue.hold from overdue, authorize_spend_batch(
      org, '[{"model": "m", "estimated_cost": 1, "request_id": "again", "expires_in": "1 minute"},
             {"estimated_cost": 0.1}]') as d$$,
  $$values ('granted', false), ('denied', null)$$,
  'an overdue hold is freed for its own retry, which makes a new one'
);
select b.id from overdue, metering.freeze(org, 'model', 'cold') as b;
select results_eq(
  $$select decision, reason, d.budget_id = tests.budget(org, 'model', 'cold', 'total')
    from overdue, authorize_spend_batch(org, '[{"model": "cold", "estimated_cost": 1}]') as d$$,
  $$values ('denied', 'frozen', true)$$, 'a frozen scope denies'
);

-- An item that is wrong ----------------------------------------------------------------------

create temp table wrong (item jsonb, code text, argument text, description text);
insert into wrong values
('5', '22023', 'p_items', 'an item that is a number'),
('null', '22023', 'p_items', 'an item that is null'),
('[]', '22023', 'p_items', 'an item that is a list'),
('{}', '22023', 'p_estimated_cost', 'an item that states nothing'),
('{"estimated_cost": 0.1, "p_model": "m"}', '22023', 'p_items', 'a key nobody reads'),
('{"estimated_cost": 0.1, "organization_id": "x"}', '22023', 'p_items',
  'an organization of its own'),
('{"estimated_cost": 0}', '22023', 'p_estimated_cost', 'an estimate of nothing'),
('{"estimated_cost": "NaN"}', '22023', 'p_estimated_cost', 'an estimate of NaN'),
('{"estimated_cost": "0.0000000000001"}', '22023', 'p_estimated_cost', '13 decimals'),
('{"estimated_cost": "much"}', '22023', 'p_items', 'an estimate that is no number'),
('{"estimated_cost": true}', '22023', 'p_items', 'an estimate that is true'),
('{"estimated_cost": [1]}', '22023', 'p_items', 'an estimate in a list'),
('{"estimated_cost": 1e500}', '22023', 'p_estimated_cost', 'an estimate beyond counting'),
('{"estimated_cost": 0.1, "input_tokens": 1.5}', '22023', 'p_items', 'a fraction of a token'),
('{"estimated_cost": 0.1, "input_tokens": -1}', '22023', 'p_input_tokens',
  'fewer tokens than none'),
('{"estimated_cost": 0.1, "max_output_tokens": 9223372036854775808}', '22023', 'p_items',
  'tokens beyond counting'),
('{"estimated_cost": 0.1, "workflow_id": "x"}', '22023', 'p_items', 'an id that is none'),
('{"estimated_cost": 0.1, "expires_in": "soon"}', '22023', 'p_items', 'a duration that is none'),
('{"estimated_cost": 0.1, "expires_in": "25 hours"}', '22023', 'p_expires_in', '25 hours'),
('{"estimated_cost": 0.1, "expires_in": "100000000 years"}', '22023', 'p_expires_in',
  'a duration nobody can count'),
('{"estimated_cost": 0.1, "tags": []}', '22023', 'p_tags', 'tags in a list'),
('{"estimated_cost": 0.1, "tags": {"a": 1}}', '22023', 'p_tags', 'a tag that is a number'),
('{"estimated_cost": 0.1, "model": ""}', '22023', 'p_model', 'a blank model'),
('{"estimated_cost": 0.1, "request_id": ""}', '22023', 'p_request_id', 'an empty request id'),
('{"estimated_cost": 0.1, "allow_partial": "perhaps"}', '22023', 'p_items', 'perhaps partial'),
('{"estimated_cost": 0.1, "allow_partial": true}', '22023', 'p_minimum', 'no minimum'),
('{"estimated_cost": 0.1, "minimum": 0.1}', '22023', 'p_minimum',
  'a minimum of what is not partial'),
('{"estimated_cost": 0.1, "workflow_id": "c0000000-0000-4000-8000-000000000000"}', 'TS404', null,
  'an unknown workflow'),
('{"estimated_cost": 0.1, "venture_id": "c0000000-0000-4000-8000-000000000000"}', 'TS404', null,
  'an unknown venture'),
('{"estimated_cost": 0.1, "request_id": "two"}', 'TS409', null, 'other content under an id');
create temp table answers as
select a.* from (
  select jsonb_agg(item order by description) || '[{"estimated_cost": 0.25}]' as items from wrong
) as w, pg_temp.ask(w.items) as a;
select results_eq(
  $$select error_code || coalesce(' ' || (error_detail ->> 'argument'), '') || ' ' || w.description
    from answers as a
    inner join (select row_number() over (order by description) - 1 as position, * from wrong) as w
      on w.position = a.item
    order by a.item$$,
  $$select concat_ws(' ', code, argument, description) from wrong order by description$$,
  'an item that is wrong has what it alone would have raised'
);
select results_eq(
  $$select decision, error_code from answers order by item desc limit 1$$,
  $$values ('granted', null)$$, 'and stops nothing'
);
select is_empty(
  $$select from answers where error_code is not null
    and (decision, hold_id, usage_id, held_usd, reason, expires_at)::text <> '(,,,,,)'$$,
  'an error is no decision'
);
select results_eq(
  $$select error_detail from pg_temp.ask('[{"estimated_cost": 0}]')$$,
  $$values ('{"argument": "p_estimated_cost", "rule": "must be above 0"}'::jsonb)$$,
  'it comes with its facts'
);

-- As a member --------------------------------------------------------------------------------

create temp table person as select tests.member(org) as id from scene;
select tests.price('priced');
grant select on scene, person to public;
select tests.act_as('authenticated', (select id from person));
select results_eq(
  $$select decision, error_code, error_detail - 'user_id' from pg_temp.ask(
      jsonb_build_array(
        jsonb_build_object('model', 'priced', 'estimated_cost', 0.1),
        jsonb_build_object(
          'model', 'priced', 'estimated_cost', 0.1, 'user_id', (select id from person)
        ),
        jsonb_build_object('estimated_cost', 0.1, 'user_id', gen_random_uuid()),
        jsonb_build_object('estimated_cost', 0.1, 'api_key_id', 'key'),
        jsonb_build_object('model', 'nameless', 'estimated_cost', 0.1))
    )$$,
  $$values
    ('granted', null, null::jsonb), ('granted', null, null),
    (null, '42501', '{"api_key_id": null}'), (null, '42501', '{"api_key_id": "key"}'),
    ('denied', null, null)$$,
  'a member spends as itself, in a batch too'
);
reset role;

-- A batch that is wrong ----------------------------------------------------------------------

select throws_ok('select authorize_spend_batch(' || v.arguments || ')', v.code, null, v.description)
from scene, lateral (
  values
  ($$null, '[{}]'$$, '22023', 'no organization'),
  (format('%L, null', org), '22023', 'no items'),
  (format('%L, %L', org, '{}'), '22023', 'items that are an object'),
  (format('%L, %L', org, 'null'), '22023', 'items of JSON null'),
  (format('%L, %L', org, '[]'), '22023', 'an empty list'),
  (format('%L, (select jsonb_agg(null::int) from generate_series(1, 1001))', org), '22023',
    '1001 items'),
  (format('%L, %L', gen_random_uuid(), '[{}]'), 'TS404', 'an unknown organization')
) as v (arguments, code, description);
select results_eq(
  $$select count(*), count(*) filter (where decision = 'granted') from pg_temp.ask(
      (select jsonb_agg('{"estimated_cost": 0.000000000001}'::jsonb)
        from generate_series(1, 1000)))$$,
  $$values (1000::bigint, 1000::bigint)$$, '1000 items'
);
select is_empty($$select * from audit.verify_integrity()$$, 'the books agree');

select * from finish();
rollback;
