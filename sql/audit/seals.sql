-- How rows become leaves, leaves a root, and roots a seal.

-- Root of a Merkle tree over hashes (RFC 6962, 2.1: an odd one moves up as it is, that of no leaves
-- is the hash of nothing). A node is hashed with another prefix than a leaf, so that neither can
-- pass for the other.
create function private.merkle_root(p_hashes bytea[])
returns bytea
language plpgsql
immutable
set search_path = pg_catalog, pg_temp
as $$
declare
  v_hashes bytea[] := p_hashes;
begin
  while cardinality(v_hashes) > 1 loop
    v_hashes := array(
      select
        case count(*)
          when 2 then sha256(decode('01', 'hex') || string_agg(h.hash, '' order by h.position))
          else (array_agg(h.hash))[1]
        end
      from unnest(v_hashes) with ordinality as h (hash, position)
      group by (h.position - 1) / 2
      order by (h.position - 1) / 2
    );
  end loop;
  return coalesce(v_hashes[1], sha256(''));
end
$$;

comment on function private.merkle_root(bytea[]) is
  'Root of a Merkle tree over SHA-256 hashes, as in RFC 6962.';

-- Puts a ledger into the registry, or what it has gained since: by its primary key, the columns it
-- has today but for those that may be edited. Its rows must say in xact_id which transaction wrote
-- them. Rows that are there already are sealed with the next seal. Which columns may be edited, and
-- how long rows are kept, is said once: who could change it later could alter or remove what was
-- sealed before.
create function private.seal_ledger(
  p_ledger regclass,
  p_time_column name default null,
  p_erasable name[] default '{}',
  p_editable name[] default '{}',
  p_kept_for interval default null
)
returns void
language plpgsql
volatile
set search_path = pg_catalog, pg_temp
as $$
declare
  v_ledger constant audit.sealed_ledgers := (
    select l from audit.sealed_ledgers as l where to_regclass(l.ledger) = p_ledger
  );
  v_editable constant name[] := coalesce(v_ledger.editable_columns, p_editable);
  v_key name[] := array(
    select a.attname
    from pg_index as i
    cross join lateral unnest(i.indkey::smallint[]) with ordinality as k (number, position)
    inner join pg_attribute as a on a.attrelid = i.indrelid and a.attnum = k.number
    where i.indrelid = p_ledger and i.indisprimary
    order by k.position
  );
  v_columns name[] := array(
    select a.attname
    from pg_attribute as a
    where a.attrelid = p_ledger
      and a.attnum > 0
      and not a.attisdropped
      and a.attname <> all(v_editable)
    order by a.attnum
  );
begin
  if (
    v_key[1] in ('organization_id', 'org_id')
    and array_remove(array['xact_id', p_time_column], null) <@ v_columns
  ) is not true then
    perform private.reject_argument(
      'p_ledger', 'must have a key led by the organization, an xact_id and the time column'
    );
  end if;
  if not p_editable <@ v_editable then
    perform private.reject_argument('p_editable', 'must be what the ledger joined with');
  elsif v_ledger.ledger is not null
    and v_ledger.kept_for is distinct from coalesce(p_kept_for, v_ledger.kept_for) then
    perform private.reject_argument('p_kept_for', 'must be what the ledger joined with');
  end if;
  insert into audit.sealed_ledgers as l (
    ledger, organization_column, key_columns, time_column, sealed_columns, erasable_columns,
    editable_columns, kept_for
  )
  select
    n.nspname || '.' || c.relname, v_key[1], v_key[2:], p_time_column, v_columns, p_erasable,
    v_editable, p_kept_for
  from pg_class as c
  inner join pg_namespace as n on n.oid = c.relnamespace
  where c.oid = p_ledger
  on conflict (ledger) do update
  set
    sealed_columns = l.sealed_columns || array(
      select x.name
      from unnest(excluded.sealed_columns) with ordinality as x (name, position)
      where x.name <> all(l.sealed_columns)
      order by x.position
    ),
    erasable_columns = l.erasable_columns || array(
      select x.name from unnest(excluded.erasable_columns) as x (name)
      where x.name <> all(l.sealed_columns)
    );
end
$$;

