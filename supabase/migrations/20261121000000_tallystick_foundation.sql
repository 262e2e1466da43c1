-- Built by scripts/build-migrations from sql/foundation; edit there.

-- sql/foundation/schemas.sql

-- The rooms of the product. A schema is a room: a qualified name says which one a line reaches.
--
-- Every function pins its search path to pg_catalog, pg_temp and qualifies all else. An empty path
-- is not enough: PostgreSQL then looks for types in pg_temp first, and a caller's own domain named
-- uuid would run its check with the rights of a security definer function.
do $$
declare
  v_room record;
begin
  for v_room in
    select *
    from (
      values
      ('private', 'machinery: clock, checks, guards, predicates. Never exposed over HTTP.'),
      ('tenancy', 'who a spend belongs to: organizations, memberships, profiles, ventures.'),
      ('pricing', 'what models cost: dated prices, their names, contracts. Read only over HTTP.'),
      ('metering', 'the hot path: workflows, budgets and their slots, keys, rollups.'),
      ('billing', 'what is paid in advance: credits, runs, their calls and what they cost.'),
      ('accounting', 'the books: accounts, double entry, periods, approvals.'),
      ('audit', 'proof that the books agree. Read only over HTTP.')
    ) as rooms (name, purpose)
  loop
    if to_regnamespace(v_room.name) is null then
      execute format('create schema %I', v_room.name);
      execute format('comment on schema %I is %L', v_room.name, 'Tallystick ' || v_room.purpose);
    else
      raise warning 'schema % is there already and will be shared', v_room.name using
        detail = 'Signed-in users and server roles receive USAGE on it.',
        hint = 'Revoke EXECUTE from PUBLIC on functions of yours in it that they must not call.';
    end if;
  end loop;
end
$$;

-- sql/foundation/roles.sql

-- Roles beside those Supabase provides (anon, authenticated, service_role).
--
-- Roles belong to the server, not to the database: a second database on one server finds them
-- already there, so each is created only where it is missing.
do $$
declare
  v_role record;
begin
  for v_role in
    select *
    from (
      values
      ('tallystick_reader', 'reads every organization, executes nothing'),
      ('tallystick_writer', 'reads every organization, checks and records'),
      ('app_user', 'the trusted server role of an application, subject to row-level security')
    ) as roles (name, purpose)
  loop
    if not exists (select from pg_catalog.pg_roles as r where r.rolname = v_role.name) then
      execute format('create role %I nologin', v_role.name);
      execute format('comment on role %I is %L', v_role.name, 'Tallystick: ' || v_role.purpose);
    end if;
  end loop;
  if not pg_catalog.pg_has_role('tallystick_writer', 'tallystick_reader', 'member') then
    grant tallystick_reader to tallystick_writer;
  end if;
end
$$;

grant usage on schema private, tenancy, pricing, metering, billing, accounting, audit
to authenticated, service_role, app_user, tallystick_reader, tallystick_writer;

-- sql/foundation/types.sql

-- Values with a rule. A domain says the rule once, for every column that holds such a value, and
-- costs next to nothing: PostgreSQL reads and plans a table's CHECK constraints anew in every
-- statement, which made an update of a counter three times as dear.
--
-- NaN passes a ">= 0" check, so it is named.

create domain private.usd as numeric(24, 12)
constraint usd_is_an_amount check (value >= 0 and value <> 'NaN');

comment on domain private.usd is 'US dollars, 0 or more, exact to 12 decimals.';

create domain private.usd_sum as numeric(36, 12)
constraint usd_sum_is_an_amount check (value >= 0 and value <> 'NaN');

comment on domain private.usd_sum is
  'A sum of many amounts: US dollars, 0 or more, exact to 12 decimals.';

create domain private.usd_balance as numeric(36, 12)
constraint usd_balance_is_finite check (value <> 'NaN');

comment on domain private.usd_balance is
  'A sum of amounts of either sign: US dollars, exact to 12 decimals.';

create domain private.percent as numeric(9, 4)
constraint percent_is_from_minus_100 check (value >= -100 and value <> 'NaN');

