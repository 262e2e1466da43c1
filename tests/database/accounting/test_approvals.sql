-- Bundles that need approval: proposed, approved, rejected, and what stands in their way.
begin;
select plan(101);

grant app_user, tallystick_writer to current_user;
select tests.freeze_clock('2026-10-20 12:00:00+00');
create temp table scene as
select
  o.org,
  tests.member(o.org, 'owner') as owner,
  tests.member(o.org, 'admin') as admin,
  tests.member(o.org, 'finance') as finance,
  tests.member(o.org, 'member') as member,
  tests.member(o.org, 'viewer') as viewer,
  tests.member(tests.organization('Other'), 'owner') as stranger
from (select tests.organization('Acme') as org) as o;
grant select on scene to public;
select tests.chart(org) from scene;
select r.rule_id from scene, accounting.set_policy_rule(
  org, 'large', 100, p_tool_name => 'record_transaction_bundle', p_required_approvals => 2
) as r;

-- Acts as a person of the scene, or as a server role.
create function pg_temp.as_one(p_who text)
returns void
language plpgsql
as $$
declare
  v_person uuid := (select (to_jsonb(s) ->> p_who)::uuid from scene as s);
begin
  perform tests.act_as(case when v_person is null then p_who else 'authenticated' end, v_person);
end
$$;
create function pg_temp.propose(
  p_who text,
  p_external_id text,
  p_amount numeric default 500,
  p_date date default '2026-10-15',
  p_more jsonb default '{}',
  p_actor text default null
)
returns jsonb
language plpgsql
as $$
declare
  v_response text;
begin
  perform pg_temp.as_one(p_who);
  select accounting.record_transaction_bundle(
    org, tests.request(p_external_id, p_amount, p_date, p_more => p_more), p_actor
  ) into v_response
  from scene;
  reset role;
  return v_response;
end
$$;
create function pg_temp.proposal(p_external_id text)
returns accounting.approval_proposals
language sql
as $$
  select p.* from scene inner join accounting.approval_proposals as p on p.organization_id = org
  where p.external_id = p_external_id
$$;
-- Decides as one of the scene: the status and the approvals, or the code of a refusal, or the code
-- that was raised.
create function pg_temp.decide(
  p_action text,
  p_who text,
  p_external_id text,
  p_actor text default null
)
returns text
language plpgsql
as $$
declare
  v_id text := (pg_temp.proposal(p_external_id)).proposal_id;
  v_outcome accounting.approval_outcome;
begin
  perform pg_temp.as_one(p_who);
  execute format(
    'select d.* from scene, accounting.%s_proposal(org, %L, ''because'', %L) as d',
    p_action, coalesce(v_id, p_external_id), p_actor
  ) into v_outcome;
  reset role;
  return v_outcome.status || coalesce(
    ' ' || v_outcome.error_code, format(' %s/%s', v_outcome.approvals, v_outcome.required_approvals)
  );
exception when others then
  return 'raised ' || sqlstate;
end
$$;

-- Proposed ------------------------------------------------------------------------------------

select is(pg_temp.propose('finance', 'small', 100) ->> 'status', 'committed', 'a small one is booked');
create temp table first as select pg_temp.propose('finance', 'one') as response;
select is(
  response - array['proposal_id', 'input_hash'],
  '{"correlation_id": "c-one", "entity_id": "entity-default", "error_code": "TS428",
    "external_id": "one", "impact_amount": "500.0000", "matched_rule_id": "large",
    "policy_threshold_amount": "100", "reason": "threshold", "required_approvals": 2,
    "source_system": "test", "status": "proposed"}', 'a large one is proposed'
)
from first;
select is(
  (select count(*) from scene inner join accounting.ledger_transactions as t on t.organization_id = org),
  1::bigint, 'and not booked'
);
select results_eq(
  $$select tool_name::text, correlation_id::text, impact_amount::numeric, policy_threshold_amount::numeric,
      status, matched_rule_id::text, required_approvals, proposed_by::text, authn_method
    from pg_temp.proposal('one')$$,
  $$select 'record_transaction_bundle', 'c-one', 500::numeric, 100::numeric, 'proposed', 'large', 2,
      'user:' || finance, 'jwt' from scene$$, 'it waits'
);
select is(pg_temp.propose('finance', 'one'), response, 'sent again, it is answered the same')
from first;
select is(
  (select response_payload from pg_temp.proposal('one')),
  (select accounting.record_transaction_bundle(org, tests.request('one', 500, '2026-10-15')) from scene),
  'byte for byte, whoever sends it'
);
select is(
  pg_temp.propose('finance', 'one', 501) ->> 'error_code', 'TS409', 'with other content it is refused'
);
select is(
  (select count(*) from scene inner join accounting.approval_proposals as p on p.organization_id = org),
  1::bigint, 'there is one proposal'
);
select bag_eq(
  $$select status, error_code, violation_code from scene inner join audit.event_log as e
    on e.organization_id = org where correlation_id = 'c-one'$$,
  $$values ('proposed', null, null), ('replayed', null, null), ('replayed', null, null),
    ('refused', 'TS409', 'request_conflict')$$, 'each call is on record'
);
select is(
  (select o.payload ->> 'proposal_id' from scene inner join audit.outbox as o on o.organization_id = org
    where topic = 'accounting.approval_requested'),
  (pg_temp.proposal('one')).proposal_id::text, 'and approvers are told'
);

