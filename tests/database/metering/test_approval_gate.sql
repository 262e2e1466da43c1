-- Calls that need approval: needs_approval, approved, rejected, lapsed; extensions and batches.
begin;
select plan(86);

grant app_user, tallystick_writer to current_user;
select tests.freeze_clock('2026-03-10 12:00:00+00');
create temp table scene as
select
  o.org,
  tests.workflow(o.org) as workflow,
  tests.member(o.org, 'owner') as owner,
  tests.member(o.org, 'finance') as finance,
  tests.member(o.org, 'member') as member,
  tests.member(o.org, 'viewer') as viewer
from (select tests.organization('Acme') as org) as o;
grant select on scene to public;
select tests.cap(org, 'organization', null, 'total', 100) is not null as capped from scene;
select p.id is not null as priced
from pricing.set_price('p', 'm', '{"input_tokens": 1, "output_tokens": 1}') as p;
select pricing.set_model_name('p', 'alias', 'm') is not null as named;

create function pg_temp.ask(
  p_request_id text,
  p_cost numeric default 6,
  p_model text default 'm',
  p_expires_in interval default '10 minutes'
)
returns metering.spend_decision
language sql
as $$
  select d.*
  from scene, public.authorize_spend(
    org, p_model, p_cost, p_request_id => p_request_id, p_expires_in => p_expires_in
  ) as d
$$;
create function pg_temp.said(p_decision metering.spend_decision)
returns text
language sql
as $$
  select p_decision.decision || coalesce(': ' || p_decision.reason, '')
$$;
create function pg_temp.bound(p_request_id text)
returns uuid
language sql
as $$
  select subject_id from scene inner join metering.request_keys on organization_id = org
  where request_id = p_request_id
$$;
create function pg_temp.decide(p_action text, p_request_id text)
returns text
language plpgsql
as $$
declare
  v_outcome accounting.approval_outcome;
begin
  perform tests.act_as('authenticated', (select owner from scene));
  execute format(
    'select d.* from scene, accounting.%s_proposal(org, %L) as d',
    p_action, pg_temp.latest(p_request_id)
  ) into v_outcome;
  reset role;
  return coalesce(v_outcome.error_code, v_outcome.status);
end
$$;
create function pg_temp.latest(p_request_id text)
returns text
language sql
security definer
as $$
  select p.proposal_id from accounting.approval_proposals as p
  where p.correlation_id = p_request_id
  order by p.status <> 'proposed', p.created_at desc, p.proposal_id desc
  limit 1
$$;
create function pg_temp.held()
returns numeric
language sql
as $$
  select f.held from scene, tests.figures(org) as f
$$;
create function pg_temp.proposals(p_request_id text)
returns bigint
language sql
as $$
  select count(*) from accounting.approval_proposals where correlation_id = p_request_id
$$;

-- Without a rule, and below the threshold -------------------------------------------------------

select is(pg_temp.said(pg_temp.ask('free', 50)), 'granted', 'without a rule nobody is asked');
select is((select state::text from scene, public.release_spend(pg_temp.bound('free'))), 'released', 'given back');
select r.rule_id
from scene, accounting.set_policy_rule(org, 'calls', 5, p_tool_name => 'authorize_spend') as r;
select is(pg_temp.said(pg_temp.ask('five', 5)), 'granted', 'at the threshold nobody is asked');
select is(
  (select proposal_id from metering.holds where id = pg_temp.bound('five')), null, 'and nothing was approved'
);

-- Above it ------------------------------------------------------------------------------------

