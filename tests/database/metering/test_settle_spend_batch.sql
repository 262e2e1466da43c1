-- Many holds of one organization settled: in one pass where nothing is out of the ordinary, else
-- item by item. Either way each item ends as it would alone.
begin;
select plan(25);

select tests.freeze_clock('2026-03-10 12:00:00+00');
create temp table scene as
select
  o.org,
  tests.workflow(o.org) as workflow,
  tests.cap(o.org, 'organization', null, 'day', 100, p_slots => 4) as day,
  tests.cap(o.org, 'model', 'm', 'total', 10) as model
from (select tests.organization('Acme') as org) as o;
create temp table held as
select
  n as number,
  tests.hold(org, 1, case when n % 2 = 0 then 'm' else 'n' end, p_expires_in => '2 hours') as id
from scene, generate_series(1, 12) as n;
create function pg_temp.hold(p_number integer) returns uuid language sql as $$
  select id from held where number = p_number
$$;
create function pg_temp.settle(p_items jsonb)
returns setof metering.settled_item
language sql
as $$
  select d.* from scene, public.settle_spend_batch(org, p_items) as d
$$;

-- In one pass --------------------------------------------------------------------------------

select tests.freeze_clock('2026-03-10 12:00:05+00');
select results_eq(
  $$select * from pg_temp.settle(jsonb_build_array(
      jsonb_build_object('hold_id', pg_temp.hold(2), 'cost', '0.500'),
      jsonb_build_object('hold_id', pg_temp.hold(1), 'cost', 0, 'usage', null),
      jsonb_build_object('hold_id', pg_temp.hold(3), 'cost', 1, 'usage',
        '{"input_tokens": 10, "output_tokens": 5, "requests": 1}'::jsonb)))$$,
  $$values
    (0, pg_temp.hold(2), '0.5', 'on_hold', '0', null, null::jsonb),
    (1, pg_temp.hold(1), '0', 'on_hold', '0', null, null),
    (2, pg_temp.hold(3), '1', 'on_hold', '0', null, null)$$,
  'each item has its usage, in the order given'
);
select results_eq(
  $$select h.number, l.model::text, l.prompt_tokens::integer, l.completion_tokens::integer,
      l.cost::numeric, l.created_at, l.settled_at, l.settlement::text, l.unheld_usd::numeric
    from held as h inner join public.ai_usage_ledger as l using (id) order by h.number$$,
  $$values
    (1, 'n', 0, 0, 0::numeric, '2026-03-10 12:00:00+00'::timestamptz,
      '2026-03-10 12:00:05+00'::timestamptz, 'on_hold', 0::numeric),
    (2, 'm', 0, 0, 0.5, '2026-03-10 12:00:00+00', '2026-03-10 12:00:05+00', 'on_hold', 0),
    (3, 'n', 10, 5, 1, '2026-03-10 12:00:00+00', '2026-03-10 12:00:05+00', 'on_hold', 0)$$,
  'the ledger has them'
);
select is_empty(
  $$select from held inner join metering.holds using (id) where number <= 3$$, 'the holds are gone'
);
select results_eq(
  $$select b.time_window, f.settled, f.held, f.remaining from scene
    inner join metering.budgets as b on b.id in (day, model) cross join tests.figures(b.id) as f
    order by b.time_window$$,
  $$values ('day', 1.5, 9.0, 89.5), ('total', 0.5, 5.0, 4.5)$$, 'every budget counts them'
);
select results_eq(
  $$select model, sum(requests)::bigint, sum(cost)
    from metering.usage_rollups where scope = 'organization' group by model order by 1$$,
  $$values ('m', 1::bigint, 0.5), ('n', 2, 1.0)$$, 'and so do the rollups'
);

-- Item by item -------------------------------------------------------------------------------

