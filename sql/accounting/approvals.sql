-- Approving and rejecting.

-- The proposal that somebody may decide: approvers all of their organization, whoever proposed it
-- may take it back.
create function private.assert_may_decide(
  p_organization_id uuid,
  p_proposal_id text,
  p_action text,
  p_actor private.actor
)
returns accounting.approval_proposals
language plpgsql
stable
set search_path = pg_catalog, pg_temp
as $$
declare
  v_proposal accounting.approval_proposals;
begin
  perform private.assert_member(p_organization_id);
  select * into v_proposal
  from accounting.approval_proposals as p
  where p.organization_id = p_organization_id and p.proposal_id = p_proposal_id;
  if p_action = 'approve' or v_proposal.proposed_by is distinct from p_actor.actor_id then
    perform private.assert_member(p_organization_id, array['owner', 'admin', 'finance']);
  end if;
  if v_proposal.proposal_id is null then
    perform private.raise_error('TS404', jsonb_build_object('proposal_id', p_proposal_id));
  end if;
  return v_proposal;
end
$$;

comment on function private.assert_may_decide(uuid, text, text, private.actor) is
  'A proposal the caller may decide. Errors: 22023, 42501, TS404.';

-- What became of a proposal.
create function private.outcome_of(
  p_proposal accounting.approval_proposals,
  p_rule accounting.policy_rules
)
returns accounting.approval_outcome
language plpgsql
stable
set search_path = pg_catalog, pg_temp
as $$
declare
  v_outcome accounting.approval_outcome;
begin
  v_outcome.proposal_id := p_proposal.proposal_id;
  v_outcome.status := p_proposal.status;
  v_outcome.approvals := private.count_approvals(p_proposal, p_rule.allows_asserted);
  v_outcome.required_approvals := case p_proposal.status
    when 'proposed' then p_rule.required_approvals
    else p_proposal.required_approvals
  end;
  v_outcome.transaction_id := p_proposal.approved_transaction_id;
  v_outcome.response_payload := p_proposal.response_payload;
  v_outcome.approved_until := p_proposal.approved_until;
  return v_outcome;
end
$$;

comment on function private.outcome_of(
  accounting.approval_proposals, accounting.policy_rules
) is
  'The present state of a proposal, as its approvers are told.';

-- Takes a decision: adds it, and does what follows from it. Raises what stands in its way.
create function private.take_decision(
  p_proposal accounting.approval_proposals,
  p_decision accounting.approval_decisions,
  p_actor private.actor
)
returns accounting.approval_outcome
language plpgsql
volatile
set search_path = pg_catalog, pg_temp
as $$
declare
  v_proposal accounting.approval_proposals;
  v_rule accounting.policy_rules;
  v_facts jsonb;
begin
  if p_proposal.tool_name = 'record_transaction_bundle' and p_decision.action = 'approve' then
    perform private.lock_period(
      p_proposal.organization_id, p_proposal.entity_id,
      (p_proposal.request_payload::jsonb ->> 'transaction_date')::date
    );
  end if;
  select * into strict v_proposal
  from accounting.approval_proposals as p
  where p.organization_id = p_proposal.organization_id and p.proposal_id = p_proposal.proposal_id
  for update;
  v_rule := private.policy_in_force(v_proposal);
  v_facts := jsonb_build_object('proposal_id', v_proposal.proposal_id);
  if (v_proposal.status, p_decision.action) in (('committed', 'approve'), ('rejected', 'reject')) then
    return private.outcome_of(v_proposal, v_rule);
  elsif v_proposal.status <> 'proposed' then
    perform private.raise_error('TS410', v_facts || jsonb_build_object('state', v_proposal.status));
  elsif p_decision.action = 'approve'
    and private.person_of(p_actor.actor_id) = private.person_of(v_proposal.proposed_by) then
    perform private.raise_error(
      '42501', v_facts || jsonb_build_object('proposed_by', v_proposal.proposed_by)
    );
  end if;

  p_decision.xact_id := pg_current_xact_id();
  insert into accounting.approval_decisions values (p_decision.*)
  on conflict (organization_id, proposal_id, approver_id) do nothing;
  -- Updated, not only locked: who counts by an older snapshot fails with 40001.
  update accounting.approval_proposals as p
  set status = p.status
  where p.organization_id = v_proposal.organization_id
    and p.proposal_id = v_proposal.proposal_id;
  if exists (
    select from accounting.approval_decisions as d
    where d.organization_id = v_proposal.organization_id
      and d.proposal_id = v_proposal.proposal_id
      and d.approver_id = p_actor.actor_id
      and d.action <> p_decision.action
  ) then
    perform private.raise_error(
      '23001', v_facts || jsonb_build_object('approver_id', p_actor.actor_id)
    );
  elsif p_decision.action = 'reject' then
    v_proposal.status := 'rejected';
    v_proposal.response_payload := private.with_status(v_proposal.response_payload, 'rejected');
    perform private.close_proposal(v_proposal);
  elsif private.count_approvals(v_proposal, v_rule.allows_asserted) >= v_rule.required_approvals then
    v_proposal.required_approvals := v_rule.required_approvals;
    v_proposal := private.commit_proposal(v_proposal);
  end if;
  return private.outcome_of(v_proposal, v_rule);
end
$$;

comment on function private.take_decision(
  accounting.approval_proposals, accounting.approval_decisions, private.actor
) is
  'Adds a decision to a proposal and does what follows. Errors: 23001 for somebody who decided '
  'otherwise before, 42501 for the proposer, TS410 once it is decided otherwise, those of '
  'commit_bundle.';

