-- How credits move. Everything here is done under the lock of the organization's credit balance:
-- lock_credits() first, in every function, after the slots of budgets.

create type private.grant_part as (grant_id uuid, amount_usd numeric);

comment on type private.grant_part is
  'A part of a movement or reservation, and the grant it is of.';

-- Sum of parts.
create function private.sum_of_parts(p_parts private.grant_part[])
returns numeric
language plpgsql
immutable
set search_path = pg_catalog, pg_temp
as $$
begin
  return (select coalesce(sum(p.amount_usd), 0) from unnest(p_parts) as p);
end
$$;

comment on function private.sum_of_parts(private.grant_part[]) is 'US dollars in all parts.';

-- Tells of an available amount that fell below the organization's threshold: once per crossing, as
-- of the end of the transaction, so that what only went through it is no crossing.
create function private.announce_low_balance()
returns trigger
language plpgsql
volatile
security definer -- writes credit balances and the outbox, which no role may write itself
set search_path = pg_catalog, pg_temp
as $$
declare
  v_balance billing.credit_balances;
  v_available numeric;
  v_is_low boolean;
begin
  select * into strict v_balance from billing.credit_balances as b where b.org_id = new.org_id;
  v_available := v_balance.balance_usd - v_balance.reserved_usd;
  v_is_low := coalesce(v_available < v_balance.low_balance_usd, false);
  if v_is_low = v_balance.is_low then
    return null;
  end if;
  update billing.credit_balances as b set is_low = v_is_low where b.org_id = new.org_id;
  if v_is_low then
    perform private.emit_event(
      new.org_id, 'billing.low_balance', new.org_id,
      jsonb_build_object(
        'available_usd', trim_scale(v_available)::text,
        'low_balance_usd', trim_scale(v_balance.low_balance_usd::numeric)::text
      )
    );
  end if;
  return null;
end
$$;

comment on function private.announce_low_balance() is
  'Trigger: sends billing.low_balance when the available amount has fallen below the threshold.';

create constraint trigger credit_balances_announce_low
after update of balance_usd, reserved_usd, low_balance_usd on billing.credit_balances
deferrable initially deferred
for each row execute function private.announce_low_balance();

-- THE SEAM: every movement of credits is made here, and only here, in the transaction of what it
-- follows from: ledger, balance, grants, history and books, or none of them.
--
-- p_movement: the row to be, without id, amount and time. p_parts: of which grants, above 0.
create function private.move_credits(
  p_movement billing.billing_ledger,
  p_parts private.grant_part[]
)
returns billing.billing_ledger
language plpgsql
volatile
set search_path = pg_catalog, pg_temp
as $$
declare
  v_movement billing.billing_ledger := p_movement;
  v_sign constant integer := case p_movement.direction when 'credit' then 1 else -1 end;
  v_balance billing.credit_balances;
begin
  v_movement.amount_usd := private.sum_of_parts(p_parts);
  v_movement.created_by := coalesce(p_movement.created_by, 'system');
  -- Times are those of the order of movements, whatever a clock says.
  v_movement.created_at := greatest(
    private.clock_now(),
    (
      select h.created_at
      from billing.credit_balance_history as h
      where h.org_id = p_movement.org_id
      order by h.movement desc
      limit 1
    )
  );
  v_movement.id := private.uuid_v7(v_movement.created_at);
  v_movement.xact_id := pg_current_xact_id();
  insert into billing.billing_ledger values (v_movement.*);

  update billing.credit_grants as g
  set remaining_usd = g.remaining_usd + v_sign * p.amount_usd
  from unnest(p_parts) as p
  where g.org_id = v_movement.org_id and g.id = p.grant_id;
  insert into billing.grant_movements (org_id, billing_ledger_id, grant_id, change_usd)
  select v_movement.org_id, v_movement.id, p.grant_id, v_sign * p.amount_usd
  from unnest(p_parts) as p;

  update billing.credit_balances as b
  set
    balance_usd = b.balance_usd + v_sign * v_movement.amount_usd,
    movement_count = b.movement_count + 1
  where b.org_id = v_movement.org_id
  returning * into v_balance;
  insert into billing.credit_balance_history (
    org_id, movement, balance_before_usd, balance_after_usd, change_usd, reason,
    billing_ledger_id, created_at
  ) values (
    v_movement.org_id, v_balance.movement_count,
    v_balance.balance_usd - v_sign * v_movement.amount_usd, v_balance.balance_usd,
    v_sign * v_movement.amount_usd, v_movement.reason, v_movement.id, v_movement.created_at
  );
  perform private.post_billing(v_movement.org_id, v_movement.id, 'billing:' || v_movement.id);
  return v_movement;
