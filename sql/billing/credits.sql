-- Money in: purchases, promotions, trials, adjustments; and what expires.

-- An organization's first credits: from now on it pays in advance.
--
-- A change of its budgets: calls that have read them before, but taken nothing, read them anew.
-- Locks: the organization's own slots.
create function private.open_credits(p_org_id uuid)
returns void
language plpgsql
volatile
set search_path = pg_catalog, pg_temp
as $$
begin
  if exists (select from billing.credit_balances as b where b.org_id = p_org_id) then
    return;
  end if;
  perform private.begin_change(p_org_id);
  insert into billing.credit_balances (org_id) values (p_org_id) on conflict (org_id) do nothing;
  -- What was held or recorded before is not paid by a draw: not even in the same millisecond.
  update metering.budgets as b
  set
    prepaid_since = greatest(
      date_trunc('milliseconds', private.clock_now()),
      (
        select max(l.created_at) from public.ai_usage_ledger as l
        where l.organization_id = p_org_id
      ) + interval '1 millisecond',
      (
        select max(h.created_at) from metering.holds as h where h.organization_id = p_org_id
      ) + interval '1 millisecond'
    )
  where b.organization_id = p_org_id and b.id = p_org_id and b.prepaid_since is null;
end
$$;

comment on function private.open_credits(uuid) is
  'Lets an organization pay in advance from now on. Does nothing where it does.';

-- An amount that moves: above 0.
create function private.assert_movement(p_argument text, p_amount numeric)
returns numeric
language plpgsql
stable
set search_path = pg_catalog, pg_temp
as $$
begin
  if private.assert_money(p_argument, p_amount) = 0 then
    perform private.reject_argument(p_argument, 'must be above 0');
  end if;
  return p_amount;
end
$$;

comment on function private.assert_movement(text, numeric) is
  'Refuses anything but an amount above 0. Errors: 22023.';

-- The caller's name for a movement. Those that follow from something here have names of their own.
create function private.assert_key(p_argument text, p_key text)
returns text
language plpgsql
stable
set search_path = pg_catalog, pg_temp
as $$
begin
  if starts_with(private.assert_text(p_argument, p_key), 'tallystick:') then
    perform private.reject_argument(p_argument, 'must not begin with tallystick:');
  end if;
  return p_key;
end
$$;

comment on function private.assert_key(text, text) is
  'Refuses what cannot name a movement. Errors: 22023.';

-- The movement that a key names, if it was made before with the same content; null where there is
-- none. Under the lock of the credits.
create function private.find_movement(
  p_movement billing.billing_ledger,
  p_amount numeric,
  p_grant billing.credit_grants default null
)
returns billing.billing_ledger
language plpgsql
stable
set search_path = pg_catalog, pg_temp
as $$
declare
  v_made billing.billing_ledger;
begin
  select * into v_made
  from billing.billing_ledger as l
  where l.org_id = p_movement.org_id and l.idempotency_key = p_movement.idempotency_key;
  if v_made.id is not null and (
    (
      v_made.transaction_type, v_made.direction, v_made.amount_usd, v_made.reason
    ) is distinct from (
      p_movement.transaction_type, p_movement.direction, p_amount, p_movement.reason
    )
    or p_grant.kind is not null and not exists (
      select from billing.grant_movements as m
      inner join billing.credit_grants as g on g.org_id = m.org_id and g.id = m.grant_id
      where m.org_id = v_made.org_id
        and m.billing_ledger_id = v_made.id
        and (g.priority, g.model, g.expires_at)
        is not distinct from (p_grant.priority, p_grant.model, p_grant.expires_at)
    )
  ) then
    perform private.raise_error(
      'TS409', jsonb_build_object('idempotency_key', p_movement.idempotency_key)
    );
  end if;
  return v_made;
end
$$;

comment on function private.find_movement(
  billing.billing_ledger, numeric, billing.credit_grants
) is
  'The movement with this key. Errors: TS409 for one with other content.';

-- Puts credits into a grant of their own.
create function private.add_credits(
  p_movement billing.billing_ledger,
  p_amount numeric,
  p_grant billing.credit_grants
)
returns billing.billing_ledger
language plpgsql
volatile
set search_path = pg_catalog, pg_temp
as $$
declare
  v_now constant timestamptz := private.clock_now();
  v_grant_id constant uuid := private.uuid_v7(v_now);
