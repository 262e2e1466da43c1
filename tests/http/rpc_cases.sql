-- Functions of every kind that PostgREST tells apart, in two exposed schemas and a hidden one.
create schema cases;
create schema second;
create schema hidden;
grant usage on schema cases, second to anon, authenticated, service_role;

create table cases.things (
  id bigint primary key,
  name text not null unique,
  price numeric,
  made_at timestamptz,
  parent_id bigint references cases.things (id),
  document jsonb
);
insert into cases.things values
(1, 'one', 0.10, '2026-01-02 03:04:05+00', null, '{"rate": 0.100000000000000000001}'),
(2, 'two', 12345678901234567890.123456789012, '2026-01-02 03:04:05.678+00', 1, null),
(9007199254740993, 'big', null, null, 1, '[1.50, 9007199254740993]');
alter table cases.things enable row level security;
create policy everybody on cases.things for select to anon, authenticated using (true);
grant select on cases.things to anon, authenticated;
grant select, insert on cases.things to service_role;

create type cases.pair as (amount numeric, name text);
create domain cases.amount as numeric check (value >= 0);
create domain cases.named_pair as cases.pair;

create function cases.hello(name text default 'world') returns text language sql immutable
as $$ select 'Hello, ' || name $$;
create function cases.nothing() returns void language sql as '';
create function cases.null_integer() returns int language sql as 'select null::int';
create function cases.yes() returns boolean language sql as 'select true';
create function cases.exact(value numeric) returns numeric language sql immutable
as 'select value';
create function cases.whole(value bigint) returns bigint language sql immutable
as 'select value';
create function cases.moment(value timestamptz) returns timestamptz language sql immutable
as 'select value';
create function cases.day(value date) returns date language sql immutable as 'select value';
create function cases.numbers(n int) returns setof int language sql immutable
as 'select generate_series(1, n)';
create function cases.list() returns int [] language sql immutable as 'select array[1, 2, 3]';
create function cases.range_of(low int, up int) returns int4range language sql immutable
as 'select int4range(low, up)';
create function cases.pair_of(amount numeric, name text) returns cases.pair language sql immutable
as 'select (amount, name)::cases.pair';
create function cases.domain_pair() returns cases.named_pair language sql immutable
as 'select (1.50, ''x'')::cases.pair';
create function cases.null_pair() returns cases.pair language sql immutable
as 'select null::cases.pair';
create function cases.all_things() returns setof cases.things language sql stable
as 'select * from cases.things order by id';
create function cases.table_of(n int) returns table (place int, square numeric)
language sql immutable as 'select i, i * i * 1.10 from generate_series(1, n) as i';
create function cases.one_out(num int, out num_plus_one int) language sql immutable
as 'select num + 1';
create function cases.two_out(out a int, out b text) language sql immutable
as $$ select 1, 'x' $$;
create function cases.record_of() returns record language sql immutable
as $$ select 1 as id, 'x'::text as name $$;
create function cases.document(value jsonb) returns jsonb language sql immutable
as 'select value';
create function cases.kind(value json) returns text language sql immutable
as 'select json_typeof(value)';
create function cases.whole_body(json) returns text language sql immutable
as $$ select $1 ->> 'a' $$;
create function cases.whole_text(text) returns int language sql immutable
as 'select length($1)';
create function cases.pair_in(value cases.pair) returns numeric language sql immutable
as 'select (value).amount';
create function cases.amount_in(value cases.amount) returns numeric language sql immutable
as 'select value::numeric';
create function cases.uuids(ids uuid []) returns int language sql immutable
as 'select cardinality(ids)';
create function cases.joined(separator text, variadic parts text []) returns text
language sql immutable as 'select array_to_string(parts, separator)';
create function cases."Quoted Name"("Some Arg" int) returns int language sql immutable
as 'select "Some Arg"';
create function cases.twice(n int) returns text language sql immutable as $$ select 'int' $$;
create function cases.twice(n int, m int) returns text language sql immutable
as $$ select 'both' $$;
create function cases.unclear(v int) returns text language sql immutable as $$ select 'int' $$;
create function cases.unclear(v text) returns text language sql immutable as $$ select 'text' $$;

create function cases.add_thing(id bigint, name text, parent_id bigint default null)
returns cases.things language sql
as 'insert into cases.things (id, name, parent_id) values ($1, $2, $3) returning *';
create function cases.stable_write() returns void language plpgsql stable
as $$ begin perform cases.add_thing(5, 'five'); end $$;
create function cases.is_read_only() returns text language sql volatile
as $$ select current_setting('transaction_read_only') $$;
create function cases.is_read_only_stable() returns text language sql stable
as $$ select current_setting('transaction_read_only') $$;

create function cases.fail(code text, message text default 'no', detail text default null,
  hint text default null)
returns void language plpgsql as $$
begin
  raise exception using errcode = code, message = message,
    detail = coalesce(detail, ''), hint = coalesce(hint, '');
end $$;
create function cases.plain_raise() returns void language plpgsql
as $$ begin raise exception 'plain'; end $$;
create function cases.assertion() returns void language plpgsql
as $$ begin assert false, 'asserted'; end $$;
create function cases.slow() returns void language sql as 'select pg_sleep(5)';
create function cases.slow_by_itself() returns void language sql
set statement_timeout = '50ms' as 'select pg_sleep(5)';
create function cases.forbidden() returns int language sql as 'select 1';
revoke execute on function cases.forbidden() from public;
grant execute on function cases.forbidden() to service_role;

create function cases.chosen_status(status text, headers text default null) returns jsonb
language plpgsql as $$
begin
  perform set_config('response.status', status, true);
  perform set_config('response.headers', coalesce(headers, ''), true);
  insert into cases.things (id, name) values (402, 'kept') on conflict do nothing;
  return '{"code": "TS402"}';
end $$;
grant insert on cases.things to authenticated;
create policy adding on cases.things for insert to authenticated with check (true);

create function cases.who() returns jsonb language sql stable as $$
  select jsonb_build_object(
    'user', current_user,
    'session', session_user,
    'claim', current_setting('request.jwt.claims')::jsonb ->> 'extra',
    'uid', auth.uid(),
    'method', current_setting('request.method'),
    'path', current_setting('request.path'),
    'header', current_setting('request.headers')::jsonb ->> 'x-test',
    'cookie', current_setting('request.cookies')::jsonb ->> 'a',
    'search_path', current_setting('search_path'),
    'timeout', current_setting('statement_timeout'),
    'time_zone', current_setting('TimeZone')
  )
$$;
create function second.hello() returns text language sql immutable as $$ select 'second' $$;
create function hidden.secret() returns text language sql immutable as $$ select 'secret' $$;
