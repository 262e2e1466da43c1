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
