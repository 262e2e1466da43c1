-- Built by scripts/build-migrations from sql/accounting; edit there.

-- sql/accounting/book_tables.sql

-- The books of an organization (data_model_reference).
--
-- Entities each keep books of their own: a transaction and its postings belong to one, and so do
-- the accounts they touch; keys that carry entity_id see to it.

create table accounting.entities (
  organization_id uuid not null,
  entity_id private.label not null default private.uuid_v7()::text,
  code private.label not null,
  name private.label not null,
  metadata jsonb not null default '{}',
  created_at timestamptz not null default private.clock_now(),
  constraint entities_pkey primary key (organization_id, entity_id),
  constraint entities_organization_id_code_key unique (organization_id, code),
  constraint entities_organization_id_fkey
  foreign key (organization_id) references tenancy.organizations (id) on delete restrict,
  constraint entities_metadata_is_an_object check (jsonb_typeof(metadata) = 'object')
);

comment on table accounting.entities is
  'Who keeps books within an organization (data_model_reference: entities). Each organization is '
  'born with entity-default.';
comment on column accounting.entities.organization_id is 'The organization.';
comment on column accounting.entities.entity_id is 'Id of the entity within the organization.';
comment on column accounting.entities.code is 'Short code, unique in the organization.';
comment on column accounting.entities.name is 'Name, 1 to 255 characters.';
comment on column accounting.entities.metadata is 'Whatever else is known of it, an object.';
comment on column accounting.entities.created_at is 'When it was opened.';

create table accounting.accounts (
  organization_id uuid not null,
  account_id private.label not null default private.uuid_v7()::text,
  entity_id private.label not null default 'entity-default',
  code private.label not null,
  name private.label not null,
  account_type text not null,
  parent_account_id private.label,
  metadata jsonb not null default '{}',
  created_at timestamptz not null default private.clock_now(),
  constraint accounts_pkey primary key (organization_id, account_id),
  constraint accounts_organization_id_code_key unique (organization_id, code),
  constraint accounts_organization_id_entity_id_account_id_key
  unique (organization_id, entity_id, account_id),
  constraint accounts_entity_fkey
  foreign key (organization_id, entity_id)
  references accounting.entities (organization_id, entity_id) on delete restrict,
  constraint accounts_parent_fkey
  foreign key (organization_id, entity_id, parent_account_id)
  references accounting.accounts (organization_id, entity_id, account_id) on delete restrict,
  constraint accounts_account_type_is_known
  check (account_type in ('asset', 'liability', 'equity', 'income', 'expense')),
  constraint accounts_parent_is_another check (parent_account_id <> account_id),
  constraint accounts_metadata_is_an_object check (jsonb_typeof(metadata) = 'object')
);

create index accounts_parent_idx
on accounting.accounts (organization_id, entity_id, parent_account_id);

comment on table accounting.accounts is
  'Chart of accounts, a forest (data_model_reference: accounts).';
comment on column accounting.accounts.organization_id is 'The organization.';
comment on column accounting.accounts.account_id is 'Id of the account within the organization.';
comment on column accounting.accounts.entity_id is 'Whose account it is.';
comment on column accounting.accounts.code is 'Short code, unique in the organization.';
comment on column accounting.accounts.name is 'Name, 1 to 255 characters.';
comment on column accounting.accounts.account_type is
  'asset, liability, equity, income or expense.';
comment on column accounting.accounts.parent_account_id is
  'The account it is part of, of the same entity; null at the top.';
comment on column accounting.accounts.metadata is 'Whatever else is known of it, an object.';
comment on column accounting.accounts.created_at is 'When it was opened.';

-- Who moves an account updates this row, so that of two moves the later sees the earlier, or fails.
create table private.account_forests (
  organization_id uuid not null,
  change_count bigint not null default 1,
  constraint account_forests_pkey primary key (organization_id)
);

comment on table private.account_forests is
  'One row per organization that moved accounts, locked by whoever moves one.';
comment on column private.account_forests.organization_id is 'The organization.';
comment on column private.account_forests.change_count is 'How often an account was moved.';

create table accounting.ledger_transactions (
  organization_id uuid not null,
  transaction_id private.label not null default private.uuid_v7()::text,
  entity_id private.label not null default 'entity-default',
  source_system private.label not null,
  external_id private.label not null,
  transaction_date date not null,
  description text not null,
  correlation_id private.label not null,
  input_hash private.sha256_hex not null,
  output_hash private.sha256_hex,
  response_payload text,
  is_adjusting_entry boolean not null default false,
  adjusting_reason_code private.label,
  reverses_transaction_id private.label,
  occurred_on date,
  recorded_at timestamptz not null default private.clock_now(),
  recorded_by private.label not null,
  xact_id xid8 not null default pg_current_xact_id(),
  constraint ledger_transactions_pkey primary key (organization_id, transaction_id),
  constraint ledger_transactions_source_system_external_id_key
  unique (organization_id, source_system, external_id),
  constraint ledger_transactions_entity_transaction_key
  unique (organization_id, entity_id, transaction_id),
  constraint ledger_transactions_reverses_key
  unique (organization_id, entity_id, reverses_transaction_id),
  constraint ledger_transactions_entity_fkey
  foreign key (organization_id, entity_id)
  references accounting.entities (organization_id, entity_id) on delete restrict,
  constraint ledger_transactions_reverses_fkey
  foreign key (organization_id, entity_id, reverses_transaction_id)
  references accounting.ledger_transactions (organization_id, entity_id, transaction_id)
  on delete restrict,
  constraint ledger_transactions_date_is_finite
  check (isfinite(transaction_date) and isfinite(occurred_on) is not false),
  constraint ledger_transactions_adjusting_entry_says_why
  check (is_adjusting_entry = (adjusting_reason_code is not null)),
  constraint ledger_transactions_reverses_another
  check (reverses_transaction_id <> transaction_id),
  constraint ledger_transactions_output_hash_is_of_the_response
  check (
    (output_hash is null) = (response_payload is null)
    and output_hash = private.content_hash(response_payload)
  )
);

create index ledger_transactions_xact_id_idx on accounting.ledger_transactions (xact_id);
create index ledger_transactions_date_idx
on accounting.ledger_transactions (organization_id, transaction_date, transaction_id);

create trigger ledger_transactions_reject_delete before delete on accounting.ledger_transactions
for each row execute function private.reject_mutation();
create trigger ledger_transactions_reject_truncate before truncate on accounting.ledger_transactions
for each statement execute function private.reject_mutation();

comment on table accounting.ledger_transactions is
  'Each bundle that was committed (data_model_reference: ledger_transactions). Append-only: only '
  'its response is written after it, once.';
comment on column accounting.ledger_transactions.organization_id is 'The organization.';
comment on column accounting.ledger_transactions.transaction_id is 'Time-ordered id.';
comment on column accounting.ledger_transactions.entity_id is 'Whose books it is in.';
comment on column accounting.ledger_transactions.source_system is
  'Who sent it; tallystick for what the system posts itself.';
comment on column accounting.ledger_transactions.external_id is
  'Its id there: sent again, it is answered as it was.';
comment on column accounting.ledger_transactions.transaction_date is
  'The day it is booked at, which decides its period.';
comment on column accounting.ledger_transactions.description is 'What it is.';
comment on column accounting.ledger_transactions.correlation_id is
  'What it belongs to, as the sender says.';
comment on column accounting.ledger_transactions.input_hash is
  'SHA-256 of the request as canonical text, without its correlation_id.';
comment on column accounting.ledger_transactions.output_hash is 'SHA-256 of response_payload.';
comment on column accounting.ledger_transactions.response_payload is
  'The response, byte for byte as it was given.';
comment on column accounting.ledger_transactions.is_adjusting_entry is
  'True for an entry that may go into a closed period.';
comment on column accounting.ledger_transactions.adjusting_reason_code is
  'Why an adjusting entry was made; null for others.';
comment on column accounting.ledger_transactions.reverses_transaction_id is
  'The transaction that this one undoes, if any. Each is undone at most once.';
comment on column accounting.ledger_transactions.occurred_on is
  'The day it belongs to, where it came too late to be booked there.';
comment on column accounting.ledger_transactions.recorded_at is 'When it was committed.';
comment on column accounting.ledger_transactions.recorded_by is
  'Who recorded it: user:<id>, service:<name> or system.';
comment on column accounting.ledger_transactions.xact_id is 'The transaction that recorded it.';

create table accounting.ledger_postings (
  organization_id uuid not null,
  posting_id private.label not null default private.uuid_v7()::text,
  entity_id private.label not null,
  transaction_id private.label not null,
  account_id private.label not null,
  amount private.book_amount not null,
  currency text not null default 'USD',
  memo text,
  position integer not null,
  xact_id xid8 not null default pg_current_xact_id(),
  constraint ledger_postings_pkey primary key (organization_id, posting_id),
  constraint ledger_postings_transaction_position_key
  unique (organization_id, entity_id, transaction_id, position),
  constraint ledger_postings_transaction_fkey
  foreign key (organization_id, entity_id, transaction_id)
  references accounting.ledger_transactions (organization_id, entity_id, transaction_id)
  on delete restrict,
  constraint ledger_postings_account_fkey
  foreign key (organization_id, entity_id, account_id)
  references accounting.accounts (organization_id, entity_id, account_id) on delete restrict,
  constraint ledger_postings_currency_is_known check (currency = 'USD'),
  constraint ledger_postings_position_counts_from_1 check (position >= 1)
);

create index ledger_postings_xact_id_idx on accounting.ledger_postings (xact_id);
create index ledger_postings_account_idx
on accounting.ledger_postings (organization_id, entity_id, account_id, transaction_id);

create trigger ledger_postings_reject_mutation before update or delete on accounting.ledger_postings
for each row execute function private.reject_mutation();
create trigger ledger_postings_reject_truncate before truncate on accounting.ledger_postings
for each statement execute function private.reject_mutation();

comment on table accounting.ledger_postings is
  'The legs of each bundle, append-only (data_model_reference: ledger_postings). They sum to 0 per '
  'transaction and currency.';
comment on column accounting.ledger_postings.organization_id is 'The organization.';
comment on column accounting.ledger_postings.posting_id is 'Time-ordered id.';
comment on column accounting.ledger_postings.entity_id is
  'That of the transaction and of the account, which are the same.';
comment on column accounting.ledger_postings.transaction_id is 'The transaction it is a leg of.';
comment on column accounting.ledger_postings.account_id is 'The account it changes.';
comment on column accounting.ledger_postings.amount is
  'US dollars, 4 decimals: above 0 debit, below 0 credit.';
comment on column accounting.ledger_postings.currency is 'USD.';
comment on column accounting.ledger_postings.memo is 'A remark, if any.';
comment on column accounting.ledger_postings.position is 'Which leg of the bundle, from 1.';
comment on column accounting.ledger_postings.xact_id is 'The transaction that recorded it.';

-- The one update of a transaction is made by whoever inserts it, before anybody may seal it.
select private.seal_ledger(
  'accounting.ledger_transactions', 'recorded_at', array['description']
);
select private.seal_ledger('accounting.ledger_postings', p_erasable => array['memo']);

-- sql/accounting/calendar_tables.sql

-- What the books are held against, by the calendar (data_model_reference): balances as others
-- state them, what is expected to be due, and the months that are closed.

create table accounting.balance_snapshots (
  organization_id uuid not null,
  snapshot_id private.label not null default private.uuid_v7()::text,
  entity_id private.label not null default 'entity-default',
  source_system private.label not null,
  account_id private.label not null,
  snapshot_date date not null,
  balance private.book_amount not null,
  currency text not null default 'USD',
  source_artifact_id private.label,
  recorded_at timestamptz not null default private.clock_now(),
  constraint balance_snapshots_pkey primary key (organization_id, snapshot_id),
  constraint balance_snapshots_account_date_key
  unique (organization_id, entity_id, account_id, snapshot_date),
  constraint balance_snapshots_account_fkey
  foreign key (organization_id, entity_id, account_id)
  references accounting.accounts (organization_id, entity_id, account_id) on delete restrict,
  constraint balance_snapshots_currency_is_known check (currency = 'USD'),
  constraint balance_snapshots_date_is_finite check (isfinite(snapshot_date))
);

comment on table accounting.balance_snapshots is
  'Balances as others state them, by account and day (data_model_reference: balance_snapshots). '
  'What was stated last holds.';
comment on column accounting.balance_snapshots.organization_id is 'The organization.';
comment on column accounting.balance_snapshots.snapshot_id is 'Id of the snapshot.';
comment on column accounting.balance_snapshots.entity_id is 'Whose account it is.';
comment on column accounting.balance_snapshots.source_system is 'Who states the balance.';
comment on column accounting.balance_snapshots.account_id is 'The account.';
comment on column accounting.balance_snapshots.snapshot_date is 'At the end of which day.';
comment on column accounting.balance_snapshots.balance is
  'The balance, US dollars, 4 decimals: above 0 debit, below 0 credit.';
comment on column accounting.balance_snapshots.currency is 'USD.';
comment on column accounting.balance_snapshots.source_artifact_id is
  'Where it was read, such as the id of a bank statement.';
comment on column accounting.balance_snapshots.recorded_at is 'When it was last stated.';

create table accounting.obligations (
  organization_id uuid not null,
  obligation_id private.label not null default private.uuid_v7()::text,
  entity_id private.label not null default 'entity-default',
  source_system private.label not null,
  name private.label not null,
  account_id private.label,
  cadence text not null,
  expected_amount private.book_amount not null,
  variability_flag boolean not null default false,
  next_due_date date not null,
  due_day integer not null,
  metadata jsonb not null default '{}',
  active boolean not null default true,
  created_at timestamptz not null default private.clock_now(),
  updated_at timestamptz not null default private.clock_now(),
  constraint obligations_pkey primary key (organization_id, obligation_id),
  constraint obligations_organization_id_source_system_name_account_id_key
  unique nulls not distinct (organization_id, source_system, name, account_id),
  constraint obligations_entity_fkey
  foreign key (organization_id, entity_id)
  references accounting.entities (organization_id, entity_id) on delete restrict,
  constraint obligations_account_fkey
  foreign key (organization_id, entity_id, account_id)
  references accounting.accounts (organization_id, entity_id, account_id) on delete restrict,
  constraint obligations_cadence_is_known check (cadence in ('monthly', 'annual', 'custom')),
  constraint obligations_due_day_is_in_a_month check (due_day between 1 and 31),
  constraint obligations_next_due_date_is_finite check (isfinite(next_due_date)),
  constraint obligations_metadata_is_an_object check (jsonb_typeof(metadata) = 'object')
);

create index obligations_account_idx
on accounting.obligations (organization_id, entity_id, account_id);

create trigger obligations_touch_updated_at before update on accounting.obligations
for each row execute function private.touch_updated_at();

comment on table accounting.obligations is
  'What is expected to be due, once or again and again (data_model_reference: obligations).';
comment on column accounting.obligations.organization_id is 'The organization.';
comment on column accounting.obligations.obligation_id is 'Id of the obligation.';
comment on column accounting.obligations.entity_id is 'Whose obligation it is.';
comment on column accounting.obligations.source_system is 'Who states it.';
comment on column accounting.obligations.name is 'What it is, 1 to 255 characters.';
comment on column accounting.obligations.account_id is 'The account it concerns, if any.';
comment on column accounting.obligations.cadence is 'monthly, annual or custom.';
comment on column accounting.obligations.expected_amount is
  'The amount that is expected, US dollars, 4 decimals.';
comment on column accounting.obligations.variability_flag is 'True where the amount varies.';
comment on column accounting.obligations.next_due_date is 'When it is due next.';
comment on column accounting.obligations.due_day is
  'The day of the month it falls due, 1 to 31; in a shorter month the last.';
comment on column accounting.obligations.metadata is
  'Whatever else is known of it, an object. interval_days: how often a custom one comes again.';
comment on column accounting.obligations.active is
  'False once it is over; stated again, it is true.';
comment on column accounting.obligations.created_at is 'When it was first stated.';
comment on column accounting.obligations.updated_at is 'When it was last changed.';

create table accounting.accounting_periods (
  organization_id uuid not null,
  period_id private.label not null default private.uuid_v7()::text,
  period_key text not null,
  entity_id private.label not null default 'entity-default',
  status text not null default 'open',
  actor_id private.label,
  correlation_id private.label,
  closed_at timestamptz,
  locked_at timestamptz,
  constraint accounting_periods_pkey primary key (organization_id, period_id),
  constraint accounting_periods_organization_id_entity_id_period_key_key
  unique (organization_id, entity_id, period_key),
  constraint accounting_periods_entity_fkey
  foreign key (organization_id, entity_id)
  references accounting.entities (organization_id, entity_id) on delete restrict,
  constraint accounting_periods_period_key_is_a_month
  check (period_key ~ '^[0-9]{4}-(0[1-9]|1[0-2])$'),
  constraint accounting_periods_status_is_known check (status in ('open', 'closed', 'locked')),
  constraint accounting_periods_times_are_those_of_the_status
  check ((closed_at is null) = (status = 'open') and (locked_at is null) = (status <> 'locked'))
);

comment on table accounting.accounting_periods is
  'Months of each entity and whether they are closed (data_model_reference: accounting_periods). '
  'A month without a row is open.';
comment on column accounting.accounting_periods.organization_id is 'The organization.';
comment on column accounting.accounting_periods.period_id is 'Id of the period.';
comment on column accounting.accounting_periods.period_key is 'The month: YYYY-MM.';
comment on column accounting.accounting_periods.entity_id is 'Whose books.';
comment on column accounting.accounting_periods.status is
  'open: anything is booked. closed: adjusting entries only. locked: nothing but by override and '
  'approval.';
comment on column accounting.accounting_periods.actor_id is 'Who changed the status last.';
comment on column accounting.accounting_periods.correlation_id is
  'What that change belonged to, as the caller said.';
comment on column accounting.accounting_periods.closed_at is 'When it was closed; null while open.';
comment on column accounting.accounting_periods.locked_at is 'When it was locked, if it is.';

-- sql/accounting/approval_tables.sql

-- What needs approval, what waits for it, and who decided (data_model_reference).

create table accounting.policy_rules (
  organization_id uuid not null,
  rule_id private.label not null default private.uuid_v7()::text,
  priority integer not null,
  tool_name private.label,
  entity_id private.label,
  transaction_category private.label,
  risk_band private.label,
  model private.label,
  velocity_limit_count integer,
  velocity_window_seconds integer,
  threshold_amount private.usd not null,
  required_approvals integer not null default 1,
  allows_asserted boolean not null default false,
  active boolean not null default true,
  recent_uses timestamptz[] not null default '{}',
  metadata jsonb not null default '{}',
  created_at timestamptz not null default private.clock_now(),
  updated_at timestamptz not null default private.clock_now(),
  constraint policy_rules_pkey primary key (organization_id, rule_id),
  constraint policy_rules_organization_id_fkey
  foreign key (organization_id) references tenancy.organizations (id) on delete restrict,
  constraint policy_rules_entity_fkey
  foreign key (organization_id, entity_id)
  references accounting.entities (organization_id, entity_id) on delete restrict,
  constraint policy_rules_model_is_of_ai_spend
  check (model is null or coalesce(tool_name, '') = 'authorize_spend'),
  constraint policy_rules_required_approvals_is_from_1 check (required_approvals >= 1),
  constraint policy_rules_velocity_is_whole
  check ((velocity_limit_count is null) = (velocity_window_seconds is null)),
  constraint policy_rules_velocity_is_positive
  check (velocity_limit_count between 1 and 10000 and velocity_window_seconds >= 1),
  constraint policy_rules_metadata_is_an_object check (jsonb_typeof(metadata) = 'object')
);

create index policy_rules_priority_idx
on accounting.policy_rules (organization_id, priority, rule_id collate "C") where active;
create index policy_rules_entity_idx on accounting.policy_rules (organization_id, entity_id);

create trigger policy_rules_touch_updated_at before update on accounting.policy_rules
for each row when (old.recent_uses = new.recent_uses)
execute function private.touch_updated_at();
create trigger policy_rules_reject_delete before delete on accounting.policy_rules
for each row execute function private.reject_mutation();
create trigger policy_rules_reject_truncate before truncate on accounting.policy_rules
for each statement execute function private.reject_mutation();

comment on table accounting.policy_rules is
  'Which writes need approval (data_model_reference: policy_rules). The first rule that matches, '
  'by priority and rule_id, decides; null matches anything. A bundle has the entity, category and '
  'band it states; a call of a model has the entity entity-default and neither category nor band.';
comment on column accounting.policy_rules.organization_id is 'The organization.';
comment on column accounting.policy_rules.rule_id is 'Id of the rule.';
comment on column accounting.policy_rules.priority is 'Lowest first; equal ones by rule_id.';
comment on column accounting.policy_rules.tool_name is
  'Which call it is about: record_transaction_bundle, authorize_spend; null for any.';
comment on column accounting.policy_rules.entity_id is 'Whose books; null for any.';
comment on column accounting.policy_rules.transaction_category is
  'Which category of bundle; null for any.';
comment on column accounting.policy_rules.risk_band is 'Which band of risk; null for any.';
comment on column accounting.policy_rules.model is
  'Of AI spend: which model, by its listed name; null for any.';
comment on column accounting.policy_rules.velocity_limit_count is
  'How many it lets pass within the window; more count as above the threshold.';
comment on column accounting.policy_rules.velocity_window_seconds is 'The window, seconds.';
comment on column accounting.policy_rules.threshold_amount is
  'Strictly above this amount approval is needed, US dollars.';
comment on column accounting.policy_rules.required_approvals is
  'How many different persons must approve.';
comment on column accounting.policy_rules.allows_asserted is
  'True where approvers whom a server role names count.';
comment on column accounting.policy_rules.active is
  'False for a rule that was retired: it matches nothing, and is kept for what it asked of others.';
comment on column accounting.policy_rules.recent_uses is
  'Of a rule with a velocity limit: when it let something pass, as far as its window reaches back. '
  'Whoever is counted changes the row, so that nobody counts by an older snapshot.';
comment on column accounting.policy_rules.metadata is 'Whatever else is known of it, an object.';
comment on column accounting.policy_rules.created_at is 'When it was set.';
comment on column accounting.policy_rules.updated_at is 'When it was last changed.';

create table accounting.approval_proposals (
  organization_id uuid not null,
  proposal_id private.label not null default private.uuid_v7()::text,
  tool_name private.label not null,
  source_system private.label not null,
  external_id private.label not null,
  correlation_id private.label not null,
  input_hash private.sha256_hex not null,
  policy_threshold_amount private.usd not null,
  impact_amount private.usd_sum not null,
  request_payload text not null,
  status text not null default 'proposed',
  approved_transaction_id private.label,
  response_payload text,
  output_hash private.sha256_hex,
  entity_id private.label not null default 'entity-default',
  matched_rule_id private.label,
  required_approvals integer not null default 1,
  proposed_by private.label not null,
  authn_method text not null,
  created_at timestamptz not null default private.clock_now(),
  decided_at timestamptz,
  approved_until timestamptz,
  constraint approval_proposals_pkey primary key (organization_id, proposal_id),
  constraint approval_proposals_organization_id_proposal_id_proposed_by_key
  unique (organization_id, proposal_id, proposed_by),
  constraint approval_proposals_tool_name_source_system_external_id_key
  unique (organization_id, tool_name, source_system, external_id),
  constraint approval_proposals_entity_fkey
  foreign key (organization_id, entity_id)
  references accounting.entities (organization_id, entity_id) on delete restrict,
  constraint approval_proposals_transaction_fkey
  foreign key (organization_id, approved_transaction_id)
  references accounting.ledger_transactions (organization_id, transaction_id) on delete restrict,
  constraint approval_proposals_rule_fkey
  foreign key (organization_id, matched_rule_id)
  references accounting.policy_rules (organization_id, rule_id) on delete restrict,
  constraint approval_proposals_status_is_known
  check (status in ('proposed', 'rejected', 'committed')),
  constraint approval_proposals_required_approvals_is_from_1 check (required_approvals >= 1),
  constraint approval_proposals_authn_method_is_known check (authn_method in ('jwt', 'asserted')),
  constraint approval_proposals_end_is_known
  check ((decided_at is null) = (status = 'proposed')),
  constraint approval_proposals_gate_opens_for_approved_ai_spend
  check ((approved_until is not null) = (tool_name = 'authorize_spend' and status = 'committed')),
  constraint approval_proposals_transaction_follows_commit
  check (approved_transaction_id is null or status = 'committed'),
  constraint approval_proposals_output_hash_is_of_the_response
  check (
    (output_hash is null) = (response_payload is null)
    and output_hash = private.content_hash(response_payload)
  )
);

create index approval_proposals_entity_idx
on accounting.approval_proposals (organization_id, entity_id);
create index approval_proposals_transaction_idx
on accounting.approval_proposals (organization_id, approved_transaction_id);
create index approval_proposals_rule_idx
on accounting.approval_proposals (organization_id, matched_rule_id, created_at);

-- What was asked for stays as it was asked for; it is decided once.
create function private.guard_proposal()
returns trigger
language plpgsql
volatile
set search_path = pg_catalog, pg_temp
as $$
declare
  v_decided constant text[] := array[
    'status', 'decided_at', 'approved_until', 'approved_transaction_id', 'required_approvals',
    'response_payload', 'output_hash'
  ];
begin
  if old.status <> 'proposed' or to_jsonb(old) - v_decided <> to_jsonb(new) - v_decided then
    perform private.raise_error(
      '23001',
      jsonb_build_object('table', 'accounting.approval_proposals', 'proposal_id', old.proposal_id)
    );
  end if;
  return new;
end
$$;

comment on function private.guard_proposal() is
  'Trigger: a proposal is decided once, and nothing else of it changes. Errors: 23001.';

create trigger approval_proposals_guard before update on accounting.approval_proposals
for each row execute function private.guard_proposal();
create trigger approval_proposals_reject_delete before delete on accounting.approval_proposals
for each row execute function private.reject_mutation();
create trigger approval_proposals_reject_truncate before truncate on accounting.approval_proposals
for each statement execute function private.reject_mutation();

comment on table accounting.approval_proposals is
  'Writes that wait for approval, and what became of them (data_model_reference: '
  'approval_proposals).';
comment on column accounting.approval_proposals.organization_id is 'The organization.';
comment on column accounting.approval_proposals.proposal_id is 'Id of the proposal.';
comment on column accounting.approval_proposals.tool_name is 'The call that was made.';
comment on column accounting.approval_proposals.source_system is
  'Who made it; tallystick for a call of a model.';
comment on column accounting.approval_proposals.external_id is
  'Its id there: made again, it is answered as it was. Of a call of a model the proposal''s own '
  'id, as its request id may have several proposals, one after the other.';
comment on column accounting.approval_proposals.correlation_id is
  'What it belongs to, as the caller says; of a call of a model its request id.';
comment on column accounting.approval_proposals.input_hash is
  'SHA-256 of the request, without its correlation_id.';
comment on column accounting.approval_proposals.policy_threshold_amount is
  'The threshold of the rule that asked for approval, US dollars.';
comment on column accounting.approval_proposals.impact_amount is
  'Its amount, US dollars: the sum of postings above 0, or what a call of a model asked to hold. '
  'An approved call holds no more than this.';
comment on column accounting.approval_proposals.request_payload is
  'The request as canonical text.';
comment on column accounting.approval_proposals.status is 'proposed, rejected or committed.';
comment on column accounting.approval_proposals.approved_transaction_id is
  'The transaction it became, if it did.';
comment on column accounting.approval_proposals.response_payload is
  'The response to whoever makes the request again, byte for byte; a rejection changes it once.';
comment on column accounting.approval_proposals.output_hash is 'SHA-256 of response_payload.';
comment on column accounting.approval_proposals.entity_id is 'Whose books.';
comment on column accounting.approval_proposals.matched_rule_id is
  'The rule that asked for approval; null where a locked period did.';
comment on column accounting.approval_proposals.required_approvals is
  'How many different persons must approve, by the rule that asked; once committed, how many had '
  'to by the rule of that time.';
comment on column accounting.approval_proposals.proposed_by is
  'Who proposed it: user:<id> or service:<name>. They never approve it.';
comment on column accounting.approval_proposals.authn_method is
  'How the proposer is known: jwt, or asserted by a server role.';
comment on column accounting.approval_proposals.created_at is 'When it was proposed.';
comment on column accounting.approval_proposals.decided_at is
  'When it was committed or rejected; null while it waits.';
comment on column accounting.approval_proposals.approved_until is
  'Of an approved call of a model: until when its request id may be used to make it.';

-- One person, whoever names them, and however it is written: signed in, or named by a server.
create function private.person_of(p_actor_id text)
returns text
language sql
immutable
set search_path = pg_catalog, pg_temp
as $$
  select regexp_replace(
    lower(p_actor_id),
    '^([\s\u00A0\u2000-\u200F\u3000\uFEFF]|(user|service):)+|[\s\u00A0\u2000-\u200F\u3000\uFEFF]+$',
    '', 'g'
  )
$$;

comment on function private.person_of(text) is
  'The person an actor id names, however they came: without user: and service:, without spaces '
  'around, in lower case.';

create table accounting.approval_decisions (
  organization_id uuid not null,
  decision_id private.label not null default private.uuid_v7()::text,
  proposal_id private.label not null,
  proposed_by private.label not null,
  action text not null,
  correlation_id private.label not null,
  reason text,
  approver_id private.label not null,
  authn_method text not null,
  decided_at timestamptz not null default private.clock_now(),
  xact_id xid8 not null default pg_current_xact_id(),
  constraint approval_decisions_pkey primary key (organization_id, decision_id),
  constraint approval_decisions_proposal_id_approver_id_key
  unique (organization_id, proposal_id, approver_id),
  constraint approval_decisions_proposal_fkey
  foreign key (organization_id, proposal_id, proposed_by)
  references accounting.approval_proposals (organization_id, proposal_id, proposed_by)
  on delete restrict,
  constraint approval_decisions_action_is_known check (action in ('approve', 'reject')),
  constraint approval_decisions_proposer_does_not_approve
  check (action <> 'approve' or private.person_of(approver_id) <> private.person_of(proposed_by)),
  constraint approval_decisions_authn_method_is_known check (authn_method in ('jwt', 'asserted'))
);

