-- Shares: each profile of a venture that was allocated a part of the venture's budgets has budgets
-- of its own, one for each of those, cut from its limit. They are budgets like any other, so what
-- does not fit a share is denied as exactly as anything, and the kernel knows nothing of profiles
-- but their scope.

create view metering.venture_profiles
with (security_invoker = true)
as
select
  a.organization_id,
  a.venture_id,
  p.budget_profile,
  p.allocation_pct
from metering.venture_allocations as a
cross join lateral (
  values
  ('exploratory', a.exploratory_pct),
  ('standard', a.standard_pct),
  ('deep_due_diligence', a.deep_due_diligence_pct),
  ('custom', a.custom_pct)
) as p (budget_profile, allocation_pct)
where p.allocation_pct is not null;

comment on view metering.venture_profiles is
  'The profiles of ventures that have a share of the venture''s budget, one row each.';
comment on column metering.venture_profiles.organization_id is 'The organization that pays.';
comment on column metering.venture_profiles.venture_id is 'The venture.';
comment on column metering.venture_profiles.budget_profile is
  'exploratory, standard, deep_due_diligence or custom.';
comment on column metering.venture_profiles.allocation_pct is
  'Its share of each budget of the venture, percent.';

-- What a share of a limit comes to.
create function private.share_of(p_limit numeric, p_percent numeric)
returns numeric
language plpgsql
immutable
set search_path = pg_catalog, pg_temp
as $$
begin
  return private.round_half_even(p_limit * p_percent * 0.01, 12);
end
$$;

comment on function private.share_of(numeric, numeric) is
  'p_percent of p_limit (US dollars), rounded half even at 12 decimals.';

-- Makes the shares of a venture what its budgets and allocations say, whatever they were. Under a
-- change.
create function private.cut_shares(p_organization_id uuid, p_venture_id uuid)
returns void
language plpgsql
volatile
set search_path = pg_catalog, pg_temp
as $$
declare
  v_share record;
  v_budget metering.budgets;
begin
  for v_share in
    select
      s.id, c.scope_id, c.time_window, c.time_zone, c.limit_usd, c.enforcement, c.slot_count,
      (c.limit_usd, c.enforcement) is distinct from (s.limit_usd::numeric, s.enforcement) as is_changed
    from (
      select
        p_venture_id || '/' || p.budget_profile as scope_id,
        b.time_window, b.time_zone, b.enforcement, b.slot_count,
        private.share_of(b.limit_usd, p.allocation_pct) as limit_usd
      from metering.budgets as b
      inner join metering.venture_profiles as p
        on p.organization_id = b.organization_id and p.venture_id = p_venture_id
      where b.organization_id = p_organization_id
        and b.scope_key = 'venture:' || p_venture_id
        and b.limit_usd is not null
    ) as c
    full join (
      select b.*
      from metering.budgets as b
      where b.organization_id = p_organization_id
        and b.scope = 'venture_profile'
        and b.scope_id like p_venture_id || '/%'
    ) as s
      on s.scope_id = c.scope_id and s.time_window = c.time_window
  loop
    if v_share.limit_usd is null then
      delete from metering.budget_slots as x
      where x.organization_id = p_organization_id and x.budget_id = v_share.id;
      delete from metering.budgets as b
      where b.organization_id = p_organization_id and b.id = v_share.id;
    elsif v_share.id is null then
      insert into metering.budgets (
        organization_id, scope, scope_id, time_window, time_zone, limit_usd, enforcement, slot_count
      ) values (
        p_organization_id, 'venture_profile', v_share.scope_id, v_share.time_window,
        v_share.time_zone, v_share.limit_usd, v_share.enforcement, v_share.slot_count
      )
      returning * into v_budget;
      perform private.refigure(v_budget, true);
    elsif v_share.is_changed then
      update metering.budgets as b
      set limit_usd = v_share.limit_usd, enforcement = v_share.enforcement
      where b.organization_id = p_organization_id and b.id = v_share.id
      returning * into v_budget;
      perform private.refigure(v_budget, false);
    end if;
  end loop;
end
$$;

comment on function private.cut_shares(uuid, uuid) is
  'Makes, changes and removes the budgets of a venture''s profiles. Under a change of budgets.';

-- A budget of a venture takes its shares with it: made, changed, moved or removed.
create function private.recut_shares()
returns trigger
language plpgsql
volatile
set search_path = pg_catalog, pg_temp
as $$
begin
  if tg_op <> 'INSERT' and old.scope = 'venture' then
    perform private.cut_shares(old.organization_id, old.scope_id::uuid);
  end if;
  if tg_op <> 'DELETE' and new.scope = 'venture'
    and (tg_op = 'INSERT' or old.scope_key <> new.scope_key) then
    perform private.cut_shares(new.organization_id, new.scope_id::uuid);
  end if;
  return null;
