-- The floor: the documents' ledger with one of its indexes, and a counter per organization. Nothing
-- is checked, nothing is held, nothing is kept apart. Variable: counters.

\ir schema.sql

create table bench.ai_usage_ledger (
  id uuid primary key default gen_random_uuid(),
  workflow_id uuid not null,
  organization_id uuid not null,
  model text not null,
  prompt_tokens integer not null,
  completion_tokens integer not null,
  cost numeric not null,
  created_at timestamptz default now()
);
create index on bench.ai_usage_ledger (organization_id, created_at);

create table bench.counters (
  organization_id uuid primary key,
  total numeric not null default 0
)
with (fillfactor = 50);

insert into bench.counters (organization_id)
select bench.organization(n) from generate_series(1, :counters) as n;

create function bench.record(p_organization_id uuid, p_workflow_id uuid, p_cost numeric)
returns void
language plpgsql
volatile
as $$
begin
  insert into bench.ai_usage_ledger (
    workflow_id, organization_id, model, prompt_tokens, completion_tokens, cost
  ) values (p_workflow_id, p_organization_id, 'gpt-4o', 1200, 300, p_cost);
  update bench.counters as c
  set total = c.total + p_cost
  where c.organization_id = p_organization_id;
end
$$;

grant select, insert, update on all tables in schema bench to service_role;
