-- What seals prove: every sealed row is what it was, none is missing, none came in behind them.

create type audit.seal_finding as (
  check_name text,
  ledger text,
  organization_id uuid,
  row_id text,
  seal bigint,
  expected text,
  actual text
);

comment on type audit.seal_finding is
  'Something that was altered: which check found it, in which ledger, whose row, in which seal.';
comment on column audit.seal_finding.check_name is 'Which check.';
comment on column audit.seal_finding.ledger is
  'In which ledger, as schema.table; null for the chain itself.';
comment on column audit.seal_finding.organization_id is 'Whose row; null for the chain itself.';
comment on column audit.seal_finding.row_id is 'Which row; null for a root or the chain.';
comment on column audit.seal_finding.seal is 'In which seal; null for a row that has none.';
comment on column audit.seal_finding.expected is 'What was sealed.';
comment on column audit.seal_finding.actual is 'What is there.';

-- How far the clock of a row may lag behind the seals made before its transaction began to write:
-- a call reads the clock first, and may then wait for a lock.
create function private.seal_tolerance()
returns interval
language sql
immutable
set search_path = pg_catalog, pg_temp
as $$
  select interval '5 minutes'
$$;

comment on function private.seal_tolerance() is
  'How long before a seal a row may say it was written whose transaction began after it.';

-- The rows of one ledger against their leaves. p_epoch is that of this server, or null where it has
-- not sealed here, or not yet all that came with a dump or was there when the ledger joined: then
-- rows without a leaf prove nothing.
create function private.verify_leaves(
  p_ledger audit.sealed_ledgers,
  p_organization_id uuid,
  p_epoch integer
)
returns setof audit.seal_finding
language plpgsql
stable
set search_path = pg_catalog, pg_temp
set timezone = 'UTC'
set datestyle = 'ISO, YMD'
set intervalstyle = 'postgres'
as $$
begin
  return query execute format(
    $sql$
    with compared as (
      select
        coalesce(l.organization_id, t._organization_id) as organization_id,
        coalesce(l.row_id, t._row_id) as row_id,
        l.seal,
        l.leaf,
        case when l.leaf is not null then %1$s end as present,
        t.xact_id,
        %2$s as written_at,
        row_number() over (
          partition by t._organization_id, t._row_id collate "C"
        ) > 1 and t.xact_id is not null as is_double
      from (
        select x.* from audit.seal_leaves as x
        where x.ledger = %3$L and ($1 is null or x.organization_id = $1)
      ) as l
      full join (
        select t.*, t.%4$I as _organization_id, %5$s as _row_id
        from %3$s as t
        where $1 is null or t.%4$I = $1
      ) as t on t._organization_id = l.organization_id and t._row_id = l.row_id
    ),

    -- Rows are sealed in the order of their transactions: up to which one each seal had come.
    passed as (
      select
        n.seal, n.epoch,
        max(max(c.xact_id)) over (partition by n.epoch order by n.seal) as reached,
        max(max(c.xact_id)) over (
          partition by n.epoch order by n.seal rows between unbounded preceding and 1 preceding
        ) as reached_before
      from compared as c
      inner join audit.seals as n on n.seal = c.seal
      where not n.is_catching_up and %3$L <> all(n.joining) and c.leaf = c.present
      group by n.seal, n.epoch
    ),

    -- And what all ledgers had been sealed up to, however long this one was quiet.
    complete as (
      select
        n.seal, n.is_catching_up or %3$L = any(n.joining) as is_catching_up, n.epoch,
        max(n.xact_sealed) over (
          partition by n.epoch order by n.seal rows between unbounded preceding and 1 preceding
        ) as reached_before
      from audit.seals as n
    ),

    checked as (
      select
        c.*,
        case
          when c.xact_id is null then 'sealed_row_is_there'
          when c.is_double then 'row_is_there_once'
          when c.leaf <> c.present then 'row_is_what_was_sealed'
          when c.leaf is null and $2 is null or n.is_catching_up then null
          when c.xact_id < case
            when c.leaf is not null then greatest(p.reached_before, n.reached_before)
            else greatest(
              $3,
              (select max(x.reached) from passed as x where x.epoch = $2),
              (select max(x.xact_sealed) from audit.seals as x where x.epoch = $2)
            )
          end then 'row_came_before_its_seal'
          when c.leaf is null and c.xact_id >= $4 and c.xact_id is distinct from $5
            then 'transaction_of_row_has_begun'
          when c.written_at < (
            select e.sealed_at - private.seal_tolerance()
            from audit.seals as e
            where e.epoch = coalesce(n.epoch, $2) and e.xact_next <= c.xact_id
            order by e.xact_next desc, e.seal desc
            limit 1
          ) then 'row_was_written_when_it_says'
        end as check_name
      from compared as c
      left join complete as n on n.seal = c.seal
      left join passed as p on p.seal = c.seal
    )

    select
      c.check_name, %3$L, c.organization_id, c.row_id, c.seal,
      coalesce(encode(c.leaf, 'hex'), 'nothing'),
      case c.check_name
        when 'sealed_row_is_there' then 'nothing'
        when 'row_was_written_when_it_says' then c.written_at::text
        when 'row_came_before_its_seal' then 'a row'
        when 'transaction_of_row_has_begun' then 'transaction ' || c.xact_id::text
        when 'row_is_there_once' then 'another'
        else encode(c.present, 'hex')
      end
    from checked as c
    where c.check_name is not null
      and not (
        -- Removed under retention: not before its time, and not at a time that was yet to come.
        c.check_name = 'sealed_row_is_there' and exists (
          select
          from audit.tombstones as r
          inner join audit.seal_roots as o
            on o.organization_id = r.organization_id and o.ledger = r.ledger and o.seal = c.seal
          left join audit.seal_leaves as l
            on l.organization_id = r.organization_id
              and l.ledger = 'audit.tombstones'
              and l.row_id = r.ledger || '/' || r.row_id
          left join audit.seals as n on n.seal = l.seal
          where r.organization_id = c.organization_id
            and r.ledger = %3$L
            and r.row_id::text = c.row_id
            and r.removed_at >= o.kept_until
            and r.removed_at <= coalesce(
              n.sealed_at + private.seal_tolerance(), private.clock_now()
            )
        )
      )
    $sql$,
    private.leaf_expression(p_ledger, 'l.salt'),
    coalesce('t.' || quote_ident(p_ledger.time_column), 'null::timestamptz'),
    p_ledger.ledger,
    p_ledger.organization_column,
    private.row_id_expression(p_ledger)
  )
  using
    p_organization_id, p_epoch, p_ledger.sealed_below, pg_snapshot_xmax(pg_current_snapshot()),
    pg_current_xact_id_if_assigned();
