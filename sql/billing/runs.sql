-- Runs: started, extended, divided.

-- The organization of a run: the only place that finds a run by its id alone, and so the only body
-- another engine would replace.
create function private.resolve_organization_of_run(p_run_id uuid)
returns uuid
language plpgsql
stable
set search_path = pg_catalog, pg_temp
as $$
begin
  return (select r.org_id from billing.run_records as r where r.id = p_run_id);
end
$$;

comment on function private.resolve_organization_of_run(uuid) is
  'The organization of a run the caller may see, or null.';

-- A run that is there.
create function private.find_run(p_run_id uuid, p_org_id uuid)
returns billing.run_records
language plpgsql
stable
set search_path = pg_catalog, pg_temp
as $$
declare
  v_org_id constant uuid := coalesce(
    p_org_id, private.resolve_organization_of_run(private.assert_id('p_run_id', p_run_id))
  );
  v_run billing.run_records;
begin
  select * into v_run
  from billing.run_records as r where r.org_id = v_org_id and r.id = p_run_id;
  if v_run.id is null then
    perform private.raise_error('TS404', jsonb_build_object('run_id', p_run_id));
  end if;
  return v_run;
end
$$;

comment on function private.find_run(uuid, uuid) is 'A run by its id. Errors: 22023, TS404.';

-- Refuses a frozen organization. Once a slot of it is locked, no freeze comes in between.
create function private.assert_not_frozen(p_org_id uuid)
returns void
language plpgsql
volatile
set search_path = pg_catalog, pg_temp
as $$
begin
  if exists (
    select from metering.budgets as b
    where b.organization_id = p_org_id and b.id = p_org_id and b.frozen_at is not null
  ) then
    perform private.raise_error('TS423', jsonb_build_object('organization_id', p_org_id));
  end if;
end
$$;

comment on function private.assert_not_frozen(uuid) is
  'Refuses a frozen organization. Errors: TS423.';

-- A run as billing.runs shows it.
create function private.shown_run(p_org_id uuid, p_run_id uuid)
returns billing.runs
language plpgsql
stable
set search_path = pg_catalog, pg_temp
as $$
declare
  v_run billing.runs;
begin
  select * into strict v_run from billing.runs as r where r.org_id = p_org_id and r.id = p_run_id;
  return v_run;
end
$$;

comment on function private.shown_run(uuid, uuid) is 'A run with its figures.';

-- Locks one slot of the organization's own budget, as every call does: nobody gathers, and no
-- budget changes, until the transaction (or the block around it) ends.
create function private.lock_own_slot(p_organization_id uuid)
returns void
language plpgsql
volatile
set search_path = pg_catalog, pg_temp
as $$
begin
  perform from metering.budget_slots as s
  where s.organization_id = p_organization_id
    and s.budget_id = p_organization_id
    and s.slot = (
      select pg_backend_pid() % b.slot_count
      from metering.budgets as b
      where b.organization_id = p_organization_id and b.id = p_organization_id
    )
  for no key update;
  if not found then
    perform private.lock_first_slot(p_organization_id);
  end if;
end
$$;

comment on function private.lock_own_slot(uuid) is
  'Holds off changes of budgets and gathers of an organization, as a call does.';

-- Reserves p_amount of credits for a run; false where they do not suffice. p_has_gathered: nobody
-- else is in flight, so what draws do not need may be taken back.
create function private.reserve_for_run(
  p_org_id uuid,
  p_run_id uuid,
  p_amount numeric,
  p_model text,
  p_has_gathered boolean
)
returns boolean
language plpgsql
volatile
set search_path = pg_catalog, pg_temp
as $$
declare
  v_parts private.grant_part[];
begin
  perform private.lock_credits(p_org_id);
  v_parts := private.free_parts(p_org_id, p_amount, p_model);
  if private.sum_of_parts(v_parts) < p_amount and p_has_gathered then
    perform private.take_back_draws(p_org_id, private.clock_now(), null);
    v_parts := private.free_parts(p_org_id, p_amount, p_model);
  end if;
  if private.sum_of_parts(v_parts) < p_amount then
    return false;
  elsif p_amount > 0 then
    perform private.shift_reservation(p_org_id, p_run_id, v_parts, 1);
  end if;
  return true;
