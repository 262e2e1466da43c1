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
  change_count bigint not null default 0,
  constraint account_forests_pkey primary key (organization_id)
);

comment on table private.account_forests is
  'One row per organization, locked by whoever puts an account under another.';
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

create index ledger_transactions_entity_date_idx
on accounting.ledger_transactions (organization_id, entity_id, transaction_date);
create index ledger_transactions_date_idx
on accounting.ledger_transactions (organization_id, transaction_date);

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
comment on column accounting.obligations.metadata is
  'Whatever else is known of it, an object. A due_day (1 to 31) is the day of the month it falls '
  'due on, kept over shorter months.';
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
  velocity_limit_count integer,
  velocity_window_seconds integer,
  threshold_amount private.book_amount not null,
  required_approvals integer not null default 1,
  allows_asserted boolean not null default false,
  active boolean not null default true,
  metadata jsonb not null default '{}',
  created_at timestamptz not null default private.clock_now(),
  updated_at timestamptz not null default private.clock_now(),
  constraint policy_rules_pkey primary key (organization_id, rule_id),
  constraint policy_rules_organization_id_fkey
  foreign key (organization_id) references tenancy.organizations (id) on delete restrict,
  constraint policy_rules_entity_fkey
  foreign key (organization_id, entity_id)
  references accounting.entities (organization_id, entity_id) on delete restrict,
  constraint policy_rules_threshold_is_not_negative check (threshold_amount >= 0),
  constraint policy_rules_required_approvals_is_from_1 check (required_approvals >= 1),
  constraint policy_rules_velocity_is_whole
  check ((velocity_limit_count is null) = (velocity_window_seconds is null)),
  constraint policy_rules_velocity_is_positive
  check (velocity_limit_count >= 1 and velocity_window_seconds >= 1),
  constraint policy_rules_metadata_is_an_object check (jsonb_typeof(metadata) = 'object')
);

create index policy_rules_priority_idx
on accounting.policy_rules (organization_id, priority, rule_id collate "C") where active;
create index policy_rules_entity_idx on accounting.policy_rules (organization_id, entity_id);

create trigger policy_rules_touch_updated_at before update on accounting.policy_rules
for each row execute function private.touch_updated_at();

comment on table accounting.policy_rules is
  'Which writes need approval (data_model_reference: policy_rules). The first rule that matches, '
  'by priority and rule_id, decides; null matches anything.';
comment on column accounting.policy_rules.organization_id is 'The organization.';
comment on column accounting.policy_rules.rule_id is 'Id of the rule.';
comment on column accounting.policy_rules.priority is 'Lowest first; equal ones by rule_id.';
comment on column accounting.policy_rules.tool_name is
  'Which call it is about: record_transaction_bundle, authorize_spend; null for any.';
comment on column accounting.policy_rules.entity_id is 'Whose books; null for any.';
comment on column accounting.policy_rules.transaction_category is
  'Which category of bundle; null for any.';
comment on column accounting.policy_rules.risk_band is 'Which band of risk; null for any.';
comment on column accounting.policy_rules.velocity_limit_count is
  'How many it lets pass within the window; more count as above the threshold.';
comment on column accounting.policy_rules.velocity_window_seconds is 'The window, seconds.';
comment on column accounting.policy_rules.threshold_amount is
  'Strictly above this amount approval is needed, US dollars, 4 decimals.';
comment on column accounting.policy_rules.required_approvals is
  'How many different persons must approve.';
comment on column accounting.policy_rules.allows_asserted is
  'True where approvers whom a server role names count.';
comment on column accounting.policy_rules.active is 'False for a rule that no longer matches.';
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
  policy_threshold_amount private.book_amount not null,
  impact_amount private.book_amount not null,
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
  constraint approval_proposals_pkey primary key (organization_id, proposal_id),
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
comment on column accounting.approval_proposals.source_system is 'Who made it.';
comment on column accounting.approval_proposals.external_id is
  'Its id there: made again, it is answered as it was.';
comment on column accounting.approval_proposals.correlation_id is
  'What it belongs to, as the caller says.';
comment on column accounting.approval_proposals.input_hash is
  'SHA-256 of the request as canonical text, without its correlation_id.';
comment on column accounting.approval_proposals.policy_threshold_amount is
  'The threshold it was above, US dollars, 4 decimals.';
comment on column accounting.approval_proposals.impact_amount is
  'Its amount: the sum of postings above 0, US dollars, 4 decimals.';
comment on column accounting.approval_proposals.request_payload is
  'The request as canonical text.';
comment on column accounting.approval_proposals.status is 'proposed, rejected or committed.';
comment on column accounting.approval_proposals.approved_transaction_id is
  'The transaction it became, if it did.';
