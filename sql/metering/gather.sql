-- The slow half of the kernel: lock the whole organization, look at all slots, spread what is left.

-- Locks slot 0 of the organization's own budget, which always exists: no budget is changed, and
-- nobody gathers, until the transaction (or the block around it) ends.
create function private.lock_first_slot(p_organization_id uuid)
returns void
language plpgsql
volatile
set search_path = pg_catalog, pg_temp
as $$
begin
  perform from metering.budget_slots as s
  where s.organization_id = p_organization_id and s.budget_id = p_organization_id and s.slot = 0
  for no key update;
end
$$;

comment on function private.lock_first_slot(uuid) is
  'Holds off changes of budgets and gathers of an organization.';

-- Locks every slot of the organization's own budget: waits for all spend in flight and holds off
-- new spend until the transaction ends.
--
-- Slots that were added while it waited are not in its snapshot, so it looks again until it has
-- them all; whoever adds slots holds slot 0.
create function private.gather_organization(p_organization_id uuid)
returns void
language plpgsql
volatile
set search_path = pg_catalog, pg_temp
as $$
declare
  v_locked integer := 0;
begin
  loop
    perform from metering.budget_slots as s
    where s.organization_id = p_organization_id and s.budget_id = p_organization_id
    order by s.slot
    for no key update;
    get diagnostics v_locked = row_count;
    exit when v_locked >= (
      select count(*) from metering.budget_slots as s
      where s.organization_id = p_organization_id and s.budget_id = p_organization_id
    );
  end loop;
end
$$;

comment on function private.gather_organization(uuid) is
  'Waits for all spend in flight of an organization and holds off new spend until the transaction '
  'ends.';