create index approval_decisions_xact_id_idx on accounting.approval_decisions (xact_id);
create index approval_decisions_proposal_idx
on accounting.approval_decisions (organization_id, proposal_id, proposed_by);

create trigger approval_decisions_reject_mutation
before update or delete on accounting.approval_decisions
for each row execute function private.reject_mutation();
create trigger approval_decisions_reject_truncate before truncate on accounting.approval_decisions
for each statement execute function private.reject_mutation();

comment on table accounting.approval_decisions is
  'Who approved or rejected which proposal, append-only (data_model_reference: '
  'approval_decisions). A person decides once.';
comment on column accounting.approval_decisions.organization_id is 'The organization.';
comment on column accounting.approval_decisions.decision_id is 'Id of the decision.';
comment on column accounting.approval_decisions.proposal_id is 'The proposal.';
comment on column accounting.approval_decisions.proposed_by is
  'Who proposed it, who therefore is not the one who approves.';
comment on column accounting.approval_decisions.action is 'approve or reject.';
comment on column accounting.approval_decisions.correlation_id is
  'What it belongs to, as the caller says.';
comment on column accounting.approval_decisions.reason is 'Why, if it was said.';
comment on column accounting.approval_decisions.approver_id is
  'Who decided: user:<id> or service:<name>.';
comment on column accounting.approval_decisions.authn_method is
  'How they are known: jwt, or asserted by a server role.';
comment on column accounting.approval_decisions.decided_at is 'When.';
comment on column accounting.approval_decisions.xact_id is 'The transaction that wrote it.';

select private.seal_ledger('accounting.approval_decisions', 'decided_at', array['reason']);

-- sql/accounting/billing_tables.sql

-- The seam between billing and the books: which account each line of a posting is on, what rounding
-- has left over, and which days of usage are posted.

create table accounting.account_map (
  organization_id uuid not null,
  line text not null,
  entity_id private.label not null default 'entity-default',
  account_id private.label not null,
  updated_at timestamptz not null default private.clock_now(),
  constraint account_map_pkey primary key (organization_id, line),
  constraint account_map_account_fkey
  foreign key (organization_id, entity_id, account_id)
  references accounting.accounts (organization_id, entity_id, account_id) on delete restrict,
  constraint account_map_line_is_known
  check (
    line in (
      'cash', 'receivable', 'customer_credits', 'accounts_payable', 'revenue', 'late_usage',
      'breakage', 'promo_expense', 'adjustment', 'provider_cost'
    )
  ),
  -- A bundle belongs to one entity.
  constraint account_map_is_of_the_default_entity check (entity_id = 'entity-default')
);

create index account_map_account_idx
on accounting.account_map (organization_id, entity_id, account_id);

create trigger account_map_reject_delete before delete on accounting.account_map
for each row execute function private.reject_mutation();
create trigger account_map_reject_truncate before truncate on accounting.account_map
for each statement execute function private.reject_mutation();

comment on table accounting.account_map is
  'On which account each line of what billing posts is booked. Filled with accounts of their own '
  'when the first is posted; accounting.set_account_map names others.';
comment on column accounting.account_map.organization_id is 'The organization.';
comment on column accounting.account_map.line is
  'cash, receivable, customer_credits, accounts_payable, revenue, late_usage, breakage, '
  'promo_expense, adjustment or provider_cost. Postings of the system carry it as their memo.';
comment on column accounting.account_map.entity_id is 'In whose books: those of entity-default.';
comment on column accounting.account_map.account_id is 'The account.';
comment on column accounting.account_map.updated_at is 'Since when it is that account.';

create table accounting.rounding_carries (
  organization_id uuid not null,
  entity_id private.label not null default 'entity-default',
  debit_line text not null,
  credit_line text not null,
  carry_usd private.usd_balance not null default 0,
  constraint rounding_carries_pkey
  primary key (organization_id, entity_id, debit_line, credit_line),
  constraint rounding_carries_entity_fkey
  foreign key (organization_id, entity_id)
  references accounting.entities (organization_id, entity_id) on delete restrict,
  constraint rounding_carries_flow_is_known
  check (
    (debit_line, credit_line) in (
      ('cash', 'customer_credits'), ('customer_credits', 'revenue'), ('promo_expense', 'revenue'),
      ('customer_credits', 'late_usage'), ('promo_expense', 'late_usage'),
      ('receivable', 'revenue'), ('customer_credits', 'receivable'),
      ('promo_expense', 'receivable'), ('customer_credits', 'breakage'),
      ('adjustment', 'customer_credits'), ('provider_cost', 'accounts_payable')
    )
  )
);

create trigger rounding_carries_reject_delete before delete on accounting.rounding_carries
for each row execute function private.reject_mutation();
create trigger rounding_carries_reject_truncate before truncate on accounting.rounding_carries
for each statement execute function private.reject_mutation();

comment on table accounting.rounding_carries is
  'What billing moved from one line to another and the books, which have 4 decimals, do not show '
  'yet: books and carries together are the ledger, exactly. One row for each two lines, so that '
  'both are rounded alike and every bundle is in balance.';
comment on column accounting.rounding_carries.organization_id is 'The organization.';
comment on column accounting.rounding_carries.entity_id is 'In whose books.';
comment on column accounting.rounding_carries.debit_line is 'The line that is debited.';
comment on column accounting.rounding_carries.credit_line is 'The line that is credited.';
comment on column accounting.rounding_carries.carry_usd is
  'US dollars still to be posted between them; below 0: posted too much. Within 0.0001.';

create table accounting.provider_cost_days (
  organization_id uuid not null,
  day date not null,
  usage_usd private.usd_sum not null default 0,
  cost_usd private.usd_sum not null default 0,
  posting_count integer not null default 0,
  posted_at timestamptz not null,
  constraint provider_cost_days_pkey primary key (organization_id, day),
  constraint provider_cost_days_organization_id_fkey
  foreign key (organization_id) references tenancy.organizations (id) on delete restrict,
  constraint provider_cost_days_are_finite check (isfinite(day)),
  constraint provider_cost_days_posting_count_counts_from_0 check (posting_count >= 0)
);

create trigger provider_cost_days_reject_delete before delete on accounting.provider_cost_days
for each row execute function private.reject_mutation();
create trigger provider_cost_days_reject_truncate before truncate on accounting.provider_cost_days
for each statement execute function private.reject_mutation();

comment on table accounting.provider_cost_days is
  'Days whose provider cost is in the books, and how much of it: what lands later is the '
  'difference.';
comment on column accounting.provider_cost_days.organization_id is 'The organization.';
comment on column accounting.provider_cost_days.day is
  'Calendar day of the usage in the organization''s time zone.';
comment on column accounting.provider_cost_days.usage_usd is
  'Cost of the usage that was posted, markup included, US dollars.';
comment on column accounting.provider_cost_days.cost_usd is
  'What the provider asks for it, without markup: what was posted, exactly, US dollars.';
comment on column accounting.provider_cost_days.posting_count is
  'How often something was posted for the day: the first time, and whenever more had landed.';
comment on column accounting.provider_cost_days.posted_at is 'When that was last.';

-- sql/accounting/calls.sql

-- Governed calls: who acts, what a refusal looks like, and the event that each call leaves.

create type private.actor as (actor_id text, authn_method text);

comment on type private.actor is 'Who acts, and how that is known: jwt, or asserted by a server.';

-- A signed-in person acts as themselves. A server role says for whom it acts; unless it does, for
-- itself.
create function private.acting(p_actor text default null)
returns private.actor
language plpgsql
stable
set search_path = pg_catalog, pg_temp
as $$
begin
  if private.is_trusted_caller() then
    return row(
      private.assert_text(
        'p_actor',
        'service:' || private.assert_text('p_actor', coalesce(p_actor, private.caller_role()))
      ),
      'asserted'
    )::private.actor;
  elsif p_actor is not null then
    perform private.raise_error('42501', jsonb_build_object('actor', p_actor));
  end if;
  return row('user:' || auth.uid()::text, 'jwt')::private.actor;
end
$$;

comment on function private.acting(text) is
  'Who acts: user:<id> for a signed-in person, service:<p_actor> for a server role. Errors: 22023, '
  '42501 for a person who names another.';

-- Metadata: an object.
create function private.assert_object(p_argument text, p_value jsonb)
returns jsonb
language plpgsql
stable
set search_path = pg_catalog, pg_temp
as $$
begin
  if jsonb_typeof(p_value) is distinct from 'object' then
    perform private.reject_argument(p_argument, 'must be an object');
  end if;
  return p_value;
end
$$;

comment on function private.assert_object(text, jsonb) is
  'Refuses anything but a JSON object. Errors: 22023.';

-- An amount as texts of the books show it.
create function private.book_text(p_amount numeric)
returns text
language plpgsql
immutable
set search_path = pg_catalog, pg_temp
as $$
begin
  return p_amount::numeric(40, 4)::text;
end
$$;

comment on function private.book_text(numeric) is 'Decimal text with 4 decimals.';

-- A refusal that is remembered: it is returned, as raising it would undo the event that tells of
-- it.
create function private.refusal(
  p_correlation_id text,
  p_code text,
  p_message text,
  p_detail text,
  p_hint text
)
returns text
language plpgsql
immutable
set search_path = pg_catalog, pg_temp
as $$
begin
  return private.canonical_text(
    jsonb_build_object(
      'correlation_id', p_correlation_id,
      'error_code', p_code,
      'error_message', p_message,
      'facts', coalesce(nullif(p_detail, ''), '{}')::jsonb,
      'hint', nullif(p_hint, ''),
      'status', 'refused'
    )
  );
end
$$;

comment on function private.refusal(text, text, text, text, text) is
  'The response of a governed call that was refused: code, message, facts and hint of an error.';

-- Tells of a governed call, in its transaction: where this cannot be written, nothing is.
create function private.log_call(
  p_organization_id uuid,
  p_tool_name text,
  p_correlation_id text,
  p_input_hash text,
  p_response text,
  p_actor private.actor,
  p_started_at timestamptz,
  p_status text,
  p_error_code text default null,
  p_violation_code text default null
)
returns void
language plpgsql
volatile
set search_path = pg_catalog, pg_temp
as $$
declare
  v_now constant timestamptz := private.clock_now();
begin
  insert into audit.event_log (
    organization_id, tool_name, correlation_id, input_hash, output_hash, event_timestamp,
    duration_ms, status, error_code, error_message, actor_id, authn_method, authorization_result,
    violation_code
  ) values (
    p_organization_id, p_tool_name, p_correlation_id, p_input_hash,
    private.content_hash(p_response), v_now,
    greatest(0, floor(extract(epoch from v_now - p_started_at) * 1000)), p_status, p_error_code,
    (select e.message from public.tallystick_errors as e where e.code = p_error_code),
    p_actor.actor_id, p_actor.authn_method,
    case when p_error_code in ('42501', 'TS412', 'TS428', 'TS429') then 'denied' else 'allowed' end,
    coalesce(
      p_violation_code,
      (select e.name from public.tallystick_errors as e where e.code = p_error_code)
    )
  );
end
$$;

comment on function private.log_call(
  uuid, text, text, text, text, private.actor, timestamptz, text, text, text
) is
  'Writes the event of a governed call: ok, refused, error, replayed or proposed.';

-- Tells of a change that has no response of its own: what was asked for, and the row or rows it
-- made. They are written in UTC, so that they are hashed the same wherever the session is.
create function private.log_change(
  p_organization_id uuid,
  p_tool_name text,
  p_correlation_id text,
  p_asked jsonb,
  p_made anyelement,
  p_actor private.actor,
  p_started_at timestamptz
)
returns void
language plpgsql
volatile
set search_path = pg_catalog, pg_temp
set timezone = 'UTC'
as $$
begin
  perform private.log_call(
    p_organization_id, p_tool_name, coalesce(p_correlation_id, private.uuid_v7()::text),
    private.content_hash(private.canonical_text(p_asked)),
    private.canonical_text(to_jsonb(p_made)), p_actor, p_started_at, 'ok'
  );
end
$$;

comment on function private.log_change(
  uuid, text, text, jsonb, anyelement, private.actor, timestamptz
) is
  'Writes the event of a governed call that returns the row it made, or the array of them.';

-- sql/accounting/accounts.sql

-- Entities and their accounts.

-- An organization is born with an entity.
create function private.open_books()
returns trigger
language plpgsql
volatile
security definer -- writes entities, which no role may write itself
set search_path = pg_catalog, pg_temp
as $$
begin
  insert into accounting.entities (organization_id, entity_id, code, name)
  values (new.id, 'entity-default', 'DEFAULT', 'Default entity');
  return null;
end
$$;

comment on function private.open_books() is
  'Trigger: gives a new organization its default entity.';

create trigger organizations_open_books after insert on tenancy.organizations
for each row execute function private.open_books();

insert into accounting.entities (organization_id, entity_id, code, name)
select
  o.id as organization_id,
  'entity-default' as entity_id,
  'DEFAULT' as code,
  'Default entity' as name
from tenancy.organizations as o;

-- Locks an organization's forest of accounts. The row is updated, not only locked: a transaction
-- with an older snapshot then fails with 40001 instead of missing another's move.
create function private.lock_forest(p_organization_id uuid)
returns void
language plpgsql
volatile
set search_path = pg_catalog, pg_temp
as $$
begin
  insert into private.account_forests as f (organization_id)
  values (p_organization_id)
  on conflict (organization_id) do update set change_count = f.change_count + 1;
end
$$;

comment on function private.lock_forest(uuid) is
  'Locks the accounts of an organization against whoever else moves one.';

-- Accounts form a forest: none is below itself.
--
-- Locks the forest where an account is moved.
create function private.keep_forest()
returns trigger
language plpgsql
volatile
set search_path = pg_catalog, pg_temp
as $$
declare
  v_above text := new.parent_account_id;
begin
  if tg_op = 'UPDATE' then
    perform private.lock_forest(new.organization_id);
  end if;
  while v_above is not null
  loop
    if v_above = new.account_id then
      perform private.reject_argument('parent_account_id', 'must not be below the account itself');
    end if;
    select a.parent_account_id into v_above
    from accounting.accounts as a
    where a.organization_id = new.organization_id and a.account_id = v_above;
  end loop;
  return new;
end
$$;

comment on function private.keep_forest() is
  'Trigger: refuses to put an account below itself. Errors: 22023.';

create trigger accounts_keep_forest
before insert or update of parent_account_id, account_id on accounting.accounts
for each row when (new.parent_account_id is not null) execute function private.keep_forest();

-- The privileged half of accounting.set_entity.
create function private.set_entity(
  p_organization_id uuid,
  p_code text,
  p_name text,
  p_metadata jsonb,
  p_entity_id text,
  p_correlation_id text,
  p_actor text
)
returns accounting.entities
language plpgsql
volatile
security definer -- writes entities and the event log, which no role may write itself
set search_path = pg_catalog, pg_temp
as $$
declare
  v_started_at constant timestamptz := private.clock_now();
  v_actor private.actor;
  v_entity accounting.entities;
begin
  perform private.assert_member(p_organization_id, array['owner', 'admin', 'finance']);
  v_actor := private.acting(p_actor);
  perform private.assert_text('p_code', p_code);
  perform private.assert_text('p_name', p_name);
  perform private.assert_object('p_metadata', p_metadata);
  if p_entity_id is not null then
    perform private.assert_text('p_entity_id', p_entity_id);
  end if;
  insert into accounting.entities as e (organization_id, entity_id, code, name, metadata)
  values (
    p_organization_id, coalesce(p_entity_id, private.uuid_v7()::text), p_code, p_name, p_metadata
  )
  on conflict (organization_id, code)
  do update set name = excluded.name, metadata = excluded.metadata
  where p_entity_id is null or e.entity_id = p_entity_id
  returning * into v_entity;
  if v_entity.entity_id is null then
    perform private.reject_argument('p_entity_id', 'must be that of the code');
  end if;
  perform private.log_change(
    p_organization_id, 'set_entity', p_correlation_id,
    jsonb_build_object('code', p_code, 'name', p_name, 'metadata', p_metadata),
    v_entity, v_actor, v_started_at
  );
  return v_entity;
exception
  when unique_violation then -- another code has the id
    perform private.reject_argument('p_entity_id', 'must not be that of another entity');
    return null;
end
$$;

comment on function private.set_entity(uuid, text, text, jsonb, text, text, text) is
  'Core of accounting.set_entity.';

-- Opens an entity, or renames it.
create function accounting.set_entity(
  p_organization_id uuid,
  p_code text,
  p_name text,
  p_metadata jsonb default '{}',
  p_entity_id text default null,
  p_correlation_id text default null,
  p_actor text default null
)
returns accounting.entities
language sql
volatile
set search_path = pg_catalog, pg_temp
as $$
  select * from private.set_entity(
    p_organization_id, p_code, p_name, p_metadata, p_entity_id, p_correlation_id, p_actor
  )
$$;

comment on function accounting.set_entity(uuid, text, text, jsonb, text, text, text) is
  'Opens an entity with a code of its own, or gives the one that has it another name and metadata; '
  'returns it. p_entity_id: its id, where it should not be made up. For owners, admins, finance '
  'and server roles, which may name p_actor. Errors: 22023, 42501, TS404 for an '
  'unknown organization.';

-- The privileged half of accounting.set_account.
create function private.set_account(
  p_organization_id uuid,
  p_code text,
  p_name text,
  p_account_type text,
  p_parent_account_id text,
  p_entity_id text,
  p_metadata jsonb,
  p_account_id text,
  p_correlation_id text,
  p_actor text
)
returns accounting.accounts
language plpgsql
volatile
security definer -- writes accounts and the event log, which no role may write itself
set search_path = pg_catalog, pg_temp
as $$
declare
  v_started_at constant timestamptz := private.clock_now();
  v_actor private.actor;
  v_account accounting.accounts;
begin
  perform private.assert_member(p_organization_id, array['owner', 'admin', 'finance']);
  v_actor := private.acting(p_actor);
  perform private.assert_text('p_code', p_code);
  perform private.assert_text('p_name', p_name);
  perform private.assert_text('p_entity_id', p_entity_id);
  perform private.assert_object('p_metadata', p_metadata);
  if (p_account_type in ('asset', 'liability', 'equity', 'income', 'expense')) is not true then
    perform private.reject_argument(
      'p_account_type', 'must be asset, liability, equity, income or expense'
    );
  end if;
  if p_account_id is not null then
    perform private.assert_text('p_account_id', p_account_id);
  end if;
  if not exists (
    select from accounting.entities as e
    where e.organization_id = p_organization_id and e.entity_id = p_entity_id
  ) then
    perform private.raise_error('TS404', jsonb_build_object('entity_id', p_entity_id));
  elsif p_parent_account_id is not null and not exists (
    select from accounting.accounts as a
    where a.organization_id = p_organization_id
      and a.entity_id = p_entity_id
      and a.account_id = p_parent_account_id
  ) then
    perform private.raise_error(
      'TS404',
      jsonb_build_object('parent_account_id', p_parent_account_id, 'entity_id', p_entity_id)
    );
  end if;

  -- Before the account itself, as whoever moves another may need it as a parent.
  perform private.lock_forest(p_organization_id);
  insert into accounting.accounts as a (
    organization_id, account_id, entity_id, code, name, account_type, parent_account_id, metadata
  ) values (
    p_organization_id, coalesce(p_account_id, private.uuid_v7()::text), p_entity_id, p_code,
    p_name, p_account_type, p_parent_account_id, p_metadata
  )
  on conflict (organization_id, code)
  do update set
    name = excluded.name,
    account_type = excluded.account_type,
    parent_account_id = excluded.parent_account_id,
    metadata = excluded.metadata
  where a.entity_id = p_entity_id and (p_account_id is null or a.account_id = p_account_id)
  returning * into v_account;
  if v_account.account_id is null then
    perform private.reject_argument('p_code', 'must not be that of another account');
  end if;
  perform private.log_change(
    p_organization_id, 'set_account', p_correlation_id,
    jsonb_build_object(
      'code', p_code, 'name', p_name, 'account_type', p_account_type, 'entity_id', p_entity_id,
      'parent_account_id', p_parent_account_id, 'metadata', p_metadata
    ),
    v_account, v_actor, v_started_at
  );
  return v_account;
exception
  when unique_violation then -- another code has the id
    perform private.reject_argument('p_account_id', 'must not be that of another account');
    return null;
end
$$;

comment on function private.set_account(
  uuid, text, text, text, text, text, jsonb, text, text, text
) is
  'Core of accounting.set_account.';

-- What an account is does not change under what was booked on it, nor under the lines of the
-- account map that are booked there.
create function private.keep_account_type()
returns trigger
language plpgsql
volatile
set search_path = pg_catalog, pg_temp
as $$
begin
  -- Locked against postings and the account map, which hold the row: none comes in between.
  perform from accounting.accounts as a
  where a.organization_id = old.organization_id and a.account_id = old.account_id
  for update;
  if exists (
    select from accounting.ledger_postings as p
    where p.organization_id = old.organization_id
      and p.entity_id = old.entity_id
      and p.account_id = old.account_id
  ) or exists (
    select from accounting.account_map as m
    inner join private.book_lines() as l on l.line = m.line
    where m.organization_id = old.organization_id
      and m.entity_id = old.entity_id
      and m.account_id = old.account_id
      and new.account_type <> all(l.account_types)
  ) then
    perform private.raise_error(
      '23001', jsonb_build_object('account_id', old.account_id, 'account_type', old.account_type)
    );
  elsif current_setting('transaction_isolation') in ('repeatable read', 'serializable') then
    -- A posting does not update the account: one that an older snapshot misses raises nothing.
    perform private.raise_error(
      '40001',
      jsonb_build_object(
        'account_id', old.account_id,
        'transaction_isolation', current_setting('transaction_isolation')
      )
    );
  end if;
  return new;
end
$$;

comment on function private.keep_account_type() is
  'Trigger: an account with postings stays of its type, and one in the account map of a type that '
  'its lines take. Above READ COMMITTED no type changes. Errors: 23001, 40001.';

create trigger accounts_keep_account_type before update of account_type on accounting.accounts
for each row when (old.account_type <> new.account_type)
execute function private.keep_account_type();

-- Opens an account, renames or moves it.
create function accounting.set_account(
  p_organization_id uuid,
  p_code text,
  p_name text,
  p_account_type text,
  p_parent_account_id text default null,
  p_entity_id text default 'entity-default',
  p_metadata jsonb default '{}',
  p_account_id text default null,
  p_correlation_id text default null,
  p_actor text default null
)
returns accounting.accounts
language sql
volatile
set search_path = pg_catalog, pg_temp
as $$
  select * from private.set_account(
    p_organization_id, p_code, p_name, p_account_type, p_parent_account_id, p_entity_id,
    p_metadata, p_account_id, p_correlation_id, p_actor
  )
$$;

comment on function accounting.set_account(
  uuid, text, text, text, text, text, jsonb, text, text, text
) is
  'Opens an account with a code of its own, or gives the one that has it another name, type, '
  'parent and metadata; returns it. p_account_type: asset, liability, equity, income or expense. '
  'p_account_id: its id, where it should not be made up. For owners, admins, finance and server '
  'roles, which may name p_actor. Errors: 22023, also for a parent below the account, 42501, TS404 '
  'for an unknown organization, entity or parent, 23001 for another type once it has postings, or '
  'for one that its lines of the account map do not take, 40001 for any other type above READ '
  'COMMITTED, where a posting could be missed.';

-- sql/accounting/calendar.sql

-- Snapshots and obligations: what others state, and what is expected.

-- The entity of an account. Unknown ones are refused.
create function private.entity_of(p_organization_id uuid, p_account_id text)
returns text
language plpgsql
stable
set search_path = pg_catalog, pg_temp
as $$
declare
  v_entity_id text := (
    select a.entity_id
    from accounting.accounts as a
    where a.organization_id = p_organization_id and a.account_id = p_account_id
  );
begin
  if v_entity_id is null then
    perform private.raise_error('TS404', jsonb_build_object('account_id', p_account_id));
  end if;
  return v_entity_id;
end
$$;

comment on function private.entity_of(uuid, text) is
  'Whose account it is. Errors: TS404 for an unknown account.';

-- The privileged half of accounting.record_balance_snapshot.
create function private.record_balance_snapshot(
  p_organization_id uuid,
  p_source_system text,
  p_account_id text,
  p_snapshot_date date,
  p_balance numeric,
  p_source_artifact_id text,
  p_correlation_id text,
  p_actor text
)
returns accounting.balance_snapshots
language plpgsql
volatile
security definer -- writes snapshots and the event log, which no role may write itself
set search_path = pg_catalog, pg_temp
as $$
declare
  v_started_at constant timestamptz := private.clock_now();
  v_actor private.actor;
  v_snapshot accounting.balance_snapshots;
begin
  perform private.assert_member(p_organization_id, array['owner', 'admin', 'finance']);
  v_actor := private.acting(p_actor);
  perform private.assert_text('p_source_system', p_source_system);
  perform private.assert_day('p_snapshot_date', p_snapshot_date);
  perform private.assert_amount('p_balance', p_balance);
  if p_source_artifact_id is not null then
    perform private.assert_text('p_source_artifact_id', p_source_artifact_id);
  end if;
  insert into accounting.balance_snapshots (
    organization_id, entity_id, source_system, account_id, snapshot_date, balance,
    source_artifact_id
  ) values (
    p_organization_id, private.entity_of(p_organization_id, p_account_id), p_source_system,
    p_account_id, p_snapshot_date, private.round_half_even(p_balance, 4), p_source_artifact_id
  )
  on conflict (organization_id, entity_id, account_id, snapshot_date)
  do update set
    source_system = excluded.source_system,
    balance = excluded.balance,
    source_artifact_id = excluded.source_artifact_id,
    recorded_at = excluded.recorded_at
  returning * into v_snapshot;
  perform private.log_change(
    p_organization_id, 'record_balance_snapshot', p_correlation_id,
    jsonb_build_object(
      'source_system', p_source_system, 'account_id', p_account_id,
      'snapshot_date', p_snapshot_date, 'balance', private.book_text(v_snapshot.balance),
      'source_artifact_id', p_source_artifact_id
    ),
    v_snapshot, v_actor, v_started_at
  );
  return v_snapshot;
end
$$;

comment on function private.record_balance_snapshot(
  uuid, text, text, date, numeric, text, text, text
) is
  'Core of accounting.record_balance_snapshot.';

-- Keeps a balance as others state it; stated again, the later holds.
create function accounting.record_balance_snapshot(
  p_organization_id uuid,
  p_source_system text,
  p_account_id text,
  p_snapshot_date date,
  p_balance numeric,
  p_source_artifact_id text default null,
  p_correlation_id text default null,
  p_actor text default null
)
returns accounting.balance_snapshots
language sql
volatile
set search_path = pg_catalog, pg_temp
as $$
  select * from private.record_balance_snapshot(
    p_organization_id, p_source_system, p_account_id, p_snapshot_date, p_balance,
    p_source_artifact_id, p_correlation_id, p_actor
  )
$$;

comment on function accounting.record_balance_snapshot(
  uuid, text, text, date, numeric, text, text, text
) is
  'Keeps what others say an account had at the end of a day, US dollars, above 0 debit, rounded '
  'half even to 4 decimals; returns it. Stated again for the day, it is replaced. For owners, '
  'admins, finance and server roles, which may name p_actor. Errors: 22023, 42501, TS404.';

-- The privileged half of accounting.set_obligation.
create function private.set_obligation(
  p_organization_id uuid,
  p_source_system text,
  p_name text,
  p_cadence text,
  p_expected_amount numeric,
  p_next_due_date date,
  p_account_id text,
  p_variability_flag boolean,
  p_metadata jsonb,
  p_entity_id text,
  p_active boolean,
  p_correlation_id text,
  p_actor text
)
returns accounting.obligations
language plpgsql
volatile
security definer -- writes obligations and the event log, which no role may write itself
set search_path = pg_catalog, pg_temp
as $$
declare
  v_started_at constant timestamptz := private.clock_now();
  v_actor private.actor;
  v_entity_id text := p_entity_id;
  v_obligation accounting.obligations;
begin
  perform private.assert_member(p_organization_id, array['owner', 'admin', 'finance']);
  v_actor := private.acting(p_actor);
  perform private.assert_text('p_source_system', p_source_system);
  perform private.assert_text('p_name', p_name);
  perform private.assert_amount('p_expected_amount', p_expected_amount);
  perform private.assert_day('p_next_due_date', p_next_due_date);
  perform private.assert_object('p_metadata', p_metadata);
  if (p_cadence in ('monthly', 'annual', 'custom')) is not true then
    perform private.reject_argument('p_cadence', 'must be monthly, annual or custom');
  elsif p_metadata ? 'interval_days' and (
    jsonb_typeof(p_metadata -> 'interval_days') = 'number'
    and p_metadata ->> 'interval_days' ~ '^[1-9][0-9]{0,3}$'
  ) is not true then
    perform private.reject_argument('p_metadata', 'must have interval_days from 1 to 9999');
  end if;
  if p_account_id is not null then
    v_entity_id := private.entity_of(p_organization_id, p_account_id);
    if p_entity_id <> v_entity_id then
      perform private.reject_argument('p_entity_id', 'must be that of the account');
    end if;
  end if;
  v_entity_id := coalesce(v_entity_id, 'entity-default');
  if not exists (
    select from accounting.entities as e
    where e.organization_id = p_organization_id and e.entity_id = v_entity_id
  ) then
    perform private.raise_error('TS404', jsonb_build_object('entity_id', v_entity_id));
  end if;

  insert into accounting.obligations as o (
    organization_id, entity_id, source_system, name, account_id, cadence, expected_amount,
    variability_flag, next_due_date, due_day, metadata, active
  ) values (
    p_organization_id, v_entity_id, p_source_system, p_name, p_account_id, p_cadence,
    private.round_half_even(p_expected_amount, 4), coalesce(p_variability_flag, false),
    p_next_due_date, extract(day from p_next_due_date), p_metadata, coalesce(p_active, true)
  )
  on conflict (organization_id, source_system, name, account_id)
  do update set
    entity_id = coalesce(p_entity_id, o.entity_id),
    cadence = excluded.cadence,
    expected_amount = excluded.expected_amount,
    variability_flag = excluded.variability_flag,
    next_due_date = excluded.next_due_date,
    due_day = excluded.due_day,
    metadata = excluded.metadata,
    active = excluded.active
  returning * into v_obligation;
  perform private.log_change(
    p_organization_id, 'set_obligation', p_correlation_id,
    to_jsonb(v_obligation) - array['obligation_id', 'created_at', 'updated_at'],
    v_obligation, v_actor, v_started_at
  );
  return v_obligation;
