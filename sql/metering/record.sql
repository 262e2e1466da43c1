-- What was spent?

-- What an earlier request with this id made, or null. Locks nothing.
create function private.find_request(
  p_organization_id uuid,
  p_operation text,
  p_request_id text,
  p_content_hash text
)
returns uuid
language plpgsql
stable
set search_path = pg_catalog, pg_temp
as $$
declare
  v_bound metering.request_keys;
begin
  select * into v_bound
  from metering.request_keys as k
  where k.organization_id = p_organization_id
    and k.operation = p_operation
    and k.request_id = p_request_id;
  if v_bound.content_hash <> p_content_hash then
    perform private.raise_error(
      'TS409', jsonb_build_object('operation', p_operation, 'request_id', p_request_id)
    );
  end if;
  return v_bound.subject_id;
end
$$;

comment on function private.find_request(uuid, text, text, text) is
  'What a request id is bound to, or null. Errors: TS409 for an id bound to other content.';

-- Binds a request id to what the call is about to make. Returns null when this call is the first,
-- or else what an earlier one made.
--
-- Locks: the organization's own slots, then the key. In this order transactions that share request
-- ids wait for the slot, where they queue, and never for each other's keys.
create function private.bind_request(
  p_organization_id uuid,
  p_operation text,
  p_request_id text,
  p_content jsonb,
  p_subject_id uuid
)
returns uuid
language plpgsql
volatile
set search_path = pg_catalog, pg_temp
as $$
declare
  v_hash text := private.content_hash(p_content);
  v_subject_id uuid := private.find_request(
    p_organization_id, p_operation, p_request_id, v_hash
  );
begin
  if v_subject_id is null then
    perform private.gather_organization(p_organization_id);
  end if;
  -- Again, should maintain() forget the old key between the two statements.
  while v_subject_id is null loop
    insert into metering.request_keys (
      organization_id, operation, request_id, content_hash, subject_id, created_at
    ) values (
      p_organization_id, p_operation, p_request_id, v_hash, p_subject_id,
      private.uuid_v7_time(p_subject_id)
    )
    on conflict (organization_id, operation, request_id) do nothing;
    if found then
      return null;
    end if;
    v_subject_id := private.find_request(p_organization_id, p_operation, p_request_id, v_hash);
  end loop;
  return v_subject_id;
end
$$;

comment on function private.bind_request(uuid, text, text, jsonb, uuid) is
  'Binds a request id to what it made, at most once. Errors: TS409 for other content.';

-- The budgets a call touches beside the organization's own, in the order their slots are locked.
create function private.covering_budgets(p_organization_id uuid, p_workflow_id uuid)
returns metering.budgets[]
language plpgsql
stable
set search_path = pg_catalog, pg_temp
as $$
begin
  -- Two index look-ups: an OR would read every budget of the organization.
  return (
    select array_agg(b::metering.budgets order by b.id)
    from (
      select w.* from metering.budgets as w
      where w.organization_id = p_organization_id and w.id = p_workflow_id
      union all
      select o.* from metering.budgets as o
      where o.organization_id = p_organization_id
        and o.scope = 'organization'
        and o.time_window <> 'total'
    ) as b
  );
end
$$;

comment on function private.covering_budgets(uuid, uuid) is
  'The budgets of the workflow and of the organization''s windows, by id.';

-- Adds spend to one slot of one budget. Spend is never refused: what the slot cannot cover
-- becomes debt. The caller keeps the lock order.
create function private.charge_slot(
  p_budget metering.budgets,
  p_slot integer,
  p_window_start timestamptz,
  p_amount numeric
)
returns void
language plpgsql
volatile
set search_path = pg_catalog, pg_temp
as $$
begin
  if p_budget.time_window <> 'total' then
    update metering.budget_slots as s
    set
      window_start = p_window_start,
      settled_usd = 0,
      held_usd = 0,
      available_usd = p_budget.limit_usd,
      debt_usd = 0
    where s.organization_id = p_budget.organization_id
      and s.budget_id = p_budget.id
      and s.window_start < p_window_start;
  end if;
  update metering.budget_slots as s
  set
    settled_usd = s.settled_usd + p_amount,
    available_usd = s.available_usd - least(s.available_usd, p_amount),
    debt_usd = s.debt_usd + p_amount - least(s.available_usd, p_amount)
  where s.organization_id = p_budget.organization_id
    and s.budget_id = p_budget.id
    and s.slot = p_slot;
end
$$;

comment on function private.charge_slot(metering.budgets, integer, timestamptz, numeric) is
  'Adds p_amount (US dollars) to a slot, opening the window that begins at p_window_start first.';

