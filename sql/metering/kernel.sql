-- The kernel: how money is taken, and how it comes back. Exact, without a hot row.
--
-- A call touches every budget that covers it: those whose scope_key is among its scope keys. It
-- works on one slot of each (by its backend, so callers spread), first of the organization's own
-- budget, then of the others by id. That is the order of all locks:
--
--   holds by id -> a slot of the own budget -> slots of other budgets by id -> request keys by id
--
-- There are two ways to take money.
--
--   * An attempt updates one slot per budget, each update conditional on the slot covering it.
--     Where one does not, all is undone, its locks with it (which is why it lives in a block
--     that catches abandon_attempt): PostgreSQL keeps the lock of a row whose condition failed.
--   * A gather locks all slots of the own budget. Every call holds one of them from its first lock
--     to its commit, so the organization then stands still: nobody else is in flight. It frees what
--     overdue holds keep, sums, decides and spreads what is left. It holds nothing when it begins
--     to wait, so it always gets its turn.
--
-- A change of budgets gathers too, and raises config_version in the own budget's slots. An attempt
-- requires the version under which it read which budgets cover it, in the update that takes its
-- first lock: a list that was read before the change is never spent from.
--
-- A denial needs no lock: a snapshot in which the money is not there is an answer.
--
-- What callers enter is planned once for all arguments (plan_cache_mode), by indexes alone
-- (enable_seqscan: a table of holds that is empty most of the time is full of dead rows), and is
-- never compiled (jit: where only a scan is left, its price would seem to be worth it).

-- The scope keys of a call: by them the budgets that cover it are found. A model may be capped by
-- the name a call gives it and by its listed name, so that no other spelling passes a cap by. A
-- call outside runs spends from the draw of its day, if the organization pays in advance. A call of
-- a venture is one of a profile of it: its tag budget_profile, else standard.
create function private.scope_keys(
  p_workflow_id uuid,
  p_run_id uuid,
  p_venture_id uuid,
  p_user_id uuid,
  p_api_key_id text,
  p_model text,
  p_listed_model text,
  p_tags jsonb
)
returns text[]
language plpgsql
stable
set search_path = pg_catalog, pg_temp
as $$
declare
  v_keys text[] := array[
    'organization:',
    'workflow:' || p_workflow_id,
    'run:' || p_run_id,
    'venture:' || p_venture_id,
    'user:' || p_user_id,
    'api_key:' || p_api_key_id,
    'model:' || p_model,
    'model:' || p_listed_model,
    case when p_run_id is null then 'draw:' end
  ];
begin
  if p_tags <> '{}' then
    v_keys := v_keys
      || array(select 'tag:' || t.key || '=' || t.value from jsonb_each_text(p_tags) as t);
  end if;
  if p_venture_id is not null then
    v_keys := v_keys || (
      'venture_profile:' || p_venture_id || '/' || coalesce(p_tags ->> 'budget_profile', 'standard')
    );
  end if;
  return v_keys;
end
$$;

comment on function private.scope_keys(uuid, uuid, uuid, uuid, text, text, text, jsonb) is
  'scope_key of every budget that could cover a call; null in place of what it has not.';

-- The budgets that cover a call, and the slot of each that a call may work on.
create type private.coverage as (
  budget_ids uuid [],
  slots smallint [],
  config_version integer,
  time_zone text,
  grantable numeric,
  approval_above numeric,
  latest_window timestamptz,
  has_workflow boolean,
  is_prepaid boolean,
  prepaid_since timestamptz,
  lacks_funding boolean,
  excludes_model boolean,
  is_frozen boolean,
  has_soft_limit boolean,
  tightest_budget_id uuid,
  remaining numeric,
  resets_at timestamptz
);

comment on type private.coverage is
  'Budgets of a call in the order of their locks and a slot of each; the least those slots can '
  'grant without approval: null without a limit, -1 where only a gather can tell. From a survey '
  'also the rest: above which amount a call may need approval, whether the organization pays in '
  'advance, and then has neither run nor draw to pay for it, or a run that may not call the model.';

