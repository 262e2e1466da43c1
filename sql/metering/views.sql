-- The documents' names for what metering holds.

create view public.intent_workflows
with (security_invoker = true)
as
select
  w.id,
  w.organization_id,
  w.workflow_data || jsonb_build_object(
    'total_ai_cost',
    (
      select trim_scale(coalesce(sum(s.settled_usd), 0))
      from metering.budget_slots as s
      where s.organization_id = w.organization_id and s.budget_id = w.id
    )
  ) as workflow_data,
  w.created_at,
  w.updated_at
from metering.workflows as w;

alter view public.intent_workflows alter column id set default private.uuid_v7();
alter view public.intent_workflows alter column workflow_data set default '{}'::jsonb;

comment on view public.intent_workflows is
  'Workflows with what they have cost (ai_cost_governance). Insert and update it like a table; '
  'INSERT ... ON CONFLICT is public.upsert_intent_workflow.';
comment on column public.intent_workflows.id is 'Id of the workflow.';
comment on column public.intent_workflows.organization_id is 'The organization that pays.';
comment on column public.intent_workflows.workflow_data is
  'The application''s document plus total_ai_cost, a number in US dollars: exact at every commit, '
  'ignored when written.';
comment on column public.intent_workflows.created_at is 'When the workflow was opened.';
comment on column public.intent_workflows.updated_at is
  'When its document was last written; recording spend does not touch it.';

-- Writes through the view, with the rights and policies of whoever writes.
--
-- total_ai_cost is dropped from what is written, so a read-modify-write of the document cannot
-- erase a settlement that landed in between. Of two that change the document at once the second
-- fails with 40001: on a table PostgreSQL would evaluate it anew, behind a view it cannot. Every
-- column of the result is read back.
create function private.write_intent_workflow()
returns trigger
language plpgsql
volatile
set search_path = pg_catalog, pg_temp
as $$
begin
  if tg_op = 'INSERT' then
    insert into metering.workflows (organization_id, id, workflow_data)
    values (new.organization_id, new.id, new.workflow_data - 'total_ai_cost');
  else
    if (new.organization_id, new.id) is distinct from (old.organization_id, old.id) then
      perform private.reject_argument('id, organization_id', 'must not change');
    end if;
    update metering.workflows as w
    set workflow_data = new.workflow_data - 'total_ai_cost'
    where w.organization_id = old.organization_id
      and w.id = old.id
      and w.workflow_data = old.workflow_data - 'total_ai_cost';
    if not found then
      perform private.raise_error(
        case
          when exists (
            select from metering.workflows as w
            where w.organization_id = old.organization_id
              and w.id = old.id
              and w.workflow_data = old.workflow_data - 'total_ai_cost'
          ) then '42501'
          else '40001'
        end,
        jsonb_build_object('workflow_id', old.id)
      );
    end if;
  end if;
  select * into strict new
  from public.intent_workflows as i
  where i.organization_id = new.organization_id and i.id = new.id;
  return new;
end
$$;

comment on function private.write_intent_workflow() is
  'Trigger: writes through public.intent_workflows. Errors: 22023, 40001, 42501.';

create trigger intent_workflows_write instead of insert or update on public.intent_workflows
for each row execute function private.write_intent_workflow();

create trigger workflows_touch_updated_at before update on metering.workflows
for each row execute function private.touch_updated_at();

-- Opens a workflow or replaces its document. Idempotent. Views know no ON CONFLICT.
create function public.upsert_intent_workflow(
  p_id uuid,
  p_organization_id uuid,
  p_workflow_data jsonb
)
returns public.intent_workflows
language plpgsql
volatile
set search_path = pg_catalog, pg_temp
as $$
declare
  v_document constant jsonb := p_workflow_data - 'total_ai_cost';
  v_workflow public.intent_workflows;
begin
  perform private.assert_id('p_id', p_id);
  perform private.assert_member(
    p_organization_id, array['owner', 'admin', 'finance', 'member']
  );
  if jsonb_typeof(p_workflow_data) is distinct from 'object' then
    perform private.reject_argument('p_workflow_data', 'must be an object');
  end if;

  -- An id is unique in two ways, and only one could be named for an update. Two callers who open
  -- the same workflow at once may meet in either.
  insert into metering.workflows (organization_id, id, workflow_data)
  values (p_organization_id, p_id, v_document)
  on conflict do nothing;
  if not found then
    update metering.workflows as w
    set workflow_data = v_document
    where w.organization_id = p_organization_id and w.id = p_id;
    if not found then
      insert into metering.workflows (organization_id, id, workflow_data)
      values (p_organization_id, p_id, v_document); -- another organization's: refused
    end if;
  end if;

  select * into strict v_workflow
  from public.intent_workflows as i
  where i.organization_id = p_organization_id and i.id = p_id;
  return v_workflow;
