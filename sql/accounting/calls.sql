-- Governed calls: who acts, what a refusal looks like, and the event that each call leaves.

create type private.actor as (actor_id text, authn_method text);

comment on type private.actor is 'Who acts, and how that is known: jwt, or asserted by a server.';

-- A signed-in person acts as themselves. A server role says for whom it acts; unless it does, for
-- itself.
create function private.acting(p_actor text default null)
returns private.actor
language plpgsql
stable
set search_path = pg_catalog, pg_temp
as $$
begin
  if private.is_trusted_caller() then
    return row(
      private.assert_text(
        'p_actor',
        'service:' || private.assert_text('p_actor', coalesce(p_actor, private.caller_role()))
      ),
      'asserted'
    )::private.actor;
  elsif p_actor is not null then
    perform private.raise_error('42501', jsonb_build_object('actor', p_actor));
  end if;
  return row('user:' || auth.uid()::text, 'jwt')::private.actor;
end
$$;

comment on function private.acting(text) is
  'Who acts: user:<id> for a signed-in person, service:<p_actor> for a server role. Errors: 22023, '
  '42501 for a person who names another.';

-- Metadata: an object.
create function private.assert_object(p_argument text, p_value jsonb)
returns jsonb
language plpgsql
stable
set search_path = pg_catalog, pg_temp
as $$
begin
  if jsonb_typeof(p_value) is distinct from 'object' then
    perform private.reject_argument(p_argument, 'must be an object');
  end if;
  return p_value;
end
$$;

comment on function private.assert_object(text, jsonb) is
  'Refuses anything but a JSON object. Errors: 22023.';

-- An amount as texts of the books show it.
create function private.book_text(p_amount numeric)
returns text
language plpgsql
immutable
set search_path = pg_catalog, pg_temp
as $$
begin
  return p_amount::numeric(40, 4)::text;
end
$$;

comment on function private.book_text(numeric) is 'Decimal text with 4 decimals.';

-- A refusal that is remembered: it is returned, as raising it would undo the event that tells of
-- it.
create function private.refusal(
  p_correlation_id text,
  p_code text,
  p_message text,
  p_detail text,
  p_hint text
)
returns text
language plpgsql
immutable
set search_path = pg_catalog, pg_temp
as $$
begin
  return private.canonical_text(
    jsonb_build_object(
      'correlation_id', p_correlation_id,
      'error_code', p_code,
      'error_message', p_message,
      'facts', coalesce(nullif(p_detail, ''), '{}')::jsonb,
      'hint', nullif(p_hint, ''),
      'status', 'refused'
    )
  );
end
$$;

comment on function private.refusal(text, text, text, text, text) is
  'The response of a governed call that was refused: code, message, facts and hint of an error.';

-- Tells of a governed call, in its transaction: where this cannot be written, nothing is.
create function private.log_call(
  p_organization_id uuid,
  p_tool_name text,
  p_correlation_id text,
  p_input_hash text,
  p_response text,
  p_actor private.actor,
  p_started_at timestamptz,
  p_status text,
  p_error_code text default null,
  p_violation_code text default null
)
returns void
language plpgsql
volatile
set search_path = pg_catalog, pg_temp
as $$
declare
  v_now constant timestamptz := private.clock_now();
begin
  insert into audit.event_log (
    organization_id, tool_name, correlation_id, input_hash, output_hash, event_timestamp,
    duration_ms, status, error_code, error_message, actor_id, authn_method, authorization_result,
    violation_code
  ) values (
    p_organization_id, p_tool_name, p_correlation_id, p_input_hash,
    private.content_hash(p_response), v_now,
    greatest(0, floor(extract(epoch from v_now - p_started_at) * 1000)), p_status, p_error_code,
    (select e.message from public.tallystick_errors as e where e.code = p_error_code),
    p_actor.actor_id, p_actor.authn_method,
    case when p_error_code in ('42501', 'TS412', 'TS428', 'TS429') then 'denied' else 'allowed' end,
    coalesce(
      p_violation_code,
      (select e.name from public.tallystick_errors as e where e.code = p_error_code)
    )
  );
end
$$;

comment on function private.log_call(
  uuid, text, text, text, text, private.actor, timestamptz, text, text, text
) is
  'Writes the event of a governed call: ok, refused, error, replayed or proposed.';

-- Tells of a change that has no response of its own: what was asked for, and the row or rows it
-- made. They are written in UTC, so that they are hashed the same wherever the session is.
create function private.log_change(
  p_organization_id uuid,
  p_tool_name text,
  p_correlation_id text,
  p_asked jsonb,
  p_made anyelement,
  p_actor private.actor,
  p_started_at timestamptz
)
returns void
language plpgsql
volatile
set search_path = pg_catalog, pg_temp
set timezone = 'UTC'
as $$
begin
  perform private.log_call(
    p_organization_id, p_tool_name, coalesce(p_correlation_id, private.uuid_v7()::text),
    private.content_hash(private.canonical_text(p_asked)),
    private.canonical_text(to_jsonb(p_made)), p_actor, p_started_at, 'ok'
  );
end
$$;

comment on function private.log_change(
  uuid, text, text, jsonb, anyelement, private.actor, timestamptz
) is
  'Writes the event of a governed call that returns the row it made, or the array of them.';
