-- What may be written into the journal, by whom, and in which order.

-- What every payload has: a version, a source and, where it is stated, a text as correlation_id.
create function private.assert_payload(p_payload jsonb)
returns jsonb
language plpgsql
stable
set search_path = pg_catalog, pg_temp
as $$
declare
  v_payload constant jsonb := jsonb_build_object(
    'schema_version', 0,
    'source', case when private.is_trusted_caller() then 'service_role' else 'client' end
  ) || p_payload;
begin
  if (v_payload ->> 'schema_version' ~ '^[0-9]{1,9}$') is not true
    or jsonb_typeof(v_payload -> 'schema_version') <> 'number' then
    perform private.reject_argument('payload', 'must have a whole number as schema_version');
  elsif jsonb_typeof(v_payload -> 'source') <> 'string' or v_payload ->> 'source' !~ '\S' then
    perform private.reject_argument('payload', 'must have a text as source');
  elsif jsonb_typeof(v_payload -> 'correlation_id') <> 'string' then
    perform private.reject_argument('payload', 'must have a text as correlation_id');
  end if;
  return v_payload;
end
$$;

comment on function private.assert_payload(jsonb) is
  'A payload with its version and source. Errors: 22023.';

-- Which operation may follow which: nothing follows a void but a restatement, and that only a void.
create function private.may_follow(p_op text, p_head_op text)
returns boolean
language plpgsql
immutable
set search_path = pg_catalog, pg_temp
as $$
begin
  return case p_op
    when 'restate' then p_head_op = 'void'
    when 'amend' then p_head_op <> 'void'
    when 'void' then p_head_op <> 'void'
    else false
  end;
end
$$;

comment on function private.may_follow(text, text) is
  'True where an operation of the journal may follow another.';

-- Holds every row to the rules, however it was inserted.
--
-- Locks the head: of two who revise an event at once, the second finds another one. Which revision
-- is the last is read from the journal itself, as heads move at the end of a statement. Writes
-- nothing, because a row that "on conflict do nothing" passes over has come by here too. Of two
-- who insert the first revision of an event at once, the second meets the first at the key.
create function private.admit_ledger_event()
returns trigger
language plpgsql
volatile
security definer -- locks and reads what the caller may not; row-level security comes after it
set search_path = pg_catalog, pg_temp
as $$
declare
  v_last public.ledger_events_v0;
begin
  new.organization_id := coalesce(new.organization_id, new.owner_user_id);
  new.created_at := private.clock_now();
  -- As the policy does afterwards: before it, so that nobody learns what is in another tenant.
  if not private.is_trusted_caller() and (
    new.owner_user_id = auth.uid()
    and (
      new.organization_id = auth.uid()
      or new.organization_id = any(
        private.member_organization_ids(array['owner', 'admin', 'finance', 'member'])
      )
    )
  ) is not true then
    perform private.raise_error(
      '42501', jsonb_build_object('organization_id', new.organization_id)
    );
  end if;
  if jsonb_typeof(new.payload) = 'object' then
    new.payload := private.assert_payload(new.payload);
  end if;

  if new.op <> 'assert' then
    perform from private.ledger_heads as h
    where h.organization_id = new.organization_id and h.logical_id = new.logical_id
    for no key update;
  end if;
  select * into v_last
  from public.ledger_events_v0 as e
  where e.organization_id = new.organization_id and e.logical_id = new.logical_id
  order by e.revision desc
  limit 1;
  if new.op = 'assert' then
    if v_last.id is not null then
      perform private.raise_error('TS419', jsonb_build_object('logical_id', new.logical_id));
    end if;
  elsif v_last.id is null or v_last.owner_user_id is distinct from new.owner_user_id then
    perform private.raise_error('TS404', jsonb_build_object('logical_id', new.logical_id));
  elsif v_last.id is distinct from new.supersedes_id
    or new.revision is distinct from v_last.revision + 1 then
    perform private.raise_error(
      'TS419',
      jsonb_build_object(
        'logical_id', new.logical_id, 'head_id', v_last.id, 'revision', v_last.revision
      )
    );
  elsif not private.may_follow(new.op, v_last.op) then
    perform private.reject_argument('op', 'must be one that may follow ' || v_last.op);
  elsif new.domain::text <> v_last.domain::text then
    perform private.reject_argument('domain', 'must be that of the event');
  end if;
  return new;
