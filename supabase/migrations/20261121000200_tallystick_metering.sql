-- Built by scripts/build-migrations from sql/metering; edit there.

-- sql/metering/tables.sql

-- The hot path: workflows, the budgets that cap them, the ledger of what was spent.
--
-- Money is US dollars, numeric(24,12). NaN passes a ">= 0" check, so it is named in each.

create table metering.workflows (
  organization_id uuid not null,
  id uuid not null default private.uuid_v7(),
  workflow_data jsonb not null default '{}',
  created_at timestamptz not null default private.clock_now(),
  updated_at timestamptz not null default private.clock_now(),
  constraint workflows_pkey primary key (organization_id, id),
  constraint workflows_organization_id_fkey
  foreign key (organization_id) references tenancy.organizations (id) on delete restrict,
  constraint workflows_data_is_an_object check (jsonb_typeof(workflow_data) = 'object'),
  constraint workflows_total_is_never_stored check (not workflow_data ? 'total_ai_cost')
);

-- A workflow is looked up by its id alone; a non-unique index would let another tenant claim it.
create unique index workflows_id_idx on metering.workflows (id);

-- Its spend is kept, so it is.
create trigger workflows_reject_delete before delete on metering.workflows
for each row execute function private.reject_mutation();
create trigger workflows_reject_truncate before truncate on metering.workflows
for each statement execute function private.reject_mutation();

comment on table metering.workflows is
  'A unit of AI work with a total of its own (ai_cost_governance: intent_workflows). Read and '
  'write it through public.intent_workflows; reference it by (organization_id, id).';
comment on column metering.workflows.organization_id is 'The organization that pays.';
comment on column metering.workflows.id is 'Id of the workflow.';
comment on column metering.workflows.workflow_data is
  'The application''s own document, an object. Its total_ai_cost is never stored here: the view '
  'public.intent_workflows adds it from the slots, so writing the document cannot erase spend.';
comment on column metering.workflows.created_at is 'When it was opened.';
comment on column metering.workflows.updated_at is
  'When its document was last written; recording spend does not touch it.';

create table metering.budgets (
  organization_id uuid not null,
  id uuid not null default private.uuid_v7(),
  scope text not null,
  scope_id text not null default '',
  time_window text not null,
  limit_usd numeric(24, 12),
  enforcement text not null default 'hard',
  slot_count smallint not null default 1,
  created_at timestamptz not null default private.clock_now(),
  updated_at timestamptz not null default private.clock_now(),
  constraint budgets_pkey primary key (organization_id, id),
  constraint budgets_organization_id_scope_scope_id_time_window_key
  unique (organization_id, scope, scope_id, time_window),
  constraint budgets_organization_id_fkey
  foreign key (organization_id) references tenancy.organizations (id) on delete restrict,
  constraint budgets_scope_and_window_are_known
  check (
    (scope, time_window) in (
      ('organization', 'total'), ('organization', 'month'), ('workflow', 'total')
    )
  ),
  constraint budgets_organization_scope_has_no_id
  check ((scope = 'organization') = (scope_id = '')),
  constraint budgets_limit_is_an_amount check (limit_usd >= 0 and limit_usd <> 'NaN'),
  constraint budgets_implicit_budget_is_uncapped
  check (limit_usd is null or id <> organization_id),
  constraint budgets_enforcement_is_known check (enforcement = 'hard'),
  constraint budgets_slot_count_is_one check (slot_count = 1)
);

comment on table metering.budgets is
  'A cap over a scope and a window. Two exist from birth, without a limit, to count what touches '
  'them: one per organization, whose id is the organization''s, and one per workflow, whose id '
  'is the workflow''s.';
comment on column metering.budgets.organization_id is 'The organization that pays.';
comment on column metering.budgets.id is
  'Id of the budget; the organization''s or workflow''s own for those that exist from birth.';
comment on column metering.budgets.scope is 'What is capped: organization or workflow.';
comment on column metering.budgets.scope_id is
  'Which one: the workflow''s id; empty for the organization itself.';
comment on column metering.budgets.time_window is
  'Over which time: total, or month in the organization''s time zone.';
comment on column metering.budgets.limit_usd is
  'The cap in US dollars; null where no cap is stored.';
comment on column metering.budgets.enforcement is 'hard: checks refuse what does not fit.';
comment on column metering.budgets.slot_count is
  'Over how many rows the counters are spread.';
comment on column metering.budgets.created_at is 'When it was made.';
comment on column metering.budgets.updated_at is 'When its cap was last stored or removed.';

create table metering.budget_slots (
  organization_id uuid not null,
  budget_id uuid not null,
  slot smallint not null,
  window_start timestamptz not null default '-infinity',
  settled_usd numeric(24, 12) not null default 0,
  held_usd numeric(24, 12) not null default 0,
  available_usd numeric(24, 12),
  debt_usd numeric(24, 12) not null default 0,
  config_version integer not null default 0,
  constraint budget_slots_pkey primary key (organization_id, budget_id, slot),
  constraint budget_slots_organization_id_budget_id_fkey
  foreign key (organization_id, budget_id)
  references metering.budgets (organization_id, id) on delete restrict,
  constraint budget_slots_slot_is_not_negative check (slot >= 0),
  constraint budget_slots_settled_is_an_amount check (settled_usd >= 0 and settled_usd <> 'NaN'),
  constraint budget_slots_held_is_an_amount check (held_usd >= 0 and held_usd <> 'NaN'),
  constraint budget_slots_available_is_an_amount
  check (available_usd >= 0 and available_usd <> 'NaN'),
  constraint budget_slots_debt_is_an_amount check (debt_usd >= 0 and debt_usd <> 'NaN'),
  constraint budget_slots_debt_means_nothing_is_available
  check (debt_usd = 0 or available_usd is not distinct from 0)
)
-- Counters are updated in place: room on the page and no index on a counter keep updates HOT.
with (fillfactor = 50);