-- Approved ------------------------------------------------------------------------------------

select is(
  pg_temp.decide('approve', 'finance', 'one'), 'refused 42501', 'nobody approves what they proposed'
);
select is(
  pg_temp.decide('approve', v.who, 'one'), v.outcome, v.who || ' may not approve'
)
from (
  values ('member', 'raised 42501'), ('viewer', 'raised 42501'), ('stranger', 'raised 42501'),
  ('anon', 'raised 42501')
) as v (who, outcome);
select is(
  (select count(*) from scene inner join accounting.approval_decisions as d on d.organization_id = org),
  0::bigint, 'none of that is a decision'
);
select is(pg_temp.decide('approve', 'owner', 'one'), 'proposed 1/2', 'one of two approves');
select is(pg_temp.decide('approve', 'owner', 'one'), 'proposed 1/2', 'one person counts once');
select is(
  pg_temp.decide('reject', 'owner', 'one'), 'refused 23001', 'who approved cannot reject any more'
);
select is(
  pg_temp.decide('approve', 'service_role', 'one', 'Zoe'), 'proposed 1/2',
  'whom a server names does not count'
);
select is(
  pg_temp.decide('approve', 'service_role', 'one'), 'raised 22023', 'a server has to name somebody'
);
select is(
  pg_temp.decide('approve', 'admin', 'one', 'Zoe'), 'raised 42501', 'a person may not'
);
select is(pg_temp.decide('approve', 'admin', 'one'), 'committed 2/2', 'the second one commits it');
select results_eq(
  $$select p.status, t.external_id::text, t.recorded_by::text, p.response_payload = t.response_payload,
      p.decided_at
    from pg_temp.proposal('one') as p
    inner join accounting.ledger_transactions as t
      on t.organization_id = p.organization_id and t.transaction_id = p.approved_transaction_id$$,
  $$select 'committed', 'one', 'user:' || finance, true, '2026-10-20 12:00:00+00'::timestamptz
    from scene$$, 'it is in the books'
);
select is(
  pg_temp.propose('finance', 'one') ->> 'status', 'committed', 'sent again, it is answered as booked'
);
select is(pg_temp.decide('approve', 'admin', 'one'), 'committed 2/2', 'approved again: nothing happens');
select is(pg_temp.decide('reject', 'owner', 'one'), 'refused TS410', 'nothing is rejected any more');
select is(
  (select count(*) from scene inner join accounting.ledger_transactions as t on t.organization_id = org),
  2::bigint, 'it was booked once'
);
select bag_eq(
  $$select tool_name::text, status, error_code, actor_id::text, authn_method
    from scene inner join audit.event_log as e on e.organization_id = org
    where tool_name in ('approve_proposal', 'reject_proposal')$$,
  $$select v.* from scene, lateral (
      values
      ('approve_proposal', 'refused', '42501', 'user:' || finance, 'jwt'),
      ('approve_proposal', 'ok', null, 'user:' || owner, 'jwt'),
      ('approve_proposal', 'replayed', null, 'user:' || owner, 'jwt'),
      ('reject_proposal', 'refused', '23001', 'user:' || owner, 'jwt'),
      ('approve_proposal', 'ok', null, 'service:Zoe', 'asserted'),
      ('approve_proposal', 'ok', null, 'user:' || admin, 'jwt'),
      ('approve_proposal', 'replayed', null, 'user:' || admin, 'jwt'),
      ('reject_proposal', 'refused', 'TS410', 'user:' || owner, 'jwt')
    ) as v$$, 'who did what is on record, refusals too'
);
select bag_eq(
  $$select action, approver_id::text, d.authn_method, reason from pg_temp.proposal('one') as p
    inner join accounting.approval_decisions as d using (organization_id, proposal_id)$$,
  $$select 'approve', v.who, v.how, 'because'::text as why from scene, lateral (
      values ('user:' || owner, 'jwt'), ('service:Zoe', 'asserted'), ('user:' || admin, 'jwt')
    ) as v (who, how)$$, 'and every decision'
);
select is(
  (select o.payload ->> 'transaction_id' from scene inner join audit.outbox as o on o.organization_id = org
    where topic = 'accounting.approval_decided'),
  (pg_temp.proposal('one')).approved_transaction_id::text, 'whoever proposed it is told'
);

