-- What providers ask for usage: posted per organization and day, once the day is over.

-- What the provider asks for a usage: its cost without the organization's markup. A cost that was
-- stated has none.
create function private.provider_cost(p_usage public.ai_usage_ledger)
returns numeric
language plpgsql
stable
set search_path = pg_catalog, pg_temp
as $$
begin
  if p_usage.markup_id is null
    or p_usage.cost <> private.cost_at(p_usage.rates, p_usage.token_counts) then
    return p_usage.cost;
  end if;
  return private.cost_at(
    private.rates_of_prompt(
      (private.pinned_price(p_usage.organization_id, p_usage.price_id, null)).rates,
      p_usage.prompt_tokens
    ),
    p_usage.token_counts
  );
end
$$;

comment on function private.provider_cost(public.ai_usage_ledger) is
  'US dollars that the provider asks for a usage: its cost without markup.';

-- Posts what was used on a day and is not in the books: all of it, or what landed since. False
-- where there is nothing.
--
-- The row of the day is locked.
create function private.post_provider_day(p_organization_id uuid, p_day date)
returns boolean
language plpgsql
volatile
set search_path = pg_catalog, pg_temp
as $$
declare
  v_now constant timestamptz := private.clock_now();
  v_time_zone text;
  v_posted accounting.provider_cost_days;
  v_day accounting.provider_cost_days;
  -- The same wherever the session is, whatever its DateStyle.
  v_key constant text := 'provider-cost:' || to_char(p_day, 'YYYY-MM-DD');
  v_external_id text := v_key;
begin
  select o.time_zone into strict v_time_zone
  from tenancy.organizations as o where o.id = p_organization_id;
  select * into strict v_posted
  from accounting.provider_cost_days as d
  where d.organization_id = p_organization_id and d.day = p_day
  for no key update;
  v_day := v_posted;
  select
    coalesce(sum(l.cost), 0),
    coalesce(sum(case when l.markup_id is null then l.cost else private.provider_cost(l) end), 0)
  into v_day.usage_usd, v_day.cost_usd
  from public.ai_usage_ledger as l
  where l.organization_id = p_organization_id
    and l.id >= private.uuid_v7_floor(p_day::timestamp at time zone v_time_zone)
    and l.id < private.uuid_v7_floor((p_day + 1)::timestamp at time zone v_time_zone);
  if v_day.usage_usd = v_posted.usage_usd and v_day.cost_usd = v_posted.cost_usd then
    return false;
  end if;
  update accounting.provider_cost_days as d
  set
    usage_usd = v_day.usage_usd,
    cost_usd = v_day.cost_usd,
    posting_count = d.posting_count + 1,
    posted_at = v_now
  where d.organization_id = p_organization_id and d.day = p_day;
  if v_posted.posting_count > 0 then
    v_external_id := v_external_id || ':' || v_posted.posting_count::text;
  end if;
  perform private.post_flows(
    p_organization_id, v_external_id,
    case when v_posted.posting_count = 0 then p_day else private.local_day(v_now, v_time_zone) end,
    p_day,
    case when v_posted.posting_count = 0 then 'provider_cost' else 'late_provider_cost' end,
    v_key,
    array[
      row('provider_cost', 'accounts_payable', v_day.cost_usd - v_posted.cost_usd)::private.flow
    ]
  );
  return true;
end
$$;

comment on function private.post_provider_day(uuid, date) is
  'Posts the provider cost of a day, or what landed since it was posted.';

-- The days of an organization that are over and whose usage is not what was posted. Usage can land
-- as long as its hold is known: what is older than that was looked at long ago.
create function private.unposted_days(p_organization_id uuid)
returns date[]
language plpgsql
stable
set search_path = pg_catalog, pg_temp
as $$
begin
  return array(
    select u.day
    from metering.usage_rollups as u
    left join accounting.provider_cost_days as d
      on d.organization_id = u.organization_id and d.day = u.day
    where u.organization_id = p_organization_id
      and u.scope = 'organization'
      and u.day < (
        select private.local_day(private.clock_now(), o.time_zone)
        from tenancy.organizations as o where o.id = p_organization_id
      )
      and u.day >= coalesce(
        (
          select max(p.day) - 60
          from accounting.provider_cost_days as p where p.organization_id = p_organization_id
        ),
        '-infinity'
      )
    group by u.day, d.usage_usd
    having sum(u.cost) <> coalesce(d.usage_usd, 0)
    order by u.day
  );
end
$$;

comment on function private.unposted_days(uuid) is
  'Days that are over with usage that is not posted: the last 60 that were, and all after them.';

-- Posts the provider cost of some days of an organization; returns of how many there was any.
--
-- Locks: the rows of all days, in their order, before the first is posted.
create function private.post_provider_days(p_organization_id uuid, p_days date[])
returns integer
language plpgsql
volatile
set search_path = pg_catalog, pg_temp
as $$
declare
  v_day date;
  v_count integer := 0;
begin
  insert into accounting.provider_cost_days as d (organization_id, day, posted_at)
  select p_organization_id, n.day, private.clock_now() from unnest(p_days) as n (day)
  order by n.day
  on conflict (organization_id, day) do update set posted_at = d.posted_at;
  for v_day in select n.day from unnest(p_days) as n (day) order by n.day
  loop
    v_count := v_count + private.post_provider_day(p_organization_id, v_day)::integer;
  end loop;
  return v_count;
end
$$;

comment on function private.post_provider_days(uuid, date[]) is
  'Posts the provider cost of days of an organization.';

-- Posts provider cost. Idempotent: what is in the books is not posted again.
create function accounting.post_provider_cost(
  p_organization_id uuid default null,
  p_day date default null
)
returns integer
language plpgsql
volatile
security definer -- writes the books, which no role may write itself
set search_path = pg_catalog, pg_temp
set lock_timeout = '20ms' -- longer than a commit takes, shorter than a transaction left open
as $$
declare
  v_organization record;
  v_days date[];
  v_count integer := 0;
begin
  if p_organization_id is not null then
    perform private.assert_member(p_organization_id);
  end if;
  for v_organization in
    select o.id, private.local_day(private.clock_now(), o.time_zone) as today
    from tenancy.organizations as o
    where p_organization_id is null or o.id = p_organization_id
    order by o.id
  loop
    if p_day is null then
      v_days := private.unposted_days(v_organization.id);
    elsif private.assert_day('p_day', p_day) < v_organization.today then
      v_days := array[p_day];
    elsif p_organization_id is null then
      continue;
    else
      perform private.reject_argument('p_day', 'must be a day that is over');
    end if;
    -- One tenant is not held up because of another: who keeps it waiting is left for the next time.
    begin
      v_count := v_count + private.post_provider_days(v_organization.id, v_days);
    exception
      when lock_not_available then null;
    end;
  end loop;
  return v_count;
end
$$;

comment on function accounting.post_provider_cost(uuid, date) is
  'Posts what providers ask for the usage of a day, of an organization or of all: provider_cost '
  'against accounts_payable. p_day null: of every day that is over and not posted, as maintenance '
  'does daily. A day is posted once; usage that lands later is posted today, with its own day as '
  'occurred_on. Returns for how many days there was something; an organization that another call '
  'keeps waiting is left for the next time. For operators. Errors: 22023 for a day that is not '
  'over, TS404.';