end
$$;

comment on function private.reserve_for_run(uuid, uuid, numeric, text, boolean) is
  'Reserves credits for a run; false where they do not suffice.';

-- Refuses a run for want of credits. What draws could give back is available too.
create function private.refuse_for_credits(p_org_id uuid, p_amount numeric, p_model text)
returns void
language plpgsql
stable
set search_path = pg_catalog, pg_temp
as $$
begin
  perform private.raise_error(
    'TS402',
    private.credit_facts(
      p_org_id, p_amount,
      private.sum_of_parts(private.free_parts(p_org_id, 1e24, p_model))
      - private.available_credits(p_org_id)
      + private.fundable(p_org_id, 'infinity', private.clock_now())
    )
  );
end
$$;

comment on function private.refuse_for_credits(uuid, numeric, text) is
  'Says what was needed and what is available. Errors: TS402.';

-- Gives a new run its row, its budget and its own step.
create function private.make_run(
  p_org_id uuid,
  p_run_id uuid,
  p_estimate private.run_estimate,
  p_name text,
  p_slots integer,
  p_now timestamptz
)
returns void
language plpgsql
volatile
set search_path = pg_catalog, pg_temp
as $$
declare
  v_budget metering.budgets;
begin
  insert into billing.run_records (
    org_id, id, name, model, input_tokens_estimated, output_tokens_estimated,
    input_cost_estimated, output_cost_estimated, created_at, updated_at
  ) values (
    p_org_id, p_run_id, p_name, p_estimate.model, p_estimate.input_tokens,
    p_estimate.output_tokens, p_estimate.input_cost, p_estimate.output_cost, p_now, p_now
  );
  insert into billing.steps (org_id, id, run_id, name)
  values (p_org_id, p_run_id, p_run_id, coalesce(p_name, 'run'));
  -- Nothing can have been spent in it before, so unlike a later change this needs no gather.
  insert into metering.budgets (
    organization_id, id, scope, scope_id, time_window, limit_usd, slot_count, is_funded, only_model
  ) values (
    p_org_id, p_run_id, 'run', p_run_id::text, 'total',
    p_estimate.input_cost + p_estimate.output_cost, p_slots, true, p_estimate.model
  )
  returning * into v_budget;
  insert into metering.budget_slots (
    organization_id, budget_id, slot, window_start, available_usd
  )
  select p_org_id, p_run_id, n, date_trunc('milliseconds', p_now), 0
  from generate_series(0, p_slots - 1) as n;
  perform private.spread(v_budget, v_budget.limit_usd, 0);
end
$$;

comment on function private.make_run(
  uuid, uuid, private.run_estimate, text, integer, timestamptz
) is
  'Makes a run, its budget and its own step.';

-- Starts a run: its estimate is reserved from credits, and its calls spend from that.
--
-- Locks: a slot of the organization's own budget, then the credits; where they do not suffice,
-- first all its own slots, to take back what its draws do not need. Idempotent by p_request_id.
create function billing.start_run(
  p_org_id uuid,
  p_input_tokens bigint,
  p_output_tokens bigint,
  p_model text default null,
  p_input_cost_usd numeric default null,
  p_output_cost_usd numeric default null,
  p_name text default null,
  p_slots integer default 1,
  p_request_id text default null
)
returns billing.runs
language plpgsql
volatile
security definer -- moves credits and makes budgets, which no role may write itself
set search_path = pg_catalog, pg_temp
as $$
declare
  v_estimate private.run_estimate;
  v_amount numeric;
  v_run_id uuid;
  v_bound uuid;
  v_now timestamptz;
  v_content_hash text;
  v_gathers boolean := false;
  v_waits boolean := false;
  v_skipped boolean := false;
