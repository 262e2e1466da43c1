-- Check, then record: two commits, with nothing held in between. A check that says no divides by 0.
\set workflow random(1, :workflows)
\set organization (:workflow - 1) % :organizations + 1
\set request :request + 1
select 1 / public.check_workflow_cost_limit(
  p_workflow_id => bench.workflow(:workflow),
  p_additional_cost => 0.001
)::integer;
select public.record_usage_and_increment(
  p_workflow_id => bench.workflow(:workflow),
  p_organization_id => bench.organization(:organization),
  p_model => 'gpt-4o',
  p_prompt_tokens => 1200,
  p_completion_tokens => 300,
  p_cost => 0.001,
  p_request_id => :random_seed::text || '-' || :client_id::text || '-' || :request::text
);