end
$$;

comment on function private.admit_ledger_event() is
  'Trigger: fills what was left out, and refuses a revision out of order. Errors: 22023, 42501, '
  'TS404, TS419 for a stale head.';

create trigger ledger_events_v0_admit before insert on public.ledger_events_v0
for each row execute function private.admit_ledger_event();

-- Makes a revision current, once it is written.
create function private.move_ledger_head()
returns trigger
language plpgsql
volatile
security definer -- writes heads, which no role may write itself
set search_path = pg_catalog, pg_temp
as $$
begin
  if new.op = 'assert' then
    insert into private.ledger_heads (
      organization_id, logical_id, event_id, revision, op, domain, owner_user_id
    ) values (
      new.organization_id, new.logical_id, new.id, new.revision, new.op, new.domain,
      new.owner_user_id
    )
    on conflict (organization_id, logical_id) do nothing;
  else
    update private.ledger_heads as h
    set event_id = new.id, revision = new.revision, op = new.op
    where h.organization_id = new.organization_id
      and h.logical_id = new.logical_id
      and h.event_id = new.supersedes_id;
  end if;
  if not found then
    perform private.raise_error('TS419', jsonb_build_object('logical_id', new.logical_id));
  end if;
  return null;
end
$$;

comment on function private.move_ledger_head() is
  'Trigger: makes a revision that was written the current one. Errors: TS419.';

create trigger ledger_events_v0_move_head after insert on public.ledger_events_v0
for each row execute function private.move_ledger_head();

-- Writes a receipt.
create function public.ledger_assert_v0(
  p_domain text,
  p_event_type text,
  p_payload jsonb default '{}',
  p_entity_type text default null,
  p_entity_id text default null,
  p_occurred_at timestamptz default null,
  p_owner_user_id uuid default null,
  p_owner_agent_id text default null,
  p_country_code text default null,
  p_region_code text default null,
  p_city_code text default null,
  p_locality_code text default null,
  p_logical_id uuid default null,
  p_organization_id uuid default null
)
returns public.ledger_events_v0
language plpgsql
volatile
set search_path = pg_catalog, pg_temp
as $$
declare
  v_owner_id constant uuid := private.assert_id(
    'p_owner_user_id', coalesce(p_owner_user_id, auth.uid())
  );
  v_event public.ledger_events_v0;
begin
  if jsonb_typeof(p_payload) is distinct from 'object' then
    perform private.reject_argument('p_payload', 'must be an object');
  end if;
  insert into public.ledger_events_v0 (
    organization_id, logical_id, domain, event_type, owner_user_id, owner_agent_id, entity_type,
    entity_id, country_code, region_code, city_code, locality_code, occurred_at, payload
  ) values (
    p_organization_id, coalesce(p_logical_id, private.uuid_v7()),
    private.assert_text('p_domain', p_domain), private.assert_text('p_event_type', p_event_type),
    v_owner_id, p_owner_agent_id, p_entity_type, p_entity_id, p_country_code, p_region_code,
    p_city_code, p_locality_code, coalesce(p_occurred_at, private.clock_now()), p_payload
  )
  -- Of two who assert one event at once, the second meets the first here.
  on conflict (organization_id, logical_id, revision) do nothing
  returning * into v_event;
  if v_event.id is null then
    perform private.raise_error('TS419', jsonb_build_object('logical_id', p_logical_id));
  end if;
  return v_event;
end
$$;

comment on function public.ledger_assert_v0(
  text, text, jsonb, text, text, timestamptz, uuid, text, text, text, text, text, uuid, uuid
) is
  'Writes a receipt into the journal and returns it (ledgers_v0): which ledger, what happened, the '
  'facts. Its owner is the caller; a server role states one. p_logical_id names it: again, it is '
  'TS419. For owners in their own tenant or an organization of theirs, and server roles. Errors: '
  '22023, 42501, TS419.';

