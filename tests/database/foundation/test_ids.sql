begin;
select plan(11);

select is(
  private.uuid_v7_time(private.uuid_v7('2026-03-10 12:00:00.123999+00')),
  '2026-03-10 12:00:00.123+00'::timestamptz, 'an id carries its time, cut to the millisecond'
);
select is(
  private.uuid_v7_time(private.uuid_v7('1970-01-01 00:00:00+00')),
  '1970-01-01 00:00:00+00'::timestamptz, 'from the beginning of time'
);
select is(
  private.uuid_v7_time(private.uuid_v7('2999-12-31 23:59:59.999+00')),
  '2999-12-31 23:59:59.999+00'::timestamptz, 'for a long time'
);
select matches(
  private.uuid_v7()::text, '^[0-9a-f]{8}-[0-9a-f]{4}-7[0-9a-f]{3}-[89ab][0-9a-f]{3}-[0-9a-f]{12}$',
  'it is a version 7 id'
);
select ok(
  private.uuid_v7('2026-03-10 12:00:00+00') < private.uuid_v7('2026-03-10 12:00:00.001+00'),
  'ids sort by time'
);
select is(
  (select count(distinct private.uuid_v7('2026-03-10 12:00:00+00')) from generate_series(1, 1000)),
  1000::bigint, 'ids of one instant differ'
);
select ok(
  private.uuid_v7_floor('2026-03-10 12:00:00+00') <= private.uuid_v7('2026-03-10 12:00:00+00')
  and private.uuid_v7_floor('2026-03-10 12:00:00.001+00')
  > private.uuid_v7('2026-03-10 12:00:00+00'),
  'the floor of an instant bounds its ids'
);

select is(
  private.content_hash(private.canonical_text('{"b": 1.50, "a": "x", "n": null}')),
  private.content_hash(private.canonical_text('{"a": "x", "b": 1.5}')),
  'order, nulls and trailing zeros make no other content'
);
select isnt(
  private.content_hash(private.canonical_text('{"a": "1"}')),
  private.content_hash(private.canonical_text('{"a": 1}')),
  'text and number are other content'
);
select is(
  private.content_hash('abc'), 'ba7816bf8f01cfea414140de5dae2223b00361a396177a9cb410ff61f20015ad',
  'a fingerprint is the SHA-256 of the text'
);
select is(
  private.canonical_text('{"bb": [1.0, {"z": null, "y": true}], "a": "\"", "B": 0.10}'),
  '{"B":0.1,"a":"\"","bb":[1,{"y":true}]}', 'canonical text'
);

select * from finish();
rollback;
