begin;
select plan(47);

insert into tenancy.organizations (id, name) values
('a0000000-0000-4000-8000-000000000000', 'Acme'),
('b0000000-0000-4000-8000-000000000000', 'Bravo');
insert into metering.workflows (organization_id, id) values
('a0000000-0000-4000-8000-000000000000', 'a0000000-0000-4000-8000-000000000001'),
('b0000000-0000-4000-8000-000000000000', 'b0000000-0000-4000-8000-000000000001');
select tests.freeze_clock('2026-03-10 12:00:00.123456+00');

select lives_ok(
  $$select record_usage_and_increment(
      'a0000000-0000-4000-8000-000000000001', 'a0000000-0000-4000-8000-000000000000',
      'gpt-4o', 100, 20, 0.123456789012)$$,
  'the document''s six arguments are enough'
);
select results_eq(
  $$select workflow_id, model::text, prompt_tokens::integer, completion_tokens::integer,
      cost::numeric, created_at, settled_at from ai_usage_ledger$$,
  $$values (
      'a0000000-0000-4000-8000-000000000001'::uuid, 'gpt-4o', 100, 20, 0.123456789012,
      '2026-03-10 12:00:00.123+00'::timestamptz, '2026-03-10 12:00:00.123456+00'::timestamptz)$$,
  'the ledger holds what was stated, to the last digit, at the time of its id'
);
select results_eq(
  $$select settlement, unheld_usd::numeric, tags from ai_usage_ledger$$,
  $$values ('without_hold'::metering.settlement, 0.123456789012, '{}'::jsonb)$$,
  'flagged: no hold covered any of it'
);
select is(
  (select private.uuid_v7_time(id) from ai_usage_ledger), '2026-03-10 12:00:00.123+00'::timestamptz,
  'the id carries the time'
);
select is(
  (select workflow_data ->> 'total_ai_cost' from intent_workflows
   where id = 'a0000000-0000-4000-8000-000000000001'),
  '0.123456789012', 'the workflow''s total has it'
);
select is(
  get_organization_monthly_ai_cost('a0000000-0000-4000-8000-000000000000'), 0.123456789012,
  'the organization''s month has it'
);
select results_eq(
  $$select day, model, requests::bigint, prompt_tokens::bigint, completion_tokens::bigint,
      cost::numeric, scope from metering.usage_rollups order by scope$$,
  $$values
    ('2026-03-10'::date, 'gpt-4o', 1::bigint, 100::bigint, 20::bigint, 0.123456789012,
      'organization'),
    ('2026-03-10'::date, 'gpt-4o', 1::bigint, 100::bigint, 20::bigint, 0.123456789012, 'workflow')$$,
  'the rollups of organization and workflow have it'
);
select lives_ok(
  $$select record_usage_and_increment(
      'a0000000-0000-4000-8000-000000000001', 'a0000000-0000-4000-8000-000000000000',
      'gpt-4o', 1, 2, 0.000000000001)$$,
  'a second request'
);
select results_eq(
  $$select requests::bigint, prompt_tokens::bigint, completion_tokens::bigint, cost::numeric
    from metering.usage_rollups$$,
  $$select 2::bigint, 101::bigint, 22::bigint, 0.123456789013 from generate_series(1, 2)$$,
  'adds to the same rollup rows'
);
select lives_ok(
  $$select record_usage_and_increment(
      'a0000000-0000-4000-8000-000000000001', 'a0000000-0000-4000-8000-000000000000',
      'gpt-4o', 0, 0, 0)$$,
  'nothing may cost nothing'
);

-- Retries.
select lives_ok(
  $$select record_usage_and_increment(
      'a0000000-0000-4000-8000-000000000001', 'a0000000-0000-4000-8000-000000000000',
      'gpt-4o', 5, 6, 0.5, 'first')$$,
  'a request with an id'
);
select lives_ok(
  $$select record_usage_and_increment(
      'a0000000-0000-4000-8000-000000000001', 'a0000000-0000-4000-8000-000000000000',
      'gpt-4o', 5, 6, 0.500, 'first')$$,
  'its retry, also with other trailing zeros'
);
select is((select count(*) from ai_usage_ledger), 4::bigint, 'is one record');
select is(
  (select subject_id from metering.request_keys),
  (select id from ai_usage_ledger where cost = 0.5),
  'the key names the usage it made'
);
select throws_ok(
  $$select record_usage_and_increment(
      'a0000000-0000-4000-8000-000000000001', 'a0000000-0000-4000-8000-000000000000',
      'gpt-4o', 5, 6, 0.6, 'first')$$,
  'TS409', null, 'the same id with another cost'
);
select throws_ok(
  $$select record_usage_and_increment(
      'a0000000-0000-4000-8000-000000000001', 'a0000000-0000-4000-8000-000000000000',
      'gpt-4o-mini', 5, 6, 0.5, 'first')$$,
  'TS409', null, 'the same id with another model'
);
select lives_ok(
  $$select record_usage_and_increment(
      'b0000000-0000-4000-8000-000000000001', 'b0000000-0000-4000-8000-000000000000',
      'gpt-4o', 5, 6, 0.6, 'first')$$,
  'another organization may use the same id'
);