end
$$;

comment on function private.set_obligation(
  uuid, text, text, text, numeric, date, text, boolean, jsonb, text, boolean, text, text
) is
  'Core of accounting.set_obligation.';

-- States an obligation; stated again, it is what was said last, and active again.
create function accounting.set_obligation(
  p_organization_id uuid,
  p_source_system text,
  p_name text,
  p_cadence text,
  p_expected_amount numeric,
  p_next_due_date date,
  p_account_id text default null,
  p_variability_flag boolean default false,
  p_metadata jsonb default '{}',
  p_entity_id text default null,
  p_active boolean default true,
  p_correlation_id text default null,
  p_actor text default null
)
returns accounting.obligations
language sql
volatile
set search_path = pg_catalog, pg_temp
as $$
  select * from private.set_obligation(
    p_organization_id, p_source_system, p_name, p_cadence, p_expected_amount, p_next_due_date,
    p_account_id, p_variability_flag, p_metadata, p_entity_id, p_active, p_correlation_id, p_actor
  )
$$;

comment on function accounting.set_obligation(
  uuid, text, text, text, numeric, date, text, boolean, jsonb, text, boolean, text, text
) is
  'States what will be due, US dollars, or restates it: one per source, name and account. '
  'p_cadence: monthly, annual or custom, which comes again after metadata.interval_days where that '
  'is stated. p_entity_id null: that of the account or, where there is none, the one it has, at '
  'first entity-default. An ended one is active again, unless p_active is false, which ends it. '
  'Returns it. For owners, admins, finance and server roles, which may name p_actor. Errors: '
  '22023, 42501, TS404.';

-- When an obligation is due next, from p_day on. The day of the month is kept over shorter months.
create function private.due_date(p_obligation accounting.obligations, p_day date)
returns date
language plpgsql
immutable
set search_path = pg_catalog, pg_temp
as $$
declare
  v_months constant integer := case p_obligation.cadence when 'annual' then 12 else 1 end;
  v_interval constant integer := (p_obligation.metadata ->> 'interval_days')::integer;
  v_due date := p_obligation.next_due_date;
  v_month date := date_trunc('month', p_obligation.next_due_date::timestamp);
begin
  if p_obligation.cadence = 'custom' then
    return v_due + v_interval * greatest(0, ceil((p_day - v_due)::numeric / v_interval))::integer;
  end if;
  while v_due < p_day
  loop
    v_month := v_month + make_interval(months => v_months);
    v_due := least(
      v_month + p_obligation.due_day - 1, (v_month + interval '1 month' - interval '1 day')::date
    );
  end loop;
  return v_due;
end
$$;

comment on function private.due_date(accounting.obligations, date) is
  'The first day from p_day on that an obligation is due; null for a custom one without interval.';

-- The privileged half of accounting.roll_obligations.
create function private.roll_obligations(
  p_organization_id uuid,
  p_day date,
  p_correlation_id text,
  p_actor text
)
returns setof accounting.obligations
language plpgsql
volatile
security definer -- writes obligations and the event log, which no role may write itself
set search_path = pg_catalog, pg_temp
as $$
declare
  v_started_at constant timestamptz := private.clock_now();
  v_actor private.actor;
  v_obligation accounting.obligations;
  v_rolled accounting.obligations[] := array[]::accounting.obligations[];
begin
  perform private.assert_member(p_organization_id, array['owner', 'admin', 'finance']);
  v_actor := private.acting(p_actor);
  perform private.assert_day('p_day', p_day);
  for v_obligation in
    select *
    from accounting.obligations as o
    where o.organization_id = p_organization_id
      and o.active
      and o.next_due_date < p_day
      and (o.cadence <> 'custom' or o.metadata ? 'interval_days')
    order by o.obligation_id
    for no key update
  loop
    update accounting.obligations as o
    set next_due_date = private.assert_day(
      'next_due_date', private.due_date(v_obligation, p_day)
    )
    where o.organization_id = p_organization_id and o.obligation_id = v_obligation.obligation_id
    returning * into v_obligation;
    v_rolled := v_rolled || v_obligation;
    return next v_obligation;
  end loop;
  perform private.log_change(
    p_organization_id, 'roll_obligations', p_correlation_id, jsonb_build_object('day', p_day),
    v_rolled, v_actor, v_started_at
  );
end
$$;

comment on function private.roll_obligations(uuid, date, text, text) is
  'Core of accounting.roll_obligations.';

-- Moves on what was due before a day. Idempotent: what is due later is left alone.
create function accounting.roll_obligations(
  p_organization_id uuid,
  p_day date,
  p_correlation_id text default null,
  p_actor text default null
)
returns setof accounting.obligations
language sql
volatile
set search_path = pg_catalog, pg_temp
as $$
  select * from private.roll_obligations(p_organization_id, p_day, p_correlation_id, p_actor)
$$;

comment on function accounting.roll_obligations(uuid, date, text, text) is
  'Sets next_due_date of each active obligation that was due before p_day to the first time from '
  'p_day on that it is due again; returns those. The day of the month is kept over shorter months; '
  'a custom one without interval_days stays. For owners, admins, finance and server roles, which '
  'may name p_actor. Errors: 22023, also where one would be due after the year 9999, 42501, '
  'TS404.';

-- sql/accounting/bundles.sql

-- Bundles: what is asked to be booked, read from JSON text and brought into one form.

create type private.leg as (account_id text, amount numeric, currency text, memo text);

comment on type private.leg is 'A posting to be: above 0 debit, below 0 credit.';

create type private.bundle as (
  source_system text,
  external_id text,
  transaction_date date,
  description text,
  correlation_id text,
  entity_id text,
  is_adjusting_entry boolean,
  adjusting_reason_code text,
  override_period_lock boolean,
  transaction_category text,
  risk_band text,
  reverses_transaction_id text,
  occurred_on date,
  legs private.leg []
);

comment on type private.bundle is 'A transaction to be, with its postings.';

-- An amount of the books: either sign, at most 12 decimals, within one trillion.
create function private.assert_amount(p_argument text, p_amount numeric)
returns numeric
language plpgsql
stable
set search_path = pg_catalog, pg_temp
as $$
begin
  perform private.assert_money(p_argument, abs(p_amount));
  return p_amount;
end
$$;

comment on function private.assert_amount(text, numeric) is
  'Refuses anything but a finite amount in US dollars of either sign with at most 12 decimals. '
  'Errors: 22023.';

-- Days: finite, of a year with four digits.
create function private.assert_day(p_argument text, p_day date)
returns date
language plpgsql
stable
set search_path = pg_catalog, pg_temp
as $$
begin
  if (p_day between '0001-01-01' and '9999-12-31') is not true then
    perform private.reject_argument(p_argument, 'must be a day from 0001-01-01 to 9999-12-31');
  end if;
  return p_day;
end
$$;

comment on function private.assert_day(text, date) is
  'Refuses a missing or infinite day. Errors: 22023.';

-- What a request is: an object that says what it belongs to.
create function private.parse_request(p_request text)
returns jsonb
language plpgsql
stable
set search_path = pg_catalog, pg_temp
as $$
declare
  v_facts jsonb;
begin
  begin
    v_facts := p_request::jsonb;
  exception
    when data_exception or program_limit_exceeded then null;
  end;
  if jsonb_typeof(v_facts) is distinct from 'object' then
    perform private.reject_argument('p_request', 'must be a JSON object');
  end if;
  perform private.assert_text('correlation_id', private.text_in(v_facts, 'correlation_id'));
  return v_facts;
end
$$;

comment on function private.parse_request(text) is
  'The object in a JSON text, with its correlation_id. Errors: 22023.';

-- The text under a key; null where there is none.
create function private.text_in(p_facts jsonb, p_key text)
returns text
language plpgsql
stable
set search_path = pg_catalog, pg_temp
as $$
begin
  if jsonb_typeof(p_facts -> p_key) not in ('string', 'null') then
    perform private.reject_argument(p_key, 'must be a text');
  end if;
  return p_facts ->> p_key;
end
$$;

comment on function private.text_in(jsonb, text) is
  'A text in an object, or null. Errors: 22023 for anything else.';

-- The name or key under a key of a request: 1 to 255 characters where there is one.
create function private.label_in(p_facts jsonb, p_key text)
returns text
language plpgsql
stable
set search_path = pg_catalog, pg_temp
as $$
declare
  v_text constant text := private.text_in(p_facts, p_key);
begin
  return case when v_text is not null then private.assert_text(p_key, v_text) end;
end
$$;

comment on function private.label_in(jsonb, text) is
  'A text of 1 to 255 characters in an object, or null. Errors: 22023.';

create function private.flag_in(p_facts jsonb, p_key text)
returns boolean
language plpgsql
stable
set search_path = pg_catalog, pg_temp
as $$
begin
  if jsonb_typeof(p_facts -> p_key) not in ('boolean', 'null') then
    perform private.reject_argument(p_key, 'must be true or false');
  end if;
  return coalesce((p_facts ->> p_key)::boolean, false);
end
$$;

comment on function private.flag_in(jsonb, text) is
  'True or false in an object; false where it is left out. Errors: 22023.';

create function private.day_in(p_facts jsonb, p_key text)
returns date
language plpgsql
stable
set search_path = pg_catalog, pg_temp
as $$
declare
  v_text constant text := private.text_in(p_facts, p_key);
begin
  if v_text !~ '^[0-9]{4}-[0-9]{2}-[0-9]{2}$' then
    perform private.reject_argument(p_key, 'must be a day: YYYY-MM-DD');
  end if;
  return v_text::date;
exception
  when datetime_field_overflow then
    perform private.reject_argument(p_key, 'must be a day of the calendar');
    return null;
end
$$;

comment on function private.day_in(jsonb, text) is
  'A day in an object, YYYY-MM-DD, or null. Errors: 22023.';

create function private.amount_in(p_facts jsonb, p_key text)
returns numeric
language plpgsql
stable
set search_path = pg_catalog, pg_temp
as $$
begin
  if jsonb_typeof(p_facts -> p_key) not in ('string', 'number')
    or p_facts ->> p_key !~ '^[+-]?[0-9]{1,40}([.][0-9]{1,40})?$' then
    perform private.reject_argument(p_key, 'must be a decimal number, or the text of one');
  end if;
  return private.assert_amount(p_key, (p_facts ->> p_key)::numeric);
end
$$;

comment on function private.amount_in(jsonb, text) is
  'An amount in an object, as text or number. Errors: 22023.';

-- Refuses keys that nobody reads: a misspelt one must not be left out in silence.
create function private.assert_keys(p_argument text, p_facts jsonb, p_keys text[])
returns void
language plpgsql
stable
set search_path = pg_catalog, pg_temp
as $$
declare
  v_unknown text;
begin
  select min(k.key) into v_unknown
  from jsonb_object_keys(p_facts) as k (key) where k.key <> all(p_keys);
  if v_unknown is not null then
    perform private.reject_argument(p_argument, 'must not have the key ' || v_unknown);
  end if;
end
$$;

comment on function private.assert_keys(text, jsonb, text[]) is
  'Refuses an object with other keys than p_keys. Errors: 22023.';

-- Rounds legs half even at 4 decimals. Legs that sum to 0 still do: where rounding each by itself
-- leaves a rest, it goes, 0.0001 at a time, to the legs that were rounded furthest the other way.
create function private.round_legs(p_legs private.leg[])
returns private.leg[]
language plpgsql
immutable
set search_path = pg_catalog, pg_temp
as $$
begin
  return (
    with rounded as (
      select
        l.account_id, l.amount, l.currency, l.memo, l.position,
        private.round_half_even(l.amount, 4) as whole
      from unnest(p_legs) with ordinality as l (account_id, amount, currency, memo, position)
    ),

    summed as (
      select
        r.*,
        case
          when sum(r.amount) over (partition by r.currency) = 0
            then sum(r.whole) over (partition by r.currency)
          else 0
        end as rest
      from rounded as r
    ),

    ranked as (
      select
        s.*,
        row_number() over (
          partition by s.currency order by (s.amount - s.whole) * sign(s.rest), s.position
        ) as rank
      from summed as s
    )

    select
      array_agg(
        row(
          k.account_id,
          case
            when k.rank <= abs(k.rest) * 10000 then k.whole - sign(k.rest) * 0.0001
            else k.whole
          end::numeric(24, 4),
          k.currency,
          k.memo
        )::private.leg
        order by k.position
      )
    from ranked as k
  );
end
$$;

comment on function private.round_legs(private.leg[]) is
  'Legs at 4 decimals: half even, and in balance where they were before.';

create function private.read_legs(p_postings jsonb)
returns private.leg[]
language plpgsql
stable
set search_path = pg_catalog, pg_temp
as $$
declare
  v_posting jsonb;
  v_legs private.leg[] := array[]::private.leg[];
  v_memo text;
begin
  if jsonb_typeof(p_postings) is distinct from 'array'
    or jsonb_array_length(p_postings) not between 2 and 1000 then
    perform private.reject_argument('postings', 'must be an array of 2 to 1000');
  end if;
  for v_posting in select * from jsonb_array_elements(p_postings)
  loop
    if jsonb_typeof(v_posting) <> 'object' then
      perform private.reject_argument('postings', 'must be objects');
    end if;
    perform private.assert_keys(
      'postings', v_posting, array['account_id', 'amount', 'currency', 'memo']
    );
    if coalesce(private.text_in(v_posting, 'currency'), 'USD') <> 'USD' then
      perform private.reject_argument('currency', 'must be USD');
    end if;
    v_memo := private.text_in(v_posting, 'memo');
    if length(v_memo) > 1000 then
      perform private.reject_argument('memo', 'must have at most 1000 characters');
    end if;
    v_legs := v_legs || row(
      private.assert_text('account_id', private.text_in(v_posting, 'account_id')),
      private.amount_in(v_posting, 'amount'), 'USD', v_memo
    )::private.leg;
  end loop;
  return private.round_legs(v_legs);
end
$$;

comment on function private.read_legs(jsonb) is
  'The postings of a request, rounded. Errors: 22023.';

-- Takes back a transaction: its postings with the other sign.
create function private.reversed_legs(p_organization_id uuid, p_transaction_id text)
returns private.leg[]
language plpgsql
stable
set search_path = pg_catalog, pg_temp
as $$
begin
  return (
    select
      array_agg(
        row(p.account_id, -p.amount::numeric, p.currency, p.memo)::private.leg order by p.position
      )
    from accounting.ledger_postings as p
    where p.organization_id = p_organization_id and p.transaction_id = p_transaction_id
  );
end
$$;

comment on function private.reversed_legs(uuid, text) is
  'The postings of a transaction with the other sign.';

-- The sum of postings above 0, per which policies decide.
create function private.bundle_amount(p_bundle private.bundle)
returns numeric
language plpgsql
immutable
set search_path = pg_catalog, pg_temp
as $$
begin
  return (select coalesce(sum(l.amount), 0) from unnest(p_bundle.legs) as l where l.amount > 0);
end
$$;

comment on function private.bundle_amount(private.bundle) is
  'What a bundle moves: the sum of its postings above 0.';

-- The one text of a bundle, whoever wrote it and however. Read again, it is the same bundle.
create function private.bundle_text(p_bundle private.bundle)
returns text
language plpgsql
immutable
set search_path = pg_catalog, pg_temp
as $$
begin
  return private.canonical_text(
    to_jsonb(p_bundle) - 'legs' || jsonb_build_object(
      'postings', (
        select
          jsonb_agg(
            jsonb_build_object(
              'account_id', l.account_id, 'amount', private.book_text(l.amount),
              'currency', l.currency, 'memo', l.memo
            )
            order by l.position
          )
        from unnest(p_bundle.legs) with ordinality as l (
          account_id, amount, currency, memo, position
        )
      )
    )
  );
end
$$;

comment on function private.bundle_text(private.bundle) is 'Canonical JSON text of a bundle.';

create function private.bundle_hash(p_bundle private.bundle)
returns text
language plpgsql
immutable
set search_path = pg_catalog, pg_temp
as $$
declare
  v_bundle private.bundle := p_bundle;
begin
  v_bundle.correlation_id := null;
  return private.content_hash(private.bundle_text(v_bundle));
end
$$;

comment on function private.bundle_hash(private.bundle) is
  'SHA-256 of the canonical text of a bundle, without its correlation_id.';

-- Refuses a bundle that nobody may post: out of balance, or no reversal of what it reverses.
create function private.assert_bundle(p_organization_id uuid, p_bundle private.bundle)
returns void
language plpgsql
stable
set search_path = pg_catalog, pg_temp
as $$
declare
  v_reversed accounting.ledger_transactions;
begin
  if (p_bundle.adjusting_reason_code is not null) <> p_bundle.is_adjusting_entry then
    perform private.reject_argument(
      'adjusting_reason_code', 'must be there for an adjusting entry, and for no other'
    );
  elsif p_bundle.reverses_transaction_id is not null then
    select * into v_reversed
    from accounting.ledger_transactions as t
    where t.organization_id = p_organization_id
      and t.entity_id = p_bundle.entity_id
      and t.transaction_id = p_bundle.reverses_transaction_id;
    if v_reversed.transaction_id is null then
      perform private.raise_error(
        'TS404',
        jsonb_build_object(
          'reverses_transaction_id', p_bundle.reverses_transaction_id,
          'entity_id', p_bundle.entity_id
        )
      );
    elsif v_reversed.source_system = 'tallystick' then
      perform private.reject_argument(
        'reverses_transaction_id', 'must not be what the system posted'
      );
    elsif (
      select array_agg(row(l.account_id, l.amount)::text) from unnest(p_bundle.legs) as l
    ) is distinct from (
      select array_agg(row(l.account_id, l.amount)::text)
      from unnest(
        private.reversed_legs(p_organization_id, p_bundle.reverses_transaction_id)
      ) as l
    ) then
      perform private.reject_argument('postings', 'must be those reversed, with the other sign');
    end if;
  end if;
  if exists (
    select from unnest(p_bundle.legs) as l group by l.currency having sum(l.amount) <> 0
  ) then
    perform private.reject_argument('postings', 'must sum to 0.0000');
  end if;
end
$$;

comment on function private.assert_bundle(uuid, private.bundle) is
  'Refuses a bundle out of balance, an adjusting entry without reason, and a reversal that is '
  'none. Errors: 22023, TS404.';

-- Reads a request.
create function private.read_bundle(p_organization_id uuid, p_request text)
returns private.bundle
language plpgsql
stable
set search_path = pg_catalog, pg_temp
as $$
declare
  v_facts constant jsonb := private.parse_request(p_request);
  v_bundle private.bundle;
begin
  perform private.assert_keys('p_request', v_facts, array[
    'source_system', 'external_id', 'transaction_date', 'description', 'correlation_id',
    'entity_id', 'is_adjusting_entry', 'adjusting_reason_code', 'override_period_lock',
    'transaction_category', 'risk_band', 'reverses_transaction_id', 'occurred_on', 'postings'
  ]);
  v_bundle.source_system := private.assert_text(
    'source_system', private.label_in(v_facts, 'source_system')
  );
  v_bundle.external_id := private.assert_text(
    'external_id', private.label_in(v_facts, 'external_id')
  );
  v_bundle.transaction_date := private.assert_day(
    'transaction_date', private.day_in(v_facts, 'transaction_date')
  );
  v_bundle.description := private.text_in(v_facts, 'description');
  v_bundle.correlation_id := private.text_in(v_facts, 'correlation_id');
  v_bundle.entity_id := coalesce(private.label_in(v_facts, 'entity_id'), 'entity-default');
  v_bundle.is_adjusting_entry := private.flag_in(v_facts, 'is_adjusting_entry');
  v_bundle.adjusting_reason_code := private.label_in(v_facts, 'adjusting_reason_code');
  v_bundle.override_period_lock := private.flag_in(v_facts, 'override_period_lock');
  v_bundle.transaction_category := private.label_in(v_facts, 'transaction_category');
  v_bundle.risk_band := private.label_in(v_facts, 'risk_band');
  v_bundle.reverses_transaction_id := private.label_in(v_facts, 'reverses_transaction_id');
  v_bundle.occurred_on := private.day_in(v_facts, 'occurred_on');
  if v_bundle.source_system = 'tallystick' then
    perform private.reject_argument('source_system', 'must not be tallystick, which is the system');
  elsif v_bundle.source_system = 'reversal'
    and v_bundle.external_id is distinct from v_bundle.reverses_transaction_id then
    -- The key of a reversal is kept for it.
    perform private.reject_argument(
      'source_system', 'must not be reversal, but where external_id is what is reversed'
    );
  elsif (v_bundle.description ~ '\S' and length(v_bundle.description) <= 1000) is not true then
    perform private.reject_argument('description', 'must have 1 to 1000 characters');
  end if;
  v_bundle.legs := case
    when v_bundle.reverses_transaction_id is not null and v_facts -> 'postings' is null
      then coalesce(
        private.reversed_legs(p_organization_id, v_bundle.reverses_transaction_id), '{}'
      )
    else private.read_legs(v_facts -> 'postings')
  end;
  perform private.assert_bundle(p_organization_id, v_bundle);
  return v_bundle;
end
$$;

comment on function private.read_bundle(uuid, text) is
  'The bundle that a request asks for, rounded and in balance. Errors: 22023, TS404.';

-- sql/accounting/periods.sql

-- Periods: months of an entity that take what is booked, or no longer do.
--
-- Whoever posts locks the month for share, whoever closes it for update: what is posted is in the
-- books before the month is closed, or is refused. A foreign key would not stop the race.

create type accounting.period_answer as (
  status text,
  period_id text,
  entity_id text,
  period_key text,
  period_status text,
  closed_at timestamptz,
  locked_at timestamptz,
  error_code text
);

comment on type accounting.period_answer is
  'The answer of close_period, lock_period and reopen_period.';
comment on column accounting.period_answer.status is
  'ok: the period is as asked. refused: error_code says why, and the event log that it was asked.';
comment on column accounting.period_answer.period_id is 'Id of the period.';
comment on column accounting.period_answer.entity_id is 'Whose books.';
comment on column accounting.period_answer.period_key is 'The month: YYYY-MM.';
comment on column accounting.period_answer.period_status is 'What it is now: open, closed, locked.';
comment on column accounting.period_answer.closed_at is 'Since when it is closed.';
comment on column accounting.period_answer.locked_at is 'Since when it is locked.';
comment on column accounting.period_answer.error_code is
  'TS412: the period is locked and stays so. Null where it was not refused.';

-- Makes sure that a month has its row. An organization that has no such entity is refused.
create function private.ensure_period(p_organization_id uuid, p_entity_id text, p_period_key text)
returns void
language plpgsql
volatile
set search_path = pg_catalog, pg_temp
as $$
begin
  if not exists (
    select from accounting.entities as e
    where e.organization_id = p_organization_id and e.entity_id = p_entity_id
  ) then
    perform private.raise_error('TS404', jsonb_build_object('entity_id', p_entity_id));
  end if;
  insert into accounting.accounting_periods (organization_id, entity_id, period_key)
  values (p_organization_id, p_entity_id, p_period_key)
  on conflict (organization_id, entity_id, period_key) do nothing;
end
$$;

comment on function private.ensure_period(uuid, text, text) is
  'Opens a period that has no row yet. Errors: TS404 for an unknown entity.';

-- Locks the month of a day for a posting: its status stays as it is until the transaction ends.
create function private.lock_period(p_organization_id uuid, p_entity_id text, p_date date)
returns accounting.accounting_periods
language plpgsql
volatile
set search_path = pg_catalog, pg_temp
as $$
declare
  v_period_key constant text := to_char(p_date, 'YYYY-MM');
  v_period accounting.accounting_periods;
begin
  loop
    select * into v_period
    from accounting.accounting_periods as p
    where p.organization_id = p_organization_id
      and p.entity_id = p_entity_id
      and p.period_key = v_period_key
    for share;
    exit when found;
    perform private.ensure_period(p_organization_id, p_entity_id, v_period_key);
  end loop;
  return v_period;
end
$$;

comment on function private.lock_period(uuid, text, date) is
  'The period of a day, locked for share. Errors: TS404 for an unknown entity.';

-- Refuses what a period does not take.
create function private.assert_period(
  p_period accounting.accounting_periods,
  p_bundle private.bundle,
  p_is_approved boolean
)
returns void
language plpgsql
stable
set search_path = pg_catalog, pg_temp
as $$
begin
  if p_period.status = 'closed' and p_bundle.is_adjusting_entry is not true
    or p_period.status = 'locked'
    and (p_bundle.override_period_lock and p_is_approved) is not true then
    perform private.raise_error(
      'TS412',
      jsonb_build_object(
        'entity_id', p_period.entity_id, 'period_key', p_period.period_key,
        'status', p_period.status
      )
    );
  end if;
end
$$;

comment on function private.assert_period(
  accounting.accounting_periods, private.bundle, boolean
) is
  'Refuses all but adjusting entries for a closed period, and all but what overrides and was '
  'approved for a locked one. Errors: TS412.';

-- The day at which something of p_date is booked: itself, or the first day of the next month that
-- is open. That month is locked for share.
create function private.posting_date(p_organization_id uuid, p_entity_id text, p_date date)
returns date
language plpgsql
volatile
set search_path = pg_catalog, pg_temp
as $$
declare
  v_date date := p_date;
begin
  while (private.lock_period(p_organization_id, p_entity_id, v_date)).status <> 'open'
  loop
    v_date := (date_trunc('month', v_date::timestamp) + interval '1 month')::date;
  end loop;
  return v_date;
end
$$;

comment on function private.posting_date(uuid, text, date) is
  'The first day from p_date on in a period that is open. Errors: TS404 for an unknown entity.';

-- The privileged half of close_period, lock_period and reopen_period.
--
-- Locks the period for update: waits for what is being posted, and what is posted after it sees it.
create function private.move_period(
  p_organization_id uuid,
  p_period_key text,
  p_status text,
  p_correlation_id text,
  p_entity_id text,
  p_actor text
)
returns accounting.period_answer
language plpgsql
volatile
security definer -- writes periods and the event log, which no role may write itself
set search_path = pg_catalog, pg_temp
as $$
declare
  v_started_at constant timestamptz := private.clock_now();
  v_tool constant text := case p_status
    when 'closed' then 'close_period' when 'locked' then 'lock_period' else 'reopen_period'
  end;
  v_actor private.actor;
  v_period accounting.accounting_periods;
  v_answer accounting.period_answer;
  v_now timestamptz;
begin
  perform private.assert_member(p_organization_id, array['owner', 'admin', 'finance']);
  v_actor := private.acting(p_actor);
  perform private.assert_text('p_correlation_id', p_correlation_id);
  perform private.assert_text('p_entity_id', p_entity_id);
  if (p_period_key ~ '^[0-9]{4}-(0[1-9]|1[0-2])$' and p_period_key >= '0001') is not true then
    perform private.reject_argument('p_period_key', 'must be a month: YYYY-MM');
  elsif p_status <> 'open' and p_period_key > (
    select to_char(private.local_day(v_started_at, o.time_zone), 'YYYY-MM')
    from tenancy.organizations as o where o.id = p_organization_id
  ) then
    -- What comes late finds an open month, and finds it soon.
    perform private.reject_argument('p_period_key', 'must be a month that has begun');
  end if;

  perform private.ensure_period(p_organization_id, p_entity_id, p_period_key);
  select * into v_period
  from accounting.accounting_periods as p
  where p.organization_id = p_organization_id
    and p.entity_id = p_entity_id
    and p.period_key = p_period_key
  for update;
  v_now := private.clock_now();
  if v_period.status = 'locked' and p_status <> 'locked' then
    v_answer.status := 'refused';
    v_answer.error_code := 'TS412';
  else
    v_answer.status := 'ok';
    if v_period.status <> p_status then
      update accounting.accounting_periods as p
      set
        status = p_status,
        closed_at = case when p_status <> 'open' then coalesce(p.closed_at, v_now) end,
        locked_at = case when p_status = 'locked' then v_now end,
        actor_id = v_actor.actor_id,
        correlation_id = p_correlation_id
      where p.organization_id = p_organization_id and p.period_id = v_period.period_id
      returning * into v_period;
    end if;
  end if;
  v_answer.period_id := v_period.period_id;
  v_answer.entity_id := v_period.entity_id;
  v_answer.period_key := v_period.period_key;
  v_answer.period_status := v_period.status;
  v_answer.closed_at := v_period.closed_at;
  v_answer.locked_at := v_period.locked_at;
  perform private.log_call(
    p_organization_id, v_tool, p_correlation_id,
    private.content_hash(
      private.canonical_text(
        jsonb_build_object('entity_id', p_entity_id, 'period_key', p_period_key)
      )
    ),
    private.canonical_text(
      to_jsonb(v_answer) || jsonb_build_object(
        'closed_at', private.time_text(v_answer.closed_at),
        'locked_at', private.time_text(v_answer.locked_at)
      )
    ),
    v_actor, v_started_at, v_answer.status, v_answer.error_code
  );
  return v_answer;
end
$$;

comment on function private.move_period(uuid, text, text, text, text, text) is
  'Core of close_period, lock_period and reopen_period.';

create function accounting.close_period(
  p_organization_id uuid,
  p_period_key text,
  p_correlation_id text,
  p_entity_id text default 'entity-default',
  p_actor text default null
)
returns accounting.period_answer
language sql
volatile
set search_path = pg_catalog, pg_temp
as $$
  select * from private.move_period(
    p_organization_id, p_period_key, 'closed', p_correlation_id, p_entity_id, p_actor
  )
$$;

comment on function accounting.close_period(uuid, text, text, text, text) is
  'Closes a month (YYYY-MM) of an entity: from now on it takes adjusting entries only. Closed '
  'again, nothing changes; a locked one is refused, TS412 in the answer. For owners, admins, '
  'finance and server roles, which may name p_actor. Errors: 22023, also for a month that has not '
  'begun in the time zone of the organization, 42501, TS404.';

