-- The rooms of the product. A schema is a room: a qualified name says which one a line reaches into.
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
