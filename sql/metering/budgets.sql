-- Budgets: set, changed, removed, frozen.

-- The time zone a window is cut in. Under a change: it then stays.
create function private.zone_for(p_organization_id uuid, p_window text)
returns text
language plpgsql
stable
set search_path = pg_catalog, pg_temp
as $$
begin
  return (
    select o.time_zone from tenancy.organizations as o
    where o.id = p_organization_id and p_window <> 'total'
  );
end
$$;

comment on function private.zone_for(uuid, text) is
  'The organization''s time zone; null for a total.';

-- The privileged half of metering.set_budget.
--
-- Locks: the organization's own slots, so no spend is in flight. Idempotent.
create function private.set_budget(
  p_organization_id uuid,
  p_scope text,
  p_scope_id text,
  p_window text,
  p_limit numeric,
  p_enforcement text,
  p_slots integer
)
returns metering.budgets
language plpgsql
volatile
security definer -- writes budgets and slots, which no role may write itself
set search_path = pg_catalog, pg_temp
as $$
declare
  v_scope_id text;
  v_budget metering.budgets;
  v_is_new boolean;
begin
  perform private.assert_may_set_budgets(p_organization_id);
  v_scope_id := private.assert_scope(p_organization_id, p_scope, p_scope_id);
  perform private.assert_window('p_window', p_window);
  perform private.assert_slots('p_slots', p_slots);
  if p_limit is not null then
    perform private.assert_money('p_limit', p_limit);
  end if;
  if (p_enforcement in ('hard', 'soft')) is not true then
    perform private.reject_argument('p_enforcement', 'must be hard or soft');
  end if;

  perform private.begin_change(p_organization_id);
  select * into v_budget
  from metering.budgets as b
  where b.organization_id = p_organization_id
    and b.scope_key = p_scope || ':' || v_scope_id
    and b.time_window = p_window;
  v_is_new := not found;
  perform private.assert_not_funded(v_budget);
  if v_is_new then
    insert into metering.budgets (
      organization_id, scope, scope_id, time_window, time_zone, limit_usd, enforcement, slot_count
    )
    values (
      p_organization_id, p_scope, v_scope_id, p_window,
      private.zone_for(p_organization_id, p_window), p_limit, p_enforcement, coalesce(p_slots, 1)
    )
    returning * into v_budget;
  else
    update metering.budgets as b
    set
      limit_usd = p_limit,
      enforcement = p_enforcement,
      slot_count = coalesce(p_slots, b.slot_count)
    where b.organization_id = p_organization_id and b.id = v_budget.id
    returning * into v_budget;
  end if;
  return private.refigure(v_budget, v_is_new);
end
$$;

comment on function private.set_budget(uuid, text, text, text, numeric, text, integer) is
  'Core of metering.set_budget.';

-- Makes a budget or stores another cap. Idempotent.
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
  return private.set_budget(
    p_organization_id, p_scope, p_scope_id, p_window, p_limit, p_enforcement, p_slots
  );
end
$$;

comment on function metering.set_budget(uuid, text, text, text, numeric, text, integer) is
  'Makes the budget of a scope (organization, workflow, run, venture, user, api_key, model, tag as '
  'key=value) and window (total, hour, day, week, month), or stores another cap in US dollars; '
  'null counts and caps nothing. It counts what was spent and is held there already; a cap below '
  'that refuses the next call. p_enforcement soft grants and says so. p_slots spreads its counters '
  'over that many rows (1 to 256): about twice the connections that spend from it at once; null '
  'leaves it. For owners, admins and service_role. Errors: 22023, 42501, TS404.';

-- The privileged half of metering.change_budget.
create function private.change_budget(
  p_organization_id uuid,
  p_budget_id uuid,
  p_scope text,
  p_scope_id text,
  p_window text,
  p_slots integer
)
returns metering.budgets
language plpgsql
volatile
security definer -- writes budgets and slots, which no role may write itself
set search_path = pg_catalog, pg_temp
as $$
declare
  v_old metering.budgets;
  v_new metering.budgets;
