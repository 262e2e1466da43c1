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
