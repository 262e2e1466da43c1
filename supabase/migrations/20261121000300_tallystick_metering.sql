-- Built by scripts/build-migrations from sql/metering; edit there.

-- sql/metering/tables.sql

-- The hot path: workflows, budgets, holds, the ledger of what was spent.
--
-- What every spend writes (slots, holds, keys, rollups, ledger) has no foreign key to a row that
-- changes and rules its columns by domains: see foundation/types.sql.

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
  scope_key text not null generated always as (scope || ':' || scope_id) stored,
  time_window text not null,
  draw_day date,
  limit_usd private.usd,
  enforcement text not null default 'hard',
  slot_count smallint not null default 1,
  time_zone text,
  frozen_at timestamptz,
  prepaid_since timestamptz,
  approval_above_usd private.usd,
  is_funded boolean not null default false,
  only_model private.label,
  excess_usd private.usd_sum not null default 0,
  created_at timestamptz not null default private.clock_now(),
  updated_at timestamptz not null default private.clock_now(),
  constraint budgets_pkey primary key (organization_id, id),
  constraint budgets_organization_id_scope_key_time_window_draw_day_key
  unique nulls not distinct (organization_id, scope_key, time_window, draw_day),
  constraint budgets_organization_id_fkey
  foreign key (organization_id) references tenancy.organizations (id) on delete restrict,
  constraint budgets_scope_is_known
  check (
    scope in (
      'organization', 'workflow', 'run', 'draw', 'venture', 'venture_profile', 'user', 'api_key',
      'model', 'tag'
    )
  ),
  constraint budgets_window_is_known
  check (time_window in ('total', 'hour', 'day', 'week', 'month')),
  constraint budgets_organization_scope_has_no_id
  check ((scope in ('organization', 'draw')) = (scope_id = '')),
  constraint budgets_draw_is_of_a_day
  check ((scope = 'draw') = (draw_day is not null) and (scope <> 'draw' or time_window = 'day')),
  constraint budgets_prepaid_is_said_of_the_organization
  check (prepaid_since is null or id = organization_id),
  constraint budgets_approval_is_said_of_the_organization
  check (approval_above_usd is null or id = organization_id),
  constraint budgets_credits_fund_runs_and_draws
  check (is_funded = (scope = 'draw') or scope = 'run' and is_funded and id::text = scope_id),
  constraint budgets_only_model_is_said_of_funded_runs
  check (only_model is null or scope = 'run' and is_funded),
  constraint budgets_own_budget_is_the_organizations_total
  check (id <> organization_id or scope_key = 'organization:' and time_window = 'total'),
  constraint budgets_time_zone_is_for_windows
  check ((time_zone is not null) = (time_window <> 'total' or id = organization_id)),
  constraint budgets_enforcement_is_known check (enforcement in ('hard', 'soft')),
  constraint budgets_slot_count_is_1_to_256 check (slot_count between 1 and 256)
);

comment on table metering.budgets is
  'A cap over a scope and a window. A call touches every budget that covers it, and all of them '
  'must admit it. Two kinds exist from birth, without a limit, to count what touches them: the own '
  'budget of an organization, whose id is the organization''s, and one per workflow, whose id is '
  'the workflow''s. Two kinds are funded by credits, and exist while what they fund goes on: of a '
  'run and of a draw, whose ids they have.';
comment on column metering.budgets.organization_id is 'The organization that pays.';
comment on column metering.budgets.id is
  'Id of the budget; the organization''s or workflow''s own for those that exist from birth.';
comment on column metering.budgets.scope is
  'What is capped: organization, workflow, run, draw, venture, venture_profile, user, api_key, '
  'model or tag.';
comment on column metering.budgets.scope_id is
  'Which one: an id, a model, a tag as key=value, or a profile of a venture as venture/profile; '
  'empty for the organization itself and its draws.';
comment on column metering.budgets.scope_key is
  'scope and scope_id in one text, by which a call finds the budgets that cover it.';
comment on column metering.budgets.time_window is
  'Over which time: total, hour, day, week (from Monday) or month, in the organization''s time '
  'zone.';
comment on column metering.budgets.draw_day is
  'Of a draw: which day it is for. Null for all others.';
comment on column metering.budgets.limit_usd is
  'The cap in US dollars; null where nothing is capped, only counted.';
comment on column metering.budgets.enforcement is
  'hard: what does not fit is denied. soft: it is granted, and the decision says so.';
comment on column metering.budgets.slot_count is
  'Over how many rows the counters are spread, 1 to 256: about twice the connections that spend '
  'from it at once.';
comment on column metering.budgets.time_zone is
  'The organization''s time zone, copied where windows are cut in it and on the organization''s '
  'own budget: a call reads it with its budgets. Null for other totals.';
comment on column metering.budgets.frozen_at is
  'Since when nothing is granted in this scope; null while it may spend. The organization''s own '
  'budget copies tenancy.organizations.frozen_at.';
comment on column metering.budgets.prepaid_since is
  'On the organization''s own budget: since when it pays in advance, so that each call needs a run '
  'or a draw to pay for it. Null where it does not.';
comment on column metering.budgets.approval_above_usd is
  'On the organization''s own budget: above which amount a call may need approval, US dollars: the '
  'least that its policy rules say; the rules decide. Null where none is about calls of models.';
comment on column metering.budgets.is_funded is
  'True for that of a run or draw: its limit is what is reserved for it from credits.';
comment on column metering.budgets.only_model is
  'Of a run: the one model, by its listed name, that it may call. Null for any.';
comment on column metering.budgets.excess_usd is
  'By how much use passed the limit when the limit was last stored, US dollars.';
comment on column metering.budgets.created_at is 'When it was made.';
comment on column metering.budgets.updated_at is 'When it was last changed.';

-- The counters of a budget.
--
-- Taking money from a slot needs one conditional update of one row: no other slot is looked at.
-- Money that one slot lacks and another has is found by a gather, which locks the whole
-- organization, sums all slots and spreads them anew. In that way
--
--   * remainder = sum(available_usd) - sum(debt_usd), in one statement, for a hard cap;
--   * no slot is below zero while another is above: what cannot be covered is debt;
--   * a slot in debt is closed (debt_usd is not null): returned money lands there, not granted
--     again until a gather has netted both. All slots of a budget close and open together.
create table metering.budget_slots (
  organization_id uuid not null,
  budget_id uuid not null,
  slot smallint not null,
  window_start timestamptz not null default '-infinity',
  window_end timestamptz not null default 'infinity',
  settled_usd private.usd_sum not null default 0,
  held_usd private.usd_balance not null default 0,
  available_usd private.usd_sum,
  debt_usd private.usd_sum,
  config_version integer not null default 0,
  constraint budget_slots_pkey primary key (organization_id, budget_id, slot),
  constraint budget_slots_organization_id_budget_id_fkey
  foreign key (organization_id, budget_id)
  references metering.budgets (organization_id, id) on delete restrict
)
-- Counters are updated in place: room on the page and no index on a counter keep updates HOT. What
-- a long transaction leaves behind is cleared soon, not when a fifth of the table has changed.
with (fillfactor = 25, autovacuum_vacuum_scale_factor = 0, autovacuum_vacuum_threshold = 1000);

comment on table metering.budget_slots is
  'The counters of a budget, spread over slots. Sum over slots to read. A call updates a slot of '
  'the organization''s own budget (id = organization id) first, then of the others by budget id.';
comment on column metering.budget_slots.organization_id is 'The organization that pays.';
comment on column metering.budget_slots.budget_id is 'The budget whose counters these are.';
comment on column metering.budget_slots.slot is 'Which stripe of the budget, from 0.';
comment on column metering.budget_slots.window_start is
  'Start of the window these figures belong to; -infinity for total. Moves forward only.';
comment on column metering.budget_slots.window_end is
  'End of that window; infinity for total. The first call after it opens the next one.';
comment on column metering.budget_slots.settled_usd is 'Recorded spend of the window, US dollars.';
comment on column metering.budget_slots.held_usd is
  'Money held for calls under way, US dollars: what was taken through this slot less what was '
  'returned through it. Only the sum over slots says how much is held.';
comment on column metering.budget_slots.available_usd is
  'What may still be granted from this slot, US dollars; null where the budget never refuses.';
comment on column metering.budget_slots.debt_usd is
  'Null while the budget is open. Otherwise it is closed, and this is by how much spend that could '
  'not be refused passed the cap, as booked on this slot.';
comment on column metering.budget_slots.config_version is
  'In the organization''s own budget: how often its budgets, its time zone or a freeze were '
  'changed.';

-- sql/metering/ledger.sql

-- What calls leave behind: holds while they are under way, then the ledger, its sums, and the keys
-- of requests.

create type metering.hold_state as enum ('open', 'released', 'expired');
comment on type metering.hold_state is
  'open: money is held. released, expired: it was returned. A settled hold is no longer a hold but '
  'the usage with its id.';

create table metering.holds (
  organization_id uuid not null,
  id uuid not null,
  state metering.hold_state not null default 'open',
  held_usd private.usd not null,
  workflow_id uuid,
  run_id uuid,
  venture_id uuid,
  user_id uuid,
  api_key_id private.label,
  model private.label not null,
  listed_model private.label,
  provider private.label,
  service_tier private.label,
  tags jsonb not null default '{}',
  price_id uuid,
  markup_id uuid,
  proposal_id uuid,
  budget_ids uuid[] not null,
  slots smallint[] not null,
  config_version integer not null,
  day date not null,
  created_at timestamptz not null,
  expires_at timestamptz not null,
  claimed_at timestamptz,
  closed_at timestamptz,
  reason private.label,
  constraint holds_pkey primary key (organization_id, id)
)
-- Rows come and go: dead ones are cleared soon.
with (fillfactor = 50, autovacuum_vacuum_scale_factor = 0, autovacuum_vacuum_threshold = 1000);

-- A hold is looked up by its id alone; a non-unique index would let another tenant claim it.
create unique index holds_id_idx on metering.holds (id);
create index holds_organization_id_expires_at_idx
on metering.holds (organization_id, expires_at) where state = 'open';

comment on table metering.holds is
  'Money reserved for calls under way. Open until it is settled (the row then goes, and the usage '
  'with the same id is its successor), released or expired; those are kept 45 days, so that a late '
  'settlement still knows what it was.';
comment on column metering.holds.organization_id is 'The organization that pays.';
comment on column metering.holds.id is
  'Time-ordered id, made in the database; its usage has it too.';
comment on column metering.holds.state is 'open, released or expired.';
comment on column metering.holds.held_usd is
  'US dollars held against each budget it touches, with what extensions added.';
comment on column metering.holds.workflow_id is 'The workflow that spends, if any.';
comment on column metering.holds.run_id is 'The run that spends, if any.';
comment on column metering.holds.venture_id is 'The venture that spends, if any.';
comment on column metering.holds.user_id is 'The person who spends, if any.';
comment on column metering.holds.api_key_id is 'The API key that spends, if any.';
comment on column metering.holds.model is
  'The model to be called; unknown where nobody stated one.';
comment on column metering.holds.listed_model is
  'The name its price is listed under; null where that is the same, or it was not priced.';
comment on column metering.holds.provider is 'Who serves the model, if stated or priced.';
comment on column metering.holds.service_tier is 'The service tier asked for, if any.';
comment on column metering.holds.tags is 'Labels to cap and report by: an object of texts.';
comment on column metering.holds.price_id is
  'The price it was estimated by, and will be settled by whatever holds then: a row of '
  'pricing.prices or pricing.contract_prices. Null where a cost was stated.';
comment on column metering.holds.markup_id is
  'The row of pricing.markups that goes with it, if any.';
comment on column metering.holds.proposal_id is
  'The approved proposal by which it was granted, whose amount it may not exceed; null where none '
  'was needed.';
comment on column metering.holds.budget_ids is
  'The budgets it was taken from, the organization''s own first, the others by id.';
comment on column metering.holds.slots is 'Through which slot of each of budget_ids.';
comment on column metering.holds.config_version is
  'The configuration under which budget_ids was read. After a change the budgets are found anew, '
  'as their figures were.';
comment on column metering.holds.day is 'The day it counts to, in the organization''s time zone.';
comment on column metering.holds.created_at is
  'When it was authorized, to the millisecond: the time in id. It counts to the windows of this '
  'time, whenever it is settled.';
comment on column metering.holds.expires_at is
  'From then on whoever needs the money may take it. Until somebody does, it can still be settled '
  'or extended.';
comment on column metering.holds.claimed_at is
  'When a server first extended it, as one does that makes the call: from then on who made the '
  'hold may not release it, for the money is being spent. Null before.';
comment on column metering.holds.closed_at is 'When it was released or expired.';
comment on column metering.holds.reason is 'Why it was released, if stated.';

create table metering.usage_rollups (
  organization_id uuid not null,
  scope text not null,
  scope_id text not null,
  day date not null,
  model text not null,
  slot smallint not null,
  requests private.sum_of_counts not null,
  prompt_tokens private.sum_of_counts not null,
  completion_tokens private.sum_of_counts not null,
  cost private.usd_sum not null,
  constraint usage_rollups_pkey
  primary key (organization_id, scope, scope_id, day, model, slot),
  constraint usage_rollups_organization_id_fkey
  foreign key (organization_id) references tenancy.organizations (id) on delete restrict
)
with (fillfactor = 50);

-- All scopes of a kind on some days: who spent this month.
create index usage_rollups_organization_id_scope_day_idx
on metering.usage_rollups (organization_id, scope, day);

comment on table metering.usage_rollups is
  'Sums of ai_usage_ledger by organization, scope, day, model and slot, written with each usage. '
  'Sum over slots to read. A month is read from here, never by summing the ledger. Scope '
  'organization has every usage; the others have those that name a workflow, venture, user, API '
  'key or tag. A usage of a venture is one of a profile of it, too.';
comment on column metering.usage_rollups.organization_id is 'The organization that pays.';
comment on column metering.usage_rollups.scope is
  'organization, workflow, venture, venture_profile, user, api_key or tag; model for usages whose '
  'model was called by another name than the listed one.';
comment on column metering.usage_rollups.scope_id is
  'Which one, as in budgets; empty for the organization.';
comment on column metering.usage_rollups.day is
  'Calendar day of created_at in the organization''s time zone.';
comment on column metering.usage_rollups.model is
  'The model by its listed name, where it was priced; else as it was called.';
comment on column metering.usage_rollups.slot is
  'Stripe that wrote the row, so that callers on one model do not queue on one row.';
comment on column metering.usage_rollups.requests is 'Number of usages.';
comment on column metering.usage_rollups.prompt_tokens is 'Sum of prompt tokens.';
comment on column metering.usage_rollups.completion_tokens is 'Sum of completion tokens.';
comment on column metering.usage_rollups.cost is 'Sum of cost, US dollars.';

create type metering.operation as enum (
  'authorize', 'extend', 'settle', 'record', 'start_run', 'extend_run'
);
comment on type metering.operation is 'What a request id was used for.';

create table metering.request_keys (
  organization_id uuid not null,
  operation metering.operation not null,
  request_id private.label not null,
  content_hash private.sha256_hex not null,
  subject_id uuid not null,
  created_at timestamptz not null default private.clock_now(),
  constraint request_keys_pkey primary key (organization_id, operation, request_id)
);

comment on table metering.request_keys is
  'What a retried request did the first time. A table of its own, because a ledger partitioned by '
  'id cannot carry this key. Only an effect binds a key; a denial binds nothing. Kept 400 days.';
comment on column metering.request_keys.organization_id is 'The organization that pays.';
comment on column metering.request_keys.operation is
  'Which function bound the key: authorize, extend, settle, record, start_run or extend_run.';
comment on column metering.request_keys.request_id is
  'The caller''s own name for the request, 1 to 255 characters.';
comment on column metering.request_keys.content_hash is
  'SHA-256 over the caller''s arguments: the same id with other content is refused (TS409).';
comment on column metering.request_keys.subject_id is
  'What the request made: the id of the hold, of the usage, of the run or of the proposal.';
comment on column metering.request_keys.created_at is 'When the request first had an effect.';

create type metering.settlement as enum ('on_hold', 'after_hold', 'without_hold');
comment on type metering.settlement is
  'on_hold: settled while its hold was open. after_hold: its hold had been released or had '
  'expired. without_hold: recorded without one.';

create type metering.cost_basis as enum ('priced', 'stated', 'estimated');
comment on type metering.cost_basis is
  'priced: counts times rates. stated: a trusted server said what it cost; a price beside it was '
  'not followed. estimated: a guess, as nobody reported what was used, or the service tier that '
  'served it has no price of its own.';

create type metering.zero_cost_reason as enum (
  'stated', 'free_model', 'full_discount', 'below_precision'
);
comment on type metering.zero_cost_reason is
  'Why a usage with tokens cost nothing. stated: a trusted server said so. free_model: its rates '
  'are 0. full_discount: the markup is -100 percent. below_precision: it rounds to 0 at 12 '
  'decimals.';

create table public.ai_usage_ledger (
  id uuid not null,
  workflow_id uuid,
  organization_id uuid not null,
  model private.label not null,
  prompt_tokens private.token_count not null,
  completion_tokens private.token_count not null,
  cost private.usd not null,
  created_at timestamptz not null,
  settled_at timestamptz not null,
  run_id uuid,
  venture_id uuid,
  user_id uuid,
  api_key_id private.label,
  provider private.label,
  service_tier private.label,
  tags jsonb not null default '{}',
  settlement metering.settlement not null,
  unheld_usd private.usd not null,
  listed_model private.label,
  token_counts jsonb not null,
  cost_basis metering.cost_basis not null,
  price_id uuid,
  markup_id uuid,
  rates jsonb,
  zero_cost_reason metering.zero_cost_reason,
  xact_id xid8 not null default pg_current_xact_id(),
  constraint ai_usage_ledger_pkey primary key (organization_id, id),
  constraint ai_usage_ledger_times_are_those_of_its_id
  check (created_at = private.uuid_v7_time(id) and settled_at >= created_at),
  constraint ai_usage_ledger_classes_add_up_to_its_tokens
  check (
    prompt_tokens = private.prompt_tokens(token_counts)
    and completion_tokens = private.completion_tokens(token_counts)
  ),
  constraint ai_usage_ledger_priced_cost_names_price_and_rates
  check ((price_id is null) = (rates is null) and (cost_basis <> 'priced' or price_id is not null)),
  constraint ai_usage_ledger_zero_cost_of_tokens_has_a_reason
  check (
    (zero_cost_reason is not null)
    = (cost = 0 and (prompt_tokens > 0 or completion_tokens > 0))
  )
)
partition by range (id);

-- One id, one usage, whichever tenant: id is the partition key, so it can be unique by itself.
create unique index ai_usage_ledger_id_idx on public.ai_usage_ledger (id);
create index idx_ai_usage_ledger_org_month on public.ai_usage_ledger (organization_id, created_at);
create index idx_ai_usage_ledger_workflow on public.ai_usage_ledger (workflow_id);
create index ai_usage_ledger_xact_id_idx on public.ai_usage_ledger (xact_id);

create trigger ai_usage_ledger_reject_mutation before update or delete on public.ai_usage_ledger
for each row execute function private.reject_mutation();
create trigger ai_usage_ledger_reject_truncate before truncate on public.ai_usage_ledger
for each statement execute function private.reject_mutation();

comment on table public.ai_usage_ledger is
  'Append-only record of every AI request (ai_cost_governance). The single source of truth for '
  'billing and analytics: every total in the product is a sum over it. Partitioned by month on id.';
comment on column public.ai_usage_ledger.id is
  'Time-ordered id, made in the database; its first 48 bits are created_at. The id of its hold.';
comment on column public.ai_usage_ledger.workflow_id is
  'The workflow that spent; null for a call outside any workflow.';
comment on column public.ai_usage_ledger.organization_id is 'The organization that pays.';
comment on column public.ai_usage_ledger.model is
  'The model that was called, as stated; unknown where nobody stated one.';
comment on column public.ai_usage_ledger.prompt_tokens is 'Tokens sent: all input classes.';
comment on column public.ai_usage_ledger.completion_tokens is
  'Tokens received: all output classes, reasoning included.';
comment on column public.ai_usage_ledger.cost is 'Cost in US dollars, exact.';
comment on column public.ai_usage_ledger.created_at is
  'When it was authorized, or recorded without a hold, to the millisecond: the time in id. Windows '
  'and reports go by it.';
comment on column public.ai_usage_ledger.settled_at is 'When it was recorded here.';
comment on column public.ai_usage_ledger.run_id is 'The run that spent, if any.';
comment on column public.ai_usage_ledger.venture_id is 'The venture that spent, if any.';
comment on column public.ai_usage_ledger.user_id is 'The person who spent, if any.';
comment on column public.ai_usage_ledger.api_key_id is 'The API key that spent, if any.';
comment on column public.ai_usage_ledger.provider is 'Who served the model, if stated or priced.';
comment on column public.ai_usage_ledger.service_tier is
  'The service tier that served it, where the provider said so; else the one asked for, if any.';
comment on column public.ai_usage_ledger.tags is 'Labels to cap and report by: an object of texts.';
comment on column public.ai_usage_ledger.settlement is
  'on_hold, after_hold or without_hold: how the money for it was held.';
comment on column public.ai_usage_ledger.unheld_usd is
  'The part of cost that no open hold covered, US dollars; 0 for a call that kept within its hold. '
  'Only this can take a budget past its cap.';

comment on column public.ai_usage_ledger.listed_model is
  'The name its price is listed under; null where that is the same, or it was not priced.';
comment on column public.ai_usage_ledger.token_counts is
  'What was used by token class, each token in one class: {"input_tokens": 1200, ...}; '
  'prompt_tokens is the sum of the input classes, completion_tokens that of the output classes.';
comment on column public.ai_usage_ledger.cost_basis is 'priced, stated or estimated.';
comment on column public.ai_usage_ledger.price_id is
  'The price that held for it: a row of pricing.prices or pricing.contract_prices. Beside a stated '
  'cost: the one that was not followed.';
comment on column public.ai_usage_ledger.markup_id is
  'The row of pricing.markups that its rates include, if any.';
comment on column public.ai_usage_ledger.rates is
  'US dollars per million of each class in token_counts, markup included, as decimal text: a '
  'priced cost is counts times rates, rounded half even at 12 decimals.';
comment on column public.ai_usage_ledger.zero_cost_reason is
  'Why tokens cost nothing; null where they cost something.';
comment on column public.ai_usage_ledger.xact_id is
  'The transaction that recorded it: seals and incremental checks go by it.';

insert into private.partitioned_ledgers (parent) values ('public.ai_usage_ledger');

-- sql/metering/kernel.sql

-- The kernel: how money is taken, and how it comes back. Exact, without a hot row.
--
-- A call touches every budget that covers it: those whose scope_key is among its scope keys. It
-- works on one slot of each (by its backend, so callers spread), first of the organization's own
-- budget, then of the others by id. That is the order of all locks:
--
--   holds by id -> a slot of the own budget -> slots of other budgets by id -> request keys by id
--
-- There are two ways to take money.
--
--   * An attempt updates one slot per budget, each update conditional on the slot covering it.
--     Where one does not, all is undone, its locks with it (which is why it lives in a block
--     that catches abandon_attempt): PostgreSQL keeps the lock of a row whose condition failed.
--   * A gather locks all slots of the own budget. Every call holds one of them from its first lock
--     to its commit, so the organization then stands still: nobody else is in flight. It frees what
--     overdue holds keep, sums, decides and spreads what is left. It holds nothing when it begins
--     to wait, so it always gets its turn.
--
-- A change of budgets gathers too, and raises config_version in the own budget's slots. An attempt
-- requires the version under which it read which budgets cover it, in the update that takes its
-- first lock: a list that was read before the change is never spent from.
--
-- A denial needs no lock: a snapshot in which the money is not there is an answer.
--
-- What callers enter is planned once for all arguments (plan_cache_mode), by indexes alone
-- (enable_seqscan: a table of holds that is empty most of the time is full of dead rows), and is
-- never compiled (jit: where only a scan is left, its price would seem to be worth it).

-- The scope keys of a call: by them the budgets that cover it are found. A model may be capped by
-- the name a call gives it and by its listed name, so that no other spelling passes a cap by. A
-- call outside runs spends from the draw of its day, if the organization pays in advance. A call of
-- a venture is one of a profile of it: its tag budget_profile, else standard.
create function private.scope_keys(
  p_workflow_id uuid,
  p_run_id uuid,
  p_venture_id uuid,
  p_user_id uuid,
  p_api_key_id text,
  p_model text,
  p_listed_model text,
  p_tags jsonb
)
returns text[]
language plpgsql
stable
set search_path = pg_catalog, pg_temp
as $$
declare
  v_keys text[] := array[
    'organization:',
    'workflow:' || p_workflow_id,
    'run:' || p_run_id,
    'venture:' || p_venture_id,
    'user:' || p_user_id,
    'api_key:' || p_api_key_id,
    'model:' || p_model,
    'model:' || p_listed_model,
    case when p_run_id is null then 'draw:' end
  ];
begin
  if p_tags <> '{}' then
    v_keys := v_keys
      || array(select 'tag:' || t.key || '=' || t.value from jsonb_each_text(p_tags) as t);
  end if;
  if p_venture_id is not null then
    v_keys := v_keys || (
      'venture_profile:' || p_venture_id || '/' || coalesce(p_tags ->> 'budget_profile', 'standard')
    );
  end if;
  return v_keys;
end
$$;

comment on function private.scope_keys(uuid, uuid, uuid, uuid, text, text, text, jsonb) is
  'scope_key of every budget that could cover a call; null in place of what it has not.';

-- The budgets that cover a call, and the slot of each that a call may work on.
create type private.coverage as (
  budget_ids uuid [],
  slots smallint [],
  config_version integer,
  time_zone text,
  grantable numeric,
  approval_above numeric,
  latest_window timestamptz,
  has_workflow boolean,
  is_prepaid boolean,
  prepaid_since timestamptz,
  lacks_funding boolean,
  excludes_model boolean,
  is_frozen boolean,
  has_soft_limit boolean,
  tightest_budget_id uuid,
  remaining numeric,
  resets_at timestamptz
);

comment on type private.coverage is
  'Budgets of a call in the order of their locks and a slot of each; the least those slots can '
  'grant without approval: null without a limit, -1 where only a gather can tell. From a survey '
  'also the rest: above which amount a call may need approval, whether the organization pays in '
  'advance, and then has neither run nor draw to pay for it, or a run that may not call the model.';

