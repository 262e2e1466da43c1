-- Admits a hold or denies it. p_minimum is the least it may be cut to: the whole, if it may not be
-- cut.
--
-- Denied from a snapshot, before anything is locked or written, where the money is not there even
-- if every overdue hold were freed. Then an attempt on one slot per budget; where that falls short,
-- a gather. A gather that left out overdue holds, because somebody was just working on them, does
-- not deny: it is undone, waits for those holds and gathers again.
--
-- Where a policy asks for approval the attempt is undone, and there is a proposal instead; an
-- approved one is known by the request id. What is asked for and what is granted may differ: it is
-- what would be held that needs approval.
--
-- p_still_since: the caller (a batch) has gathered as of this time, and the organization stands
-- still. That is then the time of the call, so that no further hold is overdue and none need be
-- waited for.
create function private.admit(
  p_hold metering.holds,
  p_minimum numeric,
  p_expires_in interval,
  p_request_id text,
  p_content_hash text,
  p_still_since timestamptz
)
returns metering.spend_decision
language plpgsql
volatile
set search_path = pg_catalog, pg_temp
as $$
declare
  v_organization_id constant uuid := p_hold.organization_id;
  v_keys constant text[] := private.scope_keys_of(p_hold);
  v_hold metering.holds := p_hold;
  v_decision metering.spend_decision;
  v_coverage private.coverage;
  v_bound uuid;
  v_now timestamptz;
  v_time timestamptz;
  v_open_after timestamptz;
  v_gathers boolean := false;
  v_waits boolean := false;
  v_skipped boolean;
  v_needs_approval boolean;
begin
  loop
    v_now := coalesce(p_still_since, private.clock_now());
    -- A batch cannot wait for whoever works on its overdue hold: that is open as of its time.
    v_open_after := case when p_still_since is null then v_now else '-infinity' end;
    v_skipped := false;
    v_needs_approval := false;
    if p_request_id is not null then
      v_bound := private.find_request(v_organization_id, 'authorize', p_request_id, p_content_hash);
      if v_bound is not null then
        v_decision := private.present_decision(v_organization_id, v_bound, v_open_after);
        if v_decision.decision is not null then
          return v_decision;
        end if;
        -- Where its own hold is overdue, that one is freed before another is made.
        v_gathers := v_gathers or not private.is_over(v_organization_id, v_bound);
      end if;
    end if;

    v_coverage := private.assert_covered(
      p_hold, private.survey(v_organization_id, v_keys, v_now, v_now)
    );
    -- Windows only move forward: a call whose clock is behind an open window belongs to that
    -- window.
    v_time := greatest(v_now, v_coverage.latest_window);
    if v_time > v_now then
      v_coverage := private.assert_covered(
        p_hold, private.survey(v_organization_id, v_keys, v_time, v_now)
      );
    end if;
    v_decision := private.denied_outright(p_hold, v_keys, v_coverage);
    if v_decision.decision is not null then
      return v_decision;
    elsif v_coverage.remaining < p_minimum then
      v_decision := private.denied_as_exceeded(v_coverage);
      -- The request itself may just have taken what is missing.
      continue when private.has_moved(
        v_organization_id, p_request_id, p_content_hash, v_bound, v_open_after
      );
      return v_decision;
    elsif p_request_id is null and p_minimum = p_hold.held_usd
      and v_coverage.approval_above < p_minimum and private.would_need_approval(p_hold) then
      return private.propose_spend(p_hold, null, null, null); -- denied, before anything is written
    end if;
    perform private.ensure_month(v_time);
    v_hold.id := private.uuid_v7(v_time);
    v_hold.created_at := date_trunc('milliseconds', v_time);
    v_hold.expires_at := v_now + p_expires_in;
    v_hold.day := private.local_day(v_time, v_coverage.time_zone);

    begin
      if v_gathers then
        -- Whoever saw the last of the money queues for slot 0, and each looks again once it has it:
        -- the queue is answered without every slot being locked for every denial.
        if not v_waits then
          perform private.lock_first_slot(v_organization_id);
          v_coverage := private.survey(v_organization_id, v_keys, v_time, v_now);
          if v_coverage.remaining < p_minimum then
            v_decision := private.denied_as_exceeded(v_coverage);
            perform private.abandon_attempt();
          end if;
        end if;
        v_skipped := private.gather(
          v_organization_id, v_keys, v_now, v_time, p_wait => v_waits
        );
        v_coverage := private.survey(v_organization_id, v_keys, v_time, null);
        if (private.denied_outright(p_hold, v_keys, v_coverage)).decision is not null
          or v_coverage.latest_window > v_time
          or v_bound is not null and not private.is_over(v_organization_id, v_bound) then
          perform private.abandon_attempt();
        elsif v_coverage.remaining < p_minimum then
          v_decision := private.denied_as_exceeded(v_coverage);
          perform private.abandon_attempt();
        end if;
        v_coverage := private.fund_call(
          v_organization_id, v_keys, v_time, least(p_hold.held_usd, v_coverage.remaining), v_coverage
        );
        if v_coverage.remaining < p_minimum then
          v_decision := private.denied_as_exceeded(v_coverage);
          perform private.abandon_attempt();
        end if;
        v_hold.held_usd := least(p_hold.held_usd, v_coverage.remaining);
        perform private.charge_gathered(
          v_organization_id, v_coverage, v_hold.created_at, 0, v_hold.held_usd
        );
      elsif v_coverage.lacks_funding or not private.charge(
        v_organization_id, v_coverage.budget_ids, v_coverage.slots, v_coverage.config_version,
        v_hold.created_at, 0, v_hold.held_usd
      ) then
        perform private.abandon_attempt();
      end if;
      v_hold.proposal_id := null;
      if v_coverage.approval_above < v_hold.held_usd then
        v_hold.proposal_id := private.approval_of(v_hold, v_bound, v_now);
        v_needs_approval := v_hold.proposal_id is null and private.needs_approval(v_hold);
        if v_needs_approval then
          perform private.abandon_attempt();
        end if;
      end if;
      if p_request_id is not null and not private.bind_request(
        v_organization_id, 'authorize', p_request_id, p_content_hash, v_hold.id, v_bound
      ) then
        perform private.abandon_attempt();
      end if;
      v_hold.budget_ids := v_coverage.budget_ids;
      v_hold.slots := v_coverage.slots;
      v_hold.config_version := v_coverage.config_version;
      insert into metering.holds values (v_hold.*);
      return private.granted(v_hold, case when v_coverage.has_soft_limit then v_keys end);
    exception
      when sqlstate 'UNDO0' then
        v_gathers := true;
    end;

    if v_needs_approval then
      v_decision := private.propose_spend(p_hold, p_request_id, p_content_hash, v_bound);
      continue when v_decision.decision is null;
      return v_decision;
    elsif v_decision.decision = 'denied' and (not v_skipped or p_still_since is not null) then
      continue when private.has_moved(
        v_organization_id, p_request_id, p_content_hash, v_bound, v_open_after
      );
      return v_decision;
    end if;
    v_waits := v_skipped and p_still_since is null;
    v_decision := null;
  end loop;
  return null; -- never reached
end
$$;

comment on function private.admit(
  metering.holds, numeric, interval, text, text, timestamptz
) is
  'Admits a drafted hold, or denies it. Errors: TS404, TS409.';