-- Revises a receipt: what is null stays as it is.
create function private.revise_event(
  p_op text,
  p_logical_id uuid,
  p_supersedes_id uuid,
  p_payload jsonb,
  p_event_type text,
  p_occurred_at timestamptz,
  p_organization_id uuid
)
returns public.ledger_events_v0
language plpgsql
volatile
set search_path = pg_catalog, pg_temp
as $$
declare
  v_organization_id constant uuid := private.assert_id(
    'p_organization_id', coalesce(p_organization_id, auth.uid())
  );
  v_event public.ledger_events_v0;
begin
  select e.* into v_event
  from private.ledger_heads as h
  inner join public.ledger_events_v0 as e
    on e.organization_id = h.organization_id and e.id = h.event_id
  where h.organization_id = v_organization_id
    and h.logical_id = private.assert_id('p_logical_id', p_logical_id);
  if v_event.id is null then
    perform private.raise_error('TS404', jsonb_build_object('logical_id', p_logical_id));
  end if;
  insert into public.ledger_events_v0 (
    organization_id, logical_id, revision, supersedes_id, op, domain, event_type, owner_user_id,
    owner_agent_id, entity_type, entity_id, country_code, region_code, city_code, locality_code,
    occurred_at, payload
  ) values (
    v_event.organization_id, v_event.logical_id,
    v_event.revision + 1, coalesce(p_supersedes_id, v_event.id), p_op, v_event.domain,
    coalesce(p_event_type, v_event.event_type), v_event.owner_user_id, v_event.owner_agent_id,
    v_event.entity_type, v_event.entity_id, v_event.country_code, v_event.region_code,
    v_event.city_code, v_event.locality_code, coalesce(p_occurred_at, v_event.occurred_at),
    coalesce(
      p_payload,
      case p_op
        -- What counts again does not say why it did not.
        when 'restate' then v_event.payload - array['void_reason', 'voided_by']
        else v_event.payload
      end
    )
  )
  returning * into v_event;
  return v_event;
end
$$;

comment on function private.revise_event(text, uuid, uuid, jsonb, text, timestamptz, uuid) is
  'Writes the next revision of an event, with the caller''s rights. Errors: 22023, 42501, TS404, '
  'TS419.';

-- Corrects a receipt.
create function public.ledger_amend_v0(
  p_logical_id uuid,
  p_payload jsonb default null,
  p_supersedes_id uuid default null,
  p_event_type text default null,
  p_occurred_at timestamptz default null,
  p_organization_id uuid default null
)
returns public.ledger_events_v0
language plpgsql
volatile
set search_path = pg_catalog, pg_temp
as $$
begin
  if jsonb_typeof(p_payload) <> 'object' then
    perform private.reject_argument('p_payload', 'must be an object');
  elsif p_event_type is not null then
    perform private.assert_text('p_event_type', p_event_type);
  end if;
  return private.revise_event(
    'amend', p_logical_id, p_supersedes_id, p_payload, p_event_type, p_occurred_at,
    p_organization_id
  );
end
$$;

comment on function public.ledger_amend_v0(uuid, jsonb, uuid, text, timestamptz, uuid) is
  'Corrects an event of the journal by a new revision and returns that: p_payload replaces the '
  'facts, null keeps them. p_supersedes_id: the revision that was read; where another has come '
  'since, it is TS419. For the owner, and server roles, which name the tenant. Errors: 22023, '
  '42501, TS404, TS419.';

-- Makes a receipt count no more.
create function public.ledger_void_v0(
  p_logical_id uuid,
  p_void_reason text,
  p_voided_by text default null,
  p_supersedes_id uuid default null,
  p_organization_id uuid default null
)
returns public.ledger_events_v0
language plpgsql
volatile
set search_path = pg_catalog, pg_temp
as $$
declare
  v_organization_id constant uuid := coalesce(p_organization_id, auth.uid());
  v_payload jsonb := (
    select e.payload
    from private.ledger_heads as h
    inner join public.ledger_events_v0 as e
      on e.organization_id = h.organization_id and e.id = h.event_id
    where h.organization_id = v_organization_id and h.logical_id = p_logical_id
  );