-- Reads what covers a call, with the caller's own slot of each budget, and whether that is all
-- plain: nothing frozen, closed, soft or in another window than p_time, and somebody pays for it.
-- Locks nothing.
--
-- The plan is one for all: a budget's slot is looked up by its key (hence the limit, which keeps
-- the planner from joining all slots there are), and is never planned anew for an array's length.
create function private.cover(
  p_organization_id uuid,
  p_scope_keys text[],
  p_time timestamptz
)
returns private.coverage
language plpgsql
stable
set search_path = pg_catalog, pg_temp
set plan_cache_mode = force_generic_plan
set enable_seqscan = off
set jit = off
as $$
declare
  v_coverage private.coverage;
  v_backend constant integer := pg_backend_pid();
  v_is_funded boolean;
begin
  select
    array_agg(t.id), array_agg(t.slot), max(t.config_version), min(t.time_zone),
    min(t.grantable), bool_or(t.is_workflow), bool_or(t.is_prepaid), bool_or(t.is_funded)
  into
    v_coverage.budget_ids, v_coverage.slots, v_coverage.config_version, v_coverage.time_zone,
    v_coverage.grantable, v_coverage.has_workflow, v_coverage.is_prepaid, v_is_funded
  from (
    select
      b.id,
      b.scope = 'workflow' as is_workflow,
      b.prepaid_since is not null as is_prepaid,
      b.is_funded,
      s.slot,
      s.config_version,
      b.time_zone,
      case
        when
          b.frozen_at is null and s.debt_usd is null
          and p_time >= s.window_start and p_time < s.window_end
          and (b.enforcement = 'hard' or b.limit_usd is null)
          and (b.prepaid_since > p_time) is not true
          and (b.only_model is null or 'model:' || b.only_model = any(p_scope_keys))
          then least(s.available_usd::numeric, b.approval_above_usd)
        else -1
      end as grantable
    from metering.budgets as b
    cross join lateral (
      select x.*
      from metering.budget_slots as x
      where x.organization_id = b.organization_id
        and x.budget_id = b.id
        and x.slot = v_backend % b.slot_count
        and (b.scope <> 'draw' or p_time >= x.window_start and p_time < x.window_end)
      limit 1
    ) as s
    where b.organization_id = p_organization_id and b.scope_key = any(p_scope_keys)
    order by b.id <> b.organization_id, b.id
  ) as t;
  v_coverage.lacks_funding := v_coverage.is_prepaid and not v_is_funded;
  if v_coverage.lacks_funding then
    v_coverage.grantable := -1;
  end if;
  -- A month that has no partition yet is made by whoever looks closer.
  if to_regclass(
    'private.ai_usage_ledger' || to_char(p_time at time zone 'UTC', '_YYYY_MM')
  ) is null or p_scope_keys[3] is not null and to_regclass(
    'private.token_records' || to_char(p_time at time zone 'UTC', '_YYYY_MM')
  ) is null then
    v_coverage.grantable := -1;
  end if;
  return v_coverage;
end
$$;

comment on function private.cover(uuid, text[], timestamptz) is
  'The budgets that cover a call, with the caller''s own slots; budget_ids is null for an unknown '
  'organization.';

-- Reads what covers a call from all slots: the hard cap with the least left for a call that counts
-- to p_time, and whether anything is frozen or soft. What holds that are overdue at p_overdue_at
-- keep counts as free; null: it does not. What credits could still put into a draw counts as left.
-- Locks nothing.
create function private.survey(
  p_organization_id uuid,
  p_scope_keys text[],
  p_time timestamptz,
  p_overdue_at timestamptz
)
returns private.coverage
language plpgsql
stable
set search_path = pg_catalog, pg_temp
set plan_cache_mode = force_generic_plan
set enable_seqscan = off
set jit = off
as $$
declare
  v_coverage private.coverage;
  v_backend constant integer := pg_backend_pid();
  v_has_overdue constant boolean := private.has_overdue(p_organization_id, p_overdue_at);
  v_draws boolean[];
  v_is_funded boolean;
  v_remaining numeric[];
  v_resets_at timestamptz[];
  v_draw integer;
  v_tightest integer;
