-- Built by scripts/build-migrations from sql/audit; edit there.

-- sql/audit/tables.sql

-- What happened, and what others are to be told of it.

create table audit.event_log (
  organization_id uuid not null,
  event_id uuid not null default private.uuid_v7(),
  tool_name private.label not null,
  correlation_id private.label not null,
  input_hash private.sha256_hex not null,
  output_hash private.sha256_hex not null,
  event_timestamp timestamptz not null default private.clock_now(),
  duration_ms integer not null default 0,
  status text not null,
  error_code text,
  error_message text,
  actor_id private.label,
  authn_method text,
  authorization_result text,
  violation_code text,
  xact_id xid8 not null default pg_current_xact_id(),
  constraint event_log_pkey primary key (organization_id, event_id),
  constraint event_log_status_is_known
  check (status in ('ok', 'refused', 'error', 'replayed', 'proposed')),
  constraint event_log_duration_is_not_negative check (duration_ms >= 0)
);

create index event_log_organization_id_correlation_id_idx
on audit.event_log (organization_id, correlation_id);

create index event_log_xact_id_idx on audit.event_log (xact_id);

create trigger event_log_reject_mutation before update or delete on audit.event_log
for each row execute function private.reject_mutation();
create trigger event_log_reject_truncate before truncate on audit.event_log
for each statement execute function private.reject_mutation();

comment on table audit.event_log is
  'Append-only trail of governed calls and their outcome (data_model_reference: event_log), '
  'written in the transaction of what it tells of.';
comment on column audit.event_log.organization_id is 'The organization it happened in.';
comment on column audit.event_log.event_id is 'Time-ordered id.';
comment on column audit.event_log.tool_name is 'What was done, such as billing.charge.';
comment on column audit.event_log.correlation_id is
  'What it belongs to: of a movement of credits its run, draw or own id.';
comment on column audit.event_log.input_hash is 'SHA-256 of what was asked for, as canonical text.';
comment on column audit.event_log.output_hash is 'SHA-256 of what came of it, as canonical text.';
comment on column audit.event_log.event_timestamp is 'When it happened.';
comment on column audit.event_log.duration_ms is 'How long it took, milliseconds.';
comment on column audit.event_log.status is 'ok, refused, error, replayed or proposed.';
comment on column audit.event_log.error_code is 'SQLSTATE of an error or refusal.';
comment on column audit.event_log.error_message is 'Its message.';
comment on column audit.event_log.actor_id is
  'Who acted: user:<id> for a signed-in person, else whom the server named.';
comment on column audit.event_log.authn_method is
  'How the actor is known: jwt, or asserted by a server role.';
comment on column audit.event_log.authorization_result is 'allowed or denied.';
comment on column audit.event_log.violation_code is 'Which rule was broken, if any.';
comment on column audit.event_log.xact_id is 'The transaction that wrote it.';

-- Kept in the transaction of what it tells of, so nobody hears of what was rolled back, and nothing
-- that happened goes unheard. pg_notify would forget it.
create table audit.outbox (
  organization_id uuid not null,
  id uuid not null default private.uuid_v7(),
  topic private.label not null,
  subject_id uuid not null,
  payload jsonb not null,
  created_at timestamptz not null default private.clock_now(),
  delivered_at timestamptz,
  constraint outbox_pkey primary key (organization_id, id),
  constraint outbox_payload_is_an_object check (jsonb_typeof(payload) = 'object')
);

create index outbox_id_idx on audit.outbox (id) where delivered_at is null;

comment on table audit.outbox is
  'What others are to be told: events wait here until whoever passes them on acknowledges them '
  'with audit.acknowledge_events.';
comment on column audit.outbox.organization_id is 'The organization it happened in.';
comment on column audit.outbox.id is 'Time-ordered id; what a consumer may see twice has one id.';
comment on column audit.outbox.topic is
  'What happened: billing.low_balance, billing.critical_variance, accounting.approval_requested or '
  'accounting.approval_decided.';
comment on column audit.outbox.subject_id is 'To what: an organization, a run or a proposal.';
comment on column audit.outbox.payload is 'The facts; amounts as decimal text.';
comment on column audit.outbox.created_at is 'When it happened.';
comment on column audit.outbox.delivered_at is 'When it was acknowledged; null while it waits.';

-- Tells others of something. Not for API roles.
create function private.emit_event(
  p_organization_id uuid,
  p_topic text,
  p_subject_id uuid,
  p_payload jsonb
)
returns void
language plpgsql
volatile
set search_path = pg_catalog, pg_temp
as $$
begin
  insert into audit.outbox (organization_id, topic, subject_id, payload)
  values (p_organization_id, p_topic, p_subject_id, p_payload);
end
$$;

comment on function private.emit_event(uuid, text, uuid, jsonb) is 'Puts an event into the outbox.';

