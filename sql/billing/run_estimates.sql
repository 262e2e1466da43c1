-- What a run is expected to use and to cost.

create type private.run_estimate as (
  model text,
  input_tokens bigint,
  output_tokens bigint,
  input_cost numeric,
  output_cost numeric
);

comment on type private.run_estimate is 'What a run is expected to use and to cost, US dollars.';

-- An estimate that can be kept: as many tokens as all digits tell apart, and money with 12
-- decimals.
create function private.assert_run_estimate(p_estimate private.run_estimate)
returns private.run_estimate
language plpgsql
stable
set search_path = pg_catalog, pg_temp
as $$
begin
  if p_estimate.input_tokens::numeric + p_estimate.output_tokens > 9007199254740991 then
    perform private.reject_argument(
      'p_input_tokens, p_output_tokens', 'must come to at most 9007199254740991'
    );
  elsif p_estimate.input_cost + p_estimate.output_cost >= 1e12 then
    perform private.reject_argument(
      'p_input_cost_usd, p_output_cost_usd', 'must come to less than 1000000000000'
    );
  end if;
  return p_estimate;
end
$$;

comment on function private.assert_run_estimate(private.run_estimate) is
  'Refuses an estimate that is beyond all measure. Errors: 22023.';

-- The same for an estimate that is raised.
create function private.assert_run_size(
  p_org_id uuid,
  p_run_id uuid,
  p_added private.run_estimate
)
returns void
language plpgsql
stable
set search_path = pg_catalog, pg_temp
as $$
declare
  v_run billing.run_records;
  v_raised private.run_estimate := p_added;
begin
  select * into strict v_run
  from billing.run_records as r where r.org_id = p_org_id and r.id = p_run_id;
  v_raised.input_tokens := p_added.input_tokens + v_run.input_tokens_estimated;
  v_raised.output_tokens := p_added.output_tokens + v_run.output_tokens_estimated;
  v_raised.input_cost := p_added.input_cost + v_run.input_cost_estimated;
  v_raised.output_cost := p_added.output_cost + v_run.output_cost_estimated;
  perform private.assert_run_estimate(v_raised);
end
$$;

comment on function private.assert_run_size(uuid, uuid, private.run_estimate) is
  'Refuses to raise the estimate of a run beyond all measure. Errors: 22023.';

-- What a run is expected to cost: as stated for input and output apart, or by the price of its
-- model.
create function private.estimate_run(
  p_org_id uuid,
  p_input_tokens bigint,
  p_output_tokens bigint,
  p_model text,
  p_input_cost_usd numeric,
  p_output_cost_usd numeric
)
returns private.run_estimate
language plpgsql
stable
set search_path = pg_catalog, pg_temp
as $$
declare
  v_estimate private.run_estimate;
  v_quote private.quote;
  v_priced private.estimate;
begin
  v_estimate.input_tokens := private.assert_count('p_input_tokens', p_input_tokens);
  v_estimate.output_tokens := private.assert_count('p_output_tokens', p_output_tokens);
  if p_model is not null then
    perform private.assert_text('p_model', p_model);
    v_estimate.model := coalesce((private.find_model(null, p_model)).model, p_model);
  end if;
  if (p_input_cost_usd is null) <> (p_output_cost_usd is null) then
    perform private.reject_argument(
      'p_input_cost_usd, p_output_cost_usd', 'must be stated both or neither'
    );
  elsif p_input_cost_usd is not null then
    v_estimate.input_cost := private.assert_money('p_input_cost_usd', p_input_cost_usd);
    v_estimate.output_cost := private.assert_money('p_output_cost_usd', p_output_cost_usd);
    return private.assert_run_estimate(v_estimate);
  elsif p_model is null then
    perform private.reject_argument('p_model', 'must be named where no costs are stated');
  end if;

  v_quote := private.quote_model(
    p_org_id, null, p_model, null, private.clock_now(), 'infinity'
  );
  if v_quote.reason is not null then
    perform private.reject_argument(
      'p_model', 'must have a price that is not stale, or costs must be stated'
    );
  end if;
  -- A run is many calls: none of them is as long as all of them, so the lowest tier counts.
  v_priced := private.estimate_at(v_quote, 0);
  v_estimate.input_cost := private.assert_money(
    'p_input_tokens', private.round_half_even(
      p_input_tokens * private.marked_up(
        ((private.rates_of_prompt(v_quote.rates, 0) ->> 'input_tokens')::numeric) * 0.000001,
        v_quote.percent
      ), 12
    )
  );
  v_estimate.output_cost := private.assert_money(
    'p_output_tokens',
    private.round_half_even(p_output_tokens * v_priced.usd_per_output_token, 12)
  );
  return private.assert_run_estimate(v_estimate);
end
$$;

comment on function private.estimate_run(uuid, bigint, bigint, text, numeric, numeric) is
  'The estimate of a run, as stated or by the price of its model. Errors: 22023.';
