-- Periods: months of an entity that take what is booked, or no longer do.
--
-- Whoever posts locks the month for share, whoever closes it for update: what is posted is in the
-- books before the month is closed, or is refused. A foreign key would not stop the race.

create type accounting.period_answer as (
  status text,
  period_id text,
  entity_id text,
  period_key text,
  period_status text,
  closed_at timestamptz,
  locked_at timestamptz,
  error_code text
);

comment on type accounting.period_answer is
  'The answer of close_period, lock_period and reopen_period.';
comment on column accounting.period_answer.status is
  'ok: the period is as asked. refused: error_code says why, and the event log that it was asked.';
comment on column accounting.period_answer.period_id is 'Id of the period.';
comment on column accounting.period_answer.entity_id is 'Whose books.';
comment on column accounting.period_answer.period_key is 'The month: YYYY-MM.';
comment on column accounting.period_answer.period_status is 'What it is now: open, closed, locked.';
comment on column accounting.period_answer.closed_at is 'Since when it is closed.';
comment on column accounting.period_answer.locked_at is 'Since when it is locked.';
comment on column accounting.period_answer.error_code is
  'TS412: the period is locked and stays so. Null where it was not refused.';

-- Makes sure that a month has its row. An organization that has no such entity is refused.
create function private.ensure_period(p_organization_id uuid, p_entity_id text, p_period_key text)
returns void
language plpgsql
volatile
set search_path = pg_catalog, pg_temp
as $$
begin
  if not exists (
    select from accounting.entities as e
    where e.organization_id = p_organization_id and e.entity_id = p_entity_id
  ) then
    perform private.raise_error('TS404', jsonb_build_object('entity_id', p_entity_id));
  end if;
  insert into accounting.accounting_periods (organization_id, entity_id, period_key)
  values (p_organization_id, p_entity_id, p_period_key)
  on conflict (organization_id, entity_id, period_key) do nothing;
end
$$;

comment on function private.ensure_period(uuid, text, text) is
  'Opens a period that has no row yet. Errors: TS404 for an unknown entity.';

-- Locks the month of a day for a posting: its status stays as it is until the transaction ends.
create function private.lock_period(p_organization_id uuid, p_entity_id text, p_date date)
returns accounting.accounting_periods
language plpgsql
volatile
set search_path = pg_catalog, pg_temp
as $$
declare
  v_period_key constant text := to_char(p_date, 'YYYY-MM');
  v_period accounting.accounting_periods;
begin
  loop
    select * into v_period
    from accounting.accounting_periods as p
    where p.organization_id = p_organization_id
      and p.entity_id = p_entity_id
      and p.period_key = v_period_key
    for share;
    exit when found;
    perform private.ensure_period(p_organization_id, p_entity_id, v_period_key);
  end loop;
  return v_period;
end
$$;

comment on function private.lock_period(uuid, text, date) is
  'The period of a day, locked for share. Errors: TS404 for an unknown entity.';

-- Refuses what a period does not take.
create function private.assert_period(
  p_period accounting.accounting_periods,
  p_bundle private.bundle,
  p_is_approved boolean
)
returns void
language plpgsql
stable
set search_path = pg_catalog, pg_temp
as $$
begin
  if p_period.status = 'closed' and p_bundle.is_adjusting_entry is not true
    or p_period.status = 'locked'
    and (p_bundle.override_period_lock and p_is_approved) is not true then
    perform private.raise_error(
      'TS412',
      jsonb_build_object(
        'entity_id', p_period.entity_id, 'period_key', p_period.period_key,
        'status', p_period.status
      )
    );
  end if;
end
$$;

comment on function private.assert_period(
  accounting.accounting_periods, private.bundle, boolean
) is
  'Refuses all but adjusting entries for a closed period, and all but what overrides and was '
  'approved for a locked one. Errors: TS412.';

-- The day at which something of p_date is booked: itself, or the first day of the next month that
-- is open. That month is locked for share.
create function private.posting_date(p_organization_id uuid, p_entity_id text, p_date date)
returns date
language plpgsql
volatile
set search_path = pg_catalog, pg_temp
as $$
declare
  v_date date := p_date;
begin
  while (private.lock_period(p_organization_id, p_entity_id, v_date)).status <> 'open'
  loop
    v_date := (date_trunc('month', v_date::timestamp) + interval '1 month')::date;
  end loop;
  return v_date;
end
$$;

comment on function private.posting_date(uuid, text, date) is
  'The first day from p_date on in a period that is open. Errors: TS404 for an unknown entity.';

-- The privileged half of close_period, lock_period and reopen_period.
--
-- Locks the period for update: waits for what is being posted, and what is posted after it sees it.
create function private.move_period(
  p_organization_id uuid,
  p_period_key text,
  p_status text,
  p_correlation_id text,
  p_entity_id text,
  p_actor text
)
returns accounting.period_answer
language plpgsql
volatile
security definer -- writes periods and the event log, which no role may write itself
set search_path = pg_catalog, pg_temp
as $$
declare
  v_started_at constant timestamptz := private.clock_now();
  v_tool constant text := case p_status
    when 'closed' then 'close_period' when 'locked' then 'lock_period' else 'reopen_period'
  end;
  v_actor private.actor;
  v_period accounting.accounting_periods;
  v_answer accounting.period_answer;
  v_now timestamptz;
