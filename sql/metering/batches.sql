-- Many at once, for one organization: locked once, in one order, so two batches never deadlock.

create type metering.authorized_item as (
  item integer,
  decision text,
  hold_id uuid,
  usage_id uuid,
  held_usd text,
  reason text,
  budget_id uuid,
  remaining_usd text,
  resets_at timestamptz,
  affordable_output_tokens bigint,
  expires_at timestamptz,
  proposal_id uuid,
  error_code text,
  error_detail jsonb
);

comment on type metering.authorized_item is
  'The answer to one item of authorize_spend_batch: a spend_decision, or an error.';
comment on column metering.authorized_item.item is 'Position of the item in p_items, from 0.';
comment on column metering.authorized_item.decision is 'As in spend_decision; null for an error.';
comment on column metering.authorized_item.hold_id is 'As in spend_decision.';
comment on column metering.authorized_item.usage_id is 'As in spend_decision.';
comment on column metering.authorized_item.held_usd is 'As in spend_decision.';
comment on column metering.authorized_item.reason is 'As in spend_decision.';
comment on column metering.authorized_item.budget_id is 'As in spend_decision.';
comment on column metering.authorized_item.remaining_usd is 'As in spend_decision.';
comment on column metering.authorized_item.resets_at is 'As in spend_decision.';
comment on column metering.authorized_item.affordable_output_tokens is 'As in spend_decision.';
comment on column metering.authorized_item.expires_at is 'As in spend_decision.';
comment on column metering.authorized_item.proposal_id is 'As in spend_decision.';
comment on column metering.authorized_item.error_code is
  'What the item alone would have raised; null where it was decided.';
comment on column metering.authorized_item.error_detail is 'The facts of that error.';

create type metering.settled_item as (
  item integer,
  usage_id uuid,
  cost text,
  settlement text,
  unheld_usd text,
  error_code text,
  error_detail jsonb
);

comment on type metering.settled_item is 'The answer to one item of settle_spend_batch.';
comment on column metering.settled_item.item is 'Position of the item in p_items, from 0.';
comment on column metering.settled_item.usage_id is
  'The usage the hold became, with the id of the hold; null for an error.';
comment on column metering.settled_item.cost is 'US dollars, as decimal text.';
comment on column metering.settled_item.settlement is 'on_hold or after_hold.';
comment on column metering.settled_item.unheld_usd is
  'What no open hold covered, US dollars, as decimal text.';
comment on column metering.settled_item.error_code is
  'What the item alone would have raised; null where it was settled.';
comment on column metering.settled_item.error_detail is 'The facts of that error.';

-- A batch: 1 to 1000 items.
create function private.assert_items(p_items jsonb)
returns jsonb
language plpgsql
stable
set search_path = pg_catalog, pg_temp
as $$
begin
  if jsonb_typeof(p_items) is distinct from 'array' then
    perform private.reject_argument('p_items', 'must be an array');
  elsif jsonb_array_length(p_items) not between 1 and 1000 then
    perform private.reject_argument('p_items', 'must have 1 to 1000 items');
  end if;
  return p_items;
end
$$;

comment on function private.assert_items(jsonb) is
  'Refuses anything but an array of 1 to 1000 items. Errors: 22023.';

-- Refuses an item that is no object or has a key nobody reads, such as a misspelled one.
create function private.assert_item(p_item jsonb, p_keys text[])
returns jsonb
language plpgsql
stable
set search_path = pg_catalog, pg_temp
as $$
begin
  if jsonb_typeof(p_item) <> 'object' then
    perform private.reject_argument('p_items', 'must have objects as items');
  elsif p_item - p_keys <> '{}' then
    perform private.reject_argument('p_items', 'must have items with only the documented keys');
  end if;
  return p_item;
end
$$;

comment on function private.assert_item(jsonb, text[]) is
  'Refuses an item that is not an object of known keys. Errors: 22023.';

