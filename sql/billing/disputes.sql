-- Disputes: finance or an owner objects to a reconciliation, an operator resolves it.

-- The privileged half of billing.dispute_reconciliation.
create function private.dispute_reconciliation(p_run_id uuid, p_notes text, p_org_id uuid)
returns billing.token_reconciliations
language plpgsql
volatile
security definer -- writes reconciliations, which no role may write itself
set search_path = pg_catalog, pg_temp
as $$
declare
  v_org_id constant uuid := coalesce(
    p_org_id, private.resolve_organization_of_run(private.assert_id('p_run_id', p_run_id))
  );
  v_reconciliation billing.token_reconciliations;
begin
  if not private.is_trusted_caller()
    and (v_org_id = any(private.member_organization_ids())) is not true then
    perform private.raise_error('TS404', jsonb_build_object('run_id', p_run_id));
  elsif v_org_id is not null then
    perform private.assert_member(v_org_id, array['owner', 'finance']);
  end if;
  if length(p_notes) > 10000 then
    perform private.reject_argument('p_notes', 'must have at most 10000 characters');
  end if;
  update billing.token_reconciliations as r
  set status = 'DISPUTED', notes = coalesce(p_notes, r.notes)
  where r.org_id = v_org_id and r.run_id = p_run_id and r.status <> 'RESOLVED'
  returning * into v_reconciliation;
  if v_reconciliation.id is not null then
    return v_reconciliation;
  elsif exists (
    select from billing.token_reconciliations as r
    where r.org_id = v_org_id and r.run_id = p_run_id
  ) then
    perform private.raise_error(
      'TS410', jsonb_build_object('run_id', p_run_id, 'state', 'RESOLVED')
    );
  end if;
  perform private.raise_error('TS404', jsonb_build_object('run_id', p_run_id));
  return null;
end
$$;

comment on function private.dispute_reconciliation(uuid, text, uuid) is
  'Core of billing.dispute_reconciliation.';

-- Objects to what a run was charged. Idempotent.
create function billing.dispute_reconciliation(
  p_run_id uuid,
  p_notes text default null,
  p_org_id uuid default null
)
returns billing.token_reconciliations
language plpgsql
volatile
set search_path = pg_catalog, pg_temp
as $$
begin
  return private.dispute_reconciliation(p_run_id, p_notes, p_org_id);
end
$$;

comment on function billing.dispute_reconciliation(uuid, text, uuid) is
  'Marks the reconciliation of a run as DISPUTED, whatever it was; once resolved it stays so. For '
  'owners, finance and server roles. Errors: 22023, 42501, TS404, TS410 for a resolved one.';

-- Refunds p_refund_usd of what a run cost: what was not collected yet is waived first.
create function private.refund_dispute(p_org_id uuid, p_run_id uuid, p_refund numeric)
returns void
language plpgsql
volatile
set search_path = pg_catalog, pg_temp
as $$
declare
  v_receivable billing.receivables;
  v_left numeric := p_refund;
  v_waived numeric;
begin
  for v_receivable in
    select * from billing.receivables as r
    where r.org_id = p_org_id and r.run_id = p_run_id and r.outstanding_usd > 0
    order by r.number
    for update
  loop
    v_waived := least(v_left, v_receivable.outstanding_usd);
    exit when v_waived = 0;
    update billing.receivables as r
    set
      outstanding_usd = r.outstanding_usd - v_waived,
      waived_usd = r.waived_usd + v_waived
    where r.org_id = p_org_id and r.id = v_receivable.id;
    perform private.post_billing(
      p_org_id, v_receivable.id, 'receivable:' || v_receivable.id || ':waived'
    );
    v_left := v_left - v_waived;
  end loop;
  if v_left > private.sum_of_parts(private.charged_parts(p_org_id, p_run_id, v_left)) then
    perform private.reject_argument('p_refund_usd', 'must be at most what the run was charged');
  end if;
  perform private.refund_charges(
    private.draft_movement(
      p_org_id, 'refund', 'user_dispute_resolution',
      'tallystick:run:' || p_run_id || ':dispute', p_run_id, null, 'support'
    ),
    v_left
  );
end
$$;

comment on function private.refund_dispute(uuid, uuid, numeric) is
  'Refunds a part of what a run cost. Errors: 22023 where that is more than it was charged.';

-- Resolves a dispute, with a refund or without. Idempotent: what is resolved stays so.
create function billing.resolve_dispute(
  p_run_id uuid,
  p_refund_usd numeric default 0,
  p_notes text default null,
  p_org_id uuid default null
)
returns billing.token_reconciliations
language plpgsql
volatile
security definer -- moves credits, which no role may write itself
set search_path = pg_catalog, pg_temp
as $$
declare
  v_org_id constant uuid := (private.find_run(p_run_id, p_org_id)).org_id;
  v_reconciliation billing.token_reconciliations;
begin
  perform private.assert_money('p_refund_usd', p_refund_usd);
  if length(p_notes) > 10000 then
    perform private.reject_argument('p_notes', 'must have at most 10000 characters');
  end if;
  perform private.lock_credits(v_org_id);
  select * into v_reconciliation
  from billing.token_reconciliations as r
  where r.org_id = v_org_id and r.run_id = p_run_id
  for update;
  if v_reconciliation.status = 'RESOLVED' then
    if v_reconciliation.dispute_refund_usd <> p_refund_usd then
      perform private.raise_error('TS409', jsonb_build_object('run_id', p_run_id));
    end if;
    return v_reconciliation;
  elsif v_reconciliation.id is null then
    perform private.raise_error('TS404', jsonb_build_object('run_id', p_run_id));
  elsif v_reconciliation.status <> 'DISPUTED' then
    perform private.raise_error(
      'TS410', jsonb_build_object('run_id', p_run_id, 'state', v_reconciliation.status)
    );
  end if;
  if p_refund_usd > 0 then
    perform private.refund_dispute(v_org_id, p_run_id, p_refund_usd);
  end if;
  update billing.token_reconciliations as r
  set
    status = 'RESOLVED',
    action = 'dispute_resolved',
    dispute_refund_usd = p_refund_usd,
    notes = coalesce(p_notes, r.notes),
    resolved_at = private.clock_now()
  where r.org_id = v_org_id and r.run_id = p_run_id
  returning * into v_reconciliation;
  return v_reconciliation;
end
$$;

comment on function billing.resolve_dispute(uuid, numeric, text, uuid) is
  'Resolves a dispute and refunds p_refund_usd, US dollars, of what the run cost: what it still '
  'owes is waived first, the rest goes back to the credits it came from (user_dispute_resolution). '
  'For operators. Errors: 22023 where that is more than the run was charged, TS404, TS409 where it '
  'was resolved with another refund, TS410 where nothing is disputed.';