begin
  perform private.assert_may_set_budgets(p_organization_id);
  perform private.assert_id('p_budget_id', p_budget_id);
  perform private.assert_slots('p_slots', p_slots);

  perform private.begin_change(p_organization_id);
  select * into v_old
  from metering.budgets as b
  where b.organization_id = p_organization_id and b.id = p_budget_id;
  if v_old.id is null then
    perform private.raise_error('TS404', jsonb_build_object('budget_id', p_budget_id));
  end if;
  v_new := v_old;
  v_new.time_window := private.assert_window('p_window', coalesce(p_window, v_old.time_window));
  v_new.slot_count := coalesce(p_slots, v_old.slot_count);
  if p_scope is not null or p_scope_id is not null then
    v_new.scope := coalesce(p_scope, v_old.scope);
    v_new.scope_id := private.assert_scope(
      p_organization_id, v_new.scope,
      coalesce(p_scope_id, case when v_new.scope = v_old.scope then v_old.scope_id end)
    );
  end if;
  if (v_new.scope, v_new.scope_id, v_new.time_window)
    is distinct from (v_old.scope, v_old.scope_id, v_old.time_window) then
    if private.is_born(v_old) then
      perform private.reject_argument('p_budget_id', 'must not be a budget that exists from birth');
    elsif v_old.frozen_at is not null then
      perform private.reject_argument('p_budget_id', 'must not be a budget that carries a freeze');
    elsif exists (
      select from metering.budgets as b
      where b.organization_id = p_organization_id
        and b.scope_key = v_new.scope || ':' || v_new.scope_id
        and b.time_window = v_new.time_window
    ) then
      perform private.reject_argument(
        'p_scope, p_scope_id, p_window', 'must not be those of another budget'
      );
    end if;
  end if;

  update metering.budgets as b
  set
    scope = v_new.scope,
    scope_id = v_new.scope_id,
    time_window = v_new.time_window,
    time_zone = case
      when private.is_born(v_old) then b.time_zone
      else private.zone_for(p_organization_id, v_new.time_window)
    end,
    slot_count = v_new.slot_count
  where b.organization_id = p_organization_id and b.id = p_budget_id
  returning * into v_new;
  return private.refigure(
    v_new, (v_new.scope_key, v_new.time_window) <> (v_old.scope_key, v_old.time_window)
  );
end
$$;

comment on function private.change_budget(uuid, uuid, text, text, text, integer) is
  'Core of metering.change_budget.';

-- True for the budgets that exist from birth, also of a run or draw that credits fund, and for
-- those that are cut from another.
create function private.is_born(p_budget metering.budgets)
returns boolean
language plpgsql
immutable
set search_path = pg_catalog, pg_temp
as $$
begin
  return p_budget.time_window = 'total'
    and (
      p_budget.id = p_budget.organization_id
      or p_budget.scope = 'workflow' and p_budget.id::text = p_budget.scope_id
    ) or p_budget.is_funded or p_budget.scope = 'venture_profile';
end
$$;

comment on function private.is_born(metering.budgets) is
  'True for the own budget of an organization, workflow, run or draw: it exists from birth and '
  'stays as long as that does; and for a share of a venture''s budget, which goes with it.';

-- Refuses to cap a run that credits fund: its limit is what is reserved for it.
create function private.assert_not_funded(p_budget metering.budgets)
returns void
language plpgsql
stable
set search_path = pg_catalog, pg_temp
as $$
begin
  if p_budget.is_funded then
    perform private.reject_argument('p_scope_id', 'must not be a run that credits fund');
  end if;
end
$$;

comment on function private.assert_not_funded(metering.budgets) is
  'Refuses the budget of a run that credits fund. Errors: 22023.';

-- Moves a budget to another scope or window, or spreads it over another number of slots, while
-- calls go on. Idempotent.
create function metering.change_budget(
  p_organization_id uuid,
  p_budget_id uuid,
  p_scope text default null,
  p_scope_id text default null,
  p_window text default null,
  p_slots integer default null
)
returns metering.budgets
language plpgsql
volatile
set search_path = pg_catalog, pg_temp
as $$
begin
  return private.change_budget(
    p_organization_id, p_budget_id, p_scope, p_scope_id, p_window, p_slots
  );
end
$$;

comment on function metering.change_budget(uuid, uuid, text, text, text, integer) is
  'Moves a budget to another scope or window, whose spend it then counts, or spreads its counters '
  'over another number of rows; null keeps. Those that exist from birth or carry a freeze only '
  'take p_slots. For owners, admins and service_role. Errors: 22023, 42501, TS404.';

-- The privileged half of metering.remove_budget.
create function private.remove_budget(
  p_organization_id uuid,
  p_scope text,
  p_scope_id text,
  p_window text
)
returns metering.budgets
language plpgsql
volatile
security definer -- writes budgets and slots, which no role may write itself
set search_path = pg_catalog, pg_temp
as $$
declare
  v_scope_id text;
  v_budget metering.budgets;
begin
  perform private.assert_may_set_budgets(p_organization_id);
  v_scope_id := private.assert_scope(p_organization_id, p_scope, p_scope_id);
  perform private.assert_window('p_window', p_window);

  perform private.begin_change(p_organization_id);
  update metering.budgets as b
  set limit_usd = null, enforcement = 'hard'
  where b.organization_id = p_organization_id
    and b.scope_key = p_scope || ':' || v_scope_id
    and b.time_window = p_window
  returning * into v_budget;
  if v_budget.id is null then
    perform private.raise_error(
      'TS404',
      jsonb_build_object('scope', p_scope, 'scope_id', v_scope_id, 'window', p_window)
    );
  end if;
  perform private.assert_not_funded(v_budget);
  if private.is_born(v_budget) or v_budget.frozen_at is not null then
    return private.refigure(v_budget, false);
  end if;
  delete from metering.budget_slots as s
  where s.organization_id = p_organization_id and s.budget_id = v_budget.id;
  delete from metering.budgets as b
  where b.organization_id = p_organization_id and b.id = v_budget.id;
  return v_budget;
