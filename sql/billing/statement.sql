-- A month of an organization on one page.

-- Opening balance, movements, usage by model, closing balance, as of one moment. The month is the
-- organization's. Locks nothing.
create function billing.get_statement(p_org_id uuid, p_month date)
returns jsonb
language plpgsql
stable
set search_path = pg_catalog, pg_temp
as $$
declare
  v_organization tenancy.organizations;
  v_start timestamptz;
  v_end timestamptz;
  v_first date;
  v_opening numeric;
begin
  perform private.assert_member(private.assert_id('p_org_id', p_org_id));
  if (p_month between '2000-01-01' and '9999-11-30') is not true then
    perform private.reject_argument('p_month', 'must be from 2000-01 to 9999-11');
  end if;
  select * into v_organization from tenancy.organizations as o where o.id = p_org_id;
  v_first := date_trunc('month', p_month)::date;
  v_start := v_first::timestamp at time zone v_organization.time_zone;
  v_end := (v_first + interval '1 month') at time zone v_organization.time_zone;
  v_opening := coalesce(
    (
      select h.balance_after_usd
      from billing.credit_balance_history as h
      where h.org_id = p_org_id and h.created_at < v_start
      order by h.movement desc
      limit 1
    ), 0
  );
  return jsonb_build_object(
    'org_id', p_org_id,
    'organization', v_organization.name,
    'time_zone', v_organization.time_zone,
    'month', to_char(v_first, 'YYYY-MM'),
    'opening_balance_usd', trim_scale(v_opening)::text,
    'closing_balance_usd', trim_scale(
      v_opening + (
        select coalesce(sum(h.change_usd), 0)
        from billing.credit_balance_history as h
        where h.org_id = p_org_id and h.created_at >= v_start and h.created_at < v_end
      )
    )::text,
    'movements', (
      select
        coalesce(
          jsonb_agg(
            jsonb_build_object(
              'id', l.id,
              'created_at', l.created_at,
              'transaction_type', l.transaction_type,
              'direction', l.direction,
              'amount_usd', trim_scale(l.amount_usd::numeric)::text,
              'reason', l.reason,
              'run_id', l.run_id,
              'draw_id', l.draw_id,
              'balance_after_usd', trim_scale(h.balance_after_usd::numeric)::text
            )
            order by h.movement
          ), '[]'
        )
      from billing.billing_ledger as l
      inner join billing.credit_balance_history as h
        on h.org_id = l.org_id and h.billing_ledger_id = l.id
      where l.org_id = p_org_id and l.created_at >= v_start and l.created_at < v_end
    ),
    'usage_by_model', (
      select
        coalesce(
          jsonb_agg(
            jsonb_build_object(
              'model', u.model,
              'requests', u.requests,
              'prompt_tokens', u.prompt_tokens,
              'completion_tokens', u.completion_tokens,
              'cost_usd', trim_scale(u.cost)::text
            )
            order by u.cost desc, u.model
          ), '[]'
        )
      from (
        select
          r.model,
          sum(r.requests) as requests,
          sum(r.prompt_tokens) as prompt_tokens,
          sum(r.completion_tokens) as completion_tokens,
          sum(r.cost) as cost
        from metering.usage_rollups as r
        where r.organization_id = p_org_id
          and r.scope = 'organization'
          and r.day >= v_first
          and r.day < v_first + interval '1 month'
        group by r.model
      ) as u
    ),
    'usage_by_day', (
      select
        coalesce(
          jsonb_agg(
            jsonb_build_object('day', u.day, 'cost_usd', trim_scale(u.cost)::text) order by u.day
          ), '[]'
        )
      from (
        select r.day, sum(r.cost) as cost
        from metering.usage_rollups as r
        where r.organization_id = p_org_id
          and r.scope = 'organization'
          and r.day >= v_first
          and r.day < v_first + interval '1 month'
        group by r.day
      ) as u
    ),
    'receivables_usd', (
      select trim_scale(coalesce(sum(x.outstanding_usd), 0))::text
      from billing.receivables as x where x.org_id = p_org_id
    )
  );
end
$$;

comment on function billing.get_statement(uuid, date) is
  'The month that p_month is in, in the organization''s time zone: opening_balance_usd, movements '
  'in their order, usage_by_model and usage_by_day, closing_balance_usd, and receivables_usd, what '
  'is owed now; amounts as decimal text. Opening balance and movements add up to the closing '
  'balance. For members and server roles. Errors: 22023, 42501, TS404.';
