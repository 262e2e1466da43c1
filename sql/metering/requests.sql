-- Request keys: a retry finds what the first call did.

-- What an earlier request with this id made, or null. Locks nothing.
create function private.find_request(
  p_organization_id uuid,
  p_operation metering.operation,
  p_request_id text,
  p_content_hash text
)
returns uuid
language plpgsql
stable
set search_path = pg_catalog, pg_temp
as $$
declare
  v_bound metering.request_keys;
begin
  select * into v_bound
  from metering.request_keys as k
  where k.organization_id = p_organization_id
    and k.operation = p_operation
    and k.request_id = p_request_id;
  if v_bound.content_hash <> p_content_hash then
    perform private.raise_error(
      'TS409', jsonb_build_object('operation', p_operation, 'request_id', p_request_id)
    );
  end if;
  return v_bound.subject_id;
end
$$;

comment on function private.find_request(uuid, metering.operation, text, text) is
  'What a request id is bound to, or null. Errors: TS409 for an id bound to other content.';

-- Binds a request id to what the call makes; p_previous is what it was bound to so far, or null.
-- False if another call was faster: the caller must then undo the attempt and look again.
--
-- Locks: the key, last of all. Whoever has it waits for nothing more, so nobody who waits for it
-- waits long; an attempt that must be undone, to gather, lets go of it too.
create function private.bind_request(
  p_organization_id uuid,
  p_operation metering.operation,
  p_request_id text,
  p_content_hash text,
  p_subject_id uuid,
  p_previous uuid default null
)
returns boolean
language plpgsql
volatile
set search_path = pg_catalog, pg_temp
as $$
begin
  if p_previous is null then
    insert into metering.request_keys (
      organization_id, operation, request_id, content_hash, subject_id
    ) values (
      p_organization_id, p_operation, p_request_id, p_content_hash, p_subject_id
    )
    on conflict (organization_id, operation, request_id) do nothing;
  else
    update metering.request_keys as k
    set subject_id = p_subject_id
    where k.organization_id = p_organization_id
      and k.operation = p_operation
      and k.request_id = p_request_id
      and k.subject_id = p_previous;
  end if;
  return found;
end
$$;

comment on function private.bind_request(uuid, metering.operation, text, text, uuid, uuid) is
  'Binds a request id to what it made; false if another call bound it meanwhile.';