comment on domain private.percent is
  'By how many percent something is raised or, below 0, lowered.';

create domain private.share as numeric(5, 2)
constraint share_is_from_0_to_100 check (value between 0 and 100);

comment on domain private.share is 'How much of a whole something gets, percent.';

create domain private.variance as numeric(24, 4)
constraint variance_is_finite check (value <> 'NaN');

comment on domain private.variance is
  'By how many percent something differs from what was expected of it.';

create domain private.book_amount as numeric(24, 4)
constraint book_amount_is_finite check (value <> 'NaN');

comment on domain private.book_amount is
  'An amount in the books: above 0 debit, below 0 credit, exact to 4 decimals.';

create domain private.token_count as integer
constraint token_count_is_not_negative check (value >= 0);

comment on domain private.token_count is 'Tokens of one call.';

create domain private.sum_of_counts as bigint
constraint sum_of_counts_is_not_negative check (value >= 0);

comment on domain private.sum_of_counts is 'A number of calls, or of tokens over many calls.';

create domain private.label as text
constraint label_is_1_to_255_characters check (value ~ '\S' and length(value) <= 255);

comment on domain private.label is 'A name or key: 1 to 255 characters, not blank.';

create domain private.sha256_hex as text
constraint sha256_hex_is_64_digits check (value ~ '^[0-9a-f]{64}$');

comment on domain private.sha256_hex is 'SHA-256 in hexadecimal.';

-- sql/foundation/errors.sql

-- The error contract: one SQLSTATE per reaction of a client.
--
-- MESSAGE is a stable sentence without values, DETAIL a JSON object of facts, HINT the next step.
-- Clients branch on the code alone. Class TS is ours; the rest are PostgreSQL's own codes, used
-- where they are the truth.
create view public.tallystick_errors
with (security_invoker = true)
as
select
  registry.code,
  registry.name,
  registry.message,
  registry.hint
from (
  values
  (
    'TS402', 'budget_exceeded',
    'budget or credits do not cover it',
    'Ask for less; wait until the budget in DETAIL resets, or raise its limit; or buy credits.'
  ),
  (
    'TS404', 'unknown_id',
    'no such row is visible to the caller',
    'Check the id and the organization it belongs to.'
  ),
  (
    'TS409', 'request_conflict',
    'the request id was already used with other content',
    'Use a new request id for a new request; retry an old one with its first arguments.'
  ),
  (
    'TS410', 'hold_closed',
    'it is over: the hold, the run or the dispute is not open, or the proposal was decided',
    'Ask for a new hold with authorize_spend, start a new run, or propose anew.'
  ),
  (
    'TS412', 'period_closed',
    'the accounting period is closed or locked',
    'Book it in an open period, or as an adjusting entry; a locked one needs override and approval.'
  ),
  (
    'TS419', 'stale_head',
    'it was revised since it was read, or is there already',
    'Read the current revision, which DETAIL names, and decide again.'
  ),
  (
    'TS423', 'frozen',
    'spending is frozen, or the run still has an open hold',
    'Unfreeze the organization or the scope in DETAIL; settle or release the holds of the run.'
  ),
  (
    'TS428', 'approval_needed',
    'somebody else has to approve it first',
    'Wait until the proposal in DETAIL is approved, then ask again with the same request id.'
  ),
  (
    'TS429', 'velocity_exceeded',
    'more of these were asked for than the policy lets pass in its window',
    'Wait until the window in DETAIL has passed, or have it approved.'
  ),
  (
    '22023', 'invalid_argument',
    'an argument is not acceptable',
    'DETAIL names the argument and the rule it breaks.'
  ),
  (
    '42501', 'permission_denied',
    'the caller may not do this',
    'Act as a member with the role DETAIL names, or as a trusted server role.'
  ),
  (
    '23001', 'append_only',
    'what is recorded is never changed',
    'Record a correction instead.'
  ),
  (
    '40001', 'serialization_failure',
    'the transaction met a concurrent change',
    'Run the transaction again.'
  ),
  (
    '40P01', 'deadlock_detected',
    'two transactions waited for each other',
    'Run the transaction again.'
  )
) as registry (code, name, message, hint);

