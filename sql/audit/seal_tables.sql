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
