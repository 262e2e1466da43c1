-- Billing: credits against their ledger, runs against their calls.

-- A stable function reads with the snapshot of the statement that called it: see verify_metering.
create function private.verify_billing(p_organization_ids uuid[], p_since xid8)
returns setof audit.finding
language plpgsql
stable
set search_path = pg_catalog, pg_temp
as $$
begin
  -- A balance is its ledger, its last history row, and what is left of its grants.
  return query
  select v.check_name, b.org_id, 'credits', private.figure(v.expected), private.figure(v.actual)
  from billing.credit_balances as b
  cross join lateral (
    select
      (
        select
          coalesce(
            sum(case l.direction when 'credit' then l.amount_usd else - l.amount_usd end), 0
          )
        from billing.billing_ledger as l where l.org_id = b.org_id
      ) as ledger,
      coalesce(
        (
          select h.balance_after_usd
          from billing.credit_balance_history as h
          where h.org_id = b.org_id
          order by h.movement desc
          limit 1
        ), 0
      ) as history,
      (
        select coalesce(sum(g.remaining_usd), 0)
        from billing.credit_grants as g where g.org_id = b.org_id
      ) as remaining,
      (
        select coalesce(sum(g.reserved_usd), 0)
        from billing.credit_grants as g where g.org_id = b.org_id
      ) as reserved,
      (
        select coalesce(sum(m.limit_usd), 0)
        from metering.budgets as m
        where m.organization_id = b.org_id and m.is_funded
      ) as limits,
      (
        select coalesce(max(h.movement), 0)
        from billing.credit_balance_history as h where h.org_id = b.org_id
      ) as movements,
      (
        select count(*) from billing.billing_ledger as l where l.org_id = b.org_id
      ) as entries
  ) as t
  cross join lateral (
    values
    ('balance_equals_ledger', t.ledger, b.balance_usd::numeric),
    ('balance_equals_history', t.history::numeric, b.balance_usd::numeric),
    ('balance_equals_grants', t.remaining, b.balance_usd::numeric),
    ('reserved_equals_grants', t.reserved, b.reserved_usd::numeric),
    ('reserved_funds_runs_and_draws', t.limits, b.reserved_usd::numeric),
    ('every_movement_is_in_history', t.entries::numeric, b.movement_count::numeric),
    ('history_has_no_gap', t.movements::numeric, b.movement_count::numeric)
  ) as v (check_name, expected, actual)
  where v.expected <> v.actual and (p_organization_ids is null or b.org_id = any(p_organization_ids));

  return query
  select
    'history_is_a_chain', h.org_id, 'movement ' || h.movement::text,
    private.figure(h.before_it), private.figure(h.balance_before_usd)
  from (
    select
      x.org_id, x.movement, x.balance_before_usd,
      coalesce(
        lag(x.balance_after_usd) over (partition by x.org_id order by x.movement), 0
      )::numeric as before_it
    from billing.credit_balance_history as x
    where p_organization_ids is null or x.org_id = any(p_organization_ids)
  ) as h
  where h.before_it <> h.balance_before_usd;

  return query
  select
    'movement_is_of_grants', l.org_id, 'movement ' || l.id::text,
    private.figure(case l.direction when 'credit' then l.amount_usd else - l.amount_usd end),
    private.figure(m.change)
  from billing.billing_ledger as l
  cross join lateral (
    select coalesce(sum(x.change_usd), 0) as change
    from billing.grant_movements as x
    where x.org_id = l.org_id and x.billing_ledger_id = l.id
  ) as m
  where (p_organization_ids is null or l.org_id = any(p_organization_ids))
    and (p_since is null or l.xact_id >= p_since)
    and m.change <> case l.direction when 'credit' then l.amount_usd else - l.amount_usd end;

  return query
  select
    'grant_is_what_moved', g.org_id, 'grant ' || g.id::text,
    private.figure(m.change), private.figure(g.remaining_usd)
  from billing.credit_grants as g
  cross join lateral (
    select coalesce(sum(x.change_usd), 0) as change
    from billing.grant_movements as x where x.org_id = g.org_id and x.grant_id = g.id
  ) as m
  where (p_organization_ids is null or g.org_id = any(p_organization_ids))
    and m.change <> g.remaining_usd;

  return query
  select
    'reservation_is_of_grants', g.org_id, 'grant ' || g.id::text,
    private.figure(r.reserved), private.figure(g.reserved_usd)
  from billing.credit_grants as g
  cross join lateral (
    select coalesce(sum(x.amount_usd), 0) as reserved
    from billing.credit_reservations as x where x.org_id = g.org_id and x.grant_id = g.id
  ) as r
  where (p_organization_ids is null or g.org_id = any(p_organization_ids))
    and r.reserved <> g.reserved_usd;

  -- What goes on is funded; what has ended is not.
  return query
  select
    'reservation_is_the_limit', s.org_id, s.subject,
    private.figure(s.needed), private.figure(x.reserved)
  from (
    select
      r.org_id, r.id, 'run ' || r.id::text as subject,
      case r.status
        when 'running' then r.input_cost_estimated + r.output_cost_estimated else 0
      end as needed
    from billing.run_records as r
    union all
    select d.org_id, d.id, 'draw ' || d.id::text, d.reserved_usd from billing.draws as d
  ) as s
  cross join lateral (
    select coalesce(sum(c.amount_usd), 0) as reserved
    from billing.credit_reservations as c where c.org_id = s.org_id and c.subject_id = s.id
  ) as x
  where (p_organization_ids is null or s.org_id = any(p_organization_ids)) and s.needed <> x.reserved;

  return query
  select
    'funded_thing_has_its_budget', s.org_id, 'budget ' || s.id::text,
    private.figure(s.needed), private.figure(b.limit_usd)
  from (
    select r.org_id, r.id, r.input_cost_estimated + r.output_cost_estimated as needed
    from billing.run_records as r where r.status = 'running'
    union all
    select d.org_id, d.id, d.reserved_usd from billing.draws as d where d.status = 'open'
  ) as s
  left join metering.budgets as b on b.organization_id = s.org_id and b.id = s.id
  where (p_organization_ids is null or s.org_id = any(p_organization_ids))
    and b.limit_usd is distinct from s.needed;

  -- A call of a run is in both ledgers, with the same figures.
  return query
  select
    'record_is_its_usage', coalesce(u.organization_id, t.org_id),
    'call ' || coalesce(u.id, t.id)::text,
    format('%s + %s tokens of %s, %s', u.prompt_tokens, u.completion_tokens, u.model,
      private.figure(u.cost)),
    format('%s + %s tokens of %s, %s', t.input_tokens, t.output_tokens, t.model,
      private.figure(t.cost_usd))
  from (
    select l.* from public.ai_usage_ledger as l
    inner join billing.run_records as r on r.org_id = l.organization_id and r.id = l.run_id
    where p_since is null or l.xact_id >= p_since
  ) as u
  full join (
    select x.* from billing.token_records as x where p_since is null or x.xact_id >= p_since
  ) as t on t.org_id = u.organization_id and t.id = u.id
  where (
    p_organization_ids is null or coalesce(u.organization_id, t.org_id) = any(p_organization_ids)
  ) and (u.run_id, u.prompt_tokens, u.completion_tokens, u.model, u.cost)
  is distinct from (t.run_id, t.input_tokens, t.output_tokens, t.model, t.cost_usd);

  return query
  select
    'part_is_of_its_run', t.org_id, 'call ' || t.id::text, 'a step, task and agent of its run',
    'another'
  from billing.token_records as t
  left join billing.steps as s on s.org_id = t.org_id and s.id = t.step_id
  left join billing.tasks as k on k.org_id = t.org_id and k.id = t.task_id
  left join billing.agents as a on a.org_id = t.org_id and a.id = t.agent_id
  where (p_organization_ids is null or t.org_id = any(p_organization_ids))
    and (p_since is null or t.xact_id >= p_since)
    and (
      s.run_id is distinct from t.run_id
      or t.task_id is not null and k.run_id is distinct from t.run_id
      or t.agent_id is not null and a.run_id is distinct from t.run_id
    );

  -- A run that has ended was reconciled, by the records it had then, and charged for all of them.
  return query
  select
    'ended_run_is_reconciled', r.org_id, 'run ' || r.id::text, 'a reconciliation', 'nothing'
  from billing.run_records as r
  left join billing.token_reconciliations as c on c.org_id = r.org_id and c.run_id = r.id
  where (p_organization_ids is null or r.org_id = any(p_organization_ids))
    and (c.id is null) <> (r.status = 'running');

  return query
  select
    'run_is_charged_what_it_used', s.org_id, s.subject,
    private.figure(s.cost), private.figure(s.charged - s.refunded + s.owed)
  from (
    select
      r.org_id,
      'run ' || r.id::text as subject,
      (
        select coalesce(sum(t.cost_usd), 0)
        from billing.token_records as t where t.org_id = r.org_id and t.run_id = r.id
      ) as cost,
      (
        select coalesce(sum(l.amount_usd), 0)
        from billing.billing_ledger as l
        where l.org_id = r.org_id and l.run_id = r.id and l.direction = 'debit'
      ) as charged,
      (
        select coalesce(sum(l.amount_usd), 0)
        from billing.billing_ledger as l
        where l.org_id = r.org_id
          and l.run_id = r.id
          and l.direction = 'credit'
          and l.reason <> 'user_dispute_resolution'
      ) as refunded,
      (
        select coalesce(sum(x.outstanding_usd + x.waived_usd), 0)
        from billing.receivables as x where x.org_id = r.org_id and x.run_id = r.id
      ) as owed
    from billing.run_records as r
    where r.status <> 'running' and (p_organization_ids is null or r.org_id = any(p_organization_ids))
  ) as s
  where s.cost <> s.charged - s.refunded + s.owed;

  return query
  select
    'refunds_are_within_charges', l.org_id, 'run ' || l.run_id::text,
    'at most ' || private.figure(sum(l.amount_usd) filter (where l.direction = 'debit')),
    private.figure(sum(l.amount_usd) filter (where l.direction = 'credit'))
  from billing.billing_ledger as l
  where l.run_id is not null and (p_organization_ids is null or l.org_id = any(p_organization_ids))
  group by l.org_id, l.run_id
  having coalesce(sum(l.amount_usd) filter (where l.direction = 'credit'), 0)
    > coalesce(sum(l.amount_usd) filter (where l.direction = 'debit'), 0);

  -- A closed draw was charged what its budget had, and later what came late.
  return query
  select
    'draw_is_charged_what_it_cost', d.org_id, 'draw ' || d.id::text,
    private.figure(d.cost_incurred), private.figure(s.charged + s.owed)
  from billing.draws as d
  cross join lateral (
    select
      (
        select coalesce(sum(l.amount_usd), 0)
        from billing.billing_ledger as l
        where l.org_id = d.org_id and l.draw_id = d.id and l.reason = 'draw_charge'
      ) + (
        select coalesce(sum(l.amount_usd), 0)
        from billing.billing_ledger as l
        inner join billing.receivables as x
          on x.org_id = l.org_id
          and l.idempotency_key like 'tallystick:receivable:' || x.id::text || ':%'
          and x.reason = 'draw_charge'
        where l.org_id = d.org_id and l.draw_id = d.id and l.reason = 'receivable_collected'
      ) as charged,
      (
        select coalesce(sum(x.outstanding_usd), 0)
        from billing.receivables as x
        where x.org_id = d.org_id and x.draw_id = d.id and x.reason = 'draw_charge'
      ) as owed
  ) as s
  where d.status = 'closed'
    and (p_organization_ids is null or d.org_id = any(p_organization_ids))
    and d.cost_incurred <> s.charged + s.owed;

  return query
  select
    'receivable_is_collected_or_owed', x.org_id, 'receivable ' || x.id::text,
    private.figure(x.amount_usd - x.outstanding_usd - x.waived_usd), private.figure(c.collected)
  from billing.receivables as x
  cross join lateral (
    select coalesce(sum(l.amount_usd), 0) as collected
    from billing.billing_ledger as l
    where l.org_id = x.org_id and l.idempotency_key like 'tallystick:receivable:' || x.id::text || ':%'
  ) as c
  where (p_organization_ids is null or x.org_id = any(p_organization_ids))
    and x.amount_usd - x.outstanding_usd - x.waived_usd <> c.collected;

  -- What is spent outside runs since an organization pays in advance is in its draws, or late.
  return query
  select
    'draws_are_what_was_spent', b.organization_id, 'draws',
    private.figure(t.spent), private.figure(t.drawn + t.late)
  from metering.budgets as b
  cross join lateral (
    select
      (
        select coalesce(sum(l.cost), 0)
        from public.ai_usage_ledger as l
        where l.organization_id = b.organization_id
          and l.created_at >= b.prepaid_since
          and (l.run_id is null or not private.is_run(l.organization_id, l.run_id))
      ) as spent,
      (
        select coalesce(sum(d.cost_incurred), 0)
        from billing.draws as d where d.org_id = b.organization_id
      ) + (
        select coalesce(sum(s.settled_usd), 0)
        from metering.budgets as x
        inner join metering.budget_slots as s
          on s.organization_id = x.organization_id and s.budget_id = x.id
        where x.organization_id = b.organization_id and x.scope = 'draw'
      ) as drawn,
      (
        select coalesce(sum(l.amount_usd), 0)
        from billing.billing_ledger as l
        where l.org_id = b.organization_id and l.reason = 'late_usage' and l.run_id is null
          and starts_with(l.idempotency_key, 'tallystick:') -- no adjustment by hand of that name
      ) + (
        select coalesce(sum(x.amount_usd), 0)
        from billing.receivables as x
        where x.org_id = b.organization_id and x.reason = 'late_usage' and x.run_id is null
      ) as late
  ) as t
  where b.id = b.organization_id
    and b.prepaid_since is not null
    and (p_organization_ids is null or b.organization_id = any(p_organization_ids))
    and t.spent <> t.drawn + t.late;

  return query
  select
    'prepaid_is_who_has_credits', coalesce(b.organization_id, c.org_id), 'organization',
    coalesce(c.created_at::text, 'nothing'), coalesce(b.prepaid_since::text, 'nothing')
  from (select * from metering.budgets as x where x.prepaid_since is not null) as b
  full join billing.credit_balances as c on c.org_id = b.organization_id
  where (b.id is null or c.org_id is null)
    and (
      p_organization_ids is null or coalesce(b.organization_id, c.org_id) = any(p_organization_ids)
    );

  return query
  select
    'grant_is_its_first_movement', g.org_id, 'grant ' || g.id::text,
    private.figure(m.change_usd), private.figure(g.amount_usd)
  from billing.credit_grants as g
  cross join lateral (
    select x.change_usd
    from billing.grant_movements as x
    inner join billing.credit_balance_history as h
      on h.org_id = x.org_id and h.billing_ledger_id = x.billing_ledger_id
    where x.org_id = g.org_id and x.grant_id = g.id
    order by h.movement
    limit 1
  ) as m
  where (p_organization_ids is null or g.org_id = any(p_organization_ids))
    and m.change_usd <> g.amount_usd;

  -- A reconciliation says what its run was estimated at, what its calls were but for the late ones,
  -- and what moved.
  return query
  select
    'reconciliation_is_what_happened', c.org_id, 'run ' || c.run_id::text,
    concat_ws(' ', private.figure(x.estimated), private.figure(x.actual), private.figure(x.refund),
      private.figure(x.charge), x.status, x.variance_pct),
    concat_ws(' ', private.figure(c.estimated_cost_usd), private.figure(c.actual_cost_usd),
      private.figure(c.refund_amount_usd), private.figure(c.charge_amount_usd), c.status,
      c.variance_pct)
  from billing.token_reconciliations as c
  inner join billing.run_records as r on r.org_id = c.org_id and r.id = c.run_id
  cross join lateral (
    select
      r.input_cost_estimated + r.output_cost_estimated as estimated,
      (
        select coalesce(sum(t.cost_usd), 0)
        from billing.token_records as t where t.org_id = r.org_id and t.run_id = r.id
      ) - (
        select coalesce(sum(l.amount_usd), 0)
        from billing.billing_ledger as l
        where l.org_id = r.org_id and l.run_id = r.id and l.reason = 'late_usage'
      ) - (
        select coalesce(sum(v.amount_usd), 0)
        from billing.receivables as v
        where v.org_id = r.org_id and v.run_id = r.id and v.reason = 'late_usage'
      ) as actual,
      (
        select coalesce(sum(l.amount_usd), 0)
        from billing.billing_ledger as l
        where l.org_id = r.org_id
          and l.idempotency_key = 'tallystick:run:' || r.id::text || ':refund'
      ) as refund,
      (
        select coalesce(sum(l.amount_usd), 0)
        from billing.billing_ledger as l
        where l.org_id = r.org_id
          and l.idempotency_key = 'tallystick:run:' || r.id::text || ':shortfall'
      ) + (
        select coalesce(sum(v.amount_usd), 0)
        from billing.receivables as v
        where v.org_id = r.org_id
          and v.run_id = r.id
          and v.reason = 'token_reconciliation_underestimate'
      ) as charge,
      case
        when c.status in ('DISPUTED', 'RESOLVED') then c.status
        else private.variance_status(c.estimated_total_tokens, c.actual_total_tokens)
      end as status,
      private.round_half_even(
        c.variance_tokens * 100::numeric / greatest(c.estimated_total_tokens, 1), 4
      ) as variance_pct
  ) as x
  where (p_organization_ids is null or c.org_id = any(p_organization_ids))
    and (
      c.estimated_cost_usd, c.actual_cost_usd, c.refund_amount_usd, c.charge_amount_usd, c.status,
      c.variance_pct, c.estimated_input_tokens, c.estimated_output_tokens
    ) is distinct from (
      x.estimated, x.actual, x.refund, x.charge, x.status, x.variance_pct,
      r.input_tokens_estimated, r.output_tokens_estimated
    );

  return query
  select
    'run_calls_its_model', r.org_id, 'run ' || r.id::text, r.model::text, b.only_model::text
  from billing.run_records as r
  inner join metering.budgets as b on b.organization_id = r.org_id and b.id = r.id
  where (p_organization_ids is null or r.org_id = any(p_organization_ids))
    and r.model is distinct from b.only_model;

  return query
  select
    'waived_is_what_was_disputed', v.org_id, 'receivable ' || v.id::text, 'a resolved dispute',
    private.figure(v.waived_usd)
  from billing.receivables as v
  left join billing.token_reconciliations as c on c.org_id = v.org_id and c.run_id = v.run_id
  where (p_organization_ids is null or v.org_id = any(p_organization_ids))
    and v.waived_usd > 0
    and c.status is distinct from 'RESOLVED';

  return query
  select
    'movement_left_an_event', l.org_id, 'movement ' || l.id::text, 'an event', 'nothing'
  from billing.billing_ledger as l
  where (p_organization_ids is null or l.org_id = any(p_organization_ids))
    and (p_since is null or l.xact_id >= p_since)
    and not exists (
      select from audit.event_log as e
      where e.organization_id = l.org_id
        and e.correlation_id = coalesce(l.run_id, l.draw_id, l.id)::text
        and e.event_timestamp = l.created_at
        and e.tool_name = 'billing.' || l.transaction_type
    );
end
$$;

comment on function private.verify_billing(uuid[], xid8) is
  'Billing checks of audit.verify_integrity.';