comment on view public.tallystick_errors is
  'Every error code a caller of Tallystick reacts to. Clients branch on the code, never on prose.';
comment on column public.tallystick_errors.code is 'SQLSTATE: five characters.';
comment on column public.tallystick_errors.name is 'The reaction it asks for, as one identifier.';
comment on column public.tallystick_errors.message is 'The stable sentence raised as MESSAGE.';
comment on column public.tallystick_errors.hint is 'The next step, raised as HINT.';

-- Raises a registered error with JSON facts as DETAIL.
create function private.raise_error(p_code text, p_facts jsonb default '{}')
returns void
language plpgsql
stable
set search_path = pg_catalog, pg_temp
as $$
declare
  v_error public.tallystick_errors;
begin
  select * into strict v_error from public.tallystick_errors as e where e.code = p_code;
  raise exception using
    errcode = v_error.code,
    message = v_error.message,
    detail = p_facts::text,
    hint = v_error.hint;
end
$$;

comment on function private.raise_error(text, jsonb) is
  'Raises the registered error p_code with p_facts as DETAIL. Errors: p_code itself.';

-- Ends an attempt: everything since the enclosing block began is undone, its locks with it. The
-- block catches the code; no caller ever sees it.
create function private.abandon_attempt()
returns void
language plpgsql
stable
set search_path = pg_catalog, pg_temp
as $$
begin
  raise sqlstate 'UNDO0' using message = 'abandoned';
end
$$;

comment on function private.abandon_attempt() is
  'Undoes the enclosing block, which catches sqlstate UNDO0. Never reaches a caller.';

-- Raises 22023 and names the argument and the rule it breaks.
create function private.reject_argument(p_argument text, p_rule text)
returns void
language plpgsql
stable
set search_path = pg_catalog, pg_temp
as $$
begin
  perform private.raise_error(
    '22023', jsonb_build_object('argument', p_argument, 'rule', p_rule)
  );
end
$$;

comment on function private.reject_argument(text, text) is
  'Raises 22023 with DETAIL {"argument", "rule"}.';

-- sql/foundation/clock.sql

-- The one clock of the product, and the windows it falls into.
--
-- A function rather than a setting: a caller can set a setting, and so move its own month.
-- It is read once per call and used for id, window and expiry alike.
create function private.clock_now()
returns timestamptz
language plpgsql
volatile
set search_path = pg_catalog, pg_temp
as $$
begin
  return clock_timestamp();
end
$$;

comment on function private.clock_now() is
  'The present time. The only clock the product reads; tests replace it, callers cannot.';

-- A real zone name. PostgreSQL also accepts POSIX specifications such as "Nowhere5", which have
-- no daylight saving rules anybody meant.
create function private.is_time_zone(p_name text)
returns boolean
language sql
stable
set search_path = pg_catalog, pg_temp
as $$
  select
    p_name = 'UTC'
    or exists (select from pg_catalog.pg_timezone_names as z where z.name = p_name)
$$;

comment on function private.is_time_zone(text) is
  'True for the name of a time zone this server knows, such as UTC or Asia/Kathmandu.';

-- The instant at which the window containing p_time began, in the organization's time zone.
--
-- Where clocks go back over midnight, that midnight happens twice; the window begins with the first
-- one. Where they go forward over it, the window begins with the first instant of the day. Hours
-- are counted from there, so they have no gap where clocks change; the last of a day may be short.
create function private.window_start(p_time_window text, p_time timestamptz, p_time_zone text)
returns timestamptz
language plpgsql
immutable
set search_path = pg_catalog, pg_temp
as $$
declare
  v_local timestamp;
  v_start timestamptz;
