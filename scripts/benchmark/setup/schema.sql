-- What every stage starts with: a schema of the benchmark's own, and ids made of plain numbers.

create schema bench;
grant usage on schema bench to service_role;

-- The digits of a number stand in the id as they are, which costs next to nothing.
create function bench.organization(p_number integer)
returns uuid
language sql
immutable
as $$
  select ('00000000-0000-4000-a000-' || lpad(p_number::text, 12, '0'))::uuid
$$;

create function bench.workflow(p_number integer)
returns uuid
language sql
immutable
as $$
  select ('00000000-0000-4000-b000-' || lpad(p_number::text, 12, '0'))::uuid
$$;
