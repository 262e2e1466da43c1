-- What happened, and what others are to be told of it.
begin;
select plan(42);

select tests.freeze_clock('2026-03-10 12:00:00.123456+00');
create temp table scene as
select o.org, tests.organization('Bravo') as bravo, tests.member(o.org, 'owner') as owner
from (select tests.organization('Acme') as org) as o;
grant select on scene to public;

-- One event per movement -----------------------------------------------------------------------------

create temp table bought as
select m.* from scene, billing.purchase_credits(org, 2.50, 'key', p_created_by => 'anna') as m;
select results_eq(
  $$select organization_id, tool_name::text, correlation_id::text, event_timestamp, duration_ms,
      status, error_code, error_message, actor_id::text, authn_method, authorization_result,
      violation_code
    from audit.event_log$$,
  $$select org, 'billing.credit_purchase', id::text, '2026-03-10 12:00:00.123456+00'::timestamptz, 0,
      'ok', null, null, 'anna', 'asserted', 'allowed', null
    from scene, bought$$,
  'a purchase leaves an event'
);
-- As the document says it: what was asked for has no id and no time.
select is(
  e.input_hash::text,
  encode(sha256(convert_to(format(
    '{"amount_usd":"2.5","created_by":"anna","direction":"credit","idempotency_key":"key",'
    '"org_id":"%s","reason":"credit_purchase","transaction_type":"credit_purchase"}', org
  ), 'UTF8')), 'hex'),
  'input_hash is of the canonical text of what was asked for'
)
from scene, audit.event_log as e;
select is(
  e.output_hash::text,
  encode(sha256(convert_to(format(
    '{"amount_usd":"2.5","created_at":"2026-03-10T12:00:00.123456Z","created_by":"anna",'
    '"direction":"credit","id":"%s","idempotency_key":"key","org_id":"%s",'
    '"reason":"credit_purchase","transaction_type":"credit_purchase"}', bought.id, org
  ), 'UTF8')), 'hex'),
  'output_hash is of what came of it'
)
from scene, bought, audit.event_log as e;
select m.id from scene, billing.purchase_credits(org, 2.5, 'key') as m;
select is(count(*), 1::bigint, 'a repeated purchase is no other event') from audit.event_log;

-- The same movement is hashed the same, wherever the session is.
create function pg_temp.hashes(p_zone text)
returns text
language plpgsql
as $$
declare
  v_org uuid := '0e000000-0000-4000-8000-000000000000';
  v_hashes text;
begin
  perform set_config('timezone', p_zone, true);
  perform set_config('datestyle', case p_zone when 'UTC' then 'ISO' else 'German, DMY' end, true);
  begin
    insert into tenancy.organizations (id, name) values (v_org, 'Zones');
    insert into billing.billing_ledger (
      org_id, id, transaction_type, amount_usd, direction, reason, created_at
    ) values (
      v_org, '0e000000-0000-4000-8000-000000000001', 'promo', 1.10, 'credit', 'r',
      '2026-07-01T00:30:00Z'
    );
    select input_hash || ' ' || output_hash into v_hashes
    from audit.event_log where organization_id = v_org;
    raise exception using errcode = 'TS000';
  exception when sqlstate 'TS000' then
    null;
  end;
  perform set_config('timezone', 'UTC', true);
  perform set_config('datestyle', 'ISO, MDY', true);
  return v_hashes;
end
$$;
select is(pg_temp.hashes(z.name), pg_temp.hashes('UTC'), 'hashes in ' || z.name)
from (
  values ('Pacific/Auckland'), ('America/St_Johns'), ('Asia/Kathmandu')
) as z (name);
select isnt(pg_temp.hashes('UTC'), null, 'there are hashes');

-- Everything that moves credits.
create temp table run as select tests.bill(bravo) as id from scene;
select billing.dispute_reconciliation(id), billing.resolve_dispute(id, 0.01) from run;
select m.id from scene, billing.grant_credits(bravo, 'promo', 1, 'promo') as m;
select m.id from scene, billing.grant_credits(bravo, 'trial', 1, 'trial') as m;
select m.id from scene, billing.adjust_credits(bravo, 1, 'up', 'up') as m;
select m.id from scene, billing.adjust_credits(bravo, -1, 'down', 'down') as m;
select tests.call(id, 0.5) from run;
select results_eq(
  $$select tool_name::text, correlation_id::text, event_timestamp, count(*)
    from scene inner join audit.event_log on organization_id = bravo group by 1, 2, 3 order by 1, 2$$,
  $$select 'billing.' || l.transaction_type, coalesce(l.run_id, l.draw_id, l.id)::text, l.created_at,
      count(*)
    from scene inner join billing.billing_ledger as l on l.org_id = bravo
    group by 1, 2, 3 order by 1, 2$$,
  'each movement leaves one, under its run, draw or own id'
);
select set_eq(
  $$select tool_name::text from scene inner join audit.event_log on organization_id = bravo$$,
  $$values ('billing.credit_purchase'), ('billing.charge'), ('billing.refund'),
    ('billing.adjustment'), ('billing.promo'), ('billing.trial')$$,
  'of every type'
);
select is(count(distinct output_hash), count(*), 'no two are the same') from audit.event_log;

-- Who acted: a signed-in person where there is one.
select set_config('request.jwt.claims', jsonb_build_object('sub', owner)::text, true) from scene;
select m.id from scene, billing.adjust_credits(org, 0.25, 'by hand', 'by hand') as m;
select set_config('request.jwt.claims', '', true);
select results_eq(
  $$select actor_id::text, authn_method from scene
    inner join audit.event_log on organization_id = org and tool_name = 'billing.adjustment'$$,
  $$select 'user:' || owner, 'jwt' from scene$$, 'a person who signed in is known by that'
);

