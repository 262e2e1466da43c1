-- Built by scripts/build-migrations from sql/venture; edit there.

-- sql/venture/tables.sql

-- What ventures use (venture_token_ledger), and which share of a venture's budget each of its
-- profiles has.
--
-- A row that is no simulation is a usage like any other: whoever inserts it spends. The ledger has
-- no foreign key to a venture, whose name changes: its trigger looks, and verify_integrity looks
-- again.

create table public.venture_token_ledger (
  id uuid not null default private.uuid_v7(),
  venture_id uuid not null,
  lifecycle_stage integer not null,
  phase text,
  agent_type private.label not null,
  model_id private.label,
  job_id uuid,
  crew_id private.label,
  tokens_input private.token_count not null default 0,
  tokens_output private.token_count not null default 0,
  tokens_total private.token_count,
  cost_usd private.usd default 0,
  budget_profile text default 'standard',
  budget_allocation_pct private.share,
  is_simulation boolean default false,
  simulation_run_id uuid,
  operation_type private.label,
  metadata jsonb default '{}',
  created_at timestamptz not null default private.clock_now(),
  created_by private.label,
  organization_id uuid not null,
  usage_id uuid,
  xact_id xid8 not null default pg_current_xact_id(),
  constraint venture_token_ledger_pkey primary key (organization_id, id),
  constraint venture_token_ledger_organization_id_usage_id_key unique (organization_id, usage_id),
  constraint venture_token_ledger_budget_profile_check
  check (budget_profile in ('exploratory', 'standard', 'deep_due_diligence', 'custom')),
  constraint venture_token_ledger_phase_check
  check (
    phase in (
      'THE_TRUTH', 'THE_ENGINE', 'THE_IDENTITY', 'THE_BLUEPRINT', 'THE_BUILD_LOOP', 'LAUNCH_LEARN'
    )
  ),
  constraint venture_token_ledger_lifecycle_stage_is_not_negative check (lifecycle_stage >= 0),
  constraint venture_token_ledger_tokens_add_up
  check (tokens_total::bigint = tokens_input::bigint + tokens_output),
  constraint venture_token_ledger_metadata_is_an_object check (jsonb_typeof(metadata) = 'object'),
  constraint venture_token_ledger_simulation_run_is_of_a_simulation
  check (simulation_run_id is null or is_simulation is true),
  constraint venture_token_ledger_real_rows_are_usage
  check ((usage_id is null) = is_simulation)
);

-- One id, one row, whichever tenant: the document's key.
create unique index venture_token_ledger_id_idx on public.venture_token_ledger (id);
create index idx_token_ledger_agent_type on public.venture_token_ledger (agent_type);
create index idx_token_ledger_created_at on public.venture_token_ledger (created_at desc);
create index idx_token_ledger_is_simulation
on public.venture_token_ledger (is_simulation) where is_simulation = true;
create index idx_token_ledger_stage on public.venture_token_ledger (lifecycle_stage);
create index idx_token_ledger_venture_id on public.venture_token_ledger (venture_id);
create index idx_token_ledger_venture_stage
on public.venture_token_ledger (venture_id, lifecycle_stage);
create index venture_token_ledger_xact_id_idx on public.venture_token_ledger (xact_id);

create trigger venture_token_ledger_reject_truncate before truncate on public.venture_token_ledger
for each statement execute function private.reject_mutation();
create trigger venture_token_ledger_leave_tombstone after delete on public.venture_token_ledger
for each row execute function private.leave_tombstone();

insert into billing.retention_policies (table_name, archive_after, delete_after, reason) values
('public.venture_token_ledger', null, '7 years', 'regulation; what is removed leaves a tombstone');

comment on table public.venture_token_ledger is
  'What ventures use, by stage, phase and agent (venture_token_ledger). A row is a usage in '
  'ai_usage_ledger and counts to every budget, unless it is a simulation: that is never spend. '
  'Only metadata, operation_type and crew_id may be edited. Kept 7 years.';
comment on column public.venture_token_ledger.id is
  'Id of the row; that of its usage where record_venture_usage wrote it, unless it was taken. No '
  'other row is inserted under the id of a hold or a usage.';
comment on column public.venture_token_ledger.venture_id is 'The venture that used it.';
comment on column public.venture_token_ledger.lifecycle_stage is
  'Stage the venture was in, from 0.';
comment on column public.venture_token_ledger.phase is
  'THE_TRUTH, THE_ENGINE, THE_IDENTITY, THE_BLUEPRINT, THE_BUILD_LOOP or LAUNCH_LEARN, if stated.';
comment on column public.venture_token_ledger.agent_type is 'What kind of agent called.';
comment on column public.venture_token_ledger.model_id is
  'The model that was called; null where nobody stated one.';
comment on column public.venture_token_ledger.job_id is 'The job it was for, if any.';
comment on column public.venture_token_ledger.crew_id is 'The crew it was for, if any. Editable.';
comment on column public.venture_token_ledger.tokens_input is 'Tokens sent: all input classes.';
comment on column public.venture_token_ledger.tokens_output is
  'Tokens received: all output classes, reasoning included.';
comment on column public.venture_token_ledger.tokens_total is 'Both together; filled where null.';
comment on column public.venture_token_ledger.cost_usd is
  'Cost in US dollars, exact; of a simulation what it would have cost. Inserted as null: by the '
  'price of the model.';
comment on column public.venture_token_ledger.budget_profile is
  'exploratory, standard, deep_due_diligence or custom: which share of the venture''s budget it '
  'counts to.';
comment on column public.venture_token_ledger.budget_allocation_pct is
  'That share when it was recorded, percent, whatever an insert states; null where the profile '
  'had none.';
comment on column public.venture_token_ledger.is_simulation is
  'True for what was not spent: it counts to no budget, and to no sum of real usage.';
