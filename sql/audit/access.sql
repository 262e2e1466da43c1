-- Server roles verify; they read every table the checks compare.

revoke execute on function
private.figure(numeric),
private.verify_metering(uuid),
audit.verify_integrity(uuid)
from public, anon, authenticated, service_role;

grant execute on function
private.rollup_keys(public.ai_usage_ledger),
private.figure(numeric),
private.verify_metering(uuid),
audit.verify_integrity(uuid)
to service_role, app_user, tallystick_writer;
