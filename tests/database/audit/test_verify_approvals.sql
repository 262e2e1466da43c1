-- Whoever owns the tables can break anything: every check of approvals is broken once, and named.
begin;
select plan(20);

create temp table scene as
select
  o.org,
  tests.member(o.org, 'owner') as owner,
  tests.member(o.org, 'finance') as finance
from (select tests.organization('Acme') as org) as o;
grant select on scene to public;
select tests.chart(org) from scene;
select r.rule_id from scene, accounting.set_policy_rule(org, 'rule', 5) as r;
select tests.post(org, 'committed') ->> 'status' from scene;
select tests.post(org, 'rejected') ->> 'status' from scene;
select tests.post(org, 'waiting') ->> 'status' from scene;
select d.decision from scene, public.authorize_spend(org, 'm', 6, p_request_id => 'call') as d;
select d.decision from scene, public.authorize_spend(org, 'm', 6, p_request_id => 'other') as d;
create function pg_temp.proposal(p_external_id text)
returns text language sql as $$
  select p.proposal_id::text from accounting.approval_proposals as p
  where p.correlation_id in (p_external_id, 'c-' || p_external_id)
$$;
create temp table named as
select v.name, pg_temp.proposal(v.name) as id
from (values ('committed'), ('rejected'), ('waiting'), ('call'), ('other')) as v (name);
grant select on named to public;
select tests.act_as('authenticated', owner) from scene;
select a.status
from scene, named, accounting.approve_proposal(org, id) as a where name in ('committed', 'call', 'other');
select a.status from scene, named, accounting.reject_proposal(org, id) as a where name = 'rejected';
reset role;
select d.decision from scene, public.authorize_spend(org, 'm', 6, p_request_id => 'call') as d;
select d.decision from scene, public.authorize_spend(org, 'm', 6, p_request_id => 'other') as d;
set constraints all immediate;
select is_empty(
  $$select f.check_name, f.subject from scene, audit.verify_integrity(org) as f$$, 'nothing is wrong'
);

alter table accounting.policy_rules disable trigger user;
alter table accounting.approval_proposals disable trigger user;
alter table accounting.approval_decisions disable trigger user;
alter table accounting.ledger_transactions disable trigger user;
alter table audit.event_log disable trigger user;
create temp table found (check_name text);
-- What is found once something is broken; it is mended again.
create function pg_temp.breaks(p_break text, p_expected text[], p_description text)
returns text language plpgsql as $$
declare
  v_found text[];
begin
  begin
    execute p_break;
    select array_agg(distinct f.check_name order by f.check_name) into v_found
    from scene, private.verify_approvals(array[org], null) as f;
    raise exception using errcode = 'UNDOO';
  exception when sqlstate 'UNDOO' then
    null;
  end;
  insert into found select unnest(v_found);
  return is(v_found, p_expected, p_description);
end
$$;

select pg_temp.breaks(v.break, v.expected, v.description)
from (
  values
  (
    'update metering.budgets set approval_above_usd = 7 where scope = ''organization''',
    array['kernel_asks_above_the_least_threshold'], 'a kernel that asks above another amount'
  ),
  (
    'update metering.budgets set approval_above_usd = null',
    array['kernel_asks_above_the_least_threshold'], 'a kernel that asks nobody'
  ),
  (
    'update accounting.policy_rules set threshold_amount = 1',
    array['kernel_asks_above_the_least_threshold'], 'a rule that was changed'
  ),
  (
    'update metering.holds set held_usd = 6.000000000001',
    array['hold_is_within_its_approval'], 'a hold that grew'
  ),
  (
    'update metering.holds set proposal_id = private.uuid_v7()',
    array['hold_is_within_its_approval'], 'a hold by no proposal'
  ),
  (
    'update metering.holds set proposal_id = (select id::uuid from named where name = ''waiting'')',
    array['approval_admits_one_hold', 'hold_is_within_its_approval'], 'holds by a proposal that waits'
  ),
  (
    'update metering.holds set proposal_id = (select id::uuid from named where name = ''call'')',
    array['approval_admits_one_hold'], 'two holds by one proposal'
  ),
  (
    'delete from accounting.approval_decisions where action = ''approve''',
    array['proposal_was_decided_by_others'], 'approvals that are gone'
  ),
  (
    'update accounting.approval_proposals set required_approvals = 2',
    array['proposal_was_decided_by_others'], 'more than have approved'
  ),
  (
    'update accounting.approval_decisions set action = ''approve'' where action = ''reject''',
    array['decision_has_its_event', 'proposal_was_decided_by_others'], 'a rejection that was turned'
  ),
  (
    'alter table accounting.approval_decisions drop constraint approval_decisions_proposal_fkey;
    alter table accounting.approval_decisions
    drop constraint approval_decisions_proposer_does_not_approve;
    update accounting.approval_proposals set proposed_by = ''service:'' || (select owner from scene)',
    array['proposal_was_decided_by_others'], 'a proposer who approved'
  ),
  (
    'update accounting.approval_proposals set approved_transaction_id = null',
    array['proposal_became_its_transaction'], 'a proposal without its transaction'
  ),
  (
    'update accounting.ledger_transactions set external_id = ''else'' where external_id = ''committed''',
    array['proposal_became_its_transaction'], 'a transaction that is another one'
  ),
  (
    'update accounting.ledger_transactions set external_id = ''waiting''',
    array['proposal_became_its_transaction'], 'a transaction of what still waits'
  ),
  (
    'update accounting.approval_proposals set input_hash = encode(sha256(''''), ''hex'')
    where external_id = ''committed''',
    array['proposal_became_its_transaction', 'proposal_has_its_event'], 'other content'
  ),
  (
    'delete from audit.event_log where status = ''proposed''',
    array['proposal_has_its_event'], 'proposals nobody told of'
  ),
  (
    'delete from audit.event_log where tool_name in (''approve_proposal'', ''reject_proposal'')',
    array['decision_has_its_event'], 'decisions nobody told of'
  )
) as v (break, expected, description);

select set_eq(
  'table found',
  $$select distinct c.name[1] from pg_proc as p
    cross join regexp_matches(p.prosrc, 'select\s+''([a-z_]+)'', \w+\.organization_id', 'g') as c (name)
    where p.proname = 'verify_approvals'$$,
  'every check was broken'
);
select is_empty(
  $$select f.check_name, f.subject from scene, private.verify_approvals(array[org], null) as f$$, 'and mended again'
);

select * from finish();
rollback;