end
$$;

comment on function public.upsert_intent_workflow(uuid, uuid, jsonb) is
  'Opens the workflow or replaces its document; total_ai_cost in it is ignored. For members who '
  'may spend, and server roles. Errors: 22023, 42501, TS404; 23505 for an id another organization '
  'holds.';

create view metering.budget_status
with (security_invoker = true)
as
select
  b.organization_id,
  b.id as budget_id,
  b.scope,
  b.scope_id,
  b.time_window,
  b.limit_usd,
  b.enforcement,
  b.slot_count,
  coalesce(o.frozen_at, b.frozen_at) as frozen_at,
  nullif(w.window_start, '-infinity') as window_start,
  nullif(w.window_end, 'infinity') as resets_at,
  w.settled_usd,
  w.held_usd,
  b.limit_usd - w.settled_usd - w.held_usd as remaining_usd
from metering.budgets as b
inner join tenancy.organizations as o on b.organization_id = o.id
cross join lateral (
  select
    case
      when c.is_over then private.window_start(b.time_window, c.now, o.time_zone)
      else c.window_start
    end as window_start,
    case
      when c.is_over then private.window_end(b.time_window, c.now, o.time_zone)
      else c.window_end
    end as window_end,
    case when c.is_over then 0 else c.settled_usd end as settled_usd,
    case when c.is_over then 0 else c.held_usd end as held_usd
  from (
    select
      max(private.clock_now()) as now,
      max(private.clock_now()) >= max(s.window_end) as is_over,
      max(s.window_start) as window_start,
      max(s.window_end) as window_end,
      sum(s.settled_usd) as settled_usd,
      sum(s.held_usd) as held_usd
    from metering.budget_slots as s
    where s.organization_id = b.organization_id and s.budget_id = b.id
  ) as c
) as w;

comment on view metering.budget_status is
  'Every budget with what is spent, held and left in its present window.';
comment on column metering.budget_status.organization_id is 'The organization that pays.';
comment on column metering.budget_status.budget_id is 'Id of the budget.';
comment on column metering.budget_status.scope is 'What is capped.';
comment on column metering.budget_status.scope_id is 'Which one; empty for the organization.';
comment on column metering.budget_status.time_window is 'Over which time.';
comment on column metering.budget_status.limit_usd is 'The cap in US dollars; null without one.';
comment on column metering.budget_status.enforcement is 'hard or soft.';
comment on column metering.budget_status.slot_count is
  'Over how many rows the counters are spread.';
comment on column metering.budget_status.frozen_at is
  'Since when nothing is granted here; null while it may spend.';
comment on column metering.budget_status.window_start is
  'Start of the present window; null for total.';
comment on column metering.budget_status.resets_at is 'End of the present window; null for total.';
comment on column metering.budget_status.settled_usd is 'Recorded spend of the window, US dollars.';
comment on column metering.budget_status.held_usd is
  'Money held for calls under way in the window, overdue or not, US dollars.';
comment on column metering.budget_status.remaining_usd is
  'What is left, US dollars; below zero where spend that cannot be refused passed the cap; null '
  'without a cap.';

create type metering.waiting_budget as (
  organization_id uuid,
  budget_id uuid,
  scope text,
  scope_id text,
  time_window text,
  slot_count integer,
  waiting integer
);

comment on type metering.waiting_budget is 'A budget whose rows callers wait for at this instant.';
comment on column metering.waiting_budget.organization_id is 'The organization that pays.';
comment on column metering.waiting_budget.budget_id is 'Id of the budget.';
comment on column metering.waiting_budget.scope is 'What is capped.';
comment on column metering.waiting_budget.scope_id is 'Which one; empty for the organization.';
comment on column metering.waiting_budget.time_window is 'Over which time.';
comment on column metering.waiting_budget.slot_count is
  'Over how many rows the counters are spread now.';
comment on column metering.waiting_budget.waiting is 'How many callers wait.';

-- Whoever waits for a row holds or waits for the lock of its place on the page.
create function metering.waiting_budgets()
returns setof metering.waiting_budget
language plpgsql
stable
set search_path = pg_catalog, pg_temp
as $$
begin
  return query
  select
    b.organization_id, b.id, b.scope, b.scope_id, b.time_window, b.slot_count::integer,
    count(*)::integer
  from pg_catalog.pg_locks as l
  inner join metering.budget_slots as s
    on s.ctid = ('(' || l.page || ',' || l.tuple || ')')::tid
  inner join metering.budgets as b
    on b.organization_id = s.organization_id and b.id = s.budget_id
  where l.locktype = 'tuple'
    and l.relation = 'metering.budget_slots'::regclass
    and l.database = (select d.oid from pg_catalog.pg_database as d where d.datname = current_database())
  group by b.organization_id, b.id
  order by count(*) desc, b.organization_id, b.id;
