-- Finance or an owner objects to a reconciliation, an operator resolves it.
begin;
select plan(69);

grant app_user, tallystick_reader to current_user;
select tests.freeze_clock('2026-03-10 12:00+00');
create temp table scene as
select o.org, tests.organization('Bravo') as bravo, r.*
from (select tests.organization('Acme') as org) as o
cross join lateral (
  select
    tests.member(o.org, 'owner') as owner, tests.member(o.org, 'admin') as admin,
    tests.member(o.org, 'finance') as finance, tests.member(o.org, 'member') as member,
    tests.member(o.org, 'viewer') as viewer, gen_random_uuid() as stranger
) as r;
grant select on scene to public;
select tests.buy(org, 10), tests.buy(bravo, 10) from scene;

-- One of each status: fine, to be looked at, critical.
create temp table runs as
select
  tests.run(org, 1) as reconciled, tests.run(org, 1) as needs_review, tests.run(org, 1) as critical,
  tests.run(org, 1) as running, tests.run(bravo, 1) as bravo_run, tests.run(bravo, 1) as fresh
from scene;
grant select on runs to public;
select tests.call(reconciled, 1, 200), tests.call(needs_review, 0.5, 350), tests.call(critical, 3, 1000)
from runs;
select c.status from runs, unnest(array[reconciled, needs_review, critical, bravo_run, fresh]) as r (id),
  billing.complete_run(r.id) as c;

-- Anything may be disputed ------------------------------------------------------------------------

select results_eq(
  $$select status from runs inner join billing.token_reconciliations as c
      on c.run_id in (reconciled, needs_review, critical) order by 1$$,
  $$values ('CRITICAL'), ('NEEDS_REVIEW'), ('RECONCILED')$$, 'what was reconciled'
);
select tests.freeze_clock('2026-03-10 13:00+00');
select results_eq(
  format(
    'select c.status, c.action, c.notes, c.updated_at, c.resolved_at
    from runs, billing.dispute_reconciliation(%s, %L) as c', v.run, v.notes
  ),
  format(
    $$values ('DISPUTED', %L, %L, '2026-03-10 13:00+00'::timestamptz, null::timestamptz)$$,
    v.action, v.notes
  ),
  v.run || ' may be disputed'
)
from (
  values
  ('reconciled', 'none', 'too dear'), ('needs_review', 'refund_applied', null),
  ('critical', 'escalated_to_team', 'nobody asked for it')
) as v (run, action, notes);
select results_eq(
  $$select c.status, c.notes from runs, billing.dispute_reconciliation(critical) as c$$,
  $$values ('DISPUTED', 'nobody asked for it')$$, 'again it is as it was'
);
select results_eq(
  $$select c.status, c.notes from runs, billing.dispute_reconciliation(critical, 'still') as c$$,
  $$values ('DISPUTED', 'still')$$, 'with another note'
);
select results_eq(
  $$select reconciliation_status from runs
      inner join billing.v_run_billing_summary as v on v.run_id = critical$$,
  $$values ('DISPUTED')$$, 'the summary says so'
);
create temp table before as select count(*) as movements from billing.billing_ledger;

-- Resolved without a refund -----------------------------------------------------------------------

select tests.freeze_clock('2026-03-10 14:00+00');
create temp table resolved as
select c.* from runs, billing.resolve_dispute(reconciled, p_notes => 'as agreed') as c;
select results_eq(
  'select status, action, notes, updated_at, resolved_at, refund_amount_usd::numeric,
    dispute_refund_usd::numeric from resolved',
  $$values ('RESOLVED', 'dispute_resolved', 'as agreed', '2026-03-10 14:00+00'::timestamptz,
    '2026-03-10 14:00+00'::timestamptz, 0.0, 0.0)$$,
  'a dispute is resolved without a refund'
);
select results_eq(
  'select count(*) from billing.billing_ledger', 'select movements from before', 'nothing moves'
);
select results_eq(
  $$select reconciliation_status from runs
      inner join billing.v_run_billing_summary as v on v.run_id = reconciled$$,
  $$values ('RESOLVED')$$, 'the summary says so'
);
select tests.freeze_clock('2026-03-10 15:00+00');
select results_eq(
  format('select c.* from runs, billing.resolve_dispute(%s) as c', v.arguments), 'table resolved',
  v.description
)
from (
  values
  ('reconciled', 'again it is the same'),
  ($$reconciled, 0.000, 'other notes'$$, 'whatever the notes say')
) as v (arguments, description);
select results_eq(
  'select count(*) from billing.billing_ledger', 'select movements from before', 'nothing moves yet'
);