-- What is rolled back never happened.
do $$
begin
  perform tests.buy(org, 1) from scene;
  raise exception using errcode = 'TS000';
exception when sqlstate 'TS000' then
  null;
end
$$;
select is(count(*), 2::bigint, 'a movement that was undone left nothing')
from scene inner join audit.event_log on organization_id = org;

-- Append-only ----------------------------------------------------------------------------------------

select throws_ok(v.statement, '23001', null, v.statement)
from (
  values
  ($$update audit.event_log set status = 'error'$$), ('delete from audit.event_log'),
  ('truncate audit.event_log')
) as v (statement);
select throws_ok(
  format(
    'insert into audit.event_log (organization_id, tool_name, correlation_id, input_hash, '
    'output_hash, status, duration_ms) select org, %s from scene', v.content
  ), '23514', null, v.description
)
from (
  values
  ($$'x', 'x', repeat('a', 64), repeat('a', 64), 'done', 0$$, 'a status nobody knows'),
  ($$'x', 'x', repeat('a', 64), repeat('a', 64), 'ok', -1$$, 'less than no time'),
  ($$'x', 'x', repeat('a', 63), repeat('a', 64), 'ok', 0$$, 'a short hash'),
  ($$'x', 'x', repeat('a', 64), repeat('A', 64), 'ok', 0$$, 'a hash in capitals'),
  ($$' ', 'x', repeat('a', 64), repeat('a', 64), 'ok', 0$$, 'no tool'),
  ($$'x', '', repeat('a', 64), repeat('a', 64), 'ok', 0$$, 'no correlation id')
) as v (content, description);
select results_eq(
  $$select attname::text collate "default" from pg_attribute
    where attrelid = 'audit.event_log'::regclass and attnum > 0 order by attnum$$,
  $$values ('organization_id'), ('event_id'), ('tool_name'), ('correlation_id'), ('input_hash'),
    ('output_hash'), ('event_timestamp'), ('duration_ms'), ('status'), ('error_code'),
    ('error_message'), ('actor_id'), ('authn_method'), ('authorization_result'),
    ('violation_code'), ('xact_id')$$,
  'the document''s 14 columns, the organization, and the transaction'
);

-- Who reads it ---------------------------------------------------------------------------------------

create function pg_temp.events_of(p_role text)
returns bigint
language plpgsql
as $$
declare
  v_person uuid := tests.member(org, p_role) from scene;
  v_count bigint;
begin
  perform tests.act_as('authenticated', v_person);
  select count(*) into v_count from audit.event_log;
  reset role;
  return v_count;
end
$$;
select is(pg_temp.events_of(v.role), v.expected, v.role)
from (
  values ('owner', 2::bigint), ('admin', 2), ('finance', 2), ('member', 0), ('viewer', 0)
) as v (role, expected);

-- The outbox -----------------------------------------------------------------------------------------

select results_eq(
  $$select o.topic::text, o.subject_id, o.delivered_at
    from scene inner join audit.outbox as o on o.organization_id = bravo$$,
  $$select 'billing.critical_variance', id, null::timestamptz from run$$, 'what others are to be told'
);
select private.emit_event(org, 'topic ' || n, org, '{}') from scene, generate_series(1, 3) as n;
create temp table events as
select o.id, o.topic::text from scene inner join audit.outbox as o on o.organization_id = org;
create function pg_temp.acknowledged()
returns setof text
language sql
as $$
  select o.topic::text || ' ' || to_char(o.delivered_at at time zone 'UTC', 'HH24:MI')
  from scene inner join audit.outbox as o on o.organization_id = org
  where o.delivered_at is not null order by o.topic
$$;
select is(audit.acknowledge_events(org, v.ids), v.expected, v.description)
from scene, lateral (
  values
  ('{}'::uuid[], 0, 'nothing is acknowledged'),
  (null, 0, 'nor is null'),
  (array[gen_random_uuid()], 0, 'nor what is not there'),
  ((select array_agg(id) from events where topic <> 'topic 3'), 2, 'two events')
) as v (ids, expected, description);
select tests.freeze_clock('2026-03-10 13:00+00');
select is(
  audit.acknowledge_events(org, (select array_agg(id) from events)), 1, 'then only the third'
)
from scene;
select is(
  audit.acknowledge_events(org, (select array_agg(id) from events)), 0, 'and then none'
)
from scene;
select results_eq(
  'select pg_temp.acknowledged()',
  $$values ('topic 1 12:00'), ('topic 2 12:00'), ('topic 3 13:00')$$, 'each at its time'
);
select is(
  audit.acknowledge_events(
    org, (select array_agg(o.id) from audit.outbox as o where o.organization_id = bravo)
  ), 0, 'events of another organization are not there'
)
from scene;
select results_eq(
  $$select count(*) from scene inner join audit.outbox as o on o.organization_id = bravo
    where o.delivered_at is not null$$,
  $$values (0::bigint)$$, 'so they wait'
);
select throws_ok(
  format('select audit.acknowledge_events(%s, %L)', v.org, '{}'), v.code, null, v.description
)
from (
  values
  ('null', '22023', 'no organization'), ('gen_random_uuid()', 'TS404', 'an unknown organization')
) as v (org, code, description);
select throws_ok(
  $$insert into audit.outbox (organization_id, topic, subject_id, payload)
    select org, 'topic', org, '[]' from scene$$,
  '23514', null, 'facts are an object'
);

select is_empty($$select * from audit.verify_integrity()$$, 'the books agree');
select * from finish();
rollback;
