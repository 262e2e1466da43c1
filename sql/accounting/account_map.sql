-- The account map: on which account each line of what billing posts is booked.

create type private.book_line as (
  line text, account_types text [], name text, posted_for text
);

comment on type private.book_line is
  'A line of the account map, and the account it has until another is named.';

-- The lines there are. An account of the first type is made for a line.
create function private.book_lines()
returns setof private.book_line
language plpgsql
immutable
set search_path = pg_catalog, pg_temp
as $$
begin
  return query
  values
  ('cash', array['asset'], 'Cash', 'credits that were paid for'),
  ('receivable', array['asset'], 'Receivables', 'what was spent and not covered by credits'),
  (
    'customer_credits', array['liability'], 'Customer credits',
    'credits that were paid for or adjusted, and not used yet'
  ),
  ('accounts_payable', array['liability'], 'Accounts payable', 'what providers are owed'),
  ('revenue', array['income'], 'Usage revenue', 'charges less refunds, and what is owed'),
  (
    'late_usage', array['income'], 'Late usage revenue',
    'usage that landed after its run or day was charged'
  ),
  ('breakage', array['income'], 'Breakage', 'paid credits that expired'),
  (
    'promo_expense', array['expense', 'income'], 'Promo expense',
    'usage that was paid by promo and trial credits'
  ),
  (
    'adjustment', array['expense', 'income'], 'Credit adjustments',
    'credits that an operator gave or took'
  ),
  ('provider_cost', array['expense'], 'Provider cost', 'usage, at the price of its provider');
end
$$;

comment on function private.book_lines() is
  'The lines of the account map: which types of account each takes, its first account, and what it '
  'is for.';

-- Gives every line that has no account one of its own. Where its name is taken, the id is added.
--
-- Locks the accounts of the organization, so that no name is taken meanwhile.
create function private.open_account_map(p_organization_id uuid)
returns void
language plpgsql
volatile
set search_path = pg_catalog, pg_temp
as $$
declare
  v_line record;
  v_account_id text;
begin
  perform private.lock_forest(p_organization_id);
  for v_line in
    select l.*
    from private.book_lines() as l
    where not exists (
      select from accounting.account_map as m
      where m.organization_id = p_organization_id and m.line = l.line
    )
    order by l.line
  loop
    v_account_id := 'billing:' || v_line.line;
    if exists (
      select from accounting.accounts as a
      where a.organization_id = p_organization_id
        and v_account_id in (a.account_id, a.code)
    ) then
      v_account_id := v_account_id || ':' || private.uuid_v7()::text;
    end if;
    insert into accounting.accounts (organization_id, account_id, code, name, account_type)
    values (p_organization_id, v_account_id, v_account_id, v_line.name, v_line.account_types[1]);
    insert into accounting.account_map (organization_id, line, account_id)
    values (p_organization_id, v_line.line, v_account_id)
    on conflict (organization_id, line) do nothing;
  end loop;
end
$$;

comment on function private.open_account_map(uuid) is
  'Opens an account for every line of the account map that has none.';

-- The privileged half of accounting.set_account_map.
--
-- Locks the account, so that it stays of its type.
create function private.set_account_map(
  p_organization_id uuid,
  p_line text,
  p_account_id text,
  p_correlation_id text,
  p_actor text
)
returns accounting.account_map
language plpgsql
volatile
security definer -- writes the account map and the event log, which no role may write itself
set search_path = pg_catalog, pg_temp
as $$
declare
  v_started_at constant timestamptz := private.clock_now();
  v_actor private.actor;
  v_account accounting.accounts;
  v_types text[];
  v_map accounting.account_map;