begin
  if p_time_window = 'total' then
    return timestamptz '-infinity';
  end if;
  if p_time_window = 'hour' then
    v_start := private.window_start('day', p_time, p_time_zone);
    return v_start + floor(extract(epoch from p_time - v_start) / 3600) * interval '1 hour';
  end if;
  v_local := date_trunc(p_time_window, p_time at time zone p_time_zone);
  v_start := v_local at time zone p_time_zone;
  if (v_start - interval '1 hour') at time zone p_time_zone = v_local then
    return v_start - interval '1 hour';
  end if;
  return v_start;
end
$$;

comment on function private.window_start(text, timestamptz, text) is
  'Start of the window (total, hour, day, week, month) that contains p_time, in time zone '
  'p_time_zone; weeks begin on Monday.';

-- The instant at which the window containing p_time ends and the next one begins.
create function private.window_end(p_time_window text, p_time timestamptz, p_time_zone text)
returns timestamptz
language plpgsql
immutable
set search_path = pg_catalog, pg_temp
as $$
declare
  v_start timestamptz := private.window_start(p_time_window, p_time, p_time_zone);
  v_local timestamp;
begin
  if p_time_window = 'total' then
    return timestamptz 'infinity';
  elsif p_time_window = 'hour' then
    return least(
      v_start + interval '1 hour', private.window_end('day', p_time, p_time_zone)
    );
  end if;
  -- From the middle of the first day, so that no change of clocks can lead astray.
  v_local := date_trunc('day', (v_start + interval '6 hours') at time zone p_time_zone);
  return private.window_start(
    p_time_window,
    (v_local + ('1 ' || p_time_window)::interval + interval '12 hours') at time zone p_time_zone,
    p_time_zone
  );
end
$$;

comment on function private.window_end(text, timestamptz, text) is
  'End of the window (total, hour, day, week, month) that contains p_time: the start of the next; '
  'infinity for total.';

-- The calendar day of an instant in the organization's time zone.
create function private.local_day(p_time timestamptz, p_time_zone text)
returns date
language sql
immutable
set search_path = pg_catalog, pg_temp
as $$
  select (p_time at time zone p_time_zone)::date
$$;

comment on function private.local_day(timestamptz, text) is
  'The calendar day on which p_time falls in time zone p_time_zone.';

-- sql/foundation/ids.sql

-- Time-ordered ids (UUID version 7): the first 48 bits are milliseconds since 1970.
--
-- The ledger is partitioned by these bits, so its ids are made only here. What every spend calls is
-- plpgsql: a function with a search path of its own is never inlined, and SQL then costs more.
-- PostgreSQL 18 has a generator of its own, but none that takes a time.
create function private.uuid_v7(p_time timestamptz default private.clock_now())
returns uuid
language plpgsql
volatile
set search_path = pg_catalog, pg_temp
as $$
begin
  return encode(
    set_bit(
      set_bit(
        overlay(
          uuid_send(gen_random_uuid())
          placing substring(int8send(floor(extract(epoch from p_time) * 1000)::bigint) from 3)
          from 1 for 6
        ),
        52, 1
      ),
      53, 1
    ),
    'hex'
  )::uuid;
end
$$;

comment on function private.uuid_v7(timestamptz) is
  'A new id of the given time: UUID version 7, millisecond resolution.';

-- The time an id was made at, to the millisecond.
create function private.uuid_v7_time(p_id uuid)
returns timestamptz
language plpgsql
immutable
set search_path = pg_catalog, pg_temp
as $$
begin
  return timestamptz 'epoch'
    + ('x' || left(replace(p_id::text, '-', ''), 12))::bit(48)::bigint
    * interval '1 millisecond';
end
$$;

comment on function private.uuid_v7_time(uuid) is
  'The time in the first 48 bits of an id, to the millisecond.';

-- The smallest value any id of the given time can have: the bound of a partition.
create function private.uuid_v7_floor(p_time timestamptz)
returns uuid
language sql
immutable
set search_path = pg_catalog, pg_temp
as $$
  select rpad(
    lpad(to_hex(floor(extract(epoch from p_time) * 1000)::bigint), 12, '0'), 32, '0'
  )::uuid
$$;