-- Marks events as delivered. Idempotent: those that were are left alone.
create function audit.acknowledge_events(p_organization_id uuid, p_ids uuid[])
returns integer
language plpgsql
volatile
security definer -- marks events, which no role may write itself
set search_path = pg_catalog, pg_temp
as $$
declare
  v_count integer;
begin
  perform private.assert_member(p_organization_id);
  update audit.outbox as o
  set delivered_at = private.clock_now()
  where o.organization_id = p_organization_id
    and o.id = any(p_ids)
    and o.delivered_at is null;
  get diagnostics v_count = row_count;
  return v_count;
end
$$;

comment on function audit.acknowledge_events(uuid, uuid[]) is
  'Marks events of the outbox as delivered; returns how many were not yet. For operators. Errors: '
  '22023, TS404 for an unknown organization.';

-- sql/audit/tombstones.sql

-- What was removed from a ledger under retention. A row that is gone without a tombstone was not
-- removed, it was lost.

create table audit.tombstones (
  organization_id uuid not null,
  ledger private.label not null,
  row_id uuid not null,
  removed_at timestamptz not null default private.clock_now(),
  removed_by private.label not null,
  xact_id xid8 not null default pg_current_xact_id(),
  constraint tombstones_pkey primary key (organization_id, ledger, row_id)
);

create index tombstones_xact_id_idx on audit.tombstones (xact_id);

create trigger tombstones_reject_mutation before update or delete on audit.tombstones
for each row execute function private.reject_mutation();
create trigger tombstones_reject_truncate before truncate on audit.tombstones
for each statement execute function private.reject_mutation();

comment on table audit.tombstones is
  'Append-only list of the rows that were removed from a ledger once they need not be kept. '
  'Written by the removal itself, and by nobody else.';
comment on column audit.tombstones.organization_id is 'The organization whose row it was.';
comment on column audit.tombstones.ledger is
  'Qualified name of the ledger, such as public.venture_token_ledger.';
comment on column audit.tombstones.row_id is 'Id of the row that is gone.';
comment on column audit.tombstones.removed_at is 'When it was removed.';
comment on column audit.tombstones.removed_by is 'The role that removed it.';
comment on column audit.tombstones.xact_id is 'The transaction that removed it.';

-- Attach it after each row of DELETE to a ledger with organization_id and id.
create function private.leave_tombstone()
returns trigger
language plpgsql
volatile
security definer -- writes tombstones, which no role may write itself
set search_path = pg_catalog, pg_temp
as $$
begin
  insert into audit.tombstones (organization_id, ledger, row_id, removed_by)
  values (
    old.organization_id, tg_table_schema || '.' || tg_table_name, old.id, private.caller_role()
  );
  return null;
end
$$;

comment on function private.leave_tombstone() is
  'Trigger: notes that a row was removed from a ledger.';

-- sql/audit/seal_tables.sql

-- Seals: proof that nothing was altered, by those who may switch off every guard.
--
-- A leaf is a hash over a row. The leaves of an organization and ledger in one seal make a Merkle
-- tree with one root; the roots of a seal make another; each seal is chained to the one before. To
-- alter a row unnoticed one must make anew its leaf, its root and every seal since, and then the
-- newest seal is no longer the one that was published. Sealing looks at rows that are committed, so
-- no spend ever waits for it.

create table audit.seal_epochs (
  epoch integer not null,
  system_identifier bigint not null,
  is_caught_up boolean not null default false,
  started_at timestamptz not null default private.clock_now(),
  constraint seal_epochs_pkey primary key (epoch)
);

comment on table audit.seal_epochs is
  'Servers that sealed here, one after the other. A restored server counts its transactions anew, '
  'so it begins an epoch: it first seals whatever has no leaf, then goes on by transaction.';
comment on column audit.seal_epochs.epoch is 'Number of the epoch, from 1.';
comment on column audit.seal_epochs.system_identifier is
  'Which server: system_identifier of pg_control_system().';
comment on column audit.seal_epochs.is_caught_up is
  'False while rows that came with the restored dump may have no leaf yet.';
comment on column audit.seal_epochs.started_at is 'When it first sealed here.';

create table audit.sealed_ledgers (
  ledger private.label not null,
  organization_column name not null,
  key_columns name[] not null,
  time_column name,
  sealed_columns name[] not null,
  erasable_columns name[] not null default '{}',
  editable_columns name[] not null default '{}',
  kept_for interval,
  is_caught_up boolean not null default false,
  sealed_below xid8 not null default '0',
  constraint sealed_ledgers_pkey primary key (ledger),
  constraint sealed_ledgers_erasable_columns_are_sealed
  check (erasable_columns <@ sealed_columns),
  constraint sealed_ledgers_sealed_columns_are_not_editable
  check (not editable_columns && sealed_columns),
  constraint sealed_ledgers_keep_rows_for_some_time check (kept_for > interval '0')
);

comment on table audit.sealed_ledgers is
  'The registry of ledgers that are sealed. private.seal_ledger() puts one in.';
