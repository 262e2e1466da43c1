-- Who sees what waits for approval, and decides. Rules are no secret: every member may know what
-- needs approval. Proposals are for those with an eye on money, and for whoever made them.

revoke all on table
accounting.policy_rules, accounting.approval_proposals, accounting.approval_decisions
from public, anon, authenticated, service_role, app_user, tallystick_reader, tallystick_writer;

alter table accounting.policy_rules enable row level security;
alter table accounting.approval_proposals enable row level security;
alter table accounting.approval_decisions enable row level security;

grant select on table
accounting.policy_rules, accounting.approval_proposals, accounting.approval_decisions
to authenticated, service_role, app_user, tallystick_reader, tallystick_writer;

create policy policy_rules_select_member on accounting.policy_rules
for select to authenticated
using (organization_id = any((select private.member_organization_ids())::uuid[]));
create policy policy_rules_select_trusted on accounting.policy_rules
for select to app_user, service_role, tallystick_reader, tallystick_writer using (true);

create policy approval_proposals_select_member on accounting.approval_proposals
for select to authenticated
using (
  organization_id = any(
    (select private.member_organization_ids(array['owner', 'admin', 'finance']))::uuid[]
  )
  or organization_id = any((select private.member_organization_ids())::uuid[])
  and proposed_by = 'user:' || (select auth.uid())::text
);
create policy approval_proposals_select_trusted on accounting.approval_proposals
for select to app_user, service_role, tallystick_reader, tallystick_writer using (true);

create policy approval_decisions_select_member on accounting.approval_decisions
for select to authenticated
using (
  organization_id = any(
    (select private.member_organization_ids(array['owner', 'admin', 'finance']))::uuid[]
  )
  or organization_id = any((select private.member_organization_ids())::uuid[])
  and proposed_by = 'user:' || (select auth.uid())::text
);
create policy approval_decisions_select_trusted on accounting.approval_decisions
for select to app_user, service_role, tallystick_reader, tallystick_writer using (true);

revoke execute on function
private.guard_proposal(),
private.person_of(text),
private.find_policy_rule(uuid, text, text, text, text, text[]),
private.uses_in_window(accounting.policy_rules, timestamptz),
private.policy_decision_of(accounting.policy_rules, numeric, timestamptz),
private.match_policy(uuid, text, text, text, text, numeric, text[]),
private.assert_between(text, integer, integer, integer),
private.draft_policy_rule(
  uuid, text, numeric, integer, text, text, text, text, text, integer, integer, integer, boolean,
  jsonb
),
private.approval_above(uuid),
private.enact_policy_rule(accounting.policy_rules, text, timestamptz),
private.set_policy_rule(
  uuid, text, numeric, integer, text, text, text, text, text, integer, integer, integer, boolean,
  jsonb
),
accounting.set_policy_rule(
  uuid, text, numeric, integer, text, text, text, text, text, integer, integer, integer, boolean,
  jsonb
),
private.retire_policy_rule(uuid, text),
accounting.retire_policy_rule(uuid, text),
private.approval_ttl(),
private.time_text(timestamptz),
private.with_status(text, text),
private.emit_proposal(text, accounting.approval_proposals),
private.propose(accounting.approval_proposals, jsonb),
private.proposal_code(text),
private.propose_bundle(uuid, private.bundle, private.policy_decision, private.actor),
private.bundle_response(accounting.approval_proposals, text),
private.replay_proposal(uuid, text, text, text, text),
private.policy_in_force(accounting.approval_proposals),
private.count_approvals(accounting.approval_proposals, boolean),
private.close_proposal(accounting.approval_proposals),
private.commit_proposal(accounting.approval_proposals),
private.assert_may_decide(uuid, text, text, private.actor),
private.outcome_of(accounting.approval_proposals, accounting.policy_rules),
private.take_decision(
  accounting.approval_proposals, accounting.approval_decisions, private.actor
),
private.decide_proposal(uuid, text, text, text, text, text),
accounting.approve_proposal(uuid, text, text, text, text),
accounting.reject_proposal(uuid, text, text, text, text),
private.rule_for_spend(metering.holds),
private.would_need_approval(metering.holds),
private.needs_approval(metering.holds),
private.approval_of(metering.holds, uuid, timestamptz),
private.decision_of_proposal(uuid, uuid),
private.requester_of(metering.holds),
private.propose_spend(metering.holds, text, text, uuid),
private.assert_within_approval(metering.holds, numeric),
private.verify_approvals(uuid[], xid8)
from public, anon, authenticated, service_role;

-- What estimate_spend reads with the caller's rights.
grant execute on function
private.find_policy_rule(uuid, text, text, text, text, text[]),
private.uses_in_window(accounting.policy_rules, timestamptz),
private.policy_decision_of(accounting.policy_rules, numeric, timestamptz),
private.rule_for_spend(metering.holds),
private.would_need_approval(metering.holds)
to authenticated, service_role, app_user, tallystick_writer;

-- What verify_integrity reads with the caller's rights.
grant execute on function
private.person_of(text),
private.approval_above(uuid),
private.verify_approvals(uuid[], xid8)
to service_role, app_user, tallystick_writer;

-- Owners, admins and operators. The cores are definers: they ask for the role themselves.
grant execute on function
private.set_policy_rule(
  uuid, text, numeric, integer, text, text, text, text, text, integer, integer, integer, boolean,
  jsonb
),
private.retire_policy_rule(uuid, text),
accounting.set_policy_rule(
  uuid, text, numeric, integer, text, text, text, text, text, integer, integer, integer, boolean,
  jsonb
),
accounting.retire_policy_rule(uuid, text)
to authenticated, service_role;

-- Approvers, and server roles that name them. The core asks for the role itself.
grant execute on function
private.decide_proposal(uuid, text, text, text, text, text),
accounting.approve_proposal(uuid, text, text, text, text),
accounting.reject_proposal(uuid, text, text, text, text)
to authenticated, service_role, app_user, tallystick_writer;