begin
  select
    array_agg(t.id) filter (where t.is_present),
    array_agg(t.slot) filter (where t.is_present),
    max(t.config_version),
    min(t.time_zone),
    max(t.approval_above_usd),
    greatest(max(t.window_start), max(t.prepaid_since)),
    bool_or(t.is_workflow),
    bool_or(t.prepaid_since <= p_time),
    max(t.prepaid_since),
    bool_or(t.is_funded and t.is_present),
    bool_or(t.excludes_model),
    bool_or(t.is_frozen),
    bool_or(t.is_soft),
    array_agg(t.is_draw) filter (where t.is_present),
    array_agg(t.remaining) filter (where t.is_present),
    array_agg(t.resets_at) filter (where t.is_present)
  into
    v_coverage.budget_ids, v_coverage.slots, v_coverage.config_version, v_coverage.time_zone,
    v_coverage.approval_above, v_coverage.latest_window, v_coverage.has_workflow,
    v_coverage.is_prepaid, v_coverage.prepaid_since, v_is_funded, v_coverage.excludes_model, v_coverage.is_frozen, v_coverage.has_soft_limit, v_draws,
    v_remaining, v_resets_at
  from (
    select
      b.id,
      b.scope = 'workflow' as is_workflow,
      b.scope = 'draw' as is_draw,
      -- Of draws only that of the time: the others go on until their holds have ended.
      b.scope <> 'draw' or p_time >= s.window_start and p_time < s.window_end as is_present,
      b.is_funded,
      coalesce('model:' || b.only_model = any(p_scope_keys), b.only_model is null) is false
      as excludes_model,
      b.approval_above_usd,
      b.prepaid_since,
      v_backend % b.slot_count as slot,
      s.config_version,
      b.time_zone,
      s.window_start,
      b.frozen_at is not null as is_frozen,
      b.enforcement = 'soft' and b.limit_usd is not null as is_soft,
      case
        when s.remaining is null or p_time < s.window_start then null
        when p_time >= s.window_end then b.limit_usd::numeric
        when v_has_overdue
          then s.remaining
            + private.overdue(p_organization_id, b.scope_key, s.window_start, p_overdue_at)
        else s.remaining
      end as remaining,
      case
        when s.window_end = 'infinity' then null
        when p_time >= s.window_end then private.window_end(b.time_window, p_time, b.time_zone)
        else s.window_end
      end as resets_at
    from metering.budgets as b
    cross join lateral (
      select
        sum(x.available_usd) - coalesce(sum(x.debt_usd), 0) as remaining,
        max(x.window_start) as window_start,
        max(x.window_end) as window_end,
        max(x.config_version) as config_version
      from metering.budget_slots as x
      where x.organization_id = b.organization_id and x.budget_id = b.id
    ) as s
    where b.organization_id = p_organization_id and b.scope_key = any(p_scope_keys)
    order by b.id <> b.organization_id, b.id
  ) as t;
  v_coverage.lacks_funding := v_coverage.is_prepaid and not v_is_funded;
  if v_coverage.is_prepaid and 'draw:' = any(p_scope_keys) then
    v_draw := coalesce(array_position(v_draws, true), cardinality(v_draws) + 1);
    v_remaining[v_draw] := coalesce(v_remaining[v_draw], 0)
      + private.fundable(p_organization_id, p_time, p_overdue_at);
    v_resets_at[v_draw] := null;
  end if;
  v_coverage.remaining := (select min(r.remaining) from unnest(v_remaining) as r (remaining));
  v_tightest := array_position(v_remaining, v_coverage.remaining);
  v_coverage.tightest_budget_id := v_coverage.budget_ids[v_tightest];
  v_coverage.resets_at := v_resets_at[v_tightest];
  return v_coverage;
end
$$;

comment on function private.survey(uuid, text[], timestamptz, timestamptz) is
  'The budgets that cover a call, with the caller''s own slots, and the hard cap with the least '
  'left: which (null for a draw that is not opened yet), how much (null without any) and when it '
  'resets.';

-- Looks at the hold that expires first: one step into the index, however many are open.
create function private.has_overdue(p_organization_id uuid, p_now timestamptz)
returns boolean
language plpgsql
stable
set search_path = pg_catalog, pg_temp
set enable_seqscan = off
set jit = off
as $$
begin
  return (
    select h.expires_at <= p_now
    from metering.holds as h
    where h.organization_id = p_organization_id and h.state = 'open'
    order by h.expires_at
    limit 1
  );