end
$$;

comment on function private.remove_budget(uuid, text, text, text) is
  'Core of metering.remove_budget.';

-- Removes a budget. Those that exist from birth, and those that carry a freeze, only lose their
-- cap: they go on counting.
create function metering.remove_budget(
  p_organization_id uuid,
  p_scope text,
  p_scope_id text,
  p_window text
)
returns metering.budgets
language plpgsql
volatile
set search_path = pg_catalog, pg_temp
as $$
begin
  return private.remove_budget(p_organization_id, p_scope, p_scope_id, p_window);
end
$$;

comment on function metering.remove_budget(uuid, text, text, text) is
  'Removes a budget and returns it without its limit; the budget of an organization''s or '
  'workflow''s total, and one that carries a freeze, goes on counting, and the defaults of the '
  'checks apply again. For owners, admins and service_role. Errors: 22023, 42501, TS404.';

-- The privileged half of metering.freeze and metering.unfreeze.
create function private.set_frozen(
  p_organization_id uuid,
  p_scope text,
  p_scope_id text,
  p_is_frozen boolean
)
returns metering.budgets
language plpgsql
volatile
security definer -- writes organizations, budgets and slots, which no user may write
set search_path = pg_catalog, pg_temp
as $$
declare
  v_scope_id text;
  v_budget metering.budgets;
begin
  perform private.assert_may_set_budgets(p_organization_id);
  v_scope_id := private.assert_scope(p_organization_id, p_scope, p_scope_id);
  if p_scope = 'organization' then
    -- Its trigger waits for grants under way and freezes the own budget.
    update tenancy.organizations as o
    set frozen_at = case when p_is_frozen then coalesce(o.frozen_at, private.clock_now()) end
    where o.id = p_organization_id;
    select * into v_budget
    from metering.budgets as b
    where b.organization_id = p_organization_id and b.id = p_organization_id;
    return v_budget;
  end if;

  perform private.begin_change(p_organization_id);
  insert into metering.budgets (organization_id, scope, scope_id, time_window)
  select p_organization_id, p_scope, v_scope_id, 'total'
  where p_is_frozen
  on conflict (organization_id, scope_key, time_window, draw_day) do nothing
  returning * into v_budget;
  if v_budget.id is not null then
    perform private.refigure(v_budget, true);
  end if;
  update metering.budgets as b
  set
    frozen_at = case when p_is_frozen then coalesce(b.frozen_at, private.clock_now()) end,
    updated_at = private.clock_now()
  where b.organization_id = p_organization_id
    and b.scope_key = p_scope || ':' || v_scope_id
    and b.time_window = 'total'
  returning * into v_budget;
  if v_budget.id is null then
    perform private.raise_error(
      'TS404', jsonb_build_object('scope', p_scope, 'scope_id', v_scope_id)
    );
  end if;
  return v_budget;
end
$$;

comment on function private.set_frozen(uuid, text, text, boolean) is
  'Core of metering.freeze and metering.unfreeze.';

-- Stops all grants in an organization or one of its scopes. Idempotent.
create function metering.freeze(
  p_organization_id uuid,
  p_scope text default 'organization',
  p_scope_id text default null
)
returns metering.budgets
language plpgsql
volatile
set search_path = pg_catalog, pg_temp
as $$
begin
  return private.set_frozen(p_organization_id, p_scope, p_scope_id, true);
end
$$;

comment on function metering.freeze(uuid, text, text) is
  'From now on nothing is granted in the scope, and checks say no; open holds may be settled, and '
  'spend is recorded all the same. Waits for grants under way. Returns the total budget of the '
  'scope, which carries the freeze, made without a limit where there was none. For owners, admins '
  'and service_role. Errors: 22023, 42501, TS404.';

-- Lets an organization or scope spend again. Idempotent.
create function metering.unfreeze(
  p_organization_id uuid,
  p_scope text default 'organization',
  p_scope_id text default null
)
returns metering.budgets
language plpgsql
volatile
set search_path = pg_catalog, pg_temp
as $$
begin
  return private.set_frozen(p_organization_id, p_scope, p_scope_id, false);
end
$$;

comment on function metering.unfreeze(uuid, text, text) is
  'Ends a freeze; returns the total budget of the scope, which carried it. For owners, admins and '
  'service_role. Errors: 22023, 42501, TS404.';
