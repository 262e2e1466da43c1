-- Credits: what an organization has paid or was given in advance, and every movement of it.
--
-- One row per organization is locked for every movement, so movements of an organization follow
-- one another. That is once per run, draw, purchase, refund or expiry, never once per call.

create table billing.credit_balances (
  org_id uuid not null,
  id uuid not null default private.uuid_v7(),
  balance_usd private.usd_sum not null default 0,
  reserved_usd private.usd_sum not null default 0,
  low_balance_usd private.usd,
  is_low boolean not null default false,
  movement_count bigint not null default 0,
  receivable_count bigint not null default 0,
  created_at timestamptz not null default private.clock_now(),
  updated_at timestamptz not null default private.clock_now(),
  constraint credit_balances_pkey primary key (org_id),
  constraint fk_credit_balances_org
  foreign key (org_id) references tenancy.organizations (id) on delete restrict,
  constraint check_balance_non_negative check (balance_usd >= 0),
  constraint check_reserved_non_negative check (reserved_usd >= 0),
  constraint credit_balances_reserved_is_within_balance check (reserved_usd <= balance_usd)
);

create trigger update_credit_balances_updated_at before update on billing.credit_balances
for each row execute function private.touch_updated_at();
create trigger credit_balances_reject_delete before delete on billing.credit_balances
for each row execute function private.reject_mutation();
create trigger credit_balances_reject_truncate before truncate on billing.credit_balances
for each statement execute function private.reject_mutation();

comment on table billing.credit_balances is
  'What each organization has in credits (billing_system 2.1). An organization with a row here '
  'pays in advance: each of its calls is paid by a run or by the draw of its day. Available is '
  'balance_usd - reserved_usd.';
comment on column billing.credit_balances.org_id is 'The organization.';
comment on column billing.credit_balances.id is 'Id of the balance.';
comment on column billing.credit_balances.balance_usd is
  'Credits, US dollars: credits less debits of billing_ledger, the last row of '
  'credit_balance_history, and what is left of credit_grants.';
comment on column billing.credit_balances.reserved_usd is
  'The part that runs and draws under way have reserved, US dollars.';
comment on column billing.credit_balances.low_balance_usd is
  'Below this available amount, US dollars, an event billing.low_balance is sent; null for none.';
comment on column billing.credit_balances.is_low is
  'True since the available amount fell below low_balance_usd.';
comment on column billing.credit_balances.movement_count is
  'Number of movements so far: the number of the last row of credit_balance_history.';
comment on column billing.credit_balances.receivable_count is 'Number of receivables so far.';
comment on column billing.credit_balances.created_at is
  'Since when the organization pays in advance.';
comment on column billing.credit_balances.updated_at is 'When it last moved.';

create table billing.draws (
  org_id uuid not null,
  id uuid not null default private.uuid_v7(),
  day date not null,
  status text not null default 'open',
  reserved_usd private.usd_sum not null default 0,
  cost_incurred private.usd_sum not null default 0,
  created_at timestamptz not null default private.clock_now(),
  closed_at timestamptz,
  constraint draws_pkey primary key (org_id, id),
  constraint draws_org_id_day_key unique (org_id, day),
  constraint draws_org_id_fkey
  foreign key (org_id) references tenancy.organizations (id) on delete restrict,
  constraint draws_status_is_known check (status in ('open', 'closed')),
  constraint draws_end_is_known check ((closed_at is null) = (status = 'open')),
  constraint draws_closed_reserves_nothing check (status = 'open' or reserved_usd = 0)
);

comment on table billing.draws is
  'What an organization draws from its credits on a day for calls outside runs: reserved in chunks '
  'while it is open, charged when it is closed, once the day is over and no hold of it is open.';
comment on column billing.draws.org_id is 'The organization that pays.';
comment on column billing.draws.id is 'Id of the draw and of the budget that it funds.';
comment on column billing.draws.day is 'The day, in the organization''s time zone.';
comment on column billing.draws.status is 'open or closed.';
comment on column billing.draws.reserved_usd is
  'What it has reserved from credits, US dollars: the limit of its budget.';
comment on column billing.draws.cost_incurred is
  'Of a closed draw: cost of its calls, US dollars. Of an open one its budget has it.';
comment on column billing.draws.created_at is 'When it was opened.';
comment on column billing.draws.closed_at is 'When it was charged.';

create table billing.billing_ledger (
  org_id uuid not null,
  id uuid not null default private.uuid_v7(),
  transaction_type text not null,
  amount_usd private.usd_sum not null,
  direction text not null,
  run_id uuid,
  agent_id uuid,
  task_id uuid,
  draw_id uuid,
  reason private.label not null,
  idempotency_key private.label,
  created_by private.label,
  created_at timestamptz not null,
  xact_id xid8 not null default pg_current_xact_id(),
  constraint billing_ledger_pkey primary key (org_id, id),
  constraint billing_ledger_org_id_idempotency_key_key unique (org_id, idempotency_key),
  constraint fk_billing_ledger_org
  foreign key (org_id) references tenancy.organizations (id) on delete restrict,
  constraint check_amount_positive check (amount_usd > 0),
  constraint check_transaction_type
  check (
    transaction_type in ('credit_purchase', 'charge', 'refund', 'adjustment', 'promo', 'trial')
  ),
  constraint check_direction check (direction in ('debit', 'credit')),
  constraint check_direction_matches_type
  check (
    transaction_type = 'charge' and direction = 'debit'
    or transaction_type in ('refund', 'credit_purchase', 'promo', 'trial') and direction = 'credit'
    or transaction_type = 'adjustment'
  ),
  constraint billing_ledger_is_of_a_run_or_a_draw check (run_id is null or draw_id is null)
);