-- Reads what covers a call, with the caller's own slot of each budget, and whether that is all
-- plain: nothing frozen, closed, soft or in another window than p_time, and somebody pays for it.
-- Locks nothing.
--
-- The plan is one for all: a budget's slot is looked up by its key (hence the limit, which keeps
-- the planner from joining all slots there are), and is never planned anew for an array's length.
create function private.cover(
  p_organization_id uuid,
  p_scope_keys text[],
  p_time timestamptz
)
returns private.coverage
language plpgsql
stable
set search_path = pg_catalog, pg_temp
set plan_cache_mode = force_generic_plan
set enable_seqscan = off
set jit = off
as $$
declare
  v_coverage private.coverage;
  v_backend constant integer := pg_backend_pid();
  v_is_funded boolean;
begin
  select
    array_agg(t.id), array_agg(t.slot), max(t.config_version), min(t.time_zone),
    min(t.grantable), bool_or(t.is_workflow), bool_or(t.is_prepaid), bool_or(t.is_funded)
  into
    v_coverage.budget_ids, v_coverage.slots, v_coverage.config_version, v_coverage.time_zone,
    v_coverage.grantable, v_coverage.has_workflow, v_coverage.is_prepaid, v_is_funded
  from (
    select
      b.id,
      b.scope = 'workflow' as is_workflow,
      b.prepaid_since is not null as is_prepaid,
      b.is_funded,
      s.slot,
      s.config_version,
      b.time_zone,
      case
        when
          b.frozen_at is null and s.debt_usd is null
          and p_time >= s.window_start and p_time < s.window_end
          and (b.enforcement = 'hard' or b.limit_usd is null)
          and (b.prepaid_since > p_time) is not true
          and (b.only_model is null or 'model:' || b.only_model = any(p_scope_keys))
          then least(s.available_usd::numeric, b.approval_above_usd)
        else -1
      end as grantable
    from metering.budgets as b
    cross join lateral (
      select x.*
      from metering.budget_slots as x
      where x.organization_id = b.organization_id
        and x.budget_id = b.id
        and x.slot = v_backend % b.slot_count
        and (b.scope <> 'draw' or p_time >= x.window_start and p_time < x.window_end)
      limit 1
    ) as s
    where b.organization_id = p_organization_id and b.scope_key = any(p_scope_keys)
    order by b.id <> b.organization_id, b.id
  ) as t;
  v_coverage.lacks_funding := v_coverage.is_prepaid and not v_is_funded;
  if v_coverage.lacks_funding then
    v_coverage.grantable := -1;
  end if;
  -- A month that has no partition yet is made by whoever looks closer.
  if to_regclass(
    'private.ai_usage_ledger' || to_char(p_time at time zone 'UTC', '_YYYY_MM')
  ) is null or p_scope_keys[3] is not null and to_regclass(
    'private.token_records' || to_char(p_time at time zone 'UTC', '_YYYY_MM')
  ) is null then
    v_coverage.grantable := -1;
  end if;
  return v_coverage;
end
$$;

comment on function private.cover(uuid, text[], timestamptz) is
  'The budgets that cover a call, with the caller''s own slots; budget_ids is null for an unknown '
  'organization.';

-- Reads what covers a call from all slots: the hard cap with the least left for a call that counts
-- to p_time, and whether anything is frozen or soft. What holds that are overdue at p_overdue_at
-- keep counts as free; null: it does not. What credits could still put into a draw counts as left.
-- Locks nothing.
create function private.survey(
  p_organization_id uuid,
  p_scope_keys text[],
  p_time timestamptz,
  p_overdue_at timestamptz
)
returns private.coverage
language plpgsql
stable
set search_path = pg_catalog, pg_temp
set plan_cache_mode = force_generic_plan
set enable_seqscan = off
set jit = off
as $$
declare
  v_coverage private.coverage;
  v_backend constant integer := pg_backend_pid();
  v_has_overdue constant boolean := private.has_overdue(p_organization_id, p_overdue_at);
  v_draws boolean[];
  v_is_funded boolean;
  v_remaining numeric[];
  v_resets_at timestamptz[];
  v_draw integer;
  v_tightest integer;
begin
  select
    array_agg(t.id) filter (where t.is_present),
    array_agg(t.slot) filter (where t.is_present),
    max(t.config_version),
    min(t.time_zone),
    max(t.approval_above_usd),
    greatest(max(t.window_start), max(t.prepaid_since)),
    bool_or(t.is_workflow),
    bool_or(t.prepaid_since <= p_time),
    max(t.prepaid_since),
    bool_or(t.is_funded and t.is_present),
    bool_or(t.excludes_model),
    bool_or(t.is_frozen),
    bool_or(t.is_soft),
    array_agg(t.is_draw) filter (where t.is_present),
    array_agg(t.remaining) filter (where t.is_present),
    array_agg(t.resets_at) filter (where t.is_present)
  into
    v_coverage.budget_ids, v_coverage.slots, v_coverage.config_version, v_coverage.time_zone,
    v_coverage.approval_above, v_coverage.latest_window, v_coverage.has_workflow,
    v_coverage.is_prepaid, v_coverage.prepaid_since, v_is_funded, v_coverage.excludes_model, v_coverage.is_frozen, v_coverage.has_soft_limit, v_draws,
    v_remaining, v_resets_at
  from (
    select
      b.id,
      b.scope = 'workflow' as is_workflow,
      b.scope = 'draw' as is_draw,
      -- Of draws only that of the time: the others go on until their holds have ended.
      b.scope <> 'draw' or p_time >= s.window_start and p_time < s.window_end as is_present,
      b.is_funded,
      coalesce('model:' || b.only_model = any(p_scope_keys), b.only_model is null) is false
      as excludes_model,
      b.approval_above_usd,
      b.prepaid_since,
      v_backend % b.slot_count as slot,
      s.config_version,
      b.time_zone,
      s.window_start,
      b.frozen_at is not null as is_frozen,
      b.enforcement = 'soft' and b.limit_usd is not null as is_soft,
      case
        when s.remaining is null or p_time < s.window_start then null
        when p_time >= s.window_end then b.limit_usd::numeric
        when v_has_overdue
          then s.remaining
            + private.overdue(p_organization_id, b.scope_key, s.window_start, p_overdue_at)
        else s.remaining
      end as remaining,
      case
        when s.window_end = 'infinity' then null
        when p_time >= s.window_end then private.window_end(b.time_window, p_time, b.time_zone)
        else s.window_end
      end as resets_at
    from metering.budgets as b
    cross join lateral (
      select
        sum(x.available_usd) - coalesce(sum(x.debt_usd), 0) as remaining,
        max(x.window_start) as window_start,
        max(x.window_end) as window_end,
        max(x.config_version) as config_version
      from metering.budget_slots as x
      where x.organization_id = b.organization_id and x.budget_id = b.id
    ) as s
    where b.organization_id = p_organization_id and b.scope_key = any(p_scope_keys)
    order by b.id <> b.organization_id, b.id
  ) as t;
  v_coverage.lacks_funding := v_coverage.is_prepaid and not v_is_funded;
  if v_coverage.is_prepaid and 'draw:' = any(p_scope_keys) then
    v_draw := coalesce(array_position(v_draws, true), cardinality(v_draws) + 1);
    v_remaining[v_draw] := coalesce(v_remaining[v_draw], 0)
      + private.fundable(p_organization_id, p_time, p_overdue_at);
    v_resets_at[v_draw] := null;
  end if;
  v_coverage.remaining := (select min(r.remaining) from unnest(v_remaining) as r (remaining));
  v_tightest := array_position(v_remaining, v_coverage.remaining);
  v_coverage.tightest_budget_id := v_coverage.budget_ids[v_tightest];
  v_coverage.resets_at := v_resets_at[v_tightest];
  return v_coverage;
end
$$;

comment on function private.survey(uuid, text[], timestamptz, timestamptz) is
  'The budgets that cover a call, with the caller''s own slots, and the hard cap with the least '
  'left: which (null for a draw that is not opened yet), how much (null without any) and when it '
  'resets.';

-- Looks at the hold that expires first: one step into the index, however many are open.
create function private.has_overdue(p_organization_id uuid, p_now timestamptz)
returns boolean
language plpgsql
stable
set search_path = pg_catalog, pg_temp
set enable_seqscan = off
set jit = off
as $$
begin
  return (
    select h.expires_at <= p_now
    from metering.holds as h
    where h.organization_id = p_organization_id and h.state = 'open'
    order by h.expires_at
    limit 1
  );
end
$$;

comment on function private.has_overdue(uuid, timestamptz) is
  'True if an open hold of the organization is overdue.';

-- What overdue holds keep from a budget's present window: money that is free for whoever asks.
create function private.overdue(
  p_organization_id uuid,
  p_scope_key text,
  p_window_start timestamptz,
  p_now timestamptz
)
returns numeric
language plpgsql
stable
set search_path = pg_catalog, pg_temp
as $$
begin
  return (
    select coalesce(sum(h.held_usd), 0)
    from metering.holds as h
    where h.organization_id = p_organization_id
      and h.state = 'open'
      and h.expires_at <= p_now
      and h.created_at >= p_window_start
      and p_scope_key = any(
        private.scope_keys(
          h.workflow_id, h.run_id, h.venture_id, h.user_id, h.api_key_id, h.model, h.listed_model,
          h.tags
        )
      )
  );
end
$$;

comment on function private.overdue(uuid, text, timestamptz, timestamptz) is
  'US dollars that overdue open holds keep from the budget with p_scope_key, if taken since '
  'p_window_start.';

-- Adds p_settled and p_held to one slot of each budget, and takes their sum from what is available
-- (a negative sum is returned to it). False as soon as one budget cannot: the caller must then undo
-- the attempt.
--
-- p_time decides the window: a return to a window that is over goes nowhere, as its figures are
-- gone. Where a budget is closed, money is not granted, but spend is added to the debt. Three
-- statements rather than one that covers all cases: the usual two are short, and short updates are
-- what makes the kernel fast.
create function private.charge(
  p_organization_id uuid,
  p_budget_ids uuid[],
  p_slots smallint[],
  p_config_version integer,
  p_time timestamptz,
  p_settled numeric,
  p_held numeric
)
returns boolean
language plpgsql
volatile
set search_path = pg_catalog, pg_temp
as $$
declare
  v_change constant numeric := p_settled + p_held;
begin
  for v_i in 1..cardinality(p_budget_ids) loop
    if v_change <= 0 then
      update metering.budget_slots as s
      set
        settled_usd = s.settled_usd + p_settled,
        held_usd = s.held_usd + p_held,
        available_usd = s.available_usd - v_change
      where s.organization_id = p_organization_id
        and s.budget_id = p_budget_ids[v_i]
        and s.slot = p_slots[v_i]
        and p_time >= s.window_start
        and (v_i > 1 or s.config_version = p_config_version);
      if not found and v_i = 1 then
        return false;
      end if;
    elsif p_held > 0 then
      update metering.budget_slots as s
      set held_usd = s.held_usd + p_held, available_usd = s.available_usd - p_held
      where s.organization_id = p_organization_id
        and s.budget_id = p_budget_ids[v_i]
        and s.slot = p_slots[v_i]
        and p_time >= s.window_start
        and p_time < s.window_end
        and s.debt_usd is null
        and (s.available_usd < p_held) is not true
        and (v_i > 1 or s.config_version = p_config_version);
      if not found then
        return false;
      end if;
    else
      update metering.budget_slots as s
      set
        settled_usd = s.settled_usd + p_settled,
        held_usd = s.held_usd + p_held,
        available_usd = s.available_usd - case when s.debt_usd is null then v_change else 0 end,
        debt_usd = s.debt_usd + v_change
      where s.organization_id = p_organization_id
        and s.budget_id = p_budget_ids[v_i]
        and s.slot = p_slots[v_i]
        and p_time >= s.window_start
        and p_time < s.window_end
        and (s.debt_usd is not null or (s.available_usd < v_change) is not true)
        and (v_i > 1 or s.config_version = p_config_version);
      if not found then
        return false;
      end if;
    end if;
  end loop;
  return true;
end
$$;

comment on function private.charge(
  uuid, uuid[], smallint[], integer, timestamptz, numeric, numeric
) is
  'Books p_settled and p_held (US dollars) on one slot per budget; false where a slot does not '
  'cover it or budgets were changed.';

-- sql/metering/gather.sql

-- The slow half of the kernel: lock the whole organization, look at all slots, spread what is left.

-- Locks slot 0 of the organization's own budget, which always exists: no budget is changed, and
-- nobody gathers, until the transaction (or the block around it) ends.
create function private.lock_first_slot(p_organization_id uuid)
returns void
language plpgsql
volatile
set search_path = pg_catalog, pg_temp
as $$
begin
  perform from metering.budget_slots as s
  where s.organization_id = p_organization_id and s.budget_id = p_organization_id and s.slot = 0
  for no key update;
end
$$;

comment on function private.lock_first_slot(uuid) is
  'Holds off changes of budgets and gathers of an organization.';

-- Locks every slot of the organization's own budget: waits for all spend in flight and holds off
-- new spend until the transaction ends.
--
-- Slots that were added while it waited are not in its snapshot, so it looks again until it has
-- them all; whoever adds slots holds slot 0.
create function private.gather_organization(p_organization_id uuid)
returns void
language plpgsql
volatile
set search_path = pg_catalog, pg_temp
as $$
declare
  v_locked integer := 0;
begin
  loop
    perform from metering.budget_slots as s
    where s.organization_id = p_organization_id and s.budget_id = p_organization_id
    order by s.slot
    for no key update;
    get diagnostics v_locked = row_count;
    exit when v_locked >= (
      select count(*) from metering.budget_slots as s
      where s.organization_id = p_organization_id and s.budget_id = p_organization_id
    );
  end loop;
end
$$;

comment on function private.gather_organization(uuid) is
  'Waits for all spend in flight of an organization and holds off new spend until the transaction '
  'ends.';

-- Marks overdue holds as expired, in the order of their ids, and returns them. p_wait: also those
-- that somebody is settling, extending or releasing just now. Their money is returned by
-- return_holds, once a slot of the own budget is locked.
create function private.expire_overdue(
  p_organization_id uuid,
  p_now timestamptz,
  p_except uuid[],
  p_wait boolean,
  p_limit integer
)
returns metering.holds[]
language plpgsql
volatile
set search_path = pg_catalog, pg_temp
as $$
declare
  v_ids uuid[];
  v_holds metering.holds[];
begin
  if p_wait then
    v_ids := array(
      select h.id from metering.holds as h
      where h.organization_id = p_organization_id
        and h.state = 'open'
        and h.expires_at <= p_now
        and h.id <> all(p_except)
      order by h.id
      limit p_limit
      for update
    );
  else
    v_ids := array(
      select h.id from metering.holds as h
      where h.organization_id = p_organization_id
        and h.state = 'open'
        and h.expires_at <= p_now
        and h.id <> all(p_except)
      order by h.id
      limit p_limit
      for update skip locked
    );
  end if;
  with expired as (
    update metering.holds as h
    set state = 'expired', closed_at = p_now
    where h.organization_id = p_organization_id and h.id = any(v_ids)
    returning h.*
  )

  select array_agg(e::metering.holds) into v_holds from expired as e;
  return v_holds;
end
$$;

comment on function private.expire_overdue(uuid, timestamptz, uuid[], boolean, integer) is
  'Marks overdue open holds as expired, all but p_except, and returns them. The caller returns '
  'their money.';

-- Returns the money of closed holds to every budget that covers them now. The caller has locked a
-- slot of the own budget, so no budget changes meanwhile.
create function private.return_holds(p_organization_id uuid, p_holds metering.holds[])
returns void
language plpgsql
volatile
set search_path = pg_catalog, pg_temp
as $$
declare
  v_slot record;
begin
  for v_slot in
    select b.id as budget_id, pg_backend_pid() % b.slot_count as slot, sum(h.held_usd) as held_usd
    from unnest(p_holds) as h
    cross join lateral unnest(
      private.scope_keys(
        h.workflow_id, h.run_id, h.venture_id, h.user_id, h.api_key_id, h.model, h.listed_model,
        h.tags
      )
    ) as k (scope_key)
    -- Offset 0 keeps the planner from joining all budgets there are: each key is looked up.
    cross join lateral (
      select c.id, c.slot_count
      from metering.budgets as c
      inner join metering.budget_slots as s
        on s.organization_id = c.organization_id and s.budget_id = c.id and s.slot = 0
      where c.organization_id = p_organization_id
        and c.scope_key = k.scope_key
        and h.created_at >= s.window_start
        and h.created_at < s.window_end
      offset 0
    ) as b
    group by b.id, b.slot_count
    order by b.id <> p_organization_id, b.id
  loop
    update metering.budget_slots as s
    set
      held_usd = s.held_usd - v_slot.held_usd,
      available_usd = s.available_usd + v_slot.held_usd
    where s.organization_id = p_organization_id
      and s.budget_id = v_slot.budget_id
      and s.slot = v_slot.slot;
  end loop;
end
$$;

comment on function private.return_holds(uuid, metering.holds[]) is
  'Returns what closed holds kept to the budgets that cover them.';

-- Opens the present window of a budget whose window is over; a draw has one only. Under a gather.
create function private.open_window(p_budget metering.budgets, p_now timestamptz)
returns void
language plpgsql
volatile
set search_path = pg_catalog, pg_temp
as $$
begin
  update metering.budget_slots as s
  set
    window_start = private.window_start(p_budget.time_window, p_now, p_budget.time_zone),
    window_end = private.window_end(p_budget.time_window, p_now, p_budget.time_zone),
    settled_usd = 0,
    held_usd = 0,
    available_usd = private.granted_limit(p_budget) * (s.slot = 0)::integer,
    debt_usd = null
  where s.organization_id = p_budget.organization_id
    and s.budget_id = p_budget.id
    and p_now >= s.window_end
    and p_budget.scope <> 'draw';
end
$$;

comment on function private.open_window(metering.budgets, timestamptz) is
  'Begins the window of p_now in a budget whose window is over.';

-- The limit up to which a budget grants: null where it never refuses.
create function private.granted_limit(p_budget metering.budgets)
returns numeric
language plpgsql
immutable
set search_path = pg_catalog, pg_temp
as $$
begin
  return case when p_budget.enforcement = 'hard' then p_budget.limit_usd::numeric end;
end
$$;

comment on function private.granted_limit(metering.budgets) is
  'The limit of a hard budget; null where it never refuses.';

-- Gathers: frees what overdue holds keep, lets the organization stand still until the transaction
-- (or the block around it) ends, and opens the windows of p_time of the budgets with p_scope_keys.
-- True if holds overdue at p_now are left: somebody had locked them, or they became known only
-- while it waited.
create function private.gather(
  p_organization_id uuid,
  p_scope_keys text[],
  p_now timestamptz,
  p_time timestamptz,
  p_except uuid[] default '{}',
  p_wait boolean default false
)
returns boolean
language plpgsql
volatile
set search_path = pg_catalog, pg_temp
as $$
declare
  v_expired metering.holds[];
begin
  if private.has_overdue(p_organization_id, p_now) then
    v_expired := private.expire_overdue(p_organization_id, p_now, p_except, p_wait, null);
  end if;
  perform private.gather_organization(p_organization_id);
  if v_expired is not null then
    perform private.return_holds(p_organization_id, v_expired);
  end if;
  perform private.open_window(b, p_time)
  from metering.budgets as b
  where b.organization_id = p_organization_id
    and b.scope_key = any(p_scope_keys)
    and b.time_window <> 'total';
  return exists (
    select from metering.holds as h
    where h.organization_id = p_organization_id
      and h.state = 'open'
      and h.expires_at <= p_now
      and h.id <> all(p_except)
  );
end
$$;

comment on function private.gather(uuid, text[], timestamptz, timestamptz, uuid[], boolean) is
  'Frees overdue money, locks the organization''s own slots and opens windows. True if it skipped '
  'overdue holds.';

-- Spreads what is left of a budget over its slots, or books the debt and closes it. Under a gather.
--
-- A slice is worth having if it covers 8 calls like this one; of less, fewer slots get some.
create function private.spread(p_budget metering.budgets, p_remaining numeric, p_call numeric)
returns void
language plpgsql
volatile
set search_path = pg_catalog, pg_temp
as $$
declare
  v_slices integer := greatest(
    1, least(p_budget.slot_count, trunc(p_remaining / greatest(8 * p_call, 1e-12)))
  );
  v_slice numeric := trunc(greatest(p_remaining, 0) / v_slices, 12);
begin
  update metering.budget_slots as s
  set
    available_usd = case
      when s.slot = 0 then greatest(p_remaining, 0) - v_slice * (v_slices - 1)
      when s.slot < v_slices then v_slice
      else 0
    end,
    debt_usd = case
      when p_remaining >= 0 then null
      when s.slot = 0 then - p_remaining
      else 0
    end
  where s.organization_id = p_budget.organization_id and s.budget_id = p_budget.id;
end
$$;

comment on function private.spread(metering.budgets, numeric, numeric) is
  'Spreads p_remaining (US dollars; negative is debt) over the slots of a budget, in slices for '
  'calls of about p_call.';

-- Books p_settled and p_held as charge() does, but over all slots, and never fails: what is not
-- covered becomes debt. Under a gather; whoever grants has made sure before that it is covered.
create function private.charge_gathered(
  p_organization_id uuid,
  p_coverage private.coverage,
  p_time timestamptz,
  p_settled numeric,
  p_held numeric
)
returns void
language plpgsql
volatile
set search_path = pg_catalog, pg_temp
as $$
declare
  v_budget metering.budgets;
  v_remaining numeric;
begin
  for v_i in 1..cardinality(p_coverage.budget_ids) loop
    select * into strict v_budget
    from metering.budgets as b
    where b.organization_id = p_organization_id and b.id = p_coverage.budget_ids[v_i];
    update metering.budget_slots as s
    set settled_usd = s.settled_usd + p_settled, held_usd = s.held_usd + p_held
    where s.organization_id = p_organization_id
      and s.budget_id = v_budget.id
      and s.slot = p_coverage.slots[v_i]
      and p_time >= s.window_start
      and p_time < s.window_end;

    if found and private.granted_limit(v_budget) is not null then
      select sum(s.available_usd) - coalesce(sum(s.debt_usd), 0) - p_settled - p_held
      into v_remaining
      from metering.budget_slots as s
      where s.organization_id = p_organization_id and s.budget_id = v_budget.id;
      perform private.spread(v_budget, v_remaining, greatest(p_settled, p_held));
    end if;
  end loop;
end
$$;

comment on function private.charge_gathered(
  uuid, private.coverage, timestamptz, numeric, numeric
) is
  'Books p_settled and p_held (US dollars) over all slots of the covering budgets, under a gather.';

-- sql/metering/requests.sql

-- Request keys: a retry finds what the first call did.