comment on function private.uuid_v7_floor(timestamptz) is
  'The lower bound of all ids made at or after p_time.';

-- sql/foundation/checks.sql

-- What an argument must be, said once. Each check returns what it was given, or raises 22023 and
-- names argument and rule. "v_cost := assert_money(...)" costs a quarter of "perform
-- assert_money(...)".

-- Money: US dollars, 0 or more, at most 12 decimals, below one trillion.
--
-- numeric(24,12) would round a 13th decimal in silence, and lets NaN through a ">= 0" check.
create function private.assert_money(p_argument text, p_amount numeric)
returns numeric
language plpgsql
stable
set search_path = pg_catalog, pg_temp
as $$
begin
  if p_amount >= 0 and p_amount < 1e12 and scale(trim_scale(p_amount)) <= 12 then
    return p_amount;
  end if;
  perform private.reject_argument(
    p_argument,
    case
      when p_amount is null then 'must not be null'
      when p_amount in ('NaN', 'Infinity', '-Infinity') then 'must be a finite number'
      when p_amount < 0 then 'must not be negative'
      when p_amount >= 1e12 then 'must be below 1000000000000'
      else 'must have at most 12 decimals'
    end
  );
  return null;
end
$$;

comment on function private.assert_money(text, numeric) is
  'Refuses anything but a finite amount in US dollars from 0 with at most 12 decimals. Errors: '
  '22023.';

-- Token counts: 0 or more.
create function private.assert_count(p_argument text, p_count bigint)
returns bigint
language plpgsql
stable
set search_path = pg_catalog, pg_temp
as $$
begin
  if p_count is null then
    perform private.reject_argument(p_argument, 'must not be null');
  elsif p_count < 0 then
    perform private.reject_argument(p_argument, 'must not be negative');
  end if;
  return p_count;
end
$$;

comment on function private.assert_count(text, bigint) is
  'Refuses null and negative counts. Errors: 22023.';

-- Names and keys: 1 to 255 characters, not blank.
create function private.assert_text(p_argument text, p_value text)
returns text
language plpgsql
stable
set search_path = pg_catalog, pg_temp
as $$
begin
  if p_value is null then
    perform private.reject_argument(p_argument, 'must not be null');
  elsif p_value !~ '\S' then
    perform private.reject_argument(p_argument, 'must not be blank');
  elsif length(p_value) > 255 then
    perform private.reject_argument(p_argument, 'must have at most 255 characters');
  end if;
  return p_value;
end
$$;

comment on function private.assert_text(text, text) is
  'Refuses null, blank and over-long text (255 characters). Errors: 22023.';

-- Ids: present.
create function private.assert_id(p_argument text, p_id uuid)
returns uuid
language plpgsql
stable
set search_path = pg_catalog, pg_temp
as $$
begin
  if p_id is null then
    perform private.reject_argument(p_argument, 'must not be null');
  end if;
  return p_id;
end
$$;

comment on function private.assert_id(text, uuid) is 'Refuses a missing id. Errors: 22023.';

-- Rounds to the nearest, ties to the even digit. PostgreSQL's round() takes ties away from zero,
-- which drifts upwards over many rows.
create function private.round_half_even(p_amount numeric, p_decimals integer)
returns numeric
language sql
immutable
set search_path = pg_catalog, pg_temp
as $$
  select case
    when
      abs(p_amount - trunc(p_amount, p_decimals)) = ('5e-' || p_decimals + 1)::numeric
      and mod(trunc(p_amount, p_decimals) * ('1e' || p_decimals)::numeric, 2) = 0
      then trunc(p_amount, p_decimals)
    else round(p_amount, p_decimals)
  end
$$;

comment on function private.round_half_even(numeric, integer) is
  'Rounds p_amount to p_decimals, ties to the even digit.';

-- sql/foundation/canonical.sql

