-- Authorize where nothing is left. Any other answer than a refusal divides by 0.
\set workflow random(1, :workflows)
\set request :request + 1
select 1 / (decision = 'denied')::integer
from public.authorize_spend(
  p_organization_id => bench.organization(1),
  p_model => 'gpt-4o',
  p_estimated_cost => 0.002,
  p_workflow_id => bench.workflow(:workflow),
  p_request_id => :random_seed::text || '-' || :client_id::text || '-' || :request::text
);