comment on table metering.budget_slots is
  'The counters of a budget. A call locks the organization''s own budget (id = organization id) '
  'first, then the others by (budget id, slot).';
comment on column metering.budget_slots.organization_id is 'The organization that pays.';
comment on column metering.budget_slots.budget_id is 'The budget whose counters these are.';
comment on column metering.budget_slots.slot is 'Which stripe of the budget, from 0.';
comment on column metering.budget_slots.window_start is
  'Start of the window these figures belong to; -infinity for total. Moves forward only.';
comment on column metering.budget_slots.settled_usd is 'Recorded spend of the window, US dollars.';
comment on column metering.budget_slots.held_usd is
  'Money reserved for calls under way, US dollars.';
comment on column metering.budget_slots.available_usd is
  'What may still be granted from this slot, US dollars; null where the budget has no cap.';
comment on column metering.budget_slots.debt_usd is
  'By how much spend that could not be refused passed the cap, US dollars.';
comment on column metering.budget_slots.config_version is
  'In the organization''s own budget: how often its budgets or its time zone were changed.';

create table metering.usage_rollups (
  organization_id uuid not null,
  day date not null,
  model text not null,
  slot smallint not null,
  requests bigint not null,
  prompt_tokens bigint not null,
  completion_tokens bigint not null,
  cost numeric(24, 12) not null,
  constraint usage_rollups_pkey primary key (organization_id, day, model, slot),
  constraint usage_rollups_organization_id_fkey
  foreign key (organization_id) references tenancy.organizations (id) on delete restrict,
  constraint usage_rollups_requests_are_positive check (requests > 0),
  constraint usage_rollups_prompt_tokens_are_not_negative check (prompt_tokens >= 0),
  constraint usage_rollups_completion_tokens_are_not_negative check (completion_tokens >= 0),
  constraint usage_rollups_cost_is_an_amount check (cost >= 0 and cost <> 'NaN')
)
with (fillfactor = 50);

comment on table metering.usage_rollups is
  'Sums of ai_usage_ledger by organization, day, model and slot, written with each usage. Sum over '
  'slots to read. A month is read from here, never by summing the ledger.';
comment on column metering.usage_rollups.organization_id is 'The organization that pays.';
comment on column metering.usage_rollups.day is
  'Calendar day of created_at in the organization''s time zone.';
comment on column metering.usage_rollups.model is 'The model, as recorded.';
comment on column metering.usage_rollups.slot is
  'Stripe that wrote the row, so that callers on one model do not queue on one row.';
comment on column metering.usage_rollups.requests is 'Number of usages.';
comment on column metering.usage_rollups.prompt_tokens is 'Sum of prompt tokens.';
comment on column metering.usage_rollups.completion_tokens is 'Sum of completion tokens.';
comment on column metering.usage_rollups.cost is 'Sum of cost, US dollars.';

create table metering.request_keys (
  organization_id uuid not null,
  operation text not null,
  request_id text not null,
  content_hash text not null,
  subject_id uuid not null,
  created_at timestamptz not null default private.clock_now(),
  constraint request_keys_pkey primary key (organization_id, operation, request_id),
  constraint request_keys_operation_is_known check (operation = 'record'),
  constraint request_keys_request_id_is_1_to_255_characters
  check (request_id ~ '\S' and length(request_id) <= 255),
  constraint request_keys_content_hash_is_sha256 check (content_hash ~ '^[0-9a-f]{64}$')
);

comment on table metering.request_keys is
  'What a retried request did the first time. A table of its own, because a ledger partitioned by '
  'id cannot carry this key. Kept 400 days.';
comment on column metering.request_keys.organization_id is 'The organization that pays.';
comment on column metering.request_keys.operation is 'Which function bound the key: record.';
comment on column metering.request_keys.request_id is
  'The caller''s own name for the request, 1 to 255 characters.';
comment on column metering.request_keys.content_hash is
  'SHA-256 over the caller''s arguments: the same id with other content is refused (TS409).';
comment on column metering.request_keys.subject_id is
  'What the request made: the id of the usage.';
comment on column metering.request_keys.created_at is 'When the request was first made.';

