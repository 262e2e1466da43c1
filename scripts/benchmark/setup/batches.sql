-- Holds that wait to be settled in batches, and a sequence that hands the batches out.
-- Variables: those of spenders.sql, batches, batch_size.

\ir spenders.sql

create table bench.batches (
  number bigint primary key,
  organization_id uuid not null,
  items jsonb not null
);
create sequence bench.next_batch;

-- Authorizes a batch of one workflow and keeps what will settle it.
create procedure bench.prepare_batch(
  p_number integer,
  p_organization_id uuid,
  p_workflow_id uuid,
  p_size integer
)
language sql
as $$
  insert into bench.batches (number, organization_id, items)
  select
    p_number,
    p_organization_id,
    jsonb_agg(
      jsonb_build_object(
        'hold_id', a.hold_id,
        'usage', jsonb_build_object('input_tokens', 1200, 'output_tokens', 300),
        'cost', '0.001'
      )
    )
  from public.authorize_spend_batch(
    p_organization_id,
    (
      select
        jsonb_agg(
          jsonb_build_object(
            'model', 'gpt-4o',
            'estimated_cost', '0.002',
            'workflow_id', p_workflow_id,
            'expires_in', '24 hours' -- the longest there is: copies of this database are used later
          )
        )
      from generate_series(1, p_size)
    )
  ) as a
$$;

create procedure bench.prepare_batches(
  p_batches integer,
  p_size integer,
  p_workflows integer,
  p_organizations integer
)
language plpgsql
as $$
declare
  v_workflow integer;
begin
  for n in 1..p_batches loop
    v_workflow := (n - 1) % p_workflows + 1;
    call bench.prepare_batch(
      n,
      bench.organization((v_workflow - 1) % p_organizations + 1),
      bench.workflow(v_workflow),
      p_size
    );
    commit;
  end loop;
end
$$;

call bench.prepare_batches(:batches, :batch_size, :workflows, :organizations);

grant select on bench.batches to service_role;
grant usage on sequence bench.next_batch to service_role;