comment on column public.venture_token_ledger.simulation_run_id is
  'Of a simulation: which run of it.';
comment on column public.venture_token_ledger.operation_type is
  'What was done, if stated. Editable.';
comment on column public.venture_token_ledger.metadata is
  'The application''s own facts, an object. Editable.';
comment on column public.venture_token_ledger.created_at is
  'When it was recorded, or authorized with a hold: the created_at of its usage.';
comment on column public.venture_token_ledger.created_by is 'Who recorded it.';
comment on column public.venture_token_ledger.organization_id is
  'The organization that pays (the document''s company); filled from the venture where omitted.';
comment on column public.venture_token_ledger.usage_id is
  'The usage in ai_usage_ledger; null for a simulation.';
comment on column public.venture_token_ledger.xact_id is 'The transaction that wrote the row.';

-- A row has the time its usage was authorized at; what may be edited stays outside.
select private.seal_ledger(
  'public.venture_token_ledger',
  p_editable => array['metadata', 'operation_type', 'crew_id'],
  p_kept_for => '7 years'
);

-- One row per venture, so that a constraint holds the sum.
create table metering.venture_allocations (
  organization_id uuid not null,
  venture_id uuid not null,
  exploratory_pct private.share,
  standard_pct private.share,
  deep_due_diligence_pct private.share,
  custom_pct private.share,
  created_at timestamptz not null default private.clock_now(),
  updated_at timestamptz not null default private.clock_now(),
  constraint venture_allocations_pkey primary key (organization_id, venture_id),
  constraint venture_allocations_venture_fkey
  foreign key (organization_id, venture_id)
  references tenancy.ventures (organization_id, id) on delete restrict,
  constraint venture_allocations_come_to_at_most_100
  check (
    coalesce(exploratory_pct::numeric, 0) + coalesce(standard_pct::numeric, 0)
    + coalesce(deep_due_diligence_pct::numeric, 0) + coalesce(custom_pct::numeric, 0) <= 100
  )
);

create trigger venture_allocations_touch_updated_at before update on metering.venture_allocations
for each row execute function private.touch_updated_at();

comment on table metering.venture_allocations is
  'Which share of a venture''s budget each of its profiles has, percent '
  '(venture_token_ledger.budget_allocation_pct). A profile without one is capped by the budget '
  'of the venture alone. Set by metering.allocate_venture_budget.';
comment on column metering.venture_allocations.organization_id is 'The organization that pays.';
comment on column metering.venture_allocations.venture_id is 'The venture.';
comment on column metering.venture_allocations.exploratory_pct is
  'Share of the profile exploratory; 0 closes it, null leaves it without one.';
comment on column metering.venture_allocations.standard_pct is 'Share of the profile standard.';
comment on column metering.venture_allocations.deep_due_diligence_pct is
  'Share of the profile deep_due_diligence.';
comment on column metering.venture_allocations.custom_pct is 'Share of the profile custom.';
comment on column metering.venture_allocations.created_at is 'When the first share was allocated.';
comment on column metering.venture_allocations.updated_at is 'When a share was last changed.';

-- sql/venture/shares.sql

-- Shares: each profile of a venture that was allocated a part of the venture's budgets has budgets
-- of its own, one for each of those, cut from its limit. They are budgets like any other, so what
-- does not fit a share is denied as exactly as anything, and the kernel knows nothing of profiles
-- but their scope.

create view metering.venture_profiles
with (security_invoker = true)
as
select
  a.organization_id,
  a.venture_id,
  p.budget_profile,
  p.allocation_pct
from metering.venture_allocations as a
cross join lateral (
  values
  ('exploratory', a.exploratory_pct),
  ('standard', a.standard_pct),
  ('deep_due_diligence', a.deep_due_diligence_pct),
  ('custom', a.custom_pct)
) as p (budget_profile, allocation_pct)
where p.allocation_pct is not null;

comment on view metering.venture_profiles is
  'The profiles of ventures that have a share of the venture''s budget, one row each.';
comment on column metering.venture_profiles.organization_id is 'The organization that pays.';
comment on column metering.venture_profiles.venture_id is 'The venture.';
comment on column metering.venture_profiles.budget_profile is
  'exploratory, standard, deep_due_diligence or custom.';
comment on column metering.venture_profiles.allocation_pct is
  'Its share of each budget of the venture, percent.';

-- What a share of a limit comes to.
create function private.share_of(p_limit numeric, p_percent numeric)
returns numeric
language plpgsql
immutable
set search_path = pg_catalog, pg_temp
as $$
begin
  return private.round_half_even(p_limit * p_percent * 0.01, 12);
end
$$;

comment on function private.share_of(numeric, numeric) is
  'p_percent of p_limit (US dollars), rounded half even at 12 decimals.';

-- Makes the shares of a venture what its budgets and allocations say, whatever they were. Under a
-- change.
create function private.cut_shares(p_organization_id uuid, p_venture_id uuid)
returns void
language plpgsql
volatile
set search_path = pg_catalog, pg_temp
as $$
declare
  v_share record;
  v_budget metering.budgets;