create index idx_billing_ledger_org_id on billing.billing_ledger (org_id, created_at desc);
create index idx_billing_ledger_created_at on billing.billing_ledger (created_at desc);
create index idx_billing_ledger_transaction_type on billing.billing_ledger (transaction_type);
create index idx_billing_ledger_run_id on billing.billing_ledger (run_id);
create index idx_billing_ledger_agent_id on billing.billing_ledger (agent_id);
create index idx_billing_ledger_org_type_created
on billing.billing_ledger (org_id, transaction_type, created_at desc);
create index idx_billing_ledger_org_direction_created
on billing.billing_ledger (org_id, direction, created_at desc);
create index idx_billing_ledger_charges on billing.billing_ledger (org_id, created_at desc)
where transaction_type = 'charge';
create index idx_billing_ledger_refunds on billing.billing_ledger (org_id, created_at desc)
where transaction_type = 'refund';
create index billing_ledger_xact_id_idx on billing.billing_ledger (xact_id);
create index idx_billing_ledger_idempotency on billing.billing_ledger (idempotency_key)
where idempotency_key is not null;

create statistics billing.billing_ledger_stats (dependencies)
on org_id, transaction_type, direction from billing.billing_ledger;

create trigger billing_ledger_reject_mutation before update or delete on billing.billing_ledger
for each row execute function private.reject_mutation();
create trigger billing_ledger_reject_truncate before truncate on billing.billing_ledger
for each statement execute function private.reject_mutation();

comment on table billing.billing_ledger is
  'Append-only record of every movement of credits (billing_system 1.3). Kept for ever; archived '
  'after 7 years.';
comment on column billing.billing_ledger.org_id is 'The organization being billed.';
comment on column billing.billing_ledger.id is 'Time-ordered id.';
comment on column billing.billing_ledger.transaction_type is
  'credit_purchase, charge, refund, adjustment, promo or trial.';
comment on column billing.billing_ledger.amount_usd is 'US dollars, above 0.';
comment on column billing.billing_ledger.direction is
  'debit: out of the credits, of a charge. credit: into them.';
comment on column billing.billing_ledger.run_id is 'The run it is about, if any.';
comment on column billing.billing_ledger.agent_id is 'The agent it is about, if any.';
comment on column billing.billing_ledger.task_id is 'The task it is about, if any.';
comment on column billing.billing_ledger.draw_id is 'The draw it is about, if any.';
comment on column billing.billing_ledger.reason is
  'Why: run_charge, draw_charge, late_usage, receivable_collected, credit_purchase, '
  'credit_expired, token_reconciliation_overestimate, token_reconciliation_underestimate, '
  'partial_failure_refund, agent_crash_refund, manual_support_refund, user_dispute_resolution, '
  'promo_code_applied, trial_credit_granted, or what an operator stated.';
comment on column billing.billing_ledger.idempotency_key is
  'The caller''s name for it, or what it follows from; the same key is the same movement.';
comment on column billing.billing_ledger.created_by is
  'system, support, user, or the id of who caused it.';
comment on column billing.billing_ledger.created_at is
  'When it was booked; in the order of credit_balance_history.';
comment on column billing.billing_ledger.xact_id is 'The transaction that booked it.';

create table billing.credit_balance_history (
  org_id uuid not null,
  id uuid not null default private.uuid_v7(),
  movement bigint not null,
  balance_before_usd private.usd_sum not null,
  balance_after_usd private.usd_sum not null,
  change_usd private.usd_balance not null,
  reason private.label not null,
  billing_ledger_id uuid not null,
  created_at timestamptz not null,
  constraint credit_balance_history_pkey primary key (org_id, id),
  constraint credit_balance_history_org_id_movement_key unique (org_id, movement),
  constraint credit_balance_history_org_id_billing_ledger_id_key
  unique (org_id, billing_ledger_id),
  constraint fk_credit_balance_history_org
  foreign key (org_id) references tenancy.organizations (id) on delete restrict,
  constraint fk_credit_balance_history_ledger
  foreign key (org_id, billing_ledger_id)
  references billing.billing_ledger (org_id, id) on delete restrict,
  constraint credit_balance_history_change_is_the_difference
  check (change_usd = balance_after_usd - balance_before_usd),
  constraint credit_balance_history_movement_is_counted_from_1 check (movement > 0)
);

create index idx_credit_balance_history_org_id
on billing.credit_balance_history (org_id, created_at desc);
create index idx_credit_balance_history_created_at
on billing.credit_balance_history (created_at desc);

create trigger credit_balance_history_reject_mutation before update or delete
on billing.credit_balance_history
for each row execute function private.reject_mutation();
create trigger credit_balance_history_reject_truncate before truncate
on billing.credit_balance_history
for each statement execute function private.reject_mutation();

comment on table billing.credit_balance_history is
  'Append-only record of every balance there was (billing_system 2.2): one row per row of '
  'billing_ledger, numbered without a gap, each beginning where the one before it ended.';
comment on column billing.credit_balance_history.org_id is 'The organization.';
comment on column billing.credit_balance_history.id is 'Time-ordered id.';
comment on column billing.credit_balance_history.movement is
  'Number of the movement in its organization, from 1.';
comment on column billing.credit_balance_history.balance_before_usd is
  'Balance before it, US dollars.';
comment on column billing.credit_balance_history.balance_after_usd is
  'Balance after it, US dollars.';
comment on column billing.credit_balance_history.change_usd is
  'The difference: above 0 for a credit, below for a debit.';
comment on column billing.credit_balance_history.reason is 'Why, as in billing_ledger.';
comment on column billing.credit_balance_history.billing_ledger_id is 'The movement.';
comment on column billing.credit_balance_history.created_at is 'When it was booked.';

select private.seal_ledger('billing.billing_ledger', 'created_at');