create function accounting.lock_period(
  p_organization_id uuid,
  p_period_key text,
  p_correlation_id text,
  p_entity_id text default 'entity-default',
  p_actor text default null
)
returns accounting.period_answer
language sql
volatile
set search_path = pg_catalog, pg_temp
as $$
  select * from private.move_period(
    p_organization_id, p_period_key, 'locked', p_correlation_id, p_entity_id, p_actor
  )
$$;

comment on function accounting.lock_period(uuid, text, text, text, text) is
  'Locks a month (YYYY-MM) of an entity for good: it takes nothing but what overrides the lock and '
  'was approved. For owners, admins, finance and server roles, which may name p_actor. Errors: '
  '22023, also for a month that has not begun in the time zone of the organization, 42501, TS404.';

create function accounting.reopen_period(
  p_organization_id uuid,
  p_period_key text,
  p_correlation_id text,
  p_entity_id text default 'entity-default',
  p_actor text default null
)
returns accounting.period_answer
language sql
volatile
set search_path = pg_catalog, pg_temp
as $$
  select * from private.move_period(
    p_organization_id, p_period_key, 'open', p_correlation_id, p_entity_id, p_actor
  )
$$;

comment on function accounting.reopen_period(uuid, text, text, text, text) is
  'Opens a closed month (YYYY-MM) of an entity again; a locked one stays locked, TS412 in the '
  'answer. For owners, admins, finance and server roles, which may name p_actor. Errors: 22023, '
  '42501, TS404.';

-- sql/accounting/commit.sql

-- How a bundle gets into the books, and what keeps them whole whoever writes.

-- Every insert of postings leaves each transaction in balance, and none is added to one that was
-- answered.
create function private.keep_balance()
returns trigger
language plpgsql
stable
set search_path = pg_catalog, pg_temp
as $$
begin
  if exists (
    select from added as a
    group by a.organization_id, a.transaction_id, a.currency
    having sum(a.amount) <> 0
  ) then
    perform private.reject_argument('postings', 'must sum to 0.0000');
  elsif exists (
    -- Looked up one by one, whatever the planner thinks of a table that was small when it planned.
    select from added as a
    where (
      select t.response_payload is not null
      from accounting.ledger_transactions as t
      where t.organization_id = a.organization_id and t.transaction_id = a.transaction_id
    )
  ) then
    perform private.raise_error('23001', jsonb_build_object('table', 'accounting.ledger_postings'));
  end if;
  return null;
end
$$;

comment on function private.keep_balance() is
  'Trigger: postings sum to 0 per transaction and currency, and come before the response. Errors: '
  '22023, 23001.';

create trigger ledger_postings_keep_balance after insert on accounting.ledger_postings
referencing new table as added
for each statement execute function private.keep_balance();

-- The one shape an update of a transaction has: it gets its response, once.
create function private.admit_response()
returns trigger
language plpgsql
stable
set search_path = pg_catalog, pg_temp
as $$
declare
  v_answered accounting.ledger_transactions := old;
begin
  v_answered.response_payload := new.response_payload;
  v_answered.output_hash := new.output_hash;
  if old.response_payload is null and new.response_payload is not null
    and v_answered is not distinct from new then
    return new;
  end if;
  perform private.raise_error(
    '23001', jsonb_build_object('table', 'accounting.ledger_transactions', 'operation', tg_op)
  );
  return null;
end
$$;

comment on function private.admit_response() is
  'Trigger: a transaction gets its response once, and nothing else of it changes. Errors: 23001.';

create trigger ledger_transactions_admit_response before update on accounting.ledger_transactions
for each row execute function private.admit_response();

-- What is committed is whole: it has postings, and it was answered.
create function private.keep_whole()
returns trigger
language plpgsql
stable
security definer -- fires at commit, as whatever role the caller then is
set search_path = pg_catalog, pg_temp
as $$
begin
  if (
    select count(*) >= 2
    from accounting.ledger_postings as p
    where p.organization_id = new.organization_id
      and p.entity_id = new.entity_id
      and p.transaction_id = new.transaction_id
  ) and exists (
    select from accounting.ledger_transactions as t
    where t.organization_id = new.organization_id
      and t.transaction_id = new.transaction_id
      and t.response_payload is not null
  ) then
    return null;
  end if;
  perform private.reject_argument('postings', 'must be 2 or more, and be answered');
  return null;
end
$$;

comment on function private.keep_whole() is
  'Trigger: at commit a transaction has 2 postings or more, and its response. Errors: 22023.';

create constraint trigger ledger_transactions_keep_whole
after insert on accounting.ledger_transactions
deferrable initially deferred
for each row execute function private.keep_whole();

-- Refuses accounts that the entity has not.
create function private.assert_accounts(p_organization_id uuid, p_bundle private.bundle)
returns void
language plpgsql
stable
set search_path = pg_catalog, pg_temp
as $$
declare
  v_account_id text;
begin
  select min(l.account_id) into v_account_id
  from unnest(p_bundle.legs) as l
  left join accounting.accounts as a
    on a.organization_id = p_organization_id
    and a.entity_id = p_bundle.entity_id
    and a.account_id = l.account_id
  where a.account_id is null;
  if v_account_id is not null then
    perform private.raise_error(
      'TS404', jsonb_build_object('account_id', v_account_id, 'entity_id', p_bundle.entity_id)
    );
  end if;
end
$$;

comment on function private.assert_accounts(uuid, private.bundle) is
  'Refuses accounts that the entity has not. Errors: TS404.';

-- The transaction that a bundle became earlier; its transaction_id is null where there is none.
create function private.find_transaction(p_organization_id uuid, p_bundle private.bundle)
returns accounting.ledger_transactions
language plpgsql
stable
set search_path = pg_catalog, pg_temp
as $$
declare
  v_transaction accounting.ledger_transactions;
begin
  select * into v_transaction
  from accounting.ledger_transactions as t
  where t.organization_id = p_organization_id
    and t.source_system = p_bundle.source_system
    and t.external_id = p_bundle.external_id;
  if v_transaction.transaction_id is not null
    and v_transaction.input_hash <> private.bundle_hash(p_bundle) then
    perform private.raise_error(
      'TS409',
      jsonb_build_object(
        'source_system', p_bundle.source_system, 'external_id', p_bundle.external_id,
        'transaction_id', v_transaction.transaction_id
      )
    );
  end if;
  return v_transaction;
end
$$;

comment on function private.find_transaction(uuid, private.bundle) is
  'The transaction with the key of a bundle. Errors: TS409 where it has other content.';

-- Writes a bundle into the books: THE SEAM for all that posts, people and system alike.
--
-- No policy is asked. Locks the period for share. Idempotent by (source_system, external_id): the
-- second call waits for the first and gets its transaction.
create function private.commit_bundle(
  p_organization_id uuid,
  p_bundle private.bundle,
  p_recorded_by text default 'system',
  p_is_approved boolean default false
)
returns accounting.ledger_transactions
language plpgsql
volatile
set search_path = pg_catalog, pg_temp
as $$
declare
  v_transaction accounting.ledger_transactions := private.find_transaction(
    p_organization_id, p_bundle
  );
  v_period accounting.accounting_periods;
  v_posting_ids text[];
begin
  if v_transaction.transaction_id is not null then
    return v_transaction;
  end if;
  v_period := private.lock_period(
    p_organization_id, p_bundle.entity_id, p_bundle.transaction_date
  );
  perform private.assert_period(v_period, p_bundle, p_is_approved);
  perform private.assert_accounts(p_organization_id, p_bundle);

  -- Whatever the caller has set: it is whole at the end, not at once.
  set constraints accounting.ledger_transactions_keep_whole deferred;
  insert into accounting.ledger_transactions (
    organization_id, entity_id, source_system, external_id, transaction_date, description,
    correlation_id, input_hash, is_adjusting_entry, adjusting_reason_code,
    reverses_transaction_id, occurred_on, recorded_by
  ) values (
    p_organization_id, p_bundle.entity_id, p_bundle.source_system, p_bundle.external_id,
    p_bundle.transaction_date, p_bundle.description, p_bundle.correlation_id,
    private.bundle_hash(p_bundle), coalesce(p_bundle.is_adjusting_entry, false),
    p_bundle.adjusting_reason_code, p_bundle.reverses_transaction_id, p_bundle.occurred_on,
    p_recorded_by
  )
  on conflict do nothing
  returning * into v_transaction;
  if v_transaction.transaction_id is null then
    v_transaction := private.find_transaction(p_organization_id, p_bundle);
    if v_transaction.transaction_id is null then
      perform private.raise_error(
        'TS419',
        jsonb_build_object('reverses_transaction_id', p_bundle.reverses_transaction_id)
      );
    end if;
    return v_transaction;
  end if;

  v_posting_ids := array(
    select private.uuid_v7(v_transaction.recorded_at)::text from unnest(p_bundle.legs)
  );
  insert into accounting.ledger_postings (
    organization_id, posting_id, entity_id, transaction_id, account_id, amount, currency, memo,
    position
  )
  select
    p_organization_id, v_posting_ids[l.position], p_bundle.entity_id,
    v_transaction.transaction_id, l.account_id, l.amount, l.currency, l.memo, l.position
  from unnest(p_bundle.legs) with ordinality as l (account_id, amount, currency, memo, position);

  v_transaction.response_payload := private.canonical_text(
    jsonb_build_object(
      'correlation_id', v_transaction.correlation_id,
      'entity_id', v_transaction.entity_id,
      'external_id', v_transaction.external_id,
      'input_hash', v_transaction.input_hash,
      'posting_ids', to_jsonb(v_posting_ids),
      'source_system', v_transaction.source_system,
      'status', 'committed',
      'transaction_date', v_transaction.transaction_date,
      'transaction_id', v_transaction.transaction_id
    )
  );
  v_transaction.output_hash := private.content_hash(v_transaction.response_payload);
  update accounting.ledger_transactions as t
  set
    response_payload = v_transaction.response_payload,
    output_hash = v_transaction.output_hash
  where t.organization_id = p_organization_id
    and t.transaction_id = v_transaction.transaction_id;
  return v_transaction;
end
$$;

comment on function private.commit_bundle(uuid, private.bundle, text, boolean) is
  'Writes a bundle that is in balance into the books; returns the transaction, the earlier one for '
  'a repeated key. Errors: TS404 for an unknown entity or account, TS409 for a key with other '
  'content, TS412 for a period that does not take it, TS419 for what was reversed already.';

-- sql/accounting/policies.sql

-- Policies: which writes need approval.
--
-- The first active rule that matches decides, by (priority, rule_id); null in a rule matches
-- anything. Strictly above its threshold approval is needed. A rule with a velocity limit lets so
-- many pass within its window; more count as above. What no rule matches passes.
--
-- Locks: a rule with a velocity limit, after slots and periods, before proposals.

create type private.policy_decision as (
  needs_approval boolean,
  rule_id text,
  threshold_amount numeric,
  required_approvals integer,
  reason text
);

comment on type private.policy_decision is
  'Whether a write needs approval, of how many, and why: threshold, velocity or period_locked.';

create function private.find_policy_rule(
  p_organization_id uuid,
  p_tool_name text,
  p_entity_id text,
  p_transaction_category text,
  p_risk_band text,
  p_models text[] default '{}'
)
returns accounting.policy_rules
language plpgsql
stable
set search_path = pg_catalog, pg_temp
as $$
declare
  v_rule accounting.policy_rules;
begin
  select * into v_rule
  from accounting.policy_rules as r
  where r.organization_id = p_organization_id
    and r.active
    and (r.tool_name is null or r.tool_name = p_tool_name)
    and (r.entity_id is null or r.entity_id = p_entity_id)
    and (r.transaction_category is null or r.transaction_category = p_transaction_category)
    and (r.risk_band is null or r.risk_band = p_risk_band)
    and (r.model is null or r.model = any(p_models))
  order by r.priority, r.rule_id collate "C"
  limit 1;
  return v_rule;
end
$$;

comment on function private.find_policy_rule(uuid, text, text, text, text, text[]) is
  'The rule that decides on such a write, or null. p_models: the names a call''s model has.';

-- When a rule let something pass, as far as its window reaches back from p_now.
create function private.uses_in_window(p_rule accounting.policy_rules, p_now timestamptz)
returns timestamptz[]
language plpgsql
stable
set search_path = pg_catalog, pg_temp
as $$
begin
  return array(
    select u.used_at from unnest(p_rule.recent_uses) as u (used_at)
    where u.used_at > p_now - make_interval(secs => p_rule.velocity_window_seconds)
    order by u.used_at
  );
end
$$;

comment on function private.uses_in_window(accounting.policy_rules, timestamptz) is
  'When a rule with a velocity limit let something pass within its window.';

-- What a rule says of an amount. Counts nothing.
create function private.policy_decision_of(
  p_rule accounting.policy_rules,
  p_amount numeric,
  p_now timestamptz
)
returns private.policy_decision
language plpgsql
stable
set search_path = pg_catalog, pg_temp
as $$
declare
  v_decision private.policy_decision;
begin
  v_decision.rule_id := p_rule.rule_id;
  v_decision.threshold_amount := p_rule.threshold_amount;
  v_decision.required_approvals := p_rule.required_approvals;
  v_decision.reason := case
    when p_amount > p_rule.threshold_amount then 'threshold'
    when
      cardinality(private.uses_in_window(p_rule, p_now)) >= p_rule.velocity_limit_count
      then 'velocity'
  end;
  v_decision.needs_approval := v_decision.reason is not null;
  return v_decision;
end
$$;

comment on function private.policy_decision_of(accounting.policy_rules, numeric, timestamptz) is
  'Whether p_amount needs approval by a rule, as of p_now; by none it does not.';

-- Decides by the rule that matches, and counts what one with a velocity limit lets pass: the caller
-- then makes the write, in the same transaction.
--
-- Locks: the rule, where it has a velocity limit; it is changed, so that a transaction with an
-- older snapshot fails with 40001 instead of counting by it.
create function private.match_policy(
  p_organization_id uuid,
  p_tool_name text,
  p_entity_id text,
  p_transaction_category text,
  p_risk_band text,
  p_amount numeric,
  p_models text[] default '{}'
)
returns private.policy_decision
language plpgsql
volatile
set search_path = pg_catalog, pg_temp
as $$
declare
  v_rule accounting.policy_rules;
  v_locked accounting.policy_rules;
  v_now timestamptz;
  v_decision private.policy_decision;
begin
  loop
    v_rule := private.find_policy_rule(
      p_organization_id, p_tool_name, p_entity_id, p_transaction_category, p_risk_band, p_models
    );
    if v_rule.velocity_limit_count is null then
      return private.policy_decision_of(v_rule, p_amount, null);
    end if;
    select * into v_locked
    from accounting.policy_rules as r
    where r.organization_id = p_organization_id and r.rule_id = v_rule.rule_id
    for no key update;
    -- Changed while it waited: perhaps another one decides now.
    v_rule.recent_uses := v_locked.recent_uses;
    exit when v_locked is not distinct from v_rule;
  end loop;
  v_now := private.clock_now();
  v_decision := private.policy_decision_of(v_locked, p_amount, v_now);
  if not v_decision.needs_approval then
    update accounting.policy_rules as r
    set recent_uses = private.uses_in_window(v_locked, v_now) || v_now
    where r.organization_id = p_organization_id and r.rule_id = v_locked.rule_id;
  end if;
  return v_decision;
end
$$;

comment on function private.match_policy(uuid, text, text, text, text, numeric, text[]) is
  'Whether a write needs approval; where a velocity limit lets it pass, it is counted.';

-- A whole number within bounds.
create function private.assert_between(
  p_argument text,
  p_value integer,
  p_least integer,
  p_most integer
)
returns integer
language plpgsql
stable
set search_path = pg_catalog, pg_temp
as $$
begin
  if (p_value between p_least and p_most) is not true then
    perform private.reject_argument(p_argument, format('must be from %s to %s', p_least, p_most));
  end if;
  return p_value;
end
$$;

comment on function private.assert_between(text, integer, integer, integer) is
  'Refuses what is not from p_least to p_most. Errors: 22023.';

-- A rule as it is to be stored, its arguments checked.
create function private.draft_policy_rule(
  p_organization_id uuid,
  p_rule_id text,
  p_threshold_amount numeric,
  p_priority integer,
  p_tool_name text,
  p_entity_id text,
  p_transaction_category text,
  p_risk_band text,
  p_model text,
  p_velocity_limit_count integer,
  p_velocity_window_seconds integer,
  p_required_approvals integer,
  p_allows_asserted boolean,
  p_metadata jsonb
)
returns accounting.policy_rules
language plpgsql
stable
set search_path = pg_catalog, pg_temp
as $$
declare
  v_rule accounting.policy_rules;
begin
  v_rule.organization_id := p_organization_id;
  v_rule.rule_id := private.assert_text('p_rule_id', p_rule_id);
  v_rule.threshold_amount := private.assert_money('p_threshold_amount', p_threshold_amount);
  v_rule.priority := private.assert_between('p_priority', p_priority, -1000000, 1000000);
  v_rule.required_approvals := private.assert_between(
    'p_required_approvals', p_required_approvals, 1, 100
  );
  if p_tool_name not in ('record_transaction_bundle', 'authorize_spend') then
    perform private.reject_argument(
      'p_tool_name', 'must be record_transaction_bundle or authorize_spend'
    );
  elsif p_model is not null and p_tool_name is distinct from 'authorize_spend' then
    perform private.reject_argument('p_model', 'must be omitted but for authorize_spend');
  elsif (p_velocity_limit_count is null) <> (p_velocity_window_seconds is null) then
    perform private.reject_argument(
      'p_velocity_limit_count, p_velocity_window_seconds', 'must both be stated or left out'
    );
  elsif p_allows_asserted is null then
    perform private.reject_argument('p_allows_asserted', 'must not be null');
  elsif jsonb_typeof(p_metadata) is distinct from 'object' then
    perform private.reject_argument('p_metadata', 'must be an object');
  elsif p_entity_id is not null and not exists (
    select from accounting.entities as e
    where e.organization_id = p_organization_id and e.entity_id = p_entity_id
  ) then
    perform private.raise_error('TS404', jsonb_build_object('entity_id', p_entity_id));
  end if;
  v_rule.tool_name := p_tool_name;
  v_rule.entity_id := p_entity_id;
  v_rule.allows_asserted := p_allows_asserted;
  v_rule.metadata := p_metadata;
  if p_transaction_category is not null then
    v_rule.transaction_category := private.assert_text(
      'p_transaction_category', p_transaction_category
    );
  end if;
  if p_risk_band is not null then
    v_rule.risk_band := private.assert_text('p_risk_band', p_risk_band);
  end if;
  if p_model is not null then
    -- By its listed name it is meant whatever a call names it.
    v_rule.model := coalesce(
      (private.find_model(null, private.assert_text('p_model', p_model))).model, p_model
    );
  end if;
  if p_velocity_limit_count is not null then
    v_rule.velocity_limit_count := private.assert_between(
      'p_velocity_limit_count', p_velocity_limit_count, 1, 10000
    );
    v_rule.velocity_window_seconds := private.assert_between(
      'p_velocity_window_seconds', p_velocity_window_seconds, 1, 31622400
    );
  end if;
  return v_rule;
end
$$;

comment on function private.draft_policy_rule(
  uuid, text, numeric, integer, text, text, text, text, text, integer, integer, integer, boolean,
  jsonb
) is
  'A rule as it is to be stored. Errors: 22023 for what could never match, TS404 for an unknown '
  'entity.';

-- Above which amount a call has to ask the rules: their least threshold, and nothing at all where
-- one has a velocity limit.
create function private.approval_above(p_organization_id uuid)
returns numeric
language plpgsql
stable
set search_path = pg_catalog, pg_temp
as $$
begin
  return (
    select min(case when r.velocity_limit_count is null then r.threshold_amount else 0 end)
    from accounting.policy_rules as r
    where r.organization_id = p_organization_id
      and r.active
      and coalesce(r.tool_name, 'authorize_spend') = 'authorize_spend'
      and coalesce(r.entity_id, 'entity-default') = 'entity-default'
      and coalesce(r.transaction_category, r.risk_band) is null
  );
end
$$;

comment on function private.approval_above(uuid) is
  'The least amount above which a rule may want approval for a call; null where none is about '
  'calls.';

-- Lets a rule that was stored take effect, and logs it. The kernel is told above which amount it
-- has to ask; under a change of budgets, so that no call misses it.
create function private.enact_policy_rule(
  p_rule accounting.policy_rules,
  p_tool_name text,
  p_started_at timestamptz
)
returns accounting.policy_rules
language plpgsql
volatile
set search_path = pg_catalog, pg_temp
as $$
declare
  v_text constant text := private.canonical_text(
    to_jsonb(p_rule) - array['organization_id', 'recent_uses', 'created_at', 'updated_at']
    || jsonb_build_object('threshold_amount', trim_scale(p_rule.threshold_amount::numeric)::text)
  );
begin
  update metering.budgets as b
  set approval_above_usd = private.approval_above(p_rule.organization_id)
  where b.organization_id = p_rule.organization_id and b.id = p_rule.organization_id;
  perform private.log_call(
    p_rule.organization_id, p_tool_name, p_rule.rule_id, private.content_hash(v_text), v_text,
    private.acting(null), p_started_at, 'ok'
  );
  return p_rule;
end
$$;

comment on function private.enact_policy_rule(accounting.policy_rules, text, timestamptz) is
  'Stores on the own budget above which amount a call may need approval; logs the rule.';

-- The privileged half of accounting.set_policy_rule.
create function private.set_policy_rule(
  p_organization_id uuid,
  p_rule_id text,
  p_threshold_amount numeric,
  p_priority integer,
  p_tool_name text,
  p_entity_id text,
  p_transaction_category text,
  p_risk_band text,
  p_model text,
  p_velocity_limit_count integer,
  p_velocity_window_seconds integer,
  p_required_approvals integer,
  p_allows_asserted boolean,
  p_metadata jsonb
)
returns accounting.policy_rules
language plpgsql
volatile
security definer -- writes rules and budgets, which no role may write itself
set search_path = pg_catalog, pg_temp
as $$
declare
  v_started_at constant timestamptz := private.clock_now();
  v_rule accounting.policy_rules;
begin
  perform private.assert_may_set_budgets(p_organization_id);
  v_rule := private.draft_policy_rule(
    p_organization_id, p_rule_id, p_threshold_amount, p_priority, p_tool_name, p_entity_id,
    p_transaction_category, p_risk_band, p_model, p_velocity_limit_count,
    p_velocity_window_seconds, p_required_approvals, p_allows_asserted, p_metadata
  );
  perform private.begin_change(p_organization_id);
  insert into accounting.policy_rules (
    organization_id, rule_id, priority, tool_name, entity_id, transaction_category, risk_band,
    model, velocity_limit_count, velocity_window_seconds, threshold_amount, required_approvals,
    allows_asserted, metadata
  ) values (
    v_rule.organization_id, v_rule.rule_id, v_rule.priority, v_rule.tool_name, v_rule.entity_id,
    v_rule.transaction_category, v_rule.risk_band, v_rule.model, v_rule.velocity_limit_count,
    v_rule.velocity_window_seconds, v_rule.threshold_amount, v_rule.required_approvals,
    v_rule.allows_asserted, v_rule.metadata
  )
  on conflict (organization_id, rule_id) do update
  set
    priority = excluded.priority,
    tool_name = excluded.tool_name,
    entity_id = excluded.entity_id,
    transaction_category = excluded.transaction_category,
    risk_band = excluded.risk_band,
    model = excluded.model,
    velocity_limit_count = excluded.velocity_limit_count,
    velocity_window_seconds = excluded.velocity_window_seconds,
    threshold_amount = excluded.threshold_amount,
    required_approvals = excluded.required_approvals,
    allows_asserted = excluded.allows_asserted,
    metadata = excluded.metadata,
    active = true
  returning * into v_rule;
  return private.enact_policy_rule(v_rule, 'set_policy_rule', v_started_at);
end
$$;

comment on function private.set_policy_rule(
  uuid, text, numeric, integer, text, text, text, text, text, integer, integer, integer, boolean,
  jsonb
) is
  'Core of accounting.set_policy_rule.';

-- Sets a policy rule, or stores another under its id. Idempotent.
--
-- Locks: the organization's own slots, so no spend is in flight; then the rule.
create function accounting.set_policy_rule(
  p_organization_id uuid,
  p_rule_id text,
  p_threshold_amount numeric,
  p_priority integer default 100,
  p_tool_name text default null,
  p_entity_id text default null,
  p_transaction_category text default null,
  p_risk_band text default null,
  p_model text default null,
  p_velocity_limit_count integer default null,
  p_velocity_window_seconds integer default null,
  p_required_approvals integer default 1,
  p_allows_asserted boolean default false,
  p_metadata jsonb default '{}'
)
returns accounting.policy_rules
language plpgsql
volatile
set search_path = pg_catalog, pg_temp
as $$
begin
  return private.set_policy_rule(
    p_organization_id, p_rule_id, p_threshold_amount, p_priority, p_tool_name, p_entity_id,
    p_transaction_category, p_risk_band, p_model, p_velocity_limit_count,
    p_velocity_window_seconds, p_required_approvals, p_allows_asserted, p_metadata
  );
end
$$;

comment on function accounting.set_policy_rule(
  uuid, text, numeric, integer, text, text, text, text, text, integer, integer, integer, boolean,
  jsonb
) is
  'Sets the policy rule with this id, or stores another in its place. The first active rule that '
  'matches, by p_priority (lowest first) and id, decides; what is left out matches anything. '
  'p_tool_name: record_transaction_bundle or authorize_spend, the latter also by p_model. Above '
  'p_threshold_amount (US dollars) p_required_approvals different persons must approve. At most '
  'p_velocity_limit_count pass within p_velocity_window_seconds; more count as above. '
  'p_allows_asserted: approvers whom a server names count. For owners, admins and service_role. '
  'Errors: 22023, 42501, TS404.';

-- The privileged half of accounting.retire_policy_rule.
create function private.retire_policy_rule(p_organization_id uuid, p_rule_id text)
returns accounting.policy_rules
language plpgsql
volatile
security definer -- writes rules and budgets, which no role may write itself
set search_path = pg_catalog, pg_temp
as $$
declare
  v_started_at constant timestamptz := private.clock_now();
  v_rule accounting.policy_rules;
begin
  perform private.assert_may_set_budgets(p_organization_id);
  perform private.assert_text('p_rule_id', p_rule_id);
  perform private.begin_change(p_organization_id);
  update accounting.policy_rules as r
  set active = false
  where r.organization_id = p_organization_id and r.rule_id = p_rule_id
  returning * into v_rule;
  if v_rule.rule_id is null then
    perform private.raise_error('TS404', jsonb_build_object('rule_id', p_rule_id));
  end if;
  return private.enact_policy_rule(v_rule, 'retire_policy_rule', v_started_at);
end
$$;

comment on function private.retire_policy_rule(uuid, text) is
  'Core of accounting.retire_policy_rule.';

-- Lets a policy rule match nothing any more. Idempotent.
--
-- Locks: the organization's own slots, so no spend is in flight; then the rule.
create function accounting.retire_policy_rule(p_organization_id uuid, p_rule_id text)
returns accounting.policy_rules
language plpgsql
volatile
set search_path = pg_catalog, pg_temp
as $$
begin
  return private.retire_policy_rule(p_organization_id, p_rule_id);
end
$$;

comment on function accounting.retire_policy_rule(uuid, text) is
  'Retires a policy rule: it matches nothing any more, and is kept for the proposals it caused, '
  'which still wait for their approval. For owners, admins and service_role. Errors: 22023, 42501, '
  'TS404.';

-- sql/accounting/proposals.sql

-- Proposals: what waits for approval, and who decides.
--
-- Locks: period -> proposal. What an approval commits is committed with it, and with the event that
-- tells of it, or nothing is. A refusal undoes what was done for it, the decision too, and is
-- returned, as raising it would undo its event.

create type accounting.approval_outcome as (
  proposal_id text,
  status text,
  approvals integer,
  required_approvals integer,
  transaction_id text,
  response_payload text,
  approved_until timestamptz,
  error_code text,
  error_message text,
  facts jsonb,
  hint text
);

comment on type accounting.approval_outcome is
  'The answer of approve_proposal and reject_proposal.';
comment on column accounting.approval_outcome.proposal_id is 'The proposal.';
comment on column accounting.approval_outcome.status is
  'proposed (more have to approve it), rejected, committed; refused: the decision was not taken.';
comment on column accounting.approval_outcome.approvals is
  'How many different persons have approved it and count.';
comment on column accounting.approval_outcome.required_approvals is
  'How many have to, by the policy in force.';
comment on column accounting.approval_outcome.transaction_id is
  'The transaction a committed bundle became.';
comment on column accounting.approval_outcome.response_payload is
  'The response to whoever makes the request again, byte for byte.';
comment on column accounting.approval_outcome.approved_until is
  'Of an approved call of a model: until when its request id may be used to make it.';
comment on column accounting.approval_outcome.error_code is 'Of a refusal: its code.';
comment on column accounting.approval_outcome.error_message is 'Its message.';
comment on column accounting.approval_outcome.facts is 'Its facts.';
comment on column accounting.approval_outcome.hint is 'The next step.';

-- How long an approved call of a model may be made.
create function private.approval_ttl()
returns interval
language sql
immutable
set search_path = pg_catalog, pg_temp
as $$
  select interval '24 hours'
$$;

comment on function private.approval_ttl() is
  'From its approval on, how long a call may be made with its request id.';

-- A time as texts that are kept show it, whatever the session's time zone.
create function private.time_text(p_time timestamptz)
returns text
language plpgsql
immutable
set search_path = pg_catalog, pg_temp
as $$
begin
  return to_char(p_time at time zone 'UTC', 'YYYY-MM-DD"T"HH24:MI:SS.US"Z"');
end
$$;

comment on function private.time_text(timestamptz) is 'A time in UTC, to the microsecond.';

-- A stored response, once its proposal was decided.
create function private.with_status(p_response text, p_status text)
returns text
language plpgsql
immutable
set search_path = pg_catalog, pg_temp
as $$
begin
  return private.canonical_text(p_response::jsonb || jsonb_build_object('status', p_status));
end
$$;