create table public.ai_usage_ledger (
  id uuid not null,
  workflow_id uuid not null,
  organization_id uuid not null,
  model text not null,
  prompt_tokens integer not null,
  completion_tokens integer not null,
  cost numeric(24, 12) not null,
  created_at timestamptz not null,
  settled_at timestamptz not null,
  constraint ai_usage_ledger_pkey primary key (organization_id, id),
  constraint ai_usage_ledger_model_is_1_to_255_characters
  check (model ~ '\S' and length(model) <= 255),
  constraint ai_usage_ledger_prompt_tokens_are_not_negative check (prompt_tokens >= 0),
  constraint ai_usage_ledger_completion_tokens_are_not_negative check (completion_tokens >= 0),
  constraint ai_usage_ledger_cost_is_an_amount check (cost >= 0 and cost <> 'NaN'),
  constraint ai_usage_ledger_created_at_is_the_time_in_id
  check (created_at = private.uuid_v7_time(id)),
  constraint ai_usage_ledger_is_settled_after_it_is_created check (settled_at >= created_at)
)
partition by range (id);

-- One id, one usage, whichever tenant: id is the partition key, so it can be unique by itself.
create unique index ai_usage_ledger_id_idx on public.ai_usage_ledger (id);
create index idx_ai_usage_ledger_org_month on public.ai_usage_ledger (organization_id, created_at);
create index idx_ai_usage_ledger_workflow on public.ai_usage_ledger (workflow_id);

create trigger ai_usage_ledger_reject_mutation before update or delete on public.ai_usage_ledger
for each row execute function private.reject_mutation();
create trigger ai_usage_ledger_reject_truncate before truncate on public.ai_usage_ledger
for each statement execute function private.reject_mutation();

comment on table public.ai_usage_ledger is
  'Append-only record of every AI request (ai_cost_governance). The single source of truth for '
  'billing and analytics: every total in the product is a sum over it. Partitioned by month on id.';
comment on column public.ai_usage_ledger.id is
  'Time-ordered id, made in the database; its first 48 bits are created_at.';
comment on column public.ai_usage_ledger.workflow_id is 'The workflow that spent.';
comment on column public.ai_usage_ledger.organization_id is 'The organization that pays.';
comment on column public.ai_usage_ledger.model is 'The model that was called, as stated.';
comment on column public.ai_usage_ledger.prompt_tokens is 'Tokens sent.';
comment on column public.ai_usage_ledger.completion_tokens is 'Tokens received.';
comment on column public.ai_usage_ledger.cost is 'Cost in US dollars, exact.';
comment on column public.ai_usage_ledger.created_at is
  'When it was spent, to the millisecond: the time in id. Windows and reports go by it.';
comment on column public.ai_usage_ledger.settled_at is 'When it was recorded here.';

insert into private.partitioned_ledgers (parent) values ('public.ai_usage_ledger');

-- sql/metering/budgets.sql

-- Stored caps, and the budgets every organization and workflow has from birth.

-- An organization is born with the budget that every call in it touches first.
create function private.open_organization_budget()
returns trigger
language plpgsql
volatile
security definer -- writes budgets, which no role may write itself
set search_path = pg_catalog, pg_temp
as $$
begin
  insert into metering.budgets (organization_id, id, scope, time_window)
  values (new.id, new.id, 'organization', 'total');
  insert into metering.budget_slots (organization_id, budget_id, slot) values (new.id, new.id, 0);
  return null;
end
$$;

comment on function private.open_organization_budget() is
  'Trigger: gives a new organization its implicit total budget.';

create trigger organizations_open_budget after insert on tenancy.organizations
for each row execute function private.open_organization_budget();

-- A workflow is born with the budget that counts it. Nothing can have been spent on it before, so
-- unlike a later change this needs no lock on the organization.
create function private.open_workflow_budget()
returns trigger
language plpgsql
volatile
security definer -- writes budgets, which no role may write itself
set search_path = pg_catalog, pg_temp
as $$
begin
  insert into metering.budgets (organization_id, id, scope, scope_id, time_window)
  values (new.organization_id, new.id, 'workflow', new.id::text, 'total');
  insert into metering.budget_slots (organization_id, budget_id, slot)
  values (new.organization_id, new.id, 0);
  return null;
end
$$;

comment on function private.open_workflow_budget() is
  'Trigger: gives a new workflow its total budget.';

create trigger workflows_open_budget after insert on metering.workflows
for each row execute function private.open_workflow_budget();

-- Locks every slot of the organization's own budget. Each call that spends updates one of them
-- before it reads which budgets it touches, so whoever holds them all sees no spend in flight.
create function private.gather_organization(p_organization_id uuid)
returns void
language plpgsql
volatile
set search_path = pg_catalog, pg_temp
as $$
begin
  perform from metering.budget_slots as s
  where s.organization_id = p_organization_id and s.budget_id = p_organization_id
  order by s.slot
  for no key update;
end
$$;

comment on function private.gather_organization(uuid) is
  'Waits for all spend in flight of an organization and holds off new spend until the transaction '
  'ends.';

-- Begins a change of an organization's budgets or time zone: no spend is in flight until the
-- transaction ends, and a call whose snapshot is older than the change cannot miss it. Such a call,
-- at REPEATABLE READ or above, finds its slot updated and fails with 40001.
create function private.begin_change(p_organization_id uuid)
returns void
language plpgsql
volatile
set search_path = pg_catalog, pg_temp
as $$
begin
  perform private.gather_organization(p_organization_id);
  update metering.budget_slots as s
  set config_version = s.config_version + 1
  where s.organization_id = p_organization_id and s.budget_id = p_organization_id;
end
$$;

comment on function private.begin_change(uuid) is
  'Waits for all spend in flight of an organization and makes later spend see the change.';

