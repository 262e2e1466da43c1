-- The journal: receipts that are revised, never edited (ledgers_v0).
--
-- Each row is a revision of a logical event; a correction is another revision. Which one is current
-- is kept beside, one row per logical event: to look it up takes two index lookups, however long
-- its history is, and whoever revises it locks that row.

create table public.ledger_events_v0 (
  organization_id uuid not null,
  id uuid not null default private.uuid_v7(),
  logical_id uuid not null default private.uuid_v7(),
  revision integer not null default 0,
  supersedes_id uuid,
  op text not null default 'assert',
  domain private.label not null,
  event_type private.label not null,
  owner_user_id uuid not null default auth.uid(),
  owner_agent_id private.label,
  entity_type private.label,
  entity_id private.label,
  country_code private.label,
  region_code private.label,
  city_code private.label,
  locality_code private.label,
  occurred_at timestamptz not null default private.clock_now(),
  payload jsonb not null default '{}',
  created_at timestamptz not null default private.clock_now(),
  xact_id xid8 not null default pg_current_xact_id(),
  constraint ledger_events_v0_pkey primary key (organization_id, id),
  constraint ledger_events_v0_organization_id_logical_id_revision_key
  unique (organization_id, logical_id, revision),
  constraint ledger_events_v0_organization_id_supersedes_id_key
  unique (organization_id, supersedes_id),
  constraint ledger_events_v0_supersedes_fkey
  foreign key (organization_id, supersedes_id)
  references public.ledger_events_v0 (organization_id, id) on delete restrict,
  constraint ledger_events_v0_op_is_known check (op in ('assert', 'amend', 'void', 'restate')),
  constraint ledger_events_v0_first_revision_is_asserted
  check ((revision = 0) = (op = 'assert') and (revision = 0) = (supersedes_id is null)),
  constraint ledger_events_v0_revisions_count_up check (revision >= 0),
  constraint ledger_events_v0_payload_is_an_object check (jsonb_typeof(payload) = 'object'),
  constraint ledger_events_v0_void_says_why
  check (
    op <> 'void'
    or coalesce(payload ->> 'void_reason', '') ~ '\S'
    and coalesce(payload ->> 'voided_by', '') ~ '\S'
  )
);

create index ledger_events_v0_owner_user_id_occurred_at_idx
on public.ledger_events_v0 (owner_user_id, occurred_at desc);
create index ledger_events_v0_entity_idx
on public.ledger_events_v0 (organization_id, entity_type, entity_id) where entity_id is not null;

create index ledger_events_v0_xact_id_idx on public.ledger_events_v0 (xact_id);

create trigger ledger_events_v0_reject_mutation before update or delete on public.ledger_events_v0
for each row execute function private.reject_mutation();
create trigger ledger_events_v0_reject_truncate before truncate on public.ledger_events_v0
for each statement execute function private.reject_mutation();

comment on table public.ledger_events_v0 is
  'Append-only journal of what happened (ledgers_v0). Each row is a receipt: always include enough '
  'to explain why this door opened. A correction is a new revision, never an update.';
comment on column public.ledger_events_v0.organization_id is
  'The tenant: the owner''s own user id where none is stated, as a person is their own tenant.';
comment on column public.ledger_events_v0.id is 'Id of this revision.';
comment on column public.ledger_events_v0.logical_id is
  'Id of the event that this is a revision of.';
comment on column public.ledger_events_v0.revision is
  'Number of the revision, from 0; each is one more than the one it supersedes.';
comment on column public.ledger_events_v0.supersedes_id is
  'The revision that this one replaces; null for the first.';
comment on column public.ledger_events_v0.op is
  'assert: it happened. amend: it is corrected. void: it does not count. restate: it does again.';
comment on column public.ledger_events_v0.domain is
  'Which ledger: expertise, payments, moderation, verification, security, geo, models, '
  'admin_exports, devices, or one of yours. The same for all revisions.';