begin
  perform private.assert_member(private.assert_id('p_org_id', p_org_id));
  if p_name is not null then
    perform private.assert_text('p_name', p_name);
  end if;
  perform private.assert_slots('p_slots', coalesce(p_slots, 1));
  if p_request_id is not null then
    v_content_hash := private.content_hash(
      array[
        p_input_tokens::text, p_output_tokens::text, p_model, trim_scale(p_input_cost_usd)::text,
        trim_scale(p_output_cost_usd)::text, p_name
      ]::text
    );
    v_bound := private.find_request(
      p_org_id, 'start_run', private.assert_text('p_request_id', p_request_id), v_content_hash
    );
    if v_bound is not null then
      return private.shown_run(p_org_id, v_bound);
    end if;
  end if;
  v_estimate := private.estimate_run(
    p_org_id, p_input_tokens, p_output_tokens, p_model, p_input_cost_usd, p_output_cost_usd
  );
  v_amount := v_estimate.input_cost + v_estimate.output_cost;
  if not exists (select from billing.credit_balances as b where b.org_id = p_org_id) then
    perform private.refuse_for_credits(p_org_id, v_amount, v_estimate.model);
  end if;

  loop
    v_now := greatest(
      private.clock_now(),
      (
        select b.prepaid_since from metering.budgets as b
        where b.organization_id = p_org_id and b.id = p_org_id
      )
    );
    v_run_id := private.uuid_v7(v_now);
    begin
      if v_gathers then
        v_skipped := private.gather(p_org_id, '{}', v_now, v_now, p_wait => v_waits);
      else
        perform private.lock_own_slot(p_org_id);
      end if;
      perform private.assert_not_frozen(p_org_id);
      if not private.reserve_for_run(
        p_org_id, v_run_id, v_amount, v_estimate.model, v_gathers
      ) then
        perform private.abandon_attempt();
      end if;
      if p_request_id is not null and not private.bind_request(
        p_org_id, 'start_run', p_request_id, v_content_hash, v_run_id
      ) then
        v_bound := v_run_id;
        perform private.abandon_attempt();
      end if;
      perform private.make_run(
        p_org_id, v_run_id, v_estimate, p_name, coalesce(p_slots, 1), v_now
      );
      return private.shown_run(p_org_id, v_run_id);
    exception
      when sqlstate 'UNDO0' then null;
    end;
    if v_bound is not null then
      return private.shown_run(
        p_org_id, private.find_request(p_org_id, 'start_run', p_request_id, v_content_hash)
      );
    elsif v_gathers and not v_skipped then
      perform private.refuse_for_credits(p_org_id, v_amount, v_estimate.model);
    end if;
    v_waits := v_gathers;
    v_gathers := true;
  end loop;
  return null; -- never reached
end
$$;

comment on function billing.start_run(
  uuid, bigint, bigint, text, numeric, numeric, text, integer, text
) is
  'Starts a run that is expected to use so many tokens: what they cost, as stated for input and '
  'output (US dollars) or by the price of p_model, is reserved from credits, and calls that name '
  'the run (p_run_id) spend from it. With p_model it may call that model alone, and credits bound '
  'to that model pay for it too. p_slots spreads its counters over that many rows (1 to 256): '
  'about twice the connections that spend from it at once. For server roles. Errors: 22023, TS402 '
  'where credits do not suffice, TS404, TS409, TS423 where the organization is frozen.';

-- Reserves more for a run. Idempotent by p_request_id.
--
-- Locks: a slot of the organization's own budget (all, where credits do not suffice), all slots of
-- the run, the run, the credits.
create function billing.extend_run(
  p_run_id uuid,
  p_input_tokens bigint default 0,
  p_output_tokens bigint default 0,
  p_input_cost_usd numeric default null,
  p_output_cost_usd numeric default null,
  p_request_id text default null,
  p_org_id uuid default null
)
returns billing.runs
language plpgsql
volatile
security definer -- moves credits and changes budgets, which no role may write itself
set search_path = pg_catalog, pg_temp
as $$
declare
  v_run billing.run_records := private.find_run(p_run_id, p_org_id);
  v_org_id constant uuid := v_run.org_id;
  v_estimate private.run_estimate;
  v_amount numeric;
  v_budget metering.budgets;
  v_content_hash text;
  v_is_bound boolean := false;
  v_gathers boolean := false;
  v_waits boolean := false;
  v_skipped boolean := false;
  v_now timestamptz;