-- Freezing waits for checks under way: whoever was told yes has recorded, or asks again.
create function private.announce_freeze()
returns trigger
language plpgsql
volatile
security definer -- locks slots, which no role may lock itself
set search_path = pg_catalog, pg_temp
as $$
begin
  perform private.begin_change(new.id);
  return new;
end
$$;

comment on function private.announce_freeze() is
  'Trigger: freezing and unfreezing wait for spend in flight, and no later check misses them.';

create trigger organizations_announce_freeze before update of frozen_at on tenancy.organizations
for each row when (old.frozen_at is distinct from new.frozen_at)
execute function private.announce_freeze();

-- A month that was counted is not cut anew: a time zone stays once usage is recorded. Until then
-- open months are empty, and begin again in the new zone.
create function private.keep_time_zone()
returns trigger
language plpgsql
volatile
security definer -- locks slots, which no role may lock itself
set search_path = pg_catalog, pg_temp
as $$
begin
  perform private.begin_change(old.id);
  if exists (select from metering.usage_rollups as r where r.organization_id = old.id) then
    perform private.raise_error(
      '23001', jsonb_build_object('organization_id', old.id, 'time_zone', old.time_zone)
    );
  end if;
  update metering.budget_slots as s set window_start = '-infinity'
  where s.organization_id = old.id;
  return new;
end
$$;

comment on function private.keep_time_zone() is
  'Trigger: refuses another time zone once usage is recorded. Errors: 23001.';

create trigger organizations_keep_time_zone before update of time_zone on tenancy.organizations
for each row when (old.time_zone <> new.time_zone)
execute function private.keep_time_zone();

-- Stores, changes or (p_limit null) removes the cap of one scope and window.
--
-- Locks: the organization's own slots, then the budget's, so no spend is in flight. The opening
-- figures of a new budget are then read in a new statement, from the rollups.
-- Idempotent: the same call again changes nothing.
create function private.put_budget(
  p_organization_id uuid,
  p_scope text,
  p_scope_id text,
  p_window text,
  p_limit numeric
)
returns metering.budgets
language plpgsql
volatile
security definer -- writes budgets and slots, which no role may write itself
set search_path = pg_catalog, pg_temp
as $$
declare
  v_now timestamptz := private.clock_now();
  v_budget metering.budgets;
  v_scope_id text := coalesce(p_scope_id, '');
  v_time_zone text;
  v_last_day date;
  v_window_start timestamptz;
begin
  perform private.assert_member(p_organization_id, array['owner', 'admin']);
  if p_limit is not null then
    perform private.assert_money('p_limit', p_limit);
  end if;
  if p_scope = 'organization' and p_window = 'month' then
    if v_scope_id not in ('', p_organization_id::text) then
      perform private.reject_argument('p_scope_id', 'must be empty for the organization itself');
    end if;
    v_scope_id := '';
  elsif p_scope = 'workflow' and p_window = 'total' then
    if v_scope_id !~* '^[0-9a-f]{8}(-[0-9a-f]{4}){3}-[0-9a-f]{12}$' then
      perform private.reject_argument('p_scope_id', 'must be the id of a workflow');
    end if;
    v_scope_id := lower(v_scope_id);
  else
    perform private.reject_argument(
      'p_scope, p_window', 'must be workflow and total, or organization and month'
    );
  end if;

  perform private.begin_change(p_organization_id);

  update metering.budgets as b
  set limit_usd = p_limit, updated_at = v_now
  where b.organization_id = p_organization_id
    and b.scope = p_scope
    and b.scope_id = v_scope_id
    and b.time_window = p_window
  returning * into v_budget;
  if not found then
    -- A workflow has its budget from birth, so a missing one means a missing workflow.
    if p_scope = 'workflow' then
      perform private.raise_error('TS404', jsonb_build_object('workflow_id', v_scope_id));
    end if;
    insert into metering.budgets (
      organization_id, id, scope, scope_id, time_window, limit_usd, created_at, updated_at
    ) values (
      p_organization_id, private.uuid_v7(v_now), p_scope, v_scope_id, p_window, p_limit, v_now, v_now
    )
    returning * into v_budget;
    -- Windows only move forward: a clock that is behind recorded spend opens that spend's month.
    select o.time_zone into strict v_time_zone
    from tenancy.organizations as o where o.id = p_organization_id;
    select max(r.day) into v_last_day
    from metering.usage_rollups as r where r.organization_id = p_organization_id;
    v_window_start := greatest(
      private.window_start(p_window, v_now, v_time_zone),
      private.window_start(p_window, v_last_day::timestamp at time zone v_time_zone, v_time_zone)
    );
    insert into metering.budget_slots (organization_id, budget_id, slot, window_start, settled_usd)
    values (
      p_organization_id, v_budget.id, 0, v_window_start,
      private.monthly_cost(p_organization_id, private.local_day(v_window_start, v_time_zone))
    );
  end if;

  update metering.budget_slots as s
  set
    available_usd = p_limit - least(p_limit, s.settled_usd + s.held_usd),
    debt_usd = s.settled_usd + s.held_usd - least(p_limit, s.settled_usd + s.held_usd)
  where s.organization_id = p_organization_id and s.budget_id = v_budget.id;
  return v_budget;
