-- What a budget is given when it is made or changed: a scope and window in one spelling, its slots,
-- and figures that count what was spent and is held there already.

-- Lets owners, admins and service_role change budgets of an organization.
create function private.assert_may_set_budgets(p_organization_id uuid)
returns void
language plpgsql
stable
set search_path = pg_catalog, pg_temp
as $$
begin
  perform private.assert_member(p_organization_id, array['owner', 'admin']);
end
$$;

comment on function private.assert_may_set_budgets(uuid) is
  'Refuses everybody but owners, admins and server roles. Errors: 22023, 42501, TS404.';

-- The one spelling of a scope's id.
create function private.assert_scope(p_organization_id uuid, p_scope text, p_scope_id text)
returns text
language plpgsql
stable
set search_path = pg_catalog, pg_temp
as $$
declare
  v_scope_id text := p_scope_id;
begin
  if p_scope = 'organization' then
    if coalesce(p_scope_id, '') not in ('', p_organization_id::text) then
      perform private.reject_argument('p_scope_id', 'must be empty for the organization itself');
    end if;
    return '';
  elsif p_scope in ('workflow', 'run', 'venture', 'user') then
    if (p_scope_id ~* '^[0-9a-f]{8}(-[0-9a-f]{4}){3}-[0-9a-f]{12}$') is not true then
      perform private.reject_argument('p_scope_id', 'must be the id of the ' || p_scope);
    end if;
    v_scope_id := lower(p_scope_id);
  elsif p_scope = 'model' then
    -- By its listed name it is capped whatever a call names it.
    perform private.assert_text('p_scope_id', p_scope_id);
    v_scope_id := coalesce((private.find_model(null, p_scope_id)).model, p_scope_id);
  elsif p_scope = 'api_key' then
    perform private.assert_text('p_scope_id', p_scope_id);
  elsif p_scope = 'tag' then
    perform private.assert_text('p_scope_id', p_scope_id);
    if p_scope_id !~ '^[^=[:space:]]+=.*\S' then
      perform private.reject_argument('p_scope_id', 'must be a tag as key=value');
    end if;
  else
    perform private.reject_argument(
      'p_scope',
      'must be organization, workflow, run, venture, user, api_key, model or tag'
    );
  end if;
  if p_scope = 'workflow' and not exists (
    select from metering.workflows as w
    where w.organization_id = p_organization_id and w.id = v_scope_id::uuid
  ) or p_scope = 'venture' and not exists (
    select from tenancy.ventures as v
    where v.organization_id = p_organization_id and v.id = v_scope_id::uuid
  ) then
    perform private.raise_error('TS404', jsonb_build_object(p_scope || '_id', v_scope_id));
  end if;
  return v_scope_id;
end
$$;

comment on function private.assert_scope(uuid, text, text) is
  'The id of a scope in its one spelling. Errors: 22023, TS404 for an unknown workflow or venture.';

create function private.assert_window(p_argument text, p_window text)
returns text
language plpgsql
stable
set search_path = pg_catalog, pg_temp
as $$
begin
  if (p_window in ('total', 'hour', 'day', 'week', 'month')) is not true then
    perform private.reject_argument(p_argument, 'must be total, hour, day, week or month');
  end if;
  return p_window;
end
$$;

comment on function private.assert_window(text, text) is
  'Refuses anything but a known window. Errors: 22023.';

create function private.assert_slots(p_argument text, p_slots integer)
returns integer
language plpgsql
stable
set search_path = pg_catalog, pg_temp
as $$
begin
  if p_slots not between 1 and 256 then
    perform private.reject_argument(p_argument, 'must be from 1 to 256');
  end if;
  return p_slots;
end
$$;

comment on function private.assert_slots(text, integer) is
  'Refuses anything but 1 to 256, or null. Errors: 22023.';

-- The time that counts as now for new windows. They only move forward: a clock that is behind what
-- was recorded or held is at that time.
create function private.present_time(p_organization_id uuid)
returns timestamptz
language plpgsql
stable
set search_path = pg_catalog, pg_temp
as $$
begin
  return greatest(
    private.clock_now(),
    (
      select max(l.created_at) from public.ai_usage_ledger as l
      where l.organization_id = p_organization_id
    ),
    (
      select h.created_at from metering.holds as h
      where h.organization_id = p_organization_id
      order by h.id desc
      limit 1
    )
  );
end
$$;

comment on function private.present_time(uuid) is
  'The present time, or the latest an organization has seen.';

-- What was recorded in a budget's scope from p_start to p_end: from rollups where those have it, of
-- runs and hours from the ledger.
create function private.settled_in(
  p_budget metering.budgets,
  p_start timestamptz,
  p_end timestamptz
)
returns numeric
language plpgsql
stable
set search_path = pg_catalog, pg_temp
as $$
begin
  if p_budget.scope <> 'run' and p_budget.time_window <> 'hour' then
    return (
      select coalesce(sum(r.cost), 0)
      from metering.usage_rollups as r
      where r.organization_id = p_budget.organization_id
        and (
          r.scope = p_budget.scope and r.scope_id = p_budget.scope_id
          or p_budget.scope = 'model' and r.scope = 'organization' and r.model = p_budget.scope_id
        )
        and (p_start = '-infinity' or r.day >= private.local_day(p_start, p_budget.time_zone))
        and (p_end = 'infinity' or r.day < private.local_day(p_end, p_budget.time_zone))
    );
  end if;
  return (
    select coalesce(sum(l.cost), 0)
    from public.ai_usage_ledger as l
    where l.organization_id = p_budget.organization_id
      and l.created_at >= p_start
      and l.created_at < p_end
      and p_budget.scope_key = any(
        private.scope_keys(
          l.workflow_id, l.run_id, l.venture_id, l.user_id, l.api_key_id, l.model, l.listed_model,
          l.tags
        )
      )
  );