end
$$;

comment on function private.verify_leaves(audit.sealed_ledgers, uuid, integer) is
  'The rows of one ledger against their leaves, for audit.verify_seals.';

-- Leaves against roots, roots against seals, seals against one another.
create function private.verify_chain(p_organization_id uuid)
returns setof audit.seal_finding
language plpgsql
stable
set search_path = pg_catalog, pg_temp
set timezone = 'UTC'
as $$
begin
  return query
  select
    'root_is_of_its_leaves', coalesce(r.ledger, l.ledger)::text,
    coalesce(r.organization_id, l.organization_id), null::text, coalesce(r.seal, l.seal),
    format('%s leaves, %s', coalesce(r.leaf_count, 0), encode(r.root, 'hex')),
    format('%s leaves, %s', coalesce(l.leaf_count, 0), encode(l.root, 'hex'))
  from (
    select x.* from audit.seal_roots as x
    where p_organization_id is null or x.organization_id = p_organization_id
  ) as r
  full join (
    select
      x.organization_id, x.ledger, x.seal, count(*) as leaf_count,
      private.merkle_root(array_agg(x.leaf order by x.row_id collate "C")) as root
    from audit.seal_leaves as x
    where p_organization_id is null or x.organization_id = p_organization_id
    group by x.organization_id, x.ledger, x.seal
  ) as l
    on l.organization_id = r.organization_id and l.ledger = r.ledger and l.seal = r.seal
  where (r.root, r.leaf_count) is distinct from (l.root, l.leaf_count);

  return query
  select
    'seal_is_of_its_roots', null::text, null::uuid, null::text, coalesce(s.seal, r.seal),
    format('%s leaves, %s', coalesce(s.leaf_count, 0), s.root),
    format('%s leaves, %s', coalesce(r.leaf_count, 0), r.root)
  from audit.seals as s
  full join (
    select
      x.seal, sum(x.leaf_count) as leaf_count,
      encode(
        private.merkle_root(
          array_agg(private.root_leaf(x) order by x.organization_id, x.ledger::text collate "C")
        ),
        'hex'
      ) as root
    from audit.seal_roots as x
    group by x.seal
  ) as r on r.seal = s.seal
  where (s.root::text, s.leaf_count) is distinct from (
    coalesce(r.root, encode(private.merkle_root('{}'), 'hex')), coalesce(r.leaf_count, 0)
  );

  return query
  select
    'seals_are_a_chain', null::text, null::uuid, null::text, c.seal,
    format('%s after %s', c.computed, c.before_it), format('%s after %s', c.hash, c.previous)
  from (
    select
      s.seal, s.hash::text as hash, s.previous::text as previous, private.seal_hash(s) as computed,
      coalesce(lag(s.hash) over (order by s.seal), repeat('0', 64))::text as before_it,
      row_number() over (order by s.seal) as position
    from audit.seals as s
  ) as c
  where (c.hash, c.previous, c.seal) is distinct from (c.computed, c.before_it, c.position);

  -- A column nobody put into the registry, or took out of it, could hold anything.
  return query
  select
    'column_is_sealed_or_editable', l.ledger::text, null::uuid, null::text, null::bigint,
    s.name::text, a.attname::text
  from audit.sealed_ledgers as l
  cross join lateral unnest(l.sealed_columns || l.editable_columns) as s (name)
  full join (
    select t.ledger, x.attname
    from audit.sealed_ledgers as t
    inner join pg_attribute as x on x.attrelid = to_regclass(t.ledger)
    where x.attnum > 0 and not x.attisdropped
  ) as a on a.ledger = l.ledger and a.attname = s.name
  where s.name is null or a.attname is null;

  -- The registry can be edited; what was sealed by it cannot.
  return query
  select
    'ledger_keeps_rows_as_it_did', r.ledger::text, r.organization_id, null::text, r.seal,
    r.kept_until::text, (s.sealed_at + l.kept_for)::text
  from audit.seal_roots as r
  inner join audit.seals as s on s.seal = r.seal
  inner join audit.sealed_ledgers as l on l.ledger = r.ledger
  where (p_organization_id is null or r.organization_id = p_organization_id)
    and r.kept_until is distinct from s.sealed_at + l.kept_for;

  -- What catches up takes whatever it finds, so it may come once, and first, on each server.
  return query
  select
    'server_catches_up_once', null::text, null::uuid, null::text, c.seal,
    format('after epoch %s of server %s', c.last_epoch, c.last_server),
    format('epoch %s of server %s', c.epoch, c.system_identifier)
  from (
    select
      s.seal, s.epoch, s.system_identifier, s.is_catching_up,
      lag(s.epoch) over (order by s.seal) as last_epoch,
      lag(s.system_identifier) over (order by s.seal) as last_server,
      lag(s.is_catching_up) over (order by s.seal) as was_catching_up
    from audit.seals as s
  ) as c
  where case c.epoch
    when c.last_epoch
      then c.system_identifier <> c.last_server or c.is_catching_up and not c.was_catching_up
    else
      c.epoch <> c.last_epoch + 1
      or c.system_identifier = c.last_server
      or c.last_epoch is not null and not c.is_catching_up
  end;

  return query
  select
    'ledger_joins_once', j.ledger, null::uuid, null::text, s.seal, 'joined before', 'joining'
  from audit.seals as s
  cross join lateral unnest(s.joining) as j (ledger)
  where exists (
    select from audit.seals as x where x.seal < s.seal and j.ledger = any(x.joined)
  );

  return query
  select
    'ledger_is_in_the_registry', j.ledger, null::uuid, null::text, null::bigint,
    'a ledger', 'nothing'
  from audit.seals as s
  cross join lateral unnest(s.joining) as j (ledger)
  where not exists (select from audit.sealed_ledgers as l where l.ledger = j.ledger)
  group by j.ledger;
