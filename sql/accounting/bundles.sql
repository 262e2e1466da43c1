-- Bundles: what is asked to be booked, read from JSON text and brought into one form.

create type private.leg as (account_id text, amount numeric, currency text, memo text);

comment on type private.leg is 'A posting to be: above 0 debit, below 0 credit.';

create type private.bundle as (
  source_system text,
  external_id text,
  transaction_date date,
  description text,
  correlation_id text,
  entity_id text,
  is_adjusting_entry boolean,
  adjusting_reason_code text,
  override_period_lock boolean,
  transaction_category text,
  risk_band text,
  reverses_transaction_id text,
  occurred_on date,
  legs private.leg []
);

comment on type private.bundle is 'A transaction to be, with its postings.';

-- An amount of the books: either sign, at most 12 decimals, within one trillion.
create function private.assert_amount(p_argument text, p_amount numeric)
returns numeric
language plpgsql
stable
set search_path = pg_catalog, pg_temp
as $$
begin
  perform private.assert_money(p_argument, abs(p_amount));
  return p_amount;
end
$$;

comment on function private.assert_amount(text, numeric) is
  'Refuses anything but a finite amount in US dollars of either sign with at most 12 decimals. '
  'Errors: 22023.';

-- Days: finite, of a year with four digits.
create function private.assert_day(p_argument text, p_day date)
returns date
language plpgsql
stable
set search_path = pg_catalog, pg_temp
as $$
begin
  if (p_day between '0001-01-01' and '9999-12-31') is not true then
    perform private.reject_argument(p_argument, 'must be a day from 0001-01-01 to 9999-12-31');
  end if;
  return p_day;
end
$$;

comment on function private.assert_day(text, date) is
  'Refuses a missing or infinite day. Errors: 22023.';

-- What a request is: an object that says what it belongs to.
create function private.parse_request(p_request text)
returns jsonb
language plpgsql
stable
set search_path = pg_catalog, pg_temp
as $$
declare
  v_facts jsonb;
begin
  begin
    v_facts := p_request::jsonb;
  exception
    when data_exception or program_limit_exceeded then null;
  end;
  if jsonb_typeof(v_facts) is distinct from 'object' then
    perform private.reject_argument('p_request', 'must be a JSON object');
  end if;
  perform private.assert_text('correlation_id', private.text_in(v_facts, 'correlation_id'));
  return v_facts;
end
$$;

comment on function private.parse_request(text) is
  'The object in a JSON text, with its correlation_id. Errors: 22023.';

-- The text under a key; null where there is none.
create function private.text_in(p_facts jsonb, p_key text)
returns text
language plpgsql
stable
set search_path = pg_catalog, pg_temp
as $$
begin
  if jsonb_typeof(p_facts -> p_key) not in ('string', 'null') then
    perform private.reject_argument(p_key, 'must be a text');
  end if;
  return p_facts ->> p_key;
end
$$;

comment on function private.text_in(jsonb, text) is
  'A text in an object, or null. Errors: 22023 for anything else.';

-- The name or key under a key of a request: 1 to 255 characters where there is one.
create function private.label_in(p_facts jsonb, p_key text)
returns text
language plpgsql
stable
set search_path = pg_catalog, pg_temp
as $$
declare
  v_text constant text := private.text_in(p_facts, p_key);
begin
  return case when v_text is not null then private.assert_text(p_key, v_text) end;
end
$$;

comment on function private.label_in(jsonb, text) is
  'A text of 1 to 255 characters in an object, or null. Errors: 22023.';

create function private.flag_in(p_facts jsonb, p_key text)
returns boolean
language plpgsql
stable
set search_path = pg_catalog, pg_temp
as $$
begin
  if jsonb_typeof(p_facts -> p_key) not in ('boolean', 'null') then
    perform private.reject_argument(p_key, 'must be true or false');
  end if;
  return coalesce((p_facts ->> p_key)::boolean, false);
end
$$;

comment on function private.flag_in(jsonb, text) is
  'True or false in an object; false where it is left out. Errors: 22023.';

create function private.day_in(p_facts jsonb, p_key text)
returns date
language plpgsql
stable
set search_path = pg_catalog, pg_temp
as $$
declare
  v_text constant text := private.text_in(p_facts, p_key);