begin
  if p_request_id is not null then
    v_content_hash := private.content_hash(
      array[
        p_run_id::text, p_input_tokens::text, p_output_tokens::text,
        trim_scale(p_input_cost_usd)::text, trim_scale(p_output_cost_usd)::text
      ]::text
    );
    if private.find_request(
      v_org_id, 'extend_run', private.assert_text('p_request_id', p_request_id), v_content_hash
    ) is not null then
      return private.shown_run(v_org_id, p_run_id);
    end if;
  end if;
  v_estimate := private.estimate_run(
    v_org_id, p_input_tokens, p_output_tokens, v_run.model, p_input_cost_usd, p_output_cost_usd
  );
  v_amount := v_estimate.input_cost + v_estimate.output_cost;

  loop
    v_now := private.clock_now();
    begin
      if v_gathers then
        v_skipped := private.gather(v_org_id, '{}', v_now, v_now, p_wait => v_waits);
      else
        perform private.lock_own_slot(v_org_id);
      end if;
      if not private.lock_run_slots(v_org_id, p_run_id) then
        select * into v_run
        from billing.run_records as r where r.org_id = v_org_id and r.id = p_run_id;
        perform private.raise_error(
          'TS410', jsonb_build_object('run_id', p_run_id, 'state', v_run.status)
        );
      end if;
      perform private.assert_not_frozen(v_org_id);
      perform private.assert_run_size(v_org_id, p_run_id, v_estimate);
      update billing.run_records as r
      set
        input_tokens_estimated = r.input_tokens_estimated + v_estimate.input_tokens,
        output_tokens_estimated = r.output_tokens_estimated + v_estimate.output_tokens,
        input_cost_estimated = r.input_cost_estimated + v_estimate.input_cost,
        output_cost_estimated = r.output_cost_estimated + v_estimate.output_cost
      where r.org_id = v_org_id and r.id = p_run_id;
      if not private.reserve_for_run(v_org_id, p_run_id, v_amount, v_run.model, v_gathers) then
        perform private.abandon_attempt();
      end if;
      if p_request_id is not null and not private.bind_request(
        v_org_id, 'extend_run', p_request_id, v_content_hash, p_run_id
      ) then
        v_is_bound := true;
        perform private.abandon_attempt();
      end if;
      update metering.budgets as b
      set limit_usd = b.limit_usd + v_amount
      where b.organization_id = v_org_id and b.id = p_run_id
      returning * into v_budget;
      perform private.spread(
        v_budget,
        (
          select sum(s.available_usd) - coalesce(sum(s.debt_usd), 0) + v_amount
          from metering.budget_slots as s
          where s.organization_id = v_org_id and s.budget_id = p_run_id
        ),
        0
      );
      return private.shown_run(v_org_id, p_run_id);
    exception
      when sqlstate 'UNDO0' then null;
    end;
    if v_is_bound then
      perform private.find_request(v_org_id, 'extend_run', p_request_id, v_content_hash);
      return private.shown_run(v_org_id, p_run_id);
    elsif v_gathers and not v_skipped then
      perform private.refuse_for_credits(v_org_id, v_amount, v_run.model);
    end if;
    v_waits := v_gathers;
    v_gathers := true;
  end loop;
  return null; -- never reached
end
$$;

comment on function billing.extend_run(uuid, bigint, bigint, numeric, numeric, text, uuid) is
  'Raises the estimate of a running run by so many tokens and what they cost, as stated (US '
  'dollars) or by the price of its model, and reserves that from credits too. For server roles. '
  'Errors: 22023, TS402 where credits do not suffice, TS404, TS409, TS410 for a run that has '
  'ended.';

-- Locks all slots of a run: no call of it is in flight. False where it has none: it has ended.
create function private.lock_run_slots(p_org_id uuid, p_run_id uuid)
returns boolean
language plpgsql
volatile
set search_path = pg_catalog, pg_temp
as $$
begin
  perform from metering.budget_slots as s
  where s.organization_id = p_org_id and s.budget_id = p_run_id
  order by s.slot
  for update;
  return found and exists (
    select from billing.run_records as r
    where r.org_id = p_org_id and r.id = p_run_id and r.status = 'running'
  );
end
$$;

comment on function private.lock_run_slots(uuid, uuid) is
  'Holds off the calls of a run until the transaction ends; false for a run that has ended.';
