-- What may follow what in the journal: every sequence of up to five operations, tried for real.
begin;
select plan(9);

create temporary table scene as select gen_random_uuid() as owner, gen_random_uuid() as other;
grant select on scene to authenticated;

-- The letters of a sequence: a amend, v void, r restate; each begins with an assertion.
create temporary table sequences as
with recursive words as (
  select '' as word
  union all
  select words.word || letter
  from words cross join unnest(array['a', 'v', 'r']) as letter
  where length(words.word) < 4
)

select word from words;

create function pg_temp.is_legal(p_word text)
returns boolean
language sql
as $$ select p_word ~ '^a*(vra*)*v?$' $$;

-- Does what the letters say and tells how far it came, with the codes of what was refused.
create function pg_temp.perform(p_word text)
returns table (done integer, refused text, current_op text, current_revision integer, said jsonb)
language plpgsql
as $$
declare
  v_owner uuid := (select owner from scene);
  v_event public.ledger_events_v0 := public.ledger_assert_v0(
    'payments', 'paid', '{"step": 0}', p_owner_user_id => v_owner
  );
  v_logical_id uuid := v_event.logical_id;
begin
  done := 0;
  begin
    for v_i in 1..length(p_word) loop
      case substr(p_word, v_i, 1)
        when 'a' then
          perform public.ledger_amend_v0(
            v_logical_id, jsonb_build_object('step', v_i), p_organization_id => v_owner
          );
        when 'v' then
          perform public.ledger_void_v0(v_logical_id, 'why', 'who', p_organization_id => v_owner);
        else
          perform public.ledger_restate_v0(v_logical_id, p_organization_id => v_owner);
      end case;
      done := v_i;
    end loop;
  exception when others then
    refused := sqlstate;
  end;
  select c.op, c.revision, c.payload into current_op, current_revision, said
  from public.ledger_current_v0 as c
  where c.logical_id = v_logical_id;
  return next;
end
$$;

create temporary table outcomes as
select s.word, p.*, pg_temp.is_legal(s.word) as is_legal
from sequences as s cross join lateral pg_temp.perform(s.word) as p;

select is((select count(*) from outcomes), 121::bigint, 'all sequences of up to five operations');
select is_empty(
  $$
    select word from outcomes
    where is_legal and (refused is not null or done <> length(word))
  $$,
  'every legal one is accepted'
);
select is_empty(
  'select word, refused from outcomes where not is_legal and refused is distinct from ''22023''',
  'every illegal one is refused'
);
-- What was refused takes all of the block with it, so it is as if nothing had been tried.
select is_empty(
  $$
    select word, current_revision, current_op from outcomes
    where is_legal and (
      current_revision <> length(word)
      or current_op <> case right(word, 1)
        when 'a' then 'amend' when 'v' then 'void' when 'r' then 'restate' else 'assert' end
    )
  $$,
  'the last revision is the current one'
);
select is_empty(
  'select word from outcomes where not is_legal and (current_revision, current_op) <> (0, ''assert'')',
  'what was undone never was'
);
select is_empty(
  $$
    select word, said from outcomes
    where is_legal and right(word, 1) = 'v' and (said ->> 'void_reason', said ->> 'voided_by')
      is distinct from ('why', 'who')
  $$,
  'a void says why and who'
);
select is_empty(
  $$
    select word, said from outcomes
    where is_legal and right(word, 1) <> 'v' and said ?| array['void_reason', 'voided_by']
  $$,
  'what counts again does not'
);
select is_empty('select * from audit.verify_integrity()', 'all of that agrees');
select throws_ok(
  format('select audit.verify_integrity(%L)', other), 'TS404', null, 'nobody has no journal'
) from scene;

select * from finish();
rollback;