end
$$;

comment on function private.recut_shares() is
  'Trigger: cuts the shares of a venture anew whose budget was changed.';

create trigger budgets_cut_shares after insert on metering.budgets
for each row when (new.scope = 'venture') execute function private.recut_shares();
create trigger budgets_recut_shares
after update of scope, scope_id, time_window, limit_usd, enforcement on metering.budgets
for each row when (old.scope = 'venture' or new.scope = 'venture')
execute function private.recut_shares();
create trigger budgets_drop_shares after delete on metering.budgets
for each row when (old.scope = 'venture') execute function private.recut_shares();

-- The privileged half of metering.allocate_venture_budget.
--
-- Locks: the organization's own slots, so no spend is in flight. Idempotent.
create function private.allocate_venture_budget(
  p_organization_id uuid,
  p_venture_id uuid,
  p_budget_profile text,
  p_percent numeric
)
returns metering.venture_allocations
language plpgsql
volatile
security definer -- writes allocations, budgets and slots, which no role may write itself
set search_path = pg_catalog, pg_temp
as $$
declare
  v_allocation metering.venture_allocations;
begin
  perform private.assert_may_set_budgets(p_organization_id);
  perform private.assert_id('p_venture_id', p_venture_id);
  perform private.assert_scope(p_organization_id, 'venture', p_venture_id::text);
  perform private.assert_budget_profile('p_budget_profile', p_budget_profile);
  if (p_percent between 0 and 100 and scale(trim_scale(p_percent)) <= 2) is false then
    perform private.reject_argument(
      'p_percent', 'must be from 0 to 100, with at most 2 decimals'
    );
  end if;

  perform private.begin_change(p_organization_id);
  insert into metering.venture_allocations (organization_id, venture_id)
  values (p_organization_id, p_venture_id)
  on conflict (organization_id, venture_id) do nothing;
  if coalesce(p_percent, 0) + (
    select coalesce(sum(p.allocation_pct::numeric), 0)
    from metering.venture_profiles as p
    where p.organization_id = p_organization_id
      and p.venture_id = p_venture_id
      and p.budget_profile <> p_budget_profile
  ) > 100 then
    perform private.reject_argument(
      'p_percent', 'must leave all profiles of the venture together at most 100'
    );
  end if;
  update metering.venture_allocations as a
  set
    exploratory_pct = case p_budget_profile
      when 'exploratory' then p_percent else a.exploratory_pct end,
    standard_pct = case p_budget_profile
      when 'standard' then p_percent else a.standard_pct end,
    deep_due_diligence_pct = case p_budget_profile
      when 'deep_due_diligence' then p_percent else a.deep_due_diligence_pct end,
    custom_pct = case p_budget_profile
      when 'custom' then p_percent else a.custom_pct end
  where a.organization_id = p_organization_id and a.venture_id = p_venture_id
  returning * into v_allocation;
  perform private.cut_shares(p_organization_id, p_venture_id);
  return v_allocation;
end
$$;

comment on function private.allocate_venture_budget(uuid, uuid, text, numeric) is
  'Core of metering.allocate_venture_budget.';

-- Gives a profile of a venture its share of the venture's budgets. Idempotent.
create function metering.allocate_venture_budget(
  p_organization_id uuid,
  p_venture_id uuid,
  p_budget_profile text,
  p_percent numeric
)
returns metering.venture_allocations
language plpgsql
volatile
set search_path = pg_catalog, pg_temp
as $$
begin
  return private.allocate_venture_budget(
    p_organization_id, p_venture_id, p_budget_profile, p_percent
  );
end
$$;

comment on function metering.allocate_venture_budget(uuid, uuid, text, numeric) is
  'Gives a profile of a venture (exploratory, standard, deep_due_diligence, custom) its share of '
  'each budget of the venture: p_percent of the limit, from 0 to 100 with 2 decimals, rounded half '
  'even at 12; null leaves it without one, so that only the venture''s own budget caps it; 0 '
  'closes it. Together the profiles get at most 100. A call of the venture counts to the profile '
  'its tag budget_profile names, else to standard, and both share and venture must admit it. '
  'Whenever a limit of the venture changes, the shares are cut anew. For owners, admins and '
  'service_role. Errors: 22023, 42501, TS404.';
