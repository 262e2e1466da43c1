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