select is(
  pg_temp.propose(
    'finance', 'huge', p_more => '{"postings": [
      {"account_id": "cash", "amount": "600000000000.0001"},
      {"account_id": "bank", "amount": "600000000000"},
      {"account_id": "sales", "amount": "-600000000000"},
      {"account_id": "sales", "amount": "-600000000000.0001"}
    ]}'
  ) ->> 'impact_amount',
  '1200000000000.0001', 'an amount is a sum, and may be larger than any one'
);

-- Rejected ------------------------------------------------------------------------------------

select is(pg_temp.propose('finance', 'two') ->> 'status', 'proposed', 'another');
select is(pg_temp.decide('approve', 'owner', 'two'), 'proposed 1/2', 'is approved by one');
select is(pg_temp.decide('reject', 'admin', 'two'), 'rejected 1/2', 'and rejected by another');
select is(pg_temp.decide('reject', 'owner', 'two'), 'rejected 1/2', 'which is enough');
select is(pg_temp.decide('approve', 'owner', 'two'), 'refused TS410', 'and final');
select is(
  pg_temp.propose('finance', 'two') ->> 'status', 'rejected', 'sent again, it is answered as rejected'
);
select is(
  (select response_payload from pg_temp.proposal('two')),
  (select accounting.record_transaction_bundle(org, tests.request('two', 500, '2026-10-15')) from scene),
  'byte for byte'
);
select is(pg_temp.propose('finance', 'three') ->> 'status', 'proposed', 'a third');
select is(pg_temp.decide('reject', 'member', 'three'), 'raised 42501', 'is not rejected by anybody');
select is(pg_temp.decide('reject', 'finance', 'three'), 'rejected 0/2', 'but by who proposed it');
select is(pg_temp.decide('reject', 'owner', 'nothing'), 'raised TS404', 'an unknown one is not');

-- Named by servers ----------------------------------------------------------------------------

select r.rule_id from scene, accounting.set_policy_rule(
  org, 'large', 100, p_tool_name => 'record_transaction_bundle', p_required_approvals => 2,
  p_allows_asserted => true
) as r;
select is(
  pg_temp.propose('service_role', 'four', p_actor => 'Yan') ->> 'status', 'proposed', 'a server proposes'
);
select is((pg_temp.proposal('four')).proposed_by::text, 'service:Yan', 'for somebody');
select is(
  pg_temp.decide('approve', 'app_user', 'four', 'Yan'), 'refused 42501', 'who does not approve it'
);
select is(
  pg_temp.decide('approve', 'tallystick_writer', 'four', 'service:YAN'), 'refused 42501',
  'in whatever spelling'
);
select is(pg_temp.decide('approve', 'app_user', 'four', 'Zoe'), 'proposed 1/2', 'somebody else does');
select is(
  pg_temp.decide('approve', 'app_user', 'four', 'zoe'), 'proposed 1/2', 'and counts once, in another case too'
);
select is(pg_temp.decide('approve', 'owner', 'four'), 'committed 2/2', 'a member approves too');
select is(pg_temp.propose('finance', 'five') ->> 'status', 'proposed', 'one more');
select is(
  pg_temp.decide('approve', 'service_role', 'five', (select finance::text from scene)), 'refused 42501',
  'a server does not approve for the member who proposed it'
);
select is(
  pg_temp.decide('approve', 'service_role', 'five', (select owner::text from scene)), 'proposed 1/2',
  'for another it does'
);
select is(pg_temp.decide('approve', 'owner', 'five'), 'proposed 1/2', 'who does not count twice');
select is(pg_temp.decide('approve', 'admin', 'five'), 'committed 2/2', 'the next one commits it');

-- The policy in force -------------------------------------------------------------------------