comment on column audit.sealed_ledgers.ledger is 'Its table, as schema.table.';
comment on column audit.sealed_ledgers.organization_column is 'Which column says whose a row is.';
comment on column audit.sealed_ledgers.key_columns is
  'Which columns tell its rows apart within an organization: joined by /, they are row_id.';
comment on column audit.sealed_ledgers.time_column is
  'Which column says when a row was written; null where none does.';
comment on column audit.sealed_ledgers.sealed_columns is
  'What a leaf is over, in this order: all that never change. A later column is added at the end; '
  'a null is left out, so leaves made before it stay true.';
comment on column audit.sealed_ledgers.erasable_columns is
  'Those that may hold what a person can ask to be forgotten: they enter as a salted hash.';
comment on column audit.sealed_ledgers.editable_columns is
  'Those that may change and are not sealed. Said when the ledger joined: they are in each leaf, '
  'so that none is called editable later.';
comment on column audit.sealed_ledgers.kept_for is
  'How long a row is kept at least, from its seal on; null: for ever. Stays what it was when the '
  'ledger joined.';
comment on column audit.sealed_ledgers.is_caught_up is
  'False while rows that were there when it joined may have no leaf yet.';
comment on column audit.sealed_ledgers.sealed_below is
  'All rows of transactions below this, of the present epoch, have a leaf.';

create table audit.seals (
  seal bigint not null,
  epoch integer not null,
  system_identifier bigint not null,
  is_catching_up boolean not null,
  xact_below xid8 not null,
  xact_next xid8 not null,
  xact_sealed xid8 not null,
  joining text[] not null default '{}',
  joined text[] not null default '{}',
  leaf_count bigint not null,
  root private.sha256_hex not null,
  previous private.sha256_hex not null,
  hash private.sha256_hex not null,
  sealed_at timestamptz not null,
  constraint seals_pkey primary key (seal),
  constraint seals_epoch_fkey
  foreign key (epoch) references audit.seal_epochs (epoch) on delete restrict,
  constraint seals_count_up check (seal >= 1),
  constraint seals_who_joined_was_joining check (joined <@ joining),
  constraint seals_seal_something_or_begin_an_epoch check (leaf_count > 0 or is_catching_up)
);

create index seals_epoch_xact_next_idx on audit.seals (epoch, xact_next, seal);

create trigger seals_reject_mutation before update or delete on audit.seals
for each row execute function private.reject_mutation();
create trigger seals_reject_truncate before truncate on audit.seals
for each statement execute function private.reject_mutation();

comment on table audit.seals is
  'The chain. Whoever keeps a hash of it somewhere else can prove later that all that was sealed '
  'until then is what it was.';
comment on column audit.seals.seal is 'Number of the seal, from 1, without a gap.';
comment on column audit.seals.epoch is 'In which epoch it was made.';
comment on column audit.seals.system_identifier is 'By which server: that of the epoch.';
comment on column audit.seals.is_catching_up is
  'True where it sealed whatever had no leaf, after a restore; false where it went by transaction.';
comment on column audit.seals.xact_below is
  'No transaction below this was under way when it was made.';
comment on column audit.seals.xact_next is 'No transaction from this on had begun then.';
comment on column audit.seals.xact_sealed is
  'All rows of transactions below this, of its epoch, had a leaf then, in each ledger but those '
  'that join later.';
comment on column audit.seals.joining is
  'Ledgers that were new: of these it sealed whatever had no leaf.';
comment on column audit.seals.joined is
  'Those of them of which nothing was left: from then on they are sealed by transaction.';
comment on column audit.seals.leaf_count is
  'How many rows it seals; none where an epoch began with nothing to seal.';
comment on column audit.seals.root is 'Merkle root over its rows in seal_roots. SHA-256.';
comment on column audit.seals.previous is
  'hash of the seal before it; 64 zeros for the first.';
comment on column audit.seals.hash is 'SHA-256 over all columns here but itself.';
comment on column audit.seals.sealed_at is
  'When its making began, just before it looked which transactions were under way.';

create table audit.seal_roots (
  organization_id uuid not null,
  ledger private.label not null,
  seal bigint not null,
  leaf_count bigint not null,
  root bytea not null,
  kept_until timestamptz,
  constraint seal_roots_pkey primary key (organization_id, ledger, seal),
  constraint seal_roots_root_is_sha256 check (length(root) = 32)
);

create index seal_roots_seal_idx on audit.seal_roots (seal);

create trigger seal_roots_reject_mutation before update or delete on audit.seal_roots
for each row execute function private.reject_mutation();
create trigger seal_roots_reject_truncate before truncate on audit.seal_roots
for each statement execute function private.reject_mutation();

comment on table audit.seal_roots is
  'What a seal has of an organization and ledger: the root of a Merkle tree over its leaves, in '
  'the order of row_id.';