end
$$;

comment on function private.move_credits(billing.billing_ledger, private.grant_part[]) is
  'Books a movement of credits: the only function that does.';

-- A movement to be.
create function private.draft_movement(
  p_org_id uuid,
  p_type text,
  p_reason text,
  p_key text,
  p_run_id uuid default null,
  p_draw_id uuid default null,
  p_created_by text default 'system'
)
returns billing.billing_ledger
language plpgsql
immutable
set search_path = pg_catalog, pg_temp
as $$
declare
  v_movement billing.billing_ledger;
begin
  v_movement.org_id := p_org_id;
  v_movement.transaction_type := p_type;
  v_movement.direction := case when p_type in ('charge', 'adjustment') then 'debit' else 'credit' end;
  v_movement.reason := p_reason;
  v_movement.idempotency_key := p_key;
  v_movement.run_id := p_run_id;
  v_movement.draw_id := p_draw_id;
  v_movement.created_by := p_created_by;
  return v_movement;
end
$$;

comment on function private.draft_movement(uuid, text, text, text, uuid, uuid, text) is
  'A movement without its amount; an adjustment is a debit.';

-- The free parts of grants, in the order they are used up, until they come to p_amount: those that
-- pay for everything, and with p_model those that pay for that model only. Expired ones have none.
create function private.free_parts(p_org_id uuid, p_amount numeric, p_model text)
returns private.grant_part[]
language plpgsql
stable
set search_path = pg_catalog, pg_temp
as $$
declare
  v_now constant timestamptz := private.clock_now();
begin
  return (
    select
      array_agg(
        row(f.id, least(f.free_usd, p_amount - f.before_usd))::private.grant_part
        order by f.position
      ) filter (where p_amount > f.before_usd)
    from (
      select
        g.id,
        g.remaining_usd - g.reserved_usd as free_usd,
        row_number() over by_use as position,
        coalesce(
          sum(g.remaining_usd - g.reserved_usd) over (by_use rows unbounded preceding)
          - (g.remaining_usd - g.reserved_usd), 0
        ) as before_usd
      from billing.credit_grants as g
      where g.org_id = p_org_id
        and g.remaining_usd > 0
        and g.remaining_usd > g.reserved_usd
        and (g.model is null or g.model = p_model)
        and (g.expires_at > v_now) is not false
      window by_use as (order by g.priority, g.expires_at, g.id)
    ) as f
  );
end
$$;

comment on function private.free_parts(uuid, numeric, text) is
  'Parts of grants that are not reserved, in the order they are used up, up to p_amount.';

-- Takes back what is left of expired grants and not reserved.
create function private.expire_grants(p_org_id uuid)
returns void
language plpgsql
volatile
set search_path = pg_catalog, pg_temp
as $$
declare
  v_grant record;
begin
  for v_grant in
    select g.id, g.remaining_usd - g.reserved_usd as free_usd
    from billing.credit_grants as g
    where g.org_id = p_org_id
      and g.remaining_usd > 0
      and g.remaining_usd > g.reserved_usd
      and g.expires_at <= private.clock_now()
    order by g.id
  loop
    perform private.move_credits(
      private.draft_movement(p_org_id, 'adjustment', 'credit_expired', null),
      array[row(v_grant.id, v_grant.free_usd)::private.grant_part]
    );
  end loop;