comment on function private.seal_ledger(regclass, name, name[], name[], interval) is
  'Lets a ledger join the seals: p_time_column says when a row was written, if one does; '
  'p_erasable enters as a salted hash, p_editable may change and stays outside; '
  'p_kept_for is how long a row is kept at least, null for ever. Once more after columns were '
  'added to it, with null in the rows that are there. Errors: 22023 for a table without a key led '
  'by its organization or without xact_id, and for another p_editable or p_kept_for '
  'than it joined with.';

-- What tells a row of a ledger apart, as SQL over a row named t.
create function private.row_id_expression(p_ledger audit.sealed_ledgers)
returns text
language plpgsql
immutable
set search_path = pg_catalog, pg_temp
as $$
begin
  return (
    select string_agg(format('t.%I::text', k.name), ' || ''/'' || ' order by k.position)
    from unnest(p_ledger.key_columns) with ordinality as k (name, position)
  );
end
$$;

comment on function private.row_id_expression(audit.sealed_ledgers) is
  'SQL text: the row_id of a row named t.';

-- The leaf of a row, as SQL over a row named t and the SQL of its salt.
--
-- A leaf is over the ledger, what of it is the time, what may be edited, and name=value of each
-- column that has one, written as an array: its quotes keep a value from passing for two.
-- Values have one spelling each, whatever the session's settings: whoever runs this sets time zone
-- and date style.
create function private.leaf_expression(p_ledger audit.sealed_ledgers, p_salt text)
returns text
language plpgsql
stable
set search_path = pg_catalog, pg_temp
as $$
declare
  v_values text;
begin
  select
    string_agg(
      case
        when c.name = any(p_ledger.erasable_columns)
          then format(
            '%L || encode(sha256(convert_to(%s::text || t.%I::text, ''UTF8'')), ''hex'')',
            c.name || '#', p_salt, c.name
          )
        when coalesce(nullif(y.typbasetype, 0), y.oid) = 'numeric'::regtype
          then format('%L || trim_scale(t.%I)::text', c.name || '=', c.name)
        else format('%L || t.%I::text', c.name || '=', c.name)
      end,
      ', ' order by c.position
    )
  into v_values
  from unnest(p_ledger.sealed_columns) with ordinality as c (name, position)
  inner join pg_attribute as a
    on a.attrelid = p_ledger.ledger::regclass and a.attname = c.name
  inner join pg_type as y on y.oid = a.atttypid;
  return format(
    'sha256(decode(''00'', ''hex'') '
    '|| convert_to(array_remove(array[%L, %L, %L, %s], null)::text, ''UTF8''))',
    p_ledger.ledger, coalesce(p_ledger.time_column, ''), p_ledger.editable_columns::text, v_values
  );
end
$$;

comment on function private.leaf_expression(audit.sealed_ledgers, text) is
  'SQL text: the leaf of a row named t with the given salt.';

-- What a root adds to the tree of its seal.
create function private.root_leaf(p_root audit.seal_roots)
returns bytea
language plpgsql
immutable
set search_path = pg_catalog, pg_temp
set timezone = 'UTC'
set datestyle = 'ISO, YMD'
as $$
begin
  return sha256(
    decode('00', 'hex') || convert_to(
      array[
        p_root.organization_id::text, p_root.ledger, p_root.leaf_count::text,
        encode(p_root.root, 'hex'), p_root.kept_until::text
      ]::text,
      'UTF8'
    )
  );
end
$$;

comment on function private.root_leaf(audit.seal_roots) is
  'SHA-256 over a row of seal_roots: a leaf in the tree of its seal.';

-- The link of the chain that a seal is.
create function private.seal_hash(p_seal audit.seals)
returns text
language plpgsql
immutable
set search_path = pg_catalog, pg_temp
set timezone = 'UTC'
set datestyle = 'ISO, YMD'
as $$
begin
  return encode(
    sha256(
      decode('02', 'hex') || convert_to(
        array[
          p_seal.seal::text, p_seal.epoch::text, p_seal.system_identifier::text,
          p_seal.is_catching_up::text, p_seal.xact_below::text, p_seal.xact_next::text,
          p_seal.xact_sealed::text, p_seal.joining::text, p_seal.joined::text,
          p_seal.leaf_count::text, p_seal.root, p_seal.previous, p_seal.sealed_at::text
        ]::text,
        'UTF8'
      )
    ),
    'hex'
  );
