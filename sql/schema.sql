-- Tallystick on one screen. Reading order is dependency order; scripts/build-migrations inlines
-- these files, one migration per domain. Load it with: psql -f sql/schema.sql
\set ON_ERROR_STOP on

-- FOUNDATION: the machinery every domain stands on
-- the rooms
\ir foundation/schemas.sql
-- reader, writer, app_user
\ir foundation/roles.sql
-- values with a rule: amounts, counts, labels
\ir foundation/types.sql
-- one code per reaction of a client
\ir foundation/errors.sql
-- the present time, and the windows it falls into
\ir foundation/clock.sql
-- time-ordered ids
\ir foundation/ids.sql
-- what an argument must be; rounding half even
\ir foundation/checks.sql
-- one text and one hash for equal content
\ir foundation/canonical.sql
-- append-only, updated_at
\ir foundation/guards.sql
-- monthly partitions behind a closed door
\ir foundation/partitions.sql
-- who is calling
\ir foundation/callers.sql
-- who may use the machinery
\ir foundation/access.sql

-- TENANCY: who a spend belongs to
-- organizations, memberships, profiles, ventures
\ir tenancy/tables.sql
-- membership predicates (the seam for applications with their own), create_organization
\ir tenancy/functions.sql
-- who sees and changes what
\ir tenancy/access.sql

-- PRICING: what does it cost?
-- providers, models, their names, prices, contracts, markups
\ir pricing/tables.sql
-- what a call used, by token class
\ir pricing/usage.sql
-- rates: one per token class and context tier; what a usage costs at them
\ir pricing/rates.sql
-- which model a name means
\ir pricing/models.sql
-- which price holds for a call, price_usage
\ir pricing/prices.sql
-- set_price, set_markup, set_model_name
\ir pricing/changes.sql
-- load_prices: a whole price list at once
\ir pricing/load.sql
-- every price with its time, and those of today
\ir pricing/views.sql
-- who sees and changes what
\ir pricing/access.sql

-- METERING: may this be spent? what was spent?
-- workflows, budgets and their slots
\ir metering/tables.sql
-- holds, the ledger, rollups, request keys
\ir metering/ledger.sql
-- how money is taken and comes back: which budgets cover a call, and one attempt on a slot of each
\ir metering/kernel.sql
-- where that falls short: lock the organization, sum, spread anew
\ir metering/gather.sql
-- request keys: a retry finds what the first call did
\ir metering/requests.sql
-- the budgets that exist from birth; freeze and time zone
\ir metering/born_budgets.sql
-- what a new or changed budget counts already
\ir metering/figures.sql
-- set, change, remove, freeze
\ir metering/budgets.sql
-- check_*, estimate_*, monthly cost
\ir metering/checks.sql
-- what is asked, and what is answered
\ir metering/decisions.sql
-- what a call is estimated to cost, and what it cost
\ir metering/costing.sql
-- grant or deny
\ir metering/admit.sql
-- authorize_spend, estimate_spend
\ir metering/authorize.sql
-- a usage on counters, in the ledger and its sums, in one attempt
\ir metering/book.sql
-- settle_spend
\ir metering/settle.sql
-- record_usage_and_increment
\ir metering/record.sql
-- release_spend, extend_hold, expire_holds
\ir metering/holds.sql
-- authorize_spend_batch, settle_spend_batch
\ir metering/batches.sql
-- intent_workflows, budget_status, the analytics
\ir metering/views.sql
-- who sees and changes what
\ir metering/access.sql

-- AUDIT: who did what, and proof that the books agree
-- the event log, the outbox
\ir audit/tables.sql
-- what was removed from a ledger under retention
\ir audit/tombstones.sql
-- leaves, roots, the chain, which ledgers join
\ir audit/seal_tables.sql
-- how rows become leaves, leaves a root, and roots a seal; seal_ledgers
\ir audit/seals.sql
-- verify_seals
\ir audit/verify_seals.sql
-- what a check says
\ir audit/findings.sql
-- metering's share of verify_integrity
\ir audit/metering_integrity.sql
-- verify_integrity, since the last checkpoint or in full
\ir audit/integrity.sql
-- who sees events, who may verify
\ir audit/access.sql

