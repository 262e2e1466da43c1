-- The calls of a run. Each is a usage like any other, in ai_usage_ledger and every total, and has a
-- row in token_records too, with the same id.

-- Records which part of a run a usage belongs to; nothing for a usage of no run of ours. Called
-- with every usage that names a run, in its transaction.
create function private.record_run_call(p_usage public.ai_usage_ledger, p_call private.run_call)
returns void
language plpgsql
volatile
set search_path = pg_catalog, pg_temp
as $$
begin
  insert into billing.token_records (
    org_id, id, run_id, agent_id, task_id, step_id, input_tokens, output_tokens, total_tokens,
    model, cost_usd, is_estimated, error_code, error_message, reported_total_tokens, created_at,
    updated_at
  )
  select
    p_usage.organization_id, p_usage.id, p_usage.run_id, p_call.agent_id, p_call.task_id,
    coalesce(p_call.step_id, p_usage.run_id), p_usage.prompt_tokens, p_usage.completion_tokens,
    p_usage.prompt_tokens::bigint + p_usage.completion_tokens, p_usage.model, p_usage.cost,
    p_call.error_code is not null, p_call.error_code, p_call.error_message,
    p_call.reported_total_tokens, p_usage.created_at, p_usage.created_at
  from billing.run_records as r
  where r.org_id = p_usage.organization_id and r.id = p_usage.run_id;
end
$$;

comment on function private.record_run_call(public.ai_usage_ledger, private.run_call) is
  'Writes the row of token_records that goes with a usage of a run that was started here.';

-- True for a run of ours: others are labels that an application gave to its calls.
create function private.is_run(p_org_id uuid, p_run_id uuid)
returns boolean
language plpgsql
stable
set search_path = pg_catalog, pg_temp
as $$
begin
  return exists (
    select from billing.run_records as r where r.org_id = p_org_id and r.id = p_run_id
  );
end
$$;

comment on function private.is_run(uuid, uuid) is 'True for a run that was started here.';

-- Charges a usage that nothing reserved any more: its run has ended, or its draw was closed.
create function private.charge_late_usage(p_usage public.ai_usage_ledger)
returns void
language plpgsql
volatile
set search_path = pg_catalog, pg_temp
as $$
declare
  v_run billing.run_records;
begin
  select * into v_run
  from billing.run_records as r
  where r.org_id = p_usage.organization_id and r.id = p_usage.run_id;
  perform private.lock_credits(p_usage.organization_id);
  perform private.charge_available(
    private.draft_movement(
      p_usage.organization_id, 'adjustment', 'late_usage', 'tallystick:usage:' || p_usage.id, v_run.id,
      case
        when v_run.id is null then (
          select d.id
          from billing.draws as d
          inner join tenancy.organizations as o on o.id = d.org_id
          where d.org_id = p_usage.organization_id
            and d.day = private.local_day(p_usage.created_at, o.time_zone)
        )
      end
    ),
    p_usage.cost, v_run.model
  );
end
$$;

comment on function private.charge_late_usage(public.ai_usage_ledger) is
  'Charges a usage that landed after its run or draw was charged.';

-- What went wrong with a call, if anything, and how much it is to be trusted.
create function private.assert_run_call(
  p_call private.run_call,
  p_is_estimated boolean,
  p_total_tokens bigint
)
returns private.run_call
language plpgsql
stable
set search_path = pg_catalog, pg_temp
as $$
begin
  if p_call.error_code is not null and p_call.error_code not in (
    'ZERO_TOKENS', 'MISMATCH', 'TIMEOUT', 'RATE_LIMIT', 'AUTH_ERROR', 'INVALID_RESPONSE'
  ) then
    perform private.reject_argument(
      'p_error_code',
      'must be ZERO_TOKENS, MISMATCH, TIMEOUT, RATE_LIMIT, AUTH_ERROR or INVALID_RESPONSE'
    );
  elsif p_is_estimated <> (p_call.error_code is not null) then
    perform private.reject_argument(
      'p_is_estimated', 'must be true exactly where p_error_code is stated'
    );
  elsif p_call.error_code is null and p_call.error_message is not null then
    perform private.reject_argument('p_error_message', 'must go with p_error_code');
  elsif length(p_call.error_message) > 10000 then
    perform private.reject_argument('p_error_message', 'must have at most 10000 characters');
  elsif p_call.reported_total_tokens < 0 then
    perform private.reject_argument('p_reported_total_tokens', 'must not be negative');
  elsif (p_call.reported_total_tokens is not null) <> (p_call.error_code is not distinct from 'MISMATCH')
    then
    perform private.reject_argument(
      'p_reported_total_tokens', 'must be stated exactly where p_error_code is MISMATCH'
    );
  elsif p_call.reported_total_tokens = p_total_tokens then
    perform private.reject_argument(
      'p_reported_total_tokens', 'must differ from the sum of the tokens'
    );
  end if;
  return p_call;