-- Canonical text: the same facts give the same bytes, whoever wrote them and however.
--
-- Keys sorted bytewise, nulls dropped, numbers without trailing zeros. jsonb alone keeps 1.50 and
-- 1.5 apart and sorts keys by length.
create function private.canonical_text(p_facts jsonb)
returns text
language plpgsql
immutable
set search_path = pg_catalog, pg_temp
as $$
begin
  if jsonb_typeof(p_facts) = 'object' then
    return (
      select
        '{' || coalesce(
          string_agg(
            to_json(f.key)::text || ':' || private.canonical_text(f.value),
            ',' order by f.key collate "C"
          ),
          ''
        ) || '}'
      from jsonb_each(p_facts) as f
      where f.value <> 'null'::jsonb
    );
  elsif jsonb_typeof(p_facts) = 'array' then
    return (
      select
        '[' || coalesce(
          string_agg(private.canonical_text(f.value), ',' order by f.ordinality), ''
        ) || ']'
      from jsonb_array_elements(p_facts) with ordinality as f (value, ordinality)
    );
  elsif jsonb_typeof(p_facts) = 'number' then
    return trim_scale(p_facts::numeric)::text;
  end if;
  return p_facts::text;
end
$$;

comment on function private.canonical_text(jsonb) is
  'One text for equal facts: keys sorted bytewise, nulls dropped, numbers without trailing zeros.';

-- Fingerprint of what a caller asked for. The text must be one per content: canonical_text(), or
-- array[...]::text of values that have one spelling each (amounts by trim_scale), at a tenth the
-- cost.
create function private.content_hash(p_content text)
returns text
language plpgsql
immutable
set search_path = pg_catalog, pg_temp
as $$
begin
  return encode(sha256(convert_to(p_content, 'UTF8')), 'hex');
end
$$;

comment on function private.content_hash(text) is 'SHA-256 of a text, in hexadecimal.';

-- sql/foundation/guards.sql

-- Triggers that any table may carry.

-- Append-only means it: no UPDATE, DELETE or TRUNCATE, whoever asks. Attach it before each row of
-- UPDATE and DELETE, and before each statement of TRUNCATE.
create function private.reject_mutation()
returns trigger
language plpgsql
volatile
set search_path = pg_catalog, pg_temp
as $$
begin
  perform private.raise_error(
    '23001',
    jsonb_build_object('table', tg_table_schema || '.' || tg_table_name, 'operation', tg_op)
  );
  return null;
end
$$;

comment on function private.reject_mutation() is
  'Trigger: refuses to change or remove what was recorded. Errors: 23001.';

-- Keeps updated_at true.
create function private.touch_updated_at()
returns trigger
language plpgsql
volatile
set search_path = pg_catalog, pg_temp
as $$
begin
  new.updated_at := private.clock_now();
  return new;
end
$$;

comment on function private.touch_updated_at() is
  'Trigger: sets updated_at to the present time on every update.';

-- sql/foundation/partitions.sql

-- Monthly partitions of ledgers that are partitioned by the time in their id.
--
-- A partition inherits neither row-level security nor statement triggers from its parent, and one
-- in an exposed schema would receive the default grants to anon. So partitions live here, each
-- with its own lock on the door, and only create_partition() makes them. There is no default
-- partition: it would block creating and detaching. Months are months in UTC.
create table private.partitioned_ledgers (
  parent text not null,
  constraint partitioned_ledgers_pkey primary key (parent)
);

alter table private.partitioned_ledgers enable row level security;

comment on table private.partitioned_ledgers is
  'Ledgers partitioned by month. What two creators of partitions queue on.';
comment on column private.partitioned_ledgers.parent is 'Qualified name of the parent table.';

-- The name of the partition of one month.
create function private.partition_name(p_parent regclass, p_time timestamptz)
returns text
language plpgsql
stable
set search_path = pg_catalog, pg_temp
as $$
begin
  return 'private.' || split_part(p_parent::text, '.', 2)
    || to_char(p_time at time zone 'UTC', '_YYYY_MM');
end
$$;

comment on function private.partition_name(regclass, timestamptz) is
  'Qualified name of the partition that holds rows of the month of p_time (UTC).';