-- The code an item's error has: what cannot be read as its type is an argument like any other.
create function private.item_error_code(p_sqlstate text)
returns text
language plpgsql
immutable
set search_path = pg_catalog, pg_temp
as $$
begin
  return case when left(p_sqlstate, 2) = '22' then '22023' else p_sqlstate end;
end
$$;

comment on function private.item_error_code(text) is
  'SQLSTATE of an item''s error: 22xxx is 22023.';

-- The facts of an item's error: those it was raised with, or what PostgreSQL says of the value.
create function private.item_error_detail(p_detail text, p_message text)
returns jsonb
language plpgsql
immutable
set search_path = pg_catalog, pg_temp
as $$
begin
  return case
    when left(p_detail, 1) = '{' then p_detail::jsonb
    else jsonb_build_object('argument', 'p_items', 'rule', p_message)
  end;
end
$$;

comment on function private.item_error_detail(text, text) is 'DETAIL of an item''s error as JSON.';

-- Decides one item of authorize_spend_batch, as of the time the batch has gathered.
create function private.authorize_item(
  p_organization_id uuid,
  p_item jsonb,
  p_position integer,
  p_still_since timestamptz
)
returns metering.authorized_item
language plpgsql
volatile
set search_path = pg_catalog, pg_temp
as $$
declare
  v_answer metering.authorized_item;
  v_decision metering.spend_decision;
  v_detail text;
begin
  v_answer.item := p_position;
  begin
    perform private.assert_item(
      p_item,
      array[
        'model', 'estimated_cost', 'input_tokens', 'max_output_tokens', 'workflow_id', 'run_id',
        'venture_id', 'user_id', 'api_key_id', 'tags', 'provider', 'service_tier', 'request_id',
        'expires_in', 'allow_partial', 'minimum'
      ]
    );
    v_decision := private.decide_spend(
      p_organization_id => p_organization_id,
      p_model => p_item ->> 'model',
      p_estimated_cost => (p_item ->> 'estimated_cost')::numeric,
      p_input_tokens => (p_item ->> 'input_tokens')::bigint,
      p_max_output_tokens => (p_item ->> 'max_output_tokens')::bigint,
      p_workflow_id => (p_item ->> 'workflow_id')::uuid,
      p_run_id => (p_item ->> 'run_id')::uuid,
      p_venture_id => (p_item ->> 'venture_id')::uuid,
      p_user_id => (p_item ->> 'user_id')::uuid,
      p_api_key_id => p_item ->> 'api_key_id',
      p_tags => nullif(p_item -> 'tags', 'null'),
      p_provider => p_item ->> 'provider',
      p_service_tier => p_item ->> 'service_tier',
      p_request_id => p_item ->> 'request_id',
      p_expires_in => coalesce((p_item ->> 'expires_in')::interval, '10 minutes'),
      p_allow_partial => coalesce((p_item ->> 'allow_partial')::boolean, false),
      p_minimum => (p_item ->> 'minimum')::numeric,
      p_still_since => p_still_since
    );
    v_answer.decision := v_decision.decision;
    v_answer.hold_id := v_decision.hold_id;
    v_answer.usage_id := v_decision.usage_id;
    v_answer.held_usd := v_decision.held_usd;
    v_answer.reason := v_decision.reason;
    v_answer.budget_id := v_decision.budget_id;
    v_answer.remaining_usd := v_decision.remaining_usd;
    v_answer.resets_at := v_decision.resets_at;
    v_answer.affordable_output_tokens := v_decision.affordable_output_tokens;
    v_answer.expires_at := v_decision.expires_at;
    v_answer.proposal_id := v_decision.proposal_id;
  exception
    when data_exception or insufficient_privilege or sqlstate 'TS404' or sqlstate 'TS409' then
      get stacked diagnostics v_detail = pg_exception_detail;
      v_answer.error_code := private.item_error_code(sqlstate);
      v_answer.error_detail := private.item_error_detail(v_detail, sqlerrm);
  end;
  return v_answer;
end
$$;

