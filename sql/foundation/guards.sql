-- Triggers that any table may carry.

-- Append-only means it: no UPDATE, DELETE or TRUNCATE, whoever asks. Attach it before each row of
-- UPDATE and DELETE, and before each statement of TRUNCATE.
create function private.reject_mutation()
returns trigger
language plpgsql
volatile
set search_path = pg_catalog, pg_temp
as $$
begin
  perform private.raise_error(
    '23001',
    jsonb_build_object('table', tg_table_schema || '.' || tg_table_name, 'operation', tg_op)
  );
  return null;
end
$$;

comment on function private.reject_mutation() is
  'Trigger: refuses to change or remove what was recorded. Errors: 23001.';

-- Keeps updated_at true.
create function private.touch_updated_at()
returns trigger
language plpgsql
volatile
set search_path = pg_catalog, pg_temp
as $$
begin
  new.updated_at := private.clock_now();
  return new;
end
$$;

comment on function private.touch_updated_at() is
  'Trigger: sets updated_at to the present time on every update.';