-- What an earlier request with this id made, or null. Locks nothing.
create function private.find_request(
  p_organization_id uuid,
  p_operation metering.operation,
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

comment on function private.find_request(uuid, metering.operation, text, text) is
  'What a request id is bound to, or null. Errors: TS409 for an id bound to other content.';

-- Binds a request id to what the call makes; p_previous is what it was bound to so far, or null.
-- False if another call was faster: the caller must then undo the attempt and look again.
--
-- Locks: the key, last of all. Whoever has it waits for nothing more, so nobody who waits for it
-- waits long; an attempt that must be undone, to gather, lets go of it too.
create function private.bind_request(
  p_organization_id uuid,
  p_operation metering.operation,
  p_request_id text,
  p_content_hash text,
  p_subject_id uuid,
  p_previous uuid default null
)
returns boolean
language plpgsql
volatile
set search_path = pg_catalog, pg_temp
as $$
begin
  if p_previous is null then
    insert into metering.request_keys (
      organization_id, operation, request_id, content_hash, subject_id
    ) values (
      p_organization_id, p_operation, p_request_id, p_content_hash, p_subject_id
    )
    on conflict (organization_id, operation, request_id) do nothing;
  else
    update metering.request_keys as k
    set subject_id = p_subject_id
    where k.organization_id = p_organization_id
      and k.operation = p_operation
      and k.request_id = p_request_id
      and k.subject_id = p_previous;
  end if;
  return found;
end
$$;

comment on function private.bind_request(uuid, metering.operation, text, text, uuid, uuid) is
  'Binds a request id to what it made; false if another call bound it meanwhile.';

-- sql/metering/born_budgets.sql

-- Budgets: the two kinds that exist from birth, and those that are set, changed, removed and
-- frozen.

-- An organization is born with the budget that every call in it touches first.
create function private.open_organization_budget()
returns trigger
language plpgsql
volatile
security definer -- writes budgets, which no role may write itself
set search_path = pg_catalog, pg_temp
as $$
begin
  insert into metering.budgets (organization_id, id, scope, time_window, time_zone, frozen_at)
  values (new.id, new.id, 'organization', 'total', new.time_zone, new.frozen_at);
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
  -- A budget that a closed run or draw has left is not to be found again under its id.
  if private.is_run(new.organization_id, new.id) or exists (
    select from billing.draws as d where d.org_id = new.organization_id and d.id = new.id
  ) then
    perform private.reject_argument('id', 'must not be that of a run or draw');
  end if;
  insert into metering.budgets (organization_id, id, scope, scope_id, time_window)
  values (new.organization_id, new.id, 'workflow', new.id::text, 'total');
  insert into metering.budget_slots (organization_id, budget_id, slot)
  values (new.organization_id, new.id, 0);
  return null;
end
$$;

comment on function private.open_workflow_budget() is
  'Trigger: gives a new workflow its total budget. Errors: 22023 for the id of a run or draw.';

create trigger workflows_open_budget after insert on metering.workflows
for each row execute function private.open_workflow_budget();

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

-- Freezing waits for checks and grants under way: whoever was told yes has recorded, or asks again.
create function private.announce_freeze()
returns trigger
language plpgsql
volatile
security definer -- writes budgets and slots, which no role may write itself
set search_path = pg_catalog, pg_temp
as $$
begin
  perform private.begin_change(new.id);
  update metering.budgets as b set frozen_at = new.frozen_at
  where b.organization_id = new.id and b.id = new.id;
  return new;
end
$$;

comment on function private.announce_freeze() is
  'Trigger: freezing and unfreezing wait for spend in flight, and no later check misses them.';

create trigger organizations_announce_freeze before update of frozen_at on tenancy.organizations
for each row when (old.frozen_at is distinct from new.frozen_at)
execute function private.announce_freeze();

-- A month that was counted is not cut anew: a time zone stays once usage is recorded or money held.
-- Until then open windows are empty, and begin again in the new zone.
create function private.keep_time_zone()
returns trigger
language plpgsql
volatile
security definer -- writes budgets and slots, which no role may write itself
set search_path = pg_catalog, pg_temp
as $$
begin
  perform private.begin_change(old.id);
  if exists (select from metering.usage_rollups as r where r.organization_id = old.id)
    or exists (select from metering.holds as h where h.organization_id = old.id)
    or exists (select from billing.draws as d where d.org_id = old.id) then
    perform private.raise_error(
      '23001', jsonb_build_object('organization_id', old.id, 'time_zone', old.time_zone)
    );
  end if;
  update metering.budgets as b set time_zone = new.time_zone
  where b.organization_id = old.id and b.time_zone is not null;
  update metering.budget_slots as s set window_start = '-infinity', window_end = '-infinity'
  where s.organization_id = old.id and s.window_end <> 'infinity';
  return new;
end
$$;

comment on function private.keep_time_zone() is
  'Trigger: refuses another time zone once usage is recorded or money held. Errors: 23001.';

create trigger organizations_keep_time_zone before update of time_zone on tenancy.organizations
for each row when (old.time_zone <> new.time_zone)
execute function private.keep_time_zone();

-- sql/metering/figures.sql

-- What a budget is given when it is made or changed: a scope and window in one spelling, its slots,
-- and figures that count what was spent and is held there already.

-- Lets owners, admins and service_role change budgets of an organization.
create function private.assert_may_set_budgets(p_organization_id uuid)
returns void
language plpgsql
stable
set search_path = pg_catalog, pg_temp
as $$
begin
  perform private.assert_member(p_organization_id, array['owner', 'admin']);
end
$$;

comment on function private.assert_may_set_budgets(uuid) is
  'Refuses everybody but owners, admins and server roles. Errors: 22023, 42501, TS404.';

-- The one spelling of a scope's id.
create function private.assert_scope(p_organization_id uuid, p_scope text, p_scope_id text)
returns text
language plpgsql
stable
set search_path = pg_catalog, pg_temp
as $$
declare
  v_scope_id text := p_scope_id;
begin
  if p_scope = 'organization' then
    if coalesce(p_scope_id, '') not in ('', p_organization_id::text) then
      perform private.reject_argument('p_scope_id', 'must be empty for the organization itself');
    end if;
    return '';
  elsif p_scope in ('workflow', 'run', 'venture', 'user') then
    if (p_scope_id ~* '^[0-9a-f]{8}(-[0-9a-f]{4}){3}-[0-9a-f]{12}$') is not true then
      perform private.reject_argument('p_scope_id', 'must be the id of the ' || p_scope);
    end if;
    v_scope_id := lower(p_scope_id);
  elsif p_scope = 'model' then
    -- By its listed name it is capped whatever a call names it.
    perform private.assert_text('p_scope_id', p_scope_id);
    v_scope_id := coalesce((private.find_model(null, p_scope_id)).model, p_scope_id);
  elsif p_scope = 'api_key' then
    perform private.assert_text('p_scope_id', p_scope_id);
  elsif p_scope = 'tag' then
    perform private.assert_text('p_scope_id', p_scope_id);
    if p_scope_id !~ '^[^=[:space:]]+=.*\S' then
      perform private.reject_argument('p_scope_id', 'must be a tag as key=value');
    end if;
  else
    perform private.reject_argument(
      'p_scope',
      'must be organization, workflow, run, venture, user, api_key, model or tag'
    );
  end if;
  if p_scope = 'workflow' and not exists (
    select from metering.workflows as w
    where w.organization_id = p_organization_id and w.id = v_scope_id::uuid
  ) or p_scope = 'venture' and not exists (
    select from tenancy.ventures as v
    where v.organization_id = p_organization_id and v.id = v_scope_id::uuid
  ) then
    perform private.raise_error('TS404', jsonb_build_object(p_scope || '_id', v_scope_id));
  end if;
  return v_scope_id;
end
$$;

comment on function private.assert_scope(uuid, text, text) is
  'The id of a scope in its one spelling. Errors: 22023, TS404 for an unknown workflow or venture.';

create function private.assert_window(p_argument text, p_window text)
returns text
language plpgsql
stable
set search_path = pg_catalog, pg_temp
as $$
begin
  if (p_window in ('total', 'hour', 'day', 'week', 'month')) is not true then
    perform private.reject_argument(p_argument, 'must be total, hour, day, week or month');
  end if;
  return p_window;
end
$$;

comment on function private.assert_window(text, text) is
  'Refuses anything but a known window. Errors: 22023.';

create function private.assert_slots(p_argument text, p_slots integer)
returns integer
language plpgsql
stable
set search_path = pg_catalog, pg_temp
as $$
begin
  if p_slots not between 1 and 256 then
    perform private.reject_argument(p_argument, 'must be from 1 to 256');
  end if;
  return p_slots;
end
$$;

comment on function private.assert_slots(text, integer) is
  'Refuses anything but 1 to 256, or null. Errors: 22023.';

-- The time that counts as now for new windows. They only move forward: a clock that is behind what
-- was recorded or held is at that time.
create function private.present_time(p_organization_id uuid)
returns timestamptz
language plpgsql
stable
set search_path = pg_catalog, pg_temp
as $$
begin
  return greatest(
    private.clock_now(),
    (
      select max(l.created_at) from public.ai_usage_ledger as l
      where l.organization_id = p_organization_id
    ),
    (
      select h.created_at from metering.holds as h
      where h.organization_id = p_organization_id
      order by h.id desc
      limit 1
    )
  );
end
$$;

comment on function private.present_time(uuid) is
  'The present time, or the latest an organization has seen.';

-- What was recorded in a budget's scope from p_start to p_end: from rollups where those have it, of
-- runs and hours from the ledger.
create function private.settled_in(
  p_budget metering.budgets,
  p_start timestamptz,
  p_end timestamptz
)
returns numeric
language plpgsql
stable
set search_path = pg_catalog, pg_temp
as $$
begin
  if p_budget.scope <> 'run' and p_budget.time_window <> 'hour' then
    return (
      select coalesce(sum(r.cost), 0)
      from metering.usage_rollups as r
      where r.organization_id = p_budget.organization_id
        and (
          r.scope = p_budget.scope and r.scope_id = p_budget.scope_id
          or p_budget.scope = 'model' and r.scope = 'organization' and r.model = p_budget.scope_id
        )
        and (p_start = '-infinity' or r.day >= private.local_day(p_start, p_budget.time_zone))
        and (p_end = 'infinity' or r.day < private.local_day(p_end, p_budget.time_zone))
    );
  end if;
  return (
    select coalesce(sum(l.cost), 0)
    from public.ai_usage_ledger as l
    where l.organization_id = p_budget.organization_id
      and l.created_at >= p_start
      and l.created_at < p_end
      and p_budget.scope_key = any(
        private.scope_keys(
          l.workflow_id, l.run_id, l.venture_id, l.user_id, l.api_key_id, l.model, l.listed_model,
          l.tags
        )
      )
  );
end
$$;

comment on function private.settled_in(metering.budgets, timestamptz, timestamptz) is
  'Recorded cost in US dollars in the scope of a budget from p_start to p_end.';

-- What open holds keep in a budget's scope from p_start to p_end.
create function private.held_in(
  p_budget metering.budgets,
  p_start timestamptz,
  p_end timestamptz
)
returns numeric
language plpgsql
stable
set search_path = pg_catalog, pg_temp
as $$
begin
  return (
    select coalesce(sum(h.held_usd), 0)
    from metering.holds as h
    where h.organization_id = p_budget.organization_id
      and h.state = 'open'
      and h.created_at >= p_start
      and h.created_at < p_end
      and p_budget.scope_key = any(
        private.scope_keys(
          h.workflow_id, h.run_id, h.venture_id, h.user_id, h.api_key_id, h.model, h.listed_model,
          h.tags
        )
      )
  );
end
$$;

comment on function private.held_in(metering.budgets, timestamptz, timestamptz) is
  'US dollars that open holds keep in the scope of a budget from p_start to p_end.';

-- Gives a budget its slots: as many as it wants, changed in place, with their sums kept. Slot 0
-- stays for ever, and every change updates it: whoever waits for the organization waits for that
-- row.
create function private.lay_slots(p_budget metering.budgets)
returns void
language plpgsql
volatile
set search_path = pg_catalog, pg_temp
as $$
begin
  update metering.budget_slots as s
  set
    settled_usd = t.settled_usd * (s.slot = 0)::integer,
    held_usd = t.held_usd * (s.slot = 0)::integer
  from (
    select sum(x.settled_usd) as settled_usd, sum(x.held_usd) as held_usd
    from metering.budget_slots as x
    where x.organization_id = p_budget.organization_id and x.budget_id = p_budget.id
  ) as t
  where s.organization_id = p_budget.organization_id and s.budget_id = p_budget.id;
  delete from metering.budget_slots as s
  where s.organization_id = p_budget.organization_id
    and s.budget_id = p_budget.id
    and s.slot >= p_budget.slot_count;
  insert into metering.budget_slots (
    organization_id, budget_id, slot, window_start, window_end, config_version
  )
  select
    p_budget.organization_id, p_budget.id, n.slot, s.window_start, s.window_end, s.config_version
  from metering.budget_slots as s
  cross join generate_series(0, p_budget.slot_count - 1) as n (slot)
  where s.organization_id = p_budget.organization_id and s.budget_id = p_budget.id and s.slot = 0
  on conflict (organization_id, budget_id, slot) do nothing;
end
$$;

comment on function private.lay_slots(metering.budgets) is
  'Makes the slots a budget wants; their sums stay.';

-- Sets the figures of a budget that was made or changed: under a change, so that nothing is in
-- flight and each statement sees all there is.
--
-- p_recount: its scope or window is new, so what was spent and is held there is read from ledger
-- and holds. Else the sums of its slots are true already.
create function private.refigure(p_budget metering.budgets, p_recount boolean)
returns metering.budgets
language plpgsql
volatile
set search_path = pg_catalog, pg_temp
as $$
declare
  v_budget metering.budgets;
  v_now timestamptz := private.present_time(p_budget.organization_id);
  v_start timestamptz;
  v_end timestamptz;
  v_settled numeric;
  v_held numeric;
  v_use numeric;
begin
  if p_recount then
    v_start := private.window_start(p_budget.time_window, v_now, p_budget.time_zone);
    v_end := private.window_end(p_budget.time_window, v_now, p_budget.time_zone);
    v_settled := private.settled_in(p_budget, v_start, v_end);
    v_held := private.held_in(p_budget, v_start, v_end);
    insert into metering.budget_slots (organization_id, budget_id, slot)
    values (p_budget.organization_id, p_budget.id, 0)
    on conflict (organization_id, budget_id, slot) do nothing;
    update metering.budget_slots as s
    set
      window_start = v_start,
      window_end = v_end,
      settled_usd = v_settled * (s.slot = 0)::integer,
      held_usd = v_held * (s.slot = 0)::integer
    where s.organization_id = p_budget.organization_id and s.budget_id = p_budget.id;
  else
    perform private.open_window(p_budget, v_now);
  end if;
  perform private.lay_slots(p_budget);

  select sum(s.settled_usd + s.held_usd) into v_use
  from metering.budget_slots as s
  where s.organization_id = p_budget.organization_id and s.budget_id = p_budget.id;
  update metering.budgets as b
  set
    excess_usd = coalesce(greatest(v_use - b.limit_usd, 0), 0),
    updated_at = private.clock_now()
  where b.organization_id = p_budget.organization_id and b.id = p_budget.id
  returning * into v_budget;
  if private.granted_limit(v_budget) is null then
    update metering.budget_slots as s
    set available_usd = null, debt_usd = null
    where s.organization_id = p_budget.organization_id and s.budget_id = p_budget.id;
  else
    perform private.spread(v_budget, v_budget.limit_usd - v_use, 0);
  end if;
  return v_budget;
end
$$;

comment on function private.refigure(metering.budgets, boolean) is
  'Sets slots, counters and remainder of a budget that was made or changed.';

-- sql/metering/budgets.sql

-- Budgets: set, changed, removed, frozen.

-- The time zone a window is cut in. Under a change: it then stays.
create function private.zone_for(p_organization_id uuid, p_window text)
returns text
language plpgsql
stable
set search_path = pg_catalog, pg_temp
as $$
begin
  return (
    select o.time_zone from tenancy.organizations as o
    where o.id = p_organization_id and p_window <> 'total'
  );
end
$$;

comment on function private.zone_for(uuid, text) is
  'The organization''s time zone; null for a total.';

-- The privileged half of metering.set_budget.
--
-- Locks: the organization's own slots, so no spend is in flight. Idempotent.
create function private.set_budget(
  p_organization_id uuid,
  p_scope text,
  p_scope_id text,
  p_window text,
  p_limit numeric,
  p_enforcement text,
  p_slots integer
)
returns metering.budgets
language plpgsql
volatile
security definer -- writes budgets and slots, which no role may write itself
set search_path = pg_catalog, pg_temp
as $$
declare
  v_scope_id text;
  v_budget metering.budgets;
  v_is_new boolean;
begin
  perform private.assert_may_set_budgets(p_organization_id);
  v_scope_id := private.assert_scope(p_organization_id, p_scope, p_scope_id);
  perform private.assert_window('p_window', p_window);
  perform private.assert_slots('p_slots', p_slots);
  if p_limit is not null then
    perform private.assert_money('p_limit', p_limit);
  end if;
  if (p_enforcement in ('hard', 'soft')) is not true then
    perform private.reject_argument('p_enforcement', 'must be hard or soft');
  end if;

  perform private.begin_change(p_organization_id);
  select * into v_budget
  from metering.budgets as b
  where b.organization_id = p_organization_id
    and b.scope_key = p_scope || ':' || v_scope_id
    and b.time_window = p_window;
  v_is_new := not found;
  perform private.assert_not_funded(v_budget);
  if v_is_new then
    insert into metering.budgets (
      organization_id, scope, scope_id, time_window, time_zone, limit_usd, enforcement, slot_count
    )
    values (
      p_organization_id, p_scope, v_scope_id, p_window,
      private.zone_for(p_organization_id, p_window), p_limit, p_enforcement, coalesce(p_slots, 1)
    )
    returning * into v_budget;
  else
    update metering.budgets as b
    set
      limit_usd = p_limit,
      enforcement = p_enforcement,
      slot_count = coalesce(p_slots, b.slot_count)
    where b.organization_id = p_organization_id and b.id = v_budget.id
    returning * into v_budget;
  end if;
  return private.refigure(v_budget, v_is_new);
end
$$;

comment on function private.set_budget(uuid, text, text, text, numeric, text, integer) is
  'Core of metering.set_budget.';

-- Makes a budget or stores another cap. Idempotent.
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
  return private.set_budget(
    p_organization_id, p_scope, p_scope_id, p_window, p_limit, p_enforcement, p_slots
  );
end
$$;

comment on function metering.set_budget(uuid, text, text, text, numeric, text, integer) is
  'Makes the budget of a scope (organization, workflow, run, venture, user, api_key, model, tag as '
  'key=value) and window (total, hour, day, week, month), or stores another cap in US dollars; '
  'null counts and caps nothing. It counts what was spent and is held there already; a cap below '
  'that refuses the next call. p_enforcement soft grants and says so. p_slots spreads its counters '
  'over that many rows (1 to 256): about twice the connections that spend from it at once; null '
  'leaves it. For owners, admins and service_role. Errors: 22023, 42501, TS404.';

-- The privileged half of metering.change_budget.
create function private.change_budget(
  p_organization_id uuid,
  p_budget_id uuid,
  p_scope text,
  p_scope_id text,
  p_window text,
  p_slots integer
)
returns metering.budgets
language plpgsql
volatile
security definer -- writes budgets and slots, which no role may write itself
set search_path = pg_catalog, pg_temp
as $$
declare
  v_old metering.budgets;
  v_new metering.budgets;
begin
  perform private.assert_may_set_budgets(p_organization_id);
  perform private.assert_id('p_budget_id', p_budget_id);
  perform private.assert_slots('p_slots', p_slots);

  perform private.begin_change(p_organization_id);
  select * into v_old
  from metering.budgets as b
  where b.organization_id = p_organization_id and b.id = p_budget_id;
  if v_old.id is null then
    perform private.raise_error('TS404', jsonb_build_object('budget_id', p_budget_id));
  end if;
  v_new := v_old;
  v_new.time_window := private.assert_window('p_window', coalesce(p_window, v_old.time_window));
  v_new.slot_count := coalesce(p_slots, v_old.slot_count);
  if p_scope is not null or p_scope_id is not null then
    v_new.scope := coalesce(p_scope, v_old.scope);
    v_new.scope_id := private.assert_scope(
      p_organization_id, v_new.scope,
      coalesce(p_scope_id, case when v_new.scope = v_old.scope then v_old.scope_id end)
    );
  end if;
  if (v_new.scope, v_new.scope_id, v_new.time_window)
    is distinct from (v_old.scope, v_old.scope_id, v_old.time_window) then
    if private.is_born(v_old) then
      perform private.reject_argument('p_budget_id', 'must not be a budget that exists from birth');
    elsif v_old.frozen_at is not null then
      perform private.reject_argument('p_budget_id', 'must not be a budget that carries a freeze');
    elsif exists (
      select from metering.budgets as b
      where b.organization_id = p_organization_id
        and b.scope_key = v_new.scope || ':' || v_new.scope_id
        and b.time_window = v_new.time_window
    ) then
      perform private.reject_argument(
        'p_scope, p_scope_id, p_window', 'must not be those of another budget'
      );
    end if;
  end if;

  update metering.budgets as b
  set
    scope = v_new.scope,
    scope_id = v_new.scope_id,
    time_window = v_new.time_window,
    time_zone = case
      when private.is_born(v_old) then b.time_zone
      else private.zone_for(p_organization_id, v_new.time_window)
    end,
    slot_count = v_new.slot_count
  where b.organization_id = p_organization_id and b.id = p_budget_id
  returning * into v_new;
  return private.refigure(
    v_new, (v_new.scope_key, v_new.time_window) <> (v_old.scope_key, v_old.time_window)
  );
end
$$;

comment on function private.change_budget(uuid, uuid, text, text, text, integer) is
  'Core of metering.change_budget.';

-- True for the budgets that exist from birth, also of a run or draw that credits fund, and for
-- those that are cut from another.
create function private.is_born(p_budget metering.budgets)
returns boolean
language plpgsql
immutable
set search_path = pg_catalog, pg_temp
as $$
begin
  return p_budget.time_window = 'total'
    and (
      p_budget.id = p_budget.organization_id
      or p_budget.scope = 'workflow' and p_budget.id::text = p_budget.scope_id
    ) or p_budget.is_funded or p_budget.scope = 'venture_profile';
end
$$;

comment on function private.is_born(metering.budgets) is
  'True for the own budget of an organization, workflow, run or draw: it exists from birth and '
  'stays as long as that does; and for a share of a venture''s budget, which goes with it.';

-- Refuses to cap a run that credits fund: its limit is what is reserved for it.
create function private.assert_not_funded(p_budget metering.budgets)
returns void
language plpgsql
stable
set search_path = pg_catalog, pg_temp
as $$
begin
  if p_budget.is_funded then
    perform private.reject_argument('p_scope_id', 'must not be a run that credits fund');
  end if;
end
$$;

comment on function private.assert_not_funded(metering.budgets) is
  'Refuses the budget of a run that credits fund. Errors: 22023.';

-- Moves a budget to another scope or window, or spreads it over another number of slots, while
-- calls go on. Idempotent.
create function metering.change_budget(
  p_organization_id uuid,
  p_budget_id uuid,
  p_scope text default null,
  p_scope_id text default null,
  p_window text default null,
  p_slots integer default null
)
returns metering.budgets
language plpgsql
volatile
set search_path = pg_catalog, pg_temp
as $$
begin
  return private.change_budget(
    p_organization_id, p_budget_id, p_scope, p_scope_id, p_window, p_slots
  );
end
$$;

comment on function metering.change_budget(uuid, uuid, text, text, text, integer) is
  'Moves a budget to another scope or window, whose spend it then counts, or spreads its counters '
  'over another number of rows; null keeps. Those that exist from birth or carry a freeze only '
  'take p_slots. For owners, admins and service_role. Errors: 22023, 42501, TS404.';

-- The privileged half of metering.remove_budget.
create function private.remove_budget(
  p_organization_id uuid,
  p_scope text,
  p_scope_id text,
  p_window text
)
returns metering.budgets
language plpgsql
volatile
security definer -- writes budgets and slots, which no role may write itself
set search_path = pg_catalog, pg_temp
as $$
declare
  v_scope_id text;
  v_budget metering.budgets;
begin
  perform private.assert_may_set_budgets(p_organization_id);
  v_scope_id := private.assert_scope(p_organization_id, p_scope, p_scope_id);
  perform private.assert_window('p_window', p_window);

  perform private.begin_change(p_organization_id);
  update metering.budgets as b
  set limit_usd = null, enforcement = 'hard'
  where b.organization_id = p_organization_id
    and b.scope_key = p_scope || ':' || v_scope_id
    and b.time_window = p_window
  returning * into v_budget;
  if v_budget.id is null then
    perform private.raise_error(
      'TS404',
      jsonb_build_object('scope', p_scope, 'scope_id', v_scope_id, 'window', p_window)
    );
  end if;
  perform private.assert_not_funded(v_budget);
  if private.is_born(v_budget) or v_budget.frozen_at is not null then
    return private.refigure(v_budget, false);
  end if;
  delete from metering.budget_slots as s
  where s.organization_id = p_organization_id and s.budget_id = v_budget.id;
  delete from metering.budgets as b
  where b.organization_id = p_organization_id and b.id = v_budget.id;
  return v_budget;
end
$$;

comment on function private.remove_budget(uuid, text, text, text) is
  'Core of metering.remove_budget.';

-- Removes a budget. Those that exist from birth, and those that carry a freeze, only lose their
-- cap: they go on counting.
create function metering.remove_budget(
  p_organization_id uuid,
  p_scope text,
  p_scope_id text,
  p_window text
)
returns metering.budgets
language plpgsql
volatile
set search_path = pg_catalog, pg_temp
as $$
begin
  return private.remove_budget(p_organization_id, p_scope, p_scope_id, p_window);
end
$$;

comment on function metering.remove_budget(uuid, text, text, text) is
  'Removes a budget and returns it without its limit; the budget of an organization''s or '
  'workflow''s total, and one that carries a freeze, goes on counting, and the defaults of the '
  'checks apply again. For owners, admins and service_role. Errors: 22023, 42501, TS404.';

-- The privileged half of metering.freeze and metering.unfreeze.
create function private.set_frozen(
  p_organization_id uuid,
  p_scope text,
  p_scope_id text,
  p_is_frozen boolean
)
returns metering.budgets
language plpgsql
volatile
security definer -- writes organizations, budgets and slots, which no user may write
set search_path = pg_catalog, pg_temp
as $$
declare
  v_scope_id text;
  v_budget metering.budgets;
begin
  perform private.assert_may_set_budgets(p_organization_id);
  v_scope_id := private.assert_scope(p_organization_id, p_scope, p_scope_id);
  if p_scope = 'organization' then
    -- Its trigger waits for grants under way and freezes the own budget.
    update tenancy.organizations as o
    set frozen_at = case when p_is_frozen then coalesce(o.frozen_at, private.clock_now()) end
    where o.id = p_organization_id;
    select * into v_budget
    from metering.budgets as b
    where b.organization_id = p_organization_id and b.id = p_organization_id;
    return v_budget;
  end if;

  perform private.begin_change(p_organization_id);
  insert into metering.budgets (organization_id, scope, scope_id, time_window)
  select p_organization_id, p_scope, v_scope_id, 'total'
  where p_is_frozen
  on conflict (organization_id, scope_key, time_window, draw_day) do nothing
  returning * into v_budget;
  if v_budget.id is not null then
    perform private.refigure(v_budget, true);
  end if;
  update metering.budgets as b
  set
    frozen_at = case when p_is_frozen then coalesce(b.frozen_at, private.clock_now()) end,
    updated_at = private.clock_now()
  where b.organization_id = p_organization_id
    and b.scope_key = p_scope || ':' || v_scope_id
    and b.time_window = 'total'
  returning * into v_budget;
  if v_budget.id is null then
    perform private.raise_error(
      'TS404', jsonb_build_object('scope', p_scope, 'scope_id', v_scope_id)
    );
  end if;
  return v_budget;
end
$$;

comment on function private.set_frozen(uuid, text, text, boolean) is
  'Core of metering.freeze and metering.unfreeze.';

-- Stops all grants in an organization or one of its scopes. Idempotent.
create function metering.freeze(
  p_organization_id uuid,
  p_scope text default 'organization',
  p_scope_id text default null
)
returns metering.budgets
language plpgsql
volatile
set search_path = pg_catalog, pg_temp
as $$
begin
  return private.set_frozen(p_organization_id, p_scope, p_scope_id, true);
end
$$;

comment on function metering.freeze(uuid, text, text) is
  'From now on nothing is granted in the scope, and checks say no; open holds may be settled, and '
  'spend is recorded all the same. Waits for grants under way. Returns the total budget of the '
  'scope, which carries the freeze, made without a limit where there was none. For owners, admins '
  'and service_role. Errors: 22023, 42501, TS404.';

-- Lets an organization or scope spend again. Idempotent.
create function metering.unfreeze(
  p_organization_id uuid,
  p_scope text default 'organization',
  p_scope_id text default null
)
returns metering.budgets
language plpgsql
volatile
set search_path = pg_catalog, pg_temp
as $$
begin
  return private.set_frozen(p_organization_id, p_scope, p_scope_id, false);
end
$$;

comment on function metering.unfreeze(uuid, text, text) is
  'Ends a freeze; returns the total budget of the scope, which carried it. For owners, admins and '
  'service_role. Errors: 22023, 42501, TS404.';

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
      and b.frozen_at is null
      and (
        select sum(s.settled_usd + s.held_usd)
        from metering.budget_slots as s
        where s.organization_id = b.organization_id and s.budget_id = b.id
      )
      - private.overdue(b.organization_id, b.scope_key, '-infinity', private.clock_now())
      + p_additional_cost <= private.effective_cap(b.limit_usd, p_max_cost, 1.00)
    from tenancy.organizations as o
    inner join metering.budgets as b on b.organization_id = o.id
    where o.id = p_organization_id and b.id = p_workflow_id
  );
end
$$;

comment on function private.fits_workflow(uuid, uuid, numeric, numeric) is
  'True iff nothing is frozen and settled + held + additional fits the cap; what overdue holds '
  'keep is free.';