select h.id from release_spend(pg_temp.hold(4)) as h;
create temp table bravo as select tests.hold(o.org, 1) as hold
from (select tests.organization('Bravo') as org) as o;
create temp table wrong (item jsonb, code text, argument text, description text);
insert into wrong values
('5', '22023', 'p_items', 'an item that is a number'),
('null', '22023', 'p_items', 'an item that is null'),
('{}', '22023', 'p_hold_id', 'an item that states nothing'),
('{"hold_id": "x", "cost": 1}', '22023', 'p_items', 'an id that is none'),
('{"hold_id": null, "cost": 1}', '22023', 'p_hold_id', 'no hold'),
('{"hold_id": "HOLD"}', '22023', 'p_cost', 'no cost'),
('{"hold_id": "HOLD", "cost": -1}', '22023', 'p_cost', 'a negative cost'),
('{"hold_id": "HOLD", "cost": "NaN"}', '22023', 'p_cost', 'a cost of NaN'),
('{"hold_id": "HOLD", "cost": "0.0000000000001"}', '22023', 'p_cost', '13 decimals'),
('{"hold_id": "HOLD", "cost": "little"}', '22023', 'p_items', 'a cost that is no number'),
('{"hold_id": "HOLD", "cost": [1]}', '22023', 'p_items', 'a cost in a list'),
('{"hold_id": "HOLD", "cost": 1, "usage": []}', '22023', 'p_usage', 'a usage in a list'),
('{"hold_id": "HOLD", "cost": 1, "usage": {"tokens": 1}}', '22023', 'p_usage',
  'a class of tokens nobody knows'),
('{"hold_id": "HOLD", "cost": 1, "usage": {"input_tokens": 1.5}}', '22023', 'p_usage',
  'a fraction of a token'),
('{"hold_id": "HOLD", "cost": 1, "p_cost": 1}', '22023', 'p_items', 'a key nobody reads'),
('{"hold_id": "HOLD", "cost": 1, "organization_id": "x"}', '22023', 'p_items',
  'an organization of its own'),
('{"hold_id": "HOLD", "cost": 1, "request_id": " "}', '22023', 'p_request_id',
  'a blank request id'),
('{"hold_id": "c0000000-0000-4000-8000-000000000000", "cost": 1}', 'TS404', null,
  'an unknown hold'),
('{"hold_id": "FOREIGN", "cost": 1}', 'TS404', null, 'a hold of another organization'),
('{"hold_id": "SETTLED", "cost": 0.6}', 'TS409', null, 'another cost of what is settled');
update wrong set item = replace(replace(replace(item::text,
  'HOLD', pg_temp.hold(5)::text), 'FOREIGN', (select hold::text from bravo)),
  'SETTLED', pg_temp.hold(2)::text)::jsonb;
create temp table answers as
select a.* from (
  select jsonb_agg(item order by description) || jsonb_build_array(
    jsonb_build_object('hold_id', pg_temp.hold(4), 'cost', '0.25'),
    jsonb_build_object('hold_id', pg_temp.hold(6), 'cost', '3.000000000001'),
    jsonb_build_object('hold_id', pg_temp.hold(2), 'cost', 0.5),
    jsonb_build_object('hold_id', pg_temp.hold(7), 'cost', 0.1, 'request_id', 'seven'),
    jsonb_build_object('hold_id', pg_temp.hold(7), 'cost', '0.10', 'request_id', 'seven'),
    jsonb_build_object('hold_id', pg_temp.hold(8), 'cost', 0.1, 'request_id', 'seven'),
    jsonb_build_object('hold_id', upper('{' || pg_temp.hold(9) || '}'), 'cost', 0.1)
  ) as items
  from wrong
) as w, pg_temp.settle(w.items) as a;
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
  $$select usage_id, cost, settlement, unheld_usd, error_code
    from answers order by item desc limit 7$$,
  $$values
    (pg_temp.hold(9), '0.1', 'on_hold', '0', null),
    (null, null, null, null, 'TS409'),
    (pg_temp.hold(7), '0.1', 'on_hold', '0', null),
    (pg_temp.hold(7), '0.1', 'on_hold', '0', null),
    (pg_temp.hold(2), '0.5', 'on_hold', '0', null),
    (pg_temp.hold(6), '3.000000000001', 'on_hold', '2.000000000001', null),
    (pg_temp.hold(4), '0.25', 'after_hold', '0.25', null)$$,
  'and stops nothing: late, above, again, a retry, a key of another hold, an id spelled otherwise'
);
select results_eq(
  $$select number, h.state::text from held inner join metering.holds as h using (id) order by 1$$,
  $$values (5, 'open'), (8, 'open'), (10, 'open'), (11, 'open'), (12, 'open')$$,
  'what was refused is open still'
);
select is_empty($$select * from audit.verify_integrity()$$, 'the books agree');

-- What could keep a batch from its one pass ---------------------------------------------------

create function pg_temp.settle_both(p_one integer, p_other integer, p_cost numeric)
returns setof metering.settled_item
language sql
as $$
  select * from pg_temp.settle(jsonb_build_array(
    jsonb_build_object('hold_id', pg_temp.hold(p_one), 'cost', p_cost),
    jsonb_build_object('hold_id', pg_temp.hold(p_other), 'cost', p_cost)
  ))
