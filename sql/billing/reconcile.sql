-- How a run ends: its slots are closed, estimate and records are compared, and money moves once.

-- How far off an estimate was. Decided by whole numbers: what is exactly 50 percent off is within.
create function private.variance_status(p_estimated bigint, p_actual bigint)
returns text
language plpgsql
immutable
set search_path = pg_catalog, pg_temp
as $$
declare
  v_variance constant numeric := abs(p_actual::numeric - p_estimated);
begin
  return case
    when v_variance * 100 <= 50 * greatest(p_estimated, 1)::numeric then 'RECONCILED'
    when v_variance <= greatest(p_estimated, 1) then 'NEEDS_REVIEW'
    else 'CRITICAL'
  end;
end
$$;

comment on function private.variance_status(bigint, bigint) is
  'RECONCILED up to 50 percent of the estimate, NEEDS_REVIEW up to 100, else CRITICAL; an estimate '
  'of 0 counts as 1 token.';

-- The reconciliation a run is to have: without an id, a time, and money.
create function private.compare_run(p_run billing.run_records)
returns billing.token_reconciliations
language plpgsql
stable
set search_path = pg_catalog, pg_temp
as $$
declare
  v_compared billing.token_reconciliations;
begin
  v_compared.org_id := p_run.org_id;
  v_compared.run_id := p_run.id;
  v_compared.estimated_input_tokens := p_run.input_tokens_estimated;
  v_compared.estimated_output_tokens := p_run.output_tokens_estimated;
  v_compared.estimated_total_tokens :=
    p_run.input_tokens_estimated + p_run.output_tokens_estimated;
  v_compared.estimated_cost_usd := p_run.input_cost_estimated + p_run.output_cost_estimated;
  select
    coalesce(sum(t.input_tokens), 0), coalesce(sum(t.output_tokens), 0),
    coalesce(sum(t.total_tokens), 0), coalesce(sum(t.cost_usd), 0)
  into
    v_compared.actual_input_tokens, v_compared.actual_output_tokens,
    v_compared.actual_total_tokens, v_compared.actual_cost_usd
  from billing.token_records as t
  where t.org_id = p_run.org_id
    and t.run_id = p_run.id
    and t.id >= private.uuid_v7_floor(p_run.created_at - interval '1 day');
  v_compared.variance_tokens :=
    v_compared.actual_total_tokens - v_compared.estimated_total_tokens;
  v_compared.variance_pct := private.round_half_even(
    v_compared.variance_tokens * 100::numeric
    / greatest(v_compared.estimated_total_tokens, 1), 4
  );
  v_compared.status := private.variance_status(
    v_compared.estimated_total_tokens, v_compared.actual_total_tokens
  );
  v_compared.refund_amount_usd := greatest(
    v_compared.estimated_cost_usd - v_compared.actual_cost_usd, 0
  );
  v_compared.charge_amount_usd := greatest(
    v_compared.actual_cost_usd - v_compared.estimated_cost_usd, 0
  );
  v_compared.action := case
    when v_compared.status = 'CRITICAL' then 'escalated_to_team'
    when v_compared.refund_amount_usd > 0 then 'refund_applied'
    when v_compared.charge_amount_usd > 0 then 'charge_applied'
    else 'none'
  end;
  return v_compared;
end
$$;

comment on function private.compare_run(billing.run_records) is
  'Estimate and records of a run, compared.';

-- Moves the money of a run that has ended: the estimate is charged, then the excess refunded or the
-- shortfall charged.
create function private.charge_run(
  p_compared billing.token_reconciliations,
  p_model text,
  p_refund_reason text
)
returns void
language plpgsql
volatile
set search_path = pg_catalog, pg_temp
as $$
declare
  v_org_id constant uuid := p_compared.org_id;
  v_run_id constant uuid := p_compared.run_id;
begin
  perform private.charge_reserved(
    private.draft_movement(
      v_org_id, 'charge', 'run_charge', 'tallystick:run:' || v_run_id || ':charge', v_run_id
    ),
    v_run_id, p_compared.estimated_cost_usd
  );
  perform private.refund_charges(
    private.draft_movement(
      v_org_id, 'refund', p_refund_reason, 'tallystick:run:' || v_run_id || ':refund', v_run_id
    ),
    p_compared.refund_amount_usd
  );
  perform private.charge_available(
    private.draft_movement(
      v_org_id, 'charge', 'token_reconciliation_underestimate',
      'tallystick:run:' || v_run_id || ':shortfall', v_run_id
    ),
    p_compared.charge_amount_usd, p_model
  );
end
$$;

comment on function private.charge_run(billing.token_reconciliations, text, text) is
  'Charges a run that has ended, and refunds what it did not need.';