end
$$;

comment on function private.put_budget(uuid, text, text, text, numeric) is
  'Core of metering.set_budget and metering.remove_budget.';

-- Stores or changes a cap. Idempotent.
create function metering.set_budget(
  p_organization_id uuid,
  p_scope text,
  p_scope_id text,
  p_window text,
  p_limit numeric,
  p_enforcement text default 'hard',
  p_slots integer default null
)
returns metering.budgets
language plpgsql
volatile
set search_path = pg_catalog, pg_temp
as $$
begin
  if p_limit is null then
    perform private.reject_argument('p_limit', 'must not be null');
  end if;
  if p_enforcement is distinct from 'hard' then
    perform private.reject_argument('p_enforcement', 'must be hard');
  end if;
  if p_slots <> 1 then
    perform private.reject_argument('p_slots', 'must be 1');
  end if;
  return private.put_budget(
    p_organization_id => p_organization_id,
    p_scope => p_scope,
    p_scope_id => p_scope_id,
    p_window => p_window,
    p_limit => p_limit
  );
end
$$;

comment on function metering.set_budget(uuid, text, text, text, numeric, text, integer) is
  'Stores or changes the cap of a workflow''s total (scope workflow, its id, window total) or of '
  'the organization''s month (scope organization, no id, window month), in US dollars. For owners, '
  'admins and service_role. A cap below what is spent already refuses the next call. '
  'Errors: 22023, 42501, TS404.';

-- Removes a stored cap; what was counted stays. Idempotent.
create function metering.remove_budget(
  p_organization_id uuid,
  p_scope text,
  p_scope_id text,
  p_window text
)
returns metering.budgets
language sql
volatile
set search_path = pg_catalog, pg_temp
as $$
  select * from private.put_budget(
    p_organization_id => p_organization_id,
    p_scope => p_scope,
    p_scope_id => p_scope_id,
    p_window => p_window,
    p_limit => null
  )
$$;

comment on function metering.remove_budget(uuid, text, text, text) is
  'Removes the stored cap of a scope and window; what was counted stays, and the defaults of the '
  'checks apply again. For owners, admins and service_role. Errors: 22023, 42501, TS404.';

-- sql/metering/checks.sql

-- May this be spent? What was spent this month?

-- The organization a workflow belongs to: the only place that finds a tenant row by its id alone,
-- and so the only body another engine would replace.
create function private.resolve_organization_of_workflow(p_workflow_id uuid)
returns uuid
language plpgsql
stable
set search_path = pg_catalog, pg_temp
as $$
begin
  return (select w.organization_id from metering.workflows as w where w.id = p_workflow_id);
end
$$;

comment on function private.resolve_organization_of_workflow(uuid) is
  'The organization of a workflow the caller may see, or null.';

-- Finds the organization of a workflow and lets only those who may read it pass.
create function private.assert_workflow(p_workflow_id uuid, p_organization_id uuid)
returns uuid
language plpgsql
stable
set search_path = pg_catalog, pg_temp
as $$
declare
  v_organization_id uuid;
begin
  perform private.assert_id('p_workflow_id', p_workflow_id);
  if p_organization_id is null then
    v_organization_id := private.resolve_organization_of_workflow(p_workflow_id);
  else
    perform private.assert_member(p_organization_id);
    select w.organization_id into v_organization_id
    from metering.workflows as w
    where w.organization_id = p_organization_id and w.id = p_workflow_id;
  end if;
  if v_organization_id is null then
    perform private.raise_error('TS404', jsonb_build_object('workflow_id', p_workflow_id));
  end if;
  return v_organization_id;
end
$$;

comment on function private.assert_workflow(uuid, uuid) is
  'Returns the organization of a workflow the caller may read. Errors: 22023, TS404 for a workflow '
  'that is unknown, of another organization, or hidden; 42501 for a named organization the caller '
  'does not belong to.';

-- The cap that applies: the stored one, which a lower stated one lowers; without a stored one, the
-- stated one. A stated cap equal to the documented default is no statement.
create function private.effective_cap(p_stored numeric, p_stated numeric, p_default numeric)
returns numeric
language sql
immutable
set search_path = pg_catalog, pg_temp
as $$
  select case
    when p_stored is null then p_stated
    when p_stated = p_default then p_stored
    else least(p_stored, p_stated)
  end
$$;

comment on function private.effective_cap(numeric, numeric, numeric) is
  'The cap to apply, from the stored one (or null), the stated one and its documented default.';

-- Decides without locking. In a function that locked first, this is the new statement that sees
-- what the lock waited for.
create function private.fits_workflow(
  p_organization_id uuid,
  p_workflow_id uuid,
  p_additional_cost numeric,
  p_max_cost numeric
)
returns boolean
language plpgsql
stable
set search_path = pg_catalog, pg_temp
as $$
begin
  return (
    select
      o.frozen_at is null
      and (
        select sum(s.settled_usd + s.held_usd)
        from metering.budget_slots as s
        where s.organization_id = b.organization_id and s.budget_id = b.id
      ) + p_additional_cost <= private.effective_cap(b.limit_usd, p_max_cost, 1.00)
    from tenancy.organizations as o
    inner join metering.budgets as b on b.organization_id = o.id
    where o.id = p_organization_id and b.id = p_workflow_id
  );
