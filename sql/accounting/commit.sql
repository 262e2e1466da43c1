-- How a bundle gets into the books, and what keeps them whole whoever writes.

-- Every insert of postings leaves each transaction in balance, and none is added to one that was
-- answered.
create function private.keep_balance()
returns trigger
language plpgsql
stable
set search_path = pg_catalog, pg_temp
as $$
begin
  if exists (
    select from added as a
    group by a.organization_id, a.transaction_id, a.currency
    having sum(a.amount) <> 0
  ) then
    perform private.reject_argument('postings', 'must sum to 0.0000');
  elsif exists (
    -- Looked up one by one, whatever the planner thinks of a table that was small when it planned.
    select from added as a
    where (
      select t.response_payload is not null
      from accounting.ledger_transactions as t
      where t.organization_id = a.organization_id and t.transaction_id = a.transaction_id
    )
  ) then
    perform private.raise_error('23001', jsonb_build_object('table', 'accounting.ledger_postings'));
  end if;
  return null;
end
$$;

comment on function private.keep_balance() is
  'Trigger: postings sum to 0 per transaction and currency, and come before the response. Errors: '
  '22023, 23001.';

create trigger ledger_postings_keep_balance after insert on accounting.ledger_postings
referencing new table as added
for each statement execute function private.keep_balance();

-- The one shape an update of a transaction has: it gets its response, once.
create function private.admit_response()
returns trigger
language plpgsql
stable
set search_path = pg_catalog, pg_temp
as $$
declare
  v_answered accounting.ledger_transactions := old;
begin
  v_answered.response_payload := new.response_payload;
  v_answered.output_hash := new.output_hash;
  if old.response_payload is null and new.response_payload is not null
    and v_answered is not distinct from new then
    return new;
  end if;
  perform private.raise_error(
    '23001', jsonb_build_object('table', 'accounting.ledger_transactions', 'operation', tg_op)
  );
  return null;
end
$$;

comment on function private.admit_response() is
  'Trigger: a transaction gets its response once, and nothing else of it changes. Errors: 23001.';

create trigger ledger_transactions_admit_response before update on accounting.ledger_transactions
for each row execute function private.admit_response();

-- What is committed is whole: it has postings, and it was answered.
create function private.keep_whole()
returns trigger
language plpgsql
stable
security definer -- fires at commit, as whatever role the caller then is
set search_path = pg_catalog, pg_temp
as $$
begin
  if (
    select count(*) >= 2
    from accounting.ledger_postings as p
    where p.organization_id = new.organization_id
      and p.entity_id = new.entity_id
      and p.transaction_id = new.transaction_id
  ) and exists (
    select from accounting.ledger_transactions as t
    where t.organization_id = new.organization_id
      and t.transaction_id = new.transaction_id
      and t.response_payload is not null
  ) then
    return null;
  end if;
  perform private.reject_argument('postings', 'must be 2 or more, and be answered');
  return null;
end
$$;

comment on function private.keep_whole() is
  'Trigger: at commit a transaction has 2 postings or more, and its response. Errors: 22023.';

create constraint trigger ledger_transactions_keep_whole
after insert on accounting.ledger_transactions
deferrable initially deferred
for each row execute function private.keep_whole();

-- Refuses accounts that the entity has not.
create function private.assert_accounts(p_organization_id uuid, p_bundle private.bundle)
returns void
language plpgsql
stable
set search_path = pg_catalog, pg_temp
as $$
declare
  v_account_id text;
begin
  select min(l.account_id) into v_account_id
  from unnest(p_bundle.legs) as l
  left join accounting.accounts as a
    on a.organization_id = p_organization_id
    and a.entity_id = p_bundle.entity_id
    and a.account_id = l.account_id
  where a.account_id is null;
  if v_account_id is not null then
    perform private.raise_error(
      'TS404', jsonb_build_object('account_id', v_account_id, 'entity_id', p_bundle.entity_id)
    );
  end if;
end
$$;

comment on function private.assert_accounts(uuid, private.bundle) is
  'Refuses accounts that the entity has not. Errors: TS404.';

-- The transaction that a bundle became earlier; its transaction_id is null where there is none.
create function private.find_transaction(p_organization_id uuid, p_bundle private.bundle)
returns accounting.ledger_transactions
language plpgsql
stable
set search_path = pg_catalog, pg_temp
as $$
declare
  v_transaction accounting.ledger_transactions;