comment on function private.authorize_item(uuid, jsonb, integer, timestamptz) is
  'Decides one item of authorize_spend_batch.';

-- The privileged half of public.authorize_spend_batch.
create function private.authorize_spend_batch(p_organization_id uuid, p_items jsonb)
returns setof metering.authorized_item
language plpgsql
volatile
security definer -- takes money from slots and makes holds, which no role may write itself
set search_path = pg_catalog, pg_temp
set plan_cache_mode = force_generic_plan
set enable_seqscan = off
set jit = off
as $$
declare
  v_items constant jsonb := private.assert_items(p_items);
  v_now timestamptz;
  v_waits boolean := false;
  v_answers metering.authorized_item[];
begin
  perform private.assert_member(p_organization_id, array['owner', 'admin', 'finance', 'member']);
  loop
    v_now := private.clock_now();
    perform private.ensure_month(v_now);
    begin
      -- Before anything nested is done: whoever waits for a row that an inner block has written
      -- waits for the whole transaction, and would not be woken by undoing this one.
      if private.gather(p_organization_id, '{}', v_now, v_now, p_wait => v_waits) then
        perform private.abandon_attempt();
      end if;
      v_answers := '{}';
      for v_position in 0..jsonb_array_length(v_items) - 1 loop
        v_answers := v_answers
          || private.authorize_item(
            p_organization_id, v_items -> v_position, v_position, v_now
          );
      end loop;
      return query select * from unnest(v_answers);
      return;
    exception
      when sqlstate 'UNDO0' then
        v_waits := true;
    end;
  end loop;
end
$$;

comment on function private.authorize_spend_batch(uuid, jsonb) is
  'Core of public.authorize_spend_batch.';

-- Decides many requests of one organization, in the order given, in one transaction.
--
-- Locks the organization's own budget as a whole, so it stands still meanwhile. An item that is
-- wrong has its error as its answer and stops nothing. Idempotent per item by its request id.
create function public.authorize_spend_batch(p_organization_id uuid, p_items jsonb)
returns setof metering.authorized_item
language plpgsql
volatile
set search_path = pg_catalog, pg_temp
as $$
begin
  return query select * from private.authorize_spend_batch(p_organization_id, p_items);
end
$$;

comment on function public.authorize_spend_batch(uuid, jsonb) is
  'authorize_spend for 1 to 1000 requests. p_items: objects with the arguments of authorize_spend '
  'as keys, without p_ and without the organization; amounts as text or numbers. One row per item: '
  'the decision, or error_code and error_detail. For members who may spend, and server roles. '
  'Errors: 22023, 42501, TS404 for the batch as a whole.';

-- Settles a batch in which nothing is out of the ordinary, in one pass over each table: every hold
-- is open and covers its cost, none has a request id, no budget was changed since. False otherwise,
-- with nothing done.
create function private.settle_plain_batch(p_organization_id uuid, p_items jsonb)
returns boolean
language plpgsql
volatile
set search_path = pg_catalog, pg_temp
as $$
declare
  v_now constant timestamptz := private.clock_now();
  v_ids uuid[];
  v_costs numeric[];
  v_measured private.measurement[];
  v_holds metering.holds[];
  v_costings private.costing[];
  v_usages public.ai_usage_ledger[];
  v_days date[];
  v_rollup_slot smallint;
  v_is_plain boolean;
  v_slot record;
