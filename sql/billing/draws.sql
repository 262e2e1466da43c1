-- Draws: calls outside runs are paid from credits by the day.
--
-- A draw is a budget whose limit is what it has reserved. The first call of a day opens it, a call
-- that finds it short tops it up from credits, both while the organization stands still for that
-- call: see admit() and book(). The usual call finds enough and touches no credits at all.

-- What calls outside runs could still get from credits beside the draw of p_time: what is
-- available, and what other draws keep without need, p_overdue_at: with overdue holds counted as
-- free. Locks nothing.
create function private.fundable(p_org_id uuid, p_time timestamptz, p_overdue_at timestamptz)
returns numeric
language plpgsql
stable
set search_path = pg_catalog, pg_temp
as $$
begin
  return private.available_credits(p_org_id) + (
    select coalesce(sum(greatest(t.remaining, 0)), 0)
    from (
      select
        sum(s.available_usd) - coalesce(sum(s.debt_usd), 0)
        + case
          when private.has_overdue(p_org_id, p_overdue_at)
            then private.overdue_in_draw(p_org_id, b.id, p_overdue_at)
          else 0
        end as remaining
      from metering.budgets as b
      inner join metering.budget_slots as s
        on s.organization_id = b.organization_id and s.budget_id = b.id
      where b.organization_id = p_org_id and b.scope_key = 'draw:'
      group by b.organization_id, b.id
      having not (p_time >= min(s.window_start) and p_time < max(s.window_end))
    ) as t
  );
end
$$;

comment on function private.fundable(uuid, timestamptz, timestamptz) is
  'US dollars that the draw of p_time could still be given.';

-- What overdue holds keep from a draw that is not the present one.
create function private.overdue_in_draw(p_org_id uuid, p_draw_id uuid, p_overdue_at timestamptz)
returns numeric
language plpgsql
stable
set search_path = pg_catalog, pg_temp
as $$
begin
  return (
    select coalesce(sum(h.held_usd), 0)
    from metering.holds as h
    where h.organization_id = p_org_id
      and h.state = 'open'
      and h.expires_at <= p_overdue_at
      and p_draw_id = any(h.budget_ids)
  );
end
$$;

comment on function private.overdue_in_draw(uuid, uuid, timestamptz) is
  'US dollars that overdue open holds keep from a draw.';

-- True while a hold of a draw is open, be it one of nothing.
create function private.is_held(p_org_id uuid, p_draw_id uuid)
returns boolean
language plpgsql
stable
set search_path = pg_catalog, pg_temp
as $$
begin
  return exists (
    select from metering.holds as h
    where h.organization_id = p_org_id and h.state = 'open' and p_draw_id = any(h.budget_ids)
  );
end
$$;

comment on function private.is_held(uuid, uuid) is 'True while a hold of a draw is open.';

-- Lets go of p_amount of what a draw has reserved, and lowers its limit by it. Its slots are
-- locked.
create function private.shrink_draw(p_org_id uuid, p_draw_id uuid, p_amount numeric)
returns void
language plpgsql
volatile
set search_path = pg_catalog, pg_temp
as $$
begin
  update billing.draws as d
  set reserved_usd = d.reserved_usd - p_amount
  where d.org_id = p_org_id and d.id = p_draw_id;
  perform private.unreserve_credits(p_org_id, p_draw_id, p_amount);
end
$$;

comment on function private.shrink_draw(uuid, uuid, numeric) is
  'Gives back a part of what a draw has reserved.';

-- Takes back what draws have reserved and neither spent nor hold, of all draws but p_except, and
-- closes those whose day is over and which no hold keeps; p_only_closes: just that. Under a gather,
-- with the credits locked.
create function private.take_back_draws(
  p_org_id uuid,
  p_time timestamptz,
  p_except uuid,
  p_only_closes boolean default false
)
returns void
language plpgsql
volatile
set search_path = pg_catalog, pg_temp
as $$
declare
  v_draw record;
  v_budget metering.budgets;
begin
  for v_draw in
    select
      b.id,
      sum(s.settled_usd) as settled,
      sum(s.held_usd) as held,
      sum(s.available_usd) - coalesce(sum(s.debt_usd), 0) as remaining,
      -- A clock that is set back a little does not meet a closed draw.
      max(s.window_end) + interval '1 minute' <= p_time as is_over
    from metering.budgets as b
    inner join metering.budget_slots as s
      on s.organization_id = b.organization_id and s.budget_id = b.id
    where b.organization_id = p_org_id
      and b.scope_key = 'draw:'
      and b.id is distinct from p_except
    group by b.organization_id, b.id
    order by b.id
  loop
    if v_draw.is_over and v_draw.held = 0 and not private.is_held(p_org_id, v_draw.id) then
      perform private.close_draw(p_org_id, v_draw.id, v_draw.settled);
    elsif v_draw.remaining > 0 and not p_only_closes then
      perform private.shrink_draw(p_org_id, v_draw.id, v_draw.remaining);
      update metering.budgets as b
      set limit_usd = b.limit_usd - v_draw.remaining
      where b.organization_id = p_org_id and b.id = v_draw.id
      returning * into v_budget;
      perform private.spread(v_budget, 0, 0);
    end if;
  end loop;
