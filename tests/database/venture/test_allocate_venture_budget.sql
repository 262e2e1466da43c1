-- Shares of a venture's budget: what they are cut to, and that calls keep to them.
begin;
select plan(67);

select tests.freeze_clock('2026-03-10 12:00+00');
create temporary table scene as
select
  o.org, tests.venture(o.org) as venture, tests.venture(o.org) as other,
  tests.venture(o.away) as venture_away, o.away,
  tests.member(o.org, 'owner') as owner, tests.member(o.org, 'admin') as admin,
  tests.member(o.org, 'finance') as finance, tests.member(o.org) as member,
  tests.member(o.org, 'viewer') as viewer, tests.member(o.away, 'owner') as stranger
from (select tests.organization() as org, tests.organization('Away') as away) as o;
grant select on scene to public;
grant app_user, tallystick_reader, tallystick_writer to current_user;

create function pg_temp.allocate(p_profile text, p_percent numeric)
returns numeric
language sql
as $$
  select case p_profile
    when 'exploratory' then a.exploratory_pct
    when 'standard' then a.standard_pct
    when 'deep_due_diligence' then a.deep_due_diligence_pct
    else a.custom_pct
  end::numeric
  from scene, metering.allocate_venture_budget(org, venture, p_profile, p_percent) as a
$$;
-- Each share: profile window limit remaining, and how it is enforced.
create function pg_temp.shares()
returns text[]
language sql
as $$
  select coalesce(array_agg(
    format('%s %s %s %s %s', s.budget_profile, s.time_window, trim_scale(s.limit_usd),
      trim_scale(s.remaining_usd), s.enforcement)
    order by s.budget_profile, s.time_window
  ), '{}')
  from metering.venture_profile_status as s
  inner join scene on venture = s.venture_id
  where s.budget_id is not null
$$;
create function pg_temp.asks(p_cost numeric, p_profile text, p_venture uuid default null)
returns text
language sql
as $$
  select concat_ws(' ', d.decision, d.reason, b.scope, d.remaining_usd)
  from scene
  cross join lateral authorize_spend(
    org, 'm', p_cost, p_venture_id => coalesce(p_venture, venture),
    p_tags => case
      when p_profile is null then '{}' else jsonb_build_object('budget_profile', p_profile)
    end
  ) as d
  left join metering.budgets as b on b.organization_id = org and b.id = d.budget_id
$$;

-- What may be allocated ---------------------------------------------------------------------------

select is(pg_temp.allocate('exploratory', 12.5), 12.5, 'a profile gets a share');
select is(pg_temp.shares(), '{}', 'of no budget, so far');
select is(pg_temp.allocate('standard', 87.5), 87.5, 'another gets the rest');
select throws_ok(
  format('select pg_temp.allocate(%L, %s)', v.profile, v.percent), '22023', null,
  format('%s %s is refused', v.profile, v.percent)
)
from (
  values
  ('custom', '0.01'), ('exploratory', '12.51'), ('standard', '-1'), ('standard', '-0.001'),
  ('standard', '100.01'), ('standard', '1.001'), ('standard', '''NaN'''),
  ('standard', '''Infinity'''), ('lavish', '1'), (null, '1')
) as v (profile, percent);
select is(pg_temp.allocate('custom', 0), 0::numeric, 'nothing is a share, too');
select throws_ok(
  $$update metering.venture_allocations set custom_pct = 0.01$$, '23514', null,
  'not even the owner of the table allocates more than there is'
);

-- What shares are cut to --------------------------------------------------------------------------

