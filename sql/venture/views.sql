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