end
$$;

comment on function private.take_back_draws(uuid, timestamptz, uuid, boolean) is
  'Takes back what draws have reserved and do not need, and closes those that are over.';

-- Charges a draw whose day is over for what its calls cost, and lets go of the rest. Under a
-- gather, with the credits locked; none of its holds is open. Usage that lands later is late.
create function private.close_draw(p_org_id uuid, p_draw_id uuid, p_cost numeric)
returns void
language plpgsql
volatile
set search_path = pg_catalog, pg_temp
as $$
declare
  v_draw billing.draws;
  v_reserved numeric;
  v_charge billing.billing_ledger := private.draft_movement(
    p_org_id, 'charge', 'draw_charge', null, null, p_draw_id
  );
begin
  select * into strict v_draw
  from billing.draws as d where d.org_id = p_org_id and d.id = p_draw_id
  for update;
  v_reserved := v_draw.reserved_usd;
  update billing.draws as d
  set
    status = 'closed',
    reserved_usd = 0,
    cost_incurred = d.cost_incurred + p_cost,
    closed_at = private.clock_now()
  where d.org_id = p_org_id and d.id = p_draw_id;
  delete from metering.budget_slots as s
  where s.organization_id = p_org_id and s.budget_id = p_draw_id;
  delete from metering.budgets as b where b.organization_id = p_org_id and b.id = p_draw_id;

  perform private.charge_reserved(v_charge, p_draw_id, least(p_cost, v_reserved));
  perform private.unreserve_credits(p_org_id, p_draw_id, v_reserved - least(p_cost, v_reserved));
  perform private.charge_available(v_charge, p_cost - v_reserved, null);
end
$$;

comment on function private.close_draw(uuid, uuid, numeric) is
  'Charges a draw and ends it; usage that lands later is late.';

-- The draw of p_time, opened if it is missing; with it those that are over are closed. Under a
-- gather.
create function private.open_draw(p_org_id uuid, p_time timestamptz)
returns uuid
language plpgsql
volatile
set search_path = pg_catalog, pg_temp
as $$
declare
  v_own metering.budgets;
  v_draw billing.draws;
  v_id uuid := (
    select b.id
    from metering.budgets as b
    inner join metering.budget_slots as s
      on s.organization_id = b.organization_id and s.budget_id = b.id and s.slot = 0
    where b.organization_id = p_org_id
      and b.scope_key = 'draw:'
      and p_time >= s.window_start
      and p_time < s.window_end
  );
begin
  if v_id is not null then
    return v_id;
  end if;
  select * into strict v_own
  from metering.budgets as b where b.organization_id = p_org_id and b.id = p_org_id;
  perform private.lock_credits(p_org_id);
  perform private.take_back_draws(p_org_id, p_time, null);
  -- A clock that is set back far finds the draw of its day closed: it goes on.
  insert into billing.draws as d (org_id, day)
  values (p_org_id, private.local_day(p_time, v_own.time_zone))
  on conflict (org_id, day) do update set status = 'open', closed_at = null
  returning * into v_draw;
  insert into metering.budgets (
    organization_id, id, scope, time_window, time_zone, draw_day, limit_usd, slot_count, is_funded
  ) values (
    p_org_id, v_draw.id, 'draw', 'day', v_own.time_zone, v_draw.day, 0, v_own.slot_count, true
  );
  insert into metering.budget_slots (
    organization_id, budget_id, slot, window_start, window_end, available_usd
  )
  select
    p_org_id, v_draw.id, n,
    greatest(private.window_start('day', p_time, v_own.time_zone), v_own.prepaid_since),
    private.window_end('day', p_time, v_own.time_zone), 0
  from generate_series(0, v_own.slot_count - 1) as n;
  return v_draw.id;
end
$$;

comment on function private.open_draw(uuid, timestamptz) is
  'The id of the draw that pays calls of p_time outside runs.';