select tests.cap(org, 'venture', venture::text, 'month', 10) from scene;
select is(
  pg_temp.shares(),
  array['custom month 0 0 hard', 'exploratory month 1.25 1.25 hard', 'standard month 8.75 8.75 hard'],
  'a budget of the venture is cut into shares'
);
select tests.cap(org, 'venture', venture::text, 'total', 0.000000000012, 'soft') from scene;
select is(
  pg_temp.shares(),
  array[
    'custom month 0 0 hard', 'custom total 0 0 soft',
    'exploratory month 1.25 1.25 hard', 'exploratory total 0.000000000002 0.000000000002 soft',
    'standard month 8.75 8.75 hard', 'standard total 0.00000000001 0.00000000001 soft'
  ],
  'each of them, half even at 12 decimals, and as it is enforced'
);
select metering.remove_budget(org, 'venture', venture::text, 'total') from scene;
select is(
  pg_temp.shares(),
  array['custom month 0 0 hard', 'exploratory month 1.25 1.25 hard', 'standard month 8.75 8.75 hard'],
  'its shares go with it'
);
select tests.cap(org, 'venture', venture::text, 'month', 4) from scene;
select is(
  pg_temp.shares(),
  array['custom month 0 0 hard', 'exploratory month 0.5 0.5 hard', 'standard month 3.5 3.5 hard'],
  'another limit cuts them anew'
);
select tests.cap(org, 'venture', venture::text, 'month', null) from scene;
select is(pg_temp.shares(), '{}', 'without a limit there is nothing to share');
select tests.cap(org, 'venture', venture::text, 'month', 4) from scene;
select metering.change_budget(
  org, tests.budget(org, 'venture', venture::text, 'month'), p_window => 'day'
) from scene;
select is(
  pg_temp.shares(),
  array['custom day 0 0 hard', 'exploratory day 0.5 0.5 hard', 'standard day 3.5 3.5 hard'],
  'another window takes them along'
);
select metering.change_budget(
  org, tests.budget(org, 'venture', venture::text, 'day'), 'venture', other::text
) from scene;
select is(pg_temp.shares(), '{}', 'a budget that goes to another venture leaves no shares behind');
select metering.change_budget(
  org, tests.budget(org, 'venture', other::text, 'day'), 'venture', venture::text, 'total'
) from scene;
select is(
  pg_temp.shares(),
  array['custom total 0 0 hard', 'exploratory total 0.5 0.5 hard', 'standard total 3.5 3.5 hard'],
  'and gets them where it comes back'
);
select metering.freeze(org, 'venture', other::text) from scene;
select is_empty(
  $$select from metering.budgets, scene where scope_id like other || '/%'$$,
  'a freeze has nothing to share'
);

-- A share is not to be changed by itself.
select throws_ok(
  format('select metering.%s', v.call), '22023', null, v.call
)
from scene as s
cross join lateral (
  select id from metering.budgets where scope_id = s.venture || '/standard'
) as b
cross join lateral (
  values
  (format('set_budget(%L, %L, %L, %L, 5)', org, 'venture_profile', venture || '/standard', 'total')),
  (format('remove_budget(%L, %L, %L, %L)', org, 'venture_profile', venture || '/standard', 'total')),
  (format('freeze(%L, %L, %L)', org, 'venture_profile', venture || '/standard')),
  (format('change_budget(%L, %L, p_window => %L)', org, b.id, 'day')),
  (format('change_budget(%L, %L, %L, %L)', org, b.id, 'tag', 'a=b'))
) as v (call);
select metering.change_budget(
  org, (select id from metering.budgets where scope_id = venture || '/standard'), p_slots => 4
) from scene;
select tests.cap(org, 'venture', venture::text, 'total', 8) from scene;
select is(
  (select format('%s %s', trim_scale(limit_usd), slot_count) from metering.budgets, scene
    where scope_id = venture || '/standard'),
  '7 4', 'but may be spread over more slots, and stays so'
);

-- Calls keep to them ------------------------------------------------------------------------------

select is(pg_temp.asks(1.000000000001, 'exploratory'), 'denied budget_exceeded venture_profile 1',
  'what does not fit the share is denied');
select is(pg_temp.asks(0.75, 'exploratory'), 'granted', 'what fits is granted');
select is(pg_temp.asks(0.250000000001, 'exploratory'),
  'denied budget_exceeded venture_profile 0.25', 'held money counts');
select is(pg_temp.asks(0.000000000001, 'custom'), 'denied budget_exceeded venture_profile 0',
  'a share of nothing is closed');
select is(pg_temp.asks(7.000000000001, null), 'denied budget_exceeded venture_profile 7',
  'without a profile it is standard');