-- Holds off all spend of an organization until the transaction ends.
create function private.lock_organization(p_organization_id uuid)
returns void
language plpgsql
volatile
security definer -- locks slots, which takes a right to update them
set search_path = pg_catalog, pg_temp
as $$
begin
  perform private.assert_member(p_organization_id);
  -- Partitions come before slots, in every call: a record may follow in this transaction.
  perform private.ensure_month(private.clock_now());
  perform private.gather_organization(p_organization_id);
end
$$;

comment on function private.lock_organization(uuid) is
  'Locks the own counters of an organization, for members and server roles.';

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
  perform private.lock_organization(v_organization_id);
  return private.fits_workflow(v_organization_id, p_workflow_id, p_additional_cost, p_max_cost);
end
$$;

comment on function public.check_workflow_cost_limit(uuid, numeric, numeric, uuid) is
  'True iff neither organization nor workflow is frozen and settled + held + p_additional_cost <= '
  'the cap, in US dollars (ai_cost_governance). A stored cap wins over p_max_cost: a stated 1.00, '
  'the default, is ignored, a lower one lowers it. Holds off all spend of the organization until '
  'the transaction ends, so never keep it open across a model call. Errors: 22023, 42501, TS404.';

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
      and r.scope = 'organization'
      and r.scope_id = ''
      and r.day >= p_month
      and r.day < (p_month + interval '1 month')::date
  );
end
$$;

comment on function private.monthly_cost(uuid, date) is
  'Recorded cost in US dollars of the month that begins on p_month.';

-- What an organization holds in the month that begins on p_month, whether or not that month has a
-- budget. What overdue holds keep is free.
create function private.monthly_holds(p_organization_id uuid, p_month date)
returns numeric
language plpgsql
stable
set search_path = pg_catalog, pg_temp
as $$
begin
  return (
    select coalesce(sum(h.held_usd), 0)
    from metering.holds as h
    where h.organization_id = p_organization_id
      and h.state = 'open'
      and h.expires_at > private.clock_now()
      and h.day >= p_month
      and h.day < (p_month + interval '1 month')::date
  );
end
$$;

