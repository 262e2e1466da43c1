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