-- BILLING: what was paid in advance, and what became of it?
-- runs and their parts
\ir billing/run_tables.sql
-- the calls of runs, reconciliations
\ir billing/record_tables.sql
-- credits and every movement of them, draws
\ir billing/credit_tables.sql
-- grants, reservations, receivables, retention
\ir billing/grant_tables.sql
-- how credits are reserved, charged, refunded and expire: one function makes every movement
\ir billing/movements.sql
-- money in: purchases, promotions, trials, adjustments
\ir billing/credits.sql
-- calls outside runs: reserved by the day, topped up in chunks
\ir billing/draws.sql
-- what a run is expected to use and to cost
\ir billing/run_estimates.sql
-- start_run, extend_run
\ir billing/runs.sql
-- agents, tasks, steps
\ir billing/parts.sql
-- record_token_call, and what every call of a run leaves
\ir billing/token_calls.sql
-- reconcile_run; complete, cancel, fail
\ir billing/reconcile.sql
-- disputes
\ir billing/disputes.sql
-- the document's views
\ir billing/views.sql
-- get_statement
\ir billing/statement.sql
-- what must hold between credits, runs and calls
\ir billing/integrity.sql
-- who sees and changes what
\ir billing/access.sql

-- JOURNAL: receipts that are revised, never edited
-- the events, which revision of each is current, who may read it
\ir journal/tables.sql
-- assert, amend, void, restate; what may follow what
\ir journal/functions.sql
-- what is current, by domain
\ir journal/views.sql
-- who reads and writes it
\ir journal/access.sql

-- VENTURE: what do ventures use, and which share of their budget has each profile?
-- the ledger, the allocations
\ir venture/tables.sql
-- shares: budgets that are cut from the venture's
\ir venture/shares.sql
-- what a row must be, and how it becomes a usage; what may be edited or removed
\ir venture/rows.sql
-- record_venture_usage
\ir venture/record.sql
-- by stage, phase and agent, real and simulated; what each profile has left
\ir venture/views.sql
-- what must hold between rows, usages and shares
\ir venture/integrity.sql
-- who sees and changes what
\ir venture/access.sql

-- ACCOUNTING: what do the books say?
-- entities, accounts, transactions and their postings
\ir accounting/book_tables.sql
-- snapshots, obligations, periods
\ir accounting/calendar_tables.sql
-- policy rules, proposals, decisions
\ir accounting/approval_tables.sql
-- which account each line of billing is on, what rounding has left over, posted days
\ir accounting/billing_tables.sql
-- who acts, what a refusal looks like, the event of every call
\ir accounting/calls.sql
-- entities and accounts: a forest
\ir accounting/accounts.sql
-- snapshots, obligations
\ir accounting/calendar.sql
-- a bundle, from JSON text to one form
\ir accounting/bundles.sql
-- close_period, lock_period, reopen_period; what a period takes
\ir accounting/periods.sql
-- how a bundle gets into the books
\ir accounting/commit.sql
-- which writes need approval
\ir accounting/policies.sql
-- what waits for approval
\ir accounting/proposals.sql
-- record_transaction_bundle, reverse_transaction
\ir accounting/record.sql
-- approve_proposal, reject_proposal
\ir accounting/approvals.sql
-- the same gate for calls of models
\ir accounting/spend_gate.sql
-- trial balance, account ledger, income statement, balance sheet
\ir accounting/reports.sql
-- the account map
\ir accounting/account_map.sql
-- every movement of credits as a bundle
\ir accounting/billing_posts.sql
-- what providers ask for usage, by the day
\ir accounting/provider_cost.sql
-- what must hold in the books
\ir accounting/integrity.sql
-- what must hold between billing and the books
\ir accounting/billing_integrity.sql
-- what must hold between proposals and what came of them
\ir accounting/approval_integrity.sql
-- who sees and changes the books
\ir accounting/access.sql
-- who sees what waits for approval, and decides
\ir accounting/approval_access.sql
-- who sees what billing posts
\ir accounting/billing_access.sql

-- RETENTION: what must be there ahead of time, what need not be kept
-- maintain, daily where pg_cron is installed
\ir retention/functions.sql