begin
  perform private.assert_member(p_organization_id, array['owner', 'admin', 'finance']);
  v_actor := private.acting(p_actor);
  perform private.assert_text('p_correlation_id', p_correlation_id);
  perform private.assert_text('p_entity_id', p_entity_id);
  if (p_period_key ~ '^[0-9]{4}-(0[1-9]|1[0-2])$' and p_period_key >= '0001') is not true then
    perform private.reject_argument('p_period_key', 'must be a month: YYYY-MM');
  elsif p_status <> 'open' and p_period_key > (
    select to_char(private.local_day(v_started_at, o.time_zone), 'YYYY-MM')
    from tenancy.organizations as o where o.id = p_organization_id
  ) then
    -- What comes late finds an open month, and finds it soon.
    perform private.reject_argument('p_period_key', 'must be a month that has begun');
  end if;

  perform private.ensure_period(p_organization_id, p_entity_id, p_period_key);
  select * into v_period
  from accounting.accounting_periods as p
  where p.organization_id = p_organization_id
    and p.entity_id = p_entity_id
    and p.period_key = p_period_key
  for update;
  v_now := private.clock_now();
  if v_period.status = 'locked' and p_status <> 'locked' then
    v_answer.status := 'refused';
    v_answer.error_code := 'TS412';
  else
    v_answer.status := 'ok';
    if v_period.status <> p_status then
      update accounting.accounting_periods as p
      set
        status = p_status,
        closed_at = case when p_status <> 'open' then coalesce(p.closed_at, v_now) end,
        locked_at = case when p_status = 'locked' then v_now end,
        actor_id = v_actor.actor_id,
        correlation_id = p_correlation_id
      where p.organization_id = p_organization_id and p.period_id = v_period.period_id
      returning * into v_period;
    end if;
  end if;
  v_answer.period_id := v_period.period_id;
  v_answer.entity_id := v_period.entity_id;
  v_answer.period_key := v_period.period_key;
  v_answer.period_status := v_period.status;
  v_answer.closed_at := v_period.closed_at;
  v_answer.locked_at := v_period.locked_at;
  perform private.log_call(
    p_organization_id, v_tool, p_correlation_id,
    private.content_hash(
      private.canonical_text(
        jsonb_build_object('entity_id', p_entity_id, 'period_key', p_period_key)
      )
    ),
    private.canonical_text(
      to_jsonb(v_answer) || jsonb_build_object(
        'closed_at', private.time_text(v_answer.closed_at),
        'locked_at', private.time_text(v_answer.locked_at)
      )
    ),
    v_actor, v_started_at, v_answer.status, v_answer.error_code
  );
  return v_answer;
end
$$;

comment on function private.move_period(uuid, text, text, text, text, text) is
  'Core of close_period, lock_period and reopen_period.';

create function accounting.close_period(
  p_organization_id uuid,
  p_period_key text,
  p_correlation_id text,
  p_entity_id text default 'entity-default',
  p_actor text default null
)
returns accounting.period_answer
language sql
volatile
set search_path = pg_catalog, pg_temp
as $$
  select * from private.move_period(
    p_organization_id, p_period_key, 'closed', p_correlation_id, p_entity_id, p_actor
  )
$$;

comment on function accounting.close_period(uuid, text, text, text, text) is
  'Closes a month (YYYY-MM) of an entity: from now on it takes adjusting entries only. Closed '
  'again, nothing changes; a locked one is refused, TS412 in the answer. For owners, admins, '
  'finance and server roles, which may name p_actor. Errors: 22023, also for a month that has not '
  'begun in the time zone of the organization, 42501, TS404.';

create function accounting.lock_period(
  p_organization_id uuid,
  p_period_key text,
  p_correlation_id text,
  p_entity_id text default 'entity-default',
  p_actor text default null
)
returns accounting.period_answer
language sql
volatile
set search_path = pg_catalog, pg_temp
as $$
  select * from private.move_period(
    p_organization_id, p_period_key, 'locked', p_correlation_id, p_entity_id, p_actor
  )
$$;

comment on function accounting.lock_period(uuid, text, text, text, text) is
  'Locks a month (YYYY-MM) of an entity for good: it takes nothing but what overrides the lock and '
  'was approved. For owners, admins, finance and server roles, which may name p_actor. Errors: '
  '22023, also for a month that has not begun in the time zone of the organization, 42501, TS404.';

create function accounting.reopen_period(
  p_organization_id uuid,
  p_period_key text,
  p_correlation_id text,
  p_entity_id text default 'entity-default',
  p_actor text default null
)
returns accounting.period_answer
language sql
volatile
set search_path = pg_catalog, pg_temp
as $$
  select * from private.move_period(
    p_organization_id, p_period_key, 'open', p_correlation_id, p_entity_id, p_actor
  )
$$;

comment on function accounting.reopen_period(uuid, text, text, text, text) is
  'Opens a closed month (YYYY-MM) of an entity again; a locked one stays locked, TS412 in the '
  'answer. For owners, admins, finance and server roles, which may name p_actor. Errors: 22023, '
  '42501, TS404.';
