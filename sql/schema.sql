-- Tallystick on one screen. Reading order is dependency order; scripts/build-migrations inlines
-- these files, one migration per domain. Load it with: psql -f sql/schema.sql
\set ON_ERROR_STOP on

-- FOUNDATION: the machinery every domain stands on
-- the rooms
\ir foundation/schemas.sql
-- reader, writer, app_user
\ir foundation/roles.sql
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

-- METERING: may this be spent? what was spent?
-- workflows, budgets and slots, rollups, request keys, the ledger
\ir metering/tables.sql
-- stored caps
\ir metering/budgets.sql
-- check_*, estimate_*, monthly cost
\ir metering/checks.sql
-- record_usage_and_increment
\ir metering/record.sql
-- intent_workflows and the analytics
\ir metering/views.sql
-- who sees and changes what
\ir metering/access.sql

-- AUDIT: proof that the books agree
-- verify_integrity
\ir audit/integrity.sql
-- who may verify
\ir audit/access.sql

-- RETENTION: what must be there ahead of time, what need not be kept
-- maintain, daily where pg_cron is installed
\ir retention/functions.sql
