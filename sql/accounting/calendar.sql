-- Snapshots and obligations: what others state, and what is expected.

-- The entity of an account. Unknown ones are refused.
create function private.entity_of(p_organization_id uuid, p_account_id text)
returns text
language plpgsql
stable
set search_path = pg_catalog, pg_temp
as $$
declare
  v_entity_id text := (
    select a.entity_id
    from accounting.accounts as a
    where a.organization_id = p_organization_id and a.account_id = p_account_id
  );
begin
  if v_entity_id is null then
    perform private.raise_error('TS404', jsonb_build_object('account_id', p_account_id));
  end if;
  return v_entity_id;
end
$$;

comment on function private.entity_of(uuid, text) is
  'Whose account it is. Errors: TS404 for an unknown account.';

-- The privileged half of accounting.record_balance_snapshot.
create function private.record_balance_snapshot(
  p_organization_id uuid,
  p_source_system text,
  p_account_id text,
  p_snapshot_date date,
  p_balance numeric,
  p_source_artifact_id text,
  p_correlation_id text,
  p_actor text
)
returns accounting.balance_snapshots
language plpgsql
volatile
security definer -- writes snapshots and the event log, which no role may write itself
set search_path = pg_catalog, pg_temp
as $$
declare
  v_started_at constant timestamptz := private.clock_now();
  v_actor private.actor;
  v_snapshot accounting.balance_snapshots;
begin
  perform private.assert_member(p_organization_id, array['owner', 'admin', 'finance']);
  v_actor := private.acting(p_actor);
  perform private.assert_text('p_source_system', p_source_system);
  perform private.assert_day('p_snapshot_date', p_snapshot_date);
  perform private.assert_amount('p_balance', p_balance);
  if p_source_artifact_id is not null then
    perform private.assert_text('p_source_artifact_id', p_source_artifact_id);
  end if;
  insert into accounting.balance_snapshots (
    organization_id, entity_id, source_system, account_id, snapshot_date, balance,
    source_artifact_id
  ) values (
    p_organization_id, private.entity_of(p_organization_id, p_account_id), p_source_system,
    p_account_id, p_snapshot_date, private.round_half_even(p_balance, 4), p_source_artifact_id
  )
  on conflict (organization_id, entity_id, account_id, snapshot_date)
  do update set
    source_system = excluded.source_system,
    balance = excluded.balance,
    source_artifact_id = excluded.source_artifact_id,
    recorded_at = excluded.recorded_at
  returning * into v_snapshot;
  perform private.log_change(
    p_organization_id, 'record_balance_snapshot', p_correlation_id,
    jsonb_build_object(
      'source_system', p_source_system, 'account_id', p_account_id,
      'snapshot_date', p_snapshot_date, 'balance', private.book_text(v_snapshot.balance),
      'source_artifact_id', p_source_artifact_id
    ),
    v_snapshot, v_actor, v_started_at
  );
  return v_snapshot;
end
$$;

comment on function private.record_balance_snapshot(
  uuid, text, text, date, numeric, text, text, text
) is
  'Core of accounting.record_balance_snapshot.';

-- Keeps a balance as others state it; stated again, the later holds.
create function accounting.record_balance_snapshot(
  p_organization_id uuid,
  p_source_system text,
  p_account_id text,
  p_snapshot_date date,
  p_balance numeric,
  p_source_artifact_id text default null,
  p_correlation_id text default null,
  p_actor text default null
)
returns accounting.balance_snapshots
language sql
volatile
set search_path = pg_catalog, pg_temp
as $$
  select * from private.record_balance_snapshot(
    p_organization_id, p_source_system, p_account_id, p_snapshot_date, p_balance,
    p_source_artifact_id, p_correlation_id, p_actor
  )
$$;

comment on function accounting.record_balance_snapshot(
  uuid, text, text, date, numeric, text, text, text
) is
  'Keeps what others say an account had at the end of a day, US dollars, above 0 debit, rounded '
  'half even to 4 decimals; returns it. Stated again for the day, it is replaced. For owners, '
  'admins, finance and server roles, which may name p_actor. Errors: 22023, 42501, TS404.';