comment on column accounting.approval_proposals.response_payload is
  'The response to the proposal, byte for byte as it was given.';
comment on column accounting.approval_proposals.output_hash is 'SHA-256 of response_payload.';
comment on column accounting.approval_proposals.entity_id is 'Whose books.';
comment on column accounting.approval_proposals.matched_rule_id is
  'The rule that asked for approval; null where a locked period did.';
comment on column accounting.approval_proposals.required_approvals is
  'How many different persons must approve.';
comment on column accounting.approval_proposals.proposed_by is
  'Who proposed it: user:<id> or service:<name>. They never approve it.';
comment on column accounting.approval_proposals.authn_method is
  'How the proposer is known: jwt, or asserted by a server role.';
comment on column accounting.approval_proposals.created_at is 'When it was proposed.';
comment on column accounting.approval_proposals.decided_at is
  'When it was committed or rejected; null while it waits.';

create table accounting.approval_decisions (
  organization_id uuid not null,
  decision_id private.label not null default private.uuid_v7()::text,
  proposal_id private.label not null,
  action text not null,
  correlation_id private.label not null,
  reason text,
  approver_id private.label not null,
  authn_method text not null,
  decided_at timestamptz not null default private.clock_now(),
  constraint approval_decisions_pkey primary key (organization_id, decision_id),
  constraint approval_decisions_proposal_id_approver_id_key
  unique (organization_id, proposal_id, approver_id),
  constraint approval_decisions_proposal_fkey
  foreign key (organization_id, proposal_id)
  references accounting.approval_proposals (organization_id, proposal_id) on delete restrict,
  constraint approval_decisions_action_is_known check (action in ('approve', 'reject')),
  constraint approval_decisions_authn_method_is_known check (authn_method in ('jwt', 'asserted'))
);

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
comment on column accounting.approval_decisions.action is 'approve or reject.';
comment on column accounting.approval_decisions.correlation_id is
  'What it belongs to, as the caller says.';
comment on column accounting.approval_decisions.reason is 'Why, if it was said.';
comment on column accounting.approval_decisions.approver_id is
  'Who decided: user:<id> or service:<name>.';
comment on column accounting.approval_decisions.authn_method is
  'How they are known: jwt, or asserted by a server role.';
comment on column accounting.approval_decisions.decided_at is 'When.';

-- sql/accounting/access.sql

-- Who sees and changes the books. Members with an eye on money read them; nobody writes but the
-- functions.

revoke all on table
accounting.entities, accounting.accounts, private.account_forests,
accounting.ledger_transactions, accounting.ledger_postings, accounting.balance_snapshots,
accounting.obligations, accounting.accounting_periods
from public, anon, authenticated, service_role, app_user, tallystick_reader, tallystick_writer;

alter table accounting.entities enable row level security;
alter table accounting.accounts enable row level security;
alter table private.account_forests enable row level security;
alter table accounting.ledger_transactions enable row level security;
alter table accounting.ledger_postings enable row level security;
alter table accounting.balance_snapshots enable row level security;
alter table accounting.obligations enable row level security;
alter table accounting.accounting_periods enable row level security;

grant select on table
accounting.entities, accounting.accounts, accounting.ledger_transactions,
accounting.ledger_postings, accounting.balance_snapshots, accounting.obligations,
accounting.accounting_periods
to authenticated, service_role, app_user, tallystick_reader, tallystick_writer;

create policy nobody on private.account_forests for all to public using (false);

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

-- sql/accounting/approval_access.sql

-- Who sees what waits for approval, and decides.

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
using (
  organization_id = any(
    (select private.member_organization_ids(array['owner', 'admin', 'finance']))::uuid[]
  )
);
create policy policy_rules_select_trusted on accounting.policy_rules
for select to app_user, service_role, tallystick_reader, tallystick_writer using (true);

create policy approval_proposals_select_member on accounting.approval_proposals
for select to authenticated
using (
  organization_id = any(
    (select private.member_organization_ids(array['owner', 'admin', 'finance']))::uuid[]
  )
);
create policy approval_proposals_select_trusted on accounting.approval_proposals
for select to app_user, service_role, tallystick_reader, tallystick_writer using (true);

create policy approval_decisions_select_member on accounting.approval_decisions
for select to authenticated
using (
  organization_id = any(
    (select private.member_organization_ids(array['owner', 'admin', 'finance']))::uuid[]
  )
);
create policy approval_decisions_select_trusted on accounting.approval_decisions
for select to app_user, service_role, tallystick_reader, tallystick_writer using (true);
