-- record_transaction_bundle: a bundle of a caller, its policy, and the answer that is given again.

-- Binds a key first, so that a bundle and a proposal never share one: of two calls at once the
-- second waits for the first. A refusal is undone with its key.
create table private.bundle_keys (
  organization_id uuid not null,
  source_system private.label not null,
  external_id private.label not null,
  constraint bundle_keys_pkey primary key (organization_id, source_system, external_id)
);

comment on table private.bundle_keys is
  'Keys under which a bundle was committed or proposed.';
comment on column private.bundle_keys.organization_id is 'The organization.';
comment on column private.bundle_keys.source_system is 'Who sent it.';
comment on column private.bundle_keys.external_id is 'Its id there.';

-- False where the key is bound already.
create function private.bind_bundle(
  p_organization_id uuid,
  p_source_system text,
  p_external_id text
)
returns boolean
language plpgsql
volatile
set search_path = pg_catalog, pg_temp
as $$
begin
  insert into private.bundle_keys (organization_id, source_system, external_id)
  values (p_organization_id, p_source_system, p_external_id)
  on conflict do nothing;
  return found;
end
$$;

comment on function private.bind_bundle(uuid, text, text) is
  'Binds the key of a bundle; false where it is bound. Waits for a call that is binding it.';

create type private.bundle_answer as (status text, response text);

comment on type private.bundle_answer is
  'What became of a bundle, as a status of the event log, and its response.';

-- What an earlier call with the key was answered; null where there was none.
create function private.replay_bundle(p_organization_id uuid, p_bundle private.bundle)
returns text
language plpgsql
stable
set search_path = pg_catalog, pg_temp
as $$
begin
  return coalesce(
    (private.find_transaction(p_organization_id, p_bundle)).response_payload,
    private.replay_proposal(
      p_organization_id, 'record_transaction_bundle', p_bundle.source_system,
      p_bundle.external_id, private.bundle_hash(p_bundle)
    )
  );
end
$$;

comment on function private.replay_bundle(uuid, private.bundle) is
  'The stored response to a bundle, byte for byte. Errors: TS409 for a key with other content.';

-- Commits a bundle, or proposes it where the policy or a locked period asks for approval.
--
-- Locks: key, period, policy rule.
create function private.admit_bundle(
  p_organization_id uuid,
  p_bundle private.bundle,
  p_actor private.actor
)
returns private.bundle_answer
language plpgsql
volatile
set search_path = pg_catalog, pg_temp
as $$
declare
  v_response text;
  v_period accounting.accounting_periods;
  v_decision private.policy_decision;
begin
  if not private.bind_bundle(
    p_organization_id, p_bundle.source_system, p_bundle.external_id
  ) then
    v_response := private.replay_bundle(p_organization_id, p_bundle);
    if v_response is not null then
      return row('replayed', v_response)::private.bundle_answer;
    end if;
  end if;

  v_period := private.lock_period(
    p_organization_id, p_bundle.entity_id, p_bundle.transaction_date
  );
  perform private.assert_period(v_period, p_bundle, true);
  perform private.assert_accounts(p_organization_id, p_bundle);
  v_decision := case
    when v_period.status = 'locked' then
      -- It will not pass, so that no rule counts it as what did.
      private.policy_decision_of(
        private.find_policy_rule(
          p_organization_id, 'record_transaction_bundle', p_bundle.entity_id,
          p_bundle.transaction_category, p_bundle.risk_band
        ),
        private.bundle_amount(p_bundle), private.clock_now()
      )
    else private.match_policy(
      p_organization_id, 'record_transaction_bundle', p_bundle.entity_id,
      p_bundle.transaction_category, p_bundle.risk_band, private.bundle_amount(p_bundle)
    )
  end;
  if v_period.status = 'locked' and not v_decision.needs_approval then
    v_decision.needs_approval := true;
    v_decision.threshold_amount := coalesce(v_decision.threshold_amount, 0);
    v_decision.required_approvals := greatest(v_decision.required_approvals, 1);
    v_decision.reason := 'period_locked';
  end if;
  if v_decision.needs_approval then
    return row(
      'proposed',
      private.propose_bundle(p_organization_id, p_bundle, v_decision, p_actor)
    )::private.bundle_answer;
  end if;
  return row(
    'ok',
    (private.commit_bundle(p_organization_id, p_bundle, p_actor.actor_id)).response_payload
  )::private.bundle_answer;
end
$$;

comment on function private.admit_bundle(uuid, private.bundle, private.actor) is
  'Commits, proposes or replays a bundle. Errors: TS404, TS409, TS412, TS419, TS429.';

-- The privileged half of accounting.record_transaction_bundle.
create function private.record_bundle(p_organization_id uuid, p_request text, p_actor text)
returns text
language plpgsql
volatile
security definer -- writes the books and the event log, which no role may write itself
set search_path = pg_catalog, pg_temp
as $$
declare
  v_started_at constant timestamptz := private.clock_now();
  v_facts jsonb;
  v_input_hash text;
  v_actor private.actor;
  v_bundle private.bundle;
  v_answer private.bundle_answer;
  v_code text;
  v_message text;
  v_detail text;
  v_hint text;