begin
  if p_grant.expires_at <= v_now then
    perform private.reject_argument('p_expires_at', 'must be in the future');
  end if;
  insert into billing.credit_grants (
    org_id, id, kind, amount_usd, remaining_usd, priority, model, expires_at, created_at
  ) values (
    p_movement.org_id, v_grant_id, p_grant.kind, p_amount, 0, p_grant.priority, p_grant.model,
    p_grant.expires_at, v_now
  );
  return private.move_credits(
    p_movement, array[row(v_grant_id, p_amount)::private.grant_part]
  );
end
$$;

comment on function private.add_credits(
  billing.billing_ledger, numeric, billing.credit_grants
) is
  'Books credits into a new grant. Errors: 22023 for one that is over already.';

-- A grant to be: in which order it is used up, what for, and how long.
create function private.draft_grant(
  p_kind text,
  p_priority integer,
  p_model text,
  p_expires_at timestamptz
)
returns billing.credit_grants
language plpgsql
immutable
set search_path = pg_catalog, pg_temp
as $$
declare
  v_grant billing.credit_grants;
begin
  v_grant.kind := p_kind;
  v_grant.priority := p_priority;
  v_grant.model := p_model;
  v_grant.expires_at := p_expires_at;
  return v_grant;
end
$$;

comment on function private.draft_grant(text, integer, text, timestamptz) is
  'A grant without its amount.';

-- Pays what is owed, the oldest first, from what is available.
create function private.collect_receivables(p_org_id uuid, p_purchase_id uuid)
returns void
language plpgsql
volatile
set search_path = pg_catalog, pg_temp
as $$
declare
  v_receivable billing.receivables;
  v_parts private.grant_part[];
begin
  for v_receivable in
    select * from billing.receivables as r
    where r.org_id = p_org_id and r.outstanding_usd > 0
    order by r.number
    for update
  loop
    v_parts := private.free_parts(p_org_id, v_receivable.outstanding_usd, null);
    exit when v_parts is null;
    update billing.receivables as r
    set outstanding_usd = r.outstanding_usd - private.sum_of_parts(v_parts)
    where r.org_id = p_org_id and r.id = v_receivable.id;
    perform private.move_credits(
      private.draft_movement(
        p_org_id, 'charge', 'receivable_collected',
        'tallystick:receivable:' || v_receivable.id || ':' || p_purchase_id,
        v_receivable.run_id, v_receivable.draw_id
      ),
      v_parts
    );
  end loop;
end
$$;

comment on function private.collect_receivables(uuid, uuid) is
  'Charges what an organization owes, as far as credits are available.';

-- Buys credits. Idempotent by p_idempotency_key.
--
-- Locks: the credits; on the first ones of an organization its own slots before.
create function billing.purchase_credits(
  p_org_id uuid,
  p_amount_usd numeric,
  p_idempotency_key text,
  p_expires_at timestamptz default null,
  p_created_by text default 'user'
)
returns billing.billing_ledger
language plpgsql
volatile
security definer -- moves credits, which no role may write itself
set search_path = pg_catalog, pg_temp
as $$
declare
  v_amount constant numeric := private.assert_movement('p_amount_usd', p_amount_usd);
  v_draft constant billing.billing_ledger := private.draft_movement(
    p_org_id, 'credit_purchase', 'credit_purchase',
    private.assert_key('p_idempotency_key', p_idempotency_key),
    p_created_by => private.assert_text('p_created_by', p_created_by)
  );
  v_grant constant billing.credit_grants := private.draft_grant(
    'purchase', 30, null, p_expires_at
  );
  v_movement billing.billing_ledger;
begin
  perform private.assert_member(private.assert_id('p_org_id', p_org_id));
  perform private.open_credits(p_org_id);
  perform private.lock_credits(p_org_id);
  v_movement := private.find_movement(v_draft, v_amount, v_grant);
  if v_movement.id is null then
    v_movement := private.add_credits(v_draft, v_amount, v_grant);
    perform private.collect_receivables(p_org_id, v_movement.id);
  end if;
  return v_movement;
