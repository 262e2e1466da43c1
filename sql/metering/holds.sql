-- Holds after they were granted: released, extended, expired.

-- Lets server roles, finance and managers of the organization pass, and whoever made the hold as
-- long as no server works with it: who could free its money during the call would pass every cap.
create function private.assert_may_release(p_hold metering.holds)
returns void
language plpgsql
stable
set search_path = pg_catalog, pg_temp
as $$
begin
  if not private.is_trusted_caller()
    and p_hold.organization_id <> all(
      private.member_organization_ids(array['owner', 'admin', 'finance'])
    )
    and (
      p_hold.user_id is distinct from auth.uid()
      or p_hold.claimed_at is not null
      or p_hold.organization_id <> all(private.member_organization_ids())
    ) then
    perform private.raise_error(
      '42501', jsonb_build_object('hold_id', p_hold.id, 'roles', array['owner', 'admin', 'finance'])
    );
  end if;
end
$$;

comment on function private.assert_may_release(metering.holds) is
  'Refuses a member who is neither owner, admin nor finance and did not make the hold, or whose '
  'hold a server has claimed. Errors: 42501.';

-- Refuses a hold that is not there: TS410 for one that was settled, TS404 for an unknown one.
create function private.refuse_missing_hold(p_organization_id uuid, p_hold_id uuid)
returns void
language plpgsql
stable
set search_path = pg_catalog, pg_temp
as $$
begin
  if exists (
    select from public.ai_usage_ledger as l
    where l.organization_id = p_organization_id
      and l.id = p_hold_id
      and l.settlement <> 'without_hold'
  ) then
    perform private.raise_error(
      'TS410', jsonb_build_object('hold_id', p_hold_id, 'state', 'settled')
    );
  end if;
  perform private.raise_error('TS404', jsonb_build_object('hold_id', p_hold_id));
end
$$;

comment on function private.refuse_missing_hold(uuid, uuid) is
  'Errors: TS410 for a settled hold, TS404 for an unknown one.';

-- The privileged half of public.release_spend.
create function private.release_spend(p_hold_id uuid, p_reason text, p_organization_id uuid)
returns metering.holds
language plpgsql
volatile
security definer -- closes holds and writes counters, which no role may write itself
set search_path = pg_catalog, pg_temp
set plan_cache_mode = force_generic_plan
set enable_seqscan = off
set jit = off
as $$
declare
  v_hold_id constant uuid := private.assert_id('p_hold_id', p_hold_id);
  v_organization_id constant uuid := coalesce(
    p_organization_id, private.resolve_organization_of_hold(p_hold_id)
  );
  v_hold metering.holds;
  v_coverage private.coverage;
begin
  if p_reason is not null then
    perform private.assert_text('p_reason', p_reason);
  end if;
  if not private.is_trusted_caller()
    and (v_organization_id = any(private.member_organization_ids())) is not true then
    perform private.raise_error('TS404', jsonb_build_object('hold_id', p_hold_id));
  end if;
  select * into v_hold
  from metering.holds as h
  where h.organization_id = v_organization_id and h.id = v_hold_id
  for update;
  if v_hold.id is null then
    perform private.refuse_missing_hold(v_organization_id, p_hold_id);
  end if;
  perform private.assert_may_release(v_hold);
  if v_hold.state <> 'open' then
    return v_hold;
  end if;

  update metering.holds as h
  set state = 'released', closed_at = private.clock_now(), reason = p_reason
  where h.organization_id = v_organization_id and h.id = v_hold_id
  returning * into v_hold;
  v_coverage.budget_ids := v_hold.budget_ids;
  v_coverage.slots := v_hold.slots;
  v_coverage.config_version := v_hold.config_version;
  loop
    begin
      if private.charge(
        v_organization_id, v_coverage.budget_ids, v_coverage.slots, v_coverage.config_version,
        v_hold.created_at, 0, - v_hold.held_usd
      ) then
        return v_hold;
      end if;
      perform private.abandon_attempt();
    exception
      when sqlstate 'UNDO0' then null;
    end;
    -- Budgets were changed since: the figures of a changed budget counted this hold.
    v_coverage := private.survey(
      v_organization_id, private.scope_keys_of(v_hold), v_hold.created_at, null
    );
  end loop;
  return null; -- never reached
end
$$;

