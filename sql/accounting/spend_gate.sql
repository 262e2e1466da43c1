-- Calls of models pass the same gate as bundles. The kernel asks here where a call costs more than
-- metering.budgets.approval_above_usd, and nobody else does: approval takes no money, it lets the
-- request through to be admitted like any other.
--
-- The request id carries it: it names the proposal while that waits, once it is rejected and until
-- the approved call is made; then the hold, which names the proposal. So one approval admits one
-- hold; only where that expired may another take its place, while the approval lasts.

create function private.rule_for_spend(p_hold metering.holds)
returns accounting.policy_rules
language plpgsql
stable
set search_path = pg_catalog, pg_temp
as $$
begin
  return private.find_policy_rule(
    p_hold.organization_id, 'authorize_spend', 'entity-default', null, null,
    array[p_hold.model, p_hold.listed_model]
  );
end
$$;

comment on function private.rule_for_spend(metering.holds) is
  'The policy rule that decides on a call, or null.';

-- Whether a call would need approval now. Locks and counts nothing.
create function private.would_need_approval(p_hold metering.holds)
returns boolean
language plpgsql
stable
set search_path = pg_catalog, pg_temp
as $$
begin
  return (
    private.policy_decision_of(
      private.rule_for_spend(p_hold), p_hold.held_usd, private.clock_now()
    )
  ).needs_approval;
end
$$;

comment on function private.would_need_approval(metering.holds) is
  'Whether a call needs approval as of now.';

-- Whether a call needs approval; where not, it counts for the rule's velocity limit. The caller has
-- a slot of the organization, so rules stay as they are. Locks: the rule, if it has such a limit.
create function private.needs_approval(p_hold metering.holds)
returns boolean
language plpgsql
volatile
set search_path = pg_catalog, pg_temp
as $$
begin
  return (
    private.match_policy(
      p_hold.organization_id, 'authorize_spend', 'entity-default', null, null, p_hold.held_usd,
      array[p_hold.model, p_hold.listed_model]
    )
  ).needs_approval;
end
$$;

comment on function private.needs_approval(metering.holds) is
  'Whether a call needs approval; where not, it is counted.';

-- The approved proposal by which a request may be admitted: the one its id names, or the one its
-- expired hold was granted by. Null where there is none, it has lapsed, or was for less.
create function private.approval_of(
  p_hold metering.holds,
  p_subject_id uuid,
  p_now timestamptz
)
returns uuid
language plpgsql
stable
set search_path = pg_catalog, pg_temp
as $$
begin
  return (
    select p.proposal_id::uuid
    from accounting.approval_proposals as p
    where p.organization_id = p_hold.organization_id
      and p.proposal_id = coalesce(
        (
          select h.proposal_id
          from metering.holds as h
          where h.organization_id = p_hold.organization_id
            and h.id = p_subject_id
            and h.state = 'expired'
        ),
        p_subject_id
      )::text
      and p.tool_name = 'authorize_spend'
      and p.approved_until > p_now
      and p.impact_amount >= p_hold.held_usd
  );
end
$$;

comment on function private.approval_of(metering.holds, uuid, timestamptz) is
  'The approved proposal that lets a hold be made for a request whose id is bound to p_subject_id.';

-- What a request is answered whose id names a proposal. Its decision is null where that was
-- approved, or is none.
create function private.decision_of_proposal(p_organization_id uuid, p_proposal_id uuid)
returns metering.spend_decision
language plpgsql
stable
set search_path = pg_catalog, pg_temp
as $$
declare
  v_decision metering.spend_decision;
begin
  select
    case p.status when 'proposed' then 'needs_approval' else 'denied' end,
    case p.status when 'rejected' then 'approval_rejected' end,
    p.proposal_id::uuid
  into v_decision.decision, v_decision.reason, v_decision.proposal_id
  from accounting.approval_proposals as p
  where p.organization_id = p_organization_id
    and p.proposal_id = p_proposal_id::text
    and p.status <> 'committed';
  return v_decision;
end
$$;

comment on function private.decision_of_proposal(uuid, uuid) is
  'The decision on a request that is a proposal: needs_approval, or denied once it was rejected.';

-- Who asks for a call: the person signed in or named by the server, else the API key, else the
-- server.
create function private.requester_of(p_hold metering.holds)
returns private.actor
language plpgsql
stable
set search_path = pg_catalog, pg_temp
as $$
begin
  if not private.is_trusted_caller() then
    return private.acting();
  elsif p_hold.user_id is not null then
    return row('user:' || p_hold.user_id::text, 'asserted')::private.actor;
  end if;
  return private.acting(left(p_hold.api_key_id, 247));
end
$$;

comment on function private.requester_of(metering.holds) is 'Who asks for a call.';