begin
  if v_text !~ '^[0-9]{4}-[0-9]{2}-[0-9]{2}$' then
    perform private.reject_argument(p_key, 'must be a day: YYYY-MM-DD');
  end if;
  return v_text::date;
exception
  when datetime_field_overflow then
    perform private.reject_argument(p_key, 'must be a day of the calendar');
    return null;
end
$$;

comment on function private.day_in(jsonb, text) is
  'A day in an object, YYYY-MM-DD, or null. Errors: 22023.';

create function private.amount_in(p_facts jsonb, p_key text)
returns numeric
language plpgsql
stable
set search_path = pg_catalog, pg_temp
as $$
begin
  if jsonb_typeof(p_facts -> p_key) not in ('string', 'number')
    or p_facts ->> p_key !~ '^[+-]?[0-9]{1,40}([.][0-9]{1,40})?$' then
    perform private.reject_argument(p_key, 'must be a decimal number, or the text of one');
  end if;
  return private.assert_amount(p_key, (p_facts ->> p_key)::numeric);
end
$$;

comment on function private.amount_in(jsonb, text) is
  'An amount in an object, as text or number. Errors: 22023.';

-- Refuses keys that nobody reads: a misspelt one must not be left out in silence.
create function private.assert_keys(p_argument text, p_facts jsonb, p_keys text[])
returns void
language plpgsql
stable
set search_path = pg_catalog, pg_temp
as $$
declare
  v_unknown text;
begin
  select min(k.key) into v_unknown
  from jsonb_object_keys(p_facts) as k (key) where k.key <> all(p_keys);
  if v_unknown is not null then
    perform private.reject_argument(p_argument, 'must not have the key ' || v_unknown);
  end if;
end
$$;

comment on function private.assert_keys(text, jsonb, text[]) is
  'Refuses an object with other keys than p_keys. Errors: 22023.';

-- Rounds legs half even at 4 decimals. Legs that sum to 0 still do: where rounding each by itself
-- leaves a rest, it goes, 0.0001 at a time, to the legs that were rounded furthest the other way.
create function private.round_legs(p_legs private.leg[])
returns private.leg[]
language plpgsql
immutable
set search_path = pg_catalog, pg_temp
as $$
begin
  return (
    with rounded as (
      select
        l.account_id, l.amount, l.currency, l.memo, l.position,
        private.round_half_even(l.amount, 4) as whole
      from unnest(p_legs) with ordinality as l (account_id, amount, currency, memo, position)
    ),

    summed as (
      select
        r.*,
        case
          when sum(r.amount) over (partition by r.currency) = 0
            then sum(r.whole) over (partition by r.currency)
          else 0
        end as rest
      from rounded as r
    ),

    ranked as (
      select
        s.*,
        row_number() over (
          partition by s.currency order by (s.amount - s.whole) * sign(s.rest), s.position
        ) as rank
      from summed as s
    )

    select
      array_agg(
        row(
          k.account_id,
          case
            when k.rank <= abs(k.rest) * 10000 then k.whole - sign(k.rest) * 0.0001
            else k.whole
          end::numeric(24, 4),
          k.currency,
          k.memo
        )::private.leg
        order by k.position
      )
    from ranked as k
  );
end
$$;

comment on function private.round_legs(private.leg[]) is
  'Legs at 4 decimals: half even, and in balance where they were before.';

create function private.read_legs(p_postings jsonb)
returns private.leg[]
language plpgsql
stable
set search_path = pg_catalog, pg_temp
as $$
declare
  v_posting jsonb;
  v_legs private.leg[] := array[]::private.leg[];
  v_memo text;
