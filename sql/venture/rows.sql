-- What a row of the venture ledger must be, and how it becomes a usage; what may be edited, and
-- when it may go.

-- What a venture used: by token class, or as input and output.
create function private.measure_venture(
  p_tokens_input integer,
  p_tokens_output integer,
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
  if p_usage is null then
    v_measured := private.assert_usage(
      'p_tokens_input, p_tokens_output',
      jsonb_build_object(
        'input_tokens', private.assert_count('p_tokens_input', p_tokens_input),
        'output_tokens', private.assert_count('p_tokens_output', p_tokens_output)
      )
    );
  else
    v_measured := private.assert_usage('p_usage', p_usage);
    if p_tokens_input <> v_measured.prompt_tokens
      or p_tokens_output <> v_measured.completion_tokens then
      perform private.reject_argument(
        'p_usage', 'must come to p_tokens_input and p_tokens_output'
      );
    end if;
  end if;
  if v_measured.prompt_tokens::bigint + v_measured.completion_tokens > 2147483647 then
    perform private.reject_argument(
      'p_tokens_input, p_tokens_output', 'must sum to at most 2147483647 tokens'
    );
  end if;
  return v_measured;
end
$$;

comment on function private.measure_venture(integer, integer, jsonb) is
  'What a venture used. Errors: 22023.';

-- What a venture used and cost: as a hold that was made now and let go of at once.
create function private.usage_of_venture(
  p_row public.venture_token_ledger,
  p_measured private.measurement
)
returns public.ai_usage_ledger
language plpgsql
stable
set search_path = pg_catalog, pg_temp
as $$
declare
  v_listed constant private.model_key := private.find_listed(
    null, coalesce(p_row.model_id, 'unknown')
  );
  v_hold metering.holds;
  v_usage public.ai_usage_ledger;
begin
  v_hold.organization_id := p_row.organization_id;
  v_hold.venture_id := p_row.venture_id;
  v_hold.model := coalesce(p_row.model_id, 'unknown');
  v_hold.provider := v_listed.provider;
  v_hold.listed_model := nullif(v_listed.model, v_hold.model);
  v_hold.tags := jsonb_build_object('budget_profile', p_row.budget_profile);
  v_hold.state := 'released';
  v_hold.created_at := private.clock_now();
  if p_row.cost_usd is null and (
    private.quote_model(
      p_row.organization_id, v_hold.provider, coalesce(v_hold.listed_model, v_hold.model),
      p_measured.service_tier, v_hold.created_at + interval '999 microseconds', 'infinity'
    )
  ).price_id is null then
    perform private.reject_argument(
      'p_cost_usd', 'must be stated: no price is known for the model'
    );
  end if;
  v_usage := private.usage_of_hold(v_hold, private.cost_call(v_hold, p_measured, p_row.cost_usd));
  v_usage.settlement := 'without_hold';
  return v_usage;
end
$$;

comment on function private.usage_of_venture(public.venture_token_ledger, private.measurement) is
  'The usage a row of the venture ledger is, with its cost. Errors: 22023 where neither cost nor '
  'price is known.';

-- Books what a venture used without a hold. Null where its request id was bound meanwhile.
create function private.book_venture(
  p_usage public.ai_usage_ledger,
  p_request_id text,
  p_content_hash text
)
returns public.ai_usage_ledger
language plpgsql
volatile
set search_path = pg_catalog, pg_temp
as $$
declare
  v_now constant timestamptz := private.clock_now();
  v_keys constant text[] := private.scope_keys(
    null, null, p_usage.venture_id, null, null, p_usage.model, p_usage.listed_model, p_usage.tags
  );
begin
  return private.book(
    p_usage, 0,
    case
      when p_usage.cost > 0 then private.cover(p_usage.organization_id, v_keys, v_now)
      -- A change of nothing passes in any window, so it must be known beforehand which is open.
      else private.survey(p_usage.organization_id, v_keys, v_now, null)
    end,
    null, 'record', p_request_id, p_content_hash
  );
end
$$;

comment on function private.book_venture(public.ai_usage_ledger, text, text) is
  'Books a usage of a venture on counters, ledger and rollup.';

-- The organization of a venture; p_organization_id, where it is stated, must be that.
create function private.organization_of_venture(p_venture_id uuid, p_organization_id uuid)
returns uuid
language plpgsql
stable
set search_path = pg_catalog, pg_temp
as $$
declare
  v_organization_id constant uuid := (
    select v.organization_id from tenancy.ventures as v
    where v.id = p_venture_id
      and (p_organization_id is null or v.organization_id = p_organization_id)
  );
begin
  if v_organization_id is null then
    perform private.raise_error('TS404', jsonb_build_object('venture_id', p_venture_id));
  end if;
  return v_organization_id;
end
$$;

comment on function private.organization_of_venture(uuid, uuid) is
  'The organization of a venture. Errors: TS404.';

-- The share a profile of a venture has now, percent; null where it has none.
create function private.allocation_of(
  p_organization_id uuid,
  p_venture_id uuid,
  p_budget_profile text
)
returns numeric
language plpgsql
stable
set search_path = pg_catalog, pg_temp
as $$
begin
  return (
    select p.allocation_pct
    from metering.venture_profiles as p
    where p.organization_id = p_organization_id
      and p.venture_id = p_venture_id
      and p.budget_profile = p_budget_profile
  );
end
$$;

comment on function private.allocation_of(uuid, uuid, text) is
  'The share of a profile of a venture, percent, or null.';

-- Fills what was left out of a row, however it was inserted, and books it, unless it is a
-- simulation or record_venture_usage has.
--
-- A row whose id is there already is not booked again: it will meet the other at the key. Of two
-- that are inserted at once one binds the id like that of a request; the other undoes its attempt.
-- The id of a call is that call's, whose own row has it.
create function private.admit_venture_row()
returns trigger
language plpgsql
volatile
security definer -- books, which no role may do itself
set search_path = pg_catalog, pg_temp
as $$
declare
  v_usage public.ai_usage_ledger;
  v_measured private.measurement;
  v_request_id constant text := 'tallystick:venture:' || new.id;
  v_usage_id uuid;
begin
  if new.venture_id is null then
    return new; -- refused by its column
  end if;
  new.organization_id := private.organization_of_venture(new.venture_id, new.organization_id);
  new.budget_profile := private.assert_budget_profile(
    'budget_profile', coalesce(new.budget_profile, 'standard')
  );
  new.is_simulation := coalesce(new.is_simulation, false);
  new.created_by := coalesce(
    new.created_by, 'user:' || auth.uid()::text, private.caller_role()
  );
  if new.usage_id is not null then
    return new;
  end if;

  v_usage_id := (
    select coalesce(v.usage_id, v.id) from public.venture_token_ledger as v where v.id = new.id
  );
  if v_usage_id is null and (
    exists (select from metering.holds as h where h.id = new.id)
    or exists (select from public.ai_usage_ledger as l where l.id = new.id)
  ) then
    perform private.reject_argument('id', 'must not be that of a hold or a usage');
  end if;
  v_measured := private.measure_venture(new.tokens_input, new.tokens_output, null);
  new.tokens_total := coalesce(new.tokens_total, new.tokens_input + new.tokens_output);
  new.created_at := private.clock_now();
  -- Not what was stated: it may have changed since that was read, and real spend is never refused.
  new.budget_allocation_pct := private.allocation_of(
    new.organization_id, new.venture_id, new.budget_profile
  );
  v_usage := private.usage_of_venture(new, v_measured);
  new.cost_usd := v_usage.cost;
  if new.is_simulation then
    return new;
  end if;
  new.usage_id := v_usage_id;
  if new.usage_id is null then
    v_usage := private.book_venture(
      v_usage, v_request_id, private.content_hash(v_request_id)
    );
    new.created_at := coalesce(v_usage.created_at, new.created_at);
    new.usage_id := coalesce(
      v_usage.id,
      private.find_request(
        new.organization_id, 'record', v_request_id, private.content_hash(v_request_id)
      )
    );
  end if;
  return new;
end
$$;

comment on function private.admit_venture_row() is
  'Trigger: fills what was left out, prices and books a row. Errors: 22023, TS404.';

create trigger venture_token_ledger_admit before insert on public.venture_token_ledger
for each row execute function private.admit_venture_row();

-- What is committed as booked has its row. One that "on conflict do nothing" passes over, as its id
-- was inserted at once as a simulation or by another organization, was booked before that was seen.
create function private.keep_booked_row()
returns trigger
language plpgsql
stable
security definer -- fires at commit, as whatever role the caller then is
set search_path = pg_catalog, pg_temp
as $$
begin
  -- Of other content it is not the trigger's, but somebody's request of that name.
  if new.content_hash = private.content_hash(new.request_id) and not exists (
    select from public.venture_token_ledger as v
    where v.organization_id = new.organization_id and v.usage_id = new.subject_id
  ) then
    perform private.raise_error('40001', jsonb_build_object('request_id', new.request_id));
  end if;
  return null;
end
$$;

comment on function private.keep_booked_row() is
  'Trigger: at commit what an insert into the venture ledger booked has its row. Errors: 40001.';

create constraint trigger request_keys_keep_booked_row after insert on metering.request_keys
deferrable initially deferred
for each row
when (new.operation = 'record' and starts_with(new.request_id, 'tallystick:venture:'))
execute function private.keep_booked_row();

-- What was used stays; how it is described may change.
create function private.keep_venture_row()
returns trigger
language plpgsql
volatile
set search_path = pg_catalog, pg_temp
as $$
declare
  v_row public.venture_token_ledger := old;
begin
  v_row.metadata := new.metadata;
  v_row.operation_type := new.operation_type;
  v_row.crew_id := new.crew_id;
  if v_row is distinct from new then
    perform private.raise_error(
      '23001', jsonb_build_object('table', 'public.venture_token_ledger', 'operation', tg_op)
    );
  end if;
  return new;
end
$$;

comment on function private.keep_venture_row() is
  'Trigger: refuses to change anything but metadata, operation_type and crew_id. Errors: 23001.';

create trigger venture_token_ledger_keep before update on public.venture_token_ledger
for each row execute function private.keep_venture_row();

-- Nothing goes before its time.
create function private.keep_until_retention()
returns trigger
language plpgsql
volatile
set search_path = pg_catalog, pg_temp
as $$
declare
  v_delete_after constant interval := (
    select p.delete_after from billing.retention_policies as p
    where p.table_name = tg_table_schema || '.' || tg_table_name
  );
  v_kept_until timestamptz := old.created_at + v_delete_after;
begin
  -- Or what the seal of the row says, where that is later: whatever the policy has become since.
  if v_kept_until is not null then
    v_kept_until := greatest(
      v_kept_until,
      (
        select coalesce(r.kept_until, 'infinity')
        from audit.seal_leaves as l
        inner join audit.seal_roots as r
          on r.organization_id = l.organization_id and r.ledger = l.ledger and r.seal = l.seal
        where l.organization_id = old.organization_id
          and l.ledger = tg_table_schema || '.' || tg_table_name
          and l.row_id = old.id::text
      )
    );
  end if;
  if (v_kept_until <= private.clock_now()) is not true then
    perform private.raise_error(
      '23001',
      jsonb_build_object(
        'table', tg_table_schema || '.' || tg_table_name, 'operation', tg_op,
        'kept_until', v_kept_until
      )
    );
  end if;
  return old;
end
$$;

comment on function private.keep_until_retention() is
  'Trigger: refuses to remove what is younger than billing.retention_policies says, or what its '
  'seal says is still kept. Errors: 23001.';

create trigger venture_token_ledger_keep_until_retention
before delete on public.venture_token_ledger
for each row execute function private.keep_until_retention();
