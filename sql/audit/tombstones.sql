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