begin
  for v_share in
    select
      s.id, c.scope_id, c.time_window, c.time_zone, c.limit_usd, c.enforcement, c.slot_count,
      (c.limit_usd, c.enforcement) is distinct from (s.limit_usd::numeric, s.enforcement) as is_changed
    from (
      select
        p_venture_id || '/' || p.budget_profile as scope_id,
        b.time_window, b.time_zone, b.enforcement, b.slot_count,
        private.share_of(b.limit_usd, p.allocation_pct) as limit_usd
      from metering.budgets as b
      inner join metering.venture_profiles as p
        on p.organization_id = b.organization_id and p.venture_id = p_venture_id
      where b.organization_id = p_organization_id
        and b.scope_key = 'venture:' || p_venture_id
        and b.limit_usd is not null
    ) as c
    full join (
      select b.*
      from metering.budgets as b
      where b.organization_id = p_organization_id
        and b.scope = 'venture_profile'
        and b.scope_id like p_venture_id || '/%'
    ) as s
      on s.scope_id = c.scope_id and s.time_window = c.time_window
  loop
    if v_share.limit_usd is null then
      delete from metering.budget_slots as x
      where x.organization_id = p_organization_id and x.budget_id = v_share.id;
      delete from metering.budgets as b
      where b.organization_id = p_organization_id and b.id = v_share.id;
    elsif v_share.id is null then
      insert into metering.budgets (
        organization_id, scope, scope_id, time_window, time_zone, limit_usd, enforcement, slot_count
      ) values (
        p_organization_id, 'venture_profile', v_share.scope_id, v_share.time_window,
        v_share.time_zone, v_share.limit_usd, v_share.enforcement, v_share.slot_count
      )
      returning * into v_budget;
      perform private.refigure(v_budget, true);
    elsif v_share.is_changed then
      update metering.budgets as b
      set limit_usd = v_share.limit_usd, enforcement = v_share.enforcement
      where b.organization_id = p_organization_id and b.id = v_share.id
      returning * into v_budget;
      perform private.refigure(v_budget, false);
    end if;
  end loop;
end
$$;

comment on function private.cut_shares(uuid, uuid) is
  'Makes, changes and removes the budgets of a venture''s profiles. Under a change of budgets.';

-- A budget of a venture takes its shares with it: made, changed, moved or removed.
create function private.recut_shares()
returns trigger
language plpgsql
volatile
set search_path = pg_catalog, pg_temp
as $$
begin
  if tg_op <> 'INSERT' and old.scope = 'venture' then
    perform private.cut_shares(old.organization_id, old.scope_id::uuid);
  end if;
  if tg_op <> 'DELETE' and new.scope = 'venture'
    and (tg_op = 'INSERT' or old.scope_key <> new.scope_key) then
    perform private.cut_shares(new.organization_id, new.scope_id::uuid);
  end if;
  return null;
end
$$;

comment on function private.recut_shares() is
  'Trigger: cuts the shares of a venture anew whose budget was changed.';

create trigger budgets_cut_shares after insert on metering.budgets
for each row when (new.scope = 'venture') execute function private.recut_shares();
create trigger budgets_recut_shares
after update of scope, scope_id, time_window, limit_usd, enforcement on metering.budgets
for each row when (old.scope = 'venture' or new.scope = 'venture')
execute function private.recut_shares();
create trigger budgets_drop_shares after delete on metering.budgets
for each row when (old.scope = 'venture') execute function private.recut_shares();

-- The privileged half of metering.allocate_venture_budget.
--
-- Locks: the organization's own slots, so no spend is in flight. Idempotent.
create function private.allocate_venture_budget(
  p_organization_id uuid,
  p_venture_id uuid,
  p_budget_profile text,
  p_percent numeric
)
returns metering.venture_allocations
language plpgsql
volatile
security definer -- writes allocations, budgets and slots, which no role may write itself
set search_path = pg_catalog, pg_temp
as $$
declare
  v_allocation metering.venture_allocations;
begin
  perform private.assert_may_set_budgets(p_organization_id);
  perform private.assert_id('p_venture_id', p_venture_id);
  perform private.assert_scope(p_organization_id, 'venture', p_venture_id::text);
  perform private.assert_budget_profile('p_budget_profile', p_budget_profile);
  if (p_percent between 0 and 100 and scale(trim_scale(p_percent)) <= 2) is false then
    perform private.reject_argument(
      'p_percent', 'must be from 0 to 100, with at most 2 decimals'
    );
  end if;

  perform private.begin_change(p_organization_id);
  insert into metering.venture_allocations (organization_id, venture_id)
  values (p_organization_id, p_venture_id)
  on conflict (organization_id, venture_id) do nothing;
  if coalesce(p_percent, 0) + (
    select coalesce(sum(p.allocation_pct::numeric), 0)
    from metering.venture_profiles as p
    where p.organization_id = p_organization_id
      and p.venture_id = p_venture_id
      and p.budget_profile <> p_budget_profile
  ) > 100 then
    perform private.reject_argument(
      'p_percent', 'must leave all profiles of the venture together at most 100'
    );
  end if;
  update metering.venture_allocations as a
  set
    exploratory_pct = case p_budget_profile
      when 'exploratory' then p_percent else a.exploratory_pct end,
    standard_pct = case p_budget_profile
      when 'standard' then p_percent else a.standard_pct end,
    deep_due_diligence_pct = case p_budget_profile
      when 'deep_due_diligence' then p_percent else a.deep_due_diligence_pct end,
    custom_pct = case p_budget_profile
      when 'custom' then p_percent else a.custom_pct end
  where a.organization_id = p_organization_id and a.venture_id = p_venture_id
  returning * into v_allocation;
  perform private.cut_shares(p_organization_id, p_venture_id);
  return v_allocation;
end
$$;

comment on function private.allocate_venture_budget(uuid, uuid, text, numeric) is
  'Core of metering.allocate_venture_budget.';

-- Gives a profile of a venture its share of the venture's budgets. Idempotent.
create function metering.allocate_venture_budget(
  p_organization_id uuid,
  p_venture_id uuid,
  p_budget_profile text,
  p_percent numeric
)
returns metering.venture_allocations
language plpgsql
volatile
set search_path = pg_catalog, pg_temp
as $$
begin
  return private.allocate_venture_budget(
    p_organization_id, p_venture_id, p_budget_profile, p_percent
  );
end
$$;