end
$$;

comment on function private.has_overdue(uuid, timestamptz) is
  'True if an open hold of the organization is overdue.';

-- What overdue holds keep from a budget's present window: money that is free for whoever asks.
create function private.overdue(
  p_organization_id uuid,
  p_scope_key text,
  p_window_start timestamptz,
  p_now timestamptz
)
returns numeric
language plpgsql
stable
set search_path = pg_catalog, pg_temp
as $$
begin
  return (
    select coalesce(sum(h.held_usd), 0)
    from metering.holds as h
    where h.organization_id = p_organization_id
      and h.state = 'open'
      and h.expires_at <= p_now
      and h.created_at >= p_window_start
      and p_scope_key = any(
        private.scope_keys(
          h.workflow_id, h.run_id, h.venture_id, h.user_id, h.api_key_id, h.model, h.listed_model,
          h.tags
        )
      )
  );
end
$$;

comment on function private.overdue(uuid, text, timestamptz, timestamptz) is
  'US dollars that overdue open holds keep from the budget with p_scope_key, if taken since '
  'p_window_start.';

-- Adds p_settled and p_held to one slot of each budget, and takes their sum from what is available
-- (a negative sum is returned to it). False as soon as one budget cannot: the caller must then undo
-- the attempt.
--
-- p_time decides the window: a return to a window that is over goes nowhere, as its figures are
-- gone. Where a budget is closed, money is not granted, but spend is added to the debt. Three
-- statements rather than one that covers all cases: the usual two are short, and short updates are
-- what makes the kernel fast.
create function private.charge(
  p_organization_id uuid,
  p_budget_ids uuid[],
  p_slots smallint[],
  p_config_version integer,
  p_time timestamptz,
  p_settled numeric,
  p_held numeric
)
returns boolean
language plpgsql
volatile
set search_path = pg_catalog, pg_temp
as $$
declare
  v_change constant numeric := p_settled + p_held;
begin
  for v_i in 1..cardinality(p_budget_ids) loop
    if v_change <= 0 then
      update metering.budget_slots as s
      set
        settled_usd = s.settled_usd + p_settled,
        held_usd = s.held_usd + p_held,
        available_usd = s.available_usd - v_change
      where s.organization_id = p_organization_id
        and s.budget_id = p_budget_ids[v_i]
        and s.slot = p_slots[v_i]
        and p_time >= s.window_start
        and (v_i > 1 or s.config_version = p_config_version);
      if not found and v_i = 1 then
        return false;
      end if;
    elsif p_held > 0 then
      update metering.budget_slots as s
      set held_usd = s.held_usd + p_held, available_usd = s.available_usd - p_held
      where s.organization_id = p_organization_id
        and s.budget_id = p_budget_ids[v_i]
        and s.slot = p_slots[v_i]
        and p_time >= s.window_start
        and p_time < s.window_end
        and s.debt_usd is null
        and (s.available_usd < p_held) is not true
        and (v_i > 1 or s.config_version = p_config_version);
      if not found then
        return false;
      end if;
    else
      update metering.budget_slots as s
      set
        settled_usd = s.settled_usd + p_settled,
        held_usd = s.held_usd + p_held,
        available_usd = s.available_usd - case when s.debt_usd is null then v_change else 0 end,
        debt_usd = s.debt_usd + v_change
      where s.organization_id = p_organization_id
        and s.budget_id = p_budget_ids[v_i]
        and s.slot = p_slots[v_i]
        and p_time >= s.window_start
        and p_time < s.window_end
        and (s.debt_usd is not null or (s.available_usd < v_change) is not true)
        and (v_i > 1 or s.config_version = p_config_version);
      if not found then
        return false;
      end if;
    end if;
  end loop;
  return true;
end
$$;

comment on function private.charge(
  uuid, uuid[], smallint[], integer, timestamptz, numeric, numeric
) is
  'Books p_settled and p_held (US dollars) on one slot per budget; false where a slot does not '
  'cover it or budgets were changed.';
