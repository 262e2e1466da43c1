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
