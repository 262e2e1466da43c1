-- Stored caps, and the budgets every organization and workflow has from birth.

-- An organization is born with the budget that every call in it touches first.
create function private.open_organization_budget()
returns trigger
language plpgsql
volatile
security definer -- writes budgets, which no role may write itself
set search_path = pg_catalog, pg_temp
as $$
begin
  insert into metering.budgets (organization_id, id, scope, time_window)
  values (new.id, new.id, 'organization', 'total');
  insert into metering.budget_slots (organization_id, budget_id, slot) values (new.id, new.id, 0);
  return null;
end
$$;

comment on function private.open_organization_budget() is
  'Trigger: gives a new organization its implicit total budget.';

create trigger organizations_open_budget after insert on tenancy.organizations
for each row execute function private.open_organization_budget();

-- A workflow is born with the budget that counts it. Nothing can have been spent on it before, so
-- unlike a later change this needs no lock on the organization.
create function private.open_workflow_budget()
returns trigger
language plpgsql
volatile
security definer -- writes budgets, which no role may write itself
set search_path = pg_catalog, pg_temp
as $$
begin
  insert into metering.budgets (organization_id, id, scope, scope_id, time_window)
  values (new.organization_id, new.id, 'workflow', new.id::text, 'total');
  insert into metering.budget_slots (organization_id, budget_id, slot)
  values (new.organization_id, new.id, 0);
  return null;
end
$$;

comment on function private.open_workflow_budget() is
  'Trigger: gives a new workflow its total budget.';

create trigger workflows_open_budget after insert on metering.workflows
for each row execute function private.open_workflow_budget();

-- Locks every slot of the organization's own budget. Each call that spends updates one of them
-- before it reads which budgets it touches, so whoever holds them all sees no spend in flight.
create function private.gather_organization(p_organization_id uuid)
returns void
language plpgsql
volatile
set search_path = pg_catalog, pg_temp
as $$
begin
  perform from metering.budget_slots as s
  where s.organization_id = p_organization_id and s.budget_id = p_organization_id
  order by s.slot
  for no key update;
end
$$;

comment on function private.gather_organization(uuid) is
  'Waits for all spend in flight of an organization and holds off new spend until the transaction '
  'ends.';

-- Begins a change of an organization's budgets or time zone: no spend is in flight until the
-- transaction ends, and a call whose snapshot is older than the change cannot miss it. Such a call,
-- at REPEATABLE READ or above, finds its slot updated and fails with 40001.
create function private.begin_change(p_organization_id uuid)
returns void
language plpgsql
volatile
set search_path = pg_catalog, pg_temp
as $$
begin
  perform private.gather_organization(p_organization_id);
  update metering.budget_slots as s
  set config_version = s.config_version + 1
  where s.organization_id = p_organization_id and s.budget_id = p_organization_id;
end
$$;

comment on function private.begin_change(uuid) is
  'Waits for all spend in flight of an organization and makes later spend see the change.';

-- Freezing waits for checks under way: whoever was told yes has recorded, or asks again.
create function private.announce_freeze()
returns trigger
language plpgsql
volatile
security definer -- locks slots, which no role may lock itself
set search_path = pg_catalog, pg_temp
as $$
begin
  perform private.begin_change(new.id);
  return new;
end
$$;

comment on function private.announce_freeze() is
  'Trigger: freezing and unfreezing wait for spend in flight, and no later check misses them.';

create trigger organizations_announce_freeze before update of frozen_at on tenancy.organizations
for each row when (old.frozen_at is distinct from new.frozen_at)
execute function private.announce_freeze();

-- A month that was counted is not cut anew: a time zone stays once usage is recorded. Until then
-- open months are empty, and begin again in the new zone.
create function private.keep_time_zone()
returns trigger
language plpgsql
volatile
security definer -- locks slots, which no role may lock itself
set search_path = pg_catalog, pg_temp
as $$
begin
  perform private.begin_change(old.id);
  if exists (select from metering.usage_rollups as r where r.organization_id = old.id) then
    perform private.raise_error(
      '23001', jsonb_build_object('organization_id', old.id, 'time_zone', old.time_zone)
    );
  end if;
  update metering.budget_slots as s set window_start = '-infinity'
  where s.organization_id = old.id;
  return new;
end
$$;

comment on function private.keep_time_zone() is
  'Trigger: refuses another time zone once usage is recorded. Errors: 23001.';

create trigger organizations_keep_time_zone before update of time_zone on tenancy.organizations
for each row when (old.time_zone <> new.time_zone)
execute function private.keep_time_zone();

-- Stores, changes or (p_limit null) removes the cap of one scope and window.
--
-- Locks: the organization's own slots, then the budget's, so no spend is in flight. The opening
-- figures of a new budget are then read in a new statement, from the rollups.
-- Idempotent: the same call again changes nothing.
create function private.put_budget(
  p_organization_id uuid,
  p_scope text,
  p_scope_id text,
  p_window text,
  p_limit numeric
)
returns metering.budgets
language plpgsql
volatile
security definer -- writes budgets and slots, which no role may write itself
set search_path = pg_catalog, pg_temp
as $$
declare
  v_now timestamptz := private.clock_now();
  v_budget metering.budgets;
  v_scope_id text := coalesce(p_scope_id, '');
  v_time_zone text;
  v_last_day date;
  v_window_start timestamptz;