begin
  -- By id: holds are locked in this order, and the lists fit one another.
  select
    array_agg(i.hold_id order by i.hold_id),
    array_agg(i.cost order by i.hold_id),
    array_agg(i.measured order by i.hold_id),
    bool_and(i.measured is not null and (i.cost is not null or i.has_usage))
  into v_ids, v_costs, v_measured, v_is_plain
  from (
    select
      (t.item ->> 'hold_id')::uuid as hold_id,
      case
        when t.item ->> 'cost' is not null
          then private.assert_money('cost', (t.item ->> 'cost')::numeric)
      end as cost,
      t.item ->> 'usage' is not null as has_usage,
      private.assert_usage('usage', nullif(t.item -> 'usage', 'null')) as measured
    from jsonb_array_elements(p_items) as t (item)
    where private.assert_item(t.item, array['hold_id', 'cost', 'usage']) is not null
  ) as i;

  select array_agg(h::metering.holds order by h.id) into v_holds
  from (
    select l.* from metering.holds as l
    where l.organization_id = p_organization_id and l.id = any(v_ids)
    order by l.id
    for update
  ) as h;
  if not v_is_plain or cardinality(v_holds) is distinct from cardinality(v_ids) then
    return false;
  end if;
  v_costings := array(
    select private.cost_call(v_holds[n], v_measured[n], v_costs[n])
    from generate_subscripts(v_ids, 1) as n
  );
  select
    bool_and(h.state = 'open' and v_costings[h.ordinality].cost <= h.held_usd)
    and min(h.config_version) = max(h.config_version)
  into v_is_plain
  from unnest(v_holds) with ordinality as h;
  if not v_is_plain then
    return false;
  end if;

  -- The own budget comes first, locked before any other; its version says whether the list of the
  -- others still holds. Where a window ended amid the batch, each hold must find its own.
  for v_slot in
    select
      b.budget_id,
      min(b.slot) as slot,
      sum((v_costings[h.ordinality]).cost) as settled_usd,
      sum(h.held_usd) as held_usd,
      min(h.created_at) as earliest,
      max(h.created_at) as latest,
      max(h.config_version) as config_version
    from unnest(v_holds) with ordinality as h
    cross join lateral unnest(h.budget_ids, h.slots) as b (budget_id, slot)
    group by b.budget_id
    order by b.budget_id <> p_organization_id, b.budget_id
  loop
    update metering.budget_slots as s
    set
      settled_usd = s.settled_usd + v_slot.settled_usd,
      held_usd = s.held_usd - v_slot.held_usd,
      available_usd = s.available_usd + v_slot.held_usd - v_slot.settled_usd
    where s.organization_id = p_organization_id
      and s.budget_id = v_slot.budget_id
      and s.slot = v_slot.slot
      and v_slot.earliest >= s.window_start
      and v_slot.latest < s.window_end
      and (s.budget_id <> p_organization_id or s.config_version = v_slot.config_version);
    if not found then
      return false;
    end if;
    v_rollup_slot := coalesce(v_rollup_slot, v_slot.slot);
  end loop;

  for v_n in 1..cardinality(v_ids) loop
    v_usages[v_n] := private.usage_of_hold(v_holds[v_n], v_costings[v_n]);
    v_usages[v_n].settled_at := greatest(v_now, v_holds[v_n].created_at);
    v_usages[v_n].xact_id := pg_current_xact_id();
    v_days[v_n] := v_holds[v_n].day;
  end loop;
  insert into public.ai_usage_ledger select u.* from unnest(v_usages) as u;
  perform private.record_run_call(v_usages[n], null)
  from generate_subscripts(v_ids, 1) as n
  where (v_usages[n]).run_id is not null;
  perform private.roll_up_all(v_usages, v_days, v_rollup_slot);
  delete from metering.holds as h
  where h.organization_id = p_organization_id and h.id = any(v_ids);
  return true;
end
$$;

comment on function private.settle_plain_batch(uuid, jsonb) is
  'Settles a batch of open holds that cover their costs; false where it is not such a batch, and '
  'the caller must undo it.';

-- Settles one item of settle_spend_batch.
create function private.settle_item(
  p_organization_id uuid,
  p_item jsonb,
  p_position integer,
  p_except uuid[]
)
returns metering.settled_item
language plpgsql
volatile
set search_path = pg_catalog, pg_temp
as $$
declare
  v_answer metering.settled_item;
  v_detail text;