-- Closes open holds of a run, overdue ones or all, in the order of their ids, and returns them.
create function private.close_run_holds(
  p_org_id uuid,
  p_run_id uuid,
  p_now timestamptz,
  p_all boolean
)
returns metering.holds[]
language plpgsql
volatile
set search_path = pg_catalog, pg_temp
as $$
declare
  v_ids uuid[];
  v_holds metering.holds[];
begin
  v_ids := array(
    select h.id from metering.holds as h
    where h.organization_id = p_org_id
      and h.state = 'open'
      and h.run_id = p_run_id
      and (p_all or h.expires_at <= p_now)
    order by h.id
    for update
  );
  with closed as (
    update metering.holds as h
    set
      state = (case when h.expires_at <= p_now then 'expired' else 'released' end)::metering.hold_state,
      closed_at = p_now,
      reason = case when h.expires_at > p_now then 'run ended' end
    where h.organization_id = p_org_id and h.id = any(v_ids)
    returning h.*
  )

  select array_agg(c::metering.holds) into v_holds from closed as c;
  return v_holds;
end
$$;

comment on function private.close_run_holds(uuid, uuid, timestamptz, boolean) is
  'Releases or expires open holds of a run and returns them. The caller returns their money.';

-- Ends a run: the whole of complete_run, cancel_run, fail_run and reconcile_run.
--
-- Locks, in the order of all calls: open holds of the run; a slot of the organization's own budget,
-- or all of them where holds were closed; all slots of the run, so that no call of it is in flight;
-- the run; the credits. Then its slots are gone: a call that comes later finds none, and is late.
create function private.end_run(
  p_run billing.run_records,
  p_status text,
  p_refund_reason text,
  p_releases_holds boolean
)
returns billing.token_reconciliations
language plpgsql
volatile
set search_path = pg_catalog, pg_temp
as $$
declare
  v_org_id constant uuid := p_run.org_id;
  v_run billing.run_records;
  v_reconciliation billing.token_reconciliations;
  v_holds metering.holds[];
  v_held numeric;
  v_expires_at timestamptz;
  v_now timestamptz;
begin
  loop
    select * into v_reconciliation
    from billing.token_reconciliations as r where r.org_id = v_org_id and r.run_id = p_run.id;
    if v_reconciliation.id is not null then
      return v_reconciliation;
    end if;
    v_now := private.clock_now();
    begin
      v_holds := private.close_run_holds(v_org_id, p_run.id, v_now, p_releases_holds);
      if v_holds is null then
        perform private.lock_own_slot(v_org_id);
      else
        perform private.gather_organization(v_org_id);
        perform private.return_holds(v_org_id, v_holds);
      end if;
      if not private.lock_run_slots(v_org_id, p_run.id) then
        perform private.abandon_attempt();
      end if;
      select max(h.expires_at), sum(h.held_usd) into v_expires_at, v_held
      from metering.holds as h
      where h.organization_id = v_org_id and h.state = 'open' and h.run_id = p_run.id;
      if v_expires_at > v_now and not p_releases_holds then
        perform private.raise_error(
          'TS423',
          jsonb_build_object('run_id', p_run.id, 'held_usd', trim_scale(v_held)::text)
        );
      elsif v_expires_at is not null then
        -- Granted or overdue since it looked.
        perform private.abandon_attempt();
      end if;
      select * into strict v_run
      from billing.run_records as r where r.org_id = v_org_id and r.id = p_run.id
      for update;
      perform private.lock_credits(v_org_id);
      return private.close_run(v_run, p_status, p_refund_reason);
    exception
      when sqlstate 'UNDO0' then null;
    end;
  end loop;
  return null; -- never reached
end
$$;

comment on function private.end_run(billing.run_records, text, text, boolean) is
  'Ends a run and reconciles it; again: the same reconciliation. Errors: TS423 for a run with open '
  'holds.';

-- Reconciles a run that stands still.
create function private.close_run(
  p_run billing.run_records,
  p_status text,
  p_refund_reason text
)
returns billing.token_reconciliations
language plpgsql
volatile
set search_path = pg_catalog, pg_temp
as $$
declare
  v_now constant timestamptz := private.clock_now();
  v_compared billing.token_reconciliations := private.compare_run(p_run);
begin
  v_compared.id := private.uuid_v7(v_now);
  v_compared.created_at := v_now;
  v_compared.updated_at := v_now;
  insert into billing.token_reconciliations values (v_compared.*);
  update billing.run_records as r
  set status = p_status, completed_at = v_now
  where r.org_id = p_run.org_id and r.id = p_run.id;
  perform private.end_parts_of_run(p_run.org_id, p_run.id, p_status, v_now);
  delete from metering.budget_slots as s
  where s.organization_id = p_run.org_id and s.budget_id = p_run.id;
  delete from metering.budgets as b
  where b.organization_id = p_run.org_id and b.id = p_run.id;
  perform private.charge_run(v_compared, p_run.model, p_refund_reason);
  if v_compared.status = 'CRITICAL' then
    perform private.emit_event(
      p_run.org_id, 'billing.critical_variance', p_run.id,
      jsonb_build_object(
        'reconciliation_id', v_compared.id,
        'variance_pct', v_compared.variance_pct::text,
        'estimated_cost_usd', trim_scale(v_compared.estimated_cost_usd::numeric)::text,
        'actual_cost_usd', trim_scale(v_compared.actual_cost_usd::numeric)::text
      )
    );
  end if;
  return v_compared;
