-- What needs approval, what waits for it, and who decided (data_model_reference).

create table accounting.policy_rules (
  organization_id uuid not null,
  rule_id private.label not null default private.uuid_v7()::text,
  priority integer not null,
  tool_name private.label,
  entity_id private.label,
  transaction_category private.label,
  risk_band private.label,
  model private.label,
  velocity_limit_count integer,
  velocity_window_seconds integer,
  threshold_amount private.usd not null,
  required_approvals integer not null default 1,
  allows_asserted boolean not null default false,
  active boolean not null default true,
  recent_uses timestamptz[] not null default '{}',
  metadata jsonb not null default '{}',
  created_at timestamptz not null default private.clock_now(),
  updated_at timestamptz not null default private.clock_now(),
  constraint policy_rules_pkey primary key (organization_id, rule_id),
  constraint policy_rules_organization_id_fkey
  foreign key (organization_id) references tenancy.organizations (id) on delete restrict,
  constraint policy_rules_entity_fkey
  foreign key (organization_id, entity_id)
  references accounting.entities (organization_id, entity_id) on delete restrict,
  constraint policy_rules_model_is_of_ai_spend
  check (model is null or coalesce(tool_name, '') = 'authorize_spend'),
  constraint policy_rules_required_approvals_is_from_1 check (required_approvals >= 1),
  constraint policy_rules_velocity_is_whole
  check ((velocity_limit_count is null) = (velocity_window_seconds is null)),
  constraint policy_rules_velocity_is_positive
  check (velocity_limit_count between 1 and 10000 and velocity_window_seconds >= 1),
  constraint policy_rules_metadata_is_an_object check (jsonb_typeof(metadata) = 'object')
);

create index policy_rules_priority_idx
on accounting.policy_rules (organization_id, priority, rule_id collate "C") where active;
create index policy_rules_entity_idx on accounting.policy_rules (organization_id, entity_id);

create trigger policy_rules_touch_updated_at before update on accounting.policy_rules
for each row when (old.recent_uses = new.recent_uses)
execute function private.touch_updated_at();
create trigger policy_rules_reject_delete before delete on accounting.policy_rules
for each row execute function private.reject_mutation();
create trigger policy_rules_reject_truncate before truncate on accounting.policy_rules
for each statement execute function private.reject_mutation();

comment on table accounting.policy_rules is
  'Which writes need approval (data_model_reference: policy_rules). The first rule that matches, '
  'by priority and rule_id, decides; null matches anything. A bundle has the entity, category and '
  'band it states; a call of a model has the entity entity-default and neither category nor band.';
comment on column accounting.policy_rules.organization_id is 'The organization.';
comment on column accounting.policy_rules.rule_id is 'Id of the rule.';
comment on column accounting.policy_rules.priority is 'Lowest first; equal ones by rule_id.';
comment on column accounting.policy_rules.tool_name is
  'Which call it is about: record_transaction_bundle, authorize_spend; null for any.';
comment on column accounting.policy_rules.entity_id is 'Whose books; null for any.';
comment on column accounting.policy_rules.transaction_category is
  'Which category of bundle; null for any.';
comment on column accounting.policy_rules.risk_band is 'Which band of risk; null for any.';
comment on column accounting.policy_rules.model is
  'Of AI spend: which model, by its listed name; null for any.';
comment on column accounting.policy_rules.velocity_limit_count is
  'How many it lets pass within the window; more count as above the threshold.';
comment on column accounting.policy_rules.velocity_window_seconds is 'The window, seconds.';
comment on column accounting.policy_rules.threshold_amount is
  'Strictly above this amount approval is needed, US dollars.';
comment on column accounting.policy_rules.required_approvals is
  'How many different persons must approve.';
comment on column accounting.policy_rules.allows_asserted is
  'True where approvers whom a server role names count.';
comment on column accounting.policy_rules.active is
  'False for a rule that was retired: it matches nothing, and is kept for what it asked of others.';
comment on column accounting.policy_rules.recent_uses is
  'Of a rule with a velocity limit: when it let something pass, as far as its window reaches back. '
  'Whoever is counted changes the row, so that nobody counts by an older snapshot.';
comment on column accounting.policy_rules.metadata is 'Whatever else is known of it, an object.';
comment on column accounting.policy_rules.created_at is 'When it was set.';
comment on column accounting.policy_rules.updated_at is 'When it was last changed.';

