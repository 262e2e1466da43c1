-- Monthly partitions of ledgers that are partitioned by the time in their id.
--
-- A partition inherits neither row-level security nor statement triggers from its parent, and one
-- in an exposed schema would receive the default grants to anon. So partitions live here, each
-- with its own lock on the door, and only create_partition() makes them. There is no default
-- partition: it would block creating and detaching. Months are months in UTC.
create table private.partitioned_ledgers (
  parent text not null,
  constraint partitioned_ledgers_pkey primary key (parent)
);

alter table private.partitioned_ledgers enable row level security;

comment on table private.partitioned_ledgers is
  'Ledgers partitioned by month. What two creators of partitions queue on.';
comment on column private.partitioned_ledgers.parent is 'Qualified name of the parent table.';

-- The name of the partition of one month.
create function private.partition_name(p_parent regclass, p_time timestamptz)
returns text
language plpgsql
stable
set search_path = pg_catalog, pg_temp
as $$
begin
  return 'private.' || split_part(p_parent::text, '.', 2)
    || to_char(p_time at time zone 'UTC', '_YYYY_MM');
end
$$;

comment on function private.partition_name(regclass, timestamptz) is
  'Qualified name of the partition that holds rows of the month of p_time (UTC).';

-- Makes the partition of one month, unless it exists.
--
-- Locks: partitioned_ledgers until the transaction ends, so two creators never collide. The table
-- rather than a row: a session that waited for a table lock learns of what was created meanwhile,
-- one that waited for a row goes on believing that the partition is missing.
-- The partition is built apart and attached, which does not wait for readers or writers of the
-- parent; "create ... partition of" would. Calling it again does nothing.
create function private.create_partition(p_parent regclass, p_month date)
returns text
language plpgsql
volatile
set search_path = pg_catalog, pg_temp
as $$
declare
  v_start timestamptz := date_trunc('month', p_month::timestamp) at time zone 'UTC';
  v_end timestamptz :=
    (date_trunc('month', p_month::timestamp) + interval '1 month') at time zone 'UTC';
  v_name text := private.partition_name(p_parent, v_start);
begin
  lock table private.partitioned_ledgers in exclusive mode;
  if not exists (
    select from private.partitioned_ledgers as l where l.parent::regclass = p_parent
  ) then
    perform private.reject_argument('p_parent', 'must be a registered partitioned ledger');
  end if;
  if to_regclass(v_name) is not null then
    return v_name;
  end if;

  execute format(
    'create table %s (like %s including defaults including constraints)', v_name, p_parent
  );
  execute format(
    'revoke all on table %s from public, anon, authenticated, service_role, app_user, '
    'tallystick_reader, tallystick_writer', v_name
  );
  execute format('alter table %s enable row level security', v_name);
  execute format('create policy nobody on %s for all to public using (false)', v_name);
  execute format(
    'create trigger reject_truncate before truncate on %s '
    'for each statement execute function private.reject_mutation()', v_name
  );
  execute format(
    'comment on table %s is %L', v_name,
    format('Partition of %s for %s. Read the parent.', p_parent, to_char(p_month, 'YYYY-MM'))
  );
  execute format(
    'alter table %s attach partition %s for values from (%L) to (%L)',
    p_parent, v_name, private.uuid_v7_floor(v_start), private.uuid_v7_floor(v_end)
  );
  return v_name;
end
$$;

comment on function private.create_partition(regclass, date) is
  'Makes the partition of the month of p_month (UTC) and returns its name; does nothing where it '
  'exists. Errors: 22023 for a table that is no partitioned ledger.';

-- Makes the partition a row of the given time will go to, if somebody forgot to.
--
-- Opening the partition, as asking for its size does, also makes this session notice partitions
-- that others attached since its transaction began; looking up the name would not.
create function private.ensure_partition(p_parent regclass, p_time timestamptz)
returns text
language plpgsql
volatile
set search_path = pg_catalog, pg_temp
as $$
declare
  v_name text := private.partition_name(p_parent, p_time);
begin
  if pg_relation_size(to_regclass(v_name)) is null then
    return private.create_partition(p_parent, (p_time at time zone 'UTC')::date);
  end if;
  return v_name;
end
$$;

-- Makes what is missing of a month of all ledgers.
create function private.ensure_month(p_time timestamptz)
returns void
language plpgsql
volatile
set search_path = pg_catalog, pg_temp
as $$
begin
  perform private.ensure_partition(l.parent::regclass, p_time)
  from private.partitioned_ledgers as l
  order by l.parent;
end
$$;

comment on function private.ensure_month(timestamptz) is
  'Makes the partitions of the month of p_time (UTC) of every partitioned ledger, if missing.';

comment on function private.ensure_partition(regclass, timestamptz) is
  'Makes the partition of the month of p_time (UTC) if it is missing, and returns its name: '
  'neither a forgotten maintain() nor a test clock refuses spend.';
