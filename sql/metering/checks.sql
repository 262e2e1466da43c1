-- May this be spent? What was spent this month?

-- The organization a workflow belongs to: the only place that finds a tenant row by its id alone,
-- and so the only body another engine would replace.
create function private.resolve_organization_of_workflow(p_workflow_id uuid)
returns uuid
language plpgsql
stable
set search_path = pg_catalog, pg_temp
as $$
begin
  return (select w.organization_id from metering.workflows as w where w.id = p_workflow_id);
end
$$;

comment on function private.resolve_organization_of_workflow(uuid) is
  'The organization of a workflow the caller may see, or null.';

-- Finds the organization of a workflow and lets only those who may read it pass.
create function private.assert_workflow(p_workflow_id uuid, p_organization_id uuid)
returns uuid
language plpgsql
stable
set search_path = pg_catalog, pg_temp
as $$
declare
  v_organization_id uuid;
begin
  perform private.assert_id('p_workflow_id', p_workflow_id);
  if p_organization_id is null then
    v_organization_id := private.resolve_organization_of_workflow(p_workflow_id);
  else
    perform private.assert_member(p_organization_id);
    select w.organization_id into v_organization_id
    from metering.workflows as w
    where w.organization_id = p_organization_id and w.id = p_workflow_id;
  end if;
  if v_organization_id is null then
    perform private.raise_error('TS404', jsonb_build_object('workflow_id', p_workflow_id));
  end if;
  return v_organization_id;
end
$$;

comment on function private.assert_workflow(uuid, uuid) is
  'Returns the organization of a workflow the caller may read. Errors: 22023, TS404 for a workflow '
  'that is unknown, of another organization, or hidden; 42501 for a named organization the caller '
  'does not belong to.';

-- The cap that applies: the stored one, which a lower stated one lowers; without a stored one, the
-- stated one. A stated cap equal to the documented default is no statement.
create function private.effective_cap(p_stored numeric, p_stated numeric, p_default numeric)
returns numeric
language sql
immutable
set search_path = pg_catalog, pg_temp
as $$
  select case
    when p_stored is null then p_stated
    when p_stated = p_default then p_stored
    else least(p_stored, p_stated)
  end
$$;

comment on function private.effective_cap(numeric, numeric, numeric) is
  'The cap to apply, from the stored one (or null), the stated one and its documented default.';

-- Decides without locking. In a function that locked first, this is the new statement that sees
-- what the lock waited for.
create function private.fits_workflow(
  p_organization_id uuid,
  p_workflow_id uuid,
  p_additional_cost numeric,
  p_max_cost numeric
)
returns boolean
language plpgsql
stable
set search_path = pg_catalog, pg_temp
as $$
begin
  return (
    select
      o.frozen_at is null
      and b.frozen_at is null
      and (
        select sum(s.settled_usd + s.held_usd)
        from metering.budget_slots as s
        where s.organization_id = b.organization_id and s.budget_id = b.id
      )
      - private.overdue(b.organization_id, b.scope_key, '-infinity', private.clock_now())
      + p_additional_cost <= private.effective_cap(b.limit_usd, p_max_cost, 1.00)
    from tenancy.organizations as o
    inner join metering.budgets as b on b.organization_id = o.id
    where o.id = p_organization_id and b.id = p_workflow_id
  );
end
$$;

comment on function private.fits_workflow(uuid, uuid, numeric, numeric) is
  'True iff nothing is frozen and settled + held + additional fits the cap; what overdue holds '
  'keep is free.';

-- Holds off all spend of an organization until the transaction ends.
create function private.lock_organization(p_organization_id uuid)
returns void
language plpgsql
volatile
security definer -- locks slots, which takes a right to update them
set search_path = pg_catalog, pg_temp
as $$
begin
  perform private.assert_member(p_organization_id);
  -- Partitions come before slots, in every call: a record may follow in this transaction.
  perform private.ensure_month(private.clock_now());
  perform private.gather_organization(p_organization_id);
end
$$;

comment on function private.lock_organization(uuid) is
  'Locks the own counters of an organization, for members and server roles.';

-- May p_additional_cost still be spent on the workflow?
--
-- Holds off all spend of the organization until the transaction ends: a check and the record of no
-- more than was asked for, in one transaction, are exact under any concurrency. So the transaction
-- must not stay open across a model call; alone, the check is an answer about now.
create function public.check_workflow_cost_limit(
  p_workflow_id uuid,
  p_additional_cost numeric,
  p_max_cost numeric default 1.00,
  p_organization_id uuid default null
)
returns boolean
language plpgsql
volatile
set search_path = pg_catalog, pg_temp
as $$
declare
  v_organization_id uuid;
begin
  perform private.assert_money('p_additional_cost', p_additional_cost);
  perform private.assert_money('p_max_cost', p_max_cost);
  v_organization_id := private.assert_workflow(p_workflow_id, p_organization_id);
  perform private.lock_organization(v_organization_id);
  return private.fits_workflow(v_organization_id, p_workflow_id, p_additional_cost, p_max_cost);
end
$$;

comment on function public.check_workflow_cost_limit(uuid, numeric, numeric, uuid) is
  'True iff neither organization nor workflow is frozen and settled + held + p_additional_cost <= '
  'the cap, in US dollars (ai_cost_governance). A stored cap wins over p_max_cost: a stated 1.00, '
  'the default, is ignored, a lower one lowers it. Holds off all spend of the organization until '
  'the transaction ends, so never keep it open across a model call. Errors: 22023, 42501, TS404.';