-- With a refund ----------------------------------------------------------------------------------

select results_eq(
  $$select c.status, c.notes, c.refund_amount_usd::numeric
    from runs, billing.resolve_dispute(needs_review, 0.250000000001, 'half') as c$$,
  $$values ('RESOLVED', 'half', 0.5)$$, 'a dispute is resolved with a refund'
);
select results_eq(
  $$select l.transaction_type, l.direction, l.amount_usd::numeric, l.reason::text,
      l.created_by::text, l.run_id = needs_review
    from runs, scene inner join billing.billing_ledger as l on l.org_id = org
    where l.reason = 'user_dispute_resolution'$$,
  $$values ('refund', 'credit', 0.250000000001, 'user_dispute_resolution', 'support', true)$$,
  'which is a movement of the run'
);
select results_eq(
  $$select c.status from runs, billing.resolve_dispute(needs_review, 0.250000000001) as c$$,
  $$values ('RESOLVED')$$, 'said again'
);
select results_eq(
  $$select count(*) from runs inner join billing.billing_ledger as l on l.run_id = needs_review
    where l.reason = 'user_dispute_resolution'$$,
  $$values (1::bigint)$$, 'it is made once'
);

-- What is owed is waived first --------------------------------------------------------------------

-- A run that was to cost 1 and cost 3 of 1.5 credits; 4 more came late; then so much was paid. What
-- each debt is now and what was waived of it, and what moved.
create function pg_temp.refunded(p_paid numeric, p_refund numeric)
returns text
language plpgsql
as $$
declare
  v_org uuid := tests.organization('Debtor');
  v_run uuid;
  v_moved integer;
  v_state text;
begin
  perform tests.buy(v_org, 1.5);
  v_run := tests.run(v_org, 1);
  perform tests.call(v_run, 3);
  perform billing.complete_run(v_run);
  perform tests.call(v_run, 4);
  if p_paid > 0 then
    perform tests.buy(v_org, p_paid);
  end if;
  v_moved := (select count(*) from tests.movements(v_org));
  perform billing.dispute_reconciliation(v_run);
  begin
    perform billing.resolve_dispute(v_run, p_refund);
  exception when sqlstate '22023' then
    v_state := 'refused';
  end;
  return concat_ws(
    ', ', v_state,
    (
      select string_agg(
        trim_scale(x.outstanding_usd) || ' waived ' || trim_scale(x.waived_usd), ', '
        order by x.number
      )
      from billing.receivables as x where x.run_id = v_run
    ),
    (select string_agg(m, ' ') from (select tests.movements(v_org) as m offset v_moved) as n)
  );
end
$$;
select is(pg_temp.refunded(v.paid, v.refund), v.expected, v.description)
from (
  values
  (0, 0, '1.5 waived 0, 4 waived 0', 'no refund'),
  (0, 0.000000000001, '1.499999999999 waived 0.000000000001, 4 waived 0', 'a trillionth'),
  (0, 2, '0 waived 1.5, 3.5 waived 0.5', 'the oldest debt, and a part of the next'),
  (0, 5.5, '0 waived 1.5, 0 waived 4', 'all that is owed'),
  (0, 5.500000000001,
    '0 waived 1.5, 0 waived 4, +0.000000000001 user_dispute_resolution', 'and a trillionth more'),
  (0, 7, '0 waived 1.5, 0 waived 4, +1.5 user_dispute_resolution', 'all that it cost'),
  (0, 7.000000000001, 'refused, 1.5 waived 0, 4 waived 0', 'no more than that'),
  (2, 3, '0 waived 0, 0.5 waived 3', 'what was paid is not waived'),
  (2, 4, '0 waived 0, 0 waived 3.5, +0.5 user_dispute_resolution', 'it comes back'),
  (5.5, 7, '0 waived 0, 0 waived 0, +7 user_dispute_resolution', 'all that was paid'),
  (100, 7.000000000001, 'refused, 0 waived 0, 0 waived 0', 'and no more, whatever there is')
) as v (paid, refund, expected, description);

-- Who --------------------------------------------------------------------------------------------

create function pg_temp.attempt(p_role text, p_user uuid, p_call text)
returns text
language plpgsql
as $$
declare
  v_status text;
begin
  perform tests.act_as(p_role, p_user);
  begin
    execute 'select c.status from scene, runs, billing.' || p_call || ' as c' into v_status;
  exception when others then
    v_status := sqlstate;
  end;
  reset role;
  return v_status;