comment on column audit.seal_roots.organization_id is 'Whose rows.';
comment on column audit.seal_roots.ledger is 'Of which ledger, as schema.table.';
comment on column audit.seal_roots.seal is 'In which seal.';
comment on column audit.seal_roots.leaf_count is 'How many.';
comment on column audit.seal_roots.root is 'Their Merkle root. SHA-256.';
comment on column audit.seal_roots.kept_until is
  'Until when they are kept: one that is gone sooner was not removed under retention. Null: for '
  'ever.';

create table audit.seal_leaves (
  organization_id uuid not null,
  ledger private.label not null,
  row_id text not null,
  seal bigint not null,
  salt uuid,
  leaf bytea not null,
  constraint seal_leaves_pkey primary key (organization_id, ledger, row_id),
  constraint seal_leaves_leaf_is_sha256 check (length(leaf) = 32)
);

create trigger seal_leaves_reject_mutation before update or delete on audit.seal_leaves
for each row execute function private.reject_mutation();
create trigger seal_leaves_reject_truncate before truncate on audit.seal_leaves
for each statement execute function private.reject_mutation();

comment on table audit.seal_leaves is
  'One row per sealed row: a hash over all of it that never changes. Kept when the row is not.';
comment on column audit.seal_leaves.organization_id is 'Whose row.';
comment on column audit.seal_leaves.ledger is 'Of which ledger, as schema.table.';
comment on column audit.seal_leaves.row_id is 'Which row: its key within the organization.';
comment on column audit.seal_leaves.seal is 'In which seal.';
comment on column audit.seal_leaves.salt is
  'Goes into the hash of each erasable text, so that nobody finds out by trying what an erased one '
  'was. Null where the ledger has none.';
comment on column audit.seal_leaves.leaf is 'SHA-256 over the row.';

create table audit.checkpoints (
  seal bigint not null,
  checked_at timestamptz not null default private.clock_now(),
  constraint checkpoints_pkey primary key (seal)
);

create trigger checkpoints_reject_mutation before update or delete on audit.checkpoints
for each row execute function private.reject_mutation();
create trigger checkpoints_reject_truncate before truncate on audit.checkpoints
for each statement execute function private.reject_mutation();

comment on table audit.checkpoints is
  'Seals up to which verify_integrity found nothing: it then looks only at what came later, unless '
  'a full check is asked for. Written by audit.make_checkpoint().';
comment on column audit.checkpoints.seal is 'The newest seal at that time.';
comment on column audit.checkpoints.checked_at is 'When that was.';

-- sql/audit/seals.sql

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

-- sql/audit/verify_seals.sql

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

-- sql/audit/findings.sql

-- What a check of the books says: one row per broken invariant, none when all is well.

create type audit.finding as (
  check_name text,
  organization_id uuid,
  subject text,
  expected text,
  actual text
);

comment on type audit.finding is
  'A broken invariant: which check, whose, about what, what the ledger says and what was found.';
comment on column audit.finding.check_name is 'Which invariant is broken.';
comment on column audit.finding.organization_id is 'Whose figures these are.';
comment on column audit.finding.subject is 'About what: a budget, a day and model, a request.';
comment on column audit.finding.expected is 'What the ledger says.';
comment on column audit.finding.actual is 'What was found.';

-- A figure as findings show it.
create function private.figure(p_amount numeric)
returns text
language sql
immutable
set search_path = pg_catalog, pg_temp
as $$
  select coalesce(trim_scale(p_amount)::text, 'nothing')
$$;

comment on function private.figure(numeric) is 'Exact text of an amount; "nothing" for null.';

-- sql/audit/metering_integrity.sql

