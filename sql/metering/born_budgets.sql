-- Budgets: the two kinds that exist from birth, and those that are set, changed, removed and
-- frozen.

-- An organization is born with the budget that every call in it touches first.
create function private.open_organization_budget()
returns trigger
language plpgsql
volatile
security definer -- writes budgets, which no role may write itself
set search_path = pg_catalog, pg_temp
as $$
begin
  insert into metering.budgets (organization_id, id, scope, time_window, time_zone, frozen_at)
  values (new.id, new.id, 'organization', 'total', new.time_zone, new.frozen_at);
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
  -- A budget that a closed run or draw has left is not to be found again under its id.
  if private.is_run(new.organization_id, new.id) or exists (
    select from billing.draws as d where d.org_id = new.organization_id and d.id = new.id
  ) then
    perform private.reject_argument('id', 'must not be that of a run or draw');
  end if;
  insert into metering.budgets (organization_id, id, scope, scope_id, time_window)
  values (new.organization_id, new.id, 'workflow', new.id::text, 'total');
  insert into metering.budget_slots (organization_id, budget_id, slot)
  values (new.organization_id, new.id, 0);
  return null;
end
$$;

comment on function private.open_workflow_budget() is
  'Trigger: gives a new workflow its total budget. Errors: 22023 for the id of a run or draw.';

create trigger workflows_open_budget after insert on metering.workflows
for each row execute function private.open_workflow_budget();

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

-- Freezing waits for checks and grants under way: whoever was told yes has recorded, or asks again.
create function private.announce_freeze()
returns trigger
language plpgsql
volatile
security definer -- writes budgets and slots, which no role may write itself
set search_path = pg_catalog, pg_temp
as $$
begin
  perform private.begin_change(new.id);
  update metering.budgets as b set frozen_at = new.frozen_at
  where b.organization_id = new.id and b.id = new.id;
  return new;
end
$$;

comment on function private.announce_freeze() is
  'Trigger: freezing and unfreezing wait for spend in flight, and no later check misses them.';

create trigger organizations_announce_freeze before update of frozen_at on tenancy.organizations
for each row when (old.frozen_at is distinct from new.frozen_at)
execute function private.announce_freeze();

-- A month that was counted is not cut anew: a time zone stays once usage is recorded or money held.
-- Until then open windows are empty, and begin again in the new zone.
create function private.keep_time_zone()
returns trigger
language plpgsql
volatile
security definer -- writes budgets and slots, which no role may write itself
set search_path = pg_catalog, pg_temp
as $$
begin
  perform private.begin_change(old.id);
  if exists (select from metering.usage_rollups as r where r.organization_id = old.id)
    or exists (select from metering.holds as h where h.organization_id = old.id)
    or exists (select from billing.draws as d where d.org_id = old.id) then
    perform private.raise_error(
      '23001', jsonb_build_object('organization_id', old.id, 'time_zone', old.time_zone)
    );
  end if;
  update metering.budgets as b set time_zone = new.time_zone
  where b.organization_id = old.id and b.time_zone is not null;
  update metering.budget_slots as s set window_start = '-infinity', window_end = '-infinity'
  where s.organization_id = old.id and s.window_end <> 'infinity';
  return new;
end
$$;

comment on function private.keep_time_zone() is
  'Trigger: refuses another time zone once usage is recorded or money held. Errors: 23001.';

create trigger organizations_keep_time_zone before update of time_zone on tenancy.organizations
for each row when (old.time_zone <> new.time_zone)
execute function private.keep_time_zone();