end
$$;

comment on function billing.purchase_credits(uuid, numeric, text, timestamptz, text) is
  'Books credits that an organization has paid, US dollars, and returns the movement; then what it '
  'owes is collected, oldest first. Its first credits make the organization pay in advance. '
  'p_idempotency_key names the payment: again, it is the same movement. For operators. Errors: '
  '22023, TS404, TS409.';

-- Gives credits away. Idempotent by p_idempotency_key.
create function billing.grant_credits(
  p_org_id uuid,
  p_kind text,
  p_amount_usd numeric,
  p_idempotency_key text,
  p_expires_at timestamptz default null,
  p_priority integer default null,
  p_model text default null,
  p_created_by text default 'system'
)
returns billing.billing_ledger
language plpgsql
volatile
security definer -- moves credits, which no role may write itself
set search_path = pg_catalog, pg_temp
as $$
declare
  v_amount constant numeric := private.assert_movement('p_amount_usd', p_amount_usd);
  v_draft billing.billing_ledger;
  v_grant billing.credit_grants;
  v_movement billing.billing_ledger;
  v_model text := p_model;
begin
  if (p_kind in ('promo', 'trial')) is not true then
    perform private.reject_argument('p_kind', 'must be promo or trial');
  elsif p_priority not between 0 and 1000 then
    perform private.reject_argument('p_priority', 'must be from 0 to 1000');
  end if;
  if p_model is not null then
    perform private.assert_text('p_model', p_model);
    v_model := coalesce((private.find_model(null, p_model)).model, p_model);
  end if;
  v_draft := private.draft_movement(
    p_org_id, p_kind,
    case p_kind when 'promo' then 'promo_code_applied' else 'trial_credit_granted' end,
    private.assert_key('p_idempotency_key', p_idempotency_key),
    p_created_by => private.assert_text('p_created_by', p_created_by)
  );
  perform private.assert_member(private.assert_id('p_org_id', p_org_id));
  perform private.open_credits(p_org_id);
  perform private.lock_credits(p_org_id);
  v_grant := private.draft_grant(
    p_kind, coalesce(p_priority, case p_kind when 'trial' then 10 else 20 end), v_model,
    p_expires_at
  );
  v_movement := private.find_movement(v_draft, v_amount, v_grant);
  if v_movement.id is null then
    v_movement := private.add_credits(v_draft, v_amount, v_grant);
  end if;
  return v_movement;
end
$$;

comment on function billing.grant_credits(
  uuid, text, numeric, text, timestamptz, integer, text, text
) is
  'Gives an organization credits, US dollars: promo or trial; returns the movement. They are used '
  'up by p_priority (0 to 1000, lowest first; trial 10, promo 20, purchases 30), then by expiry, '
  'then by age. p_model: they pay for runs of that model alone. For operators. Errors: 22023, '
  'TS404, TS409.';

-- Corrects credits by hand, in either direction. Idempotent by p_idempotency_key.
create function billing.adjust_credits(
  p_org_id uuid,
  p_amount_usd numeric,
  p_reason text,
  p_idempotency_key text,
  p_created_by text default 'support'
)
returns billing.billing_ledger
language plpgsql
volatile
security definer -- moves credits, which no role may write itself
set search_path = pg_catalog, pg_temp
as $$
declare
  v_amount constant numeric := private.assert_movement('p_amount_usd', abs(p_amount_usd));
  v_draft billing.billing_ledger := private.draft_movement(
    p_org_id, 'adjustment', private.assert_text('p_reason', p_reason),
    private.assert_key('p_idempotency_key', p_idempotency_key),
    p_created_by => private.assert_text('p_created_by', p_created_by)
  );
  v_movement billing.billing_ledger;
  v_parts private.grant_part[];