begin
  if jsonb_typeof(p_postings) is distinct from 'array'
    or jsonb_array_length(p_postings) not between 2 and 1000 then
    perform private.reject_argument('postings', 'must be an array of 2 to 1000');
  end if;
  for v_posting in select * from jsonb_array_elements(p_postings)
  loop
    if jsonb_typeof(v_posting) <> 'object' then
      perform private.reject_argument('postings', 'must be objects');
    end if;
    perform private.assert_keys(
      'postings', v_posting, array['account_id', 'amount', 'currency', 'memo']
    );
    if coalesce(private.text_in(v_posting, 'currency'), 'USD') <> 'USD' then
      perform private.reject_argument('currency', 'must be USD');
    end if;
    v_memo := private.text_in(v_posting, 'memo');
    if length(v_memo) > 1000 then
      perform private.reject_argument('memo', 'must have at most 1000 characters');
    end if;
    v_legs := v_legs || row(
      private.assert_text('account_id', private.text_in(v_posting, 'account_id')),
      private.amount_in(v_posting, 'amount'), 'USD', v_memo
    )::private.leg;
  end loop;
  return private.round_legs(v_legs);
end
$$;

comment on function private.read_legs(jsonb) is
  'The postings of a request, rounded. Errors: 22023.';

-- Takes back a transaction: its postings with the other sign.
create function private.reversed_legs(p_organization_id uuid, p_transaction_id text)
returns private.leg[]
language plpgsql
stable
set search_path = pg_catalog, pg_temp
as $$
begin
  return (
    select
      array_agg(
        row(p.account_id, -p.amount::numeric, p.currency, p.memo)::private.leg order by p.position
      )
    from accounting.ledger_postings as p
    where p.organization_id = p_organization_id and p.transaction_id = p_transaction_id
  );
end
$$;

comment on function private.reversed_legs(uuid, text) is
  'The postings of a transaction with the other sign.';

-- The sum of postings above 0, per which policies decide.
create function private.bundle_amount(p_bundle private.bundle)
returns numeric
language plpgsql
immutable
set search_path = pg_catalog, pg_temp
as $$
begin
  return (select coalesce(sum(l.amount), 0) from unnest(p_bundle.legs) as l where l.amount > 0);
end
$$;

comment on function private.bundle_amount(private.bundle) is
  'What a bundle moves: the sum of its postings above 0.';

-- The one text of a bundle, whoever wrote it and however. Read again, it is the same bundle.
create function private.bundle_text(p_bundle private.bundle)
returns text
language plpgsql
immutable
set search_path = pg_catalog, pg_temp
as $$
begin
  return private.canonical_text(
    to_jsonb(p_bundle) - 'legs' || jsonb_build_object(
      'postings', (
        select
          jsonb_agg(
            jsonb_build_object(
              'account_id', l.account_id, 'amount', private.book_text(l.amount),
              'currency', l.currency, 'memo', l.memo
            )
            order by l.position
          )
        from unnest(p_bundle.legs) with ordinality as l (
          account_id, amount, currency, memo, position
        )
      )
    )
  );
end
$$;

comment on function private.bundle_text(private.bundle) is 'Canonical JSON text of a bundle.';

create function private.bundle_hash(p_bundle private.bundle)
returns text
language plpgsql
immutable
set search_path = pg_catalog, pg_temp
as $$
declare
  v_bundle private.bundle := p_bundle;
begin
  v_bundle.correlation_id := null;
  return private.content_hash(private.bundle_text(v_bundle));
end
$$;

comment on function private.bundle_hash(private.bundle) is
  'SHA-256 of the canonical text of a bundle, without its correlation_id.';

-- Refuses a bundle that nobody may post: out of balance, or no reversal of what it reverses.
create function private.assert_bundle(p_organization_id uuid, p_bundle private.bundle)
returns void
language plpgsql
stable
set search_path = pg_catalog, pg_temp
as $$
declare
  v_reversed accounting.ledger_transactions;