select is(
  pg_temp.said(pg_temp.ask(null)), 'denied: approval_needs_request_id',
  'a call above it without a request id is denied'
);
create temp table first as select d.* from pg_temp.ask('six') as d;
select is(pg_temp.said(d), 'needs_approval', 'with one it needs approval') from pg_temp.ask('six') as d;
select results_eq(
  $$select * from pg_temp.ask('six')$$, 'table first', 'a retry is answered the same'
);
select results_eq(
  $$select decision, proposal_id, hold_id, held_usd from first$$,
  $$select 'needs_approval', pg_temp.bound('six'), null::uuid, null::text$$, 'the key names the proposal'
);
select is(pg_temp.held(), 5::numeric, 'no money is held for it');
select is(pg_temp.proposals('six'), 1::bigint, 'there is one proposal');
select results_eq(
  $$select tool_name::text, source_system::text, impact_amount::numeric, policy_threshold_amount::numeric,
      matched_rule_id::text, required_approvals, status, authn_method,
      (request_payload::jsonb ->> 'model') || ' ' || (request_payload::jsonb ->> 'estimated_cost')
    from accounting.approval_proposals where correlation_id = 'six'$$,
  $$values ('authorize_spend', 'tallystick', 6::numeric, 5::numeric, 'calls', 1, 'proposed', 'asserted',
    'm 6')$$, 'which says what is asked for'
);
select results_eq(
  $$select status, error_code from scene inner join audit.event_log as e on e.organization_id = org
    where correlation_id = 'six'$$, $$values ('proposed', 'TS428')$$, 'and is on record once'
);
select throws_ok(
  $$select pg_temp.ask('six', 7)$$, 'TS409', null, 'its id with other content is refused'
);
select is(
  pg_temp.said(pg_temp.ask('much', 1000)), 'denied: budget_exceeded',
  'what no budget covers is denied, not proposed'
);
select is(pg_temp.bound('much'), null, 'and binds nothing');
select is(pg_temp.said(d), v.outcome, v.description)
from (
  values
  (6.0, 'needs_approval', 'an estimate says that approval is needed'),
  (5.0, 'granted', 'or not')
) as v (cost, outcome, description)
cross join scene
cross join lateral public.estimate_spend(org, 'm', v.cost) as d;
select tests.act_as('authenticated', viewer) from scene;
select is(
  pg_temp.said(d), 'needs_approval', 'to a viewer too'
) from scene, public.estimate_spend(org, 'm', 6) as d;
reset role;

-- Approved ------------------------------------------------------------------------------------

select is(pg_temp.decide('approve', 'six'), 'committed', 'it is approved');
select is(pg_temp.held(), 5::numeric, 'which takes no money');
select is(
  (select approved_until from accounting.approval_proposals where correlation_id = 'six'),
  '2026-03-11 12:00:00+00'::timestamptz, 'for a day'
);
select results_eq(
  $$select payload ->> 'status', payload ->> 'correlation_id', payload ->> 'approved_until', subject_id
    from scene inner join audit.outbox as o on o.organization_id = org
    where topic = 'accounting.approval_decided'$$,
  $$select 'committed', 'six', '2026-03-11T12:00:00.000000Z', pg_temp.bound('six')$$,
  'the requester is told'
);
select tests.freeze_clock('2026-03-11 11:00:00+00');
select tests.cap(org, 'organization', null, 'total', 5) is not null as capped from scene;
select is(
  pg_temp.said(pg_temp.ask('six')), 'denied: budget_exceeded', 'it is admitted like any other: not beyond a cap'
);
select tests.cap(org, 'organization', null, 'total', 100) is not null as capped from scene;
select is(pg_temp.said(pg_temp.ask('six')), 'granted', 'within it, it is granted');
select results_eq(
  $$select held_usd::numeric, proposal_id from metering.holds where id = pg_temp.bound('six')$$,
  $$select 6::numeric, proposal_id from first$$, 'by the proposal, and the key names the hold'
);
select results_eq(
  $$select hold_id from pg_temp.ask('six')$$, $$select pg_temp.bound('six')$$, 'a retry is the same grant'
);
select is(pg_temp.decide('approve', 'six'), 'committed', 'approved again, nothing happens');

-- Extensions ----------------------------------------------------------------------------------

select throws_ok(
  $$select public.extend_hold(pg_temp.bound('six'), p_additional_cost => 0.000000000001)$$, 'TS428', null,
  'an approved hold does not grow beyond its amount'
);
select lives_ok(
  $$select public.extend_hold(pg_temp.bound('six'), p_expires_in => '20 minutes')$$, 'it may last longer'
);
select is(pg_temp.said(pg_temp.ask('small', 4)), 'granted', 'a hold below the threshold');
select lives_ok(
  $$select public.extend_hold(pg_temp.bound('small'), p_additional_cost => 1)$$, 'may grow to it'
);
select throws_ok(
  $$select public.extend_hold(pg_temp.bound('small'), p_additional_cost => 0.01)$$, 'TS428', null,
  'not beyond'
);
select is(
  (select held_usd::numeric from metering.holds where id = pg_temp.bound('small')), 5::numeric,
  'what was refused took nothing'
);

-- One approval, one hold ----------------------------------------------------------------------

