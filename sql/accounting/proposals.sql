-- Proposals: what waits for approval, and who decides.
--
-- Locks: period -> proposal. What an approval commits is committed with it, and with the event that
-- tells of it, or nothing is. A refusal undoes what was done for it, the decision too, and is
-- returned, as raising it would undo its event.

create type accounting.approval_outcome as (
  proposal_id text,
  status text,
  approvals integer,
  required_approvals integer,
  transaction_id text,
  response_payload text,
  approved_until timestamptz,
  error_code text,
  error_message text,
  facts jsonb,
  hint text
);

comment on type accounting.approval_outcome is
  'The answer of approve_proposal and reject_proposal.';
comment on column accounting.approval_outcome.proposal_id is 'The proposal.';
comment on column accounting.approval_outcome.status is
  'proposed (more have to approve it), rejected, committed; refused: the decision was not taken.';
comment on column accounting.approval_outcome.approvals is
  'How many different persons have approved it and count.';
comment on column accounting.approval_outcome.required_approvals is
  'How many have to, by the policy in force.';
comment on column accounting.approval_outcome.transaction_id is
  'The transaction a committed bundle became.';
comment on column accounting.approval_outcome.response_payload is
  'The response to whoever makes the request again, byte for byte.';
comment on column accounting.approval_outcome.approved_until is
  'Of an approved call of a model: until when its request id may be used to make it.';
comment on column accounting.approval_outcome.error_code is 'Of a refusal: its code.';
comment on column accounting.approval_outcome.error_message is 'Its message.';
comment on column accounting.approval_outcome.facts is 'Its facts.';
comment on column accounting.approval_outcome.hint is 'The next step.';

-- How long an approved call of a model may be made.
create function private.approval_ttl()
returns interval
language sql
immutable
set search_path = pg_catalog, pg_temp
as $$
  select interval '24 hours'
$$;

comment on function private.approval_ttl() is
  'From its approval on, how long a call may be made with its request id.';

-- A time as texts that are kept show it, whatever the session's time zone.
create function private.time_text(p_time timestamptz)
returns text
language plpgsql
immutable
set search_path = pg_catalog, pg_temp
as $$
begin
  return to_char(p_time at time zone 'UTC', 'YYYY-MM-DD"T"HH24:MI:SS.US"Z"');
end
$$;

comment on function private.time_text(timestamptz) is 'A time in UTC, to the microsecond.';

-- A stored response, once its proposal was decided.
create function private.with_status(p_response text, p_status text)
returns text
language plpgsql
immutable
set search_path = pg_catalog, pg_temp
as $$
begin
  return private.canonical_text(p_response::jsonb || jsonb_build_object('status', p_status));
end
$$;

comment on function private.with_status(text, text) is
  'The response to a proposal with another status.';

-- Tells approvers or the requester of a proposal.
create function private.emit_proposal(p_topic text, p_proposal accounting.approval_proposals)
returns void
language plpgsql
volatile
set search_path = pg_catalog, pg_temp
as $$
begin
  perform private.emit_event(
    p_proposal.organization_id, p_topic, p_proposal.proposal_id::uuid,
    jsonb_strip_nulls(
      jsonb_build_object(
        'proposal_id', p_proposal.proposal_id,
        'tool_name', p_proposal.tool_name,
        'correlation_id', p_proposal.correlation_id,
        'status', p_proposal.status,
        'impact_amount', trim_scale(p_proposal.impact_amount::numeric)::text,
        'required_approvals', p_proposal.required_approvals,
        'proposed_by', p_proposal.proposed_by,
        'transaction_id', p_proposal.approved_transaction_id,
        'approved_until', private.time_text(p_proposal.approved_until)
      )
    )
  );
end
$$;

comment on function private.emit_proposal(text, accounting.approval_proposals) is
  'Puts an event about a proposal into the outbox.';

-- Stores a proposal, with its response, and tells approvers of it.
create function private.propose(p_proposal accounting.approval_proposals, p_response jsonb)
returns accounting.approval_proposals
language plpgsql
volatile
set search_path = pg_catalog, pg_temp
as $$
declare
  v_proposal accounting.approval_proposals := p_proposal;
