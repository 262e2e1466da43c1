-- Movements of credits in the books. Each posts a bundle in its own transaction, under the lock of
-- the organization's credits: key, period, carries, in this order.

create type private.flow as (debit_line text, credit_line text, amount_usd numeric);

comment on type private.flow is
  'What moves from one line of the account map to another, US dollars; below 0 the other way.';

-- What billing has to say to the books: every movement of credits, by the grants it touched, and
-- what was owed and waived. The one place where it is decided what is debited and credited.
--
-- Paid and adjusted credits are owed to the organization until they are used: a liability. Promo
-- and trial credits are not; using them up costs what they pay for, and nothing else is booked.
-- What expired has no key, and late usage one of the system's: whatever an operator says, an
-- adjustment by hand is taken for neither.
create view private.billing_flows with (security_invoker = true) as
with moved as (
  select
    l.org_id,
    l.id,
    l.created_at,
    l.reason,
    coalesce(l.run_id, l.draw_id, l.id) as subject_id,
    m.change_usd::numeric as change_usd,
    g.kind in ('purchase', 'adjustment') as is_owed,
    case
      when l.transaction_type = 'credit_purchase' then 'paid'
      when l.transaction_type = 'charge' and l.reason = 'receivable_collected' then 'receivable'
      when l.transaction_type in ('charge', 'refund') then 'revenue'
      when l.transaction_type = 'adjustment' and l.idempotency_key is null then 'breakage'
      when l.transaction_type = 'adjustment' and starts_with(l.idempotency_key, 'tallystick:')
        then 'late_usage'
      when l.transaction_type = 'adjustment' then 'adjusted'
      else 'given'
    end as what
  from billing.billing_ledger as l
  inner join billing.grant_movements as m on l.org_id = m.org_id and l.id = m.billing_ledger_id
  inner join billing.credit_grants as g on m.org_id = g.org_id and m.grant_id = g.id
)

select
  m.org_id as organization_id,
  m.id as source_id,
  'billing:' || m.id::text as external_id,
  m.created_at,
  m.reason::text as reason,
  m.subject_id,
  case
    when m.what = 'paid' then 'cash'
    when m.what = 'adjusted' then 'adjustment'
    when m.is_owed then 'customer_credits'
    else 'promo_expense'
  end as debit_line,
  case when m.what in ('paid', 'adjusted') then 'customer_credits' else m.what end as credit_line,
  case when m.what in ('paid', 'adjusted') then m.change_usd else -m.change_usd end as amount_usd
from moved as m
where m.is_owed or m.what in ('receivable', 'revenue', 'late_usage')
union all
select
  r.org_id as organization_id,
  r.id as source_id,
  'receivable:' || r.id::text as external_id,
  r.created_at,
  r.reason::text as reason,
  coalesce(r.run_id, r.draw_id, r.id) as subject_id,
  'receivable' as debit_line,
  'revenue' as credit_line,
  r.amount_usd::numeric as amount_usd
from billing.receivables as r
union all
select
  r.org_id as organization_id,
  r.id as source_id,
  'receivable:' || r.id::text || ':waived' as external_id,
  t.resolved_at as created_at,
  'receivable_waived' as reason,
  r.run_id as subject_id,
  'receivable' as debit_line,
  'revenue' as credit_line,
  -r.waived_usd::numeric as amount_usd
from billing.receivables as r
left join billing.token_reconciliations as t on r.org_id = t.org_id and r.run_id = t.run_id
where r.waived_usd > 0;

comment on view private.billing_flows is
  'Every movement of credits and receivable, by the lines of the account map it goes to.';

-- Amounts at 4 decimals that come to the sum of all, which is rounded half even: each is rounded
-- by itself, and what is then left goes to those that were rounded furthest the other way.
create function private.split_total(p_amounts numeric[])
returns numeric[]
language plpgsql
immutable
set search_path = pg_catalog, pg_temp
as $$
begin
  return (
    with rounded as (
      select a.amount, a.position, private.round_half_even(a.amount, 4) as whole
      from unnest(p_amounts) with ordinality as a (amount, position)
    ),

    summed as (
      select
        r.*,
        sum(r.whole) over () - private.round_half_even(sum(r.amount) over (), 4) as rest
      from rounded as r
    ),

    ranked as (
      select
        s.*,
        row_number() over (order by (s.amount - s.whole) * sign(s.rest), s.position) as rank
      from summed as s
    )

    select
      array_agg(
        case
          when k.rank <= abs(k.rest) * 10000 then k.whole - sign(k.rest) * 0.0001
          else k.whole
        end
        order by k.position
      )
    from ranked as k
  );