end
$$;

comment on function private.assert_run_call(private.run_call, boolean, bigint) is
  'Refuses an error that contradicts itself. Errors: 22023.';

-- What a call of a run used: by token class, or as input and output.
create function private.measure_call(
  p_input_tokens integer,
  p_output_tokens integer,
  p_usage jsonb
)
returns private.measurement
language plpgsql
stable
set search_path = pg_catalog, pg_temp
as $$
declare
  v_measured private.measurement;
begin
  if p_usage is not null then
    v_measured := private.assert_usage('p_usage', p_usage);
    if p_input_tokens <> v_measured.prompt_tokens
      or p_output_tokens <> v_measured.completion_tokens then
      perform private.reject_argument(
        'p_usage', 'must come to p_input_tokens and p_output_tokens'
      );
    end if;
    return v_measured;
  end if;
  return private.assert_usage(
    'p_input_tokens, p_output_tokens',
    jsonb_build_object(
      'input_tokens', private.assert_count('p_input_tokens', p_input_tokens),
      'output_tokens', private.assert_count('p_output_tokens', p_output_tokens)
    )
  );
end
$$;

comment on function private.measure_call(integer, integer, jsonb) is
  'What a call of a run used. Errors: 22023.';

-- Records a call of a run that no hold was made for.
create function private.record_unheld_call(
  p_run billing.run_records,
  p_model text,
  p_measured private.measurement,
  p_cost numeric,
  p_call private.run_call,
  p_request_id text,
  p_content_hash text
)
returns uuid
language plpgsql
volatile
set search_path = pg_catalog, pg_temp
as $$
declare
  v_listed constant private.model_key := private.find_listed(null, p_model);
  v_hold metering.holds;
  v_usage public.ai_usage_ledger;
  v_keys text[];
begin
  -- It is costed as a hold that was made now and let go of at once.
  v_hold.organization_id := p_run.org_id;
  v_hold.run_id := p_run.id;
  v_hold.model := p_model;
  v_hold.provider := v_listed.provider;
  v_hold.listed_model := nullif(v_listed.model, p_model);
  v_hold.tags := '{}';
  v_hold.state := 'released';
  v_hold.created_at := private.clock_now();
  if p_cost is null and (
    private.quote_model(
      p_run.org_id, v_hold.provider, coalesce(v_hold.listed_model, p_model),
      p_measured.service_tier, v_hold.created_at + interval '999 microseconds', 'infinity'
    )
  ).price_id is null then
    perform private.reject_argument(
      'p_cost_usd', 'must be stated: no price is known for the model'
    );
  end if;
  v_usage := private.usage_of_hold(v_hold, private.cost_call(v_hold, p_measured, p_cost));
  v_usage.settlement := 'without_hold';
  v_keys := private.scope_keys(
    null, p_run.id, null, null, null, p_model, v_usage.listed_model, '{}'
  );
  v_usage := private.book(
    v_usage, 0, private.survey(p_run.org_id, v_keys, v_hold.created_at, null), null, 'record',
    p_request_id, p_content_hash, p_call => p_call
  );
  -- The same request was recorded meanwhile; other content under its id is refused.
  return coalesce(
    v_usage.id, private.find_request(p_run.org_id, 'record', p_request_id, p_content_hash)
  );
end
$$;

comment on function private.record_unheld_call(
  billing.run_records, text, private.measurement, numeric, private.run_call, text, text
) is
  'Books a call of a run without a hold. Errors: 22023, TS409.';

-- Records a call of a run: the document's arguments first.
--
-- Never refuses real spend: beyond what the run has reserved it lands all the same, and after the
-- run has ended it is charged as late usage. Locks as settle_spend. Idempotent by p_request_id, and
-- with p_hold_id by that.
create function billing.record_token_call(
  p_run_id uuid,
  p_agent_id uuid,
  p_task_id uuid,
  p_step_id uuid,
  p_input_tokens integer,
  p_output_tokens integer,
  p_model text,
  p_cost_usd numeric,
  p_error_code text default null,
  p_error_message text default null,
  p_is_estimated boolean default null,
  p_usage jsonb default null,
  p_reported_total_tokens bigint default null,
  p_hold_id uuid default null,
  p_request_id text default null,
  p_org_id uuid default null
)
returns uuid
language plpgsql
volatile
security definer -- writes ledgers and counters, which no role may write itself
set search_path = pg_catalog, pg_temp
set plan_cache_mode = force_generic_plan
set enable_seqscan = off
set jit = off
as $$
declare
  v_run constant billing.run_records := private.find_run(p_run_id, p_org_id);
  v_measured private.measurement := private.measure_call(p_input_tokens, p_output_tokens, p_usage);
  v_call private.run_call;
  v_content_hash text;
  v_bound uuid;