end
$$;

comment on function private.verify_chain(uuid) is
  'Leaves against roots, roots against seals, the chain, the registry, for audit.verify_seals.';

-- Recomputes every hash. Changes nothing, locks nothing.
create function audit.verify_seals(
  p_organization_id uuid default null,
  p_published_hash text default null
)
returns setof audit.seal_finding
language plpgsql
stable
set search_path = pg_catalog, pg_temp
as $$
declare
  v_ledger audit.sealed_ledgers;
  v_server constant bigint := (select c.system_identifier from pg_control_system() as c);
  -- By the chain, where it tells: it cannot be edited.
  v_epoch constant integer := (
    select e.epoch
    from audit.seal_epochs as e
    left join audit.seals as s on s.seal = (select max(x.seal) from audit.seals as x)
    where
      e.epoch = coalesce(s.epoch, (select max(x.epoch) from audit.seal_epochs as x))
      and coalesce(s.system_identifier, e.system_identifier) = v_server
      and (e.is_caught_up or not s.is_catching_up)
  );
begin
  if p_published_hash !~ '^[0-9a-f]{64}$' then
    perform private.reject_argument('p_published_hash', 'must be 64 hexadecimal digits');
  end if;
  for v_ledger in select * from audit.sealed_ledgers as l order by l.ledger collate "C" loop
    return query
    select * from private.verify_leaves(
      v_ledger, p_organization_id,
      case
        when exists (select from audit.seals as s where v_ledger.ledger = any(s.joined))
          then v_epoch
      end
    );
  end loop;
  return query select * from private.verify_chain(p_organization_id);
  if p_published_hash is not null and not exists (
    select from audit.seals as s where s.hash = p_published_hash
  ) then
    return next (
      'published_hash_is_in_the_chain', null, null, null, null, p_published_hash, 'nothing'
    )::audit.seal_finding;
  end if;
end
$$;

comment on function audit.verify_seals(uuid, text) is
  'One row per sealed row that was altered, removed or doubled, per row that came in behind a '
  'seal, and per root or seal that does not fit; none when all is well. Of one organization, or of '
  'all. p_published_hash is the hash of a seal that was kept elsewhere: only that exposes someone '
  'who made all seals anew. For server roles. Errors: 22023.';
