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
