-- What was spent without a hold?

-- Records one AI request: ledger, totals and rollup in one transaction.
--
-- Never refuses real spend: above a cap, or of a frozen organization, it lands all the same,
-- flagged as without a hold, and the next check refuses. Locks, until the transaction ends: a slot
-- of the organization's own budget, one of each other budget it touches, the request key. Which
-- those are is read before; if budgets are changed meanwhile, anew. Idempotent by p_request_id: the
-- same id and content is one record, other content is TS409.
create function public.record_usage_and_increment(
  p_workflow_id uuid,
  p_organization_id uuid,
  p_model text,
  p_prompt_tokens integer,
  p_completion_tokens integer,
  p_cost numeric,
  p_request_id text default null
)
returns void
language plpgsql
volatile
security definer -- writes ledger and counters, which no role may write itself
set search_path = pg_catalog, pg_temp
set plan_cache_mode = force_generic_plan
set enable_seqscan = off
set jit = off
as $$
declare
  v_usage public.ai_usage_ledger;
  v_coverage private.coverage;
  v_content_hash text;
  v_listed private.model_key;
  v_keys text[];
begin
  v_usage.workflow_id := private.assert_id('p_workflow_id', p_workflow_id);
  v_usage.organization_id := private.assert_id('p_organization_id', p_organization_id);
  v_usage.model := private.assert_text('p_model', p_model);
  v_usage.prompt_tokens := private.assert_count('p_prompt_tokens', p_prompt_tokens);
  v_usage.completion_tokens := private.assert_count('p_completion_tokens', p_completion_tokens);
  v_usage.token_counts := jsonb_strip_nulls(
    jsonb_build_object(
      'input_tokens', nullif(p_prompt_tokens, 0), 'output_tokens', nullif(p_completion_tokens, 0)
    )
  );
  v_usage.cost := private.assert_money('p_cost', p_cost);
  v_usage.cost_basis := 'stated';
  if p_cost = 0 and v_usage.token_counts <> '{}' then
    v_usage.zero_cost_reason := 'stated';
  end if;
  v_listed := private.find_listed(null, p_model);
  v_usage.provider := v_listed.provider;
  v_usage.listed_model := nullif(v_listed.model, p_model);
  v_usage.tags := '{}';
  v_usage.settlement := 'without_hold';
  v_usage.unheld_usd := p_cost;

  if p_request_id is not null then
    v_content_hash := private.content_hash(
      row(p_workflow_id, p_model, p_prompt_tokens, p_completion_tokens, trim_scale(p_cost))::text
    );
    if private.find_request(
      p_organization_id, 'record', private.assert_text('p_request_id', p_request_id), v_content_hash
    ) is not null then
      return;
    end if;
  end if;

  v_keys := private.scope_keys(
    p_workflow_id, null, null, null, null, p_model, v_usage.listed_model, '{}'
  );
  v_coverage := private.cover(p_organization_id, v_keys, private.clock_now());
  if p_cost = 0 then
    -- A change of nothing passes in any window, so it must be known beforehand which is open.
    v_coverage := private.survey(p_organization_id, v_keys, private.clock_now(), null);
  end if;
  -- A workflow has a budget of its own from birth.
  if v_coverage.has_workflow is not true then
    perform private.raise_error(
      'TS404',
      jsonb_build_object('organization_id', p_organization_id, 'workflow_id', p_workflow_id)
    );
  end if;
  v_usage := private.book(v_usage, 0, v_coverage, null, 'record', p_request_id, v_content_hash);
  if v_usage.id is null then
    -- The same request was recorded meanwhile; other content under its id is refused.
    perform private.find_request(p_organization_id, 'record', p_request_id, v_content_hash);
  end if;
end
$$;

comment on function public.record_usage_and_increment(
  uuid, uuid, text, integer, integer, numeric, text
) is
  'Records one AI request: a row in ai_usage_ledger and every total with it, or nothing '
  '(ai_cost_governance), counted and flagged as without a hold. p_cost in US dollars, at most 12 '
  'decimals. For server roles only: a tenant never states what it cost. A retry with the same '
  'p_request_id and content is one record. Errors: 22023, TS404, TS409.';