-- Bad input: a code each, and no row.
create temp table before_bad_input as
select
  (select count(*) from ai_usage_ledger) as usages,
  (select count(*) from metering.request_keys) as keys,
  (select sum(settled_usd) from metering.budget_slots) as settled;
create function pg_temp.refused(p_arguments text, p_code text, p_description text)
returns text language sql as $$
  select extensions.throws_ok(
    'select public.record_usage_and_increment(' || p_arguments || ')', p_code, null, p_description
  )
$$;
select pg_temp.refused(
  $$null, 'a0000000-0000-4000-8000-000000000000', 'm', 1, 1, 1, 'x'$$, '22023', 'no workflow'
);
select pg_temp.refused(
  $$'a0000000-0000-4000-8000-000000000001', null, 'm', 1, 1, 1, 'x'$$, '22023', 'no organization'
);
select pg_temp.refused(
  $$'a0000000-0000-4000-8000-000000000001', 'a0000000-0000-4000-8000-000000000000',
    null, 1, 1, 1, 'x'$$, '22023', 'no model'
);
select pg_temp.refused(
  $$'a0000000-0000-4000-8000-000000000001', 'a0000000-0000-4000-8000-000000000000',
    E' \t\n', 1, 1, 1, 'x'$$, '22023', 'a blank model'
);
select pg_temp.refused(
  $$'a0000000-0000-4000-8000-000000000001', 'a0000000-0000-4000-8000-000000000000',
    repeat('m', 256), 1, 1, 1, 'x'$$, '22023', 'a model of 256 characters'
);
select pg_temp.refused(
  $$'a0000000-0000-4000-8000-000000000001', 'a0000000-0000-4000-8000-000000000000',
    'm', null, 1, 1, 'x'$$, '22023', 'no prompt tokens'
);
select pg_temp.refused(
  $$'a0000000-0000-4000-8000-000000000001', 'a0000000-0000-4000-8000-000000000000',
    'm', 1, null, 1, 'x'$$, '22023', 'no completion tokens'
);
select pg_temp.refused(
  $$'a0000000-0000-4000-8000-000000000001', 'a0000000-0000-4000-8000-000000000000',
    'm', -1, 1, 1, 'x'$$, '22023', 'negative prompt tokens'
);
select pg_temp.refused(
  $$'a0000000-0000-4000-8000-000000000001', 'a0000000-0000-4000-8000-000000000000',
    'm', 1, -1, 1, 'x'$$, '22023', 'negative completion tokens'
);
select pg_temp.refused(
  $$'a0000000-0000-4000-8000-000000000001', 'a0000000-0000-4000-8000-000000000000',
    'm', 1, 1, null, 'x'$$, '22023', 'no cost'
);
select pg_temp.refused(
  $$'a0000000-0000-4000-8000-000000000001', 'a0000000-0000-4000-8000-000000000000',
    'm', 1, 1, -0.000000000001, 'x'$$, '22023', 'a negative cost'
);
select pg_temp.refused(
  $$'a0000000-0000-4000-8000-000000000001', 'a0000000-0000-4000-8000-000000000000',
    'm', 1, 1, 'NaN', 'x'$$, '22023', 'NaN'
);
select pg_temp.refused(
  $$'a0000000-0000-4000-8000-000000000001', 'a0000000-0000-4000-8000-000000000000',
    'm', 1, 1, 'Infinity', 'x'$$, '22023', 'Infinity'
);
select pg_temp.refused(
  $$'a0000000-0000-4000-8000-000000000001', 'a0000000-0000-4000-8000-000000000000',
    'm', 1, 1, 0.0000000000001, 'x'$$, '22023', '13 decimals'
);
select pg_temp.refused(
  $$'a0000000-0000-4000-8000-000000000001', 'a0000000-0000-4000-8000-000000000000',
    'm', 1, 1, 1000000000000, 'x'$$, '22023', 'a trillion dollars'
);
select pg_temp.refused(
  $$'a0000000-0000-4000-8000-000000000001', 'a0000000-0000-4000-8000-000000000000',
    'm', 1, 1, 1, ''$$, '22023', 'an empty request id'
);
select pg_temp.refused(
  $$'a0000000-0000-4000-8000-000000000001', 'a0000000-0000-4000-8000-000000000000',
    'm', 1, 1, 1, repeat('x', 256)$$, '22023', 'a request id of 256 characters'
);
select pg_temp.refused(
  $$'c0000000-0000-4000-8000-000000000001', 'a0000000-0000-4000-8000-000000000000',
    'm', 1, 1, 1, 'x'$$, 'TS404', 'an unknown workflow'
);
select pg_temp.refused(
  $$'a0000000-0000-4000-8000-000000000001', 'c0000000-0000-4000-8000-000000000000',
    'm', 1, 1, 1, 'x'$$, 'TS404', 'an unknown organization'
);
select pg_temp.refused(
  $$'a0000000-0000-4000-8000-000000000001', 'b0000000-0000-4000-8000-000000000000',
    'm', 1, 1, 1, 'x'$$, 'TS404', 'a workflow of another organization'
);
select pg_temp.refused(
  $$'a0000000-0000-4000-8000-000000000000', 'a0000000-0000-4000-8000-000000000000',
    'm', 1, 1, 1, 'x'$$, 'TS404', 'an organization''s budget is no workflow'
);
select results_eq(
  $$select
      (select count(*) from ai_usage_ledger),
      (select count(*) from metering.request_keys),
      (select sum(settled_usd) from metering.budget_slots)$$,
  $$select * from before_bad_input$$,
  'no refused call left anything behind'
);

