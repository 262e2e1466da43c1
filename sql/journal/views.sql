-- The journal as it stands: the current revision of each event, and the same by domain.

create view public.ledger_current_v0 with (security_invoker = true) as
select
  h.organization_id,
  e.id,
  h.logical_id,
  h.revision,
  e.supersedes_id,
  h.op,
  h.domain,
  e.event_type,
  h.owner_user_id,
  e.owner_agent_id,
  e.entity_type,
  e.entity_id,
  e.country_code,
  e.region_code,
  e.city_code,
  e.locality_code,
  e.occurred_at,
  e.payload,
  e.created_at
from private.ledger_heads as h
inner join public.ledger_events_v0 as e
  on h.organization_id = e.organization_id and h.event_id = e.id;

comment on view public.ledger_current_v0 is
  'The current revision of each event of the journal (ledgers_v0), voided ones too: see op.';

-- A view for each of the documented domains. Their columns are those of the journal, and mean the
-- same.
do $$
declare
  v_domain text;
  v_view text;
  v_column record;
begin
  foreach v_domain in array array[
    null, 'expertise', 'payments', 'moderation', 'verification', 'security', 'geo', 'models',
    'admin_exports', 'devices'
  ] loop
    v_view := concat_ws('_', 'ledger_current', v_domain, 'v0');
    if v_domain is not null then
      execute format(
        'create view public.%I with (security_invoker = true) as '
        'select * from public.ledger_current_v0 where domain = %L', v_view, v_domain
      );
      execute format(
        'comment on view public.%I is %L', v_view,
        format('The current revision of each event of the ledger %s (ledgers_v0).', v_domain)
      );
    end if;
    for v_column in
      select a.attname, pg_catalog.col_description(a.attrelid, a.attnum) as says
      from pg_catalog.pg_attribute as a
      where a.attrelid = 'public.ledger_events_v0'::regclass
        and a.attnum > 0
        and not a.attisdropped
        and a.attname <> 'xact_id'
    loop
      execute format(
        'comment on column public.%I.%I is %L', v_view, v_column.attname, v_column.says
      );
    end loop;
  end loop;
end
$$;