create table accounting.approval_proposals (
  organization_id uuid not null,
  proposal_id private.label not null default private.uuid_v7()::text,
  tool_name private.label not null,
  source_system private.label not null,
  external_id private.label not null,
  correlation_id private.label not null,
  input_hash private.sha256_hex not null,
  policy_threshold_amount private.usd not null,
  impact_amount private.usd_sum not null,
  request_payload text not null,
  status text not null default 'proposed',
  approved_transaction_id private.label,
  response_payload text,
  output_hash private.sha256_hex,
  entity_id private.label not null default 'entity-default',
  matched_rule_id private.label,
  required_approvals integer not null default 1,
  proposed_by private.label not null,
  authn_method text not null,
  created_at timestamptz not null default private.clock_now(),
  decided_at timestamptz,
  approved_until timestamptz,
  constraint approval_proposals_pkey primary key (organization_id, proposal_id),
  constraint approval_proposals_organization_id_proposal_id_proposed_by_key
  unique (organization_id, proposal_id, proposed_by),
  constraint approval_proposals_tool_name_source_system_external_id_key
  unique (organization_id, tool_name, source_system, external_id),
  constraint approval_proposals_entity_fkey
  foreign key (organization_id, entity_id)
  references accounting.entities (organization_id, entity_id) on delete restrict,
  constraint approval_proposals_transaction_fkey
  foreign key (organization_id, approved_transaction_id)
  references accounting.ledger_transactions (organization_id, transaction_id) on delete restrict,
  constraint approval_proposals_rule_fkey
  foreign key (organization_id, matched_rule_id)
  references accounting.policy_rules (organization_id, rule_id) on delete restrict,
  constraint approval_proposals_status_is_known
  check (status in ('proposed', 'rejected', 'committed')),
  constraint approval_proposals_required_approvals_is_from_1 check (required_approvals >= 1),
  constraint approval_proposals_authn_method_is_known check (authn_method in ('jwt', 'asserted')),
  constraint approval_proposals_end_is_known
  check ((decided_at is null) = (status = 'proposed')),
  constraint approval_proposals_gate_opens_for_approved_ai_spend
  check ((approved_until is not null) = (tool_name = 'authorize_spend' and status = 'committed')),
  constraint approval_proposals_transaction_follows_commit
  check (approved_transaction_id is null or status = 'committed'),
  constraint approval_proposals_output_hash_is_of_the_response
  check (
    (output_hash is null) = (response_payload is null)
    and output_hash = private.content_hash(response_payload)
  )
);

create index approval_proposals_entity_idx
on accounting.approval_proposals (organization_id, entity_id);
create index approval_proposals_transaction_idx
on accounting.approval_proposals (organization_id, approved_transaction_id);
create index approval_proposals_rule_idx
on accounting.approval_proposals (organization_id, matched_rule_id, created_at);

-- What was asked for stays as it was asked for; it is decided once.
create function private.guard_proposal()
returns trigger
language plpgsql
volatile
set search_path = pg_catalog, pg_temp
as $$
declare
  v_decided constant text[] := array[
    'status', 'decided_at', 'approved_until', 'approved_transaction_id', 'required_approvals',
    'response_payload', 'output_hash'
  ];
begin
  if old.status <> 'proposed' or to_jsonb(old) - v_decided <> to_jsonb(new) - v_decided then
    perform private.raise_error(
      '23001',
      jsonb_build_object('table', 'accounting.approval_proposals', 'proposal_id', old.proposal_id)
    );
  end if;
  return new;
end
$$;

comment on function private.guard_proposal() is
  'Trigger: a proposal is decided once, and nothing else of it changes. Errors: 23001.';

create trigger approval_proposals_guard before update on accounting.approval_proposals
for each row execute function private.guard_proposal();
create trigger approval_proposals_reject_delete before delete on accounting.approval_proposals
for each row execute function private.reject_mutation();
create trigger approval_proposals_reject_truncate before truncate on accounting.approval_proposals
for each statement execute function private.reject_mutation();

comment on table accounting.approval_proposals is
  'Writes that wait for approval, and what became of them (data_model_reference: '
  'approval_proposals).';
comment on column accounting.approval_proposals.organization_id is 'The organization.';
comment on column accounting.approval_proposals.proposal_id is 'Id of the proposal.';
comment on column accounting.approval_proposals.tool_name is 'The call that was made.';
comment on column accounting.approval_proposals.source_system is
  'Who made it; tallystick for a call of a model.';
comment on column accounting.approval_proposals.external_id is
  'Its id there: made again, it is answered as it was. Of a call of a model the proposal''s own '
  'id, as its request id may have several proposals, one after the other.';
comment on column accounting.approval_proposals.correlation_id is
  'What it belongs to, as the caller says; of a call of a model its request id.';
comment on column accounting.approval_proposals.input_hash is
  'SHA-256 of the request, without its correlation_id.';
comment on column accounting.approval_proposals.policy_threshold_amount is
  'The threshold of the rule that asked for approval, US dollars.';
comment on column accounting.approval_proposals.impact_amount is
  'Its amount, US dollars: the sum of postings above 0, or what a call of a model asked to hold. '
  'An approved call holds no more than this.';