end
$$;

comment on function private.seal_hash(audit.seals) is
  'SHA-256, in hexadecimal, over all columns of a seal but its hash.';

-- The epoch of this server; begins one on a server that has not sealed here. Locks the chain.
create function private.enter_epoch()
returns audit.seal_epochs
language plpgsql
volatile
set search_path = pg_catalog, pg_temp
as $$
declare
  v_epoch audit.seal_epochs;
  v_server constant bigint := (select c.system_identifier from pg_control_system() as c);
begin
  lock table audit.seals in exclusive mode;
  -- Updated, not only read: a sealer with an older snapshot than the last seal then gets 40001.
  update audit.seal_epochs as e
  set is_caught_up = e.is_caught_up
  where e.epoch = (select max(x.epoch) from audit.seal_epochs as x)
  returning * into v_epoch;
  if v_epoch.system_identifier is distinct from v_server then
    insert into audit.seal_epochs (epoch, system_identifier)
    values (coalesce(v_epoch.epoch, 0) + 1, v_server)
    returning * into v_epoch;
  end if;
  return v_epoch;
end
$$;

comment on function private.enter_epoch() is
  'The epoch of this server, begun if need be, with the chain locked for its next seal.';

-- Makes the leaves of up to p_limit rows of a ledger and their roots; returns how many.
--
-- Once caught up it goes by transaction: nothing below xact_below can still commit, so going up to
-- it passes over no row. A row that has its leaf is not given another.
create function private.make_leaves(
  p_ledger audit.sealed_ledgers,
  p_seal audit.seals,
  p_limit integer
)
returns integer
language plpgsql
volatile
set search_path = pg_catalog, pg_temp
set timezone = 'UTC'
set datestyle = 'ISO, YMD'
set intervalstyle = 'postgres'
as $$
declare
  v_is_caught_up constant boolean := p_ledger.is_caught_up and not p_seal.is_catching_up;
  v_count integer;
  v_last xid8;
begin
  execute format(
    $sql$
    with taken as materialized (
      select t._organization_id, t._row_id, t.xact_id, t._salt, %1$s as leaf
      from (
        select t.*, t.%2$I as _organization_id, %3$s as _row_id, %4$s as _salt
        from %5$s as t
        where %6$s
          and not exists (
            select from audit.seal_leaves as l
            where l.organization_id = t.%2$I and l.ledger = %5$L and l.row_id = %3$s
          )
        order by t.xact_id
        limit $3
      ) as t
    ),

    leaves as (
      insert into audit.seal_leaves (organization_id, ledger, row_id, seal, salt, leaf)
      select k._organization_id, %5$L, k._row_id, $4, k._salt, k.leaf from taken as k
    ),

    roots as (
      insert into audit.seal_roots (organization_id, ledger, seal, leaf_count, root, kept_until)
      select
        k._organization_id, %5$L, $4, count(*),
        private.merkle_root(array_agg(k.leaf order by k._row_id collate "C")), $5
      from taken as k
      group by k._organization_id
    )

    select count(*), max(k.xact_id) from taken as k
    $sql$,
    private.leaf_expression(p_ledger, 't._salt'),
    p_ledger.organization_column,
    private.row_id_expression(p_ledger),
    case cardinality(p_ledger.erasable_columns)
      when 0 then 'null::uuid' else 'gen_random_uuid()'
    end,
    p_ledger.ledger,
    case when v_is_caught_up then 't.xact_id >= $1 and t.xact_id < $2' else 'true' end
  )
  into v_count, v_last
  using
    p_ledger.sealed_below, p_seal.xact_below, p_limit, p_seal.seal,
    p_seal.sealed_at + p_ledger.kept_for;

  update audit.sealed_ledgers as l
  set
    sealed_below = case
      when v_count < p_limit then p_seal.xact_below
      when v_is_caught_up then v_last
      else '0'
    end
  where l.ledger = p_ledger.ledger;
  return v_count;
end
$$;

comment on function private.make_leaves(audit.sealed_ledgers, audit.seals, integer) is
  'Makes the leaves of up to p_limit rows of a ledger in a seal, and their roots.';

