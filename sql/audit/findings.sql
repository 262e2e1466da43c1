-- What a check of the books says: one row per broken invariant, none when all is well.

create type audit.finding as (
  check_name text,
  organization_id uuid,
  subject text,
  expected text,
  actual text
);

comment on type audit.finding is
  'A broken invariant: which check, whose, about what, what the ledger says and what was found.';
comment on column audit.finding.check_name is 'Which invariant is broken.';
comment on column audit.finding.organization_id is 'Whose figures these are.';
comment on column audit.finding.subject is 'About what: a budget, a day and model, a request.';
comment on column audit.finding.expected is 'What the ledger says.';
comment on column audit.finding.actual is 'What was found.';

-- A figure as findings show it.
create function private.figure(p_amount numeric)
returns text
language sql
immutable
set search_path = pg_catalog, pg_temp
as $$
  select coalesce(trim_scale(p_amount)::text, 'nothing')
$$;

comment on function private.figure(numeric) is 'Exact text of an amount; "nothing" for null.';
