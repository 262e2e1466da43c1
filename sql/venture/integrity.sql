-- Ventures: every real row is its usage, no simulation is one, and shares are cut from the limits.
create function private.verify_ventures(p_organization_ids uuid[], p_since xid8)
returns setof audit.finding
language plpgsql
stable
set search_path = pg_catalog, pg_temp
as $$
begin
  return query
  select
    'venture_tokens_add_up', v.organization_id, 'row ' || v.id::text,
    (v.tokens_input::bigint + v.tokens_output)::text, coalesce(v.tokens_total::text, 'nothing')
  from public.venture_token_ledger as v
  where (p_organization_ids is null or v.organization_id = any(p_organization_ids))
    and (p_since is null or v.xact_id >= p_since)
    and v.tokens_total::bigint is distinct from v.tokens_input::bigint + v.tokens_output;

  return query
  select
    'venture_row_is_its_usage', v.organization_id, 'row ' || v.id::text,
    case
      when l.id is null then 'a usage'
      else format('%s + %s tokens, %s', l.prompt_tokens, l.completion_tokens, private.figure(l.cost))
    end,
    format('%s + %s tokens, %s', v.tokens_input, v.tokens_output, private.figure(v.cost_usd))
  from public.venture_token_ledger as v
  left join public.ai_usage_ledger as l
    on l.organization_id = v.organization_id and l.id = v.usage_id
  where (p_organization_ids is null or v.organization_id = any(p_organization_ids))
    and (p_since is null or v.xact_id >= p_since)
    and v.is_simulation is not true
    and (
      l.venture_id, l.prompt_tokens, l.completion_tokens, l.cost, l.created_at, l.model::text,
      coalesce(l.tags ->> 'budget_profile', 'standard')
    ) is distinct from (
      v.venture_id, v.tokens_input, v.tokens_output, v.cost_usd, v.created_at,
      coalesce(v.model_id, l.model::text), v.budget_profile
    );

  return query
  select
    'simulation_is_not_spend', v.organization_id, 'row ' || v.id::text, 'no usage',
    'usage ' || l.id::text
  from public.venture_token_ledger as v
  inner join public.ai_usage_ledger as l
    on l.organization_id = v.organization_id and l.id in (v.id, v.usage_id)
  where (p_organization_ids is null or v.organization_id = any(p_organization_ids))
    and (p_since is null or v.xact_id >= p_since)
    and v.is_simulation
    -- A usage whose id was taken before it could be seen has a row of its own.
    and not exists (
      select from public.venture_token_ledger as o
      where o.organization_id = l.organization_id and o.usage_id = l.id and o.id <> v.id
    );

  return query
  select
    'venture_of_row_exists', v.organization_id, 'venture ' || v.venture_id::text,
    'a venture', 'nothing'
  from public.venture_token_ledger as v
  left join tenancy.ventures as t
    on t.organization_id = v.organization_id and t.id = v.venture_id
  where (p_organization_ids is null or v.organization_id = any(p_organization_ids))
    and (p_since is null or v.xact_id >= p_since)
    and t.id is null
  group by v.organization_id, v.venture_id;

  return query
  select
    'tombstone_is_of_a_removed_row', t.organization_id, 'row ' || t.row_id::text, 'no row', 'a row'
  from audit.tombstones as t
  inner join public.venture_token_ledger as v
    on v.organization_id = t.organization_id and v.id = t.row_id
  where t.ledger = 'public.venture_token_ledger'
    and (p_organization_ids is null or t.organization_id = any(p_organization_ids))
    and (p_since is null or t.xact_id >= p_since);

  return query
  select
    'shares_come_to_at_most_100', p.organization_id, 'venture ' || p.venture_id::text,
    'at most 100', private.figure(sum(p.allocation_pct::numeric))
  from metering.venture_profiles as p
  where p_organization_ids is null or p.organization_id = any(p_organization_ids)
  group by p.organization_id, p.venture_id
  having sum(p.allocation_pct::numeric) > 100;

  return query
  with cut as (
    select
      b.organization_id, p.venture_id || '/' || p.budget_profile as scope_id, b.time_window,
      b.enforcement, private.share_of(b.limit_usd, p.allocation_pct) as limit_usd
    from metering.budgets as b
    inner join metering.venture_profiles as p
      on p.organization_id = b.organization_id and p.venture_id::text = b.scope_id
    where b.scope = 'venture'
      and b.limit_usd is not null
      and (p_organization_ids is null or b.organization_id = any(p_organization_ids))
  ),

  shares as (
    select
      b.organization_id, b.scope_id, b.time_window, b.enforcement,
      coalesce(b.limit_usd::numeric, 'NaN') as limit_usd
    from metering.budgets as b
    where b.scope = 'venture_profile'
      and (p_organization_ids is null or b.organization_id = any(p_organization_ids))
  )

  select
    'share_is_cut_from_the_limit', organization_id, concat_ws(' ', scope_id, time_window),
    concat_ws(' ', private.figure(c.limit_usd), c.enforcement),
    concat_ws(' ', private.figure(s.limit_usd), s.enforcement)
  from cut as c
  full join shares as s using (organization_id, scope_id, time_window)
  where (c.limit_usd, c.enforcement) is distinct from (s.limit_usd, s.enforcement);
end
$$;

comment on function private.verify_ventures(uuid[], xid8) is
  'Venture checks of audit.verify_integrity.';
