-- What must hold between rules, proposals, decisions and what came of them.
create function private.verify_approvals(p_organization_ids uuid[], p_since xid8)
returns setof audit.finding
language plpgsql
stable
set search_path = pg_catalog, pg_temp
as $$
begin
  return query
  select
    'kernel_asks_above_the_least_threshold', b.organization_id, 'budget ' || b.id::text,
    coalesce(private.figure(private.approval_above(b.organization_id)), 'nobody'),
    coalesce(private.figure(b.approval_above_usd), 'nobody')
  from metering.budgets as b
  where b.id = b.organization_id
    and (p_organization_ids is null or b.organization_id = any(p_organization_ids))
    and b.approval_above_usd is distinct from private.approval_above(b.organization_id);

  return query
  select
    'hold_is_within_its_approval', h.organization_id, 'hold ' || h.id::text,
    coalesce('at most ' || private.figure(p.impact_amount), 'an approved proposal'),
    private.figure(h.held_usd)
  from metering.holds as h
  left join accounting.approval_proposals as p
    on p.organization_id = h.organization_id
    and p.proposal_id = h.proposal_id::text
    and p.tool_name = 'authorize_spend'
    and p.status = 'committed'
  where h.proposal_id is not null
    and (p_organization_ids is null or h.organization_id = any(p_organization_ids))
    and (h.held_usd <= p.impact_amount) is not true;

  return query
  select
    'approval_admits_one_hold', h.organization_id, 'proposal ' || h.proposal_id::text, '1',
    count(*)::text
  from metering.holds as h
  where h.proposal_id is not null
    and h.state = 'open'
    and (p_organization_ids is null or h.organization_id = any(p_organization_ids))
  group by h.organization_id, h.proposal_id
  having count(*) > 1;

  return query
  select
    'proposal_was_decided_by_others', p.organization_id, 'proposal ' || p.proposal_id,
    case p.status
      when 'committed' then p.required_approvals || ' approvals'
      when 'rejected' then 'a rejection'
      else 'none yet'
    end,
    format('%s approvals, %s rejections', d.approvals, d.rejections)
  from accounting.approval_proposals as p
  cross join lateral (
    select
      count(distinct private.person_of(a.approver_id)) filter (
        where a.action = 'approve'
          and private.person_of(a.approver_id) <> private.person_of(p.proposed_by)
      ) as approvals,
      count(*) filter (where a.action = 'reject') as rejections
    from accounting.approval_decisions as a
    where a.organization_id = p.organization_id and a.proposal_id = p.proposal_id
  ) as d
  where (p_organization_ids is null or p.organization_id = any(p_organization_ids))
    and (
      p.status = 'committed' and d.approvals < p.required_approvals
      or (p.status = 'rejected') <> (d.rejections > 0)
    );

  return query
  select
    'proposal_became_its_transaction', p.organization_id, 'proposal ' || p.proposal_id,
    case p.status when 'committed' then 'transaction with its content' else 'no transaction' end,
    coalesce('transaction ' || t.transaction_id, 'nothing')
  from accounting.approval_proposals as p
  left join accounting.ledger_transactions as t
    on t.organization_id = p.organization_id
    and t.source_system = p.source_system
    and t.external_id = p.external_id
  where p.tool_name = 'record_transaction_bundle'
    and (p_organization_ids is null or p.organization_id = any(p_organization_ids))
    and row(p.approved_transaction_id, p.input_hash, p.response_payload) is distinct from case
      when p.status = 'committed' then row(t.transaction_id, t.input_hash, t.response_payload)
      else row(t.transaction_id, p.input_hash, p.response_payload)
    end;

  return query
  select
    'proposal_has_its_event', p.organization_id, 'proposal ' || p.proposal_id, 'an event', 'nothing'
  from accounting.approval_proposals as p
  where (p_organization_ids is null or p.organization_id = any(p_organization_ids))
    and not exists (
      select from audit.event_log as e
      where e.organization_id = p.organization_id
        and e.correlation_id = p.correlation_id
        and e.tool_name = p.tool_name
        and e.input_hash = p.input_hash
        and e.status = 'proposed'
    );

  return query
  select
    'decision_has_its_event', d.organization_id, 'decision ' || d.decision_id, 'an event', 'nothing'
  from accounting.approval_decisions as d
  where (p_organization_ids is null or d.organization_id = any(p_organization_ids))
    and (p_since is null or d.xact_id >= p_since)
    and not exists (
      select from audit.event_log as e
      where e.organization_id = d.organization_id
        and e.correlation_id = d.correlation_id
        and e.tool_name = d.action || '_proposal'
        and e.actor_id = d.approver_id
        and e.status = 'ok'
    );
end
$$;

comment on function private.verify_approvals(uuid[], xid8) is
  'Approval checks of audit.verify_integrity.';