begin
  perform private.assert_text('p_model', p_model);
  if p_cost_usd is not null then
    perform private.assert_money('p_cost_usd', p_cost_usd);
  end if;
  v_call := private.assert_run_call(
    row(
      p_agent_id, p_task_id, p_step_id, p_error_code, p_error_message, p_reported_total_tokens
    )::private.run_call,
    p_is_estimated, v_measured.prompt_tokens + v_measured.completion_tokens
  );
  v_measured.is_estimate := v_measured.is_estimate or p_error_code is not null;
  perform private.assert_part_of_run(v_run.org_id, p_run_id, p_agent_id, p_task_id, p_step_id);

  if p_hold_id is not null then
    return private.settle_call(v_run, p_hold_id, p_model, v_measured, p_cost_usd, p_request_id, v_call);
  end if;
  if p_request_id is not null then
    v_content_hash := private.content_hash(
      row(
        p_run_id, v_call, '{"requests": 1}' || v_measured.counts, v_measured.service_tier, p_model,
        trim_scale(p_cost_usd)
      )::text
    );
    v_bound := private.find_request(
      v_run.org_id, 'record', private.assert_text('p_request_id', p_request_id), v_content_hash
    );
    if v_bound is not null then
      return v_bound;
    end if;
  end if;
  return private.record_unheld_call(
    v_run, p_model, v_measured, p_cost_usd, v_call, p_request_id, v_content_hash
  );
end
$$;

comment on function billing.record_token_call(
  uuid, uuid, uuid, uuid, integer, integer, text, numeric, text, text, boolean, jsonb, bigint,
  uuid, text, uuid
) is
  'Records a call of a run and returns its id (billing_system 4.1): in token_records, in '
  'ai_usage_ledger and in every total. p_agent_id and p_task_id null: the main agent, no task; '
  'p_step_id null: the run''s own step. p_cost_usd null: by the price of p_model. p_usage: tokens '
  'by class, as in settle_spend; they come to p_input_tokens and p_output_tokens where those are '
  'stated. p_error_code (ZERO_TOKENS, MISMATCH, TIMEOUT, RATE_LIMIT, AUTH_ERROR, '
  'INVALID_RESPONSE) says that the counts are a guess; of a MISMATCH p_reported_total_tokens says '
  'what the provider had reported. p_hold_id: settles the hold that was made for it. For server '
  'roles. Errors: 22023, TS404, TS409.';

-- Settles the hold that was made for a call of a run.
create function private.settle_call(
  p_run billing.run_records,
  p_hold_id uuid,
  p_model text,
  p_measured private.measurement,
  p_cost numeric,
  p_request_id text,
  p_call private.run_call
)
returns uuid
language plpgsql
volatile
set search_path = pg_catalog, pg_temp
as $$
declare
  v_run_id uuid;
  v_model text;
begin
  select h.run_id, coalesce(h.listed_model, h.model) into v_run_id, v_model
  from metering.holds as h where h.organization_id = p_run.org_id and h.id = p_hold_id;
  if not found then
    select l.run_id, coalesce(l.listed_model, l.model) into v_run_id, v_model
    from public.ai_usage_ledger as l where l.organization_id = p_run.org_id and l.id = p_hold_id;
  end if;
  if v_run_id is distinct from p_run.id then
    perform private.raise_error('TS404', jsonb_build_object('hold_id', p_hold_id));
  elsif v_model <> coalesce((private.find_listed(null, p_model)).model, p_model) then
    perform private.reject_argument('p_model', 'must be the model the hold is for');
  end if;
  perform private.settle_measured(
    p_hold_id, p_measured, p_cost, p_request_id, p_run.org_id, '{}', p_call
  );
  -- Settled before, as a call of another part.
  if not exists (
    select from billing.token_records as t
    where t.org_id = p_run.org_id
      and t.id = p_hold_id
      and (t.agent_id, t.task_id, t.step_id, t.error_code, t.reported_total_tokens)
      is not distinct from (
        p_call.agent_id, p_call.task_id, coalesce(p_call.step_id, p_run.id), p_call.error_code,
        p_call.reported_total_tokens
      )
  ) then
    perform private.raise_error('TS409', jsonb_build_object('hold_id', p_hold_id));
  end if;
  return p_hold_id;
end
$$;

comment on function private.settle_call(
  billing.run_records, uuid, text, private.measurement, numeric, text, private.run_call
) is
  'Settles a hold of a run and says which part of the run it belongs to. Errors: 22023, TS404, '
  'TS409.';
