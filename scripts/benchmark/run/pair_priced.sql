-- The pair by token counts: estimated by the price, settled by it.
\set workflow random(1, :workflows)
\set organization (:workflow - 1) % :organizations + 1
\set request :request + 1
select hold_id
from public.authorize_spend(
  p_organization_id => bench.organization(:organization),
  p_model => 'gpt-4o',
  p_input_tokens => 1200,
  p_max_output_tokens => 500,
  p_workflow_id => bench.workflow(:workflow),
  p_request_id => :random_seed::text || '-' || :client_id::text || '-' || :request::text
) \gset
select id
from public.settle_spend(
  p_hold_id => :hold_id,
  p_usage => '{"input_tokens": 1200, "output_tokens": 300}',
  p_organization_id => bench.organization(:organization)
);
