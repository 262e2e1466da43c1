-- Ways around paying, each tried: what is spent is charged, or it is not granted.
begin;
select plan(26);

select tests.freeze_clock('2026-03-10 12:00+00');
select tests.price('m');
select tests.price('free', 0, 0);
create temporary table scene as
select
  o.org, tests.member(o.org) as member, tests.member(o.org, 'owner') as owner,
  tests.workflow(o.org) as workflow, gen_random_uuid() as nobody
from (select tests.organization() as org) as o;
grant select on scene to authenticated;

create function pg_temp.answer(p_statement text)
returns text
language plpgsql
as $$
declare
  v_answer text;
begin
  execute 'select ' || p_statement || ' from scene' into v_answer;
  return v_answer;
exception when others then
  return sqlstate;
end
$$;

-- Before there are credits ---------------------------------------------------------------------

create temporary table early as select tests.hold(org, 1, 'm', '24 hours') as hold from scene;
select is(
  pg_temp.answer('(billing.start_run(org, 0, 0, p_input_cost_usd => 0, p_output_cost_usd => 0)).id'),
  'TS402', 'a run needs credits, one that costs nothing too'
);
select is_empty('select from billing.credit_balances', 'and makes nobody pay in advance');
select settle_spend(
  (authorize_spend(org, 'm', 1, p_workflow_id => workflow, p_run_id => workflow)).hold_id, null, 0.5
) from scene;
select is_empty(
  'select from billing.token_records', 'a label that is the id of another budget is no run'
);
select tests.buy(org, 10) from scene;
select is(
  pg_temp.answer(format('(extend_hold(%L, null, 5)).held_usd', hold)), 'TS402',
  'what is older than the credits gets no more'
) from early;
select is(
  pg_temp.answer(format('(extend_hold(%L, ''1 hour'')).held_usd', hold)), '1.000000000000',
  'but for time'
) from early;

-- Labels ----------------------------------------------------------------------------------------

create temporary table caps as
select tests.cap(org, 'tag', 'a=b', 'total', 5000) as cap from scene;
select is(
  pg_temp.answer(format('(metering.change_budget(org, %L, ''run'', %L)).is_funded', cap, cap)),
  'false', 'a budget over its own id is not funded'
) from caps;
select is(
  pg_temp.answer(format('(authorize_spend(org, ''m'', 50, p_run_id => %L)).decision', cap)),
  'TS404', 'and no run'
) from caps;
select is(
  pg_temp.answer('(authorize_spend(org, ''m'', 1, p_run_id => nobody)).decision'), 'TS404',
  'nor is any other label'
);

-- Runs that have ended --------------------------------------------------------------------------

create temporary table runs as
select tests.run(org, 1) as cancelled, tests.run(org, 1) as zero from scene;
create temporary table holds as
select
  (authorize_spend(org, 'm', 0.5, p_run_id => cancelled)).hold_id as late,
  (
    authorize_spend(org, 'free', p_input_tokens => 5, p_max_output_tokens => 5, p_run_id => zero)
  ).hold_id as nothing
from scene, runs;
select is((billing.cancel_run(cancelled)).action, 'refund_applied', 'cancelled') from runs;
select is(
  pg_temp.answer(format('(upsert_intent_workflow(%L, org, ''{}'')).id', r.id)), '22023',
  'no workflow takes the id of a run that ' || r.state
) from runs cross join lateral (values (cancelled, 'has ended'), (zero, 'goes on')) as r (id, state);
select is(
  pg_temp.answer(format('(billing.extend_run(%L, 0, 0, 1, 0)).id', cancelled)), 'TS410',
  'an ended run gets no more'
) from runs;
create temporary table before_it as select b.balance from scene, tests.credits(org) as b;
select tests.settle(late, 0.25) from holds;
select is(
  (select b.balance - c.balance from before_it as b, scene, tests.credits(org) as c), 0.25,
  'what lands late is charged'
);
select is(
  pg_temp.answer(format('(billing.complete_run(%L)).id', zero)), 'TS423',
  'a hold of nothing keeps its run open'
) from runs;
select is(
  pg_temp.answer(format('(settle_spend(%L, ''{"input_tokens": 5}'')).cost', nothing)),
  '0.000000000000', 'it is settled'
) from holds;
select is(
  (billing.complete_run(zero)).actual_total_tokens::bigint, 5::bigint, 'and counted'
) from runs;

-- Draws that were closed ------------------------------------------------------------------------

create temporary table zero_hold as
select (
  authorize_spend(
    org, 'free', p_input_tokens => 5, p_max_output_tokens => 5, p_expires_in => '24 hours'
  )
).hold_id as hold
from scene;
select tests.settle(tests.hold(org, 1, 'm'), 0.75) from scene;
select tests.freeze_clock('2026-03-11 00:02+00');
select is(billing.close_draws(), 0, 'a hold of nothing keeps its draw open');
select is(
  pg_temp.answer(format('(extend_hold(%L, null, 5)).held_usd', hold)), '5.000000000000',
  'from which it can get more'
) from zero_hold;
select is(pg_temp.answer(format('(extend_hold(%L, null, 50)).held_usd', hold)), 'TS402', 'not all')
from zero_hold;
select release_spend(hold) from zero_hold;
select release_spend(hold) from early;
select is(billing.close_draws(), 1, 'then it is closed');

-- Clocks that are set back ----------------------------------------------------------------------

select tests.freeze_clock('2026-03-10 23:59:59+00');
select is(
  pg_temp.answer('(authorize_spend(org, ''m'', 1)).decision'), 'granted',
  'a draw that was closed goes on where a clock is set back'
);
select is(
  (select array_agg(d.status) from billing.draws as d), array['open'], 'it is one draw'
);
select tests.settle(h.id, 0.5)
from metering.holds as h where h.state = 'open' and h.held_usd = 1;
create temporary table ended as select tests.run(org, 1) as run from scene;
select billing.complete_run(run) from ended;
select tests.freeze_clock('2026-03-10 11:59+00');
create temporary table before_this as select b.balance from scene, tests.credits(org) as b;
select tests.call(run, 0.125) from ended;
select is(
  (select b.balance - c.balance from before_this as b, scene, tests.credits(org) as c), 0.125,
  'late usage is charged though the clock is behind the first credits'
);
select tests.freeze_clock('2026-03-11 00:02+00');
select is(billing.close_draws(), 1, 'the draw is closed again');
select results_eq(
  $$
    select d.cost_incurred::numeric, sum(l.amount_usd)
    from billing.draws as d inner join billing.billing_ledger as l on l.draw_id = d.id
    group by d.org_id, d.id
  $$,
  'values (1.25, 1.25)', 'and has charged all that it cost'
);
select is_empty('select * from audit.verify_integrity()', 'all of that agrees');

select * from finish();
rollback;
