-- Where credits come from, for what they are reserved, and what was spent without them.

create table billing.credit_grants (
  org_id uuid not null,
  id uuid not null default private.uuid_v7(),
  kind text not null,
  amount_usd private.usd_sum not null,
  remaining_usd private.usd_sum not null,
  reserved_usd private.usd_sum not null default 0,
  priority smallint not null,
  model private.label,
  expires_at timestamptz,
  created_at timestamptz not null,
  constraint credit_grants_pkey primary key (org_id, id),
  constraint credit_grants_org_id_fkey
  foreign key (org_id) references billing.credit_balances (org_id) on delete restrict,
  constraint credit_grants_kind_is_known
  check (kind in ('purchase', 'promo', 'trial', 'adjustment')),
  constraint credit_grants_reserved_is_within_remaining_within_amount
  check (reserved_usd <= remaining_usd and remaining_usd <= amount_usd)
);

create index credit_grants_org_id_priority_idx
on billing.credit_grants (org_id, priority, expires_at, id) where remaining_usd > 0;
create index credit_grants_expires_at_idx
on billing.credit_grants (expires_at) where remaining_usd > 0 and expires_at is not null;

create trigger credit_grants_reject_delete before delete on billing.credit_grants
for each row execute function private.reject_mutation();
create trigger credit_grants_reject_truncate before truncate on billing.credit_grants
for each statement execute function private.reject_mutation();

comment on table billing.credit_grants is
  'Where credits come from: purchases, promotions, trials, adjustments. They are used up by '
  'priority, then by expiry, then by age; a refund goes back to the grant it came from.';
comment on column billing.credit_grants.org_id is 'The organization.';
comment on column billing.credit_grants.id is 'Time-ordered id.';
comment on column billing.credit_grants.kind is 'purchase, promo, trial or adjustment.';
comment on column billing.credit_grants.amount_usd is 'What was granted, US dollars.';
comment on column billing.credit_grants.remaining_usd is
  'What is left of it, reserved or not, US dollars.';
comment on column billing.credit_grants.reserved_usd is
  'The part of that which runs and draws under way have reserved, US dollars.';
comment on column billing.credit_grants.priority is 'Lower is used up first.';
comment on column billing.credit_grants.model is
  'The only model it pays for, by its listed name: in runs of that model. Null for everything.';
comment on column billing.credit_grants.expires_at is
  'From then on it is not reserved any more, and what is not reserved is taken back; null for '
  'never.';
comment on column billing.credit_grants.created_at is 'When it was granted.';

create table billing.credit_reservations (
  org_id uuid not null,
  subject_id uuid not null,
  grant_id uuid not null,
  amount_usd private.usd_sum not null,
  constraint credit_reservations_pkey primary key (org_id, subject_id, grant_id),
  constraint credit_reservations_grant_fkey
  foreign key (org_id, grant_id) references billing.credit_grants (org_id, id) on delete restrict,
  constraint credit_reservations_amount_is_positive check (amount_usd > 0)
);

create index credit_reservations_org_id_grant_id_idx
on billing.credit_reservations (org_id, grant_id);

comment on table billing.credit_reservations is
  'Of which grants the reservation of a run or draw under way is made up.';
comment on column billing.credit_reservations.org_id is 'The organization.';
comment on column billing.credit_reservations.subject_id is 'The run or draw.';
comment on column billing.credit_reservations.grant_id is 'The grant.';
comment on column billing.credit_reservations.amount_usd is 'What it has reserved, US dollars.';

create table billing.grant_movements (
  org_id uuid not null,
  billing_ledger_id uuid not null,
  grant_id uuid not null,
  change_usd private.usd_balance not null,
  constraint grant_movements_pkey primary key (org_id, billing_ledger_id, grant_id),
  constraint grant_movements_ledger_fkey
  foreign key (org_id, billing_ledger_id)
  references billing.billing_ledger (org_id, id) on delete restrict,
  constraint grant_movements_grant_fkey
  foreign key (org_id, grant_id) references billing.credit_grants (org_id, id) on delete restrict,
  constraint grant_movements_change_something check (change_usd <> 0)
);

create index grant_movements_org_id_grant_id_idx on billing.grant_movements (org_id, grant_id);