-- Proposes a call that needs approval. Its decision is null where that is to be looked at again:
-- the request id was bound meanwhile, or the rule has changed.
--
-- Locks: the request key.
create function private.propose_spend(
  p_hold metering.holds,
  p_request_id text,
  p_content_hash text,
  p_subject_id uuid
)
returns metering.spend_decision
language plpgsql
volatile
set search_path = pg_catalog, pg_temp
as $$
declare
  v_now constant timestamptz := private.clock_now();
  v_id constant uuid := private.uuid_v7(v_now);
  v_policy constant private.policy_decision := private.policy_decision_of(
    private.rule_for_spend(p_hold), p_hold.held_usd, v_now
  );
  v_actor constant private.actor := private.requester_of(p_hold);
  v_decision metering.spend_decision;
  v_proposal accounting.approval_proposals;
begin
  if p_request_id is null then
    v_decision.decision := 'denied';
    v_decision.reason := 'approval_needs_request_id';
    return v_decision;
  elsif not v_policy.needs_approval or not private.bind_request(
    p_hold.organization_id, 'authorize', p_request_id, p_content_hash, v_id, p_subject_id
  ) then
    return v_decision;
  end if;
  v_proposal.organization_id := p_hold.organization_id;
  v_proposal.proposal_id := v_id::text;
  v_proposal.tool_name := 'authorize_spend';
  v_proposal.source_system := 'tallystick';
  v_proposal.external_id := v_id::text;
  v_proposal.correlation_id := p_request_id;
  v_proposal.input_hash := p_content_hash;
  v_proposal.policy_threshold_amount := v_policy.threshold_amount;
  v_proposal.impact_amount := p_hold.held_usd;
  v_proposal.request_payload := private.canonical_text(
    jsonb_build_object(
      'request_id', p_request_id,
      'estimated_cost', trim_scale(p_hold.held_usd::numeric)::text,
      'model', p_hold.model,
      'listed_model', p_hold.listed_model,
      'provider', p_hold.provider,
      'service_tier', p_hold.service_tier,
      'workflow_id', p_hold.workflow_id,
      'run_id', p_hold.run_id,
      'venture_id', p_hold.venture_id,
      'user_id', p_hold.user_id,
      'api_key_id', p_hold.api_key_id,
      'tags', p_hold.tags
    )
  );
  v_proposal.entity_id := 'entity-default';
  v_proposal.status := 'proposed';
  v_proposal.matched_rule_id := v_policy.rule_id;
  v_proposal.required_approvals := v_policy.required_approvals;
  v_proposal.proposed_by := v_actor.actor_id;
  v_proposal.authn_method := v_actor.authn_method;
  v_proposal := private.propose(
    v_proposal,
    jsonb_build_object(
      'decision', 'needs_approval',
      'error_code', private.proposal_code(v_policy.reason),
      'proposal_id', v_proposal.proposal_id,
      'reason', v_policy.reason,
      'required_approvals', v_policy.required_approvals,
      'status', 'proposed'
    )
  );
  perform private.log_call(
    p_hold.organization_id, 'authorize_spend', p_request_id, p_content_hash,
    v_proposal.response_payload, v_actor, v_now, 'proposed', private.proposal_code(v_policy.reason)
  );
  return private.decision_of_proposal(p_hold.organization_id, v_id);
end
$$;

comment on function private.propose_spend(metering.holds, text, text, uuid) is
  'Stores the proposal of a call, binds its request id to it and answers needs_approval. '
  'p_subject_id: what the request id is bound to so far.';

-- Refuses to let a hold grow to p_total beyond what was approved or, where nothing was, beyond what
-- needs approval. The caller has a slot of the organization, so rules stay as they are.
create function private.assert_within_approval(p_hold metering.holds, p_total numeric)
returns void
language plpgsql
stable
set search_path = pg_catalog, pg_temp
as $$
declare
  v_rule accounting.policy_rules;
  v_approved numeric;
begin
  if p_hold.proposal_id is null then
    v_rule := private.rule_for_spend(p_hold);
  else
    v_approved := (
      select p.impact_amount
      from accounting.approval_proposals as p
      where p.organization_id = p_hold.organization_id
        and p.proposal_id = p_hold.proposal_id::text
    );
  end if;
  if p_total > coalesce(v_approved, v_rule.threshold_amount) then
    perform private.raise_error(
      'TS428',
      jsonb_strip_nulls(
        jsonb_build_object(
          'hold_id', p_hold.id,
          'proposal_id', p_hold.proposal_id,
          'approved_usd', trim_scale(v_approved)::text,
          'rule_id', v_rule.rule_id,
          'threshold_usd', trim_scale(v_rule.threshold_amount::numeric)::text,
          'total_usd', trim_scale(p_total)::text
        )
      )
    );
  end if;
end
$$;

comment on function private.assert_within_approval(metering.holds, numeric) is
  'Refuses a hold of p_total US dollars beyond its approved amount or threshold. Errors: TS428.';