end
$$;

comment on function metering.waiting_budgets() is
  'The budgets whose counters callers wait for at this instant, the most wanted first: look '
  'several times, and give those that keep waiting more slots. For server roles.';

-- Spend by day, and by what it was for: sums over slots of the rollups.
create view metering.spend_by_day
with (security_invoker = true)
as
select
  r.organization_id,
  r.day,
  sum(r.requests)::bigint as requests,
  sum(r.prompt_tokens)::bigint as prompt_tokens,
  sum(r.completion_tokens)::bigint as completion_tokens,
  sum(r.cost)::numeric as cost
from metering.usage_rollups as r
where r.scope = 'organization'
group by r.organization_id, r.day;

comment on view metering.spend_by_day is 'Spend by day.';
comment on column metering.spend_by_day.organization_id is 'The organization that pays.';
comment on column metering.spend_by_day.day is 'Calendar day in the organization''s time zone.';
comment on column metering.spend_by_day.requests is 'Number of usages.';
comment on column metering.spend_by_day.prompt_tokens is 'Sum of prompt tokens.';
comment on column metering.spend_by_day.completion_tokens is 'Sum of completion tokens.';
comment on column metering.spend_by_day.cost is 'US dollars.';

create view metering.spend_by_model
with (security_invoker = true)
as
select
  r.organization_id,
  r.day,
  r.model,
  sum(r.requests)::bigint as requests,
  sum(r.prompt_tokens)::bigint as prompt_tokens,
  sum(r.completion_tokens)::bigint as completion_tokens,
  sum(r.cost)::numeric as cost
from metering.usage_rollups as r
where r.scope = 'organization'
group by r.organization_id, r.day, r.model;

comment on view metering.spend_by_model is 'Spend by day and model.';
comment on column metering.spend_by_model.organization_id is 'The organization that pays.';
comment on column metering.spend_by_model.day is 'Calendar day in the organization''s time zone.';
comment on column metering.spend_by_model.model is
  'The model by its listed name, where it was priced.';
comment on column metering.spend_by_model.requests is 'Number of usages.';
comment on column metering.spend_by_model.prompt_tokens is 'Sum of prompt tokens.';
comment on column metering.spend_by_model.completion_tokens is 'Sum of completion tokens.';
comment on column metering.spend_by_model.cost is 'US dollars.';

create view metering.spend_by_workflow
with (security_invoker = true)
as
select
  r.organization_id,
  r.day,
  r.scope_id::uuid as workflow_id,
  sum(r.requests)::bigint as requests,
  sum(r.prompt_tokens)::bigint as prompt_tokens,
  sum(r.completion_tokens)::bigint as completion_tokens,
  sum(r.cost)::numeric as cost
from metering.usage_rollups as r
where r.scope = 'workflow'
group by r.organization_id, r.day, r.scope_id::uuid;

comment on view metering.spend_by_workflow is 'Spend by day and workflow.';
comment on column metering.spend_by_workflow.organization_id is 'The organization that pays.';
comment on column metering.spend_by_workflow.day is
  'Calendar day in the organization''s time zone.';
comment on column metering.spend_by_workflow.workflow_id is 'The workflow that spent.';
comment on column metering.spend_by_workflow.requests is 'Number of usages.';
comment on column metering.spend_by_workflow.prompt_tokens is 'Sum of prompt tokens.';
comment on column metering.spend_by_workflow.completion_tokens is 'Sum of completion tokens.';
comment on column metering.spend_by_workflow.cost is 'US dollars.';

create view metering.spend_by_user
with (security_invoker = true)
as
select
  r.organization_id,
  r.day,
  r.scope_id::uuid as user_id,
  sum(r.requests)::bigint as requests,
  sum(r.prompt_tokens)::bigint as prompt_tokens,
  sum(r.completion_tokens)::bigint as completion_tokens,
  sum(r.cost)::numeric as cost
from metering.usage_rollups as r
where r.scope = 'user'
group by r.organization_id, r.day, r.scope_id::uuid;

comment on view metering.spend_by_user is 'Spend by day and person.';
comment on column metering.spend_by_user.organization_id is 'The organization that pays.';
comment on column metering.spend_by_user.day is 'Calendar day in the organization''s time zone.';
comment on column metering.spend_by_user.user_id is 'The person who spent.';
comment on column metering.spend_by_user.requests is 'Number of usages.';
comment on column metering.spend_by_user.prompt_tokens is 'Sum of prompt tokens.';
comment on column metering.spend_by_user.completion_tokens is 'Sum of completion tokens.';
comment on column metering.spend_by_user.cost is 'US dollars.';

