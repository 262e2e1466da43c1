-- Entities and their accounts.

-- An organization is born with an entity.
create function private.open_books()
returns trigger
language plpgsql
volatile
security definer -- writes entities, which no role may write itself
set search_path = pg_catalog, pg_temp
as $$
begin
  insert into accounting.entities (organization_id, entity_id, code, name)
  values (new.id, 'entity-default', 'DEFAULT', 'Default entity');
  return null;
end
$$;

comment on function private.open_books() is
  'Trigger: gives a new organization its default entity.';

create trigger organizations_open_books after insert on tenancy.organizations
for each row execute function private.open_books();

insert into accounting.entities (organization_id, entity_id, code, name)
select
  o.id as organization_id,
  'entity-default' as entity_id,
  'DEFAULT' as code,
  'Default entity' as name
from tenancy.organizations as o;

-- Locks an organization's forest of accounts. The row is updated, not only locked: a transaction
-- with an older snapshot then fails with 40001 instead of missing another's move.
create function private.lock_forest(p_organization_id uuid)
returns void
language plpgsql
volatile
set search_path = pg_catalog, pg_temp
as $$
begin
  insert into private.account_forests as f (organization_id)
  values (p_organization_id)
  on conflict (organization_id) do update set change_count = f.change_count + 1;
end
$$;

comment on function private.lock_forest(uuid) is
  'Locks the accounts of an organization against whoever else moves one.';

-- Accounts form a forest: none is below itself.
--
-- Locks the forest where an account is moved.
create function private.keep_forest()
returns trigger
language plpgsql
volatile
set search_path = pg_catalog, pg_temp
as $$
declare
  v_above text := new.parent_account_id;
begin
  if tg_op = 'UPDATE' then
    perform private.lock_forest(new.organization_id);
  end if;
  while v_above is not null
  loop
    if v_above = new.account_id then
      perform private.reject_argument('parent_account_id', 'must not be below the account itself');
    end if;
    select a.parent_account_id into v_above
    from accounting.accounts as a
    where a.organization_id = new.organization_id and a.account_id = v_above;
  end loop;
  return new;
end
$$;

comment on function private.keep_forest() is
  'Trigger: refuses to put an account below itself. Errors: 22023.';

create trigger accounts_keep_forest
before insert or update of parent_account_id, account_id on accounting.accounts
for each row when (new.parent_account_id is not null) execute function private.keep_forest();

-- The privileged half of accounting.set_entity.
create function private.set_entity(
  p_organization_id uuid,
  p_code text,
  p_name text,
  p_metadata jsonb,
  p_entity_id text,
  p_correlation_id text,
  p_actor text
)
returns accounting.entities
language plpgsql
volatile
security definer -- writes entities and the event log, which no role may write itself
set search_path = pg_catalog, pg_temp
as $$
declare
  v_started_at constant timestamptz := private.clock_now();
  v_actor private.actor;
  v_entity accounting.entities;
begin
  perform private.assert_member(p_organization_id, array['owner', 'admin', 'finance']);
  v_actor := private.acting(p_actor);
  perform private.assert_text('p_code', p_code);
  perform private.assert_text('p_name', p_name);
  perform private.assert_object('p_metadata', p_metadata);
  if p_entity_id is not null then
    perform private.assert_text('p_entity_id', p_entity_id);
  end if;
  insert into accounting.entities as e (organization_id, entity_id, code, name, metadata)
  values (
    p_organization_id, coalesce(p_entity_id, private.uuid_v7()::text), p_code, p_name, p_metadata
  )
  on conflict (organization_id, code)
  do update set name = excluded.name, metadata = excluded.metadata
  where p_entity_id is null or e.entity_id = p_entity_id
  returning * into v_entity;
  if v_entity.entity_id is null then
    perform private.reject_argument('p_entity_id', 'must be that of the code');
  end if;
  perform private.log_change(
    p_organization_id, 'set_entity', p_correlation_id,
    jsonb_build_object('code', p_code, 'name', p_name, 'metadata', p_metadata),
    v_entity, v_actor, v_started_at
  );
  return v_entity;