end
$$;

comment on function private.expire_grants(uuid) is
  'Books what is left of expired grants and not reserved as credit_expired.';

-- Locks the credits of an organization and takes expired ones out of them first. Its org_id is null
-- where the organization does not pay in advance.
create function private.lock_credits(p_org_id uuid)
returns billing.credit_balances
language plpgsql
volatile
set search_path = pg_catalog, pg_temp
as $$
declare
  v_balance billing.credit_balances;
begin
  select * into v_balance
  from billing.credit_balances as b where b.org_id = p_org_id
  for no key update;
  if v_balance.org_id is not null then
    perform private.expire_grants(p_org_id);
  end if;
  return v_balance;
end
$$;

comment on function private.lock_credits(uuid) is
  'Locks the credit balance of an organization: nothing moves but by the caller.';

-- What may be reserved for everything. Locks nothing.
create function private.available_credits(p_org_id uuid)
returns numeric
language plpgsql
stable
set search_path = pg_catalog, pg_temp
as $$
begin
  return (
    select coalesce(sum(g.remaining_usd - g.reserved_usd), 0)
    from billing.credit_grants as g
    where g.org_id = p_org_id
      and g.remaining_usd > 0
      and g.model is null
      and (g.expires_at > private.clock_now()) is not false
  );
end
$$;

comment on function private.available_credits(uuid) is
  'US dollars of credits that are neither reserved, expired nor bound to a model.';

-- Changes what is reserved for a run or draw by parts of grants.
create function private.shift_reservation(
  p_org_id uuid,
  p_subject_id uuid,
  p_parts private.grant_part[],
  p_sign integer
)
returns void
language plpgsql
volatile
set search_path = pg_catalog, pg_temp
as $$
begin
  if p_sign > 0 then
    insert into billing.credit_reservations as r (org_id, subject_id, grant_id, amount_usd)
    select p_org_id, p_subject_id, p.grant_id, p.amount_usd from unnest(p_parts) as p
    on conflict (org_id, subject_id, grant_id)
    do update set amount_usd = r.amount_usd + excluded.amount_usd;
  else
    delete from billing.credit_reservations as r
    using unnest(p_parts) as p
    where r.org_id = p_org_id
      and r.subject_id = p_subject_id
      and r.grant_id = p.grant_id
      and r.amount_usd = p.amount_usd;
    update billing.credit_reservations as r
    set amount_usd = r.amount_usd - p.amount_usd
    from unnest(p_parts) as p
    where r.org_id = p_org_id and r.subject_id = p_subject_id and r.grant_id = p.grant_id;
  end if;
  update billing.credit_grants as g
  set reserved_usd = g.reserved_usd + p_sign * p.amount_usd
  from unnest(p_parts) as p
  where g.org_id = p_org_id and g.id = p.grant_id;
  update billing.credit_balances as b
  set reserved_usd = b.reserved_usd + p_sign * private.sum_of_parts(p_parts)
  where b.org_id = p_org_id;
end
$$;

comment on function private.shift_reservation(uuid, uuid, private.grant_part[], integer) is
  'Reserves parts of grants for a run or draw (p_sign 1), or lets go of them (-1).';

-- What a run or draw has reserved, in the order it is used up or, p_last_first, given back, until
-- it comes to p_amount.
create function private.reserved_parts(
  p_org_id uuid,
  p_subject_id uuid,
  p_amount numeric,
  p_last_first boolean
)
returns private.grant_part[]
language plpgsql
stable
set search_path = pg_catalog, pg_temp
as $$
begin
  return (
    select
      array_agg(
        row(f.grant_id, least(f.amount_usd, p_amount - f.before_usd))::private.grant_part
        order by f.position
      ) filter (where p_amount > f.before_usd)
    from (
      select
        o.grant_id,
        o.amount_usd,
        o.position,
        sum(o.amount_usd) over (order by o.position) - o.amount_usd as before_usd
      from (
        select
          r.grant_id,
          r.amount_usd,
          row_number() over (order by g.priority, g.expires_at, g.id)
          * case when p_last_first then -1 else 1 end as position
        from billing.credit_reservations as r
        inner join billing.credit_grants as g on g.org_id = r.org_id and g.id = r.grant_id
        where r.org_id = p_org_id and r.subject_id = p_subject_id
      ) as o
    ) as f
  );