create view metering.spend_by_tag
with (security_invoker = true)
as
select
  r.organization_id,
  r.day,
  r.scope_id as tag,
  sum(r.requests)::bigint as requests,
  sum(r.prompt_tokens)::bigint as prompt_tokens,
  sum(r.completion_tokens)::bigint as completion_tokens,
  sum(r.cost)::numeric as cost
from metering.usage_rollups as r
where r.scope = 'tag'
group by r.organization_id, r.day, r.scope_id;

comment on view metering.spend_by_tag is
  'Spend by day and tag. A usage with two tags is in both, so tags do not add up to the day.';
comment on column metering.spend_by_tag.organization_id is 'The organization that pays.';
comment on column metering.spend_by_tag.day is 'Calendar day in the organization''s time zone.';
comment on column metering.spend_by_tag.tag is 'key=value.';
comment on column metering.spend_by_tag.requests is 'Number of usages.';
comment on column metering.spend_by_tag.prompt_tokens is 'Sum of prompt tokens.';
comment on column metering.spend_by_tag.completion_tokens is 'Sum of completion tokens.';
comment on column metering.spend_by_tag.cost is 'US dollars.';

create view public.ai_cost_by_organization_month
with (security_invoker = true)
as
select
  r.organization_id,
  date_trunc('month', r.day::timestamp)::date as month,
  sum(r.cost) as monthly_cost,
  sum(r.requests)::bigint as request_count
from metering.usage_rollups as r
where r.scope = 'organization'
group by r.organization_id, date_trunc('month', r.day::timestamp)::date;

comment on view public.ai_cost_by_organization_month is
  'Cost and requests by organization and month (ai_cost_governance, Organization Cost Analysis).';
comment on column public.ai_cost_by_organization_month.organization_id is
  'The organization that pays.';
comment on column public.ai_cost_by_organization_month.month is
  'First day of the month, in the organization''s time zone.';
comment on column public.ai_cost_by_organization_month.monthly_cost is 'US dollars.';
comment on column public.ai_cost_by_organization_month.request_count is 'Number of usages.';

create view public.ai_cost_by_model
with (security_invoker = true)
as
select
  r.organization_id,
  r.model,
  sum(r.cost) as total_cost,
  private.round_half_even(sum(r.cost)::numeric(48, 24) / sum(r.requests), 12) as avg_cost,
  sum(r.prompt_tokens + r.completion_tokens)::bigint as total_tokens
from metering.usage_rollups as r
where r.scope = 'organization'
group by r.organization_id, r.model;

comment on view public.ai_cost_by_model is
  'Cost and tokens by organization and model (ai_cost_governance, Model Performance).';
comment on column public.ai_cost_by_model.organization_id is 'The organization that pays.';
comment on column public.ai_cost_by_model.model is 'The model, as recorded.';
comment on column public.ai_cost_by_model.total_cost is 'US dollars.';
comment on column public.ai_cost_by_model.avg_cost is
  'US dollars per usage, rounded half even at 12 decimals.';
comment on column public.ai_cost_by_model.total_tokens is 'Prompt and completion tokens.';

create view public.ai_cost_by_workflow
with (security_invoker = true)
as
with spend as (
  select
    r.organization_id,
    r.scope_id::uuid as workflow_id,
    r.cost,
    r.requests::bigint as requests,
    r.model
  from metering.usage_rollups as r
  where r.scope = 'workflow'
  union all
  -- Outside any workflow is what the organization has and no workflow.
  select
    r.organization_id,
    null as workflow_id,
    case when r.scope = 'organization' then r.cost else -r.cost end as cost,
    case when r.scope = 'organization' then r.requests else -r.requests end as requests,
    r.model
  from metering.usage_rollups as r
  where r.scope in ('organization', 'workflow')
)

select
  s.organization_id,
  s.workflow_id,
  sum(s.cost) as total_cost,
  sum(s.requests)::bigint as request_count,
  s.model
from spend as s
group by s.organization_id, s.workflow_id, s.model
having sum(s.requests) > 0;

comment on view public.ai_cost_by_workflow is
  'Cost and requests by workflow and model (ai_cost_governance, Workflow Economics).';
comment on column public.ai_cost_by_workflow.organization_id is 'The organization that pays.';
comment on column public.ai_cost_by_workflow.workflow_id is
  'The workflow that spent; null for calls outside any.';
comment on column public.ai_cost_by_workflow.total_cost is 'US dollars.';
comment on column public.ai_cost_by_workflow.request_count is 'Number of usages.';
comment on column public.ai_cost_by_workflow.model is 'The model, as recorded.';