comment on function private.with_status(text, text) is
  'The response to a proposal with another status.';

-- Tells approvers or the requester of a proposal.
create function private.emit_proposal(p_topic text, p_proposal accounting.approval_proposals)
returns void
language plpgsql
volatile
set search_path = pg_catalog, pg_temp
as $$
begin
  perform private.emit_event(
    p_proposal.organization_id, p_topic, p_proposal.proposal_id::uuid,
    jsonb_strip_nulls(
      jsonb_build_object(
        'proposal_id', p_proposal.proposal_id,
        'tool_name', p_proposal.tool_name,
        'correlation_id', p_proposal.correlation_id,
        'status', p_proposal.status,
        'impact_amount', trim_scale(p_proposal.impact_amount::numeric)::text,
        'required_approvals', p_proposal.required_approvals,
        'proposed_by', p_proposal.proposed_by,
        'transaction_id', p_proposal.approved_transaction_id,
        'approved_until', private.time_text(p_proposal.approved_until)
      )
    )
  );
end
$$;

comment on function private.emit_proposal(text, accounting.approval_proposals) is
  'Puts an event about a proposal into the outbox.';

-- Stores a proposal, with its response, and tells approvers of it.
create function private.propose(p_proposal accounting.approval_proposals, p_response jsonb)
returns accounting.approval_proposals
language plpgsql
volatile
set search_path = pg_catalog, pg_temp
as $$
declare
  v_proposal accounting.approval_proposals := p_proposal;
begin
  v_proposal.response_payload := private.canonical_text(p_response);
  v_proposal.output_hash := private.content_hash(v_proposal.response_payload);
  v_proposal.created_at := private.clock_now();
  insert into accounting.approval_proposals values (v_proposal.*);
  perform private.emit_proposal('accounting.approval_requested', v_proposal);
  return v_proposal;
end
$$;

comment on function private.propose(accounting.approval_proposals, jsonb) is
  'Stores a proposal with the response to it.';

-- The code a proposal is answered with.
create function private.proposal_code(p_reason text)
returns text
language plpgsql
immutable
set search_path = pg_catalog, pg_temp
as $$
begin
  return case p_reason when 'velocity' then 'TS429' else 'TS428' end;
end
$$;

comment on function private.proposal_code(text) is
  'TS429 where a velocity limit asked for approval, else TS428.';

-- Proposes a bundle; the caller has bound its request. Returns the response.
create function private.propose_bundle(
  p_organization_id uuid,
  p_bundle private.bundle,
  p_decision private.policy_decision,
  p_actor private.actor
)
returns text
language plpgsql
volatile
set search_path = pg_catalog, pg_temp
as $$
declare
  v_proposal accounting.approval_proposals;
begin
  v_proposal.organization_id := p_organization_id;
  v_proposal.proposal_id := private.uuid_v7()::text;
  v_proposal.tool_name := 'record_transaction_bundle';
  v_proposal.source_system := p_bundle.source_system;
  v_proposal.external_id := p_bundle.external_id;
  v_proposal.correlation_id := p_bundle.correlation_id;
  v_proposal.input_hash := private.bundle_hash(p_bundle);
  v_proposal.policy_threshold_amount := coalesce(p_decision.threshold_amount, 0);
  v_proposal.impact_amount := private.bundle_amount(p_bundle);
  v_proposal.request_payload := private.bundle_text(p_bundle);
  v_proposal.entity_id := p_bundle.entity_id;
  v_proposal.status := 'proposed';
  v_proposal.matched_rule_id := p_decision.rule_id;
  v_proposal.required_approvals := greatest(1, p_decision.required_approvals);
  v_proposal.proposed_by := p_actor.actor_id;
  v_proposal.authn_method := p_actor.authn_method;
  return (
    private.propose(v_proposal, private.bundle_response(v_proposal, p_decision.reason))
  ).response_payload;
end
$$;

comment on function private.propose_bundle(
  uuid, private.bundle, private.policy_decision, private.actor
) is
  'Stores the proposal of a bundle; returns the response to it.';

-- What a bundle that waits for approval, or was rejected, is answered with.
create function private.bundle_response(
  p_proposal accounting.approval_proposals,
  p_reason text
)
returns jsonb
language plpgsql
stable
set search_path = pg_catalog, pg_temp
as $$
begin
  return jsonb_build_object(
    'correlation_id', p_proposal.correlation_id,
    'entity_id', p_proposal.entity_id,
    'error_code', private.proposal_code(p_reason),
    'external_id', p_proposal.external_id,
    'impact_amount', private.book_text(p_proposal.impact_amount),
    'input_hash', p_proposal.input_hash,
    'matched_rule_id', p_proposal.matched_rule_id,
    'policy_threshold_amount', trim_scale(p_proposal.policy_threshold_amount::numeric)::text,
    'proposal_id', p_proposal.proposal_id,
    'reason', p_reason,
    'required_approvals', p_proposal.required_approvals,
    'source_system', p_proposal.source_system,
    'status', p_proposal.status
  );
end
$$;

comment on function private.bundle_response(accounting.approval_proposals, text) is
  'The response to a bundle that is a proposal.';

-- The stored response to a request that was proposed before; null where none was.
create function private.replay_proposal(
  p_organization_id uuid,
  p_tool_name text,
  p_source_system text,
  p_external_id text,
  p_input_hash text
)
returns text
language plpgsql
stable
set search_path = pg_catalog, pg_temp
as $$
declare
  v_proposal accounting.approval_proposals;
begin
  select * into v_proposal
  from accounting.approval_proposals as p
  where p.organization_id = p_organization_id
    and p.tool_name = p_tool_name
    and p.source_system = p_source_system
    and p.external_id = p_external_id;
  if v_proposal.input_hash <> p_input_hash then
    perform private.raise_error(
      'TS409',
      jsonb_build_object('source_system', p_source_system, 'external_id', p_external_id)
    );
  end if;
  return v_proposal.response_payload;
end
$$;

comment on function private.replay_proposal(uuid, text, text, text, text) is
  'The response to a request that is a proposal, or null. Errors: TS409 for other content.';

-- How many have to approve a proposal, and whether those whom servers name count, by the policy in
-- force: the rule that decides on it now; where that would let it pass, the one that did not.
create function private.policy_in_force(p_proposal accounting.approval_proposals)
returns accounting.policy_rules
language plpgsql
stable
set search_path = pg_catalog, pg_temp
as $$
declare
  v_request constant jsonb := p_proposal.request_payload::jsonb;
  v_rule accounting.policy_rules := private.find_policy_rule(
    p_proposal.organization_id, p_proposal.tool_name, p_proposal.entity_id,
    v_request ->> 'transaction_category', v_request ->> 'risk_band',
    array[v_request ->> 'model', v_request ->> 'listed_model']
  );
begin
  if not (
    private.policy_decision_of(v_rule, p_proposal.impact_amount, private.clock_now())
  ).needs_approval then
    select * into v_rule
    from accounting.policy_rules as r
    where r.organization_id = p_proposal.organization_id
      and r.rule_id = p_proposal.matched_rule_id;
    v_rule.required_approvals := p_proposal.required_approvals;
  end if;
  return v_rule;
end
$$;

comment on function private.policy_in_force(accounting.approval_proposals) is
  'The rule whose required_approvals and allows_asserted hold for a proposal now.';

-- The persons who have approved: each counts once, whoever named them.
create function private.count_approvals(
  p_proposal accounting.approval_proposals,
  p_allows_asserted boolean
)
returns integer
language plpgsql
stable
set search_path = pg_catalog, pg_temp
as $$
begin
  return (
    select count(distinct private.person_of(d.approver_id))
    from accounting.approval_decisions as d
    where d.organization_id = p_proposal.organization_id
      and d.proposal_id = p_proposal.proposal_id
      and d.action = 'approve'
      and (d.authn_method = 'jwt' or p_allows_asserted)
  );
end
$$;

comment on function private.count_approvals(accounting.approval_proposals, boolean) is
  'How many different persons have approved a proposal and count.';

-- Ends a proposal, and tells the requester.
create function private.close_proposal(p_proposal accounting.approval_proposals)
returns void
language plpgsql
volatile
set search_path = pg_catalog, pg_temp
as $$
begin
  update accounting.approval_proposals as p
  set
    status = p_proposal.status,
    decided_at = private.clock_now(),
    required_approvals = p_proposal.required_approvals,
    approved_until = p_proposal.approved_until,
    approved_transaction_id = p_proposal.approved_transaction_id,
    response_payload = p_proposal.response_payload,
    output_hash = private.content_hash(p_proposal.response_payload)
  where p.organization_id = p_proposal.organization_id
    and p.proposal_id = p_proposal.proposal_id;
  perform private.emit_proposal('accounting.approval_decided', p_proposal);
end
$$;

comment on function private.close_proposal(accounting.approval_proposals) is
  'Commits or rejects a proposal.';

-- Does what was approved: books the bundle, or opens the gate for the call.
create function private.commit_proposal(p_proposal accounting.approval_proposals)
returns accounting.approval_proposals
language plpgsql
volatile
set search_path = pg_catalog, pg_temp
as $$
declare
  v_proposal accounting.approval_proposals := p_proposal;
  v_transaction accounting.ledger_transactions;
begin
  v_proposal.status := 'committed';
  if p_proposal.tool_name = 'authorize_spend' then
    v_proposal.approved_until := private.clock_now() + private.approval_ttl();
    v_proposal.response_payload := private.with_status(p_proposal.response_payload, 'committed');
  else
    v_transaction := private.commit_bundle(
      p_proposal.organization_id,
      private.read_bundle(p_proposal.organization_id, p_proposal.request_payload),
      p_proposal.proposed_by, true
    );
    v_proposal.approved_transaction_id := v_transaction.transaction_id;
    v_proposal.response_payload := v_transaction.response_payload;
  end if;
  perform private.close_proposal(v_proposal);
  return v_proposal;
end
$$;

comment on function private.commit_proposal(accounting.approval_proposals) is
  'Commits an approved proposal. Errors: those of commit_bundle.';

-- sql/accounting/record.sql

-- record_transaction_bundle: a bundle of a caller, its policy, and the answer that is given again.

-- Binds a key first, so that a bundle and a proposal never share one: of two calls at once the
-- second waits for the first. A refusal is undone with its key.
create table private.bundle_keys (
  organization_id uuid not null,
  source_system private.label not null,
  external_id private.label not null,
  constraint bundle_keys_pkey primary key (organization_id, source_system, external_id)
);

comment on table private.bundle_keys is
  'Keys under which a bundle was committed or proposed.';
comment on column private.bundle_keys.organization_id is 'The organization.';
comment on column private.bundle_keys.source_system is 'Who sent it.';
comment on column private.bundle_keys.external_id is 'Its id there.';

-- False where the key is bound already.
create function private.bind_bundle(
  p_organization_id uuid,
  p_source_system text,
  p_external_id text
)
returns boolean
language plpgsql
volatile
set search_path = pg_catalog, pg_temp
as $$
begin
  insert into private.bundle_keys (organization_id, source_system, external_id)
  values (p_organization_id, p_source_system, p_external_id)
  on conflict do nothing;
  return found;
end
$$;

comment on function private.bind_bundle(uuid, text, text) is
  'Binds the key of a bundle; false where it is bound. Waits for a call that is binding it.';

create type private.bundle_answer as (status text, response text);

comment on type private.bundle_answer is
  'What became of a bundle, as a status of the event log, and its response.';

-- What an earlier call with the key was answered; null where there was none.
create function private.replay_bundle(p_organization_id uuid, p_bundle private.bundle)
returns text
language plpgsql
stable
set search_path = pg_catalog, pg_temp
as $$
begin
  return coalesce(
    (private.find_transaction(p_organization_id, p_bundle)).response_payload,
    private.replay_proposal(
      p_organization_id, 'record_transaction_bundle', p_bundle.source_system,
      p_bundle.external_id, private.bundle_hash(p_bundle)
    )
  );
end
$$;

comment on function private.replay_bundle(uuid, private.bundle) is
  'The stored response to a bundle, byte for byte. Errors: TS409 for a key with other content.';

-- Commits a bundle, or proposes it where the policy or a locked period asks for approval.
--
-- Locks: key, period, policy rule.
create function private.admit_bundle(
  p_organization_id uuid,
  p_bundle private.bundle,
  p_actor private.actor
)
returns private.bundle_answer
language plpgsql
volatile
set search_path = pg_catalog, pg_temp
as $$
declare
  v_response text;
  v_period accounting.accounting_periods;
  v_decision private.policy_decision;
begin
  if not private.bind_bundle(
    p_organization_id, p_bundle.source_system, p_bundle.external_id
  ) then
    v_response := private.replay_bundle(p_organization_id, p_bundle);
    if v_response is not null then
      return row('replayed', v_response)::private.bundle_answer;
    end if;
  end if;

  v_period := private.lock_period(
    p_organization_id, p_bundle.entity_id, p_bundle.transaction_date
  );
  perform private.assert_period(v_period, p_bundle, true);
  perform private.assert_accounts(p_organization_id, p_bundle);
  v_decision := case
    when v_period.status = 'locked' then
      -- It will not pass, so that no rule counts it as what did.
      private.policy_decision_of(
        private.find_policy_rule(
          p_organization_id, 'record_transaction_bundle', p_bundle.entity_id,
          p_bundle.transaction_category, p_bundle.risk_band
        ),
        private.bundle_amount(p_bundle), private.clock_now()
      )
    else private.match_policy(
      p_organization_id, 'record_transaction_bundle', p_bundle.entity_id,
      p_bundle.transaction_category, p_bundle.risk_band, private.bundle_amount(p_bundle)
    )
  end;
  if v_period.status = 'locked' and not v_decision.needs_approval then
    v_decision.needs_approval := true;
    v_decision.threshold_amount := coalesce(v_decision.threshold_amount, 0);
    v_decision.required_approvals := greatest(v_decision.required_approvals, 1);
    v_decision.reason := 'period_locked';
  end if;
  if v_decision.needs_approval then
    return row(
      'proposed',
      private.propose_bundle(p_organization_id, p_bundle, v_decision, p_actor)
    )::private.bundle_answer;
  end if;
  return row(
    'ok',
    (private.commit_bundle(p_organization_id, p_bundle, p_actor.actor_id)).response_payload
  )::private.bundle_answer;
end
$$;

comment on function private.admit_bundle(uuid, private.bundle, private.actor) is
  'Commits, proposes or replays a bundle. Errors: TS404, TS409, TS412, TS419, TS429.';

-- The privileged half of accounting.record_transaction_bundle.
create function private.record_bundle(p_organization_id uuid, p_request text, p_actor text)
returns text
language plpgsql
volatile
security definer -- writes the books and the event log, which no role may write itself
set search_path = pg_catalog, pg_temp
as $$
declare
  v_started_at constant timestamptz := private.clock_now();
  v_facts jsonb;
  v_input_hash text;
  v_actor private.actor;
  v_bundle private.bundle;
  v_answer private.bundle_answer;
  v_code text;
  v_message text;
  v_detail text;
  v_hint text;
begin
  perform private.assert_member(p_organization_id, array['owner', 'admin', 'finance']);
  v_actor := private.acting(p_actor);
  v_facts := private.parse_request(p_request);
  -- A block of its own: what was begun before a refusal is undone, and the event of it is not.
  begin
    v_bundle := private.read_bundle(p_organization_id, p_request);
    v_input_hash := private.bundle_hash(v_bundle);
    v_answer := private.admit_bundle(p_organization_id, v_bundle, v_actor);
  exception
    when sqlstate '22023' or sqlstate 'TS404' or sqlstate 'TS409' or sqlstate 'TS412'
      or sqlstate 'TS419' or sqlstate 'TS428' or sqlstate 'TS429' then
      get stacked diagnostics
        v_code = returned_sqlstate,
        v_message = message_text,
        v_detail = pg_exception_detail,
        v_hint = pg_exception_hint;
      v_input_hash := coalesce(
        v_input_hash,
        private.content_hash(private.canonical_text(v_facts - 'correlation_id'))
      );
      v_answer := row(
        case v_code when '22023' then 'error' else 'refused' end,
        private.refusal(
          v_facts ->> 'correlation_id', v_code, v_message, v_detail, v_hint
        )
      )::private.bundle_answer;
  end;
  perform private.log_call(
    p_organization_id, 'record_transaction_bundle', v_facts ->> 'correlation_id', v_input_hash,
    v_answer.response, v_actor, v_started_at, v_answer.status, v_code
  );
  return v_answer.response;
end
$$;

comment on function private.record_bundle(uuid, text, text) is
  'Core of accounting.record_transaction_bundle.';

-- Books a bundle. Idempotent by (source_system, external_id).
create function accounting.record_transaction_bundle(
  p_organization_id uuid,
  p_request text,
  p_actor text default null
)
returns text
language plpgsql
volatile
set search_path = pg_catalog, pg_temp
as $$
begin
  return private.record_bundle(p_organization_id, p_request, p_actor);
end
$$;

comment on function accounting.record_transaction_bundle(uuid, text, text) is
  'Books a balanced bundle (data_model_reference). p_request, a JSON object as text: '
  'source_system, external_id, transaction_date, description, correlation_id, postings '
  '(account_id, amount, currency, memo), and where wanted entity_id, is_adjusting_entry, '
  'adjusting_reason_code, override_period_lock, transaction_category, risk_band, '
  'reverses_transaction_id, occurred_on. Amounts are US dollars, above 0 debit, rounded half even '
  'to 4 decimals, and sum to 0.0000. The source_system reversal is kept for the reversal of '
  'external_id. Returns JSON text with status committed, proposed or refused '
  '(error_code 22023, TS404, TS409, TS412, TS419, TS429); made again, the stored one, byte for '
  'byte. For owners, admins, finance and server roles, which may name p_actor. Errors: 22023 for '
  'a request that says not what it belongs to, 42501, TS404 for an unknown organization.';

-- Undoes a transaction by a new one, which is linked to it.
create function accounting.reverse_transaction(
  p_organization_id uuid,
  p_transaction_id text,
  p_transaction_date date,
  p_correlation_id text,
  p_description text default null,
  p_adjusting_reason_code text default null,
  p_override_period_lock boolean default false,
  p_actor text default null
)
returns text
language plpgsql
volatile
set search_path = pg_catalog, pg_temp
as $$
declare
  v_reversed accounting.ledger_transactions;
begin
  select * into v_reversed
  from accounting.ledger_transactions as t
  where t.organization_id = p_organization_id and t.transaction_id = p_transaction_id;
  return private.record_bundle(
    p_organization_id,
    jsonb_build_object(
      'source_system', 'reversal',
      'external_id', p_transaction_id,
      'transaction_date', p_transaction_date,
      'description', coalesce(
        p_description, left('Reversal of ' || v_reversed.description, 1000), 'Reversal'
      ),
      'correlation_id', p_correlation_id,
      'entity_id', v_reversed.entity_id,
      'is_adjusting_entry', p_adjusting_reason_code is not null,
      'adjusting_reason_code', p_adjusting_reason_code,
      'override_period_lock', coalesce(p_override_period_lock, false),
      'reverses_transaction_id', p_transaction_id
    )::text,
    p_actor
  );
end
$$;

comment on function accounting.reverse_transaction(
  uuid, text, date, text, text, text, boolean, text
) is
  'Undoes a transaction by a new one with the postings of the other sign, booked at '
  'p_transaction_date and linked to it; each transaction once. It passes policy and period as any '
  'bundle, and returns what record_transaction_bundle does. For owners, admins, finance and server '
  'roles, which may name p_actor. Errors: 22023, 42501, TS404 for an unknown organization.';

-- sql/accounting/approvals.sql

-- Approving and rejecting.

-- The proposal that somebody may decide: approvers all of their organization, whoever proposed it
-- may take it back.
create function private.assert_may_decide(
  p_organization_id uuid,
  p_proposal_id text,
  p_action text,
  p_actor private.actor
)
returns accounting.approval_proposals
language plpgsql
stable
set search_path = pg_catalog, pg_temp
as $$
declare
  v_proposal accounting.approval_proposals;
begin
  perform private.assert_member(p_organization_id);
  select * into v_proposal
  from accounting.approval_proposals as p
  where p.organization_id = p_organization_id and p.proposal_id = p_proposal_id;
  if p_action = 'approve' or v_proposal.proposed_by is distinct from p_actor.actor_id then
    perform private.assert_member(p_organization_id, array['owner', 'admin', 'finance']);
  end if;
  if v_proposal.proposal_id is null then
    perform private.raise_error('TS404', jsonb_build_object('proposal_id', p_proposal_id));
  end if;
  return v_proposal;
end
$$;

comment on function private.assert_may_decide(uuid, text, text, private.actor) is
  'A proposal the caller may decide. Errors: 22023, 42501, TS404.';

-- What became of a proposal.
create function private.outcome_of(
  p_proposal accounting.approval_proposals,
  p_rule accounting.policy_rules
)
returns accounting.approval_outcome
language plpgsql
stable
set search_path = pg_catalog, pg_temp
as $$
declare
  v_outcome accounting.approval_outcome;
begin
  v_outcome.proposal_id := p_proposal.proposal_id;
  v_outcome.status := p_proposal.status;
  v_outcome.approvals := private.count_approvals(p_proposal, p_rule.allows_asserted);
  v_outcome.required_approvals := case p_proposal.status
    when 'proposed' then p_rule.required_approvals
    else p_proposal.required_approvals
  end;
  v_outcome.transaction_id := p_proposal.approved_transaction_id;
  v_outcome.response_payload := p_proposal.response_payload;
  v_outcome.approved_until := p_proposal.approved_until;
  return v_outcome;
end
$$;

comment on function private.outcome_of(
  accounting.approval_proposals, accounting.policy_rules
) is
  'The present state of a proposal, as its approvers are told.';

-- Takes a decision: adds it, and does what follows from it. Raises what stands in its way.
create function private.take_decision(
  p_proposal accounting.approval_proposals,
  p_decision accounting.approval_decisions,
  p_actor private.actor
)
returns accounting.approval_outcome
language plpgsql
volatile
set search_path = pg_catalog, pg_temp
as $$
declare
  v_proposal accounting.approval_proposals;
  v_rule accounting.policy_rules;
  v_facts jsonb;
begin
  if p_proposal.tool_name = 'record_transaction_bundle' and p_decision.action = 'approve' then
    perform private.lock_period(
      p_proposal.organization_id, p_proposal.entity_id,
      (p_proposal.request_payload::jsonb ->> 'transaction_date')::date
    );
  end if;
  select * into strict v_proposal
  from accounting.approval_proposals as p
  where p.organization_id = p_proposal.organization_id and p.proposal_id = p_proposal.proposal_id
  for update;
  v_rule := private.policy_in_force(v_proposal);
  v_facts := jsonb_build_object('proposal_id', v_proposal.proposal_id);
  if (v_proposal.status, p_decision.action) in (('committed', 'approve'), ('rejected', 'reject')) then
    return private.outcome_of(v_proposal, v_rule);
  elsif v_proposal.status <> 'proposed' then
    perform private.raise_error('TS410', v_facts || jsonb_build_object('state', v_proposal.status));
  elsif p_decision.action = 'approve'
    and private.person_of(p_actor.actor_id) = private.person_of(v_proposal.proposed_by) then
    perform private.raise_error(
      '42501', v_facts || jsonb_build_object('proposed_by', v_proposal.proposed_by)
    );
  end if;

  p_decision.xact_id := pg_current_xact_id();
  insert into accounting.approval_decisions values (p_decision.*)
  on conflict (organization_id, proposal_id, approver_id) do nothing;
  -- Updated, not only locked: who counts by an older snapshot fails with 40001.
  update accounting.approval_proposals as p
  set status = p.status
  where p.organization_id = v_proposal.organization_id
    and p.proposal_id = v_proposal.proposal_id;
  if exists (
    select from accounting.approval_decisions as d
    where d.organization_id = v_proposal.organization_id
      and d.proposal_id = v_proposal.proposal_id
      and d.approver_id = p_actor.actor_id
      and d.action <> p_decision.action
  ) then
    perform private.raise_error(
      '23001', v_facts || jsonb_build_object('approver_id', p_actor.actor_id)
    );
  elsif p_decision.action = 'reject' then
    v_proposal.status := 'rejected';
    v_proposal.response_payload := private.with_status(v_proposal.response_payload, 'rejected');
    perform private.close_proposal(v_proposal);
  elsif private.count_approvals(v_proposal, v_rule.allows_asserted) >= v_rule.required_approvals then
    v_proposal.required_approvals := v_rule.required_approvals;
    v_proposal := private.commit_proposal(v_proposal);
  end if;
  return private.outcome_of(v_proposal, v_rule);
end
$$;

comment on function private.take_decision(
  accounting.approval_proposals, accounting.approval_decisions, private.actor
) is
  'Adds a decision to a proposal and does what follows. Errors: 23001 for somebody who decided '
  'otherwise before, 42501 for the proposer, TS410 once it is decided otherwise, those of '
  'commit_bundle.';

-- The privileged half of accounting.approve_proposal and accounting.reject_proposal.
create function private.decide_proposal(
  p_organization_id uuid,
  p_proposal_id text,
  p_action text,
  p_reason text,
  p_actor text,
  p_correlation_id text
)
returns accounting.approval_outcome
language plpgsql
volatile
security definer -- writes proposals, decisions and books, which no role may write itself
set search_path = pg_catalog, pg_temp
as $$
declare
  v_started_at constant timestamptz := private.clock_now();
  v_actor private.actor;
  v_proposal accounting.approval_proposals;
  v_decision accounting.approval_decisions;
  v_outcome accounting.approval_outcome;
  v_detail text;
begin
  if private.is_trusted_caller() then
    perform private.assert_text('p_actor', p_actor);
  end if;
  perform private.assert_text('p_proposal_id', p_proposal_id);
  v_actor := private.acting(p_actor);
  v_proposal := private.assert_may_decide(p_organization_id, p_proposal_id, p_action, v_actor);
  if length(p_reason) > 10000 then
    perform private.reject_argument('p_reason', 'must have at most 10000 characters');
  elsif p_correlation_id is not null then
    perform private.assert_text('p_correlation_id', p_correlation_id);
  end if;

  v_decision.organization_id := p_organization_id;
  v_decision.decision_id := private.uuid_v7()::text;
  v_decision.proposal_id := p_proposal_id;
  v_decision.proposed_by := v_proposal.proposed_by;
  v_decision.action := p_action;
  v_decision.correlation_id := coalesce(p_correlation_id, v_proposal.correlation_id);
  v_decision.reason := p_reason;
  v_decision.approver_id := v_actor.actor_id;
  v_decision.authn_method := v_actor.authn_method;
  v_decision.decided_at := v_started_at;
  begin
    v_outcome := private.take_decision(v_proposal, v_decision, v_actor);
  exception
    when restrict_violation or insufficient_privilege or invalid_parameter_value
      or sqlstate 'TS404' or sqlstate 'TS409' or sqlstate 'TS410' or sqlstate 'TS412'
      or sqlstate 'TS419' then
      get stacked diagnostics
        v_outcome.error_code = returned_sqlstate,
        v_outcome.error_message = message_text,
        v_detail = pg_exception_detail,
        v_outcome.hint = pg_exception_hint;
      v_outcome.proposal_id := p_proposal_id;
      v_outcome.status := 'refused';
      v_outcome.facts := coalesce(nullif(v_detail, ''), '{}')::jsonb;
  end;
  perform private.log_call(
    p_organization_id, p_action || '_proposal', v_decision.correlation_id,
    private.content_hash(
      private.canonical_text(
        jsonb_build_object(
          'proposal_id', p_proposal_id, 'action', p_action, 'reason', p_reason,
          'actor_id', v_actor.actor_id
        )
      )
    ),
    private.canonical_text(
      to_jsonb(v_outcome)
      || jsonb_build_object('approved_until', private.time_text(v_outcome.approved_until))
    ),
    v_actor, v_started_at,
    case
      when v_outcome.status = 'refused' then 'refused'
      when not exists (
        select from accounting.approval_decisions as d
        where d.organization_id = p_organization_id and d.decision_id = v_decision.decision_id
      ) then 'replayed'
      else 'ok'
    end,
    v_outcome.error_code
  );
  return v_outcome;
end
$$;

comment on function private.decide_proposal(uuid, text, text, text, text, text) is
  'Core of accounting.approve_proposal and accounting.reject_proposal.';

-- Approves a proposal: the last approval that is needed commits it. Idempotent per approver.
--
-- Locks: the period of a bundle, then the proposal. Period, accounts and policy are those in force
-- now.
create function accounting.approve_proposal(
  p_organization_id uuid,
  p_proposal_id text,
  p_reason text default null,
  p_actor text default null,
  p_correlation_id text default null
)
returns accounting.approval_outcome
language plpgsql
volatile
set search_path = pg_catalog, pg_temp
as $$
begin
  return private.decide_proposal(
    p_organization_id, p_proposal_id, 'approve', p_reason, p_actor, p_correlation_id
  );
end
$$;

comment on function accounting.approve_proposal(uuid, text, text, text, text) is
  'Approves a proposal. With as many different approvers as the policy in force asks for, a bundle '
  'is committed, and a call of a model may be made for 24 hours with its request id. Nobody '
  'approves what they proposed. A server role names the approver in p_actor, which counts only '
  'where the rule says so. A refusal is an answer with its code and is logged: 42501 the proposer, '
  'TS410 it was rejected, TS412 the period is closed. For owners, admins and finance, and server '
  'roles. Errors: 22023, 42501, TS404.';

-- Rejects a proposal: one rejection ends it. Idempotent.
create function accounting.reject_proposal(
  p_organization_id uuid,
  p_proposal_id text,
  p_reason text default null,
  p_actor text default null,
  p_correlation_id text default null
)
returns accounting.approval_outcome
language plpgsql
volatile
set search_path = pg_catalog, pg_temp
as $$
begin
  return private.decide_proposal(
    p_organization_id, p_proposal_id, 'reject', p_reason, p_actor, p_correlation_id
  );
end
$$;

comment on function accounting.reject_proposal(uuid, text, text, text, text) is
  'Rejects a proposal, which ends it; whoever proposed it may take it back so. A refusal is an '
  'answer with its code and is logged: 23001 one who approved it before, TS410 it was committed. '
  'For owners, admins, finance and the proposer, and server roles. Errors: 22023, 42501, TS404.';