begin
  perform private.assert_member(p_organization_id, array['owner', 'admin']);
  if p_limit is not null then
    perform private.assert_money('p_limit', p_limit);
  end if;
  if p_scope = 'organization' and p_window = 'month' then
    if v_scope_id not in ('', p_organization_id::text) then
      perform private.reject_argument('p_scope_id', 'must be empty for the organization itself');
    end if;
    v_scope_id := '';
  elsif p_scope = 'workflow' and p_window = 'total' then
    if v_scope_id !~* '^[0-9a-f]{8}(-[0-9a-f]{4}){3}-[0-9a-f]{12}$' then
      perform private.reject_argument('p_scope_id', 'must be the id of a workflow');
    end if;
    v_scope_id := lower(v_scope_id);
  else
    perform private.reject_argument(
      'p_scope, p_window', 'must be workflow and total, or organization and month'
    );
  end if;

  perform private.begin_change(p_organization_id);

  update metering.budgets as b
  set limit_usd = p_limit, updated_at = v_now
  where b.organization_id = p_organization_id
    and b.scope = p_scope
    and b.scope_id = v_scope_id
    and b.time_window = p_window
  returning * into v_budget;
  if not found then
    -- A workflow has its budget from birth, so a missing one means a missing workflow.
    if p_scope = 'workflow' then
      perform private.raise_error('TS404', jsonb_build_object('workflow_id', v_scope_id));
    end if;
    insert into metering.budgets (
      organization_id, id, scope, scope_id, time_window, limit_usd, created_at, updated_at
    ) values (
      p_organization_id, private.uuid_v7(v_now), p_scope, v_scope_id, p_window, p_limit, v_now, v_now
    )
    returning * into v_budget;
    -- Windows only move forward: a clock that is behind recorded spend opens that spend's month.
    select o.time_zone into strict v_time_zone
    from tenancy.organizations as o where o.id = p_organization_id;
    select max(r.day) into v_last_day
    from metering.usage_rollups as r where r.organization_id = p_organization_id;
    v_window_start := greatest(
      private.window_start(p_window, v_now, v_time_zone),
      private.window_start(p_window, v_last_day::timestamp at time zone v_time_zone, v_time_zone)
    );
    insert into metering.budget_slots (organization_id, budget_id, slot, window_start, settled_usd)
    values (
      p_organization_id, v_budget.id, 0, v_window_start,
      private.monthly_cost(p_organization_id, private.local_day(v_window_start, v_time_zone))
    );
  end if;

  update metering.budget_slots as s
  set
    available_usd = p_limit - least(p_limit, s.settled_usd + s.held_usd),
    debt_usd = s.settled_usd + s.held_usd - least(p_limit, s.settled_usd + s.held_usd)
  where s.organization_id = p_organization_id and s.budget_id = v_budget.id;
  return v_budget;
end
$$;

comment on function private.put_budget(uuid, text, text, text, numeric) is
  'Core of metering.set_budget and metering.remove_budget.';

-- Stores or changes a cap. Idempotent.
create function metering.set_budget(
  p_organization_id uuid,
  p_scope text,
  p_scope_id text,
  p_window text,
  p_limit numeric,
  p_enforcement text default 'hard',
  p_slots integer default null
)
returns metering.budgets
language plpgsql
volatile
set search_path = pg_catalog, pg_temp
as $$
begin
  if p_limit is null then
    perform private.reject_argument('p_limit', 'must not be null');
  end if;
  if p_enforcement is distinct from 'hard' then
    perform private.reject_argument('p_enforcement', 'must be hard');
  end if;
  if p_slots <> 1 then
    perform private.reject_argument('p_slots', 'must be 1');
  end if;
  return private.put_budget(
    p_organization_id => p_organization_id,
    p_scope => p_scope,
    p_scope_id => p_scope_id,
    p_window => p_window,
    p_limit => p_limit
  );
end
$$;

comment on function metering.set_budget(uuid, text, text, text, numeric, text, integer) is
  'Stores or changes the cap of a workflow''s total (scope workflow, its id, window total) or of '
  'the organization''s month (scope organization, no id, window month), in US dollars. For owners, '
  'admins and service_role. A cap below what is spent already refuses the next call. '
  'Errors: 22023, 42501, TS404.';

-- Removes a stored cap; what was counted stays. Idempotent.
create function metering.remove_budget(
  p_organization_id uuid,
  p_scope text,
  p_scope_id text,
  p_window text
)
returns metering.budgets
language sql
volatile
set search_path = pg_catalog, pg_temp
as $$
  select * from private.put_budget(
    p_organization_id => p_organization_id,
    p_scope => p_scope,
    p_scope_id => p_scope_id,
    p_window => p_window,
    p_limit => null
  )
$$;

comment on function metering.remove_budget(uuid, text, text, text) is
  'Removes the stored cap of a scope and window; what was counted stays, and the defaults of the '
  'checks apply again. For owners, admins and service_role. Errors: 22023, 42501, TS404.';
