-- The rooms of the product. A schema is a room: a qualified name says which one a line reaches.
--
-- Every function pins its search path to pg_catalog, pg_temp and qualifies all else. An empty path
-- is not enough: PostgreSQL then looks for types in pg_temp first, and a caller's own domain named
-- uuid would run its check with the rights of a security definer function.
create schema if not exists private;
create schema if not exists tenancy;
create schema if not exists metering;
create schema if not exists audit;

comment on schema private is
  'Tallystick machinery: clock, checks, guards, predicates, partitions. Never exposed over HTTP.';
comment on schema tenancy is
  'Tallystick: who a spend belongs to. Organizations, memberships, profiles, ventures.';
comment on schema metering is
  'Tallystick: the hot path. Workflows, budgets and their slots, request keys, rollups.';
comment on schema audit is
  'Tallystick: proof that the books agree. Read only over HTTP.';