end
$$;

comment on function private.fits_workflow(uuid, uuid, numeric, numeric) is
  'True iff the organization is not frozen and settled + held + additional fits the cap.';

-- Holds off other spend on a workflow until the transaction ends.
--
-- Locks the slots of the organization's own budget, then the workflow's: the order in which
-- recording takes them, so a check and a record in one transaction never wait for each other.
create function private.lock_workflow(p_workflow_id uuid, p_organization_id uuid)
returns void
language plpgsql
volatile
security definer -- locks slots, which takes a right to update them
set search_path = pg_catalog, pg_temp
as $$
begin
  perform private.assert_member(p_organization_id);
  perform private.gather_organization(p_organization_id);
  perform from metering.budget_slots as s
  where s.organization_id = p_organization_id and s.budget_id = p_workflow_id
  order by s.slot
  for no key update;
end
$$;

comment on function private.lock_workflow(uuid, uuid) is
  'Locks the counters of a workflow and its organization, for members and server roles.';

-- May p_additional_cost still be spent on the workflow?
--
-- Holds off all spend of the organization until the transaction ends: a check and the record of no
-- more than was asked for, in one transaction, are exact under any concurrency. So the transaction
-- must not stay open across a model call; alone, the check is an answer about now.
create function public.check_workflow_cost_limit(
  p_workflow_id uuid,
  p_additional_cost numeric,
  p_max_cost numeric default 1.00,
  p_organization_id uuid default null
)
returns boolean
language plpgsql
volatile
set search_path = pg_catalog, pg_temp
as $$
declare
  v_organization_id uuid;
begin
  perform private.assert_money('p_additional_cost', p_additional_cost);
  perform private.assert_money('p_max_cost', p_max_cost);
  v_organization_id := private.assert_workflow(p_workflow_id, p_organization_id);
  perform private.lock_workflow(p_workflow_id, v_organization_id);
  return private.fits_workflow(v_organization_id, p_workflow_id, p_additional_cost, p_max_cost);
end
$$;

comment on function public.check_workflow_cost_limit(uuid, numeric, numeric, uuid) is
  'True iff the organization is not frozen and settled + held + p_additional_cost <= the cap, in '
  'US dollars (ai_cost_governance). A stored cap wins over p_max_cost: a stated 1.00, the default, '
  'is ignored, a lower one lowers it. Holds off all spend of the organization until the '
  'transaction ends, so never keep it open across a model call. Errors: 22023, 42501, TS404.';

-- The same answer without a lock: for GET, replicas and previews.
create function public.estimate_workflow_cost_limit(
  p_workflow_id uuid,
  p_additional_cost numeric,
  p_max_cost numeric default 1.00,
  p_organization_id uuid default null
)
returns boolean
language plpgsql
stable
set search_path = pg_catalog, pg_temp
as $$
begin
  perform private.assert_money('p_additional_cost', p_additional_cost);
  perform private.assert_money('p_max_cost', p_max_cost);
  return private.fits_workflow(
    private.assert_workflow(p_workflow_id, p_organization_id),
    p_workflow_id, p_additional_cost, p_max_cost
  );
end
$$;

comment on function public.estimate_workflow_cost_limit(uuid, numeric, numeric, uuid) is
  'check_workflow_cost_limit without its lock: an answer as of now, also on a read replica. '
  'Errors: 22023, 42501, TS404.';

-- What an organization spent in the month that begins on p_month, from the rollups.
create function private.monthly_cost(p_organization_id uuid, p_month date)
returns numeric
language plpgsql
stable
set search_path = pg_catalog, pg_temp
as $$
begin
  return (
    select coalesce(sum(r.cost), 0)
    from metering.usage_rollups as r
    where r.organization_id = p_organization_id
      and r.day >= p_month
      and r.day < (p_month + interval '1 month')::date
  );
end
$$;

comment on function private.monthly_cost(uuid, date) is
  'Recorded cost in US dollars of the month that begins on p_month.';

-- The first day of an organization's present month. Windows only move forward: a clock that is
-- behind an open month is in that month.
create function private.present_month(p_organization_id uuid)
returns date
language plpgsql
stable
set search_path = pg_catalog, pg_temp
as $$
begin
  return (
    select
      greatest(
        date_trunc('month', private.clock_now() at time zone o.time_zone)::date,
        -- -infinity where no month is open yet
        (
          select private.local_day(max(s.window_start), o.time_zone)
          from metering.budgets as b
          inner join metering.budget_slots as s
            on s.organization_id = b.organization_id and s.budget_id = b.id
          where b.organization_id = o.id
            and b.scope = 'organization'
            and b.time_window = 'month'
        )
      )
    from tenancy.organizations as o
    where o.id = p_organization_id
  );
end
$$;

comment on function private.present_month(uuid) is
  'First day of the present month in the organization''s time zone.';

create function public.get_organization_monthly_ai_cost(p_organization_id uuid)
returns numeric
language plpgsql
stable
set search_path = pg_catalog, pg_temp
as $$
begin
  perform private.assert_member(p_organization_id);
  return private.monthly_cost(p_organization_id, private.present_month(p_organization_id));
end
$$;

