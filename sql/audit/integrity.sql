-- Proof that the books agree. One row per broken invariant, none when all is well.

create type audit.finding as (
  check_name text,
  organization_id uuid,
  subject text,
  expected text,
  actual text
);

comment on type audit.finding is
  'A broken invariant: which check, whose, about what, what the ledger says and what was found.';
comment on column audit.finding.check_name is 'Which invariant is broken.';
comment on column audit.finding.organization_id is 'Whose figures these are.';
comment on column audit.finding.subject is 'About what: a budget, a day and model, a request.';
comment on column audit.finding.expected is 'What the ledger says.';
comment on column audit.finding.actual is 'What was found.';

-- A figure as findings show it.
create function private.figure(p_amount numeric)
returns text
language sql
immutable
set search_path = pg_catalog, pg_temp
as $$
  select coalesce(trim_scale(p_amount)::text, 'nothing')
$$;

comment on function private.figure(numeric) is 'Exact text of an amount; "nothing" for null.';

-- Metering: every counter against ledger and holds.
--
-- A stable function reads with the snapshot of the statement that called it, so all checks see one
-- moment and calls in flight raise no alarm.
create function private.verify_metering(p_organization_id uuid)
returns setof audit.finding
language plpgsql
stable
set search_path = pg_catalog, pg_temp
as $$
begin
  -- What was spent and is held in the scope and present window of each budget, against its slots.
  return query
  with calls as (
    select
      l.organization_id, l.created_at, l.cost as settled_usd, 0 as held_usd, l.unheld_usd,
      l.workflow_id, l.run_id, l.venture_id, l.user_id, l.api_key_id, l.model, l.listed_model, l.tags
    from public.ai_usage_ledger as l
    where p_organization_id is null or l.organization_id = p_organization_id
    union all
    select
      h.organization_id, h.created_at, 0, h.held_usd, 0,
      h.workflow_id, h.run_id, h.venture_id, h.user_id, h.api_key_id, h.model, h.listed_model, h.tags
    from metering.holds as h
    where h.state = 'open'
      and (p_organization_id is null or h.organization_id = p_organization_id)
  ),

  counted as (
    select
      b.organization_id,
      b.id,
      b.limit_usd,
      b.enforcement,
      b.excess_usd,
      s.settled_usd,
      s.held_usd
    from metering.budgets as b
    inner join (
      select
        t.organization_id, t.budget_id,
        sum(t.settled_usd) as settled_usd, sum(t.held_usd) as held_usd
      from metering.budget_slots as t
      where p_organization_id is null or t.organization_id = p_organization_id
      group by t.organization_id, t.budget_id
    ) as s on s.organization_id = b.organization_id and s.budget_id = b.id
  ),

  -- By key, so that each call looks up its few budgets instead of meeting all there are.
  keyed as materialized (
    select
      c.organization_id, c.created_at, c.settled_usd, c.held_usd, c.unheld_usd, k.scope_key
    from calls as c
    cross join lateral unnest(
      private.scope_keys(
        c.workflow_id, c.run_id, c.venture_id, c.user_id, c.api_key_id, c.model, c.listed_model,
        c.tags
      )
    ) as k (scope_key)
    where k.scope_key is not null
  ),

  expected as (
    select
      k.organization_id, b.id,
      sum(k.settled_usd) as settled_usd, sum(k.held_usd) as held_usd,
      sum(k.unheld_usd) as unheld_usd
    from keyed as k
    inner join metering.budgets as b
      on b.organization_id = k.organization_id and b.scope_key = k.scope_key
    inner join metering.budget_slots as s
      on s.organization_id = b.organization_id
      and s.budget_id = b.id
      and s.slot = 0
      and k.created_at >= s.window_start
      and k.created_at < s.window_end
    group by k.organization_id, b.id
  ),

  compared as (
    select
      b.*,
      coalesce(e.settled_usd, 0) as expected_settled,
      coalesce(e.held_usd, 0) as expected_held,
      coalesce(e.unheld_usd, 0) as unheld_usd
    from counted as b
    left join expected as e on e.organization_id = b.organization_id and e.id = b.id
  )

  select f.*
  from compared as c
  cross join lateral (
    values
    (
      'settled_equals_ledger', c.organization_id, 'budget ' || c.id::text,
      private.figure(c.expected_settled), private.figure(c.settled_usd),
      -- A draw that goes on after it was charged counts anew; all draws together are checked apart.
      c.settled_usd <> c.expected_settled and not exists (
        select from billing.draws as d
        where d.org_id = c.organization_id and d.id = c.id and d.cost_incurred > 0
      )
    ),
    (
      'held_equals_holds', c.organization_id, 'budget ' || c.id::text,
      private.figure(c.expected_held), private.figure(c.held_usd),
      c.held_usd <> c.expected_held
    ),
    -- Only what no hold covered takes a budget past its cap, and a cap stored below use.
    (
      'grants_stay_within_limit', c.organization_id, 'budget ' || c.id::text,
      'at most ' || private.figure(c.limit_usd + c.excess_usd + c.unheld_usd),
      private.figure(c.settled_usd + c.held_usd),
      c.enforcement = 'hard'
      and c.settled_usd + c.held_usd > c.limit_usd + c.excess_usd + c.unheld_usd
    )
  ) as v (check_name, organization_id, subject, expected, actual, is_broken)
  cross join lateral (
    select v.check_name, v.organization_id, v.subject, v.expected, v.actual
  ) as f
  where v.is_broken;

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
    where p_organization_id is null or t.organization_id = p_organization_id
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
  where p_organization_id is null or b.organization_id = p_organization_id
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
    and (p_organization_id is null or s.organization_id = p_organization_id)
  group by s.organization_id, s.budget_id
  having min(s.config_version) <> max(s.config_version);

  return query
  with expected as (
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
    inner join tenancy.organizations as o on o.id = l.organization_id
    cross join lateral unnest(private.rollup_keys(l)) as k (scope_key)
    where (p_organization_id is null or l.organization_id = p_organization_id)
      and k.scope_key is not null
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
    where p_organization_id is null or r.organization_id = p_organization_id
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
  where (p_organization_id is null or l.organization_id = p_organization_id)
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
  where (p_organization_id is null or l.organization_id = p_organization_id)
    and l.price_id is not null
    and l.rates is distinct from r.rates;

  return query
  select
    'unheld_is_what_no_hold_covered', l.organization_id, 'usage ' || l.id::text,
    'all of it', private.figure(l.unheld_usd)
  from public.ai_usage_ledger as l
  where (p_organization_id is null or l.organization_id = p_organization_id)
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
    and (p_organization_id is null or l.organization_id = p_organization_id)
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
  where b.id is null and (p_organization_id is null or t.organization_id = p_organization_id);

  return query
  select
    'budget_has_the_time_zone', b.organization_id, 'budget ' || b.id::text,
    o.time_zone, b.time_zone
  from metering.budgets as b
  inner join tenancy.organizations as o on o.id = b.organization_id
  where b.time_zone <> o.time_zone
    and (p_organization_id is null or b.organization_id = p_organization_id);

  return query
  select
    'freeze_is_one', b.organization_id, 'budget ' || b.id::text,
    coalesce(o.frozen_at::text, 'nothing'), coalesce(b.frozen_at::text, 'nothing')
  from metering.budgets as b
  inner join tenancy.organizations as o on o.id = b.organization_id
  where b.id = o.id
    and b.frozen_at is distinct from o.frozen_at
    and (p_organization_id is null or b.organization_id = p_organization_id);

  return query
  select
    'hold_is_not_usage_too', h.organization_id, 'hold ' || h.id::text, 'one of both', 'both'
  from metering.holds as h
  inner join public.ai_usage_ledger as l
    on l.organization_id = h.organization_id and l.id = h.id
  where p_organization_id is null or h.organization_id = p_organization_id;

  return query
  select
    'hold_counts_to_its_day', h.organization_id, 'hold ' || h.id::text,
    private.local_day(h.created_at, o.time_zone)::text, h.day::text
  from metering.holds as h
  inner join tenancy.organizations as o on o.id = h.organization_id
  where h.day <> private.local_day(h.created_at, o.time_zone)
    and (p_organization_id is null or h.organization_id = p_organization_id);

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
  left join accounting.approval_proposals as p
    on p.organization_id = k.organization_id and p.proposal_id = k.subject_id::text
  where l.id is null
    and h.id is null
    and p.proposal_id is null
    and k.operation not in ('start_run', 'extend_run')
    and (
      k.operation in ('record', 'settle')
      or private.uuid_v7_time(k.subject_id) > private.clock_now() - interval '45 days'
    )
    and (p_organization_id is null or k.organization_id = p_organization_id);
end
$$;

comment on function private.verify_metering(uuid) is 'Metering checks of audit.verify_integrity.';

-- Compares every derived figure with the ledger it was derived from. Changes nothing, locks
-- nothing.
create function audit.verify_integrity(p_organization_id uuid default null)
returns setof audit.finding
language plpgsql
stable
set search_path = pg_catalog, pg_temp
as $$
begin
  -- A person who is their own tenant has a journal, and no organization.
  if p_organization_id is not null and not exists (
    select from private.ledger_heads as h where h.organization_id = p_organization_id
  ) then
    perform private.assert_member(p_organization_id);
  end if;
  return query
  select *
  from (
    select * from private.verify_metering(p_organization_id)
    union all
    select * from private.verify_billing(p_organization_id)
    union all
    select * from private.verify_journal(p_organization_id)
    union all
    select * from private.verify_accounting(p_organization_id)
    union all
    select * from private.verify_approvals(p_organization_id)
  ) as f
  order by f.check_name, f.organization_id, f.subject;
end
$$;

comment on function audit.verify_integrity(uuid) is
  'One row per broken invariant, none when all is well; of one organization, or of all. For server '
  'roles. Errors: TS404 for an unknown organization.';