-- The privileged half of accounting.set_obligation.
create function private.set_obligation(
  p_organization_id uuid,
  p_source_system text,
  p_name text,
  p_cadence text,
  p_expected_amount numeric,
  p_next_due_date date,
  p_account_id text,
  p_variability_flag boolean,
  p_metadata jsonb,
  p_entity_id text,
  p_active boolean,
  p_correlation_id text,
  p_actor text
)
returns accounting.obligations
language plpgsql
volatile
security definer -- writes obligations and the event log, which no role may write itself
set search_path = pg_catalog, pg_temp
as $$
declare
  v_started_at constant timestamptz := private.clock_now();
  v_actor private.actor;
  v_entity_id text := p_entity_id;
  v_obligation accounting.obligations;
begin
  perform private.assert_member(p_organization_id, array['owner', 'admin', 'finance']);
  v_actor := private.acting(p_actor);
  perform private.assert_text('p_source_system', p_source_system);
  perform private.assert_text('p_name', p_name);
  perform private.assert_amount('p_expected_amount', p_expected_amount);
  perform private.assert_day('p_next_due_date', p_next_due_date);
  perform private.assert_object('p_metadata', p_metadata);
  if (p_cadence in ('monthly', 'annual', 'custom')) is not true then
    perform private.reject_argument('p_cadence', 'must be monthly, annual or custom');
  elsif p_metadata ? 'interval_days' and (
    jsonb_typeof(p_metadata -> 'interval_days') = 'number'
    and p_metadata ->> 'interval_days' ~ '^[1-9][0-9]{0,3}$'
  ) is not true then
    perform private.reject_argument('p_metadata', 'must have interval_days from 1 to 9999');
  end if;
  if p_account_id is not null then
    v_entity_id := private.entity_of(p_organization_id, p_account_id);
    if p_entity_id <> v_entity_id then
      perform private.reject_argument('p_entity_id', 'must be that of the account');
    end if;
  end if;
  v_entity_id := coalesce(v_entity_id, 'entity-default');
  if not exists (
    select from accounting.entities as e
    where e.organization_id = p_organization_id and e.entity_id = v_entity_id
  ) then
    perform private.raise_error('TS404', jsonb_build_object('entity_id', v_entity_id));
  end if;

  insert into accounting.obligations as o (
    organization_id, entity_id, source_system, name, account_id, cadence, expected_amount,
    variability_flag, next_due_date, due_day, metadata, active
  ) values (
    p_organization_id, v_entity_id, p_source_system, p_name, p_account_id, p_cadence,
    private.round_half_even(p_expected_amount, 4), coalesce(p_variability_flag, false),
    p_next_due_date, extract(day from p_next_due_date), p_metadata, coalesce(p_active, true)
  )
  on conflict (organization_id, source_system, name, account_id)
  do update set
    entity_id = coalesce(p_entity_id, o.entity_id),
    cadence = excluded.cadence,
    expected_amount = excluded.expected_amount,
    variability_flag = excluded.variability_flag,
    next_due_date = excluded.next_due_date,
    due_day = excluded.due_day,
    metadata = excluded.metadata,
    active = excluded.active
  returning * into v_obligation;
  perform private.log_change(
    p_organization_id, 'set_obligation', p_correlation_id,
    to_jsonb(v_obligation) - array['obligation_id', 'created_at', 'updated_at'],
    v_obligation, v_actor, v_started_at
  );
  return v_obligation;
end
$$;

comment on function private.set_obligation(
  uuid, text, text, text, numeric, date, text, boolean, jsonb, text, boolean, text, text
) is
  'Core of accounting.set_obligation.';

-- States an obligation; stated again, it is what was said last, and active again.
create function accounting.set_obligation(
  p_organization_id uuid,
  p_source_system text,
  p_name text,
  p_cadence text,
  p_expected_amount numeric,
  p_next_due_date date,
  p_account_id text default null,
  p_variability_flag boolean default false,
  p_metadata jsonb default '{}',
  p_entity_id text default null,
  p_active boolean default true,
  p_correlation_id text default null,
  p_actor text default null
)
returns accounting.obligations
language sql
volatile
set search_path = pg_catalog, pg_temp
as $$
  select * from private.set_obligation(
    p_organization_id, p_source_system, p_name, p_cadence, p_expected_amount, p_next_due_date,
    p_account_id, p_variability_flag, p_metadata, p_entity_id, p_active, p_correlation_id, p_actor
  )