comment on function metering.allocate_venture_budget(uuid, uuid, text, numeric) is
  'Gives a profile of a venture (exploratory, standard, deep_due_diligence, custom) its share of '
  'each budget of the venture: p_percent of the limit, from 0 to 100 with 2 decimals, rounded half '
  'even at 12; null leaves it without one, so that only the venture''s own budget caps it; 0 '
  'closes it. Together the profiles get at most 100. A call of the venture counts to the profile '
  'its tag budget_profile names, else to standard, and both share and venture must admit it. '
  'Whenever a limit of the venture changes, the shares are cut anew. For owners, admins and '
  'service_role. Errors: 22023, 42501, TS404.';

-- sql/venture/rows.sql

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

-- sql/venture/record.sql

-- What did a venture use?

-- The row that record_venture_usage is asked for, its arguments checked.
create function private.draft_venture_row(
  p_venture_id uuid,
  p_lifecycle_stage integer,
  p_agent_type text,
  p_model_id text,
  p_cost_usd numeric,
  p_phase text,
  p_job_id uuid,
  p_crew_id text,
  p_budget_profile text,
  p_is_simulation boolean,
  p_simulation_run_id uuid,
  p_operation_type text,
  p_metadata jsonb,
  p_organization_id uuid
)
returns public.venture_token_ledger
language plpgsql
stable
set search_path = pg_catalog, pg_temp
as $$
declare
  v_row public.venture_token_ledger;
begin
  v_row.venture_id := private.assert_id('p_venture_id', p_venture_id);
  v_row.lifecycle_stage := private.assert_count('p_lifecycle_stage', p_lifecycle_stage);
  v_row.agent_type := private.assert_text('p_agent_type', p_agent_type);
  v_row.budget_profile := private.assert_budget_profile('p_budget_profile', p_budget_profile);
  if p_model_id is not null then
    v_row.model_id := private.assert_text('p_model_id', p_model_id);
  end if;
  if p_cost_usd is not null then
    v_row.cost_usd := private.assert_money('p_cost_usd', p_cost_usd);
  end if;
  if p_phase not in (
    'THE_TRUTH', 'THE_ENGINE', 'THE_IDENTITY', 'THE_BLUEPRINT', 'THE_BUILD_LOOP', 'LAUNCH_LEARN'
  ) then
    perform private.reject_argument(
      'p_phase',
      'must be THE_TRUTH, THE_ENGINE, THE_IDENTITY, THE_BLUEPRINT, THE_BUILD_LOOP or LAUNCH_LEARN'
    );
  elsif p_is_simulation is null then
    perform private.reject_argument('p_is_simulation', 'must not be null');
  elsif p_simulation_run_id is not null and not p_is_simulation then
    perform private.reject_argument('p_simulation_run_id', 'must go with p_is_simulation');
  elsif jsonb_typeof(p_metadata) <> 'object' then
    perform private.reject_argument('p_metadata', 'must be an object');
  end if;
  v_row.phase := p_phase;
  v_row.job_id := p_job_id;
  if p_crew_id is not null then
    v_row.crew_id := private.assert_text('p_crew_id', p_crew_id);
  end if;
  if p_operation_type is not null then
    v_row.operation_type := private.assert_text('p_operation_type', p_operation_type);
  end if;
  v_row.is_simulation := p_is_simulation;
  v_row.simulation_run_id := p_simulation_run_id;
  v_row.metadata := coalesce(p_metadata, '{}');
  v_row.organization_id := private.organization_of_venture(p_venture_id, p_organization_id);
  v_row.budget_allocation_pct := private.allocation_of(
    v_row.organization_id, p_venture_id, p_budget_profile
  );
  return v_row;
end
$$;

comment on function private.draft_venture_row(
  uuid, integer, text, text, numeric, text, uuid, text, text, boolean, uuid, text, jsonb, uuid
) is
  'A row of the venture ledger without tokens. Errors: 22023, TS404.';

-- Writes a row with what its usage cost. Null where the usage has a row already.
--
-- The row has the id of its usage, but where somebody took that before the call could be seen: what
-- was used is recorded all the same.
create function private.write_venture_row(
  p_row public.venture_token_ledger,
  p_usage public.ai_usage_ledger
)
returns public.venture_token_ledger
language plpgsql
volatile
set search_path = pg_catalog, pg_temp
as $$
declare
  v_row public.venture_token_ledger;
begin
  insert into public.venture_token_ledger (
    id, venture_id, lifecycle_stage, phase, agent_type, model_id, job_id, crew_id, tokens_input,
    tokens_output, tokens_total, cost_usd, budget_profile, budget_allocation_pct, is_simulation,
    simulation_run_id, operation_type, metadata, created_at, organization_id, usage_id
  ) values (
    case
      when exists (
        select from public.venture_token_ledger as v
        where v.id = p_usage.id and v.usage_id is distinct from p_usage.id
      ) then private.uuid_v7(p_usage.created_at)
      else p_usage.id
    end,
    p_row.venture_id, p_row.lifecycle_stage, p_row.phase, p_row.agent_type,
    p_row.model_id, p_row.job_id, p_row.crew_id, p_usage.prompt_tokens, p_usage.completion_tokens,
    p_usage.prompt_tokens + p_usage.completion_tokens, p_usage.cost, p_row.budget_profile,
    p_row.budget_allocation_pct, p_row.is_simulation, p_row.simulation_run_id,
    p_row.operation_type, p_row.metadata, p_usage.created_at, p_row.organization_id,
    case when not p_row.is_simulation then p_usage.id end
  )
  on conflict do nothing
  returning * into v_row;
  return v_row;
end
$$;

comment on function private.write_venture_row(
  public.venture_token_ledger, public.ai_usage_ledger
) is
  'Writes a row of the venture ledger; null where its usage has one.';

