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
