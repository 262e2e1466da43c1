-- Proof that the books agree: every derived figure against the ledger it was derived from.

-- The oldest transaction that may have written something since the last checkpoint: null before the
-- first, and on a server that was restored since, whose transactions count anew.
create function private.unchecked_from()
returns xid8
language plpgsql
stable
set search_path = pg_catalog, pg_temp
as $$
begin
  return (
    select s.xact_below
    from audit.checkpoints as c
    inner join audit.seals as s on s.seal = c.seal
    inner join audit.seal_epochs as e on e.epoch = s.epoch
    where e.system_identifier = (select x.system_identifier from pg_control_system() as x)
      and e.epoch = (select max(x.epoch) from audit.seal_epochs as x)
    order by c.seal desc
    limit 1
  );
end
$$;

comment on function private.unchecked_from() is
  'All that older transactions wrote was there at the last checkpoint; null where there is none.';

-- Whose figures may have changed since: all with a row in a sealed ledger, and all who hold money.
create function private.organizations_since(p_since xid8)
returns uuid[]
language plpgsql
stable
set search_path = pg_catalog, pg_temp
as $$
declare
  v_organizations uuid[];
begin
  execute (
    select
      'select array_agg(x.id) from ('
      || string_agg(
        format('select %I as id from %s where xact_id >= $1', l.organization_column, l.ledger),
        ' union '
      )
      || ' union select h.organization_id from metering.holds as h) as x'
    from audit.sealed_ledgers as l
  )
  into v_organizations
  using p_since;
  return coalesce(v_organizations, '{}');
end
$$;

comment on function private.organizations_since(xid8) is
  'Organizations with a row in a sealed ledger whose transaction is not older than p_since, and '
  'those with holds.';

-- Compares every derived figure with the ledger it was derived from. Changes nothing, locks
-- nothing.
create function audit.verify_integrity(
  p_organization_id uuid default null,
  p_full boolean default false
)
returns setof audit.finding
language plpgsql
stable
set search_path = pg_catalog, pg_temp
as $$
declare
  v_since xid8;
  v_organizations uuid[];
begin
  if p_full is null then
    perform private.reject_argument('p_full', 'must be true or false');
  end if;
  -- A person who is their own tenant has a journal, and no organization.
  if p_organization_id is not null and not exists (
    select from private.ledger_heads as h where h.organization_id = p_organization_id
  ) then
    perform private.assert_member(p_organization_id);
  end if;
  v_since := case when not p_full then private.unchecked_from() end;
  v_organizations := case
    when p_organization_id is not null then array[p_organization_id]
    when v_since is not null then private.organizations_since(v_since)
  end;
  return query
  select *
  from (
    select * from private.verify_metering(v_organizations, v_since)
    union all
    select * from private.verify_billing(v_organizations, v_since)
    union all
    select * from private.verify_journal(v_organizations, v_since)
    union all
    select * from private.verify_ventures(v_organizations, v_since)
    union all
    select * from private.verify_accounting(v_organizations, v_since)
    union all
    select * from private.verify_approvals(v_organizations, v_since)
  ) as f
  order by f.check_name, f.organization_id, f.subject;
end
$$;

comment on function audit.verify_integrity(uuid, boolean) is
  'One row per broken invariant, none when all is well; of one organization, or of all. Looks at '
  'what was recorded since the last checkpoint and at the figures of those it was recorded for; '
  'with p_full, or before the first checkpoint, at everything. For server roles. Errors: 22023, '
  'TS404 for an unknown organization.';

-- Checks the books and, where nothing is wrong, notes that they were right as of the newest seal.
create function audit.make_checkpoint(p_full boolean default false)
returns setof audit.finding
language plpgsql
volatile
security definer -- notes checkpoints, which no role may write itself
set search_path = pg_catalog, pg_temp
as $$
declare
  -- Read first: whatever is sealed while the check goes on is looked at by the next one.
  v_seal constant bigint := (select max(s.seal) from audit.seals as s);
begin
  return query select * from audit.verify_integrity(null, p_full);
  if not found and v_seal is not null then
    insert into audit.checkpoints (seal) values (v_seal) on conflict (seal) do nothing;
  end if;
end
$$;

comment on function audit.make_checkpoint(boolean) is
  'Returns what verify_integrity finds; where that is nothing, the next verify_integrity begins at '
  'the newest seal. For operators. Errors: 22023.';