-- Metering: every counter against ledger and holds.
--
-- A stable function reads with the snapshot of the statement that called it, so all checks see one
-- moment and calls in flight raise no alarm. Null p_organization_ids: of all. Null p_since: all
-- rows; else those whose transaction is not older.
create function private.verify_metering(p_organization_ids uuid[], p_since xid8)
returns setof audit.finding
language plpgsql
stable
set search_path = pg_catalog, pg_temp
as $$
begin
  -- What was spent in the scope and present window of each budget, against its slots: by the
  -- rollups, which are checked against the ledger below; by the calls themselves where there are none.
  return query
  with counted as materialized (
    select
      b.organization_id, b.id, b.scope, b.scope_id, b.scope_key, b.time_window, b.time_zone,
      b.is_funded, b.created_at, min(s.window_start) as window_start,
      max(s.window_end) as window_end, sum(s.settled_usd) as settled_usd,
      b.scope not in ('run', 'draw', 'venture_profile') and b.time_window <> 'hour' as is_rolled_up
    from metering.budgets as b
    inner join metering.budget_slots as s
      on s.organization_id = b.organization_id and s.budget_id = b.id
    where p_organization_ids is null or b.organization_id = any(p_organization_ids)
    group by b.organization_id, b.id
  ),

  rolled_up as (
    select c.organization_id, c.id, coalesce(sum(r.cost), 0) as cost
    from counted as c
    cross join lateral (
      select x.cost, x.day
      from metering.usage_rollups as x
      where x.organization_id = c.organization_id
        and x.scope = c.scope
        and x.scope_id = c.scope_id
      union all
      select x.cost, x.day
      from metering.usage_rollups as x
      where c.scope = 'model'
        and x.organization_id = c.organization_id
        and x.scope = 'organization'
        and x.model = c.scope_id
    ) as r
    where c.is_rolled_up
      and r.day >= private.local_day(c.window_start, coalesce(c.time_zone, 'UTC'))
      and r.day < private.local_day(c.window_end, coalesce(c.time_zone, 'UTC'))
    group by c.organization_id, c.id
  ),

  -- No call is older than the run or draw that pays for it, but for a clock that was set back.
  called as (
    select
      c.*,
      case
        when c.is_funded then greatest(c.window_start, c.created_at - interval '1 day')
        else c.window_start
      end as since
    from counted as c
    where not c.is_rolled_up
  ),

  summed as (
    select k.organization_id, c.id, sum(k.cost) as cost
    from (
      select l.organization_id, l.created_at, l.cost, x.scope_key
      from (
        select c.organization_id, min(c.since) as since from called as c group by c.organization_id
      ) as m
      inner join public.ai_usage_ledger as l
        on l.organization_id = m.organization_id and l.created_at >= m.since
      cross join lateral unnest(
        private.scope_keys(
          l.workflow_id, l.run_id, l.venture_id, l.user_id, l.api_key_id, l.model, l.listed_model,
          l.tags
        )
      ) as x (scope_key)
    ) as k
    inner join called as c
      on c.organization_id = k.organization_id
      and c.scope_key = k.scope_key
      and k.created_at >= c.window_start
      and k.created_at < c.window_end
    group by k.organization_id, c.id
  )

  select
    'settled_equals_ledger', c.organization_id, 'budget ' || c.id::text,
    private.figure(coalesce(r.cost, m.cost, 0)), private.figure(c.settled_usd)
  from counted as c
  left join rolled_up as r on r.organization_id = c.organization_id and r.id = c.id
  left join summed as m on m.organization_id = c.organization_id and m.id = c.id
  where c.settled_usd <> coalesce(r.cost, m.cost, 0)
    -- A draw that goes on after it was charged counts anew; all draws together are checked apart.
    and not exists (
      select from billing.draws as d
      where d.org_id = c.organization_id and d.id = c.id and d.cost_incurred > 0
    );

  return query
  with held as materialized (
    select h.organization_id, h.created_at, h.held_usd, k.scope_key
    from metering.holds as h
    cross join lateral unnest(
      private.scope_keys(
        h.workflow_id, h.run_id, h.venture_id, h.user_id, h.api_key_id, h.model, h.listed_model,
        h.tags
      )
    ) as k (scope_key)
    where h.state = 'open'
      and k.scope_key is not null
      and (p_organization_ids is null or h.organization_id = any(p_organization_ids))
  ),

  counted as (
    select
      b.organization_id, b.id, b.scope_key, min(s.window_start) as window_start,
      max(s.window_end) as window_end, sum(s.held_usd) as held_usd
    from metering.budgets as b
    inner join metering.budget_slots as s
      on s.organization_id = b.organization_id and s.budget_id = b.id
    where p_organization_ids is null or b.organization_id = any(p_organization_ids)
    group by b.organization_id, b.id
  )

  select
    'held_equals_holds', c.organization_id, 'budget ' || c.id::text,
    private.figure(coalesce(sum(h.held_usd), 0)), private.figure(c.held_usd)
  from counted as c
  left join held as h
    on h.organization_id = c.organization_id
    and h.scope_key = c.scope_key
    and h.created_at >= c.window_start
    and h.created_at < c.window_end
  group by c.organization_id, c.id, c.held_usd
  having coalesce(sum(h.held_usd), 0) <> c.held_usd;

  -- Only what no hold covered takes a budget past its cap, and a cap stored below use.
  return query
  select
    'grants_stay_within_limit', b.organization_id, 'budget ' || b.id::text,
    'at most ' || private.figure(b.limit_usd + b.excess_usd + u.unheld_usd),
    private.figure(s.use_usd)
  from metering.budgets as b
  cross join lateral (
    select
      min(t.window_start) as window_start, max(t.window_end) as window_end,
      sum(t.settled_usd + t.held_usd) as use_usd
    from metering.budget_slots as t
    where t.organization_id = b.organization_id and t.budget_id = b.id
  ) as s
  cross join lateral (
    select coalesce(sum(l.unheld_usd), 0) as unheld_usd
    from public.ai_usage_ledger as l
    where s.use_usd > b.limit_usd + b.excess_usd
      and l.organization_id = b.organization_id
      and l.created_at >= s.window_start
      and l.created_at < s.window_end
      and l.unheld_usd > 0
      and b.scope_key = any(
        private.scope_keys(
          l.workflow_id, l.run_id, l.venture_id, l.user_id, l.api_key_id, l.model, l.listed_model,
          l.tags
        )
      )
  ) as u
  where b.enforcement = 'hard'
    and (p_organization_ids is null or b.organization_id = any(p_organization_ids))
    and s.use_usd > b.limit_usd + b.excess_usd + u.unheld_usd;

  return query
  select
    'remainder_equals_limit_less_use', b.organization_id, 'budget ' || b.id::text,
    private.figure(private.granted_limit(b) - s.use_usd), private.figure(s.remaining)
  from metering.budgets as b
  inner join (
    select
      t.organization_id, t.budget_id, sum(t.settled_usd + t.held_usd) as use_usd,
      sum(t.available_usd) - coalesce(sum(t.debt_usd), 0) as remaining
    from metering.budget_slots as t
    where p_organization_ids is null or t.organization_id = any(p_organization_ids)
    group by t.organization_id, t.budget_id
  ) as s on s.organization_id = b.organization_id and s.budget_id = b.id
  where private.granted_limit(b) - s.use_usd is distinct from s.remaining;

  return query
  select
    'slots_are_those_of_the_budget', b.organization_id, 'budget ' || b.id::text,
    b.slot_count::text || ' slots of one window, open or closed together',
    count(s.slot)::text || ' slots, ' || count(distinct s.window_start)::text || ' windows, '
    || count(s.debt_usd)::text || ' closed'
  from metering.budgets as b
  left join metering.budget_slots as s
    on s.organization_id = b.organization_id and s.budget_id = b.id
  where p_organization_ids is null or b.organization_id = any(p_organization_ids)
  group by b.organization_id, b.id, b.slot_count
  having count(s.slot) <> b.slot_count
    or max(s.slot) <> b.slot_count - 1
    or count(distinct (s.window_start, s.window_end)) <> 1
    or count(s.available_usd) not in (0, b.slot_count)
    or count(s.debt_usd) not in (0, b.slot_count);

  return query
  select
    'config_version_is_one', s.organization_id, 'budget ' || s.budget_id::text,
    max(s.config_version)::text, min(s.config_version)::text
  from metering.budget_slots as s
  where s.budget_id = s.organization_id
    and (p_organization_ids is null or s.organization_id = any(p_organization_ids))
  group by s.organization_id, s.budget_id
  having min(s.config_version) <> max(s.config_version);

  -- Days on which anything was recorded since, and those after them.
  return query
  with touched as materialized (
    select
      o.id as organization_id,
      case
        when p_since is null then timestamptz '-infinity'
        else private.local_day(c.earliest, o.time_zone)::timestamp at time zone o.time_zone
      end as since
    from tenancy.organizations as o
    left join (
      select l.organization_id, min(l.created_at) as earliest
      from public.ai_usage_ledger as l
      where p_since is not null and l.xact_id >= p_since
      group by l.organization_id
    ) as c on c.organization_id = o.id
    where (p_organization_ids is null or o.id = any(p_organization_ids))
      and (p_since is null or c.earliest is not null)
  ),

  expected as (
    select
      l.organization_id,
      k.scope_key,
      private.local_day(l.created_at, o.time_zone) as day,
      coalesce(l.listed_model, l.model) as model,
      count(*) as requests,
      sum(l.prompt_tokens) as prompt_tokens,
      sum(l.completion_tokens) as completion_tokens,
      sum(l.cost) as cost
    from public.ai_usage_ledger as l
    inner join touched as d
      on d.organization_id = l.organization_id and l.created_at >= d.since
    inner join tenancy.organizations as o on o.id = l.organization_id
    cross join lateral unnest(private.rollup_keys(l)) as k (scope_key)
    where k.scope_key is not null
    group by
      l.organization_id, k.scope_key, private.local_day(l.created_at, o.time_zone),
      coalesce(l.listed_model, l.model)
  ),

  counted as (
    select
      r.organization_id,
      r.scope || ':' || r.scope_id as scope_key,
      r.day,
      r.model,
      sum(r.requests) as requests,
      sum(r.prompt_tokens) as prompt_tokens,
      sum(r.completion_tokens) as completion_tokens,
      sum(r.cost) as cost
    from metering.usage_rollups as r
    inner join touched as d on d.organization_id = r.organization_id
    inner join tenancy.organizations as o on o.id = r.organization_id
    where r.day >= private.local_day(d.since, o.time_zone)
    group by r.organization_id, r.scope, r.scope_id, r.day, r.model
  )

  select
    'rollup_equals_ledger', organization_id, concat_ws(' ', scope_key, day, model),
    format('%s requests, %s + %s tokens, %s',
      coalesce(e.requests, 0), coalesce(e.prompt_tokens, 0), coalesce(e.completion_tokens, 0),
      private.figure(coalesce(e.cost, 0))),
    format('%s requests, %s + %s tokens, %s',
      coalesce(c.requests, 0), coalesce(c.prompt_tokens, 0), coalesce(c.completion_tokens, 0),
      private.figure(coalesce(c.cost, 0)))
  from expected as e
  full join counted as c using (organization_id, scope_key, day, model)
  where (e.requests, e.prompt_tokens, e.completion_tokens, e.cost)
    is distinct from (c.requests, c.prompt_tokens, c.completion_tokens, c.cost);

  return query
  select
    'cost_follows_from_its_rates', l.organization_id, 'usage ' || l.id::text,
    private.figure(private.cost_at(l.rates, l.token_counts)), private.figure(l.cost)
  from public.ai_usage_ledger as l
  where (p_organization_ids is null or l.organization_id = any(p_organization_ids))
    and (p_since is null or l.xact_id >= p_since)
    and l.cost_basis = 'priced'
    and l.cost <> private.cost_at(l.rates, l.token_counts);

  return query
  select
    'rates_are_those_of_the_price', l.organization_id, 'usage ' || l.id::text,
    coalesce(r.rates::text, 'a price'), l.rates::text
  from public.ai_usage_ledger as l
  left join pricing.prices as p on p.id = l.price_id
  left join pricing.contract_prices as c
    on c.organization_id = l.organization_id and c.id = l.price_id
  left join pricing.markups as m on m.organization_id = l.organization_id and m.id = l.markup_id
  cross join lateral (
    select
      private.charged_rates(
        private.rates_of_prompt(coalesce(p.rates, c.rates), l.prompt_tokens), l.token_counts, m.percent
      ) as rates
  ) as r
  where (p_organization_ids is null or l.organization_id = any(p_organization_ids))
    and (p_since is null or l.xact_id >= p_since)
    and l.price_id is not null
    and l.rates is distinct from r.rates;

  return query
  select
    'unheld_is_what_no_hold_covered', l.organization_id, 'usage ' || l.id::text,
    'all of it', private.figure(l.unheld_usd)
  from public.ai_usage_ledger as l
  where (p_organization_ids is null or l.organization_id = any(p_organization_ids))
    and (p_since is null or l.xact_id >= p_since)
    and (l.settlement <> 'on_hold' and l.unheld_usd <> l.cost or l.unheld_usd > l.cost);

  return query
  select
    'owner_of_usage_exists', l.organization_id, 'workflow ' || l.workflow_id::text,
    'a workflow', 'nothing'
  from public.ai_usage_ledger as l
  left join metering.workflows as w
    on w.organization_id = l.organization_id and w.id = l.workflow_id
  where l.workflow_id is not null
    and w.id is null
    and (p_organization_ids is null or l.organization_id = any(p_organization_ids))
    and (p_since is null or l.xact_id >= p_since)
  group by l.organization_id, l.workflow_id;

  return query
  select
    'counted_thing_has_its_budget', t.organization_id, 'budget ' || t.id::text,
    'a budget', 'nothing'
  from (
    select o.id as organization_id, o.id from tenancy.organizations as o
    union all
    select w.organization_id, w.id from metering.workflows as w
  ) as t
  left join metering.budgets as b on b.organization_id = t.organization_id and b.id = t.id
  where b.id is null and (p_organization_ids is null or t.organization_id = any(p_organization_ids));

  return query
  select
    'budget_has_the_time_zone', b.organization_id, 'budget ' || b.id::text,
    o.time_zone, b.time_zone
  from metering.budgets as b
  inner join tenancy.organizations as o on o.id = b.organization_id
  where b.time_zone <> o.time_zone
    and (p_organization_ids is null or b.organization_id = any(p_organization_ids));

  return query
  select
    'freeze_is_one', b.organization_id, 'budget ' || b.id::text,
    coalesce(o.frozen_at::text, 'nothing'), coalesce(b.frozen_at::text, 'nothing')
  from metering.budgets as b
  inner join tenancy.organizations as o on o.id = b.organization_id
  where b.id = o.id
    and b.frozen_at is distinct from o.frozen_at
    and (p_organization_ids is null or b.organization_id = any(p_organization_ids));

  return query
  select
    'hold_is_not_usage_too', h.organization_id, 'hold ' || h.id::text, 'one of both', 'both'
  from metering.holds as h
  inner join public.ai_usage_ledger as l
    on l.organization_id = h.organization_id and l.id = h.id
  where p_organization_ids is null or h.organization_id = any(p_organization_ids);

  return query
  select
    'hold_counts_to_its_day', h.organization_id, 'hold ' || h.id::text,
    private.local_day(h.created_at, o.time_zone)::text, h.day::text
  from metering.holds as h
  inner join tenancy.organizations as o on o.id = h.organization_id
  where h.day <> private.local_day(h.created_at, o.time_zone)
    and (p_organization_ids is null or h.organization_id = any(p_organization_ids));

  -- A hold is forgotten 45 days after it ended, before its request id is.
  return query
  select
    'request_names_what_it_made', k.organization_id, 'request ' || k.request_id,
    k.operation::text || ' ' || k.subject_id::text, 'nothing'
  from metering.request_keys as k
  left join public.ai_usage_ledger as l
    on l.organization_id = k.organization_id and l.id = k.subject_id
  left join metering.holds as h
    on h.organization_id = k.organization_id and h.id = k.subject_id
  left join public.venture_token_ledger as v
    on v.organization_id = k.organization_id and v.id = k.subject_id and v.is_simulation
  left join accounting.approval_proposals as p
    on p.organization_id = k.organization_id and p.proposal_id = k.subject_id::text
  where l.id is null
    and h.id is null
    and v.id is null
    and p.proposal_id is null
    and k.operation not in ('start_run', 'extend_run')
    and (
      k.operation in ('record', 'settle')
      or private.uuid_v7_time(k.subject_id) > private.clock_now() - interval '45 days'
    )
    and (p_organization_ids is null or k.organization_id = any(p_organization_ids));
