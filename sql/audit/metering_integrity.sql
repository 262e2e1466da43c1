-- Metering: every counter against ledger and holds.
--
-- A stable function reads with the snapshot of the statement that called it, so all checks see one
-- moment and calls in flight raise no alarm. Null p_organization_ids: of all. Null p_since: all
-- rows; else those whose transaction is not older.
create function private.verify_metering(p_organization_ids uuid[], p_since xid8)
returns setof audit.finding
language plpgsql
stable
set search_path = pg_catalog, pg_temp
as $$
begin
  -- What was spent in the scope and present window of each budget, against its slots: by the
  -- rollups, which are checked against the ledger below; by the calls themselves where there are none.
  return query
  with counted as materialized (
    select
      b.organization_id, b.id, b.scope, b.scope_id, b.scope_key, b.time_window, b.time_zone,
      b.is_funded, b.created_at, min(s.window_start) as window_start,
      max(s.window_end) as window_end, sum(s.settled_usd) as settled_usd,
      b.scope not in ('run', 'draw', 'venture_profile') and b.time_window <> 'hour' as is_rolled_up
    from metering.budgets as b
    inner join metering.budget_slots as s
      on s.organization_id = b.organization_id and s.budget_id = b.id
    where p_organization_ids is null or b.organization_id = any(p_organization_ids)
    group by b.organization_id, b.id
  ),

  rolled_up as (
    select c.organization_id, c.id, coalesce(sum(r.cost), 0) as cost
    from counted as c
    cross join lateral (
      select x.cost, x.day
      from metering.usage_rollups as x
      where x.organization_id = c.organization_id
        and x.scope = c.scope
        and x.scope_id = c.scope_id
      union all
      select x.cost, x.day
      from metering.usage_rollups as x
      where c.scope = 'model'
        and x.organization_id = c.organization_id
        and x.scope = 'organization'
        and x.model = c.scope_id
    ) as r
    where c.is_rolled_up
      and r.day >= private.local_day(c.window_start, coalesce(c.time_zone, 'UTC'))
      and r.day < private.local_day(c.window_end, coalesce(c.time_zone, 'UTC'))
    group by c.organization_id, c.id
  ),

  -- No call is older than the run or draw that pays for it, but for a clock that was set back.
  called as (
    select
      c.*,
      case
        when c.is_funded then greatest(c.window_start, c.created_at - interval '1 day')
        else c.window_start
      end as since
    from counted as c
    where not c.is_rolled_up
  ),

  summed as (
    select k.organization_id, c.id, sum(k.cost) as cost
    from (
      select l.organization_id, l.created_at, l.cost, x.scope_key
      from (
        select c.organization_id, min(c.since) as since from called as c group by c.organization_id
      ) as m
      inner join public.ai_usage_ledger as l
        on l.organization_id = m.organization_id and l.created_at >= m.since
      cross join lateral unnest(
        private.scope_keys(
          l.workflow_id, l.run_id, l.venture_id, l.user_id, l.api_key_id, l.model, l.listed_model,
          l.tags
        )
      ) as x (scope_key)
    ) as k
    inner join called as c
      on c.organization_id = k.organization_id
      and c.scope_key = k.scope_key
      and k.created_at >= c.window_start
      and k.created_at < c.window_end
    group by k.organization_id, c.id
  )

  select
    'settled_equals_ledger', c.organization_id, 'budget ' || c.id::text,
    private.figure(coalesce(r.cost, m.cost, 0)), private.figure(c.settled_usd)
  from counted as c
  left join rolled_up as r on r.organization_id = c.organization_id and r.id = c.id
  left join summed as m on m.organization_id = c.organization_id and m.id = c.id
  where c.settled_usd <> coalesce(r.cost, m.cost, 0)
    -- A draw that goes on after it was charged counts anew; all draws together are checked apart.
    and not exists (
      select from billing.draws as d
      where d.org_id = c.organization_id and d.id = c.id and d.cost_incurred > 0
    );

  return query
  with held as materialized (
    select h.organization_id, h.created_at, h.held_usd, k.scope_key
    from metering.holds as h
    cross join lateral unnest(
      private.scope_keys(
        h.workflow_id, h.run_id, h.venture_id, h.user_id, h.api_key_id, h.model, h.listed_model,
        h.tags
      )
    ) as k (scope_key)
    where h.state = 'open'
      and k.scope_key is not null
      and (p_organization_ids is null or h.organization_id = any(p_organization_ids))
  ),

  counted as (
    select
      b.organization_id, b.id, b.scope_key, min(s.window_start) as window_start,
      max(s.window_end) as window_end, sum(s.held_usd) as held_usd
    from metering.budgets as b
    inner join metering.budget_slots as s
      on s.organization_id = b.organization_id and s.budget_id = b.id
    where p_organization_ids is null or b.organization_id = any(p_organization_ids)
    group by b.organization_id, b.id
  )

  select
    'held_equals_holds', c.organization_id, 'budget ' || c.id::text,
    private.figure(coalesce(sum(h.held_usd), 0)), private.figure(c.held_usd)
  from counted as c
  left join held as h
    on h.organization_id = c.organization_id
    and h.scope_key = c.scope_key
    and h.created_at >= c.window_start
    and h.created_at < c.window_end
  group by c.organization_id, c.id, c.held_usd
  having coalesce(sum(h.held_usd), 0) <> c.held_usd;

  -- Only what no hold covered takes a budget past its cap, and a cap stored below use.
  return query
  select
    'grants_stay_within_limit', b.organization_id, 'budget ' || b.id::text,
    'at most ' || private.figure(b.limit_usd + b.excess_usd + u.unheld_usd),
    private.figure(s.use_usd)
  from metering.budgets as b
  cross join lateral (
    select
      min(t.window_start) as window_start, max(t.window_end) as window_end,
      sum(t.settled_usd + t.held_usd) as use_usd
    from metering.budget_slots as t
    where t.organization_id = b.organization_id and t.budget_id = b.id
  ) as s
  cross join lateral (
    select coalesce(sum(l.unheld_usd), 0) as unheld_usd
    from public.ai_usage_ledger as l
    where s.use_usd > b.limit_usd + b.excess_usd
      and l.organization_id = b.organization_id
      and l.created_at >= s.window_start
      and l.created_at < s.window_end
      and l.unheld_usd > 0
      and b.scope_key = any(
        private.scope_keys(
          l.workflow_id, l.run_id, l.venture_id, l.user_id, l.api_key_id, l.model, l.listed_model,
          l.tags
        )
      )
  ) as u
  where b.enforcement = 'hard'
    and (p_organization_ids is null or b.organization_id = any(p_organization_ids))
    and s.use_usd > b.limit_usd + b.excess_usd + u.unheld_usd;

  return query
  select
    'remainder_equals_limit_less_use', b.organization_id, 'budget ' || b.id::text,
    private.figure(private.granted_limit(b) - s.use_usd), private.figure(s.remaining)
  from metering.budgets as b
  inner join (
    select
      t.organization_id, t.budget_id, sum(t.settled_usd + t.held_usd) as use_usd,
      sum(t.available_usd) - coalesce(sum(t.debt_usd), 0) as remaining
    from metering.budget_slots as t
    where p_organization_ids is null or t.organization_id = any(p_organization_ids)
    group by t.organization_id, t.budget_id
  ) as s on s.organization_id = b.organization_id and s.budget_id = b.id
  where private.granted_limit(b) - s.use_usd is distinct from s.remaining;

  return query
  select
    'slots_are_those_of_the_budget', b.organization_id, 'budget ' || b.id::text,
    b.slot_count::text || ' slots of one window, open or closed together',
    count(s.slot)::text || ' slots, ' || count(distinct s.window_start)::text || ' windows, '
    || count(s.debt_usd)::text || ' closed'
  from metering.budgets as b
  left join metering.budget_slots as s
    on s.organization_id = b.organization_id and s.budget_id = b.id
  where p_organization_ids is null or b.organization_id = any(p_organization_ids)
  group by b.organization_id, b.id, b.slot_count
  having count(s.slot) <> b.slot_count
    or max(s.slot) <> b.slot_count - 1
    or count(distinct (s.window_start, s.window_end)) <> 1
    or count(s.available_usd) not in (0, b.slot_count)
    or count(s.debt_usd) not in (0, b.slot_count);

  return query
  select
    'config_version_is_one', s.organization_id, 'budget ' || s.budget_id::text,
    max(s.config_version)::text, min(s.config_version)::text
  from metering.budget_slots as s
  where s.budget_id = s.organization_id
    and (p_organization_ids is null or s.organization_id = any(p_organization_ids))
  group by s.organization_id, s.budget_id
  having min(s.config_version) <> max(s.config_version);

  -- Days on which anything was recorded since, and those after them.
  return query
  with touched as materialized (
    select
      o.id as organization_id,
      case
        when p_since is null then timestamptz '-infinity'
        else private.local_day(c.earliest, o.time_zone)::timestamp at time zone o.time_zone
      end as since
    from tenancy.organizations as o
    left join (
      select l.organization_id, min(l.created_at) as earliest
      from public.ai_usage_ledger as l
      where p_since is not null and l.xact_id >= p_since
      group by l.organization_id
    ) as c on c.organization_id = o.id
    where (p_organization_ids is null or o.id = any(p_organization_ids))
      and (p_since is null or c.earliest is not null)
  ),

  expected as (
    select
      l.organization_id,
      k.scope_key,
      private.local_day(l.created_at, o.time_zone) as day,
      coalesce(l.listed_model, l.model) as model,
      count(*) as requests,
      sum(l.prompt_tokens) as prompt_tokens,
      sum(l.completion_tokens) as completion_tokens,
      sum(l.cost) as cost
    from public.ai_usage_ledger as l
    inner join touched as d
      on d.organization_id = l.organization_id and l.created_at >= d.since
    inner join tenancy.organizations as o on o.id = l.organization_id
    cross join lateral unnest(private.rollup_keys(l)) as k (scope_key)
    where k.scope_key is not null
    group by
      l.organization_id, k.scope_key, private.local_day(l.created_at, o.time_zone),
      coalesce(l.listed_model, l.model)
  ),

  counted as (
    select
      r.organization_id,
      r.scope || ':' || r.scope_id as scope_key,
      r.day,
      r.model,
      sum(r.requests) as requests,
      sum(r.prompt_tokens) as prompt_tokens,
      sum(r.completion_tokens) as completion_tokens,
      sum(r.cost) as cost
    from metering.usage_rollups as r
    inner join touched as d on d.organization_id = r.organization_id
    inner join tenancy.organizations as o on o.id = r.organization_id
    where r.day >= private.local_day(d.since, o.time_zone)
    group by r.organization_id, r.scope, r.scope_id, r.day, r.model
  )

  select
    'rollup_equals_ledger', organization_id, concat_ws(' ', scope_key, day, model),
    format('%s requests, %s + %s tokens, %s',
      coalesce(e.requests, 0), coalesce(e.prompt_tokens, 0), coalesce(e.completion_tokens, 0),
      private.figure(coalesce(e.cost, 0))),
    format('%s requests, %s + %s tokens, %s',
      coalesce(c.requests, 0), coalesce(c.prompt_tokens, 0), coalesce(c.completion_tokens, 0),
      private.figure(coalesce(c.cost, 0)))
  from expected as e
  full join counted as c using (organization_id, scope_key, day, model)
  where (e.requests, e.prompt_tokens, e.completion_tokens, e.cost)
    is distinct from (c.requests, c.prompt_tokens, c.completion_tokens, c.cost);

  return query
  select
    'cost_follows_from_its_rates', l.organization_id, 'usage ' || l.id::text,
    private.figure(private.cost_at(l.rates, l.token_counts)), private.figure(l.cost)
  from public.ai_usage_ledger as l
  where (p_organization_ids is null or l.organization_id = any(p_organization_ids))
    and (p_since is null or l.xact_id >= p_since)
    and l.cost_basis = 'priced'
    and l.cost <> private.cost_at(l.rates, l.token_counts);

  return query
  select
    'rates_are_those_of_the_price', l.organization_id, 'usage ' || l.id::text,
    coalesce(r.rates::text, 'a price'), l.rates::text
  from public.ai_usage_ledger as l
  left join pricing.prices as p on p.id = l.price_id
  left join pricing.contract_prices as c
    on c.organization_id = l.organization_id and c.id = l.price_id
  left join pricing.markups as m on m.organization_id = l.organization_id and m.id = l.markup_id
  cross join lateral (
    select
      private.charged_rates(
        private.rates_of_prompt(coalesce(p.rates, c.rates), l.prompt_tokens), l.token_counts, m.percent
      ) as rates
  ) as r
  where (p_organization_ids is null or l.organization_id = any(p_organization_ids))
    and (p_since is null or l.xact_id >= p_since)
    and l.price_id is not null
    and l.rates is distinct from r.rates;

  return query
  select
    'unheld_is_what_no_hold_covered', l.organization_id, 'usage ' || l.id::text,
    'all of it', private.figure(l.unheld_usd)
  from public.ai_usage_ledger as l
  where (p_organization_ids is null or l.organization_id = any(p_organization_ids))
    and (p_since is null or l.xact_id >= p_since)
    and (l.settlement <> 'on_hold' and l.unheld_usd <> l.cost or l.unheld_usd > l.cost);

  return query
  select
    'owner_of_usage_exists', l.organization_id, 'workflow ' || l.workflow_id::text,
    'a workflow', 'nothing'
  from public.ai_usage_ledger as l
  left join metering.workflows as w
    on w.organization_id = l.organization_id and w.id = l.workflow_id
  where l.workflow_id is not null
    and w.id is null
    and (p_organization_ids is null or l.organization_id = any(p_organization_ids))
    and (p_since is null or l.xact_id >= p_since)
  group by l.organization_id, l.workflow_id;

  return query
  select
    'counted_thing_has_its_budget', t.organization_id, 'budget ' || t.id::text,
    'a budget', 'nothing'
  from (
    select o.id as organization_id, o.id from tenancy.organizations as o
    union all
    select w.organization_id, w.id from metering.workflows as w
  ) as t
  left join metering.budgets as b on b.organization_id = t.organization_id and b.id = t.id
  where b.id is null and (p_organization_ids is null or t.organization_id = any(p_organization_ids));

  return query
  select
    'budget_has_the_time_zone', b.organization_id, 'budget ' || b.id::text,
    o.time_zone, b.time_zone
  from metering.budgets as b
  inner join tenancy.organizations as o on o.id = b.organization_id
  where b.time_zone <> o.time_zone
    and (p_organization_ids is null or b.organization_id = any(p_organization_ids));

  return query
  select
    'freeze_is_one', b.organization_id, 'budget ' || b.id::text,
    coalesce(o.frozen_at::text, 'nothing'), coalesce(b.frozen_at::text, 'nothing')
  from metering.budgets as b
  inner join tenancy.organizations as o on o.id = b.organization_id
  where b.id = o.id
    and b.frozen_at is distinct from o.frozen_at
    and (p_organization_ids is null or b.organization_id = any(p_organization_ids));

  return query
  select
    'hold_is_not_usage_too', h.organization_id, 'hold ' || h.id::text, 'one of both', 'both'
  from metering.holds as h
  inner join public.ai_usage_ledger as l
    on l.organization_id = h.organization_id and l.id = h.id
  where p_organization_ids is null or h.organization_id = any(p_organization_ids);

  return query
  select
    'hold_counts_to_its_day', h.organization_id, 'hold ' || h.id::text,
    private.local_day(h.created_at, o.time_zone)::text, h.day::text
  from metering.holds as h
  inner join tenancy.organizations as o on o.id = h.organization_id
  where h.day <> private.local_day(h.created_at, o.time_zone)
    and (p_organization_ids is null or h.organization_id = any(p_organization_ids));

  -- A hold is forgotten 45 days after it ended, before its request id is.
  return query
  select
    'request_names_what_it_made', k.organization_id, 'request ' || k.request_id,
    k.operation::text || ' ' || k.subject_id::text, 'nothing'
  from metering.request_keys as k
  left join public.ai_usage_ledger as l
    on l.organization_id = k.organization_id and l.id = k.subject_id
  left join metering.holds as h
    on h.organization_id = k.organization_id and h.id = k.subject_id
  left join public.venture_token_ledger as v
    on v.organization_id = k.organization_id and v.id = k.subject_id and v.is_simulation
  left join accounting.approval_proposals as p
    on p.organization_id = k.organization_id and p.proposal_id = k.subject_id::text
  where l.id is null
    and h.id is null
    and v.id is null
    and p.proposal_id is null
    and k.operation not in ('start_run', 'extend_run')
    and (
      k.operation in ('record', 'settle')
      or private.uuid_v7_time(k.subject_id) > private.clock_now() - interval '45 days'
    )
    and (p_organization_ids is null or k.organization_id = any(p_organization_ids));
end
$$;

comment on function private.verify_metering(uuid[], xid8) is
  'Metering checks of audit.verify_integrity.';