begin
  select * into v_transaction
  from accounting.ledger_transactions as t
  where t.organization_id = p_organization_id
    and t.source_system = p_bundle.source_system
    and t.external_id = p_bundle.external_id;
  if v_transaction.transaction_id is not null
    and v_transaction.input_hash <> private.bundle_hash(p_bundle) then
    perform private.raise_error(
      'TS409',
      jsonb_build_object(
        'source_system', p_bundle.source_system, 'external_id', p_bundle.external_id,
        'transaction_id', v_transaction.transaction_id
      )
    );
  end if;
  return v_transaction;
end
$$;

comment on function private.find_transaction(uuid, private.bundle) is
  'The transaction with the key of a bundle. Errors: TS409 where it has other content.';

-- Writes a bundle into the books: THE SEAM for all that posts, people and system alike.
--
-- No policy is asked. Locks the period for share. Idempotent by (source_system, external_id): the
-- second call waits for the first and gets its transaction.
create function private.commit_bundle(
  p_organization_id uuid,
  p_bundle private.bundle,
  p_recorded_by text default 'system',
  p_is_approved boolean default false
)
returns accounting.ledger_transactions
language plpgsql
volatile
set search_path = pg_catalog, pg_temp
as $$
declare
  v_transaction accounting.ledger_transactions := private.find_transaction(
    p_organization_id, p_bundle
  );
  v_period accounting.accounting_periods;
  v_posting_ids text[];
begin
  if v_transaction.transaction_id is not null then
    return v_transaction;
  end if;
  v_period := private.lock_period(
    p_organization_id, p_bundle.entity_id, p_bundle.transaction_date
  );
  perform private.assert_period(v_period, p_bundle, p_is_approved);
  perform private.assert_accounts(p_organization_id, p_bundle);

  -- Whatever the caller has set: it is whole at the end, not at once.
  set constraints accounting.ledger_transactions_keep_whole deferred;
  insert into accounting.ledger_transactions (
    organization_id, entity_id, source_system, external_id, transaction_date, description,
    correlation_id, input_hash, is_adjusting_entry, adjusting_reason_code,
    reverses_transaction_id, occurred_on, recorded_by
  ) values (
    p_organization_id, p_bundle.entity_id, p_bundle.source_system, p_bundle.external_id,
    p_bundle.transaction_date, p_bundle.description, p_bundle.correlation_id,
    private.bundle_hash(p_bundle), coalesce(p_bundle.is_adjusting_entry, false),
    p_bundle.adjusting_reason_code, p_bundle.reverses_transaction_id, p_bundle.occurred_on,
    p_recorded_by
  )
  on conflict do nothing
  returning * into v_transaction;
  if v_transaction.transaction_id is null then
    v_transaction := private.find_transaction(p_organization_id, p_bundle);
    if v_transaction.transaction_id is null then
      perform private.raise_error(
        'TS419',
        jsonb_build_object('reverses_transaction_id', p_bundle.reverses_transaction_id)
      );
    end if;
    return v_transaction;
  end if;

  v_posting_ids := array(
    select private.uuid_v7(v_transaction.recorded_at)::text from unnest(p_bundle.legs)
  );
  insert into accounting.ledger_postings (
    organization_id, posting_id, entity_id, transaction_id, account_id, amount, currency, memo,
    position
  )
  select
    p_organization_id, v_posting_ids[l.position], p_bundle.entity_id,
    v_transaction.transaction_id, l.account_id, l.amount, l.currency, l.memo, l.position
  from unnest(p_bundle.legs) with ordinality as l (account_id, amount, currency, memo, position);

  v_transaction.response_payload := private.canonical_text(
    jsonb_build_object(
      'correlation_id', v_transaction.correlation_id,
      'entity_id', v_transaction.entity_id,
      'external_id', v_transaction.external_id,
      'input_hash', v_transaction.input_hash,
      'posting_ids', to_jsonb(v_posting_ids),
      'source_system', v_transaction.source_system,
      'status', 'committed',
      'transaction_date', v_transaction.transaction_date,
      'transaction_id', v_transaction.transaction_id
    )
  );
  v_transaction.output_hash := private.content_hash(v_transaction.response_payload);
  update accounting.ledger_transactions as t
  set
    response_payload = v_transaction.response_payload,
    output_hash = v_transaction.output_hash
  where t.organization_id = p_organization_id
    and t.transaction_id = v_transaction.transaction_id;
  return v_transaction;
end
$$;

comment on function private.commit_bundle(uuid, private.bundle, text, boolean) is
  'Writes a bundle that is in balance into the books; returns the transaction, the earlier one for '
  'a repeated key. Errors: TS404 for an unknown entity or account, TS409 for a key with other '
  'content, TS412 for a period that does not take it, TS419 for what was reversed already.';
