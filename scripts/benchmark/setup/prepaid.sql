-- The same organizations, paying in advance: calls outside runs draw on credits that never end, and
-- each workflow has a run that never ends either.
-- Variables: those of spenders.sql.

\ir spenders.sql

create table bench.runs (
  workflow integer primary key,
  run_id uuid not null
);

-- The run of a workflow.
create function bench.run(p_workflow integer)
returns uuid
language sql
stable
as $$
  select r.run_id from bench.runs as r where r.workflow = p_workflow
$$;

create procedure bench.fund(p_workflows integer, p_organizations integer, p_slots integer)
language plpgsql
as $$
begin
  for n in 1..p_organizations loop
    perform billing.purchase_credits(bench.organization(n), 10000000000, 'bench');
    commit;
    -- The first call of a day opens the draw; what is measured is all others.
    perform public.release_spend(hold_id)
    from public.authorize_spend(bench.organization(n), 'gpt-4o', 0.002);
    commit;
  end loop;
  for n in 1..p_workflows loop
    insert into bench.runs (workflow, run_id)
    select n, r.id
    from billing.start_run(
      bench.organization((n - 1) % p_organizations + 1), 1000000, 1000000,
      p_input_cost_usd => 1000000, p_output_cost_usd => 0, p_slots => p_slots
    ) as r;
    commit;
  end loop;
end
$$;

call bench.fund(:workflows, :organizations, :workflow_slots);

grant select on bench.runs to service_role;