-- Settles the hold that was made for a call of a venture, and writes its row. Again: the same row,
-- unless what is not editable of it was stated otherwise.
create function private.settle_venture(
  p_row public.venture_token_ledger,
  p_measured private.measurement,
  p_hold_id uuid,
  p_request_id text
)
returns public.venture_token_ledger
language plpgsql
volatile
set search_path = pg_catalog, pg_temp
as $$
declare
  v_row public.venture_token_ledger := p_row;
  v_hold metering.holds;
begin
  select h.venture_id, h.model, h.listed_model, h.tags
  into v_hold.venture_id, v_hold.model, v_hold.listed_model, v_hold.tags
  from metering.holds as h where h.organization_id = p_row.organization_id and h.id = p_hold_id;
  if not found then
    select l.venture_id, l.model, l.listed_model, l.tags
    into v_hold.venture_id, v_hold.model, v_hold.listed_model, v_hold.tags
    from public.ai_usage_ledger as l
    where l.organization_id = p_row.organization_id and l.id = p_hold_id;
  end if;
  if v_hold.venture_id is distinct from p_row.venture_id then
    perform private.raise_error('TS404', jsonb_build_object('hold_id', p_hold_id));
  elsif coalesce(v_hold.listed_model, v_hold.model) <> coalesce(
    (private.find_listed(null, p_row.model_id)).model, p_row.model_id
  ) then
    perform private.reject_argument('p_model_id', 'must be the model the hold is for');
  elsif coalesce(v_hold.tags ->> 'budget_profile', 'standard') <> p_row.budget_profile then
    perform private.reject_argument('p_budget_profile', 'must be the profile the hold is for');
  end if;
  v_row.model_id := nullif(v_hold.model, 'unknown');
  v_row := private.write_venture_row(
    v_row,
    private.settle_measured(
      p_hold_id, p_measured, p_row.cost_usd, p_request_id, p_row.organization_id, '{}', null
    )
  );
  if v_row.id is null then
    select * into v_row
    from public.venture_token_ledger as v
    where v.organization_id = p_row.organization_id and v.usage_id = p_hold_id;
    if (v_row.lifecycle_stage, v_row.agent_type::text, v_row.phase, v_row.job_id) is distinct from (
      p_row.lifecycle_stage, p_row.agent_type::text, p_row.phase, p_row.job_id
    ) then
      perform private.raise_error('TS409', jsonb_build_object('hold_id', p_hold_id));
    end if;
  end if;
  return v_row;
end
$$;

comment on function private.settle_venture(
  public.venture_token_ledger, private.measurement, uuid, text
) is
  'Settles a hold of a venture and writes its row. Errors: 22023, TS404, TS409.';

-- Records what a venture used: the row, and, unless it is a simulation, the usage with every total.
--
-- Never refuses real spend: beyond its share or the budget of the venture it lands all the same,
-- and the next call is denied. Locks as settle_spend or record_usage_and_increment; a simulation
-- locks its request key alone. Idempotent by p_request_id, and with p_hold_id by that.
create function public.record_venture_usage(
  p_venture_id uuid,
  p_lifecycle_stage integer,
  p_agent_type text,
  p_model_id text,
  p_tokens_input integer,
  p_tokens_output integer,
  p_cost_usd numeric,
  p_phase text default null,
  p_job_id uuid default null,
  p_crew_id text default null,
  p_budget_profile text default 'standard',
  p_is_simulation boolean default false,
  p_simulation_run_id uuid default null,
  p_operation_type text default null,
  p_metadata jsonb default '{}',
  p_request_id text default null,
  p_organization_id uuid default null,
  p_hold_id uuid default null,
  p_usage jsonb default null
)
returns public.venture_token_ledger
language plpgsql
volatile
security definer -- writes ledgers and counters, which no role may write itself
set search_path = pg_catalog, pg_temp
set plan_cache_mode = force_generic_plan
set enable_seqscan = off
set jit = off
as $$
declare
  v_row public.venture_token_ledger := private.draft_venture_row(
    p_venture_id, p_lifecycle_stage, p_agent_type, p_model_id, p_cost_usd, p_phase, p_job_id,
    p_crew_id, p_budget_profile, p_is_simulation, p_simulation_run_id, p_operation_type,
    p_metadata, p_organization_id
  );
  v_measured constant private.measurement := private.measure_venture(
    p_tokens_input, p_tokens_output, p_usage
  );
  v_content_hash text;
  v_usage public.ai_usage_ledger;
  v_bound uuid;
begin
  if p_hold_id is not null then
    if p_is_simulation then
      perform private.reject_argument('p_hold_id', 'must be omitted for a simulation');
    end if;
    return private.settle_venture(v_row, v_measured, p_hold_id, p_request_id);
  end if;
  if p_request_id is not null then
    v_content_hash := private.content_hash(
      row(
        p_venture_id, p_lifecycle_stage, p_agent_type, p_model_id,
        '{"requests": 1}' || v_measured.counts, v_measured.service_tier, v_measured.is_estimate,
        trim_scale(p_cost_usd), p_phase, p_job_id, p_crew_id, p_budget_profile, p_is_simulation,
        p_simulation_run_id, p_operation_type, v_row.metadata
      )::text
    );
    v_bound := private.find_request(
      v_row.organization_id, 'record', private.assert_text('p_request_id', p_request_id),
      v_content_hash
    );
  end if;
  if v_bound is null then
    v_usage := private.usage_of_venture(v_row, v_measured);
    if not p_is_simulation then
      v_usage := private.book_venture(v_usage, p_request_id, v_content_hash);
    else
      v_usage.created_at := private.clock_now();
      v_usage.id := private.uuid_v7(v_usage.created_at);
      if p_request_id is not null and not private.bind_request(
        v_row.organization_id, 'record', p_request_id, v_content_hash, v_usage.id
      ) then
        v_usage.id := null;
      end if;
    end if;
    if v_usage.id is not null then
      return private.write_venture_row(v_row, v_usage);
    end if;
    -- The same request was recorded meanwhile; other content under its id is refused.
    v_bound := private.find_request(
      v_row.organization_id, 'record', p_request_id, v_content_hash
    );
  end if;
  select * into v_row
  from public.venture_token_ledger as v
  where v.organization_id = v_row.organization_id and v.id = v_bound;
  return v_row;