exception
  when unique_violation then -- another code has the id
    perform private.reject_argument('p_entity_id', 'must not be that of another entity');
    return null;
end
$$;

comment on function private.set_entity(uuid, text, text, jsonb, text, text, text) is
  'Core of accounting.set_entity.';

-- Opens an entity, or renames it.
create function accounting.set_entity(
  p_organization_id uuid,
  p_code text,
  p_name text,
  p_metadata jsonb default '{}',
  p_entity_id text default null,
  p_correlation_id text default null,
  p_actor text default null
)
returns accounting.entities
language sql
volatile
set search_path = pg_catalog, pg_temp
as $$
  select * from private.set_entity(
    p_organization_id, p_code, p_name, p_metadata, p_entity_id, p_correlation_id, p_actor
  )
$$;

comment on function accounting.set_entity(uuid, text, text, jsonb, text, text, text) is
  'Opens an entity with a code of its own, or gives the one that has it another name and metadata; '
  'returns it. p_entity_id: its id, where it should not be made up. For owners, admins, finance '
  'and server roles, which may name p_actor. Errors: 22023, 42501, TS404 for an '
  'unknown organization.';

-- The privileged half of accounting.set_account.
create function private.set_account(
  p_organization_id uuid,
  p_code text,
  p_name text,
  p_account_type text,
  p_parent_account_id text,
  p_entity_id text,
  p_metadata jsonb,
  p_account_id text,
  p_correlation_id text,
  p_actor text
)
returns accounting.accounts
language plpgsql
volatile
security definer -- writes accounts and the event log, which no role may write itself
set search_path = pg_catalog, pg_temp
as $$
declare
  v_started_at constant timestamptz := private.clock_now();
  v_actor private.actor;
  v_account accounting.accounts;
begin
  perform private.assert_member(p_organization_id, array['owner', 'admin', 'finance']);
  v_actor := private.acting(p_actor);
  perform private.assert_text('p_code', p_code);
  perform private.assert_text('p_name', p_name);
  perform private.assert_text('p_entity_id', p_entity_id);
  perform private.assert_object('p_metadata', p_metadata);
  if (p_account_type in ('asset', 'liability', 'equity', 'income', 'expense')) is not true then
    perform private.reject_argument(
      'p_account_type', 'must be asset, liability, equity, income or expense'
    );
  end if;
  if p_account_id is not null then
    perform private.assert_text('p_account_id', p_account_id);
  end if;
  if not exists (
    select from accounting.entities as e
    where e.organization_id = p_organization_id and e.entity_id = p_entity_id
  ) then
    perform private.raise_error('TS404', jsonb_build_object('entity_id', p_entity_id));
  elsif p_parent_account_id is not null and not exists (
    select from accounting.accounts as a
    where a.organization_id = p_organization_id
      and a.entity_id = p_entity_id
      and a.account_id = p_parent_account_id
  ) then
    perform private.raise_error(
      'TS404',
      jsonb_build_object('parent_account_id', p_parent_account_id, 'entity_id', p_entity_id)
    );
  end if;

  -- Before the account itself, as whoever moves another may need it as a parent.
  perform private.lock_forest(p_organization_id);
  insert into accounting.accounts as a (
    organization_id, account_id, entity_id, code, name, account_type, parent_account_id, metadata
  ) values (
    p_organization_id, coalesce(p_account_id, private.uuid_v7()::text), p_entity_id, p_code,
    p_name, p_account_type, p_parent_account_id, p_metadata
  )
  on conflict (organization_id, code)
  do update set
    name = excluded.name,
    account_type = excluded.account_type,
    parent_account_id = excluded.parent_account_id,
    metadata = excluded.metadata
  where a.entity_id = p_entity_id and (p_account_id is null or a.account_id = p_account_id)
  returning * into v_account;
  if v_account.account_id is null then
    perform private.reject_argument('p_code', 'must not be that of another account');
  end if;
  perform private.log_change(
    p_organization_id, 'set_account', p_correlation_id,
    jsonb_build_object(
      'code', p_code, 'name', p_name, 'account_type', p_account_type, 'entity_id', p_entity_id,
      'parent_account_id', p_parent_account_id, 'metadata', p_metadata
    ),
    v_account, v_actor, v_started_at
  );
  return v_account;