comment on function public.get_organization_monthly_ai_cost(uuid) is
  'Recorded cost of the present month in US dollars, the month being the organization''s '
  '(ai_cost_governance). Read from rollups. Errors: 22023, 42501, TS404.';

-- Is the organization's month still within its quota? Takes no lock. After
-- check_workflow_cost_limit in one transaction it is exact, as a statement of its own: within one
-- statement it would answer as of before that check waited for its lock.
create function public.check_organization_monthly_quota(
  p_organization_id uuid,
  p_monthly_limit numeric default 25.00
)
returns boolean
language plpgsql
stable
set search_path = pg_catalog, pg_temp
as $$
declare
  v_month date;
  v_budget metering.budgets;
  v_held numeric;
begin
  perform private.assert_money('p_monthly_limit', p_monthly_limit);
  perform private.assert_member(p_organization_id);
  v_month := private.present_month(p_organization_id);

  select * into v_budget
  from metering.budgets as b
  where b.organization_id = p_organization_id
    and b.scope = 'organization'
    and b.time_window = 'month';
  select coalesce(sum(s.held_usd), 0) into v_held
  from metering.budget_slots as s
  inner join tenancy.organizations as o on o.id = s.organization_id
  where s.organization_id = p_organization_id
    and s.budget_id = v_budget.id
    and private.local_day(s.window_start, o.time_zone) = v_month;

  return (
    select
      o.frozen_at is null
      and private.monthly_cost(p_organization_id, v_month) + v_held
      < private.effective_cap(v_budget.limit_usd, p_monthly_limit, 25.00)
    from tenancy.organizations as o
    where o.id = p_organization_id
  );
end
$$;

comment on function public.check_organization_monthly_quota(uuid, numeric) is
  'True iff the organization is not frozen and settled + held of its present month is below the '
  'limit, in US dollars (ai_cost_governance). A stored cap wins over p_monthly_limit: a stated '
  '25.00, the default, is ignored, a lower one lowers it. Errors: 22023, 42501, TS404.';

-- sql/metering/record.sql

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

-- sql/metering/views.sql

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
  v_workflow public.intent_workflows;
begin
  perform private.assert_id('p_id', p_id);
  perform private.assert_member(
    p_organization_id, array['owner', 'admin', 'finance', 'member']
  );
  if jsonb_typeof(p_workflow_data) is distinct from 'object' then
    perform private.reject_argument('p_workflow_data', 'must be an object');
  end if;

  insert into metering.workflows as w (organization_id, id, workflow_data)
  values (p_organization_id, p_id, p_workflow_data - 'total_ai_cost')
  on conflict (organization_id, id) do update set workflow_data = excluded.workflow_data;

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

create view public.ai_cost_by_organization_month
with (security_invoker = true)
as
select
  r.organization_id,
  date_trunc('month', r.day::timestamp)::date as month,
  sum(r.cost) as monthly_cost,
  sum(r.requests)::bigint as request_count
from metering.usage_rollups as r
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
select
  l.organization_id,
  l.workflow_id,
  sum(l.cost) as total_cost,
  count(*) as request_count,
  l.model
from public.ai_usage_ledger as l
group by l.organization_id, l.workflow_id, l.model;

comment on view public.ai_cost_by_workflow is
  'Cost and requests by workflow and model (ai_cost_governance, Workflow Economics). Reads the '
  'ledger.';
comment on column public.ai_cost_by_workflow.organization_id is 'The organization that pays.';
comment on column public.ai_cost_by_workflow.workflow_id is 'The workflow that spent.';
comment on column public.ai_cost_by_workflow.total_cost is 'US dollars.';
comment on column public.ai_cost_by_workflow.request_count is 'Number of usages.';
comment on column public.ai_cost_by_workflow.model is 'The model, as recorded.';

-- sql/metering/access.sql

-- Who sees and changes what. Members read their organization; members who may spend open and edit
-- workflows; nobody writes ledger, budgets, slots, rollups or keys but the functions.

revoke all on table
metering.workflows, metering.budgets, metering.budget_slots, metering.usage_rollups,
metering.request_keys, public.ai_usage_ledger,
public.intent_workflows, public.ai_cost_by_organization_month, public.ai_cost_by_model,
public.ai_cost_by_workflow
from public, anon, authenticated, service_role, app_user, tallystick_reader, tallystick_writer;

alter table metering.workflows enable row level security;
alter table metering.budgets enable row level security;
alter table metering.budget_slots enable row level security;
alter table metering.usage_rollups enable row level security;
alter table metering.request_keys enable row level security;
alter table public.ai_usage_ledger enable row level security;

grant select on table
metering.workflows, metering.budgets, metering.budget_slots, metering.usage_rollups,
public.ai_usage_ledger, public.intent_workflows,
public.ai_cost_by_organization_month, public.ai_cost_by_model, public.ai_cost_by_workflow
to authenticated, service_role, app_user, tallystick_reader, tallystick_writer;

-- workflows, through public.intent_workflows or directly.
grant insert (organization_id, id, workflow_data), update (workflow_data)
on table metering.workflows to authenticated, service_role, app_user, tallystick_writer;
grant insert, update on table public.intent_workflows
to authenticated, service_role, app_user, tallystick_writer;