-- Marks overdue holds as expired, in the order of their ids, and returns them. p_wait: also those
-- that somebody is settling, extending or releasing just now. Their money is returned by
-- return_holds, once a slot of the own budget is locked.
create function private.expire_overdue(
  p_organization_id uuid,
  p_now timestamptz,
  p_except uuid[],
  p_wait boolean,
  p_limit integer
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
  if p_wait then
    v_ids := array(
      select h.id from metering.holds as h
      where h.organization_id = p_organization_id
        and h.state = 'open'
        and h.expires_at <= p_now
        and h.id <> all(p_except)
      order by h.id
      limit p_limit
      for update
    );
  else
    v_ids := array(
      select h.id from metering.holds as h
      where h.organization_id = p_organization_id
        and h.state = 'open'
        and h.expires_at <= p_now
        and h.id <> all(p_except)
      order by h.id
      limit p_limit
      for update skip locked
    );
  end if;
  with expired as (
    update metering.holds as h
    set state = 'expired', closed_at = p_now
    where h.organization_id = p_organization_id and h.id = any(v_ids)
    returning h.*
  )

  select array_agg(e::metering.holds) into v_holds from expired as e;
  return v_holds;
end
$$;

comment on function private.expire_overdue(uuid, timestamptz, uuid[], boolean, integer) is
  'Marks overdue open holds as expired, all but p_except, and returns them. The caller returns '
  'their money.';

-- Returns the money of closed holds to every budget that covers them now. The caller has locked a
-- slot of the own budget, so no budget changes meanwhile.
create function private.return_holds(p_organization_id uuid, p_holds metering.holds[])
returns void
language plpgsql
volatile
set search_path = pg_catalog, pg_temp
as $$
declare
  v_slot record;
begin
  for v_slot in
    select b.id as budget_id, pg_backend_pid() % b.slot_count as slot, sum(h.held_usd) as held_usd
    from unnest(p_holds) as h
    cross join lateral unnest(
      private.scope_keys(
        h.workflow_id, h.run_id, h.venture_id, h.user_id, h.api_key_id, h.model, h.listed_model,
        h.tags
      )
    ) as k (scope_key)
    -- Offset 0 keeps the planner from joining all budgets there are: each key is looked up.
    cross join lateral (
      select c.id, c.slot_count
      from metering.budgets as c
      inner join metering.budget_slots as s
        on s.organization_id = c.organization_id and s.budget_id = c.id and s.slot = 0
      where c.organization_id = p_organization_id
        and c.scope_key = k.scope_key
        and h.created_at >= s.window_start
        and h.created_at < s.window_end
      offset 0
    ) as b
    group by b.id, b.slot_count
    order by b.id <> p_organization_id, b.id
  loop
    update metering.budget_slots as s
    set
      held_usd = s.held_usd - v_slot.held_usd,
      available_usd = s.available_usd + v_slot.held_usd
    where s.organization_id = p_organization_id
      and s.budget_id = v_slot.budget_id
      and s.slot = v_slot.slot;
  end loop;
end
$$;

comment on function private.return_holds(uuid, metering.holds[]) is
  'Returns what closed holds kept to the budgets that cover them.';

-- Opens the present window of a budget whose window is over; a draw has one only. Under a gather.
create function private.open_window(p_budget metering.budgets, p_now timestamptz)
returns void
language plpgsql
volatile
set search_path = pg_catalog, pg_temp
as $$
begin
  update metering.budget_slots as s
  set
    window_start = private.window_start(p_budget.time_window, p_now, p_budget.time_zone),
    window_end = private.window_end(p_budget.time_window, p_now, p_budget.time_zone),
    settled_usd = 0,
    held_usd = 0,
    available_usd = private.granted_limit(p_budget) * (s.slot = 0)::integer,
    debt_usd = null
  where s.organization_id = p_budget.organization_id
    and s.budget_id = p_budget.id
    and p_now >= s.window_end
    and p_budget.scope <> 'draw';
end
$$;

comment on function private.open_window(metering.budgets, timestamptz) is
  'Begins the window of p_now in a budget whose window is over.';

-- The limit up to which a budget grants: null where it never refuses.
create function private.granted_limit(p_budget metering.budgets)
returns numeric
language plpgsql
immutable
set search_path = pg_catalog, pg_temp
as $$
begin
  return case when p_budget.enforcement = 'hard' then p_budget.limit_usd::numeric end;
end
$$;

comment on function private.granted_limit(metering.budgets) is
  'The limit of a hard budget; null where it never refuses.';

-- Gathers: frees what overdue holds keep, lets the organization stand still until the transaction
-- (or the block around it) ends, and opens the windows of p_time of the budgets with p_scope_keys.
-- True if holds overdue at p_now are left: somebody had locked them, or they became known only
-- while it waited.
create function private.gather(
  p_organization_id uuid,
  p_scope_keys text[],
  p_now timestamptz,
  p_time timestamptz,
  p_except uuid[] default '{}',
  p_wait boolean default false
)
returns boolean
language plpgsql
volatile
set search_path = pg_catalog, pg_temp
as $$
declare
  v_expired metering.holds[];
begin
  if private.has_overdue(p_organization_id, p_now) then
    v_expired := private.expire_overdue(p_organization_id, p_now, p_except, p_wait, null);
  end if;
  perform private.gather_organization(p_organization_id);
  if v_expired is not null then
    perform private.return_holds(p_organization_id, v_expired);
  end if;
  perform private.open_window(b, p_time)
  from metering.budgets as b
  where b.organization_id = p_organization_id
    and b.scope_key = any(p_scope_keys)
    and b.time_window <> 'total';
  return exists (
    select from metering.holds as h
    where h.organization_id = p_organization_id
      and h.state = 'open'
      and h.expires_at <= p_now
      and h.id <> all(p_except)
  );
end
$$;

comment on function private.gather(uuid, text[], timestamptz, timestamptz, uuid[], boolean) is
  'Frees overdue money, locks the organization''s own slots and opens windows. True if it skipped '
  'overdue holds.';

-- Spreads what is left of a budget over its slots, or books the debt and closes it. Under a gather.
--
-- A slice is worth having if it covers 8 calls like this one; of less, fewer slots get some.
create function private.spread(p_budget metering.budgets, p_remaining numeric, p_call numeric)
returns void
language plpgsql
volatile
set search_path = pg_catalog, pg_temp
as $$
declare
  v_slices integer := greatest(
    1, least(p_budget.slot_count, trunc(p_remaining / greatest(8 * p_call, 1e-12)))
  );
  v_slice numeric := trunc(greatest(p_remaining, 0) / v_slices, 12);
begin
  update metering.budget_slots as s
  set
    available_usd = case
      when s.slot = 0 then greatest(p_remaining, 0) - v_slice * (v_slices - 1)
      when s.slot < v_slices then v_slice
      else 0
    end,
    debt_usd = case
      when p_remaining >= 0 then null
      when s.slot = 0 then - p_remaining
      else 0
    end
  where s.organization_id = p_budget.organization_id and s.budget_id = p_budget.id;
end
$$;

comment on function private.spread(metering.budgets, numeric, numeric) is
  'Spreads p_remaining (US dollars; negative is debt) over the slots of a budget, in slices for '
  'calls of about p_call.';

-- Books p_settled and p_held as charge() does, but over all slots, and never fails: what is not
-- covered becomes debt. Under a gather; whoever grants has made sure before that it is covered.
create function private.charge_gathered(
  p_organization_id uuid,
  p_coverage private.coverage,
  p_time timestamptz,
  p_settled numeric,
  p_held numeric
)
returns void
language plpgsql
volatile
set search_path = pg_catalog, pg_temp
as $$
declare
  v_budget metering.budgets;
  v_remaining numeric;
begin
  for v_i in 1..cardinality(p_coverage.budget_ids) loop
    select * into strict v_budget
    from metering.budgets as b
    where b.organization_id = p_organization_id and b.id = p_coverage.budget_ids[v_i];
    update metering.budget_slots as s
    set settled_usd = s.settled_usd + p_settled, held_usd = s.held_usd + p_held
    where s.organization_id = p_organization_id
      and s.budget_id = v_budget.id
      and s.slot = p_coverage.slots[v_i]
      and p_time >= s.window_start
      and p_time < s.window_end;

    if found and private.granted_limit(v_budget) is not null then
      select sum(s.available_usd) - coalesce(sum(s.debt_usd), 0) - p_settled - p_held
      into v_remaining
      from metering.budget_slots as s
      where s.organization_id = p_organization_id and s.budget_id = v_budget.id;
      perform private.spread(v_budget, v_remaining, greatest(p_settled, p_held));
    end if;
  end loop;
end
$$;

comment on function private.charge_gathered(
  uuid, private.coverage, timestamptz, numeric, numeric
) is
  'Books p_settled and p_held (US dollars) over all slots of the covering budgets, under a gather.';