begin
  v_proposal.response_payload := private.canonical_text(p_response);
  v_proposal.output_hash := private.content_hash(v_proposal.response_payload);
  v_proposal.created_at := private.clock_now();
  insert into accounting.approval_proposals values (v_proposal.*);
  perform private.emit_proposal('accounting.approval_requested', v_proposal);
  return v_proposal;
end
$$;

comment on function private.propose(accounting.approval_proposals, jsonb) is
  'Stores a proposal with the response to it.';

-- The code a proposal is answered with.
create function private.proposal_code(p_reason text)
returns text
language plpgsql
immutable
set search_path = pg_catalog, pg_temp
as $$
begin
  return case p_reason when 'velocity' then 'TS429' else 'TS428' end;
end
$$;

comment on function private.proposal_code(text) is
  'TS429 where a velocity limit asked for approval, else TS428.';

-- Proposes a bundle; the caller has bound its request. Returns the response.
create function private.propose_bundle(
  p_organization_id uuid,
  p_bundle private.bundle,
  p_decision private.policy_decision,
  p_actor private.actor
)
returns text
language plpgsql
volatile
set search_path = pg_catalog, pg_temp
as $$
declare
  v_proposal accounting.approval_proposals;
begin
  v_proposal.organization_id := p_organization_id;
  v_proposal.proposal_id := private.uuid_v7()::text;
  v_proposal.tool_name := 'record_transaction_bundle';
  v_proposal.source_system := p_bundle.source_system;
  v_proposal.external_id := p_bundle.external_id;
  v_proposal.correlation_id := p_bundle.correlation_id;
  v_proposal.input_hash := private.bundle_hash(p_bundle);
  v_proposal.policy_threshold_amount := coalesce(p_decision.threshold_amount, 0);
  v_proposal.impact_amount := private.bundle_amount(p_bundle);
  v_proposal.request_payload := private.bundle_text(p_bundle);
  v_proposal.entity_id := p_bundle.entity_id;
  v_proposal.status := 'proposed';
  v_proposal.matched_rule_id := p_decision.rule_id;
  v_proposal.required_approvals := greatest(1, p_decision.required_approvals);
  v_proposal.proposed_by := p_actor.actor_id;
  v_proposal.authn_method := p_actor.authn_method;
  return (
    private.propose(v_proposal, private.bundle_response(v_proposal, p_decision.reason))
  ).response_payload;
end
$$;

comment on function private.propose_bundle(
  uuid, private.bundle, private.policy_decision, private.actor
) is
  'Stores the proposal of a bundle; returns the response to it.';

-- What a bundle that waits for approval, or was rejected, is answered with.
create function private.bundle_response(
  p_proposal accounting.approval_proposals,
  p_reason text
)
returns jsonb
language plpgsql
stable
set search_path = pg_catalog, pg_temp
as $$
begin
  return jsonb_build_object(
    'correlation_id', p_proposal.correlation_id,
    'entity_id', p_proposal.entity_id,
    'error_code', private.proposal_code(p_reason),
    'external_id', p_proposal.external_id,
    'impact_amount', private.book_text(p_proposal.impact_amount),
    'input_hash', p_proposal.input_hash,
    'matched_rule_id', p_proposal.matched_rule_id,
    'policy_threshold_amount', trim_scale(p_proposal.policy_threshold_amount::numeric)::text,
    'proposal_id', p_proposal.proposal_id,
    'reason', p_reason,
    'required_approvals', p_proposal.required_approvals,
    'source_system', p_proposal.source_system,
    'status', p_proposal.status
  );
end
$$;

comment on function private.bundle_response(accounting.approval_proposals, text) is
  'The response to a bundle that is a proposal.';

-- The stored response to a request that was proposed before; null where none was.
create function private.replay_proposal(
  p_organization_id uuid,
  p_tool_name text,
  p_source_system text,
  p_external_id text,
  p_input_hash text
)
returns text
language plpgsql
stable
set search_path = pg_catalog, pg_temp
as $$
declare
  v_proposal accounting.approval_proposals;
begin
  select * into v_proposal
  from accounting.approval_proposals as p
  where p.organization_id = p_organization_id
    and p.tool_name = p_tool_name
    and p.source_system = p_source_system
    and p.external_id = p_external_id;
  if v_proposal.input_hash <> p_input_hash then
    perform private.raise_error(
      'TS409',
      jsonb_build_object('source_system', p_source_system, 'external_id', p_external_id)
    );
  end if;
  return v_proposal.response_payload;