end
$$;
select is(
  pg_temp.attempt(
    v.role, case v.person when 'owner' then owner when 'admin' then admin when 'finance' then finance
      when 'member' then member when 'viewer' then viewer when 'stranger' then stranger end, v.call
  ),
  v.expected, concat_ws(' ', coalesce(v.person, v.role), v.call)
)
from scene, (
  values
  ('authenticated', 'owner', 'dispute_reconciliation(critical)', 'DISPUTED'),
  ('authenticated', 'finance', 'dispute_reconciliation(critical, null, org)', 'DISPUTED'),
  ('authenticated', 'admin', 'dispute_reconciliation(critical)', '42501'),
  ('authenticated', 'member', 'dispute_reconciliation(critical)', '42501'),
  ('authenticated', 'viewer', 'dispute_reconciliation(critical)', '42501'),
  ('authenticated', 'stranger', 'dispute_reconciliation(critical)', 'TS404'),
  ('authenticated', 'stranger', 'dispute_reconciliation(critical, null, org)', 'TS404'),
  ('authenticated', 'owner', 'dispute_reconciliation(bravo_run)', 'TS404'),
  ('authenticated', 'owner', 'dispute_reconciliation(bravo_run, null, org)', 'TS404'),
  ('authenticated', 'owner', 'dispute_reconciliation(running)', 'TS404'),
  ('authenticated', 'owner', 'dispute_reconciliation(gen_random_uuid())', 'TS404'),
  ('authenticated', 'owner', 'resolve_dispute(critical)', '42501'),
  ('anon', null, 'dispute_reconciliation(critical)', '42501'),
  ('app_user', null, 'dispute_reconciliation(critical)', 'DISPUTED'),
  ('app_user', null, 'resolve_dispute(critical)', '42501'),
  ('tallystick_reader', null, 'dispute_reconciliation(critical)', '42501'),
  ('service_role', null, 'dispute_reconciliation(critical)', 'DISPUTED'),
  ('service_role', null, 'resolve_dispute(critical)', 'RESOLVED')
) as v (role, person, call, expected);

-- Refusals ---------------------------------------------------------------------------------------

create function pg_temp.refusal(p_call text)
returns text
language plpgsql
as $$
declare
  v_detail text;
begin
  execute 'select c.id from scene, runs, billing.' || p_call || ' as c';
  return 'done';
exception when others then
  get stacked diagnostics v_detail = pg_exception_detail;
  return concat_ws(
    ' ', sqlstate, v_detail::jsonb ->> 'argument', v_detail::jsonb ->> 'state'
  );
end
$$;
select billing.dispute_reconciliation(bravo_run) from runs;
select is(pg_temp.refusal(v.call), v.expected, v.call)
from (
  values
  ('dispute_reconciliation(null)', '22023 p_run_id'),
  ($$dispute_reconciliation(bravo_run, repeat('n', 10001))$$, '22023 p_notes'),
  ('dispute_reconciliation(gen_random_uuid())', 'TS404'),
  ('dispute_reconciliation(running)', 'TS404'),
  ('dispute_reconciliation(bravo_run, null, org)', 'TS404'),
  ('dispute_reconciliation(bravo_run, null, gen_random_uuid())', 'TS404'),
  ('resolve_dispute(null)', '22023 p_run_id'),
  ('resolve_dispute(bravo_run, null)', '22023 p_refund_usd'),
  ('resolve_dispute(bravo_run, -1)', '22023 p_refund_usd'),
  ($$resolve_dispute(bravo_run, 'NaN')$$, '22023 p_refund_usd'),
  ('resolve_dispute(bravo_run, 0.0000000000001)', '22023 p_refund_usd'),
  ('resolve_dispute(bravo_run, 0.000000000001)', '22023 p_refund_usd'),
  ($$resolve_dispute(bravo_run, 0, repeat('n', 10001))$$, '22023 p_notes'),
  ('resolve_dispute(gen_random_uuid())', 'TS404'),
  ('resolve_dispute(bravo_run, 0, null, org)', 'TS404'),
  ('resolve_dispute(fresh)', 'TS410 NEEDS_REVIEW'),
  ('resolve_dispute(running)', 'TS404'),
  ('dispute_reconciliation(critical)', 'TS410 RESOLVED'),
  ('resolve_dispute(needs_review)', 'TS409'),
  ('resolve_dispute(needs_review, 0.250000000002)', 'TS409'),
  ($$dispute_reconciliation(bravo_run, repeat('n', 10000), bravo)$$, 'done'),
  ($$resolve_dispute(bravo_run, 0, repeat('n', 10000), bravo)$$, 'done')
) as v (call, expected);

select is_empty($$select * from audit.verify_integrity()$$, 'the books agree');
select * from finish();
rollback;