comment on function private.release_spend(uuid, text, uuid) is 'Core of public.release_spend.';

-- Gives back what a hold keeps.
--
-- Locks: the hold, then a slot of the organization's own budget, then one of each budget.
-- Idempotent: a hold that was released or has expired is returned as it is.
create function public.release_spend(
  p_hold_id uuid,
  p_reason text default null,
  p_organization_id uuid default null
)
returns metering.holds
language plpgsql
volatile
set search_path = pg_catalog, pg_temp
as $$
begin
  return private.release_spend(p_hold_id, p_reason, p_organization_id);
end
$$;

comment on function public.release_spend(uuid, text, uuid) is
  'Gives back what a hold keeps; returns the hold. Again: nothing happens. It may still be settled '
  'late. For whoever made it, until a server has claimed it by extend_hold; for owners, admins and '
  'finance, and for server roles. Errors: 22023, 42501, TS404, TS410 for a settled hold.';

-- Locks an open hold for extension; where p_wait, in one order with all overdue holds, for which
-- the gather then need not wait.
create function private.lock_hold(
  p_organization_id uuid,
  p_hold_id uuid,
  p_now timestamptz,
  p_wait boolean
)
returns metering.holds
language plpgsql
volatile
set search_path = pg_catalog, pg_temp
as $$
declare
  v_hold metering.holds;
begin
  if p_wait then
    perform from metering.holds as h
    where h.organization_id = p_organization_id
      and (h.id = p_hold_id or h.state = 'open' and h.expires_at <= p_now)
    order by h.id
    for update;
  end if;
  select * into v_hold
  from metering.holds as h
  where h.organization_id = p_organization_id and h.id = p_hold_id
  for update;
  if v_hold.id is null then
    perform private.refuse_missing_hold(p_organization_id, p_hold_id);
  elsif v_hold.state <> 'open' then
    perform private.raise_error(
      'TS410', jsonb_build_object('hold_id', p_hold_id, 'state', v_hold.state)
    );
  end if;
  return v_hold;
end
$$;

comment on function private.lock_hold(uuid, uuid, timestamptz, boolean) is
  'Locks an open hold. Errors: TS404, TS410.';

-- What a hard cap has left in a window that is over, where that is the least: its slots count the
-- present window already, so it is summed from ledger and holds. Under a gather.
create function private.survey_closed_windows(
  p_organization_id uuid,
  p_scope_keys text[],
  p_time timestamptz,
  p_coverage private.coverage
)
returns private.coverage
language plpgsql
stable
set search_path = pg_catalog, pg_temp
as $$
declare
  v_coverage private.coverage := p_coverage;
  v_closed record;
begin
  for v_closed in
    select
      b.id,
      b.limit_usd - private.settled_in(b, w.start, w.finish)
      - private.held_in(b, w.start, w.finish) as remaining
    from metering.budgets as b
    inner join metering.budget_slots as s
      on s.organization_id = b.organization_id and s.budget_id = b.id and s.slot = 0
    cross join lateral (
      select
        private.window_start(b.time_window, p_time, b.time_zone) as start,
        private.window_end(b.time_window, p_time, b.time_zone) as finish
    ) as w
    where b.organization_id = p_organization_id
      and b.scope_key = any(p_scope_keys)
      and b.enforcement = 'hard'
      and b.limit_usd is not null
      and b.scope <> 'draw'
      and p_time < s.window_start
  loop
    if (v_coverage.remaining <= v_closed.remaining) is not true then
      v_coverage.remaining := v_closed.remaining;
      v_coverage.tightest_budget_id := v_closed.id;
      v_coverage.resets_at := null;
    end if;
  end loop;
  return v_coverage;
end
$$;

comment on function private.survey_closed_windows(uuid, text[], timestamptz, private.coverage) is
  'A survey, with the windows of p_time that are over counted in.';

