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
-- not sealed here, or not yet all that came with a dump: then rows without a leaf prove nothing.
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
    with chain as (
      select
        s.seal, s.epoch, s.is_catching_up, s.xact_next, s.sealed_at,
        lag(s.sealed_at) over (order by s.seal) as previous_at
      from audit.seals as s
    ),

    compared as (
      select
        coalesce(l.organization_id, t._organization_id) as organization_id,
        coalesce(l.row_id, t._row_id) as row_id,
        l.seal,
        l.leaf,
        case when l.leaf is not null then %1$s end as present,
        t.xact_id,
        %2$s as written_at
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

    checked as (
      select
        c.*,
        case
          when c.xact_id is null then 'sealed_row_is_there'
          when c.leaf <> c.present then 'row_is_what_was_sealed'
          when c.leaf is null and c.xact_id < $3 and $2 is not null then 'row_came_before_its_seal'
          when c.leaf is null and $2 is null or n.is_catching_up then null
          when
            (c.leaf is null or c.written_at < n.previous_at - private.seal_tolerance())
            and exists (
              select from chain as p
              where p.epoch = coalesce(n.epoch, $2)
                and (c.seal is null or p.seal < c.seal)
                and p.xact_next <= c.xact_id
                and p.sealed_at - private.seal_tolerance() > c.written_at
            ) then 'row_was_written_when_it_says'
        end as check_name
      from compared as c
      left join chain as n on n.seal = c.seal
    )

    select
      c.check_name, %3$L, c.organization_id, c.row_id, c.seal,
      coalesce(encode(c.leaf, 'hex'), 'nothing'),
      case c.check_name
        when 'sealed_row_is_there' then 'nothing'
        when 'row_was_written_when_it_says' then c.written_at::text
        when 'row_came_before_its_seal' then 'a row'
        else encode(c.present, 'hex')
      end
    from checked as c
    where c.check_name is not null
      and not (
        c.check_name = 'sealed_row_is_there' and exists (
          select from audit.tombstones as r
          where r.organization_id = c.organization_id
            and r.ledger = %3$L
            and r.row_id::text = c.row_id
        )
      )
    $sql$,
    private.leaf_expression(p_ledger, 'l.salt'),
    coalesce('t.' || quote_ident(p_ledger.time_column), 'null::timestamptz'),
    p_ledger.ledger,
    p_ledger.organization_column,
    private.row_id_expression(p_ledger)
  )
  using p_organization_id, p_epoch, p_ledger.sealed_below;
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
  where (s.root::text, s.leaf_count) is distinct from (r.root, r.leaf_count);

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
end
$$;

comment on function private.verify_chain(uuid) is
  'Leaves against roots, roots against seals, the chain, for audit.verify_seals.';

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
  v_epoch integer := (
    select e.epoch
    from audit.seal_epochs as e
    where e.epoch = (select max(x.epoch) from audit.seal_epochs as x)
      and e.is_caught_up
      and e.system_identifier = (select c.system_identifier from pg_control_system() as c)
  );
begin
  if p_published_hash !~ '^[0-9a-f]{64}$' then
    perform private.reject_argument('p_published_hash', 'must be 64 hexadecimal digits');
  end if;
  for v_ledger in select * from audit.sealed_ledgers as l order by l.ledger collate "C" loop
    return query select * from private.verify_leaves(v_ledger, p_organization_id, v_epoch);
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
  'One row per sealed row that was altered or removed, per row that came in behind a seal, and per '
  'root or seal that does not fit; none when all is well. Of one organization, or of all. '
  'p_published_hash is the hash of a seal that was kept elsewhere: only that exposes someone who '
  'made all seals anew. For server roles. Errors: 22023.';
