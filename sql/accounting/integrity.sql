-- What must hold in the books.
create function private.verify_accounting(p_organization_ids uuid[], p_since xid8)
returns setof audit.finding
language plpgsql
stable
set search_path = pg_catalog, pg_temp
as $$
begin
  return query
  select
    'transaction_is_balanced', t.organization_id, 'transaction ' || t.transaction_id,
    '2 postings or more that sum to 0.0000 USD',
    format('%s that sum to %s', count(p.posting_id), private.book_text(coalesce(sum(p.amount), 0)))
  from accounting.ledger_transactions as t
  left join accounting.ledger_postings as p
    on p.organization_id = t.organization_id
    and p.entity_id = t.entity_id
    and p.transaction_id = t.transaction_id
  where (p_organization_ids is null or t.organization_id = any(p_organization_ids))
    and (p_since is null or t.xact_id >= p_since)
  group by t.organization_id, t.transaction_id
  having count(p.posting_id) < 2 or sum(p.amount) <> 0;

  return query
  select
    'transaction_has_its_response', t.organization_id, 'transaction ' || t.transaction_id,
    'a response that names its ' || count(p.posting_id)::text || ' postings',
    coalesce(t.response_payload, 'nothing')
  from accounting.ledger_transactions as t
  left join accounting.ledger_postings as p
    on p.organization_id = t.organization_id
    and p.entity_id = t.entity_id
    and p.transaction_id = t.transaction_id
  where (p_organization_ids is null or t.organization_id = any(p_organization_ids))
    and (p_since is null or t.xact_id >= p_since)
  group by t.organization_id, t.transaction_id
  having t.response_payload is null
    or t.output_hash <> encode(sha256(convert_to(t.response_payload, 'UTF8')), 'hex')
    or t.response_payload::jsonb ->> 'transaction_id' <> t.transaction_id
    or t.response_payload::jsonb ->> 'input_hash' <> t.input_hash
    or t.response_payload::jsonb -> 'posting_ids'
    is distinct from jsonb_agg(p.posting_id order by p.position);

  return query
  select
    'reversal_undoes_its_transaction', t.organization_id, 'transaction ' || t.transaction_id,
    'nothing left on account ' || p.account_id, private.book_text(sum(p.amount))
  from accounting.ledger_transactions as t
  inner join accounting.ledger_postings as p
    on p.organization_id = t.organization_id
    and p.entity_id = t.entity_id
    and p.transaction_id in (t.transaction_id, t.reverses_transaction_id)
  where t.reverses_transaction_id is not null
    and (p_organization_ids is null or t.organization_id = any(p_organization_ids))
    and (p_since is null or t.xact_id >= p_since)
  group by t.organization_id, t.transaction_id, p.account_id
  having sum(p.amount) <> 0;

  -- What was booked after its month was closed came through the gate of that month.
  return query
  select
    'closed_period_takes_what_may_pass', t.organization_id, 'transaction ' || t.transaction_id,
    case p.status when 'closed' then 'an adjusting entry' else 'an approved override' end,
    format('another, %s after %s', t.recorded_at, coalesce(p.locked_at, p.closed_at))
  from accounting.accounting_periods as p
  inner join accounting.ledger_transactions as t
    on t.organization_id = p.organization_id
    and t.entity_id = p.entity_id
    and t.transaction_date >= to_date(p.period_key, 'YYYY-MM')
    and t.transaction_date < to_date(p.period_key, 'YYYY-MM') + interval '1 month'
  where (p_organization_ids is null or p.organization_id = any(p_organization_ids))
    and (
      p.status = 'closed' and t.recorded_at > p.closed_at and not t.is_adjusting_entry
      or p.status = 'locked' and t.recorded_at > p.locked_at and not exists (
        select from accounting.approval_proposals as a
        where a.organization_id = t.organization_id
          and a.approved_transaction_id = t.transaction_id
      )
    );

  return query
  with recursive above as (
    select a.organization_id, a.account_id, a.parent_account_id, false as is_cycle
    from accounting.accounts as a
    where a.parent_account_id is not null
      and (p_organization_ids is null or a.organization_id = any(p_organization_ids))
    union
    select b.organization_id, b.account_id, a.parent_account_id, a.parent_account_id = b.account_id
    from above as b
    inner join accounting.accounts as a
      on a.organization_id = b.organization_id and a.account_id = b.parent_account_id
    where not b.is_cycle
  )

  select distinct
    'accounts_are_a_forest', b.organization_id, 'account ' || b.account_id::text, 'not below itself',
    'below itself'
  from above as b
  where b.is_cycle;

  -- The system's own postings are told of by the movements they follow from.
  return query
  select
    'transaction_has_its_event', t.organization_id, 'transaction ' || t.transaction_id,
    'an event', 'nothing'
  from accounting.ledger_transactions as t
  where (p_organization_ids is null or t.organization_id = any(p_organization_ids))
    and (p_since is null or t.xact_id >= p_since)
    and t.source_system <> 'tallystick'
    and not exists (
      select from audit.event_log as e
      where e.organization_id = t.organization_id
        and e.correlation_id = t.correlation_id
        and e.input_hash = t.input_hash
        and e.status in ('ok', 'proposed')
    );

  return query
  select
    'organization_has_its_books', o.id, 'organization ' || o.id::text, 'an entity entity-default',
    'nothing'
  from tenancy.organizations as o
  left join accounting.entities as e
    on e.organization_id = o.id and e.entity_id = 'entity-default'
  where (p_organization_ids is null or o.id = any(p_organization_ids)) and e.entity_id is null;

  return query select * from private.verify_billing_posts(p_organization_ids);
end
$$;

comment on function private.verify_accounting(uuid[], xid8) is
  'Accounting checks of audit.verify_integrity.';