comment on column public.ledger_events_v0.event_type is
  'What happened, never blank: always include enough to explain why this door opened.';
comment on column public.ledger_events_v0.owner_user_id is
  'Whose receipt it is; the same for all revisions.';
comment on column public.ledger_events_v0.owner_agent_id is 'The agent that acted, if any.';
comment on column public.ledger_events_v0.entity_type is 'What kind of thing it is about, if any.';
comment on column public.ledger_events_v0.entity_id is 'Which thing it is about, if any.';
comment on column public.ledger_events_v0.country_code is
  'Country it happened in, if that matters.';
comment on column public.ledger_events_v0.region_code is 'Region it happened in.';
comment on column public.ledger_events_v0.city_code is 'City it happened in.';
comment on column public.ledger_events_v0.locality_code is 'Locality it happened in.';
comment on column public.ledger_events_v0.occurred_at is 'When it happened.';
comment on column public.ledger_events_v0.payload is
  'The facts, an object with schema_version (0 unless stated), source and, for what takes several '
  'steps, correlation_id. A void has void_reason and voided_by.';
comment on column public.ledger_events_v0.created_at is 'When this revision was written here.';
comment on column public.ledger_events_v0.xact_id is 'The transaction that wrote it.';

create table private.ledger_heads (
  organization_id uuid not null,
  logical_id uuid not null,
  event_id uuid not null,
  revision integer not null,
  op text not null,
  domain text not null,
  owner_user_id uuid not null,
  constraint ledger_heads_pkey primary key (organization_id, logical_id),
  constraint ledger_heads_event_fkey
  foreign key (organization_id, event_id)
  references public.ledger_events_v0 (organization_id, id) on delete restrict
);

-- Not unique: whoever changes a unique key locks out those who grant an audience meanwhile.
create index ledger_heads_organization_id_event_id_idx
on private.ledger_heads (organization_id, event_id);
create index ledger_heads_owner_user_id_domain_idx on private.ledger_heads (owner_user_id, domain);
create index ledger_heads_organization_id_domain_idx
on private.ledger_heads (organization_id, domain);

comment on table private.ledger_heads is
  'Which revision of each logical event of the journal is current.';
comment on column private.ledger_heads.organization_id is 'The tenant.';
comment on column private.ledger_heads.logical_id is 'The event.';
comment on column private.ledger_heads.event_id is 'Its current revision.';
comment on column private.ledger_heads.revision is 'The number of that.';
comment on column private.ledger_heads.op is 'What that did.';
comment on column private.ledger_heads.domain is 'Which ledger it is in.';
comment on column private.ledger_heads.owner_user_id is 'Whose it is.';

create table public.ledger_audience_v0 (
  organization_id uuid not null,
  logical_id uuid not null,
  audience_user_id uuid not null,
  granted_by private.label not null,
  granted_at timestamptz not null default private.clock_now(),
  expires_at timestamptz,
  constraint ledger_audience_v0_pkey primary key (organization_id, logical_id, audience_user_id),
  constraint ledger_audience_v0_event_fkey
  foreign key (organization_id, logical_id)
  references private.ledger_heads (organization_id, logical_id) on delete restrict
);

create index ledger_audience_v0_audience_user_id_idx
on public.ledger_audience_v0 (audience_user_id);

comment on table public.ledger_audience_v0 is
  'Who may read an event of the journal beside its owner, in all its revisions (ledgers_v0). '
  'Minted by service_role.';
comment on column public.ledger_audience_v0.organization_id is 'The tenant.';
comment on column public.ledger_audience_v0.logical_id is 'The event.';
comment on column public.ledger_audience_v0.audience_user_id is 'Who may read it.';
comment on column public.ledger_audience_v0.granted_by is 'Who let them.';
comment on column public.ledger_audience_v0.granted_at is 'Since when.';
comment on column public.ledger_audience_v0.expires_at is 'Until when; null for ever.';

select private.seal_ledger('public.ledger_events_v0', 'created_at', array['payload']);