begin
  perform private.assert_member(p_organization_id, array['owner', 'admin', 'finance']);
  v_actor := private.acting(p_actor);
  perform private.assert_text('p_account_id', p_account_id);
  select l.account_types into v_types from private.book_lines() as l where l.line = p_line;
  if v_types is null then
    perform private.reject_argument('p_line', 'must be a line of the account map');
  end if;
  select * into v_account
  from accounting.accounts as a
  where a.organization_id = p_organization_id
    and a.entity_id = 'entity-default'
    and a.account_id = p_account_id
  for key share;
  if v_account.account_id is null then
    perform private.raise_error(
      'TS404', jsonb_build_object('account_id', p_account_id, 'entity_id', 'entity-default')
    );
  elsif v_account.account_type <> all(v_types) then
    perform private.reject_argument(
      'p_account_id', 'must be an account of type ' || array_to_string(v_types, ' or ')
    );
  end if;
  insert into accounting.account_map as m (organization_id, line, account_id, updated_at)
  values (p_organization_id, p_line, p_account_id, v_started_at)
  on conflict (organization_id, line)
  do update set account_id = excluded.account_id, updated_at = excluded.updated_at
  returning * into v_map;
  perform private.log_change(
    p_organization_id, 'set_account_map', p_correlation_id,
    jsonb_build_object('line', p_line, 'account_id', p_account_id), v_map, v_actor, v_started_at
  );
  return v_map;
end
$$;

comment on function private.set_account_map(uuid, text, text, text, text) is
  'Core of accounting.set_account_map.';

-- Names the account of a line. Idempotent.
create function accounting.set_account_map(
  p_organization_id uuid,
  p_line text,
  p_account_id text,
  p_correlation_id text default null,
  p_actor text default null
)
returns accounting.account_map
language sql
volatile
set search_path = pg_catalog, pg_temp
as $$
  select * from private.set_account_map(
    p_organization_id, p_line, p_account_id, p_correlation_id, p_actor
  )
$$;

comment on function accounting.set_account_map(uuid, text, text, text, text) is
  'From now on books a line of what billing posts on an account of entity-default: cash, '
  'receivable (asset), customer_credits, accounts_payable (liability), revenue, late_usage, '
  'breakage (income), promo_expense, adjustment (expense or income), provider_cost (expense). '
  'Returns the line. What was posted stays where it is. For owners, admins, finance and server '
  'roles, which may name p_actor. Errors: 22023 for an unknown line or an account of another type, '
  '42501, TS404 for an unknown organization or account.';

create type accounting.account_map_line as (
  line text,
  posted_for text,
  account_id text,
  code text,
  name text,
  account_type text
);

comment on type accounting.account_map_line is
  'A line of the account map, and its account; that is null until something is posted or it is '
  'named.';
comment on column accounting.account_map_line.line is 'The line.';
comment on column accounting.account_map_line.posted_for is 'What is booked there.';
comment on column accounting.account_map_line.account_id is 'The account.';
comment on column accounting.account_map_line.code is 'Its code.';
comment on column accounting.account_map_line.name is 'Its name.';
comment on column accounting.account_map_line.account_type is
  'asset, liability, equity, income or expense; before there is one, what it will be.';

create function accounting.get_account_map(p_organization_id uuid)
returns setof accounting.account_map_line
language plpgsql
stable
set search_path = pg_catalog, pg_temp
as $$
begin
  perform private.assert_reader(p_organization_id, null);
  return query
  select
    l.line, l.posted_for, a.account_id::text, a.code::text, a.name::text,
    coalesce(a.account_type, l.account_types[1])
  from private.book_lines() with ordinality as l (line, account_types, name, posted_for, position)
  left join accounting.account_map as m
    on m.organization_id = p_organization_id and m.line = l.line
  left join accounting.accounts as a
    on a.organization_id = m.organization_id
    and a.entity_id = m.entity_id
    and a.account_id = m.account_id
  order by l.position;
end
$$;

comment on function accounting.get_account_map(uuid) is
  'Every line of what billing posts, what it is for, and its account. For owners, admins, finance '
  'and server roles. Errors: 22023, 42501, TS404.';