-- The same answer without a lock: for GET, replicas and previews.
create function public.estimate_workflow_cost_limit(
  p_workflow_id uuid,
  p_additional_cost numeric,
  p_max_cost numeric default 1.00,
  p_organization_id uuid default null
)
returns boolean
language plpgsql
stable
set search_path = pg_catalog, pg_temp
as $$
begin
  perform private.assert_money('p_additional_cost', p_additional_cost);
  perform private.assert_money('p_max_cost', p_max_cost);
  return private.fits_workflow(
    private.assert_workflow(p_workflow_id, p_organization_id),
    p_workflow_id, p_additional_cost, p_max_cost
  );
end
$$;

comment on function public.estimate_workflow_cost_limit(uuid, numeric, numeric, uuid) is
  'check_workflow_cost_limit without its lock: an answer as of now, also on a read replica. '
  'Errors: 22023, 42501, TS404.';

-- What an organization spent in the month that begins on p_month, from the rollups.
create function private.monthly_cost(p_organization_id uuid, p_month date)
returns numeric
language plpgsql
stable
set search_path = pg_catalog, pg_temp
as $$
begin
  return (
    select coalesce(sum(r.cost), 0)
    from metering.usage_rollups as r
    where r.organization_id = p_organization_id
      and r.scope = 'organization'
      and r.scope_id = ''
      and r.day >= p_month
      and r.day < (p_month + interval '1 month')::date
  );
end
$$;

comment on function private.monthly_cost(uuid, date) is
  'Recorded cost in US dollars of the month that begins on p_month.';

-- What an organization holds in the month that begins on p_month, whether or not that month has a
-- budget. What overdue holds keep is free.
create function private.monthly_holds(p_organization_id uuid, p_month date)
returns numeric
language plpgsql
stable
set search_path = pg_catalog, pg_temp
as $$
begin
  return (
    select coalesce(sum(h.held_usd), 0)
    from metering.holds as h
    where h.organization_id = p_organization_id
      and h.state = 'open'
      and h.expires_at > private.clock_now()
      and h.day >= p_month
      and h.day < (p_month + interval '1 month')::date
  );
end
$$;

comment on function private.monthly_holds(uuid, date) is
  'Money in US dollars that open holds keep in the month that begins on p_month.';

-- The first day of an organization's present month. Windows only move forward: a clock that is
-- behind an open month is in that month.
create function private.present_month(p_organization_id uuid)
returns date
language plpgsql
stable
set search_path = pg_catalog, pg_temp
as $$
begin
  return (
    select
      greatest(
        date_trunc('month', private.clock_now() at time zone o.time_zone)::date,
        -- -infinity where no window is open yet
        (
          select
            date_trunc('month', private.local_day(max(s.window_start), o.time_zone)::timestamp)::date
          from metering.budgets as b
          inner join metering.budget_slots as s
            on s.organization_id = b.organization_id and s.budget_id = b.id
          where b.organization_id = o.id
            and b.scope_key = 'organization:'
            and b.time_window <> 'total'
        )
      )
    from tenancy.organizations as o
    where o.id = p_organization_id
  );
end
$$;

comment on function private.present_month(uuid) is
  'First day of the present month in the organization''s time zone.';

create function public.get_organization_monthly_ai_cost(p_organization_id uuid)
returns numeric
language plpgsql
stable
set search_path = pg_catalog, pg_temp
as $$
begin
  perform private.assert_member(p_organization_id);
  return private.monthly_cost(p_organization_id, private.present_month(p_organization_id));
end
$$;

comment on function public.get_organization_monthly_ai_cost(uuid) is
  'Recorded cost of the present month in US dollars, the month being the organization''s '
  '(ai_cost_governance). Read from rollups. Errors: 22023, 42501, TS404.';

-- Is the organization's month still within its quota? Takes no lock. After
-- check_workflow_cost_limit in one transaction it is exact, as a statement of its own: within one
-- statement it would answer as of before that check waited for its lock.
create function public.check_organization_monthly_quota(
  p_organization_id uuid,
  p_monthly_limit numeric default 25.00
)
returns boolean
language plpgsql
stable
set search_path = pg_catalog, pg_temp
as $$
declare
  v_month date;
begin
  perform private.assert_money('p_monthly_limit', p_monthly_limit);
  perform private.assert_member(p_organization_id);
  v_month := private.present_month(p_organization_id);

  return (
    select
      o.frozen_at is null
      and private.monthly_cost(p_organization_id, v_month)
      + private.monthly_holds(p_organization_id, v_month)
      < private.effective_cap(
        (
          select b.limit_usd
          from metering.budgets as b
          where b.organization_id = o.id
            and b.scope_key = 'organization:'
            and b.time_window = 'month'
        ),
        p_monthly_limit, 25.00
      )
    from tenancy.organizations as o
    where o.id = p_organization_id
  );
end
$$;

comment on function public.check_organization_monthly_quota(uuid, numeric) is
  'True iff the organization is not frozen and settled + held of its present month is below the '
  'limit, in US dollars (ai_cost_governance). A stored cap wins over p_monthly_limit: a stated '
  '25.00, the default, is ignored, a lower one lowers it. Errors: 22023, 42501, TS404.';