end
$$;

comment on function private.reserved_parts(uuid, uuid, numeric, boolean) is
  'Parts of grants that a run or draw has reserved, up to p_amount.';

-- Reserves p_amount for a draw, or what there is of it; returns how much.
create function private.reserve_credits(p_org_id uuid, p_draw_id uuid, p_amount numeric)
returns numeric
language plpgsql
volatile
set search_path = pg_catalog, pg_temp
as $$
declare
  v_parts constant private.grant_part[] := private.free_parts(p_org_id, p_amount, null);
begin
  if v_parts is not null then
    perform private.shift_reservation(p_org_id, p_draw_id, v_parts, 1);
  end if;
  return private.sum_of_parts(v_parts);
end
$$;

comment on function private.reserve_credits(uuid, uuid, numeric) is
  'Reserves credits for a draw, as far as there are any, US dollars.';

-- Lets go of p_amount of what a run or draw has reserved; what expired meanwhile goes.
create function private.unreserve_credits(p_org_id uuid, p_subject_id uuid, p_amount numeric)
returns void
language plpgsql
volatile
set search_path = pg_catalog, pg_temp
as $$
begin
  if p_amount > 0 then
    perform private.shift_reservation(
      p_org_id, p_subject_id,
      private.reserved_parts(p_org_id, p_subject_id, p_amount, true), -1
    );
    perform private.expire_grants(p_org_id);
  end if;
end
$$;

comment on function private.unreserve_credits(uuid, uuid, numeric) is
  'Gives back what a run or draw has reserved.';

-- Charges p_amount of what a run or draw has reserved.
create function private.charge_reserved(
  p_movement billing.billing_ledger,
  p_subject_id uuid,
  p_amount numeric
)
returns void
language plpgsql
volatile
set search_path = pg_catalog, pg_temp
as $$
declare
  v_parts constant private.grant_part[] := private.reserved_parts(
    p_movement.org_id, p_subject_id, p_amount, false
  );
begin
  if p_amount > 0 then
    perform private.shift_reservation(p_movement.org_id, p_subject_id, v_parts, -1);
    perform private.move_credits(p_movement, v_parts);
  end if;
end
$$;

comment on function private.charge_reserved(billing.billing_ledger, uuid, numeric) is
  'Charges what a run or draw has reserved.';

-- Charges p_amount of what is available; what credits do not cover is a receivable.
create function private.charge_available(
  p_movement billing.billing_ledger,
  p_amount numeric,
  p_model text
)
returns void
language plpgsql
volatile
set search_path = pg_catalog, pg_temp
as $$
declare
  v_parts private.grant_part[];
  v_covered numeric;
  v_number bigint;
  v_receivable_id uuid;
begin
  if p_amount <= 0 then
    return;
  end if;
  v_parts := private.free_parts(p_movement.org_id, p_amount, p_model);
  v_covered := private.sum_of_parts(v_parts);
  if v_covered > 0 then
    perform private.move_credits(p_movement, v_parts);
  end if;
  if v_covered < p_amount then
    -- Updated, not only locked: a purchase with an older snapshot fails with 40001 instead of
    -- overlooking what is owed.
    update billing.credit_balances as b
    set receivable_count = b.receivable_count + 1
    where b.org_id = p_movement.org_id
    returning b.receivable_count into v_number;
    insert into billing.receivables (
      org_id, number, amount_usd, outstanding_usd, run_id, draw_id, reason, created_at
    ) values (
      p_movement.org_id, v_number, p_amount - v_covered, p_amount - v_covered, p_movement.run_id,
      p_movement.draw_id, p_movement.reason, private.clock_now()
    )
    returning id into v_receivable_id;
    perform private.post_billing(
      p_movement.org_id, v_receivable_id, 'receivable:' || v_receivable_id
    );
  end if;