begin
  v_answer.item := p_position;
  begin
    select u.id, trim_scale(u.cost)::text, u.settlement::text, trim_scale(u.unheld_usd)::text
    into v_answer.usage_id, v_answer.cost, v_answer.settlement, v_answer.unheld_usd
    from private.settle_spend(
      p_hold_id => (p_item ->> 'hold_id')::uuid,
      p_usage => nullif(p_item -> 'usage', 'null'),
      p_cost => (p_item ->> 'cost')::numeric,
      p_request_id => p_item ->> 'request_id',
      p_organization_id => p_organization_id,
      p_except => p_except
    ) as u
    where private.assert_item(p_item, array['hold_id', 'usage', 'cost', 'request_id']) is not null;
  exception
    when data_exception or sqlstate 'TS404' or sqlstate 'TS409' then
      get stacked diagnostics v_detail = pg_exception_detail;
      v_answer.error_code := private.item_error_code(sqlstate);
      v_answer.error_detail := private.item_error_detail(v_detail, sqlerrm);
  end;
  return v_answer;
end
$$;

comment on function private.settle_item(uuid, jsonb, integer, uuid[]) is
  'Settles one item of settle_spend_batch.';

-- Settles many holds of one organization in one transaction.
--
-- In one pass where nothing is out of the ordinary; otherwise item by item, in the order given,
-- while the organization stands still. An item that is wrong has its error as its answer and stops
-- nothing. Locks: the holds by id, then as a single settlement. Idempotent per item.
create function public.settle_spend_batch(p_organization_id uuid, p_items jsonb)
returns setof metering.settled_item
language plpgsql
volatile
security definer -- writes ledger and counters, which no role may write itself
set search_path = pg_catalog, pg_temp
set plan_cache_mode = force_generic_plan
set enable_seqscan = off
set jit = off
as $$
declare
  v_organization_id constant uuid := private.assert_id('p_organization_id', p_organization_id);
  v_items constant jsonb := private.assert_items(p_items);
  v_ids uuid[];
  v_locked integer;
  v_now timestamptz;
begin
  begin
    if not private.settle_plain_batch(v_organization_id, v_items) then
      perform private.abandon_attempt();
    end if;
    return query
    select
      (t.position - 1)::integer, l.id, trim_scale(l.cost)::text, 'on_hold', '0', null::text,
      null::jsonb
    from jsonb_array_elements(v_items) with ordinality as t (item, position)
    inner join public.ai_usage_ledger as l
      on l.organization_id = v_organization_id and l.id = (t.item ->> 'hold_id')::uuid
    order by t.position;
    return;
  exception
    when data_exception or sqlstate 'UNDO0' then null;
  end;

  -- In any spelling a uuid may have; what is none is an error of its own item.
  v_ids := array(
    select t.hold_id::uuid
    from (
      select translate(lower(i.item ->> 'hold_id'), '{}-', '') as hold_id
      from jsonb_array_elements(v_items) as i (item)
    ) as t
    where t.hold_id ~ '^[0-9a-f]{32}$'
  );
  loop
    begin
      perform from metering.holds as h
      where h.organization_id = v_organization_id and h.id = any(v_ids)
      order by h.id
      for update;
      get diagnostics v_locked = row_count;
      v_now := private.clock_now();
      perform private.gather(v_organization_id, '{}', v_now, v_now, v_ids);
      -- Holds that were granted while it waited: again, as holds come before slots.
      exit when v_locked >= (
        select count(*) from metering.holds as h
        where h.organization_id = v_organization_id and h.id = any(v_ids)
      );
      perform private.abandon_attempt();
    exception
      when sqlstate 'UNDO0' then null;
    end;
  end loop;
  for v_position in 0..jsonb_array_length(v_items) - 1 loop
    return next private.settle_item(
      v_organization_id, v_items -> v_position, v_position, v_ids
    );
  end loop;
end
$$;

comment on function public.settle_spend_batch(uuid, jsonb) is
  'settle_spend for 1 to 1000 holds. p_items: objects with hold_id, usage, cost (text or number) '
  'and request_id. One row per item: the usage, or error_code and error_detail. For server roles '
  'only. Errors: 22023 for the batch as a whole.';