create temp table old as select pg_temp.bound('six') as hold, (select proposal_id from first) as proposal;
select tests.freeze_clock('2026-03-11 11:30:00+00');
select is(pg_temp.said(pg_temp.ask('six')), 'granted', 'once its hold has expired another takes its place');
select isnt(pg_temp.bound('six'), hold, 'another hold') from old;
select is(
  (select proposal_id from metering.holds where id = pg_temp.bound('six')), proposal, 'by the same approval'
) from old;
select is((select state::text from metering.holds where id = hold), 'expired', 'the first is over') from old;
select is(
  (select settlement::text from public.settle_spend((select hold from old), p_cost => 1)), 'after_hold',
  'it can still be settled late'
);
select is(
  (select state::text from public.release_spend(pg_temp.bound('six'))), 'released', 'the second is released'
);
select is(pg_temp.said(pg_temp.ask('six')), 'needs_approval', 'that was it: there is a new proposal');
select is(pg_temp.proposals('six'), 2::bigint, 'the second');
select isnt(pg_temp.bound('six'), proposal, 'which the key names') from old;
select is(pg_temp.decide('approve', 'six'), 'committed', 'it is approved');
select is(pg_temp.said(pg_temp.ask('six')), 'granted', 'and granted');
select is(
  (select trim_scale(cost)::text from public.settle_spend(pg_temp.bound('six'), p_cost => 5.5)), '5.5', 'settled'
);
select is(pg_temp.said(pg_temp.ask('six')), 'settled', 'it is answered as settled');

-- Lapsed --------------------------------------------------------------------------------------

select is(pg_temp.said(pg_temp.ask('late')), 'needs_approval', 'another');
select is(pg_temp.decide('approve', 'late'), 'committed', 'is approved');
select tests.freeze_clock('2026-03-12 11:29:59.999999+00');
select is(pg_temp.said(pg_temp.ask('late')), 'granted', 'the day after it is still granted');
select tests.freeze_clock('2026-03-12 11:40:00+00');
select is(
  pg_temp.said(pg_temp.ask('late')), 'needs_approval', 'once its hold has expired and the day is over, no more'
);
select is(pg_temp.proposals('late'), 2::bigint, 'there is a new proposal');
select is(pg_temp.said(pg_temp.ask('later')), 'needs_approval', 'one');
select is(pg_temp.decide('approve', 'later'), 'committed', 'is approved');
select tests.freeze_clock('2026-03-13 11:40:00+00');
select is(pg_temp.said(pg_temp.ask('later')), 'needs_approval', 'and asked for a day later');
select is(pg_temp.proposals('later'), 2::bigint, 'which is a new proposal');

-- Rejected ------------------------------------------------------------------------------------

select is(pg_temp.decide('reject', 'later'), 'rejected', 'it is rejected');
select results_eq(
  $$select decision, reason, proposal_id from pg_temp.ask('later')$$,
  $$select 'denied', 'approval_rejected', pg_temp.bound('later')$$, 'so the call is denied'
);
select is(pg_temp.proposals('later'), 2::bigint, 'and not proposed again');
select is(pg_temp.said(pg_temp.ask('anew')), 'needs_approval', 'under another id it is');

-- The rules of the moment ---------------------------------------------------------------------

select is((select r.active from scene, accounting.retire_policy_rule(org, 'calls') as r), false, 'no rule');
select is(pg_temp.said(pg_temp.ask('anew')), 'needs_approval', 'what is proposed waits on');
select is(pg_temp.said(pg_temp.ask('free2')), 'granted', 'what comes now does not');
select lives_ok(
  $$select public.extend_hold(pg_temp.bound('free2'), p_additional_cost => 10)$$, 'and may grow'
);
select r.rule_id
from scene, accounting.set_policy_rule(
  org, 'model', 1, p_tool_name => 'authorize_spend', p_model => 'alias'
) as r;
select is(
  (select r.model::text from scene inner join accounting.policy_rules as r
    on r.organization_id = org and r.rule_id = 'model'), 'm', 'a rule for a model, by its listed name'
);
select is(pg_temp.said(pg_temp.ask('m1', 2, 'alias')), 'needs_approval', 'holds for every name of it');
select is(pg_temp.said(pg_temp.ask('m2', 2, 'other')), 'granted', 'and for no other model');
select throws_ok(
  $$select public.extend_hold(pg_temp.bound('free2'), p_additional_cost => 1)$$, 'TS428', null,
  'a hold from before grows by the rules of now'
);

-- Velocity ------------------------------------------------------------------------------------