-- The privileged half of accounting.approve_proposal and accounting.reject_proposal.
create function private.decide_proposal(
  p_organization_id uuid,
  p_proposal_id text,
  p_action text,
  p_reason text,
  p_actor text,
  p_correlation_id text
)
returns accounting.approval_outcome
language plpgsql
volatile
security definer -- writes proposals, decisions and books, which no role may write itself
set search_path = pg_catalog, pg_temp
as $$
declare
  v_started_at constant timestamptz := private.clock_now();
  v_actor private.actor;
  v_proposal accounting.approval_proposals;
  v_decision accounting.approval_decisions;
  v_outcome accounting.approval_outcome;
  v_detail text;
begin
  if private.is_trusted_caller() then
    perform private.assert_text('p_actor', p_actor);
  end if;
  perform private.assert_text('p_proposal_id', p_proposal_id);
  v_actor := private.acting(p_actor);
  v_proposal := private.assert_may_decide(p_organization_id, p_proposal_id, p_action, v_actor);
  if length(p_reason) > 10000 then
    perform private.reject_argument('p_reason', 'must have at most 10000 characters');
  elsif p_correlation_id is not null then
    perform private.assert_text('p_correlation_id', p_correlation_id);
  end if;

  v_decision.organization_id := p_organization_id;
  v_decision.decision_id := private.uuid_v7()::text;
  v_decision.proposal_id := p_proposal_id;
  v_decision.proposed_by := v_proposal.proposed_by;
  v_decision.action := p_action;
  v_decision.correlation_id := coalesce(p_correlation_id, v_proposal.correlation_id);
  v_decision.reason := p_reason;
  v_decision.approver_id := v_actor.actor_id;
  v_decision.authn_method := v_actor.authn_method;
  v_decision.decided_at := v_started_at;
  begin
    v_outcome := private.take_decision(v_proposal, v_decision, v_actor);
  exception
    when restrict_violation or insufficient_privilege or invalid_parameter_value
      or sqlstate 'TS404' or sqlstate 'TS409' or sqlstate 'TS410' or sqlstate 'TS412'
      or sqlstate 'TS419' then
      get stacked diagnostics
        v_outcome.error_code = returned_sqlstate,
        v_outcome.error_message = message_text,
        v_detail = pg_exception_detail,
        v_outcome.hint = pg_exception_hint;
      v_outcome.proposal_id := p_proposal_id;
      v_outcome.status := 'refused';
      v_outcome.facts := coalesce(nullif(v_detail, ''), '{}')::jsonb;
  end;
  perform private.log_call(
    p_organization_id, p_action || '_proposal', v_decision.correlation_id,
    private.content_hash(
      private.canonical_text(
        jsonb_build_object(
          'proposal_id', p_proposal_id, 'action', p_action, 'reason', p_reason,
          'actor_id', v_actor.actor_id
        )
      )
    ),
    private.canonical_text(
      to_jsonb(v_outcome)
      || jsonb_build_object('approved_until', private.time_text(v_outcome.approved_until))
    ),
    v_actor, v_started_at,
    case
      when v_outcome.status = 'refused' then 'refused'
      when not exists (
        select from accounting.approval_decisions as d
        where d.organization_id = p_organization_id and d.decision_id = v_decision.decision_id
      ) then 'replayed'
      else 'ok'
    end,
    v_outcome.error_code
  );
  return v_outcome;
end
$$;

comment on function private.decide_proposal(uuid, text, text, text, text, text) is
  'Core of accounting.approve_proposal and accounting.reject_proposal.';

-- Approves a proposal: the last approval that is needed commits it. Idempotent per approver.
--
-- Locks: the period of a bundle, then the proposal. Period, accounts and policy are those in force
-- now.
create function accounting.approve_proposal(
  p_organization_id uuid,
  p_proposal_id text,
  p_reason text default null,
  p_actor text default null,
  p_correlation_id text default null
)
returns accounting.approval_outcome
language plpgsql
volatile
set search_path = pg_catalog, pg_temp
as $$
begin
  return private.decide_proposal(
    p_organization_id, p_proposal_id, 'approve', p_reason, p_actor, p_correlation_id
  );
end
$$;

comment on function accounting.approve_proposal(uuid, text, text, text, text) is
  'Approves a proposal. With as many different approvers as the policy in force asks for, a bundle '
  'is committed, and a call of a model may be made for 24 hours with its request id. Nobody '
  'approves what they proposed. A server role names the approver in p_actor, which counts only '
  'where the rule says so. A refusal is an answer with its code and is logged: 42501 the proposer, '
  'TS410 it was rejected, TS412 the period is closed. For owners, admins and finance, and server '
  'roles. Errors: 22023, 42501, TS404.';

-- Rejects a proposal: one rejection ends it. Idempotent.
create function accounting.reject_proposal(
  p_organization_id uuid,
  p_proposal_id text,
  p_reason text default null,
  p_actor text default null,
  p_correlation_id text default null
)
returns accounting.approval_outcome
language plpgsql
volatile
set search_path = pg_catalog, pg_temp
as $$
begin
  return private.decide_proposal(
    p_organization_id, p_proposal_id, 'reject', p_reason, p_actor, p_correlation_id
  );
end
$$;

comment on function accounting.reject_proposal(uuid, text, text, text, text) is
  'Rejects a proposal, which ends it; whoever proposed it may take it back so. A refusal is an '
  'answer with its code and is logged: 23001 one who approved it before, TS410 it was committed. '
  'For owners, admins, finance and the proposer, and server roles. Errors: 22023, 42501, TS404.';