begin
  return private.revise_event(
    'void', p_logical_id, p_supersedes_id,
    v_payload || jsonb_build_object(
      'void_reason', private.assert_text('p_void_reason', p_void_reason),
      'voided_by', private.assert_text(
        'p_voided_by', coalesce(p_voided_by, 'user:' || auth.uid()::text)
      )
    ),
    null, null, p_organization_id
  );
end
$$;

comment on function public.ledger_void_v0(uuid, text, text, uuid, uuid) is
  'Voids an event of the journal by a new revision, which says why and by whom (the caller, unless '
  'stated), and returns that. For the owner, and server roles, which name the tenant. Errors: '
  '22023, 42501, TS404, TS419.';

-- Makes a receipt count again.
create function public.ledger_restate_v0(
  p_logical_id uuid,
  p_payload jsonb default null,
  p_supersedes_id uuid default null,
  p_organization_id uuid default null
)
returns public.ledger_events_v0
language plpgsql
volatile
set search_path = pg_catalog, pg_temp
as $$
begin
  if jsonb_typeof(p_payload) <> 'object' then
    perform private.reject_argument('p_payload', 'must be an object');
  end if;
  return private.revise_event(
    'restate', p_logical_id, p_supersedes_id, p_payload, null, null, p_organization_id
  );
end
$$;

comment on function public.ledger_restate_v0(uuid, jsonb, uuid, uuid) is
  'Lets a voided event of the journal count again by a new revision, and returns that. For the '
  'owner, and server roles, which name the tenant. Errors: 22023, 42501, TS404, TS419.';

-- Journal: heads are the last revisions, and each revision follows from the one before.
create function private.verify_journal(p_organization_ids uuid[], p_since xid8)
returns setof audit.finding
language plpgsql
stable
set search_path = pg_catalog, pg_temp
as $$
begin
  return query
  select
    'revision_follows_its_predecessor', e.organization_id, 'event ' || e.id::text,
    'the next revision of ' || coalesce(e.supersedes_id::text, 'nothing'),
    format('%s %s', e.op, e.revision)
  from public.ledger_events_v0 as e
  left join public.ledger_events_v0 as p
    on p.organization_id = e.organization_id and p.id = e.supersedes_id
  where (p_organization_ids is null or e.organization_id = any(p_organization_ids))
    and (p_since is null or e.xact_id >= p_since)
    and e.op <> 'assert'
    and (
      p.logical_id, p.revision + 1, p.owner_user_id, p.domain::text, private.may_follow(e.op, p.op)
    ) is distinct from (e.logical_id, e.revision, e.owner_user_id, e.domain::text, true);

  return query
  select
    'head_is_the_last_revision', coalesce(l.organization_id, h.organization_id),
    'event ' || coalesce(l.logical_id, h.logical_id)::text,
    coalesce(l.id::text, 'nothing'), coalesce(h.event_id::text, 'nothing')
  from (
    select distinct on (e.organization_id, e.logical_id)
      e.organization_id, e.logical_id, e.id, e.revision, e.op, e.owner_user_id, e.domain
    from public.ledger_events_v0 as e
    where p_organization_ids is null or e.organization_id = any(p_organization_ids)
    order by e.organization_id, e.logical_id, e.revision desc
  ) as l
  full join private.ledger_heads as h
    on h.organization_id = l.organization_id and h.logical_id = l.logical_id
  where (
    p_organization_ids is null
    or coalesce(l.organization_id, h.organization_id) = any(p_organization_ids)
  ) and (l.id, l.revision, l.op, l.owner_user_id, l.domain::text)
  is distinct from (h.event_id, h.revision, h.op, h.owner_user_id, h.domain);
end
$$;

comment on function private.verify_journal(uuid[], xid8) is
  'Journal checks of audit.verify_integrity.';
