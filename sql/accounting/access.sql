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