-- Makes the partition of one month, unless it exists.
--
-- Locks: partitioned_ledgers until the transaction ends, so two creators never collide. The table
-- rather than a row: a session that waited for a table lock learns of what was created meanwhile,
-- one that waited for a row goes on believing that the partition is missing.
-- The partition is built apart and attached, which does not wait for readers or writers of the
-- parent; "create ... partition of" would. Calling it again does nothing.
create function private.create_partition(p_parent regclass, p_month date)
returns text
language plpgsql
volatile
set search_path = pg_catalog, pg_temp
as $$
declare
  v_start timestamptz := date_trunc('month', p_month::timestamp) at time zone 'UTC';
  v_end timestamptz :=
    (date_trunc('month', p_month::timestamp) + interval '1 month') at time zone 'UTC';
  v_name text := private.partition_name(p_parent, v_start);
begin
  lock table private.partitioned_ledgers in exclusive mode;
  if not exists (
    select from private.partitioned_ledgers as l where l.parent::regclass = p_parent
  ) then
    perform private.reject_argument('p_parent', 'must be a registered partitioned ledger');
  end if;
  if to_regclass(v_name) is not null then
    return v_name;
  end if;

  execute format(
    'create table %s (like %s including defaults including constraints)', v_name, p_parent
  );
  execute format(
    'revoke all on table %s from public, anon, authenticated, service_role, app_user, '
    'tallystick_reader, tallystick_writer', v_name
  );
  execute format('alter table %s enable row level security', v_name);
  execute format('create policy nobody on %s for all to public using (false)', v_name);
  execute format(
    'create trigger reject_truncate before truncate on %s '
    'for each statement execute function private.reject_mutation()', v_name
  );
  execute format(
    'comment on table %s is %L', v_name,
    format('Partition of %s for %s. Read the parent.', p_parent, to_char(p_month, 'YYYY-MM'))
  );
  execute format(
    'alter table %s attach partition %s for values from (%L) to (%L)',
    p_parent, v_name, private.uuid_v7_floor(v_start), private.uuid_v7_floor(v_end)
  );
  return v_name;
end
$$;

comment on function private.create_partition(regclass, date) is
  'Makes the partition of the month of p_month (UTC) and returns its name; does nothing where it '
  'exists. Errors: 22023 for a table that is no partitioned ledger.';

-- Makes the partition a row of the given time will go to, if somebody forgot to.
--
-- Opening the partition, as asking for its size does, also makes this session notice partitions
-- that others attached since its transaction began; looking up the name would not.
create function private.ensure_partition(p_parent regclass, p_time timestamptz)
returns text
language plpgsql
volatile
set search_path = pg_catalog, pg_temp
as $$
declare
  v_name text := private.partition_name(p_parent, p_time);
begin
  if pg_relation_size(to_regclass(v_name)) is null then
    return private.create_partition(p_parent, (p_time at time zone 'UTC')::date);
  end if;
  return v_name;
end
$$;

-- Makes what is missing of a month of all ledgers.
create function private.ensure_month(p_time timestamptz)
returns void
language plpgsql
volatile
set search_path = pg_catalog, pg_temp
as $$
begin
  perform private.ensure_partition(l.parent::regclass, p_time)
  from private.partitioned_ledgers as l
  order by l.parent;
end
$$;

comment on function private.ensure_month(timestamptz) is
  'Makes the partitions of the month of p_time (UTC) of every partitioned ledger, if missing.';

comment on function private.ensure_partition(regclass, timestamptz) is
  'Makes the partition of the month of p_time (UTC) if it is missing, and returns its name: '
  'neither a forgotten maintain() nor a test clock refuses spend.';

-- sql/foundation/callers.sql

-- Who is calling. Inside a security definer function current_user is the function's owner, so the
-- caller is read from the role it set, or else from its login.
create function private.caller_role()
returns text
language plpgsql
stable
set search_path = pg_catalog, pg_temp
as $$
begin
  return coalesce(nullif(current_setting('role', true), 'none'), session_user::text);
end
$$;

