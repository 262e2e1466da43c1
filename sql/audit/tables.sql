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