-- Records one AI request: ledger, totals and rollup in one transaction.
--
-- Never refuses real spend: above a cap, or of a frozen organization, it lands all the same and
-- the next check refuses.
-- Locks, until the transaction ends: the organization's own slot, then the request key, then the
-- slots of the budgets it touches by budget id. The list of budgets is read after the first slot is
-- locked, in a new statement: a budget created or changed meanwhile is on it.
-- Idempotent by p_request_id: the same id and content is one record, other content is TS409.
create function public.record_usage_and_increment(
  p_workflow_id uuid,
  p_organization_id uuid,
  p_model text,
  p_prompt_tokens integer,
  p_completion_tokens integer,
  p_cost numeric,
  p_request_id text default null
)
returns void
language plpgsql
volatile
security definer -- writes ledger and counters, which no role may write itself
set search_path = pg_catalog, pg_temp
as $$
declare
  v_now timestamptz := private.clock_now();
  v_id uuid := private.uuid_v7(v_now);
  v_slot constant integer := 0;
  v_time_zone text;
  v_latest_window timestamptz;
  v_budgets metering.budgets[];
  v_budget metering.budgets;
begin
  perform private.assert_id('p_workflow_id', p_workflow_id);
  perform private.assert_id('p_organization_id', p_organization_id);
  perform private.assert_text('p_model', p_model);
  perform private.assert_count('p_prompt_tokens', p_prompt_tokens);
  perform private.assert_count('p_completion_tokens', p_completion_tokens);
  perform private.assert_money('p_cost', p_cost);
  if p_request_id is not null then
    perform private.assert_text('p_request_id', p_request_id);
  end if;
  if not exists (
    select from metering.workflows as w
    where w.organization_id = p_organization_id and w.id = p_workflow_id
  ) then
    perform private.raise_error(
      'TS404',
      jsonb_build_object('organization_id', p_organization_id, 'workflow_id', p_workflow_id)
    );
  end if;

  if p_request_id is not null and private.bind_request(
    p_organization_id => p_organization_id,
    p_operation => 'record',
    p_request_id => p_request_id,
    p_content => jsonb_build_object(
      'workflow_id', p_workflow_id,
      'model', p_model,
      'prompt_tokens', p_prompt_tokens,
      'completion_tokens', p_completion_tokens,
      'cost', p_cost
    ),
    p_subject_id => v_id
  ) is not null then
    return;
  end if;

  update metering.budget_slots as s
  set settled_usd = s.settled_usd + p_cost
  where s.organization_id = p_organization_id
    and s.budget_id = p_organization_id
    and s.slot = v_slot;

  v_budgets := private.covering_budgets(p_organization_id, p_workflow_id);
  select o.time_zone into strict v_time_zone
  from tenancy.organizations as o where o.id = p_organization_id;

  -- Windows only move forward. A call whose clock is behind an open window belongs to that window
  -- altogether: id, ledger time, rollup and counters agree.
  select max(s.window_start) into v_latest_window
  from metering.budget_slots as s
  where s.organization_id = p_organization_id
    and s.budget_id = any(array(select b.id from unnest(v_budgets) as b));
  if v_latest_window > v_now then
    v_now := v_latest_window;
    v_id := private.uuid_v7(v_now);
    update metering.request_keys as k
    set subject_id = v_id
    where k.organization_id = p_organization_id
      and k.operation = 'record'
      and k.request_id = p_request_id;
  end if;

  foreach v_budget in array v_budgets loop
    perform private.charge_slot(
      p_budget => v_budget,
      p_slot => v_slot,
      p_window_start => private.window_start(v_budget.time_window, v_now, v_time_zone),
      p_amount => p_cost
    );
  end loop;

  perform private.ensure_partition('public.ai_usage_ledger', v_now);
  insert into public.ai_usage_ledger (
    id, workflow_id, organization_id, model, prompt_tokens, completion_tokens, cost,
    created_at, settled_at
  ) values (
    v_id, p_workflow_id, p_organization_id, p_model, p_prompt_tokens, p_completion_tokens, p_cost,
    private.uuid_v7_time(v_id), v_now
  );
  insert into metering.usage_rollups as r (
    organization_id, day, model, slot, requests, prompt_tokens, completion_tokens, cost
  ) values (
    p_organization_id, private.local_day(v_now, v_time_zone), p_model, v_slot,
    1, p_prompt_tokens, p_completion_tokens, p_cost
  )
  on conflict (organization_id, day, model, slot) do update
  set
    requests = r.requests + excluded.requests,
    prompt_tokens = r.prompt_tokens + excluded.prompt_tokens,
    completion_tokens = r.completion_tokens + excluded.completion_tokens,
    cost = r.cost + excluded.cost;
end
$$;

comment on function public.record_usage_and_increment(
  uuid, uuid, text, integer, integer, numeric, text
) is
  'Records one AI request: a row in ai_usage_ledger and every total with it, or nothing '
  '(ai_cost_governance). p_cost in US dollars, at most 12 decimals. For server roles only: a '
  'tenant never states what it cost. A retry with the same p_request_id and content is one record. '
  'Errors: 22023, TS404, TS409.';
