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