end
$$;

comment on function public.record_venture_usage(
  uuid, integer, text, text, integer, integer, numeric, text, uuid, text, text, boolean, uuid,
  text, jsonb, text, uuid, uuid, jsonb
) is
  'Records what a venture used and returns the row of venture_token_ledger: a usage in '
  'ai_usage_ledger with the same id, and every total with it, counted to the share of '
  'p_budget_profile; with p_is_simulation none of these, only the row. p_cost_usd (US dollars) '
  'null: by the price of p_model_id. p_usage: tokens by class, as in settle_spend; they come to '
  'p_tokens_input and p_tokens_output where those are stated. p_hold_id: settles the hold that was '
  'made for it, by authorize_spend with p_venture_id and, other than standard, the tag '
  'budget_profile. For server roles only: a tenant never states what it cost. A retry with the '
  'same p_request_id and content is one record. Errors: 22023, TS404, TS409.';

-- sql/venture/views.sql

-- What ventures used, real and simulated apart; what each profile has left.

do $$
declare
  v_view record;
  v_part text;
begin
  for v_view in
    select *
    from (
      values
      (
        'venture_spend', array['lifecycle_stage', 'phase', 'agent_type'],
        'What each venture used by stage, phase and kind of agent, real and simulated apart.'
      ),
      (
        'venture_spend_total', '{}', 'What each venture used, real and simulated apart.'
      ),
      (
        'venture_spend_by_stage', '{lifecycle_stage}',
        'What each venture used by stage, real and simulated apart.'
      ),
      (
        'venture_spend_by_phase', '{phase}',
        'What each venture used by phase, real and simulated apart.'
      ),
      (
        'venture_spend_by_agent', '{agent_type}',
        'What each venture used by kind of agent, real and simulated apart.'
      )
    ) as views (name, parts, says)
  loop
    execute format(
      'create view metering.%I with (security_invoker = true) as '
      'select v.organization_id, v.venture_id, %s'
      'count(*) filter (where v.is_simulation is not true) as requests, '
      'coalesce(sum(v.tokens_input) filter (where v.is_simulation is not true), 0)::bigint '
      'as tokens_input, '
      'coalesce(sum(v.tokens_output) filter (where v.is_simulation is not true), 0)::bigint '
      'as tokens_output, '
      'coalesce(sum(v.tokens_total) filter (where v.is_simulation is not true), 0)::bigint '
      'as tokens_total, '
      'coalesce(sum(v.cost_usd) filter (where v.is_simulation is not true), 0)::numeric '
      'as cost_usd, '
      'count(*) filter (where v.is_simulation) as simulated_requests, '
      'coalesce(sum(v.tokens_input) filter (where v.is_simulation), 0)::bigint '
      'as simulated_tokens_input, '
      'coalesce(sum(v.tokens_output) filter (where v.is_simulation), 0)::bigint '
      'as simulated_tokens_output, '
      'coalesce(sum(v.tokens_total) filter (where v.is_simulation), 0)::bigint '
      'as simulated_tokens_total, '
      'coalesce(sum(v.cost_usd) filter (where v.is_simulation), 0)::numeric '
      'as simulated_cost_usd '
      'from public.venture_token_ledger as v group by v.organization_id, v.venture_id%s',
      v_view.name,
      array_to_string(v_view.parts || array[''], ', '),
      array_to_string(array[''] || v_view.parts, ', ')
    );
    execute format('comment on view metering.%I is %L', v_view.name, v_view.says);
    foreach v_part in array v_view.parts loop
      execute format(
        'comment on column metering.%I.%I is %L', v_view.name, v_part,
        case v_part
          when 'lifecycle_stage' then 'Stage of the venture.'
          when 'phase' then 'Phase of the venture; null where none was stated.'
          else 'Kind of agent.'
        end
      );
    end loop;
    execute format(
      'comment on column metering.%1$I.organization_id is ''The organization that pays.'';'
      'comment on column metering.%1$I.venture_id is ''The venture.'';'
      'comment on column metering.%1$I.requests is ''Number of calls.'';'
      'comment on column metering.%1$I.tokens_input is ''Sum of tokens sent.'';'
      'comment on column metering.%1$I.tokens_output is ''Sum of tokens received.'';'
      'comment on column metering.%1$I.tokens_total is ''Both together.'';'
      'comment on column metering.%1$I.cost_usd is ''What it cost, US dollars.'';'
      'comment on column metering.%1$I.simulated_requests is ''Number of simulated calls.'';'
      'comment on column metering.%1$I.simulated_tokens_input is ''Sum of tokens they sent.'';'
      'comment on column metering.%1$I.simulated_tokens_output is '
      '''Sum of tokens they received.'';'
      'comment on column metering.%1$I.simulated_tokens_total is ''Both together.'';'
      'comment on column metering.%1$I.simulated_cost_usd is '
      '''What they would have cost, US dollars.''',
      v_view.name
    );
  end loop;
end
$$;

create view metering.venture_profile_status
with (security_invoker = true)
as
select
  p.organization_id,
  p.venture_id,
  p.budget_profile,
  p.allocation_pct,
  s.budget_id,
  s.time_window,
  s.limit_usd,
  s.enforcement,
  s.resets_at,
  s.settled_usd,
  s.held_usd,
  s.remaining_usd
from metering.venture_profiles as p
left join metering.budget_status as s
  on
    p.organization_id = s.organization_id
    and s.scope = 'venture_profile'
    and s.scope_id = p.venture_id || '/' || p.budget_profile;

comment on view metering.venture_profile_status is
  'What each profile of a venture has left of its share, one row for each budget of the venture; '
  'one without a budget where the venture has none.';
comment on column metering.venture_profile_status.organization_id is 'The organization that pays.';
comment on column metering.venture_profile_status.venture_id is 'The venture.';
comment on column metering.venture_profile_status.budget_profile is
  'exploratory, standard, deep_due_diligence or custom.';
comment on column metering.venture_profile_status.allocation_pct is 'Its share, percent.';
comment on column metering.venture_profile_status.budget_id is 'The budget that share is.';
comment on column metering.venture_profile_status.time_window is 'Over which time it holds.';
comment on column metering.venture_profile_status.limit_usd is
  'The share of the venture''s limit, US dollars.';
comment on column metering.venture_profile_status.enforcement is
  'hard or soft, as the venture''s budget.';
comment on column metering.venture_profile_status.resets_at is
  'End of the present window; null for total.';
comment on column metering.venture_profile_status.settled_usd is
  'Recorded spend of the profile in the window, US dollars.';
comment on column metering.venture_profile_status.held_usd is
  'Money held for its calls under way, US dollars.';
comment on column metering.venture_profile_status.remaining_usd is
  'What is left of its share, US dollars; the venture''s own budget may have less.';

-- sql/venture/integrity.sql

-- Ventures: every real row is its usage, no simulation is one, and shares are cut from the limits.
create function private.verify_ventures(p_organization_ids uuid[], p_since xid8)
returns setof audit.finding
language plpgsql
stable
set search_path = pg_catalog, pg_temp
as $$
begin
  return query
  select
    'venture_tokens_add_up', v.organization_id, 'row ' || v.id::text,
    (v.tokens_input::bigint + v.tokens_output)::text, coalesce(v.tokens_total::text, 'nothing')
  from public.venture_token_ledger as v
  where (p_organization_ids is null or v.organization_id = any(p_organization_ids))
    and (p_since is null or v.xact_id >= p_since)
    and v.tokens_total::bigint is distinct from v.tokens_input::bigint + v.tokens_output;

  return query
  select
    'venture_row_is_its_usage', v.organization_id, 'row ' || v.id::text,
    case
      when l.id is null then 'a usage'
      else format('%s + %s tokens, %s', l.prompt_tokens, l.completion_tokens, private.figure(l.cost))
    end,
    format('%s + %s tokens, %s', v.tokens_input, v.tokens_output, private.figure(v.cost_usd))
  from public.venture_token_ledger as v
  left join public.ai_usage_ledger as l
    on l.organization_id = v.organization_id and l.id = v.usage_id
  where (p_organization_ids is null or v.organization_id = any(p_organization_ids))
    and (p_since is null or v.xact_id >= p_since)
    and v.is_simulation is not true
    and (
      l.venture_id, l.prompt_tokens, l.completion_tokens, l.cost, l.created_at, l.model::text,
      coalesce(l.tags ->> 'budget_profile', 'standard')
    ) is distinct from (
      v.venture_id, v.tokens_input, v.tokens_output, v.cost_usd, v.created_at,
      coalesce(v.model_id, l.model::text), v.budget_profile
    );

  return query
  select
    'simulation_is_not_spend', v.organization_id, 'row ' || v.id::text, 'no usage',
    'usage ' || l.id::text
  from public.venture_token_ledger as v
  inner join public.ai_usage_ledger as l
    on l.organization_id = v.organization_id and l.id in (v.id, v.usage_id)
  where (p_organization_ids is null or v.organization_id = any(p_organization_ids))
    and (p_since is null or v.xact_id >= p_since)
    and v.is_simulation
    -- A usage whose id was taken before it could be seen has a row of its own.
    and not exists (
      select from public.venture_token_ledger as o
      where o.organization_id = l.organization_id and o.usage_id = l.id and o.id <> v.id
    );

  return query
  select
    'venture_of_row_exists', v.organization_id, 'venture ' || v.venture_id::text,
    'a venture', 'nothing'
  from public.venture_token_ledger as v
  left join tenancy.ventures as t
    on t.organization_id = v.organization_id and t.id = v.venture_id
  where (p_organization_ids is null or v.organization_id = any(p_organization_ids))
    and (p_since is null or v.xact_id >= p_since)
    and t.id is null
  group by v.organization_id, v.venture_id;

  return query
  select
    'tombstone_is_of_a_removed_row', t.organization_id, 'row ' || t.row_id::text, 'no row', 'a row'
  from audit.tombstones as t
  inner join public.venture_token_ledger as v
    on v.organization_id = t.organization_id and v.id = t.row_id
  where t.ledger = 'public.venture_token_ledger'
    and (p_organization_ids is null or t.organization_id = any(p_organization_ids))
    and (p_since is null or t.xact_id >= p_since);

  return query
  select
    'shares_come_to_at_most_100', p.organization_id, 'venture ' || p.venture_id::text,
    'at most 100', private.figure(sum(p.allocation_pct::numeric))
  from metering.venture_profiles as p
  where p_organization_ids is null or p.organization_id = any(p_organization_ids)
  group by p.organization_id, p.venture_id
  having sum(p.allocation_pct::numeric) > 100;

  return query
  with cut as (
    select
      b.organization_id, p.venture_id || '/' || p.budget_profile as scope_id, b.time_window,
      b.enforcement, private.share_of(b.limit_usd, p.allocation_pct) as limit_usd
    from metering.budgets as b
    inner join metering.venture_profiles as p
      on p.organization_id = b.organization_id and p.venture_id::text = b.scope_id
    where b.scope = 'venture'
      and b.limit_usd is not null
      and (p_organization_ids is null or b.organization_id = any(p_organization_ids))
  ),

  shares as (
    select
      b.organization_id, b.scope_id, b.time_window, b.enforcement,
      coalesce(b.limit_usd::numeric, 'NaN') as limit_usd
    from metering.budgets as b
    where b.scope = 'venture_profile'
      and (p_organization_ids is null or b.organization_id = any(p_organization_ids))
  )

  select
    'share_is_cut_from_the_limit', organization_id, concat_ws(' ', scope_id, time_window),
    concat_ws(' ', private.figure(c.limit_usd), c.enforcement),
    concat_ws(' ', private.figure(s.limit_usd), s.enforcement)
  from cut as c
  full join shares as s using (organization_id, scope_id, time_window)
  where (c.limit_usd, c.enforcement) is distinct from (s.limit_usd, s.enforcement);
end
$$;

comment on function private.verify_ventures(uuid[], xid8) is
  'Venture checks of audit.verify_integrity.';

-- sql/venture/access.sql

-- Who sees and changes what ventures use. Members read; those who may spend describe it; server
-- roles write it; the service role removes what need not be kept. What was used, nobody changes.

revoke all on table
public.venture_token_ledger, metering.venture_allocations, metering.venture_profiles,
metering.venture_profile_status, metering.venture_spend, metering.venture_spend_total,
metering.venture_spend_by_stage, metering.venture_spend_by_phase, metering.venture_spend_by_agent
from public, anon, authenticated, service_role, app_user, tallystick_reader, tallystick_writer;

alter table public.venture_token_ledger enable row level security;
alter table metering.venture_allocations enable row level security;

grant select on table
public.venture_token_ledger, metering.venture_allocations, metering.venture_profiles,
metering.venture_profile_status, metering.venture_spend, metering.venture_spend_total,
metering.venture_spend_by_stage, metering.venture_spend_by_phase, metering.venture_spend_by_agent
to authenticated, service_role, app_user, tallystick_reader, tallystick_writer;

-- Its time, its usage and its transaction are the database's to say, not the writer's.
grant insert (
  id, venture_id, lifecycle_stage, phase, agent_type, model_id, job_id, crew_id, tokens_input,
  tokens_output, tokens_total, cost_usd, budget_profile, budget_allocation_pct, is_simulation,
  simulation_run_id, operation_type, metadata, created_by, organization_id
)
on table public.venture_token_ledger to service_role, app_user, tallystick_writer;
grant update (metadata, operation_type, crew_id)
on table public.venture_token_ledger to authenticated;
grant delete on table public.venture_token_ledger to service_role;

create policy venture_token_ledger_select_member on public.venture_token_ledger
for select to authenticated
using (organization_id = any((select private.member_organization_ids())::uuid[]));
create policy venture_token_ledger_update_member on public.venture_token_ledger
for update to authenticated
using (
  organization_id = any(
    (
      select private.member_organization_ids(array['owner', 'admin', 'finance', 'member'])
    )::uuid[]
  )
)
with check (
  organization_id = any(
    (
      select private.member_organization_ids(array['owner', 'admin', 'finance', 'member'])
    )::uuid[]
  )
);
create policy venture_token_ledger_select_trusted on public.venture_token_ledger
for select to app_user, service_role, tallystick_reader, tallystick_writer using (true);
create policy venture_token_ledger_insert_trusted on public.venture_token_ledger
for insert to app_user, service_role, tallystick_writer with check (true);
create policy venture_token_ledger_delete_service on public.venture_token_ledger
for delete to service_role using (true);

create policy venture_allocations_select_member on metering.venture_allocations
for select to authenticated
using (organization_id = any((select private.member_organization_ids())::uuid[]));
create policy venture_allocations_select_trusted on metering.venture_allocations
for select to app_user, service_role, tallystick_reader, tallystick_writer using (true);

revoke execute on function
private.share_of(numeric, numeric),
private.cut_shares(uuid, uuid),
private.recut_shares(),
private.allocate_venture_budget(uuid, uuid, text, numeric),
metering.allocate_venture_budget(uuid, uuid, text, numeric),
private.measure_venture(integer, integer, jsonb),
private.usage_of_venture(public.venture_token_ledger, private.measurement),
private.book_venture(public.ai_usage_ledger, text, text),
private.organization_of_venture(uuid, uuid),
private.allocation_of(uuid, uuid, text),
private.admit_venture_row(),
private.keep_booked_row(),
private.keep_venture_row(),
private.keep_until_retention(),
private.draft_venture_row(
  uuid, integer, text, text, numeric, text, uuid, text, text, boolean, uuid, text, jsonb, uuid
),
private.write_venture_row(public.venture_token_ledger, public.ai_usage_ledger),
private.settle_venture(public.venture_token_ledger, private.measurement, uuid, text),
public.record_venture_usage(
  uuid, integer, text, text, integer, integer, numeric, text, uuid, text, text, boolean, uuid,
  text, jsonb, text, uuid, uuid, jsonb
),
private.verify_ventures(uuid[], xid8)
from public, anon, authenticated, service_role;

-- Owners, admins and operators. The core is a definer: it asks for the role itself.
grant execute on function
private.allocate_venture_budget(uuid, uuid, text, numeric),
metering.allocate_venture_budget(uuid, uuid, text, numeric)
to authenticated, service_role;

-- Writers only: no tenant states what it cost.
grant execute on function
public.record_venture_usage(
  uuid, integer, text, text, integer, integer, numeric, text, uuid, text, text, boolean, uuid,
  text, jsonb, text, uuid, uuid, jsonb
),
private.share_of(numeric, numeric),
private.verify_ventures(uuid[], xid8)
to service_role, app_user, tallystick_writer;