select is(pg_temp.asks(7.000000000001, 'standard'), 'denied budget_exceeded venture_profile 7',
  'as with it');
select is(pg_temp.asks(7.25, 'deep_due_diligence'), 'granted',
  'one without a share has what the venture has');
select is(pg_temp.asks(0.000000000001, 'standard'), 'denied budget_exceeded venture 0',
  'and the venture caps them all');
select throws_ok(
  $$select pg_temp.asks(1, 'lavish')$$, '22023', null, 'a profile nobody knows would escape its share'
);
select throws_ok(
  $$select estimate_spend(org, 'm', 1, p_venture_id => venture, p_tags => '{"budget_profile": ""}')
    from scene$$, '22023', null, 'also a blank one'
);
select is(
  pg_temp.asks(1, 'exploratory', other), 'denied frozen venture', 'another venture has its own'
) from scene;
select lives_ok(
  $$select authorize_spend(org, 'm', 1, p_tags => '{"budget_profile": "lavish"}') from scene$$,
  'outside ventures the tag is a label like any other'
);
select is(
  (authorize_spend_batch(org, jsonb_build_array(jsonb_build_object(
    'estimated_cost', 1, 'venture_id', venture, 'tags', jsonb_build_object('budget_profile', 'lavish')
  )))).error_code, '22023', 'in a batch, too'
) from scene;

-- A share that is cut below what was spent is in debt; a raised one grants again.
select tests.cap(org, 'venture', venture::text, 'total', 4) from scene;
select is(
  (select pg_temp.shares())[2], 'exploratory total 0.5 -0.25 hard', 'a share can be cut below use'
);
select is(pg_temp.asks(0.000000000001, 'exploratory'), 'denied budget_exceeded venture -4',
  'and refuses then');
select tests.cap(org, 'venture', venture::text, 'total', 40) from scene;
select is((select pg_temp.shares())[2], 'exploratory total 5 4.25 hard', 'raised, it has money again');
select is(pg_temp.allocate('exploratory', 2.5), 2.5, 'a share may shrink');
select is((select pg_temp.shares())[2], 'exploratory total 1 0.25 hard', 'and counts what was spent');
select is(pg_temp.allocate('exploratory', null), null::numeric, 'or be taken back');
select is(pg_temp.asks(5, 'exploratory'), 'granted', 'then only the venture caps the profile');
select is(pg_temp.allocate('exploratory', 12.5), 12.5, 'given again');
select is((select pg_temp.shares())[2], 'exploratory total 5 -0.75 hard', 'it counts all there was');
select is_empty('select * from audit.verify_integrity()', 'and everything agrees');

-- Who ---------------------------------------------------------------------------------------------

create function pg_temp.code(p_role text, p_person uuid, p_venture uuid)
returns text
language plpgsql
as $$
begin
  perform tests.act_as(p_role, p_person);
  perform metering.allocate_venture_budget(org, p_venture, 'custom', 0) from scene;
  raise exception using errcode = 'UNDOO';
exception when others then
  return case sqlstate when 'UNDOO' then 'done' else sqlstate end;
end
$$;
select is(pg_temp.code(v.role, v.person, venture), v.code, v.who)
from scene as s
cross join lateral (
  values
  ('owner', 'authenticated', s.owner, 'done'), ('admin', 'authenticated', s.admin, 'done'),
  ('finance', 'authenticated', s.finance, '42501'), ('member', 'authenticated', s.member, '42501'),
  ('viewer', 'authenticated', s.viewer, '42501'), ('stranger', 'authenticated', s.stranger, '42501'),
  ('anon', 'anon', null, '42501'), ('service role', 'service_role', null, 'done'),
  ('app', 'app_user', null, '42501'), ('writer', 'tallystick_writer', null, '42501'),
  ('reader', 'tallystick_reader', null, '42501')
) as v (who, role, person, code);
select is(pg_temp.code('authenticated', owner, v), 'TS404', 'another tenant''s venture is unknown')
from scene, unnest(array[venture_away, gen_random_uuid()]) as v;
select is(pg_temp.code('authenticated', owner, null), '22023', 'a venture is needed') from scene;

select * from finish();
rollback;