-- Seals what was committed since the last seal.
--
-- Locks: the chain, against other sealers; nothing that spending touches. Called again: seals what
-- came meanwhile, or does nothing.
create function audit.seal_ledgers(p_limit integer default 100000)
returns setof audit.seals
language plpgsql
volatile
security definer -- writes seals, which no role may write itself
set search_path = pg_catalog, pg_temp
as $$
declare
  v_epoch audit.seal_epochs;
  v_snapshot pg_snapshot;
  v_last audit.seals;
  v_seal audit.seals;
  v_ledger audit.sealed_ledgers;
  v_count integer;
  v_is_whole boolean := true;
begin
  if (p_limit between 1 and 10000000) is not true then
    perform private.reject_argument('p_limit', 'must be from 1 to 10000000');
  end if;
  v_epoch := private.enter_epoch();
  -- Before the snapshot: a row that this seal cannot see may be written while it is being made, and
  -- its time is held against sealed_at. An older snapshot is as old as the transaction, at most.
  v_seal.sealed_at := private.clock_now();
  if current_setting('transaction_isolation') <> 'read committed' then
    v_seal.sealed_at := least(v_seal.sealed_at, now());
  end if;
  v_snapshot := pg_current_snapshot();
  select * into v_last from audit.seals as s order by s.seal desc limit 1;

  v_seal.seal := coalesce(v_last.seal, 0) + 1;
  v_seal.epoch := v_epoch.epoch;
  v_seal.system_identifier := v_epoch.system_identifier;
  v_seal.is_catching_up := not v_epoch.is_caught_up;
  v_seal.xact_below := pg_snapshot_xmin(v_snapshot);
  v_seal.xact_next := pg_snapshot_xmax(v_snapshot);
  v_seal.joining := '{}';
  v_seal.joined := '{}';
  v_seal.leaf_count := 0;
  for v_ledger in select * from audit.sealed_ledgers as l order by l.ledger collate "C" loop
    v_count := private.make_leaves(v_ledger, v_seal, p_limit);
    v_seal.leaf_count := v_seal.leaf_count + v_count;
    v_is_whole := v_is_whole and v_count < p_limit;
    if not v_ledger.is_caught_up then
      v_seal.joining := v_seal.joining || v_ledger.ledger::text;
      if v_count < p_limit then
        v_seal.joined := v_seal.joined || v_ledger.ledger::text;
      end if;
    end if;
  end loop;
  if v_seal.is_catching_up and v_is_whole then
    update audit.seal_epochs as e set is_caught_up = true where e.epoch = v_epoch.epoch;
  end if;
  -- Only the chain can prove where an epoch began, so each but the first begins with a seal.
  if v_seal.leaf_count = 0 and coalesce(v_last.epoch, v_seal.epoch) = v_seal.epoch then
    return;
  end if;
  update audit.sealed_ledgers as l set is_caught_up = true where l.ledger = any(v_seal.joined);
  v_seal.xact_sealed := (select min(l.sealed_below) from audit.sealed_ledgers as l);

  select
    encode(
      private.merkle_root(
        array_agg(private.root_leaf(r) order by r.organization_id, r.ledger::text collate "C")
      ),
      'hex'
    )
  into v_seal.root
  from audit.seal_roots as r
  where r.seal = v_seal.seal;
  v_seal.previous := coalesce(v_last.hash, repeat('0', 64));
  v_seal.hash := private.seal_hash(v_seal);
  insert into audit.seals values (v_seal.*);
  return next v_seal;
end
$$;

comment on function audit.seal_ledgers(integer) is
  'Seals the rows of all ledgers in the registry that were committed since the last seal, at most '
  'p_limit of each, and returns the seal; nothing where there are none, but for the first seal of '
  'another server. What transactions under '
  'way have written waits for the next. Blocks no spend. For operators. Errors: 22023.';

-- The ledgers of the rooms before this one.
select private.seal_ledger('public.ai_usage_ledger', 'settled_at', array['tags']);
select private.seal_ledger('audit.event_log', 'event_timestamp', array['error_message']);
select private.seal_ledger('audit.tombstones', 'removed_at');