end
$$;

comment on function private.verify_metering(uuid[], xid8) is
  'Metering checks of audit.verify_integrity.';

-- sql/audit/integrity.sql

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

-- sql/audit/access.sql

-- Members with an eye on money read what happened; operators pass events on. Server roles verify;
-- they read every table the checks compare.

revoke all on table
audit.event_log, audit.outbox, audit.seal_epochs, audit.sealed_ledgers, audit.seals,
audit.seal_roots, audit.seal_leaves, audit.checkpoints, audit.tombstones
from public, anon, authenticated, service_role, app_user, tallystick_reader, tallystick_writer;
alter table audit.event_log enable row level security;
alter table audit.outbox enable row level security;
alter table audit.tombstones enable row level security;

grant select on table audit.event_log
to authenticated, service_role, app_user, tallystick_reader, tallystick_writer;
grant select on table audit.outbox, audit.tombstones
to service_role, app_user, tallystick_reader, tallystick_writer;

create policy event_log_select_member on audit.event_log
for select to authenticated
using (
  organization_id = any(
    (select private.member_organization_ids(array['owner', 'admin', 'finance']))::uuid[]
  )
);
create policy event_log_select_trusted on audit.event_log
for select to app_user, service_role, tallystick_reader, tallystick_writer using (true);
create policy outbox_select_trusted on audit.outbox
for select to app_user, service_role, tallystick_reader, tallystick_writer using (true);
create policy tombstones_select_trusted on audit.tombstones
for select to app_user, service_role, tallystick_reader, tallystick_writer using (true);