comment on function private.monthly_holds(uuid, date) is
  'Money in US dollars that open holds keep in the month that begins on p_month.';

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
        -- -infinity where no window is open yet
        (
          select
            date_trunc('month', private.local_day(max(s.window_start), o.time_zone)::timestamp)::date
          from metering.budgets as b
          inner join metering.budget_slots as s
            on s.organization_id = b.organization_id and s.budget_id = b.id
          where b.organization_id = o.id
            and b.scope_key = 'organization:'
            and b.time_window <> 'total'
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
begin
  perform private.assert_money('p_monthly_limit', p_monthly_limit);
  perform private.assert_member(p_organization_id);
  v_month := private.present_month(p_organization_id);

  return (
    select
      o.frozen_at is null
      and private.monthly_cost(p_organization_id, v_month)
      + private.monthly_holds(p_organization_id, v_month)
      < private.effective_cap(
        (
          select b.limit_usd
          from metering.budgets as b
          where b.organization_id = o.id
            and b.scope_key = 'organization:'
            and b.time_window = 'month'
        ),
        p_monthly_limit, 25.00
      )
    from tenancy.organizations as o
    where o.id = p_organization_id
  );
end
$$;

comment on function public.check_organization_monthly_quota(uuid, numeric) is
  'True iff the organization is not frozen and settled + held of its present month is below the '
  'limit, in US dollars (ai_cost_governance). A stored cap wins over p_monthly_limit: a stated '
  '25.00, the default, is ignored, a lower one lowers it. Errors: 22023, 42501, TS404.';

-- sql/metering/decisions.sql

-- What is asked, and what is answered.

create type metering.spend_decision as (
  decision text,
  hold_id uuid,
  usage_id uuid,
  held_usd text,
  reason text,
  budget_id uuid,
  remaining_usd text,
  resets_at timestamptz,
  affordable_output_tokens bigint,
  expires_at timestamptz,
  proposal_id uuid
);

comment on type metering.spend_decision is 'The answer of authorize_spend and estimate_spend.';
comment on column metering.spend_decision.decision is
  'granted: the money is held. denied: it is not. settled: the request was already made and '
  'settled. needs_approval: somebody has to approve it; then ask again with the same request id.';
comment on column metering.spend_decision.hold_id is 'The hold to settle or release; granted.';
comment on column metering.spend_decision.usage_id is 'The usage a settled request became.';
comment on column metering.spend_decision.held_usd is
  'US dollars held, as decimal text; of a settled request, what it cost.';
comment on column metering.spend_decision.reason is
  'denied: budget_exceeded, frozen, run_ended, model_not_in_run, unpriced_model, stale_price, '
  'approval_rejected or approval_needs_request_id. granted: over_soft_limit, or null.';
comment on column metering.spend_decision.budget_id is
  'The budget that decided; null where the organization is frozen, or credits were not enough to '
  'open the draw of the day.';
comment on column metering.spend_decision.remaining_usd is
  'What that budget has left, as decimal text; below zero for a soft one.';
comment on column metering.spend_decision.resets_at is
  'When that budget''s window ends; null for a total.';
comment on column metering.spend_decision.affordable_output_tokens is
  'How many output tokens pay for themselves beside the input: of a grant from what is held, of a '
  'denial from what is left. Null where no price is known or output is free.';
comment on column metering.spend_decision.expires_at is
  'From then on the hold''s money is free for others.';
comment on column metering.spend_decision.proposal_id is
  'needs_approval: what is to be approved. denied: what was rejected.';

-- Tags: up to 16 texts by name. A tag's budget is found by key=value, so both stay short.
create function private.assert_tags(p_argument text, p_tags jsonb)
returns jsonb
language plpgsql
stable
set search_path = pg_catalog, pg_temp
as $$
begin
  if jsonb_typeof(p_tags) is distinct from 'object' then
    perform private.reject_argument(p_argument, 'must be an object');
  elsif exists (select from jsonb_each(p_tags) as t where jsonb_typeof(t.value) <> 'string') then
    perform private.reject_argument(p_argument, 'must have texts as values');
  elsif exists (
    select from jsonb_each_text(p_tags) as t
    where t.key !~ '^[^=[:space:]]+$' or t.value !~ '\S' or length(t.key || '=' || t.value) > 255
  ) then
    perform private.reject_argument(
      p_argument, 'must have keys without spaces or =, no blank value, and at most 255 characters each'
    );
  elsif (select count(*) from jsonb_object_keys(p_tags)) > 16 then
    perform private.reject_argument(p_argument, 'must have at most 16 keys');
  end if;
  return p_tags;
end
$$;

comment on function private.assert_tags(text, jsonb) is
  'Refuses anything but an object of up to 16 texts. Errors: 22023.';

-- The profiles a venture may spend under. Each may have a share of its budget.
create function private.assert_budget_profile(p_argument text, p_profile text)
returns text
language plpgsql
stable
set search_path = pg_catalog, pg_temp
as $$
begin
  if (p_profile in ('exploratory', 'standard', 'deep_due_diligence', 'custom')) is not true then
    perform private.reject_argument(
      p_argument, 'must be exploratory, standard, deep_due_diligence or custom'
    );
  end if;
  return p_profile;
end
$$;

comment on function private.assert_budget_profile(text, text) is
  'Refuses anything but a profile of a venture. Errors: 22023.';

-- Checks who asks for what, and returns it as the hold it would be.
--
-- A tenant spends as itself: its hold names the person, and no API key. Server roles may name both.
create function private.draft_hold(
  p_organization_id uuid,
  p_model text,
  p_input_tokens bigint,
  p_max_output_tokens bigint,
  p_workflow_id uuid,
  p_run_id uuid,
  p_venture_id uuid,
  p_user_id uuid,
  p_api_key_id text,
  p_tags jsonb,
  p_provider text,
  p_service_tier text,
  p_roles text[] default array['owner', 'admin', 'finance', 'member']
)
returns metering.holds
language plpgsql
stable
set search_path = pg_catalog, pg_temp
as $$
declare
  v_hold metering.holds;
begin
  v_hold.organization_id := private.assert_id('p_organization_id', p_organization_id);
  v_hold.workflow_id := p_workflow_id;
  v_hold.run_id := p_run_id;
  v_hold.venture_id := p_venture_id;
  v_hold.user_id := p_user_id;
  v_hold.tags := coalesce(p_tags, '{}');
  v_hold.state := 'open';
  if not private.is_trusted_caller() then
    perform private.assert_member(p_organization_id, p_roles);
    v_hold.user_id := auth.uid();
    if p_user_id <> v_hold.user_id or p_api_key_id is not null then
      perform private.raise_error(
        '42501', jsonb_build_object('user_id', p_user_id, 'api_key_id', p_api_key_id)
      );
    end if;
  end if;

  if p_input_tokens is not null then
    perform private.assert_count('p_input_tokens', p_input_tokens);
  end if;
  if p_max_output_tokens is not null then
    perform private.assert_count('p_max_output_tokens', p_max_output_tokens);
  end if;
  v_hold.model := private.assert_text('p_model', coalesce(p_model, 'unknown'));
  if p_api_key_id is not null then
    v_hold.api_key_id := private.assert_text('p_api_key_id', p_api_key_id);
  end if;
  if p_provider is not null then
    v_hold.provider := private.assert_text('p_provider', p_provider);
  end if;
  if p_service_tier is not null then
    v_hold.service_tier := private.assert_text('p_service_tier', p_service_tier);
  end if;
  if v_hold.tags <> '{}' then
    v_hold.tags := private.assert_tags('p_tags', v_hold.tags);
  end if;
  if p_venture_id is not null then
    if not exists (
      select from tenancy.ventures as v
      where v.organization_id = p_organization_id and v.id = p_venture_id
    ) then
      perform private.raise_error('TS404', jsonb_build_object('venture_id', p_venture_id));
    end if;
    -- Under a profile nobody knows it would escape the share of the one it is meant for.
    if v_hold.tags ? 'budget_profile' then
      perform private.assert_budget_profile(
        'p_tags.budget_profile', v_hold.tags ->> 'budget_profile'
      );
    end if;
  end if;
  return v_hold;
end
$$;

comment on function private.draft_hold(
  uuid, text, bigint, bigint, uuid, uuid, uuid, uuid, text, jsonb, text, text, text[]
) is
  'The hold a call asks for, its arguments and its caller checked, without an amount. Errors: '
  '22023, 42501, TS404.';

-- The scope keys of a hold.
create function private.scope_keys_of(p_hold metering.holds)
returns text[]
language plpgsql
stable
set search_path = pg_catalog, pg_temp
as $$
begin
  return private.scope_keys(
    p_hold.workflow_id, p_hold.run_id, p_hold.venture_id, p_hold.user_id, p_hold.api_key_id,
    p_hold.model, p_hold.listed_model, p_hold.tags
  );
end
$$;

comment on function private.scope_keys_of(metering.holds) is 'scope_keys of a hold.';

-- Refuses what names an organization or workflow that is not there: each has a budget of its own
-- from birth, so what is not covered by it does not exist. Where calls are paid in advance, a run
-- must be one that was started here.
create function private.assert_covered(p_hold metering.holds, p_coverage private.coverage)
returns private.coverage
language plpgsql
stable
set search_path = pg_catalog, pg_temp
as $$
begin
  if p_coverage.budget_ids is null then
    perform private.raise_error(
      'TS404', jsonb_build_object('organization_id', p_hold.organization_id)
    );
  elsif p_hold.workflow_id is not null and not p_coverage.has_workflow then
    perform private.raise_error('TS404', jsonb_build_object('workflow_id', p_hold.workflow_id));
  elsif p_hold.run_id is not null and p_coverage.lacks_funding
    and not private.is_run(p_hold.organization_id, p_hold.run_id) then
    perform private.raise_error('TS404', jsonb_build_object('run_id', p_hold.run_id));
  end if;
  return p_coverage;
end
$$;

comment on function private.assert_covered(metering.holds, private.coverage) is
  'Refuses a hold of an unknown organization, workflow or run. Errors: TS404.';

create function private.denied_as_frozen(p_organization_id uuid, p_scope_keys text[])
returns metering.spend_decision
language plpgsql
stable
set search_path = pg_catalog, pg_temp
as $$
declare
  v_decision metering.spend_decision;
begin
  v_decision.decision := 'denied';
  v_decision.reason := 'frozen';
  v_decision.budget_id := (
    select nullif(b.id, b.organization_id)
    from metering.budgets as b
    where b.organization_id = p_organization_id
      and b.scope_key = any(p_scope_keys)
      and b.frozen_at is not null
    order by b.id <> b.organization_id, b.id
    limit 1
  );
  return v_decision;
end
$$;

comment on function private.denied_as_frozen(uuid, text[]) is
  'The decision where the organization or a scope of the call is frozen.';

-- Why a call may not be made whatever it costs; its decision is null where nothing is in the way.
create function private.denied_outright(
  p_hold metering.holds,
  p_scope_keys text[],
  p_coverage private.coverage
)
returns metering.spend_decision
language plpgsql
stable
set search_path = pg_catalog, pg_temp
as $$
declare
  v_decision metering.spend_decision;
begin
  if p_coverage.is_frozen then
    return private.denied_as_frozen(p_hold.organization_id, p_scope_keys);
  elsif p_hold.run_id is not null and p_coverage.lacks_funding then
    v_decision.decision := 'denied';
    v_decision.reason := 'run_ended';
  elsif p_coverage.excludes_model then
    v_decision.decision := 'denied';
    v_decision.reason := 'model_not_in_run';
    v_decision.budget_id := p_hold.run_id;
  end if;
  return v_decision;
end
$$;

comment on function private.denied_outright(metering.holds, text[], private.coverage) is
  'The decision where something is frozen, the run has ended, or it may not call the model.';

create function private.denied_as_exceeded(p_coverage private.coverage)
returns metering.spend_decision
language plpgsql
immutable
set search_path = pg_catalog, pg_temp
as $$
declare
  v_decision metering.spend_decision;
begin
  v_decision.decision := 'denied';
  v_decision.reason := 'budget_exceeded';
  v_decision.budget_id := p_coverage.tightest_budget_id;
  v_decision.remaining_usd := trim_scale(p_coverage.remaining)::text;
  v_decision.resets_at := p_coverage.resets_at;
  return v_decision;
end
$$;

comment on function private.denied_as_exceeded(private.coverage) is
  'The decision where a budget has not enough left.';

-- The grant of an open hold. Where a soft limit is passed, or would be by p_unbooked more, it says
-- which and by how much.
create function private.granted(
  p_hold metering.holds,
  p_scope_keys text[],
  p_unbooked numeric default 0
)
returns metering.spend_decision
language plpgsql
stable
set search_path = pg_catalog, pg_temp
as $$
declare
  v_now constant timestamptz := private.clock_now();
  v_decision metering.spend_decision;
begin
  v_decision.decision := 'granted';
  v_decision.hold_id := p_hold.id;
  v_decision.held_usd := trim_scale(p_hold.held_usd)::text;
  v_decision.expires_at := p_hold.expires_at;
  if p_scope_keys is not null then
    select
      'over_soft_limit', s.budget_id, trim_scale(s.remaining)::text, nullif(s.resets_at, 'infinity')
    into v_decision.reason, v_decision.budget_id, v_decision.remaining_usd, v_decision.resets_at
    from (
      select
        b.id as budget_id,
        b.limit_usd - p_unbooked - case
          when max(x.window_end) > v_now then sum(x.settled_usd + x.held_usd) else 0
        end as remaining,
        case
          when max(x.window_end) > v_now then max(x.window_end)
          else private.window_end(b.time_window, v_now, b.time_zone)
        end as resets_at
      from metering.budgets as b
      inner join metering.budget_slots as x
        on x.organization_id = b.organization_id and x.budget_id = b.id
      where b.organization_id = p_hold.organization_id
        and b.scope_key = any(p_scope_keys)
        and b.enforcement = 'soft'
      group by b.organization_id, b.id
    ) as s
    where s.remaining < 0
    order by s.remaining, s.budget_id
    limit 1;
  end if;
  return v_decision;
end
$$;

comment on function private.granted(metering.holds, text[], numeric) is
  'The decision for an open hold; with scope keys, soft limits are looked at.';

-- What a retried request finds: its open hold, or what became of it, or its proposal. Its decision
-- is null where it is to be admitted anew: the hold was released or has expired, whether or not
-- anybody took its money; or the proposal was approved.
create function private.present_decision(
  p_organization_id uuid,
  p_subject_id uuid,
  p_now timestamptz
)
returns metering.spend_decision
language plpgsql
stable
set search_path = pg_catalog, pg_temp
as $$
declare
  v_hold metering.holds;
  v_decision metering.spend_decision;
begin
  -- What nothing was bound to is looked for nowhere: in the ledger, all partitions would be locked.
  if p_subject_id is null then
    return null;
  end if;
  select * into v_hold
  from metering.holds as h
  where h.organization_id = p_organization_id and h.id = p_subject_id;
  if v_hold.state = 'open' and v_hold.expires_at > p_now then
    return private.granted(v_hold, private.scope_keys_of(v_hold));
  elsif v_hold.id is null then
    select 'settled', l.id, trim_scale(l.cost)::text
    into v_decision.decision, v_decision.usage_id, v_decision.held_usd
    from public.ai_usage_ledger as l
    where l.organization_id = p_organization_id and l.id = p_subject_id;
    if v_decision.decision is null then
      return private.decision_of_proposal(p_organization_id, p_subject_id);
    end if;
  end if;
  return v_decision;
end
$$;

comment on function private.present_decision(uuid, uuid, timestamptz) is
  'The decision a retried request gets: granted, settled, needs_approval, denied where that was '
  'rejected, or null where it is admitted anew.';

-- True where a hold ended without a settlement: released, expired, or forgotten since. Also for
-- what is no hold but a proposal.
create function private.is_over(p_organization_id uuid, p_hold_id uuid)
returns boolean
language plpgsql
stable
set search_path = pg_catalog, pg_temp
as $$
begin
  return not exists (
    select from metering.holds as h
    where h.organization_id = p_organization_id and h.id = p_hold_id and h.state = 'open'
  ) and not exists (
    select from public.ai_usage_ledger as l
    where l.organization_id = p_organization_id and l.id = p_hold_id
  );
end
$$;

comment on function private.is_over(uuid, uuid) is
  'True for a hold that is neither open, overdue or not, nor settled.';

-- Whether a request that was bound to p_bound has an answer by now: another call bound its id, or
-- its overdue hold was settled meanwhile.
create function private.has_moved(
  p_organization_id uuid,
  p_request_id text,
  p_content_hash text,
  p_bound uuid,
  p_open_after timestamptz
)
returns boolean
language plpgsql
stable
set search_path = pg_catalog, pg_temp
as $$
begin
  return p_request_id is not null and (
    p_bound is distinct from private.find_request(
      p_organization_id, 'authorize', p_request_id, p_content_hash
    )
    or p_bound is not null and (
      private.present_decision(p_organization_id, p_bound, p_open_after)
    ).decision is not null
  );
end
$$;

comment on function private.has_moved(uuid, text, text, uuid, timestamptz) is
  'True where a request that was to be decided has an answer by now. Errors: TS409.';

-- sql/metering/costing.sql

-- What a call is estimated to cost before it, and what it cost after it.

create type private.estimate as (
  cost numeric,
  minimum numeric,
  price_id uuid,
  markup_id uuid,
  provider text,
  listed_model text,
  input_usd numeric,
  usd_per_output_token numeric,
  is_free boolean,
  reason text
);

comment on type private.estimate is
  'What to hold for a call, the least it may be cut to, and by which price; or why there is none.';

-- True where nothing of a tier costs anything.
create function private.is_free(p_tier jsonb, p_percent numeric)
returns boolean
language plpgsql
immutable
set search_path = pg_catalog, pg_temp
as $$
begin
  return p_percent is not distinct from -100 or not exists (
    select from jsonb_each_text(p_tier - 'above_input_tokens') as r where r.value::numeric > 0
  );
end
$$;

comment on function private.is_free(jsonb, numeric) is
  'True where every rate of a tier is 0, or the markup takes all of it.';

-- What a prompt costs by a price, and each token of the answer. Which output is reasoning is not
-- known beforehand, so the dearer rate of both is taken.
create function private.estimate_at(p_quote private.quote, p_input_tokens bigint)
returns private.estimate
language plpgsql
immutable
set search_path = pg_catalog, pg_temp
as $$
declare
  v_tier constant jsonb := private.rates_of_prompt(p_quote.rates, p_input_tokens);
  v_estimate private.estimate;
begin
  v_estimate.price_id := p_quote.price_id;
  v_estimate.markup_id := p_quote.markup_id;
  v_estimate.is_free := private.is_free(v_tier, p_quote.percent);
  v_estimate.input_usd := private.marked_up(
    (
      coalesce(p_input_tokens, 0) * (v_tier ->> 'input_tokens')::numeric
      + (v_tier ->> 'requests')::numeric
    ) * 0.000001,
    p_quote.percent
  );
  v_estimate.usd_per_output_token := private.marked_up(
    greatest(
      (v_tier ->> 'output_tokens')::numeric, (v_tier ->> 'reasoning_tokens')::numeric
    ) * 0.000001,
    p_quote.percent
  );
  return v_estimate;
end
$$;

comment on function private.estimate_at(private.quote, bigint) is
  'An estimate of the input and of each output token by a price; without what is to be held.';

-- What an estimate comes to, US dollars: more than nothing, unless the model is free. A grant of
-- nothing would be one that no budget refuses.
create function private.estimated_cost(
  p_estimate private.estimate,
  p_input_tokens bigint,
  p_max_output_tokens bigint,
  p_stated numeric
)
returns numeric
language plpgsql
stable
set search_path = pg_catalog, pg_temp
as $$
declare
  v_cost numeric := private.round_half_even(
    p_estimate.input_usd + coalesce(p_max_output_tokens, 0) * p_estimate.usd_per_output_token, 12
  );
begin
  if v_cost >= 1e12 then
    perform private.reject_argument(
      'p_input_tokens, p_max_output_tokens', 'must cost below 1000000000000'
    );
  elsif v_cost = 0 and not p_estimate.is_free then
    if coalesce(p_input_tokens, 0) + coalesce(p_max_output_tokens, 0) = 0 and p_stated is null then
      perform private.reject_argument(
        'p_input_tokens, p_max_output_tokens', 'must not both be 0'
      );
    end if;
    v_cost := 1e-12;
  end if;
  return greatest(v_cost, p_stated);
end
$$;

comment on function private.estimated_cost(private.estimate, bigint, bigint, numeric) is
  'What to hold by a price: the larger of tokens and stated cost. Errors: 22023.';

-- Estimates a call from its token counts, its stated cost, or both.
--
-- A server that states a cost knows it; a tenant may only state more than its tokens cost, and
-- needs a model with a price. What is neither stated nor priced is not estimated: it is denied.
create function private.estimate_call(
  p_hold metering.holds,
  p_estimated_cost numeric,
  p_input_tokens bigint,
  p_max_output_tokens bigint,
  p_allow_partial boolean,
  p_minimum numeric
)
returns private.estimate
language plpgsql
stable
set search_path = pg_catalog, pg_temp
as $$
declare
  v_is_server_stated constant boolean := p_estimated_cost is not null and private.is_trusted_caller();
  v_has_tokens constant boolean := coalesce(p_input_tokens, p_max_output_tokens) is not null;
  v_quote private.quote;
  v_listed private.model_key;
  v_estimate private.estimate;
begin
  if p_estimated_cost is not null then
    if private.assert_money('p_estimated_cost', p_estimated_cost) = 0 then
      perform private.reject_argument('p_estimated_cost', 'must be above 0');
    end if;
  elsif p_input_tokens is null or p_max_output_tokens is null then
    perform private.reject_argument(
      'p_estimated_cost', 'must be stated, or both p_input_tokens and p_max_output_tokens'
    );
  end if;

  if v_is_server_stated and not v_has_tokens then
    v_listed := private.find_listed(p_hold.provider, p_hold.model);
  else
    v_quote := private.quote_model(
      p_hold.organization_id, p_hold.provider, p_hold.model, p_hold.service_tier,
      private.clock_now(), 'infinity'
    );
    v_listed := row(v_quote.provider, v_quote.model)::private.model_key;
    if v_quote.reason is null then
      v_estimate := private.estimate_at(v_quote, p_input_tokens);
    elsif not v_is_server_stated then
      v_estimate.reason := v_quote.reason;
    end if;
  end if;
  v_estimate.provider := v_listed.provider;
  v_estimate.listed_model := nullif(v_listed.model, p_hold.model);
  if v_estimate.reason is not null then
    return v_estimate;
  end if;

  v_estimate.cost := p_estimated_cost;
  if not v_is_server_stated then
    v_estimate.cost := private.estimated_cost(
      v_estimate, p_input_tokens, p_max_output_tokens, p_estimated_cost
    );
  end if;
  v_estimate.minimum := private.assert_minimum(
    p_allow_partial, p_minimum, v_estimate.cost,
    case
      when v_estimate.price_id is not null and p_input_tokens is not null then least(
        v_estimate.cost,
        private.round_half_even(v_estimate.input_usd + v_estimate.usd_per_output_token, 12)
      )
    end
  );
  return v_estimate;
end
$$;

comment on function private.estimate_call(
  metering.holds, numeric, bigint, bigint, boolean, numeric
) is
  'What to hold for a drafted hold. Its reason is unpriced_model or stale_price where there is no '
  'price to estimate by. Errors: 22023.';

create function private.denied_as_unpriced(p_estimate private.estimate)
returns metering.spend_decision
language plpgsql
immutable
set search_path = pg_catalog, pg_temp
as $$
declare
  v_decision metering.spend_decision;
begin
  v_decision.decision := 'denied';
  v_decision.reason := p_estimate.reason;
  return v_decision;
end
$$;

comment on function private.denied_as_unpriced(private.estimate) is
  'The decision where what the call would cost is not known.';

-- How many output tokens money pays for beside the input: those whose cost, rounded, is within it.
create function private.affordable_tokens(p_money numeric, p_estimate private.estimate)
returns bigint
language plpgsql
immutable
set search_path = pg_catalog, pg_temp
as $$
declare
  v_tokens numeric;
begin
  if (p_estimate.usd_per_output_token > 0) is not true or p_money is null then
    return null;
  end if;
  -- Half a unit of the last decimal: what rounds down to the money is within it.
  v_tokens := div(p_money + 5e-13 - p_estimate.input_usd, p_estimate.usd_per_output_token);
  if private.round_half_even(
    p_estimate.input_usd + v_tokens * p_estimate.usd_per_output_token, 12
  ) > p_money then
    v_tokens := v_tokens - 1;
  end if;
  return least(greatest(v_tokens, 0), 9223372036854775807);
end
$$;

comment on function private.affordable_tokens(numeric, private.estimate) is
  'Output tokens that p_money (US dollars) pays for beside the input; null where they cost '
  'nothing, or no price is known.';

-- Says how long an answer the money would pay for: what is held of a grant, what is left of a
-- denial.
create function private.with_affordable_tokens(
  p_decision metering.spend_decision,
  p_estimate private.estimate
)
returns metering.spend_decision
language plpgsql
immutable
set search_path = pg_catalog, pg_temp
as $$
declare
  v_decision metering.spend_decision := p_decision;
begin
  v_decision.affordable_output_tokens := private.affordable_tokens(
    case
      when p_decision.decision = 'granted' then p_decision.held_usd::numeric
      when p_decision.reason = 'budget_exceeded' then p_decision.remaining_usd::numeric
    end,
    p_estimate
  );
  return v_decision;
end
$$;

comment on function private.with_affordable_tokens(metering.spend_decision, private.estimate) is
  'A decision, with affordable_output_tokens.';

create type private.costing as (
  cost numeric,
  basis metering.cost_basis,
  counts jsonb,
  prompt_tokens integer,
  completion_tokens integer,
  service_tier text,
  price_id uuid,
  markup_id uuid,
  rates jsonb,
  zero_cost_reason metering.zero_cost_reason
);

comment on type private.costing is 'What a call used and cost, and how that follows.';

-- The price a hold is settled by: the one that was pinned; where the provider served another tier
-- than was asked for, that tier's, as it was known when the hold was made; where none was pinned,
-- the one that held then.
create function private.price_of_hold(p_hold metering.holds, p_served_tier text)
returns private.quote
language plpgsql
stable
set search_path = pg_catalog, pg_temp
as $$
declare
  -- The time of a hold is cut to the millisecond; a price of that millisecond held already.
  v_at constant timestamptz := p_hold.created_at + interval '999 microseconds';
  v_pinned private.quote;
  v_served private.quote;
begin
  if p_hold.price_id is null then
    return private.quote_model(
      p_hold.organization_id, p_hold.provider, coalesce(p_hold.listed_model, p_hold.model),
      coalesce(p_served_tier, p_hold.service_tier), v_at, 'infinity'
    );
  end if;
  v_pinned := private.pinned_price(p_hold.organization_id, p_hold.price_id, p_hold.markup_id);
  if private.listed_tier(p_served_tier) <> v_pinned.service_tier and p_served_tier is not null then
    v_served := private.find_price(
      p_hold.organization_id, v_pinned.provider, v_pinned.model, private.listed_tier(p_served_tier),
      v_at, v_at
    );
    if v_served.price_id is not null then
      return v_served;
    end if;
  end if;
  return v_pinned;
end
$$;

comment on function private.price_of_hold(metering.holds, text) is
  'The price a hold is settled by; without price_id where no price is known.';

-- What a held call cost. A stated cost wins over the price and is flagged as stated.
create function private.cost_call(
  p_hold metering.holds,
  p_measured private.measurement,
  p_cost numeric
)
returns private.costing
language plpgsql
stable
set search_path = pg_catalog, pg_temp
as $$
declare
  v_costing private.costing;
  v_quote private.quote;
  v_tier jsonb;
begin
  v_costing.counts := p_measured.counts;
  v_costing.prompt_tokens := p_measured.prompt_tokens;
  v_costing.completion_tokens := p_measured.completion_tokens;
  v_costing.service_tier := coalesce(p_measured.service_tier, p_hold.service_tier);
  v_costing.cost := p_cost;
  v_costing.basis := (
    case when p_measured.is_estimate then 'estimated' else 'stated' end
  )::metering.cost_basis;
  if p_cost is null or p_hold.price_id is not null then
    v_quote := private.price_of_hold(p_hold, p_measured.service_tier);
    if v_quote.price_id is not null then
      v_tier := private.rates_of_prompt(v_quote.rates, p_measured.prompt_tokens);
      v_costing.price_id := v_quote.price_id;
      v_costing.markup_id := v_quote.markup_id;
      v_costing.counts := private.charged_counts(v_tier, p_measured.counts);
      v_costing.rates := private.charged_rates(v_tier, v_costing.counts, v_quote.percent);
    end if;
  end if;
  if p_cost is null then
    if v_quote.price_id is null then
      perform private.reject_argument('p_cost', 'must be stated: no price is known for the model');
    end if;
    v_costing.cost := private.cost_at(v_costing.rates, v_costing.counts);
    -- A tier without a price is charged by the pinned one, which is a guess.
    v_costing.basis := (
      case
        when p_measured.is_estimate
          or private.listed_tier(p_measured.service_tier) <> v_quote.service_tier
          and p_measured.service_tier is not null
          then 'estimated'
        else 'priced'
      end
    )::metering.cost_basis;
    if v_costing.cost >= 1e12 then
      perform private.reject_argument('p_usage', 'must cost below 1000000000000');
    end if;
  end if;
  if v_costing.cost = 0 and (v_costing.prompt_tokens > 0 or v_costing.completion_tokens > 0) then
    v_costing.zero_cost_reason := (case
      when p_cost is not null then 'stated'
      when v_quote.percent = -100 then 'full_discount'
      when exists (
        select from jsonb_each_text(v_costing.rates) as r where r.value::numeric > 0
      ) then 'below_precision'
      else 'free_model'
    end)::metering.zero_cost_reason;
  end if;
  return v_costing;
end
$$;

comment on function private.cost_call(metering.holds, private.measurement, numeric) is
  'What a held call used and cost, by its price or as stated. Errors: 22023 where neither is '
  'known.';

-- sql/metering/admit.sql

-- Admits a hold or denies it. p_minimum is the least it may be cut to: the whole, if it may not be
-- cut.
--
-- Denied from a snapshot, before anything is locked or written, where the money is not there even
-- if every overdue hold were freed. Then an attempt on one slot per budget; where that falls short,
-- a gather. A gather that left out overdue holds, because somebody was just working on them, does
-- not deny: it is undone, waits for those holds and gathers again.
--
-- Where a policy asks for approval the attempt is undone, and there is a proposal instead; an
-- approved one is known by the request id. What is asked for and what is granted may differ: it is
-- what would be held that needs approval.
--
-- p_still_since: the caller (a batch) has gathered as of this time, and the organization stands
-- still. That is then the time of the call, so that no further hold is overdue and none need be
-- waited for.
create function private.admit(
  p_hold metering.holds,
  p_minimum numeric,
  p_expires_in interval,
  p_request_id text,
  p_content_hash text,
  p_still_since timestamptz
)
returns metering.spend_decision
language plpgsql
volatile
set search_path = pg_catalog, pg_temp
as $$
declare
  v_organization_id constant uuid := p_hold.organization_id;
  v_keys constant text[] := private.scope_keys_of(p_hold);
  v_hold metering.holds := p_hold;
  v_decision metering.spend_decision;
  v_coverage private.coverage;
  v_bound uuid;
  v_now timestamptz;
  v_time timestamptz;
  v_open_after timestamptz;
  v_gathers boolean := false;
  v_waits boolean := false;
  v_skipped boolean;
  v_needs_approval boolean;
begin
  loop
    v_now := coalesce(p_still_since, private.clock_now());
    -- A batch cannot wait for whoever works on its overdue hold: that is open as of its time.
    v_open_after := case when p_still_since is null then v_now else '-infinity' end;
    v_skipped := false;
    v_needs_approval := false;
    if p_request_id is not null then
      v_bound := private.find_request(v_organization_id, 'authorize', p_request_id, p_content_hash);
      if v_bound is not null then
        v_decision := private.present_decision(v_organization_id, v_bound, v_open_after);
        if v_decision.decision is not null then
          return v_decision;
        end if;
        -- Where its own hold is overdue, that one is freed before another is made.
        v_gathers := v_gathers or not private.is_over(v_organization_id, v_bound);
      end if;
    end if;

    v_coverage := private.assert_covered(
      p_hold, private.survey(v_organization_id, v_keys, v_now, v_now)
    );
    -- Windows only move forward: a call whose clock is behind an open window belongs to that
    -- window.
    v_time := greatest(v_now, v_coverage.latest_window);
    if v_time > v_now then
      v_coverage := private.assert_covered(
        p_hold, private.survey(v_organization_id, v_keys, v_time, v_now)
      );
    end if;
    v_decision := private.denied_outright(p_hold, v_keys, v_coverage);
    if v_decision.decision is not null then
      return v_decision;
    elsif v_coverage.remaining < p_minimum then
      v_decision := private.denied_as_exceeded(v_coverage);
      -- The request itself may just have taken what is missing.
      continue when private.has_moved(
        v_organization_id, p_request_id, p_content_hash, v_bound, v_open_after
      );
      return v_decision;
    elsif p_request_id is null and p_minimum = p_hold.held_usd
      and v_coverage.approval_above < p_minimum and private.would_need_approval(p_hold) then
      return private.propose_spend(p_hold, null, null, null); -- denied, before anything is written
    end if;
    perform private.ensure_month(v_time);
    v_hold.id := private.uuid_v7(v_time);
    v_hold.created_at := date_trunc('milliseconds', v_time);
    v_hold.expires_at := v_now + p_expires_in;
    v_hold.day := private.local_day(v_time, v_coverage.time_zone);

    begin
      if v_gathers then
        -- Whoever saw the last of the money queues for slot 0, and each looks again once it has it:
        -- the queue is answered without every slot being locked for every denial.
        if not v_waits then
          perform private.lock_first_slot(v_organization_id);
          v_coverage := private.survey(v_organization_id, v_keys, v_time, v_now);
          if v_coverage.remaining < p_minimum then
            v_decision := private.denied_as_exceeded(v_coverage);
            perform private.abandon_attempt();
          end if;
        end if;
        v_skipped := private.gather(
          v_organization_id, v_keys, v_now, v_time, p_wait => v_waits
        );
        v_coverage := private.survey(v_organization_id, v_keys, v_time, null);
        if (private.denied_outright(p_hold, v_keys, v_coverage)).decision is not null
          or v_coverage.latest_window > v_time
          or v_bound is not null and not private.is_over(v_organization_id, v_bound) then
          perform private.abandon_attempt();
        elsif v_coverage.remaining < p_minimum then
          v_decision := private.denied_as_exceeded(v_coverage);
          perform private.abandon_attempt();
        end if;
        v_coverage := private.fund_call(
          v_organization_id, v_keys, v_time, least(p_hold.held_usd, v_coverage.remaining), v_coverage
        );
        if v_coverage.remaining < p_minimum then
          v_decision := private.denied_as_exceeded(v_coverage);
          perform private.abandon_attempt();
        end if;
        v_hold.held_usd := least(p_hold.held_usd, v_coverage.remaining);
        perform private.charge_gathered(
          v_organization_id, v_coverage, v_hold.created_at, 0, v_hold.held_usd
        );
      elsif v_coverage.lacks_funding or not private.charge(
        v_organization_id, v_coverage.budget_ids, v_coverage.slots, v_coverage.config_version,
        v_hold.created_at, 0, v_hold.held_usd
      ) then
        perform private.abandon_attempt();
      end if;
      v_hold.proposal_id := null;
      if v_coverage.approval_above < v_hold.held_usd then
        v_hold.proposal_id := private.approval_of(v_hold, v_bound, v_now);
        v_needs_approval := v_hold.proposal_id is null and private.needs_approval(v_hold);
        if v_needs_approval then
          perform private.abandon_attempt();
        end if;
      end if;
      if p_request_id is not null and not private.bind_request(
        v_organization_id, 'authorize', p_request_id, p_content_hash, v_hold.id, v_bound
      ) then
        perform private.abandon_attempt();
      end if;
      v_hold.budget_ids := v_coverage.budget_ids;
      v_hold.slots := v_coverage.slots;
      v_hold.config_version := v_coverage.config_version;
      insert into metering.holds values (v_hold.*);
      return private.granted(v_hold, case when v_coverage.has_soft_limit then v_keys end);
    exception
      when sqlstate 'UNDO0' then
        v_gathers := true;
    end;

    if v_needs_approval then
      v_decision := private.propose_spend(p_hold, p_request_id, p_content_hash, v_bound);
      continue when v_decision.decision is null;
      return v_decision;
    elsif v_decision.decision = 'denied' and (not v_skipped or p_still_since is not null) then
      continue when private.has_moved(
        v_organization_id, p_request_id, p_content_hash, v_bound, v_open_after
      );
      return v_decision;
    end if;
    v_waits := v_skipped and p_still_since is null;
    v_decision := null;
  end loop;
  return null; -- never reached
end
$$;

comment on function private.admit(
  metering.holds, numeric, interval, text, text, timestamptz
) is
  'Admits a drafted hold, or denies it. Errors: TS404, TS409.';

-- sql/metering/authorize.sql

-- May this be spent? If so, the money is held.

-- How long a hold lasts: above nothing, at most a day.
create function private.assert_expiry(p_argument text, p_expires_in interval)
returns interval
language plpgsql
stable
set search_path = pg_catalog, pg_temp
as $$
declare
  -- In one unit: a month is compared as 30 days, but added as a month.
  v_seconds constant numeric := extract(epoch from p_expires_in);
begin
  if (v_seconds > 0 and v_seconds <= 86400) is not true then
    perform private.reject_argument(p_argument, 'must be above 0 and at most 24 hours');
  end if;
  return make_interval(secs => v_seconds);
end
$$;

comment on function private.assert_expiry(text, interval) is
  'Refuses anything but a duration above 0 of at most 24 hours; returns it in seconds. Errors: '
  '22023.';

-- The least a hold may be cut to: all of it, unless it may be granted in part.
create function private.assert_minimum(
  p_allow_partial boolean,
  p_minimum numeric,
  p_estimated_cost numeric,
  p_default numeric
)
returns numeric
language plpgsql
stable
set search_path = pg_catalog, pg_temp
as $$
begin
  if p_allow_partial is null then
    perform private.reject_argument('p_allow_partial', 'must not be null');
  elsif not p_allow_partial then
    if p_minimum is not null then
      perform private.reject_argument('p_minimum', 'must be omitted unless p_allow_partial');
    end if;
    return p_estimated_cost;
  elsif p_minimum is null and p_default is not null then
    return p_default;
  end if;
  perform private.assert_money('p_minimum', p_minimum);
  if p_minimum = 0 or p_minimum > p_estimated_cost then
    perform private.reject_argument('p_minimum', 'must be above 0 and at most the estimate');
  end if;
  return p_minimum;
end
$$;

comment on function private.assert_minimum(boolean, numeric, numeric, numeric) is
  'The least that may be granted: all of it, or, where less will do, p_minimum or p_default. '
  'Errors: 22023.';

-- What a call with this request id made before: its open hold, said in tokens of the price it was
-- made by, or its settlement. Null where it is to be decided.
create function private.repeated_spend(
  p_organization_id uuid,
  p_request_id text,
  p_content_hash text,
  p_input_tokens bigint,
  p_now timestamptz
)
returns metering.spend_decision
language plpgsql
stable
set search_path = pg_catalog, pg_temp
as $$
declare
  v_decision metering.spend_decision := private.present_decision(
    p_organization_id,
    private.find_request(p_organization_id, 'authorize', p_request_id, p_content_hash), p_now
  );
  v_hold metering.holds;
begin
  if v_decision.decision = 'granted' then
    select * into v_hold
    from metering.holds as h
    where h.organization_id = p_organization_id and h.id = v_decision.hold_id;
    if v_hold.price_id is not null then
      return private.with_affordable_tokens(
        v_decision,
        private.estimate_at(
          private.pinned_price(p_organization_id, v_hold.price_id, v_hold.markup_id),
          p_input_tokens
        )
      );
    end if;
  end if;
  return v_decision;
end
$$;

comment on function private.repeated_spend(uuid, text, text, bigint, timestamptz) is
  'The decision a repeated request gets; its decision is null where there is none yet. Errors: '
  'TS409.';

-- Denies a call that has no price.
create function private.deny_unpriced(
  p_hold metering.holds,
  p_estimate private.estimate,
  p_scope_keys text[],
  p_now timestamptz
)
returns metering.spend_decision
language plpgsql
stable
set search_path = pg_catalog, pg_temp
as $$
begin
  perform private.assert_covered(
    p_hold, private.survey(p_hold.organization_id, p_scope_keys, p_now, null)
  );
  return private.denied_as_unpriced(p_estimate);
end
$$;

comment on function private.deny_unpriced(
  metering.holds, private.estimate, text[], timestamptz
) is
  'The decision on a call without a price. Errors: TS404.';

-- The body of authorize_spend and of each item of its batch form, which has gathered at
-- p_still_since: the time of the call is then that, so no tenant may call this.
--
-- The usual request needs no more than is written here: nothing to object to its arguments,
-- everything plain, enough in each own slot, not made before. One attempt then does, in as few
-- statements and expressions as there can be: PostgreSQL prepares each of them anew in every
-- transaction. What is out of the ordinary is for draft_hold, estimate_call and admit.
create function private.decide_spend(
  p_organization_id uuid,
  p_model text,
  p_estimated_cost numeric,
  p_input_tokens bigint,
  p_max_output_tokens bigint,
  p_workflow_id uuid,
  p_run_id uuid,
  p_venture_id uuid,
  p_user_id uuid,
  p_api_key_id text,
  p_tags jsonb,
  p_provider text,
  p_service_tier text,
  p_request_id text,
  p_expires_in interval,
  p_allow_partial boolean,
  p_minimum numeric,
  p_still_since timestamptz
)
returns metering.spend_decision
language plpgsql
volatile
set search_path = pg_catalog, pg_temp
as $$
declare
  v_now constant timestamptz := coalesce(p_still_since, private.clock_now());
  v_user_id uuid := p_user_id;
  v_provider text := p_provider;
  v_cost numeric := p_estimated_cost;
  v_estimate private.estimate;
  v_listed private.model_key;
  v_decision metering.spend_decision;
  v_is_plain boolean;
  v_tags constant jsonb := coalesce(p_tags, '{}');
  v_seconds constant numeric := extract(epoch from p_expires_in);
  v_content_hash text;
  v_keys text[];
  v_hold metering.holds;
  v_coverage private.coverage;
  v_survey private.coverage;
begin
  v_is_plain := (
    private.is_trusted_caller()
    and p_organization_id is not null
    and p_estimated_cost > 0 and p_estimated_cost < 1e12
    and scale(trim_scale(p_estimated_cost)) <= 12
    and p_model ~ '\S' and length(p_model) <= 255
    and v_tags = '{}'
    and coalesce(p_api_key_id, p_provider, p_service_tier) is null
    and coalesce(p_input_tokens, p_max_output_tokens) is null
    and p_venture_id is null
    and v_seconds > 0 and v_seconds <= 86400
    and not p_allow_partial and p_minimum is null
    and (p_request_id is null or p_request_id ~ '\S' and length(p_request_id) <= 255)
  ) is true;
  if not v_is_plain then
    v_hold := private.draft_hold(
      p_organization_id, p_model, p_input_tokens, p_max_output_tokens, p_workflow_id, p_run_id,
      p_venture_id, p_user_id, p_api_key_id, p_tags, p_provider, p_service_tier
    );
    perform private.assert_expiry('p_expires_in', p_expires_in);
    if p_request_id is not null then
      perform private.assert_text('p_request_id', p_request_id);
    end if;
    v_user_id := v_hold.user_id;
  end if;
  if p_request_id is not null then
    v_content_hash := private.content_hash(
      array[
        p_model, trim_scale(p_estimated_cost)::text, p_input_tokens::text,
        p_max_output_tokens::text, p_workflow_id::text, p_run_id::text, p_venture_id::text,
        v_user_id::text, p_api_key_id, v_tags::text, p_provider, p_service_tier,
        v_seconds::text, p_allow_partial::text, trim_scale(p_minimum)::text
      ]::text
    );
  end if;

  if v_is_plain then
    v_listed := private.find_listed(null, p_model);
    v_provider := v_listed.provider;
    v_estimate.listed_model := nullif(v_listed.model, p_model);
  else
    if p_request_id is not null then
      v_decision := private.repeated_spend(
        p_organization_id, p_request_id, v_content_hash, p_input_tokens,
        case when p_still_since is null then v_now else timestamptz '-infinity' end
      );
      if v_decision.decision is not null then
        return v_decision;
      end if;
    end if;
    v_estimate := private.estimate_call(
      v_hold, p_estimated_cost, p_input_tokens, p_max_output_tokens, p_allow_partial, p_minimum
    );
    v_provider := coalesce(p_provider, v_estimate.provider);
    v_cost := v_estimate.cost;
  end if;

  v_keys := private.scope_keys(
    p_workflow_id, p_run_id, p_venture_id, v_user_id, p_api_key_id,
    coalesce(p_model, 'unknown'), v_estimate.listed_model, v_tags
  );
  if v_estimate.reason is not null then
    return private.deny_unpriced(v_hold, v_estimate, v_keys, v_now);
  end if;
  v_coverage := private.cover(p_organization_id, v_keys, v_now);
  if v_coverage.grantable < v_cost then
    v_survey := private.survey(p_organization_id, v_keys, v_now, v_now);
    if v_survey.remaining < v_cost and not p_allow_partial and not v_survey.is_frozen
      and v_survey.latest_window <= v_now and (p_workflow_id is null or v_survey.has_workflow)
      and (p_run_id is null or v_survey.lacks_funding is not true)
      and not v_survey.excludes_model
      and (p_request_id is null or private.find_request(
        p_organization_id, 'authorize', p_request_id, v_content_hash
      ) is null) then
      return private.with_affordable_tokens(private.denied_as_exceeded(v_survey), v_estimate);
    end if;
  elsif v_coverage.config_version is not null
    and (p_workflow_id is null or v_coverage.has_workflow)
    and (p_request_id is null or private.find_request(
      p_organization_id, 'authorize', p_request_id, v_content_hash
    ) is null) then
    begin
      insert into metering.holds (
        organization_id, id, held_usd, workflow_id, run_id, venture_id, user_id, api_key_id, model,
        listed_model, provider, service_tier, tags, price_id, markup_id, budget_ids, slots,
        config_version, day, created_at, expires_at
      ) values (
        p_organization_id, private.uuid_v7(v_now), v_cost, p_workflow_id, p_run_id, p_venture_id,
        v_user_id, p_api_key_id, coalesce(p_model, 'unknown'), v_estimate.listed_model, v_provider,
        p_service_tier, v_tags, v_estimate.price_id, v_estimate.markup_id, v_coverage.budget_ids,
        v_coverage.slots, v_coverage.config_version, (v_now at time zone v_coverage.time_zone)::date,
        date_trunc('milliseconds', v_now), v_now + make_interval(secs => v_seconds)
      )
      returning id, created_at, expires_at into v_hold.id, v_hold.created_at, v_hold.expires_at;
      if private.charge(
        p_organization_id, v_coverage.budget_ids, v_coverage.slots, v_coverage.config_version,
        v_hold.created_at, 0, v_cost
      ) and (p_request_id is null or private.bind_request(
        p_organization_id, 'authorize', p_request_id, v_content_hash, v_hold.id
      )) then
        return row(
          'granted', v_hold.id, null, trim_scale(v_cost), null, null, null, null,
          case
            when v_estimate.price_id is not null
              then private.affordable_tokens(v_cost, v_estimate)
          end,
          v_hold.expires_at, null
        )::metering.spend_decision;
      end if;
      perform private.abandon_attempt();
    exception
      when sqlstate 'UNDO0' then null;
    end;
  end if;

  if v_hold.organization_id is null then
    v_hold := private.draft_hold(
      p_organization_id, p_model, p_input_tokens, p_max_output_tokens, p_workflow_id, p_run_id,
      p_venture_id, p_user_id, p_api_key_id, p_tags, p_provider, p_service_tier
    );
  end if;
  v_hold.held_usd := v_cost;
  v_hold.provider := v_provider;
  v_hold.listed_model := v_estimate.listed_model;
  v_hold.price_id := v_estimate.price_id;
  v_hold.markup_id := v_estimate.markup_id;
  return private.with_affordable_tokens(
    private.admit(
      v_hold, coalesce(v_estimate.minimum, v_cost), make_interval(secs => v_seconds), p_request_id,
      v_content_hash, p_still_since
    ),
    v_estimate
  );
end
$$;

comment on function private.decide_spend(
  uuid, text, numeric, bigint, bigint, uuid, uuid, uuid, uuid, text, jsonb, text, text, text,
  interval, boolean, numeric, timestamptz
) is
  'Body of authorize_spend and its batch form. Errors: 22023, 42501, TS404, TS409.';

-- The privileged half of public.authorize_spend.
create function private.authorize_spend(
  p_organization_id uuid,
  p_model text,
  p_estimated_cost numeric,
  p_input_tokens bigint,
  p_max_output_tokens bigint,
  p_workflow_id uuid,
  p_run_id uuid,
  p_venture_id uuid,
  p_user_id uuid,
  p_api_key_id text,
  p_tags jsonb,
  p_provider text,
  p_service_tier text,
  p_request_id text,
  p_expires_in interval,
  p_allow_partial boolean,
  p_minimum numeric
)
returns metering.spend_decision
language plpgsql
volatile
security definer -- takes money from slots and makes holds, which no role may write itself
set search_path = pg_catalog, pg_temp
set plan_cache_mode = force_generic_plan
set enable_seqscan = off
set jit = off
as $$
begin
  return private.decide_spend(
    p_organization_id, p_model, p_estimated_cost, p_input_tokens, p_max_output_tokens,
    p_workflow_id, p_run_id, p_venture_id, p_user_id, p_api_key_id, p_tags, p_provider,
    p_service_tier, p_request_id, p_expires_in, p_allow_partial, p_minimum, null
  );
end
$$;

comment on function private.authorize_spend(
  uuid, text, numeric, bigint, bigint, uuid, uuid, uuid, uuid, text, jsonb, text, text, text,
  interval, boolean, numeric
) is
  'Core of public.authorize_spend.';

-- May this be spent? If so, the money is held until it is settled, released or overdue.
--
-- Nothing stays locked once the transaction ends, so the model call belongs after it. Called in the
-- application's own transaction, the hold is committed with its write, or not at all. Locks: a slot
-- of the organization's own budget, then one of each other budget, then the request key. Idempotent
-- by p_request_id: a retry gets the present state of what the first call did; a hold that has
-- expired or was released is admitted anew, as a new one. A denial binds nothing. What a policy
-- wants approved becomes a proposal, which binds the request id: once approved, it is admitted.
create function public.authorize_spend(
  p_organization_id uuid,
  p_model text default null,
  p_estimated_cost numeric default null,
  p_input_tokens bigint default null,
  p_max_output_tokens bigint default null,
  p_workflow_id uuid default null,
  p_run_id uuid default null,
  p_venture_id uuid default null,
  p_user_id uuid default null,
  p_api_key_id text default null,
  p_tags jsonb default '{}',
  p_provider text default null,
  p_service_tier text default null,
  p_request_id text default null,
  p_expires_in interval default '10 minutes',
  p_allow_partial boolean default false,
  p_minimum numeric default null
)
returns metering.spend_decision
language plpgsql
volatile
set search_path = pg_catalog, pg_temp
as $$
begin
  return private.authorize_spend(
    p_organization_id, p_model, p_estimated_cost, p_input_tokens, p_max_output_tokens,
    p_workflow_id, p_run_id, p_venture_id, p_user_id, p_api_key_id, p_tags, p_provider,
    p_service_tier, p_request_id, p_expires_in, p_allow_partial, p_minimum
  );
end
$$;

comment on function public.authorize_spend(
  uuid, text, numeric, bigint, bigint, uuid, uuid, uuid, uuid, text, jsonb, text, text, text,
  interval, boolean, numeric
) is
  'Asks whether a call may be made, and holds what it is estimated to cost for p_expires_in (at '
  'most 24 hours): p_estimated_cost (US dollars, above 0), or what p_input_tokens, all of them '
  'uncached, and p_max_output_tokens cost by the price of p_model; for members the larger of '
  'both. The price is pinned: the call is settled by it. Every budget that covers the call must '
  'admit it: of the organization and of the workflow, run, venture, user, API key, model and tags '
  'it names. A denial is an answer, not an error: it names the budget, what that has left, when '
  'it resets and how many output tokens would still fit; unpriced_model and stale_price mean that '
  'nobody knows what the call would cost; run_ended and model_not_in_run, that the run does not '
  'pay for it. With p_allow_partial less may be granted, down to p_minimum, else to the input and '
  'one output token. Where a policy rule wants it approved the answer is needs_approval, with a '
  'proposal: once that is approved, ask again with the same p_request_id, within 24 hours; '
  'approval_needs_request_id, if there was none. For members who may spend, as themselves, and '
  'server roles. Errors: 22023, 42501, TS404, TS409.';

-- The same question without a lock and without a hold: for GET, replicas and previews.
create function public.estimate_spend(
  p_organization_id uuid,
  p_model text default null,
  p_estimated_cost numeric default null,
  p_input_tokens bigint default null,
  p_max_output_tokens bigint default null,
  p_workflow_id uuid default null,
  p_run_id uuid default null,
  p_venture_id uuid default null,
  p_user_id uuid default null,
  p_api_key_id text default null,
  p_tags jsonb default '{}',
  p_provider text default null,
  p_service_tier text default null,
  p_allow_partial boolean default false,
  p_minimum numeric default null
)
returns metering.spend_decision
language plpgsql
stable
set search_path = pg_catalog, pg_temp
as $$
declare
  v_hold metering.holds := private.draft_hold(
    p_organization_id, p_model, p_input_tokens, p_max_output_tokens, p_workflow_id, p_run_id,
    p_venture_id, p_user_id, p_api_key_id, p_tags, p_provider, p_service_tier,
    array['owner', 'admin', 'finance', 'member', 'viewer']
  );
  v_estimate constant private.estimate := private.estimate_call(
    v_hold, p_estimated_cost, p_input_tokens, p_max_output_tokens, p_allow_partial, p_minimum
  );
  v_now constant timestamptz := private.clock_now();
  v_keys text[];
  v_coverage private.coverage;
  v_decision metering.spend_decision;
begin
  v_hold.listed_model := v_estimate.listed_model;
  v_keys := private.scope_keys_of(v_hold);
  v_coverage := private.assert_covered(
    v_hold, private.survey(p_organization_id, v_keys, v_now, v_now)
  );
  if v_coverage.latest_window > v_now then
    v_coverage := private.assert_covered(
      v_hold, private.survey(p_organization_id, v_keys, v_coverage.latest_window, v_now)
    );
  end if;
  if v_estimate.reason is not null then
    return private.denied_as_unpriced(v_estimate);
  end if;
  v_decision := private.denied_outright(v_hold, v_keys, v_coverage);
  if v_decision.decision is not null then
    return v_decision;
  elsif v_coverage.remaining < v_estimate.minimum then
    return private.with_affordable_tokens(private.denied_as_exceeded(v_coverage), v_estimate);
  end if;
  v_hold.held_usd := least(v_estimate.cost, v_coverage.remaining);
  if v_coverage.approval_above < v_hold.held_usd and private.would_need_approval(v_hold) then
    v_decision.decision := 'needs_approval';
    return v_decision;
  end if;
  return private.with_affordable_tokens(
    private.granted(v_hold, v_keys, v_hold.held_usd), v_estimate
  );
end
$$;

comment on function public.estimate_spend(
  uuid, text, numeric, bigint, bigint, uuid, uuid, uuid, uuid, text, jsonb, text, text, boolean,
  numeric
) is
  'What authorize_spend would answer as of now, also on a read replica. It holds nothing, so two '
  'callers at once can both be told yes. For members, viewers too, and server roles. Errors: '
  '22023, 42501, TS404.';

-- sql/metering/book.sql

-- How a usage is booked: on counters, in the ledger, in its sums.

-- Which part of a run a call belongs to, and what went wrong with it.
create type private.run_call as (
  agent_id uuid,
  task_id uuid,
  step_id uuid,
  error_code text,
  error_message text,
  reported_total_tokens bigint
);

comment on type private.run_call is
  'Which part of a run a call belongs to, and what went wrong with it; all null: its own step.';

-- Under which scopes a usage is summed: as its budgets are, but for its run or draw, whose budget
-- has the sum, and its model, which every sum is split by; only another name of it is a scope.
create function private.rollup_keys(p_usage public.ai_usage_ledger)
returns text[]
language plpgsql
stable
set search_path = pg_catalog, pg_temp
as $$
begin
  return array_remove(
    private.scope_keys(
      p_usage.workflow_id, null, p_usage.venture_id, p_usage.user_id, p_usage.api_key_id,
      case when p_usage.listed_model is not null then p_usage.model end, null, p_usage.tags
    ),
    'draw:'
  );
end
$$;

comment on function private.rollup_keys(public.ai_usage_ledger) is
  'Scope keys under which usage_rollups has a usage; null in place of what it has not.';

-- Adds a usage to the sums of its scopes, under rollup_keys(): spelled out here, as every call does
-- this. Whoever calls has locked p_slot of the organization's own budget, so nobody else adds to
-- these rows.
create function private.roll_up(p_usage public.ai_usage_ledger, p_day date, p_slot smallint)
returns void
language plpgsql
volatile
set search_path = pg_catalog, pg_temp
as $$
begin
  insert into metering.usage_rollups as r (
    organization_id, scope, scope_id, day, model, slot, requests, prompt_tokens,
    completion_tokens, cost
  )
  select
    p_usage.organization_id, k.scope, k.scope_id, p_day,
    coalesce(p_usage.listed_model, p_usage.model), p_slot, 1, p_usage.prompt_tokens,
    p_usage.completion_tokens, p_usage.cost
  from (
    values
    ('organization', ''),
    ('workflow', p_usage.workflow_id::text),
    ('venture', p_usage.venture_id::text),
    (
      'venture_profile',
      p_usage.venture_id::text || '/' || coalesce(p_usage.tags ->> 'budget_profile', 'standard')
    ),
    ('user', p_usage.user_id::text),
    ('api_key', p_usage.api_key_id::text),
    ('model', case when p_usage.listed_model is not null then p_usage.model end)
  ) as k (scope, scope_id)
  where k.scope_id is not null
  union all
  select
    p_usage.organization_id, 'tag', t.key || '=' || t.value, p_day,
    coalesce(p_usage.listed_model, p_usage.model), p_slot, 1, p_usage.prompt_tokens,
    p_usage.completion_tokens, p_usage.cost
  from jsonb_each_text(p_usage.tags) as t
  on conflict (organization_id, scope, scope_id, day, model, slot) do update
  set
    requests = r.requests + excluded.requests,
    prompt_tokens = r.prompt_tokens + excluded.prompt_tokens,
    completion_tokens = r.completion_tokens + excluded.completion_tokens,
    cost = r.cost + excluded.cost;
end
$$;

comment on function private.roll_up(public.ai_usage_ledger, date, smallint) is
  'Adds a usage of a day to usage_rollups.';

-- The same for many at once, each row of the sums written once.
create function private.roll_up_all(
  p_usages public.ai_usage_ledger[],
  p_days date[],
  p_slot smallint
)
returns void
language plpgsql
volatile
set search_path = pg_catalog, pg_temp
as $$
begin
  insert into metering.usage_rollups as r (
    organization_id, scope, scope_id, day, model, slot, requests, prompt_tokens,
    completion_tokens, cost
  )
  select
    u.organization_id,
    split_part(k.scope_key, ':', 1),
    substr(k.scope_key, strpos(k.scope_key, ':') + 1),
    p_days[u.ordinality],
    coalesce(u.listed_model, u.model),
    p_slot,
    count(*),
    sum(u.prompt_tokens),
    sum(u.completion_tokens),
    sum(u.cost)
  from unnest(p_usages) with ordinality as u
  cross join lateral unnest(private.rollup_keys(p_usages[u.ordinality])) as k (scope_key)
  where k.scope_key is not null
  group by 1, 2, 3, 4, 5
  on conflict (organization_id, scope, scope_id, day, model, slot) do update
  set
    requests = r.requests + excluded.requests,
    prompt_tokens = r.prompt_tokens + excluded.prompt_tokens,
    completion_tokens = r.completion_tokens + excluded.completion_tokens,
    cost = r.cost + excluded.cost;
end
$$;

comment on function private.roll_up_all(public.ai_usage_ledger[], date[], smallint) is
  'Adds usages, each with its day, to usage_rollups.';

-- Books a usage: counters, ledger and rollup in one attempt, or under a gather.
--
-- p_held: what its hold returns, US dollars. p_coverage: the budgets under which the hold was
-- taken, or those that cover the call now; if budgets were changed since, they are read anew: the
-- figures of a changed budget counted this hold. p_usage.id is null for a usage without a hold,
-- which is spent now. p_except: overdue holds that a gather leaves alone. p_call: which part of its
-- run it belongs to. Null where the request id was bound meanwhile.
--
-- Where an organization pays in advance, a usage without a run spends from the draw of its day; one
-- whose run or draw is closed already is charged as late.
create function private.book(
  p_usage public.ai_usage_ledger,
  p_held numeric,
  p_coverage private.coverage,
  p_day date,
  p_operation metering.operation,
  p_request_id text,
  p_content_hash text,
  p_except uuid[] default '{}',
  p_call private.run_call default null
)
returns public.ai_usage_ledger
language plpgsql
volatile
set search_path = pg_catalog, pg_temp
as $$
declare
  v_usage public.ai_usage_ledger := p_usage;
  v_coverage private.coverage := p_coverage;
  v_day date := p_day;
  v_keys constant text[] := private.scope_keys(
    p_usage.workflow_id, p_usage.run_id, p_usage.venture_id, p_usage.user_id, p_usage.api_key_id,
    p_usage.model, p_usage.listed_model, p_usage.tags
  );
  v_version integer;
  v_now timestamptz;
  v_gathers boolean := false;
  v_is_bound boolean := false;
begin
  loop
    v_now := private.clock_now();
    if p_usage.id is null then
      -- Windows only move forward: a call whose clock is behind an open window belongs to that
      -- window altogether: id, ledger time, rollup and counters agree.
      if v_coverage.latest_window > v_now then
        v_coverage := private.survey(
          v_usage.organization_id, v_keys, v_coverage.latest_window, null
        );
      end if;
      v_usage.created_at := date_trunc('milliseconds', greatest(v_now, v_coverage.latest_window));
      perform private.ensure_month(v_usage.created_at);
      v_usage.id := private.uuid_v7(v_usage.created_at);
      v_day := private.local_day(v_usage.created_at, v_coverage.time_zone);
    end if;
    v_usage.settled_at := greatest(v_now, v_usage.created_at);

    begin
      if v_gathers then
        perform private.gather(
          v_usage.organization_id, v_keys, v_now, v_usage.settled_at, p_except
        );
        v_coverage := private.survey(
          v_usage.organization_id, v_keys, v_usage.created_at, null
        );
        if p_usage.id is null and v_coverage.latest_window > v_usage.created_at then
          perform private.abandon_attempt();
        elsif p_usage.id is null and p_usage.run_id is null and v_coverage.lacks_funding then
          perform private.open_draw(v_usage.organization_id, v_usage.created_at);
          v_coverage := private.survey(
            v_usage.organization_id, v_keys, v_usage.created_at, null
          );
        end if;
        perform private.charge_gathered(
          v_usage.organization_id, v_coverage, v_usage.created_at, v_usage.cost, - p_held
        );
      elsif v_coverage.lacks_funding or not private.charge(
        v_usage.organization_id, v_coverage.budget_ids, v_coverage.slots,
        v_coverage.config_version, v_usage.created_at, v_usage.cost, - p_held
      ) then
        perform private.abandon_attempt();
      end if;
      if p_request_id is not null and not private.bind_request(
        v_usage.organization_id, p_operation, p_request_id, p_content_hash, v_usage.id
      ) then
        v_is_bound := true;
        perform private.abandon_attempt();
      end if;
      v_usage.xact_id := pg_current_xact_id();
      insert into public.ai_usage_ledger values (v_usage.*);
      perform private.roll_up(v_usage, v_day, v_coverage.slots[1]);
      if v_usage.run_id is not null then
        perform private.record_run_call(v_usage, p_call);
      end if;
      if v_coverage.lacks_funding and v_usage.cost > 0 then
        perform private.charge_late_usage(v_usage);
      end if;
      return v_usage;
    exception
      when sqlstate 'UNDO0' then
        v_version := v_coverage.config_version;
    end;

    if v_is_bound then
      return null;
    end if;
    v_coverage := private.survey(
      v_usage.organization_id, v_keys,
      case when p_usage.id is null then v_now else v_usage.created_at end, null
    );
    v_gathers := v_gathers or v_coverage.lacks_funding or v_coverage.config_version = v_version;
  end loop;
  return null; -- never reached
end
$$;

comment on function private.book(
  public.ai_usage_ledger, numeric, private.coverage, date, metering.operation, text, text, uuid[],
  private.run_call
) is
  'Books a usage on counters, ledger and rollup.';

-- sql/metering/settle.sql

-- What was spent. Real spend is never refused: above its hold, after it, or without one it lands,
-- flagged, and the cap refuses the next call.

-- The organization of a hold or of the usage it became. Two steps: to look into every partition of
-- the ledger costs more than all else a settlement looks up.
create function private.resolve_organization_of_hold(p_hold_id uuid)
returns uuid
language plpgsql
stable
set search_path = pg_catalog, pg_temp
as $$
declare
  v_organization_id uuid := (select h.organization_id from metering.holds as h where h.id = p_hold_id);
begin
  if v_organization_id is null then
    v_organization_id := (
      select l.organization_id from public.ai_usage_ledger as l where l.id = p_hold_id
    );
  end if;
  return v_organization_id;
end
$$;

comment on function private.resolve_organization_of_hold(uuid) is
  'The organization of a hold, settled or not, that the caller may see; null for an unknown one.';

-- The usage a hold becomes.
create function private.usage_of_hold(p_hold metering.holds, p_costing private.costing)
returns public.ai_usage_ledger
language plpgsql
stable
set search_path = pg_catalog, pg_temp
as $$
declare
  v_usage public.ai_usage_ledger;
begin
  v_usage.id := p_hold.id;
  v_usage.organization_id := p_hold.organization_id;
  v_usage.created_at := p_hold.created_at;
  v_usage.workflow_id := p_hold.workflow_id;
  v_usage.run_id := p_hold.run_id;
  v_usage.venture_id := p_hold.venture_id;
  v_usage.user_id := p_hold.user_id;
  v_usage.api_key_id := p_hold.api_key_id;
  v_usage.model := p_hold.model;
  v_usage.listed_model := p_hold.listed_model;
  v_usage.provider := p_hold.provider;
  v_usage.tags := p_hold.tags;
  v_usage.service_tier := p_costing.service_tier;
  v_usage.prompt_tokens := p_costing.prompt_tokens;
  v_usage.completion_tokens := p_costing.completion_tokens;
  v_usage.token_counts := p_costing.counts;
  v_usage.cost := p_costing.cost;
  v_usage.cost_basis := p_costing.basis;
  v_usage.price_id := p_costing.price_id;
  v_usage.markup_id := p_costing.markup_id;
  v_usage.rates := p_costing.rates;
  v_usage.zero_cost_reason := p_costing.zero_cost_reason;
  if p_hold.state = 'open' then
    v_usage.settlement := 'on_hold';
    v_usage.unheld_usd := greatest(p_costing.cost - p_hold.held_usd, 0);
  else
    v_usage.settlement := 'after_hold';
    v_usage.unheld_usd := p_costing.cost;
  end if;
  return v_usage;
end
$$;

comment on function private.usage_of_hold(metering.holds, private.costing) is
  'The ledger row of a hold with what it cost.';

-- Settles a hold that the caller took out of metering.holds.
create function private.settle_hold(
  p_hold metering.holds,
  p_costing private.costing,
  p_request_id text,
  p_content_hash text,
  p_except uuid[],
  p_call private.run_call
)
returns public.ai_usage_ledger
language plpgsql
volatile
set search_path = pg_catalog, pg_temp
as $$
declare
  v_coverage private.coverage;
  v_usage public.ai_usage_ledger;
begin
  v_coverage.budget_ids := p_hold.budget_ids;
  v_coverage.slots := p_hold.slots;
  v_coverage.config_version := p_hold.config_version;
  v_usage := private.book(
    private.usage_of_hold(p_hold, p_costing),
    case when p_hold.state = 'open' then p_hold.held_usd else 0 end,
    v_coverage, p_hold.day, 'settle', p_request_id, p_content_hash, p_except, p_call
  );
  if v_usage.id is null then
    -- Its request id was used for another hold meanwhile.
    perform private.raise_error(
      'TS409', jsonb_build_object('operation', 'settle', 'request_id', p_request_id)
    );
  end if;
  return v_usage;
end
$$;

comment on function private.settle_hold(
  metering.holds, private.costing, text, text, uuid[], private.run_call
) is
  'Books what a hold became. Errors: TS409.';

-- The usual case of settle_hold: an open hold that covers its cost, under budgets that were not
-- changed since. One attempt, in as few statements as there can be. Null where settle_hold has to
-- look.
create function private.settle_at_once(
  p_hold metering.holds,
  p_costing private.costing,
  p_call private.run_call
)
returns public.ai_usage_ledger
language plpgsql
volatile
set search_path = pg_catalog, pg_temp
as $$
declare
  v_usage public.ai_usage_ledger;
begin
  if not private.charge(
    p_hold.organization_id, p_hold.budget_ids, p_hold.slots, p_hold.config_version,
    p_hold.created_at, p_costing.cost, - p_hold.held_usd
  ) then
    perform private.abandon_attempt();
  end if;
  insert into public.ai_usage_ledger (
    id, workflow_id, organization_id, model, prompt_tokens, completion_tokens, cost, created_at,
    settled_at, run_id, venture_id, user_id, api_key_id, provider, service_tier, tags, settlement,
    unheld_usd, listed_model, token_counts, cost_basis, price_id, markup_id, rates,
    zero_cost_reason
  ) values (
    p_hold.id, p_hold.workflow_id, p_hold.organization_id, p_hold.model, p_costing.prompt_tokens,
    p_costing.completion_tokens, p_costing.cost, p_hold.created_at,
    greatest(private.clock_now(), p_hold.created_at), p_hold.run_id, p_hold.venture_id,
    p_hold.user_id, p_hold.api_key_id, p_hold.provider, p_costing.service_tier, p_hold.tags,
    'on_hold', 0, p_hold.listed_model, p_costing.counts, p_costing.basis, p_costing.price_id,
    p_costing.markup_id, p_costing.rates, p_costing.zero_cost_reason
  )
  returning * into v_usage;
  perform private.roll_up(v_usage, p_hold.day, p_hold.slots[1]);
  if p_hold.run_id is not null then
    perform private.record_run_call(v_usage, p_call);
  end if;
  return v_usage;
exception
  when sqlstate 'UNDO0' then
    return null;
end
$$;

comment on function private.settle_at_once(metering.holds, private.costing, private.run_call) is
  'Books an open hold that covers its cost in a single attempt; null where that does not do.';

-- True where a usage is what a repeated settlement says. That a call is one request need not be
-- said, nor which tier served it if it was the one asked for.
create function private.is_settled_as(
  p_usage public.ai_usage_ledger,
  p_measured private.measurement,
  p_cost numeric
)
returns boolean
language plpgsql
immutable
set search_path = pg_catalog, pg_temp
as $$
begin
  return '{"requests": 1}' || p_usage.token_counts = '{"requests": 1}' || p_measured.counts
    and p_usage.service_tier is not distinct from coalesce(
      p_measured.service_tier, p_usage.service_tier
    )
    and (not p_measured.is_estimate or p_usage.cost_basis = 'estimated')
    and case
      when p_cost is null
        then p_usage.cost = private.cost_at(p_usage.rates, p_usage.token_counts)
      else p_usage.cost = p_cost
    end is true;
end
$$;

comment on function private.is_settled_as(
  public.ai_usage_ledger, private.measurement, numeric
) is
  'True where a settlement of this content made the usage.';

-- Settles a hold by what was measured. p_except: overdue holds that a gather leaves alone, those of
-- a batch. p_call: which part of its run it belongs to.
create function private.settle_measured(
  p_hold_id uuid,
  p_measured private.measurement,
  p_cost numeric,
  p_request_id text,
  p_organization_id uuid,
  p_except uuid[],
  p_call private.run_call
)
returns public.ai_usage_ledger
language plpgsql
volatile
set search_path = pg_catalog, pg_temp
as $$
declare
  v_organization_id constant uuid := coalesce(
    p_organization_id, private.resolve_organization_of_hold(p_hold_id)
  );
  v_content_hash text;
  v_hold metering.holds;
  v_costing private.costing;
  v_usage public.ai_usage_ledger;
begin
  if p_request_id is not null then
    v_content_hash := private.content_hash(
      row(
        private.assert_text('p_request_id', p_request_id), p_hold_id,
        '{"requests": 1}' || p_measured.counts, p_measured.service_tier, p_measured.is_estimate,
        trim_scale(p_cost)
      )::text
    );
    perform private.find_request(v_organization_id, 'settle', p_request_id, v_content_hash);
  end if;

  delete from metering.holds as h
  where h.organization_id = v_organization_id and h.id = p_hold_id
  returning * into v_hold;
  if v_hold.id is not null then
    v_costing := private.cost_call(v_hold, p_measured, p_cost);
    if v_hold.state = 'open' and v_costing.cost <= v_hold.held_usd and p_request_id is null then
      v_usage := private.settle_at_once(v_hold, v_costing, p_call);
      if v_usage.id is not null then
        return v_usage;
      end if;
    end if;
    return private.settle_hold(
      v_hold, v_costing, p_request_id, v_content_hash, p_except, p_call
    );
  end if;

  select * into v_usage
  from public.ai_usage_ledger as l
  where l.organization_id = v_organization_id
    and l.id = p_hold_id
    and l.settlement <> 'without_hold';
  if v_usage.id is null then
    perform private.raise_error('TS404', jsonb_build_object('hold_id', p_hold_id));
  elsif not private.is_settled_as(v_usage, p_measured, p_cost) then
    perform private.raise_error('TS409', jsonb_build_object('hold_id', p_hold_id));
  end if;
  return v_usage;
end
$$;

comment on function private.settle_measured(
  uuid, private.measurement, numeric, text, uuid, uuid[], private.run_call
) is
  'Settles a hold by what was measured. Errors: 22023, TS404, TS409.';

-- The body of public.settle_spend and of each item of its batch form.
create function private.settle_spend(
  p_hold_id uuid,
  p_usage jsonb,
  p_cost numeric,
  p_request_id text,
  p_organization_id uuid,
  p_except uuid[] default '{}'
)
returns public.ai_usage_ledger
language plpgsql
volatile
set search_path = pg_catalog, pg_temp
as $$
begin
  perform private.assert_id('p_hold_id', p_hold_id);
  if p_cost is not null then
    perform private.assert_money('p_cost', p_cost);
  elsif p_usage is null then
    perform private.reject_argument('p_cost', 'must be stated where p_usage is left out');
  end if;
  return private.settle_measured(
    p_hold_id, private.assert_usage('p_usage', p_usage), p_cost, p_request_id, p_organization_id,
    p_except, null
  );
end
$$;

comment on function private.settle_spend(uuid, jsonb, numeric, text, uuid, uuid[]) is
  'Body of public.settle_spend. Errors: 22023, TS404, TS409.';

-- Settles a hold: what the call cost is recorded, and what it did not need is free again.
--
-- Never refused for want of money. A hold that was released or has expired meanwhile settles late.
-- Locks: the hold, then a slot of the organization's own budget, one of each other budget, the
-- request key. Idempotent: the first answer again for the same content; other content is TS409.
create function public.settle_spend(
  p_hold_id uuid,
  p_usage jsonb default null,
  p_cost numeric default null,
  p_request_id text default null,
  p_organization_id uuid default null
)
returns public.ai_usage_ledger
language plpgsql
volatile
security definer -- writes ledger and counters, which no role may write itself
set search_path = pg_catalog, pg_temp
set plan_cache_mode = force_generic_plan
set enable_seqscan = off
set jit = off
as $$
begin
  return private.settle_spend(p_hold_id, p_usage, p_cost, p_request_id, p_organization_id);
end
$$;

comment on function public.settle_spend(uuid, jsonb, numeric, text, uuid) is
  'Records what a held call used and cost and returns the usage: the hold is gone, its id is the '
  'usage''s. p_usage: token counts by class, each token in one: input_tokens (uncached), '
  'cache_read_tokens, cache_write_5m_tokens, cache_write_1h_tokens, input_audio_tokens, '
  'cache_read_audio_tokens, input_image_tokens, cache_read_image_tokens, output_tokens (without '
  'reasoning), reasoning_tokens, output_audio_tokens, output_image_tokens; requests (1, unless '
  'stated), web_searches, file_searches; service_tier, where another served than was asked for; '
  'is_estimate, where nobody reported the counts. They are charged by the price the hold pinned, '
  'else by the one that held when it was made. A stated p_cost (US dollars) wins over the price, '
  'is flagged as stated, and is needed where no price is known. Above the hold, and after it '
  'ended, it lands all the same: see settlement and unheld_usd. Settling again with the same '
  'content returns the same usage. For server roles only: a tenant never states what it cost. '
  'Errors: 22023, TS404, TS409.';

-- sql/metering/record.sql

-- What was spent without a hold?

-- Records one AI request: ledger, totals and rollup in one transaction.
--
-- Never refuses real spend: above a cap, or of a frozen organization, it lands all the same,
-- flagged as without a hold, and the next check refuses. Locks, until the transaction ends: a slot
-- of the organization's own budget, one of each other budget it touches, the request key. Which
-- those are is read before; if budgets are changed meanwhile, anew. Idempotent by p_request_id: the
-- same id and content is one record, other content is TS409.
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
set plan_cache_mode = force_generic_plan
set enable_seqscan = off
set jit = off
as $$
declare
  v_usage public.ai_usage_ledger;
  v_coverage private.coverage;
  v_content_hash text;
  v_listed private.model_key;
  v_keys text[];
begin
  v_usage.workflow_id := private.assert_id('p_workflow_id', p_workflow_id);
  v_usage.organization_id := private.assert_id('p_organization_id', p_organization_id);
  v_usage.model := private.assert_text('p_model', p_model);
  v_usage.prompt_tokens := private.assert_count('p_prompt_tokens', p_prompt_tokens);
  v_usage.completion_tokens := private.assert_count('p_completion_tokens', p_completion_tokens);
  v_usage.token_counts := jsonb_strip_nulls(
    jsonb_build_object(
      'input_tokens', nullif(p_prompt_tokens, 0), 'output_tokens', nullif(p_completion_tokens, 0)
    )
  );
  v_usage.cost := private.assert_money('p_cost', p_cost);
  v_usage.cost_basis := 'stated';
  if p_cost = 0 and v_usage.token_counts <> '{}' then
    v_usage.zero_cost_reason := 'stated';
  end if;
  v_listed := private.find_listed(null, p_model);
  v_usage.provider := v_listed.provider;
  v_usage.listed_model := nullif(v_listed.model, p_model);
  v_usage.tags := '{}';
  v_usage.settlement := 'without_hold';
  v_usage.unheld_usd := p_cost;

  if p_request_id is not null then
    v_content_hash := private.content_hash(
      row(p_workflow_id, p_model, p_prompt_tokens, p_completion_tokens, trim_scale(p_cost))::text
    );
    if private.find_request(
      p_organization_id, 'record', private.assert_text('p_request_id', p_request_id), v_content_hash
    ) is not null then
      return;
    end if;
  end if;

  v_keys := private.scope_keys(
    p_workflow_id, null, null, null, null, p_model, v_usage.listed_model, '{}'
  );
  v_coverage := private.cover(p_organization_id, v_keys, private.clock_now());
  if p_cost = 0 then
    -- A change of nothing passes in any window, so it must be known beforehand which is open.
    v_coverage := private.survey(p_organization_id, v_keys, private.clock_now(), null);
  end if;
  -- A workflow has a budget of its own from birth.
  if v_coverage.has_workflow is not true then
    perform private.raise_error(
      'TS404',
      jsonb_build_object('organization_id', p_organization_id, 'workflow_id', p_workflow_id)
    );
  end if;
  v_usage := private.book(v_usage, 0, v_coverage, null, 'record', p_request_id, v_content_hash);
  if v_usage.id is null then
    -- The same request was recorded meanwhile; other content under its id is refused.
    perform private.find_request(p_organization_id, 'record', p_request_id, v_content_hash);
  end if;
end
$$;

comment on function public.record_usage_and_increment(
  uuid, uuid, text, integer, integer, numeric, text
) is
  'Records one AI request: a row in ai_usage_ledger and every total with it, or nothing '
  '(ai_cost_governance), counted and flagged as without a hold. p_cost in US dollars, at most 12 '
  'decimals. For server roles only: a tenant never states what it cost. A retry with the same '
  'p_request_id and content is one record. Errors: 22023, TS404, TS409.';

-- sql/metering/holds.sql

-- Holds after they were granted: released, extended, expired.

-- Lets server roles, finance and managers of the organization pass, and whoever made the hold as
-- long as no server works with it: who could free its money during the call would pass every cap.
create function private.assert_may_release(p_hold metering.holds)
returns void
language plpgsql
stable
set search_path = pg_catalog, pg_temp
as $$
begin
  if not private.is_trusted_caller()
    and p_hold.organization_id <> all(
      private.member_organization_ids(array['owner', 'admin', 'finance'])
    )
    and (
      p_hold.user_id is distinct from auth.uid()
      or p_hold.claimed_at is not null
      or p_hold.organization_id <> all(private.member_organization_ids())
    ) then
    perform private.raise_error(
      '42501', jsonb_build_object('hold_id', p_hold.id, 'roles', array['owner', 'admin', 'finance'])
    );
  end if;
end
$$;

comment on function private.assert_may_release(metering.holds) is
  'Refuses a member who is neither owner, admin nor finance and did not make the hold, or whose '
  'hold a server has claimed. Errors: 42501.';

-- Refuses a hold that is not there: TS410 for one that was settled, TS404 for an unknown one.
create function private.refuse_missing_hold(p_organization_id uuid, p_hold_id uuid)
returns void
language plpgsql
stable
set search_path = pg_catalog, pg_temp
as $$
begin
  if exists (
    select from public.ai_usage_ledger as l
    where l.organization_id = p_organization_id
      and l.id = p_hold_id
      and l.settlement <> 'without_hold'
  ) then
    perform private.raise_error(
      'TS410', jsonb_build_object('hold_id', p_hold_id, 'state', 'settled')
    );
  end if;
  perform private.raise_error('TS404', jsonb_build_object('hold_id', p_hold_id));
end
$$;

comment on function private.refuse_missing_hold(uuid, uuid) is
  'Errors: TS410 for a settled hold, TS404 for an unknown one.';

-- The privileged half of public.release_spend.
create function private.release_spend(p_hold_id uuid, p_reason text, p_organization_id uuid)
returns metering.holds
language plpgsql
volatile
security definer -- closes holds and writes counters, which no role may write itself
set search_path = pg_catalog, pg_temp
set plan_cache_mode = force_generic_plan
set enable_seqscan = off
set jit = off
as $$
declare
  v_hold_id constant uuid := private.assert_id('p_hold_id', p_hold_id);
  v_organization_id constant uuid := coalesce(
    p_organization_id, private.resolve_organization_of_hold(p_hold_id)
  );
  v_hold metering.holds;
  v_coverage private.coverage;
begin
  if p_reason is not null then
    perform private.assert_text('p_reason', p_reason);
  end if;
  if not private.is_trusted_caller()
    and (v_organization_id = any(private.member_organization_ids())) is not true then
    perform private.raise_error('TS404', jsonb_build_object('hold_id', p_hold_id));
  end if;
  select * into v_hold
  from metering.holds as h
  where h.organization_id = v_organization_id and h.id = v_hold_id
  for update;
  if v_hold.id is null then
    perform private.refuse_missing_hold(v_organization_id, p_hold_id);
  end if;
  perform private.assert_may_release(v_hold);
  if v_hold.state <> 'open' then
    return v_hold;
  end if;

  update metering.holds as h
  set state = 'released', closed_at = private.clock_now(), reason = p_reason
  where h.organization_id = v_organization_id and h.id = v_hold_id
  returning * into v_hold;
  v_coverage.budget_ids := v_hold.budget_ids;
  v_coverage.slots := v_hold.slots;
  v_coverage.config_version := v_hold.config_version;
  loop
    begin
      if private.charge(
        v_organization_id, v_coverage.budget_ids, v_coverage.slots, v_coverage.config_version,
        v_hold.created_at, 0, - v_hold.held_usd
      ) then
        return v_hold;
      end if;
      perform private.abandon_attempt();
    exception
      when sqlstate 'UNDO0' then null;
    end;
    -- Budgets were changed since: the figures of a changed budget counted this hold.
    v_coverage := private.survey(
      v_organization_id, private.scope_keys_of(v_hold), v_hold.created_at, null
    );
  end loop;
  return null; -- never reached
end
$$;

comment on function private.release_spend(uuid, text, uuid) is 'Core of public.release_spend.';

-- Gives back what a hold keeps.
--
-- Locks: the hold, then a slot of the organization's own budget, then one of each budget.
-- Idempotent: a hold that was released or has expired is returned as it is.
create function public.release_spend(
  p_hold_id uuid,
  p_reason text default null,
  p_organization_id uuid default null
)
returns metering.holds
language plpgsql
volatile
set search_path = pg_catalog, pg_temp
as $$
begin
  return private.release_spend(p_hold_id, p_reason, p_organization_id);
end
$$;

comment on function public.release_spend(uuid, text, uuid) is
  'Gives back what a hold keeps; returns the hold. Again: nothing happens. It may still be settled '
  'late. For whoever made it, until a server has claimed it by extend_hold; for owners, admins and '
  'finance, and for server roles. Errors: 22023, 42501, TS404, TS410 for a settled hold.';

-- Locks an open hold for extension; where p_wait, in one order with all overdue holds, for which
-- the gather then need not wait.
create function private.lock_hold(
  p_organization_id uuid,
  p_hold_id uuid,
  p_now timestamptz,
  p_wait boolean
)
returns metering.holds
language plpgsql
volatile
set search_path = pg_catalog, pg_temp
as $$
declare
  v_hold metering.holds;
begin
  if p_wait then
    perform from metering.holds as h
    where h.organization_id = p_organization_id
      and (h.id = p_hold_id or h.state = 'open' and h.expires_at <= p_now)
    order by h.id
    for update;
  end if;
  select * into v_hold
  from metering.holds as h
  where h.organization_id = p_organization_id and h.id = p_hold_id
  for update;
  if v_hold.id is null then
    perform private.refuse_missing_hold(p_organization_id, p_hold_id);
  elsif v_hold.state <> 'open' then
    perform private.raise_error(
      'TS410', jsonb_build_object('hold_id', p_hold_id, 'state', v_hold.state)
    );
  end if;
  return v_hold;
end
$$;

comment on function private.lock_hold(uuid, uuid, timestamptz, boolean) is
  'Locks an open hold. Errors: TS404, TS410.';

-- What a hard cap has left in a window that is over, where that is the least: its slots count the
-- present window already, so it is summed from ledger and holds. Under a gather.
create function private.survey_closed_windows(
  p_organization_id uuid,
  p_scope_keys text[],
  p_time timestamptz,
  p_coverage private.coverage
)
returns private.coverage
language plpgsql
stable
set search_path = pg_catalog, pg_temp
as $$
declare
  v_coverage private.coverage := p_coverage;
  v_closed record;
begin
  for v_closed in
    select
      b.id,
      b.limit_usd - private.settled_in(b, w.start, w.finish)
      - private.held_in(b, w.start, w.finish) as remaining
    from metering.budgets as b
    inner join metering.budget_slots as s
      on s.organization_id = b.organization_id and s.budget_id = b.id and s.slot = 0
    cross join lateral (
      select
        private.window_start(b.time_window, p_time, b.time_zone) as start,
        private.window_end(b.time_window, p_time, b.time_zone) as finish
    ) as w
    where b.organization_id = p_organization_id
      and b.scope_key = any(p_scope_keys)
      and b.enforcement = 'hard'
      and b.limit_usd is not null
      and b.scope <> 'draw'
      and p_time < s.window_start
  loop
    if (v_coverage.remaining <= v_closed.remaining) is not true then
      v_coverage.remaining := v_closed.remaining;
      v_coverage.tightest_budget_id := v_closed.id;
      v_coverage.resets_at := null;
    end if;
  end loop;
  return v_coverage;
end
$$;

comment on function private.survey_closed_windows(uuid, text[], timestamptz, private.coverage) is
  'A survey, with the windows of p_time that are over counted in.';

-- Extends a hold in time, in money, or both.
--
-- Money is admitted as authorize_spend admits it, by the windows the hold counts to, also those
-- that are over: what is settled counts there. An overdue hold can be extended until somebody took
-- its money. Locks: the hold, then as authorize_spend. Idempotent by p_request_id.
create function public.extend_hold(
  p_hold_id uuid,
  p_expires_in interval default null,
  p_additional_cost numeric default 0,
  p_request_id text default null,
  p_organization_id uuid default null
)
returns metering.holds
language plpgsql
volatile
security definer -- takes money from slots and changes holds, which no role may write itself
set search_path = pg_catalog, pg_temp
set plan_cache_mode = force_generic_plan
set enable_seqscan = off
set jit = off
as $$
declare
  v_hold_id constant uuid := private.assert_id('p_hold_id', p_hold_id);
  v_organization_id constant uuid := coalesce(
    p_organization_id, private.resolve_organization_of_hold(p_hold_id)
  );
  v_additional constant numeric := private.assert_money('p_additional_cost', p_additional_cost);
  v_expires_in interval;
  v_content_hash text;
  v_hold metering.holds;
  v_keys text[];
  v_coverage private.coverage;
  v_now timestamptz;
  v_gathers boolean := false;
  v_gathered boolean;
  v_waits boolean := false;
  v_skipped boolean;
begin
  if p_expires_in is not null then
    v_expires_in := private.assert_expiry('p_expires_in', p_expires_in);
  elsif v_additional = 0 then
    perform private.reject_argument(
      'p_expires_in, p_additional_cost', 'must not both be left out'
    );
  end if;
  if p_request_id is not null then
    v_content_hash := private.content_hash(
      row(
        private.assert_text('p_request_id', p_request_id), p_hold_id,
        extract(epoch from v_expires_in), trim_scale(p_additional_cost)
      )::text
    );
  end if;

  loop
    if p_request_id is not null and private.find_request(
      v_organization_id, 'extend', p_request_id, v_content_hash
    ) is not null then
      select * into v_hold
      from metering.holds as h where h.organization_id = v_organization_id and h.id = v_hold_id;
      if v_hold.id is null then
        perform private.refuse_missing_hold(v_organization_id, v_hold_id);
      end if;
      return v_hold;
    end if;

    v_now := private.clock_now();
    v_skipped := false;
    v_coverage := null;
    begin
      v_hold := private.lock_hold(v_organization_id, v_hold_id, v_now, v_waits);
      if v_additional > 0 then
        v_keys := private.scope_keys_of(v_hold);
        if v_gathers then
          v_skipped := private.gather(
            v_organization_id, v_keys, v_now, greatest(v_now, v_hold.created_at),
            array[v_hold_id]
          );
        end if;
        v_coverage := private.survey(v_organization_id, v_keys, v_hold.created_at, null);
        if v_coverage.is_frozen then
          perform private.raise_error(
            'TS423',
            jsonb_build_object(
              'organization_id', v_organization_id,
              'budget_id', (private.denied_as_frozen(v_organization_id, v_keys)).budget_id
            )
          );
        end if;
        if v_coverage.lacks_funding or v_coverage.prepaid_since > v_hold.created_at then
          -- Nothing reserves more for it: its run has ended, or it is older than the credits.
          perform private.raise_error(
            'TS402', jsonb_build_object('hold_id', v_hold_id, 'remaining_usd', '0')
          );
        end if;
        if v_gathers then
          v_coverage := private.survey_closed_windows(
            v_organization_id, v_keys, v_hold.created_at, v_coverage
          );
          if v_coverage.remaining >= v_additional then
            v_coverage := private.fund_call(
              v_organization_id, v_keys, v_hold.created_at, v_additional, v_coverage
            );
          end if;
          if v_coverage.remaining < v_additional then
            perform private.abandon_attempt();
          end if;
          perform private.charge_gathered(
            v_organization_id, v_coverage, v_hold.created_at, 0, v_additional
          );
        elsif not private.charge(
          v_organization_id, v_coverage.budget_ids, v_coverage.slots, v_coverage.config_version,
          v_hold.created_at, 0, v_additional
        ) then
          perform private.abandon_attempt();
        end if;
        if v_hold.proposal_id is not null
          or v_coverage.approval_above < v_hold.held_usd + v_additional then
          perform private.assert_within_approval(v_hold, v_hold.held_usd + v_additional);
        end if;
        v_hold.budget_ids := v_coverage.budget_ids;
        v_hold.slots := v_coverage.slots;
        v_hold.config_version := v_coverage.config_version;
      else
        -- Also a new expiry takes a slot of the own budget, so that none changes under a gather.
        perform from metering.budget_slots as s
        where s.organization_id = v_organization_id
          and s.budget_id = v_organization_id
          and s.slot = v_hold.slots[1]
        for no key update;
        if not found then
          perform private.lock_first_slot(v_organization_id);
        end if;
      end if;
      if p_request_id is not null and not private.bind_request(
        v_organization_id, 'extend', p_request_id, v_content_hash, v_hold_id
      ) then
        perform private.abandon_attempt();
      end if;
      if v_hold.held_usd + v_additional >= 1e12 then
        perform private.reject_argument(
          'p_additional_cost', 'must keep the hold below 1000000000000'
        );
      end if;
      update metering.holds as h
      set
        held_usd = h.held_usd + v_additional,
        expires_at = coalesce(v_now + v_expires_in, h.expires_at),
        claimed_at = coalesce(h.claimed_at, v_now),
        budget_ids = v_hold.budget_ids,
        slots = v_hold.slots,
        config_version = v_hold.config_version
      where h.organization_id = v_organization_id and h.id = v_hold_id
      returning * into v_hold;
      return v_hold;
    exception
      when sqlstate 'UNDO0' then
        v_gathered := v_gathers;
        v_gathers := true;
    end;

    if v_gathered and v_coverage.remaining < v_additional and not v_skipped then
      -- A call with the same request id may just have taken what is missing.
      continue when p_request_id is not null and private.find_request(
        v_organization_id, 'extend', p_request_id, v_content_hash
      ) is not null;
      perform private.raise_error(
        'TS402',
        jsonb_build_object(
          'hold_id', v_hold_id,
          'budget_id', v_coverage.tightest_budget_id,
          'remaining_usd', trim_scale(v_coverage.remaining)::text,
          'resets_at', v_coverage.resets_at
        )
      );
    end if;
    v_waits := v_skipped;
  end loop;
  return null; -- never reached
end
$$;

comment on function public.extend_hold(uuid, interval, numeric, text, uuid) is
  'Gives an open hold p_expires_in from now (at most 24 hours), p_additional_cost more US '
  'dollars, or both, and returns it. A retry with the same p_request_id extends once. It is then '
  'claimed: who made it may not release it any more. For server roles. Errors: 22023, TS402 where '
  'a budget has not enough left or credits cannot pay for more, TS404, TS409, TS410 for a hold '
  'that is no longer open, TS423 where the organization or a scope is frozen, TS428 where the hold '
  'would pass what was approved or needs no approval.';

-- Frees what overdue holds keep. Housekeeping: whoever needs that money frees it without waiting
-- for this. Organization by organization, leaving out holds somebody is working on and
-- organizations that keep it waiting: one tenant must not be held up because of another.
--
-- Locks: the holds, then slot 0 of the organization's own budget, then a slot of each budget.
create function metering.expire_holds(
  p_organization_id uuid default null,
  p_limit integer default 1000
)
returns integer
language plpgsql
volatile
security definer -- closes holds and writes counters, which no role may write itself
set search_path = pg_catalog, pg_temp
set enable_seqscan = off
set jit = off
set lock_timeout = '20ms' -- longer than a commit takes, shorter than a transaction left open
as $$
declare
  v_now constant timestamptz := private.clock_now();
  v_organization_id uuid;
  v_holds metering.holds[];
  v_expired integer := 0;
begin
  if (p_limit between 1 and 100000) is not true then
    perform private.reject_argument('p_limit', 'must be from 1 to 100000');
  end if;
  for v_organization_id in
    select distinct h.organization_id
    from metering.holds as h
    where h.state = 'open'
      and h.expires_at <= v_now
      and (p_organization_id is null or h.organization_id = p_organization_id)
    order by h.organization_id
  loop
    begin
      v_holds := private.expire_overdue(
        v_organization_id, v_now, '{}', false, p_limit - v_expired
      );
      if v_holds is not null then
        perform private.lock_first_slot(v_organization_id);
        perform private.return_holds(v_organization_id, v_holds);
        v_expired := v_expired + cardinality(v_holds);
      end if;
    exception
      when lock_not_available then null; -- next time, or a gather before
    end;
    exit when v_expired >= p_limit;
  end loop;
  return v_expired;
end
$$;

comment on function metering.expire_holds(uuid, integer) is
  'Returns the money of up to p_limit overdue holds, of one organization or all, and says of how '
  'many. Housekeeping for reports: an overdue hold never refuses anybody. Runs every minute where '
  'pg_cron is installed. For server roles. Errors: 22023.';

-- sql/metering/batches.sql

-- Many at once, for one organization: locked once, in one order, so two batches never deadlock.

create type metering.authorized_item as (
  item integer,
  decision text,
  hold_id uuid,
  usage_id uuid,
  held_usd text,
  reason text,
  budget_id uuid,
  remaining_usd text,
  resets_at timestamptz,
  affordable_output_tokens bigint,
  expires_at timestamptz,
  proposal_id uuid,
  error_code text,
  error_detail jsonb
);

comment on type metering.authorized_item is
  'The answer to one item of authorize_spend_batch: a spend_decision, or an error.';
comment on column metering.authorized_item.item is 'Position of the item in p_items, from 0.';
comment on column metering.authorized_item.decision is 'As in spend_decision; null for an error.';
comment on column metering.authorized_item.hold_id is 'As in spend_decision.';
comment on column metering.authorized_item.usage_id is 'As in spend_decision.';
comment on column metering.authorized_item.held_usd is 'As in spend_decision.';
comment on column metering.authorized_item.reason is 'As in spend_decision.';
comment on column metering.authorized_item.budget_id is 'As in spend_decision.';
comment on column metering.authorized_item.remaining_usd is 'As in spend_decision.';
comment on column metering.authorized_item.resets_at is 'As in spend_decision.';
comment on column metering.authorized_item.affordable_output_tokens is 'As in spend_decision.';
comment on column metering.authorized_item.expires_at is 'As in spend_decision.';
comment on column metering.authorized_item.proposal_id is 'As in spend_decision.';
comment on column metering.authorized_item.error_code is
  'What the item alone would have raised; null where it was decided.';
comment on column metering.authorized_item.error_detail is 'The facts of that error.';

create type metering.settled_item as (
  item integer,
  usage_id uuid,
  cost text,
  settlement text,
  unheld_usd text,
  error_code text,
  error_detail jsonb
);

comment on type metering.settled_item is 'The answer to one item of settle_spend_batch.';
comment on column metering.settled_item.item is 'Position of the item in p_items, from 0.';
comment on column metering.settled_item.usage_id is
  'The usage the hold became, with the id of the hold; null for an error.';
comment on column metering.settled_item.cost is 'US dollars, as decimal text.';
comment on column metering.settled_item.settlement is 'on_hold or after_hold.';
comment on column metering.settled_item.unheld_usd is
  'What no open hold covered, US dollars, as decimal text.';
comment on column metering.settled_item.error_code is
  'What the item alone would have raised; null where it was settled.';
comment on column metering.settled_item.error_detail is 'The facts of that error.';

-- A batch: 1 to 1000 items.
create function private.assert_items(p_items jsonb)
returns jsonb
language plpgsql
stable
set search_path = pg_catalog, pg_temp
as $$
begin
  if jsonb_typeof(p_items) is distinct from 'array' then
    perform private.reject_argument('p_items', 'must be an array');
  elsif jsonb_array_length(p_items) not between 1 and 1000 then
    perform private.reject_argument('p_items', 'must have 1 to 1000 items');
  end if;
  return p_items;
end
$$;

comment on function private.assert_items(jsonb) is
  'Refuses anything but an array of 1 to 1000 items. Errors: 22023.';

-- Refuses an item that is no object or has a key nobody reads, such as a misspelled one.
create function private.assert_item(p_item jsonb, p_keys text[])
returns jsonb
language plpgsql
stable
set search_path = pg_catalog, pg_temp
as $$
begin
  if jsonb_typeof(p_item) <> 'object' then
    perform private.reject_argument('p_items', 'must have objects as items');
  elsif p_item - p_keys <> '{}' then
    perform private.reject_argument('p_items', 'must have items with only the documented keys');
  end if;
  return p_item;
end
$$;

comment on function private.assert_item(jsonb, text[]) is
  'Refuses an item that is not an object of known keys. Errors: 22023.';

-- The code an item's error has: what cannot be read as its type is an argument like any other.
create function private.item_error_code(p_sqlstate text)
returns text
language plpgsql
immutable
set search_path = pg_catalog, pg_temp
as $$
begin
  return case when left(p_sqlstate, 2) = '22' then '22023' else p_sqlstate end;
end
$$;

comment on function private.item_error_code(text) is
  'SQLSTATE of an item''s error: 22xxx is 22023.';

-- The facts of an item's error: those it was raised with, or what PostgreSQL says of the value.
create function private.item_error_detail(p_detail text, p_message text)
returns jsonb
language plpgsql
immutable
set search_path = pg_catalog, pg_temp
as $$
begin
  return case
    when left(p_detail, 1) = '{' then p_detail::jsonb
    else jsonb_build_object('argument', 'p_items', 'rule', p_message)
  end;
end
$$;

comment on function private.item_error_detail(text, text) is 'DETAIL of an item''s error as JSON.';

-- Decides one item of authorize_spend_batch, as of the time the batch has gathered.
create function private.authorize_item(
  p_organization_id uuid,
  p_item jsonb,
  p_position integer,
  p_still_since timestamptz
)
returns metering.authorized_item
language plpgsql
volatile
set search_path = pg_catalog, pg_temp
as $$
declare
  v_answer metering.authorized_item;
  v_decision metering.spend_decision;
  v_detail text;
begin
  v_answer.item := p_position;
  begin
    perform private.assert_item(
      p_item,
      array[
        'model', 'estimated_cost', 'input_tokens', 'max_output_tokens', 'workflow_id', 'run_id',
        'venture_id', 'user_id', 'api_key_id', 'tags', 'provider', 'service_tier', 'request_id',
        'expires_in', 'allow_partial', 'minimum'
      ]
    );
    v_decision := private.decide_spend(
      p_organization_id => p_organization_id,
      p_model => p_item ->> 'model',
      p_estimated_cost => (p_item ->> 'estimated_cost')::numeric,
      p_input_tokens => (p_item ->> 'input_tokens')::bigint,
      p_max_output_tokens => (p_item ->> 'max_output_tokens')::bigint,
      p_workflow_id => (p_item ->> 'workflow_id')::uuid,
      p_run_id => (p_item ->> 'run_id')::uuid,
      p_venture_id => (p_item ->> 'venture_id')::uuid,
      p_user_id => (p_item ->> 'user_id')::uuid,
      p_api_key_id => p_item ->> 'api_key_id',
      p_tags => nullif(p_item -> 'tags', 'null'),
      p_provider => p_item ->> 'provider',
      p_service_tier => p_item ->> 'service_tier',
      p_request_id => p_item ->> 'request_id',
      p_expires_in => coalesce((p_item ->> 'expires_in')::interval, '10 minutes'),
      p_allow_partial => coalesce((p_item ->> 'allow_partial')::boolean, false),
      p_minimum => (p_item ->> 'minimum')::numeric,
      p_still_since => p_still_since
    );
    v_answer.decision := v_decision.decision;
    v_answer.hold_id := v_decision.hold_id;
    v_answer.usage_id := v_decision.usage_id;
    v_answer.held_usd := v_decision.held_usd;
    v_answer.reason := v_decision.reason;
    v_answer.budget_id := v_decision.budget_id;
    v_answer.remaining_usd := v_decision.remaining_usd;
    v_answer.resets_at := v_decision.resets_at;
    v_answer.affordable_output_tokens := v_decision.affordable_output_tokens;
    v_answer.expires_at := v_decision.expires_at;
    v_answer.proposal_id := v_decision.proposal_id;
  exception
    when data_exception or insufficient_privilege or sqlstate 'TS404' or sqlstate 'TS409' then
      get stacked diagnostics v_detail = pg_exception_detail;
      v_answer.error_code := private.item_error_code(sqlstate);
      v_answer.error_detail := private.item_error_detail(v_detail, sqlerrm);
  end;
  return v_answer;
end
$$;

comment on function private.authorize_item(uuid, jsonb, integer, timestamptz) is
  'Decides one item of authorize_spend_batch.';

-- The privileged half of public.authorize_spend_batch.
create function private.authorize_spend_batch(p_organization_id uuid, p_items jsonb)
returns setof metering.authorized_item
language plpgsql
volatile
security definer -- takes money from slots and makes holds, which no role may write itself
set search_path = pg_catalog, pg_temp
set plan_cache_mode = force_generic_plan
set enable_seqscan = off
set jit = off
as $$
declare
  v_items constant jsonb := private.assert_items(p_items);
  v_now timestamptz;
  v_waits boolean := false;
  v_answers metering.authorized_item[];
begin
  perform private.assert_member(p_organization_id, array['owner', 'admin', 'finance', 'member']);
  loop
    v_now := private.clock_now();
    perform private.ensure_month(v_now);
    begin
      -- Before anything nested is done: whoever waits for a row that an inner block has written
      -- waits for the whole transaction, and would not be woken by undoing this one.
      if private.gather(p_organization_id, '{}', v_now, v_now, p_wait => v_waits) then
        perform private.abandon_attempt();
      end if;
      v_answers := '{}';
      for v_position in 0..jsonb_array_length(v_items) - 1 loop
        v_answers := v_answers
          || private.authorize_item(
            p_organization_id, v_items -> v_position, v_position, v_now
          );
      end loop;
      return query select * from unnest(v_answers);
      return;
    exception
      when sqlstate 'UNDO0' then
        v_waits := true;
    end;
  end loop;
end
$$;

comment on function private.authorize_spend_batch(uuid, jsonb) is
  'Core of public.authorize_spend_batch.';

-- Decides many requests of one organization, in the order given, in one transaction.
--
-- Locks the organization's own budget as a whole, so it stands still meanwhile. An item that is
-- wrong has its error as its answer and stops nothing. Idempotent per item by its request id.
create function public.authorize_spend_batch(p_organization_id uuid, p_items jsonb)
returns setof metering.authorized_item
language plpgsql
volatile
set search_path = pg_catalog, pg_temp
as $$
begin
  return query select * from private.authorize_spend_batch(p_organization_id, p_items);
end
$$;

comment on function public.authorize_spend_batch(uuid, jsonb) is
  'authorize_spend for 1 to 1000 requests. p_items: objects with the arguments of authorize_spend '
  'as keys, without p_ and without the organization; amounts as text or numbers. One row per item: '
  'the decision, or error_code and error_detail. For members who may spend, and server roles. '
  'Errors: 22023, 42501, TS404 for the batch as a whole.';

-- Settles a batch in which nothing is out of the ordinary, in one pass over each table: every hold
-- is open and covers its cost, none has a request id, no budget was changed since. False otherwise,
-- with nothing done.
create function private.settle_plain_batch(p_organization_id uuid, p_items jsonb)
returns boolean
language plpgsql
volatile
set search_path = pg_catalog, pg_temp
as $$
declare
  v_now constant timestamptz := private.clock_now();
  v_ids uuid[];
  v_costs numeric[];
  v_measured private.measurement[];
  v_holds metering.holds[];
  v_costings private.costing[];
  v_usages public.ai_usage_ledger[];
  v_days date[];
  v_rollup_slot smallint;
  v_is_plain boolean;
  v_slot record;
begin
  -- By id: holds are locked in this order, and the lists fit one another.
  select
    array_agg(i.hold_id order by i.hold_id),
    array_agg(i.cost order by i.hold_id),
    array_agg(i.measured order by i.hold_id),
    bool_and(i.measured is not null and (i.cost is not null or i.has_usage))
  into v_ids, v_costs, v_measured, v_is_plain
  from (
    select
      (t.item ->> 'hold_id')::uuid as hold_id,
      case
        when t.item ->> 'cost' is not null
          then private.assert_money('cost', (t.item ->> 'cost')::numeric)
      end as cost,
      t.item ->> 'usage' is not null as has_usage,
      private.assert_usage('usage', nullif(t.item -> 'usage', 'null')) as measured
    from jsonb_array_elements(p_items) as t (item)
    where private.assert_item(t.item, array['hold_id', 'cost', 'usage']) is not null
  ) as i;

  select array_agg(h::metering.holds order by h.id) into v_holds
  from (
    select l.* from metering.holds as l
    where l.organization_id = p_organization_id and l.id = any(v_ids)
    order by l.id
    for update
  ) as h;
  if not v_is_plain or cardinality(v_holds) is distinct from cardinality(v_ids) then
    return false;
  end if;
  v_costings := array(
    select private.cost_call(v_holds[n], v_measured[n], v_costs[n])
    from generate_subscripts(v_ids, 1) as n
  );
  select
    bool_and(h.state = 'open' and v_costings[h.ordinality].cost <= h.held_usd)
    and min(h.config_version) = max(h.config_version)
  into v_is_plain
  from unnest(v_holds) with ordinality as h;
  if not v_is_plain then
    return false;
  end if;

  -- The own budget comes first, locked before any other; its version says whether the list of the
  -- others still holds. Where a window ended amid the batch, each hold must find its own.
  for v_slot in
    select
      b.budget_id,
      min(b.slot) as slot,
      sum((v_costings[h.ordinality]).cost) as settled_usd,
      sum(h.held_usd) as held_usd,
      min(h.created_at) as earliest,
      max(h.created_at) as latest,
      max(h.config_version) as config_version
    from unnest(v_holds) with ordinality as h
    cross join lateral unnest(h.budget_ids, h.slots) as b (budget_id, slot)
    group by b.budget_id
    order by b.budget_id <> p_organization_id, b.budget_id
  loop
    update metering.budget_slots as s
    set
      settled_usd = s.settled_usd + v_slot.settled_usd,
      held_usd = s.held_usd - v_slot.held_usd,
      available_usd = s.available_usd + v_slot.held_usd - v_slot.settled_usd
    where s.organization_id = p_organization_id
      and s.budget_id = v_slot.budget_id
      and s.slot = v_slot.slot
      and v_slot.earliest >= s.window_start
      and v_slot.latest < s.window_end
      and (s.budget_id <> p_organization_id or s.config_version = v_slot.config_version);
    if not found then
      return false;
    end if;
    v_rollup_slot := coalesce(v_rollup_slot, v_slot.slot);
  end loop;

  for v_n in 1..cardinality(v_ids) loop
    v_usages[v_n] := private.usage_of_hold(v_holds[v_n], v_costings[v_n]);
    v_usages[v_n].settled_at := greatest(v_now, v_holds[v_n].created_at);
    v_usages[v_n].xact_id := pg_current_xact_id();
    v_days[v_n] := v_holds[v_n].day;
  end loop;
  insert into public.ai_usage_ledger select u.* from unnest(v_usages) as u;
  perform private.record_run_call(v_usages[n], null)
  from generate_subscripts(v_ids, 1) as n
  where (v_usages[n]).run_id is not null;
  perform private.roll_up_all(v_usages, v_days, v_rollup_slot);
  delete from metering.holds as h
  where h.organization_id = p_organization_id and h.id = any(v_ids);
  return true;
end
$$;

comment on function private.settle_plain_batch(uuid, jsonb) is
  'Settles a batch of open holds that cover their costs; false where it is not such a batch, and '
  'the caller must undo it.';

-- Settles one item of settle_spend_batch.
create function private.settle_item(
  p_organization_id uuid,
  p_item jsonb,
  p_position integer,
  p_except uuid[]
)
returns metering.settled_item
language plpgsql
volatile
set search_path = pg_catalog, pg_temp
as $$
declare
  v_answer metering.settled_item;
  v_detail text;
begin
  v_answer.item := p_position;
  begin
    select u.id, trim_scale(u.cost)::text, u.settlement::text, trim_scale(u.unheld_usd)::text
    into v_answer.usage_id, v_answer.cost, v_answer.settlement, v_answer.unheld_usd
    from private.settle_spend(
      p_hold_id => (p_item ->> 'hold_id')::uuid,
      p_usage => nullif(p_item -> 'usage', 'null'),
      p_cost => (p_item ->> 'cost')::numeric,
      p_request_id => p_item ->> 'request_id',
      p_organization_id => p_organization_id,
      p_except => p_except
    ) as u
    where private.assert_item(p_item, array['hold_id', 'usage', 'cost', 'request_id']) is not null;
  exception
    when data_exception or sqlstate 'TS404' or sqlstate 'TS409' then
      get stacked diagnostics v_detail = pg_exception_detail;
      v_answer.error_code := private.item_error_code(sqlstate);
      v_answer.error_detail := private.item_error_detail(v_detail, sqlerrm);
  end;
  return v_answer;
end
$$;

comment on function private.settle_item(uuid, jsonb, integer, uuid[]) is
  'Settles one item of settle_spend_batch.';

-- Settles many holds of one organization in one transaction.
--
-- In one pass where nothing is out of the ordinary; otherwise item by item, in the order given,
-- while the organization stands still. An item that is wrong has its error as its answer and stops
-- nothing. Locks: the holds by id, then as a single settlement. Idempotent per item.
create function public.settle_spend_batch(p_organization_id uuid, p_items jsonb)
returns setof metering.settled_item
language plpgsql
volatile
security definer -- writes ledger and counters, which no role may write itself
set search_path = pg_catalog, pg_temp
set plan_cache_mode = force_generic_plan
set enable_seqscan = off
set jit = off
as $$
declare
  v_organization_id constant uuid := private.assert_id('p_organization_id', p_organization_id);
  v_items constant jsonb := private.assert_items(p_items);
  v_ids uuid[];
  v_locked integer;
  v_now timestamptz;
begin
  begin
    if not private.settle_plain_batch(v_organization_id, v_items) then
      perform private.abandon_attempt();
    end if;
    return query
    select
      (t.position - 1)::integer, l.id, trim_scale(l.cost)::text, 'on_hold', '0', null::text,
      null::jsonb
    from jsonb_array_elements(v_items) with ordinality as t (item, position)
    inner join public.ai_usage_ledger as l
      on l.organization_id = v_organization_id and l.id = (t.item ->> 'hold_id')::uuid
    order by t.position;
    return;
  exception
    when data_exception or sqlstate 'UNDO0' then null;
  end;

  -- In any spelling a uuid may have; what is none is an error of its own item.
  v_ids := array(
    select t.hold_id::uuid
    from (
      select translate(lower(i.item ->> 'hold_id'), '{}-', '') as hold_id
      from jsonb_array_elements(v_items) as i (item)
    ) as t
    where t.hold_id ~ '^[0-9a-f]{32}$'
  );
  loop
    begin
      perform from metering.holds as h
      where h.organization_id = v_organization_id and h.id = any(v_ids)
      order by h.id
      for update;
      get diagnostics v_locked = row_count;
      v_now := private.clock_now();
      perform private.gather(v_organization_id, '{}', v_now, v_now, v_ids);
      -- Holds that were granted while it waited: again, as holds come before slots.
      exit when v_locked >= (
        select count(*) from metering.holds as h
        where h.organization_id = v_organization_id and h.id = any(v_ids)
      );
      perform private.abandon_attempt();
    exception
      when sqlstate 'UNDO0' then null;
    end;
  end loop;
  for v_position in 0..jsonb_array_length(v_items) - 1 loop
    return next private.settle_item(
      v_organization_id, v_items -> v_position, v_position, v_ids
    );
  end loop;
end
$$;

comment on function public.settle_spend_batch(uuid, jsonb) is
  'settle_spend for 1 to 1000 holds. p_items: objects with hold_id, usage, cost (text or number) '
  'and request_id. One row per item: the usage, or error_code and error_detail. For server roles '
  'only. Errors: 22023 for the batch as a whole.';

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

-- sql/metering/access.sql

-- Who sees and changes what. Members read their organization; members who may spend open and edit
-- workflows; nobody writes ledger, budgets, slots,
-- holds, rollups or keys but the functions.

revoke all on table
metering.workflows, metering.budgets, metering.budget_slots, metering.usage_rollups,
metering.holds, metering.request_keys, metering.budget_status, metering.spend_by_day,
metering.spend_by_model, metering.spend_by_workflow, metering.spend_by_user,
metering.spend_by_tag, public.ai_usage_ledger,
public.intent_workflows, public.ai_cost_by_organization_month, public.ai_cost_by_model,
public.ai_cost_by_workflow
from public, anon, authenticated, service_role, app_user, tallystick_reader, tallystick_writer;

alter table metering.workflows enable row level security;
alter table metering.budgets enable row level security;
alter table metering.budget_slots enable row level security;
alter table metering.holds enable row level security;
alter table metering.usage_rollups enable row level security;
alter table metering.request_keys enable row level security;
alter table public.ai_usage_ledger enable row level security;

grant select on table
metering.workflows, metering.budgets, metering.budget_slots, metering.holds,
metering.usage_rollups, metering.budget_status, metering.spend_by_day,
metering.spend_by_model, metering.spend_by_workflow, metering.spend_by_user,
metering.spend_by_tag, public.ai_usage_ledger, public.intent_workflows,
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

create policy holds_select_member on metering.holds
for select to authenticated
using (organization_id = any((select private.member_organization_ids())::uuid[]));
create policy holds_select_trusted on metering.holds
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
private.scope_keys(uuid, uuid, uuid, uuid, text, text, text, jsonb),
private.cover(uuid, text[], timestamptz),
private.survey(uuid, text[], timestamptz, timestamptz),
private.has_overdue(uuid, timestamptz),
private.overdue(uuid, text, timestamptz, timestamptz),
private.charge(uuid, uuid[], smallint[], integer, timestamptz, numeric, numeric),
private.lock_first_slot(uuid),
private.gather_organization(uuid),
private.expire_overdue(uuid, timestamptz, uuid[], boolean, integer),
private.return_holds(uuid, metering.holds[]),
private.open_window(metering.budgets, timestamptz),
private.granted_limit(metering.budgets),
private.gather(uuid, text[], timestamptz, timestamptz, uuid[], boolean),
private.spread(metering.budgets, numeric, numeric),
private.charge_gathered(uuid, private.coverage, timestamptz, numeric, numeric),
private.find_request(uuid, metering.operation, text, text),
private.bind_request(uuid, metering.operation, text, text, uuid, uuid),
private.open_organization_budget(),
private.open_workflow_budget(),
private.begin_change(uuid),
private.announce_freeze(),
private.keep_time_zone(),
private.assert_may_set_budgets(uuid),
private.assert_scope(uuid, text, text),
private.assert_window(text, text),
private.assert_slots(text, integer),
private.present_time(uuid),
private.settled_in(metering.budgets, timestamptz, timestamptz),
private.held_in(metering.budgets, timestamptz, timestamptz),
private.lay_slots(metering.budgets),
private.refigure(metering.budgets, boolean),
private.zone_for(uuid, text),
private.set_budget(uuid, text, text, text, numeric, text, integer),
metering.set_budget(uuid, text, text, text, numeric, text, integer),
private.change_budget(uuid, uuid, text, text, text, integer),
private.is_born(metering.budgets),
private.assert_not_funded(metering.budgets),
metering.change_budget(uuid, uuid, text, text, text, integer),
private.remove_budget(uuid, text, text, text),
metering.remove_budget(uuid, text, text, text),
private.set_frozen(uuid, text, text, boolean),
metering.freeze(uuid, text, text),
metering.unfreeze(uuid, text, text),
private.resolve_organization_of_workflow(uuid),
private.assert_workflow(uuid, uuid),
private.effective_cap(numeric, numeric, numeric),
private.fits_workflow(uuid, uuid, numeric, numeric),
private.lock_organization(uuid),
public.check_workflow_cost_limit(uuid, numeric, numeric, uuid),
public.estimate_workflow_cost_limit(uuid, numeric, numeric, uuid),
private.monthly_cost(uuid, date),
private.monthly_holds(uuid, date),
private.present_month(uuid),
public.get_organization_monthly_ai_cost(uuid),
public.check_organization_monthly_quota(uuid, numeric),
private.assert_tags(text, jsonb),
private.assert_budget_profile(text, text),
private.draft_hold(
  uuid, text, bigint, bigint, uuid, uuid, uuid, uuid, text, jsonb, text, text, text[]
),
private.scope_keys_of(metering.holds),
private.assert_covered(metering.holds, private.coverage),
private.denied_as_frozen(uuid, text[]),
private.denied_outright(metering.holds, text[], private.coverage),
private.denied_as_exceeded(private.coverage),
private.denied_as_unpriced(private.estimate),
private.estimate_call(metering.holds, numeric, bigint, bigint, boolean, numeric),
private.affordable_tokens(numeric, private.estimate),
private.with_affordable_tokens(metering.spend_decision, private.estimate),
private.price_of_hold(metering.holds, text),
private.cost_call(metering.holds, private.measurement, numeric),
private.deny_unpriced(metering.holds, private.estimate, text[], timestamptz),
private.repeated_spend(uuid, text, text, bigint, timestamptz),
private.is_free(jsonb, numeric),
private.estimate_at(private.quote, bigint),
private.estimated_cost(private.estimate, bigint, bigint, numeric),
private.granted(metering.holds, text[], numeric),
private.present_decision(uuid, uuid, timestamptz),
private.is_over(uuid, uuid),
private.has_moved(uuid, text, text, uuid, timestamptz),
private.admit(metering.holds, numeric, interval, text, text, timestamptz),
private.assert_expiry(text, interval),
private.assert_minimum(boolean, numeric, numeric, numeric),
private.decide_spend(
  uuid, text, numeric, bigint, bigint, uuid, uuid, uuid, uuid, text, jsonb, text, text, text,
  interval, boolean, numeric, timestamptz
),
private.authorize_spend(
  uuid, text, numeric, bigint, bigint, uuid, uuid, uuid, uuid, text, jsonb, text, text, text,
  interval, boolean, numeric
),
public.authorize_spend(
  uuid, text, numeric, bigint, bigint, uuid, uuid, uuid, uuid, text, jsonb, text, text, text,
  interval, boolean, numeric
),
public.estimate_spend(
  uuid, text, numeric, bigint, bigint, uuid, uuid, uuid, uuid, text, jsonb, text, text, boolean,
  numeric
),
private.resolve_organization_of_hold(uuid),
private.rollup_keys(public.ai_usage_ledger),
private.roll_up(public.ai_usage_ledger, date, smallint),
private.roll_up_all(public.ai_usage_ledger[], date[], smallint),
private.book(
  public.ai_usage_ledger, numeric, private.coverage, date, metering.operation, text, text,
  uuid[], private.run_call
),
private.usage_of_hold(metering.holds, private.costing),
private.settle_hold(metering.holds, private.costing, text, text, uuid[], private.run_call),
private.settle_at_once(metering.holds, private.costing, private.run_call),
private.settle_measured(
  uuid, private.measurement, numeric, text, uuid, uuid[], private.run_call
),
private.is_settled_as(public.ai_usage_ledger, private.measurement, numeric),
private.settle_spend(uuid, jsonb, numeric, text, uuid, uuid[]),
public.settle_spend(uuid, jsonb, numeric, text, uuid),
public.record_usage_and_increment(uuid, uuid, text, integer, integer, numeric, text),
private.assert_may_release(metering.holds),
private.refuse_missing_hold(uuid, uuid),
private.release_spend(uuid, text, uuid),
public.release_spend(uuid, text, uuid),
private.lock_hold(uuid, uuid, timestamptz, boolean),
private.survey_closed_windows(uuid, text[], timestamptz, private.coverage),
public.extend_hold(uuid, interval, numeric, text, uuid),
metering.expire_holds(uuid, integer),
private.assert_items(jsonb),
private.assert_item(jsonb, text[]),
private.item_error_code(text),
private.item_error_detail(text, text),
private.authorize_item(uuid, jsonb, integer, timestamptz),
private.authorize_spend_batch(uuid, jsonb),
public.authorize_spend_batch(uuid, jsonb),
private.settle_plain_batch(uuid, jsonb),
private.settle_item(uuid, jsonb, integer, uuid[]),
public.settle_spend_batch(uuid, jsonb),
private.write_intent_workflow(),
public.upsert_intent_workflow(uuid, uuid, jsonb),
metering.waiting_budgets()
from public, anon, authenticated, service_role;

-- Readers and writers alike: what reads with the caller's rights.
grant execute on function
private.scope_keys(uuid, uuid, uuid, uuid, text, text, text, jsonb),
private.granted_limit(metering.budgets),
private.cover(uuid, text[], timestamptz),
private.survey(uuid, text[], timestamptz, timestamptz),
private.has_overdue(uuid, timestamptz),
private.overdue(uuid, text, timestamptz, timestamptz),
private.resolve_organization_of_workflow(uuid),
private.assert_workflow(uuid, uuid),
private.effective_cap(numeric, numeric, numeric),
private.fits_workflow(uuid, uuid, numeric, numeric),
private.monthly_cost(uuid, date),
private.monthly_holds(uuid, date),
private.present_month(uuid),
private.assert_tags(text, jsonb),
private.assert_budget_profile(text, text),
private.draft_hold(
  uuid, text, bigint, bigint, uuid, uuid, uuid, uuid, text, jsonb, text, text, text[]
),
private.scope_keys_of(metering.holds),
private.assert_covered(metering.holds, private.coverage),
private.denied_as_frozen(uuid, text[]),
private.denied_outright(metering.holds, text[], private.coverage),
private.denied_as_exceeded(private.coverage),
private.denied_as_unpriced(private.estimate),
private.is_free(jsonb, numeric),
private.estimate_at(private.quote, bigint),
private.estimated_cost(private.estimate, bigint, bigint, numeric),
private.estimate_call(metering.holds, numeric, bigint, bigint, boolean, numeric),
private.affordable_tokens(numeric, private.estimate),
private.with_affordable_tokens(metering.spend_decision, private.estimate),
private.granted(metering.holds, text[], numeric),
private.assert_minimum(boolean, numeric, numeric, numeric),
public.check_workflow_cost_limit(uuid, numeric, numeric, uuid),
public.estimate_workflow_cost_limit(uuid, numeric, numeric, uuid),
public.get_organization_monthly_ai_cost(uuid),
public.check_organization_monthly_quota(uuid, numeric),
public.estimate_spend(
  uuid, text, numeric, bigint, bigint, uuid, uuid, uuid, uuid, text, jsonb, text, text, boolean,
  numeric
),
public.upsert_intent_workflow(uuid, uuid, jsonb)
to authenticated, service_role, app_user, tallystick_writer;

-- Readers and writers alike: what takes money or gives it back. lock_organization locks counters of
-- an organization the caller belongs to, and changes nothing. The others are the cores of the
-- public functions beside them: they ask who the caller is themselves.
grant execute on function
private.lock_organization(uuid),
private.authorize_spend(
  uuid, text, numeric, bigint, bigint, uuid, uuid, uuid, uuid, text, jsonb, text, text, text,
  interval, boolean, numeric
),
private.authorize_spend_batch(uuid, jsonb),
private.release_spend(uuid, text, uuid),
public.authorize_spend(
  uuid, text, numeric, bigint, bigint, uuid, uuid, uuid, uuid, text, jsonb, text, text, text,
  interval, boolean, numeric
),
public.authorize_spend_batch(uuid, jsonb),
public.release_spend(uuid, text, uuid)
to authenticated, service_role, app_user, tallystick_writer;

-- Owners, admins and operators. The cores are definers: they ask for the role themselves.
grant execute on function
private.set_budget(uuid, text, text, text, numeric, text, integer),
private.change_budget(uuid, uuid, text, text, text, integer),
private.remove_budget(uuid, text, text, text),
private.set_frozen(uuid, text, text, boolean),
metering.set_budget(uuid, text, text, text, numeric, text, integer),
metering.change_budget(uuid, uuid, text, text, text, integer),
metering.remove_budget(uuid, text, text, text),
metering.freeze(uuid, text, text),
metering.unfreeze(uuid, text, text)
to authenticated, service_role;

-- Writers only: no tenant states what it cost.
grant execute on function
public.settle_spend(uuid, jsonb, numeric, text, uuid),
public.settle_spend_batch(uuid, jsonb),
public.record_usage_and_increment(uuid, uuid, text, integer, integer, numeric, text),
public.extend_hold(uuid, interval, numeric, text, uuid),
metering.expire_holds(uuid, integer),
metering.waiting_budgets()
to service_role, app_user, tallystick_writer;