exception
  when unique_violation then -- another code has the id
    perform private.reject_argument('p_account_id', 'must not be that of another account');
    return null;
end
$$;

comment on function private.set_account(
  uuid, text, text, text, text, text, jsonb, text, text, text
) is
  'Core of accounting.set_account.';

-- What an account is does not change under what was booked on it, nor under the lines of the
-- account map that are booked there.
create function private.keep_account_type()
returns trigger
language plpgsql
volatile
set search_path = pg_catalog, pg_temp
as $$
begin
  -- Locked against postings and the account map, which hold the row: none comes in between.
  perform from accounting.accounts as a
  where a.organization_id = old.organization_id and a.account_id = old.account_id
  for update;
  if exists (
    select from accounting.ledger_postings as p
    where p.organization_id = old.organization_id
      and p.entity_id = old.entity_id
      and p.account_id = old.account_id
  ) or exists (
    select from accounting.account_map as m
    inner join private.book_lines() as l on l.line = m.line
    where m.organization_id = old.organization_id
      and m.entity_id = old.entity_id
      and m.account_id = old.account_id
      and new.account_type <> all(l.account_types)
  ) then
    perform private.raise_error(
      '23001', jsonb_build_object('account_id', old.account_id, 'account_type', old.account_type)
    );
  elsif current_setting('transaction_isolation') in ('repeatable read', 'serializable') then
    -- A posting does not update the account: one that an older snapshot misses raises nothing.
    perform private.raise_error(
      '40001',
      jsonb_build_object(
        'account_id', old.account_id,
        'transaction_isolation', current_setting('transaction_isolation')
      )
    );
  end if;
  return new;
end
$$;

comment on function private.keep_account_type() is
  'Trigger: an account with postings stays of its type, and one in the account map of a type that '
  'its lines take. Above READ COMMITTED no type changes. Errors: 23001, 40001.';

create trigger accounts_keep_account_type before update of account_type on accounting.accounts
for each row when (old.account_type <> new.account_type)
execute function private.keep_account_type();

-- Opens an account, renames or moves it.
create function accounting.set_account(
  p_organization_id uuid,
  p_code text,
  p_name text,
  p_account_type text,
  p_parent_account_id text default null,
  p_entity_id text default 'entity-default',
  p_metadata jsonb default '{}',
  p_account_id text default null,
  p_correlation_id text default null,
  p_actor text default null
)
returns accounting.accounts
language sql
volatile
set search_path = pg_catalog, pg_temp
as $$
  select * from private.set_account(
    p_organization_id, p_code, p_name, p_account_type, p_parent_account_id, p_entity_id,
    p_metadata, p_account_id, p_correlation_id, p_actor
  )
$$;

comment on function accounting.set_account(
  uuid, text, text, text, text, text, jsonb, text, text, text
) is
  'Opens an account with a code of its own, or gives the one that has it another name, type, '
  'parent and metadata; returns it. p_account_type: asset, liability, equity, income or expense. '
  'p_account_id: its id, where it should not be made up. For owners, admins, finance and server '
  'roles, which may name p_actor. Errors: 22023, also for a parent below the account, 42501, TS404 '
  'for an unknown organization, entity or parent, 23001 for another type once it has postings, or '
  'for one that its lines of the account map do not take, 40001 for any other type above READ '
  'COMMITTED, where a posting could be missed.';