select is(pg_temp.propose('finance', 'six') ->> 'status', 'proposed', 'six waits for two');
select is(pg_temp.decide('approve', 'owner', 'six'), 'proposed 1/2', 'and has one');
select r.rule_id from scene, accounting.set_policy_rule(
  org, 'large', 100, p_tool_name => 'record_transaction_bundle', p_required_approvals => 3
) as r;
select is(pg_temp.decide('approve', 'admin', 'six'), 'proposed 2/3', 'now three have to');
select r.rule_id from scene, accounting.set_policy_rule(
  org, 'large', 100, p_tool_name => 'record_transaction_bundle', p_required_approvals => 2
) as r;
select is(pg_temp.decide('approve', 'admin', 'six'), 'committed 2/2', 'now two, who did');
select is((pg_temp.proposal('six')).required_approvals, 2, 'which is kept');
select is(pg_temp.propose('finance', 'seven') ->> 'status', 'proposed', 'seven waits');
select r.rule_id from scene, accounting.retire_policy_rule(org, 'large') as r;
select is(pg_temp.decide('approve', 'owner', 'seven'), 'proposed 1/2', 'also once its rule is retired');
select is(pg_temp.propose('finance', 'eight') ->> 'status', 'committed', 'what comes now does not');
select is(pg_temp.decide('approve', 'admin', 'seven'), 'committed 2/2', 'seven had two');

-- Velocity ------------------------------------------------------------------------------------

select r.rule_id from scene, accounting.set_policy_rule(
  org, 'fast', 1000000, p_tool_name => 'record_transaction_bundle', p_velocity_limit_count => 1,
  p_velocity_window_seconds => 3600
) as r;
select is(pg_temp.propose('finance', 'v1', 1) ->> 'status', 'committed', 'one in an hour passes');
select is(pg_temp.propose('finance', 'v1', 1) ->> 'status', 'committed', 'its replay is no other');
select is(pg_temp.propose('finance', 'v2', 1) ->> 'error_code', 'TS429', 'the second is proposed');
select is((pg_temp.proposal('v2')).status, 'proposed', 'for it was too fast');
select is(pg_temp.decide('approve', 'owner', 'v2'), 'committed 1/1', 'approved, it is booked');
select r.rule_id from scene, accounting.retire_policy_rule(org, 'fast') as r;

-- What would let it pass now has no say in how many it takes.
select r.rule_id from scene, accounting.set_policy_rule(
  org, 'two', 100, p_tool_name => 'record_transaction_bundle', p_required_approvals => 2
) as r;
select is(pg_temp.propose('finance', 'two of two') ->> 'status', 'proposed', 'two are asked for');
select r.rule_id from scene, accounting.set_policy_rule(
  org, 'fast', 1000000, p_tool_name => 'record_transaction_bundle', p_velocity_limit_count => 1000,
  p_velocity_window_seconds => 60, p_allows_asserted => true, p_priority => 0
) as r;
select is(
  pg_temp.decide('approve', 'service_role', 'two of two', 'Zoe'), 'proposed 0/2',
  'a rule that has seen few enough does not decide for it'
);
select is(
  pg_temp.decide('approve', 'owner', 'two of two'), 'proposed 1/2', 'nor on the number'
);
select r.rule_id from scene, accounting.retire_policy_rule(org, 'fast') as r;
select r.rule_id from scene, accounting.retire_policy_rule(org, 'two') as r;

-- One person, however it is written -----------------------------------------------------------

select r.rule_id from scene, accounting.set_policy_rule(
  org, 'named', 100, p_tool_name => 'record_transaction_bundle', p_allows_asserted => true
) as r;
select is(pg_temp.propose('finance', 'named') ->> 'status', 'proposed', 'proposed by a person');
select is(
  pg_temp.decide('approve', 'service_role', 'named', format(names.as_text, finance)),
  'refused 42501', 'who does not approve it as ' || names.as_text
)
from
  scene,
  (values
    ('%s'), ('user:%s'), ('USER:%s'), ('Service: User:%s'), ('%s '), (E'\u00A0%s\u200B\n')
  ) as names (as_text);
select r.rule_id from scene, accounting.retire_policy_rule(org, 'named') as r;

-- Periods and accounts ------------------------------------------------------------------------