$$;
select results_eq(
  $$select usage_id, error_code from pg_temp.settle_both(5, 5, 1)$$,
  $$values (pg_temp.hold(5), null), (pg_temp.hold(5), null)$$, 'an id that is repeated is a retry'
);
select tests.cap(org, 'model', 'm', 'hour', 20) from scene;
insert into held select 13, tests.hold(org, 1, 'm') from scene;
select results_eq(
  $$select settlement, unheld_usd from pg_temp.settle_both(8, 13, 1)$$,
  $$values ('on_hold', '0'), ('on_hold', '0')$$, 'a budget that was made between two of its holds'
);
select results_eq(
  $$select settled, held, remaining
    from scene, tests.figures(tests.budget(org, 'model', 'm', 'hour'))$$,
  $$select sum(cost), 2.0, 20 - 2.0 - sum(cost) from public.ai_usage_ledger where model = 'm'$$,
  'counts both'
);
select tests.freeze_clock('2026-03-10 13:00:00+00');
insert into held select 14, tests.hold(org, 1, 'm') from scene;
select results_eq(
  $$select settlement, unheld_usd from pg_temp.settle_both(10, 14, 0.5)$$,
  $$values ('on_hold', '0'), ('on_hold', '0')$$, 'a window that ended between two of its holds'
);
select results_eq(
  $$select settled, held, remaining
    from scene, tests.figures(tests.budget(org, 'model', 'm', 'hour'))$$,
  $$values (0.5, 0.0, 19.5)$$, 'the new one counts its own'
);
select b.id from scene, metering.freeze(org) as b;
select tests.cap(org, 'organization', null, 'day', 1) from scene;
select results_eq(
  $$select settlement, unheld_usd from pg_temp.settle_both(11, 12, 1)$$,
  $$values ('on_hold', '0'), ('on_hold', '0')$$, 'an organization that is frozen and in debt'
);
select is_empty($$select * from audit.verify_integrity()$$, 'the books agree again');

-- Overdue holds of the batch are its own, also where another item needs money -----------------

create temp table overdue as
select s.org, tests.cap(s.org, 'organization', null, 'total', 3) as total,
  tests.hold(s.org, 1, p_expires_in => '1 hour') as one,
  tests.hold(s.org, 2, p_expires_in => '1 minute') as two
from (select tests.organization('Overdue') as org) as s;
select tests.freeze_clock('2026-03-10 13:01:00+00');
select results_eq(
  $$select d.usage_id = one, settlement, unheld_usd from overdue, settle_spend_batch(
      org, jsonb_build_array(
        jsonb_build_object('hold_id', one, 'cost', 2), jsonb_build_object('hold_id', two, 'cost', 2)
      )) as d$$,
  $$values (true, 'on_hold', '1'), (false, 'on_hold', '0')$$,
  'an overdue hold of the batch covers its call'
);

-- A batch that is wrong ----------------------------------------------------------------------

select throws_ok('select settle_spend_batch(' || v.arguments || ')', '22023', null, v.description)
from scene, lateral (
  values
  ($$null, '[{}]'$$, 'no organization'),
  (format('%L, null', org), 'no items'),
  (format('%L, %L', org, '{}'), 'items that are an object'),
  (format('%L, %L', org, '[]'), 'an empty list'),
  (format('%L, (select jsonb_agg(null::int) from generate_series(1, 1001))', org), '1001 items')
) as v (arguments, description);
select results_eq(
  $$select error_code from settle_spend_batch(
      gen_random_uuid(),
      jsonb_build_array(jsonb_build_object('hold_id', pg_temp.hold(1), 'cost', 1)))$$,
  $$values ('TS404')$$, 'to an unknown organization every hold is unknown'
);
create temp table many as
select o.org, (select jsonb_agg(jsonb_build_object('hold_id', d.hold_id, 'cost', '0.5'))
  from authorize_spend_batch(
    o.org, (select jsonb_agg('{"estimated_cost": 1}'::jsonb) from generate_series(1, 1000))
  ) as d) as items
from (select tests.organization('Many') as org) as o;
select results_eq(
  $$select count(*), count(distinct usage_id), min(settlement)
    from many, settle_spend_batch(org, items)$$,
  $$values (1000::bigint, 1000::bigint, 'on_hold')$$, '1000 items'
);
select is_empty($$select * from audit.verify_integrity()$$, 'the books agree at last');

select * from finish();
rollback;