end
$$;

comment on function private.settled_in(metering.budgets, timestamptz, timestamptz) is
  'Recorded cost in US dollars in the scope of a budget from p_start to p_end.';

-- What open holds keep in a budget's scope from p_start to p_end.
create function private.held_in(
  p_budget metering.budgets,
  p_start timestamptz,
  p_end timestamptz
)
returns numeric
language plpgsql
stable
set search_path = pg_catalog, pg_temp
as $$
begin
  return (
    select coalesce(sum(h.held_usd), 0)
    from metering.holds as h
    where h.organization_id = p_budget.organization_id
      and h.state = 'open'
      and h.created_at >= p_start
      and h.created_at < p_end
      and p_budget.scope_key = any(
        private.scope_keys(
          h.workflow_id, h.run_id, h.venture_id, h.user_id, h.api_key_id, h.model, h.listed_model,
          h.tags
        )
      )
  );
end
$$;

comment on function private.held_in(metering.budgets, timestamptz, timestamptz) is
  'US dollars that open holds keep in the scope of a budget from p_start to p_end.';

-- Gives a budget its slots: as many as it wants, changed in place, with their sums kept. Slot 0
-- stays for ever, and every change updates it: whoever waits for the organization waits for that
-- row.
create function private.lay_slots(p_budget metering.budgets)
returns void
language plpgsql
volatile
set search_path = pg_catalog, pg_temp
as $$
begin
  update metering.budget_slots as s
  set
    settled_usd = t.settled_usd * (s.slot = 0)::integer,
    held_usd = t.held_usd * (s.slot = 0)::integer
  from (
    select sum(x.settled_usd) as settled_usd, sum(x.held_usd) as held_usd
    from metering.budget_slots as x
    where x.organization_id = p_budget.organization_id and x.budget_id = p_budget.id
  ) as t
  where s.organization_id = p_budget.organization_id and s.budget_id = p_budget.id;
  delete from metering.budget_slots as s
  where s.organization_id = p_budget.organization_id
    and s.budget_id = p_budget.id
    and s.slot >= p_budget.slot_count;
  insert into metering.budget_slots (
    organization_id, budget_id, slot, window_start, window_end, config_version
  )
  select
    p_budget.organization_id, p_budget.id, n.slot, s.window_start, s.window_end, s.config_version
  from metering.budget_slots as s
  cross join generate_series(0, p_budget.slot_count - 1) as n (slot)
  where s.organization_id = p_budget.organization_id and s.budget_id = p_budget.id and s.slot = 0
  on conflict (organization_id, budget_id, slot) do nothing;
end
$$;

comment on function private.lay_slots(metering.budgets) is
  'Makes the slots a budget wants; their sums stay.';

-- Sets the figures of a budget that was made or changed: under a change, so that nothing is in
-- flight and each statement sees all there is.
--
-- p_recount: its scope or window is new, so what was spent and is held there is read from ledger
-- and holds. Else the sums of its slots are true already.
create function private.refigure(p_budget metering.budgets, p_recount boolean)
returns metering.budgets
language plpgsql
volatile
set search_path = pg_catalog, pg_temp
as $$
declare
  v_budget metering.budgets;
  v_now timestamptz := private.present_time(p_budget.organization_id);
  v_start timestamptz;
  v_end timestamptz;
  v_settled numeric;
  v_held numeric;
  v_use numeric;
begin
  if p_recount then
    v_start := private.window_start(p_budget.time_window, v_now, p_budget.time_zone);
    v_end := private.window_end(p_budget.time_window, v_now, p_budget.time_zone);
    v_settled := private.settled_in(p_budget, v_start, v_end);
    v_held := private.held_in(p_budget, v_start, v_end);
    insert into metering.budget_slots (organization_id, budget_id, slot)
    values (p_budget.organization_id, p_budget.id, 0)
    on conflict (organization_id, budget_id, slot) do nothing;
    update metering.budget_slots as s
    set
      window_start = v_start,
      window_end = v_end,
      settled_usd = v_settled * (s.slot = 0)::integer,
      held_usd = v_held * (s.slot = 0)::integer
    where s.organization_id = p_budget.organization_id and s.budget_id = p_budget.id;
  else
    perform private.open_window(p_budget, v_now);
  end if;
  perform private.lay_slots(p_budget);

  select sum(s.settled_usd + s.held_usd) into v_use
  from metering.budget_slots as s
  where s.organization_id = p_budget.organization_id and s.budget_id = p_budget.id;
  update metering.budgets as b
  set
    excess_usd = coalesce(greatest(v_use - b.limit_usd, 0), 0),
    updated_at = private.clock_now()
  where b.organization_id = p_budget.organization_id and b.id = p_budget.id
  returning * into v_budget;
  if private.granted_limit(v_budget) is null then
    update metering.budget_slots as s
    set available_usd = null, debt_usd = null
    where s.organization_id = p_budget.organization_id and s.budget_id = p_budget.id;
  else
    perform private.spread(v_budget, v_budget.limit_usd - v_use, 0);
  end if;
  return v_budget;
end
$$;

comment on function private.refigure(metering.budgets, boolean) is
  'Sets slots, counters and remainder of a budget that was made or changed.';
