-- Built by scripts/build-migrations from sql/audit; edit there.

-- sql/audit/integrity.sql

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

-- Metering: every counter against the ledger.
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
  return query
  with spent as (
    select l.organization_id, l.workflow_id, sum(l.cost) as cost
    from public.ai_usage_ledger as l
    where p_organization_id is null or l.organization_id = p_organization_id
    group by l.organization_id, l.workflow_id
  ),

  expected as (
    select s.organization_id, s.workflow_id as budget_id, s.cost from spent as s
    union all
    select s.organization_id, s.organization_id, sum(s.cost) from spent as s
    group by s.organization_id
  ),

  counted as (
    select b.organization_id, b.id as budget_id, sum(s.settled_usd) as cost
    from metering.budgets as b
    left join metering.budget_slots as s
      on s.organization_id = b.organization_id and s.budget_id = b.id
    where b.time_window = 'total'
      and (p_organization_id is null or b.organization_id = p_organization_id)
    group by b.organization_id, b.id
  )

  select
    'total_equals_ledger', organization_id, 'budget ' || budget_id::text,
    private.figure(coalesce(e.cost, 0)), private.figure(c.cost)
  from expected as e
  full join counted as c using (organization_id, budget_id)
  where c.cost is distinct from coalesce(e.cost, 0);

  return query
  with expected as (
    select
      l.organization_id,
      private.local_day(l.created_at, o.time_zone) as day,
      l.model,
      count(*) as requests,
      sum(l.prompt_tokens) as prompt_tokens,
      sum(l.completion_tokens) as completion_tokens,
      sum(l.cost) as cost
    from public.ai_usage_ledger as l
    inner join tenancy.organizations as o on o.id = l.organization_id
    where p_organization_id is null or l.organization_id = p_organization_id
    group by l.organization_id, private.local_day(l.created_at, o.time_zone), l.model
  ),

  counted as (
    select
      r.organization_id,
      r.day,
      r.model,
      sum(r.requests) as requests,
      sum(r.prompt_tokens) as prompt_tokens,
      sum(r.completion_tokens) as completion_tokens,
      sum(r.cost) as cost
    from metering.usage_rollups as r
    where p_organization_id is null or r.organization_id = p_organization_id
    group by r.organization_id, r.day, r.model
  )

  select
    'rollup_equals_ledger', organization_id, day::text || ' ' || model,
    format('%s requests, %s + %s tokens, %s',
      coalesce(e.requests, 0), coalesce(e.prompt_tokens, 0), coalesce(e.completion_tokens, 0),
      private.figure(coalesce(e.cost, 0))),
    format('%s requests, %s + %s tokens, %s',
      coalesce(c.requests, 0), coalesce(c.prompt_tokens, 0), coalesce(c.completion_tokens, 0),
      private.figure(coalesce(c.cost, 0)))
  from expected as e
  full join counted as c using (organization_id, day, model)
  where (e.requests, e.prompt_tokens, e.completion_tokens, e.cost)
    is distinct from (c.requests, c.prompt_tokens, c.completion_tokens, c.cost);

  return query
  select
    'window_equals_rollup', b.organization_id, 'budget ' || b.id::text,
    private.figure(
      private.monthly_cost(b.organization_id, private.local_day(s.window_start, o.time_zone))
    ),
    private.figure(s.settled_usd)
  from metering.budgets as b
  inner join tenancy.organizations as o on o.id = b.organization_id
  inner join (
    select t.organization_id, t.budget_id, t.window_start, sum(t.settled_usd) as settled_usd
    from metering.budget_slots as t
    group by t.organization_id, t.budget_id, t.window_start
  ) as s on s.organization_id = b.organization_id and s.budget_id = b.id
  where b.time_window = 'month'
    and (p_organization_id is null or b.organization_id = p_organization_id)
    and s.settled_usd <> private.monthly_cost(
      b.organization_id, private.local_day(s.window_start, o.time_zone)
    );

  return query
  select
    'remainder_equals_limit_less_use', b.organization_id, 'budget ' || b.id::text,
    private.figure(b.limit_usd - sum(s.settled_usd + s.held_usd)),
    private.figure(sum(s.available_usd) - sum(s.debt_usd))
  from metering.budgets as b
  inner join metering.budget_slots as s
    on s.organization_id = b.organization_id and s.budget_id = b.id
  where p_organization_id is null or b.organization_id = p_organization_id
  group by b.organization_id, b.id, b.limit_usd
  having b.limit_usd - sum(s.settled_usd + s.held_usd)
    is distinct from sum(s.available_usd) - sum(s.debt_usd);

  return query
  select
    'budget_has_its_slots', b.organization_id, 'budget ' || b.id::text,
    b.slot_count::text, count(s.slot)::text
  from metering.budgets as b
  left join metering.budget_slots as s
    on s.organization_id = b.organization_id and s.budget_id = b.id and s.slot < b.slot_count
  where p_organization_id is null or b.organization_id = p_organization_id
  group by b.organization_id, b.id, b.slot_count
  having count(s.slot) <> b.slot_count;

  return query
  select
    'owner_of_usage_exists', l.organization_id, 'workflow ' || l.workflow_id::text,
    'a workflow', 'nothing'
  from public.ai_usage_ledger as l
  left join metering.workflows as w
    on w.organization_id = l.organization_id and w.id = l.workflow_id
  where w.id is null and (p_organization_id is null or l.organization_id = p_organization_id)
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
    'request_names_its_usage', k.organization_id, 'request ' || k.request_id,
    'usage ' || k.subject_id::text, 'nothing'
  from metering.request_keys as k
  left join public.ai_usage_ledger as l
    on l.organization_id = k.organization_id and l.id = k.subject_id
  where k.operation = 'record'
    and l.id is null
    and (p_organization_id is null or k.organization_id = p_organization_id);
end
$$;

comment on function private.verify_metering(uuid) is
  'Metering checks of audit.verify_integrity.';

-- Compares every derived figure with the ledger it was derived from. Changes nothing, locks
-- nothing.
create function audit.verify_integrity(p_organization_id uuid default null)
returns setof audit.finding
language plpgsql
stable
set search_path = pg_catalog, pg_temp
as $$
begin
  if p_organization_id is not null then
    perform private.assert_member(p_organization_id);
  end if;
  return query select * from private.verify_metering(p_organization_id);
end
$$;

comment on function audit.verify_integrity(uuid) is
  'One row per broken invariant, none when all is well; of one organization, or of all. For server '
  'roles. Errors: TS404 for an unknown organization.';

-- sql/audit/access.sql

-- Server roles verify; they read every table the checks compare.

revoke execute on function
private.figure(numeric),
private.verify_metering(uuid),
audit.verify_integrity(uuid)
from public, anon, authenticated, service_role;

grant execute on function
private.figure(numeric),
private.verify_metering(uuid),
audit.verify_integrity(uuid)
to service_role, app_user, tallystick_writer;