-- sql/accounting/spend_gate.sql

-- Calls of models pass the same gate as bundles. The kernel asks here where a call costs more than
-- metering.budgets.approval_above_usd, and nobody else does: approval takes no money, it lets the
-- request through to be admitted like any other.
--
-- The request id carries it: it names the proposal while that waits, once it is rejected and until
-- the approved call is made; then the hold, which names the proposal. So one approval admits one
-- hold; only where that expired may another take its place, while the approval lasts.

create function private.rule_for_spend(p_hold metering.holds)
returns accounting.policy_rules
language plpgsql
stable
set search_path = pg_catalog, pg_temp
as $$
begin
  return private.find_policy_rule(
    p_hold.organization_id, 'authorize_spend', 'entity-default', null, null,
    array[p_hold.model, p_hold.listed_model]
  );
end
$$;

comment on function private.rule_for_spend(metering.holds) is
  'The policy rule that decides on a call, or null.';

-- Whether a call would need approval now. Locks and counts nothing.
create function private.would_need_approval(p_hold metering.holds)
returns boolean
language plpgsql
stable
set search_path = pg_catalog, pg_temp
as $$
begin
  return (
    private.policy_decision_of(
      private.rule_for_spend(p_hold), p_hold.held_usd, private.clock_now()
    )
  ).needs_approval;
end
$$;

comment on function private.would_need_approval(metering.holds) is
  'Whether a call needs approval as of now.';

-- Whether a call needs approval; where not, it counts for the rule's velocity limit. The caller has
-- a slot of the organization, so rules stay as they are. Locks: the rule, if it has such a limit.
create function private.needs_approval(p_hold metering.holds)
returns boolean
language plpgsql
volatile
set search_path = pg_catalog, pg_temp
as $$
begin
  return (
    private.match_policy(
      p_hold.organization_id, 'authorize_spend', 'entity-default', null, null, p_hold.held_usd,
      array[p_hold.model, p_hold.listed_model]
    )
  ).needs_approval;
end
$$;

comment on function private.needs_approval(metering.holds) is
  'Whether a call needs approval; where not, it is counted.';

-- The approved proposal by which a request may be admitted: the one its id names, or the one its
-- expired hold was granted by. Null where there is none, it has lapsed, or was for less.
create function private.approval_of(
  p_hold metering.holds,
  p_subject_id uuid,
  p_now timestamptz
)
returns uuid
language plpgsql
stable
set search_path = pg_catalog, pg_temp
as $$
begin
  return (
    select p.proposal_id::uuid
    from accounting.approval_proposals as p
    where p.organization_id = p_hold.organization_id
      and p.proposal_id = coalesce(
        (
          select h.proposal_id
          from metering.holds as h
          where h.organization_id = p_hold.organization_id
            and h.id = p_subject_id
            and h.state = 'expired'
        ),
        p_subject_id
      )::text
      and p.tool_name = 'authorize_spend'
      and p.approved_until > p_now
      and p.impact_amount >= p_hold.held_usd
  );
end
$$;

comment on function private.approval_of(metering.holds, uuid, timestamptz) is
  'The approved proposal that lets a hold be made for a request whose id is bound to p_subject_id.';

-- What a request is answered whose id names a proposal. Its decision is null where that was
-- approved, or is none.
create function private.decision_of_proposal(p_organization_id uuid, p_proposal_id uuid)
returns metering.spend_decision
language plpgsql
stable
set search_path = pg_catalog, pg_temp
as $$
declare
  v_decision metering.spend_decision;
begin
  select
    case p.status when 'proposed' then 'needs_approval' else 'denied' end,
    case p.status when 'rejected' then 'approval_rejected' end,
    p.proposal_id::uuid
  into v_decision.decision, v_decision.reason, v_decision.proposal_id
  from accounting.approval_proposals as p
  where p.organization_id = p_organization_id
    and p.proposal_id = p_proposal_id::text
    and p.status <> 'committed';
  return v_decision;
end
$$;

comment on function private.decision_of_proposal(uuid, uuid) is
  'The decision on a request that is a proposal: needs_approval, or denied once it was rejected.';

-- Who asks for a call: the person signed in or named by the server, else the API key, else the
-- server.
create function private.requester_of(p_hold metering.holds)
returns private.actor
language plpgsql
stable
set search_path = pg_catalog, pg_temp
as $$
begin
  if not private.is_trusted_caller() then
    return private.acting();
  elsif p_hold.user_id is not null then
    return row('user:' || p_hold.user_id::text, 'asserted')::private.actor;
  end if;
  return private.acting(left(p_hold.api_key_id, 247));
end
$$;

comment on function private.requester_of(metering.holds) is 'Who asks for a call.';

-- Proposes a call that needs approval. Its decision is null where that is to be looked at again:
-- the request id was bound meanwhile, or the rule has changed.
--
-- Locks: the request key.
create function private.propose_spend(
  p_hold metering.holds,
  p_request_id text,
  p_content_hash text,
  p_subject_id uuid
)
returns metering.spend_decision
language plpgsql
volatile
set search_path = pg_catalog, pg_temp
as $$
declare
  v_now constant timestamptz := private.clock_now();
  v_id constant uuid := private.uuid_v7(v_now);
  v_policy constant private.policy_decision := private.policy_decision_of(
    private.rule_for_spend(p_hold), p_hold.held_usd, v_now
  );
  v_actor constant private.actor := private.requester_of(p_hold);
  v_decision metering.spend_decision;
  v_proposal accounting.approval_proposals;
begin
  if p_request_id is null then
    v_decision.decision := 'denied';
    v_decision.reason := 'approval_needs_request_id';
    return v_decision;
  elsif not v_policy.needs_approval or not private.bind_request(
    p_hold.organization_id, 'authorize', p_request_id, p_content_hash, v_id, p_subject_id
  ) then
    return v_decision;
  end if;
  v_proposal.organization_id := p_hold.organization_id;
  v_proposal.proposal_id := v_id::text;
  v_proposal.tool_name := 'authorize_spend';
  v_proposal.source_system := 'tallystick';
  v_proposal.external_id := v_id::text;
  v_proposal.correlation_id := p_request_id;
  v_proposal.input_hash := p_content_hash;
  v_proposal.policy_threshold_amount := v_policy.threshold_amount;
  v_proposal.impact_amount := p_hold.held_usd;
  v_proposal.request_payload := private.canonical_text(
    jsonb_build_object(
      'request_id', p_request_id,
      'estimated_cost', trim_scale(p_hold.held_usd::numeric)::text,
      'model', p_hold.model,
      'listed_model', p_hold.listed_model,
      'provider', p_hold.provider,
      'service_tier', p_hold.service_tier,
      'workflow_id', p_hold.workflow_id,
      'run_id', p_hold.run_id,
      'venture_id', p_hold.venture_id,
      'user_id', p_hold.user_id,
      'api_key_id', p_hold.api_key_id,
      'tags', p_hold.tags
    )
  );
  v_proposal.entity_id := 'entity-default';
  v_proposal.status := 'proposed';
  v_proposal.matched_rule_id := v_policy.rule_id;
  v_proposal.required_approvals := v_policy.required_approvals;
  v_proposal.proposed_by := v_actor.actor_id;
  v_proposal.authn_method := v_actor.authn_method;
  v_proposal := private.propose(
    v_proposal,
    jsonb_build_object(
      'decision', 'needs_approval',
      'error_code', private.proposal_code(v_policy.reason),
      'proposal_id', v_proposal.proposal_id,
      'reason', v_policy.reason,
      'required_approvals', v_policy.required_approvals,
      'status', 'proposed'
    )
  );
  perform private.log_call(
    p_hold.organization_id, 'authorize_spend', p_request_id, p_content_hash,
    v_proposal.response_payload, v_actor, v_now, 'proposed', private.proposal_code(v_policy.reason)
  );
  return private.decision_of_proposal(p_hold.organization_id, v_id);
end
$$;

comment on function private.propose_spend(metering.holds, text, text, uuid) is
  'Stores the proposal of a call, binds its request id to it and answers needs_approval. '
  'p_subject_id: what the request id is bound to so far.';

-- Refuses to let a hold grow to p_total beyond what was approved or, where nothing was, beyond what
-- needs approval. The caller has a slot of the organization, so rules stay as they are.
create function private.assert_within_approval(p_hold metering.holds, p_total numeric)
returns void
language plpgsql
stable
set search_path = pg_catalog, pg_temp
as $$
declare
  v_rule accounting.policy_rules;
  v_approved numeric;
begin
  if p_hold.proposal_id is null then
    v_rule := private.rule_for_spend(p_hold);
  else
    v_approved := (
      select p.impact_amount
      from accounting.approval_proposals as p
      where p.organization_id = p_hold.organization_id
        and p.proposal_id = p_hold.proposal_id::text
    );
  end if;
  if p_total > coalesce(v_approved, v_rule.threshold_amount) then
    perform private.raise_error(
      'TS428',
      jsonb_strip_nulls(
        jsonb_build_object(
          'hold_id', p_hold.id,
          'proposal_id', p_hold.proposal_id,
          'approved_usd', trim_scale(v_approved)::text,
          'rule_id', v_rule.rule_id,
          'threshold_usd', trim_scale(v_rule.threshold_amount::numeric)::text,
          'total_usd', trim_scale(p_total)::text
        )
      )
    );
  end if;
end
$$;

comment on function private.assert_within_approval(metering.holds, numeric) is
  'Refuses a hold of p_total US dollars beyond its approved amount or threshold. Errors: TS428.';

-- sql/accounting/reports.sql

-- What the books say. Amounts are decimal text with 4 decimals, like all money in composites.
--
-- Reads with the caller's rights; locks nothing. Both days of a span belong to it; without one it
-- is open there. Without an entity all of them are consolidated.

create type accounting.trial_balance_line as (
  entity_id text,
  account_id text,
  parent_account_id text,
  code text,
  name text,
  account_type text,
  currency text,
  opening_balance text,
  debits text,
  credits text,
  closing_balance text
);

comment on type accounting.trial_balance_line is
  'An account over a span of days. Balances are above 0 debit, below 0 credit; each column of all '
  'accounts sums to 0, debits equal credits.';
comment on column accounting.trial_balance_line.entity_id is 'Whose account it is.';
comment on column accounting.trial_balance_line.account_id is 'The account.';
comment on column accounting.trial_balance_line.parent_account_id is 'What it is part of, if any.';
comment on column accounting.trial_balance_line.code is 'Its code.';
comment on column accounting.trial_balance_line.name is 'Its name.';
comment on column accounting.trial_balance_line.account_type is
  'asset, liability, equity, income or expense.';
comment on column accounting.trial_balance_line.currency is 'USD.';
comment on column accounting.trial_balance_line.opening_balance is 'What it had before the span.';
comment on column accounting.trial_balance_line.debits is 'What was debited in the span.';
comment on column accounting.trial_balance_line.credits is
  'What was credited in the span, above 0.';
comment on column accounting.trial_balance_line.closing_balance is
  'What it had at the end of the span.';

create type accounting.account_ledger_line as (
  transaction_date date,
  transaction_id text,
  posting_id text,
  source_system text,
  external_id text,
  description text,
  memo text,
  is_adjusting_entry boolean,
  reverses_transaction_id text,
  currency text,
  amount text,
  running_balance text
);

comment on type accounting.account_ledger_line is 'A posting of an account, with what it then had.';
comment on column accounting.account_ledger_line.transaction_date is 'The day it is booked at.';
comment on column accounting.account_ledger_line.transaction_id is 'The transaction.';
comment on column accounting.account_ledger_line.posting_id is 'The posting.';
comment on column accounting.account_ledger_line.source_system is 'Who sent the transaction.';
comment on column accounting.account_ledger_line.external_id is 'Its id there.';
comment on column accounting.account_ledger_line.description is 'What the transaction is.';
comment on column accounting.account_ledger_line.memo is 'A remark on the posting, if any.';
comment on column accounting.account_ledger_line.is_adjusting_entry is
  'True for an adjusting entry.';
comment on column accounting.account_ledger_line.reverses_transaction_id is
  'The transaction it undoes, if any.';
comment on column accounting.account_ledger_line.currency is 'USD.';
comment on column accounting.account_ledger_line.amount is 'Above 0 debit, below 0 credit.';
comment on column accounting.account_ledger_line.running_balance is
  'The balance of the account after it.';

create type accounting.statement_line as (
  section text,
  entity_id text,
  account_id text,
  parent_account_id text,
  code text,
  name text,
  currency text,
  amount text
);

comment on type accounting.statement_line is
  'A line of an income statement or balance sheet: an account, or where account_id is null the sum '
  'of a section.';
comment on column accounting.statement_line.section is
  'income, expense, net_income; asset, liability, equity, liability_and_equity.';
comment on column accounting.statement_line.entity_id is
  'Whose account it is; of a sum the entity asked for, null for all.';
comment on column accounting.statement_line.account_id is 'The account; null for a sum.';
comment on column accounting.statement_line.parent_account_id is 'What it is part of, if any.';
comment on column accounting.statement_line.code is 'Its code; null for a sum.';
comment on column accounting.statement_line.name is 'Its name, or what the sum is of.';
comment on column accounting.statement_line.currency is 'USD.';
comment on column accounting.statement_line.amount is
  'Above 0 where it is on the usual side of its section: assets and expenses debit, the '
  'rest credit.';

create type accounting.snapshot_difference as (
  snapshot_id text,
  entity_id text,
  account_id text,
  code text,
  snapshot_date date,
  source_system text,
  currency text,
  stated_balance text,
  book_balance text,
  difference text
);

comment on type accounting.snapshot_difference is
  'A balance as others state it beside that of the books.';
comment on column accounting.snapshot_difference.snapshot_id is 'The snapshot.';
comment on column accounting.snapshot_difference.entity_id is 'Whose account it is.';
comment on column accounting.snapshot_difference.account_id is 'The account.';
comment on column accounting.snapshot_difference.code is 'Its code.';
comment on column accounting.snapshot_difference.snapshot_date is 'At the end of which day.';
comment on column accounting.snapshot_difference.source_system is 'Who states it.';
comment on column accounting.snapshot_difference.currency is 'USD.';
comment on column accounting.snapshot_difference.stated_balance is 'What they state.';
comment on column accounting.snapshot_difference.book_balance is 'What the books say.';
comment on column accounting.snapshot_difference.difference is
  'What they state more than the books.';

-- Who reads the books: members with an eye on money, and server roles that read everything.
create function private.assert_reader(p_organization_id uuid, p_entity_id text default null)
returns void
language plpgsql
stable
set search_path = pg_catalog, pg_temp
as $$
begin
  perform private.assert_member(p_organization_id, array['owner', 'admin', 'finance']);
  if p_entity_id is not null and not exists (
    select from accounting.entities as e
    where e.organization_id = p_organization_id and e.entity_id = p_entity_id
  ) then
    perform private.raise_error('TS404', jsonb_build_object('entity_id', p_entity_id));
  end if;
end
$$;

comment on function private.assert_reader(uuid, text) is
  'Refuses those who may not read the books, and an unknown entity. Errors: 22023, 42501, TS404.';

-- Each account over a span, in figures: the one place where postings are summed.
create function private.account_sums(
  p_organization_id uuid,
  p_from date,
  p_to date,
  p_entity_id text
)
returns table (account_id text, opening numeric, debits numeric, credits numeric)
language plpgsql
stable
set search_path = pg_catalog, pg_temp
as $$
begin
  return query
  select
    p.account_id::text,
    coalesce(sum(p.amount) filter (where t.transaction_date < p_from), 0),
    coalesce(
      sum(p.amount) filter (where p.amount > 0 and (t.transaction_date < p_from) is not true), 0
    ),
    coalesce(
      -sum(p.amount) filter (where p.amount < 0 and (t.transaction_date < p_from) is not true), 0
    )
  from accounting.ledger_transactions as t
  inner join accounting.ledger_postings as p
    on p.organization_id = t.organization_id
    and p.entity_id = t.entity_id
    and p.transaction_id = t.transaction_id
  where t.organization_id = p_organization_id
    and (p_entity_id is null or t.entity_id = p_entity_id)
    and (p_to is null or t.transaction_date <= p_to)
  group by p.account_id;
end
$$;

comment on function private.account_sums(uuid, date, date, text) is
  'What each account had before a span, and what was debited and credited within it.';

create function accounting.trial_balance(
  p_organization_id uuid,
  p_from date default null,
  p_to date default null,
  p_entity_id text default null
)
returns setof accounting.trial_balance_line
language plpgsql
stable
set search_path = pg_catalog, pg_temp
as $$
begin
  perform private.assert_reader(p_organization_id, p_entity_id);
  return query
  select
    a.entity_id::text, a.account_id::text, a.parent_account_id::text, a.code::text, a.name::text,
    a.account_type, 'USD', private.book_text(coalesce(s.opening, 0)),
    private.book_text(coalesce(s.debits, 0)), private.book_text(coalesce(s.credits, 0)),
    private.book_text(coalesce(s.opening + s.debits - s.credits, 0))
  from accounting.accounts as a
  left join private.account_sums(p_organization_id, p_from, p_to, p_entity_id) as s
    on s.account_id = a.account_id
  where a.organization_id = p_organization_id
    and (p_entity_id is null or a.entity_id = p_entity_id)
  order by a.code collate "C";
end
$$;

comment on function accounting.trial_balance(uuid, date, date, text) is
  'Every account with its opening balance, debits, credits and closing balance from p_from to '
  'p_to, both included, of one entity or of all. For owners, admins, finance and server roles. '
  'Errors: 22023, 42501, TS404.';

create function accounting.account_ledger(
  p_organization_id uuid,
  p_account_id text,
  p_from date default null,
  p_to date default null
)
returns setof accounting.account_ledger_line
language plpgsql
stable
set search_path = pg_catalog, pg_temp
as $$
declare
  v_entity_id text;
begin
  perform private.assert_reader(p_organization_id);
  v_entity_id := private.entity_of(p_organization_id, p_account_id);
  return query
  select
    l.transaction_date, l.transaction_id, l.posting_id, l.source_system, l.external_id,
    l.description, l.memo, l.is_adjusting_entry, l.reverses_transaction_id, l.currency,
    private.book_text(l.amount), private.book_text(l.running_balance)
  from (
    select
      t.transaction_date, t.transaction_id::text, p.posting_id::text, t.source_system::text,
      t.external_id::text, t.description, p.memo, t.is_adjusting_entry,
      t.reverses_transaction_id::text, p.currency, p.amount, p.position,
      sum(p.amount) over (
        order by t.transaction_date, t.transaction_id collate "C", p.position
      ) as running_balance
    from accounting.ledger_postings as p
    inner join accounting.ledger_transactions as t
      on t.organization_id = p.organization_id
      and t.entity_id = p.entity_id
      and t.transaction_id = p.transaction_id
    where p.organization_id = p_organization_id
      and p.entity_id = v_entity_id
      and p.account_id = p_account_id
      and (p_to is null or t.transaction_date <= p_to)
  ) as l
  where p_from is null or l.transaction_date >= p_from
  order by l.transaction_date, l.transaction_id collate "C", l.position;
end
$$;

comment on function accounting.account_ledger(uuid, text, date, date) is
  'Every posting of an account from p_from to p_to, both included, by day, with the balance after '
  'it. For owners, admins, finance and server roles. Errors: 22023, 42501, TS404.';

create function accounting.balance_as_of(
  p_organization_id uuid,
  p_account_id text,
  p_date date default null,
  p_with_parts boolean default false
)
returns numeric
language plpgsql
stable
set search_path = pg_catalog, pg_temp
as $$
declare
  v_entity_id text;
begin
  perform private.assert_reader(p_organization_id);
  v_entity_id := private.entity_of(p_organization_id, p_account_id);
  return (
    with recursive parts as (
      select p_account_id as account_id
      union
      select a.account_id::text
      from accounting.accounts as a
      inner join parts as p on a.parent_account_id = p.account_id
      where a.organization_id = p_organization_id and a.entity_id = v_entity_id and p_with_parts
    )

    select coalesce(sum(l.amount), 0.0000)
    from parts as a
    inner join accounting.ledger_postings as l
      on l.organization_id = p_organization_id
      and l.entity_id = v_entity_id
      and l.account_id = a.account_id
    inner join accounting.ledger_transactions as t
      on t.organization_id = l.organization_id
      and t.entity_id = l.entity_id
      and t.transaction_id = l.transaction_id
    where p_date is null or t.transaction_date <= p_date
  );
end
$$;

comment on function accounting.balance_as_of(uuid, text, date, boolean) is
  'What an account had at the end of a day, US dollars, above 0 debit; without a day, what it has. '
  'p_with_parts: with all accounts below it. For owners, admins, finance and server roles. Errors: '
  '22023, 42501, TS404.';

create function accounting.income_statement(
  p_organization_id uuid,
  p_from date default null,
  p_to date default null,
  p_entity_id text default null
)
returns setof accounting.statement_line
language plpgsql
stable
set search_path = pg_catalog, pg_temp
as $$
begin
  perform private.assert_reader(p_organization_id, p_entity_id);
  return query
  with lines as (
    select
      a.account_type as section, a.entity_id, a.account_id, a.parent_account_id, a.code, a.name,
      coalesce(s.credits - s.debits, 0) as earned
    from accounting.accounts as a
    left join private.account_sums(p_organization_id, p_from, p_to, p_entity_id) as s
      on s.account_id = a.account_id
    where a.organization_id = p_organization_id
      and (p_entity_id is null or a.entity_id = p_entity_id)
      and a.account_type in ('income', 'expense')
  )

  select
    f.section, f.entity_id, f.account_id, f.parent_account_id, f.code, f.name, 'USD',
    private.book_text(f.amount)
  from (
    select
      l.section, l.entity_id::text, l.account_id::text, l.parent_account_id::text, l.code::text,
      l.name::text, case l.section when 'income' then l.earned else -l.earned end as amount,
      case l.section when 'income' then 1 else 3 end as position
    from lines as l
    union all
    select 'income', p_entity_id, null, null, null, 'Total income', coalesce(sum(l.earned), 0), 2
    from lines as l where l.section = 'income'
    union all
    select
      'expense', p_entity_id, null, null, null, 'Total expenses', coalesce(-sum(l.earned), 0), 4
    from lines as l where l.section = 'expense'
    union all
    select 'net_income', p_entity_id, null, null, null, 'Net income', coalesce(sum(l.earned), 0), 5
    from lines as l
  ) as f
  order by f.position, f.code collate "C";
end
$$;

comment on function accounting.income_statement(uuid, date, date, text) is
  'Income and expenses from p_from to p_to, both included, with their sums and the net income, of '
  'one entity or of all. For owners, admins, finance and server roles. Errors: 22023, '
  '42501, TS404.';

create function accounting.balance_sheet(
  p_organization_id uuid,
  p_date date default null,
  p_entity_id text default null
)
returns setof accounting.statement_line
language plpgsql
stable
set search_path = pg_catalog, pg_temp
as $$
begin
  perform private.assert_reader(p_organization_id, p_entity_id);
  return query
  with lines as (
    select
      a.account_type, a.entity_id, a.account_id, a.parent_account_id, a.code, a.name,
      coalesce(s.debits - s.credits, 0) as balance
    from accounting.accounts as a
    left join private.account_sums(p_organization_id, null, p_date, p_entity_id) as s
      on s.account_id = a.account_id
    where a.organization_id = p_organization_id
      and (p_entity_id is null or a.entity_id = p_entity_id)
  ),

  sums as (
    select
      coalesce(sum(l.balance) filter (where l.account_type = 'asset'), 0) as assets,
      coalesce(-sum(l.balance) filter (where l.account_type = 'liability'), 0) as liabilities,
      coalesce(-sum(l.balance) filter (where l.account_type = 'equity'), 0) as equity,
      coalesce(-sum(l.balance) filter (where l.account_type in ('income', 'expense')), 0) as earned
    from lines as l
  )

  select
    f.section, f.entity_id, f.account_id, f.parent_account_id, f.code, f.name, 'USD',
    private.book_text(f.amount)
  from (
    select
      l.account_type as section, l.entity_id::text, l.account_id::text, l.parent_account_id::text,
      l.code::text, l.name::text,
      case l.account_type when 'asset' then l.balance else -l.balance end as amount,
      case l.account_type when 'asset' then 1 when 'liability' then 3 else 5 end as position
    from lines as l where l.account_type in ('asset', 'liability', 'equity')
    union all
    select v.section, p_entity_id, null, null, null, v.name, v.amount, v.position
    from sums as s
    cross join lateral (
      values
      ('asset', 'Total assets', s.assets, 2),
      ('liability', 'Total liabilities', s.liabilities, 4),
      -- What income and expenses come to so far belongs to the owners, though no account says so.
      ('equity', 'Earnings to date', s.earned, 6),
      ('equity', 'Total equity', s.equity + s.earned, 7),
      (
        'liability_and_equity', 'Total liabilities and equity',
        s.liabilities + s.equity + s.earned, 8
      )
    ) as v (section, name, amount, position)
  ) as f
  order by f.position, f.code collate "C";
end
$$;

comment on function accounting.balance_sheet(uuid, date, text) is
  'Assets, liabilities and equity at the end of a day, with their sums, of one entity or of all; '
  'income less expenses so far are the earnings in equity, so that assets are liabilities and '
  'equity. For owners, admins, finance and server roles. Errors: 22023, 42501, TS404.';

create function accounting.compare_snapshots(
  p_organization_id uuid,
  p_entity_id text default null
)
returns setof accounting.snapshot_difference
language plpgsql
stable
set search_path = pg_catalog, pg_temp
as $$
begin
  perform private.assert_reader(p_organization_id, p_entity_id);
  return query
  select
    s.snapshot_id::text, s.entity_id::text, s.account_id::text, a.code::text, s.snapshot_date,
    s.source_system::text, s.currency, private.book_text(s.balance), private.book_text(b.balance),
    private.book_text(s.balance - b.balance)
  from accounting.balance_snapshots as s
  inner join accounting.accounts as a
    on a.organization_id = s.organization_id and a.account_id = s.account_id
  cross join lateral (
    select coalesce(sum(p.amount), 0) as balance
    from accounting.ledger_postings as p
    inner join accounting.ledger_transactions as t
      on t.organization_id = p.organization_id
      and t.entity_id = p.entity_id
      and t.transaction_id = p.transaction_id
    where p.organization_id = s.organization_id
      and p.entity_id = s.entity_id
      and p.account_id = s.account_id
      and t.transaction_date <= s.snapshot_date
  ) as b
  where s.organization_id = p_organization_id
    and (p_entity_id is null or s.entity_id = p_entity_id)
  order by s.snapshot_date, a.code collate "C";
end
$$;

comment on function accounting.compare_snapshots(uuid, text) is
  'Each balance that others stated beside that of the books, and the difference, of one entity or '
  'of all. For owners, admins, finance and server roles. Errors: 22023, 42501, TS404.';

-- sql/accounting/account_map.sql

-- The account map: on which account each line of what billing posts is booked.

create type private.book_line as (
  line text, account_types text [], name text, posted_for text
);

comment on type private.book_line is
  'A line of the account map, and the account it has until another is named.';

-- The lines there are. An account of the first type is made for a line.
create function private.book_lines()
returns setof private.book_line
language plpgsql
immutable
set search_path = pg_catalog, pg_temp
as $$
begin
  return query
  values
  ('cash', array['asset'], 'Cash', 'credits that were paid for'),
  ('receivable', array['asset'], 'Receivables', 'what was spent and not covered by credits'),
  (
    'customer_credits', array['liability'], 'Customer credits',
    'credits that were paid for or adjusted, and not used yet'
  ),
  ('accounts_payable', array['liability'], 'Accounts payable', 'what providers are owed'),
  ('revenue', array['income'], 'Usage revenue', 'charges less refunds, and what is owed'),
  (
    'late_usage', array['income'], 'Late usage revenue',
    'usage that landed after its run or day was charged'
  ),
  ('breakage', array['income'], 'Breakage', 'paid credits that expired'),
  (
    'promo_expense', array['expense', 'income'], 'Promo expense',
    'usage that was paid by promo and trial credits'
  ),
  (
    'adjustment', array['expense', 'income'], 'Credit adjustments',
    'credits that an operator gave or took'
  ),
  ('provider_cost', array['expense'], 'Provider cost', 'usage, at the price of its provider');
end
$$;

comment on function private.book_lines() is
  'The lines of the account map: which types of account each takes, its first account, and what it '
  'is for.';

-- Gives every line that has no account one of its own. Where its name is taken, the id is added.
--
-- Locks the accounts of the organization, so that no name is taken meanwhile.
create function private.open_account_map(p_organization_id uuid)
returns void
language plpgsql
volatile
set search_path = pg_catalog, pg_temp
as $$
declare
  v_line record;
  v_account_id text;
begin
  perform private.lock_forest(p_organization_id);
  for v_line in
    select l.*
    from private.book_lines() as l
    where not exists (
      select from accounting.account_map as m
      where m.organization_id = p_organization_id and m.line = l.line
    )
    order by l.line
  loop
    v_account_id := 'billing:' || v_line.line;
    if exists (
      select from accounting.accounts as a
      where a.organization_id = p_organization_id
        and v_account_id in (a.account_id, a.code)
    ) then
      v_account_id := v_account_id || ':' || private.uuid_v7()::text;
    end if;
    insert into accounting.accounts (organization_id, account_id, code, name, account_type)
    values (p_organization_id, v_account_id, v_account_id, v_line.name, v_line.account_types[1]);
    insert into accounting.account_map (organization_id, line, account_id)
    values (p_organization_id, v_line.line, v_account_id)
    on conflict (organization_id, line) do nothing;
  end loop;
end
$$;

comment on function private.open_account_map(uuid) is
  'Opens an account for every line of the account map that has none.';

-- The privileged half of accounting.set_account_map.
--
-- Locks the account, so that it stays of its type.
create function private.set_account_map(
  p_organization_id uuid,
  p_line text,
  p_account_id text,
  p_correlation_id text,
  p_actor text
)
returns accounting.account_map
language plpgsql
volatile
security definer -- writes the account map and the event log, which no role may write itself
set search_path = pg_catalog, pg_temp
as $$
declare
  v_started_at constant timestamptz := private.clock_now();
  v_actor private.actor;
  v_account accounting.accounts;
  v_types text[];
  v_map accounting.account_map;