-- Real spend is never refused.
update tenancy.organizations set frozen_at = now()
where id = 'a0000000-0000-4000-8000-000000000000';
select id from metering.set_budget(
  'a0000000-0000-4000-8000-000000000000', 'workflow', 'a0000000-0000-4000-8000-000000000001',
  'total', 1
);
select lives_ok(
  $$select tests.spend('a0000000-0000-4000-8000-000000000001', 7)$$,
  'above the cap and frozen, it is recorded all the same'
);
select results_eq(
  $$select * from tests.figures('a0000000-0000-4000-8000-000000000001')$$,
  $$values (7.623456789013, 0::numeric, -6.623456789013, true)$$,
  'and what passed the cap is debt'
);

-- Every budget that covers it counts it, held money or not.
select
  tests.cap('b0000000-0000-4000-8000-000000000000', 'organization', null, 'day', 10, 'hard', 4),
  tests.cap('b0000000-0000-4000-8000-000000000000', 'model', 'm', 'hour', 5),
  tests.cap('b0000000-0000-4000-8000-000000000000', 'model', 'n', 'hour', 5);
select tests.hold('b0000000-0000-4000-8000-000000000000', 4, 'm');
select tests.spend('b0000000-0000-4000-8000-000000000001', 3, 'm');
select results_eq(
  $$select b.scope, b.scope_id in ('', 'm', 'n'), b.time_window, f.settled, f.held, f.remaining
    from metering.budgets as b cross join tests.figures(b.id) as f
    where b.organization_id = 'b0000000-0000-4000-8000-000000000000'
    order by b.scope, b.scope_id, b.time_window$$,
  $$values
    ('model', true, 'hour', 3.0, 4.0, -2.0), ('model', true, 'hour', 0, 0, 5),
    ('organization', true, 'day', 3.6, 4, 2.4), ('organization', true, 'total', 3.6, 4, null),
    ('workflow', false, 'total', 3.6, 0, null)$$,
  'every budget that covers it counts it'
);
select is_empty($$select * from audit.verify_integrity()$$, 'a record past a cap is no breach');

-- Time moves on, back, and over the edge of what was prepared.
select id from metering.set_budget(
  'a0000000-0000-4000-8000-000000000000', 'organization', null, 'month', 10
);
select tests.freeze_clock('2026-04-01 00:00:00+00');
select tests.spend('a0000000-0000-4000-8000-000000000001', 2);
select results_eq(
  $$select window_start, settled_usd::numeric, available_usd::numeric, debt_usd::numeric
    from metering.budget_slots as s
    inner join metering.budgets as b on b.id = s.budget_id where b.time_window = 'month'$$,
  $$values ('2026-04-01 00:00:00+00'::timestamptz, 2::numeric, 8::numeric, null::numeric)$$,
  'a new month opens with the whole limit'
);
select tests.freeze_clock('2026-03-31 23:59:59+00');
select tests.spend('a0000000-0000-4000-8000-000000000001', 3);
select results_eq(
  $$select max(l.created_at), max(l.settled_at) from ai_usage_ledger as l where l.cost = 3$$,
  $$values ('2026-04-01 00:00:00+00'::timestamptz, '2026-04-01 00:00:00+00'::timestamptz)$$,
  'a call whose clock is behind takes the open window'
);
select tests.freeze_clock('2199-12-31 23:59:59+00');
select lives_ok(
  $$select tests.spend('a0000000-0000-4000-8000-000000000001', 1)$$,
  'a month nobody prepared refuses nothing'
);
select is_empty(
  $$select * from audit.verify_integrity()$$, 'and the books agree'
);

select * from finish();
rollback;