comment on function private.caller_role() is
  'The role the caller acts as, also inside security definer functions.';

create function private.schema_owner()
returns name
language plpgsql
stable
set search_path = pg_catalog, pg_temp
as $$
begin
  return (
    select pg_get_userbyid(p.proowner)
    from pg_catalog.pg_proc as p
    where p.oid = 'private.schema_owner()'::regprocedure
  );
end
$$;

comment on function private.schema_owner() is 'The role that owns this schema''s functions.';

-- Trusted callers act for every organization: the server roles, and the owner of this schema.
-- Never decided by a JWT claim: a claim names a person, a role is what the server granted.
create function private.is_trusted_caller()
returns boolean
language plpgsql
stable
set search_path = pg_catalog, pg_temp
as $$
declare
  v_caller text := coalesce(nullif(current_setting('role', true), 'none'), session_user::text);
begin
  return v_caller in ('service_role', 'app_user', 'tallystick_writer')
    or pg_has_role(v_caller, 'service_role', 'usage')
    or pg_has_role(v_caller, 'app_user', 'usage')
    or pg_has_role(v_caller, 'tallystick_writer', 'usage')
    or pg_has_role(v_caller, private.schema_owner(), 'usage');
end
$$;

comment on function private.is_trusted_caller() is
  'True for server roles (service_role, app_user, tallystick_writer) and the owner of the schema.';

-- sql/foundation/access.sql

-- Who may use the machinery. Functions are executable by PUBLIC when created, and a per-schema
-- default cannot take that back, so each is revoked and granted by name.

revoke all on table private.partitioned_ledgers
from public, anon, authenticated, service_role, app_user, tallystick_reader, tallystick_writer;
create policy nobody on private.partitioned_ledgers for all to public using (false);

revoke all on table public.tallystick_errors
from public, anon, authenticated, service_role, app_user, tallystick_reader, tallystick_writer;
grant select on table public.tallystick_errors
to authenticated, service_role, app_user, tallystick_reader, tallystick_writer;

revoke execute on function
private.raise_error(text, jsonb),
private.reject_argument(text, text),
private.abandon_attempt(),
private.clock_now(),
private.is_time_zone(text),
private.window_start(text, timestamptz, text),
private.window_end(text, timestamptz, text),
private.local_day(timestamptz, text),
private.uuid_v7(timestamptz),
private.uuid_v7_time(uuid),
private.uuid_v7_floor(timestamptz),
private.assert_money(text, numeric),
private.assert_count(text, bigint),
private.assert_text(text, text),
private.assert_id(text, uuid),
private.round_half_even(numeric, integer),
private.canonical_text(jsonb),
private.content_hash(text),
private.reject_mutation(),
private.touch_updated_at(),
private.partition_name(regclass, timestamptz),
private.create_partition(regclass, date),
private.ensure_partition(regclass, timestamptz),
private.ensure_month(timestamptz),
private.caller_role(),
private.schema_owner(),
private.is_trusted_caller()
from public, anon, authenticated, service_role;

-- Pure helpers that functions and defaults run with the rights of their caller. None of them
-- reads or writes a table.
grant execute on function
private.raise_error(text, jsonb),
private.reject_argument(text, text),
private.clock_now(),
private.is_time_zone(text),
private.window_start(text, timestamptz, text),
private.window_end(text, timestamptz, text),
private.local_day(timestamptz, text),
private.uuid_v7(timestamptz),
private.uuid_v7_time(uuid),
private.assert_money(text, numeric),
private.assert_count(text, bigint),
private.assert_text(text, text),
private.assert_id(text, uuid),
private.caller_role(),
private.schema_owner(),
private.is_trusted_caller()
to authenticated, service_role, app_user, tallystick_writer;

grant execute on function
private.clock_now(),
private.window_start(text, timestamptz, text),
private.window_end(text, timestamptz, text)
to tallystick_reader;
grant execute on function
private.round_half_even(numeric, integer),
private.uuid_v7_floor(timestamptz)
to authenticated, service_role, app_user, tallystick_reader, tallystick_writer;