begin
  perform private.assert_member(p_organization_id, array['owner', 'admin', 'finance']);
  v_actor := private.acting(p_actor);
  perform private.assert_text('p_account_id', p_account_id);
  select l.account_types into v_types from private.book_lines() as l where l.line = p_line;
  if v_types is null then
    perform private.reject_argument('p_line', 'must be a line of the account map');
  end if;
  select * into v_account
  from accounting.accounts as a
  where a.organization_id = p_organization_id
    and a.entity_id = 'entity-default'
    and a.account_id = p_account_id
  for key share;
  if v_account.account_id is null then
    perform private.raise_error(
      'TS404', jsonb_build_object('account_id', p_account_id, 'entity_id', 'entity-default')
    );
  elsif v_account.account_type <> all(v_types) then
    perform private.reject_argument(
      'p_account_id', 'must be an account of type ' || array_to_string(v_types, ' or ')
    );
  end if;
  insert into accounting.account_map as m (organization_id, line, account_id, updated_at)
  values (p_organization_id, p_line, p_account_id, v_started_at)
  on conflict (organization_id, line)
  do update set account_id = excluded.account_id, updated_at = excluded.updated_at
  returning * into v_map;
  perform private.log_change(
    p_organization_id, 'set_account_map', p_correlation_id,
    jsonb_build_object('line', p_line, 'account_id', p_account_id), v_map, v_actor, v_started_at
  );
  return v_map;
end
$$;

comment on function private.set_account_map(uuid, text, text, text, text) is
  'Core of accounting.set_account_map.';

-- Names the account of a line. Idempotent.
create function accounting.set_account_map(
  p_organization_id uuid,
  p_line text,
  p_account_id text,
  p_correlation_id text default null,
  p_actor text default null
)
returns accounting.account_map
language sql
volatile
set search_path = pg_catalog, pg_temp
as $$
  select * from private.set_account_map(
    p_organization_id, p_line, p_account_id, p_correlation_id, p_actor
  )
$$;

comment on function accounting.set_account_map(uuid, text, text, text, text) is
  'From now on books a line of what billing posts on an account of entity-default: cash, '
  'receivable (asset), customer_credits, accounts_payable (liability), revenue, late_usage, '
  'breakage (income), promo_expense, adjustment (expense or income), provider_cost (expense). '
  'Returns the line. What was posted stays where it is. For owners, admins, finance and server '
  'roles, which may name p_actor. Errors: 22023 for an unknown line or an account of another type, '
  '42501, TS404 for an unknown organization or account.';

create type accounting.account_map_line as (
  line text,
  posted_for text,
  account_id text,
  code text,
  name text,
  account_type text
);

comment on type accounting.account_map_line is
  'A line of the account map, and its account; that is null until something is posted or it is '
  'named.';
comment on column accounting.account_map_line.line is 'The line.';
comment on column accounting.account_map_line.posted_for is 'What is booked there.';
comment on column accounting.account_map_line.account_id is 'The account.';
comment on column accounting.account_map_line.code is 'Its code.';
comment on column accounting.account_map_line.name is 'Its name.';
comment on column accounting.account_map_line.account_type is
  'asset, liability, equity, income or expense; before there is one, what it will be.';

create function accounting.get_account_map(p_organization_id uuid)
returns setof accounting.account_map_line
language plpgsql
stable
set search_path = pg_catalog, pg_temp
as $$
begin
  perform private.assert_reader(p_organization_id, null);
  return query
  select
    l.line, l.posted_for, a.account_id::text, a.code::text, a.name::text,
    coalesce(a.account_type, l.account_types[1])
  from private.book_lines() with ordinality as l (line, account_types, name, posted_for, position)
  left join accounting.account_map as m
    on m.organization_id = p_organization_id and m.line = l.line
  left join accounting.accounts as a
    on a.organization_id = m.organization_id
    and a.entity_id = m.entity_id
    and a.account_id = m.account_id
  order by l.position;
end
$$;

comment on function accounting.get_account_map(uuid) is
  'Every line of what billing posts, what it is for, and its account. For owners, admins, finance '
  'and server roles. Errors: 22023, 42501, TS404.';

-- sql/accounting/billing_posts.sql

-- Movements of credits in the books. Each posts a bundle in its own transaction, under the lock of
-- the organization's credits: key, period, carries, in this order.

create type private.flow as (debit_line text, credit_line text, amount_usd numeric);

comment on type private.flow is
  'What moves from one line of the account map to another, US dollars; below 0 the other way.';

-- What billing has to say to the books: every movement of credits, by the grants it touched, and
-- what was owed and waived. The one place where it is decided what is debited and credited.
--
-- Paid and adjusted credits are owed to the organization until they are used: a liability. Promo
-- and trial credits are not; using them up costs what they pay for, and nothing else is booked.
-- What expired has no key, and late usage one of the system's: whatever an operator says, an
-- adjustment by hand is taken for neither.
create view private.billing_flows with (security_invoker = true) as
with moved as (
  select
    l.org_id,
    l.id,
    l.created_at,
    l.reason,
    coalesce(l.run_id, l.draw_id, l.id) as subject_id,
    m.change_usd::numeric as change_usd,
    g.kind in ('purchase', 'adjustment') as is_owed,
    case
      when l.transaction_type = 'credit_purchase' then 'paid'
      when l.transaction_type = 'charge' and l.reason = 'receivable_collected' then 'receivable'
      when l.transaction_type in ('charge', 'refund') then 'revenue'
      when l.transaction_type = 'adjustment' and l.idempotency_key is null then 'breakage'
      when l.transaction_type = 'adjustment' and starts_with(l.idempotency_key, 'tallystick:')
        then 'late_usage'
      when l.transaction_type = 'adjustment' then 'adjusted'
      else 'given'
    end as what
  from billing.billing_ledger as l
  inner join billing.grant_movements as m on l.org_id = m.org_id and l.id = m.billing_ledger_id
  inner join billing.credit_grants as g on m.org_id = g.org_id and m.grant_id = g.id
)

select
  m.org_id as organization_id,
  m.id as source_id,
  'billing:' || m.id::text as external_id,
  m.created_at,
  m.reason::text as reason,
  m.subject_id,
  case
    when m.what = 'paid' then 'cash'
    when m.what = 'adjusted' then 'adjustment'
    when m.is_owed then 'customer_credits'
    else 'promo_expense'
  end as debit_line,
  case when m.what in ('paid', 'adjusted') then 'customer_credits' else m.what end as credit_line,
  case when m.what in ('paid', 'adjusted') then m.change_usd else -m.change_usd end as amount_usd
from moved as m
where m.is_owed or m.what in ('receivable', 'revenue', 'late_usage')
union all
select
  r.org_id as organization_id,
  r.id as source_id,
  'receivable:' || r.id::text as external_id,
  r.created_at,
  r.reason::text as reason,
  coalesce(r.run_id, r.draw_id, r.id) as subject_id,
  'receivable' as debit_line,
  'revenue' as credit_line,
  r.amount_usd::numeric as amount_usd
from billing.receivables as r
union all
select
  r.org_id as organization_id,
  r.id as source_id,
  'receivable:' || r.id::text || ':waived' as external_id,
  t.resolved_at as created_at,
  'receivable_waived' as reason,
  r.run_id as subject_id,
  'receivable' as debit_line,
  'revenue' as credit_line,
  -r.waived_usd::numeric as amount_usd
from billing.receivables as r
left join billing.token_reconciliations as t on r.org_id = t.org_id and r.run_id = t.run_id
where r.waived_usd > 0;

comment on view private.billing_flows is
  'Every movement of credits and receivable, by the lines of the account map it goes to.';

-- Amounts at 4 decimals that come to the sum of all, which is rounded half even: each is rounded
-- by itself, and what is then left goes to those that were rounded furthest the other way.
create function private.split_total(p_amounts numeric[])
returns numeric[]
language plpgsql
immutable
set search_path = pg_catalog, pg_temp
as $$
begin
  return (
    with rounded as (
      select a.amount, a.position, private.round_half_even(a.amount, 4) as whole
      from unnest(p_amounts) with ordinality as a (amount, position)
    ),

    summed as (
      select
        r.*,
        sum(r.whole) over () - private.round_half_even(sum(r.amount) over (), 4) as rest
      from rounded as r
    ),

    ranked as (
      select
        s.*,
        row_number() over (order by (s.amount - s.whole) * sign(s.rest), s.position) as rank
      from summed as s
    )

    select
      array_agg(
        case
          when k.rank <= abs(k.rest) * 10000 then k.whole - sign(k.rest) * 0.0001
          else k.whole
        end
        order by k.position
      )
    from ranked as k
  );
end
$$;

comment on function private.split_total(numeric[]) is
  'Amounts at 4 decimals whose sum is that of p_amounts, rounded half even.';

-- What the books take of flows: with what was carried over, at 4 decimals. The rest is carried on.
--
-- Locks the carries, in the order of their lines.
create function private.round_flows(p_organization_id uuid, p_flows private.flow[])
returns private.flow[]
language plpgsql
volatile
set search_path = pg_catalog, pg_temp
as $$
declare
  v_due private.flow[];
  v_posted numeric[];
begin
  with carried as (
    insert into accounting.rounding_carries as c (
      organization_id, debit_line, credit_line, carry_usd
    )
    select p_organization_id, f.debit_line, f.credit_line, f.amount_usd
    from unnest(p_flows) as f
    order by f.debit_line, f.credit_line
    on conflict (organization_id, entity_id, debit_line, credit_line)
    do update set carry_usd = c.carry_usd + excluded.carry_usd
    returning c.debit_line, c.credit_line, c.carry_usd
  )

  select
    array_agg(
      row(c.debit_line, c.credit_line, c.carry_usd::numeric)::private.flow
      order by c.debit_line, c.credit_line
    )
  into v_due
  from carried as c;

  v_posted := private.split_total(array(select d.amount_usd from unnest(v_due) as d));
  for v_number in 1 .. cardinality(v_due)
  loop
    v_due[v_number].amount_usd := v_posted[v_number];
    if v_posted[v_number] <> 0 then
      update accounting.rounding_carries as c
      set carry_usd = c.carry_usd - v_posted[v_number]
      where c.organization_id = p_organization_id
        and c.entity_id = 'entity-default'
        and c.debit_line = v_due[v_number].debit_line
        and c.credit_line = v_due[v_number].credit_line;
    end if;
  end loop;
  return v_due;
end
$$;

comment on function private.round_flows(uuid, private.flow[]) is
  'Flows as the books take them now, at 4 decimals; what is left is carried over.';

-- The postings of rounded flows, on the accounts their lines have today; null where nothing is
-- left of them.
create function private.legs_of_flows(p_organization_id uuid, p_flows private.flow[])
returns private.leg[]
language plpgsql
volatile
set search_path = pg_catalog, pg_temp
as $$
begin
  if (
    select count(*) from accounting.account_map as m where m.organization_id = p_organization_id
  ) < (select count(*) from private.book_lines()) then
    perform private.open_account_map(p_organization_id);
  end if;
  return (
    select
      array_agg(
        row(m.account_id, s.amount, 'USD', s.line)::private.leg order by s.amount desc, s.line
      )
    from (
      select b.line, sum(b.amount) as amount
      from (
        select f.debit_line as line, f.amount_usd as amount from unnest(p_flows) as f
        union all
        select f.credit_line as line, -f.amount_usd as amount from unnest(p_flows) as f
      ) as b
      group by b.line
    ) as s
    inner join accounting.account_map as m
      on m.organization_id = p_organization_id and m.line = s.line
    where s.amount <> 0
  );
end
$$;

comment on function private.legs_of_flows(uuid, private.flow[]) is
  'Postings of flows, each with its line as memo.';

-- Posts flows, at p_day or, where its month is closed, in the next that is open. Then, and where
-- p_occurred_on is another day, the transaction says which day they belong to.
--
-- Locks: period, carries. What rounds to nothing is only carried over.
create function private.post_flows(
  p_organization_id uuid,
  p_external_id text,
  p_day date,
  p_occurred_on date,
  p_description text,
  p_correlation_id text,
  p_flows private.flow[]
)
returns void
language plpgsql
volatile
set search_path = pg_catalog, pg_temp
as $$
declare
  v_bundle private.bundle;
begin
  v_bundle.source_system := 'tallystick';
  v_bundle.external_id := p_external_id;
  v_bundle.description := p_description;
  v_bundle.correlation_id := p_correlation_id;
  v_bundle.entity_id := 'entity-default';
  v_bundle.is_adjusting_entry := false;
  v_bundle.override_period_lock := false;
  v_bundle.transaction_date := private.posting_date(p_organization_id, 'entity-default', p_day);
  v_bundle.occurred_on := nullif(p_occurred_on, v_bundle.transaction_date);
  v_bundle.legs := private.legs_of_flows(
    p_organization_id, private.round_flows(p_organization_id, p_flows)
  );
  if v_bundle.legs is not null then
    perform private.commit_bundle(p_organization_id, v_bundle);
  end if;
end
$$;

comment on function private.post_flows(uuid, text, date, date, text, text, private.flow[]) is
  'Posts flows as a bundle of the system.';

-- Posts what a movement or receivable has to say to the books, once. Under the lock of the credits.
create function private.post_billing(
  p_organization_id uuid,
  p_source_id uuid,
  p_external_id text
)
returns void
language plpgsql
volatile
set search_path = pg_catalog, pg_temp
set plan_cache_mode = force_generic_plan
set enable_seqscan = off
set jit = off
as $$
declare
  v_said record;
  v_day date;
begin
  select
    array_agg(row(f.debit_line, f.credit_line, f.amount_usd)::private.flow) as flows,
    min(f.created_at) as created_at,
    min(f.reason) as reason,
    min(f.subject) as subject
  into v_said
  from (
    select
      b.debit_line, b.credit_line, sum(b.amount_usd) as amount_usd,
      min(b.created_at) as created_at, min(b.reason) as reason, min(b.subject_id::text) as subject
    from private.billing_flows as b
    where b.organization_id = p_organization_id
      and b.source_id = p_source_id
      and b.external_id = p_external_id
    group by b.debit_line, b.credit_line
  ) as f;
  if v_said.flows is null
    or not private.bind_bundle(p_organization_id, 'tallystick', p_external_id) then
    return;
  end if;
  select private.local_day(coalesce(v_said.created_at, private.clock_now()), o.time_zone)
  into strict v_day
  from tenancy.organizations as o where o.id = p_organization_id;
  perform private.post_flows(
    p_organization_id, p_external_id, v_day, v_day, v_said.reason, v_said.subject, v_said.flows
  );
end
$$;

comment on function private.post_billing(uuid, uuid, text) is
  'Posts a movement of credits, a receivable, or what was waived of one; again: nothing.';

-- Posts what billing did before it was posted at once, each on its own day. Idempotent.
--
-- Locks: the credits of one organization after the other.
create function accounting.post_history(p_organization_id uuid default null)
returns integer
language plpgsql
volatile
security definer -- writes the books, which no role may write itself
set search_path = pg_catalog, pg_temp
as $$
declare
  v_organization_id uuid;
  v_missing record;
  v_count integer := 0;
begin
  if p_organization_id is not null then
    perform private.assert_member(p_organization_id);
  end if;
  for v_organization_id in
    select b.org_id
    from billing.credit_balances as b
    where p_organization_id is null or b.org_id = p_organization_id
    order by b.org_id
  loop
    perform from billing.credit_balances as b where b.org_id = v_organization_id
    for no key update;
    for v_missing in
      select f.source_id, f.external_id
      from private.billing_flows as f
      where f.organization_id = v_organization_id
        and not exists (
          select from private.bundle_keys as k
          where k.organization_id = f.organization_id
            and k.source_system = 'tallystick'
            and k.external_id = f.external_id
        )
      group by f.source_id, f.external_id
      order by min(f.created_at), f.source_id, f.external_id
    loop
      perform private.post_billing(
        v_organization_id, v_missing.source_id, v_missing.external_id
      );
      v_count := v_count + 1;
    end loop;
  end loop;
  return v_count;
end
$$;

comment on function accounting.post_history(uuid) is
  'Posts every movement of credits and receivable, of an organization or of all, that is not in '
  'the books; returns how many. Each is dated by its own day, or by the next month that is open. '
  'What moves today posts itself: this is for what moved before the books were kept. For '
  'operators. Errors: 22023, TS404.';

-- What the books have on each line, and what is still carried.
create function private.kept_lines(p_organization_ids uuid[])
returns table (organization_id uuid, line text, amount numeric)
language plpgsql
stable
set search_path = pg_catalog, pg_temp
as $$
begin
  return query
  select t.organization_id, p.memo, sum(p.amount)
  from accounting.ledger_transactions as t
  inner join accounting.ledger_postings as p
    on p.organization_id = t.organization_id
    and p.entity_id = t.entity_id
    and p.transaction_id = t.transaction_id
  where t.source_system = 'tallystick'
    and (p_organization_ids is null or t.organization_id = any(p_organization_ids))
  group by t.organization_id, p.memo
  union all
  select c.organization_id, v.line, sum(v.amount)
  from accounting.rounding_carries as c
  cross join lateral (
    values (c.debit_line, c.carry_usd), (c.credit_line, -c.carry_usd)
  ) as v (line, amount)
  where p_organization_ids is null or c.organization_id = any(p_organization_ids)
  group by c.organization_id, v.line;
end
$$;

comment on function private.kept_lines(uuid[]) is
  'Each line of the account map in the books, and in what rounding carries.';

-- sql/accounting/provider_cost.sql

-- What providers ask for usage: posted per organization and day, once the day is over.

-- What the provider asks for a usage: its cost without the organization's markup. A cost that was
-- stated has none.
create function private.provider_cost(p_usage public.ai_usage_ledger)
returns numeric
language plpgsql
stable
set search_path = pg_catalog, pg_temp
as $$
begin
  if p_usage.markup_id is null
    or p_usage.cost <> private.cost_at(p_usage.rates, p_usage.token_counts) then
    return p_usage.cost;
  end if;
  return private.cost_at(
    private.rates_of_prompt(
      (private.pinned_price(p_usage.organization_id, p_usage.price_id, null)).rates,
      p_usage.prompt_tokens
    ),
    p_usage.token_counts
  );
end
$$;

comment on function private.provider_cost(public.ai_usage_ledger) is
  'US dollars that the provider asks for a usage: its cost without markup.';

-- Posts what was used on a day and is not in the books: all of it, or what landed since. False
-- where there is nothing.
--
-- The row of the day is locked.
create function private.post_provider_day(p_organization_id uuid, p_day date)
returns boolean
language plpgsql
volatile
set search_path = pg_catalog, pg_temp
as $$
declare
  v_now constant timestamptz := private.clock_now();
  v_time_zone text;
  v_posted accounting.provider_cost_days;
  v_day accounting.provider_cost_days;
  -- The same wherever the session is, whatever its DateStyle.
  v_key constant text := 'provider-cost:' || to_char(p_day, 'YYYY-MM-DD');
  v_external_id text := v_key;
begin
  select o.time_zone into strict v_time_zone
  from tenancy.organizations as o where o.id = p_organization_id;
  select * into strict v_posted
  from accounting.provider_cost_days as d
  where d.organization_id = p_organization_id and d.day = p_day
  for no key update;
  v_day := v_posted;
  select
    coalesce(sum(l.cost), 0),
    coalesce(sum(case when l.markup_id is null then l.cost else private.provider_cost(l) end), 0)
  into v_day.usage_usd, v_day.cost_usd
  from public.ai_usage_ledger as l
  where l.organization_id = p_organization_id
    and l.id >= private.uuid_v7_floor(p_day::timestamp at time zone v_time_zone)
    and l.id < private.uuid_v7_floor((p_day + 1)::timestamp at time zone v_time_zone);
  if v_day.usage_usd = v_posted.usage_usd and v_day.cost_usd = v_posted.cost_usd then
    return false;
  end if;
  update accounting.provider_cost_days as d
  set
    usage_usd = v_day.usage_usd,
    cost_usd = v_day.cost_usd,
    posting_count = d.posting_count + 1,
    posted_at = v_now
  where d.organization_id = p_organization_id and d.day = p_day;
  if v_posted.posting_count > 0 then
    v_external_id := v_external_id || ':' || v_posted.posting_count::text;
  end if;
  perform private.post_flows(
    p_organization_id, v_external_id,
    case when v_posted.posting_count = 0 then p_day else private.local_day(v_now, v_time_zone) end,
    p_day,
    case when v_posted.posting_count = 0 then 'provider_cost' else 'late_provider_cost' end,
    v_key,
    array[
      row('provider_cost', 'accounts_payable', v_day.cost_usd - v_posted.cost_usd)::private.flow
    ]
  );
  return true;
end
$$;

comment on function private.post_provider_day(uuid, date) is
  'Posts the provider cost of a day, or what landed since it was posted.';

-- The days of an organization that are over and whose usage is not what was posted. Usage can land
-- as long as its hold is known: what is older than that was looked at long ago.
create function private.unposted_days(p_organization_id uuid)
returns date[]
language plpgsql
stable
set search_path = pg_catalog, pg_temp
as $$
begin
  return array(
    select u.day
    from metering.usage_rollups as u
    left join accounting.provider_cost_days as d
      on d.organization_id = u.organization_id and d.day = u.day
    where u.organization_id = p_organization_id
      and u.scope = 'organization'
      and u.day < (
        select private.local_day(private.clock_now(), o.time_zone)
        from tenancy.organizations as o where o.id = p_organization_id
      )
      and u.day >= coalesce(
        (
          select max(p.day) - 60
          from accounting.provider_cost_days as p where p.organization_id = p_organization_id
        ),
        '-infinity'
      )
    group by u.day, d.usage_usd
    having sum(u.cost) <> coalesce(d.usage_usd, 0)
    order by u.day
  );
end
$$;

comment on function private.unposted_days(uuid) is
  'Days that are over with usage that is not posted: the last 60 that were, and all after them.';

-- Posts the provider cost of some days of an organization; returns of how many there was any.
--
-- Locks: the rows of all days, in their order, before the first is posted.
create function private.post_provider_days(p_organization_id uuid, p_days date[])
returns integer
language plpgsql
volatile
set search_path = pg_catalog, pg_temp
as $$
declare
  v_day date;
  v_count integer := 0;
begin
  insert into accounting.provider_cost_days as d (organization_id, day, posted_at)
  select p_organization_id, n.day, private.clock_now() from unnest(p_days) as n (day)
  order by n.day
  on conflict (organization_id, day) do update set posted_at = d.posted_at;
  for v_day in select n.day from unnest(p_days) as n (day) order by n.day
  loop
    v_count := v_count + private.post_provider_day(p_organization_id, v_day)::integer;
  end loop;
  return v_count;
end
$$;

comment on function private.post_provider_days(uuid, date[]) is
  'Posts the provider cost of days of an organization.';

-- Posts provider cost. Idempotent: what is in the books is not posted again.
create function accounting.post_provider_cost(
  p_organization_id uuid default null,
  p_day date default null
)
returns integer
language plpgsql
volatile
security definer -- writes the books, which no role may write itself
set search_path = pg_catalog, pg_temp
set lock_timeout = '20ms' -- longer than a commit takes, shorter than a transaction left open
as $$
declare
  v_organization record;
  v_days date[];
  v_count integer := 0;
begin
  if p_organization_id is not null then
    perform private.assert_member(p_organization_id);
  end if;
  for v_organization in
    select o.id, private.local_day(private.clock_now(), o.time_zone) as today
    from tenancy.organizations as o
    where p_organization_id is null or o.id = p_organization_id
    order by o.id
  loop
    if p_day is null then
      v_days := private.unposted_days(v_organization.id);
    elsif private.assert_day('p_day', p_day) < v_organization.today then
      v_days := array[p_day];
    elsif p_organization_id is null then
      continue;
    else
      perform private.reject_argument('p_day', 'must be a day that is over');
    end if;
    -- One tenant is not held up because of another: who keeps it waiting is left for the next time.
    begin
      v_count := v_count + private.post_provider_days(v_organization.id, v_days);
    exception
      when lock_not_available then null;
    end;
  end loop;
  return v_count;
end
$$;

comment on function accounting.post_provider_cost(uuid, date) is
  'Posts what providers ask for the usage of a day, of an organization or of all: provider_cost '
  'against accounts_payable. p_day null: of every day that is over and not posted, as maintenance '
  'does daily. A day is posted once; usage that lands later is posted today, with its own day as '
  'occurred_on. Returns for how many days there was something; an organization that another call '
  'keeps waiting is left for the next time. For operators. Errors: 22023 for a day that is not '
  'over, TS404.';

-- sql/accounting/integrity.sql

-- What must hold in the books.
create function private.verify_accounting(p_organization_ids uuid[], p_since xid8)
returns setof audit.finding
language plpgsql
stable
set search_path = pg_catalog, pg_temp
as $$
begin
  return query
  select
    'transaction_is_balanced', t.organization_id, 'transaction ' || t.transaction_id,
    '2 postings or more that sum to 0.0000 USD',
    format('%s that sum to %s', count(p.posting_id), private.book_text(coalesce(sum(p.amount), 0)))
  from accounting.ledger_transactions as t
  left join accounting.ledger_postings as p
    on p.organization_id = t.organization_id
    and p.entity_id = t.entity_id
    and p.transaction_id = t.transaction_id
  where (p_organization_ids is null or t.organization_id = any(p_organization_ids))
    and (p_since is null or t.xact_id >= p_since)
  group by t.organization_id, t.transaction_id
  having count(p.posting_id) < 2 or sum(p.amount) <> 0;

  return query
  select
    'transaction_has_its_response', t.organization_id, 'transaction ' || t.transaction_id,
    'a response that names its ' || count(p.posting_id)::text || ' postings',
    coalesce(t.response_payload, 'nothing')
  from accounting.ledger_transactions as t
  left join accounting.ledger_postings as p
    on p.organization_id = t.organization_id
    and p.entity_id = t.entity_id
    and p.transaction_id = t.transaction_id
  where (p_organization_ids is null or t.organization_id = any(p_organization_ids))
    and (p_since is null or t.xact_id >= p_since)
  group by t.organization_id, t.transaction_id
  having t.response_payload is null
    or t.output_hash <> encode(sha256(convert_to(t.response_payload, 'UTF8')), 'hex')
    or t.response_payload::jsonb ->> 'transaction_id' <> t.transaction_id
    or t.response_payload::jsonb ->> 'input_hash' <> t.input_hash
    or t.response_payload::jsonb -> 'posting_ids'
    is distinct from jsonb_agg(p.posting_id order by p.position);

  return query
  select
    'reversal_undoes_its_transaction', t.organization_id, 'transaction ' || t.transaction_id,
    'nothing left on account ' || p.account_id, private.book_text(sum(p.amount))
  from accounting.ledger_transactions as t
  inner join accounting.ledger_postings as p
    on p.organization_id = t.organization_id
    and p.entity_id = t.entity_id
    and p.transaction_id in (t.transaction_id, t.reverses_transaction_id)
  where t.reverses_transaction_id is not null
    and (p_organization_ids is null or t.organization_id = any(p_organization_ids))
    and (p_since is null or t.xact_id >= p_since)
  group by t.organization_id, t.transaction_id, p.account_id
  having sum(p.amount) <> 0;

  -- What was booked after its month was closed came through the gate of that month.
  return query
  select
    'closed_period_takes_what_may_pass', t.organization_id, 'transaction ' || t.transaction_id,
    case p.status when 'closed' then 'an adjusting entry' else 'an approved override' end,
    format('another, %s after %s', t.recorded_at, coalesce(p.locked_at, p.closed_at))
  from accounting.accounting_periods as p
  inner join accounting.ledger_transactions as t
    on t.organization_id = p.organization_id
    and t.entity_id = p.entity_id
    and t.transaction_date >= to_date(p.period_key, 'YYYY-MM')
    and t.transaction_date < to_date(p.period_key, 'YYYY-MM') + interval '1 month'
  where (p_organization_ids is null or p.organization_id = any(p_organization_ids))
    and (
      p.status = 'closed' and t.recorded_at > p.closed_at and not t.is_adjusting_entry
      or p.status = 'locked' and t.recorded_at > p.locked_at and not exists (
        select from accounting.approval_proposals as a
        where a.organization_id = t.organization_id
          and a.approved_transaction_id = t.transaction_id
      )
    );

  return query
  with recursive above as (
    select a.organization_id, a.account_id, a.parent_account_id, false as is_cycle
    from accounting.accounts as a
    where a.parent_account_id is not null
      and (p_organization_ids is null or a.organization_id = any(p_organization_ids))
    union
    select b.organization_id, b.account_id, a.parent_account_id, a.parent_account_id = b.account_id
    from above as b
    inner join accounting.accounts as a
      on a.organization_id = b.organization_id and a.account_id = b.parent_account_id
    where not b.is_cycle
  )

  select distinct
    'accounts_are_a_forest', b.organization_id, 'account ' || b.account_id::text, 'not below itself',
    'below itself'
  from above as b
  where b.is_cycle;

  -- The system's own postings are told of by the movements they follow from.
  return query
  select
    'transaction_has_its_event', t.organization_id, 'transaction ' || t.transaction_id,
    'an event', 'nothing'
  from accounting.ledger_transactions as t
  where (p_organization_ids is null or t.organization_id = any(p_organization_ids))
    and (p_since is null or t.xact_id >= p_since)
    and t.source_system <> 'tallystick'
    and not exists (
      select from audit.event_log as e
      where e.organization_id = t.organization_id
        and e.correlation_id = t.correlation_id
        and e.input_hash = t.input_hash
        and e.status in ('ok', 'proposed')
    );

  return query
  select
    'organization_has_its_books', o.id, 'organization ' || o.id::text, 'an entity entity-default',
    'nothing'
  from tenancy.organizations as o
  left join accounting.entities as e
    on e.organization_id = o.id and e.entity_id = 'entity-default'
  where (p_organization_ids is null or o.id = any(p_organization_ids)) and e.entity_id is null;

  return query select * from private.verify_billing_posts(p_organization_ids);
end
$$;

comment on function private.verify_accounting(uuid[], xid8) is
  'Accounting checks of audit.verify_integrity.';