create trigger grant_movements_reject_mutation before update or delete on billing.grant_movements
for each row execute function private.reject_mutation();
create trigger grant_movements_reject_truncate before truncate on billing.grant_movements
for each statement execute function private.reject_mutation();

comment on table billing.grant_movements is
  'Append-only record of which grants a movement of billing_ledger touched, and by how much.';
comment on column billing.grant_movements.org_id is 'The organization.';
comment on column billing.grant_movements.billing_ledger_id is 'The movement.';
comment on column billing.grant_movements.grant_id is 'The grant.';
comment on column billing.grant_movements.change_usd is
  'US dollars: above 0 into the grant, below out of it.';

create table billing.receivables (
  org_id uuid not null,
  id uuid not null default private.uuid_v7(),
  number bigint not null,
  amount_usd private.usd_sum not null,
  outstanding_usd private.usd_sum not null,
  waived_usd private.usd_sum not null default 0,
  run_id uuid,
  draw_id uuid,
  reason private.label not null,
  created_at timestamptz not null,
  constraint receivables_pkey primary key (org_id, id),
  constraint receivables_org_id_number_key unique (org_id, number),
  constraint receivables_org_id_fkey
  foreign key (org_id) references billing.credit_balances (org_id) on delete restrict,
  constraint receivables_amount_is_positive check (amount_usd > 0),
  constraint receivables_outstanding_is_within_amount
  check (outstanding_usd + waived_usd <= amount_usd)
);

create index receivables_org_id_idx on billing.receivables (org_id, number)
where outstanding_usd > 0;
create index receivables_org_id_run_id_idx on billing.receivables (org_id, run_id);

create trigger receivables_reject_delete before delete on billing.receivables
for each row execute function private.reject_mutation();
create trigger receivables_reject_truncate before truncate on billing.receivables
for each statement execute function private.reject_mutation();

comment on table billing.receivables is
  'What was spent and not covered by credits: collected, oldest first, by the next purchase.';
comment on column billing.receivables.org_id is 'The organization that owes.';
comment on column billing.receivables.id is 'Time-ordered id.';
comment on column billing.receivables.number is
  'Number of the receivable in its organization, from 1: the order in which they are collected.';
comment on column billing.receivables.amount_usd is 'What was not covered, US dollars.';
comment on column billing.receivables.outstanding_usd is 'What is still to be paid, US dollars.';
comment on column billing.receivables.waived_usd is
  'What a refund has taken from it before it was collected, US dollars.';
comment on column billing.receivables.run_id is 'The run that cost it, if any.';
comment on column billing.receivables.draw_id is 'The draw that cost it, if any.';
comment on column billing.receivables.reason is 'Why, as in billing_ledger.';
comment on column billing.receivables.created_at is 'When it was booked.';

create table billing.retention_policies (
  table_name text not null,
  archive_after interval,
  delete_after interval,
  reason text not null,
  constraint retention_policies_pkey primary key (table_name),
  constraint retention_policies_archive_comes_first
  check (archive_after is null or delete_after is null or archive_after < delete_after)
);

comment on table billing.retention_policies is
  'How long what is billed by is kept (billing_system, retention policies).';
comment on column billing.retention_policies.table_name is 'Qualified name of the table.';
comment on column billing.retention_policies.archive_after is
  'From this age on rows may move to cold storage; null: never.';
comment on column billing.retention_policies.delete_after is
  'From this age on rows may be deleted; null: never. What is sealed stays as long as its seal '
  'says, whatever stands here.';
comment on column billing.retention_policies.reason is 'Why.';

insert into billing.retention_policies (table_name, archive_after, delete_after, reason) values
('billing.token_records', '1 year', '7 years', 'regulation; sooner on a user''s request'),
('billing.token_reconciliations', '1 year', '7 years', 'regulation'),
('billing.billing_ledger', '7 years', null, 'regulation: an audit trail is never deleted'),
('billing.credit_balance_history', '7 years', null, 'regulation: an audit trail is never deleted'),
('billing.grant_movements', '7 years', null, 'regulation: an audit trail is never deleted'),
('billing.receivables', '7 years', null, 'regulation: an audit trail is never deleted');