begin
  perform private.assert_member(p_organization_id, array['owner', 'admin', 'finance']);
  v_actor := private.acting(p_actor);
  v_facts := private.parse_request(p_request);
  -- A block of its own: what was begun before a refusal is undone, and the event of it is not.
  begin
    v_bundle := private.read_bundle(p_organization_id, p_request);
    v_input_hash := private.bundle_hash(v_bundle);
    v_answer := private.admit_bundle(p_organization_id, v_bundle, v_actor);
  exception
    when sqlstate '22023' or sqlstate 'TS404' or sqlstate 'TS409' or sqlstate 'TS412'
      or sqlstate 'TS419' or sqlstate 'TS428' or sqlstate 'TS429' then
      get stacked diagnostics
        v_code = returned_sqlstate,
        v_message = message_text,
        v_detail = pg_exception_detail,
        v_hint = pg_exception_hint;
      v_input_hash := coalesce(
        v_input_hash,
        private.content_hash(private.canonical_text(v_facts - 'correlation_id'))
      );
      v_answer := row(
        case v_code when '22023' then 'error' else 'refused' end,
        private.refusal(
          v_facts ->> 'correlation_id', v_code, v_message, v_detail, v_hint
        )
      )::private.bundle_answer;
  end;
  perform private.log_call(
    p_organization_id, 'record_transaction_bundle', v_facts ->> 'correlation_id', v_input_hash,
    v_answer.response, v_actor, v_started_at, v_answer.status, v_code
  );
  return v_answer.response;
end
$$;

comment on function private.record_bundle(uuid, text, text) is
  'Core of accounting.record_transaction_bundle.';

-- Books a bundle. Idempotent by (source_system, external_id).
create function accounting.record_transaction_bundle(
  p_organization_id uuid,
  p_request text,
  p_actor text default null
)
returns text
language plpgsql
volatile
set search_path = pg_catalog, pg_temp
as $$
begin
  return private.record_bundle(p_organization_id, p_request, p_actor);
end
$$;

comment on function accounting.record_transaction_bundle(uuid, text, text) is
  'Books a balanced bundle (data_model_reference). p_request, a JSON object as text: '
  'source_system, external_id, transaction_date, description, correlation_id, postings '
  '(account_id, amount, currency, memo), and where wanted entity_id, is_adjusting_entry, '
  'adjusting_reason_code, override_period_lock, transaction_category, risk_band, '
  'reverses_transaction_id, occurred_on. Amounts are US dollars, above 0 debit, rounded half even '
  'to 4 decimals, and sum to 0.0000. The source_system reversal is kept for the reversal of '
  'external_id. Returns JSON text with status committed, proposed or refused '
  '(error_code 22023, TS404, TS409, TS412, TS419, TS429); made again, the stored one, byte for '
  'byte. For owners, admins, finance and server roles, which may name p_actor. Errors: 22023 for '
  'a request that says not what it belongs to, 42501, TS404 for an unknown organization.';

-- Undoes a transaction by a new one, which is linked to it.
create function accounting.reverse_transaction(
  p_organization_id uuid,
  p_transaction_id text,
  p_transaction_date date,
  p_correlation_id text,
  p_description text default null,
  p_adjusting_reason_code text default null,
  p_override_period_lock boolean default false,
  p_actor text default null
)
returns text
language plpgsql
volatile
set search_path = pg_catalog, pg_temp
as $$
declare
  v_reversed accounting.ledger_transactions;
begin
  select * into v_reversed
  from accounting.ledger_transactions as t
  where t.organization_id = p_organization_id and t.transaction_id = p_transaction_id;
  return private.record_bundle(
    p_organization_id,
    jsonb_build_object(
      'source_system', 'reversal',
      'external_id', p_transaction_id,
      'transaction_date', p_transaction_date,
      'description', coalesce(
        p_description, left('Reversal of ' || v_reversed.description, 1000), 'Reversal'
      ),
      'correlation_id', p_correlation_id,
      'entity_id', v_reversed.entity_id,
      'is_adjusting_entry', p_adjusting_reason_code is not null,
      'adjusting_reason_code', p_adjusting_reason_code,
      'override_period_lock', coalesce(p_override_period_lock, false),
      'reverses_transaction_id', p_transaction_id
    )::text,
    p_actor
  );
end
$$;

comment on function accounting.reverse_transaction(
  uuid, text, date, text, text, text, boolean, text
) is
  'Undoes a transaction by a new one with the postings of the other sign, booked at '
  'p_transaction_date and linked to it; each transaction once. It passes policy and period as any '
  'bundle, and returns what record_transaction_bundle does. For owners, admins, finance and server '
  'roles, which may name p_actor. Errors: 22023, 42501, TS404 for an unknown organization.';
