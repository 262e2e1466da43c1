-- One organization that has spent its month to the last cent. Variables: those of spenders.sql.

\ir spenders.sql

do $$
declare
  v_organization_id uuid := bench.organization(1);
  v_hold_id uuid;
begin
  perform metering.set_budget(v_organization_id, 'organization', null, 'month', 1);
  select d.hold_id into strict v_hold_id
  from public.authorize_spend(
    p_organization_id => v_organization_id,
    p_estimated_cost => 1,
    p_workflow_id => bench.workflow(1)
  ) as d;
  perform public.settle_spend(p_hold_id => v_hold_id, p_cost => 1);
end
$$;