create policy workflows_select_member on metering.workflows
for select to authenticated
using (organization_id = any((select private.member_organization_ids())::uuid[]));
create policy workflows_insert_member on metering.workflows
for insert to authenticated
with check (
  organization_id = any(
    (
      select private.member_organization_ids(array['owner', 'admin', 'finance', 'member'])
    )::uuid[]
  )
);
create policy workflows_update_member on metering.workflows
for update to authenticated
using (
  organization_id = any(
    (
      select private.member_organization_ids(array['owner', 'admin', 'finance', 'member'])
    )::uuid[]
  )
)
with check (
  organization_id = any(
    (
      select private.member_organization_ids(array['owner', 'admin', 'finance', 'member'])
    )::uuid[]
  )
);
create policy workflows_select_trusted on metering.workflows
for select to app_user, service_role, tallystick_reader, tallystick_writer using (true);
create policy workflows_insert_trusted on metering.workflows
for insert to app_user, service_role, tallystick_writer with check (true);
create policy workflows_update_trusted on metering.workflows
for update to app_user, service_role, tallystick_writer using (true) with check (true);

create policy budgets_select_member on metering.budgets
for select to authenticated
using (organization_id = any((select private.member_organization_ids())::uuid[]));
create policy budgets_select_trusted on metering.budgets
for select to app_user, service_role, tallystick_reader, tallystick_writer using (true);

create policy budget_slots_select_member on metering.budget_slots
for select to authenticated
using (organization_id = any((select private.member_organization_ids())::uuid[]));
create policy budget_slots_select_trusted on metering.budget_slots
for select to app_user, service_role, tallystick_reader, tallystick_writer using (true);

create policy usage_rollups_select_member on metering.usage_rollups
for select to authenticated
using (organization_id = any((select private.member_organization_ids())::uuid[]));
create policy usage_rollups_select_trusted on metering.usage_rollups
for select to app_user, service_role, tallystick_reader, tallystick_writer using (true);

create policy ai_usage_ledger_select_member on public.ai_usage_ledger
for select to authenticated
using (organization_id = any((select private.member_organization_ids())::uuid[]));
create policy ai_usage_ledger_select_trusted on public.ai_usage_ledger
for select to app_user, service_role, tallystick_reader, tallystick_writer using (true);

-- request_keys: the servers' own bookkeeping, not the members'.
grant select on table metering.request_keys
to service_role, app_user, tallystick_reader, tallystick_writer;
create policy request_keys_select_trusted on metering.request_keys
for select to app_user, service_role, tallystick_reader, tallystick_writer using (true);

revoke execute on function
private.open_organization_budget(),
private.open_workflow_budget(),
private.gather_organization(uuid),
private.begin_change(uuid),
private.announce_freeze(),
private.keep_time_zone(),
private.put_budget(uuid, text, text, text, numeric),
private.resolve_organization_of_workflow(uuid),
private.assert_workflow(uuid, uuid),
private.effective_cap(numeric, numeric, numeric),
private.fits_workflow(uuid, uuid, numeric, numeric),
private.lock_workflow(uuid, uuid),
private.monthly_cost(uuid, date),
private.present_month(uuid),
private.find_request(uuid, text, text, text),
private.bind_request(uuid, text, text, jsonb, uuid),
private.covering_budgets(uuid, uuid),
private.charge_slot(metering.budgets, integer, timestamptz, numeric),
private.write_intent_workflow(),
metering.set_budget(uuid, text, text, text, numeric, text, integer),
metering.remove_budget(uuid, text, text, text),
public.check_workflow_cost_limit(uuid, numeric, numeric, uuid),
public.estimate_workflow_cost_limit(uuid, numeric, numeric, uuid),
public.get_organization_monthly_ai_cost(uuid),
public.check_organization_monthly_quota(uuid, numeric),
public.record_usage_and_increment(uuid, uuid, text, integer, integer, numeric, text),
public.upsert_intent_workflow(uuid, uuid, jsonb)
from public, anon, authenticated, service_role;

-- Readers and writers alike. lock_workflow is a definer: it locks counters of workflows whose
-- organization the caller belongs to, and changes nothing.
grant execute on function
private.resolve_organization_of_workflow(uuid),
private.assert_workflow(uuid, uuid),
private.effective_cap(numeric, numeric, numeric),
private.fits_workflow(uuid, uuid, numeric, numeric),
private.lock_workflow(uuid, uuid),
private.monthly_cost(uuid, date),
private.present_month(uuid),
public.check_workflow_cost_limit(uuid, numeric, numeric, uuid),
public.estimate_workflow_cost_limit(uuid, numeric, numeric, uuid),
public.get_organization_monthly_ai_cost(uuid),
public.check_organization_monthly_quota(uuid, numeric),
public.upsert_intent_workflow(uuid, uuid, jsonb)
to authenticated, service_role, app_user, tallystick_writer;

-- Owners, admins and operators. put_budget is a definer: it asks for the role itself.
grant execute on function
private.put_budget(uuid, text, text, text, numeric),
metering.set_budget(uuid, text, text, text, numeric, text, integer),
metering.remove_budget(uuid, text, text, text)
to authenticated, service_role;

-- Writers only: no tenant states what it cost.
grant execute on function
public.record_usage_and_increment(uuid, uuid, text, integer, integer, numeric, text)
to service_role, app_user, tallystick_writer;