-- Puts credits into the draw of p_time until it has p_need, US dollars, or all there is: an eighth
-- of what is available at a time, so that it seldom is short. Returns what it has. Under a gather.
create function private.fund_draw(p_org_id uuid, p_time timestamptz, p_need numeric)
returns numeric
language plpgsql
volatile
set search_path = pg_catalog, pg_temp
as $$
declare
  v_draw_id constant uuid := private.open_draw(p_org_id, p_time);
  v_budget metering.budgets;
  v_remaining constant numeric := (
    select sum(s.available_usd) - coalesce(sum(s.debt_usd), 0)
    from metering.budget_slots as s
    where s.organization_id = p_org_id and s.budget_id = v_draw_id
  );
  v_available numeric;
  v_amount numeric;
begin
  if v_remaining >= p_need then
    return v_remaining;
  end if;
  perform private.lock_credits(p_org_id);
  v_available := private.available_credits(p_org_id);
  if v_available < p_need - v_remaining then
    perform private.take_back_draws(p_org_id, p_time, v_draw_id);
    v_available := private.available_credits(p_org_id);
  end if;
  -- A budget has a limit below a trillion dollars.
  v_amount := private.reserve_credits(
    p_org_id, v_draw_id,
    least(v_available, greatest(p_need - v_remaining, least(trunc(v_available / 8, 2), 1e9)))
  );
  update billing.draws as d
  set reserved_usd = d.reserved_usd + v_amount
  where d.org_id = p_org_id and d.id = v_draw_id;
  update metering.budgets as b
  set limit_usd = b.limit_usd + v_amount
  where b.organization_id = p_org_id and b.id = v_draw_id
  returning * into v_budget;
  perform private.spread(v_budget, v_remaining + v_amount, p_need);
  return v_remaining + v_amount;
end
$$;

comment on function private.fund_draw(uuid, timestamptz, numeric) is
  'Tops up the draw of p_time until it has p_need, as far as credits go; returns what it has.';

-- What covers a call, once the draw that pays for it has what credits can give: the same where it
-- spends from none. Under a gather.
create function private.fund_call(
  p_organization_id uuid,
  p_scope_keys text[],
  p_time timestamptz,
  p_need numeric,
  p_coverage private.coverage
)
returns private.coverage
language plpgsql
volatile
set search_path = pg_catalog, pg_temp
as $$
declare
  v_coverage private.coverage := p_coverage;
  v_funded numeric;
begin
  if (p_coverage.is_prepaid and 'draw:' = any(p_scope_keys)) is not true then
    return p_coverage;
  end if;
  v_funded := private.fund_draw(p_organization_id, p_time, p_need);
  v_coverage := private.survey(p_organization_id, p_scope_keys, p_time, null);
  -- The survey counts as left what credits could give: now that is known.
  v_coverage.remaining := least(v_coverage.remaining, v_funded);
  return v_coverage;
end
$$;

comment on function private.fund_call(uuid, text[], timestamptz, numeric, private.coverage) is
  'Tops up the draw of a call, and surveys what covers it.';

create function private.count_open_draws(p_org_id uuid)
returns integer
language plpgsql
stable
set search_path = pg_catalog, pg_temp
as $$
begin
  return (select count(*) from billing.draws as d where d.org_id = p_org_id and d.status = 'open');
end
$$;

comment on function private.count_open_draws(uuid) is 'Number of open draws of an organization.';

-- Closes the draws of days that are over. Housekeeping: the first call of another day does it too.
create function billing.close_draws(p_org_id uuid default null, p_limit integer default 100)
returns integer
language plpgsql
volatile
security definer -- moves credits and budgets, which no role may write itself
set search_path = pg_catalog, pg_temp
set lock_timeout = '20ms' -- longer than a commit takes, shorter than a transaction left open
as $$
declare
  v_now constant timestamptz := private.clock_now();
  v_org_id uuid;
  v_closed integer := 0;
  v_before integer;
begin
  for v_org_id in
    select d.org_id
    from billing.draws as d
    inner join tenancy.organizations as o on o.id = d.org_id
    where d.status = 'open'
      and d.day < private.local_day(v_now, o.time_zone)
      and (p_org_id is null or d.org_id = p_org_id)
    group by d.org_id
    order by d.org_id
    limit p_limit
  loop
    -- One tenant is not held up because of another: who keeps it waiting is left for the next time.
    begin
      perform private.gather(v_org_id, '{}', v_now, v_now);
      perform private.lock_credits(v_org_id);
      v_before := private.count_open_draws(v_org_id);
      perform private.take_back_draws(v_org_id, v_now, null, p_only_closes => true);
      v_closed := v_closed + v_before - private.count_open_draws(v_org_id);
    exception
      when lock_not_available then null;
    end;
  end loop;
  return v_closed;
end
$$;

comment on function billing.close_draws(uuid, integer) is
  'Charges the draws of days that are over, as far as no hold keeps them open, and returns how '
  'many; of at most p_limit organizations, as each stands still until all are done. For operators.';