select count(*) from scene, accounting.retire_policy_rule(org, 'model') as r;
select r.rule_id
from scene, accounting.set_policy_rule(
  org, 'fast', 5, p_tool_name => 'authorize_spend', p_velocity_limit_count => 2,
  p_velocity_window_seconds => 60
) as r;
select is(pg_temp.said(pg_temp.ask('f1', 1)) || pg_temp.said(pg_temp.ask('f2', 1)), 'grantedgranted', 'two pass');
select is(pg_temp.said(pg_temp.ask('f2', 1)), 'granted', 'a retry is not counted');
select is(pg_temp.said(pg_temp.ask(null, 1)), 'denied: approval_needs_request_id', 'the third would not');
select is(pg_temp.said(pg_temp.ask('f3', 1)), 'needs_approval', 'it needs approval');
select results_eq(
  $$select status, error_code from scene inner join audit.event_log as e on e.organization_id = org
    where correlation_id = 'f3'$$, $$values ('proposed', 'TS429')$$, 'for it was too fast'
);
select is(pg_temp.decide('approve', 'f3'), 'committed', 'approved');
select is(pg_temp.said(pg_temp.ask('f3', 1)), 'granted', 'it is granted');
select tests.freeze_clock('2026-03-13 11:41:00+00');
select is(pg_temp.said(pg_temp.ask('f4', 1)), 'granted', 'a minute later the next one passes');
select count(*) from scene, accounting.retire_policy_rule(org, 'fast') as r;

-- Members -------------------------------------------------------------------------------------

select r.rule_id
from scene, accounting.set_policy_rule(org, 'calls', 5, p_tool_name => 'authorize_spend') as r;
select tests.act_as('authenticated', member) from scene;
select is(pg_temp.said(pg_temp.ask('mine')), 'needs_approval', 'a member asks');
select results_eq(
  $$select proposed_by::text, authn_method from accounting.approval_proposals$$,
  $$select 'user:' || member, 'jwt' from scene$$, 'and sees that proposal only'
);
select tests.act_as('authenticated', viewer) from scene;
select is_empty('select * from accounting.approval_proposals', 'a viewer sees none');
reset role;
select is(pg_temp.said(d), 'needs_approval', 'a server asks for a member')
from scene, public.authorize_spend(org, 'm', 6, p_user_id => owner, p_request_id => 'named') as d;
select is(
  (select proposed_by::text from accounting.approval_proposals where correlation_id = 'named'),
  'user:' || owner, 'who is the one that proposes'
) from scene;
select is(pg_temp.decide('approve', 'named'), '42501', 'and does not approve');

-- In part, and many at once -------------------------------------------------------------------

select tests.cap(org, 'model', 'q', 'hour', 4) is not null as capped from scene;
select is(
  (select d.decision || ' ' || d.held_usd
    from scene, public.authorize_spend(
      org, 'q', 6, p_request_id => 'part', p_allow_partial => true, p_minimum => 1
    ) as d),
  'granted 4', 'what would be held decides: a part below the threshold needs no approval'
);
select tests.cap(org, 'model', 'q', 'hour', null) is not null as capped from scene;
create temp table batch as
select b.*
from scene, public.authorize_spend_batch(
  org,
  '[{"model": "m", "estimated_cost": "1"}, {"model": "m", "estimated_cost": "6", "request_id": "b1"},
    {"model": "m", "estimated_cost": "6"}, {"model": "m", "estimated_cost": "6", "request_id": "b1"},
    {"model": "m", "estimated_cost": "6", "request_id": "anew"}]'
) as b;
select results_eq(
  $$select item, decision, reason, proposal_id is not null from batch order by item$$,
  $$values (0, 'granted', null, false), (1, 'needs_approval', null, true),
    (2, 'denied', 'approval_needs_request_id', false), (3, 'needs_approval', null, true),
    (4, 'needs_approval', null, true)$$, 'a batch asks for each of its items'
);
select is(pg_temp.decide('approve', 'b1'), 'committed', 'one is approved');
select is(
  (select b.decision from scene, public.authorize_spend_batch(
    org, '[{"model": "m", "estimated_cost": "6", "request_id": "b1"}]') as b),
  'granted', 'and granted in the next'
);
select is_empty(
  $$select f.check_name, f.subject, f.expected, f.actual from scene, audit.verify_integrity(org) as f$$,
  'everything agrees'
);

select * from finish();
rollback;
