-- Organizations and workflows under caps that are never reached, so that each spend touches three
-- budgets: the organization's own total, its month, its workflow's total.
-- Variables: organizations, workflows (dealt out in turn), slots, workflow_slots.

\ir schema.sql

select pricing.set_price('openai', 'gpt-4o', '{"input_tokens": 2.5, "output_tokens": 10}');

insert into tenancy.organizations (id, name)
select
  bench.organization(n),
  'Organization ' || n
from generate_series(1, :organizations) as n;

insert into metering.workflows (organization_id, id)
select
  bench.organization((n - 1) % :organizations + 1),
  bench.workflow(n)
from generate_series(1, :workflows) as n;

-- Each change commits by itself: a thousand changes of one organization in one transaction would
-- leave a thousand versions of its slots to walk through.
create procedure bench.cap_organizations(p_organizations integer, p_slots integer)
language plpgsql
as $$
begin
  for n in 1..p_organizations loop
    perform metering.set_budget(
      bench.organization(n), 'organization', null, 'month', 1000000000, p_slots => p_slots
    );
    perform metering.change_budget(
      bench.organization(n), bench.organization(n), p_slots => p_slots
    );
    commit;
  end loop;
end
$$;

create procedure bench.cap_workflows(
  p_workflows integer,
  p_organizations integer,
  p_slots integer
)
language plpgsql
as $$
begin
  for n in 1..p_workflows loop
    perform metering.set_budget(
      bench.organization((n - 1) % p_organizations + 1),
      'workflow', bench.workflow(n)::text, 'total', 1000000000, p_slots => p_slots
    );
    commit;
  end loop;
end
$$;

call bench.cap_workflows(:workflows, :organizations, :workflow_slots);
call bench.cap_organizations(:organizations, :slots);