end
$$;

comment on function private.charge_available(billing.billing_ledger, numeric, text) is
  'Charges what is available, and books the rest as a receivable.';

-- What was charged for a run and not refunded yet, by grant, in the order it is given back: what
-- was used up last comes first. Until it comes to p_amount.
create function private.charged_parts(p_org_id uuid, p_run_id uuid, p_amount numeric)
returns private.grant_part[]
language plpgsql
stable
set search_path = pg_catalog, pg_temp
as $$
begin
  return (
    select
      array_agg(
        row(f.grant_id, least(f.charged_usd, p_amount - f.before_usd))::private.grant_part
        order by f.position
      ) filter (where p_amount > f.before_usd)
    from (
      select
        c.grant_id,
        c.charged_usd,
        c.position,
        sum(c.charged_usd) over (order by c.position) - c.charged_usd as before_usd
      from (
        select
          m.grant_id,
          - sum(m.change_usd) as charged_usd,
          - row_number() over (order by g.priority, g.expires_at, g.id) as position
        from billing.billing_ledger as l
        inner join billing.grant_movements as m
          on m.org_id = l.org_id and m.billing_ledger_id = l.id
        inner join billing.credit_grants as g on g.org_id = m.org_id and g.id = m.grant_id
        where l.org_id = p_org_id and l.run_id = p_run_id
        group by m.grant_id, g.org_id, g.id
        having sum(m.change_usd) < 0
      ) as c
    ) as f
  );
end
$$;

comment on function private.charged_parts(uuid, uuid, numeric) is
  'Parts of grants that a run was charged and did not get back, up to p_amount.';

-- Refunds p_amount of what a run was charged, to the grants it came from.
create function private.refund_charges(p_movement billing.billing_ledger, p_amount numeric)
returns void
language plpgsql
volatile
set search_path = pg_catalog, pg_temp
as $$
begin
  if p_amount > 0 then
    perform private.move_credits(
      p_movement, private.charged_parts(p_movement.org_id, p_movement.run_id, p_amount)
    );
    perform private.expire_grants(p_movement.org_id);
  end if;
end
$$;

comment on function private.refund_charges(billing.billing_ledger, numeric) is
  'Refunds what a run was charged to the grants it came from.';

-- Movement and reason follow the documents: each charge, refund and adjustment leaves an event.
create function billing.audit_log_insert()
returns trigger
language plpgsql
volatile
security definer -- writes the event log, which no role may write itself
set search_path = pg_catalog, pg_temp
as $$
declare
  v_row constant jsonb := to_jsonb(new) - 'xact_id'
    || jsonb_build_object(
      'amount_usd', trim_scale(new.amount_usd::numeric)::text,
      'created_at', to_char(new.created_at at time zone 'UTC', 'YYYY-MM-DD"T"HH24:MI:SS.US"Z"')
    );
  v_user_id constant uuid := auth.uid();
begin
  insert into audit.event_log (
    organization_id, tool_name, correlation_id, input_hash, output_hash, event_timestamp, status,
    actor_id, authn_method, authorization_result
  ) values (
    new.org_id,
    'billing.' || new.transaction_type,
    coalesce(new.run_id, new.draw_id, new.id)::text,
    private.content_hash(private.canonical_text(v_row - array['id', 'created_at'])),
    private.content_hash(private.canonical_text(v_row)),
    new.created_at,
    'ok',
    coalesce('user:' || v_user_id::text, new.created_by),
    case when v_user_id is null then 'asserted' else 'jwt' end,
    'allowed'
  );
  return null;
end
$$;

comment on function billing.audit_log_insert() is
  'Trigger: every row of billing_ledger leaves an event in audit.event_log (billing_system, part '
  '5).';

create trigger audit_billing_ledger_insert after insert on billing.billing_ledger
for each row execute function billing.audit_log_insert();