begin
  v_draft.direction := case when p_amount_usd > 0 then 'credit' else 'debit' end;
  perform private.assert_member(private.assert_id('p_org_id', p_org_id));
  perform private.open_credits(p_org_id);
  perform private.lock_credits(p_org_id);
  v_movement := private.find_movement(v_draft, v_amount);
  if v_movement.id is not null then
    return v_movement;
  elsif p_amount_usd > 0 then
    return private.add_credits(
      v_draft, v_amount, private.draft_grant('adjustment', 30, null, null)
    );
  end if;
  v_parts := private.free_parts(p_org_id, v_amount, null);
  if private.sum_of_parts(v_parts) < v_amount then
    perform private.raise_error(
      'TS402', private.credit_facts(p_org_id, v_amount, private.sum_of_parts(v_parts))
    );
  end if;
  return private.move_credits(v_draft, v_parts);
end
$$;

comment on function billing.adjust_credits(uuid, numeric, text, text, text) is
  'Adds to credits (above 0) or takes from what is available (below 0), US dollars, for the stated '
  'reason; returns the movement. For operators. Errors: 22023, TS402 where less is available, '
  'TS404, TS409.';

-- The facts of a refusal for want of credits.
create function private.credit_facts(p_org_id uuid, p_needed numeric, p_available numeric)
returns jsonb
language plpgsql
immutable
set search_path = pg_catalog, pg_temp
as $$
begin
  return jsonb_build_object(
    'org_id', p_org_id,
    'needed_usd', trim_scale(p_needed)::text,
    'available_usd', trim_scale(p_available)::text
  );
end
$$;

comment on function private.credit_facts(uuid, numeric, numeric) is 'DETAIL of a TS402 of credits.';

-- Takes back expired credits. Housekeeping: nobody can spend them meanwhile.
create function billing.expire_credits(p_org_id uuid default null, p_limit integer default 1000)
returns integer
language plpgsql
volatile
security definer -- moves credits, which no role may write itself
set search_path = pg_catalog, pg_temp
set lock_timeout = '20ms' -- longer than a commit takes, shorter than a transaction left open
as $$
declare
  v_org_id uuid;
  v_count integer := 0;
begin
  for v_org_id in
    select distinct g.org_id
    from billing.credit_grants as g
    where g.remaining_usd > 0
      and g.remaining_usd > g.reserved_usd
      and g.expires_at <= private.clock_now()
      and (p_org_id is null or g.org_id = p_org_id)
    order by g.org_id
    limit p_limit
  loop
    -- One tenant is not held up because of another: who keeps it waiting is left for the next time.
    begin
      perform private.lock_credits(v_org_id);
      v_count := v_count + 1;
    exception
      when lock_not_available then null;
    end;
  end loop;
  return v_count;
end
$$;

comment on function billing.expire_credits(uuid, integer) is
  'Books what is left of expired grants and not reserved as credit_expired; returns of how many '
  'organizations, at most p_limit. For operators.';

-- The privileged half of billing.set_low_balance.
create function private.set_low_balance(p_org_id uuid, p_low_balance_usd numeric)
returns billing.credit_balances
language plpgsql
volatile
security definer -- writes credit balances, which no role may write itself
set search_path = pg_catalog, pg_temp
as $$
declare
  v_balance billing.credit_balances;
begin
  perform private.assert_member(private.assert_id('p_org_id', p_org_id), array['owner', 'admin', 'finance']);
  if p_low_balance_usd is not null then
    perform private.assert_money('p_low_balance_usd', p_low_balance_usd);
  end if;
  update billing.credit_balances as b
  set low_balance_usd = p_low_balance_usd
  where b.org_id = p_org_id
  returning * into v_balance;
  if v_balance.org_id is null then
    perform private.raise_error('TS404', jsonb_build_object('org_id', p_org_id));
  end if;
  return v_balance;
end
$$;

comment on function private.set_low_balance(uuid, numeric) is 'Core of billing.set_low_balance.';

-- Below which amount to be warned.
create function billing.set_low_balance(p_org_id uuid, p_low_balance_usd numeric)
returns billing.credit_balances
language plpgsql
volatile
set search_path = pg_catalog, pg_temp
as $$
begin
  return private.set_low_balance(p_org_id, p_low_balance_usd);
end
$$;

comment on function billing.set_low_balance(uuid, numeric) is
  'Below which available amount, US dollars, an event billing.low_balance is put into the outbox, '
  'once each time it falls below; null for none. For owners, admins, finance and operators. '
  'Errors: 22023, 42501, TS404 for an organization without credits.';