end
$$;

comment on function private.close_run(billing.run_records, text, text) is
  'Writes the reconciliation of a run, ends it and moves its money.';

-- What still runs in a run ends with it.
create function private.end_parts_of_run(
  p_org_id uuid,
  p_run_id uuid,
  p_status text,
  p_now timestamptz
)
returns void
language plpgsql
volatile
set search_path = pg_catalog, pg_temp
as $$
begin
  update billing.steps as s
  set status = p_status, completed_at = p_now
  where s.org_id = p_org_id and s.run_id = p_run_id and s.status = 'running';
  update billing.tasks as t
  set status = p_status, completed_at = p_now
  where t.org_id = p_org_id and t.run_id = p_run_id and t.status = 'running';
  update billing.agents as a
  set status = p_status, completed_at = p_now
  where a.org_id = p_org_id and a.run_id = p_run_id and a.status = 'running';
end
$$;

comment on function private.end_parts_of_run(uuid, uuid, text, timestamptz) is
  'Ends the agents, tasks and steps of a run that are running.';

-- Reconciles a run, which ends it. Idempotent: again, it is the same reconciliation.
create function billing.reconcile_run(p_run_id uuid, p_org_id uuid default null)
returns uuid
language plpgsql
volatile
security definer -- moves credits and closes budgets, which no role may write itself
set search_path = pg_catalog, pg_temp
as $$
begin
  return (
    private.end_run(
      private.find_run(p_run_id, p_org_id), 'completed', 'token_reconciliation_overestimate', false
    )
  ).id;
end
$$;

comment on function billing.reconcile_run(uuid, uuid) is
  'Compares what a run was estimated at with its records, charges and refunds, and returns the id '
  'of the reconciliation (billing_system 4.2); a run that was going on is completed by that. '
  'Again: the same id. For server roles. Errors: 22023, TS404, TS423 while a hold of it is open.';

-- A run is done. Idempotent: a run that has ended stays as it ended.
create function billing.complete_run(p_run_id uuid, p_org_id uuid default null)
returns billing.token_reconciliations
language plpgsql
volatile
security definer -- moves credits and closes budgets, which no role may write itself
set search_path = pg_catalog, pg_temp
as $$
begin
  return private.end_run(
    private.find_run(p_run_id, p_org_id), 'completed', 'token_reconciliation_overestimate', false
  );
end
$$;

comment on function billing.complete_run(uuid, uuid) is
  'Ends a run and returns its reconciliation: what it used is charged, the rest of its estimate '
  'refunded (token_reconciliation_overestimate), a shortfall charged '
  '(token_reconciliation_underestimate). For server roles. Errors: 22023, TS404, TS423 while a '
  'hold of it is open.';

-- A run is not wanted any more. Its open holds are released. Idempotent.
create function billing.cancel_run(p_run_id uuid, p_org_id uuid default null)
returns billing.token_reconciliations
language plpgsql
volatile
security definer -- moves credits and closes budgets, which no role may write itself
set search_path = pg_catalog, pg_temp
as $$
begin
  return private.end_run(
    private.find_run(p_run_id, p_org_id), 'cancelled', 'token_reconciliation_overestimate', true
  );
end
$$;

comment on function billing.cancel_run(uuid, uuid) is
  'Releases the open holds of a run, ends it and returns its reconciliation: what it used is '
  'charged, the rest refunded (token_reconciliation_overestimate). A call that is settled '
  'afterwards is late usage. For server roles. Errors: 22023, TS404.';

-- A run went wrong. Its open holds are released. Idempotent.
create function billing.fail_run(
  p_run_id uuid,
  p_cause text default 'partial_failure',
  p_org_id uuid default null
)
returns billing.token_reconciliations
language plpgsql
volatile
security definer -- moves credits and closes budgets, which no role may write itself
set search_path = pg_catalog, pg_temp
as $$
begin
  if (p_cause in ('partial_failure', 'agent_crash')) is not true then
    perform private.reject_argument('p_cause', 'must be partial_failure or agent_crash');
  end if;
  return private.end_run(
    private.find_run(p_run_id, p_org_id), 'failed', p_cause || '_refund', true
  );
end
$$;

comment on function billing.fail_run(uuid, text, uuid) is
  'Releases the open holds of a run, ends it and returns its reconciliation: what it used is '
  'charged, the rest refunded (partial_failure_refund or agent_crash_refund, by p_cause: '
  'partial_failure or agent_crash). For server roles. Errors: 22023, TS404.';