-- sql/accounting/billing_integrity.sql

-- What must hold between billing and the books.

create function private.verify_billing_posts(p_organization_ids uuid[])
returns setof audit.finding
language plpgsql
stable
set search_path = pg_catalog, pg_temp
as $$
begin
  -- Each movement is in its own bundle, but for what rounding may carry: less than 0.0001 before it
  -- and after it, for each two lines. What each line comes to is looked at below, exactly.
  return query
  with said as (
    select f.organization_id, f.external_id, v.line, sum(v.amount) as amount, count(*) as flows
    from private.billing_flows as f
    cross join lateral (
      values (f.debit_line, f.amount_usd), (f.credit_line, -f.amount_usd)
    ) as v (line, amount)
    where p_organization_ids is null or f.organization_id = any(p_organization_ids)
    group by f.organization_id, f.external_id, v.line
  ),

  posted as (
    select t.organization_id, t.external_id, p.memo as line, sum(p.amount) as amount
    from accounting.ledger_transactions as t
    inner join accounting.ledger_postings as p
      on p.organization_id = t.organization_id
      and p.entity_id = t.entity_id
      and p.transaction_id = t.transaction_id
    where t.source_system = 'tallystick'
      and t.external_id not like 'provider-cost:%'
      and (p_organization_ids is null or t.organization_id = any(p_organization_ids))
    group by t.organization_id, t.external_id, p.memo
  )

  select
    'movement_is_in_the_books', organization_id, external_id || ', ' || line,
    private.figure(s.amount), private.figure(b.amount)
  from said as s
  full join posted as b using (organization_id, external_id, line)
  where abs(coalesce(s.amount, 0) - coalesce(b.amount, 0)) >= 0.0002 * coalesce(s.flows, 1);

  -- Books and carries are the ledger, line by line.
  return query
  with said as (
    select f.organization_id, v.line, sum(v.amount) as amount
    from (
      select b.organization_id, b.debit_line, b.credit_line, b.amount_usd
      from private.billing_flows as b
      where p_organization_ids is null or b.organization_id = any(p_organization_ids)
      union all
      select d.organization_id, 'provider_cost', 'accounts_payable', d.cost_usd
      from accounting.provider_cost_days as d
      where p_organization_ids is null or d.organization_id = any(p_organization_ids)
    ) as f
    cross join lateral (
      values (f.debit_line, f.amount_usd), (f.credit_line, -f.amount_usd)
    ) as v (line, amount)
    group by f.organization_id, v.line
  ),

  kept as (
    select k.organization_id, k.line, sum(k.amount) as amount
    from private.kept_lines(p_organization_ids) as k
    group by k.organization_id, k.line
  )

  select
    'books_and_carries_are_the_ledger', organization_id, 'line ' || line,
    private.figure(coalesce(s.amount, 0)), private.figure(coalesce(b.amount, 0))
  from said as s
  full join kept as b using (organization_id, line)
  where coalesce(s.amount, 0) <> coalesce(b.amount, 0);

  -- The same from the rows of billing, by what each line means: revenue is charges less refunds and
  -- what is owed, customer credits are what is left of paid and adjusted grants.
  return query
  with kept as (
    select k.organization_id, k.line, sum(k.amount) as amount
    from private.kept_lines(p_organization_ids) as k
    group by k.organization_id, k.line
  )

  select
    v.check_name, b.org_id, 'line ' || v.line, private.figure(v.expected),
    private.figure(coalesce(k.amount, 0))
  from billing.credit_balances as b
  cross join lateral (
    select
      coalesce(sum(l.amount_usd) filter (where l.transaction_type = 'credit_purchase'), 0) as paid,
      coalesce(sum(l.amount_usd) filter (where l.transaction_type = 'charge'), 0)
      - coalesce(sum(l.amount_usd) filter (where l.transaction_type = 'refund'), 0) as charged
    from billing.billing_ledger as l where l.org_id = b.org_id
  ) as m
  cross join lateral (
    select coalesce(sum(r.outstanding_usd), 0) as owed
    from billing.receivables as r where r.org_id = b.org_id
  ) as r
  cross join lateral (
    select coalesce(sum(g.remaining_usd), 0) as remaining
    from billing.credit_grants as g
    where g.org_id = b.org_id and g.kind in ('purchase', 'adjustment')
  ) as g
  cross join lateral (
    values
    ('cash_is_what_was_paid', 'cash', m.paid),
    ('receivable_is_what_is_owed', 'receivable', r.owed),
    ('customer_credits_are_what_is_left', 'customer_credits', -g.remaining),
    ('revenue_is_charges_less_refunds_and_owed', 'revenue', -(m.charged + r.owed))
  ) as v (check_name, line, expected)
  left join kept as k on k.organization_id = b.org_id and k.line = v.line
  where v.expected <> coalesce(k.amount, 0)
    and (p_organization_ids is null or b.org_id = any(p_organization_ids));

  return query
  select
    'line_has_an_account_of_its_type', m.organization_id, 'line ' || m.line,
    array_to_string(l.account_types, ' or '), a.account_type
  from accounting.account_map as m
  inner join private.book_lines() as l on l.line = m.line
  inner join accounting.accounts as a
    on a.organization_id = m.organization_id
    and a.entity_id = m.entity_id
    and a.account_id = m.account_id
  where a.account_type <> all(l.account_types)
    and (p_organization_ids is null or m.organization_id = any(p_organization_ids));

  return query
  select
    'carry_is_below_what_the_books_show', c.organization_id,
    c.debit_line || ' to ' || c.credit_line, 'below 0.0001', private.figure(c.carry_usd)
  from accounting.rounding_carries as c
  where abs(c.carry_usd) >= 0.0001
    and (p_organization_ids is null or c.organization_id = any(p_organization_ids));

  -- What was posted for a day is its usage, or, where more has landed since, what had landed a day
  -- before it was posted, at least.
  return query
  select
    v.check_name, d.organization_id, 'day ' || to_char(d.day, 'YYYY-MM-DD'),
    private.figure(v.expected), private.figure(v.actual)
  from accounting.provider_cost_days as d
  inner join tenancy.organizations as o on o.id = d.organization_id
  cross join lateral (
    select
      coalesce(sum(l.cost), 0) as usage_usd,
      coalesce(sum(private.provider_cost(l)), 0) as cost_usd,
      coalesce(sum(l.cost) filter (where l.settled_at < d.posted_at - interval '1 day'), 0)
        as landed_usd
    from public.ai_usage_ledger as l
    where l.organization_id = d.organization_id
      and l.id >= private.uuid_v7_floor(d.day::timestamp at time zone o.time_zone)
      and l.id < private.uuid_v7_floor((d.day + 1)::timestamp at time zone o.time_zone)
  ) as u
  cross join lateral (
    values
    (
      'provider_cost_is_of_its_usage',
      case
        when d.usage_usd = u.usage_usd then u.cost_usd else least(d.cost_usd, u.cost_usd)
      end,
      d.cost_usd::numeric
    ),
    (
      'usage_of_a_posted_day_is_posted',
      least(greatest(d.usage_usd, u.landed_usd), u.usage_usd),
      d.usage_usd::numeric
    )
  ) as v (check_name, expected, actual)
  where v.expected <> v.actual
    and (p_organization_ids is null or d.organization_id = any(p_organization_ids));
end
$$;

comment on function private.verify_billing_posts(uuid[]) is
  'Checks between billing, usage and the books, for audit.verify_integrity.';

-- sql/accounting/approval_integrity.sql

-- What must hold between rules, proposals, decisions and what came of them.
create function private.verify_approvals(p_organization_ids uuid[], p_since xid8)
returns setof audit.finding
language plpgsql
stable
set search_path = pg_catalog, pg_temp
as $$
begin
  return query
  select
    'kernel_asks_above_the_least_threshold', b.organization_id, 'budget ' || b.id::text,
    coalesce(private.figure(private.approval_above(b.organization_id)), 'nobody'),
    coalesce(private.figure(b.approval_above_usd), 'nobody')
  from metering.budgets as b
  where b.id = b.organization_id
    and (p_organization_ids is null or b.organization_id = any(p_organization_ids))
    and b.approval_above_usd is distinct from private.approval_above(b.organization_id);

  return query
  select
    'hold_is_within_its_approval', h.organization_id, 'hold ' || h.id::text,
    coalesce('at most ' || private.figure(p.impact_amount), 'an approved proposal'),
    private.figure(h.held_usd)
  from metering.holds as h
  left join accounting.approval_proposals as p
    on p.organization_id = h.organization_id
    and p.proposal_id = h.proposal_id::text
    and p.tool_name = 'authorize_spend'
    and p.status = 'committed'
  where h.proposal_id is not null
    and (p_organization_ids is null or h.organization_id = any(p_organization_ids))
    and (h.held_usd <= p.impact_amount) is not true;

  return query
  select
    'approval_admits_one_hold', h.organization_id, 'proposal ' || h.proposal_id::text, '1',
    count(*)::text
  from metering.holds as h
  where h.proposal_id is not null
    and h.state = 'open'
    and (p_organization_ids is null or h.organization_id = any(p_organization_ids))
  group by h.organization_id, h.proposal_id
  having count(*) > 1;

  return query
  select
    'proposal_was_decided_by_others', p.organization_id, 'proposal ' || p.proposal_id,
    case p.status
      when 'committed' then p.required_approvals || ' approvals'
      when 'rejected' then 'a rejection'
      else 'none yet'
    end,
    format('%s approvals, %s rejections', d.approvals, d.rejections)
  from accounting.approval_proposals as p
  cross join lateral (
    select
      count(distinct private.person_of(a.approver_id)) filter (
        where a.action = 'approve'
          and private.person_of(a.approver_id) <> private.person_of(p.proposed_by)
      ) as approvals,
      count(*) filter (where a.action = 'reject') as rejections
    from accounting.approval_decisions as a
    where a.organization_id = p.organization_id and a.proposal_id = p.proposal_id
  ) as d
  where (p_organization_ids is null or p.organization_id = any(p_organization_ids))
    and (
      p.status = 'committed' and d.approvals < p.required_approvals
      or (p.status = 'rejected') <> (d.rejections > 0)
    );

  return query
  select
    'proposal_became_its_transaction', p.organization_id, 'proposal ' || p.proposal_id,
    case p.status when 'committed' then 'transaction with its content' else 'no transaction' end,
    coalesce('transaction ' || t.transaction_id, 'nothing')
  from accounting.approval_proposals as p
  left join accounting.ledger_transactions as t
    on t.organization_id = p.organization_id
    and t.source_system = p.source_system
    and t.external_id = p.external_id
  where p.tool_name = 'record_transaction_bundle'
    and (p_organization_ids is null or p.organization_id = any(p_organization_ids))
    and row(p.approved_transaction_id, p.input_hash, p.response_payload) is distinct from case
      when p.status = 'committed' then row(t.transaction_id, t.input_hash, t.response_payload)
      else row(t.transaction_id, p.input_hash, p.response_payload)
    end;

  return query
  select
    'proposal_has_its_event', p.organization_id, 'proposal ' || p.proposal_id, 'an event', 'nothing'
  from accounting.approval_proposals as p
  where (p_organization_ids is null or p.organization_id = any(p_organization_ids))
    and not exists (
      select from audit.event_log as e
      where e.organization_id = p.organization_id
        and e.correlation_id = p.correlation_id
        and e.tool_name = p.tool_name
        and e.input_hash = p.input_hash
        and e.status = 'proposed'
    );

  return query
  select
    'decision_has_its_event', d.organization_id, 'decision ' || d.decision_id, 'an event', 'nothing'
  from accounting.approval_decisions as d
  where (p_organization_ids is null or d.organization_id = any(p_organization_ids))
    and (p_since is null or d.xact_id >= p_since)
    and not exists (
      select from audit.event_log as e
      where e.organization_id = d.organization_id
        and e.correlation_id = d.correlation_id
        and e.tool_name = d.action || '_proposal'
        and e.actor_id = d.approver_id
        and e.status = 'ok'
    );
end
$$;

comment on function private.verify_approvals(uuid[], xid8) is
  'Approval checks of audit.verify_integrity.';

-- sql/accounting/access.sql

-- Who sees and changes the books. Members with an eye on money read them and server roles do;
-- nobody writes but the functions, and the definers in private behind them.

revoke all on table
accounting.entities, accounting.accounts, private.account_forests,
accounting.ledger_transactions, accounting.ledger_postings, accounting.balance_snapshots,
accounting.obligations, accounting.accounting_periods, private.bundle_keys
from public, anon, authenticated, service_role, app_user, tallystick_reader, tallystick_writer;

alter table accounting.entities enable row level security;
alter table accounting.accounts enable row level security;
alter table private.account_forests enable row level security;
alter table accounting.ledger_transactions enable row level security;
alter table accounting.ledger_postings enable row level security;
alter table accounting.balance_snapshots enable row level security;
alter table accounting.obligations enable row level security;
alter table accounting.accounting_periods enable row level security;
alter table private.bundle_keys enable row level security;

grant select on table
accounting.entities, accounting.accounts, accounting.ledger_transactions,
accounting.ledger_postings, accounting.balance_snapshots, accounting.obligations,
accounting.accounting_periods
to authenticated, service_role, app_user, tallystick_reader, tallystick_writer;

create policy nobody on private.account_forests for all to public using (false);
create policy nobody on private.bundle_keys for all to public using (false);

create policy entities_select_member on accounting.entities
for select to authenticated
using (
  organization_id = any(
    (select private.member_organization_ids(array['owner', 'admin', 'finance']))::uuid[]
  )
);
create policy entities_select_trusted on accounting.entities
for select to app_user, service_role, tallystick_reader, tallystick_writer using (true);

create policy accounts_select_member on accounting.accounts
for select to authenticated
using (
  organization_id = any(
    (select private.member_organization_ids(array['owner', 'admin', 'finance']))::uuid[]
  )
);
create policy accounts_select_trusted on accounting.accounts
for select to app_user, service_role, tallystick_reader, tallystick_writer using (true);

create policy ledger_transactions_select_member on accounting.ledger_transactions
for select to authenticated
using (
  organization_id = any(
    (select private.member_organization_ids(array['owner', 'admin', 'finance']))::uuid[]
  )
);
create policy ledger_transactions_select_trusted on accounting.ledger_transactions
for select to app_user, service_role, tallystick_reader, tallystick_writer using (true);

create policy ledger_postings_select_member on accounting.ledger_postings
for select to authenticated
using (
  organization_id = any(
    (select private.member_organization_ids(array['owner', 'admin', 'finance']))::uuid[]
  )
);
create policy ledger_postings_select_trusted on accounting.ledger_postings
for select to app_user, service_role, tallystick_reader, tallystick_writer using (true);

create policy balance_snapshots_select_member on accounting.balance_snapshots
for select to authenticated
using (
  organization_id = any(
    (select private.member_organization_ids(array['owner', 'admin', 'finance']))::uuid[]
  )
);
create policy balance_snapshots_select_trusted on accounting.balance_snapshots
for select to app_user, service_role, tallystick_reader, tallystick_writer using (true);

create policy obligations_select_member on accounting.obligations
for select to authenticated
using (
  organization_id = any(
    (select private.member_organization_ids(array['owner', 'admin', 'finance']))::uuid[]
  )
);
create policy obligations_select_trusted on accounting.obligations
for select to app_user, service_role, tallystick_reader, tallystick_writer using (true);

create policy accounting_periods_select_member on accounting.accounting_periods
for select to authenticated
using (
  organization_id = any(
    (select private.member_organization_ids(array['owner', 'admin', 'finance']))::uuid[]
  )
);
create policy accounting_periods_select_trusted on accounting.accounting_periods
for select to app_user, service_role, tallystick_reader, tallystick_writer using (true);

revoke execute on function
private.acting(text),
private.assert_object(text, jsonb),
private.book_text(numeric),
private.refusal(text, text, text, text, text),
private.log_call(uuid, text, text, text, text, private.actor, timestamptz, text, text, text),
private.log_change(uuid, text, text, jsonb, anyelement, private.actor, timestamptz),
private.open_books(),
private.lock_forest(uuid),
private.keep_forest(),
private.keep_account_type(),
private.set_entity(uuid, text, text, jsonb, text, text, text),
accounting.set_entity(uuid, text, text, jsonb, text, text, text),
private.set_account(uuid, text, text, text, text, text, jsonb, text, text, text),
accounting.set_account(uuid, text, text, text, text, text, jsonb, text, text, text),
private.entity_of(uuid, text),
private.record_balance_snapshot(uuid, text, text, date, numeric, text, text, text),
accounting.record_balance_snapshot(uuid, text, text, date, numeric, text, text, text),
private.set_obligation(
  uuid, text, text, text, numeric, date, text, boolean,
  jsonb, text, boolean, text, text
),
accounting.set_obligation(
  uuid, text, text, text, numeric, date, text, boolean,
  jsonb, text, boolean, text, text
),
private.due_date(accounting.obligations, date),
private.roll_obligations(uuid, date, text, text),
accounting.roll_obligations(uuid, date, text, text),
private.assert_amount(text, numeric),
private.assert_day(text, date),
private.parse_request(text),
private.text_in(jsonb, text),
private.label_in(jsonb, text),
private.flag_in(jsonb, text),
private.day_in(jsonb, text),
private.amount_in(jsonb, text),
private.assert_keys(text, jsonb, text[]),
private.round_legs(private.leg[]),
private.read_legs(jsonb),
private.reversed_legs(uuid, text),
private.bundle_amount(private.bundle),
private.bundle_text(private.bundle),
private.bundle_hash(private.bundle),
private.assert_bundle(uuid, private.bundle),
private.read_bundle(uuid, text),
private.ensure_period(uuid, text, text),
private.lock_period(uuid, text, date),
private.assert_period(accounting.accounting_periods, private.bundle, boolean),
private.posting_date(uuid, text, date),
private.move_period(uuid, text, text, text, text, text),
accounting.close_period(uuid, text, text, text, text),
accounting.lock_period(uuid, text, text, text, text),
accounting.reopen_period(uuid, text, text, text, text),
private.keep_balance(),
private.admit_response(),
private.keep_whole(),
private.assert_accounts(uuid, private.bundle),
private.find_transaction(uuid, private.bundle),
private.commit_bundle(uuid, private.bundle, text, boolean),
private.bind_bundle(uuid, text, text),
private.replay_bundle(uuid, private.bundle),
private.admit_bundle(uuid, private.bundle, private.actor),
private.record_bundle(uuid, text, text),
accounting.record_transaction_bundle(uuid, text, text),
accounting.reverse_transaction(uuid, text, date, text, text, text, boolean, text),
private.assert_reader(uuid, text),
private.account_sums(uuid, date, date, text),
accounting.trial_balance(uuid, date, date, text),
accounting.account_ledger(uuid, text, date, date),
accounting.balance_as_of(uuid, text, date, boolean),
accounting.income_statement(uuid, date, date, text),
accounting.balance_sheet(uuid, date, text),
accounting.compare_snapshots(uuid, text),
private.verify_accounting(uuid[], xid8)
from public, anon, authenticated, service_role;

-- Definers: each acts for members with an eye on money in their own organization, or for server
-- roles.
grant execute on function
private.set_entity(uuid, text, text, jsonb, text, text, text),
private.set_account(uuid, text, text, text, text, text, jsonb, text, text, text),
private.record_balance_snapshot(uuid, text, text, date, numeric, text, text, text),
private.set_obligation(
  uuid, text, text, text, numeric, date, text, boolean,
  jsonb, text, boolean, text, text
),
private.roll_obligations(uuid, date, text, text),
private.move_period(uuid, text, text, text, text, text),
private.record_bundle(uuid, text, text)
to authenticated, service_role, app_user, tallystick_writer;

-- With the caller's rights: policies decide what a report sums.
grant execute on function
accounting.set_entity(uuid, text, text, jsonb, text, text, text),
accounting.set_account(uuid, text, text, text, text, text, jsonb, text, text, text),
accounting.record_balance_snapshot(uuid, text, text, date, numeric, text, text, text),
accounting.set_obligation(
  uuid, text, text, text, numeric, date, text, boolean,
  jsonb, text, boolean, text, text
),
accounting.roll_obligations(uuid, date, text, text),
accounting.close_period(uuid, text, text, text, text),
accounting.lock_period(uuid, text, text, text, text),
accounting.reopen_period(uuid, text, text, text, text),
accounting.record_transaction_bundle(uuid, text, text),
accounting.reverse_transaction(uuid, text, date, text, text, text, boolean, text),
accounting.trial_balance(uuid, date, date, text),
accounting.account_ledger(uuid, text, date, date),
accounting.balance_as_of(uuid, text, date, boolean),
accounting.income_statement(uuid, date, date, text),
accounting.balance_sheet(uuid, date, text),
accounting.compare_snapshots(uuid, text),
private.assert_reader(uuid, text),
private.entity_of(uuid, text),
private.account_sums(uuid, date, date, text),
private.book_text(numeric)
to authenticated, service_role, app_user, tallystick_writer;

grant execute on function private.verify_accounting(uuid[], xid8)
to service_role, app_user, tallystick_writer;

-- sql/accounting/approval_access.sql

-- Who sees what waits for approval, and decides. Rules are no secret: every member may know what
-- needs approval. Proposals are for those with an eye on money, and for whoever made them.

revoke all on table
accounting.policy_rules, accounting.approval_proposals, accounting.approval_decisions
from public, anon, authenticated, service_role, app_user, tallystick_reader, tallystick_writer;

alter table accounting.policy_rules enable row level security;
alter table accounting.approval_proposals enable row level security;
alter table accounting.approval_decisions enable row level security;

grant select on table
accounting.policy_rules, accounting.approval_proposals, accounting.approval_decisions
to authenticated, service_role, app_user, tallystick_reader, tallystick_writer;

create policy policy_rules_select_member on accounting.policy_rules
for select to authenticated
using (organization_id = any((select private.member_organization_ids())::uuid[]));
create policy policy_rules_select_trusted on accounting.policy_rules
for select to app_user, service_role, tallystick_reader, tallystick_writer using (true);

create policy approval_proposals_select_member on accounting.approval_proposals
for select to authenticated
using (
  organization_id = any(
    (select private.member_organization_ids(array['owner', 'admin', 'finance']))::uuid[]
  )
  or organization_id = any((select private.member_organization_ids())::uuid[])
  and proposed_by = 'user:' || (select auth.uid())::text
);
create policy approval_proposals_select_trusted on accounting.approval_proposals
for select to app_user, service_role, tallystick_reader, tallystick_writer using (true);

create policy approval_decisions_select_member on accounting.approval_decisions
for select to authenticated
using (
  organization_id = any(
    (select private.member_organization_ids(array['owner', 'admin', 'finance']))::uuid[]
  )
  or organization_id = any((select private.member_organization_ids())::uuid[])
  and proposed_by = 'user:' || (select auth.uid())::text
);
create policy approval_decisions_select_trusted on accounting.approval_decisions
for select to app_user, service_role, tallystick_reader, tallystick_writer using (true);

revoke execute on function
private.guard_proposal(),
private.person_of(text),
private.find_policy_rule(uuid, text, text, text, text, text[]),
private.uses_in_window(accounting.policy_rules, timestamptz),
private.policy_decision_of(accounting.policy_rules, numeric, timestamptz),
private.match_policy(uuid, text, text, text, text, numeric, text[]),
private.assert_between(text, integer, integer, integer),
private.draft_policy_rule(
  uuid, text, numeric, integer, text, text, text, text, text, integer, integer, integer, boolean,
  jsonb
),
private.approval_above(uuid),
private.enact_policy_rule(accounting.policy_rules, text, timestamptz),
private.set_policy_rule(
  uuid, text, numeric, integer, text, text, text, text, text, integer, integer, integer, boolean,
  jsonb
),
accounting.set_policy_rule(
  uuid, text, numeric, integer, text, text, text, text, text, integer, integer, integer, boolean,
  jsonb
),
private.retire_policy_rule(uuid, text),
accounting.retire_policy_rule(uuid, text),
private.approval_ttl(),
private.time_text(timestamptz),
private.with_status(text, text),
private.emit_proposal(text, accounting.approval_proposals),
private.propose(accounting.approval_proposals, jsonb),
private.proposal_code(text),
private.propose_bundle(uuid, private.bundle, private.policy_decision, private.actor),
private.bundle_response(accounting.approval_proposals, text),
private.replay_proposal(uuid, text, text, text, text),
private.policy_in_force(accounting.approval_proposals),
private.count_approvals(accounting.approval_proposals, boolean),
private.close_proposal(accounting.approval_proposals),
private.commit_proposal(accounting.approval_proposals),
private.assert_may_decide(uuid, text, text, private.actor),
private.outcome_of(accounting.approval_proposals, accounting.policy_rules),
private.take_decision(
  accounting.approval_proposals, accounting.approval_decisions, private.actor
),
private.decide_proposal(uuid, text, text, text, text, text),
accounting.approve_proposal(uuid, text, text, text, text),
accounting.reject_proposal(uuid, text, text, text, text),
private.rule_for_spend(metering.holds),
private.would_need_approval(metering.holds),
private.needs_approval(metering.holds),
private.approval_of(metering.holds, uuid, timestamptz),
private.decision_of_proposal(uuid, uuid),
private.requester_of(metering.holds),
private.propose_spend(metering.holds, text, text, uuid),
private.assert_within_approval(metering.holds, numeric),
private.verify_approvals(uuid[], xid8)
from public, anon, authenticated, service_role;

-- What estimate_spend reads with the caller's rights.
grant execute on function
private.find_policy_rule(uuid, text, text, text, text, text[]),
private.uses_in_window(accounting.policy_rules, timestamptz),
private.policy_decision_of(accounting.policy_rules, numeric, timestamptz),
private.rule_for_spend(metering.holds),
private.would_need_approval(metering.holds)
to authenticated, service_role, app_user, tallystick_writer;

-- What verify_integrity reads with the caller's rights.
grant execute on function
private.person_of(text),
private.approval_above(uuid),
private.verify_approvals(uuid[], xid8)
to service_role, app_user, tallystick_writer;

-- Owners, admins and operators. The cores are definers: they ask for the role themselves.
grant execute on function
private.set_policy_rule(
  uuid, text, numeric, integer, text, text, text, text, text, integer, integer, integer, boolean,
  jsonb
),
private.retire_policy_rule(uuid, text),
accounting.set_policy_rule(
  uuid, text, numeric, integer, text, text, text, text, text, integer, integer, integer, boolean,
  jsonb
),
accounting.retire_policy_rule(uuid, text)
to authenticated, service_role;

-- Approvers, and server roles that name them. The core asks for the role itself.
grant execute on function
private.decide_proposal(uuid, text, text, text, text, text),
accounting.approve_proposal(uuid, text, text, text, text),
accounting.reject_proposal(uuid, text, text, text, text)
to authenticated, service_role, app_user, tallystick_writer;

-- sql/accounting/billing_access.sql

-- Who sees what billing posts and where it is booked. Nobody writes it but the functions.

revoke all on table
accounting.account_map, accounting.rounding_carries, accounting.provider_cost_days,
private.billing_flows
from public, anon, authenticated, service_role, app_user, tallystick_reader, tallystick_writer;

alter table accounting.account_map enable row level security;
alter table accounting.rounding_carries enable row level security;
alter table accounting.provider_cost_days enable row level security;

grant select on table
accounting.account_map, accounting.rounding_carries, accounting.provider_cost_days
to authenticated, service_role, app_user, tallystick_reader, tallystick_writer;

-- What verify_integrity reads with the caller's rights.
grant select on table private.billing_flows to service_role, app_user, tallystick_writer;

create policy account_map_select_member on accounting.account_map
for select to authenticated
using (
  organization_id = any(
    (select private.member_organization_ids(array['owner', 'admin', 'finance']))::uuid[]
  )
);
create policy account_map_select_trusted on accounting.account_map
for select to app_user, service_role, tallystick_reader, tallystick_writer using (true);

create policy rounding_carries_select_member on accounting.rounding_carries
for select to authenticated
using (
  organization_id = any(
    (select private.member_organization_ids(array['owner', 'admin', 'finance']))::uuid[]
  )
);
create policy rounding_carries_select_trusted on accounting.rounding_carries
for select to app_user, service_role, tallystick_reader, tallystick_writer using (true);

create policy provider_cost_days_select_member on accounting.provider_cost_days
for select to authenticated
using (
  organization_id = any(
    (select private.member_organization_ids(array['owner', 'admin', 'finance']))::uuid[]
  )
);
create policy provider_cost_days_select_trusted on accounting.provider_cost_days
for select to app_user, service_role, tallystick_reader, tallystick_writer using (true);

revoke execute on function
private.book_lines(),
private.open_account_map(uuid),
private.set_account_map(uuid, text, text, text, text),
accounting.set_account_map(uuid, text, text, text, text),
accounting.get_account_map(uuid),
private.split_total(numeric[]),
private.round_flows(uuid, private.flow[]),
private.legs_of_flows(uuid, private.flow[]),
private.post_flows(uuid, text, date, date, text, text, private.flow[]),
private.post_billing(uuid, uuid, text),
private.kept_lines(uuid[]),
accounting.post_history(uuid),
private.provider_cost(public.ai_usage_ledger),
private.post_provider_day(uuid, date),
private.unposted_days(uuid),
private.post_provider_days(uuid, date[]),
accounting.post_provider_cost(uuid, date),
private.verify_billing_posts(uuid[])
from public, anon, authenticated, service_role;

-- Members with an eye on money, and server roles. The core asks for the role itself.
grant execute on function
private.set_account_map(uuid, text, text, text, text),
accounting.set_account_map(uuid, text, text, text, text),
accounting.get_account_map(uuid),
private.book_lines()
to authenticated, service_role, app_user, tallystick_writer;

-- What verify_integrity reads with the caller's rights.
grant execute on function
private.kept_lines(uuid[]),
private.pinned_price(uuid, uuid, uuid),
private.provider_cost(public.ai_usage_ledger),
private.verify_billing_posts(uuid[])
to service_role, app_user, tallystick_writer;

-- Operators.
grant execute on function
accounting.post_history(uuid),
accounting.post_provider_cost(uuid, date)
to service_role;

-- What moved before the books were kept.
do $$
begin
  perform accounting.post_history();
  set constraints all immediate;
end
$$;