-- Extends a hold in time, in money, or both.
--
-- Money is admitted as authorize_spend admits it, by the windows the hold counts to, also those
-- that are over: what is settled counts there. An overdue hold can be extended until somebody took
-- its money. Locks: the hold, then as authorize_spend. Idempotent by p_request_id.
create function public.extend_hold(
  p_hold_id uuid,
  p_expires_in interval default null,
  p_additional_cost numeric default 0,
  p_request_id text default null,
  p_organization_id uuid default null
)
returns metering.holds
language plpgsql
volatile
security definer -- takes money from slots and changes holds, which no role may write itself
set search_path = pg_catalog, pg_temp
set plan_cache_mode = force_generic_plan
set enable_seqscan = off
set jit = off
as $$
declare
  v_hold_id constant uuid := private.assert_id('p_hold_id', p_hold_id);
  v_organization_id constant uuid := coalesce(
    p_organization_id, private.resolve_organization_of_hold(p_hold_id)
  );
  v_additional constant numeric := private.assert_money('p_additional_cost', p_additional_cost);
  v_expires_in interval;
  v_content_hash text;
  v_hold metering.holds;
  v_keys text[];
  v_coverage private.coverage;
  v_now timestamptz;
  v_gathers boolean := false;
  v_gathered boolean;
  v_waits boolean := false;
  v_skipped boolean;
begin
  if p_expires_in is not null then
    v_expires_in := private.assert_expiry('p_expires_in', p_expires_in);
  elsif v_additional = 0 then
    perform private.reject_argument(
      'p_expires_in, p_additional_cost', 'must not both be left out'
    );
  end if;
  if p_request_id is not null then
    v_content_hash := private.content_hash(
      row(
        private.assert_text('p_request_id', p_request_id), p_hold_id,
        extract(epoch from v_expires_in), trim_scale(p_additional_cost)
      )::text
    );
  end if;

  loop
    if p_request_id is not null and private.find_request(
      v_organization_id, 'extend', p_request_id, v_content_hash
    ) is not null then
      select * into v_hold
      from metering.holds as h where h.organization_id = v_organization_id and h.id = v_hold_id;
      if v_hold.id is null then
        perform private.refuse_missing_hold(v_organization_id, v_hold_id);
      end if;
      return v_hold;
    end if;

    v_now := private.clock_now();
    v_skipped := false;
    v_coverage := null;
    begin
      v_hold := private.lock_hold(v_organization_id, v_hold_id, v_now, v_waits);
      if v_additional > 0 then
        v_keys := private.scope_keys_of(v_hold);
        if v_gathers then
          v_skipped := private.gather(
            v_organization_id, v_keys, v_now, greatest(v_now, v_hold.created_at),
            array[v_hold_id]
          );
        end if;
        v_coverage := private.survey(v_organization_id, v_keys, v_hold.created_at, null);
        if v_coverage.is_frozen then
          perform private.raise_error(
            'TS423',
            jsonb_build_object(
              'organization_id', v_organization_id,
              'budget_id', (private.denied_as_frozen(v_organization_id, v_keys)).budget_id
            )
          );
        end if;
        if v_coverage.lacks_funding or v_coverage.prepaid_since > v_hold.created_at then
          -- Nothing reserves more for it: its run has ended, or it is older than the credits.
          perform private.raise_error(
            'TS402', jsonb_build_object('hold_id', v_hold_id, 'remaining_usd', '0')
          );
        end if;
        if v_gathers then
          v_coverage := private.survey_closed_windows(
            v_organization_id, v_keys, v_hold.created_at, v_coverage
          );
          if v_coverage.remaining >= v_additional then
            v_coverage := private.fund_call(
              v_organization_id, v_keys, v_hold.created_at, v_additional, v_coverage
            );
          end if;
          if v_coverage.remaining < v_additional then
            perform private.abandon_attempt();
          end if;
          perform private.charge_gathered(
            v_organization_id, v_coverage, v_hold.created_at, 0, v_additional
          );
        elsif not private.charge(
          v_organization_id, v_coverage.budget_ids, v_coverage.slots, v_coverage.config_version,
          v_hold.created_at, 0, v_additional
        ) then
          perform private.abandon_attempt();
        end if;
        if v_hold.proposal_id is not null
          or v_coverage.approval_above < v_hold.held_usd + v_additional then
          perform private.assert_within_approval(v_hold, v_hold.held_usd + v_additional);
        end if;
        v_hold.budget_ids := v_coverage.budget_ids;
        v_hold.slots := v_coverage.slots;
        v_hold.config_version := v_coverage.config_version;
      else
        -- Also a new expiry takes a slot of the own budget, so that none changes under a gather.
        perform from metering.budget_slots as s
        where s.organization_id = v_organization_id
          and s.budget_id = v_organization_id
          and s.slot = v_hold.slots[1]
        for no key update;
        if not found then
          perform private.lock_first_slot(v_organization_id);
        end if;
      end if;
      if p_request_id is not null and not private.bind_request(
        v_organization_id, 'extend', p_request_id, v_content_hash, v_hold_id
      ) then
        perform private.abandon_attempt();
      end if;
      if v_hold.held_usd + v_additional >= 1e12 then
        perform private.reject_argument(
          'p_additional_cost', 'must keep the hold below 1000000000000'
        );
      end if;
      update metering.holds as h
      set
        held_usd = h.held_usd + v_additional,
        expires_at = coalesce(v_now + v_expires_in, h.expires_at),
        claimed_at = coalesce(h.claimed_at, v_now),
        budget_ids = v_hold.budget_ids,
        slots = v_hold.slots,
        config_version = v_hold.config_version
      where h.organization_id = v_organization_id and h.id = v_hold_id
      returning * into v_hold;
      return v_hold;
    exception
      when sqlstate 'UNDO0' then
        v_gathered := v_gathers;
        v_gathers := true;
    end;

    if v_gathered and v_coverage.remaining < v_additional and not v_skipped then
      -- A call with the same request id may just have taken what is missing.
      continue when p_request_id is not null and private.find_request(
        v_organization_id, 'extend', p_request_id, v_content_hash
      ) is not null;
      perform private.raise_error(
        'TS402',
        jsonb_build_object(
          'hold_id', v_hold_id,
          'budget_id', v_coverage.tightest_budget_id,
          'remaining_usd', trim_scale(v_coverage.remaining)::text,
          'resets_at', v_coverage.resets_at
        )
      );
    end if;
    v_waits := v_skipped;
  end loop;
  return null; -- never reached
