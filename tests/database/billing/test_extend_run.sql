-- A run reserves more while it goes on.
begin;
select plan(50);

select tests.freeze_clock('2026-03-10 12:00+00');
select tests.price('m');
create temp table scene as select tests.organization('Acme') as org, tests.organization('Bravo') as bravo;
select tests.buy(org, 10), tests.buy(bravo, 10) from scene;
create temp table run as
select
  (billing.start_run(org, 100, 10, 'm', 1, 0, p_slots => 4)).id as id,
  tests.run(bravo, 1) as bravo_run, tests.run(org, 0) as ended, tests.run(org, 0) as free
from scene;
select r.id from run, billing.complete_run(ended) as r;

select tests.freeze_clock('2026-03-10 13:00+00');
select results_eq(
  $$select input_tokens_estimated::bigint, output_tokens_estimated::bigint, tokens_estimated,
      input_cost_estimated::numeric, output_cost_estimated::numeric, cost_estimated::numeric,
      status, created_at, updated_at
    from run, billing.extend_run(run.id, 5, 7, 0.25, 0.500000000001) as r$$,
  $$values (105::bigint, 17::bigint, 122::bigint, 1.25, 0.500000000001, 1.750000000001, 'running',
    '2026-03-10 12:00+00'::timestamptz, '2026-03-10 13:00+00'::timestamptz)$$,
  'its estimate is raised, as stated'
);
select results_eq(
  $$select balance, reserved from scene, tests.credits(org)$$,
  $$values (10.0, 1.750000000001)$$, 'and reserved'
);
select results_eq(
  $$select b.limit_usd::numeric, remaining, b.slot_count
    from run inner join metering.budgets as b on b.id = run.id cross join tests.figures(run.id)$$,
  $$values (1.750000000001, 1.750000000001, 4::smallint)$$, 'it is the limit of its budget'
);
select results_eq(
  $$select input_cost_estimated::numeric, output_cost_estimated::numeric
    from run, billing.extend_run(run.id, 1000, 500)$$,
  $$values (1.2525, 0.505000000001)$$, 'by the price of its model'
);
select results_eq(
  $$select tokens_estimated, cost_estimated::numeric
    from run, billing.extend_run(free, 1, 1, 0.5, 0.25)$$,
  $$values (202::bigint, 0.75)$$, 'one that had nothing has something then'
);
select results_eq(
  $$select tokens_estimated from run, billing.extend_run(free, 1, 1, 0, 0)$$,
  $$values (204::bigint)$$, 'tokens alone may be added'
);
select results_eq(
  $$select tokens_estimated, cost_estimated::numeric
    from run, billing.extend_run(free, p_input_cost_usd => 0.25, p_output_cost_usd => 0)$$,
  $$values (204::bigint, 1.0)$$, 'and money alone'
);

-- Held, spent, and in debt ---------------------------------------------------------------------

create temp table held as
select hold_id as id from scene, run, authorize_spend(org, 'm', 1, p_run_id => run.free);
select results_eq(
  $$select decision from scene, run, authorize_spend(org, 'm', 0.5, p_run_id => run.free)$$,
  $$values ('denied')$$, 'where all is held nothing is granted'
);
select r.id from run, billing.extend_run(free, 0, 0, 0.5, 0) as r;
select results_eq(
  $$select decision from scene, run, authorize_spend(org, 'm', 0.5, p_run_id => run.free)$$,
  $$values ('granted')$$, 'extended it is'
);
select tests.settle(id, 3) from held;
select results_eq(
  $$select settled, held, remaining, is_closed from run, tests.figures(free)$$,
  $$values (3.0, 0.5, -2.0, true)$$, 'a call that took more leaves a debt'
);
select r.id from run, billing.extend_run(free, 0, 0, 1.5, 0) as r;
select results_eq(
  $$select remaining, is_closed from run, tests.figures(free)$$, $$values (-0.5, true)$$,
  'an extension pays that first'
);
select r.id from run, billing.extend_run(free, 0, 0, 0.75, 0) as r;
select results_eq(
  $$select remaining, is_closed from run, tests.figures(free)$$, $$values (0.25, false)$$,
  'the rest may be spent'
);

-- Retries --------------------------------------------------------------------------------------

select results_eq(
  format('select cost_estimated::numeric from run, billing.extend_run(%s) as r', v.arguments),
  $$values (4.75)$$, v.description
)
from (
  values
  ($$free, 1, 1, 1, 0, 'request'$$, 'a request'),
  ($$free, 1, 1, 1.0, 0.00, 'request'$$, 'is made once')
) as v (arguments, description);
create function pg_temp.refusal(p_arguments text)
returns text
language plpgsql
as $$
declare
  v_detail text;
begin
  execute 'select r.* from scene, run, billing.extend_run(' || p_arguments || ') as r';
  return 'extended';
exception when others then
  get stacked diagnostics v_detail = pg_exception_detail;
  return concat_ws(
    ' ', sqlstate, v_detail::jsonb ->> 'argument', v_detail::jsonb ->> 'request_id',
    v_detail::jsonb ->> 'state'
  );
end
$$;
create temp view everything as
select
  (select jsonb_agg(to_jsonb(r) order by r.id) from billing.run_records as r) as runs,
  (select jsonb_agg(to_jsonb(b) order by b.org_id) from billing.credit_balances as b) as balances,
  (select jsonb_agg(to_jsonb(s) order by s.budget_id, s.slot) from metering.budget_slots as s)
  as slots,
  (select count(*) from metering.request_keys) as keys;