comment on column accounting.approval_proposals.request_payload is
  'The request as canonical text.';
comment on column accounting.approval_proposals.status is 'proposed, rejected or committed.';
comment on column accounting.approval_proposals.approved_transaction_id is
  'The transaction it became, if it did.';
comment on column accounting.approval_proposals.response_payload is
  'The response to whoever makes the request again, byte for byte; a rejection changes it once.';
comment on column accounting.approval_proposals.output_hash is 'SHA-256 of response_payload.';
comment on column accounting.approval_proposals.entity_id is 'Whose books.';
comment on column accounting.approval_proposals.matched_rule_id is
  'The rule that asked for approval; null where a locked period did.';
comment on column accounting.approval_proposals.required_approvals is
  'How many different persons must approve, by the rule that asked; once committed, how many had '
  'to by the rule of that time.';
comment on column accounting.approval_proposals.proposed_by is
  'Who proposed it: user:<id> or service:<name>. They never approve it.';
comment on column accounting.approval_proposals.authn_method is
  'How the proposer is known: jwt, or asserted by a server role.';
comment on column accounting.approval_proposals.created_at is 'When it was proposed.';
comment on column accounting.approval_proposals.decided_at is
  'When it was committed or rejected; null while it waits.';
comment on column accounting.approval_proposals.approved_until is
  'Of an approved call of a model: until when its request id may be used to make it.';

-- One person, whoever names them, and however it is written: signed in, or named by a server.
create function private.person_of(p_actor_id text)
returns text
language sql
immutable
set search_path = pg_catalog, pg_temp
as $$
  select regexp_replace(
    lower(p_actor_id),
    '^([\s\u00A0\u2000-\u200F\u3000\uFEFF]|(user|service):)+|[\s\u00A0\u2000-\u200F\u3000\uFEFF]+$',
    '', 'g'
  )
$$;

comment on function private.person_of(text) is
  'The person an actor id names, however they came: without user: and service:, without spaces '
  'around, in lower case.';

create table accounting.approval_decisions (
  organization_id uuid not null,
  decision_id private.label not null default private.uuid_v7()::text,
  proposal_id private.label not null,
  proposed_by private.label not null,
  action text not null,
  correlation_id private.label not null,
  reason text,
  approver_id private.label not null,
  authn_method text not null,
  decided_at timestamptz not null default private.clock_now(),
  xact_id xid8 not null default pg_current_xact_id(),
  constraint approval_decisions_pkey primary key (organization_id, decision_id),
  constraint approval_decisions_proposal_id_approver_id_key
  unique (organization_id, proposal_id, approver_id),
  constraint approval_decisions_proposal_fkey
  foreign key (organization_id, proposal_id, proposed_by)
  references accounting.approval_proposals (organization_id, proposal_id, proposed_by)
  on delete restrict,
  constraint approval_decisions_action_is_known check (action in ('approve', 'reject')),
  constraint approval_decisions_proposer_does_not_approve
  check (action <> 'approve' or private.person_of(approver_id) <> private.person_of(proposed_by)),
  constraint approval_decisions_authn_method_is_known check (authn_method in ('jwt', 'asserted'))
);

create index approval_decisions_xact_id_idx on accounting.approval_decisions (xact_id);
create index approval_decisions_proposal_idx
on accounting.approval_decisions (organization_id, proposal_id, proposed_by);

create trigger approval_decisions_reject_mutation
before update or delete on accounting.approval_decisions
for each row execute function private.reject_mutation();
create trigger approval_decisions_reject_truncate before truncate on accounting.approval_decisions
for each statement execute function private.reject_mutation();

comment on table accounting.approval_decisions is
  'Who approved or rejected which proposal, append-only (data_model_reference: '
  'approval_decisions). A person decides once.';
comment on column accounting.approval_decisions.organization_id is 'The organization.';
comment on column accounting.approval_decisions.decision_id is 'Id of the decision.';
comment on column accounting.approval_decisions.proposal_id is 'The proposal.';
comment on column accounting.approval_decisions.proposed_by is
  'Who proposed it, who therefore is not the one who approves.';
comment on column accounting.approval_decisions.action is 'approve or reject.';
comment on column accounting.approval_decisions.correlation_id is
  'What it belongs to, as the caller says.';
comment on column accounting.approval_decisions.reason is 'Why, if it was said.';
comment on column accounting.approval_decisions.approver_id is
  'Who decided: user:<id> or service:<name>.';
comment on column accounting.approval_decisions.authn_method is
  'How they are known: jwt, or asserted by a server role.';
comment on column accounting.approval_decisions.decided_at is 'When.';
comment on column accounting.approval_decisions.xact_id is 'The transaction that wrote it.';

select private.seal_ledger('accounting.approval_decisions', 'decided_at', array['reason']);
