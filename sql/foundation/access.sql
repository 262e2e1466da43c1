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
