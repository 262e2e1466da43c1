-- The pair inside a run: its budget instead of a draw, and a row of token_records more.
\set workflow random(1, :workflows)
\set organization (:workflow - 1) % :organizations + 1
\set request :request + 1
select hold_id
from public.authorize_spend(
  p_organization_id => bench.organization(:organization),
  p_model => 'gpt-4o',
  p_estimated_cost => 0.002,
  p_workflow_id => bench.workflow(:workflow),
  p_run_id => bench.run(:workflow::integer),
  p_request_id => :random_seed::text || '-' || :client_id::text || '-' || :request::text
) \gset
select id
from public.settle_spend(
  p_hold_id => :hold_id,
  p_usage => '{"input_tokens": 1200, "output_tokens": 300}',
  p_cost => 0.001,
  p_organization_id => bench.organization(:organization)
);