end
$$;

comment on function private.replay_proposal(uuid, text, text, text, text) is
  'The response to a request that is a proposal, or null. Errors: TS409 for other content.';

-- How many have to approve a proposal, and whether those whom servers name count, by the policy in
-- force: the rule that decides on it now; where that would let it pass, the one that did not.
create function private.policy_in_force(p_proposal accounting.approval_proposals)
returns accounting.policy_rules
language plpgsql
stable
set search_path = pg_catalog, pg_temp
as $$
declare
  v_request constant jsonb := p_proposal.request_payload::jsonb;
  v_rule accounting.policy_rules := private.find_policy_rule(
    p_proposal.organization_id, p_proposal.tool_name, p_proposal.entity_id,
    v_request ->> 'transaction_category', v_request ->> 'risk_band',
    array[v_request ->> 'model', v_request ->> 'listed_model']
  );
begin
  if not (
    private.policy_decision_of(v_rule, p_proposal.impact_amount, private.clock_now())
  ).needs_approval then
    select * into v_rule
    from accounting.policy_rules as r
    where r.organization_id = p_proposal.organization_id
      and r.rule_id = p_proposal.matched_rule_id;
    v_rule.required_approvals := p_proposal.required_approvals;
  end if;
  return v_rule;
end
$$;

comment on function private.policy_in_force(accounting.approval_proposals) is
  'The rule whose required_approvals and allows_asserted hold for a proposal now.';

-- The persons who have approved: each counts once, whoever named them.
create function private.count_approvals(
  p_proposal accounting.approval_proposals,
  p_allows_asserted boolean
)
returns integer
language plpgsql
stable
set search_path = pg_catalog, pg_temp
as $$
begin
  return (
    select count(distinct private.person_of(d.approver_id))
    from accounting.approval_decisions as d
    where d.organization_id = p_proposal.organization_id
      and d.proposal_id = p_proposal.proposal_id
      and d.action = 'approve'
      and (d.authn_method = 'jwt' or p_allows_asserted)
  );
end
$$;

comment on function private.count_approvals(accounting.approval_proposals, boolean) is
  'How many different persons have approved a proposal and count.';

-- Ends a proposal, and tells the requester.
create function private.close_proposal(p_proposal accounting.approval_proposals)
returns void
language plpgsql
volatile
set search_path = pg_catalog, pg_temp
as $$
begin
  update accounting.approval_proposals as p
  set
    status = p_proposal.status,
    decided_at = private.clock_now(),
    required_approvals = p_proposal.required_approvals,
    approved_until = p_proposal.approved_until,
    approved_transaction_id = p_proposal.approved_transaction_id,
    response_payload = p_proposal.response_payload,
    output_hash = private.content_hash(p_proposal.response_payload)
  where p.organization_id = p_proposal.organization_id
    and p.proposal_id = p_proposal.proposal_id;
  perform private.emit_proposal('accounting.approval_decided', p_proposal);
end
$$;

comment on function private.close_proposal(accounting.approval_proposals) is
  'Commits or rejects a proposal.';

-- Does what was approved: books the bundle, or opens the gate for the call.
create function private.commit_proposal(p_proposal accounting.approval_proposals)
returns accounting.approval_proposals
language plpgsql
volatile
set search_path = pg_catalog, pg_temp
as $$
declare
  v_proposal accounting.approval_proposals := p_proposal;
  v_transaction accounting.ledger_transactions;
begin
  v_proposal.status := 'committed';
  if p_proposal.tool_name = 'authorize_spend' then
    v_proposal.approved_until := private.clock_now() + private.approval_ttl();
    v_proposal.response_payload := private.with_status(p_proposal.response_payload, 'committed');
  else
    v_transaction := private.commit_bundle(
      p_proposal.organization_id,
      private.read_bundle(p_proposal.organization_id, p_proposal.request_payload),
      p_proposal.proposed_by, true
    );
    v_proposal.approved_transaction_id := v_transaction.transaction_id;
    v_proposal.response_payload := v_transaction.response_payload;
  end if;
  perform private.close_proposal(v_proposal);
  return v_proposal;
end
$$;

comment on function private.commit_proposal(accounting.approval_proposals) is
  'Commits an approved proposal. Errors: those of commit_bundle.';