end
$$;

comment on function private.split_total(numeric[]) is
  'Amounts at 4 decimals whose sum is that of p_amounts, rounded half even.';

-- What the books take of flows: with what was carried over, at 4 decimals. The rest is carried on.
--
-- Locks the carries, in the order of their lines.
create function private.round_flows(p_organization_id uuid, p_flows private.flow[])
returns private.flow[]
language plpgsql
volatile
set search_path = pg_catalog, pg_temp
as $$
declare
  v_due private.flow[];
  v_posted numeric[];
begin
  with carried as (
    insert into accounting.rounding_carries as c (
      organization_id, debit_line, credit_line, carry_usd
    )
    select p_organization_id, f.debit_line, f.credit_line, f.amount_usd
    from unnest(p_flows) as f
    order by f.debit_line, f.credit_line
    on conflict (organization_id, entity_id, debit_line, credit_line)
    do update set carry_usd = c.carry_usd + excluded.carry_usd
    returning c.debit_line, c.credit_line, c.carry_usd
  )

  select
    array_agg(
      row(c.debit_line, c.credit_line, c.carry_usd::numeric)::private.flow
      order by c.debit_line, c.credit_line
    )
  into v_due
  from carried as c;

  v_posted := private.split_total(array(select d.amount_usd from unnest(v_due) as d));
  for v_number in 1 .. cardinality(v_due)
  loop
    v_due[v_number].amount_usd := v_posted[v_number];
    if v_posted[v_number] <> 0 then
      update accounting.rounding_carries as c
      set carry_usd = c.carry_usd - v_posted[v_number]
      where c.organization_id = p_organization_id
        and c.entity_id = 'entity-default'
        and c.debit_line = v_due[v_number].debit_line
        and c.credit_line = v_due[v_number].credit_line;
    end if;
  end loop;
  return v_due;
end
$$;

comment on function private.round_flows(uuid, private.flow[]) is
  'Flows as the books take them now, at 4 decimals; what is left is carried over.';

-- The postings of rounded flows, on the accounts their lines have today; null where nothing is
-- left of them.
create function private.legs_of_flows(p_organization_id uuid, p_flows private.flow[])
returns private.leg[]
language plpgsql
volatile
set search_path = pg_catalog, pg_temp
as $$
begin
  if (
    select count(*) from accounting.account_map as m where m.organization_id = p_organization_id
  ) < (select count(*) from private.book_lines()) then
    perform private.open_account_map(p_organization_id);
  end if;
  return (
    select
      array_agg(
        row(m.account_id, s.amount, 'USD', s.line)::private.leg order by s.amount desc, s.line
      )
    from (
      select b.line, sum(b.amount) as amount
      from (
        select f.debit_line as line, f.amount_usd as amount from unnest(p_flows) as f
        union all
        select f.credit_line as line, -f.amount_usd as amount from unnest(p_flows) as f
      ) as b
      group by b.line
    ) as s
    inner join accounting.account_map as m
      on m.organization_id = p_organization_id and m.line = s.line
    where s.amount <> 0
  );
end
$$;

comment on function private.legs_of_flows(uuid, private.flow[]) is
  'Postings of flows, each with its line as memo.';

-- Posts flows, at p_day or, where its month is closed, in the next that is open. Then, and where
-- p_occurred_on is another day, the transaction says which day they belong to.
--
-- Locks: period, carries. What rounds to nothing is only carried over.
create function private.post_flows(
  p_organization_id uuid,
  p_external_id text,
  p_day date,
  p_occurred_on date,
  p_description text,
  p_correlation_id text,
  p_flows private.flow[]
)
returns void
language plpgsql
volatile
set search_path = pg_catalog, pg_temp
as $$
declare
  v_bundle private.bundle;
begin
  v_bundle.source_system := 'tallystick';
  v_bundle.external_id := p_external_id;
  v_bundle.description := p_description;
  v_bundle.correlation_id := p_correlation_id;
  v_bundle.entity_id := 'entity-default';
  v_bundle.is_adjusting_entry := false;
  v_bundle.override_period_lock := false;
  v_bundle.transaction_date := private.posting_date(p_organization_id, 'entity-default', p_day);
  v_bundle.occurred_on := nullif(p_occurred_on, v_bundle.transaction_date);
  v_bundle.legs := private.legs_of_flows(
    p_organization_id, private.round_flows(p_organization_id, p_flows)
  );
  if v_bundle.legs is not null then
    perform private.commit_bundle(p_organization_id, v_bundle);
  end if;
end
$$;