$$;

comment on function accounting.set_obligation(
  uuid, text, text, text, numeric, date, text, boolean, jsonb, text, boolean, text, text
) is
  'States what will be due, US dollars, or restates it: one per source, name and account. '
  'p_cadence: monthly, annual or custom, which comes again after metadata.interval_days where that '
  'is stated. p_entity_id null: that of the account or, where there is none, the one it has, at '
  'first entity-default. An ended one is active again, unless p_active is false, which ends it. '
  'Returns it. For owners, admins, finance and server roles, which may name p_actor. Errors: '
  '22023, 42501, TS404.';

-- When an obligation is due next, from p_day on. The day of the month is kept over shorter months.
create function private.due_date(p_obligation accounting.obligations, p_day date)
returns date
language plpgsql
immutable
set search_path = pg_catalog, pg_temp
as $$
declare
  v_months constant integer := case p_obligation.cadence when 'annual' then 12 else 1 end;
  v_interval constant integer := (p_obligation.metadata ->> 'interval_days')::integer;
  v_due date := p_obligation.next_due_date;
  v_month date := date_trunc('month', p_obligation.next_due_date::timestamp);
begin
  if p_obligation.cadence = 'custom' then
    return v_due + v_interval * greatest(0, ceil((p_day - v_due)::numeric / v_interval))::integer;
  end if;
  while v_due < p_day
  loop
    v_month := v_month + make_interval(months => v_months);
    v_due := least(
      v_month + p_obligation.due_day - 1, (v_month + interval '1 month' - interval '1 day')::date
    );
  end loop;
  return v_due;
end
$$;

comment on function private.due_date(accounting.obligations, date) is
  'The first day from p_day on that an obligation is due; null for a custom one without interval.';

-- The privileged half of accounting.roll_obligations.
create function private.roll_obligations(
  p_organization_id uuid,
  p_day date,
  p_correlation_id text,
  p_actor text
)
returns setof accounting.obligations
language plpgsql
volatile
security definer -- writes obligations and the event log, which no role may write itself
set search_path = pg_catalog, pg_temp
as $$
declare
  v_started_at constant timestamptz := private.clock_now();
  v_actor private.actor;
  v_obligation accounting.obligations;
  v_rolled accounting.obligations[] := array[]::accounting.obligations[];
begin
  perform private.assert_member(p_organization_id, array['owner', 'admin', 'finance']);
  v_actor := private.acting(p_actor);
  perform private.assert_day('p_day', p_day);
  for v_obligation in
    select *
    from accounting.obligations as o
    where o.organization_id = p_organization_id
      and o.active
      and o.next_due_date < p_day
      and (o.cadence <> 'custom' or o.metadata ? 'interval_days')
    order by o.obligation_id
    for no key update
  loop
    update accounting.obligations as o
    set next_due_date = private.assert_day(
      'next_due_date', private.due_date(v_obligation, p_day)
    )
    where o.organization_id = p_organization_id and o.obligation_id = v_obligation.obligation_id
    returning * into v_obligation;
    v_rolled := v_rolled || v_obligation;
    return next v_obligation;
  end loop;
  perform private.log_change(
    p_organization_id, 'roll_obligations', p_correlation_id, jsonb_build_object('day', p_day),
    v_rolled, v_actor, v_started_at
  );
end
$$;

comment on function private.roll_obligations(uuid, date, text, text) is
  'Core of accounting.roll_obligations.';

-- Moves on what was due before a day. Idempotent: what is due later is left alone.
create function accounting.roll_obligations(
  p_organization_id uuid,
  p_day date,
  p_correlation_id text default null,
  p_actor text default null
)
returns setof accounting.obligations
language sql
volatile
set search_path = pg_catalog, pg_temp
as $$
  select * from private.roll_obligations(p_organization_id, p_day, p_correlation_id, p_actor)
$$;

comment on function accounting.roll_obligations(uuid, date, text, text) is
  'Sets next_due_date of each active obligation that was due before p_day to the first time from '
  'p_day on that it is due again; returns those. The day of the month is kept over shorter months; '
  'a custom one without interval_days stays. For owners, admins, finance and server roles, which '
  'may name p_actor. Errors: 22023, also where one would be due after the year 9999, 42501, '
  'TS404.';
