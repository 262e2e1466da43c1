begin;
select plan(16);

insert into tenancy.organizations (id, name) values
('a0000000-0000-4000-8000-000000000000', 'Acme'),
('b0000000-0000-4000-8000-000000000000', 'Bravo');
insert into metering.workflows (organization_id, id) values
('a0000000-0000-4000-8000-000000000000', 'a0000000-0000-4000-8000-000000000001'),
('a0000000-0000-4000-8000-000000000000', 'a0000000-0000-4000-8000-000000000002'),
('b0000000-0000-4000-8000-000000000000', 'b0000000-0000-4000-8000-000000000001');
select tests.spend(w.id, c.cost, c.model)
from (values ('a0000000-0000-4000-8000-000000000001'::uuid)) as w (id)
cross join (values (0.1, 'small'), (0.2, 'small'), (0.000000000001, 'small'), (7, 'large')) as c (
  cost, model
);
select tests.spend('a0000000-0000-4000-8000-000000000002', 0.5, 'small');
select tests.spend('b0000000-0000-4000-8000-000000000001', 3, 'small');

-- The views say what the document's own queries say about the ledger.
select results_eq(
  $$select organization_id, monthly_cost, request_count from ai_cost_by_organization_month
    order by organization_id$$,
  $$select organization_id, sum(cost) as monthly_cost, count(*) as request_count
    from ai_usage_ledger
    where created_at >= date_trunc('month', current_date)
    group by organization_id order by organization_id$$,
  'organization cost analysis'
);
select results_eq(
  $$select model, total_cost, total_tokens from ai_cost_by_model
    where organization_id = 'a0000000-0000-4000-8000-000000000000' order by total_cost desc$$,
  $$select model::text, sum(cost) as total_cost,
      sum(prompt_tokens + completion_tokens) as total_tokens
    from ai_usage_ledger where organization_id = 'a0000000-0000-4000-8000-000000000000'
    group by model order by total_cost desc$$,
  'model performance'
);
select results_eq(
  $$select workflow_id, total_cost, request_count, model from ai_cost_by_workflow
    order by total_cost desc$$,
  $$select workflow_id, sum(cost) as total_cost, count(*) as request_count, model::text
    from ai_usage_ledger group by workflow_id, model order by total_cost desc$$,
  'workflow economics'
);
select results_eq(
  $$select avg_cost from ai_cost_by_model
    where organization_id = 'a0000000-0000-4000-8000-000000000000' and model = 'small'$$,
  $$values (0.200000000000)$$,
  'an average of 0.20000000000025 is rounded at 12 decimals'
);
select tests.spend('b0000000-0000-4000-8000-000000000001', 0.000000000001, 'tie');
select tests.spend('b0000000-0000-4000-8000-000000000001', 0.000000000002, 'tie');
select results_eq(
  $$select avg_cost from ai_cost_by_model where model = 'tie'$$,
  $$values (0.000000000002)$$,
  'a tie goes to the even digit'
);

-- Spend by day, and by what it was for.
create temp table who as select gen_random_uuid() as person;
select u.id from who, settle_spend(
  (
    authorize_spend(
      'b0000000-0000-4000-8000-000000000000', 'tagged', 1,
      p_workflow_id => 'b0000000-0000-4000-8000-000000000001', p_user_id => person,
      p_tags => '{"team": "a", "stage": "beta=1"}'
    )
  ).hold_id,
  '{"input_tokens": 7, "reasoning_tokens": 3}', 0.125
) as u;
select results_eq(
  $$select * from metering.spend_by_tag order by tag$$,
  $$select l.organization_id, (l.created_at at time zone 'UTC')::date, t.tag, 1::bigint, 7::bigint,
      3::bigint, 0.125
    from ai_usage_ledger as l cross join unnest(array['stage=beta=1', 'team=a']) as t (tag)
    where l.model = 'tagged' order by t.tag$$,
  'by tag, in each'
);
select results_eq(
  $$select user_id, requests, cost from metering.spend_by_user$$,
  $$select person, 1::bigint, 0.125 from who$$, 'by person'
);
select set_eq(
  format($$select organization_id, day, sum(cost) as cost, sum(requests) as requests,
      sum(prompt_tokens) as prompts, sum(completion_tokens) as completions
    from metering.%I group by 1, 2$$, v.name),
  format($$select l.organization_id, private.local_day(l.created_at, o.time_zone) as day,
      sum(l.cost) as cost, count(*) as requests, sum(l.prompt_tokens) as prompts,
      sum(l.completion_tokens) as completions
    from ai_usage_ledger as l inner join tenancy.organizations as o on o.id = l.organization_id
    where %s group by 1, 2$$, v.which),
  v.name || ' adds up to the ledger'
)
from (
  values
  ('spend_by_day', 'true'), ('spend_by_model', 'true'),
  ('spend_by_workflow', 'workflow_id is not null'), ('spend_by_user', 'user_id is not null')
) as v (name, which);

-- The document's verification query finds its functions.
-- A call outside any workflow is counted, apart from those inside one.
select cost from settle_spend(
  tests.hold('b0000000-0000-4000-8000-000000000000', 1, 'alone'), null, 0.75
);
select results_eq(
  $$select workflow_id, total_cost, request_count from ai_cost_by_workflow where model = 'alone'$$,
  $$values (null::uuid, 0.75, 1::bigint)$$,
  'a call outside any workflow'
);

select is(
  (
    select array_agg(proname::text order by proname)
    from pg_proc
    where (proname like '%workflow_cost%' or proname like '%organization_monthly%')
      and pronamespace = 'public'::regnamespace
  ),
  array[
    'check_organization_monthly_quota', 'check_workflow_cost_limit',
    'estimate_workflow_cost_limit', 'get_organization_monthly_ai_cost'
  ],
  'the verification query'
);
select has_function(
  'public', 'record_usage_and_increment',
  array['uuid', 'uuid', 'text', 'integer', 'integer', 'numeric', 'text'],
  'and the settlement function is there'
);

-- A month is read from rollups by their key, never by summing the ledger.
create function pg_temp.plan_of(p_query text) returns text language plpgsql as $$
declare
  v_line text;
  v_plan text := '';
begin
  for v_line in execute 'explain ' || p_query loop
    v_plan := v_plan || v_line || E'\n';
  end loop;
  return v_plan;
end
$$;
set local enable_seqscan = off;
select matches(
  pg_temp.plan_of(
    $$select sum(r.cost) from metering.usage_rollups as r
      where r.organization_id = 'a0000000-0000-4000-8000-000000000000'
        and r.scope = 'organization' and r.scope_id = ''
        and r.day >= '2026-03-01' and r.day < '2026-04-01'$$
  ),
  'usage_rollups_(pkey|organization_id_scope_day_idx)',
  'a month of an organization is a range of an index of the rollups'
);
select matches(
  pg_temp.plan_of(
    $$select from ai_usage_ledger where workflow_id = 'a0000000-0000-4000-8000-000000000001'$$
  ),
  'workflow_id', 'a workflow''s usages are found by index'
);

select * from finish();
rollback;