comment on function private.post_flows(uuid, text, date, date, text, text, private.flow[]) is
  'Posts flows as a bundle of the system.';

-- Posts what a movement or receivable has to say to the books, once. Under the lock of the credits.
create function private.post_billing(
  p_organization_id uuid,
  p_source_id uuid,
  p_external_id text
)
returns void
language plpgsql
volatile
set search_path = pg_catalog, pg_temp
set plan_cache_mode = force_generic_plan
set enable_seqscan = off
set jit = off
as $$
declare
  v_said record;
  v_day date;
begin
  select
    array_agg(row(f.debit_line, f.credit_line, f.amount_usd)::private.flow) as flows,
    min(f.created_at) as created_at,
    min(f.reason) as reason,
    min(f.subject) as subject
  into v_said
  from (
    select
      b.debit_line, b.credit_line, sum(b.amount_usd) as amount_usd,
      min(b.created_at) as created_at, min(b.reason) as reason, min(b.subject_id::text) as subject
    from private.billing_flows as b
    where b.organization_id = p_organization_id
      and b.source_id = p_source_id
      and b.external_id = p_external_id
    group by b.debit_line, b.credit_line
  ) as f;
  if v_said.flows is null
    or not private.bind_bundle(p_organization_id, 'tallystick', p_external_id) then
    return;
  end if;
  select private.local_day(coalesce(v_said.created_at, private.clock_now()), o.time_zone)
  into strict v_day
  from tenancy.organizations as o where o.id = p_organization_id;
  perform private.post_flows(
    p_organization_id, p_external_id, v_day, v_day, v_said.reason, v_said.subject, v_said.flows
  );
end
$$;

comment on function private.post_billing(uuid, uuid, text) is
  'Posts a movement of credits, a receivable, or what was waived of one; again: nothing.';

-- Posts what billing did before it was posted at once, each on its own day. Idempotent.
--
-- Locks: the credits of one organization after the other.
create function accounting.post_history(p_organization_id uuid default null)
returns integer
language plpgsql
volatile
security definer -- writes the books, which no role may write itself
set search_path = pg_catalog, pg_temp
as $$
declare
  v_organization_id uuid;
  v_missing record;
  v_count integer := 0;
begin
  if p_organization_id is not null then
    perform private.assert_member(p_organization_id);
  end if;
  for v_organization_id in
    select b.org_id
    from billing.credit_balances as b
    where p_organization_id is null or b.org_id = p_organization_id
    order by b.org_id
  loop
    perform from billing.credit_balances as b where b.org_id = v_organization_id
    for no key update;
    for v_missing in
      select f.source_id, f.external_id
      from private.billing_flows as f
      where f.organization_id = v_organization_id
        and not exists (
          select from private.bundle_keys as k
          where k.organization_id = f.organization_id
            and k.source_system = 'tallystick'
            and k.external_id = f.external_id
        )
      group by f.source_id, f.external_id
      order by min(f.created_at), f.source_id, f.external_id
    loop
      perform private.post_billing(
        v_organization_id, v_missing.source_id, v_missing.external_id
      );
      v_count := v_count + 1;
    end loop;
  end loop;
  return v_count;
end
$$;

comment on function accounting.post_history(uuid) is
  'Posts every movement of credits and receivable, of an organization or of all, that is not in '
  'the books; returns how many. Each is dated by its own day, or by the next month that is open. '
  'What moves today posts itself: this is for what moved before the books were kept. For '
  'operators. Errors: 22023, TS404.';

-- What the books have on each line, and what is still carried.
create function private.kept_lines(p_organization_ids uuid[])
returns table (organization_id uuid, line text, amount numeric)
language plpgsql
stable
set search_path = pg_catalog, pg_temp
as $$
begin
  return query
  select t.organization_id, p.memo, sum(p.amount)
  from accounting.ledger_transactions as t
  inner join accounting.ledger_postings as p
    on p.organization_id = t.organization_id
    and p.entity_id = t.entity_id
    and p.transaction_id = t.transaction_id
  where t.source_system = 'tallystick'
    and (p_organization_ids is null or t.organization_id = any(p_organization_ids))
  group by t.organization_id, p.memo
  union all
  select c.organization_id, v.line, sum(v.amount)
  from accounting.rounding_carries as c
  cross join lateral (
    values (c.debit_line, c.carry_usd), (c.credit_line, -c.carry_usd)
  ) as v (line, amount)
  where p_organization_ids is null or c.organization_id = any(p_organization_ids)
  group by c.organization_id, v.line;
end
$$;

comment on function private.kept_lines(uuid[]) is
  'Each line of the account map in the books, and in what rounding carries.';