end
$$;

comment on function public.extend_hold(uuid, interval, numeric, text, uuid) is
  'Gives an open hold p_expires_in from now (at most 24 hours), p_additional_cost more US '
  'dollars, or both, and returns it. A retry with the same p_request_id extends once. It is then '
  'claimed: who made it may not release it any more. For server roles. Errors: 22023, TS402 where '
  'a budget has not enough left or credits cannot pay for more, TS404, TS409, TS410 for a hold '
  'that is no longer open, TS423 where the organization or a scope is frozen, TS428 where the hold '
  'would pass what was approved or needs no approval.';

-- Frees what overdue holds keep. Housekeeping: whoever needs that money frees it without waiting
-- for this. Organization by organization, leaving out holds somebody is working on and
-- organizations that keep it waiting: one tenant must not be held up because of another.
--
-- Locks: the holds, then slot 0 of the organization's own budget, then a slot of each budget.
create function metering.expire_holds(
  p_organization_id uuid default null,
  p_limit integer default 1000
)
returns integer
language plpgsql
volatile
security definer -- closes holds and writes counters, which no role may write itself
set search_path = pg_catalog, pg_temp
set enable_seqscan = off
set jit = off
set lock_timeout = '20ms' -- longer than a commit takes, shorter than a transaction left open
as $$
declare
  v_now constant timestamptz := private.clock_now();
  v_organization_id uuid;
  v_holds metering.holds[];
  v_expired integer := 0;
begin
  if (p_limit between 1 and 100000) is not true then
    perform private.reject_argument('p_limit', 'must be from 1 to 100000');
  end if;
  for v_organization_id in
    select distinct h.organization_id
    from metering.holds as h
    where h.state = 'open'
      and h.expires_at <= v_now
      and (p_organization_id is null or h.organization_id = p_organization_id)
    order by h.organization_id
  loop
    begin
      v_holds := private.expire_overdue(
        v_organization_id, v_now, '{}', false, p_limit - v_expired
      );
      if v_holds is not null then
        perform private.lock_first_slot(v_organization_id);
        perform private.return_holds(v_organization_id, v_holds);
        v_expired := v_expired + cardinality(v_holds);
      end if;
    exception
      when lock_not_available then null; -- next time, or a gather before
    end;
    exit when v_expired >= p_limit;
  end loop;
  return v_expired;
end
$$;

comment on function metering.expire_holds(uuid, integer) is
  'Returns the money of up to p_limit overdue holds, of one organization or all, and says of how '
  'many. Housekeeping for reports: an overdue hold never refuses anybody. Runs every minute where '
  'pg_cron is installed. For server roles. Errors: 22023.';