-- Seals are no secret, but what they are over is: server roles read them, nobody writes them.
do $$
declare
  v_table text;
begin
  foreach v_table in array array[
    'seal_epochs', 'sealed_ledgers', 'seals', 'seal_roots', 'seal_leaves', 'checkpoints'
  ] loop
    execute format('alter table audit.%I enable row level security', v_table);
    execute format(
      'grant select on table audit.%I to service_role, app_user, tallystick_reader, '
      'tallystick_writer', v_table
    );
    execute format(
      'create policy %I on audit.%I for select '
      'to app_user, service_role, tallystick_reader, tallystick_writer using (true)',
      v_table || '_select_trusted', v_table
    );
  end loop;
end
$$;

revoke execute on function
private.emit_event(uuid, text, uuid, jsonb),
private.leave_tombstone(),
audit.acknowledge_events(uuid, uuid[]),
private.merkle_root(bytea[]),
private.seal_ledger(regclass, name, name[], name[], interval),
private.row_id_expression(audit.sealed_ledgers),
private.leaf_expression(audit.sealed_ledgers, text),
private.root_leaf(audit.seal_roots),
private.seal_hash(audit.seals),
private.enter_epoch(),
private.make_leaves(audit.sealed_ledgers, audit.seals, integer),
audit.seal_ledgers(integer),
private.seal_tolerance(),
private.verify_leaves(audit.sealed_ledgers, uuid, integer),
private.verify_chain(uuid),
audit.verify_seals(uuid, text),
private.figure(numeric),
private.verify_metering(uuid[], xid8),
private.unchecked_from(),
private.organizations_since(xid8),
audit.verify_integrity(uuid, boolean),
audit.make_checkpoint(boolean)
from public, anon, authenticated, service_role;

grant execute on function
audit.acknowledge_events(uuid, uuid[]),
audit.seal_ledgers(integer),
audit.make_checkpoint(boolean)
to service_role;
grant execute on function
private.merkle_root(bytea[]),
private.row_id_expression(audit.sealed_ledgers),
private.leaf_expression(audit.sealed_ledgers, text),
private.root_leaf(audit.seal_roots),
private.seal_hash(audit.seals),
private.seal_tolerance(),
private.verify_leaves(audit.sealed_ledgers, uuid, integer),
private.verify_chain(uuid),
audit.verify_seals(uuid, text),
private.rollup_keys(public.ai_usage_ledger),
private.figure(numeric),
private.verify_metering(uuid[], xid8),
private.unchecked_from(),
private.organizations_since(xid8),
audit.verify_integrity(uuid, boolean)
to service_role, app_user, tallystick_writer;
