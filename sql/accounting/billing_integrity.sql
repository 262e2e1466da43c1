-- What must hold between billing and the books.

create function private.verify_billing_posts(p_organization_ids uuid[])
returns setof audit.finding
language plpgsql
stable
set search_path = pg_catalog, pg_temp
as $$
begin
  -- Each movement is in its own bundle, but for what rounding may carry: less than 0.0001 before it
  -- and after it, for each two lines. What each line comes to is looked at below, exactly.
  return query
  with said as (
    select f.organization_id, f.external_id, v.line, sum(v.amount) as amount, count(*) as flows
    from private.billing_flows as f
    cross join lateral (
      values (f.debit_line, f.amount_usd), (f.credit_line, -f.amount_usd)
    ) as v (line, amount)
    where p_organization_ids is null or f.organization_id = any(p_organization_ids)
    group by f.organization_id, f.external_id, v.line
  ),

  posted as (
    select t.organization_id, t.external_id, p.memo as line, sum(p.amount) as amount
    from accounting.ledger_transactions as t
    inner join accounting.ledger_postings as p
      on p.organization_id = t.organization_id
      and p.entity_id = t.entity_id
      and p.transaction_id = t.transaction_id
    where t.source_system = 'tallystick'
      and t.external_id not like 'provider-cost:%'
      and (p_organization_ids is null or t.organization_id = any(p_organization_ids))
    group by t.organization_id, t.external_id, p.memo
  )

  select
    'movement_is_in_the_books', organization_id, external_id || ', ' || line,
    private.figure(s.amount), private.figure(b.amount)
  from said as s
  full join posted as b using (organization_id, external_id, line)
  where abs(coalesce(s.amount, 0) - coalesce(b.amount, 0)) >= 0.0002 * coalesce(s.flows, 1);

  -- Books and carries are the ledger, line by line.
  return query
  with said as (
    select f.organization_id, v.line, sum(v.amount) as amount
    from (
      select b.organization_id, b.debit_line, b.credit_line, b.amount_usd
      from private.billing_flows as b
      where p_organization_ids is null or b.organization_id = any(p_organization_ids)
      union all
      select d.organization_id, 'provider_cost', 'accounts_payable', d.cost_usd
      from accounting.provider_cost_days as d
      where p_organization_ids is null or d.organization_id = any(p_organization_ids)
    ) as f
    cross join lateral (
      values (f.debit_line, f.amount_usd), (f.credit_line, -f.amount_usd)
    ) as v (line, amount)
    group by f.organization_id, v.line
  ),

  kept as (
    select k.organization_id, k.line, sum(k.amount) as amount
    from private.kept_lines(p_organization_ids) as k
    group by k.organization_id, k.line
  )

  select
    'books_and_carries_are_the_ledger', organization_id, 'line ' || line,
    private.figure(coalesce(s.amount, 0)), private.figure(coalesce(b.amount, 0))
  from said as s
  full join kept as b using (organization_id, line)
  where coalesce(s.amount, 0) <> coalesce(b.amount, 0);

  -- The same from the rows of billing, by what each line means: revenue is charges less refunds and
  -- what is owed, customer credits are what is left of paid and adjusted grants.
  return query
  with kept as (
    select k.organization_id, k.line, sum(k.amount) as amount
    from private.kept_lines(p_organization_ids) as k
    group by k.organization_id, k.line
  )

  select
    v.check_name, b.org_id, 'line ' || v.line, private.figure(v.expected),
    private.figure(coalesce(k.amount, 0))
  from billing.credit_balances as b
  cross join lateral (
    select
      coalesce(sum(l.amount_usd) filter (where l.transaction_type = 'credit_purchase'), 0) as paid,
      coalesce(sum(l.amount_usd) filter (where l.transaction_type = 'charge'), 0)
      - coalesce(sum(l.amount_usd) filter (where l.transaction_type = 'refund'), 0) as charged
    from billing.billing_ledger as l where l.org_id = b.org_id
  ) as m
  cross join lateral (
    select coalesce(sum(r.outstanding_usd), 0) as owed
    from billing.receivables as r where r.org_id = b.org_id
  ) as r
  cross join lateral (
    select coalesce(sum(g.remaining_usd), 0) as remaining
    from billing.credit_grants as g
    where g.org_id = b.org_id and g.kind in ('purchase', 'adjustment')
  ) as g
  cross join lateral (
    values
    ('cash_is_what_was_paid', 'cash', m.paid),
    ('receivable_is_what_is_owed', 'receivable', r.owed),
    ('customer_credits_are_what_is_left', 'customer_credits', -g.remaining),
    ('revenue_is_charges_less_refunds_and_owed', 'revenue', -(m.charged + r.owed))
  ) as v (check_name, line, expected)
  left join kept as k on k.organization_id = b.org_id and k.line = v.line
  where v.expected <> coalesce(k.amount, 0)
    and (p_organization_ids is null or b.org_id = any(p_organization_ids));

  return query
  select
    'line_has_an_account_of_its_type', m.organization_id, 'line ' || m.line,
    array_to_string(l.account_types, ' or '), a.account_type
  from accounting.account_map as m
  inner join private.book_lines() as l on l.line = m.line
  inner join accounting.accounts as a
    on a.organization_id = m.organization_id
    and a.entity_id = m.entity_id
    and a.account_id = m.account_id
  where a.account_type <> all(l.account_types)
    and (p_organization_ids is null or m.organization_id = any(p_organization_ids));

  return query
  select
    'carry_is_below_what_the_books_show', c.organization_id,
    c.debit_line || ' to ' || c.credit_line, 'below 0.0001', private.figure(c.carry_usd)
  from accounting.rounding_carries as c
  where abs(c.carry_usd) >= 0.0001
    and (p_organization_ids is null or c.organization_id = any(p_organization_ids));

  -- What was posted for a day is its usage, or, where more has landed since, what had landed a day
  -- before it was posted, at least.
  return query
  select
    v.check_name, d.organization_id, 'day ' || to_char(d.day, 'YYYY-MM-DD'),
    private.figure(v.expected), private.figure(v.actual)
  from accounting.provider_cost_days as d
  inner join tenancy.organizations as o on o.id = d.organization_id
  cross join lateral (
    select
      coalesce(sum(l.cost), 0) as usage_usd,
      coalesce(sum(private.provider_cost(l)), 0) as cost_usd,
      coalesce(sum(l.cost) filter (where l.settled_at < d.posted_at - interval '1 day'), 0)
        as landed_usd
    from public.ai_usage_ledger as l
    where l.organization_id = d.organization_id
      and l.id >= private.uuid_v7_floor(d.day::timestamp at time zone o.time_zone)
      and l.id < private.uuid_v7_floor((d.day + 1)::timestamp at time zone o.time_zone)
  ) as u
  cross join lateral (
    values
    (
      'provider_cost_is_of_its_usage',
      case
        when d.usage_usd = u.usage_usd then u.cost_usd else least(d.cost_usd, u.cost_usd)
      end,
      d.cost_usd::numeric
    ),
    (
      'usage_of_a_posted_day_is_posted',
      least(greatest(d.usage_usd, u.landed_usd), u.usage_usd),
      d.usage_usd::numeric
    )
  ) as v (check_name, expected, actual)
  where v.expected <> v.actual
    and (p_organization_ids is null or d.organization_id = any(p_organization_ids));
end
$$;

comment on function private.verify_billing_posts(uuid[]) is
  'Checks between billing, usage and the books, for audit.verify_integrity.';