select r.rule_id from scene, accounting.set_policy_rule(org, 'large', 100, p_tool_name => 'record_transaction_bundle') as r;
select is(pg_temp.propose('finance', 'october') ->> 'status', 'proposed', 'proposed for October');
select p.period_status from scene, accounting.close_period(org, '2026-10', 'c') as p;
select is(pg_temp.decide('approve', 'owner', 'october'), 'refused TS412', 'which is closed meanwhile');
select is((pg_temp.proposal('october')).status, 'proposed', 'it waits on');
select is(
  (select count(*) from pg_temp.proposal('october')
    inner join accounting.approval_decisions using (organization_id, proposal_id)),
  0::bigint, 'without that decision'
);
select results_eq(
  $$select status, error_code, authorization_result from scene inner join audit.event_log as e
    on e.organization_id = org where tool_name = 'approve_proposal' and error_code = 'TS412'$$,
  $$values ('refused', 'TS412', 'denied')$$, 'which is on record'
);
select p.period_status from scene, accounting.reopen_period(org, '2026-10', 'c') as p;
select is(pg_temp.decide('approve', 'owner', 'october'), 'committed 1/1', 'once it is open again, it is booked');
select p.period_status from scene, accounting.lock_period(org, '2026-09', 'c') as p;
select is(
  pg_temp.propose('finance', 'september', 1, '2026-09-15') ->> 'error_code', 'TS412',
  'a locked month takes nothing'
);
select is(
  pg_temp.propose('finance', 'override', 1, '2026-09-15', '{"override_period_lock": true}') ->> 'reason',
  'period_locked', 'an override is proposed, however small'
);
select is((pg_temp.proposal('override')).matched_rule_id::text, 'large', 'whichever rule it is');
select r.rule_id from scene, accounting.set_policy_rule(
  org, 'hourly', 1000000, p_tool_name => 'record_transaction_bundle', p_velocity_limit_count => 1,
  p_velocity_window_seconds => 3600, p_priority => 0
) as r;
select is(
  pg_temp.propose('finance', 'another', 1, '2026-09-15', '{"override_period_lock": true}') ->> 'reason',
  'period_locked', 'also where a rule counts what passes'
);
select is(
  pg_temp.propose('finance', 'v3', 1) ->> 'status', 'committed', 'which this did not'
);
select r.rule_id from scene, accounting.retire_policy_rule(org, 'hourly') as r;
select is(
  pg_temp.decide('approve', 'service_role', 'override', 'Zoe'), 'proposed 0/1', 'not for a server to approve'
);
select is(pg_temp.decide('approve', 'owner', 'override'), 'committed 1/1', 'approved, it is booked there');

-- What is decided stays -----------------------------------------------------------------------

select throws_ok(
  $$update accounting.approval_proposals set status = 'proposed', decided_at = null
    where external_id = 'one'$$, '23001', null, 'a decided proposal is not opened again'
);
select throws_ok(
  $$update accounting.approval_proposals set impact_amount = 1 where external_id = 'v2'$$,
  '23001', null, 'none is changed'
);
select throws_ok(
  $$delete from accounting.approval_proposals$$, '23001', null, 'or removed'
);
select throws_ok(
  $$update accounting.approval_decisions set action = 'reject'$$, '23001', null, 'nor is a decision'
);
select throws_ok(
  $$insert into accounting.approval_decisions (organization_id, proposal_id, proposed_by, action,
      correlation_id, approver_id, authn_method)
    select organization_id, proposal_id, proposed_by, 'approve', 'c',
      'service:' || upper(substr(proposed_by, 6)), 'asserted' from pg_temp.proposal('october')$$,
  '23514', null, 'a table, too, takes no approval of the proposer'
);

-- The log ------------------------------------------------------------------------------------

select is(pg_temp.propose('finance', 'logged') ->> 'status', 'proposed', 'one that is not logged');
create function pg_temp.fail() returns trigger language plpgsql as $$
begin raise exception using errcode = 'XX999'; end $$;
create trigger fail before insert on audit.event_log for each row execute function pg_temp.fail();
select is(
  pg_temp.decide('approve', 'owner', 'logged'), 'raised XX999', 'is not approved'
);
drop trigger fail on audit.event_log;
select is(
  (pg_temp.proposal('logged')).status || (
    select count(*) from scene inner join accounting.ledger_transactions as t on t.organization_id = org
    where t.external_id = 'logged'
  ),
  'proposed0', 'and not booked'
);
select results_eq(
  $$select f.check_name, f.subject from scene, audit.verify_integrity(org) as f$$,
  $$select '', '' where false$$, 'the books agree'
);

select * from finish();
rollback;
