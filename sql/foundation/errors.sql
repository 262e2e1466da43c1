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