create temp table before as select * from everything;
select is(pg_temp.refusal(v.arguments), v.expected, v.description)
from (
  values
  ($$free, 2, 1, 1, 0, 'request'$$, 'TS409 request', 'more input'),
  ($$free, 1, 2, 1, 0, 'request'$$, 'TS409 request', 'more output'),
  ($$free, 1, 1, 1.000000000001, 0, 'request'$$, 'TS409 request', 'more money'),
  ($$free, 1, 1, 0, 1, 'request'$$, 'TS409 request', 'other money'),
  ($$run.id, 1, 1, 1, 0, 'request'$$, 'TS409 request', 'another run'),
  ($$null, 1, 1, 1, 0$$, '22023 p_run_id', 'no run'),
  ($$free, null, 1, 1, 0$$, '22023 p_input_tokens', 'no input'),
  ($$free, -1, 1, 1, 0$$, '22023 p_input_tokens', 'less input than none'),
  ($$free, 1, null, 1, 0$$, '22023 p_output_tokens', 'no output'),
  ($$free, 1, -1, 1, 0$$, '22023 p_output_tokens', 'less output than none'),
  ($$free, 1, 1$$, '22023 p_model', 'neither costs nor a model'),
  ($$free, 1, 1, 1$$, '22023 p_input_cost_usd, p_output_cost_usd', 'one cost of two'),
  ($$free, 1, 1, -1, 0$$, '22023 p_input_cost_usd', 'a negative cost'),
  ($$free, 1, 1, 0, 'NaN'$$, '22023 p_output_cost_usd', 'a cost of NaN'),
  ($$free, 1, 1, 0.0000000000001, 0$$, '22023 p_input_cost_usd', '13 decimals'),
  ($$free, 9007199254740991, 0, 1, 0$$, '22023 p_input_tokens, p_output_tokens',
    'more tokens than can be told apart'),
  ($$free, 9223372036854775807, 1, 1, 0$$, '22023 p_input_tokens, p_output_tokens',
    'more than can be added'),
  ($$free, 1, 1, 999999999999, 0$$, '22023 p_input_cost_usd, p_output_cost_usd',
    'a trillion together'),
  ($$free, 1, 1, 1, 0, ' '$$, '22023 p_request_id', 'a blank request id'),
  ($$free, 1, 1, 1, 0, repeat('r', 256)$$, '22023 p_request_id', 'a request id of 256 characters'),
  ($$free, 1, 1, 100, 0, 'refused'$$, 'TS402', 'more than there is'),
  ($$gen_random_uuid(), 1, 1, 1, 0$$, 'TS404', 'an unknown run'),
  ($$bravo_run, 1, 1, 1, 0, null, scene.org$$, 'TS404', 'the run of another'),
  ($$free, 1, 1, 1, 0, null, gen_random_uuid()$$, 'TS404', 'a run of an unknown organization'),
  ($$ended, 1, 1, 1, 0$$, 'TS410 completed', 'a run that has ended'),
  ($$ended, 0, 0, 0, 0$$, 'TS410 completed', 'by nothing as well')
) as v (arguments, expected, description);
select results_eq('table everything', 'table before', 'what is refused or repeated changes nothing');
select is(
  tests.facts_of('select billing.extend_run(free, 1, 1, 99, 1) from run'),
  jsonb_build_object(
    'org_id', org, 'needed_usd', '100',
    'available_usd', (select trim_scale(balance - reserved)::text from tests.credits(org))
  ),
  'what is needed and what there is are facts'
)
from scene;
select is(pg_temp.refusal(v.arguments), 'extended', v.description)
from (
  values
  ($$free, 1, 1, 0.5, 0, 'refused', scene.org$$, 'a refusal binds no request id'),
  ($$bravo_run, 1, 1, 1, 0, 'request'$$, 'the same request id of another organization'),
  ($$free, 0, 0, 0, 0$$, 'by nothing')
) as v (arguments, description);
select metering.freeze(org) from scene;
select is(pg_temp.refusal('free, 1, 1, 1, 0'), 'TS423', 'of a frozen organization not');
select metering.unfreeze(org) from scene;
select r.id from run, billing.cancel_run(free) as r;
select results_eq(
  $$select r.status, r.cost_estimated::numeric
    from run, billing.extend_run(free, 1, 1, 1, 0, 'request') as r$$,
  $$values ('cancelled', 5.25)$$, 'a repeated request shows what became of the run'
);
select is(pg_temp.refusal($$free, 1, 1, 1, 0$$), 'TS410 cancelled', 'how it ended is a fact');

-- What a refund is at most: all that was reserved ------------------------------------------------

select r.id from run, billing.complete_run(run.id) as r;
select results_eq(
  $$select c.estimated_input_tokens::bigint, c.estimated_output_tokens::bigint,
      c.estimated_cost_usd::numeric, c.refund_amount_usd::numeric
    from run inner join billing.token_reconciliations as c on c.run_id = run.id$$,
  $$values (1105::bigint, 517::bigint, 1.757500000001, 1.757500000001)$$,
  'a refund is at most what was reserved, extensions included'
);

select is_empty($$select * from audit.verify_integrity()$$, 'the books agree');
select * from finish();
rollback;