begin
  if (p_bundle.adjusting_reason_code is not null) <> p_bundle.is_adjusting_entry then
    perform private.reject_argument(
      'adjusting_reason_code', 'must be there for an adjusting entry, and for no other'
    );
  elsif p_bundle.reverses_transaction_id is not null then
    select * into v_reversed
    from accounting.ledger_transactions as t
    where t.organization_id = p_organization_id
      and t.entity_id = p_bundle.entity_id
      and t.transaction_id = p_bundle.reverses_transaction_id;
    if v_reversed.transaction_id is null then
      perform private.raise_error(
        'TS404',
        jsonb_build_object(
          'reverses_transaction_id', p_bundle.reverses_transaction_id,
          'entity_id', p_bundle.entity_id
        )
      );
    elsif v_reversed.source_system = 'tallystick' then
      perform private.reject_argument(
        'reverses_transaction_id', 'must not be what the system posted'
      );
    elsif (
      select array_agg(row(l.account_id, l.amount)::text) from unnest(p_bundle.legs) as l
    ) is distinct from (
      select array_agg(row(l.account_id, l.amount)::text)
      from unnest(
        private.reversed_legs(p_organization_id, p_bundle.reverses_transaction_id)
      ) as l
    ) then
      perform private.reject_argument('postings', 'must be those reversed, with the other sign');
    end if;
  end if;
  if exists (
    select from unnest(p_bundle.legs) as l group by l.currency having sum(l.amount) <> 0
  ) then
    perform private.reject_argument('postings', 'must sum to 0.0000');
  end if;
end
$$;

comment on function private.assert_bundle(uuid, private.bundle) is
  'Refuses a bundle out of balance, an adjusting entry without reason, and a reversal that is '
  'none. Errors: 22023, TS404.';

-- Reads a request.
create function private.read_bundle(p_organization_id uuid, p_request text)
returns private.bundle
language plpgsql
stable
set search_path = pg_catalog, pg_temp
as $$
declare
  v_facts constant jsonb := private.parse_request(p_request);
  v_bundle private.bundle;
begin
  perform private.assert_keys('p_request', v_facts, array[
    'source_system', 'external_id', 'transaction_date', 'description', 'correlation_id',
    'entity_id', 'is_adjusting_entry', 'adjusting_reason_code', 'override_period_lock',
    'transaction_category', 'risk_band', 'reverses_transaction_id', 'occurred_on', 'postings'
  ]);
  v_bundle.source_system := private.assert_text(
    'source_system', private.label_in(v_facts, 'source_system')
  );
  v_bundle.external_id := private.assert_text(
    'external_id', private.label_in(v_facts, 'external_id')
  );
  v_bundle.transaction_date := private.assert_day(
    'transaction_date', private.day_in(v_facts, 'transaction_date')
  );
  v_bundle.description := private.text_in(v_facts, 'description');
  v_bundle.correlation_id := private.text_in(v_facts, 'correlation_id');
  v_bundle.entity_id := coalesce(private.label_in(v_facts, 'entity_id'), 'entity-default');
  v_bundle.is_adjusting_entry := private.flag_in(v_facts, 'is_adjusting_entry');
  v_bundle.adjusting_reason_code := private.label_in(v_facts, 'adjusting_reason_code');
  v_bundle.override_period_lock := private.flag_in(v_facts, 'override_period_lock');
  v_bundle.transaction_category := private.label_in(v_facts, 'transaction_category');
  v_bundle.risk_band := private.label_in(v_facts, 'risk_band');
  v_bundle.reverses_transaction_id := private.label_in(v_facts, 'reverses_transaction_id');
  v_bundle.occurred_on := private.day_in(v_facts, 'occurred_on');
  if v_bundle.source_system = 'tallystick' then
    perform private.reject_argument('source_system', 'must not be tallystick, which is the system');
  elsif v_bundle.source_system = 'reversal'
    and v_bundle.external_id is distinct from v_bundle.reverses_transaction_id then
    -- The key of a reversal is kept for it.
    perform private.reject_argument(
      'source_system', 'must not be reversal, but where external_id is what is reversed'
    );
  elsif (v_bundle.description ~ '\S' and length(v_bundle.description) <= 1000) is not true then
    perform private.reject_argument('description', 'must have 1 to 1000 characters');
  end if;
  v_bundle.legs := case
    when v_bundle.reverses_transaction_id is not null and v_facts -> 'postings' is null
      then coalesce(
        private.reversed_legs(p_organization_id, v_bundle.reverses_transaction_id), '{}'
      )
    else private.read_legs(v_facts -> 'postings')
  end;
  perform private.assert_bundle(p_organization_id, v_bundle);
  return v_bundle;
end
$$;

comment on function private.read_bundle(uuid, text) is
  'The bundle that a request asks for, rounded and in balance. Errors: 22023, TS404.';
